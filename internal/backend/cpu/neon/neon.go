// Package neon is package emit for the vectors of arm64, as far as kernels that are
// compiled ahead of time need it.
//
// Go's assembler does not know most of these instructions. They are encoded here and
// written as words, with the instruction in ARM's syntax as a comment. What moves
// addresses, counts and jumps Go's assembler does know, and it is passed through.
//
// Code is a leaf, as in package emit. It may use all vector registers and R0 … R17,
// and R20 where it has constants.
package neon

import (
	"fmt"
	"io"
	"slices"
)

// Op is an instruction on vectors of four lanes of 4 bytes, by ARM's name.
type Op uint8

// The instructions, in the order of the table.
const (
	_ Op = iota

	// d = n op m.
	FADD
	FSUB
	FMUL
	FDIV
	FMAX
	FMIN
	FMLA // d += n·m
	FMLS // d -= n·m
	FCMEQ
	FCMGE
	FCMGT
	ADD
	SUB
	AND
	BIC // n &^ m
	ORR
	EOR
	BSL // d = d ? n : m, bit by bit
	BIT // d = m ? n : d
	BIF // d = m ? d : n

	// d = op n.
	FABS
	FNEG
	FSQRT
	FRINTN
	FRINTM
	FRINTP
	SCVTF
	FCVTNS
	MVN

	// d = n op constant.
	SHL
	USHR
	SSHR
	EXT // the lanes from constant/4 on of d and n, one after the other

	// d += n·m[constant].
	FMLAE

	// Between a register and memory: four lanes, or the lowest one, where a load
	// clears the others and LD1S keeps them.
	LDRQ
	STRQ
	LDRS
	STRS
	LD1R // one element in all lanes; no displacement
	LD1S // one element in lane 0, the others stay; no displacement

	opCount
)

// shape is how operands go into an instruction.
type shape uint8

const (
	three shape = iota
	two
	left  // a shift, by n in the field above the size
	right // by 64 - n
	ext
	element
	memory // the displacement counts in units
	plain  // no displacement
)

// form is a form of registers in ARM's syntax.
const (
	lanes = "v%d.4s"
	bits  = "v%d.16b"
)

var table = [opCount]struct {
	name  string
	form  string
	shape shape
	word  uint32
	unit  int
}{
	FADD: {"fadd", lanes, three, 0x4e20d400, 0}, FSUB: {"fsub", lanes, three, 0x4ea0d400, 0}, FMUL: {"fmul", lanes, three, 0x6e20dc00, 0},
	FDIV: {"fdiv", lanes, three, 0x6e20fc00, 0}, FMAX: {"fmax", lanes, three, 0x4e20f400, 0}, FMIN: {"fmin", lanes, three, 0x4ea0f400, 0},
	FMLA: {"fmla", lanes, three, 0x4e20cc00, 0}, FMLS: {"fmls", lanes, three, 0x4ea0cc00, 0},
	FCMEQ: {"fcmeq", lanes, three, 0x4e20e400, 0}, FCMGE: {"fcmge", lanes, three, 0x6e20e400, 0}, FCMGT: {"fcmgt", lanes, three, 0x6ea0e400, 0},
	ADD: {"add", lanes, three, 0x4ea08400, 0}, SUB: {"sub", lanes, three, 0x6ea08400, 0},
	AND: {"and", bits, three, 0x4e201c00, 0}, BIC: {"bic", bits, three, 0x4e601c00, 0}, ORR: {"orr", bits, three, 0x4ea01c00, 0},
	EOR: {"eor", bits, three, 0x6e201c00, 0}, BSL: {"bsl", bits, three, 0x6e601c00, 0}, BIT: {"bit", bits, three, 0x6ea01c00, 0}, BIF: {"bif", bits, three, 0x6ee01c00, 0},
	FABS: {"fabs", lanes, two, 0x4ea0f800, 0}, FNEG: {"fneg", lanes, two, 0x6ea0f800, 0}, FSQRT: {"fsqrt", lanes, two, 0x6ea1f800, 0},
	FRINTN: {"frintn", lanes, two, 0x4e218800, 0}, FRINTM: {"frintm", lanes, two, 0x4e219800, 0}, FRINTP: {"frintp", lanes, two, 0x4ea18800, 0},
	SCVTF: {"scvtf", lanes, two, 0x4e21d800, 0}, FCVTNS: {"fcvtns", lanes, two, 0x4e21a800, 0}, MVN: {"mvn", bits, two, 0x6e205800, 0},
	SHL: {"shl", lanes, left, 0x4f005400, 0}, USHR: {"ushr", lanes, right, 0x6f000400, 0}, SSHR: {"sshr", lanes, right, 0x4f000400, 0},
	EXT: {"ext", bits, ext, 0x6e000000, 0}, FMLAE: {"fmla", lanes, element, 0x4f801000, 0},
	LDRQ: {"ldr", "q%d", memory, 0x3dc00000, 16}, STRQ: {"str", "q%d", memory, 0x3d800000, 16},
	LDRS: {"ldr", "s%d", memory, 0xbd400000, 4}, STRS: {"str", "s%d", memory, 0xbd000000, 4},
	LD1R: {"ld1r", "{v%d.4s}", plain, 0x4d40c800, 0}, LD1S: {"ld1", "{v%d.s}[0]", plain, 0x0d408000, 0},
}

// Asm is the code of one function.
type Asm struct {
	lines     []string
	labels    int
	constants []uint32
}

// pool is the register that holds the address of the constants.
const pool = 20

// V adds an instruction on vector registers. As in package emit the sources come
// first, in the order m, n, and the destination d last.
func (a *Asm) V(op Op, regs ...int) { a.C(op, 0, regs...) }

// C is V for an instruction with a constant.
func (a *Asm) C(op Op, c int, regs ...int) {
	word, text, err := encode(op, c, regs)
	if err != nil {
		panic(err)
	}
	a.word(word, text)
}

func (a *Asm) word(word uint32, text string) {
	a.Go("WORD $0x%08x // %s", word, text)
}

// M adds a load or store of vector register v at displacement disp from general
// register base.
func (a *Asm) M(op Op, v, base, disp int) { a.C(op, disp, base, v) }

// Constant loads a constant into all lanes of register d.
func (a *Asm) Constant(bits uint32, d int) {
	i := slices.Index(a.constants, bits)
	if i < 0 {
		i = len(a.constants)
		a.constants = append(a.constants, bits)
	}
	a.M(LDRQ, d, pool, 16*i)
}

// Go adds a line for Go's assembler.
func (a *Asm) Go(format string, args ...any) {
	a.lines = append(a.lines, "\t"+fmt.Sprintf(format, args...))
}

// Label makes the name of a place to jump to, which Bind puts somewhere.
func (a *Asm) Label() string {
	a.labels++
	return fmt.Sprintf("l%d", a.labels)
}

// Bind puts a label in front of the next instruction.
func (a *Asm) Bind(label string) { a.lines = append(a.lines, label+":") }

// Text writes the function and its constants for Go's assembler. R0 holds the address
// of the argument record when it begins.
func (a *Asm) Text(w io.Writer, name, doc string) {
	if len(a.constants) > 0 {
		for i, c := range a.constants {
			for lane := range 4 {
				fmt.Fprintf(w, "DATA %sPool<>+%d(SB)/4, $0x%08x\n", name, 16*i+4*lane, c)
			}
		}
		fmt.Fprintf(w, "GLOBL %sPool<>(SB), RODATA|NOPTR, $%d\n\n", name, 16*len(a.constants))
	}
	fmt.Fprintf(w, "// %s\nTEXT ·%s(SB), NOSPLIT, $0-8\n\tMOVD args+0(FP), R0\n", doc, name)
	if len(a.constants) > 0 {
		fmt.Fprintf(w, "\tMOVD $%sPool<>(SB), R%d\n", name, pool)
	}
	for _, l := range a.lines {
		fmt.Fprintln(w, l)
	}
	fmt.Fprintf(w, "\tRET\n\n")
}

// encode is an instruction as a word and in ARM's syntax.
func encode(op Op, c int, regs []int) (word uint32, text string, err error) {
	bad := func(why string) (uint32, string, error) {
		return 0, "", fmt.Errorf("neon: %s %d %v: %s", table[op].name, c, regs, why)
	}
	f := table[op]
	count := map[shape]int{three: 3, element: 3}[f.shape]
	if count == 0 {
		count = 2
	}
	if len(regs) != count || slices.Min(regs) < 0 || slices.Max(regs) > 31 {
		return bad("no such registers")
	}
	d, n := regs[count-1], regs[count-2]
	word = f.word | uint32(n)<<5 | uint32(d)
	reg := func(i int) string { return fmt.Sprintf(f.form, i) }
	text = f.name + " " + reg(d) + ", "
	switch f.shape {
	case three:
		word |= uint32(regs[0]) << 16
		text += reg(n) + ", " + reg(regs[0])
	case two:
		text += reg(n)
	case left, right:
		field := 32 + c
		if f.shape == right {
			field = 64 - c
		}
		if c < 0 || c > 31 || f.shape == right && c == 0 {
			return bad("no such shift")
		}
		word |= uint32(field) << 16
		text += fmt.Sprintf("%s, #%d", reg(n), c)
	case ext:
		// ARM has a register for each half; here they are d and n.
		if c < 0 || c > 15 {
			return bad("no such place")
		}
		word = f.word | uint32(n)<<16 | uint32(c)<<11 | uint32(d)<<5 | uint32(d)
		text += fmt.Sprintf("%s, %s, #%d", reg(d), reg(n), c)
	case element:
		if c < 0 || c > 3 {
			return bad("no such lane")
		}
		word |= uint32(regs[0])<<16 | uint32(c&1)<<21 | uint32(c>>1)<<11
		text += fmt.Sprintf("%s, v%d.s[%d]", reg(n), regs[0], c)
	case memory:
		if c < 0 || c%f.unit != 0 || c/f.unit > 4095 {
			return bad("no such displacement")
		}
		word |= uint32(c/f.unit) << 10
		text += address(n, c)
	case plain:
		if c != 0 {
			return bad("there is no displacement")
		}
		text += address(n, 0)
	}
	return word, text, nil
}

func address(base, disp int) string {
	if disp == 0 {
		return fmt.Sprintf("[x%d]", base)
	}
	return fmt.Sprintf("[x%d, #%d]", base, disp)
}
