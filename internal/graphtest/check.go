package graphtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/sinter-dl/sinter/internal/ir"
)

// Check makes up n graphs, always the same ones, and wants check to find nothing wrong
// with any. Of those that fail it reports the smallest, made smaller still. The
// environment variable SINTER_GRAPHS takes another number, for a longer hunt.
//
// A panic of check is a failure like others.
func Check(t *testing.T, n int, raw bool, check func(r *rand.Rand, outputs []*ir.Node) error) {
	t.Helper()
	if s := os.Getenv("SINTER_GRAPHS"); s != "" {
		k, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("SINTER_GRAPHS: %v", err)
		}
		n = k
	}
	seed := uint64(0)
	result := func(outputs []*ir.Node) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		return check(rand.New(rand.NewPCG(seed, 2)), outputs)
	}
	var smallest []*ir.Node
	var at uint64
	failures, size := 0, 0
	for ; seed < uint64(n); seed++ {
		r := rand.New(rand.NewPCG(seed, 1))
		outputs := Random(r, 2+r.IntN(40), raw)
		if result(outputs) == nil {
			continue
		}
		failures++
		if k := len(ir.Collect(outputs).Nodes); smallest == nil || k < size {
			smallest, size, at = outputs, k, seed
		}
	}
	if failures > 0 {
		seed = at
		smallest = shrink(smallest, func(outputs []*ir.Node) bool { return result(outputs) != nil })
		t.Errorf("%d of %d graphs fail; one of them, number %d: %v\n%v", failures, n, at, result(smallest), ir.Collect(smallest))
	}
}

// shrink leaves out outputs, and puts operands or values in the place of operations,
// as long as fails holds.
func shrink(outputs []*ir.Node, fails func([]*ir.Node) bool) []*ir.Node {
	for changed := true; changed; {
		changed = false
		for i := 0; i < len(outputs) && len(outputs) > 1; i++ {
			if less := slices.Delete(slices.Clone(outputs), i, i+1); fails(less) {
				outputs, changed = less, true
				i--
			}
		}
		for _, n := range ir.Collect(outputs).Nodes {
			switch n.Op {
			case ir.Input, ir.Assign, ir.Const, ir.Composite, ir.Scan:
				continue
			}
			var instead []*ir.Node
			for _, x := range n.In {
				if x.DType == n.DType && slices.Equal(x.Shape, n.Shape) {
					instead = append(instead, x)
				}
			}
			v, _ := Eval([]*ir.Node{n})
			instead = append(instead, ir.NewInput(n.DType, n.Shape, &ir.Storage{Data: v[0].Bytes()}))
			for _, x := range instead {
				less := ir.Substitute(outputs, map[*ir.Node]*ir.Node{n: x})
				if !slices.Contains(ir.Collect(less).Nodes, n) && fails(less) { // effects stay
					outputs, changed = less, true
					break
				}
			}
		}
	}
	return outputs
}
