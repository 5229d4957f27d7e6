// Package monitor reads what there is to see of a machine that trains: its devices, the
// machine itself, and the runs of Sinter on it. 'sinter top' shows it to people, 'sinter
// export' to Prometheus.
//
// What comes as a rate, the load of the processors and the power of what has a counter of
// energy only, is a mean over the time since the reading before. The first reading has
// none, and says so.
package monitor

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/live"
)

// Snapshot is what there was to see at a time.
type Snapshot struct {
	Time     time.Time           `json:"time"`
	Host     Host                `json:"host"`
	Devices  []telemetry.Reading `json:"devices"`
	Runs     []live.Run          `json:"runs"`
	Problems []string            `json:"problems"` // what could not be read, and why
}

// Host is the machine without its GPUs.
type Host struct {
	Name    string `json:"name"`
	CPU     string `json:"cpu"` // its model
	Threads int    `json:"threads"`

	Load        telemetry.Value `json:"load_percent"` // of all threads together
	Busy        telemetry.Value `json:"busy_seconds"` // of all threads since the machine was started
	MemoryTotal telemetry.Value `json:"memory_total_bytes"`
	MemoryUsed  telemetry.Value `json:"memory_used_bytes"`

	// Power is of the processors, and of the memory where that is measured.
	Power     telemetry.Value `json:"power_watts"`
	Estimated bool            `json:"power_estimated"` // by a model
	Source    string          `json:"power_source"`
	Energy    []power.Part    `json:"energy"` // since the reader was opened
}

// Options is what a reader works with; the zero value reads this machine.
type Options struct {
	Root      string             // of the file system with procfs and sysfs, for tests; "" is /
	Telemetry *telemetry.Monitor // nil: one is opened
	Runs      func() ([]live.Run, error)
	Meter     *power.Meter // of the machine without its GPUs; nil: one is opened
	Clock     func() time.Time
}

// Reader reads a machine. It may be used by several goroutines at a time.
type Reader struct {
	o        Options
	devices  *telemetry.Monitor // nil: it could not be opened
	meter    *power.Meter
	cpu      hardware.CPU
	name     string
	problems []string // since it was opened

	mu     sync.Mutex
	at     time.Time // of the reading before
	busy   float64   // s
	joules float64
}

// Open does not fail: what cannot be read is n/a, and the snapshot's Problems say why.
func Open(o Options) *Reader {
	r := &Reader{o: o, devices: o.Telemetry, meter: o.Meter}
	if r.o.Clock == nil {
		r.o.Clock = time.Now
	}
	if r.o.Runs == nil {
		r.o.Runs = live.List
	}
	var err error
	if r.devices == nil {
		if r.devices, err = telemetry.Open(telemetry.Options{Root: o.Root}); err != nil {
			r.problems = append(r.problems, err.Error())
		}
	}
	if r.cpu, err = r.system().CPU(); err != nil {
		r.problems = append(r.problems, err.Error())
	}
	r.name, _ = os.Hostname()
	if r.meter == nil {
		r.meter = power.Open(power.Options{Device: "cpu", Root: o.Root, Clock: o.Clock, CPUTime: func() (time.Duration, bool) {
			busy, err := busy(o.Root) // where the power is by a model, of the whole machine
			return time.Duration(busy * float64(time.Second)), err == nil
		}})
	}
	return r
}

func (r *Reader) system() hardware.System { return hardware.System{Root: r.o.Root} }

// Problems says why there is nothing to see of some kinds of device.
func (r *Reader) Problems() []string {
	if r.devices == nil {
		return nil
	}
	return r.devices.Problems()
}

// Read is what there is to see now.
func (r *Reader) Read() Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Snapshot{Time: r.o.Clock(), Devices: []telemetry.Reading{}, Runs: []live.Run{}, Problems: append([]string{}, r.problems...)}
	if r.devices != nil {
		s.Devices = append(s.Devices, r.devices.Read()...)
	}
	runs, err := r.o.Runs()
	s.Runs = append(s.Runs, runs...)
	if err != nil {
		s.Problems = append(s.Problems, strings.Split(err.Error(), "\n")...)
	}
	r.host(&s)
	return s
}

// host reads the machine.
func (r *Reader) host(s *Snapshot) {
	const first = "it takes two readings"
	h := &s.Host
	now := r.o.Clock() // devices may have taken their time
	*h = Host{Name: r.name, CPU: r.cpu.Model, Threads: r.cpu.Threads, Load: telemetry.Unknown(first), Power: telemetry.Unknown(first), Energy: r.meter.Read()}
	dt := now.Sub(r.at).Seconds()
	again := !r.at.IsZero() && dt > 0
	if busy, err := busy(r.o.Root); err != nil {
		h.Busy, h.Load = telemetry.Unknown(err.Error()), telemetry.Unknown(err.Error())
	} else {
		h.Busy = telemetry.Known(busy)
		if again && h.Threads > 0 {
			h.Load = telemetry.Known(100 * min(max((busy-r.busy)/dt/float64(h.Threads), 0), 1))
		}
		r.busy = busy
	}
	joules := 0.0
	var sources []string
	for _, p := range h.Energy {
		joules += p.Joules
		h.Estimated = h.Estimated || p.Estimated
		sources = append(sources, p.Component+": "+p.Source)
	}
	h.Source = strings.Join(sources, "; ")
	switch {
	case len(h.Energy) == 0:
		h.Power = telemetry.Unknown("nothing measures it")
	case again:
		h.Power = telemetry.Known(max(0, joules-r.joules) / dt)
	}
	m, err := r.system().Memory()
	h.MemoryTotal, h.MemoryUsed = telemetry.Unknown("the system does not tell it"), telemetry.Unknown("the system does not tell it")
	if m.Total > 0 {
		h.MemoryTotal = telemetry.Known(float64(m.Total))
		if m.Available > 0 {
			h.MemoryUsed = telemetry.Known(float64(m.Total - m.Available))
		}
	}
	if err != nil && m.Total == 0 {
		h.MemoryTotal.Why, h.MemoryUsed.Why = err.Error(), err.Error()
	}
	r.at, r.joules = now, joules
}

// Close gives back what the reader holds.
func (r *Reader) Close() error {
	r.meter.Close()
	if r.devices == nil {
		return nil
	}
	return r.devices.Close()
}
