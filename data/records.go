package data

import (
	"errors"
	"fmt"
	"io"
)

// recordOverhead is about what a record takes in memory beside its bytes.
const recordOverhead = 128

// recordSet is records of a stream held in memory, undecoded: a Dataset of what is too
// little to be streamed.
type recordSet struct {
	of      Stream
	records []Record
	bad     map[int]error
}

func (s recordSet) Len() int        { return len(s.records) }
func (s recordSet) Fields() []Field { return s.of.Fields() }

func (s recordSet) Read(i int, dst [][]byte) error {
	if err := s.bad[i]; err != nil {
		return err
	}
	return s.of.Decode(&s.records[i], dst)
}

// recordPictures is records that are pictures.
type recordPictures struct {
	recordSet
	pictures PictureStream
}

// ReadView makes the records Pictures.
func (s recordPictures) ReadView(i int, dst [][]byte, choose func(width, height int) View) error {
	if err := s.bad[i]; err != nil {
		return err
	}
	return s.pictures.DecodeView(&s.records[i], dst, choose)
}

// hold reads a whole stream into memory, as far as it does not take more than limit
// bytes. With keepBad, records that are spoilt become examples that give their errors.
func hold(s Stream, limit int64, keepBad bool) (Dataset, error) {
	r, err := s.Open(Pass{Shards: 1}, Mark{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	set := recordSet{of: s, bad: map[int]error{}}
	for {
		var rec Record
		err := r.Next(&rec)
		if errors.Is(err, io.EOF) {
			break
		}
		if bad := (*RecordError)(nil); errors.As(err, &bad) && keepBad {
			set.bad[len(set.records)] = err
		} else if err != nil {
			return nil, err
		}
		if limit -= int64(len(rec.Data)) + recordOverhead; limit < 0 {
			return nil, fmt.Errorf("data: the examples for testing do not fit into the memory that they may take; use fewer of them")
		}
		set.records = append(set.records, rec)
	}
	if len(set.records) == 0 {
		return nil, fmt.Errorf("data: the files hold no examples")
	}
	if p, ok := s.(PictureStream); ok && p.HasPictures() {
		return recordPictures{set, p}, nil
	}
	return set, nil
}

// streamPart is the examples of a stream that are held out for testing, or the others.
type streamPart struct {
	Stream
	seed  uint64
	below uint64 // those are held out whose hash is below it
	held  bool
	n     int // examples, -1 if that is not known
}

func (p streamPart) Len() int { return p.n }

func (p streamPart) has(index int64) bool {
	return (mix(mix(p.seed, splitSite), uint64(index)) < p.below) == p.held
}

// HasPictures and DecodeView pass the calls on.
func (p streamPart) HasPictures() bool {
	of, ok := p.Stream.(PictureStream)
	return ok && of.HasPictures()
}

func (p streamPart) DecodeView(r *Record, dst [][]byte, choose func(width, height int) View) error {
	return p.Stream.(PictureStream).DecodeView(r, dst, choose)
}

// FinishBatch passes the call on.
func (p streamPart) FinishBatch(epoch, index, n int, rows [][]byte) {
	if of, ok := p.Stream.(BatchStream); ok {
		of.FinishBatch(epoch, index, n, rows)
	}
}

func (p streamPart) Open(pass Pass, from Mark) (StreamReader, error) {
	r, err := p.Stream.Open(pass, from)
	if err != nil {
		return nil, err
	}
	return streamPartReader{r, p}, nil
}

type streamPartReader struct {
	StreamReader
	of streamPart
}

func (r streamPartReader) Next(rec *Record) error {
	for {
		err := r.StreamReader.Next(rec)
		index := rec.Index
		if bad := (*RecordError)(nil); errors.As(err, &bad) {
			index = bad.Index
		} else if err != nil {
			return err
		}
		if r.of.has(index) {
			return err
		}
	}
}

// holdOutOfStream parts a stream: about the given fraction of its examples is read
// into memory for testing, or what fits there of it, and left out of the stream.
func (s *Source) holdOutOfStream(fraction float64, seed uint64) error {
	if !(fraction > 0 && fraction < 1) {
		return fmt.Errorf("data: Split: fraction %v, expected a number between 0 and 1", fraction)
	}
	part := heldPart(s.Stream, fraction, seed, s.streamBytes)
	test, err := hold(part, 2*testMemory, s.keepBad)
	if err != nil {
		return err
	}
	part.held = false
	if n := s.Stream.Len(); n >= 0 {
		part.n = n - test.Len()
	}
	s.Stream, s.Test = part, test
	s.note("%d examples, %.3g %% of all, are held out for testing, chosen by seed %d", test.Len(), 100*float64(part.below)/(1<<64), seed)
	return nil
}

// heldPart is the part of a stream of so many bytes that is held out for testing.
func heldPart(stream Stream, fraction float64, seed uint64, bytes int64) streamPart {
	if bytes > 0 {
		fraction = min(fraction, testMemory/float64(bytes))
	}
	return streamPart{Stream: stream, seed: seed, below: uint64(fraction * (1 << 63) * 2), held: true, n: -1}
}

// testMemory is about how much of a stream is held in memory for testing.
const testMemory = 128 << 20

// holdOrStream makes the source's examples to train on of a stream: in memory if its
// bytes fit there, else the stream, less some examples held out if there are none for
// testing.
func (s *Source) holdOrStream(stream Stream, bytes, memory int64, keepBad bool) error {
	if bytes > memory {
		s.Stream, s.streamBytes, s.keepBad = stream, bytes, keepBad
		s.note("the examples take %d MiB, more than %d: they are streamed", bytes>>20, memory>>20)
		return nil
	}
	var err error
	s.Train, err = hold(stream, 1<<62, keepBad)
	return err
}
