package simcuda_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/dl"
)

// api calls the libraries by name, as the C API has it.
type api struct {
	testing.TB
	m             *simcuda.Machine
	driver, nvrtc *dl.Library
	stream        uintptr
}

func start(t testing.TB, configuration string) *api {
	m := simcuda.Require(t)
	runtime.LockOSThread() // the current context is the thread's
	m.Configure(configuration)
	a := &api{TB: t, m: m}
	var err error
	if a.driver, err = dl.Open(m.Driver); err != nil {
		t.Fatal(err)
	}
	if a.nvrtc, err = dl.Open(m.NVRTC); err != nil {
		t.Fatal(err)
	}
	a.ok("cuInit", 0)
	a.context()
	a.ok("cuStreamCreate", uintptr(unsafe.Pointer(&a.stream)), 1)
	return a
}

func (a *api) call(name string, args ...uintptr) int {
	lib := a.driver
	if strings.HasPrefix(name, "nvrtc") {
		lib = a.nvrtc
	}
	f, err := lib.Lookup(name)
	if err != nil {
		a.Fatal(err)
	}
	return int(int32(f.Call(args...)))
}

func (a *api) ok(name string, args ...uintptr) {
	a.Helper()
	if e := a.call(name, args...); e != 0 {
		a.Fatalf("%s: %d; %s", name, e, a.m.Log())
	}
}

func (a *api) is(want int, name string, args ...uintptr) {
	a.Helper()
	if e := a.call(name, args...); e != want {
		a.Fatalf("%s: %d, want %d; %s", name, e, want, a.m.Log())
	}
}

// context makes the first device's context current to the thread that the test is on. The
// goroutine may move, so this is done before every call that needs it.
func (a *api) context() {
	var c uintptr
	a.ok("cuDevicePrimaryCtxRetain", uintptr(unsafe.Pointer(&c)), 0)
	a.ok("cuCtxSetCurrent", c)
}

func (a *api) alloc(bytes int) uintptr {
	a.context()
	p := new(uintptr)
	a.ok("cuMemAllocAsync", uintptr(unsafe.Pointer(p)), uintptr(bytes), a.stream)
	return *p
}

func (a *api) upload(p uintptr, x []float32) {
	a.context()
	a.ok("cuMemcpyHtoDAsync_v2", p, uintptr(unsafe.Pointer(&x[0])), uintptr(4*len(x)), a.stream)
}

func (a *api) download(p uintptr, n int) []float32 {
	a.context()
	x := make([]float32, n)
	a.ok("cuMemcpyDtoHAsync_v2", uintptr(unsafe.Pointer(&x[0])), p, uintptr(4*n), a.stream)
	return x
}

// compile loads a module of kernels.
func (a *api) compile(text string) (module uintptr) {
	a.Helper()
	p, n, m := new(uintptr), new(uintptr), new(uintptr)
	a.ok("nvrtcCreateProgram", uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(dl.CString(text))), 0, 0, 0, 0)
	options := dl.CStrings([]string{"--gpu-architecture=sm_80", "--std=c++17", "--fmad=false"})
	if e := a.call("nvrtcCompileProgram", *p, 3, options.Addr()); e != 0 {
		a.ok("nvrtcGetProgramLogSize", *p, uintptr(unsafe.Pointer(n)))
		log := make([]byte, *n)
		a.ok("nvrtcGetProgramLog", *p, uintptr(unsafe.Pointer(&log[0])))
		a.Fatalf("nvrtcCompileProgram: %d\n%s", e, log)
	}
	a.ok("nvrtcGetCUBINSize", *p, uintptr(unsafe.Pointer(n)))
	image := make([]byte, *n)
	a.ok("nvrtcGetCUBIN", *p, uintptr(unsafe.Pointer(&image[0])))
	a.ok("nvrtcDestroyProgram", uintptr(unsafe.Pointer(p)))
	a.context()
	a.ok("cuModuleLoadData", uintptr(unsafe.Pointer(m)), uintptr(unsafe.Pointer(&image[0])))
	return *m
}

func (a *api) function(module uintptr, name string) uintptr {
	f := new(uintptr)
	a.context()
	a.ok("cuModuleGetFunction", uintptr(unsafe.Pointer(f)), module, uintptr(unsafe.Pointer(dl.CString(name))))
	return *f
}

// launch passes packed arguments, of 8 bytes for addresses and 4 for numbers.
func (a *api) launch(f uintptr, blocks, threads int, args ...any) int {
	var packed []byte
	for _, x := range args {
		switch x := x.(type) {
		case uintptr:
			packed = append(packed, make([]byte, -len(packed)&7)...)
			packed = binary.LittleEndian.AppendUint64(packed, uint64(x))
		case int:
			packed = binary.LittleEndian.AppendUint32(packed, uint32(x))
		case float32:
			packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(x))
		}
	}
	block := dl.NewBlock(48 + len(packed))
	copy(block.Bytes()[48:], packed)
	w := block.Words()
	w[0], w[1], w[2], w[3], w[4], w[5] = 1, uint64(block.Addr())+48, 2, uint64(block.Addr())+40, 0, uint64(len(packed))
	a.context()
	return a.call("cuLaunchKernel", f, uintptr(blocks), 1, 1, uintptr(threads), 1, 1, 0, a.stream, 0, block.Addr())
}

const kernels = `
SIM_KERNEL(rowsum, const float *x, float *y, int cols) {
	__shared__ float part[32];
	float s = 0;
	for (int i = threadIdx.x; i < cols; i += blockDim.x) s += x[(size_t)blockIdx.x * cols + i];
	for (int m = 16; m > 0; m >>= 1) s += __shfl_xor_sync(0xffffffffu, s, m);
	if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = s;
	__syncthreads();
	if (threadIdx.x < 32) {
		s = threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0;
		for (int m = 16; m > 0; m >>= 1) s += __shfl_xor_sync(0xffffffffu, s, m);
		if (threadIdx.x == 0) y[blockIdx.x] = s;
	}
}
SIM_KERNEL(scale, float *x, float a, int n) {
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) x[i] *= a;
}
SIM_KERNEL(lanes, int *x) {
	int i = threadIdx.x, v = i;
	x[i] = __shfl_down_sync(0xffffffffu, v, 3) * 1000000 + __shfl_up_sync(0xffffffffu, v, 2) * 1000 + __shfl_sync(0xffffffffu, v, 5);
	for (int k = 0; k < i / 32; k++) // warps need not keep step
		x[i] += __shfl_xor_sync(0xffffffffu, 1, 1);
}
SIM_KERNEL(diverge, float *x) {
	if (threadIdx.x < 48) __syncthreads();
	x[threadIdx.x] = 1;
}
SIM_KERNEL(outside, float *x, int at) { x[at] = 1; }
SIM_KERNEL(uninitialised, float *x) {
	__shared__ float s[32];
	x[threadIdx.x] = s[threadIdx.x];
}
`

func TestKernels(t *testing.T) {
	a := start(t, "")
	m := a.compile(kernels)
	const rows, cols = 5, 1000
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(i%7 - i/cols)
	}
	in, out := a.alloc(4*len(x)), a.alloc(4*256)
	a.upload(in, x)
	if e := a.launch(a.function(m, "rowsum"), rows, 256, in, out, cols); e != 0 {
		t.Fatal(e, a.m.Log())
	}
	for r, got := range a.download(out, rows) {
		var want float32
		for _, v := range x[r*cols : (r+1)*cols] {
			want += v
		}
		if got != want {
			t.Errorf("row %d sums up to %g, want %g", r, got, want)
		}
	}
	if e := a.launch(a.function(m, "lanes"), 1, 128, out); e != 0 {
		t.Fatal(e)
	}
	for i, bits := range a.download(out, 128) {
		w, l := i&^31, i&31
		down, up := l+3, l-2
		if down > 31 {
			down = l
		}
		if up < 0 {
			up = l
		}
		if got, want := int(math.Float32bits(bits)), (w+down)*1000000+(w+up)*1000+w+5+i/32; got != want {
			t.Errorf("thread %d has %d, want %d", i, got, want)
		}
	}
	if e := a.launch(a.function(m, "uninitialised"), 1, 32, out); e != 0 {
		t.Fatal(e)
	}
	if got := a.download(out, 1)[0]; got == got {
		t.Errorf("memory of a block that nothing was written to is %g, not NaN", got)
	}
	// Arguments one by one, and too few.
	var p, k, n = out, float32(2), int32(3)
	a.upload(out, []float32{1, 2, 3, 4})
	params := dl.NewBlock(24 + 16)
	w := params.Words()
	w[3] = uint64(p)
	binary.LittleEndian.PutUint32(params.Bytes()[32:], math.Float32bits(k))
	binary.LittleEndian.PutUint32(params.Bytes()[36:], uint32(n))
	for i, at := range []int{24, 32, 36} {
		w[i] = uint64(params.Addr()) + uint64(at)
	}
	a.context()
	a.ok("cuLaunchKernel", a.function(m, "scale"), 1, 1, 1, 32, 1, 1, 0, a.stream, params.Addr(), 0)
	if got := fmt.Sprint(a.download(out, 4)); got != "[2 4 6 4]" {
		t.Error(got)
	}
	if e := a.launch(a.function(m, "scale"), 1, 32, out, float32(2)); e != 1 {
		t.Errorf("too few arguments: %d, want 1", e)
	}
	if e := a.launch(a.function(m, "scale"), 0, 32, out, float32(2), 3); e != 1 {
		t.Errorf("no block: %d, want 1", e)
	}
	if e := a.launch(a.function(m, "scale"), 1, 2000, out, float32(2), 3); e != 1 {
		t.Errorf("too large a block: %d, want 1", e)
	}
}

// What a kernel does wrong poisons the context: every later call fails.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  int
		says  string
		start func(a *api, m, x uintptr) int
	}{
		{"diverge", 719, "barriers diverge: thread 32 waits for its block at line 26, thread 48 has ended", func(a *api, m, x uintptr) int {
			return a.launch(a.function(m, "diverge"), 1, 64, x)
		}},
		{"outside", 700, "outside: an illegal address", func(a *api, m, x uintptr) int {
			return a.launch(a.function(m, "outside"), 1, 1, x, 64)
		}},
		{"freed", 700, "an illegal address", func(a *api, m, x uintptr) int {
			a.context()
			a.ok("cuMemFreeAsync", x, a.stream)
			return a.launch(a.function(m, "outside"), 1, 1, x, 0)
		}},
		{"told", 700, "failed as it was told to", func(a *api, m, x uintptr) int {
			a.m.Change("fail.launch=1")
			return a.launch(a.function(m, "outside"), 1, 1, x, 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := start(t, "seed=0")
			m := a.compile(kernels)
			x := a.alloc(256)
			if e := c.start(a, m, x); e != 0 {
				t.Fatal(e)
			}
			a.context()
			a.is(c.code, "cuStreamSynchronize", a.stream)
			if log := a.m.Log(); !strings.Contains(log, c.says) {
				t.Errorf("the log is %q, want %q in it", log, c.says)
			}
			a.is(c.code, "cuMemAllocAsync", uintptr(unsafe.Pointer(new(uintptr))), 64, a.stream)
		})
	}
}

// A stream reads pinned memory when it gets there, and another stream's results only
// after an event.
func TestAsynchronous(t *testing.T) {
	wrong := 0
	for seed := 1; seed <= 20; seed++ {
		a := start(t, fmt.Sprintf("seed=%d", seed))
		m := a.compile(kernels)
		scale := a.function(m, "scale")
		other, event := new(uintptr), new(uintptr)
		a.context()
		a.ok("cuStreamCreate", uintptr(unsafe.Pointer(other)), 1)
		a.ok("cuEventCreate", uintptr(unsafe.Pointer(event)), 2)
		x, y := a.alloc(4), a.alloc(4)
		for _, with := range []bool{true, false} {
			a.upload(x, []float32{1})
			a.context()
			a.ok("cuStreamSynchronize", a.stream)
			for range 3 {
				a.launch(scale, 1, 1, x, float32(2), 1)
			}
			if with {
				a.ok("cuEventRecord", *event, a.stream)
				a.ok("cuStreamWaitEvent", *other, *event, 0)
			}
			a.ok("cuMemcpyDtoDAsync_v2", y, x, 4, *other)
			a.ok("cuStreamSynchronize", *other)
			got := a.download(y, 1)[0]
			if with && got != 8 {
				t.Errorf("seed %d: after an event, %g, want 8", seed, got)
			}
			if !with && got != 8 {
				wrong++
			}
		}
	}
	if wrong < 5 {
		t.Errorf("a missing event shows in %d of 20 orders", wrong)
	}
}

func TestGraph(t *testing.T) {
	a := start(t, "")
	m := a.compile(kernels)
	scale := a.function(m, "scale")
	x, y := a.alloc(8), a.alloc(8)
	a.upload(x, []float32{1, 2})
	a.upload(y, []float32{5, 6})
	a.context()
	a.ok("cuStreamBeginCapture_v2", a.stream, 2)
	a.launch(scale, 1, 2, x, float32(3), 2)
	status, nodes, n := new(int32), new(uintptr), new(uintptr)
	a.context()
	a.ok("cuStreamGetCaptureInfo_v2", a.stream, uintptr(unsafe.Pointer(status)), 0, 0, uintptr(unsafe.Pointer(nodes)), uintptr(unsafe.Pointer(n)))
	node := *(*uintptr)(dl.Pointer(*nodes))
	graph, exec := new(uintptr), new(uintptr)
	a.ok("cuStreamEndCapture", a.stream, uintptr(unsafe.Pointer(graph)))
	a.ok("cuGraphInstantiateWithFlags", uintptr(unsafe.Pointer(exec)), *graph, 0)
	for range 2 {
		a.ok("cuGraphLaunch", *exec, a.stream)
	}
	if got := fmt.Sprint(a.download(x, 2)); got != "[9 18]" {
		t.Error(got)
	}
	// Another pointer; a launch before keeps its own.
	block := dl.NewBlock(72 + 24 + 16)
	w := block.Words()
	at := uint64(block.Addr())
	w[0], w[1], w[2], w[3] = uint64(scale), 1|1<<32, 1|2<<32, 1|1<<32
	w[5] = at + 72
	w[9], w[10], w[11] = at+96, at+104, at+108
	w[12] = uint64(y)
	binary.LittleEndian.PutUint32(block.Bytes()[104:], math.Float32bits(10))
	binary.LittleEndian.PutUint32(block.Bytes()[108:], 2)
	a.context()
	a.ok("cuGraphLaunch", *exec, a.stream)
	a.ok("cuGraphExecKernelNodeSetParams_v2", *exec, node, block.Addr())
	a.ok("cuGraphLaunch", *exec, a.stream)
	if got := fmt.Sprint(a.download(x, 2), a.download(y, 2)); got != "[27 54] [50 60]" {
		t.Error(got)
	}
	// What must not be captured.
	a.context()
	a.ok("cuStreamBeginCapture_v2", a.stream, 2)
	a.is(900, "cuStreamSynchronize", a.stream)
	a.is(901, "cuStreamEndCapture", a.stream, uintptr(unsafe.Pointer(graph)))
}

func TestMemory(t *testing.T) {
	a := start(t, "device=Small,memory:1048576;fail.alloc=2")
	p := a.alloc(1 << 19)
	q := new(uintptr)
	a.is(2, "cuMemAllocAsync", uintptr(unsafe.Pointer(q)), 64, a.stream) // as it was told to
	a.is(2, "cuMemAllocAsync", uintptr(unsafe.Pointer(q)), 1<<19+1, a.stream)
	a.ok("cuMemFreeAsync", p, a.stream)
	a.is(1, "cuMemFreeAsync", p, a.stream)
	a.ok("cuStreamSynchronize", a.stream)
	a.is(2, "cuMemAlloc_v2", uintptr(unsafe.Pointer(q)), 1<<20) // the pool still has it
	pool := new(uintptr)
	a.ok("cuDeviceGetDefaultMemPool", uintptr(unsafe.Pointer(pool)), 0)
	a.ok("cuMemPoolTrimTo", *pool, 0)
	a.ok("cuMemAlloc_v2", uintptr(unsafe.Pointer(q)), 1<<20)
	a.ok("cuMemFree_v2", *q)
	if n := a.m.Count("live"); n != 0 {
		t.Errorf("%d allocations are left", n)
	}
	x := a.alloc(100)
	a.is(1, "cuMemsetD8Async", x, 0, 101, a.stream)
	if a.m.Count("overruns") != 0 {
		t.Error("overruns before there was one")
	}
	m := a.compile(kernels)
	a.launch(a.function(m, "outside"), 1, 1, x, 26)
	a.context()
	a.ok("cuMemFreeAsync", x, a.stream)
	a.ok("cuStreamSynchronize", a.stream)
	if n, log := a.m.Count("overruns"), a.m.Log(); n != 1 || !strings.Contains(log, "beside an allocation of 100 bytes was written, at byte 104") {
		t.Errorf("%d overruns: %s", n, log)
	}
}

func TestDevices(t *testing.T) {
	a := start(t, "driver=11040;device=One,cc:70;device=Two,cc:90,units:132")
	n := new(int32)
	a.ok("cuDeviceGetCount", uintptr(unsafe.Pointer(n)))
	major := new(int32)
	a.ok("cuDeviceGetAttribute", uintptr(unsafe.Pointer(major)), 75, 1)
	version := new(int32)
	a.ok("cuDriverGetVersion", uintptr(unsafe.Pointer(version)))
	if *n != 2 || *major != 9 || *version != 11040 {
		t.Error(*n, *major, *version)
	}
	a.m.Configure("device=none")
	a.is(100, "cuInit", 0)
	a.m.Configure("init=999")
	a.is(999, "cuInit", 0)
}

func BenchmarkThread(b *testing.B) {
	for _, c := range []struct {
		name   string
		blocks int
	}{{"rowsum", 256}, {"scale", 4096}} {
		b.Run(c.name, func(b *testing.B) {
			a := start(b, "")
			f := a.function(a.compile(kernels), c.name)
			x, y := a.alloc(4<<20), a.alloc(4<<10)
			for b.Loop() {
				if c.name == "rowsum" {
					a.launch(f, c.blocks, 256, x, y, 4096)
				} else {
					a.launch(f, c.blocks, 256, x, float32(1), 1<<20)
				}
				a.ok("cuStreamSynchronize", a.stream)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.blocks*256), "ns/thread")
		})
	}
}
