package graphtest

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Random makes up a graph of about so many operations and returns its outputs. A
// storage's Data is its content.
//
// A raw graph may hold what only package rewrite can deal with: composites, loops,
// sums of nothing, matrix products that are not in normal form.
func Random(r *rand.Rand, size int, raw bool) []*ir.Node {
	g := &maker{Rand: r, raw: raw}
	if g.chance(60) { // values that have much to do with each other
		g.only, g.base = g.dtype(), g.shape()
	}
	for range 1 + r.IntN(3) {
		g.leaf(g.dtype(), g.shape())
	}
	for range size {
		if n := g.operation(g.pick()); n != nil {
			g.nodes = append(g.nodes, n)
		}
	}
	return g.outputs()
}

// maxElements bounds the tensors, for everything is computed several times.
const maxElements = 150

type maker struct {
	*rand.Rand
	raw    bool
	only   dtype.DType // most tensors are of this type
	base   []int       // and of this shape
	nodes  []*ir.Node
	leaves []*ir.Node
	inside bool // a loop's body is being made
}

// pick prefers what came last, so that graphs become deep.
func (g *maker) pick() *ir.Node {
	n := len(g.nodes)
	if g.IntN(2) == 0 {
		return g.nodes[n-1-g.IntN(min(n, 3))]
	}
	return g.nodes[g.IntN(n)]
}

func choose[T any](g *maker, l ...T) T { return l[g.IntN(len(l))] }

func (g *maker) chance(percent int) bool { return g.IntN(100) < percent }

func (g *maker) dtype() dtype.DType {
	if g.only != dtype.Invalid && g.chance(80) {
		return g.only
	}
	const f, d, b, i, l = dtype.Float32, dtype.Float64, dtype.Bool, dtype.Int32, dtype.Int64
	return choose(g, f, f, f, f, f, f, f, d, d, i, i, l, l, b, b, dtype.Int8, dtype.Uint8, dtype.Float16, dtype.BFloat16)
}

func (g *maker) shape() []int {
	if g.base != nil && g.chance(80) {
		return g.base
	}
	sh := make([]int, g.IntN(5))
	for i := range sh {
		sh[i] = choose(g, 1, 2, 2, 3, 3, 4, 6)
		if product(sh[:i+1]) > 72 {
			sh[i] = 1
		}
		if g.chance(1) {
			sh[i] = 0
		}
	}
	return sh
}

func (g *maker) number(d dtype.DType) float64 {
	switch {
	case d == dtype.Bool:
		return float64(g.IntN(2))
	case d == dtype.Uint8:
		return float64(g.IntN(5))
	case !d.IsFloat():
		return float64(g.IntN(9) - 4)
	case g.chance(1):
		return choose(g, math.NaN(), math.Inf(1), math.Inf(-1))
	case g.chance(10):
		return math.Copysign(0, -1)
	}
	return float64(g.IntN(17)-8) / 4
}

func (g *maker) leaf(d dtype.DType, sh []int) *ir.Node {
	t := newTensor(d, sh)
	for i := range t.V {
		v := g.number(d)
		t.V[i] = Number{F: v}
		if !d.IsFloat() {
			t.V[i] = Number{I: int64(v)}
		}
	}
	n := ir.NewInput(d, sh, &ir.Storage{Data: t.Bytes()})
	g.nodes = append(g.nodes, n)
	g.leaves = append(g.leaves, n)
	return n
}

func (g *maker) literal(d dtype.DType, sh []int) *ir.Node {
	v := g.number(d)
	if d.IsFloat() && g.chance(40) || g.chance(40) {
		v = choose(g, 0.0, 1)
	}
	return ir.Full(d, v, sh)
}

// axes is some axes, at least one.
func (g *maker) axes(n int) []int {
	var l []int
	for i := range n {
		if g.chance(45) {
			l = append(l, i)
		}
	}
	if l == nil {
		l = []int{g.IntN(n)}
	}
	return l
}

// view is x looked at in another way, or nil.
func (g *maker) view(x *ir.Node) *ir.Node {
	r := len(x.Shape)
	switch g.IntN(6) {
	case 0:
		return g.reshape(x)
	case 1:
		return ir.Permute(x, g.Perm(r))
	case 2: // repeated along new axes and along those of extent 1
		var sh, axes []int
		for i := 0; i <= r; i++ {
			if g.chance(25) {
				sh = append(sh, choose(g, 1, 2, 3))
			}
			if i < r {
				axes = append(axes, len(sh))
				if x.Shape[i] == 1 {
					sh = append(sh, choose(g, 1, 2, 3, 4))
				} else {
					sh = append(sh, x.Shape[i])
				}
			}
		}
		if product(sh) > maxElements {
			return nil
		}
		return ir.BroadcastTo(x, sh, axes)
	case 3:
		return g.slice(x)
	case 4:
		if r > 0 {
			return ir.New(ir.Reverse, ir.Axes{Axes: g.axes(r)}, x)
		}
	case 5: // a reshape that may need the elements of a slice to be copied
		if s := g.slice(x); s != nil {
			return g.reshape(s)
		}
	}
	return nil
}

func (g *maker) slice(x *ir.Node) *ir.Node {
	r := len(x.Shape)
	start, limit, step := make([]int, r), slices.Clone(x.Shape), make([]int, r)
	for i, d := range x.Shape {
		step[i] = 1
		if d > 0 && g.chance(50) {
			start[i] = g.IntN(d)
			limit[i] = start[i] + 1 + g.IntN(d-start[i])
			step[i] = choose(g, 1, 1, 2, 3)
		}
	}
	return ir.SliceOf(x, start, limit, step)
}

// reshape cuts the elements into other axes.
func (g *maker) reshape(x *ir.Node) *ir.Node {
	n := x.Elements()
	if n == 0 {
		return ir.ReshapeTo(x, []int{0})
	}
	var sh []int
	for n > 1 && len(sh) < 4 {
		d := 1 + g.IntN(n)
		for n%d != 0 {
			d++
		}
		if g.chance(30) {
			d = n
		}
		sh = append(sh, d)
		n /= d
	}
	if n > 1 || g.chance(20) {
		sh = slices.Insert(sh, g.IntN(len(sh)+1), n)
	}
	return ir.ReshapeTo(x, sh)
}

// partner is a value that fits x in an elementwise operation.
func (g *maker) partner(d dtype.DType, sh []int) *ir.Node {
	start := g.IntN(len(g.nodes))
	find := func(ok func(n *ir.Node) bool) *ir.Node {
		for i := range g.nodes {
			if n := g.nodes[(start+i)%len(g.nodes)]; ok(n) {
				return n
			}
		}
		return nil
	}
	for range 4 {
		var n *ir.Node
		switch g.IntN(7) {
		case 0:
			n = find(func(n *ir.Node) bool { return n.DType == d && slices.Equal(n.Shape, sh) })
		case 1:
			n = find(func(n *ir.Node) bool { return n.DType == d && n.Elements() == product(sh) })
			if n != nil {
				n = ir.ReshapeTo(n, sh)
			}
		case 2: // the same elements in another order
			if n = find(func(n *ir.Node) bool { return n.DType == d && slices.Equal(n.Shape, sh) }); n != nil && len(sh) > 0 {
				n = ir.New(ir.Reverse, ir.Axes{Axes: g.axes(len(sh))}, n)
			}
		case 3:
			p := g.Perm(len(sh))
			n = find(func(n *ir.Node) bool {
				if n.DType != d || len(n.Shape) != len(sh) {
					return false
				}
				for i := range p {
					if n.Shape[p[i]] != sh[i] {
						return false
					}
				}
				return true
			})
			if n != nil {
				n = ir.Permute(n, p)
			}
		case 4: // repeated along leading axes, or along any if it has an element
			n = find(func(n *ir.Node) bool {
				return n.DType == d && len(n.Shape) < len(sh) && slices.Equal(n.Shape, sh[len(sh)-len(n.Shape):])
			})
			if n != nil {
				n = ir.Broadcast(n, sh)
			}
		case 5:
			return g.literal(d, sh)
		case 6:
			n = find(func(n *ir.Node) bool { return n.DType != d && slices.Equal(n.Shape, sh) })
			if n != nil {
				n = ir.To(n, d)
			}
		}
		if n != nil {
			return n
		}
	}
	if g.chance(30) {
		return g.literal(d, sh)
	}
	return g.leaf(d, sh)
}

func (g *maker) unary(x *ir.Node) *ir.Node {
	switch {
	case x.DType.IsFloat():
		return ir.New(choose(g, ir.Neg, ir.Neg, ir.Abs, ir.Sign, ir.Exp, ir.Tanh, ir.Floor, ir.Sqrt), nil, x)
	case x.DType == dtype.Bool:
		return ir.New(ir.Not, nil, x)
	}
	return ir.New(choose(g, ir.Neg, ir.Neg, ir.Abs, ir.Sign, ir.Not), nil, x)
}

func (g *maker) binary(x *ir.Node) *ir.Node {
	y := g.partner(x.DType, x.Shape)
	if g.chance(30) {
		x, y = y, x
	}
	var op ir.Op
	switch {
	case g.chance(15):
		op = choose(g, ir.Eq, ir.Ne, ir.Lt, ir.Le)
	case x.DType == dtype.Bool:
		op = choose(g, ir.And, ir.Or, ir.Xor)
	default:
		op = choose(g, ir.Add, ir.Add, ir.Sub, ir.Sub, ir.Mul, ir.Mul, ir.Div, ir.Max, ir.Min)
	}
	return ir.New(op, nil, x, y)
}

func (g *maker) reduce(x *ir.Node) *ir.Node {
	if len(x.Shape) == 0 || x.DType == dtype.Bool {
		return nil
	}
	axes := g.axes(len(x.Shape))
	op := choose(g, ir.ReduceSum, ir.ReduceSum, ir.ReduceMax, ir.ReduceMin)
	if x.Elements() == 0 {
		if !g.raw {
			return nil
		}
		op = ir.ReduceSum
	}
	n := ir.Fold(op, x, axes)
	if x.Elements() == 0 {
		return n
	}
	g.nodes = append(g.nodes, n)
	switch g.IntN(4) {
	case 0: // as softmax does
		return ir.New(ir.Sub, nil, x, ir.Unreduce(n, x.Shape, axes))
	case 1: // as layer normalisation does
		y := ir.New(ir.Sub, nil, x, ir.Unreduce(n, x.Shape, axes))
		return ir.New(ir.Mul, nil, y, ir.Unreduce(ir.Fold(choose(g, ir.ReduceMax, ir.ReduceMin), ir.New(ir.Abs, nil, y), axes), x.Shape, axes))
	case 2: // another of the same values
		return ir.Fold(choose(g, ir.ReduceMax, ir.ReduceMin, ir.ReduceSum), g.unary(x), g.axes(len(x.Shape)))
	}
	return n
}

func (g *maker) pad(x *ir.Node) *ir.Node {
	r := len(x.Shape)
	p := ir.Padding{Low: make([]int, r), High: make([]int, r), Interior: make([]int, r)}
	for i := range r {
		if g.chance(50) {
			p.Low[i], p.High[i] = g.IntN(3), g.IntN(3)
		}
		if g.chance(20) {
			p.Interior[i] = 1 + g.IntN(2)
		}
	}
	if g.chance(50) {
		p.Value = g.literal(x.DType, nil).Attr.(ir.Literal).Bits
	}
	return ir.New(ir.Pad, p, x)
}

// tiles is what the gradient of a split looks like: parts, padded by zeros and added
// up. Often something is not as it should be.
func (g *maker) tiles(x *ir.Node) *ir.Node {
	r := len(x.Shape)
	if r == 0 || x.DType == dtype.Bool {
		return nil
	}
	axis := g.IntN(r)
	d := x.Shape[axis]
	if d < 2 {
		return nil
	}
	part := func(low, high int) *ir.Node {
		y := ir.SliceAxis(x, axis, low, high)
		if g.chance(50) {
			y = g.unary(y)
		}
		p := ir.Padding{Low: make([]int, r), High: make([]int, r), Interior: make([]int, r)}
		p.Low[axis], p.High[axis] = low, d-high
		switch g.IntN(12) {
		case 0:
			p.Value = g.literal(x.DType, nil).Attr.(ir.Literal).Bits
		case 1: // every other element, where that is as long
			if low+2 == high && p.High[axis] > 0 {
				p.Interior[axis], p.High[axis] = 1, p.High[axis]-1
			}
		case 2: // along another axis as well
			if other := (axis + 1) % r; other != axis && x.Shape[other] > 1 {
				y = ir.SliceAxis(y, other, 1, x.Shape[other])
				p.Low[other] = 1
			}
		}
		return ir.New(ir.Pad, p, y)
	}
	cut := 1 + g.IntN(d-1)
	sum := ir.New(ir.Add, nil, part(0, cut), part(choose(g, cut, cut, cut, cut-1), d))
	if g.chance(30) {
		sum = ir.New(ir.Add, nil, sum, part(cut, d))
	}
	return sum
}

func (g *maker) concatenate(x *ir.Node) *ir.Node {
	if len(x.Shape) == 0 {
		return nil
	}
	axis := g.IntN(len(x.Shape))
	in := []*ir.Node{x}
	for range g.IntN(3) {
		switch g.IntN(3) {
		case 0:
			in = append(in, x)
		case 1:
			in = append(in, g.partner(x.DType, x.Shape))
		case 2:
			sh := slices.Clone(x.Shape)
			sh[axis] = g.IntN(4)
			in = append(in, g.partner(x.DType, sh))
		}
	}
	return ir.New(ir.Concatenate, ir.Axis{Axis: axis}, in...)
}

// library is an operation that a backend has a routine for.
func (g *maker) library(x *ir.Node) *ir.Node {
	r := len(x.Shape)
	if r == 0 || x.DType == dtype.Bool {
		return nil
	}
	axis := g.IntN(r)
	switch g.IntN(7) {
	case 0:
		return ir.New(ir.CumSum, ir.Cumulate{Axis: axis, Reverse: g.chance(50), Exclusive: g.chance(50)}, x)
	case 1:
		if x.Shape[axis] > 0 {
			return ir.New(choose(g, ir.ArgMax, ir.ArgMin), ir.Axis{Axis: axis}, x)
		}
	case 2:
		batch := 0
		if axis > 0 && g.chance(50) {
			batch = 1 // the leading axis, which the indices have too
		}
		sh := append(slices.Clone(x.Shape[:batch]), g.shape()...)
		if y := product(x.Shape[:axis]) * product(sh[batch:]) * product(x.Shape[axis+1:]); y > 0 && y <= maxElements {
			return ir.New(ir.Gather, ir.Index{Axis: axis, Batch: batch}, x, g.partner(choose(g, dtype.Int64, dtype.Int32), sh))
		}
	default:
		return g.product(x)
	}
	return nil
}

// product is a matrix product of x with something, its epilogue to follow.
func (g *maker) product(x *ir.Node) *ir.Node {
	r := len(x.Shape)
	if r < 2 || x.Elements() == 0 {
		return nil
	}
	if g.raw && g.chance(50) { // any axes
		var d ir.Dot
		var sh []int
		for i := range r {
			switch g.IntN(3) {
			case 0:
				d.LeftBatch, d.RightBatch = append(d.LeftBatch, i), append(d.RightBatch, len(sh))
				sh = append(sh, x.Shape[i])
			case 1:
				d.LeftContract, d.RightContract = append(d.LeftContract, i), append(d.RightContract, len(sh))
				sh = append(sh, x.Shape[i])
			}
			if g.chance(30) {
				sh = append(sh, choose(g, 1, 2, 3))
			}
		}
		g.Shuffle(len(d.LeftContract), func(i, j int) {
			l, q := d.LeftContract, d.RightContract
			l[i], l[j], q[i], q[j] = l[j], l[i], q[j], q[i]
		})
		free := 1
		for _, i := range d.Free(len(sh), false) {
			free *= sh[i]
		}
		if x.Elements()*free > 600 {
			return nil
		}
		return ir.New(ir.DotGeneral, d, x, g.partner(x.DType, sh))
	}
	sh := slices.Clone(x.Shape)
	sh[r-2], sh[r-1] = x.Shape[r-1], choose(g, 1, 2, 3, 4, x.Shape[r-2])
	if product(sh) > maxElements {
		return nil
	}
	return ir.MatMul(x, g.partner(x.DType, sh))
}

// region is a composite: the mean of x and y, and a part of it.
func (g *maker) region(x *ir.Node) *ir.Node {
	if !x.DType.IsFloat() {
		return nil
	}
	y := g.partner(x.DType, x.Shape)
	sum := ir.New(ir.Add, nil, x, y)
	half := ir.New(ir.Mul, nil, sum, ir.Full(x.DType, 0.5, x.Shape))
	return choose(g, ir.NewComposite("mean", nil, []*ir.Node{x, y}, half, g.unary(sum))...)
}

// loop is a Scan along the first axis of x and of another tensor, whose body is a
// small graph: of one or two carries, the slices and values from outside. Some of its
// results are the same, some hand something through.
func (g *maker) loop(x *ir.Node) *ir.Node {
	if len(x.Shape) == 0 || x.Shape[0] == 0 {
		return nil
	}
	sh := x.Shape[1:]
	spec := ir.ScanSpec{Inputs: []*ir.Node{x, g.partner(g.dtype(), x.Shape)}, Reverse: g.chance(50)}
	for range 1 + g.IntN(2) {
		spec.Carries = append(spec.Carries, g.partner(choose(g, x.DType, g.dtype()), choose(g, sh, sh, g.shape())))
	}
	for _, c := range spec.Carries {
		spec.Params = append(spec.Params, ir.NewParam(len(spec.Params), c.DType, c.Shape))
	}
	for _, y := range spec.Inputs {
		spec.Params = append(spec.Params, ir.NewParam(len(spec.Params), y.DType, y.Shape[1:]))
	}
	body := &maker{Rand: g.Rand, raw: g.raw, inside: true, only: x.DType, base: sh}
	for range 1 + g.IntN(2) { // values from outside
		body.nodes = append(body.nodes, g.pick())
	}
	body.nodes = append(body.nodes, spec.Params...)
	for range 1 + g.IntN(6) {
		if n := body.operation(body.pick()); n != nil {
			body.nodes = append(body.nodes, n)
		}
	}
	for _, c := range spec.Carries {
		spec.Outs = append(spec.Outs, body.partner(c.DType, c.Shape))
	}
	for range 1 + g.IntN(4) {
		spec.Outs = append(spec.Outs, body.pick())
	}
	for _, n := range ir.CloseScan(spec) {
		if n.Elements() <= maxElements {
			g.nodes = append(g.nodes, n)
		}
	}
	return nil
}

func (g *maker) operation(x *ir.Node) *ir.Node {
	n := g.any(x)
	if n != nil && n.Elements() > maxElements {
		return nil
	}
	return n
}

func (g *maker) any(x *ir.Node) *ir.Node {
	switch p := g.IntN(100); {
	case p < 10:
		return g.unary(x)
	case p < 32:
		return g.binary(x)
	case p < 36:
		if !x.DType.IsFloat() && x.DType != dtype.Bool {
			x = ir.New(ir.Lt, nil, x, g.partner(x.DType, x.Shape))
		}
		if x.DType == dtype.Bool {
			d := g.dtype()
			if g.chance(20) {
				x = g.literal(x.DType, x.Shape)
			}
			return ir.New(ir.Select, nil, x, g.partner(d, x.Shape), g.partner(d, x.Shape))
		}
		zero := ir.Full(x.DType, 0, x.Shape)
		if g.chance(50) { // a rectifier and something behind its mask
			c := ir.New(ir.Le, nil, x, zero)
			g.nodes = append(g.nodes, ir.New(ir.Select, nil, c, zero, x))
			return ir.New(ir.Select, nil, c, zero, g.partner(x.DType, x.Shape))
		}
		c := ir.New(ir.Lt, nil, zero, x)
		g.nodes = append(g.nodes, ir.New(ir.Select, nil, c, x, zero))
		return ir.New(ir.Select, nil, c, g.partner(x.DType, x.Shape), zero)
	case p < 40:
		return ir.To(x, g.dtype())
	case p < 56:
		return g.view(x)
	case p < 70:
		return g.reduce(x)
	case p < 75:
		return g.pad(x)
	case p < 80:
		return g.concatenate(x)
	case p < 90:
		return g.library(x)
	case p < 92:
		sh := g.shape()
		if len(sh) > 0 {
			return ir.NewIota(choose(g, dtype.Int64, dtype.Float32, dtype.Int32), sh, g.IntN(len(sh)))
		}
	case p < 93:
		return ir.NewRNGBits(ir.RNG{Seed: g.Uint64(), Site: 3}, g.shape(), g.partner(dtype.Int64, nil))
	case p < 94:
		return g.literal(g.dtype(), g.shape())
	case p < 95:
		in := []*ir.Node{x} // and what it waits for
		for len(in) < 3 && g.chance(50) {
			in = append(in, g.pick())
		}
		return ir.New(ir.Barrier, nil, in...)
	case p < 96:
		return g.tiles(x)
	case !g.raw:
	case p < 97:
		return ir.New(ir.StopGradient, nil, x)
	case p < 98:
		return g.region(x)
	case !g.inside || g.chance(20):
		return g.loop(x)
	}
	return nil
}

// outputs are some values, views of them, some of them twice, and assignments.
func (g *maker) outputs() []*ir.Node {
	outs := []*ir.Node{g.nodes[len(g.nodes)-1]}
	used := make(map[*ir.Node]bool)
	for _, n := range slices.Backward(g.nodes) {
		for _, x := range n.In {
			used[x] = true
		}
		if !g.chance(10) && (used[n] || n.Op == ir.Input || g.chance(50)) {
			continue
		}
		outs = append(outs, n)
		switch g.IntN(6) {
		case 0:
			outs = append(outs, n)
		case 1:
			outs = append(outs, g.reshape(n))
		case 2:
			if v := g.view(n); v != nil {
				outs = append(outs, v)
			}
		}
	}
	var assigns []*ir.Node
	assign := func(v, x *ir.Node) {
		a := ir.New(ir.Assign, ir.Target{Storage: v.Storage}, v, x)
		if g.raw && g.chance(30) { // tied to an output
			i := g.IntN(len(outs))
			n := *outs[i]
			n.Effects = append(slices.Clone(n.Effects), a)
			outs[i] = &n
			return
		}
		assigns = append(assigns, a)
	}
	done := make(map[*ir.Node]bool)
	variables := slices.Clone(g.leaves)
	for _, v := range variables {
		if done[v] || g.chance(50) {
			continue
		}
		done[v] = true
		switch g.IntN(4) {
		case 0: // something of itself
			if y := g.operation(v); y != nil && y.DType == v.DType && y.Elements() == v.Elements() {
				assign(v, ir.ReshapeTo(y, v.Shape))
			}
		case 1: // variables are exchanged, or take the same value
			x := g.partner(v.DType, v.Shape)
			for _, w := range variables {
				if !done[w] && w.DType == v.DType && w.Elements() == v.Elements() {
					done[w] = true
					x = ir.ReshapeTo(w, v.Shape)
					assign(w, ir.ReshapeTo(choose(g, v, x, g.unlessBool(v)), w.Shape))
					break
				}
			}
			assign(v, x)
		default:
			assign(v, g.partner(v.DType, v.Shape))
		}
	}
	return append(outs, assigns...)
}

func (g *maker) unlessBool(x *ir.Node) *ir.Node {
	if x.DType == dtype.Bool {
		return x
	}
	return ir.New(ir.Add, nil, x, g.partner(x.DType, x.Shape))
}
