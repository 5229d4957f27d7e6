package sinter

import (
	"github.com/sinter-dl/sinter/internal/grad"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Checkpoint is f of the inputs, of which nothing is kept for the backward pass but the
// inputs and the results: what the gradient wants of the values in between is computed
// again from the inputs, once the gradient of the results is known. That takes the
// memory of one such f at a time instead of that of all, for one more forward pass.
// Values are the same, and so are gradients, bit for bit in float32; a dropout mask is
// the same the second time, since it follows from a counter that both read. Assignments
// that are tied to values in f (running statistics, counters) are carried out once.
// Without a gradient, Checkpoint(f, in...) is f(in).
//
// What f uses besides its inputs, other than variables, is computed again as well, with
// all that leads to it, so hand it over as an input; a gradient passes to variables that
// f reads and to the inputs. In a [Function] or the body of a Scan a Checkpoint is f.
//
// It is torch.utils.checkpoint; Chen et al., "Training deep nets with sublinear memory
// cost", 2016.
func Checkpoint(f func(in []*Tensor) []*Tensor, in ...*Tensor) []*Tensor {
	results := f(in)
	outs := nodes(results)
	given := make(map[*ir.Node]bool, len(in))
	operands := make([]*ir.Node, 0, len(in))
	for _, x := range in {
		if !given[x.node] {
			given[x.node] = true
			operands = append(operands, x.node)
		}
	}
	inputs := len(operands)
	// The results that f has computed, and the leaves that it reads.
	var computed []*ir.Node
	place := make(map[*ir.Node]int)
	for _, o := range outs {
		if _, ok := place[o]; !ok && !given[o] && o.Op.Class() != ir.ClassLeaf {
			place[o] = len(computed)
			computed = append(computed, o)
		}
	}
	var effects []*ir.Node
	for _, n := range ir.Postorder(computed, func(n *ir.Node) []*ir.Node {
		if given[n] {
			return nil
		}
		return n.In
	}) {
		switch {
		case given[n]:
		case n.Op == ir.Input:
			operands = append(operands, n)
		case len(n.Effects) > 0:
			effects = append(effects, n.Effects...)
			n.Effects = nil
		}
	}
	if len(computed) == 0 {
		return results
	}
	params := make([]*ir.Node, len(operands))
	sub := make(map[*ir.Node]*ir.Node, len(operands))
	for i, x := range operands {
		params[i] = ir.NewParam(i, x.DType, x.Shape)
		sub[x] = params[i]
	}
	region := ir.NewTemplate("checkpoint", params, ir.SubstituteWhere(computed, sub, func(*ir.Node) bool { return false }))
	if region == nil { // placeholders of an enclosing function
		computed[0].Effects = append(computed[0].Effects, effects...)
		return results
	}
	region.Grad = again(region, inputs)
	kept := ir.NewRegion(region, operands)
	kept[0].Effects = effects
	out := make([]*Tensor, len(results))
	for i, o := range outs {
		out[i] = results[i]
		if k, ok := place[o]; ok {
			out[i] = &Tensor{kept[k]}
		}
	}
	return out
}

// again is the rule that differentiates a checkpoint: through a second copy of its body,
// over inputs behind a Barrier. That keeps the copy from being merged with the first
// one, and from being computed before the cotangents are there.
func again(r *ir.Region, inputs int) func(c *ir.Node, results, cots []*ir.Node, want []bool) []*ir.Node {
	return func(c *ir.Node, _, cots []*ir.Node, want []bool) []*ir.Node {
		var gates []*ir.Node
		for _, g := range cots {
			if g != nil {
				gates = append(gates, g)
			}
		}
		operands := make([]*ir.Node, len(c.In))
		copy(operands, c.In)
		for i, x := range c.In[:inputs] {
			operands[i] = ir.New(ir.Barrier, nil, append([]*ir.Node{x}, gates...)...)
			ir.Stamp(operands[i], c.Site())
		}
		second := r.Over(operands)
		var ys, gs, xs []*ir.Node
		for i, g := range cots {
			if g != nil {
				ys, gs = append(ys, second[i]), append(gs, g)
			}
		}
		var at []int
		for i, w := range want {
			if w {
				xs, at = append(xs, operands[i]), append(at, i)
			}
		}
		grads := make([]*ir.Node, len(c.In))
		for k, g := range grad.VJP(ys, gs, xs) {
			grads[at[k]] = g
		}
		return grads
	}
}
