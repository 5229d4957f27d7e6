package recipe

import (
	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
)

// Summary is the table of the model's layers for a batch of so many examples, in use,
// not in training.
func (j *Job) Summary(batch int) (*nn.Summary, error) {
	defer nn.Evaluating(j.Model)()
	return nn.Summarize(j.Model, j.Input.zeros(batch))
}

// zeros is a batch of inputs of the right shape and type.
func (in Input) zeros(batch int) *sinter.Tensor {
	d := sinter.Float32
	if in.Task == data.Language {
		d = sinter.Int64
	}
	return sinter.Zeros(d, append([]int{batch}, in.Shape...)...)
}
