package cuda

import (
	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// routines finds routines of NVIDIA's libraries for the operations of a program.
func (d *Device) routines(p *kernel.Program) gpu.Routines { return nil }
