package train

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sinter-dl/sinter/train/checkpoint"
)

// Checkpoint says where and when a Trainer writes checkpoints, and what it goes on
// from. A checkpoint has all that the run depends on: weights, the optimizer with its
// schedule and scaler, random numbers, the position in the data, sums of metrics and
// losses, the history, the memory of callbacks. A run that goes on from one makes the
// same bits as one that was never stopped.
//
// One is written at the end, when training is interrupted, and whenever one of the
// Every fields says so, with none of them every five minutes. Values are copied
// between two steps; a goroutine writes them while training goes on. A checkpoint
// that cannot be written is warned of, and training goes on; the ones before it stay.
type Checkpoint struct {
	Dir string // folder of checkpoints; without it there are none

	EverySteps  int
	EveryEpochs int
	EveryTime   time.Duration

	Keep    int    // so many of the newest stay; 2 if zero
	Best    int    // and so many of those with the best value of Monitor, written after evaluations
	Monitor string // as of State.Quantity; "test_loss" if empty
	Mode    Mode   // Auto: by the name

	Sync bool // training waits until a checkpoint is on the disk

	// Resume goes on from the newest checkpoint in Dir, if there is one; From from a
	// certain one, by its path. A damaged one is a *checkpoint.DamagedError.
	Resume bool
	From   string

	// Log gives what a log of the run has to keep of what has been written so far, and a
	// run that goes on hands it to CutLog. Both may be nil.
	Log    func() (position int64, sync func() error)
	CutLog func(position int64) error
}

// Saved is a checkpoint that was written, or could not be.
type Saved struct {
	Step  int
	Path  string
	Bytes int64
	Score *checkpoint.Score // the quantity that best ones are chosen by, where it was measured now
	Stall time.Duration     // for which training stood still
	Took  time.Duration     // from then until it was on the disk
	Err   error             // why it was not written

	pruning error // why checkpoints that are not to be kept are still there
}

// CheckpointListener is a callback that is told of checkpoints, between steps. A callback
// with methods OnCheckpointBegin(*State) and OnCheckpointEnd(*State) has these called around
// the time for which training stands still for one.
type CheckpointListener interface {
	Callback
	OnCheckpoint(*State, Saved)
}

// stalls is a callback that is told when training begins to stand still for a checkpoint,
// and when it goes on.
type stalls interface {
	OnCheckpointBegin(*State)
	OnCheckpointEnd(*State)
}

// standardInterval is how often there is a checkpoint if nothing is said.
const standardInterval = 5 * time.Minute

// saver writes the checkpoints of a run.
type saver struct {
	Checkpoint
	free    []*copied  // memory of copies, to be used again
	results chan Saved // of the one that is being written
	writing *copied    // nil if none is
	next    *copied    // to be written when that is done
	late    bool       // one was due while another was being written
	slow    bool       // that has been said
	best    *float64   // with Best 1: the best score so far; nil if the folder has to be asked
	last    time.Time  // when the last one was begun
	step    int        // the step of the last that was written, or that was gone on from; -1 if there is none
	path    string     // of it
}

// saver checks the settings; nil without checkpoints.
func (c Checkpoint) saver() (*saver, error) {
	if c.EverySteps < 0 || c.EveryEpochs < 0 || c.EveryTime < 0 || c.Keep < 0 || c.Best < 0 {
		return nil, fmt.Errorf("train: negative settings of checkpoints: every %d steps, %d epochs, %v; keep %d, best %d", c.EverySteps, c.EveryEpochs, c.EveryTime, c.Keep, c.Best)
	}
	if c.Dir == "" {
		if c.Resume || c.From != "" {
			return nil, errors.New("train: a run cannot go on without a folder of checkpoints: Checkpoint.Dir is empty")
		}
		return nil, nil
	}
	if c.EverySteps == 0 && c.EveryEpochs == 0 && c.EveryTime == 0 {
		c.EveryTime = standardInterval
	}
	if c.Keep == 0 {
		c.Keep = 2
	}
	if c.Monitor == "" {
		c.Monitor = "test_loss"
	}
	return &saver{Checkpoint: c, results: make(chan Saved, 1), last: time.Now(), step: -1}, nil
}

// reserve makes the memory that checkpoints are copied to, by a copy for nothing: to make
// it takes longer than training is to stand still for a checkpoint.
func (r *fit) reserve() {
	if r.saver == nil {
		return
	}
	c := new(copied)
	if err := r.snapshot(c, nil, 0); err == nil { // else the first checkpoint says so
		if c.wait() == nil {
			r.saver.free = append(r.saver.free, c)
		}
	}
}

// saveIfDue writes a checkpoint after a step if it is time for one.
func (r *fit) saveIfDue() error {
	v, s := r.saver, r.state
	if v == nil {
		s.saveNow = false
		return nil
	}
	v.poll(s, r.Callbacks, false)
	due := v.late ||
		v.EverySteps > 0 && s.Step%v.EverySteps == 0 ||
		v.EveryEpochs > 0 && r.whole() && s.Epoch%v.EveryEpochs == 0 ||
		v.EveryTime > 0 && time.Since(v.last) >= v.EveryTime
	switch {
	case s.saveNow, s.Step == s.Steps:
	case !due:
		return nil
	case v.writing != nil: // put off rather than standing still
		if v.late = true; !v.slow {
			v.slow = true
			s.Warn(fmt.Sprintf("the checkpoint of step %d waits until the one before it has been written, and later ones may too", s.Step))
		}
		return nil
	}
	s.saveNow = false
	return r.save(nil)
}

// scored writes a checkpoint after an evaluation if it belongs to the best.
func (r *fit) scored() error {
	v, s := r.saver, r.state
	if v == nil || v.Best == 0 {
		return nil
	}
	value, err := s.Quantity(v.Monitor)
	if err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return nil
	}
	if v.Best > 1 || v.best == nil {
		v.poll(s, r.Callbacks, true) // now the folder has all
		all, err := checkpoint.List(v.Dir)
		if err != nil {
			s.Warn(err.Error())
			return nil
		}
		v.best = nil
		if ranked := checkpoint.Ranked(all, v.higher()); len(ranked) >= v.Best {
			v.best = &ranked[v.Best-1].Score.Value
		}
	}
	if v.best != nil && (v.higher() && value <= *v.best || !v.higher() && value >= *v.best) {
		return nil
	}
	v.best = &value
	return r.save(&checkpoint.Score{Name: v.Monitor, Value: value})
}

func (v *saver) higher() bool {
	return v.Mode == Max || v.Mode == Auto && !LowerIsBetter(v.Monitor)
}

// copied is a checkpoint in memory.
type copied struct {
	block   []byte       // outside of Go's heap, where its collector would let as much garbage pile up
	memory  [][]byte     // of the tensors, in block
	free    func()       // gives block back
	wait    func() error // until it is all there
	content *checkpoint.Content
	saved   Saved
	syncLog func() error
}

// take makes memory the places of tensors of these sizes. It is made once, as long as the
// sizes stay.
func (c *copied) take(sizes []int) error {
	same := len(sizes) == len(c.memory)
	total := 0
	for i, n := range sizes {
		same = same && n == len(c.memory[i])
		total += (n + 63) &^ 63
	}
	if same {
		return nil
	}
	block, free, err := outside(total)
	if err != nil {
		return fmt.Errorf("memory for a copy of %d bytes: %w", total, err)
	}
	c.drop()
	c.block, c.free, c.memory = block, free, nil
	for _, n := range sizes {
		c.memory = append(c.memory, block[:n:n])
		block = block[(n+63)&^63:]
	}
	return nil
}

// drop gives the memory back.
func (c *copied) drop() {
	if c.free != nil {
		c.free()
	}
	c.block, c.free, c.memory = nil, nil, nil
}

// poll takes notice of a checkpoint that has been written, and begins the one that waits
// for that; with wait, until there is none left.
func (v *saver) poll(s *State, callbacks []Callback, wait bool) {
	for v.writing != nil {
		var saved Saved
		if wait {
			saved = <-v.results
		} else {
			select {
			case saved = <-v.results:
			default:
				return
			}
		}
		v.free = append(v.free, v.writing)
		v.writing = nil
		if v.next != nil {
			v.write(v.next)
			v.next = nil
		}
		v.written(s, saved)
		for _, c := range callbacks {
			if l, ok := c.(CheckpointListener); ok {
				l.OnCheckpoint(s, saved)
			}
		}
	}
}

// written notes how the writing of a checkpoint went.
func (v *saver) written(s *State, saved Saved) {
	if saved.Err != nil {
		v.best = nil
		stays := ""
		if v.path != "" {
			stays = fmt.Sprintf("; %s stays", v.path)
		}
		s.Warn(saved.Err.Error() + stays)
		return
	}
	v.step, v.path = saved.Step, saved.Path
	if saved.pruning != nil {
		s.Warn(saved.pruning.Error())
	}
}

// save copies what is now, and begins to write it or, for one of the best, leaves it to
// be written after the one that is being written now: a better one takes its place.
func (r *fit) save(score *checkpoint.Score) error {
	v, s := r.saver, r.state
	defer r.stall()()
	begun := time.Now()
	if score == nil || v.Best > 1 {
		v.poll(s, r.Callbacks, true)
	}
	if v.next != nil {
		_ = v.next.wait() // its memory is used again
		v.free = append(v.free, v.next)
		v.next = nil
	}
	c := new(copied)
	if n := len(v.free); n > 0 {
		c, v.free = v.free[n-1], v.free[:n-1]
	}
	var position int64
	c.syncLog = func() error { return nil }
	if v.Log != nil {
		position, c.syncLog = v.Log()
	}
	if err := r.snapshot(c, score, position); err != nil {
		return fmt.Errorf("a checkpoint of step %d: %w", s.Step, err)
	}
	v.last, v.late = begun, false
	c.saved = Saved{Step: s.Step, Score: score, Stall: time.Since(begun)}
	if v.writing != nil {
		v.next = c
		return nil
	}
	v.write(c)
	if v.Sync {
		v.poll(s, r.Callbacks, true)
	}
	return nil
}

// stall tells callbacks that training stands still, and what it gives, that it goes on.
func (r *fit) stall() (end func()) {
	tell := func(what func(stalls, *State)) {
		for _, c := range r.Callbacks {
			if c, ok := c.(stalls); ok {
				what(c, r.state)
			}
		}
	}
	if r.stalled++; r.stalled == 1 {
		tell(stalls.OnCheckpointBegin)
	}
	return func() {
		if r.stalled--; r.stalled == 0 {
			tell(stalls.OnCheckpointEnd)
		}
	}
}

// write begins to write a checkpoint.
func (v *saver) write(c *copied) {
	v.writing = c
	keep := checkpoint.Keep{Last: v.Keep, Best: v.Best, Higher: v.higher()}
	go func() {
		begun := time.Now()
		result := c.saved
		err := c.wait()
		if err == nil {
			err = c.syncLog()
		}
		var info checkpoint.Info
		if err == nil {
			info, err = checkpoint.Write(v.Dir, c.content)
		}
		if result.Err = err; err == nil {
			result.Path, result.Bytes = info.Path, info.Bytes
			result.pruning = checkpoint.Prune(v.Dir, keep)
		}
		result.Took = time.Since(begun)
		v.results <- result
	}()
}

// lastCheckpoint is called with how training ended: it writes a checkpoint if
// something can go on from here, and waits until it is on the disk.
func (r *fit) lastCheckpoint(err error) error {
	v, s := r.saver, r.state
	if v == nil {
		return err
	}
	defer r.stall()()
	v.poll(s, r.Callbacks, true)
	var stopped *InterruptedError
	interrupted := errors.As(err, &stopped)
	if (err == nil || interrupted) && s.Step > 0 && v.step != s.Step {
		if err := r.save(nil); err != nil {
			s.Warn(err.Error())
		}
		v.poll(s, r.Callbacks, true)
	}
	if interrupted {
		stopped.Checkpoint = v.path
	}
	var gone *DeviceError
	if errors.As(err, &gone) {
		gone.Checkpoint = v.path
	}
	for _, c := range v.free { // nothing is being written any more
		c.drop()
	}
	v.free = nil
	return err
}
