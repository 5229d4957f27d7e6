package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// small is a training run of a second, in steps of 64 of 256 examples.
func small(more ...string) []string {
	return append([]string{"train", "mlp", "--set", "data.examples=256", "--set", "model.hidden=16", "--batch", "64", "--out", "run", "--json"}, more...)
}

func outcomeOf(t *testing.T, o outcome) (r struct {
	Epochs, Steps int
	Stopped       string
	Metrics       map[string]float64
}) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	return r
}

func TestEarlyStopping(t *testing.T) {
	dir := t.TempDir()
	o := must(t, dir, small("--epochs", "9", "--patience", "2", "--set", "early_stopping.min_delta=10", "--set", "early_stopping.restore_best=true", "--set", "ema=0.5", "--set", "csv=true")...)
	if r := outcomeOf(t, o); r.Epochs != 3 || r.Steps != 12 || !strings.Contains(r.Stopped, "early stopping: test_loss has not improved on") {
		t.Errorf("%+v", r)
	}
	table, err := os.ReadFile(filepath.Join(dir, "run", "metrics.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	if len(lines) != 4 && !strings.HasPrefix(lines[0], "epoch,step,seconds,lr,loss,train_loss,train_accuracy,test_loss,accuracy") {
		t.Errorf("metrics.csv:\n%s", table)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name          string
		flags         []string
		epochs, steps int
		says          string
	}{
		{"one step", []string{"--fast-dev-run"}, 1, 1, "testing is limited to its first 51 examples of 51"},
		{"short epochs", []string{"--epochs", "2", "--set", "limits.steps_per_epoch=3"}, 2, 6, ""},
		{"overfit", []string{"--overfit", "1", "--epochs", "60", "--lr", "0.01"}, 60, 60, "training is limited to its first 64 examples of 256"},
		{"time", []string{"--epochs", "100000", "--max-time", "300ms"}, 0, 0, ""},
	} {
		o := must(t, t.TempDir(), small(c.flags...)...)
		r := outcomeOf(t, o)
		if c.epochs > 0 && (r.Epochs != c.epochs || r.Steps != c.steps) {
			t.Errorf("%s: %d epochs of %d steps in all, expected %d and %d", c.name, r.Epochs, r.Steps, c.epochs, c.steps)
		}
		switch c.name {
		case "overfit":
			if !strings.Contains(o.stderr, c.says) || r.Metrics["accuracy"] < 0.95 {
				t.Errorf("overfitting gave the accuracy %.3f\n%s", r.Metrics["accuracy"], o.stderr)
			}
		case "time":
			if !strings.Contains(r.Stopped, "time limit of 300ms") {
				t.Errorf("stopped: %q", r.Stopped)
			}
		}
	}
}

func TestCallbackMistakes(t *testing.T) {
	for set, want := range map[string]string{
		"early_stopping.mode=max":   "early_stopping needs early_stopping.patience",
		"early_stopping.patience=0": "early_stopping.patience is \"0\", expected at least 1",
		"max_time=soon":             "expected a duration such as 90s",
		"swa=0.5 ema=0.9":           "two averages",
		"early_stopping.patience=2 early_stopping.monitor=acuracy": `there is no "acuracy" in this run; did you mean "accuracy"`,
		"reduce_lr.patience=2 reduce_lr.factor=1":                  "reduce_lr.factor is \"1\", expected below 1",
	} {
		var flags []string
		for _, s := range strings.Fields(set) {
			flags = append(flags, "--set", s)
		}
		dir := t.TempDir()
		if o := execute(t, dir, small(flags...)...); o.status != 2 || !strings.Contains(strings.ReplaceAll(o.stderr, `\"`, `"`), want) {
			t.Errorf("%s: status %d\n%s\nexpected %q", set, o.status, o.stderr, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
			t.Errorf("%s: a run folder was left", set)
		}
	}
}
