package train

import (
	"errors"
	"time"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/power"
)

// Report is what came out of a run.
type Report struct {
	Epochs  int // begun
	Steps   int // made
	Skipped int // of them, those that updated nothing, for the scaled loss overflowed
	Samples int // trained on

	TrainLoss    float64 // mean over the last epoch
	TrainMetrics []Value
	TestLoss     float64 // after the last step; NaN when it was not measured
	Metrics      []Value // on the test set, after the last step

	Parameters       int
	SamplesPerSecond float64 // of training, evaluation not counted
	Duration         time.Duration
	PeakMemory       int64   // of the process, in bytes
	PeakMemorySource string  // how it was measured
	UploadedPerStep  float64 // bytes copied from the host to the device; 0 on the processor

	// What the run has used, if its Trainer had Energy: all of it, and in parts.
	Usage         power.Usage
	Phases        Phases
	StepsPerEpoch int // of the last epoch; 0 if that is not known

	History []Evaluation
	Stopped string // why a callback ended training, if one did

	planner func() (*Planner, error)

	Bad      []*data.ExampleError // what Loader.SkipBad left out of training, each once
	BadCount int                  // how many times, every epoch counted
}

// Planner plans the steps that were made, to be set beside what they took. What has been
// recorded for them is used again.
func (r *Report) Planner() (*Planner, error) {
	if r.planner == nil {
		return nil, errors.New("train: the report is of no run")
	}
	return r.planner()
}

// Evaluation is a measurement during training.
type Evaluation struct {
	Epoch, Step  int
	TrainLoss    float64 // mean over the epoch so far
	TrainMetrics []Value
	Tested       bool    // whether there was a test set
	TestLoss     float64 // NaN without one
	Metrics      []Value // on the test set
}

// Value is a metric's result.
type Value struct {
	Name  string
	Value float64
}

func values(metrics []metric.Metric) []Value {
	if len(metrics) == 0 {
		return nil
	}
	vs := make([]Value, len(metrics))
	for i, m := range metrics {
		vs[i] = Value{m.Name(), m.Value()}
	}
	return vs
}

func reset(metrics []metric.Metric) {
	for _, m := range metrics {
		m.Reset()
	}
}
