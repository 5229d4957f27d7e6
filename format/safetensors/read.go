package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// File is an open safetensors file. Its methods may be called by several
// goroutines at once if the underlying reader allows that, as an os.File does.
type File struct {
	name   string
	r      io.ReaderAt
	closer io.Closer
	infos  []Info // in the order of their data
	index  map[string]int
	meta   map[string]string
}

// Open reads and checks the header of the file at path. The elements stay in
// the file until they are asked for.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	file, err := New(f, st.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.closer = f
	return file, nil
}

// New reads and checks the header of a file of the given size behind r; name is
// what error messages call it.
func New(r io.ReaderAt, size int64, name string) (*File, error) {
	bad := func(offset int64, format string, args ...any) error {
		return &FormatError{name, offset, fmt.Sprintf(format, args...)}
	}
	var prefix [8]byte
	if size < 8 {
		return nil, bad(0, "the file has %d bytes, expected at least the 8 of the header's length", size)
	}
	if err := readAt(r, prefix[:], 0); err != nil {
		return nil, fmt.Errorf("safetensors: %s: reading the header's length: %w", name, err)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > maxHeader {
		return nil, bad(0, "the header is said to have %d bytes, expected at most %d", length, maxHeader)
	}
	if int64(length) > size-8 {
		return nil, bad(0, "the header is said to have %d bytes, but only %d follow", length, size-8)
	}
	header := make([]byte, length)
	if err := readAt(r, header, 8); err != nil {
		return nil, fmt.Errorf("safetensors: %s: reading the header: %w", name, err)
	}
	f := &File{name: name, r: r, index: map[string]int{}}
	data := 8 + int64(length)
	p := parser{dec: json.NewDecoder(bytes.NewReader(header)), start: 8, data: data, file: name}
	p.dec.UseNumber()
	switch {
	case !utf8.Valid(header):
		return nil, bad(8, "the header is not UTF-8")
	case length == 0 || header[0] != '{':
		return nil, bad(8, "the header does not begin with '{'")
	}
	if err := p.header(f); err != nil {
		return nil, err
	}
	if rest := bytes.TrimLeft(header[p.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, bad(data-int64(len(rest)), "the header goes on after its closing '}'")
	}
	slices.SortFunc(f.infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Name, b.Name))
	})
	end := data
	for i, t := range f.infos {
		if t.offset != end {
			return nil, bad(8, "the data of %q begin at byte %d of the file, expected %d, where the tensor before ends: tensors must not overlap nor leave gaps", t.Name, t.offset, end)
		}
		end += t.Bytes
		f.index[t.Name] = i
	}
	if end != size {
		return nil, bad(end, "the tensors end here, but the file has %d bytes", size)
	}
	return f, nil
}

// readAt fills p, taking the end of the file in the middle of it for an error.
func readAt(r io.ReaderAt, p []byte, offset int64) error {
	n, err := r.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parser walks the header's JSON token by token instead of decoding it into
// values: that accepts nothing but the format's own shape, which bounds the
// nesting, and it sees duplicate keys, which encoding/json would swallow.
type parser struct {
	dec   *json.Decoder
	start int64 // offset of the header in the file
	data  int64 // offset of the elements in the file
	file  string
}

func (p *parser) bad(format string, args ...any) error {
	return &FormatError{p.file, p.start + p.dec.InputOffset(), fmt.Sprintf(format, args...)}
}

func (p *parser) token() (json.Token, error) {
	t, err := p.dec.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, p.bad("the header ends in the middle of its JSON")
	}
	if err != nil {
		return nil, p.bad("the header is not JSON: %v", err)
	}
	return t, nil
}

// object calls member for every key of the object that begins at the next token.
func (p *parser) object(what string, member func(key string) error) error {
	t, err := p.token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return p.bad("%s is %v, expected an object", what, t)
	}
	seen := map[string]bool{}
	for {
		t, err := p.token()
		if err != nil {
			return err
		}
		if t == json.Delim('}') {
			return nil
		}
		key := t.(string) // the decoder lets nothing else stand for a key
		if seen[key] {
			return p.bad("%s has the key %q twice", what, key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
}

// integers reads an array of integers that are not negative.
func (p *parser) integers(what string) ([]int, error) {
	t, err := p.token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('[') {
		return nil, p.bad("%s is %v, expected an array of integers", what, t)
	}
	list := []int{}
	for {
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		if t == json.Delim(']') {
			return list, nil
		}
		num, ok := t.(json.Number)
		if !ok {
			return nil, p.bad("%s holds %v, expected integers only", what, t)
		}
		v, err := strconv.ParseUint(num.String(), 10, strconv.IntSize-1)
		if err != nil {
			return nil, p.bad("%s holds %s, expected an integer from 0 to 2^%d-1", what, num, strconv.IntSize-1)
		}
		list = append(list, int(v))
	}
}

func (p *parser) string(what string) (string, error) {
	t, err := p.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", p.bad("%s is %v, expected a string", what, t)
	}
	return s, nil
}

func (p *parser) header(f *File) error {
	return p.object("the header", func(key string) error {
		if key != metadataKey {
			info, err := p.tensor(key)
			if err == nil {
				f.infos = append(f.infos, info)
			}
			return err
		}
		f.meta = map[string]string{}
		return p.object(metadataKey, func(key string) error {
			v, err := p.string(fmt.Sprintf("%s.%q", metadataKey, key))
			f.meta[key] = v
			return err
		})
	})
}

func (p *parser) tensor(name string) (Info, error) {
	info := Info{Name: name}
	var offsets []int
	what := fmt.Sprintf("tensor %q", name)
	err := p.object(what, func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			if s, err = p.string("the dtype of " + what); err != nil {
				return err
			}
			var ok bool
			if info.DType, ok = types[s]; !ok {
				return fmt.Errorf("safetensors: %s: %s has the element type %q; supported are %v: convert the file to one of these",
					p.file, what, s, slices.Sorted(maps.Keys(types)))
			}
		case "shape":
			info.Shape, err = p.integers("the shape of " + what)
		case "data_offsets":
			offsets, err = p.integers("data_offsets of " + what)
		default:
			return p.bad("%s has the key %q, expected dtype, shape and data_offsets only", what, key)
		}
		return err
	})
	switch {
	case err != nil:
		return info, err
	case info.DType == dtype.Invalid || info.Shape == nil || offsets == nil:
		return info, p.bad("%s lacks one of dtype, shape and data_offsets", what)
	case len(offsets) != 2 || offsets[0] > offsets[1]:
		return info, p.bad("data_offsets of %s are %v, expected a begin and an end", what, offsets)
	}
	n, ok := byteLen(info.DType, info.Shape)
	if !ok || n != int64(offsets[1]-offsets[0]) {
		return info, p.bad("%s is %s %v, which does not take the %d bytes of its data_offsets %v",
			what, info.DType, info.Shape, offsets[1]-offsets[0], offsets)
	}
	info.Bytes = n
	// The sum may wrap for a hostile offset; the check for gaps then fails.
	info.offset = p.data + int64(offsets[0])
	return info, nil
}

// Names lists the tensors in the order in which their data lie in the file.
func (f *File) Names() []string {
	list := make([]string, len(f.infos))
	for i, t := range f.infos {
		list[i] = t.Name
	}
	return list
}

// Info tells type, shape and size of a tensor; ok is false if there is none of
// that name.
func (f *File) Info(name string) (info Info, ok bool) {
	i, ok := f.index[name]
	if !ok {
		return Info{}, false
	}
	info = f.infos[i]
	info.Shape = slices.Clone(info.Shape)
	return info, true
}

// Metadata is a copy of the file's free-form strings; it is never nil.
func (f *File) Metadata() map[string]string {
	m := map[string]string{}
	maps.Copy(m, f.meta)
	return m
}

// Read returns the elements of a tensor.
func (f *File) Read(name string) ([]byte, error) {
	info, ok := f.Info(name)
	if !ok {
		return nil, f.missing(name)
	}
	data := make([]byte, info.Bytes)
	return data, f.ReadInto(name, data)
}

// ReadInto reads the elements of a tensor into dst, which has exactly their size.
func (f *File) ReadInto(name string, dst []byte) error {
	i, ok := f.index[name]
	if !ok {
		return f.missing(name)
	}
	info := f.infos[i]
	if int64(len(dst)) != info.Bytes {
		return fmt.Errorf("safetensors: %s: tensor %q has %d bytes, but the destination has %d", f.name, name, info.Bytes, len(dst))
	}
	if err := readAt(f.r, dst, info.offset); err != nil {
		return fmt.Errorf("safetensors: %s, byte %d: reading tensor %q: %w", f.name, info.offset, name, err)
	}
	if info.DType == dtype.Bool {
		for i, b := range dst {
			if b > 1 {
				return &FormatError{f.name, info.offset + int64(i), fmt.Sprintf("tensor %q holds the byte %d, expected 0 or 1 for a BOOL", name, b)}
			}
		}
	}
	return nil
}

// Section gives a tensor's elements as a stream, for tensors that should not be
// in memory whole.
func (f *File) Section(name string) (*io.SectionReader, error) {
	i, ok := f.index[name]
	if !ok {
		return nil, f.missing(name)
	}
	return io.NewSectionReader(f.r, f.infos[i].offset, f.infos[i].Bytes), nil
}

func (f *File) missing(name string) error {
	return fmt.Errorf("safetensors: %s has no tensor %q; it has %d others, see Names", f.name, name, len(f.infos))
}

// Close closes the file that Open opened. For a File of New it does nothing.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}
