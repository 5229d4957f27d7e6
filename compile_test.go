package sinter_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// dropped is a network with what changes from step to step by itself: dropout's
// counters and running statistics.
type dropped struct {
	Conv *nn.Conv2D
	Norm *nn.BatchNorm2D
	Drop *nn.Dropout
	Out  *nn.Linear
}

func (d *dropped) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = nn.ReLU(d.Norm.Forward(d.Conv.Forward(x)))
	return d.Out.Forward(d.Drop.Forward(x).Flatten(1))
}

// Compiled steps leave the same bits in every variable as steps that are recorded each
// time: over batches of two sizes, with schedules, clipping, dropout, running statistics
// and a parameter that is frozen on the way.
func TestCompiledStepsHaveTheSameBits(t *testing.T) {
	warm := optim.Cosine{Peak: 1e-2, Warmup: 3, Steps: 12}
	cases := []struct {
		name  string
		model func() nn.Module
		rule  optim.Rule
		opts  []optim.Option
		shape []int // of an example; nil: tokens
	}{
		{"mlp", func() nn.Module {
			return models.NewMLP(models.MLPConfig{Inputs: 12, Hidden: []int{16}, Outputs: 5})
		}, optim.SGD{LR: optim.Constant(0.1), Momentum: 0.9, Dampening: 0.1}, nil, []int{12}},
		{"dropout", func() nn.Module {
			return &dropped{nn.NewConv2D(1, 4, 3), nn.NewBatchNorm2D(4), nn.NewDropout(0.3), nn.NewLinear(4*4*4, 5)}
		}, optim.Adam{LR: warm}, nil, []int{1, 6, 6}},
		{"bf16", func() nn.Module {
			return models.NewMLP(models.MLPConfig{Inputs: 12, Hidden: []int{16}, Outputs: 5})
		}, optim.Adam{LR: warm}, []optim.Option{optim.Precision(sinter.BF16)}, []int{12}},
		{"gpt", func() nn.Module {
			return models.NewGPT(models.GPTConfig{Vocab: 5, Block: 8, Layers: 2, Heads: 2, Embed: 8, Dropout: 0.1})
		}, optim.AdamW{LR: warm, WeightDecay: 0.1}, []optim.Option{optim.ClipNorm(0.5)}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			run := func(compiled bool) (losses []float64, state [][]byte) {
				sinter.Seed(3)
				model := c.model()
				opt := optim.New(model, c.rule, c.opts...)
				loss := func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
					pred := model.Forward(in[0])
					if c.shape == nil {
						return nn.SequenceCrossEntropy(pred, in[1]), []*sinter.Tensor{pred}
					}
					return nn.CrossEntropy(pred, in[1]), []*sinter.Tensor{pred}
				}
				step := opt.Compile(loss)
				params := nn.Parameters(model)
				for i := range 10 {
					n := 4 + i%3/2*2 // 4, 4, 6, 4, 4, 6, …
					x, y := sinter.Rand(append([]int{n}, c.shape...)...), sinter.RandInt(0, 5, n)
					if c.shape == nil {
						x, y = sinter.RandInt(0, 5, n, 8), sinter.RandInt(0, 5, n, 8)
					}
					params[len(params)-1].Trainable = i != 4 && i != 5
					if compiled {
						l, also, err := step.Step(x, y)
						if err != nil {
							t.Fatal(err)
						}
						losses = append(losses, l.Float(), also[0].Sum().Float())
						continue
					}
					l, also := loss([]*sinter.Tensor{x, y})
					if err := opt.Step(l, also...); err != nil {
						t.Fatal(err)
					}
					losses = append(losses, l.Float(), also[0].Sum().Float())
				}
				for _, v := range append(nn.State(model), opt.State()...) {
					state = append(state, v.Bytes())
				}
				return losses, state
			}
			losses, state := run(false)
			compiledLosses, compiledState := run(true)
			if !slices.Equal(losses, compiledLosses) {
				t.Errorf("losses %v\ncompiled %v", losses, compiledLosses)
			}
			for i := range state {
				if !bytes.Equal(state[i], compiledState[i]) {
					t.Errorf("variable %d differs", i)
				}
			}
		})
	}
}

func TestCompile(t *testing.T) {
	traced := 0
	v := sinter.NewVariable("v", floats(1, 2))
	f := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		traced++
		y := in[0].Mul(v.Value())
		return []*sinter.Tensor{y, in[0], v.Value(), y, y.Sum()}
	})
	call := func(want ...float32) []*sinter.Tensor {
		t.Helper()
		x := floats(3, 4)
		out, err := f.Call(x)
		if err != nil {
			t.Fatal(err)
		}
		wantFloats(t, out[0], want...)
		if out[1] != x || len(out) != 5 {
			t.Error("an input that is handed through is not itself")
		}
		wantFloats(t, out[3], want...)
		wantFloats(t, out[4], want[0]+want[1])
		return out
	}
	first := call(3, 8)
	wantFloats(t, first[2], 1, 2)
	v.Assign(floats(5, 6)) // evaluated by the call
	wantFloats(t, call(15, 24)[2], 5, 6)
	if err := v.SetBytes(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	call(0, 0)
	wantFloats(t, first[0], 3, 8) // results are the caller's
	// Something not evaluated, of another type.
	out, err := f.Call(sinter.FromInts([]int64{1, 2}, 2).AddScalar(1))
	if err != nil || out[0].DType() != sinter.Float32 || traced != 2 {
		t.Errorf("%v after %d traces, %v", out, traced, err)
	}
	call(0, 0)
	if traced != 2 {
		t.Errorf("traced %d times", traced)
	}
	f.Reset()
	call(0, 0)
	if traced != 3 {
		t.Errorf("traced %d times", traced)
	}

	// A variable's value as an input of a function that assigns to the variable.
	swap := sinter.CompileAssign(func(in []*sinter.Tensor) ([]*sinter.Variable, []*sinter.Tensor) {
		v.Assign(in[0].Flip(0).AddScalar(1))
		return []*sinter.Variable{v}, []*sinter.Tensor{in[0].MulScalar(2)}
	})
	if err := v.SetBytes(sinterBytes(7, 9)); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]float32{{14, 18}, {20, 16}} {
		old := v.Value()
		out, err := swap.Call(old)
		if err != nil {
			t.Fatal(err)
		}
		wantFloats(t, out[0], want...)
		if err := sinter.Eval(old.AddScalar(1)); err == nil {
			t.Error("what was built on the old value was evaluated")
		}
	}
	wantFloats(t, v.Value(), 9, 11)
	v.Assign(v.Value().AddScalar(1)) // and assignments go on as ever
	wantFloats(t, v.Value(), 10, 12)
	if got := v.Bytes(); !bytes.Equal(got, sinterBytes(10, 12)) {
		t.Error("the variable holds", got)
	}
}

func sinterBytes(v ...float32) []byte {
	b, err := floats(v...).Bytes()
	if err != nil {
		panic(err)
	}
	return b
}

func TestCompileScalarsAndEffects(t *testing.T) {
	count := sinter.NewVariable("count", floats(0))
	n := 0.0
	fixed := 10.0
	f := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		live := sinter.RuntimeScalarFunc(sinter.Float32, func() float64 { n++; return n })
		y := in[0].Mul(live).Add(sinter.RuntimeScalar(sinter.Float32, fixed))
		return []*sinter.Tensor{y.AlsoAssign(count, count.Value().Add(live))}
	})
	sum := float32(0)
	for range 4 {
		fixed++ // a RuntimeScalar is read when the function is traced
		out, err := f.Call(floats(1))
		if err != nil {
			t.Fatal(err)
		}
		sum += float32(n)
		wantFloats(t, out[0], float32(n)+11)
		wantFloats(t, count.Value(), sum)
	}
}

func TestCompileErrors(t *testing.T) {
	wants := func(err error, what string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v does not say %q", err, what)
		}
	}
	x := floats(1, 2)
	_, err := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		return []*sinter.Tensor{in[0].Add(floats(1, 2, 3))}
	}).Call(x)
	if !errors.As(err, new(*sinter.BuildError)) {
		t.Errorf("%v is no BuildError", err)
	}
	wants(err, "compile_test.go:")
	_, err = sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		return []*sinter.Tensor{in[0].MulScalar(in[0].Sum().Float())}
	}).Call(x)
	wants(err, "not known while the function is traced")
	_, err = sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		return []*sinter.Tensor{in[0].MulScalar(float64(in[0].Floats()[0]))}
	}).Call(x)
	wants(err, "not known while the function is traced")
	v := sinter.NewVariable("v", floats(1, 2))
	_, err = sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		y := in[0].Mul(v.Value())
		v.Assign(y)
		return []*sinter.Tensor{y}
	}).Call(x)
	wants(err, "variable v")
	if err := v.SetBytes(sinterBytes(1, 2)); err != nil {
		t.Fatal(err)
	}
	// A captured tensor of a variable's earlier content, and one of a buffer that is
	// filled again.
	old := v.Value()
	if err := v.SetBytes(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	_, err = sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		return []*sinter.Tensor{in[0].Mul(old.AddScalar(1))}
	}).Call(x)
	wants(err, "earlier content of variable v")
	b := sinter.NewHostBuffer(sinter.Float32, 2)
	f := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{in[0].Add(b.Tensor(2))} })
	if _, err := f.Call(x); err != nil {
		t.Fatal(err)
	}
	b.Reuse()
	_, err = f.Call(x)
	wants(err, "batch")
	in := b.Tensor(2)
	b.Reuse()
	_, err = sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{in[0].Exp()} }).Call(in)
	wants(err, "batch")
	// Placeholders must not leave the function.
	var leaked *sinter.Tensor
	if _, err := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		leaked = in[0].Exp()
		return []*sinter.Tensor{leaked}
	}).Call(x); err != nil {
		t.Fatal(err)
	}
	wants(sinter.Eval(leaked), "not known")

	// A step whose loss is not finite changes nothing and says so; the next is made.
	w := sinter.NewVariable("w", floats(2))
	opt := optim.New([]*sinter.Variable{w}, optim.SGD{LR: optim.Constant(0.5)})
	step := opt.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
		return w.Value().Mul(in[0]).Sum(), nil
	})
	_, _, err = step.Step(floats(float32(math.Inf(1))))
	if !errors.As(err, new(*optim.NonFiniteError)) || opt.Steps() != 0 {
		t.Errorf("%v after %d steps", err, opt.Steps())
	}
	wantFloats(t, w.Value(), 2)
	if _, _, err = step.Step(floats(1)); err != nil || opt.Steps() != 1 {
		t.Errorf("%v after %d steps", err, opt.Steps())
	}
	wantFloats(t, w.Value(), 1.5)
	none := opt.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) { return in[0].Sum(), nil })
	for range 2 {
		_, _, err = none.Step(floats(1))
		wants(err, "depends on none")
	}
	shaped := opt.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) { return w.Value().Mul(in[0]), nil })
	_, _, err = shaped.Step(floats(1))
	if !errors.As(err, new(*sinter.BuildError)) {
		t.Errorf("%v is no BuildError", err)
	}
}

// CallInto writes results where those of the call before are.
func TestCallInto(t *testing.T) {
	f := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		y := in[0].MulScalar(2)
		return []*sinter.Tensor{y, y.Sum(), y}
	})
	var out []*sinter.Tensor
	var err error
	for i := range 5 {
		x := floats(float32(i), 1)
		old := out
		if out, err = f.CallInto(out, x); err != nil {
			t.Fatal(err)
		}
		if old != nil && out[0] != old[0] {
			t.Error("another tensor")
		}
		wantFloats(t, out[0], float32(2*i), 2)
		wantFloats(t, out[1], float32(2*i+2))
		wantFloats(t, out[2], float32(2*i), 2)
	}
	// A result as the input: its memory is not written to.
	for range 3 {
		want := out[0].MulScalar(2).Floats()
		if out, err = f.CallInto(out, out[0]); err != nil {
			t.Fatal(err)
		}
		wantFloats(t, out[0], want...)
	}
	// What was built on the old content cannot be evaluated.
	late := out[0].AddScalar(1)
	if out, err = f.CallInto(out, floats(1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := sinter.Eval(late); err == nil {
		t.Error("a tensor of the old content was evaluated")
	}
	dst := make([]float32, 2)
	x := floats(4, 5)
	step := func() {
		if out, err = f.CallInto(out, x); err != nil {
			t.Fatal(err)
		}
		if err = out[0].ReadFloats(dst); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, step); n > 4 {
		t.Errorf("a call allocates %g times", n)
	}
	if !slices.Equal(dst, []float32{8, 10}) {
		t.Error(dst)
	}
}

func TestCompiledConcurrently(t *testing.T) {
	total := sinter.NewVariable("total", floats(0))
	f := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		s := in[0].Sum()
		return []*sinter.Tensor{s.AlsoAssign(total, total.Value().AddScalar(1))}
	})
	var wait sync.WaitGroup
	for g := range 6 {
		wait.Go(func() {
			for i := range 40 {
				out, err := f.Call(sinter.FromFloats(make([]float32, 1+i%3), 1+i%3).AddScalar(float64(g)))
				if err != nil {
					t.Error(err)
					return
				}
				if got := out[0].Float(); got != float64(g*(1+i%3)) {
					t.Errorf("got %g", got)
				}
			}
		})
	}
	wait.Wait()
	wantFloats(t, total.Value(), 240)
}

// More programs than are kept: those that were dropped are compiled again.
func TestCompiledProgramsAreDropped(t *testing.T) {
	f := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{in[0].AddScalar(1)} })
	for range 2 {
		if out, err := f.Call(floats(1, 2)); err != nil {
			t.Fatal(err)
		} else {
			wantFloats(t, out[0], 2, 3)
		}
		for i := range 70 {
			if got := sinter.FromFloats(make([]float32, i+1), i+1).AddScalar(2).Sum().Float(); got != float64(2*i+2) {
				t.Fatal(fmt.Sprint(i, got))
			}
		}
	}
}

// Numbers are read at every call, without memory for it; what is returned beside them stays
// what it was.
func TestCallNumbers(t *testing.T) {
	v := sinter.NewVariable("v", sinter.Scalar(1))
	c := sinter.CompileAssign(func(in []*sinter.Tensor) ([]*sinter.Variable, []*sinter.Tensor) {
		sum := in[0].Sum()
		v.Assign(v.Value().Add(sum))
		return []*sinter.Variable{v}, []*sinter.Tensor{sum, in[0].Max().To(sinter.Float64), in[0].MulScalar(2)}
	})
	x, y := sinter.FromFloats([]float32{1, 2, 3}, 3), sinter.FromFloats([]float32{4, 5, 6}, 3)
	numbers := make([]float64, 2)
	first, err := c.CallNumbers(numbers, x)
	if err != nil || !slices.Equal(numbers, []float64{6, 3}) {
		t.Fatal(numbers, err)
	}
	second, err := c.CallNumbers(numbers, y)
	if err != nil || !slices.Equal(numbers, []float64{15, 6}) {
		t.Fatal(numbers, err)
	}
	all, err := c.Call(x) // between calls that read numbers, the results are the caller's
	if err != nil {
		t.Fatal(err)
	}
	third, err := c.CallNumbers(numbers[:1], y)
	if err != nil || numbers[0] != 15 || len(third) != 2 {
		t.Fatal(numbers, third, err)
	}
	if _, err := c.CallNumbers(numbers, x); err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		got  *sinter.Tensor
		want []float32
	}{{first[0], []float32{2, 4, 6}}, {second[0], []float32{8, 10, 12}}, {all[0], []float32{6}}, {third[0], []float32{6}}, {third[1], []float32{8, 10, 12}}} {
		if got := w.got.Floats(); !slices.Equal(got, w.want) {
			t.Errorf("a result is %v instead of %v", got, w.want)
		}
	}
	if got := v.Value().Float(); got != 1+6+15+6+15+6 {
		t.Errorf("the variable is %v", got)
	}

	bare := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{in[0].Sum(), in[0].Mean()} })
	in := []*sinter.Tensor{x}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := bare.CallNumbers(numbers, in...); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("a call allocates %v times", n)
	}
	if !slices.Equal(numbers, []float64{6, 2}) {
		t.Error(numbers)
	}
	for _, n := range []int{3, 4} { // the third result is no number, and there is no fourth
		var wrong *sinter.BuildError
		if _, err := c.CallNumbers(make([]float64, n), x); !errors.As(err, &wrong) {
			t.Errorf("%d numbers: %v", n, err)
		}
	}
}
