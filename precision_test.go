package sinter_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/plan"
	"github.com/sinter-dl/sinter/internal/reftest"
	"github.com/sinter-dl/sinter/internal/shape"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// One graph gives what the precision asks for; its programs are kept side by side.
func TestPrecision(t *testing.T) {
	const v = 1 + 1.0/512 + 1.0/4096 // between 1 and the next bfloat16, and between two float16
	const h = 1 + 1.0/512            // of which this is the nearer one
	x := sinter.Full(sinter.Float32, v, 4, 8)
	product := func() *sinter.Tensor { return x.MatMul(x.Transpose(0, 1)) }
	compiles := func() int { return sinter.ReadStats().Compiles }
	for round := range 2 {
		before := compiles()
		for p, want := range map[sinter.Precision]float64{sinter.FP32: 8 * v * v, sinter.TF32: 8 * v * v, sinter.BF16: 8, sinter.FP16: 8 * h * h} {
			y := product()
			if err := p.Eval(y); err != nil {
				t.Fatal(err)
			}
			if got := y.Floats()[5]; y.DType() != sinter.Float32 || math.Abs(float64(got)-want) > 1e-6 {
				t.Errorf("%v: %v %v, want %v", p, y.DType(), got, want)
			}
		}
		if n := compiles() - before; n > 3*(1-round) {
			t.Errorf("round %d compiled %d programs", round, n)
		}
	}
	if err := sinter.Precision(7).Eval(product()); err == nil || !strings.Contains(err.Error(), "precision(7)") {
		t.Errorf("an unknown precision: %v", err)
	}
	for name, want := range map[string]sinter.Precision{"fp32": sinter.FP32, "float32": sinter.FP32, "bf16": sinter.BF16, "bfloat16": sinter.BF16,
		"fp16": sinter.FP16, "float16": sinter.FP16, "tf32": sinter.TF32} {
		if p, err := sinter.ParsePrecision(name); err != nil || p != want {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	for _, name := range []string{"int8", "", "fp"} {
		if _, err := sinter.ParsePrecision(name); err == nil || !strings.Contains(err.Error(), "unknown precision") {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, p := range []sinter.Precision{sinter.FP32, sinter.BF16, sinter.FP16} {
		if p.Computed() != p {
			t.Errorf("%v is computed as %v", p, p.Computed())
		}
	}
	if p := sinter.TF32.Computed(); p != sinter.FP32 {
		t.Errorf("tf32 is computed as %v", p)
	}
	// Any device can be planned for.
	for on, want := range map[*sinter.Target]sinter.Precision{
		sinter.NVIDIATarget(80, 108, true): sinter.TF32, sinter.NVIDIATarget(80, 108, false): sinter.FP32,
		sinter.NVIDIATarget(75, 40, true): sinter.FP32, sinter.OpenCLTarget(36): sinter.FP32,
	} {
		if p := on.Computed(sinter.TF32); p != want {
			t.Errorf("tf32 is computed as %v on %v", p, on)
		}
	}
}

// Products in float16 are those of operands rounded to it, added up in float32, as
// PyTorch rounds and multiplies: ties to even, what is small kept as long as float16
// can, what is large infinite.
func TestProductsInFP16(t *testing.T) {
	reftest.Run(t, reftest.Load(t, "testdata/fp16.json", nil), func(t *testing.T, c *reftest.Case) {
		a := sinter.FromBytes(sinter.Float32, c.In[0].Bytes(sinter.Float32), c.In[0].Shape...)
		b := sinter.FromBytes(sinter.Float32, c.In[1].Bytes(sinter.Float32), c.In[1].Shape...)
		check := func(what string, y *sinter.Tensor) {
			t.Helper()
			if err := sinter.FP16.Eval(y); err != nil {
				t.Fatal(err)
			}
			data, err := y.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			tol := reftest.Tolerance(sinter.Float32)
			if c.Exact {
				tol = reftest.Tol{}
			}
			if err := c.Out[0].Check(reftest.Value{DType: y.DType(), Shape: y.Shape(), Bytes: data}, sinter.Float32, tol); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if c.Op == "outer" {
			// One number by one other, as products of 1×1 matrices and as a column by a row.
			n := a.Dim(0)
			check("batch", a.Reshape(n, 1, 1).MatMul(b.Reshape(n, 1, 1)).Reshape(n))
			return
		}
		check("as they lie", a.MatMul(b))
		check("computed", a.MulScalar(1).AddScalar(0).MatMul(b.T().Mul(sinter.RuntimeScalar(sinter.Float32, 1)).T()))
	})
}

// In 16 bits every product of a training step reads numbers of 16 bits and adds up in
// float32, each weight is rounded once, and the step takes less memory.
func TestTrainingStepInLow(t *testing.T) {
	t.Run("bf16", func(t *testing.T) { trainingStepInLow(t, sinter.BF16, sinter.BFloat16) })
	t.Run("fp16", func(t *testing.T) {
		trainingStepInLow(t, sinter.FP16, sinter.Float16, optim.LossScaling(optim.GradScaler{}))
	})
}

func trainingStepInLow(t *testing.T, precision sinter.Precision, narrow sinter.DType, opts ...optim.Option) {
	for name, c := range map[string]struct {
		model  func() nn.Module
		x, y   *sinter.Tensor
		memory float64 // of float32's arena, at most
	}{
		"gpt": {func() nn.Module {
			return models.NewGPT(models.GPTConfig{Vocab: 65, Block: 64, Layers: 2, Heads: 4, Embed: 64})
		}, tokens(4, 64, 65), tokens(4, 64, 65), 0.97},
		"mlp": {func() nn.Module {
			return models.NewMLP(models.MLPConfig{Inputs: 196, Hidden: []int{256, 256}, Outputs: 10})
		}, sinter.Ones(sinter.Float32, 128, 196), labels(128, 10), 1},
		"lenet": {func() nn.Module { return models.NewLeNet(models.LeNetConfig{}) }, sinter.Ones(sinter.Float32, 16, 1, 28, 28), labels(16, 10), 1.3}, // poolings are of float32, and products want copies
	} {
		t.Run(name, func(t *testing.T) {
			step := func(p sinter.Precision, opts ...optim.Option) *kernel.Program {
				model := c.model()
				opt := optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)}, append(opts, optim.Precision(p))...)
				loss := nn.CrossEntropy
				if c.y.Rank() == 2 {
					loss = nn.SequenceCrossEntropy
				}
				programs := sinter.Plans(func() {
					if err := opt.Step(loss(model.Forward(c.x), c.y)); err != nil {
						t.Fatal(err)
					}
				})
				if err := null.Verify(programs[0]); err != nil {
					t.Error(err)
				}
				return programs[0]
			}
			full, low := step(sinter.FP32), step(precision, opts...)
			products, leaves := 0, make(map[int]int)
			for _, s := range low.Steps {
				switch s := s.(type) {
				case *kernel.Library:
					if s.Op != ir.DotGeneral && s.Op != ir.Conv {
						continue
					}
					products++
					if s.In[0].DType != narrow || s.In[1].DType != narrow || s.Out[0].DType != sinter.Float32 {
						t.Errorf("%s: %v × %v → %v", s.Name, s.In[0].DType, s.In[1].DType, s.Out[0].DType)
					}
				case *kernel.Fused:
					updates := func(a kernel.Arg) bool { return a.Slot >= 0 && low.Slots[a.Slot].Kind == kernel.Leaf }
					for _, part := range s.Parts {
						if stores(s, part, updates) && slices.ContainsFunc(part.Args, func(a kernel.Arg) bool { return a.DType == narrow }) {
							t.Errorf("%s updates variables and reads 16 bits", s.Name)
						}
						for _, a := range part.Args {
							if a.Slot >= 0 && s.Class() != kernel.ClassRow && low.Slots[a.Slot].Kind == kernel.Leaf && s.Name == "copy" {
								leaves[a.Slot]++
							}
						}
					}
				}
			}
			if products == 0 || products != countProducts(full) {
				t.Errorf("%d products, %d in float32\n%s", products, countProducts(full), plan.Print(low))
			}
			for slot, n := range leaves {
				if n > 1 {
					t.Errorf("leaf %d is rounded %d times\n%s", slot, n, plan.Print(low))
				}
			}
			if len(leaves) == 0 {
				t.Errorf("no weight is rounded\n%s", plan.Print(low))
			}
			if ratio := float64(low.Arena) / float64(full.Arena); ratio > c.memory {
				t.Errorf("the arena is %d bytes, %.2f of float32's\n%s", low.Arena, ratio, plan.Print(low))
			}
		})
	}
}

// stores tells whether a part of k writes to an argument of a kind.
func stores(k *kernel.Fused, part kernel.Part, kind func(kernel.Arg) bool) bool {
	return slices.ContainsFunc(k.Code, func(in kernel.Instr) bool { return in.Kind == kernel.Store && kind(part.Args[in.Arg]) })
}

func countProducts(p *kernel.Program) int {
	n := 0
	for _, s := range p.Steps {
		if l, ok := s.(*kernel.Library); ok && (l.Op == ir.DotGeneral || l.Op == ir.Conv) {
			n++
		}
	}
	return n
}

// narrowKernels is a device with attention for operands of 16 bits.
type narrowKernels struct{ *null.Device }

func (narrowKernels) Supports(name string, _ bool) bool { return strings.HasPrefix(name, "attention") }

// Attention between products, with its gradients, is in 16 bits what it is in float32, but
// for roundings. A device that has kernels for operands of 16 bits is given such, without
// any made for that alone, and the logarithms of sums stay float32.
func TestAttentionInLow(t *testing.T) {
	const b, h, n, d = 2, 3, 37, 16
	r := rand.New(rand.NewPCG(5, 6))
	values := func(scale float64, sh ...int) *sinter.Tensor {
		x := make([]float64, shape.Elements(sh))
		for i := range x {
			x[i] = scale * r.NormFloat64()
		}
		return sinter.FromFloat64s(x, sh...).To(sinter.Float32)
	}
	x, w, out := values(1, b, n, h*d), values(0.3, 3*h*d, h*d), values(0.3, h*d, h*d)
	bias := values(1, n, n)
	heads := func(x *sinter.Tensor) *sinter.Tensor { return x.Reshape(b, n, h, d).Transpose(1, 2) }
	for name, c := range map[string]struct {
		mask   *sinter.Tensor
		causal bool
		keys   int // which the queries are fewer or more than, so that gradients lie apart
	}{
		"causal": {nil, true, n}, "all keys": {nil, false, n}, "added": {bias, false, n}, "bool": {bias.GtScalar(-0.3), true, n}, "fewer keys": {nil, false, 20},
	} {
		if name != "causal" && name != "added" && sinter.DeviceName() != "cpu" {
			continue // compiling takes seconds each
		}
		record := func() tensors {
			p := sinter.Linear(x, w, nil).Chunk(3, -1)
			q, k, v := heads(p[0]), heads(p[1]).Slice(2, 0, c.keys), heads(p[2]).Slice(2, 0, c.keys)
			y := sinter.Linear(sinter.Attention(q, k, v, c.mask, c.causal, 0).Transpose(1, 2).Reshape(b, n, h*d), out, nil)
			loss := y.Mul(y).Mean()
			return append(tensors{y}, sinter.Grad(loss, x, w, out)...)
		}
		want := record()
		if err := sinter.Eval(want...); err != nil {
			t.Fatal(err)
		}
		for precision, within := range map[sinter.Precision]float64{sinter.BF16: 0.03, sinter.FP16: 0.004} {
			parts := record()
			if err := precision.Eval(parts...); err != nil {
				t.Fatal(err)
			}
			for i, got := range parts {
				norm := func(x *sinter.Tensor) float64 { return math.Sqrt(x.Mul(x).Sum().Float()) }
				if off := norm(got.Sub(want[i])) / norm(want[i]); !(off < within) || off == 0 {
					t.Errorf("%s, %v, %s: off by %.2g", name, precision, []string{"result", "dx", "dw", "dout"}[i], off)
				}
			}
			low := map[sinter.Precision]sinter.DType{sinter.BF16: sinter.BFloat16, sinter.FP16: sinter.Float16}[precision]
			count := func(target plan.Target, want sinter.DType) (steps int) {
				p := sinter.PlansFor(target, func() {
					if err := precision.Eval(record()...); err != nil {
						t.Fatal(err)
					}
				})[0]
				if err := null.Verify(p); err != nil {
					t.Error(err)
				}
				found := 0
				for _, s := range p.Steps {
					l, ok := s.(*kernel.Library)
					if !ok || l.Op != ir.Composite {
						continue
					}
					found++
					backward := l.Attr.(*ir.Region).Name == "attention_grad"
					for i, o := range l.In {
						wide := i == 3 && !backward || i == 3 && backward && len(l.In) == 7 || backward && i == len(l.In)-2
						if o.DType == sinter.Bool && wide {
							continue
						}
						if o.DType != want && !(wide && o.DType == sinter.Float32) {
							t.Errorf("%s, %v: operand %d of %s is %v", name, precision, i, l.Name, o.DType)
						}
					}
					for i, o := range l.Out {
						if sums := !backward && i == 1; o.DType != want && !(sums && o.DType == sinter.Float32) || sums && o.DType != sinter.Float32 {
							t.Errorf("%s, %v: result %d of %s is %v", name, precision, i, l.Name, o.DType)
						}
					}
				}
				if found != 2 {
					t.Errorf("%s, %v: %d of 2 composites\n%s", name, precision, found, plan.Print(p))
				}
				return len(p.Steps)
			}
			narrow, wide := count(narrowKernels{null.New()}, low), count(null.New("attention", "attention_grad"), sinter.Float32)
			if narrow > wide {
				t.Errorf("%s, %v: %d steps, with attention of float32 %d", name, precision, narrow, wide)
			}
		}
	}
}
