package power

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// series is values by the hour from noon on.
func series(t *testing.T, currency string, values ...float64) *Series {
	t.Helper()
	var hours []Hour
	for i, v := range values {
		hours = append(hours, Hour{noon.Add(time.Duration(i) * time.Hour), v})
	}
	s, err := NewSeries(Unit{currency}, "hours.csv", hours)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSeries(t *testing.T) {
	s := series(t, "EUR", 1, 2, 6)
	if s.Unit().String() != "EUR/kWh" || s.Step() != time.Hour || !s.Start().Equal(noon) || !s.End().Equal(noon.Add(3*time.Hour)) || s.Overall() != 3 {
		t.Errorf("%+v", s)
	}
	for at, want := range map[time.Duration]float64{0: 1, time.Hour - 1: 1, time.Hour: 2, 3*time.Hour - 1: 6} {
		if v, err := s.At(noon.Add(at)); v != want || err != nil {
			t.Errorf("after %v: %v, %v; want %v", at, v, err, want)
		}
	}
	// 15 minutes of 1, an hour of 2, 45 minutes of 6.
	if v, err := s.Integrate(noon.Add(45*time.Minute), noon.Add(165*time.Minute)); !close6(v, 0.25+2+4.5) || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := s.Mean(noon.Add(45*time.Minute), noon.Add(165*time.Minute)); !close6(v, 6.75/2) || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := s.Mean(noon, s.End()); !close6(v, 3) || err != nil {
		t.Errorf("all: %v, %v", v, err)
	}
	var out *RangeError
	for _, at := range []time.Time{noon.Add(-1), s.End()} {
		if _, err := s.At(at); !errors.As(err, &out) || !strings.Contains(err.Error(), "hours.csv") {
			t.Errorf("at %v: %v", at, err)
		}
	}
	if _, err := s.Mean(noon, s.End().Add(1)); !errors.As(err, &out) {
		t.Errorf("beyond: %v", err)
	}
	n := 0
	for at, v := range s.All() {
		if want, _ := s.At(at); v != want {
			t.Errorf("%v: %v, want %v", at, v, want)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d values", n)
	}
}

func TestNotASeries(t *testing.T) {
	at := func(minutes ...int) []Hour {
		var hours []Hour
		for _, m := range minutes {
			hours = append(hours, Hour{noon.Add(time.Duration(m) * time.Minute), 1})
		}
		return hours
	}
	for _, c := range []struct {
		hours []Hour
		index int
		want  string
	}{
		{nil, 0, "no values"},
		{at(0, 60, 60), 2, "twice"},
		{at(0, 60, 180), 2, "gap of 1h"},
		{at(0, 120, 180), 1, "gap of 1h before 2026-11-24T14:00Z"},
		{at(0, 60, 30), 2, "comes after"},
		{at(60, 0, 120), 1, "comes after"},
		{at(0, 1440, 2880), 1, "apart"},
		{at(0, 15, 30, 60), 3, "gap of 15m"},
		{at(0, 60, 90), 1, "gap"}, // half hours, of which one is missing
		{at(0, 0), 1, "twice"},
	} {
		_, err := NewSeries(Unit{"EUR"}, "x", c.hours)
		var order *OrderError
		if !errors.As(err, &order) || order.Index != c.index || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v; want entry %d and %q", c.hours, err, c.index, c.want)
		}
	}
	if _, err := NewSeries(Grams, "x", []Hour{{noon, -1}}); err == nil {
		t.Error("negative carbon")
	}
	if _, err := NewSeries(Unit{"EUR"}, "x", []Hour{{noon, -0.02}}); err != nil {
		t.Errorf("prices below zero happen: %v", err)
	}
	if s, err := NewSeries(Unit{"EUR"}, "x", at(0, 15, 30, 45)); err != nil || s.Step() != 15*time.Minute {
		t.Errorf("quarters: %v", err)
	}
}
