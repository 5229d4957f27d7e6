package codegen

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// storage is the C type of an element in memory.
func storage(d dtype.DType) string {
	return [...]string{dtype.Bool: "u8", dtype.Uint8: "u8", dtype.Int8: "i8", dtype.Int32: "i32", dtype.Int64: "i64",
		dtype.Float16: "u16", dtype.BFloat16: "u16", dtype.Float32: "f32", dtype.Float64: "f64"}[d]
}

// register is the C type of an element that is computed with. Narrow integers are kept
// as an i32 of the same value, 16-bit floats as the f32 that they are.
func register(d dtype.DType) string {
	switch d {
	case dtype.Int64:
		return "i64"
	case dtype.Float64:
		return "f64"
	case dtype.Float16, dtype.BFloat16, dtype.Float32:
		return "f32"
	}
	return "i32"
}

// decode makes a register's value of an element as it lies in memory.
func decode(d dtype.DType, x string) string {
	switch d {
	case dtype.Float16:
		return "f32_of_f16(" + x + ")"
	case dtype.BFloat16:
		return "f32_of_bf16(" + x + ")"
	case dtype.Bool, dtype.Uint8, dtype.Int8:
		return "(i32)" + x
	}
	return x
}

// encode is the inverse of decode.
func encode(d dtype.DType, x string) string {
	switch d {
	case dtype.Float16:
		return "f16_of_f32(" + x + ")"
	case dtype.BFloat16:
		return "bf16_of_f32(" + x + ")"
	case dtype.Bool, dtype.Uint8:
		return "(u8)" + x
	case dtype.Int8:
		return "(i8)" + x
	}
	return x
}

// decodeWord is element e (an expression that is constant once loops are unrolled) of
// memory that has been loaded into an array of u32.
func decodeWord(d dtype.DType, words, e string) string {
	switch d {
	case dtype.Float32:
		return fmt.Sprintf("f32_of_bits(%s[%s])", words, e)
	case dtype.Int32:
		return fmt.Sprintf("(i32)%s[%s]", words, e)
	case dtype.Float16:
		return fmt.Sprintf("f32_of_f16(half_word(%s[(%s) >> 1], (%s) & 1))", words, e, e)
	case dtype.BFloat16:
		return fmt.Sprintf("f32_of_bits(((%s) & 1) ? %s[(%s) >> 1] & 0xffff0000u : %s[(%s) >> 1] << 16)", e, words, e, words, e)
	case dtype.Bool, dtype.Uint8:
		return fmt.Sprintf("(i32)byte_word(%s[(%s) >> 2], (%s) & 3)", words, e, e)
	case dtype.Int8:
		return fmt.Sprintf("(i32)(i8)byte_word(%s[(%s) >> 2], (%s) & 3)", words, e, e)
	}
	long := fmt.Sprintf("((u64)%s[2 * (%s)] | (u64)%s[2 * (%s) + 1] << 32)", words, e, words, e)
	if d == dtype.Float64 {
		return "f64_of_bits" + long
	}
	return "(i64)" + long
}

// encodeWord is word j of memory that holds the elements of an array of registers.
func encodeWord(d dtype.DType, array, j string) string {
	switch d {
	case dtype.Float32:
		return fmt.Sprintf("bits_f32(%s[%s])", array, j)
	case dtype.Int32:
		return fmt.Sprintf("(u32)%s[%s]", array, j)
	case dtype.Float16:
		return fmt.Sprintf("pack_f16(%s[2 * (%s)], %s[2 * (%s) + 1])", array, j, array, j)
	case dtype.BFloat16:
		return fmt.Sprintf("pack_bf16(%s[2 * (%s)], %s[2 * (%s) + 1])", array, j, array, j)
	case dtype.Bool, dtype.Uint8, dtype.Int8:
		s := ""
		for i := range 4 {
			if i > 0 {
				s += " | "
			}
			s += fmt.Sprintf("(u32)(u8)%s[4 * (%s) + %d] << %d", array, j, i, 8*i)
		}
		return "(" + s + ")"
	case dtype.Float64:
		return fmt.Sprintf("(u32)(bits_f64(%s[(%s) >> 1]) >> (((%s) & 1) * 32))", array, j, j)
	}
	return fmt.Sprintf("(u32)((u64)%s[(%s) >> 1] >> (((%s) & 1) * 32))", array, j, j)
}

// rounded cuts the value of an expression in a register's type to what type d holds.
func rounded(d dtype.DType, x string) string {
	switch d {
	case dtype.Float16:
		return "round_f16(" + x + ")"
	case dtype.BFloat16:
		return "round_bf16(" + x + ")"
	case dtype.Uint8:
		return "(i32)(u8)(" + x + ")"
	case dtype.Int8:
		return "(i32)(i8)(" + x + ")"
	}
	return x
}

// literal is an Imm.
func literal(d dtype.DType, bits uint64) string {
	if d.IsFloat() {
		return floatLiteral(register(d), math.Float64frombits(bits))
	}
	v := int64(bits)
	switch {
	case d != dtype.Int64:
		return intLiteral(int(int32(v)))
	case v == math.MinInt64:
		return "(i64)((u64)1 << 63)"
	}
	return fmt.Sprintf("((i64)%d)", v)
}

func floatLiteral(ctype string, v float64) string {
	suffix := ""
	if ctype == "f32" {
		suffix = "f"
	}
	switch {
	case v != v && ctype == "f32":
		return "f32_of_bits(0x7fc00000u)"
	case v != v:
		return "f64_of_bits((u64)0x7ff80000u << 32)"
	case math.IsInf(v, 0) && ctype == "f32":
		return fmt.Sprintf("f32_of_bits(0x%08xu)", math.Float32bits(float32(v)))
	case math.IsInf(v, 0):
		return fmt.Sprintf("f64_of_bits((u64)0x%08xu << 32)", math.Float64bits(v)>>32)
	case v == math.Trunc(v) && math.Abs(v) < 1e6 && !(v == 0 && math.Signbit(v)):
		return "(" + strconv.FormatFloat(v, 'f', 1, 64) + suffix + ")"
	}
	return "(" + strconv.FormatFloat(v, 'x', -1, 64) + suffix + ")"
}

func intLiteral(v int) string {
	if v == math.MinInt32 {
		return "(-2147483647 - 1)"
	}
	if v < 0 {
		return fmt.Sprintf("(%d)", v)
	}
	return strconv.Itoa(v)
}

// apply is an elementwise operation with a result of type d on expressions of type
// from, without side effects and not rounded twice. RNGBits is not among them.
func apply(op ir.Op, d, from dtype.DType, x [3]string) (string, error) {
	call := func(f, suffix string, n int) string {
		s := f + "_" + suffix + "(" + x[0]
		for _, a := range x[1:n] {
			s += ", " + a
		}
		return s + ")"
	}
	reg := register(from)
	switch op {
	case ir.Select:
		return fmt.Sprintf("(%s ? %s : %s)", x[0], x[1], x[2]), nil
	case ir.Convert:
		return convert(d, from, x[0]), nil
	case ir.Bitcast:
		return bitcast(d, from, x[0])
	case ir.Eq:
		return fmt.Sprintf("(%s == %s)", x[0], x[1]), nil
	case ir.Ne:
		return fmt.Sprintf("(%s != %s)", x[0], x[1]), nil
	case ir.Lt:
		return fmt.Sprintf("(%s < %s)", x[0], x[1]), nil
	case ir.Le:
		return fmt.Sprintf("(%s <= %s)", x[0], x[1]), nil
	}
	if from.IsFloat() {
		switch op {
		case ir.Neg:
			return "(-" + x[0] + ")", nil // exact: nothing to round
		case ir.Abs, ir.Max, ir.Min, ir.Sign, ir.Floor, ir.Ceil, ir.Round, ir.Rem: // exact too
			return call(op.String(), reg, op.Info().Arity), nil
		case ir.Add:
			return rounded(d, "("+x[0]+" + "+x[1]+")"), nil
		case ir.Sub:
			return rounded(d, "("+x[0]+" - "+x[1]+")"), nil
		case ir.Mul:
			return rounded(d, "("+x[0]+" * "+x[1]+")"), nil
		case ir.Div:
			return rounded(d, "("+x[0]+" / "+x[1]+")"), nil
		case ir.Exp, ir.Expm1, ir.Log, ir.Log1p, ir.Sqrt, ir.Rsqrt, ir.Sin, ir.Cos, ir.Tanh, ir.Logistic, ir.Erf, ir.Pow:
			return rounded(d, call(op.String(), reg, op.Info().Arity)), nil
		}
		return "", fmt.Errorf("codegen: nothing says what %v of %v is", op, from)
	}
	long := reg == "i64"
	zero, bits := "0", 8*from.Size()
	switch op {
	case ir.Neg:
		return rounded(d, fmt.Sprintf("sub_%s(%s, %s)", reg, zero, x[0])), nil
	case ir.Abs:
		return rounded(d, fmt.Sprintf("(%s < 0 ? sub_%s(0, %s) : %s)", x[0], reg, x[0], x[0])), nil
	case ir.Sign:
		return fmt.Sprintf("(%s)((%s > 0) - (%s < 0))", reg, x[0], x[0]), nil
	case ir.Not:
		if from == dtype.Bool {
			return fmt.Sprintf("(1 - %s)", x[0]), nil
		}
		return rounded(d, "(~"+x[0]+")"), nil
	case ir.Add, ir.Sub, ir.Mul, ir.Div, ir.Rem:
		return rounded(d, call(op.String(), reg, 2)), nil
	case ir.Pow:
		s := fmt.Sprintf("pow_i64(%s, %s)", x[0], x[1])
		if !long {
			s = "(i32)" + s
		}
		return rounded(d, s), nil
	case ir.Max, ir.Min:
		return call(op.String(), reg, 2), nil
	case ir.And:
		return "(" + x[0] + " & " + x[1] + ")", nil
	case ir.Or:
		return "(" + x[0] + " | " + x[1] + ")", nil
	case ir.Xor:
		return "(" + x[0] + " ^ " + x[1] + ")", nil
	case ir.Shl:
		u := "u32"
		if long {
			u = "u64"
		}
		return rounded(d, fmt.Sprintf("(%s < 0 || %s >= %d ? 0 : (%s)((%s)%s << %s))", x[1], x[1], bits, reg, u, x[0], x[1])), nil
	case ir.Shr:
		last := 31
		if long {
			last = 63
		}
		return fmt.Sprintf("(%s >> (%s < 0 || %s >= %d ? %d : (i32)%s))", x[0], x[1], x[1], bits, last, x[1]), nil
	}
	return "", fmt.Errorf("codegen: nothing says what %v of %v is", op, from)
}

func convert(d, from dtype.DType, x string) string {
	switch {
	case d == dtype.Bool:
		return fmt.Sprintf("(%s != 0)", x)
	case d == dtype.Float64:
		return "(f64)" + x
	case d.IsFloat():
		return rounded(d, "(f32)"+x)
	case from.IsFloat():
		return fmt.Sprintf("%s_of_%s(%s)", storage(d), register(from), x)
	case d == dtype.Int64:
		return "(i64)" + x
	}
	return rounded(d, "(i32)"+x)
}

// bitcast takes the bits of a value. The NaN of a 16-bit float has the bits that every
// backend gives it, since a register does not keep them.
func bitcast(d, from dtype.DType, x string) (string, error) {
	if d.Size() != from.Size() {
		return "", fmt.Errorf("codegen: bitcast of %v to %v", from, d)
	}
	switch from {
	case dtype.Float16:
		x = fmt.Sprintf("(u16)(%s != %s ? bits_f32(%s) >> 16 & 0x8000 | 0x7e00 : f16_of_f32(%s))", x, x, x, x)
	case dtype.BFloat16:
		x = fmt.Sprintf("(u16)(bits_f32(%s) >> 16)", x)
	case dtype.Float32:
		x = "bits_f32(" + x + ")"
	case dtype.Float64:
		x = "bits_f64(" + x + ")"
	case dtype.Int32:
		x = "(u32)" + x
	case dtype.Int64:
		x = "(u64)" + x
	}
	switch d {
	case dtype.Float32:
		return "f32_of_bits(" + x + ")", nil
	case dtype.Float64:
		return "f64_of_bits(" + x + ")", nil
	case dtype.Float16:
		return "f32_of_f16(" + x + ")", nil
	case dtype.BFloat16:
		return "f32_of_bf16(" + x + ")", nil
	case dtype.Int32:
		return "(i32)" + x, nil
	case dtype.Int64:
		return "(i64)" + x, nil
	}
	return rounded(d, "(i32)"+x), nil
}

// identity is the value that changes nothing in a reduction.
func identity(op ir.Op, d dtype.DType) string {
	if op == ir.ReduceSum {
		return "0"
	}
	sign := -1.0
	if op == ir.ReduceMin {
		sign = 1
	}
	if d.IsFloat() {
		return floatLiteral(register(d), math.Inf(int(sign)))
	}
	low, high := int64(0), int64(1)
	switch d {
	case dtype.Bool:
	case dtype.Uint8:
		high = math.MaxUint8
	default:
		high = 1<<(8*d.Size()-1) - 1
		low = -high - 1
	}
	if sign < 0 {
		high = low
	}
	return literal(d, uint64(high))
}

// combine is one step of a reduction.
func combine(op ir.Op, d dtype.DType, a, b string) string {
	reg := register(d)
	switch {
	case op == ir.ReduceMax:
		return fmt.Sprintf("max_%s(%s, %s)", reg, a, b)
	case op == ir.ReduceMin:
		return fmt.Sprintf("min_%s(%s, %s)", reg, a, b)
	case d.IsFloat():
		return a + " + " + b
	}
	return fmt.Sprintf("add_%s(%s, %s)", reg, a, b)
}
