package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/nvtx"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// fit is one call of Fit.
type fit struct {
	*Trainer
	state     *State
	optimizer *optim.Optimizer
	loader    *data.Loader
	compiled  *optim.CompiledStep // nil if steps are not compiled
	testSet   data.Dataset
	start     time.Time
	lossSum   float64 // over the epoch, weighted by examples
	lossCount int
	evaluated int      // the step of the last evaluation
	ended     bool     // the epoch has been ended: evaluated, observed, OnEpochEnd called
	group     group    // the batches of the next step so far
	perEpoch  int      // steps of the epochs to come
	rebatched bool     // the loader is to be replaced by one of another batch
	made      made     // the terms of the beginning
	saver     *saver   // nil without checkpoints
	stalled   int      // for how many reasons training stands still for a checkpoint
	account   *account // nil without Energy
	guard     *guard   // nil without a Guard
	uploads   uploads
	ranges    nvtx.Ranges

	bad       []*data.ExampleError // left out so far
	badListed int                  // how many of this loader's are among them
	badCount  int                  // how often loaders before this one left one out
}

// group is the batches that one step is made of.
type group struct {
	batches, examples int
	loss              float64 // sum over the examples
}

// loop makes the steps that are left, with what comes before and after.
func (r *fit) loop(ctx context.Context) (err error) {
	s := r.state
	from, err := r.resume()
	if err != nil {
		return err
	}
	nn.Train(s.Model)
	r.each(Callback.OnTrainBegin)
	defer func() {
		s.Err = err
		s.Elapsed = time.Since(r.start)
		r.settle(training)
		nn.Eval(s.Model)
		r.each(Callback.OnTrainEnd)
	}()
	if err := r.recall(from); err != nil {
		return err
	}
	r.reserve()
	if r.memory != nil { // the run is to fit into a limit: what making the optimizer has left is no part of it
		sinter.EmptyCache()
	}
	r.uploads.begin()
	if err = r.hold(ctx); err == nil {
		err = r.steps(ctx, from != nil)
	}
	if spent := (*BudgetError)(nil); errors.As(err, &spent) {
		err = &InterruptedError{Step: s.Step, Reason: spent.Reason, Err: spent}
		s.reason = spent.Reason
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = &InterruptedError{Step: s.Step, Err: err}
	}
	if lost(err) {
		err = &DeviceError{Step: s.Step + 1, Err: err}
	}
	return r.lastCheckpoint(err)
}

// steps makes the steps that are left, of an epoch that another process has begun too if
// the run was resumed.
func (r *fit) steps(ctx context.Context, resumed bool) (err error) {
	s := r.state
	if err := nvtx.Err(); err != nil {
		s.Warn(err.Error())
	}
	defer r.ranges.PopTo(0)
	for !s.stopping() && (s.Epoch < s.Epochs && s.Step < s.Steps || r.unfinished()) {
		r.ranges.PopTo(0)
		if err := r.affordable(); err != nil {
			return err
		}
		if resumed && r.unfinished() {
			r.ranges.PushNumber("epoch", s.Epoch)
			err = r.goOn(ctx)
		} else {
			s.Epoch++
			r.ranges.PushNumber("epoch", s.Epoch)
			s.EpochStep, r.ended = 0, false
			r.lossSum, r.lossCount = 0, 0
			reset(r.Metrics)
			if err := r.reload(); err != nil {
				return err
			}
			r.loader.Seek(s.Epoch-1, 0)
			s.StepsPerEpoch = r.perEpoch
			if r.account != nil {
				r.account.phases.Epoch = Phase{}
			}
			r.each(Callback.OnEpochBegin)
			err = r.epoch(ctx)
		}
		resumed = false
		if err != nil {
			return err
		}
		if s.interrupted {
			break
		}
		if err := r.evaluate(ctx); err != nil {
			return err
		}
		r.optimizer.Observe(r.progress())
		r.each(Callback.OnEpochEnd)
		r.ended = true
		nn.Train(s.Model) // the evaluation has left it in the mode of use
		if err := r.scored(); err != nil {
			return err
		}
	}
	switch {
	case s.failure != nil:
		return s.failure
	case s.interrupted:
		return &InterruptedError{Step: s.Step, Reason: s.reason}
	}
	return nil
}

// unfinished tells whether the epoch that was begun has something left: steps, or what
// follows its last one.
func (r *fit) unfinished() bool {
	s := r.state
	return s.Epoch > 0 && (!r.ended || !r.whole() && s.Step < s.Steps)
}

// whole tells whether all steps of the epoch have been made. Leaving out bad examples makes
// it shorter than it was thought to be, and the length of a stream may not be known at
// all: then the loader has come to its end.
func (r *fit) whole() bool {
	s := r.state
	return s.EpochStep == s.StepsPerEpoch || s.EpochStep > 0 && r.loader.State().Epoch >= s.Epoch
}

// goOn finishes an epoch that another process has begun: what was to follow the step
// that was its last, then the steps that are left.
func (r *fit) goOn(ctx context.Context) error {
	s := r.state
	r.ended = false
	if r.whole() || s.Step >= s.Steps {
		return nil
	}
	if s.EpochStep > 0 {
		if err := r.evaluateIfDue(ctx); err != nil {
			return err
		}
		if err := r.affordable(); err != nil {
			return err
		}
	}
	return r.epoch(ctx)
}

// epoch makes the steps of one epoch, or those that are left.
func (r *fit) epoch(ctx context.Context) error {
	defer r.sayBad()
	open := r.ranges.Open()
	defer func() { r.ranges.PopTo(open) }()
	reading := ctx
	if r.accumulate() > 1 {
		// Between the batches of a step there is nothing that could be saved: the
		// step is finished first.
		reading = context.WithoutCancel(ctx)
	}
	resumed := time.Now()
	stepped := func() (end bool, err error) {
		r.state.trainTime += time.Since(resumed)
		defer func() { resumed = time.Now() }()
		return r.stepped(ctx)
	}
	for again := true; again; {
		again = false
		if err := r.reload(); err != nil {
			return err
		}
		asked := time.Now()
		r.ranges.Push("load")
		for batch := range r.loader.Batches(reading) {
			r.ranges.Pop()
			r.state.Waited += time.Since(asked)
			if r.group.batches == 0 {
				r.ranges.PushNumber("step", r.state.Step+1)
			}
			if err := r.train(batch); err != nil {
				return err
			}
			if r.group.batches == 0 {
				r.ranges.PopTo(open)
				if end, err := stepped(); end || err != nil {
					return err
				}
				if again = r.rebatched; again {
					break
				}
			}
			asked = time.Now()
			r.ranges.Push("load")
		}
		if !again {
			r.ranges.Pop()
		}
	}
	if reading.Err() != nil {
		return context.Cause(reading)
	}
	if err := r.loader.Err(); err != nil {
		return fmt.Errorf("reading training examples: %w", err)
	}
	if r.group.batches > 0 { // fewer than the others are made of
		if err := r.apply(nil); err != nil {
			return err
		}
		r.ranges.PopTo(open)
		_, err := stepped()
		return err
	}
	if r.state.EpochStep != r.state.StepsPerEpoch { // nobody knew that the last step was that
		return r.saveIfDue()
	}
	return nil
}

// sayBad takes down the examples that the loader left out since it was last called, and
// tells of them.
func (r *fit) sayBad() {
	listed := r.loader.Bad()
	said := 0
	for _, e := range listed[r.badListed:] {
		if slices.ContainsFunc(r.bad, func(b *data.ExampleError) bool { return b.Index == e.Index }) {
			continue // by a loader of other batches
		}
		r.bad = append(r.bad, e)
		if said++; said <= 10 {
			r.state.Warn("left out: " + e.Error())
		}
	}
	if said > 10 {
		r.state.Warn(fmt.Sprintf("%d more examples were left out", said-10))
	}
	r.badListed = len(listed)
}

// stepped does what follows a step, and tells whether the epoch ends with it.
func (r *fit) stepped(ctx context.Context) (end bool, err error) {
	s := r.state
	s.Elapsed = time.Since(r.start)
	r.each(Callback.OnStep)
	if err := r.hold(ctx); err != nil {
		return true, err
	}
	if s.newBatch > 0 {
		r.rebatch(s.newBatch)
		s.newBatch = 0
	}
	if ctx.Err() != nil {
		return true, context.Cause(ctx)
	}
	if err := r.saveIfDue(); err != nil {
		return true, err
	}
	if s.stopping() {
		return true, nil
	}
	if err := r.exhausted(); err != nil {
		return true, err
	}
	if s.Step == s.Steps || s.EpochStep == s.StepsPerEpoch {
		return true, nil
	}
	if err := r.evaluateIfDue(ctx); err != nil || s.stopping() {
		return true, err
	}
	return false, r.affordable()
}

// rebatch makes the steps to come of batches of another size, and counts them anew.
func (r *fit) rebatch(batch int) {
	s := r.state
	r.Batch, r.rebatched = batch, true
	if _, r.perEpoch = r.planned(r.loader.Dataset); s.StepsPerEpoch == 0 || r.perEpoch == 0 {
		return // the end of an epoch shows when it comes
	}
	left := 0 // steps of this epoch
	if at := r.loader.State(); at.Epoch == s.Epoch-1 {
		single := r.Trainer.loader(r.loader.Dataset)
		single.Batch = 1
		examples := max(0, single.Steps()-at.Examples)
		batches := examples / batch
		if !r.Loader.DropLast && examples%batch > 0 {
			batches++
		}
		left = (batches + r.accumulate() - 1) / r.accumulate()
		if limit := r.StepsPerEpoch; limit > 0 {
			left = max(0, min(left, limit-s.EpochStep))
		}
	}
	s.StepsPerEpoch = s.EpochStep + left
	later := max(max(r.Epochs, 1)-s.Epoch, 0) * r.perEpoch
	if all := s.Step + left + later; r.Steps == 0 || r.Epochs > 0 && all < r.Steps {
		s.Steps = all
	} else {
		s.Steps = r.Steps
	}
	s.Epochs = s.Epoch + max(0, (s.Steps-s.Step-left+r.perEpoch-1)/r.perEpoch)
}

// reload replaces the loader after the size of batches has changed.
func (r *fit) reload() error {
	if !r.rebatched {
		return nil
	}
	r.rebatched = false
	at := r.loader.State()
	r.sayBad()
	r.badCount += r.loader.BadCount()
	r.badListed = 0
	r.loader = r.Trainer.loader(r.loader.Dataset)
	return r.loader.SetState(at)
}

// evaluateIfDue evaluates between the steps of an epoch.
func (r *fit) evaluateIfDue(ctx context.Context) error {
	s := r.state
	if r.EvalEvery == 0 || s.Step%r.EvalEvery != 0 {
		return nil
	}
	if err := r.evaluate(ctx); err != nil {
		return err
	}
	nn.Train(s.Model)
	return r.scored()
}

// train trains on one batch: it makes a step, or adds to the gradients of one. A step
// has been made if the group is empty afterwards.
func (r *fit) train(batch data.Batch) (err error) {
	defer recovered(&err)
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
	g.loss += loss * float64(batch.Size)
	if r.accumulate() == 1 {
		s.Loss = loss
		r.count()
		return nil
	}
	if !finite(loss) && r.scaler() == nil { // Apply would not know which batch it was
		return r.failed(&batch, &optim.NonFiniteError{Step: r.optimizer.Steps(), Loss: loss, GradNorm: math.NaN()})
	}
	if g.batches == r.accumulate() {
		return r.apply(&batch)
	}
	return nil
}

// update makes the optimizer's step, or adds to its gradients. Of the model's output
// only what metrics want is evaluated.
func (r *fit) update(batch data.Batch) (loss float64, pred *sinter.Tensor, err error) {
	weight := float64(batch.Size)
	var l *sinter.Tensor
	var also []*sinter.Tensor
	switch {
	case r.compiled != nil && r.accumulate() == 1:
		loss, also, err = r.compiled.StepLoss(inputs(batch)...)
	case r.compiled != nil:
		l, also, err = r.compiled.Accumulate(weight, inputs(batch)...)
	default:
		l, pred = r.measured(r.state.Model, inputs(batch))
		if len(r.Metrics) > 0 {
			also = append(also, pred)
		}
		if r.accumulate() == 1 {
			err = r.optimizer.Step(l, also...)
		} else {
			err = r.optimizer.Accumulate(l, weight, also...)
		}
	}
	if err != nil {
		return loss, nil, err
	}
	if l != nil {
		loss = l.Float()
	}
	if len(also) > 0 {
		pred = also[0]
	}
	return loss, pred, nil
}

// apply makes the step of the batches since the last one, of which the last may be
// known.
func (r *fit) apply(last *data.Batch) (err error) {
	defer recovered(&err)
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
	if r.account != nil {
		r.meter(training)
		r.account.made(g.examples)
		s.Phases = r.account.phases
	}
	if finite(s.Loss) { // else the step was skipped, and the epoch's mean is to tell of the others
		r.lossSum += s.Loss * float64(g.examples)
		r.lossCount += g.examples
		s.TrainLoss = r.lossSum / float64(r.lossCount)
	}
	s.TrainMetrics = values(r.Metrics)
	r.uploads.steps++
	s.Uploaded = r.uploads.bytes()
	*g = group{}
}

// uploads counts what steps copy to the device.
type uploads struct {
	start, other int64 // bytes at the beginning, and of what is no step
	steps        int
}

func (u *uploads) begin() { u.start = sinter.ReadStats().Uploaded }

func (u *uploads) bytes() int64 { return sinter.ReadStats().Uploaded - u.start - u.other }

// besides leaves out what f uploads.
func (u *uploads) besides(f func() error) error {
	before := sinter.ReadStats().Uploaded
	err := f()
	u.other += sinter.ReadStats().Uploaded - before
	return err
}

func (u *uploads) perStep(s *State) float64 { return float64(s.Uploaded) / float64(max(1, u.steps)) }

// failed is the error of a step that could not be made.
func (r *fit) failed(batch *data.Batch, err error) error {
	var bad *optim.NonFiniteError
	var full *sinter.MemoryError
	switch {
	case lost(err):
		return err
	case errors.As(err, &full):
		return fmt.Errorf("step %d: %w", r.state.Step+1, r.outOfMemory(full, err))
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
	nvtx.Push("forward")
	defer nvtx.Pop()
	pred = model.Forward(in[0])
	if len(in) == 1 {
		return nn.Record("loss", t.Loss(pred, nil), pred), pred
	}
	return nn.Record("loss", t.Loss(pred, in[1]), pred), pred
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
	return r.uploads.besides(func() error { return r.evaluateNow(ctx) })
}

func (r *fit) evaluateNow(ctx context.Context) (err error) {
	defer recovered(&err)
	s := r.state
	e := Evaluation{Epoch: s.Epoch, Step: s.Step, TrainLoss: s.TrainLoss, TrainMetrics: s.TrainMetrics, TestLoss: math.NaN()}
	if r.testSet != nil && r.testSet.Len() > 0 && r.evaluated < s.Step {
		r.ranges.Push("evaluate")
		defer r.ranges.Pop()
		r.meter(training)
		r.each(Callback.OnEvaluateBegin)
		soFar := make([][]float64, len(r.Metrics))
		for i, m := range r.Metrics {
			soFar[i] = m.State()
		}
		var err error
		e.Tested = true
		within, used, done := r.limited(ctx)
		defer done()
		e.TestLoss, e.Metrics, err = r.measure(within, s.Model, r.testSet, func(batch data.Batch, pred *sinter.Tensor) {
			used(batch.Size)
			for _, c := range r.Callbacks {
				if o, ok := c.(OutputObserver); ok {
					o.OnEvaluateBatch(s, batch, pred)
				}
			}
		})
		r.meter(evaluating)
		for i, m := range r.Metrics { // they go on with the epoch
			if err := m.SetState(soFar[i]); err != nil {
				return fmt.Errorf("metric %s: %w", m.Name(), err)
			}
		}
		if err != nil {
			for _, c := range r.Callbacks {
				if c, ok := c.(interface{ OnEvaluateAbort(*State) }); ok {
					c.OnEvaluateAbort(s)
				}
			}
			return err
		}
	} else if last := len(r.state.History) - 1; last >= 0 && r.evaluated == s.Step {
		return nil
	}
	r.evaluated = s.Step
	r.state.History = append(r.state.History, e)
	s.Last = &r.state.History[len(r.state.History)-1]
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
		Epochs: s.Epoch, Steps: s.Step, Skipped: s.Skipped, Samples: s.Samples,
		TrainLoss: s.TrainLoss, TrainMetrics: s.TrainMetrics, TestLoss: math.NaN(),
		Parameters:       nn.Count(s.Model),
		SamplesPerSecond: s.SamplesPerSecond(),
		Duration:         s.Elapsed,
		PeakMemory:       memory, PeakMemorySource: source, UploadedPerStep: r.uploads.perStep(s),
		History: r.state.History,
		Stopped: s.reason,
		Usage:   s.Usage, Phases: s.Phases, StepsPerEpoch: s.StepsPerEpoch,
		Bad: r.bad, BadCount: r.badCount + r.loader.BadCount(),
	}
	report.planner = r.planner
	if s.Last != nil && s.Last.Step == s.Step {
		report.TestLoss, report.Metrics = s.Last.TestLoss, s.Last.Metrics
	}
	return report
}
