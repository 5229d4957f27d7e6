package main

import (
	"testing"

	"github.com/sinter-dl/sinter/bench/internal/rig"
)

// Every operation can be made and called more than once.
func TestPrepare(t *testing.T) {
	for _, c := range []rig.Case{
		{Op: "gemm", Mode: "NN", Dims: []int{3, 5, 7}},
		{Op: "gemm", Mode: "NT", Dims: []int{3, 5, 7}},
		{Op: "gemm", Mode: "TN", Dims: []int{3, 5, 7}, BF16: true},
		{Op: "bmm", Dims: []int{2, 3, 5, 7}},
		{Op: "conv", Mode: "forward", Dims: []int{2, 3, 4, 8, 3, 2, 1, 1}},
		{Op: "conv", Mode: "input", Dims: []int{2, 3, 4, 8, 3, 2, 1, 1}},
		{Op: "conv", Mode: "weights", Dims: []int{2, 4, 4, 8, 3, 1, 1, 4}},
		{Op: "softmax", Dims: []int{3, 5}},
		{Op: "layernorm", Dims: []int{3, 5}},
		{Op: "gelu-backward", Dims: []int{35}},
		{Op: "adamw", Dims: []int{35}},
		{Op: "copy", Dims: []int{35}},
		{Op: "mlp-forward", Dims: []int{1, 7, 5, 3}},
	} {
		t.Run(c.Op+c.Mode, func(t *testing.T) {
			run, err := prepare(c)
			if err != nil || run == nil {
				t.Fatalf("nothing to run: %v", err)
			}
			run()
			run()
		})
	}
	if run, err := prepare(rig.Case{Op: "sort", Dims: []int{1}}); run != nil || err != nil {
		t.Errorf("an operation that is not known: %v", err)
	}
}
