package codegen

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// multi writes a kernel of several parts. Parts that lie in memory without gaps, as the
// parameters of a model do, share launches, as many as fit a kernel's parameters: every
// group of threads belongs to one part and finds it by a binary search among the numbers
// of the parts' first groups. What the parts' extents are, the code does not know. Other
// parts get launches of their own.
func multi(f *kernel.Fused, slots []kernel.Slot, t *Target) ([]Launch, error) {
	var ls []Launch
	batches := make(map[string]*batch)
	var order []*batch
	for i := range f.Parts {
		p := &f.Parts[i]
		if slices.Contains(p.Outer, 0) {
			continue
		}
		m, key := member(f, p, slots, t)
		if m == nil {
			l, err := part(&kernel.Fused{Name: f.Name, Code: f.Code, Parts: f.Parts[i : i+1]}, 0, slots, t)
			if err != nil {
				return nil, err
			}
			ls = append(ls, l...)
			continue
		}
		if batches[key] == nil {
			batches[key] = &batch{emitter: emitter{f: f, t: t, sp: m.sp, vec: m.vec, lanes: m.lanes}, part: p}
			order = append(order, batches[key])
		}
		batches[key].members = append(batches[key].members, m)
	}
	for _, b := range order {
		l, err := b.launches()
		if err != nil {
			return nil, err
		}
		ls = append(ls, l...)
	}
	return ls, nil
}

// a part of a batch.
type partOf struct {
	part  *kernel.Part
	n     int
	sp    *space // of a part of any length
	vec   []int
	lanes int
}

// batch is parts that one code serves.
type batch struct {
	emitter
	part    *kernel.Part
	members []*partOf
}

// member tells what a part needs of its batch's code, nil if it cannot have one.
func member(f *kernel.Fused, p *kernel.Part, slots []kernel.Slot, t *Target) (m *partOf, key string) {
	if p.Inner != nil || slices.ContainsFunc(f.Code, func(in kernel.Instr) bool { return in.Kind == kernel.Index || in.Kind == kernel.Reduce }) {
		return nil, ""
	}
	s := simplify(p, weights(f, p))
	if len(s.outer) > 1 || points(s.outer) >= 1<<30 {
		return nil, ""
	}
	m = &partOf{part: p, n: points(s.outer)}
	any := axis{n: 1 << 29, stride: make([]int, len(p.Args))}
	for i := range p.Args {
		// A part of one point may take any stride: that of a tensor for what is
		// stored, or read from memory that a longer part would go through.
		any.stride[i] = lastStride(s.outer, i)
		if len(s.outer) == 0 && !slices.ContainsFunc(f.Parts, func(q kernel.Part) bool { return constant(&q, i) }) {
			any.stride[i] = 1
		}
		if any.stride[i] != 0 && any.stride[i] != 1 {
			return nil, ""
		}
	}
	m.sp = &space{outer: []axis{any}, offset: s.offset}
	m.lanes = 1
	if !t.Serial {
		m.lanes = lanesFor(f, p, m.sp, m.sp.outer, slots, true)
	}
	m.vec = vectors(f, p, m.sp, m.sp.outer, m.lanes, slots)
	return m, fmt.Sprint(any.stride, m.lanes, m.vec)
}

// constant tells whether an argument is one element for a part of several points.
func constant(p *kernel.Part, arg int) bool {
	for k, n := range p.Outer {
		if n > 1 && p.Args[arg].Stride[k] == 0 {
			return true
		}
	}
	return false
}

func (m *batch) launches() ([]Launch, error) {
	total := 0
	for _, p := range m.members {
		total += p.n
	}
	steps := loopSteps(m.f, m.part, m.sp, m.lanes, total/m.lanes, m.t)
	block := loopThreads * steps * m.lanes

	var ls []Launch
	for first := 0; first < len(m.members); {
		// As many parts as fit.
		b := NewBuilder(m.f.Name, loopThreads)
		var args []Arg
		type place struct {
			slot, offset int
			ctype        string
		}
		names := make(map[place]string)
		var pointers [][]string // by part and argument
		var starts, counts []string
		groups, next := 0, first
		for ; next < len(m.members); next++ {
			p := m.members[next]
			more := 2 * 8
			for range p.part.Args {
				more += paramBytes([]Param{{Pointer: true}}, m.t)
			}
			if next > first && paramBytes(b.params, m.t)+more > m.t.ParamBytes {
				break
			}
			var l []string
			for i := range p.part.Args {
				a := &p.part.Args[i]
				at := place{a.Slot, p.sp.offset[i], storage(a.DType)}
				if names[at] == "" {
					names[at] = b.Pointer(storage(a.DType))
					args = append(args, At(a.Slot, p.sp.offset[i]*a.DType.Size()))
				}
				l = append(l, names[at])
			}
			pointers = append(pointers, l)
			starts, counts = append(starts, b.Number("i32")), append(counts, b.Number("i32"))
			args = append(args, Int(groups), Int(p.n))
			groups += ceil(p.n, block)
		}
		first = next

		m.b, m.ptr = b, nil
		b.P("i32 group = GROUP(0), points;")
		for i := range m.part.Args {
			m.ptr = append(m.ptr, fmt.Sprintf("q%d", i))
			b.P("GLOBAL %s *q%d;", storage(m.part.Args[i].DType), i)
		}
		var find func(lo, hi int)
		find = func(lo, hi int) {
			if hi-lo == 1 {
				b.P("group -= %s; points = %s;", starts[lo], counts[lo])
				for i, p := range pointers[lo] {
					b.P("q%d = %s;", i, p)
				}
				return
			}
			mid := (lo + hi) / 2
			b.P("if (group < %s) {", starts[mid])
			find(lo, mid)
			b.P("} else {")
			find(mid, hi)
			b.P("}")
		}
		find(0, len(pointers))

		lanes, vec := m.lanes, m.vec
		m.steps = steps
		b.P("i32 count = points / %d;", lanes)
		b.P("i32 first = group * %d + LOCAL(0);", loopThreads*steps)
		b.P("if (first < count) {")
		if err := m.block1("first", fmt.Sprint(loopThreads), "count", true, m.sp.outer); err != nil {
			return nil, err
		}
		b.P("}")
		if lanes > 1 {
			b.P("if (group == 0 && LOCAL(0) < points %% %d) {", lanes)
			b.P("i32 rest = count * %d + LOCAL(0);", lanes)
			m.lanes, m.steps, m.vec = 1, 1, make([]int, len(m.part.Args))
			err := m.block1("rest", "0", "", false, m.sp.outer)
			if err != nil {
				return nil, err
			}
			b.P("}")
			m.lanes, m.vec = lanes, vec
		}
		k := b.Kernel()
		if err := fits(k, m.t); err != nil {
			return nil, err
		}
		ls = append(ls, k.Launch([3]int{groups, 1, 1}, args...))
	}
	return ls, nil
}
