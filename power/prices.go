package power

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Prices is what an hour of devices costs at providers, as a user's prices.yaml says. All are
// of one currency.
type Prices struct {
	Source   string // the file
	Offers   []Offer
	Problems []string // devices that the catalogue has not, with the nearest names
}

// Offer is what one provider asks for a device.
type Offer struct {
	Device   string // as the catalogue calls it, "a100-80gb"
	Count    int    // devices that come together at this rate; at least 1
	Provider string
	Hourly   Money     // for all of them
	Spot     bool      // may be taken away at any time
	Date     time.Time // from when the price is; zero: not said
}

// Rate is what an hour of one device costs.
func (o Offer) Rate() Money { return o.Hourly.Times(1 / float64(max(1, o.Count))) }

// Of is the offers for a device, the cheapest hour of one device first.
func (p *Prices) Of(device string) []Offer {
	var list []Offer
	for _, o := range p.Offers {
		if strings.EqualFold(o.Device, device) {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b Offer) int { return cmp.Compare(a.Rate().Amount, b.Rate().Amount) })
	return list
}

// Currency is that of the prices, "" if there are none.
func (p *Prices) Currency() string {
	if len(p.Offers) == 0 {
		return ""
	}
	return p.Offers[0].Hourly.Currency
}
