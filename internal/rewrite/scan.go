package rewrite

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// prune gives a Scan's body as little to do and as little to store as possible. The
// body is rewritten by all passes, and then
//
//   - a result that nothing uses is removed, the products and stacked carries of a
//     loop without a gradient first of all;
//   - a result that is there twice is stored once, and one that is a slice of a
//     sequence is that sequence. Views of the two are taken of the whole;
//   - a sequence or constant that the body does not read is no operand any more, so
//     that it need not be kept until then.
func prune(w *walk, n *ir.Node) *ir.Node {
	if n.Op != ir.Result || n.In[0].Op != ir.Scan {
		return n
	}
	s := n.In[0]
	if w.loops == nil {
		w.loops = make(map[*ir.Node][]*ir.Node)
	}
	if w.loops[s] == nil {
		w.loops[s] = w.slim(s)
	}
	return w.loops[s][n.Attr.(ir.Number).N]
}

// slim is the work of prune on one Scan. It gives what stands for each result; nil
// for those that nothing uses.
func (w *walk) slim(s *ir.Node) []*ir.Node {
	l := s.Attr.(*ir.Loop)
	used := w.usedResults(s)
	params := l.Body.Nodes[:l.Body.Params]
	outs := make([]*ir.Node, len(l.Body.Outputs))
	wanted := slices.Clone(l.Body.Outputs[:l.Carries])
	for i, o := range l.Body.Outputs[l.Carries:] {
		if used[l.Carries+i] {
			wanted = append(wanted, o)
		}
	}
	// Collect appends the outputs of effects; a body has none.
	// A step's products are small, and what it would round it would round in every
	// step: bodies stay as they are in any precision.
	g := Run(wanted, w.supports, dtype.Invalid)
	at := 0
	for i := range outs {
		if i < l.Carries || used[i] {
			outs[i] = g.Outputs[at]
			at++
		}
	}

	// Which values have to be stored, and what the results are in terms of them.
	stored := slices.Clone(outs[:l.Carries])
	type source struct {
		operand int // of the Scan; -1: a stored value
		stored  int
		views   []*ir.Node // from the result down
	}
	from := make([]source, len(outs))
	for i, o := range outs {
		if i < l.Carries {
			from[i] = source{operand: -1, stored: i}
			continue
		}
		if o == nil {
			continue
		}
		f := source{operand: -1}
		for o.Op == ir.Reshape || o.Op == ir.Transpose {
			f.views = append(f.views, o)
			o = o.In[0]
		}
		if p := slices.Index(params, o); p >= l.Carries {
			f.operand = p
		} else if k := slices.Index(stored[l.Carries:], o); k >= 0 {
			f.stored = l.Carries + k
		} else {
			f.stored = len(stored)
			stored = append(stored, o)
		}
		from[i] = f
	}

	// Which operands the body reads.
	reads := make(map[*ir.Node]bool)
	for _, n := range ir.Collect(stored).Nodes {
		reads[n] = true
	}
	c := *l
	c.Inputs = 0
	sub := make(map[*ir.Node]*ir.Node)
	var kept, operands []*ir.Node
	for i, p := range params {
		if i >= l.Carries && !reads[p] {
			continue
		}
		if i >= l.Carries && i < l.Carries+l.Inputs {
			c.Inputs++
		}
		sub[p] = p
		if i != len(kept) {
			sub[p] = ir.NewParam(len(kept), p.DType, p.Shape)
		}
		kept = append(kept, sub[p])
		operands = append(operands, s.In[i])
	}
	stored = ir.Substitute(stored, sub)
	c.Body = ir.Collect(append(slices.Clone(kept), stored...))
	c.Body.Outputs, c.Body.Params = stored, len(kept)
	scan := &ir.Node{Op: ir.Scan, Attr: &c, In: operands}

	whole := make([]*ir.Node, len(stored)) // the results of the new Scan
	res := make([]*ir.Node, len(outs))
	for i, f := range from {
		if outs[i] == nil {
			continue
		}
		var x *ir.Node
		switch {
		case f.operand < 0:
			if whole[f.stored] == nil {
				whole[f.stored] = ir.New(ir.Result, ir.Number{N: f.stored}, scan)
			}
			x = whole[f.stored]
		case f.operand < l.Carries+l.Inputs:
			x = s.In[f.operand]
		default:
			x = repeat(s.In[f.operand], l.Steps)
		}
		for _, v := range slices.Backward(f.views) {
			x = stackedView(v, x)
		}
		res[i] = x
	}
	return res
}

// usedResults tells which results of a Scan have users, given the rewritten Scan.
func (w *walk) usedResults(s *ir.Node) []bool {
	if w.results == nil {
		w.results = make(map[*ir.Node][]*ir.Node)
		for _, n := range w.old.Nodes {
			if n.Op == ir.Result && n.In[0].Op == ir.Scan {
				w.results[n.In[0]] = append(w.results[n.In[0]], n)
			}
		}
	}
	used := make([]bool, len(s.Attr.(*ir.Loop).Body.Outputs))
	for old, results := range w.results {
		if w.sub[old] == s {
			for _, r := range results {
				used[r.Attr.(ir.Number).N] = true
			}
		}
	}
	return used
}

// repeat is n copies of x along a new first axis.
func repeat(x *ir.Node, n int) *ir.Node {
	axes := span(len(x.Shape))
	for i := range axes {
		axes[i]++
	}
	return ir.BroadcastTo(x, append([]int{n}, x.Shape...), axes)
}

// stackedView applies a Reshape or Transpose of a slice to all slices of x.
func stackedView(v, x *ir.Node) *ir.Node {
	if v.Op == ir.Reshape {
		return ir.ReshapeTo(x, append([]int{x.Shape[0]}, v.Shape...))
	}
	perm := []int{0}
	for _, p := range v.Attr.(ir.Axes).Axes {
		perm = append(perm, p+1)
	}
	return ir.Permute(x, perm)
}
