// Package sweep measures how fast and how thrifty training is with different settings: the
// batch, the precision, the power limit of the device.
//
//	Run        a short run for each setting: some steps to warm up, then steps that are measured
//	Choose     the Pareto front and the setting to recommend (choose.go)
//	Limits     changes power limits and puts them back, whatever happens (limits.go)
//
// A measurement is what a power.Meter says of the time in which the steps were made, all of
// the parts that it knows, what they take when idle included. Where the meter is a model,
// every figure of joules is estimated, and says so.
//
// A larger batch and another precision are not the same training: a batch makes fewer
// updates of the same examples. What is compared here is samples, not what is learned of
// them.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/tune"
)

// Setting is what is varied.
type Setting struct {
	Batch      int              `json:"batch"`
	Precision  sinter.Precision `json:"-"`
	PowerLimit float64          `json:"power_limit_watts,omitempty"` // 0: as it is
}

// Point is a setting and what was measured with it.
type Point struct {
	Setting
	PrecisionName    string   `json:"precision"`
	Steps            int      `json:"steps"` // that were measured; 0: none, see Left
	Seconds          float64  `json:"seconds"`
	SamplesPerSecond float64  `json:"samples_per_second"`
	JoulesPerSample  float64  `json:"joules_per_sample"`
	Watts            float64  `json:"watts"`              // in the mean
	Estimated        bool     `json:"estimated"`          // the joules, by a model of the meter
	Sources          []string `json:"sources"`            // of the joules
	Memory           int64    `json:"memory_bytes"`       // of a step, planned; exact
	Left             string   `json:"left_out,omitempty"` // why it was not measured

	Cost   float64 `json:"cost"`   // see Options.Weight; W·s a sample
	Pareto bool    `json:"pareto"` // no other setting is both faster and thriftier
}

// Options is what to measure.
type Options struct {
	Batches     []int              // none: half, once, twice and four times the Trainer's
	Precisions  []sinter.Precision // none: the Trainer's
	PowerLimits []float64          // W; none: the limit is not touched
	Warmup      int                // steps before those that are measured; 10 if zero
	Steps       int                // that are measured; 40 if zero
	Time        time.Duration      // for which they take at least, as a meter reads sensors ten times a second; 2 s if zero

	// Weight is η of the cost η·E + (1−η)·MaxPower·T of a sample, with its energy E and its
	// time T (Zeus, NSDI '23): 1 is energy alone, 0 time alone.
	Weight float64
	// MaxPower is what the device may draw at most, in W; 0: the most that was measured.
	MaxPower float64

	Meter  *power.Meter
	Limits *Limits // sets PowerLimits of Device; nil: settings with one are left out
	Device string  // UUID
	Memory int64   // bytes that a step may hold; 0: no limit

	Progress func(Point)
}

// Result is what came of it.
type Result struct {
	Points      []Point `json:"points"`
	Recommended *Point  `json:"recommended"` // nil if nothing was measured
	Weight      float64 `json:"weight"`
	MaxPower    float64 `json:"max_power_watts"`
}

// errDry is why settings with a power limit are left out without Limits.
var errDry = errors.New("power limits are not changed here")

// Run measures. The model is left as it was, and so is the power limit, also after an
// error. A context that is cancelled ends it with what was measured so far and the
// context's error.
func Run(ctx context.Context, trainer train.Trainer, model nn.Module, set data.Dataset, o Options) (r *Result, err error) {
	if o.Meter == nil {
		return nil, errors.New("sweep: there is no meter")
	}
	if !(o.Weight >= 0 && o.Weight <= 1) {
		return nil, fmt.Errorf("sweep: a weight of %g, expected 0 (time) to 1 (energy)", o.Weight)
	}
	o.defaults(&trainer, set.Len())
	restore := tune.Restoring(model)
	defer func() { err = errors.Join(err, restore()) }()
	if o.Limits != nil {
		defer func() { err = errors.Join(err, o.Limits.Restore()) }()
	}
	r = &Result{Weight: o.Weight, MaxPower: o.MaxPower}
	limits := o.PowerLimits
	if len(limits) == 0 {
		limits = []float64{0}
	}
	var refused error
	for _, watts := range limits {
		if watts > 0 && refused == nil {
			if o.Limits == nil {
				refused = errDry
			} else if err := o.Limits.Set(o.Device, watts); err != nil {
				refused = err
			}
		}
		for _, precision := range o.Precisions {
			for _, batch := range o.Batches {
				p := Point{Setting: Setting{batch, precision, watts}, PrecisionName: precision.String()}
				if watts > 0 && refused != nil {
					p.Left = refused.Error()
				} else if err := measure(ctx, trainer, model, set, o, &p); err != nil {
					Choose(r)
					return r, err
				}
				r.Points = append(r.Points, p)
				if o.Progress != nil {
					o.Progress(p)
				}
			}
		}
	}
	Choose(r)
	return r, nil
}

func (o *Options) defaults(t *train.Trainer, examples int) {
	if o.Warmup == 0 {
		o.Warmup = 10
	}
	if o.Steps == 0 {
		o.Steps = 40
	}
	if o.Time == 0 {
		o.Time = 2 * time.Second
	}
	if len(o.Precisions) == 0 {
		o.Precisions = []sinter.Precision{t.Precision}
	}
	if len(o.Batches) == 0 {
		for _, b := range []int{t.Batch / 2, t.Batch, 2 * t.Batch, 4 * t.Batch} {
			if b >= 1 && b <= examples && !slices.Contains(o.Batches, b) {
				o.Batches = append(o.Batches, b)
			}
		}
	}
}

// measure makes the steps of a setting, or says why it leaves them out.
func measure(ctx context.Context, trainer train.Trainer, model nn.Module, set data.Dataset, o Options, p *Point) error {
	if p.Batch > set.Len() {
		p.Left = fmt.Sprintf("there are %d examples", set.Len())
		return nil
	}
	trainer.Batch, trainer.Precision = p.Batch, p.Precision
	trainer.Metrics, trainer.Accumulate, trainer.EvalEvery = nil, 0, 0
	trainer.Checkpoint, trainer.Energy, trainer.Guard = train.Checkpoint{}, nil, nil
	trainer.StepsPerEpoch = set.Len() / p.Batch // whole batches only: another size is another program
	trainer.Epochs, trainer.Steps = math.MaxInt32, math.MaxInt32
	rule := trainer.Optimizer
	if rule == nil {
		rule = optim.Adam{}
	}
	trainer.Optimizer = optim.WithSchedule(rule, optim.Constant(1e-12)) // the weights must not run away

	planner, err := trainer.Planner(model, set, nil)
	if err != nil {
		return fmt.Errorf("sweep: %v: %w", p.Setting, err)
	}
	target, err := sinter.CurrentTarget()
	if err != nil {
		return err
	}
	plan, err := planner.Memory(target, p.Batch)
	if err != nil {
		return fmt.Errorf("sweep: %v: %w", p.Setting, err)
	}
	if p.Memory = plan.Total(); o.Memory > 0 && p.Memory > o.Memory {
		p.Left = fmt.Sprintf("a step takes %.1f MiB, as planned, and there are %.1f MiB", float64(p.Memory)/(1<<20), float64(o.Memory)/(1<<20))
		return nil
	}
	sinter.EmptyCache() // the programs of the setting before

	w := &watch{o: o, point: p}
	trainer.Callbacks = []train.Callback{w}
	if _, err := trainer.Fit(ctx, model, set, nil); err != nil {
		return fmt.Errorf("sweep: %v: %w", p.Setting, err)
	}
	return nil
}

// String says the setting in a few words.
func (s Setting) String() string {
	text := fmt.Sprintf("batch %d, %v", s.Batch, s.Precision)
	if s.PowerLimit > 0 {
		text += fmt.Sprintf(", %g W", s.PowerLimit)
	}
	return text
}

// patience is how long a meter may take to its first figure.
const patience = time.Second

func joules(parts []power.Part) (sum float64) {
	for _, p := range parts {
		sum += p.Joules
	}
	return sum
}

// watch reads clock and meter around the steps that count.
type watch struct {
	train.NopCallback
	o     Options
	point *Point
	began time.Time
	parts []power.Part
	steps int
}

func (w *watch) OnStep(s *train.State) {
	now := time.Now()
	if s.Step < w.o.Warmup || s.Elapsed < w.o.Time/10 { // clocks and sensors take time to settle, too
		return
	}
	if w.began.IsZero() {
		parts := w.o.Meter.Read()
		if joules(parts) > 0 || s.Elapsed > patience { // a meter that was just opened knows nothing yet
			w.began, w.parts = now, parts
		}
		return
	}
	w.steps++
	if took := now.Sub(w.began); w.steps >= w.o.Steps && took >= w.o.Time {
		w.point.measured(w.steps, took, w.parts, w.o.Meter.Read())
		s.Stop("measured")
	}
}

// measured fills in what the steps took.
func (p *Point) measured(steps int, took time.Duration, before, after []power.Part) {
	used := joules(after) - joules(before)
	if !(used > 0) {
		p.Left = fmt.Sprintf("the meter told nothing of %v; more time to measure may help", took.Round(time.Millisecond))
		return
	}
	for _, a := range after {
		source := a.Component + ": " + a.Source
		if a.Estimated {
			source += ", estimated"
		}
		p.Estimated = p.Estimated || a.Estimated
		if !slices.Contains(p.Sources, source) {
			p.Sources = append(p.Sources, source)
		}
	}
	samples := float64(steps * p.Batch)
	p.Steps, p.Seconds = steps, took.Seconds()
	p.SamplesPerSecond = samples / p.Seconds
	p.JoulesPerSample, p.Watts = used/samples, used/p.Seconds
}
