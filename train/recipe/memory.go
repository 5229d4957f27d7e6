package recipe

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
)

// memoryLimit is the limit in bytes, 0 if there is none.
func (r *Recipe) memoryLimit() (int64, error) {
	if strings.TrimSpace(r.MemoryLimit) == "" {
		return 0, nil
	}
	n, err := ParseSize(r.MemoryLimit)
	if err != nil {
		return 0, usage(r.place("memory_limit"), "memory_limit: %s", err)
	}
	return n, nil
}

// The memory of the process is rounded up, so that one limit leads to the same choice in
// one run and the next, after room was added for what compiling programs, evaluating and
// writing the results take besides what is planned: some 30 MiB for models of ten million
// parameters.
const (
	processRoom = 32 << 20
	processStep = 16 << 20
)

// fitMemory makes the training fit into the recipe's limit and writes down, in the
// recipe, what was chosen. A run that is resumed does not choose again.
//
// The plan knows to the byte what a step holds. Besides that there are the copy that
// checkpoints are written from, and the program with the data that it has read; of the
// latter what the process holds now stands for what it will.
func (r *Recipe) fitMemory(t *train.Trainer, model nn.Module, src *data.Source) error {
	limit, err := r.memoryLimit()
	if err != nil || limit == 0 || r.settled {
		return err
	}
	set := src.Examples()
	// A tight heap costs some collections, and no garbage beside what is planned for.
	debug.SetGCPercent(10)
	debug.FreeOSMemory() // of what reading the data has left
	device, err := sinter.Device()
	if err != nil {
		return err
	}
	resident, source := train.ResidentMemory()
	var weights, slots int64
	for _, v := range nn.State(model) {
		weights += int64(v.Len() * v.DType().Size())
	}
	for _, v := range nn.Parameters(model) {
		slots += int64(len(t.Optimizer.Spec().Slots) * v.Len() * v.DType().Compute().Size())
	}
	process := (resident - weights + processRoom + processStep - 1) / processStep * processStep
	var copies int64
	if !r.Checkpoint.Off {
		copies = weights + slots
	}
	if !device.HostMemory { // the limit is for the device, where neither of them is
		process, copies = 0, 0
	}
	p, err := t.FitMemory(model, set, limit-process-copies)
	sinter.EmptyCache() // the optimizer that was planned with
	debug.FreeOSMemory()
	besides := fmt.Sprintf("%s for the program and its data (%s, and %s of room) and %s for the copy that checkpoints are written from", bytesOf(process), source, bytesOf(process-resident+weights), bytesOf(copies))
	if !device.HostMemory {
		besides = "nothing but the step on " + device.Name
	}
	var small *train.MemoryError
	if errors.As(err, &small) {
		return usage(r.place("memory_limit"), "a memory limit of %s is too small: the least is %s, of which are %s for a step with batches of %d, %s",
			bytesOf(limit), bytesOf(small.Least.Total()+process+copies), bytesOf(small.Least.Total()), small.Least.Batch, besides)
	}
	if err != nil {
		return err
	}
	src.Notes = append(src.Notes, fmt.Sprintf("of the memory limit of %s a step may take what is left by %s", bytesOf(limit), besides))
	r.Batch, r.ActivationCheckpointing = p.Batch, p.Checkpointing
	if p.Accumulate > 1 || r.Accumulate > 1 {
		r.Accumulate = p.Accumulate
	}
	return nil
}

// bytesOf writes a size in binary units.
func bytesOf(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
