package cuda

import "fmt"

// DeviceAttribute is CUdevice_attribute.
type DeviceAttribute int32

const (
	MaxThreadsPerBlock          DeviceAttribute = 1
	MaxGridDimY                 DeviceAttribute = 6
	MaxSharedMemoryPerBlock     DeviceAttribute = 8
	WarpSize                    DeviceAttribute = 10
	ClockRate                   DeviceAttribute = 13 // kHz
	MultiprocessorCount         DeviceAttribute = 16
	KernelExecTimeout           DeviceAttribute = 17
	Integrated                  DeviceAttribute = 18
	ComputeMode                 DeviceAttribute = 20 // 0 default, 2 prohibited, 3 one process
	ECCEnabled                  DeviceAttribute = 32
	PCIBusID                    DeviceAttribute = 33
	PCIDeviceID                 DeviceAttribute = 34
	MemoryClockRate             DeviceAttribute = 36 // kHz
	GlobalMemoryBusWidth        DeviceAttribute = 37 // bits
	L2CacheSize                 DeviceAttribute = 38
	MaxThreadsPerMultiprocessor DeviceAttribute = 39
	AsyncEngineCount            DeviceAttribute = 40
	UnifiedAddressing           DeviceAttribute = 41
	PCIDomainID                 DeviceAttribute = 50
	ComputeCapabilityMajor      DeviceAttribute = 75
	ComputeCapabilityMinor      DeviceAttribute = 76
	MaxSharedPerMultiprocessor  DeviceAttribute = 81
	MaxRegsPerMultiprocessor    DeviceAttribute = 82
	ManagedMemory               DeviceAttribute = 83
	CooperativeLaunch           DeviceAttribute = 95
	MaxSharedPerBlockOptin      DeviceAttribute = 97
	VirtualMemoryManagement     DeviceAttribute = 102
	MaxBlocksPerMultiprocessor  DeviceAttribute = 106
	MemoryPoolsSupported        DeviceAttribute = 115
	ClusterLaunch               DeviceAttribute = 120
	TensorMapAccess             DeviceAttribute = 127
)

// CtxFlags say how a thread waits for a device.
type CtxFlags uint32

const (
	ScheduleAuto         CtxFlags = 0
	ScheduleSpin         CtxFlags = 1
	ScheduleYield        CtxFlags = 2
	ScheduleBlockingSync CtxFlags = 4
)

// HostFlags say what pinned memory is.
type HostFlags uint32

const (
	HostPortable      HostFlags = 1 // pinned for every context
	HostDeviceMap     HostFlags = 2
	HostWriteCombined HostFlags = 4 // of MemHostAlloc only; slow to read
)

// MemPoolAttribute is CUmemPool_attribute.
type MemPoolAttribute uint32

const (
	PoolReleaseThreshold MemPoolAttribute = 4 // bytes that a pool keeps when it synchronises
	PoolReservedCurrent  MemPoolAttribute = 5
	PoolReservedHigh     MemPoolAttribute = 6
	PoolUsedCurrent      MemPoolAttribute = 7
	PoolUsedHigh         MemPoolAttribute = 8
)

// CaptureMode says which calls of other threads a capture forbids.
type CaptureMode uint32

const (
	CaptureGlobal      CaptureMode = 0
	CaptureThreadLocal CaptureMode = 1
	CaptureRelaxed     CaptureMode = 2
)

// CaptureStatus is CUstreamCaptureStatus.
type CaptureStatus int32

const (
	CaptureNone CaptureStatus = iota
	CaptureActive
	CaptureInvalidated
)

// EventFlags say what an event can do.
type EventFlags uint32

const (
	EventDefault       EventFlags = 0 // takes the time
	EventBlockingSync  EventFlags = 1 // EventSynchronize sleeps
	EventDisableTiming EventFlags = 2
)

// FunctionAttribute is CUfunction_attribute.
type FunctionAttribute int32

const (
	FuncMaxThreadsPerBlock      FunctionAttribute = 0
	FuncSharedBytes             FunctionAttribute = 1
	FuncLocalBytes              FunctionAttribute = 3
	FuncNumRegs                 FunctionAttribute = 4
	FuncPTXVersion              FunctionAttribute = 5
	FuncBinaryVersion           FunctionAttribute = 6
	FuncMaxDynamicSharedBytes   FunctionAttribute = 8
	FuncPreferredSharedCarveout FunctionAttribute = 9 // percent
)

// InstantiateFlags say how a graph is made ready.
type InstantiateFlags uint64

const (
	AutoFreeOnLaunch InstantiateFlags = 1
)

// NodeType is CUgraphNodeType.
type NodeType int32

const (
	NodeKernel NodeType = 0
	NodeMemcpy NodeType = 1
	NodeMemset NodeType = 2
	NodeHost   NodeType = 3
	NodeEmpty  NodeType = 5
)

// UpdateResult is CUgraphExecUpdateResult, why a graph could not be updated.
type UpdateResult uint32

var updateNames = [...]string{
	"nothing", "an unexpected error", "the graphs differ in their nodes or edges", "a node is of another type", "a kernel's function is another",
	"parameters have changed that cannot be", "a node cannot be updated", "a kernel's function has changed in a way that is not supported", "attributes have changed",
}

func (u UpdateResult) String() string {
	if int(u) < len(updateNames) {
		return updateNames[u]
	}
	return fmt.Sprintf("CUgraphExecUpdateResult %d", uint32(u))
}

// Result is CUresult, what functions return.
type Result int32

const (
	Success                Result = 0
	InvalidValue           Result = 1
	OutOfMemory            Result = 2
	NotInitialized         Result = 3
	Deinitialized          Result = 4
	StubLibrary            Result = 34
	DeviceUnavailable      Result = 46
	NoDevice               Result = 100
	InvalidDevice          Result = 101
	InvalidImage           Result = 200
	InvalidContext         Result = 201
	NoBinaryForGPU         Result = 209
	ECCUncorrectable       Result = 214
	InvalidPTX             Result = 218
	JITCompilerNotFound    Result = 221
	UnsupportedPTXVersion  Result = 222
	InvalidHandle          Result = 400
	NotFound               Result = 500
	NotReady               Result = 600
	IllegalAddress         Result = 700
	LaunchOutOfResources   Result = 701
	LaunchTimeout          Result = 702
	HardwareStackError     Result = 714
	IllegalInstruction     Result = 715
	MisalignedAddress      Result = 716
	LaunchFailed           Result = 719
	NotPermitted           Result = 800
	NotSupported           Result = 801
	SystemNotReady         Result = 802
	SystemDriverMismatch   Result = 803
	CompatNotSupported     Result = 804
	CaptureUnsupported     Result = 900
	CaptureInvalid         Result = 901
	GraphExecUpdateFailure Result = 910
	Unknown                Result = 999
)

var resultNames = map[Result]string{
	0: "CUDA_SUCCESS", 1: "CUDA_ERROR_INVALID_VALUE", 2: "CUDA_ERROR_OUT_OF_MEMORY", 3: "CUDA_ERROR_NOT_INITIALIZED",
	4: "CUDA_ERROR_DEINITIALIZED", 5: "CUDA_ERROR_PROFILER_DISABLED", 6: "CUDA_ERROR_PROFILER_NOT_INITIALIZED",
	7: "CUDA_ERROR_PROFILER_ALREADY_STARTED", 8: "CUDA_ERROR_PROFILER_ALREADY_STOPPED", 34: "CUDA_ERROR_STUB_LIBRARY",
	36: "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER", 46: "CUDA_ERROR_DEVICE_UNAVAILABLE", 100: "CUDA_ERROR_NO_DEVICE",
	101: "CUDA_ERROR_INVALID_DEVICE", 102: "CUDA_ERROR_DEVICE_NOT_LICENSED", 200: "CUDA_ERROR_INVALID_IMAGE",
	201: "CUDA_ERROR_INVALID_CONTEXT", 202: "CUDA_ERROR_CONTEXT_ALREADY_CURRENT", 205: "CUDA_ERROR_MAP_FAILED",
	206: "CUDA_ERROR_UNMAP_FAILED", 207: "CUDA_ERROR_ARRAY_IS_MAPPED", 208: "CUDA_ERROR_ALREADY_MAPPED",
	209: "CUDA_ERROR_NO_BINARY_FOR_GPU", 210: "CUDA_ERROR_ALREADY_ACQUIRED", 211: "CUDA_ERROR_NOT_MAPPED",
	212: "CUDA_ERROR_NOT_MAPPED_AS_ARRAY", 213: "CUDA_ERROR_NOT_MAPPED_AS_POINTER", 214: "CUDA_ERROR_ECC_UNCORRECTABLE",
	215: "CUDA_ERROR_UNSUPPORTED_LIMIT", 216: "CUDA_ERROR_CONTEXT_ALREADY_IN_USE",
	217: "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", 218: "CUDA_ERROR_INVALID_PTX",
	219: "CUDA_ERROR_INVALID_GRAPHICS_CONTEXT", 220: "CUDA_ERROR_NVLINK_UNCORRECTABLE",
	221: "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", 222: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
	223: "CUDA_ERROR_JIT_COMPILATION_DISABLED", 224: "CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY",
	225: "CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC", 226: "CUDA_ERROR_CONTAINED", 300: "CUDA_ERROR_INVALID_SOURCE",
	301: "CUDA_ERROR_FILE_NOT_FOUND", 302: "CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND",
	303: "CUDA_ERROR_SHARED_OBJECT_INIT_FAILED", 304: "CUDA_ERROR_OPERATING_SYSTEM", 400: "CUDA_ERROR_INVALID_HANDLE",
	401: "CUDA_ERROR_ILLEGAL_STATE", 402: "CUDA_ERROR_LOSSY_QUERY", 500: "CUDA_ERROR_NOT_FOUND",
	600: "CUDA_ERROR_NOT_READY", 700: "CUDA_ERROR_ILLEGAL_ADDRESS", 701: "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
	702: "CUDA_ERROR_LAUNCH_TIMEOUT", 703: "CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING",
	704: "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", 705: "CUDA_ERROR_PEER_ACCESS_NOT_ENABLED",
	708: "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", 709: "CUDA_ERROR_CONTEXT_IS_DESTROYED", 710: "CUDA_ERROR_ASSERT",
	711: "CUDA_ERROR_TOO_MANY_PEERS", 712: "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
	713: "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", 714: "CUDA_ERROR_HARDWARE_STACK_ERROR",
	715: "CUDA_ERROR_ILLEGAL_INSTRUCTION", 716: "CUDA_ERROR_MISALIGNED_ADDRESS",
	717: "CUDA_ERROR_INVALID_ADDRESS_SPACE", 718: "CUDA_ERROR_INVALID_PC", 719: "CUDA_ERROR_LAUNCH_FAILED",
	720: "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", 721: "CUDA_ERROR_TENSOR_MEMORY_LEAK",
	800: "CUDA_ERROR_NOT_PERMITTED", 801: "CUDA_ERROR_NOT_SUPPORTED", 802: "CUDA_ERROR_SYSTEM_NOT_READY",
	803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", 804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
	805: "CUDA_ERROR_MPS_CONNECTION_FAILED", 806: "CUDA_ERROR_MPS_RPC_FAILURE", 807: "CUDA_ERROR_MPS_SERVER_NOT_READY",
	808: "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", 809: "CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED",
	810: "CUDA_ERROR_MPS_CLIENT_TERMINATED", 811: "CUDA_ERROR_CDP_NOT_SUPPORTED",
	812: "CUDA_ERROR_CDP_VERSION_MISMATCH", 900: "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
	901: "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", 902: "CUDA_ERROR_STREAM_CAPTURE_MERGE",
	903: "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", 904: "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
	905: "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", 906: "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
	907: "CUDA_ERROR_CAPTURED_EVENT", 908: "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", 909: "CUDA_ERROR_TIMEOUT",
	910: "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", 911: "CUDA_ERROR_EXTERNAL_DEVICE",
	912: "CUDA_ERROR_INVALID_CLUSTER_SIZE", 913: "CUDA_ERROR_FUNCTION_NOT_LOADED",
	914: "CUDA_ERROR_INVALID_RESOURCE_TYPE", 915: "CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION",
	916: "CUDA_ERROR_KEY_ROTATION", 917: "CUDA_ERROR_STREAM_DETACHED", 999: "CUDA_ERROR_UNKNOWN",
}

// String is the status's name in C.
func (r Result) String() string {
	if name, ok := resultNames[r]; ok {
		return name
	}
	return fmt.Sprintf("CUresult %d", int32(r))
}

// Poisons tells whether the context is lost after a status: every later call fails with it,
// and memory of the device cannot be read any more.
func (r Result) Poisons() bool {
	switch r {
	case ECCUncorrectable, 220, 226, IllegalAddress, LaunchTimeout, 710, HardwareStackError, IllegalInstruction, MisalignedAddress, 717, 718, LaunchFailed, 721:
		return true
	}
	return false
}

// Remedy is what can be done about a status, empty if nothing is known.
func (r Result) Remedy() string {
	switch r {
	case OutOfMemory:
		return "free memory of the device, or take a smaller batch"
	case StubLibrary:
		return "the library is a toolkit's stub for linking: take its folder out of LD_LIBRARY_PATH, and install the driver"
	case DeviceUnavailable:
		return "another process has the device to itself: nvidia-smi shows its compute mode"
	case NoDevice:
		return "there is no device that the driver sees: look at CUDA_VISIBLE_DEVICES, and at what nvidia-smi says"
	case NoBinaryForGPU, UnsupportedPTXVersion:
		return "the driver is older than what compiled the kernel: install a newer driver, or an older NVRTC"
	case JITCompilerNotFound:
		return "the driver's compiler of PTX, libnvidia-ptxjitcompiler, is not installed"
	case SystemNotReady:
		return "start the fabric manager, nvidia-fabricmanager, which this machine's NVSwitch needs"
	case SystemDriverMismatch, CompatNotSupported:
		return "the driver in the kernel and its library are of different versions: restart the machine after an update of the driver"
	case NotInitialized, Unknown:
		return "the driver may not be loaded: look at what nvidia-smi says"
	}
	return ""
}

// Error is a call that has failed.
type Error struct {
	Result Result
	Doing  string // the function, with what it was called on where that says more
	Name   string // of the status in C
	Text   string // what the driver says it means
}

func (e *Error) Error() string {
	s := fmt.Sprintf("cuda: %s: %s (%d)", e.Doing, e.Name, int32(e.Result))
	if e.Text != "" {
		s += ": " + e.Text
	}
	if r := e.Result.Remedy(); r != "" {
		s += "; " + r
	}
	return s
}
