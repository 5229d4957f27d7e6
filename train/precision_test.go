package train

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// Steps of several batches are those of batches so much larger, whatever is left over
// at the end of an epoch: 47 examples are five batches of 8 and one of 7, so steps of
// 24 and of 23.
func TestAccumulate(t *testing.T) {
	type outcome struct {
		events  string
		steps   int
		samples int
		losses  []float64
		weight  float64
	}
	fit := func(t Trainer, tb *testing.T) outcome {
		r := &recorder{}
		var o outcome
		r.onStep = func(s *State) { o.losses = append(o.losses, s.Loss) }
		model := newLine()
		t.Loss, t.Callbacks, t.Epochs, t.Seed = nn.MSE, []Callback{r}, 3, 5
		t.Optimizer = optim.AdamW{LR: optim.Cosine{Peak: 0.1}}
		report, err := t.Fit(tb.Context(), model, line(tb, 47), nil)
		if err != nil {
			tb.Fatal(err)
		}
		if r.state.Steps != report.Steps || r.state.StepsPerEpoch != 2 {
			tb.Errorf("%d steps of %d, %d in an epoch", report.Steps, r.state.Steps, r.state.StepsPerEpoch)
		}
		o.events, o.steps, o.samples, o.weight = r.order(), report.Steps, report.Samples, model.Weight.Value().Float()
		return o
	}
	want := fit(Trainer{Batch: 24}, t)
	recorded := fit(Trainer{Batch: 8, Accumulate: 3}, t)
	compiled := fit(Trainer{Batch: 8, Accumulate: 3, Compile: true}, t)
	if recorded.events != want.events || recorded.steps != 6 || recorded.samples != 3*47 {
		t.Errorf("%d steps on %d examples: %s", recorded.steps, recorded.samples, recorded.events)
	}
	for i, loss := range want.losses {
		if math.Abs(recorded.losses[i]-loss) > 1e-6*loss {
			t.Errorf("the loss of step %d is %v, of a large batch %v", i+1, recorded.losses[i], loss)
		}
	}
	if math.Abs(recorded.weight-want.weight) > 1e-6 {
		t.Errorf("the weight is %v, from large batches %v", recorded.weight, want.weight)
	}
	if compiled.weight != recorded.weight || !slices.Equal(compiled.losses, recorded.losses) {
		t.Errorf("compiled %+v, recorded %+v", compiled, recorded)
	}
}

// A batch that is no number ends the run before an update is made of it.
func TestAccumulateDiverged(t *testing.T) {
	batches := 0
	trainer := Trainer{Batch: 10, Accumulate: 2, Epochs: 3, Loss: func(pred, target *sinter.Tensor) *sinter.Tensor {
		if batches++; batches < 4 {
			return nn.MSE(pred, target)
		}
		return pred.MulScalar(0).SubScalar(1).Log().Mean()
	}}
	model := newLine()
	_, err := trainer.Fit(t.Context(), model, line(t, 20), nil)
	var diverged *DivergedError
	if !errors.As(err, &diverged) || diverged.Step != 2 || diverged.Op != "log" {
		t.Errorf("got %v", err)
	}
	if w := model.Weight.Value().Float(); math.IsNaN(w) {
		t.Errorf("the weight is %v", w)
	}
}

type normed struct {
	Hidden *nn.Linear
	Norm   *nn.BatchNorm1D
	Out    *nn.Linear
}

func (n *normed) Forward(x *sinter.Tensor) *sinter.Tensor {
	return n.Out.Forward(n.Norm.Forward(n.Hidden.Forward(x)))
}

// What a user would not expect is in the state from the beginning.
func TestNotes(t *testing.T) {
	norm := &normed{nn.NewLinear(1, 4), nn.NewBatchNorm1D(4), nn.NewLinear(4, 1)}
	for _, c := range []struct {
		trainer Trainer
		model   nn.Module
		want    string
	}{
		{Trainer{Precision: sinter.TF32}, newLine(), "tf32; computing in fp32"},
		{Trainer{Accumulate: 2, Batch: 8}, norm, "batches of 8, not over the 16"},
		{Trainer{Accumulate: 2}, newLine(), ""},
		{Trainer{Precision: sinter.FP16}, norm, ""},
	} {
		r := &recorder{}
		c.trainer.Loss, c.trainer.Steps, c.trainer.Callbacks = nn.MSE, 1, []Callback{r}
		if _, err := c.trainer.Fit(t.Context(), c.model, line(t, 64), nil); err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(r.state.Notes, "\n")
		if (notes == "") != (c.want == "") || !strings.Contains(notes, c.want) {
			t.Errorf("%+v: notes %q, want %q", c.trainer, notes, c.want)
		}
	}
}

// In fp16 losses are scaled: a scale that is too large is lowered, the steps until then
// are skipped, and schedules do not count them.
func TestScaledFit(t *testing.T) {
	for _, compile := range []bool{false, true} {
		var scales []float64
		var rates []float64
		r := &recorder{onStep: func(s *State) {
			scales = append(scales, s.Scale)
			rates = append(rates, s.LR)
		}}
		trainer := Trainer{
			Optimizer: optim.SGD{LR: optim.Func(func(step int) float64 { return 0.01 * float64(1+step) })},
			Loss:      nn.MSE, Batch: 8, Epochs: 1, Precision: sinter.FP16, Compile: compile, Callbacks: []Callback{r},
			Scaler: &optim.GradScaler{InitScale: math.Ldexp(1, 127), BackoffFactor: math.Ldexp(1, -60), GrowthInterval: 2},
		}
		report, err := trainer.Fit(t.Context(), newLine(), line(t, 64), nil)
		if err != nil {
			t.Fatal(err)
		}
		skipped := r.state.Skipped
		if skipped < 1 || report.Steps != 8 || r.state.Optimizer.Steps() != 8-skipped {
			t.Errorf("%d skipped, %d steps, %d updates", skipped, report.Steps, r.state.Optimizer.Steps())
		}
		for i, rate := range rates {
			if want := 0.01 * float64(1+max(0, i-skipped)); rate != want {
				t.Errorf("rates %v with %d steps skipped", rates, skipped)
				break
			}
		}
		if s := scales[skipped-1]; s != math.Ldexp(1, 127-60*skipped) || scales[skipped] != s || scales[skipped+1] != 2*s || scales[skipped+3] != 4*s {
			t.Errorf("scales %v", scales)
		}
		if !finite(report.TrainLoss) {
			t.Errorf("the mean loss is %v", report.TrainLoss)
		}
	}

	// What overflows whatever the scale is an error in the end.
	trainer := Trainer{
		Precision: sinter.FP16, Batch: 1, Epochs: 2,
		Loss: func(pred, target *sinter.Tensor) *sinter.Tensor { return nn.MSE(pred, target).DivScalar(0) },
	}
	report, err := trainer.Fit(t.Context(), newLine(), line(t, 20), nil)
	var diverged *DivergedError
	if !errors.As(err, &diverged) || !strings.Contains(err.Error(), "loss scale has fallen to 6.1e-05") || diverged.Step != 30 {
		t.Errorf("report %+v, %v", report, err)
	}
	if _, err := (&Trainer{Loss: nn.MSE, Scaler: &optim.GradScaler{GrowthFactor: 0.5}}).Fit(t.Context(), newLine(), line(t, 4), nil); err == nil || !strings.Contains(err.Error(), "grows by 0.5") {
		t.Errorf("got %v", err)
	}
}
