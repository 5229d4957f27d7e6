package sinter_test

import (
	"sync"
	"testing"

	"github.com/sinter-dl/sinter"
)

// TestConcurrentEval evaluates graphs of their own, over a shared variable, in several
// goroutines: they share the cache of programs, the pool of buffers and the device.
// The race detector is what makes it strict.
func TestConcurrentEval(t *testing.T) {
	shared := sinter.NewVariable("shared", sinter.FromFloats([]float32{1, 2, 3, 4}, 4))
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			own := sinter.NewVariable("own", sinter.Zeros(sinter.Float32, 4))
			for i := range 30 {
				rows := 1 + i%3 // several programs, which several goroutines want at once
				x := sinter.FromFloats(make([]float32, 4*rows), rows, 4).AddScalar(float64(g))
				own.Assign(own.Value().Add(shared.Value()))
				y := x.Mul(shared.Value()).Sum()
				if err := sinter.EvalAssign([]*sinter.Variable{own}, y); err != nil {
					t.Error(err)
					return
				}
				if got, want := y.Float(), float64(10*g*rows); got != want {
					t.Errorf("goroutine %d, pass %d: %g, want %g", g, i, got, want)
				}
			}
			if got := own.Value().Sum().Float(); got != 300 {
				t.Errorf("goroutine %d: its variable adds up to %g, want 300", g, got)
			}
		})
	}
	wait.Wait()
}
