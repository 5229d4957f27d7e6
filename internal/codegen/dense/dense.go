// Package dense writes the kernels of matrix products, convolutions and attention.
//
// (doc to come)
package dense

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Supports tells whether there are kernels for a composite operation of that name.
func Supports(composite string) bool {
	return composite == "attention" || composite == "attention_grad"
}

// Lower gives the launches that compute l. Epilogue tells that these include l's
// epilogue. Scratch memory is in slot l.Scratch, as many bytes as Workspace says.
func Lower(l *kernel.Library, t *codegen.Target) (launches []codegen.Launch, epilogue bool, err error) {
	op, err := newOperation(l, t)
	if err != nil {
		return nil, false, fmt.Errorf("dense: %s: %w", l.Label(), err)
	}
	if launches, err = op.lower(); err != nil {
		return nil, false, fmt.Errorf("dense: %s: %w", l.Label(), err)
	}
	return launches, op.inlines(), nil
}

// Workspace is how many bytes of scratch memory the launches of l need.
func Workspace(l *kernel.Library, t *codegen.Target) int {
	op, err := newOperation(l, t)
	if err != nil {
		return 0 // as Lower will say
	}
	return op.workspace()
}

// operation is a library operation with everything decided.
type operation interface {
	lower() ([]codegen.Launch, error)
	workspace() int // bytes
	inlines() bool  // whether the epilogue is in the launches
}

func newOperation(l *kernel.Library, t *codegen.Target) (operation, error) {
	switch l.Op {
	case ir.DotGeneral:
		return newProduct(l, l.In[0], l.In[1], l.Out[0], t), nil
	case ir.Conv:
		return newConvolution(l, t)
	case ir.Composite:
		return newAttention(l, t)
	}
	return nil, fmt.Errorf("no kernel of its own for %v", l.Op)
}
