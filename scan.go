package sinter

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
)

// Scan is a loop over the first axis of the sequences xs, which all have the same
// extent there. Each step calls what body computes with the carries, which begin as
// init, and one slice of every sequence; it gives the next carries, of the same shapes
// and types, and results. Scan returns the last carries and the results of all steps,
// stacked along a new first axis.
//
// With reverse the loop goes from the last slice to the first, and each result stands
// where its slice stood.
//
// body is called once, to record the step. It may use tensors from outside; they get
// gradients like xs and init.
func Scan(body func(carry, x []*Tensor) (next, y []*Tensor), init, xs []*Tensor, reverse bool) (last, ys []*Tensor) {
	if len(xs) == 0 || len(xs[0].node.Shape) == 0 {
		ir.Fail("Scan", "wants at least one sequence, a tensor with a first axis to go along")
	}
	steps := xs[0].node.Shape[0]
	carries, inputs := nodes(init), nodes(xs)
	var params []*ir.Node
	param := func(d DType, sh []int) *Tensor {
		p := ir.NewParam(len(params), d, sh)
		params = append(params, p)
		return wrap(p)
	}
	carry, slice := make([]*Tensor, len(init)), make([]*Tensor, len(xs))
	for i, c := range carries {
		carry[i] = param(c.DType, c.Shape)
	}
	for i, x := range inputs {
		if len(x.Shape) == 0 || x.Shape[0] != steps {
			ir.Fail("Scan", "sequences of shapes %v and %v have different numbers of steps", inputs[0].Shape, x.Shape)
		}
		slice[i] = param(x.DType, x.Shape[1:])
	}

	next, y := body(carry, slice)
	if len(next) != len(init) {
		ir.Fail("Scan", "the body returns %d carries for %d", len(next), len(init))
	}
	for i, n := range nodes(next) {
		if c := carries[i]; n.DType != c.DType || !slices.Equal(n.Shape, c.Shape) {
			ir.Fail("Scan", "carry %d is %v%v at first and %v%v after a step", i, c.DType, c.Shape, n.DType, n.Shape)
		}
	}
	if len(next)+len(y) == 0 {
		return nil, nil
	}
	if steps == 0 {
		for _, r := range nodes(y) {
			ys = append(ys, Zeros(r.DType, append([]int{0}, r.Shape...)...))
		}
		return slices.Clone(init), ys
	}
	res := ir.CloseScan(ir.ScanSpec{
		Params: params, Outs: slices.Concat(nodes(next), nodes(y)),
		Carries: carries, Inputs: inputs, Reverse: reverse,
	})
	return wrapAll(res[:len(next)]), wrapAll(res[len(next) : len(next)+len(y)])
}
