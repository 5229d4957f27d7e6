// Command mnist trains a multi-layer perceptron with a loop of its own: batches
// from a loader, a forward pass, a step. Without -data it reads digits and letters
// that the program renders itself.
//
//	go run ./examples/mnist -data path/to/mnist
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/glyphs"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// Net is the model: a struct whose fields are its layers.
type Net struct {
	Hidden *nn.Linear
	Out    *nn.Linear
}

// NewNet makes a Net for images of the given number of pixels.
func NewNet(pixels, classes int) *Net {
	return &Net{
		Hidden: nn.NewLinear(pixels, 512),
		Out:    nn.NewLinear(512, classes),
	}
}

// Forward takes images [N,1,H,W] to logits [N,classes].
func (n *Net) Forward(x *sinter.Tensor) *sinter.Tensor {
	return n.Out.Forward(nn.ReLU(n.Hidden.Forward(x.Flatten(1))))
}

func main() {
	log.SetFlags(0)
	dir := flag.String("data", "", "folder with the IDX files of MNIST; rendered glyphs if empty")
	epochs := flag.Int("epochs", 3, "passes over the training images")
	examples := flag.Int("examples", 10000, "glyphs to render")
	flag.Parse()

	source, err := open(*dir, *examples)
	if err != nil {
		log.Fatal(err)
	}
	sinter.Seed(1)
	pixels := 1
	for _, n := range source.Input() {
		pixels *= n
	}
	net := NewNet(pixels, len(source.Classes))
	if err := fit(context.Background(), net, source, *epochs); err != nil {
		log.Fatal(err)
	}
}

func open(dir string, examples int) (*data.Source, error) {
	if dir != "" {
		return data.OpenIDX(dir)
	}
	return glyphs.New(glyphs.Options{Train: examples, Test: examples / 5, Seed: 1})
}

func fit(ctx context.Context, net *Net, source *data.Source, epochs int) error {
	opt := optim.New(net, optim.Adam{LR: optim.Constant(1e-3)})
	loader := &data.Loader{Dataset: source.Train, Batch: 128, Shuffle: true, Seed: 1}
	for epoch := range epochs {
		var loss *sinter.Tensor
		for batch := range loader.Batches(ctx) {
			loss = nn.CrossEntropy(net.Forward(batch.X), batch.Y)
			if err := opt.Step(loss); err != nil { // gradients, update and loss in one program
				return err
			}
		}
		if err := loader.Err(); err != nil {
			return err
		}
		accuracy, err := test(ctx, net, source.Test)
		if err != nil {
			return err
		}
		fmt.Printf("epoch %d   loss %.4f   test accuracy %.2f %%\n", epoch+1, loss.Float(), 100*accuracy)
	}
	return nil
}

func test(ctx context.Context, net *Net, set data.Dataset) (float64, error) {
	accuracy := metric.Accuracy()
	loader := &data.Loader{Dataset: set, Batch: 500}
	for batch := range loader.Batches(ctx) {
		accuracy.Update(net.Forward(batch.X), batch.Y)
	}
	return accuracy.Value(), loader.Err()
}
