// Command loop measures what train.Trainer and data.Loader add to a training step: steps
// of LeNet-5 on batches that lie ready, made with optim.Compile and nothing else, beside
// the same steps made by Fit, which deals out shuffled examples, puts the pixels' bytes
// into floats, keeps the mean of the losses, counts, calls back, and with -metrics
// measures the accuracy. With -loader, a loader deals the batches out to the bare steps, too:
// what is left is Fit.
//
//	go run ./bench/loop [-loader] [-metrics]
//	go run ./bench/loop -meter
//
// With -meter it measures, of the recipe lenet, what a run's folder and log and what
// metering its energy add to the steps of Fit.
//
// Both take turns of some thirty steps, so that a busy machine slows down both, and every
// turn gives one ratio of medians.
package main

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"log"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
)

const side, classes, examples = 28, 10, 60_000

func main() {
	log.SetFlags(0)
	batch := flag.Int("batch", 64, "examples in a step")
	steps := flag.Int("steps", 30, "of each side in every turn")
	turns := flag.Int("turns", 100, "of both sides")
	workers := flag.Int("workers", 0, "of the loader; 0: one less than there are processors")
	loader := flag.Bool("loader", false, "let the bare steps draw their batches from a loader of their own: what is left is Fit")
	metrics := flag.Bool("metrics", false, "measure the accuracy too")
	meter := flag.Bool("meter", false, "measure what logging a run and metering its energy add")
	profile := flag.String("cpuprofile", "", "write a processor profile to this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	if *meter {
		if err := compareMetering(*steps, *turns); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := run(*batch, *steps, *turns, *workers, *metrics, *loader); err != nil {
		log.Fatal(err)
	}
}

func run(batch, steps, turns, workers int, metrics, loader bool) error {
	random := rand.New(rand.NewPCG(1, 2))
	pixels := make([]byte, examples*side*side)
	for i := range pixels {
		pixels[i] = byte(random.Uint32())
	}
	labels := make([]int64, examples)
	for i := range labels {
		labels[i] = random.Int64N(classes)
	}
	set, err := data.ByteImages(pixels, []int{1, side, side}, labels)
	if err != nil {
		return err
	}
	bare, err := newBare(set, batch)
	if err != nil {
		return err
	}
	if loader {
		var stop func()
		if stop, err = bare.draw(set, batch, workers); err != nil {
			return err
		}
		defer stop()
	}
	c := turnTaker{bare: bare, steps: steps}
	t := train.Trainer{
		Optimizer: rule(), Loss: nn.CrossEntropy, Steps: steps * (turns + 1), Batch: batch, Compile: true,
		Loader: data.Loader{Workers: workers}, Callbacks: []train.Callback{&c},
	}
	if metrics {
		t.Metrics = []metric.Metric{metric.Accuracy()}
	}
	sinter.Seed(1)
	if _, err := t.Fit(context.Background(), models.NewLeNet(models.LeNetConfig{}), set, nil); err != nil {
		return err
	}
	slices.Sort(c.ratios)
	n := len(c.ratios)
	for _, q := range []int{10, 25, 50} {
		a, b := quantile(c.bareSteps, q), quantile(c.fitSteps, q)
		fmt.Printf("%d %% of the steps take at most: bare %.1f µs, Fit %.1f µs, %+.2f %%\n", q, micro(a), micro(b), 100*(float64(b)/float64(a)-1))
	}
	fmt.Printf("a turn's median step, Fit's over the bare one: %+.2f %% (median of %d turns; quartiles %+.2f %% and %+.2f %%)\n", 100*(c.ratios[n/2]-1), n, 100*(c.ratios[n/4]-1), 100*(c.ratios[3*n/4]-1))
	return nil
}

func micro(d time.Duration) float64 { return d.Seconds() * 1e6 }

func quantile(d []time.Duration, percent int) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)*percent/100]
}

func median(d []time.Duration) time.Duration { return quantile(d, 50) }

func rule() optim.Rule { return optim.Adam{LR: optim.Constant(1e-3)} }

// bare is the steps alone, on a few batches that stay as they are.
type bare struct {
	step    *optim.CompiledStep
	batches [][]*sinter.Tensor
	next    func() (data.Batch, bool) // in place of batches
}

// draw has the batches come from a loader, as Fit's do.
func (b *bare) draw(set data.Dataset, batch, workers int) (stop func(), err error) {
	l := data.Loader{Dataset: set, Batch: batch, Shuffle: true, Workers: workers, DropLast: true}
	forever := func(yield func(data.Batch) bool) {
		for {
			for x := range l.Batches(context.Background()) {
				if !yield(x) {
					return
				}
			}
			if l.Err() != nil {
				return
			}
		}
	}
	b.next, stop = iter.Pull(forever)
	return stop, nil
}

func (b *bare) batch(i int) []*sinter.Tensor {
	if b.next == nil {
		return b.batches[i%len(b.batches)]
	}
	x, _ := b.next()
	return []*sinter.Tensor{x.X, x.Y}
}

func newBare(set data.Dataset, batch int) (*bare, error) {
	sinter.Seed(1)
	net := models.NewLeNet(models.LeNetConfig{})
	nn.Train(net)
	opt := optim.New(net, rule())
	b := &bare{step: opt.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
		return nn.CrossEntropy(net.Forward(in[0]), in[1]), nil
	})}
	fields := set.Fields()
	for k := range 4 {
		x := sinter.NewHostBuffer(fields[0].DType, slices.Concat([]int{batch}, fields[0].Shape)...)
		y := sinter.NewHostBuffer(fields[1].DType, batch)
		for i := range batch {
			n, m := fields[0].Bytes(), fields[1].Bytes()
			if err := set.Read(k*batch+i, [][]byte{x.Bytes()[i*n : (i+1)*n], y.Bytes()[i*m : (i+1)*m]}); err != nil {
				return nil, err
			}
		}
		b.batches = append(b.batches, []*sinter.Tensor{x.Tensor(batch), y.Tensor(batch)})
	}
	return b, nil
}

// turnTaker is a callback that makes as many bare steps after every so many of Fit's. A
// turn's first steps of Fit do not count: their batches were made during the bare ones.
type turnTaker struct {
	train.NopCallback
	bare  *bare
	steps int

	since               time.Time
	fit                 []time.Duration // of this turn
	fitSteps, bareSteps []time.Duration
	ratios              []float64 // of the turns' medians
}

// ahead is how many batches may lie ready after a bare turn.
const ahead = 4

func (c *turnTaker) OnStep(s *train.State) {
	c.fit = append(c.fit, time.Since(c.since))
	if len(c.fit) == c.steps {
		var took []time.Duration
		for i := range c.steps {
			start := time.Now()
			if _, _, err := c.bare.step.Step(c.bare.batch(i)...); err != nil {
				s.Fail(err)
				return
			}
			took = append(took, time.Since(start))
		}
		if s.Step > c.steps { // the first turn compiles
			c.fitSteps = append(c.fitSteps, c.fit[ahead:]...)
			c.bareSteps = append(c.bareSteps, took[ahead:]...)
			c.ratios = append(c.ratios, float64(median(c.fit[ahead:]))/float64(median(took[ahead:])))
		}
		c.fit = c.fit[:0]
	}
	c.since = time.Now()
}
