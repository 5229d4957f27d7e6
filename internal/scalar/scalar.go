// Package scalar is the meaning of the elementwise operations on single elements, said
// as plainly as it can be. The tests of the compiler and of the backends compute what
// they expect with it.
package scalar

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

func (n Number) String() string {
	if n.F != 0 || math.Signbit(n.F) {
		return fmt.Sprint(n.F)
	}
	return fmt.Sprint(n.I)
}

// Get reads element i of memory that holds type d.
func Get(d dtype.DType, mem []byte, i int) Number {
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

// Put writes element i: integers wrap, floats are rounded, those of 16 bits by way
// of float32.
func Put(d dtype.DType, mem []byte, i int, n Number) {
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

// Rounded is n as type d holds it.
func Rounded(d dtype.DType, n Number) Number {
	var mem [8]byte
	Put(d, mem[:], 0, n)
	return Get(d, mem[:], 0)
}

// Literal is the Number that Imm bits of type d stand for.
func Literal(d dtype.DType, b uint64) Number {
	if d.IsFloat() {
		return Number{F: math.Float64frombits(b)}
	}
	return Number{I: int64(b)}
}

// Bits is the literal of v in type d.
func Bits(d dtype.DType, v float64) uint64 {
	if d.IsFloat() {
		return ir.FloatBits(d, v)
	}
	return ir.IntBits(d, int64(v))
}

// Apply is the meaning of an elementwise operation with a result of type to, on
// operands of which the first is of type from, before it is rounded. key is for
// ir.RNGBits, whose operands are the element's number and the step.
func Apply(op ir.Op, to, from dtype.DType, key ir.RNG, x [3]Number) Number {
	switch op {
	case ir.Select:
		if x[0].I != 0 {
			return x[1]
		}
		return x[2]
	case ir.Convert:
		return convert(from, to, x[0])
	case ir.Bitcast:
		var mem [8]byte
		Put(from, mem[:], 0, x[0])
		return Get(to, mem[:], 0)
	case ir.RNGBits:
		return Number{I: int64(int32(philox.Word(uint64(x[0].I), uint64(x[1].I), philox.NewKey(key.Seed, key.Site))))}
	}
	if !from.IsFloat() {
		return Number{I: whole(op, from, x[0].I, x[1].I)}
	}
	v := op.Info().F64(x[0].F, x[1].F)
	if op.IsCompare() {
		return Number{I: int64(v)}
	}
	return Number{F: v}
}

// convert cuts floats off towards zero when they become integers; what does not
// fit becomes the nearest integer that does, and NaN zero. All but zero is true.
func convert(from, to dtype.DType, x Number) Number {
	switch {
	case to == dtype.Bool:
		return Number{I: Truth(x.F != 0 || x.I != 0)}
	case from.IsFloat() == to.IsFloat():
		return x
	case to.IsFloat():
		return Number{F: asFloat(to, x.I)}
	}
	low, high := Limits(to)
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

// asFloat is i in a float type, or in float64 where that does not round.
func asFloat(d dtype.DType, i int64) float64 {
	if d == dtype.Float64 {
		return float64(i)
	}
	return float64(float32(i))
}

// Limits are the smallest and largest integer of a type.
func Limits(d dtype.DType) (low, high int64) {
	if d == dtype.Uint8 {
		return 0, math.MaxUint8
	}
	high = 1<<(8*d.Size()-1) - 1
	return -high - 1, high
}

// whole is the arithmetic of integers and of bool. What does not fit wraps when it
// is stored.
func whole(op ir.Op, d dtype.DType, a, b int64) int64 {
	size := int64(8 * d.Size())
	switch op {
	case ir.Neg:
		return -a
	case ir.Abs:
		return max(a, -a)
	case ir.Sign:
		return Truth(a > 0) - Truth(a < 0)
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
	case ir.Rem:
		if b == 0 {
			return 0
		}
		return a % b
	case ir.Pow:
		return power(a, b)
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
	case ir.Shl:
		if b < 0 || b >= size {
			return 0
		}
		return a << b
	case ir.Shr:
		if b < 0 || b >= size {
			b = 63
		}
		return a >> b
	case ir.Eq:
		return Truth(a == b)
	case ir.Ne:
		return Truth(a != b)
	case ir.Lt:
		return Truth(a < b)
	case ir.Le:
		return Truth(a <= b)
	}
	panic(fmt.Sprintf("scalar: nothing says what %v of %v is; add it to whole", op, d))
}

// power is a to the b, by its bits, or what of 1/a^|b| is whole.
func power(a, b int64) int64 {
	if b < 0 {
		switch {
		case a == 1, a == -1 && b&1 == 0:
			return 1
		case a == -1:
			return -1
		}
		return 0
	}
	p := int64(1)
	for ; b > 0; b >>= 1 {
		if b&1 != 0 {
			p *= a
		}
		a *= a
	}
	return p
}

// Truth is b as an element.
func Truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
