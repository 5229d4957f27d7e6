package cpu

import (
	"time"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Trace has f called after every run of a program; see device.Traced.
func (d *Device) Trace(f func(p *kernel.Program, events []device.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trace, d.events = f, nil
}

// traced is run with times taken around every step. Within the body of a Scan none are.
func (d *Device) traced(c *compiled, arena unsafe.Pointer) {
	c.place(arena)
	spans := make([][]device.Span, d.pool.Workers()) // by worker, so that none waits for another
	stop := d.pool.Trace(func(worker int, begin, end time.Time) {
		spans[worker] = append(spans[worker], device.Span{Worker: worker, Begin: begin, End: end})
	})
	d.events = d.events[:0]
	for i, s := range c.steps {
		e := device.Event{Step: i, Begin: time.Now()}
		s.run(c.slots)
		e.End = time.Now()
		for w, l := range spans {
			if len(l) > 0 {
				// The pieces that a worker has done of one kernel are one.
				e.Workers = append(e.Workers, device.Span{Worker: w, Begin: l[0].Begin, End: l[len(l)-1].End})
				spans[w] = l[:0]
			}
		}
		if len(e.Workers) == 0 { // the caller alone
			e.Workers = []device.Span{{Begin: e.Begin, End: e.End}}
		}
		d.events = append(d.events, e)
	}
	stop()
	d.trace(c.p, d.events)
}
