package train

import (
	"math"
	"strings"
	"testing"
)

func TestQuantity(t *testing.T) {
	s := &State{TrainLoss: 1, TrainMetrics: []Value{{"accuracy", 0.5}, {"mae", 3}}}
	want := func(name string, value float64) {
		t.Helper()
		got, err := s.Quantity(name)
		if err != nil || got != value && !(math.IsNaN(got) && math.IsNaN(value)) {
			t.Errorf("%s is %v, %v; expected %v", name, got, err, value)
		}
	}
	want("loss", 1)
	want("train_accuracy", 0.5)
	want("accuracy", math.NaN()) // before the first evaluation
	want("test_loss", math.NaN())
	s.Last = &Evaluation{TestLoss: 2, Metrics: []Value{{"accuracy", 0.25}}}
	want("test_loss", 2)
	want("accuracy", 0.25)
	if _, err := s.Quantity("acuracy"); err == nil || !strings.Contains(err.Error(), "test_loss, accuracy, train_accuracy") {
		t.Errorf("an unknown quantity: %v", err)
	}
}

func TestBest(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   Mode
		values []float64
		at     int // index of the best
	}{
		{"test_loss", Auto, []float64{3, 2, math.NaN(), 1.95, 5}, 1}, // 1.95 is within delta of 2
		{"accuracy", Auto, []float64{0.1, 0.3, 0.35, 0.2}, 1},
		{"accuracy", Min, []float64{0.5, 0.2, 0.4}, 1},
		{"perplexity", Auto, []float64{9, 8, 7}, 2},
		{"f1", Max, []float64{math.NaN(), 0.2}, 1},
	} {
		b := new(best)
		for i, v := range c.values {
			if b.improve(c.name, c.mode, v, 0.1, i) != (b.Seen && b.Step == i) {
				t.Errorf("%s %v: improve does not say what it did at %d", c.name, c.values, i)
			}
		}
		if b.Step != c.at {
			t.Errorf("%s %v %v: best at %d, expected %d", c.name, c.mode, c.values, b.Step, c.at)
		}
	}
}
