package power

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/hardware/telemetry"
)

// find makes the channels: of the processors, of the memory, of the device.
func (m *Meter) find(o Options) {
	watts, err := givenWatts(o.Meter)
	if err != nil {
		m.problems = append(m.problems, err.Error()+"; taken as auto")
	}
	if watts > 0 {
		m.add(Part{Component: "machine", Source: fmt.Sprintf("given: %g W", watts), Estimated: true}, &constant{watts: watts, last: m.clock()})
		m.idleFrom = "not known where the power is given"
		return
	}
	counters := o.Meter != "model"
	m.findCPU(o, counters)
	if !isProcessor(o.Device, o.Model) {
		m.findGPU(o, counters)
	}
}

// idle adds to the power that the machine takes idle.
func (m *Meter) addIdle(watts float64, of, from string) {
	m.idle += watts
	if m.idleFrom != "" {
		m.idleFrom += "; "
	}
	m.idleFrom += of + ": " + from
}

func (m *Meter) findCPU(o Options, counters bool) {
	h := readHost(o.Root)
	var zones []*zone
	if counters {
		why := fmt.Sprintf("counters of the processor's energy are read on Linux alone, not on %s", runtime.GOOS)
		if o.Root != "" || runtime.GOOS == "linux" {
			zones, why = findRAPL(o.Root)
		}
		if zones == nil {
			m.problems = append(m.problems, why+". The processor's energy is estimated")
		}
	}
	if zones != nil {
		all, _ := cpuModel(h.model, h.sockets, h.threads, 0, false)
		m.addRAPL(o, zones, loadWatts(all, 0))
	} else {
		cpuTime := o.CPUTime
		if cpuTime == nil {
			cpuTime = processTime
		}
		m.add(Part{Component: "cpu", Source: h.source, Estimated: true}, newLoad(h.full, h.usable, cpuTime, m.clock()))
		m.addIdle(loadWatts(h.full, 0), "cpu", "model")
	}
	switch {
	case slices.ContainsFunc(m.channels, func(c *channel) bool { return strings.HasPrefix(c.part.Component, "memory") }): // counted
	case h.memory == 0:
		m.problems = append(m.problems, "how much memory the machine has is not known, and its energy is not counted")
	default:
		m.add(Part{Component: "memory", Source: h.memorySource, Estimated: true}, &constant{watts: h.memory, last: m.clock()})
		m.addIdle(h.memory, "memory", "model")
	}
}

// addRAPL adds the zones, after it has watched them for a while without work.
func (m *Meter) addRAPL(o Options, zones []*zone, tableIdle float64) {
	watch := cmp.Or(o.Baseline, 100*time.Millisecond)
	before := m.clock()
	for _, z := range zones {
		z.advance(before) // counts from now on
	}
	from := "model, a tenth of the TDP"
	if watch > 0 && m.every > 0 {
		time.Sleep(watch)
		now := m.clock()
		idle := 0.0
		for _, z := range zones {
			_, w, _, err := z.advance(now)
			if err == nil {
				idle += w
			}
		}
		m.addIdle(idle, "cpu", fmt.Sprintf("RAPL, measured for %v before the run", watch))
	} else {
		m.addIdle(tableIdle, "cpu", from)
	}
	for _, z := range zones {
		m.add(Part{Component: z.name, Source: "RAPL"}, z)
	}
}

func (m *Meter) findGPU(o Options, counters bool) {
	why := "telemetry was not asked, for the meter is to be the model"
	if counters {
		monitor := o.Monitor
		if monitor == nil {
			opened, err := telemetry.Open(telemetry.Options{Root: o.Root})
			if err != nil {
				why = err.Error()
			}
			monitor = opened
		}
		if monitor != nil {
			f := &feed{monitor: monitor, close: o.Monitor == nil}
			idle, from, problem := m.addGPU(o, f)
			if problem == "" {
				m.feed = f
				m.addIdle(idle, o.Device, from)
				return
			}
			if why = problem; len(monitor.Problems()) > 0 {
				why += " (" + strings.Join(monitor.Problems(), "; ") + ")"
			}
			if f.close {
				monitor.Close()
			}
		}
	}
	card, ok := hardware.Match(o.Model)
	if !ok || card.Power == 0 {
		m.problems = append(m.problems, fmt.Sprintf("%s. The energy of %s is NOT counted, for its power is not known either", why, o.Device))
		return
	}
	if counters {
		m.problems = append(m.problems, fmt.Sprintf("%s. The energy of %s is estimated as if it always took its full power, %g W", why, o.Device, card.Power))
	}
	m.add(Part{Component: o.Device, Source: fmt.Sprintf("model: full power of %s, %g W", card.Name, card.Power), Estimated: true}, &constant{watts: card.Power, last: m.clock()})
	m.addIdle(card.Idle, o.Device, "the catalogue")
}

func (m *Meter) add(p Part, s sensor) {
	m.channels = append(m.channels, &channel{part: p, sensor: s})
}

// constant is a power that does not change.
type constant struct {
	watts float64
	last  time.Time
}

func (c *constant) advance(now time.Time) (joules, watts float64, note string, err error) {
	dt := now.Sub(c.last).Seconds()
	c.last = now
	return c.watts * dt, c.watts, "", nil
}

// load estimates the power of the processors by the time that this process computes.
type load struct {
	full    float64
	threads float64
	cpuTime func() (time.Duration, bool)
	used    time.Duration
	last    time.Time
}

func newLoad(full, threads float64, cpuTime func() (time.Duration, bool), now time.Time) *load {
	l := &load{full: full, threads: threads, cpuTime: cpuTime, last: now}
	l.used, _ = cpuTime()
	return l
}

func (l *load) advance(now time.Time) (joules, watts float64, note string, err error) {
	dt := now.Sub(l.last).Seconds()
	if dt <= 0 {
		return 0, loadWatts(l.full, 0), "", nil
	}
	used, ok := l.cpuTime()
	u := 1.0
	if ok {
		u = (used - l.used).Seconds() / dt / l.threads
	} else {
		note = "the system does not tell how long this process computes; full load is assumed"
	}
	l.used, l.last = used, now
	w := loadWatts(l.full, u)
	return w * dt, w, note, nil
}
