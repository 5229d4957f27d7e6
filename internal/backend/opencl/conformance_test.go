package opencl

import (
	"os"
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

// PoCL takes about 65 ms to compile a kernel, and the suite has thousands. So `go test` runs
// the parts that are about this package, SINTER_STRESS=1 all parts, with a sample of the
// elementwise kernels, and SINTER_STRESS=all everything.
func TestConformance(t *testing.T) {
	d := testDevice(t)
	switch os.Getenv("SINTER_STRESS") {
	case "":
		devicetest.Sample(t, d, "memory", "multi", "scan", "execution")
	case "all":
		devicetest.Run(t, d)
	default:
		devicetest.Sample(t, d)
	}
}
