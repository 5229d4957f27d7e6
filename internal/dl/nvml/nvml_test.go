package nvml

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/dltest"
)

// A library that knows a device 0x10, cut into two MIG devices 0x20 and 0x22, and a device
// 0x11 that tells nothing.
const fake = `
static char log_[1 << 14];
static size_t used;
#define LOG(...) used += snprintf(log_ + used, sizeof log_ - used, __VA_ARGS__)
const char *take_log() { used = 0; return log_; }
#define ONLY if (d == 0x11) return 3
typedef uint64_t dev;
const char *nvmlErrorString(int r) { return r == 3 ? "Not Supported" : r == 9 ? "Driver Not Loaded" : "Something"; }
static int up;
int nvmlInit_v2() { up++; return 0; }
int nvmlShutdown() { up--; return 0; }
int nvmlSystemGetDriverVersion(char *s, unsigned n) { strncpy(s, "550.54.15", n); return 0; }
int nvmlSystemGetNVMLVersion(char *s, unsigned n) { strncpy(s, "12.550.54.15", n); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { *v = 12040; return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { if (!up) return 9; *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, dev *d) { if (i > 1) return 2; *d = 0x10 + i; return 0; }
int nvmlDeviceGetHandleByUUID(const char *s, dev *d) { if (strcmp(s, "GPU-a")) return 6; *d = 0x10; return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *s, dev *d) { if (strcmp(s, "0000:3B:00.0")) return 6; *d = 0x10; return 0; }
int nvmlDeviceGetName(dev d, char *s, unsigned n) { snprintf(s, n, "device %lx", d); return 0; }
int nvmlDeviceGetUUID(dev d, char *s, unsigned n) { snprintf(s, n, "%s-%lx", d >= 0x20 ? "MIG" : "GPU", d); return 0; }
int nvmlDeviceGetPciInfo_v3(dev d, char *p) { memset(p, 'x', 68); strcpy(p + 36, "00000000:3B:00.0"); return 0; }
int nvmlDeviceGetCudaComputeCapability(dev d, int *a, int *b) { *a = 9; *b = 0; return 0; }
int nvmlDeviceGetMinorNumber(dev d, unsigned *n) { *n = 4; return 0; }
int nvmlDeviceGetUtilizationRates(dev d, unsigned *u) { ONLY; if (d >= 0x20) return 3; u[0] = 0; u[1] = 7; return 0; }
int nvmlDeviceGetMemoryInfo(dev d, uint64_t *m) { m[0] = 100; m[1] = 60; m[2] = 40; return 0; }
int nvmlDeviceGetMemoryInfo_v2(dev d, uint64_t *m) {
	if ((unsigned)m[0] != 0x2000028) return 25;
	if (d == 0x11) return 25;
	m[1] = 100; m[2] = 5; m[3] = 60; m[4] = 35; return 0;
}
int nvmlDeviceGetPowerUsage(dev d, unsigned *v) { ONLY; *v = 123456; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(dev d, uint64_t *v) { ONLY; *v = 5ull << 40; return 0; }
int nvmlDeviceGetPowerManagementLimit(dev d, unsigned *v) { *v = 700000; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(dev d, unsigned *v) { *v = 650000; return 0; }
int nvmlDeviceGetPowerManagementLimitConstraints(dev d, unsigned *a, unsigned *b) { *a = 200000; *b = 700000; return 0; }
int nvmlDeviceGetPowerManagementDefaultLimit(dev d, unsigned *v) { ONLY; *v = 690000; return 0; }
int nvmlDeviceSetPowerManagementLimit(dev d, unsigned v) { if (d == 0x11) return 4; LOG("limit of %lx to %u\n", d, v); return 0; }
int nvmlDeviceGetCurrPcieLinkGeneration(dev d, unsigned *v) { ONLY; *v = 1; return 0; }
int nvmlDeviceGetCurrPcieLinkWidth(dev d, unsigned *v) { *v = 8; return 0; }
int nvmlDeviceGetMaxPcieLinkGeneration(dev d, unsigned *v) { ONLY; *v = 5; return 0; }
int nvmlDeviceGetMaxPcieLinkWidth(dev d, unsigned *v) { *v = 16; return 0; }
int nvmlDeviceGetPersistenceMode(dev d, unsigned *v) { ONLY; *v = 1; return 0; }
int nvmlDeviceGetClockInfo(dev d, int c, unsigned *v) { *v = 1000 + c; return 0; }
int nvmlDeviceGetMaxClockInfo(dev d, int c, unsigned *v) { *v = 2000 + c; return 0; }
int nvmlDeviceGetTemperature(dev d, int sensor, unsigned *v) { *v = 40 + sensor; return 0; }
int nvmlDeviceGetTemperatureThreshold(dev d, int t, unsigned *v) { *v = 90 + t; return 0; }
int nvmlDeviceGetPcieThroughput(dev d, int c, unsigned *v) { ONLY; *v = 300 + c; return 0; }
int nvmlDeviceGetCurrentClocksThrottleReasons(dev d, uint64_t *v) { *v = 0x44; return 0; }
struct process { unsigned pid; uint64_t mem; unsigned gi, ci; };
int nvmlDeviceGetComputeRunningProcesses_v3(dev d, unsigned *n, process *p) {
	if (*n < 40) { *n = 40; return 7; }
	for (unsigned i = 0; i < 40; i++) p[i] = {1000 + i, i == 39 ? ~0ull : i * 10ull, 1, 2};
	*n = 40;
	return 0;
}
struct field { unsigned id, scope; int64_t ts, lat; int type, ret; union { double d; int i; unsigned u; uint64_t l; int64_t s; } v; };
int nvmlDeviceGetFieldValues(dev d, int n, field *f) {
	ONLY;
	for (int i = 0; i < n; i++) {
		LOG("field %u of %u\n", f[i].id, f[i].scope);
		f[i].ts = 77; f[i].ret = 0; f[i].v.l = ~0ull;
		switch (f[i].id) {
		case 82: f[i].type = 1; f[i].v.u = 66; break;
		case 186: f[i].type = 0; f[i].v.d = 12.5; break;
		case 138: f[i].type = 3; f[i].v.l = 1ull << 40; break;
		case 143: f[i].type = 5; f[i].v.i = -3; break;
		case 144: f[i].type = 4; f[i].v.s = -4; break;
		default: f[i].ret = 3;
		}
	}
	return 0;
}
int nvmlDeviceGetEccMode(dev d, int *a, int *b) { ONLY; *a = 1; *b = 0; return 0; }
int nvmlDeviceGetTotalEccErrors(dev d, int type, int counter, uint64_t *v) { ONLY; *v = 10 * type + counter; return 0; }
int nvmlEventSetCreate(uint64_t *s) { *s = 0x99; return 0; }
int nvmlDeviceGetSupportedEventTypes(dev d, uint64_t *v) { *v = 11; return 0; }
int nvmlDeviceRegisterEvents(dev d, uint64_t types, uint64_t set) { LOG("register %lx %lx %lx\n", d, types, set); return 0; }
struct event { dev d; uint64_t type, data; unsigned gi, ci; };
int nvmlEventSetWait_v2(uint64_t set, event *e, unsigned ms) { if (ms == 0) return 10; *e = {0x10, 8, 79, 3, 4}; return 0; }
int nvmlEventSetFree(uint64_t set) { LOG("free %lx\n", set); return 0; }
int nvmlDeviceGetMigMode(dev d, unsigned *a, unsigned *b) { ONLY; *a = 1; *b = 0; return 0; }
int nvmlDeviceIsMigDeviceHandle(dev d, unsigned *v) { *v = d >= 0x20; return 0; }
int nvmlDeviceGetGpuInstanceId(dev d, unsigned *v) { *v = d - 0x1f; return 0; }
int nvmlDeviceGetComputeInstanceId(dev d, unsigned *v) { *v = 0; return 0; }
int nvmlDeviceGetMaxMigDeviceCount(dev d, unsigned *n) { ONLY; *n = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(dev d, unsigned i, dev *m) { if (i != 0 && i != 2) return 6; *m = 0x20 + i; return 0; }
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(dev m, dev *d) { *d = 0x10; return 0; }
`

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

func TestCalls(t *testing.T) {
	lib := dltest.Fake(t, &functions{}, fake)
	// The old name of the reasons is all that this one has.
	ml, err := New(without{lib, []string{"nvmlDeviceGetCurrentClocksEventReasons"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ml.DeviceGetCount(); err == nil || !strings.Contains(err.Error(), "nvml: nvmlDeviceGetCount: NVML_ERROR_DRIVER_NOT_LOADED (9): Driver Not Loaded; load the driver") {
		t.Errorf("without Init: %v", err)
	}
	if err := ml.Init(); err != nil {
		t.Fatal(err)
	}
	d, err := ml.DeviceGetHandleByIndex(0)
	if err != nil {
		t.Fatal(err)
	}
	mute, err := ml.DeviceGetHandleByIndex(1)
	if err != nil {
		t.Fatal(err)
	}
	is := func(want string) func(values ...any) {
		return func(values ...any) {
			t.Helper()
			if got := fmt.Sprint(values...); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	// Values stand with their errors.
	two := func(a any, err error) []any { return []any{a, err} }
	three := func(a, b any, err error) []any { return []any{a, b, err} }
	is("[550.54.15 <nil>]")(two(ml.SystemGetDriverVersion()))
	is("[12.550.54.15 <nil>]")(two(ml.SystemGetNVMLVersion()))
	is("[12040 <nil>]")(two(ml.SystemGetCudaDriverVersion()))
	is("[2 <nil>]")(two(ml.DeviceGetCount()))
	is("[16 <nil>]")(two(ml.DeviceGetHandleByUUID("GPU-a")))
	is("[0 nvml: nvmlDeviceGetHandleByUUID of GPU-b: NVML_ERROR_NOT_FOUND (6): Something]")(two(ml.DeviceGetHandleByUUID("GPU-b")))
	is("[16 <nil>]")(two(ml.DeviceGetHandleByPciBusId("0000:3B:00.0")))
	is("[device 10 <nil>]")(two(ml.DeviceGetName(d)))
	is("[GPU-10 <nil>]")(two(ml.DeviceGetUUID(d)))
	is("[00000000:3B:00.0 <nil>]")(two(ml.DeviceGetPciBusId(d)))
	is("[9 0 <nil>]")(three(ml.DeviceGetCudaComputeCapability(d)))
	is("[4 <nil>]")(two(ml.DeviceGetMinorNumber(d)))
	is("[0 7 <nil>]")(three(ml.DeviceGetUtilizationRates(d)))
	is("[{100 5 60 35} <nil>]")(two(ml.DeviceGetMemoryInfo(d)))
	is("[{100 0 60 40} <nil>]")(two(ml.DeviceGetMemoryInfo(mute)))
	is("[123456 <nil>]")(two(ml.DeviceGetPowerUsage(d)))
	is("[5497558138880 <nil>]")(two(ml.DeviceGetTotalEnergyConsumption(d)))
	is("[700000 <nil>]")(two(ml.DeviceGetPowerManagementLimit(d)))
	is("[650000 <nil>]")(two(ml.DeviceGetEnforcedPowerLimit(d)))
	is("[200000 700000 <nil>]")(three(ml.DeviceGetPowerManagementLimitConstraints(d)))
	is("[690000 <nil>]")(two(ml.DeviceGetPowerManagementDefaultLimit(d)))
	if err := ml.DeviceSetPowerManagementLimit(d, 250000); err != nil {
		t.Error(err)
	}
	if err := ml.DeviceSetPowerManagementLimit(mute, 250000); err == nil || !strings.Contains(err.Error(), "NVML_ERROR_NO_PERMISSION (4)") {
		t.Error(err)
	}
	is("[1 8 <nil>]")(three(ml.DeviceGetCurrPcieLink(d)))
	is("[5 16 <nil>]")(three(ml.DeviceGetMaxPcieLink(d)))
	is("[true <nil>]")(two(ml.DeviceGetPersistenceMode(d)))
	is("[1002 <nil>]")(two(ml.DeviceGetClockInfo(d, ClockMemory)))
	is("[2001 <nil>]")(two(ml.DeviceGetMaxClockInfo(d, ClockSM)))
	is("[40 <nil>]")(two(ml.DeviceGetTemperature(d)))
	is("[91 <nil>]")(two(ml.DeviceGetTemperatureThreshold(d, ThresholdSlowdown)))
	is("[300 <nil>]")(two(ml.DeviceGetPcieThroughput(d, false)))
	is("[301 <nil>]")(two(ml.DeviceGetPcieThroughput(d, true)))
	is("[power limit, temperature (hardware) <nil>]")(two(ml.DeviceGetCurrentClocksEventReasons(d)))
	is("[true false <nil>]")(three(ml.DeviceGetEccMode(d)))
	is("[11 <nil>]")(two(ml.DeviceGetTotalEccErrors(d, true, true)))
	is("[1 <nil>]")(two(ml.DeviceGetTotalEccErrors(d, false, true)))

	processes, err := ml.DeviceGetComputeRunningProcesses(d)
	if err != nil || len(processes) != 40 || processes[5] != (Process{PID: 1005, UsedMemory: 50, GPUInstance: 1, ComputeInstance: 2}) || processes[39].UsedMemory != NotAvailable {
		t.Errorf("%d processes: %+v (%v)", len(processes), processes, err)
	}

	values, err := ml.DeviceGetFieldValues(d, 2, FieldMemoryTemp, FieldPowerInstant, FieldNvLinkSent, FieldRemappedUncorrectable, FieldRemappedPending, FieldPowerAverage)
	if err != nil || len(values) != 6 {
		t.Fatalf("%d fields (%v)", len(values), err)
	}
	for i, want := range []float64{66, 12.5, 1 << 40, -3, -4} {
		if v := values[i]; v.Value != want || v.Err != nil || v.Timestamp != 77 {
			t.Errorf("field %d is %+v, want %v", i, v, want)
		}
	}
	if !IsUnsupported(values[5].Err) {
		t.Errorf("a field that there is not: %v", values[5].Err)
	}

	set, err := ml.EventSetCreate()
	if err != nil {
		t.Fatal(err)
	}
	types, err := ml.DeviceGetSupportedEventTypes(d)
	if err != nil || types&EventXID == 0 {
		t.Errorf("events %v (%v)", types, err)
	}
	if err := ml.DeviceRegisterEvents(d, EventXID, set); err != nil {
		t.Error(err)
	}
	if e, happened, err := ml.EventSetWait(set, 0); happened || err != nil {
		t.Errorf("an event out of nothing: %+v (%v)", e, err)
	}
	if e, happened, err := ml.EventSetWait(set, 10); !happened || err != nil || e != (Event{d, EventXID, 79, 3, 4}) {
		t.Errorf("event %+v, %v (%v)", e, happened, err)
	}
	if err := ml.EventSetFree(set); err != nil {
		t.Error(err)
	}

	is("[true false <nil>]")(three(ml.DeviceGetMigMode(d)))
	is("[[32 34] <nil>]")(two(ml.MigDevices(d)))
	is("[true <nil>]")(two(ml.DeviceIsMigDeviceHandle(0x20)))
	is("[false <nil>]")(two(ml.DeviceIsMigDeviceHandle(d)))
	is("[3 <nil>]")(two(ml.DeviceGetGpuInstanceId(0x22)))
	is("[0 <nil>]")(two(ml.DeviceGetComputeInstanceId(0x22)))
	is("[16 <nil>]")(two(ml.DeviceGetDeviceHandleFromMigDeviceHandle(0x22)))
	is("[MIG-22 <nil>]")(two(ml.DeviceGetUUID(0x22)))

	take, err := lib.Lookup("take_log")
	if err != nil {
		t.Fatal(err)
	}
	want := "limit of 10 to 250000\nfield 82 of 2\nfield 186 of 2\nfield 138 of 2\nfield 143 of 2\nfield 144 of 2\nfield 185 of 2\nregister 10 8 99\nfree 99\n"
	if got := dl.String(take.Call()); got != want {
		t.Errorf("called\n%swant\n%s", got, want)
	}
	if err := ml.Shutdown(); err != nil {
		t.Error(err)
	}

	// What a device does not tell is an error, not a zero.
	_, usage := ml.DeviceGetPowerUsage(mute)
	_, energy := ml.DeviceGetTotalEnergyConsumption(mute)
	_, _, rates := ml.DeviceGetUtilizationRates(mute)
	_, _, partRates := ml.DeviceGetUtilizationRates(0x20)
	_, pcie := ml.DeviceGetPcieThroughput(mute, false)
	_, _, mig := ml.DeviceGetMigMode(mute)
	_, _, link := ml.DeviceGetCurrPcieLink(mute)
	_, persistence := ml.DeviceGetPersistenceMode(mute)
	_, fields := ml.DeviceGetFieldValues(mute, 0, FieldMemoryTemp)
	_, ecc := ml.DeviceGetTotalEccErrors(mute, false, false)
	_, migs := ml.MigDevices(mute)
	for i, err := range []error{usage, energy, rates, partRates, pcie, mig, link, persistence, fields, ecc, migs} {
		if !IsUnsupported(err) || !strings.Contains(err.Error(), "NVML_ERROR_NOT_SUPPORTED (3): Not Supported") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// A driver that is too old for a function says so, as a device that does not have it does.
func TestOldDriver(t *testing.T) {
	lib := dltest.Fake(t, &functions{}, fake)
	old, err := New(without{lib, []string{"nvmlDeviceGetMigMode", "nvmlDeviceGetMemoryInfo_v2"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := old.DeviceGetMigMode(0x10); !IsUnsupported(err) || !strings.Contains(err.Error(), "the driver is too old to have the function") {
		t.Errorf("%v", err)
	}
	if m, err := old.DeviceGetMemoryInfo(0x10); err != nil || m != (Memory{Total: 100, Free: 60, Used: 40}) {
		t.Errorf("memory by the first version of the function: %+v (%v)", m, err)
	}
	if _, err := New(without{lib, []string{"nvmlInit_v2"}}); err == nil || !strings.Contains(err.Error(), "it lacks nvmlInit_v2") {
		t.Errorf("%v", err)
	}
}

// Constants, layouts and names are those of the header.
func TestHeader(t *testing.T) {
	facts := slices.Concat(
		dltest.Offsets(pciInfo{}, "nvmlPciInfo_t", "domain", "domain", "busID", "busId"),
		dltest.Offsets(memory2{}, "nvmlMemory_v2_t", "Memory", "total"),
		dltest.Offsets(Process{}, "nvmlProcessInfo_t", "PID", "pid", "UsedMemory", "usedGpuMemory", "GPUInstance", "gpuInstanceId", "ComputeInstance", "computeInstanceId"),
		dltest.Offsets(fieldValue{}, "nvmlFieldValue_t", "id", "fieldId", "scope", "scopeId", "timestamp", "timestamp", "latency", "latencyUsec", "kind", "valueType", "returned", "nvmlReturn", "value", "value"),
		dltest.Offsets(Event{}, "nvmlEventData_t", "Device", "device", "Type", "eventType", "Data", "eventData", "GPUInstance", "gpuInstanceId", "ComputeInstance", "computeInstanceId"),
	)
	for i, name := range returnNames {
		facts = append(facts, dltest.Fact{C: name, Go: int64(i)})
	}
	for c, v := range map[string]int64{
		"nvmlMemory_v2": 0x2000028, "NVML_CLOCK_GRAPHICS": int64(ClockGraphics), "NVML_CLOCK_SM": int64(ClockSM), "NVML_CLOCK_MEM": int64(ClockMemory), "NVML_CLOCK_VIDEO": int64(ClockVideo),
		"NVML_TEMPERATURE_THRESHOLD_SHUTDOWN": int64(ThresholdShutdown), "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN": int64(ThresholdSlowdown),
		"NVML_TEMPERATURE_THRESHOLD_MEM_MAX": int64(ThresholdMemoryMax), "NVML_TEMPERATURE_THRESHOLD_GPU_MAX": int64(ThresholdGPUMax), "NVML_TEMPERATURE_GPU": 0,
		"NVML_PCIE_UTIL_TX_BYTES": 0, "NVML_PCIE_UTIL_RX_BYTES": 1, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED": 1, "NVML_AGGREGATE_ECC": 1,
		"NVML_FI_DEV_MEMORY_TEMP": int64(FieldMemoryTemp), "NVML_FI_DEV_POWER_AVERAGE": int64(FieldPowerAverage), "NVML_FI_DEV_POWER_INSTANT": int64(FieldPowerInstant),
		"NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX": int64(FieldNvLinkSent), "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX": int64(FieldNvLinkReceived),
		"NVML_FI_DEV_REMAPPED_UNC": int64(FieldRemappedUncorrectable), "NVML_FI_DEV_REMAPPED_PENDING": int64(FieldRemappedPending), "NVML_FI_DEV_REMAPPED_FAILURE": int64(FieldRemappedFailure),
		"NVML_VALUE_TYPE_DOUBLE": 0, "NVML_VALUE_TYPE_UNSIGNED_INT": 1, "NVML_VALUE_TYPE_UNSIGNED_LONG": 2, "NVML_VALUE_TYPE_UNSIGNED_LONG_LONG": 3, "NVML_VALUE_TYPE_SIGNED_LONG_LONG": 4, "NVML_VALUE_TYPE_SIGNED_INT": 5, "NVML_VALUE_TYPE_UNSIGNED_SHORT": 6,
		"nvmlClocksEventReasonGpuIdle": int64(ReasonIdle), "nvmlClocksEventReasonApplicationsClocksSetting": int64(ReasonSetting), "nvmlClocksEventReasonSwPowerCap": int64(ReasonPowerCap),
		"nvmlClocksThrottleReasonHwSlowdown": int64(ReasonHWSlowdown), "nvmlClocksEventReasonSyncBoost": int64(ReasonSyncBoost), "nvmlClocksEventReasonSwThermalSlowdown": int64(ReasonSWThermal),
		"nvmlClocksThrottleReasonHwThermalSlowdown": int64(ReasonHWThermal), "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": int64(ReasonHWPowerBrake), "nvmlClocksEventReasonDisplayClockSetting": int64(ReasonDisplaySetting),
		"nvmlEventTypeSingleBitEccError": int64(EventSingleBitECC), "nvmlEventTypeDoubleBitEccError": int64(EventDoubleBitECC), "nvmlEventTypeXidCriticalError": int64(EventXID),
	} {
		facts = append(facts, dltest.Fact{C: c, Go: v})
	}
	for _, name := range dltest.Symbols(&functions{}) {
		facts = append(facts, dltest.Fact{C: "sizeof(&" + name + ")", Go: 8})
	}
	dltest.Facts(t, "nvml.h", facts)
}
