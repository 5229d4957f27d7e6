// Package train runs the training loop: batches in, trained weights and a report
// out.
//
// A Trainer is configured as a struct literal and used at once:
//
//	trainer := train.Trainer{
//		Optimizer: optim.Adam{LR: optim.Constant(1e-3)},
//		Loss:      nn.CrossEntropy,
//		Metrics:   []metric.Metric{metric.Accuracy()},
//		Epochs:    5,
//		Batch:     64,
//	}
//	report, err := trainer.Fit(ctx, net, trainSet, testSet)
//
// Fit goes epoch by epoch: every batch is one step (loss, gradients and update in
// one program), then the test set is evaluated. Callbacks see the State at each of
// these points. Whoever needs another loop writes it with data.Loader and
// optim.Optimizer, as examples/mnist does; nothing here is closed to that.
//
// The packages below this one: rundir writes run folders, recipe makes models,
// datasets and trainers out of YAML files for the sinter command.
package train

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// Trainer trains a model. Only Loss is required.
type Trainer struct {
	Optimizer optim.Rule      // Adam with its usual learning rate if nil
	Loss      nn.Loss         // of the model's output and the batch's Y
	Metrics   []metric.Metric // computed on the batches trained on and on the test set
	Callbacks []Callback

	// Training ends at whichever limit is reached first; without any it is one
	// epoch.
	Epochs int
	Steps  int

	// StepsPerEpoch ends an epoch early; zero: with the examples. Each epoch has a new
	// order, and so other examples.
	StepsPerEpoch int

	Batch     int              // examples that are computed with at a time; 32 if zero
	Clip      float64          // largest global norm of the gradients; zero: no limit
	Seed      uint64           // of the order of examples
	Precision sinter.Precision // of steps and evaluations; float32 unless set
	EvalEvery int              // evaluate the test set every so many steps, besides the end of each epoch

	// Accumulate is the number of batches whose gradients are put together for one
	// update; zero and one are the same. A step, as Steps, EvalEvery, schedules and
	// callbacks count them, is an update: Accumulate·Batch examples, fewer in the last
	// step of an epoch. Every example counts the same in it, so that the update is that
	// of one batch of so many, up to rounding, at the memory of a small one. Batch norm
	// is the exception: it normalises over the small batches, and moves its running
	// statistics after each of them.
	Accumulate int

	// Scaler scales the losses, as FP16 needs it; nil is the standard GradScaler for FP16
	// and none for other precisions.
	Scaler *optim.GradScaler

	// Loader says how examples are read: its Workers, Prefetch, SkipBad, Sampler, Collate,
	// ShuffleBuffer and DropLast. The other fields are the Trainer's. Without a Sampler
	// training shuffles.
	Loader data.Loader

	// Compile records a step and an evaluation once for each shape of the batches, and
	// replays them: see sinter.Compile. The model's Forward and the Loss must then not
	// decide anything in Go from step to step.
	Compile bool

	memory *MemoryPlan // what FitMemory has chosen

	// Checkpoint says where and when checkpoints are written, and whether the run goes on
	// from one.
	Checkpoint Checkpoint

	Energy *Energy // accounts for joules and costs, and limits them; nil: nothing does
	Guard  *Guard  // makes the run wait while it is too hot, and in outages; nil: nothing does

	// Warn is told what went wrong without ending training, such as a checkpoint that
	// could not be written. If it is nil, slog.Warn is.
	Warn func(message string)
}

// DivergedError is a run that was stopped because its loss or its gradients were
// no longer numbers. The weights are those before the step.
type DivergedError struct {
	Step int    // the step that was not made, counted from 1
	Op   string // the operation whose result was the first that is not finite; empty if it is the norm of the gradients
	Site string // where that operation was written
	Err  error  // what the optimizer saw
}

func (e *DivergedError) Error() string {
	what := e.Err.Error()
	var bad *optim.NonFiniteError
	if errors.As(e.Err, &bad) {
		switch {
		case bad.Scale != 0:
			what = fmt.Sprintf("the loss scale has fallen to %.3g and something still overflows (the loss is %v)", bad.Scale, bad.Loss)
		case finite(bad.Loss):
			what = fmt.Sprintf("the norm of the gradients became %v", bad.GradNorm)
		default:
			what = fmt.Sprintf("the loss became %v", bad.Loss)
		}
	}
	where := ""
	if e.Op != "" {
		where = fmt.Sprintf("; it began in %s at %s", e.Op, e.Site)
	} else if bad != nil && bad.Scale == 0 && finite(bad.Loss) {
		where = ", for the squares of gradients that are finite"
	}
	return fmt.Sprintf("step %d: %s%s; a lower learning rate, clipping the gradients or scaling the inputs may help", e.Step, what, where)
}

func (e *DivergedError) Unwrap() error { return e.Err }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// InterruptedError is a run that was stopped before its end, by a cancelled context,
// State.Interrupt or a budget.
type InterruptedError struct {
	Step       int    // that it came to
	Checkpoint string // to go on from; empty if there are none
	Reason     string // if a callback or a budget stopped it
	Err        error  // the context's, if that did; a *BudgetError
}

func (e *InterruptedError) Error() string {
	text := fmt.Sprintf("interrupted after step %d", e.Step)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func (e *InterruptedError) Unwrap() error { return e.Err }

// Fit trains model on trainSet, a data.Dataset or a data.Stream. One that does not know its
// length needs Steps or StepsPerEpoch. testSet may be nil. A cancelled context ends the
// run after the current step; then, and whenever steps had been made before
// something failed, the report comes with the error.
func (t *Trainer) Fit(ctx context.Context, model nn.Module, trainSet data.Examples, testSet data.Dataset) (report *Report, err error) {
	defer ir.Recover(&err)
	defer recovered(&err)
	r, err := t.begin(model, trainSet, testSet)
	if err != nil {
		return nil, err
	}
	err = r.loop(ctx)
	if r.state.Step == 0 && err != nil {
		return nil, err
	}
	return r.end(), err
}

func (t *Trainer) begin(model nn.Module, trainSet data.Examples, testSet data.Dataset) (r *fit, err error) {
	if t.Loss == nil {
		return nil, errors.New("train: the Trainer has no Loss")
	}
	if t.Epochs < 0 || t.Steps < 0 || t.Batch < 0 || t.Clip < 0 || t.EvalEvery < 0 || t.Accumulate < 0 {
		return nil, fmt.Errorf("train: negative limits: epochs %d, steps %d, batch %d, clip %g, evaluation every %d, accumulate %d", t.Epochs, t.Steps, t.Batch, t.Clip, t.EvalEvery, t.Accumulate)
	}
	if trainSet == nil || trainSet.Len() == 0 {
		return nil, errors.New("train: no examples to train on")
	}
	if steps, _ := t.planned(trainSet); steps == 0 && trainSet.Len() < 0 {
		return nil, errors.New("train: the examples are a stream that does not know how many there are: set Steps, or StepsPerEpoch")
	}
	optimizer, err := t.optimizer(model)
	if err != nil {
		return nil, err
	}
	own := *t // State.SetBatch changes it
	t = &own
	r = &fit{
		Trainer:   t,
		optimizer: optimizer,
		loader:    t.loader(trainSet),
		testSet:   testSet,
		start:     time.Now(),
	}
	if t.Compile {
		r.compiled = t.compile(optimizer, model)
	}
	if r.account, err = t.Energy.account(); err != nil {
		return nil, err
	}
	if r.guard, err = t.Guard.guard(); err != nil {
		return nil, err
	}
	steps, perEpoch := t.planned(trainSet)
	r.optimizer.SetTotalSteps(steps)
	epochs := steps // of unknown length: at least one step each
	if perEpoch > 0 {
		epochs = (steps + perEpoch - 1) / perEpoch
	} else if t.Epochs > 0 {
		epochs = min(epochs, t.Epochs)
	}
	r.state = &State{
		Model: model, Optimizer: r.optimizer,
		Epochs: epochs, Steps: steps, StepsPerEpoch: perEpoch,
		LR: r.optimizer.LR(), Scale: r.optimizer.Scale(), Loss: math.NaN(), TrainLoss: math.NaN(),
		Notes: t.Notes(model),
		warn:  t.warn, account: r.account, guard: r.guard,
	}
	r.perEpoch, r.made = perEpoch, r.terms()
	r.saver, err = t.Checkpoint.saver()
	return r, err
}

// optimizer is the rule for a model, with what goes around it.
func (t *Trainer) optimizer(model nn.Module) (*optim.Optimizer, error) {
	rule := t.Optimizer
	if rule == nil {
		rule = optim.Adam{}
	}
	if err := t.Precision.Check(); err != nil {
		return nil, err
	}
	options := []optim.Option{optim.Precision(t.Precision)}
	if t.Clip > 0 {
		options = append(options, optim.ClipNorm(t.Clip))
	}
	if s := t.scaler(); s != nil {
		if err := s.Check(); err != nil {
			return nil, err
		}
		options = append(options, optim.LossScaling(*s))
	}
	return optim.New(model, rule, options...), nil
}

// compile is the step on a model.
func (t *Trainer) compile(o *optim.Optimizer, model nn.Module) *optim.CompiledStep {
	return o.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
		loss, pred := t.measured(model, in)
		if len(t.Metrics) == 0 {
			return loss, nil
		}
		return loss, []*sinter.Tensor{pred}
	})
}

// Notes lists what a user should know of how model will be trained and would not
// expect.
func (t *Trainer) Notes(model nn.Module) []string {
	var notes []string
	if p := t.Precision.Computed(); p != t.Precision {
		notes = append(notes, fmt.Sprintf("the device %s does not have %v; computing in %v", sinter.DeviceName(), t.Precision, p))
	}
	if k := t.accumulate(); k > 1 && nn.HasBatchNorm(model) {
		notes = append(notes, fmt.Sprintf("batch norm normalises over batches of %d, not over the %d examples that an update is made of", t.batch(), k*t.batch()))
	}
	if t.memory != nil {
		notes = append(notes, t.memory.String())
	}
	return notes
}

func (t *Trainer) warn(message string) {
	if t.Warn == nil {
		slog.Warn(message)
		return
	}
	t.Warn(message)
}

// scaler is how losses are scaled; nil: they are not.
func (t *Trainer) scaler() *optim.GradScaler {
	if t.Scaler == nil && t.Precision == sinter.FP16 {
		return &optim.GradScaler{}
	}
	return t.Scaler
}

// StepsFor is the number of steps that Fit makes on these examples, 0 if that depends on
// how many there are and they do not know it.
func (t *Trainer) StepsFor(set data.Examples) int {
	steps, _ := t.planned(set)
	return steps
}

// planned is the number of steps in all and in an epoch, 0 where that is not known.
func (t *Trainer) planned(set data.Examples) (all, perEpoch int) {
	l := t.loader(set)
	k := t.accumulate()
	perEpoch = max(0, (l.Steps()+k-1)/k)
	if t.StepsPerEpoch > 0 && (perEpoch == 0 || t.StepsPerEpoch < perEpoch) {
		perEpoch = t.StepsPerEpoch
	}
	all = max(t.Epochs, 1) * perEpoch
	if t.Steps > 0 && (t.Epochs == 0 || perEpoch == 0 || t.Steps < all) {
		all = t.Steps
	}
	return all, perEpoch
}

// loader deals out the examples to train on.
func (t *Trainer) loader(set data.Examples) *data.Loader {
	l := t.Loader
	l.Dataset, l.Batch, l.Seed = set, t.batch(), t.Seed
	d, distributed := l.Sampler.(data.DistributedSampler)
	l.Shuffle = l.Sampler == nil || distributed && d.Of == nil
	return &l
}

func (t *Trainer) accumulate() int { return max(t.Accumulate, 1) }

func (t *Trainer) batch() int {
	if t.Batch == 0 {
		return 32
	}
	return t.Batch
}
