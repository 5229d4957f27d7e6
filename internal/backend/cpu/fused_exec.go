package cpu

import (
	"sync/atomic"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/native"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// ref is where a value is at the moment and how far its rows are apart, in bytes.
type ref struct {
	p   unsafe.Pointer
	row int
}

// frame is what a worker needs to run tiles: scratch memory for their values and
// the current place of each. Frames outlive kernels, so that all kernels share
// the memory, which stays in the worker's own cache.
type frame struct {
	refs    []ref
	offs    []int // by argument: the element at the first point of the tile
	start   []int // the same for the outer tile
	scratch []byte
	args    vec.Args
	native  nativeArgs
	spilled []uint64 // the pointers of native code
	prog    *program
	slots   []unsafe.Pointer
	part    *kernel.Part
	r, c    int  // extents of the tile
	empty   bool // there are no inner points
	box     walk
}

// frames holds a frame for every worker number. Taking one empties its place, so
// that two goroutines that go by the same number never share it; the second makes
// another.
var frames [256]struct {
	atomic.Pointer[frame]
	_ [120]byte
}

func takeFrame(worker int) *frame {
	if f := frames[worker%len(frames)].Swap(nil); f != nil {
		return f
	}
	return new(frame)
}

func putFrame(worker int, f *frame) { frames[worker%len(frames)].Store(f) }

// enter prepares the frame for tiles of w: places of constants and scratch, and
// the values that never vary.
func (fr *frame) enter(w *walk, slots []unsafe.Pointer) {
	p := w.prog
	fr.prog, fr.part, fr.slots = p, w.part, slots
	fr.r, fr.c = 1, 1
	fr.empty = w.chunks == 0
	if len(fr.scratch) < p.scratch+64 {
		fr.scratch = make([]byte, p.scratch+64)
	}
	base := unsafe.Pointer(unsafe.SliceData(fr.scratch))
	base = unsafe.Add(base, int(-uintptr(base)&63))
	if cap(fr.refs) < len(p.places) {
		fr.refs = make([]ref, len(p.places))
	}
	fr.refs = fr.refs[:len(p.places)]
	if p.code != nil && len(fr.spilled) < p.code.pointers {
		fr.spilled = make([]uint64, p.code.pointers)
	}
	fr.native.refs, fr.native.pointers = unsafe.Pointer(unsafe.SliceData(fr.refs)), unsafe.Pointer(unsafe.SliceData(fr.spilled))
	for i := range p.places {
		pl := &p.places[i]
		r := &fr.refs[i]
		r.row = pl.row
		switch pl.kind {
		case inConsts:
			r.p = unsafe.Pointer(&p.consts[pl.offset])
		case inScratch:
			r.p = unsafe.Add(base, max(0, pl.offset)) // values in registers have no offset
			if pl.span == alongRow {
				r.row = pl.width
			}
		}
	}
	fr.offs = append(fr.offs[:0], w.base...)
	fr.start = append(fr.start[:0], w.base...)
	if len(p.pre) > 0 {
		fr.place()
		fr.exec(p.pre)
	}
	fr.r, fr.c = 0, 0 // so that the first tile sets the row lengths
}

// leave forgets the slots: a frame must not keep memory alive.
func (fr *frame) leave() {
	clear(fr.refs)
	fr.args = vec.Args{}
	fr.prog, fr.part, fr.slots = nil, nil, nil
	fr.box.prog, fr.box.part = nil, nil
}

// tile runs an outer tile with all its inner points.
func (fr *frame) tile(w *walk, t int) {
	fr.outerTile(w, t)
	p := w.prog
	if len(p.passes) == 0 {
		fr.chunk(w, 0)
		fr.exec(p.body)
		return
	}
	for i := range p.passes {
		fr.exec(p.passes[i].outer)
		for c := range w.chunks {
			fr.chunk(w, c)
			fr.exec(p.passes[i].inner)
		}
	}
	fr.exec(p.final)
}

// split runs unit u of one region of a part whose inner points are cut: one pass
// over one range of them, leaving partial results, or what follows the passes. What
// the earlier passes found is put together from their partial results, always in
// the same order.
func (fr *frame) split(w *walk, u, region int, pp *partPlan) {
	p := w.prog
	t, s := u/pp.splits, u%pp.splits
	end := region == len(p.passes)
	if end {
		t, s = u, 0
	}
	fr.outerTile(w, t)
	for n := range region {
		fr.exec(p.passes[n].outer)
		for _, k := range p.passes[n].sums {
			fr.combine(w, pp, t, k)
		}
	}
	if end {
		fr.exec(p.final)
		return
	}
	fr.exec(p.passes[region].outer)
	for c := w.chunks * s / pp.splits; c < w.chunks*(s+1)/pp.splits; c++ {
		fr.chunk(w, c)
		fr.exec(p.passes[region].inner)
	}
	for _, k := range p.passes[region].sums {
		red := &p.reductions[k]
		n := fr.extent(red.span) * red.width
		copy(unsafe.Slice((*byte)(w.partial(pp, t, s, k)), n), unsafe.Slice((*byte)(fr.refs[red.ref].p), n))
	}
}

// combine adds the partial results of reduction k to its accumulator.
func (fr *frame) combine(w *walk, pp *partPlan, t, k int) {
	red := &w.prog.reductions[k]
	for s := range pp.splits {
		acc := fr.refs[red.ref].p
		fr.args = vec.Args{Dst: acc, A: acc, B: w.partial(pp, t, s, k), N: fr.extent(red.span), Rows: 1}
		red.combine(&fr.args)
	}
}

// extent is the number of elements of a vector along s.
func (fr *frame) extent(s span) int {
	switch s {
	case alongRow:
		return fr.r
	case alongCol:
		return fr.c
	}
	return 1
}

// partial is the memory for range s's result of reduction k in tile t.
func (w *walk) partial(pp *partPlan, t, s, k int) unsafe.Pointer {
	i := ((t*pp.splits+s)*len(w.prog.reductions) + k) * w.outerPoints() * 8
	return unsafe.Pointer(&pp.sums[i])
}

// outerPoints is the number of outer points of a tile that reduces.
func (w *walk) outerPoints() int {
	if w.prog.key.mode == modeCols {
		return w.tileC
	}
	return w.tileR
}

// outerTile goes to the first point of tile t.
func (fr *frame) outerTile(w *walk, t int) {
	copy(fr.start, w.base)
	r, c := fr.r, fr.c
	switch w.prog.key.mode {
	case modeLoop:
		t, c = fr.step(fr.start, t, w.colTiles, w.tileC, w.colN, w.prog.key.col)
		t, r = fr.step(fr.start, t, w.rowTiles, w.tileR, w.rowN, w.prog.key.row)
	case modeRows:
		t, r = fr.step(fr.start, t, w.rowTiles, w.tileR, w.rowN, w.prog.key.row)
	case modeCols:
		t, c = fr.step(fr.start, t, w.colTiles, w.tileC, w.colN, w.prog.key.col)
	}
	fr.odometer(fr.start, t, w.outer)
	copy(fr.offs, fr.start)
	fr.size(r, c)
	if len(w.prog.passes) > 0 {
		fr.place()
	}
}

// chunk goes to the first inner point of chunk c of the outer tile.
func (fr *frame) chunk(w *walk, t int) {
	copy(fr.offs, fr.start)
	r, c := fr.r, fr.c
	switch w.prog.key.mode {
	case modeRows:
		t, c = fr.step(fr.offs, t, w.colTiles, w.tileC, w.colN, w.prog.key.col)
	case modeCols:
		t, r = fr.step(fr.offs, t, w.rowTiles, w.tileR, w.rowN, w.prog.key.row)
	}
	fr.odometer(fr.offs, t, w.inner)
	fr.size(r, c)
	fr.place()
}

// step takes the number of a piece of an axis off t, moves to it and tells its
// extent.
func (fr *frame) step(offs []int, t, pieces, piece, n int, axis int8) (rest, extent int) {
	if pieces == 1 {
		return t, n
	}
	i := t % pieces
	at := i * piece
	for a := range offs {
		offs[a] += at * fr.part.Args[a].Stride[axis]
	}
	return t / pieces, min(piece, n-at)
}

// odometer moves to point t of the axes gs, the last running fastest.
func (fr *frame) odometer(offs []int, t int, gs []group) {
	for i := len(gs) - 1; i >= 0; i-- {
		g := gs[i]
		if at := t % g.n; at != 0 {
			for a := range offs {
				offs[a] += at * fr.part.Args[a].Stride[g.axis]
			}
		}
		t /= g.n
	}
}

// size sets the tile's extents. Whole tiles in scratch have no gaps between their
// rows, so these are as long as the tile is wide.
func (fr *frame) size(r, c int) {
	fr.r = r
	if c == fr.c {
		return
	}
	fr.c = c
	for _, i := range fr.prog.packed {
		fr.refs[i].row = c * fr.prog.places[i].width
	}
}

// place finds the slots' elements at the first point of the tile.
func (fr *frame) place() {
	for _, i := range fr.prog.inSlot {
		pl := &fr.prog.places[i]
		if pl.inner && fr.empty {
			continue // there is no such element to point at
		}
		slot := fr.slots[fr.part.Args[pl.arg].Slot]
		fr.refs[i].p = unsafe.Add(slot, fr.offs[pl.arg]*pl.width)
	}
}

// exec runs steps on the current tile. This is the interpreter's inner loop: some
// ten nanoseconds a step, against some hundreds that its routine takes.
func (fr *frame) exec(steps []step) {
	g := &fr.args
	refs := fr.refs
	for i := range steps {
		s := &steps[i]
		if s.kind == stepNative {
			fr.native.rows, fr.native.cols = fr.r, fr.c
			native.Call(fr.prog.code.block.Entry(s.entry), unsafe.Pointer(&fr.native))
			continue
		}
		d, a, b, c := &refs[s.dst], &refs[s.x[0]], &refs[s.x[1]], &refs[s.x[2]]
		g.Dst, g.A, g.B, g.C = d.p, a.p, b.p, c.p
		g.DstRow, g.ARow, g.BRow, g.CRow = d.row, a.row, b.row, c.row
		g.Scalar = s.scalar
		switch s.over {
		case full:
			g.N, g.Rows = fr.c, fr.r
		case alongCol:
			g.N, g.Rows = fr.c, 1
		case alongRow:
			g.N, g.Rows = fr.r, 1
		default:
			g.N, g.Rows = 1, 1
		}
		switch s.kind {
		case stepSettle:
			if d.p == a.p {
				continue
			}
			fallthrough
		case stepCall:
			// Where no operand has gaps or repeats, the rows are one vector.
			if n := g.N; g.Rows > 1 && d.row == n*int(s.width[0]) && a.row == n*int(s.width[1]) &&
				b.row == n*int(s.width[2]) && c.row == n*int(s.width[3]) {
				g.N, g.Rows = n*g.Rows, 1
			}
			g.Key = s.key
		case stepMove:
			g.DstCol, g.ACol = s.dCol, s.aCol
		case stepIndex:
			g.Base = int64(fr.offs[s.arg])
			g.ARow, g.ACol = s.aRow, s.aCol
		case stepPick:
			if *(*bool)(a.p) {
				*d = *b
			} else {
				*d = *c
			}
			continue
		}
		s.fn(g)
	}
}
