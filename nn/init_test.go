package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
)

// moments draws a weight and gives mean, standard deviation and largest magnitude.
func moments(init Initializer, shape ...int) (mean, std, most float64) {
	w := make([]float32, elements(shape))
	init(sinter.NewGenerator(7), w, shape)
	for _, v := range w {
		mean += float64(v)
		most = max(most, math.Abs(float64(v)))
	}
	mean /= float64(len(w))
	for _, v := range w {
		std += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, math.Sqrt(std / float64(len(w))), most
}

// Standard deviations from the formulas of the papers, for a convolution of 40
// channels to 60 with a 3×3 window: fan in 360, fan out 540.
func TestInitMoments(t *testing.T) {
	const in, out = 360.0, 540.0
	unbounded := math.Inf(1)
	for _, c := range []struct {
		name       string
		init       Initializer
		std, bound float64
	}{
		{"uniform", Uniform(-2, 2), 2 / math.Sqrt(3), 2},
		{"normal", Normal(0, 0.5), 0.5, unbounded},
		{"xavier uniform", XavierUniform(1), math.Sqrt(2 / (in + out)), math.Sqrt(6 / (in + out))},
		{"xavier normal", XavierNormal(2), 2 * math.Sqrt(2/(in+out)), unbounded},
		{"kaiming uniform √5", KaimingUniform(math.Sqrt(5)), 1 / math.Sqrt(3*in), 1 / math.Sqrt(in)},
		{"he uniform", HeUniform(), math.Sqrt(2 / in), math.Sqrt(6 / in)},
		{"he normal", HeNormal(), math.Sqrt(2 / in), unbounded},
		{"he normal fan out", HeNormalFanOut(), math.Sqrt(2 / out), unbounded},
		{"lecun uniform", LecunUniform(), math.Sqrt(1 / in), math.Sqrt(3 / in)},
		{"lecun normal", LecunNormal(), math.Sqrt(1 / in), unbounded},
		// A normal distribution cut at two deviations keeps 0.8796 of its own.
		{"truncated", TruncatedNormal(0.5), 0.5 * 0.87962566103423978, 1},
	} {
		mean, std, most := moments(c.init, 60, 40, 3, 3)
		if math.Abs(mean) > 0.02*c.std || math.Abs(std/c.std-1) > 0.02 || most > c.bound*(1+1e-6) {
			t.Errorf("%s: mean %.4g, deviation %.4g (want %.4g), largest %.4g (bound %.4g)", c.name, mean, std, c.std, most, c.bound)
		}
		if !math.IsInf(c.bound, 0) && most < 0.99*c.bound {
			t.Errorf("%s: largest %.4g does not come near the bound %.4g", c.name, most, c.bound)
		}
	}
}

func TestOrthogonal(t *testing.T) {
	for _, shape := range [][]int{{8, 20}, {20, 8}, {6, 2, 3}} {
		rows, cols := shape[0], elements(shape[1:])
		w := make([]float32, rows*cols)
		Orthogonal(3)(sinter.NewGenerator(1), w, shape)
		n, m := min(rows, cols), max(rows, cols)
		at := func(i, j int) float64 { // element j of vector i
			if rows <= cols {
				return float64(w[i*cols+j])
			}
			return float64(w[j*cols+i])
		}
		for a := range n {
			for b := range n {
				s := 0.0
				for j := range m {
					s += at(a, j) * at(b, j)
				}
				want := 0.0
				if a == b {
					want = 9
				}
				if math.Abs(s-want) > 1e-4 {
					t.Errorf("%v: vectors %d and %d have the product %g, want %g", shape, a, b, s, want)
				}
			}
		}
	}
}

func TestSeed(t *testing.T) {
	weights := func(seed uint64) []float32 {
		sinter.Seed(seed)
		return NewLinear(8, 8).Weight.Value().Floats()
	}
	if !slices.Equal(weights(3), weights(3)) {
		t.Error("one seed gave two initialisations")
	}
	if slices.Equal(weights(3), weights(4)) {
		t.Error("two seeds gave one initialisation")
	}
}

// What PyTorch's reset_parameters do, by the bounds they write down.
func TestDefaultInit(t *testing.T) {
	within := func(name string, v *sinter.Variable, bound float64) {
		t.Helper()
		most := 0.0
		for _, x := range v.Value().Float64s() {
			most = max(most, math.Abs(x))
		}
		if most > bound*(1+1e-6) || most < 0.9*bound {
			t.Errorf("%s: largest %g, bound %g", name, most, bound)
		}
	}
	l := NewLinear(100, 300)
	within("linear weight", l.Weight, 0.1)
	within("linear bias", l.Bias, 0.1)
	c := NewConv2D(8, 64, 5, Groups(2))
	within("conv weight", c.Weight, 0.1)
	ct := NewConvTranspose2D(64, 4, 5)
	within("transposed conv weight", ct.Weight, 0.1) // fan in is counted over out: 4·5·5
	r := NewLSTM(7, 100)
	within("lstm weight_ih", r.Variable("weight_ih_l0"), 0.1)
	within("lstm bias_hh", r.Variable("bias_hh_l0"), 0.1)
	a := NewMultiHeadAttention(50, 5)
	within("attention in_proj", a.InProjWeight, math.Sqrt(6.0/200))
	within("attention out_proj", a.OutProj.Weight, 1/math.Sqrt(50))
	if NewLinear(2, 2, DType(sinter.Float64)).Weight.DType() != sinter.Float64 {
		t.Error("DType was ignored")
	}
}
