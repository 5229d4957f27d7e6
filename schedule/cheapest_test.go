package schedule

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/power"
)

func series(t testing.TB, unit power.Unit, start string, step time.Duration, values ...float64) *power.Series {
	t.Helper()
	var hours []power.Hour
	for i, v := range values {
		hours = append(hours, power.Hour{Start: at(t, start).Add(time.Duration(i) * step), Value: v})
	}
	s, err := power.NewSeries(unit, "prices.csv", hours)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var euros = power.Unit{Currency: "EUR"}

func TestCheapest(t *testing.T) {
	//                                              0    1    2    3    4    5    6    7
	s := series(t, euros, "2026-01-10T00:00:00Z", time.Hour, 0.30, 0.10, 0.20, 0.05, 0.30, 0.10, 0.10, 0.40)
	for _, c := range []struct {
		what   string
		length string
		from   string
		to     string // "" without a deadline
		window string
		pieces bool
		want   string
		mean   float64
	}{
		{"two hours in one piece", "2h", "00:00", "", "", false, "05:00-07:00", 0.10},
		{"two hours in pieces", "2h", "00:00", "", "", true, "01:00-02:00 03:00-04:00", 0.075},
		{"half an hour more, beside what was taken", "2h30m", "00:00", "", "", true, "01:00-02:00 03:00-04:00 05:00-05:30", 0.08},
		{"a part before a piece", "1h30m", "02:00", "05:00", "", true, "02:30-04:00", 0.1},
		{"before a deadline", "2h", "00:00", "04:00", "", false, "02:00-04:00", 0.125},
		{"from the middle of an hour", "1h30m", "02:30", "04:10", "", false, "02:30-04:00", 0.1},
		{"while a window is open", "1h", "00:00", "", "00:00-01:30 UTC", true, "00:30-01:30", 0.2},
		{"in pieces of a window", "1h30m", "00:00", "", "00:30-01:15; 02:00-03:30 UTC", true, "01:00-01:15 02:15-03:30", 0.4 / 3},
		{"all of it", "8h", "00:00", "", "", false, "00:00-08:00", 1.55 / 8},
		{"the earliest of the same", "1h", "04:00", "", "", false, "05:00-06:00", 0.10},
	} {
		length, _ := time.ParseDuration(c.length)
		w := Want{Length: length, Pieces: c.pieces, Between: Interval{From: at(t, "2026-01-10T"+c.from+":00Z")}}
		if c.to != "" {
			w.Between.To = at(t, "2026-01-10T"+c.to+":00Z")
		}
		if c.window != "" {
			w.Window = window(t, c.window)
		}
		got, err := Cheapest(s, w)
		var text []string
		for _, i := range got.Intervals {
			text = append(text, i.From.UTC().Format("15:04")+"-"+i.To.UTC().Format("15:04"))
		}
		if err != nil || strings.Join(text, " ") != c.want || math.Abs(got.Mean-c.mean) > 1e-12 {
			t.Errorf("%s: %v, mean %v, %v; want %s, %v", c.what, text, got.Mean, err, c.want, c.mean)
		}
	}
}

func TestCheapestErrors(t *testing.T) {
	prices := series(t, euros, "2026-01-10T00:00:00Z", time.Hour, 1, 2, 3)
	carbon := series(t, power.Grams, "2026-01-10T00:00:00Z", time.Hour, 1, 2, 3)
	now := at(t, "2026-01-10T00:00:00Z")
	if _, err := Cheapest(carbon, Want{Length: time.Hour}); !errors.As(err, new(*UnitError)) {
		t.Errorf("grams for prices: %v", err)
	}
	if _, err := Greenest(prices, Want{Length: time.Hour}); !errors.As(err, new(*UnitError)) {
		t.Errorf("prices for grams: %v", err)
	}
	if got, err := Greenest(carbon, Want{Length: time.Hour}); err != nil || got.Mean != 1 {
		t.Errorf("greenest: %v, %v", got, err)
	}
	if _, err := Cheapest(prices, Want{}); err == nil {
		t.Error("no length is no error")
	}
	for want, w := range map[string]Want{
		"4h0m0s are wanted in one piece, and between 2026-01-10 00:00 UTC and 2026-01-10 03:00 UTC there are 3h0m0s of prices.csv": {Length: 4 * time.Hour, Window: window(t, "daily 00:00-24:00 UTC")},
		"a newer file is wanted":                                   {Length: time.Hour, Between: Interval{From: now.AddDate(0, 0, 1)}},
		"there are 30m0s while the window 01:00-01:30 UTC is open": {Length: time.Hour, Pieces: true, Window: window(t, "01:00-01:30 UTC")},
	} {
		var short *ShortError
		if _, err := Cheapest(prices, w); !errors.As(err, &short) {
			t.Errorf("want %q, got %v", want, err)
		} else if text := strings.ReplaceAll(err.Error(), " while the window 00:00-24:00 UTC is open", ""); !strings.Contains(text, want) {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

// TestCheapestSearch compares choices with a search over all of them, minute by minute.
func TestCheapestSearch(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		values := make([]float64, 6+g.IntN(5))
		for i := range values {
			values[i] = float64(g.IntN(9)) // so that there are ties
		}
		step := []time.Duration{15 * time.Minute, 30 * time.Minute}[g.IntN(2)]
		s := series(t, euros, "2026-10-25T00:00:00Z", step, values...)
		w := Want{Length: time.Duration(1+g.IntN(90)) * time.Minute, Pieces: g.IntN(2) == 0}
		w.Between.From = s.Start().Add(time.Duration(g.IntN(40)-10) * time.Minute)
		w.Between.To = s.End().Add(-time.Duration(g.IntN(40)-10) * time.Minute)
		if g.IntN(2) == 0 {
			w.Window = window(t, "02:10-02:40; 02:50-03:20 Europe/Paris") // an hour of which is shown twice
		}
		// The price of each minute in which it may run.
		var minutes []float64
		for m := s.Start(); m.Before(s.End()); m = m.Add(time.Minute) {
			v, _ := s.At(m)
			if !w.Between.Contains(m) || !w.Window.Contains(m) {
				v = math.Inf(1)
			}
			minutes = append(minutes, v)
		}
		n := int(w.Length / time.Minute)
		best := math.Inf(1)
		if w.Pieces {
			sorted := append([]float64(nil), minutes...)
			for i := range sorted { // selection of the n least
				for j := i + 1; j < len(sorted); j++ {
					if sorted[j] < sorted[i] {
						sorted[i], sorted[j] = sorted[j], sorted[i]
					}
				}
			}
			if n <= len(sorted) {
				best = 0
				for _, v := range sorted[:n] {
					best += v
				}
			}
		} else {
			for i := 0; i+n <= len(minutes); i++ {
				sum := 0.0
				for _, v := range minutes[i : i+n] {
					sum += v
				}
				best = min(best, sum)
			}
		}
		got, err := Cheapest(s, w)
		if math.IsInf(best, 1) {
			if !errors.As(err, new(*ShortError)) {
				t.Errorf("%+v: %v, %v; want a ShortError", w, got, err)
			}
			continue
		}
		if err != nil || math.Abs(got.Mean*float64(n)-best) > 1e-9 {
			t.Errorf("%+v: mean %v over %v, %v; want %v", w, got.Mean, got.Intervals, err, best/float64(n))
			continue
		}
		var length time.Duration
		for i, c := range got.Intervals {
			length += c.Length()
			if i > 0 && !got.Intervals[i-1].To.Before(c.From) {
				t.Errorf("%v: not apart or not in order", got.Intervals)
			}
			for m := c.From; m.Before(c.To); m = m.Add(time.Minute) {
				if !w.Window.Contains(m) || !w.Between.Contains(m) {
					t.Fatalf("%v is chosen, which is outside", m)
				}
			}
		}
		if length != w.Length {
			t.Errorf("%v is %v, want %v", got.Intervals, length, w.Length)
		}
	}
}
