// Command plan compares forecasts of package train/plan with what is measured on this
// machine's processor: the arena, the time of a step, and the time of its kernels.
//
//	go run ./bench/plan                                  # lenet, resnet20, mlp
//	go run ./bench/plan --data book.txt gpt lstm
//	go run ./bench/plan --threads 1 --set batch=32 --list lenet
//
// The processor is calibrated anew first, unless --cached is given; each recipe then has a
// process of its own. A step's time is the median of the fastest of some stretches of a run,
// a kernel's the least one: a machine that does something else as well is only ever slower.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/plan"
	"github.com/sinter-dl/sinter/train/recipe"
)

type options struct {
	data         string
	threads      int
	cached, list bool
	window       time.Duration
	sets         []string
}

func main() {
	var o options
	alone := flag.String("alone", "", "measure this recipe in this process, with the calibration that there is")
	flag.StringVar(&o.data, "data", "", "a text, for the recipes that need one")
	flag.IntVar(&o.threads, "threads", 0, "to compute on")
	flag.BoolVar(&o.cached, "cached", false, "use the calibration that there is")
	flag.BoolVar(&o.list, "list", false, "list the kernels with both times")
	flag.DurationVar(&o.window, "for", 8*time.Second, "how long each recipe is measured")
	flag.Func("set", "`key=value` of the recipes", func(s string) error { o.sets = append(o.sets, s); return nil })
	flag.Parse()
	if o.threads > 0 {
		sinter.SetThreads(o.threads)
	}
	err := o.run(flag.Args())
	if *alone != "" {
		err = o.compare(*alone)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "plan:", err)
		os.Exit(1)
	}
}

func (o *options) run(names []string) error {
	if slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "--alone") }) {
		return nil
	}
	if len(names) == 0 {
		names = []string{"lenet", "resnet20", "mlp"}
	}
	var p *plan.Processor
	err := plan.ErrUncalibrated
	if o.cached {
		p, err = plan.Cached()
	}
	if errors.Is(err, plan.ErrUncalibrated) {
		p, err = plan.Calibrate(context.Background(), nil)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s on %d threads: %.0f GFLOP/s, %.1f GB/s; %d kernels calibrated in %.1f s\n\n", p.Model, p.Threads, p.Ideal.FLOPs/1e9, p.Ideal.Bandwidth/1e9, len(p.Samples), p.Took)
	fmt.Printf("%-10s %11s %11s %7s  %9s %9s %7s  %9s %9s %7s\n", "recipe", "arena", "measured", "", "step", "measured", "", "kernels", "measured", "")
	for _, name := range names {
		c := exec.Command(os.Args[0], append(slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return slices.Contains(names, a) }), "--alone="+name)...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// compare measures a recipe beside its forecast.
func (o *options) compare(name string) error {
	p, err := plan.Cached()
	if err != nil {
		return err
	}
	r, err := recipe.Load(name)
	if err != nil {
		return err
	}
	if o.data != "" {
		o.sets = append(o.sets, "data.path="+o.data)
	}
	for _, s := range o.sets {
		key, value, _ := strings.Cut(s, "=")
		if err := r.Set("--set", key, value); err != nil {
			return err
		}
	}
	job, err := recipe.Prepare(r)
	if err != nil {
		return err
	}
	planner, err := job.Planner()
	if err != nil {
		return err
	}
	forecast, err := planner.Forecast(plan.Device{Key: plan.CPU, Processor: p}, 0, plan.Terms{})
	if err != nil {
		return err
	}
	t := *job.Trainer
	t.Epochs, t.Steps, t.EvalEvery = 1<<20, 1<<30, 0
	clock := &clock{}
	measure := func() error {
		clock.until, clock.last = time.Now().Add(o.window/2), time.Time{}
		t.Callbacks = []train.Callback{clock}
		_, err := t.Fit(context.Background(), job.Model, job.Source.Examples(), nil)
		return err
	}
	if err := measure(); err != nil {
		return err
	}
	step := clock.step()
	var least []float64
	var costs [][]sinter.KernelCost
	stop, err := sinter.ProfileKernels(func(list []sinter.KernelRun) {
		if len(list) > len(least) {
			least, costs = make([]float64, len(list)), make([][]sinter.KernelCost, len(list))
		}
		for i, k := range list {
			if len(list) < len(least) {
				return
			}
			if d := k.End.Sub(k.Begin).Seconds(); costs[i] == nil || d < least[i] {
				least[i], costs[i] = d, k.Costs
			}
		}
	})
	if err != nil {
		return err
	}
	if err := measure(); err != nil {
		return err
	}
	stop()
	if job.Source.Test != nil {
		if _, _, err := t.Evaluate(context.Background(), job.Model, job.Source.Test); err != nil {
			return err
		}
	}
	arena := sinter.ReadStats().HeldArena
	sum, planned := 0.0, 0.0
	for i := range least {
		sum += least[i]
		planned += p.Time(costs[i]).Sum()
	}
	error := func(a, b float64) string { return fmt.Sprintf("%+.1f%%", 100*(a/b-1)) }
	fmt.Printf("%-10s %11d %11d %7s  %9s %9s %7s  %9s %9s %7s\n", name, forecast.Memory.Arena, arena, error(float64(forecast.Memory.Arena), float64(arena)),
		short(forecast.Step), short(step), error(forecast.Step, step), short(planned), short(sum), error(planned, sum))
	if o.list {
		for i := range least {
			seconds := p.Time(costs[i]).Sum()
			fmt.Printf("   %9s  %9s  %7s  %s %s\n", short(seconds), short(least[i]), error(seconds, least[i]), costs[i][0].Kind, costs[i][0].Name)
		}
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
