package cpu

import (
	"fmt"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// scanLayout places a Scan's memory in its scratch slot: the body's arena, then
// every carry twice, read from one copy and written to the other.
type scanLayout struct {
	loop    *ir.Loop
	carry   []int // bytes of each carry
	slice   []int // bytes that each input advances by in a step
	result  []int // … and each result
	carries [2][]int
	spare   []int // where results nobody wants are written
	bytes   int
}

func newScanLayout(l *kernel.Library) *scanLayout {
	s := &scanLayout{loop: l.Attr.(*ir.Loop), bytes: align(l.Body.Arena)}
	bytes := func(o *kernel.Operand) int { return o.Elements() * o.DType.Size() }
	n := s.loop.Carries
	for i := range l.In[:n] {
		b := bytes(&l.In[i])
		s.carry = append(s.carry, b)
		for j := range s.carries {
			s.carries[j] = append(s.carries[j], s.bytes)
			s.bytes += align(b)
		}
	}
	steps := max(1, s.loop.Steps)
	for i := range l.In[n : n+s.loop.Inputs] {
		s.slice = append(s.slice, bytes(&l.In[n+i])/steps)
	}
	for i := range l.Out[n:] {
		o := &l.Out[n+i]
		b := bytes(o) / steps
		s.result = append(s.result, b)
		s.spare = append(s.spare, s.bytes)
		if o.Slot < 0 {
			s.bytes += align(b)
		}
	}
	return s
}

func scanWorkspace(l *kernel.Library) int { return newScanLayout(l).bytes }

// scan runs the body once per step. The first step reads the initial carries where
// they are and the last one writes the final carries where they are wanted, so a
// carry is never copied.
func (d *Device) scan(l *kernel.Library, sc scratch) (routine, error) {
	at := newScanLayout(l)
	loop := at.loop
	n, inputs := loop.Carries, loop.Inputs
	body, err := d.compile(l.Body)
	if err != nil {
		return routine{}, fmt.Errorf("body: %w", err)
	}
	leaves, outputs := make([]unsafe.Pointer, l.Body.Leaves), make([]unsafe.Pointer, l.Body.Outputs)
	if len(l.In) < len(leaves) || len(l.Out) < len(outputs) {
		return routine{}, fmt.Errorf("the body has %d leaves and %d outputs for %d operands and %d results", len(leaves), len(outputs), len(l.In), len(l.Out))
	}
	copies := make([]func(dst, src unsafe.Pointer), n)
	for i := range copies {
		copies[i] = d.copier(at.carry[i])
	}
	run := func(slots []unsafe.Pointer) {
		if loop.Steps == 0 {
			for i := range n {
				if l.Out[i].Slot >= 0 {
					copies[i](address(slots, &l.Out[i]), address(slots, &l.In[i]))
				}
			}
			return
		}
		base := sc.at(slots)
		for i := range leaves {
			leaves[i] = address(slots, &l.In[i])
		}
		for step := range loop.Steps {
			t := step
			if loop.Reverse {
				t = loop.Steps - 1 - step
			}
			for i := range n {
				if step > 0 {
					leaves[i] = unsafe.Add(base, at.carries[step&1][i])
				}
				outputs[i] = unsafe.Add(base, at.carries[1-step&1][i])
				if step == loop.Steps-1 && l.Out[i].Slot >= 0 {
					outputs[i] = address(slots, &l.Out[i])
				}
			}
			for i := range inputs {
				leaves[n+i] = unsafe.Add(address(slots, &l.In[n+i]), t*at.slice[i])
			}
			for i := range outputs[n:] {
				if o := &l.Out[n+i]; o.Slot >= 0 {
					outputs[n+i] = unsafe.Add(address(slots, o), t*at.result[i])
				} else {
					outputs[n+i] = unsafe.Add(base, at.spare[i])
				}
			}
			for i := range body.p.Slots {
				switch s := &body.p.Slots[i]; s.Kind {
				case kernel.Leaf:
					body.slots[i] = leaves[s.Index]
				case kernel.Output:
					body.slots[i] = outputs[s.Index]
				}
			}
			body.run(base)
		}
		clear(body.slots)
		clear(leaves)
		clear(outputs)
	}
	return routine{workspace: at.bytes, run: run}, nil
}
