package gpu

import (
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Absent is a device that need not be there: it says to package plan what a device with
// this Target would, and what programs would take on it.
type Absent struct {
	Target codegen.Target
	// Library is the scratch memory that a vendor's library is given for an operation; 0
	// if it does not do it. nil: there is none.
	Library func(l *kernel.Library) int
	// Rounds says that that library has products with operands of TF32.
	Rounds bool
}

// TF32 makes a device.Rounding of it.
func (a *Absent) TF32() bool { return a.Rounds }

// Supports names the composites that have kernels.
func (a *Absent) Supports(composite string, narrow bool) bool { return Supports(composite, narrow) }

// Workspace is the number of bytes of scratch memory that a library kernel needs.
func (a *Absent) Workspace(l *kernel.Library) int {
	n := Workspace(l, &a.Target)
	if a.Library != nil {
		n = max(n, a.Library(l))
	}
	return n
}

// Size is what a program takes.
func (a *Absent) Size(p *kernel.Program) (arena, launches int, err error) {
	return Size(p, &a.Target, a.Library)
}

// Size is the bytes of a program's arena, with what launches hand on to each other, and
// the number of launches. library is as in Absent.
func Size(p *kernel.Program, t *codegen.Target, library func(l *kernel.Library) int) (arena, launches int, err error) {
	var own Routines
	if library != nil {
		own = func(l *kernel.Library) (Routine, error) {
			if library(l) == 0 {
				return nil, nil
			}
			return elsewhere{}, nil
		}
	}
	s, err := Lower(p, t, own)
	if err != nil {
		return 0, 0, err
	}
	return s.Arena, count(s.Ops), nil
}

func count(ops []Op) int {
	n := 0
	for i := range ops {
		if l := ops[i].Loop; l != nil {
			n += l.Steps * count(l.Body)
		} else {
			n++
		}
	}
	return n
}

// elsewhere stands for a routine of a library.
type elsewhere struct{}

func (elsewhere) Args() []codegen.Arg { return nil }
func (elsewhere) Epilogue() bool      { return false }
func (elsewhere) Close()              {}
