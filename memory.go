package sinter

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/plan"
)

// memory is what a storage holds: host memory that was handed in, or a buffer of a
// device, or both.
type memory struct {
	host     []byte
	buffer   device.Buffer
	on       *engine         // whose buffer it is
	stale    bool            // host has changed since the buffer was made
	cleanup  runtime.Cleanup // gives an owned buffer back with the storage
	owned    bool
	variable *Variable // nil if it is not one's

	scalar      func() float64 // of a RuntimeScalarFunc: the number, which host holds in type dtype
	dtype       DType
	input       bool // it was uploaded, and the host has no copy
	placeholder bool // stands for an input of a compiled function and has no memory
	result      bool // belongs to the result of a compiled function alone
}

func newStorage(m *memory, name string) *ir.Storage { return &ir.Storage{Data: m, Name: name} }

func memoryOf(s *ir.Storage) *memory { return s.Data.(*memory) }

// holding is a buffer in use, and by what.
type holding struct {
	on     *engine
	buffer device.Buffer
	by     holder
}

// holder is what buffers are for, as far as it is told apart when memory runs out.
type holder uint8

const (
	byResult   holder = iota // results that somebody can still read
	byVariable               // parameters, state of optimizers and layers
	byInput                  // what was uploaded from the host: batches, data
	holders
)

// own makes b, which is on e, the storage's memory instead of what was; it returns to the
// pool with the storage.
func (m *memory) own(s *ir.Storage, e *engine, b device.Buffer, by holder) {
	m.leave()
	h := holding{e, b, by}
	m.buffer, m.on, m.owned, m.stale = b, e, true, false
	m.cleanup = runtime.AddCleanup(s, func(h holding) { h.on.release(h.buffer, h.by) }, h)
}

// leave gives back the buffer.
func (m *memory) leave() {
	if m.owned {
		m.cleanup.Stop()
		m.on.snapshots.Wait() // one may be reading it
		m.on.release(m.buffer, m.holder())
	}
	m.buffer, m.on, m.owned = nil, nil, false
}

func (m *memory) holder() holder {
	switch {
	case m.variable != nil:
		return byVariable
	case m.host != nil || m.input:
		return byInput
	}
	return byResult
}

// bound is the memory of storage s on e, brought there if it is not.
func (m *memory) bound(e *engine, s *ir.Storage) (device.Buffer, error) {
	switch {
	case m.placeholder:
		return nil, errPlaceholder
	case m.on == e && !m.stale:
		return m.buffer, nil
	case m.host == nil && m.buffer != nil:
		data := make([]byte, m.buffer.Bytes())
		if err := m.on.download(data, m.buffer); err != nil {
			return nil, fmt.Errorf("bringing it from %s to %s: %w", m.on.info.Name, e.info.Name, err)
		}
		return m.buffer, m.put(e, s, data)
	case e.info.HostMemory:
		if m.on == e {
			m.stale = false // it is the memory
			return m.buffer, nil
		}
		b, err := e.dev.Wrap(m.host)
		if err != nil {
			return nil, err
		}
		m.leave()
		m.buffer, m.on, m.stale = b, e, false
		return b, nil
	}
	err := m.put(e, s, m.host)
	m.stale = m.stale && err != nil
	return m.buffer, err
}

// put makes data the content of the storage's memory, on e.
func (m *memory) put(e *engine, s *ir.Storage, data []byte) error {
	if m.on == e && m.owned {
		return e.upload(m.buffer, data)
	}
	by := m.holder()
	b, err := e.allocate(len(data), by)
	if err != nil {
		return err
	}
	if err := e.upload(b, data); err != nil {
		e.release(b, by)
		return err
	}
	m.own(s, e, b, by)
	return nil
}

// renew asks for the number of a RuntimeScalarFunc.
func (m *memory) renew() {
	encode(m.host, m.dtype, m.scalar())
	m.stale = true
}

func (e *engine) upload(dst device.Buffer, src []byte) error {
	if !e.info.HostMemory {
		e.uploaded.Add(int64(len(src)))
	}
	return e.dev.Upload(dst, src)
}

func (e *engine) download(dst []byte, src device.Buffer) error {
	if !e.info.HostMemory {
		e.downloaded.Add(int64(len(dst)))
	}
	return e.dev.Download(dst, src)
}

// small is the size up to which values of the host are uploaded together with others: one
// upload of a few hundred bytes takes as long as one of four.
const small = 64

// smalls is the small values of the host that a program reads, in one buffer of the device.
type smalls struct {
	buffer device.Buffer
	parts  []device.Buffer // by leaf; nil for what is large
	at     []int           // of the parts
	host   []byte          // what the buffer holds, once valid
	valid  bool
	dirty  bool
}

// smallsOf are those of a program; nil if there are none, or if the device needs no such
// thing.
func (e *engine) smallsOf(p *plan.Compiled, leaves []*ir.Node) (*smalls, error) {
	d, ok := e.dev.(device.Divider)
	if !ok || e.info.HostMemory {
		return nil, nil
	}
	if s, ok := p.Attached.(*smalls); ok {
		return s, nil
	}
	s := &smalls{parts: make([]device.Buffer, p.Program.Leaves), at: make([]int, p.Program.Leaves)}
	n := 0
	for i := range s.at {
		s.at[i] = -1
	}
	for i := range p.Program.Slots {
		if slot := &p.Program.Slots[i]; slot.Kind == kernel.Leaf && slot.Bytes <= small && memoryOf(leaves[slot.Index].Storage).variable == nil {
			s.at[slot.Index] = n * small
			n++
		}
	}
	if n > 0 {
		b, err := e.allocate(n*small, byInput)
		if err != nil {
			return nil, err
		}
		s.buffer, s.host = b, make([]byte, n*small)
		for i, at := range s.at {
			if at >= 0 {
				s.parts[i] = d.Part(b, at, small)
			}
		}
		runtime.AddCleanup(p, func(h holding) { h.on.release(h.buffer, h.by) }, holding{e, b, byInput})
	}
	p.Attached = s
	return s, nil
}

// bind is the buffer of leaf i, which storage s holds.
func (v *smalls) bind(e *engine, i int, s *ir.Storage) (device.Buffer, error) {
	m := memoryOf(s)
	if v == nil || v.at[i] < 0 || m.host == nil || len(m.host) > small {
		return m.bound(e, s)
	}
	if own := v.host[v.at[i]:][:len(m.host)]; string(own) != string(m.host) {
		copy(own, m.host)
		v.dirty = true
	}
	return v.parts[i], nil
}

// upload brings what has changed to the device.
func (v *smalls) upload(e *engine) error {
	if v == nil || v.buffer == nil || v.valid && !v.dirty {
		return nil
	}
	v.valid, v.dirty = false, false
	err := e.upload(v.buffer, v.host)
	v.valid = err == nil
	return err
}

// buffers is the memory of results and variables that nobody refers to any more, by
// size, for the next ones. The garbage collector does not see memory of devices, so
// it is also watched here how much is in use, and the collector is called when that
// has doubled.
type buffers struct {
	sync.Mutex
	free      map[int][]device.Buffer
	freeBytes int64
	maxFree   int64
	used      int64 // bytes handed out
	by        [holders]int64
	collectAt int64 // used bytes at which the collector is called
	peak      int64 // of used bytes and the arena
}

const (
	minCollect   = 64 << 20
	maxFreeBytes = 256 << 20
)

func (p *buffers) take(n int, by holder) device.Buffer {
	p.Lock()
	defer p.Unlock()
	p.add(n, by)
	l := p.free[n]
	if len(l) == 0 {
		return nil
	}
	b := l[len(l)-1]
	p.free[n] = l[:len(l)-1]
	p.freeBytes -= int64(n)
	return b
}

// add counts n bytes more. The lock is held.
func (p *buffers) add(n int, by holder) {
	p.used += int64(n)
	p.by[by] += int64(n)
}

func (p *buffers) notePeak(arena int64) {
	p.Lock()
	defer p.Unlock()
	p.peak = max(p.peak, p.used+arena)
}

// crowded tells whether more is in use than the collector should let pass.
func (p *buffers) crowded() bool {
	p.Lock()
	defer p.Unlock()
	return p.used > p.collectAt
}

// allocate returns a buffer of n bytes. If the device is full, what is kept for later is
// given up for it.
func (e *engine) allocate(n int, by holder) (device.Buffer, error) {
	if e.pool.crowded() {
		e.pool.collect()
	}
	if b := e.pool.take(n, by); b != nil {
		return b, nil
	}
	b, err := e.dev.Alloc(n)
	if isFull(err) {
		e.relieve()
		b, err = e.dev.Alloc(n)
	}
	if err != nil {
		e.pool.Lock()
		e.pool.add(-n, by)
		e.pool.Unlock()
		return nil, e.full(err)
	}
	return b, nil
}

// collect lets go of what is unreachable. Cleanups run on their own after a
// collection; they get a moment.
func (p *buffers) collect() {
	runtime.GC()
	time.Sleep(time.Millisecond)
	p.Lock()
	p.collectAt = max(minCollect, 2*p.used)
	p.Unlock()
}

// release takes back a buffer.
func (e *engine) release(b device.Buffer, by holder) {
	p := &e.pool
	n := b.Bytes()
	p.Lock()
	p.add(-n, by)
	full := p.freeBytes+int64(n) > p.maxFree
	if !full {
		p.free[n] = append(p.free[n], b)
		p.freeBytes += int64(n)
	}
	p.Unlock()
	if full {
		b.Free()
	}
}

// giveBack frees what is kept for results to come.
func (e *engine) giveBack() {
	e.pool.Lock()
	free := e.pool.free
	e.pool.free, e.pool.freeBytes = make(map[int][]device.Buffer), 0
	e.pool.Unlock()
	for _, list := range free {
		for _, b := range list {
			b.Free()
		}
	}
	if t, ok := e.dev.(device.Trimmer); ok {
		t.Trim()
	}
}

// relieve gives up all that can be done without.
func (e *engine) relieve() {
	e.pool.collect()
	e.pool.collect() // what the cleanups of the first have let go of
	e.giveBack()
}

// EmptyCache gives back to the system what is kept for results to come, like
// torch.cuda.empty_cache. What is unreachable is let go of before. Programs and their
// arena stay.
func EmptyCache() {
	devices.Lock()
	defer devices.Unlock()
	if e := devices.using.Load(); e != nil {
		e.relieve()
	}
	for _, e := range devices.opened {
		e.giveBack()
	}
}

// MemoryError is a device that has not enough memory for what is to be evaluated, even
// without what was kept for later. Nothing has changed; with less, a smaller batch for
// example, the program can go on.
type MemoryError struct {
	Device string
	Wanted int64  // bytes
	For    string // what
	Free   int64  // bytes of the device; -1 if that is not known
	Total  int64

	// What holds memory of the device in this process, in bytes.
	Variables int64 // parameters, the state of the optimizer and of layers
	Results   int64 // tensors that were evaluated and can still be read
	Inputs    int64 // what was uploaded: batches, datasets
	Programs  int64 // the arena, in which values in between lie, and what else programs need

	Err error
}

func (e *MemoryError) Error() string {
	s := fmt.Sprintf("sinter: %s has not enough memory for %s (%s)", e.Device, round(e.Wanted), e.For)
	if e.Total > 0 && e.Free >= 0 {
		s += fmt.Sprintf(": %s of its %s are free", round(e.Free), round(e.Total))
	}
	s += fmt.Sprintf("; this process holds %s for variables, %s for results, %s for inputs and %s for programs",
		round(e.Variables), round(e.Results), round(e.Inputs), round(e.Programs))
	if used := e.Total - e.Free - e.Variables - e.Results - e.Inputs - e.Programs; e.Free >= 0 && used > e.Total/16 {
		s += fmt.Sprintf("; other processes and the driver hold about %s", round(used))
	}
	if e.Free >= 0 && e.Programs+e.Free > 0 && e.For != "" {
		s += fmt.Sprintf("; what a step takes would fit into %s", round(e.Free+e.Programs))
	}
	return s + ": a smaller batch (with accumulation, the step stays the same), activation checkpointing, or a memory limit, which finds both, make it smaller"
}

func (e *MemoryError) Unwrap() error { return e.Err }

func isFull(err error) bool { return err != nil && errors.As(err, new(*device.MemoryError)) }

// full is the error for people of one that says that memory is missing.
func (e *engine) full(err error) error {
	var m *device.MemoryError
	if !errors.As(err, &m) {
		return err
	}
	e.pool.Lock()
	defer e.pool.Unlock()
	r := &MemoryError{
		Device: e.info.Name, Wanted: int64(m.Bytes), For: m.For, Free: m.Free, Total: m.Total,
		Variables: e.pool.by[byVariable], Results: e.pool.by[byResult], Inputs: e.pool.by[byInput],
		Programs: int64(e.programs.Arena()), Err: m,
	}
	if k, ok := e.dev.(device.Keeper); ok {
		r.Programs = k.Kept()
	}
	return r
}
