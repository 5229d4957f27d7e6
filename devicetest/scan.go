package devicetest

import (
	"fmt"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// scan tests loops: forwards and backwards, of no, one and several steps, with
// results that nobody wants, and with a loop inside.
func (s *suite) scan(t *testing.T) {
	r := random(40)
	for _, d := range []dtype.DType{dtype.Float32, dtype.Float64, dtype.BFloat16, dtype.Float16, dtype.Int64} {
		p := s.program(t)
		for _, steps := range []int{0, 1, 2, 7} {
			for i := range 8 {
				reverse, last, results := i&1 != 0, i&2 == 0, i&4 == 0
				const rows, cols = 3, 4
				l := &kernel.Library{Op: ir.Scan, Attr: &ir.Loop{Carries: 2, Inputs: 2, Steps: steps, Reverse: reverse}, Body: s.recurrence(t, d, rows, cols)}
				for _, x := range []tensor{
					short(r, d, rows, cols), indices(dtype.Int64, nil, 100), // the carries
					short(r, d, steps, rows, cols), short(r, d, steps), // the sequences
					p.contraction(d, cols), // the constant
				} {
					l.In = append(l.In, p.dense(p.leaf(x), x.shape...))
				}
				result := func(wanted bool, name string, d dtype.DType, sh ...int) {
					o := kernel.Operand{Slot: -1, DType: d, Shape: sh, Stride: make([]int, len(sh))}
					if wanted {
						o = p.dense(p.output(fmt.Sprintf("scan of %v, %d steps, reverse %v: %s", d, steps, reverse, name), d, product(sh)), sh...)
					} else {
						o.Stride = p.dense(0, sh...).Stride
					}
					l.Out = append(l.Out, o)
				}
				result(last, "last state", d, rows, cols)
				result(true, "last count", dtype.Int64)
				result(results, "states", d, steps, rows, cols)
				result(true, "counts", dtype.Int64, steps)
				if i >= 4 {
					result(results == last, "trail of states", d, steps+1, rows, cols)
					result(last, "trail of counts", dtype.Int64, steps+1)
				}
				p.library(l)
			}
		}
		p.run()
	}
	t.Run("nested", s.nestedScan)
}

// contraction is a matrix that a vector can be multiplied by again and again: a
// rotation of the axes, every other one turned around.
func (p *program) contraction(d dtype.DType, n int) tensor {
	w := newTensor(d, n, n)
	for i := range n {
		v := number{F: 1, I: 1}
		if i%2 == 1 && d != dtype.Uint8 {
			v = number{F: -1, I: -1}
		}
		w.v[i*n+(i+1)%n] = v
	}
	return w
}

// recurrence is a body: h' = h·w + x·g, n' = n + 1, results h' and n. It has a
// library operation with an epilogue, a value in the arena and, for types that a
// device widens, workspace.
func (s *suite) recurrence(t testing.TB, d dtype.DType, rows, cols int) *kernel.Program {
	b := s.program(t)
	h, n := b.leaf(newTensor(d, rows, cols)), b.leaf(newTensor(dtype.Int64))
	x, g, w := b.leaf(newTensor(d, rows, cols)), b.leaf(newTensor(d)), b.leaf(newTensor(d, cols, cols))
	next, count := b.output("h", d, rows*cols), b.output("n", dtype.Int64, 1)
	state, number := b.output("states", d, rows*cols), b.output("counts", dtype.Int64, 1)
	gated := b.arena(d, rows*cols)

	k := newKernel("gate", []int{rows * cols}, nil)
	k.store(k.apply(ir.Mul, k.load(b.view(x, 0, 1)), k.load(b.view(g, 0, 0))), b.view(gated, 0, 1))
	b.Steps = append(b.Steps, k.f)

	k = newKernel("add", []int{rows, cols}, nil)
	v := k.apply(ir.Add, k.load(b.view(next, 0, cols, 1)), k.load(b.view(gated, 0, cols, 1)))
	k.store(v, b.view(next, 0, cols, 1))
	k.store(v, b.view(state, 0, cols, 1))
	b.library(&kernel.Library{
		Op: ir.DotGeneral, In: []kernel.Operand{b.dense(h, rows, cols), b.dense(w, cols, cols)},
		Out: []kernel.Operand{b.dense(next, rows, cols)}, Epilogue: k.f,
	})

	k = newKernel("count", nil, nil)
	v = k.load(b.view(n, 0))
	k.store(v, b.view(number, 0))
	k.store(k.apply(ir.Add, v, k.imm(dtype.Int64, 1)), b.view(count, 0))
	b.Steps = append(b.Steps, k.f)
	return &b.Program
}

// nestedScan sums every row of a matrix by a loop within a loop over the rows,
// whose carry is the largest sum so far.
func (s *suite) nestedScan(t *testing.T) {
	r := random(41)
	d := dtype.Float32
	const rows, cols, width = 5, 6, 3

	inner := s.program(t)
	sum, x := inner.leaf(newTensor(d, width)), inner.leaf(newTensor(d, width))
	next := inner.output("sum", d, width)
	k := newKernel("add", []int{width}, nil)
	k.store(k.apply(ir.Add, k.load(inner.view(sum, 0, 1)), k.load(inner.view(x, 0, 1))), inner.view(next, 0, 1))
	inner.Steps = append(inner.Steps, k.f)

	outer := s.program(t)
	top, row, zero := outer.leaf(newTensor(d, width)), outer.leaf(newTensor(d, cols, width)), outer.leaf(newTensor(d, width))
	best, total := outer.output("best", d, width), outer.output("total", d, width)
	outer.library(&kernel.Library{
		Op: ir.Scan, Attr: &ir.Loop{Carries: 1, Inputs: 1, Steps: cols}, Body: &inner.Program,
		In:  []kernel.Operand{outer.dense(zero, width), outer.dense(row, cols, width)},
		Out: []kernel.Operand{outer.dense(total, width)},
	})
	k = newKernel("max", []int{width}, nil)
	k.store(k.apply(ir.Max, k.load(outer.view(top, 0, 1)), k.load(outer.view(total, 0, 1))), outer.view(best, 0, 1))
	outer.Steps = append(outer.Steps, k.f)

	p := s.program(t)
	in := []tensor{short(r, d, width), short(r, d, rows, cols, width), newTensor(d, width)}
	l := &kernel.Library{Op: ir.Scan, Attr: &ir.Loop{Carries: 1, Inputs: 1, Steps: rows}, Body: &outer.Program}
	for _, x := range in {
		l.In = append(l.In, p.dense(p.leaf(x), x.shape...))
	}
	a, b := p.output("largest sum", d, width), p.output("sums", d, rows*width)
	p.within(a, tolerance{zeros: true})
	l.Out = []kernel.Operand{p.dense(a, width), p.dense(b, rows, width)}
	p.library(l)
	p.run()
}
