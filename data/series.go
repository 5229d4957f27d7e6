package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/sinter-dl/sinter"
)

// SeriesOptions say how a table becomes windows of a time series.
type SeriesOptions struct {
	Target       string  // column to forecast, a name or a number from 1; "": the last numeric one
	Window       int     // rows that a forecast is made from
	Horizon      int     // rows that are forecast; 0: 1
	Season       int     // rows after which a pattern comes again, 12 for months; 0: not known
	TestFraction float64 // of the rows, the last ones; 0: a fifth
}

// SeriesColumn is an input of a Series, with what it was scaled by.
type SeriesColumn struct {
	Name string  `json:"name"`
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"`
}

// Series turns the rows of a table, which are in the order of time, into windows. It is
// fitted on the rows for training and stored as JSON with the model.
//
// An example's X is [Window, len(Columns)]: a column other than the target as (value −
// Mean) / Std; the target as (value − last) / Std, where last is its value in the last
// row of the window. Y is [Horizon], the target of the rows that follow in the same
// way. So a model says by how much the series will move, and a series that grows
// beyond all that was seen in training is no further away from it than another (the
// NLinear of Zeng et al., "Are transformers effective for time series forecasting?",
// 2023).
type Series struct {
	Columns []SeriesColumn `json:"columns"`
	Target  int            `json:"target"` // index in Columns
	Window  int            `json:"window"`
	Horizon int            `json:"horizon"`
	Season  int            `json:"season,omitempty"`
}

// Forecast is the task of a Series: Y is float32 [Horizon].
const Forecast Task = "forecast"

// OpenSeries reads a table, as ReadTable does, as a time series: see [Table.Series].
func OpenSeries(path string, opt SeriesOptions) (*Source, error) {
	table, content, err := readTable(path, TableOptions{})
	if err != nil {
		return nil, err
	}
	return table.series(opt, content)
}

// Series makes windows of a table whose rows are in the order of time. Columns that are
// not numbers, such as dates, are left out. The last rows are for testing: their windows
// may begin in the rows for training, but nothing that is forecast in training lies among
// them, and scales are fitted without them.
func (t *Table) Series(opt SeriesOptions) (*Source, error) { return t.series(opt, t.digest()) }

func (t *Table) series(opt SeriesOptions, content []byte) (*Source, error) {
	if opt.Horizon == 0 {
		opt.Horizon = 1
	}
	if opt.TestFraction == 0 {
		opt.TestFraction = 0.2
	}
	if opt.Window < 1 || opt.Horizon < 1 || opt.Season < 0 || !(opt.TestFraction > 0 && opt.TestFraction < 1) {
		return nil, fmt.Errorf("data: a series with window %d, horizon %d, season %d and the share %g for testing; expected a window of at least 1 and a share between 0 and 1", opt.Window, opt.Horizon, opt.Season, opt.TestFraction)
	}
	path := t.Name
	var err error
	src := &Source{Task: Forecast, Notes: t.Notes}
	s := &Series{Window: opt.Window, Horizon: opt.Horizon, Season: opt.Season}
	wanted := -1
	if opt.Target != "" {
		if wanted, err = t.column(opt.Target); err != nil {
			return nil, err
		}
	}
	var left []string
	s.Target = -1
	for c, name := range t.Columns {
		facts := t.facts(c)
		numeric, err := t.numeric(c, facts)
		if err != nil {
			return nil, err
		}
		if !numeric {
			if c == wanted {
				return nil, fmt.Errorf("data: %s: %q is not a number, expected one as the value to forecast; choose another target", t.at(0, c), t.rows[0][c])
			}
			left = append(left, name)
			continue
		}
		if c == wanted || wanted < 0 {
			s.Target = len(s.Columns)
		}
		s.Columns = append(s.Columns, SeriesColumn{Name: name})
	}
	if s.Target < 0 {
		return nil, fmt.Errorf("data: %s has no column of numbers, expected one to forecast", path)
	}
	values, err := s.values(t)
	if err != nil {
		return nil, err
	}
	n := t.Len()
	test := int(math.Ceil(opt.TestFraction * float64(n)))
	cut := n - test
	if cut < s.Window+s.Horizon || test < s.Horizon {
		return nil, fmt.Errorf("data: %s has %d rows, %d to train on and %d for testing; expected at least %d and %d: a window of %d and what is forecast, %d; take a longer series or a smaller window", path, n, cut, test, s.Window+s.Horizon, s.Horizon, s.Window, s.Horizon)
	}
	for c := range s.Columns {
		s.Columns[c].fit(values[c][:cut])
	}
	sum := sha256.Sum256(content)
	src.Digest = hex.EncodeToString(sum[:])
	src.Series = s
	src.Train = newWindows(s, values, 0, cut)
	src.Test = newWindows(s, values, cut-s.Window, n)
	src.note("%s: %d rows in the order of time; %q is forecast %d ahead from %d rows; the last %d are for testing", path, n, s.Columns[s.Target].Name, s.Horizon, s.Window, test)
	if len(left) > 0 {
		src.note("not numbers and left out: %s", strings.Join(left, ", "))
	}
	return src, nil
}

// fit takes mean and standard deviation; a column that does not change gets 1.
func (c *SeriesColumn) fit(values []float64) {
	n := float64(len(values))
	for _, v := range values {
		c.Mean += v / n
	}
	for _, v := range values {
		c.Std += (v - c.Mean) * (v - c.Mean) / n
	}
	if c.Std = math.Sqrt(c.Std); c.Std == 0 {
		c.Std = 1
	}
}

// values are the columns of the series in a table.
func (s *Series) values(t *Table) ([][]float64, error) {
	all := make([][]float64, len(s.Columns))
	for k, column := range s.Columns {
		c, err := t.column(column.Name)
		if err != nil {
			return nil, err
		}
		all[k] = make([]float64, t.Len())
		for i, row := range t.rows {
			v, ok := parseNumber(row[c])
			if !ok || v-v != 0 {
				return nil, fmt.Errorf("data: %s: %q is not a finite number; a series has no gaps: fill it in or remove the rows before it", t.at(i, c), row[c])
			}
			all[k][i] = v
		}
	}
	return all, nil
}

// Read reads another file: see Windows.
func (s *Series) Read(path string) (windows Dataset, last *LastWindow, err error) {
	names := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		names[i] = c.Name
	}
	table, err := ReadTable(path, TableOptions{expect: names})
	if err != nil {
		return nil, nil, err
	}
	return s.Windows(table)
}

// LastWindow is the end of a series, from which one can forecast what is not known yet.
type LastWindow struct {
	X     []float32 // the window, [Window, columns]
	Value float64   // of the target in its last row
}

// Windows are all windows of another table with the columns of the series (nil if it is
// too short for one and what is forecast), and the last window of all.
func (s *Series) Windows(t *Table) (all Dataset, last *LastWindow, err error) {
	values, err := s.values(t)
	if err != nil {
		return nil, nil, err
	}
	n := t.Len()
	if n < s.Window {
		return nil, nil, fmt.Errorf("data: %s has %d rows, expected at least %d, the window of a forecast", t.Name, n, s.Window)
	}
	last = &LastWindow{make([]float32, s.Window*len(s.Columns)), values[s.Target][n-1]}
	s.window(values, n-s.Window, last.X)
	if n >= s.Window+s.Horizon {
		all = newWindows(s, values, 0, n)
	}
	return all, last, nil
}

// Std is what a model's answer of 1 is in the target's unit.
func (s *Series) Std() float64 { return s.Columns[s.Target].Std }

// Check refuses what OpenSeries would not have made.
func (s *Series) Check() error {
	if s.Window < 1 || s.Horizon < 1 || s.Target < 0 || s.Target >= len(s.Columns) || !(s.Std() > 0) {
		return fmt.Errorf("data: a series of %d columns with target %d, window %d and horizon %d", len(s.Columns), s.Target, s.Window, s.Horizon)
	}
	return nil
}

// window writes the window that begins at a row.
func (s *Series) window(values [][]float64, start int, x []float32) {
	columns := len(s.Columns)
	for k, c := range s.Columns {
		from := c.Mean
		if k == s.Target {
			from = values[k][start+s.Window-1]
		}
		for i := range s.Window {
			x[i*columns+k] = float32((values[k][start+i] - from) / c.Std)
		}
	}
}

// windows are the windows of a series from one row to another.
type windows struct {
	*Series
	values   [][]float64
	from, to int
	fields   []Field
}

func newWindows(s *Series, values [][]float64, from, to int) windows {
	return windows{s, values, from, to, []Field{
		{Name: "x", DType: sinter.Float32, Shape: []int{s.Window, len(s.Columns)}},
		{Name: "y", DType: sinter.Float32, Shape: []int{s.Horizon}},
	}}
}

func (w windows) Len() int        { return w.to - w.from - w.Window - w.Horizon + 1 }
func (w windows) Fields() []Field { return w.fields }

func (w windows) Read(i int, dst [][]byte) error {
	x := make([]float32, w.Window*len(w.Columns))
	w.window(w.values, w.from+i, x)
	for k, v := range x {
		binary.LittleEndian.PutUint32(dst[0][4*k:], math.Float32bits(v))
	}
	after := w.from + i + w.Window
	target := w.values[w.Target]
	for k := range w.Horizon {
		v := (target[after+k] - target[after-1]) / w.Std()
		binary.LittleEndian.PutUint32(dst[1][4*k:], math.Float32bits(float32(v)))
	}
	return nil
}

// Baselines are the mean absolute errors, in the target's unit, of forecasts that need
// no model: mae_last_value says that nothing will change, mae_seasonal_naive that all
// will be as one season before (where the season is known, and lies within the
// series).
func (w windows) Baselines() map[string]float64 {
	target := w.values[w.Target]
	var last, seasonal float64
	counted := 0
	for i := range w.Len() {
		after := w.from + i + w.Window
		for k := range w.Horizon {
			last += math.Abs(target[after+k] - target[after-1])
			if back := w.before(k); back > 0 && after+k-back >= 0 {
				seasonal += math.Abs(target[after+k] - target[after+k-back])
				counted++
			}
		}
	}
	all := w.Len() * w.Horizon
	m := map[string]float64{"mae_last_value": last / float64(all)}
	if counted == all {
		m["mae_seasonal_naive"] = seasonal / float64(all)
	}
	return m
}

// before is how many rows, whole seasons, row k of a forecast lies after the newest one
// of its kind that is known then; 0 without a season.
func (s *Series) before(k int) int {
	if s.Season == 0 {
		return 0
	}
	return s.Season * (k/s.Season + 1)
}
