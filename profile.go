package sinter

import (
	"errors"
	"time"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/plan"
)

// KernelRun is one kernel of a program that has run while kernels were profiled.
type KernelRun struct {
	Name          string // the operations in it
	FLOPs         int64  // of matrix products and convolutions
	Elementwise   int64  // operations on floats of everything else
	Read, Written int64  // bytes of memory traffic, each element counted once
	Begin, End    time.Time
	Workers       []WorkerSpan // the threads that took part
	Layers        []LayerShare // whose it is
	Costs         []KernelCost // what it does, for a forecast: one, or those of the body of a Scan
}

// WorkerSpan is the time that a thread was busy with a kernel.
type WorkerSpan struct {
	Worker     int
	Begin, End time.Time
}

// LayerShare is how much of a kernel belongs to a layer, given as it was to nn.Record;
// nil stands for what no layer is known of.
type LayerShare struct {
	Layer any
	Share float64
}

// ProfileKernels has f called after every run of a program, with its kernels in the
// order in which they ran, until stop is called. f must not keep the slice, nor evaluate
// anything. Programs that are not profiled run as ever.
func ProfileKernels(f func(kernels []KernelRun)) (stop func(), err error) {
	e, err := inUse()
	if err != nil {
		return nil, err
	}
	d, ok := e.dev.(device.Traced)
	if !ok {
		return nil, errors.New("sinter: the device " + e.info.Name + " does not tell when its kernels run")
	}
	known := make(map[any][]plan.Info)
	var runs []KernelRun
	d.Trace(plan.Tracer(func(program any, infos func() []plan.Info, events []device.Event) {
		list, ok := known[program]
		if !ok {
			list = infos()
			known[program] = list
		}
		runs = runs[:0]
		for _, e := range events {
			i := &list[e.Step]
			k := KernelRun{Name: i.Name, FLOPs: i.FLOPs, Elementwise: i.Elementwise, Read: i.Read, Written: i.Written, Begin: e.Begin, End: e.End, Costs: i.Costs}
			for _, w := range e.Workers {
				k.Workers = append(k.Workers, WorkerSpan(w))
			}
			for _, s := range i.Layers {
				k.Layers = append(k.Layers, LayerShare(s))
			}
			runs = append(runs, k)
		}
		f(runs)
	}))
	return func() { d.Trace(nil) }, nil
}
