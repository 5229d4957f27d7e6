package graphtest

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// Eval computes the outputs of a graph, and its effects. A storage's Data is its
// content, a []byte. values are those of the outputs that are no assignments, in their
// order; stores is what the assignments leave behind. All of them read what was there
// before.
func Eval(outputs []*ir.Node) (values []Tensor, stores map[*ir.Storage]Tensor) {
	e := evaluator{values: make(map[*ir.Node]Tensor), results: make(map[*ir.Node][]Tensor)}
	stores = make(map[*ir.Storage]Tensor)
	for _, o := range ir.Collect(outputs).Outputs {
		if o.Op == ir.Assign {
			stores[o.Attr.(ir.Target).Storage] = e.value(o.In[1])
		} else {
			values = append(values, e.value(o))
		}
	}
	return values, stores
}

type evaluator struct {
	values  map[*ir.Node]Tensor
	results map[*ir.Node][]Tensor // of Scans
	params  []Tensor
}

func (e *evaluator) value(n *ir.Node) Tensor {
	t, ok := e.values[n]
	if !ok {
		t = e.compute(n)
		e.values[n] = t
	}
	return t
}

func (e *evaluator) compute(n *ir.Node) Tensor {
	switch n.Op {
	case ir.Input:
		return Read(n.DType, n.Shape, n.Storage.Data.([]byte))
	case ir.Param:
		return e.params[n.Attr.(ir.Number).N]
	case ir.Result:
		i := n.Attr.(ir.Number).N
		if c := n.In[0]; c.Op == ir.Composite {
			return e.value(c.Body()[i])
		}
		return e.scan(n.In[0])[i]
	}
	var in []Tensor
	for _, x := range n.In {
		in = append(in, e.value(x))
	}
	t := newTensor(n.DType, n.Shape)
	switch n.Op.Class() {
	case ir.ClassView:
		for i, j := range ViewIndex(n) {
			t.V[i] = in[0].V[j]
		}
		return t
	case ir.ClassLibrary:
		library(n.Op, n.Attr, in, t)
		return t
	case ir.ClassReduce:
		lists := make([][]Number, len(t.V))
		each(in[0].Shape, func(i int, at []int) {
			var kept []int
			for a, c := range at {
				if !slices.Contains(n.Attr.(ir.Axes).Axes, a) {
					kept = append(kept, c)
				}
			}
			j := position(n.Shape, kept)
			lists[j] = append(lists[j], in[0].V[i])
		})
		for i, l := range lists {
			t.V[i] = fold(n.Op, n.DType, l)
		}
		return t
	}
	switch n.Op {
	case ir.StopGradient, ir.Barrier:
		return in[0]
	case ir.Const:
		t.V[0] = scalar.Literal(n.DType, n.Attr.(ir.Literal).Bits)
	case ir.Iota:
		each(n.Shape, func(i int, at []int) {
			c := Number{I: int64(at[n.Attr.(ir.Axis).Axis])}
			t.V[i] = elementwise(ir.Convert, n.DType, dtype.Int64, [3]Number{c})
			if n.DType == dtype.Int64 {
				t.V[i] = c
			}
		})
	case ir.RNGBits:
		for i := range t.V {
			t.V[i] = random(n.Attr.(ir.RNG), i, in[0].V[0])
		}
	case ir.Pad:
		p := n.Attr.(ir.Padding)
		for i := range t.V {
			t.V[i] = scalar.Literal(n.DType, p.Value)
		}
		each(in[0].Shape, func(i int, at []int) {
			for a := range at {
				at[a] = p.Low[a] + at[a]*(p.Interior[a]+1)
			}
			t.V[position(n.Shape, at)] = in[0].V[i]
		})
	case ir.Concatenate:
		axis, start := n.Attr.(ir.Axis).Axis, 0
		for _, x := range in {
			each(x.Shape, func(i int, at []int) {
				at[axis] += start
				t.V[position(n.Shape, at)] = x.V[i]
			})
			start += x.Shape[axis]
		}
	default:
		for i := range t.V {
			var x [3]Number
			for j := range in {
				x[j] = in[j].V[i]
			}
			t.V[i] = elementwise(n.Op, n.DType, in[0].DType, x)
		}
	}
	return t
}

// ViewIndex is for every element of a view which element of the operand it is.
func ViewIndex(v *ir.Node) []int {
	x := v.In[0].Shape
	index := make([]int, product(v.Shape))
	each(v.Shape, func(i int, at []int) {
		from := make([]int, len(x))
		switch a := v.Attr.(type) {
		case ir.Axes:
			switch v.Op {
			case ir.Transpose:
				for k, p := range a.Axes {
					from[p] = at[k]
				}
			case ir.BroadcastInDim:
				for k, p := range a.Axes {
					if x[k] != 1 {
						from[k] = at[p]
					}
				}
			case ir.Reverse:
				copy(from, at)
				for _, k := range a.Axes {
					from[k] = x[k] - 1 - at[k]
				}
			}
		case ir.Range:
			for k := range at {
				from[k] = a.Start[k] + at[k]*a.Step[k]
			}
		case nil: // Reshape
			index[i] = i
			return
		}
		index[i] = position(x, from)
	})
	return index
}

// scan runs a loop.
func (e *evaluator) scan(n *ir.Node) []Tensor {
	if r, ok := e.results[n]; ok {
		return r
	}
	l := n.Attr.(*ir.Loop)
	var in []Tensor
	for _, x := range n.In {
		in = append(in, e.value(x))
	}
	out := make([]Tensor, l.Results())
	copy(out, in[:l.Carries])
	for i := l.Carries; i < len(out); i++ {
		out[i] = newTensor(l.Result(i))
	}
	// trail writes the carries to a row of their trails.
	trail := func(row int) {
		for i, c := range out[:l.Carries] {
			copy(out[len(l.Body.Outputs)+i].V[row*len(c.V):], c.V)
		}
	}
	if l.Reverse {
		trail(l.Steps)
	} else {
		trail(0)
	}
	for step := range l.Steps {
		if l.Reverse {
			step = l.Steps - 1 - step
		}
		params := slices.Concat(out[:l.Carries], in[l.Carries:])
		for i := l.Carries; i < l.Carries+l.Inputs; i++ {
			x := newTensor(in[i].DType, in[i].Shape[1:])
			copy(x.V, in[i].V[step*len(x.V):])
			params[i] = x
		}
		body := evaluator{values: make(map[*ir.Node]Tensor), results: make(map[*ir.Node][]Tensor), params: params}
		next := make([]Tensor, len(l.Body.Outputs))
		for i, o := range l.Body.Outputs {
			next[i] = body.value(o)
		}
		for i, v := range next {
			if i < l.Carries {
				out[i] = v
			} else {
				copy(out[i].V[step*len(v.V):], v.V)
			}
		}
		if l.Reverse {
			trail(step)
		} else {
			trail(step + 1)
		}
	}
	e.results[n] = out
	return out
}

// library computes the library operations that the random graphs have. A product
// without attribute is in the normal form of kernel.Library.
func library(op ir.Op, attr ir.Attr, in []Tensor, t Tensor) {
	x := in[0]
	switch a := attr.(type) {
	case ir.Axis: // ArgMax, ArgMin: the first of equals; NaN beats all
		better := func(p, q Number) bool {
			if p.F != p.F || q.F != q.F {
				return p.F != p.F && q.F == q.F
			}
			if op == ir.ArgMin {
				p, q = q, p
			}
			return p.F > q.F || p.I > q.I
		}
		lines(x.Shape, a.Axis, func(line int, at []int) {
			best := 0
			for i := range at {
				if better(x.V[at[i]], x.V[at[best]]) {
					best = i
				}
			}
			t.V[line] = Number{I: int64(best)}
		})
	case ir.Cumulate:
		lines(x.Shape, a.Axis, func(_ int, at []int) {
			if a.Reverse {
				slices.Reverse(at)
			}
			for i := range at {
				to := i + 1
				if a.Exclusive {
					to = i
				}
				var l []Number
				for _, j := range at[:to] {
					l = append(l, x.V[j])
				}
				t.V[at[i]] = fold(ir.ReduceSum, t.DType, l)
			}
		})
	case ir.Index: // Gather
		d, q := x.Shape[a.Axis], product(x.Shape[a.Axis+1:])
		p, n := product(x.Shape[a.Batch:a.Axis]), product(in[1].Shape[a.Batch:])
		for i := range t.V {
			bp, j := i/(n*q), i/q%n
			if k := int(in[1].V[bp/p*n+j].I); k >= 0 && k < d {
				t.V[i] = x.V[(bp*d+k)*q+i%q]
			}
		}
	case ir.Dot:
		dot(a, in[0], in[1], t)
	case nil:
		if op != ir.DotGeneral {
			panic(fmt.Sprintf("graphtest: nothing says what %v is", op))
		}
		r := len(t.Shape)
		var batch []int
		for i := range r - 2 {
			batch = append(batch, i)
		}
		dot(ir.Dot{LeftBatch: batch, RightBatch: batch, LeftContract: []int{r - 1}, RightContract: []int{r - 2}}, in[0], in[1], t)
	default:
		panic(fmt.Sprintf("graphtest: nothing says what %v is", op))
	}
}

// dot sums over the contracted axes in the order in which the attribute names them.
func dot(a ir.Dot, l, r, t Tensor) {
	lf, rf := a.Free(len(l.Shape), true), a.Free(len(r.Shape), false)
	var depth []int
	for _, k := range a.LeftContract {
		depth = append(depth, l.Shape[k])
	}
	nb := len(a.LeftBatch)
	each(t.Shape, func(i int, at []int) {
		p, q := make([]int, len(l.Shape)), make([]int, len(r.Shape))
		for k := range nb {
			p[a.LeftBatch[k]], q[a.RightBatch[k]] = at[k], at[k]
		}
		for k, f := range lf {
			p[f] = at[nb+k]
		}
		for k, f := range rf {
			q[f] = at[nb+len(lf)+k]
		}
		var acc Number
		each(depth, func(_ int, c []int) {
			for k := range c {
				p[a.LeftContract[k]], q[a.RightContract[k]] = c[k], c[k]
			}
			x, y := l.V[position(l.Shape, p)], r.V[position(r.Shape, q)]
			acc = Number{F: acc.F + x.F*y.F, I: acc.I + x.I*y.I}
		})
		t.V[i] = scalar.Rounded(t.DType, acc)
	})
}

// each calls f with the number and the coordinates of every element, in row-major
// order. f may change the coordinates.
func each(sh []int, f func(i int, at []int)) {
	at := make([]int, len(sh))
	for i := range product(sh) {
		n := i
		for k := len(sh) - 1; k >= 0; k-- {
			at[k] = n % sh[k]
			n /= sh[k]
		}
		f(i, at)
	}
}

// position is the number of the element at the coordinates.
func position(sh, at []int) int {
	n := 0
	for k, d := range sh {
		n = n*d + at[k]
	}
	return n
}

// lines calls f with the numbers of the elements of every line along an axis.
func lines(sh []int, axis int, f func(line int, at []int)) {
	n, inner := sh[axis], product(sh[axis+1:])
	for line := range product(sh[:axis]) * inner {
		at := make([]int, n)
		for i := range at {
			at[i] = line/inner*n*inner + i*inner + line%inner
		}
		f(line, at)
	}
}
