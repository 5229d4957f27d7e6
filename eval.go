package sinter

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/cpu"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/nvtx"
	"github.com/sinter-dl/sinter/internal/plan"
)

// evaluation is held while a program is found and run, and whenever the device or
// the state of variables changes: evaluations of different goroutines take turns.
var evaluation sync.Mutex

// maxPrograms is how many compiled programs are kept. A training run needs a handful;
// each holds an arena.
const maxPrograms = 64

// SetThreads sets how many threads programs on the CPU use from now on, from 1 to the
// number of processors (GOMAXPROCS, if that is less); other numbers are brought into
// that range. If it is not called, the environment variable SINTER_THREADS says how
// many, and without that there are GOMAXPROCS. No result changes by a bit.
func SetThreads(n int) { cpu.SetThreads(n) }

// Threads is how many threads programs on the CPU use.
func Threads() int { return cpu.Threads() }

// Eval computes the tensors, all in one program. Their values are kept: evaluating
// them again, or what is built on them, does not compute them again. Assignments
// that [Tensor.AlsoAssign] tied to them are carried out. A [Precision] other than
// float32 has a method of this name.
//
// Evaluations of different goroutines take turns. A tensor, or two that share
// something not yet evaluated, must not be evaluated by one goroutine while another
// builds on it.
func Eval(ts ...*Tensor) error { return FP32.Eval(ts...) }

func evaluate(roots []*ir.Node, vars []*Variable, p Precision) (err error) {
	evaluation.Lock()
	defer evaluation.Unlock()
	var outputs []*ir.Node
	for _, n := range roots {
		if n.Op == ir.Input && len(n.Effects) == 0 {
			if err := fresh(n, n); err != nil {
				return err
			}
		} else if !slices.Contains(outputs, n) {
			outputs = append(outputs, n)
		}
	}
	for _, v := range vars {
		if v.pending != nil && !slices.Contains(outputs, v.pending) {
			outputs = append(outputs, v.pending)
		}
	}
	if len(outputs) == 0 {
		return nil
	}
	g, key, leaves := ir.Key(outputs)
	err = execute(g, key, leaves, p.ofProducts())
	for _, n := range g.Outputs {
		if n.Op != ir.Assign {
			continue
		}
		v := memoryOf(n.Attr.(ir.Target).Storage).variable
		if err == nil {
			v.done(n)
		} else if v.pending == n {
			v.reset()
		}
	}
	return err
}

// observe is called with what is about to be run; tests look at plans through it.
var observe = func(outputs, leaves []*ir.Node, p plan.Precision) {}

// execute runs the program for a graph and turns its outputs into leaves. Nothing
// has changed if it fails.
func execute(g *ir.Graph, key []byte, leaves []*ir.Node, precision plan.Precision) error {
	if err := upToDate(g); err != nil {
		return err
	}
	e, err := inUse()
	if err != nil {
		return err
	}
	for _, l := range leaves {
		if v := memoryOf(l.Storage).variable; v != nil {
			l.Storage.Name = v.Name
		}
	}
	observe(g.Outputs, leaves, precision)
	p, err := e.program(g, key, leaves, precision)
	if err != nil {
		return err
	}
	few, err := e.smallsOf(p, leaves)
	if err != nil {
		return err
	}
	in := make([]device.Buffer, len(leaves))
	for i, l := range leaves {
		if in[i], err = few.bind(e, i, l.Storage); err != nil {
			return fmt.Errorf("sinter: reading %s: %w", l.Storage.Name, err)
		}
	}
	if err := few.upload(e); err != nil {
		return fmt.Errorf("sinter: %w", err)
	}
	out := make([]device.Buffer, 0, p.Program.Outputs)
	undo := func() {
		for _, b := range out {
			e.release(b, byResult)
		}
	}
	for _, n := range g.Outputs {
		if n.Op == ir.Assign {
			continue
		}
		b, err := e.allocate(n.Bytes(), byResult)
		if err != nil {
			undo()
			return noMemory(n, err)
		}
		out = append(out, b)
	}
	if err := e.run(p, in, out); err != nil {
		undo()
		return err
	}
	i := 0
	for _, n := range g.Outputs {
		if n.Op == ir.Assign {
			continue
		}
		s := newStorage(new(memory), "")
		memoryOf(s).own(s, e, out[i], byResult)
		n.Materialize(s)
		i++
	}
	runtime.KeepAlive(g)
	return nil
}

// program is the program for a graph.
func (e *engine) program(g *ir.Graph, key []byte, leaves []*ir.Node, precision plan.Precision) (*plan.Compiled, error) {
	p, err := e.programs.Get(g, key, leaves, precision)
	if isFull(err) {
		e.relieve()
		p, err = e.programs.Get(g, key, leaves, precision)
	}
	if err != nil {
		return nil, e.full(err)
	}
	return p, nil
}

// run runs and counts.
func (e *engine) run(p *plan.Compiled, in, out []device.Buffer) error {
	stats.Evaluations++
	stats.Kernels, stats.ArenaBytes = len(p.Program.Steps), p.Program.Arena
	e.pool.notePeak(int64(e.programs.Arena()))
	nvtx.Push("run")
	defer nvtx.Pop()
	err := p.Run(in, out)
	if isFull(err) {
		e.relieve()
		err = p.Run(in, out)
	}
	switch {
	case isFull(err):
		return e.full(err)
	case err != nil:
		return fmt.Errorf("sinter: %w", err)
	}
	return nil
}

func noMemory(n *ir.Node, err error) error {
	return fmt.Errorf("sinter: memory for a result of %v%v: %w", n.DType, n.Shape, err)
}

// upToDate reports a leaf of a graph whose memory has been overwritten since what
// reads it was recorded. An assignment does not read its variable.
func upToDate(g *ir.Graph) error {
	for _, n := range g.Nodes {
		if n.Op == ir.Param {
			return errors.New("sinter: a tensor is evaluated that stands for an input of a Function or of the body of a Scan")
		}
		for i, x := range n.In {
			if x.Op == ir.Input && x.Version != x.Storage.Version && !(n.Op == ir.Assign && i == 0) {
				return fresh(x, n)
			}
		}
	}
	return nil
}

// fresh reports a leaf whose memory has been overwritten since user was built on it.
func fresh(leaf, user *ir.Node) error {
	if leaf.Version == leaf.Storage.Version {
		return nil
	}
	what := leaf.Storage.Name
	if m := memoryOf(leaf.Storage); m.variable != nil {
		what = m.variable.label()
	}
	if user.Site() == nil {
		return fmt.Errorf("sinter: a tensor of an earlier content of %s is evaluated, which has been overwritten; evaluate it before, or build it anew", what)
	}
	return fmt.Errorf("sinter: %v at %v was built on an earlier content of %s, which has been overwritten; evaluate it before, or build it anew", user.Op, user.Site(), what)
}

// download copies the value of an evaluated node to host memory of its size.
func download(n *ir.Node, data []byte) error {
	evaluation.Lock()
	defer evaluation.Unlock()
	if err := fresh(n, n); err != nil {
		return err
	}
	m := memoryOf(n.Storage)
	if m.placeholder {
		return fmt.Errorf("sinter: reading %s: %w", n.Storage.Name, errPlaceholder)
	}
	if m.host != nil {
		copy(data, m.host)
		return nil
	}
	err := m.on.download(data, m.buffer)
	runtime.KeepAlive(n.Storage)
	return err
}

// Stats counts what has been evaluated since the program started; programs and memory are
// those of the device in use.
type Stats struct {
	Evaluations int
	Compiles    int    // programs that were compiled
	Recompiles  int    // of them, those that differ from an earlier one in their extents only
	Reason      string // what was different, the last time
	Programs    int    // held at present
	Kernels     int    // of the program that ran last
	ArenaBytes  int    // of the program that ran last
	HeldArena   int64  // that the device holds: as large as the largest of the programs has wanted
	KeptBytes   int64  // what the device holds for programs: their arena, staging, workspaces of libraries
	UsedBytes   int64  // results and variables at present
	PeakBytes   int64  // the most that results, variables and the arena held together

	// What has been copied between the host and the device in use, in bytes; nothing, if
	// that is the processor.
	Uploaded, Downloaded int64
}

var stats struct{ Evaluations, Kernels, ArenaBytes int }

// ReadStats returns the counts.
func ReadStats() Stats {
	evaluation.Lock()
	defer evaluation.Unlock()
	s := Stats{Evaluations: stats.Evaluations, Kernels: stats.Kernels, ArenaBytes: stats.ArenaBytes}
	e, err := inUse()
	if err != nil {
		return s
	}
	c := e.programs
	s.Compiles, s.Recompiles, s.Reason, s.Programs = c.Compiles, c.Recompiles, c.Reason, c.Len()
	s.Uploaded, s.Downloaded = e.uploaded.Load(), e.downloaded.Load()
	if k, ok := e.dev.(device.Keeper); ok {
		s.KeptBytes, s.HeldArena = k.Kept(), k.Arena()
	}
	e.pool.Lock()
	defer e.pool.Unlock()
	s.UsedBytes, s.PeakBytes = e.pool.used, e.pool.peak
	return s
}

// FindNonFinite evaluates the tensors operation by operation and finds where the
// first of them that holds a NaN or an infinity got it from: the operation that made
// one out of finite operands, and the user's line. An operation "input" means that
// it was in what the program reads; the place is then its name. Both are empty if
// all tensors are finite.
func FindNonFinite(ts ...*Tensor) (op, site string, err error) {
	roots := ir.Substitute(nodes(ts), make(map[*ir.Node]*ir.Node)) // bodies instead of composites
	order := ir.Postorder(roots, func(n *ir.Node) []*ir.Node { return n.In })
	at := make(map[*ir.Node]int)
	var flags []*Tensor
	for _, n := range order {
		if n.DType.IsFloat() && n.Op != ir.Const && n.Op != ir.Scan && n.Elements() > 0 {
			t := &Tensor{n}
			at[n] = len(flags)
			flags = append(flags, t.IsNaN().Any(), t.IsFinite().Not().Any())
		}
	}
	// Looking must not change anything: what is tied to the nodes waits.
	tied := make([][]*ir.Node, len(order))
	for i, n := range order {
		tied[i], n.Effects = n.Effects, nil
	}
	err = Eval(flags...)
	for i, n := range order {
		n.Effects = tied[i]
	}
	if err != nil {
		return "", "", err
	}
	holds := make([]bool, len(flags))
	for i, f := range flags {
		holds[i] = f.Bools()[0]
	}
	is := func(n *ir.Node, kind int) bool {
		i, ok := at[n]
		return ok && holds[i+kind]
	}
	k := slices.IndexFunc(roots, func(n *ir.Node) bool { return is(n, 1) })
	if k < 0 {
		return "", "", nil
	}
	n := roots[k]
	for {
		in := n.In
		if n.Op == ir.Result {
			in = n.In[0].In
		}
		// A NaN comes from a NaN where there is one, else from an infinity.
		next := slices.IndexFunc(in, func(x *ir.Node) bool { return is(x, 0) })
		if next < 0 {
			next = slices.IndexFunc(in, func(x *ir.Node) bool { return is(x, 1) })
		}
		if next < 0 {
			break
		}
		n = in[next]
	}
	if n.Op == ir.Input {
		return n.Op.String(), n.Storage.Name, nil
	}
	if n.Op == ir.Result {
		n = n.In[0]
	}
	return n.Op.String(), n.Site().String(), nil
}
