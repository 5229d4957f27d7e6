// Package ui draws on a terminal: a progress bar that lives on one line, tables,
// and numbers the way people read them.
package ui

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Terminal tells whether f shows what is written to it to a person who can see a
// line being rewritten.
func Terminal(f *os.File) bool {
	return os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// Width is the number of columns of the terminal behind f; 80 if it does not say.
func Width(f *os.File) int {
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// Line is a line that is written again and again in place.
type Line struct {
	out  *os.File
	used bool
}

// NewLine is a line at the cursor of a terminal.
func NewLine(out *os.File) *Line { return &Line{out: out} }

// Show replaces the line's text, cut to the terminal's width.
func (l *Line) Show(text string) {
	if max := Width(l.out) - 1; utf8.RuneCountInString(text) > max {
		text = string([]rune(text)[:max])
	}
	fmt.Fprint(l.out, "\r"+text+"\x1b[K")
	l.used = true
}

// Clear removes the line, so that other text can be written there.
func (l *Line) Clear() {
	if l.used {
		fmt.Fprint(l.out, "\r\x1b[K")
		l.used = false
	}
}

// Bar draws a share between 0 and 1 with the given number of columns.
func Bar(share float64, columns int) string {
	halves := int(math.Round(min(max(share, 0), 1) * float64(2*columns)))
	bar := strings.Repeat("━", halves/2)
	if halves%2 == 1 {
		bar += "╸"
	}
	return bar + strings.Repeat("─", columns-utf8.RuneCountInString(bar))
}

// Table writes rows of cells with the columns aligned; the first column is flush
// left, numbers in others as they come.
func Table(w io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+3))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// Count writes a whole number with its thousands apart: 61,706.
func Count[T ~int | ~int64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// Number writes a measurement with four digits that count.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'g', -1, 64)
	case a >= 1000:
		return Count(int64(math.Round(v)))
	case a != 0 && a < 1e-3:
		return strconv.FormatFloat(v, 'e', 2, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

// Percent writes a share of one: 98.51 %.
func Percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 2, 64) + " %" }

// Bytes writes a size in binary units.
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1024, 0
	for v >= 999.5 && unit < len(units)-1 {
		v /= 1024
		unit++
	}
	precision := 1
	if v >= 99.95 {
		precision = 0
	}
	return fmt.Sprintf("%.*f %ciB", precision, v, units[unit])
}

// SI writes a number with a decimal prefix: 40.6 M, to stand before a unit.
func SI(v float64) string {
	const prefixes = " kMGTPE"
	unit := 0
	for math.Abs(v) >= 999.5 && unit < len(prefixes)-1 {
		v /= 1000
		unit++
	}
	precision := 1
	if math.Abs(v) >= 99.95 || unit == 0 {
		precision = 0
	}
	return strings.TrimSuffix(fmt.Sprintf("%.*f %c", precision, v, prefixes[unit]), " ")
}

// Measure writes a quantity with three digits that count and a decimal prefix before its
// unit: 12.3 mJ, 4.56 kJ, 61.2 W.
func Measure(v float64, unit string) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64) + " " + unit
	}
	prefixes := []string{"n", "µ", "m", "", "k", "M", "G", "T", "P"}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 2, 64), "e")
	rounded, _ := strconv.ParseFloat(digits, 64)
	e, _ := strconv.Atoi(exponent)
	step := min(max((e+300)/3-100, -3), len(prefixes)-4)
	e -= 3 * step // of the number to be written
	return strconv.FormatFloat(rounded*math.Pow(10, float64(e)), 'f', max(0, 2-e), 64) + " " + prefixes[step+3] + unit
}

// Energy writes joules, and those of a hundredth of a kilowatt-hour or more as
// kilowatt-hours.
func Energy(joules float64) string {
	if kWh := joules / 3.6e6; math.Abs(kWh) >= 0.01 {
		return strconv.FormatFloat(kWh, 'f', max(0, 3-int(math.Floor(math.Log10(math.Abs(kWh))+1))), 64) + " kWh"
	}
	return Measure(joules, "J")
}

// Duration writes a time as people say it: 850 ms, 7.3 s, 2 min 05 s, 1 h 02 min.
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute-50*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour-500*time.Millisecond:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// Clock writes a time left: 0:42, 12:05, 1:02:05.
func Clock(d time.Duration) string {
	s := int(math.Ceil(d.Seconds()))
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
