package sinter_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

func floats(v ...float32) *sinter.Tensor { return sinter.FromFloats(v, len(v)) }

func wantFloats(t *testing.T, got *sinter.Tensor, want ...float32) {
	t.Helper()
	if v := got.Floats(); !slices.Equal(v, want) {
		t.Errorf("got %v, want %v", v, want)
	}
}

func TestReaders(t *testing.T) {
	x := sinter.FromFloats([]float32{-1.5, 0, 2, 300}, 2, 2)
	for _, d := range []sinter.DType{sinter.Float64, sinter.Float32, sinter.Float16, sinter.BFloat16} {
		y := x.To(d)
		if got := y.Float64s(); !slices.Equal(got, []float64{-1.5, 0, 2, 300}) {
			t.Errorf("%v: %v", d, got)
		}
		if got := y.Ints(); !slices.Equal(got, []int64{-1, 0, 2, 300}) {
			t.Errorf("%v: %v", d, got)
		}
		if got := y.Bools(); !slices.Equal(got, []bool{true, false, true, true}) {
			t.Errorf("%v: %v", d, got)
		}
	}
	for _, d := range []sinter.DType{sinter.Int64, sinter.Int32, sinter.Int8, sinter.Uint8} {
		y := sinter.FromInts([]int64{7, 0, 1}, 3).To(d)
		if got := y.Floats(); !slices.Equal(got, []float32{7, 0, 1}) {
			t.Errorf("%v: %v", d, got)
		}
	}
	if s := x.String(); s != "float32[2 2] [[-1.5 0] [2 300]]" {
		t.Errorf("printed as %q", s)
	}
	if s := sinter.Arange(sinter.Int64, 0, 20, 1).String(); s != "int64[20] [0 1 2 3 … 16 17 18 19]" {
		t.Errorf("printed as %q", s)
	}
	if s := sinter.FromBools([]bool{true}).Reshape().String(); s != "bool[] true" {
		t.Errorf("printed as %q", s)
	}
	b, err := sinter.FromBytes(sinter.Uint8, []byte{1, 2}, 2).Bytes()
	if err != nil || !slices.Equal(b, []byte{1, 2}) {
		t.Errorf("bytes %v, %v", b, err)
	}
}

// A result is computed once, and its history is let go.
func TestEvaluatedOnce(t *testing.T) {
	x := floats(1, 2, 3).Exp()
	if err := sinter.Eval(x); err != nil {
		t.Fatal(err)
	}
	before := sinter.ReadStats().Evaluations
	if err := sinter.Eval(x, x); err != nil {
		t.Fatal(err)
	}
	if n := sinter.ReadStats().Evaluations - before; n != 0 {
		t.Errorf("%d evaluations of what is known", n)
	}
	// One output twice, a view of it, a literal and an input are five outputs.
	y := x.Add(x)
	v, c, in := y.Reshape(3, 1), sinter.Ones(sinter.Float32, 2), floats(4)
	if err := sinter.Eval(y, y, v, c, in, y.Detach()); err != nil {
		t.Fatal(err)
	}
	wantFloats(t, y.Sub(v.Reshape(3)), 0, 0, 0)
	wantFloats(t, c, 1, 1)
	wantFloats(t, in, 4)
}

func TestBuildErrorsNameTheLine(t *testing.T) {
	defer func() {
		err, ok := recover().(error)
		var e *sinter.BuildError
		if !ok || !errors.As(err, &e) {
			t.Fatalf("panicked with %v", err)
		}
		for _, want := range []string{"Add", "[2]", "[3]", "eval_test.go:"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q has no %q", err, want)
			}
		}
	}()
	floats(1, 2).Add(floats(1, 2, 3))
}

func TestVariables(t *testing.T) {
	v := sinter.NewVariable("v", floats(1, 2))
	old := v.Value()
	if old != v.Value() {
		t.Error("two tensors for one value")
	}
	late := old.MulScalar(10)
	v.Assign(old.AddScalar(1))
	wantFloats(t, late, 10, 20) // nothing is overwritten yet
	if err := sinter.EvalAssign([]*sinter.Variable{v}); err != nil {
		t.Fatal(err)
	}
	wantFloats(t, v.Value(), 2, 3)
	stale := old.MulScalar(5)
	err := sinter.Eval(stale)
	if err == nil || !strings.Contains(err.Error(), "variable v") || !strings.Contains(err.Error(), "eval_test.go:") {
		t.Errorf("a tensor on an overwritten value: %v", err)
	}
	// Several assignments before an evaluation follow each other.
	for range 3 {
		v.Assign(v.Value().MulScalar(2))
	}
	loss := v.Value().Sum()
	if err := sinter.EvalAssign([]*sinter.Variable{v}, loss); err != nil {
		t.Fatal(err)
	}
	if loss.Float() != 40 {
		t.Errorf("loss %v", loss.Float())
	}
	wantFloats(t, v.Value(), 16, 24)
	if err := v.SetBytes(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	wantFloats(t, v.Value(), 0, 0)
	if err := v.SetBytes(make([]byte, 4)); err == nil {
		t.Error("four bytes were accepted for two floats")
	}
	defer func() {
		if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "variable v is float32[2]") {
			t.Errorf("a value of another shape: %v", err)
		}
	}()
	v.Assign(floats(1, 2, 3))
}

// Values that are read and overwritten in one program: each reader sees the old one.
func TestAssignmentsReadOldValues(t *testing.T) {
	a, b := sinter.NewVariable("a", floats(1, 2, 3, 4)), sinter.NewVariable("b", floats(5, 6, 7, 8))
	x, y := a.Value(), b.Value()
	a.Assign(y) // they are exchanged
	b.Assign(x)
	sum := x.Add(y).Sum()
	reversed := x.Flip(0).Mul(y)
	if err := sinter.EvalAssign([]*sinter.Variable{a, b}, sum, reversed); err != nil {
		t.Fatal(err)
	}
	if sum.Float() != 36 {
		t.Errorf("sum %v", sum.Float())
	}
	wantFloats(t, reversed, 20, 18, 14, 8)
	wantFloats(t, a.Value(), 5, 6, 7, 8)
	wantFloats(t, b.Value(), 1, 2, 3, 4)
	// A value that is read at other places than it is written.
	a.Assign(a.Value().Flip(0).Add(a.Value()))
	m := a.Value().Reshape(2, 2)
	if err := sinter.EvalAssign([]*sinter.Variable{a}); err != nil {
		t.Fatal(err)
	}
	wantFloats(t, a.Value(), 13, 13, 13, 13)
	wantFloats(t, m.MatMul(m).Sum(), 4*2*169)
	// A matrix that is multiplied by itself and overwritten with the product.
	w := sinter.NewVariable("w", sinter.FromFloats([]float32{1, 1, 0, 1}, 2, 2))
	for range 3 {
		w.Assign(w.Value().MatMul(w.Value()))
		if err := sinter.EvalAssign([]*sinter.Variable{w}); err != nil {
			t.Fatal(err)
		}
	}
	wantFloats(t, w.Value(), 1, 8, 0, 1)
}

func TestAlsoAssign(t *testing.T) {
	count := sinter.NewVariable("count", floats(0))
	x := floats(1, 2)
	for want := float32(1); want <= 3; want++ {
		y := x.MulScalar(2).AlsoAssign(count, count.Value().AddScalar(1))
		// Used twice before it is evaluated, as a layer may be.
		z := y.AddScalar(1).AlsoAssign(count, count.Value().AddScalar(1))
		if err := sinter.Eval(z); err != nil {
			t.Fatal(err)
		}
		wantFloats(t, count.Value(), 2*want)
		wantFloats(t, z, 3, 5)
	}
	// The last of several assignments counts, whatever the order of the graph.
	three := x.MulScalar(3)
	pair := sinter.NewVariable("pair", floats(0, 0))
	y := x.MulScalar(2).Add(three).AlsoAssign(pair, x.AddScalar(1))
	if err := sinter.Eval(y.AddScalar(1).AlsoAssign(pair, three)); err != nil {
		t.Fatal(err)
	}
	wantFloats(t, pair.Value(), 3, 6)
	// What has been carried out is not repeated when something else is built on the
	// same node, and an overwritten variable forgets what was to be assigned.
	once := sinter.NewVariable("once", floats(0))
	y = x.MulScalar(2).AlsoAssign(once, once.Value().AddScalar(1))
	wantFloats(t, y.AddScalar(1), 3, 5)
	wantFloats(t, y.AddScalar(2), 4, 6)
	wantFloats(t, once.Value(), 1)
	late := x.MulScalar(2).AlsoAssign(once, floats(9).AddScalar(0))
	if err := once.SetBytes(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	wantFloats(t, late, 2, 4)
	wantFloats(t, once.Value(), 0)
	g := sinter.Grad(x.Mul(x).AlsoAssign(count, count.Value()).Sum(), x)
	wantFloats(t, g[0], 2, 4)
}

func TestHostBuffer(t *testing.T) {
	b := sinter.NewHostBuffer(sinter.Float32, 3, 2)
	copy(b.Floats(), []float32{1, 2, 3, 4, 5, 6})
	first := b.Tensor(2)
	wantFloats(t, first.Sum(1), 3, 7)
	later := b.Tensor(3).Sum()
	b.Reuse()
	copy(b.Floats(), []float32{9, 9, 9, 9, 9, 9})
	if err := sinter.Eval(later); err == nil || !strings.Contains(err.Error(), "batch") {
		t.Errorf("a tensor of the old content: %v", err)
	}
	wantFloats(t, b.Tensor(1), 9, 9)
	// Two parts of one buffer in one program.
	wantFloats(t, b.Tensor(3).Sum(0).Add(b.Tensor(1).Reshape(2)), 36, 36)
}

func TestFindNonFinite(t *testing.T) {
	x := floats(1, 0, 2)
	loss := x.Sub(x).AddScalar(-1).Log().Mean()
	op, site, err := sinter.FindNonFinite(x.Sum(), loss)
	if err != nil || op != "log" || !strings.Contains(site, "eval_test.go:") {
		t.Errorf("%s at %s, %v", op, site, err)
	}
	bad := sinter.NewVariable("weights", floats(float32(math.NaN())))
	if op, site, err = sinter.FindNonFinite(bad.Value().Exp()); op != "input" || site != "weights" || err != nil {
		t.Errorf("%s at %s, %v", op, site, err)
	}
	// An infinity that a mask puts in is none of our business.
	mask := sinter.Where(x.GtScalar(0.5), x, sinter.Scalar(math.Inf(-1)))
	if op, site, err = sinter.FindNonFinite(mask.Softmax(0)); op != "" || site != "" || err != nil {
		t.Errorf("%s at %s, %v", op, site, err)
	}
}

// train makes some steps and returns the weights.
func train(t *testing.T, steps int, p sinter.Precision) []byte {
	t.Helper()
	sinter.Seed(7)
	model := models.NewLeNet(models.LeNetConfig{})
	opt := optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)}, optim.ClipNorm(1), optim.Precision(p))
	x, y := sinter.Rand(32, 1, 28, 28), labels(32, 10)
	for range steps {
		if err := opt.Step(nn.CrossEntropy(model.Forward(x), y)); err != nil {
			t.Fatal(err)
		}
	}
	var all []byte
	for _, p := range nn.State(model) {
		all = append(all, p.Bytes()...)
	}
	return all
}

// The number of processors changes no bit. Workers are started once, so that other
// processes do the training.
func TestSameBitsAtAnyGOMAXPROCS(t *testing.T) {
	const key = "SINTER_TEST_DIGEST"
	if os.Getenv(key) != "" {
		fmt.Printf("digest %x\n", sha256.Sum256(append(train(t, 5, sinter.FP32), train(t, 3, sinter.BF16)...)))
		return
	}
	digest := func(procs string) string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSameBitsAtAnyGOMAXPROCS$")
		cmd.Env = append(os.Environ(), key+"=1", "GOMAXPROCS="+procs)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "digest ") {
			t.Fatalf("GOMAXPROCS=%s: %v\n%s", procs, err, out)
		}
		return strings.SplitN(string(out), "\n", 2)[0]
	}
	one := digest("1")
	for _, procs := range []string{"2", "3", "8"} {
		if d := digest(procs); d != one {
			t.Errorf("GOMAXPROCS=%s: %s, with 1 it was %s", procs, d, one)
		}
	}
}

// In the steady state a step allocates on Go's heap what it takes to build the graph,
// whatever the size of the tensors, and no memory is lost.
func TestSteadyState(t *testing.T) {
	perStep := func(width int) (heap uint64, used int64) {
		model := models.NewMLP(models.MLPConfig{Inputs: width, Hidden: []int{width}, Outputs: 10})
		opt := optim.New(model, optim.Adam{LR: optim.Constant(1e-3)})
		x, y := sinter.Rand(16, width), labels(16, 10)
		step := func() {
			if err := opt.Step(nn.CrossEntropy(model.Forward(x), y)); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			step()
		}
		runtime.GC()
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		start := sinter.ReadStats().UsedBytes
		const steps = 200
		for range steps {
			step()
		}
		runtime.ReadMemStats(&b)
		return (b.TotalAlloc - a.TotalAlloc) / steps, sinter.ReadStats().UsedBytes - start
	}
	small, usedSmall := perStep(16)
	large, usedLarge := perStep(512)
	if large > small+small/10+4096 {
		t.Errorf("a step of 16 units allocates %d bytes, one of 512 units %d", small, large)
	}
	// The loss of each step is kept until the collector comes by; nothing larger is.
	if most := int64(200 * 64); usedSmall > most || usedLarge > most {
		t.Errorf("after 200 steps %d and %d bytes more are in use", usedSmall, usedLarge)
	}
}
