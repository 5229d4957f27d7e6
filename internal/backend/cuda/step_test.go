package cuda_test

import (
	"math"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// The machine of the root package's device is one for the whole process, so what uses it
// runs in a process of its own.

// child runs a test or benchmark of this package in a process whose only NVIDIA machine is
// the simulated one, and returns what it prints.
func child(t testing.TB, args ...string) string {
	t.Helper()
	m := simcuda.Require(t)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "SINTER_LIBRARY_PATH="+m.Dir+string(os.PathListSeparator)+"none", "SIMCUDA=device=Simulated,cc:80", "SINTER_CUDA_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func isChild() bool { return os.Getenv("SINTER_CUDA_CHILD") != "" }

// gpt is a training step of a GPT of two layers.
func gpt(t testing.TB, device string) (step func() float64) {
	if err := sinter.SetDevice(device); err != nil {
		t.Fatal(err)
	}
	sinter.Seed(1)
	model := models.NewGPT(models.GPTConfig{Vocab: 65, Block: 16, Layers: 2, Heads: 2, Embed: 32})
	opt := optim.New(model, optim.AdamW{LR: optim.Constant(1e-3)})
	numbers := func(from int) *sinter.Tensor {
		ids := make([]int64, 32)
		for i := range ids {
			ids[i] = int64((from + 7*i*i) % 65)
		}
		return sinter.FromInts(ids, 2, 16)
	}
	ids, next := numbers(0), numbers(1)
	compiled := opt.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
		return nn.SequenceCrossEntropy(model.Forward(in[0]), in[1]), nil
	})
	in := []*sinter.Tensor{ids, next}
	return func() float64 {
		loss, _, err := compiled.StepLoss(in...)
		if err != nil {
			t.Fatal(err)
		}
		return loss
	}
}

// A training run on the simulated machine goes as it does on the processor, and a step of
// it, replayed, allocates no memory of the host.
func TestStep(t *testing.T) {
	if !isChild() {
		t.Log(child(t, "-test.run=^TestStep$", "-test.v"))
		return
	}
	var losses [2][5]float64
	for i, device := range []string{"cpu", "cuda:0"} {
		step := gpt(t, device)
		for j := range losses[i] {
			losses[i][j] = step()
		}
	}
	for j, want := range losses[0] {
		if got := losses[1][j]; math.Abs(got-want) > 1e-4*math.Abs(want) {
			t.Errorf("step %d: the loss is %g, on the processor %g", j, got, want)
		}
	}
	step := gpt(t, "cuda:0")
	for range 4 {
		step()
	}
	m := simcuda.Require(t)
	m.Change("execute=0")
	before := m.Count("graphs")
	if per := testing.AllocsPerRun(100, func() { step() }); per > 0 {
		t.Errorf("a step allocates %v times", per)
	}
	if n := m.Count("graphs") - before; n != 101 {
		t.Errorf("101 steps launched %d graphs", n)
	}
	t.Logf("a step has %d kernels", sinter.ReadStats().Kernels)
}

// BenchmarkStep is the host's time for a step that is replayed. No kernel is executed.
func BenchmarkStep(b *testing.B) {
	if !isChild() {
		out := child(b, "-test.run=^$", "-test.bench=^BenchmarkStep$", "-test.benchtime=20000x")
		f := regexp.MustCompile(`([0-9.]+) ns/op.* ([0-9]+) allocs/op`).FindStringSubmatch(out)
		if f == nil {
			b.Fatal(out)
		}
		ns, _ := strconv.ParseFloat(f[1], 64)
		allocs, _ := strconv.ParseFloat(f[2], 64)
		for b.Loop() {
		}
		b.ReportMetric(ns/1e3, "µs/step")
		b.ReportMetric(allocs, "allocs/step")
		b.ReportMetric(0, "ns/op")
		return
	}
	step := gpt(b, "cuda:0")
	for range 4 {
		step()
	}
	simcuda.Require(b).Change("execute=0")
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
