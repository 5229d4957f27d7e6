package graphtest

import (
	"bytes"
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// Run runs a program. It overwrites the leaves that the program assigns to, and
// returns the memory of the outputs. Memory that nothing has written is full of
// bytes 255, so that reading it shows.
func Run(p *kernel.Program, leaves [][]byte) (outputs [][]byte) {
	outputs = make([][]byte, p.Outputs)
	for _, s := range p.Slots {
		if s.Kind == kernel.Output {
			outputs[s.Index] = bytes.Repeat([]byte{255}, s.Bytes)
		}
	}
	run(p, leaves, outputs)
	return outputs
}

func run(p *kernel.Program, leaves, outputs [][]byte) {
	arena := bytes.Repeat([]byte{255}, p.Arena)
	slots := make([][]byte, len(p.Slots))
	for i, s := range p.Slots {
		switch s.Kind {
		case kernel.Leaf:
			slots[i] = leaves[s.Index][:s.Bytes]
		case kernel.Output:
			slots[i] = outputs[s.Index][:s.Bytes]
		case kernel.Arena:
			slots[i] = arena[s.Offset : s.Offset+s.Bytes]
		}
	}
	for _, s := range p.Steps {
		switch s := s.(type) {
		case *kernel.Fused:
			runFused(s, slots)
		case *kernel.Library:
			runLibrary(s, slots)
			if s.Epilogue != nil {
				runFused(s.Epilogue, slots)
			}
		}
	}
}

// runFused goes from one outer point to the next; at each it computes one
// instruction after the other, at all inner points.
func runFused(f *kernel.Fused, slots [][]byte) {
	for i := range f.Parts {
		part := &f.Parts[i]
		values := make([][]Number, len(f.Code))
		each(part.Outer, func(_ int, outer []int) {
			for j := range f.Code {
				in := &f.Code[j]
				space := part.Inner
				if !in.Inner && !(in.Kind == kernel.Store && f.Code[in.X[0]].Inner) {
					space = nil
				}
				values[j] = slices.Grow(values[j][:0], product(space))[:product(space)]
				each(space, func(k int, inner []int) {
					var x [3]Number
					if in.Kind == kernel.Apply {
						for o, v := range in.Operands() {
							x[o] = values[v][min(k, len(values[v])-1)]
						}
					}
					at := func() int {
						a := &part.Args[in.Arg]
						n := a.Offset
						for d, c := range outer {
							n += c * a.Stride[d]
						}
						for d, c := range inner {
							n += c * a.Stride[len(outer)+d]
						}
						return n
					}
					v := &values[j][k]
					switch in.Kind {
					case kernel.Load:
						*v = scalar.Get(in.DType, slots[part.Args[in.Arg].Slot], at())
					case kernel.Imm:
						*v = scalar.Literal(in.DType, in.Bits)
					case kernel.Index:
						*v = Number{I: int64(at())}
					case kernel.Apply:
						if in.Op == ir.RNGBits {
							*v = random(in.RNG, int(x[0].I), x[1])
						} else {
							*v = elementwise(in.Op, in.DType, f.Code[in.X[0]].DType, x)
						}
					case kernel.Reduce:
						*v = fold(in.Op, in.DType, values[in.X[0]])
					case kernel.Store:
						scalar.Put(in.DType, slots[part.Args[in.Arg].Slot], at(), values[in.X[0]][k])
					}
				})
			}
		})
	}
}

func runLibrary(l *kernel.Library, slots [][]byte) {
	var in []Tensor
	for i := range l.In {
		o := &l.In[i]
		t := newTensor(o.DType, o.Shape)
		each(o.Shape, func(k int, at []int) {
			n := o.Offset
			for d, c := range at {
				n += c * o.Stride[d]
			}
			t.V[k] = scalar.Get(o.DType, slots[o.Slot], n)
		})
		in = append(in, t)
	}
	if loop, ok := l.Attr.(*ir.Loop); ok {
		runScan(l, loop, in, slots)
		return
	}
	o := &l.Out[0]
	t := newTensor(o.DType, o.Shape)
	library(l.Op, l.Attr, in, t)
	copy(slots[o.Slot][o.Offset*o.DType.Size():], t.Bytes())
}

func runScan(l *kernel.Library, a *ir.Loop, in []Tensor, slots [][]byte) {
	leaves, outputs := make([][]byte, len(in)), make([][]byte, len(l.Out))
	for i, t := range in {
		leaves[i] = t.Bytes()
	}
	for i := range l.Out {
		outputs[i] = bytes.Repeat([]byte{255}, l.Out[i].Elements()*l.Out[i].DType.Size())
	}
	slice := func(mem []byte, step int) []byte {
		n := len(mem) / a.Steps
		return mem[step*n : (step+1)*n]
	}
	// trail writes the carries to a row of their trails, if these are there.
	trail := func(row int) {
		for i, t := range outputs[l.Body.Outputs:] {
			copy(t[row*len(leaves[i]):], leaves[i])
		}
	}
	if a.Reverse {
		trail(a.Steps)
	} else {
		trail(0)
	}
	for step := range a.Steps {
		if a.Reverse {
			step = a.Steps - 1 - step
		}
		li, lo := slices.Clone(leaves), slices.Clone(outputs[:l.Body.Outputs])
		for i := a.Carries; i < a.Carries+a.Inputs; i++ {
			li[i] = slice(leaves[i], step)
		}
		for i := a.Carries; i < len(lo); i++ {
			lo[i] = slice(outputs[i], step)
		}
		run(l.Body, li, lo)
		for i := range a.Carries {
			leaves[i] = bytes.Clone(outputs[i])
		}
		if a.Reverse {
			trail(step)
		} else {
			trail(step + 1)
		}
	}
	for i, o := range l.Out {
		if o.Slot >= 0 {
			copy(slots[o.Slot][o.Offset*o.DType.Size():], outputs[i])
		}
	}
}
