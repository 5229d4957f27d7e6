package lt

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// The gradient of a bias is a sum over what the gradient of the weight multiplies anyway,
// and the library takes it along, in float32 from either type of operand:
//
//	dW = dYᵀ·X   db[m] = Σ dYᵀ[m, k]   a sum of the left operand: BGRADB
//	dW = Xᵀ·dY   db[n] = Σ dY[k, n]    a sum of the right operand: BGRADA
//
// Its sum has one order, as all of the library's have on one card.
//
// A program has it as a Reduce of its own, which other backends run as it is. Here it moves to
// where the product is, if the memory that it reads and writes is not used by anything else
// on the way there.
//
// The library could also take it along one product earlier, with the gradient of the
// activation (DGELU_BGRAD, DRELU_BGRAD), but then rounds it to the type of the result, which
// in 16-bit steps is not what the gradient of a variable has. DRELU itself wants a mask of
// bits that RELU_AUX has to write: a second copy of what the activation says by its sign,
// and that has to stay for the gradient of the next weight in any case. Every backend would
// have to plan memory for the bits that one of them uses, so the gradient of ReLU is an
// epilogue of our own, which reads the activation.

// Sum is a sum that a product may take along.
type Sum struct {
	left       bool // of the left operand's rows; else of the right one's columns
	to         kernel.Operand
	step, part int // that compute it in the program
}

// Along finds the sums that the library takes along with a program's products. rest is the
// program without them; its steps have the numbers that they had, and a kernel of which
// nothing is left has no parts.
func (p *Planner) Along(program *kernel.Program) (rest *kernel.Program, taken map[*kernel.Library]*Sum, err error) {
	unread := Unread(program)
	taken = make(map[*kernel.Library]*Sum)
	gone := make(map[int][]int) // parts by step
	for i, s := range program.Steps {
		l, ok := s.(*kernel.Library)
		if !ok || l.Op != ir.DotGeneral {
			continue
		}
		sum := candidate(program, i, gone)
		if sum == nil {
			continue
		}
		r, _, err := p.Plan(l, Way{Unread: unread[l], TF32: program.TF32, Sum: sum})
		if err != nil {
			return nil, nil, err
		}
		if r == nil {
			continue
		}
		if r.Sums() {
			taken[l] = sum
			gone[sum.step] = append(gone[sum.step], sum.part)
		}
		r.Close()
	}
	if len(taken) == 0 {
		return program, taken, nil
	}
	c := *program
	c.Steps = slices.Clone(program.Steps)
	for step, parts := range gone {
		f := *c.Steps[step].(*kernel.Fused)
		f.Parts = nil
		for i, part := range program.Steps[step].(*kernel.Fused).Parts {
			if !slices.Contains(parts, i) {
				f.Parts = append(f.Parts, part)
			}
		}
		c.Steps[step] = &f
	}
	return &c, taken, nil
}

// candidate is the sum nearest to product at that could move there; nil if there is none. gone
// are parts that have moved elsewhere.
func candidate(p *kernel.Program, at int, gone map[int][]int) *Sum {
	l := p.Steps[at].(*kernel.Library)
	out := &l.Out[0]
	if len(out.Shape) != 2 || out.DType != dtype.Float32 {
		return nil
	}
	var best *Sum
	distance := func(step int) int { return max(step-at, at-step) }
	for i, s := range p.Steps {
		f, ok := s.(*kernel.Fused)
		if !ok || best != nil && distance(i) >= distance(best.step) || !isSum(f) {
			continue
		}
		for k := range f.Parts {
			from, to := &f.Parts[k].Args[f.Code[0].Arg], &f.Parts[k].Args[f.Code[len(f.Code)-1].Arg]
			left, right := sumOf(&f.Parts[k], from, to, &l.In[0], 0, 1), sumOf(&f.Parts[k], from, to, &l.In[1], 1, 0)
			if !left && !right || slices.Contains(gone[i], k) || !moves(p, i, at, from.Slot, to.Slot) {
				continue
			}
			best = &Sum{left: left, to: kernel.Operand{Slot: to.Slot, DType: to.DType, Offset: to.Offset}, step: i, part: k}
			break
		}
	}
	return best
}

// isSum tells whether a kernel does nothing but to add up in float32 what it reads.
func isSum(f *kernel.Fused) bool {
	n := len(f.Code)
	if n != 3 && n != 4 || f.Code[0].Kind != kernel.Load {
		return false
	}
	if c := &f.Code[1]; n == 4 && (c.Kind != kernel.Apply || c.Op != ir.Convert || c.DType != dtype.Float32 || !half(f.Code[0].DType)) {
		return false
	}
	sum, store := &f.Code[n-2], &f.Code[n-1]
	return sum.Kind == kernel.Reduce && sum.Op == ir.ReduceSum && sum.DType == dtype.Float32 && sum.X[0] == n-3 &&
		store.Kind == kernel.Store && store.DType == dtype.Float32 && store.X[0] == n-2
}

// sumOf tells whether a part adds up an operand of a product over its axis inner, for each
// point of the other one, and puts the sums side by side.
func sumOf(part *kernel.Part, from, to *kernel.Arg, o *kernel.Operand, outer, inner int) bool {
	return from.Slot == o.Slot && from.Offset == o.Offset && from.DType == o.DType &&
		slices.Equal(part.Outer, o.Shape[outer:outer+1]) && slices.Equal(part.Inner, o.Shape[inner:inner+1]) &&
		from.Stride[0] == o.Stride[outer] && from.Stride[1] == o.Stride[inner] && to.Stride[0] == 1
}

// moves tells whether what step from computes of slot x can be put into slot y by another
// step instead: in between, nothing writes to x's memory and nothing uses y's. Several may
// move: no step that writes or reads one is among those over which another moves if they
// share memory.
func moves(p *kernel.Program, from, to, x, y int) bool {
	shares := func(a, b int) bool {
		s, t := &p.Slots[a], &p.Slots[b]
		return a == b || s.Kind == kernel.Arena && t.Kind == kernel.Arena && s.Offset < t.Offset+t.Bytes && t.Offset < s.Offset+s.Bytes
	}
	if p.Slots[y].Kind == kernel.Leaf {
		return false // a variable, whose old value somebody may read
	}
	first, last := min(from, to), max(from, to)
	for i := first; i <= last; i++ {
		reads, writes := kernel.Slots(p.Steps[i])
		if i < last && slices.ContainsFunc(writes, func(w int) bool { return shares(w, x) }) {
			return false
		}
		if i != from && slices.ContainsFunc(append(reads, writes...), func(s int) bool { return shares(s, y) }) {
			return false
		}
	}
	return true
}

// along is the product along with a sum, if it has no other epilogue.
func (d described) along(s *Sum) (described, bool) {
	if d.Epilogue != cublaslt.Default || d.D.Type != cublaslt.F32 || d.Count != 1 || d.calls != 1 || d.bias.shift != nil {
		return d, false
	}
	d.bias = at(&s.to, make([]int, d.calls))
	d.Epilogue, d.sums = cublaslt.BGradA, true
	if s.left {
		d.Epilogue = cublaslt.BGradB
	}
	// Whether an algorithm is fit for where the bias lies follows from an address that is a
	// multiple of 16; see somewhere.
	return d, d.bias.Offset%16 == 0
}
