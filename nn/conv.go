package nn

import (
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// conv is what the convolutions have in common.
type conv struct {
	Weight *sinter.Variable // [out, in/groups, window…]; transposed: [in, out/groups, window…]
	Bias   *sinter.Variable // [out], nil without

	options sinter.ConvOptions
}

const convOptions = "NoBias Init BiasInit DType Kernel Stride Padding Dilation Groups"

func newConv(layer string, spatial, in, out, kernel int, transposed bool, o options) conv {
	if o.groups == 0 {
		o.groups = 1
	}
	positive(layer, "in", in, "out", out, "groups", o.groups)
	if in%o.groups != 0 || out%o.groups != 0 {
		ir.Fail(layer, "%d groups do not divide %d input and %d output channels", o.groups, in, out)
	}
	window := square(layer, spatial, kernel, o)
	shape := append([]int{out, in / o.groups}, window...)
	if transposed {
		shape = append([]int{in, out / o.groups}, window...)
	}
	c := conv{options: sinter.ConvOptions{Stride: o.stride, Padding: o.padding, Dilation: o.dilation, Groups: o.groups}}
	c.Weight, c.Bias = affine(o, elements(shape[1:]), out, shape...)
	return c
}

// square is the window given by Kernel, or one of equal sides.
func square(layer string, spatial, size int, o options) []int {
	window := o.kernel
	if window == nil {
		window = slices.Repeat([]int{size}, spatial)
	}
	if len(window) != spatial {
		ir.Fail(layer, "a window %v; it needs %d sizes", window, spatial)
	}
	for _, n := range window {
		positive(layer, "the window's size", n)
	}
	return window
}

func (c *conv) forward(layer string, spatial int, x *sinter.Tensor) *sinter.Tensor {
	rank(layer, x, spatial+2)
	return sinter.Conv(x, c.Weight.Value(), value(c.Bias), c.options)
}

func rank(layer string, x *sinter.Tensor, ranks ...int) {
	if !slices.Contains(ranks, x.Rank()) {
		ir.Fail(layer, "an input of shape %v; it needs %v axes", x.Shape(), ranks)
	}
}

// Conv1D is a convolution (a cross-correlation, as everywhere in deep learning)
// over [N, C, L].
type Conv1D struct{ conv }

// NewConv1D makes a convolution from in to out channels. Weight and bias are
// U(±1/√fan in). Options: NoBias, Init, BiasInit, DType, Kernel, Stride, Padding,
// Dilation, Groups.
func NewConv1D(in, out, kernel int, opts ...Option) *Conv1D {
	const name = "nn.NewConv1D"
	return &Conv1D{newConv(name, 1, in, out, kernel, false, configure(name, options{}, opts, convOptions))}
}

// Forward maps [N, in, L] to [N, out, L'], L' = (L + 2·padding −
// dilation·(kernel−1) − 1)/stride + 1.
func (c *Conv1D) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(c, c.forward("nn.Conv1D", 1, x), x)
}

// Conv2D is a convolution over images [N, C, H, W].
type Conv2D struct{ conv }

// NewConv2D makes a convolution from in to out channels with a square window, or
// the one given by Kernel. Initialisation and options are those of [NewConv1D].
func NewConv2D(in, out, kernel int, opts ...Option) *Conv2D {
	const name = "nn.NewConv2D"
	return &Conv2D{newConv(name, 2, in, out, kernel, false, configure(name, options{}, opts, convOptions))}
}

// Forward maps [N, in, H, W] to [N, out, H', W'], sizes as in [Conv1D.Forward].
func (c *Conv2D) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(c, c.forward("nn.Conv2D", 2, x), x)
}

// ConvTranspose2D is the transpose of a convolution, as its gradient computes it:
// with a stride it makes images larger.
type ConvTranspose2D struct {
	conv
	outputPadding []int
}

// NewConvTranspose2D makes a transposed convolution from in to out channels.
// Options are those of [NewConv1D] and OutputPadding.
func NewConvTranspose2D(in, out, kernel int, opts ...Option) *ConvTranspose2D {
	const name = "nn.NewConvTranspose2D"
	o := configure(name, options{}, opts, convOptions+" OutputPadding")
	return &ConvTranspose2D{newConv(name, 2, in, out, kernel, true, o), o.out}
}

// Forward maps [N, in, H, W] to [N, out, H', W'], H' = (H−1)·stride − 2·padding +
// dilation·(kernel−1) + output padding + 1.
func (c *ConvTranspose2D) Forward(x *sinter.Tensor) *sinter.Tensor {
	rank("nn.ConvTranspose2D", x, 4)
	return Record(c, sinter.ConvTranspose(x, c.Weight.Value(), value(c.Bias), c.options, c.outputPadding), x)
}

// pool is what the pooling layers have in common.
type pool struct{ size, stride, padding []int }

func newPool(layer string, spatial, size int, o options) pool {
	p := pool{size: square(layer, spatial, size, o), stride: o.stride, padding: o.padding}
	if p.stride == nil {
		p.stride = p.size
	}
	return p
}

func (p *pool) max(layer string, x *sinter.Tensor) *sinter.Tensor {
	rank(layer, x, len(p.size)+2)
	return sinter.MaxPool(x, p.size, p.stride, p.padding)
}

func (p *pool) average(layer string, x *sinter.Tensor, countPadding bool) *sinter.Tensor {
	rank(layer, x, len(p.size)+2)
	return sinter.AvgPool(x, p.size, p.stride, p.padding, countPadding)
}

// MaxPool1D takes the largest element of every window of [N, C, L].
type MaxPool1D struct{ pool }

// NewMaxPool1D makes a pool of windows that lie side by side. Options: Stride,
// Padding.
func NewMaxPool1D(size int, opts ...Option) *MaxPool1D {
	const name = "nn.NewMaxPool1D"
	return &MaxPool1D{newPool(name, 1, size, configure(name, options{}, opts, "Stride Padding"))}
}

// Forward maps [N, C, L] to [N, C, (L + 2·padding − size)/stride + 1].
func (p *MaxPool1D) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(p, p.max("nn.MaxPool1D", x), x)
}

// MaxPool2D takes the largest element of every window of [N, C, H, W].
type MaxPool2D struct{ pool }

// NewMaxPool2D makes a pool of windows that lie side by side. Options: Kernel,
// Stride, Padding.
func NewMaxPool2D(size int, opts ...Option) *MaxPool2D {
	const name = "nn.NewMaxPool2D"
	return &MaxPool2D{newPool(name, 2, size, configure(name, options{}, opts, "Kernel Stride Padding"))}
}

// Forward maps [N, C, H, W] to [N, C, H', W'], sizes as in [MaxPool1D.Forward].
func (p *MaxPool2D) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(p, p.max("nn.MaxPool2D", x), x)
}

// AvgPool1D takes the mean of every window of [N, C, L].
type AvgPool1D struct {
	pool
	excludePadding bool
}

// NewAvgPool1D makes a pool of windows that lie side by side. Options: Stride,
// Padding, ExcludePadding.
func NewAvgPool1D(size int, opts ...Option) *AvgPool1D {
	const name = "nn.NewAvgPool1D"
	o := configure(name, options{}, opts, "Stride Padding ExcludePadding")
	return &AvgPool1D{newPool(name, 1, size, o), o.excludePadding}
}

// Forward maps [N, C, L] to [N, C, (L + 2·padding − size)/stride + 1].
func (p *AvgPool1D) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(p, p.average("nn.AvgPool1D", x, !p.excludePadding), x)
}

// AvgPool2D takes the mean of every window of [N, C, H, W].
type AvgPool2D struct {
	pool
	excludePadding bool
}

// NewAvgPool2D makes a pool of windows that lie side by side. Options: Kernel,
// Stride, Padding, ExcludePadding.
func NewAvgPool2D(size int, opts ...Option) *AvgPool2D {
	const name = "nn.NewAvgPool2D"
	o := configure(name, options{}, opts, "Kernel Stride Padding ExcludePadding")
	return &AvgPool2D{newPool(name, 2, size, o), o.excludePadding}
}

// Forward maps [N, C, H, W] to [N, C, H', W'], sizes as in [AvgPool1D.Forward].
func (p *AvgPool2D) Forward(x *sinter.Tensor) *sinter.Tensor {
	return Record(p, p.average("nn.AvgPool2D", x, !p.excludePadding), x)
}

// AdaptiveAvgPool2D averages images of any size down to one size.
type AdaptiveAvgPool2D struct{ Size int }

// NewAdaptiveAvgPool2D makes a pool whose result is size×size.
func NewAdaptiveAvgPool2D(size int) *AdaptiveAvgPool2D {
	positive("nn.NewAdaptiveAvgPool2D", "size", size)
	return &AdaptiveAvgPool2D{size}
}

// Forward maps [N, C, H, W] to [N, C, size, size]; size has to divide H and W,
// which makes all windows equal.
func (p *AdaptiveAvgPool2D) Forward(x *sinter.Tensor) *sinter.Tensor {
	const name = "nn.AdaptiveAvgPool2D"
	rank(name, x, 4)
	if p.Size == 1 {
		return Record(p, x.MeanKeep(2, 3), x)
	}
	h, w := x.Dim(2), x.Dim(3)
	if h%p.Size != 0 || w%p.Size != 0 {
		ir.Fail(name, "an image of %d×%d cannot be cut into %d×%d equal windows", h, w, p.Size, p.Size)
	}
	window := []int{h / p.Size, w / p.Size}
	return Record(p, sinter.AvgPool(x, window, window, nil, true), x)
}

// GlobalAvgPool is the mean of every channel: [N, C, …] becomes [N, C].
type GlobalAvgPool struct{}

// Forward takes the mean over all axes but the first two.
func (GlobalAvgPool) Forward(x *sinter.Tensor) *sinter.Tensor {
	if x.Rank() < 3 {
		ir.Fail("nn.GlobalAvgPool", "an input of shape %v; it needs 3 axes or more", x.Shape())
	}
	return x.Flatten(2).Mean(2)
}

// GlobalMaxPool is the largest element of every channel: [N, C, …] becomes [N, C].
type GlobalMaxPool struct{}

// Forward takes the maximum over all axes but the first two.
func (GlobalMaxPool) Forward(x *sinter.Tensor) *sinter.Tensor {
	if x.Rank() < 3 {
		ir.Fail("nn.GlobalMaxPool", "an input of shape %v; it needs 3 axes or more", x.Shape())
	}
	return x.Flatten(2).Max(2)
}
