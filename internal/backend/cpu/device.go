// Package cpu runs programs on the processor.
//
// Compile turns each step of a kernel.Program into a routine: fused kernels in
// fused*.go, library operations in library*.go, over the matrix products of
// package gemm and the workers of package pool. An Executable then only resolves
// the slots to addresses and calls the routines in order; a run allocates nothing.
//
// Whatever depends on how work is cut, the order of additions and the size of
// scratch memory, is decided by shapes alone. So a program needs the same memory
// and gives the same bits at any number of workers.
package cpu

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/gemm"
	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/nvtx"
)

// Device is the processor. Programs on it run one after the other, each on all
// workers.
type Device struct {
	mu     sync.Mutex // held during a run, and while scratch is shared
	arena  *buffer    // of the program that runs: as large as the largest has wanted
	open   int        // programs that have run and are not closed
	trace  func(*kernel.Program, []device.Event)
	events []device.Event // of the run that is traced
	pool   *pool.Pool
	gemm   *gemm.Ctx
	locals []local
	holds  holds // of buffers that are being copied, see Snapshot
}

// local is a worker's memory for what a task of an operation needs; its size is
// bounded by how tasks are cut.
type local struct {
	mem []byte
	_   [128]byte
}

// memory returns at least n bytes of a worker's memory, aligned to cache lines.
func (d *Device) memory(worker, n int) unsafe.Pointer {
	l := &d.locals[worker]
	if len(l.mem) < n+64 {
		l.mem = make([]byte, n+64)
	}
	return unsafe.Add(unsafe.Pointer(&l.mem[0]), -int(uintptr(unsafe.Pointer(&l.mem[0])))&63)
}

var _ device.Device = (*Device)(nil)

// New is the processor with the workers of pool.Default.
func New() *Device { return newDevice(pool.Default()) }

func newDevice(p *pool.Pool) *Device {
	return &Device{pool: p, gemm: gemm.NewCtx(p), locals: make([]local, p.Workers())}
}

// SetThreads sets how many workers of the default pool take part in later kernels;
// see [pool.Pool.SetThreads].
func SetThreads(n int) { pool.Default().SetThreads(n) }

// Threads is how many take part.
func Threads() int { return pool.Default().Threads() }

// Name is "cpu".
func (d *Device) Name() string { return "cpu" }

// buffer is host memory.
type buffer struct {
	p    unsafe.Pointer
	n    int
	host []byte // Go memory, if it is
	free func()
}

func (b *buffer) Bytes() int { return b.n }

func (b *buffer) Free() {
	if b.free != nil {
		b.free()
	}
	*b = buffer{}
}

func (b *buffer) bytes() []byte { return unsafe.Slice((*byte)(b.p), b.n) }

// addressable is more memory than any machine has. Go's allocator panics when it is
// asked for more than there are addresses.
const addressable = 1 << 46

// Alloc returns n bytes, aligned to 64 bytes. Large blocks lie outside of Go's
// heap, on huge pages where the system has them: a fresh page costs more time
// than most kernels take to fill it.
func (d *Device) Alloc(n int) (device.Buffer, error) {
	if n < 0 || int64(n) > addressable {
		return nil, fmt.Errorf("cpu: cannot allocate %d bytes", n)
	}
	b, err := alloc(n)
	if err != nil {
		return nil, fmt.Errorf("cpu: allocating %d bytes: %w", n, err)
	}
	return b, nil
}

// goAlloc takes memory from Go's heap.
func goAlloc(n int) *buffer {
	mem := make([]byte, n+64)
	off := -int(uintptr(unsafe.Pointer(&mem[0]))) & 63
	return &buffer{p: unsafe.Pointer(&mem[off]), n: n, host: mem}
}

// Wrap makes data a buffer without copying it, however it is aligned.
func (d *Device) Wrap(data []byte) (device.Buffer, error) {
	if len(data) == 0 {
		return goAlloc(0), nil
	}
	return &buffer{p: unsafe.Pointer(&data[0]), n: len(data), host: data}, nil
}

// Upload copies host memory to a buffer of the same size.
func (d *Device) Upload(dst device.Buffer, src []byte) error {
	b, ok := dst.(*buffer)
	if !ok || b.n != len(src) {
		return fmt.Errorf("cpu: uploading %d bytes to a buffer of %d", len(src), dst.Bytes())
	}
	d.holds.await(b.p)
	copy(b.bytes(), src)
	return nil
}

// Download copies a buffer to host memory of the same size.
func (d *Device) Download(dst []byte, src device.Buffer) error {
	b, ok := src.(*buffer)
	if !ok || b.n != len(dst) {
		return fmt.Errorf("cpu: downloading %d bytes from a buffer of %d", len(dst), src.Bytes())
	}
	copy(dst, b.bytes())
	return nil
}

// Supports names the composites that have routines; the others are compiled from
// their bodies. Operands of 16 bits are made float32 first, which is no gain.
func (d *Device) Supports(composite string, narrow bool) bool {
	return !narrow && (composite == "attention" || composite == "attention_grad")
}

// compiled is a compiled kernel.Program without memory of its own: what an
// Executable and the body of a Scan have in common.
type compiled struct {
	p      *kernel.Program
	steps  []runner
	slots  []unsafe.Pointer
	placed []int // the slots in the arena, which stay resolved until it moves
}

// runner is a routine over the slots' addresses.
type runner interface{ run(slots []unsafe.Pointer) }

func (d *Device) compile(p *kernel.Program) (*compiled, error) {
	c := &compiled{p: p, slots: make([]unsafe.Pointer, len(p.Slots))}
	for i := range p.Slots {
		if p.Slots[i].Kind == kernel.Arena {
			c.placed = append(c.placed, i)
		}
	}
	for _, s := range p.Steps {
		var r runner
		var err error
		switch s := s.(type) {
		case *kernel.Fused:
			r, err = compileFused(s, p.Slots, d.pool)
		case *kernel.Library:
			r, err = d.compileLibrary(s, p.Slots)
		default:
			err = fmt.Errorf("unknown kind of step %T", s)
		}
		if err != nil {
			return nil, fmt.Errorf("cpu: compiling %s: %w", s.Label(), err)
		}
		c.steps = append(c.steps, r)
	}
	return c, nil
}

// overlap tells whether two slots have memory in common. Slots that a kernel
// computes in place do: one is read and the other written at the same points. With
// no table of slots, each has memory of its own.
func overlap(slots []kernel.Slot, a, b int) bool {
	if a == b || slots == nil {
		return a == b
	}
	x, y := &slots[a], &slots[b]
	return x.Kind == kernel.Arena && y.Kind == kernel.Arena && x.Offset < y.Offset+y.Bytes && y.Offset < x.Offset+x.Bytes
}

// run executes the steps, once the slots of kinds Leaf and Output are set.
func (c *compiled) run(arena unsafe.Pointer) {
	c.place(arena)
	if nvtx.On() {
		for i, s := range c.steps {
			nvtx.Push(c.p.Steps[i].Label())
			s.run(c.slots)
			nvtx.Pop()
		}
		return
	}
	for _, s := range c.steps {
		s.run(c.slots)
	}
}

// place resolves the slots in the arena.
func (c *compiled) place(arena unsafe.Pointer) {
	if n := len(c.placed); n > 0 {
		// The last to be resolved tells for all.
		if last := c.placed[n-1]; c.slots[last] != unsafe.Add(arena, c.p.Slots[last].Offset) {
			for _, i := range c.placed {
				c.slots[i] = unsafe.Add(arena, c.p.Slots[i].Offset)
			}
		}
	}
}

// executable is a program. What lies in the arena is nobody's after a run, so all
// programs of the device have one, which grows when one needs more.
type executable struct {
	*compiled
	dev    *Device
	open   bool    // it has run
	bound  []int   // the slots that every run binds anew
	writes [][]int // for each step, the leaves it writes; found when it matters
}

// Compile makes a program runnable.
func (d *Device) Compile(p *kernel.Program) (device.Executable, error) {
	c, err := d.compile(p)
	if err != nil {
		return nil, err
	}
	e := &executable{compiled: c, dev: d}
	for i := range p.Slots {
		if p.Slots[i].Kind != kernel.Arena {
			e.bound = append(e.bound, i)
		}
	}
	return e, nil
}

func (e *executable) Run(leaves, outputs []device.Buffer) error {
	e.dev.mu.Lock()
	defer e.dev.mu.Unlock()
	if len(leaves) != e.p.Leaves || len(outputs) != e.p.Outputs {
		return fmt.Errorf("cpu: program takes %d leaves and %d outputs, got %d and %d", e.p.Leaves, e.p.Outputs, len(leaves), len(outputs))
	}
	if err := e.dev.reserve(e.p.Arena); err != nil {
		return err
	}
	if !e.open {
		e.open = true
		e.dev.open++
	}
	for _, i := range e.bound {
		s := &e.p.Slots[i]
		bound := leaves
		if s.Kind == kernel.Output {
			bound = outputs
		}
		b, ok := bound[s.Index].(*buffer)
		if !ok {
			return fmt.Errorf("cpu: slot %d is bound to %T, which is not memory of the cpu", i, bound[s.Index])
		}
		if b.n < s.Bytes {
			return fmt.Errorf("cpu: slot %d needs %d bytes, its buffer has %d", i, s.Bytes, b.n)
		}
		e.slots[i] = b.p
	}
	switch {
	case e.dev.holds.active.Load() > 0:
		e.runHeld(e.dev.arena.p)
	case e.dev.trace != nil:
		e.dev.traced(e.compiled, e.dev.arena.p)
	default:
		e.run(e.dev.arena.p)
	}
	for _, i := range e.bound {
		e.slots[i] = nil // so that it does not keep the caller's memory alive
	}
	return nil
}

// reserve makes the arena at least n bytes large.
func (d *Device) reserve(n int) error {
	if d.arena != nil && d.arena.n >= n {
		return nil
	}
	if d.arena != nil { // its content is nobody's
		d.arena.Free()
		d.arena = nil
	}
	b, err := alloc(n)
	if err != nil {
		return fmt.Errorf("cpu: allocating an arena of %d bytes: %w", n, err)
	}
	d.arena = b
	return nil
}

// Kept is the bytes of the arena. What workers have besides is bounded, and small.
func (d *Device) Kept() int64 { return d.Arena() }

// Arena is the same.
func (d *Device) Arena() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.arena == nil {
		return 0
	}
	return int64(d.arena.n)
}

// Close frees the arena with the last program.
func (e *executable) Close() {
	e.dev.mu.Lock()
	defer e.dev.mu.Unlock()
	if !e.open {
		return
	}
	e.open = false
	clear(e.slots)
	if e.dev.open--; e.dev.open == 0 {
		e.dev.arena.Free()
		e.dev.arena = nil
	}
}
