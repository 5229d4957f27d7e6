package power

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
)

// Through NVML itself, of a library that stands in for the driver's: 250 W by its counter; then
// the counter is unsupported; then the device is lost.
func TestThroughNVML(t *testing.T) {
	dir := nvmltest.Use(t, nvmltest.RTX3080)
	m := newMachine(t, nil)
	meter := m.open(Options{Device: "cuda:0", Monitor: opened(t, m.root)})
	until(t, func() bool { return part(t, meter, "cuda:0").Joules > 1 })
	p := part(t, meter, "cuda:0")
	if p.Source != "NVML energy counter" || p.Estimated {
		t.Errorf("%+v", p)
	}
	nvmltest.Write(t, dir, nvmltest.RTX3080+"\tlost\n")
	until(t, func() bool { m.pass(time.Second, 0); return part(t, meter, "cuda:0").Note != "" })
	gone := part(t, meter, "cuda:0")
	if !strings.Contains(gone.Note, "gone since") || gone.Joules < p.Joules {
		t.Errorf("%+v", gone)
	}
	meter.Close()

	// A Pascal card has a power and no counter: 100 W for 5 s by the machine's clock.
	nvmltest.Write(t, dir, "driver 580.65.06\ncuda 12000\ndevice GPU-1 NVIDIA TITAN Xp\n\tpci 00000000:01:00.0\n\tpower 100000\n\tutilization 0 0\n")
	meter = m.open(Options{Device: "cuda:0", Monitor: opened(t, m.root)})
	m.pass(5*time.Second, 0)
	if p := wantJoules(t, meter, "cuda:0", 500); p.Source != "NVML power, integrated" {
		t.Errorf("%+v", p)
	}
	if _, source := meter.IdleWatts(); !strings.Contains(source, "cuda:0: measured before the run") {
		t.Errorf("%s", source)
	}
	meter.Close()

	// A slice has the share of the device that it is cut from, 3 of 7.
	nvmltest.Write(t, dir, nvmltest.A100)
	meter = m.open(Options{Device: "cuda:MIG-1", Monitor: opened(t, m.root)})
	until(t, func() bool { m.pass(time.Millisecond, 0); return len(meter.Read()) == 3 && meter.Read()[2].Joules > 1 })
	if p := meter.Read()[2]; !p.Estimated || !strings.Contains(p.Source, "0.429 of it for the slice") {
		t.Errorf("%+v", p)
	}
}

// Through the files of AMD's driver: from 100 W to 300 W in 2 s.
func TestThroughAMD(t *testing.T) {
	const card = "sys/bus/pci/devices/0000:03:00.0/"
	m := newMachine(t, map[string]string{
		card + "vendor": "0x1002\n", card + "device": "0x73bf\n", card + "revision": "0xc1\n", card + "class": "0x030000\n",
		card + "hwmon/hwmon3/power1_average": "100000000\n", card + "gpu_busy_percent": "0\n", "sys/bus/pci/drivers/amdgpu/bind": "",
	})
	if err := os.Symlink("../../drivers/amdgpu", filepath.Join(m.root, card, "driver")); err != nil {
		t.Fatal(err)
	}
	meter := m.open(Options{Device: "opencl:0", Model: "gfx1030", Monitor: opened(t, m.root)})
	p := meter.Read()
	if len(p) != 3 || p[2].Source != "amdgpu power, integrated" || p[2].Estimated {
		t.Fatalf("%+v, %q", p, meter.Problems())
	}
	m.pass(2*time.Second, 0)
	m.write(card+"hwmon/hwmon3/power1_average", "300000000\n")
	wantJoules(t, meter, p[2].Component, 400)
	if w, source := meter.IdleWatts(); w < 110 || w > 111 || !strings.Contains(source, "measured before the run") {
		t.Errorf("idle %g W, %s", w, source)
	}
	if err := os.RemoveAll(filepath.Join(m.root, card)); err != nil {
		t.Fatal(err)
	}
	m.pass(time.Second, 0)
	if p := wantJoules(t, meter, p[2].Component, 400); !strings.Contains(p.Note, "gone since") {
		t.Errorf("%+v", p)
	}
}

// opened is a monitor of what there is.
func opened(t *testing.T, root string) *telemetry.Monitor {
	t.Helper()
	m, err := telemetry.Open(telemetry.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// until waits for what comes with the time of the library.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}
