package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// along is a tensor seen as [outer, n, inner] around one axis.
type along struct{ outer, n, inner int }

func newAlong(shape []int, axis int) along {
	return along{product(shape[:axis]), shape[axis], product(shape[axis+1:])}
}

// block is how many neighbouring lines along an axis are walked together, so that
// memory is read in whole cache lines.
const block = 64

// blocks is the number of groups of lines.
func (a along) blocks() int { return a.outer * ((a.inner + block - 1) / block) }

// lines calls f for the groups lo … hi with the place of their first element and
// how many lines they are.
func (a along) lines(lo, hi int, f func(outer, first, width int)) {
	per := (a.inner + block - 1) / block
	for g := lo; g < hi; g++ {
		first := g % per * block
		f(g/per, first, min(block, a.inner-first))
	}
}

func (d *Device) argExtreme(l *kernel.Library) (routine, error) {
	in, out := &l.In[0], &l.Out[0]
	a := newAlong(in.Shape, l.Attr.(ir.Axis).Axis)
	var f func(src, dst unsafe.Pointer, a along, smallest bool, lo, hi int)
	switch in.DType {
	case dtype.Bool, dtype.Uint8:
		f = argLines[uint8]
	case dtype.Int8:
		f = argLines[int8]
	case dtype.Int32:
		f = argLines[int32]
	case dtype.Int64:
		f = argLines[int64]
	case dtype.Float32:
		f = argLines[float32]
	case dtype.Float64:
		f = argLines[float64]
	default:
		return routine{}, fmt.Errorf("%v of %v", l.Op, in.DType)
	}
	var src, dst unsafe.Pointer
	loop := newEach(a.blocks(), a.n*min(block, a.inner), func(lo, hi int) { f(src, dst, a, l.Op == ir.ArgMin, lo, hi) })
	return routine{run: func(s []unsafe.Pointer) {
		src, dst = address(s, in), address(s, out)
		loop.run(d)
	}}, nil
}

// argLines finds the first extreme of each line; a NaN is one.
func argLines[T numeric](src, dst unsafe.Pointer, a along, smallest bool, lo, hi int) {
	x := unsafe.Slice((*T)(src), a.outer*a.n*a.inner)
	y := unsafe.Slice((*int64)(dst), a.outer*a.inner)
	a.lines(lo, hi, func(outer, first, width int) {
		var best [block]T
		out := y[outer*a.inner+first:][:width]
		copy(best[:width], x[outer*a.n*a.inner+first:])
		clear(out)
		for i := 1; i < a.n; i++ {
			row := x[(outer*a.n+i)*a.inner+first:][:width]
			for j, v := range row {
				b := best[j]
				better := v > b
				if smallest {
					better = v < b
				}
				if better && b == b || v != v && b == b {
					best[j], out[j] = v, int64(i)
				}
			}
		}
	})
}

func (d *Device) cumSum(l *kernel.Library) (routine, error) {
	in, out := &l.In[0], &l.Out[0]
	at := l.Attr.(ir.Cumulate)
	a := newAlong(in.Shape, at.Axis)
	var f func(src, dst unsafe.Pointer, a along, at ir.Cumulate, lo, hi int)
	switch in.DType {
	case dtype.Uint8:
		f = cumLines[uint8, uint8]
	case dtype.Int8:
		f = cumLines[int8, int8]
	case dtype.Int32:
		f = cumLines[int32, int32]
	case dtype.Int64:
		f = cumLines[int64, int64]
	case dtype.Float32:
		f = cumLines[float32, float64]
	case dtype.Float64:
		f = cumLines[float64, float64]
	default:
		return routine{}, fmt.Errorf("%v of %v", l.Op, in.DType)
	}
	var src, dst unsafe.Pointer
	loop := newEach(a.blocks(), a.n*min(block, a.inner), func(lo, hi int) { f(src, dst, a, at, lo, hi) })
	return routine{run: func(s []unsafe.Pointer) {
		src, dst = address(s, in), address(s, out)
		loop.run(d)
	}}, nil
}

// cumLines adds up each line in an accumulator of type A.
func cumLines[T, A numeric](src, dst unsafe.Pointer, a along, at ir.Cumulate, lo, hi int) {
	n := a.outer * a.n * a.inner
	x, y := unsafe.Slice((*T)(src), n), unsafe.Slice((*T)(dst), n)
	a.lines(lo, hi, func(outer, first, width int) {
		var sum [block]A
		for i := range a.n {
			if at.Reverse {
				i = a.n - 1 - i
			}
			from := (outer*a.n+i)*a.inner + first
			in, out := x[from:][:width], y[from:][:width]
			for j, v := range in {
				if at.Exclusive {
					out[j] = T(sum[j])
					sum[j] += A(v)
				} else {
					sum[j] += A(v)
					out[j] = T(sum[j])
				}
			}
		}
	})
}

// sortParts is into how many parts at most a sort is cut, each with memory of its
// own; it is fixed, so that the size of the scratch memory is.
const sortParts = 8

// sort finds the stable permutation. Every type is mapped to uint64 keys of the
// same order, so that there is one sort, and it needs no comparison function.
func (d *Device) sort(l *kernel.Library, sc scratch) (routine, error) {
	in, out := &l.In[0], &l.Out[0]
	at := l.Attr.(ir.Order)
	a := newAlong(in.Shape, at.Axis)
	var keys func(dst []uint64, src unsafe.Pointer, stride int)
	switch in.DType {
	case dtype.Bool, dtype.Uint8:
		keys = intKeys[uint8]
	case dtype.Int8:
		keys = intKeys[int8]
	case dtype.Int32:
		keys = intKeys[int32]
	case dtype.Int64:
		keys = intKeys[int64]
	case dtype.Float16:
		keys = halfKeys(dtype.Float16ToFloat32)
	case dtype.BFloat16:
		keys = halfKeys(dtype.BFloat16ToFloat32)
	case dtype.Float32:
		keys = float32Keys
	case dtype.Float64:
		keys = float64Keys
	default:
		return routine{}, fmt.Errorf("sort of %v", in.DType)
	}
	lines := a.outer * a.inner
	parts := min(lines, sortParts)
	each := align(a.n * 32) // two lists of keys and two of positions
	var src, dst, mem unsafe.Pointer
	body := func(_, part int) {
		work := unsafe.Add(mem, part*each)
		key := [2][]uint64{unsafe.Slice((*uint64)(work), a.n), unsafe.Slice((*uint64)(unsafe.Add(work, a.n*8)), a.n)}
		pos := [2][]int64{unsafe.Slice((*int64)(unsafe.Add(work, a.n*16)), a.n), unsafe.Slice((*int64)(unsafe.Add(work, a.n*24)), a.n)}
		for line := part * lines / parts; line < (part+1)*lines/parts; line++ {
			first := line/a.inner*a.n*a.inner + line%a.inner
			keys(key[0], unsafe.Add(src, first*in.DType.Size()), a.inner*in.DType.Size())
			for i := range pos[0] {
				pos[0][i] = int64(i)
				if at.Descending {
					key[0][i] = ^key[0][i]
				}
			}
			sorted := sortKeys(key, pos)
			for i, v := range sorted {
				*(*int64)(unsafe.Add(dst, (first+i*a.inner)*8)) = v
			}
		}
	}
	return routine{workspace: parts * each, run: func(s []unsafe.Pointer) {
		if lines == 0 || a.n == 0 {
			return
		}
		src, dst, mem = address(s, in), address(s, out), sc.at(s)
		d.pool.Run(parts, body)
	}}, nil
}

// sortKeys sorts positions by their keys, stably, using the second lists as
// memory, and returns the list that holds the result.
func sortKeys(key [2][]uint64, pos [2][]int64) []int64 {
	n := len(key[0])
	if n <= 48 {
		k, p := key[0], pos[0]
		for i := 1; i < n; i++ {
			kv, pv := k[i], p[i]
			j := i
			for ; j > 0 && k[j-1] > kv; j-- {
				k[j], p[j] = k[j-1], p[j-1]
			}
			k[j], p[j] = kv, pv
		}
		return p
	}
	// By one byte after the other, the lowest first. Bytes in which all keys agree
	// are passed over: most of them, for narrow types.
	var counts [8][256]int
	for _, v := range key[0] {
		for b := range counts {
			counts[b][v>>(8*b)&255]++
		}
	}
	from := 0
	for b := range counts {
		c := &counts[b]
		shift := 8 * b
		if c[key[from][0]>>shift&255] == n {
			continue
		}
		at := 0
		for i, m := range c {
			c[i] = at
			at += m
		}
		k, p, k2, p2 := key[from], pos[from], key[1-from], pos[1-from]
		for i, v := range k {
			to := &c[v>>shift&255]
			k2[*to], p2[*to] = v, p[i]
			*to++
		}
		from = 1 - from
	}
	return pos[from]
}

func intKeys[T int8 | uint8 | int32 | int64](dst []uint64, src unsafe.Pointer, stride int) {
	for i := range dst {
		dst[i] = uint64(int64(*(*T)(unsafe.Add(src, i*stride)))) ^ 1<<63
	}
}

func float64Keys(dst []uint64, src unsafe.Pointer, stride int) {
	for i := range dst {
		v := *(*float64)(unsafe.Add(src, i*stride))
		b := math.Float64bits(v)
		switch {
		case v != v: // larger than every number
			b = math.MaxUint64
		case v == 0: // of either sign
			b = 1 << 63
		case v > 0:
			b |= 1 << 63
		default:
			b = ^b
		}
		dst[i] = b
	}
}

func float32Keys(dst []uint64, src unsafe.Pointer, stride int) {
	for i := range dst {
		dst[i] = float32Key(*(*float32)(unsafe.Add(src, i*stride)))
	}
}

func halfKeys(convert func(uint16) float32) func(dst []uint64, src unsafe.Pointer, stride int) {
	return func(dst []uint64, src unsafe.Pointer, stride int) {
		for i := range dst {
			dst[i] = float32Key(convert(*(*uint16)(unsafe.Add(src, i*stride))))
		}
	}
}

// float32Key is as in float64Keys, in 32 bits.
func float32Key(v float32) uint64 {
	b := math.Float32bits(v)
	switch {
	case v != v:
		return math.MaxUint32
	case v == 0:
		return 1 << 31
	case v > 0:
		return uint64(b | 1<<31)
	}
	return uint64(^b)
}
