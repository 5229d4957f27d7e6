package indexing

import (
	"fmt"
	"strings"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// windows is a window operation over three spatial axes; those that are missing are of
// extent one, before the others.
type windows struct {
	planes                      int
	x, y                        [3]int // extents
	size, stride, low, dilation [3]int
}

func newWindows(x, y *kernel.Operand, a ir.Window) (w windows, err error) {
	n := len(a.Size)
	if n < 1 || n > 3 {
		return w, fmt.Errorf("windows over %d spatial axes; 1 to 3 are supported", n)
	}
	w.planes = product(x.Shape[:2])
	for i := range 3 {
		w.x[i], w.y[i], w.size[i], w.stride[i], w.dilation[i] = 1, 1, 1, 1, 1
		if j := i - (3 - n); j >= 0 {
			w.x[i], w.y[i] = x.Shape[j+2], y.Shape[j+2]
			w.size[i], w.stride[i], w.low[i], w.dilation[i] = a.Size[j], a.Stride[j], a.Low[j], a.Dilation[j]
		}
	}
	return w, nil
}

// constants are what all kernels here begin with. Extents are in the text, other than
// elsewhere in the package: a program has few layers with windows, loops over windows of a
// known size are written out, and a division by a constant is a product. The number of
// planes, and with it the batch, is an argument.
func (w *windows) constants() string {
	text := "const u32 "
	for i, a := range [][3]int{w.x, w.y, w.size, w.stride, w.low, w.dilation} {
		for j, n := range a {
			text += fmt.Sprintf("%c%d = %d, ", "XYWSLD"[i], j, uint32(n))
		}
	}
	return strings.TrimSuffix(text, ", ") + ";"
}

// window has a thread for each element of the result, which visits the places of its
// window, in order. Those outside, if they lie before the beginning, are large numbers
// without a sign.
func (w *lowering) window() error {
	in, out := &w.In[0], &w.Out[0]
	at, err := newWindows(in, out, w.Attr.(ir.Window))
	if err != nil {
		return err
	}
	v := vars{}
	switch w.Op {
	case ir.ReduceWindowSum:
		t, err := numberOf(in.DType, w.target)
		if err != nil {
			return err
		}
		v["T"], v["R"], v["name"] = t.storage, t.storage, "window_sum_"+in.DType.String()
		v["begin"] = t.sum + " sum = 0;"
		v["visit"] = "sum += " + t.load("plane", "place") + ";"
		v["end"] = t.store("y", "at", "sum") + ";"
	case ir.ReduceWindowMax:
		k := keyOf(in.DType)
		w.extremes(v, k)
		v["R"], v["name"] = k.raw, "window_max_"+in.DType.String()
		v["end"] = "y[at] = value;"
	case ir.ReduceWindowArgMax:
		w.places(v, in.DType)
	}
	w.visit(v, at, place(in), place(out))
	return nil
}

// extremes keeps the first of the largest elements and its place. A window that lies in
// the padding as a whole has the least element there is, at place 0.
func (w *lowering) extremes(v vars, k key) {
	v["T"] = k.raw
	v["begin"] = k.raw + " value = " + k.min + "; " + k.ctype() + " top = 0; i32 best = -1;"
	v["visit"] = k.raw + " e = plane[place]; " + k.ctype() + " k = " + k.of("e") + "; if (best < 0 || k > top) { best = (i32)place; top = k; value = e; }"
}

func (w *lowering) places(v vars, d dtype.DType) {
	w.extremes(v, keyOf(d))
	v["R"], v["name"] = "i32", "window_argmax_"+d.String()
	v["end"] = "y[at] = best < 0 ? 0 : best;"
}

func (w *lowering) visit(v vars, at windows, x, y codegen.Arg) {
	count := at.planes * product(at.y[:])
	v["constants"] = at.constants()
	w.launch(windowText, v, each(count), x, y, count)
}

var windowText = text{
	name:   "$name",
	params: "const $T *x, $R *y, $N count",
	body: `
	$constants
	$N at = ($N)GROUP(0) * 256 + LOCAL(0), row = at / Y2;
	if (at >= count) return;
	u32 o2 = (u32)(at % Y2) * S2 - L2, o1 = (u32)(row % Y1) * S1 - L1, o0 = (u32)(row / Y1 % Y0) * S0 - L0;
	GLOBAL const $T *plane = x + row / Y1 / Y0 * X0 * X1 * X2;
	$begin
	for (u32 k0 = 0; k0 < W0; k0++) {
		u32 x0 = o0 + k0 * D0;
		if (x0 >= X0) continue;
		for (u32 k1 = 0; k1 < W1; k1++) {
			u32 x1 = o1 + k1 * D1;
			if (x1 >= X1) continue;
			for (u32 k2 = 0; k2 < W2; k2++) {
				u32 x2 = o2 + k2 * D2;
				if (x2 >= X2) continue;
				$N place = (($N)x0 * X1 + x1) * X2 + x2;
				$visit
			}
		}
	}
	$end
`}

// windowMaxGrad finds the places of the maxima and then has a thread for each element of
// the operand add up, in order, the gradients of the windows that it is the maximum of.
func (w *lowering) windowMaxGrad() error {
	x, g, out := &w.In[0], &w.In[1], &w.Out[0]
	at, err := newWindows(x, g, w.Attr.(ir.Window))
	if err != nil {
		return err
	}
	t, err := numberOf(x.DType, w.target)
	if err != nil {
		return err
	}
	found := w.take(g.Elements() * 4)
	v := vars{}
	w.places(v, x.DType)
	w.visit(v, at, place(x), found)
	count := at.planes * product(at.x[:])
	v = vars{"T": t.storage, "A": t.sum, "kind": x.DType.String(), "load": t.load("grads", "o"), "store": t.store("y", "at", "sum"), "constants": at.constants()}
	w.launch(maxGradText, v, each(count), found, place(g), place(out), count)
	return nil
}

// Along an axis the windows that hold place p begin at multiples o of the stride with
// p = o·S − L + k·D for a k of the window.
var maxGradText = text{
	name:   "window_maxgrad_$kind",
	params: "const i32 *found, const $T *g, $T *y, $N count",
	body: `
	$constants
	$N at = ($N)GROUP(0) * 256 + LOCAL(0), row = at / X2, plane = row / X1 / X0;
	if (at >= count) return;
	GLOBAL const i32 *places = found + plane * Y0 * Y1 * Y2;
	GLOBAL const $T *grads = g + plane * Y0 * Y1 * Y2;
	i32 place = (i32)(at - plane * X0 * X1 * X2);
	u32 x2 = (u32)(at % X2) + L2, x1 = (u32)(row % X1) + L1, x0 = (u32)(row / X1 % X0) + L0;
	u32 s2 = (W2 - 1) * D2, s1 = (W1 - 1) * D1, s0 = (W0 - 1) * D0;
	$A sum = 0;
	for (u32 o0 = x0 > s0 ? (x0 - s0 + S0 - 1) / S0 : 0u; o0 < Y0 && o0 * S0 <= x0; o0++) {
		if ((x0 - o0 * S0) % D0 != 0) continue;
		for (u32 o1 = x1 > s1 ? (x1 - s1 + S1 - 1) / S1 : 0u; o1 < Y1 && o1 * S1 <= x1; o1++) {
			if ((x1 - o1 * S1) % D1 != 0) continue;
			for (u32 o2 = x2 > s2 ? (x2 - s2 + S2 - 1) / S2 : 0u; o2 < Y2 && o2 * S2 <= x2; o2++) {
				if ((x2 - o2 * S2) % D2 != 0) continue;
				$N o = (($N)o0 * Y1 + o1) * Y2 + o2;
				if (places[o] == place) sum += $load;
			}
		}
	}
	$store;
`}
