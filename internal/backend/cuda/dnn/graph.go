package dnn

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sinter-dl/sinter/internal/dl/cudnn"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// graph is a graph of cuDNN's, as data: what it is printed as is what a plan for it is
// remembered by.
type graph struct {
	tensors []tensor
	nodes   []node
	why     string // why there is none
	// scratch is the bytes at the beginning of the workspace that tensors lie in.
	scratch  int
	epilogue bool // the operation's epilogue is part of it
}

// tensor is one of a graph's; its number in the graph is its id, less 1.
type tensor struct {
	kind   cudnn.DataType
	dims   []int
	stride []int
	where  place
	align  int
}

// place says where a tensor is: in a slot of the program, in the workspace, nowhere
// (virtual), or that it is a number that the host hands over.
type place struct {
	virtual, scratch bool
	slot, offset     int // bytes
	number           *float32
}

// node is an operation: its descriptor's kind, what it refers to, and the descriptor of
// its own properties, if there is one.
type node struct {
	kind       cudnn.Kind
	attributes []attribute
	propertyOf cudnn.Attr
	property   cudnn.Kind
	properties []attribute
}

// attribute is a value of an attribute; an id stands for the descriptor of a tensor.
type attribute struct {
	name  cudnn.Attr
	value any
}

type id int

func refuse(format string, args ...any) *graph { return &graph{why: fmt.Sprintf(format, args...)} }

// add adds a tensor.
func (g *graph) add(t tensor) id {
	if t.align == 0 {
		t.align = 16
	}
	g.tensors = append(g.tensors, t)
	return id(len(g.tensors) - 1)
}

// operand adds an operand as it lies in memory, under dims and strides of its own.
func (g *graph) operand(o *kernel.Operand, elements int, dims, stride []int) id {
	t := tensor{kind: types[o.DType], dims: dims, stride: stride, where: place{slot: o.Slot, offset: (o.Offset + elements) * o.DType.Size()}, align: 16}
	for t.where.offset%t.align != 0 {
		t.align /= 2
	}
	return g.add(t)
}

// virtual adds a tensor that is never in memory, without gaps.
func (g *graph) virtual(kind cudnn.DataType, dims ...int) id {
	return g.add(tensor{kind: kind, dims: dims, stride: contiguous(dims), where: place{virtual: true}})
}

// number adds a number for tensors of a rank.
func (g *graph) number(v float32, rank int) id {
	ones := make([]int, rank)
	for i := range ones {
		ones[i] = 1
	}
	return g.add(tensor{kind: cudnn.F32, dims: ones, stride: ones, where: place{number: &v}})
}

func contiguous(dims []int) []int {
	stride, n := make([]int, len(dims)), 1
	for i := len(dims) - 1; i >= 0; i-- {
		stride[i] = n
		n *= dims[i]
	}
	return stride
}

// matmul adds y = a·b over the last two axes.
func (g *graph) matmul(a, b, y id) id {
	g.nodes = append(g.nodes, node{
		kind:       cudnn.OpMatmul,
		attributes: []attribute{{cudnn.OpMatmulA, a}, {cudnn.OpMatmulB, b}, {cudnn.OpMatmulC, y}},
		propertyOf: cudnn.OpMatmulDesc, property: cudnn.Matmul,
		properties: []attribute{{cudnn.MatmulPrecision, cudnn.F32}},
	})
	return y
}

// pointwise adds y = mode(x…), with a third operand for a choice.
func (g *graph) pointwise(mode cudnn.Mode, precision cudnn.DataType, y id, x ...id) id {
	n := node{
		kind: cudnn.OpPointwise, attributes: []attribute{{cudnn.OpPointwiseX, x[0]}, {cudnn.OpPointwiseY, y}},
		propertyOf: cudnn.OpPointwiseDesc, property: cudnn.Pointwise,
		properties: []attribute{{cudnn.PointwiseMode, mode}, {cudnn.PointwisePrecision, precision}},
	}
	if len(x) > 1 {
		n.attributes = append(n.attributes, attribute{cudnn.OpPointwiseB, x[1]})
	}
	if len(x) > 2 {
		n.attributes = append(n.attributes, attribute{cudnn.OpPointwiseSelect, x[2]})
	}
	g.nodes = append(g.nodes, n)
	return y
}

// index adds y = the coordinate along an axis of x's.
func (g *graph) index(axis int, y, x id) id {
	g.pointwise(cudnn.GenIndex, cudnn.F32, y, x)
	n := &g.nodes[len(g.nodes)-1]
	n.properties = append(n.properties, attribute{cudnn.PointwiseAxis, axis})
	return y
}

// reduce adds y = op of x over the axes that have one element in y.
func (g *graph) reduce(op cudnn.Reduce, y, x id) id {
	g.nodes = append(g.nodes, node{
		kind:       cudnn.OpReduction,
		attributes: []attribute{{cudnn.OpReductionX, x}, {cudnn.OpReductionY, y}},
		propertyOf: cudnn.OpReductionDesc, property: cudnn.Reduction,
		properties: []attribute{{cudnn.ReductionOp, op}, {cudnn.ReductionPrecision, cudnn.F32}},
	})
	return y
}

// reshape adds y = x under other dims and strides.
func (g *graph) reshape(y, x id) id {
	g.nodes = append(g.nodes, node{kind: cudnn.OpReshape, attributes: []attribute{{cudnn.OpReshapeX, x}, {cudnn.OpReshapeY, y}}})
	return y
}

// key is all of the graph that a plan depends on.
func (g *graph) key() string {
	var b strings.Builder
	for _, t := range g.tensors {
		fmt.Fprintf(&b, "%d%v%v/%d", t.kind, t.dims, t.stride, t.align)
		if t.where.virtual {
			b.WriteByte('v')
		}
		if t.where.number != nil {
			b.WriteByte('n')
		}
		b.WriteByte(';')
	}
	for _, n := range g.nodes {
		fmt.Fprintf(&b, "%d%v%d%v;", n.kind, n.attributes, n.property, n.properties)
	}
	return b.String()
}

// built is a graph's descriptors.
type built struct {
	lib *cudnn.Library
	all []cudnn.Descriptor
	top cudnn.Descriptor
}

// free destroys them, the last first.
func (b *built) free() error {
	var errs []error
	for i := len(b.all) - 1; i >= 0; i-- {
		errs = append(errs, b.lib.Free(b.all[i]))
	}
	b.all = nil
	return errors.Join(errs...)
}

// make makes one descriptor and finalizes it.
func (b *built) make(k cudnn.Kind, attributes []attribute) (cudnn.Descriptor, error) {
	d, err := b.lib.New(k)
	if err != nil {
		return 0, err
	}
	b.all = append(b.all, d)
	for _, a := range attributes {
		if err := b.lib.Set(d, a.name, a.value); err != nil {
			return 0, err
		}
	}
	return d, b.lib.Finalize(d)
}

// build makes the descriptors of a graph. Those that were made are returned along with an
// error, too.
func (p *Planner) build(g *graph) (*built, error) {
	b := &built{lib: p.lib}
	tensors := make([]cudnn.Descriptor, len(g.tensors))
	for i, t := range g.tensors {
		a := []attribute{
			{cudnn.TensorType, t.kind}, {cudnn.TensorDims, t.dims}, {cudnn.TensorStrides, t.stride},
			{cudnn.TensorID, i + 1}, {cudnn.TensorAlignment, t.align},
		}
		if t.where.virtual {
			a = append(a, attribute{cudnn.TensorVirtual, true})
		}
		if t.where.number != nil {
			a = append(a, attribute{cudnn.TensorByValue, true})
		}
		var err error
		if tensors[i], err = b.make(cudnn.Tensor, a); err != nil {
			return b, fmt.Errorf("tensor %d: %w", i+1, err)
		}
	}
	var nodes []cudnn.Descriptor
	for i, n := range g.nodes {
		var a []attribute
		for _, x := range n.attributes {
			if t, ok := x.value.(id); ok {
				x.value = tensors[t]
			}
			a = append(a, x)
		}
		if n.propertyOf != 0 {
			d, err := b.make(n.property, n.properties)
			if err != nil {
				return b, fmt.Errorf("operation %d: %w", i, err)
			}
			a = append(a, attribute{n.propertyOf, d})
		}
		d, err := b.make(n.kind, a)
		if err != nil {
			return b, fmt.Errorf("operation %d: %w", i, err)
		}
		nodes = append(nodes, d)
	}
	a := []attribute{{cudnn.GraphOps, nodes}}
	if p.properties == 0 {
		a = append(a, attribute{cudnn.GraphHandle, p.handle})
	}
	var err error
	b.top, err = b.make(cudnn.OperationGraph, a)
	return b, err
}
