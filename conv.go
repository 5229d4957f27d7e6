package sinter

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// ConvOptions are the options of a convolution. A list has a value for each spatial
// axis or one for all; nil is stride 1, padding 0 and dilation 1, and no groups are
// one group.
type ConvOptions struct {
	Stride, Padding, Dilation []int
	Groups                    int
}

// eachAxis is a list of options with a value for each of k axes.
func eachAxis(op, what string, v []int, k, nothing int) []int {
	switch len(v) {
	case 0:
		return slices.Repeat([]int{nothing}, k)
	case 1:
		return slices.Repeat(v, k)
	case k:
		return slices.Clone(v)
	}
	ir.Fail(op, "%s %v does not name each of %d spatial axes", what, v, k)
	return nil
}

func (o ConvOptions) attr(op string, x, w *ir.Node) ir.ConvAttr {
	k := len(x.Shape) - 2
	if k < 1 || k > 3 || len(w.Shape) != len(x.Shape) {
		ir.Fail(op, "wants [N, C, spatial…] with 1 to 3 spatial axes and weights of the same rank, got %v and %v", x.Shape, w.Shape)
	}
	p := eachAxis(op, "padding", o.Padding, k, 0)
	a := ir.ConvAttr{
		Stride: eachAxis(op, "stride", o.Stride, k, 1), Low: p, High: p,
		Dilation: eachAxis(op, "dilation", o.Dilation, k, 1), Groups: max(o.Groups, 1),
	}
	if o.Groups < 0 {
		ir.Fail(op, "%d groups", o.Groups)
	}
	for i := range k {
		if a.Stride[i] < 1 || a.Dilation[i] < 1 || p[i] < 0 {
			ir.Fail(op, "stride %v and dilation %v must be positive and padding %v not negative", a.Stride, a.Dilation, p)
		}
	}
	return a
}

// Conv is the convolution (cross-correlation) of x [N, C, spatial…], with 1 to 3
// spatial axes, with weights w [K, C/groups, window…]; b [K] is added and may be nil.
// The result is [N, K, spatial…].
func Conv(x, w, b *Tensor, o ConvOptions) *Tensor {
	in := optional(x, w, b)
	return wrap(convolve("conv", "Conv", in, o.attr("Conv", in[0], in[1])))
}

// ConvTranspose is the gradient of a convolution with respect to its operand, as an
// operation: x [N, C, spatial…], w [C, K/groups, window…], b [K] or nil, giving
// [N, K, spatial…] with extents
//
//	(extent − 1)·stride − 2·padding + dilation·(window − 1) + outputPadding + 1
//
// outputPadding is like the lists of ConvOptions; it must be less than the stride.
func ConvTranspose(x, w, b *Tensor, o ConvOptions, outputPadding []int) *Tensor {
	const op = "ConvTranspose"
	in := optional(x, w, b)
	a := o.attr(op, in[0], in[1])
	k := len(a.Stride)
	extra := eachAxis(op, "output padding", outputPadding, k, 0)
	a.Dir, a.Size = ir.InputGrad, make([]int, k)
	for i := range k {
		n, window := in[0].Shape[i+2], in[1].Shape[i+2]
		a.Size[i] = (n-1)*a.Stride[i] - 2*a.Low[i] + a.Dilation[i]*(window-1) + extra[i] + 1
		if extra[i] < 0 || extra[i] >= a.Stride[i] {
			ir.Fail(op, "output padding %v must be at least 0 and less than stride %v", extra, a.Stride)
		}
		if a.Size[i] < 1 {
			ir.Fail(op, "padding %v leaves nothing of input %v with weights %v", a.Low, in[0].Shape, in[1].Shape)
		}
	}
	return wrap(convolve("conv_transpose", op, in, a))
}

// convolve is a convolution with the bias, if there is a third operand.
func convolve(name, op string, in []*ir.Node, a ir.ConvAttr) *ir.Node {
	return composite(name, a.AppendKey(attributes(len(in))), in, func(in []*ir.Node) []*ir.Node {
		y := ir.New(ir.Conv, a, in[0], in[1])
		if len(in) == 3 {
			fits(op, "the bias", in[2], y.Shape[1])
			y = add(y, ir.BroadcastTo(in[2], y.Shape, []int{1}))
		}
		return []*ir.Node{y}
	})[0]
}

// optional are floating-point operands of one type; the last may be nil and is then
// left out.
func optional(x, w, b *Tensor) []*ir.Node {
	in := []*ir.Node{floating(x.node), w.node}
	if b != nil {
		in = append(in, b.node)
	}
	return promoted(in)
}

// fits checks the shape of an operand.
func fits(op, what string, x *ir.Node, want ...int) {
	if !slices.Equal(x.Shape, want) {
		ir.Fail(op, "%s has shape %v; %v is wanted", what, x.Shape, want)
	}
}

// window describes a pooling of x.
func window(op string, x *ir.Node, size, stride, padding []int) ir.Window {
	k := len(x.Shape) - 2
	if k < 1 {
		ir.Fail(op, "wants [N, C, spatial…], got %v", x.Shape)
	}
	if len(size) == 0 {
		ir.Fail(op, "wants the size of the window")
	}
	w := ir.Window{Size: eachAxis(op, "size", size, k, 1)}
	if len(stride) == 0 {
		stride = w.Size
	}
	w.Stride = eachAxis(op, "stride", stride, k, 1)
	w.Low = eachAxis(op, "padding", padding, k, 0)
	w.High, w.Dilation = w.Low, slices.Repeat([]int{1}, k)
	for i, p := range w.Low {
		if 2*p > w.Size[i] {
			ir.Fail(op, "padding %v is more than half of the window %v", w.Low, w.Size)
		}
	}
	return w
}

// MaxPool is the largest element in each window of x [N, C, spatial…]; padding never
// wins. Lists have a value for each spatial axis or one for all; stride nil is size,
// and padding, nil for none, is at most half of size. The gradient goes to the first
// of equals.
func MaxPool(x *Tensor, size, stride, padding []int) *Tensor {
	w := window("MaxPool", x.node, size, stride, padding)
	return single(composite("max_pool", w.AppendKey(nil), []*ir.Node{x.node}, func(in []*ir.Node) []*ir.Node {
		h := ir.To(in[0], in[0].DType.Compute())
		return []*ir.Node{ir.To(ir.New(ir.ReduceWindowMax, w, h), in[0].DType)}
	}))
}

// AvgPool is the mean of each window of x [N, C, spatial…]. Padding counts as zeros if
// countPad is true and is left out of the mean otherwise. Lists are as in MaxPool.
func AvgPool(x *Tensor, size, stride, padding []int, countPad bool) *Tensor {
	in := floating(x.node)
	w := window("AvgPool", in, size, stride, padding)
	padded := slices.ContainsFunc(w.Low, func(p int) bool { return p > 0 })
	mean := func(h *ir.Node) *ir.Node {
		s := ir.New(ir.ReduceWindowSum, w, h)
		if countPad || !padded {
			return over(s, float64(shape.Elements(w.Size)))
		}
		ones := ir.Full(h.DType, 1, append([]int{1, 1}, h.Shape[2:]...))
		return div(s, ir.Broadcast(ir.New(ir.ReduceWindowSum, w, ones), s.Shape))
	}
	return single(composite("avg_pool", w.AppendKey(attributes(countPad)), []*ir.Node{in}, func(in []*ir.Node) []*ir.Node {
		return []*ir.Node{inWide(in[0], mean)}
	}))
}
