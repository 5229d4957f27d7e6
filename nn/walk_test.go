package nn

import (
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
)

func variable() *sinter.Variable { return NewParameter(Zeros, sinter.Float32, 2) }

func names(vars []*sinter.Variable) []string {
	var l []string
	for _, v := range vars {
		l = append(l, v.Name)
	}
	return l
}

func wantNames(t *testing.T, vars []*sinter.Variable, want string) {
	t.Helper()
	if got := names(vars); !slices.Equal(got, strings.Fields(want)) {
		t.Errorf("got  %v\nwant %v", got, strings.Fields(want))
	}
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"Weight": "weight", "RunningMean": "running_mean", "InProjWeight": "in_proj_weight",
		"FC1": "fc1", "BN1": "bn1", "Conv2D": "conv2d", "Layer1Norm": "layer1_norm", "LMHead": "lm_head",
		"WTE": "wte", "CAttn": "c_attn", "QKV": "qkv", "Linear1": "linear1", "H": "h", "Größe": "größe", "Ln_1": "ln_1",
	} {
		if got := snake(name); got != want {
			t.Errorf("snake(%q) = %q, want %q", name, got, want)
		}
	}
}

type attn struct{ Q, K *Linear }

type block struct {
	Attn  attn
	Norm  *LayerNorm
	inner *Linear    // not exported: not found
	Skip  *Linear    `nn:"-"`
	Ln    *LayerNorm `nn:"ln_1"`
	Data  []float32
	Back  *tree
}

type common struct{ Scale *sinter.Variable }

type tree struct {
	common
	Blocks []*block
	Heads  map[string]Module
	Levels map[int]*Linear
	Any    any
	Nil    *Linear
	Table  [2]*sinter.Variable
	Stat   *sinter.Variable `nn:",buffer"`
}

func TestWalk(t *testing.T) {
	m := &tree{common: common{variable()}, Stat: variable()}
	m.Blocks = []*block{{
		Attn: attn{NewLinear(2, 2, NoBias()), NewLinear(2, 2)}, Norm: NewLayerNorm(2), inner: NewLinear(1, 1),
		Skip: NewLinear(1, 1), Ln: NewLayerNorm(2, NoBias()), Data: make([]float32, 1e6), Back: m,
	}}
	m.Heads = map[string]Module{"b": NewLinear(2, 1), "a": Sequential{NewLinear(2, 1, NoBias()), Func(ReLU), NewPReLU(1)}}
	m.Levels = map[int]*Linear{10: NewLinear(1, 1, NoBias()), 9: NewLinear(1, 1, NoBias())}
	m.Any = []any{Flatten{}, m.Blocks[0].Attn.K, variable()} // K is listed above already
	m.Table = [2]*sinter.Variable{variable(), nil}
	params := "scale blocks.0.attn.q.weight blocks.0.attn.k.weight blocks.0.attn.k.bias blocks.0.norm.weight blocks.0.norm.bias " +
		"blocks.0.ln_1.weight heads.a.0.weight heads.a.2.weight heads.b.weight heads.b.bias levels.9.weight levels.10.weight any.2 table.0"
	wantNames(t, Parameters(m), params)
	wantNames(t, State(m), params+" stat")
	if got := Count(m); got != 2+4+4+2+2+2+2+2+1+2+1+1+1+2+2 {
		t.Errorf("Count = %d", got)
	}
}

func TestWalkTied(t *testing.T) {
	m := struct {
		Embed *Embedding
		Out   *Linear
	}{NewEmbedding(5, 3), NewLinear(3, 5)}
	m.Out.Weight = m.Embed.Weight
	wantNames(t, Parameters(&m), "embed.weight out.bias")
	wantNames(t, Parameters(m), "embed.weight out.bias")
}

func TestWalkDuplicateName(t *testing.T) {
	m := struct {
		Linear
		Weight *sinter.Variable
	}{Linear: *NewLinear(1, 1), Weight: variable()}
	defer func() {
		if e, ok := recover().(*sinter.BuildError); !ok || !strings.Contains(e.Error(), `"weight"`) {
			t.Errorf("got %v", e)
		}
	}()
	Parameters(&m)
	t.Error("two variables of one name were accepted")
}

func TestFreeze(t *testing.T) {
	m := Sequential{NewLinear(2, 2), NewBatchNorm1D(2)}
	Freeze(m[0])
	wantNames(t, Parameters(m), "1.weight 1.bias")
	wantNames(t, State(m), "0.weight 0.bias 1.weight 1.bias 1.running_mean 1.running_var 1.num_batches_tracked")
	Unfreeze(m)
	wantNames(t, Parameters(m), "0.weight 0.bias 1.weight 1.bias")
}

// PyTorch's state_dict of nn.LSTM(…, num_layers=2, bidirectional=True) and
// nn.MultiheadAttention.
func TestPyTorchNames(t *testing.T) {
	wantNames(t, Parameters(NewLSTM(3, 4, Layers(2), Bidirectional())),
		"weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0 weight_ih_l0_reverse weight_hh_l0_reverse bias_ih_l0_reverse bias_hh_l0_reverse "+
			"weight_ih_l1 weight_hh_l1 bias_ih_l1 bias_hh_l1 weight_ih_l1_reverse weight_hh_l1_reverse bias_ih_l1_reverse bias_hh_l1_reverse")
	wantNames(t, Parameters(NewMultiHeadAttention(4, 2)), "in_proj_weight in_proj_bias out_proj.weight out_proj.bias")
	wantNames(t, Parameters(NewTransformerEncoderLayer(4, 2, 8)), "self_attn.in_proj_weight self_attn.in_proj_bias self_attn.out_proj.weight self_attn.out_proj.bias "+
		"linear1.weight linear1.bias linear2.weight linear2.bias norm1.weight norm1.bias norm2.weight norm2.bias")
	g := NewGRU(3, 4, Layers(2))
	if s := g.Variable("weight_ih_l1").Shape(); !slices.Equal(s, []int{12, 4}) {
		t.Errorf("weight_ih_l1 has shape %v", s)
	}
	if g.Variable("weight_ih_l2") != nil {
		t.Error("found weight_ih_l2 in two layers")
	}
}

func TestMode(t *testing.T) {
	drop, norm := NewDropout(0.5), NewBatchNorm2D(3)
	m := &struct {
		Layers Sequential
		Inner  struct{ Mode } // a user's own, by value
	}{Layers: Sequential{drop, norm}}
	if !drop.Training() || !norm.Training() || !m.Inner.Training() {
		t.Fatal("new layers are not in training")
	}
	Eval(m)
	if drop.Training() || norm.Training() || m.Inner.Training() {
		t.Error("Eval left a layer in training")
	}
	Train(m)
	norm.SetTraining(false)
	restore := Evaluating(m)
	if drop.Training() || norm.Training() {
		t.Error("Evaluating left a layer in training")
	}
	restore()
	if !drop.Training() || norm.Training() || !m.Inner.Training() {
		t.Error("restore did not restore")
	}
}

func TestLoadState(t *testing.T) {
	m := NewLinear(2, 1)
	w := sinter.FromFloat64s([]float64{3, 4}, 1, 2)
	if err := LoadState(m, map[string]*sinter.Tensor{"weight": w, "extra": w}, true); err == nil ||
		!strings.Contains(err.Error(), "bias") || !strings.Contains(err.Error(), "extra") {
		t.Errorf("a strict load gave %v", err)
	}
	if err := LoadState(m, map[string]*sinter.Tensor{"weight": w, "bias": w}, false); err == nil || !strings.Contains(err.Error(), "bias") {
		t.Errorf("a wrong shape gave %v", err)
	}
	before := m.Weight.Value().Floats()
	if before[0] == 3 {
		t.Error("a failed load changed the weight")
	}
	if err := LoadState(m, map[string]*sinter.Tensor{"weight": w}, false); err != nil {
		t.Fatal(err)
	}
	if got := m.Weight.Value().Floats(); !slices.Equal(got, []float32{3, 4}) {
		t.Errorf("weight is %v", got)
	}
}

func TestUnknownOption(t *testing.T) {
	defer func() {
		e, ok := recover().(*sinter.BuildError)
		if !ok || !strings.Contains(e.Error(), "Stride") || !strings.Contains(e.Error(), "walk_test.go") {
			t.Errorf("got %v", e)
		}
	}()
	NewLinear(1, 1, Stride(2))
	t.Error("Linear took a stride")
}
