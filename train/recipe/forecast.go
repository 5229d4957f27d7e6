package recipe

import (
	"github.com/sinter-dl/sinter"
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
