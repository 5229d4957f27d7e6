package data

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/cpu/vec"
)

// Array is one field of all examples, held in memory. Make it with Floats or
// Ints.
type Array struct {
	field Field
	n     int                        // examples, -1 if the values do not divide into them
	read  func(from int, dst []byte) // writes the elements from `from` on until dst is full
	len   int                        // values
}

// Floats is a float32 field; shape is that of one example, none for a single
// number each. The values are not copied.
func Floats(name string, values []float32, shape ...int) Array {
	raw := bytesOf(values)
	return newArray(Field{Name: name, DType: sinter.Float32, Shape: slices.Clone(shape)}, len(values), func(from int, dst []byte) {
		copy(dst, raw[4*from:])
	})
}

// Ints is an int64 field; shape is that of one example, none for a single
// number each. The values are not copied.
func Ints(name string, values []int64, shape ...int) Array {
	raw := bytesOf(values)
	return newArray(Field{Name: name, DType: sinter.Int64, Shape: slices.Clone(shape)}, len(values), func(from int, dst []byte) {
		copy(dst, raw[8*from:])
	})
}

// bytesOf is the memory of a slice: raw elements in the machine's byte order, which is
// what tensors are made of, too.
func bytesOf[T float32 | int64](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

func newArray(f Field, values int, read func(from int, dst []byte)) Array {
	a := Array{field: f, n: -1, read: read, len: values}
	if size := f.Len(); size > 0 && values%size == 0 && (len(f.Shape) == 0 || slices.Min(f.Shape) > 0) {
		a.n = values / size
	}
	return a
}

type arrays struct {
	fields []Field
	arrays []Array
}

// Arrays is the dataset whose example i is row i of every array.
func Arrays(as ...Array) (Dataset, error) {
	if len(as) == 0 {
		return nil, fmt.Errorf("data: Arrays of nothing; expected at least one array")
	}
	ds := arrays{arrays: slices.Clone(as)}
	for _, a := range as {
		switch {
		case a.n < 0:
			return nil, fmt.Errorf("data: Arrays: %q has %d values, which do not make whole examples of shape %v", a.field.Name, a.len, a.field.Shape)
		case a.n != as[0].n:
			return nil, fmt.Errorf("data: Arrays: %q has %d examples, but %q has %d", a.field.Name, a.n, as[0].field.Name, as[0].n)
		}
		ds.fields = append(ds.fields, a.field)
	}
	return ds, nil
}

func (ds arrays) Len() int        { return ds.arrays[0].n }
func (ds arrays) Fields() []Field { return ds.fields }

func (ds arrays) Read(i int, dst [][]byte) error {
	for f, a := range ds.arrays {
		a.read(i*ds.fields[f].Len(), dst[f])
	}
	return nil
}

// byteImages keeps images as the bytes that they are in files, a quarter of the
// memory of the float32 values that they are read as.
type byteImages struct {
	fields []Field
	pixels []byte
	labels []int64
}

// ByteImages is a dataset of images whose pixels are bytes: X is the float32
// value pixel/255 in the given shape (channels, height, width), Y the int64
// label. Neither slice is copied.
func ByteImages(pixels []byte, shape []int, labels []int64) (Dataset, error) {
	x := Field{Name: "x", DType: sinter.Float32, Shape: slices.Clone(shape)}
	if len(shape) != 3 || slices.Min(shape) < 1 {
		return nil, fmt.Errorf("data: ByteImages: shape %v, expected channels, height and width", shape)
	}
	if len(pixels) != len(labels)*x.Len() {
		return nil, fmt.Errorf("data: ByteImages: %d pixels for %d labels, expected %d: images are %v", len(pixels), len(labels), len(labels)*x.Len(), shape)
	}
	return byteImages{[]Field{x, {Name: "y", DType: sinter.Int64}}, pixels, labels}, nil
}

func (ds byteImages) Len() int        { return len(ds.labels) }
func (ds byteImages) Fields() []Field { return ds.fields }

func (ds byteImages) Read(i int, dst [][]byte) error {
	n := ds.fields[0].Len()
	vec.BytesToUnit(dst[0], ds.pixels[i*n:(i+1)*n])
	binary.LittleEndian.PutUint64(dst[1], uint64(ds.labels[i]))
	return nil
}
