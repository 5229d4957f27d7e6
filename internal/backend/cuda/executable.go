package cuda

import (
	"errors"
	"fmt"

	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/debug"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/cuda"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/nvtx"
)

// executable is a program: a list of nodes, loops written out. The first run puts them into
// the stream one by one; the second, for a program that is run once is not worth more,
// captures them as a graph, which it and all later ones launch as a whole.
type executable struct {
	dev     *Device
	seq     *gpu.Sequence
	modules []*module
	nodes   []node
	bound   []int      // slots that every run binds anew
	uses    [][]int    // for each slot that is bound, the kernels that are called on it
	fixed   []int      // slots that are bound and that something else than kernels is called on
	at      []cuda.Ptr // for each slot, where it is in this run
	changed []int      // nodes of kernels whose addresses differ from the graph's
	marked  []bool     // whether a node is in changed
	graphs  []*graph   // the one that was launched last is the first
	moves   int        // of the arena, when they were captured
	homes   []home
	room    cuda.Ptr // of homes, 0 until there is one
	runs    int
	open    bool // it has run
}

// node is one thing to do: a kernel, a routine of a library, or a copy.
type node struct {
	step     int // of the program
	kernel   cuda.KernelNode
	pointers []pointer // of a kernel, its parameters that are addresses; else what it is called on
	routine  routine
	at       []uintptr // where a routine's places are
	bytes    int       // of a copy, from the second of pointers to the first
}

// pointer is a place in a slot. Parameters of kernels are packed; word is which of the
// packed words it is.
type pointer struct {
	slot, offset, word int
}

// routine is what this backend's own routines can do besides.
type routine interface {
	gpu.Routine
	// Run puts the routine into a stream, which may be one that is captured. at are the
	// addresses of the places that Args lists.
	Run(at []uintptr, stream uintptr) error
}

// graph is a captured program. Where it is called on something else than when it was
// captured, its kernels can be changed. What libraries put into it cannot, so there are
// several graphs of a program if they are called on several places in turn.
type graph struct {
	handle cuda.Graph
	exec   cuda.GraphExec
	nodes  []cuda.GraphNode // of kernels, by number of node
	at     []cuda.Ptr       // for each slot, where it is for the graph
}

// home is where a graph puts an output that is small and that many of its nodes are called on:
// a result usually has another place in every run, and to copy it there takes less time than
// to change them all.
type home struct {
	slot, offset, bytes int
	to                  cuda.Ptr // where this run wants it
}

const (
	mostHome = 16 << 10 // bytes of an output that has one
	fewUses  = 2        // by which it needs none
	homeSize = 256      // bytes that homes are aligned to
)

// maxGraphs is how many graphs a program may have.
const maxGraphs = 4

// Compile makes a program runnable.
func (d *Device) Compile(p *kernel.Program) (device.Executable, error) {
	seq, err := d.lower(p)
	if err != nil {
		return nil, d.says(err)
	}
	e := &executable{dev: d, seq: seq, at: make([]cuda.Ptr, len(seq.Slots)), uses: make([][]int, len(seq.Slots))}
	if e.modules, err = d.take(seq.Kernels); err != nil {
		seq.Close()
		return nil, d.says(err)
	}
	for i := range seq.Slots {
		if seq.Slots[i].Kind != kernel.Arena {
			e.bound = append(e.bound, i)
		}
	}
	if err := e.flatten(seq.Ops, 0, -1); err != nil {
		e.release()
		return nil, d.says(err)
	}
	fixed := make([]bool, len(seq.Slots))
	for i := range e.nodes {
		n := &e.nodes[i]
		for _, p := range n.pointers {
			if seq.Slots[p.slot].Kind == kernel.Arena {
				continue
			}
			if n.kernel.Function == 0 {
				fixed[p.slot] = true
			} else if u := e.uses[p.slot]; len(u) == 0 || u[len(u)-1] != i {
				e.uses[p.slot] = append(u, i)
			}
		}
	}
	room := 0
	for i, f := range fixed {
		s := &seq.Slots[i]
		if s.Kind == kernel.Output && s.Bytes > 0 && s.Bytes <= mostHome && (f || len(e.uses[i]) > fewUses) {
			e.homes = append(e.homes, home{slot: i, offset: room, bytes: s.Bytes})
			room += (s.Bytes + homeSize - 1) / homeSize * homeSize
			f = false
		}
		if f {
			e.fixed = append(e.fixed, i)
		}
	}
	e.marked = make([]bool, len(e.nodes))
	e.changed = make([]int, 0, len(e.nodes))
	return e, nil
}

// flatten appends the nodes of ops, those of pass number pass of the loop that is step in of
// the program.
func (e *executable) flatten(ops []gpu.Op, pass, in int) error {
	for i := range ops {
		op := &ops[i]
		n := node{step: op.Step}
		if in >= 0 {
			n.step = in
		}
		place := func(a *codegen.Arg) pointer { return pointer{slot: a.Slot, offset: a.Offset + pass*a.Step} }
		switch {
		case op.Loop != nil:
			for pass := range op.Loop.Steps {
				if err := e.flatten(op.Loop.Body, pass, n.step); err != nil {
					return err
				}
			}
			continue
		case op.Launch != nil:
			l := op.Launch
			n.kernel = cuda.KernelNode{Function: e.dev.function(l.Kernel.Name), Grid: l.Grid, Block: l.Kernel.Group}
			at := 0
			places := make([]int, len(l.Args))
			for j, p := range l.Kernel.Params {
				size := p.Bytes
				if p.Pointer {
					size = 8
				}
				at = (at + size - 1) / size * size
				places[j] = at
				at += size
			}
			if at > e.dev.target.ParamBytes {
				return fmt.Errorf("kernel %s: %d bytes of parameters, %d are possible", l.Kernel.Name, at, e.dev.target.ParamBytes)
			}
			n.kernel.Params, n.kernel.ParamBytes = dl.NewBlock(at), at
			for j := range l.Args {
				a := &l.Args[j]
				if l.Kernel.Params[j].Pointer {
					p := place(a)
					p.word = places[j] / 8
					n.pointers = append(n.pointers, p)
					continue
				}
				for b := range l.Kernel.Params[j].Bytes {
					n.kernel.Params.Bytes()[places[j]+b] = byte(a.Bits >> (8 * b))
				}
			}
		case op.Copy != nil:
			n.pointers, n.bytes = []pointer{place(&op.Copy.To), place(&op.Copy.From)}, op.Copy.Bytes
			if n.bytes == 0 {
				continue
			}
		case op.Routine != nil:
			r, ok := op.Routine.(routine)
			if !ok {
				return fmt.Errorf("%T cannot be put into a stream", op.Routine)
			}
			n.routine, n.at = r, make([]uintptr, len(op.Args))
			for j := range op.Args {
				n.pointers = append(n.pointers, place(&op.Args[j]))
			}
		default:
			return errors.New("there is an operation of no known kind")
		}
		e.nodes = append(e.nodes, n)
	}
	return nil
}

// Run puts the program into the queue.
func (e *executable) Run(leaves, outputs []device.Buffer) error {
	d := e.dev
	d.runs.Lock()
	defer d.runs.Unlock()
	if f := &d.flight; f.last >= f.done+maxFlight { // what changes these has the lock runs
		if err := d.await(f.last + 1 - maxFlight); err != nil {
			return err
		}
	}
	err := d.enter()
	defer d.leave()
	if err != nil {
		return err
	}
	number := d.flight.last + 1
	if err := e.bind(leaves, outputs, number); err != nil {
		return err
	}
	if err := d.memory.reserve(e.seq.Arena); err != nil {
		return err
	}
	if !e.open {
		e.open = true
		d.open++
	}
	for i := range e.seq.Slots {
		if s := &e.seq.Slots[i]; s.Kind == kernel.Arena {
			e.at[i] = d.memory.arena + cuda.Ptr(s.Offset)
		}
	}
	d.flight.what[number%maxFlight] = e.seq.Program
	d.flight.last = number
	e.runs++
	switch {
	case d.trace != nil:
		return d.traced(e)
	case e.runs == 1 || debug.On("nograph") || debug.On("sync") || nvtx.On() || len(e.nodes) == 0:
		err = e.direct(d.compute, nil)
	default:
		err = e.replay()
	}
	if err == nil {
		err = d.cu.EventRecord(d.flight.ends[number%maxFlight], d.compute)
	}
	if err != nil {
		return d.fail("running "+d.flight.doing(), err)
	}
	return nil
}

// bind finds where the leaves and outputs are.
func (e *executable) bind(leaves, outputs []device.Buffer, number uint64) error {
	d, p := e.dev, e.seq.Program
	if len(leaves) != p.Leaves || len(outputs) != p.Outputs {
		return fmt.Errorf("%s: program takes %d leaves and %d outputs, got %d and %d", d.info.Name, p.Leaves, p.Outputs, len(leaves), len(outputs))
	}
	for _, i := range e.bound {
		s := &p.Slots[i]
		list := leaves
		if s.Kind == kernel.Output {
			list = outputs
		}
		b, err := d.own(list[s.Index])
		if err != nil {
			return fmt.Errorf("slot %d is bound to what cannot be used: %w", i, err)
		}
		if b.n < s.Bytes {
			return fmt.Errorf("%s: slot %d needs %d bytes, its buffer has %d", d.info.Name, i, s.Bytes, b.n)
		}
		r := b.root
		r.used = number
		if r.staged {
			if err := r.settle(); err != nil {
				return d.fail("waiting for a copy", err)
			}
		}
		e.at[i] = b.p
	}
	return nil
}

// set writes a kernel's addresses into its parameters.
func (e *executable) set(n *node) {
	words := n.kernel.Params.Words()
	for _, p := range n.pointers {
		words[p.word] = uint64(e.at[p.slot]) + uint64(p.offset)
	}
}

// direct puts the nodes into a stream one by one, each in a range of its own if somebody
// listens to them: a graph is one launch to the host, so with a listener there are none.
// After each, it calls then, unless that is nil.
func (e *executable) direct(stream cuda.Stream, then func(i int) error) error {
	cu := e.dev.cu
	for i := range e.nodes {
		n := &e.nodes[i]
		label := e.seq.Program.Steps[n.step].Label
		if nvtx.On() {
			nvtx.Push(label())
		}
		var err error
		switch {
		case n.kernel.Function != 0:
			e.set(n)
			k := &n.kernel
			err = cu.LaunchKernel(k.Function, k.Grid, k.Block, 0, stream, k.Params, k.ParamBytes)
		case n.routine != nil:
			for j, p := range n.pointers {
				n.at[j] = uintptr(e.at[p.slot]) + uintptr(p.offset)
			}
			err = n.routine.Run(n.at, uintptr(stream))
		default:
			to, from := n.pointers[0], n.pointers[1]
			err = cu.MemcpyDtoDAsync(e.at[to.slot]+cuda.Ptr(to.offset), e.at[from.slot]+cuda.Ptr(from.offset), n.bytes, stream)
		}
		if nvtx.On() {
			nvtx.Pop()
		}
		if err == nil && stream == e.dev.compute && debug.On("sync") {
			err = cu.StreamSynchronize(stream)
		}
		if err == nil && then != nil {
			err = then(i)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", label(), err)
		}
	}
	return nil
}

// replay launches the program's graph.
func (e *executable) replay() error {
	d := e.dev
	if e.moves != d.memory.moves { // the arena is another one
		if err := e.forget(0); err != nil {
			return err
		}
		e.moves = d.memory.moves
	}
	if err := e.settle(); err != nil {
		return err
	}
	g, err := e.graph()
	if err != nil {
		return err
	}
	if err := e.adapt(g); err != nil {
		return err
	}
	if err := d.cu.GraphLaunch(g.exec, d.compute); err != nil {
		return err
	}
	for i := range e.homes {
		h := &e.homes[i]
		if err := d.cu.MemcpyDtoDAsync(h.to, e.at[h.slot], h.bytes, d.compute); err != nil {
			return err
		}
	}
	return nil
}

// settle has the outputs that have homes go there.
func (e *executable) settle() error {
	n := len(e.homes)
	if n == 0 {
		return nil
	}
	if e.room == 0 {
		var err error
		if e.room, err = e.dev.memory.take(e.homes[n-1].offset+e.homes[n-1].bytes, "results of a program"); err != nil {
			return err
		}
	}
	for i := range e.homes {
		h := &e.homes[i]
		h.to, e.at[h.slot] = e.at[h.slot], e.room+cuda.Ptr(h.offset)
	}
	return nil
}

// graph is a graph in which everything but kernels is called on the places of this run. It
// becomes the first of the list.
func (e *executable) graph() (*graph, error) {
search:
	for i, g := range e.graphs {
		for _, s := range e.fixed {
			if g.at[s] != e.at[s] {
				continue search
			}
		}
		copy(e.graphs[1:i+1], e.graphs[:i])
		e.graphs[0] = g
		return g, nil
	}
	d := e.dev
	g := &graph{nodes: make([]cuda.GraphNode, len(e.nodes))}
	var err error
	if g.handle, err = e.captured(g.nodes); err != nil {
		return nil, err
	}
	g.at = append(g.at, e.at...)
	if len(e.graphs) == maxGraphs {
		// The one that was not launched for longest is brought up to date.
		old := e.graphs[maxGraphs-1]
		updated, _, err := d.cu.GraphExecUpdate(old.exec, g.handle)
		if err != nil {
			return nil, errors.Join(err, d.cu.GraphDestroy(g.handle))
		}
		if updated {
			copy(e.graphs[1:], e.graphs[:maxGraphs-1])
			e.graphs[0] = old
			old.at = g.at
			return old, d.cu.GraphDestroy(g.handle) // its own names the nodes
		}
		if err := e.forget(maxGraphs - 1); err != nil {
			return nil, errors.Join(err, d.cu.GraphDestroy(g.handle))
		}
	}
	if g.exec, err = d.cu.GraphInstantiate(g.handle, 0); isFull(err) {
		if err := d.memory.trim(); err != nil {
			return nil, err
		}
		g.exec, err = d.cu.GraphInstantiate(g.handle, 0)
	}
	if err != nil {
		if isFull(err) {
			err = &device.MemoryError{Device: d.info.Name, For: fmt.Sprintf("a graph of %d kernels", len(e.nodes)), Free: -1, Total: d.info.Total, Err: err}
		}
		return nil, errors.Join(err, d.cu.GraphDestroy(g.handle))
	}
	e.graphs = append(e.graphs, nil)
	copy(e.graphs[1:], e.graphs)
	e.graphs[0] = g
	return g, nil
}

// captured records the nodes as a graph, and notes which of its nodes the kernels are.
func (e *executable) captured(nodes []cuda.GraphNode) (cuda.Graph, error) {
	d := e.dev
	if err := d.cu.StreamBeginCapture(d.capture, cuda.CaptureRelaxed); err != nil {
		return 0, err
	}
	err := e.direct(d.capture, func(i int) (err error) {
		if e.nodes[i].kernel.Function != 0 {
			nodes[i], err = d.cu.StreamCaptureTail(d.capture)
		}
		return err
	})
	g, end := d.cu.StreamEndCapture(d.capture)
	if err != nil {
		if end == nil && g != 0 {
			_ = d.cu.GraphDestroy(g) // what went wrong before is told
		}
		return 0, err
	}
	return g, end
}

// adapt gives the kernels of a graph the addresses of this run.
func (e *executable) adapt(g *graph) error {
	for _, s := range e.bound {
		if g.at[s] == e.at[s] {
			continue
		}
		for _, i := range e.uses[s] {
			if !e.marked[i] {
				e.marked[i] = true
				e.changed = append(e.changed, i)
			}
		}
	}
	var err error
	for _, i := range e.changed {
		e.marked[i] = false
		if n := &e.nodes[i]; err == nil {
			e.set(n)
			if err = e.dev.cu.GraphExecKernelNodeSetParams(g.exec, g.nodes[i], &n.kernel); err != nil {
				err = fmt.Errorf("%s: %w", e.seq.Program.Steps[n.step].Label(), err)
			}
		}
	}
	e.changed = e.changed[:0]
	if err != nil {
		return errors.Join(err, e.forget(0)) // nobody knows which of them have changed
	}
	copy(g.at, e.at)
	return nil
}

// forget destroys the graphs from number n on.
func (e *executable) forget(n int) error {
	var err error
	for _, g := range e.graphs[n:] {
		err = errors.Join(err, e.dev.cu.GraphExecDestroy(g.exec), e.dev.cu.GraphDestroy(g.handle))
	}
	clear(e.graphs[n:])
	e.graphs = e.graphs[:n]
	return err
}

// Close frees what only this program needs, and the arena with the last program.
func (e *executable) Close() {
	d := e.dev
	err := d.enter()
	if err == nil {
		err = e.forget(0)
		if e.room != 0 {
			err = errors.Join(err, d.memory.give(e.room))
			e.room = 0
		}
	}
	if e.open {
		e.open = false
		if d.open--; d.open == 0 && err == nil {
			err = d.memory.release()
		}
	}
	if err != nil {
		_ = d.fail("closing a program", err) // what poisons is returned by every call from now on
	}
	d.leave()
	e.release()
}

func (e *executable) release() {
	d := e.dev
	if len(e.seq.Routines) > 0 && d.begin() == nil {
		e.seq.Close()
	}
	if len(e.seq.Routines) > 0 {
		d.end()
	}
	d.give(e.modules)
	e.modules = nil
}
