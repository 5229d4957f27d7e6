package codegen

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// threads of a group of a Loop.
const loopThreads = 256

// loop writes a kernel without reductions. A thread computes U steps of V consecutive
// points, each step as far behind the one before as a group has points, so that the
// threads of a group read memory without gaps.
func loop(f *kernel.Fused, p *kernel.Part, w []int, slots []kernel.Slot, t *Target) ([]Launch, error) {
	sp := simplify(p, w)
	lanes := 1
	if !t.Serial { // where threads run one after the other, the compiler makes vectors of them
		if a := transposed(f, p, sp); a >= 0 {
			return tiles(f, p, sp, a, t)
		}
		lanes = lanesFor(f, p, sp, sp.outer, slots, len(sp.outer) == 1)
	}
	flat, flatVec := 1, []int(nil)
	if lanes == 1 && !t.Serial {
		if flat, flatVec = flatten(f, p, sp, slots); flat > 1 {
			lanes = flat
		}
	}
	n := points(sp.outer)
	whole, tail := n/lanes, n%lanes // a tail only of a single axis
	steps := loopSteps(f, p, sp, lanes, whole, t)
	threads := loopThreads
	for threads > 64 && !t.Serial && ceil(whole, threads*steps) < t.Units {
		threads /= 2
	}

	b := NewBuilder(f.Name, threads)
	g := &emitter{f: f, sp: sp, t: t, b: b, lanes: lanes, steps: steps, wide: n >= 1<<30}
	var args []Arg
	g.ptr, args = bind(b, p, sp)
	count := b.Number("i64")
	args = append(args, Int(whole))
	if g.vec = flatVec; flat == 1 {
		g.vec = vectors(f, p, sp, sp.outer, lanes, slots)
	}
	g.flat = flat > 1
	// One axis without strides but 0 and 1 is code for any extent as it is.
	if plain := len(sp.outer) == 1 && !slices.ContainsFunc(sp.outer[0].stride, func(st int) bool { return st&^1 != 0 }); !plain {
		args = append(args, g.pass(p)...)
	}

	b.P("%s count = (%s)%s;", g.int(), g.int(), count)
	b.P("%s first = (%s)GROUP(0) * %d + LOCAL(0);", g.int(), g.int(), threads*steps)
	if tail > 0 {
		b.P("if (first < count) {")
	}
	err := g.block1("first", fmt.Sprint(threads), "count", t.Serial || whole%(threads*steps) != 0, sp.outer)
	if err != nil {
		return nil, err
	}
	if tail > 0 {
		b.P("}")
		// The first threads of the first group compute what is left, point by point.
		b.P("if (GROUP(0) == 0 && LOCAL(0) < %d) {", tail)
		b.P("%s rest = count * %d + LOCAL(0);", g.int(), lanes)
		g.lanes, g.steps, g.vec = 1, 1, make([]int, len(p.Args))
		if err := g.block1("rest", "0", "", false, sp.outer); err != nil {
			return nil, err
		}
		b.P("}")
	}
	k := b.Kernel()
	if err := fits(k, t); err != nil {
		return nil, err
	}
	return []Launch{k.Launch([3]int{max(1, ceil(whole, threads*steps)), 1, 1}, args...)}, nil
}

// loopSteps is how many steps a thread does: four accesses of 16 bytes should be under
// way, unless that leaves multiprocessors without work or registers short.
func loopSteps(f *kernel.Fused, p *kernel.Part, sp *space, lanes, whole int, t *Target) int {
	loads := 0
	for i := range p.Args {
		if a := &p.Args[i]; a.Slot >= 0 && lastStride(sp.outer, i) != 0 {
			loads += ceil(lanes*a.DType.Size(), 16)
		}
	}
	steps := 4
	if t.Serial {
		return 1
	}
	if lanes == 1 {
		steps = 8
	}
	for steps > 1 && (steps*loads > 8 || steps*lanes > 32 || ceil(whole, loopThreads*steps) < 2*t.Units) {
		steps /= 2
	}
	return steps
}

// block1 writes all of the code for the points from index first on, in steps of stride,
// below count if guarded.
func (g *emitter) block1(first, stride, count string, guarded bool, axes []axis) error {
	b := g.b
	gathered := func(i int) bool { return g.gathered(i, axes) }
	stores := g.stores(all)
	code := needed(g.f, stores, never)
	loads := slices.DeleteFunc(slices.Clone(code), func(i int) bool { return !gathered(i) })
	g.outside = func(i int) string { panic("codegen: a Loop has nothing outside") }

	g.declare(loads)
	b.P("UNROLL for (i32 u = 0; u < %d; u++) {", g.steps)
	b.P("%s c = %s + u * %s;", g.int(), first, stride)
	if guarded {
		b.P("c = c < %s ? c : %s - 1;", count, count)
	}
	b.P("{")
	g.gather(loads, g.lane("c", axes), axes, "u")
	b.P("}\n}")
	for _, i := range stores {
		b.P("%s y%d[%d];", register(g.f.Code[i].DType), i, g.steps*g.lanes)
	}
	b.P("UNROLL for (i32 e = 0; e < %d; e++) {", g.steps*g.lanes)
	if err := g.compute(code, gathered, "e"); err != nil {
		return err
	}
	for _, i := range stores {
		b.P("y%d[e] = %s;", i, g.value(g.f.Code[i].X[0], code))
	}
	b.P("}")
	b.P("UNROLL for (i32 u = 0; u < %d; u++) {", g.steps)
	b.P("%s c = %s + u * %s;", g.int(), first, stride)
	if guarded {
		b.P("if (c < %s) {", count)
	} else {
		b.P("{")
	}
	g.scatter(stores, g.lane("c", axes), axes, "u")
	b.P("}\n}")
	return nil
}

// lane is the point of the first lane of the vector with a number.
func (g *emitter) lane(index string, axes []axis) point {
	if g.flat {
		return point{linear: fmt.Sprintf("%s * %d", index, g.lanes)}
	}
	return point{outer: g.unpack(index, axes, g.lanes, "a")}
}

// A transposing Loop goes through tiles of side × side points.
const side = 32

// transposed is an axis, not the last, along which loads are contiguous that are not
// along the last, if that is worth going through the memory of the group; else -1.
func transposed(f *kernel.Fused, p *kernel.Part, sp *space) int {
	if len(sp.outer) < 2 || points(sp.outer) < 8192 || points(sp.outer) >= 1<<30 {
		return -1
	}
	last := len(sp.outer) - 1
	best, most := -1, 0
	for k := range last {
		if sp.outer[k].n < side/2 || sp.outer[last].n < side/2 {
			continue
		}
		n := 0
		for _, i := range staged(f, sp, k) {
			n += f.Code[i].DType.Size()
		}
		if n > most {
			best, most = k, n
		}
	}
	return best
}

// staged lists the loads that are contiguous along axis k and not along the last.
func staged(f *kernel.Fused, sp *space, k int) []int {
	last := len(sp.outer) - 1
	return list(f, func(i int) bool {
		in := &f.Code[i]
		if in.Kind != kernel.Load || sp.outer[k].stride[in.Arg] != 1 {
			return false
		}
		st := sp.outer[last].stride[in.Arg]
		return st > 1 || st < -1
	})
}

// tiles writes a Loop with loads that are contiguous along axis k while the rest is
// along the last axis. A group reads a tile of each of those loads along k into memory
// of its own, and computes the tile along the last axis.
func tiles(f *kernel.Fused, p *kernel.Part, sp *space, k int, t *Target) ([]Launch, error) {
	const rows = 8 // of threads
	stage := staged(f, sp, k)
	last := len(sp.outer) - 1
	b := NewBuilder(f.Name, side*rows)
	g := &emitter{f: f, sp: sp, t: t, b: b, lanes: 1, steps: side / rows, vec: make([]int, len(p.Args))}
	var args []Arg
	g.ptr, args = bind(b, p, sp)
	room := 0
	for n, i := range stage {
		room += side * (side + 1) * f.Code[i].DType.Size()
		if room > t.Local {
			stage = stage[:n]
			break
		}
		b.P("SHARED %s s%d[%d];", storage(f.Code[i].DType), i, side*(side+1))
	}

	// The group's tile: other axes, and the corner.
	nk, nl := sp.outer[k].n, sp.outer[last].n
	across, along := ceil(nk, side), ceil(nl, side)
	rest := slices.Concat(sp.outer[:k], sp.outer[k+1:last])
	b.P("i32 x = LOCAL(0) %% %d, y = LOCAL(0) / %d;", side, side)
	b.P("i32 tile = GROUP(0);")
	b.P("i32 along = tile %% %d * %d; tile /= %d;", along, side, along)
	b.P("i32 across = tile %% %d * %d; tile /= %d;", across, side, across)
	others := g.unpack("tile", rest, 1, "a")
	names := slices.Concat(others[:k], []string{"k"}, others[k:], []string{"l"})
	inside := func(k, l string) string {
		s := "1"
		if nk%side != 0 {
			s += fmt.Sprintf(" && %s < %d", k, nk)
		}
		if nl%side != 0 {
			s += fmt.Sprintf(" && %s < %d", l, nl)
		}
		return s
	}
	b.P("UNROLL for (i32 u = 0; u < %d; u++) {", g.steps)
	b.P("i32 k = across + x, l = along + y + u * %d;", rows)
	b.P("if (%s) {", inside("k", "l"))
	for _, i := range stage {
		in := &f.Code[i]
		b.P("s%d[(y + u * %d) * %d + x] = %s[%s];", i, rows, side+1, g.ptr[in.Arg], g.at(in.Arg, point{outer: names}))
	}
	b.P("}\n}\nBARRIER();")

	stores := g.stores(all)
	code := needed(f, stores, never)
	isStaged := func(i int) bool { return slices.Contains(stage, i) }
	gathered := func(i int) bool { return g.gathered(i, sp.outer) }
	loads := slices.DeleteFunc(slices.Clone(code), func(i int) bool { return !gathered(i) || isStaged(i) })
	g.outside = func(i int) string { panic("codegen: a Loop has nothing outside") }
	g.declare(loads)
	for _, i := range stage {
		b.P("%s x%d[%d];", register(f.Code[i].DType), i, g.steps)
	}
	b.P("UNROLL for (i32 u = 0; u < %d; u++) {", g.steps)
	b.P("i32 l = along + x, k = across + y + u * %d;", rows)
	if nk%side != 0 {
		b.P("k = k < %d ? k : %d;", nk, nk-1)
	}
	if nl%side != 0 {
		b.P("l = l < %d ? l : %d;", nl, nl-1)
	}
	g.gather(loads, point{outer: names}, sp.outer, "u")
	for _, i := range stage {
		b.P("x%d[u] = %s;", i, decode(f.Code[i].DType, fmt.Sprintf("s%d[(l - along) * %d + k - across]", i, side+1)))
	}
	b.P("}")
	for _, i := range stores {
		b.P("%s y%d[%d];", register(f.Code[i].DType), i, g.steps)
	}
	b.P("UNROLL for (i32 e = 0; e < %d; e++) {", g.steps)
	if err := g.compute(code, gathered, "e"); err != nil {
		return nil, err
	}
	for _, i := range stores {
		b.P("y%d[e] = %s;", i, g.value(f.Code[i].X[0], code))
	}
	b.P("}")
	b.P("UNROLL for (i32 u = 0; u < %d; u++) {", g.steps)
	b.P("i32 l = along + x, k = across + y + u * %d;", rows)
	b.P("if (%s) {", inside("k", "l"))
	g.scatter(stores, point{outer: names}, sp.outer, "u")
	b.P("}\n}")

	kn := b.Kernel()
	if err := fits(kn, t); err != nil {
		return nil, err
	}
	return []Launch{kn.Launch([3]int{points(rest) * across * along, 1, 1}, args...)}, nil
}
