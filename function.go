package sinter

import (
	"slices"
	"sync"

	"github.com/sinter-dl/sinter/internal/grad"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Function is a function of tensors that is recorded once for each combination of
// shapes and types. Each further use of it is recorded as one operation, however many
// it consists of: that saves time where a graph is recorded anew at every step. What is
// computed is the same, and so are gradients.
//
// The function must depend on its inputs alone. One that reads variables or other
// tensors is recorded at every use, and one that assigns to variables panics with a
// [*BuildError].
type Function struct {
	name string
	f    func(in []*Tensor) []*Tensor

	mu       sync.Mutex
	recorded []recorded // the latest used first
}

// recorded is a Function for inputs of certain shapes and types.
type recorded struct {
	params []*ir.Node
	region *ir.Region // nil if it depends on more than the inputs
}

// NewFunction makes a Function of f; the name is for messages.
func NewFunction(name string, f func(in []*Tensor) []*Tensor) *Function {
	return &Function{name: name, f: f}
}

// Apply records f of the inputs.
func (f *Function) Apply(in ...*Tensor) []*Tensor {
	r := f.find(in)
	if r.region == nil {
		return f.f(in)
	}
	results := ir.NewRegion(r.region, nodes(in))
	out := make([]*Tensor, len(results))
	for i, n := range results {
		out[i] = &Tensor{n}
	}
	return out
}

func (f *Function) find(in []*Tensor) recorded {
	f.mu.Lock()
	for i, r := range f.recorded {
		if alike(r.params, in) {
			copy(f.recorded[1:i+1], f.recorded[:i])
			f.recorded[0] = r
			f.mu.Unlock()
			return r
		}
	}
	f.mu.Unlock()
	r := recorded{params: make([]*ir.Node, len(in))}
	stand := make([]*Tensor, len(in))
	for i, x := range in {
		r.params[i] = ir.NewParam(i, x.node.DType, slices.Clone(x.node.Shape))
		stand[i] = &Tensor{r.params[i]}
	}
	outs := nodes(f.f(stand))
	if r.region = ir.NewTemplate(f.name, r.params, outs); r.region != nil {
		r.region.Grad = grad.Templated(r.region)
	} else {
		f.refuseAssignments(outs)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recorded = slices.Insert(f.recorded, 0, r)
	if len(f.recorded) > maxTraces {
		f.recorded = f.recorded[:maxTraces]
	}
	return r
}

// refuseAssignments takes assignments back that the function has tied to its results,
// which were recorded on placeholders, and panics if there are any.
func (f *Function) refuseAssignments(outs []*ir.Node) {
	var last *Variable
	for _, n := range ir.Collect(outs).Outputs {
		if n.Op == ir.Assign {
			last = target(n)
			last.reset()
		}
	}
	if last != nil {
		ir.Fail(f.name, "the function assigns to %s; a Function cannot", last.label())
	}
}

// alike tells whether tensors have the shapes and types of the nodes.
func alike(nodes []*ir.Node, ts []*Tensor) bool {
	if len(nodes) != len(ts) {
		return false
	}
	for i, n := range nodes {
		if t := ts[i].node; t.DType != n.DType || !slices.Equal(t.Shape, n.Shape) {
			return false
		}
	}
	return true
}
