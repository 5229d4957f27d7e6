package cpu

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// A snapshot copies buffers while programs go on. In a training step nearly all the time
// passes before the variables are written, so that copying them costs no standing still:
// only a step of a program that is about to write to a buffer waits until that has been
// copied.

// holds are the buffers that are being copied.
type holds struct {
	active atomic.Int32 // snapshots under way; without any, programs run as always
	mu     sync.Mutex
	copied map[unsafe.Pointer]chan struct{} // closed when the buffer there has been copied
}

// await returns when the buffer at p may be written.
func (h *holds) await(p unsafe.Pointer) {
	if h.active.Load() == 0 {
		return
	}
	h.mu.Lock()
	done := h.copied[p]
	h.mu.Unlock()
	if done != nil {
		<-done
	}
}

// small is the size of buffers that are copied at once: counts and statistics, which
// programs may write early.
const small = 64 << 10

// Snapshot copies buffers to host memory of their sizes, as they are now. It returns
// before all is copied; wait returns after. Until then the buffers must not be freed, and
// dst must not be used.
func (d *Device) Snapshot(dst [][]byte, src []device.Buffer) (wait func() error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.holds
	type part struct {
		dst    []byte
		src    *buffer
		copied chan struct{}
	}
	var parts []part
	for i, s := range src {
		b, ok := s.(*buffer)
		if !ok || b.n != len(dst[i]) || b.n <= small {
			if err := d.Download(dst[i], s); err != nil {
				return nil, err
			}
			continue
		}
		h.await(b.p) // of an earlier snapshot
		parts = append(parts, part{dst[i], b, make(chan struct{})})
	}
	if len(parts) == 0 {
		return func() error { return nil }, nil
	}
	h.mu.Lock()
	if h.copied == nil {
		h.copied = make(map[unsafe.Pointer]chan struct{})
	}
	for _, p := range parts {
		h.copied[p.src.p] = p.copied
	}
	h.active.Add(1)
	h.mu.Unlock()
	all := make(chan struct{})
	go func() {
		for _, p := range parts {
			copy(p.dst, p.src.bytes())
			close(p.copied)
		}
		h.mu.Lock()
		for _, p := range parts {
			if h.copied[p.src.p] == p.copied {
				delete(h.copied, p.src.p)
			}
		}
		h.active.Add(-1)
		h.mu.Unlock()
		close(all)
	}()
	return func() error { <-all; return nil }, nil
}

// runHeld is run while a snapshot is under way.
func (e *executable) runHeld(arena unsafe.Pointer) {
	if e.writes == nil {
		e.writes = make([][]int, len(e.p.Steps))
		for i, s := range e.p.Steps {
			_, writes := kernel.Slots(s)
			for _, w := range writes {
				if e.p.Slots[w].Kind == kernel.Leaf {
					e.writes[i] = append(e.writes[i], w)
				}
			}
		}
	}
	e.place(arena)
	for i, s := range e.steps {
		for _, w := range e.writes[i] {
			e.dev.holds.await(e.slots[w])
		}
		s.run(e.slots)
	}
}
