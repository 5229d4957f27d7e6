package conv

import (
	"math"
	"unsafe"
)

type float interface{ float32 | float64 }

var (
	generic32 = newKernels[float32](func(a, b, c float32) float32 { return float32(math.FMA(float64(a), float64(b), float64(c))) })
	generic64 = newKernels[float64](math.FMA)
)

func newKernels[T float](fma func(a, b, c T) T) Kernels {
	return Kernels{
		Unfold: unfold[T], Pairs: pairs[T], Join: join[T], Part: part[T], Spread: spread[T], Turn: turn[T], Add: add[T],
		Taps:    func(a *Taps) { taps(a, fma) },
		TapSums: func(a *Taps) { tapSums(a, fma) },
	}
}

func unfold[T float](u *Unfold, step int) {
	size := int(unsafe.Sizeof(T(0)))
	full, span := uint32(1<<Lanes-1), Lanes*step*size
	if step == 2 {
		full = 0x55555555
	}
	masks := unsafe.Slice((*uint32)(u.Masks), u.Vectors)
	for p := range u.Planes {
		for r := range u.Rows {
			dst := unsafe.Add(u.Dst, p*u.DstPlane+r*u.DstRow)
			from := u.Offset + p*u.SrcPlane + r*u.SrcRow
			for j, m := range masks {
				out := (*[Lanes]T)(unsafe.Add(dst, j*Lanes*size))
				at := from + j*span
				switch {
				case m == full && step == 1:
					*out = *(*[Lanes]T)(unsafe.Add(u.Src, at))
				case m == 0:
					*out = [Lanes]T{}
				default:
					for i := range out {
						out[i] = 0
						if m>>(i*step)&1 != 0 {
							out[i] = *(*T)(unsafe.Add(u.Src, at+i*step*size))
						}
					}
				}
			}
		}
	}
}

func pairs[T float](u *Unfold) {
	size := int(unsafe.Sizeof(T(0)))
	masks := unsafe.Slice((*[2]uint32)(u.Masks), u.Vectors)
	for p := range u.Planes {
		for r := range u.Rows {
			for j, m := range masks {
				for i := range Lanes {
					from := u.Offset + p*u.SrcPlane + r*u.SrcRow + (j*Lanes+i)*2*size
					at := func(k int) T {
						if m[k/2]>>(2*i+k%2)&1 == 0 {
							return 0
						}
						return *(*T)(unsafe.Add(u.Src, from+k*size))
					}
					for k, v := range []T{at(0) - at(2), at(1) + at(2), at(2) - at(1), at(1) - at(3)} {
						*(*T)(unsafe.Add(u.Dst, p*u.DstPlane+r*u.DstRow+k*u.Point+(j*Lanes+i)*size)) = v
					}
				}
			}
		}
	}
}

func join[T float](a *Join) {
	size := int(unsafe.Sizeof(T(0)))
	for r := range a.Rows {
		for i := range a.N {
			m := func(k int) T { return *(*T)(unsafe.Add(a.Src, r*a.SrcRow+k*a.Point+i*size)) }
			*(*[2]T)(unsafe.Add(a.Dst, r*a.DstRow+2*i*size)) = [2]T{m(0) + m(1) + m(2), m(1) - m(2) - m(3)}
		}
	}
}

func part[T float](a *Part) {
	n := a.N * a.Width
	sum, difference := unsafe.Slice((*T)(a.Sum), n), unsafe.Slice((*T)(a.Difference), n)
	src := unsafe.Slice((*T)(a.Src), 2*n)
	for i := range sum {
		x, y := src[i+i/a.Width*a.Width], src[i+(i/a.Width+1)*a.Width]
		sum[i], difference[i] = x+y, x-y
	}
}

func spread[T float](s *Spread) {
	size := int(unsafe.Sizeof(T(0)))
	for r := range s.Rows {
		dst := unsafe.Add(s.Dst, r*s.DstRow)
		for i, v := range unsafe.Slice((*T)(unsafe.Add(s.Src, r*s.SrcRow)), s.N) {
			*(*T)(unsafe.Add(dst, 2*i*size)) = v
		}
	}
}

func taps[T float](a *Taps, fma func(a, b, c T) T) {
	dst := unsafe.Slice((*T)(a.Dst), a.N)
	clear(dst)
	weights := unsafe.Slice((*T)(a.Weights), a.K)
	for t, off := range unsafe.Slice(a.Offsets, a.K) {
		w := weights[t]
		for i, x := range unsafe.Slice((*T)(unsafe.Add(a.Src, off)), a.N) {
			dst[i] = fma(w, x, dst[i])
		}
	}
}

func tapSums[T float](a *Taps, fma func(a, b, c T) T) {
	dst := unsafe.Slice((*T)(a.Dst), a.N)
	sums := unsafe.Slice((*T)(a.Weights), a.K*Lanes)
	for t, off := range unsafe.Slice(a.Offsets, a.K) {
		s := sums[t*Lanes : (t+1)*Lanes]
		for i, x := range unsafe.Slice((*T)(unsafe.Add(a.Src, off)), a.N) {
			s[i%Lanes] = fma(dst[i], x, s[i%Lanes])
		}
	}
}

func turn[T float](a *Turn) {
	size := int(unsafe.Sizeof(T(0)))
	for i := range a.N {
		out := unsafe.Slice((*T)(unsafe.Add(a.Dst, i*a.DstRow)), a.Width)
		for r := range a.Rows {
			out[r] = *(*T)(unsafe.Add(a.Src, r*a.SrcRow+i*size))
		}
		clear(out[a.Rows:])
	}
}

func add[T float](dst, src unsafe.Pointer, n int) {
	d := unsafe.Slice((*T)(dst), n)
	for i, v := range unsafe.Slice((*T)(src), n) {
		d[i] += v
	}
}
