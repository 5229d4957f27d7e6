// Package powerfile reads what users write for the package power: prices of electricity
// and carbon intensities by the hour, as CSV or YAML, and the hourly rates of devices,
// prices.yaml.
//
// Every error is an *Error that names the file and the line, what was expected there, and
// what to do. Nothing is guessed: a time without a zone, an hour that daylight saving
// time has twice, a gap and another currency are errors. docs/energy.md describes the
// formats.
package powerfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter/power"
)

// Error is what is wrong with a file or a text.
type Error struct {
	Place  string // "tariff.csv:12", or what the user wrote
	Reason string
	Err    error // if another error is the reason
}

func (e *Error) Error() string { return e.Place + ": " + e.Reason }

func (e *Error) Unwrap() error { return e.Err }

// mistake is an *Error at a line of a file, 0 for the file as a whole.
func mistake(file string, line int, format string, args ...any) error {
	place := file
	if line > 0 {
		place = fmt.Sprintf("%s:%d", file, line)
	}
	err := fmt.Errorf(format, args...)
	return &Error{Place: place, Reason: strings.TrimPrefix(err.Error(), "power: "), Err: errors.Unwrap(err)}
}

// largest is how many bytes a file may have: ten years of quarters of an hour are 15 MB.
const largest = 64 << 20

// read is a whole file.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, largest+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if len(text) > largest {
		return nil, mistake(path, 0, "it has more than %d MB, and is no such file", largest>>20)
	}
	return text, nil
}

func unreadable(path string, err error) error {
	reason := err.Error()
	var e *fs.PathError
	if errors.As(err, &e) {
		reason = e.Err.Error()
	}
	return &Error{Place: path, Reason: "it cannot be read: " + reason, Err: err}
}

// isYAML goes by the file's name; everything else is CSV.
func isYAML(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".yaml" || ext == ".yml"
}

// looksLikeFile tells a file's name from a price or a region's name.
func looksLikeFile(text string) bool {
	switch strings.ToLower(filepath.Ext(text)) {
	case ".csv", ".yaml", ".yml", ".tsv", ".txt":
		return true
	}
	low := strings.ToLower(text)
	return strings.ContainsAny(text, `/\`) && !strings.HasSuffix(low, "/kwh") && !strings.HasSuffix(low, "/mwh")
}

// ParseTariff takes what a kWh costs, "0.25 EUR" or "250 EUR/MWh", or the name of a file: of
// prices by the hour, or YAML with a price and others for windows of time.
func ParseTariff(text string) (power.Tariff, error) {
	text = strings.TrimSpace(text)
	if looksLikeFile(text) {
		return loadTariff(text)
	}
	m, err := parsePrice(text)
	if err != nil {
		return power.Tariff{}, &Error{Place: fmt.Sprintf("tariff %q", text),
			Reason: fmt.Sprintf("it is neither a price of a kWh, such as 0.25EUR, nor the name of a file (.csv, .yaml): %s", strings.TrimPrefix(err.Error(), "power: ")), Err: err}
	}
	return power.Tariff{PerKWh: m}, nil
}

// parsePrice reads what a kWh costs.
func parsePrice(text string) (power.Money, error) {
	price, scale := text, 1.0
	if before, ok := cutUnit(text, "/kWh"); ok {
		price = before
	} else if before, ok := cutUnit(text, "/MWh"); ok {
		price, scale = before, 1e-3
	}
	m, err := power.ParseMoney(price)
	return m.Times(scale), err
}

func cutUnit(text, unit string) (before string, ok bool) {
	if n := len(text) - len(unit); n > 0 && strings.EqualFold(text[n:], unit) {
		return strings.TrimSpace(text[:n]), true
	}
	return text, false
}

// ParseRegion takes the name or code of a region, a carbon intensity, "35" or "35 g/kWh", or
// the name of a file: of carbon intensities by the hour, or YAML with a constant. The series
// is nil unless it is of hours.
func ParseRegion(text string) (power.Region, *power.Series, error) {
	text = strings.TrimSpace(text)
	if looksLikeFile(text) {
		return loadRegion(text)
	}
	number := text
	if before, ok := cutUnit(text, "g/kWh"); ok {
		number = before
	}
	if g, err := strconv.ParseFloat(number, 64); err == nil {
		if !(g >= 0 && g <= 5000) {
			return power.Region{}, nil, &Error{Place: fmt.Sprintf("region %q", text), Reason: "a carbon intensity is between 0 and 5000 g/kWh"}
		}
		return power.Region{Code: "given", Name: "given", Carbon: g, Source: "given"}, nil, nil
	}
	r, err := power.FindRegion(text)
	return r, nil, err
}
