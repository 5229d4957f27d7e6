// Package grad differentiates graphs: it adds to a graph the nodes that compute
// vector–Jacobian products, in reverse mode.
//
// There is one rule per operation (rules.go). A rule gets a node and the
// cotangent of its value and records the cotangents of its operands as ordinary
// nodes, so gradients can be differentiated again. A composite is differentiated
// by the rule that it brings along or else through its body, a Scan by a Scan that
// runs the other way (scan.go).
//
// What a rule may use: the operands, and the node's own value where that is
// cheaper (exp, tanh, sqrt, …). The fuser decides later what is kept and what is
// computed again.
package grad

import (
	"github.com/sinter-dl/sinter/internal/ir"
)

// VJP returns, for each x, the cotangent of x given the cotangents of the ys:
// Σ_y (∂y/∂x)ᵀ·cot_y. It is nil where no y depends on x differentiably.
func VJP(ys, cots, xs []*ir.Node) []*ir.Node {
	order := ir.Postorder(ys, operands)
	t := &tape{place: make(map[*ir.Node]int, len(xs)+len(order)), flow: make([]flow, 0, len(xs)+len(order))}
	for _, x := range xs {
		t.add(x)
	}
	for _, n := range order {
		if t.depends(n) || !differentiable(n) {
			continue
		}
		for _, in := range operands(n) {
			if t.depends(in) {
				t.add(n)
				break
			}
		}
	}
	for i, y := range ys {
		if cots[i] != nil {
			t.accumulate(y, cots[i])
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		n := order[i]
		f := t.of(n)
		if f == nil {
			continue
		}
		if n.Op == ir.Scan || n.Op == ir.Composite {
			switch {
			case f.outs == nil:
			case n.Op == ir.Scan:
				t.scan(n)
			default:
				t.composite(n)
			}
			continue
		}
		g := f.cot
		if g == nil {
			continue
		}
		if n.Op == ir.Result {
			if operands(n)[0] == n.In[0] {
				t.result(n, g)
			} else {
				t.accumulate(operands(n)[0], g)
			}
			continue
		}
		if n.Op.Class() == ir.ClassLeaf {
			continue
		}
		want := make([]bool, len(n.In))
		any := false
		for j, in := range n.In {
			want[j] = t.depends(in)
			any = any || want[j]
		}
		if !any {
			continue
		}
		for j, c := range rules[n.Op](n, g, want) {
			if c != nil && want[j] {
				ir.Stamp(c, n.Site())
				t.accumulate(n.In[j], c)
			}
		}
	}
	out := make([]*ir.Node, len(xs))
	for i, x := range xs {
		out[i] = t.of(x).cot
	}
	return out
}

// tape holds the cotangents that have been found so far, of the nodes that depend on
// what is differentiated by.
type tape struct {
	place map[*ir.Node]int // in flow
	flow  []flow
}

// flow is what has come back to a node.
type flow struct {
	cot  *ir.Node
	outs []*ir.Node // those of the results of a Scan, or of a composite with a rule
}

func (t *tape) add(n *ir.Node) {
	if !t.depends(n) {
		t.place[n] = len(t.flow)
		t.flow = append(t.flow, flow{})
	}
}

func (t *tape) depends(n *ir.Node) bool {
	_, ok := t.place[n]
	return ok
}

// of is what has come back to n; nil if n does not depend on what is differentiated by.
func (t *tape) of(n *ir.Node) *flow {
	if i, ok := t.place[n]; ok {
		return &t.flow[i]
	}
	return nil
}

func (t *tape) accumulate(n, c *ir.Node) {
	f := t.of(n)
	if f == nil {
		return
	}
	if f.cot != nil {
		c = ir.New(ir.Add, nil, f.cot, c)
		ir.Stamp(c, n.Site())
	}
	f.cot = c
}

func (t *tape) result(n, g *ir.Node) {
	s := n.In[0]
	f := t.of(s)
	if f == nil { // n itself is differentiated by
		return
	}
	if f.outs == nil {
		results := 0
		switch a := s.Attr.(type) {
		case *ir.Loop:
			results = a.Results()
		case *ir.Region:
			results = len(a.Outs)
		}
		f.outs = make([]*ir.Node, results)
	}
	sum := &f.outs[n.Attr.(ir.Number).N]
	if *sum != nil { // several nodes may stand for one result
		g = ir.New(ir.Add, nil, *sum, g)
	}
	*sum = g
}

// composite differentiates a composite by its own rule.
func (t *tape) composite(c *ir.Node) {
	r := c.Attr.(*ir.Region)
	results := make([]*ir.Node, len(r.Outs))
	for i := range results {
		results[i] = ir.New(ir.Result, ir.Number{N: i}, c)
	}
	want := make([]bool, len(c.In))
	for i, x := range c.In {
		want[i] = t.depends(x)
	}
	for i, g := range r.Grad(c, results, t.of(c).outs, want) {
		if g != nil && want[i] {
			ir.Stamp(g, c.Site())
			t.accumulate(c.In[i], g)
		}
	}
}

// operands are the nodes whose cotangents a node's cotangent flows to: the body's
// output for a result of a composite without a rule, the operands for everything
// else.
func operands(n *ir.Node) []*ir.Node {
	if n.Op == ir.Result {
		if r, ok := n.In[0].Attr.(*ir.Region); ok && r.Grad == nil {
			return n.In[0].Body()[n.Attr.(ir.Number).N : n.Attr.(ir.Number).N+1]
		}
	}
	return n.In
}

// differentiable tells whether a cotangent can pass through n at all.
func differentiable(n *ir.Node) bool {
	if n.Op == ir.Scan || n.Op == ir.Composite || n.Op == ir.Result && n.In[0].Op == ir.Scan {
		return true
	}
	if !n.DType.IsFloat() {
		return false
	}
	return n.Op == ir.Result || rules[n.Op] != nil
}

// HasRule tells whether op has a gradient.
func HasRule(op ir.Op) bool {
	return rules[op] != nil || op == ir.Scan || op == ir.Result || op == ir.Composite
}
