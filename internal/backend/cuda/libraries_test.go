package cuda

import (
	"testing"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/find"
)

// equipped is the simulated machine with stand-ins for NVIDIA's libraries.
type equipped struct {
	simulated
	products, graphs *standin.Library
}

func (e equipped) library(n find.Name) (dl.Symbols, error) {
	switch n {
	case find.CublasLt:
		return e.products, nil
	case find.CuDNN:
		return e.graphs, nil
	}
	return e.simulated.library(n)
}

// The conformance suite's products and convolutions with stand-ins for cuBLASLt and
// cuDNN, which put what they compute into the simulated driver's streams and graphs.
func TestLibraries(t *testing.T) {
	e := equipped{simulated{machine(t, "")}, standin.Open(t, "cublaslt"), standin.Open(t, "cudnn")}
	driver, err := e.driver()
	if err != nil {
		t.Fatal(err)
	}
	launch, err := driver.Lookup("cuLaunchHostFunc")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*standin.Library{e.products, e.graphs} {
		l.Driver(launch)
		t.Cleanup(func() { l.Driver(0) })
	}
	opened, err := newBackend(e, nowhere).Open("cuda:0")
	if err != nil {
		t.Fatal(err)
	}
	d := opened.(*Device)
	if p := d.libraries.products; p == nil || !p.ReLU || d.libraries.graphs == nil {
		t.Fatalf("libraries: %+v", &d.libraries)
	}
	devicetest.Run(t, d, "dot", "conv")
	for _, c := range []struct {
		lib  *standin.Library
		name string
		most int
	}{{e.products, "cublasLtMatmul", 200}, {e.graphs, "cudnnBackendExecute", 200}} {
		if n := c.lib.Calls(c.name); n < c.most {
			t.Errorf("%d calls of %s", n, c.name)
		}
	}
}
