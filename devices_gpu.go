//go:build !nogpu

package sinter

import (
	"github.com/sinter-dl/sinter/internal/backend/cpu"
	"github.com/sinter-dl/sinter/internal/backend/cuda"
	"github.com/sinter-dl/sinter/internal/backend/opencl"
	"github.com/sinter-dl/sinter/internal/device"
)

// backends are the ways to devices, the best first but for the processor.
var backends = []device.Backend{cuda.Backend(), opencl.Backend(), cpu.Backend()}
