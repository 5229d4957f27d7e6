// Package graphtest is for the tests of the compiler's phases. It computes graphs
// and programs as slowly and plainly as possible, one element after the other, so
// that a graph can be compared with what a phase has made of it; and it makes up
// random graphs, nasty ones on purpose.
//
//	number.go   elements, and the scalar meaning of the operations
//	eval.go     the value of a graph
//	program.go  the results of a program
//	random.go   graphs
//	check.go    many of them, and the smallest one that fails
//
// All reductions add in row-major order, in the graph and in the program, so results
// are compared to the bit.
package graphtest

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/philox"
)

// Number is an element: that of a floating-point type in F, that of any other in I.
type Number struct {
	F float64
	I int64
}

// Tensor is elements in row-major order.
type Tensor struct {
	DType dtype.DType
	Shape []int
	V     []Number
}

func newTensor(d dtype.DType, sh []int) Tensor { return Tensor{d, sh, make([]Number, product(sh))} }

// Read is the tensor that lies in mem.
func Read(d dtype.DType, sh []int, mem []byte) Tensor {
	t := newTensor(d, sh)
	for i := range t.V {
		t.V[i] = get(d, mem, i)
	}
	return t
}

// Bytes is the tensor as it lies in memory.
func (t Tensor) Bytes() []byte {
	mem := make([]byte, len(t.V)*t.DType.Size())
	for i, n := range t.V {
		put(t.DType, mem, i, n)
	}
	return mem
}

// Diff tells where t first differs from want by a bit, or is empty. All NaN are
// equal.
func (t Tensor) Diff(want Tensor) string {
	if t.DType != want.DType || product(t.Shape) != product(want.Shape) {
		return fmt.Sprintf("is %v%v, want %v%v", t.DType, t.Shape, want.DType, want.Shape)
	}
	for i, g := range t.V {
		w := want.V[i]
		if g.I != w.I || math.Float64bits(g.F) != math.Float64bits(w.F) && (g.F == g.F || w.F == w.F) {
			return fmt.Sprintf("element %d is %v, want %v, of %v%v", i, g, w, want.DType, want.Shape)
		}
	}
	return ""
}

func (n Number) String() string {
	if n.F != 0 || math.Signbit(n.F) {
		return fmt.Sprint(n.F)
	}
	return fmt.Sprint(n.I)
}

func get(d dtype.DType, mem []byte, i int) Number {
	p := mem[i*d.Size():]
	switch d {
	case dtype.Bool, dtype.Uint8:
		return Number{I: int64(p[0])}
	case dtype.Int8:
		return Number{I: int64(int8(p[0]))}
	case dtype.Int32:
		return Number{I: int64(int32(binary.LittleEndian.Uint32(p)))}
	case dtype.Int64:
		return Number{I: int64(binary.LittleEndian.Uint64(p))}
	case dtype.Float16:
		return Number{F: float64(dtype.Float16ToFloat32(binary.LittleEndian.Uint16(p)))}
	case dtype.BFloat16:
		return Number{F: float64(dtype.BFloat16ToFloat32(binary.LittleEndian.Uint16(p)))}
	case dtype.Float32:
		return Number{F: float64(math.Float32frombits(binary.LittleEndian.Uint32(p)))}
	}
	return Number{F: math.Float64frombits(binary.LittleEndian.Uint64(p))}
}

// put rounds floats, those of 16 bits by way of float32, and wraps integers.
func put(d dtype.DType, mem []byte, i int, n Number) {
	p := mem[i*d.Size():]
	switch d {
	case dtype.Bool, dtype.Uint8, dtype.Int8:
		p[0] = byte(n.I)
	case dtype.Int32:
		binary.LittleEndian.PutUint32(p, uint32(n.I))
	case dtype.Int64:
		binary.LittleEndian.PutUint64(p, uint64(n.I))
	case dtype.Float16:
		binary.LittleEndian.PutUint16(p, dtype.Float16FromFloat32(float32(n.F)))
	case dtype.BFloat16:
		binary.LittleEndian.PutUint16(p, dtype.BFloat16FromFloat32(float32(n.F)))
	case dtype.Float32:
		binary.LittleEndian.PutUint32(p, math.Float32bits(float32(n.F)))
	case dtype.Float64:
		binary.LittleEndian.PutUint64(p, math.Float64bits(n.F))
	}
}

func rounded(d dtype.DType, n Number) Number {
	var mem [8]byte
	put(d, mem[:], 0, n)
	return get(d, mem[:], 0)
}

func literal(d dtype.DType, bits uint64) Number {
	if d.IsFloat() {
		return Number{F: math.Float64frombits(bits)}
	}
	return Number{I: int64(bits)}
}

// scalar is an elementwise operation on operands the first of which is of type from.
func scalar(op ir.Op, to, from dtype.DType, x [3]Number) Number {
	switch {
	case op == ir.Select:
		if x[0].I != 0 {
			return x[1]
		}
		return x[2]
	case op == ir.Convert:
		return rounded(to, converted(to, from, x[0]))
	case op == ir.Bitcast:
		var mem [8]byte
		put(from, mem[:], 0, x[0])
		return get(to, mem[:], 0)
	case from.IsFloat() && op.IsCompare():
		return Number{I: int64(op.Info().F64(x[0].F, x[1].F))}
	case from.IsFloat():
		return rounded(to, Number{F: op.Info().F64(x[0].F, x[1].F)})
	}
	return rounded(to, Number{I: whole(op, from, x[0].I, x[1].I)})
}

func converted(to, from dtype.DType, x Number) Number {
	switch {
	case to == dtype.Bool:
		return Number{I: truth(x.F != 0 || x.I != 0)}
	case from.IsFloat() == to.IsFloat():
		return x
	case to == dtype.Float64:
		return Number{F: float64(x.I)}
	case to.IsFloat():
		return Number{F: float64(float32(x.I))}
	}
	low, high := int64(0), int64(math.MaxUint8)
	if to != dtype.Uint8 {
		high = 1<<(8*to.Size()-1) - 1
		low = -high - 1
	}
	switch {
	case x.F != x.F:
		return Number{}
	case x.F <= float64(low):
		return Number{I: low}
	case x.F >= float64(high):
		return Number{I: high}
	}
	return Number{I: int64(x.F)}
}

// whole is the arithmetic of integers and bool, as far as the random graphs have it.
func whole(op ir.Op, d dtype.DType, a, b int64) int64 {
	switch op {
	case ir.Neg:
		return -a
	case ir.Abs:
		return max(a, -a)
	case ir.Sign:
		return truth(a > 0) - truth(a < 0)
	case ir.Not:
		if d == dtype.Bool {
			return 1 - a
		}
		return ^a
	case ir.Add:
		return a + b
	case ir.Sub:
		return a - b
	case ir.Mul:
		return a * b
	case ir.Div:
		if b == 0 {
			return 0
		}
		return a / b
	case ir.Max:
		return max(a, b)
	case ir.Min:
		return min(a, b)
	case ir.And:
		return a & b
	case ir.Or:
		return a | b
	case ir.Xor:
		return a ^ b
	case ir.Eq:
		return truth(a == b)
	case ir.Ne:
		return truth(a != b)
	case ir.Lt:
		return truth(a < b)
	case ir.Le:
		return truth(a <= b)
	}
	panic(fmt.Sprintf("graphtest: nothing says what %v of %v is", op, d))
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// random is element number of a tensor of random bits.
func random(key ir.RNG, element int, step Number) Number {
	return Number{I: int64(int32(philox.Word(uint64(element), uint64(step.I), philox.NewKey(key.Seed, key.Site))))}
}

// fold is what a reduction makes of elements, in their order.
func fold(op ir.Op, d dtype.DType, l []Number) Number {
	if op == ir.ReduceSum {
		var acc Number
		for _, v := range l {
			acc = Number{acc.F + v.F, acc.I + v.I}
		}
		return rounded(d, acc)
	}
	acc := l[0]
	for _, v := range l[1:] {
		if op == ir.ReduceMax {
			acc = Number{max(acc.F, v.F), max(acc.I, v.I)}
		} else {
			acc = Number{min(acc.F, v.F), min(acc.I, v.I)}
		}
	}
	return acc
}

func product(sh []int) int {
	n := 1
	for _, d := range sh {
		n *= d
	}
	return n
}
