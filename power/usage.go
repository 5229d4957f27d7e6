package power

import (
	"slices"
	"time"
)

// Usage is what a run has consumed.
type Usage struct {
	Seconds    float64  `json:"seconds"`
	Joules     float64  `json:"joules"`      // of all parts, what the machine takes idle included
	IdleJoules float64  `json:"idle_joules"` // what it would have taken idle
	Parts      []Part   `json:"parts,omitempty"`
	Grams      float64  `json:"grams"`            // of CO2e: kWh × PUE × g/kWh
	Litres     float64  `json:"litres,omitempty"` // of water: kWh × WUE
	Cost       Money    `json:"cost"`             // EnergyCost + DeviceCost; the zero value without prices
	EnergyCost Money    `json:"energy_cost"`      // kWh × PUE × price of the kWh
	DeviceCost Money    `json:"device_cost"`      // hours × rate of the device
	Estimated  bool     `json:"estimated"`        // something of the above is by a model, or guessed
	Sources    []string `json:"sources,omitempty"`
}

// KWh is Joules in kilowatt-hours: of the computer, without the building's PUE.
func (u Usage) KWh() float64 { return u.Joules / JoulesPerKWh }

// Usage prices what was consumed from one moment to another: joules of parts, idle watts of the
// machine. The energy is taken to have been spread evenly over that time; where prices
// change, make it of short times and add them up, as a [Ledger] does. Rates have to pass
// Check.
func (r *Rates) Usage(parts []Part, idle float64, from, to time.Time) Usage {
	u := Usage{Parts: slices.Clone(parts)}
	joules := 0.0
	for _, p := range parts {
		joules += p.Joules
		u.Estimated = u.Estimated || p.Estimated
		u.source(p.Component + ": " + p.Source)
	}
	for _, s := range r.sources() {
		u.source(s)
	}
	r.add(&u, joules, idle, from, to)
	return u
}

// add adds what follows from joules of a stretch of time.
func (r *Rates) add(u *Usage, joules, idle float64, from, to time.Time) {
	seconds := max(0, to.Sub(from).Seconds())
	kWh := joules / JoulesPerKWh
	grams, guess := r.carbon(from, to)
	per, guessed := r.price(from, to)
	if guess || guessed {
		u.Estimated = true
		for _, s := range r.guesses(guess, guessed) {
			u.source(s)
		}
	}
	u.Seconds += seconds
	u.Joules += joules
	u.IdleJoules += min(idle*seconds, joules)
	u.Grams += kWh * r.pue() * grams
	u.Litres += kWh * r.WUE
	// Check has seen that the currencies are one.
	u.EnergyCost, _ = u.EnergyCost.Add(per.Times(kWh * r.pue()))
	u.DeviceCost, _ = u.DeviceCost.Add(r.Device.Times(seconds / 3600))
	u.Cost, _ = u.EnergyCost.Add(u.DeviceCost)
}

// source notes where a figure comes from, once.
func (u *Usage) source(s string) {
	if s != "" && !slices.Contains(u.Sources, s) {
		u.Sources = append(u.Sources, s)
	}
}

// Add is u and what was consumed after it, in the same run or in one that was resumed. Parts
// add up where component and source are the same. The error is a *CurrencyError if costs
// are of two currencies.
func (u Usage) Add(v Usage) (Usage, error) {
	sum := Usage{
		Seconds: u.Seconds + v.Seconds, Joules: u.Joules + v.Joules, IdleJoules: u.IdleJoules + v.IdleJoules,
		Parts: slices.Clone(u.Parts), Grams: u.Grams + v.Grams, Litres: u.Litres + v.Litres,
		Estimated: u.Estimated || v.Estimated, Sources: slices.Clone(u.Sources),
	}
	for _, m := range []struct {
		to   *Money
		a, b Money
	}{{&sum.Cost, u.Cost, v.Cost}, {&sum.EnergyCost, u.EnergyCost, v.EnergyCost}, {&sum.DeviceCost, u.DeviceCost, v.DeviceCost}} {
		var err error
		if *m.to, err = m.a.Add(m.b); err != nil {
			return u, err
		}
	}
	for _, p := range v.Parts {
		sum.Parts = addPart(sum.Parts, p)
	}
	for _, s := range v.Sources {
		sum.source(s)
	}
	return sum, nil
}

// addPart adds a part to those of the same component and source, in place.
func addPart(parts []Part, p Part) []Part {
	for i := range parts {
		q := &parts[i]
		if q.Component == p.Component && q.Source == p.Source && q.Estimated == p.Estimated {
			q.Joules += p.Joules
			if p.Note != "" {
				q.Note = p.Note
			}
			return parts
		}
	}
	return append(parts, p)
}
