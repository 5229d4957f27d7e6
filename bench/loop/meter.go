package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
)

// The sides of a comparison of what metering and logging cost. They take turns: each trains
// some steps and hands over to the next.
const (
	plain   = iota // Fit alone
	logged         // a run as sinter train makes it, with its folder, meter: off
	metered        // the same with a meter
	sides
)

// turns is a callback that lets its run go on only when it has the baton.
type turns struct {
	train.NopCallback
	steps, rounds int
	baton, next   chan struct{}

	round int
	since time.Time
	took  []time.Duration // of this turn
	means []time.Duration // of the steps of all turns but the first, which compiles
	all   []time.Duration // their steps
}

func (c *turns) OnTrainBegin(*train.State) {
	<-c.baton
	c.since = time.Now()
}

func (c *turns) OnStep(s *train.State) {
	c.took = append(c.took, time.Since(c.since))
	if len(c.took) == c.steps {
		if c.round > 0 {
			sum := time.Duration(0)
			for _, d := range c.took[ahead:] { // the batches of the first were made in others' turns
				sum += d
			}
			c.means = append(c.means, sum/time.Duration(c.steps-ahead))
			c.all = append(c.all, c.took[ahead:]...)
		}
		c.took = c.took[:0]
		c.next <- struct{}{}
		if c.round++; c.round > c.rounds {
			s.Stop("all turns are taken")
			return
		}
		<-c.baton
	}
	c.since = time.Now()
}

// compareMetering prints what logging and metering add to a step of LeNet. On a busy machine
// that is lost in what a step of it varies by, so it is measured on a model whose step
// takes next to nothing, of which every step is logged, and set beside a step of LeNet.
func compareMetering(steps, rounds int) error {
	tiny, err := takeTurns(10*steps, rounds, [][2]string{{"model.kind", "mlp"}, {"model.hidden", "1"}, {"data.examples", "4096"}, {"batch", "1"}})
	if err != nil {
		return err
	}
	lenet, err := takeTurns(steps, max(2, rounds/4), nil)
	if err != nil {
		return err
	}
	step := quantile(lenet[plain].all, 10)
	fmt.Printf("a step of lenet: 10 %% take at most %.0f µs, 50 %% %.0f µs\n", micro(step), micro(median(lenet[plain].all)))
	show := func(what string, a, b *turns) {
		var more []time.Duration
		for i := range min(len(a.means), len(b.means)) {
			more = append(more, b.means[i]-a.means[i])
		}
		fmt.Printf("%s: %+.2f µs a step (median of %d turns of %d steps; quartiles %+.2f and %+.2f), %+.2f %% of the quick step of lenet\n",
			what, micro(median(more)), len(more), 10*steps-ahead, micro(quantile(more, 25)), micro(quantile(more, 75)), 100*float64(median(more))/float64(step))
	}
	show("metering", tiny[logged], tiny[metered])
	show("metering, and all that a run writes", tiny[plain], tiny[metered])
	return meterCalls()
}

// takeTurns trains all sides of a recipe.
func takeTurns(steps, rounds int, keys [][2]string) ([sides]*turns, error) {
	var all [sides]*turns
	dir, err := os.MkdirTemp("", "loop")
	if err != nil {
		return all, err
	}
	defer os.RemoveAll(dir)
	batons := make([]chan struct{}, sides)
	for i := range batons {
		batons[i] = make(chan struct{}, 1)
	}
	done := make(chan error, sides)
	var jobs [sides]*recipe.Job
	for i := range all {
		all[i] = &turns{steps: steps, rounds: rounds, baton: batons[i], next: batons[(i+1)%sides]}
		r, err := recipe.Load("lenet")
		if err != nil {
			return all, err
		}
		for _, kv := range keys {
			if err := r.Set(kv[0], kv[0], kv[1]); err != nil {
				return all, err
			}
		}
		r.Epochs, r.Steps = 0, (rounds+2)*steps
		r.Checkpoint.EverySteps = 1 << 30
		if i != metered {
			r.Energy.Meter = "off"
		}
		if jobs[i], err = recipe.Prepare(r); err != nil {
			return all, err
		}
		jobs[i].Source.Test = nil // evaluations are not what is measured
	}
	for i, job := range jobs {
		go func() {
			var err error
			if i == plain {
				t := *job.Trainer
				t.Callbacks = []train.Callback{all[i]}
				_, err = t.Fit(context.Background(), job.Model, job.Source.Examples(), nil)
			} else {
				_, err = job.Run(context.Background(), recipe.RunOptions{Dir: filepath.Join(dir, fmt.Sprint(i)), Callbacks: []train.Callback{all[i]}, Warn: func(string) {}})
			}
			done <- err
		}()
	}
	batons[plain] <- struct{}{}
	var errs []error
	for range sides {
		errs = append(errs, <-done)
	}
	return all, errors.Join(errs...)
}

// meterCalls prints what the meter itself takes: a reading, of which there is one for each
// step, and what its goroutine does ten times a second.
func meterCalls() error {
	m := power.Open(power.Options{})
	defer m.Close()
	ledger, err := power.NewLedger(m, &power.Rates{}, power.Usage{})
	if err != nil {
		return err
	}
	const n = 10_000
	begun := time.Now()
	for range n {
		ledger.Usage()
	}
	fmt.Printf("a reading of the books takes %.2f µs\n", micro(time.Since(begun))/n)
	s := power.Open(power.Options{Every: -1})
	defer s.Close()
	begun = time.Now()
	for range n / 10 {
		s.Read()
	}
	fmt.Printf("asking all sensors takes %.1f µs, ten times a second in the background\n", micro(time.Since(begun))/(n/10))
	return nil
}
