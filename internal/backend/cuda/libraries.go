package cuda

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/backend/cuda/dnn"
	"github.com/sinter-dl/sinter/internal/backend/cuda/lt"
	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/debug"
	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/dl/cuda"
	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// libraries are the routines of cuBLASLt and cuDNN, where these were found. What is not
// theirs, or not on this card, is done by kernels of our own; the switch kernels of
// SINTER_DEBUG says which operations these are, and why.
type libraries struct {
	mu       sync.Mutex // planners are for one goroutine at a time
	card     card.Card
	products *lt.Planner  // nil: none
	graphs   *dnn.Planner // nil: none
}

// timing is the environment variable that has algorithms chosen by timing them, where
// there is a store that keeps the choice.
const timing = "SINTER_TIME_PRODUCTS"

// useLibraries opens the libraries. That one is missing, or cannot be used, costs speed and
// is no error.
func (d *Device) useLibraries(from locator, store store) {
	defer d.end()
	if err := d.begin(); err != nil {
		return
	}
	l := &d.libraries
	l.card = card.Of(d.found.arch)
	if lib, err := from.library(find.CublasLt); err == nil {
		o := lt.Options{Card: l.card, Name: d.info.Model}
		if store != nil {
			if o.Cache = store; os.Getenv(timing) != "" {
				o.Timed = d.timed
			}
		}
		fns, err := cublaslt.Load(lib)
		if err == nil {
			l.products, err = lt.New(fns, o)
		}
		if err == nil {
			err = d.probe()
		}
		d.note("cuBLASLt", err)
	}
	if lib, err := from.library(find.CuDNN); err == nil {
		o := dnn.Options{Card: l.card, Name: d.info.Model}
		if store != nil {
			o.Cache = store
		}
		fns, err := cudnn.Load(lib)
		if err == nil {
			l.graphs, err = dnn.New(fns, o)
		}
		d.note("cuDNN", err)
	}
}

func (d *Device) note(what string, why error) {
	if why != nil && debug.On("kernels") {
		fmt.Fprintf(os.Stderr, "%s: %s: %v\n", d.info.Name, what, why)
	}
}

// workspace is the scratch memory that the libraries' routine for an operation is given.
func (l *libraries) workspace(op *kernel.Library) int {
	return workspace(l.card, op, l.products != nil, l.graphs != nil)
}

// TF32 makes a device.Rounding of a card with the units for it and a library that uses
// them; kernels of our own multiply in float32.
func (d *Device) TF32() bool {
	l := &d.libraries
	return l.card.TF32 && (l.products != nil || l.graphs != nil)
}

// lower makes the sequence of a program, with routines of NVIDIA's libraries for its
// operations.
func (d *Device) lower(p *kernel.Program) (*gpu.Sequence, error) {
	l := &d.libraries
	if l.products == nil && l.graphs == nil {
		return gpu.Lower(p, &d.target, nil)
	}
	rest, sums, err := d.along(p)
	if err != nil {
		return nil, err
	}
	seq, err := gpu.Lower(rest, &d.target, d.routines(p, sums))
	if err != nil {
		return nil, err
	}
	if len(sums) > 0 {
		seq.Close()
		return nil, fmt.Errorf("%d sums are left out of a program", len(sums))
	}
	seq.Program = p
	return seq, nil
}

// along is what is left of a program without the sums that cuBLASLt takes along.
func (d *Device) along(p *kernel.Program) (rest *kernel.Program, sums map[*kernel.Library]*lt.Sum, err error) {
	l := &d.libraries
	if l.products == nil {
		return p, nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer d.end()
	if err := d.begin(); err != nil {
		return nil, nil, err
	}
	return l.products.Along(p)
}

// routines finds routines for the operations of a program, which take sums along. Those that
// have been are taken out of the list.
func (d *Device) routines(p *kernel.Program, sums map[*kernel.Library]*lt.Sum) gpu.Routines {
	l := &d.libraries
	unread := lt.Unread(p)
	return func(op *kernel.Library) (gpu.Routine, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		defer d.end()
		if err := d.begin(); err != nil {
			return nil, err
		}
		switch {
		case op.Op == ir.DotGeneral && l.products != nil:
			r, why, err := l.products.Plan(op, lt.Way{Unread: unread[op], TF32: p.TF32, Sum: sums[op]})
			if r == nil { // not a nil *Routine in an interface
				d.ours(op, why)
				return nil, err
			}
			if r.Sums() {
				delete(sums, op)
			}
			return r, err
		case (op.Op == ir.Conv || op.Op == ir.Composite) && l.graphs != nil:
			r, why, err := l.graphs.Plan(op, unread[op], p.TF32)
			if r == nil {
				d.ours(op, why)
				return nil, err
			}
			return r, err
		}
		return nil, nil
	}
}

func (d *Device) ours(op *kernel.Library, why string) {
	if why != "" {
		d.note(op.Label(), errors.New(why+": a kernel of our own"))
	}
}

// probe has cuBLASLt show how its rectifier takes what is not a number.
func (d *Device) probe() error {
	m := &room{d: d}
	defer m.free()
	return d.libraries.products.Probe(m, uintptr(d.compute))
}

// room is memory for a while. The context is current.
type room struct {
	d    *Device
	held []cuda.Ptr
}

func (m *room) alloc(n int) (cuda.Ptr, error) {
	p, err := m.d.cu.MemAlloc(max(n, 1))
	if err == nil {
		m.held = append(m.held, p)
	}
	return p, err
}

func (m *room) free() {
	for _, p := range m.held {
		_ = m.d.cu.MemFree(p) // which waits for what uses it
	}
}

func (m *room) Put(data []byte) (uintptr, error) {
	p, err := m.alloc(len(data))
	if err == nil {
		err = m.d.cu.MemcpyHtoD(p, data)
	}
	return uintptr(p), err
}

func (m *room) Get(into []byte, at uintptr) error {
	if err := m.d.cu.StreamSynchronize(m.d.compute); err != nil {
		return err
	}
	return m.d.cu.MemcpyDtoH(into, cuda.Ptr(at))
}

// timed is how long a call takes on memory of the given sizes, after one that does not
// count. The lock of the libraries is held, the context current; programs may be in
// the queue, so the time is taken on the device.
func (d *Device) timed(bytes []int, f func(at []uintptr, stream uintptr) error) (took time.Duration, err error) {
	const calls = 5
	m := &room{d: d}
	defer m.free()
	var at []uintptr
	for _, n := range bytes {
		p, err := m.alloc(n)
		if err != nil {
			return 0, err
		}
		at = append(at, uintptr(p))
	}
	var ends [2]cuda.Event
	for i := range ends {
		if ends[i], err = d.cu.EventCreate(cuda.EventDefault); err != nil {
			return 0, err
		}
		defer d.cu.EventDestroy(ends[i])
	}
	if err := f(at, uintptr(d.copies)); err != nil {
		return 0, err
	}
	if err := d.cu.EventRecord(ends[0], d.copies); err != nil {
		return 0, err
	}
	for range calls {
		if err := f(at, uintptr(d.copies)); err != nil {
			return 0, err
		}
	}
	if err := errors.Join(d.cu.EventRecord(ends[1], d.copies), d.cu.EventSynchronize(ends[1])); err != nil {
		return 0, err
	}
	ms, err := d.cu.EventElapsedTime(ends[0], ends[1])
	return time.Duration(float64(ms) / calls * float64(time.Millisecond)), err
}
