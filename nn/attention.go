package nn

import (
	"math"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// MultiHeadAttention is scaled dot-product attention in several heads. Vaswani et
// al., "Attention is all you need", 2017. The variables are those of PyTorch's
// MultiheadAttention: the projections of query, key and value are one matrix.
type MultiHeadAttention struct {
	InProjWeight *sinter.Variable // [3E, E]: query, key, value
	InProjBias   *sinter.Variable // [3E], nil without
	OutProj      *Linear
	Dropout      *Dropout // of the attention weights

	heads  int
	causal bool
}

// NewMultiHeadAttention makes an attention over vectors of embed elements; heads
// has to divide embed. The input projection is Xavier-uniform, biases are 0.
// Options: NoBias, Causal, DropoutP, DType.
func NewMultiHeadAttention(embed, heads int, opts ...Option) *MultiHeadAttention {
	const name = "nn.NewMultiHeadAttention"
	positive(name, "embed", embed, "heads", heads)
	if embed%heads != 0 {
		ir.Fail(name, "%d heads do not divide an embedding of %d", heads, embed)
	}
	o := configure(name, options{}, opts, "NoBias Causal DropoutP DType")
	a := &MultiHeadAttention{
		InProjWeight: NewParameter(XavierUniform(1), o.dtype, 3*embed, embed),
		OutProj:      &Linear{Weight: NewParameter(fanInUniform(embed), o.dtype, embed, embed)},
		Dropout:      NewDropout(o.dropout),
		heads:        heads,
		causal:       o.causal,
	}
	if !o.noBias {
		a.InProjBias = NewParameter(Zeros, o.dtype, 3*embed)
		a.OutProj.Bias = NewParameter(Zeros, o.dtype, embed)
	}
	return a
}

// Forward is self-attention: [B, T, E] to [B, T, E].
func (a *MultiHeadAttention) Forward(x *sinter.Tensor) *sinter.Tensor {
	return a.Attend(x, x, x, nil)
}

// Attend lets a query [B, T, E] look at keys and values [B, S, E] and gives
// [B, T, E]. The mask may be nil; else it has a shape that broadcasts to
// [B, heads, T, S] and is bool (true: may attend) or float (added to the scores).
func (a *MultiHeadAttention) Attend(query, key, value, mask *sinter.Tensor) *sinter.Tensor {
	for _, t := range []*sinter.Tensor{query, key, value} {
		rank("nn.MultiHeadAttention", t, 3)
	}
	q, k, v := a.project(query, key, value)
	return Record(a, a.OutProj.Forward(together(attention(q, k, v, mask, a.causal, a.Dropout))), query, key, value)
}

// project gives query, key and value in heads, [B, H, T, D]. Self-attention, where
// all three come from one tensor, is one matrix product.
func (a *MultiHeadAttention) project(query, key, val *sinter.Tensor) (q, k, v *sinter.Tensor) {
	w := a.InProjWeight.Value()
	bias := value(a.InProjBias)
	if query == key && key == val {
		qkv := sinter.Linear(query, w, bias).Chunk(3, -1)
		return split(qkv[0], a.heads), split(qkv[1], a.heads), split(qkv[2], a.heads)
	}
	ws := w.Chunk(3, 0)
	bs := make([]*sinter.Tensor, 3)
	if bias != nil {
		bs = bias.Chunk(3, 0)
	}
	head := func(x *sinter.Tensor, i int) *sinter.Tensor { return split(sinter.Linear(x, ws[i], bs[i]), a.heads) }
	return head(query, 0), head(key, 1), head(val, 2)
}

// split turns [B, T, E] into [B, H, T, D], and together turns it back. Both are views.
func split(x *sinter.Tensor, heads int) *sinter.Tensor {
	return x.Reshape(x.Dim(0), x.Dim(1), heads, x.Dim(2)/heads).Transpose(1, 2)
}

func together(x *sinter.Tensor) *sinter.Tensor {
	return x.Transpose(1, 2).Reshape(x.Dim(0), x.Dim(2), x.Dim(1)*x.Dim(3))
}

// attention is sinter.Attention with dropout of the weights. The fused operation
// never has the weights in memory, so where they are dropped it is written out.
func attention(q, k, v, mask *sinter.Tensor, causal bool, drop *Dropout) *sinter.Tensor {
	if !drop.Training() || drop.P == 0 {
		return sinter.Attention(q, k, v, mask, causal, 0)
	}
	scores := q.MatMul(k.T()).MulScalar(1 / math.Sqrt(float64(q.Dim(-1))))
	if causal {
		t, s := q.Dim(2), k.Dim(2)
		visible := sinter.Ones(sinter.Bool, t, s).Tril(0)
		scores = sinter.Where(visible, scores, constant(scores, math.Inf(-1)))
	}
	switch {
	case mask == nil:
	case mask.DType() == sinter.Bool:
		scores = sinter.Where(mask, scores, constant(scores, math.Inf(-1)))
	default:
		scores = scores.Add(mask)
	}
	return drop.Forward(scores.Softmax(-1)).MatMul(v)
}

// CausalAttention is self-attention for models that keep their own projections:
// qkv [B, T, 3E] is query, key and value side by side, each with its heads side by
// side; drop drops attention weights in training. The result is [B, T, E].
func CausalAttention(qkv *sinter.Tensor, heads int, drop *Dropout) *sinter.Tensor {
	const name = "nn.CausalAttention"
	rank(name, qkv, 3)
	if heads < 1 || qkv.Dim(2)%(3*heads) != 0 {
		ir.Fail(name, "%d heads do not divide query, key and value in a tensor of shape %v", heads, qkv.Shape())
	}
	x := qkv.Chunk(3, -1)
	return together(attention(split(x[0], heads), split(x[1], heads), split(x[2], heads), nil, true, drop))
}

// TransformerEncoderLayer is self-attention and a feed-forward network, each with
// a residual connection and a layer norm; names and defaults are PyTorch's.
type TransformerEncoderLayer struct {
	SelfAttn *MultiHeadAttention
	Linear1  *Linear
	Dropout  *Dropout
	Linear2  *Linear
	Norm1    *LayerNorm
	Norm2    *LayerNorm
	Dropout1 *Dropout
	Dropout2 *Dropout

	activation Func
	normFirst  bool
}

// NewTransformerEncoderLayer makes a layer over vectors of embed elements with a
// hidden layer of feedforward units. Options: DropoutP (0.1), Activation (ReLU),
// NormFirst, Causal, Eps (1e-5), DType.
func NewTransformerEncoderLayer(embed, heads, feedforward int, opts ...Option) *TransformerEncoderLayer {
	const name = "nn.NewTransformerEncoderLayer"
	o := configure(name, options{dropout: 0.1, activation: ReLU, eps: 1e-5}, opts, "DropoutP Activation NormFirst Causal Eps DType")
	positive(name, "feedforward", feedforward)
	typed := DType(o.dtype)
	attn := []Option{typed, DropoutP(o.dropout)}
	if o.causal {
		attn = append(attn, Causal())
	}
	return &TransformerEncoderLayer{
		SelfAttn:   NewMultiHeadAttention(embed, heads, attn...),
		Linear1:    NewLinear(embed, feedforward, typed),
		Dropout:    NewDropout(o.dropout),
		Linear2:    NewLinear(feedforward, embed, typed),
		Norm1:      NewLayerNorm(embed, typed, Eps(o.eps)),
		Norm2:      NewLayerNorm(embed, typed, Eps(o.eps)),
		Dropout1:   NewDropout(o.dropout),
		Dropout2:   NewDropout(o.dropout),
		activation: o.activation,
		normFirst:  o.normFirst,
	}
}

// Forward maps [B, T, E] to [B, T, E].
func (l *TransformerEncoderLayer) Forward(x *sinter.Tensor) *sinter.Tensor {
	return l.ForwardMasked(x, nil)
}

// ForwardMasked is Forward with a mask as [MultiHeadAttention.Attend] takes it.
func (l *TransformerEncoderLayer) ForwardMasked(x, mask *sinter.Tensor) *sinter.Tensor {
	attend := func(x *sinter.Tensor) *sinter.Tensor { return l.Dropout1.Forward(l.SelfAttn.Attend(x, x, x, mask)) }
	feed := func(x *sinter.Tensor) *sinter.Tensor {
		h := l.Dropout.Forward(l.activation(l.Linear1.Forward(x)))
		return l.Dropout2.Forward(l.Linear2.Forward(h))
	}
	if l.normFirst {
		h := x.Add(attend(l.Norm1.Forward(x)))
		return Record(l, h.Add(feed(l.Norm2.Forward(h))), x)
	}
	h := l.Norm1.Forward(x.Add(attend(x)))
	return Record(l, l.Norm2.Forward(h.Add(feed(h))), x)
}
