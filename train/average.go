package train

import (
	"encoding/json"
	"fmt"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
)

// Averages of weights. The average lies beside the weights that are trained; while the
// test set is evaluated, and when training has ended, it stands in their place.
// Everything of the model that is a float is averaged, the running statistics of norms
// too (PyTorch's AveragedModel with use_buffers), so that no pass over the data is
// needed to find statistics for the average.
//
// An average comes after the callbacks that watch evaluations in Trainer.Callbacks:
// those before it then see the model with the average in OnEvaluate. If one of them has
// restored weights when training ends (EarlyStopping), the average keeps away.

// EMA keeps the exponential moving average of the weights: after every step
// average += (1 − Decay)·(weight − average).
type EMA struct {
	NopCallback
	Decay float64 // 0.999 if zero
	Start int     // steps before the average begins, with the weights of then

	average
}

// OnTrainBegin begins a new average.
func (e *EMA) OnTrainBegin(s *State) {
	if e.Decay < 0 || e.Decay >= 1 {
		s.Fail(fmt.Errorf("train: the EMA's Decay is %g, expected 0 to below 1", e.Decay))
		return
	}
	e.begin("ema", s)
}

// OnStep updates the average.
func (e *EMA) OnStep(s *State) {
	decay := e.Decay
	if decay == 0 {
		decay = 0.999
	}
	if s.Step > e.Start {
		e.add(s, 1-decay)
	}
}

// OnEvaluateBegin puts the average in place.
func (e *EMA) OnEvaluateBegin(s *State) { e.enter(s) }

// OnEvaluate puts the weights back.
func (e *EMA) OnEvaluate(s *State) { e.leave(s) }

// OnEvaluateAbort puts the weights back.
func (e *EMA) OnEvaluateAbort(s *State) { e.leave(s) }

// OnTrainEnd leaves the average in the model.
func (e *EMA) OnTrainEnd(s *State) { e.finish(s) }

// StateName is "ema".
func (e *EMA) StateName() string { return "ema" }

// SWA averages the weights at the end of every epoch from a point on, all with the
// same weight (Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
// Generalization", 2018). It goes with a learning rate that stays high.
type SWA struct {
	NopCallback
	Start float64 // epochs before the average begins; below 1 a share of all epochs; 0.75 if zero

	average
}

// OnTrainBegin begins a new average.
func (a *SWA) OnTrainBegin(s *State) {
	if a.Start < 0 {
		s.Fail(fmt.Errorf("train: the SWA's Start is %g, expected 0 or more", a.Start))
		return
	}
	a.begin("swa", s)
}

// OnStep updates the average after the last step of an epoch, so that the evaluation
// at its end has it.
func (a *SWA) OnStep(s *State) {
	start := a.Start
	if start == 0 {
		start = 0.75
	}
	if start < 1 {
		start *= float64(s.Epochs)
	}
	last := s.EpochStep == s.StepsPerEpoch || s.Step == s.Steps
	if last && float64(s.Epoch) > start {
		a.add(s, 1/float64(a.memory.Count+1))
	}
}

// OnEvaluateBegin puts the average in place.
func (a *SWA) OnEvaluateBegin(s *State) { a.enter(s) }

// OnEvaluate puts the weights back.
func (a *SWA) OnEvaluate(s *State) { a.leave(s) }

// OnEvaluateAbort puts the weights back.
func (a *SWA) OnEvaluateAbort(s *State) { a.leave(s) }

// OnTrainEnd leaves the average in the model.
func (a *SWA) OnTrainEnd(s *State) { a.finish(s) }

// StateName is "swa".
func (a *SWA) StateName() string { return "swa" }

// average is the mean of the weights that were added.
type average struct {
	trained []*sinter.Variable // of the model
	mean    []*sinter.Variable
	step    *sinter.Compiled // mean += share·(trained − mean)
	share   float64
	inside  bool // the two have changed places
	memory  averageMemory
}

type averageMemory struct {
	Count int `json:"count"` // additions
}

func (a *average) begin(name string, s *State) {
	*a = average{}
	for _, v := range nn.State(s.Model) {
		if v.DType().IsFloat() {
			a.trained = append(a.trained, v)
		}
	}
	a.mean = copies(name, a.trained)
	a.step = sinter.FP32.CompileAssign(func([]*sinter.Tensor) ([]*sinter.Variable, []*sinter.Tensor) {
		for i, v := range a.trained {
			d := v.DType().Compute()
			m := a.mean[i].Value().To(d)
			share := sinter.RuntimeScalarFunc(d, func() float64 { return a.share })
			a.mean[i].Assign(m.Add(v.Value().To(d).Sub(m).Mul(share)).To(v.DType()))
		}
		return a.mean, nil
	})
}

// add counts the weights as they are now with a share of the mean; the first are it.
func (a *average) add(s *State, share float64) {
	a.share = share
	if a.memory.Count == 0 {
		a.share = 1
	}
	if _, err := a.step.Call(); err != nil {
		s.Fail(fmt.Errorf("train: averaging the weights: %w", err))
	}
	a.memory.Count++
}

// enter and leave put the mean into the model and take it out again.
func (a *average) enter(s *State) {
	if !a.inside && a.memory.Count > 0 {
		a.exchange(s)
	}
}

func (a *average) leave(s *State) {
	if a.inside {
		a.exchange(s)
	}
}

func (a *average) exchange(s *State) {
	a.inside = !a.inside
	for i, v := range a.trained {
		x, y := v.Bytes(), a.mean[i].Bytes()
		if err := v.SetBytes(y); err != nil {
			s.Fail(fmt.Errorf("train: exchanging weights and their average: %w", err))
		}
		if err := a.mean[i].SetBytes(x); err != nil {
			s.Fail(fmt.Errorf("train: exchanging weights and their average: %w", err))
		}
	}
}

func (a *average) finish(s *State) {
	if !s.weightsChosen {
		a.enter(s)
		s.weightsChosen = a.inside
	}
}

// SaveState gives the number of weights in the mean.
func (a *average) SaveState() ([]byte, error) { return json.Marshal(a.memory) }

// LoadState takes what SaveState gave.
func (a *average) LoadState(b []byte) error { return json.Unmarshal(b, &a.memory) }

// StateVariables are the mean.
func (a *average) StateVariables() []*sinter.Variable { return a.mean }
