package sweep

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/hardware/telemetry/telemetrytest"
	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
)

// victim is the variable that makes the test binary a process that is killed after it has
// set a power limit: the folder for its guard file.
const victim = "SWEEP_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		monitor, err := telemetry.Open(telemetry.Options{})
		if err == nil {
			err = NewLimits(monitor, dir).Set("GPU-3080", 200)
		}
		fmt.Println("set", err)
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

// line is a model and data that a step of takes no time.
func line(t *testing.T, n int) (train.Trainer, nn.Module, data.Dataset) {
	t.Helper()
	x, y := make([]float32, 4*n), make([]float32, n)
	for i := range x {
		x[i] = float32(i%7) / 7
	}
	set, err := data.Arrays(data.Floats("x", x, 4), data.Floats("y", y, 1))
	if err != nil {
		t.Fatal(err)
	}
	return train.Trainer{Batch: 8, Loss: nn.MSE}, nn.NewLinear(4, 1), set
}

func monitor(t *testing.T, fake *telemetrytest.Source) *telemetry.Monitor {
	t.Helper()
	m, err := telemetry.Open(telemetry.Options{Sources: []telemetry.Source{fake}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func options(t *testing.T) Options {
	meter := power.Open(power.Options{Meter: "250W", Baseline: -1, Every: -1})
	t.Cleanup(meter.Close)
	return Options{Steps: 20, Warmup: 2, Time: 30 * time.Millisecond, Weight: 0.5, Meter: meter}
}

// TestRun has power limits set and put back, and figures that agree with each other.
func TestRun(t *testing.T) {
	fake := telemetrytest.New(telemetrytest.GPU("GPU-a", 150))
	dir := t.TempDir()
	trainer, model, set := line(t, 64)
	before := nn.State(model)[0].Bytes()
	o := options(t)
	o.Batches, o.Precisions, o.PowerLimits = []int{4, 32, 128}, []sinter.Precision{sinter.FP32, sinter.BF16}, []float64{300, 250}
	o.Limits, o.Device = NewLimits(monitor(t, fake), dir), "GPU-a"
	o.Progress = func(p Point) {
		if len(guards(dir)) != 1 {
			t.Errorf("at %v there are the guard files %q", p.Setting, guards(dir))
		}
	}
	r, err := Run(t.Context(), trainer, model, set, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := []telemetrytest.Limit{{UUID: "GPU-a", Watts: 300}, {UUID: "GPU-a", Watts: 250}, {UUID: "GPU-a", Watts: 320}}; !slices.Equal(fake.Limits(), want) {
		t.Errorf("limits %v, expected %v", fake.Limits(), want)
	}
	if left := guards(dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if !slices.Equal(nn.State(model)[0].Bytes(), before) {
		t.Error("the weights are others than before")
	}
	if len(r.Points) != 12 {
		t.Fatalf("%d points, expected 12", len(r.Points))
	}
	for _, p := range r.Points {
		if p.Batch == 128 {
			if p.Steps != 0 || !strings.Contains(p.Left, "64 examples") {
				t.Errorf("more than there are examples: %+v", p)
			}
			continue
		}
		if p.Steps < 20 || p.Left != "" || !(p.SamplesPerSecond > 0) || p.Memory <= 0 || len(p.Sources) == 0 {
			t.Errorf("%v: %+v", p.Setting, p)
		}
		if math.Abs(p.Watts-250) > 25 || math.Abs(p.JoulesPerSample*p.SamplesPerSecond/p.Watts-1) > 1e-9 {
			t.Errorf("%v: %g W, %g J of %g samples/s", p.Setting, p.Watts, p.JoulesPerSample, p.SamplesPerSecond)
		}
	}
	if r.Recommended == nil || !r.Recommended.Pareto {
		t.Errorf("recommended: %+v", r.Recommended)
	}
}

// TestPutBack ends runs in other ways than by their end.
func TestPutBack(t *testing.T) {
	boom := errors.New("boom")
	for name, end := range map[string]func(cancel func()){
		"cancelled": func(cancel func()) { cancel() },
		"panic":     func(func()) { panic(boom) },
	} {
		t.Run(name, func(t *testing.T) {
			fake := telemetrytest.New(telemetrytest.GPU("GPU-a", 150))
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			trainer, model, set := line(t, 64)
			o := options(t)
			o.Batches, o.PowerLimits, o.Device = []int{4, 8}, []float64{200}, "GPU-a"
			o.Limits = NewLimits(monitor(t, fake), dir)
			o.Progress = func(Point) { end(cancel) }
			func() {
				defer func() {
					if r := recover(); r != nil && r != boom {
						panic(r)
					}
				}()
				r, err := Run(ctx, trainer, model, set, o)
				if !errors.Is(err, context.Canceled) || len(r.Points) != 1 || r.Recommended == nil {
					t.Errorf("%v, %+v", err, r)
				}
			}()
			if all := fake.Limits(); len(all) != 2 || all[1].Watts != 320 || len(guards(dir)) != 0 {
				t.Errorf("limits %v, guard files %q", all, guards(dir))
			}
		})
	}
}

// TestDry has no permission, no device, or too little memory; the rest is measured.
func TestDry(t *testing.T) {
	denied := telemetrytest.New(telemetrytest.GPU("GPU-a", 150))
	denied.Denied = telemetry.ErrPermission
	blind := telemetrytest.New(telemetrytest.GPU("GPU-a", 150))
	blind.Set("GPU-a", func(r *telemetry.Reading) { r.PowerLimit = telemetry.Unknown("it is not supported") })
	for name, c := range map[string]struct {
		fake   *telemetrytest.Source
		device string
		says   string
	}{
		"denied": {denied, "GPU-a", telemetry.ErrPermission.Error()}, "unknown limit": {blind, "GPU-a", "cannot be read"},
		"other device": {denied, "GPU-b", "GPU-b"}, "dry": {nil, "", errDry.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			trainer, model, set := line(t, 64)
			o := options(t)
			o.Batches, o.PowerLimits, o.Device = []int{8}, []float64{0, 200, 150}, c.device
			if c.fake != nil {
				o.Limits = NewLimits(monitor(t, c.fake), dir)
			}
			r, err := Run(t.Context(), trainer, model, set, o)
			if err != nil {
				t.Fatal(err)
			}
			if p := r.Points; p[0].Steps == 0 || p[1].Steps != 0 || !strings.Contains(p[1].Left, c.says) || p[2].Left == "" || r.Recommended != &r.Points[0] {
				t.Errorf("%+v", p)
			}
			if len(guards(dir)) != 0 {
				t.Error("a guard file is left")
			}
		})
	}
	trainer, model, set := line(t, 64)
	o := options(t)
	o.Batches, o.Memory = []int{8}, 100
	r, err := Run(t.Context(), trainer, model, set, o)
	if err != nil || r.Points[0].Steps != 0 || !strings.Contains(r.Points[0].Left, "as planned") || r.Recommended != nil {
		t.Errorf("without memory: %v, %+v", err, r)
	}
}

// TestKilled kills a process that has set the limit of a device of NVML's.
func TestKilled(t *testing.T) {
	library := nvmltest.Use(t, nvmltest.RTX3080)
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), victim+"="+dir, nvmltest.Environment(library))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 200)
	n, _ := out.Read(said)
	if got := string(said[:n]); got != "set <nil>\n" {
		child.Process.Kill()
		child.Wait()
		t.Fatalf("the other process says %q", got)
	}
	opened := 0
	open := func() (Device, func() error, error) {
		opened++
		m, err := telemetry.Open(telemetry.Options{})
		if err != nil {
			return nil, nil, err
		}
		return m, m.Close, nil
	}
	if said, err := Recover([]string{dir}, open); len(said) > 0 || err != nil || opened > 0 {
		t.Errorf("while it lives: %q, %v", said, err)
	}
	m, err := telemetry.Open(telemetry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := NewLimits(m, dir).Set("GPU-3080", 250); err == nil || !strings.Contains(err.Error(), "process") {
		t.Errorf("two at one device: %v", err)
	}
	child.Process.Kill()
	child.Wait()
	recovered, err := Recover([]string{filepath.Join(dir, "none"), dir}, open)
	if err != nil || len(recovered) != 1 || !strings.Contains(recovered[0], "320 W") {
		t.Errorf("%q, %v", recovered, err)
	}
	if got, want := nvmltest.Limits(t, library), []string{"GPU-3080 200000", "GPU-3080 320000"}; !slices.Equal(got, want) {
		t.Errorf("limits %q, expected %q", got, want)
	}
	if len(guards(dir)) != 0 {
		t.Error("the guard file is left")
	}
	if said, err := Recover([]string{dir}, open); len(said) > 0 || err != nil || opened != 1 {
		t.Errorf("the second time: %q, %v", said, err)
	}
	if err := os.WriteFile(filepath.Join(dir, guardPrefix+"1"+guardSuffix), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Recover([]string{dir}, open); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged guard file: %v", err)
	}
}

// A meter that tells nothing gives no figure, rather than 0.
func TestSilentMeter(t *testing.T) {
	still := time.Now()
	meter := power.Open(power.Options{Meter: "250W", Baseline: -1, Every: -1, Clock: func() time.Time { return still }})
	defer meter.Close()
	trainer, model, set := line(t, 64)
	o := options(t)
	o.Batches, o.Meter = []int{8}, meter
	r, err := Run(t.Context(), trainer, model, set, o)
	if err != nil || r.Points[0].Steps != 0 || !strings.Contains(r.Points[0].Left, "told nothing") || r.Recommended != nil {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestChoose is calculated by hand.
func TestChoose(t *testing.T) {
	points := []Point{
		{Steps: 1, SamplesPerSecond: 100, JoulesPerSample: 2, Watts: 200}, // T = 10 ms
		{Steps: 1, SamplesPerSecond: 200, JoulesPerSample: 1.5, Watts: 300},
		{Steps: 1, SamplesPerSecond: 250, JoulesPerSample: 1.6, Watts: 400},
		{Left: "too large"},
	}
	for _, c := range []struct {
		weight    float64
		best      int
		cost      float64 // of the second: η·1.5 J + (1−η)·400 W·5 ms
		maxPower  float64
		assumed   float64
		dominated bool
	}{
		{weight: 1, best: 1, cost: 1.5, maxPower: 400},
		{weight: 0, best: 2, cost: 2, maxPower: 400},
		{weight: 0.5, best: 2, cost: 1.75, maxPower: 400}, // the third: 0.8 + 0.8 = 1.6
		{weight: 0.5, best: 1, cost: 1, maxPower: 100, assumed: 100},
	} {
		r := &Result{Points: slices.Clone(points), Weight: c.weight, MaxPower: c.assumed}
		Choose(r)
		if r.Recommended != &r.Points[c.best] || math.Abs(r.Points[1].Cost-c.cost) > 1e-12 || r.MaxPower != c.maxPower {
			t.Errorf("weight %g: recommended %+v, cost %g, power %g", c.weight, r.Recommended, r.Points[1].Cost, r.MaxPower)
		}
		for i, want := range []bool{false, true, true, false} {
			if r.Points[i].Pareto != want {
				t.Errorf("point %d is on the front: %v", i, r.Points[i].Pareto)
			}
		}
	}
}
