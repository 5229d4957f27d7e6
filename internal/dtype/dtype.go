// Package dtype names the element types a tensor can have and converts between
// their bit patterns and Go's numbers.
//
// It is the lowest package of the house: everything above speaks of element
// types through it and nothing here knows of tensors.
package dtype

import "fmt"

// DType is the type of a tensor's elements.
type DType uint8

// The element types. Float16 and BFloat16 are storage formats on the CPU:
// arithmetic on them is done in float32 and rounded to the storage format after
// every operation.
const (
	Invalid DType = iota
	Bool
	Uint8
	Int8
	Int32
	Int64
	Float16
	BFloat16
	Float32
	Float64
	count
)

var names = [count]string{"invalid", "bool", "uint8", "int8", "int32", "int64", "float16", "bfloat16", "float32", "float64"}
var sizes = [count]int{0, 1, 1, 1, 4, 8, 2, 2, 4, 8}

// All lists every valid type, from the narrowest kind to the widest.
func All() []DType {
	return []DType{Bool, Uint8, Int8, Int32, Int64, Float16, BFloat16, Float32, Float64}
}

// String is the type's name as PyTorch and NumPy write it.
func (d DType) String() string {
	if d < count {
		return names[d]
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Parse is the inverse of String.
func Parse(name string) (DType, error) {
	for i := Bool; i < count; i++ {
		if names[i] == name {
			return i, nil
		}
	}
	return Invalid, fmt.Errorf("dtype: unknown element type %q; known are %v", name, names[1:])
}

// Size is the number of bytes of one element.
func (d DType) Size() int { return sizes[d] }

// IsFloat tells whether d is a floating-point type.
func (d DType) IsFloat() bool { return d >= Float16 && d <= Float64 }

// IsInt tells whether d is an integer type; Bool is not one.
func (d DType) IsInt() bool { return d >= Uint8 && d <= Int64 }

// Promote is the type that an operation on a and b computes in: the wider kind
// (bool < integer < float) wins, within a kind the wider type, and
// float16 with bfloat16 gives float32, uint8 with int8 gives int32
// (PyTorch has int16 there, which is not an element type here).
func Promote(a, b DType) DType {
	if a == b {
		return a
	}
	if a > b {
		a, b = b, a
	}
	switch {
	case a == Uint8 && b == Int8:
		return Int32
	case a == Float16 && b == BFloat16:
		return Float32
	}
	return b
}

// Compute is the type in which the CPU evaluates arithmetic on d.
func (d DType) Compute() DType {
	if d == Float16 || d == BFloat16 {
		return Float32
	}
	return d
}
