package dense

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Attention by groups of one thread: the same blocks and the same steps as on a GPU, in
// arrays. All products multiply a row of scalars by a panel of 64 columns.

const (
	serialRows    = 32
	serialColumns = 64 // and elements of a panel
)

// serial tells whether groups are one thread.
func (a *attention) serial() bool {
	words := 2*serialRows*serialColumns + serialColumns*serialColumns + 2*serialRows*a.slice(max(a.dk, a.dv))
	return a.target.Serial && a.target.Dialect == codegen.OpenCL && words*bytes(a.acc) <= a.target.Local
}

// lanes is the length of a vector.
func (a *attention) lanes() int { return 64 / bytes(a.acc) }

// vectors writes a line for each vector of a row of 64 elements.
func (a *attention) vectors(w *writer, form string) {
	for q := range serialColumns / a.lanes() {
		w.P("%s", fmt.Sprintf(form, q, a.lanes(), vectorType(a.acc, a.lanes())))
	}
}

// serialOperand passes an operand [B, H, n, width] and moves to this group's head.
func (a *attention) serialOperand(w *writer, name string, o *kernel.Operand) {
	w.operand(name, o)
	w.head(name, o)
	w.stride(name+"_t", o.Stride[2])
}

// serialMultiply adds to a row of 64 elements at dst n scalars times rows of the panel.
func (a *attention) serialMultiply(w *writer, dst, scalar, n string) {
	w.open("")
	w.P("SHARED_PTR %s *to = %s, *from = Panel;", a.acc, dst)
	a.vectors(w, "%[3]s r%[1]d = vload%[2]d(%[1]d, to);")
	w.open("for (i32 k = 0; k < %s; k++, from += %d)", n, serialColumns)
	w.P("const %s x = (%s)(%s);", vectorType(a.acc, a.lanes()), vectorType(a.acc, a.lanes()), scalar)
	a.vectors(w, "r%[1]d = fma(x, vload%[2]d(%[1]d, from), r%[1]d);")
	w.close()
	a.vectors(w, "vstore%[2]d(r%[1]d, %[1]d, to);")
	w.close()
}

// serialScores computes products of rows of x with those of y, over their width.
func (a *attention) serialScores(w *writer, dst, x, y string, dx, dy dtype.DType, width string) {
	w.P("for (i32 i = 0; i < %d; i++) %s[i] = 0;", serialRows*serialColumns, dst)
	w.open("for (i32 e = 0; e < %s; e += %d)", width, serialColumns)
	w.P("const i32 en = min_i32(%s - e, %d);", width, serialColumns)
	w.open("for (i32 j = 0; j < %d; j++)", serialColumns)
	w.P("GLOBAL %s *from = %s + ((%s)min_i32(col0 + j, COLUMNS - 1) * %s_t + e);", storage(dy), y, w.index, y)
	w.P("for (i32 k = 0; k < en; k++) Panel[k * %d + j] = %s;", serialColumns, load(dy, "from", "k"))
	w.close()
	w.open("for (i32 i = 0; i < rows; i++)")
	w.P("GLOBAL %s *row = %s + ((%s)(row0 + i) * %s_t + e);", storage(dx), x, w.index, x)
	a.serialMultiply(w, fmt.Sprintf("%s + i * %d", dst, serialColumns), load(dx, "row", "k"), "en")
	w.close()
	w.close()
}

// serialWeigh adds rows of z, weighted by what lies at weights, to dst.
func (a *attention) serialWeigh(w *writer, dst, weights, z string, dz dtype.DType, slice int, width string) {
	w.open("for (i32 e = 0; e < %d && e0 + e < %s; e += %d)", slice, width, serialColumns)
	w.P("const i32 en = min_i32(%s - e0 - e, %d), n = min_i32(COLUMNS - col0, %d);", width, serialColumns, serialColumns)
	w.open("for (i32 k = 0; k < n; k++)")
	w.P("GLOBAL %s *from = %s + ((%s)(col0 + k) * %s_t + e0 + e);", storage(dz), z, w.index, z)
	w.P("for (i32 j = 0; j < en; j++) Panel[k * %d + j] = %s;", serialColumns, load(dz, "from", "j"))
	w.P("for (i32 j = en; j < %d; j++) Panel[k * %d + j] = 0;", serialColumns, serialColumns)
	w.close()
	w.P("for (i32 i = 0; i < rows; i++)")
	a.serialMultiply(w, fmt.Sprintf("%s + i * %d + e", dst, slice), fmt.Sprintf("%s[i * %d + k]", weights, serialColumns), "n")
	w.close()
}

// serialMasked applies scale, mask and limits to the scores.
func (a *attention) serialMasked(w *writer, rowsAreQueries bool) {
	query, key := "row0 + i", "col0 + j"
	if !rowsAreQueries {
		query, key = key, query
	}
	w.open("for (i32 i = 0; i < rows; i++) for (i32 j = 0; j < %d; j++)", serialColumns)
	w.P("const i32 query = %s, key = %s;", query, key)
	w.P("%s v = Scores[i * %d + j] * SCALE;", a.acc, serialColumns)
	hidden := "query >= T || key >= S"
	if a.causal {
		hidden += " || key > query"
	}
	w.P("if (%s) v = NEVER;", hidden)
	if a.mask != nil {
		at := fmt.Sprintf("(%s)query * M_t + (%s)key * M_s", w.index, w.index)
		if a.mask.DType == dtype.Bool {
			w.P("else if (!M[%s]) v = NEVER;", at)
		} else {
			w.P("else v += %s;", load(a.mask.DType, "M", at))
		}
	}
	w.P("Scores[i * %d + j] = v;", serialColumns)
	w.close()
}

// serialLocal declares the arrays.
func (a *attention) serialLocal(w *writer, slice int, names ...string) {
	w.shared(a.acc, "Panel", serialColumns*serialColumns)
	w.shared(a.acc, "Scores", serialRows*serialColumns)
	for _, n := range names {
		w.shared(a.acc, n, serialRows*slice)
		w.P("for (i32 i = 0; i < %d; i++) %s[i] = 0;", serialRows*slice, n)
	}
}

func (a *attention) serialForward() (codegen.Launch, error) {
	slice := max(serialColumns, a.slice(a.dv))
	w := a.begin("attention", a.t, max(1, ceil(a.dv, slice)), true)
	w.P("const i32 e0 = slice * %d, rows = min_i32(T - row0, %d), COLUMNS = S;", slice, serialRows)
	a.serialOperand(w, "Q", &a.q)
	a.serialOperand(w, "K", &a.k)
	a.serialOperand(w, "V", &a.v)
	a.hidden(w)
	a.serialLocal(w, slice, "Sum")
	w.P("%s top[%d], sum[%d];", a.acc, serialRows, serialRows)
	w.P("for (i32 i = 0; i < %d; i++) { top[i] = NEVER; sum[i] = 0; }", serialRows)
	limit := "S"
	if a.causal {
		limit = fmt.Sprintf("min_i32(S, row0 + %d)", serialRows)
	}
	w.P("const i32 limit = %s;", limit)
	w.open("for (i32 col0 = 0; col0 < limit; col0 += %d)", serialColumns)
	a.serialScores(w, "Scores", "Q", "K", a.q.DType, a.k.DType, "D")
	a.serialMasked(w, true)
	w.open("for (i32 i = 0; i < rows; i++)")
	w.P("SHARED_PTR %s *s = Scores + i * %d;", a.acc, serialColumns)
	w.P("%s high = top[i];", a.acc)
	w.P("for (i32 j = 0; j < %d; j++) high = %s;", serialColumns, a.larger("high", "s[j]"))
	w.P("const %s base = high == NEVER ? 0 : high, shrink = exp_%s(top[i] - base);", a.acc, a.acc)
	w.P("top[i] = high;")
	a.vectors(w, "const %[3]s x%[1]d = exp(vload%[2]d(%[1]d, s) - (%[3]s)base); vstore%[2]d(x%[1]d, %[1]d, s);")
	w.P("%s add = 0;", a.acc)
	w.P("for (i32 j = 0; j < %d; j++) add += s[j];", serialColumns)
	w.P("sum[i] = sum[i] * shrink + add;")
	w.P("if (shrink != 1) for (i32 e = 0; e < %d; e++) Sum[i * %d + e] *= shrink;", slice, slice)
	w.close()
	a.serialWeigh(w, "Sum", "Scores", "V", a.v.DType, slice, "E")
	w.close()
	w.operandIf("Y", &a.out[0], func() { w.head("Y", &a.out[0]); w.stride("Y_t", a.out[0].Stride[2]) })
	w.operandIf("L", &a.out[1], nil)
	w.open("for (i32 i = 0; i < rows; i++)")
	w.P("%s lse = top[i] + log_%s(sum[i]), over = 1 / sum[i];", a.acc, a.acc)
	if a.mask != nil {
		w.P("if (sum[i] == 0) { lse = 0; over = 1; }")
	} else {
		w.P("if (sum[i] == 0) { lse = over = NEVER - NEVER; }")
	}
	if a.out[1].Slot >= 0 {
		w.P("if (slice == 0) L[(i64)head * T + row0 + i] = lse;")
	}
	if a.out[0].Slot >= 0 {
		w.P("for (i32 e = 0; e < %d && e0 + e < E; e++) Y[(%s)(row0 + i) * Y_t + e0 + e] = %s;", slice, w.index, narrowed(a.out[0].DType, fmt.Sprintf("Sum[i * %d + e] * over", slice)))
	}
	w.close()
	return w.launch()
}

func (a *attention) serialGradient(label string, queries, dk, dv bool) (codegen.Launch, error) {
	rows, width := a.s, a.dk
	x, y, xv, yv := &a.k, &a.q, &a.v, &a.dy
	rowCount, columns := "S", "T"
	if queries {
		rows = a.t
		x, y, xv, yv = &a.q, &a.k, &a.dy, &a.v
		rowCount, columns = "T", "S"
	}
	if dv && !dk {
		width = a.dv
	}
	slice := max(serialColumns, a.slice(width))
	w := a.begin(label, rows, ceil(width, slice), queries)
	w.P("const i32 e0 = slice * %d, rows = min_i32(%s - row0, %d), COLUMNS = %s;", slice, rowCount, serialRows, columns)
	a.hidden(w)
	w.operand("L", &a.lse)
	w.head("L", &a.lse)
	w.stride("L_t", a.lse.Stride[2])
	w.pointer("DELTA", a.acc, a.scratch, 0)
	w.P("DELTA += (i64)head * T;")
	a.serialOperand(w, "X", x)
	a.serialOperand(w, "Y", y)
	a.serialOperand(w, "XV", xv)
	a.serialOperand(w, "YV", yv)
	var names []string
	if queries || dk {
		names = append(names, "Sum")
	}
	if dv {
		names = append(names, "SumV")
	}
	a.serialLocal(w, slice, names...)
	w.shared(a.acc, "Inner", serialRows*serialColumns)
	w.shared(a.acc, "Lse", serialColumns)
	w.shared(a.acc, "Delta", serialColumns)
	begin, end := "0", columns
	if a.causal && queries {
		end = fmt.Sprintf("min_i32(S, row0 + %d)", serialRows)
	} else if a.causal {
		begin = fmt.Sprintf("row0 / %d * %d", serialColumns, serialColumns)
	}
	w.P("const i32 limit = %s;", end)
	w.open("for (i32 col0 = %s; col0 < limit; col0 += %d)", begin, serialColumns)
	a.serialScores(w, "Scores", "X", "Y", x.DType, y.DType, "D")
	a.serialMasked(w, queries)
	lse, delta := "vload%[2]d(%[1]d, Lse)", "vload%[2]d(%[1]d, Delta)"
	at := func(query string) string {
		return fmt.Sprintf("%s < T ? L[(%s)(%s) * L_t] : 0", query, w.index, query)
	}
	if queries {
		lse, delta = "(%[3]s)lse", "(%[3]s)delta"
	} else {
		w.P("for (i32 j = 0; j < %d; j++) { const i32 query = col0 + j; Lse[j] = %s; Delta[j] = query < T ? DELTA[query] : 0; }", serialColumns, at("query"))
	}
	each := func(form string) {
		w.open("for (i32 i = 0; i < rows; i++)")
		w.P("SHARED_PTR %s *s = Scores + i * %d, *d = Inner + i * %d;", a.acc, serialColumns, serialColumns)
		if queries {
			w.P("const i32 query = row0 + i; const %s lse = %s, delta = DELTA[query];", a.acc, at("query"))
		}
		a.vectors(w, form)
		w.close()
	}
	each("vstore%[2]d(exp(vload%[2]d(%[1]d, s) - " + lse + "), %[1]d, s);")
	if dv {
		a.serialWeigh(w, "SumV", "Scores", "YV", yv.DType, slice, "E")
	}
	if queries || dk {
		a.serialScores(w, "Inner", "XV", "YV", xv.DType, yv.DType, "E")
		each("vstore%[2]d(vload%[2]d(%[1]d, s) * (vload%[2]d(%[1]d, d) - " + delta + "), %[1]d, s);")
		a.serialWeigh(w, "Sum", "Scores", "Y", y.DType, slice, "D")
	}
	w.close()
	store := func(sum string, out *kernel.Operand, width, scale string) {
		w.open("")
		a.serialOperand(w, "C", out)
		w.P("for (i32 i = 0; i < rows; i++) for (i32 e = 0; e < %d && e0 + e < %s; e++)", slice, width)
		w.P("C[(%s)(row0 + i) * C_t + e0 + e] = %s;", w.index, narrowed(out.DType, fmt.Sprintf("(%s[i * %d + e] * %s + 0)", sum, slice, scale)))
		w.close()
	}
	switch {
	case queries:
		store("Sum", &a.out[0], "D", "SCALE")
	case dk:
		store("Sum", &a.out[1], "D", "SCALE")
	}
	if dv {
		store("SumV", &a.out[2], "E", "1")
	}
	return w.launch()
}
