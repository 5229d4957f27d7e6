package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// maxRecord bounds what a stream takes into memory of one record: a line, a row, the
// members of a tar archive that make up one example.
const maxRecord = 64 << 20

// content is a file read from the front, unpacked if it is compressed by gzip, as its
// first bytes tell.
type content struct {
	name   string
	f      *os.File
	r      *bufio.Reader
	zipped bool
	offset int64 // of what comes next, in the unpacked content
}

// openContent opens a file at a place that an earlier reader came to.
func openContent(path string, offset int64) (*content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	c := &content{name: path, f: f, r: bufio.NewReaderSize(f, 1<<16), offset: offset}
	if err := c.begin(); err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

func (c *content) begin() error {
	head, err := c.r.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("data: %w", err)
	}
	if bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(c.r)
		if err != nil {
			return fmt.Errorf("data: %s, byte 0: not a whole gzip header: %v; copy or download the file again", c.name, err)
		}
		c.zipped, c.r = true, bufio.NewReaderSize(z, 1<<16)
		if n, err := io.CopyN(io.Discard, c.r, c.offset); err != nil {
			return c.changed(n, err)
		}
		return nil
	}
	st, err := c.f.Stat()
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if st.Mode().IsRegular() && c.offset > st.Size() {
		return c.changed(st.Size(), io.EOF)
	}
	if c.offset > 0 {
		if _, err := c.f.Seek(c.offset, io.SeekStart); err != nil {
			return fmt.Errorf("data: %w", err)
		}
		c.r.Reset(c.f)
	}
	return nil
}

func (c *content) changed(size int64, err error) error {
	if !errors.Is(err, io.EOF) {
		return c.failed(size, err)
	}
	return fmt.Errorf("data: %s has %d bytes, but reading is to go on at byte %d: it is not the file any more that was read before", c.name, size, c.offset)
}

// failed is the error of a read at an offset.
func (c *content) failed(offset int64, err error) error {
	where := ""
	if c.zipped {
		where = " of the unpacked content"
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the gzip file is cut off here")
		}
	}
	return fmt.Errorf("data: %s, byte %d%s: %w; copy or download the file again", c.name, offset, where, err)
}

// Read reads what comes next, for readers of archives.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.offset += int64(n)
	return n, err
}

func (c *content) close() error { return c.f.Close() }

// line appends the next line to dst, without its end. What is longer than limit is
// passed over, and long is set. At the end of the file the error is io.EOF.
func (c *content) line(dst []byte, limit int) (out []byte, long bool, err error) {
	begin := len(dst)
	for {
		part, err := c.r.ReadSlice('\n')
		c.offset += int64(len(part))
		if long = long || len(dst)-begin+len(part) > limit; !long {
			dst = append(dst, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			if len(dst) == begin && len(part) == 0 && !long {
				return dst, false, io.EOF
			}
		case err != nil:
			return dst, long, c.failed(c.offset, err)
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(dst, []byte("\n")), []byte("\r")), long, nil
	}
}

const (
	// What is read into memory as a whole may unpack to this many times its size, or at
	// least to this many bytes.
	maxRatio     = 200
	freeUnpacked = 16 << 20
)

// readContent is the whole of a file, unpacked if it is compressed by gzip.
func readContent(path string) ([]byte, error) {
	c, err := openContent(path, 0)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if !c.zipped {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		return raw, nil
	}
	st, err := c.f.Stat()
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	limit := max(freeUnpacked, maxRatio*st.Size())
	raw, err := io.ReadAll(io.LimitReader(c, limit+1))
	switch {
	case err != nil:
		return nil, c.failed(c.offset, err)
	case int64(len(raw)) > limit:
		return nil, fmt.Errorf("data: %s unpacks to more than %d times its %d bytes, which is %d; if that is no mistake, unpack it beforehand", path, maxRatio, st.Size(), limit)
	}
	return raw, nil
}

// Lines is a Stream of the lines of text files, at constant memory. The number of an
// example within its file is that of its line, from 0; blank lines are none.
type Lines struct {
	paths  []string
	fields []Field
	parse  func(file int, line []byte, dst [][]byte) error

	// quoted says that a value in quotes may go on in the next line, and what parts
	// values then.
	quoted    bool
	delimiter byte
	leave     func(file int, line int64) bool // lines that are no examples
	n         int                             // examples, -1 if that is not known
}

// NewLines is the lines of text files, in UTF-8 or whatever parse expects, each file
// compressed by gzip or not. parse makes an example of a line without its end; it is
// called by several goroutines at once, and its errors are given file and line.
func NewLines(paths []string, fields []Field, parse func(line []byte, dst [][]byte) error) (*Lines, error) {
	if len(paths) == 0 || len(fields) == 0 || parse == nil {
		return nil, fmt.Errorf("data: lines of %d files with %d fields; expected at least one of each, and a function that parses", len(paths), len(fields))
	}
	return &Lines{
		paths: slices.Clone(paths), fields: slices.Clone(fields), n: -1,
		parse: func(_ int, line []byte, dst [][]byte) error { return parse(line, dst) },
	}, nil
}

// Fields describes an example.
func (l *Lines) Fields() []Field { return l.fields }

// Len is the number of examples, or -1.
func (l *Lines) Len() int { return l.n }

// Decode parses a line.
func (l *Lines) Decode(r *Record, dst [][]byte) error {
	if err := l.parse(r.File, r.Data, dst); err != nil {
		return fmt.Errorf("data: %s, line %d: %w", l.paths[r.File], r.Place, err)
	}
	return nil
}

// Open begins a pass.
func (l *Lines) Open(pass Pass, from Mark) (StreamReader, error) {
	r := &lineReader{of: l, pass: pass, mark: from}
	r.files, r.deal = pass.Files(len(l.paths))
	if err := checkMark(from, len(r.files)); err != nil {
		return nil, err
	}
	return r, nil
}

func checkMark(m Mark, files int) error {
	if m.File < 0 || m.File > files || m.Offset < 0 || m.Record < 0 {
		return fmt.Errorf("data: the place %+v does not lie in a stream of %d files: they are not those any more that were read before", m, files)
	}
	return nil
}

type lineReader struct {
	of    *Lines
	pass  Pass
	files []int
	deal  bool
	src   *content
	mark  Mark // of what comes next
}

func (r *lineReader) Mark() Mark { return r.mark }

func (r *lineReader) Close() error {
	if r.src == nil {
		return nil
	}
	src := r.src
	r.src = nil
	return src.close()
}

func (r *lineReader) Next(rec *Record) error {
	for r.mark.File < len(r.files) {
		file := r.files[r.mark.File]
		name := r.of.paths[file]
		if r.src == nil {
			var err error
			if r.src, err = openContent(name, r.mark.Offset); err != nil {
				return err
			}
		}
		line := r.mark.Record
		data, lines, long, err := r.record(rec.Data[:0], line)
		if errors.Is(err, io.EOF) {
			if err := r.Close(); err != nil {
				return fmt.Errorf("data: %w", err)
			}
			r.mark = Mark{File: r.mark.File + 1}
			continue
		}
		rec.Data, rec.Ends = data, rec.Ends[:0]
		if err != nil {
			return err
		}
		r.mark.Offset, r.mark.Record = r.src.offset, line+lines
		if line == 0 {
			n := copy(rec.Data, trimBOM(rec.Data))
			rec.Data = rec.Data[:n]
		}
		if r.deal && !r.pass.Mine(line) || r.of.leave != nil && r.of.leave(file, line) {
			continue
		}
		if !long && len(bytes.TrimSpace(rec.Data)) == 0 {
			continue
		}
		rec.Index, rec.File, rec.Place, rec.Length = int64(file)<<32|line, file, line+1, len(rec.Data)
		if long {
			return &RecordError{rec.Index, fmt.Errorf("data: %s, line %d: the line is longer than %d bytes; expected one example in a line", name, line+1, maxRecord)}
		}
		return nil
	}
	return io.EOF
}

// record reads a line, or the lines of a row whose quoted values contain their ends.
func (r *lineReader) record(dst []byte, line int64) (data []byte, lines int64, long bool, err error) {
	data, long, err = r.src.line(dst, maxRecord)
	if err != nil || !r.of.quoted || long {
		return data, 1, long, err
	}
	q := quotes{delimiter: r.of.delimiter}
	lines = 1
	seen := 0
	for {
		q.scan(data[seen:])
		if !q.open() {
			return data, lines, false, nil
		}
		seen = len(data)
		data = append(data, '\n')
		data, long, err = r.src.line(data, maxRecord-min(maxRecord, len(data)))
		if long || errors.Is(err, io.EOF) {
			return data, lines, false, fmt.Errorf("data: %s, line %d: a quoted value that begins in this line does not end as it should; expected a closing quote before %q or the end of the line, and quotes inside a value written twice", r.src.name, line+1, r.of.delimiter)
		}
		if err != nil {
			return data, lines, false, err
		}
		lines++
	}
}

// quotes follows the values of a row as encoding/csv does, to know whether a line
// ends inside of one that is quoted.
type quotes struct {
	delimiter byte
	state     byte
}

const (
	atValue = iota // before the first character of a value
	inPlain        // in a value without quotes
	inQuotes
	atQuote // behind a quote in a quoted value: its end, or the first of two
)

func (q *quotes) scan(part []byte) {
	for _, b := range part {
		switch q.state {
		case atValue:
			switch {
			case b == '"':
				q.state = inQuotes
			case b != q.delimiter && (b != ' ' || q.delimiter == '\t'):
				q.state = inPlain
			}
		case inPlain:
			if b == q.delimiter {
				q.state = atValue
			}
		case inQuotes:
			if b == '"' {
				q.state = atQuote
			}
		case atQuote:
			switch {
			case b == '"':
				q.state = inQuotes
			case b == q.delimiter:
				q.state = atValue
			case q.delimiter == '\t': // lazy quotes, see Table.parse
				q.state = inQuotes
			default:
				q.state = inPlain
			}
		}
	}
}

func (q *quotes) open() bool { return q.state == inQuotes }
