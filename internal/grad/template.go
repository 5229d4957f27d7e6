package grad

import (
	"sync"

	"github.com/sinter-dl/sinter/internal/ir"
)

// Templated is the rule for composites of a template: the gradient is a template
// itself, one for each choice of results that have cotangents and operands that want
// them. Its body computes again what it needs of the composite's, over the same
// operands, which is merged with it when the graph is rewritten.
func Templated(r *ir.Region) func(c *ir.Node, results, cots []*ir.Node, want []bool) []*ir.Node {
	var mu sync.Mutex
	known := make(map[[2]uint64]*templated)
	return func(c *ir.Node, _, cots []*ir.Node, want []bool) []*ir.Node {
		in := make([]*ir.Node, 0, len(c.In)+len(cots))
		in = append(in, c.In...)
		var key [2]uint64
		for i, g := range cots {
			if g != nil {
				in = append(in, g)
				key[0] |= 1 << (i % 64)
			}
		}
		for i, w := range want {
			if w {
				key[1] |= 1 << (i % 64)
			}
		}
		mu.Lock()
		t := known[key]
		if t == nil {
			t = newTemplated(r, c, cots, want)
			if max(len(cots), len(want)) <= 64 {
				known[key] = t
			}
		}
		mu.Unlock()
		grads := make([]*ir.Node, len(c.In))
		for i, g := range ir.NewRegionAt(t.region, in, c.Site()) {
			grads[t.operand[i]] = g
		}
		return grads
	}
}

// templated is the gradient of a template.
type templated struct {
	region  *ir.Region
	operand []int // whose cotangent each result is
}

func newTemplated(r *ir.Region, c *ir.Node, cots []*ir.Node, want []bool) *templated {
	var params []*ir.Node
	param := func(like *ir.Node) *ir.Node {
		p := ir.NewParam(len(params), like.DType, like.Shape)
		params = append(params, p)
		return p
	}
	var xs []*ir.Node
	t := new(templated)
	for i, x := range c.In {
		p := param(x)
		if want[i] {
			xs = append(xs, p)
			t.operand = append(t.operand, i)
		}
	}
	over := r.Over(params)
	var ys, gs []*ir.Node
	for i, g := range cots {
		if g != nil {
			ys, gs = append(ys, over[i]), append(gs, param(g))
		}
	}
	var outs []*ir.Node
	operand := t.operand[:0]
	for i, g := range VJP(ys, gs, xs) {
		if g != nil {
			outs = append(outs, g)
			operand = append(operand, t.operand[i])
		}
	}
	t.operand = operand
	t.region = ir.NewTemplate(r.Name+"_grad", params, outs)
	t.region.Grad = Templated(t.region)
	return t
}
