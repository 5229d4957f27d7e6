package codegen_test

import (
	"os"
	"testing"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/codegen"
)

// many is a target of many units, for which more is cut, and vectors, tiles and slices
// show in tests of moderate size.
var many = codegen.Target{Dialect: codegen.OpenCL, Units: 132, GroupSize: 1024, Warp: 1, Local: 32 << 10, ParamBytes: 1024, Float64: true}

// stress says that a test compiles thousands of kernels.
func stress(t *testing.T) {
	if os.Getenv("SINTER_STRESS") == "" {
		t.Skip("skipped: compiles thousands of kernels (SINTER_STRESS=1 runs it)")
	}
}

func TestSerial(t *testing.T) {
	stress(t)
	serial := many
	serial.Units, serial.Serial = 2, true
	devicetest.Fused(t, newDevice(t, serial))
}

func TestConformance(t *testing.T) {
	stress(t)
	devicetest.Fused(t, newDevice(t, many))
}
