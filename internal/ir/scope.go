package ir

import (
	"sync"
	"sync/atomic"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// Which layer of a model recorded which node is not known while a model is recorded:
// Forward is a method like any other. It is found out when somebody asks, who turns
// tracing on (TraceScopes) while the model is recorded. Every layer then tells, at the
// end of its Forward, what it has made of what (Within), and the nodes in between that
// belong to no other layer yet become its own. The layer is kept in the node's Site, so
// whatever carries a site, which are bodies of composites, gradients, rewritten nodes
// and kernels, carries the layer as well. While nobody asks, a layer looks at one word
// of memory.

// Scope is one use of a layer.
type Scope struct {
	Layer any // what made it: a pointer to a layer, or a name
	DType dtype.DType
	Shape []int // of what it gave
}

var tracing atomic.Int32

// Tracing tells whether scopes are asked for.
func Tracing() bool { return tracing.Load() != 0 }

var scopes struct {
	sync.Mutex
	list []*Scope // in the order in which the layers have finished
}

// TraceScopes turns tracing on; stop turns it off and returns what has been told since
// by any goroutine.
func TraceScopes() (stop func() []*Scope) {
	tracing.Add(1)
	scopes.Lock()
	defer scopes.Unlock()
	from := len(scopes.list)
	return func() []*Scope {
		scopes.Lock()
		defer scopes.Unlock()
		seen := scopes.list[from:]
		if tracing.Add(-1) == 0 {
			scopes.list = nil
		}
		return seen
	}
}

// Within notes that layer has recorded y out of xs.
func Within(layer any, y *Node, xs ...*Node) {
	s := &Scope{Layer: layer, DType: y.DType, Shape: y.Shape}
	seen := make(map[*Node]bool)
	for _, x := range xs {
		seen[x] = true
	}
	if seen[y] {
		return // nothing was done
	}
	places := make(map[*Site]*Site)
	stack := []*Node{y}
	visit := func(n *Node) {
		if !seen[n] && n.Op.Class() != ClassLeaf {
			seen[n] = true
			stack = append(stack, n)
		}
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if n.site == nil || n.site.scope == nil {
			own := places[n.site]
			if own == nil {
				own = new(Site)
				if n.site != nil {
					*own = *n.site
				}
				own.scope = s
				places[n.site] = own
			}
			n.site = own
		}
		for _, x := range n.In {
			visit(x)
		}
		for _, e := range n.Effects {
			for _, x := range e.In {
				visit(x)
			}
		}
		if r, ok := n.Attr.(*Region); ok && n.Op == Composite && r.template == nil {
			for _, o := range r.Outs {
				visit(o)
			}
		}
	}
	scopes.Lock()
	defer scopes.Unlock()
	scopes.list = append(scopes.list, s)
}

// Scope is the use of a layer that the node belongs to, nil if that is not known.
func (s *Site) Scope() *Scope {
	if s == nil {
		return nil
	}
	return s.scope
}

// NodeOf gives the node of a *sinter.Tensor to packages above the root, which sets it.
var NodeOf func(tensor any) *Node
