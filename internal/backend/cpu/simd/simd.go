// Package simd is a layer over packages emit and neon that hides what is different
// between vectors of AVX-512 (16 lanes of float32), of AVX2 with FMA (8 lanes) and of
// NEON (4 lanes).
//
// A V is the code of one function with vectors of one width. Vector registers are
// numbers. The mathematical functions (math.go) are written once here and serve the
// routines that are compiled ahead of time (vec/gen) as well as kernels that are
// made while the program runs, so that both give the same bits.
//
// A mask for the end of a row is K1 with AVX-512 and register 15 with AVX2. K2, K3
// and the general register R15 are temporaries.
package simd

import (
	"math"
	"slices"

	"github.com/sinter-dl/sinter/internal/backend/cpu/emit"
	"github.com/sinter-dl/sinter/internal/backend/cpu/neon"
)

// V collects the code of a function on vectors of W floats.
type V struct {
	*emit.Asm
	W    int       // 16 for AVX-512, 8 for AVX2, 4 for NEON
	Neon *neon.Asm // instead of the other, for NEON (neon.go)
}

// New begins a function with vectors of w lanes, 16, 8 or 4.
func New(w int) *V {
	if w == 4 {
		return &V{W: w, Neon: new(neon.Asm)}
	}
	v := &V{Asm: emit.New(), W: w}
	v.AVX2 = w == 8
	return v
}

// MaskRegister holds the mask of the row's end with AVX2.
const MaskRegister = 15

// NaN is the quiet NaN that functions return.
const NaN = 0x7fc00000

const (
	signBit = 0x80000000
	absBits = 0x7fffffff
)

// Reg is vector register i.
func (v *V) Reg(i int) emit.Reg {
	if v.W == 16 {
		return emit.Z(i)
	}
	return emit.Y(i)
}

func (v *V) wide() bool { return v.W == 16 }

// half is the lower half of vector register i.
func (v *V) half(i int) emit.Reg {
	if v.wide() {
		return emit.Y(i)
	}
	return emit.X(i)
}

func (v *V) regs(first []emit.Operand, regs []int) []emit.Operand {
	for _, r := range regs {
		first = append(first, v.Reg(r))
	}
	return first
}

// Op adds an instruction on vector registers, the destination last.
func (v *V) Op(op emit.Op, regs ...int) {
	if v.Neon != nil {
		v.neonOp(op, regs)
		return
	}
	v.I(op, v.regs(nil, regs)...)
}

// OpI is Op with an immediate operand first.
func (v *V) OpI(op emit.Op, imm int, regs ...int) {
	if v.Neon != nil {
		v.neonOpI(op, imm, regs)
		return
	}
	v.I(op, v.regs([]emit.Operand{emit.Imm(imm)}, regs)...)
}

// OpM is Op whose first operand is a vector in memory.
func (v *V) OpM(op emit.Op, m emit.Mem, regs ...int) { v.I(op, v.regs([]emit.Operand{m}, regs)...) }

// OpC is Op whose first operand is a constant in all lanes.
func (v *V) OpC(op emit.Op, bits uint32, regs ...int) {
	if v.Neon != nil {
		v.neonOpC(op, bits, regs)
		return
	}
	if v.wide() {
		op |= emit.Bcst
	}
	v.I(op, v.regs([]emit.Operand{v.constant(bits)}, regs)...)
}

// OpF is OpC for a float.
func (v *V) OpF(op emit.Op, c float64, regs ...int) { v.OpC(op, bitsOf(c), regs...) }

func bitsOf(c float64) uint32 { return math.Float32bits(float32(c)) }

// constant is one word for AVX-512, which broadcasts it on the way, and a whole
// vector for AVX2.
func (v *V) constant(bits uint32) emit.Mem { return v.repeated(bits) }

// repeated is constant for any number of words.
func (v *V) repeated(words ...uint32) emit.Mem {
	if v.wide() {
		return v.Words(words...)
	}
	return v.Words(slices.Repeat(words, 8/len(words))...)
}

// Set puts a constant into all lanes.
func (v *V) Set(bits uint32, r int) {
	switch {
	case v.Neon != nil:
		v.Neon.Constant(bits, r)
	case bits == 0:
		v.I(emit.VXORPS, emit.X(r), emit.X(r), emit.X(r))
	default:
		v.Broadcast(v.constant(bits), r)
	}
}

// SetF is Set for a float.
func (v *V) SetF(c float64, r int) { v.Set(bitsOf(c), r) }

// Broadcast puts the float at m into all lanes.
func (v *V) Broadcast(m emit.Mem, r int) { v.I(emit.VBROADCASTSS, m, v.Reg(r)) }

// Load reads a vector of floats; masked, only the lanes of the mask, and the others
// become zero.
func (v *V) Load(m emit.Mem, r int, masked bool) {
	switch {
	case !masked:
		v.I(emit.VMOVUPS, m, v.Reg(r))
	case v.wide():
		v.I(emit.VMOVUPS|emit.Zero, m, emit.K(1), v.Reg(r))
	default:
		v.I(emit.VMASKMOVPS, m, v.Reg(MaskRegister), v.Reg(r))
	}
}

// Store writes a vector of floats; masked, only the lanes of the mask.
func (v *V) Store(r int, m emit.Mem, masked bool) {
	switch {
	case !masked:
		v.I(emit.VMOVUPS, v.Reg(r), m)
	case v.wide():
		v.I(emit.VMOVUPS, v.Reg(r), emit.K(1), m)
	default:
		v.I(emit.VMASKMOVPS, v.Reg(r), v.Reg(MaskRegister), m)
	}
}

// Mask makes the mask of the first n lanes, 0 to W, where register n holds the
// number; it and tmp are destroyed. With AVX-512 n must be CX or tmp be AX … DI,
// R8 … R15 as usual: any two registers will do.
func (v *V) Mask(n, tmp emit.Reg) {
	if v.wide() {
		// All ones, shifted up by n and inverted.
		v.I(emit.MOVL, emit.Imm(-1), tmp)
		v.I(emit.SHLXL, n, tmp, tmp)
		v.I(emit.NOTL, tmp)
		v.I(emit.KMOVW, tmp, emit.K(1))
		return
	}
	v.I(emit.LEAQ, v.Tail(), tmp)
	v.I(emit.NEGQ, n)
	v.I(emit.VMOVDQU, emit.Mem{Base: tmp, Index: n, Scale: 4}, emit.Y(MaskRegister))
}

// Tail is the middle of a table of 16 words with all bits set and 16 without any:
// the 8 words that begin 4·n bytes below are a mask of the first n lanes, for n up
// to 16, and the vector behind them is the mask of the lanes from the eighth on.
func (v *V) Tail() emit.Mem {
	words := make([]uint32, 32)
	for i := range 16 {
		words[i] = math.MaxUint32
	}
	m := v.Words(words...)
	m.Disp = 64
	return m
}

// Series is a constant vector of integers first, first + step …
func (v *V) Series(first, step int) emit.Mem {
	words := make([]uint32, v.W)
	for i := range words {
		words[i] = uint32(first + step*i)
	}
	return v.Words(words...)
}

// Fold combines all lanes of r into each of them by op, in a tree; t is destroyed.
func (v *V) Fold(op func(x, y, d int), r, t int) {
	if v.wide() {
		v.OpI(emit.VSHUFF32X4, 0x4e, r, r, t)
		op(r, t, r)
		v.OpI(emit.VSHUFF32X4, 0xb1, r, r, t)
		op(r, t, r)
	} else {
		v.OpI(emit.VPERM2F128, 1, r, r, t)
		op(r, t, r)
	}
	for _, imm := range []int{0x4e, 0xb1} {
		v.OpI(emit.VPERMILPS, imm, r, t)
		op(r, t, r)
	}
}

// Max is d = the greater of x and y, NaN if either is; t is destroyed with AVX2. d
// is neither x nor y nor t.
func (v *V) Max(x, y, d, t int) { v.extreme(emit.VMAXPS, x, y, d, t) }

// Min is Max for the smaller.
func (v *V) Min(x, y, d, t int) { v.extreme(emit.VMINPS, x, y, d, t) }

// extreme mends what the instruction does with NaN: it returns its second source if
// one is NaN, which is right for y but not for x.
func (v *V) extreme(op emit.Op, x, y, d, t int) {
	v.Op(op, y, x, d)
	nan := Lanes{2, t}
	v.Compare(unordered, x, x, nan)
	v.Choose(nan, x, d)
}

// Lanes is a boolean for every lane: mask register K with AVX-512, vector register R
// with AVX2, whose lanes have all bits set or none.
type Lanes struct{ K, R int }

// Compare sets b where x and y compare as the predicate, a number of VCMPPS, says.
func (v *V) Compare(predicate, x, y int, b Lanes) {
	if v.wide() {
		v.I(emit.VCMPPS, emit.Imm(predicate), v.Reg(y), v.Reg(x), emit.K(b.K))
		return
	}
	v.OpI(emit.VCMPPS, predicate, y, x, b.R)
}

// CompareC is Compare with a constant in y's place.
func (v *V) CompareC(predicate, x int, bits uint32, b Lanes) {
	if v.wide() {
		v.I(emit.VCMPPS|emit.Bcst, emit.Imm(predicate), v.constant(bits), v.Reg(x), emit.K(b.K))
		return
	}
	if v.Neon != nil {
		v.Neon.Constant(bits, constant)
		v.neonOpI(emit.VCMPPS, predicate, []int{constant, x, b.R})
		return
	}
	v.I(emit.VCMPPS, emit.Imm(predicate), v.constant(bits), v.Reg(x), v.Reg(b.R))
}

// And is d = a & b, AndNot d = a &^ b, Or d = a | b.
func (v *V) And(a, b, d Lanes) { v.logic(emit.KANDW, emit.VANDPS, a, b, d) }

func (v *V) AndNot(a, b, d Lanes) { v.logic(emit.KANDNW, emit.VANDNPS, a, b, d) }

func (v *V) Or(a, b, d Lanes) { v.logic(emit.KORW, emit.VORPS, a, b, d) }

func (v *V) logic(k, r emit.Op, a, b, d Lanes) {
	if v.wide() {
		v.I(k, emit.K(a.K), emit.K(b.K), emit.K(d.K))
		return
	}
	v.Op(r, a.R, b.R, d.R)
}

// Choose is d = y in the lanes of b.
func (v *V) Choose(b Lanes, y, d int) {
	if v.wide() {
		v.I(emit.VMOVAPS, v.Reg(y), emit.K(b.K), v.Reg(d))
		return
	}
	v.Op(emit.VBLENDVPS, b.R, y, d, d)
}

// JumpIfNone jumps where b is set in no lane.
func (v *V) JumpIfNone(b Lanes, to emit.Label) {
	if v.wide() {
		v.I(emit.KORTESTW, emit.K(b.K), emit.K(b.K))
	} else {
		v.Op(emit.VTESTPS, b.R, b.R)
	}
	v.I(emit.JEQ, to)
}

// Comparisons of floats, as VCMPPS numbers them. One with NaN is false, but for
// those whose name says otherwise.
const (
	equal         = 0
	less          = 1
	unordered     = 3
	notEqualOrNaN = 4
	notLess       = 5 // or NaN
	notLessEq     = 6 // or NaN
	ordered       = 7
	notGreaterEq  = 9 // or NaN
	notEqual      = 12
	greater       = 30
)

// Round rounds to integers: 0 to the nearest or even one, 1 down, 2 up, 3 to zero.
func (v *V) Round(mode, x, d int) {
	op := emit.VROUNDPS
	if v.wide() {
		op = emit.VRNDSCALEPS
	}
	v.OpI(op, mode|8, x, d)
}

// RoundBF16 rounds x to the values of bfloat16, ties to even; NaN stays, quiet. d is
// not x; t and u are destroyed.
func (v *V) RoundBF16(x, d, t, u int) {
	v.OpI(emit.VPSRLD, 16, x, d)
	v.OpC(emit.VANDPS, 1, d, d)
	v.OpC(emit.VPADDD, 0x7fff, d, d)
	v.Op(emit.VPADDD, d, x, d)
	v.OpC(emit.VORPS, 0x400000, x, t)
	nan := Lanes{2, u}
	v.Compare(unordered, x, x, nan)
	v.Choose(nan, t, d)
	v.OpC(emit.VANDPS, 0xffff0000, d, d)
}

// RoundF16 rounds x to the values of binary16. It needs AVX-512 or F16C.
func (v *V) RoundF16(x, d int) {
	v.I(emit.VCVTPS2PH, emit.Imm(0), v.Reg(x), v.half(d))
	v.I(emit.VCVTPH2PS, v.half(d), v.Reg(d))
}
