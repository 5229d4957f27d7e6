package cpu

import (
	"fmt"
	"unsafe"

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

func (d *Device) gather(l *kernel.Library) routine {
	data, index, out := &l.In[0], &l.In[1], &l.Out[0]
	x := newIndexed(data, index, l.Attr.(ir.Index))
	row := x.q * data.DType.Size()
	var src, idx, dst unsafe.Pointer
	loop := newEach(x.b*x.p*x.i, 4+row/8, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			bp, i := r/x.i, r%x.i
			to := unsafe.Add(dst, r*row)
			if at := x.read(idx, bp/x.p*x.i+i); at >= 0 {
				move(to, unsafe.Add(src, (bp*x.d+at)*row), row)
			} else {
				clear(unsafe.Slice((*byte)(to), row))
			}
		}
	})
	return routine{run: func(s []unsafe.Pointer) {
		src, idx, dst = address(s, data), address(s, index), address(s, out)
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
func (d *Device) scatter(l *kernel.Library) (routine, error) {
	data, index, updates, out := &l.In[0], &l.In[1], &l.In[2], &l.Out[0]
	x := newIndexed(data, index, l.Attr.(ir.Index))
	size := data.DType.Size()
	apply := func(dst, src unsafe.Pointer, n int) { move(dst, src, n*size) }
	if l.Op == ir.ScatterAdd {
		switch data.DType {
		case dtype.Uint8:
			apply = addTo[uint8]
		case dtype.Int8:
			apply = addTo[int8]
		case dtype.Int32:
			apply = addTo[int32]
		case dtype.Int64:
			apply = addTo[int64]
		case dtype.Float32:
			apply = addTo[float32]
		case dtype.Float64:
			apply = addTo[float64]
		default:
			return routine{}, fmt.Errorf("%v of %v", l.Op, data.DType)
		}
	}
	parts := 1 // of the elements behind the indexed axis
	if x.b*x.p < 16 {
		parts = max(1, min(16, x.q/16))
	}
	var idx, src, dst unsafe.Pointer
	loop := newEach(x.b*x.p*parts, x.i*(4+x.q/parts), func(lo, hi int) {
		for u := lo; u < hi; u++ {
			bp, part := u/parts, u%parts
			q0, q1 := part*x.q/parts, (part+1)*x.q/parts
			for i := range x.i {
				if at := x.read(idx, bp/x.p*x.i+i); at >= 0 {
					apply(unsafe.Add(dst, ((bp*x.d+at)*x.q+q0)*size), unsafe.Add(src, ((bp*x.i+i)*x.q+q0)*size), q1-q0)
				}
			}
		}
	})
	copyData := d.copier(data.Elements() * size)
	return routine{run: func(s []unsafe.Pointer) {
		idx, src, dst = address(s, index), address(s, updates), address(s, out)
		copyData(dst, address(s, data))
		loop.run(d)
	}}, nil
}

func addTo[T numeric](dst, src unsafe.Pointer, n int) {
	d, s := unsafe.Slice((*T)(dst), n), unsafe.Slice((*T)(src), n)
	for i, v := range s {
		d[i] += v
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
