package conv

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

var avx512 = func() *Kernels {
	if !cpu.X86.HasAVX512F || !cpu.X86.HasAVX512BW || !cpu.X86.HasAVX512DQ || !cpu.X86.HasAVX512VL {
		return nil
	}
	return &Kernels{
		Unfold: func(u *Unfold, step int) {
			if step == 1 {
				unfold1(u)
			} else {
				unfold2(u)
			}
		},
		Pairs: pairs512, Join: join512, Part: part512,
		Spread: spread2, Taps: taps512, TapSums: grouped(&tapSumsOf), Turn: turn512, Add: add512,
		MaskedTaps: maskedTaps512, MaskedSums: grouped(&maskedSumsOf),
		Rows3: rows3, Sums3: sums3,
		Fast: true,
	}
}()

// grouped does the taps in groups that fit the registers.
func grouped(sums *[maxTapSums + 1]func(*Taps)) func(*Taps) {
	return func(a *Taps) {
		// The record itself is changed and restored: a copy would not stay on the stack.
		whole := *a
		groups := (a.K + maxTapSums - 1) / maxTapSums
		for g := range groups {
			lo := g * whole.K / groups
			a.K = (g+1)*whole.K/groups - lo
			a.Weights = unsafe.Add(whole.Weights, lo*Lanes*4)
			a.Offsets = (*int)(unsafe.Add(unsafe.Pointer(whole.Offsets), lo*8))
			if a.Masks != nil {
				a.Masks = (*uint16)(unsafe.Add(unsafe.Pointer(whole.Masks), lo*2))
			}
			sums[a.K](a)
		}
		*a = whole
	}
}

// turn512 turns up to 16 rows at a time.
func turn512(a *Turn) {
	b := *a
	for r := 0; r < a.Width; r += Lanes {
		b.Dst, b.Rows = unsafe.Add(a.Dst, r*4), max(0, min(a.Rows-r, Lanes))
		if b.Rows > 0 {
			b.Src = unsafe.Add(a.Src, r*a.SrcRow)
		}
		turn16(&b)
	}
}

//go:noescape
func add512(dst, src unsafe.Pointer, n int)
