package sinter_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/glyphs"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// What follows, up to the end of Fit, stands in the README as well.

type Net struct {
	Conv *nn.Conv2D
	Norm *nn.BatchNorm2D
	Out  *nn.Linear
}

func (n *Net) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = nn.ReLU(n.Norm.Forward(n.Conv.Forward(x))) // [N, 1, 28, 28] to [N, 8, 24, 24]
	return n.Out.Forward(x.Max(2, 3))              // [N, classes]
}

func Fit(ctx context.Context, images data.Dataset, classes int) (*Net, error) {
	net := &Net{nn.NewConv2D(1, 8, 5), nn.NewBatchNorm2D(8), nn.NewLinear(8, classes)}
	opt := optim.New(net, optim.Adam{LR: optim.Constant(0.01)})
	loader := data.Loader{Dataset: images, Batch: 64, Shuffle: true, Seed: 1}
	for batch := range loader.Batches(ctx) {
		loss := nn.CrossEntropy(net.Forward(batch.X), batch.Y)
		if err := opt.Step(loss); err != nil { // gradients, update and loss in one program
			return nil, err
		}
		fmt.Printf("step %d   loss %.3f\n", batch.Index+1, loss.Float())
	}
	return net, loader.Err()
}

func TestREADME(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, rest, _ := strings.Cut(read("README.md"), "```go\n")
	code, _, ok := strings.Cut(rest, "```")
	if !ok || !strings.Contains(read("example_test.go"), code) {
		t.Errorf("the code in README.md is not that of example_test.go:\n%s", code)
	}
	source, err := glyphs.New(glyphs.Options{Train: 640, Test: 64, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	sinter.Seed(1)
	if _, err := Fit(t.Context(), source.Train, len(source.Classes)); err != nil {
		t.Fatal(err)
	}
}
