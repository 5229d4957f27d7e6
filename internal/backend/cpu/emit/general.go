package emit

import (
	"encoding/binary"
	"errors"
)

// kind is a family of instructions that are not on vectors.
type kind uint8

const (
	_     kind = iota
	move       // between registers and memory
	load       // to a register, widening; code is the opcode behind 0F, or 63
	arith      // code is the number of the operation in the group
	cmps       // as arith, with the operands in the order of the comparison
	tests
	unary    // code is the digit, behind F7 or FF
	multiply //
	multiply3
	shift // code is the digit
	address
	cmove // code is the condition
	jump
	jumpIf
	prefetch // code is the digit
	plain
)

// generals says how the other instructions are encoded, with the size of their
// operands in bytes.
var generals = map[Op]struct {
	kind kind
	size uint8
	code uint8
}{
	MOVQ: {move, 8, 0}, MOVL: {move, 4, 0}, MOVW: {move, 2, 0}, MOVB: {move, 1, 0},
	MOVWLZX: {load, 4, 0xb7}, MOVBLZX: {load, 4, 0xb6}, MOVLQSX: {load, 8, 0x63},
	LEAQ: {address, 8, 0x8d},
	ADDQ: {arith, 8, 0}, ADDL: {arith, 4, 0}, ORQ: {arith, 8, 1}, ORL: {arith, 4, 1}, ANDQ: {arith, 8, 4}, ANDL: {arith, 4, 4},
	SUBQ: {arith, 8, 5}, SUBL: {arith, 4, 5}, XORQ: {arith, 8, 6}, XORL: {arith, 4, 6},
	CMPQ: {cmps, 8, 7}, CMPL: {cmps, 4, 7}, CMPB: {cmps, 1, 7},
	TESTQ: {tests, 8, 0}, TESTL: {tests, 4, 0}, TESTB: {tests, 1, 0},
	INCQ: {unary, 8, 0}, INCL: {unary, 4, 0}, DECQ: {unary, 8, 1}, DECL: {unary, 4, 1},
	NOTQ: {unary, 8, 2}, NOTL: {unary, 4, 2}, NEGQ: {unary, 8, 3}, NEGL: {unary, 4, 3},
	IMULQ: {multiply, 8, 0}, IMUL3Q: {multiply3, 8, 0},
	SHLQ: {shift, 8, 4}, SHLL: {shift, 4, 4}, SHRQ: {shift, 8, 5}, SHRL: {shift, 4, 5}, SARQ: {shift, 8, 7}, SARL: {shift, 4, 7},
	CMOVQCS: {cmove, 8, 2}, CMOVQCC: {cmove, 8, 3}, CMOVQEQ: {cmove, 8, 4}, CMOVQNE: {cmove, 8, 5}, CMOVQLS: {cmove, 8, 6},
	CMOVQHI: {cmove, 8, 7}, CMOVQLT: {cmove, 8, 12}, CMOVQGE: {cmove, 8, 13}, CMOVQLE: {cmove, 8, 14}, CMOVQGT: {cmove, 8, 15},
	JMP: {jump, 0, 0},
	JOS: {jumpIf, 0, 0}, JOC: {jumpIf, 0, 1}, JCS: {jumpIf, 0, 2}, JCC: {jumpIf, 0, 3}, JEQ: {jumpIf, 0, 4}, JNE: {jumpIf, 0, 5},
	JLS: {jumpIf, 0, 6}, JHI: {jumpIf, 0, 7}, JMI: {jumpIf, 0, 8}, JPL: {jumpIf, 0, 9}, JPS: {jumpIf, 0, 10}, JPC: {jumpIf, 0, 11},
	JLT: {jumpIf, 0, 12}, JGE: {jumpIf, 0, 13}, JLE: {jumpIf, 0, 14}, JGT: {jumpIf, 0, 15},
	PREFETCHNTA: {prefetch, 0, 0}, PREFETCHT0: {prefetch, 0, 1}, PREFETCHT1: {prefetch, 0, 2}, PREFETCHT2: {prefetch, 0, 3},
	RET: {plain, 0, 0}, VZEROUPPER: {plain, 0, 0}, SFENCE: {plain, 0, 0},
}

// general encodes an instruction that is not on vectors.
func (e *encoder) general(op Op, args []Operand) error {
	g, ok := generals[op]
	if !ok {
		return errOperands
	}
	size, code := int(g.size), g.code
	switch g.kind {
	case plain:
		if len(args) != 0 {
			return errOperands
		}
		e.bytes(map[Op][]byte{RET: {0xc3}, VZEROUPPER: {0xc5, 0xf8, 0x77}, SFENCE: {0x0f, 0xae, 0xf8}}[op]...)
		return nil
	case jump, jumpIf:
		if len(args) != 1 {
			return errOperands
		}
		to, ok := args[0].(Label)
		if !ok || to <= 0 || int(to) >= len(e.labels) {
			return errOperands
		}
		if g.kind == jump {
			e.bytes(0xe9, 0, 0, 0, 0)
		} else {
			e.bytes(0x0f, 0x80|code, 0, 0, 0, 0)
		}
		n := len(e.buf)
		e.jumps = append(e.jumps, reference{at: n - 4, next: n, to: int32(to)})
		return nil
	case prefetch:
		if len(args) != 1 {
			return errOperands
		}
		if _, ok := args[0].(Mem); !ok {
			return errOperands
		}
		return e.modrm(4, []byte{0x0f, 0x18}, Imm(code), args[0], nil)
	case unary:
		if len(args) != 1 {
			return errOperands
		}
		opcode := byte(0xff)
		if code >= 2 {
			opcode = 0xf7
		}
		return e.modrm(size, []byte{opcode}, Imm(code), args[0], nil)
	case multiply3:
		if len(args) != 3 {
			return errOperands
		}
		n, isImm := args[0].(Imm)
		dst, isReg := args[2].(Reg)
		if !isImm || !isReg || !fitsInt32(n) {
			return errOperands
		}
		return e.modrmImm(size, 0x69, 0x6b, dst, args[1], n)
	}

	// What is left has a source and a destination.
	if len(args) != 2 {
		return errOperands
	}
	src, dst := args[0], args[1]
	if g.kind == cmps {
		src, dst = dst, src
	}
	from, fromReg := src.(Reg)
	to, toReg := dst.(Reg)
	imm, isImm := src.(Imm)
	if fromReg && !from.general() || toReg && !to.general() {
		return errOperands
	}
	_, fromMem := src.(Mem)
	_, toMem := dst.(Mem)
	wide := bit(size > 1)
	if bits := 8 * size; isImm && bits < 64 && g.kind != multiply && (imm < -1<<(bits-1) || imm >= 1<<bits) {
		return errors.New("the constant is too large")
	}
	switch g.kind {
	case move:
		switch {
		case isImm:
			return e.moveImm(size, imm, dst)
		case fromReg && (toReg || toMem):
			return e.modrm(size, []byte{0x88 | wide}, from, dst, nil)
		case fromMem && toReg:
			return e.modrm(size, []byte{0x8a | wide}, to, src, nil)
		}
	case load:
		opcode := []byte{0x0f, code}
		if op == MOVLQSX {
			opcode = opcode[1:]
		}
		if toReg && (fromMem || fromReg) {
			if op == MOVBLZX && fromReg {
				return e.modrmByte(size, opcode, to, from)
			}
			return e.modrm(size, opcode, to, src, nil)
		}
	case address:
		if fromMem && toReg {
			return e.modrm(size, []byte{code}, to, src, nil)
		}
	case arith, cmps:
		switch {
		case isImm && dst == AX && imm != Imm(int8(imm)) && (size < 8 || fitsInt32(imm)):
			return e.accumulator(size, code<<3|4, imm)
		case isImm && size == 1:
			return e.modrm(size, []byte{0x80}, Imm(code), dst, []byte{byte(imm)})
		case isImm && size > 1:
			if size == 4 {
				imm = Imm(int32(imm))
			}
			return e.modrmImm(size, 0x81, 0x83, Imm(code), dst, imm)
		case fromReg && (toReg || toMem):
			return e.modrm(size, []byte{code<<3 | wide}, from, dst, nil)
		case fromMem && toReg:
			return e.modrm(size, []byte{code<<3 | 2 | wide}, to, src, nil)
		}
	case tests:
		switch {
		case isImm && dst == AX && size > 1 && (size < 8 || fitsInt32(imm)):
			return e.accumulator(size, 0xa8, imm)
		case isImm && size == 1:
			return e.modrm(size, []byte{0xf6}, Imm(0), dst, []byte{byte(imm)})
		case isImm && fitsInt32(imm):
			return e.modrm(size, []byte{0xf7}, Imm(0), dst, binary.LittleEndian.AppendUint32(nil, uint32(imm)))
		case fromReg && (toReg || toMem):
			return e.modrm(size, []byte{0x84 | wide}, from, dst, nil)
		}
	case multiply:
		switch {
		case isImm && toReg && fitsInt32(imm):
			return e.modrmImm(size, 0x69, 0x6b, to, to, imm)
		case toReg && (fromReg || fromMem):
			return e.modrm(size, []byte{0x0f, 0xaf}, to, src, nil)
		}
	case shift:
		switch {
		case isImm && imm == 1:
			return e.modrm(size, []byte{0xd1}, Imm(code), dst, nil)
		case isImm && imm >= 0 && int(imm) < 8*size:
			return e.modrm(size, []byte{0xc1}, Imm(code), dst, []byte{byte(imm)})
		case from == CX && fromReg:
			return e.modrm(size, []byte{0xd3}, Imm(code), dst, nil)
		}
	case cmove:
		if toReg && (fromReg || fromMem) {
			return e.modrm(size, []byte{0x0f, 0x40 | code}, to, src, nil)
		}
	}
	return errOperands
}

// moveImm moves a constant.
func (e *encoder) moveImm(size int, imm Imm, dst Operand) error {
	to, toReg := dst.(Reg)
	word := binary.LittleEndian.AppendUint64(nil, uint64(imm))
	switch {
	case size < 4 && !toReg:
		return e.modrm(size, []byte{0xc6 | bit(size > 1)}, Imm(0), dst, word[:size])
	case toReg && (size == 4 || size == 8 && !fitsInt32(imm) && imm == Imm(uint32(imm))):
		if to >= R8 {
			e.bytes(0x41)
		}
		e.bytes(0xb8 | to.number()&7)
		e.bytes(word[:4]...)
		return nil
	case size == 4 || size == 8 && fitsInt32(imm):
		return e.modrm(size, []byte{0xc7}, Imm(0), dst, word[:4])
	case size == 8 && toReg:
		e.bytes(0x48|to.number()>>3, 0xb8|to.number()&7)
		e.bytes(word...)
		return nil
	}
	return errOperands
}

// accumulator encodes the short form of an instruction on AX and a constant.
func (e *encoder) accumulator(size int, opcode byte, imm Imm) error {
	if size == 8 {
		e.bytes(0x48)
	}
	e.bytes(opcode | bit(size > 1))
	e.bytes(binary.LittleEndian.AppendUint32(nil, uint32(imm))[:min(size, 4)]...)
	return nil
}

// modrmImm is modrm with an immediate of 1 or 4 bytes.
func (e *encoder) modrmImm(size int, long, short byte, reg, rm Operand, imm Imm) error {
	switch {
	case imm == Imm(int8(imm)):
		return e.modrm(size, []byte{short}, reg, rm, []byte{byte(imm)})
	case fitsInt32(imm):
		return e.modrm(size, []byte{long}, reg, rm, binary.LittleEndian.AppendUint32(nil, uint32(imm)))
	}
	return errOperands
}

// modrm encodes an instruction on operands of size bytes: prefixes, opcode, ModRM
// with reg, a register or, as an Imm, a digit, and the operand rm, and what follows.
func (e *encoder) modrm(size int, opcode []byte, reg, rm Operand, tail []byte) error {
	var number, base, index byte
	n, digit := reg.(Imm)
	if number = byte(n); !digit {
		number = reg.(Reg).number()
	}
	m, inMemory := rm.(Mem)
	r, isReg := rm.(Reg)
	switch {
	case isReg && r.general():
		base = r.number()
	case inMemory && m.valid():
		if m.constant == 0 {
			base = m.Base.number()
			if m.Scale != 0 {
				index = m.Index.number()
			}
		}
	default:
		return errOperands
	}
	if size == 2 {
		e.bytes(0x66)
	}
	rex := bit(size == 8)<<3 | number>>3<<2 | index>>3<<1 | base>>3
	// Without this prefix the bytes of registers 4 to 7 are others.
	if rex != 0 || size == 1 && (!digit && number >= 4 || isReg && base >= 4) {
		e.bytes(0x40 | rex)
	}
	e.bytes(opcode...)
	if inMemory {
		e.memory(number, m, 1, len(tail))
	} else {
		e.bytes(0xc0 | number&7<<3 | base&7)
	}
	e.bytes(tail...)
	return nil
}

// modrmByte is modrm of two registers of which from is a byte.
func (e *encoder) modrmByte(size int, opcode []byte, to, from Reg) error {
	if from >= SP && from <= DI && to < R8 {
		e.bytes(0x40) // as in modrm
	}
	return e.modrm(size, opcode, to, from, nil)
}
