package main

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter/bench/internal/peer"
	"github.com/sinter-dl/sinter/bench/internal/rig"
)

// row is a case with its name and the unit in which its speed is told.
type row struct {
	name string
	rig.Case
}

// kernelRows are the operations that are compared.
func kernelRows() []row {
	var rows []row
	gemm := [][]int{
		{64, 64, 64}, {128, 128, 128}, {256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024}, {2048, 2048, 2048},
		{128, 512, 784}, {1, 4096, 4096}, {4, 4096, 4096}, {8, 4096, 4096}, {50176, 64, 288},
	}
	times := func(d []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(d), " ", "×"), "[]") }
	for _, mode := range []string{"NN", "NT", "TN"} {
		for _, d := range gemm {
			rows = append(rows, row{fmt.Sprintf("sgemm %s %s", mode, times(d)), rig.Case{Op: "gemm", Mode: mode, Dims: d}})
		}
	}
	rows = append(rows, row{"bmm 64 of 256×64×256", rig.Case{Op: "bmm", Dims: []int{64, 256, 64, 256}}})
	for _, mode := range []string{"NN", "NT", "TN"} {
		for _, d := range gemm[:7] {
			rows = append(rows, row{fmt.Sprintf("bf16 gemm %s %s", mode, times(d)), rig.Case{Op: "gemm", Mode: mode, Dims: d, BF16: true}})
		}
	}
	for _, c := range []struct {
		name string
		dims []int
	}{
		{"3×3, 64→64, 28×28, batch 32", []int{32, 64, 64, 28, 3, 1, 1, 1}},
		{"3×3, 16→16, 32×32, batch 128", []int{128, 16, 16, 32, 3, 1, 1, 1}},
		{"3×3/2, 128→128, 14×14, batch 32", []int{32, 128, 128, 14, 3, 2, 1, 1}},
		{"1×1, 256→64, 14×14, batch 32", []int{32, 256, 64, 14, 1, 1, 0, 1}},
		{"5×5, 32→64, 14×14, batch 32", []int{32, 32, 64, 14, 5, 1, 2, 1}},
		{"5×5, 1→6, 28×28, batch 64", []int{64, 1, 6, 28, 5, 1, 2, 1}},
		{"7×7/2, 3→64, 112×112, batch 8", []int{8, 3, 64, 112, 7, 2, 3, 1}},
		{"depthwise 3×3, 64, 28×28, batch 32", []int{32, 64, 64, 28, 3, 1, 1, 64}},
	} {
		for _, mode := range []string{"forward", "input", "weights"} {
			rows = append(rows, row{fmt.Sprintf("conv %s, %s", c.name, mode), rig.Case{Op: "conv", Mode: mode, Dims: c.dims}})
		}
	}
	for _, op := range []string{"softmax", "layernorm"} {
		for _, d := range [][]int{{4096, 256}, {4096, 4096}} {
			rows = append(rows, row{fmt.Sprintf("%s %s", op, times(d)), rig.Case{Op: op, Dims: d}})
		}
	}
	for _, n := range []int{1 << 18, 1 << 24} {
		rows = append(rows, row{fmt.Sprintf("gelu-backward %d", n), rig.Case{Op: "gelu-backward", Dims: []int{n}}})
	}
	for _, op := range []string{"adamw", "copy"} {
		rows = append(rows, row{fmt.Sprintf("%s %d", op, 1<<24), rig.Case{Op: op, Dims: []int{1 << 24}}})
	}
	return append(rows, row{"mlp-forward 784-128-10, batch 1", rig.Case{Op: "mlp-forward", Dims: []int{1, 784, 128, 10}}})
}

// deviceRows are the operations that are compared on a GPU: products that fill it, and
// what is bound by its memory on more than its caches hold.
func deviceRows() []row {
	var rows []row
	for _, n := range []int{4096, 8192} {
		for _, mode := range []string{"NN", "NT", "TN"} {
			rows = append(rows, row{fmt.Sprintf("bf16 gemm %s %d³", mode, n), rig.Case{Op: "gemm", Mode: mode, Dims: []int{n, n, n}, BF16: true}})
		}
	}
	rows = append(rows, row{"sgemm NN 4096³", rig.Case{Op: "gemm", Mode: "NN", Dims: []int{4096, 4096, 4096}}})
	for _, mode := range []string{"forward", "input", "weights"} {
		rows = append(rows, row{"bf16 conv 3×3, 128→128, 28×28, batch 128, " + mode,
			rig.Case{Op: "conv", Mode: mode, Dims: []int{128, 128, 128, 28, 3, 1, 1, 1}, BF16: true}})
	}
	for _, op := range []string{"copy", "gelu-backward", "adamw"} {
		rows = append(rows, row{fmt.Sprintf("%s %d", op, 1<<26), rig.Case{Op: op, Dims: []int{1 << 26}}})
	}
	for _, op := range []string{"softmax", "layernorm"} {
		rows = append(rows, row{op + " 16384×4096", rig.Case{Op: op, Dims: []int{16384, 4096}}})
	}
	return rows
}

// kernels compares single operations, those whose name contains one of the given
// texts, or all.
func (s *settings) kernels(wanted []string) error {
	all := kernelRows()
	if s.device != "cpu" {
		all = deviceRows()
	}
	rows := slices.DeleteFunc(all, func(r row) bool {
		return len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return strings.Contains(r.name, w) })
	})
	if len(rows) == 0 {
		return fmt.Errorf("no kernel has one of %q in its name", wanted)
	}
	sides, err := s.kernelSides()
	if err != nil {
		return err
	}
	there := func(name string) bool {
		return slices.ContainsFunc(sides, func(p *peer.Side) bool { return p.Name == name })
	}
	peers := of("torch", "onednn", "openblas")
	t := newTable(there, []column{
		{"operation", nil}, {"unit", nil}, {"Sinter", of("sinter")}, {"PyTorch", of("torch")}, {"oneDNN", of("onednn")},
		{"OpenBLAS", of("openblas")}, {"× best", peers}, {"peaks ×", peers},
	})
	for _, r := range rows {
		r.Seconds = s.window.Seconds()
		line, err := json.Marshal(r.Case)
		if err != nil {
			return err
		}
		seconds, best := make(map[string]*samples), make(map[string]float64)
		for range s.rounds {
			for _, side := range sides {
				var took rig.Timing
				quiet, err := s.measure(side, string(line), &took)
				if err != nil {
					return err
				}
				if took.Missing {
					continue
				}
				if seconds[side.Name] == nil {
					seconds[side.Name] = new(samples)
				}
				seconds[side.Name].add(took.Median, quiet)
				if b, ok := best[side.Name]; !ok || took.Best < b {
					best[side.Name] = took.Best
				}
			}
		}
		t.line(kernelLine(r, seconds, best))
	}
	for _, side := range sides {
		if err := side.Finish(nil); err != nil {
			return err
		}
	}
	s.sayDisturbed()
	return nil
}

// kernelLine tells the speed of the median call on each side, ours over the best of
// the peers, and the same of the fastest samples, which other work on the machine
// disturbs less.
func kernelLine(r row, seconds map[string]*samples, best map[string]float64) []string {
	unit, amount := "calls/ms", 1e-3
	if f := r.Flops(); f > 0 {
		unit, amount = "GFLOP/s", f/1e9
	} else if b := r.Bytes(); b > 0 {
		unit, amount = "GB/s", b/1e9
	}
	line := []string{r.name, unit}
	var typical, peak []float64 // of the peers
	for _, name := range []string{"sinter", "torch", "onednn", "openblas"} {
		v := math.NaN()
		if m := seconds[name]; m != nil {
			v = amount / m.median()
			if name != "sinter" {
				typical, peak = append(typical, v), append(peak, amount/best[name])
			}
		}
		line = append(line, number(v))
	}
	ours := seconds["sinter"]
	if ours == nil {
		return append(line, "", "")
	}
	return append(line, ratio(amount/ours.median(), most(typical...)), ratio(amount/best["sinter"], most(peak...)))
}

// kernelSides starts what there is to compare, and says what is missing.
func (s *settings) kernelSides() ([]*peer.Side, error) {
	var sides []*peer.Side
	// start keeps the side if it can do the smallest product.
	start := func(name string, command ...string) error {
		p, err := peer.Start(name, s.env(), command...)
		if err != nil {
			return err
		}
		var t rig.Timing
		if err := p.Ask(`{"op":"gemm","mode":"NN","dims":[1,1,1],"seconds":0}`, &t); err != nil {
			return err
		}
		sides = append(sides, p)
		return nil
	}
	if s.wanted("sinter") {
		program, err := s.build("kernels", "kernels")
		if err != nil {
			return nil, err
		}
		if err := start("sinter", program); err != nil {
			return nil, err
		}
	}
	if s.wanted("torch") && s.torch() {
		if err := start("torch", s.python, filepath.Join(s.module, "bench", "torch", "kernels.py"), s.torchDevice(), fmt.Sprint("--threads=", s.threads)); err != nil {
			return nil, err
		}
	}
	if s.device != "cpu" || !s.wanted("onednn", "openblas") {
		return sides, nil
	}
	program, err := s.build("blas", "blas")
	if err != nil {
		fmt.Printf("Without oneDNN and OpenBLAS; bench/blas, whose modules the first build downloads, does not build: %v\n", err)
		return sides, nil
	}
	for _, lib := range []struct{ name, title, path, find string }{
		{"onednn", "oneDNN", s.onednn, "import sys; print(sys.prefix + '/lib/libdnnl.so.3')"},
		{"openblas", "OpenBLAS", s.openblas, "import scipy_openblas32 as s; print(s.get_lib_dir() + '/' + s.get_library(fullname=True))"},
	} {
		if !s.wanted(lib.name) {
			continue
		}
		var err error
		if lib.path == "" {
			lib.path, err = s.ask(lib.find)
		}
		if err == nil {
			err = start(lib.name, program, "-"+lib.name, lib.path)
		}
		if err != nil {
			fmt.Printf("Without %s: %s. %s\n", lib.title, strings.TrimSpace(err.Error()), get)
		}
	}
	return sides, nil
}

// env is what sets the number of threads of every side.
func (s *settings) env() []string {
	n := fmt.Sprint(s.threads)
	return []string{"SINTER_DEVICE=" + s.device, "GOMAXPROCS=" + n, "OMP_NUM_THREADS=" + n, "OPENBLAS_NUM_THREADS=" + n}
}
