package cpu

import (
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// deep uses up stack, so that it grows, which moves it, and then calls f.
func deep(n int, f func()) byte {
	var frame [512]byte
	if n == 0 {
		f()
		return 0
	}
	frame[n%len(frame)] = byte(n)
	return deep(n-1, f) + frame[n%len(frame)]
}

// TestStress runs kernels, matrix products among them, from goroutines with young and
// growing stacks, while the collector runs all the time and the profiler interrupts
// whatever executes: assembly must neither be confused by that nor confuse it. There
// are 10⁵ kernels; SINTER_STRESS is another number, a million for example.
func TestStress(t *testing.T) {
	calls := 100_000
	if v := os.Getenv("SINTER_STRESS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("SINTER_STRESS=%q is not a number of kernels", v)
		}
		calls = n
	} else if testing.Short() {
		calls = 5_000
	}
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Log("without the profiler:", err) // the test itself is being profiled
	} else {
		defer pprof.StopCPUProfile()
	}
	stop := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	defer collector.Wait()
	defer close(stop)

	// A product [48 96]·[96 80], then a chain of negations of it.
	const m, k, n, kernels = 48, 96, 80, 20
	p := negations(kernels, m*n)
	product := &kernel.Library{Op: ir.DotGeneral, Attr: ir.Dot{LeftContract: []int{1}, RightContract: []int{0}}, Scratch: -1}
	operand := func(slot int, sh ...int) kernel.Operand {
		return kernel.Operand{Slot: slot, DType: dtype.Float32, Shape: sh, Stride: []int{sh[1], 1}}
	}
	p.Slots[0].Bytes = 4 * m * k
	p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: 1, Bytes: 4 * k * n}, kernel.Slot{Kind: kernel.Arena, Offset: p.Arena, Bytes: 4 * m * n})
	p.Arena += 4 * m * n
	p.Leaves = 2
	product.In = []kernel.Operand{operand(0, m, k), operand(4, k, n)}
	product.Out = []kernel.Operand{operand(5, m, n)}
	p.Steps[0].(*kernel.Fused).Parts[0].Args[0].Slot = 5
	p.Steps = append([]kernel.Step{product}, p.Steps...)

	wp := pool.New(2)
	defer wp.Close()
	d := newDevice(wp)
	e, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	floats := func(b device.Buffer) []float32 {
		x := b.(*buffer)
		return unsafe.Slice((*float32)(x.p), x.n/4)
	}
	a, b, c := goAlloc(4*m*k), goAlloc(4*k*n), goAlloc(4*m*n)
	for i := range floats(a) {
		floats(a)[i] = float32(i%7 - 3)
	}
	for i := range floats(b) {
		floats(b)[i] = float32(i%5 - 2)
	}
	want := make([]float32, m*n) // small integers: exact in any order
	for i := range m {
		for j := range n {
			for q := range k {
				want[i*n+j] += floats(a)[i*k+q] * floats(b)[q*n+j]
			}
		}
	}
	for i := range calls / (kernels + 1) {
		done := make(chan error)
		go func() { // on a stack that has not grown yet
			clear(floats(c))
			var err error
			deep(i%60, func() { err = e.Run([]device.Buffer{a, b}, []device.Buffer{c}) })
			done <- err
		}()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for j, v := range floats(c) { // an even number of negations
			if v != want[j] {
				t.Fatalf("run %d: element %d is %g, want %g", i, j, v, want[j])
			}
		}
	}
}
