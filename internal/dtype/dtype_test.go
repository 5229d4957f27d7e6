package dtype

import (
	"math"
	"testing"
)

// Every one of the 65,536 bit patterns survives the way to float32 and back.
func TestHalfRoundTrip(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		if f := Float16ToFloat32(h); f == f && Float16FromFloat32(f) != h {
			t.Fatalf("float16 %#04x -> %g -> %#04x", h, f, Float16FromFloat32(f))
		} else if f != f && h&0x7c00 != 0x7c00 {
			t.Fatalf("float16 %#04x became NaN", h)
		}
		if f := BFloat16ToFloat32(h); f == f && BFloat16FromFloat32(f) != h {
			t.Fatalf("bfloat16 %#04x -> %g -> %#04x", h, f, BFloat16FromFloat32(f))
		}
	}
}

// IEEE 754 round to nearest even, at the places where it is easy to get wrong.
func TestHalfRounding(t *testing.T) {
	for _, c := range []struct {
		f    float32
		want uint16
	}{
		{1, 0x3c00}, {65504, 0x7bff}, {65519.996, 0x7bff}, {65520, 0x7c00}, {-65520, 0xfc00},
		{1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, // ties to even
		{5.9604645e-8, 1}, {2.9802322e-8, 0}, {2.9802326e-8, 1}, {8.940697e-8, 2}, // subnormals
		{6.1035156e-5, 0x400}, {6.1005e-5, 0x3ff}, {float32(math.Copysign(0, -1)), 0x8000},
	} {
		if got := Float16FromFloat32(c.f); got != c.want {
			t.Errorf("float16(%g) = %#04x, want %#04x", c.f, got, c.want)
		}
	}
	for _, c := range []struct {
		bits uint32
		want uint16
	}{{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x7f7fffff, 0x7f80}} {
		if got := BFloat16FromFloat32(math.Float32frombits(c.bits)); got != c.want {
			t.Errorf("bfloat16(%#08x) = %#04x, want %#04x", c.bits, got, c.want)
		}
	}
	nan := float32(math.NaN())
	if h := Float16FromFloat32(nan); h&0x7c00 != 0x7c00 || h&0x3ff == 0 {
		t.Errorf("float16(NaN) = %#04x", h)
	}
	if h := BFloat16FromFloat32(math.Float32frombits(0x7f800001)); h&0x7f80 != 0x7f80 || h&0x7f == 0 {
		t.Errorf("bfloat16(NaN) = %#04x", h)
	}
}

func TestPromote(t *testing.T) {
	for _, c := range [][3]DType{{Bool, Int8, Int8}, {Int64, Float16, Float16}, {Float16, BFloat16, Float32}, {Uint8, Int8, Int32}, {Float32, Float64, Float64}} {
		if got := Promote(c[0], c[1]); got != c[2] {
			t.Errorf("Promote(%v, %v) = %v, want %v", c[0], c[1], got, c[2])
		}
		if got := Promote(c[1], c[0]); got != c[2] {
			t.Errorf("Promote(%v, %v) = %v, want %v", c[1], c[0], got, c[2])
		}
	}
	for _, d := range All() {
		if got, err := Parse(d.String()); err != nil || got != d {
			t.Errorf("Parse(%q) = %v, %v", d.String(), got, err)
		}
	}
}
