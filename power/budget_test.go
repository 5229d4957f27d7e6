package power

import (
	"strings"
	"testing"
	"time"
)

func TestParseBudget(t *testing.T) {
	b, err := ParseBudget("5EUR, 2kWh, 1kg, 30m")
	if err != nil || *b.Money != (Money{5, "EUR"}) || b.KWh != 2 || b.Kg != 1 || b.Time != 30*time.Minute {
		t.Errorf("%v, %v", b, err)
	}
	if back, err := ParseBudget(b.String()); err != nil || *back.Money != *b.Money || back.KWh != 2 || back.Kg != 1 || back.Time != b.Time {
		t.Errorf("%v came back as %v (%v)", b, back, err)
	}
	for text, want := range map[string]Budget{
		"500Wh": {KWh: 0.5}, "1.5 MWh": {KWh: 1500}, "3.6MJ": {KWh: 1}, "200g": {Kg: 0.2}, "0.5 kgCO2e": {Kg: 0.5}, "1 t": {Kg: 1000},
		"1h30m": {Time: 90 * time.Minute}, "2d": {Time: 48 * time.Hour}, "1d12h": {Time: 36 * time.Hour}, "90s": {Time: 90 * time.Second}, "1h 30m": {Time: 90 * time.Minute},
	} {
		if b, err := ParseBudget(text); b != want || err != nil {
			t.Errorf("ParseBudget(%q) = %v, %v; want %v", text, b, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "empty part", "5EUR,": "empty part", "5": "unit", "5 bananas": "unit", "0EUR": "more than nothing", "-1kWh": "more than nothing", "0m": "more than nothing",
		"1kWh, 500Wh": "two budgets of energy", "5EUR, 5USD": "two budgets of money", "1kg,1g": "two budgets of carbon", "1h,1m": "two budgets of time",
		"0,5kg": "unit", "NaNkWh": "unit", "-5 EUR": "more than nothing", "999999h": "century",
	} {
		if b, err := ParseBudget(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseBudget(%q) = %v, %v; want an error with %q", text, b, err, want)
		}
	}
}

func TestBudgetCheck(t *testing.T) {
	b, _ := ParseBudget("5EUR")
	if err := b.Check(&Rates{}); err == nil || !strings.Contains(err.Error(), "tariff") {
		t.Errorf("without prices: %v", err)
	}
	err := b.Check(&Rates{Device: Money{1, "USD"}})
	if err == nil || !strings.Contains(err.Error(), "EUR") || !strings.Contains(err.Error(), "USD") {
		t.Errorf("in another currency: %v", err)
	}
	if err := b.Check(&Rates{Device: Money{1, "EUR"}}); err != nil {
		t.Error(err)
	}
	if err := (Budget{KWh: 1}).Check(&Rates{}); err != nil {
		t.Error(err)
	}
}

// Steps of a known size: a run ends within its budget, and with steps that are not known at most
// one over.
func TestExceeded(t *testing.T) {
	step := Usage{Seconds: 1, Joules: 3.6e5, Grams: 50, Cost: Money{0.03, "EUR"}} // 0.1 kWh
	for text, want := range map[string]int{"1kWh": 10, "0.95kWh": 9, "5s": 5, "0.1EUR": 3, "200g": 4, "0.1EUR, 2s": 2, "120g, 1h": 2} {
		b, err := ParseBudget(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, ahead := range []bool{true, false} {
			next, over := step, 0
			if !ahead {
				next = Usage{}
				over = 1
			}
			var u Usage
			steps := 0
			for ; steps < 100; steps++ {
				if what, yes := b.Exceeded(u, next); yes {
					if what == "" {
						t.Error("nothing is said")
					}
					break
				}
				u, _ = u.Add(step)
			}
			if steps < want || steps > want+over {
				t.Errorf("%s: %d steps, want %d (looking ahead: %v)", text, steps, want, ahead)
			}
		}
	}
	b, _ := ParseBudget("5EUR, 1h")
	what, yes := b.Exceeded(Usage{Cost: Money{4.98, "EUR"}}, Usage{Cost: Money{0.03, "EUR"}})
	if want := "the budget of 5.00 EUR would be exceeded: 4.98 EUR are used, and the next step takes about 0.030 EUR"; what != want || !yes {
		t.Errorf("%q", what)
	}
	if what, _ := b.Exceeded(Usage{Seconds: 3600.5, Cost: Money{1, "EUR"}}, Usage{}); what != "the budget of 1h is used up: 1h0m0.5s" {
		t.Errorf("%q", what)
	}
	if what, yes := (Budget{}).Exceeded(Usage{Seconds: 1e9}, step); yes {
		t.Errorf("no budget, and yet %q", what)
	}
}
