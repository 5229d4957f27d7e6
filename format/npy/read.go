package npy

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter/internal/dtype"
)

const (
	// Members of an archive may unpack to this many times their size, or at least
	// to this many bytes.
	maxRatio     = 200
	freeUnpacked = 16 << 20
)

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// cut is the error of a file that ends too early, or that cannot be read.
func cut(name string, at int64, err error) error {
	if isEnd(err) {
		return &FormatError{name, at, "the file ends here, in the middle of the array; copy it again"}
	}
	return fmt.Errorf("npy: %s, byte %d: %w", name, at, err)
}

// File is an array in a file, of which any rows can be read. Its methods may be called
// by several goroutines at once.
type File struct {
	DType dtype.DType
	Shape []int

	name   string
	h      header
	r      io.ReaderAt
	closer io.Closer
}

// Open opens an NPY file and checks its header and length.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("npy: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("npy: %w", err)
	}
	file, err := New(f, st.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.closer = f
	return file, nil
}

// New reads the header of an array of size bytes, header included. name is for
// messages.
func New(r io.ReaderAt, size int64, name string) (*File, error) {
	h, err := readHeader(bufio.NewReader(io.NewSectionReader(r, 0, size)), size, name)
	if err != nil {
		return nil, err
	}
	return &File{DType: h.dtype(), Shape: h.shape, name: name, h: h, r: r}, nil
}

// Close closes the file that Open opened.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Fortran says whether the file stores the first axis as the one that varies fastest.
// Rows of such a file cannot be read one by one.
func (f *File) Fortran() bool { return f.h.fortran && len(f.Shape) > 1 }

// Read reads the whole array.
func (f *File) Read() (*Array, error) {
	raw := make([]byte, f.h.stored)
	if err := f.readAt(raw, 0); err != nil {
		return nil, err
	}
	return f.h.array(raw, f.name)
}

// rowBytes is what one row has in the file.
func (f *File) rowBytes() int64 {
	if len(f.Shape) == 0 || f.Shape[0] == 0 {
		return 0
	}
	return f.h.stored / int64(f.Shape[0])
}

// ReadRows reads the n rows from row `from` on, that is elements of the first axis,
// into dst, which must have their length.
func (f *File) ReadRows(from, n int, dst []byte) error {
	row := f.rowBytes()
	want := row / int64(f.h.size) * int64(f.DType.Size()) * int64(n)
	switch {
	case f.Fortran():
		return fmt.Errorf("npy: %s is in Fortran order, so that its rows are not in one piece; use Read", f.name)
	case len(f.Shape) == 0 || from < 0 || n < 0 || from+n > f.Shape[0] || int64(len(dst)) != want:
		return fmt.Errorf("npy: %s: rows %d to %d of the shape %v into %d bytes, expected %d", f.name, from, from+n, f.Shape, len(dst), want)
	}
	raw := dst
	if f.h.size != f.DType.Size() {
		raw = make([]byte, row*int64(n))
	}
	if err := f.readAt(raw, row*int64(from)); err != nil {
		return err
	}
	return f.h.convertAll(dst, raw, f.name, int64(from)*row)
}

// readAt fills raw with the elements' bytes from at on.
func (f *File) readAt(raw []byte, at int64) error {
	if n, err := f.r.ReadAt(raw, f.h.offset+at); n < len(raw) {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return cut(f.name, f.h.offset+at+int64(n), err)
	}
	return nil
}

// convertAll converts elements that lie `at` bytes behind the header.
func (h header) convertAll(dst, raw []byte, name string, at int64) error {
	if h.asIs() {
		if len(raw) > 0 && &dst[0] != &raw[0] {
			copy(dst, raw)
		}
		return nil
	}
	if i := h.convert(dst, raw); i >= 0 {
		return &FormatError{name, h.offset + at + int64(i*h.size), fmt.Sprintf("the element %x of type %c%d is not one that %s can hold; convert the array with astype", raw[i*h.size:(i+1)*h.size], h.kind, h.size, h.dtype())}
	}
	return nil
}

// array makes the array of the elements as they are in the file. raw may become part
// of it.
func (h header) array(raw []byte, name string) (*Array, error) {
	a := &Array{DType: h.dtype(), Shape: h.shape, Data: raw}
	if a.DType.Size() != h.size {
		a.Data = make([]byte, h.elements()*a.DType.Size())
	}
	if err := h.convertAll(a.Data, raw, name, 0); err != nil {
		return nil, err
	}
	if h.fortran && len(h.shape) > 1 && len(raw) > 0 {
		a.Data = rowMajor(a.Data, h.shape, a.DType.Size())
	}
	return a, nil
}

// rowMajor puts elements in order of which the first axis varies fastest.
func rowMajor(data []byte, shape []int, size int) []byte {
	out := make([]byte, len(data))
	index := make([]int, len(shape))
	strides := make([]int, len(shape)) // in data
	stride := size
	for a, s := range shape {
		strides[a] = stride
		stride *= s
	}
	from := 0
	for to := 0; to < len(out); to += size {
		copy(out[to:to+size], data[from:from+size])
		for a := len(shape) - 1; a >= 0; a-- {
			index[a]++
			from += strides[a]
			if index[a] < shape[a] {
				break
			}
			from -= shape[a] * strides[a]
			index[a] = 0
		}
	}
	return out
}

// Read reads an array from a reader of unknown length, of which at most limit bytes
// are taken. Memory grows with what is there, not with what the header says.
func Read(r io.Reader, limit int64, name string) (*Array, error) {
	br := bufio.NewReader(r)
	h, err := readHeader(br, -1, name)
	if err != nil {
		return nil, err
	}
	if h.stored > limit-h.offset {
		return nil, &FormatError{name, h.offset, fmt.Sprintf("the shape %v takes %d bytes, expected at most %d", h.shape, h.stored, limit-h.offset)}
	}
	var raw bytes.Buffer
	if n, err := io.CopyN(&raw, br, h.stored); err != nil {
		return nil, cut(name, h.offset+n, err)
	}
	if _, err := br.ReadByte(); err == nil {
		return nil, &FormatError{name, h.offset + h.stored, "the array ends here, but more follows: it is damaged"}
	} else if !isEnd(err) {
		return nil, cut(name, h.offset+h.stored, err)
	}
	return h.array(raw.Bytes(), name)
}

// Archive is an NPZ file.
type Archive struct {
	name  string
	f     *os.File
	zip   *zip.Reader
	names []string
	index map[string]*zip.File
}

// OpenArchive opens an NPZ file.
func OpenArchive(path string) (*Archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("npy: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("npy: %w", err)
	}
	a, err := newArchive(f, st.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	a.f = f
	return a, nil
}

func newArchive(r io.ReaderAt, size int64, name string) (*Archive, error) {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are looked up and never paths
		return nil, fmt.Errorf("npy: %s: not a whole zip archive: %w; copy it again", name, err)
	}
	a := &Archive{name: name, zip: z, index: map[string]*zip.File{}}
	for _, f := range z.File {
		member, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			continue
		}
		if a.index[member] != nil {
			return nil, fmt.Errorf("npy: %s holds %q twice", name, f.Name)
		}
		if f.CompressedSize64 > uint64(size) {
			return nil, fmt.Errorf("npy: %s, member %q: it is said to have %d bytes, but the archive has %d; copy it again", name, f.Name, f.CompressedSize64, size)
		}
		a.index[member] = f
		a.names = append(a.names, member)
	}
	if len(a.names) == 0 {
		return nil, fmt.Errorf("npy: %s holds no .npy files; it is not from numpy.savez", name)
	}
	return a, nil
}

// Close closes the archive.
func (a *Archive) Close() error {
	if a.f == nil {
		return nil
	}
	return a.f.Close()
}

// Names are those of the arrays, without ".npy", in the order of the archive.
func (a *Archive) Names() []string { return slices.Clone(a.names) }

// Read reads an array, and checks its sum.
func (a *Archive) Read(name string) (*Array, error) {
	f, full, err := a.member(name)
	if err != nil {
		return nil, err
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("npy: %s: %w", full, err)
	}
	defer r.Close()
	limit := int64(f.CompressedSize64)
	if f.Method != zip.Store {
		if limit = max(freeUnpacked, maxRatio*min(limit, 1<<50)); int64(min(f.UncompressedSize64, 1<<62)) > limit {
			return nil, fmt.Errorf("npy: %s unpacks to %d bytes from %d, expected at most %d, %d times as many; save it without compression (numpy.savez)", full, f.UncompressedSize64, f.CompressedSize64, limit, maxRatio)
		}
	}
	return Read(r, limit, full)
}

// Open gives access to the rows of an array that is stored without compression; ok is
// false for others. The sum of such an array is not checked.
func (a *Archive) Open(name string) (file *File, ok bool, err error) {
	f, full, err := a.member(name)
	if err != nil {
		return nil, false, err
	}
	if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 {
		return nil, false, nil
	}
	r, err := f.OpenRaw()
	if err != nil {
		return nil, false, fmt.Errorf("npy: %s: %w", full, err)
	}
	at, isSection := r.(io.ReaderAt)
	if !isSection {
		return nil, false, nil
	}
	file, err = New(at, int64(f.CompressedSize64), full)
	return file, err == nil, err
}

func (a *Archive) member(name string) (*zip.File, string, error) {
	f := a.index[name]
	if f == nil {
		return nil, "", fmt.Errorf("npy: %s has no array %q; it holds %q", a.name, name, a.names)
	}
	return f, a.name + ": " + f.Name, nil
}
