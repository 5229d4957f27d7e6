package rig

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	m := &Meter{Model: "m", Window: time.Millisecond, Windows: 3}
	m.Start()
	for !m.Step(1) {
		time.Sleep(200 * time.Microsecond)
	}
	if len(m.rates) != 3 {
		t.Fatalf("%d windows, want 3", len(m.rates))
	}
	for _, r := range m.rates {
		if r <= 0 || r > 5000 {
			t.Errorf("%g steps/s with steps of at least 200 µs", r)
		}
	}
}

func TestMedian(t *testing.T) {
	if m := Median([]float64{9, 1, 5}); m != 5 {
		t.Error(m)
	}
	if m := Median([]float64{4, 1, 2, 9}); m != 3 {
		t.Error(m)
	}
}
