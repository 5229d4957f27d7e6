package main

import (
	"context"
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
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

func trainCommand() *cobra.Command {
	var from recipeFlags
	var out string
	var asJSON bool
	var on machine
	c := &cobra.Command{
		Use:   "train [RECIPE | FILE.yaml]",
		Short: "Train a model",
		Long: `Train a model from a recipe: a built-in one by name ('sinter recipe ls' lists
them) or a YAML file of your own ('sinter recipe show NAME' prints one to start
from). Without a recipe it is lenet, a small image classifier, on digits and
letters that the program renders itself.

The run is written to runs/<recipe>-<time>, or to --out: the weights as
safetensors, run.json, metrics.jsonl and the curves. Ctrl-C stops after the step
and keeps the weights (exit status 130).`,
		Example: `  sinter train
  sinter train lenet --data mnist/ --epochs 5
  sinter train tabular --data houses.csv --target price
  sinter train gpt --data book.txt --set model.layers=6`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("train takes one recipe, found %q as well as %q", args[1], args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			name := "lenet"
			if len(args) == 1 {
				name = args[0]
			}
			r, err := from.load(c, name)
			if err != nil {
				return err
			}
			if err := on.use(); err != nil {
				return err
			}
			return runTraining(c, r, out, asJSON)
		},
	}
	from.add(c)
	on.deviceFlag(c)
	c.Flags().StringVar(&out, "out", "", "folder `DIR` to write the run to, instead of runs/<recipe>-<time>")
	c.Flags().BoolVar(&asJSON, "json", false, "progress as JSON lines on standard error, the result as one JSON object on standard output")
	c.Flags().SortFlags = false
	return c
}

func runTraining(c *cobra.Command, r *recipe.Recipe, out string, asJSON bool) error {
	progress := newProgress(os.Stderr, asJSON)
	progress.show("reading the data …")
	job, err := recipe.Prepare(r)
	progress.clear()
	if err != nil {
		return err
	}
	progress.begin(job)
	picture := &picture{title: r.Name}
	result, err := job.Run(c.Context(), recipe.RunOptions{
		Dir:       out,
		Callbacks: []train.Callback{progress, picture},
		Begin:     picture.begin,
		Finish: func(*rundir.Writer, *recipe.Result) error {
			if err := picture.finish(); err != nil { // the run is worth more than its picture
				progress.note("the curves could not be drawn: " + err.Error())
			}
			return nil
		},
	})
	if result == nil {
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
	switch {
	case errors.Is(err, context.Canceled):
		return &interruption{fmt.Sprintf("interrupted after step %d; the weights as they were then are in %s", result.Steps, result.Run)}
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
	row("parameters", ui.Count(r.Parameters))
	row("device", r.Device+", "+r.Precision)
	row("steps", fmt.Sprintf("%s in %s", ui.Count(r.Steps), plural(r.Epochs, "epoch")))
	if r.Stopped != "" {
		row("stopped", r.Stopped)
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
