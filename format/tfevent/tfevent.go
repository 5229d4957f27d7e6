// Package tfevent writes and reads the event files that TensorBoard shows.
//
// An event file is a TFRecord file: records of a length, a checksum of the length, a
// message and a checksum of that. Each message is an Event of TensorFlow's protocol
// buffers: a time, a step, and what was measured. This package writes the few messages
// it takes by hand, on protowire; generated code would bring TensorFlow's whole
// schema. The fields are those of tensorflow/core/util/event.proto,
// core/framework/summary.proto, tensor.proto and graph.proto, and of TensorBoard's
// plugins for text, PR curves and hyper-parameters.
//
// A [Writer] appends whole records, so that a reader that follows the file never sees
// half of one before it is finished; [Writer.Flush] hands them to the system.
// A [Reader] gives the events back, from files of other writers too.
package tfevent

import (
	"hash/crc32"
	"math"
)

// Event is a record: what was measured at a step. Only one of FileVersion, Graph,
// Values and SessionStart is usually there.
type Event struct {
	WallTime    float64 // seconds since 1970
	Step        int64
	FileVersion string // of the first record: "brain.Event:2"
	Graph       []byte // a serialised GraphDef
	Values      []Value
	// SessionStart says that a run goes on at Step: what the files of its folder say of
	// this step and later ones is to be forgotten.
	SessionStart bool
}

// Value is something under a tag. One of Scalar, Image, Histogram and Tensor is there
// for the kinds that this package knows.
type Value struct {
	Tag         string
	Plugin      string // of TensorBoard, that is to show it; "" if the kind says it
	Content     []byte // what the plugin wants to know
	DisplayName string
	Description string

	Scalar    *float32
	Image     *Image
	Histogram *Histogram
	Tensor    *Tensor
}

// Image is an encoded picture.
type Image struct {
	Height, Width int
	Colorspace    int    // number of channels: 1 grey, 3 colour, 4 with alpha
	Encoded       []byte // PNG, or what another writer chose
}

// Histogram counts values in buckets: Counts[i] of them are above Limits[i−1] and at
// most Limits[i].
type Histogram struct {
	Min, Max, Num, Sum, SumSquares float64
	Limits, Counts                 []float64
}

// Tensor is a TensorProto of one of the types that plugins use.
type Tensor struct {
	DType   DType
	Shape   []int64
	Floats  []float32 // of Float
	Doubles []float64 // of Double
	Ints    []int64   // of Int32 and Int64
	Strings []string  // of String
	Raw     []byte    // little-endian elements of another type
}

// DType is an element type, by TensorFlow's number.
type DType int

const (
	Float  DType = 1
	Double DType = 2
	Int32  DType = 3
	String DType = 7
	Int64  DType = 9
)

// fileVersion is what the first record of a file says.
const fileVersion = "brain.Event:2"

// header is the size of a record's length with its checksum; footer that of the
// checksum of its content.
const header, footer = 12, 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum of a record, CRC-32C turned and moved so that it is not a
// checksum of something that contains checksums.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// histogramBuckets is into how many buckets NewHistogram sorts.
const histogramBuckets = 64

// NewHistogram sorts values into buckets of equal width between the smallest and the
// largest. Values that are not finite are left out.
func NewHistogram(values []float32) *Histogram {
	h := &Histogram{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, v := range values {
		x := float64(v)
		if x-x != 0 { // NaN or infinite
			continue
		}
		h.Num++
		h.Sum += x
		h.SumSquares += x * x
		h.Min, h.Max = min(h.Min, x), max(h.Max, x)
	}
	switch {
	case h.Num == 0:
		h.Min, h.Max = 0, 0
		h.Limits, h.Counts = []float64{0}, []float64{0}
		return h
	case h.Min == h.Max:
		h.Limits, h.Counts = []float64{h.Max}, []float64{h.Num}
		return h
	}
	h.Limits, h.Counts = make([]float64, histogramBuckets), make([]float64, histogramBuckets)
	width := (h.Max - h.Min) / histogramBuckets
	for i := range h.Limits {
		h.Limits[i] = h.Min + width*float64(i+1)
	}
	h.Limits[histogramBuckets-1] = h.Max
	for _, v := range values {
		x := float64(v)
		if x-x != 0 {
			continue
		}
		i := max(0, min(int(math.Ceil((x-h.Min)/width))-1, histogramBuckets-1))
		h.Counts[i]++
	}
	return h
}
