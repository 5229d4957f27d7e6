// Package rig is what both sides of a benchmark share: the examples they train
// on and the clock that times their steps. It knows nothing of what it measures,
// so that a peer's program can link it without linking Sinter.
package rig

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
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
	Examples = 4096
)

// Images makes n images of the given number of pixels, and their classes. It gives
// the same images every time.
func Images(n, pixels int) (x []float32, class []int64) {
	r := rand.New(rand.NewPCG(1, 2))
	prototype := make([]float32, Classes*pixels)
	for i := range prototype {
		prototype[i] = r.Float32()
	}
	x, class = make([]float32, n*pixels), make([]int64, n)
	for k := range n {
		c := r.IntN(Classes)
		class[k] = int64(c)
		for i := range pixels {
			x[k*pixels+i] = prototype[c*pixels+i] + 0.3*float32(r.NormFloat64())
		}
		if r.IntN(5) == 0 {
			class[k] = int64(r.IntN(Classes))
		}
	}
	return x, class
}

// Meter times the steps of a training loop in windows, after a warm-up.
//
// Left alone it makes a number of windows. With -serve it waits, once it is warm,
// for lines on standard input and makes a window for each, so that another program
// can let several sides take turns while each pays for its start only once. Every
// answer is a [Report] on a line of its own: one when the side is warm, one for each
// window, one after the end of the input. package peer is the other end.
type Meter struct {
	Model   string // what to train, for the caller
	WarmUp  time.Duration
	Window  time.Duration
	Windows int
	Serve   bool

	asked       *bufio.Scanner // the lines of standard input
	steps       int            // in all
	report      Report         // of the start
	rates       []float64
	began       time.Time // of the program's measurement
	resident    int64     // then
	warm        bool
	windowBegan time.Time
	windowSteps int
	cpuBegan    float64
	cpu         []float64 // of the windows, ms per step
}

// Report is what a side says about itself. Fields that do not belong to the
// occasion are zero.
type Report struct {
	First     float64 `json:"first_s,omitempty"`      // the first step, with compilation
	FirstLoss float64 `json:"first_loss,omitempty"`   // of the untrained model
	Loss      float64 `json:"loss,omitempty"`         // after CompareAt steps
	Rate      float64 `json:"rate,omitempty"`         // steps per second of a window
	CPU       float64 `json:"cpu_ms,omitempty"`       // processor time of a step, on all threads
	Tensors   float64 `json:"tensors_mib,omitempty"`  // the most that tensors held together
	Resident  float64 `json:"resident_mib,omitempty"` // growth of the process since before the first step, at its highest
}

// CompareAt is the step after which the losses of the sides are compared. It is
// early, while rounding has not yet led them apart.
const CompareAt = 10

// Flags registers the meter's settings with package flag. models describes the
// values of -model.
func Flags(models string) *Meter {
	m := new(Meter)
	flag.StringVar(&m.Model, "model", "mlp", models)
	flag.DurationVar(&m.WarmUp, "warmup", time.Second, "time before the first window")
	flag.DurationVar(&m.Window, "window", 2*time.Second, "length of a window")
	flag.IntVar(&m.Windows, "windows", 3, "number of windows; the median counts")
	flag.BoolVar(&m.Serve, "serve", false, "make a window for each line on standard input and answer in JSON")
	return m
}

// Start is called before the first step, when data and model are there.
func (m *Meter) Start() {
	debug.FreeOSMemory() // what making the data took is not the training's
	m.resident = ResetPeak()
	m.began = time.Now()
}

// Step is called after every step with its loss. It returns true when all
// windows are full.
func (m *Meter) Step(loss float64) bool { return m.Steps(1, loss) }

// Steps is Step for n steps at once, where one is too short for the clock.
func (m *Meter) Steps(n int, loss float64) bool {
	now := time.Now()
	if m.steps == 0 {
		m.report.First, m.report.FirstLoss = now.Sub(m.began).Seconds(), loss
	}
	if m.steps < CompareAt {
		m.report.Loss = loss
	}
	m.steps += n
	if !m.warm {
		if m.steps >= CompareAt && now.Sub(m.began) >= m.WarmUp {
			m.warm = true
			if m.Serve {
				m.asked = bufio.NewScanner(os.Stdin)
				say(m.report)
			}
			return !m.begin()
		}
		return false
	}
	m.windowSteps += n
	elapsed := now.Sub(m.windowBegan)
	if elapsed < m.Window {
		return false
	}
	m.rates = append(m.rates, float64(m.windowSteps)/elapsed.Seconds())
	m.cpu = append(m.cpu, 1e3*(cpuSeconds()-m.cpuBegan)/float64(m.windowSteps))
	if m.Serve {
		say(Report{Rate: m.rates[len(m.rates)-1], CPU: m.cpu[len(m.cpu)-1]})
	}
	return !m.begin()
}

// begin starts a window, if one is wanted.
func (m *Meter) begin() bool {
	if m.Serve && !m.asked.Scan() || !m.Serve && len(m.rates) == m.Windows {
		return false
	}
	m.windowBegan, m.windowSteps, m.cpuBegan = time.Now(), 0, cpuSeconds()
	return true
}

func say(r Report) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // numbers alone, of which none is infinite
	}
	fmt.Println(string(line))
}

// Finish prints the result: with -serve the memory as a Report, else a line for
// people. tensors is the most bytes that tensors held together, 0 if the side does
// not count them.
func (m *Meter) Finish(side string, tensors int64) {
	_, peak := Resident()
	memory := Report{Tensors: float64(tensors) / (1 << 20), Resident: float64(max(0, peak-m.resident)) / (1 << 20)}
	if m.Serve {
		say(memory)
		return
	}
	r := m.report
	fmt.Printf("%.2f steps/s  %s %s: %d windows, %.2f to %.2f; %.3f ms of processor time a step; first step %.3f s; loss %.4f, after %d steps %.4f; %.1f MiB in tensors, %.1f MiB resident\n",
		Median(m.rates), side, m.Model, len(m.rates), slices.Min(m.rates), slices.Max(m.rates),
		Median(m.cpu), r.First, r.FirstLoss, CompareAt, r.Loss, memory.Tensors, memory.Resident)
}

// Median is the middle value, or the mean of the two in the middle.
func Median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
