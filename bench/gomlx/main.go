// Command gomlx is the peer's side of bench/steps: the same two networks, on the
// same examples, timed by the same clock, in GoMLX with its pure Go backend.
//
//	mlp   784-512-512-10 with ReLU, batch 128
//	cnn   3×3 convolutions to 16 and 32 channels, each with ReLU and 2×2 max
//	      pooling, then 128 and 10 units; 28×28 images, batch 64
//
// Both use Adam at 1e-3 and cross-entropy. Batches are cut once, before the
// clock starts, and copied for every step, because TrainStep consumes its input.
//
// It is a module of its own, so that Sinter does not depend on GoMLX. GoMLX is
// many times faster with Go's experimental SIMD package on amd64:
//
//	GOEXPERIMENT=simd go build
package main

import (
	"flag"
	"fmt"
	"log"
	"slices"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train"
	"github.com/gomlx/gomlx/ml/train/loss"
	"github.com/gomlx/gomlx/ml/train/optimizer"
	"github.com/sinter-dl/sinter/bench/internal/rig"
)

func mlp(s *model.Scope, x *graph.Node) *graph.Node {
	x = activation.Relu(layers.Dense(s.In("hidden1"), x, true, 512))
	x = activation.Relu(layers.Dense(s.In("hidden2"), x, true, 512))
	return layers.Dense(s.In("out"), x, true, rig.Classes)
}

func cnn(s *model.Scope, x *graph.Node) *graph.Node {
	for i, channels := range []int{16, 32} {
		x = layers.Convolution(s.In("conv%d", i+1), x).Channels(channels).KernelSize(3).PadSame().Done()
		x = graph.MaxPool(activation.Relu(x)).Window(2).Done()
	}
	x = graph.Reshape(x, x.Shape().Dimensions[0], -1)
	x = activation.Relu(layers.Dense(s.In("hidden"), x, true, 128))
	return layers.Dense(s.In("out"), x, true, rig.Classes)
}

func main() {
	log.SetFlags(0)
	meter := rig.Flags("mlp or cnn")
	flag.Parse()
	if err := run(meter); err != nil {
		log.Fatal(err)
	}
	meter.Finish("gomlx", 0)
}

func run(meter *rig.Meter) error {
	net, batch, shape := mlp, 128, []int{128, rig.Pixels}
	switch meter.Model {
	case "mlp":
	case "cnn":
		net, batch, shape = cnn, 64, []int{64, rig.Side, rig.Side, 1}
	default:
		return fmt.Errorf("unknown model %q", meter.Model)
	}
	backend, err := compute.NewWithConfig("go")
	if err != nil {
		return err
	}
	trainer := train.NewTrainer(backend, model.NewStore(), net, loss.SparseCategoricalCrossEntropyLogits,
		optimizer.Adam().LearningRate(1e-3).Done(), nil, nil)
	x, class := rig.Images(rig.Examples, rig.Pixels)

	meter.Start()
	for i := 0; ; i = (i + 1) % (rig.Examples / batch) {
		metrics, err := trainer.TrainStep(train.Batch{
			Inputs: []*tensors.Tensor{tensors.FromFlatDataAndDimensions(slices.Clone(x[i*batch*rig.Pixels:(i+1)*batch*rig.Pixels]), shape...)},
			Labels: []*tensors.Tensor{tensors.FromFlatDataAndDimensions(slices.Clone(class[i*batch:(i+1)*batch]), batch, 1)},
		})
		if err != nil {
			return err
		}
		value := tensors.ToScalar[float32](metrics[0])
		for _, m := range metrics {
			m.MustFinalizeAll()
		}
		if meter.Step(float64(value)) {
			return nil
		}
	}
}
