package optim

import (
	"fmt"
	"math"

	"github.com/sinter-dl/sinter"
)

// GradScaler scales the loss dynamically, as training in float16 needs: gradients that
// are too small for float16 on their way through the model are lifted into its range,
// and are divided by the scale again, in float32, before they are clipped and used.
//
// A step whose loss or gradients are not finite changes nothing: neither variables nor
// the optimizer's state, the learning rate nor any count of steps. The scale is
// multiplied by BackoffFactor then, and by GrowthFactor after GrowthInterval good steps
// in a row. All of this happens in the program of the step, where the scale is a
// variable, so that no step waits for the host to decide. Micikevicius et al., "Mixed
// precision training", 2018.
//
// Names, zero values and the rule are those of torch.amp.GradScaler; MinScale is not.
type GradScaler struct {
	InitScale      float64 // 0: 65536
	GrowthFactor   float64 // 0: 2
	BackoffFactor  float64 // 0: 0.5
	GrowthInterval int     // 0: 2000

	// A step that is not finite and makes the scale fall below MinScale returns a
	// *NonFiniteError: what overflows then is not the scaled gradient. 0 stands for
	// 1e-4.
	MinScale float64
}

// Check says what is wrong with the settings.
func (s GradScaler) Check() error {
	d := s.defaults()
	switch {
	case !(d.InitScale > 0) || math.IsInf(float64(float32(d.InitScale)), 0):
		return fmt.Errorf("optim: an initial loss scale of %v; it has to be positive and finite", s.InitScale)
	case !(d.GrowthFactor > 1) || math.IsInf(d.GrowthFactor, 0):
		return fmt.Errorf("optim: a loss scale that grows by %v; the factor has to be more than 1", s.GrowthFactor)
	case !(d.BackoffFactor > 0 && d.BackoffFactor < 1):
		return fmt.Errorf("optim: a loss scale that is multiplied by %v where it was too large; the factor has to be between 0 and 1", s.BackoffFactor)
	case d.GrowthInterval < 1 || d.GrowthInterval > math.MaxInt32:
		return fmt.Errorf("optim: a loss scale that grows after %d steps", s.GrowthInterval)
	case !(d.MinScale >= 0):
		return fmt.Errorf("optim: a least loss scale of %v", s.MinScale)
	}
	return nil
}

// defaults puts the standard values in place of zeros.
func (s GradScaler) defaults() GradScaler {
	return GradScaler{
		InitScale:      or(s.InitScale, 1<<16),
		GrowthFactor:   or(s.GrowthFactor, 2),
		BackoffFactor:  or(s.BackoffFactor, 0.5),
		GrowthInterval: orInt(s.GrowthInterval, 2000),
		MinScale:       or(s.MinScale, 1e-4),
	}
}

// LossScaling makes the optimizer scale the loss of every step. [Precision] FP16 is
// seldom of use without it; other precisions do not need it.
func LossScaling(s GradScaler) Option {
	return func(o *Optimizer) { o.scaler = newScaler(s) }
}

// scaler is a GradScaler at work.
type scaler struct {
	GradScaler
	err error // what is wrong with the settings

	scale, tracker *sinter.Variable // float32 and int32 scalars: the scale, and good steps since it changed
	now            float64          // what scale holds
	skipped        int              // steps that were not finite
}

func newScaler(settings GradScaler) *scaler {
	s := &scaler{GradScaler: settings.defaults(), err: settings.Check()}
	if s.err != nil {
		return s
	}
	s.now = float64(float32(s.InitScale))
	s.scale = sinter.NewVariable("scaler.scale", sinter.Scalar(s.now))
	s.tracker = sinter.NewVariable("scaler.growth_tracker", sinter.Zeros(sinter.Int32))
	return s
}

// apply scales a loss; there may be no scaler.
func (s *scaler) apply(loss *sinter.Tensor) *sinter.Tensor {
	if s == nil {
		return loss
	}
	if d := loss.DType(); d.Compute() != d {
		loss = loss.To(d.Compute()) // the scale itself may be too large for a half
	}
	return loss.Mul(s.scale.Value().To(loss.DType()))
}

// next is the scale and the tracker after a step.
func (s *scaler) next(finite, scale, tracker *sinter.Tensor) (newScale, newTracker *sinter.Tensor) {
	zero := sinter.Zeros(sinter.Int32)
	good := tracker.Add(sinter.Full(sinter.Int32, 1))
	grows := good.Ge(sinter.Full(sinter.Int32, float64(s.GrowthInterval)))
	larger := scale.MulScalar(s.GrowthFactor)
	newScale = sinter.Where(finite,
		sinter.Where(grows.And(larger.IsFinite()), larger, scale),
		scale.MulScalar(s.BackoffFactor))
	newTracker = sinter.Where(finite.And(grows.Not()), good, zero)
	return newScale, newTracker
}

// Scale is what the loss of the next step is multiplied by; 1 without [LossScaling].
func (o *Optimizer) Scale() float64 {
	if o.scaler == nil {
		return 1
	}
	return o.scaler.now
}

// Skipped is the number of steps that have updated nothing because the scaled loss or
// gradients were not finite; see [LossScaling].
func (o *Optimizer) Skipped() int {
	if o.scaler == nil {
		return 0
	}
	return o.scaler.skipped
}
