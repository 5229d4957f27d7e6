package power

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Budget is what a run may consume at most. Each of its parts may be left out.
//
// Where the next step is known to take more than is left, it is not begun; so a run ends within
// its budget as far as a step takes what the one before it took, and at most one step over.
type Budget struct {
	Money *Money        // nil: no limit
	KWh   float64       // of the computer, as Usage.KWh; 0: no limit
	Kg    float64       // of CO2e; 0: no limit
	Time  time.Duration // of training, all resumed runs together; 0: no limit
}

// IsZero tells whether nothing is limited.
func (b Budget) IsZero() bool { return b == Budget{} }

// ParseBudget reads what a user writes, parts in any order with commas between: money
// "5EUR", energy "2kWh" or "500Wh", carbon "1kg" or "200g", time "30m", "1h30m" or "2d".
func ParseBudget(text string) (Budget, error) {
	var b Budget
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return Budget{}, fmt.Errorf("power: the budget %q has an empty part; write it as \"5EUR, 2kWh, 1kg, 30m\", or some of them", text)
		}
		if err := b.parse(part); err != nil {
			return Budget{}, fmt.Errorf("power: the budget's part %q: %w", part, err)
		}
	}
	return b, nil
}

// units are those of energy, in kWh, and of mass, in kg.
var units = map[string]struct {
	carbon bool
	of     float64
}{
	"wh": {false, 1e-3}, "kwh": {false, 1}, "mwh": {false, 1e3}, "j": {false, 1 / JoulesPerKWh}, "kj": {false, 1e3 / JoulesPerKWh}, "mj": {false, 1e6 / JoulesPerKWh},
	"g": {true, 1e-3}, "kg": {true, 1}, "t": {true, 1e3},
}

func (b *Budget) parse(part string) error {
	plain := part // "0.5 kgCO2e" is in kg
	for _, of := range []string{"CO2eq", "CO2e", "CO2"} {
		plain = strings.TrimSpace(strings.TrimSuffix(plain, of))
	}
	fields := splitAmount(plain)
	if len(fields) == 2 {
		if u, ok := units[strings.ToLower(fields[1])]; ok {
			v, err := positive(fields[0])
			if err != nil {
				return err
			}
			if u.carbon {
				return set(&b.Kg, v*u.of, "carbon")
			}
			return set(&b.KWh, v*u.of, "energy")
		}
	}
	d, isTime, err := parseTime(part)
	if isTime {
		if err != nil {
			return err
		}
		return set(&b.Time, d, "time")
	}
	m, err := ParseMoney(part)
	if err != nil {
		return fmt.Errorf("its unit is not known: money is 5EUR (any currency by its code), energy 2kWh (Wh, MWh, J, MJ), carbon 1kg (g, t), time 30m (s, h, d); decimals are written with a point")
	}
	if !(m.Amount > 0) {
		return fmt.Errorf("it is to be more than nothing")
	}
	if b.Money != nil {
		return fmt.Errorf("there are two budgets of money; leave one")
	}
	b.Money = &m
	return nil
}

func positive(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, fmt.Errorf("%q is no number; write decimals with a point", text)
	}
	if v <= 0 {
		return 0, fmt.Errorf("it is to be more than nothing")
	}
	return v, nil
}

func set[T ~int64 | ~float64](to *T, v T, kind string) error {
	if *to != 0 {
		return fmt.Errorf("there are two budgets of %s; leave one", kind)
	}
	*to = v
	return nil
}

// parseTime reads a duration as time.ParseDuration does, and days besides. isTime is false
// for what does not look like one.
func parseTime(text string) (d time.Duration, isTime bool, err error) {
	rest := text
	days := 0.0
	if before, after, ok := strings.Cut(text, "d"); ok {
		if days, err = strconv.ParseFloat(before, 64); err == nil {
			rest = after
			if strings.TrimSpace(rest) == "" {
				rest = "0s"
			}
		}
	}
	d, err = time.ParseDuration(strings.ReplaceAll(rest, " ", ""))
	if err != nil || rest == "0" {
		return 0, false, nil
	}
	total := days*24*float64(time.Hour) + float64(d)
	if !(total > 0) || total > 100*365*24*float64(time.Hour) {
		return 0, true, fmt.Errorf("it is to be more than nothing, and less than a century")
	}
	return time.Duration(total), true, nil
}

// String is a budget as ParseBudget reads it, "5.00 EUR, 2 kWh, 1 kg, 30m".
func (b Budget) String() string {
	var parts []string
	if b.Money != nil {
		parts = append(parts, b.Money.String())
	}
	if b.KWh > 0 {
		parts = append(parts, fmt.Sprintf("%g kWh", b.KWh))
	}
	if b.Kg > 0 {
		parts = append(parts, fmt.Sprintf("%g kg", b.Kg))
	}
	if b.Time > 0 {
		parts = append(parts, brief(b.Time))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// Check tells why a budget can never be reached with some rates: money without prices or in
// another currency.
func (b Budget) Check(r *Rates) error {
	if b.Money == nil {
		return nil
	}
	c := r.Currency()
	if c == "" {
		return fmt.Errorf("power: a budget of %v wants prices: give a tariff (what a kWh costs) or the rate of the device (what its hour costs)", *b.Money)
	}
	if c != b.Money.Currency {
		return fmt.Errorf("power: the budget is in %s and the prices are in %s; currencies are never converted, so give both in one", b.Money.Currency, c)
	}
	return nil
}

// Allowance is one part of a budget and how much of it is used.
type Allowance struct {
	What        string  // "money", "energy", "carbon", "time"
	Unit        string  // "EUR", "kWh", "kg", "s"
	Limit, Used float64 // in units
}

// Left is how much may yet be used; it is negative where the budget is exceeded.
func (a Allowance) Left() float64 { return a.Limit - a.Used }

// text is an amount in the unit of the allowance.
func (a Allowance) text(v float64) string {
	switch a.What {
	case "money":
		return Money{v, a.Unit}.String()
	case "energy":
		if v < 1e-3 {
			return fmt.Sprintf("%.4g J", v*JoulesPerKWh)
		}
	case "carbon":
		if v < 1e-3 {
			return fmt.Sprintf("%.4g g", v*1e3)
		}
	case "time":
		return brief(time.Duration(v * float64(time.Second)).Round(time.Millisecond))
	}
	return fmt.Sprintf("%.4g %s", v, a.Unit)
}

// String is "money: 4.98 EUR of 5.00 EUR".
func (a Allowance) String() string {
	return fmt.Sprintf("%s: %s of %s", a.What, a.text(a.Used), a.text(a.Limit))
}

// Left is the parts of the budget that are set, with what of them is used.
func (b Budget) Left(u Usage) []Allowance {
	var list []Allowance
	if b.Money != nil {
		list = append(list, Allowance{"money", b.Money.Currency, b.Money.Amount, u.Cost.Amount})
	}
	if b.KWh > 0 {
		list = append(list, Allowance{"energy", "kWh", b.KWh, u.KWh()})
	}
	if b.Kg > 0 {
		list = append(list, Allowance{"carbon", "kg", b.Kg, u.Grams / 1000})
	}
	if b.Time > 0 {
		list = append(list, Allowance{"time", "s", b.Time.Seconds(), u.Seconds})
	}
	return list
}

// Exceeded tells whether a run that has used u has to end before the next step, which is
// thought to take next: because that would go over the budget, or because nothing is left.
// What is a sentence that says so. With a zero next, a run ends after the step that
// reached the budget.
func (b Budget) Exceeded(u, next Usage) (what string, yes bool) {
	steps := b.Left(next)
	for i, a := range b.Left(u) {
		step := steps[i].Used
		switch {
		case a.Used >= a.Limit:
			return fmt.Sprintf("the budget of %s is used up: %s", a.text(a.Limit), a.text(a.Used)), true
		case a.Used+step > a.Limit:
			return fmt.Sprintf("the budget of %s would be exceeded: %s are used, and the next step takes about %s", a.text(a.Limit), a.text(a.Used), a.text(step)), true
		}
	}
	return "", false
}
