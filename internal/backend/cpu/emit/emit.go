// Package emit writes machine code for vectors.
//
// An Asm collects instructions, in the order and with the names of Go's assembler:
// sources first, the destination last. What was collected can be had in two forms.
// Text is the source of a function for Go's assembler, for kernels that go generate
// writes into the tree. Bytes is the same code in machine form, for kernels that
// are made while the program runs. So both kinds of kernel come from the same
// descriptions and share their tests.
//
// Code is a leaf: it calls nothing, keeps BP, SP and the stack as they are, and gets
// one argument, the address of a record, which Asm.Args moves to a register.
package emit

import (
	"encoding/binary"
	"slices"
)

// Reg is a register: AX … R15, or vector register i as X(i), Y(i), Z(i), or mask
// register K(i).
type Reg uint8

// General registers, numbered as the processor does.
const (
	AX Reg = iota
	CX
	DX
	BX
	SP
	BP
	SI
	DI
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
)

const (
	firstX Reg = 16
	firstY Reg = 48
	firstZ Reg = 80
	firstK Reg = 112
)

// X, Y and Z are vector register i of 16, 32 and 64 bytes; K is mask register i.
func X(i int) Reg { return firstX + Reg(i) }
func Y(i int) Reg { return firstY + Reg(i) }
func Z(i int) Reg { return firstZ + Reg(i) }
func K(i int) Reg { return firstK + Reg(i) }

// Operand is a Reg, a Mem, an Imm or a Label.
type Operand interface{ operand() }

// Mem is the memory at Base + Index·Scale + Disp, or a constant of the pool. Scale 0
// means that there is no index.
type Mem struct {
	Base, Index Reg
	Scale       uint8 // 0, 1, 2, 4, 8
	Disp        int32
	constant    int32 // > 0: number of a constant; the rest is unused but for Disp
}

// Imm is an immediate operand.
type Imm int64

// Label is a place in the code, the target of jumps.
type Label int32

// parameter is a function's parameter in memory.
type parameter struct {
	name   string
	offset int
}

func (Reg) operand()       {}
func (Mem) operand()       {}
func (Imm) operand()       {}
func (Label) operand()     {}
func (parameter) operand() {}

// Flags of an instruction, added to an Op: Zero clears the lanes that are not in the
// mask (.Z in Go's assembler), Bcst repeats a memory operand in all lanes (.BCST).
const (
	Zero Op = 1 << 14
	Bcst Op = 1 << 15

	flags = Zero | Bcst
)

// Asm is the code of one function.
type Asm struct {
	// AVX2 says that what needs AVX-512 is an error.
	AVX2 bool

	code      []instruction
	labels    Label
	constants [][]uint32
	known     map[string]int32 // the number of a constant by its bytes
}

// instruction is what I, Bind or Args was called with.
type instruction struct {
	op   Op
	args []Operand
}

// Beside instructions there is what Bind and Args leave.
const (
	bind Op = opCount + iota
	argument
)

// New begins a function.
func New() *Asm { return &Asm{known: make(map[string]int32)} }

// I adds an instruction. Operands are in the order of Go's assembler; a mask stands
// before the destination:
//
//	a.I(VADDPS, Z(2), Z(1), Z(0))             // Z0 = Z1 + Z2
//	a.I(VMOVUPS|Zero, mem, K(1), Z(0))        // lanes outside of K1 become zero
//	a.I(VMULPS|Bcst, mem, Z(1), Z(0))         // one float times all of Z1
//	a.I(VCMPPS, Imm(1), Z(1), Z(0), K(1), K(2)) // K2 = K1 & (Z0 < Z1)
//
// MOVQ and MOVL of a constant may or may not change the processor's flags.
func (a *Asm) I(op Op, args ...Operand) { a.code = append(a.code, instruction{op, args}) }

// NewLabel makes a place to jump to, which Bind puts somewhere.
func (a *Asm) NewLabel() Label { a.labels++; return a.labels }

// Bind puts a label in front of the next instruction.
func (a *Asm) Bind(l Label) { a.I(bind, l) }

// Args moves the address of the function's argument record to r. Function begins
// with it.
func (a *Asm) Args(r Reg) { a.I(argument, r) }

// Parameter moves one of several parameters, each of 8 bytes, to r: the one that lies
// at offset. Only the text form has functions with several.
func (a *Asm) Parameter(name string, offset int, r Reg) { a.I(argument, r, parameter{name, offset}) }

// Return ends the function.
func (a *Asm) Return() {
	a.I(VZEROUPPER)
	a.I(RET)
}

// Word is a constant of 4 bytes in memory. Equal ones are kept once.
func (a *Asm) Word(bits uint32) Mem { return a.Words(bits) }

// Words is a constant of several words in memory; Disp may be added to. The
// run-time form aligns constants of 64 bytes and more to 64, the text to 32.
func (a *Asm) Words(words ...uint32) Mem {
	var space [64]byte
	key := space[:0]
	for _, w := range words {
		key = binary.LittleEndian.AppendUint32(key, w)
	}
	n, ok := a.known[string(key)]
	if !ok {
		a.constants = append(a.constants, slices.Clone(words))
		n = int32(len(a.constants))
		a.known[string(key)] = n
	}
	return Mem{constant: n}
}
