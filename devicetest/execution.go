package devicetest

import (
	"fmt"
	"testing"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// execution tests programs as wholes: memory that steps hand on, what is bound,
// and several programs at once.
func (s *suite) execution(t *testing.T) {
	t.Run("arena", s.arena)
	t.Run("bindings", s.bindings)
	t.Run("wrong bindings", s.wrongBindings)
	t.Run("nothing", s.nothing)
	t.Run("undefined", s.undefined)
	t.Run("variable", s.variable)
	t.Run("goroutines", s.goroutines)
}

// layer is x·w, normalized by rows, over two steps and two slots of the arena.
func (p *program) layer(x kernel.Operand, w, norm, out int, rows, cols int) {
	d := p.types[out]
	y := p.arena(d, rows*cols)
	p.library(&kernel.Library{
		Op: ir.DotGeneral, In: []kernel.Operand{x, p.dense(w, x.Shape[1], cols)}, Out: []kernel.Operand{p.dense(y, rows, cols)},
	})
	k := newKernel("norm", []int{rows}, []int{cols})
	v := k.load(p.view(y, 0, cols, 1))
	m := k.reduce(ir.ReduceMax, k.apply(ir.Abs, v))
	k.store(k.apply(ir.Sub, v, m), p.view(out, 0, cols, 1))
	k.store(m, p.view(norm, 0, 1, 0))
	p.Steps = append(p.Steps, k.f)
}

// arena lets values share memory whose lifetimes do not overlap, in a chain of
// steps of different kinds: a product, a Row kernel, and a Loop that transposes.
func (s *suite) arena(t *testing.T) {
	r := random(50)
	p := s.program(t)
	const rows, cols = 40, 30
	d := dtype.Float32
	x, w1, w2 := p.leaf(short(r, d, rows, cols)), p.leaf(short(r, d, cols, cols)), p.leaf(short(r, d, cols, rows))
	n1, n2 := p.output("first norm", d, rows), p.output("second norm", d, rows)
	h, y := p.arena(d, rows*cols), p.output("y", d, rows*rows)
	p.layer(p.dense(x, rows, cols), w1, n1, h, rows, cols)

	// h is read for the last time by the second product; its place is free then.
	p.layer(p.dense(h, rows, cols), w2, n2, y, rows, rows)
	again := p.arenaAt(p.Slots[h].Offset, d, rows*cols)
	turned := p.output("x transposed and negated twice", d, rows*cols)
	k := newKernel("transpose", []int{cols, rows}, nil)
	k.store(k.apply(ir.Neg, k.load(p.view(x, 0, 1, cols))), p.view(again, 0, rows, 1))
	p.Steps = append(p.Steps, k.f)
	k = newKernel("neg", []int{rows * cols}, nil)
	k.store(k.apply(ir.Neg, k.load(p.view(again, 0, 1))), p.view(turned, 0, 1))
	p.Steps = append(p.Steps, k.f)
	for i := range p.allow {
		p.within(i, tolerance{zeros: true})
	}
	p.run()
}

// negation is y = −x for n elements, compiled.
func (s *suite) negation(t *testing.T, n int) (*program, device.Executable) {
	p := s.program(t)
	x, y := p.leaf(newTensor(dtype.Int32, n)), p.output("−x", dtype.Int32, n)
	mid := p.arena(dtype.Int32, n)
	k := newKernel("neg", []int{n}, nil)
	k.store(k.apply(ir.Neg, k.load(p.view(x, 0, 1))), p.view(mid, 0, 1))
	p.Steps = append(p.Steps, k.f)
	p.copies(mid, y)
	e, err := s.Compile(&p.Program)
	if err != nil {
		t.Fatal(err)
	}
	return p, e
}

// counted is the int32 numbers from, from+1, …
func counted(n, from int) tensor {
	x := newTensor(dtype.Int32, n)
	for i := range x.v {
		x.v[i].I = int64(from + i)
	}
	return x
}

// buffer is a tensor on the device.
func (s *suite) buffer(t *testing.T, x tensor) device.Buffer {
	t.Helper()
	b, err := s.Alloc(len(x.bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Upload(b, x.bytes()); err != nil {
		t.Fatal(err)
	}
	return b
}

// holds tells whether a buffer holds the numbers −from, −(from+1), …
func (s *suite) holds(t *testing.T, b device.Buffer, n, from int) {
	t.Helper()
	mem := make([]byte, b.Bytes())
	if err := s.Download(mem, b); err != nil {
		t.Error(err)
		return
	}
	for i := range n {
		if got := scalar.Get(dtype.Int32, mem, i).I; got != int64(-from-i) {
			t.Errorf("element %d is %d, want %d", i, got, -from-i)
			return
		}
	}
}

// One executable works on whatever is bound: other buffers, larger ones, and the
// result of an earlier run.
func (s *suite) bindings(t *testing.T) {
	const n = 1000
	_, e := s.negation(t, n)
	defer e.Close()
	var in, out []device.Buffer
	for i := range 3 {
		in = append(in, s.buffer(t, counted(n+100*i, 1000*i)))
		out = append(out, s.buffer(t, newTensor(dtype.Int32, n+100*i)))
	}
	for i := range in {
		if err := e.Run(in[i:i+1], out[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range in {
		s.holds(t, out[i], n, 1000*i)
	}
	if err := e.Run(out[2:], out[:1]); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(out[:1], out[1:2]); err != nil {
		t.Fatal(err)
	}
	s.holds(t, out[1], n, 2000)
}

func (s *suite) wrongBindings(t *testing.T) {
	const n = 16
	_, e := s.negation(t, n)
	defer e.Close()
	good, short := s.buffer(t, counted(n, 0)), s.buffer(t, counted(n-1, 0))
	one := []device.Buffer{good}
	for what, c := range map[string][2][]device.Buffer{
		"no leaf":                 {nil, one},
		"no output":               {one, nil},
		"two leaves":              {{good, good}, one},
		"a leaf that is nil":      {{nil}, one},
		"an output that is nil":   {one, {nil}},
		"too short a leaf":        {{short}, one},
		"too short an output":     {one, {short}},
		"another device's buffer": {one, {&stranger{4 * n}}},
	} {
		if e.Run(c[0], c[1]) == nil {
			t.Errorf("%s was taken", what)
		}
	}
	out := s.buffer(t, newTensor(dtype.Int32, n))
	if err := e.Run(one, []device.Buffer{out}); err != nil {
		t.Fatalf("after wrong bindings, good ones: %v", err)
	}
	s.holds(t, out, n, 0)
}

// A program may have nothing to do.
func (s *suite) nothing(t *testing.T) {
	s.program(t).run()
	p := s.program(t)
	p.copies(p.leaf(newTensor(dtype.Float32, 0)), p.output("nothing", dtype.Float32, 0))
	p.run()
}

// What is not defined is an error of Compile.
func (s *suite) undefined(t *testing.T) {
	p := s.program(t)
	x, y := p.leaf(newTensor(dtype.Float32, 4)), p.output("y", dtype.Float32, 4)
	k := newKernel("not", []int{4}, nil)
	k.store(k.apply(ir.Not, k.load(p.view(x, 0, 1))), p.view(y, 0, 1))
	for _, s := range []kernel.Step{
		k.f, &kernel.Library{Op: ir.Neg, In: []kernel.Operand{p.dense(x, 4)}, Out: []kernel.Operand{p.dense(y, 4)}, Scratch: -1},
	} {
		p.Steps = []kernel.Step{s}
		if e, err := p.d.Compile(&p.Program); err == nil {
			e.Close()
			t.Errorf("%T with an operation that it does not have was compiled", s)
		}
	}
}

// variable overwrites a leaf run after run, as training does.
func (s *suite) variable(t *testing.T) {
	const n = 300
	p := s.program(t)
	x := p.leaf(counted(n, 0))
	k := newKernel("increment", []int{n}, nil)
	k.store(k.apply(ir.Sub, k.load(p.view(x, 0, 1)), k.imm(dtype.Int32, 1)), p.view(x, 0, 1))
	p.Steps = append(p.Steps, k.f)
	e, err := s.Compile(&p.Program)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	v := newTensor(dtype.Int32, n)
	for i := range v.v {
		v.v[i].I = int64(-i)
	}
	b := s.buffer(t, v)
	for range 5 {
		if err := e.Run([]device.Buffer{b}, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.holds(t, b, n, 5)
}

// Several goroutines allocate, compile, run, and run a program that they share.
func (s *suite) goroutines(t *testing.T) {
	const n = 5000
	_, shared := s.negation(t, n)
	t.Cleanup(shared.Close)
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			p, own := s.negation(t, n)
			defer own.Close()
			for j := range 10 {
				from := 100000*i + 1000*j
				in := s.buffer(t, counted(n, from))
				for _, e := range []device.Executable{own, shared} {
					_, out := p.bind()
					if err := e.Run([]device.Buffer{in}, out); err != nil {
						t.Fatal(err)
					}
					s.holds(t, out[0], n, from)
					out[0].Free()
				}
				in.Free()
			}
		})
	}
}
