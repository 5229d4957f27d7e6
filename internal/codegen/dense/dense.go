// Package dense writes the kernels of matrix products, convolutions and attention.
//
//	product.go   matrix products, cut into tiles and sums cut into parts
//	skinny.go    those with few rows or columns
//	conv.go      convolutions in three directions, as products with a gathered operand
//	direct.go    those in groups of a few channels
//	attention.go softmax(q·kᵀ)·v and its gradient, without a matrix of scores
//
//	tile.go      what they have in common: tiles in local memory and registers
//	serial.go    the same for CPUs, and serial_attention.go
//	source.go    how strided operands come to tiles
//	ending.go    where sums go: to the result, to parts of it, through an epilogue
//	writer.go    C text
//
// An operation is decided first (newProduct, newConvolution, newAttention): tiles, and in
// how many parts sums are cut where there are too few tiles to occupy the device. That
// depends on shapes and the Target alone, and so does Workspace. Then it is written.
// Extents and distances are arguments, so that operations of one type and layout share a
// kernel whatever their shapes; only what changes the text (types, tiles, which axis is
// adjacent, the number of axes, the epilogue) makes another one.
//
// Operands of 16 bits become float32 on their way to local memory, and sums are float32;
// integers wrap. Sums are added in an order that depends on shapes and Target alone, and
// nothing is added atomically, so that equal operands give equal bits.
package dense

import (
	"fmt"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Supports tells whether there are kernels for a composite operation of that name. All read
// operands of 16 bits as they are.
func Supports(composite string, _ bool) bool {
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
