package power

import (
	"fmt"
	"iter"
	"math"
	"strings"
	"time"
)

// Series is a value for each hour, or each half or quarter of one, of a stretch of time: what a
// kilowatt-hour costs, or how many grams of CO2e it stands for. It has no gaps.
type Series struct {
	unit   Unit
	source string
	start  time.Time
	step   time.Duration
	values []float64
}

// Unit is what the values of a series are.
type Unit struct {
	Currency string // of a price for a kWh; empty: grams of CO2e for a kWh
}

// Grams is the unit of a series of carbon intensity.
var Grams = Unit{}

// String is "g/kWh" or "EUR/kWh".
func (u Unit) String() string {
	if u.Currency == "" {
		return "g/kWh"
	}
	return u.Currency + "/kWh"
}

// Hour is one value of a series: it holds from Start until the next one begins.
type Hour struct {
	Start time.Time
	Value float64
}

// OrderError is an entry that keeps a list of hours from being a series.
type OrderError struct {
	Index int // of the entry
	What  string
}

func (e *OrderError) Error() string { return fmt.Sprintf("power: entry %d: %s", e.Index+1, e.What) }

// NewSeries makes a series of entries in order of time, all of one length: an hour, or what
// divides one. The last is as long as the others. The source is named in errors and
// reports. The error is an *OrderError that says which entry is wrong, and why.
func NewSeries(unit Unit, source string, hours []Hour) (*Series, error) {
	if len(hours) == 0 {
		return nil, &OrderError{0, "there are no values"}
	}
	s := &Series{unit: unit, source: source, start: hours[0].Start, step: time.Hour, values: make([]float64, len(hours))}
	if len(hours) > 1 {
		s.step = hours[1].Start.Sub(hours[0].Start)
		for i := 2; i < len(hours); i++ { // a gap after the first entry is no step
			if d := hours[i].Start.Sub(hours[i-1].Start); d > 0 {
				s.step = min(s.step, d)
			}
		}
		if first := hours[1].Start.Sub(hours[0].Start); first <= 0 {
			s.step = time.Hour
		}
	}
	if s.step > time.Hour || time.Hour%s.step != 0 {
		return nil, &OrderError{1, fmt.Sprintf("values are %s apart; they are to be an hour apart, or what divides one", brief(s.step))}
	}
	for i, h := range hours {
		if math.IsNaN(h.Value) || math.IsInf(h.Value, 0) {
			return nil, &OrderError{i, fmt.Sprintf("%v is no value", h.Value)}
		}
		if unit.Currency == "" && h.Value < 0 {
			return nil, &OrderError{i, fmt.Sprintf("%g g/kWh is negative", h.Value)}
		}
		s.values[i] = h.Value
		if i == 0 {
			continue
		}
		before, at := hours[i-1].Start, h.Start
		switch d := at.Sub(before); {
		case d == s.step:
		case d == 0:
			return nil, &OrderError{i, fmt.Sprintf("%s is there twice; leave one of them", stamp(at))}
		case d < 0:
			return nil, &OrderError{i, fmt.Sprintf("%s comes after %s; sort the entries by time", stamp(at), stamp(before))}
		case d > s.step:
			return nil, &OrderError{i, fmt.Sprintf("there is a gap of %s before %s: values are %s apart, and the one of %s is missing; add what is missing", brief(d-s.step), stamp(at), brief(s.step), stamp(before.Add(s.step)))}
		default:
			return nil, &OrderError{i, fmt.Sprintf("%s begins before that of %s has ended", stamp(at), stamp(before))}
		}
	}
	return s, nil
}

// brief is a duration without zeros at its end, "1h30m" and not "1h30m0s".
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04Z07:00") }

// Unit is what the values are.
func (s *Series) Unit() Unit { return s.unit }

// Source is where they come from: a file's name.
func (s *Series) Source() string { return s.source }

// Start, End and Step are the time that the series covers, from Start until just before
// End, and how long each value holds.
func (s *Series) Start() time.Time { return s.start }

func (s *Series) End() time.Time { return s.start.Add(time.Duration(len(s.values)) * s.step) }

func (s *Series) Step() time.Duration { return s.step }

// All is the values with the times from which they hold.
func (s *Series) All() iter.Seq2[time.Time, float64] {
	return func(yield func(time.Time, float64) bool) {
		for i, v := range s.values {
			if !yield(s.start.Add(time.Duration(i)*s.step), v) {
				return
			}
		}
	}
}

// RangeError is a question about a time that a series does not cover.
type RangeError struct {
	Series   *Series
	From, To time.Time
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("power: %s covers %s to %s, and not %s to %s", e.Series.source, stamp(e.Series.start), stamp(e.Series.End()), stamp(e.From), stamp(e.To))
}

// At is the value that holds at t. The error is a *RangeError.
func (s *Series) At(t time.Time) (float64, error) {
	if d := t.Sub(s.start); d >= 0 && d < time.Duration(len(s.values))*s.step {
		return s.values[d/s.step], nil
	}
	return 0, &RangeError{s, t, t}
}

// Mean is the mean over the time from one moment to another, At if they are the same. The error
// is a *RangeError unless the series covers all of it.
func (s *Series) Mean(from, to time.Time) (float64, error) {
	if !from.Before(to) {
		return s.At(from)
	}
	sum, err := s.Integrate(from, to)
	return sum / to.Sub(from).Hours(), err
}

// Integrate is the integral over time, in hours: of prices, what a kW costs in that time.
// The error is a *RangeError unless the series covers all of it.
func (s *Series) Integrate(from, to time.Time) (float64, error) {
	if from.Before(s.start) || to.After(s.End()) || to.Before(from) {
		return 0, &RangeError{s, from, to}
	}
	sum := 0.0
	i := int(from.Sub(s.start) / s.step)
	for t := from; t.Before(to); i++ {
		end := s.start.Add(time.Duration(i+1) * s.step)
		if end.After(to) {
			end = to
		}
		sum += s.values[i] * end.Sub(t).Hours()
		t = end
	}
	return sum, nil
}

// Overall is the mean of all values.
func (s *Series) Overall() float64 {
	sum := 0.0
	for _, v := range s.values {
		sum += v
	}
	return sum / float64(len(s.values))
}
