// Package fuse cuts a rewritten graph into kernels.
//
// The graph becomes items of work (graph.go): elementwise operations, reductions,
// library operations, copies. Views are not work; they turn into the strides of
// what reads them (access.go). Items that run over the same index space are merged
// into groups (group.go), one kernel each: producers into their consumers, several
// reductions of one row into a Row kernel, the consumers of a matrix product or
// convolution into its epilogue. Then it is decided which values are written to
// memory and which are computed again where they are needed, and the code of each
// group is written (emit.go). Last, assignments are done in place where nothing
// reads the old value any more, and equal kernels over different tensors become one
// Multi kernel (this file).
//
// The result is a set of steps over slots; package plan puts them into an order and
// gives the slots their places. The switch nofuse leaves every item its own kernel.
package fuse

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/debug"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Result is a set of steps over slots. Arena slots have no offsets yet.
type Result struct {
	Slots   []kernel.Slot
	Steps   []kernel.Step
	After   [][]int // for every step, the steps that come before it
	Leaves  int
	Outputs int
}

type fuser struct {
	plain    bool
	leaves   map[*ir.Storage]int
	nodes    []*ir.Node // the prepared graph
	number   map[*ir.Node]int
	origin   map[*ir.Node]*ir.Node // prepared → given
	free     map[*ir.Node]bool     // computed from literals and coordinates alone
	outputs  []*ir.Node
	assigns  []*ir.Node // done by the kernel that computes the value
	deferred []*ir.Node // done by a copy at the end

	items    []*item
	of       map[*ir.Node][]*item
	alone    map[*ir.Node]bool // copies that no kernel does besides something else
	cover    []int             // by item: the last one that a group which begins there or before has
	searches int

	slots      []kernel.Slot
	slotOf     map[*ir.Node]int
	assignedBy map[*ir.Node][]int // value → leaf slots it is assigned to
}

// Run cuts g into kernels. The outputs of the result are g's outputs other than
// assignments, in their order. leaves numbers the storages that the graph reads; in
// a Scan's body, which has no storages, the placeholders are the leaves.
func Run(g *ir.Graph, leaves map[*ir.Storage]int) *Result {
	return cut(g, leaves, debug.On("nofuse"))
}

// cut is Run; plain leaves every item its own kernel.
func cut(g *ir.Graph, leaves map[*ir.Storage]int, plain bool) *Result {
	copies := make(map[*ir.Node]int)
	late := make(map[*ir.Storage]bool)
	for {
		f := &fuser{plain: plain, leaves: leaves}
		r, bad, clash := f.run(g, copies, late)
		if bad == nil && len(clash) == 0 {
			return r
		}
		if bad != nil {
			if copies[bad] == copyAlone {
				panic(fmt.Sprintf("fuse: %v%v cannot be read even from memory", bad.Op, bad.Shape))
			}
			copies[bad]++
		}
		for _, s := range clash {
			late[s] = true
		}
	}
}

// What becomes of a view that a kernel could not fold: its elements are copied. Where
// the copy was merged into a kernel whose axes do not fit it either, it is made by a
// kernel of its own.
const (
	copyMerged = 1 + iota
	copyAlone
)

// run makes one attempt. It fails with a view that has to be copied, or with
// storages that cannot be assigned in place.
func (f *fuser) run(g *ir.Graph, copies map[*ir.Node]int, late map[*ir.Storage]bool) (r *Result, bad *ir.Node, clash []*ir.Storage) {
	f.prepare(g, copies)
	all := f.assigns
	f.assigns = nil
	for _, a := range all {
		s := a.Attr.(ir.Target).Storage
		if late[s] {
			f.deferred = append(f.deferred, a)
		} else {
			f.assigns = append(f.assigns, a)
		}
	}
	f.connect()
	if !f.plain {
		f.fuse()
	}
	f.keep()
	f.allot(g)
	r = &Result{Leaves: max(len(f.leaves), g.Params), Outputs: len(f.outputs)}
	_, bad = attempt(func() {
		for _, it := range f.items {
			if members := it.group.members; it == members[len(members)-1] {
				r.Steps = append(r.Steps, f.emit(it.group)...)
			}
		}
	})
	if bad != nil {
		return nil, f.origin[bad], nil
	}
	o := newOrder(f.slots, r.Steps)
	f.gates(o)
	clash = f.inPlace(o)
	if len(clash) > 0 {
		return nil, nil, clash
	}
	for _, a := range f.deferred {
		o.add(f.assignment(a))
	}
	if !f.plain {
		o.multi()
	}
	r.Slots = f.slots
	r.Steps, r.After = o.result()
	return r, nil, nil
}

// allot numbers the slots: leaves and outputs as they are bound, everything else
// that is kept as it comes up.
func (f *fuser) allot(g *ir.Graph) {
	f.number = make(map[*ir.Node]int, len(f.nodes))
	f.slotOf = make(map[*ir.Node]int)
	f.assignedBy = make(map[*ir.Node][]int)
	for i := range max(len(f.leaves), g.Params) {
		f.slots = append(f.slots, kernel.Slot{Kind: kernel.Leaf, Index: i})
	}
	for i, n := range f.nodes {
		f.number[n] = i
		at := -1
		switch n.Op {
		case ir.Input:
			at = f.leaves[n.Storage]
		case ir.Param:
			at = n.Attr.(ir.Number).N
		}
		if at >= 0 {
			f.slotOf[n] = at
			f.slots[at].Bytes = max(f.slots[at].Bytes, n.Bytes())
		}
	}
	for i, n := range f.outputs {
		f.slotOf[n] = len(f.slots)
		f.slots = append(f.slots, kernel.Slot{Kind: kernel.Output, Index: i, Bytes: n.Bytes()})
	}
	for _, a := range f.assigns {
		f.assignedBy[a.In[1]] = append(f.assignedBy[a.In[1]], f.slotOf[a.In[0]])
	}
	// The result of a library operation that only its epilogue reads shares the
	// memory of what the epilogue writes.
	for _, it := range f.items {
		if it.kind != library || it.kept || it.node.Op == ir.Scan || it.node.Op == ir.Composite {
			continue
		}
		for _, m := range it.group.members {
			if m.kept && (m.kind == compute || m.kind == move) && m.node.DType.Size() == it.node.DType.Size() {
				f.slotOf[it.node] = f.slot(m.node)
				break
			}
		}
	}
}

// slot is where a node's value lies.
func (f *fuser) slot(n *ir.Node) int {
	s, ok := f.slotOf[n]
	if !ok {
		s = len(f.slots)
		f.slots = append(f.slots, kernel.Slot{Kind: kernel.Arena, Bytes: n.Bytes()})
		f.slotOf[n] = s
	}
	return s
}

// assignment is the copy of a value to the variable that it is assigned to.
func (f *fuser) assignment(a *ir.Node) kernel.Step {
	n := a.In[1]
	stride := []int{1}
	return &kernel.Fused{
		Name: "assign",
		Code: []kernel.Instr{
			{Kind: kernel.Load, DType: n.DType, Arg: 0},
			{Kind: kernel.Store, DType: n.DType, X: [3]int{0}, Arg: 1},
		},
		Parts: []kernel.Part{{Outer: []int{n.Elements()}, Args: []kernel.Arg{
			{Slot: f.slot(n), DType: n.DType, Stride: stride},
			{Slot: f.slotOf[a.In[0]], DType: n.DType, Stride: stride},
		}}},
	}
}

// gates orders the steps so that what a Barrier keeps is computed after the operands
// that it waits for.
func (f *fuser) gates(o *order) {
	for _, it := range f.items {
		if it.kind != move || !it.kept || it.size == 0 {
			continue
		}
		for _, x := range it.node.In[1:] {
			slot, ok := f.slotOf[source(x)]
			if !ok || f.slots[slot].Kind == kernel.Leaf {
				continue
			}
			for _, from := range o.writers[slot] {
				for _, to := range o.writers[f.slot(it.node)] {
					o.edge(from, to)
				}
			}
		}
	}
}

// inPlace orders the steps so that every reader of a variable's old value comes
// before the step that writes the new one, and lists the variables for which that
// cannot be.
func (f *fuser) inPlace(o *order) (clash []*ir.Storage) {
	for _, a := range f.assigns {
		s := a.Attr.(ir.Target).Storage
		slot := f.slotOf[a.In[0]]
		for _, w := range o.writers[slot] {
			ok := pointwise(o.steps[w], slot)
			for _, r := range o.readers[slot] {
				ok = ok && (r == w || !o.reaches(w, r))
			}
			if !ok {
				clash = append(clash, s)
				break
			}
			for _, r := range o.readers[slot] {
				if r != w {
					o.edge(r, w)
				}
			}
		}
	}
	return clash
}

// pointwise tells whether a step that writes a slot reads it, if at all, at the
// very point that it writes.
func pointwise(s kernel.Step, slot int) bool {
	var code *kernel.Fused
	switch s := s.(type) {
	case *kernel.Fused:
		code = s
	case *kernel.Library:
		for _, in := range s.In {
			if in.Slot == slot {
				return false
			}
		}
		code = s.Epilogue
	}
	for i := range code.Parts {
		var first *kernel.Arg
		for j := range code.Parts[i].Args {
			a := &code.Parts[i].Args[j]
			if a.Slot != slot {
				continue
			}
			if first != nil && (a.Offset != first.Offset || !slices.Equal(a.Stride, first.Stride)) {
				return false
			}
			first = a
		}
	}
	return true
}

// order is the steps with what has to come before what.
type order struct {
	slots            []kernel.Slot
	steps            []kernel.Step
	next             [][]int // edges
	readers, writers [][]int // by slot
	dead             []bool  // merged into another
	seen             []int
	searches         int
}

func newOrder(slots []kernel.Slot, steps []kernel.Step) *order {
	o := &order{slots: slots, readers: make([][]int, len(slots)), writers: make([][]int, len(slots))}
	for _, s := range steps {
		o.insert(s)
	}
	for slot := range slots {
		w := o.writers[slot]
		if slots[slot].Kind != kernel.Leaf {
			for _, r := range o.readers[slot] {
				for _, w := range w {
					o.edge(w, r)
				}
			}
		}
		// A Pad's value is written before its region; the writers of other slots do
		// not overlap.
		for _, x := range w[min(1, len(w)):] {
			if fills(o.steps[w[0]]) {
				o.edge(w[0], x)
			}
		}
	}
	return o
}

// fills tells whether a step writes a literal.
func fills(s kernel.Step) bool {
	k, ok := s.(*kernel.Fused)
	return ok && len(k.Code) == 2 && k.Code[0].Kind == kernel.Imm
}

func (o *order) insert(s kernel.Step) int {
	i := len(o.steps)
	o.steps = append(o.steps, s)
	o.next = append(o.next, nil)
	o.dead = append(o.dead, false)
	o.seen = append(o.seen, 0)
	reads, writes := kernel.Slots(s)
	for _, r := range reads {
		o.readers[r] = append(o.readers[r], i)
	}
	for _, w := range writes {
		o.writers[w] = append(o.writers[w], i)
	}
	return i
}

// add inserts an assignment, after all readers of what it overwrites.
func (o *order) add(s kernel.Step) {
	i := o.insert(s)
	reads, writes := kernel.Slots(s)
	for _, r := range reads {
		for _, w := range o.writers[r] {
			o.edge(w, i)
		}
	}
	for _, w := range writes {
		for _, r := range o.readers[w] {
			o.edge(r, i)
		}
	}
}

func (o *order) edge(from, to int) {
	if from != to && !slices.Contains(o.next[from], to) {
		o.next[from] = append(o.next[from], to)
	}
}

// reaches tells whether step b has to come after step a.
func (o *order) reaches(a, b int) bool {
	o.searches++
	stack := []int{a}
	for len(stack) > 0 {
		x := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, y := range o.next[x] {
			if y == b {
				return true
			}
			if o.seen[y] != o.searches {
				o.seen[y] = o.searches
				stack = append(stack, y)
			}
		}
	}
	return false
}

// multi merges steps of the same code that do not depend on each other. The merged
// step takes the place of the last one.
func (o *order) multi() {
	merged := make(map[string][]int) // by a hash of the code: the steps to merge with
	for i, s := range o.steps {
		k, ok := s.(*kernel.Fused)
		if !ok || k.Points() == 0 || reduces(k) && k.Points() > maxReduced {
			continue
		}
		key := codeKey(k)
		found := false
		for at, j := range merged[key] {
			other := o.steps[j].(*kernel.Fused)
			if !slices.Equal(other.Code, k.Code) || len(other.Parts) >= maxParts || o.reaches(j, i) || o.reaches(i, j) {
				continue
			}
			parts := append(slices.Clone(other.Parts), k.Parts...)
			o.steps[i] = &kernel.Fused{Name: k.Name, Code: k.Code, Parts: parts}
			o.replace(j, i)
			merged[key][at] = i
			found = true
			break
		}
		if !found {
			merged[key] = append(merged[key], i)
		}
	}
}

const maxParts = 1024

// A reduction of more elements stays a kernel of its own: one that does several
// has to wait for the last of its operands and keeps all of them in memory till
// then.
const maxReduced = 1 << 14

func reduces(k *kernel.Fused) bool {
	return slices.ContainsFunc(k.Code, func(in kernel.Instr) bool { return in.Kind == kernel.Reduce })
}

// codeKey is equal for steps that may have equal code.
func codeKey(k *kernel.Fused) string {
	b := make([]byte, 0, 8*len(k.Code))
	for _, in := range k.Code {
		b = append(b, byte(in.Kind), byte(in.Op), byte(in.DType), byte(in.X[0]), byte(in.X[1]), byte(in.X[2]), byte(in.Arg), byte(in.Bits>>56))
	}
	types := make([]dtype.DType, 0, len(k.Parts[0].Args))
	for _, a := range k.Parts[0].Args {
		types = append(types, a.DType)
		b = append(b, byte(a.DType))
	}
	if k.Parts[0].Inner == nil {
		b = append(b, 0)
	}
	return string(b)
}

// replace makes step j vanish into step i.
func (o *order) replace(j, i int) {
	o.dead[j] = true
	for _, y := range o.next[j] {
		o.edge(i, y)
	}
	o.next[j] = nil
	for x := range o.next {
		if k := slices.Index(o.next[x], j); k >= 0 {
			o.next[x] = slices.Delete(o.next[x], k, k+1)
			o.edge(x, i)
		}
	}
}

// result lists the steps that are left with their predecessors.
func (o *order) result() (steps []kernel.Step, after [][]int) {
	number := make([]int, len(o.steps))
	for i, s := range o.steps {
		number[i] = len(steps)
		if !o.dead[i] {
			steps = append(steps, s)
		}
	}
	after = make([][]int, len(steps))
	for x, ys := range o.next {
		for _, y := range ys {
			after[number[y]] = append(after[number[y]], number[x])
		}
	}
	return steps, after
}
