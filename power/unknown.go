package power

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// UnknownError is a name that there is not: of a region, a currency, a device.
type UnknownError struct {
	Kind, Name string
	Nearest    []string // the names most like it, the likest first; there may be none
	Hint       string   // what else can be done
}

func (e *UnknownError) Error() string {
	s := fmt.Sprintf("power: unknown %s %q", e.Kind, e.Name)
	if len(e.Nearest) > 0 {
		s += "; the nearest are " + strings.Join(e.Nearest, ", ")
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// nearest is the n names that take the fewest edits to become name, case apart. A name
// that begins with it counts as one edit away. What shares nothing with it is left out.
func nearest(name string, names []string, n int) []string {
	type scored struct {
		name  string
		edits int
	}
	var list []scored
	low := strings.ToLower(name)
	for _, k := range names {
		kl := strings.ToLower(k)
		e := edits(low, kl)
		if low != "" && strings.HasPrefix(kl, low) {
			e = min(e, 1)
		}
		if e < max(len([]rune(low)), len([]rune(kl))) {
			list = append(list, scored{k, e})
		}
	}
	slices.SortFunc(list, func(a, b scored) int { return cmp.Or(a.edits-b.edits, strings.Compare(a.name, b.name)) })
	var out []string
	for _, s := range list[:min(n, len(list))] {
		out = append(out, s.name)
	}
	return out
}

// edits is the number of insertions, deletions and replacements that turn a into b.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i, c := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j, d := range y {
			e := diagonal
			if c != d {
				e++
			}
			diagonal = row[j+1]
			row[j+1] = min(e, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
