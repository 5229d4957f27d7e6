package ir

import "slices"

// Substitute rebuilds the graph of the outputs with the nodes in sub replaced, and
// with every composite replaced by its body. Nodes that nothing changes for are
// kept as they are. sub gains an entry for every node that was visited.
func Substitute(outputs []*Node, sub map[*Node]*Node) []*Node {
	return SubstituteWhere(outputs, sub, func(*Node) bool { return true })
}

// SubstituteWhere is Substitute that replaces those composites that inline tells.
func SubstituteWhere(outputs []*Node, sub map[*Node]*Node, inline func(composite *Node) bool) []*Node {
	// Operands, with the result of a composite seen as its body's.
	inlined := func(n *Node) []*Node {
		if n.Op == Result {
			if c := n.In[0]; c.Op == Composite && inline(c) {
				i := n.Attr.(Number).N
				return c.Body()[i : i+1]
			}
		}
		return n.In
	}
	order := Postorder(outputs, func(n *Node) []*Node {
		if _, done := sub[n]; done {
			return nil
		}
		return inlined(n)
	})
	for _, n := range order {
		if _, done := sub[n]; done {
			continue
		}
		in := inlined(n)
		if n.Op == Result && len(in) == 1 && in[0] != n.In[0] {
			sub[n] = sub[in[0]]
			continue
		}
		sub[n] = n.WithOperands(func(x *Node) *Node { return sub[x] })
	}
	res := make([]*Node, len(outputs))
	for i, o := range outputs {
		res[i] = sub[o]
	}
	return res
}

// WithOperands is n with its operands mapped; n itself if none changes.
func (n *Node) WithOperands(f func(*Node) *Node) *Node {
	for i, x := range n.In {
		if f(x) == x {
			continue
		}
		c := &Node{Op: n.Op, DType: n.DType, Shape: n.Shape, Attr: n.Attr, Storage: n.Storage, Version: n.Version, Effects: n.Effects, site: n.site}
		c.In = make([]*Node, len(n.In))
		copy(c.In, n.In[:i])
		for j := i; j < len(n.In); j++ {
			c.In[j] = f(n.In[j])
		}
		return c
	}
	return n
}

// ScanSpec describes a Scan before its constants are known: params stand for the
// carries and then for one step's slices; outs are the new carries and then the
// results of the step.
type ScanSpec struct {
	Params, Outs    []*Node
	Carries, Inputs []*Node // initial carries and whole sequences
	Reverse         bool
}

// CloseScan turns a body into a Scan. What the body uses from outside becomes an
// operand of the Scan, computed once; literals stay inside. Besides the results
// of the body the Scan yields, at the end, what a gradient had better read than
// compute again: the body's products (see products). They are removed when nothing
// uses them.
//
// It returns the last carries, the stacked results and products, and the trails of
// the carries.
func CloseScan(s ScanSpec) []*Node {
	steps := s.Inputs[0].Shape[0]
	loop := make(map[*Node]bool)  // depends on a placeholder
	outer := make(map[*Node]bool) // reads something that exists outside
	for _, p := range s.Params {
		loop[p] = true
	}
	sub := make(map[*Node]*Node)
	outs := Substitute(s.Outs, sub)
	order := Postorder(outs, func(n *Node) []*Node { return n.In })
	var effects []*Node
	for _, n := range order {
		if n.Op == Input || n.Op == Param && !loop[n] {
			outer[n] = true
		}
		for _, x := range n.In {
			loop[n] = loop[n] || loop[x]
			outer[n] = outer[n] || outer[x]
		}
		for _, e := range n.Effects {
			for _, d := range Postorder(e.In, func(n *Node) []*Node { return n.In }) {
				if loop[d] {
					Fail("scan", "an assignment in the body depends on the loop's values; return them as results and assign after the scan")
				}
			}
			effects = append(effects, e)
		}
	}
	var consts []*Node
	replace := make(map[*Node]*Node)
	capture := func(x *Node) {
		for x.Op == BroadcastInDim && !loop[x] { // repeating costs the body nothing
			x = x.In[0]
		}
		if !loop[x] && outer[x] && replace[x] == nil {
			replace[x] = NewParam(len(s.Params)+len(consts), x.DType, x.Shape)
			consts = append(consts, x)
		}
	}
	for _, n := range order {
		if loop[n] {
			for _, x := range n.In {
				capture(x)
			}
		}
	}
	for _, o := range outs {
		capture(o)
	}
	saved := products(order, outs, loop)
	outs = Substitute(append(outs, saved...), replace)
	params := append([]*Node(nil), s.Params...)
	for _, c := range consts {
		params = append(params, replace[c])
	}
	body := Collect(append(params, outs...))
	body.Outputs, body.Params = outs, len(params)
	for _, n := range body.Nodes {
		if len(n.Effects) > 0 { // carried out once, with the Scan
			n.Effects = nil
		}
	}
	in := append(append(append([]*Node(nil), s.Carries...), s.Inputs...), consts...)
	res := NewScan(&Loop{Body: body, Carries: len(s.Carries), Inputs: len(s.Inputs), Steps: steps, Saved: len(saved), Reverse: s.Reverse}, in)
	res[0].Effects = append(res[0].Effects, effects...)
	return res
}

// products lists the values of a body that a gradient had better read than compute
// again: the results of library operations that depend on the loop. Where nothing
// but a sum takes such a result, it is the sum that is listed: a gradient asks for
// what a nonlinear function was applied to, and not for the terms of it.
func products(order, outs []*Node, loop map[*Node]bool) []*Node {
	users := make(map[*Node][]*Node)
	for _, n := range order {
		for _, x := range n.In {
			users[x] = append(users[x], n)
		}
	}
	var list []*Node
	for _, n := range order {
		if n.Op.Class() != ClassLibrary || !loop[n] || !n.DType.IsFloat() {
			continue
		}
		for len(users[n]) == 1 && !slices.Contains(outs, n) {
			u := users[n][0]
			if u.Op != Add && u.Op != Reshape || u.Elements() != n.Elements() {
				break
			}
			n = u
		}
		if !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}
