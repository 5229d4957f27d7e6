// Package tune chooses settings of a training run by trying them.
//
//	lr.go       the learning rate: a short run in which it grows, until the loss does too
//	batch.go    the batch: short runs of larger and larger ones
//	search.go   any settings: many runs, by grid, at random, or by successive halving
//
// Each works on a train.Trainer or on runs of its own, and leaves the model it was given
// as it was.
package tune

import (
	"fmt"

	"github.com/sinter-dl/sinter/nn"
)

// Restoring gives the function that puts a model's variables back to what they are now.
func Restoring(model nn.Module) (restore func() error) {
	vars := nn.State(model)
	before := make([][]byte, len(vars))
	for i, v := range vars {
		before[i] = v.Bytes()
	}
	return func() error {
		for i, v := range vars {
			if err := v.SetBytes(before[i]); err != nil {
				return fmt.Errorf("tune: putting back %s: %w", v.Name, err)
			}
		}
		nn.Train(model)
		return nil
	}
}
