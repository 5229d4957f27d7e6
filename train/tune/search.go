package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter/train"
)

// Method is how a search chooses its trials.
type Method string

const (
	// Grid tries all combinations; of a range five values.
	Grid Method = "grid"
	// Random draws each trial (Bergstra and Bengio, "Random Search for Hyper-Parameter
	// Optimization", 2012).
	Random Method = "random"
	// ASHA draws trials at random too, but trains each for a part of its steps first, and
	// goes on only with those that are among the best third of what has come as far:
	// asynchronous successive halving (Li et al., "A System for Massively Parallel
	// Hyperparameter Tuning", 2020), done here by one worker.
	ASHA Method = "asha"
)

// Search is a search for the settings with the best value of a quantity. All that it
// does follows from its fields and the values of the trials, so that one that was
// stopped can go on.
type Search struct {
	Space  []Param    `json:"space"`
	Method Method     `json:"method"`
	Trials int        `json:"trials,omitempty"` // of Random and ASHA; 20 if zero
	Seed   uint64     `json:"seed"`             // of Random and ASHA
	Metric string     `json:"metric"`           // as of train.State.Quantity
	Mode   train.Mode `json:"mode,omitempty"`

	// Reduction is what part goes on to the next rung of ASHA, one in so many; 3 if zero.
	// Rungs is how many there are, the last being the whole run; 3 if zero.
	Reduction int `json:"reduction,omitempty"`
	Rungs     int `json:"rungs,omitempty"`

	// Done are the measurements of an earlier part of the search, in their order.
	Done []Measurement `json:"-"`
}

// Trial is one choice of settings.
type Trial struct {
	Number   int       `json:"trial"` // from 0
	Settings []Setting `json:"settings"`
}

// Measurement is the value that a trial had reached at a rung. Rungs count from 0; the
// last is the end of the run.
type Measurement struct {
	Trial
	Rung   int
	Share  float64 // of the run's steps
	Value  float64 // NaN if training failed
	Failed string  // why it did
}

// Run makes the search. measure trains a trial until it has made the given share of
// its steps, going on from where an earlier call has left it, and gives the value then;
// a *TrialError is a trial that failed and is no reason to stop. Each measurement is
// reported as soon as it is there. The results are all measurements, the best first of
// those that came furthest.
func (s Search) Run(ctx context.Context, measure func(ctx context.Context, t Trial, share float64) (float64, error), report func(Measurement)) ([]Measurement, error) {
	s = s.defaults()
	if len(s.Space) == 0 {
		return nil, errors.New("tune: nothing to search: there are no parameters")
	}
	done := slices.Clone(s.Done)
	for {
		trial, rung, ok := s.next(done)
		if !ok {
			return s.Ranked(done), nil
		}
		m := Measurement{Trial: trial, Rung: rung, Share: s.share(rung)}
		var err error
		m.Value, err = measure(ctx, trial, m.Share)
		var failed *TrialError
		switch {
		case errors.As(err, &failed):
			m.Value, m.Failed = math.NaN(), failed.Err.Error()
		case err != nil:
			return s.Ranked(done), fmt.Errorf("trial %d: %w", trial.Number, err)
		}
		done = append(done, m)
		if report != nil {
			report(m)
		}
	}
}

// TrialError is a trial that cannot be trained, because of its settings: it diverged.
type TrialError struct{ Err error }

func (e *TrialError) Error() string { return e.Err.Error() }
func (e *TrialError) Unwrap() error { return e.Err }

func (s Search) defaults() Search {
	if s.Trials == 0 {
		s.Trials = 20
	}
	if s.Reduction == 0 {
		s.Reduction = 3
	}
	if s.Rungs == 0 {
		s.Rungs = 3
	}
	if s.Method != ASHA {
		s.Rungs = 1
	}
	return s
}

// Count is how many trials there will be.
func (s Search) Count() int {
	if s.Method != Grid {
		return s.defaults().Trials
	}
	n := 1
	for _, p := range s.Space {
		n *= len(grid([]Param{p}))
	}
	return n
}

// Least is the share of the steps at the first rung.
func (s Search) Least() float64 { return s.defaults().share(0) }

// share is the part of the steps that has been made at a rung.
func (s Search) share(rung int) float64 {
	return math.Pow(float64(s.Reduction), float64(rung-s.Rungs+1))
}

// next chooses what to measure after what is done: a trial that has earned its next
// rung, of the highest rungs first, else a new trial. It is false when all is done.
func (s Search) next(done []Measurement) (t Trial, rung int, ok bool) {
	for rung := s.Rungs - 2; rung >= 0; rung-- {
		at := s.at(done, rung)
		above := s.at(done, rung+1)
		for _, m := range at[:len(at)/s.Reduction] {
			if m.Failed == "" && !slices.ContainsFunc(above, func(o Measurement) bool { return o.Number == m.Number }) {
				return m.Trial, rung + 1, true
			}
		}
	}
	begun := len(s.at(done, 0))
	if begun == s.Count() {
		return Trial{}, 0, false
	}
	t = Trial{Number: begun}
	if s.Method == Grid {
		t.Settings = grid(s.Space)[begun]
	} else {
		t.Settings = sample(s.Space, s.Seed, begun)
	}
	return t, 0, true
}

// at is the measurements at a rung, the best first.
func (s Search) at(done []Measurement, rung int) []Measurement {
	var list []Measurement
	for _, m := range done {
		if m.Rung == rung {
			list = append(list, m)
		}
	}
	slices.SortStableFunc(list, s.compare)
	return list
}

// compare puts the better value first and what failed last.
func (s Search) compare(a, b Measurement) int {
	aBad, bBad := math.IsNaN(a.Value), math.IsNaN(b.Value)
	switch {
	case aBad && bBad || a.Value == b.Value:
		return 0
	case aBad:
		return 1
	case bBad:
		return -1
	}
	lower := s.Mode == train.Min || s.Mode == train.Auto && train.LowerIsBetter(s.Metric)
	if (a.Value < b.Value) == lower {
		return -1
	}
	return 1
}

// Ranked is the last measurement of every trial: those that came further before those
// that did not, the better first.
func (s Search) Ranked(done []Measurement) []Measurement {
	last := map[int]Measurement{}
	var order []int
	for _, m := range done {
		if _, ok := last[m.Number]; !ok {
			order = append(order, m.Number)
		}
		last[m.Number] = m
	}
	list := make([]Measurement, 0, len(order))
	for _, n := range order {
		list = append(list, last[n])
	}
	slices.SortStableFunc(list, func(a, b Measurement) int {
		if a.Rung != b.Rung {
			return b.Rung - a.Rung
		}
		return s.compare(a, b)
	})
	return list
}
