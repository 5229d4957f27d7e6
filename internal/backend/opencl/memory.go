package opencl

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
)

// memory is a buffer of the driver's.
type memory struct {
	mem   opencl.Mem
	bytes int
	// id tells it from all others there have been: a driver hands out the same handle again
	// once the buffer it stood for is gone.
	id uint64
}

var ids atomic.Uint64

// allocate makes a buffer; what for is for the error.
func (d *Device) allocate(n int, flags opencl.MemFlags, host []byte, what string) (*memory, error) {
	m, err := d.cl.CreateBuffer(d.ctx, opencl.ReadWrite|flags, max(n, 1), host)
	if err != nil {
		return nil, d.full(n, what, err)
	}
	return &memory{m, n, ids.Add(1)}, nil
}

// buffer is n bytes of a memory from an offset on.
type buffer struct {
	*memory
	dev    *Device
	offset int
	n      int
	part   bool
	host   []byte // wrapped: Go does not move it, and it stays while it is referred to
}

func (b *buffer) Bytes() int { return b.n }

// Free lets go of the memory. The driver keeps it until what is in the queue has used it.
func (b *buffer) Free() {
	if b.memory == nil || b.part {
		return
	}
	if b.host != nil {
		b.dev.Wait() // programs read Go's memory
	}
	b.dev.cl.ReleaseMemObject(b.mem)
	b.memory, b.host = nil, nil
}

// aligned is the alignment of buffers that kernels count on, in bytes.
const aligned = 64

// Alloc returns n bytes. Drivers align to CL_DEVICE_MEM_BASE_ADDR_ALIGN, which is at least
// 128 bytes.
func (d *Device) Alloc(n int) (device.Buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("%s: cannot allocate %d bytes", d.info.Name, n)
	}
	// Some drivers find out only when a buffer is used that they have no memory for it, and
	// then the program that uses it is lost.
	if d.info.Total > 0 && int64(n) > d.info.Total {
		return nil, &device.MemoryError{Device: d.info.Name, Bytes: n, For: "a buffer", Free: d.free(), Total: d.info.Total}
	}
	m, err := d.allocate(n, 0, nil, "a buffer")
	if err != nil {
		return nil, err
	}
	return &buffer{memory: m, dev: d, n: n}, nil
}

// Part is n bytes of b from an offset on.
func (d *Device) Part(b device.Buffer, offset, n int) device.Buffer {
	whole := b.(*buffer)
	return &buffer{memory: whole.memory, dev: d, offset: whole.offset + offset, n: n, part: true}
}

// Wrap makes host memory a buffer: the memory itself where the device shares it with the
// host and it is aligned, else a copy of it.
func (d *Device) Wrap(data []byte) (device.Buffer, error) {
	if d.traits.shared && len(data) > 0 && uintptr(unsafe.Pointer(&data[0]))%aligned == 0 {
		m, err := d.allocate(len(data), opencl.UseHostPtr, data, "memory of the host")
		if err != nil {
			return nil, err
		}
		return &buffer{memory: m, dev: d, n: len(data), host: data}, nil
	}
	b, err := d.Alloc(len(data))
	if err != nil {
		return nil, err
	}
	if err := d.Upload(b, data); err != nil {
		b.Free()
		return nil, err
	}
	return b, nil
}

// mine is a buffer as one of d's.
func (d *Device) mine(b device.Buffer) (*buffer, error) {
	own, ok := b.(*buffer)
	if !ok || own.memory == nil || own.dev != d {
		return nil, fmt.Errorf("%T is not memory of %s, or was freed", b, d.info.Name)
	}
	return own, nil
}

// Upload copies host memory to a buffer of the same size.
func (d *Device) Upload(dst device.Buffer, src []byte) error {
	b, err := d.mine(dst)
	if err != nil {
		return d.says(fmt.Errorf("uploading: %w", err))
	}
	if b.n != len(src) {
		return d.says(fmt.Errorf("uploading %d bytes to a buffer of %d", len(src), b.n))
	}
	if len(src) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost != nil {
		return d.lost
	}
	if d.traits.shared {
		err = d.cl.EnqueueWriteBuffer(d.queue, b.mem, true, b.offset, src, nil, nil)
	} else {
		err = d.stage.upload(d, b, src)
	}
	if err != nil {
		return d.fail(fmt.Sprintf("uploading %d bytes", len(src)), err)
	}
	return nil
}

// Download copies a buffer to host memory of the same size.
func (d *Device) Download(dst []byte, src device.Buffer) error {
	b, err := d.mine(src)
	if err != nil {
		return d.says(fmt.Errorf("downloading: %w", err))
	}
	if b.n != len(dst) {
		return d.says(fmt.Errorf("downloading %d bytes from a buffer of %d", len(dst), b.n))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost != nil {
		return d.lost
	}
	if len(dst) == 0 {
		return nil
	}
	if err := d.flight.wait(d, 0); err != nil { // so that what failed there is told from what fails here
		return err
	}
	if err := d.cl.EnqueueReadBuffer(d.queue, b.mem, true, b.offset, dst, nil, nil); err != nil {
		return d.fail(fmt.Sprintf("downloading %d bytes", len(dst)), err)
	}
	return nil
}

// staging is pinned memory of the host, in two halves that take turns: the device copies
// from one while the next part is put into the other. A card reads memory that is not
// pinned only by way of such memory of the driver's.
type staging struct {
	half [2]struct {
		m    *memory
		host []byte
		busy opencl.Event // the copy from it; 0: none
	}
	next int
}

const stagingBytes = 4 << 20 // of a half

func (s *staging) bytes() int {
	n := 0
	for _, h := range s.half {
		n += len(h.host)
	}
	return n
}

// upload copies src to b; it is done with src when it returns, but the device need not be.
func (s *staging) upload(d *Device, b *buffer, src []byte) error {
	for at := 0; at < len(src); {
		h := &s.half[s.next]
		s.next = 1 - s.next
		if h.host == nil {
			m, err := d.allocate(stagingBytes, opencl.AllocHostPtr, nil, "staging")
			if err != nil {
				return err
			}
			host, err := d.cl.EnqueueMapBuffer(d.queue, m.mem, true, opencl.MapWrite, 0, stagingBytes, nil, nil)
			if err != nil {
				return err
			}
			h.m, h.host = m, host
		}
		if h.busy != 0 {
			err := d.cl.WaitForEvents(h.busy)
			d.cl.ReleaseEvent(h.busy)
			h.busy = 0
			if err != nil {
				return err
			}
		}
		n := copy(h.host, src[at:])
		if err := d.cl.EnqueueWriteBuffer(d.queue, b.mem, false, b.offset+at, h.host[:n], nil, &h.busy); err != nil {
			return err
		}
		at += n
	}
	return d.cl.Flush(d.queue)
}

// Snapshot copies buffers to host memory as they are now. The copies are in the queue, so
// that programs that come later overwrite nothing that has not been copied.
func (d *Device) Snapshot(dst [][]byte, src []device.Buffer) (wait func() error, err error) {
	own := make([]*buffer, len(src))
	for i, s := range src {
		if own[i], err = d.mine(s); err != nil {
			return nil, d.says(fmt.Errorf("snapshot: %w", err))
		}
		if own[i].n != len(dst[i]) {
			return nil, d.says(fmt.Errorf("snapshot of a buffer of %d bytes into %d", own[i].n, len(dst[i])))
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost != nil {
		return nil, d.lost
	}
	// The driver writes after this returns, so the memory must not go before.
	var pinned runtime.Pinner
	for i, b := range own {
		if b.n == 0 {
			continue
		}
		pinned.Pin(&dst[i][0])
		if err := d.cl.EnqueueReadBuffer(d.queue, b.mem, false, b.offset, dst[i], nil, nil); err != nil {
			d.cl.Finish(d.queue)
			pinned.Unpin()
			return nil, d.fail("a snapshot", err)
		}
	}
	var done opencl.Event
	if err := d.cl.EnqueueMarkerWithWaitList(d.queue, nil, &done); err != nil {
		d.cl.Finish(d.queue)
		pinned.Unpin()
		return nil, d.fail("a snapshot", err)
	}
	if err := d.cl.Flush(d.queue); err != nil {
		return nil, d.fail("a snapshot", err)
	}
	return sync.OnceValue(func() error {
		err := d.cl.WaitForEvents(done)
		d.cl.ReleaseEvent(done)
		pinned.Unpin()
		if err != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			err = d.fail("a snapshot", err)
		}
		return err
	}), nil
}
