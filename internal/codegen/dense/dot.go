package dense

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// product is a matrix product [batch…, M, K] × [batch…, K, N], and how it is done.
type product struct {
	target    *codegen.Target
	a, b, out kernel.Operand
	batches   int
	m, n, k   int
	acc       string
	t         tile
	skinny    *skinny // not nil: without tiles
	serial    bool    // by groups of one thread
	splits    int     // parts of the sum that different groups compute
	scratch   int
}

func newProduct(t *codegen.Target, a, b, out kernel.Operand, scratch int) *product {
	r := len(out.Shape)
	p := &product{target: t, scratch: scratch, a: a, b: b, out: out, batches: elements(out.Shape[:r-2]), m: out.Shape[r-2], n: out.Shape[r-1], k: a.Shape[r-1], acc: compute(a.DType)}
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

func (p *product) workspace() int { return partsBytes(p.splits, &p.out, p.acc) }

// partsBytes is the size of the parts of sums, if there is more than one.
func partsBytes(parts int, out *kernel.Operand, acc string) int {
	if parts < 2 {
		return 0
	}
	return parts * out.Elements() * bytes(acc)
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

// lower writes the product, and the addition of its parts.
func (p *product) lower() []codegen.Launch {
	if p.out.Elements() == 0 {
		return nil
	}
	l := []codegen.Launch{p.sums()}
	if p.splits > 1 {
		l = append(l, addParts(p.target, p.acc, p.scratch, p.splits, &p.out))
	}
	return l
}

// sums writes the product, or its parts.
func (p *product) sums() codegen.Launch {
	if p.skinny != nil {
		return p.skinny.lower()
	}
	threads := 1
	if !p.serial {
		threads = p.t.threads()
	}
	w := newWriter(p.target, "dot", threads, &p.a, &p.b, &p.out)
	p.result(w)
	r := len(p.out.Shape)
	w.groups(p.m, p.n, p.k, p.batches, p.splits, p.t)
	a := w.newStrided("A", &p.a, r-2, r-1, span{p.t.bm, p.t.bk, "M", "m0", "kend"})
	b := w.newStrided("B", &p.b, r-1, r-2, span{p.t.bn, p.t.bk, "N", "n0", "kend"})
	p.moveBatch(w, "A", "B")
	result := func(value, row, col string) { p.store(w, "("+w.index+")"+row+" * N + "+col, value) }
	if p.serial {
		w.serial(p.t, p.acc, a, b)
		w.serialResults(p.t, p.acc, result)
	} else {
		w.tiled(p.t, p.acc, a, b)
		w.results(p.t, result)
	}
	return w.launch()
}

// result passes where sums go: to the result, or as parts of it to scratch memory.
func (p *product) result(w *writer) {
	if p.splits > 1 {
		w.pointer("C", p.acc, p.scratch, 0)
	} else {
		w.operand("C", &p.out)
	}
}

func (p *product) store(w *writer, at, value string) {
	if p.splits == 1 {
		value = narrowed(p.out.DType, value)
	}
	w.P("C[%s] = %s;", at, value)
}

// moveBatch moves the operands to the matrices of this group's batch, and the result
// to its own or to its part.
func (p *product) moveBatch(w *writer, a, b string) {
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
	if p.splits > 1 {
		w.P("C += (i64)z * M * N;")
	} else {
		w.P("C += (i64)batch * M * N;")
	}
}

// addParts adds the parts of sums, in their order.
func addParts(t *codegen.Target, acc string, scratch, parts int, out *kernel.Operand) codegen.Launch {
	w := newWriter(t, "add_parts", 256, out)
	n := out.Elements()
	w.grid = ceil(n, w.group)
	w.pointer("P", acc, scratch, 0)
	w.operand("C", out)
	w.stride("COUNT", n)
	w.size("PARTS", parts)
	w.P("const %s i = (%s)GROUP(0) * %d + LOCAL(0);", w.index, w.index, w.group)
	w.open("if (i < COUNT)")
	w.P("%s sum = P[i];", acc)
	w.P("for (i32 s = 1; s < PARTS; s++) sum += P[i + s * (i64)COUNT];")
	w.P("C[i] = %s;", narrowed(out.DType, "sum"))
	w.close()
	return w.launch()
}
