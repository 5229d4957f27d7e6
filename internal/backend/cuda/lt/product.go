package lt

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/dl/cublaslt"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// matrix is one of the library's: column-major, columns LD elements apart, its batches
// Batch elements apart. Transposed says that op(x) is the transpose.
type matrix struct {
	Type           cublaslt.Type
	Rows, Cols, LD int
	Batch          int
	Transposed     bool
	Align          int // bytes, of where it begins in every call
}

// product is everything that an algorithm may depend on. Its operands are in the
// library's order.
type product struct {
	A, B, C, D matrix
	Count      int // batches
	Compute    cublaslt.Compute
	Scale      cublaslt.Type
	Epilogue   cublaslt.Epilogue
	Beta       bool // C is added
	AuxLD      int  // elements, 0 if there is no auxiliary matrix
	Workspace  int  // bytes
}

// place is where a call finds an operand: slot and bytes, Shift[i] bytes further in the
// i-th call; nil for none.
type place struct {
	codegen.Arg
	shift []int
}

// described is a product with its places.
type described struct {
	product
	a, b, c, d, bias, aux place
	calls                 int
	offsets               []int // of the result, in elements, by call
	inEpilogue            bool
	sums                  bool // bias is where sums of an operand go
}

// maxCalls is how many calls a product may take whose batches no single stride reaches.
const maxCalls = 64

// describe says what the product is to the library. Otherwise it returns what stands
// against it.
func (p *Planner) describe(l *kernel.Library, tf32 bool) (d described, why string) {
	if l.Op != ir.DotGeneral {
		return d, fmt.Sprintf("%v is no matrix product", l.Op)
	}
	left, right, out := &l.In[0], &l.In[1], &l.Out[0]
	if left.DType != right.DType || !p.Card.Products(left.DType) {
		return d, fmt.Sprintf("no products of %v by %v on %s cards", left.DType, right.DType, p.Card.Name)
	}
	if left.Elements() == 0 || right.Elements() == 0 {
		return d, "a product over nothing"
	}
	if out.DType != left.DType && out.DType != dtype.Float32 {
		return d, fmt.Sprintf("no products of %v that are %v", left.DType, out.DType)
	}
	d.Scale, d.Compute = cublaslt.F32, cublaslt.Compute32F
	switch left.DType {
	case dtype.Float64:
		d.Scale, d.Compute = cublaslt.F64, cublaslt.Compute64F
	case dtype.Float32:
		d.Compute = cublaslt.Compute32FPedantic
		if tf32 && p.Card.TF32 {
			d.Compute = cublaslt.Compute32FFastTF32
		}
	}

	r := len(out.Shape)
	m, n, k := out.Shape[r-2], out.Shape[r-1], left.Shape[r-1]
	rowStride := left.Stride[r-2]
	axes := batches(l)
	// Rows of consecutive batches that meet the same right matrix are rows of one matrix.
	for len(axes) > 0 {
		last := axes[len(axes)-1]
		if last.right != 0 || (m != 1 && last.left != m*rowStride) {
			break
		}
		if m == 1 {
			rowStride = last.left
		}
		m *= last.n
		axes = axes[:len(axes)-1]
	}

	var ok bool
	t := types[left.DType]
	// The first operand is Bᵀ, N×K: element (n, k) is n·right.Stride[r-1] + k·right.Stride[r-2] from its beginning.
	if d.A, ok = columns(t, n, k, right.Stride[r-1], right.Stride[r-2]); !ok {
		return d, fmt.Sprintf("no leading dimension expresses the strides %v of the right operand", right.Stride)
	}
	if d.B, ok = columns(t, k, m, left.Stride[r-1], rowStride); !ok {
		return d, fmt.Sprintf("no leading dimension expresses the strides %v of the left operand", left.Stride)
	}
	d.D = matrix{Type: types[out.DType], Rows: n, Cols: m, LD: n}

	// The largest axis that has strides as the library wants them becomes the batch.
	batch := -1
	for i, a := range axes {
		if a.left >= 0 && a.right >= 0 && (batch < 0 || a.n > axes[batch].n) {
			batch = i
		}
	}
	d.Count, d.calls = 1, 1
	if batch >= 0 {
		a := axes[batch]
		d.Count, d.A.Batch, d.B.Batch, d.D.Batch = a.n, a.right, a.left, a.out
		axes = append(axes[:batch:batch], axes[batch+1:]...)
	}
	lefts, rights := []int{0}, []int{0}
	d.offsets = []int{0}
	for _, a := range axes {
		d.calls *= a.n
		if d.calls > maxCalls {
			return d, fmt.Sprintf("batches that take more than %d calls", maxCalls)
		}
		lefts, rights, d.offsets = spread(lefts, a.n, a.left), spread(rights, a.n, a.right), spread(d.offsets, a.n, a.out)
	}
	d.a, d.b = at(right, rights), at(left, lefts)
	d.d = at(out, d.offsets)
	d.A.Align, d.B.Align, d.D.Align = d.a.align(), d.b.align(), d.d.align()
	d.C, d.c = d.D, d.d
	d.Epilogue = cublaslt.Default
	if l.Scratch >= 0 {
		d.Workspace = p.Workspace(l) - workAlign
	}
	return d, ""
}

// axis is a batch axis with its strides.
type axis struct{ n, left, right, out int }

// batches are the batch axes of a product, those put together that one stride reaches.
func batches(l *kernel.Library) []axis {
	var axes []axis
	r := len(l.Out[0].Shape)
	for i := range r - 2 {
		a := axis{l.Out[0].Shape[i], l.In[0].Stride[i], l.In[1].Stride[i], l.Out[0].Stride[i]}
		if a.n == 1 {
			continue
		}
		if k := len(axes) - 1; k >= 0 && axes[k].left == a.n*a.left && axes[k].right == a.n*a.right && axes[k].out == a.n*a.out {
			a.n *= axes[k].n
			axes[k] = a
			continue
		}
		axes = append(axes, a)
	}
	return axes
}

// columns is the matrix op(x) of the given extents whose elements are rowStride and
// colStride apart, if it is one with a leading dimension.
func columns(t cublaslt.Type, rows, cols, rowStride, colStride int) (matrix, bool) {
	// The stride of an axis of one element says nothing.
	if (rowStride == 1 || rows == 1) && (cols == 1 || colStride >= rows) {
		if cols == 1 {
			colStride = rows
		}
		return matrix{Type: t, Rows: rows, Cols: cols, LD: colStride}, true
	}
	if (colStride == 1 || cols == 1) && (rows == 1 || rowStride >= cols) {
		if rows == 1 {
			rowStride = cols
		}
		return matrix{Type: t, Rows: cols, Cols: rows, LD: rowStride, Transposed: true}, true
	}
	return matrix{}, false
}

// spread adds an axis to a list of offsets.
func spread(offsets []int, n, stride int) []int {
	var all []int
	for _, o := range offsets {
		for i := range n {
			all = append(all, o+i*stride)
		}
	}
	return all
}

// at is where an operand lies, in calls that begin at the given elements of it.
func at(o *kernel.Operand, elements []int) place {
	size := o.DType.Size()
	p := place{Arg: codegen.Arg{Slot: o.Slot, Offset: o.Offset * size}}
	for _, e := range elements {
		p.shift = append(p.shift, e*size)
	}
	return p
}

// align is the power of two, at most 64, that all of a place's addresses are multiples of
// if its slot is.
func (p *place) align() int {
	a := 64
	for _, s := range p.shift {
		for (p.Offset+s)%a != 0 {
			a /= 2
		}
	}
	return a
}
