// Package rewrite simplifies a graph before it is cut into kernels. The passes run
// in the order of the table below; each is a rule that sees every node once, with
// its operands already rewritten, and returns what should stand for it. Equal
// nodes are merged on the way (common subexpressions), so later rules can compare
// pointers, and what nothing uses any more is gone after every pass.
//
// No rule changes a bit of any result that is not NaN: x·1 is x, but x+0 stays,
// for −0+0 is +0.
package rewrite

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/sinter-dl/sinter/internal/debug"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// pass is one walk over the graph.
type pass struct {
	name string
	rule func(w *walk, n *ir.Node) *ir.Node
}

var passes []pass

func init() { // loops rewrites the bodies of loops by all passes
	passes = []pass{
		{"inline", inline},
		{"lower", lower},
		{"fold", fold},
		{"tile", tile},
		{"relu", reluMask},
		{"pool", poolGrad},
		{"loops", loops},
		{"contract", contract},
		{"precision", precision},
		{"fold", fold},
	}
}

// Run rewrites the graph of the outputs for a device that has kernels for the
// composites that supports names. If low is not Invalid, float32 products take
// operands rounded to that type, and so do composites that supports names as narrow.
func Run(outputs []*ir.Node, supports func(composite string, narrow bool) bool, low dtype.DType) *ir.Graph {
	g := ir.Collect(outputs)
	for _, p := range passes {
		w := &walk{supports: supports, low: low, sub: make(map[*ir.Node]*ir.Node, len(g.Nodes)), seen: make(map[string]*ir.Node), old: g}
		for _, n := range g.Nodes {
			m := n
			if n.Op == ir.Result && n.In[0].Op == ir.Composite && w.inlined(n.In[0]) {
				// The body was not walked with the graph; it follows now.
				m = w.body(n)
			} else if n.Op == ir.Composite && w.inlined(n) {
				continue
			} else {
				m = n.WithOperands(func(x *ir.Node) *ir.Node { return w.sub[x] })
				if len(m.Effects) > 0 { // they are among the outputs
					c := *m
					c.Effects = nil
					m = &c
				}
				w.from = n
				m = w.unique(p.rule(w, m))
				if n.Site().Scope() != nil { // somebody wants to know which layer kernels belong to
					ir.Stamp(m, n.Site())
				}
			}
			w.sub[n] = m
		}
		outs := make([]*ir.Node, len(g.Outputs))
		for i, o := range g.Outputs {
			outs[i] = w.sub[o]
		}
		g = ir.Collect(outs)
		if debug.On("verify") {
			g.Verify(p.name)
		}
		if debug.On("graph") {
			fmt.Fprintf(os.Stderr, "after %s:\n%v\n\n", p.name, g)
		}
	}
	return g
}

// walk is the state of one pass.
type walk struct {
	supports func(composite string, narrow bool) bool
	low      dtype.DType // see precision
	old      *ir.Graph
	from     *ir.Node              // the node of the old graph that the rule is given
	sub      map[*ir.Node]*ir.Node // old → new
	seen     map[string]*ir.Node   // canonical form → node
	ids      map[*ir.Node]int
	kept     []*ir.Node              // maxima's places, of the old graph, on demand
	rounded  map[*ir.Node]bool       // of the old graph, on demand; see precision
	biased   map[*ir.Node]bool       // likewise
	results  map[*ir.Node][]*ir.Node // of every Scan of the old graph, on demand
	loops    map[*ir.Node][]*ir.Node // what stands for the results of a rewritten Scan
	key      []byte
}

func (w *walk) inlined(c *ir.Node) bool { return !w.supports(c.Attr.(*ir.Region).Name, false) }

// body rebuilds the output of a composite's body over the rewritten operands.
func (w *walk) body(r *ir.Node) *ir.Node {
	return ir.SubstituteWhere([]*ir.Node{r}, w.sub, w.inlined)[0]
}

// unique returns the node that was built first among equals.
func (w *walk) unique(n *ir.Node) *ir.Node {
	if n.Op == ir.Assign || n.Op == ir.Param || n.Op == ir.Composite || n.Op == ir.Scan {
		return n
	}
	k := w.canonical(n)
	if m := w.seen[string(k)]; m != nil {
		return m
	}
	w.seen[string(k)] = n
	return n
}

// canonical writes what makes nodes equal: operation, type, shape, attributes and the
// very operands.
func (w *walk) canonical(n *ir.Node) []byte {
	if w.ids == nil {
		w.ids = make(map[*ir.Node]int)
	}
	k := append(w.key[:0], byte(n.Op), byte(n.DType), byte(len(n.Shape)))
	for _, d := range n.Shape {
		k = binary.AppendUvarint(k, uint64(d))
	}
	if n.Op == ir.Input {
		k = fmt.Appendf(k, "%p", n.Storage)
	}
	for _, in := range n.In {
		id, ok := w.ids[in]
		if !ok {
			id = len(w.ids)
			w.ids[in] = id
		}
		k = binary.AppendUvarint(k, uint64(id))
	}
	if n.Attr != nil {
		k = n.Attr.AppendKey(k)
	}
	w.key = k
	return k
}

// inline replaces composites without a kernel by their bodies; Run itself does it,
// because the nodes of a body are not among those that it walks.
func inline(w *walk, n *ir.Node) *ir.Node { return n }

// lower drops what only matters to gradients.
func lower(w *walk, n *ir.Node) *ir.Node {
	if n.Op == ir.StopGradient {
		return n.In[0]
	}
	return n
}

// fold evaluates operations on literals, moves operations on repeated scalars
// before the repetition, and removes operations that do nothing.
func fold(w *walk, n *ir.Node) *ir.Node {
	switch n.Op.Class() {
	case ir.ClassElementwise:
		return foldElementwise(w, n)
	case ir.ClassView:
		return foldView(w, n)
	case ir.ClassReduce:
		if n.Op == ir.ReduceSum && n.In[0].Elements() == 0 {
			return ir.Full(n.DType, 0, n.Shape)
		}
	case ir.ClassStore:
		if p, ok := n.Attr.(ir.Padding); ok && slices.Max(append(slices.Concat(p.Low, p.High, p.Interior), 0)) == 0 {
			return n.In[0]
		}
		if n.Op == ir.Concatenate {
			return foldConcatenate(n)
		}
	}
	return n
}

// scalarOf is the scalar that x repeats, or nil.
func scalarOf(x *ir.Node) *ir.Node {
	if len(x.Shape) == 0 {
		return x
	}
	if x.Op == ir.BroadcastInDim && len(x.In[0].Shape) == 0 {
		return x.In[0]
	}
	return nil
}

// literal is the value that x repeats, if it is a literal.
func literal(x *ir.Node) (v float64, ok bool) {
	s := scalarOf(x)
	if s == nil || s.Op != ir.Const {
		return 0, false
	}
	return s.Attr.(ir.Literal).Float(s.DType), true
}

func foldElementwise(w *walk, n *ir.Node) *ir.Node {
	if n.Op == ir.Iota || n.Op == ir.RNGBits {
		return n
	}
	if n.Op == ir.Convert && n.In[0].DType == n.DType {
		return n.In[0]
	}
	if len(n.Shape) > 0 {
		scalars := make([]*ir.Node, len(n.In))
		all := true
		for i, x := range n.In {
			scalars[i] = scalarOf(x)
			all = all && scalars[i] != nil
		}
		if all {
			c := *n
			s := ir.Node{Op: c.Op, DType: c.DType, Attr: c.Attr, In: scalars}
			inner := w.unique(foldElementwise(w, w.unique(&s)))
			return ir.Broadcast(inner, n.Shape)
		}
	} else if v, ok := evaluate(n); ok {
		return v
	}
	switch n.Op {
	case ir.Mul:
		for i, x := range n.In {
			if v, ok := literal(x); ok && v == 1 {
				return n.In[1-i]
			}
		}
	case ir.Div:
		if v, ok := literal(n.In[1]); ok && v == 1 {
			return n.In[0]
		}
	case ir.Sub:
		if v, ok := literal(n.In[1]); ok && v == 0 && !math.Signbit(v) { // −0−(−0) is +0
			return n.In[0]
		}
	case ir.Neg:
		if n.In[0].Op == ir.Neg {
			return n.In[0].In[0]
		}
	case ir.Select:
		if v, ok := literal(n.In[0]); ok {
			if v != 0 {
				return n.In[1]
			}
			return n.In[2]
		}
		if n.In[1] == n.In[2] {
			return n.In[1]
		}
	}
	return n
}

// evaluate computes a scalar operation on literals. The operations with a float64
// meaning that is correctly rounded to narrower types, and conversions, qualify;
// integers are left to the kernels, whose wrapping is the reference.
func evaluate(n *ir.Node) (*ir.Node, bool) {
	var v [2]float64
	for i, x := range n.In {
		if x.Op != ir.Const || i > 1 {
			return nil, false
		}
		v[i] = x.Attr.(ir.Literal).Float(x.DType)
	}
	in := n.In[0].DType
	if in.IsInt() && math.Abs(v[0]) > 1<<53 { // the float64 is not the number
		return nil, false
	}
	switch {
	case n.Op == ir.Convert && (n.DType.IsFloat() || in.IsInt() && v[0] >= -128 && v[0] <= 127 && n.DType != dtype.Uint8):
		return ir.Float(n.DType, v[0]), true
	case n.Op.Info().F64 != nil && in.IsFloat() && !n.Op.IsCompare():
		return ir.Float(n.DType, n.Op.Info().F64(v[0], v[1])), true
	}
	return nil, false
}

// foldConcatenate puts slices together again that make up a whole tensor.
func foldConcatenate(n *ir.Node) *ir.Node {
	if len(n.In) == 1 {
		return n.In[0]
	}
	axis, at := n.Attr.(ir.Axis).Axis, 0
	var whole *ir.Node
	for _, x := range n.In {
		if x.Op != ir.Slice || whole != nil && x.In[0] != whole || !slices.Equal(x.In[0].Shape, n.Shape) {
			return n
		}
		whole = x.In[0]
		r := x.Attr.(ir.Range)
		for i, e := range whole.Shape {
			first, end := 0, e
			if i == axis {
				first, end = at, at+x.Shape[axis]
			}
			if r.Start[i] != first || r.Limit[i] != end || r.Step[i] != 1 {
				return n
			}
		}
		at += x.Shape[axis]
	}
	return whole
}

func foldView(w *walk, n *ir.Node) *ir.Node {
	x := n.In[0]
	if slices.Equal(x.Shape, n.Shape) {
		switch n.Op {
		case ir.Reshape, ir.Slice:
			return x
		case ir.BroadcastInDim:
			return x
		case ir.Transpose:
			if slices.IsSorted(n.Attr.(ir.Axes).Axes) {
				return x
			}
		}
	}
	switch {
	case n.Op == ir.Reshape && x.Op == ir.Reshape:
		m := ir.ReshapeTo(x.In[0], n.Shape)
		if m.Op != ir.Reshape { // back in its own shape
			return m
		}
		return foldView(w, m)
	case n.Op == ir.Transpose && x.Op == ir.Transpose:
		p, q := n.Attr.(ir.Axes).Axes, x.Attr.(ir.Axes).Axes
		r := make([]int, len(p))
		for i := range p {
			r[i] = q[p[i]]
		}
		return ir.Permute(x.In[0], r)
	case n.Op == ir.BroadcastInDim && x.Op == ir.BroadcastInDim:
		p, q := n.Attr.(ir.Axes).Axes, x.Attr.(ir.Axes).Axes
		r := make([]int, len(q))
		for i := range q {
			r[i] = p[q[i]]
		}
		return ir.BroadcastTo(x.In[0], n.Shape, r)
	}
	if s := scalarOf(x); s != nil && len(x.Shape) > 0 {
		return ir.Broadcast(s, n.Shape) // a repeated scalar looks the same from everywhere
	}
	return n
}

// tile turns a sum of zero-padded tensors that lie side by side, which is what
// the gradient of splitting a tensor looks like, into their concatenation.
func tile(w *walk, n *ir.Node) *ir.Node {
	if n.Op != ir.Add {
		return n
	}
	type piece struct {
		x         *ir.Node
		low, high int
	}
	axis := -1
	var pieces []piece
	// A sum among the operands is one that could not be turned.
	collect := func(x *ir.Node) bool {
		switch x.Op {
		case ir.Concatenate: // an inner sum that was turned already, padded by literal zeros
			a := x.Attr.(ir.Axis).Axis
			at := 0
			for _, y := range x.In {
				if v, ok := literal(y); !ok || v != 0 || math.Signbit(v) {
					if axis >= 0 && a != axis {
						return false
					}
					axis = a
					pieces = append(pieces, piece{y, at, at + y.Shape[a]})
				}
				at += y.Shape[a]
			}
			return true
		case ir.Pad:
			p := x.Attr.(ir.Padding)
			if p.Value != 0 {
				return false
			}
			for i := range p.Low {
				if p.Interior[i] != 0 {
					return false
				}
				if p.Low[i] != 0 || p.High[i] != 0 {
					if axis >= 0 && axis != i {
						return false
					}
					axis = i
				}
			}
			if axis < 0 {
				return false
			}
			pieces = append(pieces, piece{x.In[0], p.Low[axis], x.Shape[axis] - p.High[axis]})
			return true
		}
		return false
	}
	if !collect(n.In[0]) || !collect(n.In[1]) || axis < 0 {
		return n
	}
	slices.SortFunc(pieces, func(a, b piece) int { return a.low - b.low })
	var parts []*ir.Node
	at := 0
	zeros := func(to int) {
		if to > at {
			sh := slices.Clone(n.Shape)
			sh[axis] = to - at
			parts = append(parts, ir.Full(n.DType, 0, sh))
		}
	}
	for _, p := range pieces {
		if p.low < at {
			return n // they overlap
		}
		zeros(p.low)
		x := p.x
		if n.DType.IsFloat() && !sumWithZero(x) { // −0 and the zeros around it make +0
			x = ir.New(ir.Add, nil, x, ir.Full(n.DType, 0, x.Shape))
		}
		parts = append(parts, x)
		at = p.high
	}
	zeros(n.Shape[axis])
	return ir.New(ir.Concatenate, ir.Axis{Axis: axis}, parts...)
}

// sumWithZero tells whether x has no negative zeros because +0 was added to it, be it
// by the body of a composite.
func sumWithZero(x *ir.Node) bool {
	for x.Op.Class() == ir.ClassView {
		x = x.In[0]
	}
	if x.Op == ir.Result {
		r, ok := x.In[0].Attr.(*ir.Region)
		return ok && sumWithZero(r.Outs[x.Attr.(ir.Number).N])
	}
	if x.Op != ir.Add {
		return false
	}
	v, ok := literal(x.In[1])
	return ok && v == 0 && !math.Signbit(v)
}

// reluMask makes the gradient of y = x ≤ 0 ? 0 : x, or of y = 0 < x ? x : 0, look at
// y instead of x: y is kept for the next layer anyway, so x need not be.
func reluMask(w *walk, n *ir.Node) *ir.Node {
	for i, c := range n.In {
		x, y := rectified(c)
		if x == nil || n.Op == ir.Select && slices.Equal(n.In, y.In) {
			continue
		}
		// Find the rectifier among the nodes of this walk.
		built := w.seen[string(w.canonical(y))]
		if built == nil {
			continue
		}
		mask := c.WithOperands(func(m *ir.Node) *ir.Node {
			if m == x {
				return built
			}
			return m
		})
		m := *n
		m.In = slices.Clone(n.In)
		m.In[i] = w.unique(mask)
		n = &m
	}
	return n
}

// rectified gives for a comparison of x with zero the node that rectifies x by it.
func rectified(c *ir.Node) (x, y *ir.Node) {
	zero := func(n *ir.Node) bool {
		v, ok := literal(n)
		return ok && v == 0
	}
	switch {
	case c.Op == ir.Lt && zero(c.In[0]):
		x = c.In[1]
		y = &ir.Node{Op: ir.Select, DType: x.DType, Shape: x.Shape, In: []*ir.Node{c, x, c.In[0]}}
	case c.Op == ir.Le && zero(c.In[1]):
		x = c.In[0]
		y = &ir.Node{Op: ir.Select, DType: x.DType, Shape: x.Shape, In: []*ir.Node{c, c.In[1], x}}
	}
	return x, y
}

// poolGrad puts the gradient of a pooling by maxima together, where it is found as
// places and a sum into zeros. Then neither the places nor the zeros are written to
// memory, but the operand is read once more; so it is done only where something else
// in the graph uses the operand besides the pooling itself, as the gradient of a
// rectifier does.
func poolGrad(w *walk, n *ir.Node) *ir.Node {
	if n.Op != ir.ScatterAdd || !n.DType.IsFloat() {
		return n
	}
	where := n.In[1]
	if where.Op == ir.Reshape {
		where = where.In[0]
	}
	v, zero := literal(n.In[0])
	if where.Op != ir.ReduceWindowArgMax || !zero || v != 0 || math.Signbit(v) || !w.keepsOperand(where) {
		return n
	}
	x := where.In[0]
	a := n.Attr.(ir.Index)
	if a != (ir.Index{Axis: 2, Batch: 2}) || x.DType != n.DType || len(n.Shape) != 3 || !slices.Equal(n.Shape[:2], x.Shape[:2]) || n.Elements() != x.Elements() ||
		!slices.Equal(n.In[1].Shape[:2], x.Shape[:2]) {
		return n
	}
	g := w.unique(ir.ReshapeTo(n.In[2], where.Shape))
	return ir.ReshapeTo(w.unique(ir.New(ir.ReduceWindowMaxGrad, where.Attr, x, g)), n.Shape)
}

// keepsOperand tells whether the operand of maxima whose places are looked for is used
// by something other than the pooling.
func (w *walk) keepsOperand(where *ir.Node) bool {
	if w.kept == nil {
		w.kept = []*ir.Node{}
		used := make(map[*ir.Node]bool)
		for _, m := range w.old.Nodes {
			if m.Op != ir.ReduceWindowMax && m.Op != ir.ReduceWindowArgMax {
				for _, x := range m.In {
					used[x] = true
				}
			}
		}
		for _, m := range w.old.Nodes {
			if m.Op == ir.ReduceWindowArgMax && used[m.In[0]] {
				w.kept = append(w.kept, m)
			}
		}
	}
	return slices.ContainsFunc(w.kept, func(m *ir.Node) bool { return w.sub[m] == where })
}

// contract brings matrix products into the normal form of kernel.Library:
// [batch…, M, K] times [batch…, K, N], with transposes as views on the operands.
func contract(w *walk, n *ir.Node) *ir.Node {
	if n.Op != ir.DotGeneral {
		return n
	}
	d := n.Attr.(ir.Dot)
	l, r := n.In[0], n.In[1]
	nb := len(d.LeftBatch)
	lf, rf := d.Free(len(l.Shape), true), d.Free(len(r.Shape), false)
	if l.Elements() == 0 { // sums of nothing
		return ir.Full(n.DType, 0, n.Shape)
	}
	normal := nb == len(l.Shape)-2 && nb == len(r.Shape)-2 && len(lf) == 1 && len(rf) == 1 &&
		slices.Equal(slices.Concat(d.LeftBatch, lf, d.LeftContract), span(len(l.Shape))) &&
		slices.Equal(slices.Concat(d.RightBatch, d.RightContract, rf), span(len(r.Shape)))
	if normal {
		return n
	}
	extent := func(x *ir.Node, axes []int) int {
		e := 1
		for _, a := range axes {
			e *= x.Shape[a]
		}
		return e
	}
	view := func(x *ir.Node, batch, rows, cols []int) *ir.Node {
		var v *ir.Node
		if slices.Equal(slices.Concat(batch, cols, rows), span(len(x.Shape))) {
			// A transposed matrix: the transposition goes last, where it is free.
			sh := slices.Clone(x.Shape[:nb])
			perm := append(span(nb), nb+1, nb)
			v = ir.Permute(w.unique(ir.ReshapeTo(x, append(sh, extent(x, cols), extent(x, rows)))), perm)
		} else {
			p := ir.Permute(x, slices.Concat(batch, rows, cols))
			sh := slices.Clone(p.Shape[:nb])
			v = ir.ReshapeTo(p, append(sh, extent(x, rows), extent(x, cols)))
		}
		if v.Op.Class() != ir.ClassView {
			return v
		}
		return w.unique(foldView(w, w.unique(v)))
	}
	a := view(l, d.LeftBatch, lf, d.LeftContract)
	b := view(r, d.RightBatch, d.RightContract, rf)
	batch := span(nb)
	p := ir.New(ir.DotGeneral, ir.Dot{
		LeftBatch: batch, RightBatch: batch,
		LeftContract: []int{nb + 1}, RightContract: []int{nb},
		Result: d.Result,
	}, a, b)
	return ir.ReshapeTo(w.unique(p), n.Shape)
}

func span(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}
