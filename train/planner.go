package train

import (
	"errors"
	"fmt"
	"sync"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
)

// Planner plans the steps of a run, on any device and for any batch, without making them.
// It may be used by several goroutines.
type Planner struct {
	f    *fitter
	test data.Dataset

	mu           sync.Mutex        // held while a step is recorded
	steps, tests map[int]*recorded // by batch
}

// recorded is a program that has been recorded, to be planned for devices.
type recorded struct {
	*sinter.Compiled
	in []*sinter.Tensor
}

// StepPlan is what a run takes on a device.
type StepPlan struct {
	Memory
	Batch      int // examples at a time
	Accumulate int // batches of which a step is made

	Step     sinter.Plan  // of a batch, with the update unless batches are accumulated
	Update   int64        // bytes of memory that an update by itself reads and writes; 0 where it is in Step
	Evaluate *sinter.Plan // of a batch to evaluate; nil if there is none
}

// Counts is how often a run does what.
type Counts struct {
	Steps         int `json:"steps"`           // 0: not known, as of a stream without Steps
	StepsPerEpoch int `json:"steps_per_epoch"` // 0 likewise
	Samples       int `json:"samples"`         // to train on, every epoch counted
	Evaluations   int `json:"evaluations"`     // of the test set
	TestBatches   int `json:"test_batches"`    // of one evaluation
}

// Planner prepares planning. The test set may be nil. Model and Trainer are as they are at
// every call of Plan; planning leaves the model in training mode.
func (t *Trainer) Planner(model nn.Module, trainSet data.Examples, testSet data.Dataset) (*Planner, error) {
	f, err := t.fitter(model, trainSet)
	if err != nil {
		return nil, err
	}
	return &Planner{f: f, test: testSet, steps: make(map[int]*recorded), tests: make(map[int]*recorded)}, nil
}

// planner plans the steps of a run under way.
func (r *fit) planner() (*Planner, error) {
	set, ok := r.loader.Dataset.(data.Examples)
	if !ok {
		return nil, errors.New("train: the examples are not known")
	}
	f, err := r.Trainer.fitterFor(r.optimizer, r.state.Model, set)
	if err != nil {
		return nil, err
	}
	if r.compiled != nil {
		f.steps = r.compiled
	}
	return &Planner{f: f, test: r.testSet, steps: make(map[int]*recorded), tests: make(map[int]*recorded)}, nil
}

// Plan plans a run with batches of so many examples, 0 standing for the Trainer's. The
// error is a *sinter.BuildError if the model cannot take such batches.
func (s *Planner) Plan(on *sinter.Target, batch int) (p StepPlan, err error) {
	if p, err = s.Memory(on, batch); err != nil || s.test == nil || s.test.Len() == 0 {
		return p, err
	}
	// All programs of a device have one arena. A step's is the larger one as a rule; then the
	// evaluation's need not be known exactly.
	e, err := s.evaluation(on.Rough(), p.Batch)
	if err == nil && e.Arena > p.Step.Arena/2 {
		e, err = s.evaluation(on, p.Batch)
	} else {
		e.Launches = e.Kernels * p.Step.Launches / max(1, p.Step.Kernels)
	}
	if err != nil {
		return StepPlan{}, err
	}
	p.Evaluate, p.Arena, p.Results = &e, max(p.Arena, int64(e.Arena)), max(p.Results, int64(e.Results))
	return p, nil
}

// Memory is Plan without evaluations, which hold less than steps, as a rule.
func (s *Planner) Memory(on *sinter.Target, batch int) (p StepPlan, err error) {
	f := s.f
	at := f.asked
	if batch > 0 {
		at.batch = batch
	}
	c, err := s.record(s.steps, at.batch, func() (*recorded, error) {
		nn.Train(f.model)
		in := f.inputs(at.batch)
		c, err := f.steps.Compiled(at.accumulate > 1, in...)
		return &recorded{c, in}, err
	})
	if err != nil {
		return StepPlan{}, err
	}
	step, err := c.PlanFor(on, c.in...)
	if err != nil {
		return StepPlan{}, err
	}
	p = StepPlan{Memory: f.memory(at), Batch: at.batch, Accumulate: at.accumulate, Step: step}
	p.Arena, p.Results = int64(step.Arena), int64(step.Results)
	if at.accumulate > 1 {
		p.Update = 2 * (p.Weights + p.Optimizer + p.Gradients)
	}
	return p, nil
}

// record is what make records for a batch, once.
func (s *Planner) record(known map[int]*recorded, batch int, make func() (*recorded, error)) (r *recorded, err error) {
	defer ir.Recover(&err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r = known[batch]; r == nil {
		if r, err = make(); err != nil {
			return nil, err
		}
		known[batch] = r
	}
	return r, nil
}

func (s *Planner) evaluation(on *sinter.Target, batch int) (p sinter.Plan, err error) {
	f := s.f
	c, err := s.record(s.tests, batch, func() (*recorded, error) {
		nn.Eval(f.model)
		defer nn.Train(f.model)
		r := &recorded{Compiled: f.Precision.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
			loss, pred := f.measured(f.model, in)
			return []*sinter.Tensor{loss, pred}
		})}
		fields := s.test.Fields()
		for _, field := range fields[:min(2, len(fields))] {
			r.in = append(r.in, sinter.Zeros(field.DType, append([]int{min(batch, s.test.Len())}, field.Shape...)...))
		}
		_, err := r.Plan(r.in...)
		return r, err
	})
	if err == nil {
		p, err = c.PlanFor(on, c.in...)
	}
	if err != nil {
		return p, fmt.Errorf("evaluating: %w", err)
	}
	return p, nil
}

// Counts is how often a run with batches of so many examples does what, 0 standing for the
// Trainer's.
func (s *Planner) Counts(trainSet data.Examples, batch int) Counts {
	t := *s.f.Trainer
	if batch > 0 {
		t.Batch = batch
	}
	var c Counts
	c.Steps, c.StepsPerEpoch = t.planned(trainSet)
	per := t.batch() * t.accumulate()
	c.Samples = c.Steps * per
	if n := trainSet.Len(); n > 0 && c.StepsPerEpoch > 0 {
		epoch := min(n, c.StepsPerEpoch*per)
		c.Samples = c.Steps/c.StepsPerEpoch*epoch + min(c.Steps%c.StepsPerEpoch*per, epoch)
	}
	if s.test == nil || s.test.Len() == 0 || c.Steps == 0 {
		return c
	}
	c.TestBatches = (s.test.Len() + t.batch() - 1) / t.batch()
	ends := 1 // of epochs, and of the run
	if c.StepsPerEpoch > 0 {
		ends = (c.Steps + c.StepsPerEpoch - 1) / c.StepsPerEpoch
	}
	c.Evaluations = ends
	if t.EvalEvery > 0 {
		for at := t.EvalEvery; at <= c.Steps; at += t.EvalEvery {
			if at != c.Steps && (c.StepsPerEpoch == 0 || at%c.StepsPerEpoch != 0) {
				c.Evaluations++
			}
		}
	}
	return c
}

// Batch is how many examples the run computes with at a time.
func (s *Planner) Batch() int { return s.f.asked.batch }

// Parameters is how many numbers the run changes.
func (s *Planner) Parameters() int { return nn.Count(s.f.model) }
