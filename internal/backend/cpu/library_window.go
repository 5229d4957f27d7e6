package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// windowShape is a pooling over three spatial axes, those that a tensor lacks
// being 1.
type windowShape struct {
	x, y   [3]int // extents of operand and result
	planes int
	taps   [3][]tapRange
	dil    [3]int
}

// tapRange is what of a window lies inside the operand: count elements from first.
type tapRange struct{ first, count int }

func newWindowShape(x, y []int, at ir.Window) *windowShape {
	w := &windowShape{planes: x[0] * x[1]}
	lead := 3 - len(at.Size)
	for i := range 3 {
		w.x[i], w.y[i], w.dil[i] = 1, 1, 1
		size, stride, low := 1, 1, 0
		if j := i - lead; j >= 0 {
			w.x[i], w.y[i], w.dil[i] = x[2+j], y[2+j], at.Dilation[j]
			size, stride, low = at.Size[j], at.Stride[j], at.Low[j]
		}
		for o := range w.y[i] {
			r := tapRange{first: -1}
			for t := range size {
				if p := o*stride - low + t*w.dil[i]; p >= 0 && p < w.x[i] {
					if r.count == 0 {
						r.first = p
					}
					r.count++
				}
			}
			w.taps[i] = append(w.taps[i], r)
		}
	}
	return w
}

func (d *Device) window(l *kernel.Library) (routine, error) {
	in, out := &l.In[0], &l.Out[0]
	at := l.Attr.(ir.Window)
	if len(at.Size) < 1 || len(at.Size) > 3 {
		return routine{}, fmt.Errorf("%v over %d spatial axes", l.Op, len(at.Size))
	}
	w := newWindowShape(in.Shape, out.Shape, at)
	var f func(src, dst unsafe.Pointer, w *windowShape, op ir.Op, plane int)
	switch in.DType {
	case dtype.Bool, dtype.Uint8:
		f = windowPlane[uint8]
	case dtype.Int8:
		f = windowPlane[int8]
	case dtype.Int32:
		f = windowPlane[int32]
	case dtype.Int64:
		f = windowPlane[int64]
	case dtype.Float32:
		f = windowPlane[float32]
	case dtype.Float64:
		f = windowPlane[float64]
	default:
		return routine{}, fmt.Errorf("%v of %v", l.Op, in.DType)
	}
	var src, dst unsafe.Pointer
	loop := newEach(w.planes, product(w.y[:])*product(at.Size), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			f(src, dst, w, l.Op, p)
		}
	})
	return routine{run: func(s []unsafe.Pointer) {
		src, dst = address(s, in), address(s, out)
		loop.run(d)
	}}, nil
}

// lowest is the identity of the maximum.
func lowest[T numeric]() T {
	var v T
	switch p := any(&v).(type) {
	case *int8:
		*p = math.MinInt8
	case *int32:
		*p = math.MinInt32
	case *int64:
		*p = math.MinInt64
	case *float32:
		*p = float32(math.Inf(-1))
	case *float64:
		*p = math.Inf(-1)
	}
	return v
}

// windowPlane computes one plane of the result. A window without an element inside
// has the sum 0, the lowest maximum, and the position -1, which writes nothing
// when a gradient scatters to it.
func windowPlane[T numeric](src, dst unsafe.Pointer, w *windowShape, op ir.Op, plane int) {
	nx, ny := product(w.x[:]), product(w.y[:])
	x := unsafe.Slice((*T)(src), (plane+1)*nx)[plane*nx:]
	var y []T
	var pos []int32
	if op == ir.ReduceWindowArgMax {
		pos = unsafe.Slice((*int32)(dst), (plane+1)*ny)[plane*ny:]
	} else {
		y = unsafe.Slice((*T)(dst), (plane+1)*ny)[plane*ny:]
	}
	low := lowest[T]()
	i := 0
	for _, td := range w.taps[0] {
		for _, th := range w.taps[1] {
			if td.count == 1 && th.count == 2 && w.dil[1] == 1 && op != ir.ReduceWindowArgMax {
				row := td.first*w.x[1]*w.x[2] + th.first*w.x[2]
				if pairs(y[i:i+w.y[2]], x[row:row+w.x[2]], x[row+w.x[2]:row+2*w.x[2]], w, op) {
					i += w.y[2]
					continue
				}
			}
			for _, tw := range w.taps[2] {
				best, at, sum := low, -1, T(0)
				for a := range td.count {
					for b := range th.count {
						row := ((td.first+a*w.dil[0])*w.x[1]+th.first+b*w.dil[1])*w.x[2] + tw.first
						for c := range tw.count {
							p := row + c*w.dil[2]
							v := x[p]
							sum += v
							if at < 0 || v > best && best == best || v != v && best == best {
								best, at = v, p
							}
						}
					}
				}
				switch op {
				case ir.ReduceWindowSum:
					y[i] = sum
				case ir.ReduceWindowMax:
					y[i] = best
				default:
					pos[i] = int32(at)
				}
				i++
			}
		}
	}
}

// pairs is the most common case, windows of 2×2 at every second column: a row of
// the result from two rows of the operand. It adds in the same order as the loop
// it stands for.
func pairs[T numeric](y, r0, r1 []T, w *windowShape, op ir.Op) bool {
	for o, t := range w.taps[2] {
		if t.first != 2*o || t.count != 2 {
			return false
		}
	}
	if w.dil[2] != 1 {
		return false
	}
	if op == ir.ReduceWindowSum {
		for o := range y {
			a, b := r0[2*o:2*o+2], r1[2*o:2*o+2]
			y[o] = a[0] + a[1] + b[0] + b[1]
		}
		return true
	}
	for o := range y {
		a, b := r0[2*o:2*o+2], r1[2*o:2*o+2]
		y[o] = max(a[0], a[1], b[0], b[1])
	}
	return true
}
