package devicetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
)

// dot tests matrix products in their normal form.
func (s *suite) dot(t *testing.T) {
	t.Run("layouts", s.dotLayouts)
	t.Run("accuracy", s.dotAccuracy)
	t.Run("epilogue", s.dotEpilogue)
	t.Run("nothing", s.emptyDot)
}

// dotLayouts has operands of all types as they lie in memory after transposes,
// slices and broadcasts, in sizes around those of vectors and tiles. Every sum is
// exact.
func (s *suite) dotLayouts(t *testing.T) {
	r := random(20)
	for _, f := range forms(numeric) {
		d := f.operand
		p := s.program(t)
		for i, size := range [][3]int{ // M, N, K
			{1, 1, 1}, {1, 40, 30}, {40, 1, 30}, {5, 7, 1}, {2, 3, 200}, {16, 16, 16}, {17, 33, 9}, {1, 130, 70},
			{31, 64, 65}, {70, 30, 130}, {6, 1000, 5}, {129, 131, 67},
		} {
			m, n, k := size[0], size[1], size[2]
			for j, batch := range [][]int{nil, {3}, {2, 2}} {
				if m*n*k > 1<<17 && j > 0 {
					continue
				}
				l := &kernel.Library{Op: ir.DotGeneral}
				l.In = append(l.In, p.matrix(r, d, batch, m, k, (i+j)%6), p.matrix(r, d, batch, k, n, (i+j)/2%6))
				sh := append(slices.Clone(batch), m, n)
				out := p.output(fmt.Sprintf("dot %v %d×%d×%d, batch %v, strides %v and %v", f, m, k, n, batch, l.In[0].Stride, l.In[1].Stride), f.result, product(sh)+2*(i%2))
				o := p.dense(out, sh...)
				o.Offset = i % 2
				l.Out = append(l.Out, o)
				p.library(l)
			}
		}
		p.run()
	}
}

// form is the types of a contraction.
type form struct{ operand, result dtype.DType }

func (f form) String() string {
	if f.operand == f.result {
		return f.operand.String()
	}
	return fmt.Sprintf("%v to %v", f.operand, f.result)
}

// forms are contractions within each type, and those of 16-bit floats that give
// float32.
func forms(types []dtype.DType) []form {
	var l []form
	for _, d := range types {
		l = append(l, form{d, d})
		if d.Compute() != d {
			l = append(l, form{d, d.Compute()})
		}
	}
	return l
}

// matrix is an operand [batch…, rows, cols] in a new leaf, which lies there in one
// of six ways.
func (p *program) matrix(r *rand.Rand, d dtype.DType, batch []int, rows, cols, way int) kernel.Operand {
	sh := append(slices.Clone(batch), rows, cols)
	o := kernel.Operand{DType: d, Shape: sh, Stride: shape.Strides(sh)}
	n := len(batch)
	size := product(sh)
	switch way {
	case 1: // transposed
		o.Stride[n], o.Stride[n+1] = 1, rows
	case 2: // the same for every batch
		for i := range batch {
			o.Stride[i] = 0
		}
		size = rows * cols
	case 3: // columns of a wider matrix
		o.Stride[n] = cols + 3
		for i := n - 1; i >= 0; i-- {
			o.Stride[i] = o.Stride[i+1] * sh[i+1]
		}
		o.Offset = 2
		size = 2 + size + 3*rows*product(batch)
	case 4: // batches between the rows, as attention heads lie
		if n > 0 {
			o.Stride[n] = product(batch) * cols
			for i, st := range shape.Strides(batch) {
				o.Stride[i] = st * cols
			}
		}
	case 5: // the last batch first
		if n > 0 {
			o.Offset = o.Stride[0] * (batch[0] - 1)
			o.Stride[0] = -o.Stride[0]
		}
	}
	o.Slot = p.leaf(short(r, d, size))
	return o
}

// dotAccuracy adds products of positive numbers that are not short. A device that
// adds in a narrower type, or multiplies with fewer digits, shows.
func (s *suite) dotAccuracy(t *testing.T) {
	r := random(21)
	p := s.program(t)
	for _, f := range forms(floats) {
		for _, size := range [][3]int{{3, 5, 17}, {40, 50, 600}, {1, 9, 5000}} {
			d, m, n, k := f.operand, size[0], size[1], size[2]
			out := p.operation(ir.DotGeneral, nil, []tensor{positive(r, d, m, k), positive(r, d, k, n)}, newTensor(f.result, m, n))
			p.within(out, tolerance{ulps: 16})
			if f.result.Compute() != f.result {
				p.within(out, tolerance{ulps: 1})
			}
		}
	}
	p.run()
}

// dotEpilogue adds a bias and a residual to a product, cuts it off at zero, and
// writes it over the product, beside it, and in another type.
func (s *suite) dotEpilogue(t *testing.T) {
	r := random(22)
	for _, f := range forms([]dtype.DType{dtype.Float32, dtype.Float64, dtype.BFloat16, dtype.Float16, dtype.Int32}) {
		d := f.operand
		p := s.program(t)
		for i, sh := range [][]int{{5, 7}, {1, 300}, {150, 130}, {3, 20, 11}, {2, 3, 8, 9}, {6, 64}} {
			n := len(sh)
			batch, rows, cols := sh[:n-2], sh[n-2], sh[n-1]
			k := 10 + 50*(i%2)
			l := &kernel.Library{Op: ir.DotGeneral, In: []kernel.Operand{
				p.matrix(r, d, batch, rows, k, (i+1)%6), p.matrix(r, d, batch, k, cols, i),
			}}
			p.withEpilogue(r, l, f.result, sh)
		}
		p.run()
	}
}

// withEpilogue adds l, whose result is of the given type and shape, with an epilogue
// that computes max(result + bias + residual, 0). Its space has two axes for a last one
// of 64.
func (p *program) withEpilogue(r *rand.Rand, l *kernel.Library, d dtype.DType, sh []int) {
	n, other := product(sh), dtype.Float32
	if d == other {
		other = dtype.BFloat16
	}
	name := fmt.Sprintf("%v %v%v with epilogue: ", l.Op, form{l.In[0].DType, d}, sh)
	result, beside := p.output(name+"over the result", d, n), p.output(fmt.Sprintf("%sas %v", name, other), other, n)
	last := len(sh) - 1
	bias, residual := p.leaf(short(r, d, sh[last])), p.leaf(short(r, d, n))
	space := sh
	across := make([]int, len(sh))
	across[last] = 1
	if sh[last] == 64 {
		space, across = slices.Concat(sh[:last], []int{4, 16}), slices.Concat(across[:last], []int{16, 1})
	}
	dense := shape.Strides(space)

	k := newKernel("epilogue", space, nil)
	v := k.load(p.view(result, 0, dense...))
	v = k.apply(ir.Add, v, k.load(p.view(bias, 0, across...)))
	v = k.apply(ir.Add, v, k.load(p.view(residual, 0, dense...)))
	zero := k.imm(d, 0)
	v = k.apply(ir.Select, k.apply(ir.Lt, zero, v), v, zero)
	k.store(v, p.view(result, 0, dense...))
	v = k.typed(ir.Convert, other, v)
	k.store(v, p.view(beside, 0, dense...))

	l.Out = []kernel.Operand{p.dense(result, sh...)}
	l.Epilogue = k.f
	p.library(l)
}

// Products over nothing are zero, and an epilogue still follows; products without
// rows or columns are nothing.
func (s *suite) emptyDot(t *testing.T) {
	r := random(23)
	p := s.program(t)
	for _, d := range numeric {
		for _, size := range [][3]int{{4, 5, 0}, {0, 5, 3}, {4, 0, 3}, {0, 0, 0}} {
			m, n, k := size[0], size[1], size[2]
			p.operation(ir.DotGeneral, nil, []tensor{newTensor(d, m, k), newTensor(d, k, n)}, newTensor(d, m, n))
			p.operation(ir.DotGeneral, nil, []tensor{newTensor(d, 2, m, k), newTensor(d, 2, k, n)}, newTensor(d, 2, m, n))
		}
	}
	x, w := p.leaf(newTensor(dtype.Float32, 6, 0)), p.leaf(newTensor(dtype.Float32, 0, 5))
	p.withEpilogue(r, &kernel.Library{Op: ir.DotGeneral, In: []kernel.Operand{p.dense(x, 6, 0), p.dense(w, 0, 5)}}, dtype.Float32, []int{6, 5})
	p.run()
}

// convCase is a convolution by its attributes and the extents that they leave open.
type convCase struct {
	batch, c, k                 int // c and k are channels of a group
	groups                      int
	x, w                        []int
	stride, low, high, dilation []int
}

var convCases = []convCase{
	{2, 3, 4, 1, []int{9}, []int{3}, []int{1}, []int{1}, []int{1}, []int{1}},
	{1, 2, 5, 1, []int{30}, []int{4}, []int{3}, []int{0}, []int{2}, []int{2}},
	{2, 1, 2, 3, []int{17}, []int{5}, []int{2}, []int{4}, []int{1}, []int{1}},
	{2, 3, 8, 1, []int{8, 8}, []int{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}, []int{1, 1}},
	{2, 8, 20, 1, []int{12, 13}, []int{3, 3}, []int{2, 2}, []int{1, 1}, []int{1, 1}, []int{1, 1}},
	{3, 4, 6, 1, []int{9, 7}, []int{1, 1}, []int{1, 1}, []int{0, 0}, []int{0, 0}, []int{1, 1}},
	{2, 4, 6, 1, []int{9, 8}, []int{1, 1}, []int{2, 2}, []int{0, 0}, []int{0, 0}, []int{1, 1}},
	{1, 5, 3, 1, []int{28, 28}, []int{5, 5}, []int{1, 1}, []int{2, 2}, []int{2, 2}, []int{1, 1}},
	{2, 2, 3, 2, []int{10, 11}, []int{3, 2}, []int{1, 2}, []int{2, 0}, []int{0, 3}, []int{2, 1}},
	{2, 1, 1, 8, []int{14, 14}, []int{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}, []int{1, 1}}, // depthwise
	{1, 1, 2, 5, []int{15, 9}, []int{3, 3}, []int{2, 2}, []int{0, 0}, []int{1, 1}, []int{1, 1}},
	{1, 3, 4, 1, []int{16, 16}, []int{4, 4}, []int{4, 4}, []int{0, 0}, []int{0, 0}, []int{1, 1}}, // patches
	{2, 2, 3, 1, []int{5, 5}, []int{5, 5}, []int{1, 1}, []int{0, 0}, []int{0, 0}, []int{1, 1}},
	{2, 2, 3, 1, []int{6, 6}, []int{2, 2}, []int{3, 3}, []int{0, 0}, []int{0, 0}, []int{1, 1}}, // leaves elements out
	{1, 33, 17, 1, []int{7, 6}, []int{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}, []int{1, 1}},
	{1, 2, 3, 1, []int{5, 6, 7}, []int{3, 2, 3}, []int{1, 1, 1}, []int{1, 0, 1}, []int{1, 1, 1}, []int{1, 1, 1}},
	{2, 2, 2, 2, []int{6, 5, 8}, []int{2, 3, 2}, []int{2, 1, 3}, []int{1, 2, 0}, []int{0, 2, 1}, []int{1, 2, 2}},
}

// shapes are those of the input, the weights and the output.
func (c *convCase) shapes(t *testing.T) (x, w, y []int) {
	x, w, y = []int{c.batch, c.c * c.groups}, []int{c.k * c.groups, c.c}, []int{c.batch, c.k * c.groups}
	for i := range c.x {
		n, err := shape.Window(c.x[i], c.w[i], c.stride[i], c.low[i], c.high[i], c.dilation[i])
		if err != nil {
			t.Fatal(err)
		}
		x, w, y = append(x, c.x[i]), append(w, c.w[i]), append(y, n)
	}
	return x, w, y
}

// attr is the attribute of a direction.
func (c *convCase) attr(dir ir.Direction) ir.ConvAttr {
	a := ir.ConvAttr{Dir: dir, Stride: c.stride, Low: c.low, High: c.high, Dilation: c.dilation, Groups: c.groups}
	switch dir {
	case ir.InputGrad:
		a.Size = c.x
	case ir.WeightGrad:
		a.Size = c.w
	}
	return a
}

// convTolerance allows for algorithms that transform their operands. The operands
// are multiples of 1/16, so what is wrong is wrong by 1/256 at least.
func convTolerance(d dtype.DType) tolerance {
	a := tolerance{ulps: 1, abs: 1e-3}
	if d == dtype.Float64 {
		a.abs = 1e-11
	}
	return a
}

// conv tests convolutions in all three directions.
func (s *suite) conv(t *testing.T) {
	r := random(24)
	for _, f := range forms(floats) {
		t.Run(f.String(), func(t *testing.T) {
			d := f.operand
			p := s.program(t)
			for _, c := range convCases {
				xs, ws, ys := c.shapes(t)
				x, w, y := short(r, d, xs...), short(r, d, ws...), short(r, d, ys...)
				for dir, in := range [][]tensor{{x, w}, {y, w}, {x, y}} {
					out := [...][]int{ys, xs, ws}[dir]
					attr := c.attr(ir.Direction(dir))
					if f.result != d {
						attr.Result = f.result
					}
					slot := p.operation(ir.Conv, attr, in, newTensor(f.result, out...))
					p.within(slot, convTolerance(f.result))
				}
			}
			p.run()
		})
	}
	t.Run("epilogue", func(t *testing.T) {
		p := s.program(t)
		for _, c := range convCases {
			xs, ws, ys := c.shapes(t)
			for dir, in := range [][][]int{{xs, ws}, {ys, ws}, {xs, ys}} {
				l := &kernel.Library{Op: ir.Conv, Attr: c.attr(ir.Direction(dir))}
				for _, sh := range in {
					l.In = append(l.In, p.dense(p.leaf(short(r, dtype.Float32, sh...)), sh...))
				}
				p.withEpilogue(r, l, dtype.Float32, [][]int{ys, xs, ws}[dir])
			}
		}
		for i, s := range p.Slots {
			if s.Kind == kernel.Output {
				p.within(i, convTolerance(p.types[i]))
			}
		}
		p.run()
	})
	// A batch of nothing: no result, a gradient of zero.
	t.Run("nothing", func(t *testing.T) {
		p := s.program(t)
		c := convCase{0, 2, 3, 1, []int{6, 6}, []int{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}, []int{1, 1}}
		xs, ws, ys := c.shapes(t)
		d := dtype.Float32
		p.operation(ir.Conv, c.attr(ir.Forward), []tensor{newTensor(d, xs...), short(r, d, ws...)}, newTensor(d, ys...))
		p.operation(ir.Conv, c.attr(ir.InputGrad), []tensor{newTensor(d, ys...), short(r, d, ws...)}, newTensor(d, xs...))
		p.operation(ir.Conv, c.attr(ir.WeightGrad), []tensor{newTensor(d, xs...), newTensor(d, ys...)}, newTensor(d, ws...))
		p.run()
	})
}
