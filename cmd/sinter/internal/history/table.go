package history

import (
	"math"
	"slices"
	"sort"
	"strconv"
)

// Table is what was measured at a row of moments, in the order of steps. A value that
// was not measured at a moment is NaN.
type Table struct {
	Step, Seconds, Epoch []float64
	Columns              map[string][]float64
}

// Len is the number of moments.
func (t *Table) Len() int { return len(t.Step) }

// Names are the columns, sorted.
func (t *Table) Names() []string {
	names := make([]string, 0, len(t.Columns))
	for name := range t.Columns {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Last is the newest value of a column that is a number, or NaN.
func (t *Table) Last(column string) float64 {
	values := t.Columns[column]
	for i := len(values) - 1; i >= 0; i-- {
		if !math.IsNaN(values[i]) {
			return values[i]
		}
	}
	return math.NaN()
}

// maxColumns bounds what a file full of invented names can make of a table.
const maxColumns = 256

// add appends a moment. One that lies before the last moment tells that the run went
// on from a checkpoint: what was measured after that point belongs to the past that
// was given up.
func (t *Table) add(fields []field) {
	var step, seconds, epoch float64 = math.NaN(), math.NaN(), math.NaN()
	for _, f := range fields {
		switch f.name {
		case "step":
			step = f.value
		case "seconds":
			seconds = f.value
		case "epoch":
			epoch = f.value
		}
	}
	if math.IsNaN(step) {
		return
	}
	if n := len(t.Step); n > 0 && step <= t.Step[n-1] {
		t.cut(sort.SearchFloat64s(t.Step, step))
	}
	t.Step, t.Seconds, t.Epoch = append(t.Step, step), append(t.Seconds, seconds), append(t.Epoch, epoch)
	n := len(t.Step)
	for _, f := range fields {
		switch f.name {
		case "step", "seconds", "epoch":
			continue
		}
		column, ok := t.Columns[f.name]
		if !ok && len(t.Columns) >= maxColumns {
			continue
		}
		for len(column) < n-1 {
			column = append(column, math.NaN())
		}
		if len(column) == n { // the same name twice in a line
			column = column[:n-1]
		}
		if t.Columns == nil {
			t.Columns = map[string][]float64{}
		}
		t.Columns[f.name] = append(column, f.value)
	}
}

// cut leaves the first n moments.
func (t *Table) cut(n int) {
	t.Step, t.Seconds, t.Epoch = t.Step[:n], t.Seconds[:n], t.Epoch[:n]
	for name, column := range t.Columns {
		t.Columns[name] = column[:min(n, len(column))]
	}
}

// Axis is what a curve is drawn over.
type Axis string

// The axes.
const (
	ByStep  Axis = "step"
	ByTime  Axis = "time"  // seconds of training
	ByEpoch Axis = "epoch" // with fractions, where it is known how many steps an epoch has
)

// View says which part of a table is wanted and how closely.
type View struct {
	Axis          Axis
	StepsPerEpoch float64 // for ByEpoch; 0: as the lines say it
	From, To      float64 // limits on the axis; NaN: none
	Buckets       int     // each gives its smallest and its largest value; 0: every point
	Smooth        float64 // weight of the past in the running mean, from 0 to below 1
}

// Curve is a column as it is to be drawn. Y and Smooth are NaN where a measurement was
// not a number.
type Curve struct {
	X, Y   Floats
	Smooth Floats // nil if not asked for
}

// Floats are numbers that become null in JSON where they are not finite.
type Floats []float64

// MarshalJSON writes eight digits, which no picture can show.
func (f Floats) MarshalJSON() ([]byte, error) {
	b := make([]byte, 1, 8*len(f)+2)
	b[0] = '['
	for i, v := range f {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			b = append(b, "null"...)
		case v == math.Trunc(v) && math.Abs(v) < 1e15:
			b = strconv.AppendInt(b, int64(v), 10)
		default:
			b = strconv.AppendFloat(b, v, 'g', 8, 64)
		}
	}
	return append(b, ']'), nil
}

// Curve gives the points of a column that lie in view, and one beyond each limit so
// that lines reach the edge.
//
// Of many points it keeps for each of v.Buckets equal parts of the axis the smallest
// and the largest: drawn at that width, the line covers the same pixels as that of all
// points. The running mean is taken over all points, whatever is kept of them, with
// TensorBoard's correction for its beginning (a mean of what has been seen, not of
// zeros).
func (t *Table) Curve(column string, v View) Curve {
	values := t.Columns[column]
	axis := t.Step
	switch v.Axis {
	case ByTime:
		axis = t.Seconds
	case ByEpoch:
		axis = t.Epoch
	}
	at := func(i int) float64 {
		if v.Axis == ByEpoch && v.StepsPerEpoch > 0 {
			return t.Step[i] / v.StepsPerEpoch
		}
		return axis[i]
	}
	var smooth []float64
	if v.Smooth > 0 {
		smooth = ema(values, v.Smooth)
	}
	first, end := 0, len(values)
	if !math.IsNaN(v.From) {
		first = max(0, sort.Search(end, func(i int) bool { return at(i) >= v.From })-1)
	}
	if !math.IsNaN(v.To) {
		end = min(len(values), sort.Search(end, func(i int) bool { return at(i) > v.To })+1)
	}
	first = min(first, end)
	var c Curve
	keep := func(i int) {
		if !present(at(i)) { // a line without its time
			return
		}
		c.X, c.Y = append(c.X, at(i)), append(c.Y, values[i])
		if smooth != nil {
			c.Smooth = append(c.Smooth, smooth[i])
		}
	}
	present := func(i int) bool { return present(values[i]) }
	if v.Buckets <= 0 || end-first <= 2*v.Buckets {
		for i := first; i < end; i++ {
			keep(i)
		}
		return c
	}
	low, high := at(first), at(end-1)
	width := (high - low) / float64(v.Buckets)
	for i := first; i < end; {
		least, most, gap := -1, -1, -1
		bucket := math.Floor((at(i) - low) / width)
		begin := i
		for ; i < end && (i == begin || math.Floor((at(i)-low)/width) <= bucket); i++ {
			switch {
			case !present(i):
				gap = i
			case least < 0:
				least, most = i, i
			case values[i] < values[least]:
				least = i
			case values[i] > values[most]:
				most = i
			}
		}
		picked := []int{least, most, gap}
		slices.Sort(picked)
		for _, p := range slices.Compact(picked) {
			if p >= 0 {
				keep(p)
			}
		}
	}
	return c
}

func present(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// ema is the exponential running mean, each value with the share 1-weight of what the
// mean of all before it leaves.
func ema(values []float64, weight float64) []float64 {
	out := make([]float64, len(values))
	var mean, seen float64 // seen: the share of the mean that is not the zero it began with
	for i, v := range values {
		if !present(v) {
			out[i] = math.NaN()
			continue
		}
		mean = weight*mean + (1-weight)*v
		seen = weight*seen + (1 - weight)
		out[i] = mean / seen
	}
	return out
}
