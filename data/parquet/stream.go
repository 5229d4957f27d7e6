package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// Column is what one or several columns of each row become.
type Column struct {
	Names   []string   // of the columns, as many as the field has elements
	Field   data.Field // float32, float64, int32 or int64
	Classes []string   // a text of one column becomes the number of its class, int64
}

// Stream is a data.Stream of Parquet files, at the memory of the pages of one row of
// columns. Row groups are its parts: they are dealt to shards, and come in another
// order every epoch.
type Stream struct {
	paths   []string
	fields  []data.Field
	columns []Column
	classes []map[string]int64
	parts   []part
	rows    int
}

// part is a row group.
type part struct{ file, group int }

// NewStream is a stream of files that have the same columns.
func NewStream(paths []string, columns ...Column) (*Stream, error) {
	s := &Stream{paths: slices.Clone(paths), columns: slices.Clone(columns), classes: make([]map[string]int64, len(columns))}
	if len(paths) == 0 || len(columns) == 0 {
		return nil, fmt.Errorf("data: a stream of %d Parquet files with %d columns; expected at least one of each", len(paths), len(columns))
	}
	for i, c := range columns {
		if c.Classes != nil {
			c.Field.DType, c.Field.Shape = sinter.Int64, nil
			s.classes[i] = map[string]int64{}
			for k, name := range c.Classes {
				s.classes[i][name] = int64(k)
			}
		}
		switch c.Field.DType {
		case sinter.Float32, sinter.Float64, sinter.Int32, sinter.Int64:
		default:
			return nil, fmt.Errorf("data: the columns %q become %s; expected float32, float64, int32 or int64", c.Names, c.Field.DType)
		}
		if c.Field.Len() != len(c.Names) || c.Field.Ragged {
			return nil, fmt.Errorf("data: %d columns, %q, become the field %v, which has %d elements", len(c.Names), c.Names, c.Field, c.Field.Len())
		}
		s.fields = append(s.fields, c.Field)
	}
	for i, path := range paths {
		f, err := Open(path)
		if err != nil {
			return nil, err
		}
		for g, group := range f.pq.RowGroups() {
			s.parts = append(s.parts, part{i, g})
			s.rows += int(group.NumRows())
		}
		_, err = s.find(f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// find gives the places, among the columns of a file, of those that are wanted.
func (s *Stream) find(f *File) ([]int, error) {
	var at []int
	names := f.Columns()
	for _, c := range s.columns {
		for _, name := range c.Names {
			i := slices.Index(names, name)
			if i < 0 {
				return nil, fmt.Errorf("data: %s has no column %q with one value in each row; it has %s", f.name, name, strings.Join(names[:min(len(names), 50)], ", "))
			}
			at = append(at, i)
		}
	}
	return at, nil
}

// Fields describes an example.
func (s *Stream) Fields() []data.Field { return s.fields }

// Len is the number of rows.
func (s *Stream) Len() int { return s.rows }

// Open begins a pass.
func (s *Stream) Open(pass data.Pass, from data.Mark) (data.StreamReader, error) {
	r := &reader{of: s, pass: pass, mark: from}
	r.parts, r.deal = pass.Files(len(s.parts))
	if from.File < 0 || from.File > len(r.parts) || from.Record < 0 {
		return nil, fmt.Errorf("data: the place %+v does not lie in a stream of %d row groups: they are not those any more that were read before", from, len(r.parts))
	}
	return r, nil
}

type reader struct {
	of    *Stream
	pass  data.Pass
	parts []int
	deal  bool
	mark  data.Mark // File: row groups of the pass before it; Record: rows before it there

	file   *File
	opened int // number of the open file
	rows   *rows
	at     []int // of the columns wanted
	values []string
}

func (r *reader) Mark() data.Mark { return r.mark }

func (r *reader) Close() error {
	var errs []error
	if r.rows != nil {
		errs = append(errs, r.rows.close())
		r.rows = nil
	}
	if r.file != nil {
		errs = append(errs, r.file.Close())
		r.file = nil
	}
	return errors.Join(errs...)
}

func (r *reader) Next(rec *data.Record) error {
	for r.mark.File < len(r.parts) {
		number := r.parts[r.mark.File]
		p := r.of.parts[number]
		if r.rows == nil {
			if err := r.open(p); err != nil {
				return err
			}
		}
		row := r.mark.Record
		err := r.rows.read(r.values)
		if errors.Is(err, io.EOF) {
			err = r.rows.close()
			r.rows = nil
			r.mark = data.Mark{File: r.mark.File + 1}
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		r.mark.Record++
		if r.deal && !r.pass.Mine(row) {
			continue
		}
		rec.Index, rec.File, rec.Place = int64(number)<<32|row, number, row
		rec.Data, rec.Ends, rec.Length = rec.Data[:0], rec.Ends[:0], 0
		for _, i := range r.at {
			rec.Data = append(rec.Data, r.values[i]...)
			rec.Ends = append(rec.Ends, len(rec.Data))
		}
		return nil
	}
	return io.EOF
}

func (r *reader) open(p part) error {
	if r.file == nil || r.opened != p.file {
		if err := r.Close(); err != nil {
			return err
		}
		f, err := openPath(r.of.paths[p.file], false)
		if err != nil {
			return err
		}
		r.file, r.opened = f, p.file
		if r.at, err = r.of.find(f); err != nil {
			return err
		}
		r.values = make([]string, len(f.columns))
	}
	rows, err := r.file.group(p.group, r.mark.Record)
	r.rows = rows
	return err
}

// Decode makes an example of a row.
func (s *Stream) Decode(rec *data.Record, dst [][]byte) error {
	from, at := 0, 0
	for i, c := range s.columns {
		for k, name := range c.Names {
			value := string(rec.Data[from:rec.Ends[at]])
			from = rec.Ends[at]
			at++
			if err := put(dst[i], s.fields[i].DType, k, value, s.classes[i]); err != nil {
				p := s.parts[rec.File]
				return fmt.Errorf("data: %s, row group %d, row %d, column %q: %w", s.paths[p.file], p.group, rec.Place, name, err)
			}
		}
	}
	return nil
}

// put writes a value as element k.
func put(dst []byte, dt sinter.DType, k int, value string, classes map[string]int64) error {
	little := binary.LittleEndian
	if classes != nil {
		class, ok := classes[value]
		if !ok {
			return fmt.Errorf("%q is none of the classes", value)
		}
		little.PutUint64(dst, uint64(class))
		return nil
	}
	switch value {
	case "":
		return errors.New("there is no value, expected a number")
	case "true":
		value = "1"
	case "false":
		value = "0"
	}
	switch dt {
	case sinter.Int32, sinter.Int64:
		v, err := strconv.ParseInt(value, 10, 8*dt.Size())
		if err != nil {
			return fmt.Errorf("%q is not a whole number that %s can hold", value, dt)
		}
		if dt == sinter.Int32 {
			little.PutUint32(dst[4*k:], uint32(v))
		} else {
			little.PutUint64(dst[8*k:], uint64(v))
		}
	default:
		v, err := strconv.ParseFloat(value, 8*dt.Size())
		if err != nil {
			return fmt.Errorf("%q is not a number that %s can hold", value, dt)
		}
		if dt == sinter.Float32 {
			little.PutUint32(dst[4*k:], math.Float32bits(float32(v)))
		} else {
			little.PutUint64(dst[8*k:], math.Float64bits(v))
		}
	}
	return nil
}
