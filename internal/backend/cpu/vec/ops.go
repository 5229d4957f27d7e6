package vec

import (
	"math"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

func genericUnary(op ir.Op, t dtype.DType) Func {
	switch t {
	case dtype.Bool:
		if op == ir.Not {
			return map1(func(x uint8) uint8 { return x ^ 1 })
		}
	case dtype.Uint8:
		return integerUnary[uint8](op)
	case dtype.Int8:
		return integerUnary[int8](op)
	case dtype.Int32:
		return integerUnary[int32](op)
	case dtype.Int64:
		return integerUnary[int64](op)
	case dtype.Float32:
		return floatUnary[float32](op)
	case dtype.Float64:
		return floatUnary[float64](op)
	}
	return nil
}

func integerUnary[T integer](op ir.Op) Func {
	switch op {
	case ir.Neg:
		return neg[T]
	case ir.Abs:
		return map1(func(x T) T {
			if x < 0 {
				return -x
			}
			return x
		})
	case ir.Sign:
		return map1(func(x T) T {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return ^T(0) // -1, of a type that may be unsigned and then never gets here
			}
			return 0
		})
	case ir.Not:
		return map1(func(x T) T { return ^x })
	case ir.Floor, ir.Ceil, ir.Round:
		return map1(func(x T) T { return x })
	}
	return nil
}

// floatUnary computes in float64 whatever is not exact, so that a float32 result
// is right to its last bit nearly always. The meaning is the operation table's.
func floatUnary[T float](op ir.Op) Func {
	switch op {
	case ir.Neg:
		return neg[T]
	case ir.Not, ir.Convert, ir.Bitcast:
		return nil
	}
	f := op.Info().F64
	if f == nil || op.Info().Arity != 1 {
		return nil
	}
	return map1(func(x T) T { return T(f(float64(x), 0)) })
}

func genericBinary(op ir.Op, t dtype.DType) Func {
	switch t {
	case dtype.Bool:
		return boolBinary(op)
	case dtype.Uint8:
		return integerBinary[uint8](op, 8)
	case dtype.Int8:
		return integerBinary[int8](op, 8)
	case dtype.Int32:
		return integerBinary[int32](op, 32)
	case dtype.Int64:
		return integerBinary[int64](op, 64)
	case dtype.Float32:
		return floatBinary[float32](op)
	case dtype.Float64:
		return floatBinary[float64](op)
	}
	return nil
}

// boolBinary is the arithmetic of truth values: a sum is "or" and a product is
// "and", as in PyTorch.
func boolBinary(op ir.Op) Func {
	switch op {
	case ir.And, ir.Mul, ir.Min:
		return map2(func(x, y uint8) uint8 { return x & y })
	case ir.Or, ir.Add, ir.Max:
		return map2(func(x, y uint8) uint8 { return x | y })
	case ir.Xor:
		return map2(func(x, y uint8) uint8 { return x ^ y })
	}
	return compare[uint8](op)
}

func integerBinary[T integer](op ir.Op, bits uint) Func {
	switch op {
	case ir.Add:
		return add[T]
	case ir.Sub:
		return sub[T]
	case ir.Mul:
		return mul[T]
	case ir.Max:
		return maximum[T]
	case ir.Min:
		return minimum[T]
	case ir.Div:
		return map2(func(x, y T) T {
			if y == 0 {
				return 0
			}
			return x / y
		})
	case ir.Rem:
		return map2(func(x, y T) T {
			if y == 0 {
				return 0
			}
			return x % y
		})
	case ir.Pow:
		return map2(power[T])
	case ir.And:
		return map2(func(x, y T) T { return x & y })
	case ir.Or:
		return map2(func(x, y T) T { return x | y })
	case ir.Xor:
		return map2(func(x, y T) T { return x ^ y })
	case ir.Shl:
		return map2(func(x, y T) T { return x << shift(y, bits) })
	case ir.Shr:
		return map2(func(x, y T) T { return x >> shift(y, bits) })
	}
	return compare[T](op)
}

// shift is a shift count: one that is negative or not below the width shifts
// everything out.
func shift[T integer](y T, bits uint) uint {
	if y < 0 {
		return bits
	}
	return min(uint(y), bits)
}

// power is x to the y by squaring, wrapping; a negative exponent gives the
// truncated quotient 1/x^|y|, and 0 where that does not exist.
func power[T integer](x, y T) T {
	if y < 0 {
		switch {
		case x == 1:
			return 1
		case x == ^T(0) && y&1 != 0:
			return x
		case x == ^T(0):
			return 1
		}
		return 0
	}
	p := T(1)
	for y != 0 {
		if y&1 != 0 {
			p *= x
		}
		x *= x
		y >>= 1
	}
	return p
}

func floatBinary[T float](op ir.Op) Func {
	switch op {
	case ir.Add:
		return add[T]
	case ir.Sub:
		return sub[T]
	case ir.Mul:
		return mul[T]
	case ir.Div:
		return div[T]
	case ir.Max:
		return maximum[T]
	case ir.Min:
		return minimum[T]
	case ir.Rem:
		return map2(func(x, y T) T { return T(math.Mod(float64(x), float64(y))) })
	case ir.Pow:
		return map2(func(x, y T) T { return T(math.Pow(float64(x), float64(y))) })
	}
	return compare[T](op)
}

func compare[T number](op ir.Op) Func {
	switch op {
	case ir.Eq:
		return eq[T]
	case ir.Ne:
		return ne[T]
	case ir.Lt:
		return lt[T]
	case ir.Le:
		return le[T]
	}
	return nil
}

func truth(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func genericConvert(from, to dtype.DType) Func {
	switch {
	case from == dtype.Float16 && to == dtype.Float32:
		return map1(dtype.Float16ToFloat32)
	case from == dtype.Float32 && to == dtype.Float16:
		return map1(dtype.Float16FromFloat32)
	case from == dtype.BFloat16 && to == dtype.Float32:
		return map1(dtype.BFloat16ToFloat32)
	case from == dtype.Float32 && to == dtype.BFloat16:
		return map1(dtype.BFloat16FromFloat32)
	case from == to && from == dtype.Float16:
		return map1(func(x float32) float32 { return dtype.Float16ToFloat32(dtype.Float16FromFloat32(x)) })
	case from == to && from == dtype.BFloat16:
		return map1(func(x float32) float32 { return dtype.BFloat16ToFloat32(dtype.BFloat16FromFloat32(x)) })
	case from == to:
		size := from.Size()
		return func(g *Args) {
			for r := range g.Rows {
				copy(row[byte](g.Dst, r, g.DstRow, g.N*size), row[byte](g.A, r, g.ARow, g.N*size))
			}
		}
	}
	switch from {
	case dtype.Bool, dtype.Uint8:
		return convertInteger[uint8](to)
	case dtype.Int8:
		return convertInteger[int8](to)
	case dtype.Int32:
		return convertInteger[int32](to)
	case dtype.Int64:
		return convertInteger[int64](to)
	case dtype.Float32:
		return convertFloat[float32](to)
	case dtype.Float64:
		return convertFloat[float64](to)
	}
	return nil
}

func convertInteger[S integer](to dtype.DType) Func {
	switch to {
	case dtype.Bool:
		return map1(func(x S) uint8 { return truth(x != 0) })
	case dtype.Uint8:
		return map1(func(x S) uint8 { return uint8(x) })
	case dtype.Int8:
		return map1(func(x S) int8 { return int8(x) })
	case dtype.Int32:
		return map1(func(x S) int32 { return int32(x) })
	case dtype.Int64:
		return map1(func(x S) int64 { return int64(x) })
	case dtype.Float32:
		return map1(func(x S) float32 { return float32(x) })
	case dtype.Float64:
		return map1(func(x S) float64 { return float64(x) })
	}
	return nil
}

func convertFloat[S float](to dtype.DType) Func {
	switch to {
	case dtype.Bool:
		return map1(func(x S) uint8 { return truth(x != 0) })
	case dtype.Uint8:
		return map1(func(x S) uint8 { return saturate[uint8](float64(x), 0, math.MaxUint8) })
	case dtype.Int8:
		return map1(func(x S) int8 { return saturate[int8](float64(x), math.MinInt8, math.MaxInt8) })
	case dtype.Int32:
		return map1(func(x S) int32 { return saturate[int32](float64(x), math.MinInt32, math.MaxInt32) })
	case dtype.Int64:
		return map1(func(x S) int64 { return saturate[int64](float64(x), math.MinInt64, math.MaxInt64) })
	case dtype.Float32:
		return map1(func(x S) float32 { return float32(x) })
	case dtype.Float64:
		return map1(func(x S) float64 { return float64(x) })
	}
	return nil
}

// saturate truncates towards zero; what does not fit becomes the nearest value
// that does, and NaN zero. (Go leaves both to the processor.)
func saturate[T integer](x float64, lo, hi T) T {
	switch {
	case x != x:
		return 0
	case x <= float64(lo):
		return lo
	case x >= float64(hi):
		return hi
	}
	return T(x)
}
