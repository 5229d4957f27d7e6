package profile

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
)

// The four things that limit the speed of training.
const (
	InputBound   = "input-bound"   // steps wait for batches
	LaunchBound  = "launch-bound"  // time goes into starting many small kernels
	MemoryBound  = "memory-bound"  // kernels move more bytes than they calculate
	ComputeBound = "compute-bound" // kernels calculate
)

// Verdict says what limits the speed, and what can be done about it.
type Verdict struct {
	Kind   string             `json:"kind"`
	Shares map[string]float64 `json:"shares"` // of the time, by kind
	Knob   string             `json:"knob"`
	Tried  []Trial            `json:"tried,omitempty"`
}

// Trial is a change that was tried, with the samples per second of the same model on the
// same data without and with it.
type Trial struct {
	Change string  `json:"change"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	Error  string  `json:"error,omitempty"` // why it could not be tried
}

// Gain is how many times as fast the change made training.
func (t Trial) Gain() float64 {
	if t.Before <= 0 {
		return 0
	}
	return t.After / t.Before
}

var knobs = map[string]string{
	InputBound:   "read examples with more workers, ahead of time (data.workers, data.prefetch), or keep them (data.cache)",
	LaunchBound:  "give each step more to do: a larger batch",
	MemoryBound:  "move fewer bytes: precision bf16, or a larger batch, which reads weights and optimizer state less often",
	ComputeBound: "calculate on more threads, or in a lower precision",
}

// verdict divides the time of the steps among the four. What the host does while
// nothing runs counts as launching.
func (p *Profiler) verdict(r *Report) *Verdict {
	v := &Verdict{Shares: map[string]float64{InputBound: r.Wait}}
	busy := p.compute + p.memory + p.launch
	inside := r.Kernels
	if busy > 0 {
		v.Shares[ComputeBound] = inside * p.compute / busy
		v.Shares[MemoryBound] = inside * p.memory / busy
		v.Shares[LaunchBound] = r.Host + inside*p.launch/busy
	}
	for _, kind := range []string{ComputeBound, MemoryBound, LaunchBound, InputBound} {
		if v.Kind == "" || v.Shares[kind] > v.Shares[v.Kind] {
			v.Kind = kind
		}
	}
	v.Knob = knobs[v.Kind]
	return v
}

// trialTime is how long each side of a trial is measured.
const trialTime = 700 * time.Millisecond

// Try turns the knob of the report's verdict: it trains the model for a moment as the
// trainer is set and for a moment with the change, once more in turns, and adds the best
// of both to the verdict. The model's variables are what they were afterwards.
func (r *Report) Try(ctx context.Context, t *train.Trainer, model nn.Module, set data.Examples) error {
	v := r.Verdict
	if v == nil {
		return nil
	}
	variables := nn.State(model)
	content := make([][]byte, len(variables))
	for i, x := range variables {
		content[i] = x.Bytes()
	}
	defer nn.Evaluating(model)()
	restore := func() error {
		for i, x := range variables {
			if err := x.SetBytes(content[i]); err != nil {
				return fmt.Errorf("profile: restoring %s: %w", x.Name, err)
			}
		}
		return nil
	}
	speed := func(change func(*train.Trainer)) (float64, error) {
		c := *t
		c.Callbacks, c.Metrics, c.EvalEvery, c.Epochs, c.StepsPerEpoch = nil, nil, 0, 1<<20, 0
		c.Steps = 1 << 30
		c.Checkpoint = train.Checkpoint{}
		c.Warn = func(string) {}
		change(&c)
		w := &stopwatch{}
		c.Callbacks = []train.Callback{w}
		_, err := c.Fit(ctx, model, set, nil)
		if back := restore(); back != nil {
			return 0, back
		}
		if err == nil && w.seconds > 0 {
			return float64(w.samples) / w.seconds, nil
		}
		return 0, err
	}
	for _, c := range r.changes(t) {
		trial := Trial{Change: c.name}
		for range 2 {
			before, err := speed(func(*train.Trainer) {})
			if err == nil {
				trial.Before = max(trial.Before, before)
				var after float64
				undo := func() {}
				after, err = speed(func(t *train.Trainer) { undo = c.make(t) })
				undo()
				trial.After = max(trial.After, after)
			}
			if err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				trial.Error = err.Error()
				break
			}
		}
		v.Tried = append(v.Tried, trial)
	}
	return nil
}

// change is one that can be tried.
type change struct {
	name string
	make func(t *train.Trainer) (undo func())
}

func (r *Report) changes(t *train.Trainer) (list []change) {
	add := func(name string, f func(t *train.Trainer)) {
		list = append(list, change{name, func(t *train.Trainer) func() { f(t); return func() {} }})
	}
	batch := func(times int) {
		n := max(t.Batch, 1) * times
		add(fmt.Sprintf("batch %d instead of %d", n, max(t.Batch, 1)), func(t *train.Trainer) { t.Batch = n })
	}
	low := func() {
		if t.Precision == sinter.FP32 {
			add("precision bf16", func(t *train.Trainer) { t.Precision = sinter.BF16 })
		}
	}
	switch r.Verdict.Kind {
	case InputBound:
		workers := 4 * max(t.Loader.Workers, runtime.GOMAXPROCS(0)-1, 1)
		add(fmt.Sprintf("%d workers, 8 batches ahead", workers), func(t *train.Trainer) { t.Loader.Workers, t.Loader.Prefetch = workers, 8 })
	case LaunchBound:
		if !t.Compile {
			add("Compile", func(t *train.Trainer) { t.Compile = true })
		}
		batch(4)
	case MemoryBound:
		low()
		batch(2)
	case ComputeBound:
		if n := runtime.GOMAXPROCS(0); sinter.Threads() < n {
			before := sinter.Threads()
			list = append(list, change{fmt.Sprintf("%d threads instead of %d", n, before), func(*train.Trainer) func() {
				sinter.SetThreads(n)
				return func() { sinter.SetThreads(before) }
			}})
		}
		low()
	}
	return list
}

// stopwatch measures the speed of training for a moment, after the first steps.
type stopwatch struct {
	train.NopCallback
	begin   time.Time
	first   int
	samples int
	seconds float64
}

func (w *stopwatch) OnStep(s *train.State) {
	switch {
	case s.Step < 3:
	case w.begin.IsZero():
		w.begin, w.first = time.Now(), s.Samples
	default:
		w.samples, w.seconds = s.Samples-w.first, time.Since(w.begin).Seconds()
		if w.seconds > trialTime.Seconds() {
			s.Stop("measured")
		}
	}
}
