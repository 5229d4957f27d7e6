// Package card says what NVIDIA's processors can do, by compute capability, for all
// parts of the CUDA backend: one row for each step of the table, so that no other place
// compares architectures.
package card

import "github.com/sinter-dl/sinter/internal/dtype"

// Card is what follows from a compute capability.
type Card struct {
	Arch int // ten times the major number plus the minor one
	Name string
	BF16 bool // products of bfloat16
	TF32 bool // products of float32 with operands of ten bits of mantissa
	FP8  bool
	// Head is how many elements a head of cuDNN's fused attention may have; 0 if there is
	// none for the card.
	Head      int
	Workspace int  // bytes that products may have for partial sums, as the vendor advises
	CUDA13    bool // libraries of CUDA 13 support it
}

// table has the first architecture that a row is true of, in descending order.
var table = []Card{
	{Arch: 100, Name: "Blackwell", BF16: true, TF32: true, FP8: true, Head: 128, Workspace: 32 << 20, CUDA13: true},
	{Arch: 90, Name: "Hopper", BF16: true, TF32: true, FP8: true, Head: 256, Workspace: 32 << 20, CUDA13: true},
	{Arch: 89, Name: "Ada", BF16: true, TF32: true, FP8: true, Head: 128, Workspace: 4 << 20, CUDA13: true},
	{Arch: 80, Name: "Ampere", BF16: true, TF32: true, Head: 128, Workspace: 4 << 20, CUDA13: true},
	{Arch: 75, Name: "Turing", Workspace: 4 << 20, CUDA13: true},
	{Arch: 70, Name: "Volta", Workspace: 4 << 20},
}

// Of is the row of an architecture. Cards before Volta get one of nothing.
func Of(arch int) Card {
	for _, c := range table {
		if arch >= c.Arch {
			c.Arch = arch
			return c
		}
	}
	return Card{Arch: arch, Name: "before Volta"}
}

// Products tells whether the vendor's libraries multiply numbers of type d on the card.
func (c Card) Products(d dtype.DType) bool {
	switch d {
	case dtype.Float32, dtype.Float64, dtype.Float16:
		return c.Arch >= 70
	case dtype.BFloat16:
		return c.BF16
	}
	return false
}
