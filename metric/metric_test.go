package metric

import (
	"math"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
)

func check(t *testing.T, m Metric, want float64) {
	t.Helper()
	if got := m.Value(); math.Abs(got-want) > 1e-6 {
		t.Errorf("%s is %v, want %v", m.Name(), got, want)
	}
	m.Reset()
	if got := m.Value(); !math.IsNaN(got) {
		t.Errorf("%s of nothing is %v, want NaN", m.Name(), got)
	}
}

// Scores of four examples over three classes, in two batches.
func batches(m Metric) Metric {
	m.Update(sinter.FromFloats([]float32{0.1, 0.7, 0.2, 0.5, 0.3, 0.2}, 2, 3), sinter.FromInts([]int64{1, 1}, 2))
	m.Update(sinter.FromFloats([]float32{0, 0, 1, 3, 2, 1}, 2, 3), sinter.FromInts([]int64{2, 2}, 2))
	return m
}

func TestClassification(t *testing.T) {
	check(t, batches(Accuracy()), 0.5)
	check(t, batches(TopK(2)), 0.75)
	check(t, batches(TopK(3)), 1)
	c := ConfusionMatrix(3)
	batches(c)
	for i, row := range [][]int64{{0, 0, 0}, {1, 1, 0}, {1, 0, 1}} {
		if !slices.Equal(c.Counts()[i], row) {
			t.Errorf("row %d is %v, want %v", i, c.Counts()[i], row)
		}
	}
	check(t, c, 0.5)
	b := BinaryAccuracy(0.5)
	b.Update(sinter.FromFloats([]float32{0.9, 0.4, 0.6, 0.1}, 4), sinter.FromInts([]int64{1, 0, 0, 0}, 4))
	check(t, b, 0.75)
}

// Classes on axis 1 and on the last axis.
func TestAxes(t *testing.T) {
	scores := []float32{1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0} // [1, 4, 3]: argmax over axis 2 is 0 1 2 0
	last := sinter.FromFloats(scores, 1, 4, 3)
	a := Accuracy()
	a.Update(last, sinter.FromInts([]int64{0, 1, 2, 1}, 1, 4))
	check(t, a, 0.75)
	a.Update(last.Transpose(1, 2), sinter.FromInts([]int64{0, 1, 2, 1}, 1, 4))
	check(t, a, 0.75)
	defer func() {
		if _, ok := recover().(*sinter.BuildError); !ok {
			t.Error("shapes that do not fit were not refused")
		}
	}()
	a.Update(last, sinter.FromInts([]int64{0}, 1))
}

func TestRegression(t *testing.T) {
	two := func(m Metric) Metric {
		m.Update(sinter.FromFloats([]float32{1, 4}, 2), sinter.FromFloats([]float32{2, 2}, 2))
		m.Update(sinter.FromFloats([]float32{6, 9}, 2), sinter.FromFloats([]float32{6, 10}, 2))
		return m
	}
	check(t, two(MAE()), 1)
	check(t, two(RMSE()), math.Sqrt(1.5))
	check(t, two(R2()), 1-6.0/44) // the mean target is 5: deviations 9+9+1+25
}

func TestLanguage(t *testing.T) {
	p := Perplexity()
	p.Update(sinter.Zeros(sinter.Float32, 2, 3, 5), sinter.FromInts([]int64{0, 1, 2, 3, 4, -100}, 2, 3))
	check(t, p, 5)
	// Probabilities 1/4 and 3/4 of the targets: e to the mean of −log.
	p.Update(sinter.FromFloats([]float32{0, float32(math.Log(3)), 0, float32(math.Log(3))}, 2, 2), sinter.FromInts([]int64{0, 1}, 2))
	check(t, p, 1/math.Sqrt(3.0/16))
}

func TestMeanLoss(t *testing.T) {
	m := MeanLoss("loss", func(p, t *sinter.Tensor) *sinter.Tensor { return p.Sub(t).Mean() })
	m.Update(sinter.FromFloats([]float32{1, 1, 1}, 3), sinter.FromFloats([]float32{0, 0, 0}, 3))
	m.Update(sinter.FromFloats([]float32{5}, 1), sinter.FromFloats([]float32{0}, 1))
	check(t, m, 2)
}

// TestState stops metrics between two batches: restored ones go on to the same bits.
func TestState(t *testing.T) {
	scores := func(seed uint64) *sinter.Tensor {
		sinter.Seed(seed)
		x := sinter.Randn(7, 3)
		if err := sinter.Eval(x); err != nil {
			t.Fatal(err)
		}
		return x
	}
	labels := sinter.FromInts([]int64{0, 1, 2, 2, 1, 0, 1}, 7)
	for _, c := range []struct {
		make   func() Metric
		target func() *sinter.Tensor
	}{
		{Accuracy, func() *sinter.Tensor { return labels }},
		{func() Metric { return TopK(2) }, func() *sinter.Tensor { return labels }},
		{func() Metric { return ConfusionMatrix(3) }, func() *sinter.Tensor { return labels }},
		{Perplexity, func() *sinter.Tensor { return labels }},
		{func() Metric { return BinaryAccuracy(0) }, func() *sinter.Tensor { return scores(9) }},
		{MAE, func() *sinter.Tensor { return scores(9) }},
		{RMSE, func() *sinter.Tensor { return scores(9) }},
		{R2, func() *sinter.Tensor { return scores(9) }},
	} {
		whole, first, second := c.make(), c.make(), c.make()
		whole.Update(scores(1), c.target())
		first.Update(scores(1), c.target())
		state := first.State()
		if err := second.SetState(state); err != nil {
			t.Fatalf("%s: %v", whole.Name(), err)
		}
		first.Reset()
		whole.Update(scores(2), c.target())
		second.Update(scores(2), c.target())
		if got, want := second.Value(), whole.Value(); math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("%s: %v after a restart, %v without", whole.Name(), got, want)
		}
		if !slices.Equal(second.State(), whole.State()) {
			t.Errorf("%s: state %v after a restart, %v without", whole.Name(), second.State(), whole.State())
		}
		before := second.Value()
		if err := second.SetState(append(state, 1)); err == nil || second.Value() != before {
			t.Errorf("%s: a state that is too long was taken: %v", whole.Name(), err)
		}
	}
}

// Labels that are probabilities, as those of mixed examples, count as the likeliest class.
func TestProbabilitiesAsTargets(t *testing.T) {
	scores := sinter.FromFloats([]float32{3, 1, 2, 0, 5, 1, 1, 2, 9, 4, 4, 0}, 4, 3) // 0, 1, 2, 0
	mixed := sinter.FromFloats([]float32{0.6, 0.4, 0, 0.7, 0.3, 0, 0, 0.5, 0.5, 1, 0, 0}, 4, 3)
	classes := sinter.FromInts([]int64{0, 0, 1, 0}, 4)
	for _, make := range []func() Metric{Accuracy, func() Metric { return TopK(2) }, func() Metric { return ConfusionMatrix(3) }} {
		a, b := make(), make()
		a.Update(scores, mixed)
		b.Update(scores, classes)
		if a.Value() != b.Value() || !(a.Value() > 0) {
			t.Errorf("%s is %v on probabilities, %v on classes", a.Name(), a.Value(), b.Value())
		}
	}
}
