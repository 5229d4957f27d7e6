package emit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// Every instruction on vectors and masks means to the disassembler of binutils what
// it means here, also those that Go's assembler does not know.
func TestDisassembler(t *testing.T) {
	all, code := sample(t, random{rand.New(rand.NewPCG(3, 4))})
	found := disassemble(t, bytes.Join(code, nil))
	at := 0
	for i, in := range all {
		if table[in.op&^flags].forms != nil {
			if want := attLine(in); found[at] != want {
				t.Errorf("%s: % x is %q, want %q", (&Asm{}).name(in), code[i], found[at], want)
			}
		}
		at += len(code[i])
	}
}

// Jumps reach their labels, and instructions the constants of the pool.
func TestReferences(t *testing.T) {
	names := map[Op]string{JMP: "jmp", JOS: "jo", JOC: "jno", JCS: "jb", JCC: "jae", JEQ: "je", JNE: "jne", JLS: "jbe", JHI: "ja",
		JMI: "js", JPL: "jns", JPS: "jp", JPC: "jnp", JLT: "jl", JGE: "jge", JLE: "jle", JGT: "jg"}
	a := New()
	back, ahead := a.NewLabel(), a.NewLabel()
	var want []string
	a.I(RET)
	a.Bind(back)
	for op := Op(1); op < opCount; op++ {
		if kind := generals[op].kind; kind != jump && kind != jumpIf {
			continue
		}
		a.I(op, back)
		a.I(op, ahead)
		want = append(want, names[op]+" 0x1", names[op]+" AHEAD")
	}
	a.Bind(ahead)
	wide := a.Words(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
	part := wide
	part.Disp = 20
	a.I(VADDPS|Bcst, a.Word(99), Z(1), Z(2))
	a.I(VADDPS|Bcst, part, Z(1), Z(2))
	a.I(VSHUFPS, Imm(7), wide, Y(1), Y(2))
	a.I(CMPQ, a.Word(99), Imm(1000))
	a.I(RET)
	code, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	found := disassemble(t, code)
	places := slices.Sorted(maps.Keys(found))
	for i, w := range want {
		w = strings.Replace(w, "AHEAD", fmt.Sprintf("0x%x", places[len(want)+1]), 1)
		if got := found[places[i+1]]; got != w {
			t.Errorf("jump %d is %q, want %q", i, got, w)
		}
	}
	// The disassembler gives addresses behind a sign.
	for i, c := range []uint32{99, 6, 1, 99} {
		text := found[places[len(want)+1+i]]
		distance, err := strconv.ParseInt(regexp.MustCompile(`(-?0x[0-9a-f]+)\(%rip\)`).FindStringSubmatch(text)[1], 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		at := places[len(want)+2+i] + int(distance)
		if got := binary.LittleEndian.Uint32(code[at:]); got != c {
			t.Errorf("%s reads %d, want %d", text, got, c)
		}
		if c == 1 && at%64 != 0 {
			t.Errorf("64 bytes stand at %d", at)
		}
	}
}

// disassemble gives the instructions of code by their positions.
func disassemble(t *testing.T, code []byte) map[int]string {
	tool, err := exec.LookPath("objdump")
	testenv.Require(t, "objdump", err == nil, "there is no objdump of binutils")
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, code, 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-D", "-b", "binary", "-m", "i386:x86-64", "-w", "--no-show-raw-insn", file).CombinedOutput()
	if err != nil {
		t.Fatalf("objdump: %v\n%s", err, out)
	}
	found := make(map[int]string)
	for _, l := range strings.Split(string(out), "\n") {
		if place, text, ok := strings.Cut(l, ":\t"); ok {
			at, err := strconv.ParseInt(strings.TrimSpace(place), 16, 64)
			if err != nil {
				continue
			}
			text, _, _ = strings.Cut(text, "#")
			found[int(at)] = normal(text)
		}
	}
	return found
}

var half = regexp.MustCompile(`%(?:e([a-ds][xip])|(r\d+)d)\b`)

// normal removes from a disassembled instruction what does not matter: blanks,
// displacements of zero and the size of general registers.
func normal(s string) string {
	name, operands, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(s), "{evex} "), " ")
	s = name + " " + strings.ReplaceAll(strings.ReplaceAll(operands, " ", ""), ",0x0(", ",(")
	s = strings.Replace(s, " 0x0(", " (", 1)
	return half.ReplaceAllStringFunc(s, func(r string) string {
		if r[1] == 'e' {
			return "%r" + r[2:]
		}
		return strings.TrimSuffix(r, "d")
	})
}

// attLine is an instruction in the syntax of the GNU tools. Their order of operands
// is that of Go.
func attLine(in instruction) string {
	op := in.op &^ flags
	args := slices.Clone(in.args)
	mask := ""
	form := table[op].forms[0]
	for _, f := range table[op].forms {
		var p parts
		if p.match(&f, in.op, in.args) == nil {
			form = f
			if p.mask != 0 {
				n := len(args) - 1
				mask = fmt.Sprintf("{%s}", att(p.mask))
				args = slices.Delete(args, n-1, n)
			}
			break
		}
	}
	length := 0
	var text []string
	for _, a := range args {
		if r, ok := a.(Reg); ok {
			length = max(length, r.bytes())
		}
		text = append(text, att(a))
	}
	if in.op&Bcst != 0 {
		element := 4
		if form.encoding&b8 != 0 {
			element = 8
		}
		if form.reg == h { // the destination is half of what is read
			length *= 2
		}
		for i, a := range args {
			if _, ok := a.(Mem); ok {
				n := length / element
				if form.rm == hm {
					n /= 2
				}
				text[i] += fmt.Sprintf("{1to%d}", n)
			}
		}
	}
	text[len(text)-1] += mask
	if in.op&Zero != 0 {
		text[len(text)-1] += "{z}"
	}
	name := strings.ToLower(table[op].name)
	if form.reg == r && form.shape == vrm { // SHLXQ and its like, whose registers tell their size
		name = name[:len(name)-1]
	}
	return name + " " + strings.Join(text, ",")
}

func att(o Operand) string {
	switch o := o.(type) {
	case Reg:
		name := strings.ToLower(o.String())
		switch {
		case o.general() && o < R8:
			name = "r" + name
		case o.bytes() > 0:
			name = name[:1] + "mm" + name[1:]
		}
		return "%" + name
	case Imm:
		return fmt.Sprintf("$0x%x", uint8(o))
	case Mem:
		s := ""
		if o.Disp < 0 {
			s = fmt.Sprintf("-0x%x", -int64(o.Disp))
		} else if o.Disp > 0 {
			s = fmt.Sprintf("0x%x", o.Disp)
		}
		s += "(" + att(o.Base)
		if o.Scale != 0 {
			s += fmt.Sprintf(",%s,%d", att(o.Index), o.Scale)
		}
		return s + ")"
	}
	return fmt.Sprint(o)
}
