package optim

import (
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// CompiledStep is a training step whose program is kept; see [Optimizer.Compile].
type CompiledStep struct {
	optimizer *Optimizer
	f         func(in []*sinter.Tensor) (loss *sinter.Tensor, also []*sinter.Tensor)
	traces    []*stepTrace // steps, the latest used first
	parts     []*stepTrace // additions to the gradients, likewise
}

// stepTrace is a step for inputs of certain shapes and types.
type stepTrace struct {
	shapes    []int // see signature
	step      *sinter.Compiled
	record    *record
	trainable []bool // by parameter
	numbers   []float64
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
func (s *CompiledStep) Reset() { s.traces, s.parts = nil, nil }

// Step makes one update and returns the loss and what f gave with it. Errors are those
// of [Optimizer.Step].
func (s *CompiledStep) Step(in ...*sinter.Tensor) (loss *sinter.Tensor, also []*sinter.Tensor, err error) {
	out, numbers, err := s.step(0, in)
	if err != nil {
		return nil, nil, err
	}
	if bad := s.optimizer.conclude(s.traces[0].record, numbers); bad != nil {
		bad.Loss = out[0].Float()
		return out[0], out[1:], bad
	}
	return out[0], out[1:], nil
}

// StepLoss is Step that returns the loss as a number. Where f gives nothing but the loss, it
// allocates no memory.
func (s *CompiledStep) StepLoss(in ...*sinter.Tensor) (loss float64, also []*sinter.Tensor, err error) {
	also, numbers, err := s.step(1, in)
	if err != nil {
		return math.NaN(), nil, err
	}
	last := len(numbers) - 1
	loss = numbers[last]
	if bad := s.optimizer.conclude(s.traces[0].record, numbers[:last]); bad != nil {
		bad.Loss = loss
		return loss, also, bad
	}
	return loss, also, nil
}

// step runs a step. The flags are numbers, and more of the results if they are wanted.
func (s *CompiledStep) step(more int, in []*sinter.Tensor) (rest []*sinter.Tensor, numbers []float64, err error) {
	o := s.optimizer
	if o.gathering.weight != 0 {
		return nil, nil, errPending
	}
	defer recovered(&err)
	t := s.find(&s.traces, false, in)
	if t.record == nil {
		// How many flags there are shows when it is recorded, which its plan does, too.
		if _, err := t.step.Plan(in...); err != nil {
			return nil, nil, fmt.Errorf("optim: step %d: %w", o.steps, err)
		}
	}
	n := len(t.record.flags) + more
	t.numbers = slices.Grow(t.numbers[:0], n)[:n]
	if rest, err = t.step.CallNumbers(t.numbers, in...); err != nil {
		return nil, nil, fmt.Errorf("optim: step %d: %w", o.steps, err)
	}
	return rest, t.numbers, nil
}

// Accumulate is [Optimizer.Accumulate] of what f makes of the inputs. [Optimizer.Apply]
// makes the update.
func (s *CompiledStep) Accumulate(weight float64, in ...*sinter.Tensor) (loss *sinter.Tensor, also []*sinter.Tensor, err error) {
	o := s.optimizer
	if err := o.weigh(weight); err != nil {
		return nil, nil, err
	}
	defer recovered(&err)
	t := s.find(&s.parts, true, in)
	out, err := t.step.Call(in...)
	if err != nil {
		return nil, nil, fmt.Errorf("optim: step %d: %w", o.steps, err)
	}
	o.gathered(t.record)
	return out[0], out[1:], nil
}

// Plan tells what [CompiledStep.Step] takes for inputs of these shapes and types, whose
// values do not matter, on the device in use. Nothing is computed.
func (s *CompiledStep) Plan(in ...*sinter.Tensor) (sinter.Plan, error) {
	return s.plan(&s.traces, false, in)
}

// PlanAccumulate is Plan for [CompiledStep.Accumulate].
func (s *CompiledStep) PlanAccumulate(in ...*sinter.Tensor) (sinter.Plan, error) {
	return s.plan(&s.parts, true, in)
}

func (s *CompiledStep) plan(traces *[]*stepTrace, part bool, in []*sinter.Tensor) (p sinter.Plan, err error) {
	defer recovered(&err)
	return s.find(traces, part, in).step.Plan(in...)
}

// Compiled is the function that [CompiledStep.Step], or [CompiledStep.Accumulate], calls
// with inputs of these shapes and types, to be planned for other devices.
func (s *CompiledStep) Compiled(accumulate bool, in ...*sinter.Tensor) (c *sinter.Compiled, err error) {
	defer recovered(&err)
	traces := &s.traces
	if accumulate {
		traces = &s.parts
	}
	c = s.find(traces, accumulate, in).step
	_, err = c.Plan(in...) // so that it is recorded, while the model is as it is
	return c, err
}

// recovered makes an error of what recording panics with.
func recovered(err *error) {
	switch e := recover().(type) {
	case nil:
	case unrecorded:
		*err = e.error
	case *ir.BuildError:
		*err = e
	default:
		panic(e)
	}
}

// unrecorded is what a trace panics with when there is nothing to update.
type unrecorded struct{ error }

// find is the trace for the inputs, of a step or of a part of one, and the first of traces
// from now on; if there is none that still holds, it is a new one.
func (s *CompiledStep) find(traces *[]*stepTrace, part bool, in []*sinter.Tensor) *stepTrace {
	for i, t := range *traces {
		if !fits(t.shapes, in) {
			continue
		}
		*traces = slices.Delete(*traces, i, i+1)
		if t.holds(s.optimizer) {
			*traces = slices.Insert(*traces, 0, t)
			return t
		}
		break
	}
	t := &stepTrace{shapes: signature(in)}
	t.step = s.optimizer.precision.CompileAssign(func(in []*sinter.Tensor) ([]*sinter.Variable, []*sinter.Tensor) {
		loss, also := s.f(in)
		record := s.optimizer.record
		if part {
			record = s.optimizer.gather
		}
		r, err := record(loss)
		if err != nil {
			panic(unrecorded{err})
		}
		t.note(s.optimizer, r)
		return r.assigned, slices.Concat(r.flags, []*sinter.Tensor{loss}, also)
	})
	*traces = slices.Insert(*traces, 0, t)
	if len(*traces) > maxTraces {
		*traces = (*traces)[:maxTraces]
	}
	return t
}

// note keeps what has been recorded, and what that depended on.
func (t *stepTrace) note(o *Optimizer, r *record) {
	t.record = r
	t.trainable = t.trainable[:0]
	for _, p := range o.params {
		t.trainable = append(t.trainable, p.variable.Trainable)
	}
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
