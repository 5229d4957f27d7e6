package emit

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// random makes operands.
type random struct{ *rand.Rand }

func (r random) general() Reg {
	for {
		if g := Reg(r.IntN(16)); g != SP && g != BP {
			return g
		}
	}
}

// vector is a vector register of so many bytes, one of 32 if high.
func (r random) vector(size int, high bool) Reg {
	n := 16
	if high {
		n = 32
	}
	return firstX + Reg(32*log2(size/16)+r.IntN(n))
}

func (r random) disp() int32 {
	switch r.IntN(5) {
	case 0:
		return 0
	case 1:
		return int32(r.IntN(256) - 128)
	case 2:
		return int32(r.IntN(400)-200) * 64
	case 3:
		return int32(r.IntN(4000)-2000) * 4
	}
	return int32(r.Uint32()) >> r.IntN(20)
}

func (r random) memory() Mem {
	m := Mem{Base: Reg(r.IntN(16)), Disp: r.disp()}
	if r.IntN(2) == 0 {
		m.Index, m.Scale = r.general(), 1<<r.IntN(4)
	}
	return m
}

// operand is a register or memory of class c, where vectors are of length bytes.
func (r random) operand(c class, length int, memory, high bool) Operand {
	if memory {
		m := r.memory()
		switch c &^ 15 {
		case 0:
			return nil
		case vs4:
			m.Index, m.Scale = r.vector(length, high), 1<<r.IntN(4)
		case hs8:
			m.Index, m.Scale = r.vector(max(16, length/2), high), 1<<r.IntN(4)
		}
		return m
	}
	switch c & 15 {
	case v:
		return r.vector(length, high)
	case h, q, e:
		return r.vector(max(16, length>>(c&15-v)), high)
	case x:
		return r.vector(16, high)
	case k:
		return K(r.IntN(8))
	case Reg(0).class():
		return r.general()
	}
	return nil
}

func (Reg) class() class { return r }

// instructions makes some of an operation's instructions: every form, every length
// of vectors, registers and memory, masks and constants of one element.
func (r random) instructions(op Op) []instruction {
	var all []instruction
	add := func(op Op, args ...Operand) {
		var p parts
		for i := range table[op&^flags].forms {
			if p.match(&table[op&^flags].forms[i], op, args) == nil {
				all = append(all, instruction{op, args})
				return
			}
		}
	}
	for _, f := range table[op].forms {
		for _, length := range []int{16, 32, 64} {
			for variant := range 16 {
				memory, high, masked, extra := variant&1 != 0, variant&2 != 0, variant&4 != 0, variant&8 != 0
				rmo := r.operand(f.rm, length, memory, high)
				if rmo == nil {
					continue
				}
				regc := f.reg
				vc := regc & 15
				if f.shape == vmi || vc == k && f.rm&15 == v {
					vc = v
				}
				reg, vo := r.operand(regc, length, false, high), r.operand(vc, length, false, high)
				imm := Imm(r.IntN(256)) | 32 // objdump has other names for some below
				if f.shape == vmi || f.reg == k && f.rm == k {
					imm = Imm(r.IntN(16))
				}
				var args []Operand
				switch f.shape {
				case rm:
					args = []Operand{rmo, reg}
				case mr:
					args = []Operand{reg, rmo}
				case rvm:
					args = []Operand{rmo, vo, reg}
				case mvr:
					args = []Operand{reg, vo, rmo}
				case rmi:
					args = []Operand{imm, rmo, reg}
				case mri:
					args = []Operand{imm, reg, rmo}
				case vmi:
					args = []Operand{imm, rmo, vo}
				case rvmi:
					args = []Operand{imm, rmo, vo, reg}
				case rvmr:
					args = []Operand{r.vector(length, false), rmo, vo, reg}
				case vrm:
					args = []Operand{vo, rmo, reg}
				}
				op := op
				if masked {
					n := len(args) - 1
					args = append(args[:n:n], K(1+r.IntN(7)), args[n])
				}
				if extra && memory {
					op |= Bcst
				}
				if masked && extra != (r.IntN(2) == 0) {
					op |= Zero
				}
				add(op, args...)
			}
		}
	}
	return all
}

// generalInstructions is instructions for those that are not on vectors.
func (r random) generalInstructions(op Op) []instruction {
	var all []instruction
	operands := func() []Operand {
		return []Operand{r.general(), r.general(), r.memory(), Imm(r.IntN(100) + 2), Imm(int32(r.Uint32())), Imm(r.Uint32()), Imm(-1 - r.IntN(1000)), CX, Imm(int64(r.Uint64()))}
	}
	add := func(args ...Operand) {
		e := encoder{labels: make([]int, 2)}
		if e.general(op, args) == nil {
			all = append(all, instruction{op, args})
		}
	}
	add()
	for range 4 {
		for _, x := range operands() {
			add(x)
			for _, y := range operands() {
				add(x, y)
			}
		}
		add(Imm(3+r.IntN(100)), r.general(), r.general())
		add(Imm(300+r.IntN(100000)), r.memory(), r.general())
	}
	return all
}

// sample is instructions of all kinds, with their bytes.
func sample(t *testing.T, r random) (all []instruction, code [][]byte) {
	for op := Op(1); op < opCount; op++ {
		l := r.instructions(op)
		if table[op].forms == nil {
			if l = r.generalInstructions(op); generals[op].kind == jump || generals[op].kind == jumpIf {
				continue // these are in TestJumps
			}
		}
		if len(l) == 0 {
			t.Errorf("%s has no operands", table[op].name)
		}
		for _, in := range l {
			e := encoder{}
			if err := e.instruction(in.op, in.args); err != nil {
				t.Errorf("%s: %v", (&Asm{}).line(in), err)
			}
			all = append(all, in)
			code = append(code, e.buf)
		}
	}
	return all, code
}

// assemble has Go's assembler translate the lines of a function and gives the bytes
// of each.
func assemble(t *testing.T, lines []string) [][]byte {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "x.s")
	if err := os.WriteFile(file, []byte("TEXT ·f(SB), 4, $0-8\n"+strings.Join(lines, "\n")+"\n\tRET\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "tool", "asm", "-e", "-S", "-p", "x", "-o", filepath.Join(dir, "x.o"), file)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("Go's assembler: %v\n%s", err, out)
	}
	at := make(map[int]int) // where the code of a line begins
	var code []byte
	place := regexp.MustCompile(`^\t0x[0-9a-f]+ (\d+) \(.*:(\d+)\)\t`)
	dump := regexp.MustCompile(`^\t0x[0-9a-f]{4,} ((?:[0-9a-f]{2} )+)`)
	for _, l := range strings.Split(string(out), "\n") {
		if m := place.FindStringSubmatch(l); m != nil {
			pc, _ := strconv.Atoi(m[1])
			line, _ := strconv.Atoi(m[2])
			if _, ok := at[line]; !ok {
				at[line] = pc
			}
		} else if m := dump.FindStringSubmatch(l); m != nil {
			b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			code = append(code, b...)
		}
	}
	result := make([][]byte, len(lines))
	for i := range lines {
		result[i] = code[at[i+2]:at[i+3]]
	}
	return result
}

// Every instruction is encoded as Go's assembler encodes its text, which the
// ahead-of-time kernels are made of.
func TestGoAssembler(t *testing.T) {
	all, code := sample(t, random{rand.New(rand.NewPCG(1, 2))})
	lines := make([]string, len(all))
	for i, in := range all {
		lines[i] = "\t" + (&Asm{}).line(in)
	}
	for i, want := range assemble(t, lines) {
		if !bytes.Equal(code[i], want) {
			t.Errorf("%s: % x, Go's assembler has % x", lines[i], code[i], want)
		}
	}
}

// What cannot be encoded is an error and never other code.
func TestErrors(t *testing.T) {
	m := Mem{Base: AX}
	for _, in := range []instruction{
		{0, nil},
		{VADDPS, []Operand{Z(1), Z(2)}},
		{VADDPS, []Operand{Z(1), Y(2), Z(3)}},
		{VADDPS, []Operand{Z(1), Z(2), K(0), Z(3)}},
		{VADDPS | Zero, []Operand{Z(1), Z(2), Z(3)}},
		{VADDPS | Bcst, []Operand{Z(1), Z(2), Z(3)}},
		{VADDPS, []Operand{AX, Z(2), Z(3)}},
		{VADDPS, []Operand{Imm(1), Z(2), Z(3)}},
		{VADDPS, []Operand{Mem{Base: AX, Index: CX, Scale: 3}, Z(2), Z(3)}},
		{VADDPS, []Operand{Mem{Base: AX, Index: SP, Scale: 1}, Z(2), Z(3)}},
		{VADDPS, []Operand{Mem{Base: X(1)}, Z(2), Z(3)}},
		{VMOVUPS | Zero, []Operand{Z(1), K(1), m}},
		{VMASKMOVPS, []Operand{m, Z(1), Z(2)}},
		{VBLENDVPS, []Operand{Y(1), Y(2), Y(3), Y(16)}},
		{VGATHERDPS, []Operand{Mem{Base: AX, Index: Z(1), Scale: 4}, Z(2)}},
		{VGATHERDPS, []Operand{Mem{Base: AX, Index: Z(2), Scale: 4}, K(1), Z(2)}},
		{VGATHERDPS, []Operand{Y(1), Mem{Base: AX, Index: Y(1), Scale: 4}, Y(2)}},
		{VPSRLD, []Operand{Imm(256), Y(1), Y(2)}},
		{MOVQ, []Operand{m, m}},
		{MOVQ, []Operand{X(1), AX}},
		{MOVL, []Operand{Imm(1 << 40), AX}},
		{ADDQ, []Operand{Imm(1 << 40), AX}},
		{SHLQ, []Operand{DX, AX}},
		{SHLL, []Operand{Imm(32), AX}},
		{LEAQ, []Operand{AX, CX}},
		{JMP, []Operand{AX}},
	} {
		a := New()
		a.I(in.op, in.args...)
		if code, err := a.Bytes(); err == nil {
			t.Errorf("%s is encoded as % x", a.name(in), code)
		}
	}
	a := New()
	a.I(JMP, a.NewLabel())
	if _, err := a.Bytes(); err == nil {
		t.Error("a jump to a label that is not bound is encoded")
	}
	a = New()
	a.AVX2 = true
	a.I(VADDPS, Y(1), Y(2), Y(3))
	if _, err := a.Bytes(); err != nil {
		t.Error(err)
	}
	a.I(VADDPS, Y(1), Y(2), Y(16))
	if _, err := a.Bytes(); err == nil {
		t.Error("AVX-512 is encoded for AVX2")
	}
}
