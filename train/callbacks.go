package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
)

// The callbacks that watch a run and act on it, with the names of Keras and Lightning.
// They are used as pointers, one for each run:
//
//	Callbacks: []train.Callback{&train.EarlyStopping{Patience: 3, RestoreBest: true}}
//
// Those with memory implement Stateful, so that a run that is resumed goes on as if it
// had not stopped.

// EarlyStopping ends training when a quantity has not improved for some evaluations.
type EarlyStopping struct {
	NopCallback
	Monitor  string  // see State.Quantity; "test_loss" if empty
	Mode     Mode    // Auto: by the name
	Patience int     // training ends after so many evaluations without improvement; 1 if zero
	MinDelta float64 // the least change that counts as one
	From     int     // epoch, from 1, at which watching begins

	// RestoreBest gives the model the weights of the best evaluation when training
	// ends, however it ends.
	RestoreBest bool

	memory stopping
	kept   []*sinter.Variable // the state of the model at the best evaluation
}

type stopping struct {
	Best best `json:"best"`
	Wait int  `json:"wait"` // evaluations since
}

func (e *EarlyStopping) monitor() string {
	if e.Monitor == "" {
		return "test_loss"
	}
	return e.Monitor
}

// OnTrainBegin forgets an earlier run.
func (e *EarlyStopping) OnTrainBegin(s *State) {
	e.memory, e.kept = stopping{}, nil
	if e.RestoreBest {
		e.kept = copies("early_stopping", nn.State(s.Model))
	}
}

// OnEvaluate compares.
func (e *EarlyStopping) OnEvaluate(s *State) {
	if s.Epoch < e.From {
		return
	}
	value, err := s.Quantity(e.monitor())
	if err != nil {
		s.Fail(err)
		return
	}
	if e.memory.Best.improve(e.monitor(), e.Mode, value, e.MinDelta, s.Step) {
		e.memory.Wait = 0
		if e.RestoreBest {
			transfer(s, e.kept, nn.State(s.Model))
		}
		return
	}
	if e.memory.Wait++; e.memory.Wait >= max(e.Patience, 1) {
		s.Stop(e.reason())
	}
}

func (e *EarlyStopping) reason() string {
	if !e.memory.Best.Seen {
		return fmt.Sprintf("early stopping: %s was not a number in %d evaluations", e.monitor(), e.memory.Wait)
	}
	return fmt.Sprintf("early stopping: %s has not improved on %.4g, at step %d, for %d evaluations",
		e.monitor(), e.memory.Best.Value, e.memory.Best.Step, e.memory.Wait)
}

// OnTrainEnd restores the best weights.
func (e *EarlyStopping) OnTrainEnd(s *State) {
	if e.RestoreBest && e.memory.Best.Seen {
		transfer(s, nn.State(s.Model), e.kept)
		s.weightsChosen = true
	}
}

// Best is the best value so far and its step; NaN before the first.
func (e *EarlyStopping) Best() (value float64, step int) {
	if !e.memory.Best.Seen {
		return math.NaN(), 0
	}
	return e.memory.Best.Value, e.memory.Best.Step
}

// StateName is "early_stopping".
func (e *EarlyStopping) StateName() string { return "early_stopping" }

// SaveState gives the best value and the patience used up.
func (e *EarlyStopping) SaveState() ([]byte, error) { return json.Marshal(e.memory) }

// LoadState takes what SaveState gave.
func (e *EarlyStopping) LoadState(b []byte) error { return json.Unmarshal(b, &e.memory) }

// StateVariables are the best weights.
func (e *EarlyStopping) StateVariables() []*sinter.Variable { return e.kept }

// ReduceLROnPlateau multiplies the learning rate by Factor when a quantity has not
// improved for Patience evaluations. It changes the optimizer's LRFactor,
// so it goes with any schedule; optim.ReduceOnPlateau is the schedule of that name.
type ReduceLROnPlateau struct {
	NopCallback
	Monitor  string  // "test_loss" if empty
	Mode     Mode    // Auto: by the name
	Factor   float64 // 0.1 if zero
	Patience int     // evaluations without improvement before a reduction; 10 if zero
	MinDelta float64 // the least change that counts as one; 1e-4 if zero, as in Keras
	Cooldown int     // evaluations to wait after a reduction
	MinLR    float64 // the learning rate is not made smaller than this

	memory plateau
}

type plateau struct {
	stopping
	Cool int `json:"cool"`
}

// OnTrainBegin forgets an earlier run.
func (p *ReduceLROnPlateau) OnTrainBegin(*State) { p.memory = plateau{} }

// OnEvaluate compares.
func (p *ReduceLROnPlateau) OnEvaluate(s *State) {
	name := p.Monitor
	if name == "" {
		name = "test_loss"
	}
	value, err := s.Quantity(name)
	if err != nil {
		s.Fail(err)
		return
	}
	m := &p.memory
	if m.Cool > 0 {
		m.Cool--
		m.Wait = 0
	}
	delta := p.MinDelta
	if delta == 0 {
		delta = 1e-4
	}
	patience := p.Patience
	if patience == 0 {
		patience = 10
	}
	switch {
	case m.Best.improve(name, p.Mode, value, delta, s.Step):
		m.Wait = 0
	case m.Cool == 0:
		if m.Wait++; m.Wait >= patience {
			p.reduce(s)
			m.Cool, m.Wait = p.Cooldown, 0
		}
	}
}

func (p *ReduceLROnPlateau) reduce(s *State) {
	factor, o := p.Factor, s.Optimizer
	if factor == 0 {
		factor = 0.1
	}
	if lr := o.LR(); lr*factor < p.MinLR {
		factor = min(1, p.MinLR/lr)
	}
	o.ScaleLR(o.LRFactor() * factor)
	s.Log("lr_factor", o.LRFactor())
}

// StateName is "reduce_lr_on_plateau".
func (p *ReduceLROnPlateau) StateName() string { return "reduce_lr_on_plateau" }

// SaveState gives the best value and the patience used up; the factor itself is part
// of the optimizer's state.
func (p *ReduceLROnPlateau) SaveState() ([]byte, error) { return json.Marshal(p.memory) }

// LoadState takes what SaveState gave.
func (p *ReduceLROnPlateau) LoadState(b []byte) error { return json.Unmarshal(b, &p.memory) }

// TerminateOnNaN ends training with an error when the loss on the test set is not a
// number. A loss or gradients that are not, in a step, end it without any callback: see
// DivergedError.
type TerminateOnNaN struct{ NopCallback }

// OnEvaluate looks at the loss.
func (TerminateOnNaN) OnEvaluate(s *State) {
	if s.Last.Tested && (math.IsNaN(s.Last.TestLoss) || math.IsInf(s.Last.TestLoss, 0)) {
		s.Fail(fmt.Errorf("train: after step %d the loss on the test set is %v, while that of the steps is a number; look for test examples that are out of range", s.Step, s.Last.TestLoss))
	}
}

// Timer ends training when it has taken Limit, evaluations and what came before a
// resume included; at most one step more is made.
type Timer struct {
	NopCallback
	Limit time.Duration

	begun, now, before time.Duration
}

// OnTrainBegin starts the clock.
func (t *Timer) OnTrainBegin(s *State) { t.begun, t.now, t.before = s.Elapsed, s.Elapsed, 0 }

// OnStep looks at the clock.
func (t *Timer) OnStep(s *State) {
	t.now = s.Elapsed
	if t.Limit > 0 && t.before+t.now-t.begun >= t.Limit {
		s.Stop(fmt.Sprintf("the time limit of %v was reached after step %d", t.Limit, s.Step))
	}
}

// StateName is "timer".
func (t *Timer) StateName() string { return "timer" }

// SaveState gives the time that has been taken.
func (t *Timer) SaveState() ([]byte, error) { return json.Marshal(t.before + t.now - t.begun) }

// LoadState takes what SaveState gave.
func (t *Timer) LoadState(b []byte) error { return json.Unmarshal(b, &t.before) }

// LearningRateMonitor logs the learning rate of every group of the optimizer, as
// "lr/0" (the variables in no group), "lr/1" and so on; with one group there is
// nothing to add to the log's "lr", and it logs nothing. It also logs the optimizer's
// LRFactor where that is not 1.
type LearningRateMonitor struct{ NopCallback }

// OnStep logs the rates of the step to come.
func (LearningRateMonitor) OnStep(s *State) {
	if rates := s.Optimizer.LRs(); len(rates) > 1 {
		for i, lr := range rates {
			s.Log(fmt.Sprintf("lr/%d", i), lr)
		}
	}
	if f := s.Optimizer.LRFactor(); f != 1 {
		s.Log("lr_factor", f)
	}
}

// ThroughputMonitor logs how fast the last Window steps were, waiting for data and
// callbacks included: samples_per_second, steps_per_second.
type ThroughputMonitor struct {
	NopCallback
	Window int // 50 if zero

	times   []time.Duration // ring: when the steps of the window ended
	samples []int           // examples until then
}

// OnTrainBegin forgets an earlier run.
func (m *ThroughputMonitor) OnTrainBegin(s *State) {
	n := m.Window
	if n <= 0 {
		n = 50
	}
	m.times, m.samples = make([]time.Duration, 0, n+1), make([]int, 0, n+1)
}

// OnStep logs.
func (m *ThroughputMonitor) OnStep(s *State) {
	if len(m.times) == cap(m.times) {
		m.times = append(m.times[:0], m.times[1:]...)
		m.samples = append(m.samples[:0], m.samples[1:]...)
	}
	m.times, m.samples = append(m.times, s.Elapsed), append(m.samples, s.Samples)
	last := len(m.times) - 1
	if seconds := (m.times[last] - m.times[0]).Seconds(); seconds > 0 {
		s.Log("samples_per_second", float64(m.samples[last]-m.samples[0])/seconds)
		s.Log("steps_per_second", float64(last)/seconds)
	}
}

// copies are variables with the values of vars, under their names after a prefix.
func copies(prefix string, vars []*sinter.Variable) []*sinter.Variable {
	list := make([]*sinter.Variable, len(vars))
	for i, v := range vars {
		list[i] = sinter.NewVariable(prefix+"."+v.Name, v.Value())
		list[i].Trainable = false
	}
	return list
}

// transfer copies values from the variables of one list to those of another.
func transfer(s *State, to, from []*sinter.Variable) {
	if len(to) != len(from) {
		s.Fail(errors.New("train: the model has other variables than when training began"))
		return
	}
	for i, v := range to {
		if err := v.SetBytes(from[i].Bytes()); err != nil {
			s.Fail(fmt.Errorf("train: keeping weights: %w", err))
			return
		}
	}
}
