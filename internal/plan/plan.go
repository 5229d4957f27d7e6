// Package plan turns a graph into a Program that a device can compile: it runs
// rewrite and fuse, puts the kernels into an order, finds out how long each value
// is needed and gives it a place in one arena (this file), and keeps the programs
// for the next time the same graph comes along (cache.go).
//
// Everything here depends on the graph and on what the device says about itself
// only, so the size of the arena is known before a byte is allocated, for any
// device.
package plan

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/debug"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/fuse"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/rewrite"
)

// Target is what a plan depends on about a device.
type Target interface {
	Supports(composite string, narrow bool) bool
	Workspace(l *kernel.Library) int
}

// Precision is what products of float32 are computed with.
type Precision struct {
	Low  dtype.DType // of their operands; Invalid: float32
	TF32 bool        // as in kernel.Program
}

// Build makes the program that computes the outputs and carries out the
// assignments among them. leaves are the storages that it reads, by number.
func Build(outputs []*ir.Node, leaves []*ir.Node, t Target, precision Precision) *kernel.Program {
	return Prepare(outputs, leaves, t.Supports, precision).For(t)
}

// Draft is a program before it is for a device: its kernels, and the orders that are
// tried. All devices that have kernels for the same composites have one Draft in common.
type Draft struct {
	fused  *fuse.Result
	orders [][]int
	bodies map[int]*Draft // of Scans, by step
	tf32   bool

	mu    sync.Mutex
	built map[string]*kernel.Program // by the workspaces of the library operations
}

// Prepare is the part of Build that asks a device for its composites only.
func Prepare(outputs []*ir.Node, leaves []*ir.Node, supports func(composite string, narrow bool) bool, precision Precision) *Draft {
	number := make(map[*ir.Storage]int, len(leaves))
	for i, l := range leaves {
		number[l.Storage] = i
	}
	d := draft(rewrite.Run(outputs, supports, precision.Low), number)
	d.tf32 = precision.TF32
	return d
}

// For is the rest of Build.
func (d *Draft) For(t Target) *kernel.Program {
	p := d.build(t)
	if debug.On("verify") {
		if err := null.Verify(p); err != nil {
			panic(fmt.Sprintf("plan: %v\n%s", err, Print(p)))
		}
	}
	if debug.On("kernels") {
		fmt.Fprintln(os.Stderr, Print(p))
	}
	return p
}

// Shared is For of a program that is looked at and not compiled: devices that give all
// operations the same workspace have one. It may be called from several goroutines.
func (d *Draft) Shared(t Target) *kernel.Program {
	key := d.workspaces(nil, t)
	d.mu.Lock()
	p := d.built[string(key)]
	d.mu.Unlock()
	if p == nil {
		p = d.For(t)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.built == nil {
			d.built = make(map[string]*kernel.Program)
		}
		d.built[string(key)] = p
	}
	return p
}

func (d *Draft) workspaces(key []byte, t Target) []byte {
	bodies := make(map[int]*kernel.Program, len(d.bodies))
	for _, i := range slices.Sorted(maps.Keys(d.bodies)) {
		key = d.bodies[i].workspaces(key, t)
		bodies[i] = d.bodies[i].Shared(t)
	}
	for i, s := range d.fused.Steps {
		if l, ok := s.(*kernel.Library); ok {
			c := *l
			c.Body = bodies[i]
			key = binary.AppendUvarint(key, uint64(t.Workspace(&c)))
		}
	}
	return key
}

func draft(g *ir.Graph, leaves map[*ir.Storage]int) *Draft {
	d := &Draft{fused: fuse.Run(g, leaves), bodies: make(map[int]*Draft)}
	for i, s := range d.fused.Steps {
		if l, ok := s.(*kernel.Library); ok {
			if loop, ok := l.Attr.(*ir.Loop); ok {
				d.bodies[i] = draft(loop.Body, nil)
			}
		}
	}
	d.orders = [][]int{early(d.fused, schedule(d.fused, false))}
	if other := early(d.fused, schedule(d.fused, true)); !slices.Equal(d.orders[0], other) {
		d.orders = append(d.orders, other)
	}
	return d
}

func (d *Draft) build(t Target) *kernel.Program {
	bodies := make(map[int]*kernel.Program, len(d.bodies))
	for i, b := range d.bodies {
		bodies[i] = b.build(t)
	}
	p := arrange(d.fused, d.orders[0], bodies, t)
	if len(d.orders) > 1 {
		q := arrange(d.fused, d.orders[1], bodies, t)
		_, a := peak(p, lifetimes(p))
		_, b := peak(q, lifetimes(q))
		if b < a {
			p = q
		}
	}
	share(p)
	place(p)
	p.TF32 = d.tf32
	return p
}

// arrange is the program of the steps in an order, with what is to be computed again;
// its slots have no places yet.
func arrange(r *fuse.Result, order []int, bodies map[int]*kernel.Program, t Target) *kernel.Program {
	p := &kernel.Program{Slots: slices.Clone(r.Slots), Leaves: r.Leaves, Outputs: r.Outputs}
	for _, i := range order {
		s := clone(r.Steps[i])
		if l, ok := s.(*kernel.Library); ok {
			l.Body = bodies[i]
			if n := t.Workspace(l); n > 0 {
				l.Scratch = len(p.Slots)
				p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: n})
			}
		}
		p.Steps = append(p.Steps, s)
	}
	rematerialize(p)
	return p
}

// clone copies what renumber changes.
func clone(s kernel.Step) kernel.Step {
	fused := func(f *kernel.Fused) *kernel.Fused {
		c := *f
		c.Parts = slices.Clone(f.Parts)
		for i := range c.Parts {
			c.Parts[i].Args = slices.Clone(f.Parts[i].Args)
		}
		return &c
	}
	switch s := s.(type) {
	case *kernel.Fused:
		return fused(s)
	case *kernel.Library:
		c := *s
		c.In, c.Out = slices.Clone(s.In), slices.Clone(s.Out)
		if s.Epilogue != nil {
			c.Epilogue = fused(s.Epilogue)
		}
		return &c
	}
	panic("plan: an unknown kind of step")
}

// schedule orders the steps. Of those whose predecessors are done the next one is
// the step that frees most memory on balance; where none does, the one that comes
// first in the graph. So the gradient of a layer's weights is computed as soon as
// its operands are there and not at the end, when those of all layers would be.
//
// With pairs set, a step counts as freeing what it frees together with others that are
// ready, too, and that are the last ones to use a value: the gradients of a weight and
// of a bias, of which each alone frees nothing. That is mostly better, and sometimes
// worse, for it lets other values wait.
func schedule(r *fuse.Result, pairs bool) []int {
	next := make([][]int, len(r.After))
	waits := make([]int, len(r.After))
	uses := make([]int, len(r.Slots)) // by steps that are still to come
	slots := make([][]int, len(r.Steps))
	var ready []int
	for i, before := range r.After {
		waits[i] = len(before)
		for _, b := range before {
			next[b] = append(next[b], i)
		}
		if len(before) == 0 {
			ready = append(ready, i)
		}
		reads, writes := kernel.Slots(r.Steps[i])
		for _, s := range append(reads, writes...) {
			if r.Slots[s].Kind == kernel.Arena && !slices.Contains(slots[i], s) {
				slots[i] = append(slots[i], s)
				uses[s]++
			}
		}
	}
	there := make([]bool, len(r.Slots))
	balance := func(i int) int {
		bytes := 0
		for _, s := range slots[i] {
			if !there[s] {
				bytes += r.Slots[s].Bytes
			}
			if uses[s] == 1 {
				bytes -= r.Slots[s].Bytes
			}
		}
		return bytes
	}
	// together is the balance of several steps.
	readers := make([][]int, len(r.Slots)) // that are ready
	for _, i := range ready {
		for _, s := range slots[i] {
			readers[s] = append(readers[s], i)
		}
	}
	among := make([]int, len(r.Slots)) // uses by the steps that are looked at
	together := func(steps []int) int {
		bytes := 0
		for _, i := range steps {
			for _, s := range slots[i] {
				if among[s]++; among[s] == 1 && !there[s] {
					bytes += r.Slots[s].Bytes
				}
				if among[s] == uses[s] {
					bytes -= r.Slots[s].Bytes
				}
			}
		}
		for _, i := range steps {
			for _, s := range slots[i] {
				among[s] = 0
			}
		}
		return bytes
	}
	joint := make([]int, len(r.Slots))
	done := make([]int, 0, len(r.After))
	for len(ready) > 0 {
		for _, i := range ready {
			for _, s := range slots[i] {
				joint[s] = 1 // not known
			}
		}
		best, least, own := 0, 0, 0
		for k, i := range ready {
			alone := min(0, balance(i))
			b := alone
			for _, s := range slots[i] {
				if pairs && there[s] && uses[s] > 1 && len(readers[s]) == uses[s] {
					if joint[s] > 0 {
						joint[s] = min(0, together(readers[s]))
					}
					b = min(b, joint[s])
				}
			}
			if k == 0 || b < least || b == least && (alone < own || alone == own && i < ready[best]) {
				best, least, own = k, b, alone
			}
		}
		i := ready[best]
		ready = slices.Delete(ready, best, best+1)
		done = append(done, i)
		for _, s := range slots[i] {
			there[s] = true
			uses[s]--
			readers[s] = slices.DeleteFunc(readers[s], func(j int) bool { return j == i })
		}
		for _, j := range next[i] {
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
				for _, s := range slots[j] {
					readers[s] = append(readers[s], j)
				}
			}
		}
	}
	if len(done) != len(r.After) {
		panic("plan: the kernels wait for each other")
	}
	return done
}

// early moves a sum, one that writes little, to right after the first library operation that
// reads the same: so the gradient of a bias is computed with that of the weight or of the
// layer's input, while the operand may be in a cache, and a routine may take it along.
func early(r *fuse.Result, order []int) []int {
	const little = 64 // times as large as the result is the operand
	order = slices.Clone(order)
	for at, i := range order {
		f, ok := r.Steps[i].(*kernel.Fused)
		if !ok || f.Class() != kernel.ClassReduce {
			continue
		}
		reads, writes := kernel.Slots(f)
		bytes := 0
		for _, s := range reads {
			bytes += r.Slots[s].Bytes
		}
		for _, s := range writes {
			bytes -= little * r.Slots[s].Bytes
		}
		if bytes < 0 {
			continue
		}
		for k, j := range order[:at] {
			l, ok := r.Steps[j].(*kernel.Library)
			if !ok || slices.ContainsFunc(reads, func(s int) bool {
				return !slices.ContainsFunc(l.In, func(o kernel.Operand) bool { return o.Slot == s })
			}) {
				continue
			}
			if !slices.ContainsFunc(order[k+1:at], func(j int) bool { return slices.Contains(r.After[i], j) }) {
				copy(order[k+2:at+1], order[k+1:at])
				order[k+1] = i
			}
			break
		}
	}
	return order
}

// lifetime is the first and the last step that use a slot.
type lifetime struct{ first, last int }

func lifetimes(p *kernel.Program) []lifetime {
	life := make([]lifetime, len(p.Slots))
	for i := range life {
		life[i] = lifetime{len(p.Steps), -1}
	}
	for t, s := range p.Steps {
		reads, writes := kernel.Slots(s)
		for _, x := range append(reads, writes...) {
			life[x].first = min(life[x].first, t)
			life[x].last = t
		}
	}
	return life
}

// share lets a fused kernel write a result over an operand that nothing reads
// later, if it reads the operand only at the very points that it writes. The two
// become one slot.
func share(p *kernel.Program) {
	life := lifetimes(p)
	same := make([]int, len(p.Slots)) // what a slot has become
	for i := range same {
		same[i] = i
	}
	find := func(i int) int {
		for same[i] != i {
			i = same[i]
		}
		return i
	}
	for t, s := range p.Steps {
		f, ok := s.(*kernel.Fused)
		if !ok {
			continue
		}
		reads, writes := kernel.Slots(f)
		for _, w := range writes {
			if p.Slots[w].Kind != kernel.Arena || life[w].first != t || slices.Contains(reads, w) {
				continue
			}
			for k, r := range reads {
				root := find(r)
				if p.Slots[root].Kind != kernel.Arena || life[root].last != t || p.Slots[root].Bytes != p.Slots[w].Bytes || !aligned(f, r, w) {
					continue
				}
				same[w] = root
				life[root].last = life[w].last
				reads = slices.Delete(reads, k, k+1)
				break
			}
		}
	}
	for _, s := range p.Steps {
		renumber(s, func(slot int) int {
			if slot < 0 {
				return slot
			}
			return find(slot)
		})
	}
}

// aligned tells whether the kernel reads slot r only at the points at which it
// writes slot w.
func aligned(f *kernel.Fused, r, w int) bool {
	for i := range f.Parts {
		var first *kernel.Arg
		reads, writes := false, false
		for j := range f.Parts[i].Args {
			a := &f.Parts[i].Args[j]
			if a.Slot != r && a.Slot != w {
				continue
			}
			reads = reads || a.Slot == r
			writes = writes || a.Slot == w
			if first != nil && (a.Offset != first.Offset || a.DType.Size() != first.DType.Size() || !slices.Equal(a.Stride, first.Stride)) {
				return false
			}
			first = a
		}
		if reads != writes {
			return false
		}
		if !writes {
			continue
		}
		for k, e := range append(slices.Clone(f.Parts[i].Outer), f.Parts[i].Inner...) {
			if first.Stride[k] == 0 && e > 1 {
				return false // several points read one element, and the first overwrites it
			}
		}
	}
	return true
}

// renumber changes the slots that a step names.
func renumber(s kernel.Step, f func(slot int) int) {
	fused := func(k *kernel.Fused) {
		for i := range k.Parts {
			for j := range k.Parts[i].Args {
				a := &k.Parts[i].Args[j]
				a.Slot = f(a.Slot)
			}
		}
	}
	switch s := s.(type) {
	case *kernel.Fused:
		fused(s)
	case *kernel.Library:
		for i := range s.In {
			s.In[i].Slot = f(s.In[i].Slot)
		}
		for i := range s.Out {
			s.Out[i].Slot = f(s.Out[i].Slot)
		}
		s.Scratch = f(s.Scratch)
		if s.Epilogue != nil {
			fused(s.Epilogue)
		}
	}
}

// alignment of slots in the arena, in bytes: a cache line, and what vector loads
// want.
const alignment = 64

// place gives every arena slot an offset, the largest first: each goes into the
// smallest gap that it fits in among those that are alive at the same time. Slots
// that no step uses vanish.
func place(p *kernel.Program) {
	life := lifetimes(p)
	var order []int
	for i, s := range p.Slots {
		if s.Kind == kernel.Arena && life[i].last >= 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return p.Slots[b].Bytes - p.Slots[a].Bytes })
	size := func(i int) int { return (p.Slots[i].Bytes + alignment - 1) / alignment * alignment }
	var placed []int // by offset
	for _, i := range order {
		best, bestGap, at := -1, 0, 0
		for _, j := range placed {
			if life[j].last < life[i].first || life[i].last < life[j].first {
				continue
			}
			if gap := p.Slots[j].Offset - at; gap >= size(i) && (best < 0 || gap < bestGap) {
				best, bestGap = at, gap
			}
			at = max(at, p.Slots[j].Offset+size(j))
		}
		if best < 0 {
			best = at
		}
		p.Slots[i].Offset = best
		p.Arena = max(p.Arena, best+size(i))
		k, _ := slices.BinarySearchFunc(placed, best, func(j, off int) int { return p.Slots[j].Offset - off })
		placed = slices.Insert(placed, k, i)
	}
	number := make([]int, len(p.Slots))
	var slots []kernel.Slot
	for i, s := range p.Slots {
		number[i] = len(slots)
		if s.Kind != kernel.Arena || life[i].last >= 0 {
			slots = append(slots, s)
		}
	}
	p.Slots = slots
	for _, s := range p.Steps {
		renumber(s, func(slot int) int {
			if slot < 0 {
				return slot
			}
			return number[slot]
		})
	}
}

// Print describes a program, a step a line, with the slots it reads and writes.
func Print(p *kernel.Program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "program: %d steps, %d leaves, %d outputs, arena %d bytes\n", len(p.Steps), p.Leaves, p.Outputs, p.Arena)
	name := func(i int) string {
		s := p.Slots[i]
		switch s.Kind {
		case kernel.Leaf:
			return fmt.Sprintf("leaf%d", s.Index)
		case kernel.Output:
			return fmt.Sprintf("out%d", s.Index)
		}
		return fmt.Sprintf("@%d", s.Offset)
	}
	for i, s := range p.Steps {
		reads, writes := kernel.Slots(s)
		var r, w []string
		for _, x := range reads {
			r = append(r, fmt.Sprintf("%s:%d", name(x), p.Slots[x].Bytes))
		}
		for _, x := range writes {
			w = append(w, fmt.Sprintf("%s:%d", name(x), p.Slots[x].Bytes))
		}
		what := "Library"
		switch s := s.(type) {
		case *kernel.Fused:
			what = fmt.Sprintf("%v %v|%v", s.Class(), s.Parts[0].Outer, s.Parts[0].Inner)
			if len(s.Parts) > 1 {
				what += fmt.Sprintf(" and %d parts", len(s.Parts)-1)
			}
		case *kernel.Library:
			for _, o := range s.In {
				what += fmt.Sprintf(" %v", o.Shape)
			}
		}
		fmt.Fprintf(&b, "%4d  %s  %s  %s <- %s\n", i, what, s.Label(), strings.Join(w, " "), strings.Join(r, " "))
		if l, ok := s.(*kernel.Library); ok && l.Body != nil {
			b.WriteString("      | " + strings.ReplaceAll(strings.TrimSpace(Print(l.Body)), "\n", "\n      | ") + "\n")
		}
	}
	return b.String()
}

// Info is what is known of a step of a program before it runs.
type Info struct {
	Name          string
	FLOPs         int64 // of products, as null.Counts has them
	Elementwise   int64 // of everything else that calculates
	Read, Written int64 // bytes
	Layers        []Share
	Costs         []null.Cost // one, or those of the body of a Scan
}

// Share is how much of a step belongs to a layer; nil stands for none that is known.
type Share struct {
	Layer any
	Share float64
}

// Describe is about every step of a program.
func Describe(p *kernel.Program) []Info {
	infos := make([]Info, len(p.Steps))
	for i, s := range p.Steps {
		c := null.Count(&kernel.Program{Slots: p.Slots, Steps: []kernel.Step{s}})
		n := &infos[i]
		*n = Info{
			Name: s.Label(), FLOPs: c.FLOPs, Elementwise: c.Elementwise, Read: c.Read, Written: c.Written,
			Costs: null.Costs(&kernel.Program{Slots: p.Slots, Steps: []kernel.Step{s}, TF32: p.TF32}),
		}
		layer := func(s *ir.Site) any {
			if scope := s.Scope(); scope != nil {
				return scope.Layer
			}
			return nil
		}
		f, ok := s.(*kernel.Fused)
		if !ok {
			n.Layers = []Share{{layer(s.(*kernel.Library).Site), 1}}
			continue
		}
		all := float64(max(1, f.Points()))
		for k := range f.Parts {
			part := *f
			part.Parts = f.Parts[k : k+1]
			l, share := layer(f.Parts[k].Site), float64(part.Points())/all
			if j := slices.IndexFunc(n.Layers, func(s Share) bool { return s.Layer == l }); j >= 0 {
				n.Layers[j].Share += share
			} else {
				n.Layers = append(n.Layers, Share{l, share})
			}
		}
	}
	return infos
}

// Tracer is a function for device.Traced in terms of Info. The program stands for
// itself.
func Tracer(f func(program any, infos func() []Info, events []device.Event)) func(*kernel.Program, []device.Event) {
	return func(p *kernel.Program, events []device.Event) {
		f(p, func() []Info { return Describe(p) }, events)
	}
}
