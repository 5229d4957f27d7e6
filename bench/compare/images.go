package main

import (
	"fmt"
	"math"
	"path/filepath"
)

// images compares how fast a folder of JPEG files becomes batches, with one worker and
// with two. rows may say the numbers of workers.
func (s *settings) images(rows []string) error {
	if len(rows) == 0 {
		rows = []string{"1", "2"}
	}
	sinter, err := s.build("sinter", "images")
	if err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "jpeg")
	if err := run(sinter, "-make", dir); err != nil {
		return err
	}
	torch := s.wanted("pil", "tensor")
	if torch {
		versions, err := s.ask("import torch, torchvision, PIL; print(f'PyTorch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}')")
		if err != nil {
			fmt.Printf("Without torchvision: %v. %s\n", err, get)
			torch = false
		} else {
			fmt.Printf("%s, medians of %d windows of %v, images/s.\n", versions, s.rounds, s.window)
		}
	}
	there := map[string]bool{"sinter": true, "pil": torch, "tensor": torch}
	t := newTable(func(side string) bool { return there[side] && s.wanted(side) }, []column{
		{"workers", nil},
		{"Sinter", of("sinter")}, {"DataLoader, Pillow", of("pil")}, {"DataLoader, tensors", of("tensor")},
		{"× best", of("pil", "tensor")}, {"peaks ×", of("pil", "tensor")},
	})
	for _, workers := range rows {
		commands := [][]string{{"sinter", sinter, "-workers", workers, "-serve", fmt.Sprint("-window=", s.window), dir}}
		if torch {
			script := filepath.Join(s.module, "bench", "torch", "images.py")
			for _, kind := range []string{"pil", "tensor"} {
				commands = append(commands, []string{kind, s.python, script, "--kind", kind, "--workers", workers, "--serve", fmt.Sprint("--window=", s.window.Seconds()), dir})
			}
		}
		sides, err := s.turns(commands)
		if err != nil {
			return fmt.Errorf("%s workers: %w", workers, err)
		}
		value := func(name string, f func(*side) float64) float64 {
			if s := sides[name]; s != nil {
				return f(s)
			}
			return math.NaN()
		}
		rate := func(name string) float64 { return value(name, func(s *side) float64 { return s.rates.median() }) }
		peak := func(name string) float64 { return value(name, func(s *side) float64 { return s.peak }) }
		t.line([]string{workers, number(rate("sinter")), number(rate("pil")), number(rate("tensor")),
			ratio(rate("sinter"), most(rate("pil"), rate("tensor"))), ratio(peak("sinter"), most(peak("pil"), peak("tensor")))})
	}
	s.sayDisturbed()
	return nil
}
