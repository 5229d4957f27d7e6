package optim

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// CompiledStep is a training step whose program is kept; see [Optimizer.Compile].
type CompiledStep struct {
	optimizer *Optimizer
	f         func(in []*sinter.Tensor) (loss *sinter.Tensor, also []*sinter.Tensor)
	traces    []*stepTrace // the latest used first
}

// stepTrace is a step for inputs of certain shapes and types.
type stepTrace struct {
	shapes    []int // see signature
	step      *sinter.Compiled
	record    *record
	trainable []bool // by parameter
}

// maxTraces is how many combinations of shapes and types a CompiledStep keeps.
const maxTraces = 32

// Compile makes f, which records a loss and what else is wanted of it, a compiled
// step: f is called once for inputs of given shapes and types, and further steps with
// such inputs neither record a graph nor look for a program. What a step does is the
// same, bit for bit, as that of Step(f(in)).
//
//	step := opt.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
//		return nn.CrossEntropy(net.Forward(in[0]), in[1]), nil
//	})
//	for batch := range loader.Batches(ctx) {
//		loss, _, err := step.Step(batch.X, batch.Y)
//		…
//	}
//
// Learning rate and bias corrections follow the optimizer's count of steps as ever,
// and a variable that is no longer Trainable, or is again, makes f be called anew. For
// what else f must keep to see [sinter.Compile].
func (o *Optimizer) Compile(f func(in []*sinter.Tensor) (loss *sinter.Tensor, also []*sinter.Tensor)) *CompiledStep {
	return &CompiledStep{optimizer: o, f: f}
}

// Reset forgets what has been traced: f is called anew.
func (s *CompiledStep) Reset() { s.traces = nil }

// Step makes one update and returns the loss and what f gave with it. Errors are those
// of [Optimizer.Step].
func (s *CompiledStep) Step(in ...*sinter.Tensor) (loss *sinter.Tensor, also []*sinter.Tensor, err error) {
	o := s.optimizer
	defer ir.Recover(&err)
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(unrecorded)
			if !ok {
				panic(r)
			}
			err = e.error
		}
	}()
	t := s.find(in)
	out, err := t.step.Call(in...)
	if err != nil {
		return nil, nil, fmt.Errorf("optim: step %d: %w", o.steps, err)
	}
	flags := out[1 : 1+len(t.record.flags)]
	return out[0], out[1+len(flags):], o.conclude(t.record, out[0], flags)
}

// unrecorded is what a trace panics with when there is nothing to update.
type unrecorded struct{ error }

// find is the trace for the inputs; if there is none that still holds, a new one.
func (s *CompiledStep) find(in []*sinter.Tensor) *stepTrace {
	for i, t := range s.traces {
		if !fits(t.shapes, in) {
			continue
		}
		s.traces = slices.Delete(s.traces, i, i+1)
		if t.holds(s.optimizer) {
			s.traces = slices.Insert(s.traces, 0, t)
			return t
		}
		break
	}
	t := &stepTrace{shapes: signature(in)}
	t.step = s.optimizer.precision.CompileAssign(func(in []*sinter.Tensor) ([]*sinter.Variable, []*sinter.Tensor) {
		loss, also := s.f(in)
		r, err := s.optimizer.record(loss)
		if err != nil {
			panic(unrecorded{err})
		}
		t.record = r
		t.trainable = t.trainable[:0]
		for _, p := range s.optimizer.params {
			t.trainable = append(t.trainable, p.variable.Trainable)
		}
		return r.assigned, slices.Concat([]*sinter.Tensor{loss}, r.flags, also)
	})
	s.traces = slices.Insert(s.traces, 0, t)
	if len(s.traces) > maxTraces {
		s.traces = s.traces[:maxTraces]
	}
	return t
}

// holds tells whether the step would be recorded now as it was: with the same
// variables, and those that shared a count of steps still sharing it.
func (t *stepTrace) holds(o *Optimizer) bool {
	if t.record == nil { // recording failed
		return false
	}
	for i, p := range o.params {
		if p.variable.Trainable != t.trainable[i] {
			return false
		}
	}
	for _, g := range t.record.scalars.groups {
		for _, p := range g {
			if p.steps != g[0].steps {
				return false
			}
		}
	}
	return true
}

// signature lists types and shapes.
func signature(in []*sinter.Tensor) []int {
	var l []int
	for _, x := range in {
		l = append(append(l, int(x.DType()), x.Rank()), x.Shape()...)
	}
	return l
}

// fits tells whether the inputs have a signature.
func fits(l []int, in []*sinter.Tensor) bool {
	take := func(n int) bool {
		if len(l) == 0 || l[0] != n {
			return false
		}
		l = l[1:]
		return true
	}
	for _, x := range in {
		if !take(int(x.DType())) || !take(x.Rank()) {
			return false
		}
		for a := range x.Rank() {
			if !take(x.Dim(a)) {
				return false
			}
		}
	}
	return len(l) == 0
}
