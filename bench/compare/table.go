package main

import (
	"fmt"
	"slices"
	"strings"
)

// table prints Markdown, line by line as they come.
type table struct{ keep []bool }

// column has a title and the sides of which one at least must be there, unless there
// are none; of makes a list of them.
type column struct {
	title string
	sides []string
}

func of(sides ...string) []string { return sides }

// newTable prints the head of a table with those of the columns that something will
// stand in.
func newTable(there func(side string) bool, columns []column) *table {
	t := new(table)
	var head, rule []string
	for _, c := range columns {
		t.keep = append(t.keep, len(c.sides) == 0 || slices.ContainsFunc(c.sides, there))
		head, rule = append(head, c.title), append(rule, "---")
	}
	fmt.Println()
	t.line(head)
	t.line(rule)
	return t
}

// line prints a line, of which it gets all cells, those of columns left out too.
func (t *table) line(cells []string) {
	var b strings.Builder
	for i, c := range cells {
		if t.keep[i] {
			b.WriteString("| " + c + " ")
		}
	}
	fmt.Println(b.String() + "|")
}
