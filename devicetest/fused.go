package devicetest

import (
	"fmt"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
	"github.com/sinter-dl/sinter/internal/shape"
)

// loops are Loop kernels of more than one operation.
func (s *suite) loops(t *testing.T) {
	t.Run("several outputs", s.severalOutputs)
	t.Run("literals", s.literals)
	t.Run("index", s.indexArguments)
	t.Run("random layouts", s.randomLayouts)
	t.Run("in place", s.inPlace)
	t.Run("withheld", s.withheld)
}

// One kernel, one pass over its operands, results of several types that go to
// several places, one of them to two.
func (s *suite) severalOutputs(t *testing.T) {
	r := random(2)
	p := s.program(t)
	for _, sh := range [][]int{{3, 5}, {70, 1030}, {1, 1}} {
		rows, cols := sh[0], sh[1]
		n := rows * cols
		x, b := p.leaf(short(r, dtype.Float32, n)), p.leaf(short(r, dtype.Float32, cols))
		sum, mask := p.output("x+b", dtype.Float32, n), p.output("x+b > 0", dtype.Bool, n)
		relu, turned := p.output("relu as bfloat16", dtype.BFloat16, n), p.output("relu transposed", dtype.Float32, n)
		half := p.output("relu as float16", dtype.Float16, n)
		whole := p.output("whole part", dtype.Int8, n)
		k := newKernel("several outputs", sh, nil)
		y := k.apply(ir.Add, k.load(p.view(x, 0, cols, 1)), k.load(p.view(b, 0, 0, 1)))
		zero := k.imm(dtype.Float32, 0)
		above := k.apply(ir.Lt, zero, y)
		rectified := k.apply(ir.Select, above, y, zero)
		k.store(y, p.view(sum, 0, cols, 1))
		k.store(above, p.view(mask, 0, cols, 1))
		k.store(k.typed(ir.Convert, dtype.BFloat16, rectified), p.view(relu, 0, cols, 1))
		k.store(k.typed(ir.Convert, dtype.Float16, rectified), p.view(half, 0, cols, 1))
		k.store(rectified, p.view(turned, 0, 1, rows))
		k.store(k.typed(ir.Convert, dtype.Int8, y), p.view(whole, 0, cols, 1))
		p.Steps = append(p.Steps, k.f)
	}
	// Two halves of one result, as a concatenation writes them.
	x, both := p.leaf(short(r, dtype.Int32, 12)), p.output("both halves", dtype.Int32, 24)
	k := newKernel("concatenate", []int{4, 3}, nil)
	v := k.load(p.view(x, 0, 3, 1))
	k.store(v, p.view(both, 0, 6, 1))
	k.store(k.apply(ir.Neg, v), p.view(both, 3, 6, 1))
	p.Steps = append(p.Steps, k.f)
	p.run()
}

// A literal alone fills a tensor, or part of one.
func (s *suite) literals(t *testing.T) {
	p := s.program(t)
	for _, d := range dtype.All() {
		values := []float64{0, 1, 100}
		switch low, high := scalar.Limits(d); {
		case d == dtype.Bool:
			values = []float64{0, 1}
		case d.IsFloat():
			values = []float64{0, minusZero, 1, -1.5, 0.1, 60000, inf, -inf, nan}
		case d != dtype.Int64:
			values = append(values, float64(low), float64(high))
		}
		for _, v := range values {
			out := p.output(fmt.Sprintf("%v %v", d, v), d, 400)
			k := newKernel("fill", []int{19, 7}, nil)
			k.store(k.imm(d, v), p.view(out, 3, 20, 2))
			p.Steps = append(p.Steps, k.f)
		}
	}
	p.run()
}

// Coordinates come as Index values: affine functions of the point.
func (s *suite) indexArguments(t *testing.T) {
	p := s.program(t)
	for _, c := range []struct {
		extent []int
		offset int
		stride []int
	}{
		{[]int{2000}, 0, []int{1}},
		{[]int{2000}, 1 << 40, []int{-3}},
		{[]int{7, 300}, 5, []int{300, 1}},
		{[]int{300, 7}, -5, []int{0, 1}},
		{[]int{3, 40, 50}, 0, []int{0, 1, 0}},
		{[]int{3, 40, 50}, -1, []int{-1, 1000, 1 << 33}},
		{nil, 77, nil},
	} {
		out := p.output(fmt.Sprintf("%d + %v·p for %v", c.offset, c.stride, c.extent), dtype.Int64, product(c.extent))
		wide := p.output("the same as float32", dtype.Float32, product(c.extent))
		k := newKernel("index", c.extent, nil)
		i := k.index(c.offset, c.stride...)
		st := shape.Strides(c.extent)
		k.store(i, p.view(out, 0, st...))
		k.store(k.typed(ir.Convert, dtype.Float32, i), p.view(wide, 0, st...))
		p.Steps = append(p.Steps, k.f)
	}
	p.run()
}

// Operands and results in random layouts: axes in any order, gaps, repetition,
// reversal, axes of extent 1, up to seven axes.
func (s *suite) randomLayouts(t *testing.T) {
	r := random(3)
	p := s.program(t)
	for n := range 150 {
		extent := make([]int, r.IntN(8))
		for i := range extent {
			extent[i] = []int{1, 2, 3, 4, 7, 17}[r.IntN(max(2, 7-len(extent)))]
		}
		if len(extent) > 0 && r.IntN(3) == 0 && product(extent) < 500 {
			extent[r.IntN(len(extent))] *= 40
		}
		// layout is a random place for elements of the space, and how many it takes.
		layout := func(repeat bool) (place, int) {
			l := place{stride: make([]int, len(extent))}
			next := 1 + r.IntN(2)*r.IntN(2)
			for _, a := range r.Perm(len(extent)) {
				if repeat && r.IntN(4) == 0 {
					continue
				}
				l.stride[a] = next
				if r.IntN(4) == 0 {
					l.stride[a] = -next
					l.offset += next * (extent[a] - 1)
				}
				next = next*extent[a] + r.IntN(4)/3*r.IntN(3)
			}
			l.offset += r.IntN(3)
			return l, next + 4
		}
		d := numeric[r.IntN(len(numeric))]
		k := newKernel(fmt.Sprintf("layout %d", n), extent, nil)
		operand := func() int {
			l, size := layout(true)
			return k.load(p.view(p.leaf(short(r, d, size)), l.offset, l.stride...))
		}
		a, b, c := operand(), operand(), operand()
		// A value of each kind: computed, selected, moved as it is.
		for i, v := range []int{k.apply(ir.Select, k.apply(ir.Lt, a, b), k.apply(ir.Add, a, c), k.apply(ir.Sub, a, b)), c} {
			l, size := layout(false)
			out := p.output(fmt.Sprintf("%v layout %d, result %d of %v", d, n, i, extent), d, size)
			k.store(v, p.view(out, l.offset, l.stride...))
		}
		p.Steps = append(p.Steps, k.f)
	}
	p.run()
}

// A Loop may write over what it reads, at the point where it reads it: the same
// slot, or another slot at the same place in the arena. What it has loaded keeps
// its value, although it is used after the place was written.
func (s *suite) inPlace(t *testing.T) {
	r := random(4)
	p := s.program(t)
	for _, d := range []dtype.DType{dtype.Float32, dtype.Float64, dtype.Float16, dtype.Int32} {
		for _, n := range []int{1, 100, 5000} {
			name := fmt.Sprintf("%v, %d elements: ", d, n)
			// An update of a variable.
			x, g := p.leaf(short(r, d, n)), p.leaf(short(r, d, n))
			p.names[x] = name + "leaf"
			old := p.output(name+"old value", d, n)
			k := newKernel("update", []int{n}, nil)
			v := k.load(p.view(x, 0, 1))
			k.store(k.apply(ir.Sub, v, k.load(p.view(g, 0, 1))), p.view(x, 0, 1))
			k.store(v, p.view(old, 0, 1))
			p.Steps = append(p.Steps, k.f)

			// The same with slots of their own, in the arena.
			a := p.arena(d, n)
			b := p.arenaAt(p.Slots[a].Offset, d, n)
			p.copies(g, a)
			sum, twice := p.output(name+"a+1", d, n), p.output(name+"2a, after a+1 was written over a", d, n)
			k = newKernel("in place", []int{n}, nil)
			v = k.load(p.view(a, 0, 1))
			k.store(k.apply(ir.Add, v, k.imm(d, 1)), p.view(b, 0, 1))
			k.store(k.apply(ir.Add, v, v), p.view(twice, 0, 1))
			p.Steps = append(p.Steps, k.f)
			p.copies(b, sum)

			// Two values exchange their places.
			a, b = p.arena(d, n), p.arena(d, n)
			a2, b2 := p.arenaAt(p.Slots[a].Offset, d, n), p.arenaAt(p.Slots[b].Offset, d, n)
			p.copies(x, a)
			p.copies(g, b)
			k = newKernel("exchange", []int{n}, nil)
			v, w := k.load(p.view(a, 0, 1)), k.load(p.view(b, 0, 1))
			k.store(v, p.view(b2, 0, 1))
			k.store(w, p.view(a2, 0, 1))
			p.Steps = append(p.Steps, k.f)
			first, second := p.output(name+"exchanged, first", d, n), p.output(name+"exchanged, second", d, n)
			p.copies(a2, first)
			p.copies(b2, second)
		}
	}
	p.run()
}

// An update that is written or withheld, as one condition says for all elements: a
// step of the optimizer when the loss scale may have overflowed. What is withheld
// is the old value, to the bit; other stores of the kernel see the same choice.
func (s *suite) withheld(t *testing.T) {
	r := random(14)
	p := s.program(t)
	for _, d := range []dtype.DType{dtype.Float32, dtype.Float64, dtype.BFloat16, dtype.Float16, dtype.Int32} {
		for i, n := range []int{7, 8, 3000, 3001} {
			ok := i%2 == 0
			for way := range 4 {
				name := fmt.Sprintf("%v, %d elements, update %v, way %d: ", d, n, ok, way)
				cond := newTensor(dtype.Bool)
				cond.v[0].I = scalar.Truth(ok)
				w, g, m := p.leaf(short(r, d, n)), p.leaf(short(r, d, n)), p.leaf(short(r, d, n))
				p.names[w], p.names[m] = name+"w", name+"m"
				c := p.leaf(cond)
				k := newKernel("withheld", []int{n}, nil)
				// The condition is known before the values or only after them, it is
				// loaded or computed, and the old value is the first choice or the second.
				condition := func() int {
					v := k.load(p.view(c, 0, 0))
					if way&1 != 0 {
						v = k.apply(ir.Not, v)
					}
					return v
				}
				choose := func(c, x, old int) int {
					if way&1 != 0 {
						x, old = old, x
					}
					return k.apply(ir.Select, c, x, old)
				}
				before := -1
				if way&2 == 0 {
					before = condition()
				}
				wv, gv, mv := k.load(p.view(w, 0, 1)), k.load(p.view(g, 0, 1)), k.load(p.view(m, 0, 1))
				next := k.apply(ir.Add, k.apply(ir.Mul, mv, gv), gv)
				update := k.apply(ir.Sub, wv, next)
				if before < 0 {
					before = condition()
				}
				chosen := choose(before, update, wv)
				k.store(chosen, p.view(w, 0, 1))
				k.store(choose(before, next, mv), p.view(m, 0, 1))
				for what, v := range []int{chosen, wv, update} {
					k.store(v, p.view(p.output(name+[]string{"copy of w", "old w", "update"}[what], d, n), 0, 1))
				}
				p.Steps = append(p.Steps, k.f)

				// The same without anything else that is stored.
				w, g = p.leaf(short(r, d, n)), p.leaf(short(r, d, n))
				p.names[w] = name + "w alone"
				k = newKernel("withheld alone", []int{n}, nil)
				if before = -1; way&2 == 0 {
					before = condition()
				}
				wv = k.load(p.view(w, 0, 1))
				update = k.apply(ir.Sub, wv, k.load(p.view(g, 0, 1)))
				if before < 0 {
					before = condition()
				}
				k.store(choose(before, update, wv), p.view(w, 0, 1))
				p.Steps = append(p.Steps, k.f)
			}
		}
	}
	p.run()
}

// reductions are Reduce kernels: every reduction of every type, over axes at the
// end, at the front, in the middle and over all, of lengths around the sizes at
// which backends cut; then what comes before and after a reduction.
func (s *suite) reductions(t *testing.T) {
	t.Run("plain", s.plainReductions)
	t.Run("sums", s.sums)
	t.Run("nan", s.nanReductions)
	t.Run("producers and epilogues", s.reduceEpilogues)
	t.Run("nothing", s.emptyReductions)
}

// reduced is a tensor, row-major, of which some axes are reduced.
type reduced struct {
	outer, inner []int
	stride       []int // of the outer axes and then of the inner ones
}

var reducedShapes = []reduced{
	{[]int{5}, []int{1}, []int{1, 1}},
	{[]int{13}, []int{37}, []int{37, 1}},
	{[]int{37}, []int{13}, []int{1, 37}},
	{nil, []int{1000}, []int{1}},
	{nil, []int{70001}, []int{1}},
	{[]int{3}, []int{9000}, []int{9000, 1}},
	{[]int{300}, []int{400}, []int{1, 300}},
	{[]int{4, 6}, []int{5, 7}, []int{210, 7, 42, 1}},      // [4, 5, 6, 7] over axes 1 and 3
	{[]int{6}, []int{5, 70}, []int{70, 420, 1}},           // [5, 6, 70] over axes 0 and 2
	{[]int{2, 3}, []int{16, 16}, []int{3, 1, 96, 6}},      // [16, 16, 2, 3] over the first two
	{[]int{9}, []int{31}, []int{-31, 2}},                  // backwards, every second
	{[]int{5}, []int{7}, []int{1, 0}},                     // the same element all along a row
	{[]int{5}, []int{7}, []int{0, 1}},                     // the same row for all
	{[]int{1, 8, 1}, []int{1, 20}, []int{0, 20, 0, 0, 1}}, // axes of extent 1
}

// elements is the size of the tensor and the place of its first element.
func (c *reduced) elements() (n, offset int) {
	low, high := 0, 0
	for i, e := range append(append([]int(nil), c.outer...), c.inner...) {
		low, high = low+min(0, c.stride[i]*(e-1)), high+max(0, c.stride[i]*(e-1))
	}
	return high - low + 1, -low
}

// outerStrides are the strides of a row-major result, which does not vary along
// the inner axes.
func (c *reduced) outerStrides() []int {
	return append(shape.Strides(c.outer), make([]int, len(c.inner))...)
}

// reduction adds a kernel that reduces x as it is.
func (p *program) reduction(op ir.Op, c reduced, x tensor, offset int, name string) (out int) {
	k := newKernel(op.String(), c.outer, c.inner)
	out = p.output(fmt.Sprintf("%v %v %v over %v%s", op, x.dtype, c.outer, c.inner, name), x.dtype, product(c.outer))
	v := k.load(p.view(p.leaf(x), offset, c.stride...))
	k.f.Code[v].Inner = true
	k.store(k.reduce(op, v), p.view(out, 0, c.outerStrides()...))
	p.Steps = append(p.Steps, k.f)
	return out
}

func (s *suite) plainReductions(t *testing.T) {
	r := random(5)
	for _, d := range dtype.All() {
		p := s.program(t)
		for _, op := range []ir.Op{ir.ReduceSum, ir.ReduceMax, ir.ReduceMin} {
			if d == dtype.Bool && op == ir.ReduceSum {
				continue // bool is not added
			}
			for _, c := range reducedShapes {
				n, offset := c.elements()
				out := p.reduction(op, c, short(r, d, n), offset, "")
				if op != ir.ReduceSum {
					p.within(out, tolerance{zeros: true})
				}
			}
		}
		p.run()
	}
}

func (s *suite) sums(t *testing.T) {
	r := random(6)
	p := s.program(t)
	for _, d := range floats {
		for _, c := range reducedShapes {
			n, offset := c.elements()
			out := p.reduction(ir.ReduceSum, c, positive(r, d, n), offset, ", positive numbers")
			a := tolerance{ulps: 16}
			if d.Compute() != d {
				a.ulps = 1
			}
			p.within(out, a)
		}
	}
	// Integers wrap.
	for _, d := range integers {
		x := newTensor(d, 3, 500)
		for i := range x.v {
			x.v[i] = scalar.Rounded(d, number{I: int64(r.Uint64())})
		}
		p.reduction(ir.ReduceSum, reduced{[]int{3}, []int{500}, []int{500, 1}}, x, 0, ", wrapping")
	}
	p.run()
}

// A NaN anywhere in a row is the row's extreme, and its sum.
func (s *suite) nanReductions(t *testing.T) {
	r := random(7)
	for _, d := range floats {
		p := s.program(t)
		for _, op := range []ir.Op{ir.ReduceSum, ir.ReduceMax, ir.ReduceMin} {
			for _, n := range []int{1, 5, 40, 3000} {
				for _, c := range []reduced{{[]int{21}, []int{n}, []int{n, 1}}, {[]int{21}, []int{n}, []int{1, 21}}} {
					x := short(r, d, 21*n)
					for row := range 21 {
						bad := []float64{nan, inf, -inf}[row%3]
						x.v[row*c.stride[0]+r.IntN(n)*c.stride[1]].F = bad
					}
					p.reduction(op, c, x, 0, fmt.Sprintf(" strides %v, a NaN", c.stride))
				}
			}
		}
		for i := range p.allow {
			p.within(i, tolerance{zeros: true})
		}
		p.run()
	}
}

// reduceEpilogues has producers before the reduction and an epilogue after it,
// several reductions in one pass, and one over a product with an operand that does
// not vary along the inner axes.
func (s *suite) reduceEpilogues(t *testing.T) {
	r := random(8)
	p := s.program(t)
	for _, d := range floats {
		for _, c := range reducedShapes {
			n, offset := c.elements()
			points := product(c.outer)
			x, w := p.leaf(short(r, d, n)), p.leaf(short(r, d, points))
			name := fmt.Sprintf("%v %v over %v: ", d, c.outer, c.inner)
			norm, spread := p.output(name+"Σx²/n + 1", dtype.Float32, points), p.output(name+"max(w·x) − min x", d, points)
			p.within(norm, tolerance{ulps: 16})

			k := newKernel("producers and epilogue", c.outer, c.inner)
			v := k.load(p.view(x, offset, c.stride...))
			k.f.Code[v].Inner = true
			u := k.load(p.view(w, 0, c.outerStrides()...))
			f := k.typed(ir.Convert, dtype.Float32, v)
			sum := k.reduce(ir.ReduceSum, k.apply(ir.Mul, f, f))
			mean := k.apply(ir.Div, sum, k.imm(dtype.Float32, float64(product(c.inner))))
			k.store(k.apply(ir.Add, mean, k.imm(dtype.Float32, 1)), p.view(norm, 0, c.outerStrides()...))
			high, low := k.reduce(ir.ReduceMax, k.apply(ir.Mul, v, u)), k.reduce(ir.ReduceMin, v)
			k.store(k.apply(ir.Sub, high, low), p.view(spread, 0, c.outerStrides()...))
			p.Steps = append(p.Steps, k.f)
		}
	}
	p.run()
}

// The sum of nothing is zero; no rows give nothing.
func (s *suite) emptyReductions(t *testing.T) {
	p := s.program(t)
	for _, d := range numeric {
		p.reduction(ir.ReduceSum, reduced{[]int{5}, []int{0}, []int{0, 1}}, newTensor(d, 0), 0, "")
		p.reduction(ir.ReduceSum, reduced{nil, []int{0, 4}, []int{4, 1}}, newTensor(d, 0), 0, "")
		p.reduction(ir.ReduceSum, reduced{[]int{0}, []int{5}, []int{5, 1}}, newTensor(d, 0), 0, "")
		p.reduction(ir.ReduceMax, reduced{[]int{0}, []int{5}, []int{5, 1}}, newTensor(d, 0), 0, "")
	}
	p.run()
}

// rowShapes are rows along the last axis, along the first, and over two axes, few
// and many, short and long.
var rowShapes = []reduced{
	{[]int{1}, []int{1}, []int{1, 1}},
	{[]int{40}, []int{7}, []int{7, 1}},
	{[]int{9}, []int{64}, []int{64, 1}},
	{[]int{30}, []int{1000}, []int{1000, 1}},
	{[]int{2}, []int{6000}, []int{6000, 1}},
	{nil, []int{20011}, []int{1}},
	{[]int{50}, []int{33}, []int{1, 50}},
	{[]int{300}, []int{200}, []int{1, 300}},
	{[]int{3, 4}, []int{5, 6}, []int{120, 6, 24, 1}}, // [3, 5, 4, 6] over axes 1 and 3
}

// rows are Row kernels. Their results are composed of several inexact operations.
func (s *suite) rows(t *testing.T) {
	t.Run("softmax", s.softmax)
	t.Run("layer norm", s.layerNorm)
	t.Run("cross entropy", s.crossEntropy)
}

// softmax is exp(x−m)/Σexp(x−m) with m the largest of a row. In the 16-bit types
// the exponentials are rounded before they are added: two roundings more. In every
// second case the result goes over the operand.
func (s *suite) softmax(t *testing.T) {
	r := random(9)
	for i, d := range floats {
		p := s.program(t)
		for j, c := range rowShapes {
			n, _ := c.elements()
			x := p.leaf(normal(r, d, n))
			out := x
			if (i+j)%2 == 0 {
				out = p.output("", d, n)
			}
			p.names[out] = fmt.Sprintf("softmax %v %v over %v", d, c.outer, c.inner)
			p.within(out, tolerance{ulps: 24})
			if d.Compute() != d {
				p.within(out, tolerance{ulps: 3})
			}
			k := newKernel("softmax", c.outer, c.inner)
			v := k.load(p.view(x, 0, c.stride...))
			k.f.Code[v].Inner = true
			e := k.apply(ir.Exp, k.apply(ir.Sub, v, k.reduce(ir.ReduceMax, v)))
			k.store(k.apply(ir.Div, e, k.reduce(ir.ReduceSum, e)), p.view(out, 0, c.stride...))
			p.Steps = append(p.Steps, k.f)
		}
		p.run()
	}
}

// layerNorm has two reductions, the second over what the first makes possible, and
// stores values of both kinds. Numbers near the mean lose digits to cancellation,
// so the results, of the order of 1, are compared by their absolute error.
func (s *suite) layerNorm(t *testing.T) {
	r := random(10)
	for _, d := range floats {
		wide := d.Compute()
		p := s.program(t)
		for _, c := range rowShapes {
			n, _ := c.elements()
			row, points := product(c.inner), product(c.outer)
			name := fmt.Sprintf("layer norm %v %v over %v: ", d, c.outer, c.inner)
			x, g, b := p.leaf(normal(r, d, n)), p.leaf(short(r, wide, row)), p.leaf(short(r, wide, row))
			y := p.output(name+"y", d, n)
			mean, scale := p.output(name+"mean", wide, points), p.output(name+"1/deviation", wide, points)
			eps := map[dtype.DType]float64{dtype.Float64: 1e-14, dtype.Float32: 1e-5, dtype.Float16: 1e-2, dtype.BFloat16: 1e-1}
			p.within(y, tolerance{abs: eps[d]})
			p.within(mean, tolerance{abs: eps[wide]})
			p.within(scale, tolerance{abs: eps[wide], ulps: 64})

			k := newKernel("layer norm", c.outer, c.inner)
			v := k.load(p.view(x, 0, c.stride...))
			k.f.Code[v].Inner = true
			if d != wide {
				v = k.typed(ir.Convert, wide, v)
			}
			count := k.imm(wide, float64(row))
			m := k.apply(ir.Div, k.reduce(ir.ReduceSum, v), count)
			centred := k.apply(ir.Sub, v, m)
			variance := k.apply(ir.Div, k.reduce(ir.ReduceSum, k.apply(ir.Mul, centred, centred)), count)
			rstd := k.apply(ir.Rsqrt, k.apply(ir.Add, variance, k.imm(wide, 1e-5)))
			along := append(make([]int, len(c.outer)), shape.Strides(c.inner)...)
			affine := k.apply(ir.Add, k.apply(ir.Mul, k.apply(ir.Mul, centred, rstd), k.load(p.view(g, 0, along...))), k.load(p.view(b, 0, along...)))
			if d != wide {
				affine = k.typed(ir.Convert, d, affine)
			}
			k.store(affine, p.view(y, 0, c.stride...))
			k.store(m, p.view(mean, 0, c.outerStrides()...))
			k.store(rstd, p.view(scale, 0, c.outerStrides()...))
			p.Steps = append(p.Steps, k.f)
		}
		p.run()
	}
}

// crossEntropy is log Σexp(x−m) + m − x[target], where the target is found by
// comparing an Index along the row with a value of the outer space, and its
// gradient, softmax less one at the target.
func (s *suite) crossEntropy(t *testing.T) {
	r := random(11)
	p := s.program(t)
	d := dtype.Float32
	for _, c := range rowShapes {
		n, _ := c.elements()
		row, points := product(c.inner), product(c.outer)
		targets := newTensor(dtype.Int64, points)
		for i := range targets.v {
			targets.v[i].I = r.Int64N(int64(row))
		}
		x, y := p.leaf(normal(r, d, n)), p.leaf(targets)
		name := fmt.Sprintf("cross entropy %v over %v: ", c.outer, c.inner)
		loss, grad := p.output(name+"loss", d, points), p.output(name+"gradient", d, n)
		p.within(loss, tolerance{ulps: 8, abs: 1e-5})
		p.within(grad, tolerance{ulps: 24, abs: 1e-6})

		k := newKernel("cross entropy", c.outer, c.inner)
		v := k.load(p.view(x, 0, c.stride...))
		k.f.Code[v].Inner = true
		target := k.load(p.view(y, 0, c.outerStrides()...))
		at := k.index(0, append(make([]int, len(c.outer)), shape.Strides(c.inner)...)...)
		k.f.Code[at].Inner = true
		hit := k.apply(ir.Eq, at, target)
		zero, one := k.imm(d, 0), k.imm(d, 1)
		m := k.reduce(ir.ReduceMax, v)
		e := k.apply(ir.Exp, k.apply(ir.Sub, v, m))
		sum := k.reduce(ir.ReduceSum, e)
		picked := k.reduce(ir.ReduceSum, k.apply(ir.Select, hit, v, zero))
		k.store(k.apply(ir.Sub, k.apply(ir.Add, k.apply(ir.Log, sum), m), picked), p.view(loss, 0, c.outerStrides()...))
		k.store(k.apply(ir.Sub, k.apply(ir.Div, e, sum), k.apply(ir.Select, hit, one, zero)), p.view(grad, 0, c.stride...))
		p.Steps = append(p.Steps, k.f)
	}
	p.run()
}

// multi is one code over tensors of different shapes and ranks, some of them with
// nothing in them: a step of SGD with momentum that overwrites weights and momenta
// and keeps copies in both half types, and the sum of squares of each tensor.
func (s *suite) multi(t *testing.T) {
	r := random(12)
	p := s.program(t)
	extents := [][]int{{64, 3, 3, 3}, {64}, {}, {0}, {100, 130}, {1}, {7, 1, 5}, {20000}}
	rate := p.leaf(short(r, dtype.Float32, 1))
	var views [5][]kernel.Arg // by argument
	var lr []kernel.Arg
	step := newKernel("sgd", extents[0], nil)
	for i, e := range extents {
		if i > 0 {
			step.part(e, nil)
		}
		n, st := product(e), shape.Strides(e)
		w, g, m := p.leaf(short(r, dtype.Float32, n)), p.leaf(short(r, dtype.Float32, n)), p.leaf(short(r, dtype.Float32, n))
		p.names[w], p.names[m] = fmt.Sprintf("weights %v", e), fmt.Sprintf("momentum %v", e)
		low, half := p.output(fmt.Sprintf("copy of weights %v", e), dtype.BFloat16, n), p.output(fmt.Sprintf("float16 copy of weights %v", e), dtype.Float16, n)
		for j, slot := range []int{w, g, m, low, half} {
			views[j] = append(views[j], p.view(slot, 0, st...))
		}
		lr = append(lr, p.view(rate, 0, make([]int, len(e))...))
	}
	w, g, m := step.load(views[0]...), step.load(views[1]...), step.load(views[2]...)
	next := step.apply(ir.Add, step.apply(ir.Mul, m, step.imm(dtype.Float32, 0.5)), g)
	weights := step.apply(ir.Sub, w, step.apply(ir.Mul, next, step.load(lr...)))
	step.store(weights, views[0]...)
	step.store(next, views[2]...)
	step.store(step.typed(ir.Convert, dtype.BFloat16, weights), views[3]...)
	step.store(step.typed(ir.Convert, dtype.Float16, weights), views[4]...)
	p.Steps = append(p.Steps, step.f)

	var in, out []kernel.Arg
	var squares *fused
	for i, e := range extents {
		if i == 0 {
			squares = newKernel("squares", nil, e)
		} else {
			squares.part(nil, append([]int{}, e...))
		}
		total := p.output(fmt.Sprintf("sum of squares %v", e), dtype.Float32, 1)
		p.within(total, tolerance{ulps: 16})
		in = append(in, views[0][i])
		out = append(out, p.view(total, 0, make([]int, len(e))...))
	}
	v := squares.load(in...)
	squares.f.Code[v].Inner = true
	squares.store(squares.reduce(ir.ReduceSum, squares.apply(ir.Mul, v, v)), out...)
	p.Steps = append(p.Steps, squares.f)
	p.run()
}

// randomBits wants exactly the bits of package philox, for elements and steps of
// any size, in any order of elements.
func (s *suite) randomBits(t *testing.T) {
	p := s.program(t)
	for _, step := range []int64{0, 1, 1<<32 - 1, 1 << 32, 1<<62 + 5} {
		for _, c := range []struct {
			extent []int
			offset int
			stride []int
		}{
			{[]int{1500}, 0, []int{1}},
			{[]int{1500}, 3, []int{1}},
			{[]int{9, 50}, 0, []int{50, 1}},
			{[]int{9, 50}, 1, []int{1, 9}},
			{[]int{40}, 1<<34 - 7, []int{1}},
			{[]int{40}, 1 << 40, []int{-5}},
			{[]int{3, 5}, 2, []int{0, 0}},
			{nil, 11, nil},
		} {
			at := p.leaf(indices(dtype.Int64, nil, step))
			key := ir.RNG{Seed: uint64(step) * 77, Site: uint64(c.offset)}
			out := p.output(fmt.Sprintf("bits of %d + %v·p for %v at step %d", c.offset, c.stride, c.extent, step), dtype.Int32, product(c.extent))
			k := newKernel("rng bits", c.extent, nil)
			i := k.index(c.offset, c.stride...)
			v := k.typed(ir.RNGBits, dtype.Int32, i, k.load(p.view(at, 0, make([]int, len(c.extent))...)))
			k.f.Code[v].RNG = key
			k.store(v, p.view(out, 0, shape.Strides(c.extent)...))
			p.Steps = append(p.Steps, k.f)
		}
	}
	p.run()
}
