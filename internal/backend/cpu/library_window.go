package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// A pooling goes plane by plane, and in a plane piece by piece: a piece is a
// rectangle of windows that have the same of their elements inside the operand. The
// interior is one, windows that reach into the padding make up the others. Each is
// one call of a routine of package vec with the list of the elements' places.

// windowShape is a pooling over three spatial axes, those that a tensor lacks
// being 1.
type windowShape struct {
	planes         int
	xPlane, yPlane int // bytes of a plane of operand and result
	work           int // of a plane
	pieces         []windowPiece
}

// windowPiece is a rectangle of windows.
type windowPiece struct {
	kind  pieceKind
	fn    vec.Func
	args  vec.Args // but for the addresses in operand and result
	x, y  int      // bytes from the beginnings of the planes
	below int      // piecePairs: bytes to the second row
}

type pieceKind uint8

const (
	pieceEmpty pieceKind = iota // windows without an element inside
	pieceValue                  // a sum or a maximum
	piecePlace                  // the place of a maximum
	piecePairs                  // the maximum of two rows of two
)

// run is a range of windows along one axis that have the same number of elements
// inside, each beginning step elements behind the one before it.
type run struct {
	out, n             int // the windows
	first, count, step int // the first window's first element, number of elements
}

func runs(x, y, size, stride, low, dilation int) []run {
	var l []run
	for o := range y {
		r := run{out: o, n: 1}
		for t := range size {
			if p := o*stride - low + t*dilation; p >= 0 && p < x {
				if r.count == 0 {
					r.first = p
				}
				r.count++
			}
		}
		if len(l) > 0 {
			q := &l[len(l)-1]
			if q.n == 1 {
				q.step = max(0, r.first-q.first)
			}
			if q.count == r.count && r.first == q.first+q.n*q.step {
				q.n++
				continue
			}
		}
		l = append(l, r)
	}
	return l
}

func newWindowShape(op ir.Op, in, out *kernel.Operand, at ir.Window) *windowShape {
	size, outSize := in.DType.Size(), out.DType.Size()
	x, y, dil := [3]int{1, 1, 1}, [3]int{1, 1, 1}, [3]int{1, 1, 1}
	var along [3][]run
	for i := range 3 {
		window, stride, low := 1, 1, 0
		if j := i - (3 - len(at.Size)); j >= 0 {
			x[i], y[i], dil[i] = in.Shape[2+j], out.Shape[2+j], at.Dilation[j]
			window, stride, low = at.Size[j], at.Stride[j], at.Low[j]
		}
		along[i] = runs(x[i], y[i], window, stride, low, dil[i])
	}
	w := &windowShape{planes: in.Shape[0] * in.Shape[1], xPlane: product(x[:]) * size, yPlane: product(y[:]) * outSize}
	w.work = product(x[:]) + product(y[:])*(1+product(at.Size)/4)

	// A window without an element inside has the sum 0, the lowest maximum, and the
	// position -1, which writes nothing when a gradient scatters to it.
	none := vec.Identity(ir.ReduceMax, in.DType)
	switch op {
	case ir.ReduceWindowSum:
		none = 0
	case ir.ReduceWindowArgMax:
		none = math.MaxUint64
	}
	constant := func(bits uint64) unsafe.Pointer { return unsafe.Pointer(&bits) }
	empty, start := constant(none), constant(0)

	// taps lists the places of a window's elements behind its first one. The list for
	// fewer planes, or for fewer rows of one plane, is where the longer one begins.
	var most [3]int
	for i, l := range along {
		for _, r := range l {
			most[i] = max(most[i], r.count)
		}
	}
	lists := map[[3]int][]int64{}
	taps := func(n [3]int) []int64 {
		long := [3]int{1, most[1], n[2]}
		if n[0] > 1 {
			long = [3]int{most[0], n[1], n[2]}
		}
		l := lists[long]
		for i := len(l); i < product(long[:]); i++ {
			a, b, c := i/(long[1]*long[2]), i/long[2]%long[1], i%long[2]
			l = append(l, int64(((a*dil[0]*x[1]+b*dil[1])*x[2]+c*dil[2])*size))
		}
		lists[long] = l
		return l[:product(n[:])]
	}
	piece := func(d, h, v run) windowPiece {
		p := windowPiece{
			x: ((d.first*x[1]+h.first)*x[2] + v.first) * size,
			y: ((d.out*y[1]+h.out)*y[2] + v.out) * outSize,
		}
		p.args = vec.Args{N: v.n, Rows: h.n, DstRow: y[2] * outSize}
		n := [3]int{d.count, h.count, v.count}
		if product(n[:]) == 0 {
			p.fn = vec.Expand(outSize)
			p.args.A, p.args.Scalar = empty, vec.ScalarA
			return p
		}
		step := v.step
		if v.n == 1 {
			step = 1 // any would do
		}
		l := taps(n)
		p.args.ARow, p.args.ACol = h.step*x[2]*size, step*size
		p.args.B, p.args.DstCol = unsafe.Pointer(&l[0]), len(l)
		p.fn = vec.Window(op, in.DType, step)
		// Whole rows of windows of 2×2 side by side have their own rules about -0.
		pairs := n == [3]int{1, 2, 2} && dil[1] == 1 && dil[2] == 1 && v.n == y[2] && v.first == 0 && (step == 2 || v.n == 1)
		switch {
		case op == ir.ReduceWindowArgMax:
			p.kind = piecePlace
		case pairs && op == ir.ReduceWindowMax:
			p.kind, p.fn = piecePairs, vec.MaxPairs(in.DType)
			p.args.BRow, p.below = p.args.ARow, x[2]*size
		default:
			p.kind, p.args.C = pieceValue, start
			if pairs { // their sum begins with an element
				p.args.C = constant(negativeZero(in.DType))
			}
		}
		return p
	}
	for _, d := range along[0] {
		for d.n > 0 {
			for _, h := range along[1] {
				for _, v := range along[2] {
					w.pieces = append(w.pieces, piece(d, h, v))
				}
			}
			d.out, d.n, d.first = d.out+1, d.n-1, d.first+d.step
		}
	}
	return w
}

// negativeZero is what leaves every number as it is when they are added, in bits.
func negativeZero(t dtype.DType) uint64 {
	switch t {
	case dtype.Float32:
		return 1 << 31
	case dtype.Float64:
		return 1 << 63
	}
	return 0
}

// plane computes one plane of the result.
func (w *windowShape) plane(g *vec.Args, dst, src unsafe.Pointer) {
	for i := range w.pieces {
		p := &w.pieces[i]
		*g = p.args
		g.Dst = unsafe.Add(dst, p.y)
		switch x := unsafe.Add(src, p.x); p.kind {
		case pieceValue:
			g.A = x
		case piecePlace:
			g.A, g.C = x, src
		case piecePairs:
			g.A, g.B = x, unsafe.Add(x, p.below)
		}
		p.fn(g)
	}
}

func (d *Device) window(l *kernel.Library, after *fusedKernel) (routine, error) {
	in, out := &l.In[0], &l.Out[0]
	at := l.Attr.(ir.Window)
	if len(at.Size) < 1 || len(at.Size) > 3 {
		return routine{}, fmt.Errorf("%v over %d spatial axes", l.Op, len(at.Size))
	}
	if vec.Window(l.Op, in.DType, 1) == nil {
		return routine{}, fmt.Errorf("%v of %v", l.Op, in.DType)
	}
	w := newWindowShape(l.Op, in, out, at)
	args := make([]struct { // by worker
		vec.Args
		_ [128]byte
	}, d.pool.Workers())
	finish := d.planeEpilogue(l, after, 2)
	var slots []unsafe.Pointer
	var src, dst unsafe.Pointer
	loop := newEachOn(w.planes, w.work, func(worker, lo, hi int) {
		g := &args[worker].Args
		for p := lo; p < hi; p++ {
			w.plane(g, unsafe.Add(dst, p*w.yPlane), unsafe.Add(src, p*w.xPlane))
		}
		*g = vec.Args{} // so that it does not keep the caller's memory alive
		if finish != nil {
			finish(worker, slots, lo, hi)
		}
	})
	return routine{epilogue: finish != nil, run: func(s []unsafe.Pointer) {
		slots, src, dst = s, address(s, in), address(s, out)
		loop.run(d)
	}}, nil
}

// windowMaxGrad finds the places of a plane's maxima and adds the gradients there, a
// plane at a time.
func (d *Device) windowMaxGrad(l *kernel.Library, after *fusedKernel) (routine, error) {
	x, g, out := &l.In[0], &l.In[1], &l.Out[0]
	at := l.Attr.(ir.Window)
	if len(at.Size) < 1 || len(at.Size) > 3 {
		return routine{}, fmt.Errorf("%v over %d spatial axes", l.Op, len(at.Size))
	}
	add := adderOf[float32](false)
	switch x.DType {
	case dtype.Float32:
	case dtype.Float64:
		add = adderOf[float64](false)
	default:
		return routine{}, fmt.Errorf("%v of %v", l.Op, x.DType)
	}
	places := kernel.Operand{DType: dtype.Int32, Shape: g.Shape}
	w := newWindowShape(ir.ReduceWindowArgMax, x, &places, at)
	elements, updates := product(x.Shape[2:]), product(g.Shape[2:])
	size := x.DType.Size()
	args := make([]struct { // by worker
		vec.Args
		_ [128]byte
	}, d.pool.Workers())
	finish := d.planeEpilogue(l, after, 2)
	var slots []unsafe.Pointer
	var src, grad, dst unsafe.Pointer
	loop := newEachOn(w.planes, w.work+2*updates+elements/4, func(worker, lo, hi int) {
		where := d.memory(worker, w.yPlane)
		for p := lo; p < hi; p++ {
			w.plane(&args[worker].Args, where, unsafe.Add(src, p*w.xPlane))
			to := unsafe.Add(dst, p*w.xPlane)
			clear(unsafe.Slice((*byte)(to), w.xPlane))
			add(to, unsafe.Add(grad, p*updates*size), where, 0, updates, elements)
		}
		args[worker].Args = vec.Args{} // so that it does not keep the caller's memory alive
		if finish != nil {
			finish(worker, slots, lo, hi)
		}
	})
	return routine{epilogue: finish != nil, run: func(s []unsafe.Pointer) {
		slots, src, grad, dst = s, address(s, x), address(s, g), address(s, out)
		loop.run(d)
	}}, nil
}
