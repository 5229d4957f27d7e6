package cuda

import (
	"errors"
	"fmt"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cuda"
)

// memory is what is allocated on the device. Where the driver has a pool, memory is taken
// and given back in the order of the compute stream, without waiting; the pool keeps what
// comes back, and gives it to the device when memory runs out or Trim is called.
type memory struct {
	d      *Device
	pooled bool
	pool   cuda.MemPool

	buffers   int // how many there are
	bytes     int64
	arena     cuda.Ptr
	arenaSize int
	moves     int // how often the arena has been another one
}

func (m *memory) start(d *Device) error {
	m.d = d
	if !d.pools {
		return nil
	}
	pool, err := d.cu.DeviceGetDefaultMemPool(d.id)
	if err != nil {
		return err
	}
	m.pool, m.pooled = pool, true
	return d.cu.MemPoolSetAttribute(pool, cuda.PoolReleaseThreshold, 1<<64-1)
}

// take allocates. If there is no memory, it gives back what the pool keeps, and tries once
// more. The lock is held, the context current.
func (m *memory) take(n int, what string) (cuda.Ptr, error) {
	d := m.d
	p, err := m.alloc(n)
	if err == nil {
		return p, nil
	}
	if !isFull(err) {
		return 0, d.fail(fmt.Sprintf("allocating %d bytes (%s)", n, what), err)
	}
	if err := m.trim(); err != nil {
		return 0, err
	}
	if p, err = m.alloc(n); err == nil {
		return p, nil
	}
	if !isFull(err) {
		return 0, d.fail(fmt.Sprintf("allocating %d bytes (%s)", n, what), err)
	}
	e := &device.MemoryError{Device: d.info.Name, Bytes: n, For: what, Free: -1, Total: d.info.Total}
	if free, total, err := d.cu.MemGetInfo(); err == nil {
		e.Free, e.Total = int64(free), int64(total)
	}
	others := max(0, e.Total-max(e.Free, 0)-m.bytes-int64(m.arenaSize))
	e.Err = fmt.Errorf("%d buffers hold %d bytes, the arena of the programs %d, and %d are of other processes, of libraries and of the driver: %w",
		m.buffers, m.bytes, m.arenaSize, others, err)
	return 0, e
}

func isFull(err error) bool {
	var e *cuda.Error
	return errors.As(err, &e) && e.Result == cuda.OutOfMemory
}

func (m *memory) alloc(n int) (cuda.Ptr, error) {
	if m.pooled {
		return m.d.cu.MemAllocAsync(n, m.d.compute)
	}
	return m.d.cu.MemAlloc(n)
}

// give frees, after all that is in the compute stream. The lock is held, the context
// current.
func (m *memory) give(p cuda.Ptr) error {
	if m.pooled {
		return m.d.cu.MemFreeAsync(p, m.d.compute)
	}
	return m.d.cu.MemFree(p) // which waits for the device
}

// trim gives back to the device what the pool keeps. What has been freed counts as in use
// before the stream gets there, so it waits for that. The lock is held, the context current.
func (m *memory) trim() error {
	d := m.d
	if err := d.cu.StreamSynchronize(d.compute); err != nil {
		return d.fail(d.flight.doing(), err)
	}
	if !m.pooled {
		return nil
	}
	if err := d.cu.MemPoolTrimTo(m.pool, 0); err != nil {
		return d.fail("giving back memory", err)
	}
	return nil
}

// Trim gives back to the device what is kept and not in use.
func (d *Device) Trim() {
	err := d.enter()
	defer d.leave()
	if err == nil {
		_ = d.memory.trim() // what has failed is returned by every call from now on
	}
}

// Arena is the bytes of the arena.
func (d *Device) Arena() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(d.memory.arenaSize)
}

// Kept is the bytes held for programs: the arena, and what the pool keeps.
func (d *Device) Kept() int64 {
	err := d.enter()
	defer d.leave()
	n := int64(d.memory.arenaSize)
	if err == nil && d.memory.pooled {
		reserved, err := d.cu.MemPoolGetAttribute(d.memory.pool, cuda.PoolReservedCurrent)
		if err == nil {
			n = max(n, int64(reserved)-d.memory.bytes)
		}
	}
	return n
}

// reserve makes the arena at least n bytes large. What is in the queue keeps the old one as
// long as it needs it. The lock is held, the context current.
func (m *memory) reserve(n int) error {
	if m.arenaSize >= n {
		return nil
	}
	if err := m.release(); err != nil { // its content is nobody's
		return err
	}
	p, err := m.take(n, "the arena of the programs")
	if err != nil {
		return err
	}
	m.arena, m.arenaSize = p, n
	m.moves++
	return nil
}

// release frees the arena.
func (m *memory) release() error {
	if m.arenaSize == 0 {
		return nil
	}
	p := m.arena
	m.arena, m.arenaSize = 0, 0
	m.moves++
	if err := m.give(p); err != nil {
		return m.d.fail("freeing the arena", err)
	}
	return nil
}

// buffer is memory of the device, or a part of another buffer.
type buffer struct {
	d    *Device
	p    cuda.Ptr
	n    int
	root *buffer // that it is a part of, or itself; nil once it was freed

	// Of a root, with the device's lock:
	used    uint64     // number of the run that used it last
	ordered bool       // something else in the compute stream has used it since the last copy beside the programs
	ready   cuda.Event // of that copy; 0 if there was none
	staged  bool       // it has not been waited for
}

func (b *buffer) Bytes() int { return b.n }

// Alloc returns n bytes, aligned to 256.
func (d *Device) Alloc(n int) (device.Buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("%s: cannot allocate %d bytes", d.info.Name, n)
	}
	err := d.enter()
	defer d.leave()
	if err != nil {
		return nil, err
	}
	return d.alloc(n)
}

func (d *Device) alloc(n int) (*buffer, error) {
	b := &buffer{d: d, n: n}
	b.root = b
	if n == 0 {
		return b, nil
	}
	p, err := d.memory.take(n, "a buffer")
	if err != nil {
		return nil, err
	}
	b.p = p
	d.memory.buffers++
	d.memory.bytes += int64(n)
	return b, nil
}

// Free gives the memory back after what is in the queue.
func (b *buffer) Free() {
	d := b.d
	err := d.enter()
	defer d.leave()
	if b.root != b {
		b.root = nil
		return
	}
	b.root = nil
	if b.n == 0 {
		return
	}
	d.memory.buffers--
	d.memory.bytes -= int64(b.n)
	if err != nil {
		return // the memory goes with the context
	}
	if err = b.settle(); err == nil {
		err = d.memory.give(b.p)
	}
	if b.ready != 0 {
		_ = d.cu.EventDestroy(b.ready) // the driver does so when it has happened
		b.ready = 0
	}
	if err != nil {
		_ = d.fail("freeing a buffer", err)
	}
	b.p = 0
}

// settle has the compute stream wait for a copy to the buffer that was made beside it. The
// lock is held, the context current.
func (b *buffer) settle() error {
	if !b.staged {
		return nil
	}
	b.staged = false
	return b.d.cu.StreamWaitEvent(b.d.compute, b.ready)
}

// Part is n bytes of a buffer from an offset on.
func (d *Device) Part(of device.Buffer, offset, n int) device.Buffer {
	b := of.(*buffer)
	if offset < 0 || n < 0 || offset+n > b.n {
		panic(fmt.Sprintf("cuda: bytes %d to %d of a buffer of %d", offset, offset+n, b.n))
	}
	return &buffer{d: d, p: b.p + cuda.Ptr(offset), n: n, root: b.root}
}

// own finds the device's buffer behind b, or says that there is none.
func (d *Device) own(b device.Buffer) (*buffer, error) {
	x, ok := b.(*buffer)
	if !ok || x.d != d || x.root == nil {
		return nil, fmt.Errorf("%s: %T is not memory of %s, or was freed", d.info.Name, b, d.info.Name)
	}
	return x, nil
}
