package nn

import (
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// batchNorm is what BatchNorm1D and BatchNorm2D have in common.
type batchNorm struct {
	Mode
	Weight, Bias      *sinter.Variable // [C], nil without
	RunningMean       *sinter.Variable `nn:",buffer"` // [C]
	RunningVar        *sinter.Variable `nn:",buffer"` // [C]
	NumBatchesTracked *sinter.Variable `nn:",buffer"` // int64 scalar

	eps, momentum float64
}

func newBatchNorm(layer string, features int, opts []Option) batchNorm {
	positive(layer, "features", features)
	o := configure(layer, options{eps: 1e-5, momentum: 0.1}, opts, "Eps Momentum NoAffine DType")
	b := batchNorm{
		RunningMean:       NewBuffer(sinter.Zeros(o.dtype, features)),
		RunningVar:        NewBuffer(sinter.Ones(o.dtype, features)),
		NumBatchesTracked: NewBuffer(sinter.FromInts([]int64{0})),
		eps:               o.eps,
		momentum:          o.momentum,
	}
	b.Weight, b.Bias = scaleAndShift(o, features)
	return b
}

// scaleAndShift are the learned parameters of a normalisation: ones and zeros.
func scaleAndShift(o options, shape ...int) (weight, bias *sinter.Variable) {
	if o.noAffine {
		return nil, nil
	}
	weight = NewParameter(Ones, o.dtype, shape...)
	if !o.noBias {
		bias = NewParameter(Zeros, o.dtype, shape...)
	}
	return weight, bias
}

func (b *batchNorm) forward(layer string, x *sinter.Tensor) *sinter.Tensor {
	if c := b.RunningMean.Shape()[0]; x.Dim(1) != c {
		ir.Fail(layer, "an input of shape %v has %d channels (axis 1); the layer was made for %d", x.Shape(), x.Dim(1), c)
	}
	if !b.Training() {
		return b.normalize(x)
	}
	n := x.Len() / x.Dim(1)
	if n < 2 {
		ir.Fail(layer, "an input of shape %v has one value per channel; a variance needs two in training", x.Shape())
	}
	y, mean, variance := sinter.BatchNorm(x, value(b.Weight), value(b.Bias), b.eps)
	// As in PyTorch the running variance is the unbiased one, while the batch is
	// normalised by the biased one.
	unbiased := variance.MulScalar(float64(n) / float64(n-1))
	y = b.track(y, b.RunningMean, mean)
	y = b.track(y, b.RunningVar, unbiased)
	seen := b.NumBatchesTracked
	return y.AlsoAssign(seen, seen.Value().Add(sinter.ScalarOf(sinter.Int64, 1)))
}

// track moves a running statistic towards the batch's whenever y is evaluated. A
// channel that is not finite leaves it alone: the loss tells of it, and the model
// must still be good when training stops there.
func (b *batchNorm) track(y *sinter.Tensor, running *sinter.Variable, batch *sinter.Tensor) *sinter.Tensor {
	old := running.Value()
	batch = batch.Detach()
	moved := old.MulScalar(1 - b.momentum).Add(batch.To(old.DType()).MulScalar(b.momentum))
	return y.AlsoAssign(running, sinter.Where(batch.IsFinite(), moved, old))
}

// normalize applies the running statistics, as one scale and one shift.
func (b *batchNorm) normalize(x *sinter.Tensor) *sinter.Tensor {
	scale := b.RunningVar.Value().AddScalar(b.eps).Rsqrt()
	if b.Weight != nil {
		scale = scale.Mul(b.Weight.Value())
	}
	shift := b.RunningMean.Value().Mul(scale).Neg()
	if b.Bias != nil {
		shift = shift.Add(b.Bias.Value())
	}
	return x.Mul(channels(scale, x.Rank())).Add(channels(shift, x.Rank()))
}

// BatchNorm1D normalises every feature over the batch. Ioffe and Szegedy, "Batch
// normalization", 2015.
//
// Its variables are Weight and Bias and, for use after training, RunningMean,
// RunningVar and NumBatchesTracked; they are updated whenever the result of a
// Forward in training is evaluated.
type BatchNorm1D struct{ batchNorm }

// NewBatchNorm1D makes a BatchNorm1D with scale 1 and shift 0. Options: Eps
// (1e-5), Momentum (0.1), NoAffine, DType.
func NewBatchNorm1D(features int, opts ...Option) *BatchNorm1D {
	return &BatchNorm1D{newBatchNorm("nn.NewBatchNorm1D", features, opts)}
}

// Forward normalises [N, C] or [N, C, L].
func (b *BatchNorm1D) Forward(x *sinter.Tensor) *sinter.Tensor {
	rank("nn.BatchNorm1D", x, 2, 3)
	return Record(b, b.forward("nn.BatchNorm1D", x), x)
}

// BatchNorm2D normalises every channel of images over the batch; see
// [BatchNorm1D].
type BatchNorm2D struct{ batchNorm }

// NewBatchNorm2D makes a BatchNorm2D with scale 1 and shift 0. Options: Eps
// (1e-5), Momentum (0.1), NoAffine, DType.
func NewBatchNorm2D(features int, opts ...Option) *BatchNorm2D {
	return &BatchNorm2D{newBatchNorm("nn.NewBatchNorm2D", features, opts)}
}

// Forward normalises [N, C, H, W].
func (b *BatchNorm2D) Forward(x *sinter.Tensor) *sinter.Tensor {
	rank("nn.BatchNorm2D", x, 4)
	return Record(b, b.forward("nn.BatchNorm2D", x), x)
}

// HasBatchNorm tells whether a model has a layer that normalises over the batch, so
// that what it computes for an example depends on the others in the batch.
func HasBatchNorm(model any) bool {
	found := false
	walk(model, nil, func(_ string, layer any) {
		switch layer.(type) {
		case *BatchNorm1D, *BatchNorm2D:
			found = true
		}
	})
	return found
}

// LayerNorm normalises every example over its last axes. Ba et al., 2016.
type LayerNorm struct {
	Weight *sinter.Variable // the normalised shape; nil without
	Bias   *sinter.Variable // the normalised shape; nil without

	shape []int
	eps   float64
}

// NewLayerNorm normalises over the last axis, of the given size. Options: Eps
// (1e-5), NoBias, NoAffine, DType.
func NewLayerNorm(features int, opts ...Option) *LayerNorm {
	return NewLayerNormOver([]int{features}, opts...)
}

// NewLayerNormOver normalises over as many last axes as shape has. Options are
// those of [NewLayerNorm].
func NewLayerNormOver(shape []int, opts ...Option) *LayerNorm {
	const name = "nn.NewLayerNorm"
	if len(shape) == 0 {
		ir.Fail(name, "no axis to normalise over")
	}
	for _, n := range shape {
		positive(name, "the size of an axis", n)
	}
	o := configure(name, options{eps: 1e-5}, opts, "Eps NoBias NoAffine DType")
	l := &LayerNorm{shape: slices.Clone(shape), eps: o.eps}
	l.Weight, l.Bias = scaleAndShift(o, shape...)
	return l
}

// Forward normalises [..., shape...].
func (l *LayerNorm) Forward(x *sinter.Tensor) *sinter.Tensor {
	n := len(l.shape)
	if x.Rank() < n || !slices.Equal(x.Shape()[x.Rank()-n:], l.shape) {
		ir.Fail("nn.LayerNorm", "an input of shape %v does not end in %v", x.Shape(), l.shape)
	}
	if n == 1 || l.Weight != nil && l.Bias != nil {
		return Record(l, sinter.LayerNorm(x, value(l.Weight), value(l.Bias), l.eps), x)
	}
	// Without both parameters the operation cannot see how many axes are meant.
	y := sinter.LayerNorm(x.Flatten(x.Rank()-n), nil, nil, l.eps).Reshape(x.Shape()...)
	if l.Weight != nil {
		y = y.Mul(l.Weight.Value())
	}
	return Record(l, y, x)
}

// RMSNorm divides every example by the root of its mean square over the last axis.
// Zhang and Sennrich, 2019.
type RMSNorm struct {
	Weight *sinter.Variable // [features], nil without

	eps float64
}

// NewRMSNorm makes an RMSNorm over the last axis, of the given size. Options: Eps
// (2⁻²³, as in PyTorch), NoAffine, DType.
func NewRMSNorm(features int, opts ...Option) *RMSNorm {
	const name = "nn.NewRMSNorm"
	positive(name, "features", features)
	o := configure(name, options{eps: 0x1p-23, noBias: true}, opts, "Eps NoAffine DType")
	r := &RMSNorm{eps: o.eps}
	r.Weight, _ = scaleAndShift(o, features)
	return r
}

// Forward normalises [..., features].
func (r *RMSNorm) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(r, sinter.RMSNorm(x, value(r.Weight), r.eps), x)
}

// GroupNorm normalises groups of channels of every example. Wu and He, 2018. One
// group is a layer norm over channels and space, as many groups as channels an
// instance norm.
type GroupNorm struct {
	Weight *sinter.Variable // [channels], nil without
	Bias   *sinter.Variable // [channels], nil without

	groups int
	eps    float64
}

// NewGroupNorm makes a GroupNorm; groups has to divide channels. Options: Eps
// (1e-5), NoAffine, DType.
func NewGroupNorm(groups, channels int, opts ...Option) *GroupNorm {
	const name = "nn.NewGroupNorm"
	positive(name, "groups", groups, "channels", channels)
	if channels%groups != 0 {
		ir.Fail(name, "%d groups do not divide %d channels", groups, channels)
	}
	o := configure(name, options{eps: 1e-5}, opts, "Eps NoAffine DType")
	g := &GroupNorm{groups: groups, eps: o.eps}
	g.Weight, g.Bias = scaleAndShift(o, channels)
	return g
}

// Forward normalises [N, C, …].
func (g *GroupNorm) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(g, sinter.GroupNorm(x, g.groups, value(g.Weight), value(g.Bias), g.eps), x)
}
