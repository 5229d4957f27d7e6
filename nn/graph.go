package nn

import (
	"fmt"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Operation is an operation of a model, or a value that one reads.
type Operation struct {
	Name   string // unique: the layer, the operation and a number, or the name of a variable
	Op     string // "dot_general", "layer_norm"; "variable", "input"
	Layer  string // the field path of the layer that it belongs to; "" for the model
	Inputs []string
	DType  string
	Shape  []int
}

// Graph records what a model does with the input x, in the mode that it is in, and lists
// its operations, each after those that it reads. Nothing is computed. Operations that
// stand for several, such as layer_norm, are one.
func Graph(model Module, x *sinter.Tensor) (all []Operation, err error) {
	defer ir.Recover(&err)
	t, out := trace(model, x)
	variables := make(map[*ir.Storage]string)
	for _, v := range State(model) {
		if value := ir.NodeOf(v.Value()); value.Op == ir.Input {
			variables[value.Storage] = v.Name
		}
	}
	names := make(map[*ir.Node]string)
	taken := make(map[string]int)
	input := ir.NodeOf(x)
	for _, n := range ir.Postorder([]*ir.Node{out}, func(n *ir.Node) []*ir.Node { return n.In }) {
		o := Operation{Op: n.Op.String(), Layer: t.rowOf(n).Name, DType: n.DType.String(), Shape: n.Shape}
		if region, ok := n.Attr.(*ir.Region); ok && region.Name != "" {
			o.Op = region.Name
		}
		switch {
		case n == input:
			o.Op, o.Layer, o.Name = "input", "", "input"
		case n.Op == ir.Input && variables[n.Storage] != "":
			o.Op, o.Name = "variable", variables[n.Storage]
		case o.Layer != "":
			o.Name = o.Layer + "." + o.Op
		default:
			o.Name = o.Op
		}
		if k := taken[o.Name]; k > 0 {
			taken[o.Name]++
			o.Name = fmt.Sprintf("%s_%d", o.Name, k)
		}
		taken[o.Name]++
		names[n] = o.Name
		if n != input {
			for _, in := range n.In {
				o.Inputs = append(o.Inputs, names[in])
			}
		}
		all = append(all, o)
	}
	return all, nil
}
