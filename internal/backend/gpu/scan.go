package gpu

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// A Scan is its body, put into the queue once per step. Nothing waits between steps, and
// what a step works on is known beforehand: every slot of the body is a place in the
// program that moves by the same number of bytes with every step.
//
//	carry with a trail     row i of the trail is read by step i, row i+1 written
//	carry without          two places in the workspace take turns
//	slice, result          its row of the whole
//	constant               where it is
//	arena of the body      in the workspace
//
// Since places take turns, two steps at a time are one pass of the Loop where there is a
// carry without a trail.

// scanLayout places a Scan's memory in its workspace.
type scanLayout struct {
	loop  *ir.Loop
	trail []*kernel.Operand // of each carry; nil: none
	turns [2][]int          // offsets of the places of the carries without trails
	spare []int             // offsets of where results go that nobody wants
	taken bool              // there is a carry without a trail
	bytes int
}

func operandBytes(o *kernel.Operand) int { return o.Elements() * o.DType.Size() }

func newScanLayout(l *kernel.Library) *scanLayout {
	s := &scanLayout{loop: l.Attr.(*ir.Loop), bytes: roundUp(l.Body.Arena)}
	n := s.loop.Carries
	s.trail = make([]*kernel.Operand, n)
	for i := range l.Out[l.Body.Outputs:] {
		if o := &l.Out[l.Body.Outputs+i]; o.Slot >= 0 {
			s.trail[i] = o
		}
	}
	take := func(bytes int) int {
		at := s.bytes
		s.bytes += roundUp(bytes)
		return at
	}
	for j := range s.turns {
		s.turns[j] = make([]int, n)
		for i := range n {
			if s.trail[i] == nil {
				s.turns[j][i] = take(operandBytes(&l.In[i]))
				s.taken = true
			}
		}
	}
	s.spare = make([]int, l.Body.Outputs-n)
	for i := range s.spare {
		if o := &l.Out[n+i]; o.Slot < 0 {
			s.spare[i] = take(operandBytes(o) / max(1, s.loop.Steps))
		}
	}
	return s
}

// alignment is the largest power of two up to aligned that divides all of n.
func alignment(n ...int) int {
	a := aligned
	for _, x := range n {
		for x%a != 0 {
			a /= 2
		}
	}
	return a
}

// place is where an operand begins.
func place(o *kernel.Operand) codegen.Arg {
	return codegen.Arg{Slot: o.Slot, Offset: o.Offset * o.DType.Size()}
}

// scan lowers a Scan to operations on the slots of the program that it is in.
func (w *lowering) scan(l *kernel.Library, align []int, within bool) ([]Op, error) {
	at := newScanLayout(l)
	loop, body := at.loop, l.Body
	n := loop.Carries
	if len(l.In) < body.Leaves || len(l.Out) < body.Outputs || len(l.Out) > body.Outputs+n {
		return nil, fmt.Errorf("the body has %d leaves and %d outputs for %d operands and %d results", body.Leaves, body.Outputs, len(l.In), len(l.Out))
	}
	if at.bytes > 0 && l.Scratch < 0 {
		return nil, fmt.Errorf("needs %d bytes of workspace and has none", at.bytes)
	}
	var ops []Op
	move := func(to, from codegen.Arg, bytes int) {
		if bytes > 0 && to != from {
			ops = append(ops, Op{Copy: &Copy{To: to, From: from, Bytes: bytes}})
		}
	}
	// row is a row of the trail of carry i, row 0 being before the first step.
	row := func(i, r int) codegen.Arg {
		if loop.Reverse {
			r = loop.Steps - r
		}
		a := place(at.trail[i])
		a.Offset += r * operandBytes(&l.In[i])
		return a
	}
	scratch := func(offset int) codegen.Arg { return codegen.Arg{Slot: l.Scratch, Offset: offset} }
	for i := range n {
		switch from := place(&l.In[i]); {
		case at.trail[i] != nil:
			move(row(i, 0), from, operandBytes(&l.In[i]))
		case loop.Steps > 0:
			move(scratch(at.turns[0][i]), from, operandBytes(&l.In[i]))
		}
		if loop.Steps == 0 && l.Out[i].Slot >= 0 {
			move(place(&l.Out[i]), place(&l.In[i]), operandBytes(&l.In[i]))
		}
	}
	if loop.Steps == 0 {
		return ops, nil
	}

	// sequence is what step t sees of a whole, when passes are of so many steps.
	sequence := func(o *kernel.Operand, t, stride int) codegen.Arg {
		a := place(o)
		bytes := operandBytes(o) / loop.Steps
		if loop.Reverse {
			t, stride = loop.Steps-1-t, -stride
		}
		a.Offset += t * bytes
		a.Step = stride * bytes
		return a
	}
	// slots are the places of the body's slots in step t.
	slots := func(t, stride int) []codegen.Arg {
		leaves, outputs := make([]codegen.Arg, body.Leaves), make([]codegen.Arg, body.Outputs)
		for i := range leaves {
			leaves[i] = place(&l.In[i])
		}
		for i := range n {
			if at.trail[i] == nil {
				leaves[i], outputs[i] = scratch(at.turns[t&1][i]), scratch(at.turns[1-t&1][i])
				continue
			}
			leaves[i], outputs[i] = row(i, t), row(i, t+1)
			step := row(i, 1).Offset - row(i, 0).Offset
			leaves[i].Step, outputs[i].Step = stride*step, stride*step
		}
		for i := range loop.Inputs {
			leaves[n+i] = sequence(&l.In[n+i], t, stride)
		}
		for i := range outputs[n:] {
			if o := &l.Out[n+i]; o.Slot >= 0 {
				outputs[n+i] = sequence(o, t, stride)
			} else {
				outputs[n+i] = scratch(at.spare[i])
			}
		}
		all := make([]codegen.Arg, len(body.Slots))
		for i := range body.Slots {
			switch s := &body.Slots[i]; s.Kind {
			case kernel.Leaf:
				all[i] = leaves[s.Index]
			case kernel.Output:
				all[i] = outputs[s.Index]
			default:
				all[i] = scratch(s.Offset)
			}
		}
		return all
	}
	unroll := 1
	if at.taken {
		unroll = 2
	}
	// Where they are aligned is the same in all steps, seen from how they move.
	moving := slots(0, 1)
	inner := make([]int, len(moving))
	for i, a := range moving {
		inner[i] = aligned
		if a.Slot >= 0 {
			inner[i] = alignment(align[a.Slot], a.Offset, a.Step)
		}
	}
	once, err := w.program(body, inner, true)
	if err != nil {
		return ops, fmt.Errorf("body: %w", err)
	}
	// step is the body's operations on their places in step t.
	step := func(t, stride int) []Op {
		places := slots(t, stride)
		s := duplicate(once)
		each(s, func(a *codegen.Arg) {
			if a.Slot >= 0 {
				p := places[a.Slot]
				a.Slot, a.Offset, a.Step = p.Slot, p.Offset+a.Offset, p.Step
			}
		})
		return s
	}
	passes := loop.Steps / unroll
	var pass []Op
	for t := range unroll {
		pass = append(pass, step(t, unroll)...)
	}
	switch {
	case within || passes == 1:
		ops = append(ops, writtenOut(pass, passes)...)
	case passes > 1:
		ops = append(ops, Op{Loop: &Loop{Steps: passes, Body: pass}})
	}
	for t := passes * unroll; t < loop.Steps; t++ {
		ops = append(ops, step(t, 0)...)
	}
	for i := range n {
		if o := &l.Out[i]; o.Slot >= 0 {
			from := scratch(at.turns[loop.Steps&1][i])
			if at.trail[i] != nil {
				from = row(i, loop.Steps)
			}
			move(place(o), from, operandBytes(o))
		}
	}
	return ops, nil
}

// writtenOut is a loop's operations one after the other.
func writtenOut(body []Op, steps int) []Op {
	var ops []Op
	for i := range steps {
		pass := duplicate(body)
		each(pass, func(a *codegen.Arg) {
			a.Offset += i * a.Step
			a.Step = 0
		})
		ops = append(ops, pass...)
	}
	return ops
}

// duplicate copies operations, with their arguments.
func duplicate(ops []Op) []Op {
	ops = slices.Clone(ops)
	for i := range ops {
		switch op := &ops[i]; {
		case op.Launch != nil:
			l := *op.Launch
			l.Args = slices.Clone(l.Args)
			op.Launch = &l
		case op.Copy != nil:
			c := *op.Copy
			op.Copy = &c
		case op.Routine != nil:
			op.Args = slices.Clone(op.Args)
		case op.Loop != nil:
			op.Loop = &Loop{op.Loop.Steps, duplicate(op.Loop.Body)}
		}
	}
	return ops
}
