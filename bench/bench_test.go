// Package bench measures Sinter, alone and beside a peer. docs/benchmarks.md says
// what each program is for.
package bench

import (
	"context"
	"math"
	"runtime"
	"testing"

	"github.com/sinter-dl/sinter/bench/internal/workload"
)

func BenchmarkMLPStep(b *testing.B) { benchmark(b, "mlp") }
func BenchmarkCNNStep(b *testing.B) { benchmark(b, "cnn") }
func BenchmarkGPTStep(b *testing.B) { benchmark(b, "gpt") }

// benchmark times whole training steps, from the batch to the updated weights.
func benchmark(b *testing.B, name string) {
	job, err := workload.New(name)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := job.Steps(b.Context(), 3); err != nil { // the first compiles
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := job.Steps(b.Context(), b.N); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}

// The workloads are what the published figures were measured with, so they have
// to train.
func TestWorkloadsLearn(t *testing.T) {
	for _, name := range workload.Names {
		t.Run(name, func(t *testing.T) {
			job, err := workload.New(name)
			if err != nil {
				t.Fatal(err)
			}
			first, err := job.Steps(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			last, err := job.Steps(t.Context(), 25)
			if err != nil {
				t.Fatal(err)
			}
			if !(last < 0.95*first) || math.IsInf(first, 0) {
				t.Errorf("the loss went from %g to %g in 25 steps", first, last)
			}
		})
	}
}

// A step records its graph anew, which takes a fixed number of small objects from
// Go's heap; tensors live in the program's arena and in the variables' storage.
func TestAllocationsDoNotGrowWithTensors(t *testing.T) {
	small, large := heapPerStep(t, 16, 8), heapPerStep(t, 256, 64)
	if large > 1.05*small+1024 {
		t.Errorf("a step takes %.0f bytes from the heap with tensors up to 256 times larger, %.0f with small ones", large, small)
	}
}

func heapPerStep(t *testing.T, hidden, batch int) float64 {
	job, err := workload.MLP(hidden, batch)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := job.Steps(ctx, 20); err != nil {
		t.Fatal(err)
	}
	const steps = 50
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := job.Steps(ctx, steps); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / steps
}
