package grad

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
)

const f64 = dtype.Float64

func leaf(r *rand.Rand, sh ...int) *ir.Node {
	t := graphtest.Tensor{DType: f64, Shape: sh}
	n := 1
	for _, d := range sh {
		n *= d
	}
	for range n {
		t.V = append(t.V, graphtest.Number{F: 0.5 + r.Float64()})
	}
	return ir.NewInput(f64, sh, &ir.Storage{Data: t.Bytes()})
}

func op(o ir.Op, in ...*ir.Node) *ir.Node { return ir.New(o, nil, in...) }

func values(n *ir.Node) []float64 {
	v, _ := graphtest.Eval([]*ir.Node{n})
	var l []float64
	for _, x := range v[0].V {
		l = append(l, x.F)
	}
	return l
}

// Every operation that has a derivative somewhere has a rule. What has none is
// constant wherever it is continuous, or is no function of real numbers; a new
// operation has to be put into one of the two.
func TestHasRule(t *testing.T) {
	without := map[ir.Op]bool{}
	for _, o := range []ir.Op{
		ir.Input, ir.Param, ir.Const, ir.Iota, ir.RNGBits,
		ir.Sign, ir.Floor, ir.Ceil, ir.Round,
		ir.Not, ir.Bitcast, ir.And, ir.Or, ir.Xor, ir.Shl, ir.Shr,
		ir.Eq, ir.Ne, ir.Lt, ir.Le,
		ir.ArgMax, ir.ArgMin, ir.ReduceWindowArgMax, ir.ReduceWindowMaxGrad, ir.Sort,
		ir.StopGradient, ir.Assign,
	} {
		without[o] = true
	}
	for _, o := range ir.Ops() {
		if HasRule(o) == without[o] {
			t.Errorf("%v: has a rule: %v", o, HasRule(o))
		}
	}
}

func TestVJPIsNilWhereNothingDepends(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x, z := leaf(r, 3), leaf(r, 3)
	y := op(ir.Mul, x, z)
	one := like(y, 1)
	index := ir.To(x, dtype.Int64)
	for name, c := range map[string]*ir.Node{
		"another tensor":   op(ir.Exp, z),
		"a stop":           op(ir.Mul, op(ir.StopGradient, x), z),
		"a rounded value":  op(ir.Mul, op(ir.Floor, x), z),
		"an integer":       ir.To(index, f64),
		"a condition":      op(ir.Select, op(ir.Lt, x, z), z, z),
		"an index":         ir.New(ir.Gather, ir.Index{}, z, index),
		"a part of a body": ir.NewComposite("c", nil, []*ir.Node{x, z}, op(ir.Exp, z), op(ir.Exp, x))[0],
	} {
		if g := VJP([]*ir.Node{c}, []*ir.Node{like(c, 1)}, []*ir.Node{x}); g[0] != nil {
			t.Errorf("through %s: %v", name, ir.Collect(g))
		}
	}
	// No cotangent, no gradient; and none is made for what is not asked for.
	if g := VJP([]*ir.Node{y}, []*ir.Node{nil}, []*ir.Node{x}); g[0] != nil {
		t.Errorf("without a cotangent: %v", ir.Collect(g))
	}
	g := VJP([]*ir.Node{ir.MatMul(ir.ReshapeTo(x, []int{1, 3}), ir.ReshapeTo(z, []int{3, 1}))}, []*ir.Node{leaf(r, 1, 1)}, []*ir.Node{x})
	dots := 0
	for _, n := range ir.Collect(g).Nodes {
		if n.Op == ir.DotGeneral {
			dots++
		}
	}
	if dots != 1 {
		t.Errorf("the gradient of one operand takes %d products", dots)
	}
	// Of several results, those that depend; of x itself, the cotangent as it is.
	g = VJP([]*ir.Node{x, op(ir.Exp, z), y}, []*ir.Node{one, one, nil}, []*ir.Node{x, z, y})
	if g[0] != one || g[1] == nil || g[2] != nil {
		t.Errorf("got %v", g)
	}
}

// The gradient of a product that is wider than its operands is computed in the
// product's type and rounded to theirs at the end.
func TestVJPOfWideProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	half, single := dtype.BFloat16, dtype.Float32
	dot := ir.Dot{LeftContract: []int{1}, RightContract: []int{0}, Result: single}
	attr := ir.ConvAttr{Stride: []int{1}, Low: []int{1}, High: []int{1}, Dilation: []int{1}, Groups: 1, Result: single}
	for _, y := range []*ir.Node{
		ir.New(ir.DotGeneral, dot, ir.To(leaf(r, 2, 3), half), ir.To(leaf(r, 3, 4), half)),
		ir.New(ir.Conv, attr, ir.To(leaf(r, 2, 3, 8), half), ir.To(leaf(r, 4, 3, 3), half)),
	} {
		g := VJP([]*ir.Node{y}, []*ir.Node{like(y, 1)}, y.In)
		products := 0
		for _, n := range ir.Collect(g).Nodes {
			if n.Op == y.Op {
				products++
				if n.DType != single {
					t.Errorf("%v: a product of the gradient is %v", y.Op, n.DType)
				}
			}
		}
		if products != 2 || g[0].DType != half || g[1].DType != half {
			t.Errorf("%v: %d products; the gradients are %v and %v", y.Op, products, g[0].DType, g[1].DType)
		}
	}
}

// A value on the way has a gradient, and what lies before it still has its own.
func TestVJPOfIntermediateValues(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	x := leaf(r, 4)
	h := op(ir.Exp, x)
	y := op(ir.Mul, h, op(ir.Mul, h, x)) // h²x: d/dh = 2hx, d/dx = h² + 2hx·h
	g := VJP([]*ir.Node{y}, []*ir.Node{like(y, 1)}, []*ir.Node{h, x})
	xs, hs, dh, dx := values(x), values(h), values(g[0]), values(g[1])
	for i, v := range xs {
		if want := 2 * hs[i] * v; math.Abs(dh[i]-want) > 1e-12*want {
			t.Errorf("d/dh is %v, want %v", dh[i], want)
		}
		if want := hs[i]*hs[i] + 2*hs[i]*v*hs[i]; math.Abs(dx[i]-want) > 1e-12*want {
			t.Errorf("d/dx is %v, want %v", dx[i], want)
		}
	}
}

// random makes a smooth function of the leaves, of all sorts of operations.
func random(r *rand.Rand, leaves []*ir.Node) *ir.Node {
	y := leaves[0]
	like := func(sh []int) *ir.Node { // a value of that shape
		for _, l := range leaves {
			if slices.Equal(l.Shape, sh) && r.IntN(3) > 0 {
				return l
			}
		}
		return leaf(r, sh...)
	}
	some := func(n int) (axes []int) {
		for i := range n {
			if r.IntN(2) == 0 {
				axes = append(axes, i)
			}
		}
		return axes
	}
	for range 3 + r.IntN(8) {
		sh, n := y.Shape, len(y.Shape)
		switch r.IntN(14) {
		case 0:
			y = op([]ir.Op{ir.Neg, ir.Sin, ir.Cos, ir.Tanh, ir.Logistic, ir.Erf}[r.IntN(6)], y)
		case 1:
			y = op([]ir.Op{ir.Add, ir.Sub, ir.Mul, ir.Max, ir.Min}[r.IntN(5)], y, like(sh))
		case 2:
			y = op(ir.Div, y, plus(op(ir.Mul, like(sh), like(sh)), 1))
		case 3:
			y = ir.ReshapeTo(y, []int{y.Elements()})
		case 4:
			y = ir.Permute(y, r.Perm(n))
		case 5:
			if y.Elements() < 30 {
				at := r.IntN(n + 1)
				axes := append(span(0, at), span(at+1, n-at)...)
				y = ir.BroadcastTo(y, slices.Insert(slices.Clone(sh), at, 2), axes)
			}
		case 6:
			start, limit, step := make([]int, n), slices.Clone(sh), make([]int, n)
			for i, d := range sh {
				start[i], step[i] = r.IntN(d), 1+r.IntN(2)
			}
			y = ir.SliceOf(y, start, limit, step)
		case 7:
			if y.Elements() < 20 {
				p := ir.Padding{Low: make([]int, n), High: make([]int, n), Interior: make([]int, n)}
				for i := range n {
					p.Low[i], p.High[i], p.Interior[i] = r.IntN(2), r.IntN(2), r.IntN(2)
				}
				y = ir.New(ir.Pad, p, y)
			}
		case 8:
			if axes := some(n); axes != nil {
				y = ir.New(ir.Reverse, ir.Axes{Axes: axes}, y)
			}
		case 9:
			if n > 0 && y.Elements() < 30 {
				y = ir.New(ir.Concatenate, ir.Axis{Axis: r.IntN(n)}, y, like(sh), y)
			}
		case 10: // and back, so that something is left
			axes := some(n)
			o := []ir.Op{ir.ReduceSum, ir.ReduceMax, ir.ReduceMin}[r.IntN(3)]
			y = op(ir.Add, y, ir.Unreduce(ir.Fold(o, op(ir.Mul, y, like(sh)), axes), sh, axes))
		case 11:
			if n > 0 {
				y = ir.New(ir.CumSum, ir.Cumulate{Axis: r.IntN(n), Reverse: r.IntN(2) == 0, Exclusive: r.IntN(2) == 0}, y)
			}
		case 12: // any axes with any, in any order
			var d ir.Dot
			other := []int{2} // the free axis
			place := r.Perm(n)
			for range n {
				other = append(other, 1)
			}
			for i, e := range sh {
				switch role := r.IntN(3); {
				case role == 0:
					d.LeftBatch, d.RightBatch = append(d.LeftBatch, i), append(d.RightBatch, 1+place[i])
				case role == 1 || y.Elements() > 20:
					d.LeftContract, d.RightContract = append(d.LeftContract, i), append(d.RightContract, 1+place[i])
				default:
					e = 1
				}
				other[1+place[i]] = e
			}
			y = op(ir.Tanh, ir.New(ir.DotGeneral, d, y, leaf(r, other...)))
			y = ir.ReshapeTo(y, slices.DeleteFunc(slices.Clone(y.Shape), func(e int) bool { return e == 1 }))
		case 13:
			c := op(ir.Lt, y, like(sh))
			y = op(ir.Select, c, op(ir.Sin, y), like(sh))
		}
	}
	return y
}

// Gradients of random functions equal central differences.
func TestRandomFunctions(t *testing.T) {
	const h = 1e-6
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 3))
		var leaves []*ir.Node
		for range 3 {
			leaves = append(leaves, leaf(r, []int{2, 3}...))
		}
		leaves = append(leaves, leaf(r, 6))
		y := random(r, leaves)
		y = op(ir.Mul, y, leaf(r, y.Shape...))
		y = ir.Sum(y, span(0, len(y.Shape)))
		grads := VJP([]*ir.Node{y}, []*ir.Node{like(y, 1)}, leaves)
		for i, x := range leaves {
			g := make([]float64, x.Elements())
			if grads[i] != nil {
				ir.Collect(grads[i : i+1]).Verify("grad")
				if !slices.Equal(grads[i].Shape, x.Shape) || grads[i].DType != x.DType {
					t.Fatalf("seed %d: gradient of %v%v for %v%v", seed, grads[i].DType, grads[i].Shape, x.DType, x.Shape)
				}
				g = values(grads[i])
			}
			v := values(x)
			mem := x.Storage.Data
			for j := range v {
				var at [2]float64
				for k, d := range []float64{h, -h} {
					moved := graphtest.Tensor{DType: f64, Shape: x.Shape}
					for m := range v {
						moved.V = append(moved.V, graphtest.Number{F: v[m]})
					}
					moved.V[j].F += d
					x.Storage.Data = moved.Bytes()
					at[k] = values(y)[0]
				}
				x.Storage.Data = mem
				if numeric := (at[0] - at[1]) / (2 * h); !(math.Abs(numeric-g[j]) <= 1e-6*max(1, math.Abs(g[j]))) {
					t.Fatalf("seed %d: derivative by element %d of leaf %d is %v, central differences give %v\n%v", seed, j, i, g[j], numeric, ir.Collect([]*ir.Node{y}))
				}
			}
		}
	}
}

// A chain is differentiated in time in proportion to its length.
func TestDeepVJP(t *testing.T) {
	x := leaf(rand.New(rand.NewPCG(1, 1)), 2)
	y := x
	for range 50000 {
		y = op(ir.Neg, y)
	}
	g := VJP([]*ir.Node{y}, []*ir.Node{like(y, 1)}, []*ir.Node{x})
	if g[0] == nil {
		t.Error("no gradient")
	}
}

// A composite that brings a rule is differentiated by it and not through its body. The
// rule sees the cotangents of all results, those of one result added up, and which
// operands' gradients are wanted.
func TestCompositeWithRule(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	x, z, unused := leaf(r, 3), leaf(r, 3), leaf(r, 3)
	calls := 0
	region := &ir.Region{
		Name: "ruled",
		Outs: []*ir.Node{op(ir.Mul, x, z), op(ir.Exp, z), op(ir.Neg, z)},
		Grad: func(c *ir.Node, results, cots []*ir.Node, want []bool) []*ir.Node {
			calls++
			if !slices.Equal(want, []bool{true, false, true}) {
				t.Errorf("wanted are %v", want)
			}
			if cots[0] == nil || cots[1] == nil || cots[2] != nil {
				t.Errorf("cotangents %v", cots)
			}
			// No derivative of the body at all, so that it can be told apart.
			return []*ir.Node{op(ir.Mul, cots[0], results[1]), cots[0], cots[1]}
		},
	}
	res := ir.NewRegion(region, []*ir.Node{x, unused, z})
	again := ir.New(ir.Result, ir.Number{N: 0}, res[0].In[0])
	y := op(ir.Add, op(ir.Add, res[0], again), times(res[1], 3))
	g := VJP([]*ir.Node{y}, []*ir.Node{like(y, 1)}, []*ir.Node{x, z})
	zs, dx, dz := values(z), values(g[0]), values(g[1])
	for i := range zs {
		if want := 2 * math.Exp(zs[i]); math.Abs(dx[i]-want) > 1e-12*want || dz[i] != 3 {
			t.Errorf("element %d: gradients %g and %g, want %g and 3", i, dx[i], dz[i], want)
		}
	}
	if calls != 1 {
		t.Errorf("the rule was asked %d times", calls)
	}
}
