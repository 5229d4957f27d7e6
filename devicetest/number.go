package devicetest

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/philox"
)

// number is the value of an element: that of a floating-point type in f, that of
// any other in i.
type number struct {
	f float64
	i int64
}

var inf, nan, minusZero = math.Inf(1), math.NaN(), math.Copysign(0, -1)

// get reads element i of memory that holds type d.
func get(d dtype.DType, mem []byte, i int) number {
	p := mem[i*d.Size():]
	switch d {
	case dtype.Bool, dtype.Uint8:
		return number{i: int64(p[0])}
	case dtype.Int8:
		return number{i: int64(int8(p[0]))}
	case dtype.Int32:
		return number{i: int64(int32(binary.LittleEndian.Uint32(p)))}
	case dtype.Int64:
		return number{i: int64(binary.LittleEndian.Uint64(p))}
	case dtype.Float16:
		return number{f: float64(dtype.Float16ToFloat32(binary.LittleEndian.Uint16(p)))}
	case dtype.BFloat16:
		return number{f: float64(dtype.BFloat16ToFloat32(binary.LittleEndian.Uint16(p)))}
	case dtype.Float32:
		return number{f: float64(math.Float32frombits(binary.LittleEndian.Uint32(p)))}
	}
	return number{f: math.Float64frombits(binary.LittleEndian.Uint64(p))}
}

// put writes element i: integers wrap, floats are rounded, those of 16 bits by way
// of float32.
func put(d dtype.DType, mem []byte, i int, n number) {
	p := mem[i*d.Size():]
	switch d {
	case dtype.Bool, dtype.Uint8, dtype.Int8:
		p[0] = byte(n.i)
	case dtype.Int32:
		binary.LittleEndian.PutUint32(p, uint32(n.i))
	case dtype.Int64:
		binary.LittleEndian.PutUint64(p, uint64(n.i))
	case dtype.Float16:
		binary.LittleEndian.PutUint16(p, dtype.Float16FromFloat32(float32(n.f)))
	case dtype.BFloat16:
		binary.LittleEndian.PutUint16(p, dtype.BFloat16FromFloat32(float32(n.f)))
	case dtype.Float32:
		binary.LittleEndian.PutUint32(p, math.Float32bits(float32(n.f)))
	case dtype.Float64:
		binary.LittleEndian.PutUint64(p, math.Float64bits(n.f))
	}
}

// rounded is n as type d holds it.
func rounded(d dtype.DType, n number) number {
	var mem [8]byte
	put(d, mem[:], 0, n)
	return get(d, mem[:], 0)
}

// literal is the number that Imm bits of type d stand for, and bits the reverse.
func literal(d dtype.DType, b uint64) number {
	if d.IsFloat() {
		return number{f: math.Float64frombits(b)}
	}
	return number{i: int64(b)}
}

func bits(d dtype.DType, v float64) uint64 {
	if d.IsFloat() {
		return ir.FloatBits(d, v)
	}
	return ir.IntBits(d, int64(v))
}

// apply is the meaning of an elementwise instruction whose first operand is of type
// from, before it is rounded to the instruction's type.
func apply(in *kernel.Instr, from dtype.DType, x [3]number) number {
	switch in.Op {
	case ir.Select:
		if x[0].i != 0 {
			return x[1]
		}
		return x[2]
	case ir.Convert:
		return convert(from, in.DType, x[0])
	case ir.Bitcast:
		var mem [8]byte
		put(from, mem[:], 0, x[0])
		return get(in.DType, mem[:], 0)
	case ir.RNGBits:
		return number{i: int64(int32(philox.Word(uint64(x[0].i), uint64(x[1].i), philox.NewKey(in.RNG.Seed, in.RNG.Site))))}
	}
	if !from.IsFloat() {
		return number{i: whole(in.Op, from, x[0].i, x[1].i)}
	}
	v := in.Op.Info().F64(x[0].f, x[1].f)
	if in.Op.IsCompare() {
		return number{i: int64(v)}
	}
	return number{f: v}
}

// convert cuts floats off towards zero when they become integers; what does not
// fit becomes the nearest integer that does, and NaN zero. All but zero is true.
func convert(from, to dtype.DType, x number) number {
	switch {
	case to == dtype.Bool:
		return number{i: truth(x.f != 0 || x.i != 0)}
	case from.IsFloat() == to.IsFloat():
		return x
	case to.IsFloat():
		return number{f: asFloat(to, x.i)}
	}
	low, high := limits(to)
	switch {
	case x.f != x.f:
		return number{}
	case x.f <= float64(low):
		return number{i: low}
	case x.f >= float64(high):
		return number{i: high}
	}
	return number{i: int64(x.f)}
}

// asFloat is i in a float type, or in float64 where that does not round.
func asFloat(d dtype.DType, i int64) float64 {
	if d == dtype.Float64 {
		return float64(i)
	}
	return float64(float32(i))
}

// limits are the smallest and largest integer of a type.
func limits(d dtype.DType) (low, high int64) {
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
		return truth(a == b)
	case ir.Ne:
		return truth(a != b)
	case ir.Lt:
		return truth(a < b)
	case ir.Le:
		return truth(a <= b)
	}
	panic(fmt.Sprintf("devicetest: nothing says what %v of %v is; add it to whole", op, d))
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

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// accumulator adds numbers. It keeps what a float64 loses in an addition in a
// second one, so that its sums are right to the last digit.
type accumulator struct {
	sum  number
	lost float64
}

func (a *accumulator) add(n number) {
	before := a.sum.f
	a.sum = number{before + n.f, a.sum.i + n.i}
	after := a.sum.f - before
	a.lost += (before - (a.sum.f - after)) + (n.f - after)
}

// addProduct adds x·y.
func (a *accumulator) addProduct(x, y number) {
	p := x.f * y.f
	a.add(number{p, x.i * y.i})
	a.lost += math.FMA(x.f, y.f, -p)
}

func (a *accumulator) number() number {
	if math.IsNaN(a.lost) { // there were infinities
		return a.sum
	}
	return number{a.sum.f + a.lost, a.sum.i}
}

// less orders numbers; NaN is larger than every other.
func less(a, b number) bool {
	return a.f < b.f || a.i < b.i || b.f != b.f && a.f == a.f
}

// ulp is the distance between the numbers of type d around v.
func ulp(d dtype.DType, v float64) float64 {
	mantissa, least := 0, 0
	switch d {
	case dtype.Float16:
		mantissa, least = 10, -14
	case dtype.BFloat16:
		mantissa, least = 7, -126
	case dtype.Float32:
		mantissa, least = 23, -126
	case dtype.Float64:
		mantissa, least = 52, -1022
	}
	_, e := math.Frexp(v)
	return math.Ldexp(1, max(e-1, least)-mantissa)
}
