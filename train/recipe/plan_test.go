package recipe

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/plan"
)

// small is a built-in recipe with little to do, and data where it needs some.
func small(t *testing.T, name string) *Recipe {
	t.Helper()
	r, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	set := func(key, value string) {
		if err := r.Set("test", key, value); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	write := func(file string, text string) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	switch name {
	case "gpt", "lstm":
		set("data.path", write("text.txt", strings.Repeat("the quick brown fox jumps over the lazy dog. ", 60)))
		set("batch", "4")
	case "tabular", "forecast":
		var rows strings.Builder
		rows.WriteString("a,b,y\n")
		for i := range 200 {
			fmt.Fprintf(&rows, "%d,%d.5,%d\n", i%7, i%11, i%13)
		}
		set("data.path", write("table.csv", rows.String()))
		set("data.target", "y")
	case "resnet50":
		set("data.path", Blank)
		set("data.examples", "64")
		set("data.size", "32")
		set("batch", "2")
		r.Data.Augment = nil
	default:
		set("data.examples", "64")
		set("batch", "8")
	}
	set("limits.test_batches", "1")
	set("checkpoint.off", "true")
	return r
}

// What is planned is what the device then holds, to the byte: for every built-in recipe on
// the processor, and for some on a simulated NVIDIA card.
func TestPlannedMemory(t *testing.T) {
	again := func(t *testing.T, env ...string) { // in a process with nothing else in its arena
		cmd := exec.Command(os.Args[0], "-test.run", "^TestPlannedMemoryAlone$", "-test.v")
		cmd.Env = append(append(os.Environ(), "SINTER_PLAN_TEST=1"), env...)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	t.Run("cpu", func(t *testing.T) { again(t, "SINTER_DEVICE=cpu") })
	t.Run("simulated", func(t *testing.T) {
		m := simcuda.Require(t)
		again(t, "SINTER_DEVICE=cuda:0", "SINTER_LIBRARY_PATH="+m.Dir+string(os.PathListSeparator)+"none", "SIMCUDA=device=Simulated,cc:80")
	})
}

func TestPlannedMemoryAlone(t *testing.T) {
	if os.Getenv("SINTER_PLAN_TEST") == "" {
		t.Skip("TestPlannedMemory runs it in a process of its own")
	}
	type planned struct {
		job   *Job
		bytes int64
	}
	var list []planned
	for _, name := range Builtin() {
		r := small(t, name)
		if sinter.DeviceName() != plan.CPU && name != "mlp" && name != "tabular" && name != "lstm" {
			continue // the simulated machine is slow
		}
		r.planned = name == "resnet50" // drawing its weights takes a second
		j, err := Prepare(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, err := j.Planner()
		if err != nil {
			t.Fatal(err)
		}
		on, err := plan.InUse()
		if err != nil {
			t.Fatal(err)
		}
		f, err := p.Forecast(on, 0, plan.Terms{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.Memory.Arena <= 0 || f.Memory.Weights <= 0 {
			t.Fatalf("%s: %+v", name, f.Memory)
		}
		if d, err := sinter.Device(); err != nil {
			t.Fatal(err)
		} else if d.Backend == "cuda" { // and for a card that is not there, if it is such a one
			steps, err := j.Trainer.Planner(j.Model, j.Source.Examples(), j.Source.Test)
			if err != nil {
				t.Fatal(err)
			}
			absent, err := steps.Plan(sinter.NVIDIATarget(80, d.Units, false), 0)
			if err != nil || absent.Arena != f.Memory.Arena {
				t.Errorf("%s: planned on the device %d bytes, for one like it %d, %v", name, f.Memory.Arena, absent.Arena, err)
			}
		}
		list = append(list, planned{j, f.Memory.Arena})
	}
	// The arena is that of the largest program so far, so each is to make it larger.
	slices.SortFunc(list, func(a, b planned) int { return int(a.bytes - b.bytes) })
	for _, p := range list {
		tr := *p.job.Trainer
		tr.Epochs, tr.Steps = 0, 2
		tr.Callbacks = []train.Callback{}
		if _, err := tr.Fit(context.Background(), p.job.Model, p.job.Source.Examples(), p.job.Source.Test); err != nil {
			t.Fatalf("%s: %v", p.job.Recipe.Name, err)
		}
		if held := sinter.ReadStats().HeldArena; held != p.bytes {
			t.Errorf("%s: an arena of %d bytes was planned, the device holds %d", p.job.Recipe.Name, p.bytes, held)
		}
	}
}
