package dense

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// product is a matrix product [batch…, M, K] × [batch…, K, N], and how it is done.
type product struct {
	sums
	a, b    kernel.Operand
	batches int
	m, n, k int
	t       tile
	skinny  *skinny // not nil: without tiles
	serial  bool    // by groups of one thread
}

// newProduct is the product of a and b that l is, or comes to.
func newProduct(l *kernel.Library, a, b, out kernel.Operand, t *codegen.Target) *product {
	r := len(out.Shape)
	p := &product{sums: sums{target: t, l: l, out: out, acc: compute(a.DType), splits: 1}, a: a, b: b, batches: elements(out.Shape[:r-2]), m: out.Shape[r-2], n: out.Shape[r-1], k: a.Shape[r-1]}
	p.t, p.serial = serialTile(t, p.acc)
	if !p.serial {
		p.t = chooseTile(t, p.acc, p.m, p.n, p.batches)
	}
	if out.Elements() == 0 {
		return p
	}
	if !p.serial {
		p.skinny = newSkinny(p)
	}
	if s := p.skinny; s != nil {
		p.splits = splits(t, ceil(s.columns, s.width())*p.batches, p.k, s.stride())
	} else {
		p.splits = splits(t, ceil(p.m, p.t.bm)*ceil(p.n, p.t.bn)*p.batches, p.k, p.t.bk)
	}
	return p
}

// chooseTile is the largest tile of which there are enough to occupy the device.
func chooseTile(t *codegen.Target, acc string, m, n, batch int) tile {
	tiles := []tile{
		{bm: 128, bn: 128, bk: 8, tm: 8, tn: 8},
		{bm: 128, bn: 64, bk: 8, tm: 8, tn: 4},
		{bm: 64, bn: 64, bk: 16, tm: 4, tn: 4},
		{bm: 32, bn: 32, bk: 32, tm: 2, tn: 2},
	}
	if bytes(acc) == 8 {
		tiles = []tile{
			{bm: 64, bn: 64, bk: 8, tm: 4, tn: 4},
			{bm: 32, bn: 32, bk: 16, tm: 2, tn: 2},
		}
	}
	for _, s := range tiles {
		if ceil(m, s.bm)*ceil(n, s.bn)*batch >= t.Units && 4*m > 3*s.bm && 4*n > 3*s.bn {
			return s
		}
	}
	return tiles[len(tiles)-1]
}

// splits is in how many parts to cut sums of k steps, of which so many tiles exist:
// enough to give every unit some groups, none shorter than 128 steps, all but the last
// a multiple.
func splits(t *codegen.Target, tiles, k, multiple int) int {
	if k == 0 || tiles >= 2*t.Units {
		return 1
	}
	n := max(1, min(ceil(4*t.Units, tiles), k/128))
	return ceil(k, round(ceil(k, n), multiple))
}

// batchAxes are the batch axes of both operands, put together where they allow.
type batchAxis struct{ extent, a, b int }

func batchAxes(a, b *kernel.Operand) []batchAxis {
	var l []batchAxis
	for i := range len(a.Shape) - 2 {
		x := batchAxis{a.Shape[i], a.Stride[i], b.Stride[i]}
		if x.extent == 1 {
			continue
		}
		if n := len(l); n > 0 && l[n-1].a == x.a*x.extent && l[n-1].b == x.b*x.extent {
			x.extent *= l[n-1].extent
			l = l[:n-1]
		}
		l = append(l, x)
	}
	for len(l) < 2 { // most have no more, and so share a kernel
		l = append(l, batchAxis{extent: 1})
	}
	return l
}

func (p *product) lower() ([]codegen.Launch, error) {
	var l launches
	switch {
	case p.out.Elements() == 0:
	case p.skinny != nil:
		l.add(p.skinny.launch())
	default:
		l.add(p.launch())
	}
	if p.workspace() > 0 {
		l.add(p.addParts())
	}
	return l.list, l.err
}

// launch writes the product on tiles.
func (p *product) launch() (codegen.Launch, error) {
	threads := 1
	if !p.serial {
		threads = p.t.threads()
	}
	w := newWriter(p.target, "dot", threads, &p.a, &p.b, &p.out)
	r := len(p.out.Shape)
	w.groups(p.m, p.n, p.k, p.batches, p.splits, p.t)
	a := w.newStrided("A", &p.a, r-2, r-1, span{p.t.bm, p.t.bk, "M", "mBegin", "kend"})
	b := w.newStrided("B", &p.b, r-1, r-2, span{p.t.bn, p.t.bk, "N", "nBegin", "kend"})
	end := p.ending(w)
	coords := p.moveBatch(w, end, "A", "B")
	result := func(value, row, col string) {
		end.finish(w, "("+w.index+")"+row+" * N + "+col, value, func() []string { return coords(row, col) })
	}
	if p.serial {
		w.serial(p.t, p.acc, a, b)
		w.serialResults(p.t, p.acc, result)
	} else {
		w.tiled(p.t, p.acc, a, b)
		w.results(p.t, p.acc, result)
	}
	return w.launch()
}

// moveBatch moves operands and result to the matrices of this group's batch. It gives the
// coordinates of a row and column there.
func (p *product) moveBatch(w *writer, end *ending, a, b string) func(row, col string) []string {
	w.open("")
	w.P("i32 rest = batch, at;")
	axes := batchAxes(&p.a, &p.b)
	for i := len(axes) - 1; i >= 0; i-- {
		e, sa, sb := fmt.Sprint("E", i), fmt.Sprint("A_b", i), fmt.Sprint("B_b", i)
		w.size(e, axes[i].extent)
		w.stride(sa, axes[i].a)
		w.stride(sb, axes[i].b)
		w.P("at = rest %% %s; rest /= %s; %s += (%s)at * %s; %s += (%s)at * %s;", e, e, a, w.index, sa, b, w.index, sb)
	}
	w.close()
	rows, columns := "M", "N"
	if s := p.skinny; s != nil && s.outCol != 1 {
		rows, columns = columns, rows
	}
	w.P("C += (i64)batch * M * N;")
	if p.l.Op != ir.DotGeneral { // the result has another shape
		return func(row, col string) []string {
			return end.unfold(w, fmt.Sprintf("((i64)batch * %s + %s) * %s + %s", rows, row, columns, col), len(p.l.Out[0].Shape))
		}
	}
	var outer []string
	if end.epilogue != nil {
		outer = end.unfold(w, "batch", len(p.out.Shape)-2)
	}
	return func(row, col string) []string { return append(slices.Clone(outer), row, col) }
}
