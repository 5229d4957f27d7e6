// Package data brings examples to a model: it reads what lies in files, says
// what it found, and hands it out in shuffled batches.
//
// Everything meets at Dataset, which is a length, a description of one
// example's fields, and a way to read example i into given bytes:
//
//	files ── OpenIDX, OpenImages, OpenTable, OpenText, ┐
//	         OpenArrays, OpenWebDataset ───────────────┤
//	slices ─ Arrays ───────────────────────────────────┼─ Dataset ── Loader ── batches
//	your own type ─────────────────────────────────────┘     │            │
//	                                            Subset, Split, Concat     │
//	files larger than memory ───────────────────────────── Stream ────────┘
//
// Reading is random access and writes to memory that the caller owns. That lets
// the Loader fill one batch while the model computes on another, into buffers
// that are used again and again, and it lets one Dataset serve many loaders: a
// Dataset does not change once it is made and may be read by several goroutines
// at once. What does not fit in memory is a Stream (stream.go), which is read from its
// beginning and still leaves the decoding to the Loader's workers.
//
// The Open functions check all of their input before they return, so that a
// damaged file stops a run before it begins and not an hour into it. Their
// errors name the file and the place in it, what was expected there, and what
// to do. What they decided on their own (that a file has a header, that a
// column was dropped) is written in Source.Notes.
package data

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data/tokenizer"
)

// Field describes one of the tensors that make up an example.
type Field struct {
	Name  string
	DType sinter.DType
	Shape []int // of one example, without the batch axis

	// Ragged says that examples have different lengths along the field's first axis, of
	// which Shape gives the greatest. Read and Decode are given room for that and shorten
	// dst[f] to what they wrote, which may be nothing: dst[f] = dst[f][:n]. A Loader needs
	// a Pad for such fields.
	Ragged bool
}

// Len is the number of elements of one example's field, the most there can be if it is
// ragged.
func (f Field) Len() int {
	n := 1
	for _, s := range f.Shape {
		n *= s
	}
	return n
}

// Bytes is the number of bytes of Len elements.
func (f Field) Bytes() int { return f.Len() * f.DType.Size() }

// Dataset is a fixed number of examples that can be read in any order. By
// convention field 0 is the model's input, X, and field 1, where there is one,
// what it should say, Y.
type Dataset interface {
	Len() int
	// Fields describes an example. The result must not be changed.
	Fields() []Field
	// Read writes example i, 0 ≤ i < Len, to dst: dst[f] takes exactly the bytes
	// of field f, little-endian and row-major (see Field.Ragged for those that vary).
	// It is called by several goroutines at once and must give the same bytes every time.
	Read(i int, dst [][]byte) error
}

// EpochDataset is a Dataset whose examples are drawn anew for every epoch. It
// stays free of state: Epoch gives the examples of epoch e as a Dataset of their
// own, the same for the same e, with the length and fields of the receiver. The
// Loader calls it at the start of every epoch. Random augmentation is made with it, see
// ExampleSeed; a wrapper over another Dataset passes the call on, by AtEpoch.
type EpochDataset interface {
	Dataset
	Epoch(e int) Dataset
}

// BatchDataset is a Dataset that changes whole batches, as mixing examples does. The
// Loader calls FinishBatch once all examples of a batch are read: rows[f] holds field f of
// n examples one after the other. Which batch of the epoch it is, from 0, and the epoch
// decide what happens.
type BatchDataset interface {
	Dataset
	FinishBatch(index, n int, rows [][]byte)
}

// AtEpoch is the view of ds for epoch e: ds itself unless it is an EpochDataset.
func AtEpoch(ds Dataset, e int) Dataset {
	if ed, ok := ds.(EpochDataset); ok {
		return ed.Epoch(e)
	}
	return ds
}

// Task is what a model is to do with a dataset.
type Task string

const (
	Classification Task = "classification" // Y is the int64 number of a class
	Regression     Task = "regression"     // Y is float32 [1]
	Language       Task = "language"       // X and Y are int64 [T], Y one token ahead
)

// Source is what a folder or a file gave: examples, and what is known of them.
type Source struct {
	Train Dataset
	Test  Dataset // nil if the source has no part of its own for testing, see HoldOut

	// Stream is the examples to train on where they are streamed; Train is nil then.
	Stream Stream

	Task Task

	Classes   []string            // the names of the classes of a Classification
	Series    *Series             // how a time series became windows
	Encoder   *Encoder            // how a table's columns became numbers
	Tokenizer tokenizer.Tokenizer // how a text became tokens

	Digest string   // SHA-256 of what was read, in hexadecimal
	Notes  []string // what was decided without being asked, a sentence each

	streamBytes int64 // of Stream, about
	keepBad     bool  // see ImageOptions.KeepBad
}

// Examples are those to train on: Train, or Stream.
func (s *Source) Examples() Examples {
	if s.Train == nil && s.Stream != nil {
		return s.Stream
	}
	return s.Train
}

// Input is the shape of one example's X.
func (s *Source) Input() []int { return slices.Clone(s.Examples().Fields()[0].Shape) }

// HoldOut gives the source a Test part, if it has none, by taking the fraction
// away from Train, or from Stream, at random.
func (s *Source) HoldOut(fraction float64, seed uint64) error {
	if s.Test != nil {
		return nil
	}
	if s.Train == nil {
		return s.holdOutOfStream(fraction, seed)
	}
	train, test, err := Split(s.Train, fraction, seed)
	if err != nil {
		return err
	}
	s.Train, s.Test = train, test
	s.note("%d of %d examples are held out for testing, chosen by seed %d", test.Len(), train.Len()+test.Len(), seed)
	return nil
}

func (s *Source) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// mix makes one seed of two numbers, so that seed 1 in epoch 2 has nothing to do
// with seed 2 in epoch 1 (the finaliser of SplitMix64, applied to each).
func mix(a, b uint64) uint64 {
	for _, v := range [...]uint64{0, b} {
		a += v + 0x9e3779b97f4a7c15
		a = (a ^ a>>30) * 0xbf58476d1ce4e5b9
		a = (a ^ a>>27) * 0x94d049bb133111eb
		a ^= a >> 31
	}
	return a
}
