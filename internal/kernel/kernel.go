// Package kernel is the language between the fuser and the backends: a Program
// is a list of kernels over numbered slots of memory.
//
// Two kinds of kernel exist. A Fused kernel evaluates straight-line scalar code at
// every point of an index space; depending on what the code contains it is what
// the documents call
//
//	Loop    no reduction: every value is computed independently
//	Reduce  one pass of reductions over the inner axes, with producers before
//	        and an elementwise epilogue after
//	Row     values and reductions alternate over the same inner axes (softmax,
//	        layer norm, cross-entropy)
//	Multi   one code over several tensors at once (the optimizer's update)
//
// A Library kernel is an operation for which a backend has a routine of its own
// (matrix product, convolution, window, gather, sort, …), optionally followed by
// a Loop over its result, its epilogue.
//
// Views are folded into the arguments: an argument is a slot with an offset and a
// stride for every axis of the kernel's space, so that transposes, broadcasts,
// slices and reversals cost nothing.
package kernel

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Program is what a device compiles.
type Program struct {
	Slots   []Slot
	Steps   []Step
	Leaves  int // number of leaf bindings
	Outputs int // number of output bindings
	Arena   int // bytes of the arena that holds all slots of kind Arena

	// TF32 allows products of float32, those in bodies as well, to round their operands to
	// ten bits of mantissa on devices that are device.Rounding. Others need not look.
	TF32 bool
}

// SlotKind says where a slot's memory comes from.
type SlotKind uint8

const (
	Leaf   SlotKind = iota // bound by the caller: an input or a variable's storage
	Output                 // bound by the caller: fresh memory that the program fills
	Arena                  // at Offset in the program's own arena
)

// Slot is a piece of memory. Slots never overlap while both are in use, with one
// exception: a Loop that reads a slot for the last time may write another one over
// it for the first time, at the point where it reads, and so computes in place.
type Slot struct {
	Kind   SlotKind
	Index  int // Leaf, Output: the number of the binding
	Offset int // Arena: bytes from its start, a multiple of 64
	Bytes  int
}

// Step is a *Fused or a *Library.
type Step interface {
	// Label names the step for people: the operations it came from.
	Label() string
}

// InstrKind is the kind of an instruction of a Fused kernel.
type InstrKind uint8

const (
	Load   InstrKind = iota // the element of argument Arg at the current point
	Imm                     // a literal
	Index                   // the affine function of the point given by argument Arg (which has no slot), as an int64
	Apply                   // an elementwise operation on earlier values
	Reduce                  // ReduceSum, ReduceMax or ReduceMin of an inner value over all inner axes
	Store                   // write value X[0] to argument Arg
)

// Instr computes one value; its number is its position in Code. Operands are
// numbers of earlier instructions.
//
// An Inner value varies along the inner axes, the others only along the outer
// ones. An Apply is Inner exactly if one of its operands is; a Reduce takes an
// Inner operand and is not Inner itself. A Store of a value that is not Inner
// writes once per outer point.
type Instr struct {
	Kind  InstrKind
	Op    ir.Op       // Apply, Reduce
	DType dtype.DType // of the result; of what is stored
	X     [3]int      // operands
	Arg   int         // Load, Index, Store
	Bits  uint64      // Imm: as in ir.Literal
	RNG   ir.RNG      // Apply of ir.RNGBits: X[0] is the element number (int64), X[1] the step (int64)
	Inner bool
}

// Arg is where an instruction reads or writes: element Offset + Σ Stride[i]·p[i]
// of the slot, at point p of the kernel's outer and then inner axes. Strides are
// in elements; 0 repeats and negative ones go backwards.
type Arg struct {
	Slot   int // -1 for Index
	DType  dtype.DType
	Offset int
	Stride []int
}

// Part is one index space with its arguments.
type Part struct {
	Outer, Inner []int // extents; Inner is nil if and only if the code has no Inner value
	Args         []Arg // as numbered by Code

	Site *ir.Site // of the largest of what it computes; may be nil
}

// Fused is a Loop, Reduce, Row or Multi kernel. A kernel has one part, a Multi
// kernel several over the same code. Within one part no store overlaps a load of
// another point: a slot that is both read and written is read at exactly the
// point that is written.
type Fused struct {
	Name  string
	Code  []Instr
	Parts []Part
}

// Class is Loop, Reduce, Row or Multi.
type Class uint8

const (
	ClassLoop Class = iota
	ClassReduce
	ClassRow
	ClassMulti
	ClassLibrary
)

func (c Class) String() string {
	return [...]string{"Loop", "Reduce", "Row", "Multi", "Library"}[c]
}

// Class tells what kind of kernel f is.
func (f *Fused) Class() Class {
	if len(f.Parts) > 1 {
		return ClassMulti
	}
	phases := f.Phases()
	last := 0
	reduces := false
	for i, in := range f.Code {
		if in.Kind == Reduce {
			reduces = true
		}
		if in.Inner || in.Kind == Reduce {
			last = max(last, phases[i])
		}
	}
	switch {
	case !reduces:
		return ClassLoop
	case last == 0:
		return ClassReduce
	}
	return ClassRow
}

// Phases gives for every instruction the number of the pass over the inner axes
// in which it can be computed: 0 for what depends on no reduction, p+1 for what
// needs a reduction of pass p. Values that are not Inner carry the phase before
// which they are ready.
func (f *Fused) Phases() []int {
	ph := make([]int, len(f.Code))
	for i, in := range f.Code {
		p := 0
		for _, x := range f.Code[i].Operands() {
			q := ph[x]
			if f.Code[x].Kind == Reduce {
				q++
			}
			p = max(p, q)
		}
		ph[i] = p
		_ = in
	}
	return ph
}

// Operands are the instructions that in reads.
func (in *Instr) Operands() []int {
	switch in.Kind {
	case Store, Reduce:
		return in.X[:1]
	case Apply:
		if in.Op == ir.RNGBits {
			return in.X[:2]
		}
		return in.X[:in.Op.Info().Arity]
	}
	return nil
}

func (f *Fused) Label() string { return f.Name }

// Operand is a strided tensor in a slot.
type Operand struct {
	Slot   int
	DType  dtype.DType
	Offset int // elements
	Shape  []int
	Stride []int // elements, one per axis
}

// Elements is the number of elements of the operand.
func (o *Operand) Elements() int {
	n := 1
	for _, d := range o.Shape {
		n *= d
	}
	return n
}

// Contiguous tells whether the operand lies in memory in row-major order without
// gaps.
func (o *Operand) Contiguous() bool {
	want := 1
	for i := len(o.Shape) - 1; i >= 0; i-- {
		if o.Shape[i] != 1 && o.Stride[i] != want {
			return false
		}
		want *= o.Shape[i]
	}
	return true
}

// Library is an operation done by a routine of the backend.
//
// DotGeneral arrives in a normal form: In[0] is [batch…, M, K], In[1] is
// [batch…, K, N], Out is [batch…, M, N], all strided, the attribute is nil; Out
// is contiguous. The operands of a composite are strided if its region says so. All
// other operations get contiguous operands in the shapes that package ir defines for
// them, with the same attribute. The results of a Scan may end before the trails.
//
// The backend first computes the operation into Out and then, at the latest when
// all of it is done and better while a block of it is still in the cache, runs the
// epilogue, a Loop whose space is Out's shape, or that with axes divided in row-major
// order, and one of whose loads is Out's slot at the current point.
type Library struct {
	Name     string
	Op       ir.Op
	Attr     ir.Attr
	In       []Operand
	Out      []Operand // one, except for Scan
	Epilogue *Fused    // nil: none
	Scratch  int       // slot of the workspace that the device asked for; -1: none
	Body     *Program  // Scan: leaves are (carries, slices, constants), outputs (carries, results)
	Site     *ir.Site  // of the operation; may be nil
}

func (l *Library) Label() string { return l.Name }

// Points is the number of points of all parts of f.
func (f *Fused) Points() int {
	n := 0
	for i := range f.Parts {
		p := 1
		for _, e := range f.Parts[i].Outer {
			p *= e
		}
		for _, e := range f.Parts[i].Inner {
			p *= e
		}
		n += p
	}
	return n
}

// Slots lists the slots that a step reads and those that it writes, each once.
// Scratch memory counts as written.
func Slots(s Step) (reads, writes []int) {
	add := func(list *[]int, slot int) {
		if slot >= 0 && !slices.Contains(*list, slot) {
			*list = append(*list, slot)
		}
	}
	fused := func(f *Fused) {
		for i := range f.Parts {
			args := f.Parts[i].Args
			for j := range f.Code {
				switch in := &f.Code[j]; in.Kind {
				case Load:
					add(&reads, args[in.Arg].Slot)
				case Store:
					add(&writes, args[in.Arg].Slot)
				}
			}
		}
	}
	switch s := s.(type) {
	case *Fused:
		fused(s)
	case *Library:
		for i := range s.In {
			add(&reads, s.In[i].Slot)
		}
		if s.Epilogue != nil {
			fused(s.Epilogue)
			// The epilogue reads what the routine has just written.
			reads = slices.DeleteFunc(reads, func(r int) bool {
				return slices.ContainsFunc(s.Out, func(o Operand) bool { return o.Slot == r }) &&
					!slices.ContainsFunc(s.In, func(o Operand) bool { return o.Slot == r })
			})
		}
		for i := range s.Out {
			add(&writes, s.Out[i].Slot)
		}
		add(&writes, s.Scratch)
	}
	return reads, writes
}
