package main

import (
	"fmt"

	. "github.com/sinter-dl/sinter/internal/backend/cpu/neon"
)

// The tile of NEON: eight rows of three vectors, in 24 of 32 registers.
const (
	neonRows    = 8
	neonVectors = 3
)

// neonKernel is kern for arm64. There is a pointer for each row, and an element of A
// is multiplied where it was loaded, without a broadcast.
func neonKernel(rows int, col bool) *Asm {
	const (
		pA, pB, pC, strideA, ldc, tiles = 1, 2, 3, 4, 5, 6
		row0                            = 8 // and the next seven
		k, tab, at                      = 16, 17, 19
		vecB                            = neonRows * neonVectors
		vecA                            = vecB + neonVectors
		nextC                           = 8 // behind the loop over k
	)
	a := new(Asm)
	for _, f := range []struct{ offset, reg int }{{oA, pA}, {oB, pB}, {oC, pC}, {oLdc, ldc}, {oTiles, tiles}} {
		a.Go("MOVD %d(R0), R%d", f.offset, f.reg)
	}
	if col {
		a.Go("MOVD %d(R0), R%d", oCsa, strideA)
	} else {
		a.Go("MOVD %d(R0), R%d", oRsa, strideA)
	}
	tile, loop, rest, one, done, store := a.Label(), a.Label(), a.Label(), a.Label(), a.Label(), a.Label()
	a.Bind(tile)
	a.Go("MOVD R%d, R%d", pA, row0)
	for i := 1; i < rows && !col; i++ {
		a.Go("ADD R%d, R%d, R%d", strideA, row0+i-1, row0+i)
	}
	for i := range rows * neonVectors {
		a.V(EOR, i, i, i)
	}
	step := func(u int) {
		a.Go("MOVD.P 8(R%d), R%d", tab, at)
		a.Go("ADD R%d, R%d", pB, at)
		for j := range neonVectors {
			a.M(LDRQ, vecB+j, at, 16*j)
		}
		for i := range rows {
			v, lane := vecA+i%5, 0
			switch {
			case !col:
				a.M(LDRS, v, row0+i, 4*u)
			case i < rows&^3: // four rows at a time, as long as all of them are there
				if v, lane = vecA+i/4, i%4; lane == 0 {
					a.M(LDRQ, v, row0, 4*i)
				}
			default:
				v = vecA + 1 + i%4
				a.M(LDRS, v, row0, 4*i)
			}
			for j := range neonVectors {
				a.C(FMLAE, lane, v, vecB+j, i*neonVectors+j)
			}
		}
		if col {
			a.Go("ADD R%d, R%d", strideA, row0)
		}
	}
	advance := func(n int) {
		for i := 0; i < rows && !col; i++ {
			a.Go("ADD $%d, R%d", 4*n, row0+i)
		}
	}
	a.Go("MOVD %d(R0), R%d", oK, k)
	a.Go("MOVD %d(R0), R%d", oTab, tab)
	a.Go("SUBS $%d, R%d", unroll, k)
	a.Go("BLT %s", rest)
	a.Bind(loop)
	for u := range unroll {
		step(u)
	}
	advance(unroll)
	a.Go("SUBS $%d, R%d", unroll, k)
	a.Go("BGE %s", loop)
	a.Bind(rest)
	a.Go("ADDS $%d, R%d", unroll, k)
	a.Go("BEQ %s", done)
	a.Bind(one)
	step(0)
	advance(1)
	a.Go("SUBS $1, R%d", k)
	a.Go("BNE %s", one)
	a.Bind(done)

	eachRow := func(f func(i int)) {
		a.Go("MOVD R%d, R%d", pC, nextC)
		for i := range rows {
			f(i)
			a.Go("ADD R%d, R%d", ldc, nextC)
		}
	}
	a.Go("MOVD %d(R0), R%d", oAcc, at)
	a.Go("CBZ R%d, %s", at, store)
	eachRow(func(i int) {
		for j := range neonVectors {
			a.M(LDRQ, vecB+j, nextC, 16*j)
			a.V(FADD, vecB+j, i*neonVectors+j, i*neonVectors+j)
		}
	})
	a.Bind(store)
	eachRow(func(i int) {
		for j := range neonVectors {
			a.M(STRQ, i*neonVectors+j, nextC, 16*j)
		}
	})
	for _, f := range []struct{ offset, reg int }{{oAstep, pA}, {oCstep, pC}} {
		a.Go("MOVD %d(R0), R%d", f.offset, at)
		a.Go("ADD R%d, R%d", at, f.reg)
	}
	a.Go("SUBS $1, R%d", tiles)
	a.Go("BNE %s", tile)
	return a
}

// neon adds the kernels for arm64.
func (f *file) neon() {
	for _, col := range []bool{false, true} {
		form := map[bool]string{false: "Row", true: "Col"}[col]
		fmt.Fprintf(&f.tables, "var kernNEON%s = [...]func(*args){\n\tnil", form)
		for rows := 1; rows <= neonRows; rows++ {
			name := fmt.Sprintf("kernNEON%sx%d", form, rows)
			neonKernel(rows, col).Text(&f.text, name, fmt.Sprintf("func %s(args *args)", name))
			fmt.Fprintf(&f.declarations, "//go:noescape\nfunc %s(args *args)\n\n", name)
			fmt.Fprintf(&f.tables, ", %s", name)
		}
		f.tables.WriteString(",\n}\n\n")
	}
}
