package nvml

import (
	"fmt"
	"strings"
)

// Clock is nvmlClockType_t.
type Clock uint32

const (
	ClockGraphics Clock = iota
	ClockSM
	ClockMemory
	ClockVideo
)

// Threshold is nvmlTemperatureThresholds_t.
type Threshold uint32

const (
	ThresholdShutdown Threshold = iota
	ThresholdSlowdown
	ThresholdMemoryMax
	ThresholdGPUMax
)

// Fields.
const (
	FieldMemoryTemp            Field = 82  // degrees Celsius
	FieldPowerAverage          Field = 185 // milliwatts, of a second
	FieldPowerInstant          Field = 186 // milliwatts
	FieldNvLinkSent            Field = 138 // KiB of data, of the link that is the scope
	FieldNvLinkReceived        Field = 139
	FieldRemappedUncorrectable Field = 143 // rows of memory replaced
	FieldRemappedPending       Field = 144 // 1 if rows will be replaced by a reset
	FieldRemappedFailure       Field = 145 // 1 if rows could not be replaced
)

// ClocksReasons is a set of reasons for clocks that are lower than they could be.
type ClocksReasons uint64

const (
	ReasonIdle           ClocksReasons = 0x1
	ReasonSetting        ClocksReasons = 0x2 // applications' clocks are set
	ReasonPowerCap       ClocksReasons = 0x4
	ReasonHWSlowdown     ClocksReasons = 0x8
	ReasonSyncBoost      ClocksReasons = 0x10
	ReasonSWThermal      ClocksReasons = 0x20
	ReasonHWThermal      ClocksReasons = 0x40
	ReasonHWPowerBrake   ClocksReasons = 0x80
	ReasonDisplaySetting ClocksReasons = 0x100
)

var reasonNames = [...]string{"idle", "clocks set by a user", "power limit", "hardware slowdown", "sync boost", "temperature (software)", "temperature (hardware)",
	"power brake (hardware)", "display setting"}

// String is the reasons in words, "none" without any.
func (c ClocksReasons) String() string {
	var list []string
	for i := range 64 {
		switch {
		case c>>i&1 == 0:
		case i < len(reasonNames):
			list = append(list, reasonNames[i])
		default:
			list = append(list, fmt.Sprintf("reason %#x", uint64(1)<<i))
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// EventType is a set of kinds of events.
type EventType uint64

const (
	EventSingleBitECC EventType = 1
	EventDoubleBitECC EventType = 2
	EventXID          EventType = 8 // an error that the driver has written to the system's log
)

// Return is nvmlReturn_t, what functions return.
type Return int32

const (
	Success                 Return = 0
	Uninitialized           Return = 1
	InvalidArgument         Return = 2
	NotSupported            Return = 3
	NoPermission            Return = 4
	NotFound                Return = 6
	InsufficientSize        Return = 7
	DriverNotLoaded         Return = 9
	Timeout                 Return = 10
	FunctionNotFound        Return = 13
	GPUIsLost               Return = 15
	ResetRequired           Return = 16
	LibRMVersionMismatch    Return = 18
	ArgumentVersionMismatch Return = 25
	GPUNotFound             Return = 28
)

var returnNames = [...]string{
	"NVML_SUCCESS", "NVML_ERROR_UNINITIALIZED", "NVML_ERROR_INVALID_ARGUMENT", "NVML_ERROR_NOT_SUPPORTED", "NVML_ERROR_NO_PERMISSION",
	"NVML_ERROR_ALREADY_INITIALIZED", "NVML_ERROR_NOT_FOUND", "NVML_ERROR_INSUFFICIENT_SIZE", "NVML_ERROR_INSUFFICIENT_POWER",
	"NVML_ERROR_DRIVER_NOT_LOADED", "NVML_ERROR_TIMEOUT", "NVML_ERROR_IRQ_ISSUE", "NVML_ERROR_LIBRARY_NOT_FOUND",
	"NVML_ERROR_FUNCTION_NOT_FOUND", "NVML_ERROR_CORRUPTED_INFOROM", "NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED",
	"NVML_ERROR_OPERATING_SYSTEM", "NVML_ERROR_LIB_RM_VERSION_MISMATCH", "NVML_ERROR_IN_USE", "NVML_ERROR_MEMORY", "NVML_ERROR_NO_DATA",
	"NVML_ERROR_VGPU_ECC_NOT_SUPPORTED", "NVML_ERROR_INSUFFICIENT_RESOURCES", "NVML_ERROR_FREQ_NOT_SUPPORTED",
	"NVML_ERROR_ARGUMENT_VERSION_MISMATCH", "NVML_ERROR_DEPRECATED", "NVML_ERROR_NOT_READY", "NVML_ERROR_GPU_NOT_FOUND",
	"NVML_ERROR_INVALID_STATE", "NVML_ERROR_RESET_TYPE_NOT_SUPPORTED",
}

// String is the status's name in C.
func (r Return) String() string {
	if r >= 0 && int(r) < len(returnNames) {
		return returnNames[r]
	}
	if r == 999 {
		return "NVML_ERROR_UNKNOWN"
	}
	return fmt.Sprintf("nvmlReturn_t %d", int32(r))
}

// Error is a call that has failed.
type Error struct {
	Return Return
	Doing  string
	Text   string // what the library says about it
}

func (e *Error) Error() string {
	s := fmt.Sprintf("nvml: %s: %v (%d)", e.Doing, e.Return, int32(e.Return))
	if e.Text != "" {
		s += ": " + e.Text
	}
	switch e.Return {
	case DriverNotLoaded:
		s += "; load the driver: nvidia-smi says more"
	case LibRMVersionMismatch:
		s += "; restart the machine after an update of the driver"
	case GPUIsLost:
		s += "; the device has to be reset, or the machine restarted"
	}
	return s
}
