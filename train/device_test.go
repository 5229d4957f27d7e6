package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/backend/apart"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

var separate = apart.New()

func init() { device.Register(separate) }

// on runs the test on a device, and leaves the one that was in use.
func on(t *testing.T, name string) {
	t.Helper()
	before := sinter.DeviceName()
	if err := sinter.SetDevice(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sinter.SetDevice(before); err != nil {
			t.Error(err)
		}
	})
}

func switchTo(t *testing.T, name string) {
	t.Helper()
	if err := sinter.SetDevice(name); err != nil {
		t.Fatal(err)
	}
}

// A device that is lost ends the run with the last checkpoint named, wherever it was
// found out; and from there the run goes on on another device, to the same end.
func TestDeviceLost(t *testing.T) {
	on(t, "cpu")
	set := line(t, 64)
	trainer := Trainer{
		Loss: nn.MSE, Optimizer: optim.Adam{LR: optim.Constant(1e-2)}, Metrics: []metric.Metric{metric.MAE()},
		Batch: 8, Epochs: 3, Seed: 1, Compile: true, Checkpoint: Checkpoint{EverySteps: 4, Sync: true},
	}
	fit := func(dir string, resume bool) (any, *Report, error) {
		sinter.Seed(7)
		model := newMoody(false)
		tr := trainer
		tr.Checkpoint.Dir, tr.Checkpoint.Resume = dir, resume
		report, err := tr.Fit(context.Background(), model, set, set)
		return model, report, err
	}
	model, _, err := fit(filepath.Join(t.TempDir(), "whole"), false)
	if err != nil {
		t.Fatal(err)
	}
	want := weights(model)
	for _, after := range []int{20, 31, 40, 61} { // in the midst of steps and in evaluations
		dir := filepath.Join(t.TempDir(), "lost")
		switchTo(t, "apart:0")
		separate.Opened("apart:0").Lose(after)
		_, report, err := fit(dir, false)
		var gone *DeviceError
		if !errors.As(err, &gone) || !errors.As(err, new(*sinter.DeviceLostError)) {
			t.Fatalf("after %d programs: %v", after, err)
		}
		if report == nil || gone.Step != report.Steps+1 || gone.Checkpoint == "" || !strings.Contains(err.Error(), gone.Checkpoint) || !strings.Contains(err.Error(), "apart:0") {
			t.Errorf("%v with the report %+v", err, report)
		}
		switchTo(t, "cpu")
		model, _, err := fit(dir, true)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(weights(model), want) {
			t.Errorf("after %d programs: the run that went on has other weights", after)
		}
		separate.Revive("apart:0")
	}
}

// A step that does not fit ends the run with what holds the memory and what would fit;
// and that does.
func TestDeviceFull(t *testing.T) {
	on(t, "apart:1")
	d := separate.Opened("apart:1")
	set := pictures(t, 64, 64)
	trainer := Trainer{Loss: nn.CrossEntropy, Optimizer: optim.SGD{LR: optim.Constant(1e-3)}, Batch: 64, Steps: 2, Compile: true}
	model := nn.NewSequential(nn.Flatten{}, nn.NewLinear(3*64*64, 10))
	sinter.EmptyCache()
	d.SetLimit(d.Used() + 2<<20) // a batch takes three
	defer d.SetLimit(4 << 30)
	_, err := trainer.Fit(context.Background(), model, set, nil)
	var full *sinter.MemoryError
	if !errors.As(err, &full) {
		t.Fatal(err)
	}
	if weights := int64(3*64*64*10*4 + 40); full.Variables < weights || full.Wanted != 64*3*64*64*4 {
		t.Errorf("%+v", full)
	}
	_, fits, ok := strings.Cut(err.Error(), "what would fit: batches of ")
	var batch, accumulate int
	if n, _ := fmt.Sscanf(fits, "%d, %d of which", &batch, &accumulate); !ok || n != 2 || batch*accumulate != 64 {
		t.Fatal(err)
	}
	trainer.Batch, trainer.Accumulate = batch, accumulate
	if _, err := trainer.Fit(context.Background(), model, set, nil); err != nil {
		t.Errorf("batches of %d do not fit: %v", batch, err)
	}
}

// Examples that are kept on the device give the same run, with little to upload.
func TestCacheOnDevice(t *testing.T) {
	for _, name := range []string{"cpu", "apart:1"} {
		t.Run(name, func(t *testing.T) {
			on(t, name)
			images := pictures(t, 50, 16)
			kept, err := data.CacheDevice(context.Background(), images, 0)
			if err != nil {
				t.Fatal(err)
			}
			run := func(set data.Dataset) ([]byte, *Report) {
				sinter.Seed(5)
				model := nn.NewSequential(nn.Flatten{}, nn.NewLinear(3*16*16, 10))
				trainer := Trainer{Loss: nn.CrossEntropy, Metrics: []metric.Metric{metric.Accuracy()}, Batch: 8, Epochs: 3, Seed: 2, Compile: true}
				report, err := trainer.Fit(context.Background(), model, set, set)
				if err != nil {
					t.Fatal(err)
				}
				return weights(model), report
			}
			w, a := run(images)
			v, b := run(kept)
			if !bytes.Equal(w, v) || a.TestLoss != b.TestLoss || a.TrainLoss != b.TrainLoss {
				t.Errorf("losses %g and %g, with the cache %g and %g", a.TrainLoss, a.TestLoss, b.TrainLoss, b.TestLoss)
			}
			if name == "cpu" {
				if a.UploadedPerStep != 0 || b.UploadedPerStep != 0 {
					t.Errorf("%g and %g bytes uploaded to the processor", a.UploadedPerStep, b.UploadedPerStep)
				}
				return
			}
			example := 3*16*16*4 + 8
			if got := a.UploadedPerStep; got < float64(50*example)/7 || got > float64(9*example) {
				t.Errorf("%g bytes uploaded a step, %d for an example", got, example)
			}
			if got := b.UploadedPerStep; got < 50*8/7. || got > 8*8+5*64 {
				t.Errorf("%g bytes uploaded a step with the cache", got)
			}
		})
	}
}
