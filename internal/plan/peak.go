package plan

import (
	"slices"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// Peak is what is alive in the arena of a program, in bytes, while that is most.
type Peak struct {
	Gradients int // of variables: what of their size the kernels read that assign to them
	Workspace int // scratch memory of the library operation that runs
	Values    int // all else
}

// PeakOf tells what an arena is for.
func PeakOf(p *kernel.Program) Peak {
	life := lifetimes(p)
	at, _ := peak(p, life)
	scratch, gradient := make([]bool, len(p.Slots)), make([]bool, len(p.Slots))
	for _, s := range p.Steps {
		if l, ok := s.(*kernel.Library); ok && l.Scratch >= 0 {
			scratch[l.Scratch] = true
		}
		reads, writes := kernel.Slots(s)
		for _, r := range reads {
			gradient[r] = gradient[r] || slices.ContainsFunc(writes, func(w int) bool {
				return p.Slots[w].Kind == kernel.Leaf && p.Slots[w].Bytes == p.Slots[r].Bytes && slices.Contains(reads, w)
			})
		}
	}
	var k Peak
	for i, s := range p.Slots {
		switch {
		case s.Kind != kernel.Arena || life[i].first > at || at > life[i].last:
		case scratch[i]:
			k.Workspace += s.Bytes
		case gradient[i]:
			k.Gradients += s.Bytes
		default:
			k.Values += s.Bytes
		}
	}
	return k
}
