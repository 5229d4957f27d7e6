package sinter

import (
	"math"
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// Scalar is a float32 constant without axes. It becomes part of the program: another
// value means another program, unlike RuntimeScalar.
func Scalar(v float64) *Tensor { return ScalarOf(Float32, v) }

// ScalarOf is a constant of type d without axes; see Scalar.
func ScalarOf(d DType, v float64) *Tensor { return wrap(ir.Float(d, v)) }

// Full is a constant v in every element of the shape.
func Full(d DType, v float64, sh ...int) *Tensor {
	ensure("Full", shape.Check(sh))
	return wrap(ir.Full(d, v, slices.Clone(sh)))
}

// Zeros is a constant 0 in every element of the shape.
func Zeros(d DType, sh ...int) *Tensor { return Full(d, 0, sh...) }

// Ones is a constant 1 in every element of the shape.
func Ones(d DType, sh ...int) *Tensor { return Full(d, 1, sh...) }

// Arange is the vector start, start+step, … that ends before stop.
func Arange(d DType, start, stop, step float64) *Tensor {
	n := math.Ceil((stop - start) / step)
	if !(n < 1<<40) || step == 0 {
		ir.Fail("Arange", "%v to %v does not end in steps of %v", start, stop, step)
	}
	// Whole numbers are exact in int64; everything else is rounded only once.
	c := Float64
	if !d.IsFloat() && start == math.Trunc(start) && step == math.Trunc(step) {
		c = Int64
	}
	i := ir.NewIota(c, []int{max(0, int(n))}, 0)
	return wrap(ir.To(add(mul(i, like(i, step)), like(i, start)), d))
}

// Linspace is the vector of n equally spaced numbers from start to stop, both
// included.
func Linspace(d DType, start, stop float64, n int) *Tensor {
	if n < 0 {
		ir.Fail("Linspace", "%d elements", n)
	}
	step := 0.0
	if n > 1 {
		step = (stop - start) / float64(n-1)
	}
	// Counted from both ends, so that both are met exactly.
	i := ir.NewIota(Float64, []int{n}, 0)
	head := add(mul(i, like(i, step)), like(i, start))
	tail := sub(like(i, stop), mul(sub(like(i, float64(n-1)), i), like(i, step)))
	first := ir.New(ir.Lt, nil, i, like(i, float64(n)/2))
	return wrap(ir.To(choose(first, head, tail), d))
}

// Eye is the identity matrix [n, n].
func Eye(d DType, n int) *Tensor {
	if n < 0 {
		ir.Fail("Eye", "%d rows", n)
	}
	return wrap(ir.To(hot(ir.NewIota(Int32, []int{n}, 0), []int{n, n}, 1), d))
}
