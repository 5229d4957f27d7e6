package indexing

import (
	"math/bits"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/ir"
)

// tile is how many elements a group sorts in its own memory.
const tile = 2048

// sort writes the stable permutation of every line. Lines that fit in a tile are sorted
// there. Longer ones are turned into keys that lie one after the other and sorted by
// eight of their bits after the other.
func (w *lowering) sort() error {
	in := &w.In[0]
	at := w.Attr.(ir.Order)
	a := newAlong(in.Shape, at.Axis)
	if a.lines() == 0 || a.n == 0 {
		return nil
	}
	k := keyOf(in.DType)
	turn := 0 // what is exclusive-ored with keys so that they descend
	if at.Descending {
		turn = int(k.all())
	}
	v := vars{"T": k.raw, "K": k.ctype(), "key": k.of("e"), "kind": "sort_" + in.DType.String()}
	x, y := place(in), place(&w.Out[0])
	if a.n <= tile {
		v["begin"] = "line / inner * n * inner + line % inner"
		v["load"] = "$T e = x[begin + i * inner];\n\t\t\tk = $key ^ turn;"
		v["store"] = "y[begin + i * inner] = (i64)places[s];"
		w.sortTiles(v, "const $T *x, i64 *y, $K turn, $N inner", a, x, y, turn, a.inner)
		return nil
	}
	r := w.newRadix(a.lines(), a.n, k.ctype())
	w.launch(keysOfLines, v, each(a.lines()*a.n), x, r.keys, a.lines()*a.n, a.n, a.inner, turn)
	r.sort(k.bits)
	w.launch(placesOfLines, v, each(a.lines()*a.n), r.places, y, a.lines()*a.n, a.n, a.inner)
	return nil
}

// sortTiles sorts lines of at most tile elements. In v, begin is an expression for where
// a line begins, load sets the key k of its element i, and store disposes of that with
// which it ends up at place i: element number s of the group's keys and places.
func (w *lowering) sortTiles(v vars, params string, a along, args ...any) {
	size := 1 // of a line with what fills it up to a power of two
	for size < a.n {
		size *= 2
	}
	v["E"], v["log"] = "512", "9"
	if size > 512 {
		v["E"], v["log"] = "2048", "11"
	}
	elements := 512
	if size > 512 {
		elements = tile
	}
	for _, name := range []string{"load", "store", "begin"} {
		v[name] = expand(v[name], vars{"T": v["T"], "K": v["K"], "N": w.index, "key": v["key"]})
	}
	per := elements / size
	x := text{name: "${kind}_tile$E", params: params + ", $N lines, $N n, u32 log", body: tileSort}
	w.launch(x, v, (a.lines()+per-1)/per, append(args, a.lines(), a.n, bits.Len(uint(size))-1)...)
}

// A bitonic network over lines of 2^log elements, as many as are E elements. It is
// stable since it compares the places of equal keys; what fills up a line has the
// largest of all keys, and places behind it.
const tileSort = `
	SHARED $K keys[$E];
	SHARED u32 places[$E];
	u32 t = LOCAL(0), size = 1u << log;
	$N from = ($N)GROUP(0) * ($E >> log);
	for (u32 s = t; s < $E; s += 256) {
		$N line = from + (s >> log), i = s & (size - 1);
		$K k = ~($K)0;
		if (line < lines && i < n) {
			$N begin = $begin;
			$load
		}
		keys[s] = k;
		places[s] = (u32)i;
	}
	for (u32 run = 2; run <= size; run *= 2) {
		for (u32 step = run / 2; step > 0; step /= 2) {
			BARRIER();
			for (u32 pair = t; pair < $E / 2; pair += 256) {
				u32 p = 2 * pair - (pair & (step - 1)), q = p + step;
				$K kp = keys[p], kq = keys[q];
				u32 ip = places[p], iq = places[q];
				u32 wrong = kp > kq || (kp == kq && ip > iq), down = (p & (size - 1) & run) != 0;
				if (wrong != down) {
					keys[p] = kq;
					keys[q] = kp;
					places[p] = iq;
					places[q] = ip;
				}
			}
		}
	}
	BARRIER();
	for (u32 s = t; s < $E; s += 256) {
		$N line = from + (s >> log), i = s & (size - 1);
		if (line < lines && i < n) {
			$N begin = $begin;
			$store
		}
	}
`

var keysOfLines = text{
	name:   "${kind}_keys",
	params: "const $T *x, $K *keys, $N count, $N n, $N inner, $K turn",
	body: `
	$N at = ($N)GROUP(0) * 256 + LOCAL(0);
	if (at >= count) return;
	$N line = at / n;
	$T e = x[line / inner * n * inner + line % inner + at % n * inner];
	keys[at] = $key ^ turn;
`}

var placesOfLines = text{
	name:   "sort_places",
	params: "const u32 *places, i64 *y, $N count, $N n, $N inner",
	body: `
	$N at = ($N)GROUP(0) * 256 + LOCAL(0);
	if (at >= count) return;
	$N line = at / n;
	y[line / inner * n * inner + line % inner + at % n * inner] = (i64)places[at];
`}

// radix sorts the keys of lines that lie one after the other, with their places in the
// line. Each pass orders by eight bits: groups sort their tiles and count how many keys
// of each digit they have, the counts of each digit are summed up along the line, and
// then every group knows where its runs go.
type radix struct {
	*lowering
	lines, n, tiles int
	word            string // type of the keys

	keys, places codegen.Arg // what is to be sorted, and what has been
	tileKeys     codegen.Arg // sorted within tiles
	tilePlaces   codegen.Arg
	counts       codegen.Arg // [lines, digits, tiles]
	totals       codegen.Arg // [lines, digits]
}

const digits = 256

func (w *lowering) newRadix(lines, n int, word string) *radix {
	r := &radix{lowering: w, lines: lines, n: n, tiles: (n + tile - 1) / tile, word: word}
	size := 4
	if word == "u64" {
		size = 8
	}
	r.keys, r.tileKeys = w.take(lines*n*size), w.take(lines*n*size)
	r.places, r.tilePlaces = w.take(lines*n*4), w.take(lines*n*4)
	r.counts, r.totals = w.take(lines*digits*r.tiles*4), w.take(lines*digits*4)
	return r
}

// sort orders by the lower bits of the keys, as many as given.
func (r *radix) sort(bits int) {
	for shift := 0; shift < bits; shift += 8 {
		first := 0 // the places are in order still and need not be there
		if shift == 0 {
			first = 1
		}
		v := func() vars { return vars{"K": r.word} }
		r.launch(sortByDigit, v(), r.lines*r.tiles, r.keys, r.places, r.tileKeys, r.tilePlaces, r.counts, r.n, r.tiles, shift, first)
		r.launch(sumCounts, v(), r.lines*digits, r.counts, r.totals, r.tiles)
		r.launch(moveRuns, v(), r.lines*r.tiles, r.tileKeys, r.tilePlaces, r.keys, r.places, r.counts, r.totals, r.n, r.tiles, shift)
	}
}

// A tile's digits are sorted together with the places that they have in it, by the lower
// and then by the upper half of the digit: each thread counts the halves of its eight
// elements, the counts are summed up over digits and then threads, and that is where the
// elements go. What fills up the last tile has the largest digit and comes last.
var sortByDigit = text{
	name:   "radix_tile_$K",
	params: "const $K *keys, const u32 *places, $K *tileKeys, u32 *tilePlaces, u32 *counts, $N n, $N tiles, u32 shift, u32 first",
	body: `
	SHARED u32 items[2048];
	SHARED u16 before[16 * 256];
	SHARED u32 sums[256];
	u32 t = LOCAL(0);
	$N line = GROUP(0) / tiles, number = GROUP(0) % tiles;
	$N from = line * n + number * 2048;
	u32 count = n - number * 2048 < 2048 ? (u32)(n - number * 2048) : 2048u;
	for (u32 i = t; i < 2048; i += 256)
		items[i] = (i < count ? (u32)(keys[from + i] >> shift) & 255u : 255u) << 16 | i;
	BARRIER();
	for (u32 low = 16; low < 24; low += 4) {
		u32 mine[8];
		for (u32 j = 0; j < 16; j++) before[j * 256 + t] = 0;
		for (u32 j = 0; j < 8; j++) {
			mine[j] = items[t * 8 + j];
			before[(mine[j] >> low & 15u) * 256 + t] += 1;
		}
		BARRIER();
		u32 sum = 0;
		for (u32 j = 0; j < 16; j++) {
			u32 c = before[t * 16 + j];
			before[t * 16 + j] = (u16)sum;
			sum += c;
		}
		u32 all = sum;
		for (u32 d = 1; d < 256; d *= 2) {
			sums[t] = all;
			BARRIER();
			if (t >= d) all += sums[t - d];
			BARRIER();
		}
		for (u32 j = 0; j < 16; j++) before[t * 16 + j] += (u16)(all - sum);
		BARRIER();
		for (u32 j = 0; j < 8; j++) {
			u32 d = (mine[j] >> low & 15u) * 256 + t;
			items[before[d]] = mine[j];
			before[d] += 1;
		}
		BARRIER();
	}
	sums[t] = 0;
	BARRIER();
	for (u32 i = t; i < count; i += 256) {
		u32 d = items[i] >> 16, p = items[i] & 0xffffu;
		tileKeys[from + i] = keys[from + p];
		tilePlaces[from + i] = first ? (u32)(number * 2048) + p : places[from + p];
		if (i + 1 == count || items[i + 1] >> 16 != d) sums[d] = i + 1;
	}
	BARRIER();
	// The number of a digit's items is its end less the end of the one before that has any.
	u32 end = sums[t], begin = 0;
	for (u32 d = 1; d < 256; d *= 2) {
		u32 other = t >= d ? sums[t - d] : 0u;
		BARRIER();
		if (other > sums[t]) sums[t] = other;
		BARRIER();
	}
	if (t > 0) begin = sums[t - 1];
	counts[(line * 256 + t) * tiles + number] = end > begin ? end - begin : 0u;
`}

var sumCounts = text{
	name:   "radix_sums",
	params: "u32 *counts, u32 *totals, $N tiles",
	body: `
	SHARED u32 sums[256];
	u32 t = LOCAL(0), total = 0;
	$N row = ($N)GROUP(0) * tiles;
	for ($N from = 0; from < tiles; from += 256) {
		$N i = from + t;
		u32 c = i < tiles ? counts[row + i] : 0u, all = c;
		for (u32 d = 1; d < 256; d *= 2) {
			sums[t] = all;
			BARRIER();
			if (t >= d) all += sums[t - d];
			BARRIER();
		}
		if (i < tiles) counts[row + i] = total + all - c;
		sums[t] = all;
		BARRIER();
		total += sums[255];
		BARRIER();
	}
	if (t == 0) totals[GROUP(0)] = total;
`}

// An element of a digit goes behind all smaller digits, behind those of its digit in the
// tiles before, and behind those before it in its tile.
var moveRuns = text{
	name:   "radix_move_$K",
	params: "const $K *tileKeys, const u32 *tilePlaces, $K *keys, u32 *places, const u32 *counts, const u32 *totals, $N n, $N tiles, u32 shift",
	body: `
	SHARED u32 sums[256];
	SHARED u32 begins[256];
	u32 t = LOCAL(0);
	$N line = GROUP(0) / tiles, number = GROUP(0) % tiles;
	$N from = line * n + number * 2048;
	u32 count = n - number * 2048 < 2048 ? (u32)(n - number * 2048) : 2048u;
	u32 c = totals[line * 256 + t], all = c;
	for (u32 d = 1; d < 256; d *= 2) {
		sums[t] = all;
		BARRIER();
		if (t >= d) all += sums[t - d];
		BARRIER();
	}
	sums[t] = all - c + counts[(line * 256 + t) * tiles + number];
	for (u32 i = t; i < count; i += 256) {
		u32 d = (u32)(tileKeys[from + i] >> shift) & 255u;
		if (i == 0 || ((u32)(tileKeys[from + i - 1] >> shift) & 255u) != d) begins[d] = i;
	}
	BARRIER();
	for (u32 i = t; i < count; i += 256) {
		$K k = tileKeys[from + i];
		u32 d = (u32)(k >> shift) & 255u;
		$N to = line * n + sums[d] + (i - begins[d]);
		keys[to] = k;
		places[to] = tilePlaces[from + i];
	}
`}
