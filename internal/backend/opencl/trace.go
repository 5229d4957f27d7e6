package opencl

import (
	"time"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Trace has f called after every run of a program; see device.Traced.
func (d *Device) Trace(f func(p *kernel.Program, events []device.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trace = f
}

// timing is the events of a program that is traced: of every step the first and the last.
// It is nil if none is.
type timing struct {
	d    *Device
	list []timed
}

type timed struct {
	step        int
	first, last opencl.Event
}

// event is where to put the event of an operation.
func (t *timing) event(step int) *opencl.Event {
	if t == nil {
		return nil
	}
	n := len(t.list)
	if n == 0 || t.list[n-1].step != step {
		t.list = append(t.list, timed{step: step})
		return &t.list[n].first
	}
	e := &t.list[n-1]
	if e.last != 0 {
		t.d.cl.ReleaseEvent(e.last)
	}
	return &e.last
}

// traced runs a program and tells when its kernels ran. The device's clock is set against
// the host's by the end of the last kernel, which is now.
func (d *Device) traced(e *executable) error {
	if d.timed == 0 {
		q, err := d.cl.CreateCommandQueue(d.ctx, d.id, opencl.ProfilingEnable)
		if err != nil {
			return d.says(err)
		}
		d.timed = q
	}
	if err := d.finish("a program that ran before"); err != nil {
		return err
	}
	t := &timing{d: d}
	err := e.enqueue(e.ops, d.timed, 0, -1, t)
	if finish := d.cl.Finish(d.timed); err == nil {
		err = finish
	}
	now := time.Now()
	if err != nil {
		return d.fail("program", err)
	}
	var begins, ends []uint64
	for i := range t.list {
		first, last := t.list[i].first, t.list[i].last
		if last == 0 {
			last = first
		}
		begin, err := d.cl.EventProfiling(first, opencl.ProfilingStart)
		if err != nil {
			return d.says(err)
		}
		end, err := d.cl.EventProfiling(last, opencl.ProfilingEnd)
		if err != nil {
			return d.says(err)
		}
		begins, ends = append(begins, begin), append(ends, end)
		d.cl.ReleaseEvent(first)
		if last != first {
			d.cl.ReleaseEvent(last)
		}
	}
	events := make([]device.Event, len(t.list))
	for i := range events {
		at := func(clock uint64) time.Time { return now.Add(-time.Duration(ends[len(ends)-1] - clock)) }
		events[i] = device.Event{Step: t.list[i].step, Begin: at(begins[i]), End: at(ends[i])}
		events[i].Workers = []device.Span{{Begin: events[i].Begin, End: events[i].End}}
	}
	d.trace(e.seq.Program, events)
	return nil
}
