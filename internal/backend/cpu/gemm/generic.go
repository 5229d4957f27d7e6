package gemm

import "unsafe"

// Float is an element type that has kernels.
type Float interface{ float32 | float64 }

// newFamily is the family written in Go. Families with assembly start from it and
// replace what they do better.
func newFamily[T Float]() *family {
	size := int(unsafe.Sizeof(T(0)))
	var f *family
	f = &family{
		size: size, in: size, pair: 1, mr: 4, nr: 4, mc: 64, wide: 4,
		masked: true, exact: true,
		kernel: func(a *args, _ bool) { kernel4x4[T](a) },
		packRow: func(dst, src unsafe.Pointer, kk, cs int) {
			d := unsafe.Slice((*T)(dst), kk)
			if cs == 1 {
				copy(d, unsafe.Slice((*T)(src), kk))
				return
			}
			for k := range d {
				d[k] = *(*T)(unsafe.Add(src, k*cs*size))
			}
		},
		merge: func(c, tile unsafe.Pointer, mr, nr, ldc int, add bool) {
			width := f.nr
			for i := range mr {
				d := unsafe.Slice((*T)(unsafe.Add(c, i*ldc)), nr)
				s := unsafe.Slice((*T)(unsafe.Add(tile, i*width*size)), nr)
				for j := range d {
					if add {
						d[j] += s[j]
					} else {
						d[j] = s[j]
					}
				}
			}
		},
	}
	f.packCol = func(dst, src unsafe.Pointer, kk, cs, mr int) {
		for k := range kk {
			copy(unsafe.Slice((*T)(unsafe.Add(dst, k*f.wide*size)), mr), unsafe.Slice((*T)(unsafe.Add(src, k*cs*size)), mr))
		}
	}
	f.packB = func(dst, src unsafe.Pointer, b Mat, kk, nr int) { packPanel[T](dst, src, b, kk, nr, f.nr) }
	return f
}

// packPanel copies a panel of nr columns to rows of width elements, zeros beyond.
func packPanel[T Float](dst, src unsafe.Pointer, b Mat, kk, nr, width int) {
	size := int(unsafe.Sizeof(T(0)))
	if b.CS != 1 {
		if nr < width {
			clear(unsafe.Slice((*T)(dst), kk*width))
		}
		packColumns[T](dst, src, b, kk, 0, nr, width)
		return
	}
	for k := range kk {
		d := unsafe.Slice((*T)(unsafe.Add(dst, k*width*size)), width)
		n := copy(d, unsafe.Slice((*T)(unsafe.Add(src, k*b.RS*size)), nr))
		clear(d[n:])
	}
}

// packColumns copies columns c0 … c1 of a panel one after the other.
func packColumns[T Float](dst, src unsafe.Pointer, b Mat, kk, c0, c1, width int) {
	size := int(unsafe.Sizeof(T(0)))
	d := unsafe.Slice((*T)(dst), kk*width)
	for c := c0; c < c1; c++ {
		s := unsafe.Add(src, c*b.CS*size)
		for k := range kk {
			d[k*width+c] = *(*T)(unsafe.Add(s, k*b.RS*size))
		}
	}
}

// kernel4x4 is the micro-kernel in Go. Rows and columns beyond a tile's edge
// repeat the last one and are not stored.
func kernel4x4[T Float](a *args) {
	size := int(unsafe.Sizeof(T(0)))
	row := func(i int) int { return min(i, a.mr-1) }
	col := func(j int) int { return min(j, a.nr-1) * size }
	a1, a2, a3 := row(1)*a.rsa, row(2)*a.rsa, row(3)*a.rsa
	b1, b2, b3 := col(1), col(2), col(3)
	tab := unsafe.Slice((*int)(a.tab), a.k)
	for t := range a.tiles {
		var c [4][4]T
		pa := unsafe.Add(a.a, t*a.astep)
		// Two rows at a time keep the accumulators in registers.
		for half := 0; half < a.mr; half += 2 {
			p0, p1 := pa, unsafe.Add(pa, a1)
			if half == 2 {
				p0, p1 = unsafe.Add(pa, a2), unsafe.Add(pa, a3)
			}
			var c00, c01, c02, c03, c10, c11, c12, c13 T
			ka := 0
			for _, off := range tab {
				b := unsafe.Add(a.b, off)
				x0, x1 := *(*T)(unsafe.Add(p0, ka)), *(*T)(unsafe.Add(p1, ka))
				y0, y1 := *(*T)(b), *(*T)(unsafe.Add(b, b1))
				y2, y3 := *(*T)(unsafe.Add(b, b2)), *(*T)(unsafe.Add(b, b3))
				c00 += x0 * y0
				c01 += x0 * y1
				c02 += x0 * y2
				c03 += x0 * y3
				c10 += x1 * y0
				c11 += x1 * y1
				c12 += x1 * y2
				c13 += x1 * y3
				ka += a.csa
			}
			c[half] = [4]T{c00, c01, c02, c03}
			c[half+1] = [4]T{c10, c11, c12, c13}
		}
		for i := range a.mr {
			d := unsafe.Slice((*T)(unsafe.Add(a.c, t*a.cstep+i*a.ldc)), a.nr)
			for j := range d {
				if a.acc != 0 {
					d[j] += c[i][j]
				} else {
					d[j] = c[i][j]
				}
			}
		}
	}
}

// Number is an element type that IntProduct takes.
type Number interface {
	int8 | uint8 | int32 | int64
}

// IntProduct computes rows r0 … r1 of C = A·B on integers, with wraparound.
func IntProduct[T Number](r0, r1, n, k int, a, b Mat, c unsafe.Pointer, ldc int) {
	size := int(unsafe.Sizeof(T(0)))
	for i := r0; i < r1; i++ {
		d := unsafe.Slice((*T)(unsafe.Add(c, i*ldc*size)), n)
		clear(d)
		for l := range k {
			x := *(*T)(unsafe.Add(a.P, (i*a.RS+l*a.CS)*size))
			pb := unsafe.Add(b.P, l*b.RS*size)
			for j := range d {
				d[j] += x * *(*T)(unsafe.Add(pb, j*b.CS*size))
			}
		}
	}
}

// Transpose copies n ≤ width columns of kk elements each, cs elements apart, to kk
// rows of width elements, zeros beyond the n-th: a panel of B that a Problem can
// read in place.
func Transpose(wide bool, dst, src unsafe.Pointer, kk, cs, n, width int) {
	b := Mat{RS: 1, CS: cs}
	switch {
	case wide:
		packPanel[float64](dst, src, b, kk, n, width)
	case current.f32.transpose != nil:
		current.f32.transpose(dst, src, b, kk, n, width)
	default:
		packPanel[float32](dst, src, b, kk, n, width)
	}
}
