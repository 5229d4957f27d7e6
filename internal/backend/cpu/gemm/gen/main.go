// Command gen writes the assembly of package gemm: the micro-kernels for every
// number of rows, the kernels that read a large matrix once, and the routines that
// pack operands. Run it through go generate.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"strings"

	. "github.com/sinter-dl/sinter/internal/backend/cpu/emit"
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

// field is a field of the record of arguments, which every kernel keeps in DI.
func field(offset int32) Mem { return at(DI, offset) }

// at is the memory at displacement disp from base.
func at(base Reg, disp int32) Mem { return Mem{Base: base, Disp: disp} }

// indexed is the memory at base + index·scale + disp.
func indexed(base, index Reg, scale uint8, disp int32) Mem {
	return Mem{Base: base, Index: index, Scale: scale, Disp: disp}
}

// moved is memory disp bytes further.
func moved(m Mem, disp int32) Mem {
	m.Disp += disp
	return m
}

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
	avx2 bool // vectors of 32 bytes
	wide bool // float64
	pair bool // pairs of bfloat16
	rows int
	nv   int
	mask bool // C is read and written with a mask; otherwise whole vectors
	col  bool
	copy bool // B is also copied to next, as a packed panel; of one tile only
}

// table is the name of the table of such kernels by their number of rows.
func (k kern) table() string {
	reg, form, elem := "Z", "Row", "32"
	if k.avx2 {
		reg = "Y"
	}
	if k.col {
		form = "Col"
	}
	switch {
	case k.wide:
		elem = "64"
	case k.pair:
		elem = "16"
	}
	if k.copy {
		form += "Copy"
	}
	return fmt.Sprintf("kern%s%s%sx%d", reg, elem, form, k.nv)
}

func (k kern) name() string {
	t := k.table()
	i := strings.LastIndexByte(t, 'x')
	return fmt.Sprintf("%sx%d%s", t[:i], k.rows, t[i:])
}

func (k kern) reg(i int) Reg {
	if k.avx2 {
		return Y(i)
	}
	return Z(i)
}

func (k kern) vectorBytes() int32 {
	if k.avx2 {
		return 32
	}
	return 64
}

// op is the instruction for the type of the elements.
func (k kern) op(single, double Op) Op {
	if k.wide {
		return double
	}
	return single
}

func (k kern) elem() int32 {
	if k.wide {
		return 8
	}
	return 4
}

// unroll is the number of steps in a turn of the loop; the code knows it is 1<<2.
const unroll = 4

var rowPtr = []Reg{AX, R12, R13, R14, R15}

// a is the address of A's element in row i at step u of the unrolled loop.
func (k kern) a(i, u int) Mem {
	if k.col {
		return at(AX, k.elem()*int32(i))
	}
	m := at(rowPtr[i/3], k.elem()*int32(u))
	if i%3 > 0 {
		m.Index, m.Scale = R8, uint8(i%3)
	}
	return m
}

// code is the kernel's code.
func (k kern) code() *Asm {
	a := New()
	a.AVX2 = k.avx2
	vb := k.vectorBytes()
	registers := 32
	if k.avx2 {
		registers = 16
	}
	nacc := k.rows * k.nv
	tmp := nacc + k.nv
	ntmp := min(registers-tmp, 4)
	if ntmp < 1 {
		log.Fatalf("%s needs more registers than there are", k.name())
	}
	// masked puts the mask of vector j before the destination.
	masked := func(j int, l ...Operand) []Operand {
		if !k.mask {
			return l
		}
		n := len(l) - 1
		return append(l[:n:n], K(j+1), l[n])
	}
	load := k.op(VMOVUPS, VMOVUPD)

	a.Args(DI)
	a.I(MOVQ, field(oA), AX)
	a.I(MOVQ, AX, field(oAt))
	a.I(MOVQ, field(oB), BX)
	a.I(MOVQ, field(oC), DX)
	if k.col {
		a.I(MOVQ, field(oCsa), R12)
	} else {
		a.I(MOVQ, field(oRsa), R8)
	}
	if k.mask {
		a.I(KMOVQ, field(oMask), K(1))
		if k.nv > 1 {
			a.I(KSHIFTRQ, Imm(16), K(1), K(2))
		}
	}
	tile := a.NewLabel()
	a.Bind(tile)
	a.I(MOVQ, field(oAt), AX)
	if !k.col && k.rows > 3 {
		a.I(LEAQ, indexed(R8, R8, 2, 0), CX)
		for g := 1; g*3 < k.rows; g++ {
			a.I(LEAQ, indexed(rowPtr[g-1], CX, 1, 0), rowPtr[g])
		}
	}
	for i := range nacc {
		if k.avx2 {
			a.I(VXORPS, Y(i), Y(i), Y(i))
		} else {
			a.I(VPXORQ, Z(i), Z(i), Z(i))
		}
	}
	a.I(MOVQ, field(oTab), R10)
	loadB := func(u int) {
		a.I(MOVQ, at(R10, int32(8*u)), R9)
		for j := range k.nv {
			a.I(load, indexed(BX, R9, 1, int32(j)*vb), k.reg(nacc+j))
		}
		if !k.copy {
			return
		}
		for j := range k.nv {
			a.I(load, k.reg(nacc+j), at(SI, int32(j)*vb))
		}
		a.I(ADDQ, Imm(vb*int32(k.nv)), SI)
	}
	multiply := func(i, t int) {
		op := k.op(VFMADD231PS, VFMADD231PD)
		if k.pair {
			op = VDPBF16PS
		}
		for j := range k.nv {
			a.I(op, k.reg(nacc+j), k.reg(t), k.reg(i*k.nv+j))
		}
	}
	step := func(u, of int) {
		loadB(u)
		for i := range k.rows {
			t := tmp + i%ntmp
			a.I(k.op(VBROADCASTSS, VBROADCASTSD), k.a(i, u), k.reg(t))
			multiply(i, t)
		}
		if k.col {
			a.I(ADDQ, R12, AX)
		}
		if u == of-1 {
			a.I(ADDQ, Imm(8*of), R10)
			for g := 0; g*3 < k.rows && !k.col; g++ {
				a.I(ADDQ, Imm(k.elem()*int32(of)), rowPtr[g])
			}
		}
	}
	// At each turn the loop fetches a row of memory that is needed later: of the
	// result first, which is needed at the end, then of what next says. A kernel that
	// copies has no register left for that.
	tail, long, start, loop := a.NewLabel(), a.NewLabel(), a.NewLabel(), a.NewLabel()
	if k.copy {
		a.I(MOVQ, field(oNext), SI)
	}
	a.I(MOVQ, field(oK), CX)
	a.I(SHRQ, Imm(2), CX)
	a.I(JZ, tail)
	if !k.copy {
		a.I(MOVQ, DX, SI)
		a.I(MOVQ, field(oLdc), R11)
		a.I(MOVQ, CX, R9)
		a.I(SUBQ, Imm(k.rows), R9)
		a.I(JGT, long)
		a.I(XORL, R9, R9)
		a.I(JMP, start)
		a.Bind(long)
		a.I(MOVQ, Imm(k.rows), CX)
		a.Bind(start)
		a.I(MOVQ, R9, field(oRest))
	}
	a.Bind(loop)
	for u := range unroll {
		step(u, unroll)
	}
	if !k.copy {
		a.I(PREFETCHT0, at(SI, 0))
		if vb*int32(k.nv) > 64 {
			a.I(PREFETCHT0, at(SI, 64))
		}
		a.I(ADDQ, R11, SI)
	}
	a.I(SUBQ, Imm(1), CX)
	a.I(JNZ, loop)
	if !k.copy {
		a.I(MOVQ, field(oRest), CX)
		a.I(TESTQ, CX, CX)
		a.I(JZ, tail)
		a.I(MOVQ, Imm(0), field(oRest))
		a.I(MOVQ, field(oNext), SI)
		a.I(MOVQ, field(oNextStep), R11)
		a.I(MOVQ, R11, R9)
		a.I(IMULQ, CX, R9)
		a.I(ADDQ, R9, field(oNext))
		a.I(JMP, loop)
	}

	one, done := a.NewLabel(), a.NewLabel()
	a.Bind(tail)
	a.I(MOVQ, field(oK), CX)
	a.I(ANDQ, Imm(3), CX)
	a.I(JZ, done)
	a.Bind(one)
	step(0, 1)
	a.I(SUBQ, Imm(1), CX)
	a.I(JNZ, one)
	a.Bind(done)
	if k.pair && !k.col {
		even := a.NewLabel()
		a.I(CMPQ, field(oOdd), Imm(0))
		a.I(JEQ, even)
		loadB(0)
		for i := range k.rows {
			t := tmp + i%ntmp
			a.I(MOVWLZX, k.a(i, 0), CX)
			a.I(VPBROADCASTD, CX, Z(t))
			multiply(i, t)
		}
		a.Bind(even)
	}

	store := a.NewLabel()
	eachRow := func(f func(acc, j int, c Mem)) {
		a.I(MOVQ, DX, CX)
		for i := range k.rows {
			for j := range k.nv {
				f(i*k.nv+j, j, at(CX, int32(j)*vb))
			}
			if i < k.rows-1 {
				a.I(ADDQ, R11, CX)
			}
		}
	}
	a.I(MOVQ, field(oLdc), R11)
	a.I(CMPQ, field(oAcc), Imm(0))
	a.I(JEQ, store)
	eachRow(func(acc, j int, c Mem) {
		a.I(k.op(VADDPS, VADDPD), masked(j, c, k.reg(acc), k.reg(acc))...)
	})
	a.Bind(store)
	eachRow(func(acc, j int, c Mem) { a.I(load, masked(j, k.reg(acc), c)...) })
	a.I(MOVQ, field(oAstep), CX)
	a.I(ADDQ, CX, field(oAt))
	a.I(ADDQ, field(oCstep), DX)
	a.I(SUBQ, Imm(1), field(oTiles))
	a.I(JNZ, tile)
	a.Return()
	return a
}

// file is what is written: the functions, their declarations and the tables of them.
type file struct {
	text, declarations, tables bytes.Buffer
}

// add writes a function of a record of arguments.
func (f *file) add(a *Asm, name, record string) {
	declaration := fmt.Sprintf("func %s(args *%s)", name, record)
	a.Text(&f.text, name, declaration)
	fmt.Fprintf(&f.declarations, "//go:noescape\n%s\n\n", declaration)
}

// copyFrom is the least number of rows of a kernel that copies: B is packed for at
// least 57 rows, which are cut into nearly equal tiles.
const copyFrom = 11

const head = "// Code generated by gen. DO NOT EDIT.\n\n"

func main() {
	var f file
	for _, t := range []struct {
		kern
		max int
	}{
		{kern{nv: 2, mask: true}, 14},
		{kern{nv: 1, mask: true}, 14},
		{kern{nv: 2, mask: true, col: true}, 14},
		{kern{nv: 1, mask: true, col: true}, 14},
		{kern{nv: 2, mask: true, copy: true}, 14},
		{kern{nv: 2, mask: true, copy: true, col: true}, 14},
		{kern{nv: 2, mask: true, pair: true}, 14},
		{kern{nv: 1, mask: true, pair: true}, 14},
		{kern{nv: 2, mask: true, pair: true, col: true}, 14},
		{kern{nv: 1, mask: true, pair: true, col: true}, 14},
		{kern{avx2: true, nv: 2}, 6},
		{kern{avx2: true, nv: 2, col: true}, 6},
		{kern{avx2: true, nv: 2, wide: true}, 6},
		{kern{avx2: true, nv: 2, wide: true, col: true}, 6},
	} {
		k := t.kern
		fmt.Fprintf(&f.tables, "var %s = [...]func(*args){\n\tnil", k.table())
		for k.rows = 1; k.rows <= t.max; k.rows++ {
			if k.copy && k.rows < copyFrom {
				f.tables.WriteString(", nil")
				continue
			}
			f.add(k.code(), k.name(), "args")
			fmt.Fprintf(&f.tables, ", %s", k.name())
		}
		f.tables.WriteString(",\n}\n\n")
	}
	f.streams()
	f.packing()
	f.write("amd64")

	var arm file
	arm.neon()
	arm.write("arm64")
}

func (f *file) write(arch string) {
	write("kern_"+arch+".s", head+"#include \"textflag.h\"\n\n"+f.text.String())
	write("kern_"+arch+".go", head+"package gemm\n\n"+f.tables.String()+f.declarations.String())
}

func write(name, text string) {
	if err := os.WriteFile(name, []byte(strings.TrimSuffix(text, "\n")), 0o666); err != nil {
		log.Fatal(err)
	}
}
