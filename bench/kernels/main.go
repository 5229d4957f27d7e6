// Command kernels times single operations of the CPU backend, for bench/compare. It
// reads cases as lines of JSON (rig.Case) and answers with the time of a call.
//
//	echo '{"op":"gemm","mode":"NN","dims":[512,512,512],"seconds":1}' | go run ./bench/kernels
//
// GOMAXPROCS is the number of threads. Matrix products run as programs of one kernel
// and cost what the device needs for a call. The other operations go through the
// public interface: their graph is recorded again for every call, which is a few
// microseconds beside kernels of at least ten times that, and they assign to a
// variable, so that no call waits for new memory.
package main

import (
	"log"
	"math/rand/v2"
	"os"
	"unsafe"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/bench/internal/rig"
	"github.com/sinter-dl/sinter/internal/backend/cpu"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/plan"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

func main() {
	log.SetFlags(0)
	if err := rig.ServeCases(os.Stdin, os.Stdout, prepare); err != nil {
		log.Fatal(err)
	}
}

func prepare(c rig.Case) (func(), error) {
	switch d := c.Dims; c.Op {
	case "gemm":
		return product(c.BF16, c.Mode, nil, d[0], d[1], d[2])
	case "bmm":
		return product(c.BF16, "NN", d[:1], d[1], d[2], d[3])
	case "mlp-forward":
		return forward(d[0], d[1], d[2], d[3])
	}
	if c.BF16 {
		return nil, nil
	}
	switch d := c.Dims; c.Op {
	case "conv":
		return convolution(c), nil
	case "softmax":
		x := variable(d...)
		return assign(x, func() *sinter.Tensor { return x.Value().Softmax(-1) }), nil
	case "layernorm":
		x, gamma, beta := variable(d...), variable(d[1]), variable(d[1])
		return assign(x, func() *sinter.Tensor { return sinter.LayerNorm(x.Value(), gamma.Value(), beta.Value(), 1e-5) }), nil
	case "gelu-backward":
		x, g := variable(d...), variable(d...)
		return assign(x, func() *sinter.Tensor { return sinter.VJP(nn.GELU(x.Value()), g.Value(), x.Value())[0] }), nil
	case "adamw":
		return adamw(d[0]), nil
	case "copy":
		x := variable(d...)
		return assign(x, func() *sinter.Tensor { return x.Value() }), nil
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

func variable(shape ...int) *sinter.Variable {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return sinter.NewVariable("", sinter.FromFloats(values(n), shape...))
}

// assign evaluates what f records into a variable like the given one, or of the shape
// of the result.
func assign(like *sinter.Variable, f func() *sinter.Tensor) func() {
	out := []*sinter.Variable{sinter.NewVariable("", sinter.Zeros(like.DType(), f().Shape()...))}
	return func() {
		out[0].Assign(f())
		must(sinter.EvalAssign(out))
	}
}

// product is a program that multiplies matrices. An operand that mode calls T is
// stored the other way round and turned by a view.
func product(bf16 bool, mode string, batch []int, m, n, k int) (func(), error) {
	of := dtype.Float32
	if bf16 {
		of = dtype.BFloat16
	}
	dev := cpu.New()
	var in []device.Buffer
	operand := func(turned bool, rows, cols int) (*ir.Node, error) {
		if turned {
			rows, cols = cols, rows
		}
		shape := append(append([]int{}, batch...), rows, cols)
		x := ir.NewInput(of, shape, new(ir.Storage))
		b, err := buffer(dev, x)
		if err != nil {
			return nil, err
		}
		in = append(in, b)
		if turned {
			return ir.Permute(x, []int{1, 0}), nil
		}
		return x, nil
	}
	a, err := operand(mode[0] == 'T', m, k)
	if err != nil {
		return nil, err
	}
	b, err := operand(mode[1] == 'T', k, n)
	if err != nil {
		return nil, err
	}
	g, key, leaves := ir.Key([]*ir.Node{ir.MatMul(a, b)})
	p, err := plan.NewCache(dev, 1).Get(g, key, leaves, dtype.Invalid)
	if err != nil {
		return nil, err
	}
	c, err := dev.Alloc(g.Outputs[0].Bytes())
	if err != nil {
		return nil, err
	}
	out := []device.Buffer{c}
	return func() { must(p.Run(in, out)) }, nil
}

// buffer is memory of the device for x, filled.
func buffer(dev device.Device, x *ir.Node) (device.Buffer, error) {
	b, err := dev.Alloc(x.Bytes())
	if err != nil {
		return nil, err
	}
	v := values(x.Elements())
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
	if x.DType == dtype.BFloat16 {
		half := make([]byte, 0, 2*len(v))
		for i := range v {
			half = append(half, raw[4*i+2], raw[4*i+3]) // the upper half of a float32
		}
		raw = half
	}
	return b, dev.Upload(b, raw)
}

// convolution has its images and their gradients in memory channels last, as views of
// the order that the interface has.
func convolution(c rig.Case) func() {
	n, in, out, size, window, stride, padding, groups := c.Dims[0], c.Dims[1], c.Dims[2], c.Dims[3], c.Dims[4], c.Dims[5], c.Dims[6], c.Dims[7]
	o := sinter.ConvOptions{Stride: []int{stride}, Padding: []int{padding}, Groups: groups}
	xs, ys, w := variable(n, size, size, in), variable(n, c.OutSize(), c.OutSize(), out), variable(out, in/groups, window, window)
	first := func(v *sinter.Variable) *sinter.Tensor { return v.Value().Permute(0, 3, 1, 2) }
	last := func(t *sinter.Tensor) *sinter.Tensor { return t.Permute(0, 2, 3, 1) }
	return assign(xs, func() *sinter.Tensor {
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
	param, grad := variable(n), variable(n)
	state := []*sinter.Variable{variable(n), sinter.NewVariable("", sinter.Full(sinter.Float32, 0.5, n))}
	scalar := func(v float64) *sinter.Tensor { return sinter.FromFloats([]float32{float32(v)}).Reshape() }
	all := append([]*sinter.Variable{param}, state...)
	step := 0
	return func() {
		step++
		u := optim.Update{Param: param.Value(), Grad: grad.Value(), LR: scalar(1e-3), WeightDecay: rule.WeightDecay}
		for _, s := range state {
			u.Slots = append(u.Slots, s.Value())
		}
		for _, s := range rule.Scalars(step) {
			u.Scalars = append(u.Scalars, scalar(s))
		}
		rule.Update(&u)
		param.Assign(u.Param)
		for i, s := range state {
			s.Assign(u.Slots[i])
		}
		must(sinter.EvalAssign(all))
	}
}

// forward is a perceptron in use.
func forward(batch, inputs, hidden, outputs int) (func(), error) {
	net := models.NewMLP(models.MLPConfig{Inputs: inputs, Hidden: []int{hidden}, Outputs: outputs})
	x := sinter.FromFloats(values(batch*inputs), batch, inputs)
	return func() { must(sinter.Eval(net.Forward(x))) }, nil
}
