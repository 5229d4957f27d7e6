package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/power/powerfile"
	"github.com/sinter-dl/sinter/train/plan"
	"github.com/sinter-dl/sinter/train/recipe"
)

func planCommand() *cobra.Command {
	from := recipeFlags{without: "device"}
	var device, deadline, prices string
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan [RECIPE | FILE.yaml]",
		Short: "Tell memory, time, energy and cost of a run before it is made, on any device",
		Long: `Tell what a run would take, without making it and without the device: memory, the
time of a step and of all, energy, CO2 and cost on each device of the catalogue
and on this machine's processor, and the largest batch that fits.

Memory is exact: it is the plan of the programs that the run would use. Time is
estimated: of this processor from a calibration, which is made the first time and
takes some seconds; of other devices from their vendors' figures. See docs/plan.md.

The file of --prices says what an hour of devices costs; then the cheapest device
that keeps --deadline and --budget is named. What a device costs that is in no
file follows from --tariff.`,
		Example: `  sinter plan lenet
  sinter plan resnet20 --device a100-80gb --precision bf16
  sinter plan gpt --data book.txt --prices prices.yaml --deadline 2h --budget 5EUR
  sinter plan resnet20 --device a100-80gb/1g.10gb --batch 512`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("plan takes one recipe, found %q as well as %q", args[1], args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			name := "lenet"
			if len(args) == 1 {
				name = args[0]
			}
			r, err := recipe.Load(name)
			if err != nil {
				return err
			}
			r.Device = plan.CPU // nothing is computed on another
			if err := from.apply(c, r); err != nil {
				return err
			}
			limits, terms, err := planLimits(r, deadline, prices)
			if err != nil {
				return err
			}
			return runPlan(c, r, device, limits, terms, asJSON)
		},
	}
	c.Flags().StringVar(&device, "device", plan.All, "`NAME` of the catalogue (a100-80gb), a slice of a card (a100-80gb/1g.10gb), cpu, or all")
	c.Flags().StringVar(&deadline, "deadline", "", "`TIME` that the run may take: 90s, 2h, 1h30m")
	c.Flags().StringVar(&prices, "prices", "", "`FILE` that says what an hour of devices costs, see docs/prices.yaml")
	from.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object on standard output")
	c.Flags().SortFlags = false
	return c
}

// planLimits are what was asked for, taken out of the recipe where it is there.
func planLimits(r *recipe.Recipe, deadline, prices string) (l plan.Limits, t plan.Terms, err error) {
	if deadline != "" {
		if l.Deadline, err = time.ParseDuration(deadline); err != nil || l.Deadline <= 0 {
			return l, t, &recipe.UsageError{Place: "--deadline", Reason: fmt.Sprintf("found %q, expected a time such as 90s, 2h or 1h30m", deadline)}
		}
	}
	if r.Budget != "" {
		b, err := power.ParseBudget(r.Budget)
		if err != nil {
			return l, t, &recipe.UsageError{Place: "--budget", Reason: strings.TrimPrefix(err.Error(), "power: ")}
		}
		l.Budget = b
		r.Budget = "" // the run that is prepared is not to be stopped
	}
	if prices != "" {
		if t.Prices, err = powerfile.LoadPrices(prices); err != nil {
			return l, t, err
		}
	}
	if t.Rates, err = r.Rates(); err != nil {
		return l, t, err
	}
	return l, t, nil
}

func runPlan(c *cobra.Command, r *recipe.Recipe, name string, limits plan.Limits, terms plan.Terms, asJSON bool) error {
	debug.SetGCPercent(400) // a plan is short, and makes many small things
	line := newProgress(os.Stderr, asJSON)
	if _, err := plan.Devices(name, nil); err != nil { // before anything takes time
		var unknown *hardware.UnknownError
		if errors.As(err, &unknown) {
			return &recipe.UsageError{Place: "--device", Reason: err.Error()}
		}
		return err
	}
	line.show("reading the data …")
	job, err := recipe.PreparePlan(r)
	line.clear()
	if err != nil {
		return err
	}
	var calibration *plan.Processor
	if name == plan.All || name == plan.CPU {
		if calibration, err = plan.Cached(); errors.Is(err, plan.ErrUncalibrated) || err == nil && calibration.Stale() {
			calibration, err = plan.Calibrate(c.Context(), func(what string) { line.show("measuring this processor, once: " + what + " …") })
			line.clear()
		}
		if err != nil {
			return err
		}
	}
	devices, err := plan.Devices(name, calibration)
	if err != nil {
		return err
	}
	planner, err := job.Planner()
	if err != nil {
		return err
	}
	list, err := planner.ForecastAll(devices, 0, terms)
	if err != nil {
		return err
	}
	choice, err := plan.Choose(list, limits)
	var currency *power.CurrencyError
	if errors.As(err, &currency) {
		return &recipe.UsageError{Place: "--budget", Reason: fmt.Sprintf("it is in %s, and prices are in %s; give both in one currency, for none is converted", currency.A.Currency, currency.B.Currency)}
	}
	if err != nil {
		return err
	}
	if terms.Prices != nil {
		choice.Notes = append(choice.Notes, terms.Prices.Problems...)
	}
	w := c.OutOrStdout()
	if asJSON {
		text, err := json.MarshalIndent(map[string]any{"recipe": job.Recipe.Name, "plan": choice, "notes": job.Source.Notes}, "", "  ")
		if err == nil {
			fmt.Fprintln(w, string(text))
		}
		return err
	}
	fmt.Fprintln(w, job.Describe())
	if len(list) == 1 {
		printForecast(w, list[0])
	} else {
		plan.Sort(list)
		printForecasts(w, list)
	}
	for _, note := range choice.Notes {
		printWrapped(w, "note: "+note)
	}
	fmt.Fprintln(w)
	printWrapped(w, choice.Verdict)
	return nil
}

const planWidth = 80

func printWrapped(w io.Writer, text string) {
	for _, line := range wrap(text, planWidth) {
		fmt.Fprintln(w, line)
	}
}

// cell pads to a width as people count characters.
func cell(text string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))) + text
}

// printForecasts is a line for each device.
func printForecasts(w io.Writer, list []*plan.Forecast) {
	f := list[0]
	steps := "steps of an unknown number"
	if f.Steps > 0 {
		steps = plural(f.Steps, "step")
	}
	batch := fmt.Sprintf("batch %d", f.Batch)
	if f.Accumulate > 1 {
		batch += fmt.Sprintf(" × %d", f.Accumulate)
	}
	fmt.Fprintf(w, "%s, %s, %s; memory is exact, all else estimated\n\n", steps, batch, f.Precision)
	row := func(cells ...string) {
		widths := []int{0, 9, 8, 8, 9, 9, 8, 10}
		var b strings.Builder
		b.WriteString(cells[0] + strings.Repeat(" ", max(1, 19-utf8.RuneCountInString(cells[0]))))
		for i, text := range cells[1:] {
			b.WriteString(cell(" "+text, widths[i+1]))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	row("device", "memory", "largest", "step", "time", "energy", "CO2e", "cost")
	marked := false
	for _, f := range list {
		name := f.Device
		if f.Cheapest {
			name += "*"
		}
		size := ui.Bytes(f.Memory.Total)
		if !f.Fits {
			largest := "-"
			if f.Largest > 0 {
				largest = "~" + ui.SI(float64(f.Largest))
			}
			row(name, size, largest, "does not", "fit")
			continue
		}
		step := "-"
		if f.Step > 0 {
			step = briefly(f.Step)
		}
		computed := ""
		if f.Computed != f.Precision {
			computed, marked = "†", true
		}
		row(name+computed, size, largestText(f), step, orDash(f.Seconds > 0, longer(f.Seconds)), orDash(f.Usage.Joules > 0, joulesText(f.Usage.Joules)),
			orDash(f.Usage.Grams > 0, gramsText(f.Usage.Grams)), orDash(!f.Usage.Cost.IsZero(), moneyText(f.Usage.Cost)))
	}
	fmt.Fprintln(w)
	if slices.ContainsFunc(list, func(f *plan.Forecast) bool { return f.Cheapest }) {
		printWrapped(w, "* the cheapest that keeps what was asked for")
	}
	if marked {
		printWrapped(w, "† not computed in "+list[0].Precision+" there; sinter plan --device NAME says in what")
	}
	printWrapped(w, "largest: batch that fits, by a line through two plans (~); a plus: all examples. Energy is the device's alone. Carbon: "+carbonSource(list))
}

func carbonSource(list []*plan.Forecast) string {
	for _, f := range list {
		for _, s := range f.Usage.Sources {
			if rest, ok := strings.CutPrefix(s, "carbon: "); ok {
				return rest + "."
			}
		}
	}
	return "not known."
}

func orDash(ok bool, text string) string {
	if ok {
		return text
	}
	return "-"
}

func largestText(f *plan.Forecast) string {
	switch {
	case f.Largest == 0:
		return "-"
	case f.Limited:
		return ui.SI(float64(f.Largest)) + "+"
	case f.Exact:
		return ui.Count(f.Largest)
	}
	return "~" + ui.SI(float64(f.Largest))
}

// briefly writes seconds in three digits.
func briefly(seconds float64) string {
	switch {
	case seconds < 1e-3:
		return fmt.Sprintf("%.3g µs", 1e6*seconds)
	case seconds < 1:
		return fmt.Sprintf("%.3g ms", 1e3*seconds)
	}
	return fmt.Sprintf("%.3g s", seconds)
}

// longer writes the time of a run.
func longer(seconds float64) string {
	switch {
	case seconds < 120:
		return briefly(seconds)
	case seconds < 2*3600:
		return fmt.Sprintf("%.3g min", seconds/60)
	case seconds < 2*86400:
		return fmt.Sprintf("%.3g h", seconds/3600)
	}
	return fmt.Sprintf("%.3g d", seconds/86400)
}

func joulesText(joules float64) string {
	kWh := joules / power.JoulesPerKWh
	switch {
	case kWh >= 1:
		return fmt.Sprintf("%.3g kWh", kWh)
	case kWh >= 1e-3:
		return fmt.Sprintf("%.3g Wh", 1e3*kWh)
	}
	return fmt.Sprintf("%.3g J", joules)
}

func gramsText(g float64) string {
	switch {
	case g >= 1000:
		return fmt.Sprintf("%.3g kg", g/1000)
	case g >= 0.1:
		return fmt.Sprintf("%.3g g", g)
	}
	return fmt.Sprintf("%.3g mg", 1000*g)
}

func moneyText(m power.Money) string {
	switch {
	case m.Amount < 0.01 && m.Amount > 0:
		return "<.01 " + m.Currency
	case m.Amount >= 100:
		return fmt.Sprintf("%.0f %s", m.Amount, m.Currency)
	}
	return fmt.Sprintf("%.2f %s", m.Amount, m.Currency)
}

// printForecast is all about one device.
func printForecast(w io.Writer, f *plan.Forecast) {
	var rows [][]string
	row := func(name, value string) { rows = append(rows, []string{name, value}) }
	fmt.Fprintf(w, "on %s (%s)\n\n", f.Device, f.Name)
	m := f.Memory
	row("batch", fmt.Sprint(f.Batch)+orEmpty(f.Accumulate > 1, fmt.Sprintf(", %d of which make a step", f.Accumulate)))
	row("precision", f.Precision+orEmpty(f.Computed != f.Precision, ", computed as "+f.Computed))
	fits := ""
	if m.Capacity > 0 {
		fits = " of " + ui.Bytes(m.Capacity) + orEmpty(!f.Fits, ": DOES NOT FIT")
	}
	row("memory", ui.Bytes(m.Total)+fits)
	row("  weights", ui.Bytes(m.Weights))
	row("  optimizer", ui.Bytes(m.Optimizer))
	if m.Sums > 0 {
		row("  sums of gradients", ui.Bytes(m.Sums))
	}
	row("  arena", fmt.Sprintf("%s (%s gradients, %s activations, %s workspace at the peak)", ui.Bytes(m.Arena), ui.Bytes(m.Gradients), ui.Bytes(m.Activations), ui.Bytes(m.Workspace)))
	row("  batches", ui.Bytes(m.Batches))
	row("  results", ui.Bytes(m.Results))
	if m.Driver > 0 {
		row("  driver", ui.Bytes(m.Driver)+" (estimated)")
	}
	if f.Largest > 0 || m.Capacity > 0 {
		row("largest batch", orDash(f.Largest > 0, ui.Count(f.Largest))+orEmpty(f.Limited, ", which is all examples"))
	}
	if len(f.Slices) > 0 {
		row("slices that hold it", slicesText(f.Slices))
	}
	row("work of a step", fmt.Sprintf("%sFLOP in products, %sB moved, %s", ui.SI(f.FLOPs), ui.SI(f.Traffic), plural(f.Kernels, "kernel")))
	if f.Step > 0 {
		t := f.StepTime
		row("step", fmt.Sprintf("%s (%s arithmetic, %s memory, %s launches)", briefly(f.Step), briefly(t.Compute), briefly(t.Memory), briefly(t.Launch)))
		if f.Waiting > 0 {
			row("  waiting for batches", briefly(f.Waiting))
		}
		row("samples/s", ui.Number(f.SamplesPerSecond))
		if f.Evaluations > 0 {
			row("evaluations", fmt.Sprintf("%s of %s", plural(f.Evaluations, "time"), briefly(f.Evaluation)))
		}
	}
	if f.Seconds > 0 {
		row("time", longer(f.Seconds)+" for "+plural(f.Steps, "step"))
		if f.Watts > 0 {
			row("power", fmt.Sprintf("%.0f W", f.Watts))
			row("energy", joulesText(f.Usage.Joules)+", the device's alone")
			row("CO2e", gramsText(f.Usage.Grams))
		}
	}
	if c := f.Usage.Cost; !c.IsZero() {
		of := "electricity"
		if f.Offer != nil {
			of = fmt.Sprintf("%v an hour from %s", f.Offer.Rate(), f.Offer.Provider)
		}
		row("cost", c.String()+" ("+of+")")
	}
	ui.Table(w, rows)
	fmt.Fprintln(w)
	if f.Basis != "" {
		printWrapped(w, "Memory is exact but for the driver's. Time and what follows from it are estimated from "+f.Basis+".")
	}
	for _, s := range f.Usage.Sources {
		printWrapped(w, s)
	}
	for _, n := range f.Notes {
		printWrapped(w, "note: "+n)
	}
}

func orEmpty(ok bool, text string) string {
	if ok {
		return text
	}
	return ""
}

// slicesText names the slices of a card that hold a run, and how many of each stand side by side.
func slicesText(list []plan.Fit) string {
	var text []string
	for _, f := range list {
		text = append(text, f.String())
	}
	return strings.Join(text, ", ")
}

// plannedRows is what was planned of a run beside what was measured, for its final table.
func plannedRows(p *recipe.Planned) [][]string {
	if p == nil {
		return nil
	}
	beside := func(planned, measured float64, text func(float64) string) string {
		return fmt.Sprintf("%s planned, %s measured (%+.0f %%)", text(planned), text(measured), 100*(measured/planned-1))
	}
	var rows [][]string
	if p.Step > 0 && p.MeasuredStep > 0 {
		rows = append(rows, []string{"plan, step", beside(float64(p.Step), float64(p.MeasuredStep), briefly)})
	}
	if p.Arena > 0 && p.MeasuredArena > 0 {
		rows = append(rows, []string{"plan, arena", beside(float64(p.Arena), float64(p.MeasuredArena), func(n float64) string { return ui.Bytes(int64(n)) })})
	}
	if p.Joules > 0 && p.MeasuredJoules > 0 {
		text := beside(float64(p.Joules), float64(p.MeasuredJoules), ui.Energy)
		if p.JoulesEstimated {
			text += ", estimated"
		}
		rows = append(rows, []string{"plan, a step's energy", text})
	}
	if len(p.Slices) > 0 {
		rows = append(rows, []string{"slices that hold it", slicesText(p.Slices) + ", by " + ui.Bytes(p.MeasuredMemory) + " measured and what drivers take, estimated"})
	}
	return rows
}
