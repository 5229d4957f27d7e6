package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/gemm"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// The composites attention and attention_grad. The scores exist only in tiles, one
// per worker, of a block of keys by a block of queries. They are held transposed, a
// query in every column: the softmax then runs down the columns without ever
// combining lanes, and of the operands only the block of queries has to be transposed
// for the products, while keys and values are read where they lie.
//
// Going forward, a block of queries meets one block of keys after the other. What has
// been added up is made smaller when a larger score comes along (Milakov and
// Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al.,
// "FlashAttention", 2022). Backward, the weights are computed again from the scores and
// the logarithms of their sums. There one worker does a whole head, the last queries
// first: these see the most keys, so that the gradients of all keys that have one
// begin there, and the order of the additions is fixed.

// Blocks of queries and of keys have at most so many.
const (
	queryBlock = 64
	keyBlock   = 256
)

// attention is what both directions have in common.
type attention[T float32 | float64] struct {
	d              *Device
	t              dtype.DType
	wide           bool
	product        gemm.Type
	size           int // of an element
	causal         bool
	b, h           int // batches, heads
	tt, s          int // queries, keys
	dk, dv         int // elements of a key, of a value
	qn, kn         int // blocks of queries, of keys
	pitch          int // of a tile: the most queries in a block, in whole vectors
	q, k, v, mask  *kernel.Operand
	at             int // bytes of a worker's memory that are given away
	queries, tile  int // places in it: scaled queries, transposed; scores
	maskTile, line int // a block of the mask, transposed; vectors over the queries

	scale T
	never []T // −∞ for each query of a block
	one   T

	mul, scaleBy, add, addTo, log, scaled vec.Func
	workers                               []attentionWorker
	slots                                 []unsafe.Pointer
}

// attentionWorker is what a worker calls the products and vector routines with.
type attentionWorker struct {
	product gemm.Problem
	vec.Args
	scratch *gemm.Scratch
	memory  unsafe.Pointer
	_       [128]byte
}

// attention compiles either composite.
func (d *Device) attention(l *kernel.Library, s scratch) (routine, error) {
	region := l.Attr.(*ir.Region)
	a, ok := region.Attr.(ir.Attention)
	operands, backward := 3, false
	switch region.Name {
	case "attention":
	case "attention_grad":
		operands, backward = 6, true
	default:
		return routine{}, fmt.Errorf("no routine for the composite %s", region.Name)
	}
	if !ok || len(l.In) < operands || len(l.In) > operands+1 {
		return routine{}, fmt.Errorf("%s of %d operands and attribute %T", region.Name, len(l.In), region.Attr)
	}
	// Results that nothing reads are written all the same.
	unread := 0
	out := append([]kernel.Operand(nil), l.Out...)
	for i := range out {
		if o := &out[i]; o.Slot < 0 {
			o.Slot, o.Offset = s.slot, (s.base+unread)/o.DType.Size()
			unread += align(o.Elements() * o.DType.Size())
		}
	}
	var run func(slots []unsafe.Pointer)
	switch t := l.In[0].DType; {
	case t == dtype.Float32 && backward:
		run = newAttentionGrad[float32](d, a, l.In, out)
	case t == dtype.Float32:
		run = newAttention[float32](d, a, l.In, out)
	case t == dtype.Float64 && backward:
		run = newAttentionGrad[float64](d, a, l.In, out)
	case t == dtype.Float64:
		run = newAttention[float64](d, a, l.In, out)
	default:
		return routine{}, fmt.Errorf("no attention of %v", t)
	}
	return routine{workspace: unread, run: run}, nil
}

// common takes the operands q, k, v and the mask, if there is one.
func common[T float32 | float64](d *Device, at ir.Attention, in []kernel.Operand) attention[T] {
	a := attention[T]{
		d: d, t: in[0].DType, wide: in[0].DType == dtype.Float64, product: productTypes[in[0].DType], size: in[0].DType.Size(), causal: at.Causal,
		b: in[0].Shape[0], h: in[0].Shape[1], tt: in[0].Shape[2], s: in[1].Shape[2], dk: in[0].Shape[3], dv: in[2].Shape[3],
		q: &in[0], k: &in[1], v: &in[2],
		scale: T(at.Scale), one: 1,
		mul: vec.Binary(ir.Mul, in[0].DType, 0), scaleBy: vec.Binary(ir.Mul, in[0].DType, vec.ScalarB),
		add: vec.Binary(ir.Add, in[0].DType, 0), addTo: vec.Binary(ir.Add, in[0].DType, vec.ScalarB),
		log: vec.Unary(ir.Log, in[0].DType), scaled: vec.Scale(in[0].DType),
		workers: make([]attentionWorker, d.pool.Workers()),
	}
	a.qn, a.kn = (a.tt+queryBlock-1)/queryBlock, (a.s+keyBlock-1)/keyBlock
	a.pitch = ((a.tt+a.qn-1)/a.qn + 15) &^ 15
	a.never = make([]T, a.pitch)
	for i := range a.never {
		a.never[i] = T(math.Inf(-1))
	}
	keys := (a.s + a.kn - 1) / a.kn
	a.queries = a.take(a.dk*a.pitch + gemm.Slack/4)
	a.tile = a.take(keys * a.pitch)
	a.line = a.take(4 * a.pitch)
	if len(in) > 3 {
		a.mask = &in[3]
		a.maskTile = a.take(keys * a.pitch)
	}
	return a
}

// take gives a place for n elements in a worker's memory.
func (a *attention[T]) take(n int) int {
	at := a.at
	a.at += align(n * a.size)
	return at
}

// begin makes a worker ready to compute.
func (a *attention[T]) begin(worker int) *attentionWorker {
	w := &a.workers[worker]
	w.memory, w.scratch = a.d.memory(worker, a.at), a.d.gemm.Worker(worker)
	return w
}

// part is the range of part i of n that make up total.
func part(i, n, total int) (lo, hi int) { return i * total / n, (i + 1) * total / n }

// row is where row i of a head of an operand lies.
func (a *attention[T]) row(o *kernel.Operand, head, i int) unsafe.Pointer {
	n := head/a.h*o.Stride[0] + head%a.h*o.Stride[1] + i*o.Stride[2]
	return unsafe.Add(address(a.slots, o), n*a.size)
}

// multiply is c (+)= x·y, of m×k and k×n matrices, none of which is empty.
func (a *attention[T]) multiply(w *attentionWorker, m, n, k int, x, y gemm.Mat, c unsafe.Pointer, ldc int, accumulate bool) {
	p := &w.product
	p.Type, p.M, p.N, p.K, p.A, p.B, p.C, p.LDC, p.Accumulate = a.product, m, n, k, x, y, c, ldc, accumulate
	p.InPlace = y.P == unsafe.Add(w.memory, a.queries) // the only one with room behind it
	p.RunSerial(w.scratch)
}

// transpose copies n rows of operand o, transposed.
func (a *attention[T]) transpose(dst, src unsafe.Pointer, o *kernel.Operand, n int) {
	if width := o.Shape[3]; width > 0 {
		gemm.Transpose(a.wide, dst, src, width, o.Stride[2], n, a.pitch)
	}
}

// over calls f on rows × n elements with the given distances between rows: dst from x
// and y, in elements.
func (a *attention[T]) over(w *attentionWorker, f vec.Func, rows, n int, dst unsafe.Pointer, dstRow int, x unsafe.Pointer, xRow int, y unsafe.Pointer, yRow int) {
	w.Dst, w.A, w.B, w.Rows, w.N = dst, x, y, rows, n
	w.DstRow, w.ARow, w.BRow = dstRow*a.size, xRow*a.size, yRow*a.size
	w.Scalar = 0
	f(&w.Args)
}

// overRows is over where y is one element for each row.
func (a *attention[T]) overRows(w *attentionWorker, f vec.Func, rows, n int, dst unsafe.Pointer, dstRow int, x unsafe.Pointer, xRow int, y unsafe.Pointer, yRow int) {
	w.Dst, w.A, w.B, w.Rows, w.N = dst, x, y, rows, n
	w.DstRow, w.ARow, w.BRow = dstRow*a.size, xRow*a.size, yRow*a.size
	w.Scalar = vec.ScalarB
	f(&w.Args)
}

// query transposes and scales the queries q0 … q1.
func (a *attention[T]) query(w *attentionWorker, head, q0, q1 int) {
	p := unsafe.Add(w.memory, a.queries)
	a.transpose(p, a.row(a.q, head, q0), a.q, q1-q0)
	a.overRows(w, a.scaleBy, a.dk, q1-q0, p, a.pitch, p, a.pitch, unsafe.Pointer(&a.scale), 0)
}

// scores computes the tile of keys k0 … k1 and queries q0 … q1.
func (a *attention[T]) scores(w *attentionWorker, head, q0, q1, k0, k1 int) {
	tile := unsafe.Add(w.memory, a.tile)
	a.across(w, a.k, head, q0, q1, k0, k1, unsafe.Add(w.memory, a.queries), a.dk, tile)
	if a.mask != nil {
		a.masked(w, head, q0, q1, k0, k1)
	}
	if a.causal {
		for k := max(k0, q0+1); k < k1; k++ {
			copy(unsafe.Slice((*T)(unsafe.Add(tile, (k-k0)*a.pitch*a.size)), k-q0), a.never)
		}
	}
}

// across computes the products of keys or values k0 … k1 with the columns of a
// transposed block of queries or cotangents, as far as they see each other.
func (a *attention[T]) across(w *attentionWorker, o *kernel.Operand, head, q0, q1, k0, k1 int, columns unsafe.Pointer, width int, tile unsafe.Pointer) {
	for _, s := range a.ranges(q0, q1, k0, k1) {
		if s.lo < s.hi {
			a.multiply(w, s.hi-s.lo, q1-q0-s.from, width, gemm.Mat{P: a.row(o, head, s.lo), RS: o.Stride[2], CS: 1},
				gemm.Mat{P: unsafe.Add(columns, s.from*a.size), RS: a.pitch, CS: 1},
				unsafe.Add(tile, ((s.lo-k0)*a.pitch+s.from)*a.size), a.pitch, false)
		}
	}
}

// gather adds up keys or values k0 … k1 for each query, weighted by a tile.
func (a *attention[T]) gather(w *attentionWorker, tile unsafe.Pointer, o *kernel.Operand, head, q0, q1, k0, k1 int, dst unsafe.Pointer, row int, accumulate bool) {
	for _, s := range a.ranges(q0, q1, k0, k1) {
		if s.lo < s.hi {
			a.multiply(w, q1-q0-s.from, o.Shape[3], s.hi-s.lo,
				gemm.Mat{P: unsafe.Add(tile, ((s.lo-k0)*a.pitch+s.from)*a.size), RS: 1, CS: a.pitch},
				gemm.Mat{P: a.row(o, head, s.lo), RS: o.Stride[2], CS: 1},
				unsafe.Add(dst, s.from*row*a.size), row, accumulate || s.from > 0)
		}
	}
}

// spread adds up the rows of a block of queries or cotangents for each of the keys
// k0 … k1, weighted by a tile.
func (a *attention[T]) spread(w *attentionWorker, tile unsafe.Pointer, o *kernel.Operand, head, q0, q1, k0, k1 int, dst *kernel.Operand, accumulate bool) {
	for _, s := range a.ranges(q0, q1, k0, k1) {
		if s.lo < s.hi {
			a.multiply(w, s.hi-s.lo, o.Shape[3], q1-q0-s.from,
				gemm.Mat{P: unsafe.Add(tile, ((s.lo-k0)*a.pitch+s.from)*a.size), RS: a.pitch, CS: 1},
				gemm.Mat{P: a.row(o, head, q0+s.from), RS: o.Stride[2], CS: 1},
				a.row(dst, head, s.lo), dst.Stride[2], accumulate)
		}
	}
}

// masked applies the mask to a tile.
func (a *attention[T]) masked(w *attentionWorker, head, q0, q1, k0, k1 int) {
	n, c, m := k1-k0, q1-q0, a.mask
	tile, copied := unsafe.Add(w.memory, a.tile), unsafe.Add(w.memory, a.maskTile)
	size := m.DType.Size()
	var step [4]int // in bytes; an axis of one element repeats it
	for i := range step {
		if m.Shape[i] > 1 {
			step[i] = m.Stride[i] * size
		}
	}
	src := unsafe.Add(address(a.slots, m), head/a.h*step[0]+head%a.h*step[1]+q0*step[2]+k0*step[3])
	switch {
	case m.DType == dtype.Bool && step[2] == 0:
		for k := range n {
			if !*(*bool)(unsafe.Add(src, k*step[3])) {
				copy(unsafe.Slice((*T)(unsafe.Add(tile, k*a.pitch*a.size)), c), a.never)
			}
		}
	case step[2] == 0:
		a.overRows(w, a.addTo, n, c, tile, a.pitch, tile, a.pitch, src, step[3]/size)
	default:
		w.Args = vec.Args{Dst: copied, DstRow: a.pitch * size, DstCol: size, A: src, ARow: step[3], ACol: step[2], N: c, Rows: n}
		vec.Move(size)(&w.Args)
		if m.DType != dtype.Bool {
			a.over(w, a.add, n, c, tile, a.pitch, tile, a.pitch, copied, a.pitch)
			break
		}
		w.Args = vec.Args{
			Dst: tile, DstRow: a.pitch * a.size, A: copied, ARow: a.pitch, B: tile, BRow: a.pitch * a.size,
			C: unsafe.Pointer(&a.never[0]), Scalar: vec.ScalarC, N: c, Rows: n,
		}
		vec.Select(a.size, vec.ScalarC)(&w.Args)
	}
}

// keyRange is keys lo … hi, which concern the queries of a block from the from-th on.
type keyRange struct{ lo, hi, from int }

// ranges cuts keys k0 … k1 where causality makes half of the queries see none of the
// rest.
func (a *attention[T]) ranges(q0, q1, k0, k1 int) [2]keyRange {
	half, cut := ((q1-q0)/2+8)&^15, k1
	if a.causal {
		cut = min(k1, max(k0, q0+half))
	}
	return [2]keyRange{{k0, cut, 0}, {cut, k1, half}}
}

// seen is how many of the keys before k1 any query before q1 sees.
func (a *attention[T]) seen(k1, q1 int) int {
	if a.causal {
		return min(k1, q1)
	}
	return k1
}

// newAttention gives [B, T, H, E] and the logarithms of the sums [B, H, T].
func newAttention[T float32 | float64](d *Device, at ir.Attention, in, out []kernel.Operand) func(slots []unsafe.Pointer) {
	a := common[T](d, at, in)
	softmax := vec.SoftmaxColumns(a.t)
	y := byHead(&out[0], a.h)
	item := func(w *attentionWorker, head, q0, q1 int) {
		c := q1 - q0
		vector := func(i int) []T { return unsafe.Slice((*T)(unsafe.Add(w.memory, a.line+i*a.pitch*a.size)), c) }
		top, sum, shrink := vector(0), vector(1), vector(2)
		copy(top, a.never)
		clear(sum)
		dst, row := a.row(&y, head, q0), y.Stride[2]
		a.query(w, head, q0, q1)
		for j := range a.kn {
			k0, k1 := part(j, a.kn, a.s)
			k1 = a.seen(k1, q1)
			if k0 >= k1 {
				break
			}
			a.scores(w, head, q0, q1, k0, k1)
			tile := unsafe.Add(w.memory, a.tile)
			w.Dst, w.DstRow, w.N, w.Rows = tile, a.pitch*a.size, c, k1-k0
			w.A, w.B, w.C = unsafe.Pointer(&top[0]), unsafe.Pointer(&sum[0]), unsafe.Pointer(&shrink[0])
			softmax(&w.Args)
			if j > 0 {
				a.overRows(w, a.scaleBy, c, a.dv, dst, row, dst, row, unsafe.Pointer(&shrink[0]), 1)
			}
			a.gather(w, tile, a.v, head, q0, q1, k0, k1, dst, row, j > 0)
		}
		lse := unsafe.Slice((*T)(unsafe.Add(address(a.slots, &out[1]), (head*a.tt+q0)*a.size)), c)
		w.Dst, w.A, w.N, w.Rows = unsafe.Pointer(&lse[0]), unsafe.Pointer(&sum[0]), c, 1
		a.log(&w.Args)
		for i, s := range sum {
			lse[i] += top[i]
			shrink[i] = 1 / s
			if s == 0 { // there was nothing but −∞
				lse[i], shrink[i] = 0, 1
				if a.mask == nil {
					lse[i], shrink[i] = T(math.NaN()), T(math.NaN())
				}
			}
		}
		a.overRows(w, a.scaleBy, c, a.dv, dst, row, dst, row, unsafe.Pointer(&shrink[0]), 1)
	}
	items := a.b * a.h * a.qn
	const work = 1 << 20 // multiplications of a chunk
	group := max(1, work/max(1, a.pitch*a.s*(a.dk+a.dv)))
	chunk := func(worker, n int) {
		w := a.begin(worker)
		for i := n * group; i < min((n+1)*group, items); i++ {
			q0, q1 := part(i%a.qn, a.qn, a.tt)
			item(w, i/a.qn, q0, q1)
		}
	}
	return func(slots []unsafe.Pointer) {
		a.slots = slots
		d.pool.Run((items+group-1)/group, chunk)
	}
}

// byHead sees a result [B, T, H, E] as [B, H, T, E].
func byHead(o *kernel.Operand, h int) kernel.Operand {
	e := o.Shape[3]
	return kernel.Operand{Slot: o.Slot, DType: o.DType, Offset: o.Offset,
		Shape: []int{o.Shape[0], h, o.Shape[1], e}, Stride: []int{o.Shape[1] * h * e, e, h * e, 1}}
}

// newAttentionGrad gives the cotangents of q, k and v: as [B, T, H, D] each, or
// together as [B, T, 3·H·D].
func newAttentionGrad[T float32 | float64](d *Device, at ir.Attention, in, out []kernel.Operand) func(slots []unsafe.Pointer) {
	n := len(in) - 3
	a := common[T](d, at, in[:n])
	y := kernel.Operand{Slot: in[n].Slot, DType: in[n].DType, Offset: in[n].Offset}
	dy := y
	dy.Slot, dy.Offset = in[n+2].Slot, in[n+2].Offset
	turn := func(o *kernel.Operand, from *kernel.Operand) { // [B, T, H, E] to [B, H, T, E]
		s, st := from.Shape, from.Stride
		o.Shape, o.Stride = []int{s[0], s[2], s[1], s[3]}, []int{st[0], st[2], st[1], st[3]}
	}
	turn(&y, &in[n])
	turn(&dy, &in[n+2])
	lse := &in[n+1]
	var dq, dk, dv kernel.Operand
	if len(out) == 1 {
		width := a.h * a.dk
		packed := func(i int) kernel.Operand {
			return kernel.Operand{Slot: out[0].Slot, DType: a.t, Offset: out[0].Offset + i*width,
				Shape: a.q.Shape, Stride: []int{a.tt * 3 * width, a.dk, 3 * width, 1}}
		}
		dq, dk, dv = packed(0), packed(1), packed(2)
	} else {
		dq, dk, dv = byHead(&out[0], a.h), byHead(&out[1], a.h), byHead(&out[2], a.h)
	}
	keys := (a.s + a.kn - 1) / a.kn
	dyTurned := a.take(a.dv*a.pitch + gemm.Slack/4)
	dTile := a.take(keys * a.pitch)
	product := a.take(a.pitch * a.dv)
	rowSum := vec.RowReduce(ir.ReduceSum, a.t)
	gradient := vec.SoftmaxGradColumns(a.t)

	// tiles goes through blocks of queries and of keys and computes the cotangents of
	// the queries, or those of the keys and values, or both.
	tiles := func(w *attentionWorker, head, i0, i1, j0, j1 int, queries, keys bool) {
		tile, ds := unsafe.Add(w.memory, a.tile), unsafe.Add(w.memory, dTile)
		delta := unsafe.Slice((*T)(unsafe.Add(w.memory, a.line)), a.pitch)
		for i := i1 - 1; i >= i0; i-- {
			q0, q1 := part(i, a.qn, a.tt)
			c, more := q1-q0, i < a.qn-1
			a.query(w, head, q0, q1)
			turned, p := unsafe.Add(w.memory, dyTurned), unsafe.Add(w.memory, product)
			a.transpose(turned, a.row(&dy, head, q0), &dy, c)
			a.over(w, a.mul, c, a.dv, p, a.dv, a.row(&dy, head, q0), dy.Stride[2], a.row(&y, head, q0), y.Stride[2])
			clear(delta)
			a.over(w, rowSum, c, a.dv, unsafe.Pointer(&delta[0]), 1, p, a.dv, nil, 0)
			for j := j0; j < j1; j++ {
				k0, k1 := part(j, a.kn, a.s)
				k1 = a.seen(k1, q1)
				if k0 >= k1 {
					break
				}
				a.scores(w, head, q0, q1, k0, k1)
				a.across(w, a.v, head, q0, q1, k0, k1, turned, a.dv, ds)
				w.Dst, w.DstRow, w.A, w.ARow, w.N, w.Rows = tile, a.pitch*a.size, ds, a.pitch*a.size, c, k1-k0
				w.B = unsafe.Add(address(a.slots, lse), (head/a.h*lse.Stride[0]+head%a.h*lse.Stride[1]+q0*lse.Stride[2])*a.size)
				w.C = unsafe.Pointer(&delta[0])
				gradient(&w.Args)
				if keys {
					a.spread(w, tile, &dy, head, q0, q1, k0, k1, &dv, more)
					a.spread(w, ds, a.q, head, q0, q1, k0, k1, &dk, more)
				}
				if queries {
					a.gather(w, ds, a.k, head, q0, q1, k0, k1, a.row(&dq, head, q0), dq.Stride[2], j > 0)
				}
			}
			if queries {
				a.finish(w, &dq, head, q0, q1, &a.scale)
			}
		}
		for j := j0; keys && j < j1; j++ {
			k0, k1 := part(j, a.kn, a.s)
			for k := max(k0, a.seen(k1, a.tt)); k < k1; k++ { // keys that no query sees
				clear(unsafe.Slice((*T)(a.row(&dk, head, k)), a.dk))
				clear(unsafe.Slice((*T)(a.row(&dv, head, k)), a.dv))
			}
			a.finish(w, &dk, head, k0, k1, &a.scale)
			a.finish(w, &dv, head, k0, k1, &a.one)
		}
	}
	// A head takes five products. Where there are too few heads to give every worker
	// one, blocks of queries and blocks of keys go apart, which takes seven but gives
	// the same bits.
	heads, workers := a.b*a.h, d.pool.Workers()
	chunks := heads
	chunk := func(worker, n int) { tiles(a.begin(worker), n, 0, a.qn, 0, a.kn, true, true) }
	if rounds := (heads + workers - 1) / workers; a.qn > 1 && 7*heads < 5*workers*rounds {
		chunks = heads * (a.qn + a.kn)
		chunk = func(worker, n int) {
			w, head, i := a.begin(worker), n%heads, n/heads
			if i < a.qn {
				tiles(w, head, i, i+1, 0, a.kn, true, false)
			} else {
				tiles(w, head, 0, a.qn, i-a.qn, i-a.qn+1, false, true)
			}
		}
	}
	return func(slots []unsafe.Pointer) {
		a.slots = slots
		d.pool.Run(chunks, chunk)
	}
}

// finish scales rows of a result and adds 0, so that no zero is negative.
func (a *attention[T]) finish(w *attentionWorker, o *kernel.Operand, head, lo, hi int, scale *T) {
	p, row := a.row(o, head, lo), o.Stride[2]
	a.overRows(w, a.scaled, hi-lo, o.Shape[3], p, row, p, row, unsafe.Pointer(scale), 0)
}
