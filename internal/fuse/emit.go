package fuse

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
)

// emitter writes the code of one kernel.
type emitter struct {
	f     *fuser
	group *group
	*space
	code []kernel.Instr
	args []kernel.Arg // strides by axis of the space
	memo map[string]int
	key  []byte
}

// emit turns a group into a kernel, or into none if nothing of it has to be computed
// by one.
func (f *fuser) emit(g *group) []kernel.Step {
	var roots []*item
	for _, it := range g.members {
		if it.kind != library && (it.kept || f.assignedBy[it.node] != nil) {
			roots = append(roots, it)
		}
	}
	var fused *kernel.Fused
	if g.size > 0 && len(roots) > 0 {
		fused = f.fused(g, roots)
	}
	var steps []kernel.Step
	if g.lib != nil {
		// Where other kernels compute again all that is made of the result, what is
		// left here has nothing to do with it and is no epilogue.
		epilogue := fused
		if fused != nil && !slices.ContainsFunc(fused.Code, func(in kernel.Instr) bool {
			return in.Kind == kernel.Load && fused.Parts[0].Args[in.Arg].Slot == f.slot(g.lib.node)
		}) {
			epilogue = nil
		}
		if s := f.library(g, epilogue); s != nil {
			steps = append(steps, s)
		}
		if epilogue != nil {
			return steps
		}
	}
	if fused != nil {
		steps = append(steps, fused)
	}
	return steps
}

// fused writes the code that computes and stores the roots. Where a view does not
// fit the axes of the space, the axes are split and the code is written anew.
func (f *fuser) fused(g *group, roots []*item) *kernel.Fused {
	s := g.space()
	for {
		e := &emitter{f: f, group: g, space: s, memo: make(map[string]int)}
		split, bad := attempt(func() { e.roots(roots) })
		switch {
		case split != nil:
			s.split(*split)
		case bad != nil:
			panic(notAffine{bad})
		default:
			return e.finish()
		}
	}
}

// roots computes all values that leave the kernel and then stores them, so that
// everything is read before anything is overwritten.
func (e *emitter) roots(roots []*item) {
	type store struct {
		value int
		arg   kernel.Arg
	}
	var stores []store
	for _, it := range roots {
		n, at := it.node, e.place(it)
		var v int
		switch it.kind {
		case fill:
			v = e.literal(n.DType, n.Attr.(ir.Padding).Value)
		case region:
			x := n.In[it.part]
			v = e.value(x, at)
			at = e.compose(x, at, regionOf(n, it.part))
		case move:
			v = e.value(n.In[0], at)
		default:
			v = e.value(n, at)
		}
		if !it.outer {
			v = e.spread(v)
		}
		slots := e.f.assignedBy[n]
		if it.kept {
			slots = append([]int{e.f.slot(n)}, slots...)
		}
		for _, slot := range slots {
			stores = append(stores, store{v, kernel.Arg{Slot: slot, DType: n.DType, Offset: at.off, Stride: at.coef}})
		}
	}
	for _, s := range stores {
		e.code = append(e.code, kernel.Instr{Kind: kernel.Store, DType: s.arg.DType, X: [3]int{s.value}, Arg: e.arg(s.arg), Inner: e.code[s.value].Inner})
	}
}

// regionOf is where operand part of a Pad or Concatenate lies in the result.
func regionOf(n *ir.Node, part int) layout {
	st := shape.Strides(n.Shape)
	off := 0
	switch a := n.Attr.(type) {
	case ir.Padding:
		for i := range st {
			off += st[i] * a.Low[i]
			st[i] *= a.Interior[i] + 1
		}
	case ir.Axis:
		for _, x := range n.In[:part] {
			off += st[a.Axis] * x.Shape[a.Axis]
		}
	}
	return merged(n.In[part].Shape, st, off)
}

// value gives the number of the instruction that computes the element of n that a
// names, writing the instruction if it is not there yet.
func (e *emitter) value(n *ir.Node, a access) int {
	for n.Op.Class() == ir.ClassView {
		if n.Elements() == 1 { // whatever the point is
			a = access{coef: make([]int, len(e.extent))}
		}
		a = e.through(n, a)
		n = n.In[0]
	}
	if n.Elements() == 1 {
		a = access{coef: make([]int, len(e.extent))}
	}
	k := e.memoKey(n, a)
	if v, ok := e.memo[k]; ok {
		return v
	}
	v := e.compute(n, a)
	e.memo[k] = v
	return v
}

func (e *emitter) memoKey(n *ir.Node, a access) string {
	k := binary.AppendVarint(e.key[:0], int64(e.f.number[n]))
	k = binary.AppendVarint(k, int64(a.off))
	for i, c := range a.coef {
		if e.extent[i] == 1 {
			c = 0
		}
		k = binary.AppendVarint(k, int64(c))
	}
	e.key = k
	return string(k)
}

func (e *emitter) compute(n *ir.Node, a access) int {
	if n.Op == ir.Const {
		return e.literal(n.DType, n.Attr.(ir.Literal).Bits)
	}
	var it *item
	if items := e.f.of[n]; len(items) == 1 {
		it = items[0]
	}
	here := it != nil && it.group == e.group && it.kind != library && slices.Equal(e.form(a), e.form(e.place(it)))
	switch {
	case here && it.kind == reduce:
		x := e.spread(e.value(n.In[0], e.full()))
		return e.push(kernel.Instr{Kind: kernel.Reduce, Op: n.Op, DType: n.DType, X: [3]int{x}})
	case here, e.f.free[n], it != nil && it.kind == compute && !it.kept:
		return e.apply(n, a)
	}
	return e.load(kernel.Arg{Slot: e.f.slot(n), DType: n.DType, Offset: a.off, Stride: a.coef})
}

// place is the access at which the group has an item's value.
func (e *emitter) place(it *item) access {
	if it.outer {
		return e.outer()
	}
	return e.full()
}

func (e *emitter) apply(n *ir.Node, a access) int {
	switch n.Op {
	case ir.Iota:
		axis := n.Attr.(ir.Axis).Axis
		_, rest := n.Shape[:axis], n.Shape[axis+1:]
		digits, coefs := e.coordinates(n, a, []int{shape.Elements(n.Shape[:axis]), n.Shape[axis], shape.Elements(rest)})
		return e.convert(e.index(access{digits[1], coefs[1]}), n.DType)
	case ir.RNGBits:
		in := kernel.Instr{Kind: kernel.Apply, Op: n.Op, DType: n.DType, RNG: n.Attr.(ir.RNG)}
		in.X[0] = e.index(a)
		in.X[1] = e.value(n.In[0], access{coef: make([]int, len(e.extent))})
		in.Inner = e.code[in.X[0]].Inner
		return e.push(in)
	}
	in := kernel.Instr{Kind: kernel.Apply, Op: n.Op, DType: n.DType}
	for i, x := range n.In {
		in.X[i] = e.value(x, a)
		in.Inner = in.Inner || e.code[in.X[i]].Inner
	}
	return e.push(in)
}

func (e *emitter) push(in kernel.Instr) int {
	e.code = append(e.code, in)
	return len(e.code) - 1
}

func (e *emitter) literal(d dtype.DType, bits uint64) int {
	return e.push(kernel.Instr{Kind: kernel.Imm, DType: d, Bits: bits})
}

func (e *emitter) load(a kernel.Arg) int {
	return e.push(kernel.Instr{Kind: kernel.Load, DType: a.DType, Arg: e.arg(a), Inner: e.inner(a.Stride)})
}

// index is an affine function of the point as a value of type int64.
func (e *emitter) index(a access) int {
	arg := kernel.Arg{Slot: -1, DType: dtype.Int64, Offset: a.off, Stride: a.coef}
	return e.push(kernel.Instr{Kind: kernel.Index, DType: dtype.Int64, Arg: e.arg(arg), Inner: e.inner(a.coef)})
}

func (e *emitter) convert(x int, d dtype.DType) int {
	if e.code[x].DType == d {
		return x
	}
	return e.push(kernel.Instr{Kind: kernel.Apply, Op: ir.Convert, DType: d, X: [3]int{x}, Inner: e.code[x].Inner})
}

func (e *emitter) arg(a kernel.Arg) int {
	for i, b := range e.args {
		if a.Slot == b.Slot && a.DType == b.DType && a.Offset == b.Offset && slices.Equal(a.Stride, b.Stride) {
			return i
		}
	}
	e.args = append(e.args, a)
	return len(e.args) - 1
}

func (e *emitter) inner(stride []int) bool {
	for k, s := range stride {
		if s != 0 && e.reduced[k] {
			return true
		}
	}
	return false
}

// spread makes a value that is the same at all inner points of a kernel with
// reductions vary along them by name, as stores of and reductions over inner values
// want it: the choice between it and itself by a comparison of the coordinates.
func (e *emitter) spread(x int) int {
	k := slices.Index(e.reduced, true)
	if k < 0 || e.code[x].Inner {
		return x
	}
	a := access{coef: make([]int, len(e.extent))}
	a.coef[k] = 1
	i := e.index(a)
	c := e.push(kernel.Instr{Kind: kernel.Apply, Op: ir.Eq, DType: dtype.Bool, X: [3]int{i, i}, Inner: true})
	return e.push(kernel.Instr{Kind: kernel.Apply, Op: ir.Select, DType: e.code[x].DType, X: [3]int{c, x, x}, Inner: true})
}

// finish merges the axes that all arguments walk as one and puts the reduced ones
// last.
func (e *emitter) finish() *kernel.Fused {
	for i := range e.args {
		e.args[i].Stride = slices.Clone(e.args[i].Stride)
	}
	part := kernel.Part{Args: e.args, Site: e.group.site()}
	if e.group.lib != nil {
		// The routine runs an epilogue for blocks of its result, so the axes stay.
		part.Outer = e.extent
		return &kernel.Fused{Name: e.name(), Code: e.code, Parts: []kernel.Part{part}}
	}
	for k := len(e.extent) - 1; k > 0; k-- {
		same := e.reduced[k-1] == e.reduced[k]
		for _, a := range e.args {
			same = same && (a.Stride[k-1] == e.extent[k]*a.Stride[k] || e.extent[k-1] == 1)
		}
		if same {
			e.extent[k-1] *= e.extent[k]
			for i := range e.args {
				e.args[i].Stride[k-1] = e.args[i].Stride[k]
			}
			e.drop(k)
		} else if e.extent[k] == 1 && !e.reduced[k] {
			e.drop(k)
		}
	}
	if len(e.extent) > 0 && e.extent[0] == 1 && !e.reduced[0] {
		e.drop(0)
	}
	var axes []int
	for _, red := range []bool{false, true} {
		for k, r := range e.reduced {
			if r != red {
				continue
			}
			axes = append(axes, k)
			if red {
				part.Inner = append(part.Inner, e.extent[k])
			} else {
				part.Outer = append(part.Outer, e.extent[k])
			}
		}
	}
	for i := range part.Args {
		stride := make([]int, len(axes))
		for j, k := range axes {
			stride[j] = part.Args[i].Stride[k]
		}
		part.Args[i].Stride = stride
	}
	return &kernel.Fused{Name: e.name(), Code: e.code, Parts: []kernel.Part{part}}
}

func (e *emitter) drop(k int) {
	e.extent = slices.Delete(e.extent, k, k+1)
	e.reduced = slices.Delete(e.reduced, k, k+1)
	for i := range e.args {
		e.args[i].Stride = slices.Delete(e.args[i].Stride, k, k+1)
	}
}

// name lists the operations of the code, for people.
func (e *emitter) name() string {
	var ops []string
	for _, in := range e.code {
		switch in.Kind {
		case kernel.Apply, kernel.Reduce:
			if s := in.Op.String(); in.Op != ir.Convert && (len(ops) == 0 || ops[len(ops)-1] != s) {
				ops = append(ops, s)
			}
		}
	}
	switch {
	case len(ops) == 0:
		return "copy"
	case len(ops) > 8:
		ops = append(ops[:7], "…", ops[len(ops)-1])
	}
	return strings.Join(ops, "+")
}

// library writes the step of a library operation with its epilogue.
func (f *fuser) library(g *group, epilogue *kernel.Fused) kernel.Step {
	n := g.lib.node
	l := &kernel.Library{Name: n.Op.String(), Op: n.Op, Attr: n.Attr, Epilogue: epilogue, Scratch: -1, Site: n.Site()}
	if epilogue != nil {
		l.Name += "+" + epilogue.Name
	}
	for _, x := range n.In {
		src := source(x)
		o := kernel.Operand{Slot: f.slot(src), DType: x.DType, Shape: x.Shape, Stride: shape.Strides(x.Shape)}
		switch {
		case takesStrides(n):
			o.Offset, o.Stride, _ = strides(n, x)
		case n.Op == ir.Scan:
			o.Offset, _ = begin(x)
		}
		l.In = append(l.In, o)
	}
	out := func(m *ir.Node, slot int) {
		l.Out = append(l.Out, kernel.Operand{Slot: slot, DType: m.DType, Shape: m.Shape, Stride: shape.Strides(m.Shape)})
	}
	empty := true
	switch a := n.Attr.(type) {
	case *ir.Loop:
		for i := range a.Results() {
			var m ir.Node
			m.DType, m.Shape = a.Result(i)
			empty = empty && (m.Elements() == 0 || i >= len(a.Body.Outputs))
			out(&m, f.resultSlot(n, i))
		}
	case *ir.Region:
		l.Name = a.Name
		for i, o := range a.Outs {
			empty = empty && o.Elements() == 0
			out(o, f.resultSlot(n, i))
		}
	default:
		empty = n.Elements() == 0
		out(n, f.slot(n))
		if n.Op == ir.DotGeneral {
			l.Attr = nil
		}
	}
	if empty {
		return nil
	}
	return l
}

// resultSlot is the slot of a result of an operation with several, or -1 if it is
// not used.
func (f *fuser) resultSlot(n *ir.Node, i int) int {
	for _, r := range f.nodes {
		if r.Op == ir.Result && r.In[0] == n && r.Attr.(ir.Number).N == i {
			return f.slot(r)
		}
	}
	return -1
}
