package vec

import (
	"math"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/philox"
)

type integer interface {
	~int8 | ~uint8 | ~int32 | ~int64
}

type float interface{ ~float32 | ~float64 }

type number interface{ integer | float }

// row is row r of a block as a slice of n elements.
func row[T any](p unsafe.Pointer, r, stride, n int) []T {
	return unsafe.Slice((*T)(unsafe.Add(p, r*stride)), n)
}

// dstRow is row r of the destination.
func dstRow[T any](g *Args, r int) []T { return row[T](g.Dst, r, g.DstRow, g.N) }

// operand is row r of an operand and the mask to apply to its indices: all ones,
// or zero where the operand is one element per row.
func operand[T any](g *Args, p unsafe.Pointer, r, stride int, scalar uint8) ([]T, int) {
	if g.Scalar&scalar != 0 {
		return row[T](p, r, stride, 1), 0
	}
	return row[T](p, r, stride, g.N), -1
}

// map1 makes a routine of a scalar function.
func map1[S, D any](f func(S) D) Func {
	return func(g *Args) {
		for r := range g.Rows {
			d := dstRow[D](g, r)
			x := row[S](g.A, r, g.ARow, g.N)
			for i := range d {
				d[i] = f(x[i])
			}
		}
	}
}

// map2 is map1 for two operands. The frequent operations have loops of their own
// below, because a call per element costs more than they do.
func map2[S, D any](f func(x, y S) D) Func {
	return func(g *Args) {
		for r := range g.Rows {
			d := dstRow[D](g, r)
			x, mx := operand[S](g, g.A, r, g.ARow, ScalarA)
			y, my := operand[S](g, g.B, r, g.BRow, ScalarB)
			for i := range d {
				d[i] = f(x[i&mx], y[i&my])
			}
		}
	}
}

func eq[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[uint8](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = truth(x[i&mx] == y[i&my])
		}
	}
}

func ne[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[uint8](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = truth(x[i&mx] != y[i&my])
		}
	}
}

func lt[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[uint8](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = truth(x[i&mx] < y[i&my])
		}
	}
}

func le[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[uint8](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = truth(x[i&mx] <= y[i&my])
		}
	}
}

func add[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = x[i&mx] + y[i&my]
		}
	}
}

func sub[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = x[i&mx] - y[i&my]
		}
	}
}

func mul[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = x[i&mx] * y[i&my]
		}
	}
}

func div[T float](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = x[i&mx] / y[i&my]
		}
	}
}

func maximum[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = max(x[i&mx], y[i&my])
		}
	}
}

func minimum[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x, mx := operand[T](g, g.A, r, g.ARow, ScalarA)
		y, my := operand[T](g, g.B, r, g.BRow, ScalarB)
		for i := range d {
			d[i] = min(x[i&mx], y[i&my])
		}
	}
}

func neg[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x := row[T](g.A, r, g.ARow, g.N)
		for i := range d {
			d[i] = -x[i]
		}
	}
}

// choose needs one routine per size only: it moves bits.
func choose[T any](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		c, mc := operand[uint8](g, g.A, r, g.ARow, ScalarA)
		x, mx := operand[T](g, g.B, r, g.BRow, ScalarB)
		y, my := operand[T](g, g.C, r, g.CRow, ScalarC)
		for i := range d {
			if c[i&mc] != 0 {
				d[i] = x[i&mx]
			} else {
				d[i] = y[i&my]
			}
		}
	}
}

func expand[T comparable](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x, m := operand[T](g, g.A, r, g.ARow, ScalarA)
		if m != 0 {
			copy(d, x)
			continue
		}
		fill(d, x[0])
	}
}

// fill leaves long runs to the runtime's routines, which use vectors.
func fill[T comparable](d []T, v T) {
	if v == *new(T) {
		clear(d)
		return
	}
	n := min(len(d), 64)
	for i := range d[:n] {
		d[i] = v
	}
	for ; n < len(d); n *= 2 {
		copy(d[n:], d[:n])
	}
}

// move goes along whichever axis of the source is the denser one in bands of a
// cache line's worth of rows, so that each line of either side is fetched once
// even when the move is a transpose.
func move[T any](g *Args) {
	const band = 16
	size := int(unsafe.Sizeof(*(*T)(nil)))
	if g.ACol == size && g.DstCol == size {
		for r := range g.Rows {
			copy(row[T](g.Dst, r, g.DstRow, g.N), row[T](g.A, r, g.ARow, g.N))
		}
		return
	}
	for r0 := 0; r0 < g.Rows; r0 += band {
		r1 := min(r0+band, g.Rows)
		for i := range g.N {
			for r := r0; r < r1; r++ {
				*(*T)(unsafe.Add(g.Dst, r*g.DstRow+i*g.DstCol)) = *(*T)(unsafe.Add(g.A, r*g.ARow+i*g.ACol))
			}
		}
	}
}

func index(g *Args) {
	for r := range g.Rows {
		d := dstRow[int64](g, r)
		v := g.Base + int64(r*g.ARow)
		for i := range d {
			d[i] = v
			v += int64(g.ACol)
		}
	}
}

// rngBits looks for runs of consecutive elements, which is how they nearly
// always come, because one block of the generator serves four of them.
func rngBits(g *Args) {
	step := uint64(*(*int64)(g.B))
	key := philox.Key(g.Key)
	for r := range g.Rows {
		d := dstRow[uint32](g, r)
		e, m := operand[int64](g, g.A, r, g.ARow, ScalarA)
		for i := 0; i < len(d); {
			first := e[i&m]
			n := 1
			if m != 0 {
				for i+n < len(d) && e[i+n] == first+int64(n) {
					n++
				}
			}
			philox.Words(d[i:i+n], uint64(first), step, key)
			i += n
		}
	}
}

// rowReduce makes the reduction of rows from one of adjacent elements.
func rowReduce[T any](f func([]T) T, op func(x, y T) T) Func {
	return func(g *Args) {
		for r := range g.Rows {
			d := row[T](g.Dst, r, g.DstRow, 1)
			d[0] = op(d[0], f(row[T](g.A, r, g.ARow, g.N)))
		}
	}
}

func colReduce[T any](op func(x, y T) T) Func {
	return func(g *Args) {
		d := row[T](g.Dst, 0, 0, g.N)
		for i := range d {
			s := *(*T)(unsafe.Add(g.A, i*int(unsafe.Sizeof(d[0]))))
			for r := 1; r < g.Rows; r++ {
				s = op(s, *(*T)(unsafe.Add(g.A, r*g.ARow+i*int(unsafe.Sizeof(d[0])))))
			}
			d[i] = op(d[i], s)
		}
	}
}

// sum adds pairwise above blocks of 64 elements, which are added in eight lanes:
// the error grows with the logarithm of the length.
func sum[T number](x []T) T {
	if len(x) > 64 {
		h := (len(x)/2 + 7) &^ 7
		return sum(x[:h]) + sum(x[h:])
	}
	var s [8]T
	for len(x) >= 8 {
		for i := range s {
			s[i] += x[i]
		}
		x = x[8:]
	}
	for i, v := range x {
		s[i] += v
	}
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
}

func fold[T any](op func(x, y T) T) func([]T) T {
	return func(x []T) T {
		v := x[0]
		for _, w := range x[1:] {
			v = op(v, w)
		}
		return v
	}
}

func plus[T number](x, y T) T    { return x + y }
func larger[T number](x, y T) T  { return max(x, y) }
func smaller[T number](x, y T) T { return min(x, y) }

func genericRowReduce(op ir.Op, t dtype.DType) Func {
	switch t {
	case dtype.Bool:
		return boolReduce(op, func(f func(x, y uint8) uint8) Func { return rowReduce(fold(f), f) })
	case dtype.Uint8:
		return rowReduceOf[uint8](op)
	case dtype.Int8:
		return rowReduceOf[int8](op)
	case dtype.Int32:
		return rowReduceOf[int32](op)
	case dtype.Int64:
		return rowReduceOf[int64](op)
	case dtype.Float32:
		return rowReduceOf[float32](op)
	case dtype.Float64:
		return rowReduceOf[float64](op)
	}
	return nil
}

func rowReduceOf[T number](op ir.Op) Func {
	switch op {
	case ir.ReduceSum:
		return rowReduce(sum[T], plus[T])
	case ir.ReduceMax:
		return rowReduce(fold(larger[T]), larger[T])
	case ir.ReduceMin:
		return rowReduce(fold(smaller[T]), smaller[T])
	}
	return nil
}

func genericColReduce(op ir.Op, t dtype.DType) Func {
	switch t {
	case dtype.Bool:
		return boolReduce(op, colReduce)
	case dtype.Uint8:
		return colReduceOf[uint8](op)
	case dtype.Int8:
		return colReduceOf[int8](op)
	case dtype.Int32:
		return colReduceOf[int32](op)
	case dtype.Int64:
		return colReduceOf[int64](op)
	case dtype.Float32:
		return colReduceOf[float32](op)
	case dtype.Float64:
		return colReduceOf[float64](op)
	}
	return nil
}

func colReduceOf[T number](op ir.Op) Func {
	switch op {
	case ir.ReduceSum:
		return colReduce(plus[T])
	case ir.ReduceMax:
		return colReduce(larger[T])
	case ir.ReduceMin:
		return colReduce(smaller[T])
	}
	return nil
}

// boolReduce reads a sum of truth values as "any", as the operation Add does.
func boolReduce(op ir.Op, mk func(func(x, y uint8) uint8) Func) Func {
	switch op {
	case ir.ReduceSum, ir.ReduceMax:
		return mk(func(x, y uint8) uint8 { return x | y })
	case ir.ReduceMin:
		return mk(func(x, y uint8) uint8 { return x & y })
	}
	return nil
}

// Identity is the value, in the bits of the type, that a reduction starts from.
func Identity(op ir.Op, t dtype.DType) uint64 {
	var lo, hi uint64 // the smallest and the largest value
	switch t {
	case dtype.Bool:
		lo, hi = 0, 1
	case dtype.Uint8:
		lo, hi = 0, math.MaxUint8
	case dtype.Int8:
		lo, hi = 0x80, math.MaxInt8
	case dtype.Int32:
		lo, hi = 1<<31, math.MaxInt32
	case dtype.Int64:
		lo, hi = 1<<63, math.MaxInt64
	case dtype.Float32:
		lo, hi = 0xff800000, 0x7f800000
	case dtype.Float64:
		lo, hi = 0xfff0000000000000, 0x7ff0000000000000
	}
	switch op {
	case ir.ReduceMax:
		return lo
	case ir.ReduceMin:
		return hi
	}
	return 0
}

func genericWindow(op ir.Op, t dtype.DType) Func {
	switch t {
	case dtype.Bool, dtype.Uint8:
		return windowOf[uint8](op)
	case dtype.Int8:
		return windowOf[int8](op)
	case dtype.Int32:
		return windowOf[int32](op)
	case dtype.Int64:
		return windowOf[int64](op)
	case dtype.Float32:
		return windowOf[float32](op)
	case dtype.Float64:
		return windowOf[float64](op)
	}
	return nil
}

func windowOf[T number](op ir.Op) Func {
	switch op {
	case ir.ReduceWindowSum:
		return windowSum[T]
	case ir.ReduceWindowMax:
		return windowMax[T]
	case ir.ReduceWindowArgMax:
		return windowArgMax[T]
	}
	return nil
}

// taps calls f for every element of the windows of a row: x[i·step] is number k of
// window i.
func taps[T any](g *Args, r int, f func(k, step int, x []T)) {
	size := int(unsafe.Sizeof(*(*T)(nil)))
	step := g.ACol / size
	for k, off := range unsafe.Slice((*int64)(g.B), g.DstCol) {
		f(k, step, row[T](unsafe.Add(g.A, int(off)), r, g.ARow, (g.N-1)*step+1))
	}
}

func windowSum[T number](g *Args) {
	start := *(*T)(g.C)
	for r := range g.Rows {
		d := dstRow[T](g, r)
		taps(g, r, func(k, step int, x []T) {
			if k == 0 {
				for i := range d {
					d[i] = start + x[i*step]
				}
				return
			}
			for i := range d {
				d[i] += x[i*step]
			}
		})
	}
}

func windowMax[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		taps(g, r, func(k, step int, x []T) {
			if k == 0 {
				for i := range d {
					d[i] = x[i*step]
				}
				return
			}
			for i, best := range d {
				// Without a branch that could go either way; max itself takes 0 for
				// larger than -0.
				if m := max(best, x[i*step]); m != 0 || best != 0 {
					d[i] = m
				}
			}
		})
	}
}

func windowArgMax[T number](g *Args) {
	size := int(unsafe.Sizeof(*(*T)(nil)))
	for r := range g.Rows {
		d := dstRow[int32](g, r)
		taps(g, r, func(k, step int, x []T) {
			p := int((uintptr(unsafe.Pointer(&x[0])) - uintptr(g.C)) / uintptr(size))
			if k == 0 {
				for i := range d {
					d[i] = int32(p + i*step)
				}
				return
			}
			for i, was := range d {
				best, v := *(*T)(unsafe.Add(g.C, int(was)*size)), x[i*step]
				at := int(was)
				if v > best {
					at = p + i*step
				}
				if v != v && best == best {
					at = p + i*step
				}
				d[i] = int32(at)
			}
		})
	}
}

func genericMaxPairs(t dtype.DType) Func {
	switch t {
	case dtype.Bool, dtype.Uint8:
		return maxPairs[uint8]
	case dtype.Int8:
		return maxPairs[int8]
	case dtype.Int32:
		return maxPairs[int32]
	case dtype.Int64:
		return maxPairs[int64]
	case dtype.Float32:
		return maxPairs[float32]
	case dtype.Float64:
		return maxPairs[float64]
	}
	return nil
}

func maxPairs[T number](g *Args) {
	for r := range g.Rows {
		d := dstRow[T](g, r)
		x, y := row[T](g.A, r, g.ARow, 2*g.N), row[T](g.B, r, g.BRow, 2*g.N)
		for i := range d {
			a, b := x[2*i:2*i+2], y[2*i:2*i+2]
			d[i] = max(a[0], a[1], b[0], b[1])
		}
	}
}

func softmaxColumns[T float](g *Args) {
	top, sum, shrink := row[T](g.A, 0, 0, g.N), row[T](g.B, 0, 0, g.N), row[T](g.C, 0, 0, g.N)
	less := func(x, top T) T {
		if math.IsInf(float64(top), -1) {
			return x
		}
		return x - top
	}
	copy(shrink, top)
	for r := range g.Rows {
		for i, x := range dstRow[T](g, r) {
			if x > top[i] {
				top[i] = x
			}
		}
	}
	for i, x := range shrink {
		shrink[i] = T(math.Exp(float64(less(x, top[i]))))
		sum[i] *= shrink[i]
	}
	for r := range g.Rows {
		d := dstRow[T](g, r)
		for i, x := range d {
			d[i] = T(math.Exp(float64(less(x, top[i]))))
			sum[i] += d[i]
		}
	}
}

func softmaxGradColumns[T float](g *Args) {
	lse, delta := row[T](g.B, 0, 0, g.N), row[T](g.C, 0, 0, g.N)
	for r := range g.Rows {
		p, d := dstRow[T](g, r), row[T](g.A, r, g.ARow, g.N)
		for i, x := range p {
			p[i] = T(math.Exp(float64(x - lse[i])))
			d[i] = p[i] * (d[i] - delta[i])
		}
	}
}

func scale[T float](g *Args) {
	for r := range g.Rows {
		a, b := row[T](g.A, r, g.ARow, g.N), *(*T)(unsafe.Add(g.B, r*g.BRow))
		for i, d := 0, dstRow[T](g, r); i < len(d); i++ {
			p := T(a[i] * b) // rounded: not to be fused with what follows
			d[i] = p + 0
		}
	}
}
