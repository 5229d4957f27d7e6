package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// Memory is what training holds in memory, in bytes, as the plan of its step says. The
// program itself and what a dataset holds in memory are no part of it.
type Memory struct {
	Weights   int64 `json:"weights"`   // the model's variables
	Optimizer int64 `json:"optimizer"` // its state
	Gradients int64 `json:"gradients"` // sums over several batches; those of one batch are in the arena
	Arena     int64 `json:"arena"`     // values in between: activations, gradients, scratch space
	Batches   int64 `json:"batches"`   // buffers of the loader
	Results   int64 `json:"results"`   // the loss, and what metrics look at
}

// Total adds it up.
func (m Memory) Total() int64 {
	return m.Weights + m.Optimizer + m.Gradients + m.Arena + m.Batches + m.Results
}

// MemoryPlan is how a run was made to fit into a limit.
type MemoryPlan struct {
	Memory
	Limit         int64   `json:"limit"`
	Batch         int     `json:"batch"`         // examples at a time
	Accumulate    int     `json:"accumulate"`    // batches of which a step is made
	Checkpointing int     `json:"checkpointing"` // blocks in a run whose values are computed again; 0: none
	Wanted        Memory  `json:"wanted"`        // with what had been asked for
	Recomputed    float64 `json:"recomputed"`    // FLOPs of a step more than those asked for, as a share

	asked setting
}

// setting is what FitMemory chooses.
type setting struct{ batch, accumulate, checkpointing int }

// String says what was chosen, and what it costs.
func (p *MemoryPlan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "a step takes %s of the %s that it may (weights %s, optimizer %s, ", bytesOf(p.Total()), bytesOf(p.Limit), bytesOf(p.Weights), bytesOf(p.Optimizer))
	if p.Gradients > 0 {
		fmt.Fprintf(&b, "sums of gradients %s, ", bytesOf(p.Gradients))
	}
	fmt.Fprintf(&b, "values in between %s, batches %s)", bytesOf(p.Arena), bytesOf(p.Batches+p.Results))
	chosen := setting{p.Batch, p.Accumulate, p.Checkpointing}
	if chosen == p.asked {
		return b.String() + "; nothing had to be changed"
	}
	fmt.Fprintf(&b, " instead of %s:", bytesOf(p.Wanted.Total()))
	if p.Batch != p.asked.batch {
		fmt.Fprintf(&b, " batches of %d, %d of which make a step of %d;", p.Batch, p.Accumulate, p.Batch*p.Accumulate)
	}
	if p.Checkpointing != p.asked.checkpointing {
		run := "each block"
		if p.Checkpointing > 1 {
			run = fmt.Sprintf("runs of %d blocks", p.Checkpointing)
		}
		fmt.Fprintf(&b, " the values of %s are computed again in the backward pass;", run)
	}
	if p.Recomputed < 0.005 {
		return b.String() + " nothing is computed twice"
	}
	fmt.Fprintf(&b, " this costs %.0f %% more FLOPs", 100*p.Recomputed)
	return b.String()
}

// MemoryError is a limit that training cannot be made to fit into.
type MemoryError struct {
	Limit int64
	Least MemoryPlan // what takes least
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("train: a memory limit of %s is too small: the least is %s, with batches of %d and checkpointing %s (weights %s, optimizer %s, sums of gradients %s, values in between %s, batches %s)",
		bytesOf(e.Limit), bytesOf(e.Least.Total()), e.Least.Batch, onOff(e.Least.Checkpointing), bytesOf(e.Least.Weights), bytesOf(e.Least.Optimizer), bytesOf(e.Least.Gradients), bytesOf(e.Least.Arena), bytesOf(e.Least.Batches+e.Least.Results))
}

func onOff(checkpointing int) string {
	if checkpointing > 0 {
		return "on"
	}
	return "off"
}

// Checkpointer is a model that can compute values of its blocks again instead of
// keeping them; see nn.Checkpoint.
type Checkpointer interface {
	Checkpointing() int        // blocks in a run; 0: all values are kept
	SetCheckpointing(runs int) // for the steps recorded from now on
}

// PlanMemory tells what training model on trainSet will hold in memory, as the Trainer
// and the model are set. Nothing is computed.
func (t *Trainer) PlanMemory(model nn.Module, trainSet data.Examples) (Memory, error) {
	f, err := t.fitter(model, trainSet)
	if err != nil {
		return Memory{}, err
	}
	c, err := f.plan(f.asked)
	return c.Memory, err
}

// FitMemory sets Batch, Accumulate and the model's checkpointing so that training holds
// at most limit bytes, see [Memory]. A step stays what it was: of Batch·Accumulate
// examples. What is asked for is kept if it fits. Else, of the divisors of that number
// for a batch, with and without checkpointing, it takes what promises the least time
// according to the FLOPs, the memory traffic and the number of kernels of a step. A
// model with batch norm, to which smaller batches make a difference, gets them only if
// checkpointing alone is not enough. The error is a *MemoryError if nothing fits.
func (t *Trainer) FitMemory(model nn.Module, trainSet data.Examples, limit int64) (*MemoryPlan, error) {
	f, err := t.fitter(model, trainSet)
	if err != nil {
		return nil, err
	}
	best, wanted, err := f.search(limit)
	if err != nil {
		f.set(f.asked)
		return nil, err
	}
	p := &MemoryPlan{
		Memory: best.Memory, Limit: limit, Batch: best.batch, Accumulate: best.accumulate, Checkpointing: best.checkpointing,
		Wanted: wanted.Memory, Recomputed: best.flops/wanted.flops - 1, asked: f.asked,
	}
	if best.Total() > limit {
		f.set(f.asked)
		return nil, &MemoryError{Limit: limit, Least: *p}
	}
	f.set(best.setting)
	t.Batch, t.memory = best.batch, p
	if best.accumulate != t.accumulate() {
		t.Accumulate = best.accumulate
	}
	return p, nil
}

// fitter plans steps in several settings.
type fitter struct {
	*Trainer
	model  nn.Module
	blocks Checkpointer // nil if the model cannot
	asked  setting
	step   func(s setting) (sinter.Plan, error)
	inputs func(batch int) []*sinter.Tensor
	steps  *optim.CompiledStep
	fixed  Memory // that no setting changes
	sums   int64  // of gradients
	fields []data.Field
	limit  int // examples there are
	known  map[setting]candidate
}

// candidate is a setting with what it takes.
type candidate struct {
	setting
	Memory
	flops float64 // of a step
	cost  float64 // of a step, in FLOPs
}

// What a byte of memory traffic and a kernel cost beside a FLOP. They decide between
// settings of which each fits, and need to be right in their order of magnitude only.
const (
	costOfByte   = 10
	costOfKernel = 1e5
)

func (t *Trainer) fitter(model nn.Module, trainSet data.Examples) (f *fitter, err error) {
	defer ir.Recover(&err)
	if t.Loss == nil || trainSet == nil || trainSet.Len() == 0 {
		return nil, fmt.Errorf("train: planning memory wants a Loss and examples")
	}
	o, err := t.optimizer(model)
	if err != nil {
		return nil, err
	}
	return t.fitterFor(o, model, trainSet)
}

// fitterFor plans steps of an optimizer that there is.
func (t *Trainer) fitterFor(o *optim.Optimizer, model nn.Module, trainSet data.Examples) (f *fitter, err error) {
	defer ir.Recover(&err)
	f = &fitter{Trainer: t, model: model, fields: trainSet.Fields(), limit: trainSet.Len(), known: make(map[setting]candidate)}
	if f.limit < 0 { // a stream of unknown length
		f.limit = math.MaxInt
	}
	f.asked = setting{batch: t.batch(), accumulate: t.accumulate()}
	if c, ok := model.(Checkpointer); ok {
		f.blocks, f.asked.checkpointing = c, c.Checkpointing()
	}
	size := func(v *sinter.Variable) int64 {
		n := v.DType().Size()
		for _, e := range v.Shape() {
			n *= e
		}
		return int64(n)
	}
	for _, v := range nn.State(model) {
		f.fixed.Weights += size(v)
	}
	for _, v := range o.State() {
		f.fixed.Optimizer += size(v)
	}
	for _, v := range o.Parameters() {
		f.sums += size(v) / int64(v.DType().Size()) * int64(v.DType().Compute().Size())
	}
	f.steps = t.compile(o, model)
	f.inputs = func(batch int) (in []*sinter.Tensor) {
		for _, field := range f.fields[:min(2, len(f.fields))] {
			in = append(in, sinter.Zeros(field.DType, append([]int{min(batch, f.limit)}, field.Shape...)...))
		}
		return in
	}
	f.step = func(s setting) (sinter.Plan, error) {
		f.set(s)
		f.steps.Reset()
		if s.accumulate > 1 {
			return f.steps.PlanAccumulate(f.inputs(s.batch)...)
		}
		return f.steps.Plan(f.inputs(s.batch)...)
	}
	nn.Train(model)
	return f, nil
}

func (f *fitter) set(s setting) {
	if f.blocks != nil {
		f.blocks.SetCheckpointing(s.checkpointing)
	}
}

// plan is what a step takes in a setting.
func (f *fitter) plan(s setting) (candidate, error) {
	if c, ok := f.known[s]; ok {
		return c, nil
	}
	p, err := f.step(s)
	if err != nil {
		return candidate{}, err
	}
	c := candidate{setting: s, Memory: f.memory(s)}
	c.Arena, c.Results = int64(p.Arena), int64(p.Results)
	c.flops = float64(s.accumulate) * float64(p.FLOPs)
	c.cost = float64(s.accumulate) * (float64(p.FLOPs) + costOfByte*float64(p.Traffic) + costOfKernel*float64(p.Kernels))
	f.known[s] = c
	return c, nil
}

// memory is what a setting holds besides the arena and the results.
func (f *fitter) memory(s setting) Memory {
	m := f.fixed
	example := 0
	for _, field := range f.fields {
		example += field.Bytes()
	}
	// The loader holds the batch in use and those to come.
	ahead := min(cmp.Or(f.Loader.Prefetch, 2), (f.limit-1)/s.batch+1)
	m.Batches = int64((ahead + 1) * min(s.batch, f.limit) * example)
	if s.accumulate > 1 {
		m.Gradients = f.sums
	}
	return m
}

// search finds the setting to take; if none fits, the one that takes least.
func (f *fitter) search(limit int64) (best, wanted candidate, err error) {
	if wanted, err = f.plan(f.asked); err != nil || wanted.Total() <= limit {
		return wanted, wanted, err
	}
	step := f.asked.batch * f.asked.accumulate
	var batches []int // ascending
	for n := 1; n <= f.asked.batch; n++ {
		if step%n == 0 {
			batches = append(batches, n)
		}
	}
	checkpointing := []int{f.asked.checkpointing}
	if f.blocks != nil {
		for _, runs := range []int{1, 2} {
			if f.asked.checkpointing == 0 || runs < f.asked.checkpointing {
				checkpointing = append(checkpointing, runs)
			}
		}
	}
	whole := nn.HasBatchNorm(f.model)
	rank := func(c candidate) (float64, float64) { // less is better, the first first
		if c.Total() > limit {
			return math.Inf(1), float64(c.Total())
		}
		if whole && c.batch < f.asked.batch {
			return 1, c.cost
		}
		return 0, c.cost
	}
	best = wanted
	consider := func(c candidate) {
		r, s := rank(c)
		if q, t := rank(best); r < q || r == q && s < t {
			best = c
		}
	}
	for _, runs := range checkpointing {
		// The larger the batch, the more memory: the largest that fits is wanted.
		_, _ = slices.BinarySearchFunc(batches, limit, func(n int, limit int64) int {
			c, err := f.plan(setting{n, step / n, runs})
			if err != nil { // too few examples for the model, as for a batch norm
				return -1
			}
			consider(c)
			if c.Total() <= limit {
				return -1
			}
			return 1
		})
	}
	return best, wanted, nil
}

// bytesOf writes a size in binary units.
func bytesOf(n int64) string {
	v, unit := float64(n), 0
	for ; v >= 1000 && unit < 4; unit++ {
		v /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[unit-1])
}
