package fuse

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// chain is a random chain of views of a tensor.
func chain(r *rand.Rand, length int) (x, v *ir.Node) {
	extents := func(most int) []int {
		sh := make([]int, r.IntN(most+1))
		for i := range sh {
			sh[i] = []int{1, 2, 3, 4, 6}[r.IntN(5)]
		}
		return sh
	}
	x = ir.NewInput(dtype.Int32, extents(4), new(ir.Storage))
	v = x
	for range length {
		n := len(v.Shape)
		switch r.IntN(5) {
		case 0: // into axes that a random factorization gives
			sh, rest := []int{}, v.Elements()
			for rest > 1 {
				d := 2
				for rest%d != 0 || r.IntN(3) == 0 && d < rest {
					d++
				}
				if rest%d == 0 {
					sh, rest = append(sh, d), rest/d
				}
			}
			if r.IntN(3) == 0 {
				sh = slices.Insert(sh, r.IntN(len(sh)+1), 1)
			}
			v = ir.ReshapeTo(v, sh)
		case 1:
			v = ir.Permute(v, r.Perm(n))
		case 2:
			var sh, axes []int
			for i := 0; i <= n; i++ {
				if r.IntN(4) == 0 {
					sh = append(sh, 1+r.IntN(3))
				}
				if i < n {
					axes = append(axes, len(sh))
					sh = append(sh, v.Shape[i])
					if v.Shape[i] == 1 && r.IntN(2) == 0 {
						sh[len(sh)-1] = 1 + r.IntN(4)
					}
				}
			}
			if shape.Elements(sh) <= 500 {
				v = ir.BroadcastTo(v, sh, axes)
			}
		case 3:
			start, limit, step := make([]int, n), slices.Clone(v.Shape), make([]int, n)
			for i, d := range v.Shape {
				step[i] = 1
				if r.IntN(2) == 0 {
					start[i] = r.IntN(d)
					limit[i] = start[i] + 1 + r.IntN(d-start[i])
					step[i] = 1 + r.IntN(3)
				}
			}
			v = ir.SliceOf(v, start, limit, step)
		case 4:
			if n > 0 {
				v = ir.New(ir.Reverse, ir.Axes{Axes: []int{r.IntN(n)}}, v)
			}
		}
	}
	return x, v
}

// elements applies the views one by one: which element of the source is each element
// of v?
func elements(v *ir.Node) []int {
	if v.Op.Class() != ir.ClassView {
		l := make([]int, v.Elements())
		for i := range l {
			l[i] = i
		}
		return l
	}
	below := elements(v.In[0])
	l := graphtest.ViewIndex(v)
	for i := range l {
		l[i] = below[l[i]]
	}
	return l
}

// walk lists off + Σ stride·point over the points, in row-major order.
func walk(off int, extent, stride []int) []int {
	l := []int{off}
	for i, e := range extent {
		var next []int
		for _, at := range l {
			for k := range e {
				next = append(next, at+k*stride[i])
			}
		}
		l = next
	}
	return l
}

// Wherever an access is found it names the elements that the views name, and equal
// accesses have equal forms.
func TestTraceAgainstViews(t *testing.T) {
	found, lost := 0, 0
	forms := make(map[string][]int)
	try := func(v *ir.Node) {
		want := elements(v)
		form := trace(v.Shape, v)
		if form == nil {
			lost++
			if v.In[0].Op == ir.Input {
				t.Fatalf("a single view is not affine: %v", ir.Collect([]*ir.Node{v}))
			}
			return
		}
		found++
		var extent, stride []int
		for i := 0; i < len(form)-1; i += 2 {
			extent, stride = append(extent, form[i]), append(stride, form[i+1])
		}
		if got := walk(form[len(form)-1], extent, stride); !slices.Equal(got, want) {
			t.Fatalf("%v\nform %v reads\n%v, want\n%v", ir.Collect([]*ir.Node{v}), form, got, want)
		}
		key := fmt.Sprint(want)
		if other, ok := forms[key]; ok && !slices.Equal(form, other) {
			t.Fatalf("%v: forms %v and %v of one access", want, form, other)
		}
		forms[key] = form
		if same := slices.Equal(want, walk(0, []int{len(want)}, []int{1})); same != slices.Equal(form, identity(len(want))) {
			t.Fatalf("form %v of %v", form, want)
		}
	}

	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		if _, v := chain(r, 1+r.IntN(5)); v.Op != ir.Input {
			try(v)
		}
	}
	// Views that cannot be told from a copy are few; the number only guards against
	// giving up.
	if found < 9*lost {
		t.Errorf("%d accesses found, %d not", found, lost)
	}

	// All pieces of a transposed matrix laid out in a row, forward and backward: their
	// elements carry over from one axis of the matrix to the other.
	for _, sh := range [][]int{{2, 3}, {4, 3}, {3, 6}, {2, 2, 3}} {
		x := ir.NewInput(dtype.Int32, sh, new(ir.Storage))
		perm := []int{1, 0, 2}[:len(sh)]
		n := x.Elements()
		row := ir.ReshapeTo(ir.Permute(x, perm), []int{n})
		back := ir.New(ir.Reverse, ir.Axes{Axes: []int{0}}, row)
		for _, whole := range []*ir.Node{row, back} {
			for start := range n {
				for limit := start + 1; limit <= n; limit++ {
					for step := 1; step <= 4; step++ {
						try(ir.SliceOf(whole, []int{start}, []int{limit}, []int{step}))
					}
				}
			}
		}
	}
}

// The operands of a matrix product, and of a composite that takes strides, lie where
// strides says.
func TestStrides(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	found := 0
	for i := range 40000 {
		l := &ir.Node{Op: ir.DotGeneral}
		if i%2 == 1 {
			l = &ir.Node{Op: ir.Composite, Attr: &ir.Region{Strided: true}}
		}
		_, v := chain(r, 1+r.IntN(3))
		if len(v.Shape) < 2 {
			continue
		}
		off, stride, ok := strides(l, v)
		if !ok {
			continue
		}
		found++
		if got, want := walk(off, v.Shape, stride), elements(v); !slices.Equal(got, want) {
			t.Fatalf("%v\noffset %d, strides %v: %v, want %v", ir.Collect([]*ir.Node{v}), off, stride, got, want)
		}
		k, n := len(stride)-2, len(stride)-1
		dense := stride[n] == 1 || v.Shape[n] == 1 || l.Op == ir.DotGeneral && (stride[k] == 1 || v.Shape[k] == 1)
		if !dense || stride[k] < 0 || stride[n] < 0 {
			t.Fatalf("%v with strides %v was taken for an operand that %v can read", v.Shape, stride, l.Op)
		}
	}
	if found < 10000 {
		t.Errorf("only %d operands can be read where they lie", found)
	}
}

// Reads and writes of Pad and Concatenate name the region of the result.
func TestRegionOf(t *testing.T) {
	x := ir.NewInput(dtype.Int32, []int{2, 3}, new(ir.Storage))
	for _, c := range []struct {
		n    *ir.Node
		part int
		want []int
	}{
		{ir.New(ir.Pad, ir.Padding{Low: []int{1, 0}, High: []int{0, 1}, Interior: []int{1, 2}}, x), 0, []int{8, 11, 14, 24, 27, 30}},
		{ir.New(ir.Concatenate, ir.Axis{Axis: 0}, x, x), 1, []int{6, 7, 8, 9, 10, 11}},
		{ir.New(ir.Concatenate, ir.Axis{Axis: 1}, x, x, x), 1, []int{3, 4, 5, 12, 13, 14}},
	} {
		l := regionOf(c.n, c.part)
		if got := walk(l.off, l.extent, l.stride); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.n.Op, got, c.want)
		}
	}
}

// The access of a value that reductions leave runs over the other axes only.
func TestOuter(t *testing.T) {
	s := &space{extent: []int{2, 3, 4}, reduced: []bool{false, true, false}}
	a := s.outer()
	want := []int{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7}
	if got := walk(a.off, s.extent, a.coef); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	s.split(needSplit{axis: 2, inner: 2})
	if a = s.outer(); !slices.Equal(walk(a.off, s.extent, a.coef), want) {
		t.Errorf("after a split %v with %v", s.extent, a.coef)
	}
}
