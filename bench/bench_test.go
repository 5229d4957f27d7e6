// Package bench measures Sinter, alone and beside a peer. docs/benchmarks.md says
// what each program is for.
package bench

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/sinter-dl/sinter/bench/internal/workload"
	"github.com/sinter-dl/sinter/format/safetensors"
	"github.com/sinter-dl/sinter/nn"
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
	for _, name := range []string{"mlp", "cnn", "gpt"} {
		t.Run(name, func(t *testing.T) {
			first, last := losses(t, name, 25)
			if !(last < 0.95*first) || math.IsInf(first, 0) {
				t.Errorf("the loss went from %g to %g in 25 steps", first, last)
			}
		})
	}
}

// The others take two steps, the large ones none: what the sides of a comparison
// have lost is compared whenever it is run.
func TestWorkloadsStep(t *testing.T) {
	for _, name := range []string{"mlp-small", "lenet", "lstm"} {
		t.Run(name, func(t *testing.T) {
			if first, last := losses(t, name, 1); math.IsNaN(last) || last == first {
				t.Errorf("the loss went from %g to %g", first, last)
			}
		})
	}
}

// losses is the loss of the first step and the one n steps later.
func losses(t *testing.T, name string, n int) (first, last float64) {
	job, err := workload.New(name)
	if err != nil {
		t.Fatal(err)
	}
	if first, err = job.Steps(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if last, err = job.Steps(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return first, last
}

// What a peer gets to train is what the job trains: the untrained weights, and the
// batches in the order in which the job takes them.
func TestExport(t *testing.T) {
	job, err := workload.MLP(16, 8)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "job.safetensors")
	if err := job.Export(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, v := range nn.State(job.Model) {
		if got, err := f.Read(v.Name); err != nil || !bytes.Equal(got, v.Bytes()) {
			t.Errorf("%s is not what the model has: %v", v.Name, err)
		}
	}
	x, err := f.Read("x")
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for batch := range job.Loader.Batches(t.Context()) {
		want, err := batch.X.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x[i*len(want):(i+1)*len(want)], want) {
			t.Fatalf("batch %d is another", i)
		}
		i++
	}
	if i != job.Loader.Steps() {
		t.Errorf("%d batches", i)
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
