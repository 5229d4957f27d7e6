package top

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// style is how a piece of text stands out. Nothing is told by style alone: it says again
// what the words say.
type style string

// Styles are parameters of the terminal's Select Graphic Rendition (ECMA-48, 8.3.117).
const (
	normal   style = ""
	bold     style = "1"
	dim      style = "2"
	selected style = "7"
	good     style = "32"
	warning  style = "33"
	alarm    style = "31"
)

// paint gives a text a style, on a terminal that shows some.
func (v *view) paint(s style, text string) string {
	if !v.styled || s == normal || text == "" || v.plain && (s == good || s == warning || s == alarm) {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[m"
}

// cell is a field of a table.
type cell struct {
	text  string
	style style
}

// column is one of a table.
type column struct {
	head  string
	right bool // flush right, as numbers are
	rank  int  // of two columns that do not both fit the one with the higher rank goes; 0 stays in any case
	least int  // it may be cut down to so many characters; 0: not at all
	cells []cell

	width int
}

// optional is the rank from which on columns are for windows that have room to spare.
const optional = 7

// fit chooses the columns that a line has room for, and the gap between them. Rather than
// leave out one that is not optional, it puts them closer together.
func fit(all []column, width int) (shown []column, gap int) {
	shown = slices.Clone(all)
	for {
		worst := 0
		for i := range shown {
			if shown[i].rank > shown[worst].rank {
				worst = i
			}
		}
		for gap = 2; gap >= 1; gap-- {
			if squeeze(shown, gap, width) {
				return shown, gap
			}
			if shown[worst].rank >= optional {
				break
			}
		}
		if shown[worst].rank == 0 {
			return shown, 1
		}
		shown = slices.Delete(shown, worst, worst+1)
	}
}

// squeeze sets the widths of columns, and tells whether they fit.
func squeeze(columns []column, gap, width int) bool {
	over := gap*(len(columns)-1) - width
	for i := range columns {
		c := &columns[i]
		c.width = ansi.StringWidth(c.head)
		for _, f := range c.cells {
			c.width = max(c.width, ansi.StringWidth(f.text))
		}
		over += c.width
	}
	for i := range columns {
		if c := &columns[i]; over > 0 && c.least > 0 {
			less := min(over, max(0, c.width-c.least))
			c.width -= less
			over -= less
		}
	}
	return over <= 0
}

// pad makes a text as wide as it is to be.
func pad(text string, width int, right bool) string {
	if ansi.StringWidth(text) > width {
		text = ansi.Truncate(text, width, "…")
	}
	space := strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
	if right {
		return space + text
	}
	return text + space
}

// headline is the line above a table.
func (v *view) headline(columns []column, gap int) string {
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", gap))
		}
		b.WriteString(pad(c.head, c.width, c.right))
	}
	return strings.TrimRight(b.String(), " ")
}

// line is a row of a table. One that is chosen is shown so as a whole.
func (v *view) line(columns []column, gap, row int, chosen bool) string {
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", gap))
		}
		f := c.cells[row]
		text := pad(f.text, c.width, c.right)
		if !chosen {
			text = v.paint(f.style, text)
		}
		b.WriteString(text)
	}
	if chosen {
		return v.paint(selected, pad(b.String(), v.width-2, false))
	}
	return strings.TrimRight(b.String(), " ")
}

// wrap breaks a text between words so that no line is wider than width, unless a word is;
// such a word is broken.
func wrap(text string, width int) (lines []string) {
	for line := range strings.Lines(ansi.Wrap(text, max(width, 8), "")) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}
