package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/apart"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

var separate = apart.New()

func init() { device.Register(separate) }

// letters is a short run on rendered letters.
func letters(t *testing.T, sets ...string) *Recipe {
	t.Helper()
	r, err := Load("lenet")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append([]string{"data.examples=256", "epochs=1", "batch=32", "model.kind=mlp", "model.hidden=[16]", "checkpoint.every_steps=3", "checkpoint.sync=true", "optimizer.clip=0"}, sets...) {
		key, value, _ := strings.Cut(s, "=")
		if err := r.Set("test", key, value); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func trained(t *testing.T, r *Recipe, dir string) (*Job, *Result, error) {
	t.Helper()
	j, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	result, err := j.Run(context.Background(), RunOptions{Dir: dir})
	return j, result, err
}

func content(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A recipe names its device; the run says what it was on, what was uploaded, and what it
// says is the same with the examples on the device.
func TestRecipeDevice(t *testing.T) {
	defer func() {
		if err := sinter.SetDevice("cpu"); err != nil {
			t.Error(err)
		}
	}()
	dir := t.TempDir()
	var results []*Result
	for i, r := range []*Recipe{letters(t, "device=cpu"), letters(t, "device=apart:0"), letters(t, "device=apart:0", "data.cache=device")} {
		run := filepath.Join(dir, string(rune('a'+i)))
		j, result, err := trained(t, r, run)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
		m, err := rundir.Read(run)
		if err != nil {
			t.Fatal(err)
		}
		wantModel := map[string]string{"apart:0": "Apart 0"}[r.Device]
		if m.Device != r.Device || result.Device != r.Device || wantModel != "" && (m.Model != wantModel || m.Driver != "1.0") {
			t.Errorf("the run on %s says that it was on %s (%s)", r.Device, m.Device, m.Model)
		}
		if kept := strings.Contains(strings.Join(j.Source.Notes, "\n"), "in the memory of apart:0"); kept != (i == 2) {
			t.Errorf("notes %q", j.Source.Notes)
		}
		if content(t, run, rundir.WeightsFile) != content(t, dir, "a", rundir.WeightsFile) {
			t.Errorf("the run %d has other weights", i) // since that device has the processor's bits
		}
	}
	image := 28*28*4 + 8
	if a, b, c := results[0].UploadedPerStep, results[1].UploadedPerStep, results[2].UploadedPerStep; a != 0 || b < Number(28*image) || b > Number(33*image) || c <= 0 || c > 32*8+1024 {
		t.Errorf("%g, %g and %g bytes uploaded a step; an example has %d", a, b, c, image)
	}
	var line stepRecord
	log := content(t, dir, "b", "metrics.jsonl")
	if err := json.Unmarshal([]byte(log[:strings.Index(log, "\n")]), &line); err != nil || line.Uploaded == 0 {
		t.Errorf("the log begins with %.200s", log)
	}
	if _, err := Prepare(letters(t, "device=apart:2")); !errors.As(err, new(*UsageError)) || !strings.Contains(err.Error(), "1999") {
		t.Error(err)
	}
}

// A run whose device was lost says so with its last checkpoint, and goes on elsewhere.
func TestRecipeDeviceLost(t *testing.T) {
	defer func() {
		if err := sinter.SetDevice("cpu"); err != nil {
			t.Error(err)
		}
	}()
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	if _, _, err := trained(t, letters(t, "device=cpu"), whole); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "lost")
	j, err := Prepare(letters(t, "device=apart:1"))
	if err != nil {
		t.Fatal(err)
	}
	separate.Opened("apart:1").Lose(15)
	result, err := j.Run(context.Background(), RunOptions{Dir: run})
	var gone *train.DeviceError
	if !errors.As(err, &gone) || gone.Checkpoint == "" || result == nil || result.Status != rundir.Failed {
		t.Fatalf("%v, %+v", err, result)
	}
	if _, err := os.Stat(filepath.Join(run, rundir.WeightsFile)); err == nil {
		t.Error("weights were written that nobody could read")
	}
	separate.Revive("apart:1")
	j, err = Resume(run, "", func(r *Recipe) error { return r.Set("--device", "device", "cpu") })
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(j.Source.Notes, "\n"); !strings.Contains(notes, "was on apart:1 and goes on on cpu") {
		t.Errorf("notes %q", notes)
	}
	if _, err := j.Run(context.Background(), RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if content(t, run, rundir.WeightsFile) != content(t, whole, rundir.WeightsFile) {
		t.Error("the run that went on has other weights")
	}
	m, err := rundir.Read(run)
	if err != nil || m.Device != "cpu" || len(m.Resumed) != 1 || m.Resumed[0].Device != "cpu" || m.Status != rundir.Complete {
		t.Errorf("%+v, %v", m, err)
	}
}
