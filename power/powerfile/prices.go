package powerfile

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/power"
)

// LoadPrices reads hourly rates of devices. A device of the catalogue gets the catalogue's name; one
// that is in none keeps its own and is named in Prices.Problems.
//
//	prices:
//	  - {device: a100-80gb, provider: example-cloud, hourly: 1.80 USD, date: 2026-01-15}
//	  - {device: h100-sxm, count: 8, provider: example-cloud, hourly: 20 USD, spot: true}
func LoadPrices(path string) (*power.Prices, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	var list yaml.Node
	lines, err := decode(path, text, map[string]any{"prices": &list})
	if err != nil {
		return nil, err
	}
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		return nil, mistake(path, max(1, lines["prices"]), "there is to be \"prices:\" with a list below it, of lines such as \"- {device: a100-80gb, provider: mine, hourly: 1.80 USD}\"")
	}
	p := &power.Prices{Source: path}
	for _, n := range list.Content {
		o := power.Offer{Count: 1}
		var hourly, date string
		lines, err := decodeNode(path, n, map[string]any{"device": &o.Device, "count": &o.Count, "provider": &o.Provider, "hourly": &hourly, "spot": &o.Spot, "date": &date})
		if err != nil {
			return nil, err
		}
		at := func(key string) int { return max(n.Line, lines[key]) }
		for _, missing := range []struct{ key, value string }{{"device", o.Device}, {"hourly", hourly}} {
			if missing.value == "" {
				return nil, mistake(path, n.Line, "a price wants the key %q; an example is \"- {device: a100-80gb, provider: mine, hourly: 1.80 USD}\"", missing.key)
			}
		}
		if o.Hourly, err = power.ParseMoney(hourly); err != nil {
			return nil, mistake(path, at("hourly"), "hourly: %w", err)
		}
		if o.Hourly.Amount < 0 {
			return nil, mistake(path, at("hourly"), "hourly: %v is less than nothing", o.Hourly)
		}
		if o.Count < 1 {
			return nil, mistake(path, at("count"), "count: %d; it is how many of the device come at this price, 1 or more", o.Count)
		}
		if date != "" {
			if o.Date, err = time.Parse(time.DateOnly, date); err != nil {
				return nil, mistake(path, at("date"), "date: %q is no date; write it as 2026-01-15", date)
			}
		}
		if len(p.Offers) > 0 && p.Offers[0].Hourly.Currency != o.Hourly.Currency {
			return nil, mistake(path, at("hourly"), "hourly: %v is of another currency than the prices before it, %v; currencies are never converted, so keep a file for each", o.Hourly, p.Offers[0].Hourly)
		}
		if card, err := hardware.Find(o.Device); err == nil {
			o.Device = card.Key
		} else if !strings.EqualFold(o.Device, "cpu") {
			p.Problems = append(p.Problems, mistake(path, at("device"), "%w", err).Error())
		}
		p.Offers = append(p.Offers, o)
	}
	return p, nil
}
