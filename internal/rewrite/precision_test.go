package rewrite

import (
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
)

// What the graph of a layer and its gradient becomes: the weight is rounded once and
// read through views, the activation is rounded where it is computed and read so by
// all, the gradient of the weight is float32.
func TestPrecision(t *testing.T) {
	x, w, v := float("x", 2, 3), float("w", 4, 3), float("v", 4, 5)
	h := op(ir.Tanh, ir.MatMul(x, permute(w, 1, 0)))
	y := ir.MatMul(h, v)
	back := op(ir.Mul, ir.MatMul(y, permute(v, 1, 0)), h)
	check := func(name string, outputs []*ir.Node, expected string) {
		t.Helper()
		g := Run(outputs, none, dtype.BFloat16)
		g.Verify("precision")
		var lines []string
		for line := range strings.Lines(expected) {
			lines = append(lines, strings.TrimSpace(line))
		}
		if got := g.String(); short(got) != strings.TrimSpace(strings.Join(lines, "\n")) {
			t.Errorf("%s: got\n%s\nwant%s", name, short(got), expected)
		}
	}
	check("a layer and its gradient", []*ir.Node{ir.MatMul(permute(x, 1, 0), back)}, `
		%0 = input float32[2 3] "x"
		%1 = convert bfloat16[2 3] %0
		%2 = transpose bfloat16[3 2] %1 {Axes:[1 0]}
		%3 = input float32[4 3] "w"
		%4 = convert bfloat16[4 3] %3
		%5 = transpose bfloat16[3 4] %4 {Axes:[1 0]}
		%6 = dot_general float32[2 4] %1 %5
		%7 = tanh float32[2 4] %6
		%8 = convert bfloat16[2 4] %7
		%9 = input float32[4 5] "v"
		%10 = convert bfloat16[4 5] %9
		%11 = dot_general float32[2 5] %8 %10
		%12 = convert bfloat16[2 5] %11
		%13 = transpose bfloat16[5 4] %10 {Axes:[1 0]}
		%14 = dot_general float32[2 4] %12 %13
		%15 = convert float32[2 4] %8
		%16 = mul float32[2 4] %14 %15
		%17 = convert bfloat16[2 4] %16
		%18 = dot_general float32[3 4] %2 %17
		return %18`)
	bias := op(ir.Add, ir.MatMul(x, permute(w, 1, 0)), ir.BroadcastTo(float("b", 4), []int{2, 4}, []int{1}))
	check("a result with its bias that is read twice", []*ir.Node{ir.MatMul(op(ir.Mul, bias, op(ir.Tanh, bias)), v)}, `
		%0 = input float32[2 3] "x"
		%1 = convert bfloat16[2 3] %0
		%2 = input float32[4 3] "w"
		%3 = convert bfloat16[4 3] %2
		%4 = transpose bfloat16[3 4] %3 {Axes:[1 0]}
		%5 = dot_general float32[2 4] %1 %4
		%6 = input float32[4] "b"
		%7 = convert bfloat16[4] %6
		%8 = broadcast_in_dim bfloat16[2 4] %7 {Axes:[1]}
		%9 = convert float32[2 4] %8
		%10 = add float32[2 4] %5 %9
		%11 = convert bfloat16[2 4] %10
		%12 = convert float32[2 4] %11
		%13 = tanh float32[2 4] %12
		%14 = mul float32[2 4] %12 %13
		%15 = convert bfloat16[2 4] %14
		%16 = input float32[4 5] "v"
		%17 = convert bfloat16[4 5] %16
		%18 = dot_general float32[2 5] %15 %17
		return %18`)
	// A bias is rounded with the sum that it ends in, and not where anything else reads that.
	sum := op(ir.Add, ir.MatMul(x, permute(w, 1, 0)), ir.BroadcastTo(float("b", 4), []int{2, 4}, []int{1}))
	active := op(ir.Tanh, op(ir.Abs, sum))
	for name, c := range map[string]struct {
		outputs []*ir.Node
		rounded bool
	}{
		"rounded after a while": {[]*ir.Node{ir.MatMul(active, v)}, true},
		"a result by itself":    {[]*ir.Node{ir.MatMul(active, v), sum}, false},
		"rounded for everybody": {[]*ir.Node{ir.MatMul(active, v), ir.Fold(ir.ReduceSum, sum, []int{0})}, true},
		"added to what is kept": {[]*ir.Node{ir.MatMul(ir.ReshapeTo(op(ir.Tanh, ir.Fold(ir.ReduceSum, op(ir.Add, sum, float("r", 2, 4)), []int{0})), []int{1, 4}), v)}, false},
		"the last of a network": {[]*ir.Node{sum}, false},
	} {
		g := Run(c.outputs, none, dtype.BFloat16)
		g.Verify("precision")
		got := slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool {
			return n.Op == ir.Convert && n.In[0].Op == ir.Input && n.In[0].Storage.Name == "b"
		})
		if got != c.rounded {
			t.Errorf("%s: the bias is rounded: %v\n%v", name, got, g)
		}
	}
	gradient := ir.MatMul(permute(x, 1, 0), float("dy", 2, 4))
	check("the gradient of a weight", []*ir.Node{op(ir.Mul, gradient, op(ir.Abs, gradient))}, `
		%0 = input float32[2 3] "x"
		%1 = convert bfloat16[2 3] %0
		%2 = transpose bfloat16[3 2] %1 {Axes:[1 0]}
		%3 = input float32[2 4] "dy"
		%4 = convert bfloat16[2 4] %3
		%5 = dot_general float32[3 4] %2 %4
		%6 = abs float32[3 4] %5
		%7 = mul float32[3 4] %5 %6
		return %7`)
	logits := ir.MatMul(x, permute(w, 1, 0))
	highest := ir.Unreduce(ir.Fold(ir.ReduceMax, logits, []int{1}), []int{2, 4}, []int{1})
	check("logits", []*ir.Node{ir.MatMul(op(ir.Exp, op(ir.Sub, logits, highest)), v)}, `
		%0 = input float32[2 3] "x"
		%1 = convert bfloat16[2 3] %0
		%2 = input float32[4 3] "w"
		%3 = convert bfloat16[4 3] %2
		%4 = transpose bfloat16[3 4] %3 {Axes:[1 0]}
		%5 = dot_general float32[2 4] %1 %4
		%6 = reduce_max float32[2] %5 {Axes:[1]}
		%7 = broadcast_in_dim float32[2 4] %6 {Axes:[0]}
		%8 = sub float32[2 4] %5 %7
		%9 = exp float32[2 4] %8
		%10 = convert bfloat16[2 4] %9
		%11 = input float32[4 5] "v"
		%12 = convert bfloat16[4 5] %11
		%13 = dot_general float32[2 5] %10 %12
		return %13`)
	third := pad(op(ir.Exp, ir.SliceAxis(float("large", 100, 3), 0, 8, 9)), []int{1, 0}, []int{0, 0})
	third.Attr = ir.Padding{Low: []int{1, 0}, High: []int{0, 0}, Interior: []int{0, 0}, Value: ir.FloatBits(f32, 0.1)}
	check("padding, and a part of a leaf", []*ir.Node{ir.MatMul(third, ir.SliceAxis(float("wide", 3, 100), 1, 4, 6))}, `
		%0 = input float32[100 3] "large"
		%1 = slice float32[1 3] %0 {Start:[8 0] Limit:[9 3] Step:[1 1]}
		%2 = exp float32[1 3] %1
		%3 = convert bfloat16[1 3] %2
		%4 = pad bfloat16[2 3] %3 {Low:[1 0] High:[0 0] Interior:[0 0] Value:4591877216941375488}
		%5 = input float32[3 100] "wide"
		%6 = slice float32[3 2] %5 {Start:[0 4] Limit:[3 6] Step:[1 1]}
		%7 = convert bfloat16[3 2] %6
		%8 = dot_general float32[2 2] %4 %7
		return %8`)
	double, half := input("d", dtype.Float64, 2, 2), input("h", dtype.BFloat16, 2, 2)
	for _, n := range []*ir.Node{ir.MatMul(double, double), ir.MatMul(half, half)} {
		if g := Run([]*ir.Node{n}, none, dtype.BFloat16); len(g.Nodes) != 2 || g.Outputs[0].DType != n.DType {
			t.Errorf("products of %v are changed:\n%v", n.DType, g)
		}
	}
}

// short leaves out the attributes of products.
func short(graph string) string {
	var b strings.Builder
	for line := range strings.Lines(graph) {
		if i := strings.Index(line, " {LeftBatch"); i >= 0 {
			line = line[:i] + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// Convolutions take narrow operands in every direction, and the result is the sum of
// products of rounded numbers: those here are exact, 1 + 2⁻⁹ is not.
func TestPrecisionOfProducts(t *testing.T) {
	one := func(name string, v float64, sh ...int) *ir.Node {
		n := float(name, sh...)
		full := graphtest.Tensor{DType: f32, Shape: sh, V: make([]graphtest.Number, n.Elements())}
		for i := range full.V {
			full.V[i].F = v
		}
		n.Storage.Data = full.Bytes()
		return n
	}
	const v = 1 + 1.0/512 // rounds to 1
	p := ir.MatMul(one("a", v, 2, 3), one("b", v, 3, 2))
	for low, want := range map[dtype.DType]float64{dtype.Invalid: 3 * v * v, dtype.BFloat16: 3} {
		values, _ := graphtest.Eval(Run([]*ir.Node{p}, none, low).Outputs)
		if got := values[0].V[0].F; got != float64(float32(want)) {
			t.Errorf("operands rounded to %v: %v, want %v", low, got, want)
		}
	}
	attr := ir.ConvAttr{Stride: []int{1}, Low: []int{1}, High: []int{1}, Dilation: []int{1}, Groups: 1}
	x, w, y := float("x", 2, 3, 8), float("w", 4, 3, 3), float("y", 2, 4, 8)
	for dir, in := range [][]*ir.Node{{x, w}, {y, w}, {x, y}} {
		a := attr
		a.Dir = ir.Direction(dir)
		a.Size = [][]int{nil, {8}, {3}}[dir]
		g := Run([]*ir.Node{ir.New(ir.Conv, a, in...)}, none, dtype.BFloat16)
		g.Verify("precision")
		c := g.Outputs[0]
		if c.Op != ir.Conv || c.DType != f32 || c.In[0].DType != dtype.BFloat16 || c.In[1].DType != dtype.BFloat16 {
			t.Errorf("direction %d:\n%v", dir, g)
		}
	}
}
