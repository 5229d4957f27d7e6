package emit

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Bytes is the code in machine form, which may lie anywhere: its constants follow
// it. It fails where an instruction has no such operands or a label is not bound.
func (a *Asm) Bytes() ([]byte, error) {
	e := encoder{avx2: a.AVX2, labels: make([]int, a.labels+1)}
	var errs []error
	for _, in := range a.code {
		if err := e.instruction(in.op, in.args); err != nil && len(errs) < 10 {
			errs = append(errs, fmt.Errorf("emit: %s: %w", a.line(in), err))
		}
	}
	for _, j := range e.jumps {
		target := e.labels[j.to]
		if target == 0 {
			errs = append(errs, fmt.Errorf("emit: label %d is not bound", j.to))
		}
		// Labels are stored one above their position, so that 0 is none.
		binary.LittleEndian.PutUint32(e.buf[j.at:], uint32(target-1-j.next))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	// The largest constants first, so that hardly any space is lost.
	order := make([]int, len(a.constants))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(len(a.constants[j]), len(a.constants[i])) })
	place := make([]int, len(order))
	for _, i := range order {
		words := a.constants[i]
		for len(e.buf)%min(64, 4<<log2(len(words))) != 0 {
			e.buf = append(e.buf, breakpoint)
		}
		place[i] = len(e.buf)
		for _, w := range words {
			e.buf = binary.LittleEndian.AppendUint32(e.buf, w)
		}
	}
	for _, l := range e.loads {
		binary.LittleEndian.PutUint32(e.buf[l.at:], uint32(place[l.to-1]+int(l.offset)-l.next))
	}
	return e.buf, nil
}

// breakpoint fills gaps.
const breakpoint = 0xcc

// log2 is the logarithm of n, rounded up.
func log2(n int) int {
	l := 0
	for 1<<l < n {
		l++
	}
	return l
}

// encoder writes machine code. The places that depend on what comes later are
// filled in at the end.
type encoder struct {
	avx2   bool // as in Asm
	buf    []byte
	labels []int // where a label is, plus one
	jumps  []reference
	loads  []reference
}

// reference is 4 bytes at a position, to hold the distance from next to a label or
// constant.
type reference struct {
	at, next int
	to       int32
	offset   int32
}

var (
	errOperands = errors.New("no such operands")
	errMask     = errors.New("no such mask")

	errParameters = errors.New("a function with several parameters has only a text")
)

func (e *encoder) instruction(op Op, args []Operand) error {
	switch op {
	case bind:
		e.labels[args[0].(Label)] = len(e.buf) + 1
		return nil
	case argument:
		if len(args) > 1 {
			return errParameters
		}
		if args[0] == AX {
			return nil
		}
		return e.general(MOVQ, []Operand{AX, args[0]})
	}
	if i := op &^ flags; i == 0 || i >= opCount {
		return errors.New("no such instruction")
	} else if table[i].forms == nil {
		return e.general(op, args)
	}
	err := errOperands
	for i := range table[op&^flags].forms {
		var p parts
		if err = p.match(&table[op&^flags].forms[i], op, args); err == nil {
			if p.evex && e.avx2 {
				return errors.New("this needs AVX-512")
			}
			e.vector(&p)
			return nil
		}
	}
	return err
}

// Registers by kind.
func (r Reg) general() bool { return r < firstX }
func (r Reg) vector() bool  { return r >= firstX && r < firstK }
func (r Reg) mask() bool    { return r >= firstK }

// number is a register's number among those of its kind.
func (r Reg) number() byte {
	switch {
	case r.general():
		return byte(r)
	case r.vector():
		return byte(r-firstX) & 31
	}
	return byte(r - firstK)
}

// bytes is the size of a vector register, 0 for others.
func (r Reg) bytes() int {
	if !r.vector() {
		return 0
	}
	return 16 << ((r - firstX) / 32)
}

// parts is an instruction on vectors or masks, its operands sorted by their place in
// the encoding.
type parts struct {
	form   *form
	op     Op
	reg, v Reg
	hasV   bool
	rm     Operand
	imm    byte
	hasImm bool
	mask   Reg // 0 if there is none
	length int // of the vectors, 0 if there are none
	evex   bool
}

// match finds out whether operands fit a form.
func (p *parts) match(f *form, op Op, args []Operand) error {
	*p = parts{form: f, op: op}
	if n := operands[f.shape]; len(args) == n+1 {
		mask, ok := args[n-1].(Reg)
		if !ok || !mask.mask() {
			return errOperands
		}
		if mask == K(0) {
			return errMask
		}
		p.mask = mask
		args = slices.Delete(slices.Clone(args), n-1, n)
	} else if len(args) != n {
		return errOperands
	}
	var regs [3]Reg // reg, v and, in shape rvmr, the register that stands for an immediate
	ok := true
	register := func(i int, o Operand) {
		r, is := o.(Reg)
		regs[i], ok = r, ok && is
		p.hasV = p.hasV || i == 1
	}
	immediate := func(o Operand) {
		n, is := o.(Imm)
		p.imm, p.hasImm, ok = byte(n), true, ok && is && n >= -128 && n <= 255
	}
	switch f.shape {
	case rmi, mri, vmi, rvmi:
		immediate(args[0])
		args = args[1:]
	case rvmr:
		register(2, args[0])
		args = args[1:]
	}
	switch f.shape {
	case rm, rmi:
		p.rm = args[0]
		register(0, args[1])
	case mr, mri:
		register(0, args[0])
		p.rm = args[1]
	case rvm, rvmi, rvmr:
		p.rm = args[0]
		register(1, args[1])
		register(0, args[2])
	case vmi:
		p.rm = args[0]
		register(1, args[1])
	case mvr:
		register(0, args[0])
		register(1, args[1])
		p.rm = args[2]
	case vrm:
		register(1, args[0])
		p.rm = args[1]
		register(0, args[2])
	}
	if !ok {
		return errOperands
	}
	p.reg, p.v = regs[0], regs[1]
	if !p.setLength() {
		return errOperands
	}
	classOfV := f.reg & 15
	if f.shape == vmi || classOfV == k && f.rm&15 == v {
		classOfV = v
	}
	switch {
	case f.encoding&from32 != 0 && p.length < 32, f.encoding&only64 != 0 && p.length < 64:
		return errOperands
	case f.encoding&unmasked != 0 && p.mask != 0:
		return errMask
	case f.shape != vmi && !f.reg.fits(p.reg, p.length):
		return errOperands
	case p.hasV && !classOfV.fits(p.v, p.length):
		return errOperands
	case !f.rm.fits(p.rm, p.length):
		return errOperands
	case f.shape == rvmr && !v.fits(regs[2], p.length):
		return errOperands
	}
	if f.shape == rvmr {
		p.imm, p.hasImm = regs[2].number()<<4, true
		if regs[2].number() > 15 {
			return errOperands
		}
	}
	return p.choose()
}

// setLength finds the length of the vectors from the operands.
func (p *parts) setLength() bool {
	f := p.form
	inMemory, _ := p.rm.(Reg)
	switch {
	case f.shape == vmi:
		p.length = p.v.bytes()
	case f.reg&15 == v:
		p.length = p.reg.bytes()
	case f.rm&15 == v && p.hasV:
		p.length = p.v.bytes()
	case f.rm&15 == v && inMemory.vector():
		p.length = inMemory.bytes()
	case f.reg&15 == h && p.reg.bytes() == 32: // from memory, and 16 could be half of 16 or 32
		p.length = 64
	case f.reg&15 == h || f.rm&15 == v:
		return false
	default:
		return true
	}
	return p.length != 0
}

// fits tells whether an operand is of a class, with vectors of length bytes.
func (c class) fits(o Operand, length int) bool {
	switch o := o.(type) {
	case Reg:
		switch c & 15 {
		case v:
			return o.vector() && o.bytes() == length
		case h, q, e:
			return o.vector() && o.bytes() == max(16, length>>(c&15-v))
		case x:
			return o.bytes() == 16
		case k:
			return o.mask() && o <= K(7)
		case r:
			return o.general()
		}
	case Mem:
		index := length
		switch c &^ 15 {
		case 0:
			return false
		case hs8:
			index = max(16, length/2)
			fallthrough
		case vs4:
			return o.constant == 0 && o.Base.general() && o.Index.bytes() == index && o.scale() >= 0
		}
		return o.valid()
	}
	return false
}

// valid tells whether general instructions can address the memory.
func (o Mem) valid() bool {
	switch {
	case o.constant > 0:
		return true
	case o.Scale == 0:
		return o.Base.general()
	}
	return o.Base.general() && o.Index.general() && o.Index != SP && o.scale() >= 0
}

// scale is the logarithm of Scale, or -1.
func (o Mem) scale() int { return slices.Index([]uint8{1, 2, 4, 8}, o.Scale) }

// choose decides between the encodings for AVX and AVX-512. The former is taken
// where it can be: it is shorter and runs everywhere.
func (p *parts) choose() error {
	f := p.form
	m, inMemory := p.rm.(Mem)
	high := p.length == 64 || p.reg.vector() && p.reg.number() > 15 || p.v.vector() && p.v.number() > 15
	if r, ok := p.rm.(Reg); ok {
		high = high || r.vector() && r.number() > 15
	} else {
		high = high || m.Index.vector() && m.Index.number() > 15
	}
	indexed := f.rm&^15 == vs4 || f.rm&^15 == hs8
	p.evex = high || p.mask != 0 || p.op&flags != 0 || f.encoding&vex == 0
	switch {
	case p.evex && f.encoding&evex == 0:
		return errOperands
	case p.op&Bcst != 0 && (!inMemory || f.encoding&(b4|b8) == 0):
		return errors.New("nothing to be repeated in all lanes")
	case indexed && (p.reg.number() == m.Index.number() || f.shape == vrm && (p.v.number() == p.reg.number() || p.v.number() == m.Index.number())):
		return errors.New("destination, indices and mask have to be different registers")
	case p.op&Zero != 0 && p.mask == 0, p.evex && indexed && p.mask == 0:
		return errMask
	case p.op&Zero != 0 && (f.reg&15 == k || indexed || inMemory && (f.shape == mr || f.shape == mri)):
		return errMask
	}
	return nil
}

// vector encodes an instruction on vectors or masks.
func (e *encoder) vector(p *parts) {
	f := p.form
	reg, vnum := p.reg.number(), byte(0)
	if f.shape == vmi {
		reg = f.digit
	}
	if p.hasV {
		vnum = p.v.number()
	}
	var rmReg, base, index byte // what extends ModRM and SIB
	m, inMemory := p.rm.(Mem)
	if inMemory {
		if m.constant == 0 {
			base = m.Base.number()
			if m.Scale != 0 {
				index = m.Index.number()
			}
		}
	} else {
		rmReg = p.rm.(Reg).number()
		base, index = rmReg, rmReg>>1 // bit 4 of a register is where the index has bit 3
	}
	prefix, opcodes := byte(f.encoding&3), byte(f.encoding>>2&3)
	scale := 1
	if p.evex {
		bit4 := vnum
		if inMemory && m.Index.vector() {
			bit4 = index
		}
		long := byte(p.length / 32) // 0, 1 or 2
		e.bytes(0x62,
			^reg<<4&0x80|^index<<3&0x40|^base<<2&0x20|^reg&0x10|opcodes,
			bit(f.encoding&ew1 != 0)<<7|^vnum<<3&0x78|4|prefix,
			bit(p.op&Zero != 0)<<7|long<<5|bit(p.op&Bcst != 0)<<4|^bit4>>1&8|p.mask.maskBits())
		scale = p.dispScale()
	} else {
		long := bit(p.length == 32 || f.encoding&l1 != 0)
		w := bit(f.encoding&vw1 != 0)
		last := w<<7 | ^vnum<<3&0x78 | long<<2 | prefix
		x := index
		if !inMemory {
			x = 0
		}
		if x < 8 && base < 8 && w == 0 && opcodes == 1 {
			e.bytes(0xc5, ^reg<<4&0x80|last)
		} else {
			e.bytes(0xc4, ^reg<<4&0x80|^x<<3&0x40|^base<<2&0x20|opcodes, last)
		}
	}
	e.bytes(f.opcode)
	trailing := int(bit(p.hasImm))
	if inMemory {
		e.memory(reg, m, scale, trailing)
	} else {
		e.bytes(0xc0 | reg&7<<3 | rmReg&7)
	}
	if p.hasImm {
		e.bytes(p.imm)
	}
}

func (r Reg) maskBits() byte {
	if r == 0 {
		return 0
	}
	return r.number()
}

// dispScale is what AVX-512 divides a short displacement by: the size of the memory
// operand.
func (p *parts) dispScale() int {
	f := p.form
	switch {
	case p.op&Bcst != 0 && f.encoding&b4 != 0:
		return 4
	case p.op&Bcst != 0:
		return 8
	}
	switch c := f.rm &^ 15; c {
	case m, mh, mq, me:
		return p.length >> (c>>4 - 1)
	case vs4:
		return 4
	case hs8:
		return 8
	default:
		return 1 << ((c - m1) >> 4)
	}
}

// memory encodes ModRM, SIB and displacement. A short displacement counts in units
// of scale bytes. What follows in the instruction is trailing bytes long.
func (e *encoder) memory(reg byte, m Mem, scale, trailing int) {
	reg = reg & 7 << 3
	if m.constant > 0 {
		e.bytes(reg|5, 0, 0, 0, 0)
		n := len(e.buf)
		e.loads = append(e.loads, reference{at: n - 4, next: n + trailing, to: m.constant, offset: m.Disp})
		return
	}
	base := m.Base.number() & 7
	short := int(m.Disp)%scale == 0 && int(m.Disp)/scale == int(int8(int(m.Disp)/scale))
	mode := byte(0x80)
	switch {
	case m.Disp == 0 && base != 5:
		mode = 0
	case short:
		mode = 0x40
	}
	if m.Scale != 0 || base == 4 {
		index, log := byte(4), byte(0)
		if m.Scale != 0 {
			index, log = m.Index.number()&7, byte(m.scale())
		}
		e.bytes(mode|reg|4, log<<6|index<<3|base)
	} else {
		e.bytes(mode | reg | base)
	}
	switch mode {
	case 0x40:
		e.bytes(byte(int(m.Disp) / scale))
	case 0x80:
		e.buf = binary.LittleEndian.AppendUint32(e.buf, uint32(m.Disp))
	}
}

func (e *encoder) bytes(b ...byte) { e.buf = append(e.buf, b...) }

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func fitsInt32(n Imm) bool { return n >= math.MinInt32 && n <= math.MaxInt32 }
