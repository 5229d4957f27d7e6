package main

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/sinter-dl/sinter/bench/internal/peer"
	"github.com/sinter-dl/sinter/bench/internal/rig"
	"github.com/sinter-dl/sinter/bench/internal/workload"
)

// side is one side of the comparison of whole steps with what it reported.
type side struct {
	*peer.Side
	start, end rig.Report
	rates      samples
	peak       float64 // the highest rate
}

// steps compares training steps per second, the losses and the memory.
func (s *settings) steps(models []string) error {
	if len(models) == 0 {
		if models = workload.Names; s.device != "cpu" {
			models = workload.OnDevice
		}
	}
	sinter, err := s.build("steps", "steps")
	if err != nil {
		return err
	}
	torch := s.wanted("eager", "compile", "eager-bf16", "compile-bf16") && s.torch()
	gomlx := make(map[string]string) // name: program
	if s.device == "cpu" && s.wanted("gomlx", "gomlx-simd") && (slices.Contains(models, "mlp") || slices.Contains(models, "cnn")) {
		if gomlx, err = s.gomlx(); err != nil {
			fmt.Printf("Without GoMLX, whose module the first build downloads: %v\n", err)
		}
	}
	there := map[string]bool{"sinter": true, "sinter-bf16": true}
	for _, name := range []string{"eager", "compile", "eager-bf16", "compile-bf16"} {
		there[name] = torch
	}
	for name := range gomlx {
		there[name] = true
	}
	t := newTable(func(side string) bool { return there[side] && s.wanted(side) }, []column{
		{"model", nil},
		{"Sinter", of("sinter")}, {"eager", of("eager")}, {"compile", of("compile")},
		{"× best", of("eager", "compile")}, {"peaks ×", of("eager", "compile")},
		{"Sinter bf16", of("sinter-bf16")}, {"× fp32", of("sinter-bf16")},
		{"eager bf16", of("eager-bf16")}, {"compile bf16", of("compile-bf16")},
		{"bf16 × eager", of("eager-bf16")}, {"bf16 × compile", of("compile-bf16")},
		{"GoMLX", of("gomlx")}, {"GoMLX simd", of("gomlx-simd")}, {"× best", of("gomlx", "gomlx-simd")},
		{"loss", of("sinter")}, {"PyTorch's loss", of("eager")},
		{"MiB of tensors", of("sinter")}, {"PyTorch's", of("eager", "compile")}, {"×", of("eager", "compile")},
		{"MiB of tensors, bf16", of("sinter-bf16")}, {"PyTorch's", of("eager-bf16", "compile-bf16")}, {"×", of("eager-bf16", "compile-bf16")},
		{"MiB resident", of("sinter")}, {"eager's", of("eager")},
	})
	for _, model := range models {
		var commands [][]string
		inGo := func(name, program string, flags ...string) {
			c := []string{name, program, "-model", model, "-serve", fmt.Sprint("-window=", s.window)}
			commands = append(commands, append(c, flags...))
		}
		inGo("sinter", sinter)
		inGo("sinter-bf16", sinter, "-precision=bf16")
		if torch {
			job := filepath.Join(s.dir, model+".safetensors")
			if err := run(sinter, "-model", model, "-export", job); err != nil {
				return err
			}
			script := filepath.Join(s.module, "bench", "torch", "steps.py")
			python := func(name string, flags ...string) {
				c := []string{name, s.python, script, "--model", model, "--job", job, "--serve",
					s.torchDevice(), fmt.Sprint("--threads=", s.threads), fmt.Sprint("--window=", s.window.Seconds())}
				commands = append(commands, append(c, flags...))
			}
			python("eager")
			python("compile", "--compile")
			python("eager-bf16", "--bf16")
			python("compile-bf16", "--compile", "--bf16")
		}
		if model == "mlp" || model == "cnn" {
			for _, name := range slices.Sorted(maps.Keys(gomlx)) {
				inGo(name, gomlx[name])
			}
		}
		sides, err := s.turns(commands)
		if err != nil {
			return fmt.Errorf("%s: %w", model, err)
		}
		t.line(stepLine(model, sides))
	}
	s.sayDisturbed()
	return nil
}

// wanted tells whether -sides names one of these, or nothing.
func (s *settings) wanted(names ...string) bool {
	return len(s.sides) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(s.sides, n) })
}

// gomlx builds GoMLX's side as `go build` gives it and, on amd64, in its fast way.
func (s *settings) gomlx() (map[string]string, error) {
	programs := make(map[string]string)
	var err error
	if programs["gomlx"], err = s.build("gomlx", "gomlx"); err != nil {
		return nil, err
	}
	if runtime.GOARCH == "amd64" {
		if programs["gomlx-simd"], err = s.build("gomlx-simd", "gomlx", "GOEXPERIMENT=simd"); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// turns starts the sides that are wanted, one after the other, so that none warms up
// while another compiles, lets each make a window in every round, and ends them.
func (s *settings) turns(commands [][]string) (map[string]*side, error) {
	var sides []*side
	byName := make(map[string]*side)
	for _, c := range commands {
		if !s.wanted(c[0]) {
			continue
		}
		p, err := peer.Start(c[0], s.env(), c[1:]...)
		if err != nil {
			return nil, err
		}
		side := &side{Side: p}
		sides, byName[c[0]] = append(sides, side), side
		if err := p.Read(&side.start); err != nil {
			return nil, err
		}
	}
	for range s.rounds {
		for _, side := range sides {
			var w rig.Report
			quiet, err := s.measure(side.Side, "window", &w)
			if err != nil {
				return nil, err
			}
			side.rates.add(w.Rate, quiet)
			side.peak = max(side.peak, w.Rate)
		}
	}
	for _, side := range sides {
		if err := side.Finish(&side.end); err != nil {
			return nil, err
		}
	}
	return byName, nil
}

func stepLine(model string, sides map[string]*side) []string {
	value := func(name string, f func(*side) float64) float64 {
		if s := sides[name]; s != nil {
			return f(s)
		}
		return math.NaN()
	}
	rate := func(name string) float64 { return value(name, func(s *side) float64 { return s.rates.median() }) }
	peak := func(s *side) float64 { return s.peak }
	loss := func(s *side) float64 { return s.start.Loss }
	tensors := func(s *side) float64 { return s.end.Tensors }
	resident := func(s *side) float64 { return s.end.Resident }
	ours := rate("sinter")
	theirs := least(value("eager", tensors), value("compile", tensors))
	narrow := least(value("eager-bf16", tensors), value("compile-bf16", tensors))
	return []string{model, number(ours), number(rate("eager")), number(rate("compile")),
		ratio(ours, most(rate("eager"), rate("compile"))),
		ratio(value("sinter", peak), most(value("eager", peak), value("compile", peak))),
		number(rate("sinter-bf16")), ratio(rate("sinter-bf16"), ours), number(rate("eager-bf16")), number(rate("compile-bf16")),
		ratio(rate("sinter-bf16"), rate("eager-bf16")), ratio(rate("sinter-bf16"), rate("compile-bf16")),
		number(rate("gomlx")), number(rate("gomlx-simd")), ratio(ours, most(rate("gomlx"), rate("gomlx-simd"))),
		fmt.Sprintf("%.4f", value("sinter", loss)), fmt.Sprintf("%.4f", value("eager", loss)),
		number(value("sinter", tensors)), number(theirs), ratio(value("sinter", tensors), theirs),
		number(value("sinter-bf16", tensors)), number(narrow), ratio(value("sinter-bf16", tensors), narrow),
		number(value("sinter", resident)), number(value("eager", resident)),
	}
}

// most and least leave out what is not a number, unless nothing else is there.
func most(v ...float64) float64 { return pick(v, slices.Max[[]float64]) }

func least(v ...float64) float64 { return pick(v, slices.Min[[]float64]) }

func pick(v []float64, choose func([]float64) float64) float64 {
	v = slices.DeleteFunc(v, math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	return choose(v)
}

// number prints three or four digits, and nothing for what was not measured.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return ""
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func ratio(a, b float64) string { return number(a / b) }
