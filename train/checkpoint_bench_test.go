package train

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
)

// BenchmarkCheckpoint trains a model whose checkpoints have 100 MB, weights and Adam's
// moments, and writes one every tenth step. stall-ms is the longest that training stood
// still for one; step-ms is the median time of a step while nothing is written, first-ms
// and writing-ms that of the step after a copy was begun and of the others meanwhile.
func BenchmarkCheckpoint(b *testing.B) {
	const width, every = 2048, 10
	x := make([]float32, 64*width)
	for i := range x {
		x[i] = float32(i%17) / 17
	}
	set, err := data.Arrays(data.Floats("x", x, width), data.Floats("y", x, width))
	if err != nil {
		b.Fatal(err)
	}
	model := nn.Sequential{nn.NewLinear(width, width), nn.NewLinear(width, width)}
	var stalls, steps, first, writing []time.Duration
	var size int64
	begun := time.Now()
	last := &listening{}
	busy := false
	l := &listening{step: func(s *State) {
		took := time.Since(begun)
		switch {
		case s.Step <= every: // compiling
		case s.Step%every == 1:
			first = append(first, took)
		case busy:
			writing = append(writing, took)
		default:
			steps = append(steps, took)
		}
		if len(last.saved) > 0 {
			busy = false
		}
		if s.Step%every == 0 {
			busy, last.saved = true, nil
		}
		begun = time.Now()
	}}
	trainer := Trainer{
		Loss: nn.MSE, Steps: max(30, b.N), Batch: 64, Compile: true, Callbacks: []Callback{last, l},
		Checkpoint: Checkpoint{Dir: filepath.Join(b.TempDir(), "checkpoints"), EverySteps: every},
	}
	all := &collecting{}
	trainer.Callbacks = append(trainer.Callbacks, all)
	if _, err := trainer.Fit(b.Context(), model, set, nil); err != nil {
		b.Fatal(err)
	}
	for _, s := range all.saved[:len(all.saved)-1] { // training waits for the last one
		stalls, size = append(stalls, s.Stall), s.Bytes
	}
	b.Logf("training stood still for %v", stalls)
	ms := func(list []time.Duration, share float64) float64 {
		if len(list) == 0 {
			return 0
		}
		slices.Sort(list)
		return list[int(share*float64(len(list)-1))].Seconds() * 1e3
	}
	b.ReportMetric(float64(size)/1e6, "MB")
	b.ReportMetric(ms(stalls, 1), "stall-ms")
	b.ReportMetric(ms(steps, 0.5), "step-ms")
	b.ReportMetric(ms(first, 0.5), "first-ms")
	b.ReportMetric(ms(writing, 0.5), "writing-ms")
}

// collecting keeps what was said of all checkpoints.
type collecting struct {
	NopCallback
	saved []Saved
}

func (c *collecting) OnCheckpoint(_ *State, saved Saved) { c.saved = append(c.saved, saved) }
