package emit

// A form is one way to encode an instruction on vectors or masks: which operand is
// where, what registers and memory are allowed there, and the bytes. The operand
// that the ModRM byte can address in memory is called rm, the other operand of that
// byte reg, and the third one v. Operands are in the order of Go's assembler.
type form struct {
	shape    shape
	reg, rm  class
	encoding encoding
	opcode   uint8
	digit    uint8 // what stands in reg's place in shape vmi
}

// shape says where the operands go.
type shape uint8

const (
	rm   shape = iota // rm, reg
	mr                // reg, rm
	rvm               // rm, v, reg
	mvr               // reg, v, rm
	rmi               // immediate, rm, reg
	mri               // immediate, reg, rm
	vmi               // immediate, rm, v
	rvmi              // immediate, rm, v, reg
	rvmr              // register in the immediate's place, rm, v, reg
	vrm               // v, rm, reg: gathers of AVX2 have the mask in v
)

// operands is how many operands a shape has, without a mask.
var operands = [...]int{rm: 2, mr: 2, rvm: 3, mvr: 3, rmi: 3, mri: 3, vmi: 3, rvmi: 4, rvmr: 4, vrm: 3}

// class is what an operand may be: a kind of register in the low half, a size of
// memory in the high half. The length of the vectors that an instruction works on
// follows from its operands of kind v; h, q and e stand for a half, a quarter and
// an eighth of it.
type class uint8

const (
	v class = 1 + iota // vector
	h
	q
	e
	x // vector of 16 bytes, whatever the others are
	k // mask
	r // general
)

const (
	m class = (1 + iota) << 4
	mh
	mq
	me
	m1 // memory of 1, 2, 4 … bytes
	m2
	m4
	m8
	m16
	m32
	vs4 // memory at a vector of indices, as many as the vector has elements of 4 bytes
	hs8 // memory at half as many indices as the vector has, elements of 8 bytes
)

const (
	vm   = v | m
	hm   = h | mh
	qm   = q | mq
	em   = e | me
	ve4  = v | m4
	xm1  = x | m1
	xm2  = x | m2
	xm4  = x | m4
	xm8  = x | m8
	xm16 = x | m16
	rm1  = r | m1
	rm2  = r | m2
	rm4  = r | m4
	rm8  = r | m8
)

// encoding is the prefix, the map of opcodes and the flags of a form.
type encoding uint16

const (
	np  encoding = 0
	p66 encoding = 1
	pF3 encoding = 2
	pF2 encoding = 3
	m0F encoding = 1 << 2
	m38 encoding = 2 << 2
	m3A encoding = 3 << 2
)

const (
	vex      encoding = 16 << iota // can be encoded for AVX
	evex                           // can be encoded for AVX-512
	vw1                            // W is set for AVX
	ew1                            // W is set for AVX-512
	l1                             // L is set though there is no vector
	b4                             // memory may be one element of 4 bytes, repeated in all lanes
	b8                             // of 8 bytes
	from32                         // vectors have 32 bytes at least
	only64                         // vectors have 64 bytes
	unmasked                       // there is no mask

	both = vex | evex
)
