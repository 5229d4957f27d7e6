package power

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func close6(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

// By hand: 7.2 MJ are 2 kWh. In the building, PUE 1.5, they are 3 kWh. At 100 g/kWh that is
// 300 g; at 0.25 EUR 0.75 EUR; two hours of a device at 1.80 EUR are 3.60 EUR; 2 kWh at 1.8 l
// are 3.6 l; 50 W idle for two hours are 360 kJ.
func TestUsageByHand(t *testing.T) {
	r := Rates{Region: Region{Code: "XXX", Name: "Here", Carbon: 100}, PUE: 1.5, WUE: 1.8, Tariff: Tariff{PerKWh: Money{0.25, "EUR"}}, Device: Money{1.8, "EUR"}}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	parts := []Part{{Component: "gpu 0", Joules: 5.2e6, Source: "NVML energy counter"}, {Component: "cpu", Joules: 2e6, Source: "model", Estimated: true}}
	u := r.Usage(parts, 50, noon, noon.Add(2*time.Hour))
	for _, f := range []struct {
		name      string
		got, want float64
	}{
		{"seconds", u.Seconds, 7200}, {"joules", u.Joules, 7.2e6}, {"kWh", u.KWh(), 2}, {"idle", u.IdleJoules, 360e3}, {"grams", u.Grams, 300}, {"litres", u.Litres, 3.6},
		{"cost of energy", u.EnergyCost.Amount, 0.75}, {"cost of the device", u.DeviceCost.Amount, 3.6}, {"cost", u.Cost.Amount, 4.35},
	} {
		if !close6(f.got, f.want) {
			t.Errorf("%s: %v, want %v", f.name, f.got, f.want)
		}
	}
	if u.Cost.Currency != "EUR" || !u.Estimated || len(u.Sources) != 5 {
		t.Errorf("%+v", u)
	}
	// Idle is never more than what was taken.
	if u := r.Usage(parts[:1], 1e6, noon, noon.Add(time.Hour)); u.IdleJoules != u.Joules || u.Estimated {
		t.Errorf("%+v", u)
	}
	// Without anything set it is the world's mean, said so, and costs nothing.
	u = (&Rates{}).Usage(parts[:1], 0, noon, noon.Add(time.Hour))
	if !close6(u.Grams, 5.2e6/3.6e6*473) || !u.Cost.IsZero() || !strings.Contains(strings.Join(u.Sources, "\n"), "no region was given") {
		t.Errorf("%+v", u)
	}
}

// Two hours at 0.10 and 0.40 EUR/kWh; 1 kWh spread over the last half of the first and the
// first half of the second: half of it at each price, 0.25 EUR. Of carbon alike.
func TestUsageByTheHour(t *testing.T) {
	price := series(t, "EUR", 0.10, 0.40)
	carbon := series(t, "", 20, 80)
	r := Rates{Tariff: Tariff{Series: price}, Carbon: carbon}
	parts := []Part{{Component: "cpu", Joules: JoulesPerKWh, Source: "RAPL"}}
	u := r.Usage(parts, 0, noon.Add(30*time.Minute), noon.Add(90*time.Minute))
	if !close6(u.Cost.Amount, 0.25) || !close6(u.Grams, 50) || u.Estimated {
		t.Errorf("%+v", u)
	}
	// Beyond the series its mean is taken, which is an estimate and said.
	u = r.Usage(parts, 0, noon.Add(90*time.Minute), noon.Add(3*time.Hour))
	if !close6(u.Cost.Amount, 0.25) || !u.Estimated || !strings.Contains(strings.Join(u.Sources, "\n"), "does not cover") {
		t.Errorf("%+v", u)
	}
}

type night struct{}

func (night) Contains(t time.Time) bool { return t.Hour() < 6 || t.Hour() >= 23 }

// From 22:00 to 24:00: one hour by day at 0.30, one by night at 0.20.
func TestBands(t *testing.T) {
	tariff := Tariff{PerKWh: Money{0.30, "EUR"}, Bands: []Band{{night{}, Money{0.20, "EUR"}}}}
	at := time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC)
	if m, err := tariff.Mean(at, at.Add(2*time.Hour)); !close6(m.Amount, 0.25) || m.Currency != "EUR" || err != nil {
		t.Errorf("%v, %v", m, err)
	}
	if m, _ := tariff.Mean(at.Add(59*time.Minute+30*time.Second), at.Add(61*time.Minute)); !close6(m.Amount, (0.3+0.2+0.2)/3) {
		t.Errorf("half a minute of day and one of night: %v", m)
	}
	// A year: seven hours of each day are night.
	if m, _ := tariff.Mean(at, at.AddDate(1, 0, 0)); !close6(m.Amount, (17*0.3+7*0.2)/24) {
		t.Errorf("a year: %v", m)
	}
	if m, _ := tariff.At(at); m.Amount != 0.30 {
		t.Errorf("at ten: %v", m)
	}
	tariff.Bands[0].PerKWh.Currency = "USD"
	if err := tariff.Check(); err == nil {
		t.Error("two currencies passed")
	}
}

func TestRatesCheck(t *testing.T) {
	for want, r := range map[string]Rates{
		"PUE":            {PUE: 0.9},
		"WUE":            {WUE: math.NaN()},
		"EUR":            {Tariff: Tariff{PerKWh: Money{0.2, "EUR"}}, Device: Money{2, "USD"}},
		"USD":            {Tariff: Tariff{Series: series(t, "EUR", 1)}, Device: Money{2, "USD"}},
		"wants prices":   {Tariff: Tariff{Series: series(t, "", 1)}},
		"wants grams":    {Carbon: series(t, "EUR", 1)},
		"cannot be nega": {Region: Region{Carbon: -1}},
	} {
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %q", r, err, want)
		}
	}
}

func TestUsageAdd(t *testing.T) {
	r := Rates{Region: World, Tariff: Tariff{PerKWh: Money{0.1, "EUR"}}, Device: Money{1, "EUR"}}
	a := r.Usage([]Part{{Component: "gpu 0", Joules: 1000, Source: "NVML energy counter"}, {Component: "cpu", Joules: 10, Source: "model", Estimated: true}}, 1, noon, noon.Add(time.Minute))
	b := r.Usage([]Part{{Component: "gpu 0", Joules: 500, Source: "NVML energy counter", Note: "gone"}, {Component: "cpu", Joules: 7, Source: "RAPL"}}, 1, noon, noon.Add(time.Minute))

	// Resuming: what a checkpoint kept is exactly what was.
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back Usage
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(a, back) {
		t.Fatalf("%+v came back as %+v (%v)", a, back, err)
	}
	sum, err := back.Add(b)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Joules != 1517 || sum.Seconds != 120 || sum.IdleJoules != 120 || !sum.Estimated || sum.Cost.Amount != a.Cost.Amount+b.Cost.Amount || sum.Grams != a.Grams+b.Grams {
		t.Errorf("%+v", sum)
	}
	want := []Part{{"gpu 0", 1500, "NVML energy counter", false, "gone"}, {"cpu", 10, "model", true, ""}, {"cpu", 7, "RAPL", false, ""}}
	if !reflect.DeepEqual(sum.Parts, want) {
		t.Errorf("parts %+v", sum.Parts)
	}
	if back.Parts[0].Joules != 1000 {
		t.Error("adding changed what was added to")
	}
	b.Cost.Currency = "USD"
	if _, err := a.Add(b); err == nil || !strings.Contains(err.Error(), "USD") {
		t.Errorf("two currencies: %v", err)
	}
}
