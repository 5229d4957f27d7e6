// Package lt has cuBLASLt do the matrix products of a kernel.Program. It is the part of
// the CUDA backend that knows products but no stream, no memory and no context:
//
//	kernel.Library → describe   the product as cuBLASLt sees it, if strides express it (product.go)
//	               → match      what of the epilogue the library can do along with it (epilogue.go)
//	               → along      a sum of one of its operands, the gradient of a bias (sums.go)
//	               → choose     an algorithm: by heuristics or by timing, remembered on disk (choose.go)
//	               → Routine    descriptors, and the call on addresses that the backend gives (routine.go)
//
// cuBLASLt thinks in columns. A row-major [M, N] is a column-major N×M, so a product is
// called with its operands exchanged, Dᵀ = Bᵀ·Aᵀ: where its documents say A, rows and
// bias by row, there is our right operand, N and the bias of a Linear layer.
//
// Results are the same bits on every run: the algorithm depends on what the product is
// and on what the heuristics of one version of the library say of one card; algorithms
// that add up parts in the type of the result are not asked for. A choice by timing
// can turn out differently on another day; what keeps it is the cache, so it is only
// made where there is one and it was asked for.
package lt

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Options are what a Planner has to know of its device.
type Options struct {
	Card card.Card
	Name string // of the device, for the cache: choices hold for cards of one name
	// ReLU says that the library's rectifier keeps what is not a number, as ours does; see
	// Planner.Probe. Without it, rectifiers are left to epilogues of our own.
	ReLU bool
	// Cache remembers algorithms; nil for none.
	Cache Cache
	// Timed chooses among algorithms by how long they take, instead of taking the one
	// that the heuristics name first; nil for not. It calls f, once to warm up and then
	// some times more, on memory of the given sizes in bytes, and returns how long one
	// call took.
	Timed func(bytes []int, f func(at []uintptr, stream uintptr) error) (time.Duration, error)
}

// Cache is storage by key that may forget.
type Cache interface {
	Get(key string) ([]byte, bool)
	Put(key string, data []byte)
}

// Planner makes Routines for one device. It is used by one goroutine at a time, with the
// device's context current.
type Planner struct {
	Options
	lib     *cublaslt.Library
	handle  cublaslt.Handle
	version int
	chosen  map[product]choice
}

// New makes a Planner. The device's context must be current.
func New(lib *cublaslt.Library, o Options) (*Planner, error) {
	p := &Planner{Options: o, lib: lib, version: lib.Version(), chosen: make(map[product]choice)}
	var err error
	if p.handle, err = lib.Create(); err != nil {
		return nil, fmt.Errorf("cuBLASLt %d (%s): %w", p.version, lib.Path(), err)
	}
	return p, nil
}

// Close destroys the handle. Routines must have been closed before.
func (p *Planner) Close() error { return p.lib.Destroy(p.handle) }

// Plan makes a Routine for a product. It is nil if the library cannot do it, or not in
// this way; why then says what stands against it. An error is one of the library's that
// should not have happened.
//
// What the library does not do along with the product is left out.
func (p *Planner) Plan(l *kernel.Library, w Way) (r *Routine, why string, err error) {
	d, why := p.describe(l, w.TF32)
	if why != "" {
		return nil, why, nil
	}
	ways := []described{d}
	if l.Epilogue != nil {
		if e, ok := match(l, w.Unread); ok && (p.ReLU || e.kind != cublaslt.ReLU && e.kind != cublaslt.ReLUBias) {
			if fused, ok := d.with(l, e); ok {
				ways = []described{fused, d}
			}
		}
	}
	for _, d := range ways {
		if w.Sum != nil {
			if summed, ok := d.along(w.Sum); ok {
				if r, why, err = p.routine(l, summed); r != nil || err != nil {
					return r, why, err
				}
			}
		}
		if r, why, err = p.routine(l, d); r != nil || err != nil {
			break
		}
	}
	return r, why, err
}

// Way is what the program around a product allows.
type Way struct {
	// Unread says that nothing reads the memory of its result but its epilogue, so that the
	// result need not be written if the routine does the epilogue, too; see the function.
	Unread bool
	TF32   bool // as in kernel.Program
	Sum    *Sum // to be taken along; nil: none. See Along.
}

// Workspace is the number of bytes of scratch memory that a product is given: enough to
// split its sums in a few parts, where it is not large, and what the vendor advises for
// the card otherwise. It depends on shapes and the card alone.
func (p *Planner) Workspace(l *kernel.Library) int { return Workspace(p.Card, l) }

// Workspace is Planner.Workspace for a card that need not be there.
func Workspace(c card.Card, l *kernel.Library) int {
	if l.Op != ir.DotGeneral || !c.Products(l.In[0].DType) || l.Out[0].Elements() == 0 || l.In[0].Elements() == 0 {
		return 0
	}
	const parts = 32
	size := max(4, l.Out[0].DType.Size())
	return min(max(parts*size*l.Out[0].Elements(), 256<<10), c.Workspace) + workAlign
}

// workAlign is what the workspace is aligned to for the library, which slots are not.
const workAlign = 256

// Unread finds the library operations of a program whose result nothing reads but their
// own epilogue, and whose epilogue writes over nothing that it reads besides: there D may
// go straight to where the epilogue puts it.
func Unread(p *kernel.Program) map[*kernel.Library]bool {
	readers := make([]int, len(p.Slots))
	for _, s := range p.Steps {
		reads, _ := kernel.Slots(s)
		for _, r := range reads {
			readers[r]++
		}
	}
	unread := make(map[*kernel.Library]bool)
	for _, s := range p.Steps {
		l, ok := s.(*kernel.Library)
		if !ok {
			continue
		}
		if l.Body != nil {
			for inner := range Unread(l.Body) {
				unread[inner] = true
			}
			continue
		}
		if o := l.Out[0].Slot; l.Epilogue != nil && o >= 0 && p.Slots[o].Kind == kernel.Arena && readers[o] == 0 && !overlaps(p, l.Epilogue, o) {
			unread[l] = true
		}
	}
	return unread
}

// overlaps tells whether a kernel writes to memory that it reads, other than slot out.
func overlaps(p *kernel.Program, f *kernel.Fused, out int) bool {
	reads, writes := kernel.Slots(f)
	for _, r := range reads {
		for _, w := range writes {
			a, b := &p.Slots[r], &p.Slots[w]
			if r == out || w == out || a.Kind != b.Kind {
				continue
			}
			if r == w || a.Kind == kernel.Arena && a.Offset < b.Offset+b.Bytes && b.Offset < a.Offset+a.Bytes {
				return true
			}
		}
	}
	return false
}

// types are cuBLASLt's names of ours.
var types = map[dtype.DType]cublaslt.Type{
	dtype.Float32: cublaslt.F32, dtype.Float64: cublaslt.F64, dtype.Float16: cublaslt.F16, dtype.BFloat16: cublaslt.BF16,
}

// Memory is room on the device, for Probe. Its calls wait until all before is done.
type Memory interface {
	Put(data []byte) (addr uintptr, err error)
	Get(into []byte, addr uintptr) error
}

// Probe finds out what the library's documents do not say, whether its rectifier keeps
// what is not a number, and sets Options.ReLU.
func (p *Planner) Probe(m Memory, stream uintptr) error {
	const n = 16
	out := func(slot int) kernel.Operand {
		return kernel.Operand{Slot: slot, DType: dtype.Float32, Shape: []int{n, n}, Stride: []int{n, 1}}
	}
	l := &kernel.Library{Name: "probe of a rectifier", Op: ir.DotGeneral, In: []kernel.Operand{out(0), out(1)}, Out: []kernel.Operand{out(2)}, Scratch: -1}
	d, why := p.describe(l, false)
	if why != "" {
		return fmt.Errorf("cuBLASLt: %s: %s", l.Name, why)
	}
	d.Epilogue = cublaslt.ReLU
	r, why, err := p.routine(l, d)
	if err != nil || why != "" {
		p.ReLU = false
		return err // no rectifier at all
	}
	defer r.Close()
	left, right := make([]byte, 4*n*n), make([]byte, 4*n*n)
	for i := range n * n {
		binary.LittleEndian.PutUint32(right[4*i:], math.Float32bits(1))
		if i < n {
			binary.LittleEndian.PutUint32(left[4*i:], math.Float32bits(float32(math.NaN())))
		}
	}
	var at []uintptr
	for _, data := range [][]byte{right, left, make([]byte, 4*n*n)} {
		a, err := m.Put(data)
		if err != nil {
			return fmt.Errorf("cuBLASLt: %s: %w", l.Name, err)
		}
		at = append(at, a)
	}
	if err := r.Run(at, stream); err != nil {
		return err
	}
	if err := m.Get(left, at[2]); err != nil {
		return fmt.Errorf("cuBLASLt: %s: %w", l.Name, err)
	}
	v := math.Float32frombits(binary.LittleEndian.Uint32(left))
	p.ReLU = v != v
	return nil
}
