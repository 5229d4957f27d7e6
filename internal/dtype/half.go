package dtype

import "math"

// BFloat16FromFloat32 rounds f to the nearest bfloat16, ties to even. A NaN
// stays a (quiet) NaN.
func BFloat16FromFloat32(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// BFloat16ToFloat32 is exact.
func BFloat16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// Float16FromFloat32 rounds f to the nearest IEEE 754 binary16, ties to even;
// what is too large becomes an infinity and what is too small a subnormal or
// zero. A NaN stays a (quiet) NaN.
func Float16FromFloat32(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x477ff000: // rounds past 65504
		return sign | 0x7c00
	case b >= 0x38800000: // normal in binary16
		b += 0xfff + b>>13&1
		return sign | uint16((b-0x38000000)>>13)
	case b < 0x33000000: // below half of the smallest subnormal
		return sign
	}
	// Subnormal: value = m · 2^(e-150), wanted in units of 2^-24.
	e := b >> 23
	m := b&0x7fffff | 0x800000
	shift := 126 - e
	half := uint32(1) << (shift - 1)
	q := m >> shift
	rem := m & (1<<shift - 1)
	if rem > half || rem == half && q&1 == 1 {
		q++
	}
	return sign | uint16(q)
}

// Float16ToFloat32 is exact.
func Float16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	e, m := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case e == 31:
		return math.Float32frombits(sign | 0x7f800000 | m<<13)
	case e != 0:
		return math.Float32frombits(sign | (e+112)<<23 | m<<13)
	case m == 0:
		return math.Float32frombits(sign)
	}
	// Subnormal: m · 2^-24 is a normal float32.
	v := float32(m) * (1.0 / (1 << 24))
	return math.Float32frombits(sign | math.Float32bits(v))
}
