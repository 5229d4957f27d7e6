package null

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
)

const f32 = dtype.Float32

// Slots of the hand-written programs.
func leaf(i, bytes int) kernel.Slot { return kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: bytes} }
func output(i, bytes int) kernel.Slot {
	return kernel.Slot{Kind: kernel.Output, Index: i, Bytes: bytes}
}
func at(offset, bytes int) kernel.Slot {
	return kernel.Slot{Kind: kernel.Arena, Offset: offset, Bytes: bytes}
}

// dense is a whole row-major float32 tensor in a slot.
func dense(slot int, sh ...int) kernel.Operand {
	return kernel.Operand{Slot: slot, DType: f32, Shape: sh, Stride: shape.Strides(sh)}
}

// negated is a Loop that stores −x: its arguments are the load and the store.
func negated(extent []int, x, y kernel.Arg) *kernel.Fused {
	return &kernel.Fused{
		Name: "neg",
		Code: []kernel.Instr{
			{Kind: kernel.Load, DType: f32, Arg: 0},
			{Kind: kernel.Apply, Op: ir.Neg, DType: f32, X: [3]int{0}},
			{Kind: kernel.Store, DType: f32, X: [3]int{1}, Arg: 1},
		},
		Parts: []kernel.Part{{Outer: extent, Args: []kernel.Arg{x, y}}},
	}
}

func arg(slot, offset int, stride ...int) kernel.Arg {
	return kernel.Arg{Slot: slot, DType: f32, Offset: offset, Stride: stride}
}

// neg negates n elements of slot x into slot y.
func neg(n, x, y int) *kernel.Fused { return negated([]int{n}, arg(x, 0, 1), arg(y, 0, 1)) }

// summed adds up the rows of [4, 8]: a Reduce.
func summed(x, y int) *kernel.Fused {
	return &kernel.Fused{
		Name: "sum",
		Code: []kernel.Instr{
			{Kind: kernel.Load, DType: f32, Arg: 0, Inner: true},
			{Kind: kernel.Reduce, Op: ir.ReduceSum, DType: f32, X: [3]int{0}},
			{Kind: kernel.Store, DType: f32, X: [3]int{1}, Arg: 1},
		},
		Parts: []kernel.Part{{Outer: []int{4}, Inner: []int{8}, Args: []kernel.Arg{arg(x, 0, 8, 1), arg(y, 0, 1, 0)}}},
	}
}

func library(op ir.Op, attr ir.Attr, out kernel.Operand, in ...kernel.Operand) *kernel.Library {
	return &kernel.Library{Name: op.String(), Op: op, Attr: attr, In: in, Out: []kernel.Operand{out}, Scratch: -1}
}

func program(arena int, slots []kernel.Slot, steps ...kernel.Step) *kernel.Program {
	p := &kernel.Program{Slots: slots, Steps: steps, Arena: arena}
	for _, s := range slots {
		switch s.Kind {
		case kernel.Leaf:
			p.Leaves = max(p.Leaves, s.Index+1)
		case kernel.Output:
			p.Outputs = max(p.Outputs, s.Index+1)
		}
	}
	return p
}

// chain is leaf → a → b → c → output, n float32 elements each, through arena slots
// at the given offsets.
func chain(n int, offsets ...int) *kernel.Program {
	slots := []kernel.Slot{leaf(0, 4*n), output(0, 4*n)}
	var steps []kernel.Step
	from, arena := 0, 0
	for i, o := range offsets {
		slots = append(slots, at(o, 4*n))
		steps = append(steps, neg(n, from, 2+i))
		from = 2 + i
		arena = max(arena, o+4*n)
	}
	return program(arena, slots, append(steps, neg(n, from, 1))...)
}

// scanned runs a body over three steps: carry [2], sequence [3, 2], constant [2].
func scanned(change func(l *kernel.Library)) *kernel.Program {
	body := program(64, []kernel.Slot{leaf(0, 8), leaf(1, 8), leaf(2, 8), output(0, 8), output(1, 8), at(0, 8)},
		neg(2, 1, 5), neg(2, 5, 3), neg(2, 2, 4))
	l := &kernel.Library{
		Name: "scan", Op: ir.Scan, Attr: &ir.Loop{Carries: 1, Inputs: 1, Steps: 3}, Body: body, Scratch: 3,
		In:  []kernel.Operand{dense(0, 2), dense(1, 3, 2), dense(2, 2)},
		Out: []kernel.Operand{dense(4, 2), dense(5, 3, 2)},
	}
	if change != nil {
		change(l)
	}
	return program(256, []kernel.Slot{leaf(0, 8), leaf(1, 24), leaf(2, 8), at(0, 256), output(0, 8), output(1, 24)}, l)
}

// product is x [4, 8] · w [8, 2] with an epilogue, if there is one, that works on
// slot 3 and has slots 4 (an output) and 5 (in the arena) for itself.
func product(epilogue *kernel.Fused) *kernel.Program {
	l := library(ir.DotGeneral, nil, dense(2, 4, 2), dense(0, 4, 8), dense(1, 8, 2))
	l.Epilogue = epilogue
	return program(64, []kernel.Slot{leaf(0, 128), leaf(1, 64), at(0, 32), output(0, 32)}, l, neg(8, 2, 3))
}

func TestGood(t *testing.T) {
	conv := ir.ConvAttr{Stride: []int{1}, Low: []int{1}, High: []int{1}, Dilation: []int{1}, Groups: 1}
	unwanted := scanned(func(l *kernel.Library) { l.Out[1].Slot = -1 })
	unwanted.Outputs, unwanted.Slots = 1, unwanted.Slots[:5]
	for name, p := range map[string]*kernel.Program{
		"nothing":         {},
		"one Loop":        program(0, []kernel.Slot{leaf(0, 40), output(0, 40)}, neg(10, 0, 1)),
		"apart":           chain(16, 0, 64, 128),
		"alternating":     chain(16, 0, 64, 0, 64),
		"all in place":    chain(16, 0, 0, 0),
		"a Reduce":        program(0, []kernel.Slot{leaf(0, 128), output(0, 16)}, summed(0, 1)),
		"over the leaf":   program(0, []kernel.Slot{leaf(0, 40)}, neg(10, 0, 0)),
		"backwards":       program(0, []kernel.Slot{leaf(0, 40), output(0, 40)}, negated([]int{10}, arg(0, 9, -1), arg(1, 0, 1))),
		"repeated":        program(0, []kernel.Slot{leaf(0, 4), output(0, 40)}, negated([]int{10}, arg(0, 0, 0), arg(1, 0, 1))),
		"nothing at all":  program(0, []kernel.Slot{leaf(0, 0), output(0, 0)}, negated([]int{0}, arg(0, 0, 1), arg(1, 0, 1))),
		"scan":            scanned(nil),
		"unwanted":        unwanted,
		"product":         product(nil),
		"epilogue":        product(negated([]int{4, 2}, arg(2, 0, 2, 1), arg(2, 0, 2, 1))),
		"epilogue merged": product(negated([]int{8}, arg(2, 0, 1), arg(2, 0, 1))),
		"a column of one": product(negated([]int{8, 1}, arg(2, 0, 1, 77), arg(2, 0, 1, 3))),
		"conv": program(0, []kernel.Slot{leaf(0, 2*3*5*4), leaf(1, 4*3*3*4), output(0, 2*4*5*4)},
			library(ir.Conv, conv, dense(2, 2, 4, 5), dense(0, 2, 3, 5), dense(1, 4, 3, 3))),
		// Two halves of one slot, side by side and interleaved: a concatenation.
		"halves": program(0, []kernel.Slot{leaf(0, 32), output(0, 64)},
			negated([]int{2, 4}, arg(0, 0, 4, 1), arg(1, 0, 4, 1)), negated([]int{2, 4}, arg(0, 0, 4, 1), arg(1, 8, 4, 1))),
		// A kernel reads the columns that an earlier one wrote and writes the others.
		"columns": program(0, []kernel.Slot{leaf(0, 32), output(0, 64)},
			negated([]int{2, 4}, arg(0, 0, 4, 1), arg(1, 0, 8, 1)), negated([]int{2, 4}, arg(1, 0, 8, 1), arg(1, 4, 8, 1))),
		// Memory is free again after its last use, not only in a chain.
		"reuse": program(192, []kernel.Slot{leaf(0, 64), output(0, 64), at(0, 64), at(64, 128), at(0, 64)},
			neg(16, 0, 2), neg(16, 2, 3), neg(16, 3, 4), neg(16, 4, 1)),
	} {
		if err := Verify(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBad(t *testing.T) {
	// edit changes one thing of a good program.
	edit := func(f func(p *kernel.Program, x *kernel.Fused)) *kernel.Program {
		p := program(64, []kernel.Slot{leaf(0, 40), output(0, 40), at(0, 40)}, neg(10, 0, 2), neg(10, 2, 1))
		f(p, p.Steps[0].(*kernel.Fused))
		return p
	}
	for _, c := range []struct {
		name, want string // want is part of the message
		p          *kernel.Program
	}{
		{"binding", "bound to number 1 of 1", edit(func(p *kernel.Program, _ *kernel.Fused) { p.Slots[0].Index = 1 })},
		{"alignment", "no multiple of 64", edit(func(p *kernel.Program, _ *kernel.Fused) { p.Slots[2].Offset = 8 })},
		{"arena", "of an arena of 64", edit(func(p *kernel.Program, _ *kernel.Fused) { p.Slots[2].Offset = 64 })},
		{"kind", "of kind 9", edit(func(p *kernel.Program, _ *kernel.Fused) { p.Slots[2].Kind = 9 })},
		{"slot", "in slot 7 of 3", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Parts[0].Args[0].Slot = 7 })},
		{"negative slot", "in slot -1 of 3", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Parts[0].Args[1].Slot = -1 })},
		{"past the end", "bytes 4 … 44 of slot 0", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Parts[0].Args[0].Offset = 1 })},
		{"before the start", "bytes -36 … 4 of slot 0", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Parts[0].Args[0].Stride[0] = -1 })},
		{"strides", "2 strides for 1 axes", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Parts[0].Args[0].Stride = []int{1, 1} })},
		{"extent", "negative extent", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Parts[0].Outer[0] = -10 })},
		{"argument", "argument 5 of 2", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Code[0].Arg = 5 })},
		{"later value", "no earlier value", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Code[1].X[0] = 1 })},
		{"type of a load", "is float32, the value int32", edit(func(_ *kernel.Program, f *kernel.Fused) {
			for i := range f.Code {
				f.Code[i].DType = dtype.Int32
			}
		})},
		{"type of a result", "int32 instead of float32", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Code[1].DType = dtype.Int32 })},
		{"type of a store", "float64 instead of float32", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Code[2].DType = dtype.Float64 })},
		{"undefined", "not: wants bool or integers", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Code[1].Op = ir.Not })},
		{"not elementwise", "gather is no operation", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Code[1].Op = ir.Gather })},
		{"inner value", "marked inner: true", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Code[1].Inner = true })},
		{"no inner axes", "inner values: true", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Code[0].Inner, f.Code[1].Inner = true, true })},
		{"no part", "no part", edit(func(_ *kernel.Program, f *kernel.Fused) { f.Parts = nil })},
		{"index", "has slot 0", edit(func(_ *kernel.Program, f *kernel.Fused) {
			f.Code[0].Kind, f.Code[0].DType = kernel.Index, dtype.Int64
			f.Code[1].DType, f.Code[2].DType = dtype.Int64, dtype.Int64
		})},
		{"unwritten", "reads slot 2, which nothing has written", edit(func(p *kernel.Program, _ *kernel.Fused) { p.Steps = p.Steps[1:] })},
		{"output", "nothing writes output 0", edit(func(p *kernel.Program, _ *kernel.Fused) { p.Steps = p.Steps[:1] })},
		{"step", "is a *null.stranger", edit(func(p *kernel.Program, _ *kernel.Fused) { p.Steps[0] = new(stranger) })},
		{"varies", "varies along the inner axes", func() *kernel.Program {
			p := program(0, []kernel.Slot{leaf(0, 128), output(0, 128)}, summed(0, 1))
			p.Steps[0].(*kernel.Fused).Parts[0].Args[1].Stride[1] = 1
			return p
		}()},

		// What a step writes.
		{"shifted", "is written where", program(0, []kernel.Slot{leaf(0, 64)}, negated([]int{10}, arg(0, 0, 1), arg(0, 1, 1)))},
		{"reversed in place", "is written where", program(0, []kernel.Slot{leaf(0, 40)}, negated([]int{10}, arg(0, 0, 1), arg(0, 9, -1)))},
		{"transposed in place", "is written where", program(0, []kernel.Slot{leaf(0, 64)}, negated([]int{4, 4}, arg(0, 0, 4, 1), arg(0, 0, 1, 4)))},
		{"twice", "at several points", program(0, []kernel.Slot{leaf(0, 40), output(0, 40)}, negated([]int{10}, arg(0, 0, 1), arg(1, 0, 0)))},
		{"overlapping rows", "at several points", program(0, []kernel.Slot{leaf(0, 64), output(0, 64)}, negated([]int{4, 4}, arg(0, 0, 4, 1), arg(1, 0, 3, 1)))},
		{"rows of the source", "is written where", program(0, []kernel.Slot{leaf(0, 128)}, summed(0, 0))},
		{"two leaves bound to one", "is written where", program(0, []kernel.Slot{leaf(0, 64), leaf(0, 64)}, negated([]int{10}, arg(0, 0, 1), arg(1, 1, 1)))},

		// Lifetimes in the arena.
		{"overlap", "slots 2 and 3 overlap", func() *kernel.Program {
			p := chain(16, 0, 0)
			p.Steps = append(p.Steps, neg(16, 2, 1)) // slot 2 lives on
			return p
		}()},
		{"partial overlap", "slots 2 and 4 overlap", func() *kernel.Program {
			p := chain(32, 0, 192, 64)
			p.Steps = append(p.Steps, neg(32, 2, 1))
			return p
		}()},
		{"shifted in place", "is written where", chain(32, 0, 64)},
		{"reduced in place", "is written where", program(128, []kernel.Slot{leaf(0, 128), output(0, 16), at(0, 128), at(0, 16)},
			neg(32, 0, 2), summed(2, 3), neg(4, 3, 1))},
		{"library in place", "is written where", program(64, []kernel.Slot{leaf(0, 40), output(0, 40), at(0, 40), at(0, 40)},
			neg(10, 0, 2), library(ir.CumSum, ir.Cumulate{}, dense(3, 10), dense(2, 10)), neg(10, 3, 1))},

		// Library operations.
		{"result", "the result is float32[3] instead of float32[10]", program(0, []kernel.Slot{leaf(0, 40), output(0, 40)},
			library(ir.CumSum, ir.Cumulate{}, dense(1, 3), dense(0, 10)))},
		{"attribute", "the attribute is a ir.Order", program(0, []kernel.Slot{leaf(0, 40), output(0, 40)},
			library(ir.CumSum, ir.Order{}, dense(1, 10), dense(0, 10)))},
		{"axis", "out of range", program(0, []kernel.Slot{leaf(0, 40), output(0, 80)},
			library(ir.ArgMax, ir.Axis{Axis: 4}, dense(1, 10), dense(0, 10)))},
		{"operands", "takes 2 operands", program(0, []kernel.Slot{leaf(0, 40), output(0, 40)},
			library(ir.Gather, ir.Index{}, dense(1, 10), dense(0, 10)))},
		{"elementwise", "no library operation", program(0, []kernel.Slot{leaf(0, 40), output(0, 40)},
			library(ir.Neg, nil, dense(1, 10), dense(0, 10)))},
		{"not contiguous", "not contiguous", program(0, []kernel.Slot{leaf(0, 40), output(0, 40)},
			library(ir.CumSum, ir.Cumulate{}, dense(1, 10), kernel.Operand{Slot: 0, DType: f32, Shape: []int{10}, Offset: 9, Stride: []int{-1}}))},
		{"outside", "bytes 0 … 44 of slot 0", program(0, []kernel.Slot{leaf(0, 40), output(0, 44)},
			library(ir.CumSum, ir.Cumulate{}, dense(1, 11), dense(0, 11)))},
		{"normal form", "not in normal form", program(0, []kernel.Slot{leaf(0, 40), output(0, 4)},
			library(ir.DotGeneral, nil, dense(1), dense(0, 10), dense(0, 10)))},
		{"inner extent", "inner extents 8 and 4", program(0, []kernel.Slot{leaf(0, 128), leaf(1, 64), output(0, 64)},
			library(ir.DotGeneral, nil, dense(2, 4, 4), dense(0, 4, 8), dense(1, 4, 4)))},
		{"scratch", "not in the arena", func() *kernel.Program {
			p := product(nil)
			p.Steps[0].(*kernel.Library).Scratch = 0
			return p
		}()},
		{"scratch over an operand", "is written where", func() *kernel.Program {
			p := product(nil)
			p.Slots = append(p.Slots, at(0, 64))
			p.Steps[0].(*kernel.Library).Scratch = 4
			return p
		}()},
		{"epilogue of other size", "runs over [4]", product(neg(4, 2, 2))},
		{"epilogue of another value", "does not read its result", product(neg(8, 0, 2))},
		{"epilogue elsewhere in its result", "is written where", product(negated([]int{4, 2}, arg(2, 6, -2, 1), arg(2, 0, 2, 1)))},
		{"epilogue over an operand", "is written where", product(negated([]int{4, 2}, arg(2, 0, 2, 1), arg(0, 0, 2, 1)))},
		{"epilogue that reduces", "is a Reduce", product(summed(2, 2))},

		// Scans.
		{"leaves", "a body with 3 leaves", scanned(func(l *kernel.Library) { l.In = l.In[:2] })},
		{"steps", "the scan has 4 steps", scanned(func(l *kernel.Library) { l.Attr = &ir.Loop{Carries: 1, Inputs: 1, Steps: 4} })},
		{"carry", "carry 0: the result is float32[1]", scanned(func(l *kernel.Library) { l.Out[0] = dense(4, 1) })},
		{"slice", "more than what it is bound to", scanned(func(l *kernel.Library) { l.Body.Slots[1].Bytes = 16 })},
		{"in the body", "body: step 0, neg: part 0, instruction 2", scanned(func(l *kernel.Library) { l.Body.Slots[5].Bytes = 4 })},
		{"over an operand", "writes to an operand of the scan", scanned(func(l *kernel.Library) { l.Body.Steps = append(l.Body.Steps, neg(2, 2, 0)) })},
	} {
		err := Verify(c.p)
		if err == nil {
			t.Errorf("%s: taken for good", c.name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the message %q does not say %q", c.name, err, c.want)
		}
	}
}

type stranger struct{}

func (*stranger) Label() string { return "stranger" }

// The exact test for common bytes against trying all points.
func TestMeets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() access {
		a := access{size: []int{1, 2, 4, 8}[r.IntN(4)], base: r.IntN(120)}
		for range r.IntN(4) {
			a.extent = append(a.extent, 1+r.IntN(4))
			a.stride = append(a.stride, a.size*(r.IntN(13)-6))
		}
		return a
	}
	// places counts how often each byte is touched.
	places := func(a *access) map[int]int {
		m := make(map[int]int)
		for i := range shape.Elements(a.extent) {
			at := a.base
			for k := len(a.extent) - 1; k >= 0; k-- {
				at += i % a.extent[k] * a.stride[k]
				i /= a.extent[k]
			}
			for b := range a.size {
				m[at+b]++
			}
		}
		return m
	}
	met := 0
	for range 20000 {
		a, b := random(), random()
		for _, x := range []*access{&a, &b} { // so that the ranges do not settle it
			x.low, x.high = -1000, 1000
		}
		pa, pb := places(&a), places(&b)
		want, twice := false, false
		for k, n := range pa {
			want = want || pb[k] > 0
			twice = twice || n > 1
		}
		if want {
			met++
		}
		if got := a.meets(&b); got != want {
			t.Fatalf("%+v and %+v: %v, want %v", a, b, got, want)
		}
		if got := a.repeats(); got != twice {
			t.Fatalf("%+v repeats: %v, want %v", a, got, twice)
		}
	}
	if met < 2000 || met > 18000 {
		t.Errorf("only one answer was tested: %d of 20000 met", met)
	}
}

func TestCount(t *testing.T) {
	c := Count(product(negated([]int{4, 2}, arg(2, 0, 2, 1), arg(2, 0, 2, 1))))
	want := Counts{
		Kernels: map[kernel.Class]int{kernel.ClassLibrary: 1, kernel.ClassLoop: 1},
		Library: map[string]int{"dot_general": 1},
		Arena:   64,
		Read:    128 + 64 + 32, // x, w; the result by the Loop
		Written: 32 + 32,
		FLOPs:   2 * 4 * 8 * 2,

		Elementwise: 8 + 8, // the epilogue, the Loop
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("a product: %+v, want %+v", c, want)
	}

	c = Count(scanned(nil))
	want = Counts{
		Kernels: map[kernel.Class]int{kernel.ClassLibrary: 1, kernel.ClassLoop: 3},
		Library: map[string]int{"scan": 1},
		Arena:   256,
		Read:    3 * 3 * 8,
		Written: 3 * 3 * 8,

		Elementwise: 3 * 3 * 2,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("a scan: %+v, want %+v", c, want)
	}

	// A broadcast vector is read once; of a table only the rows that are taken.
	broadcast := negated([]int{100, 8}, arg(0, 0, 0, 1), arg(1, 0, 8, 1))
	if c = Count(program(0, []kernel.Slot{leaf(0, 32), output(0, 3200)}, broadcast)); c.Read != 32 || c.Written != 3200 {
		t.Errorf("a broadcast reads %d bytes and writes %d", c.Read, c.Written)
	}
	index := kernel.Operand{Slot: 1, DType: dtype.Int64, Shape: []int{3}, Stride: []int{1}}
	gather := library(ir.Gather, ir.Index{}, dense(2, 3, 8), dense(0, 1000, 8), index)
	if c = Count(program(0, []kernel.Slot{leaf(0, 32000), leaf(1, 24), output(0, 96)}, gather)); c.Read != 96+24 {
		t.Errorf("a gather reads %d bytes", c.Read)
	}

	// 2·N·K·C/G·window·output, whichever of the three is computed.
	at := ir.ConvAttr{Stride: []int{2}, Low: []int{0}, High: []int{0}, Dilation: []int{1}, Groups: 2}
	x, w, y := dense(0, 5, 4, 9), dense(1, 6, 2, 3), dense(2, 5, 6, 4)
	for dir, l := range []*kernel.Library{
		library(ir.Conv, at, y, x, w), library(ir.Conv, at, x, y, w), library(ir.Conv, at, w, x, y),
	} {
		at.Dir = ir.Direction(dir)
		l.Attr = at
		p := program(0, []kernel.Slot{leaf(0, 720), leaf(1, 144), leaf(2, 480)}, l)
		if c = Count(p); c.FLOPs != 2*5*6*2*3*4 {
			t.Errorf("direction %d: %d operations", dir, c.FLOPs)
		}
	}
}

func TestDevice(t *testing.T) {
	d := New()
	if _, err := d.Alloc(-1); err == nil {
		t.Error("a negative size was taken")
	}
	big, err := d.Alloc(1 << 50)
	if err != nil || big.Bytes() != 1<<50 {
		t.Fatalf("Alloc: %v", err)
	}
	small, _ := d.Wrap(make([]byte, 40))
	if err := d.Upload(small, make([]byte, 41)); err == nil {
		t.Error("too long an upload was taken")
	}
	if err := d.Download(make([]byte, 40), small); err == nil {
		t.Error("a download gave something")
	}
	if _, err := d.Compile(chain(32, 0, 64)); err == nil {
		t.Error("a bad program was compiled")
	}
	e, err := d.Compile(chain(16, 0, 64))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, c := range []struct {
		leaves, outputs []device.Buffer
		ok              bool
	}{
		{[]device.Buffer{big}, []device.Buffer{big}, true},
		{[]device.Buffer{big}, []device.Buffer{small}, false},
		{[]device.Buffer{big}, []device.Buffer{nil}, false},
		{[]device.Buffer{big}, nil, false},
	} {
		if err := e.Run(c.leaves, c.outputs); (err == nil) != c.ok {
			t.Errorf("Run of %v and %v: %v", c.leaves, c.outputs, err)
		}
	}
}
