// Package opencl binds OpenCL 1.2, and of later versions what an API of 1.2 can do
// without. Names are those of the C API without their cl; results are returned, and
// statuses are errors.
//
// SetKernelArg…, Enqueue…, Flush, Finish and the releases do not allocate. Addresses that
// they are given have to be of memory that does not move (see package dl).
package opencl

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
)

// Handles of the API.
type (
	Platform uintptr
	Device   uintptr
	Context  uintptr
	Queue    uintptr
	Mem      uintptr
	Program  uintptr
	Kernel   uintptr
	Event    uintptr
)

// API is the functions of one OpenCL library.
type API struct {
	path string
	f    functions
}

type functions struct {
	GetPlatformIDs                   dl.Func `c:"clGetPlatformIDs"`
	GetPlatformInfo                  dl.Func `c:"clGetPlatformInfo"`
	GetDeviceIDs                     dl.Func `c:"clGetDeviceIDs"`
	GetDeviceInfo                    dl.Func `c:"clGetDeviceInfo"`
	CreateContext                    dl.Func `c:"clCreateContext"`
	ReleaseContext                   dl.Func `c:"clReleaseContext"`
	CreateCommandQueueWithProperties dl.Func `c:"clCreateCommandQueueWithProperties,optional"` // 2.0
	CreateCommandQueue               dl.Func `c:"clCreateCommandQueue"`
	ReleaseCommandQueue              dl.Func `c:"clReleaseCommandQueue"`
	CreateBuffer                     dl.Func `c:"clCreateBuffer"`
	CreateSubBuffer                  dl.Func `c:"clCreateSubBuffer"`
	RetainMemObject                  dl.Func `c:"clRetainMemObject"`
	ReleaseMemObject                 dl.Func `c:"clReleaseMemObject"`
	GetMemObjectInfo                 dl.Func `c:"clGetMemObjectInfo"`
	CreateProgramWithSource          dl.Func `c:"clCreateProgramWithSource"`
	CreateProgramWithBinary          dl.Func `c:"clCreateProgramWithBinary"`
	BuildProgram                     dl.Func `c:"clBuildProgram"`
	GetProgramInfo                   dl.Func `c:"clGetProgramInfo"`
	GetProgramBuildInfo              dl.Func `c:"clGetProgramBuildInfo"`
	ReleaseProgram                   dl.Func `c:"clReleaseProgram"`
	CreateKernel                     dl.Func `c:"clCreateKernel"`
	SetKernelArg                     dl.Func `c:"clSetKernelArg"`
	GetKernelWorkGroupInfo           dl.Func `c:"clGetKernelWorkGroupInfo"`
	ReleaseKernel                    dl.Func `c:"clReleaseKernel"`
	WaitForEvents                    dl.Func `c:"clWaitForEvents"`
	GetEventInfo                     dl.Func `c:"clGetEventInfo"`
	GetEventProfilingInfo            dl.Func `c:"clGetEventProfilingInfo"`
	CreateUserEvent                  dl.Func `c:"clCreateUserEvent"`
	SetUserEventStatus               dl.Func `c:"clSetUserEventStatus"`
	RetainEvent                      dl.Func `c:"clRetainEvent"`
	ReleaseEvent                     dl.Func `c:"clReleaseEvent"`
	Flush                            dl.Func `c:"clFlush"`
	Finish                           dl.Func `c:"clFinish"`
	EnqueueReadBuffer                dl.Func `c:"clEnqueueReadBuffer"`
	EnqueueWriteBuffer               dl.Func `c:"clEnqueueWriteBuffer"`
	EnqueueFillBuffer                dl.Func `c:"clEnqueueFillBuffer"`
	EnqueueCopyBuffer                dl.Func `c:"clEnqueueCopyBuffer"`
	EnqueueCopyBufferRect            dl.Func `c:"clEnqueueCopyBufferRect"`
	EnqueueMapBuffer                 dl.Func `c:"clEnqueueMapBuffer"`
	EnqueueUnmapMemObject            dl.Func `c:"clEnqueueUnmapMemObject"`
	EnqueueMigrateMemObjects         dl.Func `c:"clEnqueueMigrateMemObjects"`
	EnqueueNDRangeKernel             dl.Func `c:"clEnqueueNDRangeKernel"`
	EnqueueMarkerWithWaitList        dl.Func `c:"clEnqueueMarkerWithWaitList"`
	EnqueueBarrierWithWaitList       dl.Func `c:"clEnqueueBarrierWithWaitList"`
}

// Names are the names of the library that hands out the platforms of all vendors.
func Names() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"/System/Library/Frameworks/OpenCL.framework/OpenCL"}
	case "windows":
		return []string{"OpenCL.dll"}
	}
	return []string{"libOpenCL.so.1", "libOpenCL.so"}
}

// New binds the functions of an open library.
func New(lib dl.Symbols) (*API, error) {
	cl := &API{path: lib.Path()}
	if err := dl.Bind(lib, &cl.f); err != nil {
		return nil, fmt.Errorf("opencl: %w", err)
	}
	return cl, nil
}

// Load opens the library by one of the names, Names if there are none, and binds it.
func Load(names ...string) (*API, error) {
	if len(names) == 0 {
		names = Names()
	}
	lib, err := dl.Open(names...)
	if err != nil {
		return nil, fmt.Errorf("opencl: %w", err)
	}
	return New(lib)
}

// Path is the library's file.
func (cl *API) Path() string { return cl.path }

// GetPlatformIDs is all platforms. That there is none is no error.
func (cl *API) GetPlatformIDs() ([]Platform, error) {
	var n uint32
	s := cl.f.GetPlatformIDs.Call(0, 0, uintptr(unsafe.Pointer(&n)))
	if Status(s) == PlatformNotFound || Status(s) == Success && n == 0 {
		return nil, nil
	}
	if err := cl.check(s, "clGetPlatformIDs"); err != nil {
		return nil, err
	}
	ids := make([]Platform, n)
	s = cl.f.GetPlatformIDs.Call(uintptr(n), uintptr(unsafe.Pointer(&ids[0])), 0)
	return ids, cl.check(s, "clGetPlatformIDs")
}

// GetPlatformInfo is a text of CL_PLATFORM_….
func (cl *API) GetPlatformInfo(p Platform, name Info) (string, error) {
	b, err := cl.info(cl.f.GetPlatformInfo, "clGetPlatformInfo", name, uintptr(p))
	return dl.Text(b), err
}

// GetDeviceIDs is the devices of a platform. That there is none is no error.
func (cl *API) GetDeviceIDs(p Platform, kind DeviceType) ([]Device, error) {
	var n uint32
	s := cl.f.GetDeviceIDs.Call(uintptr(p), uintptr(kind), 0, 0, uintptr(unsafe.Pointer(&n)))
	if Status(s) == DeviceNotFound || Status(s) == Success && n == 0 {
		return nil, nil
	}
	if err := cl.check(s, "clGetDeviceIDs"); err != nil {
		return nil, err
	}
	ids := make([]Device, n)
	s = cl.f.GetDeviceIDs.Call(uintptr(p), uintptr(kind), uintptr(n), uintptr(unsafe.Pointer(&ids[0])), 0)
	return ids, cl.check(s, "clGetDeviceIDs")
}

// GetDeviceInfo is the bytes of a CL_DEVICE_….
func (cl *API) GetDeviceInfo(d Device, name Info) ([]byte, error) {
	return cl.info(cl.f.GetDeviceInfo, "clGetDeviceInfo", name, uintptr(d))
}

// DeviceText is a text of CL_DEVICE_….
func (cl *API) DeviceText(d Device, name Info) (string, error) {
	b, err := cl.GetDeviceInfo(d, name)
	return strings.TrimSpace(dl.Text(b)), err
}

// DeviceUint is a number of CL_DEVICE_…, whatever its size.
func (cl *API) DeviceUint(d Device, name Info) (uint64, error) {
	b, err := cl.GetDeviceInfo(d, name)
	if err != nil {
		return 0, err
	}
	return number(b), nil
}

// DeviceSizes is the size_t's of a CL_DEVICE_….
func (cl *API) DeviceSizes(d Device, name Info) ([]uint64, error) {
	b, err := cl.GetDeviceInfo(d, name)
	if err != nil {
		return nil, err
	}
	sizes := make([]uint64, len(b)/8)
	for i := range sizes {
		sizes[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return sizes, nil
}

// DeviceVersion is the version of OpenCL that a device has, 3 and 0 for "OpenCL 3.0 …".
func (cl *API) DeviceVersion(d Device) (major, minor int, err error) {
	s, err := cl.DeviceText(d, DeviceVersionText)
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(s, "OpenCL %d.%d", &major, &minor); err != nil {
		return 0, 0, fmt.Errorf("opencl: a device says its version is %q, and should say OpenCL and two numbers", s)
	}
	return major, minor, nil
}

// DeviceExtensions is the names of a device's extensions, in order.
func (cl *API) DeviceExtensions(d Device) ([]string, error) {
	s, err := cl.DeviceText(d, DeviceExtensionsText)
	list := strings.Fields(s)
	slices.Sort(list)
	return list, err
}

// CreateContext is a context of some devices of one platform.
func (cl *API) CreateContext(devices ...Device) (Context, error) {
	var s int32
	c := cl.f.CreateContext.Call(0, uintptr(len(devices)), uintptr(unsafe.Pointer(unsafe.SliceData(devices))), 0, 0, uintptr(unsafe.Pointer(&s)))
	return Context(c), cl.check(uintptr(s), "clCreateContext")
}

func (cl *API) ReleaseContext(c Context) error {
	return cl.check(cl.f.ReleaseContext.Fast(uintptr(c)), "clReleaseContext")
}

// CreateCommandQueue is a queue, in order unless OutOfOrder is among the properties. It
// takes clCreateCommandQueueWithProperties where there is one that works: a device of
// OpenCL 1.2 does not have it.
func (cl *API) CreateCommandQueue(c Context, d Device, properties QueueProperties) (Queue, error) {
	major, _, err := cl.DeviceVersion(d)
	if err != nil {
		return 0, err
	}
	var s int32
	if cl.f.CreateCommandQueueWithProperties == 0 || major < 2 {
		q := cl.f.CreateCommandQueue.Call(uintptr(c), uintptr(d), uintptr(properties), uintptr(unsafe.Pointer(&s)))
		return Queue(q), cl.check(uintptr(s), "clCreateCommandQueue")
	}
	list := []uint64{0x1093, uint64(properties), 0} // CL_QUEUE_PROPERTIES
	q := cl.f.CreateCommandQueueWithProperties.Call(uintptr(c), uintptr(d), uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&s)))
	return Queue(q), cl.check(uintptr(s), "clCreateCommandQueueWithProperties")
}

func (cl *API) ReleaseCommandQueue(q Queue) error {
	return cl.check(cl.f.ReleaseCommandQueue.Fast(uintptr(q)), "clReleaseCommandQueue")
}

// CreateBuffer is memory of a context's devices. With CopyHostPtr it begins with the bytes
// of host; with UseHostPtr it is that memory, which must not move then.
func (cl *API) CreateBuffer(c Context, flags MemFlags, bytes int, host []byte) (Mem, error) {
	if host != nil && len(host) < bytes {
		panic("opencl: CreateBuffer of more bytes than the host's memory has")
	}
	var s int32
	m := cl.f.CreateBuffer.Call(uintptr(c), uintptr(flags), uintptr(bytes), uintptr(unsafe.Pointer(unsafe.SliceData(host))), uintptr(unsafe.Pointer(&s)))
	if s != 0 {
		return 0, cl.failed(Status(s), fmt.Sprintf("clCreateBuffer of %d bytes", bytes))
	}
	return Mem(m), nil
}

// CreateSubBuffer is a part of a buffer. Where it begins is a multiple of the device's
// DeviceMemBaseAddrAlign, which is in bits.
func (cl *API) CreateSubBuffer(m Mem, flags MemFlags, offset, bytes int) (Mem, error) {
	region := [2]uintptr{uintptr(offset), uintptr(bytes)}
	const createTypeRegion = 0x1220
	var s int32
	sub := cl.f.CreateSubBuffer.Call(uintptr(m), uintptr(flags), createTypeRegion, uintptr(unsafe.Pointer(&region)), uintptr(unsafe.Pointer(&s)))
	if s != 0 {
		return 0, cl.failed(Status(s), fmt.Sprintf("clCreateSubBuffer of %d bytes at %d", bytes, offset))
	}
	return Mem(sub), nil
}

func (cl *API) RetainMemObject(m Mem) error {
	return cl.check(cl.f.RetainMemObject.Fast(uintptr(m)), "clRetainMemObject")
}

func (cl *API) ReleaseMemObject(m Mem) error {
	return cl.check(cl.f.ReleaseMemObject.Fast(uintptr(m)), "clReleaseMemObject")
}

// MemUint is a number of CL_MEM_….
func (cl *API) MemUint(m Mem, name Info) (uint64, error) {
	b, err := cl.info(cl.f.GetMemObjectInfo, "clGetMemObjectInfo", name, uintptr(m))
	return number(b), err
}

func (cl *API) CreateProgramWithSource(c Context, source string) (Program, error) {
	text := dl.CStrings([]string{source})
	length := uintptr(len(source))
	var s int32
	p := cl.f.CreateProgramWithSource.Call(uintptr(c), 1, text.Addr(), uintptr(unsafe.Pointer(&length)), uintptr(unsafe.Pointer(&s)))
	runtime.KeepAlive(text)
	return Program(p), cl.check(uintptr(s), "clCreateProgramWithSource")
}

// CreateProgramWithBinary is a program of what ProgramBinary has returned earlier, for the
// same device with the same driver.
func (cl *API) CreateProgramWithBinary(c Context, d Device, binary []byte) (Program, error) {
	image := dl.NewBlock(len(binary) + 8)
	copy(image.Bytes()[8:], binary)
	image.Words()[0] = uint64(image.Addr() + 8)
	length := uintptr(len(binary))
	var s, of int32
	p := cl.f.CreateProgramWithBinary.Call(uintptr(c), 1, uintptr(unsafe.Pointer(&d)), uintptr(unsafe.Pointer(&length)), image.Addr(),
		uintptr(unsafe.Pointer(&of)), uintptr(unsafe.Pointer(&s)))
	runtime.KeepAlive(image)
	if s == 0 && of != 0 {
		s = of
	}
	return Program(p), cl.check(uintptr(s), "clCreateProgramWithBinary")
}

// BuildProgram compiles and links; what the compiler says is ProgramBuildLog.
func (cl *API) BuildProgram(p Program, d Device, options string) error {
	s := cl.f.BuildProgram.Call(uintptr(p), 1, uintptr(unsafe.Pointer(&d)), uintptr(unsafe.Pointer(dl.CString(options))), 0, 0)
	return cl.check(s, "clBuildProgram")
}

// ProgramBuildLog is what the compiler has said.
func (cl *API) ProgramBuildLog(p Program, d Device) (string, error) {
	const buildLog = 0x1183
	b, err := cl.info(cl.f.GetProgramBuildInfo, "clGetProgramBuildInfo", buildLog, uintptr(p), uintptr(d))
	return strings.TrimSpace(dl.Text(b)), err
}

// ProgramBinary is what was compiled for the only device that the program was built for.
func (cl *API) ProgramBinary(p Program) ([]byte, error) {
	const binarySizes, binaries = 0x1165, 0x1166
	b, err := cl.info(cl.f.GetProgramInfo, "clGetProgramInfo", binarySizes, uintptr(p))
	if err != nil {
		return nil, err
	}
	if len(b) != 8 {
		return nil, fmt.Errorf("opencl: a program of one device has %d bytes of sizes, not 8", len(b))
	}
	image := dl.NewBlock(int(number(b)) + 8)
	image.Words()[0] = uint64(image.Addr() + 8)
	s := cl.f.GetProgramInfo.Call(uintptr(p), binaries, 8, image.Addr(), 0)
	if err := cl.check(s, "clGetProgramInfo"); err != nil {
		return nil, err
	}
	out := slices.Clone(image.Bytes()[8 : 8+number(b)])
	runtime.KeepAlive(image)
	return out, nil
}

func (cl *API) ReleaseProgram(p Program) error {
	return cl.check(cl.f.ReleaseProgram.Fast(uintptr(p)), "clReleaseProgram")
}

func (cl *API) CreateKernel(p Program, name string) (Kernel, error) {
	var s int32
	k := cl.f.CreateKernel.Call(uintptr(p), uintptr(unsafe.Pointer(dl.CString(name))), uintptr(unsafe.Pointer(&s)))
	if s != 0 {
		return 0, cl.failed(Status(s), "clCreateKernel of "+name)
	}
	return Kernel(k), nil
}

// SetKernelArg sets an argument to the lower bytes of bits: a number of up to 8 bytes, or
// a buffer.
func (cl *API) SetKernelArg(k Kernel, index, bytes int, bits uint64) error {
	cell := dl.GetCell()
	cell[0] = bits
	s := cl.f.SetKernelArg.Fast(uintptr(k), uintptr(index), uintptr(bytes), cell.Addr(0))
	cell.Put()
	return cl.check(s, "clSetKernelArg")
}

// SetKernelArgMem sets an argument to a buffer.
func (cl *API) SetKernelArgMem(k Kernel, index int, m Mem) error {
	return cl.SetKernelArg(k, index, 8, uint64(m))
}

// SetKernelArgLocal sets an argument to local memory.
func (cl *API) SetKernelArgLocal(k Kernel, index, bytes int) error {
	return cl.check(cl.f.SetKernelArg.Fast(uintptr(k), uintptr(index), uintptr(bytes), 0), "clSetKernelArg")
}

// KernelUint is a number of CL_KERNEL_…, as KernelWorkGroupSize.
func (cl *API) KernelUint(k Kernel, d Device, name Info) (uint64, error) {
	b, err := cl.info(cl.f.GetKernelWorkGroupInfo, "clGetKernelWorkGroupInfo", name, uintptr(k), uintptr(d))
	return number(b), err
}

func (cl *API) ReleaseKernel(k Kernel) error {
	return cl.check(cl.f.ReleaseKernel.Fast(uintptr(k)), "clReleaseKernel")
}

func (cl *API) WaitForEvents(events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	s := cl.f.WaitForEvents.Fast(uintptr(len(events)), list(events))
	return cl.enqueued(s, "clWaitForEvents", events, nil)
}

// EventStatus is Complete, Running, Submitted or Queued; the error is that of the command
// if it has failed.
func (cl *API) EventStatus(e Event) (ExecutionStatus, error) {
	const executionStatus = 0x11D3
	b, err := cl.info(cl.f.GetEventInfo, "clGetEventInfo", executionStatus, uintptr(e))
	if err != nil {
		return 0, err
	}
	s := int32(number(b))
	if s < 0 {
		return 0, cl.failed(Status(s), "a command in a queue")
	}
	return ExecutionStatus(s), nil
}

// EventProfiling is when something happened to a command, in nanoseconds of the device's
// clock. The queue has to have been made with ProfilingEnable.
func (cl *API) EventProfiling(e Event, name ProfilingInfo) (uint64, error) {
	cell := dl.GetCell()
	s := cl.f.GetEventProfilingInfo.Fast(uintptr(e), uintptr(name), 8, cell.Addr(0), 0)
	t := cell[0]
	cell.Put()
	return t, cl.check(s, "clGetEventProfilingInfo")
}

// CreateUserEvent is an event that SetUserEventStatus completes.
func (cl *API) CreateUserEvent(c Context) (Event, error) {
	var s int32
	e := cl.f.CreateUserEvent.Call(uintptr(c), uintptr(unsafe.Pointer(&s)))
	return Event(e), cl.check(uintptr(s), "clCreateUserEvent")
}

// SetUserEventStatus completes an event, with Complete or with an error.
func (cl *API) SetUserEventStatus(e Event, s ExecutionStatus) error {
	return cl.check(cl.f.SetUserEventStatus.Fast(uintptr(e), dl.Int(int(s))), "clSetUserEventStatus")
}

func (cl *API) RetainEvent(e Event) error {
	return cl.check(cl.f.RetainEvent.Fast(uintptr(e)), "clRetainEvent")
}

func (cl *API) ReleaseEvent(e Event) error {
	return cl.check(cl.f.ReleaseEvent.Fast(uintptr(e)), "clReleaseEvent")
}

func (cl *API) Flush(q Queue) error { return cl.check(cl.f.Flush.Fast(uintptr(q)), "clFlush") }

func (cl *API) Finish(q Queue) error { return cl.check(cl.f.Finish.Fast(uintptr(q)), "clFinish") }

// The Enqueue functions wait for the events of wait, and make an event that the caller
// releases if event is not nil. What they do is done when they return if blocking;
// otherwise host memory must neither move nor go before.

// EnqueueReadBuffer copies len(to) bytes of a buffer.
func (cl *API) EnqueueReadBuffer(q Queue, m Mem, blocking bool, offset int, to []byte, wait []Event, event *Event) error {
	s := cl.f.EnqueueReadBuffer.Fast(uintptr(q), uintptr(m), truth(blocking), uintptr(offset), uintptr(len(to)), dl.Addr(unsafe.SliceData(to)),
		uintptr(len(wait)), list(wait), dl.Addr(event))
	runtime.KeepAlive(to)
	return cl.enqueued(s, "clEnqueueReadBuffer", wait, event)
}

// EnqueueWriteBuffer copies len(from) bytes into a buffer.
func (cl *API) EnqueueWriteBuffer(q Queue, m Mem, blocking bool, offset int, from []byte, wait []Event, event *Event) error {
	s := cl.f.EnqueueWriteBuffer.Fast(uintptr(q), uintptr(m), truth(blocking), uintptr(offset), uintptr(len(from)), dl.Addr(unsafe.SliceData(from)),
		uintptr(len(wait)), list(wait), dl.Addr(event))
	runtime.KeepAlive(from)
	return cl.enqueued(s, "clEnqueueWriteBuffer", wait, event)
}

// EnqueueFillBuffer repeats the lower bytes of a pattern, 1, 2, 4 or 8 of them; offset and
// bytes are multiples of that.
func (cl *API) EnqueueFillBuffer(q Queue, m Mem, pattern uint64, patternBytes, offset, bytes int, wait []Event, event *Event) error {
	cell := dl.GetCell()
	cell[0] = pattern
	s := cl.f.EnqueueFillBuffer.Fast(uintptr(q), uintptr(m), cell.Addr(0), uintptr(patternBytes), uintptr(offset), uintptr(bytes),
		uintptr(len(wait)), list(wait), dl.Addr(event))
	cell.Put()
	return cl.enqueued(s, "clEnqueueFillBuffer", wait, event)
}

// EnqueueCopyBuffer copies between buffers, or within one if the regions do not overlap.
func (cl *API) EnqueueCopyBuffer(q Queue, from, to Mem, fromOffset, toOffset, bytes int, wait []Event, event *Event) error {
	s := cl.f.EnqueueCopyBuffer.Fast(uintptr(q), uintptr(from), uintptr(to), uintptr(fromOffset), uintptr(toOffset), uintptr(bytes),
		uintptr(len(wait)), list(wait), dl.Addr(event))
	return cl.enqueued(s, "clEnqueueCopyBuffer", wait, event)
}

// Rect is a box in a buffer, for EnqueueCopyBufferRect: where it begins in bytes, rows and
// slices, and how many bytes apart rows and slices are.
type Rect struct {
	Origin     [3]int
	RowPitch   int
	SlicePitch int
}

// EnqueueCopyBufferRect copies a box of region[0] bytes by region[1] rows by region[2] slices.
func (cl *API) EnqueueCopyBufferRect(q Queue, from, to Mem, f, t Rect, region [3]int, wait []Event, event *Event) error {
	r := ranges.Get().(*[9]uintptr)
	for i := range 3 {
		r[i], r[3+i], r[6+i] = uintptr(f.Origin[i]), uintptr(t.Origin[i]), uintptr(region[i])
	}
	s := cl.f.EnqueueCopyBufferRect.Fast(uintptr(q), uintptr(from), uintptr(to), dl.Addr(&r[0]), dl.Addr(&r[3]), dl.Addr(&r[6]),
		uintptr(f.RowPitch), uintptr(f.SlicePitch), uintptr(t.RowPitch), uintptr(t.SlicePitch), uintptr(len(wait)), list(wait), dl.Addr(event))
	ranges.Put(r)
	return cl.enqueued(s, "clEnqueueCopyBufferRect", wait, event)
}

// EnqueueMapBuffer makes a part of a buffer visible to the host, until EnqueueUnmapMemObject.
func (cl *API) EnqueueMapBuffer(q Queue, m Mem, blocking bool, flags MapFlags, offset, bytes int, wait []Event, event *Event) ([]byte, error) {
	cell := dl.GetCell()
	p := cl.f.EnqueueMapBuffer.Fast(uintptr(q), uintptr(m), truth(blocking), uintptr(flags), uintptr(offset), uintptr(bytes),
		uintptr(len(wait)), list(wait), dl.Addr(event), cell.Addr(0))
	s := uintptr(cell[0])
	cell.Put()
	if err := cl.enqueued(s, "clEnqueueMapBuffer", wait, event); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(dl.Pointer(p)), bytes), nil
}

// EnqueueUnmapMemObject ends what EnqueueMapBuffer began.
func (cl *API) EnqueueUnmapMemObject(q Queue, m Mem, mapped []byte, wait []Event, event *Event) error {
	s := cl.f.EnqueueUnmapMemObject.Fast(uintptr(q), uintptr(m), uintptr(unsafe.Pointer(unsafe.SliceData(mapped))), uintptr(len(wait)), list(wait), dl.Addr(event))
	return cl.enqueued(s, "clEnqueueUnmapMemObject", wait, event)
}

// EnqueueMigrateMemObjects moves buffers to the queue's device; with contents undefined,
// they only get their memory there, which else happens when they are first used.
func (cl *API) EnqueueMigrateMemObjects(q Queue, mems []Mem, contentUndefined bool, wait []Event, event *Event) error {
	s := cl.f.EnqueueMigrateMemObjects.Fast(uintptr(q), uintptr(len(mems)), list(mems), truth(contentUndefined)<<1, uintptr(len(wait)), list(wait), dl.Addr(event))
	runtime.KeepAlive(mems)
	return cl.enqueued(s, "clEnqueueMigrateMemObjects", wait, event)
}

// EnqueueNDRangeKernel runs a kernel with its arguments of now; global is in work-items and
// a multiple of local in every one of the dims dimensions.
func (cl *API) EnqueueNDRangeKernel(q Queue, k Kernel, dims int, global, local [3]int, wait []Event, event *Event) error {
	r := ranges.Get().(*[9]uintptr)
	for i := range 3 {
		r[i], r[3+i] = uintptr(global[i]), uintptr(local[i])
	}
	s := cl.f.EnqueueNDRangeKernel.Fast(uintptr(q), uintptr(k), uintptr(dims), 0, dl.Addr(&r[0]), dl.Addr(&r[3]), uintptr(len(wait)), list(wait), dl.Addr(event))
	ranges.Put(r)
	return cl.enqueued(s, "clEnqueueNDRangeKernel", wait, event)
}

// EnqueueMarkerWithWaitList makes an event that is complete when everything before it is.
func (cl *API) EnqueueMarkerWithWaitList(q Queue, wait []Event, event *Event) error {
	s := cl.f.EnqueueMarkerWithWaitList.Fast(uintptr(q), uintptr(len(wait)), list(wait), dl.Addr(event))
	return cl.enqueued(s, "clEnqueueMarkerWithWaitList", wait, event)
}

// EnqueueBarrierWithWaitList holds back what comes after it in a queue that is out of order.
func (cl *API) EnqueueBarrierWithWaitList(q Queue, wait []Event, event *Event) error {
	s := cl.f.EnqueueBarrierWithWaitList.Fast(uintptr(q), uintptr(len(wait)), list(wait), dl.Addr(event))
	return cl.enqueued(s, "clEnqueueBarrierWithWaitList", wait, event)
}

// ranges are the extents that functions read through pointers.
var ranges = sync.Pool{New: func() any { return new([9]uintptr) }}

func list[T any](s []T) uintptr {
	if len(s) == 0 {
		return 0
	}
	return dl.Addr(&s[0])
}

func truth(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// info calls one of the clGet…Info functions, which take one or two objects, a name, a
// size, an address and the address of a size.
func (cl *API) info(f dl.Func, call string, name Info, of ...uintptr) ([]byte, error) {
	var n uintptr
	s := f.Call(append(slices.Clone(of), uintptr(name), 0, 0, uintptr(dl.Addr(&n)))...)
	if s := Status(s); s != Success {
		return nil, cl.failed(s, fmt.Sprintf("%s of %#x", call, uint32(name)))
	}
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, n)
	s = f.Call(append(slices.Clone(of), uintptr(name), n, dl.Addr(&b[0]), 0)...)
	runtime.KeepAlive(b)
	if s := Status(s); s != Success {
		return nil, cl.failed(s, fmt.Sprintf("%s of %#x", call, uint32(name)))
	}
	return b, nil
}

// number is a little-endian number of any size.
func number(b []byte) uint64 {
	var word [8]byte
	copy(word[:], b)
	return binary.LittleEndian.Uint64(word[:])
}

// enqueued is check for functions that read a list of events and write one, which live
// until here.
func (cl *API) enqueued(s uintptr, call string, wait []Event, event *Event) error {
	runtime.KeepAlive(wait)
	runtime.KeepAlive(event)
	return cl.check(s, call)
}

func (cl *API) check(s uintptr, call string) error {
	if Status(s) == Success {
		return nil
	}
	return cl.failed(Status(s), call)
}

func (cl *API) failed(s Status, doing string) error {
	if s == dl.Missing {
		return fmt.Errorf("opencl: %s does not have the function of %s", cl.path, doing)
	}
	return &Error{Status: s, Doing: doing}
}
