package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/sinter-dl/sinter/power"
)

// Want is what hours are chosen for.
type Want struct {
	Length  time.Duration // that is to be run in all
	Between Interval      // now and the deadline; without one, up to the end of the series
	Window  Window        // and only while it is open
	Pieces  bool          // it may be interrupted, as training that writes checkpoints
}

// Choice is the hours that were chosen.
type Choice struct {
	Intervals []Interval // in order of time, apart from each other, Want.Length in all
	Mean      float64    // of the series over them: what a kWh costs, or emits, at a steady power
}

// UnitError is a series of another kind than is asked for.
type UnitError struct {
	Series *power.Series
	Want   string
}

func (e *UnitError) Error() string {
	return fmt.Sprintf("%s is a series in %s, expected %s", e.Series.Source(), e.Series.Unit(), e.Want)
}

// ShortError is a want that the time there is does not hold.
type ShortError struct {
	Series *power.Series
	Want   Want
	Within Interval      // that the series covers of what is asked for; without length if nothing
	Open   time.Duration // there is, in one piece unless Want.Pieces
}

func (e *ShortError) Error() string {
	clock := func(t time.Time) string { return t.In(e.Want.Window.Zone()).Format("2006-01-02 15:04 MST") }
	if !e.Within.From.Before(e.Within.To) {
		return fmt.Sprintf("%s covers %s to %s, which has no part between now and the deadline; a newer file is wanted",
			e.Series.Source(), clock(e.Series.Start()), clock(e.Series.End()))
	}
	piece := " in one piece"
	if e.Want.Pieces {
		piece = ""
	}
	window := ""
	if !e.Want.Window.IsZero() {
		window = fmt.Sprintf(" while the window %s is open", e.Want.Window)
	}
	return fmt.Sprintf("%v are wanted%s, and between %s and %s there are %v%s of %s",
		e.Want.Length, piece, clock(e.Within.From), clock(e.Within.To), e.Open, window, e.Series.Source())
}

// Cheapest chooses the hours in which electricity costs least, from a series of prices;
// where several cost the same, the earliest. With Want.Pieces each hour is chosen for
// itself. Hours that the series does not cover are not chosen. The error is a *UnitError
// for a series of something else, or a *ShortError.
func Cheapest(prices *power.Series, w Want) (Choice, error) {
	if prices.Unit().Currency == "" {
		return Choice{}, &UnitError{prices, "prices such as EUR/kWh"}
	}
	return least(prices, w)
}

// Greenest is Cheapest for a series of carbon intensities.
func Greenest(intensities *power.Series, w Want) (Choice, error) {
	if intensities.Unit() != power.Grams {
		return Choice{}, &UnitError{intensities, power.Grams.String()}
	}
	return least(intensities, w)
}

func least(s *power.Series, w Want) (Choice, error) {
	if w.Length <= 0 {
		return Choice{}, fmt.Errorf("choosing hours of %s: a length of %v; expected more than 0", s.Source(), w.Length)
	}
	within := Interval{w.Between.From, w.Between.To}
	if within.From.Before(s.Start()) {
		within.From = s.Start()
	}
	if within.To.IsZero() || within.To.After(s.End()) {
		within.To = s.End()
	}
	open := w.Window.Between(within.From, within.To)
	var chosen []Interval
	if w.Pieces {
		chosen = pieces(s, open, w.Length)
	} else {
		chosen = whole(s, open, w.Length)
	}
	if chosen == nil {
		e := &ShortError{Series: s, Want: w, Within: within}
		for _, o := range open {
			if w.Pieces {
				e.Open += o.Length()
			} else {
				e.Open = max(e.Open, o.Length())
			}
		}
		return Choice{}, e
	}
	sum := 0.0
	for _, c := range chosen {
		v, err := s.Integrate(c.From, c.To)
		if err != nil {
			return Choice{}, err
		}
		sum += v
	}
	return Choice{chosen, sum / w.Length.Hours()}, nil
}

// whole finds the best single stretch. What a stretch costs is a function of its
// beginning that is made of straight lines, which meet where the beginning or the end is
// at a step of the series; so the least is there or at an end of what is open.
func whole(s *power.Series, open []Interval, length time.Duration) []Interval {
	var best []Interval
	var least float64
	for _, o := range open {
		last := o.To.Add(-length)
		begins := []time.Time{o.From, last}
		for t := range s.All() {
			begins = append(begins, t, t.Add(-length))
		}
		slices.SortFunc(begins, time.Time.Compare)
		for i, from := range begins {
			if from.Before(o.From) || from.After(last) || i > 0 && from.Equal(begins[i-1]) {
				continue
			}
			v, err := s.Integrate(from, from.Add(length))
			if err != nil { // it lies in what is open, and that in the series
				panic(err)
			}
			if best == nil || v < least {
				best, least = []Interval{{from, from.Add(length)}}, v
			}
		}
	}
	return best
}

// pieces takes the best steps of the series until they are enough; of the last one only
// a part, beside another that was taken if there is one.
func pieces(s *power.Series, open []Interval, length time.Duration) []Interval {
	type slot struct {
		Interval
		value float64
	}
	var slots []slot
	for t, v := range s.All() {
		for _, o := range open {
			in := Interval{t, t.Add(s.Step())}
			if in.From.Before(o.From) {
				in.From = o.From
			}
			if in.To.After(o.To) {
				in.To = o.To
			}
			if in.From.Before(in.To) {
				slots = append(slots, slot{in, v})
			}
		}
	}
	slices.SortStableFunc(slots, func(a, b slot) int { return cmp.Compare(a.value, b.value) })
	var taken []Interval
	for _, in := range slots {
		if length <= 0 {
			break
		}
		if spare := in.Length() - length; spare > 0 {
			follows := slices.ContainsFunc(taken, func(t Interval) bool { return t.To.Equal(in.From) })
			leads := slices.ContainsFunc(taken, func(t Interval) bool { return t.From.Equal(in.To) })
			if leads && !follows {
				in.From = in.From.Add(spare)
			} else {
				in.To = in.To.Add(-spare)
			}
		}
		length -= in.Length()
		taken = append(taken, in.Interval)
	}
	if length > 0 {
		return nil
	}
	slices.SortFunc(taken, func(a, b Interval) int { return a.From.Compare(b.From) })
	joined := taken[:1]
	for _, t := range taken[1:] {
		if last := &joined[len(joined)-1]; last.To.Equal(t.From) {
			last.To = t.To
		} else {
			joined = append(joined, t)
		}
	}
	return joined
}
