package sinter

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/grad"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Grad returns the gradients of y, a floating-point tensor of one element, with
// respect to each x; each has the shape and type of its x. It is nil for an x that y
// does not depend on differentiably. Gradients are tensors like others and can be
// differentiated again.
func Grad(y *Tensor, xs ...*Tensor) []*Tensor {
	n := y.node
	if !n.DType.IsFloat() || n.Elements() != 1 {
		ir.Fail("Grad", "wants one floating-point element to differentiate, got %v%v; VJP takes other shapes", n.DType, n.Shape)
	}
	return pullBack(n, like(n, 1), xs)
}

// VJP returns, for each x, the product of the cotangent, which has the shape of y,
// with the derivative of y: the gradient of the sum of y · cotangent. It is nil for an
// x that y does not depend on differentiably.
func VJP(y, cotangent *Tensor, xs ...*Tensor) []*Tensor {
	n, c := y.node, cotangent.node
	if !n.DType.IsFloat() || !slices.Equal(n.Shape, c.Shape) {
		ir.Fail("VJP", "a cotangent of %v%v does not fit %v%v", c.DType, c.Shape, n.DType, n.Shape)
	}
	return pullBack(n, ir.To(c, n.DType), xs)
}

func pullBack(y, cotangent *ir.Node, xs []*Tensor) []*Tensor {
	out := make([]*Tensor, len(xs))
	for i, g := range grad.VJP([]*ir.Node{y}, []*ir.Node{cotangent}, nodes(xs)) {
		if g != nil {
			out[i] = wrap(g)
		}
	}
	return out
}

// Detach is t without its history: no gradient passes.
func (t *Tensor) Detach() *Tensor { return wrap(unary(ir.StopGradient, t.node)) }

// Barrier is t; what comes before is not computed together with what comes after, so
// that t is kept instead of being computed again.
func Barrier(t *Tensor) *Tensor { return wrap(unary(ir.Barrier, t.node)) }
