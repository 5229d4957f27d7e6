package powerfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/power"
)

// file writes a file for a test.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func values(s *power.Series) (list []float64) {
	for _, v := range s.All() {
		list = append(list, v)
	}
	return list
}

func TestLoadSeries(t *testing.T) {
	want := time.Date(2026, 11, 23, 23, 0, 0, 0, time.UTC)
	for name, text := range map[string]string{
		"offset.csv":     "time,EUR/kWh\n2026-11-24T00:00+01:00,0.21\n2026-11-24T01:00+01:00,-0.02\n2026-11-24T02:00+01:00,0.3\n",
		"zone.csv":       "\ufeff# a comment\ntime (Europe/Paris),EUR/kWh\n2026-11-24 00:00,0.21\n\n2026-11-24 01:00,-0.02\n2026-11-24 02:00:00,0.3\n",
		"mwh.csv":        "Datetime (UTC);Datetime (Local);Price (EUR/MWh)\n2026-11-23T23:00;x;210\n2026-11-24T00:00;x;-20\n2026-11-24 01:00Z;x;300\n",
		"currency.csv":   "time,price [€/kWh]\n2026-11-23T23Z,0.21 EUR\n2026-11-24T00Z,-0.02\n2026-11-24T01Z,€0.3\n",
		"cents.csv":      "time\tEURct/kWh\n2026-11-23T23:00:00Z\t21\n2026-11-24T00:00:00Z\t-2\n2026-11-24T01:00:00Z\t30\n",
		"map.yaml":       "unit: EUR/kWh\nzone: europe/paris\nvalues:\n  2026-11-24T00:00: 0.21\n  2026-11-24T01:00: -0.02\n  \"2026-11-24T02:00\": 0.3\n",
		"list.yml":       "unit: EUR/MWh\nstart: 2026-11-24T00:00+01:00\nvalues: [210, -20, 300]\n",
		"timestamp.yaml": "unit: EUR/kWh\nvalues:\n  2026-11-23T23:00:00Z: 0.21\n  2026-11-24T00:00:00Z: -0.02\n  2026-11-24T01:00:00Z: 0.3\n",
	} {
		s, err := LoadSeries(file(t, name, text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !s.Start().Equal(want) || s.Step() != time.Hour || s.Unit().Currency != "EUR" || s.Source() != name {
			t.Errorf("%s: from %v by %v in %v, of %s", name, s.Start(), s.Step(), s.Unit(), s.Source())
		}
		if got := values(s); len(got) != 3 || abs(got[0]-0.21)+abs(got[1]+0.02)+abs(got[2]-0.3) > 1e-12 {
			t.Errorf("%s: %v", name, got)
		}
	}
	s, err := LoadSeries(file(t, "q.yaml", "unit: kg/MWh\nstart: 2026-11-24T00:00Z\nstep: 15m\nvalues: [20, 30]\n"))
	if err != nil || s.Step() != 15*time.Minute || s.Unit() != power.Grams || !slices.Equal(values(s), []float64{20, 30}) {
		t.Errorf("quarters of carbon: %v, %v", s, err)
	}
}

func abs(x float64) float64 { return max(x, -x) }

// What is wrong is said with file and line.
func TestBadSeries(t *testing.T) {
	for _, c := range []struct {
		name, text string
		line       string
		want       []string
	}{
		{"gap.csv", "time,EUR/kWh\n2026-11-24T00:00Z,1\n2026-11-24T01:00Z,1\n2026-11-24T03:00Z,1\n", ":4", []string{"gap of 1h", "2026-11-24T02:00Z", "add"}},
		{"order.csv", "time,EUR/kWh\n2026-11-24T01:00Z,1\n2026-11-24T00:00Z,1\n", ":3", []string{"sort"}},
		{"twice.csv", "time,EUR/kWh\n2026-11-24T01:00Z,1\n2026-11-24T02:00+01:00,1\n", ":3", []string{"twice"}},
		{"overlap.csv", "time,EUR/kWh\n2026-11-24T00:00Z,1\n2026-11-24T01:00Z,1\n2026-11-24T01:30Z,1\n", "", []string{"gap"}},
		{"currency.csv", "time,EUR/kWh\n2026-11-24T00:00Z,1\n2026-11-24T01:00Z,1 DKK\n", ":3", []string{"DKK", "EUR", "never converted"}},
		{"unit.csv", "time,price\n2026-11-24T00:00Z,1\n", ":1", []string{"unit", "EUR/kWh", "g/kWh"}},
		{"units.csv", "time,EUR/kWh,g/kWh\n2026-11-24T00:00Z,1,1\n", ":1", []string{"leave one"}},
		{"nocurrency.csv", "time,EUX/kWh\n2026-11-24T00:00Z,1\n", ":1", []string{"EUX", "EUR"}},
		{"cent.csv", "time,ct/kWh\n2026-11-24T00:00Z,1\n", ":1", []string{"currency"}},
		{"nozone.csv", "time,EUR/kWh\n2026-11-24T00:00,1\n", ":2", []string{"no zone", "time (Europe/Paris)"}},
		{"zone.csv", "time (Europe/Pariss),EUR/kWh\n2026-11-24T00:00,1\n", ":1", []string{"Europe/Paris"}},
		{"local.csv", "time (local),EUR/kWh\n2026-11-24T00:00,1\n", ":1", []string{"another machine"}},
		{"notime.csv", "hour,EUR/kWh\n0,1\n", ":1", []string{"times"}},
		{"badtime.csv", "time,EUR/kWh\n24.11.2026 00:00,1\n", ":2", []string{"ISO 8601"}},
		{"value.csv", "time,EUR/kWh\n2026-11-24T00:00Z,\n", ":2", []string{"missing"}},
		{"comma.csv", "time;EUR/kWh\n2026-11-24T00:00Z;0,21\n", ":2", []string{"point"}},
		{"nan.csv", "time;EUR/kWh\n2026-11-24T00:00Z;NaN\n", ":2", []string{"no number"}},
		{"columns.csv", "time,EUR/kWh\n2026-11-24T00:00Z\n", ":2", []string{"1 columns"}},
		{"quote.csv", "time,EUR/kWh\n\"2026-11-24T00:00Z,1\n", ":", []string{"no CSV"}},
		{"empty.csv", "", "", []string{"empty"}},
		{"header.csv", "time,EUR/kWh\n", ":1", []string{"no values"}},
		{"negative.csv", "time,g/kWh\n2026-11-24T00:00Z,-5\n", ":2", []string{"negative"}},
		{"day.csv", "time,EUR/kWh\n2026-11-24T00:00Z,1\n2026-11-25T00:00Z,1\n", ":3", []string{"apart"}},
		// Clocks go back in Paris on 25 October 2026 and forward on 28 March 2027.
		{"back.csv", "time (Europe/Paris),EUR/kWh\n2026-10-25T01:00,1\n2026-10-25T02:00,1\n", ":3", []string{"twice", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"}},
		{"forward.csv", "time (Europe/Paris),EUR/kWh\n2027-03-28T01:00,1\n2027-03-28T02:00,1\n", ":3", []string{"does not exist"}},
		{"back.yaml", "unit: EUR/kWh\nzone: Europe/Paris\nvalues:\n  2026-10-25T01:00: 1\n  2026-10-25T02:00: 1\n", ":5", []string{"twice"}},
		{"gap.yaml", "unit: EUR/kWh\nvalues:\n  2026-10-25T01:00Z: 1\n  2026-10-25T03:00Z: 1\n  2026-10-25T04:00Z: 1\n", ":4", []string{"gap"}},
		{"currency.yaml", "unit: EUR/kWh\nstart: 2026-10-25T01:00Z\nvalues:\n - 1\n - 2 USD\n", ":5", []string{"USD"}},
		{"key.yaml", "unit: EUR/kWh\nzoen: UTC\n", ":2", []string{"zoen", "zone"}},
		{"unit.yaml", "values: [1]\nstart: 2026-10-25T01:00Z\n", "", []string{"unit: EUR/kWh"}},
		{"start.yaml", "unit: EUR/kWh\nvalues: [1]\n", ":2", []string{"start"}},
		{"step.yaml", "unit: EUR/kWh\nstart: 2026-10-25T01:00Z\nstep: 7m\nvalues: [1]\n", ":3", []string{"15m"}},
		{"values.yaml", "unit: EUR/kWh\n", "", []string{"values:"}},
		{"list.yaml", "- 1\n", ":1", []string{"mapping"}},
		{"broken.yaml", "unit: [\n", "", []string{"no YAML"}},
		{"empty.yaml", "", "", []string{"empty"}},
		{"nest.yaml", "unit: EUR/kWh\nstart: 2026-10-25T01:00Z\nvalues: [[1]]\n", ":3", nil},
	} {
		_, err := LoadSeries(file(t, c.name, c.text))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.name+c.line) {
			t.Errorf("%s: %v; want it at %s%s", c.name, err, c.name, c.line)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want it with %q", c.name, err, want)
			}
		}
	}
	_, err := LoadSeries(filepath.Join(t.TempDir(), "none.csv"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none.csv") {
		t.Errorf("no file: %v", err)
	}
}

// A whole day of 25 hours, with offsets, is a series.
func TestLongDay(t *testing.T) {
	var b strings.Builder
	b.WriteString("time,EUR/kWh\n")
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 10, 25, 0, 0, 0, 0, paris)
	for ; at.Day() == 25; at = at.Add(time.Hour) {
		b.WriteString(at.Format(time.RFC3339) + ",1\n")
	}
	s, err := LoadSeries(file(t, "day.csv", b.String()))
	if err != nil || s.End().Sub(s.Start()) != 25*time.Hour {
		t.Errorf("%v, %v", s, err)
	}
}

func TestParseTariff(t *testing.T) {
	for text, want := range map[string]power.Money{"0.25EUR": {Amount: 0.25, Currency: "EUR"}, "0.25 EUR/kWh": {Amount: 0.25, Currency: "EUR"}, "250 EUR/MWh": {Amount: 0.25, Currency: "EUR"}, "€0.3/kwh": {Amount: 0.3, Currency: "EUR"}} {
		tariff, err := ParseTariff(text)
		if err != nil || tariff.PerKWh != want || tariff.Series != nil {
			t.Errorf("%q: %+v, %v", text, tariff, err)
		}
	}
	path := file(t, "night.yaml", "price: 0.30 EUR\nwindows:\n  - {window: \"23:00-06:00 Europe/Paris\", price: 200 EUR/MWh}\n")
	tariff, err := ParseTariff(path)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]float64{"2026-11-24T12:00:00Z": 0.3, "2026-11-24T22:30:00Z": 0.2, "2026-11-24T05:00:00Z": 0.3, "2026-11-24T04:59:00Z": 0.2} {
		when, _ := time.Parse(time.RFC3339, at)
		if m, err := tariff.At(when); m.Amount != want || m.Currency != "EUR" || err != nil {
			t.Errorf("at %s: %v, %v", at, m, err)
		}
	}
	if err := tariff.Check(); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"cheap": "neither a price", "0,25EUR": "point", file(t, "carbon.csv", "time,g/kWh\n2026-11-24T00:00Z,1\n"): "wants prices",
		file(t, "w.yaml", "price: 1 EUR\nwindows:\n  - {window: \"23:00-06:00 Europe/Pariss\", price: 1 EUR}\n"): "w.yaml:3",
		file(t, "c.yaml", "price: 1 EUR\nwindows:\n  - {window: \"23:00-06:00 Europe/Paris\", price: 1 USD}\n"):  "c.yaml:3",
		file(t, "p.yaml", "price: 1\n"): "p.yaml:1",
	} {
		if _, err := ParseTariff(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestParseRegion(t *testing.T) {
	for text, want := range map[string]float64{"35": 35, "35 g/kWh": 35, file(t, "mine.yaml", "region: Our roof\ncarbon: 28 kg/MWh\nyear: 2025\nsource: our supplier\n"): 28,
		file(t, "hours.csv", "time,g/kWh\n2026-11-24T00:00Z,10\n2026-11-24T01:00Z,30\n"): 20} {
		r, s, err := ParseRegion(text)
		if err != nil || r.Carbon != want || (s != nil) != strings.HasSuffix(text, ".csv") {
			t.Errorf("%q: %+v, %v, %v", text, r, s, err)
		}
	}
	if r, _, err := ParseRegion("France"); r.Code != "FRA" || err != nil {
		t.Errorf("%v, %v", r, err)
	}
	var unknown *power.UnknownError
	if _, _, err := ParseRegion("Frnace"); !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]string{
		"-5": "between 0", file(t, "price.csv", "time,EUR/kWh\n2026-11-24T00:00Z,1\n"): "wants grams",
		file(t, "p.yaml", "carbon: 3 EUR/kWh\n"): "p.yaml:1", file(t, "q.yaml", "region: x\ncarbon: much\n"): "q.yaml:2", file(t, "r.yaml", "region: x\ncarbon: 1e9\n"): "r.yaml:2",
	} {
		if _, _, err := ParseRegion(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// The example that users start from.
func TestLoadPrices(t *testing.T) {
	p, err := LoadPrices("testdata/prices.yaml")
	if err != nil || len(p.Problems) > 0 || p.Currency() != "USD" {
		t.Fatalf("%v, %v", p, err)
	}
	offers := p.Of("a100-80gb")
	if len(offers) != 2 || !offers[0].Spot || offers[0].Rate() != (power.Money{Amount: 0.9, Currency: "USD"}) || offers[0].Date.Year() != 2026 {
		t.Errorf("%+v", offers)
	}
	if o := p.Of("h100-sxm"); len(o) != 1 || o[0].Rate() != (power.Money{Amount: 3, Currency: "USD"}) {
		t.Errorf("an eighth of 24 USD: %+v", o)
	}
	if o := p.Of("nothing"); o != nil {
		t.Errorf("%+v", o)
	}
	p, err = LoadPrices(file(t, "p.yaml", "prices:\n  - {device: h100-sxmm, hourly: 1 EUR}\n  - {device: cpu, hourly: 1 EUR}\n"))
	if err != nil || len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "h100-sxm") || !strings.Contains(p.Problems[0], "p.yaml:2") {
		t.Errorf("%+v, %v", p, err)
	}
	for text, want := range map[string]string{
		"prices:\n  - {device: t4}\n":                                               "p.yaml:2: a price wants the key \"hourly\"",
		"prices:\n  - {hourly: 1 EUR}\n":                                            "p.yaml:2: a price wants the key \"device\"",
		"prices:\n  - {device: t4, hourly: 1}\n":                                    "p.yaml:2: hourly",
		"prices:\n  - {device: t4, hourly: -1 EUR}\n":                               "less than nothing",
		"prices:\n  - {device: t4, hourly: 1 EUR, count: 0}\n":                      "count: 0",
		"prices:\n  - {device: t4, hourly: 1 EUR, count: many}\n":                   "no number",
		"prices:\n  - {device: t4, hourly: 1 EUR, spot: maybe}\n":                   "true or false",
		"prices:\n  - {device: t4, hourly: 1 EUR, date: yesterday}\n":               "2026-01-15",
		"prices:\n  - {device: t4, hourly: 1 EUR, price: 1}\n":                      "unknown key",
		"prices:\n  - {device: t4, hourly: 1 EUR}\n  - {device: t4, hourly: 1 $}\n": "p.yaml:3: hourly: 1.00 USD",
		"prices: []\n": "p.yaml:1", "price: 1\n": "unknown key", "prices:\n  - 3\n": "p.yaml:2",
	} {
		if _, err := LoadPrices(file(t, "p.yaml", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// The other examples that docs/energy.md names.
func TestExamples(t *testing.T) {
	s, err := LoadSeries("testdata/dayahead.csv")
	if err != nil || len(values(s)) != 12 || s.Unit().Currency != "EUR" {
		t.Errorf("%v, %v", s, err)
	}
	if tariff, err := ParseTariff("testdata/night.yaml"); err != nil || len(tariff.Bands) != 2 {
		t.Errorf("%v, %v", tariff, err)
	}
	if _, s, err := ParseRegion("testdata/carbon.yaml"); err != nil || len(values(s)) != 12 || s.Unit() != power.Grams {
		t.Errorf("%v, %v", s, err)
	}
}
