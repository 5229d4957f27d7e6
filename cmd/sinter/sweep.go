package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/curve"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/train/plan"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
	"github.com/sinter-dl/sinter/train/sweep"
)

func sweepCommand() *cobra.Command {
	var s sweeping
	c := &cobra.Command{
		Use:   "sweep RECIPE | FILE.yaml",
		Short: "Measure speed and energy with other batches, precisions and power limits",
		Long: `Train for a moment with each combination of batch, precision and, if --power-limits
names some, power limit of the device, and measure samples a second and joules a
sample. What no other setting beats in both is the Pareto front; the recommended
setting has the least cost η·E + (1-η)·P·T of a sample, with its energy E, its time
T and the most that the device may draw, P. No run folder is written.

Settings that do not fit into memory, as planned, are left out. Power limits are
changed only if --power-limits is given and the system permits it, as it does for
root; without that they are left out, and the rest is measured. The limit is put
back at the end, after Ctrl-C or an error, and, if the program is killed, by
whichever sinter command is started next.

A larger batch makes fewer updates, and another precision rounds otherwise: what is
compared is samples, not what is learned of them.`,
		Example: `  sinter sweep lenet
  sinter sweep mine.yaml --batches 32,64,128 --precisions fp32,bf16 --picture sweep.svg --write
  sinter sweep gpt --data book.txt --device cuda:0 --power-limits 300,250,200 --eta 1`,
		Args: exactly("RECIPE"),
		RunE: func(c *cobra.Command, args []string) error { return s.run(c, args[0]) },
	}
	f := c.Flags()
	f.IntSliceVar(&s.options.Batches, "batches", nil, "batches to try, `N,N,…`; half, once, twice and four times the recipe's unless said")
	f.StringSliceVar(&s.precisions, "precisions", nil, "precisions to try, `P,P,…`; the recipe's unless said")
	f.StringVar(&s.limits, "power-limits", "", "power limits of the device to try, `W,W,…`; or all: from the most to the least in steps of 25 W")
	f.Float64Var(&s.options.Weight, "eta", 0.5, "what counts: `η` 1 is energy alone, 0 time alone")
	f.IntVar(&s.options.Steps, "measure", 40, "steps that are measured, at least `N`")
	f.IntVar(&s.options.Warmup, "warmup", 10, "steps before that, at least `N`")
	f.DurationVar(&s.options.Time, "time", 0, "for which a setting is measured, at least `TIME`; 2s unless said")
	f.BoolVar(&s.write, "write", false, "put the recommended batch and precision into the recipe, a file of yours")
	s.flags(c)
	return c
}

// sweeping is what the flags of 'sinter sweep' say.
type sweeping struct {
	tuning
	options    sweep.Options
	precisions []string
	limits     string
	write      bool
	monitor    *telemetry.Monitor // that sets power limits; nil: none are set
}

func (s *sweeping) run(c *cobra.Command, name string) error {
	if err := alone(); err != nil {
		return err
	}
	o := &s.options
	bad := func(flag, format string, args ...any) error {
		return &recipe.UsageError{Place: flag, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case !(o.Weight >= 0 && o.Weight <= 1):
		return bad("--eta", "found %g, expected a number from 0 (time) to 1 (energy)", o.Weight)
	case o.Steps < 1:
		return bad("--measure", "found %d, expected at least 1", o.Steps)
	case o.Warmup < 1:
		return bad("--warmup", "found %d, expected at least 1, for the first step compiles the program", o.Warmup)
	case o.Time != 0 && o.Time < 200*time.Millisecond:
		return bad("--time", "found %v, expected at least 200ms, for sensors are read ten times a second", o.Time)
	case s.write && !isFile(name):
		return bad("--write", "%s is built in; 'sinter recipe show %s > mine.yaml' makes a file of it that can be written", name, name)
	}
	for _, b := range o.Batches {
		if b < 1 || b > 65536 {
			return bad("--batches", "found %d, expected 1 to 65536", b)
		}
	}
	for _, text := range s.precisions {
		p, err := sinter.ParsePrecision(strings.TrimSpace(text))
		if err == nil {
			err = p.Check()
		}
		if err != nil {
			return bad("--precisions", "%s", strings.TrimPrefix(err.Error(), "sinter: "))
		}
		o.Precisions = append(o.Precisions, p)
	}
	job, err := s.prepare(c, name)
	if err != nil {
		return err
	}
	if err := s.machine(job.Recipe); err != nil {
		return err
	}
	if s.monitor != nil {
		defer s.monitor.Close()
	}
	o.Meter = job.Recipe.OpenMeter()
	if o.Meter == nil {
		return bad("--set energy.meter", "it is off, and there is nothing to measure joules with")
	}
	defer o.Meter.Close()
	line := newProgress(os.Stderr, s.json)
	o.Progress = func(p sweep.Point) {
		if p.Left == "" {
			line.show(fmt.Sprintf("%v: %s samples/s, %s J/sample", p.Setting, ui.Number(p.SamplesPerSecond), ui.Number(p.JoulesPerSample)))
		}
	}
	result, err := sweep.Run(c.Context(), *job.Trainer, job.Model, job.Source.Train, *o)
	line.clear()
	if result == nil {
		return err
	}
	written, writeErr := "", error(nil)
	if err == nil && s.write && result.Recommended != nil {
		written, writeErr = s.edit(name, result.Recommended)
	}
	printErr := s.print(c.OutOrStdout(), name, job, result, written)
	if errors.Is(err, context.Canceled) {
		return &interruption{"interrupted; what was measured before stands above, and power limits are what they were"}
	}
	return errors.Join(err, writeErr, printErr)
}

// machine finds out what the device has, and how its power limit is set.
func (s *sweeping) machine(r *recipe.Recipe) error {
	o := &s.options
	info, err := sinter.Device()
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(r.MemoryLimit); text != "" {
		if o.Memory, err = recipe.ParseSize(text); err != nil {
			return err
		}
	} else if info.HostMemory {
		o.Memory = plan.This(nil).Memory
	} else {
		o.Memory = cmp.Or(max(0, info.Free), info.Total)
	}
	if info.Kind == "cpu" {
		if s.limits != "" {
			return &recipe.UsageError{Place: "--power-limits", Reason: info.Name + " is the processor, whose power limit is not Sinter's to set; it is for GPUs"}
		}
		o.MaxPower = plan.This(nil).Power
		return nil
	}
	names := map[string]string{}
	for _, alias := range info.Aliases {
		if _, uuid, ok := strings.Cut(alias, ":"); ok {
			names[uuid] = info.Name
		}
	}
	m, err := telemetry.Open(telemetry.Options{Names: names})
	if err != nil {
		return err
	}
	all := m.ReadEnergy()
	i := slices.IndexFunc(all, func(r telemetry.Reading) bool { return r.Device == info.Name })
	if i >= 0 {
		o.MaxPower = all[i].PowerMax.V // 0 if it is not told
	}
	if s.limits == "" || i < 0 {
		m.Close()
		if s.limits != "" {
			return &recipe.UsageError{Place: "--power-limits", Reason: fmt.Sprintf("%s is not among the devices that tell and take a power limit: %s", info.Name, strings.Join(m.Problems(), "; "))}
		}
		return nil
	}
	if o.PowerLimits, err = powerLimits(s.limits, all[i]); err != nil {
		m.Close()
		return err
	}
	s.monitor, o.Device, o.Limits = m, all[i].UUID, sweep.NewLimits(m, sweep.Folders()[0])
	return nil
}

// powerLimits reads the flag, with what the device allows.
func powerLimits(text string, r telemetry.Reading) (limits []float64, err error) {
	bad := func(format string, args ...any) ([]float64, error) {
		return nil, &recipe.UsageError{Place: "--power-limits", Reason: fmt.Sprintf(format, args...)}
	}
	if text == "all" {
		if !r.PowerMin.OK || !r.PowerMax.OK {
			return bad("%s does not tell what limits it takes; name some", r.Model)
		}
		for w := r.PowerMax.V; w >= r.PowerMin.V; w -= 25 {
			limits = append(limits, w)
		}
		return limits, nil
	}
	for _, word := range strings.Split(text, ",") {
		w, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(word), "W"), 64)
		if err != nil || !(w > 0 && w < 1e5) {
			return bad("found %q, expected watts such as 300,250,200, or all", word)
		}
		if r.PowerMin.OK && w < r.PowerMin.V || r.PowerMax.OK && w > r.PowerMax.V {
			return bad("%s takes limits from %s to %s W, not %g", r.Model, r.PowerMin.Format(0), r.PowerMax.Format(0), w)
		}
		limits = append(limits, w)
	}
	return limits, nil
}

// edit puts the setting into the recipe's file, and tells what it wrote.
func (s *sweeping) edit(name string, p *sweep.Point) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	if text, err = recipe.Edit(name, text, "batch", strconv.Itoa(p.Batch)); err != nil {
		return "", err
	}
	if text, err = recipe.Edit(name, text, "precision", p.PrecisionName); err != nil {
		return "", err
	}
	if err := rundir.WriteFile(name, text); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	return fmt.Sprintf("batch %d and precision %s into %s", p.Batch, p.PrecisionName, name), nil
}

func (s *sweeping) print(w io.Writer, name string, job *recipe.Job, r *sweep.Result, written string) error {
	chart := curve.Chart{Title: "speed and energy of training " + name, X: "samples/s", Y: "J/sample", FaintDots: true}
	for i := range r.Points {
		p := &r.Points[i]
		at := curve.Point{Step: p.SamplesPerSecond, Value: p.JoulesPerSample}
		switch {
		case p.Steps == 0:
		case p.Pareto:
			chart.Line, chart.Dots = append(chart.Line, at), append(chart.Dots, at)
		default:
			chart.Faint = append(chart.Faint, at)
		}
		text := p.Setting.String()
		if p == r.Recommended {
			chart.Mark = &at
			text += ", recommended"
		}
		if p.Steps > 0 {
			chart.Labels = append(chart.Labels, curve.Label{At: at, Text: text})
		}
	}
	slices.SortFunc(chart.Line, func(a, b curve.Point) int { return cmp.Compare(a.Step, b.Step) })
	if s.json {
		line, err := json.Marshal(map[string]any{"recipe": job.Recipe.Name, "device": sinter.DeviceName(), "points": r.Points, "recommended": r.Recommended,
			"eta": r.Weight, "max_power_watts": r.MaxPower, "written": written})
		if err != nil {
			return err
		}
		fmt.Fprintln(w, string(line))
		if r.Recommended == nil {
			return nil
		}
		return s.draw(w, chart)
	}
	s.table(w, r)
	if r.Recommended == nil {
		return errors.New("nothing could be measured: the table says why")
	}
	fmt.Fprintln(w)
	rows := [][]string{{"recommended", r.Recommended.Setting.String()},
		{"by", fmt.Sprintf("η = %g: the least η × energy + (1-η) × %s W × time of a sample", r.Weight, ui.Number(r.MaxPower))}}
	if base := s.base(job, r); base != nil && base != r.Recommended {
		rows = append(rows, []string{"beside " + base.Setting.String(), fmt.Sprintf("%.2f times the speed, %.2f times the energy of a sample", r.Recommended.SamplesPerSecond/base.SamplesPerSecond, r.Recommended.JoulesPerSample/base.JoulesPerSample)})
	}
	for i, source := range r.Recommended.Sources {
		rows = append(rows, []string{map[bool]string{true: "energy", false: ""}[i == 0], source})
	}
	if written != "" {
		rows = append(rows, []string{"written", written})
	} else {
		rows = append(rows, []string{"use it", fmt.Sprintf("sinter train %s --batch %d --precision %s", name, r.Recommended.Batch, r.Recommended.PrecisionName)})
	}
	if r.Recommended.PowerLimit > 0 {
		rows = append(rows, []string{"", fmt.Sprintf("nvidia-smi -i %s -pl %g (as root; a recipe has no power limit)", s.options.Device, r.Recommended.PowerLimit)})
	}
	ui.Table(w, rows)
	return s.draw(w, chart)
}

// table is all settings, with the front marked.
func (s *sweeping) table(w io.Writer, r *sweep.Result) {
	limited := len(s.options.PowerLimits) > 0
	head := []string{"batch", "precision"}
	if limited {
		head = append(head, "limit")
	}
	joules, unit := "J/sample", 1.0
	if !slices.ContainsFunc(r.Points, func(p sweep.Point) bool { return p.JoulesPerSample >= 0.1 }) {
		joules, unit = "mJ/sample", 1000
	}
	if slices.ContainsFunc(r.Points, func(p sweep.Point) bool { return p.Estimated }) {
		joules += " (est.)"
	}
	rows := [][]string{append(head, "samples/s", joules, "W", "memory", "")}
	left := map[string][]string{}
	var why []string
	for i := range r.Points {
		p := &r.Points[i]
		if p.Steps == 0 {
			if left[p.Left] == nil {
				why = append(why, p.Left)
			}
			left[p.Left] = append(left[p.Left], p.Setting.String())
			continue
		}
		row := []string{ui.Count(p.Batch), p.PrecisionName}
		if limited {
			row = append(row, fmt.Sprintf("%g W", p.PowerLimit))
		}
		mark := ""
		switch {
		case p == r.Recommended:
			mark = "* recommended"
		case p.Pareto:
			mark = "*"
		}
		rows = append(rows, append(row, ui.Number(p.SamplesPerSecond), ui.Number(unit*p.JoulesPerSample), ui.Number(p.Watts), ui.Bytes(p.Memory), mark))
	}
	if len(rows) > 1 {
		ui.Table(w, rows)
		fmt.Fprintln(w, "\n* no other setting is both faster and thriftier")
	}
	for _, reason := range why {
		for _, line := range wrap("left out: "+strings.Join(left[reason], "; ")+": "+reason, devicesWidth) {
			fmt.Fprintln(w, line)
		}
	}
}

// base is the point with the recipe's own setting.
func (s *sweeping) base(job *recipe.Job, r *sweep.Result) *sweep.Point {
	for i := range r.Points {
		if p := &r.Points[i]; p.Steps > 0 && p.Batch == job.Trainer.Batch && p.Precision == job.Trainer.Precision && (p.PowerLimit == 0 || p.PowerLimit == s.options.MaxPower) {
			return p
		}
	}
	return nil
}

// recoverLimits puts back power limits that a sweep changed which was killed.
func recoverLimits() {
	said, err := sweep.Recover(sweep.Folders(), func() (sweep.Device, func() error, error) {
		m, err := telemetry.Open(telemetry.Options{})
		if err != nil {
			return nil, nil, err
		}
		return m, m.Close, nil
	})
	for _, line := range said {
		fmt.Fprintln(os.Stderr, "sinter: "+line)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sinter: "+err.Error())
	}
}
