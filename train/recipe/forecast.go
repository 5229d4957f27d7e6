package recipe

import (
	"github.com/sinter-dl/sinter/train/plan"
)

// Planner forecasts what Run would take.
func (j *Job) Planner() (*plan.Planner, error) {
	return plan.New(j.Trainer, j.Model, j.Source.Examples(), j.Source.Test)
}
