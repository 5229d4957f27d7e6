// Package parquet reads Apache Parquet files: as a table in memory, which a data.Encoder
// understands like one of CSV, and as a stream by row groups at constant memory. It is
// apart from package data because of what it depends on.
//
// Columns are those of the schema's leaves, by their paths joined with dots; lists and
// maps, whose rows have several values, are left out with a note. Numbers become what
// they are, decimals with their point, dates and times the number of days or of the
// units that the file counts in, text itself, binary content that is no text its
// hexadecimal digits, and null a missing value.
//
// The decoder underneath is github.com/parquet-go/parquet-go. Before it is let at a file,
// the sizes in the footer and in the headers of all pages are checked against the file,
// so that a damaged one cannot make it allocate what is not there; what it panics on all
// the same becomes an error.
package parquet

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"

	"github.com/sinter-dl/sinter/data"
)

const (
	// Pages may unpack to this many times their size, or at least to this many bytes.
	maxRatio     = 200
	freeUnpacked = 16 << 20
	// maxPageValues bounds what a page holds: equal values take no room in the file.
	maxPageValues = 1 << 24
	// A table in memory may have this many values, and for each byte of the file
	// valuesPerByte more.
	freeValues    = 1 << 22
	valuesPerByte = 64
)

// File is an open Parquet file. It serves one goroutine.
type File struct {
	name    string
	f       io.Closer
	size    int64
	pq      *pq.File
	columns []column
	notes   []string
}

type column struct {
	name string
	leaf int // number of the column in the file
	text func(pq.Value) string
}

// Open opens a file and checks its structure: the footer, the headers of all pages, and
// that they unpack to what these say.
func Open(path string) (*File, error) { return openPath(path, true) }

// openPath leaves out that pages can be unpacked if the file was opened before.
func openPath(path string, unpack bool) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("data: %w", err)
	}
	file, err := open(f, st.Size(), path, unpack)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.f = f
	return file, nil
}

// Close closes the file.
func (f *File) Close() error {
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}

// guard turns a panic of the decoder into an error.
func guard(name string, err *error) {
	if r := recover(); r != nil {
		*err = damaged(name, fmt.Errorf("decoding it fails: %v", r))
	}
}

func damaged(name string, err error) error {
	return fmt.Errorf("data: %s: not a whole Parquet file: %w; copy or make it again", name, err)
}

func open(r io.ReaderAt, size int64, name string, unpack bool) (file *File, err error) {
	defer guard(name, &err)
	var tail [8]byte
	if size < 12 {
		return nil, damaged(name, fmt.Errorf("it has %d bytes", size))
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return nil, damaged(name, err)
	}
	footer := int64(tail[0]) | int64(tail[1])<<8 | int64(tail[2])<<16 | int64(tail[3])<<24
	if string(tail[4:]) == "PARE" {
		return nil, fmt.Errorf("data: %s is encrypted; decrypt it beforehand", name)
	}
	if string(tail[4:]) != "PAR1" || footer > size-12 {
		return nil, damaged(name, fmt.Errorf("byte %d: it ends in %q, expected a footer of at most %d bytes and PAR1", size-8, tail, size-12))
	}
	file = &File{name: name, size: size}
	file.pq, err = pq.OpenFile(r, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true))
	if err != nil {
		return nil, damaged(name, err)
	}
	if err := file.checkPages(r, unpack); err != nil {
		return nil, err
	}
	schema := file.pq.Schema()
	for i, path := range schema.Columns() {
		leaf, ok := schema.Lookup(path...)
		if !ok {
			return nil, damaged(name, fmt.Errorf("its column %q is not in its schema", strings.Join(path, ".")))
		}
		c := column{name: strings.Join(path, "."), leaf: i, text: textOf(leaf.Node)}
		if leaf.MaxRepetitionLevel > 0 {
			file.notes = append(file.notes, fmt.Sprintf("column %q is left out: it has a list of values in each row", c.name))
			continue
		}
		file.columns = append(file.columns, c)
	}
	if len(file.columns) == 0 {
		return nil, fmt.Errorf("data: %s has no columns with one value in each row", name)
	}
	return file, nil
}

// checkPages reads the header of every page, and unpacks each if that is asked for.
func (f *File) checkPages(r io.ReaderAt, unpack bool) error {
	protocol := thrift.CompactProtocol{}
	buf := make([]byte, 0, 8<<10)
	rows := int64(0)
	for g, group := range f.pq.Metadata().RowGroups {
		if group.NumRows < 0 {
			return damaged(f.name, fmt.Errorf("row group %d has %d rows", g, group.NumRows))
		}
		if rows += group.NumRows; rows < 0 {
			return damaged(f.name, errors.New("it has more rows than can be counted"))
		}
		for c, chunk := range group.Columns {
			meta := chunk.MetaData
			at := meta.DataPageOffset
			if d := meta.DictionaryPageOffset; d > 0 && d < at {
				at = d
			}
			place := func(err error) error {
				return damaged(f.name, fmt.Errorf("row group %d, column %d, byte %d: %w", g, c, at, err))
			}
			end := at + meta.TotalCompressedSize
			if at < 4 || meta.TotalCompressedSize < 0 || end < at || end > f.size || meta.NumValues < 0 || chunk.FilePath != "" {
				return place(fmt.Errorf("%d bytes of %d values are not in this file of %d bytes", meta.TotalCompressedSize, meta.NumValues, f.size))
			}
			for values := int64(0); at < end && values < meta.NumValues; {
				buf = buf[:min(int64(cap(buf)), end-at)]
				if n, err := r.ReadAt(buf, at); n < len(buf) {
					return place(err)
				}
				reader := protocol.NewReaderFromBytes(buf)
				var page format.PageHeader
				if err := thrift.NewDecoder(reader).Decode(&page); err != nil {
					if len(buf) < 1<<20 && int64(len(buf)) < end-at { // statistics can be long
						buf = make([]byte, 0, 4*cap(buf))
						continue
					}
					return place(fmt.Errorf("the header of a page: %w", err))
				}
				packed, unpacked := int64(page.CompressedPageSize), int64(page.UncompressedPageSize)
				begin := at + int64(reader.BytesRead())
				if packed < 0 || unpacked < 0 || packed > end-begin {
					return place(fmt.Errorf("a page of %d bytes, unpacked %d, of which %d are there", packed, unpacked, end-begin))
				}
				if unpacked > max(freeUnpacked, maxRatio*packed) {
					return place(fmt.Errorf("a page of %d bytes unpacks to %d, more than %d times as many", packed, unpacked, maxRatio))
				}
				if unpack {
					if err := f.checkPacked(r, &meta, &page, begin); err != nil {
						return place(err)
					}
				}
				n := int64(0)
				switch {
				case page.DataPageHeader.Valid:
					n = int64(page.DataPageHeader.V.NumValues)
				case page.DataPageHeaderV2.Valid:
					n = int64(page.DataPageHeaderV2.V.NumValues)
				case page.DictionaryPageHeader.Valid:
					if d := int64(page.DictionaryPageHeader.V.NumValues); d < 0 || d > 8*unpacked {
						return place(fmt.Errorf("a dictionary of %d values in %d bytes", d, unpacked))
					}
				}
				if n < 0 || n > maxPageValues {
					return place(fmt.Errorf("a page of %d values, expected at most %d", n, maxPageValues))
				}
				values += n
				at = begin + packed
			}
		}
	}
	return nil
}

// checkPacked unpacks a page and throws the result away. The codecs underneath make room
// for whatever comes, one of them without an end where a page is damaged; here there is
// room for what the page's header says.
func (f *File) checkPacked(r io.ReaderAt, meta *format.ColumnMetaData, page *format.PageHeader, begin int64) error {
	packed, unpacked := int64(page.CompressedPageSize), int64(page.UncompressedPageSize)
	if v2 := page.DataPageHeaderV2; v2.Valid { // its levels come first and are not packed
		levels := int64(v2.V.RepetitionLevelsByteLength) + int64(v2.V.DefinitionLevelsByteLength)
		if levels < 0 || levels > packed || levels > unpacked {
			return fmt.Errorf("a page of %d bytes with %d of levels", packed, levels)
		}
		begin, packed, unpacked = begin+levels, packed-levels, unpacked-levels
		if v2.V.IsCompressed.Valid && !v2.V.IsCompressed.V {
			return nil
		}
	}
	if meta.Codec == format.Uncompressed || packed == 0 {
		return nil
	}
	src := make([]byte, packed)
	if _, err := r.ReadAt(src, begin); err != nil {
		return err
	}
	var stream io.Reader
	switch meta.Codec {
	case format.Snappy:
		n, err := snappy.DecodedLen(src)
		if err == nil && int64(n) > unpacked {
			err = fmt.Errorf("a page unpacks to %d bytes, expected %d", n, unpacked)
		}
		return err
	case format.Lz4Raw:
		_, err := lz4.UncompressBlock(src, make([]byte, unpacked))
		return err
	case format.Gzip:
		z, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return err
		}
		stream = z
	case format.Brotli:
		stream = brotli.NewReader(bytes.NewReader(src))
	case format.Zstd:
		z, err := zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(uint64(unpacked)+1<<20), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return err
		}
		defer z.Close()
		stream = z
	default:
		return fmt.Errorf("it is compressed by %v, which is not supported", meta.Codec)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(stream, unpacked+1))
	if err == nil && n > unpacked {
		err = fmt.Errorf("a page unpacks to more than the %d bytes that its header says", unpacked)
	}
	return err
}

// Rows is the number of rows that the file says it has.
func (f *File) Rows() int64 { return f.pq.NumRows() }

// Columns are the names of the columns that have one value in each row.
func (f *File) Columns() []string {
	names := make([]string, len(f.columns))
	for i, c := range f.columns {
		names[i] = c.name
	}
	return names
}

// textOf gives the way to write a column's values.
func textOf(node pq.Node) func(pq.Value) string {
	if logical := node.Type().LogicalType(); logical != nil {
		switch t := logical.Value.(type) {
		case *format.DecimalType:
			return func(v pq.Value) string { return decimal(v, int(t.Scale)) }
		case *format.IntType:
			if t.IsSigned {
				break
			}
			return func(v pq.Value) string {
				if v.Kind() == pq.Int32 {
					return strconv.FormatUint(uint64(v.Uint32()), 10)
				}
				return strconv.FormatUint(v.Uint64(), 10)
			}
		}
	}
	return func(v pq.Value) string {
		switch v.Kind() {
		case pq.Boolean:
			return strconv.FormatBool(v.Boolean())
		case pq.Int32:
			return strconv.FormatInt(int64(v.Int32()), 10)
		case pq.Int64:
			return strconv.FormatInt(v.Int64(), 10)
		case pq.Float:
			return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32)
		case pq.Double:
			return strconv.FormatFloat(v.Double(), 'g', -1, 64)
		case pq.Int96: // a time, in nanoseconds of the day and days of the Julian calendar
			t := v.Int96()
			ns, days := int64(t[0])|int64(t[1])<<32, int64(t[2])
			total := new(big.Int).Mul(big.NewInt(days-2440588), big.NewInt(24*3600*1e9))
			return total.Add(total, big.NewInt(ns)).String()
		}
		b := v.ByteArray()
		if s := string(b); utf8.ValidString(s) {
			return strings.TrimSpace(s)
		}
		return hex.EncodeToString(b)
	}
}

// decimal writes an integer with its point.
func decimal(v pq.Value, scale int) string {
	n := new(big.Int)
	switch v.Kind() {
	case pq.Int32:
		n.SetInt64(int64(v.Int32()))
	case pq.Int64:
		n.SetInt64(v.Int64())
	default: // big-endian, in two's complement
		b := v.ByteArray()
		n.SetBytes(b)
		if len(b) > 0 && b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
	}
	if scale <= 0 || scale > 400 {
		return n.String()
	}
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
		n.Neg(n)
	}
	digits := n.String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

// rows reads one row group.
type rows struct {
	file  *File
	group int
	rows  pq.Rows
	batch []pq.Row
	next  int // in batch
	n     int // rows in batch
	row   int64
}

const batchRows = 64

func (f *File) group(g int, from int64) (r *rows, err error) {
	defer guard(f.name, &err)
	groups := f.pq.RowGroups()
	if g >= len(groups) || from > groups[g].NumRows() {
		return nil, fmt.Errorf("data: %s has no row %d in group %d: it is not the file any more that was read before", f.name, from, g)
	}
	r = &rows{file: f, group: g, rows: groups[g].Rows(), batch: make([]pq.Row, batchRows), row: from}
	if from > 0 {
		if err := r.rows.SeekToRow(from); err != nil {
			return nil, damaged(f.name, err)
		}
	}
	return r, nil
}

// read calls visit with the text of the next row's columns, or gives io.EOF.
func (r *rows) read(values []string) (err error) {
	defer guard(r.file.name, &err)
	for r.next == r.n {
		n, err := r.rows.ReadRows(r.batch)
		if r.next, r.n = 0, n; n > 0 {
			break
		}
		if errors.Is(err, io.EOF) {
			if want := r.file.pq.RowGroups()[r.group].NumRows(); r.row != want {
				return damaged(r.file.name, fmt.Errorf("row group %d ends after %d rows, expected %d", r.group, r.row, want))
			}
			return io.EOF
		}
		if err != nil {
			return damaged(r.file.name, fmt.Errorf("row group %d, row %d: %w", r.group, r.row, err))
		}
	}
	row := r.batch[r.next]
	r.next++
	r.row++
	clear(values)
	at := 0
	for _, v := range row {
		for at < len(r.file.columns) && r.file.columns[at].leaf < v.Column() {
			at++
		}
		if at < len(r.file.columns) && r.file.columns[at].leaf == v.Column() && !v.IsNull() {
			values[at] = r.file.columns[at].text(v)
		}
	}
	return nil
}

func (r *rows) close() (err error) {
	defer guard(r.file.name, &err)
	return r.rows.Close()
}

// Table reads the whole file into memory.
func (f *File) Table() (*data.Table, error) {
	if n, most := f.Rows(), (freeValues+valuesPerByte*f.size)/int64(len(f.columns)); n > most {
		return nil, fmt.Errorf("data: %s has %d rows of %d columns in %d bytes, expected at most %d for a table in memory; use fewer columns or a stream", f.name, n, len(f.columns), f.size, most)
	}
	var all [][]string
	for g := range f.pq.RowGroups() {
		r, err := f.group(g, 0)
		if err != nil {
			return nil, err
		}
		for {
			row := make([]string, len(f.columns))
			if err = r.read(row); err != nil {
				break
			}
			if all = append(all, row); int64(len(all)) > f.Rows() {
				err = damaged(f.name, fmt.Errorf("row group %d has more rows than the file is said to have, %d", g, f.Rows()))
				break
			}
		}
		if closeErr := r.close(); errors.Is(err, io.EOF) {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
	}
	t, err := data.NewTable(f.name, f.Columns(), all)
	if err == nil {
		t.Notes = append(t.Notes, f.notes...)
	}
	return t, err
}

// ReadTable reads a file into memory as a table.
func ReadTable(path string) (*data.Table, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Table()
}

// OpenTable reads a file for classification or regression, as data.OpenTable does one of
// CSV. opt.Test, if there is one, is a Parquet file, too.
func OpenTable(path string, opt data.TableOptions) (*data.Source, error) {
	t, err := ReadTable(path)
	if err != nil {
		return nil, err
	}
	var test *data.Table
	if opt.Test != "" {
		if test, err = ReadTable(opt.Test); err != nil {
			return nil, err
		}
	}
	return t.Source(opt, test)
}
