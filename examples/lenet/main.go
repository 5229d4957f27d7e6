// Command lenet trains a convolutional network with the Trainer, which makes the
// loop, measures and reports. Without -data it reads digits and letters that the
// program renders itself.
//
//	go run ./examples/lenet -data path/to/mnist
//
// With -checkpoints it can be stopped, by Ctrl-C or less politely, and goes on when it
// is started again with the same flags.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/glyphs"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

// Net is a small convolutional network.
type Net struct {
	Conv1, Conv2 *nn.Conv2D
	Norm         *nn.BatchNorm2D
	Out          *nn.Linear
}

// NewNet makes a Net for grey images.
func NewNet(classes int) *Net {
	return &Net{
		Conv1: nn.NewConv2D(1, 8, 3, nn.Stride(2), nn.Padding(1)),
		Conv2: nn.NewConv2D(8, 16, 3, nn.Stride(2), nn.Padding(1)),
		Norm:  nn.NewBatchNorm2D(16),
		Out:   nn.NewLinear(16, classes),
	}
}

// Forward takes images [N,1,H,W] to logits [N,classes].
func (n *Net) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = nn.ReLU(n.Conv1.Forward(x))
	x = nn.ReLU(n.Norm.Forward(n.Conv2.Forward(x)))
	return n.Out.Forward(x.Max(2, 3))
}

// printer is a callback that tells how each epoch went.
type printer struct{ train.NopCallback }

func (printer) OnEpochEnd(s *train.State) {
	fmt.Printf("epoch %d/%d   loss %.4f   test loss %.4f   %.0f samples/s\n",
		s.Epoch, s.Epochs, s.TrainLoss, s.Last.TestLoss, s.SamplesPerSecond())
}

func main() {
	log.SetFlags(0)
	dir := flag.String("data", "", "folder with the IDX files of MNIST; rendered glyphs if empty")
	epochs := flag.Int("epochs", 3, "passes over the training images")
	examples := flag.Int("examples", 10000, "glyphs to render")
	checkpoints := flag.String("checkpoints", "", "folder to write checkpoints to and to go on from; none if empty")
	flag.Parse()

	source, err := open(*dir, *examples)
	if err != nil {
		log.Fatal(err)
	}
	sinter.Seed(1)
	trainer := train.Trainer{
		Optimizer: optim.AdamW{LR: optim.OneCycle{Peak: 5e-3}, WeightDecay: 0.01},
		Loss:      nn.CrossEntropy,
		Metrics:   []metric.Metric{metric.Accuracy()},
		Callbacks: []train.Callback{printer{}},
		Epochs:    *epochs,
		Batch:     64,
		// Without a folder there are no checkpoints; with one, what is in it is gone on from.
		Checkpoint: train.Checkpoint{Dir: *checkpoints, EveryTime: 30 * time.Second, Resume: *checkpoints != ""},
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	report, err := trainer.Fit(ctx, NewNet(len(source.Classes)), source.Train, source.Test)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range report.Metrics {
		fmt.Printf("test %s %.4f\n", m.Name, m.Value)
	}
}

func open(dir string, examples int) (*data.Source, error) {
	if dir != "" {
		return data.OpenIDX(dir)
	}
	return glyphs.New(glyphs.Options{Train: examples, Test: examples / 5, Seed: 1})
}
