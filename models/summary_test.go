package models_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
)

func summarize(t *testing.T, model nn.Module, x *sinter.Tensor) *nn.Summary {
	t.Helper()
	defer nn.Evaluating(model)()
	s, err := nn.Summarize(model, x)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The products of forward passes, against PyTorch's counter (scripts/reference/flops.py).
func TestFLOPs(t *testing.T) {
	text, err := os.ReadFile("testdata/flops.json")
	if err != nil {
		t.Fatal(err)
	}
	var ref struct{ FLOPs map[string]int64 }
	if err := json.Unmarshal(text, &ref); err != nil {
		t.Fatal(err)
	}
	zeros := func(shape ...int) *sinter.Tensor { return sinter.Zeros(sinter.Float32, shape...) }
	cases := map[string]struct {
		model nn.Module
		x     *sinter.Tensor
	}{
		"lenet":          {models.NewLeNet(models.LeNetConfig{}), zeros(4, 1, 28, 28)},
		"resnet20":       {models.NewResNet(models.ResNetConfig{}), zeros(1, 3, 32, 32)},
		"resnet32":       {models.NewResNet(models.ResNetConfig{Depth: 32}), zeros(2, 3, 32, 32)},
		"gpt":            {models.NewGPT(models.GPTConfig{Vocab: 65, Block: 64, Layers: 3, Heads: 4, Embed: 96}), sinter.Zeros(sinter.Int64, 2, 48)},
		"mlp":            {models.NewMLP(models.MLPConfig{Inputs: 784, Hidden: []int{512, 256}, Outputs: 10}), zeros(7, 784)},
		"conv_grouped":   {nn.NewConv2D(8, 12, 0, nn.Kernel(3, 5), nn.Stride(2), nn.Padding(1), nn.Groups(4)), zeros(3, 8, 17, 19)},
		"conv_transpose": {nn.NewConvTranspose2D(6, 4, 3, nn.Stride(2), nn.Padding(1)), zeros(2, 6, 9, 9)},
		"conv1d":         {nn.NewConv1D(5, 7, 4, nn.Padding(2), nn.Dilation(2)), zeros(2, 5, 31)},
		"encoder":        {nn.NewTransformerEncoderLayer(32, 4, 64), zeros(2, 10, 32)},
	}
	for name, want := range ref.FLOPs {
		c, ok := cases[name]
		if !ok {
			t.Errorf("%s has no case", name)
			continue
		}
		s := summarize(t, c.model, c.x)
		if s.FLOPs != want {
			t.Errorf("%s: %d, PyTorch counts %d\n%v", name, s.FLOPs, want, s)
		}
		var sum, elementwise int64
		for _, l := range s.Layers {
			sum += l.FLOPs
			elementwise += l.Elementwise
		}
		if sum != s.FLOPs || elementwise != s.Elementwise || s.Parameters != nn.Count(c.model) {
			t.Errorf("%s: the lines do not add up to the totals", name)
		}
	}
	if len(cases) != len(ref.FLOPs) {
		t.Errorf("%d cases for %d references", len(cases), len(ref.FLOPs))
	}
}

// ResNet-20 is published as 0.27 million parameters and 41 million multiplications
// (He et al., table 6 and section 4.2; 40.6 million are those of its convolutions).
func TestSummaryOfResNet(t *testing.T) {
	s := summarize(t, models.NewResNet(models.ResNetConfig{}), sinter.Zeros(sinter.Float32, 1, 3, 32, 32))
	if macs := s.FLOPs / 2; macs < 40_000_000 || macs > 41_500_000 {
		t.Errorf("%d multiplications", macs)
	}
	if s.Parameters < 265_000 || s.Parameters > 275_000 {
		t.Errorf("%d parameters", s.Parameters)
	}
	// A convolution of 16 to 16 channels, 3×3 over 32×32.
	i := slices.IndexFunc(s.Layers, func(l nn.Layer) bool { return l.Name == "layer1.1.conv2" })
	if i < 0 || s.Layers[i].FLOPs != 2*16*16*9*32*32 || !slices.Equal(s.Layers[i].Output, []int{1, 16, 32, 32}) || s.Layers[i].Parameters != 16*16*9 {
		t.Errorf("layer1.1.conv2 is wrong:\n%v", s)
	}
}

// A transformer's forward pass takes 2·N per token for its N weights of matrices and
// 4·T·E per token and layer for attention (Kaplan et al., 2020, table 1, without the
// halving by causality).
func TestSummaryOfGPT(t *testing.T) {
	const vocab, block, layers, embed, batch = 65, 64, 6, 384, 2
	model := models.NewGPT(models.GPTConfig{Vocab: vocab, Block: block, Layers: layers, Heads: 6, Embed: embed})
	s := summarize(t, model, sinter.Zeros(sinter.Int64, batch, block))
	want := int64(batch * block * (2*(12*layers*embed*embed+embed*vocab) + layers*4*block*embed))
	if s.FLOPs != want {
		t.Errorf("%d, the formula gives %d", s.FLOPs, want)
	}
	// Attention itself belongs to the layer that calls it, its products to their own.
	for name, want := range map[string]int64{
		"transformer.h.5.attn":        4 * batch * block * block * embed,
		"transformer.h.5.attn.c_attn": 2 * batch * block * embed * 3 * embed,
		"lm_head":                     2 * batch * block * embed * vocab,
		"transformer.h.5":             0,
	} {
		i := slices.IndexFunc(s.Layers, func(l nn.Layer) bool { return l.Name == name })
		if i < 0 || s.Layers[i].FLOPs != want {
			t.Errorf("%s is wrong\n%v", name, s)
		}
	}
	if text := s.String(); !strings.Contains(text, "transformer.h.5.mlp.c_fc") || !strings.Contains(text, "[2 64 1536]") {
		t.Errorf("printed:\n%s", text)
	}
}

// Own layers need not tell anything: what reads a variable belongs to it.
type plain struct {
	A *nn.Linear
	B affine
}

type affine struct{ W, C *sinter.Variable }

func (p *plain) Forward(x *sinter.Tensor) *sinter.Tensor {
	return p.A.Forward(x).MatMul(p.B.W.Value()).Add(p.B.C.Value()).Tanh()
}

func TestSummaryOfOwnLayers(t *testing.T) {
	p := &plain{A: nn.NewLinear(4, 5), B: affine{nn.NewParameter(nn.Zeros, sinter.Float32, 5, 7), nn.NewParameter(nn.Zeros, sinter.Float32, 7)}}
	nn.Freeze(p.A)
	s := summarize(t, p, sinter.Zeros(sinter.Float32, 3, 4))
	if len(s.Layers) != 3 || s.Layers[2].Name != "b" || s.Layers[2].FLOPs != 2*3*5*7 || s.Layers[2].Elementwise != 3*7 || s.Layers[0].Elementwise != 3*7 || s.Trainable != 42 {
		t.Errorf("wrong:\n%v", s)
	}
	if _, err := nn.Summarize(p, sinter.Zeros(sinter.Float32, 3, 5)); err == nil {
		t.Error("an input that does not fit gave a summary")
	}
}
