package indexing

import (
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// group is the number of threads of the groups of all kernels here.
const group = 256

// lowering is the launches of an operation in the making.
type lowering struct {
	*kernel.Library
	target   *codegen.Target
	index    string // type of places in tensors: u32, or u64 where that is too small
	launches []codegen.Launch
	bytes    int // of the workspace
}

func newLowering(l *kernel.Library, t *codegen.Target) *lowering {
	w := &lowering{Library: l, target: t, index: "u32"}
	for _, list := range [][]kernel.Operand{l.In, l.Out} {
		for i := range list {
			// So that sums of a place and a group's size are places, too.
			if list[i].Elements() > math.MaxInt32-1<<16 {
				w.index = "u64"
			}
		}
	}
	return w
}

// place is where an operand begins.
func place(o *kernel.Operand) codegen.Arg {
	return codegen.Arg{Slot: o.Slot, Offset: o.Offset * o.DType.Size()}
}

// nonempty is where an operand begins, or, if it has no elements and so perhaps no
// memory, where other does.
func nonempty(o, other *kernel.Operand) codegen.Arg {
	if o.Elements() == 0 {
		return place(other)
	}
	return place(o)
}

// take is a piece of the workspace, which need not have a slot yet.
func (w *lowering) take(bytes int) codegen.Arg {
	a := codegen.Arg{Slot: codegen.Scratch, Offset: w.bytes}
	w.bytes += (bytes + 63) &^ 63
	return a
}

// each is the number of groups that have a thread for each of n items.
func each(n int) int { return (n + group - 1) / group }

// vars are the values of the names in a text that begin with a $.
type vars map[string]string

func expand(text string, v vars) string {
	return os.Expand(text, func(name string) string {
		s, ok := v[name]
		if !ok {
			panic("indexing: a kernel's text has $" + name + ", which has no value")
		}
		return s
	})
}

// text is a kernel to be written: parameters as C declares them, and a body. In both
// $N is the type of places; pointers are to global memory.
type text struct {
	name   string
	params string
	body   string
}

// launch adds a launch of so many groups. args are places in memory (codegen.Arg) and
// numbers (int), as x's parameters are.
func (w *lowering) launch(x text, v vars, groups int, args ...any) {
	if groups == 0 {
		return
	}
	v["N"] = w.index
	b := codegen.NewBuilder(expand(x.name, v), group)
	for _, p := range strings.Split(expand(x.params, v), ",") {
		i := strings.LastIndexByte(p, ' ')
		ctype, name := strings.TrimSpace(p[:i]), p[i+1:]
		if star, ok := strings.CutPrefix(name, "*"); ok {
			b.P("GLOBAL %s *%s = %s;", ctype, star, b.Pointer(ctype))
		} else {
			b.P("const %s %s = %s;", ctype, name, b.Number(ctype))
		}
	}
	b.P("%s", strings.TrimSpace(expand(x.body, v)))
	list := make([]codegen.Arg, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case codegen.Arg:
			list[i] = a
		case int:
			list[i] = codegen.Int(a)
		default:
			panic(fmt.Sprintf("indexing: argument %d of %s is a %T", i, x.name, a))
		}
	}
	w.launches = append(w.launches, b.Kernel().Launch([3]int{groups, 1, 1}, list...))
}
