// Package rig is what both sides of a benchmark share: the examples they train
// on and the clock that times their steps. It knows nothing of what it measures,
// so that a peer's program can link it without linking Sinter.
package rig

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The synthetic images: Classes prototypes with noise on top. A network can learn
// them, but a fifth has a class drawn at random, so that the loss does not vanish:
// numbers next to zero would take the processor longer than ordinary ones.
const (
	Classes  = 10
	Side     = 28
	Pixels   = Side * Side
	Examples = 16384
)

// Images makes n images of Pixels values each, and their classes. It gives the
// same images every time.
func Images(n int) (x []float32, class []int64) {
	r := rand.New(rand.NewPCG(1, 2))
	var prototype [Classes][Pixels]float32
	for c := range prototype {
		for i := range prototype[c] {
			prototype[c][i] = r.Float32()
		}
	}
	x, class = make([]float32, n*Pixels), make([]int64, n)
	for k := range n {
		c := r.IntN(Classes)
		class[k] = int64(c)
		for i := range Pixels {
			x[k*Pixels+i] = prototype[c][i] + 0.3*float32(r.NormFloat64())
		}
		if r.IntN(5) == 0 {
			class[k] = int64(r.IntN(Classes))
		}
	}
	return x, class
}

// Meter times the steps of a training loop in windows, after a warm-up.
type Meter struct {
	Model   string // what to train, for the caller
	WarmUp  time.Duration
	Window  time.Duration
	Windows int

	steps       int // in all
	rates       []float64
	began       time.Time // of the program's measurement
	first       time.Duration
	firstLoss   float64
	loss        float64
	warm        bool
	windowBegan time.Time
	windowSteps int
	cpuBegan    float64
	cpuSteps    int
	cpu         float64 // seconds per step
}

// warmSteps is the least number of steps before the first window.
const warmSteps = 10

// Flags registers the meter's settings with package flag. models describes the
// values of -model.
func Flags(models string) *Meter {
	m := new(Meter)
	flag.StringVar(&m.Model, "model", "mlp", models)
	flag.DurationVar(&m.WarmUp, "warmup", time.Second, "time before the first window")
	flag.DurationVar(&m.Window, "window", 2*time.Second, "length of a window")
	flag.IntVar(&m.Windows, "windows", 3, "number of windows; the median counts")
	return m
}

// Start is called before the first step.
func (m *Meter) Start() { m.began = time.Now() }

// Step is called after every step with its loss. It returns true when all
// windows are full.
func (m *Meter) Step(loss float64) bool {
	now := time.Now()
	m.steps++
	m.loss = loss
	if m.steps == 1 {
		m.first, m.firstLoss = now.Sub(m.began), loss
	}
	if !m.warm {
		if m.steps >= warmSteps && now.Sub(m.began) >= m.WarmUp {
			m.warm, m.windowBegan, m.cpuBegan = true, now, cpuSeconds()
		}
		return false
	}
	m.windowSteps++
	m.cpuSteps++
	if elapsed := now.Sub(m.windowBegan); elapsed >= m.Window {
		m.rates = append(m.rates, float64(m.windowSteps)/elapsed.Seconds())
		m.windowBegan, m.windowSteps = now, 0
	}
	if len(m.rates) < m.Windows {
		return false
	}
	m.cpu = (cpuSeconds() - m.cpuBegan) / float64(m.cpuSteps)
	return true
}

// Result is one line: the median rate first, for a script to take, then what is
// good to know beside it.
func (m *Meter) Result(side string) string {
	s := fmt.Sprintf("%.2f steps/s  %s %s: %d windows, %.2f to %.2f; first step %v; loss %.3f to %.4f",
		Median(m.rates), side, m.Model, len(m.rates), slices.Min(m.rates), slices.Max(m.rates),
		m.first.Round(time.Millisecond), m.firstLoss, m.loss)
	if m.cpu > 0 {
		s += fmt.Sprintf("; %.2f ms of processor time a step", 1e3*m.cpu)
	}
	return s
}

// Median is the middle value, or the mean of the two in the middle.
func Median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
