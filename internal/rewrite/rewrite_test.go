package rewrite

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/grad"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

const f32 = dtype.Float32

func none(string, bool) bool { return false }

func input(name string, d dtype.DType, sh ...int) *ir.Node {
	return ir.NewInput(d, sh, &ir.Storage{Name: name})
}

func float(name string, sh ...int) *ir.Node { return input(name, f32, sh...) }

func op(o ir.Op, in ...*ir.Node) *ir.Node { return ir.New(o, nil, in...) }

func full(x *ir.Node, v float64) *ir.Node { return ir.Full(x.DType, v, x.Shape) }

func pad(x *ir.Node, low, high []int) *ir.Node {
	return ir.New(ir.Pad, ir.Padding{Low: low, High: high, Interior: make([]int, len(low))}, x)
}

func permute(x *ir.Node, p ...int) *ir.Node {
	return ir.New(ir.Transpose, ir.Axes{Axes: p}, x)
}

// reshape is a Reshape even of a Reshape.
func reshape(x *ir.Node, sh ...int) *ir.Node {
	return &ir.Node{Op: ir.Reshape, DType: x.DType, Shape: sh, In: []*ir.Node{x}}
}

// What becomes of small graphs. Each is written as the printer shows it.
func TestRules(t *testing.T) {
	x, y := float("x", 2, 3), float("y", 2, 3)
	one, i := float("one", 1), input("i", dtype.Int32, 4)
	cond := op(ir.Lt, x, y)
	minus0 := ir.Float(f32, 0)
	minus0.Attr = ir.Literal{Bits: 1 << 63}
	for name, c := range map[string]struct {
		outputs []*ir.Node
		want    string
	}{
		"nothing to do": {[]*ir.Node{op(ir.Add, x, y)}, `
			%0 = input float32[2 3] "x"
			%1 = input float32[2 3] "y"
			%2 = add float32[2 3] %0 %1
			return %2`},
		"literals": {[]*ir.Node{op(ir.Mul, x, op(ir.Exp, op(ir.Sub, full(x, 3), full(x, 3.5))))}, `
			%0 = input float32[2 3] "x"
			%1 = const float32[] 0.6065306663513184
			%2 = broadcast_in_dim float32[2 3] %1 {Axes:[]}
			%3 = mul float32[2 3] %0 %2
			return %3`},
		"an operation on scalars comes before their repetition": {[]*ir.Node{
			op(ir.Add, ir.Broadcast(ir.ReshapeTo(one, nil), []int{2, 3}), ir.Full(f32, 2, []int{2, 3})),
		}, `
			%0 = input float32[1] "one"
			%1 = reshape float32[] %0
			%2 = const float32[] 2
			%3 = add float32[] %1 %2
			%4 = broadcast_in_dim float32[2 3] %3 {Axes:[]}
			return %4`},
		"integers are left to the kernels": {[]*ir.Node{op(ir.Add, ir.Int(dtype.Int32, 1), ir.Int(dtype.Int32, 2))}, `
			%0 = const int32[] 1
			%1 = const int32[] 2
			%2 = add int32[] %0 %1
			return %2`},
		"conversion of a small integer":    {[]*ir.Node{ir.To(ir.Int(dtype.Int64, -7), f32)}, "%0 = const float32[] -7\nreturn %0"},
		"conversion that would wrap":       {[]*ir.Node{ir.To(ir.Int(dtype.Int64, 300), dtype.Int8)}, "%0 = const int64[] 300\n%1 = convert int8[] %0\nreturn %1"},
		"conversion of a number to a bool": {[]*ir.Node{ir.To(ir.Int(dtype.Int64, 5), dtype.Bool)}, "%0 = const bool[] 1\nreturn %0"},
		// 2⁵⁴+2³⁰+1 is just above the middle between two numbers of float32, and is that
		// middle in float64.
		"conversion that float64 would round twice": {[]*ir.Node{ir.To(ir.Int(dtype.Int64, 1<<54+1<<30+1), f32)}, `
			%0 = const int64[] 1.801439958322381e+16
			%1 = convert float32[] %0
			return %1`},

		"x·1":  {[]*ir.Node{op(ir.Mul, x, full(x, 1))}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"1·i":  {[]*ir.Node{op(ir.Mul, full(i, 1), i)}, `%0 = input int32[4] "i"` + "\nreturn %0"},
		"x/1":  {[]*ir.Node{op(ir.Div, x, full(x, 1))}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"x−0":  {[]*ir.Node{op(ir.Sub, x, full(x, 0))}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"−−x":  {[]*ir.Node{op(ir.Neg, op(ir.Neg, x))}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"−−−x": {[]*ir.Node{op(ir.Neg, op(ir.Neg, op(ir.Neg, x)))}, "%0 = input float32[2 3] \"x\"\n%1 = neg float32[2 3] %0\nreturn %1"},
		"x+0 is not −0 for −0": {[]*ir.Node{op(ir.Add, one, full(one, 0))}, `
			%0 = input float32[1] "one"
			%1 = const float32[] 0
			%2 = broadcast_in_dim float32[1] %1 {Axes:[]}
			%3 = add float32[1] %0 %2
			return %3`},
		"nor is x−(−0)": {[]*ir.Node{op(ir.Sub, one, ir.Broadcast(minus0, one.Shape))}, `
			%0 = input float32[1] "one"
			%1 = const float32[] -0
			%2 = broadcast_in_dim float32[1] %1 {Axes:[]}
			%3 = sub float32[1] %0 %2
			return %3`},
		"1/x is not x": {[]*ir.Node{op(ir.Div, full(one, 1), one)}, `
			%0 = const float32[] 1
			%1 = broadcast_in_dim float32[1] %0 {Axes:[]}
			%2 = input float32[1] "one"
			%3 = div float32[1] %1 %2
			return %3`},

		"select on true":  {[]*ir.Node{op(ir.Select, full(cond, 1), x, y)}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"select on false": {[]*ir.Node{op(ir.Select, full(cond, 0), x, y)}, `%0 = input float32[2 3] "y"` + "\nreturn %0"},
		"select of one":   {[]*ir.Node{op(ir.Select, cond, x, x)}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},

		"two transposes": {[]*ir.Node{permute(permute(float("z", 2, 3, 4), 2, 0, 1), 2, 0, 1)}, `
			%0 = input float32[2 3 4] "z"
			%1 = transpose float32[3 4 2] %0 {Axes:[1 2 0]}
			return %1`},
		"transposes that cancel": {[]*ir.Node{permute(permute(x, 1, 0), 1, 0)}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"two reshapes":           {[]*ir.Node{reshape(reshape(x, 6), 3, 2)}, "%0 = input float32[2 3] \"x\"\n%1 = reshape float32[3 2] %0\nreturn %1"},
		// The shape of x comes back only when what is between the reshapes has gone.
		"reshapes that cancel": {[]*ir.Node{reshape(op(ir.Mul, reshape(x, 6), full(reshape(x, 6), 1)), 2, 3)}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"... around a sum":     {[]*ir.Node{reshape(reshape(op(ir.Add, ir.Broadcast(ir.ReshapeTo(one, nil), x.Shape), y), 6), 2, 3)}, "%0 = input float32[1] \"one\"\n%1 = reshape float32[] %0\n%2 = broadcast_in_dim float32[2 3] %1 {Axes:[]}\n%3 = input float32[2 3] \"y\"\n%4 = add float32[2 3] %2 %3\nreturn %4"},
		"two broadcasts":       {[]*ir.Node{ir.BroadcastTo(ir.BroadcastTo(one, []int{3, 1}, []int{1}), []int{3, 2, 4}, []int{0, 2})}, "%0 = input float32[1] \"one\"\n%1 = broadcast_in_dim float32[3 2 4] %0 {Axes:[2]}\nreturn %1"},
		"whole slice":          {[]*ir.Node{ir.New(ir.Slice, ir.Range{Start: []int{0, 0}, Limit: []int{2, 3}, Step: []int{1, 1}}, x)}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"view of a repetition": {[]*ir.Node{ir.New(ir.Reverse, ir.Axes{Axes: []int{0}}, permute(ir.SliceAxis(full(x, 7), 1, 1, 3), 1, 0))}, "%0 = const float32[] 7\n%1 = broadcast_in_dim float32[2 2] %0 {Axes:[]}\nreturn %1"},
		"padding by nothing":   {[]*ir.Node{pad(x, []int{0, 0}, []int{0, 0})}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"concatenation of one": {[]*ir.Node{ir.New(ir.Concatenate, ir.Axis{Axis: 1}, x)}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"sum of nothing":       {[]*ir.Node{ir.Sum(float("z", 2, 0), []int{1})}, "%0 = const float32[] 0\n%1 = broadcast_in_dim float32[2] %0 {Axes:[]}\nreturn %1"},
		"stop of a gradient":   {[]*ir.Node{op(ir.StopGradient, x)}, `%0 = input float32[2 3] "x"` + "\nreturn %0"},
		"equal nodes": {[]*ir.Node{op(ir.Sub, op(ir.Exp, x), y), op(ir.Sub, op(ir.Exp, x), y)}, `
			%0 = input float32[2 3] "x"
			%1 = exp float32[2 3] %0
			%2 = input float32[2 3] "y"
			%3 = sub float32[2 3] %1 %2
			return %3 %3`},
		"two views of one storage are two": {[]*ir.Node{op(ir.Exp, x), op(ir.Exp, ir.NewInput(f32, []int{1, 3}, x.Storage))}, `
			%0 = input float32[2 3] "x"
			%1 = exp float32[2 3] %0
			%2 = input float32[1 3] "x"
			%3 = exp float32[1 3] %2
			return %1 %3`},
	} {
		t.Run(name, func(t *testing.T) { want(t, c.outputs, c.want) })
	}
}

// want compares a rewritten graph with its text, whose indentation does not count.
func want(t *testing.T, outputs []*ir.Node, text string) {
	t.Helper()
	g := Run(outputs, none, dtype.Invalid)
	g.Verify("rewrite")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	if got := g.String(); got != strings.Join(lines, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(lines, "\n"))
	}
}

// Assignments are not merged, though equal, and their values are rewritten.
func TestAssignments(t *testing.T) {
	v, w := float("v", 2), float("w", 2)
	assign := func(v, x *ir.Node) *ir.Node { return ir.New(ir.Assign, ir.Target{Storage: v.Storage}, v, x) }
	x := op(ir.Mul, v, full(v, 1))
	g := Run([]*ir.Node{assign(w, x), assign(w, x)}, none, dtype.Invalid)
	if n := len(g.Outputs); n != 2 || g.Outputs[0] == g.Outputs[1] || g.Outputs[0].In[1] != g.Outputs[1].In[1] || g.Outputs[0].In[1].Op != ir.Input {
		t.Errorf("%v", g)
	}
	// One that is tied to a node becomes an output, and what it was made of before is
	// gone: nothing but what the outputs need is in the graph.
	y := *op(ir.Exp, op(ir.StopGradient, v))
	y.Effects = []*ir.Node{assign(w, op(ir.Neg, op(ir.Neg, op(ir.StopGradient, v))))}
	g = Run([]*ir.Node{&y}, none, dtype.Invalid)
	if len(g.Outputs) != 2 || g.Outputs[1].Op != ir.Assign || len(g.Nodes) != 4 {
		t.Errorf("%v", g)
	}
}

// The gradient of a split.
func TestTile(t *testing.T) {
	a, b, c := float("a", 2, 1), float("b", 2, 2), float("c", 2, 1)
	at := func(x *ir.Node, low int) *ir.Node { return pad(x, []int{0, low}, []int{0, 4 - low - x.Shape[1]}) }
	ints := input("n", dtype.Int32, 2, 2)
	whole := func(v float64, interior int) ir.Padding {
		return ir.Padding{Low: []int{0, 0}, High: []int{0, 2 - interior}, Interior: []int{0, interior}, Value: ir.FloatBits(f32, v)}
	}
	zero := func(x *ir.Node, sh ...int) *ir.Node { return ir.Full(x.DType, 0, sh) }
	plus0 := func(x *ir.Node) *ir.Node { return op(ir.Add, x, full(x, 0)) }
	cat := func(in ...*ir.Node) *ir.Node { return ir.New(ir.Concatenate, ir.Axis{Axis: 1}, in...) }
	for name, c := range map[string]struct{ sum, want *ir.Node }{
		"all of it":      {op(ir.Add, op(ir.Add, at(c, 3), at(a, 0)), at(b, 1)), cat(plus0(a), plus0(b), plus0(c))},
		"with gaps":      {op(ir.Add, at(c, 3), at(a, 1)), cat(zero(a, 2, 1), plus0(a), zero(a, 2, 1), plus0(c))},
		"integers":       {op(ir.Add, at(ints, 2), at(ints, 0)), cat(ints, ints)},
		"one overlaps":   {op(ir.Add, at(b, 1), at(b, 2)), nil},
		"another value":  {op(ir.Add, at(b, 2), ir.New(ir.Pad, whole(1, 0), b)), nil},
		"another −0":     {op(ir.Add, at(b, 2), ir.New(ir.Pad, ir.Padding{Low: []int{0, 0}, High: []int{0, 2}, Interior: []int{0, 0}, Value: 1 << 63}, b)), nil},
		"with holes":     {op(ir.Add, at(a, 3), ir.New(ir.Pad, whole(0, 1), b)), nil},
		"along two axes": {op(ir.Add, pad(a, []int{0, 0}, []int{2, 0}), pad(ir.ReshapeTo(b, []int{4, 1}), []int{0, 0}, []int{0, 0})), nil},
		"something else": {op(ir.Add, at(b, 2), op(ir.Exp, at(b, 0))), nil},
		"nothing at all": {op(ir.Add, cat(zero(a, 2, 1), zero(a, 2, 1)), cat(zero(a, 2, 1), zero(a, 2, 1))), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := Run([]*ir.Node{c.sum}, none, dtype.Invalid).Outputs[0]
			if c.want == nil {
				if got.Op != ir.Add {
					t.Errorf("got\n%v", ir.Collect([]*ir.Node{got}))
				}
				return
			}
			want(t, []*ir.Node{c.sum}, Run([]*ir.Node{c.want}, none, dtype.Invalid).String())
		})
	}
}

// The gradient of splitting what a composite has put together is the composite's
// result, if its body says that this has no negative zeros.
func TestTileOfSplitResult(t *testing.T) {
	x := float("x", 2, 6)
	for _, positive := range []bool{true, false} {
		body := op(ir.Exp, x)
		if positive {
			body = op(ir.Add, body, full(body, 0))
		}
		res := ir.NewComposite("whole", nil, []*ir.Node{x}, body)[0]
		part := func(lo, hi int) *ir.Node { return pad(ir.SliceAxis(res, 1, lo, hi), []int{0, lo}, []int{0, 6 - hi}) }
		sum := op(ir.Add, op(ir.Add, part(0, 2), part(4, 6)), part(2, 4))
		g := Run([]*ir.Node{sum}, func(string, bool) bool { return true }, dtype.Invalid)
		if whole := g.Outputs[0].Op == ir.Result; whole != positive {
			t.Errorf("without negative zeros: %v, got\n%v", positive, g)
		}
	}
	// Slices that leave something out, overlap or come in another order are no whole.
	slice := func(lo, hi int) *ir.Node { return ir.SliceAxis(x, 1, lo, hi) }
	for _, parts := range [][]*ir.Node{
		{slice(0, 3), slice(4, 6)}, {slice(0, 4), slice(3, 6)}, {slice(3, 6), slice(0, 3)}, {slice(0, 3), slice(0, 3)},
		{slice(0, 3), ir.SliceAxis(float("y", 2, 6), 1, 3, 6)}, {slice(0, 3), slice(3, 6), slice(0, 2)},
	} {
		g := Run([]*ir.Node{ir.New(ir.Concatenate, ir.Axis{Axis: 1}, parts...)}, none, dtype.Invalid)
		if g.Outputs[0].Op != ir.Concatenate {
			t.Errorf("became\n%v", g)
		}
	}
	g := Run([]*ir.Node{ir.New(ir.Concatenate, ir.Axis{Axis: 1}, slice(0, 1), slice(1, 5), slice(5, 6))}, none, dtype.Invalid)
	if g.Outputs[0].Op != ir.Input {
		t.Errorf("the whole became\n%v", g)
	}
}

// What a rectifier hides is seen by its result in the backward pass.
func TestReluMask(t *testing.T) {
	x, g := float("x", 4), float("g", 4)
	zero := full(x, 0)
	t.Run("x ≤ 0 ? 0 : x", func(t *testing.T) {
		y := op(ir.Select, op(ir.Le, x, zero), zero, x)
		want(t, []*ir.Node{y, op(ir.Select, op(ir.Le, x, zero), zero, g)}, `
			%0 = input float32[4] "x"
			%1 = const float32[] 0
			%2 = broadcast_in_dim float32[4] %1 {Axes:[]}
			%3 = le bool[4] %0 %2
			%4 = select float32[4] %3 %2 %0
			%5 = le bool[4] %4 %2
			%6 = input float32[4] "g"
			%7 = select float32[4] %5 %2 %6
			return %4 %7`)
	})
	t.Run("0 < x ? x : 0", func(t *testing.T) {
		y := op(ir.Select, op(ir.Lt, zero, x), x, zero)
		want(t, []*ir.Node{y, op(ir.Mul, ir.To(op(ir.Lt, zero, x), f32), g)}, `
			%0 = const float32[] 0
			%1 = broadcast_in_dim float32[4] %0 {Axes:[]}
			%2 = input float32[4] "x"
			%3 = lt bool[4] %1 %2
			%4 = select float32[4] %3 %2 %1
			%5 = lt bool[4] %1 %4
			%6 = convert float32[4] %5
			%7 = input float32[4] "g"
			%8 = mul float32[4] %6 %7
			return %4 %8`)
	})
	// A mask without a rectifier, and one at another number, stay.
	for _, c := range []*ir.Node{op(ir.Le, x, zero), op(ir.Lt, full(x, 1), x)} {
		y := op(ir.Select, c, full(x, 2), x)
		masked := op(ir.Select, c, zero, g)
		for _, n := range Run([]*ir.Node{y, masked}, none, dtype.Invalid).Nodes {
			if n.Op == ir.Select && n.In[0].In[0].Op != ir.Input && n.In[0].In[1].Op != ir.Input {
				t.Errorf("%v looks at %v", c.Op, n.In[0].In[0].Op)
			}
		}
	}
}

// Matrix products come to the normal form of the kernels, with views that cost nothing.
// The gradient of a pooling by maxima becomes one operation where its operand is used
// besides; the places of maxima stand for less memory where it is not.
func TestPoolGrad(t *testing.T) {
	w := ir.Window{Size: []int{2, 2}, Stride: []int{2, 2}, Low: []int{0, 0}, High: []int{0, 0}, Dilation: []int{1, 1}}
	for _, c := range []struct {
		kept bool
		zero float64
		want bool
	}{{true, 0, true}, {false, 0, false}, {true, 1, false}} {
		x, g := float("x", 2, 3, 4, 6), float("g", 2, 3, 2, 3)
		where := reshape(ir.New(ir.ReduceWindowArgMax, w, x), 2, 3, 6)
		sum := ir.New(ir.ScatterAdd, ir.Index{Axis: 2, Batch: 2}, ir.Full(f32, c.zero, []int{2, 3, 24}), where, reshape(g, 2, 3, 6))
		outputs := []*ir.Node{ir.New(ir.ReduceWindowMax, w, x), reshape(sum, 2, 3, 4, 6)}
		if c.kept {
			outputs = append(outputs, op(ir.Exp, x))
		}
		text := Run(outputs, none, dtype.Invalid).String()
		if strings.Contains(text, "reduce_window_max_grad float32[2 3 4 6]") != c.want || strings.Contains(text, "scatter_add") == c.want {
			t.Errorf("%+v:\n%s", c, text)
		}
	}
}

func TestContract(t *testing.T) {
	dot := func(l, r *ir.Node, lb, rb, lc, rc []int) *ir.Node {
		return ir.New(ir.DotGeneral, ir.Dot{LeftBatch: lb, RightBatch: rb, LeftContract: lc, RightContract: rc}, l, r)
	}
	for name, c := range map[string]struct {
		n    *ir.Node
		want string
	}{
		"normal": {dot(float("a", 5, 2, 3), float("b", 5, 3, 4), []int{0}, []int{0}, []int{2}, []int{1}), `
			%0 = input float32[5 2 3] "a"
			%1 = input float32[5 3 4] "b"
			%2 = dot_general float32[5 2 4] %0 %1 {LeftBatch:[0] RightBatch:[0] LeftContract:[2] RightContract:[1] Result:invalid}
			return %2`},
		"x·wᵀ": {dot(float("x", 2, 3), float("w", 4, 3), nil, nil, []int{1}, []int{1}), `
			%0 = input float32[2 3] "x"
			%1 = input float32[4 3] "w"
			%2 = transpose float32[3 4] %1 {Axes:[1 0]}
			%3 = dot_general float32[2 4] %0 %2 {LeftBatch:[] RightBatch:[] LeftContract:[1] RightContract:[0] Result:invalid}
			return %3`},
		"xᵀ·g": {dot(float("x", 2, 3), float("g", 2, 4), nil, nil, []int{0}, []int{0}), `
			%0 = input float32[2 3] "x"
			%1 = transpose float32[3 2] %0 {Axes:[1 0]}
			%2 = input float32[2 4] "g"
			%3 = dot_general float32[3 4] %1 %2 {LeftBatch:[] RightBatch:[] LeftContract:[1] RightContract:[0] Result:invalid}
			return %3`},
		// A linear layer on a sequence: the free axes become one.
		"two free axes": {dot(float("x", 2, 5, 3), float("w", 4, 3), nil, nil, []int{2}, []int{1}), `
			%0 = input float32[2 5 3] "x"
			%1 = reshape float32[10 3] %0
			%2 = input float32[4 3] "w"
			%3 = transpose float32[3 4] %2 {Axes:[1 0]}
			%4 = dot_general float32[10 4] %1 %3 {LeftBatch:[] RightBatch:[] LeftContract:[1] RightContract:[0] Result:invalid}
			%5 = reshape float32[2 5 4] %4
			return %5`},
		// Its weights' gradient: two contracted axes become one, and are transposed last.
		"two contracted axes": {dot(float("g", 2, 5, 4), float("x", 2, 5, 3), nil, nil, []int{0, 1}, []int{0, 1}), `
			%0 = input float32[2 5 4] "g"
			%1 = reshape float32[10 4] %0
			%2 = transpose float32[4 10] %1 {Axes:[1 0]}
			%3 = input float32[2 5 3] "x"
			%4 = reshape float32[10 3] %3
			%5 = dot_general float32[4 3] %2 %4 {LeftBatch:[] RightBatch:[] LeftContract:[1] RightContract:[0] Result:invalid}
			return %5`},
		"crossed axes": {dot(float("a", 2, 3, 4), float("b", 4, 3), nil, nil, []int{1, 2}, []int{1, 0}), `
			%0 = input float32[2 3 4] "a"
			%1 = reshape float32[2 12] %0
			%2 = input float32[4 3] "b"
			%3 = transpose float32[3 4] %2 {Axes:[1 0]}
			%4 = reshape float32[12 1] %3
			%5 = dot_general float32[2 1] %1 %4 {LeftBatch:[] RightBatch:[] LeftContract:[1] RightContract:[0] Result:invalid}
			%6 = reshape float32[2] %5
			return %6`},
		"vectors": {dot(float("a", 3), float("b", 3), nil, nil, []int{0}, []int{0}), `
			%0 = input float32[3] "a"
			%1 = reshape float32[3 1] %0
			%2 = transpose float32[1 3] %1 {Axes:[1 0]}
			%3 = input float32[3] "b"
			%4 = reshape float32[1 3] %3
			%5 = transpose float32[3 1] %4 {Axes:[1 0]}
			%6 = dot_general float32[1 1] %2 %5 {LeftBatch:[] RightBatch:[] LeftContract:[1] RightContract:[0] Result:invalid}
			%7 = reshape float32[] %6
			return %7`},
		"sums of nothing": {dot(float("a", 2, 0), float("b", 0, 3), nil, nil, []int{1}, []int{0}), `
			%0 = const float32[] 0
			%1 = broadcast_in_dim float32[2 3] %0 {Axes:[]}
			return %1`},
	} {
		t.Run(name, func(t *testing.T) { want(t, []*ir.Node{c.n}, c.want) })
	}
}

func TestPrune(t *testing.T) {
	carry, slice := ir.NewParam(0, f32, nil), ir.NewParam(1, f32, nil)
	next := op(ir.Add, carry, slice)
	xs := float("xs", 5)
	res := ir.CloseScan(ir.ScanSpec{
		Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{next, op(ir.Exp, next), op(ir.Sin, next)},
		Carries: []*ir.Node{ir.Float(f32, 0)}, Inputs: []*ir.Node{xs},
	})
	// res: the last carry, two stacked results, the trail of the carry.
	for name, c := range map[string]struct {
		used []int
		ops  string // of the body
	}{
		"the last carry": {[]int{0}, "add"},
		"a result":       {[]int{2}, "add sin"},
		"both results":   {[]int{2, 1}, "add exp sin"},
		"everything":     {[]int{0, 1, 2, 3}, "add exp sin"},
		"the trail":      {[]int{3}, "add"},
	} {
		t.Run(name, func(t *testing.T) {
			var outputs []*ir.Node
			for _, i := range c.used {
				outputs = append(outputs, res[i])
			}
			g := Run(outputs, none, dtype.Invalid)
			g.Verify("prune")
			scans := 0
			for _, n := range g.Nodes {
				if n.Op != ir.Scan {
					continue
				}
				scans++
				body := n.Attr.(*ir.Loop).Body
				body.Verify("prune")
				var ops []string
				for _, m := range body.Nodes {
					if m.Op != ir.Param {
						ops = append(ops, m.Op.String())
					}
				}
				if got := strings.Join(ops, " "); got != c.ops {
					t.Errorf("the body computes %s, want %s", got, c.ops)
				}
				// A carry is an output of the body whether or not it is one of the loop.
				want := 1
				for _, i := range c.used {
					if i == 1 || i == 2 {
						want++
					}
				}
				if len(body.Outputs) != want || body.Params != 2 {
					t.Errorf("the body has %d outputs and %d placeholders", len(body.Outputs), body.Params)
				}
			}
			if scans != 1 {
				t.Errorf("%d loops", scans)
			}
		})
	}
}

// Of the products of a recurrent cell only that with the state is left in the loop,
// forwards and in the gradient; the others are taken of all steps at once.
func TestProductsOfLoops(t *testing.T) {
	random := func(sh ...int) *ir.Node {
		x := graphtest.Tensor{DType: f32, Shape: sh}
		for i := range shape.Elements(sh) {
			x.V = append(x.V, graphtest.Number{F: float64(i*7%11-5) / 8})
		}
		return ir.NewInput(f32, sh, &ir.Storage{Data: x.Bytes()})
	}
	const steps, rows, in, hidden, out = 5, 2, 3, 4, 2
	xs, mask, h := random(steps, rows, in), random(in), random(rows, hidden)
	wx, wh, wy, bias := random(hidden, in), random(hidden, hidden), random(hidden, out), random(hidden)
	for i := range 4 {
		reverse, masked := i&1 != 0, i&2 != 0
		state, slice := ir.NewParam(0, f32, h.Shape), ir.NewParam(1, f32, []int{rows, in})
		x := slice
		if masked { // elementwise work on a slice
			x = op(ir.Mul, x, ir.Broadcast(mask, x.Shape))
		}
		sum := op(ir.Add, op(ir.Add, ir.MatMul(x, permute(wx, 1, 0)), ir.MatMul(state, wh)), ir.Broadcast(bias, h.Shape))
		next := op(ir.Tanh, sum)
		y := ir.MatMul(next, wy)
		res := ir.CloseScan(ir.ScanSpec{
			Params: []*ir.Node{state, slice}, Outs: []*ir.Node{next, y, permute(y, 1, 0)},
			Carries: []*ir.Node{h}, Inputs: []*ir.Node{xs}, Reverse: reverse,
		})[:3]
		g := Run(res, none, dtype.Invalid)
		same(t, res, g)
		if inside, outside := products(g); inside != 1 || outside != 2 {
			t.Errorf("%d products in the body, %d outside:\n%v", inside, outside, g)
		}

		var cots []*ir.Node
		for _, y := range res {
			cots = append(cots, random(y.Shape...))
		}
		by := []*ir.Node{h, wx, wh, wy, bias}
		if !masked {
			by = append(by, xs)
		}
		res = append(res, grad.VJP(res, cots, by)...)
		g = Run(res, none, dtype.Invalid)
		same(t, res, g)
		// Two gradients of each product; that by the state is in the loop, and the mask
		// lets none through.
		if inside, outside := products(g); inside != 2 || outside != 6+len(by)-5 {
			t.Errorf("with gradients: %d products in the bodies, %d outside:\n%v", inside, outside, g)
		}
		for _, n := range g.Nodes {
			if n.Op == ir.Scan && n.Attr.(*ir.Loop).Carries != 1 {
				t.Errorf("a sum is a carry:\n%v", g)
			}
		}
	}
}

// products counts the matrix products of a graph's loops and its others.
func products(g *ir.Graph) (inside, outside int) {
	for _, n := range g.Nodes {
		switch n.Op {
		case ir.DotGeneral:
			outside++
		case ir.Scan:
			i, o := products(n.Attr.(*ir.Loop).Body)
			inside += i + o
		}
	}
	return inside, outside
}

// same wants the values of a rewritten graph to be those of its outputs before.
func same(t *testing.T, outputs []*ir.Node, g *ir.Graph) {
	t.Helper()
	g.Verify("rewriting")
	want, _ := graphtest.Eval(outputs)
	got, _ := graphtest.Eval(g.Outputs)
	for i := range want {
		if d := got[i].Diff(want[i]); d != "" {
			t.Errorf("output %d: %s", i, d)
		}
	}
}

// Results that are there already are not stored by the body, and what it does not read
// is no operand.
func TestResultsOfLoops(t *testing.T) {
	carry, slice, unread := ir.NewParam(0, f32, []int{2, 3}), ir.NewParam(1, f32, []int{2, 3}), ir.NewParam(2, f32, []int{2, 3})
	counting := func(sh ...int) *ir.Node { // 1, 2, 3, …
		x := graphtest.Tensor{DType: f32, Shape: sh}
		for i := range shape.Elements(sh) {
			x.V = append(x.V, graphtest.Number{F: float64(i + 1)})
		}
		return ir.NewInput(f32, sh, &ir.Storage{Data: x.Bytes()})
	}
	w := counting(2, 3)
	next := op(ir.Add, carry, slice)
	y := op(ir.Mul, next, w)
	turn := func(x *ir.Node) *ir.Node { return ir.Permute(x, []int{1, 0}) }
	stored := []*ir.Node{y, op(ir.Mul, op(ir.Add, carry, slice), w), turn(y), ir.ReshapeTo(turn(y), []int{6}), slice, turn(slice), w, next, turn(next), carry}
	for _, reverse := range []bool{false, true} {
		res := ir.CloseScan(ir.ScanSpec{
			Params: []*ir.Node{carry, slice, unread}, Outs: append([]*ir.Node{next}, stored...),
			Carries: []*ir.Node{ir.Full(f32, 2, []int{2, 3})}, Inputs: []*ir.Node{counting(4, 2, 3), counting(4, 2, 3)}, Reverse: reverse,
		})
		g := Run(res, none, dtype.Invalid)
		same(t, res, g)
		for _, n := range g.Nodes {
			if n.Op != ir.Scan {
				continue
			}
			if l := n.Attr.(*ir.Loop); len(l.Body.Outputs) != 2 || l.Inputs != 1 || len(n.In) != 3 {
				t.Errorf("%d outputs of the body, %d operands:\n%v", len(l.Body.Outputs), len(n.In), g)
			}
		}
	}
}

func TestComposites(t *testing.T) {
	x, y := float("x", 3), float("y", 3)
	sum := op(ir.Add, x, y)
	res := ir.NewComposite("pair", nil, []*ir.Node{x, y}, op(ir.Neg, sum), op(ir.Exp, sum))
	want(t, []*ir.Node{op(ir.Mul, res[0], res[1])}, `
		%0 = input float32[3] "x"
		%1 = input float32[3] "y"
		%2 = add float32[3] %0 %1
		%3 = neg float32[3] %2
		%4 = exp float32[3] %2
		%5 = mul float32[3] %3 %4
		return %5`)
	g := Run([]*ir.Node{op(ir.Mul, res[0], res[1])}, func(name string, _ bool) bool { return name == "pair" }, dtype.Invalid)
	if got := fmt.Sprint(len(g.Nodes)); got != "6" || g.Nodes[2].Op != ir.Composite {
		t.Errorf("for a device that has a kernel:\n%v", g)
	}
}

// No rule changes a bit of what a graph computes.
func TestRandomGraphs(t *testing.T) {
	graphtest.Check(t, 2000, true, func(_ *rand.Rand, outputs []*ir.Node) error {
		values, stores := graphtest.Eval(outputs)
		g := Run(outputs, none, dtype.Invalid)
		g.Verify("rewrite")
		got, after := graphtest.Eval(g.Outputs)
		if len(got) != len(values) || len(after) != len(stores) {
			return fmt.Errorf("%d outputs and %d assignments, want %d and %d", len(got), len(after), len(values), len(stores))
		}
		for i, w := range values {
			if d := got[i].Diff(w); d != "" {
				return fmt.Errorf("output %d: %s", i, d)
			}
		}
		for s, w := range stores {
			if d := after[s].Diff(w); d != "" {
				return fmt.Errorf("an assigned value: %s", d)
			}
		}
		return nil
	})
}

// Every pass sees a node once, so long sums and chains take time in proportion.
func TestLongGraphs(t *testing.T) {
	x := float("x", 8)
	part := pad(ir.SliceAxis(x, 0, 0, 1), []int{0}, []int{7})
	sum, chain := part, x
	for range 20000 {
		sum = op(ir.Add, sum, part)
		chain = op(ir.Mul, op(ir.Neg, op(ir.Neg, chain)), chain)
	}
	start := time.Now()
	Run([]*ir.Node{sum, chain}, none, dtype.Invalid)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("60000 nodes took %v", d)
	}
}
