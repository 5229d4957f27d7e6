package dnn

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// convolution is the graph of a convolution in any direction. to is where the result is
// rounded to, or nil.
func convolution(l *kernel.Library, to *kernel.Operand) *graph {
	a := l.Attr.(ir.ConvAttr)
	out := &l.Out[0]
	if to != nil {
		out = to
	}
	if _, ok := types[out.DType]; !ok || l.In[0].DType.Size() == 8 || l.In[1].DType != l.In[0].DType {
		return refuse("no convolutions of %v and %v to %v", l.In[0].DType, l.In[1].DType, out.DType)
	}
	for _, o := range []*kernel.Operand{&l.In[0], &l.In[1], out} {
		if o.Elements() == 0 {
			return refuse("a convolution of nothing")
		}
	}
	for _, n := range slices.Concat(a.Low, a.High) {
		if n < 0 {
			return refuse("padding of %d", n)
		}
	}
	g := &graph{epilogue: to != nil}
	spatial := len(a.Stride)
	// cuDNN has no convolutions along one axis: it is given one of extent 1 before it.
	flat := spatial == 1
	widen := func(list []int, with int) []int {
		if flat {
			return []int{with, list[0]}
		}
		return slices.Clone(list)
	}
	add := func(o *kernel.Operand) id {
		dims := slices.Clone(o.Shape)
		if flat {
			dims = []int{dims[0], dims[1], 1, dims[2]}
		}
		return g.operand(o, 0, dims, contiguous(dims))
	}
	n := node{
		property: cudnn.Convolution,
		properties: []attribute{
			{cudnn.ConvPrecision, cudnn.F32}, {cudnn.ConvMode, cudnn.CrossCorrelation},
			{cudnn.ConvSpatialDims, max(spatial, 2)},
			{cudnn.ConvDilations, widen(a.Dilation, 1)}, {cudnn.ConvStrides, widen(a.Stride, 1)},
			{cudnn.ConvPrePaddings, widen(a.Low, 0)}, {cudnn.ConvPostPaddings, widen(a.High, 0)},
		},
	}
	first, second, y := add(&l.In[0]), add(&l.In[1]), add(out)
	one, zero := float32(1), float32(0)
	switch a.Dir {
	case ir.Forward:
		n.kind, n.propertyOf = cudnn.OpConvForward, cudnn.ConvForwardConv
		n.attributes = []attribute{{cudnn.ConvForwardX, first}, {cudnn.ConvForwardW, second}, {cudnn.ConvForwardY, y},
			{cudnn.ConvForwardAlpha, one}, {cudnn.ConvForwardBeta, zero}}
	case ir.InputGrad:
		n.kind, n.propertyOf = cudnn.OpConvBwdData, cudnn.ConvDataConv
		n.attributes = []attribute{{cudnn.ConvDataDY, first}, {cudnn.ConvDataW, second}, {cudnn.ConvDataDX, y},
			{cudnn.ConvDataAlpha, one}, {cudnn.ConvDataBeta, zero}}
	case ir.WeightGrad:
		n.kind, n.propertyOf = cudnn.OpConvBwdFilter, cudnn.ConvFilterConv
		n.attributes = []attribute{{cudnn.ConvFilterX, first}, {cudnn.ConvFilterDY, second}, {cudnn.ConvFilterDW, y},
			{cudnn.ConvFilterAlpha, one}, {cudnn.ConvFilterBeta, zero}}
	}
	g.nodes = []node{n}
	return g
}
