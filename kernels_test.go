package sinter_test

import (
	"fmt"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/plan"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// The kernels and the arena of whole programs. A fusion that is lost, or a value
// that is kept longer than before, changes a number here; whoever changes one on
// purpose looks at the program that the test prints and writes the new one down.

type counts struct{ loop, reduce, row, multi, library, arena int }

func countsOf(p *kernel.Program) counts {
	c := null.Count(p)
	return counts{c.Kernels[kernel.ClassLoop], c.Kernels[kernel.ClassReduce], c.Kernels[kernel.ClassRow],
		c.Kernels[kernel.ClassMulti], c.Kernels[kernel.ClassLibrary], c.Arena}
}

func wantCounts(t *testing.T, p *kernel.Program, want counts) {
	t.Helper()
	if err := null.Verify(p); err != nil {
		t.Error(err)
	}
	if got := countsOf(p); got != want {
		t.Errorf("kernels %+v, want %+v\n%s", got, want, plan.Print(p))
	}
}

// trainingStep is the program of a training step with AdamW.
func trainingStep(t *testing.T, model nn.Module, x, y *sinter.Tensor) *kernel.Program {
	t.Helper()
	opt := optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)})
	programs := sinter.Plans(func() {
		loss := nn.CrossEntropy
		if y.Rank() == 2 {
			loss = nn.SequenceCrossEntropy
		}
		if err := opt.Step(loss(model.Forward(x), y)); err != nil {
			t.Fatal(err)
		}
	})
	if len(programs) != 1 {
		t.Fatalf("a step is %d programs", len(programs))
	}
	return programs[0]
}

func labels(n, classes int) *sinter.Tensor {
	y := make([]int64, n)
	for i := range y {
		y[i] = int64(i % classes)
	}
	return sinter.FromInts(y, n)
}

func tokens(n, t, vocab int) *sinter.Tensor { return labels(n*t, vocab).Reshape(n, t) }

func TestKernelsOfSteps(t *testing.T) {
	images := sinter.Rand(64, 1, 28, 28)
	for _, c := range []struct {
		name  string
		model nn.Module
		x, y  *sinter.Tensor
		want  counts
	}{
		{"mlp", models.NewMLP(models.MLPConfig{Inputs: 784, Hidden: []int{512, 512}, Outputs: 10}), sinter.Rand(128, 784), labels(128, 10), counts{loop: 1, reduce: 5, row: 2, multi: 2, library: 8, arena: 3203136}},
		{"lenet", models.NewLeNet(models.LeNetConfig{}), images, labels(64, 10), counts{loop: 1, reduce: 5, row: 2, multi: 3, library: 18, arena: 2896960}},
		{"resnet8", models.NewResNet(models.ResNetConfig{Depth: 8}), sinter.Rand(8, 3, 32, 32), labels(8, 10), counts{loop: 11, reduce: 5, row: 16, multi: 8, library: 23, arena: 4608768}},
		{"gpt", models.NewGPT(models.GPTConfig{Vocab: 65, Block: 64, Layers: 2, Heads: 4, Embed: 128}), tokens(4, 64, 65), tokens(4, 64, 65), counts{loop: 9, reduce: 21, row: 12, multi: 2, library: 33, arena: 4015104}},
		{"lstm", models.NewLSTMModel(models.LSTMConfig{Vocab: 65, Embed: 32, Hidden: 64}), tokens(16, 16, 65), tokens(16, 16, 65), counts{loop: 8, reduce: 3, row: 2, multi: 3, library: 13, arena: 816704}},
	} {
		t.Run(c.name, func(t *testing.T) { wantCounts(t, trainingStep(t, c.model, c.x, c.y), c.want) })
	}
}

// What fuses into one kernel.
func TestKernelsOfExpressions(t *testing.T) {
	x, w := sinter.Rand(64, 96), sinter.Rand(96, 32)
	b, g := sinter.Rand(32), sinter.Rand(96)
	one := func(c kernel.Class) counts {
		switch c {
		case kernel.ClassLoop:
			return counts{loop: 1}
		case kernel.ClassReduce:
			return counts{reduce: 1}
		case kernel.ClassRow:
			return counts{row: 1}
		}
		return counts{library: 1}
	}
	for name, c := range map[string]struct {
		y     *sinter.Tensor
		class kernel.Class
	}{
		"elementwise":              {x.Exp().AddScalar(1).Log().Mul(x), kernel.ClassLoop},
		"views fold into loads":    {x.T().Slice(0, 3, 40).Flip(1).Add(x.T().Slice(0, 10, 47)), kernel.ClassLoop},
		"producers of a reduction": {x.Sub(g).Square().Mean(1), kernel.ClassReduce},
		"epilogue of a reduction":  {x.Square().Sum(0).Sqrt().AddScalar(1), kernel.ClassReduce},
		"softmax":                  {x.Softmax(1), kernel.ClassRow},
		"layer norm":               {sinter.LayerNorm(x, g, g, 1e-5), kernel.ClassRow},
		"linear and relu":          {nn.ReLU(x.MatMul(w).Add(b)), kernel.ClassLibrary},
		"linear and gelu":          {nn.GELU(x.MatMul(w).Add(b)), kernel.ClassLibrary},
		"transposed operands":      {w.T().MatMul(x.T()).MulScalar(2), kernel.ClassLibrary},
	} {
		t.Run(name, func(t *testing.T) {
			p := sinter.Plans(func() {
				if err := sinter.Eval(c.y); err != nil {
					t.Fatal(err)
				}
			})
			want := one(c.class)
			want.arena = p[0].Arena
			wantCounts(t, p[0], want)
			if c.class != kernel.ClassRow && p[0].Arena > 0 {
				t.Errorf("an arena of %d bytes", p[0].Arena)
			}
		})
	}
}

// The same step again is the same program; another batch size is another one, and
// the reason is told.
func TestProgramsAreKept(t *testing.T) {
	model := models.NewMLP(models.MLPConfig{Inputs: 12, Hidden: []int{7}, Outputs: 3})
	opt := optim.New(model, optim.Adam{LR: optim.Cosine{Peak: 1e-3, Steps: 10}})
	run := func(n int) {
		if err := opt.Step(nn.CrossEntropy(model.Forward(sinter.Rand(n, 12)), labels(n, 3))); err != nil {
			t.Fatal(err)
		}
	}
	run(8)
	before := sinter.ReadStats()
	for range 5 {
		run(8)
	}
	if after := sinter.ReadStats(); after.Compiles != before.Compiles || after.Evaluations != before.Evaluations+5 {
		t.Errorf("five equal steps compiled %d programs", after.Compiles-before.Compiles)
	}
	run(9)
	after := sinter.ReadStats()
	if after.Recompiles != before.Recompiles+1 || after.Reason != "data was [8 12] and is [9 12]" {
		t.Errorf("another batch: %d recompilations, reason %q", after.Recompiles-before.Recompiles, fmt.Sprint(after.Reason))
	}
}

// What is accumulated over k small batches takes the arena of one of them and once more
// the memory of the parameters, in every precision; the update takes next to nothing.
func TestMemoryOfAccumulation(t *testing.T) {
	const small, k = 16, 8
	for _, c := range []struct {
		name  string
		model func() nn.Module
		x, y  func(n int) *sinter.Tensor
		loss  nn.Loss
	}{
		{"mlp", func() nn.Module {
			return models.NewMLP(models.MLPConfig{Inputs: 196, Hidden: []int{256, 256}, Outputs: 10})
		}, func(n int) *sinter.Tensor { return sinter.Rand(n, 196) }, func(n int) *sinter.Tensor { return labels(n, 10) }, nn.CrossEntropy},
		{"resnet8", func() nn.Module { return models.NewResNet(models.ResNetConfig{Depth: 8}) },
			func(n int) *sinter.Tensor { return sinter.Rand(n, 3, 16, 16) }, func(n int) *sinter.Tensor { return labels(n, 10) }, nn.CrossEntropy},
		{"gpt", func() nn.Module {
			return models.NewGPT(models.GPTConfig{Vocab: 65, Block: 32, Layers: 2, Heads: 2, Embed: 32})
		}, func(n int) *sinter.Tensor { return tokens(n, 32, 65) }, func(n int) *sinter.Tensor { return tokens(n, 32, 65) }, nn.SequenceCrossEntropy},
	} {
		for _, precision := range []sinter.Precision{sinter.FP32, sinter.BF16, sinter.FP16} {
			t.Run(fmt.Sprintf("%s/%v", c.name, precision), func(t *testing.T) {
				model := c.model()
				optimizer := func() *optim.Optimizer {
					opts := []optim.Option{optim.Precision(precision), optim.ClipNorm(1)}
					if precision == sinter.FP16 {
						opts = append(opts, optim.LossScaling(optim.GradScaler{}))
					}
					return optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)}, opts...)
				}
				program := func(what string, f func() error) *kernel.Program {
					t.Helper()
					var last *kernel.Program
					for _, p := range sinter.Plans(func() {
						if err := f(); err != nil {
							t.Fatalf("%s: %v", what, err)
						}
					}) {
						if err := null.Verify(p); err != nil {
							t.Errorf("%s: %v", what, err)
						}
						last = p
					}
					return last
				}
				step := func(n int) *kernel.Program {
					return program("step", func() error { return optimizer().Step(c.loss(model.Forward(c.x(n)), c.y(n))) })
				}
				one, whole := step(small), step(k*small)
				o := optimizer()
				x, y := c.x(small), c.y(small)
				part := program("part", func() error { return o.Accumulate(c.loss(model.Forward(x), y), small) })
				update := program("update", func() error { _, err := o.Apply(); return err })
				parameters := 0
				for _, v := range nn.Parameters(model) {
					parameters += 4 * v.Len()
				}
				// Whether the gradients lie in the arena together depends on how they are used.
				if part.Arena > one.Arena+parameters/8 {
					t.Errorf("the arena of a part is %d bytes, that of a step %d; all gradients are %d\n%s", part.Arena, one.Arena, parameters, plan.Print(part))
				}
				if update.Arena > 4096 {
					t.Errorf("the arena of the update is %d bytes\n%s", update.Arena, plan.Print(update))
				}
				if whole.Arena < one.Arena*13/10 {
					t.Errorf("the large batch takes %d bytes, the small one %d: nothing is saved", whole.Arena, one.Arena)
				}
				// The sums are variables: what the part reads and writes besides a forward
				// and a backward pass.
				sums := 0
				for i, s := range part.Slots {
					if s.Kind == kernel.Leaf && written(part, i) {
						sums += s.Bytes
					}
				}
				buffers := 0
				for _, v := range nn.State(model) {
					buffers += v.Len() * v.DType().Size()
				}
				buffers -= parameters
				if sums < parameters || sums > parameters+buffers+4 {
					t.Errorf("a part writes %d bytes of variables; the parameters have %d, the buffers %d", sums, parameters, buffers)
				}
			})
		}
	}
}

// written tells whether a step of the program writes to a slot.
func written(p *kernel.Program, slot int) bool {
	for _, s := range p.Steps {
		switch s := s.(type) {
		case *kernel.Library:
			for _, o := range s.Out {
				if o.Slot == slot {
					return true
				}
			}
			if s.Epilogue != nil && stores(s.Epilogue, s.Epilogue.Parts[0], func(a kernel.Arg) bool { return a.Slot == slot }) {
				return true
			}
		case *kernel.Fused:
			for _, part := range s.Parts {
				if stores(s, part, func(a kernel.Arg) bool { return a.Slot == slot }) {
					return true
				}
			}
		}
	}
	return false
}
