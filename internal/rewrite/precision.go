package rewrite

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// precision makes the products of float32 (matrix products and convolutions) take
// operands of the type low and add up in float32. All else stays float32: losses,
// statistics of norms, softmax, gradients of weights, updates and the weights that
// they update.
//
// Attention, which is two products, and its gradient do so where the device has kernels
// that read low operands; see narrowed. Elsewhere they stay float32.
//
// A value that the graph computes is a number of type low for everybody, so that one
// copy of it has to be kept, half as large, where
//
//   - a product reads it (a factor), or
//   - it is the result of a product, with its bias, that more than one operation
//     reads on the way to further products: it is wanted again for the backward pass.
//
// A bias is rounded as well where all that becomes of its sum is rounded so: it adds no
// error of another size, and libraries add a bias of the result's type only. PyTorch's
// autocast does so, too.
//
// Leaves, the variables first of all, keep their value and are rounded once for all
// products. The conversion stands below views, where the kernel that computes the
// value does it on the way to memory.
func precision(w *walk, n *ir.Node) *ir.Node {
	if w.low == dtype.Invalid {
		return n
	}
	if w.rounded == nil {
		w.findRounded()
	}
	switch {
	case isProduct(n):
		n = w.product(n)
	case w.isAttention(n):
		n = w.attention(n)
	case n.Op == ir.Result && narrowed(n.In[0], n.Attr.(ir.Number).N) && n.DType != w.low:
		c := *n
		c.DType = w.low
		n = ir.To(w.unique(&c), dtype.Float32)
	}
	if w.biased[w.from] && n.Op == ir.Add {
		c := *n
		c.In = slices.Clone(n.In)
		for i, x := range c.In {
			if isBias(x) {
				c.In[i] = w.unique(ir.To(w.narrow(x), dtype.Float32))
			}
		}
		n = w.unique(&c)
	}
	if w.rounded[w.from] {
		return ir.To(w.narrow(n), dtype.Float32)
	}
	return n
}

// isProduct tells whether n is a product that the pass is about.
func isProduct(n *ir.Node) bool {
	return (n.Op == ir.DotGeneral || n.Op == ir.Conv) && n.In[0].DType == dtype.Float32
}

// isAttention tells whether n is a composite that the pass is about.
func (w *walk) isAttention(n *ir.Node) bool {
	if n.Op != ir.Composite || n.In[0].DType != dtype.Float32 {
		return false
	}
	r := n.Attr.(*ir.Region)
	_, ok := r.Attr.(ir.Attention)
	return ok && w.supports(r.Name, true)
}

// factors are the operands of a product, or of attention or its gradient, that are
// numbers of type low: of attention all but a mask, which is added to scores, and the
// logarithms of sums, which are subtracted from them.
func factors(n *ir.Node) []int {
	switch {
	case n.Op != ir.Composite:
		return []int{0, 1}
	case n.Attr.(*ir.Region).Name == "attention":
		return []int{0, 1, 2}
	}
	y := len(n.In) - 3
	return []int{0, 1, 2, y, y + 2}
}

// attention is n on narrow operands: what it means is what it meant of their float32
// values, and results that are narrow, too.
func (w *walk) attention(n *ir.Node) *ir.Node {
	c := *n
	outs := c.Body()
	c.In = slices.Clone(n.In)
	wide := make(map[*ir.Node]*ir.Node, len(n.In))
	for _, x := range n.In {
		wide[x] = x
	}
	for _, i := range factors(n) {
		c.In[i] = w.narrow(n.In[i])
		wide[n.In[i]] = ir.To(c.In[i], dtype.Float32)
	}
	r := *n.Attr.(*ir.Region)
	own := ir.Region{Name: r.Name, Key: append(slices.Clip(r.Key), byte(w.low)), Attr: r.Attr, Strided: r.Strided}
	for i, o := range ir.SubstituteWhere(outs, wide, func(*ir.Node) bool { return false }) {
		if c.Attr = &own; narrowed(&c, i) {
			o = ir.To(o, w.low)
		}
		own.Outs = append(own.Outs, o)
	}
	return &c
}

// narrowed tells whether result i of a composite is of type low: the result of attention is,
// and each gradient, and the logarithms of sums are not.
func narrowed(c *ir.Node, i int) bool {
	r, ok := c.Attr.(*ir.Region)
	if !ok {
		return false
	}
	_, ok = r.Attr.(ir.Attention)
	return ok && c.In[0].DType.IsFloat() && c.In[0].DType.Size() == 2 && (i == 0 || r.Name != "attention")
}

// product is n on narrow operands.
func (w *walk) product(n *ir.Node) *ir.Node {
	c := *n
	switch a := n.Attr.(type) {
	case ir.Dot:
		a.Result = dtype.Float32
		c.Attr = a
	case ir.ConvAttr:
		a.Result = dtype.Float32
		c.Attr = a
	}
	c.In = []*ir.Node{w.narrow(n.In[0]), w.narrow(n.In[1])}
	return w.unique(&c)
}

// narrow is x in the type low.
func (w *walk) narrow(x *ir.Node) *ir.Node {
	switch {
	case x.Op == ir.Convert && x.In[0].DType == w.low:
		return x.In[0]
	case x.Op == ir.Slice && x.In[0].Op.Class() == ir.ClassLeaf:
		// Part of a leaf: the rest need not be converted.
	case x.Op.Class() == ir.ClassView || x.Op.Class() == ir.ClassStore:
		c := *x
		c.DType, c.In = w.low, make([]*ir.Node, len(x.In))
		for i, y := range x.In {
			c.In[i] = w.narrow(y)
		}
		if p, ok := c.Attr.(ir.Padding); ok {
			p.Value = ir.FloatBits(w.low, ir.Literal{Bits: p.Value}.Float(dtype.Float32))
			c.Attr = p
		}
		return w.unique(&c)
	}
	return w.unique(ir.To(x, w.low))
}

// findRounded marks the nodes of the old graph whose values are rounded, and the sums of a
// product and a bias whose bias is.
func (w *walk) findRounded() {
	w.rounded = make(map[*ir.Node]bool)
	readers := make(map[*ir.Node][]*ir.Node) // through views
	feeds := make(map[*ir.Node]bool)         // products, directly or not
	for _, n := range slices.Backward(w.old.Nodes) {
		in := n.In
		if n.Op == ir.Barrier {
			in = in[:1] // the others are not read
		}
		for _, x := range in {
			feeds[x] = feeds[x] || feeds[n] || isProduct(n) || w.isAttention(n)
			if n.Op.Class() != ir.ClassView {
				readers[seen(x)] = append(readers[seen(x)], n)
			}
		}
	}
	var sums []*ir.Node
	for _, n := range w.old.Nodes {
		if !isProduct(n) && !w.isAttention(n) {
			continue
		}
		for _, i := range factors(n) {
			if x := seen(n.In[i]); x.Op.Class() != ir.ClassLeaf {
				w.rounded[x] = true
			}
		}
		if !isProduct(n) {
			continue
		}
		y := n
		if r := readers[y]; len(r) == 1 && r[0].Op == ir.Add && slices.ContainsFunc(r[0].In, isBias) {
			y = r[0]
			sums = append(sums, y)
		}
		// What no further product depends on is the gradient of a weight. A maximum is
		// taken of logits, whose exponentials would tell the difference.
		if r := readers[y]; len(r) > 1 && feeds[y] && !slices.ContainsFunc(r, func(m *ir.Node) bool { return m.Op == ir.ReduceMax }) {
			w.rounded[y] = true
		}
	}
	// ends tells whether x is read elementwise only, until it is rounded.
	known := make(map[*ir.Node]bool)
	var ends func(x *ir.Node) bool
	ends = func(x *ir.Node) bool {
		e, ok := known[x]
		if !ok {
			e = w.rounded[x] || len(readers[x]) > 0 && !slices.Contains(w.old.Outputs, x) && x.Op.Class() == ir.ClassElementwise &&
				!slices.ContainsFunc(readers[x], func(r *ir.Node) bool { return !ends(r) })
			known[x] = e
		}
		return e
	}
	w.biased = make(map[*ir.Node]bool)
	for _, y := range sums {
		w.biased[y] = ends(y)
	}
}

// seen is what x shows the elements of.
func seen(x *ir.Node) *ir.Node {
	for x.Op.Class() == ir.ClassView {
		x = x.In[0]
	}
	return x
}

// isBias tells whether x repeats the elements of something smaller.
func isBias(x *ir.Node) bool { return x.Op == ir.BroadcastInDim }
