package main

import (
	. "github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	"github.com/sinter-dl/sinter/internal/backend/cpu/simd"
)

const (
	minusInfinity = 0xff800000
	notEqual      = 4 // predicate of VCMPPS: not equal, or one is NaN
)

// scale is Scale: zero is added after the product has been rounded.
func (g *gen) scale() {
	g.binary("scale", 2, 4, func(x, y, d, t int) {
		g.Op(VXORPS, t, t, t)
		g.Op(VMULPS, y, x, d)
		g.Op(VADDPS, t, d, d)
	})
}

// tile is the frame of the routines on a tile that has a query in every column and a
// key in every row, so that what belongs to a query stays in one lane. A, B and C are
// vectors over the columns or, for A, may be another tile.
func (g *gen) tile(name string, body func(vectors int, masked bool)) {
	g.routine(name, "DABC", func() {
		done := g.NewLabel()
		g.I(TESTQ, R13, R13)
		g.I(JLE, done)
		g.columns(4, body)
		g.Bind(done)
	})
}

// down is a loop over the rows of the tile at Dst, where R10 walks; R14 counts.
func (g *gen) down(body func()) {
	next := g.NewLabel()
	g.I(LEAQ, at(DI, BX, 4), R10)
	g.I(MOVQ, R13, R14)
	g.Bind(next)
	body()
	g.I(ADDQ, R9, R10)
	g.I(DECQ, R14)
	g.I(JNZ, next)
}

// below is vector u of the row that a pointer has walked to.
func (g *gen) below(walker Reg, u int) Mem { return Mem{Base: walker, Disp: int32(4 * g.W * u)} }

// softmaxColumns is SoftmaxColumns: the maximum of each column, down the tile, then
// the powers and their sum.
func (g *gen) softmaxColumns() {
	const top, sum, x, d, t, u = 0, 4, 8, 9, 10, 11
	g.tile("softmaxColumns", func(vectors int, masked bool) {
		for i := range vectors {
			g.load('A', i, top+i, masked)
		}
		g.down(func() {
			for i := range vectors {
				g.Load(g.below(R10, i), x+i, masked)
				g.Op(VMAXPS, top+i, x+i, top+i) // NaN is not seen here but in the sum
			}
		})
		for i := range vectors {
			g.load('A', i, x, masked)
			g.Store(top+i, g.element('A', i, 4), masked)
			// Where there is nothing but −∞ yet, zero is subtracted.
			some := simd.Lanes{K: 2, R: t}
			g.CompareC(notEqual, top+i, minusInfinity, some)
			if g.W == 16 {
				g.I(VMOVAPS|Zero, Z(top+i), K(some.K), Z(top+i))
			} else {
				g.Op(VANDPS, some.R, top+i, top+i)
			}
			g.Op(VSUBPS, top+i, x, x)
			g.Weight(x, d, t, u)
			g.Store(d, g.element('C', i, 4), masked)
			g.load('B', i, sum+i, masked)
			g.Op(VMULPS, d, sum+i, sum+i)
		}
		g.down(func() {
			for i := range vectors {
				g.Load(g.below(R10, i), x, masked)
				g.Op(VSUBPS, top+i, x, x)
				g.Weight(x, d, t, u)
				g.Store(d, g.below(R10, i), masked)
				g.Op(VADDPS, d, sum+i, sum+i)
			}
		})
		for i := range vectors {
			g.Store(sum+i, g.element('B', i, 4), masked)
		}
	})
}

// softmaxGradColumns is SoftmaxGradColumns. R11 walks down the tile at A.
func (g *gen) softmaxGradColumns() {
	const lse, delta, x, d, t, u = 0, 4, 8, 9, 10, 11
	g.tile("softmaxGradColumns", func(vectors int, masked bool) {
		for i := range vectors {
			g.load('B', i, lse+i, masked)
			g.load('C', i, delta+i, masked)
		}
		g.I(LEAQ, at(SI, BX, 4), R11)
		g.I(MOVQ, arg(field['A']+rowOffset), R12)
		g.down(func() {
			for i := range vectors {
				g.Load(g.below(R10, i), x, masked)
				g.Op(VSUBPS, lse+i, x, x)
				g.Weight(x, d, t, u)
				g.Store(d, g.below(R10, i), masked)
				g.Load(g.below(R11, i), x, masked)
				g.Op(VSUBPS, delta+i, x, x)
				g.Op(VMULPS, d, x, x)
				g.Store(x, g.below(R11, i), masked)
			}
			g.I(ADDQ, R12, R11)
		})
	})
}
