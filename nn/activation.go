package nn

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter"
)

// The formulas below choose between branches with Where, on a condition that is
// false for NaN in the branch that keeps x, so that NaN goes through. A branch
// that could overflow gets a harmless argument where it is not chosen: the
// gradient of an unchosen branch is zero times its derivative, and zero times
// infinity would be NaN.

// ReLU is max(x, 0); its gradient at 0 is 0.
func ReLU(x *sinter.Tensor) *sinter.Tensor { return relu(x) }

var relu = once("relu", func(x *sinter.Tensor) *sinter.Tensor {
	return sinter.Where(x.LeScalar(0), constant(x, 0), x)
})

// once is f as a sinter.Function: what models use most is recorded once.
func once(name string, f Func) Func {
	g := sinter.NewFunction(name, func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{f(in[0])} })
	return func(x *sinter.Tensor) *sinter.Tensor { return g.Apply(x)[0] }
}

// ReLU6 is min(max(x, 0), 6).
func ReLU6(x *sinter.Tensor) *sinter.Tensor { return x.Clip(0, 6) }

// LeakyReLU is x for x > 0 and slope·x below; PyTorch's slope is 0.01.
func LeakyReLU(x *sinter.Tensor, slope float64) *sinter.Tensor {
	return sinter.Where(x.GtScalar(0), x, x.MulScalar(slope))
}

// ELU is x for x > 0 and alpha·(eˣ−1) below. Clevert et al., 2015.
func ELU(x *sinter.Tensor, alpha float64) *sinter.Tensor {
	above := x.GtScalar(0)
	below := sinter.Where(above, constant(x, 0), x).Expm1().MulScalar(alpha)
	return sinter.Where(above, x, below)
}

// SELU is ELU with the two constants that keep mean 0 and variance 1 through
// layers. Klambauer et al., "Self-normalizing neural networks", 2017.
func SELU(x *sinter.Tensor) *sinter.Tensor {
	const alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
	return ELU(x, alpha).MulScalar(scale)
}

// GELU is x·Φ(x), Φ the normal distribution function, exactly. Hendrycks and
// Gimpel, 2016.
func GELU(x *sinter.Tensor) *sinter.Tensor { return gelu(x) }

var gelu = once("gelu", func(x *sinter.Tensor) *sinter.Tensor {
	return x.MulScalar(0.5).Mul(x.MulScalar(1 / math.Sqrt2).Erf().AddScalar(1))
})

// GELUTanh is the approximation of GELU that GPT-2 uses, x·(1 + tanh u)/2 with
// u = √(2/π)·(x + 0.044715·x³), computed as x·σ(2u), which is the same.
func GELUTanh(x *sinter.Tensor) *sinter.Tensor { return geluTanh(x) }

var geluTanh = once("gelu_tanh", func(x *sinter.Tensor) *sinter.Tensor {
	c := 2 * math.Sqrt(2/math.Pi)
	u2 := x.Mul(x.Mul(x).MulScalar(0.044715 * c).AddScalar(c))
	return x.Mul(u2.Sigmoid())
})

// SiLU is x·σ(x), also called Swish.
func SiLU(x *sinter.Tensor) *sinter.Tensor { return silu(x) }

var silu = once("silu", func(x *sinter.Tensor) *sinter.Tensor { return x.Mul(x.Sigmoid()) })

// Mish is x·tanh(softplus(x)). Misra, 2019.
func Mish(x *sinter.Tensor) *sinter.Tensor { return x.Mul(Softplus(x).Tanh()) }

// Softplus is log(1+eˣ), and x itself above 20, where both are the same in
// float32.
func Softplus(x *sinter.Tensor) *sinter.Tensor {
	large := x.GtScalar(20)
	return sinter.Where(large, x, sinter.Where(large, constant(x, 0), x).Exp().Log1p())
}

// Sigmoid is 1/(1+e⁻ˣ).
func Sigmoid(x *sinter.Tensor) *sinter.Tensor { return x.Sigmoid() }

// Tanh is the hyperbolic tangent.
func Tanh(x *sinter.Tensor) *sinter.Tensor { return x.Tanh() }

// Hardswish is x·relu6(x+3)/6. Howard et al., "Searching for MobileNetV3", 2019.
func Hardswish(x *sinter.Tensor) *sinter.Tensor {
	return x.Mul(ReLU6(x.AddScalar(3))).MulScalar(1.0 / 6)
}

// Softmax is eˣ divided by its sum along an axis.
func Softmax(x *sinter.Tensor, axis int) *sinter.Tensor { return x.Softmax(axis) }

// LogSoftmax is the logarithm of [Softmax], without its rounding to zero.
func LogSoftmax(x *sinter.Tensor, axis int) *sinter.Tensor { return x.LogSoftmax(axis) }

// GLU halves an axis into a and b and is a·σ(b). Dauphin et al., 2016.
func GLU(x *sinter.Tensor, axis int) *sinter.Tensor {
	h := x.Chunk(2, axis)
	return h[0].Mul(h[1].Sigmoid())
}

// SwiGLU halves an axis into a and b and is silu(a)·b. Shazeer, "GLU variants
// improve Transformer", 2020.
func SwiGLU(x *sinter.Tensor, axis int) *sinter.Tensor {
	h := x.Chunk(2, axis)
	return SiLU(h[0]).Mul(h[1])
}

// NewLeakyReLU is [LeakyReLU] as a layer.
func NewLeakyReLU(slope float64) Func {
	return func(x *sinter.Tensor) *sinter.Tensor { return LeakyReLU(x, slope) }
}

// NewELU is [ELU] as a layer.
func NewELU(alpha float64) Func {
	return func(x *sinter.Tensor) *sinter.Tensor { return ELU(x, alpha) }
}

// NewSoftmax is [Softmax] along an axis as a layer.
func NewSoftmax(axis int) Func { return along(axis, Softmax) }

// NewLogSoftmax is [LogSoftmax] along an axis as a layer.
func NewLogSoftmax(axis int) Func { return along(axis, LogSoftmax) }

// NewGLU is [GLU] along an axis as a layer.
func NewGLU(axis int) Func { return along(axis, GLU) }

// NewSwiGLU is [SwiGLU] along an axis as a layer.
func NewSwiGLU(axis int) Func { return along(axis, SwiGLU) }

func along(axis int, f func(*sinter.Tensor, int) *sinter.Tensor) Func {
	return func(x *sinter.Tensor) *sinter.Tensor { return f(x, axis) }
}

// PReLU is a leaky ReLU whose slopes are learned, one for all or one per channel.
// He et al., 2015.
type PReLU struct {
	Weight *sinter.Variable // [n]
}

// NewPReLU makes a PReLU of n slopes, 1 or the number of channels (axis 1), each
// 0.25 at first.
func NewPReLU(n int) *PReLU {
	positive("nn.NewPReLU", "the number of slopes", n)
	return &PReLU{NewParameter(Constant(0.25), sinter.Float32, n)}
}

// Forward applies the slopes of x's axis 1.
func (p *PReLU) Forward(x *sinter.Tensor) *sinter.Tensor {
	w := p.Weight.Value()
	if w.Len() > 1 {
		w = channels(w, x.Rank())
	}
	return Record(p, sinter.Where(x.GtScalar(0), x, x.Mul(w)), x)
}

// channels reshapes a vector over the channels for broadcasting along axis 1 of a
// tensor of the given rank.
func channels(v *sinter.Tensor, rank int) *sinter.Tensor {
	shape := slices.Repeat([]int{1}, rank)
	shape[1] = -1
	return v.Reshape(shape...)
}

var activations = map[string]Func{
	"relu": ReLU, "relu6": ReLU6, "leaky_relu": NewLeakyReLU(0.01), "elu": NewELU(1), "selu": SELU,
	"gelu": GELU, "gelu_tanh": GELUTanh, "silu": SiLU, "mish": Mish, "softplus": Softplus,
	"sigmoid": Sigmoid, "tanh": Tanh, "hardswish": Hardswish,
}

// ActivationByName finds an activation by its PyTorch name, for configurations
// that are text: "relu", "gelu", "leaky_relu" (with slope 0.01), …
func ActivationByName(name string) (Func, error) {
	if f, ok := activations[name]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("nn: there is no activation %q; known are %s", name, strings.Join(ActivationNames(), ", "))
}

// ActivationNames lists what [ActivationByName] knows, sorted.
func ActivationNames() []string { return slices.Sorted(maps.Keys(activations)) }
