package devicetest

import (
	"bytes"
	"slices"

	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/scalar"
)

// interpret runs a program on what is bound to it, one element after the other.
func interpret(p *kernel.Program, leaves, outputs [][]byte) {
	arena := make([]byte, p.Arena)
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
			interpretFused(s, slots)
		case *kernel.Library:
			interpretLibrary(s, slots)
			if s.Epilogue != nil {
				interpretFused(s.Epilogue, slots)
			}
		}
	}
}

// interpretFused computes a kernel at every point. Loads see the memory as it was
// before the kernel.
func interpretFused(f *kernel.Fused, slots [][]byte) {
	before := make(map[int][]byte)
	for i := range f.Code {
		if f.Code[i].Kind == kernel.Load {
			for j := range f.Parts {
				slot := f.Parts[j].Args[f.Code[i].Arg].Slot
				before[slot] = bytes.Clone(slots[slot])
			}
		}
	}
	for i := range f.Parts {
		part := &f.Parts[i]
		inner := make([][]int, len(part.Args)) // by argument: offsets of the inner points
		for j, a := range part.Args {
			inner[j] = offsets(0, part.Inner, a.Stride[len(part.Outer):])
		}
		outer := make([][]int, len(part.Args))
		for j, a := range part.Args {
			outer[j] = offsets(a.Offset, part.Outer, a.Stride[:len(part.Outer)])
		}
		points := product(part.Outer)
		values := make([][]number, len(f.Code)) // by instruction: one, or one for each inner point
		for point := range points {
			for j := range f.Code {
				in := &f.Code[j]
				n, varies := 1, in.Inner || in.Kind == kernel.Store && f.Code[in.X[0]].Inner
				if varies {
					n = product(part.Inner)
				}
				if values[j] == nil {
					values[j] = make([]number, n)
				}
				for k := range n {
					at := func() int {
						if varies {
							return outer[in.Arg][point] + inner[in.Arg][k]
						}
						return outer[in.Arg][point]
					}
					switch in.Kind {
					case kernel.Load:
						values[j][k] = scalar.Get(in.DType, before[part.Args[in.Arg].Slot], at())
					case kernel.Imm:
						values[j][k] = scalar.Literal(in.DType, in.Bits)
					case kernel.Index:
						values[j][k] = number{I: int64(at())}
					case kernel.Apply:
						var x [3]number
						for o, v := range in.Operands() {
							x[o] = values[v][min(k, len(values[v])-1)]
						}
						values[j][k] = scalar.Rounded(in.DType, scalar.Apply(in.Op, in.DType, f.Code[in.X[0]].DType, in.RNG, x))
					case kernel.Reduce:
						values[j][k] = scalar.Rounded(in.DType, reduce(in.Op, values[in.X[0]]))
					case kernel.Store:
						scalar.Put(in.DType, slots[part.Args[in.Arg].Slot], at(), values[in.X[0]][k])
					}
				}
			}
		}
	}
}

// reduce folds numbers; the sum of none is zero.
func reduce(op ir.Op, l []number) number {
	if op == ir.ReduceSum {
		var sum accumulator
		for _, v := range l {
			sum.add(v)
		}
		return sum.number()
	}
	acc := l[0]
	for _, v := range l[1:] {
		if op == ir.ReduceMax {
			acc = number{F: max(acc.F, v.F), I: max(acc.I, v.I)}
		} else {
			acc = number{F: min(acc.F, v.F), I: min(acc.I, v.I)}
		}
	}
	return acc
}

// offsets lists base + Σ stride[i]·p[i] for all points, in row-major order.
func offsets(base int, extent, stride []int) []int {
	l := make([]int, 0, product(extent))
	for n := range product(extent) {
		at := base
		for i, e := range slices.Backward(extent) {
			at += n % e * stride[i]
			n /= e
		}
		l = append(l, at)
	}
	return l
}

func product(extent []int) int {
	n := 1
	for _, e := range extent {
		n *= e
	}
	return n
}
