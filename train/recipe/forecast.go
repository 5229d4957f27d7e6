package recipe

import (
	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/plan"
)

// PreparePlan is Prepare of a job that is planned and not run: its weights are 0, for
// drawing those of a large model takes seconds. The recipe is prepared for the processor,
// whatever device it names.
func PreparePlan(r *Recipe) (*Job, error) {
	r.planned, r.Device = true, plan.CPU
	if r.Threads > 0 {
		sinter.SetThreads(r.Threads)
	}
	return Prepare(r)
}

// Planner forecasts what Run would take.
func (j *Job) Planner() (*plan.Planner, error) {
	return plan.New(j.Trainer, j.Model, j.Source.Examples(), j.Source.Test)
}

// Planned is the plan of a run beside what was measured. What was planned of time and
// energy is estimated; 0 is not known.
type Planned struct {
	Arena           int64  `json:"arena_bytes"`
	MeasuredArena   int64  `json:"measured_arena_bytes"`
	Memory          int64  `json:"memory_bytes"` // without the driver's
	MeasuredMemory  int64  `json:"measured_memory_bytes"`
	Step            Number `json:"seconds_per_step"`
	MeasuredStep    Number `json:"measured_seconds_per_step"`
	Evaluation      Number `json:"seconds_per_evaluation"`
	Joules          Number `json:"joules_per_step"`
	MeasuredJoules  Number `json:"measured_joules_per_step"`
	JoulesEstimated bool   `json:"measured_joules_are_estimated,omitempty"` // by a model
	Basis           string `json:"basis,omitempty"`                         // of the planned time
	// Slices of the device hold the run, by the memory that was measured.
	Slices []plan.Fit `json:"slices,omitempty"`
	Notes  []string   `json:"notes,omitempty"`
}

// planned is nil where a run cannot be planned, which is no error of the run.
func (j *Job) planned(t *train.Trainer, r *train.Report) *Planned {
	if r.Steps == 0 {
		return nil
	}
	device, err := plan.InUse()
	if err != nil {
		return nil
	}
	planner, err := plan.Of(r, t, j.Source.Examples())
	if err != nil {
		return nil
	}
	f, err := planner.Forecast(device, 0, plan.Terms{})
	if err != nil {
		return nil
	}
	stats := sinter.ReadStats()
	held := stats.PeakBytes + stats.KeptBytes - stats.HeldArena // the peak counts the arena
	p := &Planned{
		Arena: f.Memory.Arena, MeasuredArena: stats.HeldArena, MeasuredMemory: held, Slices: device.Slices(held), Memory: f.Memory.Total - f.Memory.Driver,
		Step: Number(f.Step), Evaluation: Number(f.Evaluation), Joules: Number(f.Watts * f.Step), Basis: f.Basis, Notes: f.Notes,
	}
	if r.SamplesPerSecond > 0 {
		p.MeasuredStep = Number(float64(r.Samples) / float64(r.Steps) / r.SamplesPerSecond)
	}
	if joules := r.Phases.JoulesPerStep(); joules > 0 {
		p.MeasuredJoules, p.JoulesEstimated = Number(joules), r.Usage.Estimated
	}
	return p
}
