package dense

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// strided is an operand that has one distance between adjacent rows, or columns, and
// one between adjacent steps.
type strided struct {
	span
	name  string // of the pointer to the beginning of the matrix
	d     dtype.DType
	along bool // adjacent threads fetch adjacent steps, not rows
	vec   int  // elements that are fetched at once, in the direction that along tells
	each  int  // elements of the tile that a thread fetches
}

// span is the part of an operand that a tile is: how many rows or columns and steps, and
// expressions for how many rows there are in all, where the tile's begin, and where the
// steps end.
type span struct {
	width, steps      int
	count, first, end string
}

// newStrided is operand o, with rows or columns along its axis x and steps along k.
func (w *writer) newStrided(name string, o *kernel.Operand, x, k int, of span) *strided {
	w.operand(name, o)
	s := &strided{span: of, name: name, d: o.DType}
	sx, sk := o.Stride[x], o.Stride[k]
	s.along = sk == 1 && o.Shape[k] > 1 && !(sx == 1 && o.Shape[x] > 1)
	s.each = s.width * s.steps / w.group
	if s.vec = min(s.each, vectorOf(o.DType)); s.vec*o.DType.Size() < 8 || w.group == 1 {
		s.vec = 1
	}
	// Vectors are read where each of them begins at a multiple of their size.
	fast := s.vec > 1
	for i, st := range o.Stride {
		unit := i == x
		if s.along {
			unit = i == k
		}
		if o.Shape[i] > 1 && (unit && st != 1 || !unit && st%s.vec != 0) {
			fast = false
		}
	}
	w.stride(name+"_x", sx)
	w.stride(name+"_k", sk)
	w.flag(name+"_vec", fast)
	return s
}

func (s *strided) begin(w *writer) {
	across, n := s.width/s.vec, s.name
	if s.along {
		across = s.steps / s.vec
	}
	low, high := "x", "k"
	if s.along {
		low, high = "k", "x"
	}
	w.P("const i32 %s_%s0 = tid %% %d * %d, %s_%s0 = tid / %d;", n, low, across, s.vec, n, high, across)
	w.P("%s %s;", compute(s.d), list(s.each, func(i int) string { return fmt.Sprintf("%s_r%d = 0", n, i) }))
	if s.vec > 1 {
		w.P("const i32 %s_fast = %s_vec && ((u64)%s & %d) == 0;", n, n, n, s.vec*s.d.Size()-1)
	}
}

// part is the distance of a thread's i-th vector from its first one.
func (s *strided) part(w *writer, i int) (x, k int) {
	if s.along {
		return i * w.group / (s.steps / s.vec), 0
	}
	return 0, i * w.group / (s.width / s.vec)
}

func (s *strided) fetch(w *writer, kk string) {
	n := s.name
	for i := range s.each / s.vec {
		dx, dk := s.part(w, i)
		w.open("")
		w.P("const i32 x = %s + %s_x0 + %d, k = %s + %s_k0 + %d;", s.first, n, dx, kk, n, dk)
		w.P("const %s at = (%s)x * %s_x + (%s)k * %s_k;", w.index, w.index, n, w.index, n)
		r := func(j int) string { return fmt.Sprintf("%s_r%d", n, i*s.vec+j) }
		if s.vec > 1 {
			fits := fmt.Sprintf("x + %d <= %s && k < %s", s.vec, s.count, s.end)
			if s.along {
				fits = fmt.Sprintf("x < %s && k + %d <= %s", s.count, s.vec, s.end)
			}
			w.open("if (%s_fast && %s)", n, fits)
			w.vector(s.d, s.vec, n, "at", r)
			w.close()
			w.open("else")
		}
		for j := range s.vec {
			x, k, at := "x", "k", "at"
			if j > 0 && s.along {
				k, at = fmt.Sprintf("k + %d", j), fmt.Sprintf("at + (%s)%d * %s_k", w.index, j, n)
			} else if j > 0 {
				x, at = fmt.Sprintf("x + %d", j), fmt.Sprintf("at + (%s)%d * %s_x", w.index, j, n)
			}
			w.P("%s = %s < %s && %s < %s ? %s : 0;", r(j), x, s.count, k, s.end, load(s.d, n, at))
		}
		if s.vec > 1 {
			w.close()
		}
		w.close()
	}
}

func (s *strided) stash(w *writer, dst string) {
	for i := range s.each / s.vec {
		dx, dk := s.part(w, i)
		for j := range s.vec {
			x, k := dx, dk+j
			if !s.along {
				x, k = dx+j, dk
			}
			w.P("%s[(%s_k0 + %d) * %d + %s_x0 + %d] = %s_r%d;", dst, s.name, k, pitch(s.width), s.name, x, s.name, i*s.vec+j)
		}
	}
}

func (s *strided) pack(w *writer, dst string, panel int) {
	n := s.name
	w.open("for (i32 x = 0; x < %s - %s && x < %d; x += %d)", s.count, s.first, s.width, panel)
	w.P("SHARED_PTR %s *to = %s + x * kn;", compute(s.d), dst)
	w.P("const i32 many = min_i32(%s - %s - x, %d);", s.count, s.first, panel)
	w.P("GLOBAL %s *from = %s + ((%s)(%s + x) * %s_x + (%s)kk * %s_k);", storage(s.d), n, w.index, s.first, n, w.index, n)
	w.open("if (%s_x == 1 && many == %d)", n, panel)
	w.open("for (i32 k = 0; k < kn; k++)")
	w.P("for (i32 j = 0; j < %d; j++) to[k * %d + j] = %s;", panel, panel, load(s.d, "from", "j"))
	w.P("from += %s_k;", n)
	w.close()
	w.close()
	w.open("else")
	w.open("for (i32 j = 0; j < many; j++)")
	w.P("for (i32 k = 0; k < kn; k++) to[k * %d + j] = %s;", panel, load(s.d, "from", fmt.Sprintf("(%s)k * %s_k", w.index, n)))
	w.P("from += %s_x;", n)
	w.close()
	w.P("for (i32 j = many; j < %d; j++) for (i32 k = 0; k < kn; k++) to[k * %d + j] = 0;", panel, panel)
	w.close()
	w.close()
}
