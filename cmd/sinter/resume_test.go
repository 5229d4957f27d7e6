package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// quick is a run of a second or less that has all that a resumed run depends on.
const quick = "train mlp --data d --batch 16 --seed 3 --json --set model.dropout=0.3 --set model.hidden=[16] --set optimizer.schedule=cosine" +
	" --set metrics=[accuracy,top2] --set ema=0.9 --set checkpoint.every_steps=7 --set eval_every=5 --out run"

// logged are the lines of a run's log about steps and evaluations, without what depends
// on the time.
func logged(t *testing.T, run string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(run, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%s: %v in %q", run, err, line)
		}
		if record["event"] == "checkpoint" { // when one is on the disk is a matter of time
			continue
		}
		for _, key := range []string{"seconds", "samples_per_second", "memory", "power", "energy", "joules_per_sample"} {
			delete(record, key)
		}
		if extra, ok := record["logged"].(map[string]any); ok {
			if delete(extra, "steps_per_second"); len(extra) == 0 {
				delete(record, "logged")
			}
		}
		stable, _ := json.Marshal(record)
		lines = append(lines, string(stable))
	}
	return lines
}

func contents(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// history is what a run's results say, without what depends on the time.
func results(t *testing.T, run string) string {
	t.Helper()
	var m struct {
		Status  string
		Results map[string]any
	}
	if err := json.Unmarshal(contents(t, filepath.Join(run, "run.json")), &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"seconds", "samples_per_second", "peak_memory_bytes", "run", "energy"} {
		delete(m.Results, key)
	}
	return fmt.Sprint(m)
}

// sameRun expects the same weights, log and results.
func sameRun(t *testing.T, got, want string) {
	t.Helper()
	if !bytes.Equal(contents(t, filepath.Join(got, "model.safetensors")), contents(t, filepath.Join(want, "model.safetensors"))) {
		t.Errorf("%s has other weights than %s", got, want)
	}
	if a, b := logged(t, got), logged(t, want); !slices.Equal(a, b) {
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Errorf("line %d of the log is %s, expected %s", i+1, a[i], b[i])
				break
			}
		}
		t.Errorf("the log of %s has %d lines, that of %s %d", got, len(a), want, len(b))
	}
	if a, b := results(t, got), results(t, want); a != b {
		t.Errorf("the results of %s are %s, expected %s", got, a, b)
	}
}

// TestKilled kills the command at random moments, whatever it is doing, and goes on:
// every time that succeeds, and it ends in the weights, the log and the results of a run
// that was left alone. SINTER_KILLS is the number of kills.
func TestKilled(t *testing.T) {
	kills := 8
	if v := os.Getenv("SINTER_KILLS"); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil {
			t.Fatalf("SINTER_KILLS=%q is no number", v)
		}
	}
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	first := append(strings.Fields(quick), "--epochs", "100")
	begun := time.Now()
	must(t, dir, first...)
	whole := time.Since(begun)
	if err := os.Rename(filepath.Join(dir, "run"), filepath.Join(dir, "whole")); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d kills in runs of %v, seed %d", kills, whole, seed)
	g := rand.New(rand.NewPCG(seed, 0))
	run := filepath.Join(dir, "run")
	resumed, fromCheckpoint := 0, 0
	for killed := 0; ; {
		args := first
		if _, err := os.Stat(filepath.Join(run, "run.json")); err == nil {
			args = []string{"train", "--resume", "run", "--json"}
			resumed++
		} else if err := os.RemoveAll(run); err != nil { // killed before there was anything
			t.Fatal(err)
		}
		c := exec.Command(built, args...)
		c.Dir = dir
		var stderr bytes.Buffer
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		var err error
		if killed < kills {
			select {
			case err = <-ended:
			case <-time.After(time.Duration(g.Float64() * float64(whole) * 0.7)):
				c.Process.Kill()
				err = <-ended
			}
		} else {
			err = <-ended
		}
		if strings.Contains(stderr.String(), "going on after step") {
			fromCheckpoint++
		}
		if c.ProcessState.ExitCode() == -1 { // by the signal
			killed++
			continue
		}
		if err != nil {
			t.Fatalf("after %d kills, %v: %v\n%s", killed, args, err, stderr.String())
		}
		sameRun(t, run, filepath.Join(dir, "whole"))
		if left, _ := filepath.Glob(filepath.Join(run, "checkpoints", ".*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if killed == kills || t.Failed() {
			break
		}
		if err := os.RemoveAll(run); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d runs went on, %d of them from a checkpoint", resumed, fromCheckpoint)
}

// TestStopAndResume sends SIGTERM, looks at what is left, and goes on; then it makes the
// run longer.
func TestStopAndResume(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt on Windows")
	}
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	run, whole := filepath.Join(dir, "run"), filepath.Join(dir, "whole")
	long := append(strings.Fields(quick), "--epochs", "120", "--set", "optimizer.schedule=constant")
	must(t, dir, long...)
	if err := os.Rename(run, whole); err != nil {
		t.Fatal(err)
	}

	c := exec.Command(built, long...)
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for wait := time.Now(); time.Since(wait) < 20*time.Second; time.Sleep(2 * time.Millisecond) {
		if all, _ := filepath.Glob(filepath.Join(run, "checkpoints", "step-*")); len(all) > 0 {
			break
		}
	}
	// It holds still, lest it comes to its end. Another run into the folder is refused,
	// whichever way.
	if err := pause(c.Process); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{long, {"train", "--resume", "run"}} {
		if o := execute(t, dir, args...); o.status != 1 || !strings.Contains(o.stderr, fmt.Sprintf("process %d on ", c.Process.Pid)) || !strings.Contains(o.stderr, "since ") {
			t.Errorf("a second run: status %d, %s", o.status, o.stderr)
		}
	}
	c.Process.Signal(syscall.SIGTERM)
	if err := proceed(c.Process); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if status := c.ProcessState.ExitCode(); status != exitStopped || !strings.Contains(lastLine(stderr.String()), "sinter train --resume run") {
		t.Fatalf("status %d, %s", status, lastLine(stderr.String()))
	}
	if text := contents(t, filepath.Join(run, "run.json")); !strings.Contains(string(text), `"status": "interrupted"`) {
		t.Errorf("run.json: %s", text)
	}
	must(t, dir, "eval", "run", "--data", "d") // the weights are whole
	o := must(t, dir, "train", "--resume", "run", "--json")
	if !strings.Contains(o.stderr, "going on after step ") {
		t.Errorf("nothing says where it goes on:\n%s", o.stderr)
	}
	sameRun(t, run, whole)

	if o := must(t, dir, "train", "--resume", "run"); !strings.Contains(o.stderr, "run is complete: it has made its 480 steps") {
		t.Errorf("a finished run: %+v", o)
	}
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"train --resume run --lr 0.5", 2, "optimizer.lr was 0.001 and cannot become 0.5"},
		{"train --resume run --out other", 2, "--out"},
		{"train --resume run lenet", 2, "RECIPE"},
		{"train --from step-3", 2, "--resume"},
		{"train --resume d", 1, "not a run folder"},
		{"train --resume run --from step-77777", 1, "there is no checkpoint"},
		{"train --resume run --epochs 0", 2, "--epochs"},
	} {
		if o := execute(t, dir, strings.Fields(c.args)...); o.status != c.status || !strings.Contains(lastLine(o.stderr), c.want) {
			t.Errorf("%s: status %d, %s", c.args, o.status, lastLine(o.stderr))
		}
	}
	// Longer, and the same as if it had been from the beginning.
	must(t, dir, "train", "--resume", "run", "--epochs", "130", "--json")
	if err := os.Rename(run, filepath.Join(dir, "longer")); err != nil {
		t.Fatal(err)
	}
	must(t, dir, append(long, "--epochs", "130")...)
	sameRun(t, filepath.Join(dir, "longer"), run)

	// Other data.
	write(t, filepath.Join(dir, "d", "train-labels-idx1-ubyte.gz"), idx(64, false)[:40])
	content := mnistLike(t, filepath.Join(dir, "d"))
	write(t, filepath.Join(dir, "d", "train-images-idx3-ubyte.gz"), changed(t, content["train-images-idx3-ubyte.gz"]))
	if o := execute(t, dir, "train", "--resume", "run", "--epochs", "140"); o.status != 1 || !strings.Contains(o.stderr, "other data: that had the SHA-256 ") || strings.Count(lastLine(o.stderr), "SHA-256") != 1 {
		t.Errorf("with other data: %+v", o)
	}
}

// changed is an IDX file of 64 images with another pixel.
func changed(t *testing.T, _ []byte) []byte {
	raw := make([]byte, 16+64*784)
	copy(raw, []byte{0, 0, 8, 3, 0, 0, 0, 64, 0, 0, 0, 28, 0, 0, 0, 28})
	raw[1000] = 7
	return zipped(raw)
}
