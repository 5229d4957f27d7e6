package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/profile"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

func trainCommand() *cobra.Command {
	var from recipeFlags
	var out, resume, step string
	var asJSON, profiled, goOn bool
	c := &cobra.Command{
		Use:   "train [RECIPE | FILE.yaml]",
		Short: "Train a model",
		Long: `Train a model from a recipe: a built-in one by name ('sinter recipe ls' lists
them) or a YAML file of your own ('sinter recipe show NAME' prints one to start
from). Without a recipe it is lenet, a small image classifier, on digits and
letters that the program renders itself.

The run is written to runs/<recipe>-<time>, or to --out: the weights as
safetensors, run.json, metrics.jsonl and the curves.

What a run consumes is measured, or estimated and marked so: energy, CO2 and, with
--tariff and --rate, money. --budget is the most that the whole run may use of
money, energy, carbon or time: it then writes a checkpoint and ends with exit
status 75, and goes on with --resume and a larger --budget.

Ctrl-C, or SIGTERM, stops after the step, writes a checkpoint and ends with exit
status 75; a second Ctrl-C ends at once. --resume RUN goes on from the newest
checkpoint of a run that was stopped or killed, to the same bits as if it never
had been; with --epochs or --steps it also makes a complete run longer. While a
run trains, control.yaml in its folder changes its learning rate and more.

--continue, with --out DIR, begins the run in DIR or goes on with it, whichever is
due: the same command again and again, as a job that is started again gives. It
does not go on with a run that stopped by itself, for its budget was spent.`,
		Example: `  sinter train
  sinter train lenet --data mnist/ --epochs 5
  sinter train tabular --data houses.csv --target price
  sinter train gpt --data book.txt --set model.layers=6
  sinter train resnet --data photos/ --budget "5EUR, 2kWh" --region FRA --tariff 0.25EUR
  sinter train --resume runs/gpt-20261123-150311
  sinter train gpt --data book.txt --out runs/gpt --continue`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("train takes one recipe, found %q as well as %q", args[1], args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := alone(); err != nil {
				return err
			}
			if goOn && (resume != "" || out == "") {
				return &recipe.UsageError{Place: "--continue", Reason: "it begins the run in --out DIR or goes on with it; give --out, and no --resume"}
			}
			if resume == "" {
				if step != "" {
					return &recipe.UsageError{Place: "--from", Reason: "it says where --resume goes on; give --resume RUN too"}
				}
				name := "lenet"
				if len(args) == 1 {
					name = args[0]
				}
				r, err := from.load(c, name)
				if err != nil {
					return err
				}
				prepare := func() (*recipe.Job, error) { return recipe.Prepare(r) }
				if goOn {
					prepare = func() (*recipe.Job, error) {
						return recipe.Continue(out, r, func(r *recipe.Recipe) error { return from.apply(c, r) })
					}
				}
				return runTraining(c, prepare, out, asJSON, profiled)
			}
			if len(args) > 0 || out != "" {
				return &recipe.UsageError{Place: "--resume", Reason: "the recipe and the folder are those of the run; give no RECIPE and no --out"}
			}
			return runTraining(c, func() (*recipe.Job, error) {
				return recipe.Resume(resume, step, func(r *recipe.Recipe) error { return from.apply(c, r) })
			}, out, asJSON, profiled)
		},
	}
	from.add(c)
	c.Flags().BoolVar(&profiled, "profile", false, "find out where the time goes: a trace, a table by operation and by layer, and what to change")
	c.Flags().StringVar(&out, "out", "", "folder `DIR` to write the run to, instead of runs/<recipe>-<time>")
	c.Flags().StringVar(&resume, "resume", "", "go on with the run in the folder `RUN`")
	c.Flags().BoolVar(&goOn, "continue", false, "with --out DIR: go on with the run in DIR if there is one, begin it if there is none")
	c.Flags().StringVar(&step, "from", "", "with --resume: go on from the checkpoint `STEP` (step-1200, see checkpoints/ in the run), not the newest; later ones are dropped")
	c.Flags().BoolVar(&asJSON, "json", false, "progress as JSON lines on standard error, the result as one JSON object on standard output")
	c.Flags().SortFlags = false
	return c
}

// runTraining trains the job that prepare makes.
func runTraining(c *cobra.Command, prepare func() (*recipe.Job, error), out string, asJSON, profiled bool) error {
	progress := newProgress(os.Stderr, asJSON)
	progress.show("reading the data …")
	job, err := prepare()
	progress.clear()
	var finished *recipe.FinishedError
	if errors.As(err, &finished) {
		progress.note(finished.Error())
		return nil
	}
	if err != nil {
		return err
	}
	progress.begin(job)
	picture := &picture{title: job.Recipe.Name}
	callbacks := []train.Callback{progress, picture}
	var profiler *profile.Profiler
	if profiled {
		profiler = new(profile.Profiler)
		callbacks = append([]train.Callback{profiler}, callbacks...)
	}
	result, err := job.Run(c.Context(), recipe.RunOptions{
		Dir:       out,
		Callbacks: callbacks,
		Begin:     picture.begin,
		Warn:      progress.note,
		Finish: func(*rundir.Writer, *recipe.Result) error {
			if err := picture.finish(); err != nil { // the run is worth more than its picture
				progress.note("the curves could not be drawn: " + err.Error())
			}
			return nil
		},
	})
	if result == nil {
		if errors.As(err, new(*train.InterruptedError)) {
			return &interruption{err.Error() + "; nothing was done yet, and nothing is left"}
		}
		return err
	}
	if asJSON {
		line, jsonErr := json.Marshal(result)
		if jsonErr != nil {
			return jsonErr
		}
		fmt.Fprintln(c.OutOrStdout(), string(line))
	} else {
		printResult(c.OutOrStdout(), result)
	}
	if profiler != nil {
		if err := writeProfile(c, profiler, job, result, asJSON); err != nil {
			progress.note("the profile could not be completed: " + err.Error())
		}
	}
	var stopped *train.InterruptedError
	var gone *train.DeviceError
	errors.As(err, &stopped)
	switch {
	case errors.As(err, new(*train.BudgetError)) && stopped.Checkpoint != "":
		return &interruption{fmt.Sprintf("%v; to go on: sinter train --resume %s --budget LARGER (a budget is for the whole run)", err, result.Run)}
	case errors.As(err, &stopped) && stopped.Checkpoint == "":
		return &interruption{fmt.Sprintf("%v; the weights as they were then are in %s, and there is no checkpoint to go on from", err, result.Run)}
	case errors.As(err, &stopped):
		return &interruption{fmt.Sprintf("%v; to go on: sinter train --resume %s", err, result.Run)}
	case errors.As(err, &gone) && gone.Checkpoint != "":
		return fmt.Errorf("%w; to go on: sinter train --resume %s", err, result.Run)
	case errors.As(err, &gone):
		return err
	case err != nil:
		return fmt.Errorf("%w; the weights before that step are in %s", err, result.Run)
	}
	return nil
}

// printResult is the table at the end of a run.
func printResult(w io.Writer, r *recipe.Result) {
	var rows [][]string
	row := func(name, value string) { rows = append(rows, []string{name, value}) }
	rows = append(rows, scoreRows("test ", r.TestLoss, r.Metrics, r.Confusions)...)
	row("training loss", ui.Number(float64(r.TrainLoss)))
	row("samples/s", ui.Number(float64(r.SamplesPerSecond)))
	row("time", ui.Duration(time.Duration(float64(r.Seconds)*float64(time.Second))))
	peak := ui.Bytes(r.PeakMemory)
	if note, ok := strings.CutPrefix(r.PeakMemorySource, "estimate: "); ok {
		peak += " (estimated from " + note + ")"
	}
	row("peak memory", peak)
	if r.UploadedPerStep > 0 {
		row("uploaded", ui.Bytes(int64(r.UploadedPerStep))+" a step")
	}
	row("parameters", ui.Count(r.Parameters))
	row("device", r.Device+", "+r.Precision)
	row("steps", fmt.Sprintf("%s in %s", ui.Count(r.Steps), plural(r.Epochs, "epoch")))
	rows = append(rows, energyRows(r.Energy)...)
	rows = append(rows, plannedRows(r.Planned)...)
	if r.Stopped != "" {
		row("stopped", r.Stopped)
	}
	if n := len(r.Bad); n > 0 {
		row("left out", plural(n, "example")+" that cannot be read; run.json lists them")
	}
	row("run", r.Run)
	fmt.Fprintln(w)
	ui.Table(w, rows)
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return ui.Count(n) + " " + unit + "s"
}
