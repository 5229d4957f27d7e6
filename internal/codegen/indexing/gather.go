package indexing

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// indexed is the shape of a gather or scatter: data [b, p, d, q], indices [b, i], and
// the gather's result or the scatter's updates [b, p, i, q], where each letter stands for
// any number of axes.
type indexed struct{ b, p, d, i, q int }

func newIndexed(l *kernel.Library) (x indexed, err error) {
	at := l.Attr.(ir.Index)
	data, index := l.In[0].Shape, l.In[1].Shape
	x = indexed{product(data[:at.Batch]), product(data[at.Batch:at.Axis]), data[at.Axis], product(index[at.Batch:]), product(data[at.Axis+1:])}
	if x.d >= math.MaxUint32 || x.i >= math.MaxUint32 {
		return x, fmt.Errorf("axes of 2³² elements cannot be indexed")
	}
	return x, nil
}

// indexType is the type of the elements of an index tensor.
func indexType(o *kernel.Operand) string {
	if o.DType == dtype.Int32 {
		return "i32"
	}
	return "i64"
}

// unit is the widest piece, in bytes, in which rows of so many bytes can be moved
// between operands: their elements, or 16 bytes.
func unit(row int, ops ...*kernel.Operand) int {
	wide := row > 0 && row%16 == 0
	for _, o := range ops {
		wide = wide && o.Offset*o.DType.Size()%16 == 0
	}
	if wide {
		return 16
	}
	return ops[0].DType.Size()
}

// unitType is the type for a piece of so many bytes.
func unitType(bytes int) string {
	return map[int]string{1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "vec16"}[bytes]
}

// gather has a thread for each piece of the result.
func (w *lowering) gather() error {
	x, err := newIndexed(w.Library)
	if err != nil {
		return err
	}
	data, index, out := &w.In[0], &w.In[1], &w.Out[0]
	u := unit(x.q*data.DType.Size(), data, out)
	q := x.q * data.DType.Size() / u
	none := "none = 0;"
	if u == 16 {
		none = "none.x = none.y = none.z = none.w = 0;"
	}
	count := x.b * x.p * x.i * q
	w.launch(gatherText, vars{"T": unitType(u), "I": indexType(index), "none": none}, each(count),
		place(data), place(index), place(out), count, x.p, x.d, x.i, q)
	return nil
}

var gatherText = text{
	name:   "gather_${T}_$I",
	params: "const $T *data, const $I *index, $T *y, $N count, $N P, u32 D, $N I, $N Q",
	body: `
	$N at = ($N)GROUP(0) * 256 + LOCAL(0);
	if (at >= count) return;
	$N row = at / Q, plane = row / I;
	i64 d = index[plane / P * I + row % I];
	if (d >= 0 && d < (i64)D) {
		y[at] = data[(plane * D + ($N)d) * Q + at % Q];
	} else {
		$T none;
		$none
		y[at] = none;
	}
`}

// few is the largest number of indices, times elements of the result, for which every
// element of the result looks at all indices by itself.
const few = 1 << 18

// scatter writes every element of the result once: the element of the data, with what
// the updates of its place make of it. A few indices are looked through for them. Many
// are sorted beforehand, with their numbers; then the updates of a place are a run, and
// where each run begins is found by bisection.
func (w *lowering) scatter() error {
	x, err := newIndexed(w.Library)
	if err != nil {
		return err
	}
	data, index, updates, out := &w.In[0], &w.In[1], &w.In[2], &w.Out[0]
	v := vars{"I": indexType(index)}
	q := x.q
	if w.Op == ir.ScatterAdd {
		t, err := numberOf(data.DType, w.target)
		if err != nil {
			return err
		}
		v["kind"] = "scatteradd_" + data.DType.String()
		if u := unit(x.q*data.DType.Size(), data, updates, out); u == 16 && t.lane != nil {
			q = x.q * data.DType.Size() / u
			w.addVectors(v, &t)
		} else {
			w.addElements(v, &t)
		}
	} else {
		u := unit(x.q*data.DType.Size(), data, updates, out)
		q = x.q * data.DType.Size() / u
		name := unitType(u)
		v["kind"], v["T"] = "scatter_"+name, name
		v["begin"] = name + " value = data[at];"
		v["apply"] = "value = updates[from];"
		v["end"] = "y[at] = value;"
	}
	count := x.b * x.p * x.d * q
	if count == 0 {
		return nil
	}
	if x.i <= 4 || x.i*count <= few {
		w.launch(scatterFew, v, each(count), place(data), nonempty(index, data), nonempty(updates, data), place(out), count, x.p, x.d, x.i, q)
		return nil
	}
	keys, order := w.sortIndices(&x, index)
	begins := w.take(x.b * (x.d + 1) * 4)
	w.launch(runsOfIndices, vars{}, each(x.b*(x.d+1)), keys, begins, x.b*(x.d+1), x.d, x.i)
	if w.Op == ir.Scatter {
		w.launch(scatterLast, v, each(count), place(data), begins, order, place(updates), place(out), count, x.p, x.d, x.i, q)
	} else {
		w.launch(scatterRuns, v, each(count), place(data), begins, order, place(updates), place(out), count, x.p, x.d, x.i, q)
	}
	return nil
}

// addElements adds updates up one element at a time, addVectors 16 bytes at a time.
func (w *lowering) addElements(v vars, t *number) {
	v["T"] = t.storage
	v["begin"] = t.sum + " sum = " + t.load("data", "at") + ";"
	v["apply"] = "sum += " + t.load("updates", "from") + ";"
	v["end"] = t.store("y", "at", "sum") + ";"
	v["ahead"], v["several"] = "8", ""
	for i := range 8 {
		v["several"] += fmt.Sprintf("%s e%d = %s;\n\t\t", t.sum, i, t.load("updates", fmt.Sprintf("(plane * I + run[k + %d]) * Q + column", i)))
	}
	v["several"] += "sum = sum + e0 + e1 + e2 + e3 + e4 + e5 + e6 + e7;"
}

func (w *lowering) addVectors(v vars, t *number) {
	v["T"], v["kind"] = "vec16", v["kind"]+"_vec16"
	v["begin"] = "$T start = data[at];\n"
	v["apply"] = "$T e = updates[from];\n"
	v["ahead"], v["several"] = "4", ""
	for i := range 4 {
		v["several"] += fmt.Sprintf("$T e%d = updates[(plane * I + run[k + %d]) * Q + column];\n\t\t", i, i)
	}
	var sums []string
	for j, l := range t.lanes("start") {
		sum := fmt.Sprintf("sum%d", j)
		v["begin"] += fmt.Sprintf("\t%s %s = %s;\n", t.sum, sum, l)
		v["apply"] += fmt.Sprintf("\t\t%s += %s;\n", sum, t.lanes("e")[j])
		v["several"] += sum + " = " + sum
		for i := range 4 {
			v["several"] += " + " + t.lanes(fmt.Sprintf("e%d", i))[j]
		}
		v["several"] += ";\n\t\t"
		sums = append(sums, sum)
	}
	v["end"] = "$T result; " + t.pack("result", sums) + "y[at] = result;"
	for _, name := range []string{"begin", "apply", "end", "several"} {
		v[name] = expand(v[name], vars{"T": v["T"]})
	}
}

var scatterFew = text{
	name:   "${kind}_few_$I",
	params: "const $T *data, const $I *index, const $T *updates, $T *y, $N count, $N P, u32 D, $N I, $N Q",
	body: `
	$N at = ($N)GROUP(0) * 256 + LOCAL(0);
	if (at >= count) return;
	$N column = at % Q, row = at / Q, plane = row / D;
	$I d = ($I)(row % D);
	GLOBAL const $I *indices = index + plane / P * I;
	$begin
	for ($N i = 0; i < I; i++) {
		if (indices[i] == d) {
			$N from = (plane * I + i) * Q + column;
			$apply
		}
	}
	$end
`}

// sortIndices sorts the indices of each batch, those outside of the data last, and gives
// them with their numbers.
func (w *lowering) sortIndices(x *indexed, index *kernel.Operand) (keys, order codegen.Arg) {
	v := vars{"T": indexType(index), "K": "u32", "key": "(e >= 0 && e < (i64)D ? (u32)e : D)", "kind": "indices_" + indexType(index)}
	if x.i <= tile {
		keys, order = w.take(x.b*x.i*4), w.take(x.b*x.i*4)
		v["begin"] = "line * n"
		v["load"] = "i64 e = index[begin + i];\n\t\t\tk = $key;"
		v["store"] = "sorted[begin + i] = keys[s];\n\t\t\torder[begin + i] = places[s];"
		w.sortTiles(v, "const $T *index, u32 *sorted, u32 *order, u32 D", along{x.b, x.i, 1}, place(index), keys, order, x.d)
		return keys, order
	}
	r := w.newRadix(x.b, x.i, "u32")
	w.launch(keysOfIndices, v, each(x.b*x.i), place(index), r.keys, x.b*x.i, x.d)
	r.sort(bits.Len(uint(x.d)))
	return r.keys, r.places
}

var keysOfIndices = text{
	name:   "${kind}_keys",
	params: "const $T *index, u32 *keys, $N count, u32 D",
	body: `
	$N at = ($N)GROUP(0) * 256 + LOCAL(0);
	if (at >= count) return;
	i64 e = index[at];
	keys[at] = $key;
`}

// begins[d] is the number of indices of a batch that are smaller than d.
var runsOfIndices = text{
	name:   "index_runs",
	params: "const u32 *keys, u32 *begins, $N count, $N D, $N I",
	body: `
	$N at = ($N)GROUP(0) * 256 + LOCAL(0);
	if (at >= count) return;
	u32 d = (u32)(at % (D + 1));
	GLOBAL const u32 *line = keys + at / (D + 1) * I;
	u32 low = 0, high = (u32)I;
	while (low < high) {
		u32 middle = low + (high - low) / 2;
		if (line[middle] < d) low = middle + 1;
		else high = middle;
	}
	begins[at] = low;
`}

const ofRun = `
	$N at = ($N)GROUP(0) * 256 + LOCAL(0);
	if (at >= count) return;
	$N column = at % Q, row = at / Q, plane = row / D, batch = plane / P;
	GLOBAL const u32 *run = order + batch * I;
	$N s = batch * (D + 1) + row % D;
	u32 first = begins[s], last = begins[s + 1];
	$begin
`

var scatterLast = text{
	name:   "${kind}_last",
	params: "const $T *data, const u32 *begins, const u32 *order, const $T *updates, $T *y, $N count, $N P, $N D, $N I, $N Q",
	body: ofRun + `
	if (first < last) {
		$N from = (plane * I + run[last - 1]) * Q + column;
		$apply
	}
	$end
`}

// The updates are added one after the other, but several are read at a time.
var scatterRuns = text{
	name:   "${kind}_runs",
	params: "const $T *data, const u32 *begins, const u32 *order, const $T *updates, $T *y, $N count, $N P, $N D, $N I, $N Q",
	body: ofRun + `
	u32 k = first;
	for (; k + $ahead <= last; k += $ahead) {
		$several
	}
	for (; k < last; k++) {
		$N from = (plane * I + run[k]) * Q + column;
		$apply
	}
	$end
`}
