package powerfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/schedule"
)

// LoadSeries reads values by the hour: YAML if the name ends so, else CSV.
func LoadSeries(path string) (*power.Series, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	var t table
	if isYAML(path) {
		t, err = parseYAML(path, text)
	} else {
		t, err = parseCSV(path, text)
	}
	if err != nil {
		return nil, err
	}
	return t.series(path)
}

// table is a file before it is checked to be a series.
type table struct {
	unit  power.Unit
	hours []power.Hour
	lines []int // of the file, of each hour
	line  int   // where the values begin
}

func (t table) series(path string) (*power.Series, error) {
	s, err := power.NewSeries(t.unit, filepath.Base(path), t.hours)
	var order *power.OrderError
	if errors.As(err, &order) {
		line := t.line
		if order.Index < len(t.lines) {
			line = t.lines[order.Index]
		}
		return nil, mistake(path, line, "%s", order.What)
	}
	return s, err
}

// quantity is what a column has: a unit, and what a number in it is to be multiplied with.
type quantity struct {
	unit  power.Unit
	scale float64
}

var unitPattern = regexp.MustCompile(`(?i)([\p{L}\p{Sc}₂]+)\s*/\s*([km]wh)`)

// parseUnit finds a unit in a text: "EUR/MWh", "Price [EUR/kWh]", "g/kWh", "gCO2eq/kWh",
// "kg/MWh", "ct/kWh" is one only with a currency that has cents: "EURct/kWh". found is false
// where there is none.
func parseUnit(text string) (q quantity, found bool, err error) {
	m := unitPattern.FindStringSubmatch(strings.NewReplacer("CO2eq", "", "CO2e", "", "CO₂eq", "", "CO₂e", "", "CO2", "", "CO₂", "").Replace(text))
	if m == nil {
		return quantity{}, false, nil
	}
	q.scale = 1
	if strings.EqualFold(m[2], "MWh") {
		q.scale = 1e-3
	}
	switch name := m[1]; strings.ToLower(name) {
	case "g":
		return q, true, nil
	case "kg":
		q.scale *= 1000
		return q, true, nil
	case "t":
		q.scale *= 1e6
		return q, true, nil
	default:
		if cents, ok := strings.CutSuffix(strings.ToLower(name), "ct"); ok {
			name, q.scale = cents, q.scale/100
		}
		if name == "" {
			return q, true, fmt.Errorf("the unit %q does not name its currency; write EUR/kWh, or EURct/kWh for cents", m[0])
		}
		code, err := power.ParseCurrency(name)
		if err != nil {
			return q, true, fmt.Errorf("the unit %q: %w", m[0], err)
		}
		q.unit.Currency = code
		return q, true, nil
	}
}

const unitHelp = "units are EUR/kWh or EUR/MWh with the code of any currency for prices, and g/kWh or kg/MWh for carbon"

// parse reads a number in a cell. Money of another currency than the column's is an error.
func (q quantity) parse(text string) (float64, error) {
	text = strings.TrimSpace(text)
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		return v * q.scale, nil
	}
	if m, err := power.ParseMoney(text); err == nil {
		if m.Currency == q.unit.Currency {
			return m.Amount * q.scale, nil
		}
		return 0, fmt.Errorf("%v is of another currency than the rest of the file, whose unit is %v; currencies are never converted", m, q.unit)
	}
	switch {
	case text == "":
		return 0, errors.New("the value is missing; a series has no gaps, so put in what it is likely to be, or end the file before")
	case strings.Contains(text, ","):
		return 0, fmt.Errorf("%q is no number; write decimals with a point", text)
	}
	return 0, fmt.Errorf("%q is no number", text)
}

// parseCSV reads a header with the names of a column of times and one with a unit, and rows.
// Lines that begin with # are comments.
func parseCSV(path string, text []byte) (table, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(text))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace, r.ReuseRecord = '#', -1, true, true
	r.Comma = separator(text)
	header, err := r.Read()
	if err != nil {
		return table{}, csvMistake(path, err, "it is empty; it is to begin with a header such as \"time,EUR/kWh\"")
	}
	line, _ := r.FieldPos(0)
	columns := len(header)
	when, zone, err := timeColumn(header)
	if err != nil {
		return table{}, mistake(path, line, "%w", err)
	}
	value, q := -1, quantity{}
	for i, name := range header {
		c, found, err := parseUnit(name)
		switch {
		case err != nil:
			return table{}, mistake(path, line, "%w; %s", err, unitHelp)
		case !found:
		case value >= 0:
			return table{}, mistake(path, line, "the columns %q and %q both have a unit; leave one of them", header[value], name)
		default:
			value, q = i, c
		}
	}
	if value < 0 {
		return table{}, mistake(path, line, "no column says its unit: the header is to be like \"time,EUR/kWh\", and is %q; %s", strings.Join(header, string(r.Comma)), unitHelp)
	}
	t := table{unit: q.unit, line: line}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return table{}, csvMistake(path, err, "")
		}
		line, _ := r.FieldPos(0)
		if len(row) != columns {
			return table{}, mistake(path, line, "there are %d columns, and the header has %d", len(row), columns)
		}
		h := power.Hour{}
		if h.Start, err = parseTime(row[when], zone); err == nil {
			h.Value, err = q.parse(row[value])
		}
		if err != nil {
			return table{}, mistake(path, line, "%w", err)
		}
		t.hours, t.lines = append(t.hours, h), append(t.lines, line)
	}
}

// separator is what parts the columns of the header.
func separator(text []byte) rune {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		for _, c := range ";\t" {
			if bytes.ContainsRune(line, c) {
				return c
			}
		}
		break
	}
	return ','
}

func csvMistake(path string, err error, empty string) error {
	if err == io.EOF {
		return mistake(path, 0, "%s", empty)
	}
	var p *csv.ParseError
	if errors.As(err, &p) {
		return mistake(path, p.Line, "it is no CSV: %v", p.Err)
	}
	return mistake(path, 0, "it is no CSV: %w", err)
}

// timeColumn is the column whose name begins with time or date, with the zone in its
// brackets: "time", "time (Europe/Paris)", "Datetime (UTC)". Of several, the one in UTC.
func timeColumn(header []string) (column int, zone *time.Location, err error) {
	column = -1
	var first error
	for i, name := range header {
		low := strings.ToLower(strings.TrimSpace(name))
		if !strings.HasPrefix(low, "time") && !strings.HasPrefix(low, "date") {
			continue
		}
		var z *time.Location
		if _, inside, ok := strings.Cut(name, "("); ok {
			inside, _, _ = strings.Cut(inside, ")")
			if z, err = findZone(strings.TrimSpace(inside)); err != nil {
				if first == nil {
					first = err
				}
				continue
			}
		}
		if column < 0 || z == time.UTC {
			column, zone = i, z
		}
	}
	if column < 0 {
		if first != nil {
			return 0, nil, first
		}
		return 0, nil, fmt.Errorf("no column is of times: the header is to be like \"time,EUR/kWh\", or \"time (Europe/Paris),EUR/kWh\" where the times have no offset")
	}
	return column, zone, nil
}

func findZone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("the zone %q is another one on another machine; name it, such as Europe/Paris, or UTC", name)
	}
	return schedule.Zone(name)
}

// layouts are of ISO 8601, with either separator between date and time.
var layouts = []string{"2006-01-02T15:04:05.999", "2006-01-02T15:04", "2006-01-02T15"}

// parseTime reads a time with an offset, or without one in a zone, which may be nil. An hour
// that the zone has twice, or not at all, is an error.
func parseTime(text string, zone *time.Location) (time.Time, error) {
	text = strings.TrimSpace(text)
	iso := text
	if len(iso) > 10 && iso[10] == ' ' {
		iso = iso[:10] + "T" + strings.TrimSpace(iso[10:])
	}
	for _, layout := range layouts {
		for _, offset := range []string{"Z07:00", "Z0700", "Z07", " UTC"} {
			if t, err := time.Parse(layout+offset, iso); err == nil {
				return t, nil
			}
		}
		wall, err := time.Parse(layout, iso)
		if err != nil {
			continue
		}
		if zone == nil {
			return time.Time{}, fmt.Errorf("the time %q has no zone; write its offset, %sZ or %s+01:00, or name the zone in the header: time (Europe/Paris), in YAML zone: Europe/Paris", text, text, text)
		}
		found := instants(wall, zone)
		switch len(found) {
		case 1:
			return found[0], nil
		case 0:
			return time.Time{}, fmt.Errorf("the time %s does not exist in %v, where clocks are put forward over it; leave the line out, or write times with offsets", text, zone)
		}
		return time.Time{}, fmt.Errorf("the time %s is there twice in %v, where clocks are put back over it; write the offset: %s or %s", text, zone,
			found[0].Format(time.RFC3339), found[1].Format(time.RFC3339))
	}
	return time.Time{}, fmt.Errorf("%q is no time; write it as in ISO 8601, 2026-11-24T23:00+01:00", text)
}

// instants is when a zone's clocks show a time of the day, in order: usually one.
func instants(wall time.Time, zone *time.Location) []time.Time {
	var found []time.Time
	for _, around := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(around).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		_, there := t.Zone()
		if there == offset && (len(found) == 0 || !found[0].Equal(t)) {
			found = append(found, t)
		}
	}
	return found
}

// seriesFile is the keys of a series in YAML.
type seriesFile struct {
	Unit   string
	Zone   string
	Start  string
	Step   string
	Values yaml.Node
}

// parseYAML reads a unit and values: a mapping of times to numbers, or from a start on a list.
func parseYAML(path string, text []byte) (table, error) {
	var f seriesFile
	lines, err := decode(path, text, map[string]any{"unit": &f.Unit, "zone": &f.Zone, "start": &f.Start, "step": &f.Step, "values": &f.Values})
	if err != nil {
		return table{}, err
	}
	q, found, err := parseUnit(f.Unit)
	if err != nil {
		return table{}, mistake(path, lines["unit"], "%w; %s", err, unitHelp)
	}
	if !found {
		return table{}, mistake(path, lines["unit"], "it does not say its unit: there is to be a line such as \"unit: EUR/kWh\"; %s", unitHelp)
	}
	var zone *time.Location
	if f.Zone != "" {
		if zone, err = findZone(f.Zone); err != nil {
			return table{}, mistake(path, lines["zone"], "%w", err)
		}
	}
	t := table{unit: q.unit, line: lines["values"]}
	switch f.Values.Kind {
	case yaml.MappingNode:
		if f.Start != "" || f.Step != "" {
			return table{}, mistake(path, lines["start"], "values with times of their own have no start and no step")
		}
		for i := 0; i+1 < len(f.Values.Content); i += 2 {
			key, value := f.Values.Content[i], f.Values.Content[i+1]
			h := power.Hour{}
			if h.Start, err = parseTime(key.Value, zone); err == nil {
				h.Value, err = q.parse(value.Value)
			}
			if err != nil {
				return table{}, mistake(path, key.Line, "%w", err)
			}
			t.hours, t.lines = append(t.hours, h), append(t.lines, key.Line)
		}
	case yaml.SequenceNode:
		step := time.Hour
		if f.Step != "" {
			if step, err = time.ParseDuration(f.Step); err != nil || step <= 0 || step > time.Hour || time.Hour%step != 0 {
				return table{}, mistake(path, lines["step"], "%q is no step: it is 1h, 30m or 15m, or what else divides an hour", f.Step)
			}
		}
		if f.Start == "" {
			return table{}, mistake(path, t.line, "a list of values wants a line \"start: 2026-11-24T00:00+01:00\" before it")
		}
		start, err := parseTime(f.Start, zone)
		if err != nil {
			return table{}, mistake(path, lines["start"], "%w", err)
		}
		for i, n := range f.Values.Content {
			v, err := q.parse(n.Value)
			if err != nil || n.Kind != yaml.ScalarNode {
				if err == nil {
					err = errors.New("a value is a number")
				}
				return table{}, mistake(path, n.Line, "%w", err)
			}
			t.hours, t.lines = append(t.hours, power.Hour{Start: start.Add(time.Duration(i) * step), Value: v}), append(t.lines, n.Line)
		}
	default:
		return table{}, mistake(path, max(t.line, 1), "it has no values: there is to be \"values:\" with lines such as \"2026-11-24T00:00+01:00: 0.21\", or a list of numbers with a start")
	}
	return t, nil
}
