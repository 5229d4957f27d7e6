package nn

import "github.com/sinter-dl/sinter"

// Checkpointed is a layer whose values are not kept for the backward pass but computed
// again; see [Checkpoint].
type Checkpointed struct{ Module }

// Checkpoint makes a layer, a block of a large model as a rule, forget what it has
// computed and compute it again in the backward pass: activation checkpointing as
// torch.utils.checkpoint does it. Names of variables stay as they are. See
// [sinter.Checkpoint].
func Checkpoint(layer Module) *Checkpointed { return &Checkpointed{layer} }

// Forward is that of the layer.
func (c *Checkpointed) Forward(x *sinter.Tensor) *sinter.Tensor {
	return CheckpointSequential(1, x, c.Module)
}

// CheckpointSequential applies the layers one after the other, checkpointed in runs of
// every layers: the values between two layers are kept at the end of each run only. A
// number below 1 applies them without checkpointing.
func CheckpointSequential[M Module](every int, x *sinter.Tensor, layers ...M) *sinter.Tensor {
	for len(layers) > 0 {
		run := layers[:min(max(every, 1), len(layers))]
		layers = layers[len(run):]
		forward := func(in []*sinter.Tensor) []*sinter.Tensor {
			x := in[0]
			for _, l := range run {
				x = l.Forward(x)
			}
			return []*sinter.Tensor{x}
		}
		if every < 1 {
			x = forward([]*sinter.Tensor{x})[0]
		} else {
			x = sinter.Checkpoint(forward, x)[0]
		}
	}
	return x
}
