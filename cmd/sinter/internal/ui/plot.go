package ui

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Plot draws a curve with characters of eight dots each: columns wide and rows high,
// with the largest and the smallest value at its left. Each column shows the range of
// the values that fall into it. logarithmic scales the values so; they must then be
// positive. Values that are no numbers are left out; without any there are no lines.
func Plot(x, y []float64, columns, rows int, logarithmic bool) []string {
	scale := func(v float64) float64 { return v }
	if logarithmic {
		scale = math.Log
	}
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	low, high, left, right := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for i, v := range y {
		if finite(v) && finite(x[i]) {
			low, high = min(low, v), max(high, v)
			left, right = min(left, x[i]), max(right, x[i])
		}
	}
	if low > high {
		return nil
	}
	top, bottom := Number(high), Number(low)
	margin := max(utf8.RuneCountInString(top), utf8.RuneCountInString(bottom))
	columns = max(columns-margin-2, 8)
	wide, tall := 2*columns, 4*rows
	at := func(v, low, high float64, n int) int {
		if high <= low {
			return n / 2
		}
		return int(math.Round((v - low) / (high - low) * float64(n-1)))
	}
	// For each column of dots what is covered, from a line to the next value too.
	from, to := make([]int, wide), make([]int, wide)
	for i := range from {
		from[i], to[i] = tall, -1
	}
	cover := func(c, r int) { from[c], to[c] = min(from[c], r), max(to[c], r) }
	lastC, lastR := -1, 0
	for i, v := range y {
		if !finite(v) || !finite(x[i]) {
			lastC = -1
			continue
		}
		c, r := at(x[i], left, right, wide), at(scale(v), scale(low), scale(high), tall)
		cover(c, r)
		if lastC >= 0 {
			for d := lastC + 1; d < c; d++ {
				cover(d, lastR+(r-lastR)*(d-lastC)/(c-lastC))
			}
		}
		lastC, lastR = c, r
	}
	cells := make([][]rune, rows)
	for i := range cells {
		cells[i] = make([]rune, columns)
		for k := range cells[i] {
			cells[i][k] = 0x2800
		}
	}
	dots := [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}
	for c := range wide {
		for r := from[c]; r <= to[c]; r++ {
			row := tall - 1 - r
			cells[row/4][c/2] |= dots[row%4][c%2]
		}
	}
	lines := make([]string, rows)
	for i, row := range cells {
		label := ""
		switch i {
		case 0:
			label = top
		case rows - 1:
			label = bottom
		}
		text := strings.TrimRight(strings.ReplaceAll(string(row), "\u2800", " "), " ")
		lines[i] = strings.Repeat(" ", margin-utf8.RuneCountInString(label)) + label + " ┤" + text
	}
	return lines
}

// Cut shortens a text to so many characters and shows that it did.
func Cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(0, n-1)]) + "…"
}

// Plain takes out of a text what would move the cursor or change the terminal's
// state; names and notes in files may hold such things.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '·'
		}
		return r
	}, s)
}
