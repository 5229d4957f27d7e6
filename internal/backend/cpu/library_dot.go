package cpu

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/gemm"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// batches walks the batch axes of a product.
type batches struct {
	shape  []int
	stride [2][]int // of both operands
	n      int
}

// offsets are the places of the operands' matrices of batch i.
func (b *batches) offsets(i int) (left, right int) {
	for a := len(b.shape) - 1; a >= 0; a-- {
		at := i % b.shape[a]
		i /= b.shape[a]
		left += at * b.stride[0][a]
		right += at * b.stride[1][a]
	}
	return
}

// boxed tells whether an epilogue can be run box by box over a result of this
// shape.
func boxed(l *kernel.Library, after *fusedKernel) bool {
	return after != nil && slices.Equal(l.Epilogue.Parts[0].Outer, l.Out[0].Shape)
}

// productTypes are the element types whose products package gemm computes.
var productTypes = map[dtype.DType]gemm.Type{dtype.Float32: gemm.Float32, dtype.Float64: gemm.Float64, dtype.BFloat16: gemm.BFloat16, dtype.Float16: gemm.Float16}

// dot is the matrix product [batch…, M, K] × [batch…, K, N]. The product of operands
// of a half type is computed in float32; a result of such a type is rounded from it.
func (d *Device) dot(l *kernel.Library, space scratch, after *fusedKernel) (routine, error) {
	a, b, c := &l.In[0], &l.In[1], &l.Out[0]
	r := len(c.Shape) - 2
	if r < 0 || len(a.Shape) != r+2 || len(b.Shape) != r+2 {
		return routine{}, fmt.Errorf("operands %v, %v and result %v are not in normal form", a.Shape, b.Shape, c.Shape)
	}
	bt := &batches{shape: c.Shape[:r], n: product(c.Shape[:r])}
	bt.stride[0], bt.stride[1] = a.Stride[:r], b.Stride[:r]
	m, n, k := c.Shape[r], c.Shape[r+1], a.Shape[r+1]
	am := gemm.Mat{RS: a.Stride[r], CS: a.Stride[r+1]}
	bm := gemm.Mat{RS: b.Stride[r], CS: b.Stride[r+1]}

	// A right operand that all batches share makes them rows of one product, if
	// the left operand's rows continue from batch to batch.
	mergeable := true
	for i, rows := r-1, m*am.RS; i >= 0; i-- {
		mergeable = mergeable && (bt.shape[i] == 1 || bt.stride[1][i] == 0 && bt.stride[0][i] == rows)
		rows *= bt.shape[i]
	}
	if mergeable && r > 0 {
		m, bt.n = m*bt.n, 1
		bt.shape = nil
	}

	typ, ok := productTypes[a.DType]
	if !ok {
		return d.intDot(a, b, c, bt, m, n, k, am, bm)
	}
	out := routine{epilogue: boxed(l, after) && (len(bt.shape) > 0 || r == 0)}
	size, outSize := a.DType.Size(), c.DType.Size()
	narrow := isHalf(c.DType) && bt.n*m*n > 0
	if narrow {
		outSize = 4
		out.workspace = align(bt.n * m * n * outSize)
	}
	template := gemm.Problem{Type: typ, Whole: true, M: m, N: n, K: k, A: am, B: bm, LDC: n}
	// A single row times the transpose of a matrix that lies row by row: exchange
	// the operands, and what would have to be transposed is read as it lies. The
	// bits are the same.
	exchanged := m == 1 && bm.RS == 1 && bm.CS != 1
	if exchanged {
		template.M, template.N, template.LDC = n, 1, 1
		template.A, template.B = gemm.Mat{RS: bm.CS, CS: 1}, gemm.Mat{RS: am.CS, CS: 1}
	}
	var pa, pb, pc, rounded unsafe.Pointer
	var slots []unsafe.Pointer

	// bind points a problem at batch i.
	bind := func(p *gemm.Problem, i int) {
		oa, ob := bt.offsets(i)
		p.A.P, p.B.P = unsafe.Add(pa, oa*size), unsafe.Add(pb, ob*size)
		if exchanged {
			p.A.P, p.B.P = p.B.P, p.A.P
		}
		p.C = unsafe.Add(pc, i*m*n*outSize)
	}
	batch := make([]int, d.pool.Workers()) // that each worker is at
	round := func(worker, r0, r1, c0, c1 int) {}
	if narrow {
		round = d.rounder(c.DType, &rounded, &pc, batch, m, n)
	}
	if narrow || out.epilogue {
		boxes := make([]box, d.pool.Workers())
		for i := range boxes {
			boxes[i] = newBox(r + 2)
		}
		template.Done = func(worker, r0, r1, c0, c1 int) {
			if exchanged {
				r0, r1, c0, c1 = c0, c1, r0, r1
			}
			round(worker, r0, r1, c0, c1)
			if !out.epilogue {
				return
			}
			x := &boxes[worker]
			for a, i := r-1, batch[worker]; a >= 0; a-- {
				x.lo[a] = i % bt.shape[a]
				x.hi[a] = x.lo[a] + 1
				i /= bt.shape[a]
			}
			x.lo[r], x.hi[r], x.lo[r+1], x.hi[r+1] = r0, r1, c0, c1
			after.runBox(worker, slots, x.lo, x.hi)
		}
	}

	// Many matrices, or small ones: one worker each. Few large ones: all workers
	// on each.
	problems := make([]gemm.Problem, d.pool.Workers())
	for i := range problems {
		problems[i] = template
	}
	const large = 1 << 22
	together := bt.n == 1 || m*n*k >= large && bt.n < 4*len(problems)
	group := max(1, min(bt.n, (1<<18)/max(1, m*n*k)))
	chunks := (bt.n + group - 1) / group
	serial := func(worker, chunk int) {
		p := &problems[worker]
		for i := chunk * group; i < min((chunk+1)*group, bt.n); i++ {
			bind(p, i)
			batch[worker] = i
			p.RunSerial(d.gemm.Worker(worker))
		}
	}
	out.run = func(s []unsafe.Pointer) {
		slots = s
		pa, pb, pc = address(s, a), address(s, b), address(s, c)
		if narrow {
			pc, rounded = space.at(s), pc
		}
		if !together {
			d.pool.Run(chunks, serial)
			return
		}
		for i := range bt.n {
			bind(&problems[0], i)
			for w := range batch {
				batch[w] = i
			}
			problems[0].Run(d.gemm)
		}
	}
	return out, nil
}

// rounder returns a function that rounds a box of an m×n float32 matrix, the one of
// the batch that the worker is at, to a half type elsewhere.
func (d *Device) rounder(to dtype.DType, dst, src *unsafe.Pointer, batch []int, m, n int) func(worker, r0, r1, c0, c1 int) {
	convert := vec.Convert(dtype.Float32, to)
	args := make([]struct {
		vec.Args
		_ [128]byte // one per worker
	}, d.pool.Workers())
	return func(worker, r0, r1, c0, c1 int) {
		g := &args[worker].Args
		g.N, g.ARow, g.DstRow = c1-c0, n*4, n*2
		for r := r0; r < r1; r += g.Rows {
			at := (batch[worker]*m+r)*n + c0
			g.Rows = min(r1-r, max(1, chunkWork/g.N))
			g.Dst, g.A = unsafe.Add(*dst, at*2), unsafe.Add(*src, at*4)
			convert(g)
		}
	}
}

// box is a range of points, kept from call to call.
type box struct {
	lo, hi []int
	_      [128]byte // one per worker
}

func newBox(rank int) box { return box{lo: make([]int, rank), hi: make([]int, rank)} }

// intDot is the product of integers, and of bools, whose sum is "or".
func (d *Device) intDot(a, b, c *kernel.Operand, bt *batches, m, n, k int, am, bm gemm.Mat) (routine, error) {
	var rows func(r0, r1, n, k int, a, b gemm.Mat, c unsafe.Pointer, ldc int)
	switch a.DType {
	case dtype.Bool:
		rows = boolProduct
	case dtype.Uint8:
		rows = gemm.IntProduct[uint8]
	case dtype.Int8:
		rows = gemm.IntProduct[int8]
	case dtype.Int32:
		rows = gemm.IntProduct[int32]
	case dtype.Int64:
		rows = gemm.IntProduct[int64]
	default:
		return routine{}, fmt.Errorf("no matrix product of %v", a.DType)
	}
	size := a.DType.Size()
	var pa, pb, pc unsafe.Pointer
	loop := newEach(bt.n*m, n*k, func(lo, hi int) {
		for lo < hi {
			i, r0 := lo/m, lo%m
			r1 := min(m, r0+hi-lo)
			oa, ob := bt.offsets(i)
			x, y := am, bm
			x.P, y.P = unsafe.Add(pa, oa*size), unsafe.Add(pb, ob*size)
			rows(r0, r1, n, k, x, y, unsafe.Add(pc, i*m*n*size), n)
			lo += r1 - r0
		}
	})
	return routine{run: func(s []unsafe.Pointer) {
		pa, pb, pc = address(s, a), address(s, b), address(s, c)
		loop.run(d)
	}}, nil
}

// boolProduct tells for rows r0 … r1 whether any pair along k is true.
func boolProduct(r0, r1, n, k int, a, b gemm.Mat, c unsafe.Pointer, ldc int) {
	for i := r0; i < r1; i++ {
		d := unsafe.Slice((*bool)(unsafe.Add(c, i*ldc)), n)
		clear(d)
		for l := range k {
			if !*(*bool)(unsafe.Add(a.P, i*a.RS+l*a.CS)) {
				continue
			}
			for j := range d {
				d[j] = d[j] || *(*bool)(unsafe.Add(b.P, l*b.RS+j*b.CS))
			}
		}
	}
}
