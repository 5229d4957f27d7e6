package tune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

// BatchFinder measures the speed and the memory of training with batches of one size
// after the other, each twice the one before.
type BatchFinder struct {
	Min, Max int           // 1 and 65536 if zero; Max is no more than there are examples
	Time     time.Duration // of measuring each size; 500 ms if zero
	Memory   int64         // bytes that the program of a step may have; 0: no limit
	Progress func(BatchSpeed)
}

// BatchSpeed is how training went with a size.
type BatchSpeed struct {
	Batch            int     `json:"batch"`
	SamplesPerSecond float64 `json:"samples_per_second"` // reading the examples included
	StepSeconds      float64 `json:"step_seconds"`
	// ArenaBytes is the memory of the step's program for values in between, as it was
	// planned: what grows with the batch.
	ArenaBytes int  `json:"arena_bytes"`
	TooLarge   bool `json:"too_large,omitempty"` // for the memory there is; not measured
}

// BatchSizes is what was found.
type BatchSizes struct {
	Speeds []BatchSpeed
	// Fastest is the size with the most samples per second. Knee is the least size that
	// reaches 90 % of that: above it larger batches buy little speed, and cost updates.
	Fastest, Knee int
	// Largest is the largest size that fits; 0 if the search ended before one did not.
	Largest int
}

// knee is the share of the most samples per second that is enough.
const knee = 0.9

// Find measures with the trainer's rule, loss and precision. The model is left as it
// was.
func (f BatchFinder) Find(ctx context.Context, trainer train.Trainer, model nn.Module, set data.Dataset) (sizes *BatchSizes, err error) {
	if f.Min == 0 {
		f.Min = 1
	}
	if f.Max == 0 {
		f.Max = 1 << 16
	}
	f.Max = min(f.Max, set.Len())
	if f.Time == 0 {
		f.Time = 500 * time.Millisecond
	}
	if f.Min < 1 || f.Min > f.Max {
		return nil, fmt.Errorf("tune: batches from %d to %d of %d examples", f.Min, f.Max, set.Len())
	}
	restore := Restoring(model)
	defer func() { err = errors.Join(err, restore()) }()
	sizes = new(BatchSizes)
	for n := f.Min; n <= f.Max; n *= 2 {
		speed, err := f.measure(ctx, trainer, model, set, n)
		if err != nil {
			return nil, fmt.Errorf("tune: batches of %d: %w", n, err)
		}
		sizes.Speeds = append(sizes.Speeds, speed)
		if f.Progress != nil {
			f.Progress(speed)
		}
		if speed.TooLarge {
			sizes.Largest = n / 2
			break
		}
	}
	sizes.choose()
	return sizes, nil
}

// choose names the sizes that stand out.
func (s *BatchSizes) choose() {
	var most float64
	for _, b := range s.Speeds {
		if !b.TooLarge && b.SamplesPerSecond > most {
			most, s.Fastest = b.SamplesPerSecond, b.Batch
		}
	}
	for _, b := range s.Speeds {
		if !b.TooLarge && b.SamplesPerSecond >= knee*most {
			s.Knee = b.Batch
			break
		}
	}
}

func (f BatchFinder) measure(ctx context.Context, trainer train.Trainer, model nn.Module, set data.Dataset, n int) (BatchSpeed, error) {
	watch := &speedWatch{finder: f, speed: BatchSpeed{Batch: n}}
	trainer.Batch, trainer.Metrics, trainer.Callbacks = n, nil, []train.Callback{watch}
	trainer.Accumulate, trainer.EvalEvery = 0, 0
	trainer.StepsPerEpoch = set.Len() / n // whole batches only: another size is another program
	// The weights must not run away while they do not matter.
	rule := trainer.Optimizer
	if rule == nil {
		rule = optim.Adam{}
	}
	trainer.Optimizer = optim.WithSchedule(rule, optim.Constant(1e-12))
	trainer.Epochs, trainer.Steps = 1<<30, 1<<40
	_, err := trainer.Fit(ctx, model, set, nil)
	return watch.speed, err
}

// warmups are steps before the clock starts: the first compiles, the next two fill the
// caches.
const warmups = 3

// speedWatch times the steps of whole batches.
type speedWatch struct {
	train.NopCallback
	finder BatchFinder
	speed  BatchSpeed
	began  time.Duration
	last   time.Duration
	steps  []time.Duration
}

func (w *speedWatch) OnStep(s *train.State) {
	if s.Step == 1 {
		w.speed.ArenaBytes = sinter.ReadStats().ArenaBytes
		if m := w.finder.Memory; m > 0 && int64(w.speed.ArenaBytes) > m {
			w.speed.TooLarge = true
			s.Stop("it needs too much memory")
			return
		}
	}
	if s.Step == warmups {
		w.began = s.Elapsed
	} else if s.Step > warmups {
		w.steps = append(w.steps, s.Elapsed-w.last)
	}
	w.last = s.Elapsed
	// Of at least a few steps the median: what else the machine does now and then is
	// not to count.
	if len(w.steps) >= 3 && s.Elapsed-w.began >= w.finder.Time {
		slices.Sort(w.steps)
		w.speed.StepSeconds = w.steps[len(w.steps)/2].Seconds()
		w.speed.SamplesPerSecond = float64(w.speed.Batch) / w.speed.StepSeconds
		s.Stop("measured")
	}
}
