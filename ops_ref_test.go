package sinter_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/reftest"
)

// Every operation is compared with values that PyTorch computed
// (scripts/reference), forwards and backwards, in float32 and in float64; the
// gradients are besides checked against finite differences, and so are the
// gradients of the gradients.

type (
	tensors  = []*sinter.Tensor
	args     = reftest.Args
	operator = func(a args, in tensors) tensors
)

func one(t *sinter.Tensor) tensors { return tensors{t} }

func nullary(f func(a args) *sinter.Tensor) operator {
	return func(a args, _ tensors) tensors { return one(f(a)) }
}

func unary(f func(x *sinter.Tensor) *sinter.Tensor) operator {
	return func(_ args, in tensors) tensors { return one(f(in[0])) }
}

func unaryArgs(f func(x *sinter.Tensor, a args) *sinter.Tensor) operator {
	return func(a args, in tensors) tensors { return one(f(in[0], a)) }
}

func binary(f func(x, y *sinter.Tensor) *sinter.Tensor) operator {
	return func(_ args, in tensors) tensors { return one(f(in[0], in[1])) }
}

func scalar(f func(x *sinter.Tensor, v float64) *sinter.Tensor) operator {
	return func(a args, in tensors) tensors { return one(f(in[0], a.Float("v"))) }
}

func reduction(f func(x *sinter.Tensor, axes ...int) *sinter.Tensor) operator {
	return func(a args, in tensors) tensors { return one(f(in[0], a.Ints("axes")...)) }
}

func moment(f func(x *sinter.Tensor, correction int, axes ...int) *sinter.Tensor) operator {
	return func(a args, in tensors) tensors {
		return one(f(in[0], a.Int("correction"), a.Ints("axes")...))
	}
}

func axis(f func(x *sinter.Tensor, axis int) *sinter.Tensor) operator {
	return func(a args, in tensors) tensors { return one(f(in[0], a.Int("axis"))) }
}

func convOptions(a args) sinter.ConvOptions {
	return sinter.ConvOptions{Stride: a.Ints("stride"), Padding: a.Ints("padding"), Dilation: a.Ints("dilation"), Groups: a.IntOr("groups", 1)}
}

// operations maps the names of the reference files to calls of the public API.
var operations = map[string]operator{
	"neg":        unary((*sinter.Tensor).Neg),
	"abs":        unary((*sinter.Tensor).Abs),
	"sign":       unary((*sinter.Tensor).Sign),
	"exp":        unary((*sinter.Tensor).Exp),
	"expm1":      unary((*sinter.Tensor).Expm1),
	"log":        unary((*sinter.Tensor).Log),
	"log1p":      unary((*sinter.Tensor).Log1p),
	"sqrt":       unary((*sinter.Tensor).Sqrt),
	"rsqrt":      unary((*sinter.Tensor).Rsqrt),
	"sin":        unary((*sinter.Tensor).Sin),
	"cos":        unary((*sinter.Tensor).Cos),
	"tanh":       unary((*sinter.Tensor).Tanh),
	"sigmoid":    unary((*sinter.Tensor).Sigmoid),
	"erf":        unary((*sinter.Tensor).Erf),
	"floor":      unary((*sinter.Tensor).Floor),
	"ceil":       unary((*sinter.Tensor).Ceil),
	"round":      unary((*sinter.Tensor).Round),
	"square":     unary((*sinter.Tensor).Square),
	"reciprocal": unary((*sinter.Tensor).Reciprocal),
	"not":        unary((*sinter.Tensor).Not),
	"is_nan":     unary((*sinter.Tensor).IsNaN),
	"is_finite":  unary((*sinter.Tensor).IsFinite),

	"add":     binary((*sinter.Tensor).Add),
	"sub":     binary((*sinter.Tensor).Sub),
	"mul":     binary((*sinter.Tensor).Mul),
	"div":     binary((*sinter.Tensor).Div),
	"pow":     binary((*sinter.Tensor).Pow),
	"rem":     binary((*sinter.Tensor).Rem),
	"maximum": binary((*sinter.Tensor).Maximum),
	"minimum": binary((*sinter.Tensor).Minimum),
	"eq":      binary((*sinter.Tensor).Eq),
	"ne":      binary((*sinter.Tensor).Ne),
	"lt":      binary((*sinter.Tensor).Lt),
	"le":      binary((*sinter.Tensor).Le),
	"gt":      binary((*sinter.Tensor).Gt),
	"ge":      binary((*sinter.Tensor).Ge),
	"and":     binary((*sinter.Tensor).And),
	"or":      binary((*sinter.Tensor).Or),
	"xor":     binary((*sinter.Tensor).Xor),
	"shl":     binary((*sinter.Tensor).Shl),
	"shr":     binary((*sinter.Tensor).Shr),

	"add_scalar": scalar((*sinter.Tensor).AddScalar),
	"sub_scalar": scalar((*sinter.Tensor).SubScalar),
	"mul_scalar": scalar((*sinter.Tensor).MulScalar),
	"div_scalar": scalar((*sinter.Tensor).DivScalar),
	"pow_scalar": scalar((*sinter.Tensor).PowScalar),
	"eq_scalar":  scalar((*sinter.Tensor).EqScalar),
	"ne_scalar":  scalar((*sinter.Tensor).NeScalar),
	"lt_scalar":  scalar((*sinter.Tensor).LtScalar),
	"le_scalar":  scalar((*sinter.Tensor).LeScalar),
	"gt_scalar":  scalar((*sinter.Tensor).GtScalar),
	"ge_scalar":  scalar((*sinter.Tensor).GeScalar),

	"clip": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.Clip(a.Float("lo"), a.Float("hi")) }),
	"where": func(_ args, in tensors) tensors {
		return one(sinter.Where(in[0], in[1], in[2]))
	},
	"to":      unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.To(a.DType("dtype")) }),
	"bitcast": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.Bitcast(a.DType("dtype")) }),
	"cast_there_and_back": unary(func(x *sinter.Tensor) *sinter.Tensor {
		return x.To(sinter.Float64).Exp().To(x.DType())
	}),
	"gelu_by_hand": unary(func(x *sinter.Tensor) *sinter.Tensor {
		return x.MulScalar(0.5).Mul(x.MulScalar(math.Sqrt2 / 2).Erf().AddScalar(1))
	}),
	"mean_square_by_hand": binary(func(x, y *sinter.Tensor) *sinter.Tensor {
		d := x.Sub(y)
		return d.Mul(d).Mean(1).Sqrt()
	}),
	"add_sub": binary(func(x, y *sinter.Tensor) *sinter.Tensor { return x.Add(y).Sub(x) }),

	"reshape": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor {
		if p := a.Ints("before"); p != nil {
			x = x.Permute(p...)
		}
		return x.Reshape(a.Ints("shape")...)
	}),
	"flatten":   unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.Flatten(a.Int("start")) }),
	"permute":   reduction((*sinter.Tensor).Permute),
	"transpose": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.Transpose(a.Int("a"), a.Int("b")) }),
	"t":         unary((*sinter.Tensor).T),
	"broadcast_to": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor {
		return x.BroadcastTo(a.Ints("shape")...)
	}),
	"slice": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor {
		return x.Slice(a.Int("axis"), a.Int("start"), a.Int("stop"))
	}),
	"slice_step": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor {
		return x.SliceStep(a.Int("axis"), a.Int("start"), a.Int("stop"), a.Int("step"))
	}),
	"slice_of_slice": unary(func(x *sinter.Tensor) *sinter.Tensor { return x.SliceStep(0, 1, 6, 2).Slice(0, 1, 3) }),
	"view_chain": unary(func(x *sinter.Tensor) *sinter.Tensor {
		return x.Permute(2, 1, 0).Slice(0, 1, 4).Flip(1).Reshape(3, 6).SliceStep(1, 0, 6, 2).MulScalar(2)
	}),
	"index":     unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.Index(a.Int("axis"), a.Int("i")) }),
	"squeeze":   reduction((*sinter.Tensor).Squeeze),
	"unsqueeze": axis((*sinter.Tensor).Unsqueeze),
	"flip":      reduction((*sinter.Tensor).Flip),
	"pad": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor {
		return x.Pad(a.Ints("lo"), a.Ints("hi"), a.Float("value"))
	}),
	"repeat": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.Repeat(a.Int("axis"), a.Int("n")) }),
	"cat": func(a args, in tensors) tensors {
		if a.Bool("twice") {
			in = tensors{in[0], in[0]}
		}
		return one(sinter.Cat(a.Int("axis"), in...))
	},
	"stack": func(a args, in tensors) tensors { return one(sinter.Stack(a.Int("axis"), in...)) },
	"split": func(a args, in tensors) tensors { return in[0].Split(a.Int("axis"), a.Ints("sizes")...) },
	"chunk": func(a args, in tensors) tensors { return in[0].Chunk(a.Int("n"), a.Int("axis")) },
	"tril":  unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.Tril(a.Int("k")) }),
	"triu":  unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.Triu(a.Int("k")) }),

	"arange": nullary(func(a args) *sinter.Tensor {
		return sinter.Arange(a.DType("dtype"), a.Float("start"), a.Float("stop"), a.Float("step"))
	}),
	"linspace": nullary(func(a args) *sinter.Tensor {
		return sinter.Linspace(a.DType("dtype"), a.Float("start"), a.Float("stop"), a.Int("n"))
	}),
	"eye":   nullary(func(a args) *sinter.Tensor { return sinter.Eye(a.DType("dtype"), a.Int("n")) }),
	"full":  nullary(func(a args) *sinter.Tensor { return sinter.Full(a.DType("dtype"), a.Float("v"), a.Ints("shape")...) }),
	"zeros": nullary(func(a args) *sinter.Tensor { return sinter.Zeros(a.DType("dtype"), a.Ints("shape")...) }),
	"ones":  nullary(func(a args) *sinter.Tensor { return sinter.Ones(a.DType("dtype"), a.Ints("shape")...) }),

	"sum":       reduction((*sinter.Tensor).Sum),
	"mean":      reduction((*sinter.Tensor).Mean),
	"max":       reduction((*sinter.Tensor).Max),
	"min":       reduction((*sinter.Tensor).Min),
	"prod":      reduction((*sinter.Tensor).Prod),
	"norm":      reduction((*sinter.Tensor).Norm),
	"logsumexp": reduction((*sinter.Tensor).LogSumExp),
	"sum_keep":  reduction((*sinter.Tensor).SumKeep),
	"mean_keep": reduction((*sinter.Tensor).MeanKeep),
	"max_keep":  reduction((*sinter.Tensor).MaxKeep),
	"any":       reduction((*sinter.Tensor).Any),
	"all":       reduction((*sinter.Tensor).All),
	"var":       moment((*sinter.Tensor).Var),
	"std":       moment((*sinter.Tensor).Std),
	"var_keep":  moment((*sinter.Tensor).VarKeep),
	"argmax":    axis((*sinter.Tensor).ArgMax),
	"argmin":    axis((*sinter.Tensor).ArgMin),
	"cumsum":    axis((*sinter.Tensor).CumSum),
	"sort": func(a args, in tensors) tensors {
		v, i := in[0].Sort(a.Int("axis"), a.Bool("descending"))
		return tensors{v, i}
	},
	"argsort": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor {
		return x.ArgSort(a.Int("axis"), a.Bool("descending"))
	}),
	"topk": func(a args, in tensors) tensors {
		v, i := in[0].TopK(a.Int("k"), a.Int("axis"))
		return tensors{v, i}
	},

	"matmul": func(a args, in tensors) tensors {
		x, y := in[0], in[len(in)-1]
		if a.Bool("ta") {
			x = x.T()
		}
		if a.Bool("tb") {
			y = y.T()
		}
		return one(x.MatMul(y))
	},
	"einsum": func(a args, in tensors) tensors { return one(sinter.Einsum(a.String("eq"), in...)) },
	"linear": func(_ args, in tensors) tensors { return one(sinter.Linear(in[0], in[1], in[2])) },

	"gather": func(a args, in tensors) tensors { return one(in[0].Gather(a.Int("axis"), in[1])) },
	"index_select": func(a args, in tensors) tensors {
		return one(in[0].IndexSelect(a.Int("axis"), in[1]))
	},
	"embedding":   binary(sinter.Embedding),
	"scatter_add": func(a args, in tensors) tensors { return one(in[0].ScatterAdd(a.Int("axis"), in[1], in[2])) },
	"scatter":     func(a args, in tensors) tensors { return one(in[0].Scatter(a.Int("axis"), in[1], in[2])) },
	"masked_fill": func(a args, in tensors) tensors { return one(in[0].MaskedFill(in[1], a.Float("v"))) },
	"one_hot":     unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor { return x.OneHot(a.Int("classes")) }),
	"dynamic_slice": func(a args, in tensors) tensors {
		return one(in[0].DynamicSlice(in[1], a.Ints("size")...))
	},
	"dynamic_update_slice": func(_ args, in tensors) tensors { return one(in[0].DynamicUpdateSlice(in[1], in[2])) },
	// x, w and the initial state: h = tanh(x + h·w), results h².
	"scan_rnn": func(a args, in tensors) tensors {
		last, ys := sinter.Scan(func(carry, x tensors) (tensors, tensors) {
			h := x[0].Add(carry[0].MatMul(in[1])).Tanh()
			return tensors{h}, tensors{h.Mul(h)}
		}, tensors{in[2]}, tensors{in[0]}, a.Bool("reverse"))
		return append(last, ys...)
	},
	// Two values that feed each other: a = a·x + b, b = a − b/2.
	"scan_two": func(_ args, in tensors) tensors {
		last, ys := sinter.Scan(func(c, x tensors) (tensors, tensors) {
			p, q := c[0].Mul(x[0]).Add(c[1]), c[0].Sub(c[1].MulScalar(0.5))
			return tensors{p, q}, tensors{p.Add(q)}
		}, tensors{in[1], in[2]}, tensors{in[0]}, false)
		return append(last, ys...)
	},

	"conv": func(a args, in tensors) tensors { return one(sinter.Conv(in[0], in[1], in[2], convOptions(a))) },
	"conv_transpose": func(a args, in tensors) tensors {
		return one(sinter.ConvTranspose(in[0], in[1], in[2], convOptions(a), a.Ints("output_padding")))
	},
	"max_pool": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor {
		return sinter.MaxPool(x, a.Ints("size"), a.Ints("stride"), a.Ints("padding"))
	}),
	"avg_pool": unaryArgs(func(x *sinter.Tensor, a args) *sinter.Tensor {
		return sinter.AvgPool(x, a.Ints("size"), a.Ints("stride"), a.Ints("padding"), a.Bool("count_pad"))
	}),

	"softmax":     axis((*sinter.Tensor).Softmax),
	"log_softmax": axis((*sinter.Tensor).LogSoftmax),
	"layer_norm": func(a args, in tensors) tensors {
		return one(sinter.LayerNorm(in[0], in[1], in[2], a.Float("eps")))
	},
	"rms_norm": func(a args, in tensors) tensors { return one(sinter.RMSNorm(in[0], in[1], a.Float("eps"))) },
	"batch_norm": func(a args, in tensors) tensors {
		y, mean, variance := sinter.BatchNorm(in[0], in[1], in[2], a.Float("eps"))
		return tensors{y, mean, variance}
	},
	"group_norm": func(a args, in tensors) tensors {
		return one(sinter.GroupNorm(in[0], a.Int("groups"), in[1], in[2], a.Float("eps")))
	},
	"attention": func(a args, in tensors) tensors {
		if a.Bool("mask_fixed") {
			in = append(in[:3:3], in[3].Detach())
		}
		return one(sinter.Attention(in[0], in[1], in[2], in[3], a.Bool("causal"), a.FloatOr("scale", 0)))
	},
	"cross_entropy": func(a args, in tensors) tensors {
		return one(sinter.CrossEntropy(in[0], in[1], crossEntropyOptions(a, in[2])))
	},
}

// cases are those of all the files of this package.
func cases(t *testing.T) []*reftest.Case {
	files, err := filepath.Glob("testdata/ops/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no reference files under testdata/ops: ", err)
	}
	var all []*reftest.Case
	for _, f := range files {
		all = append(all, reftest.Load(t, f, nil)...)
	}
	return all
}

// problem is a case in one precision, as a graph.
type problem struct {
	c    *reftest.Case
	wide bool // float32 inputs are given as float64
	in   tensors
	wrt  []int // the inputs with a gradient
}

// dtype is the type that the problem has where the case has d.
func (p *problem) dtype(d sinter.DType) sinter.DType {
	if p.wide && d == sinter.Float32 {
		return sinter.Float64
	}
	return d
}

func newProblem(c *reftest.Case, wide bool) *problem {
	p := &problem{c: c, wide: wide, in: make(tensors, len(c.In))}
	for i, x := range c.In {
		if x != nil {
			d := p.dtype(x.DType)
			p.in[i] = sinter.FromBytes(d, x.Bytes(d), x.Shape...)
		}
	}
	for i, g := range c.Grad {
		if g != nil {
			p.wrt = append(p.wrt, i)
		}
	}
	return p
}

func (p *problem) outputs() tensors { return operations[p.c.Op](p.c.Args, p.in) }

// noise is a constant made of the reference files' formula.
func noise(d sinter.DType, seed uint32, shape []int) *sinter.Tensor {
	n := 1
	for _, s := range shape {
		n *= s
	}
	v := make([]float64, n)
	for i, f := range reftest.Noise(seed, n) {
		v[i] = float64(f)
	}
	return sinter.FromBytes(d, reftest.Encode(d, v), shape...)
}

// objective is Σ out·cotangent, the scalar whose gradients the files hold.
func objective(out tensors) *sinter.Tensor {
	var sum *sinter.Tensor
	for j, y := range out {
		if !y.DType().IsFloat() {
			continue
		}
		term := y.Mul(noise(y.DType(), uint32(j+1), y.Shape())).Sum()
		if sum == nil {
			sum = term
		} else {
			sum = sum.Add(term)
		}
	}
	return sum
}

func (p *problem) inputs() tensors {
	var xs tensors
	for _, i := range p.wrt {
		xs = append(xs, p.in[i])
	}
	return xs
}

func (p *problem) gradients(out tensors) tensors {
	if len(out) == 1 {
		y := out[0]
		return filled(sinter.VJP(y, noise(y.DType(), 1, y.Shape()), p.inputs()...), p.inputs())
	}
	return grad(objective(out), p.inputs()...)
}

// grad is sinter.Grad with zeros, as PyTorch has them, where y does not depend on x.
func grad(y *sinter.Tensor, xs ...*sinter.Tensor) tensors {
	return filled(sinter.Grad(y, xs...), xs)
}

func filled(grads, xs tensors) tensors {
	for i, g := range grads {
		if g == nil {
			grads[i] = sinter.Zeros(xs[i].DType(), xs[i].Shape()...)
		}
	}
	return grads
}

func check(t *testing.T, what string, want *reftest.Tensor, got *sinter.Tensor, d sinter.DType, tol reftest.Tol) {
	t.Helper()
	b, err := got.Bytes()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if err := want.Check(reftest.Value{DType: got.DType(), Shape: got.Shape(), Bytes: b}, d, tol); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func (p *problem) check(t *testing.T) {
	out := p.outputs()
	if len(out) != len(p.c.Out) {
		t.Fatalf("%d outputs, want %d", len(out), len(p.c.Out))
	}
	roots := out
	var grads tensors
	if len(p.wrt) > 0 {
		grads = p.gradients(out)
		roots = append(out[:len(out):len(out)], grads...)
	}
	if err := sinter.Eval(roots...); err != nil {
		t.Fatal(err)
	}
	for j, want := range p.c.Out {
		d := p.dtype(want.DType)
		tol := reftest.Tolerance(d)
		if p.c.Exact {
			tol = reftest.Tol{}
		}
		check(t, fmt.Sprintf("%v output %d", d, j), want, out[j], d, tol)
	}
	for k, i := range p.wrt {
		d := p.dtype(p.c.In[i].DType)
		check(t, fmt.Sprintf("%v gradient %d", d, i), p.c.Grad[i], grads[k], d, reftest.Tolerance(d))
	}
}

// Outputs and gradients equal PyTorch's.
func TestReference(t *testing.T) {
	all := cases(t)
	reftest.Covered(t, operations, all)
	reftest.Run(t, all, func(t *testing.T, c *reftest.Case) {
		newProblem(c, false).check(t)
		if c.Wide() && c.Op != "to" && c.Op != "bitcast" {
			newProblem(c, true).check(t)
		}
	})
}

// The same holds when no two operations are fused into a kernel. The switches are
// read once, so another process does it.
func TestReferenceUnfused(t *testing.T) {
	if testing.Short() {
		t.Skip("short run")
	}
	for _, words := range []string{"nofuse,verify", "verify"} { // the second: every program is checked, too
		cmd := exec.Command(os.Args[0], "-test.run=^TestReference$")
		cmd.Env = append(os.Environ(), "SINTER_DEBUG="+words)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("with SINTER_DEBUG=%s: %v\n%s", words, err, out)
		}
	}
}

const step = 1e-5 // of central differences in float64: the error is about step²

// along is the derivative of f along random directions: finite differences of f,
// which is built anew at two points, and the product of the gradient with the
// direction. Both are computed in float64.
func along(t *testing.T, c *reftest.Case, f func(p *problem) *sinter.Tensor) {
	t.Helper()
	center := newProblem(c, true)
	xs := center.inputs()
	grads := grad(f(center), xs...)
	if err := sinter.Eval(grads...); err != nil {
		t.Fatal(err)
	}
	for dir := range uint32(2) {
		var points [2]*sinter.Tensor
		var product, size float64
		for s, sign := range []float64{1, -1} {
			p := newProblem(c, true)
			for k, i := range p.wrt {
				x := append([]float64(nil), c.In[i].Floats()...)
				v := reftest.Noise(100+10*dir+uint32(k), len(x))
				for j := range x {
					x[j] += sign * step * float64(v[j])
				}
				p.in[i] = sinter.FromFloat64s(x, c.In[i].Shape...)
			}
			points[s] = f(p)
		}
		if err := sinter.Eval(points[0], points[1]); err != nil {
			t.Fatal(err)
		}
		for k := range xs {
			g := grads[k].Float64s()
			for j, v := range reftest.Noise(100+10*dir+uint32(k), len(g)) {
				product += g[j] * float64(v)
				size += math.Abs(g[j] * float64(v))
			}
		}
		numeric := (points[0].Float() - points[1].Float()) / (2 * step)
		if !(math.Abs(numeric-product) <= 1e-6*max(1, size)) {
			t.Errorf("direction %d: gradient gives %.9g, finite differences %.9g", dir, product, numeric)
		}
	}
}

// rough are cases, by operation or by name, that have no derivative at the inputs of
// the file or whose value jumps nearby.
var rough = map[string]string{
	"max_pool/2d_negative_pad":              "ties: an input is as large as its neighbour",
	"rem/both":                              "jumps where the quotient is whole",
	"sort/ascending_long":                   "ties among many rounded inputs",
	"sort/descending_long":                  "ties among many rounded inputs",
	"cross_entropy/weight":                  "the weights of the classes are held fixed",
	"cross_entropy/weight_sum":              "the weights of the classes are held fixed",
	"cross_entropy/weight_ignore":           "the weights of the classes are held fixed",
	"cross_entropy/weight_smoothing":        "the weights of the classes are held fixed",
	"cross_entropy/weight_smoothing_ignore": "the weights of the classes are held fixed",

	"cross_entropy/probabilities_weight":           "the weights of the classes are held fixed",
	"cross_entropy/probabilities_weight_smoothing": "the weights of the classes are held fixed",
}

// smooth are the cases that can be differentiated numerically.
func smooth(t *testing.T) []*reftest.Case {
	var l []*reftest.Case
	for _, c := range cases(t) {
		if len(c.Grad) > 0 && !c.Kink && rough[c.ID()] == "" && c.Wide() && operations[c.Op] != nil {
			l = append(l, c)
		}
	}
	return l
}

// Gradients equal central differences.
func TestGradientsNumerically(t *testing.T) {
	reftest.Run(t, smooth(t), func(t *testing.T, c *reftest.Case) {
		along(t, c, func(p *problem) *sinter.Tensor { return objective(p.outputs()) })
	})
}

// Gradients of a function of the gradients equal central differences of it.
func TestSecondGradientsNumerically(t *testing.T) {
	reftest.Run(t, smooth(t), func(t *testing.T, c *reftest.Case) {
		along(t, c, func(p *problem) *sinter.Tensor {
			var sum *sinter.Tensor
			for k, g := range grad(objective(p.outputs()), p.inputs()...) {
				// The square makes the second derivative depend on the first one.
				term := g.Mul(noise(sinter.Float64, uint32(50+k), g.Shape())).Add(g.Mul(g).MulScalar(0.5)).Sum()
				if sum == nil {
					sum = term
				} else {
					sum = sum.Add(term)
				}
			}
			return sum
		})
	})
}

// Nothing that computes is left out: every exported function and method of the
// package that returns a tensor occurs in this file, or is named here with the
// reason why PyTorch has no value for it.
func TestReferenceIsComplete(t *testing.T) {
	elsewhere := map[string]string{
		"FromFloats": "creation", "FromFloat64s": "creation", "FromInts": "creation", "FromInt32s": "creation", "FromBools": "creation",
		"FromBytes": "creation", "Scalar": "creation", "ScalarOf": "creation", "RuntimeScalar": "creation", "RuntimeScalarFunc": "creation",
		"Rand": "random", "Randn": "random", "RandInt": "random", "Bernoulli": "random", "RandPerm": "random", "Dropout": "random",
		"Value": "a variable's", "Tensor": "a host buffer's", "View": "a host buffer's", "AlsoAssign": "assignment", "Barrier": "the identity", "Checkpoint": "its function",
		"Call": "a compiled function's", "CallInto": "a compiled function's", "CallNumbers": "a compiled function's", "Apply": "a function's",
	}
	files := token.NewFileSet()
	parse := func(name string) *ast.File {
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	used := map[string]bool{}
	ast.Inspect(parse("ops_ref_test.go"), func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			used[s.Sel.Name] = true
		}
		return true
	})
	sources, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, d := range parse(name).Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || !returnsTensor(f) {
				continue
			}
			if !used[f.Name.Name] && elsewhere[f.Name.Name] == "" {
				t.Errorf("%s: %s has no reference values", files.Position(f.Pos()), f.Name.Name)
			}
		}
	}
}

func returnsTensor(f *ast.FuncDecl) bool {
	if f.Type.Results == nil {
		return false
	}
	for _, r := range f.Type.Results.List {
		x := r.Type
		if a, ok := x.(*ast.ArrayType); ok {
			x = a.Elt
		}
		if s, ok := x.(*ast.StarExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok && id.Name == "Tensor" {
				return true
			}
		}
	}
	return false
}

func crossEntropyOptions(a args, weight *sinter.Tensor) sinter.CrossEntropyOptions {
	o := sinter.CrossEntropyOptions{LabelSmoothing: a.FloatOr("label_smoothing", 0), Reduction: a.String("reduction")}
	if weight != nil {
		o.Weight = weight.Detach()
	}
	if a.Has("ignore_index") {
		o.IgnoreIndex = a.Int("ignore_index")
	}
	return o
}
