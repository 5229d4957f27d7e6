package cpu

// Library operations. Each has a function that turns a kernel.Library into a
// routine: the bytes of scratch memory it needs and the closure that computes it.
// The closures read their addresses from variables that run sets, so that the
// functions given to the pool are made once.
//
//	library_dot.go     DotGeneral
//	library_conv.go    Conv
//	library_window.go  ReduceWindow…
//	library_index.go   Gather, Scatter, ScatterAdd, DynamicSlice, DynamicUpdateSlice
//	library_axis.go    ArgMax, ArgMin, CumSum, Sort
//	library_scan.go    Scan
//	library_attention.go  attention and its gradient

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// routine is a compiled library operation.
type routine struct {
	workspace int // bytes of scratch memory
	run       func(slots []unsafe.Pointer)
	epilogue  bool // run has done the epilogue itself
}

// libraryStep is a routine with what follows it.
type libraryStep struct {
	routine func(slots []unsafe.Pointer)
	after   *fusedKernel
}

func (s *libraryStep) run(slots []unsafe.Pointer) {
	s.routine(slots)
	if s.after != nil {
		s.after.run(slots)
	}
}

func (d *Device) compileLibrary(l *kernel.Library, slots []kernel.Slot) (runner, error) {
	var after *fusedKernel
	if l.Epilogue != nil {
		var err error
		if after, err = compileFused(l.Epilogue, slots, d.pool); err != nil {
			return nil, err
		}
	}
	r, err := d.routine(l, 0, after)
	if err != nil {
		return nil, err
	}
	if r.workspace > 0 && l.Scratch < 0 {
		return nil, fmt.Errorf("%v needs %d bytes of scratch memory and has none", l.Op, r.workspace)
	}
	if r.epilogue {
		after = nil
	}
	return &libraryStep{r.run, after}, nil
}

// Workspace is the number of bytes of scratch memory that a library kernel needs.
func (d *Device) Workspace(l *kernel.Library) int {
	if l.Op == ir.Scan {
		return d.scanWorkspace(l)
	}
	r, err := d.routine(l, 0, nil)
	if err != nil {
		return 0 // Compile reports it
	}
	return r.workspace
}

// routine compiles l with its scratch memory beginning at byte offset base of the
// scratch slot. after is the compiled epilogue, which the routine may take over.
func (d *Device) routine(l *kernel.Library, base int, after *fusedKernel) (routine, error) {
	if needsFloat32(l) {
		return d.widened(l, base)
	}
	s := scratch{l.Scratch, base}
	switch l.Op {
	case ir.DotGeneral:
		return d.dot(l, s, after)
	case ir.Conv:
		return d.conv(l, s, after)
	case ir.ReduceWindowSum, ir.ReduceWindowMax, ir.ReduceWindowArgMax:
		return d.window(l, after)
	case ir.ReduceWindowMaxGrad:
		return d.windowMaxGrad(l, after)
	case ir.Gather:
		return d.gather(l, after), nil
	case ir.Scatter, ir.ScatterAdd:
		return d.scatter(l, after)
	case ir.DynamicSlice:
		return d.dynamicSlice(l), nil
	case ir.DynamicUpdateSlice:
		return d.dynamicUpdate(l), nil
	case ir.ArgMax, ir.ArgMin:
		return d.argExtreme(l)
	case ir.CumSum:
		return d.cumSum(l)
	case ir.Sort:
		return d.sort(l, s)
	case ir.Scan:
		return d.scan(l, s)
	case ir.Composite:
		return d.attention(l, s)
	}
	return routine{}, fmt.Errorf("no routine for %v", l.Op)
}

// scratch is where a routine's scratch memory begins.
type scratch struct{ slot, base int }

func (s scratch) at(slots []unsafe.Pointer) unsafe.Pointer { return unsafe.Add(slots[s.slot], s.base) }

// address is where an operand's first element lies. Copies of operands without
// elements need no scratch memory, so there may be none for them to lie in.
func address(slots []unsafe.Pointer, o *kernel.Operand) unsafe.Pointer {
	if o.Slot < 0 {
		return nil
	}
	return unsafe.Add(slots[o.Slot], o.Offset*o.DType.Size())
}

// align rounds bytes up to whole cache lines.
func align(bytes int) int { return (bytes + 63) &^ 63 }

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// numeric is an element type that the Go loops compute on. Bool is uint8 to them.
type numeric interface {
	int8 | uint8 | int32 | int64 | float32 | float64
}

// chunkWork is the work of one chunk of a parallel loop, in elements moved or
// combined: some ten microseconds.
const chunkWork = 1 << 14

// each calls f for ranges that together are [0, n), in parallel; work is that of
// one item. The ranges do not depend on the number of workers.
type each struct {
	n, chunks int
	f         func(worker, lo, hi int)
	body      func(worker, chunk int)
}

func newEach(n, work int, f func(lo, hi int)) *each {
	return newEachOn(n, work, func(_, lo, hi int) { f(lo, hi) })
}

// newEachOn is newEach for functions that want to know the worker they run on.
func newEachOn(n, work int, f func(worker, lo, hi int)) *each {
	e := &each{n: n, f: f}
	e.chunks = min(n, max(1, n*max(work, 1)/chunkWork), 256)
	e.body = func(worker, c int) { e.f(worker, c*e.n/e.chunks, (c+1)*e.n/e.chunks) }
	return e
}

func (e *each) run(d *Device) {
	if e.n > 0 {
		d.pool.Run(e.chunks, e.body)
	}
}

// planeEpilogue is an epilogue for the planes lo ≤ p < hi of a result, which lie
// along the axes behind its first lead ones; nil if it cannot be run so.
func (d *Device) planeEpilogue(l *kernel.Library, after *fusedKernel, lead int) func(worker int, slots []unsafe.Pointer, lo, hi int) {
	if !boxed(l, after) || lead == 0 {
		return nil
	}
	shape := l.Out[0].Shape
	boxes := make([]box, d.pool.Workers())
	for i := range boxes {
		boxes[i] = newBox(len(shape))
		copy(boxes[i].hi, shape)
	}
	return func(worker int, slots []unsafe.Pointer, lo, hi int) {
		b := &boxes[worker]
		for lo < hi {
			rest := lo
			for a := lead - 1; a >= 0; a-- {
				b.lo[a] = rest % shape[a]
				b.hi[a] = b.lo[a] + 1
				rest /= shape[a]
			}
			n := min(hi-lo, shape[lead-1]-b.lo[lead-1])
			b.hi[lead-1] = b.lo[lead-1] + n
			after.runBox(worker, slots, b.lo, b.hi)
			lo += n
		}
	}
}

// needsFloat32 tells whether l computes on half-precision numbers: those
// operations are done in float32 and only their result is rounded. Operations that
// merely move or compare bits have routines for every type, and the matrix product
// has them for operands of one half type.
func needsFloat32(l *kernel.Library) bool {
	switch l.Op {
	case ir.DotGeneral:
		a, b := l.In[0].DType, l.In[1].DType
		return isHalf(a) && b != a
	case ir.Conv, ir.ReduceWindowSum, ir.ReduceWindowMax, ir.ReduceWindowArgMax, ir.ReduceWindowMaxGrad, ir.ScatterAdd, ir.CumSum, ir.ArgMax, ir.ArgMin, ir.Composite:
		return isHalf(l.In[0].DType)
	}
	return false
}

func isHalf(t dtype.DType) bool { return t == dtype.Float16 || t == dtype.BFloat16 }

// widened compiles l on float32 copies of its half-precision operands in scratch
// memory.
func (d *Device) widened(l *kernel.Library, base int) (routine, error) {
	inner := *l
	inner.In = append([]kernel.Operand(nil), l.In...)
	inner.Out = append([]kernel.Operand(nil), l.Out...)
	used := 0
	take := func(o *kernel.Operand) {
		o.Slot, o.Offset, o.DType = l.Scratch, (base+used)/4, dtype.Float32
		used += align(o.Elements() * 4)
	}
	var before, after []func(slots []unsafe.Pointer)
	for i := range inner.In {
		if o := &inner.In[i]; isHalf(o.DType) {
			src := l.In[i]
			order := densest(&src)
			wide := *o
			wide.Stride = make([]int, len(src.Shape)) // a broadcast stays one
			n := 1
			for _, a := range slices.Backward(order) {
				wide.Stride[a] = n
				n *= src.Shape[a]
			}
			wide.Slot, wide.Offset, wide.DType = l.Scratch, (base+used)/4, dtype.Float32
			used += align(n * 4)
			*o = wide
			before = append(before, d.widen(src, wide, order))
		}
	}
	for i := range inner.Out {
		switch o := &inner.Out[i]; {
		case !isHalf(o.DType):
		case o.Slot < 0:
			o.DType = dtype.Float32
		default:
			take(o)
			after = append(after, d.narrow(*o, l.Out[i]))
		}
	}
	r, err := d.routine(&inner, base+used, nil)
	if err != nil {
		return r, err
	}
	run := r.run
	return routine{workspace: used + r.workspace, run: func(slots []unsafe.Pointer) {
		for _, f := range before {
			f(slots)
		}
		run(slots)
		for _, f := range after {
			f(slots)
		}
	}}, nil
}

// densest lists the axes along which o varies, the one with the longest steps
// first, so that a copy in that order reads and writes memory as it lies.
func densest(o *kernel.Operand) []int {
	var order []int
	for a := range o.Shape {
		if o.Stride[a] == 0 {
			continue
		}
		i := len(order)
		order = append(order, a)
		for ; i > 0 && abs(o.Stride[order[i-1]]) < abs(o.Stride[a]); i-- {
			order[i] = order[i-1]
		}
		order[i] = a
	}
	return order
}

func abs(x int) int { return max(x, -x) }

// widen copies a strided half-precision operand to float32, its axes in the given
// order.
func (d *Device) widen(src, dst kernel.Operand, order []int) func(slots []unsafe.Pointer) {
	// The innermost axes that lie densely are one.
	inner, step := 1, 1
	n := len(order)
	for ; n > 0; n-- {
		a := order[n-1]
		if inner == 1 {
			step = src.Stride[a]
		} else if src.Stride[a] != inner*step {
			break
		}
		inner *= src.Shape[a]
	}
	rows := order[:n]
	total := inner
	for _, a := range rows {
		total *= src.Shape[a]
	}
	scalar := dtype.Float16ToFloat32
	if src.DType == dtype.BFloat16 {
		scalar = dtype.BFloat16ToFloat32
	}
	convert := d.converter(src.DType, dtype.Float32)
	var from, to unsafe.Pointer
	loop := newEachOn(total, 1, func(worker, lo, hi int) {
		for lo < hi {
			at, rest := lo%inner*step, lo/inner
			for _, a := range slices.Backward(rows) {
				at += rest % src.Shape[a] * src.Stride[a]
				rest /= src.Shape[a]
			}
			m := min(hi-lo, inner-lo%inner)
			p, q := unsafe.Add(from, at*2), unsafe.Add(to, lo*4)
			if step == 1 {
				convert(worker, q, p, m)
			} else {
				for i, out := 0, unsafe.Slice((*float32)(q), m); i < m; i++ {
					out[i] = scalar(*(*uint16)(unsafe.Add(p, i*step*2)))
				}
			}
			lo += m
		}
	})
	return func(slots []unsafe.Pointer) {
		from, to = address(slots, &src), address(slots, &dst)
		loop.run(d)
	}
}

// narrow rounds a contiguous float32 operand to half precision.
func (d *Device) narrow(src, dst kernel.Operand) func(slots []unsafe.Pointer) {
	convert := d.converter(dtype.Float32, dst.DType)
	var from, to unsafe.Pointer
	loop := newEachOn(src.Elements(), 1, func(worker, lo, hi int) {
		convert(worker, unsafe.Add(to, lo*2), unsafe.Add(from, lo*4), hi-lo)
	})
	return func(slots []unsafe.Pointer) {
		from, to = address(slots, &src), address(slots, &dst)
		loop.run(d)
	}
}

// converter converts n adjacent elements, in calls that are short.
func (d *Device) converter(from, to dtype.DType) func(worker int, dst, src unsafe.Pointer, n int) {
	routine := vec.Convert(from, to)
	args := make([]struct {
		vec.Args
		_ [64]byte // workers do not share cache lines
	}, d.pool.Workers())
	return func(worker int, dst, src unsafe.Pointer, n int) {
		a := &args[worker].Args
		for i := 0; i < n; i += chunkWork {
			a.Dst, a.A = unsafe.Add(dst, i*to.Size()), unsafe.Add(src, i*from.Size())
			a.N, a.Rows = min(chunkWork, n-i), 1
			routine(a)
		}
	}
}
