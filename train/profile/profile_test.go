package profile

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

// rows are n examples of so many numbers, of ten classes.
func rows(t *testing.T, n, width int) data.Dataset {
	t.Helper()
	x, y := make([]float32, n*width), make([]int64, n)
	for i := range x {
		x[i] = float32(i*7%13) / 13
	}
	for i := range y {
		y[i] = int64(i % 10)
	}
	set, err := data.Arrays(data.Floats("x", x, width), data.Ints("y", y))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// slow is a dataset of which every example takes its time.
type slow struct {
	data.Dataset
	pause time.Duration
}

func (s slow) Read(i int, dst [][]byte) error {
	time.Sleep(s.pause)
	return s.Dataset.Read(i, dst)
}

func fit(t *testing.T, trainer *train.Trainer, model nn.Module, set data.Dataset) {
	t.Helper()
	if _, err := trainer.Fit(context.Background(), model, set, nil); err != nil {
		t.Fatal(err)
	}
}

func mlp(inputs int, hidden ...int) *models.MLP {
	sinter.Seed(5)
	return models.NewMLP(models.MLPConfig{Inputs: inputs, Hidden: hidden, Outputs: 10})
}

func weights(model any) (all [][]byte) {
	for _, v := range nn.State(model) {
		all = append(all, v.Bytes())
	}
	return all
}

func TestSchedule(t *testing.T) {
	s := Schedule{Wait: 1, Warmup: 2, Active: 2, Repeat: 2}
	want := []phase{waiting, warming, warming, active, active, waiting, warming, warming, active, active, over, over}
	for i, w := range want {
		if got := s.at(i); got != w {
			t.Errorf("step %d is in phase %d, want %d", i, got, w)
		}
	}
	s.Repeat = 0
	if s.at(1003) != active || (Schedule{}).at(0) != over {
		t.Error("a schedule without end ends, or an empty one does not")
	}
}

// A profile sees the kernels of the active steps, knows their layers, counts their work
// as the plan does, and changes no bit of what is learned.
func TestProfile(t *testing.T) {
	set := rows(t, 64, 24)
	train1 := func(callbacks ...train.Callback) *models.MLP {
		m := mlp(24, 32)
		fit(t, &train.Trainer{Loss: nn.CrossEntropy, Batch: 8, Epochs: 2, Compile: true, Callbacks: callbacks}, m, set)
		return m
	}
	p := &Profiler{Schedule: Schedule{Wait: 1, Warmup: 1, Active: 3, Repeat: 2}, Machine: Machine{1e11, 1e10}}
	profiled, plain := train1(p), train1()
	if !slices.EqualFunc(weights(profiled), weights(plain), bytes.Equal) {
		t.Error("a profiled run learned something else")
	}
	r := p.Report()
	if r.Steps != 6 || r.Samples != 48 || r.Seconds <= 0 || r.Verdict == nil || r.Launches == 0 || r.Launches%6 != 0 {
		t.Fatalf("%+v", r)
	}
	layers := map[string]Row{}
	var share, flops float64
	for _, l := range r.Layers {
		layers[l.Name] = l
		share += l.Share
		flops += l.FLOPs
	}
	// Forward pass and both gradients, but none for the input of the first layer.
	if want := 6 * 2 * 8 * (2*24*32 + 3*32*10); flops != float64(want) {
		t.Errorf("%v FLOPs in products, want %d", flops, want)
	}
	for name, want := range map[string]float64{"layers.0": 6 * 2 * 8 * 2 * 24 * 32, "layers.1": 6 * 2 * 8 * 3 * 32 * 10, "(optimizer)": 0, "(loss)": 0} {
		if l, ok := layers[name]; !ok || l.FLOPs != want || l.Calls == 0 {
			t.Errorf("layer %s: %+v, want %v FLOPs; there are %+v", name, l, want, r.Layers)
		}
	}
	if share < 0.999 || share > 1.001 {
		t.Errorf("the layers' shares add up to %v", share)
	}
	sum := 0.0
	for _, s := range r.Verdict.Shares {
		sum += s
	}
	if sum < 0.98 || sum > 1.02 {
		t.Errorf("the shares of the verdict add up to %v: %v", sum, r.Verdict.Shares)
	}
	checkTrace(t, p, 6)
}

// checkTrace checks a trace against the rules of the Trace Event Format.
func checkTrace(t *testing.T, p *Profiler, steps int) {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteTrace(&b); err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []struct {
			Name, Cat, Ph string
			Ts, Dur       *float64
			Pid, Tid      *int
			Args          map[string]any
		}
	}
	if err := json.Unmarshal(b.Bytes(), &trace); err != nil {
		t.Fatalf("%v in %s", err, b.String())
	}
	names := map[int]string{}
	kinds := map[string]int{}
	ends := map[int]float64{}
	for _, e := range trace.TraceEvents {
		if e.Name == "" || e.Pid == nil || e.Tid == nil || e.Ts == nil {
			t.Fatalf("an event lacks what it must have: %+v", e)
		}
		switch e.Ph {
		case "M":
			if name, ok := e.Args["name"].(string); ok && e.Name == "thread_name" {
				names[*e.Tid] = name
			}
		case "X":
			if e.Dur == nil || *e.Dur < 0 || *e.Ts < 0 {
				t.Errorf("a complete event without a time: %+v", e)
			}
			if names[*e.Tid] == "" {
				t.Errorf("track %d has no name", *e.Tid)
			}
			kinds[e.Cat]++
			if e.Cat == "kernel" { // kernels on one thread come one after the other
				if *e.Ts+0.01 < ends[*e.Tid] {
					t.Errorf("kernel %s begins at %v, the one before ended at %v", e.Name, *e.Ts, ends[*e.Tid])
				}
				ends[*e.Tid] = *e.Ts + *e.Dur
			}
		default:
			t.Errorf("an event of phase %q", e.Ph)
		}
	}
	if kinds["step"] != steps || kinds["loader"] != steps || kinds["run"] < steps || kinds["kernel"] < 5*steps {
		t.Errorf("events %v for %d steps", kinds, steps)
	}
}

// Each verdict follows from what takes the time.
func TestVerdict(t *testing.T) {
	for want, c := range map[string]struct {
		wait, host time.Duration
		kernel     sinter.KernelRun
		took       time.Duration
	}{
		InputBound:   {wait: 50 * time.Millisecond, kernel: sinter.KernelRun{FLOPs: 1e9}, took: 10 * time.Millisecond},
		LaunchBound:  {host: time.Millisecond, kernel: sinter.KernelRun{FLOPs: 1000, Read: 4000}, took: 10 * time.Microsecond},
		MemoryBound:  {host: time.Millisecond, kernel: sinter.KernelRun{Elementwise: 1e6, Read: 4e7, Written: 4e7}, took: 10 * time.Millisecond},
		ComputeBound: {host: time.Millisecond, kernel: sinter.KernelRun{FLOPs: 1e9, Read: 1e6}, took: 10 * time.Millisecond},
	} {
		p := &Profiler{Machine: Machine{1e11, 1e10}, operations: map[string]*Row{}, layers: map[string]*Row{}, phase: active}
		k := c.kernel
		k.Name, k.Begin = want, time.Now()
		k.End = k.Begin.Add(c.took)
		p.ran([]sinter.KernelRun{k})
		p.steps, p.run, p.wait = 1, c.took.Seconds(), c.wait.Seconds()
		p.wall = (c.took + c.wait + c.host).Seconds()
		if v := p.Report().Verdict; v.Kind != want || v.Knob == "" {
			t.Errorf("%s: %+v", want, v)
		}
	}
}

// A run that reads slowly is found to be input-bound; more workers are tried, and the
// weights stay as they are.
func TestInputBound(t *testing.T) {
	set := slow{rows(t, 400, 8), time.Millisecond}
	m := mlp(8, 4)
	p := &Profiler{Schedule: Schedule{Wait: 1, Warmup: 2, Active: 6, Repeat: 1}, Machine: Machine{1e11, 1e10}}
	trainer := &train.Trainer{Loss: nn.CrossEntropy, Batch: 8, Steps: 12, Compile: true, Callbacks: []train.Callback{p}, Loader: data.Loader{Workers: 1}}
	fit(t, trainer, m, set)
	r := p.Report()
	if r.Verdict.Kind != InputBound || r.Wait < 0.5 {
		t.Fatalf("%+v", r.Verdict)
	}
	before := weights(m)
	if err := r.Try(context.Background(), trainer, m, set); err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(before, weights(m), bytes.Equal) {
		t.Error("trying changed the model")
	}
	if len(r.Verdict.Tried) != 1 || r.Verdict.Tried[0].Gain() < 1.5 {
		t.Errorf("four times as many workers that sleep: %+v", r.Verdict.Tried)
	}
}

// Cases that were built to be each of the others, measured; what is measured depends on
// the machine and on who else is on it.
func TestMeasuredVerdicts(t *testing.T) {
	if os.Getenv("SINTER_STRESS") == "" {
		t.Skip("measures; SINTER_STRESS is not set")
	}
	for want, c := range map[string]struct {
		model *models.MLP
		batch int
		width int
	}{
		LaunchBound:  {mlp(8, 8, 8, 8), 4, 8},
		MemoryBound:  {mlp(1024, 4096, 1024), 2, 1024},
		ComputeBound: {mlp(1024, 1024, 1024), 512, 1024},
	} {
		set := rows(t, 2048, c.width)
		p := new(Profiler)
		trainer := &train.Trainer{Loss: nn.CrossEntropy, Optimizer: optim.Adam{LR: optim.Constant(1e-4)}, Batch: c.batch, Steps: 40, Epochs: 100, Compile: true, Callbacks: []train.Callback{p}}
		fit(t, trainer, c.model, set)
		r := p.Report()
		if err := r.Try(context.Background(), trainer, c.model, set); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: shares %v; tried %+v", r.Verdict.Kind, r.Verdict.Shares, r.Verdict.Tried)
		if r.Verdict.Kind != want {
			t.Errorf("%s was found to be %s", want, r.Verdict.Kind)
		}
	}
}
