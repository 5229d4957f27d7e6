package main

import (
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
