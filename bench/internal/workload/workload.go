// Package workload holds the training jobs that Sinter's benchmarks run: small
// models with their data, taking the same way as anybody's training loop.
package workload

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/bench/internal/rig"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/format/safetensors"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// Names lists the jobs that New knows.
var Names = []string{"mlp-small", "mlp", "cnn", "lenet", "resnet20", "lstm", "gpt", "gpt-large"}

// OnDevice lists the jobs that are measured on a GPU. Those that are not among Names are
// too large for a processor.
var OnDevice = []string{"mlp", "resnet50", "gpt2"}

// Job is a model, its optimizer and its data.
type Job struct {
	Model     nn.Module
	Loss      nn.Loss
	Optimizer *optim.Optimizer
	Loader    *data.Loader
}

// New makes a job by name, always with the same weights and data. Images are
// 28×28×1 and the rule is Adam at 1e-3 unless something else is said:
//
//	mlp-small  784-128-10 with ReLU, batch 32, SGD at 0.01
//	mlp        784-512-512-10 with ReLU, batch 128
//	cnn        3×3 convolutions to 16 and 32 channels, each with ReLU and 2×2 max
//	           pooling, then 128 and 10 units, batch 64
//	lenet      LeNet-5, batch 64
//	resnet20   images of 32×32×3, batch 128, SGD at 0.1 with momentum 0.9 and weight
//	           decay 1e-4
//	lstm       2 layers of 256 units, 64 of 65 characters at once, batch 32, the
//	           gradients clipped
//	gpt        4 layers, 4 heads, 128 wide, 64 of 65 characters at once, batch 16,
//	           AdamW with the gradients clipped, as in the recipe gpt
//	gpt-large  6 layers, 6 heads, 384 wide, 256 characters at once, batch 8, else the
//	           same
//
//	gpt2       GPT-2 of 124M parameters: 12 layers, 12 heads, 768 wide, 50257 tokens,
//	           1024 at once, batch 16, AdamW with the gradients clipped
//	resnet50   images of 224×224×3, 1000 classes, batch 128, the rule of resnet20
//
// Options are added to the optimizer's.
func New(name string, options ...optim.Option) (*Job, error) {
	sinter.Seed(1)
	switch name {
	case "mlp-small":
		net := models.NewMLP(models.MLPConfig{Inputs: rig.Pixels, Hidden: []int{128}, Outputs: rig.Classes})
		return images(net, optim.SGD{LR: optim.Constant(0.01)}, options, rig.Examples, 32, rig.Pixels)
	case "mlp":
		net := models.NewMLP(models.MLPConfig{Inputs: rig.Pixels, Hidden: []int{512, 512}, Outputs: rig.Classes})
		return images(net, adam, options, rig.Examples, 128, rig.Pixels)
	case "cnn":
		return images(newCNN(), adam, options, rig.Examples, 64, 1, rig.Side, rig.Side)
	case "lenet":
		return images(models.NewLeNet(models.LeNetConfig{}), adam, options, rig.Examples, 64, 1, rig.Side, rig.Side)
	case "resnet20":
		rule := optim.SGD{LR: optim.Constant(0.1), Momentum: 0.9, WeightDecay: 1e-4}
		return images(models.NewResNet(models.ResNetConfig{}), rule, options, 2048, 128, 3, 32, 32)
	case "lstm":
		net := models.NewLSTMModel(models.LSTMConfig{Vocab: vocab, Hidden: 256, Layers: 2})
		return language(net, adam, options, 64, 32)
	case "gpt":
		net := models.NewGPT(models.GPTConfig{Vocab: vocab, Block: 64, Layers: 4, Heads: 4, Embed: 128})
		return language(net, adamW, options, 64, 16)
	case "gpt-large":
		net := models.NewGPT(models.GPTConfig{Vocab: vocab, Block: 256, Layers: 6, Heads: 6, Embed: 384})
		return language(net, adamW, options, 256, 8)
	}
	switch name {
	case "gpt2":
		net := models.NewGPT(models.GPTConfig{Vocab: 50257, Block: 1024, Layers: 12, Heads: 12, Embed: 768})
		return language(net, adamW, options, 1024, 16)
	case "resnet50":
		rule := optim.SGD{LR: optim.Constant(0.1), Momentum: 0.9, WeightDecay: 1e-4}
		return images(newResNet50(1000), rule, options, 512, 128, 3, 224, 224)
	}
	return nil, fmt.Errorf("unknown workload %q; known are %q and %q", name, Names, OnDevice)
}

// vocab is the number of characters of the language models.
const vocab = 65

var (
	adam  = optim.Adam{LR: optim.Constant(1e-3)}
	adamW = optim.AdamW{LR: optim.Constant(1e-3), Betas: [2]float64{0.9, 0.99}, WeightDecay: 0.1}
)

// MLP is a job for a perceptron with one hidden layer of the given width, on 2,048
// images, in batches of the given size.
func MLP(hidden, batch int) (*Job, error) {
	sinter.Seed(1)
	net := models.NewMLP(models.MLPConfig{Inputs: rig.Pixels, Hidden: []int{hidden}, Outputs: rig.Classes})
	return images(net, adam, nil, 2048, batch, rig.Pixels)
}

func images(net nn.Module, rule optim.Rule, options []optim.Option, examples, batch int, shape ...int) (*Job, error) {
	pixels := 1
	for _, n := range shape {
		pixels *= n
	}
	x, class := rig.Images(examples, pixels)
	set, err := data.Arrays(data.Floats("x", x, shape...), data.Ints("y", class))
	if err != nil {
		return nil, err
	}
	return newJob(net, nn.CrossEntropy, optim.New(net, rule, options...), set, batch), nil
}

func newJob(net nn.Module, loss nn.Loss, opt *optim.Optimizer, set data.Dataset, batch int) *Job {
	loader := &data.Loader{Dataset: set, Batch: batch, Shuffle: true, Seed: 1, DropLast: true}
	return &Job{Model: net, Loss: loss, Optimizer: opt, Loader: loader}
}

// cnn is the convolutional network of the benchmarks.
type cnn struct {
	Conv1, Conv2 *nn.Conv2D
	Pool         *nn.MaxPool2D
	Hidden, Out  *nn.Linear
}

func newCNN() *cnn {
	return &cnn{
		Conv1:  nn.NewConv2D(1, 16, 3, nn.Padding(1)),
		Conv2:  nn.NewConv2D(16, 32, 3, nn.Padding(1)),
		Pool:   nn.NewMaxPool2D(2),
		Hidden: nn.NewLinear(32*7*7, 128),
		Out:    nn.NewLinear(128, rig.Classes),
	}
}

func (c *cnn) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = c.Pool.Forward(nn.ReLU(c.Conv1.Forward(x)))
	x = c.Pool.Forward(nn.ReLU(c.Conv2.Forward(x)))
	return c.Out.Forward(nn.ReLU(c.Hidden.Forward(x.Flatten(1))))
}

// language trains a model on texts of block characters, in which each follows from
// the one before it, or is drawn at random.
func language(net nn.Module, rule optim.Rule, options []optim.Option, block, batch int) (*Job, error) {
	examples := 1 << 18 / block
	r := rand.New(rand.NewPCG(3, 4))
	x, y := make([]int64, examples*block), make([]int64, examples*block)
	for i := range examples {
		at := r.Int64N(vocab)
		for k := range block {
			x[i*block+k] = at
			if at = (at*7 + 3) % vocab; r.IntN(4) == 0 {
				at = r.Int64N(vocab)
			}
			y[i*block+k] = at
		}
	}
	set, err := data.Arrays(data.Ints("x", x, block), data.Ints("y", y, block))
	if err != nil {
		return nil, err
	}
	return newJob(net, nn.SequenceCrossEntropy, optim.New(net, rule, append(options, optim.ClipNorm(1))...), set, batch), nil
}

// Train makes steps until done returns true; it is called after every step with
// the loss. Epochs follow one another without end.
func (j *Job) Train(ctx context.Context, done func(loss float64) bool) error {
	for {
		for batch := range j.Loader.Batches(ctx) {
			loss := j.Loss(j.Model.Forward(batch.X), batch.Y)
			if err := j.Optimizer.Step(loss); err != nil {
				return err
			}
			if done(loss.Float()) {
				return nil
			}
		}
		if err := j.Loader.Err(); err != nil {
			return err
		}
	}
}

// Steps makes n steps and returns the last loss.
func (j *Job) Steps(ctx context.Context, n int) (loss float64, err error) {
	made := 0
	err = j.Train(ctx, func(l float64) bool {
		loss = l
		made++
		return made == n
	})
	return loss, err
}

// Export writes what another library needs to train the same: the model's initial
// state under its own names, and as "x" and "y" the batches [batches, size, …] of
// the first epoch in the order of the loader. It is called before the first step.
func (j *Job) Export(ctx context.Context, path string) error {
	var all []safetensors.Tensor
	for _, v := range nn.State(j.Model) {
		all = append(all, safetensors.Tensor{Name: v.Name, DType: v.DType(), Shape: v.Shape(), Data: v.Bytes()})
	}
	var x, y []byte
	shape := func(of *sinter.Tensor) []int { return append([]int{j.Loader.Steps()}, of.Shape()...) }
	var fields []safetensors.Tensor
	for batch := range j.Loader.Batches(ctx) {
		fields = []safetensors.Tensor{
			{Name: "x", DType: batch.X.DType(), Shape: shape(batch.X)},
			{Name: "y", DType: batch.Y.DType(), Shape: shape(batch.Y)},
		}
		bx, err := batch.X.Bytes()
		if err != nil {
			return err
		}
		by, err := batch.Y.Bytes()
		if err != nil {
			return err
		}
		x, y = append(x, bx...), append(y, by...)
	}
	if err := j.Loader.Err(); err != nil {
		return err
	}
	j.Loader.Seek(0, 0)
	fields[0].Data, fields[1].Data = x, y
	return safetensors.Write(path, append(all, fields...), nil)
}

// Digest is a SHA-256 over all weights and the optimizer's state, bit for bit.
func (j *Job) Digest() string {
	h := sha256.New()
	for _, v := range append(nn.State(j.Model), j.Optimizer.State()...) {
		fmt.Fprintf(h, "%s %v %v\n", v.Name, v.DType(), v.Shape())
		h.Write(v.Bytes())
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
