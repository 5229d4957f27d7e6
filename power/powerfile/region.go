package powerfile

import (
	"cmp"
	"path/filepath"

	"github.com/sinter-dl/sinter/power"
)

// loadRegion reads a file of carbon intensities: by the hour, or YAML with the key carbon.
func loadRegion(path string) (power.Region, *power.Series, error) {
	if isYAML(path) {
		text, err := read(path)
		if err != nil {
			return power.Region{}, nil, err
		}
		r, constant, err := parseRegion(path, text)
		if constant || err != nil {
			return r, nil, err
		}
	}
	s, err := LoadSeries(path)
	if err != nil {
		return power.Region{}, nil, err
	}
	if c := s.Unit().Currency; c != "" {
		return power.Region{}, nil, mistake(path, 0, "it has prices in %s, and a region wants grams of CO2e: its unit is to be g/kWh", c)
	}
	return power.Region{Code: "given", Name: s.Source(), Carbon: s.Overall(), Source: "mean of " + s.Source()}, s, nil
}

// parseRegion reads the mapping of one region. constant is false for a series of hours.
func parseRegion(path string, text []byte) (r power.Region, constant bool, err error) {
	if !hasKey(text, "carbon") {
		return power.Region{}, false, nil
	}
	var carbon, name, source string
	var year int
	lines, err := decode(path, text, map[string]any{"region": &name, "carbon": &carbon, "year": &year, "source": &source})
	if err != nil {
		return power.Region{}, true, err
	}
	q, found, err := parseUnit(carbon)
	switch {
	case err != nil:
		return power.Region{}, true, mistake(path, lines["carbon"], "%w; %s", err, unitHelp)
	case !found:
		q = quantity{scale: 1}
	case q.unit.Currency != "":
		return power.Region{}, true, mistake(path, lines["carbon"], "it is a price in %s; a carbon intensity is in g/kWh or kg/MWh", q.unit.Currency)
	}
	if at := unitPattern.FindStringIndex(carbon); at != nil {
		carbon = carbon[:at[0]]
	}
	g, err := q.parse(carbon)
	if err == nil && !(g >= 0 && g <= 5000) {
		return power.Region{}, true, mistake(path, lines["carbon"], "a carbon intensity is between 0 and 5000 g/kWh")
	}
	if err != nil {
		return power.Region{}, true, mistake(path, lines["carbon"], "carbon: %w; write it as 35 g/kWh", err)
	}
	return power.Region{Code: "given", Name: cmp.Or(name, "given"), Carbon: g, Year: year, Source: cmp.Or(source, filepath.Base(path))}, true, nil
}
