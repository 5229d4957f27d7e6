package null

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
)

// What a step says by itself: code, types and shapes. The rules of package ir are
// asked wherever there is one, by building the node that the step stands for.

// fused checks a kernel and records its accesses. It is the epilogue of the
// operation that writes result, if that is not nil.
func (v *verifier) fused(f *kernel.Fused, result *kernel.Operand) error {
	inner := false
	for i := range f.Code {
		if err := instruction(f, i); err != nil {
			return fmt.Errorf("instruction %d: %w", i, err)
		}
		inner = inner || f.Code[i].Inner
	}
	if len(f.Parts) == 0 {
		return errors.New("has no part")
	}
	for i := range f.Parts {
		part := &f.Parts[i]
		if inner != (part.Inner != nil) {
			return fmt.Errorf("part %d: inner axes %v, but inner values: %v", i, part.Inner, inner)
		}
		extent := slices.Concat(part.Outer, part.Inner)
		if err := shape.Check(extent); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
		if result != nil {
			a := access{what: "result", slot: result.Slot, write: true, result: true, group: i, extent: extent, stride: shape.Strides(extent), size: result.DType.Size()}
			if err := v.touch(a, result.Offset, false); err != nil {
				return err
			}
		}
		for j := range f.Code {
			if err := v.argument(f, i, j, extent, result); err != nil {
				return fmt.Errorf("part %d, instruction %d: %w", i, j, err)
			}
		}
	}
	return nil
}

// instruction checks types and which values vary along the inner axes.
func instruction(f *kernel.Fused, i int) error {
	in := &f.Code[i]
	if !slices.Contains(dtype.All(), in.DType) {
		return fmt.Errorf("its type is %v", in.DType)
	}
	if in.Kind == kernel.Apply && (in.Op.Class() != ir.ClassElementwise || in.Op == ir.Iota) || in.Kind == kernel.Reduce && in.Op.Class() != ir.ClassReduce {
		return fmt.Errorf("%v is no operation for it", in.Op)
	}
	var types []dtype.DType
	inner := false
	for _, x := range in.Operands() {
		if x < 0 || x >= i || f.Code[x].Kind == kernel.Store {
			return fmt.Errorf("reads instruction %d, which is no earlier value", x)
		}
		types = append(types, f.Code[x].DType)
		inner = inner || f.Code[x].Inner
	}
	want := in.DType
	switch in.Kind {
	case kernel.Load:
		inner = in.Inner
	case kernel.Imm:
	case kernel.Index:
		want, inner = dtype.Int64, in.Inner
	case kernel.Apply:
		n, err := infer(in.Op, in.DType, nil, types, make([][]int, len(types)))
		if err != nil {
			return err
		}
		want = n.DType
	case kernel.Reduce:
		if !inner {
			return fmt.Errorf("%v of a value that does not vary along the inner axes", in.Op)
		}
		want, inner = types[0], false
	case kernel.Store:
		want, inner = types[0], in.Inner
	default:
		return fmt.Errorf("kind %d", in.Kind)
	}
	if in.DType != want {
		return fmt.Errorf("its type is %v instead of %v", in.DType, want)
	}
	if in.Inner != inner {
		return fmt.Errorf("is marked inner: %v, but should be: %v", in.Inner, inner)
	}
	return nil
}

// argument checks and records what instruction j does in part i.
func (v *verifier) argument(f *kernel.Fused, i, j int, extent []int, result *kernel.Operand) error {
	in, part := &f.Code[j], &f.Parts[i]
	switch in.Kind {
	case kernel.Load, kernel.Index, kernel.Store:
	default:
		return nil
	}
	if in.Arg < 0 || in.Arg >= len(part.Args) {
		return fmt.Errorf("names argument %d of %d", in.Arg, len(part.Args))
	}
	arg := &part.Args[in.Arg]
	if len(arg.Stride) != len(extent) {
		return fmt.Errorf("argument %d has %d strides for %d axes", in.Arg, len(arg.Stride), len(extent))
	}
	inner := in.Inner
	if in.Kind == kernel.Store {
		inner = f.Code[in.X[0]].Inner
	}
	if !inner && slices.ContainsFunc(arg.Stride[len(part.Outer):], func(s int) bool { return s != 0 }) {
		return fmt.Errorf("argument %d varies along the inner axes, the value does not", in.Arg)
	}
	if in.Kind == kernel.Index {
		if arg.Slot != -1 {
			return fmt.Errorf("argument %d, an index, has slot %d", in.Arg, arg.Slot)
		}
		return nil
	}
	if arg.DType != in.DType {
		return fmt.Errorf("argument %d is %v, the value %v", in.Arg, arg.DType, in.DType)
	}
	a := access{
		what: fmt.Sprintf("argument %d of part %d", in.Arg, i), slot: arg.Slot, write: in.Kind == kernel.Store, group: i,
		extent: extent, stride: arg.Stride, size: arg.DType.Size(),
	}
	if !inner { // once for every outer point
		a.extent = slices.Clone(extent)
		for k := len(part.Outer); k < len(extent); k++ {
			a.extent[k] = 1
		}
	}
	return v.touch(a, arg.Offset, result != nil && arg.Slot == result.Slot)
}

// infer builds the node of an operation on operands of the given types and shapes.
// d is the type of those operations that leave it open.
func infer(op ir.Op, d dtype.DType, attr ir.Attr, types []dtype.DType, shapes [][]int) (n *ir.Node, err error) {
	// The rules panic with an error of their own where operands do not fit, and
	// with Go's where they take for granted what the root package has checked.
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *ir.BuildError:
			err = fmt.Errorf("%s: %s", r.Op, r.Reason)
		default:
			err = fmt.Errorf("%v: %v", op, r)
		}
	}()
	in := make([]*ir.Node, len(types))
	for i := range in {
		in[i] = ir.NewParam(i, types[i], shapes[i])
	}
	switch op {
	case ir.Convert:
		return ir.NewParam(0, d, shapes[0]), nil
	case ir.Bitcast:
		return ir.Cast(in[0], d), nil
	case ir.RNGBits:
		if types[0] != dtype.Int64 || types[1] != dtype.Int64 {
			return nil, fmt.Errorf("%v of an element %v and a step %v; both should be int64", op, types[0], types[1])
		}
		return ir.NewParam(0, dtype.Int32, shapes[0]), nil
	}
	return ir.New(op, attr, in...), nil
}

// library checks an operation and records what it touches.
func (v *verifier) library(l *kernel.Library) error {
	if l.Op.Class() != ir.ClassLibrary && l.Op != ir.Composite {
		return fmt.Errorf("%v is no library operation", l.Op)
	}
	for i := range l.In {
		if err := v.operand(fmt.Sprintf("operand %d", i), l, &l.In[i], false); err != nil {
			return err
		}
	}
	if err := v.results(l); err != nil {
		return err
	}
	if s := l.Scratch; s >= 0 {
		if s >= len(v.p.Slots) || v.p.Slots[s].Kind != kernel.Arena {
			return fmt.Errorf("its scratch memory is slot %d, which is not in the arena", s)
		}
		a := access{what: "scratch memory", slot: s, write: true, group: -1, size: 1, extent: []int{v.p.Slots[s].Bytes}, stride: []int{1}}
		if err := v.touch(a, 0, false); err != nil {
			return err
		}
	}
	for i := range l.Out {
		if (l.Op == ir.Scan || l.Op == ir.Composite) && l.Out[i].Slot == -1 {
			continue // nobody wants it
		}
		if l.Epilogue == nil || i > 0 {
			if err := v.operand(fmt.Sprintf("result %d", i), l, &l.Out[i], true); err != nil {
				return err
			}
		}
	}
	if l.Epilogue == nil {
		return nil
	}
	e, out := l.Epilogue, &l.Out[0]
	switch {
	case len(l.Out) != 1 || l.Op == ir.Scan:
		return errors.New("its epilogue has no single result to work on")
	case len(e.Parts) != 1 || e.Class() != kernel.ClassLoop:
		return fmt.Errorf("its epilogue is a %v of %d parts", e.Class(), len(e.Parts))
	case shape.Elements(e.Parts[0].Outer) != out.Elements():
		return fmt.Errorf("its epilogue runs over %v, its result is %v", e.Parts[0].Outer, out.Shape)
	case !slices.ContainsFunc(e.Code, func(in kernel.Instr) bool {
		args := e.Parts[0].Args
		return in.Kind == kernel.Load && in.Arg >= 0 && in.Arg < len(args) && args[in.Arg].Slot == out.Slot
	}):
		return errors.New("its epilogue does not read its result")
	}
	if err := v.fused(e, out); err != nil {
		return fmt.Errorf("epilogue: %w", err)
	}
	return nil
}

// operand checks and records an operand or result.
func (v *verifier) operand(what string, l *kernel.Library, o *kernel.Operand, write bool) error {
	if !slices.Contains(dtype.All(), o.DType) {
		return fmt.Errorf("%s is %v", what, o.DType)
	}
	if err := shape.Check(o.Shape); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(o.Stride) != len(o.Shape) {
		return fmt.Errorf("%s has %d strides for %d axes", what, len(o.Stride), len(o.Shape))
	}
	region, ok := l.Attr.(*ir.Region)
	strided := l.Op == ir.DotGeneral || ok && region.Strided
	if (write || !strided) && !o.Contiguous() && o.Elements() > 0 {
		return fmt.Errorf("%s %v with strides %v is not contiguous", what, o.Shape, o.Stride)
	}
	return v.touch(access{what: what, slot: o.Slot, write: write, group: -1, extent: o.Shape, stride: o.Stride, size: o.DType.Size()}, o.Offset, false)
}

// results checks the types and shapes of what an operation gives.
func (v *verifier) results(l *kernel.Library) error {
	switch l.Op {
	case ir.Scan:
		return scan(l)
	case ir.Composite:
		r, ok := l.Attr.(*ir.Region)
		if !ok || len(r.Outs) != len(l.Out) {
			return fmt.Errorf("%d results and attribute %T do not fit", len(l.Out), l.Attr)
		}
		for i, o := range r.Outs {
			if err := like(&l.Out[i], o.DType, o.Shape); err != nil {
				return err
			}
		}
		return nil
	}
	if len(l.Out) != 1 {
		return fmt.Errorf("has %d results", len(l.Out))
	}
	if !attributed(l.Op, l.Attr) {
		return fmt.Errorf("the attribute is a %T", l.Attr)
	}
	attr := l.Attr
	if l.Op == ir.DotGeneral {
		d := normalForm(len(l.Out[0].Shape))
		if l.Out[0].DType != l.In[0].DType {
			d.Result = l.Out[0].DType
		}
		attr = d
	}
	var types []dtype.DType
	var shapes [][]int
	for i := range l.In {
		types, shapes = append(types, l.In[i].DType), append(shapes, l.In[i].Shape)
		if l.Op == ir.DotGeneral && (len(l.In[i].Shape) != len(l.Out[0].Shape) || len(l.In[i].Shape) < 2) {
			return fmt.Errorf("operand %d is %v, the result %v: not in normal form", i, l.In[i].Shape, l.Out[0].Shape)
		}
	}
	n, err := infer(l.Op, 0, attr, types, shapes)
	if err != nil {
		return err
	}
	return like(&l.Out[0], n.DType, n.Shape)
}

func like(o *kernel.Operand, d dtype.DType, sh []int) error {
	if o.DType != d || !slices.Equal(o.Shape, sh) {
		return fmt.Errorf("the result is %v%v instead of %v%v", o.DType, o.Shape, d, sh)
	}
	return nil
}

// normalForm is the attribute of a matrix product [batch…, M, K] × [batch…, K, N].
func normalForm(rank int) ir.Dot {
	var batch []int
	for i := range rank - 2 {
		batch = append(batch, i)
	}
	return ir.Dot{LeftBatch: batch, RightBatch: batch, LeftContract: []int{rank - 1}, RightContract: []int{rank - 2}}
}

// attributed tells whether attr is of the kind that op takes.
func attributed(op ir.Op, attr ir.Attr) (ok bool) {
	switch op {
	case ir.ArgMax, ir.ArgMin:
		_, ok = attr.(ir.Axis)
	case ir.CumSum:
		_, ok = attr.(ir.Cumulate)
	case ir.Sort:
		_, ok = attr.(ir.Order)
	case ir.ReduceWindowSum, ir.ReduceWindowMax, ir.ReduceWindowArgMax, ir.ReduceWindowMaxGrad:
		_, ok = attr.(ir.Window)
	case ir.Gather, ir.Scatter, ir.ScatterAdd:
		_, ok = attr.(ir.Index)
	case ir.DynamicSlice:
		_, ok = attr.(ir.Extent)
	case ir.Conv:
		_, ok = attr.(ir.ConvAttr)
	case ir.DotGeneral, ir.DynamicUpdateSlice:
		ok = attr == nil
	}
	return ok
}

// scan checks that a body fits the operands of its scan, and the body.
func scan(l *kernel.Library) error {
	loop, ok := l.Attr.(*ir.Loop)
	if !ok || l.Body == nil {
		return fmt.Errorf("the attribute is a %T, the body %p", l.Attr, l.Body)
	}
	n := loop.Carries
	if len(l.In) != l.Body.Leaves || len(l.Out) != l.Body.Outputs && len(l.Out) != l.Body.Outputs+n || len(l.In) < n+loop.Inputs || len(l.Out) < n {
		return fmt.Errorf("%d operands and %d results for %d carries, %d sequences and a body with %d leaves and %d outputs",
			len(l.In), len(l.Out), n, loop.Inputs, l.Body.Leaves, l.Body.Outputs)
	}
	// size is the number of bytes of what the body sees of an operand, which is a
	// sequence of so many slices, or none if that is negative.
	size := func(o *kernel.Operand, slices int) (int, error) {
		b := o.Elements() * o.DType.Size()
		if slices < 0 {
			return b, nil
		}
		if len(o.Shape) == 0 || o.Shape[0] != slices {
			return 0, fmt.Errorf("a sequence is %v%v, the scan has %d steps", o.DType, o.Shape, loop.Steps)
		}
		return b / max(1, slices), nil
	}
	var leaves, outputs []int
	for i := range l.In {
		rows := -1
		if i >= n && i < n+loop.Inputs {
			rows = loop.Steps
		}
		b, err := size(&l.In[i], rows)
		if err != nil {
			return err
		}
		leaves = append(leaves, b)
	}
	for i := range l.Out {
		rows := -1
		switch {
		case i >= l.Body.Outputs: // a trail
			rows = loop.Steps + 1
		case i >= n:
			rows = loop.Steps
		}
		b, err := size(&l.Out[i], rows)
		if err != nil {
			return err
		}
		if rows > loop.Steps {
			c := &l.In[i-l.Body.Outputs]
			if err := like(&l.Out[i], c.DType, append([]int{rows}, c.Shape...)); err != nil {
				return fmt.Errorf("trail %d: %w", i-l.Body.Outputs, err)
			}
			continue
		}
		if i < n {
			if err := like(&l.Out[i], l.In[i].DType, l.In[i].Shape); err != nil {
				return fmt.Errorf("carry %d: %w", i, err)
			}
		}
		outputs = append(outputs, b)
	}
	if err := verify(l.Body, true); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if loop.Steps == 0 {
		return nil // the body sees nothing
	}
	for i := range l.Body.Slots {
		s := &l.Body.Slots[i]
		if s.Kind == kernel.Leaf && s.Bytes > leaves[s.Index] || s.Kind == kernel.Output && s.Bytes > outputs[s.Index] {
			return fmt.Errorf("body: slot %d has %d bytes, more than what it is bound to", i, s.Bytes)
		}
	}
	return nil
}
