package nn

import (
	"math"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Initializer fills dst, the elements of a new variable of the given shape in
// row-major order, with numbers drawn from g. The same generator gives the same
// bits on every machine.
type Initializer func(g *sinter.Generator, dst []float32, shape []int)

// Zeros fills with 0.
func Zeros(_ *sinter.Generator, dst []float32, _ []int) { clear(dst) }

// Ones fills with 1.
func Ones(g *sinter.Generator, dst []float32, shape []int) { Constant(1)(g, dst, shape) }

// Constant fills with v.
func Constant(v float64) Initializer {
	return func(_ *sinter.Generator, dst []float32, _ []int) {
		for i := range dst {
			dst[i] = float32(v)
		}
	}
}

// Uniform draws from the interval [lo, hi).
func Uniform(lo, hi float64) Initializer {
	return func(g *sinter.Generator, dst []float32, _ []int) { uniform(g, dst, lo, hi) }
}

// Normal draws from the normal distribution.
func Normal(mean, std float64) Initializer {
	return func(g *sinter.Generator, dst []float32, _ []int) { normal(g, dst, mean, std) }
}

// TruncatedNormal draws from the normal distribution around 0 without its tails:
// no element is further than two std from 0.
func TruncatedNormal(std float64) Initializer {
	// By inversion, so that every element takes exactly one draw.
	tail := math.Erf(2 / math.Sqrt2)
	return func(g *sinter.Generator, dst []float32, _ []int) {
		for i := range dst {
			u := 2*g.Float64() - 1
			dst[i] = float32(std * math.Sqrt2 * math.Erfinv(u*tail))
		}
	}
}

// uniform and normal convert every product before it is added to something: that
// keeps the compiler from fusing both into one rounding where the processor can,
// which would make the bits depend on the machine.
func uniform(g *sinter.Generator, dst []float32, lo, hi float64) {
	for i := range dst {
		dst[i] = float32(lo + float64((hi-lo)*g.Float64()))
	}
}

func normal(g *sinter.Generator, dst []float32, mean, std float64) {
	for i := range dst {
		dst[i] = float32(mean + float64(std*g.NormFloat64()))
	}
}

// fans are the numbers of inputs that reach one output of a weight and of outputs
// that one input reaches, as PyTorch counts them: axis 0 is out, axis 1 is in, the
// others are the window.
func fans(shape []int) (in, out float64) {
	if len(shape) < 2 {
		ir.Fail("nn.Init", "a weight of shape %v has no fan-in and fan-out; they need two axes or more", shape)
	}
	window := float64(elements(shape[2:]))
	return float64(shape[1]) * window, float64(shape[0]) * window
}

// fan chooses the number by which a variance is divided.
type fan func(in, out float64) float64

func fanIn(in, _ float64) float64   { return in }
func fanOut(_, out float64) float64 { return out }
func fanAvg(in, out float64) float64 {
	return (in + out) / 2
}

// scaledNormal and scaledUniform draw with the variance gain²/fan.
func scaledNormal(gain float64, f fan) Initializer {
	return func(g *sinter.Generator, dst []float32, shape []int) {
		normal(g, dst, 0, gain/math.Sqrt(f(fans(shape))))
	}
}

func scaledUniform(gain float64, f fan) Initializer {
	return func(g *sinter.Generator, dst []float32, shape []int) {
		bound := gain * math.Sqrt(3/f(fans(shape)))
		uniform(g, dst, -bound, bound)
	}
}

// XavierUniform is PyTorch's xavier_uniform_: a variance of 2·gain²/(fan in + fan
// out). Glorot and Bengio, "Understanding the difficulty of training deep
// feedforward neural networks", 2010.
func XavierUniform(gain float64) Initializer { return scaledUniform(gain, fanAvg) }

// XavierNormal is PyTorch's xavier_normal_; see [XavierUniform].
func XavierNormal(gain float64) Initializer { return scaledNormal(gain, fanAvg) }

// GlorotUniform is Keras' default, [XavierUniform] of gain 1.
func GlorotUniform() Initializer { return XavierUniform(1) }

// GlorotNormal is [XavierNormal] of gain 1.
func GlorotNormal() Initializer { return XavierNormal(1) }

// KaimingUniform is PyTorch's kaiming_uniform_ by fan in, for a leaky ReLU of
// slope a: a variance of 2/((1+a²)·fan in). He et al., "Delving deep into
// rectifiers", 2015.
func KaimingUniform(a float64) Initializer { return scaledUniform(kaimingGain(a), fanIn) }

// KaimingNormal is PyTorch's kaiming_normal_ by fan in; see [KaimingUniform].
func KaimingNormal(a float64) Initializer { return scaledNormal(kaimingGain(a), fanIn) }

func kaimingGain(a float64) float64 { return math.Sqrt(2 / (1 + float64(a*a))) }

// HeUniform is [KaimingUniform] for a plain ReLU.
func HeUniform() Initializer { return KaimingUniform(0) }

// HeNormal is [KaimingNormal] for a plain ReLU.
func HeNormal() Initializer { return KaimingNormal(0) }

// HeNormalFanOut keeps the variance of the gradients instead of the activations,
// as ResNets are initialised.
func HeNormalFanOut() Initializer { return scaledNormal(math.Sqrt2, fanOut) }

// LecunUniform has the variance 1/fan in. LeCun et al., "Efficient BackProp", 1998.
func LecunUniform() Initializer { return scaledUniform(1, fanIn) }

// LecunNormal has the variance 1/fan in; what SELU networks need.
func LecunNormal() Initializer { return scaledNormal(1, fanIn) }

// Orthogonal fills a weight, seen as a matrix of shape[0] rows, with orthonormal
// rows (or columns, if there are more rows than columns) times gain. Saxe et al.,
// "Exact solutions to the nonlinear dynamics of learning in deep linear neural
// networks", 2014.
func Orthogonal(gain float64) Initializer {
	return func(g *sinter.Generator, dst []float32, shape []int) {
		if len(shape) < 2 {
			ir.Fail("nn.Orthogonal", "a variable of shape %v is not a matrix", shape)
		}
		rows, cols := shape[0], elements(shape[1:])
		// n orthonormal vectors of length m, n ≤ m, by modified Gram-Schmidt on
		// normal vectors; twice, because once loses orthogonality to rounding. The
		// result is uniform over the orthogonal matrices (Haar), since the normal
		// distribution has no preferred direction.
		n, m := min(rows, cols), max(rows, cols)
		vectors := make([][]float64, n)
		for i := range vectors {
			v := make([]float64, m)
			for j := range v {
				v[j] = g.NormFloat64()
			}
			for range 2 {
				for _, u := range vectors[:i] {
					d := dot(u, v)
					for j := range v {
						v[j] -= float64(d * u[j])
					}
				}
			}
			norm := math.Sqrt(dot(v, v))
			for j := range v {
				v[j] /= norm
			}
			vectors[i] = v
		}
		for i := range rows {
			for j := range cols {
				if rows <= cols {
					dst[i*cols+j] = float32(gain * vectors[i][j])
				} else {
					dst[i*cols+j] = float32(gain * vectors[j][i])
				}
			}
		}
	}
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, x := range a {
		s += float64(x * b[i])
	}
	return s
}

// fanInUniform is PyTorch's default for weights and biases of linear maps and
// convolutions: U(±1/√fan in). For the weight it is the same distribution as
// kaiming_uniform_ with a = √5.
func fanInUniform(n int) Initializer {
	bound := 1 / math.Sqrt(float64(n))
	return Uniform(-bound, bound)
}

// either is the initializer asked for, or the layer's default.
func either(asked, standard Initializer) Initializer {
	if asked != nil {
		return asked
	}
	return standard
}
