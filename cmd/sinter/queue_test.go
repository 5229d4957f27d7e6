package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/hardware/telemetry"
)

// queueOf lists a queue by its JSON.
func queueOf(t *testing.T, dir string) (list struct {
	Daemon  bool
	Notices []struct{ Text string }
	Jobs    []struct {
		ID                       int
		State, Reason, Why, Name string
		PID                      int
		Run                      string
		Args                     []string
	}
}) {
	t.Helper()
	o := must(t, dir, "queue", "ls", "--json", "--db", "q.db")
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil {
		t.Fatalf("%v: %s", err, o.stdout)
	}
	return list
}

// TestQueue queues a run, has it paused by hand, by the end of the daemon and by a kill of
// both, and compares what comes out with a run that was left alone, byte by byte.
func TestQueue(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent SIGTERM on Windows")
	}
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	long := append(strings.Fields(strings.Replace(quick, " --json", "", 1)), "--epochs", "300")
	must(t, dir, long...)
	if err := os.Rename(filepath.Join(dir, "run"), filepath.Join(dir, "whole")); err != nil {
		t.Fatal(err)
	}
	// The recipe is changed after the job was added; the job is what it was.
	mlp := must(t, dir, "recipe", "show", "mlp").stdout
	write(t, filepath.Join(dir, "mine.yaml"), []byte(mlp))
	args := append([]string{"queue", "add", "mine.yaml", "--db", "q.db", "--device", "cpu"}, long[2:]...)
	if o := must(t, dir, args...); !strings.Contains(o.stdout, "job 1: sinter train mine.yaml ") || !strings.Contains(o.stderr, "no daemon runs") {
		t.Errorf("added: %+v", o)
	}
	write(t, filepath.Join(dir, "mine.yaml"), []byte("broken: ["))

	var stderr bytes.Buffer
	daemon := func() *exec.Cmd {
		t.Helper()
		c := exec.Command(built, "queued", "--db", "q.db")
		c.Dir, c.Stderr = dir, &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if c.ProcessState == nil {
				c.Process.Signal(syscall.SIGTERM)
				c.Wait()
			}
		})
		return c
	}
	until := func(state string, besides func() bool) {
		t.Helper()
		for begun := time.Now(); time.Since(begun) < 40*time.Second; time.Sleep(20 * time.Millisecond) {
			if j := queueOf(t, dir).Jobs[0]; j.State == state && (besides == nil || besides()) {
				return
			}
		}
		t.Fatalf("the job is not %s: %+v\n%s", state, queueOf(t, dir).Jobs[0], stderr.String())
	}
	steps := func() string { return newest(filepath.Join(dir, "run", "checkpoints", "step-*")) }
	last := ""
	further := func() bool { s := steps(); return s != last && s != "" }

	first := daemon()
	until("running", further)
	if o := execute(t, dir, "queued", "--db", "q.db"); o.status != 1 || !strings.Contains(o.stderr, fmt.Sprintf("another daemon: process %d on ", first.Process.Pid)) {
		t.Errorf("a second daemon: %+v", o)
	}
	if o := must(t, dir, "queue", "pause", "1", "--db", "q.db"); !strings.Contains(o.stdout, "job 1 writes a checkpoint and stops") {
		t.Errorf("pause: %+v", o)
	}
	until("paused", nil)
	if o := must(t, dir, "queue", "why", "1", "--db", "q.db"); o.stdout != "job 1 is held: it was paused by hand; 'sinter queue resume 1' releases it\n" {
		t.Errorf("why: %+v", o)
	}
	last = steps()
	must(t, dir, "queue", "resume", "1", "--db", "q.db")
	until("running", further)

	first.Process.Signal(syscall.SIGTERM)
	if err := first.Wait(); err != nil && first.ProcessState.ExitCode() != exitStopped {
		t.Errorf("the daemon: %v\n%s", err, stderr.String())
	}
	if j := queueOf(t, dir).Jobs[0]; j.State != "paused" || !strings.Contains(j.Reason, "the daemon has ended") {
		t.Errorf("after the daemon has ended: %+v", j)
	}
	last = steps()
	second := daemon()
	until("running", further)
	child := queueOf(t, dir).Jobs[0].PID
	second.Process.Kill()
	second.Wait()
	if p, err := os.FindProcess(child); err != nil || p.Kill() != nil {
		t.Fatalf("process %d: %v", child, err)
	}
	daemon()
	until("done", nil)
	sameRun(t, filepath.Join(dir, "run"), filepath.Join(dir, "whole"))
	if o := must(t, dir, "queue", "log", "1", "--db", "q.db"); !strings.Contains(o.stdout, "job 1: pausing, it was paused by hand") || strings.Count(o.stdout, "sinter train ") < 4 || !strings.Contains(o.stdout, "test accuracy") {
		t.Errorf("log: %s", o.stdout)
	}
	if o := must(t, dir, "queue", "log", "-f", "1", "--db", "q.db"); !strings.Contains(o.stdout, "test accuracy") { // it ends, as the job has
		t.Errorf("log -f: %s", o.stdout)
	}
	must(t, dir, "queue", "rm", "1", "--db", "q.db")
	if list := queueOf(t, dir); len(list.Jobs) != 0 {
		t.Errorf("after rm: %+v", list)
	}
	if _, err := os.Stat(filepath.Join(dir, "q.db.d", "1")); !os.IsNotExist(err) {
		t.Errorf("after rm its folder is left: %v", err)
	}
}

// newest is the last of the files that a pattern finds, in the order of their numbers.
func newest(pattern string) string {
	all, _ := filepath.Glob(pattern)
	best := ""
	for _, f := range all {
		if len(f) > len(best) || len(f) == len(best) && f > best {
			best = f
		}
	}
	return best
}

func TestQueueUsage(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prices.csv"), []byte("time,EUR/kWh\n2026-01-10T00:00:00Z,0.1\n2026-01-10T01:00:00Z,0.2\n"))
	write(t, filepath.Join(dir, "gap.csv"), []byte("time,EUR/kWh\n2026-01-10T00:00:00Z,0.1\n2026-01-10T01:00:00Z,0.2\n2026-01-10T03:00:00Z,0.2\n"))
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"queue add lent", 2, `did you mean "lenet"`},
		{"queue add lenet extra", 2, "takes one recipe"},
		{"queue add lenet --epochs x", 2, "--epochs"},
		{"queue add lenet --window 23:00-23:00", 2, "never opens"},
		{"queue add lenet --window=23:00-06:00_Paris", 2, "23:00-06:00_Paris"},
		{"queue add lenet --min-memory lots", 2, "is no size"},
		{"queue add lenet --deadline yesterday", 2, "is no time to come"},
		{"queue add lenet --deadline 2020-01-01", 2, "has passed"},
		{"queue add lenet --cheap prices.csv", 2, "give its length"},
		{"queue add lenet --green prices.csv --length 1h", 2, "is a series in EUR/kWh"},
		{"queue add lenet --cheap gap.csv --length 1h", 1, "gap"},
		{"queue add lenet --retries -1", 2, "expected 0 or more"},
		{"queue add lenet --env NO_SUCH_VARIABLE", 2, "there is no such variable"},
		{"queue why 7", 1, "job 7 is not in the queue"},
		{"queue pause seven", 2, `"seven" is no job`},
		{"queue rm", 2, "takes the numbers of jobs"},
		{"queue run-now 7 --budget much", 2, "--budget"},
		{"queue lss", 2, `did you mean "ls"`},
		{"queued extra", 2, "unexpected argument"},
	} {
		o := execute(t, dir, append(strings.Fields(c.args), "--db", "q.db")...)
		if o.status != c.status || !strings.Contains(o.stderr, c.want) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %s; want %d, %s", c.args, o.status, o.stderr, c.status, c.want)
		}
	}
	o := must(t, dir, "queue", "add", "lenet", "--db", "q.db", "--device", "nowhere:0", "--window", "Mon-Fri 23:00-06:00 Europe/Paris", "--name", strings.Repeat("long", 10), "--priority", "3")
	o = must(t, dir, "queue", "ls", "--db", "q.db")
	for line := range strings.Lines(o.stdout) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	// Held and released, and cancelled, without a daemon.
	must(t, dir, "queue", "pause", "1", "--db", "q.db")
	if o := must(t, dir, "queue", "ls", "--db", "q.db"); !strings.Contains(o.stdout, "held") {
		t.Errorf("ls: %s", o.stdout)
	}
	if o := must(t, dir, "queue", "run-now", "1", "--db", "q.db"); !strings.Contains(o.stdout, "as soon as a device is free") {
		t.Errorf("run-now: %s", o.stdout)
	}
	if o := must(t, dir, "queue", "rm", "1", "--db", "q.db"); o.stdout != "job 1 is cancelled\n" {
		t.Errorf("rm: %s", o.stdout)
	}
	// A broken database is kept aside, and ls and log say so.
	write(t, filepath.Join(dir, "q.db"), []byte("broken"))
	if o := must(t, dir, "queue", "ls", "--db", "q.db"); !strings.Contains(o.stderr, "q.db.damaged-") {
		t.Errorf("broken: %+v", o)
	}
	must(t, dir, "queue", "add", "lenet", "--db", "q.db")
	if o := must(t, dir, "queue", "log", "1", "--db", "q.db"); !strings.Contains(o.stderr, "q.db.damaged-") || !strings.Contains(o.stdout, "job 1: queued") {
		t.Errorf("log: %+v", o)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "q.db.damaged-*")); len(aside) != 1 || string(contents(t, aside[0])) != "broken" {
		t.Errorf("kept: %v", aside)
	}
}

func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 1, 10, 12, 30, 0, 0, zone) // a Saturday
	for text, want := range map[string]string{
		"":                          "0001-01-01T00:00:00Z",
		"13:00":                     "2026-01-10T13:00:00+01:00",
		"12:30":                     "2026-01-11T12:30:00+01:00",
		"Fri 08:00":                 "2026-01-16T08:00:00+01:00",
		"saturday 12:00":            "2026-01-17T12:00:00+01:00",
		"tomorrow 07:00":            "2026-01-11T07:00:00+01:00",
		"3h":                        "2026-01-10T15:30:00+01:00",
		"+90m":                      "2026-01-10T14:00:00+01:00",
		"2026-02-01":                "2026-02-01T00:00:00+01:00",
		"2026-02-01 08:15":          "2026-02-01T08:15:00+01:00",
		"2026-02-01T08:15:00+05:00": "2026-02-01T08:15:00+05:00",
	} {
		if got, err := parseMoment(text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"soon", "25:00", "Fri", "Foo 08:00", "-3h", "today 12:00"} {
		if got, err := parseMoment(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestDevicesOfQueue(t *testing.T) {
	list := &deviceList{Auto: "cuda:0", Devices: []deviceEntry{
		{Name: "cuda:0", Backend: "cuda", Model: "A100", Kind: "gpu", MemoryTotal: 80}, {Name: "cuda:1", Backend: "cuda", Model: "A100", Kind: "gpu", MemoryTotal: 80},
		{Name: "opencl:0", Backend: "opencl", Model: "A100", Kind: "gpu"}, {Name: "opencl:1", Backend: "opencl", Model: "A100", Kind: "gpu"},
		{Name: "opencl:2", Backend: "opencl", Model: "pocl", Kind: "cpu"}, {Name: "cpu", Backend: "cpu", Kind: "cpu"},
	}}
	cut := telemetry.Reading{Device: "cuda:1", Slices: []telemetry.Reading{
		{UUID: "MIG-a", Model: "NVIDIA A100 MIG 1g.10gb", MemoryTotal: telemetry.Value{V: 10, OK: true}}, {UUID: "MIG-b", Model: "NVIDIA A100 MIG 3g.40gb"},
	}}
	var got []string
	for _, d := range devicesOf(list, []telemetry.Reading{{Device: "cuda:0"}, cut}) {
		got = append(got, fmt.Sprintf("%s=%s/%s/%d/%v", d.Name, d.Unit, d.Slice, d.Memory, d.Auto))
	}
	want := "cuda:0=//80/true cuda:MIG-a=/1g.10gb/10/true cuda:MIG-b=/3g.40gb/0/true opencl:0=cuda:0//0/false opencl:1=cuda:1//0/false opencl:2=cpu//0/false cpu=//0/false"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}
