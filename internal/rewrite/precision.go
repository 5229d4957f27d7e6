package rewrite

import (
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// precision makes the products of float32 (matrix products and convolutions) take
// operands of the type low and add up in float32. All else stays float32: losses,
// statistics of norms, softmax, gradients of weights, updates and the weights that
// they update.
//
// What a product reads is a number of type low for everybody, so that one copy of
// it has to be kept, half as large. That goes for what the graph computes; leaves,
// the variables first of all, keep their value and are rounded once for all products.
// The conversion stands below views, where the kernel that computes the value does
// it on the way to memory.
func precision(w *walk, n *ir.Node) *ir.Node {
	if w.low == dtype.Invalid {
		return n
	}
	if isProduct(n) {
		n = w.product(n)
	}
	if w.isFactor(w.from) {
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
	attr := n.Attr
	switch a := attr.(type) {
	case ir.Dot:
		a.Result = dtype.Float32
		attr = a
	case ir.ConvAttr:
		a.Result = dtype.Float32
		attr = a
	}
	c := *n
	c.Attr, c.In = attr, []*ir.Node{w.narrow(n.In[0]), w.narrow(n.In[1])}
	return w.unique(&c)
}

// isFactor tells whether x, of the old graph, is computed and read by a product,
// through views or not.
func (w *walk) isFactor(x *ir.Node) bool {
	if w.factors == nil {
		w.factors = make(map[*ir.Node]bool)
		for _, n := range w.old.Nodes {
			if !isProduct(n) {
				continue
			}
			for _, f := range n.In {
				for f.Op.Class() == ir.ClassView {
					f = f.In[0]
				}
				w.factors[f] = f.Op.Class() != ir.ClassLeaf
			}
		}
	}
	return w.factors[x]
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
