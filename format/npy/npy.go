// Package npy reads and writes NumPy's array files: NPY, one array, and NPZ, a zip
// archive of NPY files under names.
//
// An NPY file is the magic string "\x93NUMPY", a version, the length of a header, the
// header, which is a Python dictionary with the keys descr (byte order, kind and size
// of the elements), fortran_order and shape, and the elements. The format is
// described in NumPy's documentation of numpy.lib.format. Versions 1 to 3 are read,
// in either byte order and either order of axes; what is handed out is always
// little-endian and row-major. Version 1 is written.
//
// Element types that Sinter does not have are widened to one that holds their values:
// 16-bit integers to int32, uint32 and uint64 to int64. The latter is an error where a
// value does not fit. NumPy has no bfloat16; the package ml_dtypes stores it as raw
// elements of two bytes ("V2"), and so is it read and written here.
//
// Nothing in a file is believed before it is checked against the file's length, so
// that a damaged or hostile header does not take memory. Compressed members of an NPZ
// may be at most 200 times as large as in the archive, or 16 MiB.
package npy

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter/internal/dtype"
)

const (
	magic = "\x93NUMPY"
	// maxHeader bounds the header, as NumPy itself does by default (with 10,000).
	maxHeader = 1 << 16
	// maxRank is NumPy's own limit.
	maxRank = 64
)

// Array is an array in memory.
type Array struct {
	DType dtype.DType
	Shape []int
	Data  []byte // little-endian, row-major
}

// FormatError is a file that is damaged or is not what its name says.
type FormatError struct {
	File   string
	Offset int64 // in the file, or in the member of an archive
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("npy: %s, byte %d: %s", e.File, e.Offset, e.Reason)
}

// element is how a file stores one element.
type element struct {
	kind byte // of the descr: b i u f V
	size int
	big  bool
}

// dtype is the type that elements are read as.
func (e element) dtype() dtype.DType {
	switch fmt.Sprintf("%c%d", e.kind, e.size) {
	case "b1":
		return dtype.Bool
	case "u1":
		return dtype.Uint8
	case "i1":
		return dtype.Int8
	case "i2", "u2", "i4":
		return dtype.Int32
	case "u4", "i8", "u8":
		return dtype.Int64
	case "f2":
		return dtype.Float16
	case "V2":
		return dtype.BFloat16
	case "f4":
		return dtype.Float32
	case "f8":
		return dtype.Float64
	}
	return dtype.Invalid
}

// asIs says whether elements are stored as they are handed out.
func (e element) asIs() bool {
	return !e.big && e.size == e.dtype().Size() && e.kind != 'b' && !(e.kind == 'u' && e.size == 8)
}

// convert turns stored elements into those of dtype, which dst has room for. src and
// dst may be the same memory if the sizes are equal. bad is the first element whose
// value cannot be kept, or -1.
func (e element) convert(dst, src []byte) (bad int) {
	order := binary.ByteOrder(binary.LittleEndian)
	if e.big {
		order = binary.BigEndian
	}
	little := binary.LittleEndian
	for i := range len(src) / e.size {
		s := src[i*e.size : (i+1)*e.size]
		switch [2]byte{e.kind, byte(e.size)} {
		case [2]byte{'b', 1}:
			if s[0] > 1 {
				return i
			}
			dst[i] = s[0]
		case [2]byte{'u', 1}, [2]byte{'i', 1}:
			dst[i] = s[0]
		case [2]byte{'i', 2}:
			little.PutUint32(dst[4*i:], uint32(int32(int16(order.Uint16(s)))))
		case [2]byte{'u', 2}:
			little.PutUint32(dst[4*i:], uint32(order.Uint16(s)))
		case [2]byte{'u', 4}:
			little.PutUint64(dst[8*i:], uint64(order.Uint32(s)))
		case [2]byte{'u', 8}:
			v := order.Uint64(s)
			if v > math.MaxInt64 {
				return i
			}
			little.PutUint64(dst[8*i:], v)
		default:
			switch e.size {
			case 2:
				little.PutUint16(dst[2*i:], order.Uint16(s))
			case 4:
				little.PutUint32(dst[4*i:], order.Uint32(s))
			case 8:
				little.PutUint64(dst[8*i:], order.Uint64(s))
			}
		}
	}
	return -1
}

// header is what stands before the elements.
type header struct {
	element
	fortran bool
	shape   []int
	offset  int64 // of the first element
	stored  int64 // bytes of the elements in the file
}

// readHeader reads and checks the header of an array of which there are size bytes in
// all, header included; -1 if that is not known.
func readHeader(r io.Reader, size int64, name string) (h header, err error) {
	bad := func(offset int64, format string, args ...any) error {
		return &FormatError{name, offset, fmt.Sprintf(format, args...)}
	}
	var start [12]byte
	if n, err := io.ReadFull(r, start[:10]); err != nil || string(start[:6]) != magic {
		if err != nil && !isEnd(err) {
			return h, fmt.Errorf("npy: %s: %w", name, err)
		}
		return h, bad(0, "the file begins with %q, expected %q: it is not NumPy's, or damaged", start[:min(n, 6)], magic)
	}
	version := start[6]
	length := int64(binary.LittleEndian.Uint16(start[8:]))
	h.offset = 10
	switch version {
	case 1:
	case 2, 3:
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return h, cut(name, 10, err)
		}
		length = int64(binary.LittleEndian.Uint32(start[8:]))
		h.offset = 12
	default:
		return h, bad(6, "version %d of the format, expected 1, 2 or 3", version)
	}
	if length > maxHeader || size >= 0 && length > size-h.offset {
		return h, bad(8, "the header is said to have %d bytes, expected at most %d and no more than the file: it is damaged", length, maxHeader)
	}
	text := make([]byte, length)
	if n, err := io.ReadFull(r, text); err != nil {
		return h, cut(name, h.offset+int64(n), err)
	}
	p := literal{text: string(text)}
	if err := p.header(&h); err != nil {
		return h, bad(h.offset+int64(p.at), "in the header: %v", err)
	}
	h.offset += length
	if h.dtype() == dtype.Invalid {
		return h, bad(h.offset-length, "elements of type %c%d, expected bool, integers, or floats of at most 64 bits; convert the array with astype", h.kind, h.size)
	}
	var ok bool
	if h.stored, ok = product(h.shape, max(h.size, h.dtype().Size())); !ok {
		return h, bad(h.offset-length, "the shape %v is too large for any file: it is damaged", h.shape)
	}
	h.stored = h.stored / int64(max(h.size, h.dtype().Size())) * int64(h.size)
	if size >= 0 && h.stored != size-h.offset {
		return h, bad(h.offset, "%d bytes follow the header, expected %d for the shape %v of %d bytes each: the file is damaged, copy it again", size-h.offset, h.stored, h.shape, h.size)
	}
	return h, nil
}

// elements is the number of elements.
func (h header) elements() int {
	if h.stored == 0 {
		return 0
	}
	return int(h.stored / int64(h.size))
}

// product multiplies the lengths of axes, and whether that is a possible length.
func product(shape []int, size int) (n int64, ok bool) {
	total := uint64(size)
	empty := false
	for _, s := range shape {
		if s == 0 {
			empty = true
			continue
		}
		hi, lo := bits.Mul64(total, uint64(s))
		if hi != 0 || lo > 1<<47 {
			return 0, false
		}
		total = lo
	}
	if empty {
		return 0, true
	}
	return int64(total), true
}

// literal parses the header's Python dictionary. It knows nothing but what a header
// may hold: strings, True, False, and tuples of integers.
type literal struct {
	text string
	at   int
}

func (p *literal) skip() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take goes past a token if it comes next.
func (p *literal) take(token string) bool {
	p.skip()
	if strings.HasPrefix(p.text[p.at:], token) {
		p.at += len(token)
		return true
	}
	return false
}

func (p *literal) expected(what string) error {
	p.skip()
	rest := p.text[p.at:]
	if len(rest) > 20 {
		rest = rest[:20]
	}
	return fmt.Errorf("found %q, expected %s", rest, what)
}

func (p *literal) string() (string, error) {
	for _, quote := range []string{"'", `"`} {
		if p.take(quote) {
			end := strings.Index(p.text[p.at:], quote)
			if end < 0 {
				return "", p.expected("a closing quote")
			}
			s := p.text[p.at : p.at+end]
			p.at += end + 1
			return s, nil
		}
	}
	return "", p.expected("a string")
}

func (p *literal) header(h *header) error {
	if !p.take("{") {
		return p.expected("a dictionary")
	}
	seen := map[string]bool{}
	for !p.take("}") {
		key, err := p.string()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("the key %q twice", key)
		}
		seen[key] = true
		if !p.take(":") {
			return p.expected("a colon")
		}
		switch key {
		case "descr":
			err = p.descr(h)
		case "fortran_order":
			switch {
			case p.take("True"):
				h.fortran = true
			case !p.take("False"):
				err = p.expected("True or False")
			}
		case "shape":
			h.shape, err = p.tuple()
		default:
			err = fmt.Errorf("the key %q, expected descr, fortran_order and shape", key)
		}
		if err != nil {
			return err
		}
		if !p.take(",") {
			if !p.take("}") {
				return p.expected("a comma or the end of the dictionary")
			}
			break
		}
	}
	if p.skip(); p.at < len(p.text) {
		return p.expected("nothing after the dictionary")
	}
	if len(seen) != 3 {
		return fmt.Errorf("expected the keys descr, fortran_order and shape")
	}
	return nil
}

func (p *literal) descr(h *header) error {
	if p.take("[") {
		return fmt.Errorf("a structured array with named fields, which is not supported; save each field as an array of its own")
	}
	s, err := p.string()
	if err != nil {
		return err
	}
	if len(s) >= 2 && s[1] == 'O' {
		return fmt.Errorf("an array of Python objects, which only Python can read; save it with a type of numbers")
	}
	if len(s) < 3 || strings.IndexByte("<>|=", s[0]) < 0 {
		return fmt.Errorf("descr is %q, expected a byte order, a kind and a size, such as <f4", s)
	}
	h.kind, h.big = s[1], s[0] == '>'
	if h.size, err = strconv.Atoi(s[2:]); err != nil || h.size < 1 || h.size > 1<<20 {
		return fmt.Errorf("descr is %q: its size is no number", s)
	}
	return nil
}

func (p *literal) tuple() ([]int, error) {
	if !p.take("(") {
		return nil, p.expected("a tuple")
	}
	shape := []int{}
	for !p.take(")") {
		p.skip()
		end := p.at
		for end < len(p.text) && p.text[end] >= '0' && p.text[end] <= '9' {
			end++
		}
		n, err := strconv.ParseUint(p.text[p.at:end], 10, 47)
		if err != nil {
			return nil, p.expected("the length of an axis, below 2^47")
		}
		p.at = end
		p.take("L") // of Python 2
		if shape = append(shape, int(n)); len(shape) > maxRank {
			return nil, fmt.Errorf("the shape has more than %d axes", maxRank)
		}
		if !p.take(",") {
			if !p.take(")") {
				return nil, p.expected("a comma or the end of the tuple")
			}
			break
		}
	}
	return shape, nil
}

// ToFloat32 writes elements of any type as float32, little-endian, to dst, which has
// four bytes for each.
func ToFloat32(dst []byte, t dtype.DType, src []byte) {
	little := binary.LittleEndian
	size := t.Size()
	for i := range len(src) / size {
		s := src[i*size : (i+1)*size]
		var v float32
		switch t {
		case dtype.Float32:
			v = math.Float32frombits(little.Uint32(s))
		case dtype.Float64:
			v = float32(math.Float64frombits(little.Uint64(s)))
		case dtype.Float16:
			v = dtype.Float16ToFloat32(little.Uint16(s))
		case dtype.BFloat16:
			v = dtype.BFloat16ToFloat32(little.Uint16(s))
		case dtype.Int64:
			v = float32(int64(little.Uint64(s)))
		case dtype.Int32:
			v = float32(int32(little.Uint32(s)))
		case dtype.Int8:
			v = float32(int8(s[0]))
		default:
			v = float32(s[0])
		}
		little.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}
