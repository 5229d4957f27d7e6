package fuse

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
)

// group is a set of items that become one kernel. All of them run over one index
// space of size points. Where there are reductions, pattern cuts that space, in
// row-major order, into runs of axes that are reduced and runs that are not; values
// of outer items have one element for every point of the latter.
type group struct {
	members []*item // in the order of the graph
	size    int
	pattern []span // nil: no reductions
	lib     *item  // the library operation whose epilogue the other members are
	seen    int    // mark of the last search that came by
}

type span struct {
	extent  int
	reduced bool
}

// The limits of fusion. A kernel with very many loads runs out of addresses and
// cache ways. A Row kernel computes its producers again in every pass, which pays
// as long as a row stays in the cache; a few enormous rows do not.
const (
	maxLoads     = 32
	maxRow       = 1 << 14
	minRows      = 32
	maxRecompute = 64 // cost of a value that is computed again rather than kept
)

func newGroup(it *item) *group {
	g := &group{members: []*item{it}, size: it.size}
	switch it.kind {
	case library:
		g.lib = it
	case reduce:
		g.pattern = pattern(it.node.In[0].Shape, it.node.Attr.(ir.Axes).Axes)
		it.outer = true
	}
	return g
}

// pattern is the partition of a shape into reduced and other axes.
func pattern(sh, axes []int) []span {
	var p []span
	for i, e := range sh {
		red := slices.Contains(axes, i)
		if n := len(p); e == 1 {
			continue
		} else if n > 0 && p[n-1].reduced == red {
			p[n-1].extent *= e
		} else {
			p = append(p, span{e, red})
		}
	}
	if !slices.ContainsFunc(p, func(s span) bool { return s.reduced }) {
		p = append(p, span{1, true}) // over axes of extent 1
	}
	return p
}

// site is the place of the member that is most work, among those that a layer is known
// of if there are any.
func (g *group) site() *ir.Site {
	var site *ir.Site
	best := -1
	for _, it := range g.members {
		n := it.node
		for n.Site() == nil && len(n.In) > 0 { // a copy that was put in here
			n = n.In[0]
		}
		work := it.size * max(1, it.node.Op.Info().Cost)
		if n.Site().Scope() == nil {
			work = 0
		}
		if n.Site() != nil && work > best {
			site, best = n.Site(), work
		}
	}
	return site
}

// outerSize is the number of points of the axes that are not reduced.
func (g *group) outerSize() int {
	n := 1
	for _, s := range g.pattern {
		if !s.reduced {
			n *= s.extent
		}
	}
	return n
}

// space is the index space of the group.
func (g *group) space() *space {
	if g.lib != nil {
		return newSpace(g.lib.node.Shape)
	}
	if g.pattern == nil {
		return newSpace([]int{g.size})
	}
	s := new(space)
	for _, p := range g.pattern {
		s.extent = append(s.extent, p.extent)
		s.reduced = append(s.reduced, p.reduced)
	}
	return s
}

// fuse merges groups: first along the edges, in the order of the graph, so that
// producers join their consumers; then groups side by side that read the same
// values over the same space.
func (f *fuser) fuse() {
	f.cover = make([]int, len(f.items))
	for i := range f.cover {
		f.cover[i] = i
	}
	for _, it := range f.items {
		for _, e := range it.inputs {
			if e.from != nil && e.form != nil && e.from.group != it.group {
				f.merge(e.from.group, it.group)
			}
		}
	}
	// Side by side.
	readers := make(map[*ir.Node][]*item)
	for _, it := range f.items {
		for _, e := range it.inputs {
			if e.node.Elements() > 1 && it.kind != library {
				readers[e.node] = append(readers[e.node], it)
			}
			if it.kind == reduce && e.from != nil {
				f.through(e.from, it, readers)
			}
		}
	}
	for _, n := range f.nodes {
		rs := readers[n]
		for i, a := range rs {
			for _, b := range rs[:i] {
				if x, y := a.group, b.group; x != y && x.pattern != nil && x.size == y.size && slices.Equal(x.pattern, y.pattern) {
					f.merge(y, x)
				}
			}
		}
	}
}

// through makes reduction it a reader of what its operand is computed from in the epilogue
// of a library operation, since it will do that again: sums over the result of a
// convolution, be it scaled or multiplied by something else, read it together.
func (f *fuser) through(operand, it *item, readers map[*ir.Node][]*item) {
	if operand.group.lib == nil {
		return
	}
	f.searches++
	var walk func(x *item)
	walk = func(x *item) {
		if x.kind != compute || x.group != operand.group || x.walked == f.searches {
			return
		}
		x.walked = f.searches
		for _, e := range x.inputs {
			if e.node.Elements() == it.size {
				readers[e.node] = append(readers[e.node], it)
			}
			if e.from != nil {
				walk(e.from)
			}
		}
	}
	walk(operand)
}

// merge puts b's items into a's kernel if that is possible and pays. a comes first:
// it computes something that b uses, or has nothing to do with it.
func (f *fuser) merge(a, b *group) bool {
	if b.lib != nil && a.lib != nil || a.members[0].kind == fill || b.members[0].kind == fill {
		return false
	}
	if f.alone[a.members[0].node] || f.alone[b.members[0].node] {
		return false
	}
	// Updates of variables do better together, in a Multi kernel, than one by one
	// behind what gave the gradients.
	if a.members[0].update != b.members[0].update {
		return false
	}
	m := &group{size: a.size, pattern: a.pattern, lib: a.lib}
	if b.lib != nil {
		m.lib = b.lib
	}
	// outerA and outerB tell whether all of a's or b's values become outer ones.
	outerA, outerB := false, false
	switch {
	case a.size == b.size && (a.pattern == nil || b.pattern == nil || slices.Equal(a.pattern, b.pattern)):
		if m.pattern == nil {
			m.pattern = b.pattern
		}
	case a.pattern != nil && b.pattern == nil && b.size == a.outerSize():
		outerB = true
	case b.pattern != nil && a.pattern == nil && a.size == b.outerSize():
		outerA = true
		m.size, m.pattern = b.size, b.pattern
	default:
		return false
	}
	if m.lib != nil && (m.pattern != nil || m.lib.node.Op == ir.Scan || m.lib.node.Op == ir.Composite) {
		return false
	}
	outer := func(it *item) bool {
		return it.outer || outerA && it.group == a || outerB && it.group == b
	}
	whole := identity(m.size)
	var rows, across []int // forms of accesses to outer values: by an outer value, by another
	if m.pattern != nil {
		s := m.space()
		rows, across = identity(m.outerSize()), s.form(s.outer())
	}
	loads := make(map[*ir.Node]bool)
	for _, g := range []*group{a, b} {
		for _, it := range g.members {
			if it.kind == library {
				continue
			}
			for _, e := range it.inputs {
				if e.from == nil || e.from.group != a && e.from.group != b {
					loads[e.node] = true
					continue
				}
				// A reduction reads over the whole space, though its result is outer.
				inner := !outer(it) || it.kind == reduce
				var want []int
				switch {
				case !outer(e.from):
					want = whole
				case inner:
					want = across
				default:
					want = rows
				}
				if !inner && !outer(e.from) || e.form == nil || !slices.Equal(e.form, want) {
					return false
				}
				if inner && outer(e.from) && m.outerSize() < minRows && m.size/max(1, m.outerSize()) > maxRow && e.from.group != it.group {
					return false
				}
			}
		}
	}
	if len(loads) > maxLoads {
		return false
	}
	if m.lib != nil {
		// The routine reads its operands while the epilogue writes.
		for _, e := range m.lib.inputs {
			if e.from != nil && (e.from.group == a || e.from.group == b) {
				return false
			}
		}
	}
	if f.path(a, b) || f.path(b, a) {
		return false
	}
	for _, g := range []*group{a, b} {
		for _, it := range g.members {
			it.outer = outer(it)
		}
	}
	m.members = append(slices.Clone(a.members), b.members...)
	slices.SortFunc(m.members, func(x, y *item) int { return x.num - y.num })
	for _, it := range m.members {
		it.group = m
	}
	first, last := m.members[0].num, m.members[len(m.members)-1].num
	for i := first; i < last; i++ {
		f.cover[i] = max(f.cover[i], last)
	}
	return true
}

// path tells whether b needs a's results by way of a third group.
func (f *fuser) path(a, b *group) bool {
	f.searches++
	// Uses go upward in the order of the graph, but a group reaches back to its
	// first member. Nothing leads back to b from behind all groups that hang together
	// with it in that way.
	last := b.members[len(b.members)-1].num
	for f.cover[last] > last {
		last = f.cover[last]
	}
	stack := make([]*group, 0, 16)
	visit := func(g *group, direct bool) bool {
		for _, it := range g.members {
			for _, u := range it.users {
				n := u.group
				if n == g || n.seen == f.searches || n.members[0].num > last {
					continue
				}
				if n == b {
					if direct {
						continue
					}
					return true
				}
				n.seen = f.searches
				stack = append(stack, n)
			}
		}
		return false
	}
	a.seen = f.searches
	if visit(a, true) {
		return true
	}
	for len(stack) > 0 {
		g := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if visit(g, false) {
			return true
		}
	}
	return false
}

// recompute describes what it takes to compute a value again elsewhere.
type recompute struct {
	loads []*ir.Node // values in memory that are read
	cost  int        // by element
	raw   bool       // a reduction or library result that only the own kernel has is needed
}

// narrower is the computed value that it converts from a smaller type, or nil: it is
// better kept than what it becomes.
func (it *item) narrower() *item {
	if it.node.Op != ir.Convert {
		return nil
	}
	p := it.inputs[0].from
	if p == nil || p.kind != compute || p.node.Bytes() >= it.node.Bytes() {
		return nil
	}
	return p
}

// narrows tells whether the value is rounded to a smaller type: what is then repeated is
// rounded once, and library operations find it in memory in the type that they compute in.
func (it *item) narrows() bool {
	return it.node.Op == ir.Convert && it.node.DType.Size() < it.node.In[0].DType.Size()
}

// keep decides what is written to memory: what something other than a fused kernel
// reads, what several kernels need and is too dear to compute again, and every
// result of a reduction or library operation that leaves its kernel.
func (f *fuser) keep() {
	for _, it := range f.items {
		// What a Barrier keeps for nothing but an assignment goes there directly.
		it.kept = it.kept && (it.kind != move || len(it.users) > 0)
	}
	for _, o := range f.outputs {
		for _, it := range f.of[o] {
			it.kept = true
		}
	}
	for _, a := range f.deferred {
		f.of[a.In[1]][0].kept = true
	}
	for _, it := range f.items {
		var r recompute
		seen := map[*ir.Node]bool{}
		load := func(n *ir.Node) {
			if !seen[n] {
				seen[n] = true
				r.loads = append(r.loads, n)
			}
		}
		r.cost = it.node.Op.Info().Cost
		for _, e := range it.inputs {
			switch p := e.from; {
			case p == nil || p.kept:
				load(e.node)
			case p.kind != compute:
				r.raw = true
			default:
				r.cost += p.cost
				r.raw = r.raw || p.raw
				for _, n := range p.loads {
					load(n)
				}
			}
		}
		it.recompute = r
		if it.kept {
			continue
		}
		outside, expansion := 0, 1
		for _, u := range it.users {
			if u.group != it.group {
				outside++
				expansion = max(expansion, u.size/max(1, it.node.Elements()))
			}
		}
		if outside == 0 {
			continue
		}
		full := 0
		for _, n := range r.loads {
			if 4*n.Elements() >= it.node.Elements() {
				full++
			}
		}
		inside := slices.ContainsFunc(it.users, func(u *item) bool { return u.group == it.group })
		switch {
		case it.kind != compute || r.raw || f.plain:
			it.kept = true
		case expansion >= 4:
			it.kept = r.cost > 2 || full > 1 || it.narrows()
		case outside == 1 && !inside && full <= 4:
		default:
			it.kept = full > 1 || r.cost > maxRecompute
		}
		if p := it.narrower(); it.kept && p != nil && !f.plain {
			p.kept, it.kept = true, false
			it.recompute = recompute{loads: []*ir.Node{p.node}, cost: it.node.Op.Info().Cost}
		}
	}
}
