package sinter_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// gradients are the bytes of the loss and of all gradients, and of the model's state
// after the evaluation.
func gradients(t *testing.T, p sinter.Precision, model nn.Module, loss func() *sinter.Tensor) [][]byte {
	t.Helper()
	var values []*sinter.Tensor
	for _, v := range nn.Parameters(model) {
		values = append(values, v.Value())
	}
	l := loss()
	all := append([]*sinter.Tensor{l}, sinter.Grad(l, values...)...)
	if err := p.Eval(all...); err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, x := range all {
		b, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	for _, v := range nn.State(model) {
		out = append(out, v.Bytes())
	}
	return out
}

func same(a, b [][]byte) int {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return i
		}
	}
	return -1
}

// Checkpointed models have the same losses, gradients and running statistics, and
// drop the same elements, whatever is computed again.
func TestCheckpointSameBits(t *testing.T) {
	ids, next := tokens(3, 16, 65), labels(48, 65).Reshape(3, 16)
	images, classes := sinter.Rand(4, 3, 16, 16), labels(4, 10)
	if err := sinter.Eval(ids, next, images, classes); err != nil {
		t.Fatal(err)
	}
	for name, build := range map[string]func(every int) (nn.Module, func() *sinter.Tensor){
		"gpt": func(every int) (nn.Module, func() *sinter.Tensor) {
			m := models.NewGPT(models.GPTConfig{Vocab: 65, Block: 16, Layers: 3, Heads: 2, Embed: 32, Checkpoint: every})
			return m, func() *sinter.Tensor { return nn.SequenceCrossEntropy(m.Forward(ids), next) }
		},
		"gpt with dropout": func(every int) (nn.Module, func() *sinter.Tensor) {
			m := models.NewGPT(models.GPTConfig{Vocab: 65, Block: 16, Layers: 3, Heads: 2, Embed: 32, Dropout: 0.2, Checkpoint: every})
			return m, func() *sinter.Tensor { return nn.SequenceCrossEntropy(m.Forward(ids), next) }
		},
		"resnet": func(every int) (nn.Module, func() *sinter.Tensor) {
			m := models.NewResNet(models.ResNetConfig{Depth: 14, Checkpoint: every})
			return m, func() *sinter.Tensor { return nn.CrossEntropy(m.Forward(images), classes) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want [][]byte
			for _, every := range []int{0, 1, 2} {
				sinter.Seed(7)
				model, loss := build(every)
				for step := range 2 {
					got := gradients(t, sinter.FP32, model, loss)
					if every == 0 {
						want = append(want, got...)
						continue
					}
					n := len(got)
					if i := same(want[step*n:(step+1)*n], got); i >= 0 {
						t.Errorf("every %d, step %d: value %d of %d differs", every, step, i, n)
					}
				}
			}
		})
	}
}

// planned is the program of a training step, which is not run.
func planned(t *testing.T, p sinter.Precision, model nn.Module, loss func() *sinter.Tensor) *kernel.Program {
	t.Helper()
	opt := optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)}, optim.Precision(p))
	var programs []*kernel.Program
	sinter.Hollow(func() { programs = sinter.Plans(func() { _ = opt.Step(loss()) }) })
	if len(programs) != 1 {
		t.Fatalf("a step is %d programs", len(programs))
	}
	if err := null.Verify(programs[0]); err != nil {
		t.Error(err)
	}
	return programs[0]
}

// What checkpointing is for: the arena of a step holds the inputs of the blocks and the
// values of one block, instead of the values of all, and one forward pass is computed
// again at most.
func TestCheckpointArena(t *testing.T) {
	gpt := models.NewGPT(models.GPTConfig{Vocab: 65, Block: 256, Layers: 6, Heads: 6, Embed: 384})
	resnet := models.NewResNet(models.ResNetConfig{Depth: 20})
	const tokens, width, layers = 4 * 256, 384, 6
	for _, c := range []struct {
		name  string
		model nn.Module
		every func(n int)
		loss  func() *sinter.Tensor
		kept  int // bytes of the inputs of the blocks
		block int // of a block's values, roughly
	}{
		{"gpt", gpt, func(n int) { gpt.Transformer.Checkpoint = n }, func() *sinter.Tensor {
			return nn.SequenceCrossEntropy(gpt.Forward(sinter.Zeros(sinter.Int64, 4, 256)), sinter.Zeros(sinter.Int64, 4, 256))
		}, layers * 4 * tokens * width, 4 * tokens * 20 * width},
		{"resnet20", resnet, func(n int) { resnet.Checkpoint = n }, func() *sinter.Tensor {
			return nn.CrossEntropy(resnet.Forward(sinter.FromFloats(make([]float32, 32*3*32*32), 32, 3, 32, 32)), sinter.Zeros(sinter.Int64, 32))
		}, 4 * 32 * (16*1024*4 + 32*256*3 + 64*64*3), 4 * 32 * 16 * 1024 * 6},
	} {
		c.every(0)
		all := null.Count(planned(t, sinter.FP32, c.model, c.loss))
		c.every(1)
		again := null.Count(planned(t, sinter.FP32, c.model, c.loss))
		gradients := 4 * nn.Count(c.model)
		t.Logf("%s: an arena of %d KiB, checkpointed %d, of which %d are gradients; %d MFLOPs, checkpointed %d", c.name, all.Arena>>10, again.Arena>>10, gradients>>10, all.FLOPs/1e6, again.FLOPs/1e6)
		if limit := gradients + c.kept + c.block; again.Arena > limit {
			t.Errorf("%s: checkpointed, the arena is %d bytes, expected at most %d", c.name, again.Arena, limit)
		}
		if again.FLOPs <= all.FLOPs || 3*again.FLOPs > 4*all.FLOPs {
			t.Errorf("%s: %d FLOPs, checkpointed %d: more than one forward pass of three, or none", c.name, all.FLOPs, again.FLOPs)
		}
	}
}

// Bodies of several inputs and results, results that are inputs, values that are not
// differentiated, checkpoints in checkpoints, second derivatives.
func TestCheckpointForms(t *testing.T) {
	x, w := sinter.Rand(5, 4), sinter.NewVariable("w", sinter.Rand(4, 3))
	if err := sinter.Eval(x); err != nil {
		t.Fatal(err)
	}
	body := func(in []*sinter.Tensor) []*sinter.Tensor {
		a := in[0].MatMul(w.Value()).Tanh()
		return []*sinter.Tensor{a.Mul(in[1].Slice(1, 0, 3)), in[0], a.ArgMax(1)}
	}
	total := func(f func(in []*sinter.Tensor) []*sinter.Tensor) (sum *sinter.Tensor) {
		out := f([]*sinter.Tensor{x, x.Square()})
		return out[0].Square().Sum().Add(out[1].Exp().Sum()).Add(out[2].To(sinter.Float32).Sum())
	}
	checkpointed := func(in []*sinter.Tensor) []*sinter.Tensor { return sinter.Checkpoint(body, in...) }
	twice := func(in []*sinter.Tensor) []*sinter.Tensor {
		return sinter.Checkpoint(func(in []*sinter.Tensor) []*sinter.Tensor {
			out := sinter.Checkpoint(body, in...)
			out[0] = out[0].Sin()
			return out
		}, in...)
	}
	plain := func(in []*sinter.Tensor) []*sinter.Tensor {
		out := body(in)
		out[0] = out[0].Sin()
		return out
	}
	for name, c := range map[string][2]func(in []*sinter.Tensor) []*sinter.Tensor{"once": {body, checkpointed}, "twice": {plain, twice}} {
		var want []float32
		for i, f := range c {
			y := total(f)
			g := sinter.Grad(y, x, w.Value())
			gg := sinter.Grad(g[0].Square().Sum().Add(g[1].Sum()), x, w.Value())
			var got []float32
			for _, v := range []*sinter.Tensor{y, g[0], g[1], gg[0], gg[1]} {
				got = append(got, v.Floats()...)
			}
			if i == 0 {
				want = got
				continue
			}
			for k := range want {
				if d := math.Abs(float64(got[k] - want[k])); d > 1e-5*max(1, math.Abs(float64(want[k]))) {
					t.Errorf("%s: value %d is %v, without a checkpoint %v", name, k, got[k], want[k])
				}
			}
		}
	}
}
