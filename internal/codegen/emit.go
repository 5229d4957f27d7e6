package codegen

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/philox"
)

// emitter writes the code of one part. A thread computes a block of points at once:
// steps × lanes, where the lanes are consecutive points of the last axis of some axes.
// What varies from point to point lies in arrays that become registers when the loops
// over them are unrolled; element e is lane e % lanes of step e / lanes:
//
//	gather   for every step: loads, by 16 bytes where lanes are contiguous, as words
//	compute  for every element: the code
//	scatter  for every step: stores, likewise
//
// All loads of a block come before its first store, so that they are under way
// together, and so that what is computed in place is right.
type emitter struct {
	f   *kernel.Fused
	sp  *space
	t   *Target
	b   *Builder
	ptr []string // by argument: the parameter; "" for Index

	lanes int   // V
	vec   []int // by argument: bytes of one access to the lanes of a step, 0: element by element
	steps int   // U, of the block at hand

	wide bool           // coordinates need 64 bits
	base map[int]string // of arguments of Index: parameters with their offsets, if not literals
	// flat: lanes are consecutive in the row-major order of the whole space, and may lie in
	// several rows. Arguments with vec are contiguous in that order; what others access is
	// found point by point.
	flat bool
	// outside is how an element's code names a value that was not computed with it.
	outside func(i int) string
}

// bind declares the parameters of the arguments, each place once, and lists what
// is passed.
func bind(b *Builder, part *kernel.Part, sp *space) (ptr []string, args []Arg) {
	type place struct {
		slot, offset int
		d            dtype.DType
	}
	names := make(map[place]string)
	for i := range part.Args {
		a := &part.Args[i]
		if a.Slot < 0 {
			ptr = append(ptr, "")
			continue
		}
		p := place{a.Slot, sp.offset[i], a.DType}
		if names[p] == "" {
			names[p] = b.Pointer(storage(a.DType))
			args = append(args, At(a.Slot, sp.offset[i]*a.DType.Size()))
		}
		ptr = append(ptr, names[p])
	}
	return ptr, args
}

// pass makes extents, strides and the offsets of Index parameters, for a device that
// compiles slowly and gains nothing from literals, unless they are too many or too large.
func (g *emitter) pass(p *kernel.Part) []Arg {
	if !g.t.Serial || g.wide {
		return nil
	}
	rank := len(g.sp.outer) + len(g.sp.inner)
	if paramBytes(g.b.params, g.t)+8*(2*rank+4)*(len(p.Args)+1) > g.t.ParamBytes {
		return nil
	}
	for _, axes := range [][]axis{g.sp.outer, g.sp.inner} {
		for i := range axes {
			for _, st := range axes[i].stride {
				if st > math.MaxInt32 || st < math.MinInt32 {
					return nil
				}
			}
		}
	}
	var args, more []Arg
	g.sp.outer, args = passed(g.b, g.sp.outer, len(p.Args))
	if p.Inner != nil {
		g.sp.inner, more = passed(g.b, g.sp.inner, len(p.Args))
	}
	args = append(args, more...)
	g.base = make(map[int]string)
	for i := range p.Args {
		if p.Args[i].Slot < 0 {
			g.base[i] = g.b.Number("i64")
			args = append(args, Int(g.sp.offset[i]))
		}
	}
	return args
}

// weights says what it counts that arguments are contiguous: stores more than loads,
// which can go through memory of the group; and those along inner axes only there.
func weights(f *kernel.Fused, part *kernel.Part) []int {
	w := make([]int, len(part.Args))
	for i := range f.Code {
		switch in := &f.Code[i]; in.Kind {
		case kernel.Load:
			w[in.Arg] = max(w[in.Arg], in.DType.Size())
		case kernel.Store:
			w[in.Arg] = max(w[in.Arg], 16*in.DType.Size())
		}
	}
	return w
}

// alignment is the largest power of two, up to 16, that the address of element 0 of a
// place is a multiple of.
func alignment(slots []kernel.Slot, slot, bytes int) int {
	at := slots[slot].Offset | bytes
	for _, n := range []int{16, 8, 4, 2} {
		if at%n == 0 {
			return n
		}
	}
	return 1
}

// vectors finds how the arguments can be accessed if lanes consecutive points of the
// last of axes are computed at once.
func vectors(f *kernel.Fused, part *kernel.Part, sp *space, axes []axis, lanes int, slots []kernel.Slot) []int {
	vec := make([]int, len(part.Args))
	if len(axes) == 0 {
		return vec
	}
	last := &axes[len(axes)-1]
	for i := range part.Args {
		a := &part.Args[i]
		size := a.DType.Size()
		if a.Slot < 0 || last.stride[i] != 1 || lanes*size < 4 {
			continue
		}
		bytes := min(16, lanes*size)
		ok := alignment(slots, a.Slot, sp.offset[i]*size) >= bytes
		for _, l := range [][]axis{sp.outer, sp.inner} {
			for k := range l {
				if &l[k] != last && l[k].stride[i]*size%bytes != 0 {
					ok = false
				}
			}
		}
		if ok {
			vec[i] = bytes
		}
	}
	return vec
}

// lanesFor is the number of points of the last axis that a thread computes at once, so
// that what is narrowest is accessed by 16 bytes and what is widest by at most 32. It
// divides the axis unless any is true.
func lanesFor(f *kernel.Fused, part *kernel.Part, sp *space, axes []axis, slots []kernel.Slot, anyExtent bool) int {
	if len(axes) == 0 {
		return 1
	}
	last := &axes[len(axes)-1]
	narrow, wide := 16, 1
	for i := range part.Args {
		if a := &part.Args[i]; a.Slot >= 0 && last.stride[i] == 1 {
			narrow, wide = min(narrow, a.DType.Size()), max(wide, a.DType.Size())
		}
	}
	for i := range f.Code { // registers
		wide = max(wide, min(4, f.Code[i].DType.Size()*2))
	}
	lanes := min(16/narrow, 32/wide)
	for lanes > 1 && (last.n%lanes != 0 && !anyExtent || last.n < lanes) {
		lanes /= 2
	}
	// Without any access that gains there is nothing to be had from lanes.
	for ; lanes > 1; lanes /= 2 {
		if slices.ContainsFunc(vectors(f, part, sp, axes, lanes, slots), func(n int) bool { return n > 0 }) {
			return lanes
		}
	}
	return 1
}

// flatten finds how arguments can be accessed if lanes consecutive points of the whole
// space, in row-major order, are computed at once, where rows are too odd to be cut
// evenly. It gives 1 if that is of no use.
func flatten(f *kernel.Fused, part *kernel.Part, sp *space, slots []kernel.Slot) (lanes int, vec []int) {
	n := points(sp.outer)
	if len(sp.outer) < 2 || n >= 1<<30 {
		return 1, nil
	}
	contiguous := func(arg int) bool {
		want := 1
		for k := len(sp.outer) - 1; k >= 0; k-- {
			if sp.outer[k].stride[arg] != want {
				return false
			}
			want *= sp.outer[k].n
		}
		return true
	}
	narrow, wide := 16, 4
	for i := range f.Code {
		in := &f.Code[i]
		if in.Kind == kernel.Store && !contiguous(in.Arg) {
			return 1, nil
		}
		if (in.Kind == kernel.Load || in.Kind == kernel.Store) && contiguous(in.Arg) {
			narrow, wide = min(narrow, in.DType.Size()), max(wide, in.DType.Size())
		}
	}
	for lanes = min(16/narrow, 32/wide); lanes > 1 && n%lanes != 0; {
		lanes /= 2
	}
	vec = make([]int, len(part.Args))
	for i := range part.Args {
		a := &part.Args[i]
		if bytes := min(16, lanes*a.DType.Size()); a.Slot >= 0 && contiguous(i) && bytes >= 4 {
			if alignment(slots, a.Slot, sp.offset[i]*a.DType.Size()) < bytes {
				return 1, nil
			}
			vec[i] = bytes
		}
	}
	return lanes, vec
}

func (g *emitter) int() string {
	if g.wide {
		return "i64"
	}
	return "i32"
}

// unpack declares the coordinates of the point with a linear index: of axes, whose last
// is walked by so many lanes. It gives their names.
func (g *emitter) unpack(index string, axes []axis, lanes int, prefix string) []string {
	names := make([]string, len(axes))
	u := "u32"
	if g.wide {
		u = "u64"
	}
	if len(axes) > 1 {
		g.b.P("%s %sq = (%s)(%s);", u, prefix, u, index)
	}
	for k := len(axes) - 1; k >= 0; k-- {
		names[k] = fmt.Sprintf("%s%d", prefix, k)
		n, last := axes[k].extent(1), ""
		if k == len(axes)-1 && lanes > 1 {
			n, last = axes[k].extent(lanes), fmt.Sprintf(" * %d", lanes)
		}
		switch {
		case len(axes) == 1:
			g.b.P("%s %s = (%s)%s;", g.int(), names[k], index, last)
		case k == 0:
			g.b.P("%s %s = (%s)%sq%s;", g.int(), names[k], g.int(), prefix, last)
		default:
			g.b.P("%s %s = (%s)(%sq %% %s)%s; %sq /= %s;", g.int(), names[k], g.int(), prefix, n, last, prefix, n)
		}
	}
	return names
}

// offset is the affine function of an argument at coordinates.
func (g *emitter) offset(arg int, axes []axis, names []string) string {
	cast := ""
	if !g.wide && !g.sp.narrow(arg) {
		cast = "(i64)"
	}
	var terms []string
	for k := range axes {
		if axes[k].step != nil {
			terms = append(terms, fmt.Sprintf("%s%s * %s", cast, names[k], axes[k].step[arg]))
			continue
		}
		switch st := axes[k].stride[arg]; st {
		case 0:
		case 1:
			terms = append(terms, cast+names[k])
		default:
			if cast != "" || g.wide {
				terms = append(terms, fmt.Sprintf("%s%s * (i64)%d", cast, names[k], st))
			} else {
				terms = append(terms, fmt.Sprintf("%s * %s", names[k], intLiteral(st)))
			}
		}
	}
	if len(terms) == 0 {
		return "0"
	}
	return strings.Join(terms, " + ")
}

// point is where a block lies: coordinates, in the loop over steps.
type point struct {
	outer, inner []string // names of the coordinates, nil: that they do not matter
	linear       string   // flat: the number of the first lane's point
}

// at is the offset of an argument at a point.
func (g *emitter) at(arg int, p point) string {
	if g.flat && g.vec[arg] > 0 {
		return p.linear
	}
	var terms []string
	if p.outer != nil {
		terms = append(terms, g.offset(arg, g.sp.outer, p.outer))
	}
	if p.inner != nil {
		terms = append(terms, g.offset(arg, g.sp.inner, p.inner))
	}
	terms = slices.DeleteFunc(terms, func(s string) bool { return s == "0" })
	if len(terms) == 0 {
		return "0"
	}
	return strings.Join(terms, " + ")
}

// gathered tells whether an instruction's elements are brought in by gather.
func (g *emitter) gathered(i int, laneAxes []axis) bool {
	switch g.f.Code[i].Kind {
	case kernel.Load, kernel.Index:
		return true
	}
	return g.block(i, laneAxes)
}

// block tells whether a RNGBits takes its words from whole blocks of the generator:
// the elements are consecutive and begin with a multiple of four.
func (g *emitter) block(i int, laneAxes []axis) bool {
	in := &g.f.Code[i]
	if in.Kind != kernel.Apply || in.Op != ir.RNGBits || g.lanes%4 != 0 || g.flat {
		return false
	}
	at, step := &g.f.Code[in.X[0]], &g.f.Code[in.X[1]]
	if at.Kind != kernel.Index || step.Kind != kernel.Load || g.sp.offset[at.Arg]%4 != 0 {
		return false
	}
	last := &laneAxes[len(laneAxes)-1]
	for _, l := range [][]axis{g.sp.outer, g.sp.inner} {
		for k := range l {
			want := l[k].stride[at.Arg]%4 == 0
			if &l[k] == last {
				want = l[k].stride[at.Arg] == 1
			}
			if !want || l[k].stride[step.Arg] != 0 {
				return false
			}
		}
	}
	return true
}

// words is the number of u32 that hold the lanes of one step.
func (g *emitter) words(arg int, d dtype.DType) int { return g.lanes * d.Size() / 4 }

// declare declares the arrays that gather fills.
func (g *emitter) declare(list []int) {
	for _, i := range list {
		in := &g.f.Code[i]
		if in.Kind == kernel.Load && g.vec[in.Arg] > 0 {
			g.b.P("u32 r%d[%d];", i, g.steps*g.words(in.Arg, in.DType))
		} else {
			g.b.P("%s x%d[%d];", register(in.DType), i, g.steps*g.lanes)
		}
	}
}

// gather fills the arrays at step u (an expression) from a point.
func (g *emitter) gather(list []int, p point, laneAxes []axis, u string) {
	for _, i := range list {
		in := &g.f.Code[i]
		switch {
		case in.Kind == kernel.Load && g.vec[in.Arg] > 0:
			words := g.words(in.Arg, in.DType)
			src := fmt.Sprintf("(%s + %s)", g.ptr[in.Arg], g.at(in.Arg, p))
			switch g.vec[in.Arg] {
			case 4:
				g.b.P("r%d[%s] = *(GLOBAL u32 *)%s;", i, u, src)
			case 8:
				g.b.P("{ vec8 w = *(GLOBAL vec8 *)%s; r%d[2 * (%s)] = w.x; r%d[2 * (%s) + 1] = w.y; }", src, i, u, i, u)
			default:
				for j := 0; j < words; j += 4 {
					g.b.P("{ vec16 w = ((GLOBAL vec16 *)%s)[%d]; r%d[%d * (%s) + %d] = w.x; r%d[%d * (%s) + %d] = w.y; r%d[%d * (%s) + %d] = w.z; r%d[%d * (%s) + %d] = w.w; }",
						src, j/4, i, words, u, j, i, words, u, j+1, i, words, u, j+2, i, words, u, j+3)
				}
			}
		case in.Kind == kernel.Load:
			st := lastStride(laneAxes, in.Arg)
			g.each(p, laneAxes, func(l int, p point) {
				off := g.at(in.Arg, p)
				if l > 0 && st != 0 && !g.flat {
					off += fmt.Sprintf(" + %s", intLiteral(l*st))
				}
				g.b.P("x%d[%s] = %s;", i, g.element(u, l), decode(in.DType, fmt.Sprintf("%s[%s]", g.ptr[in.Arg], off)))
			})
		case in.Kind == kernel.Index:
			st := lastStride(laneAxes, in.Arg)
			if g.flat {
				st = 0
			}
			g.each(p, laneAxes, func(l int, p point) {
				base := g.base[in.Arg]
				if base == "" {
					base = literal(dtype.Int64, uint64(g.sp.offset[in.Arg]+l*st))
				}
				g.b.P("x%d[%s] = (i64)(%s) + %s;", i, g.element(u, l), g.at(in.Arg, p), base)
			})
		default: // blocks of random words
			at, step := g.f.Code[in.X[0]].Arg, g.f.Code[in.X[1]].Arg
			key := philox.NewKey(in.RNG.Seed, in.RNG.Site)
			for l := 0; l < g.lanes; l += 4 {
				g.b.P("{ u32 a, b, c, d; philox_block((u64)((i64)(%s) + %s) >> 2, (u64)%s[0], 0x%xu, 0x%xu, &a, &b, &c, &d); x%d[%s] = (i32)a; x%d[%s] = (i32)b; x%d[%s] = (i32)c; x%d[%s] = (i32)d; }",
					g.at(at, p), literal(dtype.Int64, uint64(g.sp.offset[at]+l)), g.ptr[step], key[0], key[1],
					i, g.element(u, l), i, g.element(u, l+1), i, g.element(u, l+2), i, g.element(u, l+3))
			}
		}
	}
}

// each calls f for every lane of a step, with the point that its coordinates are at.
func (g *emitter) each(p point, axes []axis, f func(l int, p point)) {
	for l := range g.lanes {
		if !g.flat {
			f(l, p)
			continue
		}
		g.b.P("{")
		f(l, point{outer: g.unpack(fmt.Sprintf("%s + %d", p.linear, l), axes, 1, "a"), linear: p.linear})
		g.b.P("}")
	}
}

func (g *emitter) element(u string, lane int) string {
	if g.lanes == 1 {
		return u
	}
	return fmt.Sprintf("%d * (%s) + %d", g.lanes, u, lane)
}

// compute writes the code of element e for the instructions of a list, which are in
// order. Values are named v and their number. Gathered ones are read from their arrays.
func (g *emitter) compute(list []int, isGathered func(i int) bool, e string) error {
	here := make(map[int]bool, len(list))
	for _, i := range list {
		here[i] = true
	}
	name := func(i int) string {
		in := &g.f.Code[i]
		switch {
		case in.Kind == kernel.Imm:
			return literal(in.DType, in.Bits)
		case here[i]:
			return fmt.Sprintf("v%d", i)
		}
		return g.outside(i)
	}
	for _, i := range list {
		in := &g.f.Code[i]
		if in.Kind == kernel.Imm || in.Kind == kernel.Store {
			continue
		}
		var text string
		switch {
		case isGathered(i) && in.Kind == kernel.Load && g.vec[in.Arg] > 0:
			text = decodeWord(in.DType, fmt.Sprintf("r%d", i), e)
		case isGathered(i):
			text = fmt.Sprintf("x%d[%s]", i, e)
		case in.Kind == kernel.Apply && in.Op == ir.RNGBits:
			key := philox.NewKey(in.RNG.Seed, in.RNG.Site)
			text = fmt.Sprintf("philox_word((u64)%s, (u64)%s, 0x%xu, 0x%xu)", name(in.X[0]), name(in.X[1]), key[0], key[1])
		case in.Kind == kernel.Apply:
			var x [3]string
			for k, o := range in.Operands() {
				x[k] = name(o)
			}
			var err error
			d := in.DType
			if in.Op != ir.Bitcast && d.Compute() != d && g.stored(i) {
				d = d.Compute() // the store rounds
			}
			if text, err = apply(in.Op, d, g.f.Code[in.X[0]].DType, x); err != nil {
				return err
			}
		default:
			return fmt.Errorf("codegen: %s: instruction %d cannot stand here", g.f.Name, i)
		}
		g.b.P("%s v%d = %s;", register(in.DType), i, text)
	}
	return nil
}

// stored tells whether a value is stored and not used otherwise.
func (g *emitter) stored(i int) bool {
	for j := range g.f.Code {
		if in := &g.f.Code[j]; in.Kind != kernel.Store && slices.Contains(in.Operands(), i) {
			return false
		}
	}
	return true
}

// value names an operand of a store or a reduction in the code of an element.
func (g *emitter) value(i int, list []int) string {
	in := &g.f.Code[i]
	switch {
	case in.Kind == kernel.Imm:
		return literal(in.DType, in.Bits)
	case slices.Contains(list, i):
		return fmt.Sprintf("v%d", i)
	}
	return g.outside(i)
}

// scatter stores step u of the arrays y.
func (g *emitter) scatter(stores []int, p point, laneAxes []axis, u string) {
	for _, i := range stores {
		in := &g.f.Code[i]
		if g.vec[in.Arg] == 0 {
			st := lastStride(laneAxes, in.Arg)
			g.each(p, laneAxes, func(l int, p point) {
				off := g.at(in.Arg, p)
				if l > 0 && !g.flat {
					off += fmt.Sprintf(" + %s", intLiteral(l*st))
				}
				g.b.P("%s[%s] = %s;", g.ptr[in.Arg], off, encode(in.DType, fmt.Sprintf("y%d[%s]", i, g.element(u, l))))
			})
			continue
		}
		words := g.words(in.Arg, in.DType)
		dst := fmt.Sprintf("(%s + %s)", g.ptr[in.Arg], g.at(in.Arg, p))
		word := func(j int) string {
			return encodeWord(in.DType, fmt.Sprintf("y%d", i), fmt.Sprintf("%d * (%s) + %d", words, u, j))
		}
		switch g.vec[in.Arg] {
		case 4:
			g.b.P("*(GLOBAL u32 *)%s = %s;", dst, word(0))
		case 8:
			g.b.P("{ vec8 w; w.x = %s; w.y = %s; *(GLOBAL vec8 *)%s = w; }", word(0), word(1), dst)
		default:
			for j := 0; j < words; j += 4 {
				g.b.P("{ vec16 w; w.x = %s; w.y = %s; w.z = %s; w.w = %s; ((GLOBAL vec16 *)%s)[%d] = w; }", word(j), word(j+1), word(j+2), word(j+3), dst, j/4)
			}
		}
	}
}

// needed lists, in order, what the given instructions are computed from, themselves
// among it, without what stop holds for.
func needed(f *kernel.Fused, of []int, stop func(i int) bool) []int {
	mark := make([]bool, len(f.Code))
	for _, i := range of {
		mark[i] = true
	}
	var list []int
	for i := len(f.Code) - 1; i >= 0; i-- {
		if !mark[i] {
			continue
		}
		if stop(i) {
			continue
		}
		list = append(list, i)
		for _, o := range f.Code[i].Operands() {
			mark[o] = true
		}
	}
	slices.Reverse(list)
	return list
}
