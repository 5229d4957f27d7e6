package powerfile

import (
	"go.yaml.in/yaml/v4"

	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/schedule"
)

// loadTariff reads a file of prices by the hour, or YAML with the key price.
func loadTariff(path string) (power.Tariff, error) {
	if isYAML(path) {
		text, err := read(path)
		if err != nil {
			return power.Tariff{}, err
		}
		if hasKey(text, "price") {
			return parseBands(path, text)
		}
	}
	s, err := LoadSeries(path)
	if err != nil {
		return power.Tariff{}, err
	}
	t := power.Tariff{Series: s}
	if s.Unit() == power.Grams {
		return power.Tariff{}, mistake(path, 0, "it has grams of CO2e, and a tariff wants prices: its unit is to be EUR/kWh, or that of another currency")
	}
	return t, nil
}

// parseBands reads a price and those of windows of time:
//
//	price: 0.30 EUR
//	windows:
//	  - {window: "23:00-06:00 Europe/Paris", price: 0.20 EUR}
func parseBands(path string, text []byte) (power.Tariff, error) {
	var price string
	var windows yaml.Node
	lines, err := decode(path, text, map[string]any{"price": &price, "windows": &windows})
	if err != nil {
		return power.Tariff{}, err
	}
	var t power.Tariff
	if t.PerKWh, err = parsePrice(price); err != nil {
		return power.Tariff{}, mistake(path, lines["price"], "price: %w", err)
	}
	for _, n := range windows.Content {
		var when, price string
		lines, err := decodeNode(path, n, map[string]any{"window": &when, "price": &price})
		if err != nil {
			return power.Tariff{}, err
		}
		w, err := schedule.ParseWindow(when)
		if err != nil {
			return power.Tariff{}, mistake(path, max(n.Line, lines["window"]), "window: %w", err)
		}
		m, err := parsePrice(price)
		if err != nil {
			return power.Tariff{}, mistake(path, max(n.Line, lines["price"]), "price: %w", err)
		}
		if m.Currency != t.PerKWh.Currency {
			return power.Tariff{}, mistake(path, max(n.Line, lines["price"]), "price: %v is of another currency than %v outside of the windows; currencies are never converted", m, t.PerKWh)
		}
		t.Bands = append(t.Bands, power.Band{When: w, PerKWh: m})
	}
	return t, nil
}
