// Package gemm multiplies matrices on the CPU.
//
// A Problem is C (+)= A·B with strided operands. It is cut three times. Rows are
// taken in blocks and K in chunks, so that a block's chunk of A stays in the second
// level cache; columns are taken in panels, whose part of B stays in the first.
// Inside, a micro-kernel computes a tile of C in registers: 14×32 with AVX-512,
// 6×16 with AVX2 and FMA, 8×12 with NEON, 4×4 in Go.
//
// Operands may be bfloat16 or float16; products and sums are then float32, and so is
// C. They are packed as float32 and multiplied by the kernels for that, except where
// the processor multiplies bfloat16 faster with VDPBF16PS, which multiplies pairs of adjacent k and adds
// both products: A is then read in place and B is packed to rows of pairs. That
// instruction takes numbers below the smallest normal float32, 2⁻¹²⁶, as zero and
// makes them zero.
//
// Operands are read in place where that is as fast as a copy. Row-major A needs
// no packing at all, unless its rows lie a multiple of 4 KiB apart and would fall
// on each other in the cache, nor does transposed A unless every step of k leads to
// another page; B is packed when it is large, transposed or awkwardly strided.
//
// The chunks of K depend on K alone, and every element of C is one chain of
// multiply-adds per chunk, in order, whatever tile it falls in. So an element has
// the same bits at any number of workers, whichever worker computes it, and
// whether it is computed in one Problem or in one that is cut out of it, unless
// these say that they are Whole. Different instruction sets round differently.
package gemm

import (
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
)

//go:generate go run ./gen

// Mat is a strided matrix: element (i, j) lies i·RS + j·CS elements from P.
type Mat struct {
	P      unsafe.Pointer
	RS, CS int
}

// Type is the element type of a product's operands. C has it too, but for BFloat16
// and Float16, where C is float32.
type Type uint8

const (
	Float32 Type = iota
	Float64
	BFloat16
	Float16
)

// Problem is a product C (+)= A·B of M×K and K×N matrices. A Problem may be
// changed and run again; it must not run twice at a time.
type Problem struct {
	Type    Type
	M, N, K int
	A, B    Mat
	// Rows, if not nil, gives the place of each of B's K rows in bytes from B.P,
	// instead of B.RS. The columns are adjacent. Not for
	// BFloat16 and Float16.
	Rows []int
	// InPlace says that B is laid out well enough to be read where it is: its
	// columns are adjacent, and Slack bytes behind the last row may be read too.
	// It says nothing where B has to be converted.
	InPlace    bool
	C          unsafe.Pointer
	LDC        int // elements between the rows of C; its columns are adjacent
	Accumulate bool
	// Whole says that this is not a part of a larger product. Then the order of
	// additions may be chosen by its shape; otherwise it depends on K alone.
	Whole bool
	// Done, if not nil, is called when rows r0 … r1 of columns c0 … c1 have their
	// final value, by the worker that has just computed them.
	Done func(worker, r0, r1, c0, c1 int)

	plan
	stream
	packed         unsafe.Pointer          // all of B in panels, see Stationary; B is not read
	task, streamed func(worker, chunk int) // regionTask and streamTask, bound once
}

// page is the size of a page of memory.
const page = 4096

// Slack is how far kernels read beyond the last column of a B that is InPlace.
const Slack = 128

// kcSplit is the longest K that is not cut, kcChunk the longest chunk otherwise, in
// steps of a kernel.
const (
	kcSplit = 384
	kcChunk = 256
)

// plan says how a Problem is cut.
type plan struct {
	fam          *family
	kc           int // length of a chunk of K
	tiles        int // row tiles, of nearly equal height
	panels       int // column panels
	packA, packB bool
	colA         bool // consecutive rows of A are adjacent
	a, b         Mat  // the operands, their strides made canonical

	ctx    *Ctx
	gm, gn int // grid of tasks
}

func (p *Problem) prepare() {
	f := [...]*family{Float32: current.f32, Float64: current.f64, BFloat16: current.bf16, Float16: current.f16}[p.Type]
	p.fam = f
	p.kc = p.K
	if p.K > kcSplit*f.pair {
		n := (p.K + kcChunk*f.pair - 1) / (kcChunk * f.pair)
		p.kc = ((p.K+n-1)/n + 16*f.pair - 1) / (16 * f.pair) * (16 * f.pair)
	}
	p.tiles = (p.M + f.mr - 1) / f.mr
	p.panels = (p.N + f.nr - 1) / f.nr

	// A stride over an axis of one element means nothing; choose the one that
	// makes the matrix simplest.
	p.a, p.b = p.A, p.B
	if p.K == 1 {
		p.a.CS, p.b.RS = 1, p.N
	}
	if p.M == 1 && p.a.CS != 1 {
		p.a.RS = 1
	}
	if p.N == 1 {
		p.b.CS = 1
	}
	p.colA = p.a.CS != 1 && p.a.RS == 1
	p.packA = f.converts() || p.a.CS != 1 && (p.a.RS != 1 || f.pair > 1) ||
		p.N > 2*f.nr && (!p.colA && p.M > f.mr && f.collides(p.a.RS) || p.colA && p.K > 64 && max(p.a.CS, -p.a.CS)*f.in >= page)
	p.packB = p.packed == nil && (f.in != f.size || p.Rows == nil && !p.InPlace && (p.b.CS != 1 ||
		p.M > 4*f.mr && (p.N*p.K*f.size > 96<<10 || f.collides(p.b.RS))))
}

// tile is the first row of tile t.
func (p *Problem) tile(t int) int {
	q, r := p.M/p.tiles, p.M%p.tiles
	return t*q + min(t, r)
}

// elem is the place of element n of C or of packed memory, and in that of element
// n of A or B.
func (p *Problem) elem(base unsafe.Pointer, n int) unsafe.Pointer {
	return unsafe.Add(base, n*p.fam.size)
}

func (p *Problem) in(base unsafe.Pointer, n int) unsafe.Pointer {
	return unsafe.Add(base, n*p.fam.in)
}

// empty handles the products that have nothing to multiply.
func (p *Problem) empty(worker int) bool {
	if p.M <= 0 || p.N <= 0 {
		return true
	}
	if p.K > 0 {
		return false
	}
	if !p.Accumulate {
		for i := range p.M {
			clear(unsafe.Slice((*byte)(p.elem(p.C, i*p.LDC)), p.N*p.fam.size))
		}
	}
	if p.Done != nil {
		p.Done(worker, 0, p.M, 0, p.N)
	}
	return true
}

// RunSerial computes the product on the calling goroutine with the scratch memory
// of one worker.
func (p *Problem) RunSerial(s *Scratch) {
	p.prepare()
	switch {
	case p.empty(s.id):
	case p.streams():
		p.runStream(s, nil)
	default:
		p.region(s, 0, p.tiles, 0, p.panels)
	}
}

// parallelFrom is the number of multiply-adds from which workers are called in.
const parallelFrom = 1 << 20

// Run computes the product on all workers.
func (p *Problem) Run(c *Ctx) {
	p.prepare()
	workers := c.pool.Workers()
	switch {
	case p.empty(0):
		return
	case p.streams():
		p.runStream(c.Worker(0), c)
		return
	case workers == 1 || p.M*p.N*p.K < parallelFrom:
		p.region(c.Worker(0), 0, p.tiles, 0, p.panels)
		return
	}
	if p.task == nil {
		p.task = p.regionTask
	}
	p.ctx = c
	p.grid(workers)
	c.pool.Run(p.gm*p.gn, p.task)
}

// grid chooses the number of tasks along the rows and columns of C: a few for each
// worker, and so that as little as possible of A and B is read, and packed, by more
// than one task.
func (p *Problem) grid(workers int) {
	want := 2 * workers
	if p.M*p.N*p.K > 1<<30 {
		want = 4 * workers
	}
	cost := func(packed bool) int {
		if packed {
			return 4
		}
		return 1
	}
	a, b := cost(p.packA)*p.M, cost(p.packB)*p.N
	p.gm, p.gn = 1, 1
	best := -1
	for gm := 1; gm <= min(want, p.tiles); gm++ {
		gn := min((want+gm-1)/gm, p.panels)
		tasks := min(want, gm*gn)
		// Too few tasks are worse than any that are read twice.
		if c := (want-tasks)<<32 + a*gn + b*gm; best < 0 || c < best {
			p.gm, p.gn, best = gm, gn, c
		}
	}
}

func (p *Problem) regionTask(worker, chunk int) {
	im, in := chunk%p.gm, chunk/p.gm
	p.region(p.ctx.Worker(worker), im*p.tiles/p.gm, (im+1)*p.tiles/p.gm, in*p.panels/p.gn, (in+1)*p.panels/p.gn)
}

// keepB is how many bytes of packed panels are kept from one block of rows to the
// next, if they are all there are.
const keepB = 512 << 10

// region computes row tiles t0 … t1 of panels p0 … p1, block by block of rows. A
// block's part of A stays in the second level cache while panel after panel of B,
// packed if need be, is multiplied with it from the first.
func (p *Problem) region(s *Scratch, t0, t1, p0, p1 int) {
	f := p.fam
	per := max(1, f.mc/f.mr)
	blocks := (t1 - t0 + per - 1) / per
	held := 1
	keep := p.packB && p.kc == p.K && blocks > 1 && p.panel(p.K)*(p1-p0) <= keepB
	if keep {
		held = p1 - p0
	}
	if p.packB {
		s.b.need(p.panel(p.kc) * held)
	}
	bound := func(i int) int { return t0 + min(i, blocks)*(t1-t0)/blocks }
	for i := range blocks {
		for pc := 0; pc < p.K; pc += p.kc {
			s.side = p.part(pc+p.kc, bound(i), bound(i+1))
			if pc+p.kc >= p.K {
				s.side = p.part(0, bound(i+1), bound(i+2))
			}
			p.block(s, pc, bound(i), bound(i+1), p0, p1, keep, i > 0)
		}
	}
}

// part is the memory of row tiles t0 … t1 of the chunk of A that begins at pc.
func (p *Problem) part(pc, t0, t1 int) side {
	if t0 == t1 {
		return side{}
	}
	r0, rows, kk := p.tile(t0), p.tile(t1)-p.tile(t0), min(p.kc, p.K-pc)
	d := side{at: uintptr(p.in(p.a.P, r0*p.a.RS+pc*p.a.CS)), step: p.a.RS * p.fam.in, rows: rows, strips: (kk*p.fam.in + fetched - 1) / fetched}
	switch {
	case p.colA:
		d.step, d.rows, d.strips = p.a.CS*p.fam.in, kk, (rows*p.fam.in+fetched-1)/fetched
	case p.a.CS != 1:
		return side{}
	}
	return d
}

// side is memory that kernels fetch on the side, for it is needed next: strips of
// fetched bytes, one after the other, each of rows that are step apart.
type side struct {
	at           uintptr
	step         int
	rows, strips int
	row, strip   int // reached
}

// fetched is how many bytes of a row a kernel fetches at most.
const fetched = 128

// use gives a call what it fetches, turns rows in a tile, and makes it no longer than
// it takes to reach the end of a strip.
func (d *side) use(a *args, turns int) {
	if d.strip == d.strips {
		return
	}
	a.next, a.nextStep = d.at+uintptr(d.strip*fetched+d.row*d.step), d.step
	a.tiles = min(a.tiles, (d.rows-d.row+turns-1)/turns)
	if d.row += a.tiles * turns; d.row >= d.rows {
		d.row, d.strip = 0, d.strip+1
	}
}

// steps is the number of steps of a kernel over kk values of k, and panel the bytes
// of a packed panel of so many.
func (p *Problem) steps(kk int) int { return (kk + p.fam.pair - 1) / p.fam.pair }
func (p *Problem) panel(kk int) int { return p.steps(kk) * p.fam.nr * p.fam.size }

const (
	callSteps = 8192      // a call's steps, so that it ends within some 50 µs
	doneBytes = 256 << 10 // of C that Done is told of at a time, still cached
)

// block adds the part of the chunk of K that begins at pc to row tiles t0 … t1 of
// panels p0 … p1. If keep is set each packed panel has its own place, and if packed
// is set too it is there already.
func (p *Problem) block(s *Scratch, pc, t0, t1, p0, p1 int, keep, packed bool) {
	f, a := p.fam, &s.args
	kk := min(p.kc, p.K-pc)
	steps := p.steps(kk)
	src := p.in(p.a.P, pc*p.a.CS)
	r0, r1 := p.tile(t0), p.tile(t1)
	if p.packA {
		if p.colA {
			s.a.need((t1 - t0) * steps * f.wide * f.size)
		} else {
			s.a.need((r1 - r0) * p.packedRow(kk))
		}
		p.packRows(s, src, kk, t0, t1)
	}
	// Where the rows of B lie, in a packed panel and elsewhere.
	panel := s.packed.multiples(f.nr*f.size, steps)
	placed := panel
	switch {
	case p.Rows != nil:
		placed = unsafe.Pointer(&p.Rows[pc])
	case p.b.CS == 1:
		placed = s.placed.multiples(p.b.RS*f.in, steps)
	}
	a.k, a.odd = steps, 0
	if !p.colA && f.pair > 1 {
		a.k, a.odd = kk/2, kk%2
	}
	a.ldc = p.LDC * f.size
	a.acc = 0
	if p.Accumulate || pc > 0 {
		a.acc = 1
	}
	last := pc+kk == p.K
	done := p0 // first panel that Done does not know of
	for j := p0; j < p1; j++ {
		a.nr = min(f.nr, p.N-j*f.nr)
		a.mask = 1<<a.nr - 1
		var from unsafe.Pointer // the panel in B, if that is read
		if p.packed == nil {
			from = p.in(p.b.P, pc*p.b.RS+j*f.nr*p.b.CS)
		}
		var copied unsafe.Pointer // where the first tile is to pack B
		switch {
		case p.packB:
			a.b, a.tab = s.b.p, panel
			if keep {
				a.b = unsafe.Add(a.b, (j-p0)*p.panel(kk))
			}
			switch {
			case keep && packed:
			case f.copying != nil && p.b.CS == 1 && a.nr == f.nr:
				copied = a.b
			default:
				f.packB(a.b, from, p.b, kk, a.nr)
			}
		case p.packed != nil:
			a.b, a.tab = unsafe.Add(p.packed, j*p.panel(p.K)+p.panel(pc)), panel
		case a.nr < f.nr && !p.InPlace && !f.exact:
			a.b, a.tab = p.packEdge(s, pc, kk, j, a.nr), panel
		case p.Rows != nil:
			a.b, a.tab = p.elem(p.b.P, j*f.nr), placed
		default:
			a.b, a.tab = from, placed
		}
		// What is fetched on the side first: the next panel, if not packed yet.
		var next side
		if p.Rows == nil && p.packed == nil && p.b.CS == 1 && !(keep && packed) {
			switch {
			case j+1 < p1:
				next = side{at: uintptr(from) + uintptr(f.nr*f.in), step: p.b.RS * f.in, rows: kk, strips: 1}
			case !last:
				next = side{at: uintptr(p.in(p.b.P, (pc+kk)*p.b.RS+p0*f.nr)), step: p.b.RS * f.in, rows: min(p.kc, p.K-pc-kk), strips: 1}
			}
		}
		for t := t0; t < t1; {
			r := p.tile(t)
			a.mr = p.tile(t+1) - r
			a.tiles = 1
			for t+a.tiles < t1 && (a.tiles+1)*steps <= callSteps && p.tile(t+a.tiles+1)-p.tile(t+a.tiles) == a.mr {
				a.tiles++
			}
			a.c = p.elem(p.C, r*p.LDC+j*f.nr)
			a.cstep = a.mr * a.ldc
			a.next, a.nextStep = uintptr(a.c), 0
			switch turns := steps/4 - a.mr; {
			case copied != nil:
				a.tiles = 1
			case turns <= 0:
			case next.strip < next.strips:
				next.use(a, turns)
			default:
				s.side.use(a, turns)
			}
			end := t + a.tiles
			switch {
			case !p.packA:
				a.a, a.rsa, a.csa = p.in(src, r*p.a.RS), p.a.RS*f.in, p.a.CS*f.in
				a.astep = a.mr * a.rsa
			case p.colA:
				a.rsa, a.csa = f.size, f.wide*f.size
				a.astep = steps * a.csa
				a.a = unsafe.Add(s.a.p, (t-t0)*a.astep)
			default:
				a.rsa, a.csa = p.packedRow(kk), f.size/f.pair
				a.a = unsafe.Add(s.a.p, (r-r0)*a.rsa)
				a.astep = a.mr * a.rsa
			}
			switch {
			case copied != nil:
				a.b, a.tab, a.next = from, placed, uintptr(copied)
				f.copying(a, p.colA)
				a.b, a.tab, copied = copied, panel, nil
			case f.masked || a.nr == f.nr:
				f.kernel(a, p.colA)
			default:
				p.edge(s)
			}
			t = end
		}
		if last && p.Done != nil && (j+1 == p1 || (j+2-done)*f.nr*(r1-r0)*f.size > doneBytes) {
			p.Done(s.id, r0, r1, done*f.nr, min((j+1)*f.nr, p.N))
			done = j + 1
		}
	}
}

// packEdge copies a chunk of panel j, which has only nr columns and is the last, to
// scratch memory, so that whole vectors of it can be read.
func (p *Problem) packEdge(s *Scratch, pc, kk, j, nr int) unsafe.Pointer {
	f := p.fam
	s.b.need(p.panel(kk))
	if p.Rows == nil {
		f.packB(s.b.p, p.elem(p.b.P, pc*p.b.RS+j*f.nr), p.b, kk, nr)
		return s.b.p
	}
	for k, off := range p.Rows[pc : pc+kk] {
		src := unsafe.Add(p.elem(p.b.P, j*f.nr), off)
		copy(unsafe.Slice((*byte)(p.elem(s.b.p, k*f.nr)), nr*f.size), unsafe.Slice((*byte)(src), nr*f.size))
	}
	return s.b.p
}

// edge runs a kernel that can only write whole vectors on tiles of fewer columns,
// by way of a tile in scratch memory.
func (p *Problem) edge(s *Scratch) {
	f, a := p.fam, &s.args
	first, c, ldc, tiles, acc := a.a, a.c, a.ldc, a.tiles, a.acc
	a.ldc, a.acc = f.nr*f.size, 0
	for i := range tiles {
		a.a, a.c, a.tiles = unsafe.Add(first, i*a.astep), unsafe.Pointer(&s.tile), 1
		f.kernel(a, p.colA)
		f.merge(unsafe.Add(c, i*a.cstep), a.c, a.mr, a.nr, ldc, acc != 0)
	}
	a.ldc, a.acc = ldc, acc
}

// packedRow is the bytes from a packed row of A to the next. A cache line behind
// each keeps them from lying a power of two apart.
func (p *Problem) packedRow(kk int) int { return p.steps(kk)*p.fam.size + 64 }

// packRows copies row tiles t0 … t1 of kk columns of A to scratch memory: as rows,
// or tile by tile with the rows of a tile adjacent.
func (p *Problem) packRows(s *Scratch, src unsafe.Pointer, kk, t0, t1 int) {
	f, r0 := p.fam, p.tile(t0)
	if !p.colA {
		for r := r0; r < p.tile(t1); r++ {
			f.packRow(unsafe.Add(s.a.p, (r-r0)*p.packedRow(kk)), p.in(src, r*p.a.RS), kk, p.a.CS)
		}
		return
	}
	// A few columns for all tiles, then the next: tiles share cache lines of A.
	const few = 32
	for k := 0; k < kk; k += few {
		for t := t0; t < t1; t++ {
			r := p.tile(t)
			mr := p.tile(t+1) - r
			f.packCol(p.elem(s.a.p, ((t-t0)*p.steps(kk)+k/f.pair)*f.wide), p.in(src, r+k*p.a.CS), min(few, kk-k), p.a.CS, mr)
		}
	}
}

// Ctx is what products on one pool share: the pool and scratch memory, whose size
// is bounded by the blocking and does not grow with the matrices. Only one Run
// may use a Ctx at a time.
type Ctx struct {
	pool    *pool.Pool
	workers []Scratch
}

// NewCtx makes the context of a pool.
func NewCtx(p *pool.Pool) *Ctx {
	c := &Ctx{pool: p, workers: make([]Scratch, p.Workers())}
	for i := range c.workers {
		c.workers[i].id = i
	}
	return c
}

// Worker is the scratch memory of worker i of the pool.
func (c *Ctx) Worker(i int) *Scratch { return &c.workers[i] }

// Scratch is the memory that one worker packs operands into, and its registers
// towards the assembly.
type Scratch struct {
	id     int
	a, b   buffer
	tile   [64]float64 // one tile of a kernel without masks
	packed offsets
	placed offsets
	side   side // of the current block
	args   args
	stream streamArgs
	_      [128]byte // workers' scratch must not share cache lines
}

// offsets are places of the rows of B, the first n multiples of by.
type offsets struct {
	tab   [kcSplit]int
	by, n int
}

// multiples returns a table of n multiples of by.
func (o *offsets) multiples(by, n int) unsafe.Pointer {
	if o.by != by {
		o.by, o.n = by, 0
	}
	for ; o.n < n; o.n++ {
		o.tab[o.n] = o.n * by
	}
	return unsafe.Pointer(&o.tab)
}

// buffer is memory aligned to cache lines that grows to what was needed most.
type buffer struct {
	p   unsafe.Pointer
	mem []byte
}

func (b *buffer) need(bytes int) {
	if len(b.mem) >= bytes+64 {
		return
	}
	b.mem = make([]byte, bytes+64)
	off := -int(uintptr(unsafe.Pointer(&b.mem[0]))) & 63
	b.p = unsafe.Pointer(&b.mem[off])
}

// args is what the micro-kernels read. Strides are in bytes; gen/main.go knows the
// order of the fields up to acc.
type args struct {
	k     int
	a, b  unsafe.Pointer
	tab   unsafe.Pointer // offsets of the rows of B
	c     unsafe.Pointer
	rsa   int // between rows of A
	csa   int // between steps of k in A
	ldc   int
	tiles int // row tiles to do, one below the other
	astep int // from one to the next in A
	cstep int // … and in C
	mask  uint64
	acc   int // 1: add to C
	odd   int // 1: a row kernel for pairs does half a step more

	// Rows of memory, nextStep apart, that are fetched meanwhile, the kernel adding
	// to next as it goes. It need not be a place that exists. For a kernel that
	// copies, the place of the copy.
	next     uintptr
	nextStep int
	at       uintptr // for the kernel: the current tile of A
	rest     int     // for the kernel: turns of the loop to come

	mr, nr int // rows and columns of a tile
}
