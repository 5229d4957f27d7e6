// Package nvml binds NVML, which tells of NVIDIA's devices what the driver measures: memory,
// power, clocks, temperature, errors, the state of MIG. Names are those of the C API without
// their nvml; results are returned, and statuses are errors.
//
// Not every device tells everything: an integrated one has no power, a MIG device no
// utilisation of its own. That is an error for which IsUnsupported is true, and never a
// zero. Units are those of the C API, and stand at the functions.
package nvml

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
)

// Handles of the API.
type (
	Device   uintptr // a device, or a MIG device
	EventSet uintptr
)

// API is the functions of one NVML library.
type API struct {
	path string
	f    functions
}

type functions struct {
	Init                           dl.Func `c:"nvmlInit_v2"`
	Shutdown                       dl.Func `c:"nvmlShutdown"`
	ErrorString                    dl.Func `c:"nvmlErrorString"`
	SystemGetDriverVersion         dl.Func `c:"nvmlSystemGetDriverVersion"`
	SystemGetNVMLVersion           dl.Func `c:"nvmlSystemGetNVMLVersion"`
	SystemGetCudaDriverVersion     dl.Func `c:"nvmlSystemGetCudaDriverVersion_v2 nvmlSystemGetCudaDriverVersion,optional"`
	DeviceGetCount                 dl.Func `c:"nvmlDeviceGetCount_v2"`
	DeviceGetHandleByIndex         dl.Func `c:"nvmlDeviceGetHandleByIndex_v2"`
	DeviceGetHandleByUUID          dl.Func `c:"nvmlDeviceGetHandleByUUID"`
	DeviceGetHandleByPciBusId      dl.Func `c:"nvmlDeviceGetHandleByPciBusId_v2"`
	DeviceGetName                  dl.Func `c:"nvmlDeviceGetName"`
	DeviceGetUUID                  dl.Func `c:"nvmlDeviceGetUUID"`
	DeviceGetPciInfo               dl.Func `c:"nvmlDeviceGetPciInfo_v3,optional"`
	DeviceGetCudaComputeCapability dl.Func `c:"nvmlDeviceGetCudaComputeCapability,optional"`
	DeviceGetMinorNumber           dl.Func `c:"nvmlDeviceGetMinorNumber,optional"`
	DeviceGetUtilizationRates      dl.Func `c:"nvmlDeviceGetUtilizationRates"`
	DeviceGetMemoryInfo            dl.Func `c:"nvmlDeviceGetMemoryInfo"`
	DeviceGetMemoryInfoV2          dl.Func `c:"nvmlDeviceGetMemoryInfo_v2,optional"`
	DeviceGetPowerUsage            dl.Func `c:"nvmlDeviceGetPowerUsage"`
	DeviceGetTotalEnergy           dl.Func `c:"nvmlDeviceGetTotalEnergyConsumption,optional"`
	DeviceGetPowerManagementLimit  dl.Func `c:"nvmlDeviceGetPowerManagementLimit"`
	DeviceGetEnforcedPowerLimit    dl.Func `c:"nvmlDeviceGetEnforcedPowerLimit"`
	DeviceGetPowerConstraints      dl.Func `c:"nvmlDeviceGetPowerManagementLimitConstraints"`
	DeviceGetDefaultPowerLimit     dl.Func `c:"nvmlDeviceGetPowerManagementDefaultLimit,optional"`
	DeviceSetPowerLimit            dl.Func `c:"nvmlDeviceSetPowerManagementLimit,optional"`
	DeviceGetClockInfo             dl.Func `c:"nvmlDeviceGetClockInfo"`
	DeviceGetMaxClockInfo          dl.Func `c:"nvmlDeviceGetMaxClockInfo"`
	DeviceGetTemperature           dl.Func `c:"nvmlDeviceGetTemperature"`
	DeviceGetTemperatureThreshold  dl.Func `c:"nvmlDeviceGetTemperatureThreshold"`
	DeviceGetPcieThroughput        dl.Func `c:"nvmlDeviceGetPcieThroughput,optional"`
	DeviceGetCurrPcieGeneration    dl.Func `c:"nvmlDeviceGetCurrPcieLinkGeneration,optional"`
	DeviceGetCurrPcieWidth         dl.Func `c:"nvmlDeviceGetCurrPcieLinkWidth,optional"`
	DeviceGetMaxPcieGeneration     dl.Func `c:"nvmlDeviceGetMaxPcieLinkGeneration,optional"`
	DeviceGetMaxPcieWidth          dl.Func `c:"nvmlDeviceGetMaxPcieLinkWidth,optional"`
	DeviceGetPersistenceMode       dl.Func `c:"nvmlDeviceGetPersistenceMode,optional"`
	DeviceGetClocksEventReasons    dl.Func `c:"nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons,optional"`
	DeviceGetComputeProcesses      dl.Func `c:"nvmlDeviceGetComputeRunningProcesses_v3,optional"`
	DeviceGetFieldValues           dl.Func `c:"nvmlDeviceGetFieldValues,optional"`
	DeviceGetEccMode               dl.Func `c:"nvmlDeviceGetEccMode,optional"`
	DeviceGetTotalEccErrors        dl.Func `c:"nvmlDeviceGetTotalEccErrors,optional"`
	EventSetCreate                 dl.Func `c:"nvmlEventSetCreate,optional"`
	DeviceGetSupportedEventTypes   dl.Func `c:"nvmlDeviceGetSupportedEventTypes,optional"`
	DeviceRegisterEvents           dl.Func `c:"nvmlDeviceRegisterEvents,optional"`
	EventSetWait                   dl.Func `c:"nvmlEventSetWait_v2,optional"`
	EventSetFree                   dl.Func `c:"nvmlEventSetFree,optional"`
	DeviceGetMigMode               dl.Func `c:"nvmlDeviceGetMigMode,optional"`
	DeviceIsMigDeviceHandle        dl.Func `c:"nvmlDeviceIsMigDeviceHandle,optional"`
	DeviceGetGpuInstanceId         dl.Func `c:"nvmlDeviceGetGpuInstanceId,optional"`
	DeviceGetComputeInstanceId     dl.Func `c:"nvmlDeviceGetComputeInstanceId,optional"`
	DeviceGetMaxMigDeviceCount     dl.Func `c:"nvmlDeviceGetMaxMigDeviceCount,optional"`
	DeviceGetMigDeviceByIndex      dl.Func `c:"nvmlDeviceGetMigDeviceHandleByIndex,optional"`
	DeviceGetParent                dl.Func `c:"nvmlDeviceGetDeviceHandleFromMigDeviceHandle,optional"`
}

// New binds the functions of an open library.
func New(lib dl.Symbols) (*API, error) {
	ml := &API{path: lib.Path()}
	if err := dl.Bind(lib, &ml.f); err != nil {
		return nil, fmt.Errorf("nvml: %w", err)
	}
	return ml, nil
}

// Path is the library's file.
func (ml *API) Path() string { return ml.path }

// Init has to be called before everything else, and Shutdown once for every Init.
func (ml *API) Init() error { return ml.check(ml.f.Init.Call(), "nvmlInit") }

func (ml *API) Shutdown() error { return ml.check(ml.f.Shutdown.Call(), "nvmlShutdown") }

// SystemGetDriverVersion is the driver's, as 550.54.15.
func (ml *API) SystemGetDriverVersion() (string, error) {
	buf := make([]byte, 80)
	r := ml.f.SystemGetDriverVersion.Call(uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return dl.Text(buf), ml.check(r, "nvmlSystemGetDriverVersion")
}

func (ml *API) SystemGetNVMLVersion() (string, error) {
	buf := make([]byte, 80)
	r := ml.f.SystemGetNVMLVersion.Call(uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return dl.Text(buf), ml.check(r, "nvmlSystemGetNVMLVersion")
}

// SystemGetCudaDriverVersion is the newest CUDA that the driver serves, 13000 for 13.0.
func (ml *API) SystemGetCudaDriverVersion() (int, error) {
	v, err := ml.uint32(ml.f.SystemGetCudaDriverVersion, "nvmlSystemGetCudaDriverVersion")
	return int(v), err
}

func (ml *API) DeviceGetCount() (int, error) {
	n, err := ml.uint32(ml.f.DeviceGetCount, "nvmlDeviceGetCount")
	return int(n), err
}

// DeviceGetHandleByIndex counts in the order of PCI, and ignores CUDA_VISIBLE_DEVICES: its
// numbers are not CUDA's.
func (ml *API) DeviceGetHandleByIndex(i int) (Device, error) {
	var d Device
	r := ml.f.DeviceGetHandleByIndex.Call(dl.Int(i), uintptr(unsafe.Pointer(&d)))
	return d, ml.check(r, "nvmlDeviceGetHandleByIndex")
}

// DeviceGetHandleByUUID takes what begins with GPU- or MIG-.
func (ml *API) DeviceGetHandleByUUID(uuid string) (Device, error) {
	var d Device
	r := ml.f.DeviceGetHandleByUUID.Call(uintptr(unsafe.Pointer(dl.CString(uuid))), uintptr(unsafe.Pointer(&d)))
	return d, ml.check(r, "nvmlDeviceGetHandleByUUID of "+uuid)
}

// DeviceGetHandleByPciBusId takes domain:bus:device.function.
func (ml *API) DeviceGetHandleByPciBusId(id string) (Device, error) {
	var d Device
	r := ml.f.DeviceGetHandleByPciBusId.Call(uintptr(unsafe.Pointer(dl.CString(id))), uintptr(unsafe.Pointer(&d)))
	return d, ml.check(r, "nvmlDeviceGetHandleByPciBusId of "+id)
}

func (ml *API) DeviceGetName(d Device) (string, error) {
	buf := make([]byte, 96)
	r := ml.f.DeviceGetName.Call(uintptr(d), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return dl.Text(buf), ml.check(r, "nvmlDeviceGetName")
}

func (ml *API) DeviceGetUUID(d Device) (string, error) {
	buf := make([]byte, 96)
	r := ml.f.DeviceGetUUID.Call(uintptr(d), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return dl.Text(buf), ml.check(r, "nvmlDeviceGetUUID")
}

// pciInfo is nvmlPciInfo_t.
type pciInfo struct {
	legacy              [16]byte
	domain, bus, device uint32
	deviceID            uint32
	subsystemID         uint32
	busID               [32]byte
}

// DeviceGetPciBusId is of the form domain:bus:device.function.
func (ml *API) DeviceGetPciBusId(d Device) (string, error) {
	var p pciInfo
	r := ml.f.DeviceGetPciInfo.Call(uintptr(d), uintptr(unsafe.Pointer(&p)))
	return dl.Text(p.busID[:]), ml.check(r, "nvmlDeviceGetPciInfo")
}

func (ml *API) DeviceGetCudaComputeCapability(d Device) (major, minor int, err error) {
	a, b, err := ml.pair(ml.f.DeviceGetCudaComputeCapability, "nvmlDeviceGetCudaComputeCapability", d)
	return int(a), int(b), err
}

// DeviceGetMinorNumber is N of /dev/nvidiaN.
func (ml *API) DeviceGetMinorNumber(d Device) (int, error) {
	n, err := ml.uint32(ml.f.DeviceGetMinorNumber, "nvmlDeviceGetMinorNumber", uintptr(d))
	return int(n), err
}

// DeviceGetUtilizationRates is for how many percent of the last sample period, of between a
// sixth of a second and a second, any kernel ran, and memory was read or written.
func (ml *API) DeviceGetUtilizationRates(d Device) (gpu, memory int, err error) {
	var u [2]uint32
	r := ml.f.DeviceGetUtilizationRates.Call(uintptr(d), uintptr(unsafe.Pointer(&u)))
	return int(u[0]), int(u[1]), ml.check(r, "nvmlDeviceGetUtilizationRates")
}

// Memory is the bytes of a device. What the driver and the firmware keep is Reserved; an
// NVML before 510 counts it among Used.
type Memory struct{ Total, Reserved, Free, Used uint64 }

// memory2 is nvmlMemory_v2_t.
type memory2 struct {
	version uint32
	_       uint32
	Memory
}

// DeviceGetMemoryInfo asks the second version of the function, and the first where there is
// no second.
func (ml *API) DeviceGetMemoryInfo(d Device) (Memory, error) {
	m := memory2{version: uint32(unsafe.Sizeof(memory2{})) | 2<<24}
	r := Return(ml.f.DeviceGetMemoryInfoV2.Call(uintptr(d), uintptr(unsafe.Pointer(&m))))
	if r == Success {
		return m.Memory, nil
	}
	if r != dl.Missing && r != FunctionNotFound && r != ArgumentVersionMismatch {
		return Memory{}, ml.check(uintptr(r), "nvmlDeviceGetMemoryInfo")
	}
	var first [3]uint64 // total, free, used
	err := ml.check(ml.f.DeviceGetMemoryInfo.Call(uintptr(d), uintptr(unsafe.Pointer(&first))), "nvmlDeviceGetMemoryInfo")
	return Memory{Total: first[0], Free: first[1], Used: first[2]}, err
}

// DeviceGetPowerUsage is in milliwatts: the mean of a second on recent devices, what is
// drawn now on older ones. The field FieldPowerInstant is always the latter.
func (ml *API) DeviceGetPowerUsage(d Device) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetPowerUsage, "nvmlDeviceGetPowerUsage", uintptr(d))
	return int(v), err
}

// DeviceGetTotalEnergyConsumption is in millijoules since the driver was loaded.
func (ml *API) DeviceGetTotalEnergyConsumption(d Device) (uint64, error) {
	var v uint64
	r := ml.f.DeviceGetTotalEnergy.Call(uintptr(d), uintptr(unsafe.Pointer(&v)))
	return v, ml.check(r, "nvmlDeviceGetTotalEnergyConsumption")
}

// DeviceGetPowerManagementLimit is the limit that was set, in milliwatts.
func (ml *API) DeviceGetPowerManagementLimit(d Device) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetPowerManagementLimit, "nvmlDeviceGetPowerManagementLimit", uintptr(d))
	return int(v), err
}

// DeviceGetEnforcedPowerLimit is the least of all limits, in milliwatts.
func (ml *API) DeviceGetEnforcedPowerLimit(d Device) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetEnforcedPowerLimit, "nvmlDeviceGetEnforcedPowerLimit", uintptr(d))
	return int(v), err
}

// DeviceGetPowerManagementLimitConstraints is what limits can be set, in milliwatts.
func (ml *API) DeviceGetPowerManagementLimitConstraints(d Device) (least, greatest int, err error) {
	a, b, err := ml.pair(ml.f.DeviceGetPowerConstraints, "nvmlDeviceGetPowerManagementLimitConstraints", d)
	return int(a), int(b), err
}

// DeviceGetPowerManagementDefaultLimit is the limit of a device that nobody has set one for,
// in milliwatts.
func (ml *API) DeviceGetPowerManagementDefaultLimit(d Device) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetDefaultPowerLimit, "nvmlDeviceGetPowerManagementDefaultLimit", uintptr(d))
	return int(v), err
}

// DeviceSetPowerManagementLimit wants root, and milliwatts. It holds until the driver is
// unloaded.
func (ml *API) DeviceSetPowerManagementLimit(d Device, milliwatts int) error {
	return ml.check(ml.f.DeviceSetPowerLimit.Call(uintptr(d), dl.Int(milliwatts)), "nvmlDeviceSetPowerManagementLimit")
}

// DeviceGetClockInfo is in MHz.
func (ml *API) DeviceGetClockInfo(d Device, c Clock) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetClockInfo, "nvmlDeviceGetClockInfo", uintptr(d), uintptr(c))
	return int(v), err
}

// DeviceGetMaxClockInfo is in MHz.
func (ml *API) DeviceGetMaxClockInfo(d Device, c Clock) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetMaxClockInfo, "nvmlDeviceGetMaxClockInfo", uintptr(d), uintptr(c))
	return int(v), err
}

// DeviceGetTemperature is that of the chip, in degrees Celsius; FieldMemoryTemp is that of
// the memory.
func (ml *API) DeviceGetTemperature(d Device) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetTemperature, "nvmlDeviceGetTemperature", uintptr(d), 0)
	return int(v), err
}

// DeviceGetTemperatureThreshold is in degrees Celsius.
func (ml *API) DeviceGetTemperatureThreshold(d Device, t Threshold) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetTemperatureThreshold, "nvmlDeviceGetTemperatureThreshold", uintptr(d), uintptr(t))
	return int(v), err
}

// DeviceGetPcieThroughput is in kilobytes a second, over 20 ms that the call takes: sent by
// the device, or received by it.
func (ml *API) DeviceGetPcieThroughput(d Device, received bool) (int, error) {
	counter := uintptr(0)
	if received {
		counter = 1
	}
	v, err := ml.uint32(ml.f.DeviceGetPcieThroughput, "nvmlDeviceGetPcieThroughput", uintptr(d), counter)
	return int(v), err
}

// DeviceGetCurrPcieLink is the generation of PCI Express and the lanes that are in use; an idle
// device uses less than it could.
func (ml *API) DeviceGetCurrPcieLink(d Device) (generation, width int, err error) {
	return ml.link(ml.f.DeviceGetCurrPcieGeneration, ml.f.DeviceGetCurrPcieWidth, "nvmlDeviceGetCurrPcieLink", d)
}

// DeviceGetMaxPcieLink is what the device and the machine can do together.
func (ml *API) DeviceGetMaxPcieLink(d Device) (generation, width int, err error) {
	return ml.link(ml.f.DeviceGetMaxPcieGeneration, ml.f.DeviceGetMaxPcieWidth, "nvmlDeviceGetMaxPcieLink", d)
}

func (ml *API) link(generation, width dl.Func, call string, d Device) (int, int, error) {
	g, err := ml.uint32(generation, call+"Generation", uintptr(d))
	if err != nil {
		return 0, 0, err
	}
	w, err := ml.uint32(width, call+"Width", uintptr(d))
	return int(g), int(w), err
}

// DeviceGetPersistenceMode tells whether the driver keeps a device awake that nobody uses.
func (ml *API) DeviceGetPersistenceMode(d Device) (bool, error) {
	v, err := ml.uint32(ml.f.DeviceGetPersistenceMode, "nvmlDeviceGetPersistenceMode", uintptr(d))
	return v != 0, err
}

// DeviceGetCurrentClocksEventReasons is why clocks are lower than they could be.
func (ml *API) DeviceGetCurrentClocksEventReasons(d Device) (ClocksReasons, error) {
	var v ClocksReasons
	r := ml.f.DeviceGetClocksEventReasons.Call(uintptr(d), uintptr(unsafe.Pointer(&v)))
	return v, ml.check(r, "nvmlDeviceGetCurrentClocksEventReasons")
}

// Process is nvmlProcessInfo_t: a process that computes on a device.
type Process struct {
	PID             uint32
	_               uint32
	UsedMemory      uint64 // bytes; NotAvailable where the driver does not know
	GPUInstance     uint32 // of MIG; NoInstance without
	ComputeInstance uint32
}

const (
	NotAvailable = math.MaxUint64
	NoInstance   = math.MaxUint32
)

// DeviceGetComputeRunningProcesses is the processes with a context on a device. In a
// container, their numbers are those of the host.
func (ml *API) DeviceGetComputeRunningProcesses(d Device) ([]Process, error) {
	list := make([]Process, 16)
	for {
		n := uint32(len(list))
		r := Return(ml.f.DeviceGetComputeProcesses.Call(uintptr(d), uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&list[0]))))
		if r == InsufficientSize && len(list) < 1<<16 {
			list = make([]Process, max(2*len(list), int(n)+8))
			continue
		}
		if err := ml.check(uintptr(r), "nvmlDeviceGetComputeRunningProcesses"); err != nil {
			return nil, err
		}
		return list[:n], nil
	}
}

// Field is something that DeviceGetFieldValues can tell.
type Field uint32

// FieldValue is a field's value, or the error of that field alone.
type FieldValue struct {
	Value     float64
	Timestamp int64 // microseconds since 1970
	Err       error
}

// fieldValue is nvmlFieldValue_t.
type fieldValue struct {
	id, scope uint32
	timestamp int64
	latency   int64
	kind      uint32
	returned  Return
	value     uint64
}

// DeviceGetFieldValues asks for several fields at once. The scope is a link's number where a
// field wants one, and else 0.
func (ml *API) DeviceGetFieldValues(d Device, scope int, fields ...Field) ([]FieldValue, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	raw := make([]fieldValue, len(fields))
	for i, f := range fields {
		raw[i].id, raw[i].scope = uint32(f), uint32(scope)
	}
	r := ml.f.DeviceGetFieldValues.Call(uintptr(d), dl.Int(len(raw)), uintptr(unsafe.Pointer(&raw[0])))
	if err := ml.check(r, "nvmlDeviceGetFieldValues"); err != nil {
		return nil, err
	}
	values := make([]FieldValue, len(raw))
	for i, v := range raw {
		values[i].Timestamp = v.timestamp
		values[i].Value, values[i].Err = v.number()
		if v.returned != Success {
			values[i].Err = ml.check(uintptr(v.returned), fmt.Sprintf("nvmlDeviceGetFieldValues of field %d", v.id))
		}
	}
	return values, nil
}

// number reads the union by its type. Unsigned long is of 8 bytes everywhere but on Windows.
func (v *fieldValue) number() (float64, error) {
	switch v.kind {
	case 0:
		return math.Float64frombits(v.value), nil
	case 1:
		return float64(uint32(v.value)), nil
	case 2:
		if runtime.GOOS == "windows" {
			return float64(uint32(v.value)), nil
		}
		return float64(v.value), nil
	case 3:
		return float64(v.value), nil
	case 4:
		return float64(int64(v.value)), nil
	case 5:
		return float64(int32(v.value)), nil
	case 6:
		return float64(uint16(v.value)), nil
	}
	return 0, fmt.Errorf("nvml: field %d is of a type, %d, that is not known", v.id, v.kind)
}

// DeviceGetEccMode tells whether errors of memory are corrected, now and after a restart.
func (ml *API) DeviceGetEccMode(d Device) (current, pending bool, err error) {
	a, b, err := ml.pair(ml.f.DeviceGetEccMode, "nvmlDeviceGetEccMode", d)
	return a != 0, b != 0, err
}

// DeviceGetTotalEccErrors counts errors of memory: corrected or not, since the driver was
// loaded or in the device's life.
func (ml *API) DeviceGetTotalEccErrors(d Device, uncorrected, lifetime bool) (uint64, error) {
	word := func(b bool) uintptr {
		if b {
			return 1
		}
		return 0
	}
	var v uint64
	r := ml.f.DeviceGetTotalEccErrors.Call(uintptr(d), word(uncorrected), word(lifetime), uintptr(unsafe.Pointer(&v)))
	return v, ml.check(r, "nvmlDeviceGetTotalEccErrors")
}

func (ml *API) EventSetCreate() (EventSet, error) {
	var s EventSet
	r := ml.f.EventSetCreate.Call(uintptr(unsafe.Pointer(&s)))
	return s, ml.check(r, "nvmlEventSetCreate")
}

func (ml *API) DeviceGetSupportedEventTypes(d Device) (EventType, error) {
	var v EventType
	r := ml.f.DeviceGetSupportedEventTypes.Call(uintptr(d), uintptr(unsafe.Pointer(&v)))
	return v, ml.check(r, "nvmlDeviceGetSupportedEventTypes")
}

// DeviceRegisterEvents adds events of a device to a set.
func (ml *API) DeviceRegisterEvents(d Device, types EventType, s EventSet) error {
	return ml.check(ml.f.DeviceRegisterEvents.Call(uintptr(d), uintptr(types), uintptr(s)), "nvmlDeviceRegisterEvents")
}

// Event is nvmlEventData_t: something that has happened.
type Event struct {
	Device          Device
	Type            EventType
	Data            uint64 // of EventXID: its number, 999 if it is not known
	GPUInstance     uint32
	ComputeInstance uint32
}

// EventSetWait waits for an event; happened is false if none came in that time.
func (ml *API) EventSetWait(s EventSet, milliseconds int) (e Event, happened bool, err error) {
	r := ml.f.EventSetWait.Call(uintptr(s), uintptr(unsafe.Pointer(&e)), dl.Int(milliseconds))
	if Return(r) == Timeout {
		return Event{}, false, nil
	}
	return e, Return(r) == Success, ml.check(r, "nvmlEventSetWait")
}

func (ml *API) EventSetFree(s EventSet) error {
	return ml.check(ml.f.EventSetFree.Call(uintptr(s)), "nvmlEventSetFree")
}

// DeviceGetMigMode tells whether a device is cut into MIG devices, now and after a reset.
// That a device cannot be is an error for which IsUnsupported is true.
func (ml *API) DeviceGetMigMode(d Device) (current, pending bool, err error) {
	a, b, err := ml.pair(ml.f.DeviceGetMigMode, "nvmlDeviceGetMigMode", d)
	return a != 0, b != 0, err
}

// DeviceIsMigDeviceHandle tells whether a handle is of a MIG device.
func (ml *API) DeviceIsMigDeviceHandle(d Device) (bool, error) {
	v, err := ml.uint32(ml.f.DeviceIsMigDeviceHandle, "nvmlDeviceIsMigDeviceHandle", uintptr(d))
	return v != 0, err
}

func (ml *API) DeviceGetGpuInstanceId(mig Device) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetGpuInstanceId, "nvmlDeviceGetGpuInstanceId", uintptr(mig))
	return int(v), err
}

func (ml *API) DeviceGetComputeInstanceId(mig Device) (int, error) {
	v, err := ml.uint32(ml.f.DeviceGetComputeInstanceId, "nvmlDeviceGetComputeInstanceId", uintptr(mig))
	return int(v), err
}

// MigDevices is the MIG devices of a device: what DeviceGetMigDeviceHandleByIndex has for
// the numbers below DeviceGetMaxMigDeviceCount, some of which may have none.
func (ml *API) MigDevices(d Device) ([]Device, error) {
	n, err := ml.uint32(ml.f.DeviceGetMaxMigDeviceCount, "nvmlDeviceGetMaxMigDeviceCount", uintptr(d))
	if err != nil {
		return nil, err
	}
	var list []Device
	for i := range n {
		var mig Device
		r := ml.f.DeviceGetMigDeviceByIndex.Call(uintptr(d), uintptr(i), uintptr(unsafe.Pointer(&mig)))
		if Return(r) == NotFound {
			continue
		}
		if err := ml.check(r, "nvmlDeviceGetMigDeviceHandleByIndex"); err != nil {
			return nil, err
		}
		list = append(list, mig)
	}
	return list, nil
}

// DeviceGetDeviceHandleFromMigDeviceHandle is the device that a MIG device is a part of, which
// alone has power, temperature and clocks.
func (ml *API) DeviceGetDeviceHandleFromMigDeviceHandle(mig Device) (Device, error) {
	var d Device
	r := ml.f.DeviceGetParent.Call(uintptr(mig), uintptr(unsafe.Pointer(&d)))
	return d, ml.check(r, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle")
}

// uint32 calls a function whose last argument is where it writes an unsigned int.
func (ml *API) uint32(f dl.Func, call string, args ...uintptr) (uint32, error) {
	v := new(uint32)
	r := f.Call(append(args, dl.Addr(v))...)
	return *v, ml.check(r, call)
}

// pair calls a function of a device that writes two ints.
func (ml *API) pair(f dl.Func, call string, d Device) (a, b int32, err error) {
	r := f.Call(uintptr(d), uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&b)))
	return a, b, ml.check(r, call)
}

func (ml *API) check(s uintptr, call string) error {
	r := Return(s)
	if r == Success {
		return nil
	}
	if r == dl.Missing {
		return &Error{Return: FunctionNotFound, Doing: call, Text: "the driver is too old to have the function"}
	}
	return &Error{Return: r, Doing: call, Text: dl.String(ml.f.ErrorString.Call(uintptr(uint32(r))))}
}

// IsUnsupported tells whether an error means that a device, or its driver, does not have what
// was asked for.
func IsUnsupported(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Return == NotSupported || e.Return == FunctionNotFound)
}
