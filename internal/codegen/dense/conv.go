package dense

import (
	"fmt"
	"strings"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// A convolution is a matrix product for each group of channels, whose right operand is
// gathered from the input (or, for the input's gradient, from the output) as it is
// needed:
//
//	             rows               columns               steps
//	forward      output channels    image, position       input channel, tap
//	input grad.  input channels     image, position       output channel, tap
//	weight grad. output channels    input channel, tap    image, position
//
// A column is a number h and a place u along each spatial axis, a step a number s and a
// place v. They meet the gathered tensor at coordinate u·columnStep + v·stepStep + origin
// of every axis, or outside of it. All distances are arguments of one kernel, which does
// not know which direction it computes.
//
// With a stride, inputs of different residues see different taps. The input gradient is
// done in phases, one for each residue, that are convolutions with stride 1.
type convolution struct {
	sums
	dir     ir.Direction
	d       dtype.DType
	groups  int
	m, n, k int
	a, g    kernel.Operand // left operand, gathered operand
	axes    []convAxis

	aRow, aStep, aGroup         int // distances in the left operand: rows, s, groups
	aOrigin                     int
	gColumn, gStep, gGroup      int // in the gathered one: h, s, groups
	outRow, outColumn, outGroup int // in the result: rows, h, groups
	outOrigin                   int
	along                       bool // adjacent threads gather adjacent steps, not columns

	t      tile
	direct bool // without tiles
	serial bool
}

// convAxis is a spatial axis.
type convAxis struct {
	columns, steps               int // extents of u and v
	columnStep, stepStep, origin int
	extent, distance             int // of the gathered tensor
	a, out                       int // distance of adjacent v in the left operand, of adjacent u in the result
	apart, first                 int // u is position first + u·apart of the result
}

// geometry is a convolution's shape.
type geometry struct {
	n, groups, cg, kg     int // cg, kg: channels of a group
	x, w, y               []int
	stride, low, dilation []int
}

func newGeometry(l *kernel.Library) (*geometry, ir.ConvAttr, error) {
	at, ok := l.Attr.(ir.ConvAttr)
	if !ok {
		return nil, at, fmt.Errorf("a convolution's attribute is %T", l.Attr)
	}
	var x, w, y []int
	switch a, b, c := l.In[0].Shape, l.In[1].Shape, l.Out[0].Shape; at.Dir {
	case ir.Forward:
		x, w, y = a, b, c
	case ir.InputGrad:
		y, w, x = a, b, c
	case ir.WeightGrad:
		x, y, w = a, b, c
	}
	return &geometry{n: x[0], groups: at.Groups, cg: x[1] / at.Groups, kg: w[0] / at.Groups,
		x: x[2:], w: w[2:], y: y[2:], stride: at.Stride, low: at.Low, dilation: at.Dilation}, at, nil
}

// pointwise is a convolution with one tap as a product for every image and group, if it
// is one and the images are not too small for that; else nil.
func (g *geometry) pointwise(l *kernel.Library, dir ir.Direction, t *codegen.Target) operation {
	n := elements(g.x)
	if dir == ir.WeightGrad || n != elements(g.y) || n < 32 || elements(g.w) != 1 || elements(g.stride) != 1 || g.fewChannels() {
		return nil
	}
	for _, low := range g.low {
		if low != 0 {
			return nil
		}
	}
	view := func(o kernel.Operand, shape, stride []int) kernel.Operand {
		o.Shape, o.Stride = shape, stride
		return o
	}
	image := func(o kernel.Operand, channels int) kernel.Operand {
		return view(o, []int{g.n, g.groups, channels, n}, []int{g.groups * channels * n, channels * n, n, 1})
	}
	if dir == ir.Forward {
		w := view(l.In[1], []int{g.n, g.groups, g.kg, g.cg}, []int{0, g.kg * g.cg, g.cg, 1})
		return newProduct(l, w, image(l.In[0], g.cg), image(l.Out[0], g.kg), t)
	}
	w := view(l.In[1], []int{g.n, g.groups, g.cg, g.kg}, []int{0, g.kg * g.cg, 1, g.cg})
	return newProduct(l, w, image(l.In[0], g.kg), image(l.Out[0], g.cg), t)
}

// distances are those of a contiguous tensor's axes.
func distances(shape []int) []int {
	l, n := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		l[i], n = n, n*shape[i]
	}
	return l
}

// phases are the products that make up a convolution, one in most cases. They cut their
// sums into equally many parts.
type phases []*convolution

func newConvolution(l *kernel.Library, t *codegen.Target) (operation, error) {
	g, at, err := newGeometry(l)
	if err != nil {
		return nil, err
	}
	if p := g.pointwise(l, at.Dir, t); p != nil {
		return p, nil
	}
	X, W, Y := elements(g.x), elements(g.w), elements(g.y)
	xs, ws, ys := distances(g.x), distances(g.w), distances(g.y)
	base := convolution{sums: sums{target: t, l: l, out: l.Out[0], acc: compute(l.In[0].DType), splits: 1}, dir: at.Dir, d: l.In[0].DType, groups: g.groups}
	var list phases
	switch at.Dir {
	case ir.Forward:
		c := base
		c.m, c.n, c.k = g.kg, g.n*Y, g.cg*W
		c.a, c.g = l.In[1], l.In[0]
		c.aRow, c.aStep, c.aGroup = g.cg*W, W, g.kg*g.cg*W
		c.gColumn, c.gStep, c.gGroup = g.groups*g.cg*X, X, g.cg*X
		c.outRow, c.outColumn, c.outGroup = Y, g.groups*g.kg*Y, g.kg*Y
		for i := range g.x {
			c.axes = append(c.axes, convAxis{columns: g.y[i], steps: g.w[i], columnStep: g.stride[i], stepStep: g.dilation[i], origin: -g.low[i],
				extent: g.x[i], distance: xs[i], a: ws[i], out: ys[i], apart: 1})
		}
		list = append(list, &c)
	case ir.WeightGrad:
		c := base
		c.m, c.n, c.k = g.kg, g.cg*W, g.n*Y
		c.a, c.g, c.along = l.In[1], l.In[0], true
		c.aRow, c.aStep, c.aGroup = Y, g.groups*g.kg*Y, g.kg*Y
		c.gColumn, c.gStep, c.gGroup = X, g.groups*g.cg*X, g.cg*X
		c.outRow, c.outColumn, c.outGroup = g.cg*W, W, g.kg*g.cg*W
		for i := range g.x {
			c.axes = append(c.axes, convAxis{columns: g.w[i], steps: g.y[i], columnStep: g.dilation[i], stepStep: g.stride[i], origin: -g.low[i],
				extent: g.x[i], distance: xs[i], a: ys[i], out: ws[i], apart: 1})
		}
		list = append(list, &c)
	case ir.InputGrad:
		for phase := range elements(g.stride) {
			c := base
			c.m, c.n, c.k = g.cg, g.n, g.kg
			c.a, c.g = l.In[1], l.In[0]
			c.aRow, c.aStep, c.aGroup = W, g.cg*W, g.kg*g.cg*W
			c.gColumn, c.gStep, c.gGroup = g.groups*g.kg*Y, Y, g.kg*Y
			c.outRow, c.outColumn, c.outGroup = X, g.groups*g.cg*X, g.cg*X
			for i := range g.x {
				p := newPhase(g, i, phase%g.stride[i])
				phase /= g.stride[i]
				c.n *= p.positions
				c.k *= p.taps
				c.aOrigin += p.tap * ws[i]
				c.outOrigin += p.first * xs[i]
				c.axes = append(c.axes, convAxis{columns: p.positions, steps: p.taps, columnStep: 1, stepStep: -p.back, origin: p.origin,
					extent: g.y[i], distance: ys[i], a: p.apart * ws[i], out: g.stride[i] * xs[i], apart: g.stride[i], first: p.first})
			}
			list = append(list, &c)
		}
	}
	if l.Out[0].Elements() == 0 {
		return phases(nil), nil
	}
	if g.fewChannels() && l.Out[0].Elements() < 1<<30 {
		for _, c := range list {
			c.direct = true
			if c.along {
				lines := c.k / max(1, c.axes[len(c.axes)-1].steps)
				c.splits = max(1, min(ceil(8*t.Units, c.m*c.n*c.groups), lines/8))
			}
		}
		return list, nil
	}
	tiles, k := 0, 0
	s, serial := serialTile(t, base.acc)
	for _, c := range list {
		if !serial {
			s = chooseTile(t, c.acc, c.m, c.n, c.groups*len(list))
		}
		c.t, c.serial = s, serial
		tiles += ceil(c.m, s.bm) * ceil(c.n, s.bn) * c.groups
		k = max(k, c.k)
	}
	parts := splits(t, tiles, k, s.bk)
	for _, c := range list {
		c.splits = parts
	}
	return list, nil
}

func (l phases) workspace() int {
	if len(l) == 0 {
		return 0
	}
	return l[0].workspace()
}

func (l phases) inlines() bool { return len(l) > 0 && l[0].inlines() }

func (l phases) lower() ([]codegen.Launch, error) {
	var all launches
	for _, c := range l {
		switch {
		case c.n == 0:
		case c.direct:
			all.add(c.launchDirect())
		default:
			all.add(c.launch())
		}
	}
	if l.workspace() > 0 {
		all.add(l[0].addParts())
	}
	return all.list, all.err
}

// phase is what the inputs of one residue see along one axis: inputs first, first+stride,
// …, and taps tap, tap+apart, …. Input number j meets the output at origin + j − i·back
// through the i-th of the taps.
type phase struct{ first, positions, tap, apart, taps, origin, back int }

// newPhase is for inputs q with (q + low) mod stride = residue.
func newPhase(g *geometry, axis, residue int) phase {
	s, low, d, w := g.stride[axis], g.low[axis], g.dilation[axis], g.w[axis]
	p := phase{apart: s / gcd(s, d)}
	p.first = ((residue-low)%s + s) % s
	p.positions = max(0, ceil(g.x[axis]-p.first, s))
	for p.tap < p.apart && p.tap*d%s != residue {
		p.tap++
	}
	if p.tap < p.apart && p.tap < w {
		p.taps = ceil(w-p.tap, p.apart)
		p.origin = (p.first + low - p.tap*d) / s
		p.back = p.apart * d / s
	}
	return p
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// lower writes the product.
func (c *convolution) launch() (codegen.Launch, error) {
	threads := 1
	if !c.serial {
		threads = c.t.threads()
	}
	w := newWriter(c.target, "conv", threads, &c.a, &c.g, &c.out)
	c.declare(w)
	w.groups(c.m, c.n, c.k, c.groups, c.splits, c.t)
	end := c.ending(w)
	coords := c.coords(w, end)
	w.P("A += (i64)batch * A_GROUP + A_ORIGIN; G += (i64)batch * G_GROUP; C += (i64)batch * C_GROUP + C_ORIGIN;")
	left, right := &convLeft{c}, &gathered{c}
	result := func(value, row, col string) {
		w.open("")
		c.digits(w, "h", "u", "U", col)
		at := fmt.Sprintf("(%s)%s * C_ROW + h * C_COLUMN + %s", w.index, row, c.sum("u%[1]d * C_%[1]d"))
		end.finish(w, at, value, func() []string { return coords(row) })
		w.close()
	}
	if c.serial {
		w.serial(c.t, c.acc, left, right)
		w.serialResults(c.t, c.acc, result)
	} else {
		w.tiled(c.t, c.acc, left, right)
		w.results(c.t, c.acc, result)
	}
	return w.launch()
}

// declare passes operands and distances.
func (c *convolution) declare(w *writer) {
	w.operand("A", &c.a)
	w.operand("G", &c.g)
	for _, s := range []struct {
		name string
		n    int
	}{
		{"A_ROW", c.aRow}, {"A_STEP", c.aStep}, {"A_GROUP", c.aGroup}, {"A_ORIGIN", c.aOrigin},
		{"G_COLUMN", c.gColumn}, {"G_STEP", c.gStep}, {"G_GROUP", c.gGroup},
		{"C_ROW", c.outRow}, {"C_COLUMN", c.outColumn}, {"C_GROUP", c.outGroup}, {"C_ORIGIN", c.outOrigin},
	} {
		w.stride(s.name, s.n)
	}
	for i, a := range c.axes {
		w.size(fmt.Sprint("U", i), max(1, a.columns))
		w.size(fmt.Sprint("V", i), max(1, a.steps))
		w.size(fmt.Sprint("USTEP", i), a.columnStep)
		w.size(fmt.Sprint("VSTEP", i), a.stepStep)
		w.size(fmt.Sprint("ORIGIN", i), a.origin)
		w.size(fmt.Sprint("EXTENT", i), a.extent)
		w.stride(fmt.Sprint("G_", i), a.distance)
		w.stride(fmt.Sprint("A_", i), a.a)
		w.stride(fmt.Sprint("C_", i), a.out)
	}
}

// coords are the coordinates of a row of this group and of the column with digits h and
// u, and what they take is passed.
func (c *convolution) coords(w *writer, end *ending) func(row string) []string {
	if end.epilogue != nil && c.dir == ir.InputGrad {
		for i, a := range c.axes {
			w.size(fmt.Sprint("APART", i), a.apart)
			w.size(fmt.Sprint("FIRST", i), a.first)
		}
	}
	return func(row string) []string {
		l := []string{"h", "batch * M + " + row}
		if c.dir == ir.WeightGrad {
			l[0], l[1] = l[1], l[0]
		}
		for i := range c.axes {
			u := fmt.Sprint("u", i)
			if c.dir == ir.InputGrad {
				u = fmt.Sprintf("u%d * APART%d + FIRST%d", i, i, i)
			}
			l = append(l, u)
		}
		return l
	}
}

// each joins what a form gives for every axis.
func (c *convolution) each(form, sep string) string {
	l := make([]string, len(c.axes))
	for i := range l {
		l[i] = fmt.Sprintf(form, i)
	}
	return strings.Join(l, sep)
}

func (c *convolution) sum(form string) string { return c.each(form, " + ") }

// digits declares the number and the places that a column or step consists of.
func (c *convolution) digits(w *writer, number, place, extent, of string) {
	w.P("%s %s = %s;", w.index, number, of)
	for i := len(c.axes) - 1; i >= 0; i-- {
		w.P("i32 %s%d = %s %% %s%d; %s /= %s%d;", place, i, number, extent, i, number, extent, i)
	}
}

// inside tells whether coordinates lie in the gathered tensor.
func (c *convolution) inside(coordinate string) string {
	return c.each("(u32)("+coordinate+") < (u32)EXTENT%[1]d", " && ")
}

// convLeft is the left operand of a convolution's product.
type convLeft struct{ *convolution }

// rows of a tile that a thread brings lie so far apart.
func (c *convLeft) apart(w *writer) int { return w.group / c.t.bk }

func (c *convLeft) begin(w *writer) {
	w.P("const i32 A_k0 = tid %% %d, A_x0 = tid / %d;", c.t.bk, c.t.bk)
	w.P("%s %s;", c.acc, list(c.t.bm/c.apart(w), func(i int) string { return fmt.Sprintf("A_r%d = 0", i) }))
}

func (c *convLeft) fetch(w *writer, kk string) {
	w.open("")
	w.P("const %s at = (mBegin + A_x0) * A_ROW + stepA[now + A_k0];", w.index)
	w.P("const i32 some = %s + A_k0 < kend;", kk)
	for i := range c.t.bm / c.apart(w) {
		w.P("A_r%d = some && mBegin + A_x0 + %d < M ? %s : 0;", i, i*c.apart(w), load(c.d, "A", fmt.Sprintf("at + %d * A_ROW", i*c.apart(w))))
	}
	w.close()
}

func (c *convLeft) stash(w *writer, dst string) {
	for i := range c.t.bm / c.apart(w) {
		w.P("%s[A_k0 * %d + A_x0 + %d] = A_r%d;", dst, pitch(c.t.bm), i*c.apart(w), i)
	}
}

func (c *convLeft) pack(w *writer, dst string, panel int) {
	w.open("for (i32 x = 0; x < rows; x += %d)", panel)
	w.P("SHARED_PTR %s *to = %s + x * kn;", c.acc, dst)
	w.P("const i32 many = min_i32(rows - x, %d);", panel)
	c.digits(w, "s", "v", "V", "kk")
	w.open("for (i32 k = 0; k < kn; k++, to += %d)", panel)
	w.P("GLOBAL %s *from = A + ((mBegin + x) * A_ROW + s * A_STEP + %s);", storage(c.d), c.sum("v%[1]d * A_%[1]d"))
	w.P("for (i32 j = 0; j < many; j++) to[j] = %s;", load(c.d, "from", "j * A_ROW"))
	w.P("for (i32 j = many; j < %d; j++) to[j] = 0;", panel)
	c.advance(w, "1")
	w.close()
	w.close()
}

// advance goes to the next step.
func (c *convolution) advance(w *writer, by string) {
	last := len(c.axes) - 1
	if by == "1" {
		w.P("v%d++;", last)
	} else {
		w.P("s += ds;")
		for i := range c.axes {
			w.P("v%d += dv%d;", i, i)
		}
	}
	for i := last; i > 0; i-- {
		w.P("if (v%d >= V%d) { v%d -= V%d; v%d++; }", i, i, i, i, i-1)
	}
	w.P("if (v0 >= V0) { v0 -= V0; s++; }")
}

// gathered is the right operand. What a step contributes to addresses and coordinates
// is computed once for all threads: a table in local memory tells it for the steps of
// the tile that is fetched, while one for the next tile is written.
type gathered struct{ *convolution }

func (c *gathered) begin(w *writer) {
	bk := c.t.bk
	// The table: distances in both operands, coordinates.
	w.shared(w.index, "stepA", 2*bk)
	w.shared(w.index, "stepG", 2*bk)
	for i := range c.axes {
		w.shared("i32", fmt.Sprint("stepC", i), 2*bk)
	}
	w.P("i32 now = 0;")
	c.digits(w, "s", "v", "V", "kbegin + tid")
	w.P("%s ds = %d;", w.index, bk)
	for i := len(c.axes) - 1; i >= 0; i-- {
		w.P("const i32 dv%d = ds %% V%d; ds /= V%d;", i, i, i)
	}
	c.table(w)
	n := c.t.bn * bk / w.group
	w.P("%s %s;", c.acc, list(n, func(i int) string { return fmt.Sprintf("B_r%d = 0", i) }))
	column := func(of string) {
		c.digits(w, "h", "u", "U", of)
		w.P("const %s at = h * G_COLUMN + %s;", w.index, c.sum("(u%[1]d * USTEP%[1]d + ORIGIN%[1]d) * G_%[1]d"))
	}
	if c.along {
		w.P("const i32 B_k0 = tid %% %d, B_x0 = tid / %d;", bk, bk)
		w.shared(w.index, "columnG", c.t.bn)
		for i := range c.axes {
			w.shared("i32", fmt.Sprint("columnC", i), c.t.bn)
		}
		w.open("if (tid < %d)", c.t.bn)
		column("nBegin + tid")
		w.P("columnG[tid] = at;")
		for i := range c.axes {
			w.P("columnC%d[tid] = nBegin + tid < N ? u%d * USTEP%d + ORIGIN%d : -(1 << 30);", i, i, i, i)
		}
		w.close()
	} else {
		w.P("const i32 B_k0 = tid / %d, B_x0 = tid %% %d;", c.t.bn, c.t.bn)
		w.P("%s columnG; i32 %s;", w.index, c.each("columnC%d", ", "))
		w.open("")
		column("nBegin + B_x0")
		w.P("columnG = at;")
		for i := range c.axes {
			w.P("columnC%d = nBegin + B_x0 < N ? u%d * USTEP%d + ORIGIN%d : -(1 << 30);", i, i, i, i)
		}
		w.close()
	}
	w.P("BARRIER();")
}

// table writes this thread's row.
func (c *gathered) table(w *writer) {
	w.open("if (tid < %d)", c.t.bk)
	w.P("stepA[now + tid] = s * A_STEP + %s;", c.sum("v%[1]d * A_%[1]d"))
	w.P("stepG[now + tid] = s * G_STEP + %s;", c.sum("(v%[1]d * VSTEP%[1]d) * G_%[1]d"))
	for i := range c.axes {
		w.P("stepC%d[now + tid] = v%d * VSTEP%d;", i, i, i)
	}
	w.close()
}

// part is the place of a thread's i-th element in the tile.
func (c *gathered) part(w *writer, i int) (x, k int) {
	if c.along {
		return i * w.group / c.t.bk, 0
	}
	return 0, i * w.group / c.t.bn
}

func (c *gathered) fetch(w *writer, kk string) {
	for i := range c.t.bn * c.t.bk / w.group {
		x, k := c.part(w, i)
		at := ""
		if c.along {
			at = fmt.Sprintf("[B_x0 + %d]", x)
		}
		w.open("")
		w.P("const i32 k = B_k0 + %d;", k)
		ok := c.inside("columnC%[1]d" + at + " + stepC%[1]d[now + k]")
		w.P("B_r%d = %s + k < kend && %s ? %s : 0;", i, kk, ok, load(c.d, "G", "columnG"+at+" + stepG[now + k]"))
		w.close()
	}
	w.P("now = %d - now;", c.t.bk)
	c.advance(w, "ds")
	c.table(w)
}

func (c *gathered) stash(w *writer, dst string) {
	for i := range c.t.bn * c.t.bk / w.group {
		x, k := c.part(w, i)
		w.P("%s[(B_k0 + %d) * %d + B_x0 + %d] = B_r%d;", dst, k, pitch(c.t.bn), x, i)
	}
}

func (c *gathered) pack(w *writer, dst string, panel int) {
	w.open("for (i32 x = 0; x < cols; x += %d)", panel)
	w.P("SHARED_PTR %s *to = %s + x * kn;", c.acc, dst)
	w.P("%s columnG[%d]; i32 %s;", w.index, panel, c.each(fmt.Sprintf("columnC%%d[%d]", panel), ", "))
	w.open("for (i32 j = 0; j < %d; j++)", panel)
	c.digits(w, "h", "u", "U", "nBegin + x + j")
	w.P("columnG[j] = h * G_COLUMN + %s;", c.sum("(u%[1]d * USTEP%[1]d + ORIGIN%[1]d) * G_%[1]d"))
	for i := range c.axes {
		w.P("columnC%d[j] = x + j < cols ? u%d * USTEP%d + ORIGIN%d : -(1 << 30);", i, i, i, i)
	}
	w.close()
	c.digits(w, "s", "v", "V", "kk")
	w.open("for (i32 k = 0; k < kn; k++, to += %d)", panel)
	w.P("const %s at = s * G_STEP + %s;", w.index, c.sum("(v%[1]d * VSTEP%[1]d) * G_%[1]d"))
	w.P("const i32 %s;", c.each("c%[1]d = v%[1]d * VSTEP%[1]d", ", "))
	// Every element is read, one that lies outside from the beginning; in an array that
	// nothing else can be, so that compilers make vectors of the loop.
	w.P("%s line[%d];", c.acc, panel)
	w.open("for (i32 j = 0; j < %d; j++)", panel)
	w.P("const i32 ok = %s;", strings.ReplaceAll(c.inside("columnC%[1]d[j] + c%[1]d"), "&&", "&"))
	w.P("const %s e = %s;", c.acc, load(c.d, "G", "ok ? columnG[j] + at : 0"))
	w.P("line[j] = ok ? e : 0;")
	w.close()
	w.P("for (i32 j = 0; j < %d; j++) to[j] = line[j];", panel)
	c.advance(w, "1")
	w.close()
	w.close()
}
