package dense

import (
	"fmt"
	"strings"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// writer is a kernel in the making, and beside it what one launch passes. Extents and
// distances are passed, so that products of many shapes share a kernel.
type writer struct {
	*codegen.Builder
	target *codegen.Target
	index  string // type of distances in memory: i32 where they fit
	group  int    // threads
	grid   int    // groups
	args   []codegen.Arg
	err    error
}

// newWriter begins a kernel over operands.
func newWriter(t *codegen.Target, label string, threads int, operands ...*kernel.Operand) *writer {
	w := &writer{Builder: codegen.NewBuilder(label, threads), target: t, group: threads, index: "i32"}
	for _, o := range operands {
		far := 1
		for i, e := range o.Shape {
			far += max(0, e-1) * max(o.Stride[i], -o.Stride[i])
		}
		if far >= 1<<30 { // so that what lies behind an edge fits, too
			w.index = "i64"
		}
	}
	return w
}

// open begins a block, and close ends it.
func (w *writer) open(format string, args ...any) { w.P(format+" {", args...) }
func (w *writer) close()                          { w.P("}") }

// shared declares memory of the group that begins at a multiple of 16 bytes.
func (w *writer) shared(typ, name string, n int) {
	w.P("SHARED vec16 %s_[%d];", name, ceil(n*bytes(typ), 16))
	w.P("SHARED_PTR %s *%s = (SHARED_PTR %s *)%s_;", typ, name, typ, name)
}

// pointer passes a place.
func (w *writer) pointer(name, typ string, slot, bytes int) {
	w.P("GLOBAL %s *%s = %s;", typ, name, w.Pointer(typ))
	w.args = append(w.args, codegen.At(slot, bytes))
}

// operand passes the place of an operand's first element.
func (w *writer) operand(name string, o *kernel.Operand) {
	w.pointer(name, storage(o.DType), o.Slot, o.Offset*o.DType.Size())
}

// size passes a number that fits 32 bits, stride one that may need 64.
func (w *writer) size(name string, n int) {
	w.P("const i32 %s = %s;", name, w.Number("i32"))
	w.args = append(w.args, codegen.Int(n))
}

func (w *writer) stride(name string, n int) {
	w.P("const %s %s = %s;", w.index, name, w.Number(w.index))
	w.args = append(w.args, codegen.Int(n))
}

func (w *writer) flag(name string, b bool) {
	n := 0
	if b {
		n = 1
	}
	w.size(name, n)
}

// launch ends the kernel.
func (w *writer) launch() (codegen.Launch, error) {
	if w.err != nil {
		return codegen.Launch{}, w.err
	}
	return w.Kernel().Launch([3]int{w.grid, 1, 1}, w.args...), nil
}

// launches collects launches until one fails.
type launches struct {
	list []codegen.Launch
	err  error
}

func (l *launches) add(a codegen.Launch, err error) {
	if l.err == nil {
		l.list, l.err = append(l.list, a), err
	}
}

// storage is the C type of an element in memory.
func storage(d dtype.DType) string {
	return map[dtype.DType]string{
		dtype.Bool: "u8", dtype.Uint8: "u8", dtype.Int8: "i8", dtype.Int32: "i32", dtype.Int64: "i64",
		dtype.Float16: "u16", dtype.BFloat16: "u16", dtype.Float32: "f32", dtype.Float64: "f64",
	}[d]
}

// compute is the type in which sums of type d are computed. Integers wrap, which in C
// only unsigned ones do.
func compute(d dtype.DType) string {
	switch d {
	case dtype.Float64:
		return "f64"
	case dtype.Int64:
		return "u64"
	case dtype.Float32, dtype.Float16, dtype.BFloat16:
		return "f32"
	}
	return "u32"
}

// bytes is the size of a type of C.
func bytes(typ string) int {
	switch typ {
	case "f64", "u64", "i64":
		return 8
	case "u16":
		return 2
	}
	return 4
}

// widened is a stored value as one to compute with, and narrowed the reverse.
func widened(d dtype.DType, v string) string {
	switch d {
	case dtype.Float16:
		return "f32_of_f16(" + v + ")"
	case dtype.BFloat16:
		return "f32_of_bf16(" + v + ")"
	case dtype.Float32, dtype.Float64:
		return v
	}
	return "(" + compute(d) + ")" + v
}

func narrowed(d dtype.DType, v string) string {
	switch d {
	case dtype.Float16:
		return "f16_of_f32(" + v + ")"
	case dtype.BFloat16:
		return "bf16_of_f32(" + v + ")"
	case dtype.Float32, dtype.Float64:
		return v
	}
	return "(" + storage(d) + ")" + v
}

// load is the element of p at an index.
func load(d dtype.DType, p, at string) string { return widened(d, p+"["+at+"]") }

// vectorOf is how many elements are read or written at once.
func vectorOf(d dtype.DType) int {
	switch d {
	case dtype.Float32:
		return 4
	case dtype.Float16, dtype.BFloat16:
		return 8
	}
	return 1
}

// vector reads n adjacent elements into variables: four float32, eight or four 16-bit
// floats.
func (w *writer) vector(d dtype.DType, n int, p, at string, to func(j int) string) {
	typ := fmt.Sprintf("vec%d", n*d.Size())
	w.P("const %s v = *(GLOBAL const %s *)(%s + %s);", typ, typ, p, at)
	for j := range n {
		word := string("xyzw"[j*d.Size()/4])
		if d == dtype.Float32 {
			w.P("%s = f32_of_bits(v.%s);", to(j), word)
		} else {
			w.P("%s = %s;", to(j), widened(d, fmt.Sprintf("half_word(v.%s, %d)", word, j%2)))
		}
	}
}

// mad is a·b + c.
func mad(acc, a, b, c string) string {
	if acc[0] == 'f' {
		return fmt.Sprintf("fma_%s(%s, %s, %s)", acc, a, b, c)
	}
	return a + " * " + b + " + " + c
}

// list joins what f gives for 0 … n-1.
func list(n int, f func(i int) string) string {
	l := make([]string, n)
	for i := range l {
		l[i] = f(i)
	}
	return strings.Join(l, ", ")
}

func ceil(a, b int) int  { return (a + b - 1) / b }
func round(a, b int) int { return ceil(a, b) * b }

func elements(shape []int) int {
	n := 1
	for _, e := range shape {
		n *= e
	}
	return n
}
