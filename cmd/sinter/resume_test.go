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
	for _, key := range []string{"seconds", "samples_per_second", "peak_memory_bytes", "run", "energy", "planned"} {
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

// TestContinue gives one command again and again: it begins, goes on after it was stopped
// and killed in the middle of making its folder, and has nothing to do at the end. One
// that stopped by itself is not gone on with.
func TestContinue(t *testing.T) {
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	first := append(strings.Fields(quick), "--epochs", "4")
	must(t, dir, first...)
	run, whole := filepath.Join(dir, "run"), filepath.Join(dir, "whole")
	if err := os.Rename(run, whole); err != nil {
		t.Fatal(err)
	}
	again := append(first, "--continue")
	for _, name := range []string{"metrics.jsonl", "lock", ".run.json.1.tmp"} { // what a kill leaves of a beginning
		write(t, filepath.Join(run, name), nil)
	}
	must(t, dir, again...)
	// As if it had come to its first checkpoint that is left.
	all, err := filepath.Glob(filepath.Join(run, "checkpoints", "step-*"))
	if err != nil || len(all) < 2 {
		t.Fatalf("%d checkpoints: %v", len(all), err)
	}
	for _, c := range all[1:] {
		if err := os.RemoveAll(c); err != nil {
			t.Fatal(err)
		}
	}
	manifest := func(change func(m map[string]any)) {
		t.Helper()
		var m map[string]any
		if err := json.Unmarshal(contents(t, filepath.Join(run, "run.json")), &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(run, "run.json"), text)
	}
	manifest(func(m map[string]any) { m["status"], m["stopped"] = "interrupted", "control.yaml says stop" })
	if o := execute(t, dir, again...); o.status != exitUsage || !strings.Contains(o.stderr, "stopped by itself: control.yaml says stop") {
		t.Errorf("a run that stopped by itself: status %d, %s", o.status, o.stderr)
	}
	manifest(func(m map[string]any) { delete(m, "stopped") })
	if o := must(t, dir, again...); !strings.Contains(o.stderr, "going on after step ") {
		t.Errorf("nothing says where it goes on:\n%s", o.stderr)
	}
	sameRun(t, run, whole)
	if o := must(t, dir, again...); !strings.Contains(o.stderr, "is complete") {
		t.Errorf("nothing is left to do, and it says %s", o.stderr)
	}
	for _, args := range [][]string{append(strings.Fields(quick), "--continue", "--resume", "run"), {"train", "mlp", "--data", "d", "--continue"},
		{"train", "lenet", "--data", "d", "--continue", "--out", "run"}} {
		if o := execute(t, dir, args...); o.status != exitUsage {
			t.Errorf("sinter %v: status %d, %s", args, o.status, o.stderr)
		}
	}
}

// TestLaunched is started as by torchrun.
func TestLaunched(t *testing.T) {
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	t.Setenv("MASTER_ADDR", "localhost")
	t.Setenv("MASTER_PORT", "29500")
	t.Setenv("RANK", "0")
	t.Setenv("LOCAL_RANK", "0")
	for size, status := range map[string]int{"1": 0, "2": exitUsage, "many": exitUsage} {
		t.Setenv("WORLD_SIZE", size)
		o := execute(t, dir, "train", "mlp", "--data", "d", "--steps", "2", "--out", "run")
		if o.status != status || status != 0 && !strings.Contains(o.stderr, "WORLD_SIZE") {
			t.Errorf("WORLD_SIZE=%s: status %d, %s", size, o.status, o.stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "run")); (err == nil) != (status == 0) {
			t.Errorf("WORLD_SIZE=%s left a run: %v", size, err == nil)
		}
		os.RemoveAll(filepath.Join(dir, "run"))
	}
}
