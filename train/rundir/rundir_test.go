package rundir

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary stand for another process: with a folder named in the
// environment it begins a run there, says so and waits to be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("RUNDIR_TEST_HOLD"); dir != "" {
		w, err := Create(dir, &Manifest{Name: "held"})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("holding")
		w.Log(map[string]int{"step": 1})
		w.Flush()
		time.Sleep(time.Minute)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestLife(t *testing.T) {
	base := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w, err := CreateIn(filepath.Join(base, "runs"), "lenet", now, &Manifest{Name: "lenet", Versions: CurrentVersions()})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(base, "runs", "lenet-20260102-030405"); w.Dir() != want {
		t.Fatalf("folder %s, expected %s", w.Dir(), want)
	}
	m, err := Read(w.Dir())
	if err != nil || m.Status != Running || m.StatusIn(w.Dir()) != Running {
		t.Fatalf("while it runs: %+v, %v", m, err)
	}
	if h, held := Held(w.Dir()); !held || h.PID != os.Getpid() || time.Since(h.Start) > time.Minute {
		t.Errorf("the lock is held by %+v, %v", h, held)
	}
	if err := w.Log(map[string]int{"step": 1}); err != nil {
		t.Fatal(err)
	}
	// A line is there within about a second without anything else happening.
	text := ""
	for wait := time.Now(); text == "" && time.Since(wait) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(w.File(MetricsFile))
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if text != "{\"step\":1}\n" || w.LogSize() != int64(len(text)) {
		t.Errorf("metrics %q, size %d", text, w.LogSize())
	}

	second, err := CreateIn(filepath.Join(base, "runs"), "lenet", now, &Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Discard()
	if !strings.HasSuffix(second.Dir(), "-2") {
		t.Errorf("folder %s, expected the number 2", second.Dir())
	}

	m.Status = Complete
	if err := w.Finish(m); err != nil {
		t.Fatal(err)
	}
	w.Discard() // must not touch what is finished
	if m, err = Read(w.Dir()); err != nil || m.StatusIn(w.Dir()) != Complete || m.Name != "lenet" || m.Versions.Go == "" || m.Versions.Sinter == "" {
		t.Errorf("manifest %+v, %v", m, err)
	}
	if _, held := Held(w.Dir()); held {
		t.Error("the folder is still locked")
	}
	entries, _ := os.ReadDir(w.Dir())
	if len(entries) != 2 {
		t.Errorf("the folder has %v, expected run.json and metrics.jsonl", entries)
	}
}

// A run that goes on drops what the log has after its checkpoint.
func TestOpenAndCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir, &Manifest{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	w.Log(1)
	w.Log(22)
	at := w.LogSize()
	w.Log(333)
	w.Close()
	if _, held := Held(dir); held {
		t.Error("locked after Close")
	}
	w, m, err := Open(dir)
	if err != nil || m.Name != "a" {
		t.Fatal(m, err)
	}
	defer w.Close()
	if w.LogSize() != at+4 {
		t.Errorf("the log has %d bytes, expected %d", w.LogSize(), at+4)
	}
	for _, c := range []struct {
		size int64
		want string
	}{{100, "1\n22\n333\n"}, {at, "1\n22\n"}, {at - 1, "1\n"}, {0, ""}} {
		if err := w.CutLog(c.size); err != nil {
			t.Fatal(err)
		}
		if text, _ := os.ReadFile(w.File(MetricsFile)); string(text) != c.want || w.LogSize() != int64(len(text)) {
			t.Errorf("cut at %d: %q, expected %q", c.size, text, c.want)
		}
	}
	w.Log(4)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(w.File(MetricsFile)); string(text) != "4\n" {
		t.Errorf("after the cut: %q", text)
	}
}

// Another process trains into the folder; then it is killed.
func TestHeldByAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "RUNDIR_TEST_HOLD="+dir)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "holding\n" {
		t.Fatalf("the other process says %q", line)
	}
	m, err := Read(dir)
	if err != nil || m.StatusIn(dir) != Running {
		t.Errorf("%+v, %v", m, err)
	}
	check := func(err error) {
		t.Helper()
		var held *HeldError
		if !errors.As(err, &held) || held.Holder.PID != c.Process.Pid || !strings.Contains(err.Error(), fmt.Sprintf("process %d on ", c.Process.Pid)) || !strings.Contains(err.Error(), "since ") {
			t.Errorf("got %v, expected the process %d", err, c.Process.Pid)
		}
	}
	_, err = Create(dir, &Manifest{})
	check(err)
	_, _, err = Open(dir)
	check(err)

	c.Process.Kill()
	c.Wait()
	if m, err := Read(dir); err != nil || m.Status != Running || m.StatusIn(dir) != Killed {
		t.Errorf("after the kill: %+v, %v", m, err)
	}
	if _, err := Create(dir, &Manifest{}); err == nil || !strings.Contains(err.Error(), "--resume "+dir) {
		t.Errorf("got %v", err)
	}
	w, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var h Holder
	text, _ := os.ReadFile(w.File(LockFile))
	if err := json.Unmarshal(text, &h); err != nil || h.PID != os.Getpid() {
		t.Errorf("the lock says %s", text)
	}
}

func TestDiscardLeavesNothing(t *testing.T) {
	base := t.TempDir()
	w, err := Create(filepath.Join(base, "a", "b", "run"), &Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(w.File("checkpoints/x"), 0o777)
	w.Discard()
	if entries, _ := os.ReadDir(base); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	// What was there before stays.
	if w, err = Create(base, &Manifest{}); err != nil {
		t.Fatal(err)
	}
	w.Discard()
	if entries, err := os.ReadDir(base); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		base:                               "is not empty",
		filepath.Join(base, "file"):        "cannot be used",
		filepath.Join(base, "file", "run"): "cannot be",
	} {
		if _, err := Create(dir, &Manifest{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, expected %q", dir, err, want)
		}
	}
	if _, _, err := Open(base); err == nil || !strings.Contains(err.Error(), "is not a run folder") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(base); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"":               "is not a run folder",
		"{":              "is damaged",
		`{"format": 99}`: "has format 99",
	} {
		if content != "" {
			if err := os.WriteFile(filepath.Join(dir, ManifestFile), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		} else {
			os.Remove(filepath.Join(dir, ManifestFile))
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", content, err, want)
		}
	}
}
