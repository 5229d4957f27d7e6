package cpu

import (
	"fmt"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// indexed is the shape of a gather or scatter: data [b, p, d, q] and indices
// [b, i], where each letter stands for any number of axes.
type indexed struct {
	b, p, d, i, q int
	wide          bool // the indices are int64, not int32
}

func newIndexed(data, index *kernel.Operand, at ir.Index) indexed {
	return indexed{
		b: product(data.Shape[:at.Batch]),
		p: product(data.Shape[at.Batch:at.Axis]),
		d: data.Shape[at.Axis],
		i: product(index.Shape[at.Batch:]),
		q: product(data.Shape[at.Axis+1:]),

		wide: index.DType == dtype.Int64,
	}
}

// read is the index at place i, or -1 if it lies outside of the data.
func (x *indexed) read(p unsafe.Pointer, i int) int {
	var v int64
	if x.wide {
		v = *(*int64)(unsafe.Add(p, i*8))
	} else {
		v = int64(*(*int32)(unsafe.Add(p, i*4)))
	}
	if v < 0 || v >= int64(x.d) {
		return -1
	}
	return int(v)
}

// move copies n bytes; what is indexed is often a single element.
func move(dst, src unsafe.Pointer, n int) {
	switch n {
	case 4:
		*(*[4]byte)(dst) = *(*[4]byte)(src)
	case 8:
		*(*[8]byte)(dst) = *(*[8]byte)(src)
	default:
		copy(unsafe.Slice((*byte)(dst), n), unsafe.Slice((*byte)(src), n))
	}
}

func (d *Device) gather(l *kernel.Library, after *fusedKernel) routine {
	data, index, out := &l.In[0], &l.In[1], &l.Out[0]
	at := l.Attr.(ir.Index)
	x := newIndexed(data, index, at)
	row := x.q * data.DType.Size()
	finish := d.planeEpilogue(l, after, at.Axis+len(index.Shape)-at.Batch)
	var src, idx, dst unsafe.Pointer
	var slots []unsafe.Pointer
	loop := newEachOn(x.b*x.p*x.i, 4+row/8, func(worker, lo, hi int) {
		for r := lo; r < hi; r++ {
			bp, i := r/x.i, r%x.i
			to := unsafe.Add(dst, r*row)
			if at := x.read(idx, bp/x.p*x.i+i); at >= 0 {
				move(to, unsafe.Add(src, (bp*x.d+at)*row), row)
			} else {
				clear(unsafe.Slice((*byte)(to), row))
			}
		}
		if finish != nil {
			finish(worker, slots, lo, hi)
		}
	})
	return routine{epilogue: finish != nil, run: func(s []unsafe.Pointer) {
		src, idx, dst = address(s, data), address(s, index), address(s, out)
		slots = s
		loop.run(d)
	}}
}

// copier copies bytes in parallel.
func (d *Device) copier(n int) func(dst, src unsafe.Pointer) {
	var dst, src unsafe.Pointer
	loop := newEach((n+4095)/4096, 512, func(lo, hi int) {
		lo, hi = lo*4096, min(n, hi*4096)
		copy(unsafe.Slice((*byte)(dst), n)[lo:hi], unsafe.Slice((*byte)(src), n)[lo:hi])
	})
	return func(to, from unsafe.Pointer) {
		if to != from {
			dst, src = to, from
			loop.run(d)
		}
	}
}

// scatter copies the data and then writes or adds the updates. Updates of one
// place are applied in their order, so the work is cut only along the axes that
// the indices do not choose from.
func (d *Device) scatter(l *kernel.Library, after *fusedKernel) (routine, error) {
	data, index, updates, out := &l.In[0], &l.In[1], &l.In[2], &l.Out[0]
	x := newIndexed(data, index, l.Attr.(ir.Index))
	size := data.DType.Size()
	apply := func(_ int, dst, src unsafe.Pointer, n int) { move(dst, src, n*size) }
	var add adder
	if l.Op == ir.ScatterAdd {
		switch data.DType {
		case dtype.Uint8:
			add = adderOf[uint8](x.wide)
		case dtype.Int8:
			add = adderOf[int8](x.wide)
		case dtype.Int32:
			add = adderOf[int32](x.wide)
		case dtype.Int64:
			add = adderOf[int64](x.wide)
		case dtype.Float32:
			add = adderOf[float32](x.wide)
		case dtype.Float64:
			add = adderOf[float64](x.wide)
		default:
			return routine{}, fmt.Errorf("%v of %v", l.Op, data.DType)
		}
		sum := vec.Binary(ir.Add, data.DType, 0)
		args := make([]struct {
			vec.Args
			_ [64]byte // one per worker
		}, d.pool.Workers())
		apply = func(worker int, dst, src unsafe.Pointer, n int) {
			a := &args[worker].Args
			a.Dst, a.A, a.B, a.N, a.Rows = dst, dst, src, n, 1
			sum(a)
		}
	}
	// Many planes are copied and finished one by one, while they are in the cache;
	// of a few the elements behind the indexed axis are cut.
	planes, parts := x.b*x.p, 1
	many := planes >= 16
	finish := d.planeEpilogue(l, after, l.Attr.(ir.Index).Axis)
	if !many {
		parts = max(1, min(16, x.q/16))
		finish = nil
	}
	plane := x.d * x.q * size
	var idx, src, dst, from unsafe.Pointer
	var slots []unsafe.Pointer
	loop := newEachOn(planes*parts, x.i*(4+x.q/parts)+plane/(8*parts), func(worker, lo, hi int) {
		for u := lo; u < hi; u++ {
			bp, part := u/parts, u%parts
			to := unsafe.Add(dst, bp*plane)
			if many && from != dst {
				copy(unsafe.Slice((*byte)(to), plane), unsafe.Slice((*byte)(unsafe.Add(from, bp*plane)), plane))
			}
			first := bp / x.p * x.i // index
			if x.q == 1 && add != nil {
				add(to, unsafe.Add(src, bp*x.i*size), idx, first, x.i, x.d)
				continue
			}
			q0, q1 := part*x.q/parts, (part+1)*x.q/parts
			for i := range x.i {
				if at := x.read(idx, first+i); at >= 0 {
					apply(worker, unsafe.Add(to, (at*x.q+q0)*size), unsafe.Add(src, ((bp*x.i+i)*x.q+q0)*size), q1-q0)
				}
			}
		}
		if finish != nil {
			finish(worker, slots, lo, hi)
		}
	})
	copyData := d.copier(data.Elements() * size)
	return routine{epilogue: finish != nil, run: func(s []unsafe.Pointer) {
		idx, src, dst = address(s, index), address(s, updates), address(s, out)
		slots, from = s, address(s, data)
		if !many {
			copyData(dst, from)
		}
		loop.run(d)
	}}, nil
}

// adder adds n single elements to some of the d elements at dst, to those that the
// indices from number first on name.
type adder func(dst, src, index unsafe.Pointer, first, n, d int)

func adderOf[T numeric](wide bool) adder {
	if wide {
		return addElements[T, int64]
	}
	return addElements[T, int32]
}

func addElements[T numeric, I int32 | int64](dst, src, index unsafe.Pointer, first, n, d int) {
	to, s := unsafe.Slice((*T)(dst), d), unsafe.Slice((*T)(src), n)
	for i, at := range unsafe.Slice((*I)(index), first+n)[first:] {
		if uint64(at) < uint64(len(to)) { // a negative one is not
			to[at] += s[i]
		}
	}
}

// windowCopy copies the elements of a window of a tensor, row by row.
type windowCopy struct {
	shape, size []int // of the tensor and of the window
	row, rows   int   // length of a row, in elements; number of rows
	rank        int   // axes that rows are counted along
}

func newWindowCopy(shape, size []int) windowCopy {
	w := windowCopy{shape: shape, size: size, row: 1, rank: len(shape)}
	// Whole trailing axes join the row, and one more.
	for w.rank > 0 {
		w.rank--
		w.row *= size[w.rank]
		if size[w.rank] != shape[w.rank] {
			break
		}
	}
	w.rows = product(size[:w.rank])
	return w
}

// place is where row r of a window that begins at start lies in the tensor.
func (w *windowCopy) place(r int, start []int64) int {
	at, stride := 0, 1
	for a := len(w.shape) - 1; a >= 0; a-- {
		i := int(min(max(start[a], 0), int64(w.shape[a]-w.size[a])))
		if a < w.rank {
			i += r % w.size[a]
			r /= w.size[a]
		}
		at += i * stride
		stride *= w.shape[a]
	}
	return at
}

func (d *Device) dynamicSlice(l *kernel.Library) routine {
	data, start, out := &l.In[0], &l.In[1], &l.Out[0]
	w := newWindowCopy(data.Shape, out.Shape)
	size := data.DType.Size()
	var src, dst unsafe.Pointer
	var at []int64
	loop := newEach(w.rows, 4+w.row*size/8, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			move(unsafe.Add(dst, r*w.row*size), unsafe.Add(src, w.place(r, at)*size), w.row*size)
		}
	})
	return routine{run: func(s []unsafe.Pointer) {
		src, dst = address(s, data), address(s, out)
		at = unsafe.Slice((*int64)(address(s, start)), len(data.Shape))
		loop.run(d)
	}}
}

func (d *Device) dynamicUpdate(l *kernel.Library) routine {
	data, update, start, out := &l.In[0], &l.In[1], &l.In[2], &l.Out[0]
	w := newWindowCopy(data.Shape, update.Shape)
	size := data.DType.Size()
	var src, dst unsafe.Pointer
	var at []int64
	loop := newEach(w.rows, 4+w.row*size/8, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			move(unsafe.Add(dst, w.place(r, at)*size), unsafe.Add(src, r*w.row*size), w.row*size)
		}
	})
	copyData := d.copier(data.Elements() * size)
	return routine{run: func(s []unsafe.Pointer) {
		src, dst = address(s, update), address(s, out)
		at = unsafe.Slice((*int64)(address(s, start)), len(data.Shape))
		copyData(dst, address(s, data))
		loop.run(d)
	}}
}
