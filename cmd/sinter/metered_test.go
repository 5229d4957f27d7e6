package main

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/recipe"
)

// A run on a card, of two that the machine has, counts the energy of that one by NVML: it is told
// from the other by its UUID.
func TestTrainMetersTheCard(t *testing.T) {
	t.Parallel()
	const two = `driver 580.65.06
cuda 13000
device GPU-other NVIDIA A100-SXM4-80GB
	pci 00000000:01:00.0
	power 70000
device GPU-00000000-0000-0000-0000-000000000001 NVIDIA H100 80GB HBM3
	pci 00000000:02:00.0
	power 500000
	utilization 0 0
	energy rate 1000000 500000
`
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	library := nvmltest.Build(t, two)
	train := func() recipe.Consumption {
		t.Helper()
		c := exec.Command(built, append(strings.Fields(quick), "--device", "cuda:0", "--steps", "2")...)
		c.Dir = dir
		c.Env = append(os.Environ(), "SINTER_LIBRARY_PATH="+strings.Join([]string{library, simcuda.Require(t).Dir, "none"}, string(os.PathListSeparator)), "SINTER_KERNEL_CACHE="+dir)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return consumed(t, filepath.Join(dir, "run"))
	}
	card := func(used recipe.Consumption) power.Part {
		t.Helper()
		i := slices.IndexFunc(used.Parts, func(p power.Part) bool { return p.Component == "cuda:0" })
		if i < 0 {
			t.Fatalf("cuda:0 is not among %+v", used.Parts)
		}
		return used.Parts[i]
	}

	used := train()
	if p := card(used); p.Source != "NVML energy counter" || p.Estimated || math.Abs(p.Joules-500*used.Seconds) > 100+0.05*p.Joules { // a sample or two
		t.Errorf("in %.2f s %+v", used.Seconds, p)
	}
	if used.IdleWatts < 500 || !strings.Contains(used.IdleSource, "cuda:0: measured before the run") {
		t.Errorf("idle %g W, %s", used.IdleWatts, used.IdleSource)
	}

	// NVML loses the card while the run goes on: what was counted stays, and it is said.
	if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil {
		t.Fatal(err)
	}
	nvmltest.Write(t, library, two+"\tlost after 1\n")
	used = train()
	if p := card(used); !strings.Contains(p.Note, "gone since") || p.Joules >= 500*used.Seconds {
		t.Errorf("in %.2f s %+v", used.Seconds, p)
	}
}

// A run on a card that can be cut tells which slices would have held it, by what it held.
func TestTrainAdvisesSlices(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	train := func(card string) *recipe.Planned {
		t.Helper()
		c := exec.Command(built, append(strings.Fields(quick), "--device", "cuda:0", "--steps", "1", "--out", card)...)
		c.Dir = dir
		c.Env = append(os.Environ(), "SINTER_LIBRARY_PATH="+strings.Join([]string{simcuda.Require(t).Dir, "none"}, string(os.PathListSeparator)),
			"SIMCUDA=device="+card+",cc:80", "SINTER_KERNEL_CACHE="+dir)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var m struct {
			Results struct{ Planned *recipe.Planned }
		}
		if err := json.Unmarshal(contents(t, filepath.Join(dir, card, "run.json")), &m); err != nil || m.Results.Planned == nil {
			t.Fatalf("%v\n%s", err, contents(t, filepath.Join(dir, card, "run.json")))
		}
		return m.Results.Planned
	}
	p := train("NVIDIA A100-SXM4-80GB")
	// What the pool keeps beside what is in use is counted.
	if p.MeasuredMemory < p.Memory*9/10 || p.MeasuredMemory > p.Memory+64<<20 {
		t.Errorf("%d bytes planned, %d measured", p.Memory, p.MeasuredMemory)
	}
	// A slice has 9.5 GiB, of which the driver is taken to have half a GiB.
	if len(p.Slices) == 0 || p.Slices[0].Profile != "1g.10gb" || p.Slices[0].Jobs != 7 || p.Slices[0].Spare != 9<<30-p.MeasuredMemory {
		t.Errorf("%+v", p)
	}
	if rows := plannedRows(p); len(rows) == 0 || !strings.HasPrefix(rows[len(rows)-1][1], "7 × 1g.10gb, 4 × 1g.20gb") {
		t.Errorf("%q", rows)
	}
	if p = train("NVIDIA GeForce RTX 3080"); len(p.Slices) > 0 {
		t.Errorf("%+v", p)
	}
}
