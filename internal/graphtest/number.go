// Package graphtest is for the tests of the compiler's phases. It computes graphs
// and programs as slowly and plainly as possible, one element after the other, so
// that a graph can be compared with what a phase has made of it; and it makes up
// random graphs, nasty ones on purpose.
//
//	number.go   tensors, and what is done to their elements
//	eval.go     the value of a graph
//	program.go  the results of a program
//	random.go   graphs
//	check.go    many of them, and the smallest one that fails
//
// All reductions add in row-major order, in the graph and in the program, so results
// are compared to the bit.
package graphtest

import (
	"fmt"
	"math"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// Number is an element.
type Number = scalar.Number

// Tensor is elements in row-major order.
type Tensor struct {
	DType dtype.DType
	Shape []int
	V     []Number
}

func newTensor(d dtype.DType, sh []int) Tensor { return Tensor{d, sh, make([]Number, product(sh))} }

// Read is the tensor that lies in mem.
func Read(d dtype.DType, sh []int, mem []byte) Tensor {
	t := newTensor(d, sh)
	for i := range t.V {
		t.V[i] = scalar.Get(d, mem, i)
	}
	return t
}

// Bytes is the tensor as it lies in memory.
func (t Tensor) Bytes() []byte {
	mem := make([]byte, len(t.V)*t.DType.Size())
	for i, n := range t.V {
		scalar.Put(t.DType, mem, i, n)
	}
	return mem
}

// Diff tells where t first differs from want by a bit, or is empty. All NaN are
// equal.
func (t Tensor) Diff(want Tensor) string {
	if t.DType != want.DType || product(t.Shape) != product(want.Shape) {
		return fmt.Sprintf("is %v%v, want %v%v", t.DType, t.Shape, want.DType, want.Shape)
	}
	for i, g := range t.V {
		w := want.V[i]
		if g.I != w.I || math.Float64bits(g.F) != math.Float64bits(w.F) && (g.F == g.F || w.F == w.F) {
			return fmt.Sprintf("element %d is %v, want %v, of %v%v", i, g, w, want.DType, want.Shape)
		}
	}
	return ""
}

// elementwise is an operation on operands the first of which is of type from.
func elementwise(op ir.Op, to, from dtype.DType, x [3]Number) Number {
	return scalar.Rounded(to, scalar.Apply(op, to, from, ir.RNG{}, x))
}

// random is element number of a tensor of random bits.
func random(key ir.RNG, element int, step Number) Number {
	return scalar.Apply(ir.RNGBits, dtype.Int32, dtype.Int64, key, [3]Number{{I: int64(element)}, step})
}

// fold is what a reduction makes of elements, in their order.
func fold(op ir.Op, d dtype.DType, l []Number) Number {
	if op == ir.ReduceSum {
		var acc Number
		for _, v := range l {
			acc = Number{F: acc.F + v.F, I: acc.I + v.I}
		}
		return scalar.Rounded(d, acc)
	}
	acc := l[0]
	for _, v := range l[1:] {
		if op == ir.ReduceMax {
			acc = Number{F: max(acc.F, v.F), I: max(acc.I, v.I)}
		} else {
			acc = Number{F: min(acc.F, v.F), I: min(acc.I, v.I)}
		}
	}
	return acc
}

func product(sh []int) int {
	n := 1
	for _, d := range sh {
		n *= d
	}
	return n
}
