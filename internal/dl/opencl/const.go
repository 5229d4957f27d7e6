package opencl

import "fmt"

// Info names something that can be asked for.
type Info uint32

// What can be asked of platforms.
const (
	PlatformVersion    Info = 0x0901
	PlatformName       Info = 0x0902
	PlatformVendor     Info = 0x0903
	PlatformExtensions Info = 0x0904
)

// What can be asked of devices. Those of versions after 1.2 are an error on devices that
// are older.
const (
	DeviceKind                       Info = 0x1000 // DeviceType
	DeviceVendorID                   Info = 0x1001
	DeviceMaxComputeUnits            Info = 0x1002
	DeviceMaxWorkGroupSize           Info = 0x1004
	DeviceMaxWorkItemSizes           Info = 0x1005
	DevicePreferredVectorWidthFloat  Info = 0x100A
	DeviceMaxClockFrequency          Info = 0x100C // MHz
	DeviceMaxMemAllocSize            Info = 0x1010
	DeviceMaxParameterSize           Info = 0x1017
	DeviceMemBaseAddrAlign           Info = 0x1019 // bits
	DeviceGlobalMemCacheSize         Info = 0x101E
	DeviceGlobalMemSize              Info = 0x101F
	DeviceMaxConstantBufferSize      Info = 0x1020
	DeviceLocalMemType               Info = 0x1022 // 1 memory of its own, 2 global memory
	DeviceLocalMemSize               Info = 0x1023
	DeviceProfilingTimerResolution   Info = 0x1025 // ns
	DeviceAvailable                  Info = 0x1027
	DeviceCompilerAvailable          Info = 0x1028
	DeviceName                       Info = 0x102B
	DeviceVendor                     Info = 0x102C
	DriverVersion                    Info = 0x102D
	DeviceVersionText                Info = 0x102F
	DeviceExtensionsText             Info = 0x1030
	DevicePlatform                   Info = 0x1031
	DeviceDoubleFPConfig             Info = 0x1032 // 0 without double
	DeviceHalfFPConfig               Info = 0x1033 // 0 without arithmetic of half
	DeviceHostUnifiedMemory          Info = 0x1035
	DeviceOpenCLCVersion             Info = 0x103D
	DeviceSVMCapabilities            Info = 0x1053 // 2.0
	DeviceMaxNumSubGroups            Info = 0x105C // 2.1
	DevicePCIBusInfoKHR              Info = 0x410F // cl_khr_pci_bus_info: domain, bus, device, function as uint32
	DeviceUUIDKHR                    Info = 0x106A // cl_khr_device_uuid
	DeviceWarpSizeNV                 Info = 0x4003 // cl_nv_device_attribute_query
	DeviceComputeCapabilityMajorNV   Info = 0x4000
	DeviceComputeCapabilityMinorNV   Info = 0x4001
	DeviceBoardNameAMD               Info = 0x4038 // cl_amd_device_attribute_query
	DeviceGlobalFreeMemoryAMD        Info = 0x4039 // KiB, size_t each
	DeviceWavefrontWidthAMD          Info = 0x4043
	DeviceSubGroupSizesIntel         Info = 0x4108 // cl_intel_required_subgroup_size
	DevicePreferredWorkGroupMultiple Info = 0x1067 // 3.0
)

// What can be asked of buffers and of kernels on a device.
const (
	MemSize                              Info = 0x1102
	MemReferenceCount                    Info = 0x1105
	KernelWorkGroupSize                  Info = 0x11B0
	KernelLocalMemSize                   Info = 0x11B2
	KernelPreferredWorkGroupSizeMultiple Info = 0x11B3
	KernelPrivateMemSize                 Info = 0x11B4
)

// DeviceType is a set of kinds of devices.
type DeviceType uint64

const (
	DeviceCPU         DeviceType = 1 << 1
	DeviceGPU         DeviceType = 1 << 2
	DeviceAccelerator DeviceType = 1 << 3
	DeviceAll         DeviceType = 0xFFFFFFFF
)

// QueueProperties is a set of what a queue can be.
type QueueProperties uint64

const (
	OutOfOrder      QueueProperties = 1 << 0
	ProfilingEnable QueueProperties = 1 << 1
)

// MemFlags is a set of what a buffer can be.
type MemFlags uint64

const (
	ReadWrite    MemFlags = 1 << 0
	WriteOnly    MemFlags = 1 << 1
	ReadOnly     MemFlags = 1 << 2
	UseHostPtr   MemFlags = 1 << 3
	AllocHostPtr MemFlags = 1 << 4 // memory that both the host and the device see: pinned, for staging
	CopyHostPtr  MemFlags = 1 << 5
)

// MapFlags is a set of what a mapping is for.
type MapFlags uint64

const (
	MapRead            MapFlags = 1 << 0
	MapWrite           MapFlags = 1 << 1
	MapWriteInvalidate MapFlags = 1 << 2
)

// ExecutionStatus is how far a command is.
type ExecutionStatus int32

const (
	Complete ExecutionStatus = iota
	Running
	Submitted
	Queued
)

// ProfilingInfo is a time in a command's life.
type ProfilingInfo uint32

const (
	ProfilingQueued ProfilingInfo = 0x1280 + iota
	ProfilingSubmit
	ProfilingStart
	ProfilingEnd
)

// Status is what functions return.
type Status int32

const (
	Success                    Status = 0
	DeviceNotFound             Status = -1
	CompilerNotAvailable       Status = -3
	MemObjectAllocationFailure Status = -4
	OutOfResources             Status = -5
	OutOfHostMemory            Status = -6
	BuildProgramFailure        Status = -11
	InvalidValue               Status = -30
	InvalidBinary              Status = -42
	InvalidBufferSize          Status = -61
	PlatformNotFound           Status = -1001 // of the library that hands out platforms
)

var statusNames = map[Status]string{
	0: "CL_SUCCESS", -1: "CL_DEVICE_NOT_FOUND", -2: "CL_DEVICE_NOT_AVAILABLE", -3: "CL_COMPILER_NOT_AVAILABLE",
	-4: "CL_MEM_OBJECT_ALLOCATION_FAILURE", -5: "CL_OUT_OF_RESOURCES", -6: "CL_OUT_OF_HOST_MEMORY", -7: "CL_PROFILING_INFO_NOT_AVAILABLE",
	-8: "CL_MEM_COPY_OVERLAP", -9: "CL_IMAGE_FORMAT_MISMATCH", -10: "CL_IMAGE_FORMAT_NOT_SUPPORTED", -11: "CL_BUILD_PROGRAM_FAILURE",
	-12: "CL_MAP_FAILURE", -13: "CL_MISALIGNED_SUB_BUFFER_OFFSET", -14: "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
	-15: "CL_COMPILE_PROGRAM_FAILURE", -16: "CL_LINKER_NOT_AVAILABLE", -17: "CL_LINK_PROGRAM_FAILURE", -18: "CL_DEVICE_PARTITION_FAILED",
	-19: "CL_KERNEL_ARG_INFO_NOT_AVAILABLE", -30: "CL_INVALID_VALUE", -31: "CL_INVALID_DEVICE_TYPE", -32: "CL_INVALID_PLATFORM",
	-33: "CL_INVALID_DEVICE", -34: "CL_INVALID_CONTEXT", -35: "CL_INVALID_QUEUE_PROPERTIES", -36: "CL_INVALID_COMMAND_QUEUE",
	-37: "CL_INVALID_HOST_PTR", -38: "CL_INVALID_MEM_OBJECT", -39: "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR", -40: "CL_INVALID_IMAGE_SIZE",
	-41: "CL_INVALID_SAMPLER", -42: "CL_INVALID_BINARY", -43: "CL_INVALID_BUILD_OPTIONS", -44: "CL_INVALID_PROGRAM",
	-45: "CL_INVALID_PROGRAM_EXECUTABLE", -46: "CL_INVALID_KERNEL_NAME", -47: "CL_INVALID_KERNEL_DEFINITION", -48: "CL_INVALID_KERNEL",
	-49: "CL_INVALID_ARG_INDEX", -50: "CL_INVALID_ARG_VALUE", -51: "CL_INVALID_ARG_SIZE", -52: "CL_INVALID_KERNEL_ARGS",
	-53: "CL_INVALID_WORK_DIMENSION", -54: "CL_INVALID_WORK_GROUP_SIZE", -55: "CL_INVALID_WORK_ITEM_SIZE", -56: "CL_INVALID_GLOBAL_OFFSET",
	-57: "CL_INVALID_EVENT_WAIT_LIST", -58: "CL_INVALID_EVENT", -59: "CL_INVALID_OPERATION", -60: "CL_INVALID_GL_OBJECT",
	-61: "CL_INVALID_BUFFER_SIZE", -62: "CL_INVALID_MIP_LEVEL", -63: "CL_INVALID_GLOBAL_WORK_SIZE", -64: "CL_INVALID_PROPERTY",
	-65: "CL_INVALID_IMAGE_DESCRIPTOR", -66: "CL_INVALID_COMPILER_OPTIONS", -67: "CL_INVALID_LINKER_OPTIONS",
	-68: "CL_INVALID_DEVICE_PARTITION_COUNT", -69: "CL_INVALID_PIPE_SIZE", -70: "CL_INVALID_DEVICE_QUEUE", -71: "CL_INVALID_SPEC_ID",
	-72: "CL_MAX_SIZE_RESTRICTION_EXCEEDED", -1001: "CL_PLATFORM_NOT_FOUND_KHR", -9999: "a status of NVIDIA's driver for memory accessed out of bounds",
}

// String is the status's name in C.
func (s Status) String() string {
	if name, ok := statusNames[s]; ok {
		return name
	}
	return fmt.Sprintf("OpenCL status %d", int32(s))
}

// Error is a call that has failed.
type Error struct {
	Status Status
	Doing  string // the function, with what it was called on where that says more
}

func (e *Error) Error() string {
	return fmt.Sprintf("opencl: %s: %v (%d)", e.Doing, e.Status, int32(e.Status))
}

// OutOfMemory tells whether a status may mean that the device's memory is used up.
func (s Status) OutOfMemory() bool {
	return s == MemObjectAllocationFailure || s == OutOfResources || s == InvalidBufferSize
}
