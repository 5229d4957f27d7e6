// Command regression fits a curve: a small network learns a noisy sine from
// examples held in slices.
//
//	go run ./examples/regression
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

func main() {
	log.SetFlags(0)
	epochs := flag.Int("epochs", 40, "passes over the examples")
	flag.Parse()

	all, err := sine(1200)
	if err != nil {
		log.Fatal(err)
	}
	trainSet, testSet, err := data.Split(all, 0.2, 1)
	if err != nil {
		log.Fatal(err)
	}
	sinter.Seed(1)
	net := nn.Sequential{
		nn.NewLinear(1, 64), nn.Func(nn.Tanh),
		nn.NewLinear(64, 64), nn.Func(nn.Tanh),
		nn.NewLinear(64, 1),
	}
	trainer := train.Trainer{
		Optimizer: optim.Adam{LR: optim.Cosine{Peak: 1e-2}},
		Loss:      nn.MSE,
		Metrics:   []metric.Metric{metric.RMSE(), metric.R2()},
		Epochs:    *epochs,
		Batch:     32,
	}
	ctx := context.Background()
	report, err := trainer.Fit(ctx, net, trainSet, testSet)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range report.Metrics {
		fmt.Printf("test %s %.4f\n", m.Name, m.Value)
	}

	points, err := data.Arrays(data.Floats("x", []float32{-3, -2, -1, 0, 1, 2, 3}, 1))
	if err != nil {
		log.Fatal(err)
	}
	curve, err := trainer.Predict(ctx, net, points)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("\n   x    sin x   model")
	for i, y := range curve.Floats() {
		x := float64(i - 3)
		fmt.Printf("%4.0f  %7.3f %7.3f\n", x, math.Sin(x), y)
	}
}

// sine gives n noisy points of the sine between -4 and 4.
func sine(n int) (data.Dataset, error) {
	g := sinter.NewGenerator(7)
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		v := 8*g.Float64() - 4
		x[i] = float32(v)
		y[i] = float32(math.Sin(v) + 0.05*g.NormFloat64())
	}
	return data.Arrays(data.Floats("x", x, 1), data.Floats("y", y, 1))
}
