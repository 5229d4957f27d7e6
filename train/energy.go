package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sinter-dl/sinter/power"
)

// Energy accounts for what a run consumes, and ends it when that is enough.
//
// A reading of the meter is taken after each step, around evaluations, while the run waits,
// and at its end; what was used since the one before it belongs to what was done in
// between. It reads and adds: no bit of a result depends on it. Time counts from the
// beginning of Fit to its end, evaluations and pauses included, for all of that time the
// device is held.
//
// A checkpoint holds all of it, so a run that is resumed goes on counting.
type Energy struct {
	Meter *power.Meter // nil: only time is counted, and what the device's hours cost
	Rates power.Rates  // what a joule and an hour stand for

	// Budget ends the run with a checkpoint and an *InterruptedError that wraps a
	// *BudgetError. It is for the whole run, what came before a resume included: a run that
	// ended by its budget goes on with a larger one. It is looked at after each step and
	// between the batches of an evaluation; where the next step is known to take more than
	// is left, it is not begun.
	Budget power.Budget

	// Spent is what the run has used so far, where more is known than a checkpoint tells: it
	// was written before the run ended, and steps that a kill has undone were paid for,
	// too. It counts where it is more than what the checkpoint has. Without Phases, or
	// with those of other steps than the checkpoint's, what is more is lost.
	Spent Spent

	Clock func() time.Time // that of the Meter; time.Now if nil
}

// BudgetError is a budget that is used up.
type BudgetError struct {
	Budget power.Budget
	Usage  power.Usage
	Reason string // which part of it, and how much was used
}

func (e *BudgetError) Error() string { return e.Reason }

// Phases divides what was used by what it was used for. Its sums are those of a Usage.
type Phases struct {
	Train    Phase `json:"train"`    // steps: loading, computing, callbacks, checkpoints
	Evaluate Phase `json:"evaluate"` // evaluations of the test set
	Pause    Phase `json:"pause"`    // waiting for a Guard
	Lost     Phase `json:"lost"`     // after the checkpoint from which the run went on: steps that were made again

	Steps   int `json:"steps"`   // those that Train is for
	Samples int `json:"samples"` // of them

	Epoch Phase `json:"epoch"` // of the above, the present epoch's steps and evaluations
}

// Phase is a part of what was used.
type Phase struct {
	Seconds float64 `json:"seconds"`
	Joules  float64 `json:"joules"`
}

func (p *Phase) add(seconds, joules float64) { p.Seconds += seconds; p.Joules += joules }

// JoulesPerStep and JoulesPerSample are means over the steps, without evaluations and
// pauses; NaN where nothing was measured.
func (p *Phases) JoulesPerStep() float64 { return p.per(p.Steps) }

func (p *Phases) JoulesPerSample() float64 { return p.per(p.Samples) }

func (p *Phases) per(n int) float64 {
	if n == 0 || p.Train.Joules == 0 {
		return math.NaN()
	}
	return p.Train.Joules / float64(n)
}

// JoulesPerEpoch is the mean of so many epochs' steps, parts of an epoch as their share,
// and evaluations; NaN where nothing was measured or the length of an epoch is not known.
func (p *Phases) JoulesPerEpoch(stepsPerEpoch int) float64 {
	if stepsPerEpoch == 0 || p.Steps == 0 || p.Train.Joules == 0 {
		return math.NaN()
	}
	return (p.Train.Joules + p.Evaluate.Joules) / float64(p.Steps) * float64(stepsPerEpoch)
}

// Spent is the books of a run.
type Spent struct {
	Usage  power.Usage
	Phases Phases
}

// phase is what was done since the last reading.
type phase int

const (
	training phase = iota
	evaluating
	pausing
)

// account keeps the books of a run.
type account struct {
	Energy
	ledger *power.Ledger // nil without a meter

	begun    time.Time
	before   power.Usage // of a run without a meter, until then
	usage    power.Usage // until the last reading
	phases   Phases
	earlier  power.Usage // until the one before it
	lastStep power.Usage // what the last step took
	compiled bool        // a step has been made
	watts    [2]mark     // a second ago or more, and since
}

// mark is a moment of a run.
type mark struct{ seconds, joules float64 }

// powerOver is how long the power is a mean over, at least.
const powerOver = 1.0 // s

// account checks the settings; nil without them.
func (e *Energy) account() (*account, error) {
	if e == nil {
		return nil, nil
	}
	a := &account{Energy: *e}
	if a.Clock == nil {
		a.Clock = time.Now
	}
	if err := a.Rates.Check(); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	if err := a.allows(a.Budget); err != nil {
		return nil, err
	}
	return a, a.open(power.Usage{}, Phases{})
}

// allows tells why a budget cannot be watched.
func (a *account) allows(b power.Budget) error {
	switch {
	case a.Meter == nil && (b.KWh > 0 || b.Kg > 0):
		return errors.New("train: a budget of energy or carbon needs a Meter")
	case a.Meter == nil && b.Money != nil && !a.Rates.Tariff.IsZero():
		return errors.New("train: a budget of money needs a Meter where energy has a price")
	}
	if err := b.Check(&a.Rates); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

// open begins to count, after what was used before.
func (a *account) open(before power.Usage, phases Phases) (err error) {
	if all := a.Spent.Usage; all.Seconds > before.Seconds && all.Joules >= before.Joules {
		if a.Spent.Phases.Steps == phases.Steps && phases.Steps > 0 {
			phases = a.Spent.Phases
		} else {
			phases.Lost.add(all.Seconds-before.Seconds, all.Joules-before.Joules)
		}
		before = all
	}
	if a.Meter != nil {
		if a.ledger, err = power.NewLedger(a.Meter, &a.Rates, before); err != nil {
			return fmt.Errorf("what the run has spent so far was %v: %w", before.Cost, err)
		}
	} else if _, err := before.Cost.Add(a.Rates.Device); err != nil {
		return fmt.Errorf("what the run has spent so far was %v: %w", before.Cost, err)
	}
	a.begun, a.before = a.Clock(), before
	a.usage, a.earlier, a.lastStep, a.phases = before, before, power.Usage{}, phases
	a.watts = [2]mark{{before.Seconds, before.Joules}, {before.Seconds, before.Joules}}
	return nil
}

// read takes a reading; what was used since the last was for p.
func (a *account) read(p phase) {
	var u power.Usage
	if a.ledger != nil {
		u = a.ledger.Usage()
	} else {
		u = a.before
		seconds := a.Clock().Sub(a.begun).Seconds()
		u.Seconds += seconds
		u.DeviceCost = power.Money{Amount: u.DeviceCost.Amount + seconds/3600*a.Rates.Device.Amount, Currency: cmp.Or(a.Rates.Device.Currency, u.DeviceCost.Currency)}
		u.Cost = power.Money{Amount: u.EnergyCost.Amount + u.DeviceCost.Amount, Currency: cmp.Or(u.DeviceCost.Currency, u.EnergyCost.Currency)}
	}
	seconds, joules := u.Seconds-a.usage.Seconds, u.Joules-a.usage.Joules
	a.usage, a.earlier = u, a.usage
	switch p {
	case training:
		a.phases.Train.add(seconds, joules)
		a.phases.Epoch.add(seconds, joules)
	case evaluating:
		a.phases.Evaluate.add(seconds, joules)
		a.phases.Epoch.add(seconds, joules)
	case pausing:
		a.phases.Pause.add(seconds, joules)
	}
	if u.Seconds-a.watts[1].seconds >= powerOver {
		a.watts = [2]mark{a.watts[1], {u.Seconds, u.Joules}}
	}
}

// made counts a step that the last reading was taken after.
func (a *account) made(samples int) {
	u, before := a.usage, a.earlier
	a.lastStep = power.Usage{}
	if a.compiled { // the first step of all takes longer
		a.lastStep = power.Usage{Seconds: u.Seconds - before.Seconds, Joules: u.Joules - before.Joules, Grams: u.Grams - before.Grams,
			Cost: power.Money{Amount: u.Cost.Amount - before.Cost.Amount, Currency: u.Cost.Currency}}
	}
	a.compiled = true
	if a.Meter != nil {
		a.phases.Steps++
		a.phases.Samples += samples
	}
}

// exhausted is a *BudgetError if the budget is used up, or would be by what comes next.
func (a *account) exhausted(next power.Usage) error {
	if a.Budget.IsZero() {
		return nil
	}
	what, yes := a.Budget.Exceeded(a.usage, next)
	if !yes {
		return nil
	}
	return &BudgetError{Budget: a.Budget, Usage: a.usage, Reason: what}
}

// power is the mean over the last second or two, in watts; 0 before they are over.
func (a *account) power() float64 {
	from, to := a.watts[0], a.watts[1]
	if d := to.seconds - from.seconds; d > 0 {
		return (to.joules - from.joules) / d
	}
	return 0
}

// meter takes a reading and shows it in State.
func (r *fit) meter(p phase) {
	if a := r.account; a != nil {
		a.read(p)
		r.state.Usage, r.state.Phases, r.state.Watts = a.usage, a.phases, a.power()
	}
}

// settle is meter with an answer of the sensors of just now, for what is kept.
func (r *fit) settle(p phase) {
	if a := r.account; a != nil && a.Meter != nil {
		a.Meter.Sync()
	}
	r.meter(p)
}

// exhausted tells why the budget ends the run; nil if it does not.
func (r *fit) exhausted() error {
	if r.account == nil {
		return nil
	}
	return r.account.exhausted(power.Usage{})
}

// affordable tells why the budget has no room for a step that takes what the last one took;
// nil if it has.
func (r *fit) affordable() error {
	if r.account == nil {
		return nil
	}
	return r.account.exhausted(r.account.lastStep)
}

// limited is a context for an evaluation, which ends when the budget is used up; used is to
// be called after each batch, and done in the end.
func (r *fit) limited(ctx context.Context) (within context.Context, used func(examples int), done func()) {
	a := r.account
	if a == nil || a.Budget.IsZero() {
		return ctx, func(int) {}, func() {}
	}
	within, stop := context.WithCancelCause(ctx)
	left := r.testSet.Len()
	return within, func(examples int) {
		r.meter(evaluating)
		if left -= examples; left > 0 { // what is complete stays
			if err := a.exhausted(power.Usage{}); err != nil {
				stop(err)
			}
		}
	}, func() { stop(nil) }
}

// SetBudget changes the budget of a run that has Trainer.Energy, from the next step on. It
// fails where such a budget cannot be watched.
func (s *State) SetBudget(b power.Budget) error {
	if s.account == nil {
		return errors.New("train: the run has no Energy, and so nothing that a budget could watch")
	}
	if err := s.account.allows(b); err != nil {
		return err
	}
	s.account.Budget = b
	return nil
}

// Budget is what limits the run now.
func (s *State) Budget() power.Budget {
	if s.account == nil {
		return power.Budget{}
	}
	return s.account.Budget
}
