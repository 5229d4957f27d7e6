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
	if isProduct(n) {
		n = w.product(n)
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
			feeds[x] = feeds[x] || feeds[n] || isProduct(n)
			if n.Op.Class() != ir.ClassView {
				readers[seen(x)] = append(readers[seen(x)], n)
			}
		}
	}
	var sums []*ir.Node
	for _, n := range w.old.Nodes {
		if !isProduct(n) {
			continue
		}
		for _, x := range n.In {
			if x = seen(x); x.Op.Class() != ir.ClassLeaf {
				w.rounded[x] = true
			}
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
