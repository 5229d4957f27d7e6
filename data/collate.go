package data

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
)

// Collate says how examples make a batch: Stack or Pad.
type Collate interface{ collate() }

// Stack puts examples of the same shape one upon the other.
type Stack struct{}

// Pad makes the examples of a batch equally long by filling up the shorter ones. Each
// ragged field gets the length of its longest example in the batch, and Batch.Lengths and
// Batch.Masks tell what is filling.
//
// A compiled step is a program for one shape of its batches. Each new length costs the
// time of compiling one more and the memory to keep it, so with examples of 1 to 500
// tokens give Multiple: 64, or To: []int{32, 64, 128, 256, 500}: at most as many programs
// as there are lengths.
type Pad struct {
	Value  float64            // what is filled in
	Values map[string]float64 // the same for single fields, by their names

	Multiple int   // lengths are rounded up to a multiple of it; 0: the longest example's
	To       []int // lengths are rounded up to one of these, which rise; an alternative to Multiple

	// Bucket, if not 0, puts examples of like length into one batch, so that little is
	// filled in: of so many batches of the order at a time, the examples are sorted by
	// length, cut into batches, and these are put in random order. (A few dozen are a good
	// choice: what one batch has is then still mostly chance.) A Dataset has to be
	// Measured; of a Stream it uses Record.Length.
	Bucket int
}

func (Stack) collate() {}
func (Pad) collate()   {}

// checkCollate looks at whether the Collate suits the fields.
func (l *Loader) checkCollate(fields []Field) error {
	p, pads := l.Collate.(Pad)
	for _, f := range fields {
		if f.Ragged && len(f.Shape) == 0 {
			return fmt.Errorf("data: the field %q is ragged but has no axis that could vary", f.Name)
		}
		if f.Ragged && !pads {
			return fmt.Errorf("data: examples differ in the length of their %q; set the Loader's Collate to a Pad", f.Name)
		}
		if !f.Ragged || len(p.To) == 0 {
			continue
		}
		if last := p.To[len(p.To)-1]; last < f.Shape[0] {
			return fmt.Errorf("data: Pad: the largest length is %d, but examples have up to %d of %q", last, f.Shape[0], f.Name)
		}
	}
	if !pads {
		return nil
	}
	switch {
	case p.Multiple < 0 || p.Bucket < 0:
		return fmt.Errorf("data: Pad: Multiple %d, Bucket %d, expected 0 or more", p.Multiple, p.Bucket)
	case p.Multiple > 0 && p.To != nil:
		return fmt.Errorf("data: Pad has both Multiple and To; leave out one of them")
	}
	for i, n := range p.To {
		if n < 1 || i > 0 && n <= p.To[i-1] {
			return fmt.Errorf("data: Pad: lengths %v, expected rising ones from 1 on", p.To)
		}
	}
	for name := range p.Values {
		if !slices.ContainsFunc(fields, func(f Field) bool { return f.Name == name && f.Ragged }) {
			return fmt.Errorf("data: Pad has a value for %q, but there is no ragged field of that name", name)
		}
	}
	for _, f := range fields {
		if _, err := element(f.DType, p.value(f)); f.Ragged && err != nil {
			return fmt.Errorf("data: Pad: the field %q cannot be filled with %v: %w", f.Name, p.value(f), err)
		}
	}
	return nil
}

func (p Pad) value(f Field) float64 {
	if v, ok := p.Values[f.Name]; ok {
		return v
	}
	return p.Value
}

// length is what n is rounded up to, at most most.
func (p Pad) length(n, most int) int {
	n = max(n, 1) // a tensor has no empty axes
	if p.Multiple > 0 {
		n = (n + p.Multiple - 1) / p.Multiple * p.Multiple
	}
	for _, to := range p.To {
		if to >= n {
			n = to
			break
		}
	}
	return min(n, most)
}

// element is v as the bytes of an element.
func element(d sinter.DType, v float64) ([]byte, error) {
	b := make([]byte, d.Size())
	if v == 0 {
		return b, nil
	}
	switch d {
	case sinter.Float32:
		binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v)))
		return b, nil
	case sinter.Float64:
		binary.LittleEndian.PutUint64(b, math.Float64bits(v))
		return b, nil
	}
	var lo, hi float64
	switch d {
	case sinter.Bool:
		lo, hi = 0, 1
	case sinter.Uint8:
		lo, hi = 0, math.MaxUint8
	case sinter.Int8:
		lo, hi = math.MinInt8, math.MaxInt8
	case sinter.Int32:
		lo, hi = math.MinInt32, math.MaxInt32
	case sinter.Int64:
		lo, hi = -1<<53, 1<<53 // what a float64 says exactly
	default:
		return nil, fmt.Errorf("only 0 is known for elements of type %v", d)
	}
	if v != math.Trunc(v) || v < lo || v > hi {
		return nil, fmt.Errorf("expected a whole number from %.0f to %.0f", lo, hi)
	}
	var wide [8]byte
	binary.LittleEndian.PutUint64(wide[:], uint64(int64(v)))
	copy(b, wide[:])
	return b, nil
}

// padded is what a slot has for its ragged fields.
type padded struct {
	how    Pad
	filler [][]byte // per field, one element; nil if the field is not ragged
	size   []int    // per field: the length that it was filled up to

	lengths, masks         []*sinter.HostBuffer // per field
	lengthBytes, maskBytes [][]byte
}

// newPadded makes the buffers for the fields of s that are ragged, and adds them to those
// of the slot.
func newPadded(s *slot) *padded {
	n := len(s.fields)
	p := &padded{
		how: s.collate.(Pad), filler: make([][]byte, n), size: make([]int, n),
		lengths: make([]*sinter.HostBuffer, n), masks: make([]*sinter.HostBuffer, n),
		lengthBytes: make([][]byte, n), maskBytes: make([][]byte, n),
	}
	for i, f := range s.fields {
		if !f.Ragged {
			continue
		}
		p.filler[i], _ = element(f.DType, p.how.value(f)) // checkCollate has tried
		p.lengths[i] = sinter.NewHostBuffer(sinter.Int64, len(s.rows))
		p.masks[i] = sinter.NewHostBuffer(sinter.Bool, len(s.rows), f.Shape[0])
		p.lengthBytes[i], p.maskBytes[i] = p.lengths[i].Bytes(), p.masks[i].Bytes()
		s.buffers = append(s.buffers, p.lengths[i], p.masks[i])
	}
	return p
}

// pad moves the rows of the slot together to the length that the batch needs. They lie
// at the distance of the greatest length there can be, so that they could be read before
// it was known how long they are.
func (p *padded) pad(s *slot) {
	for i, f := range s.fields {
		if !f.Ragged {
			continue
		}
		longest := 0
		for k := range s.n {
			longest = max(longest, s.rows[k].length[i])
		}
		size := p.how.length(longest, f.Shape[0])
		p.size[i] = size
		one := s.stride[i] / f.Shape[0] // bytes of one of the axis
		b := s.bytes[i]
		for k := range s.n {
			n := s.rows[k].length[i]
			row := b[k*size*one : (k+1)*size*one]
			copy(row, b[k*s.stride[i]:][:n*one])
			for rest := row[n*one:]; len(rest) > 0; rest = rest[len(p.filler[i]):] {
				copy(rest, p.filler[i])
			}
			binary.LittleEndian.PutUint64(p.lengthBytes[i][8*k:], uint64(n))
			mask := p.maskBytes[i][k*size : (k+1)*size]
			for at := range mask {
				mask[at] = 0
				if at < n {
					mask[at] = 1
				}
			}
		}
	}
}

// tensors puts the ragged fields into a batch.
func (p *padded) tensors(s *slot, b *Batch) {
	b.Lengths = make([]*sinter.Tensor, len(s.fields))
	b.Masks = make([]*sinter.Tensor, len(s.fields))
	for i, f := range s.fields {
		if !f.Ragged {
			continue
		}
		b.Fields[i] = s.buffers[i].View(slices.Concat([]int{s.n, p.size[i]}, f.Shape[1:])...)
		b.Lengths[i] = p.lengths[i].Tensor(s.n)
		b.Masks[i] = p.masks[i].View(s.n, p.size[i])
	}
}
