package codegen

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// Epilogue is the Loop after a library operation, written into the operation's own
// kernel: after a value has been computed, while it is still in a register.
//
//	ep, args := codegen.NewEpilogue(b, l, slots, t)  // declares parameters; args come in their place
//	…
//	b.P("f32 acc[4]; …")
//	err := ep.Emit([]string{"batch", "row", "col"}, "acc", 4)
//	if !ep.Overwrites() { … store acc to Out as well … }
//
// Nothing tells the epilogue's arguments from Out where they are one place in memory, so a
// kernel must not read Out, and computes every point once.
type Epilogue struct {
	emitter
	part     *kernel.Part
	slots    []kernel.Slot
	results  []int // loads of the operation's result
	over     bool
	register string
	out      *kernel.Operand
}

// NewEpilogue declares, in b, the parameters of l's epilogue, and gives the arguments
// for them. l has one. The slots are the program's.
func NewEpilogue(b *Builder, l *kernel.Library, slots []kernel.Slot, t *Target) (*Epilogue, []Arg) {
	f := l.Epilogue
	p, out := &f.Parts[0], &l.Out[0]
	e := &Epilogue{part: p, slots: slots, out: out, register: register(out.DType)}
	sp := &space{}
	for i := range p.Args {
		sp.offset = append(sp.offset, p.Args[i].Offset)
	}
	for k, n := range p.Outer {
		a := axis{n: n}
		for i := range p.Args {
			a.stride = append(a.stride, p.Args[i].Stride[k])
		}
		sp.outer = append(sp.outer, a)
	}
	isOut := func(a *kernel.Arg) bool {
		if a.Slot != out.Slot || a.Offset != out.Offset || a.DType != out.DType {
			return false
		}
		want := 1
		for k := len(p.Outer) - 1; k >= 0; k-- {
			if p.Outer[k] != 1 && a.Stride[k] != want {
				return false
			}
			want *= p.Outer[k]
		}
		return true
	}
	for i := range f.Code {
		switch in := &f.Code[i]; in.Kind {
		case kernel.Load:
			if isOut(&p.Args[in.Arg]) {
				e.results = append(e.results, i)
			}
		case kernel.Store:
			e.over = e.over || isOut(&p.Args[in.Arg])
		}
	}
	e.f, e.sp, e.t, e.b = f, sp, t, b
	e.wide = points(sp.outer) >= 1<<30
	// A place that is only read as the result needs no parameter.
	used := make([]bool, len(p.Args))
	for i := range f.Code {
		if in := &f.Code[i]; (in.Kind == kernel.Load || in.Kind == kernel.Store) && !slices.Contains(e.results, i) {
			used[in.Arg] = true
		}
	}
	masked := *p
	masked.Args = slices.Clone(p.Args)
	for i := range masked.Args {
		if !used[i] {
			masked.Args[i].Slot = -1
		}
	}
	var args []Arg
	e.ptr, args = bind(b, &masked, sp)
	return e, args
}

// Overwrites tells whether the epilogue stores something to where the operation's result
// would be, so that the result itself need not be stored.
func (e *Epilogue) Overwrites() bool { return e.over }

// Emit writes the epilogue of lanes points that are neighbours along the last axis of Out.
// coords are names of i32 variables (i64 in spaces of 2³⁰ points or more): of the first of
// these points, one for each axis of Out's shape. values is the name of an array of the
// results, of type f32 (for 16-bit floats too), f64, i64 or else i32, not yet rounded to
// Out's type. If there is more than one lane, the last coordinate is a multiple of their
// number, and all the points exist.
func (e *Epilogue) Emit(coords []string, values string, lanes int) error {
	b, axes := e.b, e.sp.outer
	e.lanes, e.steps = lanes, 1
	e.vec = make([]int, len(e.part.Args))
	if lanes > 1 {
		e.vec = vectors(e.f, e.part, e.sp, axes, lanes, e.slots)
	}
	isResult := func(i int) bool { return slices.Contains(e.results, i) }
	gathered := func(i int) bool { return e.gathered(i, axes) }
	stores := e.stores(all)
	code := needed(e.f, stores, isResult)
	loads := slices.DeleteFunc(slices.Clone(code), func(i int) bool { return !gathered(i) })
	e.outside = func(i int) string { return "result" }
	at := point{outer: coords}

	b.P("{")
	e.declare(loads)
	e.gather(loads, at, axes, "0")
	for _, i := range stores {
		b.P("%s y%d[%d];", register(e.f.Code[i].DType), i, lanes)
	}
	b.P("UNROLL for (i32 e = 0; e < %d; e++) {", lanes)
	b.P("%s result = %s;", e.register, rounded(e.out.DType, fmt.Sprintf("%s[e]", values)))
	if err := e.compute(code, gathered, "e"); err != nil {
		return err
	}
	for _, i := range stores {
		b.P("y%d[e] = %s;", i, e.value(e.f.Code[i].X[0], code))
	}
	b.P("}")
	e.scatter(stores, at, axes, "0")
	b.P("}")
	return nil
}
