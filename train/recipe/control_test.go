package recipe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// steering edits control.yaml after certain steps and waits until it can be seen, and
// stops the run after another.
type steering struct {
	train.NopCallback
	dir    string
	edits  map[int]string
	stop   int
	cancel context.CancelFunc
	rates  map[int]float64
	sizes  map[int]int // examples of a step
	last   int
}

func (c *steering) OnTrainBegin(s *train.State) { c.last = s.Samples }

func (c *steering) OnStep(s *train.State) {
	c.rates[s.Step] = s.LR
	c.sizes[s.Step] = s.Samples - c.last
	c.last = s.Samples
	if text, ok := c.edits[s.Step]; ok {
		name := filepath.Join(c.dir, rundir.ControlFile)
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			s.Fail(err)
		}
		when := time.Now().Add(time.Duration(s.Step) * time.Second) // files' times may be coarse
		if err := os.Chtimes(name, when, when); err != nil {
			s.Fail(err)
		}
		time.Sleep(controlInterval)
	}
	if s.Step == c.stop {
		c.cancel()
	}
}

func controlled(t *testing.T, dir string, edits map[int]string, stop int, resume string) (*steering, []string, error) {
	t.Helper()
	defer func(d time.Duration) { controlInterval = d }(controlInterval)
	controlInterval = time.Millisecond
	r, err := Load("mlp")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range [][2]string{{"data.examples", "300"}, {"model.hidden", "8"}, {"batch", "20"}, {"epochs", "2"}, {"model.dropout", "0.2"}, {"optimizer.schedule", "cosine"}, {"checkpoint.best", "0"}} {
		if err := r.Set("test", kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	var job *Job
	if resume == "" {
		job, err = Prepare(r)
	} else {
		job, err = Resume(dir, strings.TrimPrefix(resume, "newest"), func(*Recipe) error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &steering{dir: dir, edits: edits, stop: stop, cancel: cancel, rates: map[int]float64{}, sizes: map[int]int{}}
	var warnings []string
	_, err = job.Run(ctx, RunOptions{Dir: dir, Callbacks: []train.Callback{c}, Warn: func(m string) { warnings = append(warnings, m) }})
	return c, warnings, err
}

func read(t *testing.T, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A run is changed while it trains: the steps after it are other ones. Stopped before,
// between and after the changes, and resumed, it has the bits of the run that was not.
func TestControl(t *testing.T) {
	edits := map[int]string{
		4:  "lr: 0.5\n",
		9:  "lr: 0.5\nbatch: 50\ncheckpoint: 1\n",
		14: "lr_factor: 0.25\nbatch: 50\n",
	}
	whole := filepath.Join(t.TempDir(), "whole")
	want, warnings, err := controlled(t, whole, edits, 0, "")
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	// An edit is seen in the step after it, and holds from the one after that.
	if want.rates[5] > 0.01 || want.rates[6] < 0.49 || want.rates[6] > 0.5001 || want.rates[12] > want.rates[6] || want.rates[12] < 0.1 || want.rates[16] > 0.001 {
		t.Errorf("learning rates %v", want.rates)
	}
	if want.sizes[10] != 20 || want.sizes[11] != 50 {
		t.Errorf("examples %v", want.sizes)
	}
	examples := 0
	for _, n := range want.sizes {
		examples += n
	}
	if examples != 600 {
		t.Errorf("%d examples in two epochs of 300", examples)
	}
	if n := bytes.Count(read(t, whole, rundir.ControlLog), []byte("\n")); n != 3 {
		t.Errorf("%d events", n)
	}
	if n := bytes.Count(read(t, whole, rundir.MetricsFile), []byte(`"event":"control"`)); n != 3 {
		t.Errorf("%d events are logged", n)
	}
	steps := len(want.sizes)
	for _, stop := range []int{3, 5, 7, 10, 12, 16, steps - 1} {
		dir := filepath.Join(t.TempDir(), "run")
		if _, _, err := controlled(t, dir, edits, stop, ""); !errors.As(err, new(*train.InterruptedError)) {
			t.Fatal(err)
		}
		later := map[int]string{}
		for step, text := range edits {
			if step > stop {
				later[step] = text
			}
		}
		if _, warnings, err := controlled(t, dir, later, 0, "newest"); err != nil || len(warnings) > 0 {
			t.Fatalf("stopped at %d: %v, %v", stop, err, warnings)
		}
		if !bytes.Equal(read(t, dir, rundir.WeightsFile), read(t, whole, rundir.WeightsFile)) {
			t.Errorf("stopped at %d: other weights", stop)
		}
	}
	// From a checkpoint before changes, they are repeated without an edit.
	all, err := filepath.Glob(filepath.Join(whole, rundir.CheckpointsDir, "step-*"))
	if err != nil || len(all) < 2 {
		t.Fatal(all, err)
	}
	weights := read(t, whole, rundir.WeightsFile)
	if _, _, err := controlled(t, whole, nil, 0, filepath.Base(all[0])); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, whole, rundir.WeightsFile), weights) {
		t.Errorf("from %s: other weights", all[0])
	}
}

func TestControlStops(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	_, _, err := controlled(t, dir, map[int]string{4: "stop: yes\n"}, 0, "")
	var stopped *train.InterruptedError
	if !errors.As(err, &stopped) || stopped.Step != 5 || !strings.Contains(err.Error(), "control.yaml says stop") || stopped.Checkpoint == "" {
		t.Fatalf("%v", err)
	}
	var m struct{ Status string }
	if err := json.Unmarshal(read(t, dir, rundir.ManifestFile), &m); err != nil || m.Status != rundir.Interrupted {
		t.Errorf("%+v, %v", m, err)
	}
	// The file still says so; that has been done.
	if _, _, err := controlled(t, dir, nil, 0, "newest"); err != nil {
		t.Fatal(err)
	}
}

// What cannot be is said with file and line, and the run goes on as before.
func TestControlMistakes(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if _, _, err := controlled(t, plain, nil, 0, ""); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"lr: fast":                 `control.yaml:1: lr is "fast", expected a number`,
		"\n\nlr: -1":               `control.yaml:3: lr is "-1"`,
		"lr: .nan":                 "expected a number above 0",
		"batch: 0":                 "expected a whole number from 1",
		"batch: 1.5":               "expected a whole number from 1",
		"lr: [1, 2]":               "lr is a list, expected a single value",
		"learning_rate: 3":         `control.yaml:1: unknown key "learning_rate"`,
		"bacth: 3":                 `did you mean "batch"`,
		"- 3":                      "expected keys and values, found a list",
		"lr: {":                    "not YAML",
		"lr: 1\nlr_factor: 1":      "two ways",
		strings.Repeat("#", 1<<17): "is not read",
	} {
		dir := filepath.Join(t.TempDir(), "run")
		_, warnings, err := controlled(t, dir, map[int]string{3: text}, 0, "")
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], want) {
			t.Errorf("%.20q: %v, warnings %q, expected %q", text, err, warnings, want)
		}
		if !bytes.Equal(read(t, dir, rundir.WeightsFile), read(t, plain, rundir.WeightsFile)) {
			t.Errorf("%.20q: other weights", text)
		}
		if _, err := os.Stat(filepath.Join(dir, rundir.ControlLog)); err == nil {
			t.Errorf("%.20q is an event", text)
		}
	}
}
