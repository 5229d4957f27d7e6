package dense

import (
	"fmt"
	"math"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Attention keeps no matrix of scores. A group of 16 × 16 threads has a block of queries
// of one head and goes over blocks of keys: their scores are a product on tiles that
// stays in registers; the weights are handed on through local memory to the product with
// the values, which is added up in registers too. What has been added up is made smaller
// when a larger score comes along (Milakov and Gimelshein, "Online normalizer calculation
// for softmax", 2018; Dao et al., "FlashAttention", 2022).
//
// Backward, the weights are computed again from the scores and the logarithms of their
// sums. One kernel has blocks of queries and goes over the keys, for the cotangents of the
// queries; another has blocks of keys and goes over the queries. That is two products more
// than if one did both, but nothing has to be added up between groups.
//
// What is wider than 256 elements is done in slices of 256, each of which computes the
// scores anew.
type attention struct {
	target     *codegen.Target
	d          dtype.DType
	acc        string
	scale      float64
	causal     bool
	b, h, t, s int // batches, heads, queries, keys
	dk, dv     int // elements of a key, of a value

	q, k, v kernel.Operand
	mask    *kernel.Operand

	y, lse, dy kernel.Operand // backward: operands, y and dy as [B, H, T, E]
	out        []kernel.Operand
	backward   bool
	scratch    int
}

// attentionBlock is how many queries and keys a group has at a time.
func (a *attention) block() int {
	if a.acc == "f64" || a.target.Serial {
		return 32
	}
	return 64
}

// slice is how many elements of a row of a result a group computes.
func (a *attention) slice(width int) int {
	most := 256
	if a.acc == "f64" {
		most = 128
	}
	n := 32
	for n < width && n < most {
		n *= 2
	}
	return n
}

// steps of the sums of scores that lie in local memory, and of those of results.
const scoreSteps = 16

func (a *attention) resultSteps(slice int) int {
	if slice >= 256 || a.acc == "f64" {
		return 8
	}
	return 16
}

func newAttention(l *kernel.Library, t *codegen.Target) (*attention, error) {
	r, _ := l.Attr.(*ir.Region)
	if r == nil || !Supports(r.Name, false) {
		return nil, fmt.Errorf("no kernel for this composite")
	}
	at, ok := r.Attr.(ir.Attention)
	backward := r.Name == "attention_grad"
	operands := 3
	if backward {
		operands = 6
	}
	if !ok || len(l.In) < operands || len(l.In) > operands+1 {
		return nil, fmt.Errorf("%s of %d operands with attribute %T", r.Name, len(l.In), r.Attr)
	}
	q, k, v := l.In[0], l.In[1], l.In[2]
	a := &attention{
		target: t, d: q.DType, acc: compute(q.DType), scale: at.Scale, causal: at.Causal,
		b: q.Shape[0], h: q.Shape[1], t: q.Shape[2], s: k.Shape[2], dk: q.Shape[3], dv: v.Shape[3],
		q: q, k: k, v: v, backward: backward, scratch: l.Scratch,
	}
	if !a.d.IsFloat() {
		return nil, fmt.Errorf("%s of %v", r.Name, a.d)
	}
	n := len(l.In) - operands + 3
	if n > 3 {
		a.mask = &l.In[3]
	}
	if !backward {
		a.out = []kernel.Operand{byHead(l.Out[0], a.h), l.Out[1]}
		return a, nil
	}
	turned := func(o kernel.Operand) kernel.Operand { // [B, T, H, E] as [B, H, T, E]
		s, st := o.Shape, o.Stride
		o.Shape, o.Stride = []int{s[0], s[2], s[1], s[3]}, []int{st[0], st[2], st[1], st[3]}
		return o
	}
	a.y, a.lse, a.dy = turned(l.In[n]), l.In[n+1], turned(l.In[n+2])
	if len(l.Out) == 1 { // [B, T, 3·H·D]
		width := a.h * a.dk
		for i := range 3 {
			o := l.Out[0]
			o.Offset += i * width
			o.Shape, o.Stride = q.Shape, []int{a.t * 3 * width, a.dk, 3 * width, 1}
			a.out = append(a.out, o)
		}
	} else {
		for _, o := range l.Out {
			a.out = append(a.out, byHead(o, a.h))
		}
	}
	return a, nil
}

// byHead sees a contiguous [B, T, H, E] as [B, H, T, E].
func byHead(o kernel.Operand, h int) kernel.Operand {
	b, t, e := o.Shape[0], o.Shape[1], o.Shape[3]
	o.Shape, o.Stride = []int{b, h, t, e}, []int{t * h * e, e, h * e, 1}
	return o
}

func (a *attention) workspace() int {
	if !a.backward {
		return 0
	}
	return a.b * a.h * max(1, a.t) * bytes(a.acc)
}

func (a *attention) inlines() bool { return false }

func (a *attention) lower() ([]codegen.Launch, error) {
	var l launches
	switch {
	case a.b*a.h == 0:
	case a.backward:
		if a.t > 0 {
			l.add(a.deltas())
			if a.out[0].Slot >= 0 && a.dk > 0 {
				l.add(a.gradient("attention_dq", true, false, false))
			}
		}
		dk, dv := a.out[1].Slot >= 0 && a.dk > 0, a.out[2].Slot >= 0 && a.dv > 0
		switch {
		case a.s == 0:
		case dk && dv && a.slice(a.dk) == a.slice(a.dv) && max(a.dk, a.dv) <= 128:
			l.add(a.gradient("attention_dkv", false, true, true))
		default:
			if dv {
				l.add(a.gradient("attention_dv", false, false, true))
			}
			if dk {
				l.add(a.gradient("attention_dk", false, true, false))
			}
		}
	case a.t > 0:
		l.add(a.forward())
	}
	return l.list, l.err
}

// begin begins a kernel over blocks of rows, of queries or of keys: the numbers of head,
// block and slice, and the sizes.
func (a *attention) begin(label string, rows, slices int, queries bool) *writer {
	ops := []*kernel.Operand{&a.q, &a.k, &a.v}
	for i := range a.out {
		ops = append(ops, &a.out[i])
	}
	if a.backward {
		ops = append(ops, &a.dy)
	}
	if a.mask != nil {
		ops = append(ops, a.mask)
	}
	threads := 256
	if a.serial() {
		threads = 1
	}
	w := newWriter(a.target, label, threads, ops...)
	blocks := ceil(rows, a.block())
	w.grid = a.b * a.h * blocks * slices
	w.size("T", a.t)
	w.size("S", a.s)
	w.size("D", a.dk)
	w.size("E", a.dv)
	w.size("HEADS", a.h)
	w.size("BLOCKS", blocks)
	w.size("SLICES", slices)
	w.P("const %s SCALE = %s;", a.acc, w.Number(a.acc))
	bits := math.Float64bits(a.scale)
	if a.acc == "f32" {
		bits = uint64(math.Float32bits(float32(a.scale)))
	}
	w.args = append(w.args, codegen.Arg{Slot: -1, Bits: bits})
	if threads > 1 {
		w.P("const i32 tid = LOCAL(0), tx = tid %% 16, ty = tid / 16;")
	}
	w.P("const i32 head = GROUP(0) / (BLOCKS * SLICES), batch = head / HEADS, h = head %% HEADS;")
	w.P("i32 part = GROUP(0) - head * (BLOCKS * SLICES);")
	w.P("const i32 slice = part / BLOCKS; part -= slice * BLOCKS;")
	if a.causal && queries { // those that see the most keys come first
		w.P("part = BLOCKS - 1 - part;")
	}
	w.P("const i32 row0 = part * %d;", a.block())
	return w
}

// head passes an operand [B, H, …] and moves to this group's head.
func (w *writer) head(name string, o *kernel.Operand) {
	w.stride(name+"_b", o.Stride[0])
	w.stride(name+"_h", o.Stride[1])
	w.P("%s += (i64)batch * %s_b + (i64)h * %s_h;", name, name, name)
}

// rowsOf is operand o [B, H, n, width] as one of a product over its width.
func (a *attention) rowsOf(w *writer, name string, o *kernel.Operand, count, first, width string) *strided {
	s := w.newStrided(name, o, 2, 3, span{a.block(), scoreSteps, count, first, width})
	w.head(name, o)
	s.begin(w)
	return s
}

// sumOf is operand o [B, H, n, width] as one whose rows are weighted and added up.
func (a *attention) sumOf(w *writer, name string, o *kernel.Operand, slice int, width, count string) *strided {
	s := w.newStrided(name, o, 3, 2, span{slice, a.resultSteps(slice), width, "e0", count})
	w.head(name, o)
	s.begin(w)
	return s
}

// local declares local memory: a block of weights, and pieces of operands.
func (a *attention) local(w *writer, slice int) {
	n, p := a.block(), pitch(a.block())
	w.shared(a.acc, "W", n*p)
	w.shared(a.acc, "P", max(2*scoreSteps*p, a.resultSteps(slice)*pitch(slice)))
}

// tile of scores, and of results.
func (a *attention) scoreTile() tile {
	n := a.block()
	return tile{bm: n, bn: n, bk: scoreSteps, tm: n / 16, tn: n / 16}
}

func (a *attention) resultTile(slice int) tile {
	n := a.block()
	return tile{bm: n, bn: slice, bk: a.resultSteps(slice), tm: n / 16, tn: slice / 16}
}

// scores computes products of a block of rows with one of columns, in registers c…
func (a *attention) scores(w *writer, c string, width string, x, y *strided) {
	t := a.scoreTile()
	w.accumulators(t, a.acc, c)
	w.open("for (i32 kk = 0; kk < %s; kk += %d)", width, scoreSteps)
	x.fetch(w, "kk")
	y.fetch(w, "kk")
	w.P("BARRIER();")
	x.stash(w, "P")
	y.stash(w, fmt.Sprintf("(P + %d)", scoreSteps*pitch(t.bm)))
	w.P("BARRIER();")
	w.multiply(t, a.acc, c, "P", pitch(t.bm), fmt.Sprintf("P + %d", scoreSteps*pitch(t.bm)), pitch(t.bn))
	w.close()
}

// weigh adds rows of operand x from first on, weighted by c…, to r….
func (a *attention) weigh(w *writer, c, r string, slice int, x *strided, first string) {
	s, t := a.scoreTile(), a.resultTile(slice)
	w.P("BARRIER();")
	for i := range s.tm {
		for j := range s.tn {
			w.P("W[(tx * %d + %d) * %d + ty * %d + %d] = %s%d_%d;", s.tn, j, pitch(s.bm), s.tm, i, c, i, j)
		}
	}
	w.open("for (i32 kk = 0; kk < %d; kk += %d)", s.bn, t.bk)
	x.fetch(w, first+" + kk")
	w.P("BARRIER();")
	x.stash(w, "P")
	w.P("BARRIER();")
	w.multiply(t, a.acc, r, fmt.Sprintf("W + kk * %d", pitch(s.bm)), pitch(s.bm), "P", pitch(slice))
	w.close()
}

// masked applies scale, mask and limits to scores c…, whose rows and columns are the
// queries and keys or the reverse.
func (a *attention) masked(w *writer, c string, rowsAreQueries bool) {
	t := a.scoreTile()
	for i := range t.tm {
		for j := range t.tn {
			q, k := fmt.Sprintf("row0 + ty * %d + %d", t.tm, i), fmt.Sprintf("col0 + tx * %d + %d", t.tn, j)
			if !rowsAreQueries {
				q, k = k, q
			}
			v := fmt.Sprintf("%s%d_%d", c, i, j)
			w.open("")
			w.P("const i32 query = %s, key = %s;", q, k)
			hidden := "query >= T || key >= S"
			if a.causal {
				hidden += " || key > query"
			}
			w.P("%s *= SCALE;", v)
			if a.mask == nil {
				w.P("if (%s) %s = NEVER;", hidden, v)
			} else {
				w.P("if (%s) %s = NEVER;", hidden, v)
				at := fmt.Sprintf("(%s)query * M_t + (%s)key * M_s", w.index, w.index)
				if a.mask.DType == dtype.Bool {
					w.P("else if (!M[%s]) %s = NEVER;", at, v)
				} else {
					w.P("else %s += %s;", v, load(a.mask.DType, "M", at))
				}
			}
			w.close()
		}
	}
}

// hidden passes the mask and the score of what is not seen.
func (a *attention) hidden(w *writer) {
	if a.acc == "f64" {
		w.P("const f64 NEVER = f64_of_bits((u64)0xfff00000 << 32);")
	} else {
		w.P("const f32 NEVER = f32_of_bits(0xff800000u);")
	}
	if a.mask == nil {
		return
	}
	m := *a.mask
	m.Stride = append([]int(nil), m.Stride...)
	for i, e := range m.Shape {
		if e == 1 {
			m.Stride[i] = 0
		}
	}
	w.operand("M", &m)
	w.stride("M_t", m.Stride[2])
	w.stride("M_s", m.Stride[3])
	w.head("M", &m)
}

// exp is the exponential function: for 16-bit operands one that is fast.
func (a *attention) exp(x string) string {
	if a.d.Size() == 2 {
		return "fast_exp_f32(" + x + ")"
	}
	return "exp_" + a.acc + "(" + x + ")"
}

// across combines a value v0 … of every row over the 16 threads that share it.
func (a *attention) across(w *writer, v string, combine func(x, y string) string) {
	t := a.scoreTile()
	if a.target.Warp == 32 {
		for i := range t.tm {
			for m := 8; m > 0; m /= 2 {
				x := fmt.Sprintf("%s%d", v, i)
				w.P("%s = %s;", x, combine(x, fmt.Sprintf("shuffle_xor_%s(%s, %d)", a.acc, x, m)))
			}
		}
		return
	}
	w.P("BARRIER();")
	for i := range t.tm {
		w.P("R[(ty * %d + %d) * 17 + tx] = %s%d;", t.tm, i, v, i)
	}
	w.P("BARRIER();")
	for i := range t.tm {
		x := fmt.Sprintf("%s%d", v, i)
		at := fmt.Sprintf("(ty * %d + %d) * 17", t.tm, i)
		w.P("%s = R[%s];", x, at)
		w.P("for (i32 j = 1; j < 16; j++) %s = %s;", x, combine(x, "R["+at+" + j]"))
	}
}

func (a *attention) larger(x, y string) string {
	if a.acc == "f64" {
		return "max_f64(" + x + ", " + y + ")"
	}
	return "fmax_f32(" + x + ", " + y + ")"
}

// forward gives [B, T, H, E] and the logarithms of the sums.
func (a *attention) forward() (codegen.Launch, error) {
	if a.serial() {
		return a.serialForward()
	}
	slice := a.slice(a.dv)
	t, r := a.scoreTile(), a.resultTile(slice)
	w := a.begin("attention", a.t, max(1, ceil(a.dv, slice)), true)
	a.local(w, slice)
	if a.target.Warp != 32 {
		w.shared(a.acc, "R", t.bm*17)
	}
	w.P("const i32 e0 = slice * %d;", slice)
	w.P("i32 col0 = 0;")
	q := a.rowsOf(w, "Q", &a.q, "T", "row0", "D")
	k := a.rowsOf(w, "K", &a.k, "S", "col0", "D")
	v := a.sumOf(w, "V", &a.v, slice, "E", "S")
	a.hidden(w)
	w.accumulators(r, a.acc, "o")
	w.P("%s %s;", a.acc, list(t.tm, func(i int) string { return fmt.Sprintf("top%d = NEVER, sum%d = 0", i, i) }))
	limit := "S"
	if a.causal {
		w.P("const i32 seen = min_i32(S, row0 + %d);", t.bm)
		limit = "seen"
	}
	w.open("for (col0 = 0; col0 < %s; col0 += %d)", limit, t.bn)
	a.scores(w, "c", "D", q, k)
	a.masked(w, "c", true)
	for i := range t.tm {
		x := fmt.Sprintf("c%d_0", i)
		for j := 1; j < t.tn; j++ {
			x = a.larger(x, fmt.Sprintf("c%d_%d", i, j))
		}
		w.P("%s new%d = %s;", a.acc, i, x)
	}
	a.across(w, "new", a.larger)
	for i := range t.tm {
		w.open("")
		w.P("const %s high = %s, base = high == NEVER ? 0 : high, shrink = %s;", a.acc, a.larger(fmt.Sprint("top", i), fmt.Sprint("new", i)), a.exp(fmt.Sprintf("top%d - base", i)))
		w.P("top%d = high; sum%d *= shrink;", i, i)
		for j := range t.tn {
			w.P("c%d_%d = %s; sum%d += c%d_%d;", i, j, a.exp(fmt.Sprintf("c%d_%d - base", i, j)), i, i, j)
		}
		for j := range r.tn {
			w.P("o%d_%d *= shrink;", i, j)
		}
		w.close()
	}
	a.weigh(w, "c", "o", slice, v, "col0")
	w.close()
	a.across(w, "sum", func(x, y string) string { return x + " + " + y })

	w.operandIf("Y", &a.out[0], func() { w.head("Y", &a.out[0]); w.stride("Y_t", a.out[0].Stride[2]) })
	w.operandIf("L", &a.out[1], nil)
	for i := range t.tm {
		w.open("")
		w.P("const i32 query = row0 + ty * %d + %d;", t.tm, i)
		w.open("if (query < T)")
		w.P("%s lse = top%d + log_%s(sum%d), over = 1 / sum%d;", a.acc, i, a.acc, i, i)
		if a.mask != nil {
			w.P("if (sum%d == 0) { lse = 0; over = 1; }", i)
		} else {
			w.P("if (sum%d == 0) { lse = over = NEVER - NEVER; }", i)
		}
		if a.out[1].Slot >= 0 {
			w.P("if (tx == 0 && slice == 0) L[(i64)head * T + query] = lse;")
		}
		if a.out[0].Slot >= 0 {
			for j := range r.tn {
				w.P("if (e0 + tx * %d + %d < E) Y[(%s)query * Y_t + e0 + tx * %d + %d] = %s;", min(r.tn, 4), spread(j, r.bn, r.tn), w.index, min(r.tn, 4), spread(j, r.bn, r.tn), narrowed(a.out[0].DType, fmt.Sprintf("o%d_%d * over", i, j)))
			}
		}
		w.close()
		w.close()
	}
	return w.launch()
}

// operandIf passes a result that something reads.
func (w *writer) operandIf(name string, o *kernel.Operand, more func()) {
	if o.Slot >= 0 {
		w.operand(name, o)
		if more != nil {
			more()
		}
	}
}

// deltas computes the inner products of results and their cotangents.
func (a *attention) deltas() (codegen.Launch, error) {
	w := newWriter(a.target, "attention_delta", 256, &a.y, &a.dy)
	rows := a.b * a.h * a.t
	w.grid = ceil(rows, 16)
	w.operand("Y", &a.y)
	w.operand("DY", &a.dy)
	w.pointer("DELTA", a.acc, a.scratch, 0)
	w.size("ROWS", rows)
	w.size("T", a.t)
	w.size("E", a.dv)
	w.size("HEADS", a.h)
	w.shared(a.acc, "R", 256)
	w.P("const i32 tid = LOCAL(0), row = GROUP(0) * 16 + tid / 16;")
	w.P("const i32 head = row / T, query = row %% T, batch = head / HEADS, h = head %% HEADS;")
	for _, o := range []struct {
		name string
		o    *kernel.Operand
	}{{"Y", &a.y}, {"DY", &a.dy}} {
		w.head(o.name, o.o)
		w.stride(o.name+"_t", o.o.Stride[2])
		w.P("%s += (i64)query * %s_t;", o.name, o.name)
	}
	w.P("%s sum = 0;", a.acc)
	w.P("if (row < ROWS) for (i32 e = tid %% 16; e < E; e += 16) sum = %s;", mad(a.acc, load(a.y.DType, "Y", "e"), load(a.dy.DType, "DY", "e"), "sum"))
	w.P("R[tid] = sum;")
	w.P("BARRIER();")
	w.open("if (tid %% 16 == 0 && row < ROWS)")
	w.P("for (i32 i = 1; i < 16; i++) sum += R[tid + i];")
	w.P("DELTA[row] = sum;")
	w.close()
	return w.launch()
}

// gradient computes the cotangents of a block of queries, or those of a block of keys,
// of values or of both.
func (a *attention) gradient(label string, queries, dk, dv bool) (codegen.Launch, error) {
	if a.serial() {
		return a.serialGradient(label, queries, dk, dv)
	}
	rows, width := a.s, a.dk
	if queries {
		rows = a.t
	}
	if dv && !dk {
		width = a.dv
	}
	slice := a.slice(width)
	t, r := a.scoreTile(), a.resultTile(slice)
	w := a.begin(label, rows, ceil(width, slice), queries)
	a.local(w, slice)
	w.P("const i32 e0 = slice * %d;", slice)
	w.P("i32 col0 = 0;")
	a.hidden(w)
	w.operand("L", &a.lse)
	w.head("L", &a.lse)
	w.stride("L_t", a.lse.Stride[2])
	w.pointer("DELTA", a.acc, a.scratch, 0)
	w.P("DELTA += (i64)head * T;")
	rowCount, colCount := "S", "T"
	x, y, xv, yv := &a.k, &a.q, &a.v, &a.dy
	if queries {
		rowCount, colCount = "T", "S"
		x, y, xv, yv = &a.q, &a.k, &a.dy, &a.v
	}
	left := a.rowsOf(w, "X", x, rowCount, "row0", "D")
	right := a.rowsOf(w, "Y", y, colCount, "col0", "D")
	var left2, right2, values, others *strided
	if queries || dk {
		left2 = a.rowsOf(w, "XV", xv, rowCount, "row0", "E")
		right2 = a.rowsOf(w, "YV", yv, colCount, "col0", "E")
		others = a.sumOf(w, "SY", y, slice, "D", colCount)
		w.accumulators(r, a.acc, "o")
	}
	if dv {
		values = a.sumOf(w, "SV", &a.dy, slice, "E", colCount)
		w.accumulators(r, a.acc, "p")
	}
	begin, end := "0", colCount
	if a.causal && queries {
		w.P("const i32 seen = min_i32(S, row0 + %d);", t.bm)
		end = "seen"
	} else if a.causal {
		begin = "row0" // blocks of queries and of keys are equally large
	}
	w.open("for (col0 = %s; col0 < %s; col0 += %d)", begin, end, t.bn)
	a.scores(w, "c", "D", left, right)
	a.masked(w, "c", queries)
	if queries {
		for i := range t.tm {
			w.P("const i32 at%d = row0 + ty * %d + %d; const %s lse%d = at%d < T ? L[(%s)at%d * L_t] : 0, delta%d = at%d < T ? DELTA[at%d] : 0;", i, t.tm, i, a.acc, i, i, w.index, i, i, i, i)
		}
	} else {
		for j := range t.tn {
			w.P("const i32 at%d = col0 + tx * %d + %d; const %s lse%d = at%d < T ? L[(%s)at%d * L_t] : 0, delta%d = at%d < T ? DELTA[at%d] : 0;", j, t.tn, j, a.acc, j, j, w.index, j, j, j, j)
		}
	}
	each := func(f func(c, d string, of int)) {
		for i := range t.tm {
			for j := range t.tn {
				of := j
				if queries {
					of = i
				}
				f(fmt.Sprintf("c%d_%d", i, j), fmt.Sprintf("d%d_%d", i, j), of)
			}
		}
	}
	each(func(c, _ string, of int) { w.P("%s = %s;", c, a.exp(fmt.Sprintf("%s - lse%d", c, of))) })
	if dv {
		a.weigh(w, "c", "p", slice, values, "col0")
	}
	if queries || dk {
		a.scores(w, "d", "E", left2, right2)
		each(func(c, d string, of int) { w.P("%s = %s * (%s - delta%d);", d, c, d, of) })
		a.weigh(w, "d", "o", slice, others, "col0")
	}
	w.close()
	store := func(c string, out *kernel.Operand, width, scale string) {
		w.open("")
		w.operand("C"+c, out)
		w.stride("C"+c+"_b", out.Stride[0])
		w.stride("C"+c+"_h", out.Stride[1])
		w.stride("C"+c+"_t", out.Stride[2])
		for i := range t.tm {
			w.open("")
			w.P("const i32 at = row0 + ty * %d + %d;", t.tm, i)
			w.open("if (at < %s)", rowCount)
			w.P("GLOBAL %s *to = C%s + ((i64)batch * C%s_b + (i64)h * C%s_h + (i64)at * C%s_t + e0 + tx * %d);", storage(out.DType), c, c, c, c, min(r.tn, 4))
			for j := range r.tn {
				// Adding zero leaves no zero negative.
				w.P("if (e0 + tx * %d + %d < %s) to[%d] = %s;", min(r.tn, 4), spread(j, r.bn, r.tn), width, spread(j, r.bn, r.tn), narrowed(out.DType, fmt.Sprintf("(%s%d_%d * %s + 0)", c, i, j, scale)))
			}
			w.close()
			w.close()
		}
		w.close()
	}
	switch {
	case queries:
		store("o", &a.out[0], "D", "SCALE")
	case dk:
		store("o", &a.out[1], "D", "SCALE")
	}
	if dv {
		store("p", &a.out[2], "E", "1")
	}
	return w.launch()
}
