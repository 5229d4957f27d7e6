package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var tiny = []string{"mlp", "--set", "data.examples=128", "--set", "model.hidden=16", "--batch", "32"}

func TestTuneLR(t *testing.T) {
	dir := t.TempDir()
	o := must(t, dir, append([]string{"tune", "lr", "--picture", "lr.svg", "--json"}, tiny...)...)
	var r struct {
		Suggestion, Minimum float64
		Points              []struct{ LR, Loss float64 }
	}
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	if len(r.Points) < 50 || r.Suggestion < 1e-4 || r.Suggestion > 0.3 || r.Suggestion >= r.Minimum {
		t.Errorf("%d points, suggestion %g, minimum %g", len(r.Points), r.Suggestion, r.Minimum)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "lr.svg")); err != nil || !bytes.Contains(text, []byte("learning rate")) {
		t.Errorf("the picture: %v", err)
	}
	if o := must(t, dir, append([]string{"tune", "lr"}, tiny...)...); !strings.Contains(o.stdout, "sinter train mlp --lr ") {
		t.Errorf("%s", o.stdout)
	}
	if _, err := os.Stat(filepath.Join(dir, "runs")); err == nil {
		t.Error("a run folder was left")
	}
}

func TestTuneBatch(t *testing.T) {
	o := must(t, t.TempDir(), append([]string{"tune", "batch", "--max", "16", "--json"}, tiny...)...)
	var r struct {
		Batches []struct {
			Batch int
			Speed float64 `json:"samples_per_second"`
			Arena int     `json:"arena_bytes"`
		}
		Knee, Fastest int
	}
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	if len(r.Batches) != 5 || r.Batches[4].Batch != 16 || r.Batches[4].Arena <= r.Batches[0].Arena || r.Knee == 0 || r.Fastest == 0 {
		t.Errorf("%+v", r)
	}
}

func TestTuneSearch(t *testing.T) {
	dir := t.TempDir()
	search := func(out string, more ...string) outcome {
		return must(t, dir, append(append([]string{"tune", "search", "--epochs", "9", "--param", "optimizer.lr=log:1e-4..1e-1", "--param", "model.activation=relu,tanh",
			"--method", "asha", "--trials", "4", "--metric", "accuracy", "--json", "--out", out}, tiny...), more...)...)
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	whole := search("whole")
	lines := bytes.SplitAfter(read("whole/trials.jsonl"), []byte("\n"))
	if len(lines) < 6 { // four trials, one of them promoted, and an empty end
		t.Fatalf("%q", lines)
	}
	var r struct {
		Trials []struct {
			Value float64
			Share float64
			Run   string
		}
	}
	if err := json.Unmarshal([]byte(whole.stdout), &r); err != nil || len(r.Trials) != 4 || r.Trials[0].Share < r.Trials[3].Share {
		t.Errorf("%v in %s", err, whole.stdout)
	}
	for _, name := range []string{"search.png", "search.svg", "trial-003/run.json"} {
		read(filepath.Join("whole", name))
	}

	// One that was killed while it measured goes on to the same measurements: here the
	// last three are forgotten, one of them halfway through its line.
	search("cut")
	cut := filepath.Join(dir, "cut", "trials.jsonl")
	kept := bytes.Join(lines[:len(lines)-4], nil)
	kept = append(kept, lines[len(lines)-4][:10]...)
	if err := os.WriteFile(cut, kept, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "cut", "trial-003")); err != nil {
		t.Fatal(err)
	}
	again := must(t, dir, "tune", "search", "--resume", "cut", "--json")
	if !bytes.Equal(read("cut/trials.jsonl"), read("whole/trials.jsonl")) {
		t.Errorf("it went on otherwise:\n%s\n%s", read("cut/trials.jsonl"), read("whole/trials.jsonl"))
	}
	if got := strings.ReplaceAll(again.stdout, "cut", "whole"); got != whole.stdout {
		t.Errorf("the ranking became\n%s\nit was\n%s", got, whole.stdout)
	}
}

func TestTuneMistakes(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "full", "x"), 0o777); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"tune find":                                       "unknown command",
		"tune lr":                                         "missing RECIPE",
		"tune lr mlp --min 1 --max 0.1":                   "expected 0 < from < to",
		"tune batch mlp --memory much":                    "expected a number of bytes with a unit",
		"tune search mlp":                                 "nothing to search",
		"tune search mlp --param batch":                   "no key and values",
		"tune search mlp --param bach=1,2":                `unknown key "bach"; did you mean "batch"`,
		"tune search mlp --param batch=1,x":               `batch is "x", expected a whole number`,
		"tune search mlp --param batch=1,2 --method best": "unknown method",
		"tune search mlp --param batch=1,2 --metric acuracy --set data.examples=64": `there is no "acuracy"`,
		"tune search mlp --param batch=1,2 --set data.examples=64 --out full":       "full is not empty",
		"tune search --resume full": "no search to go on with",
	} {
		o := execute(t, dir, strings.Fields(args)...)
		status := 2
		if strings.Contains(args, "--min") {
			status = 1
		}
		if o.status != status || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: status %d\n%s\nexpected %q", args, o.status, o.stderr, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left %v", entries)
	}
}
