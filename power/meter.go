package power

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/hardware/telemetry"
)

// Options is what to measure, and how. The zero value measures this machine's processors and
// memory.
type Options struct {
	// Device is the run's, "cuda:0", whose energy counts with that of the processors; with "" and
	// "cpu" no GPU counts. Model is what its driver calls it: with that its power is estimated by
	// the catalogue where it cannot be measured. Aliases are other names of it, with a UUID in
	// them, "cuda:GPU-…", by which it is told from others.
	Device, Model string
	Aliases       []string
	// Monitor reads the device; nil opens one. It has to know what Sinter calls devices, see
	// telemetry.Options.Names, if there are several.
	Monitor *telemetry.Monitor
	// Meter is what to measure with: "" or "auto", the best that there is; "model", no counters;
	// "250W", a machine that takes 250 W as measured by hand.
	Meter string

	Root     string                       // of the file system with procfs and sysfs; "" is /
	Clock    func() time.Time             // nil is time.Now
	Every    time.Duration                // between samples; 0 is 100 ms. Below 0 nothing runs in the background, and Read samples: for tests
	Baseline time.Duration                // for how long Open watches the machine idle; 0 is 100 ms, below 0 the table's figure is taken
	CPUTime  func() (time.Duration, bool) // of this process, for the model; nil asks the system
}

// CheckMeter tells whether a text can be the Meter of Options.
func CheckMeter(text string) error {
	_, err := givenWatts(text)
	return err
}

// givenWatts is the number of a Meter such as "250W", 0 if it is one of the words.
func givenWatts(text string) (float64, error) {
	switch text {
	case "", "auto", "model":
		return 0, nil
	}
	if number, ok := strings.CutSuffix(strings.TrimSpace(text), "W"); ok {
		if w, err := strconv.ParseFloat(strings.TrimSpace(number), 64); err == nil && w > 0 && w < 1e6 {
			return w, nil
		}
	}
	return 0, fmt.Errorf("power: unknown meter %q; there are auto (the best that the machine has), model (an estimate by load) and a constant power such as 250W", text)
}

// Meter counts the joules of a machine's parts since it was opened.
//
// A goroutine asks the sensors every tenth of a second, often enough for counters that wrap
// around and for a power that is integrated. Read does not ask them: it extrapolates from
// the last sample by the last power, and never goes back, so that what it gives may be ahead
// of a sensor for a moment, but does not drift from it.
type Meter struct {
	clock    func() time.Time
	every    time.Duration
	channels []*channel
	idle     float64
	idleFrom string
	problems []string
	stop     chan struct{}
	done     chan struct{}
	once     sync.Once
	feed     *feed      // of the sensors of devices, if there are some
	sampling sync.Mutex // held while the sensors are asked

	mu sync.Mutex // of what follows in the channels
}

// channel is a part that is counted.
type channel struct {
	part   Part
	sensor sensor
	at     time.Time // of the last sample

	// Under Meter.mu.
	joules float64 // until at
	watts  float64 // at that time
	given  float64 // the most that Read has given
	gone   bool
	missed bool // the last time; Note says so
}

// sensor is where a channel's joules come from.
type sensor interface {
	// advance gives the joules since the advance before it, or since the sensor was made, and
	// the watts now. An error that is not a goneError is for this time only: the next advance
	// covers the time of this one too.
	advance(now time.Time) (joules, watts float64, note string, err error)
}

// goneError is a sensor that will not come back.
type goneError struct{ err error }

func (e *goneError) Error() string { return e.err.Error() }
func (e *goneError) Unwrap() error { return e.err }

// Open starts to count. It does not fail: what cannot be measured is estimated, and Problems
// says why. It takes as long as Options.Baseline, in which the machine's idle power is
// measured, and is to be called before the work begins.
func Open(o Options) *Meter {
	m := &Meter{clock: o.Clock, every: cmp.Or(o.Every, 100*time.Millisecond)}
	if m.clock == nil {
		m.clock = time.Now
	}
	m.find(o)
	for _, c := range m.channels {
		c.at = m.clock()
	}
	if m.every > 0 {
		m.stop, m.done = make(chan struct{}), make(chan struct{})
		go m.run()
	}
	return m
}

func (m *Meter) run() {
	defer close(m.done)
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			m.sample()
		}
	}
}

// sample asks the sensors.
func (m *Meter) sample() {
	m.sampling.Lock()
	defer m.sampling.Unlock()
	if m.feed != nil {
		m.feed.refresh()
	}
	for _, c := range m.channels {
		if c.gone {
			continue
		}
		now := m.clock()
		joules, watts, note, err := c.sensor.advance(now)
		m.mu.Lock()
		switch gone := (*goneError)(nil); {
		case err == nil:
			c.joules += max(0, joules)
			c.watts, c.at = max(0, watts), now
			if note != "" || c.missed {
				c.part.Note, c.missed = note, false
			}
		case errors.As(err, &gone):
			c.gone, c.watts = true, 0
			c.part.Note = fmt.Sprintf("gone since %s, what was counted before is kept: %v", now.Format(time.TimeOnly), err)
		default:
			c.watts, c.missed = 0, true
			c.part.Note = fmt.Sprintf("not read at %s: %v", now.Format(time.TimeOnly), err)
		}
		m.mu.Unlock()
	}
}

// Sync asks the sensors now, so that what Read gives next is exact and not extrapolated: for
// the end of what is measured. It takes as long as the sensors do.
func (m *Meter) Sync() { m.sample() }

// Read gives the joules of every part since Open. They never decrease.
func (m *Meter) Read() []Part {
	parts := make([]Part, 0, len(m.channels))
	m.each(func(c *channel) {
		p := c.part
		p.Joules = c.given
		parts = append(parts, p)
	})
	return parts
}

// each calls f for every channel, with its given brought up to now.
func (m *Meter) each(f func(c *channel)) {
	if m.every < 0 {
		m.sample()
	}
	now := m.clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.channels {
		// A sampler that is late is trusted for a second, so that a machine that slept does not
		// count as one that worked.
		ahead := min(now.Sub(c.at), time.Second).Seconds()
		c.given = max(c.given, c.joules+c.watts*max(0, ahead))
		f(c)
	}
}

// IdleWatts is what the parts take when nothing runs, and how that is known.
func (m *Meter) IdleWatts() (w float64, source string) { return m.idle, m.idleFrom }

// Problems is why parts are estimated or not counted, in sentences with what can be done.
func (m *Meter) Problems() []string { return slices.Clone(m.problems) }

// Close stops counting. What Read gives stays.
func (m *Meter) Close() {
	m.once.Do(func() {
		if m.stop != nil {
			close(m.stop)
			<-m.done
		}
		m.sample()
		m.sampling.Lock()
		defer m.sampling.Unlock()
		if m.feed != nil && m.feed.close {
			m.feed.monitor.Close()
		}
		m.feed = nil
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, c := range m.channels {
			c.gone, c.watts = true, 0
		}
	})
}
