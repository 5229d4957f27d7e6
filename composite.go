package sinter

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/sinter-dl/sinter/internal/grad"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// The operations of this file are composites: the backend may have a kernel for the
// whole, and what they mean is said here by their bodies. A body is recorded once for
// operands of given shapes and types; it uses nothing but those and constants, and the
// key names every attribute that changes it.

// composite records an operation with its body, a function of its operands that is
// recorded once for each name, key and operands' shapes and types.
func composite(name string, key []byte, in []*ir.Node, body func(in []*ir.Node) []*ir.Node) []*ir.Node {
	return ir.NewRegion(template(name, key, in, body, func(r *ir.Region) { r.Grad = grad.Templated(r) }), in)
}

// templates are the bodies that have been recorded.
var templates struct {
	sync.Mutex
	regions map[string]*ir.Region
}

// maxTemplates bounds them: they are forgotten when there are more, and recorded anew.
const maxTemplates = 2048

// template is the region of a composite; one that is new is completed by finish.
func template(name string, key []byte, in []*ir.Node, body func(in []*ir.Node) []*ir.Node, finish func(*ir.Region)) *ir.Region {
	var buf [256]byte
	k := append(append(append(buf[:0], name...), 0), key...)
	for _, x := range in {
		k = append(k, byte(x.DType), byte(len(x.Shape)))
		for _, d := range x.Shape {
			k = binary.AppendUvarint(k, uint64(d))
		}
	}
	t := &templates
	t.Lock()
	r := t.regions[string(k)]
	t.Unlock()
	if r != nil {
		return r
	}
	params := make([]*ir.Node, len(in))
	for i, x := range in {
		params[i] = ir.NewParam(i, x.DType, slices.Clone(x.Shape))
	}
	r = ir.NewTemplate(name, params, body(params))
	finish(r)
	t.Lock()
	defer t.Unlock()
	if t.regions == nil || len(t.regions) >= maxTemplates {
		t.regions = make(map[string]*ir.Region)
	}
	t.regions[string(k)] = r
	return r
}

// single is the one result of a composite.
func single(results []*ir.Node) *Tensor { return wrap(results[0]) }

// attributes is the key of a composite with the given attributes, which are int,
// uint64, bool or float64.
func attributes(vs ...any) []byte {
	var b []byte
	for _, v := range vs {
		var bits uint64
		switch v := v.(type) {
		case int:
			bits = uint64(v)
		case uint64:
			bits = v
		case float64:
			bits = math.Float64bits(v)
		case bool:
			if v {
				bits = 1
			}
		default:
			panic(fmt.Sprintf("sinter: a %T is not an attribute", v))
		}
		b = binary.LittleEndian.AppendUint64(b, bits)
	}
	return b
}

// present are the nodes of those tensors that are not nil.
func present(ts ...*Tensor) []*ir.Node {
	var in []*ir.Node
	for _, t := range ts {
		if t != nil {
			in = append(in, t.node)
		}
	}
	return in
}

// Softmax is eᵗ / Σ eᵗ along an axis. It is computed in float32 or wider.
func (t *Tensor) Softmax(axis int) *Tensor { return t.alongAxis("Softmax", "softmax", axis, softmax) }

// LogSoftmax is the logarithm of Softmax, without its loss of precision.
func (t *Tensor) LogSoftmax(axis int) *Tensor {
	return t.alongAxis("LogSoftmax", "log_softmax", axis, func(x *ir.Node, axes []int) *ir.Node {
		s, lse := shifted(x, axes)
		return sub(s, ir.Unreduce(lse, x.Shape, axes))
	})
}

func (t *Tensor) alongAxis(op, name string, axis int, f func(x *ir.Node, axes []int) *ir.Node) *Tensor {
	a := axisOf(op, axis, len(t.node.Shape))
	return single(composite(name, attributes(a), []*ir.Node{floating(t.node)}, func(in []*ir.Node) []*ir.Node {
		return []*ir.Node{inWide(in[0], func(x *ir.Node) *ir.Node { return f(x, []int{a}) })}
	}))
}

func softmax(x *ir.Node, axes []int) *ir.Node {
	e := unary(ir.Exp, sub(x, ir.Unreduce(largest(x, axes), x.Shape, axes)))
	return divByRow(e, ir.Sum(e, axes), axes)
}

// divByRow is x by the row's s, as a product with 1/s: that is one division for a
// row, not one for every element.
func divByRow(x, s *ir.Node, axes []int) *ir.Node {
	return mul(x, ir.Unreduce(div(like(s, 1), s), x.Shape, axes))
}

// shifted is x less its maximum, and the logarithm of the sum of that's powers of e.
func shifted(x *ir.Node, axes []int) (s, lse *ir.Node) {
	s = sub(x, ir.Unreduce(largest(x, axes), x.Shape, axes))
	return s, unary(ir.Log, ir.Sum(unary(ir.Exp, s), axes))
}

// Linear is x·wᵀ + b for x [..., in], w [out, in] and b [out] or nil: [..., out].
func Linear(x, w, b *Tensor) *Tensor {
	in := optional(x, w, b)
	r := len(in[0].Shape)
	if r == 0 || len(in[1].Shape) != 2 || in[0].Shape[r-1] != in[1].Shape[1] {
		ir.Fail("Linear", "x of shape %v does not fit weights of shape %v; [..., in] and [out, in] are wanted", in[0].Shape, in[1].Shape)
	}
	if b != nil {
		fits("Linear", "the bias", in[2], in[1].Shape[0])
	}
	if table, ids := lookup(in[0]); table != nil && 2*table.Shape[0] <= ids.Elements() {
		// The product of a looked up row is a looked up row of the product, and the
		// table has fewer rows than are looked up. The same holds of the gradients.
		y := Embedding(Linear(wrap(table), wrap(in[1]), nil), wrap(ids))
		if b != nil {
			y = y.Add(b)
		}
		return y
	}
	if in[0].Op == ir.Transpose && in[1].Shape[0] <= in[1].Shape[1] {
		// Rows in another order: the results are put into it, which are no longer.
		if p := in[0].Attr.(ir.Axes).Axes; p[r-1] == r-1 {
			return Linear(wrap(in[0].In[0]), wrap(in[1]), b).Permute(p...)
		}
	}
	return single(composite("linear", attributes(b != nil), in, func(in []*ir.Node) []*ir.Node {
		y := ir.New(ir.DotGeneral, ir.Dot{LeftContract: []int{r - 1}, RightContract: []int{1}}, in[0], in[1])
		if b != nil {
			y = add(y, ir.Broadcast(in[2], y.Shape))
		}
		return []*ir.Node{y}
	}))
}

// Embedding takes rows of table [n, d] by number: ids [...] gives [..., d]. A number
// that is out of range gives zeros.
func Embedding(table, ids *Tensor) *Tensor {
	if len(table.node.Shape) == 0 {
		ir.Fail("Embedding", "a table of shape %v has no rows", table.node.Shape)
	}
	in := []*ir.Node{table.node, indices("Embedding", ids)}
	return single(composite("embedding", nil, in, func(in []*ir.Node) []*ir.Node {
		return []*ir.Node{ir.New(ir.Gather, ir.Index{}, in...)}
	}))
}

// lookup tells whether the rows of x, which lie along its last axis, are those of a
// table [n, d], taken by number.
func lookup(x *ir.Node) (table, ids *ir.Node) {
	last := len(x.Shape) - 1
	switch {
	case x.Op == ir.Transpose:
		if p := x.Attr.(ir.Axes).Axes; p[last] == last {
			if table, ids = lookup(x.In[0]); table != nil {
				return table, ir.Permute(ids, p[:last])
			}
		}
	case x.Op == ir.Result:
		if r, ok := x.In[0].Attr.(*ir.Region); ok && r.Name == "embedding" {
			return x.In[0].In[0], x.In[0].In[1]
		}
	case x.Op == ir.Gather && x.Attr.(ir.Index) == (ir.Index{}) && len(x.In[0].Shape) == 2:
		return x.In[0], x.In[1]
	}
	return nil, nil
}

// normalize is x less its mean over the axes, divided by the root of its variance
// plus eps; it also returns the mean and the variance.
//
// It has a gradient of its own. That of the body leads through the variance to the mean
// once more, by a sum that is zero, which makes its two sums depend on one another; those
// of the rule are taken together. Where x does not stay in the cache that is half the
// memory to read.
func normalize(x *ir.Node, axes []int, eps float64) (y, mean, variance *ir.Node) {
	key := attributes(eps)
	for _, a := range axes {
		key = append(key, byte(a))
	}
	out := ir.NewRegion(template("normalize", key, []*ir.Node{x}, func(in []*ir.Node) []*ir.Node {
		c, mean := centred(in[0], axes)
		variance := over(ir.Sum(mul(c, c), axes), count(c, axes))
		return []*ir.Node{mul(c, inverseRoot(variance, eps, c.Shape, axes)), mean, variance}
	}, func(r *ir.Region) {
		r.Grad = func(c *ir.Node, results, cots []*ir.Node, _ []bool) []*ir.Node {
			return []*ir.Node{normalizeGradient(c.In[0], results, cots, axes, eps)}
		}
	}), []*ir.Node{x})
	return out[0], out[1], out[2]
}

// normalizeGradient is the cotangent of x, given the results of normalize and theirs.
func normalizeGradient(x *ir.Node, results, cots []*ir.Node, axes []int, eps float64) *ir.Node {
	var sum *ir.Node
	put := func(d *ir.Node) {
		if sum != nil {
			d = add(sum, d)
		}
		sum = d
	}
	spread := func(v *ir.Node) *ir.Node { return ir.Unreduce(v, x.Shape, axes) }
	y, m, v := results[0], results[1], results[2]
	if g := cots[0]; g != nil {
		c := sub(g, spread(mean(g, axes)))
		put(mul(inverseRoot(v, eps, x.Shape, axes), sub(c, mul(y, spread(mean(mul(g, y), axes))))))
	}
	n := count(x, axes)
	if g := cots[1]; g != nil {
		put(spread(over(g, n)))
	}
	if g := cots[2]; g != nil {
		put(mul(spread(over(g, n/2)), sub(x, spread(m))))
	}
	return sum
}

func inverseRoot(v *ir.Node, eps float64, sh, axes []int) *ir.Node {
	return ir.Unreduce(unary(ir.Rsqrt, add(v, like(v, eps))), sh, axes)
}

// affine is y·gamma + beta, either of which may be nil; their axis i is y's axis
// axes[i].
func affine(y, gamma, beta *ir.Node, axes []int) *ir.Node {
	spread := func(x *ir.Node) *ir.Node { return ir.BroadcastTo(ir.To(x, y.DType), y.Shape, axes) }
	if gamma != nil {
		y = mul(y, spread(gamma))
	}
	if beta != nil {
		y = add(y, spread(beta))
	}
	return y
}

// scaled are the operands of a normalisation; gamma and beta, if there, must have the
// given shape.
func scaled(op string, x, gamma, beta *Tensor, want []int) []*ir.Node {
	in := append([]*ir.Node{floating(x.node)}, present(gamma, beta)...)
	for _, n := range in[1:] {
		fits(op, "the scale or shift", n, want...)
	}
	return in
}

// scaling is which of the operands that scaled lists are gamma and beta.
func scaling(in []*ir.Node, hasGamma, hasBeta bool) (gamma, beta *ir.Node) {
	if hasGamma {
		gamma = in[1]
	}
	if hasBeta {
		beta = in[len(in)-1]
	}
	return gamma, beta
}

// trailing are the axes of the rank of the first tensor that is not nil, or else the
// last axis, of x, and their extents.
func trailing(op string, x *Tensor, ts ...*Tensor) (axes, extents []int) {
	sh, n := x.node.Shape, 1
	if p := present(ts...); len(p) > 0 {
		n = len(p[0].Shape)
	}
	if n < 1 || n > len(sh) {
		ir.Fail(op, "cannot normalise %d axes of shape %v", n, sh)
	}
	return span(len(sh))[len(sh)-n:], sh[len(sh)-n:]
}

// LayerNorm normalises x over its last axes, those of gamma (or of beta if gamma is
// nil, or one axis if both are): (x − mean) / √(variance + eps) · gamma + beta. It is
// computed in float32 or wider.
func LayerNorm(x, gamma, beta *Tensor, eps float64) *Tensor {
	axes, extents := trailing("LayerNorm", x, gamma, beta)
	in := scaled("LayerNorm", x, gamma, beta, extents)
	return single(composite("layer_norm", attributes(len(axes), eps, gamma != nil, beta != nil), in, func(in []*ir.Node) []*ir.Node {
		g, b := scaling(in, gamma != nil, beta != nil)
		return []*ir.Node{inWide(in[0], func(x *ir.Node) *ir.Node {
			y, _, _ := normalize(x, axes, eps)
			return affine(y, g, b, axes)
		})}
	}))
}

// RMSNorm is x / √(mean of x² + eps) · gamma over the last axes, those of gamma, or
// one axis if gamma is nil. It is computed in float32 or wider.
func RMSNorm(x, gamma *Tensor, eps float64) *Tensor {
	axes, extents := trailing("RMSNorm", x, gamma)
	in := scaled("RMSNorm", x, gamma, nil, extents)
	return single(composite("rms_norm", attributes(len(axes), eps, gamma != nil), in, func(in []*ir.Node) []*ir.Node {
		g, _ := scaling(in, gamma != nil, false)
		return []*ir.Node{inWide(in[0], func(x *ir.Node) *ir.Node {
			r := inverseRoot(mean(mul(x, x), axes), eps, x.Shape, axes)
			return affine(mul(x, r), g, nil, axes)
		})}
	}))
}

// BatchNorm normalises x [N, C, …] over all axes but 1 with the statistics of the
// batch, as in training: (x − mean) / √(variance + eps) · gamma + beta, where gamma and
// beta [C] may be nil. It also returns the mean and the biased variance [C], which are
// float32 or wider.
func BatchNorm(x, gamma, beta *Tensor, eps float64) (y, mean, variance *Tensor) {
	sh := x.node.Shape
	if len(sh) < 2 {
		ir.Fail("BatchNorm", "wants [N, C, …], got %v", sh)
	}
	in := scaled("BatchNorm", x, gamma, beta, sh[1:2])
	out := composite("batch_norm", attributes(eps, gamma != nil, beta != nil), in, func(in []*ir.Node) []*ir.Node {
		g, b := scaling(in, gamma != nil, beta != nil)
		h, m, v := normalize(wide(in[0]), slices.Delete(span(len(sh)), 1, 2), eps)
		return []*ir.Node{ir.To(affine(h, g, b, []int{1}), in[0].DType), m, v}
	})
	return wrap(out[0]), wrap(out[1]), wrap(out[2])
}

// GroupNorm normalises x [N, C, …] over each of the given number of groups of
// channels: (x − mean) / √(variance + eps) · gamma + beta, where gamma and beta [C] may
// be nil. It is computed in float32 or wider.
func GroupNorm(x *Tensor, groups int, gamma, beta *Tensor, eps float64) *Tensor {
	sh := x.node.Shape
	if len(sh) < 2 || groups < 1 || sh[1]%groups != 0 {
		ir.Fail("GroupNorm", "wants [N, C, …] with channels that divide into %d groups, got %v", groups, sh)
	}
	in := scaled("GroupNorm", x, gamma, beta, sh[1:2])
	return single(composite("group_norm", attributes(groups, eps, gamma != nil, beta != nil), in, func(in []*ir.Node) []*ir.Node {
		g, b := scaling(in, gamma != nil, beta != nil)
		return []*ir.Node{inWide(in[0], func(x *ir.Node) *ir.Node {
			grouped := []int{sh[0], groups, shape.Elements(sh[1:]) / groups}
			y, _, _ := normalize(ir.ReshapeTo(x, grouped), []int{2}, eps)
			return affine(ir.ReshapeTo(y, sh), g, b, []int{1})
		})}
	}))
}

// Attention is softmax(q·kᵀ·scale + mask)·v for q [B, H, T, D], k [B, H, S, D] and
// v [B, H, S, E]: [B, H, T, E]. The mask broadcasts to [B, H, T, S]; it is bool, true
// where a key is attended to, or floating-point and added, and may be nil. With causal,
// query i attends to keys 0 … i only. A query that attends to no key gives zeros. Scale
// 0 is 1/√D. The softmax is computed in float32 or wider.
func Attention(q, k, v, mask *Tensor, causal bool, scale float64) *Tensor {
	const op = "Attention"
	in := promoted([]*ir.Node{floating(q.node), k.node, v.node})
	a, b, c := in[0].Shape, in[1].Shape, in[2].Shape
	if len(a) != 4 || len(b) != 4 || len(c) != 4 || a[3] != b[3] || b[2] != c[2] ||
		!slices.Equal(a[:2], b[:2]) || !slices.Equal(a[:2], c[:2]) {
		ir.Fail(op, "queries %v, keys %v and values %v do not fit; [B, H, T, D], [B, H, S, D] and [B, H, S, E] are wanted", a, b, c)
	}
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(a[3]))
	}
	if mask != nil {
		in = append(in, attentionMask(op, mask.node, []int{a[0], a[1], a[2], b[2]}, wide(in[0]).DType))
	}
	h := attention{ir.Attention{Scale: scale, Causal: causal}}
	out := h.record("attention", len(in) > 3, in, h.gradient, h.body)
	return wrap(ir.Permute(out[0], []int{0, 2, 1, 3}))
}

// attentionMask gives a mask four axes, each of extent 1 or that of the scores.
func attentionMask(op string, m *ir.Node, scores []int, d DType) *ir.Node {
	if !m.DType.IsFloat() && m.DType != Bool {
		ir.Fail(op, "the mask is %v%v; bool or a floating-point type is wanted", m.DType, m.Shape)
	}
	if s, err := shape.Broadcast(m.Shape, scores); err != nil || !slices.Equal(s, scores) {
		ir.Fail(op, "a mask of shape %v does not broadcast to the scores' %v", m.Shape, scores)
	}
	if m.DType != Bool {
		m = ir.To(m, d)
	}
	return ir.ReshapeTo(m, append([]int{1, 1, 1, 1}[len(m.Shape):], m.Shape...))
}

// attention is what the composites "attention" and "attention_grad" mean. The first
// gives the result as [B, T, H, E], the layout in which heads are put together again,
// and the logarithm of each row's sum [B, H, T]. From that the second computes the
// weights anew, so that a device that has kernels for both keeps no matrix of T × S.
type attention struct{ ir.Attention }

// record records one of the two with its body and, if not nil, its own rule.
func (h attention) record(name string, masked bool, in []*ir.Node, rule func(c *ir.Node, results, cots []*ir.Node, want []bool) []*ir.Node, body func(in []*ir.Node) []*ir.Node) []*ir.Node {
	return ir.NewRegion(template(name, h.AppendKey(attributes(masked)), in, body, func(r *ir.Region) {
		r.Attr, r.Strided, r.Grad = h.Attention, true, rule
	}), in)
}

// perHead is the product of two operands in each head, over the axis of either.
func perHead(a, b *ir.Node, left, right int) *ir.Node {
	return ir.New(ir.DotGeneral, ir.Dot{
		LeftBatch: []int{0, 1}, RightBatch: []int{0, 1}, LeftContract: []int{left}, RightContract: []int{right},
	}, a, b)
}

// scores are those of the operands q, k, v and the mask, if there is one.
func (h attention) scores(in []*ir.Node) *ir.Node {
	s := wide(perHead(in[0], in[1], 3, 3))
	s = mul(s, like(s, h.Scale))
	never := like(s, math.Inf(-1))
	if len(in) > 3 {
		m := ir.Broadcast(in[3], s.Shape)
		if m.DType == Bool {
			s = choose(m, s, never)
		} else {
			s = add(s, m)
		}
	}
	if h.Causal {
		s = choose(below(s.Shape, 0), s, never)
	}
	return s
}

// body is attention. Only a mask can leave a query without keys; the sum is then
// taken for 1 and the row's weights are zero.
func (h attention) body(in []*ir.Node) []*ir.Node {
	s, axes := h.scores(in), []int{3}
	most := largest
	if len(in) > 3 {
		most = finiteMax
	}
	top := most(s, axes)
	e := unary(ir.Exp, sub(s, ir.Unreduce(top, s.Shape, axes)))
	sum := ir.Sum(e, axes)
	if len(in) > 3 {
		sum = choose(ir.New(ir.Eq, nil, sum, like(sum, 0)), like(sum, 1), sum)
	}
	p := ir.To(div(e, ir.Unreduce(sum, s.Shape, axes)), in[2].DType)
	return []*ir.Node{ir.Permute(ir.MatMul(p, in[2]), []int{0, 2, 1, 3}), add(top, unary(ir.Log, sum))}
}

// gradient is the rule for attention. Where the gradient of the mask is wanted, which
// has the size of the scores, or where the logarithms of the sums have cotangents, as
// in a gradient of a gradient, it is written out.
func (h attention) gradient(c *ir.Node, results, cots []*ir.Node, want []bool) []*ir.Node {
	in, y, lse, dy, dlse := c.In, results[0], results[1], cots[0], cots[1]
	if dy == nil {
		dy = like(y, 0)
	}
	q, k, v := in[0].Shape, in[1].Shape, in[2].Shape
	if dlse != nil || len(in) > 3 && want[3] {
		d := h.backward(in, y, lse, dy, dlse)
		if len(in) > 3 {
			d[3] = ir.To(d[3], in[3].DType)
		}
		return d[:len(in)]
	}
	// [B, T, H, D] again, and all in one where they fit together: as the gradient of a
	// projection to query, key and value in one matrix wants it.
	packed := slices.Equal(q, k) && slices.Equal(q, v)
	flat := []int{q[0], q[2], q[1] * q[3]}
	n := len(in)
	outs := h.record("attention_grad", n > 3, append(slices.Clone(in), y, lse, dy), nil, func(in []*ir.Node) []*ir.Node {
		d := h.backward(in[:n], in[n], in[n+1], in[n+2], nil)[:3]
		for i, g := range d {
			d[i] = ir.Permute(g, []int{0, 2, 1, 3})
			if packed {
				d[i] = ir.ReshapeTo(d[i], flat)
			}
		}
		if !packed {
			return d
		}
		all := ir.New(ir.Concatenate, ir.Axis{Axis: 2}, d...)
		return []*ir.Node{add(all, like(all, 0))} // no negative zeros: see rewrite's tile
	})
	if packed {
		all := outs[0]
		outs = nil
		for i := range 3 {
			g := ir.SliceAxis(all, 2, i*flat[2], (i+1)*flat[2])
			outs = append(outs, ir.ReshapeTo(g, []int{q[0], q[2], q[1], q[3]}))
		}
	}
	grads := make([]*ir.Node, len(in))
	for i, g := range outs {
		grads[i] = ir.Permute(g, []int{0, 2, 1, 3})
	}
	return grads
}

// backward gives the cotangents of q, k, v and the mask, the last being that of the
// scores where there is no mask.
func (h attention) backward(in []*ir.Node, y, lse, dy, dlse *ir.Node) []*ir.Node {
	q, k, v := in[0], in[1], in[2]
	s, axes := h.scores(in), []int{3}
	p := unary(ir.Exp, sub(s, ir.Unreduce(lse, s.Shape, axes)))
	dy = ir.Permute(dy, []int{0, 2, 1, 3})
	delta := ir.Sum(mul(wide(dy), wide(ir.Permute(y, []int{0, 2, 1, 3}))), axes)
	if dlse != nil {
		delta = sub(delta, dlse)
	}
	dp := wide(perHead(dy, v, 3, 3))
	ds := mul(p, sub(dp, ir.Unreduce(delta, s.Shape, axes)))
	dmask := ds
	if len(in) > 3 {
		var sum []int
		for i, e := range in[3].Shape {
			if e != s.Shape[i] {
				sum = append(sum, i)
			}
		}
		dmask = ir.KeepDims(ir.Sum(ds, sum), sum)
	}
	ds = ir.To(mul(ds, like(ds, h.Scale)), q.DType)
	return []*ir.Node{perHead(ds, k, 3, 2), perHead(ds, q, 2, 2), perHead(ir.To(p, v.DType), dy, 2, 2), dmask}
}

// CrossEntropyOptions are the options of CrossEntropy; the zero value is PyTorch's
// default.
type CrossEntropyOptions struct {
	// IgnoreIndex is a class number that adds nothing to the loss; 0 stands for −100.
	// To leave out class 0, give it weight 0.
	IgnoreIndex int
	// LabelSmoothing is the part of the target that is spread over all classes.
	LabelSmoothing float64
	// Weight [C] scales the loss of each class; nil is 1.
	Weight *Tensor
	// Reduction is "mean" (also ""), which is weighted, "sum" or "none".
	Reduction string
}

// CrossEntropy is the loss −log softmax(logits)[target]. The logits are [N, C, …], or
// [C], with the classes along axis 1; the target holds class numbers and has the shape
// of the logits without that axis, or it is floating-point, has the shape of the logits
// and holds the classes' probabilities. A class number that is out of range and is not
// ignored gives NaN. The result is a scalar, or the target's shape without the classes
// if the reduction is "none". It is computed in float32 or wider.
func CrossEntropy(logits, target *Tensor, o CrossEntropyOptions) *Tensor {
	const op = "CrossEntropy"
	if o.IgnoreIndex == 0 {
		o.IgnoreIndex = -100
	}
	reduction := slices.Index([]string{"mean", "sum", "none", ""}, o.Reduction) % 3
	if reduction < 0 {
		ir.Fail(op, "reduction %q is not \"mean\", \"sum\" or \"none\"", o.Reduction)
	}
	if !(o.LabelSmoothing >= 0 && o.LabelSmoothing <= 1) {
		ir.Fail(op, "label smoothing %v is not between 0 and 1", o.LabelSmoothing)
	}
	x, t := floating(logits.node), target.node
	if len(x.Shape) == 0 {
		ir.Fail(op, "logits without axes have no classes")
	}
	c := &crossEntropy{o: o, classes: min(1, len(x.Shape)-1)}
	want := x.Shape
	if !t.DType.IsFloat() {
		t = indices(op, target)
		want = shape.Without(x.Shape, []int{c.classes})
	}
	fits(op, fmt.Sprintf("the %v target for logits of shape %v", t.DType, x.Shape), t, want...)
	in := []*ir.Node{x, t}
	if o.Weight != nil {
		fits(op, "the weight", o.Weight.node, x.Shape[c.classes])
		in = append(in, o.Weight.node)
	}

	key := attributes(o.IgnoreIndex, o.LabelSmoothing, reduction, o.Weight != nil)
	return single(composite("cross_entropy", key, in, func(in []*ir.Node) []*ir.Node {
		x, t := in[0], in[1]
		c.x = wide(x)
		if o.Weight != nil {
			c.weight = in[2]
		}
		var loss, share *ir.Node
		if t.DType.IsFloat() {
			loss, share = c.ofProbabilities(ir.To(t, c.x.DType))
		} else {
			loss, share = c.ofClasses(t)
		}
		if reduction != 2 {
			all := span(len(loss.Shape))
			loss = ir.Sum(loss, all)
			if reduction == 0 {
				loss = div(loss, ir.Sum(share, all))
			}
		}
		return []*ir.Node{ir.To(loss, x.DType)}
	}))
}

// crossEntropy is what the two kinds of target share. Both give the loss of each
// example and its share in the mean.
type crossEntropy struct {
	o       CrossEntropyOptions
	x       *ir.Node // logits
	weight  *ir.Node // of the classes, or nil
	classes int      // axis
}

func (c *crossEntropy) sum(x *ir.Node) *ir.Node { return ir.Sum(x, []int{c.classes}) }

// each repeats a value for every class.
func (c *crossEntropy) each(x *ir.Node) *ir.Node { return ir.Unreduce(x, c.x.Shape, []int{c.classes}) }

// weigh multiplies by the weight of each class, if there is one.
func (c *crossEntropy) weigh(x *ir.Node) *ir.Node {
	if c.weight == nil {
		return x
	}
	return affine(x, c.weight, nil, []int{c.classes})
}

// smoothed mixes the loss of the target with that of all classes alike, given what
// log softmax lacks to zero.
func (c *crossEntropy) smoothed(loss, missing *ir.Node) *ir.Node {
	s := c.o.LabelSmoothing
	if s == 0 {
		return loss
	}
	all := c.sum(c.weigh(missing))
	return add(mul(loss, like(loss, 1-s)), mul(all, like(all, s/float64(c.x.Shape[c.classes]))))
}

func (c *crossEntropy) ofClasses(t *ir.Node) (loss, share *ir.Node) {
	s, lse := shifted(c.x, []int{c.classes})
	one := hot(t, c.x.Shape, c.classes)
	pick := func(x *ir.Node) *ir.Node { return c.sum(choose(one, x, like(x, 0))) }
	loss, share = sub(lse, pick(s)), like(lse, 1)
	if c.weight != nil {
		share = pick(c.weigh(like(c.x, 1)))
		loss = mul(loss, share)
	}
	loss = c.smoothed(loss, sub(c.each(lse), s))
	n := like(t, float64(c.x.Shape[c.classes]))
	known := ir.New(ir.And, nil, ir.New(ir.Le, nil, like(t, 0), t), ir.New(ir.Lt, nil, t, n))
	loss = choose(known, loss, like(loss, math.NaN()))
	valid := ir.New(ir.Ne, nil, t, like(t, float64(c.o.IgnoreIndex)))
	return choose(valid, loss, like(loss, 0)), choose(valid, share, like(share, 0))
}

func (c *crossEntropy) ofProbabilities(p *ir.Node) (loss, share *ir.Node) {
	s, lse := shifted(c.x, []int{c.classes})
	missing := sub(c.each(lse), s)
	loss = c.smoothed(c.sum(mul(c.weigh(missing), p)), missing)
	return loss, like(loss, 1)
}

// Dropout makes elements of x zero with probability p and divides the others by 1 − p.
// Which ones depends on key, on step, an int64 scalar, and on the element's place only;
// for another choice at every step, step has to change.
func Dropout(x *Tensor, p float64, key uint64, step *Tensor) *Tensor {
	const op = "Dropout"
	switch {
	case p <= 0:
		return x
	case p == 1:
		return x.MulScalar(0)
	case !(p < 1):
		ir.Fail(op, "%v is not a probability", p)
	}
	n := step.node
	if n.Elements() != 1 || !n.DType.IsInt() {
		ir.Fail(op, "the step is %v%v, not an int64 scalar", n.DType, n.Shape)
	}
	in := []*ir.Node{floating(x.node), ir.ReshapeTo(ir.To(n, Int64), nil)}
	return single(composite("dropout", attributes(p, key), in, func(in []*ir.Node) []*ir.Node {
		h := in[0]
		bits := ir.NewRNGBits(ir.RNG{Seed: key}, h.Shape, in[1])
		// Shr keeps the sign, so that the mask comes after it.
		bits = ir.New(ir.And, nil, ir.New(ir.Shr, nil, bits, like(bits, 8)), like(bits, 0xffffff))
		u := ir.To(bits, Float32)
		u = mul(u, like(u, 0x1p-24))
		keep := ir.New(ir.Le, nil, like(u, p), u)
		return []*ir.Node{choose(keep, mul(h, like(h, 1/(1-p))), like(h, 0))}
	}))
}
