// Package cuda binds the CUDA driver API, the part that comes with NVIDIA's driver and not
// with a toolkit. Names are those of the C API without their cu; results are returned, and
// statuses are errors.
//
// The calling thread's context is state of the driver's, and goroutines move between
// threads: what needs a context is called between runtime.LockOSThread and
// runtime.UnlockOSThread, after CtxSetCurrent. Functions of the driver itself, of devices
// and of primary contexts need none.
//
// Launches, copies, memsets, graph launches, stream-ordered allocation, events and waiting
// do not allocate. Host memory that a copy without waiting reads or writes, and the
// parameters of a kernel node, must not move (package dl tells what does not).
package cuda

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
)

// Handles of the API.
type (
	Device    int32
	Context   uintptr
	Stream    uintptr // 0 is the legacy default stream
	Event     uintptr
	Module    uintptr
	Function  uintptr
	Graph     uintptr
	GraphExec uintptr
	GraphNode uintptr
	MemPool   uintptr
	MemHandle uint64 // physical memory
	Ptr       uint64 // an address of a device
)

// API is the functions of one driver library.
type API struct {
	path string
	f    functions
}

// The exact names of the ABI, which later drivers keep: what cuda.h makes of a name changes
// with the version of the toolkit.
type functions struct {
	GetErrorName                 dl.Func `c:"cuGetErrorName"`
	GetErrorString               dl.Func `c:"cuGetErrorString"`
	Init                         dl.Func `c:"cuInit"`
	DriverGetVersion             dl.Func `c:"cuDriverGetVersion"`
	DeviceGet                    dl.Func `c:"cuDeviceGet"`
	DeviceGetCount               dl.Func `c:"cuDeviceGetCount"`
	DeviceGetName                dl.Func `c:"cuDeviceGetName"`
	DeviceGetUuid                dl.Func `c:"cuDeviceGetUuid_v2 cuDeviceGetUuid"` // _v2 (11.4) is the UUID of a MIG device, not of its card
	DeviceGetPCIBusId            dl.Func `c:"cuDeviceGetPCIBusId"`
	DeviceTotalMem               dl.Func `c:"cuDeviceTotalMem_v2"`
	DeviceGetAttribute           dl.Func `c:"cuDeviceGetAttribute"`
	DeviceGetDefaultMemPool      dl.Func `c:"cuDeviceGetDefaultMemPool,optional"` // 11.2
	DevicePrimaryCtxRetain       dl.Func `c:"cuDevicePrimaryCtxRetain"`
	DevicePrimaryCtxRelease      dl.Func `c:"cuDevicePrimaryCtxRelease_v2"`
	DevicePrimaryCtxSetFlags     dl.Func `c:"cuDevicePrimaryCtxSetFlags_v2"`
	DevicePrimaryCtxGetState     dl.Func `c:"cuDevicePrimaryCtxGetState"`
	CtxSetCurrent                dl.Func `c:"cuCtxSetCurrent"`
	CtxGetCurrent                dl.Func `c:"cuCtxGetCurrent"`
	CtxSynchronize               dl.Func `c:"cuCtxSynchronize"`
	CtxGetStreamPriorityRange    dl.Func `c:"cuCtxGetStreamPriorityRange"`
	ModuleLoadDataEx             dl.Func `c:"cuModuleLoadDataEx"`
	ModuleUnload                 dl.Func `c:"cuModuleUnload"`
	ModuleGetFunction            dl.Func `c:"cuModuleGetFunction"`
	ModuleGetGlobal              dl.Func `c:"cuModuleGetGlobal_v2,optional"`
	MemGetInfo                   dl.Func `c:"cuMemGetInfo_v2"`
	MemAlloc                     dl.Func `c:"cuMemAlloc_v2"`
	MemFree                      dl.Func `c:"cuMemFree_v2"`
	MemHostAlloc                 dl.Func `c:"cuMemHostAlloc"`
	MemFreeHost                  dl.Func `c:"cuMemFreeHost"`
	MemHostRegister              dl.Func `c:"cuMemHostRegister_v2"`
	MemHostUnregister            dl.Func `c:"cuMemHostUnregister"`
	MemcpyHtoD                   dl.Func `c:"cuMemcpyHtoD_v2"`
	MemcpyDtoH                   dl.Func `c:"cuMemcpyDtoH_v2"`
	MemcpyDtoD                   dl.Func `c:"cuMemcpyDtoD_v2"`
	MemcpyHtoDAsync              dl.Func `c:"cuMemcpyHtoDAsync_v2"`
	MemcpyDtoHAsync              dl.Func `c:"cuMemcpyDtoHAsync_v2"`
	MemcpyDtoDAsync              dl.Func `c:"cuMemcpyDtoDAsync_v2"`
	MemcpyPeerAsync              dl.Func `c:"cuMemcpyPeerAsync,optional"`
	MemsetD8                     dl.Func `c:"cuMemsetD8_v2"`
	MemsetD32                    dl.Func `c:"cuMemsetD32_v2"`
	MemsetD8Async                dl.Func `c:"cuMemsetD8Async"`
	MemsetD16Async               dl.Func `c:"cuMemsetD16Async"`
	MemsetD32Async               dl.Func `c:"cuMemsetD32Async"`
	MemAddressReserve            dl.Func `c:"cuMemAddressReserve,optional"`
	MemAddressFree               dl.Func `c:"cuMemAddressFree,optional"`
	MemCreate                    dl.Func `c:"cuMemCreate,optional"`
	MemRelease                   dl.Func `c:"cuMemRelease,optional"`
	MemMap                       dl.Func `c:"cuMemMap,optional"`
	MemUnmap                     dl.Func `c:"cuMemUnmap,optional"`
	MemSetAccess                 dl.Func `c:"cuMemSetAccess,optional"`
	MemGetAllocationGranularity  dl.Func `c:"cuMemGetAllocationGranularity,optional"`
	MemAllocAsync                dl.Func `c:"cuMemAllocAsync,optional"`
	MemFreeAsync                 dl.Func `c:"cuMemFreeAsync,optional"`
	MemPoolTrimTo                dl.Func `c:"cuMemPoolTrimTo,optional"`
	MemPoolSetAttribute          dl.Func `c:"cuMemPoolSetAttribute,optional"`
	MemPoolGetAttribute          dl.Func `c:"cuMemPoolGetAttribute,optional"`
	StreamCreate                 dl.Func `c:"cuStreamCreate"`
	StreamCreateWithPriority     dl.Func `c:"cuStreamCreateWithPriority"`
	StreamWaitEvent              dl.Func `c:"cuStreamWaitEvent"`
	StreamBeginCapture           dl.Func `c:"cuStreamBeginCapture_v2"`
	StreamEndCapture             dl.Func `c:"cuStreamEndCapture"`
	StreamIsCapturing            dl.Func `c:"cuStreamIsCapturing"`
	StreamGetCaptureInfo         dl.Func `c:"cuStreamGetCaptureInfo_v2,optional"` // 11.3
	StreamQuery                  dl.Func `c:"cuStreamQuery"`
	StreamSynchronize            dl.Func `c:"cuStreamSynchronize"`
	StreamDestroy                dl.Func `c:"cuStreamDestroy_v2"`
	EventCreate                  dl.Func `c:"cuEventCreate"`
	EventRecord                  dl.Func `c:"cuEventRecord"`
	EventQuery                   dl.Func `c:"cuEventQuery"`
	EventSynchronize             dl.Func `c:"cuEventSynchronize"`
	EventDestroy                 dl.Func `c:"cuEventDestroy_v2"`
	EventElapsedTime             dl.Func `c:"cuEventElapsedTime"`
	FuncGetAttribute             dl.Func `c:"cuFuncGetAttribute"`
	FuncSetAttribute             dl.Func `c:"cuFuncSetAttribute"`
	LaunchKernel                 dl.Func `c:"cuLaunchKernel"`
	LaunchKernelEx               dl.Func `c:"cuLaunchKernelEx,optional"` // 11.8
	OccupancyMaxActiveBlocks     dl.Func `c:"cuOccupancyMaxActiveBlocksPerMultiprocessor,optional"`
	GraphCreate                  dl.Func `c:"cuGraphCreate,optional"`
	GraphAddKernelNode           dl.Func `c:"cuGraphAddKernelNode_v2,optional"` // 12.0
	GraphGetNodes                dl.Func `c:"cuGraphGetNodes"`
	GraphNodeGetType             dl.Func `c:"cuGraphNodeGetType"`
	GraphKernelNodeGetParams     dl.Func `c:"cuGraphKernelNodeGetParams_v2,optional"` // 12.0
	GraphInstantiate             dl.Func `c:"cuGraphInstantiateWithFlags"`
	GraphExecKernelNodeSetParams dl.Func `c:"cuGraphExecKernelNodeSetParams_v2,optional"` // 12.0
	GraphExecUpdate              dl.Func `c:"cuGraphExecUpdate_v2,optional"`              // 12.0
	GraphUpload                  dl.Func `c:"cuGraphUpload"`
	GraphLaunch                  dl.Func `c:"cuGraphLaunch"`
	GraphExecDestroy             dl.Func `c:"cuGraphExecDestroy"`
	GraphDestroy                 dl.Func `c:"cuGraphDestroy"`
	ProfilerStart                dl.Func `c:"cuProfilerStart,optional"`
	ProfilerStop                 dl.Func `c:"cuProfilerStop,optional"`
}

// New binds the functions of an open library.
func New(lib dl.Symbols) (*API, error) {
	cu := &API{path: lib.Path()}
	if err := dl.Bind(lib, &cu.f); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	return cu, nil
}

// Path is the library's file.
func (cu *API) Path() string { return cu.path }

func (cu *API) Init() error { return cu.check(cu.f.Init.Call(0), "cuInit") }

// DriverGetVersion is the newest version of CUDA that the driver serves, 13000 for 13.0.
func (cu *API) DriverGetVersion() (int, error) {
	var v int32
	s := cu.f.DriverGetVersion.Call(uintptr(unsafe.Pointer(&v)))
	return int(v), cu.check(s, "cuDriverGetVersion")
}

func (cu *API) DeviceGet(ordinal int) (Device, error) {
	var d Device
	s := cu.f.DeviceGet.Call(uintptr(unsafe.Pointer(&d)), dl.Int(ordinal))
	return d, cu.check(s, "cuDeviceGet")
}

func (cu *API) DeviceGetCount() (int, error) {
	var n int32
	s := cu.f.DeviceGetCount.Call(uintptr(unsafe.Pointer(&n)))
	return int(n), cu.check(s, "cuDeviceGetCount")
}

func (cu *API) DeviceGetName(d Device) (string, error) {
	buf := make([]byte, 256)
	s := cu.f.DeviceGetName.Call(uintptr(unsafe.Pointer(&buf[0])), dl.Int(len(buf)), dl.Int(int(d)))
	return dl.Text(buf), cu.check(s, "cuDeviceGetName")
}

// DeviceGetUuid is the UUID of a device; of a MIG device it is that of its instance.
func (cu *API) DeviceGetUuid(d Device) (UUID, error) {
	var u UUID
	s := cu.f.DeviceGetUuid.Call(uintptr(unsafe.Pointer(&u)), dl.Int(int(d)))
	return u, cu.check(s, "cuDeviceGetUuid")
}

// DeviceGetPCIBusId is of the form domain:bus:device.function.
func (cu *API) DeviceGetPCIBusId(d Device) (string, error) {
	buf := make([]byte, 32)
	s := cu.f.DeviceGetPCIBusId.Call(uintptr(unsafe.Pointer(&buf[0])), dl.Int(len(buf)), dl.Int(int(d)))
	return dl.Text(buf), cu.check(s, "cuDeviceGetPCIBusId")
}

func (cu *API) DeviceTotalMem(d Device) (uint64, error) {
	var n uint64
	s := cu.f.DeviceTotalMem.Call(uintptr(unsafe.Pointer(&n)), dl.Int(int(d)))
	return n, cu.check(s, "cuDeviceTotalMem")
}

func (cu *API) DeviceGetAttribute(d Device, a DeviceAttribute) (int, error) {
	var v int32
	s := cu.f.DeviceGetAttribute.Call(uintptr(unsafe.Pointer(&v)), dl.Int(int(a)), dl.Int(int(d)))
	if s := Result(s); s != Success {
		return 0, cu.failed(s, fmt.Sprintf("cuDeviceGetAttribute of %d", a))
	}
	return int(v), nil
}

// DeviceGetDefaultMemPool is the pool that MemAllocAsync takes memory from.
func (cu *API) DeviceGetDefaultMemPool(d Device) (MemPool, error) {
	var p MemPool
	s := cu.f.DeviceGetDefaultMemPool.Call(uintptr(unsafe.Pointer(&p)), dl.Int(int(d)))
	return p, cu.check(s, "cuDeviceGetDefaultMemPool")
}

// DevicePrimaryCtxRetain makes the context that all of a process's libraries share for a
// device, or counts one more user of it.
func (cu *API) DevicePrimaryCtxRetain(d Device) (Context, error) {
	var c Context
	s := cu.f.DevicePrimaryCtxRetain.Call(uintptr(unsafe.Pointer(&c)), dl.Int(int(d)))
	return c, cu.check(s, "cuDevicePrimaryCtxRetain")
}

func (cu *API) DevicePrimaryCtxRelease(d Device) error {
	return cu.check(cu.f.DevicePrimaryCtxRelease.Call(dl.Int(int(d))), "cuDevicePrimaryCtxRelease")
}

func (cu *API) DevicePrimaryCtxSetFlags(d Device, flags CtxFlags) error {
	return cu.check(cu.f.DevicePrimaryCtxSetFlags.Call(dl.Int(int(d)), uintptr(flags)), "cuDevicePrimaryCtxSetFlags")
}

func (cu *API) DevicePrimaryCtxGetState(d Device) (flags CtxFlags, active bool, err error) {
	var a int32
	s := cu.f.DevicePrimaryCtxGetState.Call(dl.Int(int(d)), uintptr(unsafe.Pointer(&flags)), uintptr(unsafe.Pointer(&a)))
	return flags, a != 0, cu.check(s, "cuDevicePrimaryCtxGetState")
}

func (cu *API) CtxSetCurrent(c Context) error {
	return cu.check(cu.f.CtxSetCurrent.Fast(uintptr(c)), "cuCtxSetCurrent")
}

func (cu *API) CtxGetCurrent() (Context, error) {
	var c Context
	s := cu.f.CtxGetCurrent.Call(uintptr(unsafe.Pointer(&c)))
	return c, cu.check(s, "cuCtxGetCurrent")
}

// CtxSynchronize waits for all work of the context.
func (cu *API) CtxSynchronize() error {
	return cu.check(cu.f.CtxSynchronize.Fast(), "cuCtxSynchronize")
}

// CtxGetStreamPriorityRange is the priorities of streams; greatest is the lower number.
func (cu *API) CtxGetStreamPriorityRange() (least, greatest int, err error) {
	var l, g int32
	s := cu.f.CtxGetStreamPriorityRange.Call(uintptr(unsafe.Pointer(&l)), uintptr(unsafe.Pointer(&g)))
	return int(l), int(g), cu.check(s, "cuCtxGetStreamPriorityRange")
}

// ModuleLoadData loads a cubin, a fatbin or PTX. The error holds what the driver's compiler
// and linker have said, if they have.
func (cu *API) ModuleLoadData(image []byte) (Module, error) {
	const size = 8192
	log := dl.NewBlock(size)
	data := dl.NewBlock(len(image) + 1) // PTX ends with a zero
	copy(data.Bytes(), image)
	options := [2]int32{5, 6} // CU_JIT_ERROR_LOG_BUFFER and its size
	values := [2]uintptr{log.Addr(), size}
	var m Module
	s := cu.f.ModuleLoadDataEx.Call(uintptr(unsafe.Pointer(&m)), data.Addr(), uintptr(len(options)),
		uintptr(unsafe.Pointer(&options)), uintptr(unsafe.Pointer(&values)))
	runtime.KeepAlive(data)
	if s := Result(s); s != Success {
		err := cu.failed(s, fmt.Sprintf("cuModuleLoadDataEx of %d bytes", len(image)))
		if said := dl.Text(log.Bytes()); said != "" {
			err = fmt.Errorf("%w\n%s", err, said)
		}
		return 0, err
	}
	runtime.KeepAlive(log)
	return m, nil
}

func (cu *API) ModuleUnload(m Module) error {
	return cu.check(cu.f.ModuleUnload.Call(uintptr(m)), "cuModuleUnload")
}

func (cu *API) ModuleGetFunction(m Module, name string) (Function, error) {
	var f Function
	s := cu.f.ModuleGetFunction.Call(uintptr(unsafe.Pointer(&f)), uintptr(m), uintptr(unsafe.Pointer(dl.CString(name))))
	if s := Result(s); s != Success {
		return 0, cu.failed(s, "cuModuleGetFunction of "+name)
	}
	return f, nil
}

// ModuleGetGlobal is where a variable of a module lies, and its bytes.
func (cu *API) ModuleGetGlobal(m Module, name string) (Ptr, int, error) {
	var p Ptr
	var n uintptr
	s := cu.f.ModuleGetGlobal.Call(uintptr(unsafe.Pointer(&p)), uintptr(unsafe.Pointer(&n)), uintptr(m), uintptr(unsafe.Pointer(dl.CString(name))))
	if s := Result(s); s != Success {
		return 0, 0, cu.failed(s, "cuModuleGetGlobal of "+name)
	}
	return p, int(n), nil
}

// MemGetInfo is the bytes of the current context's device that are free and that it has.
func (cu *API) MemGetInfo() (free, total uint64, err error) {
	cell := dl.GetCell()
	s := cu.f.MemGetInfo.Fast(cell.Addr(0), cell.Addr(1))
	free, total = cell[0], cell[1]
	cell.Put()
	return free, total, cu.check(s, "cuMemGetInfo")
}

func (cu *API) MemAlloc(bytes int) (Ptr, error) {
	cell := dl.GetCell()
	s := Result(cu.f.MemAlloc.Fast(cell.Addr(0), uintptr(bytes)))
	p := Ptr(cell[0])
	cell.Put()
	if s != Success {
		return 0, cu.failed(s, fmt.Sprintf("cuMemAlloc of %d bytes", bytes))
	}
	return p, nil
}

func (cu *API) MemFree(p Ptr) error { return cu.check(cu.f.MemFree.Fast(uintptr(p)), "cuMemFree") }

// MemHostAlloc is pinned memory of the host; MemFreeHost frees it.
func (cu *API) MemHostAlloc(bytes int, flags HostFlags) ([]byte, error) {
	var p uintptr
	s := Result(cu.f.MemHostAlloc.Call(uintptr(unsafe.Pointer(&p)), uintptr(bytes), uintptr(flags)))
	if s != Success {
		return nil, cu.failed(s, fmt.Sprintf("cuMemHostAlloc of %d bytes", bytes))
	}
	return unsafe.Slice((*byte)(dl.Pointer(p)), bytes), nil
}

func (cu *API) MemFreeHost(memory []byte) error {
	return cu.check(cu.f.MemFreeHost.Call(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))), "cuMemFreeHost")
}

// MemHostRegister pins memory that the program has already, until MemHostUnregister. It
// must not move.
func (cu *API) MemHostRegister(memory []byte, flags HostFlags) error {
	s := Result(cu.f.MemHostRegister.Call(uintptr(unsafe.Pointer(unsafe.SliceData(memory))), uintptr(len(memory)), uintptr(flags)))
	if s != Success {
		return cu.failed(s, fmt.Sprintf("cuMemHostRegister of %d bytes", len(memory)))
	}
	return nil
}

func (cu *API) MemHostUnregister(memory []byte) error {
	return cu.check(cu.f.MemHostUnregister.Call(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))), "cuMemHostUnregister")
}

// MemcpyHtoD copies all of from, and has read it when it returns.
func (cu *API) MemcpyHtoD(to Ptr, from []byte) error {
	s := cu.f.MemcpyHtoD.Fast(uintptr(to), dl.Addr(unsafe.SliceData(from)), uintptr(len(from)))
	runtime.KeepAlive(from)
	return cu.check(s, "cuMemcpyHtoD")
}

// MemcpyDtoH fills all of to.
func (cu *API) MemcpyDtoH(to []byte, from Ptr) error {
	s := cu.f.MemcpyDtoH.Fast(dl.Addr(unsafe.SliceData(to)), uintptr(from), uintptr(len(to)))
	runtime.KeepAlive(to)
	return cu.check(s, "cuMemcpyDtoH")
}

func (cu *API) MemcpyDtoD(to, from Ptr, bytes int) error {
	return cu.check(cu.f.MemcpyDtoD.Fast(uintptr(to), uintptr(from), uintptr(bytes)), "cuMemcpyDtoD")
}

// MemcpyHtoDAsync copies in the order of a stream. If from is pinned it is read when the
// stream gets there; if not, before the call returns.
func (cu *API) MemcpyHtoDAsync(to Ptr, from []byte, s Stream) error {
	r := cu.f.MemcpyHtoDAsync.Fast(uintptr(to), dl.Addr(unsafe.SliceData(from)), uintptr(len(from)), uintptr(s))
	runtime.KeepAlive(from)
	return cu.check(r, "cuMemcpyHtoDAsync")
}

func (cu *API) MemcpyDtoHAsync(to []byte, from Ptr, s Stream) error {
	r := cu.f.MemcpyDtoHAsync.Fast(dl.Addr(unsafe.SliceData(to)), uintptr(from), uintptr(len(to)), uintptr(s))
	runtime.KeepAlive(to)
	return cu.check(r, "cuMemcpyDtoHAsync")
}

func (cu *API) MemcpyDtoDAsync(to, from Ptr, bytes int, s Stream) error {
	return cu.check(cu.f.MemcpyDtoDAsync.Fast(uintptr(to), uintptr(from), uintptr(bytes), uintptr(s)), "cuMemcpyDtoDAsync")
}

// MemcpyPeerAsync copies between the devices of two contexts.
func (cu *API) MemcpyPeerAsync(to Ptr, toCtx Context, from Ptr, fromCtx Context, bytes int, s Stream) error {
	r := cu.f.MemcpyPeerAsync.Fast(uintptr(to), uintptr(toCtx), uintptr(from), uintptr(fromCtx), uintptr(bytes), uintptr(s))
	return cu.check(r, "cuMemcpyPeerAsync")
}

func (cu *API) MemsetD8(p Ptr, value byte, n int) error {
	return cu.check(cu.f.MemsetD8.Fast(uintptr(p), uintptr(value), uintptr(n)), "cuMemsetD8")
}

func (cu *API) MemsetD32(p Ptr, value uint32, n int) error {
	return cu.check(cu.f.MemsetD32.Fast(uintptr(p), uintptr(value), uintptr(n)), "cuMemsetD32")
}

func (cu *API) MemsetD8Async(p Ptr, value byte, n int, s Stream) error {
	return cu.check(cu.f.MemsetD8Async.Fast(uintptr(p), uintptr(value), uintptr(n), uintptr(s)), "cuMemsetD8Async")
}

func (cu *API) MemsetD16Async(p Ptr, value uint16, n int, s Stream) error {
	return cu.check(cu.f.MemsetD16Async.Fast(uintptr(p), uintptr(value), uintptr(n), uintptr(s)), "cuMemsetD16Async")
}

func (cu *API) MemsetD32Async(p Ptr, value uint32, n int, s Stream) error {
	return cu.check(cu.f.MemsetD32Async.Fast(uintptr(p), uintptr(value), uintptr(n), uintptr(s)), "cuMemsetD32Async")
}

// MemAddressReserve is addresses without memory behind them; MemCreate, MemMap and
// MemSetAccess put memory there.
func (cu *API) MemAddressReserve(bytes int) (Ptr, error) {
	var p Ptr
	s := cu.f.MemAddressReserve.Call(uintptr(unsafe.Pointer(&p)), uintptr(bytes), 0, 0, 0)
	return p, cu.check(s, "cuMemAddressReserve")
}

func (cu *API) MemAddressFree(p Ptr, bytes int) error {
	return cu.check(cu.f.MemAddressFree.Call(uintptr(p), uintptr(bytes)), "cuMemAddressFree")
}

// allocationProp is CUmemAllocationProp: pinned memory of a device.
func allocationProp(d Device) *[4]uint64 {
	var b [4]uint64
	b[0] = 1                         // type: pinned; no handle types
	b[1] = 1 | uint64(uint32(d))<<32 // location: a device
	return &b
}

// MemCreate is physical memory of a device; bytes is a multiple of MemGetAllocationGranularity.
func (cu *API) MemCreate(bytes int, d Device) (MemHandle, error) {
	var h MemHandle
	s := Result(cu.f.MemCreate.Call(uintptr(unsafe.Pointer(&h)), uintptr(bytes), uintptr(unsafe.Pointer(allocationProp(d))), 0))
	if s != Success {
		return 0, cu.failed(s, fmt.Sprintf("cuMemCreate of %d bytes", bytes))
	}
	return h, nil
}

func (cu *API) MemRelease(h MemHandle) error {
	return cu.check(cu.f.MemRelease.Call(uintptr(h)), "cuMemRelease")
}

func (cu *API) MemMap(p Ptr, bytes int, h MemHandle) error {
	return cu.check(cu.f.MemMap.Call(uintptr(p), uintptr(bytes), 0, uintptr(h), 0), "cuMemMap")
}

func (cu *API) MemUnmap(p Ptr, bytes int) error {
	return cu.check(cu.f.MemUnmap.Call(uintptr(p), uintptr(bytes)), "cuMemUnmap")
}

// MemSetAccess lets a device read and write.
func (cu *API) MemSetAccess(p Ptr, bytes int, d Device) error {
	desc := [3]uint32{1, uint32(d), 3} // a device, which; read and write
	return cu.check(cu.f.MemSetAccess.Call(uintptr(p), uintptr(bytes), uintptr(unsafe.Pointer(&desc)), 1), "cuMemSetAccess")
}

// MemGetAllocationGranularity is what the bytes of MemCreate are a multiple of.
func (cu *API) MemGetAllocationGranularity(d Device) (int, error) {
	var n uintptr
	const recommended = 1
	s := cu.f.MemGetAllocationGranularity.Call(uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(allocationProp(d))), recommended)
	return int(n), cu.check(s, "cuMemGetAllocationGranularity")
}

// MemAllocAsync is memory of the device's pool, to be used after this in the stream.
func (cu *API) MemAllocAsync(bytes int, s Stream) (Ptr, error) {
	cell := dl.GetCell()
	r := Result(cu.f.MemAllocAsync.Fast(cell.Addr(0), uintptr(bytes), uintptr(s)))
	p := Ptr(cell[0])
	cell.Put()
	if r != Success {
		return 0, cu.failed(r, fmt.Sprintf("cuMemAllocAsync of %d bytes", bytes))
	}
	return p, nil
}

func (cu *API) MemFreeAsync(p Ptr, s Stream) error {
	return cu.check(cu.f.MemFreeAsync.Fast(uintptr(p), uintptr(s)), "cuMemFreeAsync")
}

// MemPoolTrimTo gives memory of a pool that is not used back to the device, but for keep bytes.
func (cu *API) MemPoolTrimTo(p MemPool, keep int) error {
	return cu.check(cu.f.MemPoolTrimTo.Call(uintptr(p), uintptr(keep)), "cuMemPoolTrimTo")
}

func (cu *API) MemPoolSetAttribute(p MemPool, a MemPoolAttribute, value uint64) error {
	return cu.check(cu.f.MemPoolSetAttribute.Call(uintptr(p), uintptr(a), uintptr(unsafe.Pointer(&value))), "cuMemPoolSetAttribute")
}

func (cu *API) MemPoolGetAttribute(p MemPool, a MemPoolAttribute) (uint64, error) {
	var v uint64
	s := cu.f.MemPoolGetAttribute.Call(uintptr(p), uintptr(a), uintptr(unsafe.Pointer(&v)))
	return v, cu.check(s, "cuMemPoolGetAttribute")
}

// StreamCreate is a stream that does not wait for the legacy default stream.
func (cu *API) StreamCreate() (Stream, error) {
	var st Stream
	s := cu.f.StreamCreate.Call(uintptr(unsafe.Pointer(&st)), nonBlocking)
	return st, cu.check(s, "cuStreamCreate")
}

// StreamCreateWithPriority is StreamCreate with a priority of CtxGetStreamPriorityRange.
func (cu *API) StreamCreateWithPriority(priority int) (Stream, error) {
	var st Stream
	s := cu.f.StreamCreateWithPriority.Call(uintptr(unsafe.Pointer(&st)), nonBlocking, dl.Int(priority))
	return st, cu.check(s, "cuStreamCreateWithPriority")
}

const nonBlocking = 1

// StreamWaitEvent holds a stream back until what was recorded in an event is done.
func (cu *API) StreamWaitEvent(s Stream, e Event) error {
	return cu.check(cu.f.StreamWaitEvent.Fast(uintptr(s), uintptr(e), 0), "cuStreamWaitEvent")
}

// StreamBeginCapture makes what is put into a stream part of a graph instead of running it.
func (cu *API) StreamBeginCapture(s Stream, mode CaptureMode) error {
	return cu.check(cu.f.StreamBeginCapture.Call(uintptr(s), uintptr(mode)), "cuStreamBeginCapture")
}

func (cu *API) StreamEndCapture(s Stream) (Graph, error) {
	var g Graph
	r := cu.f.StreamEndCapture.Call(uintptr(s), uintptr(unsafe.Pointer(&g)))
	return g, cu.check(r, "cuStreamEndCapture")
}

func (cu *API) StreamIsCapturing(s Stream) (CaptureStatus, error) {
	var c CaptureStatus
	r := cu.f.StreamIsCapturing.Call(uintptr(s), uintptr(unsafe.Pointer(&c)))
	return c, cu.check(r, "cuStreamIsCapturing")
}

// StreamCaptureTail is the node that what is captured next will come after: the one that was
// captured last, if the stream has not been joined with another since.
func (cu *API) StreamCaptureTail(s Stream) (GraphNode, error) {
	var c CaptureStatus
	var after *GraphNode
	var n uintptr
	r := cu.f.StreamGetCaptureInfo.Call(uintptr(s), uintptr(unsafe.Pointer(&c)), 0, 0, uintptr(unsafe.Pointer(&after)), uintptr(unsafe.Pointer(&n)))
	if err := cu.check(r, "cuStreamGetCaptureInfo"); err != nil {
		return 0, err
	}
	if c != CaptureActive || n != 1 {
		return 0, fmt.Errorf("cuda: cuStreamGetCaptureInfo: the capture is in state %d, with %d nodes at its end", c, n)
	}
	return *after, nil
}

// StreamQuery tells whether all work of a stream is done.
func (cu *API) StreamQuery(s Stream) (done bool, err error) {
	return cu.ready(cu.f.StreamQuery.Fast(uintptr(s)), "cuStreamQuery")
}

func (cu *API) StreamSynchronize(s Stream) error {
	return cu.check(cu.f.StreamSynchronize.Fast(uintptr(s)), "cuStreamSynchronize")
}

func (cu *API) StreamDestroy(s Stream) error {
	return cu.check(cu.f.StreamDestroy.Call(uintptr(s)), "cuStreamDestroy")
}

func (cu *API) EventCreate(flags EventFlags) (Event, error) {
	var e Event
	s := cu.f.EventCreate.Call(uintptr(unsafe.Pointer(&e)), uintptr(flags))
	return e, cu.check(s, "cuEventCreate")
}

func (cu *API) EventRecord(e Event, s Stream) error {
	return cu.check(cu.f.EventRecord.Fast(uintptr(e), uintptr(s)), "cuEventRecord")
}

// EventQuery tells whether what was recorded is done.
func (cu *API) EventQuery(e Event) (done bool, err error) {
	return cu.ready(cu.f.EventQuery.Fast(uintptr(e)), "cuEventQuery")
}

func (cu *API) EventSynchronize(e Event) error {
	return cu.check(cu.f.EventSynchronize.Fast(uintptr(e)), "cuEventSynchronize")
}

func (cu *API) EventDestroy(e Event) error {
	return cu.check(cu.f.EventDestroy.Call(uintptr(e)), "cuEventDestroy")
}

// EventElapsedTime is the milliseconds between two events that have happened.
func (cu *API) EventElapsedTime(start, end Event) (float32, error) {
	cell := dl.GetCell()
	s := cu.f.EventElapsedTime.Fast(cell.Addr(0), uintptr(start), uintptr(end))
	ms := math.Float32frombits(uint32(cell[0]))
	cell.Put()
	return ms, cu.check(s, "cuEventElapsedTime")
}

func (cu *API) FuncGetAttribute(f Function, a FunctionAttribute) (int, error) {
	var v int32
	s := cu.f.FuncGetAttribute.Call(uintptr(unsafe.Pointer(&v)), dl.Int(int(a)), uintptr(f))
	return int(v), cu.check(s, "cuFuncGetAttribute")
}

func (cu *API) FuncSetAttribute(f Function, a FunctionAttribute, value int) error {
	return cu.check(cu.f.FuncSetAttribute.Call(uintptr(f), dl.Int(int(a)), dl.Int(value)), "cuFuncSetAttribute")
}

// LaunchKernel runs a kernel. Its parameters are packed in a block, each aligned to its
// size; they are read before the call returns.
func (cu *API) LaunchKernel(f Function, grid, block [3]int, sharedBytes int, s Stream, params *dl.Block, paramBytes int) error {
	extra := extras.Get().(*[6]uint64)
	pack(extra, params.Addr(), paramBytes)
	r := cu.f.LaunchKernel.Fast(uintptr(f), uintptr(grid[0]), uintptr(grid[1]), uintptr(grid[2]),
		uintptr(block[0]), uintptr(block[1]), uintptr(block[2]), uintptr(sharedBytes), uintptr(s), 0, dl.Addr(&extra[0]))
	extras.Put(extra)
	runtime.KeepAlive(params)
	return cu.check(r, "cuLaunchKernel")
}

// extras are what the extra argument of a launch points to.
var extras = sync.Pool{New: func() any { return new([6]uint64) }}

// pack says where packed parameters are: CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END. The
// size stands in the last word.
func pack(extra *[6]uint64, params uintptr, bytes int) {
	*extra = [6]uint64{1, uint64(params), 2, uint64(dl.Addr(&extra[5])), 0, uint64(bytes)}
}

// LaunchConfig is CUlaunchConfig, for LaunchKernelEx.
type LaunchConfig struct {
	Grid, Block [3]uint32
	SharedBytes uint32
	_           uint32
	Stream      Stream
	attributes  uintptr
	n           uint32
	_           uint32
}

// LaunchAttribute is CUlaunchAttribute: its number, and its value in the first words.
type LaunchAttribute struct {
	ID    uint32 // 2 cooperative, 4 cluster dimension, 6 programmatic stream serialisation
	_     uint32
	Value [16]uint32
}

// LaunchKernelEx is LaunchKernel with attributes.
func (cu *API) LaunchKernelEx(c LaunchConfig, attributes []LaunchAttribute, f Function, params *dl.Block, paramBytes int) error {
	if len(attributes) > 0 {
		c.attributes, c.n = dl.Addr(&attributes[0]), uint32(len(attributes))
	}
	extra := new([6]uint64)
	pack(extra, params.Addr(), paramBytes)
	r := cu.f.LaunchKernelEx.Call(uintptr(unsafe.Pointer(&c)), uintptr(f), 0, uintptr(unsafe.Pointer(extra)))
	runtime.KeepAlive(attributes)
	runtime.KeepAlive(params)
	return cu.check(r, "cuLaunchKernelEx")
}

// OccupancyMaxActiveBlocksPerMultiprocessor is how many blocks of a kernel fit a multiprocessor.
func (cu *API) OccupancyMaxActiveBlocksPerMultiprocessor(f Function, blockSize, sharedBytes int) (int, error) {
	var n int32
	s := cu.f.OccupancyMaxActiveBlocks.Call(uintptr(unsafe.Pointer(&n)), uintptr(f), dl.Int(blockSize), uintptr(sharedBytes))
	return int(n), cu.check(s, "cuOccupancyMaxActiveBlocksPerMultiprocessor")
}

// KernelNode is what a kernel node of a graph does.
type KernelNode struct {
	Function    Function
	Grid, Block [3]int
	SharedBytes int
	Params      *dl.Block // packed
	ParamBytes  int
}

// kernelNodeParams is CUDA_KERNEL_NODE_PARAMS_v2.
type kernelNodeParams struct {
	function     Function
	grid, block  [3]uint32
	sharedBytes  uint32
	_            uint32
	kernelParams uintptr
	extra        uintptr
	kernel       uintptr
	context      uintptr
}

// nodeScratch is what a call with parameters of a kernel node points to.
type nodeScratch struct {
	params kernelNodeParams
	extra  [6]uint64
}

var nodes = sync.Pool{New: func() any { return new(nodeScratch) }}

func (n *nodeScratch) fill(k *KernelNode) {
	pack(&n.extra, k.Params.Addr(), k.ParamBytes)
	n.params = kernelNodeParams{function: k.Function, sharedBytes: uint32(k.SharedBytes), extra: dl.Addr(&n.extra[0])}
	for i := range 3 {
		n.params.grid[i], n.params.block[i] = uint32(k.Grid[i]), uint32(k.Block[i])
	}
}

func (cu *API) GraphCreate() (Graph, error) {
	var g Graph
	s := cu.f.GraphCreate.Call(uintptr(unsafe.Pointer(&g)), 0)
	return g, cu.check(s, "cuGraphCreate")
}

// GraphAddKernelNode adds a kernel that runs after the nodes of after. Its parameters are copied.
func (cu *API) GraphAddKernelNode(g Graph, after []GraphNode, k *KernelNode) (GraphNode, error) {
	n := new(nodeScratch)
	n.fill(k)
	var node GraphNode
	s := cu.f.GraphAddKernelNode.Call(uintptr(unsafe.Pointer(&node)), uintptr(g), uintptr(unsafe.Pointer(unsafe.SliceData(after))), uintptr(len(after)),
		uintptr(unsafe.Pointer(&n.params)))
	runtime.KeepAlive(k.Params)
	return node, cu.check(s, "cuGraphAddKernelNode")
}

// GraphGetNodes is a graph's nodes, in the order in which they were made.
func (cu *API) GraphGetNodes(g Graph) ([]GraphNode, error) {
	var n uintptr
	s := cu.f.GraphGetNodes.Call(uintptr(g), 0, uintptr(unsafe.Pointer(&n)))
	if err := cu.check(s, "cuGraphGetNodes"); err != nil || n == 0 {
		return nil, err
	}
	list := make([]GraphNode, n)
	s = cu.f.GraphGetNodes.Call(uintptr(g), uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&n)))
	return list[:n], cu.check(s, "cuGraphGetNodes")
}

func (cu *API) GraphNodeGetType(n GraphNode) (NodeType, error) {
	var t NodeType
	s := cu.f.GraphNodeGetType.Call(uintptr(n), uintptr(unsafe.Pointer(&t)))
	return t, cu.check(s, "cuGraphNodeGetType")
}

// GraphKernelNodeFunction is the function and the extents of a kernel node.
func (cu *API) GraphKernelNodeFunction(n GraphNode) (f Function, grid, block [3]int, err error) {
	var p kernelNodeParams
	s := cu.f.GraphKernelNodeGetParams.Call(uintptr(n), uintptr(unsafe.Pointer(&p)))
	for i := range 3 {
		grid[i], block[i] = int(p.grid[i]), int(p.block[i])
	}
	return p.function, grid, block, cu.check(s, "cuGraphKernelNodeGetParams")
}

// GraphInstantiate makes a graph that can be launched.
func (cu *API) GraphInstantiate(g Graph, flags InstantiateFlags) (GraphExec, error) {
	var x GraphExec
	s := cu.f.GraphInstantiate.Call(uintptr(unsafe.Pointer(&x)), uintptr(g), uintptr(flags))
	return x, cu.check(s, "cuGraphInstantiateWithFlags")
}

// GraphExecKernelNodeSetParams changes a kernel of a graph for its next launches.
func (cu *API) GraphExecKernelNodeSetParams(x GraphExec, node GraphNode, k *KernelNode) error {
	n := nodes.Get().(*nodeScratch)
	n.fill(k)
	s := cu.f.GraphExecKernelNodeSetParams.Fast(uintptr(x), uintptr(node), dl.Addr(&n.params))
	nodes.Put(n)
	runtime.KeepAlive(k.Params)
	return cu.check(s, "cuGraphExecKernelNodeSetParams")
}

// GraphExecUpdate makes x do what g does. If updated is false, g differs in more than
// parameters, and has to be instantiated.
func (cu *API) GraphExecUpdate(x GraphExec, g Graph) (updated bool, why UpdateResult, err error) {
	var info struct {
		result    UpdateResult
		_         uint32
		node, src uintptr
	}
	s := Result(cu.f.GraphExecUpdate.Call(uintptr(x), uintptr(g), uintptr(unsafe.Pointer(&info))))
	if s == GraphExecUpdateFailure {
		return false, info.result, nil
	}
	return s == Success, info.result, cu.check(uintptr(s), "cuGraphExecUpdate")
}

// GraphUpload puts a graph onto its device ahead of its first launch.
func (cu *API) GraphUpload(x GraphExec, s Stream) error {
	return cu.check(cu.f.GraphUpload.Call(uintptr(x), uintptr(s)), "cuGraphUpload")
}

func (cu *API) GraphLaunch(x GraphExec, s Stream) error {
	return cu.check(cu.f.GraphLaunch.Fast(uintptr(x), uintptr(s)), "cuGraphLaunch")
}

func (cu *API) GraphExecDestroy(x GraphExec) error {
	return cu.check(cu.f.GraphExecDestroy.Call(uintptr(x)), "cuGraphExecDestroy")
}

func (cu *API) GraphDestroy(g Graph) error {
	return cu.check(cu.f.GraphDestroy.Call(uintptr(g)), "cuGraphDestroy")
}

// ProfilerStart and ProfilerStop bound what a profiler records that was told to wait for them.
func (cu *API) ProfilerStart() error {
	return cu.check(cu.f.ProfilerStart.Call(), "cuProfilerStart")
}

func (cu *API) ProfilerStop() error {
	return cu.check(cu.f.ProfilerStop.Call(), "cuProfilerStop")
}

// UUID tells devices apart, on any machine.
type UUID [16]byte

// String is of the form GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx; that of a MIG device
// begins with MIG- in what NVIDIA's tools print, which the UUID does not tell.
func (u UUID) String() string {
	return fmt.Sprintf("GPU-%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// ErrorText is the name of a status, and what the driver says that it means.
func (cu *API) ErrorText(r Result) (name, text string) {
	var p uintptr
	if Result(cu.f.GetErrorName.Call(dl.Int(int(r)), uintptr(unsafe.Pointer(&p)))) == Success {
		name = dl.String(p)
	}
	p = 0
	if Result(cu.f.GetErrorString.Call(dl.Int(int(r)), uintptr(unsafe.Pointer(&p)))) == Success {
		text = dl.String(p)
	}
	if name == "" {
		name = r.String()
	}
	return name, text
}

// ready is check for functions that say by a status that work is not done.
func (cu *API) ready(s uintptr, call string) (bool, error) {
	if Result(s) == NotReady {
		return false, nil
	}
	return Result(s) == Success, cu.check(s, call)
}

func (cu *API) check(s uintptr, call string) error {
	if Result(s) == Success {
		return nil
	}
	return cu.failed(Result(s), call)
}

func (cu *API) failed(r Result, doing string) error {
	if r == dl.Missing {
		v, _ := cu.DriverGetVersion()
		return &Error{Result: NotSupported, Doing: doing, Name: NotSupported.String(),
			Text: fmt.Sprintf("the driver, which serves CUDA %d.%d, does not have the function", v/1000, v%1000/10)}
	}
	name, text := cu.ErrorText(r)
	return &Error{Result: r, Doing: doing, Name: name, Text: text}
}
