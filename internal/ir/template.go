package ir

import (
	"encoding/binary"
	"slices"
	"sync"
)

// A template is the Region of a composite whose body is recorded once, over
// placeholders, and shared by all nodes that mean it: recording such a composite costs
// one node and one for every result, however large the body is. Where a body over the
// composite's own operands is wanted, Body makes it, which a program that is kept never
// asks for.

// NewTemplate makes a region of outs, nodes over params, which are placeholders with the
// numbers 0, 1, … It is nil if the body is not a function of them: if it reads or
// assigns something that exists.
func NewTemplate(name string, params, outs []*Node) *Region {
	// What composites mean that are no templates themselves is written out.
	outs = SubstituteWhere(outs, make(map[*Node]*Node), func(c *Node) bool { return c.Attr.(*Region).template == nil })
	g := Collect(slices.Concat(params, outs))
	for i, n := range g.Nodes {
		foreign := n.Op == Param && (i >= len(params) || n != params[i])
		if n.Op == Input || foreign || len(n.Effects) > 0 {
			return nil
		}
	}
	if len(g.Outputs) > len(params)+len(outs) {
		return nil
	}
	t := &template{params: len(params), nodes: g.Nodes}
	at := make(map[*Node]int, len(g.Nodes))
	for i, n := range g.Nodes {
		at[n] = i
		for _, x := range n.In {
			t.operands = append(t.operands, at[x])
		}
	}
	for _, o := range outs {
		t.outs = append(t.outs, at[o])
	}
	return &Region{Name: name, Key: interned(g.AppendKey(nil)), Outs: outs, template: t}
}

// template is a body in an order in which operands come first; the placeholders are
// the first nodes.
type template struct {
	params   int
	nodes    []*Node
	operands []int // of all nodes, one after the other, by number
	outs     []int
}

// bodies numbers the bodies of templates by their canonical form, so that the key of a
// graph need not contain them. A number is never used for another body; when the table
// has grown too large, bodies get new ones.
var bodies struct {
	sync.Mutex
	numbers map[string]uint64
	last    uint64
}

const maxBodies = 4096

func interned(canonical []byte) []byte {
	bodies.Lock()
	defer bodies.Unlock()
	n, ok := bodies.numbers[string(canonical)]
	if !ok {
		if len(bodies.numbers) >= maxBodies {
			clear(bodies.numbers)
		}
		if bodies.numbers == nil {
			bodies.numbers = make(map[string]uint64)
		}
		bodies.last++
		n = bodies.last
		bodies.numbers[string(canonical)] = n
	}
	return binary.LittleEndian.AppendUint64(nil, n)
}

// Body is what the results of a composite mean, as nodes over its operands.
func (n *Node) Body() []*Node {
	r := n.Attr.(*Region)
	if r.template == nil {
		return r.Outs
	}
	own := *r
	own.template, own.Outs = nil, r.over(n.In, n.site)
	n.Attr = &own // it is made once
	return own.Outs
}

// Over is the body of a template over other nodes.
func (r *Region) Over(in []*Node) []*Node { return r.over(in, nil) }

func (r *Region) over(in []*Node, site *Site) []*Node {
	t := r.template
	made := make([]*Node, len(t.nodes))
	copy(made, in)
	next := 0
	for i, x := range t.nodes[t.params:] {
		c := &Node{Op: x.Op, DType: x.DType, Shape: x.Shape, Attr: x.Attr, site: site}
		if x.site.Scope() != nil { // a layer within the body, which is worth more
			c.site = x.site
		}
		if len(x.In) > 0 {
			c.In = make([]*Node, len(x.In))
			for j := range c.In {
				c.In[j] = made[t.operands[next]]
				next++
			}
		}
		made[t.params+i] = c
	}
	outs := make([]*Node, len(t.outs))
	for i, k := range t.outs {
		outs[i] = made[k]
	}
	return outs
}
