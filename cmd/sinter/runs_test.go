package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// oldRun writes a run folder as a run leaves it.
func oldRun(t *testing.T, dir, status, started, lr string, accuracy float64) {
	t.Helper()
	write(t, filepath.Join(dir, "run.json"), []byte(fmt.Sprintf(`{"format":1,"name":"lenet","status":%q,"started":%q,
		"recipe":{"name":"lenet","optimizer":{"kind":"adam","lr":%s},"epochs":1,"batch":10},
		"data":[{"role":"train","path":"glyphs","examples":1000,"sha256":"0123456789abcdef"}],
		"results":{"steps":100,"epochs":1,"train_loss":0.5,"test_loss":0.6,"metrics":{"accuracy":%g},"seconds":12.5,"parameters":1234}}`, status, started, lr, accuracy)))
	var b strings.Builder
	for step := 1; step <= 100; step++ {
		fmt.Fprintf(&b, `{"event":"step","epoch":1,"step":%d,"loss":%g,"lr":%s,"seconds":%g}`+"\n", step, 50/float64(step), lr, float64(step)/8)
	}
	write(t, filepath.Join(dir, "metrics.jsonl"), []byte(b.String()))
}

func TestRuns(t *testing.T) {
	dir := t.TempDir()
	if o := must(t, dir, "runs", "ls"); !strings.Contains(o.stdout, "no runs in runs") {
		t.Errorf("without runs: %s", o.stdout)
	}
	runs := filepath.Join(dir, "runs")
	oldRun(t, filepath.Join(runs, "lenet-1"), "complete", "2026-01-01T00:00:00Z", "0.1", 0.75)
	oldRun(t, filepath.Join(runs, "lenet-2"), "running", "2026-01-02T00:00:00Z", "0.2", 0.5)
	oldRun(t, filepath.Join(runs, "gpt-1\x1b[31m"), "failed", "2026-01-03T00:00:00Z", "0.2", 0.5)
	write(t, filepath.Join(runs, "broken", "run.json"), []byte("{"))
	write(t, filepath.Join(runs, "papers", "thesis.txt"), []byte("mine"))

	o := must(t, dir, "runs", "ls")
	lines := strings.Split(o.stdout, "\n")
	for i, want := range []string{"RUN", "gpt-1·[31m   failed ", "lenet-2      killed ", "lenet-1      complete   lenet    glyphs   100     accuracy 75.00 %   12.5 s", "broken       damaged", "broken: "} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d of ls is %q, expected %q", i, lines[i], want)
		}
		if i < 5 && utf8.RuneCountInString(lines[i]) > 80 {
			t.Errorf("line %d of ls has more than 80 columns", i)
		}
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(must(t, dir, "runs", "ls", "--json").stdout), &list); err != nil || len(list) != 4 || list[2]["run"] != "lenet-1" || list[3]["error"] == nil {
		t.Errorf("ls --json: %v %v", list, err)
	}

	o = must(t, dir, "runs", "show", "lenet-1")
	for _, want := range []string{"lenet-1   complete", "training loss (smoothed", "\n 50.00 ┤⠡⢄\n", "test accuracy   75.00 %", "optimizer.lr     0.1", "glyphs, 1,000 examples, sha256 0123456789ab…"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("show lacks %q:\n%s", want, o.stdout)
		}
	}
	if o := must(t, dir, "runs", "show"); strings.Contains(o.stdout, "\x1b") || !strings.HasPrefix(o.stdout, "gpt-1·[31m   failed") {
		t.Errorf("the newest: %q", o.stdout)
	}
	if o := must(t, dir, "runs", "show", "broken"); !strings.Contains(o.stdout, "damaged") {
		t.Errorf("the broken one: %s", o.stdout)
	}
	var full map[string]any
	if err := json.Unmarshal([]byte(must(t, dir, "runs", "show", "--json", filepath.Join("runs", "lenet-2")).stdout), &full); err != nil ||
		full["status"] != "killed" || full["settings"].(map[string]any)["optimizer.lr"] != "0.2" {
		t.Errorf("show --json: %v %v", full, err)
	}

	o = must(t, dir, "runs", "compare", "lenet-*")
	for _, want := range []string{"A   lenet-2   killed", "B   lenet-1   complete", "  optimizer.lr   0.2   0.1", "75.00 % *"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("compare lacks %q:\n%s", want, o.stdout)
		}
	}
	if strings.Contains(o.stdout, "batch") {
		t.Errorf("compare shows what does not differ:\n%s", o.stdout)
	}

	// What must not go does not.
	before := files(t, runs)
	link := filepath.Join(runs, "link")
	if err := os.Symlink("lenet-1", link); err == nil {
		before = append(before, link)
		if o := execute(t, dir, "runs", "rm", "--yes", "link"); o.status != 1 || !strings.Contains(o.stderr, "a link") {
			t.Errorf("a link: %d %s", o.status, o.stderr)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"runs", "rm", "lenet-1"}, 2, "--yes"},
		{[]string{"runs", "rm", "--yes", "lenet-1", "broken"}, 1, "cannot be told whether it is a run"},
		{[]string{"runs", "rm", "--yes", "papers"}, 2, "no run"},
		{[]string{"runs", "rm", "--yes", "runs/papers"}, 2, "no run"},
		{[]string{"runs", "rm", "--yes", "."}, 2, "no run"},
		{[]string{"runs", "rm", "--yes", "lenet"}, 2, `"lenet*"`},
		{[]string{"runs", "rm", "--yes", "lenet-[1"}, 2, "no pattern"},
		{[]string{"runs", "rm"}, 2, "takes the runs"},
		{[]string{"runs", "show", "lenet-3"}, 2, `did you mean "lenet-`},
		{[]string{"runs", "compare", "lenet-1"}, 2, "two at least"},
		{[]string{"runs", "lst"}, 2, `did you mean "ls"`},
		{[]string{"runs", "ls", "--dir", "nowhere"}, 1, "nowhere"},
	} {
		if o := execute(t, dir, c.args...); o.status != c.status || !strings.Contains(o.stderr, c.want) {
			t.Errorf("%v: status %d, %s", c.args, o.status, o.stderr)
		}
	}
	if after := files(t, runs); len(after) != len(before) {
		t.Fatalf("removed: %v", after)
	}
	os.Remove(link)
	if o := must(t, dir, "runs", "rm", "--yes", "lenet-*"); strings.Count(o.stdout, "removed ") != 2 {
		t.Errorf("rm: %s", o.stdout)
	}
	left, _ := os.ReadDir(runs)
	if len(left) != 3 {
		t.Errorf("left are %v", left)
	}
}
