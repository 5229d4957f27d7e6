// Package nearest finds what was meant by a name that is unknown: the known names that
// take the fewest changes of letters to get to.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

// Names gives at most n of the known names, the most alike first; none if nothing is
// alike. Case is ignored. A name that the given one is the beginning of, or the part
// before the first or after the last '.', '/' or '-' of, counts as one letter off.
func Names(name string, known []string, n int) []string {
	type candidate struct {
		name     string
		distance int
	}
	limit := max(2, len(name)/3)
	name = strings.ToLower(name)
	var all []candidate
	for _, k := range known {
		low := strings.ToLower(k)
		d := Distance(name, low)
		switch last := low[strings.LastIndexAny(low, "./-")+1:]; {
		case name == "":
		case strings.HasPrefix(low, name), last == name:
			d = min(d, 1)
		case last != low: // a typo in such a part is one letter farther
			d = min(d, 1+Distance(name, last), 1+Distance(name, low[:strings.IndexAny(low, "./-")]))
		}
		if d <= limit {
			all = append(all, candidate{k, d})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range all[:min(n, len(all))] {
		names = append(names, c.name)
	}
	return names
}

// Distance is the number of insertions, deletions and replacements of letters that turn
// a into b.
func Distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i, c := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j, d := range y {
			replace := diagonal
			if c != d {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, diagonal+1, row[j]+1)
		}
	}
	return row[len(y)]
}
