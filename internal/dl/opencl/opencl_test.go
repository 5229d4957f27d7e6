package opencl

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// device is a context and a queue of the first device that can be found.
func device(t *testing.T) (cl *API, d Device, c Context, q Queue) {
	t.Helper()
	cl, err := Load()
	testenv.Require(t, "opencl", err == nil, "no OpenCL library")
	platforms, err := cl.GetPlatformIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range platforms {
		devices, err := cl.GetDeviceIDs(p, DeviceAll)
		if err != nil {
			t.Fatal(err)
		}
		if len(devices) == 0 {
			continue
		}
		d = devices[0]
		if c, err = cl.CreateContext(d); err != nil {
			t.Fatal(err)
		}
		if q, err = cl.CreateCommandQueue(c, d, ProfilingEnable); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cl.ReleaseCommandQueue(q); err != nil {
				t.Error(err)
			}
			if err := cl.ReleaseContext(c); err != nil {
				t.Error(err)
			}
		})
		return cl, d, c, q
	}
	testenv.Require(t, "opencl", false, "an OpenCL library without a device")
	panic("unreachable")
}

const source = `
__kernel void axpy(__global const float *x, ulong xat, __global float *y, ulong yat, float a, uint n, __local float *tmp) {
	__global const float *px = (__global const float *)((__global const char *)x + xat);
	__global float *py = (__global float *)((__global char *)y + yat);
	uint i = get_global_id(0), l = get_local_id(0);
	tmp[l] = i < n ? px[i] : 0;
	barrier(CLK_LOCAL_MEM_FENCE);
	if (i < n) py[i] += a * tmp[l];
}`

// Everything that a backend calls, on a device that is there: what is asked of it, memory,
// copies, a program from text and from its binary, events and their times.
func TestDevice(t *testing.T) {
	cl, d, c, q := device(t)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if absent := len(cl.Path()); absent == 0 {
		t.Error("the library has no path")
	}
	major, _, err := cl.DeviceVersion(d)
	ok(err)
	if major < 1 {
		t.Errorf("version %d", major)
	}
	exts, err := cl.DeviceExtensions(d)
	ok(err)
	if len(exts) == 0 || !strings.HasPrefix(exts[0], "cl_") {
		t.Errorf("extensions %q", exts)
	}
	sizes, err := cl.DeviceSizes(d, DeviceMaxWorkItemSizes)
	ok(err)
	group, err := cl.DeviceUint(d, DeviceMaxWorkGroupSize)
	ok(err)
	if len(sizes) != 3 || sizes[0] == 0 || group == 0 {
		t.Errorf("work-items %d, work-group %d", sizes, group)
	}

	const n = 1000
	x := make([]byte, 4*n)
	for i := range n {
		binary.LittleEndian.PutUint32(x[4*i:], math.Float32bits(float32(i)))
	}
	mx, err := cl.CreateBuffer(c, ReadWrite|CopyHostPtr, 4*n, x)
	ok(err)
	my, err := cl.CreateBuffer(c, ReadWrite, 8*n, nil)
	ok(err)
	if size, err := cl.MemUint(my, MemSize); err != nil || size != 8*n {
		t.Errorf("a buffer of %d bytes has %d (%v)", 8*n, size, err)
	}
	ok(cl.EnqueueFillBuffer(q, my, uint64(math.Float32bits(0.5)), 4, 0, 8*n, nil, nil))

	p, err := cl.CreateProgramWithSource(c, source)
	ok(err)
	ok(cl.BuildProgram(p, d, "-cl-std=CL1.2"))
	_, err = cl.ProgramBuildLog(p, d)
	ok(err)
	image, err := cl.ProgramBinary(p)
	ok(err)
	ok(cl.ReleaseProgram(p))
	p, err = cl.CreateProgramWithBinary(c, d, image)
	ok(err)
	ok(cl.BuildProgram(p, d, ""))
	k, err := cl.CreateKernel(p, "axpy")
	ok(err)
	if w, err := cl.KernelUint(k, d, KernelWorkGroupSize); err != nil || w == 0 {
		t.Errorf("a kernel with %d work-items in a group (%v)", w, err)
	}

	var ran Event
	launch := func() error {
		const at = 400 // bytes into y
		for i, set := range []func(i int) error{
			func(i int) error { return cl.SetKernelArgMem(k, i, mx) },
			func(i int) error { return cl.SetKernelArg(k, i, 8, 0) },
			func(i int) error { return cl.SetKernelArgMem(k, i, my) },
			func(i int) error { return cl.SetKernelArg(k, i, 8, at) },
			func(i int) error { return cl.SetKernelArg(k, i, 4, uint64(math.Float32bits(2))) },
			func(i int) error { return cl.SetKernelArg(k, i, 4, n) },
			func(i int) error { return cl.SetKernelArgLocal(k, i, 4*64) },
		} {
			if err := set(i); err != nil {
				return err
			}
		}
		return cl.EnqueueNDRangeKernel(q, k, 1, [3]int{1024}, [3]int{64}, nil, &ran)
	}
	ok(launch())
	ok(cl.WaitForEvents(ran))
	if s, err := cl.EventStatus(ran); err != nil || s != Complete {
		t.Errorf("status %v of an event that was waited for (%v)", s, err)
	}
	start, err := cl.EventProfiling(ran, ProfilingStart)
	ok(err)
	end, err := cl.EventProfiling(ran, ProfilingEnd)
	ok(err)
	if start == 0 || end < start {
		t.Errorf("a kernel ran from %d to %d", start, end)
	}
	got := make([]byte, 8*n)
	ok(cl.EnqueueReadBuffer(q, my, true, 0, got, []Event{ran}, nil))
	ok(cl.ReleaseEvent(ran))
	for i := range 2 * n {
		want := float32(0.5)
		if i >= 100 && i < 100+n {
			want += 2 * float32(i-100)
		}
		if f := math.Float32frombits(binary.LittleEndian.Uint32(got[4*i:])); f != want {
			t.Fatalf("y[%d] = %v, want %v", i, f, want)
		}
	}

	// A sub-buffer, copies within and between buffers, a mapping.
	align, err := cl.DeviceUint(d, DeviceMemBaseAddrAlign)
	ok(err)
	sub, err := cl.CreateSubBuffer(my, ReadWrite, int(align/8), 400)
	ok(err)
	ok(cl.EnqueueCopyBuffer(q, mx, sub, 40, 0, 80, nil, nil))
	ok(cl.EnqueueCopyBufferRect(q, mx, my, Rect{RowPitch: 40}, Rect{Origin: [3]int{0, 50, 0}, RowPitch: 80}, [3]int{8, 3, 1}, nil, nil))
	ok(cl.EnqueueMigrateMemObjects(q, []Mem{my}, false, nil, nil))
	ok(cl.EnqueueBarrierWithWaitList(q, nil, nil))
	var marker Event
	ok(cl.EnqueueMarkerWithWaitList(q, nil, &marker))
	ok(cl.Flush(q))
	mapped, err := cl.EnqueueMapBuffer(q, my, true, MapRead, 0, 8*n, []Event{marker}, nil)
	ok(err)
	word := func(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	for i := range 20 {
		if at := int(align/32) + i; word(mapped, at) != word(x, 10+i) {
			t.Errorf("the copy into a sub-buffer has %#x at %d, want %#x", word(mapped, at), i, word(x, 10+i))
		}
	}
	for row := range 3 {
		for i := range 2 {
			if got, want := word(mapped, (50+row)*20+i), word(x, row*10+i); got != want {
				t.Errorf("the copy of a box has %#x at %d,%d, want %#x", got, row, i, want)
			}
		}
	}
	ok(cl.EnqueueUnmapMemObject(q, my, mapped, nil, nil))
	ok(cl.EnqueueWriteBuffer(q, my, true, 4, x[8:12], nil, nil))
	ok(cl.EnqueueReadBuffer(q, my, true, 4, got[:4], nil, nil))
	if word(got, 0) != word(x, 2) {
		t.Error("what was written is not what is read")
	}
	user, err := cl.CreateUserEvent(c)
	ok(err)
	if s, err := cl.EventStatus(user); err != nil || s == Complete {
		t.Errorf("a new event is %v (%v)", s, err)
	}
	ok(cl.SetUserEventStatus(user, Complete))
	ok(cl.WaitForEvents(user))
	ok(cl.Finish(q))
	for _, e := range []Event{user, marker} {
		ok(cl.ReleaseEvent(e))
	}
	for _, m := range []Mem{sub, mx, my} {
		ok(cl.ReleaseMemObject(m))
	}
	ok(cl.ReleaseKernel(k))
	ok(cl.ReleaseProgram(p))
}

func TestErrors(t *testing.T) {
	cl, d, c, _ := device(t)
	p, err := cl.CreateProgramWithSource(c, "__kernel void f(__global int *x) { *x = nowhere; }")
	if err != nil {
		t.Fatal(err)
	}
	err = cl.BuildProgram(p, d, "")
	if err == nil || !strings.Contains(err.Error(), "clBuildProgram: CL_BUILD_PROGRAM_FAILURE (-11)") {
		t.Errorf("a program with an error: %v", err)
	}
	if log, err := cl.ProgramBuildLog(p, d); err != nil || !strings.Contains(log, "nowhere") {
		t.Errorf("the compiler said %q (%v)", log, err)
	}
	if _, err := cl.CreateKernel(p, "f"); err == nil || !strings.Contains(err.Error(), "clCreateKernel of f: CL_INVALID_PROGRAM_EXECUTABLE") {
		t.Errorf("a kernel of a program that was not built: %v", err)
	}
	if _, err := cl.CreateBuffer(c, ReadWrite, 0, nil); err == nil || !strings.Contains(err.Error(), "of 0 bytes: CL_INVALID_BUFFER_SIZE") {
		t.Errorf("a buffer of no bytes: %v", err)
	}
	if err := cl.ReleaseProgram(p); err != nil {
		t.Error(err)
	}
	if _, err := Load("libnothing-of-this-name.so"); err == nil || !strings.Contains(err.Error(), "libnothing-of-this-name.so") {
		t.Errorf("a library that is not there: %v", err)
	}
}

// What is called for every kernel in every step allocates nothing.
func TestAllocations(t *testing.T) {
	cl, d, c, q := device(t)
	p, err := cl.CreateProgramWithSource(c, "__kernel void f(__global int *x, ulong at, int n) { if (get_global_id(0) == 0) x[at] = n; }")
	if err == nil {
		err = cl.BuildProgram(p, d, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	k, err := cl.CreateKernel(p, "f")
	if err != nil {
		t.Fatal(err)
	}
	m, err := cl.CreateBuffer(c, ReadWrite, 64, nil)
	if err != nil {
		t.Fatal(err)
	}
	host := make([]byte, 64)
	events := make([]Event, 2)
	per := testing.AllocsPerRun(200, func() {
		for _, err := range [...]error{
			cl.SetKernelArgMem(k, 0, m),
			cl.SetKernelArg(k, 1, 8, 3),
			cl.SetKernelArg(k, 2, 4, 7),
			cl.EnqueueFillBuffer(q, m, 0, 4, 0, 64, nil, nil),
			cl.EnqueueNDRangeKernel(q, k, 1, [3]int{64}, [3]int{64}, nil, &events[0]),
			cl.EnqueueCopyBuffer(q, m, m, 0, 32, 8, events[:1], &events[1]),
			cl.EnqueueReadBuffer(q, m, false, 0, host, events[1:], nil),
			cl.EnqueueWriteBuffer(q, m, false, 32, host[:4], nil, nil),
			cl.ReleaseEvent(events[0]),
			cl.ReleaseEvent(events[1]),
			cl.Flush(q),
			cl.Finish(q),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	if per != 0 {
		t.Errorf("a launch with its copies allocates %v times", per)
	}
	if got := *(*int32)(unsafe.Pointer(&host[12])); got != 7 {
		t.Errorf("the kernel has written %d, want 7", got)
	}
}
