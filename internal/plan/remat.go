package plan

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// Rematerialization. What the forward pass leaves for the backward pass is most of
// the memory of a training step. Some of it follows from other values that are kept
// anyway by a few elementwise operations: a normalized activation from the
// activation and its statistics, a rectified or squashed one from what it was
// before. Such a value is dropped after its early readers and computed once more,
// by a Loop of its own, right before the late ones. The operations are the same, and
// so are the bits.
//
// That is done as long as it lowers the peak: at the step where most bytes are
// alive, the largest value that nobody reads there and that can be had again goes.

// A value is worth computing again up to this many additions per element, and may
// keep other values alive for it that are this much smaller than itself.
const (
	rematCost  = 60
	rematShare = 8
)

// rematerialize changes the steps of p, which are in order and whose slots have no
// places yet. A value is computed again once at most.
func rematerialize(p *kernel.Program) {
	original := len(p.Slots)
	u := newUses(p)
	for {
		life := u.lifetimes()
		at, bytes := peak(p, life)
		if bytes == 0 {
			return
		}
		var candidates []int
		for i, s := range p.Slots[:original] {
			if s.Kind == kernel.Arena && life[i].first < at && at < life[i].last {
				candidates = append(candidates, i)
			}
		}
		slices.SortStableFunc(candidates, func(a, b int) int { return p.Slots[b].Bytes - p.Slots[a].Bytes })
		if !slices.ContainsFunc(candidates, func(v int) bool { return u.again(life, v, at) }) {
			return
		}
	}
}

// uses is who reads and who writes what in a program that changes.
type uses struct {
	p                *kernel.Program
	reads, writes    [][]int // slots, by step
	readers, writers [][]int // steps in order, by slot
}

func newUses(p *kernel.Program) *uses {
	u := &uses{p: p}
	for _, s := range p.Steps {
		reads, writes := kernel.Slots(s)
		u.reads, u.writes = append(u.reads, reads), append(u.writes, writes)
	}
	u.index()
	return u
}

// index finds readers and writers anew.
func (u *uses) index() {
	for _, l := range []*[][]int{&u.readers, &u.writers} {
		for i := range *l {
			(*l)[i] = (*l)[i][:0]
		}
		for len(*l) < len(u.p.Slots) {
			*l = append(*l, nil)
		}
	}
	for t := range u.p.Steps {
		for _, s := range u.reads[t] {
			u.readers[s] = append(u.readers[s], t)
		}
		for _, s := range u.writes[t] {
			u.writers[s] = append(u.writers[s], t)
		}
	}
}

func (u *uses) lifetimes() []lifetime {
	life := make([]lifetime, len(u.p.Slots))
	for i := range life {
		life[i] = lifetime{len(u.p.Steps), -1}
		for _, l := range [][]int{u.readers[i], u.writers[i]} {
			if len(l) > 0 {
				life[i].first, life[i].last = min(life[i].first, l[0]), max(life[i].last, l[len(l)-1])
			}
		}
	}
	return life
}

// peak is the step at which most bytes are alive, and how many.
func peak(p *kernel.Program, life []lifetime) (at, bytes int) {
	change := make([]int, len(p.Steps)+1)
	for i, s := range p.Slots {
		if s.Kind == kernel.Arena && life[i].last >= 0 {
			change[life[i].first] += s.Bytes
			change[life[i].last+1] -= s.Bytes
		}
	}
	alive := 0
	for t, c := range change {
		if alive += c; alive > bytes {
			at, bytes = t, alive
		}
	}
	return at, bytes
}

// again makes the readers of slot v after step at read a copy that is computed
// there. It fails if one reads v at that step, or if v cannot be computed again.
func (u *uses) again(life []lifetime, v, at int) bool {
	p := u.p
	if len(u.writers[v]) != 1 {
		return false
	}
	writer := u.writers[v][0]
	first, now := slices.BinarySearch(u.readers[v], at)
	if now || first == len(u.readers[v]) || writer >= at {
		return false
	}
	late := u.readers[v][first]
	loop := recompute(p.Steps[writer], v, func(slot int) bool {
		s := &p.Slots[slot]
		switch s.Kind {
		case kernel.Leaf: // until a step overwrites the variable
			return len(u.writers[slot]) == 0 || u.writers[slot][0] >= late
		case kernel.Output:
			return true
		}
		return life[slot].last >= late || s.Bytes*rematShare <= p.Slots[v].Bytes
	})
	if loop == nil {
		return false
	}
	copied := len(p.Slots)
	p.Slots = append(p.Slots, p.Slots[v])
	for _, t := range u.readers[v][first:] {
		renumber(p.Steps[t], func(slot int) int {
			if slot == v {
				return copied
			}
			return slot
		})
		u.reads[t], u.writes[t] = kernel.Slots(p.Steps[t])
	}
	args := loop.Parts[0].Args
	args[len(args)-1].Slot = copied
	p.Steps = slices.Insert(p.Steps, late, kernel.Step(loop))
	reads, writes := kernel.Slots(loop)
	u.reads, u.writes = slices.Insert(u.reads, late, reads), slices.Insert(u.writes, late, writes)
	u.index()
	return true
}

// recompute is a Loop that computes what step s writes to slot v from slots that are
// available later; nil if there is none. Its last argument is the result.
func recompute(s kernel.Step, v int, available func(slot int) bool) *kernel.Fused {
	f, ok := s.(*kernel.Fused)
	if l, isLibrary := s.(*kernel.Library); isLibrary {
		f, ok = l.Epilogue, l.Epilogue != nil
	}
	if !ok || len(f.Parts) != 1 {
		return nil
	}
	part := &f.Parts[0]
	slotOf := func(in *kernel.Instr) int { return part.Args[in.Arg].Slot }
	store := -1
	stored := map[int]int{} // values that can be read where the step has stored them, by argument
	written := map[int]bool{}
	for i := range f.Code {
		in := &f.Code[i]
		if in.Kind != kernel.Store {
			continue
		}
		if written[slotOf(in)] {
			return nil
		}
		written[slotOf(in)] = true
		switch {
		case slotOf(in) == v:
			store = i
		case in.DType == f.Code[in.X[0]].DType && available(slotOf(in)):
			stored[in.X[0]] = in.Arg
		}
	}
	if store < 0 {
		return nil
	}

	// The points of a value that does not vary along the inner axes are the outer
	// ones.
	loop := &kernel.Fused{Name: "again " + f.Name}
	to := kernel.Part{Outer: part.Outer, Site: part.Site}
	if f.Code[f.Code[store].X[0]].Inner {
		to.Outer = slices.Concat(part.Outer, part.Inner)
	}
	cost := 0
	add := func(in kernel.Instr, arg int) int {
		if arg >= 0 {
			in.Arg = len(to.Args)
			a := part.Args[arg]
			a.Stride = a.Stride[:len(to.Outer)]
			to.Args = append(to.Args, a)
		}
		in.Inner = false
		loop.Code = append(loop.Code, in)
		return len(loop.Code) - 1
	}
	// Loads come before what is computed from them, as the code's order is kept.
	need := make([]bool, store)
	need[f.Code[store].X[0]] = true
	for i := store - 1; i >= 0; i-- {
		if _, ok := stored[i]; !need[i] || ok {
			continue
		}
		for _, x := range f.Code[i].Operands() {
			need[x] = true
		}
	}
	value := make([]int, store)
	for i := range store {
		if !need[i] {
			continue
		}
		in := f.Code[i]
		if arg, ok := stored[i]; ok {
			value[i] = add(kernel.Instr{Kind: kernel.Load, DType: in.DType}, arg)
			continue
		}
		switch in.Kind {
		case kernel.Load:
			if written[slotOf(&in)] || !available(slotOf(&in)) {
				return nil
			}
			value[i] = add(in, in.Arg)
		case kernel.Index:
			value[i] = add(in, in.Arg)
		case kernel.Imm:
			value[i] = add(in, -1)
		case kernel.Apply:
			for k := range in.Operands() {
				in.X[k] = value[in.X[k]]
			}
			cost += in.Op.Info().Cost
			value[i] = add(in, -1)
		default:
			return nil
		}
	}
	if cost > rematCost {
		return nil
	}
	in := f.Code[store]
	in.X[0] = value[in.X[0]]
	add(in, f.Code[store].Arg)
	loop.Parts = []kernel.Part{to}
	return loop
}
