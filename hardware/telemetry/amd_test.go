package telemetry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

func unset(t *testing.T, name string) {
	t.Helper()
	if err := os.Unsetenv(name); err != nil { // t.Setenv has been called, and puts it back
		t.Fatal(err)
	}
}

// amdTree is an RX 6800 XT behind its switch, and a card of which little is known.
func amdTree(t *testing.T) string {
	const (
		bridge = "sys/devices/pci0000:00/0000:00:01.1"
		outer  = bridge + "/0000:0b:00.0"
		card   = outer + "/0000:0c:00.0/0000:0d:00.0"
		other  = "sys/devices/pci0000:00/0000:00:08.0"
	)
	files := map[string]string{
		bridge + "/vendor": "0x1022", bridge + "/class": "0x060400",
		outer + "/vendor": "0x1002", outer + "/class": "0x060400", outer + "/current_link_speed": "8.0 GT/s PCIe", outer + "/current_link_width": "8", outer + "/max_link_speed": "16.0 GT/s PCIe", outer + "/max_link_width": "16",
		outer + "/0000:0c:00.0/vendor": "0x1002", outer + "/0000:0c:00.0/class": "0x060400",
		other + "/vendor": "0x1002", other + "/class": "0x030000", other + "/device": "0x1638", other + "/revision": "0xc8", other + "/driver": "->../../../bus/pci/drivers/amdgpu",
		"sys/bus/pci/devices/0000:0d:00.0": "->../../../../" + card, "sys/bus/pci/devices/0000:00:08.0": "->../../../../" + other,
	}
	for name, text := range map[string]string{
		"vendor": "0x1002", "device": "0x73bf", "revision": "0xc1", "class": "0x030000", "driver": "->../../../../../../bus/pci/drivers/amdgpu", "unique_id": "4f7a1c55b0d2e9aa",
		"current_link_speed": "16.0 GT/s PCIe", "current_link_width": "16", "max_link_speed": "16.0 GT/s PCIe", "max_link_width": "16", "numa_node": "0",
		"gpu_busy_percent": "98", "mem_busy_percent": "41", "mem_info_vram_total": "17163091968", "mem_info_vram_used": "1073741824",
		"pp_dpm_sclk": "0: 500Mhz \n1: 2310Mhz *\n2: 2575Mhz", "pp_dpm_mclk": "0: 96Mhz\n1: 1000Mhz *", "drm/card1/dev": "226:1", "drm/card1-DP-1/status": "connected",
		"hwmon/hwmon5/power1_average": "203000000", "hwmon/hwmon5/power1_cap": "255000000", "hwmon/hwmon5/power1_cap_default": "255000000", "hwmon/hwmon5/power1_cap_min": "0", "hwmon/hwmon5/power1_cap_max": "293000000",
		"hwmon/hwmon5/temp1_label": "edge", "hwmon/hwmon5/temp1_input": "62000", "hwmon/hwmon5/temp1_crit": "100000", "hwmon/hwmon5/temp2_label": "junction", "hwmon/hwmon5/temp2_input": "78000",
		"hwmon/hwmon5/temp3_label": "mem", "hwmon/hwmon5/temp3_input": "70000", "hwmon/hwmon5/freq1_label": "sclk", "hwmon/hwmon5/freq1_input": "2310000000", "hwmon/hwmon5/freq2_label": "mclk", "hwmon/hwmon5/freq2_input": "1000000000",
		"ras/umc_err_count": "ue: 1\nce: 12",
	} {
		files[card+"/"+name] = text
	}
	return testenv.Tree(t, files)
}

func TestAMD(t *testing.T) {
	root := amdTree(t)
	a, err := openAMD(root)
	if err != nil {
		t.Fatal(err)
	}
	m := &Monitor{sources: []Source{a}}
	list := m.Read()
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	r := list[1]
	if r.Model != "AMD Radeon RX 6800 XT" || r.UUID != "GPU-4f7a1c55b0d2e9aa" || r.PCI != "0000:0d:00.0" || r.Device != "gpu 1" || r.Vendor != "amd" || r.Source != "amdgpu" || r.Problem != "" {
		t.Errorf("%+v", r)
	}
	for name, c := range map[string]struct {
		v    Value
		want float64
	}{
		"utilization": {r.Utilization, 98}, "memory utilization": {r.MemoryUtilization, 41}, "total": {r.MemoryTotal, 17163091968}, "used": {r.MemoryUsed, 1 << 30}, "free": {r.MemoryFree, 17163091968 - 1<<30},
		"power": {r.Power, 203}, "limit": {r.PowerLimit, 255}, "default": {r.PowerDefault, 255}, "min": {r.PowerMin, 0}, "max": {r.PowerMax, 293},
		"temperature": {r.Temperature, 62}, "slowdown": {r.SlowdownTemperature, 100}, "memory temperature": {r.MemoryTemperature, 70}, "SM": {r.ClockSM, 2310}, "memory clock": {r.ClockMemory, 1000}, "SM max": {r.ClockSMMax, 2575}, "memory clock max": {r.ClockMemoryMax, 1000},
		// Of the link in front of the card's own switch.
		"generation": {r.PCIeGeneration, 3}, "width": {r.PCIeWidth, 8}, "generation max": {r.PCIeGenerationMax, 4}, "width max": {r.PCIeWidthMax, 16},
		"uncorrected": {r.ECCUncorrected, 1}, "corrected": {r.ECCCorrected, 12},
	} {
		if !c.v.OK || c.v.V < c.want*(1-1e-12) || c.v.V > c.want*(1+1e-12) {
			t.Errorf("%s is %+v, want %g", name, c.v, c.want)
		}
	}
	for _, v := range []Value{r.Energy, r.PCIeSent, list[0].Power, list[0].Temperature, list[0].MemoryFree, list[0].ClockSMMax, list[0].ECCCorrected, list[0].PCIeWidth} {
		if v.OK || v.V != 0 || v.Why == "" {
			t.Errorf("%+v", v)
		}
	}
	if list[0].Model != "AMD device 0x1638" || list[0].UUID != "PCI-0000:00:08.0" {
		t.Errorf("%+v", list[0])
	}

	if err := m.SetPowerLimit(r.UUID, 220); err != nil {
		t.Fatal(err)
	}
	if r := m.ReadEnergy()[1]; r.PowerLimit != Known(220) || r.Power != Known(203) || r.Utilization.OK {
		t.Errorf("%+v", r)
	}
	if err := m.SetPowerLimit(r.UUID, 300); err == nil || !strings.Contains(err.Error(), "between 0 and 293 W") {
		t.Errorf("%v", err)
	}
	if err := m.SetPowerLimit(list[0].UUID, 100); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}

	// The card falls off the bus.
	if err := os.RemoveAll(filepath.Join(root, "sys/devices/pci0000:00/0000:00:01.1")); err != nil {
		t.Fatal(err)
	}
	if r := m.Read()[1]; !strings.Contains(r.Problem, "the device is lost") || r.Power.OK || r.UUID == "" || r.Model != "AMD Radeon RX 6800 XT" {
		t.Errorf("%+v", r)
	}
}

func TestNoAMD(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"there is no AMD card on the PCI bus":                                                {"sys/bus/pci/devices/0000:00:00.0/class": "0x060000"},
		"the AMD card at 0000:0d:00.0 is not driven by amdgpu":                               {"sys/bus/pci/devices/0000:0d:00.0/class": "0x030000", "sys/bus/pci/devices/0000:0d:00.0/vendor": "0x1002"},
		"AMD's devices are not known: what is on the PCI bus is not known: there is no file": {},
	} {
		if _, err := openAMD(testenv.Tree(t, files)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
