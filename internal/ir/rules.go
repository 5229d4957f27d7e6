package ir

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/shape"
)

// infer sets n's shape and type from its operands, or says what does not fit.
// Leaves come with both.
func infer(n *Node) error {
	if a := n.Op.Info().Arity; a >= 0 && n.Op.Class() != ClassLeaf && n.Op != Iota && len(n.In) != a {
		return fmt.Errorf("takes %d operands, got %d", a, len(n.In))
	}
	switch n.Op.Class() {
	case ClassElementwise:
		return inferElementwise(n)
	case ClassView, ClassStore:
		return inferLayout(n)
	case ClassReduce:
		n.DType = n.In[0].DType
		axes := n.Attr.(Axes).Axes
		n.Shape = shape.Without(n.In[0].Shape, axes)
		if n.Op != ReduceSum && n.Elements() > 0 && n.In[0].Elements() == 0 {
			return fmt.Errorf("shape %v has no element along axes %v to take an extremum of", n.In[0].Shape, axes)
		}
		return nil
	case ClassLibrary:
		return inferLibrary(n)
	}
	switch n.Op {
	case StopGradient, Barrier:
		if len(n.In) == 0 {
			return fmt.Errorf("takes an operand, got none")
		}
		n.DType, n.Shape = n.In[0].DType, n.In[0].Shape
	case Assign:
		v, x := n.In[0], n.In[1]
		if v.DType != x.DType || !slices.Equal(v.Shape, x.Shape) {
			return fmt.Errorf("a variable of %v%v cannot take a value of %v%v", v.DType, v.Shape, x.DType, x.Shape)
		}
		n.DType, n.Shape = x.DType, x.Shape
	case Result:
		i := n.Attr.(Number).N
		switch a := n.In[0].Attr.(type) {
		case *Region:
			n.DType, n.Shape = a.Outs[i].DType, a.Outs[i].Shape
		case *Loop:
			n.DType, n.Shape = a.Result(i)
		default:
			return fmt.Errorf("has no outputs to choose from")
		}
	}
	return nil
}

func inferElementwise(n *Node) error {
	switch n.Op {
	case Iota, RNGBits, Convert, Bitcast:
		// The constructor sets type and (for the first two) shape.
		if n.Op == Convert || n.Op == Bitcast {
			n.Shape = n.In[0].Shape
			if n.Op == Bitcast && n.DType.Size() != n.In[0].DType.Size() {
				return fmt.Errorf("%v and %v differ in size", n.In[0].DType, n.DType)
			}
		}
		return nil
	case Select:
		c, a, b := n.In[0], n.In[1], n.In[2]
		if c.DType != dtype.Bool {
			return fmt.Errorf("the condition is %v, not bool", c.DType)
		}
		if a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) || !slices.Equal(c.Shape, a.Shape) {
			return fmt.Errorf("operands %v%v, %v%v, %v%v differ", c.DType, c.Shape, a.DType, a.Shape, b.DType, b.Shape)
		}
		n.DType, n.Shape = a.DType, a.Shape
		return nil
	}
	a := n.In[0]
	n.DType, n.Shape = a.DType, a.Shape
	if len(n.In) == 2 {
		b := n.In[1]
		if a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) {
			return fmt.Errorf("operands %v%v and %v%v differ", a.DType, a.Shape, b.DType, b.Shape)
		}
	}
	d := a.DType
	switch n.Op {
	case Exp, Expm1, Log, Log1p, Sqrt, Rsqrt, Sin, Cos, Tanh, Logistic, Erf, Floor, Ceil, Round:
		if !d.IsFloat() {
			return fmt.Errorf("wants a floating-point tensor, got %v", d)
		}
	case Neg, Abs, Sign, Add, Sub, Mul, Div, Rem, Pow:
		if d == dtype.Bool {
			return fmt.Errorf("is not defined on bool; convert to an integer or floating-point type first")
		}
	case Not, And, Or, Xor:
		if d.IsFloat() {
			return fmt.Errorf("wants bool or integers, got %v", d)
		}
	case Shl, Shr:
		if !d.IsInt() {
			return fmt.Errorf("wants integers, got %v", d)
		}
	}
	if n.Op.IsCompare() {
		n.DType = dtype.Bool
	}
	return nil
}

func inferLayout(n *Node) error {
	x := n.In[0]
	n.DType = x.DType
	r := len(x.Shape)
	switch a := n.Attr.(type) {
	case Axes:
		switch n.Op {
		case Transpose:
			if err := shape.Permutation(a.Axes, r); err != nil {
				return err
			}
			n.Shape = make([]int, r)
			for i, p := range a.Axes {
				n.Shape[i] = x.Shape[p]
			}
		case Reverse:
			n.Shape = x.Shape
		case BroadcastInDim: // the constructor sets the shape
			if len(a.Axes) != r {
				return fmt.Errorf("%d axes given for a tensor of shape %v", len(a.Axes), x.Shape)
			}
			last := -1
			for i, p := range a.Axes {
				if p <= last || p >= len(n.Shape) || x.Shape[i] != 1 && x.Shape[i] != n.Shape[p] {
					return fmt.Errorf("shape %v does not broadcast to %v along axes %v", x.Shape, n.Shape, a.Axes)
				}
				last = p
			}
		}
	case Range:
		n.Shape = make([]int, r)
		for i, d := range x.Shape {
			if a.Start[i] < 0 || a.Limit[i] > d || a.Start[i] > a.Limit[i] || a.Step[i] < 1 {
				return fmt.Errorf("[%d:%d:%d] does not lie in axis %d of shape %v", a.Start[i], a.Limit[i], a.Step[i], i, x.Shape)
			}
			n.Shape[i] = (a.Limit[i] - a.Start[i] + a.Step[i] - 1) / a.Step[i]
		}
	case Padding:
		n.Shape = make([]int, r)
		for i, d := range x.Shape {
			if a.Low[i] < 0 || a.High[i] < 0 || a.Interior[i] < 0 {
				return fmt.Errorf("negative padding at axis %d", i)
			}
			n.Shape[i] = a.Low[i] + a.High[i] + d + max(d-1, 0)*a.Interior[i]
		}
	case Axis: // Concatenate
		n.Shape = slices.Clone(x.Shape)
		n.Shape[a.Axis] = 0
		for _, y := range n.In {
			ok := y.DType == x.DType && len(y.Shape) == r
			for i := range y.Shape {
				ok = ok && (i == a.Axis || y.Shape[i] == x.Shape[i])
			}
			if !ok {
				return fmt.Errorf("%v%v and %v%v differ in more than axis %d", x.DType, x.Shape, y.DType, y.Shape, a.Axis)
			}
			n.Shape[a.Axis] += y.Shape[a.Axis]
		}
	case nil: // Reshape: the constructor sets the shape
		if shape.Elements(n.Shape) != x.Elements() {
			return fmt.Errorf("shape %v has %d elements, %v has %d", x.Shape, x.Elements(), n.Shape, shape.Elements(n.Shape))
		}
	}
	return nil
}

func inferLibrary(n *Node) error {
	if n.Op == Scan { // checked by NewScan; the shape is in its results
		return nil
	}
	x := n.In[0]
	n.DType, n.Shape = x.DType, x.Shape
	r := len(x.Shape)
	switch a := n.Attr.(type) {
	case Axis: // ArgMax, ArgMin
		if x.Shape[a.Axis] == 0 {
			return fmt.Errorf("axis %d of shape %v is empty", a.Axis, x.Shape)
		}
		n.DType = dtype.Int64
		n.Shape = shape.Without(x.Shape, []int{a.Axis})
	case Order:
		n.DType = dtype.Int64
	case Window:
		k := len(a.Size)
		if r != k+2 {
			return fmt.Errorf("a window over %d axes wants a tensor [N, C, %d spatial axes], got %v", k, k, x.Shape)
		}
		n.Shape = slices.Clone(x.Shape)
		for i := range k {
			d, err := shape.Window(x.Shape[i+2], a.Size[i], a.Stride[i], a.Low[i], a.High[i], a.Dilation[i])
			if err != nil {
				return fmt.Errorf("axis %d of %v: %w", i+2, x.Shape, err)
			}
			n.Shape[i+2] = d
		}
		switch n.Op {
		case ReduceWindowArgMax:
			n.DType = dtype.Int32
		case ReduceWindowMaxGrad:
			if g := n.In[1]; g.DType != x.DType || !slices.Equal(g.Shape, n.Shape) {
				return fmt.Errorf("cotangent %v%v does not fit: the maxima of %v%v are %v", g.DType, g.Shape, x.DType, x.Shape, n.Shape)
			}
			n.Shape = x.Shape
		}
	case Index:
		idx := n.In[1]
		if idx.DType != dtype.Int64 && idx.DType != dtype.Int32 {
			return fmt.Errorf("the indices are %v; int64 or int32 is wanted", idx.DType)
		}
		if a.Batch > a.Axis || a.Axis >= r || len(idx.Shape) < a.Batch || !slices.Equal(idx.Shape[:a.Batch], x.Shape[:a.Batch]) {
			return fmt.Errorf("indices %v do not fit data %v at axis %d with %d batch axes", idx.Shape, x.Shape, a.Axis, a.Batch)
		}
		g := slices.Clone(x.Shape[:a.Axis])
		g = append(g, idx.Shape[a.Batch:]...)
		g = append(g, x.Shape[a.Axis+1:]...)
		if n.Op == Gather {
			n.Shape = g
		} else if u := n.In[2]; u.DType != x.DType || !slices.Equal(u.Shape, g) {
			return fmt.Errorf("updates %v%v do not fit: data %v%v with indices %v at axis %d want %v%v", u.DType, u.Shape, x.DType, x.Shape, idx.Shape, a.Axis, x.DType, g)
		}
	case Extent:
		if len(a.Size) != r || n.In[1].DType != dtype.Int64 || !slices.Equal(n.In[1].Shape, []int{r}) {
			return fmt.Errorf("wants %d sizes and an int64 start vector of that length", r)
		}
		for i, d := range a.Size {
			if d < 0 || d > x.Shape[i] {
				return fmt.Errorf("window %v does not fit in %v", a.Size, x.Shape)
			}
		}
		n.Shape = a.Size
	case Dot:
		return inferDot(n, a)
	case ConvAttr:
		return inferConv(n, a)
	case nil: // DynamicUpdateSlice
		u, s := n.In[1], n.In[2]
		if u.DType != x.DType || len(u.Shape) != r || s.DType != dtype.Int64 || !slices.Equal(s.Shape, []int{r}) {
			return fmt.Errorf("update %v%v with start %v%v does not fit %v%v", u.DType, u.Shape, s.DType, s.Shape, x.DType, x.Shape)
		}
		for i, d := range u.Shape {
			if d > x.Shape[i] {
				return fmt.Errorf("update %v does not fit in %v", u.Shape, x.Shape)
			}
		}
	}
	return nil
}

func inferDot(n *Node, a Dot) error {
	l, r := n.In[0], n.In[1]
	if l.DType != r.DType {
		return fmt.Errorf("operands are %v and %v", l.DType, r.DType)
	}
	for i, x := range a.LeftBatch {
		if y := a.RightBatch[i]; l.Shape[x] != r.Shape[y] {
			return fmt.Errorf("batch extents %d and %d of %v and %v differ", l.Shape[x], r.Shape[y], l.Shape, r.Shape)
		}
	}
	for i, x := range a.LeftContract {
		if y := a.RightContract[i]; l.Shape[x] != r.Shape[y] {
			return fmt.Errorf("inner extents %d and %d of %v and %v differ", l.Shape[x], r.Shape[y], l.Shape, r.Shape)
		}
	}
	if err := wider(n, a.Result); err != nil {
		return err
	}
	n.Shape = nil
	for _, x := range a.LeftBatch {
		n.Shape = append(n.Shape, l.Shape[x])
	}
	for _, i := range a.Free(len(l.Shape), true) {
		n.Shape = append(n.Shape, l.Shape[i])
	}
	for _, i := range a.Free(len(r.Shape), false) {
		n.Shape = append(n.Shape, r.Shape[i])
	}
	return nil
}

// wider gives n, a contraction, the element type that its attribute asks for.
func wider(n *Node, result dtype.DType) error {
	if result == dtype.Invalid {
		return nil
	}
	if result != dtype.Float32 || n.DType.Compute() != result || n.DType == result {
		return fmt.Errorf("operands of %v cannot be asked for a result of %v", n.DType, result)
	}
	n.DType = result
	return nil
}

// Free lists the axes of the left or right operand, of the given rank, that are
// neither batch nor contracted.
func (a Dot) Free(rank int, left bool) []int {
	batch, contract := a.RightBatch, a.RightContract
	if left {
		batch, contract = a.LeftBatch, a.LeftContract
	}
	var free []int
	for i := range rank {
		if !slices.Contains(batch, i) && !slices.Contains(contract, i) {
			free = append(free, i)
		}
	}
	return free
}

func inferConv(n *Node, a ConvAttr) error {
	k := len(a.Stride)
	p, q := n.In[0], n.In[1]
	if p.DType != q.DType || !p.DType.IsFloat() {
		return fmt.Errorf("operands are %v and %v; one floating-point type is wanted", p.DType, q.DType)
	}
	if err := wider(n, a.Result); err != nil {
		return err
	}
	if len(p.Shape) != k+2 || len(q.Shape) != k+2 {
		return fmt.Errorf("operands %v and %v want %d spatial axes each", p.Shape, q.Shape, k)
	}
	if a.Groups < 1 {
		return fmt.Errorf("groups is %d", a.Groups)
	}
	var x, w, y []int
	switch a.Dir {
	case Forward:
		x, w = p.Shape, q.Shape
		y = append([]int{x[0], w[0]}, x[2:]...)
	case InputGrad:
		y, w = p.Shape, q.Shape
		x = append([]int{y[0], w[1] * a.Groups}, a.Size...)
	case WeightGrad:
		x, y = p.Shape, q.Shape
		w = append([]int{y[1], x[1] / a.Groups}, a.Size...)
	}
	if x[1] != w[1]*a.Groups {
		return fmt.Errorf("%d input channels in %v, but the weights %v with %d groups take %d", x[1], x, w, a.Groups, w[1]*a.Groups)
	}
	if w[0]%a.Groups != 0 || y[1] != w[0] {
		return fmt.Errorf("%d output channels of weights %v do not fit %d groups and result %v", w[0], w, a.Groups, y)
	}
	if x[0] != y[0] {
		return fmt.Errorf("batches of %v and %v differ", x, y)
	}
	for i := range k {
		d, err := shape.Window(x[i+2], w[i+2], a.Stride[i], a.Low[i], a.High[i], a.Dilation[i])
		if err != nil {
			return fmt.Errorf("spatial axis %d of input %v with weights %v: %w", i, x, w, err)
		}
		if a.Dir == Forward {
			y[i+2] = d
		} else if y[i+2] != d {
			return fmt.Errorf("spatial axis %d of result %v should be %d for input %v and weights %v", i, y, d, x, w)
		}
	}
	n.Shape = [...][]int{y, x, w}[a.Dir]
	return nil
}
