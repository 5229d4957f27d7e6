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
	if slices.ContainsFunc(f.Code, func(in kernel.Instr) bool { return in.Kind == kernel.Index }) {
		return nil, ""
	}
	s := simplify(p, weights(f, p))
	axes := s.outer
	if p.Inner != nil { // one number is left of every part
		if axes = s.inner; len(s.outer) > 0 || f.Class() != kernel.ClassReduce && !onePass(f) || slices.Contains(p.Inner, 0) {
			return nil, ""
		}
	} else if slices.ContainsFunc(f.Code, func(in kernel.Instr) bool { return in.Kind == kernel.Reduce }) {
		return nil, ""
	}
	if len(axes) > 1 || points(axes) >= 1<<30 {
		return nil, ""
	}
	m = &partOf{part: p, n: points(axes)}
	any := axis{n: 1 << 29, stride: make([]int, len(p.Args))}
	for i := range p.Args {
		// A part of one point may take any stride: that of a tensor for what is
		// stored, or read from memory that a longer part would go through.
		any.stride[i] = lastStride(axes, i)
		if len(axes) == 0 && p.Inner == nil && !slices.ContainsFunc(f.Parts, func(q kernel.Part) bool { return constant(&q, i) }) {
			any.stride[i] = 1
		}
		if any.stride[i] != 0 && any.stride[i] != 1 {
			return nil, ""
		}
	}
	axes = []axis{any}
	m.sp = &space{outer: axes, offset: s.offset}
	if p.Inner != nil {
		m.sp = &space{inner: axes, offset: s.offset}
		if m.n == 1 { // as what is one element of a longer part may be another's whole
			return nil, ""
		}
	}
	m.lanes = 1
	if !t.Serial {
		m.lanes = lanesFor(f, p, m.sp, axes, slots, true)
	}
	if p.Inner != nil {
		for m.n%m.lanes != 0 {
			m.lanes /= 2
		}
	}
	m.vec = vectors(f, p, m.sp, axes, m.lanes, slots)
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

// choose declares the parameters of as many members as fit, from the first on and before
// the last, and writes the search for the one that a group is of: its pointers are then named q, and
// points, group and before are its extent, the number of the group among its groups, of
// which there are share(extent), and the number of those before them. If number is not nil,
// extra is number(member).
func (m *batch) choose(b *Builder, first, last int, args []Arg, share, number func(n int) int) (next, groups int, all []Arg) {
	type place struct {
		slot, offset int
		ctype        string
	}
	names := make(map[place]string)
	var pointers [][]string // by part and argument
	var starts, counts, extras []string
	for next = first; next < last; next++ {
		p := m.members[next]
		more := 3 * 8
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
		if number != nil {
			extras, args = append(extras, b.Number("i32")), append(args, Int(number(next)))
		}
		groups += share(p.n)
	}

	m.b, m.ptr = b, nil
	b.P("i32 group = GROUP(0), before, points, extra = 0;")
	for i := range m.part.Args {
		m.ptr = append(m.ptr, fmt.Sprintf("q%d", i))
		b.P("GLOBAL %s *q%d;", storage(m.part.Args[i].DType), i)
	}
	var find func(lo, hi int)
	find = func(lo, hi int) {
		if hi-lo == 1 {
			b.P("before = %s; points = %s;", starts[lo], counts[lo])
			if number != nil {
				b.P("extra = %s;", extras[lo])
			}
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
	b.P("group -= before;")
	return next, groups, args
}

func (m *batch) launches() ([]Launch, error) {
	if m.part.Inner != nil {
		return m.reductions()
	}
	total := 0
	for _, p := range m.members {
		total += p.n
	}
	steps := loopSteps(m.f, m.part, m.sp, m.lanes, total/m.lanes, m.t)
	block := loopThreads * steps * m.lanes

	var ls []Launch
	for first := 0; first < len(m.members); {
		b := NewBuilder(m.f.Name, loopThreads)
		next, groups, args := m.choose(b, first, len(m.members), nil, func(n int) int { return ceil(n, block) }, nil)
		first = next

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

// onePass tells whether reductions are done in one pass over the inner axes after which
// nothing is stored there.
func onePass(f *kernel.Fused) bool {
	for i, pass := range f.Phases() {
		in := &f.Code[i]
		if in.Kind == kernel.Reduce && pass > 0 || in.Kind == kernel.Store && f.Code[in.X[0]].Inner {
			return false
		}
	}
	return true
}

// reductions writes parts of which one number is left each. Every part is cut into
// pieces of one length; a first launch reduces them, a second one puts together what
// belongs to a part.
func (m *batch) reductions() ([]Launch, error) {
	r := &reducer{emitter: m.emitter, phase: m.f.Phases(), slices: 2, o: 1, r: 1 << 20, v: m.lanes, ti: loopThreads, to: 1, stream: 4}
	for r.stream > 1 && r.stream*r.v > 16 {
		r.stream /= 2
	}
	if m.t.Serial {
		r.ti, r.stream = 1, 1
	}
	r.innerVec, r.outerVec = m.vec, make([]int, len(m.part.Args))
	r.nO = "1"
	piece := 16384 / m.lanes // in vectors
	at := point{outer: one}
	reds := r.reductions(0)

	var ls []Launch
	for first := 0; first < len(m.members); {
		pieces := func(n int) int { return ceil(n, piece*m.lanes) }
		total := 0
		before := make([]int, len(m.members)) // pieces of this kernel's members
		for i := first; i < len(m.members); i++ {
			before[i] = total
			total += pieces(m.members[i].n)
		}
		total = (total + 31) &^ 31
		single := func(int) int { return 1 }
		which := func(i int) int { return before[i] }
		// launch begins a kernel with places for partial results in scratch memory. The
		// second one has more parameters for a member, so it says how many both have.
		last := len(m.members)
		var partial map[int]string
		launch := func(share, number func(n int) int) (next, groups int, args []Arg) {
			b := NewBuilder(m.f.Name, r.ti)
			partial = make(map[int]string)
			for k, i := range reds {
				partial[i] = b.Pointer(register(m.f.Code[i].DType))
				args = append(args, At(Scratch, k*total*8))
			}
			next, groups, args = m.choose(b, first, last, args, share, number)
			r.b, r.ptr = b, m.ptr
			r.shared, r.arrays, r.kept = make(map[string]bool), make(map[int]bool), make(map[int]bool)
			b.P("i32 t = LOCAL(0), x = 0, o = 0;")
			return next, groups, args
		}
		done := func(groups int, args []Arg) error {
			k := r.b.Kernel()
			if err := fits(k, m.t); err != nil {
				return err
			}
			l := k.Launch([3]int{groups, 1, 1}, args...)
			l.Scratch = total * 8 * len(reds)
			ls = append(ls, l)
			return nil
		}

		last, _, _ = launch(single, which)
		next, groups, args := launch(pieces, nil)
		if next != last {
			panic("codegen: two launches for the same tensors have room for different ones")
		}
		r.b.P("i32 begin = group * %d, end = begin + %d, count = points / %d; end = end < count ? end : count;", piece, piece, m.lanes)
		if err := r.outerStage(0, at); err != nil {
			return nil, err
		}
		if err := r.through(0, at, "1", true); err != nil {
			return nil, err
		}
		for _, i := range reds {
			r.b.P("if (t == 0) %s[GROUP(0)] = o%d[0];", partial[i], i)
		}
		if err := done(groups, args); err != nil {
			return nil, err
		}

		_, groups, args = launch(single, which)
		if err := r.finish(at, partial, piece*m.lanes, reds); err != nil {
			return nil, err
		}
		if err := done(groups, args); err != nil {
			return nil, err
		}
		first = next
	}
	return ls, nil
}

// finish writes the rest of a second launch.
func (r *reducer) finish(at point, partial map[int]string, piece int, reds []int) error {
	b := r.b
	b.P("i32 pieces = (points + %d) / %d;", piece-1, piece)
	r.nSlices = "pieces"
	if err := r.outerStage(0, at); err != nil {
		return err
	}
	for _, i := range reds {
		d := r.f.Code[i].DType
		b.P("GLOBAL %s *z%d = %s + extra;", register(d), i, partial[i])
		r.collect(i, fmt.Sprintf("z%d", i))
		if s := rounded(d, fmt.Sprintf("o%d[0]", i)); rounded(d, "") != "" {
			b.P("o%d[0] = %s;", i, s)
		}
	}
	if err := r.outerStage(1, at); err != nil {
		return err
	}
	return r.outerStores(at, "1", false)
}
