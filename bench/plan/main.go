// Command plan compares forecasts of package train/plan with what is measured on this
// machine's processor: the arena, and the time of a step.
//
//	go run ./bench/plan                                  # lenet, resnet20, mlp
//	go run ./bench/plan --data book.txt gpt lstm
//	go run ./bench/plan --threads 1 --set batch=32 lenet
//
// The processor is calibrated anew first, unless --cached is given. The time measured is the
// median step of the fastest of several stretches of a run, since a machine that does
// something else as well is only ever slower.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/plan"
	"github.com/sinter-dl/sinter/train/recipe"
)

func main() {
	text := flag.String("data", "", "a text, for the recipes that need one")
	threads := flag.Int("threads", 0, "to compute on")
	cached := flag.Bool("cached", false, "use the calibration that there is")
	window := flag.Duration("for", 8*time.Second, "how long each recipe is measured")
	kernels := flag.Bool("kernels", false, "list the kernels with both times")
	var sets []string
	flag.Func("set", "`key=value` of the recipes", func(s string) error { sets = append(sets, s); return nil })
	flag.Parse()
	names := flag.Args()
	if len(names) == 0 {
		names = []string{"lenet", "resnet20", "mlp"}
	}
	if err := run(names, *text, sets, *threads, *cached, *kernels, *window); err != nil {
		fmt.Fprintln(os.Stderr, "plan:", err)
		os.Exit(1)
	}
}

func run(names []string, text string, sets []string, threads int, cached, kernels bool, window time.Duration) error {
	if threads > 0 {
		sinter.SetThreads(threads)
	}
	var p *plan.Processor
	err := plan.ErrUncalibrated
	if cached {
		p, err = plan.Cached()
	}
	if errors.Is(err, plan.ErrUncalibrated) {
		p, err = plan.Calibrate(context.Background(), nil)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s on %d threads: %.0f GFLOP/s, %.1f GB/s, %d kernels measured in %.1f s\n\n", p.Model, p.Threads, p.Ideal.FLOPs/1e9, p.Ideal.Bandwidth/1e9, len(p.Samples), p.Took)
	fmt.Printf("%-10s  %12s  %12s  %8s    %9s  %9s  %7s\n", "recipe", "arena", "measured", "", "step", "measured", "")
	for _, name := range names {
		r, err := recipe.Load(name)
		if err != nil {
			return err
		}
		for _, s := range sets {
			key, value, _ := strings.Cut(s, "=")
			if err := r.Set("--set", key, value); err != nil {
				return err
			}
		}
		if text != "" {
			if err := r.Set("--data", "data.path", text); err != nil {
				return err
			}
		}
		if err := compare(name, r, p, kernels, window); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func compare(name string, r *recipe.Recipe, p *plan.Processor, kernels bool, window time.Duration) error {
	sinter.EmptyCache()
	job, err := recipe.Prepare(r)
	if err != nil {
		return err
	}
	planner, err := plan.New(job.Trainer, job.Model, job.Source.Examples(), nil)
	if err != nil {
		return err
	}
	device := plan.Device{Key: plan.CPU, Processor: p}
	forecast, err := planner.Forecast(device, 0, plan.Terms{})
	if err != nil {
		return err
	}
	t := *job.Trainer
	t.Epochs, t.Steps = 1<<20, 1<<30
	clock := &clock{until: time.Now().Add(window)}
	t.Callbacks = []train.Callback{clock}
	least := make(map[int]time.Duration)
	names := make(map[int][]sinter.KernelCost)
	if kernels {
		stop, err := sinter.ProfileKernels(func(list []sinter.KernelRun) {
			if len(list) < len(least) {
				return
			}
			if len(list) > len(least) {
				clear(least)
			}
			for i, k := range list {
				d := k.End.Sub(k.Begin)
				if old, ok := least[i]; !ok || d < old {
					least[i] = d
				}
				names[i] = k.Costs
			}
		})
		if err != nil {
			return err
		}
		defer stop()
	}
	if _, err := t.Fit(context.Background(), job.Model, job.Source.Examples(), nil); err != nil {
		return err
	}
	arena := sinter.ReadStats().KeptBytes
	step := clock.step()
	fmt.Printf("%-10s  %12d  %12d  %+7.2f%%    %9s  %9s  %+6.1f%%\n", name, forecast.Memory.Arena, arena, 100*(float64(forecast.Memory.Arena)/float64(arena)-1),
		short(forecast.Step), short(step), 100*(forecast.Step/step-1))
	if kernels {
		sum, planned := 0.0, 0.0
		for i := range len(least) {
			seconds := p.Time(names[i]).Sum()
			fmt.Printf("   %9s  %9s  %+6.0f%%  %s %s\n", short(seconds), short(least[i].Seconds()), 100*(seconds/least[i].Seconds()-1), names[i][0].Kind, names[i][0].Name)
			sum += least[i].Seconds()
			planned += seconds
		}
		fmt.Printf("   %9s  %9s  %+6.0f%%  together\n", short(planned), short(sum), 100*(planned/sum-1))
	}
	return nil
}

func short(seconds float64) string {
	if seconds < 1e-3 {
		return fmt.Sprintf("%.1f µs", 1e6*seconds)
	}
	return fmt.Sprintf("%.2f ms", 1e3*seconds)
}

// clock takes the time of steps, until there are enough.
type clock struct {
	train.NopCallback
	until time.Time
	last  time.Time
	steps []float64
}

func (c *clock) OnStep(s *train.State) {
	now := time.Now()
	if !c.last.IsZero() && s.Step > 3 {
		c.steps = append(c.steps, now.Sub(c.last).Seconds())
	}
	c.last = now
	if now.After(c.until) && len(c.steps) >= 8 {
		s.Stop("measured")
	}
}

// step is the median of the fastest of some stretches of the steps.
func (c *clock) step() float64 {
	const stretches = 12
	n := max(1, len(c.steps)/stretches)
	best := 0.0
	for i := 0; i+n <= len(c.steps); i += n {
		part := slices.Clone(c.steps[i : i+n])
		slices.Sort(part)
		if m := part[len(part)/2]; best == 0 || m < best {
			best = m
		}
	}
	return best
}
