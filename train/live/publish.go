package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sinter-dl/sinter/internal/process"
	"github.com/sinter-dl/sinter/train"
)

// Options are what a callback is not told.
type Options struct {
	Dir    string // of the run
	Recipe string // its name
	Device string // "cuda:0"
}

// Publish is a callback that lets List know of the run. It comes last among the
// callbacks, so that what the others do is part of what it tells.
func Publish(o Options) train.Callback {
	if dir, err := filepath.Abs(o.Dir); err == nil && o.Dir != "" {
		o.Dir = dir
	}
	return &publisher{options: o}
}

// How often the file is written: once in interval if there is something new, and in any
// case after heartbeat.
var (
	interval  = time.Second
	heartbeat = 10 * time.Second
)

// published counts the runs of this process, which may train several at a time.
var published atomic.Int64

type publisher struct {
	train.NopCallback
	options  Options
	identity process.ID
	name     string // of the file

	mu    sync.Mutex // of what the loop notes and the goroutine writes
	run   Run
	fresh bool  // run has changed since it was written
	err   error // why the file was not written, until it has been warned of

	warned bool
	stop   chan struct{}
	done   sync.WaitGroup
}

func (p *publisher) OnTrainBegin(s *train.State) {
	p.identity = process.Self()
	p.run = Run{PID: os.Getpid(), Started: time.Now(), Dir: p.options.Dir, Recipe: p.options.Recipe, Device: p.options.Device}
	p.note(s, Starting)
	dir, err := folder()
	if err == nil {
		hash := fnv.New32a()
		fmt.Fprint(hash, p.identity)
		p.name = filepath.Join(dir, fmt.Sprintf("%d-%08x-%d%s", os.Getpid(), hash.Sum32(), published.Add(1), suffix))
		err = p.write()
	}
	if err != nil {
		p.warn(s, err)
	}
	if p.name == "" {
		return
	}
	p.stop = make(chan struct{})
	p.done.Go(p.keep)
}

func (p *publisher) OnStep(s *train.State)          { p.note(s, Training) }
func (p *publisher) OnEvaluateBegin(s *train.State) { p.note(s, Evaluating) }
func (p *publisher) OnEvaluate(s *train.State)      { p.note(s, Training) }
func (p *publisher) OnEvaluateAbort(s *train.State) { p.note(s, Training) }
func (p *publisher) OnPause(s *train.State) {
	if s.Paused != nil {
		p.note(s, Paused)
		return
	}
	p.note(s, Training)
}
func (p *publisher) OnCheckpointBegin(s *train.State) { p.note(s, Checkpointing) }
func (p *publisher) OnCheckpointEnd(s *train.State)   { p.note(s, Training) }
func (p *publisher) OnEpochBegin(s *train.State) {
	if s.Step > 0 {
		p.note(s, Training)
	}
}

// OnTrainEnd removes the file.
func (p *publisher) OnTrainEnd(*train.State) {
	if p.stop == nil {
		return
	}
	close(p.stop)
	p.done.Wait()
	p.stop = nil
	os.Remove(p.name)
}

// note takes down where the run stands.
func (p *publisher) note(s *train.State, state string) {
	p.mu.Lock()
	r := &p.run
	r.State = state
	r.Step, r.Steps, r.Epoch, r.Epochs, r.Samples = s.Step, s.Steps, s.Epoch, s.Epochs, s.Samples
	r.Loss, r.SamplesPerSecond, r.SecondsLeft = s.TrainLoss, s.SamplesPerSecond(), s.Left().Seconds()
	if s.Step == 0 { // nothing is known yet
		r.Loss, r.SamplesPerSecond, r.SecondsLeft = math.NaN(), math.NaN(), math.NaN()
	}
	r.Reason = ""
	if s.Paused != nil {
		r.Reason = s.Paused.String()
	}
	r.Usage, r.JoulesPerSample, r.Watts = s.Usage, s.Phases.JoulesPerSample(), s.Watts
	if s.Watts == 0 {
		r.Watts = math.NaN()
	}
	p.fresh = true
	err := p.err
	p.err = nil
	p.mu.Unlock()
	if err != nil {
		p.warn(s, err)
	}
}

// warn says once that others will not see the run.
func (p *publisher) warn(s *train.State, err error) {
	if !p.warned {
		p.warned = true
		s.Warn("sinter top will not show this run as it is: " + err.Error())
	}
}

// keep renews the file until the run ends.
func (p *publisher) keep() {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			p.mu.Lock()
			due := p.fresh || now.Sub(p.run.Updated) >= heartbeat
			p.mu.Unlock()
			if !due {
				continue
			}
			err := p.write()
			if err != nil { // on Windows a reader is in the way for a moment
				time.Sleep(min(20*time.Millisecond, interval))
				err = p.write()
			}
			if err != nil {
				p.mu.Lock()
				p.err = err
				p.mu.Unlock()
			}
		}
	}
}

// write replaces the file.
func (p *publisher) write() error {
	p.mu.Lock()
	p.run.Updated = time.Now()
	p.fresh = false
	text, err := json.Marshal(record{p.identity, p.run})
	p.mu.Unlock()
	if err != nil {
		return err
	}
	// A file that is there already is not followed and not written to.
	draft := p.name + temporary
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(draft, p.name)
	}
	if err != nil {
		os.Remove(draft)
	}
	return err
}
