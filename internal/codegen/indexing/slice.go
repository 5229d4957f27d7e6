package indexing

import (
	"fmt"
	"strings"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// A box is a window of a tensor that begins where a vector on the device says. An axis
// that it spans joins the one before it, so that few axes are left and what is moved can
// be pieces of several elements.
type box struct {
	axes []boxAxis
	unit int // bytes of a piece; extents along the last axis are in pieces
}

type boxAxis struct {
	start       int // which element of the vector says where the box begins; -1: at 0
	shape, size int // extents of tensor and box, in rows
	rows        int // how many of these an element of the vector counts
}

// newBox is the box of the given size in a tensor of the given shape, whose pieces are
// moved between operands.
func newBox(shape, size []int, ops ...*kernel.Operand) *box {
	b := &box{}
	for i := range shape {
		if shape[i] == size[i] && len(b.axes) > 0 {
			a := &b.axes[len(b.axes)-1]
			a.shape, a.size, a.rows = a.shape*shape[i], a.size*size[i], a.rows*shape[i]
			continue
		}
		a := boxAxis{start: i, shape: shape[i], size: size[i], rows: 1}
		if shape[i] == size[i] {
			a.start = -1
		}
		b.axes = append(b.axes, a)
	}
	if len(b.axes) == 0 {
		b.axes = []boxAxis{{-1, 1, 1, 1}}
	}
	last := &b.axes[len(b.axes)-1]
	bytes := ops[0].DType.Size()
	row := last.rows * bytes
	if last.start < 0 {
		row = last.size * bytes
	}
	b.unit = unit(row, ops...)
	last.shape, last.size, last.rows = last.shape*bytes/b.unit, last.size*bytes/b.unit, last.rows*bytes/b.unit
	return b
}

// params declares an axis's numbers, args are they.
func (b *box) params() string {
	s := ""
	for i := range b.axes {
		s += fmt.Sprintf(", $N X%d, $N W%d, $N R%d", i, i, i)
	}
	return s
}

func (b *box) args() (list []any) {
	for _, a := range b.axes {
		list = append(list, a.shape, a.size, a.rows)
	}
	return list
}

// begins declares where the box begins along each axis, moved so that it lies inside.
func (b *box) begins() string {
	var s strings.Builder
	for i, a := range b.axes {
		if a.start < 0 {
			fmt.Fprintf(&s, "\t$N b%d = 0;\n", i)
			continue
		}
		fmt.Fprintf(&s, "\ti64 v%d = start[%d], m%d = (i64)((X%d - W%d) / R%d);\n", i, a.start, i, i, i, i)
		fmt.Fprintf(&s, "\t$N b%d = ($N)(v%d < 0 ? 0 : v%d > m%d ? m%d : v%d) * R%d;\n", i, i, i, i, i, i, i)
	}
	return s.String()
}

// dynamicSlice has a thread for each piece of the box.
func (w *lowering) dynamicSlice() error {
	data, start, out := &w.In[0], &w.In[1], &w.Out[0]
	b := newBox(data.Shape, out.Shape, data, out)
	count := out.Elements() * out.DType.Size() / b.unit
	var body strings.Builder
	body.WriteString(flat + b.begins() + "\t$N rest = at, from = 0, stride = 1;\n")
	for i := len(b.axes) - 1; i >= 0; i-- {
		fmt.Fprintf(&body, "\tfrom += (b%d + rest %% W%d) * stride;\n\trest /= W%d;\n\tstride *= X%d;\n", i, i, i, i)
	}
	body.WriteString("\ty[at] = x[from];\n")
	x := text{name: "dynamic_slice_$T", params: "const $T *x, const i64 *start, $T *y, $N count" + b.params(), body: body.String()}
	w.launch(x, vars{"T": unitType(b.unit)}, each(count), append([]any{place(data), nonempty(start, data), place(out), count}, b.args()...)...)
	return nil
}

// dynamicUpdate has a thread for each piece of the result, which is from the update if
// it lies in the box.
func (w *lowering) dynamicUpdate() error {
	data, update, start, out := &w.In[0], &w.In[1], &w.In[2], &w.Out[0]
	b := newBox(data.Shape, update.Shape, data, update, out)
	count := out.Elements() * out.DType.Size() / b.unit
	var body strings.Builder
	body.WriteString(flat + b.begins() + "\t$N rest = at, from = 0, stride = 1;\n\tu32 inside = 1;\n")
	for i := len(b.axes) - 1; i >= 0; i-- {
		fmt.Fprintf(&body, "\t{\n\t\t$N c = rest %% X%d - b%d;\n\t\tinside &= c < W%d;\n\t\tfrom += c * stride;\n\t\trest /= X%d;\n\t\tstride *= W%d;\n\t}\n", i, i, i, i, i)
	}
	body.WriteString("\tif (inside) y[at] = update[from];\n\telse y[at] = x[at];\n")
	x := text{name: "dynamic_update_$T", params: "const $T *x, const $T *update, const i64 *start, $T *y, $N count" + b.params(), body: body.String()}
	w.launch(x, vars{"T": unitType(b.unit)}, each(count), append([]any{place(data), nonempty(update, data), nonempty(start, data), place(out), count}, b.args()...)...)
	return nil
}

// flat numbers the pieces that the threads are for.
const flat = `
	$N at = ($N)GROUP(0) * 256 + LOCAL(0);
	if (at >= count) return;
`
