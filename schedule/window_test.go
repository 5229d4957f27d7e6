package schedule

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/sinter-dl/sinter/internal/testenv"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func window(t testing.TB, text string) Window {
	t.Helper()
	w, err := ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestNext has intervals that were worked out by hand, in UTC. Clocks in Paris go forward
// on 29 March 2026 at 01:00 UTC and back on 25 October 2026 at 01:00 UTC; in New York on
// 8 March at 07:00 UTC and on 1 November at 06:00 UTC; on Lord Howe Island, by half an
// hour, back on 4 April at 15:00 UTC (02:00 becomes 01:30) and forward on 3 October at
// 15:30 UTC (02:00 becomes 02:30).
func TestNext(t *testing.T) {
	for _, c := range []struct{ what, window, now, from, to string }{
		{"before", "23:00-06:00 Europe/Paris", "2026-01-10T12:00:00Z", "2026-01-10T22:00:00Z", "2026-01-11T05:00:00Z"},
		{"inside: the whole interval", "23:00-06:00 Europe/Paris", "2026-01-10T23:30:00Z", "2026-01-10T22:00:00Z", "2026-01-11T05:00:00Z"},
		{"at its beginning", "23:00-06:00 Europe/Paris", "2026-01-10T22:00:00Z", "2026-01-10T22:00:00Z", "2026-01-11T05:00:00Z"},
		{"at its end", "23:00-06:00 Europe/Paris", "2026-01-11T05:00:00Z", "2026-01-11T22:00:00Z", "2026-01-12T05:00:00Z"},
		{"the night that is an hour shorter", "23:00-06:00 Europe/Paris", "2026-03-28T20:00:00Z", "2026-03-28T22:00:00Z", "2026-03-29T04:00:00Z"},
		{"the night that is an hour longer", "23:00-06:00 Europe/Paris", "2026-10-24T20:00:00Z", "2026-10-24T21:00:00Z", "2026-10-25T05:00:00Z"},
		{"it would begin in the skipped hour", "02:30-06:00 Europe/Paris", "2026-03-28T20:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T04:00:00Z"},
		{"it would end in the skipped hour", "23:00-02:30 Europe/Paris", "2026-03-28T20:00:00Z", "2026-03-28T22:00:00Z", "2026-03-29T01:00:00Z"},
		{"it lies in the skipped hour: the next day", "02:10-02:50 Europe/Paris", "2026-03-28T20:00:00Z", "2026-03-30T00:10:00Z", "2026-03-30T00:50:00Z"},
		{"it is the repeated hour: both", "02:00-03:00 Europe/Paris", "2026-10-24T20:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"},
		{"it ends in the repeated hour: for the first time", "23:00-02:30 Europe/Paris", "2026-10-24T20:00:00Z", "2026-10-24T21:00:00Z", "2026-10-25T00:30:00Z"},
		{"it ends in the repeated hour: the second time", "23:00-02:30 Europe/Paris", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"},
		{"it begins in the repeated hour", "02:30-06:00 Europe/Paris", "2026-10-24T20:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"},
		{"and again", "02:30-06:00 Europe/Paris", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T05:00:00Z"},
		{"New York in spring", "22:00-05:00 America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T03:00:00Z", "2026-03-08T09:00:00Z"},
		{"New York in autumn", "22:00-05:00 America/New_York", "2026-11-01T00:00:00Z", "2026-11-01T02:00:00Z", "2026-11-01T10:00:00Z"},
		{"weekdays in New York: Friday's goes on on Saturday", "Mon-Fri 20:00-07:00 America/New_York", "2026-03-07T10:00:00Z", "2026-03-07T01:00:00Z", "2026-03-07T12:00:00Z"},
		{"weekdays in New York: then nothing until Monday", "Mon-Fri 20:00-07:00 America/New_York", "2026-03-07T12:00:00Z", "2026-03-10T00:00:00Z", "2026-03-10T11:00:00Z"},
		{"Lord Howe in autumn, half an hour more", "00:00-06:00 Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-04T13:00:00Z", "2026-04-04T19:30:00Z"},
		{"Lord Howe in autumn, half past one for the second time", "01:30-02:00 Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-04T14:30:00Z", "2026-04-04T15:30:00Z"},
		{"Lord Howe in spring, half an hour less", "00:00-06:00 Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T13:30:00Z", "2026-10-03T19:00:00Z"},
		{"Lord Howe in spring, skipped", "02:00-02:30 Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-04T15:00:00Z", "2026-10-04T15:30:00Z"},
		{"spans that touch are one", "Sat,Sun 00:00-24:00; Fri 20:00-24:00 UTC", "2026-01-10T05:00:00Z", "2026-01-09T20:00:00Z", "2026-01-12T00:00:00Z"},
		{"the day that Samoa left out", "Fri 00:00-24:00 Pacific/Apia", "2011-12-29T00:00:00Z", "2012-01-05T10:00:00Z", "2012-01-06T10:00:00Z"},
	} {
		w := window(t, c.window)
		got := w.Next(at(t, c.now))
		if !got.From.Equal(at(t, c.from)) || !got.To.Equal(at(t, c.to)) {
			t.Errorf("%s: %s after %s is %s to %s, want %s to %s", c.what, c.window, c.now,
				got.From.UTC().Format(time.RFC3339), got.To.UTC().Format(time.RFC3339), c.from, c.to)
		}
	}
}

// TestMinutes compares windows with what clocks show, minute by minute, around changes
// of clocks.
func TestMinutes(t *testing.T) {
	for _, text := range []string{
		"23:00-06:00", "Mon-Fri 20:00-07:00", "02:15-02:45", "Sat 23:30-00:30; Sun 01:45-02:15", "00:00-00:01", "Fri-Sun 12:00-11:59",
	} {
		for _, c := range []struct{ zone, from string }{
			{"Europe/Paris", "2026-03-27T00:00:00Z"}, {"Europe/Paris", "2026-10-23T00:00:00Z"},
			{"America/New_York", "2026-03-06T00:00:00Z"}, {"America/New_York", "2026-10-30T00:00:00Z"},
			{"Australia/Lord_Howe", "2026-04-03T00:00:00Z"}, {"Australia/Lord_Howe", "2026-10-02T00:00:00Z"},
			{"Africa/Cairo", "2026-04-22T00:00:00Z"},     // at midnight
			{"America/St_Johns", "2010-11-05T00:00:00Z"}, // at a minute past midnight
		} {
			w := window(t, text+" "+c.zone)
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			shown := func(now time.Time) bool {
				clock := now.In(zone)
				day, yesterday := clock.Format("Mon"), weekdays[(clock.Weekday()+6)%7]
				hm := clock.Format("15:04")
				for group := range strings.SplitSeq(text, "; ") {
					days, hours, ok := strings.Cut(group, " ")
					if !ok {
						days, hours = "Mon-Sun", group
					}
					on := func(d string) bool {
						return strings.Contains(map[string]string{"Mon-Fri": "montuewedthufri", "Mon-Sun": "montuewedthufrisatsun", "Fri-Sun": "frisatsun", "Sat": "sat", "Sun": "sun"}[days], strings.ToLower(d[:3]))
					}
					from, to, _ := strings.Cut(hours, "-")
					if from < to && on(day) && from <= hm && hm < to || from > to && (on(day) && hm >= from || on(yesterday) && hm < to) {
						return true
					}
				}
				return false
			}
			begin := at(t, c.from)
			var open []Interval // from the minutes
			for now := begin; now.Before(begin.Add(5 * 24 * time.Hour)); now = now.Add(time.Minute) {
				want := shown(now)
				if got := w.Contains(now); got != want {
					t.Fatalf("%v at %v: open %v, want %v", w, now.In(zone), got, want)
				}
				if want && (open == nil || !open[len(open)-1].To.Equal(now)) {
					open = append(open, Interval{now, now})
				}
				if want {
					open[len(open)-1].To = now.Add(time.Minute)
				}
			}
			got := w.Between(begin, begin.Add(5*24*time.Hour))
			if !slices.EqualFunc(got, open, func(a, b Interval) bool { return a.From.Equal(b.From) && a.To.Equal(b.To) }) {
				t.Errorf("%v from %s:\n got %v\nwant %v", w, c.from, got, open)
			}
		}
	}
}

func TestAlways(t *testing.T) {
	now := at(t, "2026-03-01T12:00:00Z")
	var zero Window
	if !zero.Contains(now) || zero.String() != "always" || len(zero.Between(now, now.Add(time.Hour))) != 1 {
		t.Error("the zero window is not always open")
	}
	if next := window(t, "daily 00:00-24:00 Europe/Paris").Next(now); !next.Contains(now) || !next.To.IsZero() {
		t.Errorf("a window of whole days closes: %v", next)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"23:00-06:00 Europe/Paris":                                     "23:00-06:00 Europe/Paris",
		"  mon-fri  20:00-7:00 , SAT,sunday 00:00-24:00 europe/berlin": "Mon-Fri 20:00-07:00; Sat,Sun 00:00-24:00 Europe/Berlin",
		"weekdays 12:00-14:00 20:00–06:00":                             "Mon-Fri 12:00-14:00; Mon-Fri 20:00-06:00",
		"Fri-Mon 00:00-24:00 utc":                                      "Mon,Fri-Sun 00:00-24:00 UTC",
		"Mon 10:00-11:00; 12:00-13:00 UTC":                             "Mon 10:00-11:00; 12:00-13:00 UTC",
	} {
		w, err := ParseWindow(text)
		if err != nil || w.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, w, err, want)
			continue
		}
		again, err := ParseWindow(w.String())
		if err != nil || again.String() != want {
			t.Errorf("%q read again: %q, %v", want, again, err)
		}
		line, err := json.Marshal(w)
		var back Window
		if err != nil || json.Unmarshal(line, &back) != nil || back.String() != want {
			t.Errorf("%q through JSON: %s, %q, %v", want, line, back, err)
		}
	}
	for text, want := range map[string]string{
		"":                               "an empty window",
		"Europe/Paris":                   "there is no time in it",
		"Mon-Fri":                        "there is no time in it",
		"10:00-11:00 Mon":                "there is no time in it",
		"10:00-10:00 UTC":                "never opens",
		"00:00-00:00":                    "a whole day is 00:00-24:00",
		"24:00-06:00":                    "begins at 24:00",
		"25:00-06:00":                    "there is no time 25:00",
		"23:60-06:00":                    "there is no time 23:60",
		"23:00-24:01":                    "there is no time 24:01",
		"23-06":                          "expected HH:MM",
		"2300":                           "is no span of time",
		"23:00-06:00 Europe/Pari":        "did you mean Europe/Paris",
		"23:00-06:00 Paris":              "did you mean Europe/Paris",
		"23:00-06:00 Nowhere/Atlantis":   "expected a name of the IANA database",
		"Mo-Fri 23:00-06:00":             `found "Mo-Fri"`,
		"23:00-06:00 Europe/Paris extra": `found "Europe/Paris"`,
	} {
		if w, err := ParseWindow(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, w, err, want)
		}
	}
	if _, err := ParseWindow("23:00-06:00 Tokio"); !errors.As(err, new(*UnknownZoneError)) {
		t.Errorf("an unknown zone is %T", err)
	}
}

// The list is that of the database which Go brings along, and every name loads.
func TestZones(t *testing.T) {
	names := Zones()
	if !slices.IsSorted(names) {
		t.Error("not sorted")
	}
	for _, name := range names {
		if zone, err := Zone(strings.ToUpper(name)); err != nil || zone.String() != name {
			t.Errorf("%s: %v, %v", name, zone, err)
		}
	}
	archive, err := zip.OpenReader(filepath.Join(runtime.GOROOT(), "lib", "time", "zoneinfo.zip"))
	testenv.Require(t, "goroot", err == nil, "no zoneinfo.zip in GOROOT")
	defer archive.Close()
	for _, f := range archive.File {
		if !strings.HasSuffix(f.Name, "/") && f.Name != "Factory" && !slices.Contains(names, f.Name) {
			t.Errorf("%s is missing in zones.txt", f.Name)
		}
	}
}

func FuzzParseWindow(f *testing.F) {
	for _, s := range []string{"23:00-06:00 Europe/Paris", "Mon-Fri 20:00-07:00; Sat,Sun 00:00-24:00 UTC", "weekend 1:00-2:00", ";", "-", ":-:"} {
		f.Add(s)
	}
	now := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseWindow(text)
		if err != nil {
			return
		}
		next := w.Next(now)
		if !w.Contains(next.From) || !next.To.IsZero() && (w.Contains(next.To) || !next.From.Before(next.To)) {
			t.Errorf("%q: next is %v", text, next)
		}
		if again, err := ParseWindow(w.String()); err != nil || again.String() != w.String() {
			t.Errorf("%q is written %q and read %q, %v", text, w, again, err)
		}
	})
}
