package gemm

import (
	"encoding/binary"
	"unsafe"
)

// widening512 makes of the family for float32 one that takes bfloat16 operands and
// packs them as float32.
func widening512(z *family) *family {
	f := converting(z)
	one := f.packB
	f.packB = func(dst, src unsafe.Pointer, b Mat, kk, nr int) {
		if b.CS == 1 {
			widen32(dst, src, kk, b.RS*2, 1<<nr-1)
			return
		}
		// Rows of pairs take half of the panel. They are put into its upper half and
		// taken apart from there, which never overtakes what is still to be read.
		even := kk &^ 1
		if even > 0 {
			pairs := unsafe.Add(dst, even/2*128)
			packPairs512(pairs, src, b, even, nr)
			unzip32(dst, pairs, even/2)
		}
		if even < kk {
			one(unsafe.Add(dst, even*128), unsafe.Add(src, even*b.RS*2), b, 1, nr)
		}
	}
	gather := f.packRow
	f.packRow = func(dst, src unsafe.Pointer, kk, cs int) {
		if cs != 1 {
			gather(dst, src, kk, cs)
			return
		}
		whole := kk / 32
		widen32(dst, src, whole, 64, 1<<32-1)
		for k := whole * 32; k < kk; k += 16 {
			widen16(unsafe.Add(dst, k*4), unsafe.Add(src, k*2), 1, 0, 0, 1<<min(kk-k, 16)-1)
		}
	}
	f.packCol = func(dst, src unsafe.Pointer, kk, cs, mr int) {
		widen16(dst, src, kk, cs*2, mr*4, 1<<mr-1)
	}
	return f
}

// fastPairs tells whether VDPBF16PS multiplies more in the same time than a
// multiply-add of float32. AMD's processors start as many of both; Intel's take
// several cycles for it, because they have other means for such products.
func fastPairs() bool {
	b, d, c := vendor()
	var name []byte
	for _, w := range []uint32{b, d, c} {
		name = binary.LittleEndian.AppendUint32(name, w)
	}
	return string(name) == "AuthenticAMD"
}

// vendor is the name of who made the processor, in words of four letters.
func vendor() (b, d, c uint32)

// widen32 converts rows of up to 32 values of bfloat16, those in the mask, stride
// bytes apart, to rows of 32 float32, one behind the other, with zeros for the rest.
//
//go:noescape
func widen32(dst, src unsafe.Pointer, rows, stride int, mask uint64)

// widen16 converts rows of up to 16 values of bfloat16, those in the mask, and writes
// no others.
//
//go:noescape
func widen16(dst, src unsafe.Pointer, rows, srcStride, dstStride int, mask uint64)

// unzip32 makes of rows of 32 pairs of bfloat16, at least one, twice as many rows of
// float32. It reads a row before it writes what is made of it.
//
//go:noescape
func unzip32(dst, src unsafe.Pointer, rows int)
