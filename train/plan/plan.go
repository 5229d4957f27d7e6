// Package plan forecasts a training run: memory, time, energy, carbon and cost, on this
// machine's processor or on a device that need not be there, without running it.
//
//	train.Planner → sinter.Plan        the kernels and the exact memory of a step, for a device
//	              → Processor, roofline   how long each kernel takes (processor.go, roofline.go)
//	              → Forecast           the whole run: steps, evaluations, joules, money (forecast.go)
//
// Memory is exact: it is what the planner of programs says for the device, and what the
// device then holds. What a driver takes for itself is an estimate, and is apart.
//
// Time is a roofline: a kernel takes as long as its arithmetic or its memory traffic,
// whichever is longer, at the rates that the device reaches for such a kernel, and the time
// to launch it. For the processor of this machine the rates are measured, once, by
// Calibrate (calibrate.go); for devices of the catalogue they are those of the vendor's
// sheet times efficiencies that are written down in roofline.go, and nothing of it was
// measured on the device at hand. Every such figure is marked estimated.
package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
)

// CPU is the name of this machine's processor as a device.
const CPU = "cpu"

// Device is what a run is planned for: a card of the catalogue, or a slice of one, or this
// machine's processor.
type Device struct {
	Key  string // "cpu", "a100-80gb", "a100-80gb/1g.10gb"
	Name string
	Card *hardware.Card // nil: the processor

	// Of the processor.
	Processor *Processor // what it is measured to do; nil: not known, and no time is told
	Memory    int64      // bytes that the machine has, or that its control group may take; 0: not known
	Power     float64    // W at full load, estimated; 0: not known
	Idle      float64    // W

	here bool // it is the device in use
}

// InUse is the device that programs run on now. On a GPU that is in no catalogue, memory is
// planned and no time is told.
func InUse() (Device, error) {
	info, err := sinter.Device()
	if err != nil {
		return Device{}, err
	}
	calibration, _ := Cached()
	if info.Name == CPU {
		return This(calibration), nil
	}
	d := Device{Key: info.Name, Name: info.Model, here: true, Memory: info.Total}
	if c, ok := hardware.Match(info.Model); ok {
		d.Card = &c
	}
	return d, nil
}

// OfCard is a card as a device.
func OfCard(c hardware.Card) Device { return Device{Key: c.Key, Name: c.Name, Card: &c} }

// target is what programs are planned for.
func (d *Device) target() (*sinter.Target, error) {
	switch {
	case d.here:
		return sinter.CurrentTarget()
	case d.Card == nil:
		return sinter.CPUTarget()
	case d.Card.Capability > 0:
		return sinter.NVIDIATarget(d.Card.Capability, d.Card.Units, true), nil
	}
	return sinter.OpenCLTarget(d.Card.Units), nil
}

// Planner forecasts one run on any device.
type Planner struct {
	steps   *train.Planner
	trainer *train.Trainer
	set     data.Examples

	// Reading is the seconds that reading a batch takes on this machine with the Trainer's
	// workers, of those that are read beside the steps; 0: not measured.
	Reading float64
}

// Of prepares forecasts of a run that was made.
func Of(r *train.Report, t *train.Trainer, trainSet data.Examples) (*Planner, error) {
	steps, err := r.Planner()
	if err != nil {
		return nil, err
	}
	return &Planner{steps: steps, trainer: t, set: trainSet}, nil
}

// New prepares forecasts of what Fit would do with the same arguments.
func New(t *train.Trainer, model nn.Module, trainSet data.Examples, testSet data.Dataset) (*Planner, error) {
	steps, err := t.Planner(model, trainSet, testSet)
	if err != nil {
		return nil, err
	}
	return &Planner{steps: steps, trainer: t, set: trainSet}, nil
}

// Memory is what a run holds, in bytes.
type Memory struct {
	Weights   int64 `json:"weights_bytes"`
	Optimizer int64 `json:"optimizer_bytes"`
	Sums      int64 `json:"gradient_sums_bytes"` // of gradients of several batches
	// Arena is gradients, activations and workspace of a step: places that they take in
	// turns. What of each there is where most is alive stands in Gradients, Activations and
	// Workspace; what they do not add up to is lost between them.
	Arena       int64 `json:"arena_bytes"`
	Gradients   int64 `json:"gradients_bytes"`
	Activations int64 `json:"activations_bytes"`
	Workspace   int64 `json:"workspace_bytes"`
	Batches     int64 `json:"batches_bytes"`
	Results     int64 `json:"results_bytes"`
	// Driver is what a driver and the vendor's libraries take for themselves, an estimate.
	Driver int64 `json:"driver_bytes_estimated"`
	Total  int64 `json:"total_bytes"`
	// Capacity is the device's; 0: not known.
	Capacity int64 `json:"capacity_bytes"`
}

// Fits tells whether the device holds it. What the capacity is may not be known.
func (m *Memory) Fits() bool { return m.Capacity == 0 || m.Total <= m.Capacity }

// What the context of CUDA and the kernels of its libraries take of a card:
// between 300 and 600 MB by the card and the version. OpenCL's drivers take less.
const (
	driverCUDA   = 512 << 20
	driverOpenCL = 128 << 20
)

func (d *Device) driver() int64 {
	switch {
	case d.Card == nil:
		return 0
	case d.Card.Capability > 0:
		return driverCUDA
	}
	return driverOpenCL
}

func (d *Device) memory(p *train.StepPlan) Memory {
	m := Memory{
		Weights: p.Weights, Optimizer: p.Optimizer, Sums: p.Memory.Gradients, Arena: p.Arena,
		Batches: p.Batches, Results: p.Results, Capacity: d.Memory,
		Gradients: int64(p.Step.Peak.Gradients), Activations: int64(p.Step.Peak.Values), Workspace: int64(p.Step.Peak.Workspace),
	}
	if d.Card != nil {
		m.Capacity, m.Driver = d.Card.Memory, d.driver()
	}
	m.Total = p.Total() + m.Driver
	return m
}

// Largest is the largest batch that fits on a device, at most limit, with the planned bytes
// of it; 0 if not even one example fits. Memory grows with the batch, so the search
// halves; what it returns has been planned exactly.
func (p *Planner) Largest(d Device, limit int) (batch int, m Memory, err error) {
	on, err := d.target()
	if err != nil {
		return 0, Memory{}, err
	}
	known := make(map[int]Memory)
	holds := func(n int) (bool, error) {
		if m, ok := known[n]; ok {
			return m.Fits(), nil
		}
		s, err := p.steps.Plan(on, n)
		var build *sinter.BuildError
		if errors.As(err, &build) { // too few examples for the model, as for a batch norm
			return true, nil
		}
		if err != nil {
			return false, err
		}
		m := d.memory(&s)
		known[n] = m
		return m.Fits(), nil
	}
	if d.Memory == 0 && d.Card == nil {
		return 0, Memory{}, errors.New("plan: it is not known how much memory the machine has")
	}
	first := min(max(1, p.steps.Batch()), limit)
	if ok, err := holds(first); err != nil {
		return 0, Memory{}, err
	} else if !ok {
		limit = first - 1
	}
	// Two points make a line, and the batch that would fill the device on it is near the one
	// that does. Then the search closes in on it from both sides.
	low, high := 0, limit
	if limit >= first {
		low = first
	}
	for low < high {
		next := low + (high-low+1)/2
		if guess, ok := interpolate(known, low, high); ok {
			next = guess
		}
		ok, err := holds(next)
		if err != nil {
			return 0, Memory{}, err
		}
		if ok {
			low = next
		} else {
			high = next - 1
		}
	}
	return low, known[low], nil
}

// interpolate is the batch between low, which fits, and high, at which the line through the
// two largest that are known meets the capacity.
func interpolate(known map[int]Memory, low, high int) (int, bool) {
	var at []int
	for n := range known {
		at = append(at, n)
	}
	slices.Sort(at)
	if len(at) < 2 {
		if len(at) == 1 && at[0] <= high { // as if all of it grew
			m := known[at[0]]
			n := int(float64(at[0]) * float64(m.Capacity) / float64(max(1, m.Total)))
			return min(max(n, low+1), high), low < high
		}
		return 0, false
	}
	// The line through the neighbours of the capacity.
	i, _ := slices.BinarySearchFunc(at, true, func(n int, _ bool) int {
		m := known[n]
		if m.Fits() {
			return -1
		}
		return 1
	})
	i = min(max(i, 1), len(at)-1)
	a, b := known[at[i-1]], known[at[i]]
	if b.Total == a.Total {
		return 0, false
	}
	n := at[i-1] + int(float64(a.Capacity-a.Total)/float64(b.Total-a.Total)*float64(at[i]-at[i-1]))
	// A step off the line each time, so that the search ends.
	return min(max(n, low+1), high), low < high
}

// Fit is what of a card's slices holds a run.
type Fit struct {
	Profile string   `json:"profile"`
	Jobs    int      `json:"jobs"` // side by side
	Spare   int64    `json:"spare_bytes"`
	Rest    []string `json:"rest,omitempty"` // profiles of which one more fits beside those
}

// Slices tells which slices of the device hold a run that holds so many bytes, and as many as
// the driver takes in each.
func (d *Device) Slices(bytes int64) (list []Fit) {
	if d.Card == nil {
		return nil
	}
	for _, f := range hardware.Advise(*d.Card, bytes+d.driver()) {
		list = append(list, Fit{f.Profile.Name, f.Jobs, f.Spare, f.Rest})
	}
	return list
}

// String says it in a line.
func (f Fit) String() string {
	return fmt.Sprintf("%d × %s", f.Jobs, f.Profile)
}
