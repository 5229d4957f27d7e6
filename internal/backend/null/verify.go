package null

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// Verify says what is wrong with a program, or nil. It checks
//
//   - that slots lie where they may: inside the arena, at multiples of 64 bytes;
//   - that the code of fused kernels is well formed and well typed, and that
//     library operations get operands of the shapes and types that package ir
//     defines for them (code.go);
//   - that every access stays inside its slot, and that no step reads a slot that
//     nothing has written;
//   - that within a step nothing is written where the step still reads or writes
//     something else;
//   - that two slots share a place in the arena only if the last step that uses one
//     comes before the first that uses the other. They may meet in one step if that
//     is a Loop that reads the one and writes the other at the same points of the
//     same layout: it is then computed in place.
//
// The last two are decided exactly, element by element, whatever the strides.
func Verify(p *kernel.Program) error { return verify(p, false) }

func verify(p *kernel.Program, body bool) error {
	v := &verifier{
		p:       p,
		body:    body,
		first:   make([]int, len(p.Slots)),
		last:    make([]int, len(p.Slots)),
		written: make([]bool, len(p.Slots)),
	}
	for i := range v.first {
		v.first[i], v.last[i] = -1, -1
	}
	if err := v.slots(); err != nil {
		return err
	}
	for i, s := range p.Steps {
		if err := v.step(i, s); err != nil {
			return fmt.Errorf("step %d, %s: %w", i, s.Label(), err)
		}
	}
	if err := v.outputs(); err != nil {
		return err
	}
	return v.arena()
}

// verifier goes through a program step by step.
type verifier struct {
	p           *kernel.Program
	first, last []int  // by slot: the steps that use it; -1: none
	written     []bool // by slot: by an earlier step
	body        bool   // the program is a Scan's body

	// Of the step at hand.
	loop     bool // it is a Loop
	accesses []access
}

// access is what an argument or operand touches: for every point of a space, size
// bytes at base + Σ stride[i]·p[i].
type access struct {
	what   string
	slot   int
	write  bool
	group  int  // accesses of one group visit the points of one space together; -1: alone
	result bool // a library operation's writing, which comes before the others of its group
	extent []int
	stride []int // elements; touch makes them bytes
	size   int

	base      int // bytes from the start of the slot's region
	low, high int // the range it lies in, likewise
}

// region is memory that slots share: the arena, or what is bound to one number.
type region struct {
	kind  kernel.SlotKind
	index int
}

func (v *verifier) region(slot int) region {
	s := &v.p.Slots[slot]
	if s.Kind == kernel.Arena {
		return region{kind: kernel.Arena}
	}
	return region{s.Kind, s.Index}
}

func (v *verifier) slots() error {
	p := v.p
	if p.Leaves < 0 || p.Outputs < 0 || p.Arena < 0 {
		return fmt.Errorf("%d leaves, %d outputs, an arena of %d bytes", p.Leaves, p.Outputs, p.Arena)
	}
	for i := range p.Slots {
		s := &p.Slots[i]
		bindings := 0
		switch s.Kind {
		case kernel.Leaf:
			bindings = p.Leaves
		case kernel.Output:
			bindings = p.Outputs
		case kernel.Arena:
			if s.Offset%64 != 0 {
				return fmt.Errorf("slot %d begins at byte %d of the arena, which is no multiple of 64", i, s.Offset)
			}
			if s.Bytes < 0 || s.Offset < 0 || s.Offset+s.Bytes > p.Arena {
				return fmt.Errorf("slot %d is at bytes %d … %d of an arena of %d", i, s.Offset, s.Offset+s.Bytes, p.Arena)
			}
			continue
		default:
			return fmt.Errorf("slot %d is of kind %d", i, s.Kind)
		}
		if s.Index < 0 || s.Index >= bindings {
			return fmt.Errorf("slot %d is bound to number %d of %d", i, s.Index, bindings)
		}
		if s.Bytes < 0 {
			return fmt.Errorf("slot %d has %d bytes", i, s.Bytes)
		}
	}
	return nil
}

// step checks a step by itself and then what it does to the slots.
func (v *verifier) step(i int, s kernel.Step) error {
	v.accesses, v.loop = v.accesses[:0], false
	var err error
	switch s := s.(type) {
	case *kernel.Fused:
		v.loop = s.Class() == kernel.ClassLoop
		err = v.fused(s, nil)
	case *kernel.Library:
		err = v.library(s)
	default:
		err = fmt.Errorf("is a %T", s)
	}
	if err != nil {
		return err
	}
	if err := v.conflicts(); err != nil {
		return err
	}
	for _, a := range v.accesses {
		if v.first[a.slot] < 0 {
			v.first[a.slot] = i
		}
		v.last[a.slot] = i
	}
	for _, a := range v.accesses {
		v.written[a.slot] = v.written[a.slot] || a.write
	}
	return nil
}

// touch records an access. made tells that the step itself has written the slot
// before it reads it there.
func (v *verifier) touch(a access, offset int, made bool) error {
	if a.slot < 0 || a.slot >= len(v.p.Slots) {
		return fmt.Errorf("%s is in slot %d of %d", a.what, a.slot, len(v.p.Slots))
	}
	s := &v.p.Slots[a.slot]
	a.base = offset * a.size
	a.low, a.high = a.base, a.base+a.size
	a.stride = slices.Clone(a.stride)
	for i, e := range a.extent {
		if e == 0 {
			return nil
		}
		a.stride[i] *= a.size
		a.low += min(0, a.stride[i]*(e-1))
		a.high += max(0, a.stride[i]*(e-1))
	}
	if a.low < 0 || a.high > s.Bytes {
		return fmt.Errorf("%s is at bytes %d … %d of slot %d, which has %d", a.what, a.low, a.high, a.slot, s.Bytes)
	}
	if !a.write && !made && !v.written[a.slot] && s.Kind != kernel.Leaf {
		return fmt.Errorf("%s reads slot %d, which nothing has written", a.what, a.slot)
	}
	if a.write && v.body && s.Kind == kernel.Leaf {
		return fmt.Errorf("%s writes to an operand of the scan", a.what)
	}
	if s.Kind == kernel.Arena {
		a.base, a.low, a.high = a.base+s.Offset, a.low+s.Offset, a.high+s.Offset
	}
	v.accesses = append(v.accesses, a)
	return nil
}

// conflicts compares what the step writes with everything else it touches.
func (v *verifier) conflicts() error {
	byRegion := make(map[region][]*access)
	for i := range v.accesses {
		a := &v.accesses[i]
		if a.write && a.repeats() {
			return fmt.Errorf("%s is the same element of slot %d at several points, and is written", a.what, a.slot)
		}
		r := v.region(a.slot)
		byRegion[r] = append(byRegion[r], a)
	}
	for _, l := range byRegion {
		for i, a := range l {
			for _, b := range l[:i] {
				if !a.write && !b.write || !a.meets(b) {
					continue
				}
				together := a.group >= 0 && a.group == b.group && a.follows(b) && (a.slot == b.slot || v.loop)
				if together && (a.write != b.write || a.result || b.result) {
					continue
				}
				w, o := a, b
				if !w.write {
					w, o = b, a
				}
				return fmt.Errorf("%s (slot %d) is written where %s (slot %d) lies", w.what, w.slot, o.what, o.slot)
			}
		}
	}
	return nil
}

// follows tells whether a and b, of one group, are at the same place at every
// point.
func (a *access) follows(b *access) bool {
	if a.base != b.base || a.size != b.size {
		return false
	}
	for i := range a.extent {
		if max(a.extent[i], b.extent[i]) > 1 && a.stride[i] != b.stride[i] {
			return false
		}
	}
	return true
}

// meets tells whether a and b have a byte in common.
func (a *access) meets(b *access) bool {
	if a.high <= b.low || b.high <= a.low {
		return false
	}
	sum := newSum(b.base - a.base)
	sum.add(a.extent, a.stride, 1)
	sum.add(b.extent, b.stride, -1)
	sum.term(1, 1-b.size, a.size-1)
	return sum.solvable()
}

// repeats tells whether a is at the same place at two points.
func (a *access) repeats() bool {
	for i, e := range a.extent {
		if e < 2 {
			continue
		}
		// Two points that differ along axis i, whatever else.
		sum := newSum(0)
		for j, f := range a.extent {
			if j == i {
				sum.term(a.stride[j], 1, e-1)
			} else {
				sum.term(a.stride[j], 1-f, f-1)
			}
		}
		sum.term(1, 1-a.size, a.size-1)
		if sum.solvable() {
			return true
		}
	}
	return false
}

// outputs wants every output to have been written.
func (v *verifier) outputs() error {
	done := make([]bool, v.p.Outputs)
	for i := range v.p.Slots {
		if s := &v.p.Slots[i]; s.Kind == kernel.Output && (v.written[i] || s.Bytes == 0) {
			done[s.Index] = true
		}
	}
	if i := slices.Index(done, false); i >= 0 {
		return fmt.Errorf("nothing writes output %d", i)
	}
	return nil
}

// arena compares the lifetimes of slots that overlap. Those that meet in one step
// were looked at with that step.
func (v *verifier) arena() error {
	var order []int
	for i := range v.p.Slots {
		if s := &v.p.Slots[i]; s.Kind == kernel.Arena && v.first[i] >= 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return v.first[i] - v.first[j] })
	var live []int
	for _, i := range order {
		s := &v.p.Slots[i]
		live = slices.DeleteFunc(live, func(j int) bool { return v.last[j] <= v.first[i] })
		for _, j := range live {
			o := &v.p.Slots[j]
			if s.Offset < o.Offset+o.Bytes && o.Offset < s.Offset+s.Bytes {
				return fmt.Errorf("slots %d and %d overlap in the arena: bytes %d … %d are in use from step %d to %d, bytes %d … %d from step %d to %d",
					j, i, o.Offset, o.Offset+o.Bytes, v.first[j], v.last[j], s.Offset, s.Offset+s.Bytes, v.first[i], v.last[i])
			}
		}
		live = append(live, i)
	}
	return nil
}

// sum is the question whether a number is Σ coef·x for integers x, each from a
// range of its own.
type sum struct {
	total int
	terms []term
}

type term struct{ coef, low, high int }

func newSum(total int) *sum { return &sum{total: total} }

// add adds, for every axis, stride·p with 0 ≤ p < extent.
func (s *sum) add(extent, stride []int, sign int) {
	for i, e := range extent {
		s.term(sign*stride[i], 0, e-1)
	}
}

// term adds coef·x with low ≤ x ≤ high. Equal coefficients make one term.
func (s *sum) term(coef, low, high int) {
	if coef < 0 {
		coef, low, high = -coef, -high, -low
	}
	if coef == 0 || low == 0 && high == 0 {
		return
	}
	for i := range s.terms {
		if t := &s.terms[i]; t.coef == coef {
			t.low, t.high = t.low+low, t.high+high
			return
		}
	}
	s.terms = append(s.terms, term{coef, low, high})
}

// solvable goes from the largest coefficient to the smallest. What the smaller ones
// can make up for leaves few values to try for each, since the layouts of tensors
// are nested.
func (s *sum) solvable() bool {
	slices.SortFunc(s.terms, func(a, b term) int { return b.coef - a.coef })
	var search func(total int, terms []term) bool
	search = func(total int, terms []term) bool {
		if len(terms) == 0 {
			return total == 0
		}
		low, high, divisor := 0, 0, 0
		for _, t := range terms[1:] {
			low, high, divisor = low+t.coef*t.low, high+t.coef*t.high, gcd(divisor, t.coef)
		}
		t := terms[0]
		if total%gcd(divisor, t.coef) != 0 {
			return false
		}
		for x := max(t.low, -floorDiv(high-total, t.coef)); x <= min(t.high, floorDiv(total-low, t.coef)); x++ {
			if search(total-t.coef*x, terms[1:]) {
				return true
			}
		}
		return false
	}
	return search(s.total, s.terms)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// floorDiv is a/b rounded down, for b > 0.
func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
