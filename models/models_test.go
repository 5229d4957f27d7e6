package models

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// Parameter counts that are published for these networks, or follow from them.
func TestCounts(t *testing.T) {
	for _, c := range []struct {
		name  string
		model any
		want  int
	}{
		{"mlp", NewMLP(MLPConfig{Inputs: 784, Hidden: []int{512}, Outputs: 10}), 784*512 + 512 + 512*10 + 10},
		{"lenet", NewLeNet(LeNetConfig{}), 61706},                // LeNet-5
		{"resnet20", NewResNet(ResNetConfig{}), 269722},          // 0.27 M in the paper
		{"resnet56", NewResNet(ResNetConfig{Depth: 56}), 853018}, // 0.85 M
		{"gpt", NewGPT(GPTConfig{Vocab: 65, Block: 64, Layers: 4, Heads: 4, Embed: 128}), 65*128 + 64*128 + 4*(12*128*128+13*128) + 2*128},
		{"lstm", NewLSTMModel(LSTMConfig{Vocab: 50, Hidden: 32, Layers: 2, Tie: true}), 50*32 + 2*(8*32*32+8*32) + 50},
		{"tabular", NewTabular(TabularConfig{Inputs: 64, Outputs: 10}), 64*128 + 128 + 128*10 + 10},
	} {
		if got := nn.Count(c.model); got != c.want {
			t.Errorf("%s has %d parameters, want %d", c.name, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	var names []string
	for _, v := range nn.Parameters(NewGPT(GPTConfig{Vocab: 5, Block: 4, Layers: 1, Heads: 1, Embed: 8, NoBias: true})) {
		names = append(names, v.Name)
	}
	want := strings.Fields("transformer.wte.weight transformer.wpe.weight transformer.h.0.ln_1.weight transformer.h.0.attn.c_attn.weight " +
		"transformer.h.0.attn.c_proj.weight transformer.h.0.ln_2.weight transformer.h.0.mlp.c_fc.weight transformer.h.0.mlp.c_proj.weight transformer.ln_f.weight")
	if !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}

// Every model takes a step on a small batch, and its loss falls in a few.
func TestModelsLearn(t *testing.T) {
	sinter.Seed(1)
	classes := sinter.FromInts([]int64{0, 1, 2, 1}, 4)
	images := func(c, size int) *sinter.Tensor { return sinter.Randn(4, c, size, size) }
	ids := sinter.FromInts([]int64{0, 1, 2, 3, 4, 0, 1, 2}, 2, 4)
	next := sinter.FromInts([]int64{1, 2, 3, 4, 0, 1, 2, 3}, 2, 4)
	for _, c := range []struct {
		name  string
		model nn.Module
		x, y  *sinter.Tensor
		loss  nn.Loss
	}{
		{"mlp", NewMLP(MLPConfig{Inputs: 12, Hidden: []int{8, 8}, Outputs: 3, BatchNorm: true, Dropout: 0.1, Activation: "gelu"}), images(3, 2), classes, nn.CrossEntropy},
		{"lenet", NewLeNet(LeNetConfig{Size: 12, Classes: 3}), images(1, 12), classes, nn.CrossEntropy},
		{"resnet", NewResNet(ResNetConfig{Depth: 8, Classes: 3}), images(3, 8), classes, nn.CrossEntropy},
		{"lstm", NewLSTMModel(LSTMConfig{Vocab: 5, Hidden: 16, Layers: 2, Dropout: 0.1, Tie: true}), ids, next, nn.SequenceCrossEntropy},
		{"gpt", NewGPT(GPTConfig{Vocab: 5, Block: 4, Layers: 2, Heads: 2, Embed: 16, Dropout: 0.1}), ids, next, nn.SequenceCrossEntropy},
		{"tabular", NewTabular(TabularConfig{Inputs: 3, Hidden: []int{8}, Regression: true, InputNorm: true}), sinter.Randn(4, 3), sinter.FromFloats([]float32{1, 2, 3, 4}, 4), nn.MSE},
	} {
		if err := sinter.Eval(c.x); err != nil {
			t.Fatal(err)
		}
		o := optim.New(c.model, optim.Adam{LR: optim.Constant(0.01)})
		var first, last float64
		for i := range 25 {
			loss := c.loss(c.model.Forward(c.x), c.y)
			if err := o.Step(loss); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if last = loss.Float(); i == 0 {
				first = last
			}
		}
		if !(last < 0.9*first) {
			t.Errorf("%s: the loss went from %v to %v in 25 steps", c.name, first, last)
		}
		if u := o.Unused(); len(u) > 0 {
			t.Errorf("%s: the loss does not depend on %s", c.name, u[0].Name)
		}
	}
}

// An untrained GPT of N(0, 0.02) weights knows nothing of what follows: its loss is
// log(vocab).
func TestGPTInitialLoss(t *testing.T) {
	g := NewGPT(GPTConfig{Vocab: 65, Block: 16, Layers: 2, Heads: 2, Embed: 32})
	ids, next := sinter.RandInt(0, 65, 4, 16), sinter.RandInt(0, 65, 4, 16)
	loss := nn.SequenceCrossEntropy(g.Forward(ids), next).Float()
	if math.Abs(loss-math.Log(65)) > 0.1 {
		t.Errorf("loss %v, want about %v", loss, math.Log(65))
	}
}

type generator interface {
	Generate(prompt []int64, n int, o GenerateOptions) ([]int64, error)
}

func TestGenerate(t *testing.T) {
	gpt := NewGPT(GPTConfig{Vocab: 7, Block: 4, Layers: 1, Heads: 1, Embed: 8, Dropout: 0.5})
	for name, m := range map[string]generator{"gpt": gpt, "lstm": NewLSTMModel(LSTMConfig{Vocab: 7, Hidden: 8})} {
		draw := func(o GenerateOptions) []int64 {
			o.Generator = sinter.NewGenerator(3)
			out, err := m.Generate([]int64{1, 2, 3}, 6, o)
			if err != nil {
				t.Fatal(err)
			}
			if len(out) != 6 {
				t.Fatalf("%s: %d tokens, want 6", name, len(out))
			}
			return out
		}
		greedy := draw(GenerateOptions{})
		if !slices.Equal(greedy, draw(GenerateOptions{Temperature: 1, TopK: 1})) {
			t.Errorf("%s: the only token of the best one is not the best", name)
		}
		if !slices.Equal(draw(GenerateOptions{Temperature: 2}), draw(GenerateOptions{Temperature: 2})) {
			t.Errorf("%s: one seed gave two texts", name)
		}
		if _, err := m.Generate(nil, 1, GenerateOptions{}); err == nil {
			t.Errorf("%s: an empty prompt was accepted", name)
		}
		if _, err := m.Generate([]int64{7}, 1, GenerateOptions{}); err == nil {
			t.Errorf("%s: a token outside of the vocabulary was accepted", name)
		}
	}
	if !gpt.Transformer.Drop.Training() {
		t.Error("Generate left the model in the mode of use")
	}
}

func TestSample(t *testing.T) {
	g := sinter.NewGenerator(1)
	counts := make([]int, 4)
	o := GenerateOptions{Temperature: 0.5, TopK: 2, Generator: g}
	for range 4000 {
		counts[o.sample([]float32{0, float32(math.Log(2)), -1, -2})]++
	}
	// The logits are doubled: odds of 1 to 4.
	if counts[2]+counts[3] != 0 || math.Abs(float64(counts[1])/4000-0.8) > 0.03 {
		t.Errorf("counts %v, want about 800 and 3200", counts)
	}
}

func TestWrongInput(t *testing.T) {
	defer func() {
		if e, ok := recover().(*sinter.BuildError); !ok || !strings.Contains(e.Error(), "28") {
			t.Errorf("got %v", e)
		}
	}()
	NewLeNet(LeNetConfig{}).Forward(sinter.Zeros(sinter.Float32, 1, 1, 32, 32))
}
