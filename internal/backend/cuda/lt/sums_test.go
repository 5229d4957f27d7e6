package lt

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cuda/standin"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// gradients is a program as the gradient of a Linear layer has it: dy [24, 8] in slot 0, x
// [24, 16] in slot 1, dW = dyᵀ·x or xᵀ·dy to slot 2, and in a kernel with it the sums of dy
// to slot 3 and of x's first column to slot 4. The product is the first step or the last.
func gradients(d dtype.DType, left, first bool) *kernel.Program {
	dy, x, out := operand(0, d, 24, 8), operand(1, d, 24, 16), operand(2, dtype.Float32, 16, 8)
	l := &kernel.Library{Name: "dW", Op: ir.DotGeneral, Scratch: -1}
	turned := func(o kernel.Operand) kernel.Operand {
		return kernel.Operand{Slot: o.Slot, DType: d, Shape: []int{o.Shape[1], o.Shape[0]}, Stride: []int{o.Stride[1], o.Stride[0]}}
	}
	l.In = []kernel.Operand{turned(x), dy}
	if left {
		out = operand(2, dtype.Float32, 8, 16)
		l.In = []kernel.Operand{turned(dy), x}
	}
	l.Out = []kernel.Operand{out}
	f := &kernel.Fused{Name: "sums", Code: []kernel.Instr{{Kind: kernel.Load, DType: d, Inner: true}}}
	if d != dtype.Float32 {
		f.Code = append(f.Code, kernel.Instr{Kind: kernel.Apply, Op: ir.Convert, DType: dtype.Float32, Inner: true})
	}
	n := len(f.Code)
	f.Code = append(f.Code,
		kernel.Instr{Kind: kernel.Reduce, Op: ir.ReduceSum, DType: dtype.Float32, X: [3]int{n - 1}},
		kernel.Instr{Kind: kernel.Store, DType: dtype.Float32, X: [3]int{n}, Arg: 1})
	part := func(from, to, outer, width int) kernel.Part {
		return kernel.Part{Outer: []int{outer}, Inner: []int{24}, Args: []kernel.Arg{
			{Slot: from, DType: d, Stride: []int{1, width}}, {Slot: to, DType: dtype.Float32, Stride: []int{1, 0}}}}
	}
	f.Parts = []kernel.Part{part(1, 4, 1, 16), part(0, 3, 8, 8)}
	p := &kernel.Program{Leaves: 2, Outputs: 3, Steps: []kernel.Step{l, f}, Slots: []kernel.Slot{
		{Kind: kernel.Leaf, Index: 0, Bytes: 24 * 8 * d.Size()}, {Kind: kernel.Leaf, Index: 1, Bytes: 24 * 16 * d.Size()},
		{Kind: kernel.Output, Index: 0, Bytes: 4 * 8 * 16}, {Kind: kernel.Output, Index: 1, Bytes: 4 * 8}, {Kind: kernel.Output, Index: 2, Bytes: 4},
	}}
	if !first {
		slices.Reverse(p.Steps)
	}
	return p
}

// The gradient of a bias goes along with that of the weight, whichever operand it is a sum
// of, and is the sum in float32 of what is there; what else its kernel does stays.
func TestAlong(t *testing.T) {
	for _, d := range []dtype.DType{dtype.Float32, dtype.BFloat16, dtype.Float16} {
		for i := range 4 {
			left, first := i%2 == 0, i/2 == 0
			t.Run(fmt.Sprintf("%v left %v first %v", d, left, first), func(t *testing.T) {
				planner, lib := open(t, Options{})
				program := gradients(d, left, first)
				var sums map[*kernel.Library]*Sum
				dev := &standin.Device{
					Unread: Unread,
					Rest: func(p *kernel.Program) (rest *kernel.Program, err error) {
						rest, sums, err = planner.Along(p)
						return rest, err
					},
					Plan: func(l *kernel.Library, unread bool) (standin.Routine, error) {
						lib.Clear()
						r, why, err := planner.Plan(l, Way{Unread: unread, Sum: sums[l]})
						if r == nil {
							t.Fatal(why, err)
						}
						return r, err
					},
				}
				e, err := dev.Compile(program)
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				// A sum of B's columns is one of our left operand's rows.
				kind := "00010000"
				if left {
					kind = "00020000"
				}
				record := lib.Record()
				at := slices.Index(record, "cublasLtMatmulDescSetAttribute 7="+kind)
				if at < 0 || !slices.Equal(record[at+1:at+3], []string{"cublasLtMatmulDescSetAttribute 26=00000000", "cublasLtMatmulDescSetAttribute 8=1000100000000000"}) {
					t.Errorf("the calls are\n%s", strings.Join(record, "\n"))
				}
				if len(sums) != 1 {
					t.Errorf("sums: %v", sums)
				}
				r := rand.New(rand.NewPCG(uint64(d), 7))
				var leaves, outputs []device.Buffer
				var values [2][]float64
				for i, n := range []int{24 * 8, 24 * 16} {
					data := make([]byte, n*d.Size())
					for j := range n {
						scalar.Put(d, data, j, scalar.Number{F: r.NormFloat64()})
						values[i] = append(values[i], scalar.Get(d, data, j).F)
					}
					b, _ := dev.Wrap(data)
					leaves = append(leaves, b)
				}
				for _, s := range program.Slots[2:] {
					b, _ := dev.Alloc(s.Bytes)
					outputs = append(outputs, b)
				}
				if err := e.Run(leaves, outputs); err != nil {
					t.Fatal(err)
				}
				got := func(i, j int) float64 {
					data := make([]byte, outputs[i].Bytes())
					dev.Download(data, outputs[i])
					return scalar.Get(dtype.Float32, data, j).F
				}
				near := func(what string, got, want float64) {
					if !(math.Abs(got-want) <= 1e-5*(1+math.Abs(want))) {
						t.Errorf("%s is %v, want %v", what, got, want)
					}
				}
				column := 0.0
				for k := range 24 {
					column += values[1][16*k]
				}
				near("the other sum", got(2, 0), column)
				for o := range 8 {
					sum := 0.0
					for k := range 24 {
						sum += values[0][8*k+o]
					}
					near(fmt.Sprintf("sum %d", o), got(1, o), sum)
					for i := range 16 {
						dot := 0.0
						for k := range 24 {
							dot += values[0][8*k+o] * values[1][16*k+i]
						}
						place := 8*i + o
						if left {
							place = 16*o + i
						}
						near(fmt.Sprintf("dW[%d %d]", o, i), got(0, place), dot)
					}
				}
			})
		}
	}
}

// A sum stays where it is if memory stands against moving it, if it is another sum, or if
// the library does not take it.
func TestNotAlong(t *testing.T) {
	type change func(p *kernel.Program, product *kernel.Library, sums *kernel.Fused)
	// between is a step between the two that reads and writes slots.
	between := func(read, written int) change {
		return func(p *kernel.Program, _ *kernel.Library, _ *kernel.Fused) {
			p.Steps = slices.Insert(p.Steps, 1, kernel.Step(&kernel.Fused{Name: "between",
				Code: []kernel.Instr{{Kind: kernel.Load, DType: dtype.Float32}, {Kind: kernel.Store, DType: dtype.Float32, Arg: 1}},
				Parts: []kernel.Part{{Outer: []int{1}, Args: []kernel.Arg{
					{Slot: read, DType: dtype.Float32, Stride: []int{1}}, {Slot: written, DType: dtype.Float32, Stride: []int{1}}}}}}))
		}
	}
	arena := func(offset int, slots ...int) change {
		return func(p *kernel.Program, _ *kernel.Library, _ *kernel.Fused) {
			for _, s := range slots {
				p.Slots[s].Kind, p.Slots[s].Offset = kernel.Arena, offset
			}
		}
	}
	for _, c := range []struct {
		name    string
		changes []change
		taken   int // of programs with the product first and last
	}{
		{"nothing", nil, 2},
		{"something else happens in between", []change{between(1, 2)}, 2},
		{"its place is read in between", []change{between(3, 4)}, 0},
		{"its place is written in between", []change{between(1, 3)}, 0},
		{"the operand is written in between", []change{between(1, 0)}, 0},
		{"another slot of its memory is used in between", []change{arena(64, 3, 4), between(4, 2)}, 0},
		{"the product lies where it goes", []change{arena(0, 2, 3)}, 0},
		{"it goes to a variable", []change{func(p *kernel.Program, _ *kernel.Library, _ *kernel.Fused) { p.Slots[3].Kind = kernel.Leaf }}, 0},
		{"another operand", []change{func(_ *kernel.Program, _ *kernel.Library, s *kernel.Fused) { s.Parts[1].Args[0].Slot = 4 }}, 0},
		{"another part of it", []change{func(_ *kernel.Program, _ *kernel.Library, s *kernel.Fused) { s.Parts[1].Args[0].Offset = 1 }}, 0},
		{"over the other axis", []change{func(_ *kernel.Program, _ *kernel.Library, s *kernel.Fused) {
			s.Parts[1].Outer, s.Parts[1].Inner, s.Parts[1].Args[0].Stride = []int{24}, []int{8}, []int{8, 1}
		}}, 0},
		{"a maximum", []change{func(_ *kernel.Program, _ *kernel.Library, s *kernel.Fused) { s.Code[1].Op = ir.ReduceMax }}, 0},
		{"spread", []change{func(_ *kernel.Program, _ *kernel.Library, s *kernel.Fused) { s.Parts[1].Args[1].Stride = []int{2, 0} }}, 0},
		{"an address that the library does not take", []change{func(_ *kernel.Program, _ *kernel.Library, s *kernel.Fused) { s.Parts[1].Args[1].Offset = 1 }}, 0},
		{"a product of 16 bits", []change{func(_ *kernel.Program, l *kernel.Library, _ *kernel.Fused) { l.Out[0].DType = dtype.BFloat16 }}, 0},
	} {
		taken := 0
		for _, first := range []bool{true, false} {
			planner, _ := open(t, Options{})
			p := gradients(dtype.Float32, true, first)
			product, sums := p.Steps[0], p.Steps[1]
			if !first {
				product, sums = sums, product
			}
			for _, change := range c.changes {
				change(p, product.(*kernel.Library), sums.(*kernel.Fused))
			}
			rest, along, err := planner.Along(p)
			if err != nil {
				t.Fatal(c.name, err)
			}
			if taken += len(along); len(along) == 0 && rest != p {
				t.Errorf("%s: the program is another one though nothing is taken", c.name)
			}
		}
		if taken != c.taken {
			t.Errorf("%s: %d sums are taken, want %d", c.name, taken, c.taken)
		}
	}
	planner, lib := open(t, Options{})
	lib.Fail("cublasLtMatmulAlgoGetHeuristic", 15, 0)
	p := gradients(dtype.Float32, true, true)
	rest, sums, err := planner.Along(p)
	if err != nil || rest != p || len(sums) != 0 {
		t.Errorf("a library without algorithms for it: %v, %v", sums, err)
	}
	r, why, err := planner.Plan(p.Steps[0].(*kernel.Library), Way{})
	if r == nil || r.Sums() || r.d.Epilogue != cublaslt.Default {
		t.Fatalf("the product by itself: %v %q %v", r, why, err)
	}
	r.Close()
}
