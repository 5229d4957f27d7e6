package nn

import (
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Loss compares a model's result with what it should have been and gives one
// number, the mean over all elements or examples: what a Trainer takes.
//
// Losses that have parameters are made by functions ending in With; losses of more
// than two tensors are plain functions.
type Loss func(pred, target *sinter.Tensor) *sinter.Tensor

// CrossEntropy is the loss of classification: logits [N, C, …] against classes
// [N, …] (int64), or against their probabilities [N, C, …] (floating-point), as mixed
// labels are.
func CrossEntropy(logits, target *sinter.Tensor) *sinter.Tensor {
	return sinter.CrossEntropy(logits, target, sinter.CrossEntropyOptions{})
}

// CrossEntropyWith is [CrossEntropy] with label smoothing, class weights or a class
// that is ignored.
func CrossEntropyWith(o sinter.CrossEntropyOptions) Loss {
	return func(logits, target *sinter.Tensor) *sinter.Tensor { return sinter.CrossEntropy(logits, target, o) }
}

// SequenceCrossEntropy is the loss of a language model: logits [B, T, V] against
// the tokens that follow, [B, T] (int64).
func SequenceCrossEntropy(logits, target *sinter.Tensor) *sinter.Tensor {
	rank("nn.SequenceCrossEntropy", logits, 3)
	return CrossEntropy(logits.Reshape(-1, logits.Dim(2)), target.Reshape(-1))
}

// NLL is the negative log likelihood: logarithms of probabilities [N, C, …] against
// classes [N, …]. NLL(LogSoftmax(x, 1), y) is CrossEntropy(x, y).
func NLL(logProb, target *sinter.Tensor) *sinter.Tensor {
	at := logProb.Gather(1, target.Unsqueeze(1)).Squeeze(1)
	return at.Mean().Neg()
}

// MSE is the mean of squared differences.
func MSE(pred, target *sinter.Tensor) *sinter.Tensor {
	return difference("nn.MSE", pred, target).Square().Mean()
}

// L1 is the mean of absolute differences.
func L1(pred, target *sinter.Tensor) *sinter.Tensor {
	return difference("nn.L1", pred, target).Abs().Mean()
}

// Huber is [HuberWith] of delta 1.
func Huber(pred, target *sinter.Tensor) *sinter.Tensor {
	return huber(difference("nn.Huber", pred, target), 1)
}

// HuberWith is quadratic, d²/2, for differences d below delta and linear,
// delta·(|d| − delta/2), above. Huber, 1964.
func HuberWith(delta float64) Loss {
	return func(pred, target *sinter.Tensor) *sinter.Tensor {
		return huber(difference("nn.Huber", pred, target), delta)
	}
}

func huber(d *sinter.Tensor, delta float64) *sinter.Tensor {
	a := d.Abs()
	return sinter.Where(a.LeScalar(delta), d.Square().MulScalar(0.5), a.SubScalar(delta/2).MulScalar(delta)).Mean()
}

// SmoothL1 is [SmoothL1With] of beta 1.
func SmoothL1(pred, target *sinter.Tensor) *sinter.Tensor {
	return huber(difference("nn.SmoothL1", pred, target), 1)
}

// SmoothL1With is the Huber loss divided by beta, so that its slope is 1 far away.
func SmoothL1With(beta float64) Loss {
	return func(pred, target *sinter.Tensor) *sinter.Tensor {
		return huber(difference("nn.SmoothL1", pred, target), beta).DivScalar(beta)
	}
}

// BCE is the binary cross-entropy of probabilities. As in PyTorch logarithms are
// not below −100, so that a certain and wrong prediction costs 100 and not
// infinity. Prefer [BCEWithLogits].
func BCE(prob, target *sinter.Tensor) *sinter.Tensor {
	same("nn.BCE", prob, target)
	const least = -100
	yes := prob.Log().Maximum(constant(prob, least))
	no := prob.Neg().Log1p().Maximum(constant(prob, least))
	return target.Mul(yes).Add(one(target).Sub(target).Mul(no)).Mean().Neg()
}

// BCEWithLogits is the binary cross-entropy of logits, without the rounding of a
// sigmoid.
func BCEWithLogits(logits, target *sinter.Tensor) *sinter.Tensor {
	return BCEWithLogitsWith(nil)(logits, target)
}

// BCEWithLogitsWith weights the positive class by posWeight, which broadcasts to
// the logits: more than 1 for recall, less for precision. Nil is 1.
func BCEWithLogitsWith(posWeight *sinter.Tensor) Loss {
	return func(logits, target *sinter.Tensor) *sinter.Tensor {
		same("nn.BCEWithLogits", logits, target)
		weight := one(target)
		if posWeight != nil {
			weight = target.Mul(posWeight.Sub(weight)).Add(weight)
		}
		return one(target).Sub(target).Mul(logits).Add(weight.Mul(Softplus(logits.Neg()))).Mean()
	}
}

// KLDiv is the Kullback-Leibler divergence of logarithms of probabilities from
// target probabilities, as a mean over all elements like PyTorch's default. The
// divergence proper is [KLDivBatchMean].
func KLDiv(logProb, target *sinter.Tensor) *sinter.Tensor {
	return divergence("nn.KLDiv", logProb, target).Mean()
}

// KLDivBatchMean is the Kullback-Leibler divergence, its sum divided by the batch
// size.
func KLDivBatchMean(logProb, target *sinter.Tensor) *sinter.Tensor {
	return divergence("nn.KLDivBatchMean", logProb, target).Sum().DivScalar(float64(logProb.Dim(0)))
}

// divergence is t·(log t − x), which is 0 where t is.
func divergence(name string, logProb, target *sinter.Tensor) *sinter.Tensor {
	same(name, logProb, target)
	none := target.LeScalar(0)
	log := sinter.Where(none, constant(target, 1), target).Log()
	return target.Mul(log.Sub(logProb))
}

// PoissonNLL is the loss of counts: pred is the logarithm of the expected count;
// the term that does not depend on it is left out.
func PoissonNLL(logRate, target *sinter.Tensor) *sinter.Tensor {
	same("nn.PoissonNLL", logRate, target)
	return logRate.Exp().Sub(target.Mul(logRate)).Mean()
}

// Hinge is max(0, 1 − y·x) for targets y of ±1.
func Hinge(pred, target *sinter.Tensor) *sinter.Tensor {
	same("nn.Hinge", pred, target)
	return ReLU(one(pred).Sub(target.Mul(pred))).Mean()
}

// HingeEmbedding takes distances x: x where y is 1, max(0, margin − x) where y is
// −1. PyTorch's margin is 1.
func HingeEmbedding(x, y *sinter.Tensor, margin float64) *sinter.Tensor {
	same("nn.HingeEmbedding", x, y)
	return sinter.Where(y.GtScalar(0), x, ReLU(constant(x, margin).Sub(x))).Mean()
}

// CosineEmbedding compares vectors [N, D]: 1 − cos(a, b) where y [N] is 1,
// max(0, cos(a, b) − margin) where it is −1. PyTorch's margin is 0.
func CosineEmbedding(a, b, y *sinter.Tensor, margin float64) *sinter.Tensor {
	same("nn.CosineEmbedding", a, b)
	// PyTorch keeps the squares from being zero in just this way.
	const eps = 1e-12
	squares := func(t *sinter.Tensor) *sinter.Tensor { return t.Square().Sum(-1).AddScalar(eps) }
	cos := a.Mul(b).Sum(-1).Div(squares(a).Mul(squares(b)).Sqrt())
	same("nn.CosineEmbedding", cos, y)
	return sinter.Where(y.GtScalar(0), one(cos).Sub(cos), ReLU(cos.SubScalar(margin))).Mean()
}

// TripletMargin wants an anchor closer to the positive than to the negative, all
// [N, D], by a margin of Euclidean distance: max(0, |a−p| − |a−n| + margin).
// PyTorch's margin is 1.
func TripletMargin(anchor, positive, negative *sinter.Tensor, margin float64) *sinter.Tensor {
	// PyTorch adds eps to the differences, which keeps the root's gradient finite
	// where they are zero.
	const eps = 1e-6
	distance := func(x *sinter.Tensor) *sinter.Tensor {
		return difference("nn.TripletMargin", anchor, x).AddScalar(eps).Square().Sum(-1).Sqrt()
	}
	return ReLU(distance(positive).Sub(distance(negative)).AddScalar(margin)).Mean()
}

// MarginRanking wants a above b by a margin where y is 1 and below where it is −1:
// max(0, −y·(a−b) + margin). PyTorch's margin is 0.
func MarginRanking(a, b, y *sinter.Tensor, margin float64) *sinter.Tensor {
	d := difference("nn.MarginRanking", a, b)
	same("nn.MarginRanking", d, y)
	return ReLU(constant(d, margin).Sub(y.Mul(d))).Mean()
}

func one(x *sinter.Tensor) *sinter.Tensor { return constant(x, 1) }

func difference(name string, a, b *sinter.Tensor) *sinter.Tensor {
	same(name, a, b)
	return a.Sub(b)
}

// same refuses operands that would be broadcast: [N, 1] against [N] would quietly
// become [N, N], a model that trains and learns nothing.
func same(name string, a, b *sinter.Tensor) {
	if !slices.Equal(a.Shape(), b.Shape()) {
		ir.Fail(name, "shapes %v and %v; they have to be equal (reshape or squeeze one of them)", a.Shape(), b.Shape())
	}
}
