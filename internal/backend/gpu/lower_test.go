package gpu

import (
	"fmt"
	"testing"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
)

// Scans are tested on a machine whose memory has a number for every operand, at the place
// where it begins. The only operation mixes its operands in a way that shows every mistake
// of place and order.

type cell struct{ slot, offset int }

type machine map[cell]int

// mixer is a routine for an operation with any operands and results.
type mixer struct {
	args []codegen.Arg
	in   int
	odd  *int // counts closings
}

func (m *mixer) Args() []codegen.Arg { return m.args }
func (m *mixer) Epilogue() bool      { return false }
func (m *mixer) Close()              { *m.odd++ }

// mixed is result number out of operands.
func mixed(in []int, out int) int {
	h := out + 1
	for _, x := range in {
		h = (h*31 + x) % 1000003
	}
	return h
}

func (m machine) run(t *testing.T, ops []Op, pass int) {
	at := func(a codegen.Arg) cell { return cell{a.Slot, a.Offset + pass*a.Step} }
	read := func(a codegen.Arg) int {
		v, ok := m[at(a)]
		if !ok {
			t.Errorf("slot %d is read at %d, where nothing is", a.Slot, a.Offset+pass*a.Step)
		}
		return v
	}
	for _, op := range ops {
		switch {
		case op.Copy != nil:
			m[at(op.Copy.To)] = read(op.Copy.From)
		case op.Loop != nil:
			for i := range op.Loop.Steps {
				m.run(t, op.Loop.Body, i)
			}
		default:
			n := op.Routine.(*mixer).in
			var in []int
			for _, a := range op.Args[:n] {
				in = append(in, read(a))
			}
			for i, a := range op.Args[n:] {
				m[at(a)] = mixed(in, i)
			}
		}
	}
}

// operand is n elements behind a few others.
func operand(slot, n, before int) kernel.Operand {
	sh := []int{n}
	return kernel.Operand{Slot: slot, DType: dtype.Int32, Offset: before, Shape: sh, Stride: shape.Strides(sh)}
}

// cycle is a Scan of so many steps over a body with one step: carry 0 has a trail, carry 1
// has none, there is a slice, a constant, a result that is wanted and one that is not.
// Carries have width elements.
func cycle(steps, width int, reverse bool, first int) *kernel.Library {
	body := &kernel.Program{Leaves: 4, Outputs: 4, Arena: 192}
	for i := range 4 {
		body.Slots = append(body.Slots, kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: 4 * width})
	}
	for i := range 4 {
		body.Slots = append(body.Slots, kernel.Slot{Kind: kernel.Output, Index: i, Bytes: 4 * width})
	}
	body.Slots = append(body.Slots, kernel.Slot{Kind: kernel.Arena, Offset: 128, Bytes: 4 * width})
	mid := operand(8, width, 0)
	var in, out []kernel.Operand
	for i := range 4 {
		in, out = append(in, operand(i, width, 0)), append(out, operand(4+i, width, 0))
	}
	body.Steps = []kernel.Step{
		&kernel.Library{Op: ir.Sort, In: in, Out: []kernel.Operand{mid}, Scratch: -1},
		&kernel.Library{Op: ir.Sort, In: append(in, mid), Out: out, Scratch: -1},
	}
	l := &kernel.Library{
		Op: ir.Scan, Attr: &ir.Loop{Carries: 2, Inputs: 1, Steps: steps, Reverse: reverse}, Body: body, Scratch: first + 9,
		In:  []kernel.Operand{operand(first, width, 1), operand(first+1, width, 0), operand(first+2, steps*width, 3), operand(first+3, width, 0)},
		Out: []kernel.Operand{operand(first+4, width, 0), operand(first+5, width, 5), operand(first+6, steps*width, 7), operand(-1, steps*width, 0), operand(first+8, (steps+1)*width, 2), operand(-1, (steps+1)*width, 0)},
	}
	return l
}

// expected does what cycle says, row by row.
func expected(m machine, steps, width, first int, reverse bool) (c0, c1 int) {
	c0, c1 = m[cell{first, 4}], m[cell{first + 1, 0}]
	k := m[cell{first + 3, 0}]
	row := func(slot, before, i int) cell { return cell{slot, 4 * (before + i*width)} }
	at := 0
	if reverse {
		at = steps
	}
	m[row(first+8, 2, at)] = c0
	for i := range steps {
		t, next := i, i+1
		if reverse {
			t, next = steps-1-i, steps-1-i
		}
		in := []int{c0, c1, m[row(first+2, 3, t)], k}
		in = append(in, mixed(in, 0))
		c0, c1 = mixed(in, 0), mixed(in, 1)
		m[row(first+6, 7, t)] = mixed(in, 2)
		m[row(first+8, 2, next)] = c0
	}
	m[cell{first + 4, 0}], m[cell{first + 5, 20}] = c0, c1
	return c0, c1
}

func mixers(closed *int) Routines {
	return func(l *kernel.Library) (Routine, error) {
		m := &mixer{in: len(l.In), odd: closed}
		for _, list := range [][]kernel.Operand{l.In, l.Out} {
			for i := range list {
				m.args = append(m.args, place(&list[i]))
			}
		}
		return m, nil
	}
}

func TestScan(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		for _, width := range []int{1, 3, 16} {
			for steps := range 6 {
				t.Run(fmt.Sprintf("reverse %v width %d steps %d", reverse, width, steps), func(t *testing.T) {
					l := cycle(steps, width, reverse, 0)
					p := &kernel.Program{Steps: []kernel.Step{l}, Arena: Workspace(l, &codegen.Target{})}
					for range 9 {
						p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: p.Leaves, Bytes: 1 << 20})
						p.Leaves++
					}
					p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: p.Arena})
					closed := 0
					s, err := Lower(p, &codegen.Target{}, mixers(&closed))
					if err != nil {
						t.Fatal(err)
					}
					start := func() machine {
						m := machine{{0, 4}: 1, {1, 0}: 2, {3, 0}: 3}
						for i := range steps {
							m[cell{2, 4 * (3 + i*width)}] = 10 + i
						}
						return m
					}
					got, want := start(), start()
					got.run(t, s.Ops, 0)
					expected(want, steps, width, 0, reverse)
					for at, v := range want {
						if got[at] != v {
							t.Errorf("slot %d at %d is %d, want %d", at.slot, at.offset, got[at], v)
						}
					}
					for at := range got {
						if _, ok := want[at]; !ok && at.slot != l.Scratch {
							t.Errorf("slot %d was written at %d", at.slot, at.offset)
						}
					}
					s.Close()
					if want := 2 * min(steps, 1); closed != want {
						t.Errorf("%d routines were closed %d times", want, closed)
					}
				})
			}
		}
	}
}

// A loop in a loop is written out, and moves with both.
func TestNestedScan(t *testing.T) {
	const rows, steps, width = 3, 5, 3
	inner := cycle(steps, width, true, 0)
	outer := &kernel.Program{Leaves: 4, Outputs: 3}
	kinds := []kernel.SlotKind{kernel.Leaf, kernel.Leaf, kernel.Leaf, kernel.Leaf, kernel.Output, kernel.Output, kernel.Output}
	for i, k := range kinds {
		outer.Slots = append(outer.Slots, kernel.Slot{Kind: k, Index: i % 4, Bytes: 1 << 10})
	}
	outer.Slots = append(outer.Slots, kernel.Slot{}, kernel.Slot{Kind: kernel.Output, Index: 3, Bytes: 1 << 10})
	outer.Outputs = 4
	outer.Arena = Workspace(inner, &codegen.Target{})
	outer.Slots = append(outer.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: outer.Arena})
	outer.Steps = []kernel.Step{inner}
	// Both carries of the outer loop have trails; the slices of the inner one, its results
	// and its trail are rows of the outer's.
	const slice, result, trail = (3 + steps*width), (7 + steps*width), (2 + (steps+1)*width)
	l := &kernel.Library{
		Op: ir.Scan, Attr: &ir.Loop{Carries: 2, Inputs: 1, Steps: rows}, Body: outer, Scratch: 8,
		In:  []kernel.Operand{operand(0, width+1, 0), operand(1, width+5, 0), operand(2, rows*slice, 0), operand(3, width, 0)},
		Out: []kernel.Operand{operand(-1, width+1, 0), operand(-1, width+5, 0), operand(4, rows*result, 0), operand(5, rows*trail, 0), operand(6, (rows+1)*(width+1), 0), operand(7, (rows+1)*(width+5), 0)},
	}
	// The inner scan reads its first carry one element into the outer's and writes it at
	// none, so the outer hands on what the test puts there; what counts is the places.
	p := &kernel.Program{Steps: []kernel.Step{l}, Leaves: 8, Arena: Workspace(l, &codegen.Target{})}
	for i := range 8 {
		p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: 1 << 20})
	}
	p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: p.Arena})
	closed := 0
	s, err := Lower(p, &codegen.Target{}, mixers(&closed))
	if err != nil {
		t.Fatal(err)
	}
	m := machine{{3, 0}: 3}
	for r := range rows + 1 {
		m[cell{6, 4 * (r*(width+1) + 1)}] = 100 + r // carry 0 of row r, as the inner scan reads it
		m[cell{7, 4 * r * (width + 5)}] = 200 + r
	}
	for r := range rows {
		for i := range steps {
			m[cell{2, 4 * (r*slice + 3 + i*width)}] = 10*r + i
		}
	}
	// What the outer loop begins with is copied into the trails.
	m[cell{0, 0}], m[cell{1, 0}] = 7, 200
	loops := 0
	for _, op := range s.Ops {
		if op.Loop != nil {
			loops++
			for _, in := range op.Loop.Body {
				if in.Loop != nil {
					t.Error("a loop is in a loop")
				}
			}
		}
	}
	if loops != 1 {
		t.Errorf("%d loops, want 1", loops)
	}
	m.run(t, s.Ops, 0)
	for r := range rows {
		want := machine{{0, 4}: 100 + r, {1, 0}: 200 + r, {3, 0}: 3}
		for i := range steps {
			want[cell{2, 4 * (3 + i*width)}] = 10*r + i
		}
		expected(want, steps, width, 0, true)
		for at, v := range want {
			here := cell{-1, 0}
			switch at.slot {
			case 6:
				here = cell{4, 4*r*result + at.offset}
			case 8:
				here = cell{5, 4*r*trail + at.offset}
			}
			if here.slot >= 0 && m[here] != v {
				t.Errorf("row %d: slot %d at %d is %d, want %d", r, here.slot, here.offset, m[here], v)
			}
		}
	}
}

// What moves by rows of any length is shown to those who write kernels as aligned as all
// rows are.
func TestAlignment(t *testing.T) {
	for _, c := range []struct{ width, align int }{{1, 4}, {2, 8}, {3, 4}, {4, 64}, {16, 64}} {
		l := cycle(4, c.width, false, 0)
		l.In[2].Offset, l.Out[2].Offset = 0, 0
		p := &kernel.Program{Steps: []kernel.Step{l}, Leaves: 9, Arena: Workspace(l, &codegen.Target{})}
		for i := range 9 {
			p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: 1 << 20})
		}
		p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: p.Arena})
		saw := false
		closed := 0
		mix := mixers(&closed)
		_, err := Lower(p, &codegen.Target{}, func(l *kernel.Library) (Routine, error) {
			at := l.In[2].Offset * 4 // the slice
			if got := at % wide; at != 0 && alignment(at) != c.align || at == 0 && c.align < wide {
				t.Errorf("width %d: the slice is shown at byte %d (%d)", c.width, at, got)
			}
			saw = true
			return mix(l)
		})
		if err != nil || !saw {
			t.Fatal(err)
		}
	}
}
