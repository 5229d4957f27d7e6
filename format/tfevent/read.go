package tfevent

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrTruncated is a file that ends within a record: one that is still being written, or
// was cut off.
var ErrTruncated = errors.New("tfevent: the file ends within a record")

// MaxRecord is the largest record that a Reader takes.
const MaxRecord = 1 << 30

// Reader reads an event file.
type Reader struct {
	in     *bufio.Reader
	offset int64
}

// NewReader reads from a file's beginning.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 1<<16)} }

// Next is the next event; io.EOF after the last one, ErrTruncated if that is not
// whole. Other errors name the byte at which the record begins. It takes memory for
// what is there, not for what a length claims.
func (r *Reader) Next() (*Event, error) {
	var head [header]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrTruncated
		}
		return nil, err
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("tfevent: the record at byte %d: %s", r.offset, fmt.Sprintf(format, args...))
	}
	if got, want := masked(head[:8]), binary.LittleEndian.Uint32(head[8:]); got != want {
		return nil, bad("the checksum of its length is %#08x, the file says %#08x; the file is damaged, or no event file", got, want)
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > MaxRecord {
		return nil, bad("a length of %d bytes, expected at most %d", n, MaxRecord)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r.in, int64(n)+footer); err != nil {
		if errors.Is(err, io.EOF) {
			err = ErrTruncated
		}
		return nil, err
	}
	content := body.Bytes()[:n]
	if got, want := masked(content), binary.LittleEndian.Uint32(body.Bytes()[n:]); got != want {
		return nil, bad("its checksum is %#08x, the file says %#08x; the file is damaged", got, want)
	}
	e := new(Event)
	if err := e.parse(content); err != nil {
		return nil, bad("%v", err)
	}
	r.offset += header + int64(n) + footer
	return e, nil
}

// All reads the events that are left. After an error it gives those before.
func (r *Reader) All() ([]*Event, error) {
	var all []*Event
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

// field is a field of a message: a number in bits, or bytes.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bits   uint64
	bytes  []byte
}

func (f field) double() float64 { return math.Float64frombits(f.bits) }

// each calls visit with the fields of a message. Groups, which are out of use, and
// fields that have not the wire type that want says are refused.
func each(b []byte, want map[protowire.Number]protowire.Type, visit func(field) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.bits, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.bits = uint64(v)
		case protowire.Fixed64Type:
			f.bits, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			return fmt.Errorf("field %d has the wire type %d", number, kind)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if w, ok := want[number]; ok && w != kind {
			return fmt.Errorf("field %d has the wire type %d, expected %d", number, kind, w)
		}
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

const (
	varint  = protowire.VarintType
	fixed32 = protowire.Fixed32Type
	fixed64 = protowire.Fixed64Type
	chunk   = protowire.BytesType
)

type kinds = map[protowire.Number]protowire.Type

var (
	eventKinds     = kinds{1: fixed64, 2: varint, 3: chunk, 4: chunk}
	valueKinds     = kinds{1: chunk, 2: fixed32, 4: chunk}
	imageKinds     = kinds{1: varint, 2: varint, 3: varint, 4: chunk}
	histogramKinds = kinds{1: fixed64, 2: fixed64, 3: fixed64, 4: fixed64, 5: fixed64}
	tensorKinds    = kinds{1: varint, 2: chunk, 4: chunk}
)

func (e *Event) parse(b []byte) error {
	return each(b, eventKinds, func(f field) error {
		switch f.number {
		case 1:
			e.WallTime = f.double()
		case 2:
			e.Step = int64(f.bits)
		case 3:
			e.FileVersion = string(f.bytes)
		case 4:
			e.Graph = f.bytes
		case 5:
			return each(f.bytes, nil, func(f field) error {
				if f.number != 1 {
					return nil
				}
				var v Value
				err := v.parse(f.bytes)
				e.Values = append(e.Values, v)
				return err
			})
		case 7:
			return each(f.bytes, kinds{1: varint}, func(f field) error {
				e.SessionStart = e.SessionStart || f.number == 1 && f.bits == 1
				return nil
			})
		}
		return nil
	})
}

func (v *Value) parse(b []byte) error {
	return each(b, valueKinds, func(f field) error {
		switch f.number {
		case 1:
			v.Tag = string(f.bytes)
		case 2:
			s := math.Float32frombits(uint32(f.bits))
			v.Scalar = &s
		case 4:
			v.Image = new(Image)
			return each(f.bytes, imageKinds, func(f field) error {
				switch f.number {
				case 1:
					v.Image.Height = int(int32(f.bits))
				case 2:
					v.Image.Width = int(int32(f.bits))
				case 3:
					v.Image.Colorspace = int(int32(f.bits))
				case 4:
					v.Image.Encoded = f.bytes
				}
				return nil
			})
		case 5:
			v.Histogram = new(Histogram)
			return v.Histogram.parse(f.bytes)
		case 8:
			v.Tensor = new(Tensor)
			return v.Tensor.parse(f.bytes)
		case 9:
			return each(f.bytes, nil, func(f field) error {
				switch f.number {
				case 1:
					return each(f.bytes, nil, func(f field) error {
						switch f.number {
						case 1:
							v.Plugin = string(f.bytes)
						case 2:
							v.Content = f.bytes
						}
						return nil
					})
				case 2:
					v.DisplayName = string(f.bytes)
				case 3:
					v.Description = string(f.bytes)
				}
				return nil
			})
		}
		return nil
	})
}

// packed calls visit with the numbers of a repeated field, of the given wire type.
func packed(f field, kind protowire.Type, visit func(bits uint64)) error {
	if f.kind == kind {
		visit(f.bits)
		return nil
	}
	if f.kind != chunk {
		return fmt.Errorf("field %d has the wire type %d, expected %d", f.number, f.kind, kind)
	}
	for b := f.bytes; len(b) > 0; {
		var bits uint64
		var n int
		switch kind {
		case varint:
			bits, n = protowire.ConsumeVarint(b)
		case fixed32:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			bits = uint64(v)
		case fixed64:
			bits, n = protowire.ConsumeFixed64(b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		visit(bits)
		b = b[n:]
	}
	return nil
}

func (h *Histogram) parse(b []byte) error {
	return each(b, histogramKinds, func(f field) error {
		switch f.number {
		case 1:
			h.Min = f.double()
		case 2:
			h.Max = f.double()
		case 3:
			h.Num = f.double()
		case 4:
			h.Sum = f.double()
		case 5:
			h.SumSquares = f.double()
		case 6:
			return packed(f, fixed64, func(v uint64) { h.Limits = append(h.Limits, math.Float64frombits(v)) })
		case 7:
			return packed(f, fixed64, func(v uint64) { h.Counts = append(h.Counts, math.Float64frombits(v)) })
		}
		return nil
	})
}

func (t *Tensor) parse(b []byte) error {
	err := each(b, tensorKinds, func(f field) error {
		switch f.number {
		case 1:
			t.DType = DType(int32(f.bits))
		case 2:
			return each(f.bytes, kinds{2: chunk}, func(f field) error {
				if f.number != 2 {
					return nil
				}
				var size int64
				err := each(f.bytes, kinds{1: varint}, func(f field) error {
					if f.number == 1 {
						size = int64(f.bits)
					}
					return nil
				})
				t.Shape = append(t.Shape, size)
				return err
			})
		case 4:
			t.Raw = f.bytes
		case 5:
			return packed(f, fixed32, func(v uint64) { t.Floats = append(t.Floats, math.Float32frombits(uint32(v))) })
		case 6:
			return packed(f, fixed64, func(v uint64) { t.Doubles = append(t.Doubles, math.Float64frombits(v)) })
		case 7:
			return packed(f, varint, func(v uint64) { t.Ints = append(t.Ints, int64(int32(v))) })
		case 8:
			t.Strings = append(t.Strings, string(f.bytes))
		case 10:
			return packed(f, varint, func(v uint64) { t.Ints = append(t.Ints, int64(v)) })
		}
		return nil
	})
	if err != nil || t.Raw == nil {
		return err
	}
	// Numbers may also be there as raw elements.
	switch t.DType {
	case Float:
		return packed(field{kind: chunk, bytes: t.Raw}, fixed32, func(v uint64) { t.Floats = append(t.Floats, math.Float32frombits(uint32(v))) })
	case Double:
		return packed(field{kind: chunk, bytes: t.Raw}, fixed64, func(v uint64) { t.Doubles = append(t.Doubles, math.Float64frombits(v)) })
	}
	return nil
}
