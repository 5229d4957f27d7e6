package power

import (
	"fmt"
	"math"
	"time"
)

// Rates is what a kilowatt-hour and an hour stand for where a run takes place.
type Rates struct {
	Region Region  // the zero value: the mean of the world, which the sources of a Usage say
	Carbon *Series // g/kWh by the hour, instead of the Region's mean of a year; may be nil
	PUE    float64 // energy of the building for a joule of its computers, 1 or more; 0 counts as 1
	WUE    float64 // litres of water for a kWh of the computers; 0: not counted
	Tariff Tariff  // what a kWh costs
	Device Money   // what an hour of the device costs, if it is rented
}

// Tariff is what a kilowatt-hour costs: by the hour of a Series, else by the first of the Bands
// that holds, else PerKWh. The zero value is no tariff.
type Tariff struct {
	PerKWh Money
	Bands  []Band
	Series *Series
}

// Band is a price for a part of the day or week: of the night, say.
type Band struct {
	When   Window
	PerKWh Money
}

// Window is a part of time that comes again, to the minute. It is of the package schedule.
type Window interface {
	Contains(t time.Time) bool
}

// IsZero tells whether there is no tariff.
func (t Tariff) IsZero() bool { return t.PerKWh.IsZero() && len(t.Bands) == 0 && t.Series == nil }

// Currency is that of the prices, "" without a tariff.
func (t Tariff) Currency() string {
	switch {
	case t.Series != nil:
		return t.Series.unit.Currency
	case len(t.Bands) > 0:
		return t.Bands[0].PerKWh.Currency
	}
	return t.PerKWh.Currency
}

// String is where prices come from, "0.25 EUR/kWh" or a file's name.
func (t Tariff) String() string {
	switch {
	case t.Series != nil:
		return fmt.Sprintf("%s (%v)", t.Series.source, t.Series.unit)
	case len(t.Bands) > 0:
		s := ""
		for _, b := range t.Bands {
			s += fmt.Sprintf("%v/kWh in %v, ", b.PerKWh, b.When)
		}
		return s + fmt.Sprintf("else %v/kWh", t.PerKWh)
	case t.PerKWh.IsZero():
		return "none"
	}
	return t.PerKWh.String() + "/kWh"
}

// Check tells what is wrong with a tariff: currencies that differ, a series of carbon.
func (t Tariff) Check() error {
	if t.Series != nil && t.Series.unit.Currency == "" {
		return fmt.Errorf("power: %s has grams of CO2e, and a tariff wants prices", t.Series.source)
	}
	if len(t.Bands) > 0 && t.PerKWh.IsZero() {
		return fmt.Errorf("power: a tariff with windows wants a price for the time outside of them too")
	}
	for _, b := range t.Bands {
		if err := b.PerKWh.same(t.PerKWh); err != nil {
			return err
		}
	}
	return nil
}

// At is the price of a kWh at a moment. The error is a *RangeError where a Series does not cover
// it.
func (t Tariff) At(at time.Time) (Money, error) { return t.Mean(at, at) }

// Mean is the mean price of a kWh from one moment to another. The error is a *RangeError where a
// Series does not cover all of it.
func (t Tariff) Mean(from, to time.Time) (Money, error) {
	if t.Series != nil {
		v, err := t.Series.Mean(from, to)
		return Money{v, t.Series.unit.Currency}, err
	}
	if len(t.Bands) == 0 {
		return t.PerKWh, nil
	}
	if !from.Before(to) {
		return t.band(from), nil
	}
	return Money{t.integrate(from, to) / to.Sub(from).Seconds(), t.PerKWh.Currency}, nil
}

// integrate is the integral of the bands' price over time, in seconds.
func (t Tariff) integrate(from, to time.Time) float64 {
	sum := 0.0
	// Windows come again by the week; of a long time all whole weeks count as the first one.
	if weeks := to.Sub(from) / week; weeks > 4 {
		next := from.Add(week)
		sum, from = float64(weeks)*t.integrate(from, next), from.Add(weeks*week)
	}
	for at := from; at.Before(to); {
		end := at.Truncate(time.Minute).Add(time.Minute)
		if end.After(to) {
			end = to
		}
		sum += t.band(at).Amount * end.Sub(at).Seconds()
		at = end
	}
	return sum
}

const week = 7 * 24 * time.Hour

func (t Tariff) band(at time.Time) Money {
	for _, b := range t.Bands {
		if b.When.Contains(at) {
			return b.PerKWh
		}
	}
	return t.PerKWh
}

// Check tells what is wrong with rates: a PUE below 1, currencies that differ, a series of
// prices instead of grams. Rates that pass can be used.
func (r *Rates) Check() error {
	if r.PUE != 0 && !(r.PUE >= 1 && r.PUE <= 10) {
		return fmt.Errorf("power: a PUE of %g: it is the energy of the whole building for a joule of its computers, 1 or more; the mean of the trade is near 1.6", r.PUE)
	}
	if !(r.WUE >= 0) || math.IsInf(r.WUE, 0) {
		return fmt.Errorf("power: a WUE of %g litres for a kWh; it cannot be negative", r.WUE)
	}
	if !(r.Region.Carbon >= 0) || math.IsInf(r.Region.Carbon, 0) {
		return fmt.Errorf("power: a carbon intensity of %g g/kWh; it cannot be negative", r.Region.Carbon)
	}
	if r.Carbon != nil && r.Carbon.unit.Currency != "" {
		return fmt.Errorf("power: %s has prices in %s, and carbon wants grams of CO2e", r.Carbon.source, r.Carbon.unit.Currency)
	}
	if err := r.Tariff.Check(); err != nil {
		return err
	}
	if c := r.Tariff.Currency(); c != "" && r.Device.Currency != "" && c != r.Device.Currency {
		price := r.Tariff.PerKWh
		if price.IsZero() {
			price = Money{r.Tariff.Series.Overall(), c}
		}
		return fmt.Errorf("power: the tariff (%v) and the rate of the device (%v an hour): %w", r.Tariff, r.Device, &CurrencyError{price, r.Device})
	}
	return nil
}

// Currency is that of all costs, "" if nothing has a price.
func (r *Rates) Currency() string {
	if c := r.Tariff.Currency(); c != "" {
		return c
	}
	return r.Device.Currency
}

// carbon is the carbon intensity from one moment to another, in g/kWh. It is guessed where a
// series does not cover the time: its mean is taken.
func (r *Rates) carbon(from, to time.Time) (grams float64, guessed bool) {
	switch {
	case r.Carbon != nil:
		g, err := r.Carbon.Mean(from, to)
		if err != nil {
			return r.Carbon.Overall(), true
		}
		return g, false
	case r.Region == Region{}:
		return World.Carbon, false
	}
	return r.Region.Carbon, false
}

// price is the mean price of a kWh, as carbon.
func (r *Rates) price(from, to time.Time) (per Money, guessed bool) {
	per, err := r.Tariff.Mean(from, to)
	if err != nil { // only a series fails
		s := r.Tariff.Series
		return Money{s.Overall(), s.unit.Currency}, true
	}
	return per, false
}

// sources is where carbon and prices are from.
func (r *Rates) sources() []string {
	var list []string
	switch {
	case r.Carbon != nil:
		list = append(list, "carbon: "+r.Carbon.source)
	case r.Region == Region{}:
		list = append(list, "carbon: "+World.String()+", for no region was given; "+World.Source)
	case r.Region.Source != "":
		list = append(list, "carbon: "+r.Region.String()+"; "+r.Region.Source)
	default:
		list = append(list, "carbon: "+r.Region.String())
	}
	if !r.Tariff.IsZero() {
		list = append(list, "tariff: "+r.Tariff.String())
	}
	if !r.Device.IsZero() {
		list = append(list, "device: "+r.Device.String()+" an hour")
	}
	return list
}

// guesses is what a Usage says where carbon or prices had to be guessed.
func (r *Rates) guesses(carbon, price bool) []string {
	var list []string
	if carbon {
		list = append(list, "carbon: "+r.Carbon.source+" does not cover all of the time, and its mean is taken for the rest")
	}
	if price {
		list = append(list, "tariff: "+r.Tariff.Series.source+" does not cover all of the time, and its mean is taken for the rest")
	}
	return list
}

func (r *Rates) pue() float64 {
	if r.PUE == 0 {
		return 1
	}
	return r.PUE
}
