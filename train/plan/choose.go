package plan

import (
	"errors"
	"math"
	"runtime"
	"sync"

	"github.com/sinter-dl/sinter"
)

// ForecastAll is Forecast for each device, with the largest batches that they hold.
//
// For a single device the largest batch is planned exactly (Largest). For several it is
// where the line through two exact plans, of the batch asked for and of a multiple of it,
// meets the device's memory: then each step is recorded twice and not twice for every device.
// Workspaces grow less than the batch, so that the line is on the safe side.
func (p *Planner) ForecastAll(devices []Device, batch int, terms Terms) ([]*Forecast, error) {
	list := make([]*Forecast, len(devices))
	errs := make([]error, len(devices))
	limit := math.MaxInt
	if n := p.set.Len(); n > 0 {
		limit = n
	}
	if len(devices) == 1 {
		f, err := p.Forecast(devices[0], batch, terms)
		if err != nil {
			return nil, err
		}
		if f.Memory.Capacity > 0 {
			if f.Largest, _, err = p.Largest(devices[0], min(limit, maxBatch)); err != nil {
				return nil, err
			}
			f.Exact, f.Limited = true, f.Largest == limit
		}
		return []*Forecast{f}, nil
	}
	first := batch
	if first == 0 {
		first = p.steps.Batch()
	}
	// Recording changes the model's mode, so that it is done before the devices share it.
	second := min(3*first, limit)
	for _, n := range []int{first, second} {
		if _, err := p.Forecast(devices[0], n, terms); err != nil && n == first {
			return nil, err
		}
	}
	var wait sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := range next {
				list[i], errs[i] = p.forecast(devices[i], first, second, limit, terms)
			}
		})
	}
	for i := range devices {
		next <- i
	}
	close(next)
	wait.Wait()
	return list, errors.Join(errs...)
}

// maxBatch is the largest batch that is looked for.
const maxBatch = 1 << 20

func (p *Planner) forecast(d Device, first, second, limit int, terms Terms) (*Forecast, error) {
	f, err := p.Forecast(d, first, terms)
	if err != nil || f.Memory.Capacity == 0 {
		return f, err
	}
	on, err := d.target()
	if err != nil {
		return nil, err
	}
	if second <= first {
		f.Largest, f.Limited = first, true
		if !f.Fits {
			f.Largest, f.Limited = 0, false
		}
		return f, nil
	}
	s, err := p.steps.Memory(on.Rough(), second)
	if err != nil {
		var build *sinter.BuildError
		if errors.As(err, &build) {
			return f, nil
		}
		return nil, err
	}
	more := d.memory(&s)
	slope := float64(more.Total-f.Memory.Total) / float64(second-first)
	if slope <= 0 {
		return f, nil
	}
	n := float64(first) + float64(f.Memory.Capacity-f.Memory.Total)/slope
	f.Largest = int(max(0, min(n, float64(min(limit, maxBatch)))))
	f.Limited = f.Largest == limit
	return f, nil
}
