package cpu

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cpu/pool"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// randomUpdate makes a kernel like an optimizer's: tensors are computed anew and
// written over their old values where a condition holds, which is one element for
// all of the space or for a part of it. Some results go to other tensors than they
// should, and some to other slots over the same memory; those are listed with the
// slot whose memory it is.
func randomUpdate(seed uint64) (m *maker, table []kernel.Slot, same map[int]int) {
	m = &maker{Rand: rand.New(rand.NewPCG(seed, 2))}
	outer := make([]int, 1+m.IntN(3))
	for i := range outer {
		outer[i] = m.pick(1, 2, 3, 5, 17, 40)
	}
	if m.IntN(3) == 0 {
		outer = []int{m.pick(1, 1000, 2500, 5000)}
	}
	var inner []int
	if m.IntN(4) == 0 {
		inner = []int{m.pick(1, 3, 16, 70)}
	}
	axes := append(append([]int(nil), outer...), inner...)
	arg := func(d dtype.DType, vary func(axis int) bool) int {
		p := &m.f.Parts[0]
		p.Args = append(p.Args, m.layout(d, axes, vary))
		return len(p.Args) - 1
	}
	m.f.Parts = []kernel.Part{{Outer: outer, Inner: inner}}
	isOuter := func(axis int) bool { return axis < len(outer) }
	d := []dtype.DType{dtype.Float32, dtype.Float32, dtype.Float32, dtype.Int32, dtype.BFloat16, dtype.Float64}[m.IntN(6)]

	var conditions, tensors, values []int
	for range 1 + m.IntN(2) {
		mask := m.pick(0, 0, 1, m.IntN(1<<len(outer)))
		a := arg(dtype.Bool, func(axis int) bool { return isOuter(axis) && mask>>axis&1 != 0 })
		conditions = append(conditions, m.add(kernel.Instr{Kind: kernel.Load, DType: dtype.Bool, Arg: a}))
	}
	for range 1 + m.IntN(4) {
		tensors = append(tensors, m.add(kernel.Instr{Kind: kernel.Load, DType: d, Arg: arg(d, isOuter)}))
	}
	values = append(values, tensors...)
	scalar := m.add(kernel.Instr{Kind: kernel.Load, DType: d, Arg: arg(d, func(int) bool { return false })})
	values = append(values, scalar)
	if inner != nil {
		x := m.add(kernel.Instr{Kind: kernel.Load, DType: d, Arg: arg(d, func(int) bool { return true }), Inner: true})
		values = append(values, m.add(kernel.Instr{Kind: kernel.Reduce, Op: ir.ReduceMax, DType: d, X: [3]int{x}}))
	}
	apply := func(op ir.Op, x ...int) int {
		in := kernel.Instr{Kind: kernel.Apply, Op: op, DType: d}
		copy(in.X[:], x)
		values = append(values, m.add(in))
		return len(m.f.Code) - 1
	}
	any := func() int { return values[max(0, len(values)-1-m.IntN(12))] } // mostly late ones
	choice := func(x, y int) int {
		if m.IntN(2) == 0 {
			x, y = y, x
		}
		c := conditions[m.IntN(len(conditions))]
		if m.IntN(4) == 0 { // known late
			c = m.add(kernel.Instr{Kind: kernel.Apply, Op: ir.Not, DType: dtype.Bool, X: [3]int{c}})
		}
		return apply(ir.Select, c, x, y)
	}
	ops := []ir.Op{ir.Add, ir.Sub, ir.Max, ir.Min}
	results := make([]int, len(tensors))
	for i := range tensors {
		v := apply(ops[m.IntN(4)], any(), any())
		for range m.IntN(3) {
			v = apply(ops[m.IntN(4)], v, any())
			if m.IntN(3) == 0 {
				choice(any(), any())
			}
		}
		if m.IntN(8) == 0 {
			v = any()
		}
		results[i] = v
		if m.IntN(3) == 0 { // else all selects come at the end, as the compiler has them
			results[i] = choice(v, tensors[i])
		}
	}
	homes := m.Perm(len(tensors))
	if m.IntN(3) != 0 {
		for i := range homes {
			homes[i] = i
		}
	}
	for i, v := range results {
		if m.f.Code[v].Op != ir.Select || m.IntN(4) == 0 {
			old := tensors[i]
			if m.IntN(6) == 0 {
				old = any()
			}
			results[i] = choice(v, old)
		}
	}
	same = map[int]int{}
	for i, v := range results {
		a := m.f.Code[tensors[homes[i]]].Arg
		switch m.IntN(5) {
		case 0: // nowhere
			continue
		case 1: // to fresh memory
			a = arg(d, isOuter)
		case 2: // in place, by another name
			p := &m.f.Parts[0]
			alias := p.Args[a]
			same[len(m.slots)] = alias.Slot
			alias.Slot = len(m.slots)
			m.slots = append(m.slots, m.slots[same[alias.Slot]])
			p.Args = append(p.Args, alias)
			a = len(p.Args) - 1
		}
		m.add(kernel.Instr{Kind: kernel.Store, DType: d, X: [3]int{v}, Arg: a})
	}
	offset := 0
	for i, s := range m.slots {
		slot := kernel.Slot{Kind: kernel.Arena, Offset: offset, Bytes: len(s)}
		if of, ok := same[i]; ok {
			slot.Offset = table[of].Offset
		}
		table = append(table, slot)
		offset += align(len(s))
	}
	m.f.Name = fmt.Sprintf("update %d", seed)
	return m, table, same
}

// An update is written, or withheld, as the definition says.
func TestFusedUpdates(t *testing.T) {
	defer vec.Use(vec.Current())
	one, two := pool.New(1), pool.New(2)
	defer two.Close()
	n := 3000
	if testing.Short() {
		n = 500
	}
	for seed := range uint64(n) {
		vec.Use(vec.Levels()[seed%uint64(len(vec.Levels()))])
		m, table, same := randomUpdate(seed)
		outer := m.f.Parts[0].Outer
		lo, hi := make([]int, len(outer)), make([]int, len(outer))
		for i, n := range outer {
			lo[i] = m.IntN(n + 1)
			hi[i] = lo[i] + m.IntN(n-lo[i]+1)
		}
		check := func(what string, p *pool.Pool, lo, hi []int) {
			k, err := compileFused(&m.f, table, p)
			if err != nil {
				t.Fatalf("%v\n%s", err, describe(m))
			}
			want := reference(&m.f, m.slots, lo, hi)
			got := clones(m.slots)
			memory := pointers(got)
			for s, of := range same {
				memory[s] = memory[of]
			}
			if lo != nil {
				k.runBox(0, memory, lo, hi)
			} else {
				k.run(memory)
			}
			for s, of := range same {
				got[s] = got[of]
			}
			for _, of := range same {
				got[of], want[of] = nil, nil
			}
			compareSlots(t, what, m, got, want)
		}
		check("one worker", one, nil, nil)
		check("two workers", two, nil, nil)
		check(fmt.Sprintf("box %v %v", lo, hi), one, lo, hi)
	}
}

// The optimizer's update, in which one condition decides about all tensors, needs
// no copies: neither of the old values nor of the new ones.
func TestFusedUpdateCopiesNothing(t *testing.T) {
	const n = 10_000
	for _, lr := range []float32{0.5, float32(math.Inf(1))} {
		slots, _ := floatSlots(5, n, func(s, i int) float32 {
			if s == 4 {
				return lr
			}
			return float32(i%7+s) / 8
		})
		k, err := compileFused(adamW(n), nil, pool.Default())
		if err != nil {
			t.Fatal(err)
		}
		got := clones(slots)
		k.run(pointers(got))
		for s := range 3 {
			if changed := !bytes.Equal(got[s], slots[s]); changed != (lr == 0.5) {
				t.Errorf("learning rate %g: slot %d changed: %v", lr, s, changed)
			}
		}
		copies := 0
		for _, s := range k.parts[0].walk.prog.body {
			if s.kind == stepMove || s.kind == stepSettle {
				copies++
			}
		}
		if copies > 3 { // one to settle each tensor, which then lies there already
			t.Errorf("the update takes %d copies", copies)
		}
	}
}
