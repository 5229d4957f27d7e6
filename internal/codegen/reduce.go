package codegen

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// reducer writes Reduce and Row kernels.
//
// The threads of a group are inner × outer. All inner threads of an outer point, or of
// a vector of them, go through the points of the inner axes together, and exchange what
// they have found at the end of every pass, so that each of them knows the result:
//
//	rows  memory is contiguous along an inner axis: the inner threads of a row are
//	      neighbours, and take vectors of the row in turn
//	cols  memory is contiguous along an outer axis: the outer threads are neighbours,
//	      each with a vector of outer points, and the inner threads take inner points in
//	      turn
//
// If a thread has few inner points, it keeps what it has loaded and computed in
// registers for the next pass; else every pass loads again. Stores are done in the last
// pass, so a row may be overwritten.
//
// If there are too few outer points for the device, the inner axes are cut into slices
// for groups of their own, every pass is a launch, and the reductions of slices go through
// scratch memory. The order in which anything is added depends on the shape and on
// the Target alone.
type reducer struct {
	emitter
	phase []int
	last  int // pass in which the last reductions or stores of inner values are done

	cols   bool
	ti, to int // inner and outer threads
	o, r   int // outer points (vectors, in cols), inner ones (vectors, in rows)
	slices int // > 1: the inner axes are cut

	nO, nR, nSlices, nSize string // the same as text, and the length of a slice
	unrolled               int    // > 0: all inner points of a thread, kept in registers
	stream                 int    // steps of a block, if not
	v                      int    // lanes

	innerVec, outerVec []int
	shared             map[string]bool // types for which memory of the group has been used
	arrays             map[int]bool    // gathered loads that are still there
	kept               map[int]bool    // values that are still there
}

func reduce(f *kernel.Fused, p *kernel.Part, w []int, slots []kernel.Slot, t *Target) ([]Launch, error) {
	for i := range p.Args { // what varies along the inner axes decides
		if slices.ContainsFunc(p.Args[i].Stride[len(p.Outer):], func(s int) bool { return s != 0 }) {
			w[i] *= 64
		}
	}
	r := &reducer{phase: f.Phases()}
	r.f, r.t, r.sp = f, t, simplify(p, w)
	for i := range f.Code {
		if in := &f.Code[i]; in.Kind == kernel.Reduce || in.Kind == kernel.Store && f.Code[in.X[0]].Inner {
			r.last = max(r.last, r.phase[i])
		}
	}
	r.wide = points(r.sp.outer) >= 1<<30/max(1, points(r.sp.inner))
	r.geometry(p, w, slots)

	if r.slices == 1 {
		l, err := r.launch(p, 0, r.last, true)
		if err != nil {
			return nil, err
		}
		return []Launch{l}, nil
	}
	var ls []Launch
	more := len(r.reductions(r.last)) > 0 // the last pass leaves partial results
	for pass := 0; pass <= r.last; pass++ {
		l, err := r.launch(p, pass, pass, pass == r.last && !more)
		if err != nil {
			return nil, err
		}
		ls = append(ls, l)
	}
	if more {
		l, err := r.launch(p, r.last+1, r.last, true)
		if err != nil {
			return nil, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// geometry decides who computes what.
func (r *reducer) geometry(p *kernel.Part, w []int, slots []kernel.Slot) {
	f, t, sp := r.f, r.t, r.sp
	nO, nR := points(sp.outer), points(sp.inner)
	// gain is how much memory that varies along the inner axes is contiguous along
	// the last of some axes.
	gain := func(axes []axis) int {
		n := 0
		for i := range p.Args {
			if w[i] >= 64 && lastStride(axes, i) == 1 && slices.ContainsFunc(sp.inner, func(a axis) bool { return a.stride[i] != 0 }) {
				n += w[i]
			}
		}
		return n
	}
	r.cols = len(sp.outer) > 0 && sp.outer[len(sp.outer)-1].n >= 4 && gain(sp.outer) > gain(sp.inner)
	if len(sp.inner) == 0 && len(sp.outer) > 0 {
		r.cols = true // one inner point: as a Loop
	}
	limit := min(t.GroupSize, 1024)
	r.slices = 1
	enough := 2 * t.Units

	switch {
	case t.Serial:
		// A thread does all that belongs to an outer point, as plainly as can be. What it
		// reads again comes from a cache, and it adds in float64.
		r.v, r.o, r.r = 1, nO, nR
		r.cols, r.ti, r.to = false, 1, 1
		for r.to < 64 && ceil(nO, 8*r.to) >= t.Units {
			r.to *= 8
		}
	case r.cols:
		r.v = min(8, lanesFor(f, p, sp, sp.outer, slots, false))
		for r.v > 1 && nO/r.v < 32 {
			r.v /= 2
		}
		r.o, r.r = nO/r.v, nR
		r.to = min(32, power2(r.o))
		r.ti = max(1, min(256/r.to, power2(ceil(r.r, 4))))
		for r.to*r.ti < 256 && r.to < r.o {
			r.to *= 2
		}
	default:
		r.v = lanesFor(f, p, sp, sp.inner, slots, false)
		if nR == 0 {
			r.v = 1
		}
		r.o, r.r = nO, nR/r.v
		r.ti = min(256, power2(ceil(r.r, 4)))
		for r.ti < limit && r.ti < r.r && (r.o*r.ti < 128*t.Units || r.last > 0 && ceil(r.r, r.ti)*r.v > 32) {
			r.ti *= 2
		}
		r.to = max(1, min(256/r.ti, power2(r.o)))
		for r.to > 1 && ceil(r.o, r.to) < t.Units && r.ti*r.to > 64 {
			r.to /= 2
		}
	}
	if t.Warp > 1 && r.ti*r.to < t.Warp { // whole warps
		r.to = t.Warp / r.ti
	}
	if k := ceil(r.r, r.ti); k <= 8 && k*r.v <= 32 && !t.Serial {
		r.unrolled = max(1, k)
	}
	groups := ceil(r.o, r.to)
	if s := min(ceil(2*enough, groups), r.r/(r.ti*8), 512); groups < enough && s > 1 && r.unrolled == 0 && !r.overlaps(slots) {
		r.slices = s
	}
	loads := 0
	for i := range f.Code {
		if in := &f.Code[i]; in.Kind == kernel.Load && in.Inner {
			loads += ceil(r.v*in.DType.Size(), 16)
		}
	}
	r.stream = 8
	if t.Serial {
		r.stream = 1
	}
	for r.stream > 1 && (r.stream*loads > 12 || r.stream*r.v > 32) {
		r.stream /= 2
	}

	r.outerVec, r.innerVec = make([]int, len(p.Args)), make([]int, len(p.Args))
	if r.cols {
		r.outerVec = vectors(f, p, sp, sp.outer, r.v, slots)
		r.innerVec = r.outerVec
	} else {
		r.innerVec = vectors(f, p, sp, sp.inner, r.v, slots)
	}
}

// overlaps tells whether a value of an outer point is written where one is read: then
// groups must not share an outer point.
func (r *reducer) overlaps(slots []kernel.Slot) bool {
	p := &r.f.Parts[0]
	at := func(arg int) (kernel.SlotKind, int, int) {
		s := &slots[p.Args[arg].Slot]
		if s.Kind == kernel.Arena {
			return s.Kind, s.Offset, s.Offset + s.Bytes
		}
		return s.Kind, s.Index << 40, s.Index<<40 + s.Bytes
	}
	for i := range r.f.Code {
		if in := &r.f.Code[i]; in.Kind != kernel.Store || r.f.Code[in.X[0]].Inner {
			continue
		}
		for j := range r.f.Code {
			if r.f.Code[j].Kind != kernel.Load {
				continue
			}
			k, lo, hi := at(r.f.Code[i].Arg)
			k2, lo2, hi2 := at(r.f.Code[j].Arg)
			if k == k2 && lo < hi2 && lo2 < hi {
				return true
			}
		}
	}
	return false
}

func (r *reducer) reductions(pass int) []int {
	return list(r.f, func(i int) bool { return r.f.Code[i].Kind == kernel.Reduce && r.phase[i] == pass })
}

// vo is the number of outer points of a thread.
func (r *reducer) vo() int {
	if r.cols {
		return r.v
	}
	return 1
}

// laneAxes are the axes whose last one the lanes of the inner passes lie along.
func (r *reducer) laneAxes() []axis {
	if r.cols {
		return r.sp.outer
	}
	return r.sp.inner
}

// launch writes a kernel that does the passes from … to, and, if final, all stores
// of outer values. It takes the results of earlier passes from scratch memory, and
// leaves its own there unless it is the only one.
func (r *reducer) launch(p *kernel.Part, from, to int, final bool) (Launch, error) {
	threads := r.ti * r.to
	r.b = NewBuilder(r.f.Name, threads)
	b := r.b
	r.shared, r.arrays, r.kept = make(map[string]bool), make(map[int]bool), make(map[int]bool)
	var args []Arg
	r.ptr, args = bind(b, p, r.sp)
	scratch, partial := 0, make(map[int]string)
	if r.slices > 1 {
		for i := range r.f.Code {
			if in := &r.f.Code[i]; in.Kind == kernel.Reduce {
				if r.phase[i] <= to || from > to {
					partial[i] = b.Pointer(register(in.DType))
					args = append(args, At(Scratch, scratch))
				}
				scratch += (r.slices*r.o*r.vo()*8 + 255) &^ 255
			}
		}
	}

	size := ceil(ceil(r.r, r.slices), r.ti) * r.ti
	r.nO, r.nR, r.nSlices, r.nSize = fmt.Sprint(r.o), fmt.Sprint(r.r), fmt.Sprint(r.slices), fmt.Sprint(size)
	saved := *r.sp
	defer func() { *r.sp = saved }()
	if more := r.emitter.pass(p); more != nil {
		args = append(args, more...)
		for i, text := range []*string{&r.nO, &r.nR, &r.nSlices, &r.nSize} {
			*text = b.Number("i32")
			args = append(args, Int([]int{r.o, r.r, r.slices, size}[i]))
		}
	}
	if r.cols {
		b.P("i32 x = LOCAL(0) %% %d, t = LOCAL(0) / %d;", r.to, r.to)
	} else {
		b.P("i32 t = LOCAL(0) %% %d, x = LOCAL(0) / %d;", r.ti, r.ti)
	}
	b.P("%s o = (%s)GROUP(0) * %d + x;", r.int(), r.int(), r.to)
	live := "1"
	if r.o%r.to != 0 || r.t.Serial && r.to > 1 {
		live = "live"
		b.P("i32 live = o < %s; o = live ? o : %s - 1;", r.nO, r.nO)
	}
	at := point{outer: r.unpack("o", r.sp.outer, r.vo(), "a")}
	sliced := r.slices > 1 && from <= to
	if sliced {
		b.P("%s begin = (%s)GROUP(1) * %s, end = begin + %s; end = end < %s ? end : %s;", r.int(), r.int(), r.nSize, r.nSize, r.nR, r.nR)
	}

	if err := r.outerStage(0, at); err != nil {
		return Launch{}, err
	}
	for pass := 0; pass <= r.last; pass++ {
		switch {
		case pass < from:
			for _, i := range r.reductions(pass) {
				r.collect(i, partial[i])
			}
		case pass <= to:
			if err := r.through(pass, at, live, sliced); err != nil {
				return Launch{}, err
			}
			if r.slices > 1 {
				for _, i := range r.reductions(pass) {
					b.P("if (%s && t == 0) { UNROLL for (i32 l = 0; l < %d; l++) %s[((%s)GROUP(1) * %s + o) * %d + l] = o%d[l]; }",
						live, r.vo(), partial[i], r.int(), r.nO, r.vo(), i)
				}
			}
		}
		if r.slices == 1 || pass < from {
			for _, i := range r.reductions(pass) { // what the type cannot hold is cut off at the end
				d := r.f.Code[i].DType
				if s := rounded(d, "x"); s != "x" {
					b.P("UNROLL for (i32 l = 0; l < %d; l++) o%d[l] = %s;", r.vo(), i, rounded(d, fmt.Sprintf("o%d[l]", i)))
				}
			}
			if err := r.outerStage(pass+1, at); err != nil {
				return Launch{}, err
			}
		}
	}
	if final {
		if err := r.outerStores(at, live, sliced); err != nil {
			return Launch{}, err
		}
	}
	k := b.Kernel()
	if err := fits(k, r.t); err != nil {
		return Launch{}, err
	}
	grid := [3]int{ceil(r.o, r.to), 1, 1}
	if sliced {
		grid[1] = r.slices
	}
	l := k.Launch(grid, args...)
	l.Scratch = scratch
	return l, nil
}

// outerStage computes the values of outer points that are ready before a pass: arrays
// o and the instruction's number, of one element for each outer point of the thread.
func (r *reducer) outerStage(pass int, at point) error {
	code := list(r.f, func(i int) bool {
		in := &r.f.Code[i]
		return !in.Inner && r.phase[i] == pass && (in.Kind == kernel.Load || in.Kind == kernel.Index || in.Kind == kernel.Apply)
	})
	if len(code) == 0 {
		return nil
	}
	gathered := func(i int) bool { k := r.f.Code[i].Kind; return k == kernel.Load || k == kernel.Index }
	loads := slices.DeleteFunc(slices.Clone(code), func(i int) bool { return !gathered(i) })
	r.lanes, r.steps, r.vec = r.vo(), 1, r.outerVec
	r.outside = func(i int) string { return fmt.Sprintf("o%d[e]", i) }
	axes := r.sp.outer
	if !r.cols {
		axes = nil
	}
	for _, i := range code {
		r.b.P("%s o%d[%d];", register(r.f.Code[i].DType), i, r.vo())
	}
	r.b.P("{")
	r.declare(loads)
	r.gather(loads, at, axes, "0")
	r.b.P("UNROLL for (i32 e = 0; e < %d; e++) {", r.vo())
	if err := r.compute(code, gathered, "e"); err != nil {
		return err
	}
	for _, i := range code {
		r.b.P("o%d[e] = v%d;", i, i)
	}
	r.b.P("}\n}")
	return nil
}

func (r *reducer) outerStores(at point, live string, sliced bool) error {
	stores := r.stores(func(i int) bool { return !r.f.Code[r.f.Code[i].X[0]].Inner })
	if len(stores) == 0 {
		return nil
	}
	axes := r.sp.outer
	if !r.cols {
		axes = nil
	}
	r.lanes, r.steps, r.vec = r.vo(), 1, r.outerVec
	cond := live + " && t == 0"
	if sliced {
		cond += " && GROUP(1) == 0"
	}
	r.b.P("if (%s) {", cond)
	for _, i := range stores {
		in := &r.f.Code[i]
		x := fmt.Sprintf("o%d[e]", in.X[0])
		if v := &r.f.Code[in.X[0]]; v.Kind == kernel.Imm {
			x = literal(v.DType, v.Bits)
		}
		r.b.P("%s y%d[%d];", register(in.DType), i, r.vo())
		r.b.P("UNROLL for (i32 e = 0; e < %d; e++) y%d[e] = %s;", r.vo(), i, x)
	}
	r.scatter(stores, at, axes, "0")
	r.b.P("}")
	return nil
}

// through goes through the inner points.
func (r *reducer) through(pass int, at point, live string, sliced bool) error {
	b := r.b
	reds := r.reductions(pass)
	var stores []int
	if pass == r.last {
		stores = r.stores(func(i int) bool { return r.f.Code[r.f.Code[i].X[0]].Inner })
	}
	for _, i := range reds {
		in := &r.f.Code[i]
		b.P("%s acc%d[%d]; %s o%d[%d];", r.sumType(i), i, r.accumulators(), register(in.DType), i, r.vo())
		b.P("UNROLL for (i32 j = 0; j < %d; j++) acc%d[j] = %s;", r.accumulators(), i, identity(in.Op, in.DType))
	}
	if (r.r > 0 || r.t.Serial) && len(reds)+len(stores) > 0 {
		var err error
		begin, end := "0", r.nR
		if sliced {
			begin, end = "begin", "end"
		}
		if r.unrolled > 0 {
			err = r.block(pass, reds, stores, at, r.unrolled, begin+" + t", end, r.r%r.ti != 0, live)
		} else {
			if r.t.Serial && live != "1" {
				end = fmt.Sprintf("(live ? %s : 0)", end)
			}
			b.P("{ %s c = %s + t;", r.int(), begin)
			if r.stream > 1 {
				b.P("for (; c + %d < %s; c += %d) {", (r.stream-1)*r.ti, end, r.stream*r.ti)
				if err = r.block(pass, reds, stores, at, r.stream, "c", end, false, live); err != nil {
					return err
				}
				b.P("}")
			}
			b.P("for (; c < %s; c += %d) {", end, r.ti)
			err = r.block(pass, reds, stores, at, 1, "c", end, false, live)
			b.P("}\n}")
		}
		if err != nil {
			return err
		}
	}
	for _, i := range reds {
		in := &r.f.Code[i]
		n := r.accumulators()
		if n == scattered {
			b.P("for (i32 j = 1; j < %d; j++) acc%d[0] = %s;", n, i, combine(in.Op, in.DType, fmt.Sprintf("acc%d[0]", i), fmt.Sprintf("acc%d[j]", i)))
			n = 1
		}
		for l := range r.vo() {
			x := fmt.Sprintf("acc%d[%d]", i, l)
			for j := l + r.vo(); j < n; j += r.vo() {
				x = "(" + combine(in.Op, in.DType, x, fmt.Sprintf("acc%d[%d]", i, j)) + ")"
			}
			b.P("o%d[%d] = (%s)%s;", i, l, register(in.DType), x)
		}
		r.exchange(i)
	}
	return nil
}

// sumType is the C type in which reduction i is done.
func (r *reducer) sumType(i int) string {
	in := &r.f.Code[i]
	if r.t.Serial && r.t.Float64 && in.Op == ir.ReduceSum && in.DType.IsFloat() {
		return "f64"
	}
	return register(in.DType)
}

// scattered is the number of sums of a thread that adds a long row of float64 alone.
const scattered = 64

// accumulators is the number of partial results that a thread has of a reduction.
func (r *reducer) accumulators() int {
	if r.t.Serial {
		if points(r.sp.inner) > 4*scattered && slices.ContainsFunc(r.f.Code, func(in kernel.Instr) bool {
			return in.Kind == kernel.Reduce && in.Op == ir.ReduceSum && in.DType == dtype.Float64
		}) {
			return scattered
		}
		return 1
	}
	steps := max(r.unrolled, r.stream)
	if r.cols {
		return r.v * min(2, power2(steps+1)/2)
	}
	return min(4, power2(steps*r.v+1)/2)
}

// block computes some steps of inner points of a pass, from index first on.
func (r *reducer) block(pass int, reds, stores []int, at point, steps int, first, end string, guarded bool, live string) error {
	b := r.b
	axes := r.laneAxes()
	r.lanes, r.steps, r.vec = r.v, steps, r.innerVec
	r.outside = func(i int) string {
		switch {
		case r.kept[i]:
			return fmt.Sprintf("k%d[e]", i)
		case r.cols && r.v > 1:
			return fmt.Sprintf("o%d[e %% %d]", i, r.v)
		}
		return fmt.Sprintf("o%d[0]", i)
	}
	gathered := func(i int) bool { return r.gathered(i, axes) }
	var goals []int
	for _, i := range slices.Concat(reds, stores) {
		goals = append(goals, r.f.Code[i].X[0])
	}
	stop := func(i int) bool { return !r.f.Code[i].Inner || r.kept[i] }
	code := needed(r.f, goals, stop)
	loads := slices.DeleteFunc(slices.Clone(code), func(i int) bool { return !gathered(i) || r.arrays[i] })

	// point is the coordinates at step u.
	inner := func() point {
		pt := at
		n := r.v
		if r.cols {
			n = 1
		}
		pt.inner = r.unpack("q", r.sp.inner, n, "b")
		return pt
	}
	r.declare(loads)
	if len(loads) > 0 {
		b.P("UNROLL for (i32 u = 0; u < %d; u++) {", steps)
		b.P("%s q = %s + u * %d;", r.int(), first, r.ti)
		if guarded {
			b.P("q = q < %s ? q : %s - 1;", end, end)
		}
		b.P("{")
		r.gather(loads, inner(), axes, "u")
		b.P("}\n}")
	}
	var keep []int
	if r.unrolled > 0 && pass < r.last {
		for _, i := range loads {
			r.arrays[i] = true
		}
		keep = r.keep(pass, code)
		for _, i := range keep {
			b.P("%s k%d[%d];", register(r.f.Code[i].DType), i, steps*r.v)
		}
	}
	for _, i := range stores {
		b.P("%s y%d[%d];", register(r.f.Code[i].DType), i, steps*r.v)
	}
	b.P("UNROLL for (i32 e = 0; e < %d; e++) {", steps*r.v)
	if err := r.compute(code, gathered, "e"); err != nil {
		return err
	}
	for _, i := range keep {
		b.P("k%d[e] = v%d;", i, i)
	}
	if len(reds) > 0 {
		if guarded {
			b.P("if (%s + e / %d * %d < %s) {", first, r.v, r.ti, end)
		} else {
			b.P("{")
		}
		for _, i := range reds {
			in := &r.f.Code[i]
			acc := fmt.Sprintf("acc%d[e %% %d]", i, r.accumulators())
			if r.t.Serial {
				acc = fmt.Sprintf("acc%d[(%s) & %d]", i, first, r.accumulators()-1)
			}
			b.P("%s = %s;", acc, combine(in.Op, in.DType, acc, r.value(in.X[0], code)))
		}
		b.P("}")
	}
	for _, i := range stores {
		b.P("y%d[e] = %s;", i, r.value(r.f.Code[i].X[0], code))
	}
	b.P("}")
	for _, i := range keep {
		r.kept[i] = true
	}
	if len(stores) > 0 {
		b.P("UNROLL for (i32 u = 0; u < %d; u++) {", steps)
		b.P("%s q = %s + u * %d;", r.int(), first, r.ti)
		cond := live
		if guarded {
			cond += " && q < " + end
		}
		b.P("if (%s) {", cond)
		r.scatter(stores, inner(), axes, "u")
		b.P("}\n}")
	}
	return nil
}

// keep lists the values of a pass that later passes need and that cost more to compute
// again than to keep.
func (r *reducer) keep(pass int, code []int) []int {
	cost := make([]int, len(r.f.Code))
	for _, i := range code {
		if in := &r.f.Code[i]; in.Kind == kernel.Apply {
			cost[i] = in.Op.Info().Cost
			for _, o := range in.Operands() {
				cost[i] += cost[o]
			}
		}
	}
	later := list(r.f, func(i int) bool {
		in := &r.f.Code[i]
		return (in.Kind == kernel.Reduce || in.Kind == kernel.Store && r.f.Code[in.X[0]].Inner) && (r.phase[i] > pass || in.Kind == kernel.Store)
	})
	var goals []int
	for _, i := range later {
		goals = append(goals, r.f.Code[i].X[0])
	}
	again := needed(r.f, goals, func(i int) bool { return !r.f.Code[i].Inner })
	return slices.DeleteFunc(slices.Clone(code), func(i int) bool { return cost[i] < 4 || !slices.Contains(again, i) })
}

// memory is memory of the group, for as many values of a type as there are threads
// times n. What was in it before is no longer needed.
func (r *reducer) memory(ctype string, n int) string {
	name := "s_" + ctype
	if !r.shared[ctype] {
		r.shared[ctype] = true
		r.b.P("SHARED %s %s[%d];", ctype, name, r.ti*r.to*n)
	} else {
		r.b.P("BARRIER();")
	}
	return name
}

// exchange combines the array o of instruction i between the inner threads.
func (r *reducer) exchange(i int) {
	if r.ti == 1 {
		return
	}
	b, in := r.b, &r.f.Code[i]
	ctype := register(in.DType)
	o := fmt.Sprintf("o%d", i)
	join := func(x, y string) string { return combine(in.Op, in.DType, x, y) }
	shuffles := func(width int) {
		for m := width / 2; m > 0; m /= 2 {
			b.P("%s[0] = %s;", o, join(o+"[0]", fmt.Sprintf("shuffle_xor_%s(%s[0], %d)", ctype, o, m)))
		}
	}
	switch warp := r.t.Warp; {
	case !r.cols && warp > 1 && r.ti <= warp:
		shuffles(r.ti)
		return
	case !r.cols && warp > 1:
		shuffles(warp)
		warps := r.ti / warp
		s := r.memory(ctype, 1)
		b.P("if (LOCAL(0) %% %d == 0) %s[LOCAL(0) / %d] = %s[0];", warp, s, warp, o)
		b.P("BARRIER();")
		b.P("%s[0] = %s[x * %d + LOCAL(0) %% %d];", o, s, warps, warps)
		shuffles(warps)
		return
	}
	// Through memory: every thread adds what all have put there, if they are many
	// after sixteen of them have each added a part.
	n := r.vo()
	s := r.memory(ctype, n)
	at := func(t string) string { // of inner thread t
		if r.cols {
			return fmt.Sprintf("%s[((%s) * %d + x) * %d + l]", s, t, r.to, n)
		}
		return fmt.Sprintf("%s[x * %d + (%s)]", s, r.ti, t)
	}
	lanes := fmt.Sprintf("UNROLL for (i32 l = 0; l < %d; l++)", n)
	b.P("%s %s = %s[l];", lanes, at("t"), o)
	b.P("BARRIER();")
	few := r.ti
	if r.ti > 16 {
		few = 16
		b.P("if (t < %d) { %s { %s m = %s[l]; for (i32 j = t + %d; j < %d; j += %d) m = %s; %s = m; } }",
			few, lanes, ctype, o, few, r.ti, few, join("m", at("j")), at("t"))
		b.P("BARRIER();")
	}
	b.P("%s { %s m = %s; for (i32 j = 1; j < %d; j++) m = %s; %s[l] = m; }", lanes, ctype, at("0"), few, join("m", at("j")), o)
}

// collect combines what an earlier launch has left of a reduction.
func (r *reducer) collect(i int, partial string) {
	b, in := r.b, &r.f.Code[i]
	b.P("%s o%d[%d];", register(in.DType), i, r.vo())
	b.P("UNROLL for (i32 l = 0; l < %d; l++) o%d[l] = %s;", r.vo(), i, identity(in.Op, in.DType))
	acc := fmt.Sprintf("o%d[l]", i)
	b.P("for (i32 j = t; j < %s; j += %d) { UNROLL for (i32 l = 0; l < %d; l++) %s = %s; }", r.nSlices, r.ti, r.vo(), acc,
		combine(in.Op, in.DType, acc, fmt.Sprintf("%s[((%s)j * %s + o) * %d + l]", partial, r.int(), r.nO, r.vo())))
	r.exchange(i)
}
