package tune

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

// line gives n points of y = 3x - 1 with x between -1 and 1.
func line(t *testing.T, n int) data.Dataset {
	t.Helper()
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i] = 2*float32(i)/float32(n-1) - 1
		y[i] = 3*x[i] - 1
	}
	set, err := data.Arrays(data.Floats("x", x, 1), data.Floats("y", y, 1))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newLine() *nn.Linear {
	sinter.Seed(1)
	return nn.NewLinear(1, 1)
}

func weights(m nn.Module) (all []byte) {
	for _, v := range nn.State(m) {
		all = append(all, v.Bytes()...)
	}
	return all
}

// Gradient descent on this loss diverges above the rate of 1, two over the largest
// second derivative, which is 2 (that of the bias): the suggestion is below that and of
// use.
func TestLRFinder(t *testing.T) {
	model := newLine()
	before := weights(model)
	trainer := train.Trainer{Optimizer: optim.SGD{LR: optim.Constant(1)}, Loss: nn.MSE, Batch: 64, Seed: 1}
	found, err := LRFinder{Max: 100}.Find(t.Context(), trainer, model, line(t, 64))
	if err != nil {
		t.Fatal(err)
	}
	if !found.Diverged || len(found.LR) >= 100 || found.LR[len(found.LR)-1] < 1 {
		t.Errorf("diverged: %v, after %d steps at %g", found.Diverged, len(found.LR), found.LR[len(found.LR)-1])
	}
	if s := found.Suggestion; s < 0.01 || s > 0.9 || found.Minimum <= s || s != found.LR[found.Steepest] {
		t.Errorf("suggested %g, the minimum at %g", s, found.Minimum)
	}
	for i := 1; i < len(found.LR); i++ {
		if ratio, want := found.LR[i]/found.LR[i-1], math.Pow(1e8, 1.0/99); math.Abs(ratio-want) > 1e-9 {
			t.Fatalf("step %d has %g times the rate of the one before, expected %g", i+1, ratio, want)
		}
	}
	if !bytes.Equal(weights(model), before) {
		t.Error("the model is not as it was")
	}

	trainer.Optimizer = optim.SGD{LR: optim.Constant(found.Suggestion)}
	trainer.Steps, trainer.Epochs = 50, 50
	report, err := trainer.Fit(t.Context(), model, line(t, 64), nil)
	if err != nil || report.TrainLoss > found.Loss[0]/20 {
		t.Errorf("50 steps with the suggestion end at the loss %g, %v; it began at %g", report.TrainLoss, err, found.Loss[0])
	}
}

func TestLRFinderRefuses(t *testing.T) {
	trainer := train.Trainer{Loss: nn.MSE, Batch: 64}
	for _, c := range []struct {
		f    LRFinder
		want string
	}{
		{LRFinder{Min: 1, Max: 0.1}, "expected 0 < from < to"},
		{LRFinder{Steps: 3}, "at least 20 steps"},
		{LRFinder{Min: 1e3, Max: 1e9}, "begin with a lower learning rate"},
		{LRFinder{Min: 1e-30, Max: 1e-28}, "did not fall at any"},
	} {
		trainer.Optimizer = optim.SGD{LR: optim.Constant(1)}
		if _, err := c.f.Find(t.Context(), trainer, newLine(), line(t, 64)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, expected %q", c.f, err, c.want)
		}
	}
}

func TestSmooth(t *testing.T) {
	// An impulse becomes a triangle of the same sum; a line stays one.
	got := smooth([]float64{0, 0, 0, 9, 0, 0, 0}, 1)
	want := []float64{0, 1, 2, 3, 2, 1, 0}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Fatalf("an impulse became %v", got)
		}
	}
	for i, v := range smooth([]float64{0, 1, 2, 3, 4, 5}, 2) {
		if math.Abs(v-float64(i)) > 1e-12 {
			t.Errorf("a line became %g at %d", v, i)
		}
	}
}

func TestBatchFinder(t *testing.T) {
	model := newLine()
	before := weights(model)
	trainer := train.Trainer{Optimizer: optim.SGD{LR: optim.Constant(1)}, Loss: nn.MSE, Seed: 1}
	seen := 0
	f := BatchFinder{Min: 2, Max: 50, Time: time.Millisecond, Progress: func(BatchSpeed) { seen++ }}
	sizes, err := f.Find(t.Context(), trainer, model, line(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	if len(sizes.Speeds) != 5 || seen != 5 || sizes.Speeds[4].Batch != 32 || sizes.Largest != 0 {
		t.Errorf("%+v", sizes)
	}
	for _, s := range sizes.Speeds {
		if s.TooLarge || !(s.SamplesPerSecond > 0) || math.Abs(s.SamplesPerSecond*s.StepSeconds-float64(s.Batch)) > 1e-6 {
			t.Errorf("%+v", s)
		}
	}
	if !bytes.Equal(weights(model), before) {
		t.Error("the model is not as it was")
	}

	wide := nn.NewSequential(nn.NewLinear(1, 64), nn.Func(nn.ReLU), nn.NewLinear(64, 1))
	f = BatchFinder{Time: time.Millisecond}
	all, err := f.Find(t.Context(), trainer, wide, line(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	last := all.Speeds[len(all.Speeds)-1]
	if last.Batch != 64 || last.ArenaBytes <= all.Speeds[0].ArenaBytes {
		t.Fatalf("%+v", all)
	}
	f.Memory = int64(last.ArenaBytes - 1)
	less, err := f.Find(t.Context(), trainer, wide, line(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	if less.Largest != 32 || !less.Speeds[len(less.Speeds)-1].TooLarge {
		t.Errorf("with %d bytes: %+v", f.Memory, less)
	}
}

func TestChoose(t *testing.T) {
	s := BatchSizes{Speeds: []BatchSpeed{{Batch: 1, SamplesPerSecond: 10}, {Batch: 2, SamplesPerSecond: 91}, {Batch: 4, SamplesPerSecond: 100}, {Batch: 8, SamplesPerSecond: 95}, {Batch: 16, TooLarge: true}}}
	if s.choose(); s.Fastest != 4 || s.Knee != 2 {
		t.Errorf("fastest %d, knee %d; expected 4 and 2", s.Fastest, s.Knee)
	}
}
