package models_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/reftest"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// Golden runs: ten training steps of whole models give the losses that PyTorch
// gives (scripts/reference/golden.py), and the first step the same gradients. Most
// are models of this package; two are written out here, layer by layer, because the
// package has no such variant.

type goldenAttention struct{ Q, K, V, Out *nn.Linear }

func (a *goldenAttention) Forward(x *sinter.Tensor) *sinter.Tensor {
	const heads = 4
	b, t, c := x.Dim(0), x.Dim(1), x.Dim(2)
	split := func(l *nn.Linear) *sinter.Tensor { // [B, heads, T, C/heads]
		return l.Forward(x).Reshape(b, t, heads, c/heads).Transpose(1, 2)
	}
	y := sinter.Attention(split(a.Q), split(a.K), split(a.V), nil, true, 0)
	return a.Out.Forward(y.Transpose(1, 2).Reshape(b, t, c))
}

type goldenBlock struct {
	Norm1    *nn.LayerNorm
	Attn     *goldenAttention
	Norm2    *nn.LayerNorm
	Up, Down *nn.Linear
}

func (b *goldenBlock) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = x.Add(b.Attn.Forward(b.Norm1.Forward(x)))
	return x.Add(b.Down.Forward(nn.GELUTanh(b.Up.Forward(b.Norm2.Forward(x)))))
}

type goldenGPT struct {
	Token, Position *nn.Embedding
	Blocks          []*goldenBlock
	Norm            *nn.LayerNorm
	Head            *nn.Linear
}

func (m *goldenGPT) Forward(ids *sinter.Tensor) *sinter.Tensor {
	x := m.Token.Forward(ids).Add(m.Position.Weight.Value().Slice(0, 0, ids.Dim(1)))
	for _, b := range m.Blocks {
		x = b.Forward(x)
	}
	return m.Head.Forward(m.Norm.Forward(x))
}

type goldenResidual struct {
	Conv1        *nn.Conv2D
	BN1          *nn.BatchNorm2D
	Conv2        *nn.Conv2D
	BN2          *nn.BatchNorm2D
	ShortcutConv *nn.Conv2D
	ShortcutBN   *nn.BatchNorm2D
}

func newGoldenResidual(in, out, stride int) *goldenResidual {
	b := &goldenResidual{
		Conv1: nn.NewConv2D(in, out, 3, nn.Stride(stride), nn.Padding(1), nn.NoBias()), BN1: nn.NewBatchNorm2D(out),
		Conv2: nn.NewConv2D(out, out, 3, nn.Padding(1), nn.NoBias()), BN2: nn.NewBatchNorm2D(out),
	}
	if in != out || stride != 1 {
		b.ShortcutConv, b.ShortcutBN = nn.NewConv2D(in, out, 1, nn.Stride(stride), nn.NoBias()), nn.NewBatchNorm2D(out)
	}
	return b
}

func (b *goldenResidual) Forward(x *sinter.Tensor) *sinter.Tensor {
	y := b.BN2.Forward(b.Conv2.Forward(nn.ReLU(b.BN1.Forward(b.Conv1.Forward(x)))))
	if b.ShortcutConv != nil {
		x = b.ShortcutBN.Forward(b.ShortcutConv.Forward(x))
	}
	return nn.ReLU(x.Add(y))
}

type goldenResNet struct {
	Conv   *nn.Conv2D
	BN     *nn.BatchNorm2D
	Blocks []*goldenResidual
	Out    *nn.Linear
}

func (m *goldenResNet) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = nn.ReLU(m.BN.Forward(m.Conv.Forward(x)))
	for _, b := range m.Blocks {
		x = b.Forward(x)
	}
	return m.Out.Forward(x.Mean(2, 3))
}

var goldenModels = map[string]func() nn.Module{
	"mlp": func() nn.Module {
		return models.NewMLP(models.MLPConfig{Inputs: 64, Hidden: []int{48}, Outputs: 10})
	},
	"lenet": func() nn.Module { return models.NewLeNet(models.LeNetConfig{}) },
	"gpt": func() nn.Module {
		return models.NewGPT(models.GPTConfig{Vocab: 65, Block: 16, Layers: 2, Heads: 4, Embed: 32})
	},
	"resnet": func() nn.Module { return models.NewResNet(models.ResNetConfig{Depth: 8}) },
	"lstm": func() nn.Module {
		return models.NewLSTMModel(models.LSTMConfig{Vocab: 40, Hidden: 32, Layers: 2})
	},
	"gpt_untied": func() nn.Module {
		m := &goldenGPT{Token: nn.NewEmbedding(65, 32), Position: nn.NewEmbedding(16, 32), Norm: nn.NewLayerNorm(32), Head: nn.NewLinear(32, 65, nn.NoBias())}
		for range 2 {
			m.Blocks = append(m.Blocks, &goldenBlock{
				Norm1: nn.NewLayerNorm(32), Norm2: nn.NewLayerNorm(32), Up: nn.NewLinear(32, 128), Down: nn.NewLinear(128, 32),
				Attn: &goldenAttention{nn.NewLinear(32, 32), nn.NewLinear(32, 32), nn.NewLinear(32, 32), nn.NewLinear(32, 32)},
			})
		}
		return m
	},
	"resnet_projection": func() nn.Module {
		return &goldenResNet{nn.NewConv2D(3, 8, 3, nn.Padding(1), nn.NoBias()), nn.NewBatchNorm2D(8),
			[]*goldenResidual{newGoldenResidual(8, 8, 1), newGoldenResidual(8, 16, 2)}, nn.NewLinear(16, 10)}
	},
}

// golden is a run as the script stored it.
type golden struct {
	Name, Optimizer string
	Args            reftest.Args
	X, Y            []int
	Classes         int
	Tokens          bool    // inputs are identifiers
	ClipNorm        float64 `json:"clip_norm"`
	Params          map[string]struct {
		Shape         []int
		Seed          uint32
		Scale, Offset float64
	}
	Losses []float64
	Grads  map[string]struct {
		Sum, Norm float64
		First     []float64
	}
	After   map[string]float64 // norms of the parameters
	Buffers map[string][]float64
}

func (g *golden) rule() optim.Rule {
	lr := optim.Constant(g.Args.Float("lr"))
	decay := g.Args.FloatOr("weight_decay", 0)
	switch g.Optimizer {
	case "sgd":
		return optim.SGD{LR: lr, Momentum: g.Args.FloatOr("momentum", 0), WeightDecay: decay, Nesterov: g.Args.Bool("nesterov")}
	case "adam":
		return optim.Adam{LR: lr, WeightDecay: decay}
	case "adamw":
		return optim.AdamW{LR: lr, WeightDecay: decay, Betas: [2]float64(g.Args.Floats("betas"))}
	}
	panic("no rule for " + g.Optimizer)
}

// load gives the model the run's parameters.
func (g *golden) load(t *testing.T, model nn.Module) {
	t.Helper()
	values := map[string]*sinter.Tensor{}
	for name, p := range g.Params {
		v := reftest.Noise(p.Seed, product(p.Shape))
		for i := range v {
			scaled := v[i] * float32(p.Scale)
			v[i] = scaled + float32(p.Offset)
		}
		values[name] = sinter.FromFloats(v, p.Shape...)
	}
	for _, v := range nn.Parameters(model) {
		if values[v.Name] == nil {
			t.Errorf("the run has no parameter %s", v.Name)
		}
	}
	if got, want := len(nn.Parameters(model)), len(values); got != want {
		t.Fatalf("%d parameters, want %d", got, want)
	}
	if err := nn.LoadState(model, values, false); err != nil {
		t.Fatal(err)
	}
}

// batch is the batch of a step: two take turns.
func (g *golden) batch(step int) (x, y *sinter.Tensor) {
	seed := uint32(10000 + 10*(step%2))
	if g.Tokens {
		x = sinter.FromInts(reftest.Labels(seed, g.Classes, product(g.X)), g.X...)
	} else {
		x = sinter.FromFloats(reftest.Noise(seed, product(g.X)), g.X...)
	}
	return x, sinter.FromInts(reftest.Labels(seed+1, g.Classes, product(g.Y)), product(g.Y))
}

func (g *golden) loss(model nn.Module, step int) *sinter.Tensor {
	x, y := g.batch(step)
	return nn.CrossEntropy(model.Forward(x).Reshape(-1, g.Classes), y)
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// near is equality within 1e-4 of want and of the size of what it belongs to. What
// is zero in exact arithmetic may be as large as float32 rounds it.
func near(got, want, size float64) bool {
	return math.Abs(got-want) <= 1e-4*(math.Abs(want)+size)+1e-7
}

func TestGolden(t *testing.T) {
	var file struct{ Runs []*golden }
	reftest.Decode(t, "testdata/golden.json", &file)
	seen := map[string]bool{}
	for _, g := range file.Runs {
		seen[g.Name] = true
		t.Run(g.Name, func(t *testing.T) { reftest.Guard(t, func() { g.test(t) }) })
	}
	for name := range goldenModels {
		if !seen[name] {
			t.Errorf("no golden run for %s", name)
		}
	}
}

// TestGoldenLow makes the same steps in 16 bits, in which PyTorch made them with
// autocast, those in float16 with a scaled loss. It does not round at all the same
// places, and ten steps with momentum make much of a rounding: losses agree to a
// percent, most of them to a thousandth. They are not those of float32.
func TestGoldenLow(t *testing.T) {
	for _, c := range []struct {
		file      string
		precision sinter.Precision
		opts      []optim.Option
	}{
		{"testdata/golden_bf16.json", sinter.BF16, nil},
		{"testdata/golden_fp16.json", sinter.FP16, []optim.Option{optim.LossScaling(optim.GradScaler{InitScale: 1024})}},
	} {
		var file, low struct{ Runs []*golden }
		reftest.Decode(t, "testdata/golden.json", &file)
		reftest.Decode(t, c.file, &low)
		if len(low.Runs) != len(file.Runs) {
			t.Fatalf("%d runs in %s, %d in float32", len(low.Runs), c.file, len(file.Runs))
		}
		for i, g := range file.Runs {
			t.Run(fmt.Sprintf("%v/%s", c.precision, g.Name), func(t *testing.T) {
				if low.Runs[i].Name != g.Name {
					t.Fatalf("run %d of %s is %s", i, c.file, low.Runs[i].Name)
				}
				model := goldenModels[g.Name]()
				opt := g.begin(t, model, append(c.opts, optim.Precision(c.precision))...)
				var rounding float64
				for step, want := range low.Runs[i].Losses {
					loss := g.loss(model, step)
					if err := opt.Step(loss); err != nil {
						t.Fatal(err)
					}
					got := loss.Float()
					if math.Abs(got-want) > 0.01*want+0.002 {
						t.Errorf("step %d: loss %.7g, want %.7g", step+1, got, want)
					}
					rounding = max(rounding, math.Abs(got-g.Losses[step])/want)
				}
				if rounding < 1e-6 {
					t.Errorf("the losses are those of float32, to %.2g", rounding)
				}
				if opt.Skipped() > 0 {
					t.Errorf("%d steps were skipped", opt.Skipped())
				}
				for _, v := range nn.State(model) {
					if v.DType().Compute() != v.DType() {
						t.Errorf("%s has become %v", v.Name, v.DType())
					}
				}
			})
		}
	}
}

// begin gives the model the run's parameters and makes its optimizer.
func (g *golden) begin(t *testing.T, model nn.Module, opts ...optim.Option) *optim.Optimizer {
	t.Helper()
	g.load(t, model)
	nn.Train(model)
	if g.ClipNorm > 0 {
		opts = append(opts, optim.ClipNorm(g.ClipNorm))
	}
	return optim.New(model, g.rule(), opts...)
}

func (g *golden) test(t *testing.T) {
	build := goldenModels[g.Name]
	if build == nil {
		t.Fatalf("no model for the golden run %q", g.Name)
	}
	g.gradients(t, build())

	model := build()
	opt := g.begin(t, model)
	for step, want := range g.Losses {
		loss := g.loss(model, step)
		if err := opt.Step(loss); err != nil {
			t.Fatal(err)
		}
		if got := loss.Float(); !near(got, want, 0) {
			t.Fatalf("step %d: loss %.7g, want %.7g", step+1, got, want)
		}
	}
	for _, v := range nn.State(model) {
		value := v.Value().Float64s()
		if want, ok := g.After[v.Name]; ok {
			// The gradient of a key's bias, which a softmax does not feel, is zero but
			// for rounding; Adam makes steps of any size of it.
			if g.Grads[v.Name].Norm < 1e-12 || strings.HasSuffix(v.Name, "c_attn.bias") { // a third of it is a key's
				continue
			}
			if got := norm(value); !near(got, want, 0) {
				t.Errorf("%s afterwards: norm %.7g, want %.7g", v.Name, got, want)
			}
		} else if want, ok := g.Buffers[v.Name]; ok {
			for i := range want {
				if !near(value[i], want[i], norm(want)) {
					t.Errorf("%s afterwards: element %d is %.7g, want %.7g", v.Name, i, value[i], want[i])
					break
				}
			}
		} else if v.DType().IsFloat() {
			t.Errorf("the run says nothing of %s", v.Name)
		}
	}
}

// gradients checks those of the first step.
func (g *golden) gradients(t *testing.T, model nn.Module) {
	t.Helper()
	g.load(t, model)
	nn.Train(model)
	params := nn.Parameters(model)
	var xs []*sinter.Tensor
	for _, p := range params {
		xs = append(xs, p.Value())
	}
	grads := sinter.Grad(g.loss(model, 0), xs...)
	if err := sinter.Eval(grads...); err != nil {
		t.Fatal(err)
	}
	for i, p := range params {
		want, got := g.Grads[p.Name], grads[i].Float64s()
		// Elements are as exact as the largest of them allows.
		largest := want.Norm / math.Sqrt(float64(len(got)))
		report := func(what string, g, w, size float64) {
			if !near(g, w, size) {
				t.Errorf("gradient of %s: %s %.7g, want %.7g", p.Name, what, g, w)
			}
		}
		for j, w := range want.First {
			report(fmt.Sprintf("element %d", j), got[j], w, largest)
		}
		report("norm", norm(got), want.Norm, 0)
		var sum float64
		for _, v := range got {
			sum += v
		}
		report("sum", sum, want.Sum, want.Norm)
	}
}

func norm(v []float64) float64 {
	var s float64
	for _, x := range v {
		s += x * x
	}
	return math.Sqrt(s)
}
