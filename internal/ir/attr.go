package ir

import (
	"encoding/binary"
	"math"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// Attr holds what an operation needs to know besides its operands. The set is
// closed: one struct per kind, below. AppendKey writes everything that can
// change the meaning, so that equal bytes mean equal attributes.
type Attr interface {
	AppendKey(b []byte) []byte
}

// Literal is the value of a Const, in the representation of its type: the bits
// of a float64 (already rounded to the type) for floats, the two's complement of
// an int64 for integers and bool.
type Literal struct{ Bits uint64 }

// Axis is for Iota, ArgMax, ArgMin and Concatenate.
type Axis struct{ Axis int }

// Axes is for Transpose (the permutation: result axis i is operand axis
// Axes[i]), BroadcastInDim (operand axis i becomes result axis Axes[i]), Reverse
// and the reductions (the axes that vanish, ascending).
type Axes struct{ Axes []int }

// Range is for Slice: start, limit and a positive step by axis.
type Range struct{ Start, Limit, Step []int }

// Padding is for Pad: zeros before, after and between the elements of every
// axis; all are at least 0.
type Padding struct {
	Low, High, Interior []int
	Value               uint64 // as in Literal
}

// Cumulate is for CumSum. Exclusive leaves the element itself out of its sum.
type Cumulate struct {
	Axis               int
	Reverse, Exclusive bool
}

// Order is for Sort. The sort is stable; NaN is larger than every number.
type Order struct {
	Axis       int
	Descending bool
}

// RNG keys the random bits of one call site.
type RNG struct{ Seed, Site uint64 }

// Window is for the ReduceWindow operations on [N, C, spatial…]: extents over
// the spatial axes. Padding never wins a maximum and adds nothing to a sum.
// ReduceWindowArgMax gives the position (int32) in the operand's spatial plane,
// row-major, the first of equals. ReduceWindowMaxGrad takes the operand of a
// maximum and the cotangent of its result and adds each element of that to a zero at
// the place of its maximum, in order: the gradient of ReduceWindowMax in one piece,
// which package rewrite puts together.
type Window struct {
	Size, Stride, Low, High, Dilation []int
}

// Index is for Gather, Scatter and ScatterAdd. With Batch = b and Axis = a ≥ b:
//
//	Gather: data [B…, P…, D, Q…], indices [B…, I…] → [B…, P…, I…, Q…]
//
// where B… are the first b axes and D is axis a. Scatter(data, indices, updates)
// returns data with the updates (of Gather's result shape) written at those
// places, the last in row-major order of the indices winning, and ScatterAdd
// adds them in that order. An index outside of D reads zero and writes nothing.
type Index struct{ Axis, Batch int }

// Window sizes for DynamicSlice: the result's shape. The start is an int64
// vector, clamped so that the window lies inside.
type Extent struct{ Size []int }

// Dot is for DotGeneral: contracted and batch axes of both operands, pairwise.
// The result has the batch axes, then the free axes of the left, then of the
// right operand.
type Dot struct {
	LeftBatch, RightBatch       []int
	LeftContract, RightContract []int
	Result                      dtype.DType // Invalid: the operands' type; Float32 for operands of 16 bits: sums are not rounded
}

// Direction says which of the three tensors of a convolution is computed.
type Direction uint8

const (
	Forward    Direction = iota // (x, w) → y
	InputGrad                   // (y, w) → x
	WeightGrad                  // (x, y) → w
)

// ConvAttr describes a convolution over x [N, C, spatial…] with weights
// w [K, C/Groups, window…] and output y [N, K, spatial…], as PyTorch defines it
// (a cross-correlation). The three directions are the partial derivatives of one
// trilinear form, so each one's gradients are again convolutions with these
// attributes, and a transposed convolution is the InputGrad direction.
type ConvAttr struct {
	Dir                         Direction
	Stride, Low, High, Dilation []int
	Groups                      int
	// Size is the spatial extent that the operands leave open: of x for
	// InputGrad, of the window for WeightGrad; nil for Forward.
	Size []int
	// Result is the type of the result, as for Dot.
	Result dtype.DType
}

// Target is for Assign: the storage that is overwritten.
type Target struct{ Storage *Storage }

// Number is for Result: which output; and for Param: which placeholder.
type Number struct{ N int }

// Region is for Composite. The body is the meaning: nodes over the composite's
// own operands, so that lowering replaces Result i by Body()[i] and a gradient that
// has no rule of its own differentiates through it.
type Region struct {
	Name string
	Key  []byte // distinguishes bodies of one name; the operands' shapes are not in it
	Outs []*Node

	// Attr is what a routine for the whole has to know, or nil. Key contains it.
	Attr Attr
	// Strided says that such a routine reads operands with gaps between the rows:
	// the elements along the last axis are adjacent, the other axes have any strides
	// that are not negative.
	Strided bool
	// Grad, if not nil, is the rule by which the composite c is differentiated, in
	// place of its body. It gets the results and their cotangents, which are nil
	// where nothing depends on the result, and returns the cotangents of the
	// operands, of which it may leave out those that are not wanted.
	Grad func(c *Node, results, cots []*Node, want []bool) []*Node

	template *template // if Outs are over placeholders
}

// Attention is what the regions "attention" and "attention_grad" know about the
// scores q·kᵀ of their operands: the factor, and whether query i sees only the keys
// 0 … i.
type Attention struct {
	Scale  float64
	Causal bool
}

// Loop is for Scan: operands are the initial carries, then the sequences
// (scanned along axis 0), then the constants. Body is evaluated once per step on
// (carries, slices, constants) and returns (carries, results); the Scan returns
// the last carries, the results stacked along axis 0, and the trail of each carry:
// its values before the first step, between the steps and after the last one,
// stacked along axis 0. Row t lies before slice t and row t+1 behind it, so that a
// loop in reverse begins with the last row.
type Loop struct {
	Body            *Graph
	Carries, Inputs int
	Steps           int
	Saved           int // the last results, which are values for a gradient; see CloseScan
	Reverse         bool
}

// Results is the number of results of the Scan.
func (a *Loop) Results() int { return len(a.Body.Outputs) + a.Carries }

// Result is the type and shape of a result of the Scan.
func (a *Loop) Result(i int) (dtype.DType, []int) {
	switch n := len(a.Body.Outputs); {
	case i < a.Carries:
		return a.Body.Outputs[i].DType, a.Body.Outputs[i].Shape
	case i < n:
		return a.Body.Outputs[i].DType, append([]int{a.Steps}, a.Body.Outputs[i].Shape...)
	default:
		o := a.Body.Outputs[i-n]
		return o.DType, append([]int{a.Steps + 1}, o.Shape...)
	}
}

// Before and After are the values of a carry before and after each step, of its
// trail; Last is its value at the end.
func (a *Loop) Before(trail *Node) *Node { return a.rows(trail, a.Reverse) }
func (a *Loop) After(trail *Node) *Node  { return a.rows(trail, !a.Reverse) }
func (a *Loop) Last(trail *Node) *Node {
	at := a.Steps
	if a.Reverse {
		at = 0
	}
	return ReshapeTo(SliceAxis(trail, 0, at, at+1), trail.Shape[1:])
}

// rows are all rows of a trail but the last one, or but the first.
func (a *Loop) rows(trail *Node, behind bool) *Node {
	if behind {
		return SliceAxis(trail, 0, 1, a.Steps+1)
	}
	return SliceAxis(trail, 0, 0, a.Steps)
}

func appendInts(b []byte, lists ...[]int) []byte {
	for _, l := range lists {
		b = binary.AppendUvarint(b, uint64(len(l)))
		for _, v := range l {
			b = binary.AppendVarint(b, int64(v))
		}
	}
	return b
}

func appendBool(b []byte, vs ...bool) []byte {
	for _, v := range vs {
		if v {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}

func (a Literal) AppendKey(b []byte) []byte { return binary.LittleEndian.AppendUint64(b, a.Bits) }
func (a Axis) AppendKey(b []byte) []byte    { return binary.AppendUvarint(b, uint64(a.Axis)) }
func (a Axes) AppendKey(b []byte) []byte    { return appendInts(b, a.Axes) }
func (a Range) AppendKey(b []byte) []byte   { return appendInts(b, a.Start, a.Limit, a.Step) }
func (a Padding) AppendKey(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(appendInts(b, a.Low, a.High, a.Interior), a.Value)
}
func (a Cumulate) AppendKey(b []byte) []byte {
	return appendBool(binary.AppendUvarint(b, uint64(a.Axis)), a.Reverse, a.Exclusive)
}
func (a Order) AppendKey(b []byte) []byte {
	return appendBool(binary.AppendUvarint(b, uint64(a.Axis)), a.Descending)
}
func (a RNG) AppendKey(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, a.Seed), a.Site)
}
func (a Window) AppendKey(b []byte) []byte {
	return appendInts(b, a.Size, a.Stride, a.Low, a.High, a.Dilation)
}
func (a Index) AppendKey(b []byte) []byte  { return append(b, byte(a.Axis), byte(a.Batch)) }
func (a Extent) AppendKey(b []byte) []byte { return appendInts(b, a.Size) }
func (a Dot) AppendKey(b []byte) []byte {
	return appendInts(append(b, byte(a.Result)), a.LeftBatch, a.RightBatch, a.LeftContract, a.RightContract)
}
func (a ConvAttr) AppendKey(b []byte) []byte {
	b = append(b, byte(a.Dir), byte(a.Result))
	b = binary.AppendUvarint(b, uint64(a.Groups))
	return appendInts(b, a.Stride, a.Low, a.High, a.Dilation, a.Size)
}

// AppendKey writes nothing: the storage is an operand's leaf and is numbered
// with the leaves.
func (a Target) AppendKey(b []byte) []byte { return b }
func (a Number) AppendKey(b []byte) []byte { return binary.AppendUvarint(b, uint64(a.N)) }
func (a Attention) AppendKey(b []byte) []byte {
	return appendBool(binary.LittleEndian.AppendUint64(b, math.Float64bits(a.Scale)), a.Causal)
}
func (a *Region) AppendKey(b []byte) []byte {
	b = append(b, a.Name...)
	b = append(b, 0)
	b = binary.AppendUvarint(b, uint64(len(a.Key)))
	return append(b, a.Key...)
}
func (a *Loop) AppendKey(b []byte) []byte {
	b = appendBool(appendInts(b, []int{a.Carries, a.Inputs, a.Steps}), a.Reverse)
	return a.Body.AppendKey(b)
}

// FloatBits is the Literal of v in type d, rounded to it.
func FloatBits(d dtype.DType, v float64) uint64 {
	switch d {
	case dtype.Float32:
		v = float64(float32(v))
	case dtype.Float16:
		v = float64(dtype.Float16ToFloat32(dtype.Float16FromFloat32(float32(v))))
	case dtype.BFloat16:
		v = float64(dtype.BFloat16ToFloat32(dtype.BFloat16FromFloat32(float32(v))))
	case dtype.Float64:
	case dtype.Bool:
		return uint64(truth(v != 0))
	default:
		return IntBits(d, int64(v))
	}
	return math.Float64bits(v)
}

// IntBits is the Literal of v in the integer type d, wrapped to its width.
func IntBits(d dtype.DType, v int64) uint64 {
	switch d {
	case dtype.Uint8:
		v = int64(uint8(v))
	case dtype.Int8:
		v = int64(int8(v))
	case dtype.Int32:
		v = int64(int32(v))
	}
	return uint64(v)
}

// Float reads a Literal of type d as a number.
func (a Literal) Float(d dtype.DType) float64 {
	if d.IsFloat() {
		return math.Float64frombits(a.Bits)
	}
	return float64(int64(a.Bits))
}

// IsIdentity tells whether a permutation leaves every axis in its place.
func (a Axes) IsIdentity() bool {
	for i, p := range a.Axes {
		if p != i {
			return false
		}
	}
	return true
}
