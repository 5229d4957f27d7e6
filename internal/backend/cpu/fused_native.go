package cpu

// Native code for fused kernels: which steps, and in what order.
//
// Interpretation pays for every operation with a trip through memory, if only that
// of the nearest cache. So runs of steps are replaced by one step that is machine
// code, made when the kernel is compiled: an operand is loaded once, what follows
// happens in registers, and only what somebody else reads is written. A step that
// has no native form stays with the interpreter, and so does everything where the
// system gives no executable memory. The interpreter is also the reference: both
// give the same bits.
//
// What varies along the inner axis of a tile, the one that reductions go along, is
// computed in loops; what varies along the other axis only (line values: a row's
// maximum, a column's sum) between them:
//
//	for every line:                    rows; in modeCols vectors of columns
//	    for every stage:
//	        line values that the stage's loop needs
//	        loop along the inner axis: vectors of columns; in modeCols rows
//
// A stage ends where a reduction has to be complete: softmax is three loops over a
// row. What does not vary along the outer axis at all is computed once, by a nest
// of loops of its own before that one. The code itself is in fused_codegen.go.

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/cpu/native"
	"github.com/sinter-dl/sinter/internal/backend/cpu/simd"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// valueKind is the form of a value in registers.
type valueKind uint8

const (
	kindWord valueKind = iota // 4 bytes: float32 or int32
	kindBool
	kindHalf // 2 bytes: only between memory and a conversion
	kindLong // int64: only between memory and a comparison, as the nearest int32
	kindNone // has no form
)

func kindOf(width int) valueKind {
	switch width {
	case 8:
		return kindLong
	case 4:
		return kindWord
	case 2:
		return kindHalf
	case 1:
		return kindBool
	}
	return kindNone
}

func (k valueKind) width() int { return [...]int{4, 1, 2, 8, 0}[k] }

// moment is when something is computed: in which nest of loops, and in which of
// its stages. Nests of odd numbers go over the outer axis.
type moment struct{ nest, stage int }

func (m moment) compare(n moment) int {
	return cmp.Or(cmp.Compare(m.nest, n.nest), cmp.Compare(m.stage, n.stage))
}

// value is what a place holds from one write to the next.
type value struct {
	ref    int32
	kind   valueKind
	def    int    // the step that computes it; -1: it is in memory beforehand
	when   moment // it is there: a reduction's result one stage after its loop
	known  bool   // a constant,
	bits   uint32 // this one
	vector bool   // varies along the columns
	inner  bool   // varies along the inner axis
	stored bool   // is written to its place
	last   int    // the last position in chain.order that reads it, in its nest
}

// chain is a run of steps on the way to native code.
type chain struct {
	l        *lowerer
	steps    []step
	values   []value
	operands [][]int // by step: values; a reduction's accumulator is the second
	results  []int   // by step: the value
	when     []moment
	order    []int // the steps as the code computes them
	outer    span  // the axis of lines
	inner    span
}

// nativeLanes is the number of 4-byte lanes that native code is made for; 0: none
// is made.
func nativeLanes() int {
	if !native.Available() {
		return 0
	}
	switch vec.Current() {
	case vec.AVX512:
		return 16
	case vec.AVX2:
		return 8
	}
	return 0
}

// nativeProgram is the native code for the lists of a program.
type nativeProgram struct {
	block    *native.Block
	lists    [][]int // the new lists: numbers of steps of the old one, or ^piece
	kept     []int32 // places that share their memory with nothing
	pointers int     // to how many places the code wants memory for a pointer
}

// natives holds the code that was made, by the structure it was made for: the
// layers of a network share theirs. When there is too much, all is forgotten; what
// is still in use stays with the programs that use it.
var natives struct {
	sync.Mutex
	made map[string]*nativeProgram
}

const maxNatives = 2048

// native replaces what it can of all lists by native code. What stays in registers
// then needs no scratch memory, which is why this comes before the allocation.
func (l *lowerer) native() {
	lanes := nativeLanes()
	if lanes == 0 {
		return
	}
	lists := []*[]step{&l.p.body, &l.p.final}
	for i := range l.p.passes {
		lists = append(lists, &l.p.passes[i].outer, &l.p.passes[i].inner)
	}
	key := l.structure(lists, lanes)
	natives.Lock()
	defer natives.Unlock()
	np := natives.made[key]
	if np == nil {
		if np = l.compileLists(lists, lanes); np == nil {
			return
		}
		if natives.made == nil || len(natives.made) >= maxNatives {
			natives.made = make(map[string]*nativeProgram)
		}
		natives.made[key] = np
	}
	for i, list := range lists {
		out := make([]step, 0, len(np.lists[i]))
		for _, n := range np.lists[i] {
			if n >= 0 {
				out = append(out, (*list)[n])
			} else {
				out = append(out, step{kind: stepNative, entry: ^n})
			}
		}
		*list = out
	}
	for _, ref := range np.kept {
		l.kept[ref] = true
	}
	l.p.code = np
}

// structure is all that native code depends on.
func (l *lowerer) structure(lists []*[]step, lanes int) string {
	b := []byte{byte(lanes), byte(l.p.key.mode), byte(len(l.p.passes)), byte(len(l.p.reductions))}
	number := func(n int) { b = binary.AppendVarint(b, int64(n)) }
	for i := range l.p.places {
		p := &l.p.places[i]
		b = append(b, byte(p.kind), byte(p.span), byte(p.width))
		if p.small {
			b = append(b, 1)
		}
		switch p.kind {
		case inConsts:
			b = binary.LittleEndian.AppendUint64(b, l.p.consts[p.offset])
		case inSlot:
			// The slot as the first place that has memory in common with it.
			number(slices.IndexFunc(l.p.places, func(q place) bool {
				return q.kind == inSlot && overlap(l.slots, l.part.Args[p.arg].Slot, l.part.Args[q.arg].Slot)
			}))
		}
	}
	for i := range l.p.reductions {
		number(int(l.p.reductions[i].ref))
	}
	for _, list := range lists {
		number(len(*list))
		for i := range *list {
			s := &(*list)[i]
			b = append(b, byte(s.kind), byte(s.means.kind), byte(s.means.op), byte(s.means.from), byte(s.means.to), byte(s.over))
			for _, x := range [...]int32{s.dst, s.x[0], s.x[1], s.x[2]} {
				number(int(x))
			}
		}
	}
	return string(b)
}

// compileLists makes the code; nil if the system refuses.
func (l *lowerer) compileLists(lists []*[]step, lanes int) *nativeProgram {
	// How often a place is read by anybody: what is not only read by the run that
	// writes it has to be in memory after it.
	reads := make([]int, len(l.p.places))
	for _, list := range lists {
		for i := range *list {
			countReads(&(*list)[i], reads)
		}
	}
	if len(l.p.passes) > 0 {
		for i := range l.p.reductions {
			reads[l.p.reductions[i].ref]++ // when partial results are put together
		}
	}
	np := &nativeProgram{lists: make([][]int, len(lists))}
	var code [][]byte
	for i, list := range lists {
		for at := 0; at < len(*list); {
			n := l.runLength((*list)[at:])
			for n > 0 {
				before, during, after := parts((*list)[at:at+n], l.p.places)
				g, b, blame := l.compileRun((*list)[at:at+n], during, reads, lanes)
				if b == nil {
					// A shorter run, up to the step that has no native form.
					if n /= 2; blame >= 0 {
						n = during[blame]
					}
					continue
				}
				for _, k := range before {
					np.lists[i] = append(np.lists[i], at+k)
				}
				np.lists[i] = append(np.lists[i], ^len(code))
				for _, k := range after {
					np.lists[i] = append(np.lists[i], at+k)
				}
				code = append(code, b)
				// What is in memory before or after a run shares its place with nothing.
				for _, ref := range g.mem {
					if l.p.places[ref].kind == inScratch {
						np.kept = append(np.kept, ref)
					}
				}
				np.pointers = max(np.pointers, len(g.mem))
				break
			}
			if n == 0 {
				np.lists[i] = append(np.lists[i], at)
				n = 1
			}
			at += n
		}
	}
	block, err := native.Map(code...)
	if err != nil {
		native.Refuse(true)
		fmt.Fprintln(os.Stderr, "sinter: the system refuses memory for machine code; fused kernels are interpreted, which is slower")
		return nil
	}
	np.block = block
	runtime.AddCleanup(np, (*native.Block).Close, block)
	return np
}

func countReads(s *step, reads []int) {
	for _, x := range s.x {
		reads[x]++
	}
	if s.kind == stepReduce {
		reads[s.dst]++
	}
}

// parts takes a run apart: coordinates and picks of places, which only need what is
// known before it, its steps, and copies from where a pick has led, which the interpreter knows
// to be unnecessary at most times. It tells their numbers.
func parts(list []step, places []place) (before, during, after []int) {
	for i := range list {
		switch s := &list[i]; {
		case s.kind == stepPick || s.kind == stepIndex:
			before = append(before, i)
		case settles(s, places):
			after = append(after, i)
		default:
			during = append(during, i)
		}
	}
	return
}

// runLength is how many of the first steps may become one run: 0 if it would not
// be worth it.
func (l *lowerer) runLength(list []step) int {
	written := map[int32]bool{}
	work, n := 0, 0
	for i := range list {
		s := &list[i]
		if s.kind == stepPick {
			if written[s.x[0]] {
				break
			}
			continue
		}
		if s.kind == stepIndex || settles(s, l.p.places) {
			continue
		}
		if !l.nativeStep(s, written) {
			break
		}
		written[s.dst] = true
		n = i + 1
		if s.means.kind != meansCopy {
			work++
		}
	}
	if work < 2 {
		return 0
	}
	// Copies that follow belong to the run.
	for n < len(list) && settles(&list[n], l.p.places) {
		n++
	}
	return n
}

// settles tells whether a step copies from where a pick has led to a slot, where
// the value is already at most times.
func settles(s *step, places []place) bool {
	return s.kind == stepSettle && places[s.x[0]].kind == inOther && places[s.dst].kind == inSlot
}

// nativeStep tells whether a step has a native form, as far as can be seen from it
// alone.
func (l *lowerer) nativeStep(s *step, written map[int32]bool) bool {
	if l.width(s.dst) > 4 {
		return false
	}
	for _, x := range s.x[:s.arity()] {
		if l.p.places[x].kind == inOther && !written[x] {
			return false
		}
	}
	m := &s.means
	switch m.kind {
	case meansCopy: // a byte need not be a bool
		return l.width(s.dst) > 1
	case meansConvert:
		half := func(d dtype.DType) bool { return d == dtype.BFloat16 || d == dtype.Float16 }
		switch {
		case half(m.from) && (m.to == dtype.Float32 || m.to == m.from), m.from == dtype.Float32 && half(m.to):
			return true
		case m.to == dtype.Float32:
			return m.from == dtype.Bool || m.from == dtype.Int32
		}
		return false
	case meansReduce:
		return m.from == dtype.Float32 && (l.p.key.mode != modeCols || l.spanOf(s.x[0]) == full) && l.spanOf(s.x[0])&l.innerSpan() != 0
	case meansApply:
		if m.from == dtype.Int64 && m.op.IsCompare() {
			return l.smallPlace(s.x[0]) || l.smallPlace(s.x[1])
		}
		return nativeApply(m)
	}
	return false
}

// smallPlace tells whether a place holds int64 values that are less than 2³¹-1 in
// size. Comparing one of these with the int32 that is nearest to another int64
// is as good as comparing with that itself.
func (l *lowerer) smallPlace(ref int32) bool {
	p := &l.p.places[ref]
	if p.kind == inConsts {
		v := int64(l.p.consts[p.offset])
		return max(v, -v) < math.MaxInt32 && v != math.MinInt64
	}
	return p.small
}

func nativeApply(m *meaning) bool {
	if m.op == ir.Select {
		return m.from.Size() == 4
	}
	switch m.from {
	case dtype.Bool:
		return m.op == ir.And || m.op == ir.Or || m.op == ir.Xor || m.op == ir.Not
	case dtype.Float32:
		switch m.op {
		case ir.Add, ir.Sub, ir.Mul, ir.Div, ir.Max, ir.Min, ir.Pow, ir.Eq, ir.Ne, ir.Lt, ir.Le:
			return true
		}
		_, ok := simd.Unary[m.op]
		return ok
	}
	return false
}

// arity is the number of places that a step reads, but for a reduction's
// accumulator.
func (s *step) arity() int {
	if s.means.kind == meansApply {
		return s.means.op.Info().Arity
	}
	return 1
}

// newChain finds the values of a run and when each step is computed. The second
// result is the step to blame, if it fails.
func newChain(l *lowerer, steps []step, reads []int) (*chain, int) {
	r := &chain{l: l, steps: steps, inner: l.innerSpan(), outer: full &^ l.innerSpan()}
	current := map[int32]int{} // by place: the value there
	own := make([]int, len(reads))
	for i := range steps {
		countReads(&steps[i], own)
	}
	read := func(ref int32, kind valueKind) int {
		if v, ok := current[ref]; ok {
			return v
		}
		p := &l.p.places[ref]
		v := value{ref: ref, kind: kind, def: -1, vector: p.span&alongCol != 0, inner: p.span&r.inner != 0}
		if p.kind == inConsts {
			v.known, v.bits = true, uint32(l.p.consts[p.offset])
			switch kind {
			case kindBool:
				v.bits &= 0xff
			case kindLong:
				v.bits = uint32(int32(min(max(int64(l.p.consts[p.offset]), math.MinInt32), math.MaxInt32)))
			}
		}
		r.values = append(r.values, v)
		current[ref] = len(r.values) - 1
		return len(r.values) - 1
	}
	for i := range steps {
		s := &steps[i]
		over := l.spanOf(s.dst)
		if s.means.kind == meansReduce {
			over = l.spanOf(s.x[0])
		}
		var ops []int
		for k, x := range s.x[:s.arity()] {
			kind := kindOf(l.width(x))
			if l.p.places[x].kind == inConsts {
				kind = kindOf(l.width(s.dst))
				if s.means.kind == meansApply && s.means.op != ir.Select || s.means.kind == meansConvert {
					kind = kindOf(s.means.from.Size())
				} else if s.means.op == ir.Select && k == 0 {
					kind = kindBool
				}
				if kind == kindHalf {
					return r, i
				}
			}
			ops = append(ops, read(x, kind))
		}
		if s.means.kind == meansReduce {
			ops = append(ops, read(s.dst, kindWord))
		}

		// The nest: the first of its sort that comes after what the step reads.
		when := moment{}
		if over&r.outer != 0 {
			when.nest = 1
		}
		after := func(nest int) {
			if nest > when.nest {
				when.nest = nest + (nest-when.nest)&1
			}
		}
		for _, v := range ops {
			if r.values[v].def >= 0 {
				after(r.values[v].when.nest)
			}
		}
		// A store must not come before a step that reads what lies there.
		var late []moment
		if dst := &l.p.places[s.dst]; dst.kind == inSlot || dst.kind == inOther {
			for j := range i {
				for _, v := range r.operands[j] {
					x := &r.values[v]
					p := &l.p.places[x.ref]
					if x.def >= 0 || p.kind != inSlot || dst.kind == inSlot && !overlap(l.slots, l.part.Args[p.arg].Slot, l.part.Args[dst.arg].Slot) {
						continue
					}
					after(r.when[j].nest)
					late = append(late, r.when[j])
				}
			}
		}
		for _, v := range ops {
			if x := &r.values[v]; x.def >= 0 && x.when.nest == when.nest {
				when.stage = max(when.stage, x.when.stage)
			}
		}
		for _, m := range late {
			if m.nest == when.nest {
				when.stage = max(when.stage, m.stage)
			}
		}
		v := value{ref: s.dst, kind: kindOf(l.width(s.dst)), def: i, when: when, vector: l.spanOf(s.dst)&alongCol != 0, inner: l.spanOf(s.dst)&r.inner != 0}
		line := over&r.inner == 0
		for _, o := range ops {
			if line && r.values[o].inner {
				return r, i
			}
		}
		switch {
		case s.means.kind == meansReduce:
			v.when.stage++
		case s.means.kind == meansCopy && r.values[ops[0]].known && l.p.places[s.dst].kind == inScratch:
			v.known, v.bits = true, r.values[ops[0]].bits
		}
		r.values = append(r.values, v)
		current[s.dst] = len(r.values) - 1
		r.results = append(r.results, len(r.values)-1)
		r.operands = append(r.operands, ops)
		r.when = append(r.when, when)
	}

	// What has to be written to its place.
	for ref, v := range current {
		x := &r.values[v]
		if x.def >= 0 && (l.p.places[ref].kind != inScratch || reads[ref] > own[ref]) {
			x.stored = true
		}
	}
	for i := range steps {
		for _, v := range r.operands[i] {
			x := &r.values[v]
			if x.def < 0 || x.known && !x.stored {
				continue
			}
			if x.when.nest != r.when[i].nest || x.inner && x.when != r.when[i] {
				x.stored = true
				if current[x.ref] != v { // a later value takes its place
					return r, i
				}
			}
		}
	}

	r.order = make([]int, len(steps))
	for i := range steps {
		r.order[i] = i
	}
	slices.SortStableFunc(r.order, func(a, b int) int {
		return cmp.Or(r.when[a].compare(r.when[b]), cmp.Compare(r.level(a), r.level(b)))
	})
	for pos, i := range r.order {
		for _, v := range r.operands[i] {
			r.values[v].last = pos
		}
	}
	return r, -1
}

// level is 1 for steps of an inner loop, 0 for those before it.
func (r *chain) level(i int) int {
	s := &r.steps[i]
	over := r.l.spanOf(s.dst)
	if s.means.kind == meansReduce {
		over = r.l.spanOf(s.x[0])
	}
	if over&r.inner != 0 {
		return 1
	}
	return 0
}
