package cpu

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// group is a run of adjacent axes that every argument walks with one stride, that
// of the innermost axis of the run with more than one point, which stands for it.
type group struct{ axis, n int }

// mode says where the two axes of a tile come from.
type mode uint8

const (
	// modeLoop: both are outer axes; there is no inner one.
	modeLoop mode = iota
	// modeRows: columns are inner, rows outer points; a reduction goes along a
	// row. For reductions over memory that is contiguous along an inner axis.
	modeRows
	// modeCols: columns are outer, rows inner points; a reduction adds rows. For
	// memory that is contiguous along an outer axis: sums over a batch.
	modeCols
)

// layoutKey is all that the lowered code depends on besides the part itself.
type layoutKey struct {
	axes     uint64 // the axes that stand for a group
	row, col int8   // the axes of a tile; -1: a single point
	mode     mode
	whole    bool // a tile holds all inner points
}

const (
	// Points of a tile without reductions. Interpreted, its values must stay in the
	// nearest cache; native code has few in memory.
	loopTile, nativeTile = 1024, 4096

	// These fix the order of reductions, so they depend on nothing.
	rowTile     = 2048 // points of a tile of rows
	rowLimit    = 4096 // longest row that is reduced in one piece
	rowPiece    = 2048 // pieces of longer ones
	colTile     = 4096 // points of a tile in modeCols
	colWidth    = 256  // its columns
	colDepth    = 16   // its rows, at least
	colLimit    = 64   // most inner points that a tile of modeCols takes whole
	maxTile     = 4096 // the most points of any tile
	squareWidth = 64   // columns of a tile that transposes

	manyRows = 32 // that are worth a tile, however few its columns
)

// walk is how a part's points, or a box of them, are visited.
type walk struct {
	prog *program
	part *kernel.Part

	outer, inner []group // the axes that are stepped tile by tile
	base         []int   // by argument: the element at the first point

	rowN, colN   int // extents of the tile's axes
	tileR, tileC int
	rowTiles     int // rowN / tileR, rounded up
	colTiles     int

	tiles  int // outer tiles
	chunks int // tiles along the inner axes, per outer tile
	points int
	cost   float64 // estimated nanoseconds of one outer tile with all its chunks

	all []group // scratch of shape
}

// shape sets w up for the points lo ≤ p < hi of the outer axes, for all of them if
// lo is nil, and tells which code they need.
func (w *walk) shape(f *kernel.Fused, part *kernel.Part, lo, hi []int) layoutKey {
	w.part = part
	nOuter := len(part.Outer)
	extent := func(axis int) int {
		switch {
		case axis >= nOuter:
			return part.Inner[axis-nOuter]
		case lo != nil:
			return hi[axis] - lo[axis]
		}
		return part.Outer[axis]
	}
	w.base = w.base[:0]
	for i := range part.Args {
		b := part.Args[i].Offset
		for j := range lo {
			b += lo[j] * part.Args[i].Stride[j]
		}
		w.base = append(w.base, b)
	}

	w.all = w.all[:0]
	w.all = merge(w.all, part, 0, nOuter, extent)
	outer := len(w.all)
	w.all = merge(w.all, part, nOuter, nOuter+len(part.Inner), extent)
	og, ig := w.all[:outer], w.all[outer:]

	key := layoutKey{row: -1, col: -1}
	for _, g := range w.all {
		key.axes |= 1 << g.axis
	}
	w.points = 1
	for _, g := range w.all {
		w.points *= g.n
	}
	row, col, square := -1, -1, false
	if part.Inner == nil {
		col = best(og, part, false)
		row, square = partner(og, col, part, min(manyRows, loopPoints()/max(1, find(og, col))))
		w.outer = without(w.outer[:0], og, row, col)
		w.inner = w.inner[:0]
	} else {
		col = best(ig, part, true)
		oc := best(og, part, true)
		key.mode = modeRows
		if oc >= 0 && find(og, oc) >= 8 && unit(part, oc, true) > unit(part, col, true) {
			key.mode = modeCols
			col = oc
			row, _ = partner(ig, -1, part, manyRows)
		} else {
			row, _ = partner(og, -1, part, manyRows)
		}
		w.outer = without(w.outer[:0], og, row, col)
		w.inner = without(w.inner[:0], ig, row, col)
	}
	key.row, key.col = int8(row), int8(col)
	w.rowN, w.colN = find(w.all, row), find(w.all, col)

	switch key.mode {
	case modeLoop:
		points := loopPoints()
		width := points
		if square {
			width = squareWidth
		}
		w.tileC = even(w.colN, width)
		w.tileR = even(w.rowN, max(1, points/max(1, w.tileC)))
	case modeRows:
		w.tileC = w.colN
		if w.colN > rowLimit {
			w.tileC = rowPiece
		}
		key.whole = len(w.inner) == 0 && w.colN == w.tileC && w.colN > 0
		w.tileR = even(w.rowN, max(1, rowTile/max(1, w.tileC)))
	case modeCols:
		if key.whole = len(w.inner) == 0 && w.rowN <= colLimit && w.rowN > 0; key.whole {
			w.tileR = w.rowN
			w.tileC = even(w.colN, max(16, rowTile/w.rowN))
		} else {
			w.tileC = even(w.colN, colWidth)
			w.tileR = max(colDepth, colTile/max(1, min(w.colN, colWidth)))
		}
	}
	w.tileR, w.tileC = max(1, w.tileR), max(1, w.tileC)
	w.rowTiles = (w.rowN + w.tileR - 1) / w.tileR
	w.colTiles = (w.colN + w.tileC - 1) / w.tileC

	w.tiles, w.chunks = 1, 1
	for _, g := range w.outer {
		w.tiles *= g.n
	}
	for _, g := range w.inner {
		w.chunks *= g.n
	}
	switch key.mode {
	case modeLoop:
		w.tiles *= w.rowTiles * w.colTiles
	case modeRows:
		w.tiles *= w.rowTiles
		w.chunks *= w.colTiles
	case modeCols:
		w.tiles *= w.colTiles
		w.chunks *= w.rowTiles
	}
	w.cost = 200 + estimate(f, float64(w.points)/float64(max(1, w.tiles)))
	return key
}

// loopPoints is the number of points of a tile without reductions.
func loopPoints() int {
	if nativeLanes() > 0 {
		return nativeTile
	}
	return loopTile
}

// merge appends the groups of the axes from ≤ axis < to.
func merge(l []group, part *kernel.Part, from, to int, extent func(int) int) []group {
	first := len(l)
	for a := from; a < to; a++ {
		n := extent(a)
		if n == 1 {
			continue
		}
		if len(l) > first {
			g := &l[len(l)-1]
			joins := true
			for i := range part.Args {
				s := part.Args[i].Stride
				if s[g.axis] != s[a]*n {
					joins = false
					break
				}
			}
			if joins {
				g.axis = a
				g.n *= n
				continue
			}
		}
		l = append(l, group{a, n})
	}
	return l
}

// unit counts the arguments that are contiguous along an axis. Without inner axes it is
// their elements that count: the tensors decide how they are walked, and not the vectors
// that are repeated along them, however many.
func unit(part *kernel.Part, axis int, inner bool) int {
	if axis < 0 {
		return 0
	}
	n := 0
	for i := range part.Args {
		a := &part.Args[i]
		if a.Slot < 0 || a.Stride[axis] != 1 {
			continue
		}
		if inner && !slices.ContainsFunc(a.Stride[len(part.Outer):], func(s int) bool { return s != 0 }) {
			continue // an argument without inner axes has no say in how they are walked
		}
		weight := 1
		if !inner {
			for i, extent := range part.Outer {
				if a.Stride[i] != 0 {
					weight *= extent
				}
			}
		}
		n += weight
	}
	return n
}

// best is the group that most arguments are contiguous along, the last of equals,
// or -1 if there is none at all.
func best(gs []group, part *kernel.Part, inner bool) int {
	axis, most := -1, -1
	for _, g := range gs {
		if n := unit(part, g.axis, inner); n >= most {
			axis, most = g.axis, n
		}
	}
	return axis
}

// partner chooses the rows of a tile whose columns are col: an axis along which
// some argument is contiguous that is not along col, so that the tile is a square
// whose lines are used on both sides; else the last axis, along which a tile is
// mostly one piece of memory, or the longest if the last has fewer points than enough.
func partner(gs []group, col int, part *kernel.Part, enough int) (row int, square bool) {
	last := group{-1, 0}
	for _, g := range gs {
		if g.axis == col {
			continue
		}
		if col >= 0 {
			for i := range part.Args {
				s := part.Args[i].Stride
				if part.Args[i].Slot >= 0 && s[g.axis] == 1 && s[col] != 0 && s[col] != 1 {
					return g.axis, true
				}
			}
		}
		if g.n >= enough || g.n >= last.n {
			last = g
		}
	}
	return last.axis, false
}

func without(dst, gs []group, a, b int) []group {
	for _, g := range gs {
		if g.axis != a && g.axis != b {
			dst = append(dst, g)
		}
	}
	return dst
}

// find is the extent of the group that an axis stands for, 1 for axis -1.
func find(gs []group, axis int) int {
	for _, g := range gs {
		if g.axis == axis {
			return g.n
		}
	}
	return 1
}

// even cuts n into the fewest pieces of at most limit and makes them about equal,
// in multiples of a vector.
func even(n, limit int) int {
	if n <= limit {
		return n
	}
	pieces := (n + limit - 1) / limit
	return min(limit, ((n+pieces-1)/pieces+15)&^15)
}

// estimate is a rough time in nanoseconds for the code at n points, from which
// jobs are cut. Only its order of magnitude matters.
func estimate(f *kernel.Fused, n float64) float64 {
	t := 0.0
	for i := range f.Code {
		in := &f.Code[i]
		slow := 1.0
		if d := in.DType; d != float32Type && in.Kind == kernel.Apply {
			slow = 8
		}
		switch in.Kind {
		case kernel.Load, kernel.Store:
			t += 0.03 * float64(in.DType.Size())
		case kernel.Apply, kernel.Reduce:
			t += 0.06 * slow * float64(max(1, in.Op.Info().Cost/2))
		}
	}
	return t * n
}
