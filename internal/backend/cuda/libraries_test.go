package cuda

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/device"
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
						&kernel.Library{Name: "product", Op: ir.DotGeneral, In: []kernel.Operand{operand(0, 8, 8), operand(0, 8, 8)}, Out: []kernel.Operand{operand(1, 8, 8)}, Scratch: -1},
						&kernel.Library{Name: "convolution", Op: ir.Conv, Attr: ir.ConvAttr{Stride: []int{1, 1}, Low: []int{0, 0}, High: []int{0, 0}, Dilation: []int{1, 1}, Groups: 1},
							In: []kernel.Operand{operand(0, 4, 4, 2, 2), operand(0, 4, 4, 1, 1)}, Out: []kernel.Operand{operand(1, 4, 4, 2, 2)}, Scratch: 2},
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

// operand is a contiguous one of float32.
func operand(slot int, sh ...int) kernel.Operand {
	o := kernel.Operand{Slot: slot, DType: dtype.Float32, Shape: sh, Stride: make([]int, len(sh))}
	n := 1
	for i := len(sh) - 1; i >= 0; i-- {
		o.Stride[i], n = n, n*sh[i]
	}
	return o
}

// The gradient of a bias that cuBLASLt takes along is no launch of its own, and comes out in
// every run of the graph.
func TestAlong(t *testing.T) {
	d, e := equip(t, "device=Simulated,cc:80")
	const m, n, k = 8, 16, 24
	dy := operand(0, m, k)
	dy.Stride = []int{1, m} // dy [k, m], transposed
	p := &kernel.Program{Leaves: 2, Outputs: 2, Slots: []kernel.Slot{
		{Kind: kernel.Leaf, Index: 0, Bytes: 4 * k * m}, {Kind: kernel.Leaf, Index: 1, Bytes: 4 * k * n},
		{Kind: kernel.Output, Index: 0, Bytes: 4 * m * n}, {Kind: kernel.Output, Index: 1, Bytes: 4 * m},
	}, Steps: []kernel.Step{
		&kernel.Fused{Name: "bias", Code: []kernel.Instr{
			{Kind: kernel.Load, DType: dtype.Float32, Inner: true},
			{Kind: kernel.Reduce, Op: ir.ReduceSum, DType: dtype.Float32},
			{Kind: kernel.Store, DType: dtype.Float32, X: [3]int{1}, Arg: 1},
		}, Parts: []kernel.Part{{Outer: []int{m}, Inner: []int{k}, Args: []kernel.Arg{
			{Slot: 0, DType: dtype.Float32, Stride: []int{1, m}}, {Slot: 3, DType: dtype.Float32, Stride: []int{1, 0}}}}}},
		&kernel.Library{Name: "weight", Op: ir.DotGeneral, In: []kernel.Operand{dy, operand(1, k, n)}, Out: []kernel.Operand{operand(2, m, n)}, Scratch: -1},
	}}
	x := compile(t, d, p)
	defer x.Close()
	seq := x.(*executable).seq
	if len(seq.Ops) != 1 || seq.Ops[0].Step != 1 || seq.Program != p || len(seq.Kernels) != 0 {
		t.Errorf("%d operations, %d kernels", len(seq.Ops), len(seq.Kernels))
	}
	if want := "cublasLtMatmulDescSetAttribute 7=00020000"; !slices.Contains(e.products.Record(), want) {
		t.Errorf("not %s\n%s", want, strings.Join(e.products.Record(), "\n"))
	}
	var leaves, outputs []device.Buffer
	for _, s := range p.Slots {
		b, err := d.Alloc(s.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Free()
		if s.Kind == kernel.Output {
			outputs = append(outputs, b)
		} else {
			leaves = append(leaves, b)
		}
	}
	for run := range 3 {
		for i, b := range leaves {
			data := make([]byte, b.Bytes())
			for j := range len(data) / 4 {
				binary.LittleEndian.PutUint32(data[4*j:], math.Float32bits(float32(j%m+i+run)))
			}
			if err := d.Upload(b, data); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Run(leaves, outputs); err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 4*m)
		if err := d.Download(data, outputs[1]); err != nil {
			t.Fatal(err)
		}
		for i := range m {
			if got, want := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])), float32(k*(i+run)); got != want {
				t.Errorf("run %d: sum %d is %v, want %v", run, i, got, want)
			}
		}
	}
}
