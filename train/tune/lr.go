package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

// LRFinder is the learning rate range test (L. N. Smith, "Cyclical Learning Rates for
// Training Neural Networks", 2017): a run of some steps in which the learning rate grows
// by the same factor in each. Zeros stand for the values that are named.
type LRFinder struct {
	Min, Max  float64 // 1e-6 and 1
	Steps     int     // 100
	Divergent float64 // the run ends when the loss, averaged over the last steps, is so many times its minimum; 4
}

// LRRange is what a range test found.
type LRRange struct {
	LR, Loss []float64 // by step
	Smoothed []float64 // the loss, each the mean of its neighbours on both sides: an average of those before it alone would lag behind
	Diverged bool      // the run ended early, with the loss out of bounds

	// Suggestion is the rate at which the smoothed loss falls fastest over the logarithm
	// of the rate; a good constant rate or peak of a schedule. Steepest is its place.
	Suggestion float64
	Steepest   int
	// Minimum is the rate at which the smoothed loss was least: too high to train with.
	Minimum float64
}

const (
	leastPoints = 20   // that a curve wants
	causal      = 0.75 // decay of the average over the last steps
)

// Find makes the test with the trainer's rule, loss, batch and precision. The model is
// left as it was.
func (f LRFinder) Find(ctx context.Context, trainer train.Trainer, model nn.Module, set data.Dataset) (found *LRRange, err error) {
	f = f.defaults()
	if !(f.Min > 0 && f.Min < f.Max) || f.Steps < leastPoints || f.Divergent <= 1 {
		return nil, fmt.Errorf("tune: learning rates from %g to %g in %d steps, ended at %g times the least loss: expected 0 < from < to, at least %d steps, and more than once", f.Min, f.Max, f.Steps, f.Divergent, leastPoints)
	}
	restore := Restoring(model)
	defer func() { err = errors.Join(err, restore()) }()

	rule := trainer.Optimizer
	if rule == nil {
		rule = optim.Adam{}
	}
	gamma := math.Pow(f.Max/f.Min, 1/float64(f.Steps-1))
	trainer.Optimizer = optim.WithSchedule(rule, optim.Exponential{Initial: f.Min, Gamma: gamma, Every: 1})
	trainer.Steps, trainer.EvalEvery, trainer.StepsPerEpoch = f.Steps, 0, 0
	trainer.Epochs = f.Steps // however small the set is
	trainer.Metrics = nil
	watch := &lrWatch{finder: f, found: new(LRRange)}
	trainer.Callbacks = []train.Callback{watch}
	_, err = trainer.Fit(ctx, model, set, nil)
	found = watch.found
	var diverged *train.DivergedError
	if errors.As(err, &diverged) {
		found.Diverged, err = true, nil
	}
	if err != nil {
		return nil, err
	}
	return found, found.suggest()
}

func (f LRFinder) defaults() LRFinder {
	set := func(v *float64, standard float64) {
		if *v == 0 {
			*v = standard
		}
	}
	set(&f.Min, 1e-6)
	set(&f.Max, 1)
	set(&f.Divergent, 4)
	if f.Steps == 0 {
		f.Steps = 100
	}
	return f
}

// lrWatch keeps the curve, and ends the run when the loss is out of bounds.
type lrWatch struct {
	train.NopCallback
	finder  LRFinder
	found   *LRRange
	average float64
	least   float64
}

func (w *lrWatch) OnStep(s *train.State) {
	r := w.found
	w.average = causal*w.average + (1-causal)*s.Loss
	average := w.average / (1 - math.Pow(causal, float64(s.Step))) // as Adam corrects its averages
	r.LR, r.Loss = append(r.LR, s.LR), append(r.Loss, s.Loss)
	if s.Step == 1 || average < w.least {
		w.least = average
	}
	if average > w.finder.Divergent*w.least {
		r.Diverged = true
		s.Stop("the loss is out of bounds")
	}
}

// suggest smoothes the curve and finds its steepest descent, before its minimum.
func (r *LRRange) suggest() error {
	if len(r.Loss) < leastPoints/2 {
		return fmt.Errorf("tune: the loss was out of bounds after %d steps already; begin with a lower learning rate", len(r.Loss))
	}
	reach := max(2, len(r.Loss)/20)
	r.Smoothed = smooth(r.Loss, reach)
	least := 0
	for i, v := range r.Smoothed {
		if v < r.Smoothed[least] {
			least = i
		}
	}
	steepest, fall := 0, 0.0
	for i := 2 * reach; i < least; i++ { // before that, windows are smaller and the curve is rough
		if slope := (r.Smoothed[i+1] - r.Smoothed[i-1]) / 2; slope < fall {
			steepest, fall = i, slope
		}
	}
	if highest := slices.Max(r.Smoothed[:least+1]); steepest == 0 || highest-r.Smoothed[least] < 0.005*math.Abs(highest) {
		return errors.New("tune: the loss did not fall at any learning rate; look at the data and the model first (sinter train --overfit 1), or try more steps")
	}
	r.Steepest = steepest
	r.Suggestion, r.Minimum = r.LR[steepest], r.LR[least]
	return nil
}

// smooth is the mean over windows that reach so far to both sides, done twice, which
// weighs neighbours by their distance. At the ends windows are smaller, and as far to
// one side as to the other.
func smooth(v []float64, reach int) []float64 {
	for range 2 {
		out := make([]float64, len(v))
		for i := range v {
			k := min(reach, i, len(v)-1-i)
			sum := 0.0
			for _, x := range v[i-k : i+k+1] {
				sum += x
			}
			out[i] = sum / float64(2*k+1)
		}
		v = out
	}
	return v
}
