package sinter_test

import (
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/codegen/cudatest"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// gpuTarget plans as the backends of GPUs do.
type gpuTarget struct{ *codegen.Target }

func (gpuTarget) Supports(composite string, narrow bool) bool {
	return gpu.Supports(composite, narrow)
}
func (t gpuTarget) Workspace(l *kernel.Library) int { return gpu.Workspace(l, t.Target) }

// All kernels of whole training steps and evaluations compile for NVIDIA's GPUs. A part
// of them is compiled always, with SINTER_STRESS all, in every precision and for every
// architecture.
func TestKernelsCompileForGPUs(t *testing.T) {
	precisions := []sinter.Precision{sinter.BF16}
	if cudatest.All() {
		precisions = []sinter.Precision{sinter.FP32, sinter.BF16, sinter.FP16}
	}
	cases := []struct {
		name  string
		model func() nn.Module
		x, y  *sinter.Tensor
		long  bool
	}{
		{"gpt", func() nn.Module {
			return models.NewGPT(models.GPTConfig{Vocab: 65, Block: 64, Layers: 2, Heads: 4, Embed: 128})
		}, tokens(4, 64, 65), tokens(4, 64, 65), false},
		{"mlp", func() nn.Module {
			return models.NewMLP(models.MLPConfig{Inputs: 784, Hidden: []int{512, 512}, Outputs: 10})
		}, sinter.Rand(128, 784), labels(128, 10), true},
		{"lenet", func() nn.Module { return models.NewLeNet(models.LeNetConfig{}) }, sinter.Rand(64, 1, 28, 28), labels(64, 10), true},
		{"resnet8", func() nn.Module { return models.NewResNet(models.ResNetConfig{Depth: 8}) }, sinter.Rand(8, 3, 32, 32), labels(8, 10), true},
		{"lstm", func() nn.Module {
			return models.NewLSTMModel(models.LSTMConfig{Vocab: 65, Embed: 32, Hidden: 64})
		}, tokens(16, 16, 65), tokens(16, 16, 65), true},
	}
	cudatest.Check(t, func(t *testing.T, target *codegen.Target) (kernels []*codegen.Kernel) {
		for _, c := range cases {
			for _, precision := range precisions {
				if c.long && !cudatest.All() {
					continue
				}
				for _, p := range stepPrograms(t, target, precision, c.model(), c.x, c.y) {
					s, err := gpu.Lower(p, target, nil)
					if err != nil {
						t.Fatalf("%s in %v: %v", c.name, precision, err)
					}
					kernels = append(kernels, s.Kernels...)
				}
			}
		}
		t.Log(len(kernels), "kernels")
		return kernels
	})
}

// stepPrograms are the programs of a training step and of an evaluation.
func stepPrograms(t *testing.T, target *codegen.Target, precision sinter.Precision, model nn.Module, x, y *sinter.Tensor) []*kernel.Program {
	t.Helper()
	options := []optim.Option{optim.Precision(precision), optim.ClipNorm(1)}
	if precision == sinter.FP16 {
		options = append(options, optim.LossScaling(optim.GradScaler{}))
	}
	opt := optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)}, options...)
	loss := nn.CrossEntropy
	if y.Rank() == 2 {
		loss = nn.SequenceCrossEntropy
	}
	return sinter.PlansFor(gpuTarget{target}, func() {
		if err := opt.Step(loss(model.Forward(x), y)); err != nil {
			t.Fatal(err)
		}
		nn.Eval(model)
		if err := precision.Eval(loss(model.Forward(x), y)); err != nil {
			t.Fatal(err)
		}
	})
}
