package cpu

import (
	"fmt"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu/gemm"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// scanLayout places a Scan's memory in its scratch slot: the body's arena, then
// every carry without a trail twice, read from one copy and written to the other,
// then the packed copies of matrices that every step multiplies by.
type scanLayout struct {
	loop    *ir.Loop
	carry   []int // bytes of each carry
	slice   []int // bytes that each input advances by in a step
	result  []int // … and each result
	carries [2][]int
	trail   []*kernel.Operand // of each carry; nil: none
	spare   []int             // where results nobody wants are written
	kept    []keptProduct
	bytes   int
}

// keptProduct is a product in the body with a matrix that is a constant of the loop.
// The matrix is packed before the first step.
type keptProduct struct {
	step   int // of the body
	dot    *kernel.Library
	offset int // of the packed copy
}

func (d *Device) newScanLayout(l *kernel.Library) *scanLayout {
	s := &scanLayout{loop: l.Attr.(*ir.Loop), bytes: align(l.Body.Arena)}
	bytes := func(o *kernel.Operand) int { return o.Elements() * o.DType.Size() }
	n := s.loop.Carries
	s.trail = make([]*kernel.Operand, n)
	for i := range l.Out[l.Body.Outputs:] {
		if o := &l.Out[l.Body.Outputs+i]; o.Slot >= 0 {
			s.trail[i] = o
		}
	}
	for i := range l.In[:n] {
		b := bytes(&l.In[i])
		s.carry = append(s.carry, b)
		for j := range s.carries {
			s.carries[j] = append(s.carries[j], s.bytes)
			if s.trail[i] == nil {
				s.bytes += align(b)
			}
		}
	}
	steps := max(1, s.loop.Steps)
	for i := range l.In[n : n+s.loop.Inputs] {
		s.slice = append(s.slice, bytes(&l.In[n+i])/steps)
	}
	for i := range l.Out[n:l.Body.Outputs] {
		o := &l.Out[n+i]
		b := bytes(o) / steps
		s.result = append(s.result, b)
		s.spare = append(s.spare, s.bytes)
		if o.Slot < 0 {
			s.bytes += align(b)
		}
	}
	for i, step := range l.Body.Steps {
		dot, ok := step.(*kernel.Library)
		if !ok || steps < minKept || !keepable(dot) {
			continue
		}
		if b := &l.Body.Slots[dot.In[1].Slot]; b.Kind == kernel.Leaf && b.Index >= n+s.loop.Inputs {
			s.kept = append(s.kept, keptProduct{i, dot, s.bytes})
			s.bytes += align(d.newKeptDot(dot, nil).Bytes())
		}
	}
	return s
}

// minKept is the number of steps from which a matrix is packed once for all of them.
const minKept = 4

// keepable tells whether packing In[1] of a product gains anything. A single row is
// multiplied by a matrix as it lies.
func keepable(l *kernel.Library) bool {
	return l.Op == ir.DotGeneral && len(l.Out[0].Shape) == 2 && l.Out[0].Shape[0] > 1 && l.Out[0].Elements() > 0 && l.In[1].Elements() > 0 &&
		(l.In[0].DType == dtype.Float32 || l.In[0].DType == dtype.Float64)
}

// keptDot runs a product whose right operand was packed before.
type keptDot struct {
	*gemm.Stationary
	l     *kernel.Library
	after *fusedKernel // unless it is run block by block
	slots []unsafe.Pointer
}

func (d *Device) newKeptDot(l *kernel.Library, after *fusedKernel) *keptDot {
	a, b, c := &l.In[0], &l.In[1], &l.Out[0]
	k := &keptDot{l: l, after: after}
	p := gemm.Problem{
		M: c.Shape[0], N: c.Shape[1], K: a.Shape[1], LDC: c.Shape[1],
		A: gemm.Mat{RS: a.Stride[0], CS: a.Stride[1]}, B: gemm.Mat{RS: b.Stride[0], CS: b.Stride[1]},
	}
	if a.DType == dtype.Float64 {
		p.Type = gemm.Float64
	}
	if boxed(l, after) {
		boxes := make([]box, d.pool.Workers())
		for i := range boxes {
			boxes[i] = newBox(2)
		}
		p.Done = func(worker, r0, r1, c0, c1 int) {
			x := &boxes[worker]
			x.lo[0], x.hi[0], x.lo[1], x.hi[1] = r0, r1, c0, c1
			after.runBox(worker, k.slots, x.lo, x.hi)
		}
		k.after = nil
	}
	k.Stationary = gemm.NewStationary(d.gemm, p)
	return k
}

func (k *keptDot) run(slots []unsafe.Pointer) {
	k.slots = slots
	k.Run(address(slots, &k.l.In[0]), address(slots, &k.l.Out[0]))
	k.slots = nil
	if k.after != nil {
		k.after.run(slots)
	}
}

func (d *Device) scanWorkspace(l *kernel.Library) int { return d.newScanLayout(l).bytes }

// scan runs the body once per step. A carry that has a trail is read and written
// there. Of another the first step reads the initial value where it is, and the last
// step writes the final one where it is wanted. So no step copies a carry.
func (d *Device) scan(l *kernel.Library, sc scratch) (routine, error) {
	at := d.newScanLayout(l)
	loop := at.loop
	n, inputs := loop.Carries, loop.Inputs
	body, err := d.compile(l.Body)
	if err != nil {
		return routine{}, fmt.Errorf("body: %w", err)
	}
	leaves, outputs := make([]unsafe.Pointer, l.Body.Leaves), make([]unsafe.Pointer, l.Body.Outputs)
	if len(l.In) < len(leaves) || len(l.Out) < len(outputs) || len(l.Out) > len(outputs)+n {
		return routine{}, fmt.Errorf("the body has %d leaves and %d outputs for %d operands and %d results", len(leaves), len(outputs), len(l.In), len(l.Out))
	}
	kept := make([]*keptDot, len(at.kept))
	for i, k := range at.kept {
		var after *fusedKernel
		if k.dot.Epilogue != nil {
			if after, err = compileFused(k.dot.Epilogue, l.Body.Slots, d.pool); err != nil {
				return routine{}, fmt.Errorf("body: %w", err)
			}
		}
		kept[i] = d.newKeptDot(k.dot, after)
		body.steps[k.step] = kept[i]
	}
	copies := make([]func(dst, src unsafe.Pointer), n)
	for i := range copies {
		copies[i] = d.copier(at.carry[i])
	}
	run := func(slots []unsafe.Pointer) {
		// trail is a row of the trail of carry i, row 0 being before the first step.
		trail := func(i, row int) unsafe.Pointer {
			if loop.Reverse {
				row = loop.Steps - row
			}
			return unsafe.Add(address(slots, at.trail[i]), row*at.carry[i])
		}
		for i := range n {
			if at.trail[i] != nil {
				copies[i](trail(i, 0), address(slots, &l.In[i]))
			}
			if loop.Steps == 0 && l.Out[i].Slot >= 0 {
				copies[i](address(slots, &l.Out[i]), address(slots, &l.In[i]))
			}
		}
		if loop.Steps == 0 {
			return
		}
		var base unsafe.Pointer
		if at.bytes > 0 {
			base = sc.at(slots)
		}
		for i := range leaves {
			leaves[i] = address(slots, &l.In[i])
		}
		for i, k := range kept {
			b := &k.l.In[1]
			from := leaves[l.Body.Slots[b.Slot].Index]
			k.Pack(unsafe.Add(from, b.Offset*b.DType.Size()), unsafe.Add(base, at.kept[i].offset))
		}
		for step := range loop.Steps {
			t := step
			if loop.Reverse {
				t = loop.Steps - 1 - step
			}
			for i := range n {
				if at.trail[i] != nil {
					leaves[i], outputs[i] = trail(i, step), trail(i, step+1)
					continue
				}
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
		for i := range n {
			if at.trail[i] != nil && l.Out[i].Slot >= 0 {
				copies[i](address(slots, &l.Out[i]), trail(i, loop.Steps))
			}
		}
		clear(body.slots)
		clear(leaves)
		clear(outputs)
	}
	return routine{workspace: at.bytes, run: run}, nil
}
