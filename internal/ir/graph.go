package ir

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Graph is a set of nodes in an order in which operands come first.
type Graph struct {
	Nodes   []*Node
	Outputs []*Node
	Params  int // Scan bodies: number of placeholders
}

// A walk numbers nodes in place, which is many times faster than a map. Walks of
// different goroutines may meet on shared leaves, so only one runs at a time;
// they are short and hold no other lock.
var (
	walkLock  sync.Mutex
	walkEpoch uint64
)

// Collect orders everything that the outputs need, operands first, in the order of
// a depth-first walk from the outputs' first operands; so equal structures give
// equal orders. The effects of every node that is reached are outputs, too, and
// are appended to the graph's. The walk is iterative: depth is no limit.
func Collect(outputs []*Node) *Graph {
	walkLock.Lock()
	defer walkLock.Unlock()
	return collect(outputs)
}

func collect(outputs []*Node) *Graph {
	walkEpoch++
	g := &Graph{Outputs: slices.Clone(outputs)}
	for i := 0; i < len(g.Outputs); i++ {
		before := len(g.Nodes)
		g.visit(g.Outputs[i])
		for _, n := range g.Nodes[before:] {
			for _, e := range n.Effects {
				if e.Op != OpInvalid && !slices.Contains(g.Outputs, e) {
					g.Outputs = append(g.Outputs, e)
				}
			}
		}
	}
	return g
}

func (g *Graph) visit(root *Node) {
	type frame struct {
		n    *Node
		next int
	}
	if root.epoch == walkEpoch {
		return
	}
	stack := make([]frame, 0, 64)
	stack = append(stack, frame{n: root})
	root.epoch, root.num = walkEpoch, -1
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.next < len(f.n.In) {
			in := f.n.In[f.next]
			f.next++
			if in.epoch != walkEpoch {
				in.epoch, in.num = walkEpoch, -1
				stack = append(stack, frame{n: in})
			}
			continue
		}
		f.n.num = len(g.Nodes)
		g.Nodes = append(g.Nodes, f.n)
		stack = stack[:len(stack)-1]
	}
}

// Leaves lists the graph's Inputs, each storage and version once, in the order of
// their first use.
func (g *Graph) Leaves() []*Node {
	var l []*Node
	seen := map[*Storage]bool{}
	for _, n := range g.Nodes {
		if n.Op == Input && !seen[n.Storage] {
			seen[n.Storage] = true
			l = append(l, n)
		}
	}
	return l
}

// Key collects a graph and writes its canonical form: structure, shapes, types and
// attributes, with leaves numbered by first use, so that two graphs with equal
// keys can run the same program. It also returns the leaves in that numbering.
//
// x·x and x·y differ, for the leaf's number is written, not only its type.
func Key(outputs []*Node) (g *Graph, key []byte, leaves []*Node) {
	walkLock.Lock()
	defer walkLock.Unlock()
	g = collect(outputs)
	key = make([]byte, 0, 24*len(g.Nodes))
	for _, n := range g.Nodes {
		key = append(key, byte(n.Op), byte(n.DType), byte(len(n.Shape)))
		for _, d := range n.Shape {
			key = binary.AppendUvarint(key, uint64(d))
		}
		if n.Op == Input {
			s := n.Storage
			if s.epoch != walkEpoch {
				s.epoch, s.num = walkEpoch, len(leaves)
				leaves = append(leaves, n)
			}
			key = binary.AppendUvarint(key, uint64(s.num))
			continue
		}
		key = binary.AppendUvarint(key, uint64(len(n.In)))
		for _, in := range n.In {
			key = binary.AppendUvarint(key, uint64(in.num))
		}
		if n.Attr != nil {
			key = n.Attr.AppendKey(key)
		}
	}
	for _, o := range g.Outputs {
		key = binary.AppendUvarint(key, uint64(o.num))
	}
	return g, key, leaves
}

// AppendKey writes the canonical form of a Scan body. Bodies have no leaves but
// their placeholders, and g.Nodes is already in canonical order.
func (g *Graph) AppendKey(b []byte) []byte {
	num := make(map[*Node]int, len(g.Nodes))
	b = binary.AppendUvarint(b, uint64(len(g.Nodes)))
	for i, n := range g.Nodes {
		num[n] = i
		b = append(b, byte(n.Op), byte(n.DType))
		b = appendInts(b, n.Shape)
		b = binary.AppendUvarint(b, uint64(len(n.In)))
		for _, in := range n.In {
			b = binary.AppendUvarint(b, uint64(num[in]))
		}
		if n.Attr != nil {
			b = n.Attr.AppendKey(b)
		}
	}
	for _, o := range g.Outputs {
		b = binary.AppendUvarint(b, uint64(num[o]))
	}
	return b
}

// Verify checks what every pass must keep: operands come before their users,
// every node's shape and type are those that its rule gives. It names the pass
// that broke it.
func (g *Graph) Verify(pass string) {
	pos := make(map[*Node]int, len(g.Nodes))
	for i, n := range g.Nodes {
		for _, in := range n.In {
			if _, ok := pos[in]; !ok {
				panic(fmt.Sprintf("ir: after %s: operand %v of node %d (%v) does not come before it", pass, in.Op, i, n.Op))
			}
		}
		if n.Op.Class() != ClassLeaf {
			c := *n
			if err := infer(&c); err != nil {
				panic(fmt.Sprintf("ir: after %s: node %d: %v: %v", pass, i, n.Op, err))
			}
			if c.DType != n.DType || !slices.Equal(c.Shape, n.Shape) {
				panic(fmt.Sprintf("ir: after %s: node %d: %v is %v%v, its rule gives %v%v", pass, i, n.Op, n.DType, n.Shape, c.DType, c.Shape))
			}
		}
		pos[n] = i
	}
	for _, o := range g.Outputs {
		if _, ok := pos[o]; !ok {
			panic(fmt.Sprintf("ir: after %s: an output (%v) is not in the graph", pass, o.Op))
		}
	}
}

// String prints the graph, a node a line.
func (g *Graph) String() string {
	var b strings.Builder
	num := map[*Node]int{}
	for i, n := range g.Nodes {
		num[n] = i
		fmt.Fprintf(&b, "%%%d = %v %v%v", i, n.Op, n.DType, n.Shape)
		for _, in := range n.In {
			fmt.Fprintf(&b, " %%%d", num[in])
		}
		switch a := n.Attr.(type) {
		case nil:
		case Literal:
			fmt.Fprintf(&b, " %g", a.Float(n.DType))
		case *Region:
			fmt.Fprintf(&b, " %s", a.Name)
		case *Loop:
			fmt.Fprintf(&b, " %d steps\n%s", a.Steps, indent(a.Body.String()))
		default:
			fmt.Fprintf(&b, " %+v", a)
		}
		if n.Storage != nil && n.Storage.Name != "" {
			fmt.Fprintf(&b, " %q", n.Storage.Name)
		}
		b.WriteByte('\n')
	}
	b.WriteString("return")
	for _, o := range g.Outputs {
		fmt.Fprintf(&b, " %%%d", num[o])
	}
	return b.String()
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

// Postorder lists what the outputs need, operands first, following the edges that
// operands gives instead of In. Grad uses it to look into composites.
func Postorder(outputs []*Node, operands func(*Node) []*Node) []*Node {
	walkLock.Lock()
	defer walkLock.Unlock()
	walkEpoch++
	var order []*Node
	type frame struct {
		n    *Node
		in   []*Node
		next int
	}
	var stack []frame
	push := func(n *Node) {
		if n.epoch != walkEpoch {
			n.epoch, n.num = walkEpoch, -1
			stack = append(stack, frame{n: n, in: operands(n)})
		}
	}
	for _, o := range outputs {
		push(o)
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if f.next < len(f.in) {
				f.next++
				push(f.in[f.next-1])
				continue
			}
			order = append(order, f.n)
			stack = stack[:len(stack)-1]
		}
	}
	return order
}

// Stamp gives n, and whatever below it has no site yet, the given site.
func Stamp(n *Node, s *Site) {
	if s == nil || n.site != nil || n.Op.Class() == ClassLeaf {
		return
	}
	n.site = s
	for _, in := range n.In {
		Stamp(in, s)
	}
	if r, ok := n.Attr.(*Region); ok && r.template == nil {
		for _, o := range r.Outs {
			Stamp(o, s)
		}
	}
}

// Here is the user's place in the program: that of the call being made now.
func Here() *Site { return here() }

// Anonymous tells whether a node has no site yet.
func (n *Node) Anonymous() bool { return n.site == nil && n.Op.Class() != ClassLeaf }
