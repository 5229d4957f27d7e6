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
		{"mlp", models.NewMLP(models.MLPConfig{Inputs: 784, Hidden: []int{512, 512}, Outputs: 10}), sinter.Rand(128, 784), labels(128, 10), counts{loop: 1, reduce: 5, row: 2, multi: 2, library: 8, arena: 3201088}},
		{"lenet", models.NewLeNet(models.LeNetConfig{}), images, labels(64, 10), counts{loop: 1, reduce: 5, row: 2, multi: 3, library: 18, arena: 2896960}},
		{"resnet8", models.NewResNet(models.ResNetConfig{Depth: 8}), sinter.Rand(8, 3, 32, 32), labels(8, 10), counts{loop: 11, reduce: 17, row: 16, multi: 8, library: 23, arena: 4608256}},
		{"gpt", models.NewGPT(models.GPTConfig{Vocab: 65, Block: 64, Layers: 2, Heads: 4, Embed: 128}), tokens(4, 64, 65), tokens(4, 64, 65), counts{loop: 9, reduce: 26, row: 12, multi: 2, library: 33, arena: 4014592}},
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
