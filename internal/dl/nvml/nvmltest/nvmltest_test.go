package nvmltest

import (
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dl/nvml"
)

// The library does what scenarios say, and what they say may change.
func TestScenario(t *testing.T) {
	dir := Use(t, `
init 9
`)
	lib, err := find.Search(find.Want{}).Open(find.NVML)
	if err != nil {
		t.Fatal(err)
	}
	ml, err := nvml.New(lib)
	if err != nil {
		t.Fatal(err)
	}
	if err := ml.Init(); err == nil {
		t.Error("a driver that is not loaded")
	}
	Write(t, dir, `driver 1.2.3
# a comment
device GPU-1 A device  of several words
	power ramp 100 10
	temperature error 999
	clock_sm nopermission
	reasons 0x44
	limit 300
	constraints 100 400
	lost after 3
device GPU-2 Another
	slice MIG-1 Another MIG 1g.5gb
		memory 10 1 2
`)
	if err := ml.Init(); err != nil {
		t.Fatal(err)
	}
	defer ml.Shutdown()
	if v, err := ml.SystemGetDriverVersion(); v != "1.2.3" || err != nil {
		t.Errorf("%s (%v)", v, err)
	}
	h, err := ml.DeviceGetHandleByUUID("GPU-1")
	if err != nil {
		t.Fatal(err)
	}
	if name, err := ml.DeviceGetName(h); name != "A device of several words" || err != nil {
		t.Errorf("%q (%v)", name, err)
	}
	if v, err := ml.DeviceGetCurrentClocksEventReasons(h); v != nvml.ReasonPowerCap|nvml.ReasonHWThermal || err != nil {
		t.Errorf("%v (%v)", v, err)
	}
	if _, err := ml.DeviceGetTemperature(h); err == nil || nvml.IsUnsupported(err) {
		t.Errorf("%v", err)
	}
	if _, err := ml.DeviceGetTotalEnergyConsumption(h); !nvml.IsUnsupported(err) {
		t.Errorf("%v", err)
	}
	if err := ml.DeviceSetPowerManagementLimit(h, 50); err == nil {
		t.Error("a limit that is too low")
	}
	for _, mw := range []int{200, 250} {
		if err := ml.DeviceSetPowerManagementLimit(h, mw); err != nil {
			t.Error(err)
		}
	}
	if mw, err := ml.DeviceGetEnforcedPowerLimit(h); mw != 250 || err != nil {
		t.Errorf("%d mW (%v)", mw, err)
	}
	if got := Limits(t, dir); !slices.Equal(got, []string{"GPU-1 200", "GPU-1 250"}) {
		t.Errorf("%q", got)
	}
	var power []int
	for {
		mw, err := ml.DeviceGetPowerUsage(h)
		if err != nil {
			break
		}
		power = append(power, mw)
	}
	if !slices.Equal(power, []int{110, 120, 130}) {
		t.Errorf("%v", power)
	}
	other, err := ml.DeviceGetHandleByIndex(1)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := ml.MigDevices(other)
	if err != nil || len(parts) != 1 {
		t.Fatalf("%v (%v)", parts, err)
	}
	if m, err := ml.DeviceGetMemoryInfo(parts[0]); m != (nvml.Memory{Total: 10, Reserved: 1, Used: 2, Free: 7}) || err != nil {
		t.Errorf("%+v (%v)", m, err)
	}
	if up, err := ml.DeviceGetDeviceHandleFromMigDeviceHandle(parts[0]); up != other || err != nil {
		t.Errorf("%x (%v)", up, err)
	}
}
