package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	. "github.com/sinter-dl/sinter/internal/backend/cpu/neon"
	"github.com/sinter-dl/sinter/internal/backend/cpu/simd"
	"github.com/sinter-dl/sinter/internal/ir"
)

// arm writes routines for arm64. The frame is the same as for amd64, but for the end
// of a row: NEON has no masks, so the last elements come one by one, in the lowest
// lane of a vector, through the same instructions.
type arm struct {
	*simd.V // the routine at hand
	text    bytes.Buffer
	names   []string
}

// Registers of the frame, by operand: where the row begins, what is added for the
// next one, and where the loop over the row is. R7 counts rows and R8 what is left of
// the row.
var (
	armRow     = map[byte]int{'D': 1, 'A': 2, 'B': 3}
	armAdvance = map[byte]int{'D': 4, 'A': 5, 'B': 6}
	armAt      = map[byte]int{'D': 9, 'A': 10, 'B': 11}
)

const (
	armRows = 7
	armLeft = 8
	armWalk = 12
	armDown = 13
)

func (g *arm) routine(name, used string, body func()) {
	g.V = simd.New(4)
	name += "NEON"
	for i := range len(used) {
		g.Neon.Go("MOVD %d(R0), R%d", field[used[i]], armRow[used[i]])
		g.Neon.Go("MOVD %d(R0), R%d", field[used[i]]+rowOffset, armAdvance[used[i]])
	}
	g.Neon.Go("MOVD %d(R0), R%d", fieldRows, armRows)
	body()
	g.Neon.Text(&g.text, name, fmt.Sprintf("func %s(args *Args)", name))
	g.names = append(g.names, name)
}

func (g *arm) rows(used string, body func()) {
	row, done := g.Neon.Label(), g.Neon.Label()
	g.Neon.Go("CMP $0, R%d", armRows)
	g.Neon.Go("BLE %s", done)
	g.Neon.Bind(row)
	body()
	for i := range len(used) {
		g.Neon.Go("ADD R%d, R%d", armAdvance[used[i]], armRow[used[i]])
	}
	g.Neon.Go("SUBS $1, R%d", armRows)
	g.Neon.Go("BNE %s", row)
	g.Neon.Bind(done)
}

// columns is the loop over a row, for unroll vectors, one vector or one element at a
// time.
func (g *arm) columns(used string, unroll int, body func(vectors int, single bool)) {
	a := g.Neon
	a.Go("MOVD %d(R0), R%d", fieldN, armLeft)
	for i := range len(used) {
		a.Go("MOVD R%d, R%d", armRow[used[i]], armAt[used[i]])
	}
	loop := func(elements int, body func()) {
		again, done := a.Label(), a.Label()
		a.Go("SUBS $%d, R%d", elements, armLeft)
		a.Go("BLT %s", done)
		a.Bind(again)
		body()
		for i := range len(used) {
			a.Go("ADD $%d, R%d", 4*elements, armAt[used[i]])
		}
		a.Go("SUBS $%d, R%d", elements, armLeft)
		a.Go("BGE %s", again)
		a.Bind(done)
		a.Go("ADD $%d, R%d", elements, armLeft)
	}
	if unroll > 1 {
		loop(4*unroll, func() { body(unroll, false) })
	}
	loop(4, func() { body(1, false) })
	loop(1, func() { body(1, true) })
}

func (g *arm) load(operand byte, u, r int, single bool) {
	if single {
		g.Neon.M(LDRS, r, armAt[operand], 0)
	} else {
		g.Neon.M(LDRQ, r, armAt[operand], 16*u)
	}
}

func (g *arm) store(u, r int, single bool) {
	if single {
		g.Neon.M(STRS, r, armAt['D'], 0)
	} else {
		g.Neon.M(STRQ, r, armAt['D'], 16*u)
	}
}

func (g *arm) routines() {
	for _, op := range []struct {
		name string
		ins  Op
	}{{"add", FADD}, {"sub", FSUB}, {"mul", FMUL}, {"div", FDIV}, {"max", FMAX}, {"min", FMIN}} {
		for form := range 3 {
			g.binary(op.name, form, op.ins)
		}
	}
	for op := range ir.Op(255) {
		if m, ok := simd.Unary[op]; ok && !slices.Contains(simd.NotNEON, op) {
			g.unary(op.String(), m)
		}
	}
	g.unary("intToFloat", simd.Math{Emit: func(v *simd.V, d, x int, _ []int) { v.Op(emit.VCVTDQ2PS, x, d) }})
	g.unary("roundBF16", simd.Math{Emit: func(v *simd.V, d, x int, _ []int) { v.RoundBF16(x, d, 28, 29) }})
	for _, op := range []struct {
		name string
		ins  Op
		id   uint32
	}{{"Sum", FADD, 0}, {"Max", FMAX, 0xff800000}, {"Min", FMIN, 0x7f800000}} {
		g.rowReduce("row"+op.name, op.ins, op.id)
		g.colReduce("col"+op.name, op.ins)
	}
}

func (g *arm) binary(name string, form int, op Op) {
	const scalar = 16
	g.routine(name+forms[form], "DAB", func() {
		g.rows("DAB", func() {
			switch form {
			case 1:
				g.Neon.M(LD1R, scalar, armRow['A'], 0)
			case 2:
				g.Neon.M(LD1R, scalar, armRow['B'], 0)
			}
			g.columns("DAB", 4, func(vectors int, single bool) {
				for u := range vectors {
					x, y, d := 3*u, 3*u+1, 3*u+2
					if form == 1 {
						x = scalar
					} else {
						g.load('A', u, x, single)
					}
					if form == 2 {
						y = scalar
					} else {
						g.load('B', u, y, single)
					}
					g.Neon.V(op, y, x, d)
					g.store(u, d, single)
				}
			})
		})
	})
}

func (g *arm) unary(name string, m simd.Math) {
	unroll := min(4, 28/(m.Temps+2))
	g.routine(name, "DA", func() {
		g.rows("DA", func() {
			g.columns("DA", unroll, func(vectors int, single bool) {
				for u := range vectors {
					x := u * (m.Temps + 2)
					t := make([]int, m.Temps)
					for i := range t {
						t[i] = x + 2 + i
					}
					g.load('A', u, x, single)
					m.Emit(g.V, x+1, x, t)
					g.store(u, x+1, single)
				}
			})
		})
	})
}

// rowReduce keeps eight accumulators and adds them up in a tree at the end. The
// instructions for maximum and minimum are NaN if an operand is.
func (g *arm) rowReduce(name string, op Op, id uint32) {
	const accumulators, identity = 8, 16
	g.routine(name, "DA", func() {
		g.Set(id, identity)
		g.rows("DA", func() {
			a := g.Neon
			for r := range accumulators {
				a.V(ORR, identity, identity, r)
			}
			g.columns("A", accumulators, func(vectors int, single bool) {
				for u := range vectors {
					x := accumulators + u
					if single {
						a.V(ORR, identity, identity, x)
						a.M(LD1S, x, armAt['A'], 0)
					} else {
						g.load('A', u, x, false)
					}
					a.V(op, x, u, u)
				}
			})
			for step := 1; step < accumulators; step *= 2 {
				for r := 0; r < accumulators; r += 2 * step {
					a.V(op, r+step, r, r)
				}
			}
			for _, bytes := range []int{8, 4} {
				a.V(ORR, 0, 0, 1)
				a.C(EXT, bytes, 0, 1)
				a.V(op, 1, 0, 0)
			}
			a.M(LDRS, 1, armRow['D'], 0)
			a.V(op, 0, 1, 0)
			a.M(STRS, 0, armRow['D'], 0)
		})
	})
}

// colReduce goes down the rows with four vectors of columns at a time.
func (g *arm) colReduce(name string, op Op) {
	g.routine(name, "DA", func() {
		a := g.Neon
		none := a.Label()
		a.Go("CMP $0, R%d", armRows)
		a.Go("BLE %s", none)
		g.columns("DA", 4, func(vectors int, single bool) {
			a.Go("MOVD R%d, R%d", armAt['A'], armWalk)
			a.Go("MOVD R%d, R%d", armRows, armDown)
			load := func(u, r int) {
				if single {
					a.M(LDRS, r, armWalk, 0)
				} else {
					a.M(LDRQ, r, armWalk, 16*u)
				}
			}
			for u := range vectors {
				load(u, u)
			}
			row, last := a.Label(), a.Label()
			a.Go("SUBS $1, R%d", armDown)
			a.Go("BEQ %s", last)
			a.Bind(row)
			a.Go("ADD R%d, R%d", armAdvance['A'], armWalk)
			for u := range vectors {
				load(u, 4+u)
				a.V(op, 4+u, u, u)
			}
			a.Go("SUBS $1, R%d", armDown)
			a.Go("BNE %s", row)
			a.Bind(last)
			for u := range vectors {
				g.load('D', u, 4, single)
				a.V(op, u, 4, 4)
				g.store(u, 4, single)
			}
		})
		a.Bind(none)
	})
}
