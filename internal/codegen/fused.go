package codegen

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Fused writes a Loop, Reduce, Row or Multi kernel as launches, to be done in order.
// There are none if there is nothing to compute, and more than one where a long
// reduction is cut, or a Multi kernel has parts that cannot share a launch.
func Fused(f *kernel.Fused, slots []kernel.Slot, t *Target) ([]Launch, error) {
	if !t.Float64 {
		for i := range f.Code {
			if f.Code[i].DType == dtype.Float64 {
				return nil, fmt.Errorf("codegen: %s computes in float64, which the device does not have", f.Name)
			}
		}
	}
	if len(f.Parts) > 1 {
		return multi(f, slots, t)
	}
	return part(f, 0, slots, t)
}

// part writes one part as launches of its own.
func part(f *kernel.Fused, n int, slots []kernel.Slot, t *Target) ([]Launch, error) {
	p := &f.Parts[n]
	if slices.Contains(p.Outer, 0) {
		return nil, nil
	}
	w := weights(f, p)
	if p.Inner != nil || slices.ContainsFunc(f.Code, func(in kernel.Instr) bool { return in.Kind == kernel.Reduce }) {
		return reduce(f, p, w, slots, t)
	}
	return loop(f, p, w, slots, t)
}

// list selects instructions by their numbers.
func list(f *kernel.Fused, keep func(i int) bool) []int {
	var l []int
	for i := range f.Code {
		if keep(i) {
			l = append(l, i)
		}
	}
	return l
}

func (g *emitter) stores(keep func(i int) bool) []int {
	return list(g.f, func(i int) bool { return g.f.Code[i].Kind == kernel.Store && keep(i) })
}

func all(int) bool   { return true }
func never(int) bool { return false }

// fits checks that a kernel's parameters are no more than the device takes.
func fits(k *Kernel, t *Target) error {
	if n := paramBytes(k.Params, t); n > t.ParamBytes {
		return fmt.Errorf("codegen: %s has %d bytes of parameters, the device takes %d", k.Name, n, t.ParamBytes)
	}
	return nil
}

// paramBytes is what parameters take: in OpenCL a pointer is a buffer and an offset.
func paramBytes(params []Param, t *Target) int {
	n := 0
	for _, p := range params {
		switch {
		case !p.Pointer:
			n += 8
		case t.Dialect == OpenCL:
			n += 16
		default:
			n += 8
		}
	}
	return n
}

// power2 is the smallest power of two that is at least n.
func power2(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

func ceil(n, d int) int { return (n + d - 1) / d }

// one is the point of a kernel of no axes.
var one = []string{}
