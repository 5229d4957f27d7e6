package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
)

// quickSweep measures as shortly as can be.
var quickSweep = []string{"--time", "200ms", "--measure", "2", "--warmup", "1"}

func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	recipe := "# mine\nname: mine\ndata: {path: d}\nmodel:\n  kind: mlp\n  hidden: [16] # small\noptimizer: {kind: adam}\nenergy: {meter: 250W}\nbatch: 16 # as it was\n"
	write(t, filepath.Join(dir, "mine.yaml"), []byte(recipe))
	sweep := append([]string{"sweep", "mine.yaml", "--device", "cpu"}, quickSweep...)
	o := must(t, dir, append(sweep, "--batches", "8,32,4096", "--precisions", "fp32,bf16", "--json", "--write", "--picture", "s.svg")...)
	var r struct {
		Points []struct {
			Batch             int
			Precision         string
			SamplesPerSecond  float64 `json:"samples_per_second"`
			JoulesPerSample   float64 `json:"joules_per_sample"`
			Left              string  `json:"left_out"`
			Estimated, Pareto bool
			Sources           []string
		}
		Recommended struct {
			Batch     int
			Precision string
		}
		Written string
	}
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("%v: %s", err, o.stdout)
	}
	if len(r.Points) != 6 || r.Points[2].Left == "" || r.Points[0].JoulesPerSample <= 0 || !strings.Contains(strings.Join(r.Points[0].Sources, ";"), "250") {
		t.Errorf("%s", o.stdout)
	}
	want := strings.Replace(recipe, "batch: 16 #", "batch: "+strconv.Itoa(r.Recommended.Batch)+" #", 1) + "precision: " + r.Recommended.Precision + "\n"
	if got := string(contents(t, filepath.Join(dir, "mine.yaml"))); got != want {
		t.Errorf("the recipe is\n%s\nexpected\n%s", got, want)
	}
	if svg := contents(t, filepath.Join(dir, "s.svg")); !bytes.Contains(svg, []byte("J/sample")) {
		t.Error("the picture says nothing of joules")
	}
	o = must(t, dir, append(sweep, "--batches", "4", "--eta", "1")...)
	for _, want := range []string{"recommended", "use it", "250"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("there is no %q in\n%s", want, o.stdout)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "runs")); err == nil {
		t.Error("there is a run folder")
	}
	for what, c := range map[string]struct {
		status int
		says   string
		args   []string
	}{
		"time":         {exitUsage, "--time", []string{"mine.yaml", "--time", "1ms"}},
		"eta":          {exitUsage, "--eta", []string{"mine.yaml", "--eta", "2"}},
		"batch":        {exitUsage, "--batches", []string{"mine.yaml", "--batches", "0"}},
		"precision":    {exitUsage, "--precisions", []string{"mine.yaml", "--precisions", "fp12"}},
		"built in":     {exitUsage, "recipe show lenet", []string{"lenet", "--write"}},
		"processor":    {exitUsage, "--power-limits", []string{"mine.yaml", "--power-limits", "200", "--device", "cpu"}},
		"no meter":     {exitUsage, "energy.meter", []string{"mine.yaml", "--device", "cpu", "--set", "energy.meter=off"}},
		"nothing fits": {exitFailure, "nothing could be measured", []string{"mine.yaml", "--device", "cpu", "--batches", "5000"}},
	} {
		if o := execute(t, dir, append(append([]string{"sweep"}, quickSweep...), c.args...)...); o.status != c.status || !strings.Contains(o.stderr, c.says) {
			t.Errorf("%s: status %d, %s", what, o.status, o.stderr)
		}
	}
}

// TestSweepPowerLimits sets the limits of a simulated card, and is killed at it.
func TestSweepPowerLimits(t *testing.T) {
	t.Parallel()
	machine := simcuda.Require(t)
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	const uuid = "GPU-00000000-0000-0000-0000-000000000001" // the simulated driver's
	library := nvmltest.Build(t, strings.Replace(nvmltest.RTX3080, "GPU-3080", uuid, 1))
	command := func(args ...string) *exec.Cmd {
		c := exec.Command(built, args...)
		c.Dir = dir
		c.Env = append(os.Environ(), "SINTER_LIBRARY_PATH="+strings.Join([]string{library, machine.Dir, "none"}, string(os.PathListSeparator)),
			"SINTER_DEVICE=", "CUDA_VISIBLE_DEVICES=0", "SINTER_RUNTIME_DIR="+filepath.Join(dir, "guards"))
		return c
	}
	sweep := func(more ...string) []string {
		return append(append([]string{"sweep", "mlp", "--data", "d", "--device", "cuda:0", "--batches", "4", "--set", "model.hidden=[4]", "--power-limits", "300,250"}, quickSweep...), more...)
	}
	guards := func() []string {
		all, _ := filepath.Glob(filepath.Join(dir, "guards", "power-limits-*"))
		return all
	}
	limits := func(want ...string) {
		t.Helper()
		for i := range want {
			want[i] = uuid + " " + want[i] + "000"
		}
		if got := nvmltest.Limits(t, library); !slices.Equal(got, want) || len(guards()) != 0 {
			t.Errorf("limits %q, expected %q; guard files %q", got, want, guards())
		}
	}
	if out, err := command(sweep()...).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("300 W")) {
		t.Fatalf("%v: %s", err, out)
	}
	limits("300", "250", "320")

	if runtime.GOOS == "windows" {
		return
	}
	c := command(sweep("--time", "1h")...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); len(nvmltest.Limits(t, library)) < 4; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			c.Process.Kill()
			c.Wait()
			t.Fatalf("no limit was set: %s", stderr.String())
		}
	}
	if len(guards()) != 1 {
		t.Errorf("guard files %q", guards())
	}
	c.Process.Kill()
	c.Wait()
	out, err := command("version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "put back the power limit of NVIDIA GeForce RTX 3080 to 320 W") {
		t.Errorf("%v: %s", err, out)
	}
	limits("300", "250", "320", "300", "320")

	nvmltest.Write(t, library, strings.Replace(nvmltest.RTX3080, "GPU-3080", uuid, 1)+"\tset nopermission\n")
	if out, err := command(sweep()...).CombinedOutput(); err == nil || !strings.Contains(string(out), "only root") || len(guards()) != 0 {
		t.Errorf("without permission: %v: %s; guard files %q", err, out, guards())
	}
}
