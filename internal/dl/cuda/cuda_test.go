package cuda

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/dltest"
)

// A driver that writes down what it is called with, one line a call. Memory of the device
// is memory of the host.
const fake = `
static char log_[1 << 16];
static size_t used;
static int quiet;
#define LOG(...) do { if (!quiet) used += snprintf(log_ + used, sizeof log_ - used, __VA_ARGS__); } while (0)
const char *take_log() { used = 0; return log_; }
void set_quiet(int q) { quiet = q; log_[0] = 0; used = 0; }
int fail_with;

int cuGetErrorName(int r, const char **s) { if (r == 12345) return 1; *s = r == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_SOMETHING"; return 0; }
int cuGetErrorString(int r, const char **s) { if (r == 12345) return 1; *s = r == 2 ? "out of memory" : "something"; return 0; }
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuDeviceGet(int *d, int i) { if (i != 0) return 101; *d = 7; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "device %d", d); return 0; }
int cuDeviceGetUuid_v2(unsigned char *u, int d) { for (int i = 0; i < 16; i++) u[i] = 16 * i + d; return 0; }
int cuDeviceTotalMem_v2(size_t *n, int d) { *n = 5ull << 30; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { if (a == 999) return 1; *v = -a; return 0; }
int cuDevicePrimaryCtxGetState(int d, unsigned *f, int *a) { *f = 4; *a = 1; return 0; }
int cuCtxGetStreamPriorityRange(int *l, int *g) { *l = 0; *g = -5; return 0; }
int cuModuleLoadDataEx(void **m, const char *image, unsigned n, int *options, void **values) {
	if (strcmp(image, "good") == 0) { *m = (void *)0x77; return 0; }
	for (unsigned i = 0; i < n; i++) if (options[i] == 5) strcpy((char *)values[i], "ptxas said so");
	return 218;
}
int cuModuleGetFunction(void **f, void *m, const char *name) { if (strcmp(name, "add")) return 500; *f = (void *)0x88; return 0; }
int cuMemGetInfo_v2(size_t *f, size_t *t) { *f = 3ull << 32; *t = 4ull << 32; return 0; }
int cuMemAlloc_v2(uint64_t *p, size_t n) { if (n > 1 << 20) return 2; *p = (uint64_t)calloc(n, 1); return 0; }
int cuMemFree_v2(uint64_t p) { free((void *)p); return 0; }
int cuMemHostAlloc(void **p, size_t n, unsigned f) { LOG("hostalloc %zu %u\n", n, f); *p = calloc(n, 1); return 0; }
int cuMemFreeHost(void *p) { free(p); return 0; }
int cuMemcpyHtoD_v2(uint64_t d, void *s, size_t n) { memcpy((void *)d, s, n); return 0; }
int cuMemcpyDtoH_v2(void *d, uint64_t s, size_t n) { memcpy(d, (void *)s, n); return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t d, void *s, size_t n, uint64_t stream) { LOG("htod %zu on %#lx\n", n, stream); memcpy((void *)d, s, n); return 0; }
int cuMemcpyDtoHAsync_v2(void *d, uint64_t s, size_t n, uint64_t stream) { LOG("dtoh %zu on %#lx\n", n, stream); memcpy(d, (void *)s, n); return 0; }
int cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t s, size_t n, uint64_t stream) { LOG("dtod %zu on %#lx\n", n, stream); memmove((void *)d, (void *)s, n); return 0; }
int cuMemsetD32Async(uint64_t d, unsigned v, size_t n, uint64_t stream) { LOG("set %#x %zu on %#lx\n", v, n, stream); for (size_t i = 0; i < n; i++) ((unsigned *)d)[i] = v; return 0; }
int cuMemAllocAsync(uint64_t *p, size_t n, uint64_t stream) { LOG("alloc %zu on %#lx\n", n, stream); *p = 0xabc000; return 0; }
int cuMemFreeAsync(uint64_t p, uint64_t stream) { LOG("free %#lx on %#lx\n", p, stream); return 0; }
int cuMemCreate(uint64_t *h, size_t n, unsigned *prop, uint64_t flags) { LOG("create %zu type %u handles %u location %u %u\n", n, prop[0], prop[1], prop[2], prop[3]); *h = 1; return 0; }
int cuMemSetAccess(uint64_t p, size_t n, unsigned *d, size_t count) { LOG("access %zu location %u %u flags %u, %zu\n", n, d[0], d[1], d[2], count); return 0; }
int cuMemPoolSetAttribute(void *p, int a, uint64_t *v) { LOG("pool %d %#lx\n", a, *v); return 0; }
int cuStreamCreateWithPriority(void **s, unsigned f, int p) { LOG("stream %u %d\n", f, p); *s = (void *)0x55; return 0; }
int cuStreamQuery(uint64_t s) { return s ? 600 : 0; }
int cuStreamEndCapture(uint64_t s, void **g) { *g = (void *)0x99; return 0; }
int cuEventElapsedTime(float *ms, uint64_t a, uint64_t b) { *ms = 1.25f; return 0; }
int cuEventRecord(uint64_t e, uint64_t s) { LOG("record %#lx on %#lx\n", e, s); return fail_with; }
static void log_params(void **extra) {
	if (extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != 0) { LOG("bad extra\n"); return; }
	size_t n = *(size_t *)extra[3];
	LOG(" %zu bytes:", n);
	for (size_t i = 0; i < n; i++) LOG(" %02x", ((unsigned char *)extra[1])[i]);
	LOG("\n");
}
int cuLaunchKernel(uint64_t f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, uint64_t s, void **params, void **extra) {
	LOG("launch %#lx %u,%u,%u %u,%u,%u %u on %#lx params %p", f, gx, gy, gz, bx, by, bz, shared, s, (void *)params);
	log_params(extra);
	return fail_with;
}
struct config { unsigned gx, gy, gz, bx, by, bz, shared; uint64_t s; unsigned *attributes; unsigned n; };
int cuLaunchKernelEx(config *c, uint64_t f, void **params, void **extra) {
	LOG("launchEx %#lx %u,%u,%u %u,%u,%u %u on %#lx attribute %u = %u,%u,%u of %u", f, c->gx, c->gy, c->gz, c->bx, c->by, c->bz, c->shared, c->s,
		c->attributes[0], c->attributes[2], c->attributes[3], c->attributes[4], c->n);
	log_params(extra);
	return 0;
}
struct node { uint64_t f; unsigned gx, gy, gz, bx, by, bz, shared; void **params, **extra; void *kern, *ctx; };
int cuGraphExecKernelNodeSetParams_v2(uint64_t x, uint64_t n, node *p) {
	LOG("node %#lx of %#lx: %#lx %u,%u,%u %u,%u,%u %u params %p kern %p ctx %p", n, x, p->f, p->gx, p->gy, p->gz, p->bx, p->by, p->bz, p->shared, (void *)p->params, p->kern, p->ctx);
	log_params(p->extra);
	return 0;
}
int cuGraphGetNodes(uint64_t g, uint64_t *nodes, size_t *n) { if (nodes) { nodes[0] = 0xa1; nodes[1] = 0xa2; } *n = 2; return 0; }
int cuGraphExecUpdate_v2(uint64_t x, uint64_t g, unsigned *info) { if (g == 1) { info[0] = 2; return 910; } return g == 2 ? 700 : 0; }
int cuGraphInstantiateWithFlags(void **x, uint64_t g, uint64_t flags) { LOG("instantiate %#lx %#lx\n", g, flags); *x = (void *)0xbb; return 0; }
int cuGraphLaunch(uint64_t x, uint64_t s) { LOG("graph %#lx on %#lx\n", x, s); return 0; }
`

func driver(t *testing.T) (*API, *dl.Library) {
	t.Helper()
	lib := dltest.Fake(t, &functions{}, fake)
	cu, err := New(lib)
	if err != nil {
		t.Fatal(err)
	}
	return cu, lib
}

func call(t *testing.T, lib *dl.Library, name string, args ...uintptr) uintptr {
	t.Helper()
	f, err := lib.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return f.Fast(args...)
}

// What is asked of a driver arrives, and its answers are understood.
func TestCalls(t *testing.T) {
	cu, lib := driver(t)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(cu.Init())
	if v, err := cu.DriverGetVersion(); err != nil || v != 12040 {
		t.Errorf("version %d (%v)", v, err)
	}
	d, err := cu.DeviceGet(0)
	ok(err)
	if name, err := cu.DeviceGetName(d); err != nil || name != "device 7" {
		t.Errorf("name %q (%v)", name, err)
	}
	if u, err := cu.DeviceGetUuid(d); err != nil || u.String() != "GPU-07172737-4757-6777-8797-a7b7c7d7e7f7" {
		t.Errorf("UUID %v (%v)", u, err)
	}
	if n, err := cu.DeviceTotalMem(d); err != nil || n != 5<<30 {
		t.Errorf("total memory %d (%v)", n, err)
	}
	if v, err := cu.DeviceGetAttribute(d, ComputeCapabilityMajor); err != nil || v != -75 {
		t.Errorf("attribute %d (%v)", v, err)
	}
	if l, g, err := cu.CtxGetStreamPriorityRange(); err != nil || l != 0 || g != -5 {
		t.Errorf("priorities %d to %d (%v)", l, g, err)
	}
	if f, a, err := cu.DevicePrimaryCtxGetState(d); err != nil || f != ScheduleBlockingSync || !a {
		t.Errorf("state %v %v (%v)", f, a, err)
	}
	if f, n, err := cu.MemGetInfo(); err != nil || f != 3<<32 || n != 4<<32 {
		t.Errorf("memory %d of %d (%v)", f, n, err)
	}

	p, err := cu.MemAlloc(64)
	ok(err)
	host, err := cu.MemHostAlloc(64, HostPortable)
	ok(err)
	for i := range host {
		host[i] = byte(i)
	}
	ok(cu.MemcpyHtoDAsync(p, host, 0x55))
	ok(cu.MemcpyDtoDAsync(p+32, p, 16, 0x55))
	ok(cu.MemsetD32Async(p, 0x01020304, 2, 0x55))
	back := make([]byte, 64)
	ok(cu.MemcpyDtoHAsync(back, p, 0x55))
	want := slices.Concat([]byte{4, 3, 2, 1, 4, 3, 2, 1}, host[8:32], host[:16], host[48:])
	if !slices.Equal(back, want) {
		t.Errorf("memory is %d, want %d", back, want)
	}
	ok(cu.MemcpyHtoD(p, []byte("hello")))
	ok(cu.MemcpyDtoH(back[:5], p))
	if string(back[:5]) != "hello" {
		t.Errorf("%q", back[:5])
	}
	ok(cu.MemFreeHost(host))
	ok(cu.MemFree(p))

	s, err := cu.StreamCreateWithPriority(-5)
	ok(err)
	q, err := cu.MemAllocAsync(100, s)
	ok(err)
	ok(cu.MemFreeAsync(q, s))
	_, err = cu.MemCreate(1<<21, 3)
	ok(err)
	ok(cu.MemSetAccess(0x1000, 1<<21, 3))
	ok(cu.MemPoolSetAttribute(1, PoolReleaseThreshold, 1<<63))
	if done, err := cu.StreamQuery(s); err != nil || done {
		t.Errorf("a stream with work is done: %v (%v)", done, err)
	}
	if done, err := cu.StreamQuery(0); err != nil || !done {
		t.Errorf("a stream without work is done: %v (%v)", done, err)
	}
	if ms, err := cu.EventElapsedTime(1, 2); err != nil || ms != 1.25 {
		t.Errorf("elapsed %v (%v)", ms, err)
	}

	m, err := cu.ModuleLoadData([]byte("good"))
	ok(err)
	f, err := cu.ModuleGetFunction(m, "add")
	ok(err)
	params := dl.NewBlock(32)
	binary.LittleEndian.PutUint64(params.Bytes(), 0x1122334455667788)
	binary.LittleEndian.PutUint32(params.Bytes()[8:], 7)
	ok(cu.LaunchKernel(f, [3]int{1, 2, 3}, [3]int{4, 5, 6}, 1024, s, params, 12))
	ok(cu.LaunchKernelEx(LaunchConfig{Grid: [3]uint32{8, 1, 1}, Block: [3]uint32{32, 1, 1}, SharedBytes: 16, Stream: s},
		[]LaunchAttribute{{ID: 4, Value: [16]uint32{2, 1, 1}}}, f, params, 4))
	ok(cu.GraphExecKernelNodeSetParams(0xbb, 0xa1, &KernelNode{Function: f, Grid: [3]int{1, 2, 3}, Block: [3]int{4, 5, 6}, SharedBytes: 9, Params: params, ParamBytes: 8}))

	ok(cu.StreamBeginCapture(s, CaptureRelaxed))
	g, err := cu.StreamEndCapture(s)
	ok(err)
	if nodes, err := cu.GraphGetNodes(g); err != nil || !slices.Equal(nodes, []GraphNode{0xa1, 0xa2}) {
		t.Errorf("nodes %#x (%v)", nodes, err)
	}
	x, err := cu.GraphInstantiate(g, AutoFreeOnLaunch)
	ok(err)
	ok(cu.GraphLaunch(x, s))
	if done, _, err := cu.GraphExecUpdate(x, g); err != nil || !done {
		t.Errorf("update %v (%v)", done, err)
	}
	if done, why, err := cu.GraphExecUpdate(x, 1); err != nil || done || why.String() != "the graphs differ in their nodes or edges" {
		t.Errorf("update %v: %v (%v)", done, why, err)
	}
	if _, _, err := cu.GraphExecUpdate(x, 2); err == nil || !strings.Contains(err.Error(), "cuGraphExecUpdate") {
		t.Errorf("an update that fails: %v", err)
	}

	log := dl.String(call(t, lib, "take_log"))
	wantLog := `hostalloc 64 1
htod 64 on 0x55
dtod 16 on 0x55
set 0x1020304 2 on 0x55
dtoh 64 on 0x55
stream 1 -5
alloc 100 on 0x55
free 0xabc000 on 0x55
create 2097152 type 1 handles 0 location 1 3
access 2097152 location 1 3 flags 3, 1
pool 4 0x8000000000000000
launch 0x88 1,2,3 4,5,6 1024 on 0x55 params (nil) 12 bytes: 88 77 66 55 44 33 22 11 07 00 00 00
launchEx 0x88 8,1,1 32,1,1 16 on 0x55 attribute 4 = 2,1,1 of 1 4 bytes: 88 77 66 55
node 0xa1 of 0xbb: 0x88 1,2,3 4,5,6 9 params (nil) kern (nil) ctx (nil) 8 bytes: 88 77 66 55 44 33 22 11
instantiate 0x99 0x1
graph 0xbb on 0x55
`
	if log != wantLog {
		t.Errorf("the driver was called\n%swant\n%s", log, wantLog)
	}
}

func TestErrors(t *testing.T) {
	cu, lib := driver(t)
	for _, c := range []struct {
		err  func() error
		says string
	}{
		{func() error { _, err := cu.MemAlloc(1 << 21); return err }, "cuda: cuMemAlloc of 2097152 bytes: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; free memory"},
		{func() error { _, err := cu.ModuleLoadData([]byte("bad")); return err }, "cuModuleLoadDataEx of 3 bytes: CUDA_ERROR_SOMETHING (218): something\nptxas said so"},
		{func() error { _, err := cu.ModuleGetFunction(1, "sub"); return err }, "cuModuleGetFunction of sub: CUDA_ERROR_SOMETHING (500)"},
		{func() error { _, err := cu.DeviceGetAttribute(0, 999); return err }, "cuDeviceGetAttribute of 999: "},
		{func() error { _, err := cu.DeviceGet(3); return err }, "cuDeviceGet: "},
	} {
		err := c.err()
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v; it should say %q", err, c.says)
		}
	}
	fail, err := lib.Lookup("fail_with")
	if err != nil {
		t.Fatal(err)
	}
	*(*int32)(dl.Pointer(uintptr(fail))) = 12345
	if err := cu.EventRecord(1, 2); err == nil || err.Error() != "cuda: cuEventRecord: CUresult 12345 (12345)" {
		t.Errorf("a status that the driver does not know: %v", err)
	}
	if !IllegalAddress.Poisons() || OutOfMemory.Poisons() || NotReady.Poisons() {
		t.Error("which statuses a context does not survive")
	}

	// An old driver, without functions that can be done without.
	old, err := New(without{lib, []string{"cuMemAllocAsync", "cuGraphExecUpdate_v2"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = old.MemAllocAsync(5, 0)
	if err == nil || !strings.Contains(err.Error(), "cuMemAllocAsync of 5 bytes: CUDA_ERROR_NOT_SUPPORTED (801): the driver, which serves CUDA 12.4, does not have the function") {
		t.Errorf("a function that an old driver lacks: %v", err)
	}
	if _, err := New(without{lib, []string{"cuLaunchKernel", "cuInit"}}); err == nil || !strings.Contains(err.Error(), "it lacks cuInit, cuLaunchKernel") {
		t.Errorf("a library that is no driver: %v", err)
	}
}

// without is a library that lacks functions.
type without struct {
	*dl.Library
	names []string
}

func (w without) Lookup(name string) (dl.Func, error) {
	if slices.Contains(w.names, name) {
		return 0, fmt.Errorf("no %s", name)
	}
	return w.Library.Lookup(name)
}

// What a step calls allocates nothing.
func TestAllocations(t *testing.T) {
	cu, lib := driver(t)
	call(t, lib, "set_quiet", 1)
	p, err := cu.MemAlloc(64)
	if err != nil {
		t.Fatal(err)
	}
	host := make([]byte, 64)
	params := dl.NewBlock(64)
	node := &KernelNode{Function: 1, Params: params, ParamBytes: 64}
	if n := testing.AllocsPerRun(200, func() {
		q, err := cu.MemAllocAsync(64, 1)
		_, _, info := cu.MemGetInfo()
		_, query := cu.StreamQuery(1)
		_, elapsed := cu.EventElapsedTime(1, 2)
		for _, err := range [...]error{
			err, info, query, elapsed,
			cu.CtxSetCurrent(1),
			cu.LaunchKernel(1, [3]int{1, 1, 1}, [3]int{32, 1, 1}, 0, 1, params, 64),
			cu.MemcpyHtoDAsync(p, host, 1),
			cu.MemcpyDtoHAsync(host, p, 1),
			cu.MemcpyDtoDAsync(p, p, 32, 1),
			cu.MemcpyHtoD(p, host),
			cu.MemcpyDtoH(host, p),
			cu.MemsetD8Async(p, 0, 64, 1),
			cu.MemsetD32Async(p, 0, 16, 1),
			cu.GraphLaunch(1, 1),
			cu.GraphExecKernelNodeSetParams(1, 1, node),
			cu.EventRecord(1, 1),
			cu.StreamWaitEvent(1, 1),
			cu.EventSynchronize(1),
			cu.StreamSynchronize(1),
			cu.MemFreeAsync(q, 1),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Constants and layouts are those of the header.
func TestHeader(t *testing.T) {
	facts := slices.Concat(
		dltest.Offsets(LaunchConfig{}, "CUlaunchConfig", "Grid", "gridDimX", "Block", "blockDimX", "SharedBytes", "sharedMemBytes", "Stream", "hStream", "attributes", "attrs", "n", "numAttrs"),
		dltest.Offsets(LaunchAttribute{}, "CUlaunchAttribute", "ID", "id", "Value", "value"),
		dltest.Offsets(kernelNodeParams{}, "CUDA_KERNEL_NODE_PARAMS_v2", "function", "func", "grid", "gridDimX", "block", "blockDimX", "sharedBytes", "sharedMemBytes",
			"kernelParams", "kernelParams", "extra", "extra", "kernel", "kern", "context", "ctx"),
	)
	for r, name := range resultNames {
		if (r < 721 || r > 900 && r < 911) && r != 36 && r != 226 { // what 12.0 has
			facts = append(facts, dltest.Fact{C: name, Go: int64(r)})
		}
	}
	attribute := func(name string, a DeviceAttribute) dltest.Fact {
		return dltest.Fact{C: "CU_DEVICE_ATTRIBUTE_" + name, Go: int64(a)}
	}
	facts = append(facts,
		dltest.Fact{C: "sizeof(CUmemAllocationProp)", Go: int64(unsafe.Sizeof(*allocationProp(0)))},
		dltest.Fact{C: "offsetof(CUmemAllocationProp, location)", Go: 8},
		dltest.Fact{C: "sizeof(CUmemAccessDesc)", Go: 12}, dltest.Fact{C: "offsetof(CUmemAccessDesc, flags)", Go: 8},
		dltest.Fact{C: "CU_MEM_ACCESS_FLAGS_PROT_READWRITE", Go: 3}, dltest.Fact{C: "CU_MEM_ALLOCATION_TYPE_PINNED", Go: 1}, dltest.Fact{C: "CU_MEM_LOCATION_TYPE_DEVICE", Go: 1},
		dltest.Fact{C: "CU_MEM_ALLOC_GRANULARITY_RECOMMENDED", Go: 1},
		dltest.Fact{C: "sizeof(CUgraphExecUpdateResultInfo)", Go: 24},
		dltest.Fact{C: "(long long)CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT", Go: 1}, dltest.Fact{C: "CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT", Go: 2}, dltest.Fact{C: "CU_LAUNCH_PARAM_END_AS_INT", Go: 0},
		dltest.Fact{C: "CU_JIT_ERROR_LOG_BUFFER", Go: 5}, dltest.Fact{C: "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES", Go: 6}, dltest.Fact{C: "CU_STREAM_NON_BLOCKING", Go: nonBlocking},
		dltest.Fact{C: "CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION", Go: 4},
		attribute("MAX_THREADS_PER_BLOCK", MaxThreadsPerBlock), attribute("MAX_GRID_DIM_Y", MaxGridDimY), attribute("MAX_SHARED_MEMORY_PER_BLOCK", MaxSharedMemoryPerBlock),
		attribute("WARP_SIZE", WarpSize), attribute("CLOCK_RATE", ClockRate), attribute("MULTIPROCESSOR_COUNT", MultiprocessorCount),
		attribute("KERNEL_EXEC_TIMEOUT", KernelExecTimeout), attribute("INTEGRATED", Integrated), attribute("COMPUTE_MODE", ComputeMode), attribute("ECC_ENABLED", ECCEnabled),
		attribute("PCI_BUS_ID", PCIBusID), attribute("PCI_DEVICE_ID", PCIDeviceID), attribute("PCI_DOMAIN_ID", PCIDomainID), attribute("MEMORY_CLOCK_RATE", MemoryClockRate),
		attribute("GLOBAL_MEMORY_BUS_WIDTH", GlobalMemoryBusWidth), attribute("L2_CACHE_SIZE", L2CacheSize), attribute("MAX_THREADS_PER_MULTIPROCESSOR", MaxThreadsPerMultiprocessor),
		attribute("ASYNC_ENGINE_COUNT", AsyncEngineCount), attribute("UNIFIED_ADDRESSING", UnifiedAddressing), attribute("COMPUTE_CAPABILITY_MAJOR", ComputeCapabilityMajor),
		attribute("COMPUTE_CAPABILITY_MINOR", ComputeCapabilityMinor), attribute("MAX_SHARED_MEMORY_PER_MULTIPROCESSOR", MaxSharedPerMultiprocessor),
		attribute("MAX_REGISTERS_PER_MULTIPROCESSOR", MaxRegsPerMultiprocessor), attribute("MANAGED_MEMORY", ManagedMemory), attribute("COOPERATIVE_LAUNCH", CooperativeLaunch),
		attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN", MaxSharedPerBlockOptin), attribute("VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED", VirtualMemoryManagement),
		attribute("MAX_BLOCKS_PER_MULTIPROCESSOR", MaxBlocksPerMultiprocessor), attribute("MEMORY_POOLS_SUPPORTED", MemoryPoolsSupported), attribute("CLUSTER_LAUNCH", ClusterLaunch),
		attribute("TENSOR_MAP_ACCESS_SUPPORTED", TensorMapAccess),
		dltest.Fact{C: "CU_MEMPOOL_ATTR_RELEASE_THRESHOLD", Go: int64(PoolReleaseThreshold)}, dltest.Fact{C: "CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT", Go: int64(PoolReservedCurrent)},
		dltest.Fact{C: "CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH", Go: int64(PoolReservedHigh)}, dltest.Fact{C: "CU_MEMPOOL_ATTR_USED_MEM_CURRENT", Go: int64(PoolUsedCurrent)},
		dltest.Fact{C: "CU_MEMPOOL_ATTR_USED_MEM_HIGH", Go: int64(PoolUsedHigh)},
		dltest.Fact{C: "CU_CTX_SCHED_BLOCKING_SYNC", Go: int64(ScheduleBlockingSync)}, dltest.Fact{C: "CU_CTX_SCHED_SPIN", Go: int64(ScheduleSpin)}, dltest.Fact{C: "CU_CTX_SCHED_YIELD", Go: int64(ScheduleYield)},
		dltest.Fact{C: "CU_MEMHOSTALLOC_PORTABLE", Go: int64(HostPortable)}, dltest.Fact{C: "CU_MEMHOSTALLOC_DEVICEMAP", Go: int64(HostDeviceMap)}, dltest.Fact{C: "CU_MEMHOSTALLOC_WRITECOMBINED", Go: int64(HostWriteCombined)},
		dltest.Fact{C: "CU_STREAM_CAPTURE_MODE_GLOBAL", Go: int64(CaptureGlobal)}, dltest.Fact{C: "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL", Go: int64(CaptureThreadLocal)}, dltest.Fact{C: "CU_STREAM_CAPTURE_MODE_RELAXED", Go: int64(CaptureRelaxed)},
		dltest.Fact{C: "CU_STREAM_CAPTURE_STATUS_INVALIDATED", Go: int64(CaptureInvalidated)},
		dltest.Fact{C: "CU_EVENT_BLOCKING_SYNC", Go: int64(EventBlockingSync)}, dltest.Fact{C: "CU_EVENT_DISABLE_TIMING", Go: int64(EventDisableTiming)},
		dltest.Fact{C: "CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK", Go: int64(FuncMaxThreadsPerBlock)}, dltest.Fact{C: "CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES", Go: int64(FuncSharedBytes)},
		dltest.Fact{C: "CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES", Go: int64(FuncLocalBytes)}, dltest.Fact{C: "CU_FUNC_ATTRIBUTE_NUM_REGS", Go: int64(FuncNumRegs)},
		dltest.Fact{C: "CU_FUNC_ATTRIBUTE_PTX_VERSION", Go: int64(FuncPTXVersion)}, dltest.Fact{C: "CU_FUNC_ATTRIBUTE_BINARY_VERSION", Go: int64(FuncBinaryVersion)},
		dltest.Fact{C: "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES", Go: int64(FuncMaxDynamicSharedBytes)}, dltest.Fact{C: "CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT", Go: int64(FuncPreferredSharedCarveout)},
		dltest.Fact{C: "CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH", Go: int64(AutoFreeOnLaunch)},
		dltest.Fact{C: "CU_GRAPH_NODE_TYPE_KERNEL", Go: int64(NodeKernel)}, dltest.Fact{C: "CU_GRAPH_NODE_TYPE_MEMCPY", Go: int64(NodeMemcpy)}, dltest.Fact{C: "CU_GRAPH_NODE_TYPE_MEMSET", Go: int64(NodeMemset)},
		dltest.Fact{C: "CU_GRAPH_NODE_TYPE_HOST", Go: int64(NodeHost)}, dltest.Fact{C: "CU_GRAPH_NODE_TYPE_EMPTY", Go: int64(NodeEmpty)},
		dltest.Fact{C: "CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED", Go: 2}, dltest.Fact{C: "CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED", Go: 8},
	)
	dltest.Facts(t, "cuda.h", facts)
}

// Every function is declared by the header under the name of its ABI. The macro makes it
// declare those that it has newer versions of.
func TestHeaderNames(t *testing.T) {
	var facts []dltest.Fact
	for _, name := range dltest.Symbols(&functions{}) {
		if strings.HasPrefix(name, "cuProfiler") {
			continue // declared by cudaProfiler.h
		}
		facts = append(facts, dltest.Fact{C: "sizeof(&" + name + ")", Go: 8})
	}
	dltest.Facts(t, "cuda.h", facts, "__CUDA_API_VERSION_INTERNAL")
}
