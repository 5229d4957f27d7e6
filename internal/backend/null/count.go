package null

import (
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
)

// Counts is what a program amounts to.
type Counts struct {
	Kernels map[kernel.Class]int // steps; an epilogue belongs to its library operation
	Library map[string]int       // library operations by name
	Arena   int                  // bytes
	// Read and Written are bytes of memory traffic, on the assumption that a
	// kernel fetches every element it uses once, however often it uses it, and that
	// an epilogue finds the result it works on in the cache.
	Read, Written int64
	// FLOPs are those of matrix products and convolutions, a multiplication and an
	// addition each, as if padding were multiplied too: an estimate of the work.
	FLOPs int64
	// Elementwise are the instructions of fused kernels that calculate with floats, at
	// every point that they are evaluated at.
	Elementwise int64
}

// Count adds up a program that Verify accepts. The kernels of a Scan's body are
// counted once, what they move and multiply once for every step. The arena is the
// program's own; that of a body lies in the workspace of its Scan, where a device
// asks for one.
func Count(p *kernel.Program) Counts {
	c := Counts{Kernels: make(map[kernel.Class]int), Library: make(map[string]int), Arena: p.Arena}
	c.add(p, 1)
	return c
}

func (c *Counts) add(p *kernel.Program, times int64) {
	for _, s := range p.Steps {
		switch s := s.(type) {
		case *kernel.Fused:
			c.Kernels[s.Class()]++
			c.fused(p, s, -1, times)
		case *kernel.Library:
			c.Kernels[kernel.ClassLibrary]++
			c.Library[s.Op.String()]++
			c.library(p, s, times)
		}
	}
}

// fused counts the loads and stores of f, but not those of the slot cached.
func (c *Counts) fused(p *kernel.Program, f *kernel.Fused, cached int, times int64) {
	for i := range f.Parts {
		part := &f.Parts[i]
		c.Elementwise += times * calculations(f, part)
		extent := append(append([]int(nil), part.Outer...), part.Inner...)
		loaded := make(map[int]bool)
		for j := range f.Code {
			in := &f.Code[j]
			if in.Kind != kernel.Load && in.Kind != kernel.Store {
				continue
			}
			a := &part.Args[in.Arg]
			bytes := times * touched(extent, a.Stride, a.DType.Size(), p.Slots[a.Slot].Bytes)
			switch {
			case a.Slot == cached:
			case in.Kind == kernel.Store:
				c.Written += bytes
			case !loaded[in.Arg]:
				loaded[in.Arg] = true
				c.Read += bytes
			}
		}
	}
}

func (c *Counts) library(p *kernel.Program, l *kernel.Library, times int64) {
	if l.Op == ir.Scan {
		c.add(l.Body, times*int64(l.Attr.(*ir.Loop).Steps))
		return
	}
	bytes := func(o *kernel.Operand) int64 {
		return times * touched(o.Shape, o.Stride, o.DType.Size(), p.Slots[o.Slot].Bytes)
	}
	written := int64(0)
	for i := range l.Out {
		if l.Out[i].Slot >= 0 {
			written += bytes(&l.Out[i])
		}
	}
	c.Written += written
	for i := range l.In {
		if i == 0 && (l.Op == ir.Gather || l.Op == ir.DynamicSlice) {
			c.Read += written // only what is taken
			continue
		}
		c.Read += bytes(&l.In[i])
	}
	switch l.Op {
	case ir.DotGeneral:
		a := l.In[0].Shape
		c.FLOPs += times * 2 * int64(l.Out[0].Elements()) * int64(a[len(a)-1])
	case ir.Conv:
		y, w := &l.Out[0], &l.In[1]
		switch l.Attr.(ir.ConvAttr).Dir {
		case ir.InputGrad:
			y = &l.In[0]
		case ir.WeightGrad:
			y, w = &l.In[1], &l.Out[0]
		}
		c.FLOPs += times * 2 * int64(y.Elements()) * int64(shape.Elements(w.Shape[1:]))
	}
	if l.Epilogue != nil {
		c.fused(p, l.Epilogue, l.Out[0].Slot, times)
	}
}

// calculations is how many operations on floats a part of a kernel takes.
func calculations(f *kernel.Fused, part *kernel.Part) int64 {
	outer := int64(shape.Elements(part.Outer))
	inner := outer * int64(shape.Elements(part.Inner))
	n := int64(0)
	for i := range f.Code {
		in := &f.Code[i]
		if in.Kind != kernel.Apply && in.Kind != kernel.Reduce || !f.Code[in.X[0]].DType.IsFloat() {
			continue
		}
		switch {
		case in.Op == ir.Convert || in.Op == ir.Bitcast || in.Op == ir.Select || in.Op == ir.Iota || in.Op == ir.RNGBits:
		case in.Inner || in.Kind == kernel.Reduce:
			n += inner
		default:
			n += outer
		}
	}
	return n
}

// touched is the size of the distinct elements of an access, where axes with
// different strides are taken to lead to different elements.
func touched(extent, stride []int, size, limit int) int64 {
	n := int64(size)
	for i, e := range extent {
		if stride[i] != 0 || e == 0 {
			n *= int64(e)
		}
	}
	return min(n, int64(limit))
}
