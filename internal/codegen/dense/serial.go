package dense

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
)

// On a CPU the threads of a group run one after the other, and a barrier makes the
// compiler cut the kernel into loops over them. There a group is one thread, which
// does what a matrix product on a CPU does (Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication", 2008): it copies blocks of both operands so
// that what is read together lies together, and multiplies panels of them with as
// many sums in vector registers as these hold. The text has OpenCL's vectors.

// serialTile is a group's block on a CPU; tm and tn are those of a panel.
func serialTile(t *codegen.Target, acc string) (tile, bool) {
	lanes := 64 / bytes(acc)
	s := tile{bm: 128, bn: 128, bk: 256, tm: 8, tn: 2 * lanes}
	for ; s.serialLocal()*bytes(acc) > t.Local; s.bk /= 2 {
		if s.bk < 32 {
			return s, false
		}
	}
	return s, t.Serial && t.Dialect == codegen.OpenCL
}

// serialLocal is the number of elements of local memory: both operands and the sums.
func (t tile) serialLocal() int { return t.bm*t.bk + t.bn*t.bk + t.bm*t.bn }

// vectorType is OpenCL's name of a vector.
func vectorType(acc string, lanes int) string {
	return map[string]string{"f32": "float", "f64": "double", "u32": "uint", "u64": "ulong"}[acc] + fmt.Sprint(lanes)
}

// serial writes a product by groups of one thread.
func (w *writer) serial(t tile, acc string, a, b source) {
	lanes := t.tn / 2
	vector := vectorType(acc, lanes)
	w.shared(acc, "Ap", t.bm*t.bk)
	w.shared(acc, "Bp", t.bk*t.bn)
	w.shared(acc, "Ct", t.bm*t.bn)
	w.P("const i32 rows = min_i32(M - mBegin, %d), cols = min_i32(N - nBegin, %d);", t.bm, t.bn)
	w.P("for (i32 i = 0; i < (rows + %d) / %d * %d; i++) Ct[i] = 0;", t.tm-1, t.tm, t.tm*t.bn)
	w.open("for (i32 kk = kbegin; kk < kend; kk += %d)", t.bk)
	w.P("const i32 kn = min_i32(kend - kk, %d);", t.bk)
	a.pack(w, "Ap", t.tm)
	b.pack(w, "Bp", t.tn)
	w.open("for (i32 jp = 0; jp < cols; jp += %d) for (i32 ip = 0; ip < rows; ip += %d)", t.tn, t.tm)
	w.P("SHARED_PTR %s *pa = Ap + ip * kn, *pb = Bp + jp * kn;", acc)
	for i := range t.tm {
		w.P("%s p%d = 0, q%d = 0;", vector, i, i)
	}
	w.open("for (i32 k = 0; k < kn; k++)")
	w.P("const %s p = vload%d(0, pb), q = vload%d(1, pb);", vector, lanes, lanes)
	for i := range t.tm {
		form := "p%[1]d = fma((%[2]s)pa[%[1]d], p, p%[1]d); q%[1]d = fma((%[2]s)pa[%[1]d], q, q%[1]d);"
		if acc[0] == 'u' {
			form = "p%[1]d += (%[2]s)pa[%[1]d] * p; q%[1]d += (%[2]s)pa[%[1]d] * q;"
		}
		w.P(form, i, vector)
	}
	w.P("pa += %d; pb += %d;", t.tm, t.tn)
	w.close()
	w.P("SHARED_PTR %s *to = Ct + ip * %d + jp;", acc, t.bn)
	for i := range t.tm {
		w.P("vstore%d(vload%d(0, to) + p%d, 0, to); vstore%d(vload%d(1, to) + q%d, 1, to); to += %d;", lanes, lanes, i, lanes, lanes, i, t.bn)
	}
	w.close()
	w.close()
}

// serialResults is results for groups of one thread.
func (w *writer) serialResults(t tile, acc string, f func(value, row, col string)) {
	w.open("for (i32 i = 0; i < rows; i++) for (i32 j = 0; j < cols; j++)")
	w.P("const %s v = Ct[i * %d + j];", acc, t.bn)
	f("v", "(mBegin + i)", "(nBegin + j)")
	w.close()
}
