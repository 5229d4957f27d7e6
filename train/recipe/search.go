package recipe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
	"github.com/sinter-dl/sinter/train/tune"
)

// Names of the files of a search. Its trials are run folders beside them, trial-000 and
// so on.
const (
	searchFile = "search.json"  // what is searched: SearchFolder
	trialsFile = "trials.jsonl" // a measurement a line, in their order
)

// SearchFolder is a search over the settings of a recipe with the folder that keeps it.
type SearchFolder struct {
	Dir    string          `json:"-"`
	Format int             `json:"format"`
	Recipe json.RawMessage `json:"recipe"`
	Search tune.Search     `json:"search"`
}

const searchFormat = 1

// NewSearch begins a search in the folder dir, which must be absent or empty. All keys
// and listed values are checked first.
func NewSearch(dir string, r *Recipe, s tune.Search) (*SearchFolder, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	f := &SearchFolder{Dir: dir, Format: searchFormat, Recipe: text, Search: s}
	for _, p := range s.Space {
		values := p.Values
		if values == nil {
			values = []string{p.Number(0), p.Number(math.Nextafter(1, 0))}
		}
		for _, v := range values {
			probe, err := f.recipe(nil)
			if err == nil {
				err = probe.Set("--param "+p.Key, p.Key, v)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	job, err := Prepare(r) // what is wrong with the data is found before anything is written
	if err != nil {
		return nil, err
	}
	if err := checkQuantity("--metric", s.Metric, job.Trainer.Metrics); err != nil {
		return nil, err
	}
	switch entries, err := os.ReadDir(dir); {
	case err == nil && len(entries) > 0:
		return nil, usage("", "%s is not empty: name another folder with --out, or go on with --resume %s", dir, dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the folder of the search: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("the folder of the search: %w", err)
	}
	text, err = json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := rundir.WriteFile(filepath.Join(dir, searchFile), append(text, '\n')); err != nil {
		return nil, fmt.Errorf("the folder of the search: %w", err)
	}
	return f, nil
}

// OpenSearch goes on with the search in a folder: its Search.Done is what was measured.
func OpenSearch(dir string) (*SearchFolder, error) {
	name := filepath.Join(dir, searchFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("", "%s has no search to go on with: there is no %s", dir, searchFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the search: %w", err)
	}
	f := &SearchFolder{Dir: dir}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	if f.Format < 1 || f.Format > searchFormat {
		return nil, fmt.Errorf("%s has format %d; this version of Sinter reads up to %d", name, f.Format, searchFormat)
	}
	f.Search.Done, err = readTrials(filepath.Join(dir, trialsFile))
	return f, err
}

// measured is a line of trials.jsonl.
type measured struct {
	tune.Trial
	Rung   int     `json:"rung"`
	Share  float64 `json:"share"`
	Value  Number  `json:"value"`
	Failed string  `json:"failed,omitempty"`
}

// readTrials reads the measurements; a last line that was cut off is dropped, as it will
// be measured again.
func readTrials(name string) ([]tune.Measurement, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the search: %w", err)
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1]
	if len(whole) < len(text) {
		if err := os.Truncate(name, int64(len(whole))); err != nil {
			return nil, fmt.Errorf("reading the search: %w", err)
		}
	}
	var done []tune.Measurement
	lines := bufio.NewScanner(bytes.NewReader(whole))
	for n := 1; lines.Scan(); n++ {
		var m measured
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("%s:%d is damaged: %w", name, n, err)
		}
		done = append(done, tune.Measurement{Trial: m.Trial, Rung: m.Rung, Share: m.Share, Value: float64(m.Value), Failed: m.Failed})
	}
	return done, lines.Err()
}

// Run makes the search, or what is left of it, one trial after the other. The results
// are the trials, the best first, also if the search is interrupted.
func (f *SearchFolder) Run(ctx context.Context, callbacks []train.Callback, report func(tune.Measurement)) ([]tune.Measurement, error) {
	journal, err := os.OpenFile(filepath.Join(f.Dir, trialsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return nil, fmt.Errorf("the search: %w", err)
	}
	defer journal.Close()
	var failure error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ranked, err := f.Search.Run(ctx, func(ctx context.Context, t tune.Trial, share float64) (float64, error) {
		return f.measure(ctx, t, share, callbacks)
	}, func(m tune.Measurement) {
		line, err := json.Marshal(measured{m.Trial, m.Rung, m.Share, Number(m.Value), m.Failed})
		if err == nil {
			_, err = journal.Write(append(line, '\n'))
		}
		if err == nil {
			err = journal.Sync()
		}
		if err != nil && failure == nil {
			failure = fmt.Errorf("the search: %w", err)
			stop()
		}
		report(m)
	})
	return ranked, errors.Join(failure, err)
}

// TrialDir is the run folder of a trial.
func (f *SearchFolder) TrialDir(n int) string {
	return filepath.Join(f.Dir, fmt.Sprintf("trial-%03d", n))
}

// recipe is that of a trial.
func (f *SearchFolder) recipe(settings []tune.Setting) (*Recipe, error) {
	r, err := Parse(filepath.Join(f.Dir, searchFile), f.Recipe)
	if err != nil {
		return nil, err
	}
	for _, s := range settings {
		if err := r.Set("trial", s.Key, s.Value); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// errRung is why a trial stops at a rung.
var errRung = errors.New("the trial has come to its rung")

// measure trains a trial until it has made a share of its steps.
func (f *SearchFolder) measure(ctx context.Context, t tune.Trial, share float64, callbacks []train.Callback) (float64, error) {
	job, err := f.job(t)
	var wrong *UsageError
	if errors.As(err, &wrong) {
		return 0, &tune.TrialError{Err: err} // settings that do not go together
	}
	if err != nil {
		return 0, err
	}
	total := job.Trainer.StepsFor(job.Source.Examples())
	at := func(share float64) int { return max(1, int(math.Ceil(share*float64(total)))) }
	if first := at(f.Search.Least()); first < total {
		// Evaluations change nothing, so a recipe's own need not be kept.
		job.Trainer.EvalEvery = first
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watch := &rung{metric: f.Search.Metric, step: at(share), value: math.NaN(), stop: stop}
	_, err = job.Run(ctx, RunOptions{Dir: f.TrialDir(t.Number), Callbacks: append([]train.Callback{watch}, callbacks...)})
	switch {
	case errors.As(err, new(*train.DivergedError)), errors.As(err, new(*train.BudgetError)): // the budget is that of each trial
		return 0, &tune.TrialError{Err: err}
	case err != nil && errors.Is(context.Cause(ctx), errRung):
		err = nil
	}
	return watch.value, err
}

// job begins a trial, or goes on with it.
func (f *SearchFolder) job(t tune.Trial) (*Job, error) {
	dir := f.TrialDir(t.Number)
	if _, err := os.Stat(filepath.Join(dir, rundir.ManifestFile)); err == nil {
		job, err := Resume(dir, "", func(*Recipe) error { return nil })
		var finished *FinishedError
		if !errors.As(err, &finished) {
			return job, err
		}
		// Its end was not written down any more: it is trained again, to the same value.
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	r, err := f.recipe(t.Settings)
	if err != nil {
		return nil, err
	}
	return Prepare(r)
}

// rung takes the value of a trial at a step, and stops it there.
type rung struct {
	train.NopCallback
	metric string
	step   int
	value  float64
	stop   context.CancelCauseFunc

	stopped bool
}

// OnTrainBegin finds the value where an earlier process had come to the rung, but had
// not written it down any more.
func (r *rung) OnTrainBegin(s *train.State) {
	for i := range s.History {
		if s.History[i].Step >= r.step {
			before := *s
			before.Last = &s.History[i]
			r.OnEvaluate(&before)
			return
		}
	}
}

func (r *rung) OnEvaluate(s *train.State) {
	if r.stopped {
		return
	}
	value, err := s.Quantity(r.metric)
	if err != nil {
		s.Fail(err)
		return
	}
	r.value = value
	if s.Last.Step >= r.step && s.Last.Step < s.Steps {
		r.stopped = true
		r.stop(errRung)
	}
}
