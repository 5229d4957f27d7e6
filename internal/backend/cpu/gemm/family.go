package gemm

import (
	"fmt"
	"os"
	"unsafe"
)

// family is a set of micro-kernels of one element type and instruction set, with
// the packing routines that suit them.
type family struct {
	size   int // bytes of an element
	mr, nr int // tile
	mc, nc int // rows of a block of A, columns of a block of B
	// kernel computes a.tiles tiles of a.mr × a.nr elements. If it is not masked it
	// writes nr columns, whatever a.nr, and if it is not exact it reads so many.
	masked bool
	exact  bool
	kernel func(a *args, col bool)
	packB  func(dst, src unsafe.Pointer, b Mat, kk, nr int)
	// transpose, if not nil, is packB for any width.
	transpose func(dst, src unsafe.Pointer, b Mat, kk, nr, width int)
	packCol   func(dst, src unsafe.Pointer, kk, cs, mr int)
	gather    func(dst, src unsafe.Pointer, n, stride int)
	merge     func(c, tile unsafe.Pointer, mr, nr, ldc int, add bool)
}

// collides tells whether rows that far apart (in elements) fall into the same few
// sets of the first-level cache.
func (f *family) collides(stride int) bool { return stride*f.size%2048 == 0 }

// level is a choice of instruction set.
type level struct {
	name     string
	f32, f64 *family
}

var (
	// levels that this processor has, the best first.
	levels   = append(machineLevels(), level{"generic", newFamily[float32](), newFamily[float64]()})
	current  level
	f32, f64 *family // of the current level
)

func init() {
	use(levels[0])
	if name := os.Getenv("SINTER_CPU"); name != "" {
		if err := SetLevel(name); err != nil {
			fmt.Fprintf(os.Stderr, "sinter: SINTER_CPU: %v; using %s\n", err, current.name)
		}
	}
}

func use(l level) { current, f32, f64 = l, l.f32, l.f64 }

// Level is the name of the instruction set in use: avx512, avx2 or generic.
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
			use(l)
			return nil
		}
	}
	return fmt.Errorf("this processor has no level %q; it has %v", name, Levels())
}
