package rewrite

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// prune gives a Scan's body as little to do and as little to store as possible. The
// body is rewritten by all passes, and then
//
//   - a result that nothing uses is removed, the products that are saved in a loop
//     without a gradient first of all;
//   - a result that is there twice is stored once, one that is a slice of a sequence
//     is that sequence, and one that is a carry, before or after the step, is a part
//     of its trail. Views of them are taken of the whole;
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
	n := len(l.Body.Outputs)
	used := w.usedResults(s)
	params := l.Body.Nodes[:l.Body.Params]
	outs := make([]*ir.Node, n) // of the rewritten body, nil if it is not used
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
		kind
		n     int        // which operand, stored value or carry
		views []*ir.Node // from the result down
	}
	from := make([]source, l.Results())
	trails := slices.Clone(used[n:])
	for i, o := range outs {
		if i < l.Carries || o == nil {
			continue
		}
		f := &from[i]
		for o.Op == ir.Reshape || o.Op == ir.Transpose {
			f.views = append(f.views, o)
			o = o.In[0]
		}
		if p := slices.Index(params, o); p >= l.Carries {
			f.kind, f.n = operand, p
		} else if p >= 0 {
			f.kind, f.n = before, p
			trails[p] = true
		} else if k := slices.Index(outs[:l.Carries], o); k >= 0 {
			f.kind, f.n = behind, k
			trails[k] = true
		} else if k := slices.Index(stored[l.Carries:], o); k >= 0 {
			f.kind, f.n = storedValue, l.Carries+k
		} else {
			f.kind, f.n = storedValue, len(stored)
			stored = append(stored, o)
		}
	}
	for k, trail := range trails {
		from[k] = source{kind: storedValue, n: k}
		if trail {
			from[k].kind = last
		}
		from[n+k] = source{kind: wholeTrail, n: k}
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

	results := make([]*ir.Node, c.Results())
	result := func(i int) *ir.Node {
		if results[i] == nil {
			results[i] = ir.New(ir.Result, ir.Number{N: i}, scan)
		}
		return results[i]
	}
	res := make([]*ir.Node, len(from))
	for i, f := range from {
		if !used[i] {
			continue
		}
		var x *ir.Node
		switch f.kind {
		case operand:
			if x = s.In[f.n]; f.n >= l.Carries+l.Inputs {
				x = repeat(x, l.Steps)
			}
		case storedValue:
			x = result(f.n)
		case before:
			x = c.Before(result(len(stored) + f.n))
		case behind:
			x = c.After(result(len(stored) + f.n))
		case last:
			x = c.Last(result(len(stored) + f.n))
		case wholeTrail:
			x = result(len(stored) + f.n)
		}
		for _, v := range slices.Backward(f.views) {
			x = stackedView(v, x)
		}
		res[i] = x
	}
	return res
}

// kind says where the result of a Scan comes from.
type kind uint8

const (
	storedValue kind = iota // an output of the body
	operand                 // an operand of the Scan
	before                  // the trail of a carry: the values before the steps,
	behind                  // those after the steps,
	last                    // the last value,
	wholeTrail              // all
)

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
	used := make([]bool, s.Attr.(*ir.Loop).Results())
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
