// Command gen prints the assembly of package gemm: the micro-kernels for every
// number of rows and the routines that pack operands. Run it through go generate.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
)

// Byte offsets of the fields of gemm.args, which a test compares with the struct.
const (
	oK = 8 * iota
	oA
	oB
	oTab
	oC
	oRsa
	oCsa
	oLdc
	oTiles
	oAstep
	oCstep
	oMask
	oAcc
	oOdd
	oNext
	oNextStep
	oAt
	oRest
)

// kern is one micro-kernel: a tile of rows × nv vectors of the result.
//
// The tile's accumulators start at zero and stay in registers; every step of k
// loads one row of B and broadcasts one element of each row of A. Where row k of B
// lies is read from a table of offsets, so that one kernel serves packed panels, B
// in place, and convolutions whose rows are shifted views of an image; the extra
// load is hidden, the kernels being bound by multiplications. B is always read in
// whole vectors: a masked load would take a turn on a port that multiplies.
//
// A comes in two forms. In a row kernel consecutive k are adjacent in memory and
// rows are rsa apart; one pointer per three rows reaches them all (index ×1, ×2).
// In a col kernel consecutive rows are adjacent and k steps are csa apart.
//
// A kernel for pairs multiplies bfloat16: what it calls an element of A or B is two
// values of adjacent k, whose products VDPBF16PS adds to a float32. Where the number
// of k is odd, the last value of a row of A stands alone and is read alone.
type kern struct {
	reg  string // "Z" or "Y"
	wide bool   // float64
	pair bool   // pairs of bfloat16
	rows int
	nv   int
	mask bool // C is read and written with a mask; otherwise whole vectors
	col  bool
}

func (k kern) name() string {
	form, elem := "Row", "32"
	if k.col {
		form = "Col"
	}
	switch {
	case k.wide:
		elem = "64"
	case k.pair:
		elem = "16"
	}
	return fmt.Sprintf("kern%s%s%sx%dx%d", k.reg, elem, form, k.rows, k.nv)
}

func (k kern) vectorBytes() int { return map[string]int{"Z": 64, "Y": 32}[k.reg] }

func (k kern) suffix() string {
	if k.wide {
		return "D"
	}
	return "S"
}

func (k kern) elem() int {
	if k.wide {
		return 8
	}
	return 4
}

// unroll is the number of steps in a turn of the loop; the code knows it is 1<<2.
const unroll = 4

var rowPtr = []string{"AX", "R12", "R13", "R14", "R15"}

// a is the address of A's element in row i at step u of the unrolled loop.
func (k kern) a(i, u int) string {
	if k.col {
		return fmt.Sprintf("%d(AX)", k.elem()*i)
	}
	return fmt.Sprintf("%d(%s)%s", k.elem()*u, rowPtr[i/3], []string{"", "(R8*1)", "(R8*2)"}[i%3])
}

func (k kern) print(p func(string, ...any)) {
	R, S, vb := k.reg, k.suffix(), k.vectorBytes()
	registers := map[string]int{"Z": 32, "Y": 16}[R]
	nacc := k.rows * k.nv
	tmp := nacc + k.nv
	ntmp := min(registers-tmp, 4)
	if ntmp < 1 {
		log.Fatalf("%s needs more registers than there are", k.name())
	}
	masked := func(j int) string {
		if k.mask {
			return fmt.Sprintf("K%d, ", j+1)
		}
		return ""
	}

	p("TEXT ·%s(SB), NOSPLIT, $0-8", k.name())
	p("MOVQ args+0(FP), DI")
	p("MOVQ %d(DI), AX", oA)
	p("MOVQ AX, %d(DI)", oAt)
	p("MOVQ %d(DI), BX", oB)
	p("MOVQ %d(DI), DX", oC)
	if k.col {
		p("MOVQ %d(DI), R12", oCsa)
	} else {
		p("MOVQ %d(DI), R8", oRsa)
	}
	if k.mask {
		p("KMOVQ %d(DI), K1", oMask)
		if k.nv > 1 {
			p("KSHIFTRQ $16, K1, K2")
		}
	}
	p("tile:")
	p("MOVQ %d(DI), AX", oAt)
	if !k.col && k.rows > 3 {
		p("LEAQ (R8)(R8*2), CX")
		for g := 1; g*3 < k.rows; g++ {
			p("LEAQ (%s)(CX*1), %s", rowPtr[g-1], rowPtr[g])
		}
	}
	for i := range nacc {
		if R == "Z" {
			p("VPXORQ Z%d, Z%d, Z%d", i, i, i)
		} else {
			p("VXORPS Y%d, Y%d, Y%d", i, i, i)
		}
	}
	p("MOVQ %d(DI), R10", oTab)
	loadB := func(u int) {
		p("MOVQ %d(R10), R9", 8*u)
		for j := range k.nv {
			p("VMOVUP%s %d(BX)(R9*1), %s%d", S, j*vb, R, nacc+j)
		}
	}
	multiply := func(i, t int) {
		for j := range k.nv {
			if k.pair {
				p("%s", dotPairs(nacc+j, t, i*k.nv+j))
			} else {
				p("VFMADD231P%s %s%d, %s%d, %s%d", S, R, nacc+j, R, t, R, i*k.nv+j)
			}
		}
	}
	step := func(u, of int) {
		loadB(u)
		for i := range k.rows {
			t := tmp + i%ntmp
			p("VBROADCASTS%s %s, %s%d", S, k.a(i, u), R, t)
			multiply(i, t)
		}
		if k.col {
			p("ADDQ R12, AX")
		}
		if u == of-1 {
			p("ADDQ $%d, R10", 8*of)
			for g := 0; g*3 < k.rows && !k.col; g++ {
				p("ADDQ $%d, %s", k.elem()*of, rowPtr[g])
			}
		}
	}
	// The loop fetches a row of memory that is needed later at each turn: of the
	// result first, which is needed at the end, then of what next says.
	p("MOVQ %d(DI), CX", oK)
	p("SHRQ $2, CX")
	p("JZ tail")
	p("MOVQ DX, SI")
	p("MOVQ %d(DI), R11", oLdc)
	p("MOVQ CX, R9")
	p("SUBQ $%d, R9", k.rows)
	p("JGT long")
	p("XORL R9, R9")
	p("JMP start")
	p("long:")
	p("MOVQ $%d, CX", k.rows)
	p("start:")
	p("MOVQ R9, %d(DI)", oRest)
	p("loop:")
	for u := range unroll {
		step(u, unroll)
	}
	p("PREFETCHT0 (SI)")
	if vb*k.nv > 64 {
		p("PREFETCHT0 64(SI)")
	}
	p("ADDQ R11, SI")
	p("SUBQ $1, CX")
	p("JNZ loop")
	p("MOVQ %d(DI), CX", oRest)
	p("TESTQ CX, CX")
	p("JZ tail")
	p("MOVQ $0, %d(DI)", oRest)
	p("MOVQ %d(DI), SI", oNext)
	p("MOVQ %d(DI), R11", oNextStep)
	p("MOVQ R11, R9")
	p("IMULQ CX, R9")
	p("ADDQ R9, %d(DI)", oNext)
	p("JMP loop")
	p("tail:")
	p("MOVQ %d(DI), CX", oK)
	p("ANDQ $3, CX")
	p("JZ done")
	p("one:")
	step(0, 1)
	p("SUBQ $1, CX")
	p("JNZ one")
	p("done:")
	if k.pair && !k.col {
		p("CMPQ %d(DI), $0", oOdd)
		p("JEQ even")
		loadB(0)
		for i := range k.rows {
			t := tmp + i%ntmp
			p("MOVWLZX %s, CX", k.a(i, 0))
			p("VPBROADCASTD CX, Z%d", t)
			multiply(i, t)
		}
		p("even:")
	}
	p("MOVQ %d(DI), R11", oLdc)
	p("CMPQ %d(DI), $0", oAcc)
	p("JEQ store")
	p("MOVQ DX, CX")
	for i := range k.rows {
		for j := range k.nv {
			acc := i*k.nv + j
			p("VADDP%s %d(CX), %s%d, %s%s%d", S, j*vb, R, acc, masked(j), R, acc)
		}
		if i < k.rows-1 {
			p("ADDQ R11, CX")
		}
	}
	p("store:")
	p("MOVQ DX, CX")
	for i := range k.rows {
		for j := range k.nv {
			p("VMOVUP%s %s%d, %s%d(CX)", S, R, i*k.nv+j, masked(j), j*vb)
		}
		if i < k.rows-1 {
			p("ADDQ R11, CX")
		}
	}
	p("MOVQ %d(DI), CX", oAstep)
	p("ADDQ CX, %d(DI)", oAt)
	p("ADDQ %d(DI), DX", oCstep)
	p("SUBQ $1, %d(DI)", oTiles)
	p("JNZ tile")
	p("VZEROUPPER")
	p("RET\n")
}

// dotPairs is VDPBF16PS Zb, Za, Zd, which Go's assembler lacks: the encoding is
// EVEX.512.F3.0F38.W0 52 /r. It stores register numbers inverted, a bit of each in
// the prefix.
func dotPairs(b, a, d int) string {
	inverted := func(bit int) int { return ^bit & 1 }
	p0 := inverted(d>>3)<<7 | inverted(b>>4)<<6 | inverted(b>>3)<<5 | inverted(d>>4)<<4 | 2
	p1 := (^a&15)<<3 | 1<<2 | 2
	p2 := 2<<5 | inverted(a>>4)<<3
	modrm := 3<<6 | d&7<<3 | b&7
	return fmt.Sprintf("LONG $0x%02x%02x%02x62; BYTE $0x52; BYTE $0x%02x // VDPBF16PS Z%d, Z%d, Z%d", p2, p1, p0, modrm, b, a, d)
}

func main() {
	var s, g strings.Builder
	const head = "// Code generated by gen. DO NOT EDIT.\n\n"
	s.WriteString(head + "#include \"textflag.h\"\n\n")
	g.WriteString(head + "package gemm\n\n")
	p := func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if !strings.HasPrefix(line, "TEXT") && !strings.HasSuffix(line, ":") {
			line = "\t" + line
		}
		s.WriteString(line + "\n")
	}
	var decls []string
	for _, f := range []struct {
		kern
		max int
	}{
		{kern{reg: "Z", nv: 2, mask: true}, 14},
		{kern{reg: "Z", nv: 1, mask: true}, 14},
		{kern{reg: "Z", nv: 2, mask: true, col: true}, 14},
		{kern{reg: "Z", nv: 1, mask: true, col: true}, 14},
		{kern{reg: "Z", nv: 2, mask: true, pair: true}, 14},
		{kern{reg: "Z", nv: 1, mask: true, pair: true}, 14},
		{kern{reg: "Z", nv: 2, mask: true, pair: true, col: true}, 14},
		{kern{reg: "Z", nv: 1, mask: true, pair: true, col: true}, 14},
		{kern{reg: "Y", nv: 2}, 6},
		{kern{reg: "Y", nv: 2, col: true}, 6},
		{kern{reg: "Y", nv: 2, wide: true}, 6},
		{kern{reg: "Y", nv: 2, wide: true, col: true}, 6},
	} {
		k := f.kern
		table := strings.Replace(k.name(), "x0x", "x", 1)
		fmt.Fprintf(&g, "var %s = [...]func(*args){\n\tnil", table)
		for k.rows = 1; k.rows <= f.max; k.rows++ {
			k.print(p)
			decls = append(decls, k.name()+"(args *args)")
			fmt.Fprintf(&g, ", %s", k.name())
		}
		g.WriteString(",\n}\n\n")
	}
	streams(p, &g, &decls)
	for _, d := range decls {
		fmt.Fprintf(&g, "//go:noescape\nfunc %s\n\n", d)
	}
	pack(&s)
	write("kern_amd64.s", s.String())
	write("kern_amd64.go", strings.TrimSuffix(g.String(), "\n"))
	neon(head)
}

func write(name, text string) {
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		log.Fatal(err)
	}
}
