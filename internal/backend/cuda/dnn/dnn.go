// Package dnn has cuDNN do the convolutions and the attention of a kernel.Program. Like
// package lt, it is a part of the CUDA backend that knows no stream and no memory:
//
//	kernel.Library → convolution, attention   the operation as a graph of cuDNN's (conv.go, attention.go)
//	               → graph                    tensors and operations, as data (graph.go)
//	               → plan                     the first engine that heuristics name and that will do (plan.go)
//	               → Routine                  the plan, called on addresses that the backend gives
//
// What will do is said by Planner.accepts: engines whose results differ from run to run
// are not used; nor are those that round the operands of float32, unless TF32 is
// allowed. A plan may take as much scratch memory as Workspace says, no more. Plans
// are kept on disk in the form that cuDNN itself writes them in.
//
// Tensors are described as they lie in memory, with their strides. The operands of a
// convolution lie as [N, C, …] without gaps, so that is what cuDNN gets; for channels
// last, which tensor cores want, its engines make copies in the workspace.
package dnn

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Options are what a Planner has to know of its device.
type Options struct {
	Card card.Card
	Name string // of the device, for the cache: plans hold for cards of one name
	// Cache remembers plans; nil for none.
	Cache Cache
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
	lib     *cudnn.Library
	handle  cudnn.Handle
	version int
	refused map[string]string // why there is no plan for a graph
	// properties describe the device in place of the handle, where plans are made for one
	// that is not there; 0 for none.
	properties cudnn.Descriptor
}

// New makes a Planner. The device's context must be current.
func New(lib *cudnn.Library, o Options) (*Planner, error) {
	p := &Planner{Options: o, lib: lib, version: lib.Version(), refused: make(map[string]string)}
	if p.version < 90000 {
		return nil, fmt.Errorf("cuDNN %d (%s) is too old: version 9 is wanted", p.version, lib.Path())
	}
	var err error
	if p.handle, err = lib.Create(); err != nil {
		return nil, fmt.Errorf("cuDNN %d (%s): %w", p.version, lib.Path(), err)
	}
	return p, nil
}

// Close destroys the handle. Routines must have been closed before.
func (p *Planner) Close() error { return p.lib.Destroy(p.handle) }

// Plan makes a Routine for a convolution or for attention. It is nil if cuDNN cannot do
// it, or not in this way; why then says what stands against it. An error is one of the
// library's that should not have happened. unread and
// tf32 are as for package lt.
func (p *Planner) Plan(l *kernel.Library, unread, tf32 bool) (r *Routine, why string, err error) {
	if !p.Card.Products(l.In[0].DType) {
		return nil, fmt.Sprintf("cuDNN has nothing for %v on %s cards", l.In[0].DType, p.Card.Name), nil
	}
	tf32 = tf32 && p.Card.TF32 && l.In[0].DType == dtype.Float32
	switch {
	case l.Op == ir.Conv:
		// Rounded on the way to memory, where that is all that follows: the result is half
		// as large, and of the type that most engines have.
		if y := rounding(l); y != nil && unread {
			if r, _, err = p.routine(l, convolution(l, y), tf32); r != nil || err != nil {
				return r, "", err
			}
		}
		return p.routine(l, convolution(l, nil), tf32)
	case l.Op == ir.Composite:
		return p.routine(l, p.attention(l), tf32)
	}
	return nil, fmt.Sprintf("%v is nothing of cuDNN's", l.Op), nil
}

// Workspace is the number of bytes of scratch memory that an operation is given. It
// depends on shapes and the card alone. What engines want is not known before a plan is
// made: copies of the operands in another order of axes, partial sums, for the gradient
// of attention one matrix of scores.
func (p *Planner) Workspace(l *kernel.Library) int { return Workspace(p.Card, l) }

// Workspace is Planner.Workspace for a card that need not be there.
func Workspace(c card.Card, l *kernel.Library) int {
	if !c.Products(l.In[0].DType) {
		return 0
	}
	bytes := func(o *kernel.Operand) int { return o.Elements() * o.DType.Size() }
	switch {
	case l.Op == ir.Conv:
		n := 0
		for _, o := range []*kernel.Operand{&l.In[0], &l.In[1], &l.Out[0]} {
			n += roundUp(bytes(o), 256)
		}
		if n == 0 {
			return 0
		}
		return min(2*n+min(4*n+64<<10, 8<<20), 1<<30) + workAlign
	case l.Op == ir.Composite && c.Head > 0 && half(l.In[0].DType):
		a := heads(l)
		if a == nil {
			return 0
		}
		n := 8 << 20
		if a.backward {
			n += a.sums() + 2*a.b*a.h*roundUp(a.t, 64)*roundUp(a.s, 128)
		}
		return n + workAlign
	}
	return 0
}

// workAlign is what the workspace is aligned to for the library, which slots are not.
const workAlign = 256

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// rounding is where the result is written in the operands' type, if that is all that the
// epilogue does; else nil.
func rounding(l *kernel.Library) *kernel.Operand {
	f := l.Epilogue
	if f == nil || len(f.Code) != 3 || len(f.Parts) != 1 || f.Parts[0].Inner != nil {
		return nil
	}
	load, convert, store := &f.Code[0], &f.Code[1], &f.Code[2]
	if load.Kind != kernel.Load || convert.Kind != kernel.Apply || convert.Op != ir.Convert || convert.X[0] != 0 ||
		store.Kind != kernel.Store || store.X[0] != 1 || store.DType != l.In[0].DType {
		return nil
	}
	from, to, out := &f.Parts[0].Args[load.Arg], &f.Parts[0].Args[store.Arg], &l.Out[0]
	if from.Slot != out.Slot || from.Offset != out.Offset || !alike(from.Stride, out) || !alike(to.Stride, out) {
		return nil
	}
	return &kernel.Operand{Slot: to.Slot, DType: to.DType, Offset: to.Offset, Shape: out.Shape, Stride: out.Stride}
}

func alike(stride []int, o *kernel.Operand) bool {
	if len(stride) != len(o.Shape) {
		return false
	}
	for i, n := range o.Shape {
		if n != 1 && stride[i] != o.Stride[i] {
			return false
		}
	}
	return true
}

func half(d dtype.DType) bool { return d == dtype.Float16 || d == dtype.BFloat16 }

// types are cuDNN's names of ours.
var types = map[dtype.DType]cudnn.DataType{dtype.Float32: cudnn.F32, dtype.Float16: cudnn.F16, dtype.BFloat16: cudnn.BF16}

// Routine is an operation that is ready to be called. It is a gpu.Routine.
type Routine struct {
	p        *Planner
	label    string
	plan     cudnn.Descriptor
	ids      []int
	args     []codegen.Arg // of the ids that have one, then the workspace
	at       []int         // by id: the argument; -1-i for the i-th number
	from     []int         // by id: bytes from where the argument begins
	numbers  []*float32    // what tensors by value are, where cuDNN reads them
	offset   int           // bytes of the workspace that are before the plan's
	work     bool
	epilogue bool
}

// Args are the places in memory that the operation is called on.
func (r *Routine) Args() []codegen.Arg { return r.args }

// Epilogue tells whether the operation's epilogue is done, too.
func (r *Routine) Epilogue() bool { return r.epilogue }

// Close destroys the plan.
func (r *Routine) Close() {
	if r.plan != 0 {
		_ = r.p.lib.Free(r.plan)
		r.plan = 0
	}
}

// Run puts the operation into a stream. at are the addresses of Args.
func (r *Routine) Run(at []uintptr, stream uintptr) (err error) {
	if len(at) != len(r.args) {
		return fmt.Errorf("%s: %d addresses for %d places", r.label, len(at), len(r.args))
	}
	if r.work {
		at = slices.Clone(at)
		last := &at[len(at)-1]
		*last = (*last + workAlign - 1) &^ (workAlign - 1)
	}
	lib := r.p.lib
	if err := lib.SetStream(r.p.handle, stream); err != nil {
		return fmt.Errorf("%s: %w", r.label, err)
	}
	pointers := make([]uintptr, len(r.ids))
	for i := range r.ids {
		if a := r.at[i]; a >= 0 {
			pointers[i] = at[a] + uintptr(r.from[i])
		} else {
			pointers[i] = address(r.numbers[-1-a])
		}
	}
	work := uintptr(0)
	if r.work {
		work = at[len(at)-1] + uintptr(r.offset)
	}
	pack, err := lib.New(cudnn.VariantPack)
	if err == nil {
		defer func() { err = errors.Join(err, lib.Free(pack)) }()
		err = errors.Join(
			lib.Set(pack, cudnn.PackIDs, r.ids),
			lib.Set(pack, cudnn.PackPointers, pointers),
			lib.Set(pack, cudnn.PackWorkspace, work),
		)
	}
	if err == nil {
		err = lib.Finalize(pack)
	}
	if err == nil {
		err = lib.Execute(r.p.handle, r.plan, pack)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.label, err)
	}
	return nil
}
