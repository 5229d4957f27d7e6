package optim

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
)

// perceptron is a small classifier; Extra is used only where use says so.
type perceptron struct {
	Hidden, Out *nn.Linear
	Extra       *nn.Linear
}

func newPerceptron() *perceptron {
	sinter.Seed(3)
	return &perceptron{nn.NewLinear(5, 16), nn.NewLinear(16, 4), nn.NewLinear(5, 4)}
}

func (p *perceptron) forward(x *sinter.Tensor, extra bool) *sinter.Tensor {
	y := p.Out.Forward(nn.Tanh(p.Hidden.Forward(x)))
	if extra {
		y = y.Add(p.Extra.Forward(x))
	}
	return y
}

func (p *perceptron) bits() (s []string) { return bytesOf(nn.Parameters(p)) }

// part is rows from … to of one batch of examples.
func part(batch, from, to int) (x, y *sinter.Tensor) {
	rows := make([]float32, 0, 5*(to-from))
	labels := make([]int64, 0, to-from)
	for i := from; i < to; i++ {
		for j := range 5 {
			rows = append(rows, float32(math.Sin(float64(1+i*5+j+batch*997))))
		}
		labels = append(labels, int64((i*i+batch)%4))
	}
	return sinter.FromFloats(rows, to-from, 5), sinter.FromInts(labels, to-from)
}

// Updates from parts of a batch, the last one smaller, are those of the whole batch.
func TestAccumulate(t *testing.T) {
	const batch = 22
	parts := [][2]int{{0, 8}, {8, 16}, {16, batch}}
	for _, c := range []struct {
		name string
		rule Rule
		opts []Option
	}{
		{"sgd", SGD{LR: Constant(0.1), Momentum: 0.9, Dampening: 0.1}, nil},
		{"adamw", AdamW{LR: Linear{From: 0.01, To: 0.001, Steps: 6}, WeightDecay: 0.1}, nil},
		{"clip", SGD{LR: Constant(0.1)}, []Option{ClipNorm(0.05)}},
		{"clip value", SGD{LR: Constant(0.1)}, []Option{ClipValue(0.01)}},
		{"scaled", SGD{LR: Constant(0.1), Momentum: 0.9}, []Option{ClipNorm(0.05), LossScaling(GradScaler{GrowthInterval: 2})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole, recorded, compiled := newPerceptron(), newPerceptron(), newPerceptron()
			full := New(whole, c.rule, c.opts...)
			byParts := New(recorded, c.rule, c.opts...)
			byPrograms := New(compiled, c.rule, c.opts...)
			step := byPrograms.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
				return nn.CrossEntropy(compiled.forward(in[0], false), in[1]), nil
			})
			for i := range 6 {
				x, y := part(i, 0, batch)
				loss := nn.CrossEntropy(whole.forward(x, false), y)
				if err := full.Step(loss); err != nil {
					t.Fatal(err)
				}
				for _, p := range parts {
					x, y := part(i, p[0], p[1])
					if err := byParts.Accumulate(nn.CrossEntropy(recorded.forward(x, false), y), float64(p[1]-p[0])); err != nil {
						t.Fatal(err)
					}
					if _, _, err := step.Accumulate(float64(p[1]-p[0]), x, y); err != nil {
						t.Fatal(err)
					}
				}
				if byParts.Accumulated() != batch {
					t.Fatalf("%v examples accumulated", byParts.Accumulated())
				}
				mean, err := byParts.Apply()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := byPrograms.Apply(); err != nil {
					t.Fatal(err)
				}
				near(t, "mean loss", mean.Float(), loss.Float())
				if c.opts != nil && !math.IsNaN(full.GradNorm()) {
					near(t, "norm", byParts.GradNorm(), full.GradNorm())
				}
			}
			if !slices.Equal(recorded.bits(), compiled.bits()) || !slices.Equal(bytesOf(byParts.State()), bytesOf(byPrograms.State())) {
				t.Error("recorded and compiled steps differ")
			}
			if byParts.Steps() != 6 || byParts.LR() != full.LR() || len(byParts.Unused()) != 2 {
				t.Errorf("%d steps, rate %v, %d unused", byParts.Steps(), byParts.LR(), len(byParts.Unused()))
			}
			for i, v := range nn.Parameters(whole) {
				a, b := v.Value().Floats(), nn.Parameters(recorded)[i].Value().Floats()
				for k := range a {
					if d := math.Abs(float64(a[k] - b[k])); d > 1e-6 {
						t.Fatalf("%s[%d] is %v, from the whole batch %v", v.Name, k, b[k], a[k])
					}
				}
			}
		})
	}
}

// A parameter that only some parts depend on is updated by their gradients, and one
// that none does is left alone.
func TestAccumulateSomeParameters(t *testing.T) {
	m, want := newPerceptron(), newPerceptron()
	o, ow := New(m, SGD{LR: Constant(0.1), Momentum: 0.9}), New(want, SGD{LR: Constant(0.1), Momentum: 0.9})
	for i, use := range [][2]bool{{false, true}, {false, false}, {true, false}} {
		losses := make([]*sinter.Tensor, 2)
		for k, extra := range use {
			x, y := part(i, 4*k, 4*k+4)
			if err := o.Accumulate(nn.CrossEntropy(m.forward(x, extra), y), 4); err != nil {
				t.Fatal(err)
			}
			losses[k] = nn.CrossEntropy(want.forward(x, extra), y)
		}
		if _, err := o.Apply(); err != nil {
			t.Fatal(err)
		}
		if err := ow.Step(losses[0].Add(losses[1]).MulScalar(0.5)); err != nil {
			t.Fatal(err)
		}
		if got, want := len(o.Unused()), len(ow.Unused()); got != want {
			t.Errorf("update %d: %d unused, want %d", i, got, want)
		}
		a, b := m.Extra.Weight.Value().Floats(), want.Extra.Weight.Value().Floats()
		for k := range a {
			if math.Abs(float64(a[k]-b[k])) > 1e-6 {
				t.Fatalf("update %d: %v, want %v", i, a[k], b[k])
			}
		}
	}
}

// A part that is not finite spoils its group and no other.
func TestAccumulateNonFinite(t *testing.T) {
	m := newPerceptron()
	o := New(m, Adam{})
	add := func(factor float64) {
		t.Helper()
		x, y := part(0, 0, 8)
		if err := o.Accumulate(nn.CrossEntropy(m.forward(x, true), y).Mul(sinter.RuntimeScalar(sinter.Float32, factor)), 8); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	if _, err := o.Apply(); err != nil {
		t.Fatal(err)
	}
	before, state := m.bits(), bytesOf(o.State())
	add(math.Inf(1))
	add(1)
	_, err := o.Apply()
	if e := (*NonFiniteError)(nil); !errors.As(err, &e) || e.Step != 1 {
		t.Fatalf("got %v", err)
	}
	if !slices.Equal(before, m.bits()) || !slices.Equal(state, bytesOf(o.State())) || o.Accumulated() != 0 {
		t.Error("something changed")
	}
	add(1)
	if _, err := o.Apply(); err != nil || slices.Equal(before, m.bits()) {
		t.Errorf("the next update: %v", err)
	}
	// ZeroGrad forgets an infinity as well.
	add(math.Inf(1))
	if err := o.ZeroGrad(); err != nil {
		t.Fatal(err)
	}
	add(1)
	if _, err := o.Apply(); err != nil {
		t.Error(err)
	}
}

func TestAccumulateMistakes(t *testing.T) {
	m := newPerceptron()
	o := New(m, Adam{})
	x, y := part(0, 0, 8)
	loss := func() *sinter.Tensor { return nn.CrossEntropy(m.forward(x, true), y) }
	wants := func(err error, words string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want something about %q", err, words)
		}
	}
	_, err := o.Apply()
	wants(err, "without gradients")
	for _, w := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		wants(o.Accumulate(loss(), w), fmt.Sprintf("weight %v", w))
	}
	wants(o.Accumulate(m.forward(x, true), 1), "scalar")
	wants(o.Accumulate(sinter.Scalar(1), 1), "depends on none")
	if err := o.Accumulate(loss(), 8); err != nil {
		t.Fatal(err)
	}
	wants(o.Step(loss()), "after Accumulate")
	_, _, err = o.Compile(func([]*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) { return loss(), nil }).Step()
	wants(err, "after Accumulate")
	if err := o.ZeroGrad(); err != nil || o.Step(loss()) != nil {
		t.Error("Step after ZeroGrad failed")
	}
}

// No update after the second compiles anything, whatever is accumulated.
func TestAccumulateNoRecompile(t *testing.T) {
	m := newPerceptron()
	o := New(m, AdamW{LR: Cosine{Peak: 0.1, Warmup: 3, Steps: 8}}, ClipNorm(1), LossScaling(GradScaler{}))
	update := func(parts int) {
		for i := range parts {
			x, y := part(i, 0, 8)
			if err := o.Accumulate(nn.CrossEntropy(m.forward(x, true), y), float64(1+i)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := o.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	update(2)
	before := sinter.ReadStats().Compiles
	for i := range 5 {
		update(1 + i)
	}
	if n := sinter.ReadStats().Compiles - before; n != 0 {
		t.Errorf("%d compilations in five further updates", n)
	}
}
