// Package safetensors reads and writes the safetensors format, in which weights
// are exchanged with PyTorch and others.
//
// A file is eight bytes, little-endian, with the length of a JSON header; the
// header; and the tensors' elements, one tensor after the other:
//
//	{"__metadata__": {"format": "pt"},
//	 "fc.weight": {"dtype": "F32", "shape": [10, 32], "data_offsets": [0, 1280]}, …}
//
// Offsets count from the end of the header. Nothing in a file is executed and
// everything in it is checked against the file's size before memory is taken
// for it, so that a hostile file costs an error message and no more: reading
// never allocates more than a small multiple of the bytes that are really there.
//
// The package moves bytes and knows nothing of tensors that compute. Elements
// stay in the little-endian, row-major form that the rest of Sinter uses.
package safetensors

import (
	"fmt"
	"math/bits"

	"github.com/sinter-dl/sinter/internal/dtype"
)

const (
	// metadataKey is the one header key that does not name a tensor.
	metadataKey = "__metadata__"
	// maxHeader is the limit that the format's reference implementation sets.
	maxHeader = 100_000_000
	// alignment of the first element, so that a mapped file can be used in place
	// by vector code; tensors are sorted by falling element size behind it, which
	// keeps every one aligned to its own elements.
	alignment = 64
)

// Tensor is one named tensor to be written.
type Tensor struct {
	Name  string
	DType dtype.DType
	Shape []int
	Data  []byte // little-endian, row-major

	// Load, where Data is nil, is asked for the elements when they are to be written, so that
	// not all tensors need to be in memory at once. What it returns is read before the next
	// one is asked.
	Load func() []byte
}

// Info is what the header says of one tensor.
type Info struct {
	Name   string
	DType  dtype.DType
	Shape  []int
	Bytes  int64 // length of its elements
	offset int64 // of its first element in the file
}

var names = map[dtype.DType]string{
	dtype.Bool: "BOOL", dtype.Uint8: "U8", dtype.Int8: "I8", dtype.Int32: "I32", dtype.Int64: "I64",
	dtype.Float16: "F16", dtype.BFloat16: "BF16", dtype.Float32: "F32", dtype.Float64: "F64",
}

var types = func() map[string]dtype.DType {
	m := make(map[string]dtype.DType, len(names))
	for d, name := range names {
		m[name] = d
	}
	return m
}()

// byteLen is the number of bytes of a tensor; ok is false if an axis is
// negative or the product does not fit an int64.
func byteLen(d dtype.DType, shape []int) (n int64, ok bool) {
	total := uint64(d.Size())
	empty := false
	for _, s := range shape {
		switch {
		case s < 0:
			return 0, false
		case s == 0:
			empty = true
			continue
		}
		hi, lo := bits.Mul64(total, uint64(s))
		if hi != 0 || lo > 1<<62 {
			return 0, false
		}
		total = lo
	}
	if empty {
		return 0, true
	}
	return int64(total), true
}

// FormatError tells what is wrong with a file and where.
type FormatError struct {
	File   string
	Offset int64 // byte offset in the file of the part that is wrong
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("safetensors: %s, byte %d: %s; the file is damaged or not safetensors: copy or download it again",
		e.File, e.Offset, e.Reason)
}
