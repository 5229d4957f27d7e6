package gpu

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/codegen/dense"
	"github.com/sinter-dl/sinter/internal/codegen/indexing"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Lower makes the sequence of a program for a device. own may be nil. A fused kernel without
// parts is one that somebody does elsewhere.
func Lower(p *kernel.Program, t *codegen.Target, own Routines) (*Sequence, error) {
	w := &lowering{target: t, own: own, seq: &Sequence{Program: p, Slots: slices.Clone(p.Slots), Arena: p.Arena}, seen: make(map[string]bool)}
	align := make([]int, len(p.Slots))
	for i := range align {
		align[i] = aligned
	}
	ops, err := w.program(p, align, false)
	if err != nil {
		w.seq.Close()
		return nil, err
	}
	s := w.seq
	s.Ops = ops
	if w.scratch > 0 {
		const multiple = 256
		at := (p.Arena + multiple - 1) / multiple * multiple
		s.Slots = append(s.Slots, kernel.Slot{Kind: kernel.Arena, Offset: at, Bytes: w.scratch})
		s.Arena = at + roundUp(w.scratch)
		each(ops, func(a *codegen.Arg) {
			if a.Slot == codegen.Scratch {
				a.Slot = len(p.Slots)
			}
		})
	}
	return s, nil
}

// aligned is how the memory of slots is aligned, in bytes, but for those slots in the
// body of a Scan that move.
const aligned = 64

func roundUp(bytes int) int { return (bytes + aligned - 1) &^ (aligned - 1) }

// lowering is a Sequence in the making.
type lowering struct {
	target  *codegen.Target
	own     Routines
	seq     *Sequence
	seen    map[string]bool // names of kernels
	scratch int             // bytes that launches hand on to each other
}

// program lowers a program or the body of a Scan. The operations' arguments are in its
// slots; align says how these are aligned. Within a loop, no Loop is made.
func (w *lowering) program(p *kernel.Program, align []int, within bool) ([]Op, error) {
	var ops []Op
	for i, s := range p.Steps {
		var some []Op
		var err error
		switch s := s.(type) {
		case *kernel.Fused:
			if len(s.Parts) > 0 {
				some, err = w.fused(s, p.Slots, align)
			}
		case *kernel.Library:
			if s.Op == ir.Scan {
				some, err = w.scan(s, align, within)
			} else {
				some, err = w.library(s, p.Slots, align)
			}
		default:
			err = fmt.Errorf("unknown kind of step %T", s)
		}
		ops = append(ops, some...)
		if err != nil {
			return ops, fmt.Errorf("step %d, %s: %w", i, s.Label(), err)
		}
		for j := range ops[len(ops)-len(some):] {
			ops[len(ops)-len(some)+j].Step = i
		}
	}
	return ops, nil
}

// launches takes up what a lowering has made.
func (w *lowering) launches(l []codegen.Launch, nudged nudge) []Op {
	ops := make([]Op, 0, len(l))
	for i := range l {
		if k := l[i].Kernel; !w.seen[k.Name] {
			w.seen[k.Name] = true
			w.seq.Kernels = append(w.seq.Kernels, k)
		}
		w.scratch = max(w.scratch, l[i].Scratch)
		nudged.back(l[i].Args)
		ops = append(ops, Op{Launch: &l[i]})
	}
	return ops
}

func (w *lowering) fused(f *kernel.Fused, slots []kernel.Slot, align []int) ([]Op, error) {
	l, err := codegen.Fused(f, placed(slots, align), w.target)
	if err != nil {
		return nil, err
	}
	return w.launches(l, nil), nil
}

// placed is slots as codegen wants them: with an offset that is as little aligned as the
// places are.
func placed(slots []kernel.Slot, align []int) []kernel.Slot {
	if nudge(align).idle() {
		return slots
	}
	slots = slices.Clone(slots)
	for i := range slots {
		if slots[i].Kind != kernel.Arena {
			slots[i].Offset = align[i]
		}
	}
	return slots
}

func (w *lowering) library(l *kernel.Library, slots []kernel.Slot, align []int) (ops []Op, err error) {
	n := nudge(align)
	moved := n.library(l)
	inlined := false
	var r Routine
	if w.own != nil {
		if r, err = w.own(moved); err != nil {
			return nil, err
		}
	}
	if r != nil {
		w.seq.Routines = append(w.seq.Routines, r)
		args := slices.Clone(r.Args())
		n.back(args)
		ops, inlined = []Op{{Routine: r, Args: args}}, r.Epilogue()
	} else {
		var some []codegen.Launch
		if some, inlined, err = lowerLibrary(moved, w.target); err != nil {
			return nil, err
		}
		ops = w.launches(some, n)
	}
	if l.Epilogue != nil && !inlined {
		after, err := w.fused(l.Epilogue, slots, align)
		ops = append(ops, after...)
		if err != nil {
			return ops, err
		}
	}
	return ops, nil
}

// lowerLibrary is the launches of an operation by our own kernels.
func lowerLibrary(l *kernel.Library, t *codegen.Target) ([]codegen.Launch, bool, error) {
	switch l.Op {
	case ir.DotGeneral, ir.Conv, ir.Composite:
		return dense.Lower(l, t)
	}
	return indexing.Lower(l, t)
}

// Supports tells whether there are kernels for a composite operation of that name; see
// device.Backend.
func Supports(composite string, narrow bool) bool { return dense.Supports(composite, narrow) }

// Workspace is the number of bytes of scratch memory that l needs if its kernels are
// ours.
func Workspace(l *kernel.Library, t *codegen.Target) int {
	if l.Op == ir.Scan {
		return newScanLayout(l).bytes
	}
	switch l.Op {
	case ir.DotGeneral, ir.Conv, ir.Composite:
		return dense.Workspace(l, t)
	}
	return indexing.Workspace(l, t)
}

// nudge is how slots are aligned. What lowers a library operation does not see the slots,
// takes their memory for aligned, and reads several elements at once where offsets allow
// it. Of a slot that is not aligned it is shown offsets that are as little aligned as the
// places are: they are larger by the alignment, and what comes out is moved back by it.
type nudge []int

// wide is the alignment that the widest loads need.
const wide = 16

func (n nudge) by(slot int) int {
	if n == nil || slot < 0 || n[slot]%wide == 0 {
		return 0
	}
	return n[slot]
}

func (n nudge) back(args []codegen.Arg) {
	for i := range args {
		args[i].Offset -= n.by(args[i].Slot)
	}
}

func (n nudge) idle() bool {
	return !slices.ContainsFunc(n, func(a int) bool { return a%wide != 0 })
}

func (n nudge) fused(f *kernel.Fused) *kernel.Fused {
	if f == nil || n.idle() {
		return f
	}
	c := *f
	c.Parts = slices.Clone(f.Parts)
	for i := range c.Parts {
		args := slices.Clone(c.Parts[i].Args)
		for j := range args {
			if a := &args[j]; a.Slot >= 0 {
				a.Offset += n.by(a.Slot) / a.DType.Size()
			}
		}
		c.Parts[i].Args = args
	}
	return &c
}

func (n nudge) library(l *kernel.Library) *kernel.Library {
	if n.idle() {
		return l
	}
	c := *l
	operands := func(list []kernel.Operand) []kernel.Operand {
		list = slices.Clone(list)
		for i := range list {
			if o := &list[i]; o.Slot >= 0 {
				o.Offset += n.by(o.Slot) / o.DType.Size()
			}
		}
		return list
	}
	c.In, c.Out, c.Epilogue = operands(l.In), operands(l.Out), n.fused(l.Epilogue)
	return &c
}

// each calls f for every argument of ops.
func each(ops []Op, f func(a *codegen.Arg)) {
	all := func(args []codegen.Arg) {
		for i := range args {
			f(&args[i])
		}
	}
	for i := range ops {
		switch op := &ops[i]; {
		case op.Launch != nil:
			all(op.Launch.Args)
		case op.Copy != nil:
			f(&op.Copy.To)
			f(&op.Copy.From)
		case op.Routine != nil:
			all(op.Args)
		case op.Loop != nil:
			each(op.Loop.Body, f)
		}
	}
}
