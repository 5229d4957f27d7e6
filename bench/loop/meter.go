package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	steps, ahead, rounds int
	baton, next          chan struct{}

	round   int
	since   time.Time
	took    []time.Duration // of this turn
	medians []time.Duration // of all turns but the first, which compiles
	all     []time.Duration // their steps
}

func (c *turns) OnTrainBegin(*train.State) {
	<-c.baton
	c.since = time.Now()
}

func (c *turns) OnStep(s *train.State) {
	c.took = append(c.took, time.Since(c.since))
	if len(c.took) == c.steps {
		if c.round > 0 {
			c.medians = append(c.medians, median(c.took[c.ahead:]))
			c.all = append(c.all, c.took[c.ahead:]...)
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

// compareMetering prints what logging and metering add to a step of the recipe lenet.
func compareMetering(steps, rounds int) error {
	dir, err := os.MkdirTemp("", "loop")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	batons := make([]chan struct{}, sides)
	for i := range batons {
		batons[i] = make(chan struct{}, 1)
	}
	all := make([]*turns, sides)
	done := make(chan error, sides)
	var jobs [sides]*recipe.Job
	for i := range all {
		all[i] = &turns{steps: steps, ahead: ahead, rounds: rounds, baton: batons[i], next: batons[(i+1)%sides]}
		r, err := recipe.Load("lenet")
		if err != nil {
			return err
		}
		r.Epochs, r.Steps = 0, (rounds+2)*steps
		r.Checkpoint.EverySteps = 1 << 30
		if i != metered {
			r.Energy.Meter = "off"
		}
		if jobs[i], err = recipe.Prepare(r); err != nil {
			return err
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
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, name := range []string{"Fit alone", "with its run folder", "with folder and meter"} {
		fmt.Printf("%-22s steps: 10 %% take at most %.1f µs, 25 %% %.1f µs, 50 %% %.1f µs\n", name, micro(quantile(all[i].all, 10)), micro(quantile(all[i].all, 25)), micro(median(all[i].all)))
	}
	show := func(what string, a, b *turns) {
		var ratios []float64
		for i := range min(len(a.medians), len(b.medians)) {
			ratios = append(ratios, float64(b.medians[i])/float64(a.medians[i]))
		}
		slices.Sort(ratios)
		n := len(ratios)
		least := float64(quantile(b.all, 10))/float64(quantile(a.all, 10)) - 1
		fmt.Printf("%s: %+.2f %% of the quickest tenth of steps; %+.2f %% of a step (median of %d turns; quartiles %+.2f %% and %+.2f %%)\n", what, 100*least, 100*(ratios[n/2]-1), n, 100*(ratios[n/4]-1), 100*(ratios[3*n/4]-1))
	}
	show("metering", all[logged], all[metered])
	show("metering and logging", all[plain], all[metered])
	return meterCalls()
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
