// Package dl opens shared libraries when the program runs and calls into them, without
// cgo: this is how Sinter reaches CUDA, OpenCL and the vendors' libraries from a binary
// that was built without any of them.
//
//	lib, err := dl.Open("libcuda.so.1")       // the first of some names that can be opened
//	var f struct {                            // the symbols that a binding wants
//		Init dl.Func `c:"cuInit"`
//	}
//	err = dl.Bind(lib, &f)                    // an error names all that are missing
//	status := int32(f.Init.Call(0))
//
// The bindings are in the packages below: cuda, nvrtc, cublaslt, cudnn, nvml, opencl and
// clblast. Each has one file with the functions in the order of the C API, and turns
// statuses into errors that carry the status's C name and what was being done.
// Where the libraries are looked for is in package dl/find.
//
// # What C may see of Go's memory
//
// An address that is written as uintptr(unsafe.Pointer(&x)) in the arguments of Func.Call
// is safe: x is on the heap and alive until the call returns. Func.Call allocates its
// list of arguments. Func.Fast does not, and is for what is called in every step of a
// training; its arguments are plain words, and the addresses among them are of memory
// that does not move and that something else keeps alive: C's own, a Block, or what Addr
// was called on. What C keeps beyond a call, and every address that is stored inside of
// memory that C reads, has to be such memory too.
//
// # Builds without it
//
// With the build tag nogpu, and on systems where purego has no loader, Open returns an
// *UnsupportedError. A binary with the tag is static; without it, a binary for Linux
// wants the dynamic loader of the C library (which an empty container and Alpine lack).
package dl

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"unsafe"
)

// Symbols is where a binding gets its functions from: a Library, or a stand-in of a test.
type Symbols interface {
	// Lookup is the address of a function, or an error if there is none of that name.
	Lookup(name string) (Func, error)
	// Path says which library it is, for messages.
	Path() string
}

// Library is an open shared library. It is never closed: what it has handed out, threads
// of its own included, may live as long as the program.
type Library struct {
	path   string
	handle uintptr
}

// Path is the file that was opened, as far as the system tells it, else the name that it
// was opened by.
func (l *Library) Path() string { return l.path }

// Lookup is the address of an exported function.
func (l *Library) Lookup(name string) (Func, error) {
	f, err := lookup(l.handle, name)
	if err != nil {
		return 0, fmt.Errorf("%s has no function %s: %w", l.path, name, err)
	}
	return Func(f), nil
}

// Open opens the first of the candidates that can be opened. A candidate is a file's path,
// or a name that the system's loader searches for. The error is an *OpenError, or an
// *UnsupportedError if this build cannot open libraries at all.
func Open(candidates ...string) (*Library, error) {
	if why := unsupported(); why != "" {
		return nil, &UnsupportedError{Why: why}
	}
	failed := &OpenError{Candidates: candidates}
	for _, name := range candidates {
		handle, err := open(name)
		if err == nil {
			return &Library{path: origin(handle, name), handle: handle}, nil
		}
		failed.Reasons = append(failed.Reasons, err)
	}
	return nil, failed
}

// Supported is nil if this build can open libraries, and else the *UnsupportedError that
// Open returns.
func Supported() error {
	if why := unsupported(); why != "" {
		return &UnsupportedError{Why: why}
	}
	return nil
}

// OpenError tells that none of the candidates for a library could be opened.
type OpenError struct {
	Candidates []string
	Reasons    []error // the loader's, one for each candidate
}

func (e *OpenError) Error() string {
	var b strings.Builder
	b.WriteString("cannot open a library: ")
	if len(e.Candidates) == 0 {
		b.WriteString("there is no candidate")
	}
	for i, name := range e.Candidates {
		if i > 0 {
			b.WriteString("; ")
		}
		reason := e.Reasons[i].Error()
		b.WriteString(reason)
		if !strings.Contains(reason, name) {
			fmt.Fprintf(&b, " (%s)", name)
		}
	}
	return b.String()
}

func (e *OpenError) Unwrap() []error { return e.Reasons }

// UnsupportedError tells that this build of the program cannot open libraries.
type UnsupportedError struct{ Why string }

func (e *UnsupportedError) Error() string {
	return "shared libraries cannot be opened: " + e.Why
}

// Func is the address of a C function, 0 if the library does not have it.
type Func uintptr

// Missing is what a Func that is 0 returns when it is called: a status that no library
// uses. Bindings turn it into an error, so that an optional function can be called
// without asking whether it is there.
const Missing = -0x53494e54

// Call calls the function and returns its result, of which an int is the lower half.
// There may be 32 arguments, integers and pointers only. See the package's comment for
// what may be pointed to.
//
//go:uintptrescapes
func (f Func) Call(args ...uintptr) uintptr {
	if f == 0 {
		m := int32(Missing)
		return uintptr(uint32(m))
	}
	return call(uintptr(f), args)
}

// Fast is Call without an allocation. See the package's comment for what may be pointed to.
func (f Func) Fast(args ...uintptr) uintptr {
	if f == 0 {
		m := int32(Missing)
		return uintptr(uint32(m))
	}
	frame := frames.Get().(*[maxArgs]uintptr)
	n := copy(frame[:], args)
	if n < len(args) {
		panic("dl: too many arguments")
	}
	r := call(uintptr(f), frame[:n])
	frames.Put(frame)
	return r
}

// Bind fills in the fields of type Func of the struct that table points to. A field's tag
// names its symbol, several if it has had several names, and may end in ",optional":
//
//	MemAlloc dl.Func `c:"cuMemAlloc_v2"`
//	Reasons  dl.Func `c:"nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons,optional"`
//
// The error names every symbol that is missing and is not optional.
func Bind(lib Symbols, table any) error {
	var missing []string
	each(table, func(field reflect.Value, names []string, optional bool) {
		for _, name := range names {
			if f, err := lib.Lookup(name); err == nil && f != 0 {
				field.SetUint(uint64(f))
				return
			}
		}
		if !optional {
			missing = append(missing, names[0])
		}
	})
	if len(missing) > 0 {
		return fmt.Errorf("%s is not the library that it should be, or too old: it lacks %s", lib.Path(), strings.Join(missing, ", "))
	}
	return nil
}

// Absent is the symbols of a table, optional ones too, that a library does not have under
// any of their names.
func Absent(lib Symbols, table any) []string {
	var absent []string
	each(table, func(_ reflect.Value, names []string, _ bool) {
		for _, name := range names {
			if f, err := lib.Lookup(name); err == nil && f != 0 {
				return
			}
		}
		absent = append(absent, names[0])
	})
	return absent
}

func each(table any, do func(field reflect.Value, names []string, optional bool)) {
	v := reflect.ValueOf(table).Elem()
	for i := range v.NumField() {
		tag, ok := v.Type().Field(i).Tag.Lookup("c")
		if !ok {
			continue
		}
		tag, optional := strings.CutSuffix(tag, ",optional")
		do(v.Field(i), strings.Fields(tag), optional)
	}
}

// Block is memory for what C reads and writes beyond one call, or in every step: parameters
// of kernels, arrays of addresses. It does not move, and goes when it is collected, so its
// user keeps it for as long as C may look at it.
type Block struct{ words []uint64 }

// NewBlock is a block of zeros whose length is at least the given number of bytes; it is
// aligned to 8.
func NewBlock(bytes int) *Block {
	b := &Block{words: make([]uint64, max(1, (bytes+7)/8))}
	pinner := new(runtime.Pinner)
	pinner.Pin(&b.words[0])
	runtime.AddCleanup(b, (*runtime.Pinner).Unpin, pinner)
	return b
}

// Addr is where the block begins.
func (b *Block) Addr() uintptr { return uintptr(unsafe.Pointer(&b.words[0])) }

// Bytes is the block's memory.
func (b *Block) Bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&b.words[0])), 8*len(b.words))
}

// Words is the block's memory, as words.
func (b *Block) Words() []uint64 { return b.words }

// Addr is the address of a variable, for Func.Fast. The variable is on the heap, where it
// does not move, and the caller keeps it alive.
func Addr[T any](p *T) uintptr {
	if p == nil {
		return 0
	}
	if escape.never {
		escape.to = p
	}
	return uintptr(unsafe.Pointer(p))
}

// escape makes what Addr is called on escape to the heap.
var escape struct {
	never bool
	to    any
}

// Cell is room for what functions return through pointers, for bindings that must not
// allocate. Cells are taken with GetCell and given back with Put.
type Cell [4]uint64

// GetCell is a cell of zeros.
func GetCell() *Cell {
	c := cells.Get().(*Cell)
	*c = Cell{}
	return c
}

// Addr is the address of the i-th word.
func (c *Cell) Addr(i int) uintptr { return uintptr(unsafe.Pointer(&c[i])) }

// Put gives the cell back.
func (c *Cell) Put() { cells.Put(c) }

// CString is a string as C has it, with a zero at its end.
func CString(s string) *byte {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return &b[0]
}

// CStrings is strings as a C array of pointers, which stands at the block's beginning with
// the strings behind it.
func CStrings(list []string) *Block {
	bytes := 8 * len(list)
	for _, s := range list {
		bytes += len(s) + 1
	}
	b := NewBlock(bytes)
	at := 8 * len(list)
	for i, s := range list {
		b.words[i] = uint64(b.Addr()) + uint64(at)
		at += copy(b.Bytes()[at:], s) + 1
	}
	return b
}

// String copies the C string at an address; it is empty if the address is 0.
func String(addr uintptr) string {
	if addr == 0 {
		return ""
	}
	p := Pointer(addr)
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// Text is what stands in a buffer before its first zero.
func Text(buf []byte) string {
	s, _, _ := strings.Cut(string(buf), "\x00")
	return s
}

// Pointer makes a pointer of an address that C has returned: of memory that is not Go's.
func Pointer(addr uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&addr))
}

// Int makes a word of C's int.
func Int(x int) uintptr { return uintptr(uint32(int32(x))) }
