package devicetest

import (
	"math"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
	"github.com/sinter-dl/sinter/internal/shape"
)

// windows tests sums, maxima and the places of maxima over windows. Every window
// has an element inside.
func (s *suite) windows(t *testing.T) {
	r := random(30)
	type windowCase struct {
		x                                 []int
		size, stride, low, high, dilation []int
	}
	cases := []windowCase{
		{[]int{2, 3, 10}, []int{3}, []int{1}, []int{1}, []int{1}, []int{1}},
		{[]int{1, 2, 20}, []int{4}, []int{3}, []int{2}, []int{3}, []int{1}},
		{[]int{2, 3, 8, 8}, []int{2, 2}, []int{2, 2}, []int{0, 0}, []int{0, 0}, []int{1, 1}},
		{[]int{2, 3, 9, 11}, []int{2, 2}, []int{2, 2}, []int{0, 0}, []int{0, 0}, []int{1, 1}},
		{[]int{1, 4, 13, 12}, []int{3, 3}, []int{2, 2}, []int{1, 1}, []int{1, 1}, []int{1, 1}},
		{[]int{3, 2, 9, 9}, []int{3, 2}, []int{1, 2}, []int{0, 1}, []int{2, 0}, []int{2, 3}},
		{[]int{2, 2, 7, 7}, []int{7, 7}, []int{1, 1}, []int{0, 0}, []int{0, 0}, []int{1, 1}},
		{[]int{1, 2, 6, 7, 8}, []int{2, 3, 2}, []int{2, 1, 2}, []int{0, 1, 0}, []int{1, 1, 0}, []int{1, 1, 2}},
	}
	for _, d := range numeric {
		p := s.program(t)
		for i, c := range cases {
			x := short(r, d, c.x...)
			if d.IsFloat() {
				for range 3 {
					x.v[r.IntN(len(x.v))].F = []float64{nan, inf, -inf}[i%3]
				}
			}
			y := slices.Clone(c.x)
			for j := range c.size {
				n, err := shape.Window(c.x[j+2], c.size[j], c.stride[j], c.low[j], c.high[j], c.dilation[j])
				if err != nil {
					t.Fatal(err)
				}
				y[j+2] = n
			}
			a := ir.Window{Size: c.size, Stride: c.stride, Low: c.low, High: c.high, Dilation: c.dilation}
			p.operation(ir.ReduceWindowSum, a, []tensor{x}, newTensor(d, y...))
			top := p.operation(ir.ReduceWindowMax, a, []tensor{x}, newTensor(d, y...))
			p.within(top, tolerance{zeros: true})
			p.operation(ir.ReduceWindowArgMax, a, []tensor{x}, newTensor(dtype.Int32, y...))
			if d.IsFloat() {
				p.operation(ir.ReduceWindowMaxGrad, a, []tensor{x, short(r, d, y...)}, newTensor(d, c.x...))
			}
			if d == dtype.Float32 {
				l := &kernel.Library{Op: ir.ReduceWindowMax, Attr: a, In: []kernel.Operand{p.dense(p.leaf(x), x.shape...)}}
				p.withEpilogue(r, l, d, y)
			}
		}
		p.run()
	}
}

// indexing tests what reads and writes at places that are known only at run time.
func (s *suite) indexing(t *testing.T) {
	t.Run("gather and scatter", s.gatherScatter)
	t.Run("dynamic slices", s.dynamicSlices)
}

// Indices are out of range on either side now and then, and repeat: then the last
// update wins, or they add up in their order.
func (s *suite) gatherScatter(t *testing.T) {
	r := random(31)
	type indexCase struct {
		data  []int
		index []int
		at    ir.Index
	}
	cases := []indexCase{
		{[]int{10}, []int{25}, ir.Index{}},
		{[]int{50, 8}, []int{7}, ir.Index{}},    // rows of a table
		{[]int{50, 8}, []int{4, 6}, ir.Index{}}, // a batch of sentences
		{[]int{5, 30}, []int{9}, ir.Index{Axis: 1}},
		{[]int{5, 30}, []int{5, 9}, ir.Index{Axis: 1, Batch: 1}}, // as torch.gather
		{[]int{5, 30}, []int{5}, ir.Index{Axis: 1, Batch: 1}},    // one of each row
		{[]int{2, 3, 4, 5}, []int{2, 3, 6}, ir.Index{Axis: 2, Batch: 2}},
		{[]int{2, 3, 4, 5}, []int{2, 7}, ir.Index{Axis: 2, Batch: 1}},
		{[]int{2, 3, 4, 5}, []int{}, ir.Index{Axis: 3}},
		{[]int{3, 1000}, []int{200}, ir.Index{}},
		{[]int{40, 300}, []int{100}, ir.Index{}},
		{[]int{4, 5}, []int{0}, ir.Index{}},
	}
	for _, d := range dtype.All() {
		p := s.program(t)
		for i, c := range cases {
			it := []dtype.DType{dtype.Int64, dtype.Int32}[i%2]
			index := newTensor(it, c.index...)
			n := c.data[c.at.Axis]
			for j := range index.v {
				index.v[j].I = r.Int64N(int64(n))
				if r.IntN(8) == 0 {
					index.v[j] = scalar.Rounded(it, number{I: []int64{-1, int64(n), math.MinInt64, math.MaxInt64, math.MaxInt32, -int64(n)}[r.IntN(6)]})
				}
			}
			result := slices.Concat(c.data[:c.at.Axis], c.index[c.at.Batch:], c.data[c.at.Axis+1:])
			data, updates := short(r, d, c.data...), short(r, d, result...)
			p.operation(ir.Gather, c.at, []tensor{data, index}, updates)
			p.operation(ir.Scatter, c.at, []tensor{data, index, updates}, data)
			if len(result) > 0 && product(result) > 0 && (d == dtype.Float32 || d.Compute() != d) {
				l := &kernel.Library{Op: ir.Gather, Attr: c.at}
				l.In = append(l.In, p.dense(p.leaf(data), c.data...), p.dense(p.leaf(index), c.index...))
				p.withEpilogue(r, l, d, result)
			}
			if d != dtype.Bool {
				p.operation(ir.ScatterAdd, c.at, []tensor{data, index, updates}, data)
			}
		}
		p.run()
	}

	// Many additions at few places, of numbers that are rounded: the order counts.
	// 16-bit floats are added up in float32 and rounded once.
	p := s.program(t)
	for _, d := range floats {
		index := newTensor(dtype.Int64, 3000)
		for i := range index.v {
			index.v[i].I = r.Int64N(4)
		}
		p.operation(ir.ScatterAdd, ir.Index{}, []tensor{normal(r, d, 4), index, normal(r, d, 3000)}, newTensor(d, 4))
	}
	p.run()
}

// A window that would hang over an edge is moved inside.
func (s *suite) dynamicSlices(t *testing.T) {
	r := random(32)
	for _, d := range dtype.All() {
		p := s.program(t)
		for _, c := range []struct {
			data, size []int
			start      []int64
		}{
			{[]int{10}, []int{4}, []int64{3}},
			{[]int{10}, []int{4}, []int64{8}},
			{[]int{10}, []int{4}, []int64{-5}},
			{[]int{10}, []int{10}, []int64{1}},
			{[]int{6, 7}, []int{2, 3}, []int64{4, 4}},
			{[]int{6, 7}, []int{2, 7}, []int64{3, 5}},
			{[]int{6, 7}, []int{6, 2}, []int64{math.MaxInt64, math.MinInt64}},
			{[]int{4, 5, 6}, []int{1, 5, 6}, []int64{2, 0, 0}},
			{[]int{4, 5, 6}, []int{3, 1, 4}, []int64{0, 9, 1}},
			{[]int{50, 200}, []int{33, 70}, []int64{5, 131}},
			{[]int{}, []int{}, []int64{}},
			{[]int{4, 5}, []int{0, 3}, []int64{1, 1}},
		} {
			start := newTensor(dtype.Int64, len(c.start))
			for i, v := range c.start {
				start.v[i].I = v
			}
			data, window := short(r, d, c.data...), short(r, d, c.size...)
			p.operation(ir.DynamicSlice, ir.Extent{Size: c.size}, []tensor{data, start}, window)
			p.operation(ir.DynamicUpdateSlice, nil, []tensor{data, window, start}, data)
		}
		p.run()
	}
}

// axis tests what goes along one axis: the place of an extreme, running sums and
// sorting.
func (s *suite) axis(t *testing.T) {
	r := random(33)
	for _, d := range dtype.All() {
		p := s.program(t)
		for _, c := range []struct {
			shape []int
			axis  int
		}{
			{[]int{1}, 0}, {[]int{9}, 0}, {[]int{3000}, 0}, {[]int{5, 40}, 1}, {[]int{40, 5}, 0}, {[]int{3, 50, 7}, 1},
			{[]int{2, 3, 4, 5}, 2}, {[]int{4, 48}, 1}, {[]int{4, 49}, 1}, {[]int{2, 260, 3}, 1}, {[]int{300, 70}, 0},
		} {
			x := short(r, d, c.shape...) // few values, so many ties
			lines := append(slices.Clone(c.shape[:c.axis]), c.shape[c.axis+1:]...)
			if d != dtype.Bool {
				for i := range 4 {
					a := ir.Cumulate{Axis: c.axis, Reverse: i&1 != 0, Exclusive: i&2 != 0}
					slot := p.operation(ir.CumSum, a, []tensor{x}, x)
					if product(c.shape) > 1000 && d.Compute() != d {
						p.within(slot, tolerance{ulps: 1})
					}
				}
			}
			if !d.IsFloat() && d != dtype.Bool {
				low, high := scalar.Limits(d)
				for _, v := range []int64{low, high, low + 1, high - 1} {
					x.v[r.IntN(len(x.v))].I = v
				}
			}
			for i := range 2 {
				if i == 1 { // the same once more, with what is not a number
					if !d.IsFloat() {
						break
					}
					for range 1 + len(x.v)/10 {
						x.v[r.IntN(len(x.v))].F = []float64{nan, inf, -inf, minusZero, nan}[r.IntN(5)]
					}
				}
				p.operation(ir.ArgMax, ir.Axis{Axis: c.axis}, []tensor{x}, newTensor(dtype.Int64, lines...))
				p.operation(ir.ArgMin, ir.Axis{Axis: c.axis}, []tensor{x}, newTensor(dtype.Int64, lines...))
				p.operation(ir.Sort, ir.Order{Axis: c.axis}, []tensor{x}, newTensor(dtype.Int64, c.shape...))
				p.operation(ir.Sort, ir.Order{Axis: c.axis, Descending: true}, []tensor{x}, newTensor(dtype.Int64, c.shape...))
			}
		}
		none := newTensor(d, 3, 0)
		p.operation(ir.Sort, ir.Order{Axis: 1}, []tensor{none}, newTensor(dtype.Int64, 3, 0))
		p.operation(ir.Sort, ir.Order{Axis: 0}, []tensor{none}, newTensor(dtype.Int64, 3, 0))
		p.operation(ir.ArgMax, ir.Axis{Axis: 0}, []tensor{none}, newTensor(dtype.Int64, 0))
		if d != dtype.Bool {
			p.operation(ir.CumSum, ir.Cumulate{Axis: 1}, []tensor{none}, none)
		}
		p.run()
	}

	// Long lines of numbers that are not short.
	p := s.program(t)
	for _, d := range floats {
		p.operation(ir.Sort, ir.Order{}, []tensor{normal(r, d, 10000)}, newTensor(dtype.Int64, 10000))
		p.within(p.operation(ir.CumSum, ir.Cumulate{}, []tensor{positive(r, d, 5000)}, newTensor(d, 5000)), tolerance{ulps: 16})
	}
	p.run()
}
