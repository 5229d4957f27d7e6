// Package indexing writes the kernels of the library operations that find their places
// at run time or go along an axis:
//
//	window.go   ReduceWindowSum, …Max, …ArgMax, …MaxGrad
//	gather.go   Gather, Scatter, ScatterAdd
//	slice.go    DynamicSlice, DynamicUpdateSlice
//	axis.go     ArgMax, ArgMin, CumSum
//	sort.go     Sort, and the sorting of indices for the scatters
//	key.go      numbers as unsigned integers of the same order
//	lower.go    how a kernel and its launch are written
//
// Shapes are arguments, so a program with a hundred gathers has a few kernels of them to
// compile. What is in the text is the types: of elements that are only moved the width,
// of places whether 32 bits hold them; and of windows all but the number of planes.
//
// Everything that is added up is added in the order that package ir defines, by one
// thread or in a tree whose shape depends on the tensors' shapes alone. There are no
// atomic operations: a ScatterAdd sorts its indices, stably, and then every element of
// the result adds up the updates that are its own.
package indexing

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Lower is the launches that compute l, in order. inlined tells whether they contain
// l's epilogue.
func Lower(l *kernel.Library, t *codegen.Target) (launches []codegen.Launch, inlined bool, err error) {
	w, err := lower(l, t)
	if err != nil {
		return nil, false, fmt.Errorf("%v%s: %w", l.Op, operands(l), err)
	}
	if w.bytes > 0 && l.Scratch < 0 {
		return nil, false, fmt.Errorf("%v%s: %d bytes of workspace are needed and there are none", l.Op, operands(l), w.bytes)
	}
	for _, launch := range w.launches {
		for i := range launch.Args {
			if a := &launch.Args[i]; a.Slot == codegen.Scratch {
				a.Slot = l.Scratch
			}
		}
	}
	return w.launches, false, nil
}

// Workspace is the number of bytes of scratch memory that Lower counts on at l.Scratch.
// It depends on shapes, types and the target alone.
func Workspace(l *kernel.Library, t *codegen.Target) int {
	w, err := lower(l, t)
	if err != nil {
		return 0 // Lower reports it
	}
	return w.bytes
}

func lower(l *kernel.Library, t *codegen.Target) (*lowering, error) {
	w := newLowering(l, t)
	switch l.Op {
	case ir.ReduceWindowSum, ir.ReduceWindowMax, ir.ReduceWindowArgMax:
		return w, w.window()
	case ir.ReduceWindowMaxGrad:
		return w, w.windowMaxGrad()
	case ir.Gather:
		return w, w.gather()
	case ir.Scatter, ir.ScatterAdd:
		return w, w.scatter()
	case ir.DynamicSlice:
		return w, w.dynamicSlice()
	case ir.DynamicUpdateSlice:
		return w, w.dynamicUpdate()
	case ir.ArgMax, ir.ArgMin:
		return w, w.argExtreme()
	case ir.CumSum:
		return w, w.cumSum()
	case ir.Sort:
		return w, w.sort()
	}
	return w, fmt.Errorf("package indexing has no kernel for it")
}

// operands shows the types and shapes of what l reads.
func operands(l *kernel.Library) string {
	s := ""
	for i := range l.In {
		s += fmt.Sprintf(" %v%v", l.In[i].DType, l.In[i].Shape)
	}
	return s
}
