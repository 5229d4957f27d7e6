package power

import (
	"math"
	"testing"
)

// Whatever a user writes is an amount that is finite, or an error.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"5EUR, 2kWh, 1kg, 30m", "€5", "1d2h", "-0 JPY", "1e308kWh", "١EUR", "5 \xff", "AMD EPYC 7763 64-Core Processor @"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := ParseMoney(text); err == nil && (math.IsInf(m.Amount, 0) || math.IsNaN(m.Amount) || currencies[m.Currency] == 0 && len(m.Currency) != 3) {
			t.Errorf("%q is %v", text, m)
		}
		if b, err := ParseBudget(text); err == nil {
			if b.IsZero() || b.KWh < 0 || b.Kg < 0 || b.Time < 0 || math.IsInf(b.KWh+b.Kg, 0) {
				t.Errorf("%q is %v", text, b)
			}
			if _, err := ParseBudget(b.String()); err != nil {
				t.Errorf("%q is %q, which is no budget: %v", text, b, err)
			}
		}
		_, _ = FindRegion(text)
		_, _ = FindCPU(text)
		_ = CheckMeter(text)
	})
}
