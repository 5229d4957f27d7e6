package cpu

// Native code for fused kernels: the code. See fused_native.go.

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	"github.com/sinter-dl/sinter/internal/backend/cpu/simd"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// nativeArgs is the record that native code gets.
type nativeArgs struct {
	refs       unsafe.Pointer // the frame's refs
	rows, cols int            // extents of the tile
	pointers   unsafe.Pointer // memory for a pointer to every place that the code touches
}

// Registers of the code. The pointers to the places that are used most stay in
// registers, the others in memory.
const (
	regArgs     = emit.AX
	regColumn   = emit.CX // the first column of the vectors at hand
	regLeft     = emit.BX // columns that are left
	regRows     = emit.DX // rows that are left
	regRefs     = emit.SI
	regPointers = emit.DI
	regPointer  = emit.R14
	regTemp     = emit.R15
)

var pinned = [...]emit.Reg{emit.R8, emit.R9, emit.R10, emit.R11, emit.R12, emit.R13}

const (
	refSize   = int32(unsafe.Sizeof(ref{}))
	rowOffset = int32(unsafe.Offsetof(ref{}.row))

	quietNaN  = 0x7fc00000
	unordered = 3 // the comparison

	// Inner loops take so many vectors at a time: reductions because they have
	// four accumulators, like the routines of package vec; others if they do little.
	reduceUnroll, smallUnroll, mediumUnroll = 4, 4, 2
	smallBody, mediumBody                   = 8, 20 // steps
)

// errRegisters says that a run needs more registers than there are.
var errRegisters = errors.New("more values than registers")

// culprit says that a step has no native form.
type culprit struct{ step int }

// holder is a value for one of the vectors of columns that are computed side by
// side.
type holder struct{ value, u int }

// generator writes the code of a run.
type generator struct {
	*chain
	v    *simd.V
	cols bool // lines are vectors of columns, inner loops go over rows
	side int  // how many of them are computed side by side

	mem    []int32         // the places that the code touches, those used most first
	index  map[int32]int   // where in mem
	counts map[int32]int   // how often each is used
	free   [2]uint32       // free vector and mask registers
	regs   map[holder]int  // where values are
	keep   map[holder]bool // these registers outlive a body of an inner loop
	sums   map[holder]int  // accumulators of reductions
	seen   map[holder]int  // where a maximum or minimum notes NaN

	lastHere map[int]int // in an inner loop: by value, the last position that reads it
	masked   bool        // the code at hand is for the end of a row
}

// compileRun is the code for the steps of a list that during names. There may be
// none; then the last result is which of them is to blame, or -1.
func (l *lowerer) compileRun(list []step, during []int, reads []int, lanes int) (g *generator, code []byte, blame int) {
	steps := make([]step, len(during))
	for i, k := range during {
		steps[i] = list[k]
	}
	c, blame := newChain(l, steps, reads)
	if blame >= 0 {
		return nil, nil, blame
	}
	sides := []int{1}
	if l.p.key.mode == modeCols {
		sides = []int{4, 2, 1}
	}
	for _, side := range sides {
		g = &generator{chain: c, cols: l.p.key.mode == modeCols, side: side}
		if code, blame = g.function(lanes); code != nil {
			break
		}
	}
	return g, code, blame
}

func (g *generator) function(lanes int) (code []byte, blame int) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case culprit:
			code, blame = nil, e.step
		case error:
			if e != errRegisters {
				panic(e)
			}
			code, blame = nil, -1
		default:
			panic(e)
		}
	}()
	// The first time tells which places are used, and how often.
	g.write(lanes)
	g.mem = slices.SortedFunc(maps.Keys(g.counts), func(a, b int32) int {
		return cmp.Or(cmp.Compare(g.counts[b], g.counts[a]), cmp.Compare(a, b))
	})
	g.index = map[int32]int{}
	for i, ref := range g.mem {
		g.index[ref] = i
	}
	g.write(lanes)
	code, err := g.v.Bytes()
	if err != nil {
		panic("cpu: native code: " + err.Error())
	}
	return code, -1
}

// write writes the whole function.
func (g *generator) write(lanes int) {
	g.v = simd.New(lanes)
	g.counts = map[int32]int{}
	v := g.v
	v.Args(regArgs)
	v.I(emit.MOVQ, field(unsafe.Offsetof(nativeArgs{}.refs)), regRefs)
	v.I(emit.MOVQ, field(unsafe.Offsetof(nativeArgs{}.pointers)), regPointers)
	for lo := 0; lo < len(g.order); {
		hi := lo + 1
		for hi < len(g.order) && g.momentAt(hi).nest == g.momentAt(lo).nest {
			hi++
		}
		g.free = [2]uint32{1<<32 - 1, 0xf0}
		if !g.wide() {
			g.free[0] = 1<<simd.MaskRegister - 1
		}
		g.regs, g.keep = map[holder]int{}, map[holder]bool{}
		g.sums, g.seen = map[holder]int{}, map[holder]int{}
		g.masked = false
		g.nest(lo, hi, g.momentAt(lo).nest&1 == 1)
		lo = hi
	}
	v.Return()
}

func (g *generator) wide() bool { return g.v.W == 16 }

func (g *generator) momentAt(pos int) moment { return g.when[g.order[pos]] }

// field is a field of the record.
func field(offset uintptr) emit.Mem { return emit.Mem{Base: regArgs, Disp: int32(offset)} }

// Pointers.

func (g *generator) spill(i int) emit.Mem { return emit.Mem{Base: regPointers, Disp: int32(8 * i)} }

// setPointers points at the first element of the line at hand, of those places
// that which selects.
func (g *generator) setPointers(which func(s span) bool) {
	for i, ref := range g.mem {
		p := &g.l.p.places[ref]
		if !which(p.span) {
			continue
		}
		r := regPointer
		if i < len(pinned) {
			r = pinned[i]
		}
		g.v.I(emit.MOVQ, emit.Mem{Base: regRefs, Disp: ref * refSize}, r)
		if g.cols && p.span&alongCol != 0 {
			g.v.I(emit.LEAQ, emit.Mem{Base: r, Index: regColumn, Scale: uint8(p.width)}, r)
		}
		if i >= len(pinned) {
			g.v.I(emit.MOVQ, r, g.spill(i))
		}
	}
}

// advance goes to the next row.
func (g *generator) advance() {
	for i, ref := range g.mem {
		if g.l.p.places[ref].span&alongRow == 0 {
			continue
		}
		row := emit.Mem{Base: regRefs, Disp: ref*refSize + rowOffset}
		if i < len(pinned) {
			g.v.I(emit.ADDQ, row, pinned[i])
		} else {
			g.v.I(emit.MOVQ, row, regPointer)
			g.v.I(emit.ADDQ, regPointer, g.spill(i))
		}
	}
}

// address is where a value lies in vector u.
func (g *generator) address(v *value, u int) emit.Mem {
	g.counts[v.ref]++
	m := emit.Mem{Base: regPointer}
	if i, ok := g.index[v.ref]; !ok {
		g.v.I(emit.MOVQ, g.spill(0), regPointer)
	} else if i < len(pinned) {
		m.Base = pinned[i]
	} else {
		g.v.I(emit.MOVQ, g.spill(i), regPointer)
	}
	if v.vector {
		m.Disp = int32(u * g.v.W * v.kind.width())
		if !g.cols {
			m.Index, m.Scale = regColumn, uint8(v.kind.width())
		}
	}
	return m
}

// Loops.

// nest writes the loops for positions lo … hi of the order.
func (g *generator) nest(lo, hi int, lines bool) {
	all := func(span) bool { return true }
	end := g.v.NewLabel()
	switch {
	case !lines:
		g.setPointers(func(s span) bool { return g.cols == (s&alongCol == 0) || !g.cols })
		g.stages(lo, hi, 1)
	case g.cols:
		g.columns(g.side, func(vectors int) {
			g.setPointers(all)
			g.stages(lo, hi, vectors)
		})
	default:
		g.setPointers(all)
		g.rowLoop(func() { g.stages(lo, hi, 1) })
	}
	g.v.Bind(end)
}

// rowLoop repeats body for every row.
func (g *generator) rowLoop(body func()) {
	v := g.v
	row, end := v.NewLabel(), v.NewLabel()
	v.I(emit.MOVQ, field(unsafe.Offsetof(nativeArgs{}.rows)), regRows)
	v.I(emit.TESTQ, regRows, regRows)
	v.I(emit.JLE, end)
	v.Bind(row)
	body()
	g.advance()
	v.I(emit.DECQ, regRows)
	v.I(emit.JNE, row)
	v.Bind(end)
}

// columns repeats body for unroll vectors of columns at a time, then for single
// ones and for what is left of one.
func (g *generator) columns(unroll int, body func(vectors int)) {
	v, w := g.v, emit.Imm(g.v.W)
	one, tail, next := v.NewLabel(), v.NewLabel(), v.NewLabel()
	v.I(emit.MOVQ, field(unsafe.Offsetof(nativeArgs{}.cols)), regLeft)
	v.I(emit.XORL, regColumn, regColumn)
	if unroll > 1 {
		many, few := v.NewLabel(), v.NewLabel()
		n := w * emit.Imm(unroll)
		v.I(emit.SUBQ, n, regLeft)
		v.I(emit.JLT, few)
		v.Bind(many)
		body(unroll)
		v.I(emit.ADDQ, n, regColumn)
		v.I(emit.SUBQ, n, regLeft)
		v.I(emit.JGE, many)
		v.Bind(few)
		v.I(emit.ADDQ, n-w, regLeft)
	} else {
		v.I(emit.SUBQ, w, regLeft)
	}
	v.I(emit.JLT, tail)
	v.Bind(one)
	body(1)
	v.I(emit.ADDQ, w, regColumn)
	v.I(emit.SUBQ, w, regLeft)
	v.I(emit.JGE, one)
	v.Bind(tail)
	v.I(emit.ADDQ, w, regLeft)
	v.I(emit.JEQ, next)
	v.Mask(regLeft, regTemp)
	g.masked = true
	body(1)
	g.masked = false
	v.Bind(next)
}

// stages writes what is computed for one line, or for several vectors of columns
// side by side.
func (g *generator) stages(lo, hi, vectors int) {
	for lo < hi {
		if g.level(g.order[lo]) == 0 {
			for u := range vectors {
				g.step(lo, u)
			}
			lo++
			continue
		}
		end := lo + 1
		for end < hi && g.level(g.order[end]) == 1 && g.momentAt(end) == g.momentAt(lo) {
			end++
		}
		g.loop(lo, end, vectors)
		lo = end
	}
	for h := range g.regs {
		g.drop(h)
	}
}

// loop writes an inner loop.
func (g *generator) loop(lo, hi, vectors int) {
	g.lastHere = map[int]int{}
	var reductions []int
	for pos := lo; pos < hi; pos++ {
		i := g.order[pos]
		for _, o := range g.operands[i] {
			g.lastHere[o] = pos
		}
		if g.steps[i].means.kind == meansReduce {
			reductions = append(reductions, i)
		}
	}
	accumulators := reduceUnroll
	if g.cols {
		accumulators = vectors
	}
	for _, i := range reductions {
		for u := range accumulators {
			h := holder{g.results[i], u}
			g.sums[h] = g.take(0)
			g.v.Set(identity(g.steps[i].means.op), g.sums[h])
		}
		if g.steps[i].means.op != ir.ReduceSum && !g.cols {
			h := holder{g.results[i], 0}
			g.seen[h] = g.take(g.class(kindBool))
			g.setBool(false, g.seen[h])
		}
	}
	for h := range g.regs {
		g.keep[h] = true // it is expected there when the loop begins again
	}
	g.hoist(lo, hi, vectors)
	if g.cols {
		g.setPointers(func(s span) bool { return s&alongRow != 0 })
		g.rowLoop(func() {
			for u := range vectors {
				for pos := lo; pos < hi; pos++ {
					g.step(pos, u)
				}
			}
		})
	} else {
		unroll := 1
		switch n := hi - lo; {
		case len(reductions) > 0:
			unroll = reduceUnroll
		case n <= smallBody:
			unroll = smallUnroll
		case n <= mediumBody:
			unroll = mediumUnroll
		}
		g.columns(unroll, func(vectors int) {
			for u := range vectors {
				for pos := lo; pos < hi; pos++ {
					g.step(pos, u)
				}
			}
		})
	}
	g.lastHere = nil
	for _, i := range reductions {
		if g.cols {
			for u := range vectors {
				g.columnTotal(i, u)
			}
		} else {
			g.rowTotal(i)
		}
	}
	for h := range g.regs {
		if g.values[h.value].last < hi {
			g.drop(h)
		}
	}
}

// hoist loads what does not vary in an inner loop before it, as far as there are
// registers to spare.
func (g *generator) hoist(lo, hi, vectors int) {
	for pos := lo; pos < hi; pos++ {
		i := g.order[pos]
		if g.steps[i].means.kind == meansReduce {
			continue
		}
		for k, o := range g.operands[i] {
			x := &g.values[o]
			if x.inner || x.known && (g.foldable(i, k) || x.kind == kindBool) {
				continue
			}
			for u := range vectors {
				if !g.cols && u > 0 || !x.vector && u > 0 {
					break
				}
				h := holder{o, u}
				if _, ok := g.regs[h]; !ok && g.spare(x.kind) {
					g.get(o, u)
					g.keep[h] = true
				}
			}
		}
	}
}

// spare tells whether a register can be kept for long.
func (g *generator) spare(k valueKind) bool {
	n := bits.OnesCount32(g.free[g.class(k)])
	switch {
	case g.class(k) == 1:
		return n > 2
	case g.wide():
		return n > 12
	}
	return n > 7
}

// Registers.

// class is 1 for mask registers, which hold truth values with AVX-512.
func (g *generator) class(k valueKind) int {
	if k == kindBool && g.wide() {
		return 1
	}
	return 0
}

func (g *generator) take(class int) int {
	if g.free[class] == 0 {
		panic(errRegisters)
	}
	r := bits.TrailingZeros32(g.free[class])
	g.free[class] &^= 1 << r
	return r
}

// takeAll takes n vector registers.
func (g *generator) takeAll(n int) []int {
	regs := make([]int, n)
	for i := range regs {
		regs[i] = g.take(0)
	}
	return regs
}

func (g *generator) giveAll(regs []int) {
	for _, r := range regs {
		g.give(0, r)
	}
}

func (g *generator) give(class, r int) { g.free[class] |= 1 << r }

func (g *generator) drop(h holder) {
	g.give(g.class(g.values[h.value].kind), g.regs[h])
	delete(g.regs, h)
	delete(g.keep, h)
}

// holder is the key of a value's register in vector u.
func (g *generator) holder(v, u int) holder {
	if !g.cols || !g.values[v].vector {
		u = 0
	}
	return holder{v, u}
}

// get is the register of a value, which is loaded if need be.
func (g *generator) get(v, u int) int {
	h := g.holder(v, u)
	if r, ok := g.regs[h]; ok {
		return r
	}
	x := &g.values[v]
	r := g.take(g.class(x.kind))
	g.regs[h] = r
	switch {
	case x.known && x.kind == kindBool:
		g.setBool(x.bits != 0, r)
	case x.known:
		g.v.Set(x.bits, r)
	default:
		g.load(x, u, r)
	}
	return r
}

// release gives the registers of step's operands back that nobody needs any more.
func (g *generator) release(pos, u int) {
	for _, o := range g.operands[g.order[pos]] {
		h := g.holder(o, u)
		if _, ok := g.regs[h]; !ok || g.keep[h] {
			continue
		}
		last := g.values[o].last
		if g.lastHere != nil {
			last = g.lastHere[o]
		}
		if last <= pos {
			g.drop(h)
		}
	}
}

// Memory.

func (g *generator) load(x *value, u, r int) {
	v := g.v
	if x.kind != kindWord && x.vector && !g.wide() || x.kind == kindLong && !g.wide() {
		panic(culprit{g.reader(x)})
	}
	m := g.address(x, u)
	half := emit.Y(r)
	if !g.wide() {
		half = emit.X(r)
	}
	switch {
	case x.kind == kindLong:
		g.loadLong(x, m, r)
	case x.kind == kindWord && x.vector:
		v.Load(m, r, g.masked)
	case x.kind == kindWord:
		v.Broadcast(m, r)
	case x.kind == kindHalf && !x.vector:
		v.I(emit.VPBROADCASTW, m, half)
	case x.kind == kindHalf && g.masked:
		v.I(emit.VMOVDQU16|emit.Zero, m, emit.K(1), half)
	case x.kind == kindHalf:
		v.I(emit.VMOVDQU16, m, half)
	case g.wide():
		t := g.take(0)
		switch {
		case !x.vector:
			v.I(emit.VPBROADCASTB, m, emit.X(t))
		case g.masked:
			v.I(emit.VMOVDQU8|emit.Zero, m, emit.K(1), emit.X(t))
		default:
			v.I(emit.VMOVDQU8, m, emit.X(t))
		}
		v.I(emit.VPTESTMB, emit.X(t), emit.X(t), emit.K(r))
		g.give(0, t)
	default: // one byte, to all or no bits of every lane
		t := g.take(0)
		v.I(emit.VPBROADCASTB, m, emit.X(r))
		v.I(emit.VPMOVZXBD, emit.X(r), emit.Y(r))
		v.I(emit.VPXOR, emit.Y(t), emit.Y(t), emit.Y(t))
		v.I(emit.VPCMPGTD, emit.Y(t), emit.Y(r), emit.Y(r))
		g.give(0, t)
	}
}

// loadLong loads the int32 that are nearest to the int64 at m.
func (g *generator) loadLong(x *value, m emit.Mem, r int) {
	v := g.v
	if !x.vector {
		v.I(emit.VPBROADCASTQ, m, emit.Z(r))
		v.I(emit.VPMOVSQD, emit.Z(r), emit.Y(r))
		v.I(emit.VPBROADCASTD, emit.X(r), emit.Z(r))
		return
	}
	next := m
	next.Disp += 64
	t := g.take(0)
	if g.masked {
		v.I(emit.KSHIFTRW, emit.Imm(8), emit.K(1), emit.K(2))
		v.I(emit.VMOVDQU64|emit.Zero, m, emit.K(1), emit.Z(r))
		v.I(emit.VMOVDQU64|emit.Zero, next, emit.K(2), emit.Z(t))
	} else {
		v.I(emit.VMOVDQU64, m, emit.Z(r))
		v.I(emit.VMOVDQU64, next, emit.Z(t))
	}
	v.I(emit.VPMOVSQD, emit.Z(r), emit.Y(r))
	v.I(emit.VPMOVSQD, emit.Z(t), emit.Y(t))
	v.I(emit.VINSERTI64X4, emit.Imm(1), emit.Y(t), emit.Z(r), emit.Z(r))
	g.give(0, t)
}

// reader is the first step that reads x.
func (g *generator) reader(x *value) int {
	return slices.IndexFunc(g.operands, func(ops []int) bool {
		return slices.ContainsFunc(ops, func(o int) bool { return &g.values[o] == x })
	})
}

func (g *generator) store(x *value, u, r int) {
	v := g.v
	if x.kind != kindWord && x.vector && !g.wide() {
		panic(culprit{x.def})
	}
	m := g.address(x, u)
	switch {
	case x.kind == kindWord && x.vector:
		v.Store(r, m, g.masked)
	case x.kind == kindWord:
		v.I(emit.VMOVSS, emit.X(r), m)
	case x.kind == kindHalf && !x.vector:
		v.I(emit.VMOVD, emit.X(r), regTemp)
		v.I(emit.MOVW, regTemp, m)
	case x.kind == kindHalf && g.masked:
		v.I(emit.VMOVDQU16, emit.Y(r), emit.K(1), m)
	case x.kind == kindHalf:
		v.I(emit.VMOVDQU16, emit.Y(r), m)
	case g.wide() && x.vector:
		t := g.take(0)
		v.I(emit.VMOVDQU8|emit.Zero, v.Words(0x01010101, 0x01010101, 0x01010101, 0x01010101), emit.K(r), emit.X(t))
		if g.masked {
			v.I(emit.VMOVDQU8, emit.X(t), emit.K(1), m)
		} else {
			v.I(emit.VMOVDQU8, emit.X(t), m)
		}
		g.give(0, t)
	default:
		if g.wide() {
			v.I(emit.KMOVW, emit.K(r), regTemp)
		} else {
			v.I(emit.VMOVD, emit.X(r), regTemp)
		}
		v.I(emit.ANDL, emit.Imm(1), regTemp)
		v.I(emit.MOVB, regTemp, m)
	}
}

func (g *generator) setBool(yes bool, r int) {
	switch {
	case !g.wide() && yes:
		g.v.Set(math.MaxUint32, r)
	case !g.wide():
		g.v.Set(0, r)
	case yes:
		g.v.I(emit.KXNORW, emit.K(r), emit.K(r), emit.K(r))
	default:
		g.v.I(emit.KXORW, emit.K(r), emit.K(r), emit.K(r))
	}
}

// Steps.

// step writes the step at a position, for vector u.
func (g *generator) step(pos, u int) {
	i := g.order[pos]
	s := &g.steps[i]
	x := &g.values[g.results[i]]
	if s.means.kind == meansReduce {
		g.accumulate(i, u)
		g.release(pos, u)
		return
	}
	if x.known && !x.stored {
		return
	}
	used := x.last > pos
	if g.lastHere != nil {
		used = g.lastHere[g.results[i]] > pos
	}

	if s.means.kind == meansCopy {
		r := g.get(g.operands[i][0], u)
		if x.stored {
			g.store(x, u, r)
		}
		if used && !x.known {
			d := g.take(g.class(x.kind))
			g.copy(x.kind, r, d)
			g.hold(i, u, d)
		}
		g.release(pos, u)
		return
	}
	d := g.compute(pos, i, u)
	if x.stored {
		g.store(x, u, d)
	}
	if !used {
		g.give(g.class(x.kind), d)
		return
	}
	g.hold(i, u, d)
}

// hold notes that the result of step i is in register d. A line value that comes
// when registers are short goes to memory.
func (g *generator) hold(i, u, d int) {
	v := g.results[i]
	x := &g.values[v]
	h := g.holder(v, u)
	if g.lastHere == nil {
		if !g.spare(x.kind) {
			if !x.stored {
				x.stored = true
				g.store(x, u, d)
			}
			g.give(g.class(x.kind), d)
			return
		}
		g.keep[h] = true
	}
	g.regs[h] = d
}

func (g *generator) copy(k valueKind, x, d int) {
	if g.class(k) == 1 {
		g.v.I(emit.KMOVW, emit.K(x), emit.K(d))
	} else {
		g.v.Op(emit.VMOVAPS, x, d)
	}
}

// foldable tells whether operand k of step i, a constant, can be read from memory by
// the instruction itself.
func (g *generator) foldable(i, k int) bool {
	m := &g.steps[i].means
	if m.kind != meansApply || m.from != dtype.Float32 {
		return false
	}
	switch m.op {
	case ir.Add, ir.Mul:
		return k == 1 || !g.values[g.operands[i][1]].known
	case ir.Sub, ir.Div, ir.Eq, ir.Ne, ir.Lt, ir.Le:
		return k == 1
	}
	return false
}

var instruction = map[ir.Op]emit.Op{ir.Add: emit.VADDPS, ir.Sub: emit.VSUBPS, ir.Mul: emit.VMULPS, ir.Div: emit.VDIVPS}

var comparison = map[ir.Op]int{ir.Eq: 0, ir.Ne: 4, ir.Lt: 1, ir.Le: 2}

// compute writes the computation of step i and returns the register of its result,
// which is free to be held or given back.
func (g *generator) compute(pos, i, u int) int {
	v := g.v
	m := &g.steps[i].means
	ops := g.operands[i]
	if m.kind == meansConvert {
		return g.convert(pos, i, u)
	}
	switch m.op {
	case ir.Select:
		c, x, y := g.get(ops[0], u), g.get(ops[1], u), g.get(ops[2], u)
		g.release(pos, u)
		d := g.take(0)
		if g.wide() {
			v.I(emit.VBLENDMPS, v.Reg(x), v.Reg(y), emit.K(c), v.Reg(d))
		} else {
			v.Op(emit.VBLENDVPS, c, x, y, d)
		}
		return d
	case ir.Add, ir.Sub, ir.Mul, ir.Div:
		op := instruction[m.op]
		for k := 1; k >= 0; k-- {
			if _, ok := g.regs[g.holder(ops[k], u)]; !ok && g.values[ops[k]].known && g.foldable(i, k) {
				x := g.get(ops[1-k], u)
				g.release(pos, u)
				d := g.take(0)
				v.OpC(op, g.values[ops[k]].bits, x, d)
				return d
			}
		}
		x, y := g.get(ops[0], u), g.get(ops[1], u)
		g.release(pos, u)
		d := g.take(0)
		v.Op(op, y, x, d)
		return d
	case ir.Max, ir.Min:
		x, y := g.get(ops[0], u), g.get(ops[1], u)
		d, t := g.take(0), g.take(0)
		if m.op == ir.Max {
			v.Max(x, y, d, t)
		} else {
			v.Min(x, y, d, t)
		}
		g.give(0, t)
		g.release(pos, u)
		return d
	case ir.Pow:
		x, y := g.get(ops[0], u), g.get(ops[1], u)
		d := g.take(0)
		temps := g.takeAll(simd.PowTemps)
		simd.Pow(v, d, x, y, temps)
		g.giveAll(temps)
		g.release(pos, u)
		return d
	case ir.Eq, ir.Ne, ir.Lt, ir.Le:
		x, y := g.get(ops[0], u), g.get(ops[1], u)
		g.release(pos, u)
		d := g.take(g.class(kindBool))
		op := emit.VCMPPS
		if m.from == dtype.Int64 {
			op = emit.VPCMPD
		}
		v.I(op, emit.Imm(comparison[m.op]), v.Reg(y), v.Reg(x), g.reg(kindBool, d))
		return d
	case ir.And, ir.Or, ir.Xor:
		ins := map[ir.Op][2]emit.Op{ir.And: {emit.VANDPS, emit.KANDW}, ir.Or: {emit.VORPS, emit.KORW}, ir.Xor: {emit.VXORPS, emit.KXORW}}[m.op]
		x, y := g.get(ops[0], u), g.get(ops[1], u)
		g.release(pos, u)
		d := g.take(g.class(kindBool))
		v.I(ins[g.class(kindBool)], g.reg(kindBool, y), g.reg(kindBool, x), g.reg(kindBool, d))
		return d
	case ir.Not:
		x := g.get(ops[0], u)
		g.release(pos, u)
		d := g.take(g.class(kindBool))
		if g.wide() {
			v.I(emit.KNOTW, emit.K(x), emit.K(d))
		} else {
			v.OpC(emit.VXORPS, math.MaxUint32, x, d)
		}
		return d
	}
	f, ok := simd.Unary[m.op]
	if !ok {
		panic(culprit{i})
	}
	x := g.get(ops[0], u)
	d := g.take(0)
	temps := g.takeAll(f.Temps)
	f.Emit(v, d, x, temps)
	g.giveAll(temps)
	g.release(pos, u)
	return d
}

// reg is register r for a value of a kind.
func (g *generator) reg(k valueKind, r int) emit.Reg {
	if g.class(k) == 1 {
		return emit.K(r)
	}
	return g.v.Reg(r)
}

func (g *generator) convert(pos, i, u int) int {
	v := g.v
	m := &g.steps[i].means
	x := g.get(g.operands[i][0], u)
	d := g.take(0)
	defer g.release(pos, u)
	switch {
	case m.from == dtype.Bool:
		if g.wide() {
			v.I(emit.VBROADCASTSS|emit.Zero, v.Word(math.Float32bits(1)), emit.K(x), v.Reg(d))
		} else {
			v.OpC(emit.VANDPS, math.Float32bits(1), x, d)
		}
		return d
	case m.from == dtype.Int32:
		v.Op(emit.VCVTDQ2PS, x, d)
		return d
	case m.from == m.to && m.to == dtype.BFloat16:
		g.roundBF16(x, d)
		return d
	case !g.wide():
		panic(culprit{i})
	case m.from == m.to:
		v.RoundF16(x, d)
		return d
	}
	switch {
	case m.from == dtype.BFloat16:
		v.I(emit.VPMOVZXWD, emit.Y(x), emit.Z(d))
		v.OpI(emit.VPSLLD, 16, d, d)
	case m.from == dtype.Float16:
		v.I(emit.VCVTPH2PS, emit.Y(x), emit.Z(d))
	case m.to == dtype.BFloat16:
		g.roundBF16(x, d)
		v.OpI(emit.VPSRLD, 16, d, d)
		v.I(emit.VPMOVDW, emit.Z(d), emit.Y(d))
	case m.to == dtype.Float16:
		v.I(emit.VCVTPS2PH, emit.Imm(0), emit.Z(x), emit.Y(d))
	}
	return d
}

func (g *generator) roundBF16(x, d int) {
	t, u := g.take(0), g.take(0)
	g.v.RoundBF16(x, d, t, u)
	g.give(0, t)
	g.give(0, u)
}

// Reductions.

func identity(op ir.Op) uint32 {
	switch op {
	case ir.ReduceMax:
		return math.Float32bits(float32(math.Inf(-1)))
	case ir.ReduceMin:
		return math.Float32bits(float32(math.Inf(1)))
	}
	return 0
}

var reducer = map[ir.Op]emit.Op{ir.ReduceSum: emit.VADDPS, ir.ReduceMax: emit.VMAXPS, ir.ReduceMin: emit.VMINPS}

// accumulate takes vector u of a reduction's operand in.
func (g *generator) accumulate(i, u int) {
	v := g.v
	op := g.steps[i].means.op
	x := g.get(g.operands[i][0], u)
	acc := g.sums[holder{g.results[i], u}]
	switch {
	case g.cols && op == ir.ReduceSum:
		v.Op(emit.VADDPS, x, acc, acc)
	case g.cols:
		g.extreme(op, acc, x, acc)
	case !g.masked:
		if op != ir.ReduceSum {
			g.see(i, x)
		}
		v.Op(reducer[op], x, acc, acc)
	case g.wide():
		if op != ir.ReduceSum {
			v.I(emit.VCMPPS, emit.Imm(unordered), v.Reg(x), v.Reg(x), emit.K(1), emit.K(2))
			seen := emit.K(g.seen[holder{g.results[i], 0}])
			v.I(emit.KORW, emit.K(2), seen, seen)
		}
		v.I(reducer[op], v.Reg(x), v.Reg(acc), emit.K(1), v.Reg(acc))
	default:
		t := g.take(0)
		v.Set(identity(op), t)
		v.Op(emit.VBLENDVPS, simd.MaskRegister, x, t, t)
		if op != ir.ReduceSum {
			g.see(i, t)
		}
		v.Op(reducer[op], t, acc, acc)
		g.give(0, t)
	}
}

// extreme is d = the maximum or minimum of x and y; d may be x.
func (g *generator) extreme(op ir.Op, x, y, d int) {
	r, t := g.take(0), g.take(0)
	if op == ir.ReduceMax {
		g.v.Max(x, y, r, t)
	} else {
		g.v.Min(x, y, r, t)
	}
	g.v.Op(emit.VMOVAPS, r, d)
	g.give(0, r)
	g.give(0, t)
}

// see notes the lanes of x that are NaN.
func (g *generator) see(i, x int) {
	v := g.v
	seen := g.seen[holder{g.results[i], 0}]
	if g.wide() {
		v.I(emit.VCMPPS, emit.Imm(unordered), v.Reg(x), v.Reg(x), emit.K(2))
		v.I(emit.KORW, emit.K(2), emit.K(seen), emit.K(seen))
		return
	}
	t := g.take(0)
	v.OpI(emit.VCMPPS, unordered, x, x, t)
	v.Op(emit.VORPS, t, seen, seen)
	g.give(0, t)
}

// rowTotal puts the accumulators of a row together, in the order of package vec's
// routine, and adds them to what the place held before.
func (g *generator) rowTotal(i int) {
	v, res := g.v, g.results[i]
	op := g.steps[i].means.op
	var acc [reduceUnroll]int
	for u := range acc {
		acc[u] = g.sums[holder{res, u}]
		delete(g.sums, holder{res, u})
	}
	ins := reducer[op]
	v.Op(ins, acc[1], acc[0], acc[0])
	v.Op(ins, acc[3], acc[2], acc[2])
	v.Op(ins, acc[2], acc[0], acc[0])
	v.Fold(func(x, y, d int) { v.Op(ins, y, x, d) }, acc[0], acc[1])
	for _, r := range acc[1:] {
		g.give(0, r)
	}
	b, done := g.before(i, 0)
	if op != ir.ReduceSum {
		g.see(i, b)
	}
	v.Op(ins, acc[0], b, acc[0])
	done()
	if op != ir.ReduceSum {
		seen := g.seen[holder{res, 0}]
		delete(g.seen, holder{res, 0})
		ok := v.NewLabel()
		if g.wide() {
			v.I(emit.KORTESTW, emit.K(seen), emit.K(seen))
		} else {
			v.I(emit.VTESTPS, emit.Y(seen), emit.Y(seen))
		}
		v.I(emit.JEQ, ok)
		v.Set(quietNaN, acc[0])
		v.Bind(ok)
		g.give(g.class(kindBool), seen)
	}
	g.reduced(i, 0, acc[0])
}

// before is the register of what the place of reduction i held before, until done.
func (g *generator) before(i, u int) (r int, done func()) {
	h := g.holder(g.operands[i][1], u)
	_, held := g.regs[h]
	r = g.get(h.value, u)
	return r, func() {
		if !held {
			g.drop(h)
		}
	}
}

// columnTotal adds the sum of a column to what the place held before.
func (g *generator) columnTotal(i, u int) {
	v, res := g.v, g.results[i]
	op := g.steps[i].means.op
	acc := g.sums[holder{res, u}]
	delete(g.sums, holder{res, u})
	b, done := g.before(i, u)
	if op == ir.ReduceSum {
		v.Op(emit.VADDPS, acc, b, acc)
	} else {
		g.extreme(op, b, acc, acc)
	}
	done()
	g.reduced(i, u, acc)
}

// reduced keeps the result of a reduction, in register r.
func (g *generator) reduced(i, u, r int) {
	x := &g.values[g.results[i]]
	if x.stored {
		g.store(x, u, r)
	}
	if slices.ContainsFunc(g.operands, func(ops []int) bool { return slices.Contains(ops, g.results[i]) }) {
		g.hold(i, u, r)
	} else {
		g.give(0, r)
	}
}
