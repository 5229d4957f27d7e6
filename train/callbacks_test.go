package train

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// script plays evaluations with given losses to a callback, as a run would.
func script(t *testing.T, c Callback, s *State, losses ...float64) {
	t.Helper()
	if s.Step == 0 {
		c.OnTrainBegin(s)
	}
	for _, l := range losses {
		s.Step++
		s.Epoch++
		s.Last = &Evaluation{Tested: true, TestLoss: l, Step: s.Step}
		c.OnEvaluate(s)
		if s.stopping() {
			return
		}
	}
}

func TestEarlyStopping(t *testing.T) {
	for _, c := range []struct {
		name   string
		with   EarlyStopping
		losses []float64
		steps  int    // made
		reason string // empty: not stopped
	}{
		{"patience", EarlyStopping{Patience: 2}, []float64{3, 2, 2.5, 2, 1}, 4, "not improved on 2, at step 2, for 2 evaluations"},
		{"at once", EarlyStopping{}, []float64{3, 2, 2.5, 1}, 3, "for 1 evaluations"},
		{"small changes", EarlyStopping{Patience: 2, MinDelta: 0.5}, []float64{3, 2.8, 2.6, 2.4}, 3, "not improved on 3"},
		{"sum of small changes", EarlyStopping{Patience: 3, MinDelta: 0.5}, []float64{3, 2.8, 2.6, 2.4, 2.3, 2.2}, 6, ""},
		{"later", EarlyStopping{From: 4}, []float64{1, 2, 3, 4, 3.5, 3}, 6, ""},
		{"no numbers", EarlyStopping{Patience: 2}, []float64{math.NaN(), math.NaN(), 1}, 2, "was not a number in 2 evaluations"},
		{"higher is better", EarlyStopping{Patience: 1, Mode: Max}, []float64{1, 2, 3, 2}, 4, "not improved on 3"},
	} {
		s := &State{}
		script(t, &c.with, s, c.losses...)
		if s.Step != c.steps || (s.reason != "") != (c.reason != "") || !strings.Contains(s.reason, c.reason) {
			t.Errorf("%s: stopped after %d evaluations, %q; expected after %d, %q", c.name, s.Step, s.reason, c.steps, c.reason)
		}
	}
}

// What is resumed from a saved state decides as if it had never stopped.
func TestEarlyStoppingResumed(t *testing.T) {
	first := &EarlyStopping{Patience: 3}
	s := &State{}
	script(t, first, s, 3, 2, 2.5)
	saved, err := first.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	second := &EarlyStopping{Patience: 3}
	second.OnTrainBegin(s)
	if err := second.LoadState(saved); err != nil {
		t.Fatal(err)
	}
	script(t, second, s, 2.5)
	if s.stopping() {
		t.Fatalf("stopped too early: %s", s.reason)
	}
	script(t, second, s, 2.5)
	if !strings.Contains(s.reason, "2, at step 2, for 3") {
		t.Errorf("stopped with %q", s.reason)
	}
}

func TestEarlyStoppingRestoresTheBest(t *testing.T) {
	model := newLine()
	stop := &EarlyStopping{Patience: 2, RestoreBest: true}
	var atBest []byte
	watch := &recorder{}
	trainer := Trainer{
		// A learning rate that grows until the loss does too.
		Optimizer: optim.SGD{LR: optim.Exponential{Initial: 0.3, Gamma: 1.5, Every: 1}}, Loss: nn.MSE, Epochs: 30, Batch: 100,
		Callbacks: []Callback{stop, watch, onEvaluate(func(s *State) {
			if _, step := stop.Best(); step == s.Step {
				atBest = model.Weight.Bytes()
			}
		})},
	}
	report, err := trainer.Fit(t.Context(), model, line(t, 100), line(t, 7))
	if err != nil {
		t.Fatal(err)
	}
	value, step := stop.Best()
	if report.Steps == 30 || report.Steps != step+2 || !strings.Contains(report.Stopped, "early stopping") {
		t.Fatalf("%d steps, the best at %d: %q", report.Steps, step, report.Stopped)
	}
	if !bytes.Equal(model.Weight.Bytes(), atBest) {
		t.Error("the weights are not those of the best evaluation")
	}
	if loss, _, err := trainer.Evaluate(t.Context(), model, line(t, 7)); err != nil || loss != value {
		t.Errorf("the restored weights have the loss %g, %v; the best was %g", loss, err, value)
	}
}

type onEvaluateFunc struct {
	NopCallback
	f func(*State)
}

func (c onEvaluateFunc) OnEvaluate(s *State) { c.f(s) }

func onEvaluate(f func(*State)) Callback { return onEvaluateFunc{f: f} }

// The learning rates follow Keras' rule for the callback of that name:
// factor 0.5, patience 2, min_delta 0.1, cooldown 1, min_lr 0.2.
func TestReduceLROnPlateau(t *testing.T) {
	s := &State{Optimizer: optim.New(newLine(), optim.SGD{LR: optim.Constant(1)})}
	p := &ReduceLROnPlateau{Factor: 0.5, Patience: 2, MinDelta: 0.1, Cooldown: 1, MinLR: 0.2}
	losses := []float64{3, 2, 2, 1.95, 1.9, 1.95, 1.95, 1.5, 1.5, 1.5, 1.5, 1.5}
	want := []float64{1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2}
	for i, l := range losses {
		script(t, p, s, l)
		if got := s.Optimizer.LR(); math.Abs(got-want[i]) > 1e-12 {
			t.Errorf("after %v the learning rate is %g, expected %g", losses[:i+1], got, want[i])
		}
	}
}

// The average is that of the formula over the weights after every step, stands in the
// model while the test set is evaluated and at the end, and not in between.
func TestEMA(t *testing.T) {
	model := newLine()
	ema := &EMA{Decay: 0.8, Start: 2}
	var mean float64
	var trained []float64
	check := func(s *State, what string, want float64) {
		t.Helper()
		if got := model.Weight.Value().Float(); math.Abs(got-want) > 1e-6 {
			t.Errorf("%s at step %d the weight is %g, expected %g", what, s.Step, got, want)
		}
	}
	watch := &recorder{onStep: func(s *State) {
		w := model.Weight.Value().Float()
		switch {
		case s.Step == 3:
			mean = w
		case s.Step > 3:
			mean += 0.2 * (w - mean)
		}
		trained = append(trained, w)
	}}
	trainer := Trainer{Optimizer: optim.SGD{LR: optim.Constant(0.1)}, Loss: nn.MSE, Epochs: 4, Batch: 20, Seed: 1,
		Callbacks: []Callback{watch, onEvaluate(func(s *State) { check(s, "while evaluating", mean) }), ema}}
	plain := newLine()
	alone := trainer
	alone.Callbacks = nil
	if _, err := alone.Fit(t.Context(), plain, line(t, 60), line(t, 7)); err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.Fit(t.Context(), model, line(t, 60), line(t, 7)); err != nil {
		t.Fatal(err)
	}
	if last := trained[len(trained)-1]; last != plain.Weight.Value().Float() {
		t.Errorf("the average changed training: %g, without it %g", last, plain.Weight.Value().Float())
	}
	check(&State{Step: 12}, "in the end", mean)
}

func TestSWA(t *testing.T) {
	model := newLine()
	swa := &SWA{Start: 0.5}
	var atEnd []float64
	watch := &recorder{onStep: func(s *State) {
		if s.EpochStep == s.StepsPerEpoch {
			atEnd = append(atEnd, model.Weight.Value().Float())
		}
	}}
	trainer := Trainer{Optimizer: optim.SGD{LR: optim.Constant(0.1)}, Loss: nn.MSE, Epochs: 6, Batch: 20, Seed: 1, Callbacks: []Callback{watch, swa}}
	if _, err := trainer.Fit(t.Context(), model, line(t, 60), line(t, 7)); err != nil {
		t.Fatal(err)
	}
	want := (atEnd[3] + atEnd[4] + atEnd[5]) / 3
	if got := model.Weight.Value().Float(); math.Abs(got-want) > 1e-6 {
		t.Errorf("the weight is %g, the mean over the last three of six epochs %g", got, want)
	}
}

// An average that is saved in the middle and loaded goes on to the same bits.
func TestAverageResumed(t *testing.T) {
	model := newLine()
	s := &State{Model: model}
	set := func(w float32) {
		if err := nn.LoadState(model, map[string]*sinter.Tensor{"weight": sinter.FromFloats([]float32{w}, 1, 1), "bias": sinter.FromFloats([]float32{-w}, 1)}, true); err != nil {
			t.Fatal(err)
		}
		s.Step++
	}
	run := func(e *EMA, from, to int) {
		for i := from; i < to; i++ {
			set(float32(math.Sqrt(float64(i))))
			e.OnStep(s)
		}
	}
	whole := &EMA{Decay: 0.9}
	whole.OnTrainBegin(s)
	run(whole, 0, 10)

	s.Step = 0
	first := &EMA{Decay: 0.9}
	first.OnTrainBegin(s)
	run(first, 0, 6)
	saved, err := first.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	second := &EMA{Decay: 0.9}
	second.OnTrainBegin(s)
	for i, v := range second.StateVariables() {
		if err := v.SetBytes(first.StateVariables()[i].Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.LoadState(saved); err != nil {
		t.Fatal(err)
	}
	run(second, 6, 10)
	for i, v := range second.StateVariables() {
		if !bytes.Equal(v.Bytes(), whole.StateVariables()[i].Bytes()) {
			t.Errorf("%s differs from that of an uninterrupted run", v.Name)
		}
	}
}

func TestTerminateOnNaN(t *testing.T) {
	s := &State{}
	script(t, TerminateOnNaN{}, s, 1, 2, math.Inf(1), 3)
	if s.Step != 3 || s.failure == nil || !strings.Contains(s.failure.Error(), "after step 3 the loss on the test set is +Inf") {
		t.Errorf("after step %d: %v", s.Step, s.failure)
	}
	s = &State{}
	c := TerminateOnNaN{}
	s.Last = &Evaluation{TestLoss: math.NaN()} // there is no test set
	if c.OnEvaluate(s); s.failure != nil {
		t.Errorf("without a test set: %v", s.failure)
	}
}

func TestTimer(t *testing.T) {
	timer := &Timer{Limit: 10 * time.Second}
	s := &State{}
	timer.OnTrainBegin(s)
	at := func(c *Timer, d time.Duration) bool {
		s.Step++
		s.Elapsed = d
		c.OnStep(s)
		return s.stopping()
	}
	if at(timer, 4*time.Second) {
		t.Fatal("stopped after 4 s of 10")
	}
	saved, err := timer.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	resumed := &Timer{Limit: 10 * time.Second}
	s = &State{Step: 1}
	resumed.OnTrainBegin(s)
	if err := resumed.LoadState(saved); err != nil {
		t.Fatal(err)
	}
	if at(resumed, 5900*time.Millisecond) {
		t.Error("stopped after 4 + 5.9 s of 10")
	}
	if !at(resumed, 6*time.Second) {
		t.Error("not stopped after 4 + 6 s of 10")
	}
}

// What is logged: rates by group, and the speed over a window.
func TestMonitors(t *testing.T) {
	model := newLine()
	s := &State{Optimizer: optim.New(model, optim.SGD{LR: optim.Constant(0.5)}, optim.Groups(optim.Group{Params: []*sinter.Variable{model.Bias}, LRScale: 2}))}
	LearningRateMonitor{}.OnStep(s)
	if want := []Value{{"lr/0", 0.5}, {"lr/1", 1}}; !slices.Equal(s.Logged(), want) {
		t.Errorf("logged %v, expected %v", s.Logged(), want)
	}
	s = &State{}
	m := &ThroughputMonitor{Window: 2}
	m.OnTrainBegin(s)
	for i := range 5 {
		s.logged = nil
		s.Samples += 10 * (i + 1)
		s.Elapsed += time.Second
		m.OnStep(s)
	}
	if want := []Value{{"samples_per_second", 45}, {"steps_per_second", 1}}; !slices.Equal(s.Logged(), want) { // 40 + 50 in two seconds
		t.Errorf("logged %v, expected %v", s.Logged(), want)
	}
}

func TestCSVLogger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	late := &recorder{onStep: func(s *State) {
		if s.Step >= 4 {
			s.Log("extra", float64(10*s.Step))
		}
	}}
	trainer := Trainer{Optimizer: optim.SGD{LR: optim.Constant(0.25)}, Loss: nn.MSE, Metrics: []metric.Metric{metric.MAE()}, Epochs: 2, Batch: 20,
		Callbacks: []Callback{late, &CSVLogger{Path: path, Every: 2}}}
	report, err := trainer.Fit(t.Context(), newLine(), line(t, 60), line(t, 7))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := readCSV(path)
	if err != nil {
		t.Fatal(err)
	}
	header := "epoch step seconds lr loss train_loss train_mae test_loss mae extra"
	if got := strings.Join(rows[0], " "); got != header || len(rows) != 6 { // steps 2, 4, 6 and two evaluations
		t.Fatalf("%d rows, the first %q; expected 6 and %q", len(rows), got, header)
	}
	steps := ""
	for _, r := range rows[1:] {
		steps += r[1] + ":" + r[9] + " "
	}
	if want := "2: 3: 4:40 6:60 6:60 "; steps != want {
		t.Errorf("steps with what was logged: %q, expected %q", steps, want)
	}
	if rows[1][7] != "" || rows[5][7] == "" || rows[5][8] != strconv.FormatFloat(report.Metrics[0].Value, 'g', 8, 64) {
		t.Errorf("rows %v", rows)
	}

	// A run that goes on from step 3 drops what came after.
	again := &CSVLogger{Path: path}
	s := &State{Step: 3}
	again.OnTrainBegin(s)
	again.OnTrainEnd(s)
	if rows, err = readCSV(path); err != nil || len(rows) != 3 || rows[2][1] != "3" {
		t.Errorf("after going on from step 3: %v, %v", rows, err)
	}
	// A file of something else is not touched.
	if err := os.WriteFile(path, []byte("name,score\na,1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	again.OnTrainBegin(s)
	if s.failure == nil || !strings.Contains(s.failure.Error(), path) {
		t.Errorf("a table of something else: %v", s.failure)
	}
}

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	trainer := Trainer{Loss: nn.MSE, Metrics: []metric.Metric{metric.MAE()}, Epochs: 2, Batch: 20, Callbacks: []Callback{&ProgressBar{Out: &out}}}
	if _, err := trainer.Fit(t.Context(), newLine(), line(t, 60), line(t, 7)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "epoch 1/2  step 3/6  loss ") || !strings.Contains(lines[1], "test loss ") || !strings.Contains(lines[1], "████") {
		t.Errorf("wrote %q", lines)
	}
}

// Evaluating in the middle of an epoch does not disturb the metrics over the epoch.
func TestMetricsGoOnAfterAnEvaluation(t *testing.T) {
	run := func(every int) float64 {
		trainer := Trainer{Optimizer: optim.SGD{LR: optim.Constant(0.1)}, Loss: nn.MSE, Metrics: []metric.Metric{metric.MAE()}, Epochs: 1, Batch: 10, EvalEvery: every, Seed: 3}
		report, err := trainer.Fit(t.Context(), newLine(), line(t, 60), line(t, 7))
		if err != nil {
			t.Fatal(err)
		}
		return report.TrainMetrics[0].Value
	}
	if a, b := run(0), run(2); a != b {
		t.Errorf("the MAE over the epoch is %g, with evaluations in between %g", a, b)
	}
}
