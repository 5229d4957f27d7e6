package nvtx_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/nvtx"
	"github.com/sinter-dl/sinter/internal/testenv"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

// A tool is attached when a process first has something to tell, so these tests run
// themselves in new processes.

const child = "NVTX_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(child) {
	case "":
		os.Exit(m.Run())
	case "marks":
		nvtx.Mark("begin")
		nvtx.PushNumber("outer", 7)
		nvtx.Push("inner")
		nvtx.Pop()
		nvtx.Push("inner")
		nvtx.Pop()
		nvtx.Pop()
		fmt.Println(nvtx.Err())
	default:
		fit(os.Getenv(child) == "compiled")
	}
}

// fit trains a small model for two epochs of three steps, and prints what it warns of.
func fit(compile bool) {
	x, y := make([]float32, 24*4), make([]float32, 24*3)
	for i := range x {
		x[i] = float32(i%7) / 7
	}
	set, err := data.Arrays(data.Floats("x", x, 4), data.Floats("y", y, 3))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	t := train.Trainer{
		Optimizer: optim.SGD{LR: optim.Constant(0.1)}, Loss: nn.MSE, Epochs: 2, Batch: 8, Compile: compile,
		Warn: func(message string) { fmt.Println(message) },
	}
	model := nn.NewSequential(nn.NewLinear(4, 5), nn.NewLinear(5, 3))
	if _, err := t.Fit(context.Background(), model, set, set); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// injection builds the tool.
func injection(t *testing.T) string {
	t.Helper()
	gxx, err := exec.LookPath("g++")
	testenv.Require(t, "g++", err == nil, "there is no g++")
	lib := filepath.Join(t.TempDir(), "libinjection.so")
	if out, err := exec.Command(gxx, "-std=c++17", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", lib, "testdata/injection.cc").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return lib
}

// run runs a child with a tool and gives what it prints and what the tool has seen.
func run(t *testing.T, what, device, lib string) (printed string, seen []string) {
	t.Helper()
	output := filepath.Join(t.TempDir(), "seen")
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), child+"="+what, "NVTX_INJECTION64_PATH="+lib, "INJECTION_OUTPUT="+output, "SINTER_DEVICE="+device)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(output)
	if err != nil {
		return string(out), nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		seen = append(seen, s.Text())
	}
	return string(out), seen
}

func TestCalls(t *testing.T) {
	printed, seen := run(t, "marks", "cpu", injection(t))
	if strings.TrimSpace(printed) != "<nil>" {
		t.Errorf("it says %s", printed)
	}
	var calls []string
	for _, line := range seen {
		thread, call, _ := strings.Cut(line, " ")
		if first, _, _ := strings.Cut(seen[1], " "); thread != first && len(calls) > 0 {
			t.Errorf("%s: the ranges began on thread %s", line, first)
		}
		calls = append(calls, strings.TrimSpace(call))
	}
	want := []string{"mark begin", "push outer 7", "push inner", "pop", "push inner", "pop", "pop"}
	if !slices.Equal(calls, want) {
		t.Errorf("the tool has seen %q, want %q", calls, want)
	}
}

// tree is ranges with what lies in them, written as name(…). Kernels, what lies in run,
// are left out if they are there; so are numbers of threads.
func tree(t *testing.T, seen []string) (written string, kernels []string) {
	t.Helper()
	var b strings.Builder
	var open []string
	for _, line := range seen {
		parts := strings.SplitN(line, " ", 3)
		switch within := slices.Contains(open, "run"); {
		case parts[0] != strings.SplitN(seen[0], " ", 2)[0]:
			t.Fatalf("%q is of another thread than the first range", line)
		case parts[1] == "push":
			open = append(open, parts[2])
			if within {
				kernels = append(kernels, parts[2])
			} else {
				b.WriteString(parts[2] + "(")
			}
		case parts[1] == "pop" && len(open) > 0:
			open = open[:len(open)-1]
			if !slices.Contains(open, "run") {
				b.WriteString(")")
			}
		default:
			t.Fatalf("%q does not fit", line)
		}
	}
	if len(open) > 0 {
		t.Errorf("%q were left open", open)
	}
	return b.String(), kernels
}

// The ranges of a training run, all on one thread and all closed.
func TestTraining(t *testing.T) {
	lib := injection(t)
	for _, c := range []struct {
		what, device           string
		first, step, evaluated string
	}{
		{"recorded", "cpu", "forward()backward()update()compile()run()", "forward()backward()update()run()", "forward()run()"},
		{"compiled", "cpu", "forward()backward()update()compile()run()", "run()", "run()"},
		{"compiled", "cuda:0", "forward()backward()update()compile()run()", "run()", "run()"},
		{"compiled", "opencl:0", "forward()backward()update()compile()run()", "run()", "run()"},
	} {
		t.Run(c.what+" on "+c.device, func(t *testing.T) {
			if c.device == "cuda:0" {
				t.Setenv("SINTER_LIBRARY_PATH", simcuda.Require(t).Dir+string(os.PathListSeparator)+"none")
			}
			if c.device == "opencl:0" {
				i := slices.IndexFunc(sinter.Devices(), func(d sinter.DeviceInfo) bool { return d.Name == c.device && d.Problem == "" })
				testenv.Require(t, "opencl", i >= 0, "there is no device of OpenCL")
			}
			printed, seen := run(t, c.what, c.device, lib)
			if printed != "" {
				t.Errorf("it warns: %s", printed)
			}
			if len(seen) == 0 {
				t.Fatal("the tool has seen nothing")
			}
			got, kernels := tree(t, seen)
			steps := func(first int, evaluate string) string {
				s := ""
				for i := range 3 {
					does := c.step
					if first+i == 1 {
						does = c.first
					}
					s += fmt.Sprintf("load()step %d(%s)", first+i, does)
				}
				return s + "evaluate(" + evaluate + ")"
			}
			again := c.evaluated
			want := "epoch 1(" + steps(1, "forward()compile()run()"+again+again) + ")" +
				"epoch 2(" + steps(4, "forward()run()"+again+again) + ")" // an evaluation is traced anew, its program kept
			if got != want {
				t.Errorf("ranges:\n%s\nwant\n%s", got, want)
			}
			// Two layers in six steps, forward and backward, whatever else there is.
			if n := len(slices.DeleteFunc(slices.Clone(kernels), func(k string) bool { return !strings.Contains(k, "dot_general") })); n < 6*4 {
				t.Errorf("%d kernels of matrix products are among %q", n, kernels)
			}
		})
	}
}

// A library that cannot be used is warned of, and training goes on.
func TestWrongLibrary(t *testing.T) {
	notThere := filepath.Join(t.TempDir(), "nothing.so")
	printed, _ := run(t, "recorded", "cpu", notThere)
	if !strings.Contains(printed, "NVTX_INJECTION64_PATH") || !strings.Contains(printed, notThere) {
		t.Errorf("nothing is said of a library that is not there: %q", printed)
	}
}

func TestOff(t *testing.T) {
	if nvtx.On() {
		t.Skip("a tool listens to this process")
	}
	n := testing.AllocsPerRun(100, func() {
		var r nvtx.Ranges
		r.PushNumber("step", 123456)
		nvtx.Push("inner")
		nvtx.Mark("mark")
		nvtx.Pop()
		r.PopTo(0)
	})
	if n != 0 {
		t.Errorf("%v allocations where nobody listens", n)
	}
}
