package gemm

import (
	"math"
	"unsafe"
)

// bfloat16 is the upper half of a float32.
type bfloat16 uint16

func (x bfloat16) float32() float32 { return math.Float32frombits(uint32(x) << 16) }

// converting makes of a family for float32 one for bfloat16 operands, which packs
// them as float32.
func converting(f *family) *family {
	c := *f
	c.in = 2
	c.copying, c.dot, c.axpy = nil, nil, nil
	c.packB = func(dst, src unsafe.Pointer, b Mat, kk, nr int) {
		d := unsafe.Slice((*float32)(dst), kk*c.nr)
		if nr < c.nr {
			clear(d)
		}
		if b.CS != 1 {
			widenColumns(dst, src, b, 0, kk, 0, nr, c.nr)
			return
		}
		for k := range kk {
			widenRow(d[k*c.nr:k*c.nr+nr], unsafe.Add(src, k*b.RS*2))
		}
	}
	c.packRow = func(dst, src unsafe.Pointer, kk, cs int) {
		d := unsafe.Slice((*float32)(dst), kk)
		if cs == 1 {
			widenRow(d, src)
			return
		}
		for k := range d {
			d[k] = (*(*bfloat16)(unsafe.Add(src, k*cs*2))).float32()
		}
	}
	c.packCol = func(dst, src unsafe.Pointer, kk, cs, mr int) {
		d := unsafe.Slice((*float32)(dst), kk*c.wide)
		for k := range kk {
			widenRow(d[k*c.wide:k*c.wide+mr], unsafe.Add(src, k*cs*2))
		}
	}
	return &c
}

// widenRow converts adjacent values.
func widenRow(dst []float32, src unsafe.Pointer) {
	for i, x := range unsafe.Slice((*bfloat16)(src), len(dst)) {
		dst[i] = x.float32()
	}
}

// widenColumns converts columns c0 … c1 of rows k0 … kk of a panel of width columns.
func widenColumns(dst, src unsafe.Pointer, b Mat, k0, kk, c0, c1, width int) {
	d := unsafe.Slice((*float32)(dst), kk*width)
	for c := c0; c < c1; c++ {
		for k := k0; k < kk; k++ {
			d[k*width+c] = (*(*bfloat16)(unsafe.Add(src, (k*b.RS+c*b.CS)*2))).float32()
		}
	}
}

// packPairs copies columns c0 … c1 of rows k0 … kk of a panel to rows of width
// pairs. What it does not write is as it was.
func packPairs(dst, src unsafe.Pointer, b Mat, k0, kk, c0, c1, width int) {
	d := unsafe.Slice((*bfloat16)(dst), (kk+1)/2*width*2)
	for c := c0; c < c1; c++ {
		s := unsafe.Add(src, c*b.CS*2)
		for k := k0; k < kk; k++ {
			d[(k/2*width+c)*2+k%2] = *(*bfloat16)(unsafe.Add(s, k*b.RS*2))
		}
	}
}
