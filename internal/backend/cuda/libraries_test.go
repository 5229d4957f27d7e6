package cuda

import (
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
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

// equip opens a device of a simulated machine whose stand-ins put what they compute into the
// simulated driver's streams and graphs.
func equip(t *testing.T, configuration string) (*Device, equipped) {
	t.Helper()
	e := equipped{simulated{machine(t, configuration)}, standin.Open(t, "cublaslt"), standin.Open(t, "cudnn")}
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
	return opened.(*Device), e
}

// The conformance suite's products and convolutions with stand-ins for cuBLASLt and cuDNN.
func TestLibraries(t *testing.T) {
	d, e := equip(t, "")
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

// On one card, programs that allow TF32 are computed with it, where the card has it, and the
// others in float32.
func TestTF32(t *testing.T) {
	for _, c := range []struct {
		configuration string
		has           bool
	}{{"device=Simulated,cc:80", true}, {"device=Simulated,cc:75", false}} {
		t.Run(c.configuration, func(t *testing.T) {
			d, e := equip(t, c.configuration)
			if d.TF32() != c.has {
				t.Errorf("TF32: %v", d.TF32())
			}
			square := func(slot int, sh ...int) kernel.Operand {
				o := kernel.Operand{Slot: slot, DType: dtype.Float32, Shape: sh, Stride: make([]int, len(sh))}
				n := 1
				for i := len(sh) - 1; i >= 0; i-- {
					o.Stride[i], n = n, n*sh[i]
				}
				return o
			}
			const bytes = 4 * 64
			b, err := d.Alloc(bytes)
			if err == nil {
				err = d.Upload(b, make([]byte, bytes))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer b.Free()
			for _, tf32 := range []bool{false, true, false, true} {
				e.products.Clear()
				e.graphs.Clear()
				p := &kernel.Program{
					Slots: []kernel.Slot{{Kind: kernel.Leaf, Bytes: bytes}, {Kind: kernel.Arena, Bytes: bytes}, {Kind: kernel.Arena, Offset: bytes, Bytes: 1 << 20}},
					Steps: []kernel.Step{
						&kernel.Library{Name: "product", Op: ir.DotGeneral, In: []kernel.Operand{square(0, 8, 8), square(0, 8, 8)}, Out: []kernel.Operand{square(1, 8, 8)}, Scratch: -1},
						&kernel.Library{Name: "convolution", Op: ir.Conv, Attr: ir.ConvAttr{Stride: []int{1, 1}, Low: []int{0, 0}, High: []int{0, 0}, Dilation: []int{1, 1}, Groups: 1},
							In: []kernel.Operand{square(0, 4, 4, 2, 2), square(0, 4, 4, 1, 1)}, Out: []kernel.Operand{square(1, 4, 4, 2, 2)}, Scratch: 2},
					},
					Leaves: 1, Arena: bytes + 1<<20, TF32: tf32,
				}
				x := compile(t, d, p)
				run(t, x, b)
				if err := d.Wait(); err != nil {
					t.Fatal(err)
				}
				x.Close()
				desc, engine := "cublasLtMatmulDescCreate 69 0", "cudnnBackendExecute engine 3"
				if tf32 && c.has {
					desc, engine = "cublasLtMatmulDescCreate 77 0", "cudnnBackendExecute engine 1"
				}
				if !slices.Contains(e.products.Record(), desc) {
					t.Errorf("TF32 %v: not %s\n%s", tf32, desc, strings.Join(e.products.Record(), "\n"))
				}
				if !slices.Contains(e.graphs.Record(), engine) {
					t.Errorf("TF32 %v: not %s\n%s", tf32, engine, strings.Join(e.graphs.Record(), "\n"))
				}
			}
		})
	}
}
