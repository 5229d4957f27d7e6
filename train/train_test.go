package train

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
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

// recorder keeps the order of events.
type recorder struct {
	NopCallback
	events []string
	state  *State
	onStep func(*State)
}

func (r *recorder) OnTrainBegin(s *State) { r.events, r.state = append(r.events, "begin"), s }
func (r *recorder) OnEpochBegin(*State)   { r.events = append(r.events, "epoch") }
func (r *recorder) OnStep(s *State) {
	r.events = append(r.events, "step")
	if r.onStep != nil {
		r.onStep(s)
	}
}
func (r *recorder) OnEvaluate(*State) { r.events = append(r.events, "evaluate") }
func (r *recorder) OnEpochEnd(*State) { r.events = append(r.events, "end of epoch") }
func (r *recorder) OnTrainEnd(*State) { r.events = append(r.events, "end") }

func (r *recorder) order() string { return strings.Join(r.events, " ") }

func TestFitLearns(t *testing.T) {
	model := newLine()
	trainer := Trainer{
		Optimizer: optim.Adam{LR: optim.Constant(0.1)}, Loss: nn.MSE,
		Metrics: []metric.Metric{metric.MAE()}, Epochs: 30, Batch: 16,
	}
	report, err := trainer.Fit(t.Context(), model, line(t, 100), line(t, 7))
	if err != nil {
		t.Fatal(err)
	}
	if report.Epochs != 30 || report.Steps != 30*7 || report.Samples != 3000 || report.Parameters != 2 {
		t.Errorf("report %+v", report)
	}
	if !(report.TestLoss < 1e-3) || report.Metrics[0].Name != "mae" || !(report.Metrics[0].Value < 0.05) {
		t.Errorf("test loss %g, metrics %v", report.TestLoss, report.Metrics)
	}
	if w, b := model.Weight.Value().Float(), model.Bias.Value().Float(); math.Abs(w-3) > 0.1 || math.Abs(b+1) > 0.1 {
		t.Errorf("y = %g x + %g, expected 3 x - 1", w, b)
	}
	if len(report.History) != 30 || report.PeakMemory < 1<<20 || report.PeakMemorySource == "" || report.SamplesPerSecond <= 0 {
		t.Errorf("report %+v", report)
	}

	loss, _, err := trainer.Evaluate(t.Context(), model, line(t, 7))
	if err != nil || math.Abs(loss-report.TestLoss) > 1e-9 {
		t.Errorf("evaluated %g, %v; the report says %g", loss, err, report.TestLoss)
	}
	out, err := trainer.Predict(t.Context(), model, line(t, 33))
	if err != nil {
		t.Fatal(err)
	}
	if shape := out.Shape(); len(shape) != 2 || shape[0] != 33 || math.Abs(float64(out.Floats()[32])-2) > 0.1 {
		t.Errorf("predictions of shape %v, the last is %v", shape, out.Floats())
	}
}

func TestSameSeedSameWeights(t *testing.T) {
	weights := func(seed uint64) float64 {
		model := newLine()
		trainer := Trainer{Loss: nn.MSE, Steps: 9, Batch: 8, Seed: seed}
		if _, err := trainer.Fit(t.Context(), model, line(t, 50), nil); err != nil {
			t.Fatal(err)
		}
		return model.Weight.Value().Float()
	}
	if a, b := weights(1), weights(1); a != b {
		t.Errorf("the same seed gave %g and %g", a, b)
	}
	if a, b := weights(1), weights(2); a == b {
		t.Errorf("two seeds gave the same weight %g", a)
	}
}

func TestLimitsAndOrderOfEvents(t *testing.T) {
	for _, c := range []struct {
		trainer Trainer
		want    string
	}{
		{Trainer{Batch: 10}, "begin epoch step step evaluate end of epoch end"},
		{Trainer{Batch: 10, Epochs: 2}, "begin epoch step step evaluate end of epoch epoch step step evaluate end of epoch end"},
		{Trainer{Batch: 10, Steps: 3}, "begin epoch step step evaluate end of epoch epoch step evaluate end of epoch end"},
		{Trainer{Batch: 10, Epochs: 1, Steps: 99}, "begin epoch step step evaluate end of epoch end"},
		{Trainer{Batch: 5, Epochs: 1, EvalEvery: 2}, "begin epoch step step evaluate step step evaluate end of epoch end"},
	} {
		r := &recorder{}
		c.trainer.Loss, c.trainer.Callbacks = nn.MSE, []Callback{r}
		if _, err := c.trainer.Fit(t.Context(), newLine(), line(t, 20), line(t, 5)); err != nil {
			t.Fatal(err)
		}
		if r.order() != c.want {
			t.Errorf("%+v\n     got %s\nexpected %s", c.trainer, r.order(), c.want)
		}
		if r.state.Step != r.state.Steps && c.trainer.Steps < 99 {
			t.Errorf("%d steps were made, %d announced", r.state.Step, r.state.Steps)
		}
	}
}

func TestStopAndFail(t *testing.T) {
	r := &recorder{onStep: func(s *State) {
		if s.Step == 3 {
			s.Stop("enough")
		}
	}}
	trainer := Trainer{Loss: nn.MSE, Epochs: 5, Batch: 10, Callbacks: []Callback{r}}
	report, err := trainer.Fit(t.Context(), newLine(), line(t, 20), nil)
	if err != nil || report.Steps != 3 || report.Stopped != "enough" {
		t.Errorf("report %+v, %v", report, err)
	}

	mistake := errors.New("disk full")
	r.onStep = func(s *State) { s.Fail(mistake) }
	report, err = trainer.Fit(t.Context(), newLine(), line(t, 20), nil)
	if !errors.Is(err, mistake) || report.Steps != 1 || r.state.Err != mistake {
		t.Errorf("report %+v, %v", report, err)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	model := newLine()
	r := &recorder{onStep: func(s *State) {
		if s.Step == 2 {
			cancel()
		}
	}}
	trainer := Trainer{Loss: nn.MSE, Epochs: 5, Batch: 5, Callbacks: []Callback{r}}
	before := model.Weight.Value().Float()
	report, err := trainer.Fit(ctx, model, line(t, 20), line(t, 20))
	if !errors.Is(err, context.Canceled) || report == nil || report.Steps != 2 {
		t.Fatalf("report %+v, %v", report, err)
	}
	if r.order() != "begin epoch step step end" || !math.IsNaN(report.TestLoss) {
		t.Errorf("events %s, test loss %g", r.order(), report.TestLoss)
	}
	if model.Weight.Value().Float() == before {
		t.Error("the weights of the last step are lost")
	}
}

// TestDiverged stops where a loss is no number, names the operation, and keeps the
// weights.
func TestDiverged(t *testing.T) {
	model := newLine()
	var weight float64
	r := &recorder{onStep: func(*State) { weight = model.Weight.Value().Float() }}
	steps := 0
	trainer := Trainer{Epochs: 5, Batch: 10, Callbacks: []Callback{r}, Loss: func(pred, target *sinter.Tensor) *sinter.Tensor {
		if steps++; steps < 3 {
			return nn.MSE(pred, target)
		}
		return pred.MulScalar(0).SubScalar(1).Log().Mean()
	}}
	report, err := trainer.Fit(t.Context(), model, line(t, 20), nil)
	var diverged *DivergedError
	if !errors.As(err, &diverged) {
		t.Fatalf("got %v, expected a DivergedError", err)
	}
	if diverged.Step != 3 || diverged.Op != "log" || !strings.Contains(diverged.Site, "train_test.go:") {
		t.Errorf("step %d, operation %q at %q", diverged.Step, diverged.Op, diverged.Site)
	}
	if report == nil || report.Steps != 2 || model.Weight.Value().Float() != weight {
		t.Errorf("report %+v, weight %g, expected %g", report, model.Weight.Value().Float(), weight)
	}
}

type wrongNet struct{ A, B *nn.Linear }

func (n wrongNet) Forward(x *sinter.Tensor) *sinter.Tensor {
	return n.B.Forward(n.A.Forward(x))
}

func TestMistakes(t *testing.T) {
	wrong := wrongNet{nn.NewLinear(1, 3), nn.NewLinear(4, 1)}
	for _, c := range []struct {
		trainer Trainer
		model   nn.Module
		set     data.Dataset
		want    string
	}{
		{Trainer{}, newLine(), line(t, 4), "no Loss"},
		{Trainer{Loss: nn.MSE}, newLine(), nil, "no examples"},
		{Trainer{Loss: nn.MSE, Batch: -1}, newLine(), line(t, 4), "negative"},
		{Trainer{Loss: nn.MSE, Precision: 9}, newLine(), line(t, 4), "there is no precision(9)"},
		{Trainer{Loss: nn.MSE}, wrong, line(t, 4), "train_test.go:"},
	} {
		report, err := c.trainer.Fit(t.Context(), c.model, c.set, nil)
		if err == nil || report != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("report %v, %v; expected %q", report, err, c.want)
		}
	}
	var build *sinter.BuildError
	_, err := (&Trainer{Loss: nn.MSE}).Fit(t.Context(), wrong, line(t, 4), nil)
	if !errors.As(err, &build) {
		t.Errorf("%v is no BuildError", err)
	}
	if _, err := (&Trainer{}).Predict(t.Context(), wrong, line(t, 4)); !errors.As(err, &build) {
		t.Errorf("%v is no BuildError", err)
	}
}

// dropping has a layer that does something else in training than in use.
type dropping struct {
	Hidden *nn.Linear
	Drop   *nn.Dropout
	Out    *nn.Linear
}

func (d *dropping) Forward(x *sinter.Tensor) *sinter.Tensor {
	return d.Out.Forward(d.Drop.Forward(nn.ReLU(d.Hidden.Forward(x))))
}

// A compiled run is the same, to the bit: batches of two sizes, dropout, evaluations in
// between, after which the model is in training again.
func TestCompiledFit(t *testing.T) {
	run := func(compile bool) (history []float64) {
		sinter.Seed(4)
		model := &dropping{nn.NewLinear(1, 8), nn.NewDropout(0.5), nn.NewLinear(8, 1)}
		r := &recorder{onStep: func(s *State) {
			if !model.Drop.Training() {
				t.Errorf("step %d is made in the mode of use", s.Step)
			}
			history = append(history, s.Loss)
		}}
		trainer := Trainer{
			Loss: nn.MSE, Metrics: []metric.Metric{metric.MAE()}, Epochs: 3, Batch: 8, EvalEvery: 2,
			Optimizer: optim.Adam{LR: optim.Cosine{Peak: 0.05, Warmup: 2}}, Clip: 1,
			Callbacks: []Callback{r}, Compile: compile,
		}
		report, err := trainer.Fit(t.Context(), model, line(t, 20), line(t, 13))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range report.History {
			history = append(history, e.TestLoss, e.Metrics[0].Value, e.TrainMetrics[0].Value)
		}
		out, err := trainer.Predict(t.Context(), model, line(t, 11))
		if err != nil {
			t.Fatal(err)
		}
		return append(history, out.Float64s()...)
	}
	plain, compiled := run(false), run(true)
	if !slices.Equal(plain, compiled) {
		t.Errorf("recorded %v\ncompiled %v", plain, compiled)
	}
}

func TestCompiledFitDiverges(t *testing.T) {
	model := newLine()
	trainer := Trainer{Loss: func(pred, target *sinter.Tensor) *sinter.Tensor {
		return pred.Add(target).Log().Mean() // of negative numbers
	}, Epochs: 1, Batch: 10, Compile: true}
	_, err := trainer.Fit(t.Context(), model, line(t, 20), nil)
	var diverged *DivergedError
	if !errors.As(err, &diverged) || diverged.Op != "log" || !strings.Contains(diverged.Site, "train_test.go:") {
		t.Errorf("got %v", err)
	}
	wrong := wrongNet{nn.NewLinear(1, 3), nn.NewLinear(4, 1)}
	_, err = (&Trainer{Loss: nn.MSE, Compile: true}).Fit(t.Context(), wrong, line(t, 4), nil)
	if !errors.As(err, new(*sinter.BuildError)) || !strings.Contains(err.Error(), "train_test.go:") {
		t.Errorf("got %v", err)
	}
}

// A Trainer's Loader says how examples are read, and changes nothing else: workers and
// prefetching give the same weights, and a stream of the same examples in the same order.
func TestLoaderOptions(t *testing.T) {
	examples := make([]float32, 40)
	for i := range examples {
		examples[i] = float32(i) / 40
	}
	set, err := data.Arrays(data.Floats("x", examples, 1), data.Floats("y", examples, 1))
	if err != nil {
		t.Fatal(err)
	}
	fit := func(set data.Examples, loader data.Loader, steps, perEpoch int) (*Report, []float32) {
		sinter.Seed(1)
		model := nn.NewLinear(1, 1)
		tr := Trainer{Loss: nn.MSE, Batch: 8, Epochs: 2, Steps: steps, StepsPerEpoch: perEpoch, Seed: 4, Loader: loader, Warn: func(m string) { t.Log(m) }}
		report, err := tr.Fit(t.Context(), model, set, nil)
		if err != nil {
			t.Fatal(err)
		}
		return report, model.Weight.Value().Floats()
	}
	_, want := fit(set, data.Loader{}, 0, 0)
	if r, got := fit(set, data.Loader{Workers: 3, Prefetch: 4}, 0, 0); !slices.Equal(got, want) || r.Steps != 10 {
		t.Errorf("with other workers %v after %d steps, want %v", got, r.Steps, want)
	}
	order := make([]int, 80)
	for e := range 2 {
		if err := (data.RandomSampler{}).Sample(order[40*e:40*(e+1)], 40, 4, e); err != nil {
			t.Fatal(err)
		}
	}
	stream := ordered{set, order}
	if r, got := fit(stream, data.Loader{ShuffleBuffer: 1}, 10, 5); !slices.Equal(got, want) || r.Steps != 10 || r.Epochs != 2 {
		t.Errorf("of a stream %v after %d steps in %d epochs, want %v", got, r.Steps, r.Epochs, want)
	}
	if r, got := fit(stream, data.Loader{ShuffleBuffer: 1}, 10, 0); !slices.Equal(got, want) || r.Steps != 10 || r.Epochs != 2 {
		t.Errorf("of a stream without an end of the epoch %v after %d steps in %d epochs, want %v", got, r.Steps, r.Epochs, want)
	}
	tr := Trainer{Loss: nn.MSE, Epochs: 2}
	if _, err := tr.Fit(t.Context(), nn.NewLinear(1, 1), stream, nil); err == nil || !strings.Contains(err.Error(), "set Steps") {
		t.Errorf("error %v", err)
	}
}

// ordered is a stream of a dataset's examples: those of epoch e are part e of order.
type ordered struct {
	of    data.Dataset
	order []int
}

func (s ordered) Fields() []data.Field { return s.of.Fields() }
func (s ordered) Len() int             { return -1 }
func (s ordered) Open(p data.Pass, from data.Mark) (data.StreamReader, error) {
	return &orderedReader{s.order[p.Epoch*s.of.Len():][:s.of.Len()], int(from.Offset)}, nil
}
func (s ordered) Decode(r *data.Record, dst [][]byte) error { return s.of.Read(int(r.Index), dst) }

type orderedReader struct {
	order []int
	at    int
}

func (r *orderedReader) Mark() data.Mark { return data.Mark{Offset: int64(r.at)} }
func (r *orderedReader) Close() error    { return nil }
func (r *orderedReader) Next(rec *data.Record) error {
	if r.at == len(r.order) {
		return io.EOF
	}
	rec.Index = int64(r.order[r.at])
	r.at++
	return nil
}
