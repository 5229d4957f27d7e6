package fuse

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
)

// program puts the steps into one of the orders that After allows, any of them, and
// gives every slot a place of its own.
func program(r *rand.Rand, res *Result) (*kernel.Program, error) {
	p := &kernel.Program{Leaves: res.Leaves, Outputs: res.Outputs}
	for _, s := range res.Slots {
		if s.Kind == kernel.Arena {
			s.Offset = p.Arena
			p.Arena += (s.Bytes + 63) &^ 63
		}
		p.Slots = append(p.Slots, s)
	}
	done := make([]bool, len(res.Steps))
	for range res.Steps {
		var ready []int
		for i, after := range res.After {
			if !done[i] && !slices.ContainsFunc(after, func(b int) bool { return !done[b] }) {
				ready = append(ready, i)
			}
		}
		if ready == nil {
			return nil, fmt.Errorf("the steps wait for each other: %v", res.After)
		}
		i := ready[r.IntN(len(ready))]
		done[i] = true
		p.Steps = append(p.Steps, res.Steps[i])
	}
	return p, nil
}

// check cuts a graph into kernels and compares what they do with what the graph means.
func check(r *rand.Rand, outputs []*ir.Node, plain bool) (*Result, error) {
	g := ir.Collect(outputs)
	want, stores := graphtest.Eval(outputs)
	leaves := make(map[*ir.Storage]int)
	var memory [][]byte
	for i, l := range g.Leaves() {
		leaves[l.Storage] = i
		memory = append(memory, l.Storage.Data.([]byte))
	}
	res := cut(g, leaves, plain)
	p, err := program(r, res)
	if err == nil {
		err = null.Verify(p)
	}
	if err != nil {
		return nil, err
	}
	after := make([][]byte, len(memory))
	for i := range memory {
		after[i] = bytes.Clone(memory[i])
	}
	got := graphtest.Run(p, after)
	for i, w := range want {
		if d := graphtest.Read(w.DType, w.Shape, got[i]).Diff(w); d != "" {
			return nil, fmt.Errorf("output %d: %s", i, d)
		}
	}
	for s, i := range leaves {
		if w, ok := stores[s]; ok {
			if d := graphtest.Read(w.DType, w.Shape, after[i]).Diff(w); d != "" {
				return nil, fmt.Errorf("variable %d: %s", i, d)
			}
		} else if !bytes.Equal(after[i], memory[i]) {
			return nil, fmt.Errorf("leaf %d was overwritten", i)
		}
	}
	return res, nil
}

func TestRandomGraphs(t *testing.T) {
	for _, plain := range []bool{false, true} {
		n := 3000
		if plain {
			n /= 6
		}
		graphtest.Check(t, n, false, func(r *rand.Rand, outputs []*ir.Node) error {
			_, err := check(r, outputs, plain)
			return err
		})
	}
}

// float is a leaf that holds 1, 2, 3, …
func float(sh ...int) *ir.Node {
	t := graphtest.Tensor{DType: dtype.Float32, Shape: sh}
	for i := range shape.Elements(sh) {
		t.V = append(t.V, graphtest.Number{F: float64(i + 1)})
	}
	return ir.NewInput(t.DType, sh, &ir.Storage{Data: t.Bytes()})
}

func op(o ir.Op, in ...*ir.Node) *ir.Node { return ir.New(o, nil, in...) }

func permute(x *ir.Node, p ...int) *ir.Node { return ir.New(ir.Transpose, ir.Axes{Axes: p}, x) }

func reverse(x *ir.Node, axes ...int) *ir.Node { return ir.New(ir.Reverse, ir.Axes{Axes: axes}, x) }

func fold(o ir.Op, x *ir.Node, axes ...int) *ir.Node { return ir.Fold(o, x, axes) }

// over repeats a reduced value over the axes of x that it lacks.
func over(x, reduced *ir.Node, axes ...int) *ir.Node { return ir.Unreduce(reduced, x.Shape, axes) }

func assign(v, x *ir.Node) *ir.Node { return ir.New(ir.Assign, ir.Target{Storage: v.Storage}, v, x) }

func concat(axis int, in ...*ir.Node) *ir.Node {
	return ir.New(ir.Concatenate, ir.Axis{Axis: axis}, in...)
}

func pad(x *ir.Node, low, high, interior int) *ir.Node {
	return ir.New(ir.Pad, ir.Padding{Low: []int{low}, High: []int{high}, Interior: []int{interior}, Value: ir.FloatBits(dtype.Float32, 9)}, x)
}

func matmul(a, b *ir.Node) *ir.Node { return ir.MatMul(a, b) }

// Cases in which kernels were wrong, or might be, and how many steps each takes.
func TestGraphs(t *testing.T) {
	cases := map[string]func() (steps int, outputs []*ir.Node){
		"softmax": func() (int, []*ir.Node) {
			x := float(4, 6)
			e := op(ir.Exp, op(ir.Sub, x, over(x, fold(ir.ReduceMax, x, 1), 1)))
			return 1, []*ir.Node{op(ir.Div, e, over(e, fold(ir.ReduceSum, e, 1), 1))}
		},
		"a row whose pieces are all wanted": func() (int, []*ir.Node) {
			x := float(4, 6)
			m := fold(ir.ReduceMax, x, 1)
			d := op(ir.Sub, x, over(x, m, 1))
			return 1, []*ir.Node{m, d, fold(ir.ReduceSum, d, 1), op(ir.Exp, m)}
		},
		"reductions over the same axes": func() (int, []*ir.Node) {
			x := float(4, 6)
			return 1, []*ir.Node{fold(ir.ReduceMax, x, 0), fold(ir.ReduceSum, op(ir.Mul, x, x), 0)}
		},
		"reductions over different axes": func() (int, []*ir.Node) {
			x := float(4, 6)
			y := op(ir.Exp, op(ir.Neg, x))
			return 1, []*ir.Node{fold(ir.ReduceSum, y, 0), fold(ir.ReduceSum, y, 1)}
		},
		"a reduction of a repeated value": func() (int, []*ir.Node) {
			x := ir.BroadcastTo(op(ir.Exp, op(ir.Neg, float(3))), []int{2, 3, 4}, []int{1})
			return 2, []*ir.Node{fold(ir.ReduceSum, x, 0, 2), fold(ir.ReduceMax, x, 1)}
		},
		"reductions over axes of extent 1": func() (int, []*ir.Node) {
			x := float(1, 5, 1)
			s := fold(ir.ReduceSum, x, 0, 2)
			return 1, []*ir.Node{s, op(ir.Add, x, over(x, s, 0, 2)), fold(ir.ReduceMax, x, 0)}
		},
		"everything to a scalar, and the scalar to everything": func() (int, []*ir.Node) {
			x := float(3, 4)
			s := fold(ir.ReduceSum, x, 0, 1)
			return 1, []*ir.Node{op(ir.Div, x, ir.Broadcast(s, x.Shape)), op(ir.Sqrt, s)}
		},
		"a value inside and outside of its kernel": func() (int, []*ir.Node) {
			x := float(4, 6)
			y := op(ir.Tanh, x)
			return 2, []*ir.Node{op(ir.Add, y, op(ir.Exp, op(ir.Neg, x))), op(ir.Mul, y, reverse(y, 0))}
		},
		"slices that a reshape makes one of need a copy": func() (int, []*ir.Node) {
			x := float(4, 6)
			y := ir.ReshapeTo(ir.SliceAxis(x, 1, 1, 4), []int{6, 2})
			return 3, []*ir.Node{op(ir.Mul, y, ir.SliceAxis(float(6, 4), 1, 0, 2)), permute(y, 1, 0)}
		},
		// Each of both reads can be done in one kernel with the copies, not with the other.
		"copies that do not fit the kernel they are merged into": func() (int, []*ir.Node) {
			sh := []int{2, 4, 3, 3}
			a, x := float(sh...), float(sh...)
			c := op(ir.Lt, a, x)
			y := op(ir.Select, c, ir.ReshapeTo(permute(x, 1, 2, 3, 0), sh), a)
			z := reverse(reverse(reverse(op(ir.Select, c, x, a), 0, 2), 1, 2, 3), 0, 1, 3)
			return 2, []*ir.Node{y, assign(x, z)}
		},
		"an output that is given twice": func() (int, []*ir.Node) {
			y := op(ir.Exp, float(5))
			return 1, []*ir.Node{y, y}
		},
		"outputs that are views of each other": func() (int, []*ir.Node) {
			y := op(ir.Neg, float(3, 4))
			return 2, []*ir.Node{permute(y, 1, 0), y, ir.ReshapeTo(y, []int{12})}
		},
		"outputs that nothing computes": func() (int, []*ir.Node) {
			x := float(2, 3)
			return 3, []*ir.Node{x, ir.Float(dtype.Float32, 3), ir.NewIota(dtype.Int64, []int{3, 2}, 0), x, reverse(x, 1)}
		},
		"variables are exchanged": func() (int, []*ir.Node) {
			a, b := float(4), op(ir.Neg, float(4)).In[0]
			return 3, []*ir.Node{assign(a, b), assign(b, a)}
		},
		"variables go round": func() (int, []*ir.Node) {
			a, b, c := float(4), float(4), float(4)
			return 4, []*ir.Node{assign(a, op(ir.Exp, b)), assign(b, op(ir.Neg, c)), assign(c, op(ir.Sqrt, a))}
		},
		"a variable transposed and reversed": func() (int, []*ir.Node) {
			a, b := float(3, 3), float(6)
			return 3, []*ir.Node{assign(a, permute(a, 1, 0)), assign(b, op(ir.Add, b, reverse(b, 0)))}
		},
		"a variable less its mean": func() (int, []*ir.Node) {
			a := float(3, 4)
			return 2, []*ir.Node{assign(a, op(ir.Sub, a, over(a, fold(ir.ReduceSum, a, 1), 1)))}
		},
		"a variable divided by the sum of all of it": func() (int, []*ir.Node) {
			a := float(3, 4)
			return 2, []*ir.Node{assign(a, op(ir.Div, a, ir.Broadcast(fold(ir.ReduceSum, a, 0, 1), a.Shape)))}
		},
		"one value for two variables and an output": func() (int, []*ir.Node) {
			a, b := float(4), float(2, 2)
			x := op(ir.Add, a, a)
			return 1, []*ir.Node{x, assign(a, x), assign(b, ir.ReshapeTo(x, b.Shape))}
		},
		"an old value that is read at another place later": func() (int, []*ir.Node) {
			a := float(2, 2)
			return 2, []*ir.Node{assign(a, op(ir.Mul, a, a)), matmul(a, permute(a, 1, 0))}
		},
		"a product of a variable is assigned to it": func() (int, []*ir.Node) {
			a := float(2, 2)
			return 2, []*ir.Node{assign(a, matmul(a, a))}
		},
		"updates of variables that look alike": func() (int, []*ir.Node) {
			rate := float(1)
			var outs []*ir.Node
			for _, n := range []int{3, 7, 4} {
				p, g := float(n), float(n)
				step := op(ir.Mul, g, ir.Broadcast(ir.ReshapeTo(rate, nil), g.Shape))
				outs = append(outs, assign(p, op(ir.Sub, p, step)))
			}
			return 1, outs
		},
		"pads of one tensor, one with holes": func() (int, []*ir.Node) {
			x := float(4)
			y := pad(x, 1, 2, 0)
			return 4, []*ir.Node{y, pad(op(ir.Neg, x), 0, 0, 1), op(ir.Add, y, y)}
		},
		"a pad of nothing": func() (int, []*ir.Node) {
			return 1, []*ir.Node{pad(float(0), 2, 1, 3)}
		},
		"concatenations of one tensor": func() (int, []*ir.Node) {
			x := float(2, 3)
			y := op(ir.Exp, op(ir.Neg, x))
			return 2, []*ir.Node{concat(1, x, x, y), concat(0, y, y)}
		},
		"a concatenation of nothing and something": func() (int, []*ir.Node) {
			x := float(2, 3)
			return 1, []*ir.Node{concat(1, float(2, 0), x, float(2, 0))}
		},
		"empty tensors": func() (int, []*ir.Node) {
			x := float(0, 3)
			return 0, []*ir.Node{op(ir.Exp, x), fold(ir.ReduceSum, x, 1), assign(x, op(ir.Neg, x)), ir.New(ir.CumSum, ir.Cumulate{}, x)}
		},
		"types mixed": func() (int, []*ir.Node) {
			x := float(6)
			i := ir.To(x, dtype.Int32)
			b := op(ir.Lt, i, reverse(i, 0))
			return 1, []*ir.Node{op(ir.Select, b, x, ir.To(ir.To(i, dtype.Int64), dtype.Float32)), ir.To(b, dtype.Uint8), op(ir.Not, b)}
		},
		"a product with what follows it": func() (int, []*ir.Node) {
			y := op(ir.Add, matmul(float(2, 3), float(3, 4)), ir.Broadcast(float(4), []int{2, 4}))
			return 1, []*ir.Node{op(ir.Max, y, ir.Full(y.DType, 0, y.Shape))}
		},
		"a product that is also wanted itself": func() (int, []*ir.Node) {
			y := matmul(float(2, 3), float(3, 4))
			return 1, []*ir.Node{op(ir.Tanh, y), y}
		},
		"what is made of an operand cannot follow in its kernel": func() (int, []*ir.Node) {
			x := op(ir.Exp, op(ir.Neg, float(3, 3)))
			return 2, []*ir.Node{op(ir.Add, matmul(x, x), x)}
		},
		"operands that are views": func() (int, []*ir.Node) {
			x, w := float(6, 4), float(4, 4, 2)
			a := permute(ir.SliceAxis(x, 0, 1, 4), 1, 0)                            // dense along the columns
			b := ir.SliceOf(x, []int{0, 0}, []int{6, 4}, []int{2, 2})               // dense along nothing
			c := ir.ReshapeTo(ir.SliceAxis(w, 2, 0, 1), []int{4, 4})                // neither
			return 3, []*ir.Node{matmul(a, b), matmul(a, ir.SliceAxis(c, 0, 0, 3))} // two copies would do for one of them
		},
		// All that is made of the result is computed again by the reduction; what is left
		// over is no epilogue.
		"kernels that have nothing to do with the product they were merged with": func() (int, []*ir.Node) {
			x := float(4, 6)
			y := matmul(float(4, 3), float(3, 6))
			n := op(ir.Neg, x)
			z := op(ir.Mul, n, y)
			return 3, []*ir.Node{fold(ir.ReduceMax, op(ir.Abs, z), 0), n, y}
		},
		// A path between groups may lead over one that begins before both.
		"groups that would wait for each other": func() (int, []*ir.Node) {
			x, y, a, b := float(6, 1, 2), float(6, 3, 1), float(6), float(6, 3, 1)
			d := op(ir.Sub, y, y)
			s := op(ir.Select, op(ir.Lt, a, fold(ir.ReduceMax, x, 1, 2)), fold(ir.ReduceMax, d, 1, 2), a)
			low := fold(ir.ReduceMin, pad(fold(ir.ReduceMin, x, 1, 2), 1, 0, 0), 0)
			return 5, []*ir.Node{s, op(ir.Select, op(ir.Le, d, b), b, ir.Broadcast(low, b.Shape))}
		},
		"random bits in two views": func() (int, []*ir.Node) {
			bits := ir.NewRNGBits(ir.RNG{Seed: 1, Site: 2}, []int{3, 4}, ir.Int(dtype.Int64, 7))
			return 2, []*ir.Node{op(ir.Add, bits, reverse(bits, 0)), op(ir.Xor, bits, bits)}
		},
	}
	for name, build := range cases {
		t.Run(name, func(t *testing.T) {
			steps, outputs := build()
			for seed := range uint64(5) {
				r := rand.New(rand.NewPCG(seed, 0))
				if _, err := check(r, outputs, true); err != nil {
					t.Fatalf("one kernel for each operation: %v", err)
				}
				res, err := check(r, outputs, false)
				if err != nil {
					t.Fatal(err)
				}
				if len(res.Steps) != steps {
					var names []string
					for _, s := range res.Steps {
						names = append(names, s.Label())
					}
					t.Fatalf("%d steps, want %d: %q", len(res.Steps), steps, names)
				}
			}
		})
	}
}

// leafed is cut for a graph that is not run: it may be large.
func leafed(outputs ...*ir.Node) *Result {
	g := ir.Collect(outputs)
	leaves := make(map[*ir.Storage]int)
	for i, l := range g.Leaves() {
		leaves[l.Storage] = i
	}
	return cut(g, leaves, false)
}

func TestLimits(t *testing.T) {
	large := func(sh ...int) *ir.Node { return ir.NewInput(dtype.Float32, sh, new(ir.Storage)) }
	softmax := func(x *ir.Node) *ir.Node {
		e := op(ir.Exp, op(ir.Sub, x, over(x, fold(ir.ReduceMax, x, 1), 1)))
		return op(ir.Div, e, over(e, fold(ir.ReduceSum, e, 1), 1))
	}
	// A row that leaves the cache is read again for every pass, so a few long rows are
	// worked on by several kernels.
	if n := len(leafed(softmax(large(1<<10, maxRow))).Steps); n != 1 {
		t.Errorf("softmax of many short rows takes %d kernels", n)
	}
	if n := len(leafed(softmax(large(4, 2*maxRow))).Steps); n < 3 {
		t.Errorf("softmax of four long rows takes %d kernels", n)
	}
	// A kernel reads a limited number of values.
	sum := large(100)
	for range 3 * maxLoads {
		sum = op(ir.Add, sum, large(100))
	}
	for _, s := range leafed(sum).Steps {
		if reads, _ := kernel.Slots(s); len(reads) > maxLoads {
			t.Errorf("a kernel reads %d values", len(reads))
		}
	}
}
