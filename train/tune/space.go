package tune

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter"
)

// Param is a setting that a search varies: a key of a recipe with the values it may
// take. Either it has a list of values, or a range.
type Param struct {
	Key     string   `json:"key"`
	Values  []string `json:"values,omitempty"`
	From    float64  `json:"from,omitempty"`
	To      float64  `json:"to,omitempty"`
	Log     bool     `json:"log,omitempty"`     // a range on which factors count: learning rates
	Integer bool     `json:"integer,omitempty"` // a range of whole numbers
}

// ParseParam reads "key=values":
//
//	batch=16,32,64                  one of a list
//	model.dropout=0..0.5            a range of numbers
//	model.layers=2..6               a range of whole numbers, because both ends are
//	optimizer.lr=log:1e-4..1e-1     a range on which factors count
func ParseParam(text string) (Param, error) {
	bad := func(format string, args ...any) (Param, error) {
		return Param{}, fmt.Errorf("%q: %s; a parameter is key=values: a list 16,32,64, a range 0..0.5, or log:1e-4..1e-1", text, fmt.Sprintf(format, args...))
	}
	key, spec, ok := strings.Cut(text, "=")
	p := Param{Key: strings.TrimSpace(key)}
	if !ok || p.Key == "" || strings.TrimSpace(spec) == "" {
		return bad("no key and values")
	}
	spec, p.Log = strings.CutPrefix(strings.TrimSpace(spec), "log:")
	from, to, ranged := strings.Cut(spec, "..")
	if !ranged {
		if p.Log {
			return bad("log: is for a range")
		}
		for v := range strings.SplitSeq(spec, ",") {
			if v = strings.TrimSpace(v); v == "" {
				return bad("an empty value")
			}
			p.Values = append(p.Values, v)
		}
		return p, nil
	}
	var err [2]error
	p.From, err[0] = strconv.ParseFloat(strings.TrimSpace(from), 64)
	p.To, err[1] = strconv.ParseFloat(strings.TrimSpace(to), 64)
	switch {
	case err[0] != nil || err[1] != nil || math.IsInf(p.From, 0) || math.IsInf(p.To, 0):
		return bad("the ends of the range are not numbers")
	case !(p.From < p.To):
		return bad("the range does not go upward")
	case p.Log && p.From <= 0:
		return bad("a range on which factors count begins above zero")
	}
	p.Integer = !strings.ContainsAny(from+to, ".eE") && !p.Log
	return p, nil
}

// Number is the value at the place u, 0 ≤ u < 1, of a range.
func (p Param) Number(u float64) string {
	switch {
	case p.Integer:
		return strconv.FormatInt(int64(p.From+math.Floor(u*(p.To-p.From+1))), 10)
	case p.Log:
		return strconv.FormatFloat(p.From*math.Pow(p.To/p.From, u), 'g', 4, 64)
	}
	return strconv.FormatFloat(p.From+u*(p.To-p.From), 'g', 4, 64)
}

// Setting is a parameter with the value it has in a trial.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// gridPoints is how many values of a range a grid takes.
const gridPoints = 5

// grid is all combinations, the last parameter changing fastest.
func grid(space []Param) [][]Setting {
	all := [][]Setting{nil}
	for _, p := range space {
		values := p.Values
		if values == nil {
			n := gridPoints
			if p.Integer {
				n = min(n, int(p.To-p.From)+1)
			}
			for i := range n {
				u := float64(i) / float64(n-1)
				if p.Integer { // the middles of equal parts, for number rounds down
					u = (float64(i) + 0.5) / float64(n)
				}
				values = append(values, p.Number(u))
			}
		}
		var longer [][]Setting
		for _, settings := range all {
			for _, v := range values {
				longer = append(longer, append(settings[:len(settings):len(settings)], Setting{p.Key, v}))
			}
		}
		all = longer
	}
	return all
}

// sample is the settings of a trial that is drawn at random: of its number and the
// seed alone, so that a search that goes on draws what it would have drawn.
func sample(space []Param, seed uint64, trial int) []Setting {
	g := sinter.NewGenerator(seed*0x9e3779b97f4a7c15 + uint64(trial))
	settings := make([]Setting, len(space))
	for i, p := range space {
		if p.Values != nil {
			settings[i] = Setting{p.Key, p.Values[g.IntN(len(p.Values))]}
			continue
		}
		settings[i] = Setting{p.Key, p.Number(g.Float64())}
	}
	return settings
}
