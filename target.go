package sinter

import (
	"fmt"
	"slices"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/cuda"
	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/backend/opencl"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/plan"
)

// Plan is what a program takes, known without running it.
type Plan struct {
	Arena    int   // bytes of the values in between, all together: the size of the arena
	Results  int   // bytes of the results
	Kernels  int   // how many
	Launches int   // what a GPU's queue gets for them; 0 on devices without a queue
	FLOPs    int64 // of matrix products, convolutions and attention, an addition and a multiplication each
	Traffic  int64 // bytes that kernels read and write, each counted once by kernel

	Costs []KernelCost // by kernel, in the order in which they run
	Peak  PlanPeak
}

// PlanPeak is what is alive in the arena, in bytes, while that is most.
type PlanPeak struct {
	Gradients int // of variables, from when they are computed until the update has read them
	Workspace int // scratch memory of the kernel that runs
	Values    int // all else: activations and their gradients
}

// KernelCost is what one kernel of a program does, in the terms that decide how long it
// takes on any device.
type KernelCost = null.Cost

// Target is what a program is planned for: a device that is there, or a model of one that
// need not be.
type Target struct {
	name  string
	rough bool
	dev   interface {
		Supports(composite string, narrow bool) bool
		Workspace(l *kernel.Library) int
	}
}

func (t *Target) String() string { return t.name }

// Computed is the precision that the target computes with where p is asked for: p, except
// that TF32 is float32 where no library rounds to it.
func (t *Target) Computed(p Precision) Precision {
	if r, ok := t.dev.(device.Rounding); p == TF32 && !(ok && r.TF32()) {
		return FP32
	}
	return p
}

// Rough is the target for plans that take less time and are nearly exact: the arena lacks
// what the launches of one kernel hand on to each other, and launches are not counted.
func (t *Target) Rough() *Target { return &Target{t.name, true, t.dev} }

// CurrentTarget is the device in use.
func CurrentTarget() (*Target, error) {
	e, err := inUse()
	if err != nil {
		return nil, err
	}
	return &Target{name: e.info.Name, dev: e.dev}, nil
}

// CPUTarget is the processor.
func CPUTarget() (*Target, error) {
	e, err := processor()
	if err != nil {
		return nil, err
	}
	return &Target{name: e.info.Name, dev: e.dev}, nil
}

// processor is the engine of the processor, whichever device is in use.
func processor() (*engine, error) {
	if e := devices.using.Load(); e != nil && e.info.Name == "cpu" {
		return e, nil
	}
	devices.Lock()
	defer devices.Unlock()
	e, _, err := open("cpu")
	return e, err
}

// NVIDIATarget is an NVIDIA card of a compute capability (90 for an H100) and with so many
// multiprocessors, with cuBLASLt and cuDNN or without. What a program takes on it depends
// on nothing else.
func NVIDIATarget(capability, units int, libraries bool) *Target {
	name := fmt.Sprintf("sm_%d with %d multiprocessors", capability, units)
	if !libraries {
		name += ", without libraries"
	}
	return &Target{name: name, dev: cuda.Absent(capability, units, libraries)}
}

// OpenCLTarget is a GPU of AMD's with so many compute units, programmed by OpenCL.
func OpenCLTarget(units int) *Target {
	return &Target{name: fmt.Sprintf("OpenCL with %d compute units", units), dev: opencl.Absent(units)}
}

// Plan plans the program for inputs of these shapes and types, whose values do not
// matter, on the device in use, and neither runs nor compiles it.
func (c *Compiled) Plan(in ...*Tensor) (Plan, error) {
	t, err := CurrentTarget()
	if err != nil {
		return Plan{}, err
	}
	return c.PlanFor(t, in...)
}

// PlanFor is [Compiled.Plan] for a device that need not be there. What all devices have in
// common is done once for inputs of the same shapes and types.
func (c *Compiled) PlanFor(on *Target, in ...*Tensor) (p Plan, err error) {
	defer c.recovered(&err)
	d, results, err := c.draft(on, in)
	if err != nil {
		return Plan{}, err
	}
	program := d.Shared(on.dev)
	p = Plan{Arena: program.Arena, Results: results, Kernels: len(program.Steps), Costs: null.Costs(program)}
	for i := range p.Costs {
		k := &p.Costs[i]
		p.FLOPs += k.Times * k.FLOPs
		p.Traffic += k.Times * (k.Read + k.Written)
	}
	p.Peak = PlanPeak(plan.PeakOf(program))
	if s, ok := on.dev.(device.Sizer); ok && !on.rough {
		size, err := d.size(program, on, s)
		if err != nil {
			return Plan{}, fmt.Errorf("sinter: planning for %s: %w", on, err)
		}
		p.Arena, p.Launches = size.arena, size.launches
	}
	return p, nil
}

// sized is a draft with what its programs take on devices.
type sized struct {
	*plan.Draft
	mu    sync.Mutex
	sizes map[sizeKey]size
}

// sizeKey is a program on a device. Devices of one name write the same kernels.
type sizeKey struct {
	program *kernel.Program
	on      string
}

type size struct{ arena, launches int }

func (d *sized) size(p *kernel.Program, on *Target, s device.Sizer) (size, error) {
	key := sizeKey{p, on.name}
	d.mu.Lock()
	n, ok := d.sizes[key]
	d.mu.Unlock()
	if ok {
		return n, nil
	}
	var err error
	if n.arena, n.launches, err = s.Size(p); err != nil {
		return n, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizes[key] = n
	return n, nil
}

// drafts are what has been planned of a trace before it is for a device, by the composites
// that devices have kernels for.
type drafts struct {
	composites []string // in the graph
	by         map[string]*sized
}

func (c *Compiled) draft(on *Target, in []*Tensor) (d *sized, results int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.find(in)
	if t == nil {
		if t, err = c.trace(in); err != nil {
			return nil, 0, err
		}
	}
	for _, n := range t.graph.Outputs {
		if n.Op != ir.Assign {
			results += n.Bytes()
		}
	}
	s := &t.drafts
	if s.by == nil {
		s.by = make(map[string]*sized)
		for _, n := range t.graph.Nodes {
			if r, ok := n.Attr.(*ir.Region); ok && !slices.Contains(s.composites, r.Name) {
				s.composites = append(s.composites, r.Name)
			}
		}
	}
	key := ""
	for _, name := range s.composites {
		for _, narrow := range []bool{false, true} {
			key += fmt.Sprint(name, on.dev.Supports(name, narrow))
		}
	}
	if d = s.by[key]; d == nil {
		d = &sized{Draft: plan.Prepare(t.graph.Outputs, t.leaves, on.dev.Supports, t.products), sizes: make(map[sizeKey]size)}
		s.by[key] = d
	}
	return d, results, nil
}
