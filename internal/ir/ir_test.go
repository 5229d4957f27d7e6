package ir_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
)

const f32 = dtype.Float32

func input(d dtype.DType, sh ...int) *ir.Node { return ir.NewInput(d, sh, new(ir.Storage)) }

func float(sh ...int) *ir.Node { return input(f32, sh...) }

func op(o ir.Op, in ...*ir.Node) *ir.Node { return ir.New(o, nil, in...) }

func assign(v, x *ir.Node) *ir.Node { return ir.New(ir.Assign, ir.Target{Storage: v.Storage}, v, x) }

// tied is x with an assignment as its effect.
func tied(x, effect *ir.Node) *ir.Node {
	n := *x
	n.Effects = append(slices.Clone(n.Effects), effect)
	return &n
}

func ops(nodes []*ir.Node) string {
	var l []string
	for _, n := range nodes {
		l = append(l, n.Op.String())
	}
	return strings.Join(l, " ")
}

// Operands come first, in the order of a walk from the first operand of the first
// output; what is used twice comes once.
func TestCollect(t *testing.T) {
	x, y := float(2), float(2)
	e := op(ir.Exp, x)
	sum := op(ir.Add, op(ir.Mul, e, y), e)
	g := ir.Collect([]*ir.Node{sum, op(ir.Sin, y), sum})
	if got := ops(g.Nodes); got != "input exp input mul add sin" {
		t.Errorf("order: %s", got)
	}
	if len(g.Outputs) != 3 || g.Outputs[2] != sum {
		t.Errorf("outputs %v", g.Outputs)
	}
	if l := g.Leaves(); len(l) != 2 || l[0] != x || l[1] != y {
		t.Errorf("leaves %v", l)
	}
	// Two nodes that read one storage are one leaf.
	part := ir.NewInput(f32, []int{1}, x.Storage)
	if l := ir.Collect([]*ir.Node{part, y, x}).Leaves(); len(l) != 2 || l[0] != part || l[1] != y {
		t.Errorf("leaves %v", l)
	}
}

// Effects of whatever is reached are outputs: those of effects, too, and each once.
// One that was withdrawn is not carried out.
func TestEffects(t *testing.T) {
	v, w, x := float(2), float(2), float(2)
	second := assign(w, op(ir.Neg, x))
	first := assign(v, tied(op(ir.Exp, x), second))
	gone := assign(w, op(ir.Sin, x))
	gone.Withdraw()
	y := tied(tied(op(ir.Cos, x), first), gone)
	g := ir.Collect([]*ir.Node{op(ir.Add, y, y), second})
	if len(g.Outputs) != 3 || g.Outputs[1] != second || g.Outputs[2] != first {
		t.Errorf("outputs: %s", ops(g.Outputs))
	}
	if got := ops(g.Nodes); got != "input cos add input neg assign input exp assign" {
		t.Errorf("nodes: %s", got)
	}
}

func TestKey(t *testing.T) {
	key := func(outputs ...*ir.Node) string {
		_, k, _ := ir.Key(outputs)
		return string(k)
	}
	// Two graphs of one structure over other storages.
	build := func() []*ir.Node {
		x, y := float(2, 3), float(2, 3)
		s := ir.Sum(op(ir.Mul, x, y), []int{1})
		return []*ir.Node{op(ir.Exp, s), tied(s, assign(x, y))}
	}
	if key(build()...) != key(build()...) {
		t.Error("equal structures have different keys")
	}
	_, _, leaves := ir.Key(build())
	if len(leaves) != 2 {
		t.Errorf("%d leaves", len(leaves))
	}

	x, y := float(2, 3), float(2, 3)
	z, i := float(3, 2), input(dtype.Int32, 2, 3)
	sum := func(axis int) *ir.Node { return ir.Sum(x, []int{axis}) }
	square := func(axis int) *ir.Node { return ir.Sum(float(3, 3), []int{axis}) }
	half := func(bits uint64) *ir.Node {
		n := ir.Float(f32, 0)
		n.Attr = ir.Literal{Bits: bits}
		return n
	}
	pair := func(key string) *ir.Node { return ir.NewComposite("c", []byte(key), []*ir.Node{x}, op(ir.Exp, x))[0] }
	loop := func(body ir.Op, reverse bool) *ir.Node {
		p, q := ir.NewParam(0, f32, nil), ir.NewParam(1, f32, nil)
		return ir.CloseScan(ir.ScanSpec{
			Params: []*ir.Node{p, q}, Outs: []*ir.Node{op(body, p, q)},
			Carries: []*ir.Node{ir.Float(f32, 0)}, Inputs: []*ir.Node{float(5)}, Reverse: reverse,
		})[0]
	}
	different := [][]*ir.Node{
		{op(ir.Mul, x, x)}, {op(ir.Mul, x, y)}, {op(ir.Add, x, y)}, {op(ir.Mul, z, z)}, {op(ir.Mul, i, i)},
		{sum(0)}, {sum(1)}, {square(0)}, {square(1)},
		{half(0)}, {half(1 << 63)}, {ir.Int(dtype.Int64, 0)}, {ir.Int(dtype.Int64, 1)},
		{x}, {x, x}, {x, y}, {op(ir.Sub, op(ir.Exp, x), op(ir.Exp, y))}, {op(ir.Sub, op(ir.Exp, y), op(ir.Sin, x))},
		{op(ir.Exp, x), op(ir.Sin, x)}, {op(ir.Sin, x), op(ir.Exp, x)},
		// Two nodes may read one storage.
		{op(ir.Mul, x, ir.NewInput(f32, x.Shape, x.Storage))},
		// Which of two leaves it is that comes again.
		{op(ir.Add, op(ir.Mul, x, y), x)}, {op(ir.Add, op(ir.Mul, x, y), y)},
		{pair("1")}, {pair("2")},
		{loop(ir.Add, false)}, {loop(ir.Add, true)}, {loop(ir.Mul, false)},
		{op(ir.Neg, x)}, {tied(op(ir.Neg, x), assign(x, x))}, {tied(op(ir.Neg, x), assign(y, x))}, {tied(op(ir.Neg, x), assign(y, y))},
		{ir.ReshapeTo(x, []int{6})},
	}
	seen := make(map[string]int)
	for n, outputs := range different {
		k := key(outputs...)
		if m, ok := seen[k]; ok {
			t.Errorf("graphs %d and %d have one key:\n%v\n%v", m, n, ir.Collect(different[m]), ir.Collect(outputs))
		}
		seen[k] = n
	}
}

// The attributes of all operations are in the key.
func TestAttributeKeys(t *testing.T) {
	a, b := []int{1, 2}, []int{3, 4}
	groups := [][]ir.Attr{
		{ir.Axis{}, ir.Axis{Axis: 1}},
		{ir.Axes{Axes: a}, ir.Axes{Axes: b}, ir.Axes{Axes: a[:1]}},
		{ir.Range{Start: a, Limit: b, Step: b}, ir.Range{Start: b, Limit: b, Step: b}, ir.Range{Start: a, Limit: a, Step: b}, ir.Range{Start: a, Limit: b, Step: a}},
		{ir.Padding{Low: a, High: b, Interior: b}, ir.Padding{Low: b, High: b, Interior: b}, ir.Padding{Low: a, High: a, Interior: b}, ir.Padding{Low: a, High: b, Interior: a}, ir.Padding{Low: a, High: b, Interior: b, Value: 1}},
		{ir.Cumulate{}, ir.Cumulate{Axis: 1}, ir.Cumulate{Reverse: true}, ir.Cumulate{Exclusive: true}},
		{ir.Order{}, ir.Order{Axis: 1}, ir.Order{Descending: true}},
		{ir.RNG{}, ir.RNG{Seed: 1}, ir.RNG{Site: 1}},
		{ir.Window{Size: a, Stride: a, Low: a, High: a, Dilation: a}, ir.Window{Size: b, Stride: a, Low: a, High: a, Dilation: a}, ir.Window{Size: a, Stride: b, Low: a, High: a, Dilation: a}, ir.Window{Size: a, Stride: a, Low: b, High: a, Dilation: a}, ir.Window{Size: a, Stride: a, Low: a, High: b, Dilation: a}, ir.Window{Size: a, Stride: a, Low: a, High: a, Dilation: b}},
		{ir.Index{}, ir.Index{Axis: 1}, ir.Index{Axis: 1, Batch: 1}},
		{ir.Extent{Size: a}, ir.Extent{Size: b}},
		{ir.Dot{}, ir.Dot{LeftBatch: a, RightBatch: b}, ir.Dot{LeftBatch: b, RightBatch: a}, ir.Dot{LeftContract: a, RightContract: b}, ir.Dot{LeftContract: b, RightContract: a}},
		{ir.ConvAttr{}, ir.ConvAttr{Dir: ir.WeightGrad}, ir.ConvAttr{Stride: a}, ir.ConvAttr{Low: a}, ir.ConvAttr{High: a}, ir.ConvAttr{Dilation: a}, ir.ConvAttr{Groups: 2}, ir.ConvAttr{Size: a}},
		{ir.Number{}, ir.Number{N: 1}},
	}
	for _, g := range groups {
		seen := make(map[string]bool)
		for _, attr := range g {
			k := string(attr.AppendKey(nil))
			if seen[k] {
				t.Errorf("%T: %+v has the key of another", attr, attr)
			}
			seen[k] = true
		}
	}
}

func TestVerify(t *testing.T) {
	x := float(2, 3)
	good := func() (*ir.Graph, *ir.Node) {
		y := op(ir.Exp, x)
		z := ir.Sum(y, []int{0})
		return ir.Collect([]*ir.Node{z}), y
	}
	g, _ := good()
	g.Verify("nothing")
	for want, damage := range map[string]func(g *ir.Graph, y *ir.Node){
		"does not come before it":     func(g *ir.Graph, _ *ir.Node) { slices.Reverse(g.Nodes) },
		"an output (sin)":             func(g *ir.Graph, _ *ir.Node) { g.Outputs = []*ir.Node{op(ir.Sin, x)} },
		"exp is float32[3 2]":         func(_ *ir.Graph, y *ir.Node) { y.Shape = []int{3, 2} },
		"exp is float64[2 3]":         func(_ *ir.Graph, y *ir.Node) { y.DType = dtype.Float64 },
		"its rule gives float32[2 3]": func(_ *ir.Graph, y *ir.Node) { y.Shape = nil },
		"exp: takes 1 operands":       func(_ *ir.Graph, y *ir.Node) { y.In = append(y.In, x) },
		"exp: wants a floating-point": func(g *ir.Graph, y *ir.Node) {
			g.Nodes[0] = input(dtype.Int32, 2, 3)
			y.In = g.Nodes[:1]
		},
	} {
		t.Run(want, func(t *testing.T) {
			g, y := good()
			damage(g, y)
			defer func() {
				if s := fmt.Sprint(recover()); !strings.Contains(s, want) || !strings.HasPrefix(s, "ir: after a pass: ") {
					t.Errorf("said %q", s)
				}
			}()
			g.Verify("a pass")
		})
	}
}

func TestSubstitute(t *testing.T) {
	x, y, z := float(2), float(2), float(2)
	e, s := op(ir.Exp, x), op(ir.Sin, y)
	sum := op(ir.Add, e, s)
	sub := map[*ir.Node]*ir.Node{y: z}
	got := ir.Substitute([]*ir.Node{sum, e}, sub)
	if got[0] == sum || got[0].In[0] != e || got[0].In[1] == s || got[0].In[1].In[0] != z || got[1] != e {
		t.Errorf("%v", ir.Collect(got))
	}
	if sum.In[1] != s || s.In[0] != y {
		t.Error("the graph itself has changed")
	}
	if sub[e] != e || sub[s] != got[0].In[1] {
		t.Error("what was visited is not in the map")
	}
	// A second graph meets what the first was turned into.
	if again := ir.Substitute([]*ir.Node{op(ir.Neg, s)}, sub)[0]; again.In[0] != got[0].In[1] {
		t.Error("a shared operand was rebuilt twice")
	}
	if kept := ir.Substitute([]*ir.Node{sum}, map[*ir.Node]*ir.Node{z: x})[0]; kept != sum {
		t.Error("a graph was rebuilt that nothing changes")
	}

	// Bodies take the place of composites, also of one inside the body of another.
	inner := ir.NewComposite("inner", nil, []*ir.Node{x}, op(ir.Sin, x), op(ir.Cos, x))
	outer := ir.NewComposite("outer", nil, []*ir.Node{x, y}, op(ir.Mul, inner[1], y))
	got = ir.Substitute([]*ir.Node{op(ir.Neg, outer[0])}, map[*ir.Node]*ir.Node{x: z})
	if s := ops(ir.Collect(got).Nodes); s != "input cos input mul neg" || ir.Collect(got).Nodes[0] != z {
		t.Errorf("%v", ir.Collect(got))
	}
}

func TestCloseScan(t *testing.T) {
	filled := func(v ...float64) *ir.Node {
		x := graphtest.Tensor{DType: f32, Shape: []int{len(v)}}
		for _, f := range v {
			x.V = append(x.V, graphtest.Number{F: f})
		}
		return ir.NewInput(f32, x.Shape, &ir.Storage{Data: x.Bytes()})
	}
	scalar := func(v float64) *ir.Node { return ir.ReshapeTo(filled(v), nil) }
	want := func(t *testing.T, n *ir.Node, v ...float64) {
		t.Helper()
		got, _ := graphtest.Eval([]*ir.Node{n})
		for i := range v {
			if len(got[0].V) != len(v) || got[0].V[i].F != v[i] {
				t.Errorf("got %v, want %v", got[0].V, v)
				return
			}
		}
	}
	params := func() (carry, slice *ir.Node) { return ir.NewParam(0, f32, nil), ir.NewParam(1, f32, nil) }
	xs := filled(1, 2, 3, 4)

	t.Run("captured", func(t *testing.T) {
		carry, slice := params()
		w := scalar(10)
		derived := op(ir.Mul, w, op(ir.Add, w, ir.Float(f32, 1))) // 110, computed outside, once
		next := op(ir.Add, op(ir.Mul, carry, ir.Float(f32, 0.5)), op(ir.Mul, slice, derived))
		y := op(ir.Add, op(ir.Sub, next, derived), w)
		res := ir.CloseScan(ir.ScanSpec{Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{next, y}, Carries: []*ir.Node{scalar(2)}, Inputs: []*ir.Node{xs}})
		s := res[0].In[0]
		if n := len(s.In); n != 4 || !slices.Contains(s.In, derived) || !slices.Contains(s.In, w) {
			t.Errorf("operands %s", ops(s.In))
		}
		body := s.Attr.(*ir.Loop).Body
		body.Verify("scan")
		if body.Params != 4 || ops(body.Nodes[:4]) != "param param param param" {
			t.Errorf("%d placeholders, nodes %s", body.Params, ops(body.Nodes))
		}
		for i, p := range body.Nodes[:4] {
			if p.Attr.(ir.Number).N != i {
				t.Errorf("placeholder %d is number %d", i, p.Attr.(ir.Number).N)
			}
		}
		// The literal is in the body; a leaf in there would be read from nowhere.
		if got := ops(body.Nodes[4:]); strings.Contains(got, "input") || strings.Count(got, "const") != 1 {
			t.Errorf("the body: %s", got)
		}
		if len(res) != 3 {
			t.Fatalf("%d results", len(res))
		}
		want(t, res[0], (((1+110)/2.+220)/2+330)/2+440)
		want(t, res[1], 11, 175.5, 367.75, 573.875)
		want(t, res[2], 2, 111, 275.5, 467.75, 673.875) // the trail of the carry
	})
	t.Run("reversed", func(t *testing.T) {
		carry, slice := params()
		next := op(ir.Add, carry, slice)
		res := ir.CloseScan(ir.ScanSpec{Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{next, next}, Carries: []*ir.Node{scalar(0)}, Inputs: []*ir.Node{xs}, Reverse: true})
		want(t, res[0], 10)
		want(t, res[1], 10, 9, 7, 4)
		want(t, res[2], 10, 9, 7, 4, 0)
	})
	// Results that the body hands through, or that have nothing to do with it.
	t.Run("handed through", func(t *testing.T) {
		carry, slice := params()
		w := scalar(7)
		res := ir.CloseScan(ir.ScanSpec{Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{slice, carry, slice, w, ir.Float(f32, 3)}, Carries: []*ir.Node{scalar(5)}, Inputs: []*ir.Node{xs}})
		want(t, res[0], 4)
		want(t, res[1], 5, 1, 2, 3)
		want(t, res[2], 1, 2, 3, 4)
		want(t, res[3], 7, 7, 7, 7)
		want(t, res[4], 3, 3, 3, 3)
	})
	t.Run("a loop in a loop", func(t *testing.T) {
		sum := func(start, step *ir.Node) *ir.Node { // start + 4·step + 1 + 2 + 3 + 4
			carry, slice := params()
			next := op(ir.Add, op(ir.Add, carry, step), slice)
			return ir.CloseScan(ir.ScanSpec{Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{next}, Carries: []*ir.Node{start}, Inputs: []*ir.Node{xs}})[0]
		}
		carry, slice := params()
		next := sum(carry, slice)
		res := ir.CloseScan(ir.ScanSpec{Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{next}, Carries: []*ir.Node{scalar(1)}, Inputs: []*ir.Node{xs}})
		want(t, res[0], 1+4*10+4*10)
	})
	// An assignment in the body is carried out once, with the loop; it cannot depend on
	// the step.
	t.Run("effects", func(t *testing.T) {
		carry, slice := params()
		v := float()
		effect := assign(v, op(ir.Exp, v))
		next := tied(op(ir.Add, carry, slice), effect)
		res := ir.CloseScan(ir.ScanSpec{Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{next}, Carries: []*ir.Node{scalar(0)}, Inputs: []*ir.Node{xs}})
		if g := ir.Collect(res[:1]); len(g.Outputs) != 2 || g.Outputs[1] != effect {
			t.Errorf("outputs: %s", ops(g.Outputs))
		}
		for _, n := range res[0].In[0].Attr.(*ir.Loop).Body.Nodes {
			if len(n.Effects) > 0 {
				t.Error("the body carries it out, too")
			}
		}
		defer func() {
			if e, ok := recover().(*ir.BuildError); !ok || !strings.Contains(e.Reason, "depends on the loop's values") {
				t.Errorf("an assignment of a step's value: %v", e)
			}
		}()
		carry, slice = params()
		next = tied(op(ir.Add, carry, slice), assign(v, op(ir.Exp, slice)))
		ir.CloseScan(ir.ScanSpec{Params: []*ir.Node{carry, slice}, Outs: []*ir.Node{next}, Carries: []*ir.Node{scalar(0)}, Inputs: []*ir.Node{xs}})
	})
}

// Sixty doublings are a chain, not 2⁶⁰ paths.
func TestStampSharedOperands(t *testing.T) {
	x := float(2)
	for range 60 {
		x = op(ir.Add, x, x)
	}
	start := time.Now()
	ir.Stamp(x, ir.Here())
	for n := x; n.Op != ir.Input; n = n.In[0] {
		if n.Anonymous() || n.Site() != x.Site() {
			t.Fatal("a node below has no place")
		}
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %v", d)
	}
	// What has a place keeps it.
	other := ir.Here()
	y := op(ir.Neg, x)
	ir.Stamp(y, other)
	if x.Site() == other || y.Site() != other {
		t.Error("a place was overwritten")
	}
}

// Depth is no limit of any walk.
func TestDeepGraphs(t *testing.T) {
	const depth = 100000
	deep := func() *ir.Node {
		x := float(2)
		for range depth {
			x = op(ir.Neg, x)
		}
		return x
	}
	y := deep()
	ir.Stamp(y, ir.Here())
	g, key, leaves := ir.Key([]*ir.Node{y})
	if len(g.Nodes) != depth+1 || len(leaves) != 1 {
		t.Errorf("%d nodes, %d leaves", len(g.Nodes), len(leaves))
	}
	if _, k, _ := ir.Key([]*ir.Node{deep()}); !slices.Equal(k, key) {
		t.Error("keys differ")
	}
	g.Verify("nothing")
	if n := len(ir.Postorder([]*ir.Node{y}, func(n *ir.Node) []*ir.Node { return n.In })); n != depth+1 {
		t.Errorf("%d nodes in postorder", n)
	}
	if z := ir.Substitute([]*ir.Node{y}, map[*ir.Node]*ir.Node{leaves[0]: float(2)})[0]; z == y {
		t.Error("nothing was substituted")
	}
}

// What is wrong with operands is said with the operation's name, in these words, and
// with the line that it was built at.
func TestWrongOperands(t *testing.T) {
	x, y, i, b := float(2, 3), float(3, 2), input(dtype.Int64, 2, 3), input(dtype.Bool, 2, 3)
	x4, w4 := float(2, 4, 5, 5), float(6, 4, 3, 3)
	ones, zeros := []int{1, 1}, []int{0, 0}
	conv := func(change func(a *ir.ConvAttr), x, w *ir.Node) *ir.Node {
		a := ir.ConvAttr{Stride: ones, Low: zeros, High: zeros, Dilation: ones, Groups: 1}
		change(&a)
		return ir.New(ir.Conv, a, x, w)
	}
	same := func(*ir.ConvAttr) {}
	window := func(size, low []int, x *ir.Node) *ir.Node {
		return ir.New(ir.ReduceWindowMax, ir.Window{Size: size, Stride: ones, Low: low, High: zeros, Dilation: ones}, x)
	}
	for want, build := range map[string]func() *ir.Node{
		"add: operands float32[2 3] and float32[3 2] differ":                                 func() *ir.Node { return op(ir.Add, x, y) },
		"lt: operands float32[2 3] and int64[2 3] differ":                                    func() *ir.Node { return op(ir.Lt, x, i) },
		"mul: is not defined on bool; convert to an integer or floating-point type first":    func() *ir.Node { return op(ir.Mul, b, b) },
		"abs: is not defined on bool":                                                        func() *ir.Node { return op(ir.Abs, b) },
		"exp: wants a floating-point tensor, got int64":                                      func() *ir.Node { return op(ir.Exp, i) },
		"round: wants a floating-point tensor, got bool":                                     func() *ir.Node { return op(ir.Round, b) },
		"xor: wants bool or integers, got float32":                                           func() *ir.Node { return op(ir.Xor, x, x) },
		"shl: wants integers, got bool":                                                      func() *ir.Node { return op(ir.Shl, b, b) },
		"sub: takes 2 operands, got 1":                                                       func() *ir.Node { return op(ir.Sub, x) },
		"select: the condition is float32, not bool":                                         func() *ir.Node { return op(ir.Select, x, x, x) },
		"select: operands bool[2 3], float32[2 3], float32[3 2] differ":                      func() *ir.Node { return op(ir.Select, b, x, y) },
		"bitcast: float32 and int64 differ in size":                                          func() *ir.Node { return ir.Cast(x, dtype.Int64) },
		"reshape: shape [2 3] has 6 elements, [5] has 5":                                     func() *ir.Node { return ir.ReshapeTo(x, []int{5}) },
		"transpose: permutation [0 0] does not name each of the 2 axes once":                 func() *ir.Node { return ir.Permute(x, []int{0, 0}) },
		"transpose: permutation [1 0 2] does not name":                                       func() *ir.Node { return ir.Permute(x, []int{1, 0, 2}) },
		"broadcast_in_dim: shape [2 3] does not broadcast to [2 4] along axes [0 1]":         func() *ir.Node { return ir.Broadcast(x, []int{2, 4}) },
		"broadcast_in_dim: shape [2 3] does not broadcast to [3 2] along axes [1 0]":         func() *ir.Node { return ir.BroadcastTo(x, []int{3, 2}, []int{1, 0}) },
		"broadcast_in_dim: 1 axes given for a tensor of shape [2 3]":                         func() *ir.Node { return ir.BroadcastTo(x, []int{2, 3, 4}, []int{0}) },
		"slice: [1:4:1] does not lie in axis 1 of shape [2 3]":                               func() *ir.Node { return ir.SliceAxis(x, 1, 1, 4) },
		"slice: [2:1:1] does not lie in axis 1":                                              func() *ir.Node { return ir.SliceAxis(x, 1, 2, 1) },
		"slice: [0:3:0] does not lie in axis 1":                                              func() *ir.Node { return ir.SliceOf(x, zeros, x.Shape, []int{1, 0}) },
		"pad: negative padding at axis 1":                                                    func() *ir.Node { return ir.New(ir.Pad, ir.Padding{Low: []int{0, -1}, High: zeros, Interior: zeros}, x) },
		"concatenate: float32[2 3] and float32[3 2] differ in more than axis 0":              func() *ir.Node { return ir.New(ir.Concatenate, ir.Axis{Axis: 0}, x, y) },
		"concatenate: float32[2 3] and int64[2 3] differ":                                    func() *ir.Node { return ir.New(ir.Concatenate, ir.Axis{Axis: 0}, x, i) },
		"reduce_max: shape [2 0] has no element along axes [1] to take an extremum of":       func() *ir.Node { return ir.Fold(ir.ReduceMax, float(2, 0), []int{1}) },
		"argmin: axis 0 of shape [0 2] is empty":                                             func() *ir.Node { return ir.New(ir.ArgMin, ir.Axis{Axis: 0}, float(0, 2)) },
		"reduce_window_max: a window over 2 axes wants a tensor [N, C, 2 spatial axes], got": func() *ir.Node { return window(ones, zeros, x) },
		"reduce_window_max: axis 3 of [2 4 5 5]: a window that spans 6 does not fit in":      func() *ir.Node { return window([]int{1, 6}, zeros, x4) },
		"reduce_window_max: axis 2 of [2 4 5 5]: window size 0, stride 1 and dilation 1":     func() *ir.Node { return window([]int{0, 1}, zeros, x4) },
		"reduce_window_max: axis 2 of [2 4 5 5]: padding -1, 0 must not be negative":         func() *ir.Node { return window(ones, []int{-1, 0}, x4) },
		"gather: the indices are float32; int64 or int32 is wanted":                          func() *ir.Node { return ir.New(ir.Gather, ir.Index{}, x, x) },
		"gather: indices [2 3] do not fit data [3 2] at axis 1 with 1 batch axes":            func() *ir.Node { return ir.New(ir.Gather, ir.Index{Axis: 1, Batch: 1}, y, i) },
		"scatter_add: updates float32[2 3] do not fit: data float32[2 3] with indices [4]":   func() *ir.Node { return ir.New(ir.ScatterAdd, ir.Index{}, x, input(dtype.Int64, 4), x) },
		"dynamic_slice: wants 2 sizes and an int64 start vector of that length":              func() *ir.Node { return ir.New(ir.DynamicSlice, ir.Extent{Size: ones}, x, input(dtype.Int32, 2)) },
		"dynamic_slice: window [3 1] does not fit in [2 3]": func() *ir.Node {
			return ir.New(ir.DynamicSlice, ir.Extent{Size: []int{3, 1}}, x, input(dtype.Int64, 2))
		},
		"dynamic_update_slice: update [3 2] does not fit in [2 3]":                   func() *ir.Node { return op(ir.DynamicUpdateSlice, x, y, input(dtype.Int64, 2)) },
		"dynamic_update_slice: update float32[3 2] with start int64[3] does not fit": func() *ir.Node { return op(ir.DynamicUpdateSlice, x, y, input(dtype.Int64, 3)) },
		"dot_general: inner extents 3 and 2 of [2 3] and [2 3] differ":               func() *ir.Node { return ir.MatMul(x, x) },
		"dot_general: batch extents 2 and 3 of [2 1 1] and [3 1 1] differ":           func() *ir.Node { return ir.MatMul(float(2, 1, 1), float(3, 1, 1)) },
		"dot_general: operands are float32 and int64":                                func() *ir.Node { return ir.MatMul(y, i) },
		"dot_general: operands of float32 cannot be asked for a result of float32": func() *ir.Node {
			return ir.New(ir.DotGeneral, ir.Dot{LeftContract: []int{1}, RightContract: []int{0}, Result: dtype.Float32}, x, y)
		},
		"conv: operands of float32 cannot be asked for a result of bfloat16": func() *ir.Node {
			return conv(func(a *ir.ConvAttr) { a.Result = dtype.BFloat16 }, x4, w4)
		},
		"conv: operands are int64 and int64; one floating-point type is wanted": func() *ir.Node { return conv(same, input(dtype.Int64, 2, 4, 5, 5), input(dtype.Int64, 6, 4, 3, 3)) },
		"conv: operands [2 3] and [6 4 3 3] want 2 spatial axes each":           func() *ir.Node { return conv(same, x, w4) },
		"conv: groups is 0": func() *ir.Node { return conv(func(a *ir.ConvAttr) { a.Groups = 0 }, x4, w4) },
		"conv: 4 input channels in [2 4 5 5], but the weights [6 3 3 3] with 1 groups take 3": func() *ir.Node { return conv(same, x4, float(6, 3, 3, 3)) },
		"conv: 5 output channels of weights [5 2 3 3] do not fit 2 groups":                    func() *ir.Node { return conv(func(a *ir.ConvAttr) { a.Groups = 2 }, x4, float(5, 2, 3, 3)) },
		"conv: spatial axis 0 of input [2 4 5 5] with weights [6 4 7 3]: a window that spans": func() *ir.Node { return conv(same, x4, float(6, 4, 7, 3)) },
		"conv: batches of [2 4 5 5] and [3 6 3 3] differ": func() *ir.Node {
			return conv(func(a *ir.ConvAttr) { a.Dir, a.Size = ir.WeightGrad, []int{3, 3} }, x4, float(3, 6, 3, 3))
		},
		"conv: spatial axis 1 of result [2 6 3 2] should be 3": func() *ir.Node {
			return conv(func(a *ir.ConvAttr) { a.Dir, a.Size = ir.InputGrad, []int{5, 5} }, float(2, 6, 3, 2), w4)
		},
		"assign: a variable of float32[2 3] cannot take a value of float32[3 2]": func() *ir.Node { return assign(x, y) },
		"result: has no outputs to choose from":                                  func() *ir.Node { return ir.New(ir.Result, ir.Number{}, x) },
	} {
		t.Run(want, func(t *testing.T) {
			err := func() (err error) {
				defer ir.Recover(&err)
				n := build()
				t.Errorf("built %v%v", n.DType, n.Shape)
				return nil
			}()
			var e *ir.BuildError
			if !errors.As(err, &e) {
				t.Fatalf("%v", err)
			}
			if !strings.HasPrefix(e.Error(), want) || !strings.Contains(e.Error(), "(at ir_test.go:") {
				t.Errorf("said %q", e)
			}
		})
	}
}

func TestBuildErrorNamesTheLine(t *testing.T) {
	_, _, line, _ := runtime.Caller(0)
	for after, build := range []func(){
		func() { ir.New(ir.Exp, nil, input(dtype.Int64)) }, // line + 2
		func() { ir.ReshapeTo(float(2), []int{3}) },
		func() { ir.Broadcast(float(2), []int{3}) },
		func() { ir.Cast(float(2), dtype.Int64) },
		func() { ir.MatMul(float(2, 2), float(3, 3)) },
		func() { ir.Fail("Test", "%d is wrong", 7) },
	} {
		func() {
			defer func() {
				e, ok := recover().(*ir.BuildError)
				if want := fmt.Sprintf("ir_test.go:%d", line+2+after); !ok || e.Site.String() != want {
					t.Errorf("%v, want %s", e, want)
				}
			}()
			build()
		}()
	}
	// Only mistakes of the model become errors.
	defer func() {
		if r := recover(); r != "something else" {
			t.Errorf("%v", r)
		}
	}()
	var err error
	defer ir.Recover(&err)
	panic("something else")
}

// Shapes and types that rules give.
func TestShapes(t *testing.T) {
	x, i := float(2, 3, 4), input(dtype.Int32, 2, 3, 4)
	for want, n := range map[string]*ir.Node{
		"bool[2 3 4]":      op(ir.Le, i, i),
		"float32[2 3 4]":   op(ir.Select, op(ir.Ne, i, i), x, x),
		"float32[4 2 3]":   ir.Permute(x, []int{2, 0, 1}),
		"float32[2]":       ir.Sum(x, []int{1, 2}),
		"float32[2 1 1]":   ir.KeepDims(ir.Sum(x, []int{1, 2}), []int{1, 2}),
		"float32[1 1 4]":   ir.SliceOf(x, []int{1, 0, 0}, []int{2, 3, 4}, []int{2, 3, 1}),
		"float32[2 3 14]":  ir.New(ir.Pad, ir.Padding{Low: []int{0, 0, 3}, High: []int{0, 0, 1}, Interior: []int{0, 0, 2}}, x),
		"float32[2 0]":     ir.New(ir.Pad, ir.Padding{Low: []int{0, 0}, High: []int{0, 0}, Interior: []int{0, 7}}, float(2, 0)),
		"float32[2 7 4]":   ir.New(ir.Concatenate, ir.Axis{Axis: 1}, x, float(2, 0, 4), float(2, 4, 4)),
		"int64[2 4]":       ir.New(ir.ArgMax, ir.Axis{Axis: 1}, x),
		"int64[2 3 4]":     ir.New(ir.Sort, ir.Order{Axis: 1}, x),
		"float32[2 5 6 4]": ir.New(ir.Gather, ir.Index{Axis: 1}, x, input(dtype.Int32, 5, 6)),
		"float32[2 6 4]":   ir.New(ir.Gather, ir.Index{Axis: 1, Batch: 1}, x, input(dtype.Int32, 2, 6)),
		"float32[3 4 5]":   ir.New(ir.DotGeneral, ir.Dot{LeftBatch: []int{1}, RightBatch: []int{0}, LeftContract: []int{0}, RightContract: []int{2}}, x, float(3, 5, 2)),
		"int32[2 3 2]":     ir.New(ir.ReduceWindowArgMax, ir.Window{Size: []int{3}, Stride: []int{2}, Low: []int{1}, High: []int{0}, Dilation: []int{1}}, x),
		"float32[1 1 5]":   ir.New(ir.ReduceWindowMaxGrad, ir.Window{Size: []int{2}, Stride: []int{2}, Low: []int{0}, High: []int{0}, Dilation: []int{1}}, float(1, 1, 5), float(1, 1, 2)),
		"float64[]":        ir.Float(dtype.Float64, 1),
	} {
		if got := fmt.Sprintf("%v%v", n.DType, n.Shape); got != want {
			t.Errorf("%v: %s, want %s", n.Op, got, want)
		}
	}
}

// Literals are rounded to their type, to nearest even, and integers wrap.
func TestLiterals(t *testing.T) {
	for _, c := range []struct {
		d    dtype.DType
		v    float64
		want float64
	}{
		{dtype.Float64, 0.1, 0.1}, {f32, 0.1, 0.10000000149011612}, {dtype.Float16, 0.1, 0.0999755859375}, {dtype.BFloat16, 0.1, 0.10009765625},
		{dtype.Float16, 2049, 2048}, {dtype.Float16, 2051, 2052}, {dtype.Float16, 1e6, math.Inf(1)},
		{dtype.Bool, 0.5, 1}, {dtype.Bool, 0, 0}, {dtype.Int32, -2.9, -2}, {dtype.Uint8, 7, 7},
	} {
		if got := ir.Float(c.d, c.v).Attr.(ir.Literal).Float(c.d); got != c.want {
			t.Errorf("%v as %v is %v, want %v", c.v, c.d, got, c.want)
		}
	}
	for _, c := range []struct {
		d       dtype.DType
		v, want int64
	}{{dtype.Uint8, 300, 44}, {dtype.Uint8, -1, 255}, {dtype.Int8, 200, -56}, {dtype.Int32, 1 << 31, -1 << 31}, {dtype.Int64, -1 << 63, -1 << 63}} {
		if got := int64(ir.Int(c.d, c.v).Attr.(ir.Literal).Bits); got != c.want {
			t.Errorf("%d as %v is %d, want %d", c.v, c.d, got, c.want)
		}
	}
}

// Every operation is declared: it has a name of its own and, unless it is one of the
// structure or works on bits, a meaning.
func TestTable(t *testing.T) {
	names := make(map[string]bool)
	for _, o := range ir.Ops() {
		info := o.Info()
		if info.Name == "" || names[info.Name] {
			t.Errorf("operation %d is called %q", o, info.Name)
		}
		names[info.Name] = true
		if o.Class() == ir.ClassElementwise && info.Cost == 0 {
			t.Errorf("%v costs nothing", o)
		}
		if info.Commutes && info.F64 != nil {
			for _, v := range [][2]float64{{1, 2}, {math.Inf(1), -3}, {0.1, 0.3}} {
				if info.F64(v[0], v[1]) != info.F64(v[1], v[0]) {
					t.Errorf("%v does not commute", o)
				}
			}
		}
	}
}

func TestPrinted(t *testing.T) {
	x := ir.NewInput(f32, []int{2}, &ir.Storage{Name: "x"})
	p, q := ir.NewParam(0, f32, nil), ir.NewParam(1, f32, nil)
	s := ir.CloseScan(ir.ScanSpec{Params: []*ir.Node{p, q}, Outs: []*ir.Node{op(ir.Add, p, q)}, Carries: []*ir.Node{ir.Float(f32, 0.5)}, Inputs: []*ir.Node{x}})
	want := `%0 = const float32[] 0.5
%1 = input float32[2] "x"
%2 = scan invalid[] %0 %1 2 steps
    %0 = param float32[] {N:0}
    %1 = param float32[] {N:1}
    %2 = add float32[] %0 %1
    return %2
%3 = result float32[] %2 {N:0}
return %3`
	if got := ir.Collect(s[:1]).String(); got != want {
		t.Errorf("printed as\n%s", got)
	}
}
