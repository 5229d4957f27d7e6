package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/curve"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/tune"
)

func tuneCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tune",
		Short: "Choose settings by trying them: learning rate, batch, any others",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return &recipe.UsageError{Reason: fmt.Sprintf("unknown command %q%s", "tune "+args[0], recipe.Suggest(args[0], []string{"lr", "batch", "search"}))}
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(tuneLRCommand(), tuneBatchCommand(), tuneSearchCommand())
	return c
}

// tuning is what the commands that try settings of a recipe share.
type tuning struct {
	from    recipeFlags
	picture string
	json    bool
}

func (t *tuning) flags(c *cobra.Command) {
	t.from.add(c)
	c.Flags().StringVar(&t.picture, "picture", "", "draw the result into `FILE`, .png or .svg")
	c.Flags().BoolVar(&t.json, "json", false, "the result as one JSON object on standard output")
	c.Flags().SortFlags = false
}

func (t *tuning) prepare(c *cobra.Command, name string) (*recipe.Job, error) {
	r, err := t.from.load(c, name)
	if err != nil {
		return nil, err
	}
	job, err := recipe.Prepare(r)
	if err != nil {
		return nil, err
	}
	if job.Source.Train == nil {
		return nil, fmt.Errorf("%s is streamed; tuning wants examples that can be read in any order", r.Data.Path)
	}
	if !t.json {
		fmt.Fprintln(os.Stderr, job.Describe())
	}
	return job, nil
}

// draw writes the picture that was asked for.
func (t *tuning) draw(w io.Writer, chart curve.Chart) error {
	if t.picture == "" {
		return nil
	}
	if err := curve.WriteChart(t.picture, chart); err != nil {
		return err
	}
	if !t.json {
		fmt.Fprintf(w, "picture         %s\n", t.picture)
	}
	return nil
}

func tuneLRCommand() *cobra.Command {
	var t tuning
	var f tune.LRFinder
	c := &cobra.Command{
		Use:   "lr RECIPE | FILE.yaml",
		Short: "Find a learning rate",
		Long: `Make the learning rate range test: a short run in which the learning rate grows
from step to step by the same factor. The suggestion is the rate at which the loss
falls fastest; as a constant rate or the peak of a schedule it is a good start. No
run folder is written.`,
		Example: `  sinter tune lr lenet
  sinter tune lr gpt --data book.txt --max 0.1 --picture lr.png`,
		Args: exactly("RECIPE"),
		RunE: func(c *cobra.Command, args []string) error {
			job, err := t.prepare(c, args[0])
			if err != nil {
				return err
			}
			found, err := f.Find(c.Context(), *job.Trainer, job.Model, job.Source.Train)
			if err != nil {
				return err
			}
			return t.printLR(c.OutOrStdout(), args[0], found)
		},
	}
	t.flags(c)
	c.Flags().Float64Var(&f.Min, "min", 1e-6, "learning rate `X` to begin with")
	c.Flags().Float64Var(&f.Max, "max", 1, "learning rate `X` to end with")
	c.Flags().IntVar(&f.Steps, "points", 100, "`N` steps of the test")
	return c
}

func (t *tuning) printLR(w io.Writer, name string, r *tune.LRRange) error {
	if t.json {
		type point struct {
			LR       recipe.Number `json:"lr"`
			Loss     recipe.Number `json:"loss"`
			Smoothed recipe.Number `json:"smoothed"`
		}
		points := make([]point, len(r.LR))
		for i := range points {
			points[i] = point{recipe.Number(r.LR[i]), recipe.Number(r.Loss[i]), recipe.Number(r.Smoothed[i])}
		}
		line, err := json.Marshal(map[string]any{"suggestion": r.Suggestion, "minimum": r.Minimum, "diverged": r.Diverged, "points": points})
		if err != nil {
			return err
		}
		fmt.Fprintln(w, string(line))
	}
	chart := curve.Chart{Title: "learning rate range test of " + name, X: "learning rate", Y: "loss", LogX: true,
		Mark: &curve.Point{Step: r.Suggestion, Value: r.Smoothed[r.Steepest]}, MarkName: "suggestion"}
	exponents := make([]float64, len(r.LR))
	top := r.Smoothed[0] // what rises above where it began is not of interest
	shown := make([]float64, len(r.LR))
	for i, lr := range r.LR {
		exponents[i] = math.Log10(lr)
		shown[i] = min(r.Smoothed[i], 1.5*top)
		chart.Line = append(chart.Line, curve.Point{Step: lr, Value: shown[i]})
	}
	if t.json {
		return t.draw(w, chart)
	}
	plot := ui.Plot(exponents, shown, 72, 8, false)
	for _, line := range plot {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "%*s loss over the learning rate, from %s to %s\n", 72/4, "", ui.Number(r.LR[0]), ui.Number(r.LR[len(r.LR)-1]))
	fmt.Fprintln(w)
	suggestion := ui.Number(r.Suggestion)
	ui.Table(w, [][]string{
		{"suggestion", suggestion + ", where the loss falls fastest"},
		{"least loss at", ui.Number(r.Minimum) + ", too high to train with"},
		{"use it", fmt.Sprintf("sinter train %s --lr %s", name, strings.ReplaceAll(suggestion, ",", ""))},
	})
	return t.draw(w, chart)
}

func tuneBatchCommand() *cobra.Command {
	var t tuning
	var f tune.BatchFinder
	var memory string
	c := &cobra.Command{
		Use:   "batch RECIPE | FILE.yaml",
		Short: "Find a batch: how fast training is with each size, and what fits",
		Long: `Train for a moment with batches of 1, 2, 4, … examples and measure the samples a
second and the memory of a step. The knee is the least batch that reaches 90 % of the
most samples a second: larger ones are hardly faster, and make fewer updates of an
epoch. No run folder is written.`,
		Example: `  sinter tune batch lenet
  sinter tune batch resnet20 --data photos/ --memory 2GB`,
		Args: exactly("RECIPE"),
		RunE: func(c *cobra.Command, args []string) error {
			if memory != "" {
				n, err := recipe.ParseSize(memory)
				if err != nil {
					return &recipe.UsageError{Place: "--memory", Reason: err.Error()}
				}
				f.Memory = n
			}
			job, err := t.prepare(c, args[0])
			if err != nil {
				return err
			}
			line := newProgress(os.Stderr, t.json)
			f.Progress = func(s tune.BatchSpeed) {
				line.show(fmt.Sprintf("batch %s: %s samples/s", ui.Count(s.Batch), ui.Number(s.SamplesPerSecond)))
			}
			found, err := f.Find(c.Context(), *job.Trainer, job.Model, job.Source.Train)
			line.clear()
			if err != nil {
				return err
			}
			return t.printBatch(c.OutOrStdout(), args[0], found)
		},
	}
	t.flags(c)
	c.Flags().IntVar(&f.Max, "max", 4096, "largest batch `N` to try")
	c.Flags().StringVar(&memory, "memory", "", "what a step's program may need, `SIZE` such as 2GB")
	return c
}

func (t *tuning) printBatch(w io.Writer, name string, r *tune.BatchSizes) error {
	chart := curve.Chart{Title: "training " + name + " with batches of each size", X: "batch", Y: "samples/s", LogX: true, ZeroY: true, MarkName: "knee"}
	rows := [][]string{{"batch", "samples/s", "ms/step", "memory of a step"}}
	for _, s := range r.Speeds {
		note := ui.Bytes(int64(s.ArenaBytes))
		if s.TooLarge {
			rows = append(rows, []string{ui.Count(s.Batch), "-", "-", note + ": too large"})
			continue
		}
		p := curve.Point{Step: float64(s.Batch), Value: s.SamplesPerSecond}
		chart.Line = append(chart.Line, p)
		switch s.Batch {
		case r.Knee:
			note += "  knee"
			chart.Mark = &p
		case r.Fastest:
			note += "  fastest"
		}
		rows = append(rows, []string{ui.Count(s.Batch), ui.Number(s.SamplesPerSecond), ui.Number(1000 * s.StepSeconds), note})
	}
	if chart.Mark == nil {
		return fmt.Errorf("batches of %d do not fit in the memory that was allowed", r.Speeds[0].Batch)
	}
	if t.json {
		line, err := json.Marshal(map[string]any{"batches": r.Speeds, "knee": r.Knee, "fastest": r.Fastest, "largest": r.Largest})
		if err != nil {
			return err
		}
		fmt.Fprintln(w, string(line))
		return t.draw(w, chart)
	}
	ui.Table(w, rows)
	fmt.Fprintf(w, "\nuse it          sinter train %s --batch %d\n", name, r.Knee)
	return t.draw(w, chart)
}
