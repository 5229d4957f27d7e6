package models

import (
	"math"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
)

// GPTConfig describes a [GPT].
type GPTConfig struct {
	Vocab   int     // number of tokens
	Block   int     // how many tokens it can see; 0 stands for 64
	Layers  int     // 0 stands for 4
	Heads   int     // 0 stands for 4
	Embed   int     // width of a token's vector, divisible by Heads; 0 stands for 128
	Dropout float64 // of the embeddings, attention weights and residual branches
	NoBias  bool    // no biases in linear layers and norms

	// Checkpoint computes the values of runs of so many blocks again in the backward
	// pass, instead of keeping them; 0 keeps all. See nn.Checkpoint.
	Checkpoint int
}

// GPT is a decoder-only transformer: GPT-2's architecture (pre-norm, learned
// positions, GELU by tanh, the embedding as output weight), with the names of its
// PyTorch implementations. Radford et al., "Language models are unsupervised
// multitask learners", 2019.
type GPT struct {
	Transformer *GPTBody
	LMHead      *nn.Linear // its weight is Transformer.WTE's

	block int
}

// GPTBody is everything below the output layer.
type GPTBody struct {
	WTE  *nn.Embedding // tokens
	WPE  *nn.Embedding // positions
	Drop *nn.Dropout
	H    []*GPTBlock
	LNF  *nn.LayerNorm `nn:"ln_f"`

	Checkpoint int // as in GPTConfig; it may be changed between steps
}

// GPTBlock is attention and a feed-forward network, each with a residual
// connection.
type GPTBlock struct {
	LN1  *nn.LayerNorm `nn:"ln_1"`
	Attn *GPTAttention
	LN2  *nn.LayerNorm `nn:"ln_2"`
	MLP  *GPTMLP
}

// GPTAttention is causal self-attention.
type GPTAttention struct {
	CAttn     *nn.Linear // [3E, E]: query, key, value
	CProj     *nn.Linear
	AttnDrop  *nn.Dropout
	ResidDrop *nn.Dropout

	heads int
}

// GPTMLP widens four times and narrows again.
type GPTMLP struct {
	CFC   *nn.Linear `nn:"c_fc"`
	CProj *nn.Linear
	Drop  *nn.Dropout
}

// NewGPT makes a GPT. Weights are N(0, 0.02), those that end a residual branch
// N(0, 0.02/√(2·Layers)), biases 0.
func NewGPT(c GPTConfig) *GPT {
	const name = "models.GPT"
	c.Block, c.Layers, c.Heads, c.Embed = or(c.Block, 64), or(c.Layers, 4), or(c.Heads, 4), or(c.Embed, 128)
	positive(name, "Vocab", c.Vocab, "Block", c.Block, "Layers", c.Layers, "Heads", c.Heads, "Embed", c.Embed)
	if c.Embed%c.Heads != 0 {
		ir.Fail(name, "%d heads do not divide an embedding of %d", c.Heads, c.Embed)
	}
	const std = 0.02
	plain := nn.Init(nn.Normal(0, std))
	residual := nn.Init(nn.Normal(0, std/math.Sqrt(2*float64(c.Layers))))
	linear := func(in, out int, draw nn.Option) *nn.Linear {
		opts := []nn.Option{draw, nn.BiasInit(nn.Zeros)}
		if c.NoBias {
			opts = append(opts, nn.NoBias())
		}
		return nn.NewLinear(in, out, opts...)
	}
	norm := func() *nn.LayerNorm {
		if c.NoBias {
			return nn.NewLayerNorm(c.Embed, nn.NoBias())
		}
		return nn.NewLayerNorm(c.Embed)
	}
	drop := func() *nn.Dropout { return nn.NewDropout(c.Dropout) }

	body := &GPTBody{
		WTE:  nn.NewEmbedding(c.Vocab, c.Embed, plain),
		WPE:  nn.NewEmbedding(c.Block, c.Embed, plain),
		Drop: drop(),

		Checkpoint: c.Checkpoint,
	}
	for range c.Layers {
		body.H = append(body.H, &GPTBlock{
			LN1: norm(),
			Attn: &GPTAttention{
				CAttn: linear(c.Embed, 3*c.Embed, plain), CProj: linear(c.Embed, c.Embed, residual),
				AttnDrop: drop(), ResidDrop: drop(), heads: c.Heads,
			},
			LN2: norm(),
			MLP: &GPTMLP{CFC: linear(c.Embed, 4*c.Embed, plain), CProj: linear(4*c.Embed, c.Embed, residual), Drop: drop()},
		})
	}
	body.LNF = norm()
	return &GPT{Transformer: body, LMHead: &nn.Linear{Weight: body.WTE.Weight}, block: c.Block}
}

// Block is how many tokens the model can see.
func (g *GPT) Block() int { return g.block }

// Checkpointing is how many blocks a run has whose values are computed again in the
// backward pass; 0: none is.
func (g *GPT) Checkpointing() int { return g.Transformer.Checkpoint }

// SetCheckpointing sets it for the steps that are recorded from now on.
func (g *GPT) SetCheckpointing(blocks int) { g.Transformer.Checkpoint = blocks }

// Forward maps tokens [B, T] (integers, T at most Block) to logits of the tokens
// that follow, [B, T, Vocab].
func (g *GPT) Forward(ids *sinter.Tensor) *sinter.Tensor {
	return g.LMHead.Forward(g.Transformer.Forward(ids))
}

// Forward maps tokens [B, T] to vectors [B, T, E].
func (b *GPTBody) Forward(ids *sinter.Tensor) *sinter.Tensor {
	positions := b.WPE.Weight.Value()
	if ids.Rank() != 2 || ids.Dim(1) > positions.Dim(0) {
		ir.Fail("models.GPT", "tokens of shape %v; they have to be [B T] with T at most %d", ids.Shape(), positions.Dim(0))
	}
	x := b.WTE.Forward(ids).Add(positions.Slice(0, 0, ids.Dim(1)))
	x = b.Drop.Forward(x)
	x = nn.CheckpointSequential(b.Checkpoint, x, b.H...)
	return nn.Record(b, b.LNF.Forward(x), ids)
}

// Forward maps [B, T, E] to [B, T, E].
func (b *GPTBlock) Forward(x *sinter.Tensor) *sinter.Tensor {
	h := x.Add(b.Attn.Forward(b.LN1.Forward(x)))
	return nn.Record(b, h.Add(b.MLP.Forward(b.LN2.Forward(h))), x)
}

// Forward maps [B, T, E] to [B, T, E].
func (a *GPTAttention) Forward(x *sinter.Tensor) *sinter.Tensor {
	y := nn.CausalAttention(a.CAttn.Forward(x), a.heads, a.AttnDrop)
	return nn.Record(a, a.ResidDrop.Forward(a.CProj.Forward(y)), x)
}

// Forward maps [B, T, E] to [B, T, E].
func (m *GPTMLP) Forward(x *sinter.Tensor) *sinter.Tensor {
	return nn.Record(m, m.Drop.Forward(m.CProj.Forward(nn.GELUTanh(m.CFC.Forward(x)))), x)
}

// Generate continues a prompt, which must not be empty, by n tokens and returns
// those n. Of a text longer than Block the model sees the end.
func (g *GPT) Generate(prompt []int64, n int, o GenerateOptions) (out []int64, err error) {
	defer ir.Recover(&err)
	if err := checkPrompt(prompt, g.Transformer.WTE.Weight.Shape()[0]); err != nil {
		return nil, err
	}
	defer nn.Evaluating(g)()
	text := append([]int64(nil), prompt...)
	// The text is filled up to a whole block, and the place that is asked for enters
	// as data: one program serves every length. What stands behind it cannot be seen
	// from there.
	next := sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor {
		h := g.Transformer.Forward(in[0])
		return []*sinter.Tensor{g.LMHead.Forward(h.DynamicSlice(in[1], 1, 1, h.Dim(2)))}
	})
	ids := make([]int64, g.block)
	var logits []*sinter.Tensor
	for range n {
		seen := text[max(0, len(text)-g.block):]
		copy(ids, seen)
		at := sinter.FromInts([]int64{0, int64(len(seen) - 1), 0}, 3)
		if logits, err = next.CallInto(logits, sinter.FromInts(ids, 1, g.block), at); err != nil {
			return nil, err
		}
		text = append(text, o.next(logits[0].Floats()))
	}
	return text[len(prompt):], nil
}
