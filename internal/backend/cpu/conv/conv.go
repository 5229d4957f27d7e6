// Package conv holds the kernels of convolutions that are not matrix products.
//
// The CPU backend computes a convolution from an unfolded copy of its source. Only
// the last axis is unfolded: for every channel and every tap along that axis there
// is a plane, which holds for each position the element that the tap meets there,
// zero where that is padding. Taps along the other axes are then mere offsets into a
// plane, positions are adjacent without gaps between the rows, and the copy stays
// small enough to be made a piece at a time in the second-level cache.
//
//	Unfold   makes the copy
//	Pairs    makes one for pairs of positions, Join and Part go with it: see there
//	Spread   writes the rows of a result that belong two apart
//	Taps     a weighted sum of shifted vectors: one channel of a depthwise convolution
//	TapSums  its transpose: products of one vector with shifted ones
//	Masked…  the same, on a source that is not copied
//	…3       the same, for 3×3 taps
//	Turn     transposes rows, so that positions become rows and channels columns
//
// Each exists in Go for both float types. For float32 there are AVX-512 versions,
// written by the generator in gen. Results do not depend on where an element lies in
// a vector: tails are done under masks by the same instructions.
package conv

import "unsafe"

//go:generate go run ./gen

// Lanes is the number of elements that share a mask.
const Lanes = 16

// Unfold describes a copy of rows of planes. All distances are in bytes. Each row is
// Vectors × Lanes elements: bit i of mask j tells whether element 16j+i comes from
// the source, otherwise it is zero. With a step of 2 it is bit 2i, and the element
// lies at twice the distance. A row is written as whole vectors; what it has too many
// is overwritten by the next.
type Unfold struct {
	Dst, Src       unsafe.Pointer
	Offset         int // of the first element from Src, perhaps before it where the mask is 0
	Planes         int
	DstPlane       int
	SrcPlane       int
	Rows           int
	DstRow, SrcRow int
	Vectors        int
	Masks          unsafe.Pointer // *uint32
	Point          int            // Pairs only: from one of the four results to the next
}

// Three neighbouring taps cost six multiplications for two neighbouring positions. With
//
//	u0 = d0-d2   u1 = d1+d2   u2 = d2-d1   u3 = d1-d3     of the source d
//	h0 = g0   h1 = (g0+g1+g2)/2   h2 = (g0-g1+g2)/2   h3 = g2    of the weights g
//
// the positions are u0h0+u1h1+u2h2 and u1h1-u2h2-u3h3: four (Winograd's F(2, 3)).
// Sums over channels and over the taps of other axes are taken before these last
// additions, so that the four points are convolutions of one tap each. Only the very
// elements that a position depends on enter into it, but infinities among them may
// cancel to NaN. Errors grow little: over 64 channels their root mean square is 3.2e-7 of
// the results', that of plain sums 2.5e-7.
//
// Pairs is Unfold with a step of 2 and these u: there are two masks for each vector, of
// which bits 2i and 2i+1 tell whether d0 and d1, or d2 and d3, of pair i come from the
// source. The gradient of the weights, point by point, wants the sums and differences
// of the gradients of the two positions; Part makes them.

// Points are h0 … h3.
func Points(g [3]float32) [4]float32 {
	return [4]float32{g[0], (g[0] + g[2] + g[1]) / 2, (g[0] + g[2] - g[1]) / 2, g[2]}
}

// TapsOf are the gradients of g, given those of h.
func TapsOf(h [4]float32) [3]float32 {
	return [3]float32{h[0] + (h[1]+h[2])/2, (h[1] - h[2]) / 2, (h[1]+h[2])/2 + h[3]}
}

// Join describes rows of N pairs that are computed from the products at the four
// points, which are Point bytes apart. Rows are DstRow and SrcRow bytes apart.
type Join struct {
	Dst, Src       unsafe.Pointer
	N, Rows        int
	DstRow, SrcRow int
	Point          int
}

// Part describes N pairs of adjacent rows of Width elements, a multiple of Lanes,
// whose sums and differences are N rows each.
type Part struct {
	Sum, Difference, Src unsafe.Pointer
	N, Width             int
}

// Spread describes rows of N adjacent elements that are written two apart, from row
// to row DstRow and SrcRow bytes away.
type Spread struct {
	Dst, Src       unsafe.Pointer
	N, Rows        int
	DstRow, SrcRow int
}

// Taps describes a sum over K taps. In Taps, element i of Dst becomes
//
//	Σ Weights[t] · Src[i + Offsets[t]]    in the order of the taps, by fused multiply-adds;
//
// in TapSums, for each tap, 16 sums in Weights receive
//
//	Weights[16t + i%16] += Dst[i] · Src[i + Offsets[t]].
//
// Offsets are in bytes. Taps reads Src in whole vectors, so up to 15 elements more.
// MaskedTaps and MaskedSums leave out, and do not read, what the masks do not name: bit
// i of mask t of vector j stands for element 16j+i and tap t.
type Taps struct {
	Dst, Src unsafe.Pointer
	N        int
	Offsets  *int
	Weights  unsafe.Pointer
	K        int
	Masks    *uint16 // a list of them for each vector
	MaskRow  int     // bytes from list to list
}

// Rows3 describes a plane of Rows rows that meets 3×3 taps, with one zero around it. In
// Rows3, Dst becomes the sum over the taps with Weights, WeightStep bytes apart. In
// Sums3, the 16 sums for each tap in Weights receive the products with Dst. There are
// 2·Pairs vectors of columns; for each, Masks tells which of its elements have a
// neighbour on the left, exist, and have a neighbour on the right.
type Rows3 struct {
	Dst, Src   unsafe.Pointer
	Rows       int
	Row        int // bytes from row to row
	Weights    unsafe.Pointer
	WeightStep int
	Masks      *[3]uint16
	Pairs      int
}

// Masks3 are the masks for rows of the given width.
func Masks3(width int) [][3]uint16 {
	masks := make([][3]uint16, (width+2*Lanes-1)/(2*Lanes)*2)
	for x := range width {
		bit := uint16(1) << (x % Lanes)
		m := &masks[x/Lanes]
		m[1] |= bit
		if x > 0 {
			m[0] |= bit
		}
		if x < width-1 {
			m[2] |= bit
		}
	}
	return masks
}

// Turn describes Rows ≤ Width rows of N elements, SrcRow bytes apart, that become N
// adjacent rows of Width elements, DstRow bytes apart, zero beyond the first Rows.
type Turn struct {
	Dst, Src       unsafe.Pointer
	N, Rows, Width int
	DstRow, SrcRow int
}

// Kernels are the routines for one element type.
type Kernels struct {
	Unfold  func(u *Unfold, step int) // step 1 or 2
	Pairs   func(*Unfold)
	Join    func(*Join)
	Part    func(*Part)
	Spread  func(*Spread)
	Taps    func(*Taps)
	TapSums func(*Taps)
	// These are nil where there are none.
	MaskedTaps, MaskedSums func(*Taps)
	Rows3, Sums3           func(*Rows3)
	Turn                   func(*Turn)
	// Add adds n elements to others.
	Add func(dst, src unsafe.Pointer, n int)
	// Fast says that Pairs, Taps and TapSums are worth more than a plain product.
	Fast bool
}

// For returns the kernels for a level of package gemm, for float64 if wide.
func For(level string, wide bool) *Kernels {
	if wide {
		return &generic64
	}
	if level == "avx512" && avx512 != nil {
		return avx512
	}
	return &generic32
}
