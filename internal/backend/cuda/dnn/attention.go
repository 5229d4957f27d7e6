package dnn

import (
	"math"

	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// The composites attention and attention_grad, as the graphs of matrix products, row
// operations and masks by which cuDNN recognizes them and puts its fused kernels in their
// place (the forms of NVIDIA's cudnn-frontend; Dao et al., "FlashAttention-2", 2023).
//
// The gradient of the queries sums over blocks of keys. cuDNN's faster way adds these
// with atomic operations, in another order each time. What makes the order fixed is to ask
// for the product dS·K as a whole, which takes a matrix of scores of 16 bits in the
// workspace (for sequences so long that this is no sacrifice there are kernels of our
// own).

// extent is what both directions have in common.
type extent struct {
	ir.Attention
	backward       bool
	b, h, t, s     int // batches, heads, queries, keys
	d, e           int // elements of a key, of a value
	q, k, v        *kernel.Operand
	y, sum, dy     *kernel.Operand // the result, the logarithms of the sums, the result's cotangent
	dq, dk, dv     *kernel.Operand
	packed, masked bool
}

// sums is the bytes of a number for every row of scores.
func (a *extent) sums() int { return roundUp(4*a.b*a.h*a.t, 256) }

// heads reads the operands of an attention composite; nil if it is none.
func heads(l *kernel.Library) *extent {
	region, ok := l.Attr.(*ir.Region)
	if !ok {
		return nil
	}
	at, ok := region.Attr.(ir.Attention)
	if !ok || len(l.In) < 3 {
		return nil
	}
	a := &extent{Attention: at, q: &l.In[0], k: &l.In[1], v: &l.In[2]}
	a.b, a.h, a.t, a.d = a.q.Shape[0], a.q.Shape[1], a.q.Shape[2], a.q.Shape[3]
	a.s, a.e = a.k.Shape[2], a.v.Shape[3]
	switch region.Name {
	case "attention":
		a.masked = len(l.In) > 3
		a.y, a.sum = &l.Out[0], &l.Out[1]
	case "attention_grad":
		a.backward, a.masked, a.packed = true, len(l.In) > 6, len(l.Out) == 1
		rest := l.In[len(l.In)-3:]
		a.y, a.sum, a.dy = &rest[0], &rest[1], &rest[2]
		a.dq, a.dk, a.dv = &l.Out[0], &l.Out[0], &l.Out[0]
		if !a.packed {
			a.dk, a.dv = &l.Out[1], &l.Out[2]
		}
	default:
		return nil
	}
	return a
}

// attention is the graph of either composite.
func (p *Planner) attention(l *kernel.Library) *graph {
	a := heads(l)
	switch {
	case a == nil:
		return refuse("no attention")
	case p.Card.Head == 0:
		return refuse("no fused attention on %s cards", p.Card.Name)
	case !half(a.q.DType):
		return refuse("no fused attention of %v", a.q.DType)
	case a.masked:
		return refuse("no fused attention with a mask of any form")
	case a.d%8 != 0 || a.e%8 != 0 || a.d > p.Card.Head || a.e > p.Card.Head:
		return refuse("heads of %d and %d elements; multiples of 8 up to %d are wanted", a.d, a.e, p.Card.Head)
	case p.version == 91000 || p.version == 91001:
		return refuse("the attention of cuDNN 9.10.0 and 9.10.1 is known to be wrong")
	case a.backward && p.version <= 91500 && a.s%128 != 0:
		return refuse("gradients over %d keys want cuDNN 9.15.1", a.s)
	case a.backward && a.t == 1 && a.s == 1, a.b*a.h*a.t*a.s == 0:
		return refuse("%d queries and %d keys", a.t, a.s)
	case a.t == 1 && a.Causal && p.version <= 90900:
		return refuse("a single query with a mask wants cuDNN 9.9.1")
	}
	for _, o := range []*kernel.Operand{a.q, a.k, a.v, a.y, a.dy, a.dq, a.dk, a.dv} {
		if o == nil {
			continue
		}
		// cuDNN moves 16 bytes at once and does not look whether it may.
		if o.DType != a.q.DType || o.Slot < 0 || o.Offset%8 != 0 {
			return refuse("an operand of %v at element %d", o.DType, o.Offset)
		}
		for i, n := range o.Shape[:len(o.Shape)-1] {
			if n != 1 && (o.Stride[i] <= 0 || o.Stride[i]%8 != 0) {
				return refuse("an operand with strides %v", o.Stride)
			}
		}
	}
	if a.backward {
		return a.gradient()
	}
	return a.forward()
}

// rows adds an operand that lies as [B, H, T, D].
func (a *extent) rows(g *graph, o *kernel.Operand) id {
	return g.operand(o, 0, o.Shape, positive(o.Shape, o.Stride))
}

// turned adds an operand [B, H, S, D] as [B, H, D, S].
func (a *extent) turned(g *graph, o *kernel.Operand) id {
	st := positive(o.Shape, o.Stride)
	return g.operand(o, 0, []int{o.Shape[0], o.Shape[1], o.Shape[3], o.Shape[2]}, []int{st[0], st[1], st[3], st[2]})
}

// exchanged adds an operand [B, T, H, D], or columns of it from an element on, as [B, H, T, D].
func (a *extent) exchanged(g *graph, o *kernel.Operand, from, t, d int) id {
	st := positive(o.Shape, o.Stride)
	if len(o.Shape) == 3 { // [B, T, 3·H·D]
		st = []int{st[0], st[1], d, 1}
	}
	return g.operand(o, from, []int{a.b, a.h, t, d}, []int{st[0], st[2], st[1], st[3]})
}

// positive are strides with those of axes of one element made up, as of contiguous ones.
func positive(shape, stride []int) []int {
	st := append([]int(nil), stride...)
	for i := len(st) - 1; i >= 0; i-- {
		if shape[i] == 1 {
			st[i] = 1
			if i+1 < len(st) {
				st[i] = st[i+1] * shape[i+1]
			}
		}
	}
	return st
}

// perRow adds the operand [B, H, T] as [B, H, T, 1].
func (a *extent) perRow(g *graph, o *kernel.Operand) id {
	return g.operand(o, 0, []int{a.b, a.h, a.t, 1}, []int{a.h * a.t, a.t, 1, 1})
}

// causal sets the scores of keys after the query to −∞.
func (a *extent) causal(g *graph, s id, scores []int) id {
	if !a.Causal {
		return s
	}
	row := g.index(2, g.virtual(cudnn.I32, scores...), s)
	col := g.index(3, g.virtual(cudnn.I32, scores...), s)
	seen := g.pointwise(cudnn.CompareGE, cudnn.Bool, g.virtual(cudnn.Bool, scores...), row, col)
	return g.pointwise(cudnn.BinarySelect, cudnn.F32, g.virtual(cudnn.F32, scores...), s, g.number(float32(math.Inf(-1)), 4), seen)
}

func (a *extent) forward() *graph {
	g := &graph{}
	scores, row := []int{a.b, a.h, a.t, a.s}, []int{a.b, a.h, a.t, 1}
	value := func() id { return g.virtual(cudnn.F32, scores...) }
	perRow := func() id { return g.virtual(cudnn.F32, row...) }
	q, kt := a.rows(g, a.q), a.turned(g, a.k)
	s := g.matmul(q, kt, value())
	s = g.pointwise(cudnn.Mul, cudnn.F32, value(), s, g.number(float32(a.Scale), 4))
	s = a.causal(g, s, scores)
	top := g.reduce(cudnn.ReduceMax, perRow(), s)
	s = g.pointwise(cudnn.Sub, cudnn.F32, value(), s, top)
	e := g.pointwise(cudnn.Exp, cudnn.F32, value(), s)
	sum := g.reduce(cudnn.ReduceAdd, perRow(), e)
	if a.sum.Slot >= 0 {
		log := g.pointwise(cudnn.Log, cudnn.F32, perRow(), sum)
		g.pointwise(cudnn.Add, cudnn.F32, a.perRow(g, a.sum), top, log)
	}
	w := g.pointwise(cudnn.Div, cudnn.F32, g.virtual(types[a.q.DType], scores...), e, sum)
	g.matmul(w, a.rows(g, a.v), a.exchanged(g, a.y, 0, a.t, a.e))
	return g
}

func (a *extent) gradient() *graph {
	g := &graph{scratch: a.sums()}
	scores, row := []int{a.b, a.h, a.t, a.s}, []int{a.b, a.h, a.t, 1}
	value := func() id { return g.virtual(cudnn.F32, scores...) }
	// The transpose of a matrix of scores, rounded for a product.
	turn := func(x id) id {
		return g.reshape(g.add(tensor{kind: types[a.q.DType], dims: []int{a.b, a.h, a.s, a.t},
			stride: []int{a.h * a.t * a.s, a.t * a.s, 1, a.s}, where: place{virtual: true}}), x)
	}
	q, kt, vt := a.rows(g, a.q), a.turned(g, a.k), a.turned(g, a.v)
	y, dy := a.exchanged(g, a.y, 0, a.t, a.e), a.exchanged(g, a.dy, 0, a.t, a.e)
	sum := a.perRow(g, a.sum)

	// The sum of dy·y along each row, in memory because two kernels take part.
	delta := g.pointwise(cudnn.Mul, cudnn.F32, g.virtual(cudnn.F32, a.b, a.h, a.t, a.e), dy, y)
	delta = g.reduce(cudnn.ReduceAdd, g.virtual(cudnn.F32, row...), delta)
	delta = g.pointwise(cudnn.Mul, cudnn.F32, g.add(tensor{kind: cudnn.F32, dims: row, stride: contiguous(row), where: place{scratch: true}}), delta, g.number(1, 4))

	// The weights again, and the gradient of the values: dV = Wᵀ·dY.
	s := g.matmul(q, kt, value())
	s = g.pointwise(cudnn.Mul, cudnn.F32, value(), s, g.number(float32(a.Scale), 4))
	s = g.pointwise(cudnn.Sub, cudnn.F32, value(), s, sum)
	s = a.causal(g, s, scores)
	w := g.pointwise(cudnn.Exp, cudnn.F32, value(), s)
	// Where the three gradients are one matrix, they lie side by side.
	part := a.h * a.d
	if !a.packed {
		part = 0
	}
	g.matmul(turn(w), dy, a.exchanged(g, a.dv, 2*part, a.s, a.e))

	// dS = W·(dY·Vᵀ − delta)·scale, dK = dSᵀ·Q, dQ = dS·K.
	ds := g.matmul(dy, vt, value())
	ds = g.pointwise(cudnn.Sub, cudnn.F32, value(), ds, delta)
	ds = g.pointwise(cudnn.Mul, cudnn.F32, value(), ds, w)
	ds = g.pointwise(cudnn.Mul, cudnn.F32, value(), ds, g.number(float32(a.Scale), 4))
	g.matmul(turn(ds), q, a.exchanged(g, a.dk, part, a.s, a.d))
	st := g.tensors[kt].stride
	k := g.reshape(g.add(tensor{kind: types[a.q.DType], dims: []int{a.b, a.h, a.s, a.d}, stride: []int{st[0], st[1], st[3], st[2]}, where: place{virtual: true}}), kt)
	g.matmul(ds, k, a.exchanged(g, a.dq, 0, a.t, a.d))
	return g
}
