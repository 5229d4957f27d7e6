package nn

import "github.com/sinter-dl/sinter"

// Linear is x·Wᵀ + b over the last axis.
type Linear struct {
	Weight *sinter.Variable // [out, in]
	Bias   *sinter.Variable // [out], nil without
}

// NewLinear makes a linear map from in to out features. Weight and bias are
// U(±1/√in). Options: NoBias, Init, BiasInit, DType.
func NewLinear(in, out int, opts ...Option) *Linear {
	positive("nn.NewLinear", "in", in, "out", out)
	o := configure("nn.NewLinear", options{}, opts, "NoBias Init BiasInit DType")
	l := new(Linear)
	l.Weight, l.Bias = affine(o, in, out, out, in)
	return l
}

// affine makes a weight of the given shape and a bias of n elements with
// PyTorch's default initialisation.
func affine(o options, fanIn, n int, shape ...int) (weight, bias *sinter.Variable) {
	weight = NewParameter(either(o.init, fanInUniform(fanIn)), o.dtype, shape...)
	if !o.noBias {
		bias = NewParameter(either(o.biasInit, fanInUniform(fanIn)), o.dtype, n)
	}
	return weight, bias
}

// Forward maps [..., in] to [..., out].
func (l *Linear) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(l, sinter.Linear(x, l.Weight.Value(), value(l.Bias)), x)
}

// Embedding is a table that gives a vector for an integer.
type Embedding struct {
	Weight *sinter.Variable // [num, dim]
}

// NewEmbedding makes a table of num vectors of dim elements, drawn from N(0, 1).
// Options: Init, DType.
func NewEmbedding(num, dim int, opts ...Option) *Embedding {
	positive("nn.NewEmbedding", "num", num, "dim", dim)
	o := configure("nn.NewEmbedding", options{}, opts, "Init DType")
	return &Embedding{NewParameter(either(o.init, Normal(0, 1)), o.dtype, num, dim)}
}

// Forward maps integers [...] to vectors [..., dim].
func (e *Embedding) Forward(ids *sinter.Tensor) *sinter.Tensor {
	return Record(e, sinter.Embedding(e.Weight.Value(), ids), ids)
}

// Flatten joins all axes but the first: [N, …] becomes [N, F].
type Flatten struct{}

// Forward keeps the first axis and joins the others.
func (Flatten) Forward(x *sinter.Tensor) *sinter.Tensor { return x.Flatten(1) }

// Dropout zeroes elements with probability P in training and scales the others by
// 1/(1−P), so that nothing is to be done in use. Srivastava et al., 2014.
//
// Which elements go follows from a key drawn when the layer is made and from the
// count of evaluations, kept in Step and saved with the model's state: a run that
// is resumed drops what the uninterrupted one would have dropped. Give every place
// in a model a Dropout of its own; two uses of one within a step share the mask.
type Dropout struct {
	Mode
	P    float64
	Step *sinter.Variable `nn:",buffer"` // int64 scalar

	key uint64
}

// NewDropout makes a Dropout layer; p = 0 passes its input on.
func NewDropout(p float64) *Dropout {
	configure("nn.NewDropout", options{dropout: p}, nil, "")
	return &Dropout{P: p, Step: NewBuffer(sinter.FromInts([]int64{0})), key: sinter.DefaultGenerator().Uint64()}
}

// Forward gives x with elements dropped, of the same shape.
func (d *Dropout) Forward(x *sinter.Tensor) *sinter.Tensor {
	if !d.Training() || d.P == 0 {
		return x
	}
	step := d.Step.Value()
	y := sinter.Dropout(x, d.P, d.key, step)
	return Record(d, y.AlsoAssign(d.Step, step.Add(sinter.ScalarOf(sinter.Int64, 1))), x)
}
