package fuse

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// kind says what an item does.
type kind uint8

const (
	compute kind = iota // an elementwise operation
	move                // a copy of what a Barrier keeps
	reduce              // a reduction
	region              // a copy of an operand into its part of a Pad's or Concatenate's result
	fill                // a Pad's value, written before the region
	library             // done by a routine of the backend
)

// item is a piece of work that cannot be divided. Most nodes are one item or none
// (leaves, views, what is free); a Pad or Concatenate is one for every operand.
type item struct {
	kind kind
	node *ir.Node
	part int // region: which operand
	num  int // its place in the order of the graph
	size int // elements of the index space: of the operand for reduce and region

	inputs []edge
	users  []*item
	group  *group
	outer  bool // the value varies along the group's outer axes only
	walked int  // mark of the last walk that came by

	update bool // the value is used for assignments and nothing else
	kept   bool // the value is written to memory
	recompute
}

// edge is a use of a value: through views, at the points of the user's space.
type edge struct {
	from *item    // nil for a leaf
	node *ir.Node // whose value it is
	form []int    // the access, as (*space).form gives it; nil if groups cannot merge along the edge
}

// source walks from a value through views down to what computes it or holds it.
func source(x *ir.Node) *ir.Node {
	for x.Op.Class() == ir.ClassView {
		x = x.In[0]
	}
	return x
}

// trace follows the views from x to its source and gives the access to the source
// at the points of a space with the given extents, or nil if it is not affine.
func trace(extent []int, x *ir.Node) []int {
	if shape.Elements(extent) == 0 {
		return identity(0)
	}
	s := newSpace([]int{shape.Elements(extent)}) // split as the views want it
	for {
		var form []int
		split, bad := attempt(func() {
			a := s.full()
			for v := x; v.Op.Class() == ir.ClassView; v = v.In[0] {
				a = s.through(v, a)
			}
			form = s.form(a)
		})
		switch {
		case split != nil:
			s.split(*split)
		case bad != nil:
			return nil
		default:
			return form
		}
	}
}

// prepare gives the graph the form that the later steps want: what has to be
// copied is behind a Barrier. These are
//
//   - the nodes in copies, views that an earlier attempt could not fold,
//   - operands that a library routine cannot read as they lie,
//   - values of assignments and outputs that no kernel of its own would compute:
//     leaves, literals, views, and an output that is there twice.
func (f *fuser) prepare(g *ir.Graph, copies map[*ir.Node]int) {
	sub := make(map[*ir.Node]*ir.Node, len(g.Nodes))
	f.origin = make(map[*ir.Node]*ir.Node)
	f.free = make(map[*ir.Node]bool)
	f.alone = make(map[*ir.Node]bool)
	f.nodes = f.nodes[:0]
	add := func(n *ir.Node) *ir.Node {
		f.nodes = append(f.nodes, n)
		free := n.Op == ir.Const || n.Op.Class() == ir.ClassElementwise || n.Op.Class() == ir.ClassView
		for _, x := range n.In {
			free = free && f.free[x]
		}
		f.free[n] = free
		return n
	}
	barriers := make(map[*ir.Node]*ir.Node)
	keep := func(x *ir.Node) *ir.Node {
		if barriers[x] == nil {
			barriers[x] = add(ir.New(ir.Barrier, nil, x))
		}
		return barriers[x]
	}
	for _, n := range g.Nodes {
		m := n.WithOperands(func(x *ir.Node) *ir.Node { return sub[x] })
		switch {
		case n.Op == ir.Assign && !f.computed(m.In[1]) && m.In[1].Op != ir.Barrier:
			b := keep(m.In[1])
			m = ir.New(ir.Assign, m.Attr, m.In[0], b)
		case n.Op.Class() == ir.ClassLibrary || n.Op == ir.Composite:
			m = m.WithOperands(func(x *ir.Node) *ir.Node {
				if !f.free[x] && readable(m, x) {
					return x
				}
				// A copy that is readable both as it is and transposed serves both.
				if x.Op == ir.Transpose && !f.free[x] && x.In[0].Op.Class() == ir.ClassView {
					t := ir.New(ir.Transpose, x.Attr, keep(x.In[0]))
					if readable(m, t) {
						return add(t)
					}
				}
				return keep(x)
			})
		}
		add(m)
		sub[n] = m
		if copies[n] > 0 {
			sub[n] = keep(m)
			f.alone[sub[n]] = copies[n] == copyAlone
		}
		f.origin[m] = n
	}
	f.outputs = f.outputs[:0]
	seen := make(map[*ir.Node]bool)
	for _, o := range g.Outputs {
		m := sub[o]
		if m.Op == ir.Assign {
			f.assigns = append(f.assigns, m)
			continue
		}
		x := m
		for x.Op == ir.Reshape {
			x = x.In[0] // the same elements in the same order
		}
		switch {
		case !seen[x] && (f.computed(x) || x.Op.Class() == ir.ClassLibrary || x.Op.Class() == ir.ClassStore || x.Op == ir.Result || x.Op == ir.Barrier):
			m = x
		case seen[barriers[m]]:
			m = add(ir.New(ir.Barrier, nil, m))
		default:
			m = keep(m)
		}
		seen[m] = true
		f.outputs = append(f.outputs, m)
	}
}

// computed tells whether a fused kernel computes n anyway.
func (f *fuser) computed(n *ir.Node) bool {
	return !f.free[n] && (n.Op.Class() == ir.ClassElementwise || n.Op.Class() == ir.ClassReduce)
}

// readable tells whether the routine for l can read operand x where its source
// lies. Matrix products and composites that say so take strides, a Scan takes a part
// of a tensor that is contiguous; everything else wants its operands whole.
func readable(l, x *ir.Node) bool {
	switch {
	case takesStrides(l):
		_, _, ok := strides(l, x)
		return ok
	case l.Op == ir.Scan:
		_, ok := begin(x)
		return ok
	}
	return slices.Equal(trace(x.Shape, x), identity(x.Elements()))
}

// begin tells whether the elements of x lie one after the other in the memory of its
// source, and which of the source's elements is the first.
func begin(x *ir.Node) (off int, ok bool) {
	form := trace(x.Shape, x)
	if len(form) == 0 || x.Elements() == 0 {
		return 0, form != nil
	}
	whole := identity(x.Elements())
	last := len(whole) - 1
	return form[len(form)-1], len(form) == len(whole) && slices.Equal(form[:last], whole[:last])
}

func takesStrides(l *ir.Node) bool {
	r, ok := l.Attr.(*ir.Region)
	return l.Op == ir.DotGeneral || ok && r.Strided
}

// strides is how operand x of l, which takes strides, lies in its source's memory.
// Of a matrix, one of the last two axes has to be dense, and neither may repeat
// elements; of an operand of a composite, the last.
func strides(l, x *ir.Node) (off int, stride []int, ok bool) {
	s := newSpace(x.Shape)
	a := s.full()
	if x.Elements() == 0 {
		return 0, a.coef, true
	}
	split, bad := attempt(func() {
		for v := x; v.Op.Class() == ir.ClassView; v = v.In[0] {
			a = s.through(v, a)
		}
	})
	if split != nil || bad != nil {
		return 0, nil, false
	}
	r := len(x.Shape)
	if l.Op == ir.Composite {
		ok = r == 0 || a.coef[r-1] == 1 || x.Shape[r-1] == 1
		return a.off, a.coef, ok && !slices.ContainsFunc(a.coef, func(c int) bool { return c < 0 })
	}
	for i := r - 2; i < r; i++ {
		ok = ok || a.coef[i] == 1 || x.Shape[i] == 1
		if a.coef[i] < 0 || a.coef[i] == 0 && x.Shape[i] > 1 {
			return 0, nil, false
		}
	}
	return a.off, a.coef, ok
}

// connect lists the items of the graph in order, each with its edges.
func (f *fuser) connect() {
	f.items = f.items[:0]
	f.of = make(map[*ir.Node][]*item, len(f.nodes))
	for _, n := range f.nodes {
		if !f.free[n] {
			f.connectNode(n)
		}
	}
	for _, it := range f.items {
		for _, e := range it.inputs {
			if e.from != nil && !slices.Contains(e.from.users, it) {
				e.from.users = append(e.from.users, it)
			}
		}
	}
	assigned, output := make(map[*ir.Node]bool), make(map[*ir.Node]bool)
	for _, a := range slices.Concat(f.assigns, f.deferred) {
		assigned[a.In[1]] = true
	}
	for _, o := range f.outputs {
		output[o] = true
	}
	for _, it := range slices.Backward(f.items) {
		it.update = it.kind == compute && !output[it.node] && (len(it.users) > 0 || assigned[it.node]) &&
			!slices.ContainsFunc(it.users, func(u *item) bool { return !u.update })
	}
}

func (f *fuser) connectNode(n *ir.Node) {
	item := func(k kind, size int) *item {
		it := &item{kind: k, node: n, size: size, num: len(f.items)}
		it.group = newGroup(it)
		f.items = append(f.items, it)
		f.of[n] = append(f.of[n], it)
		return it
	}
	switch n.Op.Class() {
	case ir.ClassElementwise:
		it := item(compute, n.Elements())
		f.use(it, n.Shape, n.In...)
	case ir.ClassReduce:
		it := item(reduce, n.In[0].Elements())
		f.use(it, n.In[0].Shape, n.In[0])
	case ir.ClassStore:
		if n.Op == ir.Pad {
			item(fill, n.Elements()).kept = true
		}
		for i, x := range n.In {
			it := item(region, x.Elements())
			it.part, it.kept = i, true
			f.use(it, x.Shape, x)
		}
	case ir.ClassLibrary:
		it := item(library, n.Elements())
		for _, x := range n.In {
			f.depend(it, source(x))
		}
	case ir.ClassStructure:
		switch n.Op {
		case ir.Barrier:
			it := item(move, n.Elements())
			it.kept = true
			f.use(it, n.Shape, n.In[0])
			for _, x := range n.In[1:] {
				if src := source(x); !f.free[src] && len(f.of[src]) > 0 {
					f.depend(it, src)
				}
			}
		case ir.Composite:
			it := item(library, 0)
			for _, x := range n.In {
				f.depend(it, source(x))
			}
		case ir.Result:
			f.of[n] = f.of[n.In[0]]
		}
	}
}

// use adds the edges from the sources of the operands.
func (f *fuser) use(it *item, extent []int, in ...*ir.Node) {
	for _, x := range in {
		src := source(x)
		from := f.of[src]
		switch {
		case f.free[x]:
		case len(from) == 0: // a leaf
			it.inputs = append(it.inputs, edge{node: src})
		case src.Op == ir.Barrier, src.Op.Class() == ir.ClassStore, src.Op == ir.Result:
			f.depend(it, src)
		default:
			it.inputs = append(it.inputs, edge{from[0], src, trace(extent, x)})
		}
	}
}

// depend adds edges along which nothing can merge: the value is read from memory.
func (f *fuser) depend(it *item, src *ir.Node) {
	from := f.of[src]
	if len(from) == 0 {
		it.inputs = append(it.inputs, edge{node: src})
	}
	for _, p := range from {
		p.kept = true
		it.inputs = append(it.inputs, edge{from: p, node: src})
	}
}
