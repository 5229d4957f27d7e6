package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sinter-dl/sinter/schedule"
)

// Guard makes a run wait between two steps: while what it computes on is too hot, and
// while a window is open in which the machine is not to work. Nothing is lost by that and
// no bit changes: the run stands still, with a checkpoint on the disk, and goes on.
//
// An evaluation is not interrupted, and a step is not either: the guard looks after each
// step, and before the first.
type Guard struct {
	// Temperature in °C above which the run waits, until it is ResumeBelow or less; that is
	// ten degrees below Temperature if it is zero, so that the run does not stutter at the
	// limit. Zero: no limit.
	Temperature float64
	ResumeBelow float64

	// Thermometer tells the temperature, or why it cannot be told. A guard with a
	// Temperature needs one that works when training begins; one that fails later is
	// warned of once, and the run goes on.
	Thermometer func() (celsius float64, err error)

	// Outages are the windows in which the run waits.
	Outages []schedule.Window

	Every time.Duration    // between two looks at the thermometer, and at all of it while waiting; 2 s if zero
	Clock func() time.Time // time.Now if nil
}

// Pause is why a run waits; see State.Paused.
type Pause struct {
	Reason string    `json:"reason"` // "the temperature is 86 °C, above 85 °C"
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero where it cannot be told
}

// String says why, and until when.
func (p *Pause) String() string {
	if p.Until.IsZero() {
		return p.Reason
	}
	until := p.Until.Format("15:04")
	if p.Until.Sub(p.Since) >= 20*time.Hour {
		until = p.Until.Format("Mon 2 Jan 15:04")
	}
	return p.Reason + ", until " + until
}

// PauseListener is a callback that is told of pauses: OnPause is called when one begins,
// every few seconds while it lasts, with State.Paused saying why, and when it has ended,
// with State.Paused nil. It may stop the run.
type PauseListener interface {
	Callback
	OnPause(*State)
}

// standardGuard is how often a guard looks unless it is said.
const standardGuard = 2 * time.Second

// hysteresis is how many degrees a device has to cool down unless it is said.
const hysteresis = 10

// guard is the Guard of a run.
type guard struct {
	Guard
	looked time.Time // when the thermometer was read last
	hot    bool      // it was too hot then, and is until it has cooled down
	shown  float64   // what it showed
	blind  bool      // that it does not work has been said
}

// guard checks the settings; nil without them.
func (g *Guard) guard() (*guard, error) {
	if g == nil {
		return nil, nil
	}
	own := &guard{Guard: *g}
	if own.Every <= 0 {
		own.Every = standardGuard
	}
	if own.Clock == nil {
		own.Clock = time.Now
	}
	if err := own.limit(own.Temperature, own.ResumeBelow); err != nil {
		return nil, err
	}
	return own, nil
}

// limit sets the temperatures. It takes a thermometer that works.
func (g *guard) limit(above, below float64) error {
	if below == 0 {
		below = above - hysteresis
	}
	switch {
	case above == 0:
		g.Temperature, g.hot = 0, false
		return nil
	case !(above > 0) || math.IsInf(above, 0):
		return fmt.Errorf("train: a guard's temperature is %g °C, expected one above 0", above)
	case !(below < above):
		return fmt.Errorf("train: a guard that waits above %g °C cannot go on at %g °C, which is not below it", above, below)
	case g.Thermometer == nil:
		return errors.New("train: a guard with a temperature needs a Thermometer")
	}
	if _, err := g.Thermometer(); err != nil {
		return fmt.Errorf("train: the guard of %g °C cannot work: %w", above, err)
	}
	g.Temperature, g.ResumeBelow = above, below
	return nil
}

// look tells why the run is to wait; nil if it is to go on.
func (g *guard) look(s *State) *Pause {
	now := g.Clock()
	for _, w := range g.Outages {
		if w.Contains(now) {
			return &Pause{Reason: "outage " + w.String(), Until: w.Next(now).To}
		}
	}
	if g.Temperature == 0 || !g.looked.IsZero() && now.Sub(g.looked) < g.Every {
		return g.heat()
	}
	g.looked = now
	celsius, err := g.Thermometer()
	switch {
	case err != nil:
		g.hot = false
		if !g.blind {
			g.blind = true
			s.Warn(fmt.Sprintf("the guard of %g °C does not work any more, and the run goes on without it: %v", g.Temperature, err))
		}
	case celsius > g.Temperature:
		g.hot, g.blind = true, false
	case celsius <= g.ResumeBelow:
		g.hot, g.blind = false, false
	}
	g.shown = celsius
	return g.heat()
}

func (g *guard) heat() *Pause {
	if !g.hot {
		return nil
	}
	if g.shown > g.Temperature {
		return &Pause{Reason: fmt.Sprintf("the temperature is %.0f °C, above %g °C", g.shown, g.Temperature)}
	}
	return &Pause{Reason: fmt.Sprintf("the temperature is %.0f °C and was above %g °C; it goes on at %g °C", g.shown, g.Temperature, g.ResumeBelow)}
}

// hold waits while the guard wants it. Other reasons to stop are an error or State's, as
// after any step.
func (r *fit) hold(ctx context.Context) error {
	g, s := r.guard, r.state
	if g == nil || s.stopping() {
		return nil
	}
	why := g.look(s)
	if why == nil {
		return nil
	}
	since := g.Clock()
	if v := r.saver; v != nil && s.Step > 0 && v.step != s.Step { // who knows what happens to the machine meanwhile
		if err := r.save(nil); err != nil {
			return err
		}
		v.poll(s, r.Callbacks, true)
	}
	r.meter(training)
	defer func() {
		s.Paused = nil
		r.paused()
	}()
	for why != nil && !s.stopping() {
		why.Since = since
		s.Paused = why
		s.Elapsed = time.Since(r.start)
		r.paused()
		wait := g.Every
		if left := why.Until.Sub(g.Clock()); !why.Until.IsZero() && left < wait {
			wait = max(left, time.Millisecond)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			r.meter(pausing)
			return context.Cause(ctx)
		case <-timer.C:
		}
		r.meter(pausing)
		if err := r.exhausted(); err != nil {
			return err
		}
		why = g.look(s)
	}
	return nil
}

// paused tells callbacks.
func (r *fit) paused() {
	for _, c := range r.Callbacks {
		if l, ok := c.(PauseListener); ok {
			l.OnPause(r.state)
		}
	}
}

// SetTemperature changes the Temperature of the Trainer's Guard, or ends it if it is zero;
// ResumeBelow is ten degrees below it then. It fails where the temperature cannot be told.
func (s *State) SetTemperature(celsius float64) error {
	if s.guard == nil {
		return errors.New("train: the run has no Guard that knows the temperature")
	}
	return s.guard.limit(celsius, 0)
}
