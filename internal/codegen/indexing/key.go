package indexing

import "github.com/sinter-dl/sinter/internal/dtype"

// A key is an element as an unsigned integer of the same order, with NaN the largest of
// all and the zeros equal. What compares elements compares keys, so that it needs
// neither arithmetic on 16-bit floats nor a device with float64, and moves NaNs without
// a change of their bits.
type key struct {
	raw  string // type that the element is read as
	wide bool   // u64, not u32
	bits int    // how many of its bits count
	expr string // the key of $v
	nan  string // the key of NaN; "" if there is none
	min  string // the least element, as raw
}

func keyOf(d dtype.DType) key {
	switch d {
	case dtype.Int8:
		return key{raw: "u8", bits: 8, expr: "((u32)$v ^ 0x80u)", min: "0x80"}
	case dtype.Int32:
		return key{raw: "u32", bits: 32, expr: "($v ^ 0x80000000u)", min: "0x80000000u"}
	case dtype.Int64:
		return key{raw: "u64", wide: true, bits: 64, expr: "($v ^ (u64)1 << 63)", min: "(u64)1 << 63"}
	case dtype.Float16:
		return floatKey("u16", "u32", "0x7c00u", "0x8000u", "0xffffu", 16)
	case dtype.BFloat16:
		return floatKey("u16", "u32", "0x7f80u", "0x8000u", "0xffffu", 16)
	case dtype.Float32:
		return floatKey("u32", "u32", "0x7f800000u", "0x80000000u", "0xffffffffu", 32)
	case dtype.Float64:
		return floatKey("u64", "u64", "((u64)0x7ff << 52)", "((u64)1 << 63)", "(~(u64)0)", 64)
	}
	return key{raw: "u8", bits: 8, expr: "((u32)$v)", min: "0"} // bool, uint8
}

// floatKey is the key of a float whose bits are raw: a number's bits with the sign
// turned over if it is positive, and all of them if it is negative.
func floatKey(raw, word, inf, sign, all string, bits int) key {
	v := "(" + word + ")$v"
	mag := "(" + v + " & (" + all + " ^ " + sign + "))"
	return key{
		raw: raw, wide: word == "u64", bits: bits, nan: all, min: "(" + sign + " | " + inf + ")",
		expr: "(" + mag + " > " + inf + " ? " + all + " : " + mag + " == 0 ? " + sign +
			" : " + v + " & " + sign + " ? " + v + " ^ " + all + " : " + v + " | " + sign + ")",
	}
}

// ctype is the type of the keys.
func (k key) ctype() string {
	if k.wide {
		return "u64"
	}
	return "u32"
}

// of is the key of a variable of type raw.
func (k key) of(variable string) string { return expand(k.expr, vars{"v": variable}) }

// all is the mask of the bits that count.
func (k key) all() uint64 { return ^uint64(0) >> (64 - k.bits) }

// smallest is the key of a variable, in the opposite order but with NaN the largest
// still.
func (k key) smallest(variable string) string {
	of := k.of(variable)
	turned := "(" + of + " ^ " + k.mask() + ")"
	if k.nan == "" {
		return turned
	}
	return "(" + of + " == " + k.nan + " ? " + k.nan + " : " + turned + ")"
}

func (k key) mask() string {
	switch k.bits {
	case 8:
		return "0xffu"
	case 16:
		return "0xffffu"
	case 32:
		return "0xffffffffu"
	}
	return "(~(u64)0)"
}
