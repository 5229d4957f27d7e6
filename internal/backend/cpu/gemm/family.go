package gemm

import (
	"fmt"
	"os"
	"unsafe"
)

// family is a set of micro-kernels of one element type and instruction set, with
// the packing routines that suit them.
type family struct {
	size int // bytes of an element of C, and of what a kernel multiplies in a step
	in   int // bytes of an element of A and B
	pair int // elements of adjacent k that a kernel multiplies in a step: 1 or 2

	mr, nr int // tile
	mc     int // rows of a block of A
	wide   int // elements from a packed column of A to the next
	// kernel computes a.tiles tiles of a.mr × a.nr elements. If it is not masked it
	// writes nr columns, whatever a.nr, and if it is not exact it reads so many.
	masked bool
	exact  bool
	kernel func(a *args, col bool)
	// copying, if not nil, is kernel for one whole tile of a B that is not packed,
	// which it also packs, to a.next.
	copying func(a *args, col bool)
	// packB copies kk rows of nr columns of B to rows of nr elements of size bytes,
	// one for each step, with zeros beyond the last column and the last row.
	packB func(dst, src unsafe.Pointer, b Mat, kk, nr int)
	// packRow copies a row of A, whose elements are cs apart, to adjacent ones of
	// size/pair bytes.
	packRow func(dst, src unsafe.Pointer, kk, cs int)
	// packCol copies mr adjacent rows of A, whose columns are cs apart, to columns of
	// wide elements of size bytes, one for each step, with zeros beyond the last one.
	packCol func(dst, src unsafe.Pointer, kk, cs, mr int)
	// transpose, if not nil, is packB for any width.
	transpose func(dst, src unsafe.Pointer, b Mat, kk, nr, width int)
	// dot and axpy, if not nil, are the kernels for few vectors, by their number.
	dot, axpy [][2]streamKernel
	merge     func(c, tile unsafe.Pointer, mr, nr, ldc int, add bool)
}

// collides tells whether rows that far apart (in elements of A or B) all fall into
// the same set of the first-level cache, which has room for 8 or 12 lines.
func (f *family) collides(stride int) bool { return stride*f.in%page == 0 }

// converts tells whether operands have another type than the kernels multiply.
func (f *family) converts() bool { return f.in*f.pair != f.size }

// level is a choice of instruction set.
type level struct {
	name      string
	f32, f64  *family
	bf16, f16 *family // of bfloat16 and float16
	pairs     *family // of bfloat16; nil if the processor does not have them
}

// newLevel is a level where operands of a half type are converted in Go.
func newLevel(name string, f32, f64 *family) level {
	return level{name: name, f32: f32, f64: f64, bf16: converting(f32, bfloat16), f16: converting(f32, float16)}
}

var (
	// levels that this processor has, the best first.
	levels  = append(machineLevels(), newLevel("generic", newFamily[float32](), newFamily[float64]()))
	current level
)

func init() {
	current = levels[0]
	if name := os.Getenv("SINTER_CPU"); name != "" {
		if err := SetLevel(name); err != nil {
			fmt.Fprintf(os.Stderr, "sinter: SINTER_CPU: %v; using %s\n", err, current.name)
		}
	}
}

// Level is the name of the instruction set in use: avx512, avx2, neon or generic.
func Level() string { return current.name }

// Levels are the instruction sets that this processor has.
func Levels() []string {
	var names []string
	for _, l := range levels {
		names = append(names, l.name)
	}
	return names
}

// SetLevel chooses the instruction set. It is for tests and for finding out;
// nothing may be running.
func SetLevel(name string) error {
	for _, l := range levels {
		if l.name == name {
			current = l
			return nil
		}
	}
	return fmt.Errorf("this processor has no level %q; it has %v", name, Levels())
}
