package telemetry

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
)

func BenchmarkRead(b *testing.B) {
	name, value, _ := strings.Cut(nvmltest.Environment(nvmltest.Build(b, nvmltest.RTX3080)), "=")
	b.Setenv(name, value)
	m, err := Open(Options{Root: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			m.Read()
		}
	})
	b.Run("energy", func(b *testing.B) {
		for b.Loop() {
			m.ReadEnergy()
		}
	})
}

// open is a monitor of the devices of a scenario.
func open(t *testing.T, scenario string) (m *Monitor, dir string) {
	t.Helper()
	dir = nvmltest.Use(t, scenario)
	m, err := Open(Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, dir
}

func TestNVML(t *testing.T) {
	t.Setenv("CUDA_DEVICE_ORDER", "")
	m, _ := open(t, nvmltest.RTX3080+"\tprocess 4711 1073741824\n\tprocess 4712\n\txid 31 after 2\n")
	if driver, cuda := m.Driver(); driver != "580.65.06" || cuda != "13.0" {
		t.Errorf("driver %s, CUDA %s", driver, cuda)
	}
	if p := m.Problems(); len(p) != 1 || !strings.Contains(p[0], "AMD") {
		t.Errorf("problems: %q", p)
	}
	list := m.Read()
	if len(list) != 1 {
		t.Fatalf("%d devices", len(list))
	}
	r := list[0]
	if r.Device != "cuda:0" || r.UUID != "GPU-3080" || r.Model != "NVIDIA GeForce RTX 3080" || r.PCI != "0000:01:00.0" || r.Capability != 86 || r.Vendor != "nvidia" || r.Source != "NVML" || r.Problem != "" || r.Time.IsZero() {
		t.Errorf("%+v", r)
	}
	for name, c := range map[string]struct {
		v    Value
		want float64
	}{
		"utilization": {r.Utilization, 97}, "memory utilization": {r.MemoryUtilization, 40}, "total": {r.MemoryTotal, 10 << 30}, "used": {r.MemoryUsed, 6 << 30}, "free": {r.MemoryFree, 4<<30 - 300<<20},
		"power": {r.Power, 250}, "limit": {r.PowerLimit, 320}, "default": {r.PowerDefault, 320}, "min": {r.PowerMin, 100}, "max": {r.PowerMax, 350},
		"temperature": {r.Temperature, 65}, "slowdown": {r.SlowdownTemperature, 95}, "graphics": {r.ClockGraphics, 1710}, "SM": {r.ClockSM, 1710}, "memory clock": {r.ClockMemory, 9501}, "SM max": {r.ClockSMMax, 2100}, "memory clock max": {r.ClockMemoryMax, 9501},
		"sent": {r.PCIeSent, 2e6}, "received": {r.PCIeReceived, 300e6}, "generation": {r.PCIeGeneration, 4}, "width": {r.PCIeWidth, 16}, "generation max": {r.PCIeGenerationMax, 4}, "width max": {r.PCIeWidthMax, 16},
	} {
		if c.v != Known(c.want) {
			t.Errorf("%s is %+v, want %g", name, c.v, c.want)
		}
	}
	if !r.Energy.OK || r.Energy.V < 1000 {
		t.Errorf("energy %+v", r.Energy)
	}
	// What it does not tell is n/a with a reason, in print and in JSON.
	for _, v := range []Value{r.MemoryTemperature, r.ECCCorrected, r.ECCUncorrected} {
		if v.OK || v.V != 0 || v.Why != "the device does not tell it" || v.String() != "n/a" {
			t.Errorf("%+v", v)
		}
	}
	if r.MIG != "n/a" || r.ECC != "n/a" || r.Persistence != "off" || !r.ThrottleKnown || !slices.Equal(r.Throttle, []string{"power limit"}) {
		t.Errorf("MIG %s, ECC %s, persistence %s, throttled by %q", r.MIG, r.ECC, r.Persistence, r.Throttle)
	}
	if len(r.Processes) != 2 || r.Processes[0].PID != 4711 || r.Processes[0].Memory != Known(1<<30) || r.Processes[1].Memory.OK {
		t.Errorf("processes %+v", r.Processes)
	}
	if !r.XIDsKnown || len(r.XIDs) != 0 {
		t.Errorf("errors %v", r.XIDs)
	}
	m.Read()
	if again := m.Read()[0]; !slices.Equal(again.XIDs, []int{31}) {
		t.Errorf("errors %v after the third reading", again.XIDs)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"power_watts":250,`, `"memory_temperature_celsius":null`, `"ecc_corrected":null`, `"memory_bytes":null`, `"throttle":["power limit"]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("JSON has no %s: %s", want, text)
		}
	}
	var back Reading
	if err := json.Unmarshal(text, &back); err != nil || back.Power != r.Power || back.ECCCorrected.OK {
		t.Errorf("%v: %+v", err, back)
	}

	few := m.ReadEnergy()[0]
	if few.Power != Known(250) || few.PowerMax != Known(350) || few.Utilization.OK || few.Device != "cuda:0" || !few.Energy.OK || few.UUID != r.UUID {
		t.Errorf("%+v", few)
	}
}

// A slice has memory and processes of its own, and nothing else.
func TestSlices(t *testing.T) {
	m, _ := open(t, nvmltest.A100)
	r := m.Read()[0]
	if r.MIG != "on" || len(r.Slices) != 3 || r.Device != "gpu 0" || r.Utilization.OK || r.MemoryTemperature != Known(51) || r.ECC != "on" || r.ECCCorrected != Known(2) || r.Persistence != "on" || r.Throttle != nil || !r.ThrottleKnown {
		t.Fatalf("%+v", r)
	}
	s := r.Slices[0]
	if s.Device != "gpu 0/0" || s.UUID != "MIG-1" || s.Model != "NVIDIA A100-SXM4-80GB MIG 3g.40gb" || s.MemoryUsed != Known(3<<30) || len(s.Processes) != 1 || s.Processes[0].PID != 100 || s.Power.OK || s.Power.Why == "" || s.Time.IsZero() {
		t.Errorf("%+v", s)
	}
	if s := r.Slices[2]; s.MemoryUsed != Known(0) || s.Processes == nil || len(s.Processes) != 0 {
		t.Errorf("%+v", s)
	}
	// A process that is given a slice sees it as its first device.
	t.Setenv("CUDA_VISIBLE_DEVICES", "-1")
	if r = m.Read()[0]; r.Slices[0].Device != "gpu 0/0" {
		t.Errorf("%s, which the process does not see", r.Slices[0].Device)
	}
	t.Setenv("CUDA_VISIBLE_DEVICES", "MIG-2")
	r = m.Read()[0]
	if r.Device != "gpu 0" || r.Slices[0].Device != "gpu 0/0" || r.Slices[1].Device != "cuda:0" {
		t.Errorf("%s, %s, %s", r.Device, r.Slices[0].Device, r.Slices[1].Device)
	}
}

// Half the questions are not answered, for different reasons.
func TestUnsupported(t *testing.T) {
	m, dir := open(t, nvmltest.RTX3080+"\tpower unsupported\n\tenergy nopermission\n\ttemperature error 999\n\tutilization unsupported\n\tpcie_sent unsupported\n\treasons unsupported\n\tprocesses nopermission\n\tevents unsupported\n\tpersistence unsupported\n\tpcie unsupported\n\tmemory unsupported\n")
	r := m.Read()[0]
	for name, c := range map[string]struct {
		v   Value
		why string
	}{
		"power": {r.Power, "the device does not tell it"}, "energy": {r.Energy, "this user may not ask for it"}, "temperature": {r.Temperature, "NVML: "},
		"utilization": {r.Utilization, "the device does not"}, "sent": {r.PCIeSent, "the device does not"}, "width": {r.PCIeWidth, "the device does not"}, "free": {r.MemoryFree, "the device does not"},
	} {
		if c.v.OK || c.v.V != 0 || !strings.Contains(strings.ToLower(c.v.Why), strings.ToLower(c.why)) {
			t.Errorf("%s: %+v, want %q", name, c.v, c.why)
		}
	}
	if r.ThrottleKnown || r.Throttle != nil || r.XIDsKnown || r.Processes != nil || r.Persistence != "n/a" || r.Problem != "" || r.PowerLimit != Known(320) {
		t.Errorf("%+v", r)
	}
	// The rest is told even so, and what is told again is seen again.
	nvmltest.Write(t, dir, nvmltest.RTX3080+"\ttemperature 88\n")
	if r := m.Read()[0]; r.Temperature != Known(88) || r.Power != Known(250) {
		t.Errorf("%+v", r)
	}
}

// A device that is lost while others are not keeps its name and its place.
func TestLost(t *testing.T) {
	second := strings.ReplaceAll(nvmltest.RTX3080[strings.Index(nvmltest.RTX3080, "device"):], "GPU-3080", "GPU-second")
	m, dir := open(t, nvmltest.RTX3080+"\tlost after 2\n\txid 79 after 2\n"+second)
	for i, lost := range []bool{false, false, true, true} {
		list := m.Read()
		if len(list) != 2 || list[1].Problem != "" || list[1].Power != Known(250) || list[1].UUID != "GPU-second" {
			t.Fatalf("%d: %+v", i, list)
		}
		r := list[0]
		if (r.Problem != "") != lost || r.Power.OK == lost || r.UUID != "GPU-3080" || r.Model != "NVIDIA GeForce RTX 3080" || r.Device != "gpu 0" {
			t.Errorf("%d: %+v", i, r)
		}
		if lost && (!strings.Contains(r.Problem, "has fallen off the bus") || r.MemoryTotal.Why != r.Problem || r.Processes != nil || !slices.Equal(r.XIDs, []int{79})) {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if err := m.SetPowerLimit("GPU-3080", 200); err == nil || !strings.Contains(err.Error(), "has fallen off the bus") {
		t.Errorf("%v", err)
	}
	// One that was lost before is listed, too.
	nvmltest.Write(t, dir, nvmltest.RTX3080+"\tlost\n"+second)
	before, err := Open(Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if list := before.Read(); len(list) != 2 || list[0].Problem == "" || list[0].Power.OK || list[1].Power != Known(250) {
		t.Errorf("%+v", list)
	}
}

func TestPowerLimit(t *testing.T) {
	m, dir := open(t, nvmltest.RTX3080)
	if err := m.SetPowerLimit("GPU-3080", 200); err != nil {
		t.Fatal(err)
	}
	if r := m.Read()[0]; r.PowerLimit != Known(200) || r.PowerDefault != Known(320) {
		t.Errorf("%+v", r)
	}
	for _, bad := range []float64{99, 351, 0, -1} {
		if err := m.SetPowerLimit("GPU-3080", bad); err == nil || !strings.Contains(err.Error(), "between 100 and 350 W") {
			t.Errorf("%g W: %v", bad, err)
		}
	}
	if err := m.SetPowerLimit("GPU-x", 200); err == nil || !strings.Contains(err.Error(), `no device with the UUID "GPU-x"`) {
		t.Errorf("%v", err)
	}
	if err := m.SetPowerLimit("GPU-3080", 320); err != nil {
		t.Fatal(err)
	}
	if got := nvmltest.Limits(t, dir); !slices.Equal(got, []string{"GPU-3080 200000", "GPU-3080 320000"}) {
		t.Errorf("%q", got)
	}
	nvmltest.Write(t, dir, nvmltest.RTX3080+"\tset nopermission\n")
	if err := m.SetPowerLimit("GPU-3080", 200); !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "NVIDIA GeForce RTX 3080: only root may set") {
		t.Errorf("%v", err)
	}
	nvmltest.Write(t, dir, nvmltest.RTX3080+"\tset unsupported\n\tconstraints unsupported\n")
	if err := m.SetPowerLimit("GPU-3080", 200); err == nil {
		t.Error("a limit that cannot be set")
	}
}

// A driver that is not loaded, and no driver at all.
func TestNoNVML(t *testing.T) {
	m, _ := open(t, "init 9\n")
	if list := m.Read(); list != nil {
		t.Errorf("%+v", list)
	}
	if p := m.Problems(); len(p) != 2 || !strings.Contains(p[0], "NVML_ERROR_DRIVER_NOT_LOADED (9): Driver Not Loaded; load the driver") {
		t.Errorf("%q", p)
	}
}

// A monitor that is closed says so, and may be closed again.
func TestClosed(t *testing.T) {
	m, _ := open(t, nvmltest.RTX3080)
	m.Read()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if r := m.Read()[0]; r.Problem != "the monitor is closed" || r.Power.OK {
		t.Errorf("%+v", r)
	}
}

// Several goroutines read at a time.
func TestTogether(t *testing.T) {
	m, _ := open(t, nvmltest.RTX3080)
	done := make(chan bool)
	for range 4 {
		go func() {
			ok := true
			for range 20 {
				ok = ok && m.Read()[0].Power.OK && m.ReadEnergy()[0].Power.OK
			}
			done <- ok
		}()
	}
	for range 4 {
		if !<-done {
			t.Error("a reading failed")
		}
	}
}
