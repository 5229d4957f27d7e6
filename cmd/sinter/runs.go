package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/history"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

// runsDir is where runs lie unless something else is said.
const runsDir = "runs"

func runsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "runs",
		Short: "List, show, compare and remove runs",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var known []string
			for _, sub := range c.Commands() {
				known = append(known, sub.Name())
			}
			return &recipe.UsageError{Reason: fmt.Sprintf("unknown command %q%s", "runs "+args[0], recipe.Suggest(args[0], known))}
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var dir string
	var asJSON bool
	c.PersistentFlags().StringVar(&dir, "dir", runsDir, "`FOLDER` in which the runs lie")
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON")

	ls := &cobra.Command{
		Use:   "ls",
		Short: "List runs, the newest first",
		Args:  exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			runs, err := findRuns(dir)
			if err != nil {
				return err
			}
			if asJSON {
				records := make([]runRecord, len(runs))
				for i, r := range runs {
					records[i] = recordOf(r)
				}
				return printJSON(c.OutOrStdout(), records)
			}
			listRuns(c.OutOrStdout(), runs, dir)
			return nil
		},
	}
	show := &cobra.Command{
		Use:   "show [RUN]",
		Short: "Show one run: what was run and what came out; the newest unless said",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("show takes one run, found %q as well; 'sinter runs compare' takes several", args[1])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			runs, err := pickRuns(dir, args)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				runs = runs[:1]
			}
			if len(runs) != 1 {
				return &recipe.UsageError{Reason: fmt.Sprintf("%s is %d runs, show takes one; 'sinter runs compare' takes several", args[0], len(runs))}
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), fullRecordOf(runs[0]))
			}
			showRun(c.OutOrStdout(), runs[0])
			return nil
		},
	}
	compare := &cobra.Command{
		Use:     "compare RUN RUN…",
		Short:   "Show what differs between runs, and their results",
		Example: "  sinter runs compare 'lenet-*'",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("compare takes two runs at least, or a pattern such as 'lenet-*'")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			runs, err := pickRuns(dir, args)
			if err != nil {
				return err
			}
			if len(runs) < 2 {
				return &recipe.UsageError{Reason: fmt.Sprintf("%s is one run; compare takes two at least", args[0])}
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), comparisonOf(runs))
			}
			compareRuns(c.OutOrStdout(), runs)
			return nil
		},
	}
	var yes bool
	rm := &cobra.Command{
		Use:     "rm RUN…",
		Short:   "Remove run folders",
		Long:    "Remove run folders. It asks before it does, unless --yes is given; a run that is being\ntrained, and a folder without a run.json that can be read, are refused.",
		Example: "  sinter runs rm lenet-20261123-150311\n  sinter runs rm --yes 'gpt-*'",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("rm takes the runs to remove")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			runs, err := pickRuns(dir, args)
			if err != nil {
				return err
			}
			removed, err := removeRuns(c, runs, yes, asJSON)
			if asJSON && err == nil {
				return printJSON(c.OutOrStdout(), map[string]any{"removed": removed})
			}
			return err
		},
	}
	rm.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.AddCommand(ls, show, compare, rm)
	return c
}

// findRuns lists the runs in a folder; that there is no folder is only said where it
// was named.
func findRuns(dir string) ([]*history.Run, error) {
	runs, err := history.Find(dir)
	if errors.Is(err, fs.ErrNotExist) && dir == runsDir {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for runs: %w", err)
	}
	return runs, nil
}

// pickRuns finds the runs that are meant: each argument is the path of a run folder,
// or the name of a run in dir, or a pattern of names, or how just one name begins.
// Without arguments it is all of them.
func pickRuns(dir string, args []string) ([]*history.Run, error) {
	var all []*history.Run
	found := false
	inDir := func() (err error) {
		if !found {
			all, err = findRuns(dir)
			found = true
		}
		return err
	}
	if len(args) == 0 {
		if err := inDir(); err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("there are no runs in %s; 'sinter train' makes one, --dir names another folder", dir)
		}
		return all, nil
	}
	var picked []*history.Run
	add := func(r *history.Run) {
		if !slices.ContainsFunc(picked, func(p *history.Run) bool { return sameFolder(p.Dir, r.Dir) }) {
			picked = append(picked, r)
		}
	}
	for _, arg := range args {
		if info, err := os.Stat(arg); err == nil && info.IsDir() && history.IsRun(arg) {
			add(history.Open(filepath.Clean(arg), filepath.ToSlash(filepath.Clean(arg))))
			continue
		}
		if err := inDir(); err != nil {
			return nil, err
		}
		var names []string
		var matches, begins []*history.Run
		for _, r := range all {
			names = append(names, r.ID)
			ok, err := filepath.Match(arg, r.ID)
			if err != nil {
				return nil, &recipe.UsageError{Reason: fmt.Sprintf("%q is no pattern: %v", arg, err)}
			}
			if ok || r.ID == arg {
				matches = append(matches, r)
			} else if strings.HasPrefix(r.ID, arg) {
				begins = append(begins, r)
			}
		}
		if len(matches) == 0 && len(begins) == 1 {
			matches = begins
		}
		if len(matches) == 0 {
			if len(begins) > 1 {
				return nil, &recipe.UsageError{Reason: fmt.Sprintf("%d runs in %s begin with %q; write more of the name, or %q for all of them", len(begins), dir, arg, arg+"*")}
			}
			return nil, &recipe.UsageError{Reason: fmt.Sprintf("there is no run %q, neither as a folder nor in %s%s", arg, dir, recipe.Suggest(arg, names[:min(20, len(names))]))}
		}
		for _, r := range matches {
			add(r)
		}
	}
	return picked, nil
}

func sameFolder(a, b string) bool {
	if a == b {
		return true
	}
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// runRecord is a run in one line.
type runRecord struct {
	Run        string                   `json:"run"`
	Dir        string                   `json:"dir"`
	Status     string                   `json:"status"`
	Error      string                   `json:"error,omitempty"`
	Recipe     string                   `json:"recipe,omitempty"`
	Data       string                   `json:"data,omitempty"`
	Step       int                      `json:"step"`
	Steps      int                      `json:"steps,omitempty"`
	Epoch      int                      `json:"epoch"`
	TrainLoss  recipe.Number            `json:"train_loss"`
	TestLoss   recipe.Number            `json:"test_loss"`
	Metrics    map[string]recipe.Number `json:"metrics,omitempty"`
	Seconds    recipe.Number            `json:"seconds"`
	Parameters int                      `json:"parameters,omitempty"`
	Speed      recipe.Number            `json:"samples_per_second"`
	PeakMemory int64                    `json:"peak_memory_bytes,omitempty"`
	Energy     *recipe.Consumption      `json:"energy,omitempty"`
	Precision  string                   `json:"precision,omitempty"`
	Started    time.Time                `json:"started,omitzero"`
}

func recordOf(r *history.Run) runRecord {
	o := r.Results()
	rec := runRecord{
		Run: r.ID, Dir: r.Dir, Status: r.Status, Error: r.Manifest.Error, Recipe: r.Name, Data: dataOf(r),
		Step: o.Step, Steps: o.Steps, Epoch: o.Epoch, TrainLoss: recipe.Number(o.TrainLoss), TestLoss: recipe.Number(o.TestLoss),
		Seconds: recipe.Number(o.Seconds), Parameters: o.Parameters, Speed: recipe.Number(o.SamplesPerSecond), Precision: o.Precision, Started: r.Started, Energy: o.Energy,
	}
	if o.PeakMemory > 0 {
		rec.PeakMemory = int64(o.PeakMemory)
	}
	if r.Err != nil {
		rec.Error = r.Err.Error()
	}
	for name, v := range o.Metrics {
		if rec.Metrics == nil {
			rec.Metrics = map[string]recipe.Number{}
		}
		rec.Metrics[name] = recipe.Number(v)
	}
	return rec
}

func dataOf(r *history.Run) string {
	for _, d := range r.Data {
		if d.Role == "train" {
			return d.Path
		}
	}
	return ""
}

// statusText is how a status is called where people read it.
func statusText(status string) string {
	if status == rundir.Killed {
		return "killed"
	}
	return ui.Plain(status)
}

func scoreText(o history.Results) string {
	name, value, _ := o.Score()
	if math.IsNaN(value) {
		return "—"
	}
	return name + " " + metricText(name, value)
}

func stepsText(o history.Results) string {
	if o.Steps > o.Step {
		return ui.Count(o.Step) + "/" + ui.Count(o.Steps)
	}
	return ui.Count(o.Step)
}

func secondsText(seconds float64) string {
	return ui.Duration(time.Duration(seconds * float64(time.Second)))
}

// listRuns prints the table of ls. Where it does not fit a terminal, the columns go
// that the name of a run tells as well.
func listRuns(w io.Writer, runs []*history.Run, dir string) {
	if len(runs) == 0 {
		fmt.Fprintf(w, "no runs in %s; 'sinter train' makes one\n", dir)
		return
	}
	head := []string{"RUN", "STATUS", "RECIPE", "DATA", "STEPS", "SCORE", "TIME"}
	energy := slices.ContainsFunc(runs, func(r *history.Run) bool { return r.Status != history.Damaged && r.Results().Energy != nil })
	if energy {
		head = append(head, "ENERGY")
	}
	rows := [][]string{head}
	for _, r := range runs {
		if r.Status == history.Damaged {
			rows = append(rows, []string{ui.Plain(r.ID), history.Damaged})
			continue
		}
		o := r.Results()
		row := []string{ui.Plain(r.ID), statusText(r.Status), ui.Plain(r.Name),
			ui.Plain(ui.Cut(filepath.Base(cmp.Or(dataOf(r), "—")), 20)), stepsText(o), scoreText(o), secondsText(o.Seconds)}
		if energy {
			row = append(row, energyText(o))
		}
		rows = append(rows, row)
	}
	width := math.MaxInt
	if f, ok := w.(*os.File); ok && ui.Terminal(f) {
		width = ui.Width(f)
	}
	for _, column := range []string{"RECIPE", "DATA", "ENERGY", "TIME"} {
		if tableWidth(rows) > width {
			at := slices.Index(rows[0], column)
			if at < 0 {
				continue
			}
			for i, row := range rows {
				if at < len(row) {
					rows[i] = slices.Delete(slices.Clone(row), at, at+1)
				}
			}
		}
	}
	ui.Table(w, rows)
	for _, r := range runs {
		if r.Status == history.Damaged {
			fmt.Fprintf(w, "%s: %s\n", ui.Plain(r.ID), ui.Plain(r.Err.Error()))
		}
	}
}

func tableWidth(rows [][]string) int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	sum := 3 * (len(widths) - 1)
	for _, n := range widths {
		sum += n
	}
	return sum
}

// fullRecord is all that a folder tells of a run.
type fullRecord struct {
	runRecord
	Settings    map[string]string    `json:"settings,omitempty"`
	Seed        uint64               `json:"seed"`
	Device      string               `json:"device,omitempty"`
	Versions    rundir.Versions      `json:"versions"`
	Sources     []rundir.Source      `json:"sources,omitempty"`
	Finished    time.Time            `json:"finished,omitzero"`
	Checkpoints []history.Checkpoint `json:"checkpoints,omitempty"`
	Events      []history.Event      `json:"events,omitempty"`
}

func fullRecordOf(r *history.Run) fullRecord {
	f := fullRecord{runRecord: recordOf(r), Seed: r.Seed, Device: r.Device, Versions: r.Versions, Sources: r.Data,
		Finished: r.Finished, Checkpoints: r.Checkpoints(), Events: r.Log.Events}
	for _, s := range r.Settings() {
		if f.Settings == nil {
			f.Settings = map[string]string{}
		}
		f.Settings[s.Key] = s.Value
	}
	for i := range f.Events {
		if math.IsNaN(f.Events[i].Step) {
			f.Events[i].Step = 0
		}
	}
	return f
}

// showRun prints one run: its state, the curve of its loss, results, recipe, machine.
func showRun(w io.Writer, r *history.Run) {
	if r.Status == history.Damaged {
		fmt.Fprintf(w, "%s: damaged: %s\n", ui.Plain(r.ID), ui.Plain(r.Err.Error()))
		return
	}
	o := r.Results()
	fmt.Fprintf(w, "%s   %s\n", ui.Plain(r.ID), stateText(r, o))
	if r.Manifest.Error != "" {
		fmt.Fprintf(w, "  %s\n", ui.Plain(r.Manifest.Error))
	}

	steps := &r.Log.Steps
	c := steps.Curve("loss", history.View{Axis: history.ByStep, From: math.NaN(), To: math.NaN(), Smooth: 0.9, Buckets: 400})
	logarithmic := worthLog(c.Smooth)
	if lines := ui.Plot(c.X, c.Smooth, 78, 7, logarithmic); lines != nil {
		scale := "smoothed"
		if logarithmic {
			scale = "smoothed, logarithmic"
		}
		fmt.Fprintf(w, "\ntraining loss (%s), steps %s to %s\n", scale, ui.Count(int(steps.Step[0])), ui.Count(int(steps.Step[steps.Len()-1])))
		for _, line := range lines {
			fmt.Fprintln(w, line)
		}
	}

	numbers := map[string]recipe.Number{}
	for name, v := range o.Metrics {
		numbers[name] = recipe.Number(v)
	}
	rows := scoreRows("test ", recipe.Number(o.TestLoss), numbers, confusionsOf(r))
	row := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, ui.Plain(value)})
		}
	}
	if !math.IsNaN(o.TrainLoss) {
		row("training loss", ui.Number(o.TrainLoss))
	}
	row("steps", stepsText(o)+" in "+plural(max(o.Epoch, 0), "epoch"))
	row("time", secondsText(o.Seconds))
	if !math.IsNaN(o.SamplesPerSecond) {
		row("samples/s", ui.Number(o.SamplesPerSecond))
	}
	if o.PeakMemory > 0 {
		row("memory", ui.Bytes(int64(o.PeakMemory)))
	}
	if o.Parameters > 0 {
		row("parameters", ui.Count(o.Parameters))
	}
	for _, r := range energyRows(o.Energy) {
		row(r[0], r[1])
	}
	fmt.Fprintln(w)
	ui.Table(w, rows)

	rows = nil
	for _, s := range r.Settings() {
		if s.Key != "name" && s.Key != "about" {
			row(s.Key, ui.Cut(s.Value, 56))
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w, "\nrecipe "+ui.Plain(r.Name))
		indented(w, rows)
	}
	rows = nil
	for _, d := range r.Data {
		text := fmt.Sprintf("%s, %s", d.Path, plural(d.Examples, "example"))
		if len(d.SHA256) >= 12 {
			text += ", sha256 " + d.SHA256[:12] + "…"
		}
		row(d.Role, text)
	}
	if len(rows) > 0 {
		fmt.Fprintln(w, "\ndata")
		indented(w, rows)
	}
	rows = nil
	row("started", when(r.Started))
	row("finished", when(r.Finished))
	row("machine", strings.Trim(fmt.Sprintf("%s, %s, %s/%s", r.Device, r.Versions.CPU, r.Versions.OS, r.Versions.Arch), ", /"))
	row("sinter", r.Versions.Sinter)
	row("folder", r.Dir)
	fmt.Fprintln(w)
	ui.Table(w, rows)
	if checkpoints := r.Checkpoints(); len(checkpoints) > 0 {
		rows = nil
		for _, c := range checkpoints {
			rows = append(rows, []string{ui.Plain(c.Name), ui.Bytes(c.Bytes), when(c.Time)})
		}
		fmt.Fprintln(w, "\ncheckpoints")
		indented(w, rows)
	}
	if events := r.Log.Events; len(events) > 0 {
		const most = 12
		fmt.Fprintln(w, "\nevents")
		if n := len(events) - most; n > 0 {
			fmt.Fprintf(w, "  … %d earlier\n", n)
			events = events[n:]
		}
		for _, e := range events {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  step %s   %s   %s", ui.Count(int(e.Step)), ui.Plain(e.Kind), ui.Plain(ui.Cut(e.Text, 100))), " "))
		}
	}
	if r.Log.Skipped > 0 {
		fmt.Fprintf(w, "\n%s of %s could not be read and are left out\n", plural(r.Log.Skipped, "line"), rundir.MetricsFile)
	}
}

func indented(w io.Writer, rows [][]string) {
	for _, row := range rows {
		row[0] = "  " + row[0]
	}
	ui.Table(w, rows)
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// stateText says how a run stands, in words.
func stateText(r *history.Run, o history.Results) string {
	switch r.Status {
	case rundir.Running:
		if !math.IsNaN(o.Left) {
			return fmt.Sprintf("running, %s left", ui.Clock(time.Duration(o.Left*float64(time.Second))))
		}
		return "running"
	case rundir.Killed:
		return "killed: stopped without a word at step " + ui.Count(o.Step)
	}
	return statusText(r.Status)
}

// worthLog tells whether values spread so far that only a logarithm shows them all.
func worthLog(values []float64) bool {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	return low > 0 && high > 20*low && !math.IsInf(high, 0)
}

// confusionsOf are the confusions that run.json lists.
func confusionsOf(r *history.Run) []recipe.Confusion {
	var results struct {
		Confusions []recipe.Confusion `json:"confusions"`
	}
	if json.Unmarshal(r.Manifest.Results, &results) != nil {
		return nil
	}
	for i := range results.Confusions {
		c := &results.Confusions[i]
		c.Class, c.Taken = ui.Plain(c.Class), ui.Plain(c.Taken)
	}
	return results.Confusions
}

// comparison is what differs between runs.
type comparison struct {
	Runs     []runRecord         `json:"runs"`
	Settings map[string][]string `json:"settings"` // only those that differ; "" where a run has none
}

func comparisonOf(runs []*history.Run) comparison {
	c := comparison{Settings: map[string][]string{}}
	for _, r := range runs {
		c.Runs = append(c.Runs, recordOf(r))
	}
	for _, d := range history.Differences(runs) {
		c.Settings[d.Key] = d.Values
	}
	return c
}

// compareRuns prints the settings that differ and the results, a column for each run.
// The names of runs are long, so columns have letters.
func compareRuns(w io.Writer, runs []*history.Run) {
	letter := func(i int) string {
		if i < 26 {
			return string(rune('A' + i))
		}
		return fmt.Sprint(i + 1)
	}
	var rows [][]string
	for i, r := range runs {
		rows = append(rows, []string{letter(i), ui.Plain(r.ID), statusText(r.Status)})
	}
	ui.Table(w, rows)

	head := []string{""}
	for i := range runs {
		head = append(head, letter(i))
	}
	rows = [][]string{head}
	for _, d := range history.Differences(runs) {
		row := []string{ui.Plain(d.Key)}
		for _, v := range d.Values {
			row = append(row, ui.Plain(ui.Cut(cmp.Or(v, "—"), 24)))
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(w, "\nrecipe")
	if len(rows) == 1 {
		fmt.Fprintln(w, "  the same")
	} else {
		indented(w, rows)
	}

	results := make([]history.Results, len(runs))
	metrics := map[string]bool{}
	for i, r := range runs {
		results[i] = r.Results()
		for name := range results[i].Metrics {
			metrics[name] = true
		}
	}
	head[0] = ""
	rows = [][]string{head}
	// better: 1 if more is better, -1 if less is, 0 if neither; the best is marked.
	line := func(name string, better int, value func(history.Results) float64, text func(float64) string) {
		row, any, best := []string{name}, false, math.NaN()
		for _, o := range results {
			if v := value(o); !math.IsNaN(v) {
				any = true
				if better != 0 && (math.IsNaN(best) || float64(better)*v > float64(better)*best) {
					best = v
				}
			}
		}
		if !any {
			return
		}
		for _, o := range results {
			v := value(o)
			switch {
			case math.IsNaN(v):
				row = append(row, "—")
			case v == best:
				row = append(row, text(v)+" *")
			default:
				row = append(row, text(v))
			}
		}
		rows = append(rows, row)
	}
	for _, name := range metricNames(metrics) {
		better := -1
		if !train.LowerIsBetter(name) {
			better = 1
		}
		line("test "+ui.Plain(name), better, func(o history.Results) float64 {
			if v, ok := o.Metrics[name]; ok {
				return v
			}
			return math.NaN()
		}, func(v float64) string { return metricText(name, v) })
	}
	line("test loss", -1, func(o history.Results) float64 { return o.TestLoss }, ui.Number)
	line("training loss", -1, func(o history.Results) float64 { return o.TrainLoss }, ui.Number)
	line("samples/s", 1, func(o history.Results) float64 { return o.SamplesPerSecond }, ui.Number)
	line("memory", -1, func(o history.Results) float64 { return positiveOrNaN(o.PeakMemory) }, func(v float64) string { return ui.Bytes(int64(v)) })
	joules := func(o history.Results) float64 {
		if o.Energy == nil {
			return math.NaN()
		}
		return positiveOrNaN(o.Energy.Joules)
	}
	line("energy", -1, joules, ui.Energy)
	line("energy a sample", -1, func(o history.Results) float64 {
		if math.IsNaN(joules(o)) {
			return math.NaN()
		}
		return positiveOrNaN(float64(o.Energy.JoulesPerSample))
	}, ui.Energy)
	line("time", 0, func(o history.Results) float64 { return o.Seconds }, secondsText)
	line("steps", 0, func(o history.Results) float64 { return float64(o.Step) }, func(v float64) string { return ui.Count(int(v)) })
	line("parameters", 0, func(o history.Results) float64 { return positiveOrNaN(float64(o.Parameters)) }, func(v float64) string { return ui.Count(int(v)) })
	fmt.Fprintln(w, "\nresults (* the best)")
	indented(w, rows)
}

func positiveOrNaN(v float64) float64 {
	if v > 0 {
		return v
	}
	return math.NaN()
}

// removeRuns removes folders after all of them were found fit to go.
func removeRuns(c *cobra.Command, runs []*history.Run, yes, quiet bool) (removed []string, err error) {
	removed = []string{}
	var size int64
	for _, r := range runs {
		if r.Status == history.Damaged {
			return removed, fmt.Errorf("%s is not removed, because it cannot be told whether it is a run: %w", r.Dir, r.Err)
		}
		if r.Status == rundir.Running {
			return removed, fmt.Errorf("%s is being trained; stop it first", r.Dir)
		}
		if info, err := os.Lstat(r.Dir); err != nil || !info.IsDir() {
			return removed, fmt.Errorf("%s is not removed, because it is a link to a folder", r.Dir)
		}
		filepath.WalkDir(r.Dir, func(_ string, d fs.DirEntry, err error) error {
			if err == nil {
				if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
					size += info.Size()
				}
			}
			return nil
		})
	}
	if !yes {
		if f, ok := c.InOrStdin().(*os.File); quiet || ok && !ui.Terminal(f) {
			return removed, &recipe.UsageError{Reason: "nobody can be asked here whether " + plural(len(runs), "run") + " may be removed; --yes says so"}
		}
		for _, r := range runs {
			fmt.Fprintf(c.ErrOrStderr(), "  %s   %s\n", ui.Plain(r.ID), statusText(r.Status))
		}
		fmt.Fprintf(c.ErrOrStderr(), "Remove %s (%s)? [y/N] ", plural(len(runs), "run"), ui.Bytes(size))
		answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n')
		if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
			fmt.Fprintln(c.ErrOrStderr(), "nothing was removed")
			return removed, nil
		}
	}
	for _, r := range runs {
		if r.Refresh(); r.Status == rundir.Running { // someone went on with it meanwhile
			return removed, fmt.Errorf("%s is being trained; stop it first", r.Dir)
		}
		// Under another name first, so that no half of a run is ever taken for one.
		parent, base := filepath.Split(filepath.Clean(r.Dir))
		hidden := filepath.Join(parent, "."+base+".removed")
		if err := os.Rename(r.Dir, hidden); err != nil {
			return removed, fmt.Errorf("removing %s: %w", r.Dir, err)
		}
		if err := os.RemoveAll(hidden); err != nil {
			return removed, fmt.Errorf("removing %s: %w; what is left of it is %s", r.Dir, err, hidden)
		}
		removed = append(removed, r.ID)
		if !quiet {
			fmt.Fprintln(c.OutOrStdout(), "removed "+ui.Plain(r.Dir))
		}
	}
	return removed, nil
}
