package power

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Money is an amount in a currency of ISO 4217. The zero value is no money, of no currency.
// Amounts are float64, so that a step's share of a cent is not lost; they are rounded
// when they are printed. Currencies are never converted.
type Money struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"`
}

// CurrencyError is an attempt to add or compare money of two currencies.
type CurrencyError struct{ A, B Money }

func (e *CurrencyError) Error() string {
	return fmt.Sprintf("%s and %s are of different currencies, which are never converted; give tariff, rate and budget in one", e.A, e.B)
}

// IsZero tells whether m is no money of no currency.
func (m Money) IsZero() bool { return m == Money{} }

// Add is m and n. Either may be the zero value; else a difference of currency is a
// *CurrencyError.
func (m Money) Add(n Money) (Money, error) {
	if err := m.same(n); err != nil {
		return Money{}, err
	}
	return Money{m.Amount + n.Amount, cmp.Or(m.Currency, n.Currency)}, nil
}

// Times is f times m.
func (m Money) Times(f float64) Money { return Money{m.Amount * f, m.Currency} }

// same tells why two amounts cannot be added or compared.
func (m Money) same(n Money) error {
	if m.Currency != n.Currency && !m.IsZero() && !n.IsZero() {
		return &CurrencyError{m, n}
	}
	return nil
}

// String rounds to the currency's smallest coin, "12.50 EUR", "300 JPY". Less than one of the
// currency keeps two significant digits, "0.00042 EUR", for a step costs little and yet
// something.
func (m Money) String() string {
	if m.IsZero() {
		return "0"
	}
	digits := 2
	if c, ok := currencies[m.Currency]; ok {
		digits = c
	}
	if a := math.Abs(m.Amount); a > 0 && a < 1 {
		digits = max(digits, 1-int(math.Floor(math.Log10(a))))
	}
	return strconv.FormatFloat(m.Amount, 'f', min(digits, 12), 64) + " " + m.Currency
}

// signs are the signs of currencies that mean one currency. Others, such as ¥, mean several.
var signs = map[rune]string{'€': "EUR", '$': "USD", '£': "GBP", '₹': "INR", '₩': "KRW", '₺': "TRY", '₴': "UAH", '₪': "ILS", '₫': "VND", '฿': "THB", '₱': "PHP", '₦': "NGN", '₽': "RUB"}

// ParseMoney reads "5EUR", "5 EUR", "EUR 5" or "€5". The dollar sign means the United
// States' dollar; a sign that several currencies have is an error that says so.
func ParseMoney(text string) (Money, error) {
	fail := func(format string, args ...any) (Money, error) {
		return Money{}, fmt.Errorf("power: %q is no amount of money: %s; write it as 5EUR or 0.25 USD", text, fmt.Sprintf(format, args...))
	}
	number, currency := "", ""
	for _, field := range splitAmount(text) {
		if strings.ContainsAny(field[:1], "0123456789.,+-") {
			if number != "" {
				return fail("it has two numbers")
			}
			number = field
			continue
		}
		if currency != "" {
			return fail("it has two currencies")
		}
		currency = field
	}
	switch {
	case number == "":
		return fail("it has no number")
	case currency == "":
		return fail("it has no currency")
	case strings.Contains(number, ","):
		return fail("a comma may mean thousands or decimals, so there may be none; decimals follow a point")
	}
	amount, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsInf(amount, 0) || math.IsNaN(amount) {
		return fail("%q is no number", number)
	}
	code, err := ParseCurrency(currency)
	if err != nil {
		return fail("%v", err)
	}
	return Money{amount, code}, nil
}

// ParseCurrency takes a code of ISO 4217, or a sign that means one currency.
func ParseCurrency(text string) (string, error) {
	code := strings.ToUpper(strings.TrimSpace(text))
	if _, ok := currencies[code]; ok {
		return code, nil
	}
	if r := []rune(code); len(r) == 1 && unicode.Is(unicode.Sc, r[0]) {
		if signs[r[0]] != "" {
			return signs[r[0]], nil
		}
		return "", fmt.Errorf("the sign %s does not mean one currency; write its code of three letters", text)
	}
	names := slices.Sorted(maps.Keys(currencies))
	return "", &UnknownError{Kind: "currency", Name: text, Nearest: near(code, names)}
}

// splitAmount cuts "5EUR" and "€ 5" into numbers and what is none.
func splitAmount(text string) []string {
	var fields []string
	kind := 0 // of the last character: 0 space, 1 of a number, 2 other
	for _, r := range text {
		k := 2
		switch {
		case unicode.IsSpace(r):
			k = 0
		case unicode.IsDigit(r) || strings.ContainsRune(".,+-", r):
			k = 1
		}
		if k != 0 && k != kind {
			fields = append(fields, "")
		}
		if k != 0 {
			fields[len(fields)-1] += string(r)
		}
		kind = k
	}
	return fields
}

// currencies is the active ones of ISO 4217 and how many decimals they have.
var currencies = func() map[string]int {
	m := make(map[string]int)
	for digits, list := range map[int]string{
		0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
		2: `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
			CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
			IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR
			MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG
			SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST
			XCD YER ZAR ZMW ZWG`,
		3: "BHD IQD JOD KWD LYD OMR TND",
	} {
		for _, c := range strings.Fields(list) {
			m[c] = digits
		}
	}
	return m
}()
