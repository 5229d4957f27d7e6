package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
)

func near(t *testing.T, name string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", name, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(float64(got[i]) - want[i]); !(d <= tolerance*max(1, math.Abs(want[i]))) {
			t.Errorf("%s: element %d is %v, want %v", name, i, got[i], want[i])
			return
		}
	}
}

func TestShapes(t *testing.T) {
	ids := sinter.FromInts([]int64{0, 1, 2, 3, 4, 0}, 2, 3)
	for _, c := range []struct {
		name  string
		layer Module
		x     *sinter.Tensor
		want  []int
	}{
		{"linear", NewLinear(4, 7), sinter.Zeros(sinter.Float32, 2, 3, 4), []int{2, 3, 7}},
		{"embedding", NewEmbedding(5, 4), ids, []int{2, 3, 4}},
		{"flatten", Flatten{}, sinter.Zeros(sinter.Float32, 2, 3, 4), []int{2, 12}},
		{"conv1d", NewConv1D(3, 6, 3, Stride(2), Padding(1), Groups(3)), sinter.Zeros(sinter.Float32, 2, 3, 9), []int{2, 6, 5}},
		{"conv2d", NewConv2D(3, 6, 3, Dilation(2)), sinter.Zeros(sinter.Float32, 2, 3, 9, 8), []int{2, 6, 5, 4}},
		{"conv2d kernel", NewConv2D(3, 6, 0, Kernel(1, 3), Padding(0, 1)), sinter.Zeros(sinter.Float32, 2, 3, 9, 8), []int{2, 6, 9, 8}},
		{"conv transpose", NewConvTranspose2D(3, 6, 3, Stride(2), Padding(1), OutputPadding(1)), sinter.Zeros(sinter.Float32, 2, 3, 4, 5), []int{2, 6, 8, 10}},
		{"max pool 1d", NewMaxPool1D(2), sinter.Zeros(sinter.Float32, 2, 3, 9), []int{2, 3, 4}},
		{"max pool 2d", NewMaxPool2D(3, Stride(2), Padding(1)), sinter.Zeros(sinter.Float32, 2, 3, 8, 8), []int{2, 3, 4, 4}},
		{"avg pool 1d", NewAvgPool1D(3), sinter.Zeros(sinter.Float32, 2, 3, 9), []int{2, 3, 3}},
		{"avg pool 2d", NewAvgPool2D(2), sinter.Zeros(sinter.Float32, 2, 3, 8, 6), []int{2, 3, 4, 3}},
		{"adaptive 1", NewAdaptiveAvgPool2D(1), sinter.Zeros(sinter.Float32, 2, 3, 8, 6), []int{2, 3, 1, 1}},
		{"adaptive 2", NewAdaptiveAvgPool2D(2), sinter.Zeros(sinter.Float32, 2, 3, 8, 6), []int{2, 3, 2, 2}},
		{"global", GlobalAvgPool{}, sinter.Zeros(sinter.Float32, 2, 3, 8, 6), []int{2, 3}},
		{"batch norm 1d", NewBatchNorm1D(3), sinter.Zeros(sinter.Float32, 2, 3), []int{2, 3}},
		{"layer norm over", NewLayerNormOver([]int{3, 4}, NoAffine()), sinter.Zeros(sinter.Float32, 2, 3, 4), []int{2, 3, 4}},
		{"rms norm", NewRMSNorm(4), sinter.Zeros(sinter.Float32, 2, 3, 4), []int{2, 3, 4}},
		{"group norm", NewGroupNorm(2, 4), sinter.Zeros(sinter.Float32, 2, 4, 3), []int{2, 4, 3}},
		{"attention", NewMultiHeadAttention(8, 2, Causal(), DropoutP(0.5)), sinter.Zeros(sinter.Float32, 2, 5, 8), []int{2, 5, 8}},
		{"encoder", NewTransformerEncoderLayer(8, 2, 16, NormFirst()), sinter.Zeros(sinter.Float32, 2, 5, 8), []int{2, 5, 8}},
		{"rnn", NewRNN(4, 3, Bidirectional(), ReLUCell()), sinter.Zeros(sinter.Float32, 2, 5, 4), []int{2, 5, 6}},
		{"lstm", NewLSTM(4, 3, Layers(2), DropoutP(0.5)), sinter.Zeros(sinter.Float32, 2, 5, 4), []int{2, 5, 3}},
		{"gru", NewGRU(4, 3, TimeFirst(), NoBias()), sinter.Zeros(sinter.Float32, 5, 2, 4), []int{5, 2, 3}},
		{"glu", NewGLU(1), sinter.Zeros(sinter.Float32, 2, 4), []int{2, 2}},
	} {
		y := c.layer.Forward(c.x)
		if !slices.Equal(y.Shape(), c.want) {
			t.Errorf("%s: %v → %v, want %v", c.name, c.x.Shape(), y.Shape(), c.want)
		}
		if err := sinter.Eval(y); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Mean and unbiased variance by hand: channel 0 has 1, 3, 5 (mean 3, variance 4),
// channel 1 has 2, 2, 8 (mean 4, variance 12).
func TestBatchNormStatistics(t *testing.T) {
	b := NewBatchNorm1D(2)
	x := sinter.FromFloats([]float32{1, 2, 3, 2, 5, 8}, 3, 2)
	y := b.Forward(x)
	s0, s1 := math.Sqrt(8.0/3+1e-5), math.Sqrt(8+1e-5)
	near(t, "y", y.Floats(), []float64{-2 / s0, -2 / s1, 0, -2 / s1, 2 / s0, 4 / s1}, 1e-5)
	near(t, "running mean", b.RunningMean.Value().Floats(), []float64{0.3, 0.4}, 1e-6)
	near(t, "running variance", b.RunningVar.Value().Floats(), []float64{0.9 + 0.4, 0.9 + 1.2}, 1e-6)
	if n := b.NumBatchesTracked.Value().Int(); n != 1 {
		t.Errorf("%d batches tracked", n)
	}
	Eval(b)
	y = b.Forward(x)
	near(t, "y in use", y.Floats(), []float64{
		0.7 / math.Sqrt(1.3+1e-5), 1.6 / math.Sqrt(2.1+1e-5), 2.7 / math.Sqrt(1.3+1e-5), 1.6 / math.Sqrt(2.1+1e-5), 4.7 / math.Sqrt(1.3+1e-5), 7.6 / math.Sqrt(2.1+1e-5),
	}, 1e-5)
	if n := b.NumBatchesTracked.Value().Int(); n != 1 {
		t.Errorf("use counted as training: %d batches", n)
	}
}

// A batch with a NaN in one channel leaves that channel's statistics alone.
func TestBatchNormNaN(t *testing.T) {
	b := NewBatchNorm1D(2)
	nan := float32(math.NaN())
	if err := sinter.Eval(b.Forward(sinter.FromFloats([]float32{1, nan, 3, 2, 5, 8}, 3, 2))); err != nil {
		t.Fatal(err)
	}
	near(t, "running mean", b.RunningMean.Value().Floats(), []float64{0.3, 0}, 1e-6)
	near(t, "running variance", b.RunningVar.Value().Floats(), []float64{1.3, 1}, 1e-6)
}

func TestDropout(t *testing.T) {
	sinter.Seed(5)
	d := NewDropout(0.25)
	x := sinter.Ones(sinter.Float32, 100, 100)
	first, second := d.Forward(x).Floats(), d.Forward(x).Floats()
	if slices.Equal(first, second) {
		t.Error("two evaluations dropped the same elements")
	}
	if n := d.Step.Value().Int(); n != 2 {
		t.Errorf("the counter is %d after two evaluations", n)
	}
	zeros := 0
	for _, v := range first {
		if v == 0 {
			zeros++
		} else if math.Abs(float64(v)-4.0/3) > 1e-6 {
			t.Fatalf("a kept element is %v, want 4/3", v)
		}
	}
	if zeros < 2300 || zeros > 2700 {
		t.Errorf("%d of 10000 elements dropped, want about 2500", zeros)
	}
	// The same seed and counter drop the same.
	sinter.Seed(5)
	again := NewDropout(0.25)
	if !slices.Equal(again.Forward(x).Floats(), first) {
		t.Error("the same seed dropped other elements")
	}
	Eval(d)
	if d.Forward(x) != x {
		t.Error("dropout in use is not the identity")
	}
}

// Written-out attention (taken where weights are dropped) and the composite agree.
func TestAttentionPaths(t *testing.T) {
	a := NewMultiHeadAttention(8, 2, Causal(), DropoutP(0.5))
	x := sinter.Randn(2, 5, 8)
	mask := sinter.FromFloats([]float32{0, 0, 0, -1, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, -3, 0}, 5, 5)
	Eval(a)
	want := a.Attend(x, x, x, mask).Float64s()
	Train(a)
	a.Dropout.P = 1e-12 // the written-out path, with nothing dropped
	near(t, "attention", a.Attend(x, x, x, mask).Floats(), want, 1e-5)
	// Keys and values from another tensor of equal content take the projections apart.
	near(t, "cross", a.Attend(x, x.MulScalar(1), x.MulScalar(1), mask).Floats(), want, 1e-5)
}

// A bidirectional layer is two layers, one of which sees the sequence flipped.
func TestBidirectional(t *testing.T) {
	for name, pair := range map[string][2]Module{
		"rnn":  {NewRNN(3, 2, Bidirectional()), NewRNN(3, 2)},
		"gru":  {NewGRU(3, 2, Bidirectional()), NewGRU(3, 2)},
		"lstm": {NewLSTM(3, 2, Bidirectional()), NewLSTM(3, 2)},
	} {
		both, one := pair[0], pair[1]
		type named interface {
			Variable(string) *sinter.Variable
		}
		x := sinter.Randn(2, 4, 3)
		y := both.Forward(x)
		for _, half := range []struct {
			suffix string
			slice  *sinter.Tensor
			flip   bool
		}{{"", y.Slice(2, 0, 2), false}, {"_reverse", y.Slice(2, 2, 4), true}} {
			for _, n := range []string{"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"} {
				if err := one.(named).Variable(n).SetBytes(both.(named).Variable(n + half.suffix).Bytes()); err != nil {
					t.Fatal(err)
				}
			}
			want := one.Forward(x)
			if half.flip {
				want = one.Forward(x.Flip(1)).Flip(1)
			}
			near(t, name+half.suffix, half.slice.Floats(), want.Float64s(), 1e-5)
		}
	}
}

// Running a sequence in two parts, with the state carried over, is running it whole.
func TestRecurrentState(t *testing.T) {
	l := NewLSTM(3, 4, Layers(2))
	x := sinter.Randn(2, 6, 3)
	whole, hn, cn := l.Run(x, nil, nil)
	a, h, c := l.Run(x.Slice(1, 0, 2), nil, nil)
	b, h, c := l.Run(x.Slice(1, 2, 6), h, c)
	near(t, "y", sinter.Cat(1, a, b).Floats(), whole.Float64s(), 1e-5)
	near(t, "h", h.Floats(), hn.Float64s(), 1e-5)
	near(t, "c", c.Floats(), cn.Float64s(), 1e-5)
}

// Values from the definitions, computed in float64.
func TestActivations(t *testing.T) {
	xs := []float64{-30, -3, -1, -0.5, 0, 0.5, 1, 3, 30}
	logistic := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	softplus := func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
	elu := func(x float64) float64 {
		if x > 0 {
			return x
		}
		return math.Expm1(x)
	}
	definitions := map[string]func(x float64) float64{
		"relu":       func(x float64) float64 { return max(x, 0) },
		"relu6":      func(x float64) float64 { return min(max(x, 0), 6) },
		"leaky_relu": func(x float64) float64 { return max(x, 0.01*x) },
		"elu":        elu,
		"selu": func(x float64) float64 {
			if x > 0 {
				return 1.0507009873554805 * x
			}
			return 1.0507009873554805 * 1.6732632423543772 * math.Expm1(x)
		},
		"gelu": func(x float64) float64 { return x * 0.5 * math.Erfc(-x/math.Sqrt2) },
		"gelu_tanh": func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		},
		"silu":      func(x float64) float64 { return x * logistic(x) },
		"mish":      func(x float64) float64 { return x * math.Tanh(softplus(x)) },
		"softplus":  softplus,
		"sigmoid":   logistic,
		"tanh":      math.Tanh,
		"hardswish": func(x float64) float64 { return x * min(max(x+3, 0), 6) / 6 },
	}
	for _, name := range ActivationNames() {
		f, err := ActivationByName(name)
		if err != nil {
			t.Fatal(err)
		}
		def := definitions[name]
		x := sinter.FromFloat64s(xs, len(xs))
		y := f(x)
		grad := sinter.Grad(y.Sum(), x)[0].Float64s()
		for i, got := range y.Float64s() {
			if want := def(xs[i]); math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
				t.Errorf("%s(%v) = %v, want %v", name, xs[i], got, want)
			}
			const h = 1e-5
			slope := (def(xs[i]+h) - def(xs[i]-h)) / (2 * h)
			kink := xs[i] == 0 && (name == "relu" || name == "relu6" || name == "leaky_relu" || name == "selu") ||
				math.Abs(xs[i]) == 3 && name == "hardswish"
			if !kink && !(math.Abs(grad[i]-slope) <= 1e-4) {
				t.Errorf("%s'(%v) = %v, want %v", name, xs[i], grad[i], slope)
			}
		}
	}
	if got := ReLU(sinter.FromFloats([]float32{float32(math.NaN())}, 1)).Floats()[0]; got == got {
		t.Errorf("ReLU(NaN) = %v", got)
	}
	if _, err := ActivationByName("rleu"); err == nil {
		t.Error("an unknown activation was found")
	}
}

// Losses by hand.
func TestLosses(t *testing.T) {
	f := func(v ...float32) *sinter.Tensor { return sinter.FromFloats(v, len(v)) }
	x, y := f(0.2, 0.6, 0.9), f(0, 1, 1)
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	for _, c := range []struct {
		name string
		loss *sinter.Tensor
		want float64
	}{
		{"mse", MSE(f(1, 2), f(3, 1)), 2.5},
		{"l1", L1(f(1, 2), f(3, 1)), 1.5},
		{"huber", Huber(f(0.5, 3), f(0, 0)), (0.125 + 2.5) / 2},
		{"huber 2", HuberWith(2)(f(0.5, 3), f(0, 0)), (0.125 + 4) / 2},
		{"smooth l1", SmoothL1With(0.5)(f(0.25, 3), f(0, 0)), (0.0625 + 2.75) / 2},
		{"bce", BCE(x, y), -(math.Log(0.8) + math.Log(0.6) + math.Log(0.9)) / 3},
		{"bce certain", BCE(f(0), f(1)), 100},
		{"bce logits", BCEWithLogits(f(1, -2), f(1, 0)), -(math.Log(sigmoid(1)) + math.Log(sigmoid(2))) / 2},
		{"bce weighted", BCEWithLogitsWith(f(3))(f(1, -2), f(1, 0)), -(3*math.Log(sigmoid(1)) + math.Log(sigmoid(2))) / 2},
		{"kl", KLDiv(f(-1, -2), f(0.5, 0)), 0.5 * (math.Log(0.5) + 1) / 2},
		{"poisson", PoissonNLL(f(0, 1), f(2, 3)), (1 + math.E - 3) / 2},
		{"hinge", Hinge(f(0.5, -2), f(1, 1)), (0.5 + 3) / 2},
		{"hinge embedding", HingeEmbedding(f(0.3, 0.4), f(1, -1), 1), (0.3 + 0.6) / 2},
		{"cosine", CosineEmbedding(sinter.FromFloats([]float32{1, 0, 1, 0}, 2, 2), sinter.FromFloats([]float32{0, 1, 1, 1}, 2, 2), f(1, -1), 0.5), (1 + math.Sqrt(0.5) - 0.5) / 2},
		{"triplet", TripletMargin(sinter.FromFloats([]float32{0, 0}, 1, 2), sinter.FromFloats([]float32{3, 4}, 1, 2), sinter.FromFloats([]float32{0, 4.5}, 1, 2), 1), 1.5},
		{"ranking", MarginRanking(f(1, 2), f(2, 1), f(1, 1), 0.5), (1.5 + 0) / 2},
		{"nll", NLL(sinter.FromFloats([]float32{-1, -2, -3, -4}, 2, 2), sinter.FromInts([]int64{1, 0}, 2)), 2.5},
		{"cross entropy", CrossEntropy(sinter.Zeros(sinter.Float32, 2, 4), sinter.FromInts([]int64{1, 0}, 2)), math.Log(4)},
		{"sequence", SequenceCrossEntropy(sinter.Zeros(sinter.Float32, 2, 3, 4), sinter.FromInts(make([]int64, 6), 2, 3)), math.Log(4)},
	} {
		near(t, c.name, c.loss.Floats(), []float64{c.want}, 1e-5)
	}
}

func TestLossShapes(t *testing.T) {
	defer func() {
		if _, ok := recover().(*sinter.BuildError); !ok {
			t.Error("[3 1] against [3] was not refused")
		}
	}()
	MSE(sinter.Zeros(sinter.Float32, 3, 1), sinter.Zeros(sinter.Float32, 3))
}

func TestClip(t *testing.T) {
	g := []*sinter.Tensor{sinter.FromFloats([]float32{3, 0}, 2), nil, sinter.FromFloats([]float32{-4}, 1)}
	clipped, norm := ClipGradNorm(g, 1)
	near(t, "norm", norm.Floats(), []float64{5}, 1e-6)
	near(t, "clipped", clipped[0].Floats(), []float64{0.6, 0}, 1e-6)
	near(t, "clipped", clipped[2].Floats(), []float64{-0.8}, 1e-6)
	if clipped[1] != nil {
		t.Error("a missing gradient appeared")
	}
	same, _ := ClipGradNorm(g, 10)
	near(t, "below the limit", same[0].Floats(), []float64{3, 0}, 0)
	near(t, "by value", ClipGradValue(g, 2)[2].Floats(), []float64{-2}, 0)
}
