package power

import (
	"fmt"
	"math"
	"runtime"
	"time"
)

// find makes the channels.
func (m *Meter) find(o Options) {
	watts, err := givenWatts(o.Meter)
	if err != nil {
		m.problems = append(m.problems, err.Error())
	}
	if watts > 0 {
		m.add(Part{Component: "machine", Source: fmt.Sprintf("given: %g W", watts), Estimated: true}, &constant{watts: watts, last: m.clock()})
		m.idleFrom = "not known of a given power"
		return
	}
	threads := runtime.NumCPU()
	full := float64(threads) * wattsPerThread
	cpuTime := o.CPUTime
	if cpuTime == nil {
		cpuTime = processTime
	}
	m.add(Part{Component: "cpu", Source: fmt.Sprintf("model: %g W for each of %d threads", wattsPerThread, threads), Estimated: true},
		newLoad(full, threads, cpuTime, m.clock()))
	m.idle, m.idleFrom = full*idleShare, "model"
}

func (m *Meter) add(p Part, s sensor) {
	m.channels = append(m.channels, &channel{part: p, sensor: s})
}

// constant is a power that was given.
type constant struct {
	watts float64
	last  time.Time
}

func (c *constant) advance(now time.Time) (joules, watts float64, note string, err error) {
	dt := now.Sub(c.last).Seconds()
	c.last = now
	return c.watts * dt, c.watts, "", nil
}

const (
	wattsPerThread = 4.0 // of a processor that is in no table, as CodeCarbon has it
	idleShare      = 0.1 // of its full power that a processor takes idle
)

// loadWatts is the power of a processor at a load between 0 and 1: between idle and full as
// measured of servers by Fan, Weber and Barroso ("Power provisioning for a warehouse-sized
// computer", ISCA 2007): idle + (full - idle)(2u - u^1.4).
func loadWatts(full, u float64) float64 {
	u = min(max(u, 0), 1)
	return full * (idleShare + (1-idleShare)*(2*u-math.Pow(u, 1.4)))
}

// load estimates the power of the processors by the time that this process computes.
type load struct {
	full    float64
	threads int
	cpuTime func() (time.Duration, bool)
	used    time.Duration
	last    time.Time
}

func newLoad(full float64, threads int, cpuTime func() (time.Duration, bool), now time.Time) *load {
	l := &load{full: full, threads: threads, cpuTime: cpuTime, last: now}
	l.used, _ = cpuTime()
	return l
}

func (l *load) advance(now time.Time) (joules, watts float64, note string, err error) {
	dt := now.Sub(l.last).Seconds()
	if dt <= 0 {
		return 0, 0, "", nil
	}
	used, ok := l.cpuTime()
	u := 1.0
	if ok {
		u = (used - l.used).Seconds() / dt / float64(l.threads)
	} else {
		note = "the system does not tell how long this process computes; full load is assumed"
	}
	l.used, l.last = used, now
	w := loadWatts(l.full, u)
	return w * dt, w, note, nil
}
