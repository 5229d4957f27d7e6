package power

import "time"

// Prices is what an hour of devices costs at providers, as a user's prices.yaml says.
type Prices struct {
	Source string // the file
	Offers []Offer
}

// Offer is what one provider asks for one device.
type Offer struct {
	Device   string // a name of the catalogue: "a100-80gb"; a whole machine of several counts Count
	Count    int    // devices that come together at this rate; at least 1
	Provider string
	Hourly   Money     // for all of them
	Spot     bool      // may be taken away at any time
	Date     time.Time // from when the price is; zero: not said
}

// Rate is what an hour of one device costs.
func (o Offer) Rate() Money { return o.Hourly.Times(1 / float64(max(1, o.Count))) }

// Of is the offers for a device, the cheapest first; currencies stay apart, in the order of
// their codes.
func (p *Prices) Of(device string) []Offer { return nil }
