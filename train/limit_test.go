package train

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// letters are n rows of tokens, each the one before and seven.
func letters(t *testing.T, n, block int) data.Dataset {
	t.Helper()
	x, y := make([]int64, n*block), make([]int64, n*block)
	for i := range x {
		x[i], y[i] = int64(i*7%65), int64((i*7+7)%65)
	}
	set, err := data.Arrays(data.Ints("x", x, block), data.Ints("y", y, block))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// pictures are n images of one of ten greys.
func pictures(t *testing.T, n, side int) data.Dataset {
	t.Helper()
	x, y := make([]float32, n*3*side*side), make([]int64, n)
	for i := range x {
		x[i] = float32(i/(3*side*side)%10) + float32(i%7)/10
	}
	for i := range y {
		y[i] = int64(i % 10)
	}
	set, err := data.Arrays(data.Floats("x", x, 3, side, side), data.Ints("y", y))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newTransformer() *models.GPT {
	sinter.Seed(3)
	return models.NewGPT(models.GPTConfig{Vocab: 65, Block: 64, Layers: 4, Heads: 4, Embed: 64})
}

// What was planned is what a run holds.
func TestPlannedMemoryIsMeasured(t *testing.T) {
	for _, accumulate := range []int{1, 4} {
		runtime.GC()
		time.Sleep(20 * time.Millisecond) // results of other tests are let go of
		before := sinter.ReadStats().UsedBytes
		model, set := newTransformer(), letters(t, 16, 64)
		trainer := Trainer{Loss: nn.SequenceCrossEntropy, Optimizer: optim.AdamW{LR: optim.Constant(1e-3)}, Clip: 1, Batch: 16 / accumulate, Accumulate: accumulate, Compile: true}
		plan, err := trainer.PlanMemory(model, set)
		if err != nil {
			t.Fatal(err)
		}
		o, err := trainer.optimizer(model)
		if err != nil {
			t.Fatal(err)
		}
		step := trainer.compile(o, model)
		loader := data.Loader{Dataset: set, Batch: trainer.Batch}
		for batch := range loader.Batches(context.Background()) {
			if accumulate == 1 {
				_, _, err = step.Step(batch.X, batch.Y)
			} else {
				_, _, err = step.Accumulate(1, batch.X, batch.Y)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		stats := sinter.ReadStats()
		if int64(stats.ArenaBytes) != plan.Arena {
			t.Errorf("accumulate %d: an arena of %d bytes, planned %d", accumulate, stats.ArenaBytes, plan.Arena)
		}
		runtime.GC() // the optimizer that the plan was made with
		time.Sleep(20 * time.Millisecond)
		held := float64(sinter.ReadStats().UsedBytes - before)
		planned := float64(plan.Weights + plan.Optimizer + plan.Gradients)
		if held < 0.98*planned || held > 1.02*planned+1<<14 {
			t.Errorf("accumulate %d: variables hold %.0f bytes, planned %.0f", accumulate, held, planned)
		}
		runtime.KeepAlive(model)
		runtime.KeepAlive(o)
	}
}

// The limit is kept, a step stays as large as it was, and what is learned is the same.
func TestFitMemory(t *testing.T) {
	set := letters(t, 32, 64)
	fit := func(limit int64) (*MemoryPlan, *Report, Trainer) {
		t.Helper()
		model := newTransformer()
		trainer := Trainer{Loss: nn.SequenceCrossEntropy, Optimizer: optim.AdamW{LR: optim.Constant(1e-3)}, Batch: 16, Steps: 3, Compile: true}
		p, err := trainer.FitMemory(model, set, limit)
		if err != nil {
			t.Fatal(err)
		}
		r, err := trainer.Fit(context.Background(), model, set, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p, r, trainer
	}
	all, want, _ := fit(1 << 40)
	if all.Batch != 16 || all.Accumulate != 1 || all.Checkpointing != 0 || !strings.Contains(all.String(), "nothing had to be changed") {
		t.Fatalf("a limit that is large enough changed the setting: %v", all)
	}
	for _, share := range []float64{0.8, 0.5, 0.33} {
		limit := int64(share * float64(all.Total()))
		p, r, trainer := fit(limit)
		t.Log(p)
		if p.Total() > limit || p.Batch*p.Accumulate != 16 || p.Batch != trainer.Batch {
			t.Errorf("limit %d: %+v", limit, p)
		}
		if r.Steps != 3 || r.Samples != 48 || !within(r.TrainLoss, want.TrainLoss, 1e-4) {
			t.Errorf("limit %d: %d steps, %d samples, loss %v; without a limit %v", limit, r.Steps, r.Samples, r.TrainLoss, want.TrainLoss)
		}
	}
	model := newTransformer()
	trainer := Trainer{Loss: nn.SequenceCrossEntropy, Batch: 16, Compile: true}
	_, err := trainer.FitMemory(model, set, 1<<20)
	var small *MemoryError
	if !errors.As(err, &small) || small.Least.Total() <= 1<<20 || small.Least.Batch != 1 || trainer.Batch != 16 || model.Checkpointing() != 0 {
		t.Fatalf("a limit of 1 MiB: %v", err)
	}
	if _, err := trainer.FitMemory(model, set, small.Least.Total()); err != nil {
		t.Errorf("the least that would do does not: %v", err)
	}
}

// A model with batch norm keeps its batch where checkpointing is enough.
func TestFitMemoryKeepsBatches(t *testing.T) {
	set := pictures(t, 32, 16)
	model := models.NewResNet(models.ResNetConfig{Depth: 14})
	trainer := Trainer{Loss: nn.CrossEntropy, Metrics: []metric.Metric{metric.Accuracy()}, Batch: 32, Compile: true}
	all, err := trainer.PlanMemory(model, set)
	if err != nil {
		t.Fatal(err)
	}
	p, err := trainer.FitMemory(model, set, all.Total()*8/10)
	if err != nil || p.Batch != 32 || p.Checkpointing == 0 || model.Checkpointing() != p.Checkpointing {
		t.Errorf("%v, %v", p, err)
	}
	t.Log(p)
	if p, err = trainer.FitMemory(model, set, all.Total()/2); err != nil || p.Batch == 32 || p.Batch*p.Accumulate != 32 {
		t.Errorf("%v, %v", p, err)
	}
	t.Log(p)
}

func within(a, b, tolerance float64) bool { return a-b <= tolerance && b-a <= tolerance }
