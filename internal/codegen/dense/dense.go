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
func Supports(composite string) bool { return false }

// Lower gives the launches that compute l. Epilogue tells that these include l's
// epilogue. Scratch memory is in slot l.Scratch, as many bytes as Workspace says.
func Lower(l *kernel.Library, t *codegen.Target) (launches []codegen.Launch, epilogue bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("dense: %s: %w", l.Label(), err)
		}
	}()
	switch {
	case l.Op == ir.DotGeneral:
		p := newProduct(t, l.In[0], l.In[1], l.Out[0])
		p.scratch = l.Scratch
		return p.lower(), false, nil
	case l.Op == ir.Conv:
		list, err := newConvolutions(l, t)
		if err != nil {
			return nil, false, err
		}
		for _, c := range list {
			if c.n > 0 {
				launches = append(launches, c.lower())
			}
		}
		if len(list) > 0 && list[0].splits > 1 {
			launches = append(launches, addParts(t, list[0].acc, l.Scratch, list[0].splits, &l.Out[0]))
		}
		return launches, false, nil
	}
	return nil, false, fmt.Errorf("no kernel of its own for %v", l.Op)
}

// Workspace is how many bytes of scratch memory the launches of l need.
func Workspace(l *kernel.Library, t *codegen.Target) int {
	switch {
	case l.Op == ir.DotGeneral:
		p := newProduct(t, l.In[0], l.In[1], l.Out[0])
		return p.workspace
	case l.Op == ir.Conv:
		if list, err := newConvolutions(l, t); err == nil && len(list) > 0 {
			return list[0].workspace
		}
	}
	return 0
}
