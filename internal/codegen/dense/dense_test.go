package dense

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
	"github.com/sinter-dl/sinter/internal/shape"
)

// Package devicetest tests these kernels in all types and layouts, each on its device.
// The tests here run those of GPUs and those of CPUs on whatever OpenCL device there is,
// in sizes that every way of cutting a problem is taken.

// tensor is the elements of an operand in row-major order.
type tensor struct {
	d  dtype.DType
	sh []int
	v  []scalar.Number
}

func newTensor(d dtype.DType, sh ...int) tensor {
	return tensor{d, sh, make([]scalar.Number, elements(sh))}
}

// short is a tensor of small whole numbers, sixteenths of them if they are floats: sums
// of products of them are exact.
func short(r *rand.Rand, d dtype.DType, sh ...int) tensor {
	t := newTensor(d, sh...)
	for i := range t.v {
		t.v[i] = scalar.Number{I: int64(r.IntN(9) - 4)}
		if d.IsFloat() {
			t.v[i] = scalar.Number{F: float64(r.IntN(17)-8) / 16}
		}
	}
	return t
}

// place puts a tensor into memory with its axes in another order, the last of order
// being adjacent, behind skip elements.
func (t tensor) place(slot int, order []int, skip int) (kernel.Operand, []byte) {
	o := kernel.Operand{Slot: slot, DType: t.d, Shape: t.sh, Stride: make([]int, len(t.sh)), Offset: skip}
	n := 1
	for _, a := range slices.Backward(order) {
		o.Stride[a] = n
		n *= t.sh[a]
	}
	mem := make([]byte, (skip+len(t.v))*t.d.Size())
	for i, v := range t.v {
		at, rest := skip, i
		for a, e := range slices.Backward(t.sh) {
			at += rest % e * o.Stride[a]
			rest /= e
		}
		scalar.Put(t.d, mem, at, v)
	}
	return o, mem
}

func straight(n int) []int {
	l := make([]int, n)
	for i := range l {
		l[i] = i
	}
	return l
}

// compute runs an operation twice and gives its results. Operands are placed as
// orders says, where it says so.
func (c *card) compute(t *testing.T, l *kernel.Library, in []tensor, orders [][]int, out ...tensor) []tensor {
	t.Helper()
	l.Name, l.Scratch = l.Op.String(), -1
	var slots [][]byte
	for i, x := range in {
		order, skip := straight(len(x.sh)), 0
		if i < len(orders) && orders[i] != nil {
			order, skip = orders[i], i
		}
		o, mem := x.place(len(slots), order, skip)
		l.In, slots = append(l.In, o), append(slots, mem)
	}
	first := len(slots)
	for _, y := range out {
		l.Out = append(l.Out, kernel.Operand{Slot: len(slots), DType: y.d, Shape: y.sh, Stride: shape.Strides(y.sh)})
		slots = append(slots, make([]byte, elements(y.sh)*y.d.Size()))
	}
	if n := Workspace(l, c.target); n > 0 {
		l.Scratch = len(slots)
		slots = append(slots, make([]byte, n))
	}
	p := &kernel.Program{Steps: []kernel.Step{l}, Leaves: len(slots)}
	for i := range slots {
		p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: len(slots[i])})
	}
	e, err := c.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	var before [][]byte
	for range 2 {
		buffers := c.bind(slots)
		for _, m := range slots[first:] {
			for i := range m {
				m[i] = 255
			}
		}
		if err := e.Run(buffers, nil); err != nil {
			t.Fatal(err)
		}
		if before != nil {
			for i := range out {
				if !slices.Equal(before[i], slots[first+i]) {
					t.Errorf("result %d differs from run to run", i)
				}
			}
		}
		before = nil
		for i := range out {
			before = append(before, slices.Clone(slots[first+i]))
		}
	}
	for i, y := range out {
		for j := range y.v {
			y.v[j] = scalar.Get(y.d, slots[first+i], j)
		}
	}
	return out
}

// near reports the first element that is farther from what it should be than
// tolerance·(1 + its size).
func near(t *testing.T, name string, got, want tensor, tolerance float64) {
	t.Helper()
	bad := 0
	for i := range want.v {
		g, w := got.v[i], want.v[i]
		if g.I != w.I || !(math.Abs(g.F-w.F) <= tolerance*(1+math.Abs(w.F))) && !(g.F != g.F && w.F != w.F) {
			if bad == 0 {
				t.Errorf("%s: element %d of %v%v is %v, not %v", name, i, want.d, want.sh, g, w)
			}
			bad++
		}
	}
	if bad > 1 {
		t.Errorf("%s: %d of %d elements are wrong", name, bad, len(want.v))
	}
}

// some are the first n of the cases, or with SINTER_STRESS all: compiling takes most of a
// test's time.
func some[T any](cases []T, n int) []T {
	if os.Getenv("SINTER_STRESS") != "" {
		return cases
	}
	return cases[:n]
}

// onBoth runs f with a GPU's kernels and a CPU's.
func onBoth(t *testing.T, f func(t *testing.T, c *card)) {
	t.Run("gpu", func(t *testing.T) { f(t, newCard(t, false, 4)) })
	t.Run("cpu", func(t *testing.T) { f(t, newCard(t, true, 2)) })
}

// rounded is a result as it can be stored.
func (t tensor) rounded() tensor {
	for i := range t.v {
		t.v[i] = scalar.Rounded(t.d, t.v[i])
	}
	return t
}

func product3(a, b tensor, result dtype.DType) tensor {
	n := len(a.sh)
	m, k, cols := a.sh[n-2], a.sh[n-1], b.sh[n-1]
	y := newTensor(result, append(slices.Clone(a.sh[:n-1]), cols)...)
	for i := range y.v {
		z, row, col := i/(m*cols), i/cols%m, i%cols
		for l := range k {
			p, q := a.v[(z*m+row)*k+l], b.v[(z*k+l)*cols+col]
			y.v[i].F += p.F * q.F
			y.v[i].I += p.I * q.I
		}
	}
	return y.rounded()
}

// TestDot multiplies matrices of sizes around those of tiles, with operands in either
// order.
func TestDot(t *testing.T) {
	onBoth(t, func(t *testing.T, c *card) {
		r := rand.New(rand.NewPCG(1, 1))
		type dotCase struct {
			d, result     dtype.DType
			batch         []int
			m, n, k, turn int // turn: 1 the left operand is transposed, 2 the right one
		}
		for _, x := range some([]dotCase{
			{dtype.Float32, dtype.Float32, nil, 253, 385, 37, 3},
			{dtype.Float32, dtype.Float32, []int{5}, 130, 71, 36, 1},
			{dtype.Float32, dtype.Float32, nil, 70, 64, 900, 2},
			{dtype.BFloat16, dtype.BFloat16, []int{2, 3}, 100, 64, 72, 2},
			{dtype.Float64, dtype.Float64, []int{3}, 65, 67, 300, 2},
			{dtype.Float32, dtype.Float32, nil, 3, 700, 1024, 2},
			{dtype.Float32, dtype.Float32, nil, 256, 384, 40, 0},
			{dtype.Float16, dtype.Float32, []int{2}, 128, 128, 64, 1},
			{dtype.Int8, dtype.Int8, nil, 33, 65, 70, 0},
			{dtype.Int64, dtype.Int64, nil, 33, 65, 1000, 3},
			{dtype.Float32, dtype.Float32, nil, 1, 700, 300, 0},
			{dtype.BFloat16, dtype.Float32, nil, 7, 512, 2048, 2},
			{dtype.BFloat16, dtype.BFloat16, nil, 8, 512, 260, 0},
			{dtype.Float32, dtype.Float32, []int{2}, 500, 2, 1000, 0},
		}, 6) {
			n := len(x.batch)
			a := short(r, x.d, append(slices.Clone(x.batch), x.m, x.k)...)
			b := short(r, x.d, append(slices.Clone(x.batch), x.k, x.n)...)
			orders := make([][]int, 2)
			for i := range orders {
				if x.turn>>i&1 == 1 {
					orders[i] = append(straight(n), n+1, n)
				}
			}
			want := product3(a, b, x.result)
			l := &kernel.Library{Op: ir.DotGeneral}
			got := c.compute(t, l, []tensor{a, b}, orders, newTensor(x.result, want.sh...))
			near(t, fmt.Sprintf("%+v", x), got[0], want, 0)
		}
	})
}

// convolved computes one direction element by element: x at p·stride − low + t·dilation
// meets w at t and y at p.
func convolved(a ir.ConvAttr, x, w, y tensor) tensor {
	out := [...]*tensor{&y, &x, &w}[a.Dir]
	*out = newTensor(out.d, out.sh...)
	sx, sw, sy := x.sh[2:], w.sh[2:], y.sh[2:]
	nx, nw, ny := elements(sx), elements(sw), elements(sy)
	perGroup := w.sh[0] / a.Groups
	for i := range elements(y.sh) {
		n, k, at := i/(y.sh[1]*ny), i/ny%y.sh[1], i%ny
		for t := range nw {
			place, scale, p, q, in := 0, 1, at, t, true
			for d := len(sx) - 1; d >= 0; d-- {
				c := p%sy[d]*a.Stride[d] - a.Low[d] + q%sw[d]*a.Dilation[d]
				in = in && c >= 0 && c < sx[d]
				place += c * scale
				scale *= sx[d]
				p /= sy[d]
				q /= sw[d]
			}
			if !in {
				continue
			}
			for c := range w.sh[1] {
				px := &x.v[(n*x.sh[1]+k/perGroup*w.sh[1]+c)*nx+place].F
				pw := &w.v[(k*w.sh[1]+c)*nw+t].F
				py := &y.v[i].F
				switch a.Dir {
				case ir.Forward:
					*py += *px * *pw
				case ir.InputGrad:
					*px += *py * *pw
				case ir.WeightGrad:
					*pw += *px * *py
				}
			}
		}
	}
	return out.rounded()
}

type convCase struct {
	d                           dtype.DType
	n, groups, c, k             int // c and k are channels of a group
	x, w                        []int
	stride, low, high, dilation []int
}

func (c *convCase) test(t *testing.T, dev *card, r *rand.Rand) {
	t.Helper()
	x, w, y := []int{c.n, c.c * c.groups}, []int{c.k * c.groups, c.c}, []int{c.n, c.k * c.groups}
	for i := range c.x {
		n, err := shape.Window(c.x[i], c.w[i], c.stride[i], c.low[i], c.high[i], c.dilation[i])
		if err != nil {
			t.Fatal(err)
		}
		x, w, y = append(x, c.x[i]), append(w, c.w[i]), append(y, n)
	}
	xt, wt, yt := short(r, c.d, x...), short(r, c.d, w...), short(r, c.d, y...)
	for dir, in := range [][]tensor{{xt, wt}, {yt, wt}, {xt, yt}} {
		a := ir.ConvAttr{Dir: ir.Direction(dir), Stride: c.stride, Low: c.low, High: c.high, Dilation: c.dilation, Groups: c.groups}
		want := convolved(a, xt, wt, yt)
		got := dev.compute(t, &kernel.Library{Op: ir.Conv, Attr: a}, in, nil, newTensor(want.d, want.sh...))
		near(t, fmt.Sprintf("%+v, direction %d", *c, dir), got[0], want, 0)
	}
}

// TestConv has convolutions of all kinds: with more positions than a tile has, with
// strides whose phases see different taps or none, with long sums for the weights.
func TestConv(t *testing.T) {
	one, two, zero := []int{1, 1}, []int{2, 2}, []int{0, 0}
	onBoth(t, func(t *testing.T, dev *card) {
		r := rand.New(rand.NewPCG(2, 1))
		for _, c := range some([]convCase{
			{dtype.Float32, 2, 1, 5, 70, []int{12, 13}, []int{3, 3}, one, one, one, one},
			{dtype.Float32, 3, 1, 16, 20, []int{15, 14}, []int{3, 3}, two, one, one, one},
			{dtype.Float32, 2, 2, 3, 4, []int{11, 9}, []int{3, 2}, []int{3, 1}, []int{2, 0}, []int{0, 3}, []int{2, 3}},
			{dtype.Float32, 2, 1, 3, 4, []int{9, 9}, []int{2, 2}, []int{3, 3}, zero, zero, one},
			{dtype.Float32, 2, 1, 20, 40, []int{9, 8}, one, one, zero, zero, one},
			{dtype.Float32, 2, 1, 20, 7, []int{9, 8}, one, two, zero, zero, one},
			{dtype.Float32, 2, 12, 1, 1, []int{14, 14}, []int{3, 3}, one, one, one, one},
			{dtype.Float32, 2, 6, 1, 2, []int{15, 9}, []int{5, 3}, two, one, one, one},
			{dtype.BFloat16, 2, 1, 4, 6, []int{10, 10}, []int{3, 3}, one, one, one, one},
			{dtype.Float64, 2, 1, 3, 5, []int{30}, []int{4}, []int{2}, []int{3}, []int{0}, []int{2}},
			{dtype.Float16, 1, 1, 2, 3, []int{5, 6, 7}, []int{3, 2, 3}, []int{1, 2, 1}, []int{1, 0, 1}, []int{1, 1, 1}, []int{1, 1, 2}},
		}, 7) {
			c.test(t, dev, r)
		}
	})
}

// attentionCase is an attention; mask is the extents of one, bool if that is set.
type attentionCase struct {
	d                  dtype.DType
	b, h, t, s, dk, dv int
	causal             bool
	mask               []int
	boolean            bool
}

// random is a tensor of numbers from −2 to 2, as they can be stored.
func random(r *rand.Rand, d dtype.DType, sh ...int) tensor {
	t := newTensor(d, sh...)
	for i := range t.v {
		t.v[i].F = 4*r.Float64() - 2
	}
	return t.rounded()
}

// attended computes attention and its gradients as they are defined: y and dy are
// [B, T, H, E], the gradients [B, T, H, D].
func (c *attentionCase) attended(scale float64, q, k, v, mask, dy tensor) (y, lse, dq, dk, dv tensor) {
	wide := c.d.Compute()
	y, lse = newTensor(c.d, c.b, c.t, c.h, c.dv), newTensor(wide, c.b, c.h, c.t)
	dq, dk, dv = newTensor(c.d, c.b, c.t, c.h, c.dk), newTensor(c.d, c.b, c.s, c.h, c.dk), newTensor(c.d, c.b, c.s, c.h, c.dv)
	at := func(x tensor, b, h, i, j int) *float64 { // [B, H, n, m]
		return &x.v[((b*c.h+h)*x.sh[2]+i)*x.sh[3]+j].F
	}
	turned := func(x tensor, b, h, i, j int) *float64 { // [B, n, H, m]
		return &x.v[((b*x.sh[1]+i)*c.h+h)*x.sh[3]+j].F
	}
	for b := range c.b {
		for h := range c.h {
			for i := range c.t {
				p := make([]float64, c.s)
				top, sum := math.Inf(-1), 0.0
				for j := range p {
					for e := range c.dk {
						p[j] += *at(q, b, h, i, e) * *at(k, b, h, j, e)
					}
					p[j] *= scale
					if c.mask != nil {
						n := 0
						for a, x := range []int{b, h, i, j} {
							n *= c.mask[a]
							if c.mask[a] > 1 {
								n += x
							}
						}
						if c.boolean && mask.v[n].I == 0 {
							p[j] = math.Inf(-1)
						}
						p[j] += mask.v[n].F
					}
					if c.causal && j > i {
						p[j] = math.Inf(-1)
					}
					top = max(top, p[j])
				}
				if math.IsInf(top, -1) {
					top = 0
				}
				for j := range p {
					p[j] = math.Exp(p[j] - top)
					sum += p[j]
				}
				if sum == 0 {
					sum = 1
				}
				lse.v[(b*c.h+h)*c.t+i].F = top + math.Log(sum)
				delta := 0.0
				for j := range p {
					p[j] /= sum
					for e := range c.dv {
						*turned(y, b, h, i, e) += p[j] * *at(v, b, h, j, e)
						*turned(dv, b, h, j, e) += p[j] * *turned(dy, b, h, i, e)
					}
				}
				for e := range c.dv {
					delta += *turned(y, b, h, i, e) * *turned(dy, b, h, i, e)
				}
				for j := range p {
					ds := -delta
					for e := range c.dv {
						ds += *turned(dy, b, h, i, e) * *at(v, b, h, j, e)
					}
					ds *= p[j] * scale
					for e := range c.dk {
						*turned(dq, b, h, i, e) += ds * *at(k, b, h, j, e)
						*turned(dk, b, h, j, e) += ds * *at(q, b, h, i, e)
					}
				}
			}
		}
	}
	return
}

// TestAttention compares attention and its gradient with their definition: blocks that
// are full and not, heads narrower and wider than a slice, masks of both kinds, queries
// that see nothing, operands as projections leave them.
func TestAttention(t *testing.T) {
	cases := []attentionCase{
		{dtype.Float32, 2, 3, 70, 70, 32, 32, true, nil, false},
		{dtype.Float32, 1, 2, 65, 130, 20, 40, false, []int{1, 2, 65, 130}, true},
		{dtype.BFloat16, 1, 2, 64, 100, 64, 64, true, nil, false},
		{dtype.Float32, 2, 1, 5, 64, 64, 64, false, []int{2, 1, 1, 64}, false},
		{dtype.Float32, 1, 1, 66, 33, 300, 260, true, nil, false},
		{dtype.Float16, 1, 1, 40, 40, 128, 128, false, []int{1, 1, 40, 1}, true},
		{dtype.Float64, 1, 2, 40, 37, 16, 48, true, []int{1, 1, 40, 37}, true},
	}
	onBoth(t, func(t *testing.T, c *card) {
		n := 1
		if c.target.Serial {
			n = 3
		}
		for _, x := range some(cases, n) {
			x.test(t, c)
		}
	})
}

func (x *attentionCase) test(t *testing.T, c *card) {
	r := rand.New(rand.NewPCG(3, 1))
	t.Run(fmt.Sprintf("%v %dx%d %dx%d", x.d, x.t, x.s, x.dk, x.dv), func(t *testing.T) {
		q, k, v := random(r, x.d, x.b, x.h, x.t, x.dk), random(r, x.d, x.b, x.h, x.s, x.dk), random(r, x.d, x.b, x.h, x.s, x.dv)
		dy := random(r, x.d, x.b, x.t, x.h, x.dv)
		in := []tensor{q, k, v}
		var mask tensor
		if x.mask != nil {
			if mask = random(r, x.d.Compute(), x.mask...); x.boolean {
				mask = newTensor(dtype.Bool, x.mask...)
				for i := range mask.v {
					mask.v[i].I = int64(r.IntN(3)) / 2
				}
			}
			in = append(in, mask)
		}
		scale := 1 / math.Sqrt(float64(x.dk))
		y, lse, dq, dk, dv := x.attended(scale, q, k, v, mask, dy)
		region := func(name string) *ir.Region {
			return &ir.Region{Name: name, Attr: ir.Attention{Scale: scale, Causal: x.causal}, Strided: true}
		}
		tolerance := map[dtype.DType]float64{dtype.Float32: 2e-5, dtype.BFloat16: 1.0 / 64, dtype.Float16: 1.0 / 512, dtype.Float64: 1e-12}[x.d]
		between := []int{0, 2, 1, 3} // rows of all heads behind each other
		orders := [][]int{between, between, between}
		got := c.compute(t, &kernel.Library{Op: ir.Composite, Attr: region("attention")}, in, orders, newTensor(y.d, y.sh...), newTensor(lse.d, lse.sh...))
		near(t, "result", got[0], y, tolerance)
		near(t, "logarithms", got[1], lse, min(tolerance, 2e-3))

		in = append(in, tensor{y.d, y.sh, slices.Clone(y.v)}.rounded(), lse.rounded(), dy)
		outs := []tensor{newTensor(dq.d, dq.sh...), newTensor(dk.d, dk.sh...), newTensor(dv.d, dv.sh...)}
		packed := slices.Equal(q.sh, k.sh) && slices.Equal(q.sh, v.sh)
		if packed {
			outs = []tensor{newTensor(dq.d, x.b, x.t, 3*x.h*x.dk)}
		}
		got = c.compute(t, &kernel.Library{Op: ir.Composite, Attr: region("attention_grad")}, in, orders, outs...)
		for i, want := range []tensor{dq, dk, dv} {
			g := got[min(i, len(got)-1)]
			if packed {
				all := g
				g = newTensor(all.d, want.sh...)
				n := x.h * x.dk
				for j := range g.v {
					g.v[j] = all.v[(j/n*3+i)*n+j%n]
				}
			}
			near(t, []string{"queries", "keys", "values"}[i], g, want, 8*tolerance)
		}
	})
}

// TestEpilogue compares operations that include their epilogue with the same operations
// and an interpreter of epilogues behind them.
func TestEpilogue(t *testing.T) {
	c := newCard(t, false, 4)
	r := rand.New(rand.NewPCG(4, 1))
	f, h := dtype.Float32, dtype.BFloat16
	conv := func(dir ir.Direction, stride, low, groups int, size ...int) ir.ConvAttr {
		return ir.ConvAttr{Dir: dir, Stride: []int{stride, stride}, Low: []int{low, low}, High: []int{low, low}, Dilation: []int{1, 1}, Groups: groups, Size: size}
	}
	for _, x := range some([]struct {
		op      ir.Op
		attr    ir.Attr
		d       dtype.DType
		a, b, y []int
	}{
		{ir.DotGeneral, nil, h, []int{2, 3, 33, 20}, []int{2, 3, 20, 40}, []int{2, 3, 33, 40}},
		{ir.Conv, conv(ir.InputGrad, 2, 1, 2, 9, 8), f, []int{2, 6, 5, 4}, []int{6, 10, 3, 3}, []int{2, 20, 9, 8}},
		{ir.DotGeneral, nil, f, []int{3, 600}, []int{600, 70}, []int{3, 70}},
		{ir.Conv, conv(ir.Forward, 1, 0, 2), f, []int{2, 8, 6, 6}, []int{12, 4, 1, 1}, []int{2, 12, 6, 6}},
		{ir.Conv, conv(ir.Forward, 1, 1, 2), f, []int{2, 8, 6, 5}, []int{10, 4, 3, 3}, []int{2, 10, 6, 5}},
		{ir.Conv, conv(ir.WeightGrad, 1, 1, 2, 3, 3), f, []int{2, 8, 6, 5}, []int{2, 10, 6, 5}, []int{10, 4, 3, 3}},
		{ir.Conv, conv(ir.Forward, 1, 1, 4), f, []int{2, 4, 6, 5}, []int{4, 1, 3, 3}, []int{2, 4, 6, 5}},
		{ir.Conv, conv(ir.WeightGrad, 1, 1, 4, 3, 3), f, []int{2, 4, 6, 5}, []int{2, 4, 6, 5}, []int{4, 1, 3, 3}},
		{ir.DotGeneral, nil, f, []int{300, 50}, []int{50, 5}, []int{300, 5}},
		{ir.DotGeneral, nil, dtype.Int32, []int{150, 50}, []int{50, 130}, []int{150, 130}},
	}, 4) {
		bias, residual := short(r, x.d, x.y[len(x.y)-1]), short(r, x.d, x.y...)
		var got [2][]tensor
		in := []tensor{short(r, x.d, x.a...), short(r, x.d, x.b...), bias, residual}
		for i := range got {
			got[i] = c.computeWith(t, &kernel.Library{Op: x.op, Attr: x.attr}, in, newTensor(x.d, x.y...), i == 0)
		}
		for i := range got[0] {
			near(t, fmt.Sprintf("%v %v %v %v, result %d", x.op, x.d, x.a, x.b, i), got[1][i], got[0][i], 0)
		}
	}
}

// computeWith runs an operation on the first two tensors, with an epilogue that adds a
// bias along the last axis and a residual, cuts off at zero, and stores what comes out
// over the result and, as float32, beside it. Apart says that the epilogue is a step of
// its own, which is interpreted.
func (c *card) computeWith(t *testing.T, l *kernel.Library, in []tensor, y tensor, apart bool) []tensor {
	t.Helper()
	l.Name, l.Scratch = l.Op.String(), -1
	var slots [][]byte
	for i, x := range in {
		o, mem := x.place(i, straight(len(x.sh)), 0)
		if slots = append(slots, mem); i < 2 {
			l.In = append(l.In, o)
		}
	}
	n, last := elements(y.sh), len(y.sh)-1
	l.Out = []kernel.Operand{{Slot: 4, DType: y.d, Shape: y.sh, Stride: shape.Strides(y.sh)}}
	beside := newTensor(dtype.Float32, y.sh...)
	slots = append(slots, make([]byte, n*y.d.Size()), make([]byte, 4*n))
	along := make([]int, len(y.sh))
	along[last] = 1
	st := shape.Strides(y.sh)
	e := &kernel.Fused{Name: "epilogue", Code: []kernel.Instr{
		{Kind: kernel.Load, DType: y.d, Arg: 0},
		{Kind: kernel.Load, DType: y.d, Arg: 1},
		{Kind: kernel.Load, DType: y.d, Arg: 2},
		{Kind: kernel.Apply, Op: ir.Add, DType: y.d, X: [3]int{0, 1}},
		{Kind: kernel.Apply, Op: ir.Add, DType: y.d, X: [3]int{3, 2}},
		{Kind: kernel.Imm, DType: y.d},
		{Kind: kernel.Apply, Op: ir.Max, DType: y.d, X: [3]int{4, 5}},
		{Kind: kernel.Store, DType: y.d, X: [3]int{6}, Arg: 0},
		{Kind: kernel.Apply, Op: ir.Convert, DType: dtype.Float32, X: [3]int{6}},
		{Kind: kernel.Store, DType: dtype.Float32, X: [3]int{8}, Arg: 3},
	}, Parts: []kernel.Part{{Outer: y.sh, Args: []kernel.Arg{
		{Slot: 4, DType: y.d, Stride: st}, {Slot: 2, DType: y.d, Stride: along}, {Slot: 3, DType: y.d, Stride: st}, {Slot: 5, DType: dtype.Float32, Stride: st},
	}}}}
	p := &kernel.Program{Steps: []kernel.Step{l}}
	if apart {
		p.Steps = append(p.Steps, e)
	} else {
		l.Epilogue = e
	}
	if n := Workspace(l, c.target); n > 0 {
		l.Scratch = len(slots)
		slots = append(slots, make([]byte, n))
	}
	for i := range slots {
		p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: len(slots[i])})
	}
	if _, inside, err := Lower(l, c.target); err != nil || inside == apart {
		t.Fatalf("the epilogue is included: %v, not %v; %v", inside, !apart, err)
	}
	x, err := c.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Run(c.bind(slots), nil); err != nil {
		t.Fatal(err)
	}
	for i := range y.v {
		y.v[i], beside.v[i] = scalar.Get(y.d, slots[4], i), scalar.Get(dtype.Float32, slots[5], i)
	}
	return []tensor{tensor{y.d, y.sh, slices.Clone(y.v)}, beside}
}
