package recipe

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The recipes resnet20 and gpt, made small, train in every precision, with steps of four
// batches and without: the loss falls, and it is near that of float32.
func TestPrecisions(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("the quick brown fox jumps over the lazy dog. ", 60)), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, small := range map[string]map[string]string{
		"resnet20": {"data.examples": "128", "data.size": "12", "model.depth": "8", "optimizer.lr": "0.02", "epochs": "2"},
		"gpt":      {"data.path": text, "model.layers": "1", "model.width": "16", "model.heads": "2", "model.block": "16", "optimizer.warmup": "0", "eval_every": "1000", "steps": "8"},
	} {
		t.Run(name, func(t *testing.T) {
			losses := func(precision, batch, accumulate string) (first, last float64, skipped int) {
				r, err := Load(name)
				if err != nil {
					t.Fatal(err)
				}
				set := func(key, value string) {
					if err := r.Set("test", key, value); err != nil {
						t.Fatal(err)
					}
				}
				for key, value := range small {
					set(key, value)
				}
				set("precision", precision)
				set("batch", batch)
				set("accumulate", accumulate)
				job, err := Prepare(r)
				if err != nil {
					t.Fatal(err)
				}
				report, err := job.Trainer.Fit(t.Context(), job.Model, job.Source.Train, nil)
				if err != nil {
					t.Fatalf("%s: %v", precision, err)
				}
				if report.Steps != 8 {
					t.Errorf("%d steps in batches of %s, %s a step", report.Steps, batch, accumulate)
				}
				if first = math.Log(27); len(report.History) > 1 { // of guessing letters, or the first epoch
					first = report.History[0].TrainLoss
				}
				return first, report.TrainLoss, report.Skipped
			}
			first, full, _ := losses("fp32", "32", "1")
			if full > first {
				t.Errorf("the loss was %g and is %g", first, full)
			}
			for _, precision := range []string{"fp32", "bf16", "fp16"} {
				whole := full
				if precision != "fp32" {
					var skipped int
					_, whole, skipped = losses(precision, "32", "1")
					if math.Abs(whole-full) > 0.01*full || skipped > 2 {
						t.Errorf("%s: the loss is %g after %d skipped steps, in fp32 %g", precision, whole, skipped, full)
					}
				}
				_, parts, _ := losses(precision, "8", "4")
				near := 1e-4 // what adding up in another order makes of eight steps
				if name == "resnet20" {
					near = 0.1 // batch norm over batches of 8 is another model
				} else if precision != "fp32" {
					near = 1e-3
				}
				if math.Abs(parts-whole) > near*whole {
					t.Errorf("%s: the loss is %g in batches, in steps of four %g", precision, whole, parts)
				}
			}
		})
	}
}
