package dense

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// sums is what products and convolutions have in common: sums that go to a result, or,
// where different groups compute parts of them, to scratch memory first. Parts are added
// in their order.
type sums struct {
	target *codegen.Target
	l      *kernel.Library
	out    kernel.Operand // the operation's result, perhaps in another shape
	acc    string
	splits int // parts of each sum
}

// workspace is the size of the parts, if there is more than one.
func (s *sums) workspace() int {
	if s.splits < 2 {
		return 0
	}
	return s.splits * s.out.Elements() * bytes(s.acc)
}

// inlines tells whether the epilogue is in the kernel that computes the results. On a
// CPU it is not: there a kernel of its own finds them in the cache, and operations with
// other epilogues share a kernel. An epilogue may go through the result's points by more
// axes than the result has, if its other operands want that; it stays apart, too.
func (s *sums) inlines() bool {
	return s.l.Epilogue != nil && (!s.target.Serial || s.splits > 1) && len(s.l.Epilogue.Parts[0].Args) <= 16 &&
		slices.Equal(s.l.Epilogue.Parts[0].Outer, s.l.Out[0].Shape)
}

// ending is what becomes of sums: they are stored, as parts or as results, or an epilogue
// gets them.
type ending struct {
	*sums
	part     bool
	epilogue *codegen.Epilogue
}

// ending passes where sums go, C in the text.
func (s *sums) ending(w *writer) *ending {
	if s.splits > 1 {
		w.pointer("C", s.acc, s.l.Scratch, 0)
		w.stride("PART", s.out.Elements())
		w.P("C += split * (i64)PART;")
		return &ending{sums: s, part: true}
	}
	return s.whole(w)
}

// whole passes the result, and the epilogue's arguments.
func (s *sums) whole(w *writer) *ending {
	e := &ending{sums: s}
	w.operand("C", &s.out)
	if s.inlines() {
		var args []codegen.Arg
		e.epilogue, args = codegen.NewEpilogue(w.Builder, s.l, nil, s.target)
		w.args = append(w.args, args...)
		for i, n := range s.l.Out[0].Shape {
			w.size(fmt.Sprint("OUT", i), n)
		}
	}
	return e
}

// finish does what is to be done with the sum that belongs to C[at]. Coords gives its
// coordinates in the operation's result, which it may declare.
func (e *ending) finish(w *writer, at, sum string, coords func() []string) {
	if e.part {
		w.P("C[%s] = %s;", at, sum)
		return
	}
	if e.epilogue == nil {
		w.P("C[%s] = %s;", at, narrowed(e.out.DType, sum))
		return
	}
	w.open("")
	typ := "i32"
	if e.out.Elements() >= 1<<30 {
		typ = "i64"
	}
	var names []string
	for i, c := range coords() {
		names = append(names, fmt.Sprint("coord", i))
		w.P("const %s coord%d = %s;", typ, i, c)
	}
	held := map[string]string{"f32": "f32", "f64": "f64", "u32": "i32", "u64": "i64"}[e.acc]
	w.P("const %s held[1] = {(%s)%s};", held, held, sum)
	if !e.epilogue.Overwrites() {
		w.P("C[%s] = %s;", at, narrowed(e.out.DType, "held[0]"))
	}
	if err := e.epilogue.Emit(names, "held", 1); err != nil && w.err == nil {
		w.err = err
	}
	w.close()
}

// unfold declares the coordinates of element number n over the first axes of the
// operation's result.
func (e *ending) unfold(w *writer, n string, axes int) []string {
	w.P("i64 rest = %s;", n)
	coords := make([]string, axes)
	for i := axes - 1; i >= 0; i-- {
		w.P("const i64 digit%d = rest %% OUT%d; rest /= OUT%d;", i, i, i)
		coords[i] = fmt.Sprint("digit", i)
	}
	return coords
}

// addParts adds the parts of sums.
func (s *sums) addParts() (codegen.Launch, error) {
	w := newWriter(s.target, "add_parts", 256, &s.out)
	n := s.out.Elements()
	w.grid = ceil(n, w.group)
	w.pointer("P", s.acc, s.l.Scratch, 0)
	end := s.whole(w)
	w.stride("COUNT", n)
	w.size("PARTS", s.splits)
	w.P("const %s i = (%s)GROUP(0) * %d + LOCAL(0);", w.index, w.index, w.group)
	w.open("if (i < COUNT)")
	w.P("%s sum = P[i];", s.acc)
	w.P("for (i32 s = 1; s < PARTS; s++) sum += P[i + s * (i64)COUNT];")
	end.finish(w, "i", "sum", func() []string { return end.unfold(w, "i", len(s.l.Out[0].Shape)) })
	w.close()
	return w.launch()
}
