package cpu

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/philox"
)

const float32Type = dtype.Float32

// span says along what a value varies within a tile, and so how it is kept: one
// element, a vector along the columns, one along the rows, or the whole tile, row
// by row without gaps.
type span uint8

const (
	alongCol span = 1 << iota
	alongRow
	beyond // varies from tile to tile

	full   = alongCol | alongRow
	inTile = full
)

// A value lives in a ref: a place in the frame's scratch memory, in the constants,
// or right in a slot. Refs are numbered; step operands are such numbers.
type place struct {
	span  span
	width int // bytes of an element
	kind  placeKind

	offset int  // inScratch: bytes; inConsts: index
	arg    int  // inSlot
	row    int  // inSlot: bytes from row to row
	inner  bool // inSlot: the address varies along the inner axes
	small  bool // coordinates that are less than 2³¹-1 in size
}

type placeKind uint8

const (
	inScratch placeKind = iota
	inConsts
	inSlot
	inOther // a pick: takes the place of one of two others at run time
)

// stepKind is how a step's routine wants its arguments.
type stepKind uint8

const (
	stepCall   stepKind = iota // elementwise over the span
	stepMove                   // columns at a distance of their own
	stepIndex                  // coordinates
	stepReduce                 // over the operand's span, never flattened
	stepPick                   // no routine: dst becomes b or c, as the element at a says
	stepSettle                 // a copy, unless the operand is at the destination already
	stepNative                 // machine code for several steps
)

// meaning says what a step's routine computes, for the compiler of native code.
type meaning struct {
	kind     meaningKind
	op       ir.Op       // means apply, means reduce
	from, to dtype.DType // of the operands' elements where they lie, and of the result's
}

type meaningKind uint8

const (
	meansOther   meaningKind = iota // known to the routine alone
	meansApply                      // an elementwise operation; the condition of a Select is bool
	meansConvert                    // to another type; from a half type to itself: rounding of a float32
	meansCopy                       // the operand itself
	meansReduce
)

// step is one call of a routine.
type step struct {
	fn     vec.Func
	means  meaning
	kind   stepKind
	over   span
	scalar uint8
	dst    int32
	x      [3]int32 // operands, 0 (the null ref) where unused
	width  [4]uint8 // bytes of an element of dst and of the operands that are walked along the columns

	arg        int32 // stepIndex
	dCol, aCol int   // stepMove: bytes; stepIndex: aCol is the stride along a row of the span
	aRow       int   // stepIndex
	key        [2]uint32
	entry      int // stepNative: the piece of the program's code
}

// pass is one visit to all inner points of an outer tile.
type pass struct {
	outer []step // before it: what the earlier reductions make possible
	inner []step // for every chunk
	sums  []int  // the reductions that it does
}

// reduction is a Reduce instruction.
type reduction struct {
	op      ir.Op
	ref     int32
	combine vec.Func // of two partial results
	span    span
	width   int
	pass    int
}

// program is a part's code for one choice of a tile's axes.
type program struct {
	key    layoutKey
	consts []uint64
	places []place
	inSlot []int32 // refs into slots
	packed []int32 // refs to whole tiles in scratch, whose row length is the tile's

	pre    []step // values that never vary: once per job
	body   []step // everything, where a tile holds all inner points
	passes []pass // else
	final  []step // after the passes

	reductions []reduction
	scratch    int // bytes

	code *nativeProgram // of the steps of kind stepNative; nil: there are none
}

// lowerer turns instructions into steps.
type lowerer struct {
	p      *program
	f      *kernel.Fused
	part   *kernel.Part
	spans  []span
	refs   []int32 // by instruction: where its value is
	phases []int
	slots  []kernel.Slot
	list   *[]step
	keep   bool           // scratch of the values of this list is never reused
	kept   map[int32]bool // places that are never reused
	reds   map[int]int    // instruction → index in reductions
}

func lower(f *kernel.Fused, part *kernel.Part, slots []kernel.Slot, key layoutKey) (*program, error) {
	l := &lowerer{
		p: &program{key: key, places: []place{{kind: inConsts}}, consts: []uint64{0}},
		f: f, part: part, slots: slots,
		spans:  make([]span, len(f.Code)),
		refs:   make([]int32, len(f.Code)),
		phases: f.Phases(),
		kept:   map[int32]bool{},
		reds:   map[int]int{},
	}
	for i := range f.Code {
		l.spans[i] = l.span(i)
	}
	if err := l.lower(); err != nil {
		return nil, err
	}
	l.native()
	l.allocate()
	p := l.p
	for i, pl := range p.places {
		switch {
		case pl.kind == inSlot:
			p.inSlot = append(p.inSlot, int32(i))
		case pl.kind == inScratch && pl.span == full:
			p.packed = append(p.packed, int32(i))
		}
	}
	return p, nil
}

// argSpan is along what an argument's address varies.
func (l *lowerer) argSpan(arg int) span {
	var s span
	a := &l.part.Args[arg]
	for axis, stride := range a.Stride {
		switch {
		case stride == 0 || l.p.key.axes>>axis&1 == 0:
		case axis == int(l.p.key.col):
			s |= alongCol
		case axis == int(l.p.key.row):
			s |= alongRow
		default:
			s |= beyond
		}
	}
	return s
}

func (l *lowerer) span(i int) span {
	in := &l.f.Code[i]
	switch in.Kind {
	case kernel.Load, kernel.Index:
		return l.argSpan(in.Arg)
	}
	var s span
	for _, x := range in.Operands() {
		s |= l.spans[x]
	}
	if in.Kind == kernel.Reduce {
		s = s&^l.innerSpan() | beyond
	}
	return s
}

// innerSpan is the axis of a tile that inner points lie along.
func (l *lowerer) innerSpan() span {
	if l.p.key.mode == modeCols {
		return alongRow
	}
	return alongCol
}

// stride is an argument's distance in elements along an axis of the tile.
func (l *lowerer) stride(arg int, axis int8) int {
	if axis < 0 {
		return 0
	}
	return l.part.Args[arg].Stride[axis]
}

func (l *lowerer) place(p place) int32 {
	l.p.places = append(l.p.places, p)
	return int32(len(l.p.places) - 1)
}

// temp is a new place in scratch memory; its offset is decided by allocate.
func (l *lowerer) temp(s span, width int) int32 {
	r := l.place(place{kind: inScratch, span: s & inTile, width: width, offset: -1})
	if l.keep {
		l.kept[r] = true
	}
	return r
}

func (l *lowerer) constant(bits uint64, width int) int32 {
	l.p.consts = append(l.p.consts, bits)
	return l.place(place{kind: inConsts, width: width, offset: len(l.p.consts) - 1})
}

// slot is an argument's memory itself.
func (l *lowerer) slot(arg int, s span) int32 {
	a := &l.part.Args[arg]
	row := l.stride(arg, l.p.key.row) * a.DType.Size()
	switch s & inTile {
	case 0, alongCol:
		row = 0
	case alongRow:
		row = a.DType.Size()
	}
	return l.place(place{kind: inSlot, span: s & inTile, width: a.DType.Size(), arg: arg, row: row, inner: l.varies(arg)})
}

// varies tells whether an argument's address depends on the inner point.
func (l *lowerer) varies(arg int) bool {
	return slices.ContainsFunc(l.part.Args[arg].Stride[len(l.part.Outer):], func(s int) bool { return s != 0 })
}

// direct tells whether an argument's memory can be an operand of a routine as it
// lies: its elements are adjacent along the span's vectors.
func (l *lowerer) direct(arg int, s span) bool {
	switch s & inTile {
	case 0:
		return true
	case alongRow:
		return l.stride(arg, l.p.key.row) == 1
	}
	return l.stride(arg, l.p.key.col) == 1
}

func (l *lowerer) emit(s step) { *l.list = append(*l.list, s) }

func (l *lowerer) width(r int32) int   { return l.p.places[r].width }
func (l *lowerer) spanOf(r int32) span { return l.p.places[r].span }

// convertCall emits a conversion.
func (l *lowerer) convertCall(from, to dtype.DType, dst, x int32) {
	l.call(vec.Convert(from, to), meaning{meansConvert, ir.Convert, from, to}, dst, x)
}

// call emits an elementwise step.
func (l *lowerer) call(fn vec.Func, m meaning, dst int32, xs ...int32) *step {
	s := step{fn: fn, means: m, kind: stepCall, over: l.spanOf(dst), dst: dst}
	s.width[0] = uint8(l.width(dst))
	for i, x := range xs {
		s.x[i] = x
		if l.scalar(x, s.over) {
			s.scalar |= 1 << i
		} else {
			s.width[i+1] = uint8(l.width(x))
		}
	}
	l.emit(s)
	return &(*l.list)[len(*l.list)-1]
}

// scalar tells whether an operand is one element for every row of a step that goes
// over a span.
func (l *lowerer) scalar(x int32, over span) bool {
	switch over {
	case 0:
		return false
	case alongRow:
		return l.spanOf(x)&alongRow == 0
	}
	return l.spanOf(x)&alongCol == 0
}

// move emits a step that brings src to dst, where one of them may be an argument
// whose elements are not adjacent along the rows of the span: sCol and dCol are
// distances in bytes.
func (l *lowerer) move(dst, src int32, over span, dCol, sCol int) {
	w := l.width(dst)
	if dCol == w && (sCol == 0 || sCol == w) {
		s := step{fn: vec.Expand(w), means: meaning{kind: meansCopy}, kind: stepSettle, over: over, dst: dst, x: [3]int32{src}}
		s.width[0] = uint8(w)
		if sCol == 0 {
			s.scalar = vec.ScalarA
		} else {
			s.width[1] = uint8(w)
		}
		l.emit(s)
		return
	}
	l.emit(step{fn: vec.Move(w), kind: stepMove, over: over, dst: dst, x: [3]int32{src}, dCol: dCol, aCol: sCol})
}

// colBytes is the distance in bytes between an argument's elements along the
// vectors of a span.
func (l *lowerer) colBytes(arg int, over span) int {
	axis := l.p.key.col
	if over&inTile == alongRow {
		axis = l.p.key.row
	}
	return l.stride(arg, axis) * l.part.Args[arg].DType.Size()
}

// expanded is the value at r, repeated so that it varies along s as well.
func (l *lowerer) expanded(r int32, s span) int32 {
	if l.spanOf(r)&s == s {
		return r
	}
	dst := l.temp(l.spanOf(r)|s, l.width(r))
	col := 0
	if !l.scalar(r, l.spanOf(dst)) {
		col = l.width(r)
	}
	l.move(dst, r, l.spanOf(dst), l.width(r), col)
	return dst
}

func half(d dtype.DType) bool { return d == dtype.Float16 || d == dtype.BFloat16 }

// regWidth is the size of a value while it is computed with.
func regWidth(d dtype.DType) int { return d.Compute().Size() }

// exact lists the operations that never leave the values of a half type, so that
// rounding after them would do nothing.
func exact(op ir.Op) bool {
	switch op {
	case ir.Neg, ir.Abs, ir.Sign, ir.Max, ir.Min, ir.Select, ir.Floor, ir.Ceil, ir.Round:
		return true
	}
	return false
}

// instruction lowers instruction i into the current list. Stores are done
// elsewhere.
func (l *lowerer) instruction(i int) error {
	in := &l.f.Code[i]
	switch in.Kind {
	case kernel.Imm:
		l.refs[i] = l.constant(immBits(in), regWidth(in.DType))
	case kernel.Load:
		l.load(i)
	case kernel.Index:
		s := l.spans[i]
		r := l.temp(s, 8)
		l.p.places[r].small = l.small(in.Arg)
		axis := l.p.key.col
		if s&inTile == alongRow {
			axis = l.p.key.row
		}
		l.emit(step{fn: vec.Index, kind: stepIndex, over: s & inTile, dst: r, arg: int32(in.Arg),
			aCol: l.stride(in.Arg, axis), aRow: l.stride(in.Arg, l.p.key.row)})
		l.refs[i] = r
	case kernel.Apply:
		return l.apply(i)
	case kernel.Reduce:
		return l.reduce(i)
	}
	return nil
}

// small tells whether the values of an Index argument are less than 2³¹-1 in size.
func (l *lowerer) small(arg int) bool {
	a := &l.part.Args[arg]
	most := max(a.Offset, -a.Offset)
	for axis, n := range slices.Concat(l.part.Outer, l.part.Inner) {
		most += max(a.Stride[axis], -a.Stride[axis]) * n
	}
	return most < math.MaxInt32
}

// immBits are a literal's bits as the routines read them.
func immBits(in *kernel.Instr) uint64 {
	v := ir.Literal{Bits: in.Bits}
	if in.DType.Compute() == dtype.Float32 {
		return uint64(math.Float32bits(float32(v.Float(in.DType))))
	}
	return in.Bits
}

func (l *lowerer) load(i int) {
	in := &l.f.Code[i]
	a := &l.part.Args[in.Arg]
	s := l.spans[i]
	src := l.slot(in.Arg, s)
	if !l.direct(in.Arg, s) || !half(a.DType) && l.mustCopy(i) {
		raw := l.temp(s, a.DType.Size())
		l.move(raw, src, s&inTile, a.DType.Size(), l.colBytes(in.Arg, s))
		src = raw
	}
	if half(a.DType) {
		dst := l.temp(s, 4)
		l.convertCall(a.DType, dtype.Float32, dst, src)
		src = dst
	}
	l.refs[i] = src
}

// mustCopy tells whether the value loaded by i must not be read from its slot when
// it is used: the slot is stored to, and the value, or what may stand for it
// without a computation, is itself what a store writes at the end. A value that
// only goes back to where it came from, which nothing else is stored to, can stay
// there.
func (l *lowerer) mustCopy(i int) bool {
	from := &l.part.Args[l.f.Code[i].Arg]
	home, stores := -1, 0
	for j := range l.f.Code {
		in := &l.f.Code[j]
		if in.Kind != kernel.Store {
			continue
		}
		to := &l.part.Args[in.Arg]
		if overlap(l.slots, to.Slot, from.Slot) {
			stores++
			if l.sameMemory(to, from) {
				home = j
			}
		}
	}
	if stores > 1 {
		home = -1
	}
	return stores > 0 && l.storedBut(i, home)
}

// sameMemory tells whether two arguments are the same element at every point.
func (l *lowerer) sameMemory(a, b *kernel.Arg) bool {
	if a.DType != b.DType || !slices.Equal(a.Stride, b.Stride) {
		return false
	}
	if a.Slot == b.Slot {
		return a.Offset == b.Offset
	}
	size := a.DType.Size()
	return overlap(l.slots, a.Slot, b.Slot) && l.slots[a.Slot].Offset+a.Offset*size == l.slots[b.Slot].Offset+b.Offset*size
}

// storedBut tells whether a store other than home writes value i as it lies.
func (l *lowerer) storedBut(i, home int) bool {
	for j := i + 1; j < len(l.f.Code); j++ {
		in := &l.f.Code[j]
		if in.Kind == kernel.Store && in.X[0] == i && j != home || l.passes(j, i) && l.storedBut(j, home) {
			return true
		}
	}
	return false
}

// passes tells whether instruction i may pass its operand x on as it lies, so that
// who reads the result reads x's memory.
func (l *lowerer) passes(i, x int) bool {
	in := &l.f.Code[i]
	if in.Kind != kernel.Apply {
		return false
	}
	switch in.Op {
	case ir.Convert, ir.Bitcast:
		return in.X[0] == x
	case ir.Select:
		return l.picks(i) && (in.X[1] == x || in.X[2] == x)
	}
	return false
}

// picks tells whether Select i need not move anything: one condition decides for
// the whole tile which of the operands the result is.
func (l *lowerer) picks(i int) bool {
	x := &l.f.Code[i].X
	s := l.spans[i] & inTile
	return l.spans[x[0]]&inTile == 0 && l.spans[x[1]]&inTile == s && l.spans[x[2]]&inTile == s
}

func (l *lowerer) apply(i int) error {
	in := &l.f.Code[i]
	xs := in.Operands()
	from := l.f.Code[xs[0]].DType
	t := from.Compute()
	var args [3]int32
	for j, x := range xs {
		args[j] = l.refs[x]
	}
	undefined := func() error {
		return fmt.Errorf("instruction %d: %v is not defined on %v (result %v)", i, in.Op, from, in.DType)
	}
	switch {
	case in.Op == ir.RNGBits:
		if l.spans[xs[1]]&inTile != 0 {
			return fmt.Errorf("instruction %d: the step of rng_bits varies from element to element", i)
		}
		dst := l.temp(l.spans[i], 4)
		l.refs[i] = dst
		l.call(vec.RNGBits, meaning{}, dst, args[0], args[1]).key = philox.NewKey(in.RNG.Seed, in.RNG.Site)
		return nil
	case in.Op == ir.Convert:
		return l.convert(i, args[0], from, in.DType)
	case in.Op == ir.Bitcast:
		return l.bitcast(i, args[0], from, in.DType)
	case in.Op == ir.Select:
		to := in.DType
		s := l.spans[i] & inTile
		if l.picks(i) {
			l.refs[i] = l.pick(s, args)
			return nil
		}
		var scalar uint8
		for j := range args {
			if l.scalar(args[j], s) {
				scalar |= 1 << j
			}
		}
		l.finish(i, vec.Select(regWidth(to), scalar), args[:3]...)
		return nil
	case len(xs) == 1:
		fn := vec.Unary(in.Op, t)
		if fn == nil {
			return undefined()
		}
		l.finish(i, fn, args[0])
		return nil
	case len(xs) == 2:
		var scalar uint8
		for j := range 2 {
			if l.scalar(args[j], l.spans[i]&inTile) {
				scalar |= 1 << j
			}
		}
		fn := vec.Binary(in.Op, t, scalar)
		if fn == nil {
			return undefined()
		}
		l.finish(i, fn, args[:2]...)
		return nil
	}
	return undefined()
}

// finish emits the step of an Apply and what rounds its result to a half type.
func (l *lowerer) finish(i int, fn vec.Func, args ...int32) {
	in := &l.f.Code[i]
	dst := l.result(i)
	from := l.f.Code[in.X[0]].DType.Compute()
	if in.Op == ir.Select {
		from = in.DType.Compute()
	}
	l.call(fn, meaning{meansApply, in.Op, from, in.DType.Compute()}, dst, args...)
	if half(in.DType) && !exact(in.Op) {
		l.convertCall(in.DType, in.DType, dst, dst)
	}
	l.refs[i] = dst
}

// pick is the place of one of two values along s, or of memory for one: x holds
// the condition and the two.
func (l *lowerer) pick(s span, x [3]int32) int32 {
	dst := l.place(place{kind: inOther, span: s, width: l.width(x[1])})
	l.emit(step{kind: stepPick, over: s, dst: dst, x: x})
	return dst
}

// result is the place for an Apply's value: the memory that it is stored to, if
// there it can be written at once, else scratch. Where a Select decides for a whole
// tile whether the value is stored at all, so does a pick of the place: that is
// how an optimizer's update is written or withheld without a copy.
func (l *lowerer) result(i int) int32 {
	in := &l.f.Code[i]
	s, width := l.spans[i], regWidth(in.DType)
	if half(in.DType) || s&inTile == 0 {
		return l.temp(s, width)
	}
	for j := i + 1; j < len(l.f.Code); j++ {
		st := &l.f.Code[j]
		if st.Kind != kernel.Store {
			continue
		}
		v := st.X[0]
		if v == i && l.storesAtOnce(i, st.Arg, -1) {
			return l.slot(st.Arg, s)
		}
		sel := &l.f.Code[v]
		if !l.passes(v, i) || sel.Op != ir.Select || !l.storesAtOnce(i, st.Arg, v) {
			continue
		}
		if c := sel.X[0]; l.spans[c] != 0 && c > i {
			continue // the condition is not known yet
		}
		x := [3]int32{l.refs[sel.X[0]], l.slot(st.Arg, s), l.temp(s, width)}
		if sel.X[2] == i {
			x[1], x[2] = x[2], x[1]
		}
		return l.pick(s&inTile, x)
	}
	return l.temp(s, width)
}

// storesAtOnce tells whether instruction i may write its result to an argument
// right away. All other stores wait until the end of their list, because loads are
// read where they lie: here no load of that slot may be used, and nothing of it
// loaded, after i, except that Select sel (-1: none) may name it as the value it
// does not pick when it picks i. Where inner points are visited several times only
// the last pass stores.
func (l *lowerer) storesAtOnce(i, arg, sel int) bool {
	if l.argSpan(arg)&inTile != l.spans[i]&inTile || !l.direct(arg, l.spans[i]) || l.keep {
		return false
	}
	if !l.p.key.whole && l.p.key.mode != modeLoop && !(l.f.Code[i].Inner && l.list == &l.p.passes[len(l.p.passes)-1].inner) {
		return false
	}
	slot := l.part.Args[arg].Slot
	for j := range l.f.Code {
		in := &l.f.Code[j]
		switch in.Kind {
		case kernel.Load:
			if overlap(l.slots, l.part.Args[in.Arg].Slot, slot) && (j > i || l.lastUse(j, sel) > i) {
				return false
			}
		case kernel.Store:
			if in.Arg != arg && overlap(l.slots, l.part.Args[in.Arg].Slot, slot) {
				return false
			}
		}
	}
	return true
}

// lastUse is the last instruction that reads value i, or may read it under another
// name because it was passed on as it lies; what Select sel picks from does not
// count.
func (l *lowerer) lastUse(i, sel int) int {
	last := i
	for j := i + 1; j < len(l.f.Code); j++ {
		in := &l.f.Code[j]
		for k, x := range in.Operands() {
			if x != i || j == sel && k > 0 {
				continue
			}
			last = max(last, j)
			if l.passes(j, i) {
				last = max(last, l.lastUse(j, sel))
			}
		}
	}
	return last
}

// convert goes through float32 for half types: their values are kept in it, and a
// wider number is rounded to float32 first.
func (l *lowerer) convert(i int, x int32, from, to dtype.DType) error {
	src, dst := from.Compute(), to.Compute()
	if src == dst && (from == to || !half(to)) {
		l.refs[i] = x
		return nil
	}
	r := l.temp(l.spans[i], dst.Size())
	if half(to) && src == dtype.Float32 {
		l.convertCall(to, to, r, x)
	} else {
		fn := vec.Convert(src, dst)
		if fn == nil {
			return fmt.Errorf("instruction %d: cannot convert %v to %v", i, from, to)
		}
		l.call(fn, meaning{meansConvert, ir.Convert, src, dst}, r, x)
		if half(to) {
			l.convertCall(to, to, r, r)
		}
	}
	l.refs[i] = r
	return nil
}

func (l *lowerer) bitcast(i int, x int32, from, to dtype.DType) error {
	if from.Size() != to.Size() {
		return fmt.Errorf("instruction %d: bitcast of %v to %v changes the size", i, from, to)
	}
	if from == to || !half(from) {
		l.refs[i] = x
		return nil
	}
	bits := l.temp(l.spans[i], 2)
	l.convertCall(dtype.Float32, from, bits, x)
	r := l.temp(l.spans[i], 4)
	l.convertCall(to, dtype.Float32, r, bits)
	l.refs[i] = r
	return nil
}

// reduce emits the accumulation over one tile; the accumulator was set to the
// identity before.
func (l *lowerer) reduce(i int) error {
	in := &l.f.Code[i]
	t := in.DType.Compute()
	x := l.expanded(l.refs[in.X[0]], l.innerSpan())
	fn := vec.RowReduce(in.Op, t)
	if l.p.key.mode == modeCols && l.spanOf(x) == full {
		fn = vec.ColReduce(in.Op, t)
	}
	if fn == nil {
		return fmt.Errorf("instruction %d: %v is not defined on %v", i, in.Op, in.DType)
	}
	l.emit(step{fn: fn, means: meaning{meansReduce, in.Op, t, t}, kind: stepReduce, over: l.spanOf(x), dst: l.p.reductions[l.reds[i]].ref, x: [3]int32{x}})
	return nil
}

// accumulator makes the place of reduction i's result and the step that sets it to
// the identity.
func (l *lowerer) accumulator(i, pass int) {
	in := &l.f.Code[i]
	t := in.DType.Compute()
	acc := l.temp(l.spans[i], t.Size())
	l.kept[acc] = true
	l.reds[i] = len(l.p.reductions)
	combine := map[ir.Op]ir.Op{ir.ReduceSum: ir.Add, ir.ReduceMax: ir.Max, ir.ReduceMin: ir.Min}[in.Op]
	l.p.reductions = append(l.p.reductions, reduction{
		op: in.Op, ref: acc, span: l.spanOf(acc), width: t.Size(), pass: pass, combine: vec.Binary(combine, t, 0),
	})
	l.call(vec.Expand(t.Size()), meaning{kind: meansCopy, from: t, to: t}, acc, l.constant(vec.Identity(in.Op, t), t.Size())).scalar = vec.ScalarA
	l.refs[i] = acc
}

// reduced emits what makes the accumulator of i its value: sums of half types are
// taken in float32 and rounded once.
func (l *lowerer) reduced(i int) {
	if in := &l.f.Code[i]; half(in.DType) && in.Op == ir.ReduceSum {
		l.convertCall(in.DType, in.DType, l.refs[i], l.refs[i])
	}
}

// store emits the writing of a value to an argument, if it is not there already.
func (l *lowerer) store(i int) {
	in := &l.f.Code[i]
	a := &l.part.Args[in.Arg]
	x := l.refs[in.X[0]]
	if p := &l.p.places[x]; p.kind == inSlot && p.arg == in.Arg {
		return
	}
	s := l.argSpan(in.Arg)&inTile | l.spanOf(x)
	dst := l.slot(in.Arg, s)
	if half(a.DType) {
		if l.spanOf(x) == s && l.direct(in.Arg, s) {
			l.convertCall(dtype.Float32, a.DType, dst, x)
			return
		}
		raw := l.temp(l.spanOf(x), 2)
		l.convertCall(dtype.Float32, a.DType, raw, x)
		x = raw
	}
	col := 0
	if s == 0 || !l.scalar(x, s) {
		col = l.width(x)
	}
	dCol := l.colBytes(in.Arg, s)
	if s == 0 {
		dCol = a.DType.Size()
	}
	l.move(dst, x, s, dCol, col)
}

func (l *lowerer) lower() error {
	code := l.f.Code
	l.p.passes = nil

	// What never varies comes first, and stays.
	l.list, l.keep = &l.p.pre, true
	for i := range code {
		if l.spans[i] == 0 && code[i].Kind != kernel.Store {
			if err := l.instruction(i); err != nil {
				return err
			}
		}
	}
	l.keep = false
	hoisted := func(i int) bool { return l.spans[i] == 0 && code[i].Kind != kernel.Store }

	if l.p.key.mode == modeLoop || l.p.key.whole {
		l.list = &l.p.body
		for i := range code {
			if hoisted(i) || code[i].Kind == kernel.Store {
				continue
			}
			if code[i].Kind == kernel.Reduce {
				l.accumulator(i, 0)
			}
			if err := l.instruction(i); err != nil {
				return err
			}
			if code[i].Kind == kernel.Reduce {
				l.reduced(i)
			}
		}
		for i := range code {
			if code[i].Kind == kernel.Store {
				l.store(i)
			}
		}
		return nil
	}

	// One pass for every phase that reduces or that stores inner values.
	passes := 1
	for i := range code {
		if code[i].Kind == kernel.Reduce || code[i].Kind == kernel.Store && code[code[i].X[0]].Inner {
			passes = max(passes, l.phases[i]+1)
		}
	}
	l.p.passes = make([]pass, passes)
	for n := range passes {
		p := &l.p.passes[n]
		l.list, l.keep = &p.outer, true
		if err := l.outer(n, hoisted); err != nil {
			return err
		}
		for i := range code {
			if code[i].Kind == kernel.Reduce && l.phases[i] == n {
				l.accumulator(i, n)
				p.sums = append(p.sums, l.reds[i])
			}
		}
		l.list, l.keep = &p.inner, false
		for i, need := range l.needed(n, n == passes-1) {
			if need && !hoisted(i) {
				if err := l.instruction(i); err != nil {
					return err
				}
			}
		}
		if n == passes-1 {
			for i := range code {
				if code[i].Kind == kernel.Store && code[code[i].X[0]].Inner {
					l.store(i)
				}
			}
		}
	}
	l.list, l.keep = &l.p.final, true
	if err := l.outer(passes, hoisted); err != nil {
		return err
	}
	for i := range code {
		if code[i].Kind == kernel.Store && !code[code[i].X[0]].Inner {
			l.store(i)
		}
	}
	return nil
}

// outer emits the values between the passes that reductions of pass n-1 make
// possible.
func (l *lowerer) outer(n int, hoisted func(int) bool) error {
	for i := range l.f.Code {
		in := &l.f.Code[i]
		switch {
		case in.Kind == kernel.Reduce && l.phases[i] == n-1:
			l.reduced(i)
		case in.Inner, in.Kind == kernel.Reduce, in.Kind == kernel.Store, l.phases[i] != n, hoisted(i):
		default:
			if err := l.instruction(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// needed marks the inner values and reductions of pass n.
func (l *lowerer) needed(n int, stores bool) []bool {
	need := make([]bool, len(l.f.Code))
	for i := len(need) - 1; i >= 0; i-- {
		in := &l.f.Code[i]
		switch {
		case in.Kind == kernel.Reduce:
			need[i] = l.phases[i] == n
		case in.Kind == kernel.Store:
			if stores && l.f.Code[in.X[0]].Inner {
				need[in.X[0]] = true
			}
			continue
		}
		if need[i] {
			for _, x := range in.Operands() {
				if l.f.Code[x].Inner {
					need[x] = true
				}
			}
		}
	}
	return need
}

// allocate gives the scratch places their offsets. Within a list a place is free
// again after its last use, and what is used last in a step may be overwritten by
// its result, which every routine allows; the fewer places, the more of them stay
// in the nearest cache. Values that lists hand to each other keep their place.
func (l *lowerer) allocate() {
	type class struct {
		span  span
		width int
	}
	points := maxTile
	if l.p.key.mode == modeLoop {
		points = loopPoints()
	}
	take := func(r int32) {
		p := &l.p.places[r]
		n := p.width
		if p.span != 0 {
			n *= points
		}
		// An odd number of lines between places keeps them out of each other's
		// cache sets.
		p.offset = l.p.scratch
		l.p.scratch += (n+63)&^63 + 5*64
	}
	for _, r := range slices.Sorted(maps.Keys(l.kept)) {
		take(r)
	}
	lists := []*[]step{&l.p.body}
	for i := range l.p.passes {
		lists = append(lists, &l.p.passes[i].inner)
	}
	isTemp := func(r int32) bool { return l.p.places[r].kind == inScratch && !l.kept[r] }
	for _, list := range lists {
		last := map[int32]int{}
		for i := len(*list) - 1; i >= 0; i-- {
			s := &(*list)[i]
			for _, x := range s.x {
				if _, seen := last[x]; !seen {
					last[x] = i
				}
				if s.kind == stepPick { // its operands live on under its name
					last[x] = max(last[x], last[s.dst])
				}
			}
			if _, seen := last[s.dst]; !seen {
				last[s.dst] = i
			}
		}
		free := map[class][]int{}
		release := func(r int32) {
			p := &l.p.places[r]
			c := class{p.span, p.width}
			free[c] = append(free[c], p.offset)
		}
		claim := func(r int32) {
			p := &l.p.places[r]
			if !isTemp(r) || p.offset >= 0 {
				return
			}
			c := class{p.span, p.width}
			if n := len(free[c]); n > 0 {
				p.offset = free[c][n-1]
				free[c] = free[c][:n-1]
			} else {
				take(r)
			}
		}
		for i := range *list {
			s := &(*list)[i]
			done := [3]bool{}
			for j, x := range s.x {
				dup := j > 0 && x == s.x[0] || j > 1 && x == s.x[1]
				if isTemp(x) && last[x] == i && !dup && x != s.dst && s.kind == stepCall && l.p.places[x].width == l.p.places[s.dst].width {
					release(x)
					done[j] = true
				}
			}
			claim(s.dst)
			if s.kind == stepPick { // of memory that the next step may write
				claim(s.x[1])
				claim(s.x[2])
			}
			for j, x := range s.x {
				dup := j > 0 && x == s.x[0] || j > 1 && x == s.x[1]
				if isTemp(x) && last[x] == i && !dup && !done[j] && x != s.dst {
					release(x)
				}
			}
			if isTemp(s.dst) && last[s.dst] == i {
				release(s.dst)
			}
		}
	}
}
