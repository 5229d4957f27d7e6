package dense

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// A product with few rows, or few columns, reads its large operand once and does little
// with it: what counts is that every thread has vectors of it on their way. Where the
// large operand's columns are adjacent, a thread has a vector of columns and goes down the
// steps; where its steps are, 32 threads share a column. Either way the sums of several
// threads are added in their order.
type skinny struct {
	*product
	small, large   *kernel.Operand
	smallX, smallK int // axes of the operands
	largeX, largeK int
	rows, columns  int
	outRow, outCol int
	vec            int
	down           bool // threads go down the steps
}

// skinnyRows is how many rows there may be.
const skinnyRows = 8

// newSkinny is the product as a skinny one, or nil if it is none.
func newSkinny(p *product) *skinny {
	r := len(p.out.Shape)
	s := &skinny{product: p, small: &p.a, large: &p.b, smallX: r - 2, smallK: r - 1, largeX: r - 1, largeK: r - 2, rows: p.m, columns: p.n, outRow: p.n, outCol: 1}
	if p.n < p.m {
		s.small, s.large = s.large, s.small
		s.smallX, s.smallK, s.largeX, s.largeK = r-1, r-2, r-2, r-1
		s.rows, s.columns, s.outRow, s.outCol = p.n, p.m, 1, p.n
	}
	if s.rows > skinnyRows || s.columns < 32 || p.k < 32 {
		return nil
	}
	s.down = s.large.Stride[s.largeK] != 1
	s.vec = vectorOf(s.large.DType)
	for i, st := range s.large.Stride {
		unit := i == s.largeX == s.down && (i == s.largeX || i == s.largeK)
		if s.large.Shape[i] > 1 && (unit && st != 1 || !unit && st%s.vec != 0) {
			s.vec = 1
		}
	}
	return s
}

// width is how many columns a group has.
func (s *skinny) width() int {
	if s.down {
		return 32 * s.vec
	}
	return 8
}

// stride is how many steps a group takes at once.
func (s *skinny) stride() int {
	if s.down {
		return 8
	}
	return 32 * s.vec
}

func (s *skinny) launch() (codegen.Launch, error) {
	rows := 1
	for rows < s.rows {
		rows *= 2
	}
	w := newWriter(s.target, "dot_skinny", 256, s.small, s.large, &s.out)
	w.operand("A", s.small)
	w.operand("B", s.large)
	each := max(s.stride(), round(ceil(s.k, s.splits), s.stride()))
	tiles := ceil(s.columns, s.width())
	w.grid = tiles * s.batches * s.splits
	w.size("M", s.rows)
	w.size("N", s.columns)
	w.size("K", s.k)
	w.size("TILES", tiles)
	w.size("BATCH", s.batches)
	w.size("STEPS", each)
	w.stride("A_x", s.small.Stride[s.smallX])
	w.stride("A_k", s.small.Stride[s.smallK])
	w.stride("B_x", s.large.Stride[s.largeX])
	w.stride("B_k", s.large.Stride[s.largeK])
	w.stride("C_row", s.outRow)
	w.stride("C_col", s.outCol)
	w.P("const i32 tid = LOCAL(0), z = GROUP(0) / TILES, nBegin = (GROUP(0) - z * TILES) * %d, split = z / BATCH, batch = z - split * BATCH;", s.width())
	w.P("const i32 kbegin = split * STEPS, kend = min_i32(K, kbegin + STEPS);")
	end := s.ending(w)
	a, b := "A", "B"
	if s.small != &s.a {
		a, b = b, a
	}
	coords := s.moveBatch(w, end, a, b)
	n := s.vec
	if s.down {
		w.P("const i32 lane = tid / 32, col = nBegin + tid %% 32 * %d;", n)
		w.P("const %s over = (%s)col * B_x;", w.index, w.index)
	} else {
		n = 1
		w.P("const i32 lane = tid %% 32, col = nBegin + tid / 32;")
		w.P("const %s over = (%s)min_i32(col, N - 1) * B_x;", w.index, w.index)
	}
	acc := s.acc
	for i := range rows {
		w.P("%s %s;", acc, list(n, func(j int) string { return fmt.Sprintf("c%d_%d = 0", i, j) }))
		w.P("const %s a%d = (%s)min_i32(%d, M - 1) * A_x;", w.index, i, w.index, i)
	}
	bs := func(j int) string { return fmt.Sprint("b", j) }
	if s.vec > 1 {
		w.P("const i32 fast = ((u64)B & %d) == 0;", s.vec*s.large.DType.Size()-1)
	}
	add := func(j, k int, at string) {
		for i := range rows {
			w.P("c%d_%d = %s;", i, j, mad(acc, load(s.small.DType, "A", fmt.Sprintf("a%d + %s", i, at)), fmt.Sprint("b", k), fmt.Sprintf("c%d_%d", i, j)))
		}
	}
	if s.down {
		w.P(`_Pragma("unroll 4")`)
		w.open("for (i32 k = kbegin + lane; k < kend; k += 8)")
		w.P("const %s at = over + (%s)k * B_k;", w.index, w.index)
		w.P("%s %s;", acc, list(s.vec, bs))
		s.vectorOrSingle(w, s.vec, "fast && col + %d <= N", "col + %d < N", "B_x", bs)
		for j := range s.vec {
			add(j, j, fmt.Sprintf("(%s)k * A_k", w.index))
		}
		w.close()
	} else {
		w.P(`_Pragma("unroll 2")`)
		w.open("for (i32 k = kbegin + lane * %d; k < kend; k += %d)", s.vec, 32*s.vec)
		w.P("const %s at = over + (%s)k * B_k;", w.index, w.index)
		w.P("%s %s;", acc, list(s.vec, bs))
		s.vectorOrSingle(w, s.vec, "fast && k + %d <= kend", "k + %d < kend", "B_k", bs)
		for j := range s.vec {
			add(0, j, fmt.Sprintf("(%s)min_i32(k + %d, kend - 1) * A_k", w.index, j))
		}
		w.close()
	}
	// The sums of the lanes, one row after the other.
	lanes, cols := 8, s.width()
	if !s.down {
		lanes = 32
	}
	w.shared(acc, "R", (cols+1)*lanes)
	for i := range rows {
		w.P("BARRIER();")
		for j := range n {
			if s.down {
				w.P("R[lane * %d + tid %% 32 * %d + %d] = c%d_%d;", cols+1, n, j, i, j)
			} else {
				w.P("R[lane * %d + tid / 32] = c%d_0;", cols+1, i)
			}
		}
		w.P("BARRIER();")
		w.open("if (%d < M && tid < %d && nBegin + tid < N)", i, cols)
		w.P("%s sum = R[tid];", acc)
		w.P("for (i32 l = 1; l < %d; l++) sum += R[l * %d + tid];", lanes, cols+1)
		end.finish(w, fmt.Sprintf("%d * C_row + (%s)(nBegin + tid) * C_col", i, w.index), "sum", func() []string {
			if s.outCol == 1 {
				return coords(fmt.Sprint(i), "nBegin + tid")
			}
			return coords("nBegin + tid", fmt.Sprint(i))
		})
		w.close()
	}
	return w.launch()
}

// vectorOrSingle reads n elements of B at at, together if they may be.
func (s *skinny) vectorOrSingle(w *writer, n int, together, exists, apart string, to func(int) string) {
	d := s.large.DType
	if n > 1 {
		w.open("if ("+together+")", n)
		w.vector(d, n, "B", "at", to)
		w.close()
		w.open("else")
	}
	for j := range n {
		w.P("%s = %s ? %s : 0;", to(j), fmt.Sprintf(exists, j), load(d, "B", fmt.Sprintf("at + %d * %s", j, apart)))
	}
	if n > 1 {
		w.close()
	}
}
