package ir

// Work is what computing a node's value takes, in floating-point operations. Products
// are those of matrix products and convolutions, two for each multiplication that is
// added up, as if padding were multiplied too. Elementwise is everything else that
// calculates, one operation for each element whatever it is: exp counts as much as add.
type Work struct{ Products, Elementwise int64 }

// Add adds up.
func (w *Work) Add(x Work) {
	w.Products += x.Products
	w.Elementwise += x.Elementwise
}

// Work is that of the node alone. Composites are to be replaced by their bodies before
// (Substitute); a Scan is its body, as often as it runs.
func (n *Node) Work() (w Work) {
	switch n.Op {
	case DotGeneral:
		k := 1
		for _, a := range n.Attr.(Dot).LeftContract {
			k *= n.In[0].Shape[a]
		}
		w.Products = 2 * int64(n.Elements()) * int64(k)
	case Conv:
		y, k := n, n.In[1]
		switch n.Attr.(ConvAttr).Dir {
		case InputGrad:
			y = n.In[0]
		case WeightGrad:
			y, k = n.In[1], n
		}
		w.Products = 2 * int64(y.Elements()) * int64(k.Elements()/max(1, k.Shape[0]))
	case Scan:
		l := n.Attr.(*Loop)
		for _, m := range l.Body.Nodes {
			w.Add(m.Work())
		}
		w.Products *= int64(l.Steps)
		w.Elementwise *= int64(l.Steps)
	case Iota, RNGBits, Convert, Bitcast, Select, Not:
	case CumSum:
		w.Elementwise = int64(n.Elements())
	case ReduceWindowSum, ReduceWindowMax, ReduceWindowArgMax:
		size := 1
		for _, e := range n.Attr.(Window).Size {
			size *= e
		}
		w.Elementwise = int64(n.Elements()) * int64(size)
	case ReduceWindowMaxGrad:
		w.Elementwise = int64(n.In[1].Elements())
	case ScatterAdd:
		if n.DType.IsFloat() {
			w.Elementwise = int64(n.In[2].Elements())
		}
	case ArgMax, ArgMin:
		w.Elementwise = int64(n.In[0].Elements())
	default:
		switch {
		case n.Op.Class() == ClassElementwise && n.In[0].DType.IsFloat():
			w.Elementwise = int64(n.Elements())
		case n.Op.Class() == ClassReduce && n.DType.IsFloat():
			w.Elementwise = int64(n.In[0].Elements())
		}
	}
	return w
}
