package cuda

import (
	"fmt"
	"sync"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cuda"
)

// Copies between host and device go through pinned memory, the only one that the device
// reaches while the host does something else: what is to be uploaded is copied there, in
// pieces if it is large, and the caller's memory is free when the call returns. Two pieces take
// turns, so that one is filled while the other is on its way.

// staging is pinned memory for one direction.
type staging struct {
	d     *Device
	mu    sync.Mutex
	small ring
	large ring
}

// ring is pieces of pinned memory that are used in turn.
type ring struct {
	pieces []piece
	next   int
}

// piece is free when its event has happened.
type piece struct {
	host []byte
	done cuda.Event
	busy bool
}

const (
	smallPiece  = 64 << 10
	smallPieces = 8
	largePieces = 2
	mostLarge   = 16 << 20 // bytes of a piece; more do not make a copy faster
)

// piece is a free one for n bytes, or for the first of them. The lock of the staging is held,
// the context current.
func (s *staging) piece(n int) (*piece, error) {
	r, size, count := &s.small, smallPiece, smallPieces
	if n > smallPiece {
		r, count = &s.large, largePieces
		for size = 1 << 20; size < min(n, mostLarge); size *= 2 {
		}
	}
	if len(r.pieces) < count {
		r.pieces = make([]piece, count)
	}
	p := &r.pieces[r.next%count]
	r.next++
	d := s.d
	if p.busy {
		p.busy = false
		if err := d.cu.EventSynchronize(p.done); err != nil {
			return nil, err
		}
	}
	if len(p.host) < size {
		if p.host != nil {
			if err := d.cu.MemFreeHost(p.host); err != nil {
				return nil, err
			}
			p.host = nil
		}
		host, err := d.cu.MemHostAlloc(size, cuda.HostPortable)
		if err != nil {
			return nil, fmt.Errorf("pinned memory of the host for copies: %w", err)
		}
		p.host = host
	}
	if p.done == 0 {
		e, err := d.cu.EventCreate(cuda.EventDisableTiming)
		if err != nil {
			return nil, err
		}
		p.done = e
	}
	return p, nil
}

// Upload copies host memory to a buffer of the same size, after what is in the queue.
func (d *Device) Upload(dst device.Buffer, src []byte) error { return d.upload(dst, src, false) }

// Stage is Upload beside the programs that run, if they do not use dst.
func (d *Device) Stage(dst device.Buffer, src []byte) error { return d.upload(dst, src, true) }

func (d *Device) upload(dst device.Buffer, src []byte, beside bool) error {
	b, err := d.own(dst)
	if err != nil {
		return err
	}
	if b.n != len(src) {
		return fmt.Errorf("%s: uploading %d bytes to a buffer of %d", d.info.Name, len(src), b.n)
	}
	if b.n == 0 {
		return nil
	}
	d.up.mu.Lock()
	defer d.up.mu.Unlock()
	stream := d.compute
	for at := 0; at < len(src); {
		err := d.begin()
		var p *piece
		if err == nil {
			p, err = d.up.piece(len(src) - at)
		}
		n := 0
		if err == nil {
			n = copy(p.host, src[at:])
		}
		d.end()
		begun := d.enter()
		if begun != nil {
			d.leave()
			return begun
		}
		if err == nil && at == 0 {
			if beside {
				stream, err = b.root.beside()
			} else {
				b.root.ordered = true
				err = b.root.settle()
			}
		}
		if err == nil {
			err = d.cu.MemcpyHtoDAsync(b.p+cuda.Ptr(at), p.host[:n], stream)
		}
		if err == nil {
			p.busy = true
			err = d.cu.EventRecord(p.done, stream)
		}
		at += n
		if err == nil && at == len(src) && beside {
			b.root.staged = true
			err = d.cu.EventRecord(b.root.ready, stream)
		}
		if err != nil {
			err = d.fail(fmt.Sprintf("uploading %d bytes, after %s", len(src), d.flight.doing()), err)
		}
		d.leave()
		if err != nil {
			return err
		}
	}
	return nil
}

// beside is the copy stream, made to wait for the programs that use the buffer. The lock is
// held, the context current.
func (b *buffer) beside() (cuda.Stream, error) {
	d := b.d
	if b.ready == 0 {
		e, err := d.cu.EventCreate(cuda.EventDisableTiming)
		if err != nil {
			return 0, err
		}
		b.ready, b.ordered = e, true // what had its memory before may still use it
	}
	f := &d.flight
	switch {
	case b.ordered:
		b.ordered = false
		if err := d.cu.EventRecord(b.ready, d.compute); err != nil {
			return 0, err
		}
		return d.copies, d.cu.StreamWaitEvent(d.copies, b.ready)
	case b.used > f.done && f.last-b.used < maxFlight:
		return d.copies, d.cu.StreamWaitEvent(d.copies, f.ends[b.used%maxFlight])
	}
	return d.copies, nil
}

// Download copies a buffer to host memory of the same size, when the queue gets there.
func (d *Device) Download(dst []byte, src device.Buffer) error {
	b, err := d.own(src)
	if err != nil {
		return err
	}
	if b.n != len(dst) {
		return fmt.Errorf("%s: downloading %d bytes from a buffer of %d", d.info.Name, len(dst), b.n)
	}
	if err := d.enter(); err != nil {
		d.leave()
		return err
	}
	err = b.root.settle()
	d.leave()
	if err == nil {
		err = d.fetch(dst, b.p, d.compute, &d.down)
	}
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.fail(fmt.Sprintf("downloading %d bytes, after %s", len(dst), d.flight.doing()), err)
	}
	return nil
}

// fetch copies memory of the device to the host in the order of a stream, and returns when it
// is there. It is called without the lock mu.
func (d *Device) fetch(dst []byte, from cuda.Ptr, stream cuda.Stream, s *staging) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var way struct { // the piece that is on its way
		p  *piece
		to []byte
	}
	arrive := func() error {
		if way.p == nil {
			return nil
		}
		if err := d.cu.EventSynchronize(way.p.done); err != nil {
			return err
		}
		way.p.busy = false
		copy(way.to, way.p.host)
		way.p = nil
		return nil
	}
	for at := 0; at < len(dst); {
		if err := d.begin(); err != nil {
			d.end()
			return err
		}
		p, err := s.piece(len(dst) - at)
		d.end()
		if err != nil {
			return err
		}
		n := min(len(p.host), len(dst)-at)
		err = d.enter()
		if err == nil {
			err = d.cu.MemcpyDtoHAsync(p.host[:n], from+cuda.Ptr(at), stream)
		}
		if err == nil {
			p.busy = true
			err = d.cu.EventRecord(p.done, stream)
		}
		d.leave()
		if err != nil {
			return err
		}
		if err := d.begin(); err != nil {
			d.end()
			return err
		}
		err = arrive()
		d.end()
		if err != nil {
			return err
		}
		way.p, way.to = p, dst[at:at+n]
		at += n
	}
	err := d.begin()
	defer d.end()
	if err == nil {
		err = arrive()
	}
	return err
}

// Wrap copies the data to the device, beside the programs that run.
func (d *Device) Wrap(data []byte) (device.Buffer, error) {
	b, err := d.Alloc(len(data))
	if err != nil {
		return nil, err
	}
	if err := d.Stage(b, data); err != nil {
		b.Free()
		return nil, err
	}
	return b, nil
}

// Snapshot copies buffers to the host as they are now. If there is room on the device, the
// copy is made there, which takes no time to speak of, and goes to the host beside the
// programs that run afterwards; otherwise it is made when Snapshot returns.
func (d *Device) Snapshot(dst [][]byte, src []device.Buffer) (wait func() error, err error) {
	list := make([]*buffer, len(src))
	total := 0
	for i := range src {
		if list[i], err = d.own(src[i]); err != nil {
			return nil, err
		}
		if list[i].n != len(dst[i]) {
			return nil, fmt.Errorf("%s: a snapshot of %d bytes of a buffer of %d", d.info.Name, len(dst[i]), list[i].n)
		}
		total += (list[i].n + 255) &^ 255
	}
	room, taken, err := d.duplicate(list, total)
	if err != nil {
		return nil, err
	}
	if room == 0 {
		for i := range src {
			if err := d.Download(dst[i], src[i]); err != nil {
				return nil, err
			}
		}
		return func() error { return nil }, nil
	}
	end := make(chan struct{})
	var failed error
	go func() {
		defer close(end)
		own := &staging{d: d}
		at := room
		for i, b := range list {
			if failed == nil {
				failed = d.fetch(dst[i], at, d.copies, own)
			}
			at += cuda.Ptr((b.n + 255) &^ 255)
		}
		begun := d.enter()
		defer d.leave()
		if begun == nil {
			// All copies have arrived, so nothing uses the memory any more.
			begun = d.memory.give(room)
			own.free()
			_ = d.cu.EventDestroy(taken)
		}
		if failed == nil {
			failed = begun
		}
		if failed != nil {
			failed = d.fail("copying a snapshot to the host", failed)
		}
	}()
	return func() error { <-end; return failed }, nil
}

// duplicate copies buffers to one piece of memory on the device, and has the copy stream wait
// for that; room is 0 if there is no memory for it.
func (d *Device) duplicate(list []*buffer, total int) (room cuda.Ptr, taken cuda.Event, err error) {
	err = d.enter()
	defer d.leave()
	if err != nil || total == 0 {
		return 0, 0, err
	}
	if room, err = d.memory.alloc(total); err != nil {
		if isFull(err) {
			err = nil
		} else {
			err = d.fail("memory for a snapshot", err)
		}
		return 0, 0, err
	}
	at := room
	for _, b := range list {
		if b.n > 0 && err == nil {
			b.root.ordered = true
			if err = b.root.settle(); err == nil {
				err = d.cu.MemcpyDtoDAsync(at, b.p, b.n, d.compute)
			}
		}
		at += cuda.Ptr((b.n + 255) &^ 255)
	}
	if err == nil {
		taken, err = d.cu.EventCreate(cuda.EventDisableTiming)
	}
	if err == nil {
		err = d.cu.EventRecord(taken, d.compute)
	}
	if err == nil {
		err = d.cu.StreamWaitEvent(d.copies, taken)
	}
	if err != nil {
		return 0, 0, d.fail("a snapshot", err)
	}
	return room, taken, nil
}

// free gives back the pinned memory.
func (s *staging) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range []*ring{&s.small, &s.large} {
		for _, p := range r.pieces {
			if p.host != nil {
				_ = s.d.cu.MemFreeHost(p.host)
			}
			if p.done != 0 {
				_ = s.d.cu.EventDestroy(p.done)
			}
		}
		r.pieces = nil
	}
}
