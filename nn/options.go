package nn

import (
	"slices"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Option changes how a layer is made. Each layer's New function names the options
// it takes; another one is a *sinter.BuildError, not silently ignored.
type Option struct {
	name string
	set  func(*options)
}

type options struct {
	noBias, noAffine, excludePadding       bool
	causal, bidirectional, timeFirst       bool
	reluCell, normFirst                    bool
	init, biasInit                         Initializer
	dtype                                  sinter.DType
	kernel, stride, padding, dilation, out []int
	groups, layers                         int
	eps, momentum, dropout                 float64
	activation                             Func
}

// NoBias leaves the bias out.
func NoBias() Option { return Option{"NoBias", func(o *options) { o.noBias = true }} }

// Init draws the weights from another distribution than PyTorch's default.
func Init(i Initializer) Option { return Option{"Init", func(o *options) { o.init = i }} }

// BiasInit draws the bias from another distribution than PyTorch's default.
func BiasInit(i Initializer) Option { return Option{"BiasInit", func(o *options) { o.biasInit = i }} }

// DType is the element type of the layer's variables; float32 unless said.
func DType(d sinter.DType) Option { return Option{"DType", func(o *options) { o.dtype = d }} }

// Kernel is a window that is not square: its height and width.
func Kernel(size ...int) Option { return Option{"Kernel", func(o *options) { o.kernel = size }} }

// Stride is the step of a window, one number for all axes or one for each.
func Stride(n ...int) Option { return Option{"Stride", func(o *options) { o.stride = n }} }

// Padding is what is added on both sides, one number for all axes or one for each.
func Padding(n ...int) Option { return Option{"Padding", func(o *options) { o.padding = n }} }

// Dilation is the distance of a window's elements, one number for all axes or one
// for each.
func Dilation(n ...int) Option { return Option{"Dilation", func(o *options) { o.dilation = n }} }

// Groups splits the channels of a convolution into independent groups; as many as
// there are channels make it depthwise.
func Groups(n int) Option { return Option{"Groups", func(o *options) { o.groups = n }} }

// OutputPadding enlarges the result of a transposed convolution on one side, where
// a stride leaves its size open.
func OutputPadding(n ...int) Option { return Option{"OutputPadding", func(o *options) { o.out = n }} }

// ExcludePadding lets an average pool divide by the number of real elements in a
// window instead of by the window's size.
func ExcludePadding() Option {
	return Option{"ExcludePadding", func(o *options) { o.excludePadding = true }}
}

// Eps is the number added to a variance (or a mean square) before its root.
func Eps(x float64) Option { return Option{"Eps", func(o *options) { o.eps = x }} }

// Momentum is the share of the newest batch in BatchNorm's running statistics.
func Momentum(x float64) Option { return Option{"Momentum", func(o *options) { o.momentum = x }} }

// NoAffine leaves out the learned scale and shift of a normalisation.
func NoAffine() Option { return Option{"NoAffine", func(o *options) { o.noAffine = true }} }

// DropoutP is the probability with which elements are dropped in training.
func DropoutP(p float64) Option { return Option{"DropoutP", func(o *options) { o.dropout = p }} }

// Causal lets a position attend to itself and to earlier positions only.
func Causal() Option { return Option{"Causal", func(o *options) { o.causal = true }} }

// Layers stacks n recurrent layers.
func Layers(n int) Option { return Option{"Layers", func(o *options) { o.layers = n }} }

// Bidirectional adds a second recurrent layer that runs backwards in time and
// concatenates both results.
func Bidirectional() Option {
	return Option{"Bidirectional", func(o *options) { o.bidirectional = true }}
}

// TimeFirst lets a recurrent layer take and give [T, B, …] instead of [B, T, …].
func TimeFirst() Option { return Option{"TimeFirst", func(o *options) { o.timeFirst = true }} }

// ReLUCell gives an RNN the nonlinearity ReLU instead of tanh.
func ReLUCell() Option { return Option{"ReLUCell", func(o *options) { o.reluCell = true }} }

// NormFirst puts the normalisations of a transformer layer before its parts (the
// pre-norm form) instead of after their residual sums.
func NormFirst() Option { return Option{"NormFirst", func(o *options) { o.normFirst = true }} }

// Activation is the nonlinearity between the two linear maps of a transformer
// layer.
func Activation(f Func) Option { return Option{"Activation", func(o *options) { o.activation = f }} }

// configure applies opts over the defaults; allowed is the list of options that
// the layer takes.
func configure(layer string, defaults options, opts []Option, allowed string) options {
	o := defaults
	if o.dtype == 0 {
		o.dtype = sinter.Float32
	}
	names := strings.Fields(allowed)
	for _, opt := range opts {
		if !slices.Contains(names, opt.name) {
			ir.Fail(layer, "there is no option %s; possible are %s", opt.name, strings.Join(names, ", "))
		}
		opt.set(&o)
	}
	if !o.dtype.IsFloat() {
		ir.Fail(layer, "variables of type %v; they have to be floats", o.dtype)
	}
	if o.dropout < 0 || o.dropout > 1 {
		ir.Fail(layer, "a dropout probability of %g; it lies between 0 and 1", o.dropout)
	}
	return o
}

// positive checks the sizes a layer is made with; pairs are a name and a number.
func positive(layer string, pairs ...any) {
	for i := 0; i < len(pairs); i += 2 {
		if n := pairs[i+1].(int); n <= 0 {
			ir.Fail(layer, "%s is %d; it has to be positive", pairs[i], n)
		}
	}
}
