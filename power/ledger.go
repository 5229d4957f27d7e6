package power

import (
	"slices"
	"time"
)

// Ledger keeps the Usage of a run while it goes on: it reads a meter, and prices the joules of
// each stretch between two readings at what they cost and emitted then. It is not safe for
// concurrent use.
type Ledger struct {
	meter   *Meter
	rates   *Rates
	idle    float64
	last    time.Time
	counted []float64 // of each of the meter's parts, at last
	usage   Usage
}

// NewLedger counts from now on, and goes on from what a run had consumed before, the zero
// Usage for a new one. The error is what is wrong with the rates, or a *CurrencyError if
// what was spent before is of another currency than theirs.
func NewLedger(m *Meter, r *Rates, before Usage) (*Ledger, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if c := r.Currency(); c != "" {
		if err := before.Cost.same(Money{1, c}); err != nil {
			return nil, err
		}
	}
	l := &Ledger{meter: m, rates: r, last: m.clock(), usage: before}
	l.idle, _ = m.IdleWatts()
	l.usage.Parts, l.usage.Sources = slices.Clone(before.Parts), slices.Clone(before.Sources)
	m.each(func(c *channel) {
		l.counted = append(l.counted, c.given)
		l.usage.Estimated = l.usage.Estimated || c.part.Estimated
		l.usage.source(c.part.Component + ": " + c.part.Source)
	})
	for _, s := range r.sources() {
		l.usage.source(s)
	}
	return l, nil
}

// Usage is what has been consumed until now. It takes about a
// microsecond, and between samples it extrapolates: [Meter.Sync] before makes it exact.
func (l *Ledger) Usage() Usage {
	now := l.meter.clock()
	joules, i := 0.0, 0
	l.meter.each(func(c *channel) {
		p := c.part
		p.Joules = c.given - l.counted[i]
		l.counted[i] = c.given
		l.usage.Parts = addPart(l.usage.Parts, p)
		joules += p.Joules
		i++
	})
	l.rates.add(&l.usage, joules, l.idle, l.last, now)
	l.last = now
	u := l.usage
	u.Parts, u.Sources = slices.Clone(u.Parts), slices.Clone(u.Sources)
	return u
}
