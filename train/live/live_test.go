package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/process"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
)

// TestMain is also a process that trains, for the tests: it publishes and waits to be
// killed.
func TestMain(m *testing.M) {
	if os.Getenv("LIVE_TEST_CHILD") != "" {
		p := Publish(Options{Dir: "child", Recipe: "child", Device: "cpu"}).(*publisher)
		p.OnTrainBegin(&train.State{Steps: 10})
		fmt.Println("ready")
		select {}
	}
	os.Exit(m.Run())
}

// fit trains a line on a few points with callbacks, and gives the warnings.
func fit(t *testing.T, checkpoints string, steps int, callbacks ...train.Callback) []string {
	t.Helper()
	x, y := make([]float32, 32), make([]float32, 32)
	for i := range x {
		x[i] = float32(i) / 32
		y[i] = 2*x[i] + 1
	}
	set, err := data.Arrays(data.Floats("x", x, 1), data.Floats("y", y, 1))
	if err != nil {
		t.Fatal(err)
	}
	var warnings []string
	meter := power.Open(power.Options{Meter: "100W", Every: -1})
	defer meter.Close()
	trainer := train.Trainer{
		Loss: nn.MSE, Optimizer: optim.SGD{LR: optim.Constant(0.1)}, Batch: 4, Steps: steps, Callbacks: callbacks,
		Checkpoint: train.Checkpoint{Dir: checkpoints}, Energy: &train.Energy{Meter: meter},
		Warn: func(message string) { warnings = append(warnings, message) },
	}
	sinter.Seed(1)
	if _, err := trainer.Fit(context.Background(), nn.NewLinear(1, 1), set, set); err != nil {
		t.Fatal(err)
	}
	return warnings
}

// looking lists the runs between steps.
type looking struct {
	train.NopCallback
	t      *testing.T
	wait   bool // until the file tells of the present step
	states []string
	last   Run
	losses float64
}

func (l *looking) OnStep(s *train.State) {
	if !l.wait {
		return
	}
	l.last = find(l.t, func(r Run) bool { return r.Step == s.Step && r.State == Training })
	l.losses = s.TrainLoss
}
func (l *looking) OnEvaluateBegin(s *train.State) {
	if l.wait {
		l.states = append(l.states, find(l.t, func(r Run) bool { return r.State == Evaluating }).State)
	}
}
func (l *looking) OnCheckpointBegin(s *train.State) {
	if l.wait {
		l.states = append(l.states, find(l.t, func(r Run) bool { return r.State == Checkpointing }).State)
	}
}
func (*looking) OnCheckpointEnd(*train.State) {}

// find waits for a run of which ok holds.
func find(t *testing.T, ok func(Run) bool) Run {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		runs, err := List()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			if ok(r) {
				return r
			}
		}
	}
	t.Fatal("no file tells of that in twenty seconds")
	panic("unreachable")
}

func files(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(entries)
}

func faster(t *testing.T) {
	before, beat := interval, heartbeat
	interval, heartbeat = 2*time.Millisecond, 10*time.Millisecond
	t.Cleanup(func() { interval, heartbeat = before, beat })
}

// A run is listed while it trains, with what it does, and its file is gone afterwards.
func TestPublish(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SINTER_RUNTIME_DIR", dir)
	faster(t)
	look := &looking{t: t, wait: true}
	if w := fit(t, t.TempDir(), 8, Publish(Options{Dir: "runs/a", Recipe: "line", Device: "cpu"}), look); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
	r := look.last
	abs, _ := filepath.Abs("runs/a")
	if r.PID != os.Getpid() || r.Dir != abs || r.Recipe != "line" || r.Device != "cpu" || r.Step != 8 || r.Steps != 8 || r.Epoch != 1 || r.Epochs != 1 || r.Samples != 32 {
		t.Errorf("the file said %+v", r)
	}
	if r.Loss != look.losses || !(r.SamplesPerSecond > 0) || r.SecondsLeft != 0 {
		t.Errorf("loss %g (it was %g), %g samples/s, %g s left", r.Loss, look.losses, r.SamplesPerSecond, r.SecondsLeft)
	}
	// 100 W are 100 J in a second; a sample has its share.
	if u := r.Usage; math.Abs(u.Joules-100*u.Seconds) > 0.05*u.Joules || u.Joules == 0 || !u.Estimated || !(r.JoulesPerSample > 0) || r.JoulesPerSample > 1.001*u.Joules/32 {
		t.Errorf("%g J in %g s of 100 W, %g J a sample", u.Joules, u.Seconds, r.JoulesPerSample)
	}
	if got := strings.Join(look.states, " "); got != "checkpointing evaluating checkpointing" {
		t.Errorf("besides training it was seen %s", got)
	}
	if n := files(t, dir); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// A pause is told with its reason.
func TestPaused(t *testing.T) {
	t.Setenv("SINTER_RUNTIME_DIR", t.TempDir())
	faster(t)
	p := Publish(Options{Recipe: "line"}).(*publisher)
	s := &train.State{Step: 1, Steps: 2}
	p.OnTrainBegin(s)
	defer p.OnTrainEnd(s)
	s.Paused = &train.Pause{Reason: "the temperature is 86 °C, above 85 °C"}
	p.OnPause(s)
	if r := find(t, func(r Run) bool { return r.State == Paused }); r.Reason != s.Paused.Reason {
		t.Errorf("paused for %q", r.Reason)
	}
	s.Paused = nil
	p.OnPause(s)
	if r := find(t, func(r Run) bool { return r.State == Training }); r.Reason != "" {
		t.Errorf("it goes on, for %q", r.Reason)
	}
}

// Without anything new a file is renewed still, so that it is believed where the process
// cannot be seen.
func TestHeartbeat(t *testing.T) {
	t.Setenv("SINTER_RUNTIME_DIR", t.TempDir())
	faster(t)
	p := Publish(Options{}).(*publisher)
	p.OnTrainBegin(&train.State{})
	defer p.OnTrainEnd(nil)
	first := find(t, func(Run) bool { return true }).Updated
	find(t, func(r Run) bool { return r.Updated.After(first) })
}

// A process that was killed is not listed, and its file is removed.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SINTER_RUNTIME_DIR", dir)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "LIVE_TEST_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 5)
	if _, err := out.Read(ready); err != nil {
		t.Fatal(err)
	}
	if r := find(t, func(r Run) bool { return r.PID == child.Process.Pid }); r.State != Starting || r.Recipe != "child" || !math.IsNaN(r.Loss) {
		t.Errorf("the other process said %+v", r)
	}
	child.Process.Kill()
	child.Wait()
	runs, err := List()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" || runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		if n := files(t, dir); len(runs) != 0 || n != 0 {
			t.Errorf("after it was killed %d runs are listed and %d files left", len(runs), n)
		}
	}
}

// Files that do not speak for a process that lives are told from those that do.
func TestIdentity(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the identities are those of Linux")
	}
	dir := t.TempDir()
	t.Setenv("SINTER_RUNTIME_DIR", dir)
	now, me := time.Now(), process.Self()
	if me.Boot == "" || me.Space == "" || me.Start == "" || me.Host == "" {
		t.Fatalf("this process is %+v", me)
	}
	for _, c := range []struct {
		name         string
		change       func(*record)
		listed, left bool
	}{
		{"this process", func(*record) {}, true, true},
		{"number used again", func(r *record) { r.Identity.Start = "1" }, false, false},
		{"before the machine was started", func(r *record) { r.Identity.Boot = "other" }, false, false},
		{"another container", func(r *record) { r.Identity.Space = "pid:[1]" }, true, true},
		{"another container, silent", func(r *record) {
			r.Identity.Space, r.Run.Updated = "pid:[1]", now.Add(-2*believed)
		}, false, true},
		{"another machine", func(r *record) { r.Identity.Boot, r.Identity.Host = "other", "other" }, true, true},
	} {
		rec := record{me, Run{PID: os.Getpid(), Updated: now}}
		c.change(&rec)
		text, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "1.json")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		runs, err := List()
		_, statErr := os.Stat(name)
		if err != nil || (len(runs) == 1) != c.listed || (statErr == nil) != c.left {
			t.Errorf("%s: %d listed, file there: %v; error %v", c.name, len(runs), statErr == nil, err)
		}
		os.Remove(name)
	}
}

// Bad files are named, and hide no good one; drafts that a kill left are removed.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SINTER_RUNTIME_DIR", dir)
	text, err := json.Marshal(record{process.Self(), Run{PID: os.Getpid(), Updated: time.Now(), Recipe: "good"}})
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for name, text := range map[string]string{
		"good.json": string(text), "cut.json": string(text[:40]), "empty.json": "", "zero.json": "{}", "huge.json": strings.Repeat(" ", 1<<20) + string(text),
		"other.txt": "not ours", "9-1-1.json.tmp": "{",
	} {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, temporary) {
			os.Chtimes(name, old, old)
		}
	}
	os.Mkdir(filepath.Join(dir, "folder.json"), 0o700)
	runs, err := List()
	if len(runs) != 1 || runs[0].Recipe != "good" {
		t.Errorf("listed are %+v", runs)
	}
	for _, name := range []string{"cut.json", "empty.json", "zero.json", "huge.json", "folder.json"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "9-1-1.json.tmp")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the draft is still there")
	}
	if _, err := os.Stat(filepath.Join(dir, "other.txt")); err != nil {
		t.Error("a file of somebody else was removed")
	}
}

// A folder that cannot be written to is warned of once, and ends nothing.
func TestNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SINTER_RUNTIME_DIR", filepath.Join(file, "below"))
	if w := fit(t, "", 8, Publish(Options{})); len(w) != 1 || !strings.Contains(w[0], "sinter top will not show") {
		t.Errorf("warnings: %q", w)
	}
}

// A folder that goes away in mid-run is warned of once.
func TestFolderVanishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	t.Setenv("SINTER_RUNTIME_DIR", dir)
	faster(t)
	var warnings []string
	p := Publish(Options{}).(*publisher)
	vanish := &vanishing{dir: dir, p: p}
	warnings = fit(t, "", 8, p, vanish)
	if len(warnings) != 1 {
		t.Errorf("warnings: %q", warnings)
	}
}

type vanishing struct {
	train.NopCallback
	dir string
	p   *publisher
}

func (v *vanishing) OnStep(s *train.State) {
	if s.Step == 2 || s.Step == 5 {
		os.RemoveAll(v.dir)
		for failed := false; !failed && !v.p.warned; time.Sleep(time.Millisecond) {
			v.p.mu.Lock()
			failed = v.p.err != nil
			v.p.fresh = true
			v.p.mu.Unlock()
		}
	}
}

// The folder of a user is nobody else's.
func TestFolder(t *testing.T) {
	t.Setenv("SINTER_RUNTIME_DIR", "")
	run, temp := t.TempDir(), t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run)
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, temp)
	}
	if dir, err := folder(); err != nil || dir != filepath.Join(run, "sinter") {
		t.Fatalf("folder %s, error %v", dir, err)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	dir, err := folder()
	if err != nil || filepath.Dir(dir) != temp {
		t.Fatalf("folder %s, error %v", dir, err)
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		return
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := folder(); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("a folder that others can read is used: %v", err)
	}
	os.Remove(dir)
	if err := os.Symlink(run, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := folder(); err == nil {
		t.Error("a link to another folder is used")
	}
}

// JSON has null for what is not known, and loses nothing.
func TestJSON(t *testing.T) {
	r := Run{
		PID: 7, Started: time.Unix(1, 0).UTC(), Updated: time.Unix(2, 0).UTC(), Dir: "/runs/a", Recipe: "line", Device: "cuda:0", State: Paused, Reason: "hot",
		Step: 1, Steps: 2, Epoch: 3, Epochs: 4, Samples: 5, Loss: 6, SamplesPerSecond: 7, Watts: 8, JoulesPerSample: 9, SecondsLeft: 10,
		Usage: power.Usage{Joules: 11, Parts: []power.Part{{Component: "gpu 0", Joules: 11}}},
	}
	for i, v := 0, reflect.ValueOf(r); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Fatalf("the test forgets %s", v.Type().Field(i).Name)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Run
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(r, back) {
		t.Errorf("%s reads as %+v, error %v", text, back, err)
	}
	r.Loss, r.Watts = math.NaN(), math.Inf(1)
	if text, err = json.Marshal(r); err != nil || !strings.Contains(string(text), `"loss":null`) || !strings.Contains(string(text), `"watts":null`) {
		t.Errorf("%s, error %v", text, err)
	}
	if err := json.Unmarshal(text, &back); err != nil || !math.IsNaN(back.Loss) {
		t.Errorf("null reads as %g, error %v", back.Loss, err)
	}
}

// BenchmarkNote is what a step pays.
func BenchmarkNote(b *testing.B) {
	p := Publish(Options{}).(*publisher)
	s := &train.State{Step: 1, Steps: 2}
	for b.Loop() {
		p.OnStep(s)
	}
}
