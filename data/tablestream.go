package data

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"
)

// tableMemory is the size of file above which tables are streamed.
const tableMemory = 256 << 20

func tooLargeForMemory(path string, opt TableOptions) (bool, error) {
	st, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("data: %w", err)
	}
	return st.Mode().IsRegular() && st.Size() > cmp.Or(opt.Memory, tableMemory), nil
}

// tableHead is how much of a file decides on its delimiter and header.
const tableHead = 1 << 20

// streamTable makes a source of a table that is too large for memory. It goes through
// the file three times: to choose rows that the encoder is fitted on, and to gather the
// classes; to check that all rows can be encoded, which also counts them; and to hold
// out examples for testing.
func streamTable(path string, opt TableOptions) (*Source, error) {
	head, lines, err := readHead(path, opt)
	if err != nil {
		return nil, err
	}
	target := len(head.Columns) - 1
	if opt.Target != "" {
		if target, err = head.column(opt.Target); err != nil {
			return nil, err
		}
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	opt.TestFraction = cmp.Or(opt.TestFraction, 0.2)
	if !(opt.TestFraction > 0 && opt.TestFraction < 1) {
		return nil, fmt.Errorf("data: Split: fraction %v, expected a number between 0 and 1", opt.TestFraction)
	}
	size := int64(float64(st.Size()) * (1 + recordOverhead/lines.average))
	part := heldPart(lines, opt.TestFraction, opt.Seed, size)
	// Rows take many times their bytes in memory.
	share := min(1, float64(cmp.Or(opt.Memory, tableMemory))/32/float64(st.Size()))
	sample := &Table{Name: head.Name, Columns: head.Columns, Header: head.Header, Delimiter: head.Delimiter}
	classes := map[string]bool{}
	sampled := streamPart{seed: opt.Seed ^ sampleSite, below: uint64(share * (1 << 63) * 2), held: true}
	digest := sha256.New()
	rows := 0
	err = eachRecord(lines, func(r *Record) error {
		row, err := lines.row(r)
		if err != nil {
			return err
		}
		rows++
		digest.Write(r.Data)
		digest.Write([]byte{'\n'})
		if len(classes) <= maxCategories {
			classes[key(row[target])] = true
		}
		if (opt.Test != "" || !part.has(r.Index)) && (share == 1 || sampled.has(r.Index)) {
			sample.rows, sample.lines = append(sample.rows, row), append(sample.lines, int(r.Place))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	src := &Source{Notes: head.Notes, streamBytes: size}
	src.note("%s: %d rows of %d values, parted by %q, are streamed; what is fitted is fitted on %d of them", path, rows, len(head.Columns), head.Delimiter, sample.Len())
	if sample.Len() == 0 {
		return nil, fmt.Errorf("data: %s: none of its rows fits into the memory that the encoder may be fitted in, %d bytes", path, cmp.Or(opt.Memory, tableMemory))
	}
	enc, notes, err := fitEncoder(sample, nil, opt)
	if err != nil {
		return nil, err
	}
	if enc.Task == Classification {
		if len(classes) > maxCategories {
			return nil, fmt.Errorf("data: %s: the target has more than %d different values, expected at most as many classes: choose another target or regression", path, maxCategories)
		}
		enc.Classes = enc.Classes[:0]
		for v := range classes {
			enc.Classes = append(enc.Classes, v)
		}
		sortNumbersFirst(enc.Classes)
	}
	src.Encoder, src.Task, src.Classes = enc, enc.Task, enc.Classes
	src.Notes = append(src.Notes, notes...)
	if err := lines.encode(enc, sample); err != nil {
		return nil, err
	}
	lines.n = rows
	room := make([][]byte, len(lines.fields))
	for i, f := range lines.fields {
		room[i] = make([]byte, f.Bytes())
	}
	if err := eachRecord(lines, func(r *Record) error { return lines.Decode(r, room) }); err != nil {
		return nil, err
	}
	src.Stream = lines
	if opt.Test != "" {
		_, ds, notes, err := enc.Read(opt.Test, true)
		if err != nil {
			return nil, err
		}
		src.Test = ds
		src.Notes = append(src.Notes, notes...)
	} else if err := src.holdOutOfStream(opt.TestFraction, opt.Seed); err != nil {
		return nil, err
	}
	src.Digest = hex.EncodeToString(digest.Sum(nil))
	return src, nil
}

// sampleSite sets the choice of rows to fit on apart from that of those held out.
const sampleSite = 0x73616d706c65

// eachRecord goes through all of a stream.
func eachRecord(s Stream, visit func(*Record) error) error {
	r, err := s.Open(Pass{Shards: 1}, Mark{})
	if err != nil {
		return err
	}
	defer r.Close()
	var rec Record
	for {
		err := r.Next(&rec)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = visit(&rec)
		}
		if err != nil {
			return err
		}
	}
}

// tableLines is the stream of a table's rows.
type tableLines struct {
	*Lines
	head    *Table  // without rows: the form of the file
	average float64 // bytes of a row, in the head
	encoder *rowEncoder
}

// readHead finds out the form of a table by its first lines.
func readHead(path string, opt TableOptions) (*Table, *tableLines, error) {
	c, err := openContent(path, 0)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	start, err := io.ReadAll(io.LimitReader(c, tableHead))
	if err != nil {
		return nil, nil, c.failed(c.offset, err)
	}
	if len(start) == tableHead {
		end := bytes.LastIndexByte(start, '\n')
		if end < 0 {
			return nil, nil, fmt.Errorf("data: %s, line 1: the line is longer than %d bytes; expected a table with a row for each example", path, tableHead)
		}
		start = start[:end+1]
	}
	if !utf8.Valid(start) {
		return nil, nil, fmt.Errorf("data: %s is not UTF-8, which a table that is streamed has to be; convert the file, for example with iconv -f LATIN1 -t UTF-8", path)
	}
	delimiter := opt.Delimiter
	if delimiter == 0 {
		delimiter = detectDelimiter(trimBOM(start), extension(path))
	}
	if delimiter > utf8.RuneSelf {
		return nil, nil, fmt.Errorf("data: %s: a table that is streamed has to be parted by a character of ASCII, not %q", path, delimiter)
	}
	// A quoted value may go on where the head is cut: its row is left away.
	l := &Lines{paths: []string{path}, n: -1, quoted: true, delimiter: byte(delimiter)}
	whole, q := 0, quotes{delimiter: byte(delimiter)}
	for at := 0; at < len(start); {
		end := at + bytes.IndexByte(start[at:], '\n') + 1
		if end == at {
			end = len(start)
		}
		q.scan(bytes.TrimRight(start[at:end], "\r\n"))
		if !q.open() {
			q.state = atValue
			whole = end
		}
		at = end
	}
	opt.Delimiter = delimiter
	head, err := parseTable(path, start[:whole], opt)
	if err != nil {
		return nil, nil, err
	}
	if head.Header {
		first := int64(0)
		for line := range bytes.Lines(trimBOM(start)) {
			if len(bytes.TrimSpace(line)) > 0 {
				break
			}
			first++
		}
		l.leave = func(_ int, line int64) bool { return line == first }
	}
	average := float64(whole) / float64(head.Len())
	head.rows, head.lines = nil, nil
	return head, &tableLines{Lines: l, head: head, average: average}, nil
}

// rowReaders are what csv.NewReader would make for every row otherwise.
var rowReaders = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// row parses the record of a row.
func (l *tableLines) row(r *Record) ([]string, error) {
	var row []string
	if bytes.IndexByte(r.Data, '"') < 0 {
		row = strings.Split(string(r.Data), string(l.head.Delimiter))
	} else {
		b := rowReaders.Get().(*bufio.Reader)
		defer rowReaders.Put(b)
		b.Reset(bytes.NewReader(r.Data))
		var err error
		if row, err = newCSVReader(b, l.head.Delimiter).Read(); err != nil {
			return nil, fmt.Errorf("data: %s, line %d: %w", l.head.Name, r.Place, err)
		}
	}
	if len(row) != len(l.head.Columns) {
		return nil, fmt.Errorf("data: %s, line %d: %d values, expected %d; values are parted by %q, and one that contains it must be quoted", l.head.Name, r.Place, len(row), len(l.head.Columns), l.head.Delimiter)
	}
	for i, v := range row {
		row[i] = strings.TrimSpace(v)
	}
	return row, nil
}

// encode makes the rows examples.
func (l *tableLines) encode(enc *Encoder, like *Table) error {
	r, err := enc.forTable(like, true)
	if err != nil {
		return err
	}
	l.fields = r.fields
	l.encoder = r
	return nil
}

// encodedRows are for one row each, to be used again.
var encodedRows = sync.Pool{New: func() any { return new(encoded) }}

// Decode encodes a row.
func (l *tableLines) Decode(r *Record, dst [][]byte) error {
	row, err := l.row(r)
	if err != nil {
		return err
	}
	one := encodedRows.Get().(*encoded)
	defer encodedRows.Put(one)
	*one = encoded{enc: l.encoder.enc, fields: l.fields, n: 1, numbers: one.numbers[:0], texts: one.texts[:0]}
	err = l.encoder.add(one, row, func(col int) string {
		return fmt.Sprintf("%s, line %d, column %q", l.head.Name, r.Place, l.head.Columns[col])
	}, nil, nil)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return one.Read(0, dst)
}
