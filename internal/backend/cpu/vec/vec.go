// Package vec holds the CPU backend's elementwise kernels: one routine per
// operation, element type and operand form, that walks a small block of memory.
//
// The interpreter of fused kernels (package cpu) calls one routine per operation
// on blocks that stay in the first or second level cache. All routines have one
// signature, Func, and one argument record, Args, which describes a block of Rows
// × N elements. Within a row elements are adjacent; from row to row an operand
// advances by any number of bytes, so one routine serves vectors (Rows = 1),
// blocks, rows of a larger tensor, a vector that repeats on every row (an advance
// of 0) and, in the forms that take a scalar operand, one scalar per row or one
// for the whole block. Broadcasting therefore costs no copies.
//
// Every routine exists as portable Go (generic.go, math.go). For float32, and for
// moving and converting data, there are AVX2 and AVX-512 versions, and of the most
// frequent ones NEON versions for arm64. They are written by the generator in gen,
// from what package simd says about them, and chosen once, when the program starts.
// The environment variable SINTER_CPU (avx512, avx2, neon or generic) lowers the
// level, for tests and for finding out.
//
// A result depends on the operands alone and never on an element's position in
// the block: tails are done by the same instructions under a mask. A reduction's
// order depends on the length alone. A call never takes longer than some tens of
// microseconds on the blocks the interpreter uses, which matters because Go cannot
// pre-empt assembly.
package vec

//go:generate go run ./gen

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Args describes the block that one call works on. The assembly knows the
// offsets of these fields.
//
// Unless a routine says otherwise, element i of row r of operand A is at
// A + r·ARow + i·size, or at A + r·ARow where the bit ScalarA is set.
type Args struct {
	Dst, A, B, C             unsafe.Pointer
	DstRow, ARow, BRow, CRow int // bytes from a row to the next
	N, Rows                  int

	DstCol, ACol int       // Move, Index, Window: see there
	Scalar       uint8     // which operands are one element per row
	Key          [2]uint32 // RNGBits: see package philox
	Base         int64     // Index
}

// The bits of Args.Scalar and of a routine's form.
const (
	ScalarA = 1 << iota
	ScalarB
	ScalarC
)

// Func is a routine. A destination may be an operand's very memory but must not
// overlap it otherwise.
type Func func(*Args)

// Unary returns the routine Dst = op(A) for a type that values are computed in
// (not a half type, which package dtype says is computed in float32), or nil if
// the operation is not defined on it.
func Unary(op ir.Op, t dtype.DType) Func {
	if t == dtype.Float32 {
		if f := fast.unary[op]; f != nil {
			return f
		}
	}
	return genericUnary(op, t)
}

// Binary returns Dst = op(A, B), where scalar says which of the operands are one
// element per row; not both are. Comparisons write bool.
func Binary(op ir.Op, t dtype.DType, scalar uint8) Func {
	if t == dtype.Float32 && scalar < 3 {
		if f := fast.binary[op][scalar]; f != nil {
			return f
		}
	}
	return genericBinary(op, t)
}

// Select returns Dst = A ? B : C, where A is bool and the others have elements of
// the given size in bytes.
func Select(size int, scalar uint8) Func {
	if size == 4 && scalar&ScalarA == 0 {
		if f := fast.sel[scalar>>1]; f != nil {
			return f
		}
	}
	switch size {
	case 1:
		return choose[uint8]
	case 2:
		return choose[uint16]
	case 4:
		return choose[uint32]
	}
	return choose[uint64]
}

// Convert returns Dst = A in another type. A half type is read from or written to
// its storage format here, and its counterpart is then float32, or the type itself,
// which rounds float32 to the half type's values.
func Convert(from, to dtype.DType) Func {
	if f := fast.convert[[2]dtype.DType{from, to}]; f != nil {
		return f
	}
	return genericConvert(from, to)
}

// RowReduce returns Dst[r] = op(Dst[r], op over row r of A): one element per row,
// DstRow apart. The caller sets Dst to the operation's identity first.
func RowReduce(op ir.Op, t dtype.DType) Func {
	if t == dtype.Float32 {
		if f := fast.rowReduce[op]; f != nil {
			return f
		}
	}
	return genericRowReduce(op, t)
}

// ColReduce returns Dst[i] = op(Dst[i], op over the rows of A at i): one row of N
// elements.
func ColReduce(op ir.Op, t dtype.DType) Func {
	if t == dtype.Float32 {
		if f := fast.colReduce[op]; f != nil {
			return f
		}
	}
	return genericColReduce(op, t)
}

// Expand returns Dst = A with elements of the given size, where A is one element
// per row or, without ScalarA, a row that may repeat (ARow = 0).
func Expand(size int) Func {
	switch size {
	case 1:
		return expand[uint8]
	case 2:
		return expand[uint16]
	case 4:
		return expand[uint32]
	}
	return expand[uint64]
}

// Move returns Dst = A for elements that need not be adjacent: they are DstCol
// and ACol bytes apart. It gathers, scatters and transposes.
func Move(size int) Func {
	switch size {
	case 1:
		return move[uint8]
	case 2:
		return move[uint16]
	case 4:
		if fast.move4 != nil {
			return fast.move4
		}
		return move[uint32]
	}
	return move[uint64]
}

// Window returns the routine that combines windows: op is ReduceWindowSum,
// ReduceWindowMax or ReduceWindowArgMax. The windows of row r begin at A + r·ARow,
// ACol bytes apart, which are step elements. What belongs to a window lies at the
// DstCol byte offsets (int64) from its beginning that B points to, at least one. A
// sum starts with the element at C and adds in the order of the offsets. A maximum
// is the first of equals, or the first NaN; ReduceWindowArgMax writes its position
// (int32), in elements from C.
func Window(op ir.Op, t dtype.DType, step int) Func {
	if t == dtype.Float32 && (step == 1 || step == 2) {
		if f := fast.window[op][step-1]; f != nil {
			return f
		}
	}
	return genericWindow(op, t)
}

// MaxPairs returns Dst[i] = the maximum of A[2i], A[2i+1], B[2i] and B[2i+1]: NaN if
// one is, and 0 rather than -0.
func MaxPairs(t dtype.DType) Func {
	if t == dtype.Float32 && fast.maxPairs != nil {
		return fast.maxPairs
	}
	return genericMaxPairs(t)
}

// SoftmaxColumns takes a softmax down the columns of the tile at Dst, rows by rows: A,
// B and C are vectors over the columns. A holds the maxima of the rows that came
// before and gets those with the tile's, B likewise the sums of the powers of e. C
// gets the factors by which what came before shrinks, and the tile the powers of its
// elements less the maxima; as long as a maximum is -∞, less zero. There is at least
// one row.
func SoftmaxColumns(t dtype.DType) Func {
	switch {
	case t == dtype.Float32 && fast.softmaxColumns != nil:
		return fast.softmaxColumns
	case t == dtype.Float32:
		return softmaxColumns[float32]
	}
	return softmaxColumns[float64]
}

// SoftmaxGradColumns makes of scores at Dst the weights p = e^(s - B), where B is the
// logarithm of the sum of the column's powers, and of their cotangents at A those of
// the scores, p·(A - C). B and C are vectors over the columns.
func SoftmaxGradColumns(t dtype.DType) Func {
	switch {
	case t == dtype.Float32 && fast.softmaxGradColumns != nil:
		return fast.softmaxGradColumns
	case t == dtype.Float32:
		return softmaxGradColumns[float32]
	}
	return softmaxGradColumns[float64]
}

// Scale returns Dst = A·B + 0, where B is one element per row: A·B without negative
// zeros.
func Scale(t dtype.DType) Func {
	switch {
	case t == dtype.Float32 && fast.scale != nil:
		return fast.scale
	case t == dtype.Float32:
		return scale[float32]
	}
	return scale[float64]
}

// BytesToUnit writes the bytes as float32 from 0 to 1, src[i]/255, which is what pixels
// become: dst has four bytes for each of src.
func BytesToUnit(dst, src []byte) {
	src = src[:min(len(src), len(dst)/4)]
	done := bytesToUnit(dst, src)
	for i, b := range src[done:] {
		binary.LittleEndian.PutUint32(dst[4*(done+i):], Unit[b])
	}
}

// Unit holds the bits of the float32 b/255 for every byte b.
var Unit = func() (t [256]uint32) {
	for b := range t {
		t[b] = math.Float32bits(float32(b) / 255)
	}
	return t
}()

// Index writes the int64 values Base + r·ARow + i·ACol.
func Index(g *Args) { index(g) }

// RNGBits writes random words (int32): A holds the elements' numbers and B the
// step, one for the block, both int64.
func RNGBits(g *Args) { rngBits(g) }

// table holds the routines of the level in use where that level has its own.
type table struct {
	unary     [256]Func
	binary    [256][3]Func
	sel       [4]Func
	convert   map[[2]dtype.DType]Func
	rowReduce map[ir.Op]Func
	colReduce map[ir.Op]Func
	move4     Func
	window    map[ir.Op][2]Func // by step
	maxPairs  Func

	softmaxColumns, softmaxGradColumns, scale Func
}

var fast table
