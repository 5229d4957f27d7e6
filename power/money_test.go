package power

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParseMoney(t *testing.T) {
	for text, want := range map[string]Money{
		"5EUR": {5, "EUR"}, "5 EUR": {5, "EUR"}, "EUR 5": {5, "EUR"}, "EUR5": {5, "EUR"}, "€5": {5, "EUR"}, "5€": {5, "EUR"},
		"0.25 eur": {0.25, "EUR"}, "$1.5": {1.5, "USD"}, "300 JPY": {300, "JPY"}, " .5 GBP ": {0.5, "GBP"}, "-3 CHF": {-3, "CHF"},
	} {
		if got, err := ParseMoney(text); got != want || err != nil {
			t.Errorf("ParseMoney(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "no number", "EUR": "no number", "5": "no currency", "5 EUR USD": "two currencies", "1,000 EUR": "comma", "0,25EUR": "comma",
		"5 EUX": "EUR", "¥5": "does not mean one currency", "5 6 EUR": "two numbers", "1.2.3 EUR": "no number", "1e999EUR": "", "NaN EUR": "two currencies", "+-5 EUR": "no number",
	} {
		_, err := ParseMoney(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseMoney(%q): %v; want an error with %q", text, err, want)
		}
	}
}

func TestMoneyString(t *testing.T) {
	for want, m := range map[string]Money{
		"12.50 EUR": {12.5, "EUR"}, "300 JPY": {300.4, "JPY"}, "1.235 KWD": {1.2346, "KWD"}, "0": {}, "0.00 EUR": {0, "EUR"},
		"0.25 EUR": {0.25, "EUR"}, "0.00042 EUR": {0.000421, "EUR"}, "0.30 JPY": {0.3, "JPY"}, "-0.0042 EUR": {-0.0042, "EUR"}, "1.00 EUR": {0.9999, "EUR"},
	} {
		if got := m.String(); got != want {
			t.Errorf("%#v is %q, want %q", m, got, want)
		}
	}
}

func TestCurrenciesDoNotMix(t *testing.T) {
	_, err := Money{5, "EUR"}.Add(Money{1, "USD"})
	var e *CurrencyError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "EUR") || !strings.Contains(err.Error(), "USD") {
		t.Errorf("5 EUR and 1 USD: %v", err)
	}
	if m, err := (Money{}).Add(Money{1, "USD"}); m != (Money{1, "USD"}) || err != nil {
		t.Errorf("nothing and 1 USD: %v, %v", m, err)
	}
	if m, err := (Money{5, "EUR"}).Add(Money{0.1, "EUR"}); m != (Money{5.1, "EUR"}) || err != nil {
		t.Errorf("5 EUR and 0.1 EUR: %v, %v", m, err)
	}
	if _, err := (Money{0, "EUR"}).Add(Money{1, "USD"}); err == nil {
		t.Error("0 EUR and 1 USD were added")
	}
}

func TestMoneyRoundTrip(t *testing.T) {
	m := Money{1.0 / 3, "EUR"}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Money
	if err := json.Unmarshal(text, &back); back != m || err != nil {
		t.Errorf("%v came back from %s as %v (%v)", m, text, back, err)
	}
}

// ISO 4217 lists these minor units.
func TestCurrencies(t *testing.T) {
	for code, digits := range map[string]int{"EUR": 2, "USD": 2, "JPY": 0, "KRW": 0, "BHD": 3, "TND": 3, "ISK": 0, "CHF": 2, "HUF": 2} {
		if got, ok := currencies[code]; !ok || got != digits {
			t.Errorf("%s has %d decimals (%v), want %d", code, got, ok, digits)
		}
	}
	if n := len(currencies); n < 150 {
		t.Errorf("only %d currencies", n)
	}
}
