// Command compare runs Sinter and its peers in turns, so that whatever else the
// machine does falls on all of them, and prints medians and ratios as Markdown.
//
//	go run ./bench/compare -python ~/peers/bin/python steps
//	go run ./bench/compare -python ~/peers/bin/python steps gpt lstm
//	go run ./bench/compare -python ~/peers/bin/python -window 60ms kernels
//	go run ./bench/compare -python ~/peers/bin/python -window 60ms kernels sgemm "conv 3×3"
//	go run ./bench/compare -python ~/peers/bin/python images
//	go run ./bench/compare -python ~/peers/bin/python -device cuda:0 steps
//	go run ./bench/compare -python ~/peers/bin/python -device cuda:0 kernels
//
// Whole steps are named after their models (package workload), kernels are those whose
// name contains an argument. Every side is a process that lives through all rounds; in
// each round each makes one window. The peers are PyTorch (bench/torch), for the two
// models that it has GoMLX (bench/gomlx), and for matrix products oneDNN and OpenBLAS
// (bench/blas), for files of pictures torchvision. What is not there is left out, with a
// word on how to get it.
//
// On a GPU, steps and kernels are others, of sizes that a GPU is made for, and PyTorch,
// with the same device, is the only peer.
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/bench/internal/peer"
	"github.com/sinter-dl/sinter/bench/internal/rig"
)

// settings is what all comparisons have in common.
type settings struct {
	python  string
	sides   []string // of what there is; empty stands for all
	rounds  int
	window  time.Duration
	threads int
	packed  string // a folder with the programs, which need not be built then; see scripts/gpu-check
	device  string // as SINTER_DEVICE has it; "cpu" for none
	dir     string // temporary, for programs and jobs
	module  string // the root of Sinter's module

	onednn, openblas string // libraries

	made, disturbed int // windows in all, and those of them that did not get the machine for themselves
}

func main() {
	log.SetFlags(0)
	var s settings
	flag.StringVar(&s.python, "python", "python3", "Python with PyTorch")
	sides := flag.String("sides", "", "compare only these, with commas between; empty stands for all there are")
	flag.IntVar(&s.rounds, "rounds", 5, "windows of every side; the median counts")
	flag.DurationVar(&s.window, "window", time.Second, "length of a window")
	flag.IntVar(&s.threads, "threads", runtime.GOMAXPROCS(0), "threads of every side")
	flag.StringVar(&s.device, "device", "cpu", "what both Sinter and PyTorch compute on: cpu, or a CUDA device as cuda:0")
	flag.StringVar(&s.packed, "packed", "", "the folder that scripts/gpu-check has packed, on a machine without Go")
	flag.StringVar(&s.onednn, "onednn", "", "oneDNN's library, for kernels; empty stands for the one that Python has")
	flag.StringVar(&s.openblas, "openblas", "", "OpenBLAS's library, for kernels; empty stands for the one that Python has")
	flag.Parse()
	if *sides != "" {
		s.sides = strings.Split(*sides, ",")
	}
	if flag.NArg() == 0 {
		log.Fatal("what to compare: steps, kernels or images, then which if not all")
	}
	if err := s.run(flag.Arg(0), flag.Args()[1:]); err != nil {
		log.Fatal(err)
	}
}

func (s *settings) run(what string, rows []string) (err error) {
	if s.module = s.packed; s.packed == "" {
		mod, err := exec.Command("go", "env", "GOMOD").Output()
		if err != nil {
			return err
		}
		s.module = filepath.Dir(strings.TrimSpace(string(mod)))
	}
	if s.dir, err = os.MkdirTemp("", "compare"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	switch what {
	case "steps":
		return s.steps(rows)
	case "kernels":
		return s.kernels(rows)
	case "images":
		return s.images(rows)
	}
	return fmt.Errorf("cannot compare %q; there are: steps, kernels, images", what)
}

// build compiles a program of the benchmarks without cgo and returns its path. dir
// is below bench; env says how it is built.
func (s *settings) build(name, dir string, env ...string) (string, error) {
	if s.packed != "" {
		return filepath.Join(s.packed, "bin", name), nil
	}
	path := filepath.Join(s.dir, name)
	c := exec.Command("go", "build", "-o", path, ".")
	c.Dir = filepath.Join(s.module, "bench", dir)
	c.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building bench/%s: %w\n%s", dir, err, out)
	}
	return path, nil
}

// torchDevice is the device by PyTorch's name.
func (s *settings) torchDevice() string { return "--device=" + s.device }

// torch tells whether Python has PyTorch, and if not, says so.
func (s *settings) torch() bool {
	version, err := s.ask("import torch, safetensors; print(torch.__version__)")
	if err != nil {
		fmt.Printf("Without PyTorch: %v. %s\n", err, get)
		return false
	}
	fmt.Printf("PyTorch %s, %d thread(s) on every side, medians of %d windows of %v.\n", version, s.threads, s.rounds, s.window)
	return true
}

// get says where the peers are.
const get = "To have it: python3 -m venv DIR && DIR/bin/pip install -r bench/requirements.txt, then -python DIR/bin/python."

// ask runs a line of Python and returns what it prints.
func (s *settings) ask(line string) (string, error) {
	out, err := exec.Command(s.python, "-c", line).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%w %s", err, text[strings.LastIndexByte(text, '\n')+1:])
	}
	return text, nil
}

// samples is what the windows of one side gave: apart, those in which it had the
// machine for itself.
type samples struct{ quiet, disturbed []float64 }

// median is over the quiet windows, over the others if there is no quiet one, and not
// a number if there is none at all.
func (v samples) median() float64 {
	switch {
	case len(v.quiet) > 0:
		return rig.Median(v.quiet)
	case len(v.disturbed) > 0:
		return rig.Median(v.disturbed)
	}
	return math.NaN()
}

func (v *samples) add(x float64, quiet bool) {
	if quiet {
		v.quiet = append(v.quiet, x)
	} else {
		v.disturbed = append(v.disturbed, x)
	}
}

// measure makes a window of a side.
func (s *settings) measure(side *peer.Side, line string, reply any) (quiet bool, err error) {
	quiet, err = side.Measure(line, reply)
	s.made++
	if !quiet {
		s.disturbed++
	}
	return quiet, err
}

func (s *settings) sayDisturbed() {
	fmt.Printf("\n%d windows. In %d other work on the machine took processors from the side, though they were made again; they count only where a side has no others.\n", s.made, s.disturbed)
}

func run(command ...string) error {
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return nil
}
