package cuda

import (
	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/backend/cuda/dnn"
	"github.com/sinter-dl/sinter/internal/backend/cuda/lt"
	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Absent is a card that need not be there, of a compute capability and with so many
// multiprocessors, with cuBLASLt and cuDNN or without. Threads and shared memory of a
// block are those that all cards since Volta have without being asked for more.
func Absent(arch, units int, libraries bool) *gpu.Absent {
	a := &gpu.Absent{Target: codegen.Target{
		Dialect: codegen.CUDA, Arch: arch, Units: units, GroupSize: 1024, Warp: 32,
		Local: 48 << 10, ParamBytes: 4096, Float64: true,
	}}
	if libraries {
		c := card.Of(arch)
		a.Rounds = c.TF32
		a.Library = func(l *kernel.Library) int {
			return workspace(c, l, true, true)
		}
	}
	return a
}

// workspace is the scratch memory that the libraries' routine for an operation is given.
func workspace(c card.Card, l *kernel.Library, products, graphs bool) int {
	switch {
	case l.Op == ir.DotGeneral && products:
		return lt.Workspace(c, l)
	case (l.Op == ir.Conv || l.Op == ir.Composite) && graphs:
		return dnn.Workspace(c, l)
	}
	return 0
}

// Size is what a program takes: bytes of its arena, and launches.
func (d *Device) Size(p *kernel.Program) (arena, launches int, err error) {
	l := &d.libraries
	return gpu.Size(p, &d.target, l.workspace)
}
