package indexing

import (
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// along is a tensor seen as [outer, n, inner] around one axis.
type along struct{ outer, n, inner int }

func newAlong(shape []int, axis int) along {
	return along{product(shape[:axis]), shape[axis], product(shape[axis+1:])}
}

func (a along) lines() int { return a.outer * a.inner }

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// argExtreme finds the first of the largest keys of each line. Short lines, and those
// that lie side by side in large numbers, are a thread's each, others a group's; and
// where these are too few to keep the device busy, groups take parts of lines and what
// they find is compared once more.
func (w *lowering) argExtreme() error {
	in := &w.In[0]
	a := newAlong(in.Shape, w.Attr.(ir.Axis).Axis)
	k := keyOf(in.DType)
	v := vars{"T": k.raw, "K": k.ctype(), "kind": in.DType.String() + "_" + w.Op.String(), "key": k.of("e")}
	if w.Op == ir.ArgMin {
		v["key"] = k.smallest("e")
	}
	x, y := place(in), place(&w.Out[0])
	switch {
	case a.lines() == 0:
	case a.n < 32 || a.inner > 1 && a.lines() >= 4096:
		w.launch(extremeOfLine, v, each(a.lines()), x, y, a.lines(), a.n, a.inner)
	default:
		const part = 1 << 14
		parts := max(1, min((a.n+part-1)/part, 4*w.target.Units/a.lines()))
		per := (a.n + parts - 1) / parts
		if parts == 1 {
			w.launch(extremeOfPart, v, a.lines(), x, y, a.n, a.inner, 1, a.n)
			break
		}
		found := w.take(a.lines() * parts * 8)
		w.launch(extremeOfPart, v, a.lines()*parts, x, found, a.n, a.inner, parts, per)
		w.launch(extremeOfParts, v, each(a.lines()), x, found, y, a.lines(), a.n, a.inner, parts)
	}
	return nil
}

var extremeOfLine = text{
	name:   "${kind}_line",
	params: "const $T *x, i64 *y, $N lines, $N n, $N inner",
	body: `
	$N line = ($N)GROUP(0) * 256 + LOCAL(0);
	if (line >= lines) return;
	$N at = line / inner * n * inner + line % inner, best = 0;
	$T e = x[at];
	$K top = $key;
	for ($N i = 1; i < n; i++) {
		e = x[at + i * inner];
		$K k = $key;
		if (k > top) { top = k; best = i; }
	}
	y[line] = (i64)best;
`}

// Elements of a line from number part·per on are compared, first by threads whose
// elements lie apart, then in a tree. A thread without elements has n, which is behind
// all places, with the least of keys.
var extremeOfPart = text{
	name:   "${kind}_part",
	params: "const $T *x, i64 *y, $N n, $N inner, $N parts, $N per",
	body: `
	SHARED $K keys[256];
	SHARED $N places[256];
	u32 t = LOCAL(0);
	$N line = GROUP(0) / parts, from = GROUP(0) % parts * per;
	$N to = from + per < n ? from + per : n;
	$N at = line / inner * n * inner + line % inner, best = n;
	$K top = 0;
	for ($N i = from + t; i < to; i += 256) {
		$T e = x[at + i * inner];
		$K k = $key;
		if (k > top || best == n) { top = k; best = i; }
	}
	keys[t] = top;
	places[t] = best;
	for (u32 s = 128; s > 0; s >>= 1) {
		BARRIER();
		if (t < s && (keys[t + s] > keys[t] || keys[t + s] == keys[t] && places[t + s] < places[t])) {
			keys[t] = keys[t + s];
			places[t] = places[t + s];
		}
	}
	if (t == 0) y[GROUP(0)] = (i64)places[0];
`}

var extremeOfParts = text{
	name:   "${kind}_parts",
	params: "const $T *x, const i64 *found, i64 *y, $N lines, $N n, $N inner, $N parts",
	body: `
	$N line = ($N)GROUP(0) * 256 + LOCAL(0);
	if (line >= lines) return;
	$N at = line / inner * n * inner + line % inner, best = n;
	$K top = 0;
	for ($N i = 0; i < parts; i++) {
		$N place = ($N)found[line * parts + i];
		if (place >= n) continue;
		$T e = x[at + place * inner];
		$K k = $key;
		if (k > top || best == n) { top = k; best = place; }
	}
	y[line] = (i64)best;
`}

// cumSum has a thread for each line add up its elements, with the rounding errors of
// floats kept aside. Long lines, if they are few, are cut into pieces: their sums are
// computed, running sums of these as of any other tensor, and then each piece begins with
// the sum of all before it.
func (w *lowering) cumSum() error {
	at := w.Attr.(ir.Cumulate)
	in := &w.In[0]
	return w.cumulate(newAlong(in.Shape, at.Axis), at, in.DType, place(in), place(&w.Out[0]))
}

// piece is the length of the pieces that lines are cut into.
const piece = 64

func (w *lowering) cumulate(a along, at ir.Cumulate, d dtype.DType, x, y codegen.Arg) error {
	t, err := numberOf(d, w.target)
	if err != nil {
		return err
	}
	partial, err := numberOf(t.wide, w.target)
	if err != nil {
		return err
	}
	v := vars{
		"T": t.storage, "A": t.sum, "P": partial.storage, "kind": d.String(),
		"load": t.load("x", "at"), "store": t.store("y", "at", "value"), "start": t.start, "add": t.add, "value": t.value,
	}
	direction := 0
	if at.Reverse {
		direction = 1
	}
	exclusive := 0
	if at.Exclusive {
		exclusive = 1
	}
	if a.n <= 2*piece || a.lines() >= 64*w.target.Units {
		w.launch(runningSums, v, each(a.lines()), x, x, y, a.lines(), a.n, a.inner, 1, a.n, direction, exclusive, 0)
		return nil
	}
	pieces := (a.n + piece - 1) / piece
	sums := w.take(a.lines() * pieces * t.wide.Size())
	w.launch(sumsOfPieces, v, each(a.lines()*pieces), x, sums, a.lines()*pieces, a.n, a.inner, pieces, piece, direction)
	before := w.take(a.lines() * pieces * t.wide.Size())
	if err := w.cumulate(along{a.outer, pieces, a.inner}, ir.Cumulate{Exclusive: true}, t.wide, sums, before); err != nil {
		return err
	}
	w.launch(runningSums, v, each(a.lines()*pieces), x, before, y, a.lines()*pieces, a.n, a.inner, pieces, piece, direction, exclusive, 1)
	return nil
}

// Pieces are counted in the direction of the sum, and lie as [outer, pieces, inner].
const pieceOf = `
	$N i = ($N)GROUP(0) * 256 + LOCAL(0);
	if (i >= count) return;
	$N first = i / inner % pieces * per;
	$N last = first + per < n ? first + per : n;
	$N line = i / inner / pieces * n * inner + i % inner;
`

var sumsOfPieces = text{
	name:   "cumsum_pieces_$kind",
	params: "const $T *x, $P *sums, $N count, $N n, $N inner, $N pieces, $N per, u32 reverse",
	body: pieceOf + `
	$start
	for ($N k = first; k < last; k++) {
		$N at = line + (reverse ? n - 1 - k : k) * inner;
		$A e = $load;
		$add
	}
	sums[i] = $value;
`}

var runningSums = text{
	name:   "cumsum_$kind",
	params: "const $T *x, const $P *before, $T *y, $N count, $N n, $N inner, $N pieces, $N per, u32 reverse, u32 exclusive, u32 begun",
	body: pieceOf + `
	$start
	if (begun) sum = before[i];
	for ($N k = first; k < last; k++) {
		$N at = line + (reverse ? n - 1 - k : k) * inner;
		$A e = $load, value = $value;
		$add
		if (!exclusive) value = $value;
		$store;
	}
`}
