// Package profile tells where the time of a training run goes.
//
// A Profiler is a callback of train.Trainer. In the steps that its Schedule makes active
// it takes the time of every kernel (sinter.ProfileKernels), of waiting for batches and
// of what the host does besides. Of these it makes a Report: tables by operation and by
// layer, beside what the machine can do, and a verdict, which of four things limits the
// speed. trace.go writes the events for chrome://tracing or Perfetto; try.go turns the
// knob that the verdict names, on the same model, and tells what it gained.
package profile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
)

// Schedule says which steps are profiled, as torch.profiler.schedule does: Wait steps
// are passed over, Warmup steps are not counted, Active steps are; and again, Repeat
// times in all, or to the end if that is 0.
type Schedule struct{ Wait, Warmup, Active, Repeat int }

// Usual is a schedule that skips what only happens at first: 2, 3 and 30 steps, once.
var Usual = Schedule{Wait: 2, Warmup: 3, Active: 30, Repeat: 1}

type phase uint8

const (
	waiting phase = iota
	warming
	active
	over
)

// at is the phase of step i, counted from 0.
func (s Schedule) at(i int) phase {
	cycle := s.Wait + s.Warmup + s.Active
	if s.Active < 1 || s.Repeat > 0 && i >= s.Repeat*cycle {
		return over
	}
	switch k := i % cycle; {
	case k < s.Wait:
		return waiting
	case k < s.Wait+s.Warmup:
		return warming
	}
	return active
}

// Machine is what the machine can do, measured: the rate of a matrix product and of a
// kernel that adds two large tensors.
type Machine struct {
	FLOPs     float64 `json:"flops"`     // per second, of products in float32
	Bandwidth float64 `json:"bandwidth"` // bytes per second
}

// Calibrate measures the machine in a fraction of a second: the best of a few runs of
// 768×768 matrix products, and of adding tensors of 32 MiB.
func Calibrate() (Machine, error) {
	best := func(f *sinter.Compiled, in ...*sinter.Tensor) (time.Duration, error) {
		var out []*sinter.Tensor
		least := time.Duration(1<<63 - 1)
		for range 6 {
			begin := time.Now()
			var err error
			if out, err = f.CallInto(out, in...); err != nil {
				return 0, err
			}
			least = min(least, time.Since(begin))
		}
		return max(least, 1), nil
	}
	const n, m = 768, 8 << 20
	a, x := sinter.Full(sinter.Float32, 0.5, n, n), sinter.Full(sinter.Float32, 0.5, m)
	if err := sinter.Eval(a, x); err != nil {
		return Machine{}, err
	}
	product, err := best(sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{in[0].MatMul(in[0])} }), a)
	if err != nil {
		return Machine{}, err
	}
	copied, err := best(sinter.Compile(func(in []*sinter.Tensor) []*sinter.Tensor { return []*sinter.Tensor{in[0].AddScalar(1)} }), x)
	return Machine{2 * n * n * n / product.Seconds(), 8 * m / copied.Seconds()}, err
}

// Row is a line of a table: all runs of an operation, or what a layer has part in.
type Row struct {
	Name        string  `json:"name"`
	Calls       int     `json:"calls"`
	Seconds     float64 `json:"seconds"`
	Share       float64 `json:"share"` // of the kernels' time
	FLOPs       float64 `json:"flops"` // of products
	Elementwise float64 `json:"elementwise_flops"`
	Bytes       float64 `json:"bytes"` // of memory traffic
	// Efficiency is the time that the machine's peak rates allow for the FLOPs or the
	// bytes, whichever takes longer, beside the time it took.
	Efficiency float64 `json:"efficiency"`

	possible float64
}

func (r *Row) add(k *sinter.KernelRun, share, seconds, possible float64) {
	r.Seconds += share * seconds
	r.FLOPs += share * float64(k.FLOPs)
	r.Elementwise += share * float64(k.Elementwise)
	r.Bytes += share * float64(k.Read+k.Written)
	r.possible += share * possible
}

// Profiler profiles a run. Set Trainer.Callbacks to have one, and read Report after Fit.
type Profiler struct {
	train.NopCallback
	Schedule Schedule // Usual if it is zero
	Machine  Machine  // measured at the beginning if it is zero

	mu         sync.Mutex
	phase      phase
	stop       func()
	scopes     func() []*ir.Scope
	names      map[any]string
	begin      time.Time // of the training
	asked      time.Time // end of the step before
	waited     time.Duration
	evaluating bool
	evaluation time.Time

	steps, samples, seen        int
	before                      int     // samples when the current step began
	wall, wait, run             float64 // seconds
	programs, kernels           int
	compute, memory, launch     float64 // seconds of kernels, by what limits them
	operations, layers          map[string]*Row
	events                      []event
	dropped                     int
	stepRun                     float64 // seconds of kernels in the current step
	stepFirst                   time.Time
	pending                     []event // of the current step
	pendingKernels, pendingRuns int
}

// OnTrainBegin measures the machine.
func (p *Profiler) OnTrainBegin(s *train.State) {
	if p.Schedule == (Schedule{}) {
		p.Schedule = Usual
	}
	if p.Machine == (Machine{}) {
		var err error
		if p.Machine, err = Calibrate(); err != nil {
			s.Fail(fmt.Errorf("profile: measuring the machine: %w", err))
			return
		}
	}
	p.operations, p.layers = make(map[string]*Row), make(map[string]*Row)
	p.names = nn.LayerNames(s.Model)
	p.scopes = ir.TraceScopes() // programs are recorded at the first step
	p.begin = time.Now()
	p.enter(s)
}

// enter begins the phase of the next step.
func (p *Profiler) enter(s *train.State) {
	next := p.Schedule.at(p.seen)
	if on := next == warming || next == active; on && p.stop == nil {
		stop, err := sinter.ProfileKernels(p.ran)
		if err != nil {
			s.Fail(err)
			return
		}
		p.stop = stop
	} else if !on && p.stop != nil {
		p.stop()
		p.stop = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = next
	p.before = s.Samples
	p.waited = s.Waited
	p.stepRun, p.stepFirst, p.pending, p.pendingKernels, p.pendingRuns = 0, time.Time{}, p.pending[:0], 0, 0
	p.asked = time.Now()
}

// ran is called after every run of a program.
func (p *Profiler) ran(kernels []sinter.KernelRun) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != active || len(kernels) == 0 {
		return
	}
	first, last := kernels[0].Begin, kernels[len(kernels)-1].End
	if p.evaluating {
		return
	}
	if p.stepFirst.IsZero() {
		p.stepFirst = first
	}
	p.pendingRuns++
	p.pendingKernels += len(kernels)
	p.stepRun += last.Sub(first).Seconds()
	p.pending = append(p.pending, event{"run", "run", trackRun, first, last, map[string]any{"kernels": len(kernels)}})
	for i := range kernels {
		k := &kernels[i]
		seconds := k.End.Sub(k.Begin).Seconds()
		byFLOPs := float64(k.FLOPs+k.Elementwise) / p.Machine.FLOPs
		byBytes := float64(k.Read+k.Written) / p.Machine.Bandwidth
		possible := max(byFLOPs, byBytes)
		switch {
		case seconds < small && possible < seconds/4:
			p.launch += seconds
		case byFLOPs >= byBytes:
			p.compute += seconds
		default:
			p.memory += seconds
		}
		o := row(p.operations, k.Name)
		o.Calls++
		o.add(k, 1, seconds, possible)
		layer := ""
		for _, l := range k.Layers {
			name := p.name(l.Layer)
			if layer == "" {
				layer = name
			}
			r := row(p.layers, name)
			r.Calls++
			r.add(k, l.Share, seconds, possible)
		}
		args := map[string]any{"layer": layer, "flops": k.FLOPs, "bytes": k.Read + k.Written}
		for _, w := range k.Workers {
			p.pending = append(p.pending, event{k.Name, "kernel", trackWorker + w.Worker, w.Begin, w.End, args})
		}
	}
}

// A kernel that lasts no longer than this, in seconds, and does little in it, is one
// whose time goes into starting it.
const small = 20e-6

func row(table map[string]*Row, name string) *Row {
	r := table[name]
	if r == nil {
		r = &Row{Name: name}
		table[name] = r
	}
	return r
}

// name is what a layer is called in the tables.
func (p *Profiler) name(layer any) string {
	if layer == nil {
		return "(other)"
	}
	if name, ok := layer.(string); ok {
		return "(" + name + ")"
	}
	if name, ok := p.names[layer]; ok {
		return cmp.Or(name, "(model)")
	}
	return "(" + nn.TypeName(layer) + ")"
}

// maxEvents bounds the trace: a file of some 40 MB.
const maxEvents = 200_000

// OnStep counts a step.
func (p *Profiler) OnStep(s *train.State) {
	now := time.Now()
	p.mu.Lock()
	if p.phase == active {
		p.samples += s.Samples - p.before
		wall, wait := now.Sub(p.asked).Seconds(), (s.Waited - p.waited).Seconds()
		p.steps++
		p.wall += wall
		p.wait += wait
		p.run += p.stepRun
		p.programs += p.pendingRuns
		p.kernels += p.pendingKernels
		ready := p.asked.Add(s.Waited - p.waited)
		p.pending = append(p.pending,
			event{"waiting for the batch", "loader", trackLoader, p.asked, ready, nil},
			event{fmt.Sprintf("step %d", s.Step), "step", trackStep, ready, now, map[string]any{"loss": number(s.Loss)}})
		if !p.stepFirst.IsZero() && p.stepFirst.After(ready) {
			p.pending = append(p.pending, event{"record", "record", trackStep, ready, p.stepFirst, nil})
		}
		if len(p.events)+len(p.pending) <= maxEvents {
			p.events = append(p.events, p.pending...)
		} else {
			p.dropped += len(p.pending)
		}
	}
	p.mu.Unlock()
	p.seen++
	p.enter(s)
}

// OnEvaluateBegin and OnEvaluate keep evaluations out of the tables.
func (p *Profiler) OnEvaluateBegin(*train.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.evaluating, p.evaluation = true, time.Now()
}

// OnEvaluate ends what OnEvaluateBegin began.
func (p *Profiler) OnEvaluate(s *train.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.evaluating {
		now := time.Now()
		p.events = append(p.events, event{"evaluation", "evaluation", trackEvaluation, p.evaluation, now, nil})
		p.asked = p.asked.Add(now.Sub(p.evaluation)) // no part of the step
	}
	p.evaluating = false
}

// OnTrainEnd stops looking.
func (p *Profiler) OnTrainEnd(*train.State) {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
	if p.scopes != nil {
		p.scopes()
		p.scopes = nil
	}
}

// Report is what was found in the active steps.
type Report struct {
	Machine  Machine `json:"machine"` // measured at the beginning of the run
	Device   string  `json:"device"`
	Threads  int     `json:"threads"`
	Steps    int     `json:"steps"`
	Samples  int     `json:"samples"`
	Seconds  float64 `json:"seconds"`
	Wait     float64 `json:"wait"`    // share of the time: for batches
	Host     float64 `json:"host"`    // share: the host's part, with nothing running
	Kernels  float64 `json:"kernels"` // share: programs run
	Launches int     `json:"launches"`
	Dropped  int     `json:"dropped_events,omitempty"` // of the trace, which is bounded

	Operations []Row    `json:"operations"` // the longest first
	Layers     []Row    `json:"layers"`
	Verdict    *Verdict `json:"verdict,omitempty"` // nil if no step was profiled
}

// Report sums up what has been seen so far.
func (p *Profiler) Report() *Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &Report{Machine: p.Machine, Device: sinter.DeviceName(), Threads: sinter.Threads(), Steps: p.steps, Samples: p.samples, Seconds: p.wall, Launches: p.kernels, Dropped: p.dropped}
	if p.steps == 0 || p.wall == 0 {
		return r
	}
	r.Wait, r.Kernels = min(1, p.wait/p.wall), p.run/p.wall
	r.Host = max(0, 1-r.Wait-r.Kernels)
	r.Operations, r.Layers = table(p.operations), table(p.layers)
	r.Verdict = p.verdict(r)
	return r
}

// table sorts rows and fills in what is relative to the others.
func table(rows map[string]*Row) []Row {
	sum := 0.0
	for _, r := range rows {
		sum += r.Seconds
	}
	var list []Row
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := *rows[name]
		if sum > 0 {
			r.Share = r.Seconds / sum
		}
		if r.Seconds > 0 {
			r.Efficiency = r.possible / r.Seconds
		}
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b Row) int { return cmp.Compare(b.Seconds, a.Seconds) })
	return list
}
