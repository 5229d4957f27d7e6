package null

import (
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/shape"
)

// Cost is what one kernel of a program does, in the terms that decide how long it takes on
// any device. Numbers are those of one run; in the body of a Scan a kernel runs Times
// times.
type Cost struct {
	Step int    // number of the program's step that it is, or is in the body of
	Kind string // loop, reduce, row or multi; of an operation its name, of a convolution with its direction
	Name string
	Data dtype.DType // of the operands of a product; of what a fused kernel reads or writes first
	TF32 bool        // a product whose operands may be rounded to TF32

	Times         int64
	FLOPs         int64 // of products, as in Counts, and of attention
	Work          int64 // what is calculated besides, in additions, as package ir weighs operations
	Read, Written int64 // bytes, as in Counts

	// Of products: [Batch, M, K] × [Batch, K, N]. A convolution is the product that it can
	// be written as, with a batch for each group; of attention it is that of queries and
	// keys, with a batch for each head.
	Batch, M, N, K int
	// Of convolutions and windows: positions of the window, and images with what is
	// computed of each in all channels.
	Taps, Images, Plane int
	// Of fused kernels: points of the outer axes of all parts, and of the inner ones of a
	// part; parts; bytes from one inner point to the next in what is read. Of sorting and
	// the like: lines, and their length.
	Rows, Width, Parts, Pitch int
}

// Costs are those of all kernels of a program that Verify accepts, in order.
func Costs(p *kernel.Program) []Cost {
	var list []Cost
	for i, s := range p.Steps {
		first := len(list)
		list = stepCosts(list, p, s, 1, p.TF32)
		for j := first; j < len(list); j++ {
			list[j].Step = i
		}
	}
	return list
}

func stepCosts(list []Cost, p *kernel.Program, s kernel.Step, times int64, tf32 bool) []Cost {
	c := Cost{Name: s.Label(), Times: times}
	var n Counts
	switch s := s.(type) {
	case *kernel.Fused:
		c.Kind = [...]string{"loop", "reduce", "row", "multi"}[s.Class()]
		n.fused(p, s, -1, 1)
		c.fused(s)
	case *kernel.Library:
		if s.Op == ir.Scan {
			for _, inner := range s.Body.Steps {
				list = stepCosts(list, s.Body, inner, times*int64(s.Attr.(*ir.Loop).Steps), tf32)
			}
			return list
		}
		c.Kind = s.Op.String()
		n.library(p, s, 1)
		c.FLOPs = n.FLOPs
		c.library(s)
		c.TF32 = tf32 && c.Data == dtype.Float32 && (s.Op == ir.DotGeneral || s.Op == ir.Conv)
		if s.Epilogue != nil {
			c.Work += work(s.Epilogue)
		}
	}
	c.Read, c.Written = n.Read, n.Written
	return append(list, c)
}

func (c *Cost) fused(f *kernel.Fused) {
	c.Work, c.Parts = work(f), len(f.Parts)
	for i := range f.Parts {
		c.Rows += shape.Elements(f.Parts[i].Outer)
	}
	part := &f.Parts[0]
	c.Width = shape.Elements(part.Inner)
	for i := range f.Code {
		in := &f.Code[i]
		if in.Kind != kernel.Load && in.Kind != kernel.Store {
			continue
		}
		a := &part.Args[in.Arg]
		if c.Data == dtype.Invalid {
			c.Data = a.DType
		}
		if n := len(part.Inner); n > 0 && in.Kind == kernel.Load && c.Pitch == 0 {
			c.Pitch = a.Stride[len(part.Outer)+n-1] * a.DType.Size()
		}
	}
}

func (c *Cost) library(l *kernel.Library) {
	c.Data = l.In[0].DType
	out := &l.Out[0]
	switch l.Op {
	case ir.DotGeneral:
		a, b := l.In[0].Shape, l.In[1].Shape
		r := len(a)
		c.Batch, c.M, c.K, c.N = shape.Elements(a[:r-2]), a[r-2], a[r-1], b[r-1]
	case ir.Conv:
		at := l.Attr.(ir.ConvAttr)
		x, w, y := &l.In[0], &l.In[1], out
		switch at.Dir {
		case ir.Forward:
			c.Kind = "conv"
		case ir.InputGrad:
			c.Kind = "conv_input_grad"
			y, x = &l.In[0], out
		case ir.WeightGrad:
			c.Kind = "conv_weight_grad"
			y, w = &l.In[1], out
		}
		c.Batch, c.Taps, c.Images = max(1, at.Groups), shape.Elements(w.Shape[2:]), x.Shape[0]
		in, channels := w.Shape[1], w.Shape[0]/max(1, c.Batch)
		seen, made := shape.Elements(x.Shape[2:]), shape.Elements(y.Shape[2:])
		switch at.Dir {
		case ir.Forward:
			c.M, c.N, c.K, c.Plane = channels, c.Images*made, in*c.Taps, made
		case ir.InputGrad:
			c.M, c.N, c.K, c.Plane = in, c.Images*seen, channels*c.Taps, seen
		case ir.WeightGrad:
			c.M, c.N, c.K, c.Plane = channels, in*c.Taps, c.Images*made, made
		}
	case ir.Composite:
		c.attention(l)
	case ir.ReduceWindowSum, ir.ReduceWindowMax, ir.ReduceWindowArgMax, ir.ReduceWindowMaxGrad:
		at := l.Attr.(ir.Window)
		c.Taps = shape.Elements(at.Size)
		c.Images, c.Plane = out.Shape[0], shape.Elements(out.Shape[2:])
		seen := out.Elements()
		if l.Op == ir.ReduceWindowMaxGrad {
			seen = l.In[1].Elements()
		}
		c.Work = int64(seen) * int64(c.Taps)
	default:
		c.Width = 1
		if n := len(out.Shape); n > 0 {
			c.Width = out.Shape[n-1]
		}
		c.Rows = out.Elements() / max(1, c.Width)
	}
}

// attention takes two products forward. Backward it computes the scores again, and four
// more: those of dy and the values, and of the gradients of queries, keys and values.
// Causal attention needs half of each.
func (c *Cost) attention(l *kernel.Library) {
	region, ok := l.Attr.(*ir.Region)
	if !ok {
		return
	}
	c.Kind = region.Name
	at, ok := region.Attr.(ir.Attention)
	if !ok || len(l.In) < 3 || len(l.In[0].Shape) != 4 {
		return
	}
	q, k, v := l.In[0].Shape, l.In[1].Shape, l.In[2].Shape
	c.Batch, c.M, c.N, c.K = q[0]*q[1], q[2], k[2], q[3]
	scores := int64(c.Batch) * int64(c.M) * int64(c.N)
	dk, dv := int64(q[3]), int64(v[3])
	c.FLOPs, c.Work = 2*scores*(dk+dv), 16*scores // an exponential, and running maximum and sum
	if region.Name == "attention_grad" {
		c.FLOPs = 2 * scores * (3*dk + 2*dv)
	}
	if at.Causal {
		c.FLOPs, c.Work = c.FLOPs/2, c.Work/2
	}
}

// work is what a fused kernel calculates, in additions.
func work(f *kernel.Fused) int64 {
	sum := int64(0)
	for i := range f.Parts {
		part := &f.Parts[i]
		outer := int64(shape.Elements(part.Outer))
		inner := outer * int64(shape.Elements(part.Inner))
		for j := range f.Code {
			in := &f.Code[j]
			if in.Kind != kernel.Apply && in.Kind != kernel.Reduce {
				continue
			}
			n := outer
			if in.Inner || in.Kind == kernel.Reduce {
				n = inner
			}
			sum += n * int64(max(1, in.Op.Info().Cost))
		}
	}
	return sum
}
