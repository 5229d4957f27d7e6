package rewrite

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// loops gives a Scan's body as little to do and as little to store as possible. The
// body is rewritten by all passes, and then
//
//   - a product of a constant with what depends on the slices, but not on the carries,
//     is taken of all slices at once before the loop (lift);
//   - a result that does not depend on the carries, as far as it is elementwise work,
//     is computed of all slices at once;
//   - a product with a constant that is a result and nothing else is taken of all
//     steps at once after the loop, if its other operand is stored anyway or smaller;
//   - a result that nothing uses is removed, the products that are saved in a loop
//     without a gradient first of all;
//   - a result that is there twice is stored once, and one that is a carry, before or
//     after the step, is a part of its trail. Views of them are taken of the whole;
//   - a sequence or constant that the body does not read is no operand any more, so
//     that it need not be kept until then.
func loops(w *walk, n *ir.Node) *ir.Node {
	if n.Op != ir.Result || n.In[0].Op != ir.Scan {
		return n
	}
	s := n.In[0]
	if w.loops == nil {
		w.loops = make(map[*ir.Node][]*ir.Node)
	}
	if w.loops[s] == nil {
		w.loops[s] = newLoop(w, s).rebuild()
	}
	return w.loops[s][n.Attr.(ir.Number).N]
}

// loop is a Scan at work.
type loop struct {
	*ir.Loop
	used             []bool     // by result
	params, operands []*ir.Node // of the carries, sequences and constants
	sequences        int
	outs             []*ir.Node // of the rewritten body, nil where nothing uses them

	moves  map[*ir.Node]bool // depends on a carry
	slides map[*ir.Node]bool // depends on a slice
	whole  map[*ir.Node]*ir.Node

	// What the body has to store: the carries, and the results of the new Scan. The
	// carries that need a trail.
	stored []*ir.Node
	trails []bool
}

func newLoop(w *walk, s *ir.Node) *loop {
	a := s.Attr.(*ir.Loop)
	l := &loop{
		Loop: a, used: w.usedResults(s), operands: slices.Clone(s.In), sequences: a.Inputs,
		params: slices.Clone(a.Body.Nodes[:a.Body.Params]), outs: make([]*ir.Node, len(a.Body.Outputs)),
		moves: make(map[*ir.Node]bool), slides: make(map[*ir.Node]bool), whole: make(map[*ir.Node]*ir.Node),
	}
	var wanted []*ir.Node
	for i, o := range a.Body.Outputs {
		if i < a.Carries || l.used[i] {
			wanted = append(wanted, o)
		}
	}
	// A step's products are small, and what it would round it would round in every
	// step: bodies stay as they are in any precision.
	g := Run(wanted, w.supports, dtype.Invalid)
	for i := range l.outs {
		if i < a.Carries || l.used[i] {
			l.outs[i], g.Outputs = g.Outputs[0], g.Outputs[1:]
		}
	}
	l.classify(g.Nodes)
	if l.Steps > 1 {
		l.lift(g.Nodes)
	}
	return l
}

// classify finds out what nodes depend on.
func (l *loop) classify(nodes []*ir.Node) {
	for i, p := range l.params {
		l.moves[p] = i < l.Carries
		l.slides[p] = i >= l.Carries && i < l.Carries+l.sequences
	}
	for _, n := range nodes {
		for _, x := range n.In {
			l.moves[n] = l.moves[n] || l.moves[x]
			l.slides[n] = l.slides[n] || l.slides[x]
		}
	}
}

// invariant tells whether n is the same in every step.
func (l *loop) invariant(n *ir.Node) bool { return !l.moves[n] && !l.slides[n] }

// lift turns products with a constant that depend on the slices alone into slices of
// products.
func (l *loop) lift(nodes []*ir.Node) {
	lifted := make(map[*ir.Node]*ir.Node)
	for _, n := range nodes {
		if n.Op != ir.DotGeneral || l.moves[n] || !l.slides[n] || !l.invariant(n.In[0]) && !l.invariant(n.In[1]) {
			continue
		}
		x := l.all(n)
		if x == nil {
			continue
		}
		p := ir.NewParam(0, n.DType, n.Shape) // numbered when the body is rebuilt
		at := l.Carries + l.sequences
		l.params, l.operands = slices.Insert(l.params, at, p), slices.Insert(l.operands, at, x)
		l.sequences++
		lifted[n] = p
	}
	if len(lifted) == 0 {
		return
	}
	outs := ir.Substitute(l.wanted(), lifted)
	l.classify(ir.Collect(outs).Nodes)
	for i, o := range l.outs {
		if o != nil {
			l.outs[i], outs = outs[0], outs[1:]
		}
	}
}

// wanted are the outputs of the body that something uses.
func (l *loop) wanted() []*ir.Node {
	return slices.DeleteFunc(slices.Clone(l.outs), func(o *ir.Node) bool { return o == nil })
}

// all is the value of n in all steps, stacked, as it can be computed outside of the
// loop from the operands; nil if it cannot.
func (l *loop) all(n *ir.Node) *ir.Node {
	if x, ok := l.whole[n]; ok {
		return x
	}
	x := l.stack(n)
	l.whole[n] = x
	return x
}

func (l *loop) stack(n *ir.Node) *ir.Node {
	if l.invariant(n) {
		return repeat(l.outside(n), l.Steps)
	}
	if p := slices.Index(l.params, n); p >= 0 {
		if l.moves[n] {
			return nil
		}
		return l.operands[p]
	}
	if n.Op == ir.DotGeneral {
		return l.stackProduct(n)
	}
	if c := n.Op.Class(); c != ir.ClassElementwise && c != ir.ClassView || n.Op == ir.RNGBits {
		return nil
	}
	in := make([]*ir.Node, len(n.In))
	for i, x := range n.In {
		if in[i] = l.all(x); in[i] == nil {
			return nil
		}
	}
	return stacked(n, in, l.Steps)
}

// stackProduct is stack for a product. A constant operand is not repeated: the steps
// are one more free axis of the other.
func (l *loop) stackProduct(n *ir.Node) *ir.Node {
	d := n.Attr.(ir.Dot)
	if len(d.LeftBatch) > 0 {
		return nil
	}
	switch {
	case l.invariant(n.In[1]):
		if x := l.all(n.In[0]); x != nil {
			return ir.New(ir.DotGeneral, ir.Dot{LeftContract: later(d.LeftContract)[1:], RightContract: d.RightContract}, x, l.outside(n.In[1]))
		}
	case l.invariant(n.In[0]):
		if x := l.all(n.In[1]); x != nil {
			y := ir.New(ir.DotGeneral, ir.Dot{LeftContract: d.LeftContract, RightContract: later(d.RightContract)[1:]}, l.outside(n.In[0]), x)
			at := len(n.In[0].Shape) - len(d.LeftContract) // of the steps
			perm := slices.Delete(span(len(y.Shape)), at, at+1)
			return ir.Permute(y, slices.Insert(perm, 0, at))
		}
	}
	return nil
}

// outside is an invariant value, computed outside of the loop.
func (l *loop) outside(n *ir.Node) *ir.Node {
	sub := make(map[*ir.Node]*ir.Node)
	for i, p := range l.params {
		if l.invariant(p) {
			sub[p] = l.operands[i]
		}
	}
	return ir.Substitute([]*ir.Node{n}, sub)[0]
}

// later are the axes of a slice in the whole, behind the axis of the steps.
func later(axes []int) []int {
	l := []int{0}
	for _, a := range axes {
		l = append(l, a+1)
	}
	return l
}

// stacked applies an elementwise operation or view to all slices of its operands.
func stacked(n *ir.Node, in []*ir.Node, steps int) *ir.Node {
	sh := append([]int{steps}, n.Shape...)
	switch a := n.Attr.(type) {
	case ir.Axes:
		switch n.Op {
		case ir.Transpose:
			return ir.Permute(in[0], later(a.Axes))
		case ir.BroadcastInDim:
			return ir.BroadcastTo(in[0], sh, later(a.Axes))
		case ir.Reverse:
			return ir.New(n.Op, ir.Axes{Axes: later(a.Axes)[1:]}, in[0])
		}
	case ir.Range:
		return ir.SliceOf(in[0], slices.Insert(slices.Clone(a.Start), 0, 0), slices.Insert(slices.Clone(a.Limit), 0, steps), slices.Insert(slices.Clone(a.Step), 0, 1))
	}
	if n.Op == ir.Reshape {
		return ir.ReshapeTo(in[0], sh)
	}
	return &ir.Node{Op: n.Op, DType: n.DType, Shape: sh, Attr: n.Attr, In: in}
}

// source says where a result of the Scan comes from.
type source struct {
	kind
	n     int        // which stored value or carry
	views []*ir.Node // from the result down
	node  *ir.Node   // ahead: the value
	dot   *ir.Node   // product: in the body
	left  *source    // … and its left operand
}

type kind uint8

const (
	storedValue kind = iota // an output of the body
	ahead                   // computed from the operands
	before                  // the trail of a carry: the values before the steps,
	behind                  // those after the steps,
	last                    // the last value,
	wholeTrail              // all
	product                 // a product with a constant, after the loop
)

// strip walks from a value through views that can be taken of all slices at once.
func strip(o *ir.Node) (base *ir.Node, views []*ir.Node) {
	for o.Op == ir.Reshape || o.Op == ir.Transpose {
		views = append(views, o)
		o = o.In[0]
	}
	return o, views
}

// source finds the source of a result, which may be stored for it.
func (l *loop) source(o *ir.Node) *source {
	if !l.moves[o] {
		if x := l.all(o); x != nil {
			return &source{kind: ahead, node: x}
		}
	}
	f := new(source)
	o, f.views = strip(o)
	if p := slices.Index(l.params[:l.Carries], o); p >= 0 {
		f.kind, f.n = before, p
		l.trails[p] = true
	} else if k := slices.Index(l.outs[:l.Carries], o); k >= 0 {
		f.kind, f.n = behind, k
		l.trails[k] = true
	} else if k := slices.Index(l.stored[l.Carries:], o); k >= 0 {
		f.kind, f.n = storedValue, l.Carries+k
	} else {
		f.kind, f.n = storedValue, len(l.stored)
		l.stored = append(l.stored, o)
	}
	return f
}

// sources finds the sources of all results. The products that may be left for after
// the loop come last, for what they are made of may be stored by then.
func (l *loop) sources() []*source {
	n := len(l.outs)
	l.stored, l.trails = slices.Clone(l.outs[:l.Carries]), slices.Clone(l.used[n:])
	from := make([]*source, l.Results())
	for i, o := range l.outs {
		if i >= l.Carries && o != nil && !l.constantProduct(o) {
			from[i] = l.source(o)
		}
	}
	inside := make(map[*ir.Node]bool) // is computed by the body in any case
	for _, n := range ir.Collect(l.stored).Nodes {
		inside[n] = true
	}
	for i, o := range l.outs {
		if i < l.Carries || o == nil || from[i] != nil {
			continue
		}
		dot, views := strip(o)
		left, _ := strip(dot.In[0])
		if inside[dot] || left.Elements() > dot.Elements() &&
			!slices.Contains(l.params, left) && !slices.Contains(l.stored, left) {
			from[i] = l.source(o)
		} else {
			from[i] = &source{kind: product, dot: dot, left: l.source(dot.In[0]), views: views}
		}
	}
	for k, trail := range l.trails {
		from[k] = &source{kind: storedValue, n: k}
		if trail {
			from[k].kind = last
		}
		from[n+k] = &source{kind: wholeTrail, n: k}
	}
	return from
}

// constantProduct tells whether a result is a product with a constant that could be
// taken after the loop.
func (l *loop) constantProduct(o *ir.Node) bool {
	o, _ = strip(o)
	return l.Steps > 1 && o.Op == ir.DotGeneral && l.moves[o] && l.invariant(o.In[1]) && len(o.Attr.(ir.Dot).LeftBatch) == 0
}

// rebuild makes the new Scan and gives what stands for each result of the old one;
// nil for those that nothing uses.
func (l *loop) rebuild() []*ir.Node {
	from := l.sources()
	reads := make(map[*ir.Node]bool)
	for _, n := range ir.Collect(l.stored).Nodes {
		reads[n] = true
	}
	c := *l.Loop
	c.Inputs = 0
	sub := make(map[*ir.Node]*ir.Node)
	var params, operands []*ir.Node
	for i, p := range l.params {
		if i >= l.Carries && !reads[p] {
			continue
		}
		if i >= l.Carries && i < l.Carries+l.sequences {
			c.Inputs++
		}
		sub[p] = ir.NewParam(len(params), p.DType, p.Shape)
		params = append(params, sub[p])
		operands = append(operands, l.operands[i])
	}
	outs := ir.Substitute(l.stored, sub)
	c.Body = ir.Collect(append(slices.Clone(params), outs...))
	c.Body.Outputs, c.Body.Params = outs, len(params)
	scan := &ir.Node{Op: ir.Scan, Attr: &c, In: operands}

	results := make([]*ir.Node, c.Results())
	result := func(i int) *ir.Node {
		if results[i] == nil {
			results[i] = ir.New(ir.Result, ir.Number{N: i}, scan)
		}
		return results[i]
	}
	var value func(f *source) *ir.Node
	value = func(f *source) (x *ir.Node) {
		trail := len(outs) + f.n
		switch f.kind {
		case ahead:
			x = f.node
		case storedValue:
			x = result(f.n)
		case before:
			x = c.Before(result(trail))
		case behind:
			x = c.After(result(trail))
		case last:
			x = c.Last(result(trail))
		case wholeTrail:
			x = result(trail)
		case product:
			d := f.dot.Attr.(ir.Dot)
			x = ir.New(ir.DotGeneral, ir.Dot{LeftContract: later(d.LeftContract)[1:], RightContract: d.RightContract}, value(f.left), l.outside(f.dot.In[1]))
		}
		for _, v := range slices.Backward(f.views) {
			x = stacked(v, []*ir.Node{x}, l.Steps)
		}
		return x
	}
	res := make([]*ir.Node, len(from))
	for i, f := range from {
		if l.used[i] {
			res[i] = value(f)
		}
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
