package opencl

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/nvtx"
)

// executable is a program. Every launch of its sequence has a kernel object of its own,
// whose arguments stay set: a run sets only those that are bound to another buffer than in
// the run before, and those that move within a loop.
type executable struct {
	dev     *Device
	seq     *gpu.Sequence
	modules []*module
	ops     []op
	kernels []opencl.Kernel // of all launches
	slots   []binding
	bound   []int // slots that every run binds anew
	open    bool  // it has run
}

// binding is what a slot is bound to, and the arguments that depend on it.
type binding struct {
	id     uint64 // of the memory; 0: nothing yet
	mem    opencl.Mem
	offset int // bytes
	uses   []use
}

// use is an argument of a launch: number arg is the buffer, arg+1 the offset in bytes.
type use struct {
	kernel opencl.Kernel
	arg    int
	offset int
}

// op is a gpu.Op as the queue takes it.
type op struct {
	kernel        opencl.Kernel // of a launch
	dims          int
	global, local [3]int
	moves         []move // arguments that a loop moves
	copy          *gpu.Copy
	product       *product
	args          []codegen.Arg // of the product
	body          []op          // of a loop
	steps         int
	step          int // of the program
}

// move is an argument that advances with every pass of a loop.
type move struct {
	arg, slot, offset, step int
}

// Compile makes a program runnable.
func (d *Device) Compile(p *kernel.Program) (device.Executable, error) {
	if !d.traits.float64 {
		if what := wantsFloat64(p); what != "" {
			return nil, fmt.Errorf("%s: %s computes in float64, which %s does not have (no cl_khr_fp64); use float32, or another device", d.info.Name, what, d.info.Model)
		}
	}
	return d.compileWith(p, d.own)
}

func (d *Device) compileWith(p *kernel.Program, own gpu.Routines) (device.Executable, error) {
	seq, err := gpu.Lower(p, &d.target, own)
	if err != nil {
		return nil, d.says(err)
	}
	e := &executable{dev: d, seq: seq, slots: make([]binding, len(seq.Slots))}
	if e.modules, err = d.take(seq.Kernels); err != nil {
		return nil, d.says(err)
	}
	if e.ops, err = e.prepare(seq.Ops); err != nil {
		e.release()
		return nil, d.says(err)
	}
	for i := range p.Slots {
		if p.Slots[i].Kind != kernel.Arena {
			e.bound = append(e.bound, i)
		}
	}
	return e, nil
}

// wantsFloat64 names a step that computes in float64.
func wantsFloat64(p *kernel.Program) string {
	fused := func(f *kernel.Fused) bool {
		if f == nil {
			return false
		}
		for i := range f.Code {
			if f.Code[i].DType == dtype.Float64 {
				return true
			}
		}
		return false
	}
	for _, s := range p.Steps {
		switch s := s.(type) {
		case *kernel.Fused:
			if fused(s) {
				return s.Label()
			}
		case *kernel.Library:
			for _, list := range [][]kernel.Operand{s.In, s.Out} {
				for i := range list {
					if list[i].DType == dtype.Float64 {
						return s.Label()
					}
				}
			}
			if fused(s.Epilogue) {
				return s.Label()
			}
			if s.Body != nil {
				if what := wantsFloat64(s.Body); what != "" {
					return what
				}
			}
		}
	}
	return ""
}

// prepare makes kernel objects with all arguments set that never change.
func (e *executable) prepare(list []gpu.Op) ([]op, error) {
	var ops []op
	for i := range list {
		o := op{step: list[i].Step}
		switch from := &list[i]; {
		case from.Launch != nil:
			if err := e.launch(&o, from.Launch); err != nil {
				return nil, fmt.Errorf("kernel %s: %w", from.Launch.Kernel.Name, err)
			}
		case from.Copy != nil:
			o.copy = from.Copy
		case from.Loop != nil:
			body, err := e.prepare(from.Loop.Body)
			if err != nil {
				return nil, err
			}
			o.body, o.steps = body, from.Loop.Steps
		default:
			o.product, o.args = from.Routine.(*product), from.Args
		}
		ops = append(ops, o)
	}
	return ops, nil
}

func (e *executable) launch(o *op, l *codegen.Launch) error {
	d := e.dev
	d.builds.mu.Lock()
	m := d.builds.kernels[l.Kernel.Name]
	d.builds.mu.Unlock()
	k, err := d.cl.CreateKernel(m.program, l.Kernel.Name)
	if err != nil {
		return err
	}
	e.kernels = append(e.kernels, k)
	threads := 1
	o.kernel, o.dims = k, 1
	for i := range 3 {
		o.local[i], o.global[i] = l.Kernel.Group[i], l.Kernel.Group[i]*l.Grid[i]
		threads *= l.Kernel.Group[i]
		if o.global[i] > 1 {
			o.dims = i + 1
		}
	}
	if most, err := d.cl.KernelUint(k, d.id, opencl.KernelWorkGroupSize); err == nil && int(most) < threads {
		return fmt.Errorf("its groups have %d work-items, and the driver can give it %d: the compiler needs too many registers", threads, most)
	}
	arg := 0
	for i, a := range l.Args {
		p := l.Kernel.Params[i]
		if !p.Pointer {
			if err := d.cl.SetKernelArg(k, arg, p.Bytes, a.Bits); err != nil {
				return err
			}
			arg++
			continue
		}
		b := &e.slots[a.Slot]
		b.uses = append(b.uses, use{k, arg, a.Offset})
		if a.Step != 0 {
			o.moves = append(o.moves, move{arg + 1, a.Slot, a.Offset, a.Step})
		}
		arg += 2
	}
	return nil
}

// Run puts the program into the queue.
func (e *executable) Run(leaves, outputs []device.Buffer) error {
	d := e.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	p := e.seq.Program
	if d.lost != nil {
		return d.lost
	}
	if len(leaves) != p.Leaves || len(outputs) != p.Outputs {
		return fmt.Errorf("%s: program takes %d leaves and %d outputs, got %d and %d", d.info.Name, p.Leaves, p.Outputs, len(leaves), len(outputs))
	}
	for _, i := range e.bound {
		s := &p.Slots[i]
		list := leaves
		if s.Kind == kernel.Output {
			list = outputs
		}
		b, ok := list[s.Index].(*buffer)
		if !ok || b.memory == nil || b.dev != d {
			return fmt.Errorf("%s: slot %d is bound to %T, which is not memory of %s, or was freed", d.info.Name, i, list[s.Index], d.info.Name)
		}
		if b.n < s.Bytes {
			return fmt.Errorf("%s: slot %d needs %d bytes, its buffer has %d", d.info.Name, i, s.Bytes, b.n)
		}
		if err := e.bind(i, b.memory, b.offset); err != nil {
			return err
		}
	}
	if err := d.reserve(e.seq.Arena); err != nil {
		return err
	}
	for i := range e.slots {
		if s := &e.seq.Slots[i]; s.Kind == kernel.Arena {
			if err := e.bind(i, d.arena, s.Offset); err != nil {
				return err
			}
		}
	}
	if !e.open {
		e.open = true
		d.open++
	}
	if d.trace != nil {
		return d.traced(e)
	}
	if err := e.enqueue(e.ops, d.queue, 0, -1, nil); err != nil {
		return d.fail("program", err)
	}
	if err := d.flight.add(d, p); err != nil {
		return err
	}
	if err := d.cl.Flush(d.queue); err != nil {
		return d.fail("program", err)
	}
	return nil
}

// bind sets the arguments that depend on slot i, unless they are what they were.
func (e *executable) bind(i int, m *memory, offset int) error {
	b := &e.slots[i]
	if b.id == m.id && b.offset == offset {
		return nil
	}
	same := b.id == m.id
	b.id, b.mem = 0, m.mem // if it fails half-way, the next run sets all
	for j := range b.uses {
		u := &b.uses[j]
		if !same {
			if err := e.dev.cl.SetKernelArgMem(u.kernel, u.arg, m.mem); err != nil {
				return e.dev.says(err)
			}
		}
		if err := e.dev.cl.SetKernelArg(u.kernel, u.arg+1, 8, uint64(offset+u.offset)); err != nil {
			return e.dev.says(err)
		}
	}
	b.id, b.offset = m.id, offset
	return nil
}

// enqueue puts operations into a queue: those of the program, or those of a loop that is
// step in of the program, in pass number pass. t is nil if nobody wants to know times.
func (e *executable) enqueue(ops []op, q opencl.Queue, pass, in int, t *timing) error {
	for i := range ops {
		o := &ops[i]
		step, named := o.step, nvtx.On() && in < 0
		if in >= 0 {
			step = in
		}
		if named {
			nvtx.Push(e.seq.Program.Steps[step].Label())
		}
		err := e.put(o, q, pass, step, t)
		if named {
			nvtx.Pop()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put puts one operation into a queue, which is of the program's step of that number.
func (e *executable) put(o *op, q opencl.Queue, pass, step int, t *timing) error {
	cl := e.dev.cl
	switch {
	case o.body != nil:
		for pass := range o.steps {
			if err := e.enqueue(o.body, q, pass, step, t); err != nil {
				return err
			}
		}
	case o.copy != nil:
		c := o.copy
		to, from := &e.slots[c.To.Slot], &e.slots[c.From.Slot]
		if err := cl.EnqueueCopyBuffer(q, from.mem, to.mem, from.offset+c.From.Offset+pass*c.From.Step, to.offset+c.To.Offset+pass*c.To.Step, c.Bytes, nil, t.event(step)); err != nil {
			return fmt.Errorf("copying %d bytes: %w", c.Bytes, err)
		}
	case o.product != nil:
		var at [3]span
		for j, a := range o.args {
			b := &e.slots[a.Slot]
			at[j] = span{b.mem, b.offset + a.Offset + pass*a.Step}
		}
		return o.product.enqueue(q, at, t.event(step))
	default:
		for j := range o.moves {
			m := &o.moves[j]
			if err := cl.SetKernelArg(o.kernel, m.arg, 8, uint64(e.slots[m.slot].offset+m.offset+pass*m.step)); err != nil {
				return err
			}
		}
		if err := cl.EnqueueNDRangeKernel(q, o.kernel, o.dims, o.global, o.local, nil, t.event(step)); err != nil {
			return fmt.Errorf("%s: %w", e.seq.Program.Steps[step].Label(), err)
		}
	}
	return nil
}

// reserve makes the arena at least n bytes large. What is in the queue keeps the old one
// as long as it needs it.
func (d *Device) reserve(n int) error {
	if d.arena != nil && d.arena.bytes >= n {
		return nil
	}
	if d.arena != nil { // its content is nobody's
		d.cl.ReleaseMemObject(d.arena.mem)
		d.arena = nil
	}
	m, err := d.allocate(n, 0, nil, "the arena")
	if err != nil {
		return err
	}
	d.arena = m
	return nil
}

// Close frees the arena with the last program.
func (e *executable) Close() {
	d := e.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	e.release()
	if !e.open {
		return
	}
	e.open = false
	if d.open--; d.open == 0 && d.arena != nil {
		d.cl.ReleaseMemObject(d.arena.mem)
		d.arena = nil
	}
}

func (e *executable) release() {
	for _, k := range e.kernels {
		e.dev.cl.ReleaseKernel(k)
	}
	e.kernels = nil
	e.dev.give(e.modules)
	e.modules = nil
	e.seq.Close()
}
