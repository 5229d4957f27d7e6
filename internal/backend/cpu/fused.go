package cpu

// The executor of kernel.Fused, a block interpreter.
//
// A kernel's space is cut into tiles of one to four thousand points, small enough
// for a tile's values to stay in the cache next to the core. Every instruction is
// then run over a whole tile by one routine of package vec, so that interpretation
// is paid once per tile and the arithmetic runs at the speed of the vector unit.
//
// It goes in three phases, one file each:
//
//	fused_layout.go  geometry: merge axes, choose the two axes of a tile, its size
//	fused_lower.go   code: for that choice of axes, turn instructions into steps
//	fused_exec.go    run time: walk the tiles and execute the steps
//
// This file holds them together and deals the tiles out to the workers.
//
// Cutting, and with it the order of every reduction, depends on shapes alone: any
// number of workers gives the same bits.

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// fusedKernel is a compiled kernel.Fused. It is immutable but for the cache of
// box variants and the partial results of split reductions, so one kernel must not
// be run by two goroutines at once, while its boxes may be.
type fusedKernel struct {
	code  *kernel.Fused
	table []kernel.Slot // the program's slots
	pool  *pool.Pool
	parts []*partPlan

	// regions are run one after the other, the jobs of one region in parallel.
	// There is one region, except where a reduction is split: then there is one
	// for every pass over the inner axes and one for the end.
	regions [][]job

	// Set for the duration of a run; do is the closure handed to the pool, made
	// once so that a run allocates nothing.
	slots  []unsafe.Pointer
	region int
	do     func(worker, chunk int)

	mu       sync.Mutex
	variants atomic.Pointer[[]*program] // for boxes of part 0
}

// partPlan is one part with its geometry.
type partPlan struct {
	walk   walk
	splits int    // into how many ranges the inner points are cut; 1: not at all
	sums   []byte // splits > 1: the partial results, see (*walk).partial
}

// job is a range of a part's units: its tiles or, where the inner points are cut,
// its (tile, range) pairs.
type job struct{ part, lo, hi int }

const (
	// A job is worth about this many nanoseconds: long enough to be handed over,
	// short enough to balance.
	jobCost = 30_000
	// Below this many nanoseconds a kernel runs on the calling worker.
	serialCost = 15_000
	// Few tiles with many inner points are split into about so many jobs.
	splitJobs = 32
	// Inner × outer points from which splitting is worth a second region.
	splitPoints = 1 << 16
)

// compileFused prepares f, a kernel over the given slots, for execution on the
// workers of p.
func compileFused(f *kernel.Fused, slots []kernel.Slot, p *pool.Pool) (*fusedKernel, error) {
	k := &fusedKernel{code: f, table: slots, pool: p}
	passes := 1
	for i := range f.Parts {
		part := &f.Parts[i]
		if err := check(f, part); err != nil {
			return nil, fmt.Errorf("cpu: kernel %s, part %d: %w", f.Name, i, err)
		}
		pp := &partPlan{splits: 1}
		w := &pp.walk
		key := w.shape(f, part, nil, nil)
		prog, err := lower(f, part, slots, key)
		if err != nil {
			return nil, fmt.Errorf("cpu: kernel %s, part %d: %w", f.Name, i, err)
		}
		w.prog = prog
		if w.chunks >= 4 && w.tiles > 0 && w.tiles < splitJobs/2 && w.points >= splitPoints && len(prog.reductions) > 0 {
			pp.splits = min(w.chunks/2, splitJobs/w.tiles)
			pp.sums = make([]byte, w.tiles*pp.splits*len(prog.reductions)*w.outerPoints()*8)
			passes = max(passes, len(prog.passes)+1)
		}
		k.parts = append(k.parts, pp)
	}
	k.regions = make([][]job, passes)
	k.do = func(worker, chunk int) { k.runJob(worker, k.regions[k.region][chunk]) }
	for r := range k.regions {
		k.regions[r] = k.deal(r)
	}
	return k, nil
}

// check refuses what no later phase could make sense of.
func check(f *kernel.Fused, part *kernel.Part) error {
	axes := len(part.Outer) + len(part.Inner)
	if axes > 64 {
		return fmt.Errorf("%d axes; at most 64 are supported", axes)
	}
	for i := range f.Code {
		in := &f.Code[i]
		switch in.Kind {
		case kernel.Load, kernel.Store, kernel.Index:
			if in.Arg < 0 || in.Arg >= len(part.Args) {
				return fmt.Errorf("instruction %d names argument %d of %d", i, in.Arg, len(part.Args))
			}
			if n := len(part.Args[in.Arg].Stride); n != axes {
				return fmt.Errorf("argument %d has %d strides for %d axes", in.Arg, n, axes)
			}
		}
		for _, x := range in.Operands() {
			if x < 0 || x >= i {
				return fmt.Errorf("instruction %d reads instruction %d", i, x)
			}
		}
	}
	return nil
}

// deal cuts the units of region r into jobs of about equal cost; small parts
// share a job's worth of time only as neighbours in the list.
func (k *fusedKernel) deal(r int) []job {
	var jobs []job
	total := 0.0
	for i, pp := range k.parts {
		w := &pp.walk
		units := w.tiles
		cost := w.cost
		switch last := len(w.prog.passes); {
		case pp.splits == 1 && r > 0, r > last:
			units = 0
		case pp.splits > 1 && r == last: // only what comes after the passes
			cost = 100
		case pp.splits > 1:
			units *= pp.splits
			cost /= float64(pp.splits * last)
		}
		per := max(1, int(jobCost/cost))
		for lo := 0; lo < units; lo += per {
			jobs = append(jobs, job{i, lo, min(lo+per, units)})
		}
		total += float64(units) * cost
	}
	if total < serialCost && len(jobs) > 0 {
		return append(jobs, job{part: -1}) // marks a region that is not worth the pool
	}
	return jobs
}

// run evaluates the kernel on the whole space of all parts.
func (k *fusedKernel) run(slots []unsafe.Pointer) {
	k.slots = slots
	for k.region = range k.regions {
		jobs := k.regions[k.region]
		if n := len(jobs); n > 0 && jobs[n-1].part < 0 || n == 1 {
			for _, j := range jobs {
				k.runJob(0, j)
			}
			continue
		}
		k.pool.Run(len(jobs), k.do)
	}
	k.slots = nil
}

func (k *fusedKernel) runJob(worker int, j job) {
	if j.part < 0 {
		return
	}
	pp := k.parts[j.part]
	w := &pp.walk
	fr := takeFrame(worker)
	fr.enter(w, k.slots)
	for u := j.lo; u < j.hi; u++ {
		if pp.splits == 1 {
			fr.tile(w, u)
		} else {
			fr.split(w, u, k.region, pp)
		}
	}
	fr.leave()
	putFrame(worker, fr)
}

// runBox evaluates, on the calling goroutine, the points lo ≤ p < hi of the first
// part's outer axes. It serves the epilogues of matrix products and convolutions,
// which call it for a block of the result that is still in the cache.
func (k *fusedKernel) runBox(worker int, slots []unsafe.Pointer, lo, hi []int) {
	fr := takeFrame(worker)
	w := &fr.box
	key := w.shape(k.code, &k.code.Parts[0], lo, hi)
	if w.tiles == 0 {
		putFrame(worker, fr)
		return
	}
	w.prog = k.variant(key)
	fr.enter(w, slots)
	for t := range w.tiles {
		fr.tile(w, t)
	}
	fr.leave()
	putFrame(worker, fr)
}

// variant finds or makes the program for a way of merging a box's axes. There are
// as many as there are kinds of boxes: the full one, those at the edges, and so on.
func (k *fusedKernel) variant(key layoutKey) *program {
	if l := k.variants.Load(); l != nil {
		for _, p := range *l {
			if p.key == key {
				return p
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var l []*program
	if old := k.variants.Load(); old != nil {
		l = append(l, *old...)
	}
	for _, p := range l {
		if p.key == key {
			return p
		}
	}
	p, err := lower(k.code, &k.code.Parts[0], k.table, key)
	if err != nil {
		// The whole part was lowered by compileFused, and what can fail does not
		// depend on the axes.
		panic("cpu: lowering a box of " + k.code.Name + ": " + err.Error())
	}
	l = append(l, p)
	k.variants.Store(&l)
	return p
}
