package powerfile

import "testing"

// A broken file is an error, never a panic, and a series that was read is whole.
func FuzzSeries(f *testing.F) {
	for _, s := range []string{
		"time,EUR/kWh\n2026-11-24T00:00Z,1\n2026-11-24T01:00Z,2\n", "time (Europe/Paris);g/kWh\n2026-10-25 02:00;1\n",
		"unit: EUR/MWh\nstart: 2026-11-24T00:00Z\nvalues: [1, 2]\n", "unit: g/kWh\nzone: UTC\nvalues:\n  2026-11-24T00:00: 1\n", "values: &a [*a]\n", "prices: [{device: t4, hourly: 1 EUR}]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, parse := range []func(string, []byte) (table, error){parseCSV, parseYAML} {
			x, err := parse("f", text)
			if err != nil {
				continue
			}
			if s, err := x.series("f"); err == nil && (s.Step() <= 0 || !s.End().After(s.Start())) {
				t.Errorf("%q: from %v to %v by %v", text, s.Start(), s.End(), s.Step())
			}
		}
		_, _, _ = parseRegion("f", text)
		_, _ = parseBands("f", text)
	})
}
