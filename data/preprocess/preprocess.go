// Package preprocess has the scalers and encoders that tables want before a model sees
// them: numbers to a common scale, missing values filled in, categories to numbers.
//
// Names, defaults and values are those of scikit-learn's module preprocessing. Each type
// is fitted on rows and then transforms others in the same way; fit it on the rows for
// training only, so that nothing of those for testing gets into it. All that is fitted
// is in exported fields, so that encoding/json keeps it with a model. (What recipes and
// data.OpenTable use is data.Encoder, which does all of this for the columns of a file.)
//
// Rows of numbers are [][]float64, in which NaN is a missing value; rows of categories
// [][]string.
package preprocess

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

// check gives the number of columns.
func check[T any](name string, rows [][]T) (int, error) {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return 0, fmt.Errorf("preprocess: %s has nothing to be fitted on", name)
	}
	return len(rows[0]), same(name, rows, len(rows[0]))
}

// same refuses rows of another length.
func same[T any](name string, rows [][]T, columns int) error {
	for i, r := range rows {
		if len(r) != columns {
			return fmt.Errorf("preprocess: %s: row %d has %d values, expected %d", name, i, len(r), columns)
		}
	}
	return nil
}

// column is a column without its missing values.
func column(rows [][]float64, c int) []float64 {
	var v []float64
	for _, r := range rows {
		if r[c] == r[c] {
			v = append(v, r[c])
		}
	}
	return v
}

// affine maps each column to (x − shift) / scale, or back.
func affine(name string, rows [][]float64, shift, scale []float64, back bool) ([][]float64, error) {
	if err := same(name, rows, len(shift)); err != nil {
		return nil, err
	}
	out := make([][]float64, len(rows))
	for i, r := range rows {
		out[i] = make([]float64, len(r))
		for c, x := range r {
			if back {
				out[i][c] = x*scale[c] + shift[c]
			} else {
				out[i][c] = (x - shift[c]) / scale[c]
			}
		}
	}
	return out, nil
}

// orOne is a scale by which one can divide.
func orOne(scale float64) float64 {
	if scale == 0 || scale != scale {
		return 1
	}
	return scale
}

// StandardScaler moves each column to mean 0 and (population) standard deviation 1; a
// column that does not change is only moved.
type StandardScaler struct {
	Mean  []float64 `json:"mean"`
	Scale []float64 `json:"scale"`
}

// Fit takes means and deviations, missing values left out.
func (s *StandardScaler) Fit(rows [][]float64) error {
	n, err := check("StandardScaler", rows)
	if err != nil {
		return err
	}
	*s = StandardScaler{make([]float64, n), make([]float64, n)}
	for c := range n {
		v := column(rows, c)
		s.Mean[c] = mean(v)
		sum := 0.0
		for _, x := range v {
			sum += (x - s.Mean[c]) * (x - s.Mean[c])
		}
		s.Scale[c] = orOne(math.Sqrt(sum / float64(len(v))))
	}
	return nil
}

// Transform gives the rows scaled.
func (s *StandardScaler) Transform(rows [][]float64) ([][]float64, error) {
	return affine("StandardScaler", rows, s.Mean, s.Scale, false)
}

// InverseTransform undoes Transform.
func (s *StandardScaler) InverseTransform(rows [][]float64) ([][]float64, error) {
	return affine("StandardScaler", rows, s.Mean, s.Scale, true)
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v)) // NaN of nothing
}

// MinMaxScaler maps the smallest value of each column to 0 and the largest to 1; a
// column that does not change becomes 0.
type MinMaxScaler struct {
	Min   []float64 `json:"min"`
	Range []float64 `json:"range"`
}

// Fit takes the smallest and the largest values.
func (s *MinMaxScaler) Fit(rows [][]float64) error {
	n, err := check("MinMaxScaler", rows)
	if err != nil {
		return err
	}
	*s = MinMaxScaler{make([]float64, n), make([]float64, n)}
	for c := range n {
		low, high := math.NaN(), math.NaN()
		if v := column(rows, c); len(v) > 0 {
			low, high = slices.Min(v), slices.Max(v)
		}
		s.Min[c], s.Range[c] = low, orOne(high-low)
	}
	return nil
}

// Transform gives the rows scaled.
func (s *MinMaxScaler) Transform(rows [][]float64) ([][]float64, error) {
	return affine("MinMaxScaler", rows, s.Min, s.Range, false)
}

// InverseTransform undoes Transform.
func (s *MinMaxScaler) InverseTransform(rows [][]float64) ([][]float64, error) {
	return affine("MinMaxScaler", rows, s.Min, s.Range, true)
}

// RobustScaler subtracts the median of each column and divides by the range between
// its quartiles, which a few wild values do not move.
type RobustScaler struct {
	Center []float64 `json:"center"`
	Scale  []float64 `json:"scale"`
}

// Fit takes medians and quartiles.
func (s *RobustScaler) Fit(rows [][]float64) error {
	n, err := check("RobustScaler", rows)
	if err != nil {
		return err
	}
	*s = RobustScaler{make([]float64, n), make([]float64, n)}
	for c := range n {
		v := column(rows, c)
		slices.Sort(v)
		s.Center[c] = quantile(v, 0.5)
		s.Scale[c] = orOne(quantile(v, 0.75) - quantile(v, 0.25))
	}
	return nil
}

// quantile of sorted values, linear between two of them; NaN of nothing.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 == len(v) {
		return v[i]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

// Transform gives the rows scaled.
func (s *RobustScaler) Transform(rows [][]float64) ([][]float64, error) {
	return affine("RobustScaler", rows, s.Center, s.Scale, false)
}

// InverseTransform undoes Transform.
func (s *RobustScaler) InverseTransform(rows [][]float64) ([][]float64, error) {
	return affine("RobustScaler", rows, s.Center, s.Scale, true)
}

// SimpleImputer fills in missing values.
type SimpleImputer struct {
	Strategy string    `json:"strategy"` // mean (also if empty), median, most_frequent (the smallest of equals) or constant
	Constant float64   `json:"constant,omitempty"`
	Values   []float64 `json:"values"` // what each column is filled with
}

// Fit finds what to fill with. A column that is all missing is an error, except for the
// strategy constant.
func (s *SimpleImputer) Fit(rows [][]float64) error {
	n, err := check("SimpleImputer", rows)
	if err != nil {
		return err
	}
	values := make([]float64, n)
	for c := range n {
		v := column(rows, c)
		if len(v) == 0 && s.Strategy != "constant" {
			return fmt.Errorf("preprocess: SimpleImputer: column %d has no values; leave it out, or fill it with a constant", c)
		}
		switch s.Strategy {
		case "", "mean":
			values[c] = mean(v)
		case "median":
			slices.Sort(v)
			values[c] = quantile(v, 0.5)
		case "most_frequent":
			count := map[float64]int{}
			for _, x := range v {
				count[x]++
			}
			values[c] = slices.MinFunc(slices.Collect(maps.Keys(count)), func(a, b float64) int {
				return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
			})
		case "constant":
			values[c] = s.Constant
		default:
			return fmt.Errorf("preprocess: SimpleImputer: unknown strategy %q; there are mean, median, most_frequent and constant", s.Strategy)
		}
	}
	s.Values = values
	return nil
}

// Transform gives the rows without missing values.
func (s *SimpleImputer) Transform(rows [][]float64) ([][]float64, error) {
	if err := same("SimpleImputer", rows, len(s.Values)); err != nil {
		return nil, err
	}
	out := make([][]float64, len(rows))
	for i, r := range rows {
		out[i] = slices.Clone(r)
		for c, x := range r {
			if x != x {
				out[i][c] = s.Values[c]
			}
		}
	}
	return out, nil
}

// categories are the different values of each column, sorted.
func categories(name string, rows [][]string) ([][]string, error) {
	n, err := check(name, rows)
	if err != nil {
		return nil, err
	}
	all := make([][]string, n)
	for c := range n {
		seen := map[string]bool{}
		for _, r := range rows {
			seen[r[c]] = true
		}
		all[c] = slices.Sorted(maps.Keys(seen))
	}
	return all, nil
}

// OrdinalEncoder gives each category of a column its number, in sorted order.
type OrdinalEncoder struct {
	Categories [][]string `json:"categories"`
	// Unknown, if not nil, is the number of a category that was not there when it was
	// fitted; without it that is an error.
	Unknown *float64 `json:"unknown,omitempty"`
}

// Fit finds the categories.
func (e *OrdinalEncoder) Fit(rows [][]string) (err error) {
	e.Categories, err = categories("OrdinalEncoder", rows)
	return err
}

// Transform gives the numbers.
func (e *OrdinalEncoder) Transform(rows [][]string) ([][]float64, error) {
	if err := same("OrdinalEncoder", rows, len(e.Categories)); err != nil {
		return nil, err
	}
	out := make([][]float64, len(rows))
	for i, r := range rows {
		out[i] = make([]float64, len(r))
		for c, v := range r {
			k, ok := slices.BinarySearch(e.Categories[c], v)
			switch {
			case ok:
				out[i][c] = float64(k)
			case e.Unknown != nil:
				out[i][c] = *e.Unknown
			default:
				return nil, unknown("OrdinalEncoder", i, c, v, e.Categories[c])
			}
		}
	}
	return out, nil
}

func unknown(name string, row, column int, v string, known []string) error {
	return fmt.Errorf("preprocess: %s: row %d, column %d: the category %q was not there when it was fitted; known are %q", name, row, column, v, known)
}

// InverseTransform gives the categories back; what is no number of one is "".
func (e *OrdinalEncoder) InverseTransform(rows [][]float64) ([][]string, error) {
	if err := same("OrdinalEncoder", rows, len(e.Categories)); err != nil {
		return nil, err
	}
	out := make([][]string, len(rows))
	for i, r := range rows {
		out[i] = make([]string, len(r))
		for c, v := range r {
			if k := int(v); v == math.Trunc(v) && k >= 0 && k < len(e.Categories[c]) {
				out[i][c] = e.Categories[c][k]
			}
		}
	}
	return out, nil
}

// OneHotEncoder gives each category of each column a number of its own, 1 where it is
// there and 0 elsewhere.
type OneHotEncoder struct {
	Categories    [][]string `json:"categories"`
	IgnoreUnknown bool       `json:"ignore_unknown,omitempty"` // a new category is all zeros, not an error
}

// Fit finds the categories.
func (e *OneHotEncoder) Fit(rows [][]string) (err error) {
	e.Categories, err = categories("OneHotEncoder", rows)
	return err
}

// Width is the number of columns that Transform gives.
func (e *OneHotEncoder) Width() int {
	n := 0
	for _, c := range e.Categories {
		n += len(c)
	}
	return n
}

// Transform gives rows of zeros and ones.
func (e *OneHotEncoder) Transform(rows [][]string) ([][]float64, error) {
	if err := same("OneHotEncoder", rows, len(e.Categories)); err != nil {
		return nil, err
	}
	out := make([][]float64, len(rows))
	for i, r := range rows {
		out[i] = make([]float64, e.Width())
		at := 0
		for c, v := range r {
			k, ok := slices.BinarySearch(e.Categories[c], v)
			if ok {
				out[i][at+k] = 1
			} else if !e.IgnoreUnknown {
				return nil, unknown("OneHotEncoder", i, c, v, e.Categories[c])
			}
			at += len(e.Categories[c])
		}
	}
	return out, nil
}

// FeatureHasher writes any number of named features into a fixed number of columns, by
// the hash of their names (MurmurHash3, whose sign decides whether a feature is added or
// subtracted): nothing is fitted, and nothing has to be known beforehand. Weinberger et
// al., "Feature hashing for large scale multitask learning", 2009.
type FeatureHasher struct {
	Columns int `json:"columns"`
}

// Transform gives a row for each list of features, each of which counts 1.
func (h FeatureHasher) Transform(rows [][]string) ([][]float64, error) {
	if h.Columns < 1 || h.Columns > math.MaxInt32 {
		return nil, fmt.Errorf("preprocess: FeatureHasher with %d columns", h.Columns)
	}
	out := make([][]float64, len(rows))
	for i, r := range rows {
		out[i] = make([]float64, h.Columns)
		for _, feature := range r {
			v := int64(int32(murmur3(feature)))
			if v >= 0 {
				out[i][v%int64(h.Columns)]++
			} else {
				if v == math.MinInt32 { // as scikit-learn does, whose abs has 32 bits
					v = -(math.MaxInt32 - int64(h.Columns-1))
				}
				out[i][-v%int64(h.Columns)]--
			}
		}
	}
	return out, nil
}

// murmur3 is the 32-bit MurmurHash3 with seed 0 (Appleby, public domain).
func murmur3(s string) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	h, n := uint32(0), len(s)
	mix := func(k uint32) uint32 {
		k *= c1
		return (k<<15 | k>>17) * c2
	}
	for ; len(s) >= 4; s = s[4:] {
		h ^= mix(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24)
		h = (h<<13|h>>19)*5 + 0xe6546b64
	}
	k := uint32(0)
	for i := len(s) - 1; i >= 0; i-- {
		k = k<<8 | uint32(s[i])
	}
	if len(s) > 0 {
		h ^= mix(k)
	}
	h ^= uint32(n)
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}
