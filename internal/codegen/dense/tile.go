package dense

import "fmt"

// tile is how a product is cut. A group computes bm × bn results, bk steps of the sum
// at a time; each of its threads keeps tm × tn of them in registers.
type tile struct{ bm, bn, bk, tm, tn int }

func (t tile) threads() int { return t.bm / t.tm * (t.bn / t.tn) }

// pitch is the distance of two steps in local memory: four elements more than a row, so
// that what is written transposed falls into different banks.
func pitch(width int) int { return width + 4 }

// source is one operand of a tiled product: how bk steps of its rows (of the left
// operand) or columns (of the right one) get from memory to local memory.
//
// In the text, x numbers rows or columns from the beginning of the tile and k steps
// of the whole sum. All variables of a source begin with its name.
type source interface {
	// begin declares what does not change from step to step.
	begin(w *writer)
	// fetch loads what this thread brings of the steps kk … kk+bk into registers. Of two
	// operands the left one comes first.
	fetch(w *writer, kk string)
	// stash writes the registers to local memory at dst.
	stash(w *writer, dst string)
	// pack is for groups of one thread: it copies steps kk … kk+kn of all rows or columns
	// to dst, one panel of so many behind the other, and zeros to fill the last one.
	pack(w *writer, dst string, panel int)
}

// groups writes which tile of which product a group computes, and which of the steps:
// tiles that lie in one band of rows follow each other, so that groups that run at the
// same time share operands.
func (w *writer) groups(m, n, k, batch, splits int, t tile) {
	rows, cols := ceil(m, t.bm), ceil(n, t.bn)
	each := max(t.bk, round(ceil(k, splits), t.bk))
	w.size("M", m)
	w.size("N", n)
	w.size("K", k)
	w.size("TILES_M", rows)
	w.size("TILES_N", cols)
	w.size("BATCH", batch)
	w.size("STEPS", each) // of a split
	w.grid = rows * cols * batch * splits
	w.P("const i32 z = GROUP(0) / (TILES_M * TILES_N);")
	w.P("const i32 split = z / BATCH, batch = z - split * BATCH;")
	w.P("i32 at = GROUP(0) - z * (TILES_M * TILES_N);")
	w.P("const i32 band = at / (8 * TILES_N) * 8, high = min_i32(TILES_M - band, 8);")
	w.P("at -= band * TILES_N;")
	w.P("const i32 mBegin = (band + at %% high) * %d, nBegin = at / high * %d;", t.bm, t.bn)
	w.P("const i32 kbegin = split * STEPS, kend = min_i32(K, kbegin + STEPS);")
}

// tiled writes a product by groups of many threads. Local memory holds two stages:
// while one is multiplied, the next is on its way to the registers.
func (w *writer) tiled(t tile, acc string, a, b source) {
	lda, ldb := pitch(t.bm), pitch(t.bn)
	w.shared(acc, "As", 2*t.bk*lda)
	w.shared(acc, "Bs", 2*t.bk*ldb)
	w.P("const i32 tid = LOCAL(0), tx = tid %% %d, ty = tid / %d;", t.bn/t.tn, t.bn/t.tn)
	a.begin(w)
	b.begin(w)
	w.accumulators(t, acc, "c")
	w.P("i32 stage = 0;")
	a.fetch(w, "kbegin")
	b.fetch(w, "kbegin")
	a.stash(w, "As")
	b.stash(w, "Bs")
	w.P("BARRIER();")
	w.open("for (i32 kk = kbegin; kk < kend; kk += %d)", t.bk)
	w.P("const i32 next = kk + %d;", t.bk)
	w.open("if (next < kend)")
	a.fetch(w, "next")
	b.fetch(w, "next")
	w.close()
	w.multiply(t, acc, "c", fmt.Sprintf("As + stage * %d", t.bk*lda), lda, fmt.Sprintf("Bs + stage * %d", t.bk*ldb), ldb)
	w.P("stage ^= 1;")
	w.open("if (next < kend)")
	a.stash(w, fmt.Sprintf("(As + stage * %d)", t.bk*lda))
	b.stash(w, fmt.Sprintf("(Bs + stage * %d)", t.bk*ldb))
	w.close()
	w.P("BARRIER();")
	w.close()
}

// accumulators declares the thread's results, c0_0 and so on.
func (w *writer) accumulators(t tile, acc, c string) {
	for i := range t.tm {
		w.P("%s %s;", acc, list(t.tn, func(j int) string { return fmt.Sprintf("%s%d_%d = 0", c, i, j) }))
	}
}

// multiply adds the products of a tile's steps, which lie in local memory at as and bs
// with rows of lda and ldb elements.
func (w *writer) multiply(t tile, acc, c, as string, lda int, bs string, ldb int) {
	w.open("")
	w.P("SHARED_PTR %s *pa = %s + ty * %d, *pb = %s + tx * %d;", acc, as, min(t.tm, 4), bs, min(t.tn, 4))
	if !w.target.Serial { // where it only makes more text to compile
		w.P("UNROLL")
	}
	w.open("for (i32 k = 0; k < %d; k++)", t.bk)
	w.P("const %s %s;", acc, list(t.tm, func(i int) string { return fmt.Sprintf("a%d = pa[%d]", i, spread(i, t.bm, t.tm)) }))
	w.P("const %s %s;", acc, list(t.tn, func(j int) string { return fmt.Sprintf("b%d = pb[%d]", j, spread(j, t.bn, t.tn)) }))
	for i := range t.tm {
		for j := range t.tn {
			w.P("%s%d_%d = %s;", c, i, j, mad(acc, fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", j), fmt.Sprintf("%s%d_%d", c, i, j)))
		}
	}
	w.P("pa += %d; pb += %d;", lda, ldb)
	w.close()
	w.close()
}

// spread is how far the i-th of a thread's each rows is from its first one: rows come
// in fours, and fours of the same thread are as far apart as they can be, so that the
// threads of a warp read adjacent fours.
func spread(i, width, each int) int {
	if each <= 4 {
		return i
	}
	return i/4*(width/(each/4)) + i%4
}

// results calls f for the thread's results with the row and column of each, as
// expressions, inside of a test that they exist.
func (w *writer) results(t tile, acc string, f func(value, row, col string)) {
	w.P("const i32 row0 = mBegin + ty * %d, col0 = nBegin + tx * %d;", min(t.tm, 4), min(t.tn, 4))
	for i := range t.tm {
		w.open("")
		w.P("const %s line[%d] = {%s};", acc, t.tn, list(t.tn, func(j int) string { return fmt.Sprintf("c%d_%d", i, j) }))
		w.P("const i32 row = row0 + %d;", spread(i, t.bm, t.tm))
		if !w.target.Serial {
			w.P("UNROLL")
		}
		w.open("for (i32 j = 0; j < %d; j++)", t.tn)
		if t.tn > 4 {
			w.P("const i32 col = col0 + j / 4 * %d + j %% 4;", spread(4, t.bn, t.tn))
		} else {
			w.P("const i32 col = col0 + j;")
		}
		w.open("if (row < M && col < N)")
		f("line[j]", "row", "col")
		w.close()
		w.close()
		w.close()
	}
}
