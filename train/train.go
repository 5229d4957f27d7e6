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

	// Compile records a step and an evaluation once for each shape of the batches, and
	// replays them: see sinter.Compile. The model's Forward and the Loss must then not
	// decide anything in Go from step to step.
	Compile bool

	// Warn is told what went wrong without ending training, such as a checkpoint that
	// could not be written. If it is nil, slog.Warn is.
	Warn func(message string)
}

// DivergedError is a run that was stopped because its loss or its gradients were
// no longer numbers. The weights are those before the step.
type DivergedError struct {
	Step int    // the step that was not made, counted from 1
	Op   string // the operation whose result was the first that is not finite
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
	}
	return fmt.Sprintf("step %d: %s%s; a lower learning rate, clipping the gradients or scaling the inputs may help", e.Step, what, where)
}

func (e *DivergedError) Unwrap() error { return e.Err }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Fit trains model on trainSet. testSet may be nil. A cancelled context ends the
// run after the current step; then, and whenever steps had been made before
// something failed, the report comes with the error.
func (t *Trainer) Fit(ctx context.Context, model nn.Module, trainSet, testSet data.Dataset) (report *Report, err error) {
	defer ir.Recover(&err)
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

// fit is one call of Fit.
type fit struct {
	*Trainer
	state     *State
	optimizer *optim.Optimizer
	loader    *data.Loader
	compiled  *optim.CompiledStep // nil if steps are not compiled
	testSet   data.Dataset
	history   []Evaluation
	start     time.Time
	lossSum   float64 // over the epoch, weighted by examples
	lossCount int
	evaluated int   // the step of the last evaluation
	group     group // the batches of the next step so far
}

// group is the batches that one step is made of.
type group struct {
	batches, examples int
	loss              float64 // sum over the examples
}

func (t *Trainer) begin(model nn.Module, trainSet, testSet data.Dataset) (*fit, error) {
	if t.Loss == nil {
		return nil, errors.New("train: the Trainer has no Loss")
	}
	if t.Epochs < 0 || t.Steps < 0 || t.Batch < 0 || t.Clip < 0 || t.EvalEvery < 0 || t.Accumulate < 0 {
		return nil, fmt.Errorf("train: negative limits: epochs %d, steps %d, batch %d, clip %g, evaluation every %d, accumulate %d", t.Epochs, t.Steps, t.Batch, t.Clip, t.EvalEvery, t.Accumulate)
	}
	if trainSet == nil || trainSet.Len() == 0 {
		return nil, errors.New("train: no examples to train on")
	}
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
	r := &fit{
		Trainer:   t,
		optimizer: optim.New(model, rule, options...),
		loader:    &data.Loader{Dataset: trainSet, Batch: t.batch(), Shuffle: true, Seed: t.Seed},
		testSet:   testSet,
		start:     time.Now(),
	}
	if t.Compile {
		r.compiled = r.optimizer.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
			loss, pred := t.measured(model, in)
			if len(t.Metrics) == 0 {
				return loss, nil
			}
			return loss, []*sinter.Tensor{pred}
		})
	}
	steps := t.StepsFor(trainSet.Len())
	r.optimizer.SetTotalSteps(steps)
	perEpoch := t.perEpoch(trainSet.Len())
	r.state = &State{
		Model: model, Optimizer: r.optimizer,
		Epochs: (steps + perEpoch - 1) / perEpoch, Steps: steps, StepsPerEpoch: perEpoch,
		LR: r.optimizer.LR(), Scale: r.optimizer.Scale(), Loss: math.NaN(), TrainLoss: math.NaN(),
		Notes: t.Notes(model),
		warn:  t.Warn,
	}
	if t.Warn == nil {
		r.state.warn = func(message string) { slog.Warn(message) }
	}
	return r, nil
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
	return notes
}

// scaler is how losses are scaled; nil: they are not.
func (t *Trainer) scaler() *optim.GradScaler {
	if t.Scaler == nil && t.Precision == sinter.FP16 {
		return &optim.GradScaler{}
	}
	return t.Scaler
}

// StepsFor is the number of steps that Fit makes on so many examples.
func (t *Trainer) StepsFor(examples int) int {
	steps := max(t.Epochs, 1) * t.perEpoch(examples)
	if t.Steps > 0 && (t.Epochs == 0 || t.Steps < steps) {
		steps = t.Steps
	}
	return steps
}

// perEpoch is the number of steps of an epoch.
func (t *Trainer) perEpoch(examples int) int {
	step := t.batch() * t.accumulate()
	steps := (examples + step - 1) / step
	if t.StepsPerEpoch > 0 {
		steps = min(steps, t.StepsPerEpoch)
	}
	return steps
}

func (t *Trainer) accumulate() int { return max(t.Accumulate, 1) }

func (t *Trainer) batch() int {
	if t.Batch == 0 {
		return 32
	}
	return t.Batch
}

// loop makes the steps.
func (r *fit) loop(ctx context.Context) (err error) {
	s := r.state
	defer func() {
		s.Err = err
		s.Elapsed = time.Since(r.start)
		nn.Eval(s.Model)
		r.each(Callback.OnTrainEnd)
	}()
	nn.Train(s.Model)
	r.each(Callback.OnTrainBegin)
	for s.Epoch < s.Epochs && !s.stopping() {
		s.Epoch++
		s.EpochStep = 0
		r.lossSum, r.lossCount = 0, 0
		reset(r.Metrics)
		r.each(Callback.OnEpochBegin)
		if err := r.epoch(ctx); err != nil {
			return err
		}
		if err := r.evaluate(ctx); err != nil {
			return err
		}
		r.optimizer.Observe(r.progress())
		r.each(Callback.OnEpochEnd)
		nn.Train(s.Model) // the evaluation has left it in the mode of use
	}
	return s.failure
}

// epoch makes the steps of one epoch, or those that are left.
func (r *fit) epoch(ctx context.Context) error {
	resumed := time.Now()
	stepped := func() (end bool, err error) {
		r.state.trainTime += time.Since(resumed)
		defer func() { resumed = time.Now() }()
		return r.stepped(ctx)
	}
	for batch := range r.loader.Batches(ctx) {
		if err := r.train(batch); err != nil {
			return err
		}
		if r.group.batches == 0 {
			if end, err := stepped(); end || err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := r.loader.Err(); err != nil {
		return fmt.Errorf("reading training examples: %w", err)
	}
	if r.group.batches > 0 { // fewer than the others are made of
		if err := r.apply(nil); err != nil {
			return err
		}
		_, err := stepped()
		return err
	}
	return nil
}

// stepped does what follows a step, and tells whether the epoch ends with it.
func (r *fit) stepped(ctx context.Context) (end bool, err error) {
	s := r.state
	s.Elapsed = time.Since(r.start)
	r.each(Callback.OnStep)
	if ctx.Err() != nil {
		return true, context.Cause(ctx)
	}
	if s.stopping() || s.Step == s.Steps || r.StepsPerEpoch > 0 && s.EpochStep == r.StepsPerEpoch {
		return true, nil
	}
	if r.EvalEvery > 0 && s.Step%r.EvalEvery == 0 {
		if err := r.evaluate(ctx); err != nil {
			return true, err
		}
		nn.Train(s.Model)
	}
	return false, nil
}

// train trains on one batch: it makes a step, or adds to the gradients of one. A step
// has been made if the group is empty afterwards.
func (r *fit) train(batch data.Batch) error {
	s := r.state
	if r.group.batches == 0 {
		s.LR = r.optimizer.LR()
	}
	loss, pred, err := r.update(batch)
	if err != nil {
		return r.failed(&batch, err)
	}
	for _, m := range r.Metrics {
		m.Update(pred, batch.Y)
	}
	g := &r.group
	g.batches++
	g.examples += batch.Size
	g.loss += loss.Float() * float64(batch.Size)
	if r.accumulate() == 1 {
		s.Loss = loss.Float()
		r.count()
		return nil
	}
	if l := loss.Float(); !finite(l) && r.scaler() == nil { // Apply would not know which batch it was
		return r.failed(&batch, &optim.NonFiniteError{Step: r.optimizer.Steps(), Loss: l, GradNorm: math.NaN()})
	}
	if g.batches == r.accumulate() {
		return r.apply(&batch)
	}
	return nil
}

// update makes the optimizer's step, or adds to its gradients. Of the model's output
// only what metrics want is evaluated.
func (r *fit) update(batch data.Batch) (loss, pred *sinter.Tensor, err error) {
	weight := float64(batch.Size)
	if r.compiled != nil {
		var also []*sinter.Tensor
		if r.accumulate() == 1 {
			loss, also, err = r.compiled.Step(inputs(batch)...)
		} else {
			loss, also, err = r.compiled.Accumulate(weight, inputs(batch)...)
		}
		if len(also) > 0 {
			pred = also[0]
		}
		return loss, pred, err
	}
	loss, pred = r.measured(r.state.Model, inputs(batch))
	var also []*sinter.Tensor
	if len(r.Metrics) > 0 {
		also = append(also, pred)
	}
	if r.accumulate() == 1 {
		return loss, pred, r.optimizer.Step(loss, also...)
	}
	return loss, pred, r.optimizer.Accumulate(loss, weight, also...)
}

// apply makes the step of the batches since the last one, of which the last may be
// known.
func (r *fit) apply(last *data.Batch) error {
	if _, err := r.optimizer.Apply(); err != nil {
		return r.failed(last, err)
	}
	r.state.Loss = r.group.loss / float64(r.group.examples)
	r.count()
	return nil
}

// count notes a step that has been made.
func (r *fit) count() {
	s, g := r.state, &r.group
	s.logged = s.logged[:0]
	s.Step++
	s.EpochStep++
	s.Samples += g.examples
	s.Scale, s.Skipped = r.optimizer.Scale(), r.optimizer.Skipped()
	if finite(s.Loss) { // else the step was skipped, and the epoch's mean is to tell of the others
		r.lossSum += s.Loss * float64(g.examples)
		r.lossCount += g.examples
		s.TrainLoss = r.lossSum / float64(r.lossCount)
	}
	s.TrainMetrics = values(r.Metrics)
	*g = group{}
}

// failed is the error of a step that could not be made.
func (r *fit) failed(batch *data.Batch, err error) error {
	var bad *optim.NonFiniteError
	switch {
	case !errors.As(err, &bad):
		return fmt.Errorf("step %d: %w", r.state.Step+1, err)
	case batch == nil:
		return &DivergedError{Step: r.state.Step + 1, Err: bad}
	}
	return r.diverged(*batch, bad)
}

// inputs are what a step reads of a batch: X, and Y if there is one.
func inputs(batch data.Batch) []*sinter.Tensor {
	if batch.Y == nil {
		return []*sinter.Tensor{batch.X}
	}
	return []*sinter.Tensor{batch.X, batch.Y}
}

// measured is the loss on a batch, given its inputs, and the model's output.
func (t *Trainer) measured(model nn.Module, in []*sinter.Tensor) (loss, pred *sinter.Tensor) {
	pred = model.Forward(in[0])
	if len(in) == 1 {
		return t.Loss(pred, nil), pred
	}
	return t.Loss(pred, in[1]), pred
}

// diverged looks for the operation where a step stopped being numbers, by making
// its forward and backward pass again.
func (r *fit) diverged(batch data.Batch, cause error) error {
	s := r.state
	loss := r.Loss(s.Model.Forward(batch.X), batch.Y)
	suspects := []*sinter.Tensor{loss}
	for _, g := range sinter.Grad(loss, leaves(r.optimizer.Parameters())...) {
		if g != nil {
			suspects = append(suspects, g)
		}
	}
	op, site, err := sinter.FindNonFinite(suspects...)
	if err != nil {
		return fmt.Errorf("step %d: %w (looking for the operation failed: %v)", s.Step+1, cause, err)
	}
	return &DivergedError{Step: s.Step + 1, Op: op, Site: site, Err: cause}
}

func leaves(parameters []*sinter.Variable) []*sinter.Tensor {
	ts := make([]*sinter.Tensor, len(parameters))
	for i, p := range parameters {
		ts[i] = p.Value()
	}
	return ts
}

// evaluate measures the test set, once for each step that asks for it.
func (r *fit) evaluate(ctx context.Context) error {
	s := r.state
	e := Evaluation{Epoch: s.Epoch, Step: s.Step, TrainLoss: s.TrainLoss, TrainMetrics: s.TrainMetrics, TestLoss: math.NaN()}
	if r.testSet != nil && r.testSet.Len() > 0 && r.evaluated < s.Step {
		r.each(Callback.OnEvaluateBegin)
		soFar := make([][]float64, len(r.Metrics))
		for i, m := range r.Metrics {
			soFar[i] = m.State()
		}
		var err error
		e.Tested = true
		e.TestLoss, e.Metrics, err = r.Evaluate(ctx, s.Model, r.testSet)
		if err != nil {
			return err
		}
		for i, m := range r.Metrics { // they go on with the epoch
			if err := m.SetState(soFar[i]); err != nil {
				return fmt.Errorf("metric %s: %w", m.Name(), err)
			}
		}
	} else if last := len(r.history) - 1; last >= 0 && r.evaluated == s.Step {
		return nil
	}
	r.evaluated = s.Step
	r.history = append(r.history, e)
	s.Last = &r.history[len(r.history)-1]
	s.Elapsed = time.Since(r.start)
	r.each(Callback.OnEvaluate)
	return nil
}

// progress is what a schedule that watches for a plateau is shown.
func (r *fit) progress() float64 {
	if s := r.state; s.Last != nil && !math.IsNaN(s.Last.TestLoss) {
		return s.Last.TestLoss
	}
	return r.state.TrainLoss
}

func (r *fit) each(event func(Callback, *State)) {
	for _, c := range r.Callbacks {
		event(c, r.state)
	}
}

func (r *fit) end() *Report {
	s := r.state
	memory, source := PeakMemory()
	report := &Report{
		Epochs: s.Epoch, Steps: s.Step, Samples: s.Samples,
		TrainLoss: s.TrainLoss, TrainMetrics: s.TrainMetrics, TestLoss: math.NaN(),
		Parameters:       nn.Count(s.Model),
		SamplesPerSecond: s.SamplesPerSecond(),
		Duration:         time.Since(r.start),
		PeakMemory:       memory, PeakMemorySource: source,
		History: r.history,
		Stopped: s.reason,
	}
	if s.Last != nil && s.Last.Step == s.Step {
		report.TestLoss, report.Metrics = s.Last.TestLoss, s.Last.Metrics
	}
	return report
}
