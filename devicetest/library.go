package devicetest

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// tensor is the elements of a tensor in row-major order.
type tensor struct {
	dtype dtype.DType
	shape []int
	v     []number
}

func newTensor(d dtype.DType, sh ...int) tensor { return tensor{d, sh, make([]number, product(sh))} }

// read is the tensor that an operand is.
func read(o *kernel.Operand, slots [][]byte) tensor {
	t := newTensor(o.DType, o.Shape...)
	for i, at := range offsets(o.Offset, o.Shape, o.Stride) {
		t.v[i] = scalar.Get(o.DType, slots[o.Slot], at)
	}
	return t
}

// bytes is the tensor as it lies in memory.
func (t tensor) bytes() []byte {
	mem := make([]byte, len(t.v)*t.dtype.Size())
	for i, n := range t.v {
		scalar.Put(t.dtype, mem, i, n)
	}
	return mem
}

// fill sets the tensor to what lies in memory.
func (t tensor) fill(mem []byte) {
	for i := range t.v {
		t.v[i] = scalar.Get(t.dtype, mem, i)
	}
}

// interpretLibrary computes a library operation, without its epilogue.
func interpretLibrary(l *kernel.Library, slots [][]byte) {
	var in, out []tensor
	for i := range l.In {
		in = append(in, read(&l.In[i], slots))
	}
	for _, o := range l.Out {
		out = append(out, newTensor(o.DType, o.Shape...))
	}
	y := out[0]
	switch a := l.Attr.(type) {
	case ir.Axis:
		argExtreme(y, in[0], a.Axis, l.Op == ir.ArgMin)
	case ir.Cumulate:
		cumSum(y, in[0], a)
	case ir.Order:
		sorted(y, in[0], a)
	case ir.Window:
		if l.Op == ir.ReduceWindowMaxGrad {
			places := newTensor(dtype.Int32, in[1].shape...)
			window(places, in[0], a, ir.ReduceWindowArgMax)
			flat := func(t tensor) tensor {
				return tensor{t.dtype, []int{t.shape[0], t.shape[1], product(t.shape[2:])}, t.v}
			}
			scatter(flat(y), newTensor(y.dtype, flat(y).shape...), flat(places), flat(in[1]), ir.Index{Axis: 2, Batch: 2}, true)
			break
		}
		window(y, in[0], a, l.Op)
	case ir.Index:
		if l.Op == ir.Gather {
			gather(y, in[0], in[1], a)
		} else {
			scatter(y, in[0], in[1], in[2], a, l.Op == ir.ScatterAdd)
		}
	case ir.Extent:
		for i, at := range windowOffsets(in[0].shape, y.shape, in[1]) {
			y.v[i] = in[0].v[at]
		}
	case ir.ConvAttr:
		convolution(a, [...][3]tensor{{in[0], in[1], y}, {y, in[1], in[0]}, {in[0], y, in[1]}}[a.Dir])
	case *ir.Loop:
		scanned(l, a, in, out)
	case nil:
		if l.Op == ir.DotGeneral {
			matrixProduct(y, in[0], in[1])
			break
		}
		copy(y.v, in[0].v)
		for i, at := range windowOffsets(y.shape, in[1].shape, in[2]) {
			y.v[at] = in[1].v[i]
		}
	default:
		panic(fmt.Sprintf("devicetest: nothing says what %v is; add it to interpretLibrary", l.Op))
	}
	for i, o := range l.Out {
		if o.Slot >= 0 {
			copy(slots[o.Slot][o.Offset*o.DType.Size():], out[i].bytes())
		}
	}
}

// matrixProduct is y = x·w over the last two axes.
func matrixProduct(y, x, w tensor) {
	r := len(y.shape)
	m, n, k := y.shape[r-2], y.shape[r-1], x.shape[r-1]
	for i := range y.v {
		b, row, col := i/(m*n), i/n%m, i%n
		var sum accumulator
		for l := range k {
			sum.addProduct(x.v[(b*m+row)*k+l], w.v[(b*k+l)*n+col])
		}
		y.v[i] = sum.number()
	}
}

// convolution visits every triple of elements that meet: x at p·stride − low +
// t·dilation, w at t and y at p. One of the three is the result.
func convolution(a ir.ConvAttr, xwy [3]tensor) {
	x, w, y := xwy[0], xwy[1], xwy[2]
	perGroup := w.shape[0] / a.Groups
	sx, sw, sy := x.shape[2:], w.shape[2:], y.shape[2:]
	for i := range y.v {
		n, k, at := i/product(y.shape[1:]), i/product(sy)%y.shape[1], i%product(sy)
		for c := range w.shape[1] {
			for t := range product(sw) {
				place, ok := tap(at, t, sx, sy, sw, a.Stride, a.Low, a.Dilation)
				if !ok {
					continue
				}
				px := &x.v[(n*x.shape[1]+k/perGroup*w.shape[1]+c)*product(sx)+place]
				pw := &w.v[(k*w.shape[1]+c)*product(sw)+t]
				py := &y.v[i]
				switch a.Dir {
				case ir.Forward:
					py.F += px.F * pw.F
				case ir.InputGrad:
					px.F += py.F * pw.F
				case ir.WeightGrad:
					pw.F += px.F * py.F
				}
			}
		}
	}
}

// tap is where in a plane of extents x window position t of output at lies, all
// three as row-major numbers, if it lies inside.
func tap(at, t int, x, y, size, stride, low, dilation []int) (place int, ok bool) {
	n := 1
	for i := len(x) - 1; i >= 0; i-- {
		p := at%y[i]*stride[i] - low[i] + t%size[i]*dilation[i]
		if p < 0 || p >= x[i] {
			return 0, false
		}
		place += p * n
		n *= x[i]
		at /= y[i]
		t /= size[i]
	}
	return place, true
}

func window(y, x tensor, a ir.Window, op ir.Op) {
	sx, sy := x.shape[2:], y.shape[2:]
	for i := range y.v {
		plane := x.v[i/product(sy)*product(sx):]
		best, sum := -1, accumulator{}
		for t := range product(a.Size) {
			p, ok := tap(i%product(sy), t, sx, sy, a.Size, a.Stride, a.Low, a.Dilation)
			if !ok {
				continue
			}
			sum.add(plane[p])
			if best < 0 || less(plane[best], plane[p]) {
				best = p
			}
		}
		switch op {
		case ir.ReduceWindowSum:
			y.v[i] = sum.number()
		case ir.ReduceWindowMax:
			y.v[i] = plane[best]
		case ir.ReduceWindowArgMax:
			y.v[i] = number{I: int64(best)}
		}
	}
}

// pairs calls f for every element of gather's result with the place of its index
// and that of its element in the data; ok tells that the index is one of the data's.
func pairs(data, index tensor, a ir.Index, f func(i, at int, ok bool)) {
	p, d, q := product(data.shape[a.Batch:a.Axis]), data.shape[a.Axis], product(data.shape[a.Axis+1:])
	n := product(index.shape[a.Batch:])
	for i := range product(data.shape[:a.Axis]) * n * q {
		bp, j := i/(n*q), i/q%n
		at := index.v[bp/p*n+j].I
		f(i, (bp*d+int(at))*q+i%q, at >= 0 && at < int64(d))
	}
}

func gather(y, data, index tensor, a ir.Index) {
	pairs(data, index, a, func(i, at int, ok bool) {
		if ok {
			y.v[i] = data.v[at]
		}
	})
}

func scatter(y, data, index, updates tensor, a ir.Index, add bool) {
	copy(y.v, data.v)
	pairs(data, index, a, func(i, at int, ok bool) {
		switch {
		case ok && add:
			sum := number{F: y.v[at].F + updates.v[i].F, I: y.v[at].I + updates.v[i].I}
			y.v[at] = scalar.Rounded(y.dtype.Compute(), sum)
		case ok:
			y.v[at] = updates.v[i]
		}
	})
}

// windowOffsets are the places in a tensor of the given shape of a window's
// elements. The window begins at start, moved so that it lies inside.
func windowOffsets(sh, size []int, start tensor) []int {
	base, n := 0, 1
	stride := make([]int, len(sh))
	for i := len(sh) - 1; i >= 0; i-- {
		stride[i] = n
		base += n * int(min(max(start.v[i].I, 0), int64(sh[i]-size[i])))
		n *= sh[i]
	}
	return offsets(base, size, stride)
}

// lines calls f with the places of the elements of every line along an axis, and
// with the number of the line.
func lines(sh []int, axis int, f func(line int, at []int)) {
	n, inner := sh[axis], product(sh[axis+1:])
	for line := range product(sh[:axis]) * inner {
		f(line, offsets(line/inner*n*inner+line%inner, []int{n}, []int{inner}))
	}
}

// argExtreme finds the first of the largest or smallest; NaN is either.
func argExtreme(y, x tensor, axis int, smallest bool) {
	lines(x.shape, axis, func(line int, at []int) {
		best := 0
		for i := range at {
			p, q := x.v[at[best]], x.v[at[i]]
			if p.F == p.F && (q.F != q.F || !smallest && less(p, q) || smallest && less(q, p)) {
				best = i
			}
		}
		y.v[line] = number{I: int64(best)}
	})
}

func cumSum(y, x tensor, a ir.Cumulate) {
	lines(x.shape, a.Axis, func(_ int, at []int) {
		if a.Reverse {
			slices.Reverse(at)
		}
		var sum accumulator
		for _, i := range at {
			before := sum.number()
			sum.add(x.v[i])
			if y.v[i] = sum.number(); a.Exclusive {
				y.v[i] = before
			}
		}
	})
}

func sorted(y, x tensor, a ir.Order) {
	lines(x.shape, a.Axis, func(_ int, at []int) {
		order := make([]int, len(at))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int {
			p, q := x.v[at[i]], x.v[at[j]]
			if a.Descending {
				p, q = q, p
			}
			return int(scalar.Truth(less(q, p)) - scalar.Truth(less(p, q)))
		})
		for i, j := range order {
			y.v[at[i]] = number{I: int64(j)}
		}
	})
}

// scanned runs the body of a Scan on copies, once per step.
func scanned(l *kernel.Library, a *ir.Loop, in, out []tensor) {
	var leaves, outputs [][]byte
	for _, t := range in {
		leaves = append(leaves, t.bytes())
	}
	// trail writes the carries to a row of their trails, if these are there.
	n := l.Body.Outputs
	trail := func(row int) {
		for i := range out[n:] {
			m := len(leaves[i])
			copy(outputs[n+i][row*m:][:m], leaves[i])
		}
	}
	begin := 0
	if a.Reverse {
		begin = a.Steps
	}
	for i := range a.Carries {
		copy(out[i].v, in[i].v)
	}
	for _, t := range out {
		outputs = append(outputs, t.bytes())
	}
	trail(begin)
	// slice is what a step sees of a sequence.
	slice := func(mem []byte, step int) []byte {
		n := len(mem) / a.Steps
		return mem[step*n : (step+1)*n]
	}
	for step := range a.Steps {
		if a.Reverse {
			step = a.Steps - 1 - step
		}
		li, lo := slices.Clone(leaves), slices.Clone(outputs[:n])
		for i := range a.Inputs {
			li[a.Carries+i] = slice(leaves[a.Carries+i], step)
		}
		for i := a.Carries; i < n; i++ {
			lo[i] = slice(outputs[i], step)
		}
		interpret(l.Body, li, lo)
		for i := range a.Carries {
			copy(leaves[i], outputs[i])
		}
		if a.Reverse {
			trail(step)
		} else {
			trail(step + 1)
		}
	}
	for i, t := range out {
		t.fill(outputs[i])
	}
}
