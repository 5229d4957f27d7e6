package monitor

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/hardware/telemetry/telemetrytest"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/live"
)

// machine is the files of one with two threads.
type machine struct {
	t    *testing.T
	root string
}

func (m machine) write(name, text string) {
	m.t.Helper()
	name = filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		m.t.Fatal(err)
	}
}

// Load and power are means between two readings, by hand: of the twenty seconds that two
// threads have in ten, user's 5 s, nice 1 s, system 2 s and interrupts 1 s are nine of work;
// idle 6 s, waiting for disks 4 s and stolen 1 s are not.
func TestRates(t *testing.T) {
	m := machine{t, t.TempDir()}
	m.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\n\nprocessor\t: 1\nmodel name\t: Some CPU\n")
	m.write("proc/meminfo", "MemTotal: 8000000 kB\nMemFree: 1000000 kB\nMemAvailable: 6000000 kB\n")
	m.write("proc/stat", "cpu  1000 0 1000 50000 100 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
	now := time.Unix(1000, 0)
	clock := func() time.Time { return now }
	source := telemetrytest.New(telemetrytest.GPU("GPU-1", 250))
	devices, err := telemetry.Open(telemetry.Options{Sources: []telemetry.Source{source}})
	if err != nil {
		t.Fatal(err)
	}
	r := Open(Options{Root: m.root, Telemetry: devices, Clock: clock, Runs: func() ([]live.Run, error) {
		return []live.Run{{PID: 1}}, errors.New("one\ntwo")
	}, Meter: power.Open(power.Options{Meter: "50W", Every: -1, Clock: clock})})
	s := r.Read()
	if s.Host.Load.OK || s.Host.Power.OK || s.Host.Load.Why == "" {
		t.Errorf("the first reading has rates: %+v", s.Host)
	}
	if s.Host.CPU != "Some CPU" || s.Host.Threads != 2 || s.Host.Busy.V != 20 || s.Host.MemoryTotal.V != 8000000*1024 || s.Host.MemoryUsed.V != 2000000*1024 {
		t.Errorf("the machine is %+v", s.Host)
	}
	m.write("proc/stat", "cpu  1500 100 1200 50600 500 40 60 100 0 0\n")
	now = now.Add(10 * time.Second)
	s = r.Read()
	if math.Abs(s.Host.Load.V-45) > 1e-9 || math.Abs(s.Host.Power.V-50) > 1e-9 || !s.Host.Estimated || s.Host.Energy[0].Joules != 500 {
		t.Errorf("load %v %%, power %v W, %+v", s.Host.Load, s.Host.Power, s.Host.Energy)
	}
	if len(s.Devices) != 1 || len(s.Runs) != 1 || strings.Join(s.Problems, "|") != "one|two" {
		t.Errorf("%d devices, %d runs, problems %q", len(s.Devices), len(s.Runs), s.Problems)
	}
	m.write("proc/stat", "cpu  a b\n")
	if s = r.Read(); s.Host.Load.OK || s.Host.Busy.OK || !strings.Contains(s.Host.Load.Why, "proc(5)") {
		t.Errorf("the load of a damaged file is %+v", s.Host.Load)
	}
	if err := r.Close(); err != nil || !source.Closed() {
		t.Errorf("closing: %v", err)
	}
}

// Nothing there is no error: everything is n/a, and there are reasons.
func TestNothing(t *testing.T) {
	r := Open(Options{Root: t.TempDir(), Runs: func() ([]live.Run, error) { return nil, nil }})
	defer r.Close()
	s := r.Read()
	if s.Host.Load.OK || s.Host.MemoryTotal.OK || len(s.Devices) != 0 || s.Devices == nil || s.Runs == nil || len(s.Problems) == 0 {
		t.Errorf("%+v", s)
	}
	if len(r.Problems()) == 0 {
		t.Error("it is not said why there are no devices")
	}
}

// This machine's processors work while something computes.
func TestThisMachine(t *testing.T) {
	before, err := busy("")
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		if err == nil {
			t.Error("nothing is read here, and that is not said")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
	}
	if after, err := busy(""); err != nil || after <= before {
		t.Errorf("busy for %g s, then for %g s, error %v", before, after, err)
	}
}
