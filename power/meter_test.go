package power

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/hardware/telemetry/telemetrytest"
)

// machine is a fake root with files, and a clock.
type machine struct {
	t    *testing.T
	root string
	mu   sync.Mutex
	now  time.Time
	cpu  time.Duration // that this process has computed
}

// newMachine has two threads of a processor that no table has, 16 GiB and nothing else.
func newMachine(t *testing.T, files map[string]string) *machine {
	m := &machine{t: t, root: t.TempDir(), now: noon}
	m.write("proc/cpuinfo", "processor : 0\nmodel name : Some Processor\nphysical id : 0\n\nprocessor : 1\nmodel name : Some Processor\nphysical id : 0\n")
	m.write("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
	for name, text := range files {
		m.write(name, text)
	}
	return m
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) chmod(name string, mode os.FileMode) {
	m.t.Helper()
	if err := os.Chmod(filepath.Join(m.root, name), mode); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) clock() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// pass lets time go by, in which so many threads compute.
func (m *machine) pass(d time.Duration, threads float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	m.cpu += time.Duration(threads * float64(d))
}

func (m *machine) open(o Options) *Meter {
	o.Root, o.Clock, o.Every = m.root, m.clock, -1
	o.CPUTime = func() (time.Duration, bool) { return m.cpu, true }
	if o.Monitor == nil && o.Device != "" {
		o.Monitor = monitor(m.t)
	}
	meter := Open(o)
	m.t.Cleanup(meter.Close)
	return meter
}

func monitor(t *testing.T, sources ...telemetry.Source) *telemetry.Monitor {
	if sources == nil {
		sources = []telemetry.Source{}
	}
	m, err := telemetry.Open(telemetry.Options{Sources: sources})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// part is what a meter gives for a component.
func part(t *testing.T, m *Meter, component string) Part {
	t.Helper()
	var names []string
	for _, p := range m.Read() {
		if p.Component == component {
			return p
		}
		names = append(names, p.Component)
	}
	t.Fatalf("there is no part %q; there are %q", component, names)
	return Part{}
}

func wantJoules(t *testing.T, m *Meter, component string, want float64) Part {
	t.Helper()
	p := part(t, m, component)
	if math.Abs(p.Joules-want) > 1e-6*max(1, want) {
		t.Errorf("%s: %v J, want %v", component, p.Joules, want)
	}
	return p
}

// rapl is a server with two sockets, memory counted apart, and everything else that Linux shows.
func rapl(counters map[string]string) map[string]string {
	files := map[string]string{
		"proc/cpuinfo": "processor : 0\nmodel name : AMD EPYC 7763 64-Core Processor\nphysical id : 0\n\nprocessor : 1\nmodel name : AMD EPYC 7763 64-Core Processor\nphysical id : 1\n",
	}
	for zone, name := range map[string]string{
		"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:0:2": "uncore",
		"intel-rapl:1": "package-1", "intel-rapl:1:0": "dram", "intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0",
	} {
		dir := "sys/class/powercap/" + zone + "/"
		files[dir+"name"] = name + "\n"
		files[dir+"energy_uj"] = "5000000\n"
		files[dir+"max_energy_range_uj"] = "262143328850\n"
		if c, ok := counters[zone]; ok {
			files[dir+"energy_uj"] = c
		}
	}
	files["sys/class/powercap/intel-rapl/enabled"] = "1\n"
	return files
}

// Packages and their memory are counted, once each; cores, the graphics unit and the platform
// are in them already, and the way by mmio is another to the same.
func TestRAPL(t *testing.T) {
	m := newMachine(t, rapl(nil))
	meter := m.open(Options{})
	if p := meter.Problems(); len(p) > 0 {
		t.Errorf("problems: %q", p)
	}
	// Idle by the table, for nothing is watched with a clock that stands: a tenth of 2 × 280 W.
	if w, source := meter.IdleWatts(); math.Abs(w-56) > 1e-9 || !strings.Contains(source, "TDP") {
		t.Errorf("idle %g W, %s", w, source)
	}
	m.pass(time.Second, 1)
	for zone, uj := range map[string]string{"0": "105000000", "0:0": "999000000", "0:1": "15000000", "1": "85000000", "1:0": "12000000", "2": "900000000"} {
		m.write("sys/class/powercap/intel-rapl:"+zone+"/energy_uj", uj)
	}
	p := wantJoules(t, meter, "cpu package 0", 100)
	if p.Source != "RAPL" || p.Estimated || p.Note != "" {
		t.Errorf("%+v", p)
	}
	wantJoules(t, meter, "cpu package 1", 80)
	wantJoules(t, meter, "memory 0", 10)
	wantJoules(t, meter, "memory 1", 7)
	if n := len(meter.Read()); n != 4 {
		t.Errorf("%d parts: %+v", n, meter.Read())
	}
}

// The counter of package 0 wraps around at 262143.32885 J: from 262140 J to 6.67115 J are 10 J.
func TestRAPLWrapsAround(t *testing.T) {
	m := newMachine(t, rapl(map[string]string{"intel-rapl:0": "262140000000"}))
	meter := m.open(Options{})
	m.pass(time.Second, 1)
	m.write("sys/class/powercap/intel-rapl:0/energy_uj", "6671150")
	wantJoules(t, meter, "cpu package 0", 10)
	m.pass(time.Second, 1)
	m.write("sys/class/powercap/intel-rapl:0/energy_uj", "26671150")
	if p := wantJoules(t, meter, "cpu package 0", 30); p.Note != "" {
		t.Errorf("%+v", p)
	}
	// From 100 kJ back to 5 J in a second is no wrap: it would be 162 kW.
	m.pass(1000*time.Second, 1)
	m.write("sys/class/powercap/intel-rapl:0/energy_uj", "100000000000")
	before := part(t, meter, "cpu package 0").Joules
	m.pass(time.Second, 1)
	m.write("sys/class/powercap/intel-rapl:0/energy_uj", "5000000")
	if p := wantJoules(t, meter, "cpu package 0", before+5); !strings.Contains(p.Note, "set back") {
		t.Errorf("%+v", p)
	}
}

// A file that cannot be read for a moment loses nothing, and one that is gone keeps what was counted.
func TestRAPLVanishes(t *testing.T) {
	m := newMachine(t, rapl(nil))
	meter := m.open(Options{})
	file := filepath.Join(m.root, "sys/class/powercap/intel-rapl:0/energy_uj")
	m.pass(time.Second, 1)
	m.write("sys/class/powercap/intel-rapl:0/energy_uj", "not a number")
	if p := wantJoules(t, meter, "cpu package 0", 0); !strings.Contains(p.Note, "not read") {
		t.Errorf("%+v", p)
	}
	m.pass(time.Second, 1)
	m.write("sys/class/powercap/intel-rapl:0/energy_uj", "45000000")
	if p := wantJoules(t, meter, "cpu package 0", 40); p.Note != "" {
		t.Errorf("%+v", p)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	m.pass(time.Second, 1)
	if p := wantJoules(t, meter, "cpu package 0", 40); !strings.Contains(p.Note, "gone since 12:00:03") {
		t.Errorf("%+v", p)
	}
	wantJoules(t, meter, "cpu package 1", 0)
}

// Before the run the machine takes 30 W and 20 W, which Open sees.
func TestRAPLIdle(t *testing.T) {
	m := newMachine(t, rapl(nil))
	clock := func() time.Time { // each look at it is a tenth of a second later
		m.pass(100*time.Millisecond, 0)
		s := m.now.Sub(noon).Seconds()
		m.write("sys/class/powercap/intel-rapl:0/energy_uj", fmt.Sprintf("%.0f", 30e6*s))
		m.write("sys/class/powercap/intel-rapl:1/energy_uj", fmt.Sprintf("%.0f", 20e6*s))
		return m.now
	}
	meter := Open(Options{Root: m.root, Clock: clock, Every: time.Hour, Baseline: time.Nanosecond})
	defer meter.Close()
	if w, source := meter.IdleWatts(); math.Abs(w-50) > 1e-6 || !strings.Contains(source, "measured for 1ns before the run") {
		t.Errorf("idle %g W, %s", w, source)
	}
	before := part(t, meter, "cpu package 0").Joules
	meter.Sync()
	if after := part(t, meter, "cpu package 0").Joules; before > 30 || after <= before {
		t.Errorf("%g J and then %g", before, after)
	}
}

// Without counters the model takes over and says why: 2 threads of 4 W; memory of 16 GB is two
// modules of 5 W.
func TestModel(t *testing.T) {
	m := newMachine(t, nil)
	meter := m.open(Options{})
	if p := meter.Problems(); len(p) != 1 || !strings.Contains(p[0], "/sys/class/powercap") || strings.Contains(p[0], m.root) {
		t.Errorf("problems: %q", p)
	}
	if w, _ := meter.IdleWatts(); math.Abs(w-10.8) > 1e-9 {
		t.Errorf("idle %g W", w)
	}
	m.pass(10*time.Second, 2)
	p := wantJoules(t, meter, "cpu", 80)
	if !p.Estimated || !strings.Contains(p.Source, "4 W for each of 2 threads") {
		t.Errorf("%+v", p)
	}
	p = wantJoules(t, meter, "memory", 100)
	if !p.Estimated || !strings.Contains(p.Source, "2 modules") {
		t.Errorf("%+v", p)
	}
	m.pass(10*time.Second, 0)
	wantJoules(t, meter, "cpu", 88)
	m.pass(10*time.Second, 1) // 0.1 + 0.9(1 - 0.5^1.4) = 0.658964
	wantJoules(t, meter, "cpu", 88+80*0.65896377)
}

// Two threads of 4 W and two modules of 5 W.
func TestEstimate(t *testing.T) {
	full, idle, source := Estimate(newMachine(t, nil).root)
	if math.Abs(full-18) > 1e-9 || math.Abs(idle-10.8) > 1e-9 || !strings.Contains(source, "threads") || !strings.Contains(source, "memory") {
		t.Errorf("%g W, idle %g W, %s", full, idle, source)
	}
}

// A container counts the part of the machine that it may use.
func TestModelOfContainer(t *testing.T) {
	m := newMachine(t, map[string]string{"proc/self/cgroup": "0::/box\n", "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
		"sys/fs/cgroup/box/cpu.max": "50000 100000\n", "sys/fs/cgroup/box/memory.max": "4294967296\n", "sys/fs/cgroup/cgroup.controllers": "cpu memory\n"})
	meter := m.open(Options{})
	m.pass(10*time.Second, 0.5)
	wantJoules(t, meter, "cpu", 20)      // half a thread of 4 W
	wantJoules(t, meter, "memory", 6.25) // an eighth of 5 W
}

func TestGivenPower(t *testing.T) {
	m := newMachine(t, rapl(nil))
	meter := m.open(Options{Meter: "250 W"})
	m.pass(4*time.Second, 1)
	if p := wantJoules(t, meter, "machine", 1000); !p.Estimated || p.Source != "given: 250 W" || len(meter.Read()) != 1 {
		t.Errorf("%+v", meter.Read())
	}
	for _, text := range []string{"auto", "", "model", "12.5W"} {
		if err := CheckMeter(text); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{"moddel", "0W", "-5W", "NaNW", "250"} {
		if err := CheckMeter(text); err == nil || !strings.Contains(err.Error(), "250W") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if p := m.open(Options{Meter: "moddel"}).Problems(); len(p) != 1 || !strings.Contains(p[0], "moddel") {
		t.Errorf("%q", p)
	}
	if p := m.open(Options{Meter: "model"}); part(t, p, "cpu").Estimated == false || len(p.Problems()) != 0 {
		t.Errorf("%+v", p.Read())
	}
}

func TestEnergyCounter(t *testing.T) {
	m := newMachine(t, nil)
	fake := telemetrytest.New(telemetrytest.GPU("GPU-a", 150))
	fake.Clock = m.clock
	meter := m.open(Options{Device: "cuda:0", Monitor: monitor(t, fake)})
	m.pass(10*time.Second, 0)
	if p := wantJoules(t, meter, "cuda:0", 1500); p.Source != "NVML energy counter" || p.Estimated {
		t.Errorf("%+v", p)
	}
	// It was busy before, so that idle is what the catalogue has, 25 W or so, with 10.8 of the rest.
	if w, source := meter.IdleWatts(); w < 15 || w > 60 || !strings.Contains(source, "busy") {
		t.Errorf("idle %g W, %s", w, source)
	}
	// The driver is loaded anew: 50 J later the counter stands at 20.
	m.pass(time.Second, 0)
	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Energy, r.Power = telemetry.Known(20), telemetry.Known(0) })
	if p := wantJoules(t, meter, "cuda:0", 1520); !strings.Contains(p.Note, "set back") {
		t.Errorf("%+v", p)
	}
	// Unsupported for a moment, and then lost: what was counted stays.
	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Energy = telemetry.Unknown("not now") })
	m.pass(time.Second, 0)
	if p := wantJoules(t, meter, "cuda:0", 1520); !strings.Contains(p.Note, "not now") {
		t.Errorf("%+v", p)
	}
	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Energy = telemetry.Known(60) })
	wantJoules(t, meter, "cuda:0", 1560)
	fake.Lose("GPU-a")
	m.pass(time.Hour, 0)
	if p := wantJoules(t, meter, "cuda:0", 1560); !strings.Contains(p.Note, "gone since") {
		t.Errorf("%+v", p)
	}
	meter.Close()
	wantJoules(t, meter, "cuda:0", 1560)
}

// A counter that stands still while 100 W are drawn is not believed for longer than ten seconds.
func TestCounterStandsStill(t *testing.T) {
	m := newMachine(t, nil)
	fake := telemetrytest.New(telemetrytest.GPU("GPU-a", 100))
	fake.Clock = func() time.Time { return noon } // for which it does not count
	meter := m.open(Options{Device: "cuda:0", Monitor: monitor(t, fake)})
	for range 10 {
		m.pass(time.Second, 0)
		meter.Sync()
	}
	wantJoules(t, meter, "cuda:0", 0)
	m.pass(time.Second, 0)
	if p := wantJoules(t, meter, "cuda:0", 1100); !strings.Contains(p.Note, "stands still") {
		t.Errorf("%+v", p)
	}
	m.pass(time.Second, 0)
	wantJoules(t, meter, "cuda:0", 1200)
}

// From 100 W to 200 W in 2 s are 300 J, and 3 s of 200 W another 600 J.
func TestPowerIntegrated(t *testing.T) {
	m := newMachine(t, nil)
	gpu := telemetrytest.GPU("GPU-a", 100)
	gpu.Energy, gpu.Utilization = telemetry.Unknown("Pascal has none"), telemetry.Known(0)
	fake := telemetrytest.New(gpu)
	fake.Clock = m.clock
	meter := m.open(Options{Device: "cuda:0", Monitor: monitor(t, fake)})
	if w, source := meter.IdleWatts(); math.Abs(w-110.8) > 1e-9 || !strings.Contains(source, "cuda:0: measured before the run") {
		t.Errorf("idle %g W, %s", w, source)
	}
	m.pass(2*time.Second, 0)
	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Power = telemetry.Known(200) })
	if p := wantJoules(t, meter, "cuda:0", 300); p.Source != "NVML power, integrated" || p.Estimated {
		t.Errorf("%+v", p)
	}
	m.pass(3*time.Second, 0)
	wantJoules(t, meter, "cuda:0", 900)
	// Not a word of the power for a while; the time is made up for.
	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Power = telemetry.Unknown("busy") })
	m.pass(time.Second, 0)
	wantJoules(t, meter, "cuda:0", 900)
	m.pass(19*time.Second, 0)
	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Power = telemetry.Known(200) })
	if p := wantJoules(t, meter, "cuda:0", 4900); !strings.Contains(p.Note, "not read for 20 s") {
		t.Errorf("%+v", p)
	}
}

// What is not told is never 0: there is no part, or one by the catalogue, and the reason.
func TestUnsupported(t *testing.T) {
	m := newMachine(t, nil)
	gpu := telemetrytest.GPU("GPU-a", 100)
	gpu.Energy, gpu.Power = telemetry.Unknown("not supported"), telemetry.Unknown("not supported")
	meter := m.open(Options{Device: "cuda:0", Monitor: monitor(t, telemetrytest.New(gpu))})
	if p := strings.Join(meter.Problems(), "\n"); !strings.Contains(p, "NOT counted") || !strings.Contains(p, "not supported") {
		t.Errorf("%s", p)
	}
	for _, p := range meter.Read() {
		if p.Component == "cuda:0" {
			t.Errorf("%+v", p)
		}
	}
	meter = m.open(Options{Device: "cuda:0", Model: "NVIDIA GeForce RTX 3080", Monitor: monitor(t, telemetrytest.New(gpu))})
	m.pass(time.Second, 0)
	if p := wantJoules(t, meter, "cuda:0", 320); !p.Estimated || !strings.Contains(p.Source, "full power") {
		t.Errorf("%+v", p)
	}
	if p := strings.Join(meter.Problems(), "\n"); !strings.Contains(p, "estimated") {
		t.Errorf("%s", p)
	}
}

// A slice of three sevenths has three sevenths of the energy of the whole, as an estimate.
func TestSlice(t *testing.T) {
	m := newMachine(t, nil)
	gpu := telemetrytest.GPU("GPU-a", 210)
	gpu.Model, gpu.MIG, gpu.Capability = "NVIDIA A100-SXM4-80GB", "on", 80
	for i, profile := range []string{"3g.40gb", "1g.10gb"} {
		s := telemetry.Blank("a slice does not tell it")
		s.UUID, s.Model, s.Vendor, s.Source, s.Device = "MIG-"+string(rune('a'+i)), "NVIDIA A100-SXM4-80GB MIG "+profile, "nvidia", "NVML", []string{"cuda:0", ""}[i]
		gpu.Slices = append(gpu.Slices, s)
	}
	fake := telemetrytest.New(gpu)
	fake.Clock = m.clock
	meter := m.open(Options{Device: "cuda:0", Monitor: monitor(t, fake)})
	m.pass(10*time.Second, 0)
	if p := wantJoules(t, meter, "cuda:0", 900); !p.Estimated || !strings.Contains(p.Source, "slice") {
		t.Errorf("%+v", p)
	}
	meter = m.open(Options{Device: "cuda:MIG-b", Monitor: monitor(t, fake)})
	m.pass(7*time.Second, 0)
	wantJoules(t, meter, "cuda:MIG-b", 210)
}

func TestChooseGPU(t *testing.T) {
	a, b := telemetrytest.GPU("GPU-a", 1), telemetrytest.GPU("GPU-b", 1)
	b.Model = "NVIDIA H100 80GB HBM3"
	misnamed := telemetrytest.GPU("GPU-a", 1)
	misnamed.Device = "cuda:1"
	amd := telemetrytest.GPU("GPU-c", 1)
	amd.Vendor, amd.Model = "amd", "AMD Radeon RX 6800 XT"
	for _, c := range []struct {
		list        []telemetry.Reading
		name, model string
		want        string
	}{
		{[]telemetry.Reading{a}, "cuda:0", "", "GPU-a"},
		{[]telemetry.Reading{a, b}, "GPU-b", "", "GPU-b"},
		{[]telemetry.Reading{a, b}, "cuda:1", "NVIDIA GeForce RTX 3080", "GPU-a"},
		{[]telemetry.Reading{a, b}, "cuda:1", "", ""},
		{[]telemetry.Reading{a, b}, "cuda:1 cuda:GPU-a", "", "GPU-a"},
		{[]telemetry.Reading{misnamed, b}, "cuda:1 cuda:GPU-b", "", "GPU-b"},
		{[]telemetry.Reading{a, amd}, "cuda:0", "", "GPU-a"},
		{[]telemetry.Reading{a, amd}, "opencl:0", "AMD Radeon RX 6800 XT", "GPU-c"},
		{[]telemetry.Reading{amd}, "opencl:0", "gfx1030", "GPU-c"},
		{nil, "cuda:0", "", ""},
	} {
		r, _, _, why := chooseGPU(c.list, strings.Fields(c.name), c.model)
		if got := map[bool]string{true: r.UUID}[why == ""]; got != c.want {
			t.Errorf("%s %q: %q, want %q (%s)", c.name, c.model, got, c.want, why)
		}
	}
	for model, want := range map[string]bool{"cpu-haswell-Intel(R) Xeon(R)": true, "pthread-skylake": true, "Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz": true, "gfx1030": false, "NVIDIA A100-SXM4-80GB": false} {
		if isProcessor("opencl:0", model) != want {
			t.Errorf("%q: %v", model, !want)
		}
	}
}

// Read extrapolates and never goes back, though the power falls after it has.
func TestReadIsMonotone(t *testing.T) {
	m := newMachine(t, nil)
	fake := telemetrytest.New(telemetrytest.GPU("GPU-a", 300))
	fake.Clock = m.clock
	meter := m.open(Options{Device: "cuda:0", Monitor: monitor(t, fake)})
	meter.every = time.Hour // from now on the test samples
	meter.sample()
	m.pass(100*time.Millisecond, 0)
	meter.sample()
	m.pass(80*time.Millisecond, 0)
	ahead := wantJoules(t, meter, "cuda:0", 54).Joules
	// The device has been idle for the last 80 ms: 30 J, not 54.
	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Energy, r.Power = telemetry.Known(1030), telemetry.Known(10) })
	meter.sample()
	if got := part(t, meter, "cuda:0").Joules; got != ahead {
		t.Errorf("%g J after %g", got, ahead)
	}
	m.pass(3*time.Second, 0)
	meter.sample()
	wantJoules(t, meter, "cuda:0", 60) // 30 + 3 s of 10 W: no drift is left
	// A sampler that has stopped, as in a machine that sleeps, is not trusted for long.
	m.pass(time.Hour, 0)
	wantJoules(t, meter, "cuda:0", 70)
}

// The goroutine counts by itself, while others read; and ends.
func TestMeterRuns(t *testing.T) {
	fake := telemetrytest.New(telemetrytest.GPU("GPU-a", 100))
	meter := Open(Options{Device: "cuda:0", Monitor: monitor(t, fake), Every: time.Millisecond, Baseline: -1})
	var wg sync.WaitGroup
	deadline := time.Now().Add(10 * time.Second)
	for range 4 {
		wg.Go(func() {
			last := -1.0
			for fake.Reads() < 20 && time.Now().Before(deadline) {
				for _, p := range meter.Read() {
					if p.Component != "cuda:0" {
						continue
					}
					if p.Joules < last {
						t.Errorf("%g J after %g", p.Joules, last)
					}
					last = p.Joules
				}
			}
		})
	}
	wg.Wait()
	meter.Close()
	meter.Close()
	a, b := meter.Read(), meter.Read()
	if len(a) != 3 || a[2].Joules != b[2].Joules || a[2].Joules <= 0 {
		t.Errorf("%+v and %+v", a, b)
	}
	n := fake.Reads()
	if n < 20 {
		t.Errorf("%d samples", n)
	}
}

// A ledger prices each stretch at its own price: 1 kWh in an hour at 0.10 and 1 kWh in one at
// 0.40; and goes on from what was before.
func TestLedger(t *testing.T) {
	m := newMachine(t, nil)
	meter := m.open(Options{Meter: "1000W"})
	r := &Rates{Tariff: Tariff{Series: series(t, "EUR", 0.10, 0.40)}, Carbon: series(t, "", 100, 300), Device: Money{2, "EUR"}, PUE: 1.2}
	m.pass(0, 0)
	before := Usage{Seconds: 60, Joules: 1000, Grams: 5, Cost: Money{7, "EUR"}, DeviceCost: Money{7, "EUR"}, Parts: []Part{{Component: "cpu", Joules: 1000, Source: "RAPL"}}}
	l, err := NewLedger(meter, r, before)
	if err != nil {
		t.Fatal(err)
	}
	for range 120 {
		m.pass(time.Minute, 0)
		l.Usage()
	}
	u := l.Usage()
	if !close6(u.Joules, 1000+2*3.6e6) || !close6(u.Seconds, 7260) || !close6(u.Grams, 5+1.2*(100+300)) || !close6(u.EnergyCost.Amount, 1.2*0.5) || !close6(u.DeviceCost.Amount, 7+4) || !close6(u.Cost.Amount, 11.6) {
		t.Errorf("%+v", u)
	}
	if len(u.Parts) != 2 || u.Parts[0].Joules != 1000 || !close6(u.Parts[1].Joules, 7.2e6) || !u.Estimated {
		t.Errorf("%+v", u.Parts)
	}
	// The third hour has no price: the mean of the others.
	m.pass(time.Hour, 0)
	if v := l.Usage(); !close6(v.EnergyCost.Amount, 1.2*0.75) || !strings.Contains(strings.Join(v.Sources, "\n"), "does not cover") {
		t.Errorf("%+v", v)
	}
	if len(before.Parts) != 1 || before.Parts[0].Joules != 1000 || len(u.Parts) != 2 {
		t.Error("what was handed out has changed")
	}
	if _, err := NewLedger(meter, &Rates{Device: Money{1, "USD"}}, before); err == nil || !strings.Contains(err.Error(), "EUR") || !strings.Contains(err.Error(), "USD") {
		t.Errorf("another currency: %v", err)
	}
	if _, err := NewLedger(meter, &Rates{PUE: 0.5}, Usage{}); err == nil {
		t.Error("a PUE of 0.5")
	}
}

func BenchmarkRead(b *testing.B) {
	meter := Open(Options{Baseline: -1})
	defer meter.Close()
	for b.Loop() {
		meter.Read()
	}
}

// What the goroutine does ten times a second, with counters as a server with two sockets has them.
func BenchmarkSample(b *testing.B) {
	root := b.TempDir()
	for name, text := range rapl(nil) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			b.Fatal(err)
		}
	}
	meter := Open(Options{Root: root, Every: time.Hour, Baseline: -1})
	defer meter.Close()
	for b.Loop() {
		meter.Sync()
	}
}

func BenchmarkLedger(b *testing.B) {
	meter := Open(Options{Baseline: -1})
	defer meter.Close()
	r, err := FindRegion("FRA")
	if err != nil {
		b.Fatal(err)
	}
	l, err := NewLedger(meter, &Rates{Region: r, Tariff: Tariff{PerKWh: Money{0.25, "EUR"}}, Device: Money{2, "EUR"}}, Usage{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l.Usage()
	}
}
