package cuda

import (
	"errors"
	"time"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cuda"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Trace has f called after every run of a program; see device.Traced. Programs that are
// traced are not launched as graphs, and each is waited for.
func (d *Device) Trace(f func(p *kernel.Program, events []device.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trace = f
}

// traced runs a program with an event between steps and tells when its kernels ran. The
// device's clock is set against the host's by the end of the last kernel, which is now. The
// lock is held, the context current.
func (d *Device) traced(e *executable) error {
	var marks []cuda.Event
	var steps []int // that end with the mark after
	mark := func() error {
		ev, err := d.cu.EventCreate(cuda.EventDefault)
		if err == nil {
			marks = append(marks, ev)
			err = d.cu.EventRecord(ev, d.compute)
		}
		return err
	}
	defer func() {
		for _, ev := range marks {
			_ = d.cu.EventDestroy(ev)
		}
	}()
	err := d.cu.StreamSynchronize(d.compute)
	if err == nil {
		err = mark()
	}
	if err == nil {
		err = e.direct(d.compute, func(i int) error {
			step := e.nodes[i].step
			if i+1 < len(e.nodes) && e.nodes[i+1].step == step {
				return nil
			}
			steps = append(steps, step)
			return mark()
		})
	}
	if err == nil {
		err = errors.Join(d.cu.EventRecord(d.flight.ends[d.flight.last%maxFlight], d.compute), d.cu.StreamSynchronize(d.compute))
	}
	now := time.Now()
	events := make([]device.Event, len(steps))
	at := make([]time.Time, len(marks))
	for i := range marks {
		var ms float32
		if err == nil {
			ms, err = d.cu.EventElapsedTime(marks[i], marks[len(marks)-1])
		}
		at[i] = now.Add(-time.Duration(float64(ms) * 1e6))
	}
	if err != nil {
		return d.fail("running "+d.flight.doing(), err)
	}
	d.flight.done = d.flight.last
	for i, s := range steps {
		events[i] = device.Event{Step: s, Begin: at[i], End: at[i+1], Workers: []device.Span{{Begin: at[i], End: at[i+1]}}}
	}
	d.trace(e.seq.Program, events)
	return nil
}
