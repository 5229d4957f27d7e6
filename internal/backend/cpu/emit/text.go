package emit

import (
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"
)

// Text writes the function for Go's assembler, with doc as a comment in front. Its
// constants are for WriteConstants. It panics if the code cannot be encoded.
func (a *Asm) Text(w io.Writer, name, doc string) {
	frame := 8
	checked := *a
	checked.code = nil
	for _, in := range a.code {
		if in.op != argument {
			checked.code = append(checked.code, in)
		} else if len(in.args) > 1 {
			frame = max(frame, in.args[1].(parameter).offset+8)
		}
	}
	if _, err := checked.Bytes(); err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	if doc != "" {
		fmt.Fprintf(w, "// %s\n", strings.ReplaceAll(strings.TrimSpace(doc), "\n", "\n// "))
	}
	fmt.Fprintf(w, "TEXT ·%s(SB), NOSPLIT, $0-%d\n", name, frame)
	for _, in := range a.code {
		switch in.op {
		case bind:
			fmt.Fprintf(w, "%s:\n", a.operand(in.args[0]))
		default:
			fmt.Fprintf(w, "\t%s\n", a.line(in))
		}
	}
	fmt.Fprintln(w)
}

// WriteConstants writes the constants of functions that stand in one file, each
// once.
func WriteConstants(w io.Writer, functions ...*Asm) {
	all := make(map[string][]uint32)
	for _, a := range functions {
		for _, words := range a.constants {
			all[constantName(words)] = words
		}
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for i, bits := range all[name] {
			fmt.Fprintf(w, "DATA %s<>+%d(SB)/4, $0x%08x\n", name, 4*i, bits)
		}
		fmt.Fprintf(w, "GLOBL %s<>(SB), RODATA|NOPTR, $%d\n", name, 4*len(all[name]))
	}
	fmt.Fprintln(w)
}

// constantName is made of what a constant holds, so that it is one name in every
// function: the word and how often it is repeated, or a hash of different words.
func constantName(words []uint32) string {
	equal := !slices.ContainsFunc(words, func(w uint32) bool { return w != words[0] })
	switch {
	case len(words) == 1:
		return fmt.Sprintf("k%08x", words[0])
	case equal:
		return fmt.Sprintf("k%08xx%d", words[0], len(words))
	}
	h := fnv.New64a()
	for _, w := range words {
		h.Write([]byte{byte(w), byte(w >> 8), byte(w >> 16), byte(w >> 24)})
	}
	return fmt.Sprintf("c%016xx%d", h.Sum64(), len(words))
}

// line is an instruction as Go's assembler reads it.
func (a *Asm) line(in instruction) string {
	if in.op == argument {
		from := parameter{name: "args"}
		if len(in.args) > 1 {
			from = in.args[1].(parameter)
		}
		return fmt.Sprintf("MOVQ %s+%d(FP), %v", from.name, from.offset, in.args[0])
	}
	if op := in.op &^ flags; op == VDPBF16PS || op == VCVTNEPS2BF16 || op == VCVTNE2PS2BF16 {
		// Go's assembler does not know these.
		var e encoder
		if e.instruction(in.op, in.args) == nil && len(e.loads) == 0 {
			var b strings.Builder
			for _, c := range e.buf {
				fmt.Fprintf(&b, "BYTE $0x%02x; ", c)
			}
			return b.String() + "// " + a.name(in)
		}
	}
	return a.name(in)
}

// name is an instruction's name and operands.
func (a *Asm) name(in instruction) string {
	var b strings.Builder
	if op := in.op &^ flags; op < opCount {
		b.WriteString(table[op].name)
		b.WriteString(op.suffix(in.args))
	}
	if in.op&Bcst != 0 {
		b.WriteString(".BCST")
	}
	if in.op&Zero != 0 {
		b.WriteString(".Z")
	}
	for i, arg := range in.args {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(" " + a.operand(arg))
	}
	return b.String()
}

// suffix tells the length of a source that the destination does not tell.
func (op Op) suffix(args []Operand) string {
	f := table[op].forms
	if len(f) == 0 || len(args) < 2 {
		return ""
	}
	switch {
	case f[0].reg == h && f[0].rm == vm:
		source, _ := args[0].(Reg)
		return map[int]string{16: "X", 32: "Y"}[source.bytes()]
	case op == VFPCLASSPS || op == VFPCLASSPD:
		source, _ := args[1].(Reg)
		return map[int]string{16: "X", 32: "Y", 64: "Z"}[source.bytes()]
	}
	return ""
}

var generalNames = [16]string{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

func (r Reg) String() string {
	switch {
	case r < firstX:
		return generalNames[r]
	case r < firstY:
		return fmt.Sprintf("X%d", r-firstX)
	case r < firstZ:
		return fmt.Sprintf("Y%d", r-firstY)
	case r < firstK:
		return fmt.Sprintf("Z%d", r-firstZ)
	}
	return fmt.Sprintf("K%d", r-firstK)
}

func (a *Asm) operand(o Operand) string {
	switch o := o.(type) {
	case Reg:
		return o.String()
	case Imm:
		if o < 0 {
			return fmt.Sprintf("$%d", int64(o))
		}
		return fmt.Sprintf("$0x%x", int64(o))
	case Label:
		return fmt.Sprintf("l%d", o)
	case Mem:
		if o.constant > 0 {
			return fmt.Sprintf("%s<>+%d(SB)", constantName(a.constants[o.constant-1]), o.Disp)
		}
		s := fmt.Sprintf("(%v)", o.Base)
		if o.Disp != 0 {
			s = fmt.Sprintf("%d(%v)", o.Disp, o.Base)
		}
		if o.Scale != 0 {
			s += fmt.Sprintf("(%v*%d)", o.Index, o.Scale)
		}
		return s
	}
	return fmt.Sprint(o)
}
