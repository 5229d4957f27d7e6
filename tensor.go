// Package sinter is deep learning for Go: tensors with automatic differentiation
// that are compiled, as whole training steps, for the hardware there is.
//
// Tensors are lazy. An operation checks its operands and records what is to be
// computed; nothing happens until a value is asked for, by [Eval], by a reader such
// as [Tensor.Floats], or by an optimizer's step. Everything that is evaluated
// together becomes one program: simplified, fused into few kernels, with all
// intermediate values placed in one block of memory. Programs are kept by structure,
// so the next step of a training loop only runs what the first has compiled.
//
//	x := sinter.FromFloats([]float32{1, 2, 3}, 3)
//	y := x.Mul(x).Sum()
//	dx := sinter.Grad(y, x)[0]
//	fmt.Println(y.Float(), dx.Floats()) // 14 [2 4 6]
//
// The files, in reading order: tensor.go (the type, making and reading it), host.go
// (memory of the host that batches are filled into), variable.go (state that
// survives a step), eval.go (evaluation); then the operations: elementwise.go,
// layout.go, reduce.go, linalg.go, index.go, conv.go, composite.go, create.go,
// random.go, scan.go, and autodiff.go.
//
// A wrong shape or type is a mistake in the model and panics with a [*BuildError]
// that names the operation, the shapes and the caller's line; [Eval] and the entry
// points above this package return it as an error. Everything else that can fail is
// a returned error.
package sinter

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/shape"
)

// DType is the type of a tensor's elements.
type DType = dtype.DType

// The element types.
const (
	Bool     = dtype.Bool
	Uint8    = dtype.Uint8
	Int8     = dtype.Int8
	Int32    = dtype.Int32
	Int64    = dtype.Int64
	Float16  = dtype.Float16
	BFloat16 = dtype.BFloat16
	Float32  = dtype.Float32
	Float64  = dtype.Float64
)

// BuildError is what an operation that cannot be built panics with.
type BuildError = ir.BuildError

// Tensor is an array of numbers that is known or can be computed. It is immutable.
// Row-major order is what "the order of the elements" means throughout; axes are
// numbered from the outermost and may be given as negative numbers, −1 for the last.
type Tensor struct{ node *ir.Node }

func init() { ir.NodeOf = func(t any) *ir.Node { return t.(*Tensor).node } }

// wrap makes a node a tensor, and the user's line its place.
func wrap(n *ir.Node) *Tensor {
	if n.Anonymous() {
		ir.Stamp(n, ir.Here())
	}
	return &Tensor{n}
}

// FromFloats is a float32 tensor over data, which is not copied and must not change
// until the tensor has been evaluated for the last time. The shape of a single
// number may be left out.
func FromFloats(data []float32, sh ...int) *Tensor { return fromSlice("FromFloats", Float32, data, sh) }

// FromFloat64s is a float64 tensor over data; see [FromFloats].
func FromFloat64s(data []float64, sh ...int) *Tensor {
	return fromSlice("FromFloat64s", Float64, data, sh)
}

// FromInts is an int64 tensor over data; see [FromFloats].
func FromInts(data []int64, sh ...int) *Tensor { return fromSlice("FromInts", Int64, data, sh) }

// FromInt32s is an int32 tensor over data; see [FromFloats].
func FromInt32s(data []int32, sh ...int) *Tensor { return fromSlice("FromInt32s", Int32, data, sh) }

// FromBools is a bool tensor over data; see [FromFloats].
func FromBools(data []bool, sh ...int) *Tensor { return fromSlice("FromBools", Bool, data, sh) }

// FromBytes is a tensor over raw elements in the machine's byte order, which is
// little-endian on all that this package runs on; see [FromFloats].
func FromBytes(d DType, data []byte, sh ...int) *Tensor {
	ensure("FromBytes", shape.Check(sh))
	if want := shape.Elements(sh) * d.Size(); len(data) != want {
		ir.Fail("FromBytes", "%d bytes of data; %v%v has %d", len(data), d, sh, want)
	}
	return leaf(d, data, slices.Clone(sh))
}

func fromSlice[T any](op string, d DType, data []T, sh []int) *Tensor {
	ensure(op, shape.Check(sh))
	if len(data) != shape.Elements(sh) {
		ir.Fail(op, "%d elements of data do not fill shape %v", len(data), sh)
	}
	return leaf(d, rawBytes(data), slices.Clone(sh))
}

func leaf(d DType, data []byte, sh []int) *Tensor {
	return &Tensor{ir.NewInput(d, sh, newStorage(&memory{host: data}, "data"))}
}

// RuntimeScalar is a number without axes that a program reads when it runs: another
// value does not make another program, unlike [Scalar].
func RuntimeScalar(d DType, v float64) *Tensor {
	return leaf(d, encode(make([]byte, d.Size()), d, v), nil)
}

// RuntimeScalarFunc is a RuntimeScalar of value f(). In a function that is compiled
// (see [Compile]) f is asked at every call, where the value of a RuntimeScalar stays
// what it was when the function was traced.
func RuntimeScalarFunc(d DType, f func() float64) *Tensor {
	t := RuntimeScalar(d, f())
	m := memoryOf(t.node.Storage)
	m.scalar, m.dtype = f, d
	return t
}

// rawBytes is the memory of a slice.
func rawBytes[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// as reads raw bytes as elements. The bytes must be aligned for T.
func as[T any](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(*new(T))))
}

// encode writes v, rounded to d, to b.
func encode(b []byte, d DType, v float64) []byte {
	switch d {
	case Float64:
		as[float64](b)[0] = v
	case Float32:
		as[float32](b)[0] = float32(v)
	case Float16:
		as[uint16](b)[0] = dtype.Float16FromFloat32(float32(v))
	case BFloat16:
		as[uint16](b)[0] = dtype.BFloat16FromFloat32(float32(v))
	case Int64:
		as[int64](b)[0] = int64(v)
	case Int32:
		as[int32](b)[0] = int32(v)
	case Int8:
		b[0] = byte(int8(v))
	case Uint8:
		b[0] = byte(v)
	case Bool:
		b[0] = 0
		if v != 0 {
			b[0] = 1
		}
	}
	return b
}

// decode is the element at the beginning of b.
func decode(b []byte, d DType) float64 {
	switch d {
	case Float64:
		return as[float64](b)[0]
	case Float32:
		return float64(as[float32](b)[0])
	case Float16:
		return float64(dtype.Float16ToFloat32(as[uint16](b)[0]))
	case BFloat16:
		return float64(dtype.BFloat16ToFloat32(as[uint16](b)[0]))
	case Int64:
		return float64(as[int64](b)[0])
	case Int32:
		return float64(as[int32](b)[0])
	case Int8:
		return float64(int8(b[0]))
	}
	return float64(b[0])
}

// Shape is the extents of the axes; none for a single number.
func (t *Tensor) Shape() []int { return slices.Clone(t.node.Shape) }

// Dim is the extent of an axis.
func (t *Tensor) Dim(axis int) int {
	return t.node.Shape[axisOf("Dim", axis, len(t.node.Shape))]
}

// Rank is the number of axes.
func (t *Tensor) Rank() int { return len(t.node.Shape) }

// Len is the number of elements.
func (t *Tensor) Len() int { return t.node.Elements() }

// DType is the type of the elements.
func (t *Tensor) DType() DType { return t.node.DType }

// Bytes evaluates the tensor and returns a copy of its elements as they lie in
// memory.
func (t *Tensor) Bytes() ([]byte, error) {
	if err := t.eval(); err != nil {
		return nil, err
	}
	data := make([]byte, t.node.Bytes())
	return data, download(t.node, data)
}

// eval is Eval of one tensor, which has often been evaluated already.
func (t *Tensor) eval() error {
	if known(t) {
		return nil // whether it is still there is found out by reading it
	}
	return Eval(t)
}

// ReadFloats evaluates a float32 tensor and copies its elements to dst, which must be
// as long, without allocating memory.
func (t *Tensor) ReadFloats(dst []float32) error {
	if t.DType() != Float32 || t.Len() != len(dst) {
		ir.Fail("ReadFloats", "%v%v does not fit %d float32", t.DType(), t.node.Shape, len(dst))
	}
	if err := t.eval(); err != nil {
		return err
	}
	return download(t.node, rawBytes(dst))
}

// mustBytes is Bytes for the readers that have no error to return.
func (t *Tensor) mustBytes() []byte {
	b, err := t.Bytes()
	if err != nil {
		panic(err)
	}
	return b
}

// Floats evaluates the tensor and returns its elements, converted to float32. It
// panics with what Eval would return as an error.
func (t *Tensor) Floats() []float32 {
	if t.DType() == Float32 {
		return as[float32](t.mustBytes())
	}
	return read[float32](t)
}

// Float64s is Floats in float64.
func (t *Tensor) Float64s() []float64 {
	if t.DType() == Float64 {
		return as[float64](t.mustBytes())
	}
	return read[float64](t)
}

// Ints is Floats in int64; floating-point elements are truncated towards zero.
func (t *Tensor) Ints() []int64 {
	if t.DType() == Int64 {
		return as[int64](t.mustBytes())
	}
	return read[int64](t)
}

// Bools is Floats in bool: whether the elements are not zero.
func (t *Tensor) Bools() []bool {
	if t.DType() == Bool {
		return as[bool](t.mustBytes())
	}
	v := t.Float64s()
	out := make([]bool, len(v))
	for i := range v {
		out[i] = v[i] != 0
	}
	return out
}

// read converts the elements of a tensor.
func read[T float32 | float64 | int64](t *Tensor) []T {
	b := t.mustBytes()
	out := make([]T, t.Len())
	switch t.DType() {
	case Float64:
		convert(out, as[float64](b))
	case Float32:
		convert(out, as[float32](b))
	case Int64:
		convert(out, as[int64](b))
	case Int32:
		convert(out, as[int32](b))
	case Int8:
		convert(out, as[int8](b))
	case Uint8, Bool:
		convert(out, b)
	case Float16:
		for i, v := range as[uint16](b) {
			out[i] = T(dtype.Float16ToFloat32(v))
		}
	case BFloat16:
		for i, v := range as[uint16](b) {
			out[i] = T(dtype.BFloat16ToFloat32(v))
		}
	}
	return out
}

func convert[T float32 | float64 | int64, S float32 | float64 | int64 | int32 | int8 | uint8](dst []T, src []S) {
	for i, v := range src {
		dst[i] = T(v)
	}
}

// Float evaluates a tensor of one element and returns it. It panics with what Eval
// would return as an error.
func (t *Tensor) Float() float64 {
	t.single("Float")
	return t.Float64s()[0]
}

// Int is Float in int64.
func (t *Tensor) Int() int64 {
	t.single("Int")
	return t.Ints()[0]
}

func (t *Tensor) single(op string) {
	if t.Len() != 1 {
		ir.Fail(op, "wants one element, got shape %v", t.node.Shape)
	}
}

// String evaluates the tensor and prints its type, shape and elements, those in the
// middle left out if there are many.
func (t *Tensor) String() string {
	head := fmt.Sprintf("%v%v", t.DType(), t.node.Shape)
	if err := Eval(t); err != nil {
		return head + " " + err.Error()
	}
	var elems []string
	if d := t.DType(); d.IsFloat() {
		for _, v := range t.Float64s() {
			if d != Float64 {
				elems = append(elems, fmt.Sprint(float32(v)))
			} else {
				elems = append(elems, fmt.Sprint(v))
			}
		}
	} else if d == Bool {
		for _, v := range t.Bools() {
			elems = append(elems, fmt.Sprint(v))
		}
	} else {
		for _, v := range t.Ints() {
			elems = append(elems, fmt.Sprint(v))
		}
	}
	var b strings.Builder
	b.WriteString(head + " ")
	printAxis(&b, elems, t.node.Shape)
	return b.String()
}

// edgeItems is how many elements at either end of an axis are printed.
const edgeItems = 4

func printAxis(b *strings.Builder, elems []string, sh []int) {
	if len(sh) == 0 {
		b.WriteString(elems[0])
		return
	}
	size := shape.Elements(sh[1:])
	b.WriteByte('[')
	for i := 0; i < sh[0]; i++ {
		if i > 0 {
			b.WriteByte(' ')
		}
		if i == edgeItems && sh[0] > 2*edgeItems {
			b.WriteString("…")
			i = sh[0] - edgeItems - 1
			continue
		}
		printAxis(b, elems[i*size:(i+1)*size], sh[1:])
	}
	b.WriteByte(']')
}
