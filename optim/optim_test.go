package optim

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
)

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*max(1, math.Abs(want))) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// Values written down from the formulas in the comments, at the corners.
func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Schedule
		step int
		want float64
	}{
		{"constant", Constant(3), 100, 3},
		{"func", Func(func(s int) float64 { return float64(s) }), 4, 4},
		{"step", Step{Initial: 1, Every: 10}, 9, 1},
		{"step", Step{Initial: 1, Every: 10}, 20, 0.01},
		{"multistep", MultiStep{Initial: 1, Gamma: 0.5, Milestones: []int{3, 7}}, 2, 1},
		{"multistep", MultiStep{Initial: 1, Gamma: 0.5, Milestones: []int{3, 7}}, 7, 0.25},
		{"exponential", Exponential{Initial: 2, Gamma: 0.5}, 3, 0.25},
		{"exponential", Exponential{Initial: 2, Gamma: 0.25, Every: 2}, 1, 1},
		{"cosine", Cosine{Peak: 1, Steps: 10}, 0, 1},
		{"cosine", Cosine{Peak: 1, Steps: 10, Final: 0.2}, 5, 0.6},
		{"cosine", Cosine{Peak: 1, Steps: 10, Final: 0.2}, 12, 0.2},
		{"cosine warm-up", Cosine{Peak: 1, Warmup: 4, Steps: 14}, 0, 0.25},
		{"cosine warm-up", Cosine{Peak: 1, Warmup: 4, Steps: 14}, 3, 1},
		{"cosine warm-up", Cosine{Peak: 1, Warmup: 4, Steps: 14}, 9, 0.5},
		{"cosine without end", Cosine{Peak: 1, Warmup: 4}, 1000, 1},
		{"restarts", CosineRestarts{Peak: 1, Period: 4}, 6, 0.5},
		{"restarts doubling", CosineRestarts{Peak: 1, Period: 4, Mult: 2}, 8, 0.5},
		{"one-cycle", OneCycle{Peak: 1, Steps: 100}, 0, 0.04},
		{"one-cycle", OneCycle{Peak: 1, Steps: 100}, 29, 1},
		{"one-cycle", OneCycle{Peak: 1, Steps: 100}, 64, (1 + 0.04e-4) / 2},
		{"one-cycle", OneCycle{Peak: 1, Steps: 100}, 99, 0.04e-4},
		{"one-cycle of one step's warm-up", OneCycle{Peak: 1, Steps: 5, PctStart: 0.2}, 0, 1},
		{"one-cycle linear", OneCycle{Peak: 1, Steps: 21, PctStart: 0.5, Linear: true, DivFactor: 10}, 1, 0.1 + 0.9/9.5},
		{"linear", Linear{From: 1, To: 3, Steps: 4}, 1, 1.5},
		{"linear", Linear{From: 1, To: 3, Steps: 4}, 9, 3},
		{"polynomial", Polynomial{Initial: 1, Steps: 4, Power: 2}, 1, 0.5625},
		{"polynomial", Polynomial{Initial: 1, Final: 0.1, Steps: 4}, 8, 0.1},
		{"sequential", Sequential{[]Schedule{Constant(1), Linear{From: 2, To: 4, Steps: 2}}, []int{5}}, 4, 1},
		{"sequential", Sequential{[]Schedule{Constant(1), Linear{From: 2, To: 4, Steps: 2}}, []int{5}}, 6, 3},
		{"with steps", WithSteps(Cosine{Peak: 1}, 10), 5, 0.5},
		{"with steps", WithSteps(Cosine{Peak: 1, Steps: 20}, 10), 10, 0.5},
	} {
		if got := c.s.At(c.step); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s at %d is %v, want %v", c.name, c.step, got, c.want)
		}
	}
}

func TestReduceOnPlateau(t *testing.T) {
	s := &ReduceOnPlateau{Initial: 1, Factor: 0.5, Patience: 2, Cooldown: 1, Min: 0.2}
	var rates []float64
	for _, loss := range []float64{5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4} {
		s.Observe(loss)
		rates = append(rates, s.At(0))
	}
	// Three reports without improvement halve, then one is skipped.
	want := []float64{1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2}
	if !slices.Equal(rates, want) {
		t.Errorf("got  %v\nwant %v", rates, want)
	}
	up := &ReduceOnPlateau{Initial: 1, Patience: NoPatience, Max: true}
	for _, accuracy := range []float64{0.1, 0.2, 0.2} {
		up.Observe(accuracy)
	}
	near(t, "rate of a stalled accuracy", up.At(0), 0.1)
}

func scalar(v float64) *sinter.Variable {
	x := sinter.NewVariable("", sinter.FromFloats([]float32{float32(v)}, 1))
	x.Trainable = true
	return x
}

func get(v *sinter.Variable) float64 { return v.Value().Float64s()[0] }

// The first steps of each rule on the loss x² from x = 1, followed by hand: the
// gradient is 2x.
func TestRules(t *testing.T) {
	adam2 := func() float64 { // second step of Adam, LR 0.1
		m, v, x := 0.0, 0.0, 1.0
		for k := 1.0; k <= 2; k++ {
			g := 2 * x
			m, v = 0.9*m+0.1*g, 0.999*v+0.001*g*g
			x -= 0.1 * (m / (1 - math.Pow(0.9, k))) / (math.Sqrt(v/(1-math.Pow(0.999, k))) + 1e-8)
		}
		return x
	}()
	lr := Constant(0.1)
	for _, c := range []struct {
		name string
		rule Rule
		want float64 // after two steps
	}{
		{"sgd", SGD{LR: lr}, 0.64},
		{"sgd decay", SGD{LR: lr, WeightDecay: 1}, 0.49},
		{"sgd momentum", SGD{LR: lr, Momentum: 0.5}, 0.8 - 0.1*(0.5*2+1.6)},
		{"sgd dampening", SGD{LR: lr, Momentum: 0.5, Dampening: 0.5}, 0.8 - 0.1*(0.5*2+0.8)},
		{"sgd nesterov", SGD{LR: lr, Momentum: 0.5, Nesterov: true}, 0.7 - 0.1*(1.4+0.5*(0.5*2+1.4))},
		{"adam", Adam{LR: lr}, adam2},
		{"lion", Lion{LR: lr}, 0.8},
		{"lion decay", Lion{LR: lr, WeightDecay: 1}, 0.9*0.8 - 0.1},
		{"adagrad", Adagrad{LR: lr}, 0.9 - 0.1*1.8/math.Sqrt(4+1.8*1.8)},
		{"adagrad decay", Adagrad{LR: lr, LRDecay: 1}, 0.9 - 0.05*1.8/math.Sqrt(4+1.8*1.8)},
		{"rmsprop", RMSprop{LR: lr, Alpha: 0.75}, rms()},
	} {
		x := scalar(1)
		o := New([]*sinter.Variable{x}, c.rule)
		for range 2 {
			if err := o.Step(x.Value().Square().Sum()); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		near(t, c.name, get(x), c.want)
	}
}

// rms is two steps of RMSprop on x², LR 0.1, alpha 0.75.
func rms() float64 {
	x, s := 1.0, 0.0
	for range 2 {
		g := 2 * x
		s = 0.75*s + 0.25*g*g
		x -= 0.1 * g / (math.Sqrt(s) + 1e-8)
	}
	return x
}

func TestUnusedAndFrozen(t *testing.T) {
	a, b, c := scalar(1), scalar(2), scalar(3)
	c.Trainable = false
	o := New([]*sinter.Variable{a, b, c}, Adam{LR: Constant(0.1), WeightDecay: 1})
	if err := o.Step(a.Value().Mul(c.Value()).Sum()); err != nil {
		t.Fatal(err)
	}
	if get(a) == 1 || get(b) != 2 || get(c) != 3 {
		t.Errorf("got %v %v %v; only the first was to move", get(a), get(b), get(c))
	}
	if u := o.Unused(); len(u) != 1 || u[0] != b {
		t.Errorf("unused: %v", u)
	}
	if err := o.Step(sinter.FromFloats([]float32{1}, 1).Sum()); err == nil {
		t.Error("a loss that depends on nothing was accepted")
	}
}

func TestGroups(t *testing.T) {
	a, b, c := scalar(1), scalar(1), scalar(1)
	c.Name = "bias"
	o := New([]*sinter.Variable{a, b, c}, SGD{LR: Constant(0.1), WeightDecay: 1}, Groups(
		Group{Params: []*sinter.Variable{b}, LRScale: 0.5},
		Group{Match: func(v *sinter.Variable) bool { return v.Name == "bias" }, WeightDecay: new(0.0)},
	))
	if err := o.Step(a.Value().Add(b.Value()).Add(c.Value()).Sum()); err != nil {
		t.Fatal(err)
	}
	near(t, "by the rule", get(a), 0.8)
	near(t, "half the rate", get(b), 0.9)
	near(t, "no decay", get(c), 0.9)
}

func TestClipping(t *testing.T) {
	step := func(opts ...Option) (a, b float64, o *Optimizer) {
		x, y := scalar(0), scalar(0)
		o = New([]*sinter.Variable{x, y}, SGD{LR: Constant(1)}, opts...)
		if err := o.Step(x.Value().MulScalar(3).Add(y.Value().MulScalar(-4)).Sum()); err != nil {
			t.Fatal(err)
		}
		return get(x), get(y), o
	}
	a, b, o := step(ClipNorm(1))
	near(t, "clipped to norm 1", a, -0.6)
	near(t, "clipped to norm 1", b, 0.8)
	near(t, "the norm", o.GradNorm(), 5)
	a, b, _ = step(ClipValue(3.5))
	near(t, "within the value", a, -3)
	near(t, "clipped by value", b, 3.5)
}

// A loss that is not finite changes nothing, and training can go on after it.
func TestNonFinite(t *testing.T) {
	x := scalar(1)
	o := New([]*sinter.Variable{x}, Adam{LR: Constant(0.1)}, ClipNorm(1))
	step := func(scale float64) error {
		return o.Step(x.Value().Square().Mul(sinter.RuntimeScalar(sinter.Float32, scale)).Sum())
	}
	if err := step(1); err != nil {
		t.Fatal(err)
	}
	before := get(x)
	state := bytesOf(o.State())
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		err := step(bad)
		var e *NonFiniteError
		if !errors.As(err, &e) || e.Step != 1 || !(math.IsNaN(e.Loss) || math.IsInf(e.Loss, 0)) {
			t.Fatalf("got %v", err)
		}
		if get(x) != before || !slices.Equal(bytesOf(o.State()), state) || o.Steps() != 1 {
			t.Fatalf("%v changed the parameter from %v to %v, or the state", bad, before, get(x))
		}
	}
	if err := step(1); err != nil || get(x) == before {
		t.Errorf("the next step: %v, parameter %v", err, get(x))
	}
}

// So do gradients that are not, though the loss is: the slope of √x is infinite at 0.
func TestNonFiniteGradients(t *testing.T) {
	x := sinter.NewVariable("x", sinter.FromFloats([]float32{4, 0}, 2))
	o := New([]*sinter.Variable{x}, SGD{LR: Constant(0.1)})
	err := o.Step(x.Value().Sqrt().Sum())
	var e *NonFiniteError
	if !errors.As(err, &e) || e.Loss != 2 || !strings.Contains(err.Error(), "gradients") {
		t.Fatalf("got %v", err)
	}
	if got := x.Value().Floats(); got[0] != 4 || got[1] != 0 {
		t.Errorf("the variable became %v", got)
	}
}

func bytesOf(vars []*sinter.Variable) (s []string) {
	for _, v := range vars {
		s = append(s, v.Name+string(v.Bytes()))
	}
	return s
}

func TestStepErrors(t *testing.T) {
	l := nn.NewLinear(3, 2)
	o := New(l, SGD{})
	err := o.Step(l.Forward(sinter.Ones(sinter.Float32, 4, 3)))
	var e *sinter.BuildError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "[4 2]") {
		t.Errorf("a loss that is no scalar gave %v", err)
	}
}

// A model trained on, and one that goes on from the saved state, stay equal bit by
// bit.
func TestStateResumes(t *testing.T) {
	for name, rule := range map[string]func() Rule{
		"adamw": func() Rule {
			return AdamW{LR: &ReduceOnPlateau{Initial: 0.1, Patience: NoPatience}, WeightDecay: 0.1, AMSGrad: true}
		},
		"sgd": func() Rule { return SGD{LR: Linear{From: 0.1, To: 0.01, Steps: 5}, Momentum: 0.9, Dampening: 0.5} },
	} {
		x := sinter.FromFloats([]float32{1, 2, 3, -1, 0.5, 2}, 2, 3)
		y := sinter.FromFloats([]float32{1, 0, 0, 1}, 2, 2)
		train := func(m *nn.Linear, o *Optimizer, n int) {
			for i := range n {
				if err := o.Step(nn.MSE(m.Forward(x), y)); err != nil {
					t.Fatal(err)
				}
				if i == 1 {
					o.Observe(1)
					o.Observe(1)
				}
			}
		}
		a := nn.NewLinear(3, 2)
		oa := New(a, rule())
		train(a, oa, 3)

		b := nn.NewLinear(3, 2)
		ob := New(b, rule())
		if err := nn.LoadState(b, tensors(nn.State(a)), true); err != nil {
			t.Fatal(err)
		}
		if err := ob.LoadState(tensors(oa.State())); err != nil {
			t.Fatal(err)
		}
		if oa.LR() != ob.LR() || oa.Steps() != ob.Steps() {
			t.Errorf("%s: rate %v after %d steps, then %v after %d", name, oa.LR(), oa.Steps(), ob.LR(), ob.Steps())
		}
		train(a, oa, 4)
		train(b, ob, 4)
		if !slices.Equal(a.Weight.Bytes(), b.Weight.Bytes()) || !slices.Equal(bytesOf(oa.State()), bytesOf(ob.State())) {
			t.Errorf("%s: the resumed run differs", name)
		}
	}
}

// tensors copies variables' contents, as a checkpoint does.
func tensors(vars []*sinter.Variable) map[string]*sinter.Tensor {
	m := map[string]*sinter.Tensor{}
	for _, v := range vars {
		m[v.Name] = sinter.FromBytes(v.DType(), v.Bytes(), v.Shape()...)
	}
	return m
}

func TestLoadStateRefuses(t *testing.T) {
	l := nn.NewLinear(2, 2)
	o := New(l, Adam{})
	good := func() map[string]*sinter.Tensor { return tensors(o.State()) }
	for name, spoil := range map[string]func(m map[string]*sinter.Tensor){
		"weight.exp_avg": func(m map[string]*sinter.Tensor) { delete(m, "weight.exp_avg") },
		"bias.exp_avg":   func(m map[string]*sinter.Tensor) { m["bias.exp_avg"] = sinter.Zeros(sinter.Float32, 3) },
		"other":          func(m map[string]*sinter.Tensor) { m["other"] = sinter.Zeros(sinter.Float32, 3) },
	} {
		m := good()
		spoil(m)
		if err := o.LoadState(m); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := o.LoadState(good()); err != nil {
		t.Error(err)
	}
}

// The schedule and the bias corrections change every step; the program does not.
func TestNoRecompile(t *testing.T) {
	l := nn.NewLinear(3, 2)
	o := New(l, AdamW{LR: Cosine{Peak: 0.1, Warmup: 3, Steps: 8}, WeightDecay: 0.1}, ClipNorm(1),
		Groups(Group{Params: []*sinter.Variable{l.Bias}, LRScale: 0.5}))
	x := sinter.Ones(sinter.Float32, 4, 3)
	step := func() {
		if err := o.Step(l.Forward(x).Square().Mean()); err != nil {
			t.Fatal(err)
		}
	}
	step()
	step()
	before := sinter.ReadStats().Compiles
	for range 10 {
		step()
	}
	if n := sinter.ReadStats().Compiles - before; n != 0 {
		t.Errorf("%d compilations in ten further steps", n)
	}
}

// The factor multiplies the schedule's rate, of groups as well, and belongs to the state.
func TestScaleLR(t *testing.T) {
	v := sinter.NewVariable("v", sinter.FromFloats([]float32{1}, 1))
	w := sinter.NewVariable("w", sinter.FromFloats([]float32{1}, 1))
	make := func() *Optimizer {
		return New([]*sinter.Variable{v, w}, SGD{LR: Step{Initial: 0.5, Gamma: 0.5, Every: 1}},
			Groups(Group{Params: []*sinter.Variable{w}, LRScale: 2}))
	}
	o := make()
	o.ScaleLR(0.1)
	if rates := o.LRs(); !slices.Equal(rates, []float64{0.05, 0.1}) {
		t.Errorf("learning rates %v, expected 0.05 and 0.1", rates)
	}
	if err := o.Step(v.Value().Add(w.Value()).Sum()); err != nil {
		t.Fatal(err)
	}
	if a, b := v.Value().Float(), w.Value().Float(); math.Abs(a-0.95) > 1e-7 || math.Abs(b-0.9) > 1e-7 {
		t.Errorf("v = %g and w = %g after a step of 0.05 and of 0.1", a, b)
	}
	state := map[string]*sinter.Tensor{}
	for _, s := range o.State() {
		state[s.Name] = s.Value()
	}
	again := make()
	if err := again.LoadState(state); err != nil {
		t.Fatal(err)
	}
	if again.LR() != 0.25*0.1 || again.LRFactor() != 0.1 {
		t.Errorf("the restored optimizer has the learning rate %g and the factor %g", again.LR(), again.LRFactor())
	}
}

// The norm is known without clipping too, and an infinite gradient is one whatever it is
// clipped to.
func TestGradNorm(t *testing.T) {
	v := sinter.NewVariable("v", sinter.FromFloats([]float32{3, 4}, 2))
	o := New([]*sinter.Variable{v}, SGD{LR: Constant(0.1)})
	if err := o.Step(v.Value().Square().Sum()); err != nil {
		t.Fatal(err)
	}
	near(t, "the norm of (6, 8)", o.GradNorm(), 10)

	for _, clip := range []Option{ClipValue(1), ClipNorm(1)} {
		root := sinter.NewVariable("root", sinter.FromFloats([]float32{0}, 1)) // the square root of 0 has an infinite slope
		o = New([]*sinter.Variable{root}, SGD{LR: Constant(0.1)}, clip)
		var bad *NonFiniteError
		if err := o.Step(root.Value().Sqrt().Sum()); !errors.As(err, &bad) || root.Value().Float() != 0 {
			t.Errorf("an infinite gradient gave %v and moved the variable to %g", err, root.Value().Float())
		}
	}
}
