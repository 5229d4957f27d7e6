package gemm

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

func machineLevels() []level {
	var l []level
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return nil
	}
	y32, y64 := newFamily[float32](), newFamily[float64]()
	y32.exact, y64.exact = false, false
	y32.mr, y32.nr, y32.mc, y32.wide, y32.masked = 6, 16, 336, 6, false
	y32.kernel = func(a *args, col bool) {
		if col {
			kernY32Colx2[a.mr](a)
		} else {
			kernY32Rowx2[a.mr](a)
		}
	}
	y64.mr, y64.nr, y64.mc, y64.wide, y64.masked = 6, 8, 168, 6, false
	y64.kernel = func(a *args, col bool) {
		if col {
			kernY64Colx2[a.mr](a)
		} else {
			kernY64Rowx2[a.mr](a)
		}
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
		z := newFamily[float32]()
		z.exact = false
		z.mr, z.nr, z.mc, z.wide = 14, 32, 672, 16
		z.kernel = kernelZ
		z.copying = func(a *args, col bool) {
			if col {
				kernZ32ColCopyx2[a.mr](a)
			} else {
				kernZ32RowCopyx2[a.mr](a)
			}
		}
		z.dot, z.axpy = dot32[:], axpy32[:]
		z.packB, z.transpose = packB512, transpose512
		z.packCol = func(dst, src unsafe.Pointer, kk, cs, mr int) {
			copyRows16(dst, src, kk, cs*4, 1<<mr-1)
		}
		b := level{name: "avx512", f32: z, f64: y64}
		b.bf16 = converting512(z, bfloat16, widening{widenRows16, widenRows32, transposePairs16})
		b.f16 = converting512(z, float16, widening{widenF16Rows16, widenF16Rows32, transposeF16Pairs16})
		b.bf16.dot, b.bf16.axpy = dot16[:], axpy16[:]
		if cpu.X86.HasAVX512BF16 {
			b.pairs = pairs512(z)
			if !intel() {
				b.bf16 = b.pairs
			}
		}
		l = append(l, b)
	}
	y := newLevel("avx2", y32, y64)
	y.bf16 = convertingAVX2(y32, bfloat16, widenRows8)
	if cpu.X86.HasF16C {
		y.f16 = convertingAVX2(y32, float16, widenF16Rows8)
	}
	return append(l, y)
}

// intel tells whether Intel made the processor. Those that multiply bfloat16 start
// one VDPBF16PS in two cycles, and in that time four multiplications of float32
// vectors (88 against 178 GFLOP/s were measured on Emerald Rapids), so operands are
// better converted. On AMD's Zen 5 pairs are twice as fast as float32.
func intel() bool {
	b, d, c := vendor()
	return b == 'G'|'e'<<8|'n'<<16|'u'<<24 && d == 'i'|'n'<<8|'e'<<16|'I'<<24 && c == 'n'|'t'<<8|'e'<<16|'l'<<24
}

// vendor is the name that CPUID returns.
func vendor() (b, d, c uint32)

// convertingAVX2 is converting with conversions in registers, by rows.
func convertingAVX2(y *family, h half, rows func(dst, src unsafe.Pointer, rows, vectors, srcStride, dstStride int)) *family {
	f := converting(y, h)
	slow := *f
	f.packB = func(dst, src unsafe.Pointer, b Mat, kk, nr int) {
		if b.CS == 1 && nr == f.nr {
			rows(dst, src, kk, nr/8, b.RS*2, nr*4)
		} else {
			slow.packB(dst, src, b, kk, nr)
		}
	}
	f.packRow = func(dst, src unsafe.Pointer, kk, cs int) {
		n := 0
		if cs == 1 && kk >= 8 {
			n = kk &^ 7
			rows(dst, src, 1, n/8, 0, 0)
		}
		slow.packRow(unsafe.Add(dst, n*4), unsafe.Add(src, n*cs*2), kk-n, cs)
	}
	return f
}

// widening is the routines that convert a half type with AVX-512.
type widening struct {
	rows16    func(dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64)
	rows32    func(dst, src unsafe.Pointer, rows, stride int, mask uint64)
	transpose func(dst, src unsafe.Pointer, blocks, srcStride, dstStride int)
}

// converting512 is converting with conversions, and transposes, in registers.
func converting512(z *family, h half, w widening) *family {
	f := converting(z, h)
	slow := *f
	f.packB = func(dst, src unsafe.Pointer, b Mat, kk, nr int) {
		if b.CS == 1 {
			w.rows32(dst, src, kk, b.RS*2, 1<<nr-1)
			return
		}
		blocks, wide := 0, 0
		if b.RS == 1 && kk >= 32 {
			blocks, wide = kk/32, nr&^15
		}
		if nr < z.nr {
			clear(unsafe.Slice((*float32)(dst), kk*z.nr))
		}
		for c := 0; c < wide; c += 16 {
			w.transpose(unsafe.Add(dst, c*4), unsafe.Add(src, c*b.CS*2), blocks, b.CS*2, z.nr*4)
		}
		h.columns(dst, src, b, blocks*32, kk, 0, wide, z.nr)
		h.columns(dst, src, b, 0, kk, wide, nr, z.nr)
	}
	f.packRow = func(dst, src unsafe.Pointer, kk, cs int) {
		if cs != 1 {
			slow.packRow(dst, src, kk, cs)
			return
		}
		if n := kk / 16; n > 0 {
			w.rows16(dst, src, n, 32, 64, 1<<16-1)
		}
		if n := kk &^ 15; n < kk {
			w.rows16(unsafe.Add(dst, n*4), unsafe.Add(src, n*2), 1, 0, 0, 1<<(kk-n)-1)
		}
	}
	f.packCol = func(dst, src unsafe.Pointer, kk, cs, mr int) {
		w.rows16(dst, src, kk, cs*2, 64, 1<<mr-1)
	}
	return f
}

// pairs512 makes of the family for float32 the one that multiplies bfloat16 in
// pairs.
func pairs512(z *family) *family {
	f := *z
	f.in, f.pair, f.copying = 2, 2, nil
	f.dot, f.axpy = dot16[:], axpy16[:]
	f.kernel = func(a *args, col bool) {
		switch {
		case a.nr > 16 && col:
			kernZ16Colx2[a.mr](a)
		case a.nr > 16:
			kernZ16Rowx2[a.mr](a)
		case col:
			kernZ16Colx1[a.mr](a)
		default:
			kernZ16Rowx1[a.mr](a)
		}
	}
	f.packB = packPairs512
	f.packRow = func(dst, src unsafe.Pointer, kk, cs int) {
		d := unsafe.Slice((*uint16)(dst), kk)
		if cs == 1 {
			copy(d, unsafe.Slice((*uint16)(src), kk))
			return
		}
		for k := range d {
			d[k] = *(*uint16)(unsafe.Add(src, k*cs*2))
		}
	}
	f.packCol = func(dst, src unsafe.Pointer, kk, cs, mr int) {
		pairRows16(dst, src, kk, cs*2, 64, 1<<mr-1)
	}
	return &f
}

func kernelZ(a *args, col bool) {
	switch {
	case a.nr > 16 && col:
		kernZ32Colx2[a.mr](a)
	case a.nr > 16:
		kernZ32Rowx2[a.mr](a)
	case col:
		kernZ32Colx1[a.mr](a)
	default:
		kernZ32Rowx1[a.mr](a)
	}
}

// packB512 copies a panel of 32 columns.
func packB512(dst, src unsafe.Pointer, b Mat, kk, nr int) {
	if b.CS == 1 {
		copyRows32(dst, src, kk, b.RS*4, 1<<nr-1)
	} else {
		transpose512(dst, src, b, kk, nr, 32)
	}
}

// packPairs512 copies a panel of up to 32 columns to rows of pairs. In a column
// whose values are adjacent so are the pairs: a transpose of 32-bit words.
func packPairs512(dst, src unsafe.Pointer, b Mat, kk, nr int) {
	const width = 32
	if b.CS == 1 {
		pairRows32(dst, src, kk, b.RS*2, 1<<nr-1)
		return
	}
	blocks, wide := 0, 0
	if b.RS == 1 && kk >= 32 {
		blocks, wide = kk/32, nr&^15
	}
	if nr < width {
		clear(unsafe.Slice((*uint32)(dst), (kk+1)/2*width))
	} else if kk%2 != 0 {
		clear(unsafe.Slice((*uint32)(unsafe.Add(dst, kk/2*width*4)), width))
	}
	for c := 0; c < wide; c += 16 {
		transpose16(unsafe.Add(dst, c*4), unsafe.Add(src, c*b.CS*2), blocks, b.CS*2, width*4)
	}
	packPairs(dst, src, b, blocks*32, kk, 0, wide, width)
	packPairs(dst, src, b, 0, kk, wide, nr, width)
}

// transpose512 copies a panel from columns; those that are contiguous go through
// registers in blocks of 16×16.
func transpose512(dst, src unsafe.Pointer, b Mat, kk, nr, width int) {
	blocks, wide := 0, 0
	if b.RS == 1 && kk >= 16 {
		blocks, wide = kk/16, nr&^15
	}
	if nr < width {
		clear(unsafe.Slice((*float32)(dst), kk*width))
	}
	for c := 0; c < wide; c += 16 {
		transpose16(unsafe.Add(dst, c*4), unsafe.Add(src, c*b.CS*4), blocks, b.CS*4, width*4)
	}
	if k := blocks * 16; k < kk {
		packColumns[float32](unsafe.Add(dst, k*width*4), unsafe.Add(src, k*b.RS*4), b, kk-k, 0, wide, width)
	}
	packColumns[float32](dst, src, b, kk, wide, nr, width)
}

// copyRows32 copies rows of up to 32 floats, those in mask, to adjacent rows of 32,
// zeros elsewhere.
//
//go:noescape
func copyRows32(dst, src unsafe.Pointer, rows, stride int, mask uint64)

// copyRows16 is copyRows32 for rows of 16.
//
//go:noescape
func copyRows16(dst, src unsafe.Pointer, rows, stride int, mask uint64)

// transpose16 takes 16 rows and writes, for each of blocks times 16 columns, one
// row of 16.
//
//go:noescape
func transpose16(dst, src unsafe.Pointer, blocks, srcStride, dstStride int)

// pairRows32 copies rows of up to 32 values of bfloat16, those in mask, two rows at
// a time to rows of 32 pairs, zeros elsewhere and for a row without partner.
//
//go:noescape
func pairRows32(dst, src unsafe.Pointer, rows, stride int, mask uint64)

// pairRows16 copies of rows the values in mask, which has 16 bits, two rows at a
// time to rows of pairs.
//
//go:noescape
func pairRows16(dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64)

// transposePairs16 is transpose16 of pairs of bfloat16, which it converts: for each
// of blocks times 32 columns it writes one row of 16 float32.
//
//go:noescape
func transposePairs16(dst, src unsafe.Pointer, blocks, srcStride, dstStride int)

// widenRows32 converts rows of up to 32 values of bfloat16, those in mask, to
// adjacent rows of 32, zeros elsewhere.
//
//go:noescape
func widenRows32(dst, src unsafe.Pointer, rows, stride int, mask uint64)

// widenRows16 converts of each row the values in mask, which has 16 bits.
//
//go:noescape
func widenRows16(dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64)

// widenRows8 converts rows of vectors times 8 values with AVX2.
//
//go:noescape
func widenRows8(dst, src unsafe.Pointer, rows, vectors, srcStride, dstStride int)

// The same for float16.
//
//go:noescape
func transposeF16Pairs16(dst, src unsafe.Pointer, blocks, srcStride, dstStride int)

//go:noescape
func widenF16Rows32(dst, src unsafe.Pointer, rows, stride int, mask uint64)

//go:noescape
func widenF16Rows16(dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64)

//go:noescape
func widenF16Rows8(dst, src unsafe.Pointer, rows, vectors, srcStride, dstStride int)
