package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/schedule"
	"github.com/sinter-dl/sinter/train/checkpoint"
)

// bench is a machine of 100 W on which a step takes ten seconds, a batch of an
// evaluation two, and nothing else takes time.
type bench struct {
	NopCallback
	t          *testing.T
	now        time.Time
	evaluating bool
	seen       []power.Usage // after every step
	pauses     []string      // why it waited whenever that was told, "" at the end of a pause
	onStep     func(s *State)
	onPause    func(s *State)
}

const watts, stepSeconds, batchSeconds = 100, 10, 2

func newBench(t *testing.T) *bench {
	return &bench{t: t, now: time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)}
}

func (b *bench) clock() time.Time { return b.now }

func (b *bench) pass(seconds float64) {
	b.now = b.now.Add(time.Duration(seconds * float64(time.Second)))
}

// loss is calculated once in each step, and for each batch of an evaluation.
func (b *bench) loss(pred, y *sinter.Tensor) *sinter.Tensor {
	if b.evaluating {
		b.pass(batchSeconds)
	} else {
		b.pass(stepSeconds)
	}
	return nn.MSE(pred, y)
}

func (b *bench) OnEvaluateBegin(*State) { b.evaluating = true }
func (b *bench) OnEvaluate(*State)      { b.evaluating = false }
func (b *bench) OnEvaluateAbort(*State) { b.evaluating = false }

func (b *bench) OnStep(s *State) {
	b.seen = append(b.seen, s.Usage)
	if b.onStep != nil {
		b.onStep(s)
	}
}

func (b *bench) OnPause(s *State) {
	if s.Paused == nil {
		b.pauses = append(b.pauses, "")
		return
	}
	b.pauses = append(b.pauses, s.Paused.String())
	b.onPause(s)
}

// energy is metered and priced in round numbers: 0.36 EUR for a kWh are 0.1 EUR for a MJ, or
// 10 µEUR for a second of 100 W; 3.60 EUR for an hour are 1 mEUR for a second; 360 g for a
// kWh are 100 g for a MJ, or 10 mg for a second of 100 W.
func (b *bench) energy() *Energy {
	m := power.Open(power.Options{Meter: "100W", Clock: b.clock, Every: -1, Baseline: -1})
	b.t.Cleanup(m.Close)
	return &Energy{Meter: m, Clock: b.clock, Rates: power.Rates{
		Region: power.Region{Code: "X", Name: "Here", Carbon: 360},
		Tariff: power.Tariff{PerKWh: power.Money{Amount: 0.36, Currency: "EUR"}}, Device: power.Money{Amount: 3.6, Currency: "EUR"},
	}}
}

// fit trains for two epochs of four steps, with an evaluation of two batches after the
// second step of each and at its end.
func (b *bench) fit(ctx context.Context, seed uint64, change func(t *Trainer)) outcome {
	b.t.Helper()
	sinter.Seed(seed)
	model := newMoody(true)
	trainer := Trainer{
		Optimizer: optim.Adam{LR: optim.Constant(0.05)}, Loss: b.loss, Metrics: []metric.Metric{metric.MAE()},
		Epochs: 2, Batch: 6, EvalEvery: 2, Seed: 5, Callbacks: []Callback{b},
		Warn: func(message string) { b.t.Errorf("warned: %s", message) },
	}
	change(&trainer)
	report, err := trainer.Fit(ctx, model, line(b.t, 24), line(b.t, 12))
	return outcome{weights(model), report, err}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(b)) }

// The books of a whole run, by hand: 8 steps of 10 s and 4 evaluations of 4 s, 96 s and
// 9600 J. Reading them changes no bit, and what was not asked for is not there.
func TestEnergy(t *testing.T) {
	plain := newBench(t)
	want := plain.fit(t.Context(), 1, func(*Trainer) {})
	if want.err != nil {
		t.Fatal(want.err)
	}
	if u := want.report.Usage; u.Seconds != 0 || u.Joules != 0 || u.Parts != nil || want.report.Phases != (Phases{}) || !math.IsNaN(want.report.Phases.JoulesPerSample()) {
		t.Errorf("without Energy: %+v, %+v", u, want.report.Phases)
	}
	b := newBench(t)
	got := b.fit(t.Context(), 1, func(tr *Trainer) { tr.Energy = b.energy() })
	if got.err != nil {
		t.Fatal(got.err)
	}
	if !bytes.Equal(got.weights, want.weights) {
		t.Error("a run that is metered has other weights")
	}
	u, p := got.report.Usage, got.report.Phases
	if !near(u.Seconds, 96) || !near(u.Joules, 9600) || !near(u.Grams, 0.96) || !near(u.EnergyCost.Amount, 0.00096) || !near(u.DeviceCost.Amount, 0.096) || !near(u.Cost.Amount, 0.09696) || u.Cost.Currency != "EUR" {
		t.Errorf("usage %+v", u)
	}
	if len(u.Parts) != 1 || !near(u.Parts[0].Joules, 9600) || !u.Estimated {
		t.Errorf("parts %+v, estimated %v", u.Parts, u.Estimated)
	}
	if !near(p.Train.Seconds, 80) || !near(p.Train.Joules, 8000) || !near(p.Evaluate.Joules, 1600) || p.Pause != (Phase{}) || p.Lost != (Phase{}) || p.Steps != 8 || p.Samples != 48 || !near(p.Epoch.Joules, 4800) {
		t.Errorf("phases %+v", p)
	}
	if !near(p.JoulesPerStep(), 1000) || !near(p.JoulesPerSample(), 1000./6) || !near(p.JoulesPerEpoch(4), 4800) {
		t.Errorf("%g J a step, %g a sample, %g an epoch", p.JoulesPerStep(), p.JoulesPerSample(), p.JoulesPerEpoch(4))
	}
	for i, u := range b.seen {
		evaluations := i / 2 // before the step
		if !near(u.Joules, float64(1000*(i+1)+400*evaluations)) {
			t.Errorf("step %d ends at %g J", i+1, u.Joules)
		}
	}
}

// Books that are closed and opened again at any step come to the same sums, whether it is
// with a checkpoint of just then, or with an old one and what is known from elsewhere: then
// what was done twice was paid for twice.
func TestEnergyResume(t *testing.T) {
	for stop := 1; stop < 8; stop++ {
		dir := filepath.Join(t.TempDir(), "checkpoints")
		ctx, cancel := context.WithCancel(t.Context())
		first := newBench(t)
		first.onStep = func(s *State) {
			if s.Step == stop {
				cancel()
			}
		}
		o := first.fit(ctx, 1, func(tr *Trainer) {
			tr.Energy, tr.Checkpoint = first.energy(), Checkpoint{Dir: dir, EverySteps: 1, Keep: 10, Sync: true}
		})
		if !errors.As(o.err, new(*InterruptedError)) {
			t.Fatal(o.err)
		}
		spent := Spent{o.report.Usage, o.report.Phases}
		second := newBench(t)
		o = second.fit(t.Context(), 9, func(tr *Trainer) {
			tr.Energy, tr.Checkpoint = second.energy(), Checkpoint{Dir: dir, Resume: true, Keep: 10}
			tr.Energy.Spent = spent
		})
		if u, p := o.report.Usage, o.report.Phases; o.err != nil || !near(u.Joules, 9600) || !near(u.Seconds, 96) || !near(u.Cost.Amount, 0.09696) || len(u.Parts) != 1 || !near(u.Parts[0].Joules, 9600) ||
			!near(p.JoulesPerStep(), 1000) || p.Steps != 8 || p.Lost.Joules > 1e-6 || !near(p.Train.Joules+p.Evaluate.Joules, 9600) {
			t.Errorf("stopped at %d: %v, %+v, %+v", stop, o.err, u, p)
		}
		var path string
		all, err := checkpoint.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range all {
			if info.Step == 1 {
				path = info.Path
			}
		}
		third := newBench(t)
		o = third.fit(t.Context(), 9, func(tr *Trainer) {
			tr.Energy, tr.Checkpoint = third.energy(), Checkpoint{Dir: dir, From: path}
			tr.Energy.Spent = spent
		})
		lost := spent.Usage.Joules - 1000
		if o.err != nil {
			t.Fatal(o.err)
		}
		if u, p := o.report.Usage, o.report.Phases; !near(u.Joules, 9600+lost) || !near(p.Lost.Joules, lost) || !near(p.JoulesPerStep(), 1000) {
			t.Errorf("from step 1 after %d: %v, %+v, %+v", stop, o.err, u, p)
		}
	}
}

// A checkpoint of before there were books, and one of books that go on without a meter, and
// in another currency.
func TestEnergyOtherCheckpoints(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	b := newBench(t)
	if o := b.fit(t.Context(), 1, func(tr *Trainer) {
		tr.Steps, tr.Checkpoint, tr.Energy = 3, Checkpoint{Dir: dir}, b.energy()
	}); o.err != nil {
		t.Fatal(o.err)
	}
	path, err := checkpoint.Latest(dir)
	if err != nil {
		t.Fatal(err)
	}
	kept := newBench(t)
	if o := kept.fit(t.Context(), 1, func(tr *Trainer) { tr.Checkpoint = Checkpoint{Dir: filepath.Join(t.TempDir(), "c"), From: path} }); o.err != nil || !near(o.report.Usage.Joules, 3400) || o.report.Phases.Steps != 3 {
		t.Errorf("without a meter: %v, %+v", o.err, o.report)
	}
	dollars := newBench(t)
	if o := dollars.fit(t.Context(), 1, func(tr *Trainer) {
		tr.Energy, tr.Checkpoint = dollars.energy(), Checkpoint{Dir: filepath.Join(t.TempDir(), "c"), From: path}
		tr.Energy.Rates.Tariff, tr.Energy.Rates.Device = power.Tariff{}, power.Money{Amount: 1, Currency: "USD"}
	}); !errors.As(o.err, new(*power.CurrencyError)) {
		t.Errorf("in dollars: %v", o.err)
	}

	content, err := checkpoint.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(content.State, &state); err != nil {
		t.Fatal(err)
	}
	delete(state, "usage")
	delete(state, "phases")
	state["energy"] = map[string]any{"joules": 0, "source": "none"}
	if content.State, err = json.Marshal(state); err != nil {
		t.Fatal(err)
	}
	older := filepath.Join(t.TempDir(), "older")
	info, err := checkpoint.Write(older, content)
	if err != nil {
		t.Fatal(err)
	}
	again := newBench(t)
	o := again.fit(t.Context(), 1, func(tr *Trainer) {
		tr.Energy, tr.Checkpoint = again.energy(), Checkpoint{Dir: older, From: info.Path}
	})
	if u, p := o.report.Usage, o.report.Phases; o.err != nil || !near(p.JoulesPerStep(), 1000) || p.Steps != 5 || !near(u.Joules, 5000+1200) {
		t.Errorf("from an older checkpoint: %v, %+v, %+v", o.err, u, p)
	}
}

func euros(v float64) *power.Money { return &power.Money{Amount: v, Currency: "EUR"} }

// A budget of each kind, of several, and one that is used up in an evaluation, ends the run
// with a checkpoint and at most one step over; with a larger one it goes on to the bits of
// a run that was not stopped.
func TestBudget(t *testing.T) {
	whole := newBench(t)
	want := whole.fit(t.Context(), 1, func(*Trainer) {})
	if want.err != nil {
		t.Fatal(want.err)
	}
	for _, c := range []struct {
		name   string
		budget power.Budget
		step   int
		joules float64
		reason string
	}{
		{"exactly three steps and an evaluation", power.Budget{KWh: 3400 / 3.6e6}, 3, 3400, "3400 J is used up"},
		{"a little more", power.Budget{KWh: 3500 / 3.6e6}, 3, 3400, "would be exceeded"},
		{"money", power.Budget{Money: euros(0.0455)}, 4, 4600, "EUR"},
		{"carbon", power.Budget{Kg: 0.00041}, 3, 3400, "0.41 g"},
		{"time", power.Budget{Time: 20 * time.Second}, 2, 2000, "20s"},
		{"the first of several", power.Budget{Time: time.Hour, Kg: 1, KWh: 1, Money: euros(0.0211)}, 2, 2200, "EUR"},
		{"less than a step", power.Budget{Time: time.Second}, 1, 1000, "used up"},
		{"in an evaluation", power.Budget{Time: 21 * time.Second}, 2, 2200, "used up"},
		{"in that at the end", power.Budget{Time: 93 * time.Second}, 8, 9400, "used up"},
	} {
		dir := filepath.Join(t.TempDir(), "checkpoints")
		b := newBench(t)
		limited := func(tr *Trainer) {
			tr.Energy, tr.Checkpoint = b.energy(), Checkpoint{Dir: dir, Resume: true}
			tr.Energy.Budget = c.budget
		}
		o := b.fit(t.Context(), 1, limited)
		var stopped *InterruptedError
		var spent *BudgetError
		if !errors.As(o.err, &stopped) || !errors.As(o.err, &spent) || stopped.Step != c.step || stopped.Checkpoint == "" || !strings.Contains(o.err.Error(), c.reason) {
			t.Errorf("%s: %v", c.name, o.err)
			continue
		}
		if !near(o.report.Usage.Joules, c.joules) {
			t.Errorf("%s: %g J, expected %g", c.name, o.report.Usage.Joules, c.joules)
		}
		b = newBench(t)
		o = b.fit(t.Context(), 3, func(tr *Trainer) {
			limited(tr)
			tr.Energy.Budget = power.Budget{KWh: 1}
		})
		if o.err != nil || !bytes.Equal(o.weights, want.weights) || !sameHistory(o.report.History, want.report.History) {
			t.Errorf("%s: going on with a larger budget: %v, same weights: %v", c.name, o.err, bytes.Equal(o.weights, want.weights))
		}
	}
}

// A budget that is set while the run goes on, and budgets that cannot be watched.
func TestBudgetChanges(t *testing.T) {
	b := newBench(t)
	b.onStep = func(s *State) {
		if s.Step == 3 {
			if err := s.SetBudget(power.Budget{Money: &power.Money{Amount: 1, Currency: "USD"}}); err == nil {
				t.Error("a budget of dollars is taken where prices are in euros")
			}
			if err := s.SetBudget(power.Budget{Time: 40 * time.Second}); err != nil {
				t.Error(err)
			}
		}
	}
	if o := b.fit(t.Context(), 1, func(tr *Trainer) { tr.Energy = b.energy() }); !errors.As(o.err, new(*BudgetError)) || o.report.Steps != 3 {
		t.Errorf("%v", o.err)
	}
	none := newBench(t)
	none.onStep = func(s *State) {
		if s.Step == 1 && s.SetBudget(power.Budget{Time: time.Hour}) == nil {
			t.Error("a budget is taken where nothing is counted")
		}
	}
	none.fit(t.Context(), 1, func(*Trainer) {})
	for name, change := range map[string]func(e *Energy){
		"no meter":      func(e *Energy) { e.Meter, e.Budget = nil, power.Budget{KWh: 1} },
		"no meter, EUR": func(e *Energy) { e.Meter, e.Budget = nil, power.Budget{Money: euros(1)} },
		"no prices":     func(e *Energy) { e.Rates, e.Budget = power.Rates{}, power.Budget{Money: euros(1)} },
		"a PUE of 0.5":  func(e *Energy) { e.Rates.PUE = 0.5 },
	} {
		b := newBench(t)
		if o := b.fit(t.Context(), 1, func(tr *Trainer) { tr.Energy = b.energy(); change(tr.Energy) }); o.err == nil || o.report != nil {
			t.Errorf("%s: %v", name, o.err)
		}
	}
	// Without a meter, time and the device's hours are counted.
	b = newBench(t)
	o := b.fit(t.Context(), 1, func(tr *Trainer) {
		tr.Energy = b.energy()
		tr.Energy.Meter, tr.Energy.Rates.Tariff, tr.Energy.Budget = nil, power.Tariff{}, power.Budget{Money: euros(0.03)}
	})
	if u := o.report.Usage; !errors.As(o.err, new(*BudgetError)) || o.report.Steps != 2 || !near(u.Cost.Amount, 0.024) || u.Joules != 0 || !math.IsNaN(o.report.Phases.JoulesPerStep()) {
		t.Errorf("without a meter: %v, %+v", o.err, u)
	}
}

// thermometer shows one value after the other at every look, and the last for ever.
type thermometer struct {
	shows []float64 // negative: it does not work
	looks int
}

func (th *thermometer) read() (float64, error) {
	v := th.shows[min(th.looks, len(th.shows)-1)]
	th.looks++
	if v < 0 {
		return 0, errors.New("the sensor is gone")
	}
	return v, nil
}

// Above its limit a run waits until it is cool enough, and not only below the limit. What
// it takes meanwhile is apart, and the result is the same.
func TestGuardTemperature(t *testing.T) {
	plain := newBench(t)
	want := plain.fit(t.Context(), 1, func(*Trainer) {})
	b := newBench(t)
	th := &thermometer{shows: []float64{20, 60, 70, 91, 86, 84, 80, 60}} // the first is asked for at the beginning of all
	b.onPause = func(s *State) {
		if s.Step != 2 || s.Paused.Since.IsZero() || s.Err != nil {
			t.Errorf("paused after step %d: %+v", s.Step, s.Paused)
		}
		b.pass(30)
	}
	dir := filepath.Join(t.TempDir(), "checkpoints")
	o := b.fit(t.Context(), 1, func(tr *Trainer) {
		tr.Energy, tr.Checkpoint = b.energy(), Checkpoint{Dir: dir, EveryEpochs: 100, Keep: 10}
		tr.Guard = &Guard{Temperature: 90, ResumeBelow: 80, Thermometer: th.read, Every: time.Millisecond, Clock: b.clock}
	})
	if o.err != nil || !bytes.Equal(o.weights, want.weights) {
		t.Fatalf("%v, same weights: %v", o.err, bytes.Equal(o.weights, want.weights))
	}
	const cooling = "°C and was above 90 °C; it goes on at 80 °C"
	if got, want := strings.Join(b.pauses, "|"), "the temperature is 91 °C, above 90 °C|the temperature is 86 "+cooling+"|the temperature is 84 "+cooling+"|"; got != want {
		t.Errorf("paused:\n%s, expected\n%s", got, want)
	}
	if p := o.report.Phases; !near(p.Pause.Seconds, 90) || !near(p.Pause.Joules, 9000) || !near(p.Train.Joules, 8000) || !near(p.JoulesPerStep(), 1000) || !near(o.report.Usage.Joules, 9600+9000) {
		t.Errorf("%+v", p)
	}
	all, err := checkpoint.List(dir)
	if err != nil || len(all) == 0 || all[0].Step != 2 {
		t.Errorf("no checkpoint at the beginning of the pause: %v, %v", all, err)
	}
}

// In an outage a run waits until it ends; who wants to stop it then can, and the budget can.
func TestGuardOutage(t *testing.T) {
	plain := newBench(t)
	want := plain.fit(t.Context(), 1, func(*Trainer) {})
	window, err := schedule.ParseWindow("13:00-15:00 UTC")
	if err != nil {
		t.Fatal(err)
	}
	guarded := func(b *bench, tr *Trainer) {
		b.now = time.Date(2026, 3, 28, 12, 59, 35, 0, time.UTC)
		tr.Energy = b.energy()
		tr.Guard = &Guard{Outages: []schedule.Window{window}, Every: time.Millisecond, Clock: b.clock}
	}
	b := newBench(t)
	b.onPause = func(s *State) { b.pass(1800) }
	o := b.fit(t.Context(), 1, func(tr *Trainer) { guarded(b, tr) })
	if o.err != nil || !bytes.Equal(o.weights, want.weights) {
		t.Fatalf("%v, same weights: %v", o.err, bytes.Equal(o.weights, want.weights))
	}
	if len(b.pauses) != 5 || b.pauses[0] != "outage 13:00-15:00 UTC, until 15:00" || b.pauses[4] != "" {
		t.Errorf("pauses %q", b.pauses)
	}
	if p := o.report.Phases; !near(p.Pause.Seconds, 7200) || !near(p.Train.Seconds, 80) {
		t.Errorf("%+v", p)
	}

	ctx, cancel := context.WithCancel(t.Context())
	b = newBench(t)
	b.onPause = func(s *State) { cancel() }
	o = b.fit(ctx, 1, func(tr *Trainer) {
		guarded(b, tr)
		tr.Guard.Every = time.Hour // it is the context that ends the wait
	})
	var stopped *InterruptedError
	if !errors.As(o.err, &stopped) || stopped.Step != 3 || !errors.Is(o.err, context.Canceled) || b.pauses[len(b.pauses)-1] != "" {
		t.Errorf("cancelled: %v, %q", o.err, b.pauses)
	}
	b = newBench(t)
	b.onPause = func(s *State) { s.Interrupt("enough") }
	if o = b.fit(t.Context(), 1, func(tr *Trainer) { guarded(b, tr) }); !errors.As(o.err, &stopped) || stopped.Reason != "enough" || stopped.Step != 3 {
		t.Errorf("interrupted: %v", o.err)
	}
	b = newBench(t)
	b.onPause = func(s *State) { b.pass(60) }
	if o = b.fit(t.Context(), 1, func(tr *Trainer) {
		guarded(b, tr)
		tr.Energy.Budget = power.Budget{Time: 10 * time.Minute}
	}); !errors.As(o.err, new(*BudgetError)) || o.report.Usage.Seconds > 660 || o.report.Steps != 3 {
		t.Errorf("with a budget: %v, %+v", o.err, o.report.Usage)
	}
	// One that begins in an outage waits before its first step.
	b = newBench(t)
	b.onPause = func(s *State) {
		if s.Step != 0 {
			t.Errorf("it waits after step %d", s.Step)
		}
		b.pass(7200)
	}
	if o = b.fit(t.Context(), 1, func(tr *Trainer) {
		guarded(b, tr)
		b.now = b.now.Add(time.Hour)
	}); o.err != nil || !bytes.Equal(o.weights, want.weights) || len(b.pauses) != 2 {
		t.Errorf("from the beginning: %v, %q", o.err, b.pauses)
	}
}

// A guard that cannot work is an error at the beginning, and a warning in the midst.
func TestGuardBlind(t *testing.T) {
	for _, c := range []struct {
		guard Guard
		want  string
	}{
		{Guard{Temperature: 90}, "needs a Thermometer"},
		{Guard{Temperature: 90, Thermometer: (&thermometer{shows: []float64{-1}}).read}, "the guard of 90 °C cannot work: the sensor is gone"},
		{Guard{Temperature: -3, Thermometer: (&thermometer{shows: []float64{3}}).read}, "expected one above 0"},
		{Guard{Temperature: 70, ResumeBelow: 70, Thermometer: (&thermometer{shows: []float64{3}}).read}, "not below it"},
	} {
		b := newBench(t)
		if o := b.fit(t.Context(), 1, func(tr *Trainer) { tr.Guard = &c.guard }); o.err == nil || !strings.Contains(o.err.Error(), c.want) || o.report != nil {
			t.Errorf("%+v: %v", c.guard, o.err)
		}
	}
	b := newBench(t)
	var warned []string
	th := &thermometer{shows: []float64{20, 30, -1}}
	b.onStep = func(s *State) {
		if s.Step == 4 {
			if err := s.SetTemperature(60); err == nil {
				t.Error("a limit is taken of a thermometer that does not work")
			}
			th.shows = []float64{50}
			if err := s.SetTemperature(60); err != nil {
				t.Error(err)
			}
			th.shows = []float64{95, 49}
			th.looks = 0
		}
	}
	b.onPause = func(s *State) { b.pass(1) }
	o := b.fit(t.Context(), 1, func(tr *Trainer) {
		tr.Guard = &Guard{Temperature: 90, Thermometer: th.read, Every: time.Millisecond, Clock: b.clock}
		tr.Warn = func(message string) { warned = append(warned, message) }
	})
	if o.err != nil || len(warned) != 1 || !strings.Contains(warned[0], "the run goes on without it: the sensor is gone") || len(b.pauses) != 2 {
		t.Errorf("%v, %q, pauses %q", o.err, warned, b.pauses)
	}
}
