package devicetest

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
	"github.com/sinter-dl/sinter/internal/shape"
)

// program is a program in the making. Slots and steps are added to it; run then
// has a device compute it and compares every output, and every leaf, with what
// interpret makes of it.
type program struct {
	kernel.Program
	t     testing.TB
	d     device.Device
	types []dtype.DType // by slot
	names []string      // by slot
	allow []tolerance   // by slot

	leaves, outputs [][]byte // what is bound, before a run
}

func (s *suite) program(t testing.TB) *program { return &program{t: t, d: s.Device} }

// tolerance is how far a result may be from the right one: by so many units in the
// last place, or by an absolute amount. The zero value means exact.
type tolerance struct {
	ulps, abs float64
	zeros     bool // the sign of a zero does not matter
}

func (p *program) slot(s kernel.Slot, d dtype.DType, name string) int {
	p.Slots = append(p.Slots, s)
	p.types, p.names, p.allow = append(p.types, d), append(p.names, name), append(p.allow, tolerance{})
	return len(p.Slots) - 1
}

// leaf binds a tensor's elements.
func (p *program) leaf(x tensor) int {
	mem := x.bytes()
	p.leaves = append(p.leaves, mem)
	p.Leaves++
	return p.slot(kernel.Slot{Kind: kernel.Leaf, Index: p.Leaves - 1, Bytes: len(mem)}, x.dtype, fmt.Sprintf("leaf %d", p.Leaves-1))
}

// output is a slot for n elements whose memory is bound. Before a run every byte of
// it is 255, which in all floats is NaN, so that what is not written shows, and
// what is written into a gap shows too.
func (p *program) output(name string, d dtype.DType, n int) int {
	p.outputs = append(p.outputs, bytes.Repeat([]byte{255}, n*d.Size()))
	p.Outputs++
	return p.slot(kernel.Slot{Kind: kernel.Output, Index: p.Outputs - 1, Bytes: n * d.Size()}, d, name)
}

// arena is a slot for n elements behind all others in the arena.
func (p *program) arena(d dtype.DType, n int) int {
	return p.arenaAt(p.Arena, d, n)
}

// arenaAt is a slot at an offset, which may share its place with others.
func (p *program) arenaAt(offset int, d dtype.DType, n int) int {
	p.Arena = max(p.Arena, (offset+n*d.Size()+63)&^63)
	return p.slot(kernel.Slot{Kind: kernel.Arena, Offset: offset, Bytes: n * d.Size()}, d, "arena")
}

// within sets how exact a slot's content has to be.
func (p *program) within(slot int, a tolerance) { p.allow[slot] = a }

// dense is an operand that is all of a slot, in the given shape.
func (p *program) dense(slot int, sh ...int) kernel.Operand {
	return kernel.Operand{Slot: slot, DType: p.types[slot], Shape: sh, Stride: shape.Strides(sh)}
}

// view is an argument.
func (p *program) view(slot, offset int, stride ...int) kernel.Arg {
	return kernel.Arg{Slot: slot, DType: p.types[slot], Offset: offset, Stride: stride}
}

// library adds an operation, with the workspace that the device asks for.
func (p *program) library(l *kernel.Library) {
	l.Name, l.Scratch = l.Op.String(), -1
	if n := p.d.Workspace(l); n > 0 {
		l.Scratch = p.arena(dtype.Uint8, n)
	}
	p.Steps = append(p.Steps, l)
}

// operation adds an operation with one result, of y's type and shape: each operand
// is in a leaf, the result in an output, whose slot is returned. Some lie there
// between other elements.
func (p *program) operation(op ir.Op, attr ir.Attr, in []tensor, y tensor) (out int) {
	l := &kernel.Library{Op: op, Attr: attr}
	name := op.String()
	for i, x := range in {
		around := (len(p.Steps) + i) % 3
		padded := newTensor(x.dtype, len(x.v)+2*around)
		copy(padded.v[around:], x.v)
		o := p.dense(p.leaf(padded), x.shape...)
		o.Offset = around
		l.In = append(l.In, o)
		if i < 2 {
			name += fmt.Sprintf(" %v%v", x.dtype, x.shape)
		}
	}
	around := 0
	if len(y.v) > 0 {
		around = len(p.Steps) / 3 % 3
	}
	out = p.output(fmt.Sprintf("%s %+v", name, attr), y.dtype, len(y.v)+2*around)
	o := p.dense(out, y.shape...)
	o.Offset = around
	l.Out = []kernel.Operand{o}
	p.library(l)
	return out
}

// copies adds a Loop that copies slot x to slot y.
func (p *program) copies(x, y int) {
	d := p.types[x]
	k := newKernel("copy", []int{p.Slots[x].Bytes / d.Size()}, nil)
	k.store(k.load(p.view(x, 0, 1)), p.view(y, 0, 1))
	p.Steps = append(p.Steps, k.f)
}

// fused is a kernel in the making.
type fused struct{ f *kernel.Fused }

// newKernel is a kernel of one part; a nil inner means that nothing reduces.
func newKernel(name string, outer, inner []int) *fused {
	return &fused{&kernel.Fused{Name: name, Parts: []kernel.Part{{Outer: outer, Inner: inner}}}}
}

// part adds an index space, before any argument.
func (k *fused) part(outer, inner []int) {
	k.f.Parts = append(k.f.Parts, kernel.Part{Outer: outer, Inner: inner})
}

func (k *fused) instr(in kernel.Instr) int {
	k.f.Code = append(k.f.Code, in)
	return len(k.f.Code) - 1
}

// args adds an argument, given for every part.
func (k *fused) args(a []kernel.Arg) (arg int, inner bool) {
	for i := range k.f.Parts {
		p := &k.f.Parts[i]
		p.Args = append(p.Args, a[i])
		arg = len(p.Args) - 1
		for _, s := range a[i].Stride[len(p.Outer):] {
			inner = inner || s != 0
		}
	}
	return arg, inner
}

func (k *fused) load(a ...kernel.Arg) int {
	arg, inner := k.args(a)
	return k.instr(kernel.Instr{Kind: kernel.Load, DType: a[0].DType, Arg: arg, Inner: inner})
}

// index is the affine function of the point.
func (k *fused) index(offset int, stride ...int) int {
	arg, inner := k.args([]kernel.Arg{{Slot: -1, Offset: offset, Stride: stride}})
	return k.instr(kernel.Instr{Kind: kernel.Index, DType: dtype.Int64, Arg: arg, Inner: inner})
}

func (k *fused) imm(d dtype.DType, v float64) int {
	return k.instr(kernel.Instr{Kind: kernel.Imm, DType: d, Bits: scalar.Bits(d, v)})
}

// apply is an operation whose result has the type of its (last) operand.
func (k *fused) apply(op ir.Op, x ...int) int {
	d := k.f.Code[x[len(x)-1]].DType
	if op.IsCompare() {
		d = dtype.Bool
	}
	return k.typed(op, d, x...)
}

// typed is an operation with a result of type d.
func (k *fused) typed(op ir.Op, d dtype.DType, x ...int) int {
	in := kernel.Instr{Kind: kernel.Apply, Op: op, DType: d}
	for i, o := range x {
		in.X[i] = o
		in.Inner = in.Inner || k.f.Code[o].Inner
	}
	return k.instr(in)
}

func (k *fused) reduce(op ir.Op, x int) int {
	return k.instr(kernel.Instr{Kind: kernel.Reduce, Op: op, DType: k.f.Code[x].DType, X: [3]int{x}})
}

func (k *fused) store(x int, a ...kernel.Arg) {
	arg, _ := k.args(a)
	k.instr(kernel.Instr{Kind: kernel.Store, DType: k.f.Code[x].DType, X: [3]int{x}, Arg: arg})
}

// run has the device run the program twice.
func (p *program) run() {
	p.t.Helper()
	if err := null.Verify(&p.Program); err != nil {
		p.t.Fatalf("the test's program: %v", err)
	}
	wantLeaves, wantOutputs := clones(p.leaves), clones(p.outputs)
	interpret(&p.Program, wantLeaves, wantOutputs)

	e, err := p.d.Compile(&p.Program)
	if err != nil {
		p.t.Fatal(err)
	}
	defer e.Close()
	leaves, outputs := p.bind()
	gotLeaves, gotOutputs := p.execute(e, leaves, outputs)
	p.compare(kernel.Leaf, gotLeaves, wantLeaves)
	p.compare(kernel.Output, gotOutputs, wantOutputs)

	againLeaves, againOutputs := p.execute(e, leaves, outputs)
	p.same("leaf", againLeaves, gotLeaves)
	p.same("output", againOutputs, gotOutputs)
	for _, b := range append(leaves, outputs...) {
		b.Free()
	}
}

// bind allocates what the program is run on.
func (p *program) bind() (leaves, outputs []device.Buffer) {
	p.t.Helper()
	alloc := func(l [][]byte) (bufs []device.Buffer) {
		for _, mem := range l {
			b, err := p.d.Alloc(len(mem))
			if err != nil {
				p.t.Fatal(err)
			}
			bufs = append(bufs, b)
		}
		return bufs
	}
	return alloc(p.leaves), alloc(p.outputs)
}

// execute uploads what is bound, runs the program and downloads everything.
func (p *program) execute(e device.Executable, leaves, outputs []device.Buffer) (gotLeaves, gotOutputs [][]byte) {
	p.t.Helper()
	upload := func(bufs []device.Buffer, l [][]byte) {
		for i, b := range bufs {
			if err := p.d.Upload(b, l[i]); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	upload(leaves, p.leaves)
	upload(outputs, p.outputs)
	if err := e.Run(leaves, outputs); err != nil {
		p.t.Fatal(err)
	}
	download := func(bufs []device.Buffer) (l [][]byte) {
		for _, b := range bufs {
			mem := make([]byte, b.Bytes())
			if err := p.d.Download(mem, b); err != nil {
				p.t.Fatal(err)
			}
			l = append(l, mem)
		}
		return l
	}
	return download(leaves), download(outputs)
}

// compare compares what slots of a kind are bound to. Of each it reports the first
// element that is wrong.
func (p *program) compare(kind kernel.SlotKind, got, want [][]byte) {
	p.t.Helper()
	for i := range p.Slots {
		s := &p.Slots[i]
		if s.Kind != kind {
			continue
		}
		d := p.types[i]
		wrong, first := 0, ""
		for j := range s.Bytes / d.Size() {
			g, w := scalar.Get(d, got[s.Index], j), scalar.Get(d, want[s.Index], j)
			if p.allow[i].accepts(d, g, w) {
				continue
			}
			if wrong++; wrong == 1 {
				first = fmt.Sprintf("element %d is %v, want %v", j, show(d, g), show(d, w))
			}
		}
		if wrong > 0 {
			p.t.Errorf("%s: %s; %d of %d are wrong", p.names[i], first, wrong, s.Bytes/d.Size())
		}
	}
}

func (a tolerance) accepts(d dtype.DType, got, want number) bool {
	if !d.IsFloat() {
		return got.I == want.I
	}
	g, w := got.F, want.F
	switch {
	case w != w:
		return g != g
	case g == w:
		return w != 0 || a != tolerance{} || math.Signbit(g) == math.Signbit(w)
	case math.IsInf(g, 0) || math.IsInf(w, 0):
		return false
	}
	return math.Abs(g-w) <= max(a.ulps*ulp(d, w), a.abs)
}

func show(d dtype.DType, n number) any {
	if d.IsFloat() {
		return n.F
	}
	return n.I
}

func (p *program) same(what string, got, first [][]byte) {
	p.t.Helper()
	for i := range got {
		if !bytes.Equal(got[i], first[i]) {
			p.t.Errorf("%s %d: a second run gives other bits", what, i)
		}
	}
}

func clones(l [][]byte) [][]byte {
	c := make([][]byte, len(l))
	for i := range l {
		c[i] = bytes.Clone(l[i])
	}
	return c
}

// short fills a tensor with numbers so short that sums of hundreds of products are
// exact in float32: sixteenths between −2 and 2, or integers between −4 and 4.
func short(r *rand.Rand, d dtype.DType, sh ...int) tensor {
	t := newTensor(d, sh...)
	for i := range t.v {
		switch {
		case d == dtype.Bool:
			t.v[i].I = r.Int64N(2)
		case d == dtype.Uint8:
			t.v[i].I = r.Int64N(5)
		case d.IsFloat():
			t.v[i].F = float64(r.IntN(65)-32) / 16
		default:
			t.v[i].I = r.Int64N(9) - 4
		}
	}
	return t
}

// positive fills a tensor with numbers between ½ and 1½.
func positive(r *rand.Rand, d dtype.DType, sh ...int) tensor {
	t := newTensor(d, sh...)
	for i := range t.v {
		t.v[i] = scalar.Rounded(d, number{F: 0.5 + r.Float64()})
	}
	return t
}

// normal fills a tensor with normally distributed numbers.
func normal(r *rand.Rand, d dtype.DType, sh ...int) tensor {
	t := newTensor(d, sh...)
	for i := range t.v {
		t.v[i] = scalar.Rounded(d, number{F: r.NormFloat64()})
	}
	return t
}

// indices fills a tensor of an integer type with the given values.
func indices(d dtype.DType, sh []int, v ...int64) tensor {
	t := newTensor(d, sh...)
	for i := range t.v {
		t.v[i].I = v[i%len(v)]
	}
	return t
}

// random is the source of a test's operands: the same ones every time.
func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x5eed)) }

var (
	floats   = []dtype.DType{dtype.Float32, dtype.Float64, dtype.Float16, dtype.BFloat16}
	integers = []dtype.DType{dtype.Int64, dtype.Int32, dtype.Int8, dtype.Uint8}
	numeric  = append(append([]dtype.DType(nil), floats...), integers...)
)
