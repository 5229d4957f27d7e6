// Command kernels times single operations, for bench/compare, on the device that
// SINTER_DEVICE names. It reads cases as lines of JSON (rig.Case) and answers with the time of a call.
//
//	echo '{"op":"gemm","mode":"NN","dims":[512,512,512],"seconds":1}' | go run ./bench/kernels
//
// GOMAXPROCS is the number of threads. Each case is a compiled function of the public
// interface (sinter.Compile), and its result goes to the same memory every time, so
// that no call waits for a new one.
package main

import (
	"log"
	"math/rand/v2"
	"os"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/bench/internal/rig"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

func main() {
	log.SetFlags(0)
	var wait func()
	if sinter.DeviceName() != "cpu" {
		v := variable(sinter.Float32, 1)
		wait = func() { v.Value().AddScalar(1).Float() } // comes after all that is in the device's queue
	}
	if err := rig.ServeCases(os.Stdin, os.Stdout, prepare, wait); err != nil {
		log.Fatal(err)
	}
}

func prepare(c rig.Case) (func(), error) {
	dtype := sinter.Float32
	if c.BF16 {
		dtype = sinter.BFloat16
	}
	switch d := c.Dims; c.Op {
	case "gemm":
		return product(dtype, c.Mode, d[0], d[1], d[2]), nil
	case "bmm":
		a, b := variable(dtype, d[0], d[1], d[3]), variable(dtype, d[0], d[3], d[2])
		return result(func() *sinter.Tensor { return a.Value().MatMul(b.Value()) }), nil
	case "conv":
		return convolution(dtype, c), nil
	case "softmax":
		x := variable(dtype, d...)
		return result(func() *sinter.Tensor { return x.Value().Softmax(-1) }), nil
	case "layernorm":
		x, gamma, beta := variable(dtype, d...), variable(dtype, d[1]), variable(dtype, d[1])
		return result(func() *sinter.Tensor { return sinter.LayerNorm(x.Value(), gamma.Value(), beta.Value(), 1e-5) }), nil
	case "gelu-backward":
		x, g := variable(dtype, d...), variable(dtype, d...)
		return result(func() *sinter.Tensor { return sinter.VJP(nn.GELU(x.Value()), g.Value(), x.Value())[0] }), nil
	case "adamw":
		return adamw(d[0]), nil
	case "copy":
		x, y := variable(dtype, d...), variable(dtype, d...)
		return assigned(func() []*sinter.Variable {
			y.Assign(x.Value())
			return []*sinter.Variable{y}
		}), nil
	case "mlp-forward":
		return forward(d[0], d[1], d[2], d[3]), nil
	}
	return nil, nil
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// values are small numbers around zero. The state that AdamW takes a root of is made
// positive by its update.
func values(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, n)
	for i := range v {
		v[i] = 2*r.Float32() - 1
	}
	return v
}

func variable(dtype sinter.DType, shape ...int) *sinter.Variable {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return sinter.NewVariable("", sinter.FromFloats(values(n), shape...).To(dtype))
}

// result computes what f records, every time into the same memory.
func result(f func() *sinter.Tensor) func() {
	c := sinter.Compile(func([]*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{f()} })
	var y []*sinter.Tensor
	return func() {
		var err error
		y, err = c.CallInto(y)
		must(err)
	}
}

// assigned carries out the assignments that f records.
func assigned(f func() []*sinter.Variable) func() {
	c := sinter.CompileAssign(func([]*sinter.Tensor) ([]*sinter.Variable, []*sinter.Tensor) { return f(), nil })
	return func() {
		_, err := c.Call()
		must(err)
	}
}

// product multiplies matrices. An operand that mode calls T is stored the other way
// round.
func product(dtype sinter.DType, mode string, m, n, k int) func() {
	operand := func(mode byte, rows, cols int) func() *sinter.Tensor {
		if mode == 'T' {
			v := variable(dtype, cols, rows)
			return func() *sinter.Tensor { return v.Value().T() }
		}
		return variable(dtype, rows, cols).Value
	}
	a, b := operand(mode[0], m, k), operand(mode[1], k, n)
	return result(func() *sinter.Tensor { return a().MatMul(b()) })
}

// convolution has its images and their gradients in memory channels last, as views of
// the order that the interface has.
func convolution(dtype sinter.DType, c rig.Case) func() {
	n, in, out, size, window, stride, padding, groups := c.Dims[0], c.Dims[1], c.Dims[2], c.Dims[3], c.Dims[4], c.Dims[5], c.Dims[6], c.Dims[7]
	o := sinter.ConvOptions{Stride: []int{stride}, Padding: []int{padding}, Groups: groups}
	xs, ys := variable(dtype, n, size, size, in), variable(dtype, n, c.OutSize(), c.OutSize(), out)
	w := variable(dtype, out, in/groups, window, window)
	first := func(v *sinter.Variable) *sinter.Tensor { return v.Value().Permute(0, 3, 1, 2) }
	last := func(t *sinter.Tensor) *sinter.Tensor { return t.Permute(0, 2, 3, 1) }
	return result(func() *sinter.Tensor {
		x := first(xs)
		y := sinter.Conv(x, w.Value(), nil, o)
		switch c.Mode {
		case "input":
			return last(sinter.VJP(y, first(ys), x)[0])
		case "weights":
			return sinter.VJP(y, first(ys), w.Value())[0]
		}
		return last(y)
	})
}

// adamw is the update of n parameters with given gradients.
func adamw(n int) func() {
	rule := optim.AdamW{WeightDecay: 0.1}
	param, grad := variable(sinter.Float32, n), variable(sinter.Float32, n)
	state := []*sinter.Variable{variable(sinter.Float32, n), sinter.NewVariable("", sinter.Full(sinter.Float32, 0.5, n))}
	step := 0
	number := func(f func() float64) *sinter.Tensor { return sinter.RuntimeScalarFunc(sinter.Float32, f) }
	return assigned(func() []*sinter.Variable {
		u := optim.Update{Param: param.Value(), Grad: grad.Value(), WeightDecay: rule.WeightDecay}
		u.LR = number(func() float64 { step++; return 1e-3 })
		for i := range rule.Scalars(nil, 1) {
			u.Scalars = append(u.Scalars, number(func() float64 { return rule.Scalars(nil, max(step, 1))[i] }))
		}
		for _, s := range state {
			u.Slots = append(u.Slots, s.Value())
		}
		rule.Update(&u)
		param.Assign(u.Param)
		for i, s := range state {
			s.Assign(u.Slots[i])
		}
		return append([]*sinter.Variable{param}, state...)
	})
}

// forward is a perceptron in use.
func forward(batch, inputs, hidden, outputs int) func() {
	net := models.NewMLP(models.MLPConfig{Inputs: inputs, Hidden: []int{hidden}, Outputs: outputs})
	c := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{net.Forward(in[0])} })
	x := sinter.FromFloats(values(batch*inputs), batch, inputs)
	var y []*sinter.Tensor
	return func() {
		var err error
		y, err = c.CallInto(y, x)
		must(err)
	}
}
