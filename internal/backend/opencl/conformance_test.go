package opencl

import (
	"testing"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// testDevice is the first device of the drivers that can be used, newly opened.
func testDevice(t testing.TB) *Device {
	t.Helper()
	list, err := search()
	why := "no device of OpenCL"
	if err != nil {
		why = err.Error()
	}
	for _, f := range list {
		if f.info.Problem != "" {
			why = f.info.Name + ": " + f.info.Problem
			continue
		}
		d, err := open(f)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	testenv.Require(t, "opencl", false, why)
	panic("unreachable")
}

func TestConformance(t *testing.T) { devicetest.Run(t, testDevice(t)) }
