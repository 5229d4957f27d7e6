package clblast

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// device is a queue on the first device of OpenCL that is found.
func device(t *testing.T) (b *API, cl *opencl.API, c opencl.Context, q opencl.Queue) {
	t.Helper()
	libs := find.Search(find.Want{})
	lib, err := libs.Open(find.OpenCL)
	testenv.Require(t, "opencl", err == nil, fmt.Sprint(err))
	if cl, err = opencl.New(lib); err != nil {
		t.Fatal(err)
	}
	blast, err := libs.Open(find.CLBlast)
	testenv.Require(t, "clblast", err == nil, fmt.Sprint(err))
	if absent := dl.Absent(blast, &functions{}); len(absent) > 0 {
		t.Errorf("%s lacks %q", blast.Path(), absent)
	}
	if b, err = New(blast); err != nil {
		t.Fatal(err)
	}
	platforms, err := cl.GetPlatformIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range platforms {
		devices, err := cl.GetDeviceIDs(p, opencl.DeviceAll)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range devices[:min(1, len(devices))] {
			if c, err = cl.CreateContext(d); err != nil {
				t.Fatal(err)
			}
			if q, err = cl.CreateCommandQueue(c, d, 0); err != nil {
				t.Fatal(err)
			}
			return b, cl, c, q
		}
	}
	testenv.Require(t, "opencl", false, "an OpenCL library without a device")
	panic("unreachable")
}

// number is small, so that sums of products are exact.
func number(i int) float64 { return float64((i*i+3*i)%11 - 5) }

func buffer[F float32 | float64](t *testing.T, cl *opencl.API, c opencl.Context, list []F) opencl.Mem {
	t.Helper()
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), len(list)*int(unsafe.Sizeof(list[0])))
	m, err := cl.CreateBuffer(c, opencl.ReadWrite|opencl.CopyHostPtr, len(bytes), bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cl.ReleaseMemObject(m); err != nil {
			t.Error(err)
		}
	})
	return m
}

func product[F float32 | float64](t *testing.T, cl *opencl.API, c opencl.Context, q opencl.Queue, p Product, call func(opencl.Queue, *Product, *opencl.Event) error) {
	t.Helper()
	count := max(1, p.Batch)
	rows := func(m *Matrix, rows, cols, at int) []F {
		m.Offset, m.LD = at, cols+2
		m.Stride = rows*m.LD + 1
		list := make([]F, at+count*m.Stride)
		for i := range list {
			list[i] = F(number(i + at))
		}
		return list
	}
	shape := func(trans bool, r, c int) (int, int) {
		if trans {
			return c, r
		}
		return r, c
	}
	ar, ac := shape(p.TransA, p.M, p.K)
	br, bc := shape(p.TransB, p.K, p.N)
	a, b, out := rows(&p.A, ar, ac, 3), rows(&p.B, br, bc, 5), rows(&p.C, p.M, p.N, 7)
	want := append([]F(nil), out...)
	at := func(list []F, m Matrix, trans bool, n, i, j int) F {
		if trans {
			i, j = j, i
		}
		return list[m.Offset+n*m.Stride+i*m.LD+j]
	}
	for n := range count {
		for i := range p.M {
			for j := range p.N {
				var sum F
				for k := range p.K {
					sum += at(a, p.A, p.TransA, n, i, k) * at(b, p.B, p.TransB, n, k, j)
				}
				at := p.C.Offset + n*p.C.Stride + i*p.C.LD + j
				want[at] = F(p.Alpha) * sum
				if p.Beta != 0 {
					want[at] += F(p.Beta) * out[at]
				} else {
					out[at] = F(math.NaN())
				}
			}
		}
	}
	p.A.Mem, p.B.Mem, p.C.Mem = buffer(t, cl, c, a), buffer(t, cl, c, b), buffer(t, cl, c, out)
	var done opencl.Event
	if err := call(q, &p, &done); err != nil {
		t.Fatal(err)
	}
	got := make([]F, len(out))
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&got[0])), len(got)*int(unsafe.Sizeof(got[0])))
	if err := cl.EnqueueReadBuffer(q, p.C.Mem, true, 0, bytes, []opencl.Event{done}, nil); err != nil {
		t.Fatal(err)
	}
	if err := cl.ReleaseEvent(done); err != nil {
		t.Error(err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%+v: element %d is %v, want %v", p, i, got[i], want[i])
		}
	}
}

// Products with leading dimensions, offsets and scalars; what lies around the matrices stays
// as it is, and without beta what was in C is not read. A device whose compiler is the
// processor's, as PoCL's, takes ten seconds and more over each of CLBlast's programs when it
// has not kept them: those for batches and for larger matrices are for SINTER_STRESS.
func TestProducts(t *testing.T) {
	b, cl, c, q := device(t)
	products := []Product{
		{M: 5, N: 7, K: 3, Alpha: 2, Beta: 1},
		{M: 7, N: 5, K: 9, Alpha: 1, Beta: 0},
	}
	if os.Getenv("SINTER_STRESS") != "" {
		products = append(products,
			Product{M: 5, N: 7, K: 3, Alpha: 2, Beta: 1, TransA: true},
			Product{M: 5, N: 7, K: 3, Alpha: 0.5, Beta: -1, TransB: true},
			Product{M: 5, N: 7, K: 3, Alpha: 1, Beta: 0, TransA: true, TransB: true},
			Product{M: 6, N: 4, K: 9, Alpha: 1, Beta: 0, Batch: 3},
			Product{M: 6, N: 4, K: 9, Alpha: 2, Beta: 0.5, Batch: 2, TransA: true, TransB: true},
			Product{M: 70, N: 65, K: 40, Alpha: 1, Beta: 0},
			Product{M: 300, N: 260, K: 290, Alpha: 1, Beta: 0, TransB: true},
		)
		product[float64](t, cl, c, q, Product{M: 5, N: 7, K: 3, Alpha: 2, Beta: 1, TransB: true}, b.Dgemm)
	}
	for _, p := range products {
		product[float32](t, cl, c, q, p, b.Sgemm)
	}
}

func TestErrors(t *testing.T) {
	b, cl, c, q := device(t)
	m := buffer(t, cl, c, make([]float32, 4))
	err := b.Sgemm(q, &Product{M: 8, N: 8, K: 8, Alpha: 1, A: Matrix{Mem: m, LD: 8}, B: Matrix{Mem: m, LD: 8}, C: Matrix{Mem: m, LD: 8}}, nil)
	if err == nil || !strings.Contains(err.Error(), "clblast: CLBlastSgemm of 8×8 by 8×8: CLBlastInsufficientMemoryA (-1011)") {
		t.Errorf("matrices that are larger than their buffers: %v", err)
	}
	err = b.Sgemm(q, &Product{M: 2, N: 2, K: 2, Alpha: 1, A: Matrix{Mem: m, LD: 1}, B: Matrix{Mem: m, LD: 2}, C: Matrix{Mem: m, LD: 2}}, nil)
	if err == nil || !strings.Contains(err.Error(), "CLBlastInvalidLeadDimA") {
		t.Errorf("a leading dimension that is less than a row: %v", err)
	}
}
