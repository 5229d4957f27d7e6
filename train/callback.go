package train

import (
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/power"
)

// Callback is told how training goes. It runs in the loop's goroutine, between
// steps. Embed NopCallback to write only the methods that are needed.
type Callback interface {
	OnTrainBegin(*State)
	OnEpochBegin(*State)
	OnStep(*State) // after each step
	OnEvaluateBegin(*State)
	// OnEvaluate comes after the test set was evaluated; State.Last has the results. A
	// callback with a method OnEvaluateAbort(*State) has that called instead where the
	// evaluation failed or was interrupted.
	OnEvaluate(*State)
	OnEpochEnd(*State)
	OnTrainEnd(*State) // always called once OnTrainBegin was; State.Err says how it ended
}

// Stateful is a callback with a memory. A checkpoint holds what SaveState gives, under
// StateName, and a run that is resumed hands it to LoadState after OnTrainBegin.
// StateName is to be unique among the callbacks of a Trainer: "early_stopping".
//
// A callback that remembers tensors, averaged weights perhaps, has a method
// StateVariables() []*sinter.Variable besides: the variables, which have names that
// are unique among them, are saved and set again with the rest.
type Stateful interface {
	Callback
	StateName() string
	SaveState() ([]byte, error)
	LoadState(state []byte) error
}

// OutputObserver is a callback that looks at what the model says of the test set:
// OnEvaluateBatch is called between OnEvaluateBegin and OnEvaluate for every batch, in
// the order of the examples. Batch and pred hold values and are valid during the call
// only.
type OutputObserver interface {
	Callback
	OnEvaluateBatch(s *State, batch data.Batch, pred *sinter.Tensor)
}

// NopCallback does nothing at every point.
type NopCallback struct{}

func (NopCallback) OnTrainBegin(*State)    {}
func (NopCallback) OnEpochBegin(*State)    {}
func (NopCallback) OnStep(*State)          {}
func (NopCallback) OnEvaluateBegin(*State) {}
func (NopCallback) OnEvaluate(*State)      {}
func (NopCallback) OnEpochEnd(*State)      {}
func (NopCallback) OnTrainEnd(*State)      {}

// State is where training stands. Callbacks read it; Stop and Fail are how they
// act on it.
type State struct {
	Model     nn.Module
	Optimizer *optim.Optimizer

	Epoch, Epochs            int // the current one, from 1, and how many there will be at most
	Step, Steps              int // steps made, and how many there will be at most
	EpochStep, StepsPerEpoch int
	Samples                  int // examples trained on

	Notes []string // what a user should know of how the run computes, from its beginning

	Loss         float64      // of the last step
	LR           float64      // of the last step
	Scale        float64      // of the loss in the next step; 1 where losses are not scaled
	Skipped      int          // steps that updated nothing, for the scaled gradients were not finite
	TrainLoss    float64      // mean over the epoch so far
	TrainMetrics []Value      // over the epoch so far
	Last         *Evaluation  // of History
	History      []Evaluation // so far

	Elapsed time.Duration // since Fit began
	Waited  time.Duration // of that, for batches that the loader had not ready
	// Uploaded is how many bytes were copied from the host to the device in use by the
	// steps of this Fit, without evaluations; none if that is the processor.
	Uploaded int64

	// Of a run with Trainer.Energy; else zero.
	Usage  power.Usage // of the whole run so far, with what came before a resume
	Phases Phases      // what it was used for
	Watts  float64     // mean power over the last second or two; 0 where it is not known

	Paused *Pause // why the run waits, if it does: see Guard

	Err error // in OnTrainEnd: what ended training early, if anything

	warn      func(message string)
	trainTime time.Duration // without evaluation and callbacks
	reason    string
	failure   error
	logged    []Value

	interrupted bool // reason is for an end before the end: see Interrupt
	saveNow     bool // a checkpoint is asked for
	newBatch    int  // is asked for

	account *account // nil without Trainer.Energy
	guard   *guard   // nil without Trainer.Guard

	weightsChosen bool // at the end: a callback has put weights into the model that are to stay
}

// Stop ends training after the current callbacks; reason goes into the report.
func (s *State) Stop(reason string) {
	if s.reason == "" {
		s.reason = reason
	}
}

// Interrupt ends training after the current callbacks as a cancelled context does: with
// a checkpoint, if there are any, and an *InterruptedError that has the reason. The run
// is not complete then and can go on.
func (s *State) Interrupt(reason string) {
	if s.reason == "" {
		s.reason, s.interrupted = reason, true
	}
}

// Save asks for a checkpoint after the current callbacks of a step.
func (s *State) Save() { s.saveNow = true }

// SetBatch makes the steps from the next one on of batches of another size, in the midst
// of an epoch too: the examples that are left of it come in the order in which they would
// have come. It is to be called in OnStep. The learning rate follows its schedule by steps,
// of which there may now be more or fewer.
func (s *State) SetBatch(n int) { s.newBatch = n }

// Fail ends training with an error.
func (s *State) Fail(err error) {
	if s.failure == nil {
		s.failure = err
	}
}

// Warn says what went wrong without ending training; see Trainer.Warn.
func (s *State) Warn(message string) { s.warn(message) }

func (s *State) stopping() bool { return s.reason != "" || s.failure != nil }

// SamplesPerSecond is the speed of training so far, evaluation not counted.
func (s *State) SamplesPerSecond() float64 {
	if s.trainTime <= 0 {
		return 0
	}
	return float64(s.Samples) / s.trainTime.Seconds()
}

// Left estimates the time until the last step, evaluation not counted.
func (s *State) Left() time.Duration {
	if s.Step == 0 {
		return 0
	}
	return s.trainTime / time.Duration(s.Step) * time.Duration(s.Steps-s.Step)
}
