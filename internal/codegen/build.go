package codegen

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// Builder writes a Kernel:
//
//	b := codegen.NewBuilder("scale", 256)
//	x, y := b.Pointer("f32"), b.Pointer("f32")
//	n := b.Number("i32")
//	b.P("i32 i = GROUP(0) * 256 + LOCAL(0);")
//	b.P("if (i < %s) %s[i] = 2.0f * %s[i];", n, y, x)
//	k := b.Kernel()
//
// Parameters come in the order in which they are declared, and so do the arguments of
// launches. Text in which the character @ stands, of helper functions or of the body, gets
// the kernel's name in its place, so that helpers of two kernels in one module have two
// names.
type Builder struct {
	label   string
	group   [3]int
	params  []Param
	decls   []string // of parameters, in macros of the prelude
	binds   strings.Builder
	helpers strings.Builder
	body    strings.Builder
}

// NewBuilder begins a kernel whose name begins with the label, for groups of the given
// extents (one to three).
func NewBuilder(label string, group ...int) *Builder {
	b := &Builder{label: label, group: [3]int{1, 1, 1}}
	copy(b.group[:], group)
	return b
}

// Pointer declares a parameter that points to elements of a C type, and gives its name.
func (b *Builder) Pointer(ctype string) string {
	name := fmt.Sprintf("p%d", len(b.params))
	b.params = append(b.params, Param{Pointer: true})
	b.decls = append(b.decls, fmt.Sprintf("PTR(%s, %s)", ctype, name))
	fmt.Fprintf(&b.binds, "BIND(%s, %s)\n", ctype, name)
	return name
}

// Number declares a parameter of type i32, u32, f32, i64, u64 or f64, and gives its name.
func (b *Builder) Number(ctype string) string {
	name := fmt.Sprintf("n%d", len(b.params))
	size := 4
	if strings.HasSuffix(ctype, "64") {
		size = 8
	}
	b.params = append(b.params, Param{Bytes: size})
	b.decls = append(b.decls, fmt.Sprintf("VAL(%s, %s)", ctype, name))
	return name
}

// Helper adds text in front of the kernel: functions and tables.
func (b *Builder) Helper(text string) {
	b.helpers.WriteString(text)
	b.helpers.WriteByte('\n')
}

// P adds a line to the body.
func (b *Builder) P(format string, args ...any) {
	fmt.Fprintf(&b.body, format, args...)
	b.body.WriteByte('\n')
}

// Kernel is what has been written. Equal texts are equal kernels, with equal names.
func (b *Builder) Kernel() *Kernel {
	threads := b.group[0] * b.group[1] * b.group[2]
	text := fmt.Sprintf("%sKERNEL(@, %d, %d, %d, %d)(%s)\n{\n%s%s}\nENTRY(@)\n", b.helpers.String(), threads,
		b.group[0], b.group[1], b.group[2], strings.Join(b.decls, ", "), b.binds.String(), b.body.String())
	name := fmt.Sprintf("%s_%x", identifier(b.label), sha256.Sum256([]byte(text)))
	name = name[:len(name)-64+16]
	return &Kernel{Name: name, Text: strings.ReplaceAll(text, "@", name), Params: b.params, Group: b.group}
}

// identifier makes a C identifier, of at most 40 characters, of any label.
func identifier(label string) string {
	var b strings.Builder
	for _, c := range label {
		if b.Len() == 40 {
			break
		}
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9' && b.Len() > 0:
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	if b.Len() == 0 {
		return "k"
	}
	return strings.TrimSuffix(b.String(), "_")
}

// Launch is a call of k. It panics if the arguments do not fit its parameters: that is a
// mistake in the code that wrote it.
func (k *Kernel) Launch(grid [3]int, args ...Arg) Launch {
	if len(args) != len(k.Params) {
		panic(fmt.Sprintf("codegen: %s has %d parameters, not %d", k.Name, len(k.Params), len(args)))
	}
	for i, a := range args {
		if number := a.Slot == -1; number == k.Params[i].Pointer {
			panic(fmt.Sprintf("codegen: argument %d of %s: pointer and number are confused", i, k.Name))
		}
	}
	return Launch{Kernel: k, Grid: grid, Args: args}
}

// Int is a number of an integer type as an argument.
func Int(v int) Arg { return Arg{Slot: -1, Bits: uint64(v)} }

// At is a place in a slot as an argument: so many bytes from its beginning.
func At(slot, offset int) Arg { return Arg{Slot: slot, Offset: offset} }
