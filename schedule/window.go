// Package schedule says when something may run: windows of time that return every day
// or every week, and the cheapest or greenest hours of a series of prices or of carbon
// intensities.
//
// A [Window] is written the way people say it, with the zone of the clock that is meant:
//
//	23:00-06:00 Europe/Paris
//	Mon-Fri 20:00-07:00, Sat,Sun 00:00-24:00 America/New_York
//
// It is open whenever a clock on a wall of that zone shows a time in it. That one
// sentence settles what happens when clocks are changed: an hour that is skipped in
// spring is shown by no clock, so a window is shorter by what lies in it, and one that
// lies wholly in it does not open on that day; an hour that is repeated in autumn is
// shown twice, so a window is longer by what lies in it, and one that ends in the middle
// of that hour opens again when the clock shows its last part for the second time. The
// day of a span that goes over midnight is the one on which it begins.
//
// Nothing here looks at the clock: every function is told what time it is.
//
// window.go has windows, zones.go the names of zones, cheapest.go the choice of hours.
package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is a set of times of the week in a zone. The zero Window is always open.
type Window struct {
	spans []span
	zone  *time.Location
	text  string
}

// span is a time of the day on some days.
type span struct {
	days     [7]bool // by time.Weekday, on which it begins
	from, to int     // minutes since midnight, 0 … 1440; from ≥ to goes over midnight
}

// Interval is the time from From up to To, without To. One that does not end has a zero
// To.
type Interval struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero"`
}

// Length is how long the interval is.
func (i Interval) Length() time.Duration { return i.To.Sub(i.From) }

// Contains tells whether t lies in the interval.
func (i Interval) Contains(t time.Time) bool {
	return !t.Before(i.From) && (i.To.IsZero() || t.Before(i.To))
}

// ParseWindow reads a window:
//
//	window = group { (";" | ",") group } [zone]
//	group  = { day | day "-" day } span { span }
//
// Days are Mon … Sun, in full or by three letters, or weekdays, weekend, daily; without
// days a group is for every day. A span is HH:MM-HH:MM; one that ends no later than it
// begins ends on the next day; 00:00-24:00 is a whole day. Days and spans are parted by
// spaces or commas, and days after a span, or a semicolon, begin the next group. The
// zone is a name of the IANA database such as Europe/Paris, or UTC; without it the clock
// is the machine's own.
//
// A window that never opens, one that is no window and an unknown zone are errors; the
// last names the nearest zones.
func ParseWindow(text string) (Window, error) {
	w := Window{zone: time.Local}
	fail := func(format string, args ...any) (Window, error) {
		return Window{}, fmt.Errorf("window %q: %w", text, fmt.Errorf(format, args...))
	}
	words := strings.FieldsFunc(strings.ReplaceAll(text, ";", " ; "), func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == ',' })
	if len(words) == 0 {
		return Window{}, fmt.Errorf(`an empty window; expected one such as "23:00-06:00 Europe/Paris" or "Sat,Sun 00:00-24:00"`)
	}
	var days [7]bool
	none := days
	spans := 0 // of the group
	for i, word := range words {
		if word == ";" {
			days, spans = none, 0
			continue
		}
		if word[0] >= '0' && word[0] <= '9' {
			s, err := parseSpan(word)
			if err != nil {
				return fail("%w", err)
			}
			s.days = days
			if days == none {
				s.days = [7]bool{true, true, true, true, true, true, true}
			}
			w.spans = append(w.spans, s)
			spans++
			continue
		}
		named, ok := parseDays(word)
		if !ok {
			if i < len(words)-1 {
				return fail("found %q, expected days such as Mon-Fri, a time such as 23:00-06:00, or the zone at the end", word)
			}
			zone, err := Zone(word)
			if err != nil {
				return fail("%w", err)
			}
			w.zone = zone
			continue
		}
		if spans > 0 {
			days, spans = none, 0
		}
		for d, on := range named {
			days[d] = days[d] || on
		}
	}
	if len(w.spans) == 0 || spans == 0 && days != none {
		return fail("there is no time in it such as 23:00-06:00; 00:00-24:00 is a whole day")
	}
	w.text = w.write()
	return w, nil
}

var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// parseDays reads one word: a day, a range of days or a name for several.
func parseDays(word string) (days [7]bool, ok bool) {
	word = strings.ToLower(word)
	first, last, ranged := strings.Cut(word, "-")
	switch word {
	case "weekdays":
		first, last = "mon", "fri"
	case "weekend", "weekends":
		first, last = "sat", "sun"
	case "daily":
		first, last = "mon", "sun"
	default:
		if !ranged {
			last = first
		}
	}
	a, b := weekday(first), weekday(last)
	if a < 0 || b < 0 {
		return days, false
	}
	for d := a; ; d = (d + 1) % 7 {
		days[d] = true
		if d == b {
			return days, true
		}
	}
}

// weekday is the number of a day that is written in full or by three letters; -1 if it
// is none.
func weekday(name string) int {
	return slices.IndexFunc(weekdays, func(d string) bool { return name == d || name == d[:3] })
}

func parseSpan(word string) (s span, err error) {
	from, to, ok := strings.Cut(strings.ReplaceAll(word, "–", "-"), "-")
	if !ok {
		return s, fmt.Errorf("%q is no span of time; expected HH:MM-HH:MM such as 23:00-06:00", word)
	}
	if s.from, err = parseClock(from); err != nil {
		return s, err
	}
	if s.to, err = parseClock(to); err != nil {
		return s, err
	}
	if s.from == 1440 {
		return s, fmt.Errorf("%s begins at 24:00; write 00:00 and the next day", word)
	}
	if s.from == s.to {
		return s, fmt.Errorf("%s never opens: it ends when it begins; a whole day is 00:00-24:00", word)
	}
	return s, nil
}

// parseClock reads HH:MM as minutes since midnight.
func parseClock(text string) (int, error) {
	hh, mm, ok := strings.Cut(text, ":")
	digits := func(s string) bool { return len(s) == 2 && s[0] >= '0' && s[0] <= '9' && s[1] >= '0' && s[1] <= '9' }
	if len(hh) == 1 {
		hh = "0" + hh
	}
	if !ok || !digits(hh) || !digits(mm) {
		return 0, fmt.Errorf("%q is no time of the day; expected HH:MM, 00:00 to 24:00", text)
	}
	h, _ := strconv.Atoi(hh)
	m, _ := strconv.Atoi(mm)
	if m > 59 || h > 24 || h == 24 && m > 0 {
		return 0, fmt.Errorf("there is no time %s; the day goes from 00:00 to 24:00", text)
	}
	return 60*h + m, nil
}

// String writes the window in the form that ParseWindow reads; the zero Window is
// "always".
func (w Window) String() string {
	if w.IsZero() {
		return "always"
	}
	return w.text
}

func (w Window) write() string {
	var b strings.Builder
	for i, s := range w.spans {
		if i > 0 {
			b.WriteString("; ")
		}
		var names []string
		for d := 1; d <= 7; d++ { // from Monday
			if !s.days[d%7] {
				continue
			}
			last := d
			for last < 7 && s.days[(last+1)%7] {
				last++
			}
			name := func(d int) string { n := weekdays[d%7]; return strings.ToUpper(n[:1]) + n[1:3] }
			switch {
			case last-d >= 2:
				names = append(names, name(d)+"-"+name(last))
				d = last
			default:
				names = append(names, name(d))
			}
		}
		if days := strings.Join(names, ","); days != "Mon-Sun" {
			b.WriteString(days + " ")
		}
		fmt.Fprintf(&b, "%02d:%02d-%02d:%02d", s.from/60, s.from%60, s.to/60, s.to%60)
	}
	if w.zone != time.Local {
		b.WriteString(" " + w.zone.String())
	}
	return b.String()
}

// IsZero tells whether it is the Window that is always open.
func (w Window) IsZero() bool { return w.zone == nil }

// Zone is the zone of the window's clock; that of the machine for the zero Window.
func (w Window) Zone() *time.Location {
	if w.IsZero() {
		return time.Local
	}
	return w.zone
}

// MarshalText writes the window as String does; the zero Window is empty.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.text), nil }

// UnmarshalText reads what MarshalText wrote.
func (w *Window) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*w = Window{}
		return nil
	}
	*w, err = ParseWindow(string(text))
	return err
}

// Contains tells whether the window is open at t.
func (w Window) Contains(t time.Time) bool {
	if w.IsZero() {
		return true
	}
	t = t.In(w.zone)
	today := t.Weekday()
	yesterday := (today + 6) % 7
	minute := 60*t.Hour() + t.Minute()
	return slices.ContainsFunc(w.spans, func(s span) bool {
		if s.from < s.to {
			return s.days[today] && minute >= s.from && minute < s.to
		}
		return s.days[today] && minute >= s.from || s.days[yesterday] && minute < s.to
	})
}

// Next is when the window is open at or after t: the interval that t lies in, whole, or
// the next one. Spans that touch are one interval. A window that does not close gives a
// zero To, and a zero From for the zero Window.
func (w Window) Next(t time.Time) Interval {
	if w.IsZero() {
		return Interval{}
	}
	if !w.Contains(t) {
		t = w.change(t)
		return Interval{t, w.change(t)}
	}
	to := w.change(t)
	if to.IsZero() {
		return Interval{From: t}
	}
	// The interval began at the last change before t: no more than a week ago.
	from := t.Add(-horizon)
	for {
		next := w.change(from)
		if next.After(t) {
			return Interval{from, to}
		}
		from = next
	}
}

// Between gives the intervals of [from, to) in which the window is open.
func (w Window) Between(from, to time.Time) []Interval {
	var all []Interval
	for t := from; t.Before(to); {
		open := w.Next(t)
		if open.From.Before(from) {
			open.From = from
		}
		if open.To.IsZero() || open.To.After(to) {
			open.To = to
		}
		if !open.From.Before(open.To) {
			break
		}
		all = append(all, open)
		t = open.To
	}
	return all
}

// horizon is longer than any window stays open or closed: its spans return every week,
// and no change of clocks hides one twice in a row.
const horizon = 22 * 24 * time.Hour

// change is the first moment after t at which the window opens or closes; zero if it
// does neither. The clock of a zone runs evenly between two changes of its offset, so it
// is enough to look where it shows the beginning or the end of a span, and at those
// changes.
func (w Window) change(t time.Time) time.Time {
	open := w.Contains(t)
	for end := t.Add(horizon); t.Before(end); {
		local := t.In(w.zone)
		second := 3600*local.Hour() + 60*local.Minute() + local.Second()
		next := 86400 - second
		for _, s := range w.spans {
			for _, minute := range []int{s.from, s.to} {
				if d := 60*minute - second; d > 0 {
					next = min(next, d)
				}
			}
		}
		step := t.Truncate(time.Second).Add(time.Duration(next) * time.Second)
		if _, until := local.ZoneBounds(); !until.IsZero() && until.Before(step) {
			step = until
		}
		if t = step; w.Contains(t) != open {
			return t
		}
	}
	return time.Time{}
}
