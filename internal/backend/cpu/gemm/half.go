package gemm

import (
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// half is a type of 16 bits that operands may have, of values that float32 has too.
type half struct {
	float32 func(x uint16) float32
	row     func(dst []float32, src unsafe.Pointer) // of adjacent values
}

var (
	bfloat16 = half{dtype.BFloat16ToFloat32, func(dst []float32, src unsafe.Pointer) {
		for i, x := range unsafe.Slice((*uint16)(src), len(dst)) {
			dst[i] = dtype.BFloat16ToFloat32(x)
		}
	}}
	float16 = half{dtype.Float16ToFloat32, func(dst []float32, src unsafe.Pointer) {
		for i, x := range unsafe.Slice((*uint16)(src), len(dst)) {
			dst[i] = dtype.Float16ToFloat32(x)
		}
	}}
)

// columns converts columns c0 … c1 of rows k0 … kk of a panel of width columns.
func (h *half) columns(dst, src unsafe.Pointer, b Mat, k0, kk, c0, c1, width int) {
	d := unsafe.Slice((*float32)(dst), kk*width)
	for c := c0; c < c1; c++ {
		for k := k0; k < kk; k++ {
			d[k*width+c] = h.float32(*(*uint16)(unsafe.Add(src, (k*b.RS+c*b.CS)*2)))
		}
	}
}

// converting makes of a family for float32 one for operands of a half type, which
// packs them as float32.
func converting(f *family, h half) *family {
	c := *f
	c.in = 2
	c.copying, c.dot, c.axpy = nil, nil, nil
	c.packB = func(dst, src unsafe.Pointer, b Mat, kk, nr int) {
		d := unsafe.Slice((*float32)(dst), kk*c.nr)
		if nr < c.nr {
			clear(d)
		}
		if b.CS != 1 {
			h.columns(dst, src, b, 0, kk, 0, nr, c.nr)
			return
		}
		for k := range kk {
			h.row(d[k*c.nr:k*c.nr+nr], unsafe.Add(src, k*b.RS*2))
		}
	}
	c.packRow = func(dst, src unsafe.Pointer, kk, cs int) {
		d := unsafe.Slice((*float32)(dst), kk)
		if cs == 1 {
			h.row(d, src)
			return
		}
		for k := range d {
			d[k] = h.float32(*(*uint16)(unsafe.Add(src, k*cs*2)))
		}
	}
	c.packCol = func(dst, src unsafe.Pointer, kk, cs, mr int) {
		d := unsafe.Slice((*float32)(dst), kk*c.wide)
		for k := range kk {
			h.row(d[k*c.wide:k*c.wide+mr], unsafe.Add(src, k*cs*2))
		}
	}
	return &c
}

// packPairs copies columns c0 … c1 of rows k0 … kk of a panel to rows of width
// pairs. What it does not write is as it was.
func packPairs(dst, src unsafe.Pointer, b Mat, k0, kk, c0, c1, width int) {
	d := unsafe.Slice((*uint16)(dst), (kk+1)/2*width*2)
	for c := c0; c < c1; c++ {
		s := unsafe.Add(src, c*b.CS*2)
		for k := k0; k < kk; k++ {
			d[(k/2*width+c)*2+k%2] = *(*uint16)(unsafe.Add(s, k*b.RS*2))
		}
	}
}
