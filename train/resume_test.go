package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train/checkpoint"
)

// moody has all that a run can depend on besides weights: running statistics, random
// numbers of a layer's own, and numbers of the default generator.
type moody struct {
	Hidden *nn.Linear
	Norm   *nn.BatchNorm1D
	Drop   *nn.Dropout
	Out    *nn.Linear

	noisy bool // a step that is compiled must not draw in Go
}

func newMoody(noisy bool) *moody {
	return &moody{nn.NewLinear(1, 8), nn.NewBatchNorm1D(8), nn.NewDropout(0.4), nn.NewLinear(8, 1), noisy}
}

func (m *moody) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = m.Out.Forward(m.Drop.Forward(nn.ReLU(m.Norm.Forward(m.Hidden.Forward(x)))))
	if m.noisy && m.Drop.Training() {
		x = x.Add(sinter.Randn(x.Shape()...).MulScalar(0.01))
	}
	return x
}

// trace is what a run leaves, to be compared.
type trace struct {
	NopCallback
	losses  map[int]float64 // of every step
	cancel  context.CancelFunc
	at      int  // the step to stop at; 0: none
	testing bool // stop in the evaluation after it
}

func (c *trace) OnStep(s *State) {
	c.losses[s.Step] = s.Loss
	if s.Step == c.at && !c.testing {
		c.cancel()
	}
}

func (c *trace) OnEvaluateBegin(s *State) {
	if s.Step >= c.at && c.at > 0 && c.testing {
		c.cancel()
	}
}

// outcome is the end of a run.
type outcome struct {
	weights []byte
	report  *Report
	err     error
}

func weights(model any) []byte {
	var b []byte
	for _, v := range nn.State(model) {
		b = append(b, v.Bytes()...)
	}
	return b
}

// variant is a Trainer to be interrupted.
type variant struct {
	name  string
	setup func(t *Trainer)
}

var variants = []variant{
	{"compiled", func(t *Trainer) {
		t.Compile = true
	}},
	{"recorded", func(t *Trainer) {}},
	{"accumulate", func(t *Trainer) { t.Accumulate = 3; t.Batch = 2 }},
	{"fp16", func(t *Trainer) {
		t.Precision = sinter.FP16
		t.Scaler = &optim.GradScaler{InitScale: 1 << 30, GrowthInterval: 3, BackoffFactor: 1. / (1 << 10), GrowthFactor: 1 << 6}
	}},
	{"plateau", func(t *Trainer) {
		t.Optimizer = optim.SGD{LR: &optim.ReduceOnPlateau{Initial: 0.05, Patience: 1}, Momentum: 0.9}
		t.EvalEvery = 0
	}},
	{"callbacks", func(t *Trainer) {
		t.Callbacks = append(t.Callbacks, &EMA{Decay: 0.8}, &EarlyStopping{Patience: 2, RestoreBest: true}, &ReduceLROnPlateau{Patience: 1})
	}},
	{"without a test set", func(t *Trainer) { t.EvalEvery = 0 }},
}

func (v variant) run(t *testing.T, seed uint64, c *trace, ckpt Checkpoint) outcome {
	t.Helper()
	sinter.Seed(seed)
	model := newMoody(v.name != "compiled")
	if seed != 1 {
		sinter.Rand(3) // another place in the stream of random numbers
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.cancel = cancel
	if c.losses == nil {
		c.losses = map[int]float64{}
	}
	trainer := Trainer{
		Loss: nn.MSE, Metrics: []metric.Metric{metric.MAE(), metric.R2()}, Epochs: 3, Batch: 6, EvalEvery: 2, Seed: 5,
		Optimizer: optim.Adam{LR: optim.Cosine{Peak: 0.05, Warmup: 2}}, Clip: 1,
		Checkpoint: ckpt,
		Warn:       func(message string) { t.Errorf("%s: warned: %s", v.name, message) },
	}
	v.setup(&trainer)
	trainer.Callbacks = append(trainer.Callbacks, c)
	test := line(t, 13)
	if v.name == "without a test set" {
		test = nil
	}
	report, err := trainer.Fit(ctx, model, line(t, 20), test)
	return outcome{weights(model), report, err}
}

func sameHistory(a, b []Evaluation) bool {
	return slices.EqualFunc(a, b, func(x, y Evaluation) bool {
		return fmt.Sprint(x) == fmt.Sprint(y) && math.Float64bits(x.TrainLoss) == math.Float64bits(y.TrainLoss)
	})
}

// A run that is interrupted after any step, or in the evaluation that follows, and goes
// on in a model that began with other weights and in another place of the stream of
// random numbers, has the bits of one that was not.
func TestResumeSameBits(t *testing.T) {
	for i, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			var whole trace
			want := v.run(t, 1, &whole, Checkpoint{})
			if want.err != nil {
				t.Fatal(want.err)
			}
			steps := want.report.Steps
			for k := 1; k <= steps && !t.Failed(); k++ {
				for n, testing := range []bool{false, true} {
					if (2*k+n+i)%6 != 0 && os.Getenv("SINTER_STRESS") == "" {
						continue // each variant has its own places
					}
					dir := filepath.Join(t.TempDir(), "checkpoints")
					first := trace{at: k, testing: testing}
					o := v.run(t, 1, &first, Checkpoint{Dir: dir})
					var stopped *InterruptedError
					if !errors.As(o.err, &stopped) {
						if o.err == nil && (k == steps || testing) { // there was nothing left, or no evaluation
							continue
						}
						t.Fatalf("stopped at %d: %v", k, o.err)
					}
					if stopped.Checkpoint == "" || o.report == nil || !errors.Is(o.err, context.Canceled) {
						t.Fatalf("stopped at %d: %+v, report %v", k, stopped, o.report)
					}
					second := trace{losses: first.losses}
					o = v.run(t, 77, &second, Checkpoint{Dir: dir, Resume: true})
					if o.err != nil {
						t.Fatalf("gone on after %d: %v", k, o.err)
					}
					if !bytes.Equal(o.weights, want.weights) {
						t.Errorf("stopped at %d (in the evaluation: %v): other weights", k, testing)
					}
					if !sameHistory(o.report.History, want.report.History) {
						t.Errorf("stopped at %d: the history is\n%v, expected\n%v", k, o.report.History, want.report.History)
					}
					if fmt.Sprint(second.losses) != fmt.Sprint(whole.losses) {
						t.Errorf("stopped at %d: the losses are\n%v, expected\n%v", k, second.losses, whole.losses)
					}
					if r, w := o.report, want.report; r.Steps != w.Steps || r.Epochs != w.Epochs || r.Samples != w.Samples || fmt.Sprint(r.TrainMetrics, r.TestLoss, r.Metrics, r.Stopped) != fmt.Sprint(w.TrainMetrics, w.TestLoss, w.Metrics, w.Stopped) {
						t.Errorf("stopped at %d: the report is\n%+v, expected\n%+v", k, r, w)
					}
				}
			}
		})
	}
}

// Every checkpoint of a run is a place to go on from, the best ones too, and a run of
// more epochs is what it would have been at once.
func TestResumeFromAny(t *testing.T) {
	v := variants[1]
	dir := filepath.Join(t.TempDir(), "checkpoints")
	want := v.run(t, 1, &trace{}, Checkpoint{Dir: dir, EverySteps: 1, Keep: 100, Best: 3, Sync: true})
	if want.err != nil {
		t.Fatal(want.err)
	}
	all, err := checkpoint.List(dir)
	if err != nil || len(all) <= want.report.Steps {
		t.Fatalf("%d checkpoints of %d steps, expected best ones besides; %v", len(all), want.report.Steps, err)
	}
	for _, info := range all {
		elsewhere := filepath.Join(t.TempDir(), "other")
		if o := v.run(t, 3, &trace{}, Checkpoint{Dir: elsewhere, From: info.Path}); o.err != nil || !bytes.Equal(o.weights, want.weights) {
			t.Errorf("from %s: %v, other weights: %v", info.Name, o.err, !bytes.Equal(o.weights, want.weights))
		}
	}
	short := variant{"short", func(t *Trainer) { t.Epochs, t.Steps = 0, 5; t.Optimizer = optim.Adam{LR: optim.Constant(0.01)} }}
	long := variant{"long", func(t *Trainer) { t.Optimizer = optim.Adam{LR: optim.Constant(0.01)} }}
	want = long.run(t, 1, &trace{}, Checkpoint{})
	dir = filepath.Join(t.TempDir(), "checkpoints")
	if o := short.run(t, 1, &trace{}, Checkpoint{Dir: dir}); o.err != nil || o.report.Steps != 5 {
		t.Fatal(o.err)
	}
	o := long.run(t, 3, &trace{}, Checkpoint{Dir: dir, Resume: true})
	if o.err != nil || !bytes.Equal(o.weights, want.weights) || !sameHistory(o.report.History, want.report.History) {
		t.Errorf("extended: %v, other weights: %v\n%v\n%v", o.err, !bytes.Equal(o.weights, want.weights), o.report.History, want.report.History)
	}
	// Going back removes what came after.
	if o := long.run(t, 3, &trace{}, Checkpoint{Dir: dir, From: filepath.Join(dir, "step-00000005")}); o.err != nil {
		t.Error(o.err)
	}
}

// What is kept: the newest, and the best by a quantity.
func TestKeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	v := variants[1]
	o := v.run(t, 1, &trace{}, Checkpoint{Dir: dir, EverySteps: 2, Keep: 2, Best: 2, Monitor: "test_loss", Sync: true})
	if o.err != nil {
		t.Fatal(o.err)
	}
	all, err := checkpoint.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var tests []float64
	for _, e := range o.report.History {
		tests = append(tests, e.TestLoss)
	}
	slices.Sort(tests)
	ranked := checkpoint.Ranked(all, false)
	if len(ranked) < 2 || ranked[0].Score.Value != tests[0] || ranked[1].Score.Value != tests[1] {
		t.Errorf("best %+v, the losses are %v", ranked, tests)
	}
	if last := all[len(all)-1].Step; last != o.report.Steps {
		t.Errorf("the newest is of step %d of %d", last, o.report.Steps)
	}
	steps := map[int]bool{}
	for _, info := range all {
		steps[info.Step] = true
	}
	if len(steps) > 4 {
		t.Errorf("kept the steps %v", steps)
	}
}

// listening notes what a run says of its checkpoints.
type listening struct {
	NopCallback
	saved []Saved
	step  func(*State)
}

func (l *listening) OnCheckpoint(_ *State, saved Saved) { l.saved = append(l.saved, saved) }
func (l *listening) OnStep(s *State) {
	if l.step != nil {
		l.step(s)
	}
}

func TestCheckpointWhenAsked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	l := &listening{step: func(s *State) {
		if s.Step == 3 {
			s.Save()
		}
		if s.Step == 5 {
			s.Interrupt("enough")
		}
	}}
	trainer := Trainer{Loss: nn.MSE, Epochs: 4, Batch: 8, Callbacks: []Callback{l}, Checkpoint: Checkpoint{Dir: dir, Sync: true}}
	report, err := trainer.Fit(t.Context(), newLine(), line(t, 20), nil)
	var stopped *InterruptedError
	if !errors.As(err, &stopped) || stopped.Reason != "enough" || stopped.Step != 5 || filepath.Base(stopped.Checkpoint) != "step-00000005" {
		t.Errorf("%+v", err)
	}
	if report == nil || report.Steps != 5 || len(l.saved) != 2 || l.saved[0].Step != 3 || l.saved[1].Step != 5 || l.saved[0].Bytes == 0 {
		t.Errorf("report %+v, saved %+v", report, l.saved)
	}
	l.step = nil
	trainer.Checkpoint.Resume = true
	if report, err = trainer.Fit(t.Context(), newLine(), line(t, 20), nil); err != nil || report.Steps != 12 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A checkpoint that cannot be written is said, every time, and ends nothing.
func TestCheckpointFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	var warnings []string
	l := &listening{}
	trainer := Trainer{Loss: nn.MSE, Epochs: 2, Batch: 5, Callbacks: []Callback{l}, Checkpoint: Checkpoint{Dir: dir, EverySteps: 2, Sync: true},
		Warn: func(message string) { warnings = append(warnings, message) }}
	l.step = func(s *State) {
		switch s.Step {
		case 3: // from here on the folder's place is taken
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(dir, nil, 0o666); err != nil {
				t.Error(err)
			}
		case 7:
			os.Remove(dir)
			if err := os.Rename(dir+".away", dir); err != nil {
				t.Error(err)
			}
		}
	}
	report, err := trainer.Fit(t.Context(), newLine(), line(t, 20), nil)
	if err != nil || report.Steps != 8 {
		t.Fatalf("%+v, %v", report, err)
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0], "step 4") || !strings.Contains(warnings[0], "step-00000002 stays") || !strings.Contains(warnings[1], "step 6") {
		t.Errorf("warnings %q", warnings)
	}
	var ok []bool
	for _, s := range l.saved {
		ok = append(ok, s.Err == nil)
	}
	if !slices.Equal(ok, []bool{true, false, false, true}) {
		t.Errorf("saved %+v", l.saved)
	}
	if latest, err := checkpoint.Latest(dir); err != nil || filepath.Base(latest) != "step-00000008" {
		t.Errorf("the latest is %q, %v", latest, err)
	}
}

func TestResumeRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	trainer := Trainer{Loss: nn.MSE, Epochs: 2, Batch: 5, Checkpoint: Checkpoint{Dir: dir}}
	if _, err := trainer.Fit(t.Context(), newLine(), line(t, 20), nil); err != nil {
		t.Fatal(err)
	}
	trainer.Checkpoint.Resume = true
	for want, change := range map[string]func(t *Trainer, model *nn.Module){
		"batches of 5":   func(t *Trainer, _ *nn.Module) { t.Batch = 4 },
		"seed 0":         func(t *Trainer, _ *nn.Module) { t.Seed = 1 },
		"loading weight": func(_ *Trainer, m *nn.Module) { *m = nn.NewLinear(1, 2) },
		"no random layer|no key": func(_ *Trainer, m *nn.Module) {
			*m = &dropping{nn.NewLinear(1, 8), nn.NewDropout(0.5), nn.NewLinear(8, 1)}
		},
		"optimizer|rule":          func(t *Trainer, _ *nn.Module) { t.Optimizer = optim.SGD{LR: optim.Constant(0.1)} },
		"metrics":                 func(t *Trainer, _ *nn.Module) { t.Metrics = []metric.Metric{metric.MAE()} },
		"there is no checkpoint":  func(t *Trainer, _ *nn.Module) { t.Checkpoint.From = filepath.Join(dir, "step-00000077") },
		"negative":                func(t *Trainer, _ *nn.Module) { t.Checkpoint.Keep = -1 },
		"Checkpoint.Dir is empty": func(t *Trainer, _ *nn.Module) { t.Checkpoint.Dir = "" },
		"quantity \"accuracy\"": func(t *Trainer, _ *nn.Module) {
			t.Checkpoint.Monitor, t.Checkpoint.Best, t.Epochs = "accuracy", 1, 3
		},
	} {
		other := trainer
		var model nn.Module = newLine()
		change(&other, &model)
		_, err := other.Fit(t.Context(), model, line(t, 20), nil)
		if err == nil || !slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
			t.Errorf("got %v, expected %q", err, want)
		}
	}
}

// A slow disk: checkpoints that are due meanwhile wait, and training does not.
func TestAsynchronous(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	var warnings []string
	release := make(chan struct{})
	l := &listening{}
	trainer := Trainer{Loss: nn.MSE, Epochs: 5, Batch: 5, Callbacks: []Callback{l},
		Checkpoint: Checkpoint{Dir: dir, EverySteps: 2, Log: func() (int64, func() error) {
			return 0, func() error { <-release; return nil }
		}},
		Warn: func(message string) { warnings = append(warnings, message) }}
	l.step = func(s *State) {
		switch s.Step {
		case 9:
			if len(l.saved) != 0 {
				t.Errorf("written: %+v", l.saved)
			}
			close(release) // the checkpoint of step 2 can be written now
			for wait := time.Now(); time.Since(wait) < 20*time.Second; time.Sleep(time.Millisecond) {
				if latest, _ := checkpoint.Latest(dir); latest != "" {
					break
				}
			}
		}
	}
	if _, err := trainer.Fit(t.Context(), newLine(), line(t, 20), nil); err != nil {
		t.Fatal(err)
	}
	if len(warnings) == 0 || !strings.Contains(warnings[0], "the checkpoint of step 4 waits") {
		t.Errorf("warnings %q", warnings)
	}
	if len(l.saved) < 2 || l.saved[0].Step != 2 || l.saved[1].Step < 9 || l.saved[len(l.saved)-1].Step != 20 {
		t.Errorf("saved %+v", l.saved)
	}
}
