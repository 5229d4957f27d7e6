package nn

import "github.com/sinter-dl/sinter"

// GradNorm is the Euclidean norm of all gradients as if they were one vector, a
// scalar. Nil entries (a variable that the loss does not depend on) count as zero;
// if there is nothing else the result is nil.
func GradNorm(grads []*sinter.Tensor) *sinter.Tensor {
	var sum *sinter.Tensor
	for _, g := range grads {
		if g == nil {
			continue
		}
		// In float32 at least, where squares of 16-bit numbers do not overflow.
		s := g.To(g.DType().Compute()).Square().Sum()
		if sum == nil {
			sum = s
		} else {
			sum = sum.Add(s)
		}
	}
	if sum == nil {
		return nil
	}
	return sum.Sqrt()
}

// ClipGradNorm scales gradients down so that their common norm is at most max; it
// gives also the norm before. As in PyTorch 1e-6 is added to the norm that is
// divided by. Nil entries stay nil.
func ClipGradNorm(grads []*sinter.Tensor, max float64) (clipped []*sinter.Tensor, total *sinter.Tensor) {
	total = GradNorm(grads)
	if total == nil {
		return grads, nil
	}
	scale := constant(total, max).Div(total.AddScalar(1e-6))
	scale = sinter.Where(scale.GtScalar(1), one(scale), scale)
	return each(grads, func(g *sinter.Tensor) *sinter.Tensor { return g.Mul(scale.To(g.DType())) }), total
}

// ClipGradValue limits every element of the gradients to ±max. Nil entries stay
// nil.
func ClipGradValue(grads []*sinter.Tensor, max float64) []*sinter.Tensor {
	return each(grads, func(g *sinter.Tensor) *sinter.Tensor { return g.Clip(-max, max) })
}

func each(grads []*sinter.Tensor, f func(*sinter.Tensor) *sinter.Tensor) []*sinter.Tensor {
	out := make([]*sinter.Tensor, len(grads))
	for i, g := range grads {
		if g != nil {
			out[i] = f(g)
		}
	}
	return out
}
