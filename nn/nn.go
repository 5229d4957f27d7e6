// Package nn has the layers, losses and initialisations that models are made of.
//
// A model is a Go struct. Its layers are fields, what a layer learns are fields
// of type *sinter.Variable inside it, and Forward is plain Go that calls
// operations on tensors: it records a graph and computes nothing. Nothing is
// registered anywhere. What has to be found in a model (the variables to train,
// the running statistics to save, the layers that behave differently in
// training) is found by walking the struct: walk.go does it once for
// [Parameters], [State], [Train] and the rest. The field path in lower snake
// case is a variable's name, so that a struct whose fields are called as in a
// PyTorch model reads that model's checkpoint.
//
// Layers are made by New functions that take sizes and then options; weights are
// drawn from sinter.DefaultGenerator in the order in which layers are made, with
// PyTorch's defaults unless [Init] says otherwise. Tensors are batch first and
// images are [N, C, H, W]. In the comments N and B are batch sizes, C channels, T
// time steps, E embedding width.
//
// A layer that cannot be built or applied (a wrong size, a wrong shape, an option
// that it does not have) panics with *sinter.BuildError, which the entry points
// (sinter.Eval, optim.Optimizer.Step, train.Trainer.Fit) return as an error.
package nn

import (
	"iter"
	"sync"
	"sync/atomic"

	"github.com/sinter-dl/sinter"
)

// Module is a layer or a model that turns one tensor into one.
type Module interface {
	Forward(x *sinter.Tensor) *sinter.Tensor
}

// Func makes a layer of a function, for a place in a [Sequential]:
//
//	nn.Sequential{nn.NewLinear(784, 512), nn.Func(nn.ReLU), nn.NewLinear(512, 10)}
type Func func(x *sinter.Tensor) *sinter.Tensor

// Forward is f(x).
func (f Func) Forward(x *sinter.Tensor) *sinter.Tensor { return f(x) }

// Sequential applies its layers one after the other. The variables of the first
// are named 0.weight and so on, as in PyTorch.
type Sequential []Module

// NewSequential is Sequential{layers...}.
func NewSequential(layers ...Module) Sequential { return layers }

// Forward feeds each layer with the result of the one before.
func (s Sequential) Forward(x *sinter.Tensor) *sinter.Tensor {
	for _, m := range s {
		x = m.Forward(x)
	}
	return x
}

// Container is implemented by layers that name their children themselves instead
// of having them found in their fields. A child is anything that can be walked:
// a layer, a *sinter.Variable, a slice of either.
type Container interface {
	Children() iter.Seq2[string, any]
}

// NewParameter makes a variable that is trained, with values drawn by init from
// the default generator.
func NewParameter(init Initializer, d sinter.DType, shape ...int) *sinter.Variable {
	n := 1
	for _, e := range shape {
		n *= e
	}
	values := make([]float32, n)
	if withoutValues.Load() == 0 {
		init(sinter.DefaultGenerator(), values, shape)
	}
	t := sinter.FromFloats(values, shape...)
	if d != sinter.Float32 {
		t = t.To(d)
	}
	v := sinter.NewVariable("", t)
	v.Trainable = true
	return v
}

var withoutValues atomic.Int32

// WithoutValues has NewParameter draw no values, in the whole process, until restore is
// called: parameters are 0 then. It is for models of which the shapes alone matter, such as
// those that are planned.
func WithoutValues() (restore func()) {
	withoutValues.Add(1)
	return sync.OnceFunc(func() { withoutValues.Add(-1) })
}

// NewBuffer makes a variable that belongs to the state of a layer but is not
// trained. Its field carries the tag `nn:",buffer"`.
func NewBuffer(value *sinter.Tensor) *sinter.Variable {
	v := sinter.NewVariable("", value)
	v.Trainable = false
	return v
}

// Count is the number of trainable elements in a model.
func Count(model any) int {
	n := 0
	for _, v := range Parameters(model) {
		n += elements(v.Shape())
	}
	return n
}

func elements(shape []int) int {
	n := 1
	for _, e := range shape {
		n *= e
	}
	return n
}

// value is the value of a variable that may be missing (a bias left out).
func value(v *sinter.Variable) *sinter.Tensor {
	if v == nil {
		return nil
	}
	return v.Value()
}

// constant is v in the type of x, to be broadcast.
func constant(x *sinter.Tensor, v float64) *sinter.Tensor { return sinter.ScalarOf(x.DType(), v) }
