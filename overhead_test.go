package sinter_test

import (
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// The benchmarks of this file measure what a step costs the host: recording,
// differentiating, finding the program. Nothing is computed.

func smallGPT() (forward func() *sinter.Tensor, model *models.GPT) {
	model = models.NewGPT(models.GPTConfig{Vocab: 65, Block: 16, Layers: 2, Heads: 2, Embed: 32})
	ids, next := labels(2*16, 65).Reshape(2, 16), labels(2*16, 65).Reshape(2, 16)
	if err := sinter.Eval(ids, next); err != nil {
		panic(err)
	}
	return func() *sinter.Tensor { return nn.SequenceCrossEntropy(model.Forward(ids), next) }, model
}

func BenchmarkHostForward(b *testing.B) {
	forward, _ := smallGPT()
	b.ReportAllocs()
	for b.Loop() {
		forward()
	}
}

func BenchmarkHostGrad(b *testing.B) {
	forward, model := smallGPT()
	var values []*sinter.Tensor
	for _, p := range nn.Parameters(model) {
		values = append(values, p.Value())
	}
	b.ReportAllocs()
	for b.Loop() {
		sinter.Grad(forward(), values...)
	}
}

func BenchmarkHostStep(b *testing.B) {
	forward, model := smallGPT()
	opt := optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)})
	b.ReportAllocs()
	sinter.Hollow(func() {
		for b.Loop() {
			_ = opt.Step(forward())
		}
	})
}
