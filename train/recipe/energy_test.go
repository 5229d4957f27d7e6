package recipe

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/hardware/telemetry/telemetrytest"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// A budget can be set while a run trains. It holds when the run goes on, until another is
// given, and no bit depends on it.
func TestControlBudget(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if _, _, err := controlled(t, plain, nil, 0, ""); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	var stopped *train.InterruptedError
	_, warnings, err := controlled(t, dir, map[int]string{4: "budget: 1MWh, 10t\n", 6: "budget: 1Zz\n", 8: "budget: 3EUR\n", 10: "budget: 1ms\n"}, 0, "")
	if !errors.As(err, &stopped) || !errors.As(err, new(*train.BudgetError)) || stopped.Step != 11 {
		t.Fatalf("%v", err)
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0], "control.yaml:1: the budget's part \"1Zz\"") || !strings.Contains(warnings[1], "prices") {
		t.Errorf("warned %q", warnings)
	}
	var m struct {
		Status string
		Recipe struct{ Budget string }
	}
	if err := json.Unmarshal(read(t, dir, rundir.ManifestFile), &m); err != nil || m.Status != rundir.Interrupted || m.Recipe.Budget != "1ms" {
		t.Errorf("%+v, %v", m, err)
	}
	var wrong *UsageError
	if _, err := Resume(dir, "", func(*Recipe) error { return nil }); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "a larger --budget") {
		t.Errorf("going on with the budget that is used up: %v", err)
	}
	job, err := Resume(dir, "", func(r *Recipe) error { return r.Set("--budget", "budget", "none") })
	if err != nil {
		t.Fatal(err)
	}
	result, err := job.Run(t.Context(), RunOptions{})
	if err != nil || !bytes.Equal(read(t, dir, rundir.WeightsFile), read(t, plain, rundir.WeightsFile)) {
		t.Errorf("%v; other weights than without budgets", err)
	}
	if e := result.Energy; e == nil || e.Phases.Steps != result.Steps || !(e.Joules > 0) || e.UsedUp {
		t.Errorf("%+v", e)
	}
}

// pausing writes control.yaml before the first step.
type pausing struct {
	train.NopCallback
	dir, text string
	said      []string
}

func (p *pausing) OnTrainBegin(s *train.State) {
	if err := os.WriteFile(filepath.Join(p.dir, rundir.ControlFile), []byte(p.text), 0o666); err != nil {
		s.Fail(err)
	}
}

func (p *pausing) OnPause(s *train.State) {
	if s.Paused != nil {
		p.said = append(p.said, s.Paused.String())
	}
}

// A run that waits for the end of an outage still reads control.yaml; one that has made no
// step leaves nothing.
func TestControlWhilePaused(t *testing.T) {
	r, err := Load("mlp")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range [][2]string{{"data.examples", "300"}, {"model.hidden", "8"}, {"guard.outage", "00:00-24:00 Europe/Paris"}} {
		if err := r.Set("test", kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	job, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	p := &pausing{dir: dir, text: "temperature: 70\nstop: 1\n"}
	var warned []string
	_, err = job.Run(t.Context(), RunOptions{Dir: dir, Callbacks: []train.Callback{p}, Warn: func(m string) { warned = append(warned, m) }})
	var stopped *train.InterruptedError
	if !errors.As(err, &stopped) || stopped.Step != 0 || !strings.Contains(err.Error(), "control.yaml says stop") {
		t.Errorf("%v", err)
	}
	if len(p.said) != 1 || p.said[0] != "outage 00:00-24:00 Europe/Paris" {
		t.Errorf("it waits for %q", p.said)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a folder: %v", err)
	}
}

func TestThermometer(t *testing.T) {
	a, b := telemetrytest.GPU("GPU-a", 100), telemetrytest.GPU("GPU-b", 100)
	a.Device, b.Device = "cuda:0", "cuda:1"
	a.Temperature, b.Temperature = telemetry.Known(61), telemetry.Known(83)
	fake := telemetrytest.New(a, b)
	at := func(device string) (float64, error) {
		m := &thermometer{device: device, sources: []telemetry.Source{fake}}
		defer m.close()
		return m.read()
	}
	for device, want := range map[string]float64{"cuda:0": 61, "cuda:1": 83, "opencl:0": 83} {
		if v, err := at(device); v != want || err != nil {
			t.Errorf("%s: %g °C, %v", device, v, err)
		}
	}
	fake.Set("GPU-b", func(r *telemetry.Reading) { r.Temperature = telemetry.Unknown("the driver does not support it") })
	if v, err := at("cuda:1"); err == nil || !strings.Contains(err.Error(), "does not support it") {
		t.Errorf("n/a is %g °C, %v", v, err)
	}
	fake.Lose("GPU-a")
	if v, err := at("cuda:0"); err == nil {
		t.Errorf("a lost device has %g °C", v)
	}
	if _, err := (&thermometer{device: "cuda:0", sources: []telemetry.Source{telemetrytest.New()}}).read(); err == nil {
		t.Error("no device has a temperature")
	}

	root := t.TempDir()
	file := func(name, text string) {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(text+"\n"), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	cpu := &thermometer{device: "cpu", root: root}
	if _, err := cpu.read(); err == nil || !strings.Contains(err.Error(), "no sensor") {
		t.Errorf("without sensors: %v", err)
	}
	file("sys/class/thermal/thermal_zone0/type", "acpitz")
	file("sys/class/thermal/thermal_zone0/temp", "99000")
	file("sys/class/thermal/thermal_zone1/type", "x86_pkg_temp")
	file("sys/class/thermal/thermal_zone1/temp", "47000")
	if v, err := cpu.read(); v != 47 || err != nil {
		t.Errorf("of the zones: %g °C, %v", v, err)
	}
	file("sys/class/hwmon/hwmon0/name", "nvme")
	file("sys/class/hwmon/hwmon0/temp1_input", "90000")
	file("sys/class/hwmon/hwmon1/name", "coretemp")
	file("sys/class/hwmon/hwmon1/temp1_input", "51000")
	file("sys/class/hwmon/hwmon1/temp2_input", "58500")
	file("sys/class/hwmon/hwmon1/temp3_input", "broken")
	if v, err := cpu.read(); v != 58.5 || err != nil {
		t.Errorf("of coretemp: %g °C, %v", v, err)
	}
}

// What a folder tells of what was used is the most that any of its files knows, and never
// an invention.
func TestSpent(t *testing.T) {
	used := func(seconds, joules float64) power.Usage {
		return power.Usage{Seconds: seconds, Joules: joules, Parts: []power.Part{{Component: "cpu", Joules: joules}}}
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	step := func(u power.Usage) string { return `{"event":"step","step":3,"energy":` + text(u) + "}\n" }
	results := func(u power.Usage, steps int) json.RawMessage {
		return json.RawMessage(text(map[string]any{"energy": Consumption{Usage: u, Phases: train.Phases{Steps: steps}}}))
	}
	resumed := used(9, 90)
	for _, c := range []struct {
		name, log string
		m         rundir.Manifest
		seconds   float64
		steps     int
	}{
		{"nothing", "", rundir.Manifest{}, 0, 0},
		{"a log without", `{"event":"step","step":1,"loss":2}` + "\n", rundir.Manifest{}, 0, 0},
		{"the newest line", step(used(1, 10)) + step(used(2, 20)) + `{"event":"note","step":3,"text":"x"}` + "\n", rundir.Manifest{}, 2, 0},
		{"a line that was cut", step(used(1, 10)) + strings.TrimSuffix(step(used(2, 20)), "}}\n"), rundir.Manifest{}, 1, 0},
		{"a line without its end", step(used(1, 10)) + strings.TrimSuffix(step(used(2, 20)), "\n"), rundir.Manifest{}, 1, 0},
		{"results", step(used(1, 10)), rundir.Manifest{Results: results(used(3, 30), 7)}, 3, 7},
		{"results of less", step(used(4, 40)), rundir.Manifest{Results: results(used(3, 30), 7)}, 4, 0},
		{"killed before a line", "", rundir.Manifest{Resumed: []rundir.Resumption{{Step: 1}, {Step: 2, Usage: &resumed}}}, 9, 0},
		{"damaged results", step(used(4, 40)), rundir.Manifest{Results: json.RawMessage(`{"energy":{"seconds":"long"}}`)}, 4, 0},
		{"a long log", step(used(5, 50)) + strings.Repeat(`{"event":"step","step":4,"loss":1}`+"\n", 1000) + step(used(6, 60)) + strings.Repeat(" ", 1<<18) + "\n", rundir.Manifest{}, 6, 0},
	} {
		dir := t.TempDir()
		if c.log != "" {
			if err := os.WriteFile(filepath.Join(dir, rundir.MetricsFile), []byte(c.log), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got := spent(dir, &c.m)
		if got.Usage.Seconds != c.seconds || got.Usage.Joules != 10*c.seconds || got.Phases.Steps != c.steps || c.seconds > 0 && got.Usage.Parts[0].Joules != 10*c.seconds {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
