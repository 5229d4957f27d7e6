package grad

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
)

// scan differentiates a loop by a loop that runs the other way. One backward step
// takes the cotangents of the carries after step t and of the step's results,
// computes the body again from the carries before the step and from the products
// in it (all of which the forward Scan has stacked), and yields the cotangents of
// those carries and of the slices.
//
// The cotangent of a constant is a sum over the steps. Terms of it that are matrix
// products, as for the weights of a recurrent net, are left for after the loop: their
// operands are stacked and multiplied once, the steps being one more contracted axis.
// So are sums over axes, as for a bias, of what is stacked anyway. All else is added
// up in a carry.
func (t *tape) scan(s *ir.Node) {
	l := s.Attr.(*ir.Loop)
	nc, nx := l.Carries, l.Inputs
	nk := len(s.In) - nc - nx
	ny := len(l.Body.Outputs) - nc // results, those that are saved for this included
	cots := t.of(s).outs
	entry := make([]*ir.Node, nc)
	for i := range nc {
		entry[i] = l.Before(ir.New(ir.Result, ir.Number{N: nc + ny + i}, s))
	}

	// Only differentiable values take part.
	floats := func(ns []*ir.Node) (pos []int) {
		for i, n := range ns {
			if n.DType.IsFloat() {
				pos = append(pos, i)
			}
		}
		return pos
	}
	bodyOut := l.Body.Outputs
	carries := floats(s.In[:nc])
	var results []int
	for _, i := range floats(bodyOut[nc:]) {
		if cots[nc+i] != nil {
			results = append(results, i)
		}
	}

	// Placeholders of the backward body.
	var params []*ir.Node
	param := func(n *ir.Node) *ir.Node {
		p := ir.NewParam(len(params), n.DType, n.Shape)
		params = append(params, p)
		return p
	}
	dcarry := make([]*ir.Node, nc)
	for _, i := range carries {
		dcarry[i] = param(s.In[i])
	}
	sub := make(map[*ir.Node]*ir.Node)
	back := make(map[*ir.Node]*ir.Node)
	forward := l.Body.Nodes[:l.Body.Params] // the placeholders come first
	var seqs []*ir.Node
	for i := range nc + nx {
		sub[forward[i]] = param(forward[i])
		if i < nc {
			seqs = append(seqs, entry[i])
		} else {
			seqs = append(seqs, s.In[i])
		}
	}
	dres := make([]*ir.Node, ny)
	for _, i := range results {
		dres[i] = param(bodyOut[nc+i])
		seqs = append(seqs, cots[nc+i])
	}
	// The trail of a carry has a row for the value before each step, and one for the
	// last value.
	dentry := make([]*ir.Node, nc)
	for _, i := range carries {
		if c := cots[nc+ny+i]; c != nil {
			dentry[i] = param(s.In[i])
			seqs = append(seqs, l.Before(c))
			if cots[i] == nil {
				cots[i] = l.Last(c)
			} else {
				cots[i] = ir.New(ir.Add, nil, cots[i], l.Last(c))
			}
		}
	}
	// Constants are captured by CloseScan; they stand for themselves.
	for i := range nk {
		k := ir.NewParam(1000+i, s.In[nc+nx+i].DType, s.In[nc+nx+i].Shape)
		sub[forward[nc+nx+i]] = k
		back[k] = s.In[nc+nx+i]
	}

	again := ir.Substitute(bodyOut, sub)
	var xs []*ir.Node
	for i := range forward {
		xs = append(xs, sub[forward[i]])
	}
	grads := VJP(again, append(slices.Clone(dcarry), dres...), xs)

	// What the forward loop has left is read and not computed again: the carries after
	// the step and what was saved.
	for i, n := range again {
		switch {
		case n.Op == ir.Param || back[n] != nil:
		case i < nc:
			back[n] = param(n)
			seqs = append(seqs, l.After(ir.New(ir.Result, ir.Number{N: nc + ny + i}, s)))
		case i >= nc+ny-l.Saved:
			back[n] = param(n)
			seqs = append(seqs, ir.New(ir.Result, ir.Number{N: i}, s))
		}
	}
	for i, g := range grads {
		if g != nil {
			grads[i] = ir.Substitute([]*ir.Node{g}, back)[0]
		}
	}
	spec := ir.ScanSpec{Reverse: !l.Reverse, Inputs: seqs}
	var outs, results2 []*ir.Node
	for _, i := range carries {
		init := cots[i]
		if init == nil {
			init = like(s.In[i], 0)
		}
		spec.Carries = append(spec.Carries, init)
		g := grads[i]
		if g == nil {
			g = like(s.In[i], 0)
		}
		if dentry[i] != nil {
			g = ir.New(ir.Add, nil, g, dentry[i])
		}
		outs = append(outs, g)
	}
	// What to do with the outcome, once the loop exists.
	var finish []func(last, stacked []*ir.Node)
	stack := func(n *ir.Node) int {
		if at := slices.Index(results2, n); at >= 0 {
			return at
		}
		results2 = append(results2, n)
		return len(results2) - 1
	}
	for i := range nx {
		if g := grads[nc+i]; g != nil && t.depends(s.In[nc+i]) {
			at, x := stack(g), s.In[nc+i]
			finish = append(finish, func(_, stacked []*ir.Node) { t.accumulate(x, stacked[at]) })
		}
	}
	sums := make([][]*ir.Node, nk) // of each constant, terms that are no products
	for i := range nk {
		g, x := grads[nc+nx+i], s.In[nc+nx+i]
		if g == nil || !t.depends(x) {
			continue
		}
		for _, term := range terms(g) {
			perm, dot, ok := product(term)
			if !ok {
				sums[i] = append(sums[i], term)
				continue
			}
			d := dot.Attr.(ir.Dot)
			a, b := stack(dot.In[0]), stack(dot.In[1])
			finish = append(finish, func(_, stacked []*ir.Node) {
				whole := ir.New(ir.DotGeneral, ir.Dot{LeftContract: later(d.LeftContract), RightContract: later(d.RightContract)}, stacked[a], stacked[b])
				t.accumulate(x, ir.Permute(whole, perm))
			})
		}
	}
	for i, list := range sums {
		x := s.In[nc+nx+i]
		var rest *ir.Node
		for _, g := range list {
			if views, sum := reduction(g); sum != nil && slices.Contains(results2, sum.In[0]) {
				at := slices.Index(results2, sum.In[0])
				finish = append(finish, func(_, stacked []*ir.Node) {
					y := ir.Sum(stacked[at], later(sum.Attr.(ir.Axes).Axes))
					for _, v := range slices.Backward(views) {
						if v.Op == ir.Reshape {
							y = ir.ReshapeTo(y, v.Shape)
						} else {
							y = ir.New(v.Op, v.Attr, y)
						}
					}
					t.accumulate(x, y)
				})
				continue
			}
			if rest == nil {
				rest = g
			} else {
				rest = ir.New(ir.Add, nil, rest, g)
			}
		}
		if rest == nil {
			continue
		}
		at := len(spec.Carries)
		acc := param(x)
		spec.Carries = append(spec.Carries, like(x, 0))
		outs = append(outs, ir.New(ir.Add, nil, acc, rest))
		finish = append(finish, func(last, _ []*ir.Node) { t.accumulate(x, last[at]) })
	}
	// CloseScan wants the carries' placeholders first.
	nd := len(carries)
	extra := len(spec.Carries) - nd
	n := len(params)
	spec.Params = slices.Concat(params[:nd], params[n-extra:], params[nd:n-extra])
	renumber(spec.Params)
	spec.Outs = append(outs, results2...)
	all := ir.CloseScan(spec)
	for _, o := range all {
		ir.Stamp(o, s.Site())
	}
	last, stacked := all[:len(spec.Carries)], all[len(spec.Carries):]
	for j, i := range carries {
		t.accumulate(s.In[i], last[j])
	}
	for _, f := range finish {
		f(last, stacked)
	}
}

// terms are what a sum is made of.
func terms(g *ir.Node) []*ir.Node {
	if g.Op == ir.Add {
		return append(terms(g.In[0]), terms(g.In[1])...)
	}
	return []*ir.Node{g}
}

// later are the axes of a slice in the whole, and its first one before them.
func later(axes []int) []int {
	out := []int{0}
	for _, a := range axes {
		out = append(out, a+1)
	}
	return out
}

// reduction recognises a sum over axes behind reshapes and transpositions, which it
// also gives, the last one first.
func reduction(g *ir.Node) (views []*ir.Node, sum *ir.Node) {
	for g.Op == ir.Reshape || g.Op == ir.Transpose {
		views = append(views, g)
		g = g.In[0]
	}
	if g.Op != ir.ReduceSum {
		return nil, nil
	}
	return views, g
}

// product recognises a (possibly transposed) matrix product without batch axes and
// gives the transposition.
func product(g *ir.Node) (perm []int, dot *ir.Node, ok bool) {
	perm = span(0, len(g.Shape))
	for g.Op == ir.Transpose {
		p := g.Attr.(ir.Axes).Axes
		next := make([]int, len(perm))
		for i := range perm {
			next[i] = p[perm[i]]
		}
		perm, g = next, g.In[0]
	}
	if g.Op != ir.DotGeneral || len(g.Attr.(ir.Dot).LeftBatch) > 0 {
		return nil, nil, false
	}
	return perm, g, true
}

// renumber makes placeholder i number i again.
func renumber(params []*ir.Node) {
	for i, p := range params {
		p.Attr = ir.Number{N: i}
	}
}
