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

func BenchmarkHostCompiledStep(b *testing.B) {
	model := models.NewGPT(models.GPTConfig{Vocab: 65, Block: 16, Layers: 2, Heads: 2, Embed: 32})
	opt := optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)})
	ids, next := labels(2*16, 65).Reshape(2, 16), labels(2*16, 65).Reshape(2, 16)
	if err := sinter.Eval(ids, next); err != nil {
		b.Fatal(err)
	}
	step := opt.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
		return nn.SequenceCrossEntropy(model.Forward(in[0]), in[1]), nil
	})
	b.ReportAllocs()
	sinter.Hollow(func() {
		for b.Loop() {
			_, _, _ = step.Step(ids, next)
		}
	})
}

// BenchmarkForwardOfOne is a prediction for one example, 784-128-10: from floats in to
// floats out, recorded each time and compiled; and the host's part of the latter.
func BenchmarkForwardOfOne(b *testing.B) {
	net := models.NewMLP(models.MLPConfig{Inputs: 784, Hidden: []int{128}, Outputs: 10})
	nn.Eval(net)
	input := sinter.NewHostBuffer(sinter.Float32, 1, 784)
	result := make([]float32, 10)
	b.Run("recorded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			input.Reuse()
			if err := net.Forward(input.Tensor(1)).ReadFloats(result); err != nil {
				b.Fatal(err)
			}
		}
	})
	compiled := func(b *testing.B) {
		forward := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{net.Forward(in[0])} })
		var out []*sinter.Tensor
		var err error
		b.ReportAllocs()
		for b.Loop() {
			input.Reuse()
			if out, err = forward.CallInto(out, input.Tensor(1)); err != nil {
				b.Fatal(err)
			}
			if err = out[0].ReadFloats(result); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("compiled", compiled)
	b.Run("host", func(b *testing.B) { sinter.Hollow(func() { compiled(b) }) })
}
