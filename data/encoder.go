package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter"
)

// ColumnKind is what an Encoder makes of a column.
type ColumnKind string

const (
	NumericColumn ColumnKind = "numeric" // one input: (value - Mean) / Std
	TextColumn    ColumnKind = "text"    // one input per category, 1 for the one that it is
	TargetColumn  ColumnKind = "target"  // what the model is to predict
	DroppedColumn ColumnKind = "dropped" // no input, for the reason in Why
)

// Column is what an Encoder knows of one column of a table.
type Column struct {
	Name       string     `json:"name"`
	Kind       ColumnKind `json:"kind"`
	Mean       float64    `json:"mean,omitempty"`
	Std        float64    `json:"std,omitempty"`
	Categories []string   `json:"categories,omitempty"` // sorted; "" is a missing value
	Why        string     `json:"why,omitempty"`
}

// Encoder turns the rows of a table into numbers and a model's answer back into
// a value. It is fitted once, on the examples for training, and stored as JSON
// with the model, so that other files are treated in the same way.
type Encoder struct {
	Header    bool     `json:"header"`              // whether columns are known by name
	Delimiter rune     `json:"delimiter,omitempty"` // what parts the values, if that was not detected
	Columns   []Column `json:"columns"`             // in the order of the file it was fitted on
	Task      Task     `json:"task"`
	Classes   []string `json:"classes,omitempty"` // of a Classification, in the order of their numbers
	// Mean and Std of the target of a Regression, which is standardised for
	// training; see Value.
	Mean float64 `json:"mean,omitempty"`
	Std  float64 `json:"std,omitempty"`
}

const (
	maxIntegerClasses = 20   // integers with more different values are a quantity
	nameLike          = 50   // text with more different values may be names
	maxCategories     = 1000 // text with more different values is not one-hot encoded
	minLeakRows       = 10   // fewer rows agree with the target by chance
)

// OpenTable reads a CSV, TSV or JSONL file, see ReadTable, for classification or regression. X is
// float32 [Width of the encoder]; Y is the int64 number of a class, or the
// standardised target as float32 [1]. What is fitted, means, deviations and
// categories, is fitted on the examples for training alone.
//
// A CSV or TSV file that is larger than opt.Memory becomes a Stream, and the encoder is
// fitted on as many of its rows as fit there. All of the file is read to check it and to
// find the classes.
func OpenTable(path string, opt TableOptions) (*Source, error) {
	if large, err := tooLargeForMemory(path, opt); err != nil {
		return nil, err
	} else if large && !IsJSONL(path) {
		return streamTable(path, opt)
	}
	table, content, err := readTable(path, opt)
	if err != nil {
		return nil, err
	}
	return table.source(opt, content, func(enc *Encoder) (*Table, []byte, error) {
		content, err := readContent(opt.Test)
		if err != nil {
			return nil, nil, err
		}
		test, err := enc.parse(opt.Test, content)
		return test, content, err
	})
}

// Source makes examples for classification or regression of a table, as OpenTable does.
// test is a table of its own for testing, or nil; opt.Test is not looked at.
func (t *Table) Source(opt TableOptions, test *Table) (*Source, error) {
	opt.Test = ""
	if test != nil {
		opt.Test = test.Name
	}
	return t.source(opt, t.digest(), func(*Encoder) (*Table, []byte, error) { return test, test.digest(), nil })
}

// digest is that of the values.
func (t *Table) digest() []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", t.Columns)
	for _, row := range t.rows {
		fmt.Fprintf(h, "%q\n", row)
	}
	return h.Sum(nil)
}

func readTable(path string, opt TableOptions) (t *Table, content []byte, err error) {
	if content, err = readContent(path); err != nil {
		return nil, nil, err
	}
	t, err = parseTable(path, content, opt)
	return t, content, err
}

// source makes the examples; of what was read, content, and of what readTest read, it
// takes the digest.
func (t *Table) source(opt TableOptions, content []byte, readTest func(*Encoder) (*Table, []byte, error)) (*Source, error) {
	digest := sha256.New()
	digest.Write(content)
	src := &Source{Notes: t.Notes}
	if opt.TestFraction == 0 {
		opt.TestFraction = 0.2
	}
	var trainRows, testRows []int // nil: all
	var err error
	if opt.Test == "" {
		if trainRows, testRows, err = splitIndex(t.Len(), opt.TestFraction, opt.Seed); err != nil {
			return nil, fmt.Errorf("data: %s: holding out examples for testing: %w", t.Name, err)
		}
	}
	src.note("%s: %s", t.Name, t.form())
	enc, notes, err := fitEncoder(t, trainRows, opt)
	if err != nil {
		return nil, err
	}
	src.Encoder, src.Task, src.Classes = enc, enc.Task, enc.Classes
	src.Notes = append(src.Notes, notes...)
	all, _, err := enc.Encode(t, true)
	if err != nil {
		return nil, err
	}
	src.Train = all
	if opt.Test == "" {
		src.Train, src.Test = subset{all, trainRows}, subset{all, testRows}
		src.note("%d of %d rows are held out for testing, chosen by seed %d", len(testRows), t.Len(), opt.Seed)
	} else {
		test, content, err := readTest(enc)
		if err != nil {
			return nil, err
		}
		digest.Write(content)
		ds, notes, err := enc.Encode(test, true)
		if err != nil {
			return nil, err
		}
		src.Test = ds
		src.Notes = append(src.Notes, slices.Concat(test.Notes, notes)...)
	}
	src.Digest = hex.EncodeToString(digest.Sum(nil))
	return src, nil
}

// form says how the table lies in its file.
func (t *Table) form() string {
	switch {
	case t.unit != "":
		return fmt.Sprintf("%d rows of %d columns", t.Len(), len(t.Columns))
	case IsJSONL(t.Name):
		return fmt.Sprintf("%d objects of %d keys", t.Len(), len(t.Columns))
	case t.Header:
		return fmt.Sprintf("%d rows of %d values, parted by %q, with a header", t.Len(), len(t.Columns), t.Delimiter)
	}
	return fmt.Sprintf("%d rows of %d values, parted by %q, without a header", t.Len(), len(t.Columns), t.Delimiter)
}

// FitEncoder fits an encoder on all rows of a table. The notes say what was
// decided, a sentence each.
func FitEncoder(t *Table, opt TableOptions) (enc *Encoder, notes []string, err error) {
	return fitEncoder(t, nil, opt)
}

// columnFacts is what a look at all values of a column shows.
type columnFacts struct {
	missing, numbers, texts int
	firstText               int // row of the first value that is no number
	infinite                int // row of the first number that is not finite, or -1
	integers                bool
	distinct                map[string]int // value, in the form of key → rows
}

// key is the form of a value by which it is compared: numbers by their value,
// so that 1 and 1.0 are the same class.
func key(s string) string {
	if isMissing(s) {
		return ""
	}
	if v, ok := parseNumber(s); ok {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return s
}

func (t *Table) facts(col int) columnFacts {
	f := columnFacts{infinite: -1, integers: true, distinct: map[string]int{}}
	for i, row := range t.rows {
		v := row[col]
		if isMissing(v) {
			f.missing++
			f.distinct[""]++
			continue
		}
		f.distinct[key(v)]++
		n, ok := parseNumber(v)
		switch {
		case !ok:
			if f.texts == 0 {
				f.firstText = i
			}
			f.texts++
			continue
		case (math.IsInf(n, 0) || math.IsNaN(n)) && f.infinite < 0:
			f.infinite = i
		}
		f.numbers++
		f.integers = f.integers && n == math.Trunc(n)
	}
	return f
}

// values is the number of different values, a missing one not counted.
func (f columnFacts) values() int {
	n := len(f.distinct)
	if f.missing > 0 {
		n--
	}
	return n
}

// numeric decides between numbers and text. A column that is all but numeric is
// taken for numbers with a mistake in it.
func (t *Table) numeric(col int, f columnFacts) (bool, error) {
	switch {
	case f.numbers == 0 || f.texts > 0 && f.numbers < 9*f.texts:
		return false, nil
	case f.texts > 0:
		return false, fmt.Errorf("data: %s: %q is not a number, expected one, as in %d other rows; correct it, write NA if it is missing, or say that the column is text", t.at(f.firstText, col), t.rows[f.firstText][col], f.numbers)
	case f.infinite >= 0:
		return false, fmt.Errorf("data: %s: %s is not a finite number; correct it, or write NA if it is missing", t.at(f.infinite, col), t.rows[f.infinite][col])
	}
	return true, nil
}

// fitter gathers what fitEncoder finds out.
type fitter struct {
	*Encoder
	t      *Table
	rows   []int // for training
	target int
	forced map[int]bool // columns taken as text
	keep   map[int]bool
	scale  Scale
	notes  []string
}

func (f *fitter) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// fitEncoder judges the columns by all rows of the table, but takes means,
// deviations and categories from the given ones alone (nil: all).
func fitEncoder(t *Table, rows []int, opt TableOptions) (*Encoder, []string, error) {
	if rows == nil {
		rows = make([]int, t.Len())
		for i := range rows {
			rows[i] = i
		}
	}
	f := &fitter{Encoder: &Encoder{Header: t.Header, Delimiter: opt.Delimiter}, t: t, rows: rows, target: len(t.Columns) - 1, scale: opt.Scale}
	if len(t.Columns) < 2 {
		return nil, nil, fmt.Errorf("data: %s, line 1: there is one column only, parted by %q; expected at least two, a feature and the target: check which character parts the values", t.Name, t.Delimiter)
	}
	var err error
	if opt.Target != "" {
		if f.target, err = t.column(opt.Target); err != nil {
			return nil, nil, err
		}
	}
	if f.forced, err = t.columnSet(opt.Text); err != nil {
		return nil, nil, err
	}
	if f.keep, err = t.columnSet(opt.Keep); err != nil {
		return nil, nil, err
	}
	targetFacts := t.facts(f.target)
	if err := f.fitTarget(targetFacts, opt.Task); err != nil {
		return nil, nil, err
	}
	var leaks []int
	for c := range t.Columns {
		if c == f.target {
			f.Columns = append(f.Columns, Column{Name: t.Columns[c], Kind: TargetColumn})
			continue
		}
		facts := t.facts(c)
		column, err := f.fitColumn(c, facts)
		if err != nil {
			return nil, nil, err
		}
		if column.Kind != DroppedColumn && !f.keep[c] && f.leaks(c, facts, targetFacts) {
			leaks = append(leaks, c)
		}
		f.Columns = append(f.Columns, column)
	}
	f.dropLeaks(leaks)
	if f.Width() == 0 {
		return nil, nil, fmt.Errorf("data: %s: no column is left to learn from: %s", t.Name, strings.Join(f.notes, "; "))
	}
	return f.Encoder, f.notes, nil
}

func (t *Table) columnSet(names []string) (map[int]bool, error) {
	set := map[int]bool{}
	for _, name := range names {
		i, err := t.column(name)
		if err != nil {
			return nil, err
		}
		set[i] = true
	}
	return set, nil
}

// fitTarget chooses the task and fits what belongs to the target.
func (f *fitter) fitTarget(facts columnFacts, task Task) error {
	t, c := f.t, f.target
	name := t.Columns[c]
	for i, row := range t.rows {
		if isMissing(row[c]) {
			return fmt.Errorf("data: %s: the target is missing (%q); fill it in or remove the row", t.at(i, c), row[c])
		}
	}
	numeric, err := t.numeric(c, facts)
	if f.forced[c] {
		numeric, err = false, nil
	}
	if err != nil {
		return err
	}
	switch task {
	case "":
		f.Task = Regression
		if !numeric || facts.integers && facts.values() <= maxIntegerClasses {
			f.Task = Classification
		}
	case Regression:
		if !numeric {
			return fmt.Errorf("data: %s: %q is not a number, expected one as the target of a regression; choose another target or classification", t.at(facts.firstText, c), t.rows[facts.firstText][c])
		}
		f.Task = task
	case Classification:
		f.Task = task
	default:
		return fmt.Errorf("data: %s: task %q, expected %q or %q for a table", t.Name, task, Classification, Regression)
	}
	switch {
	case facts.values() < 2:
		return fmt.Errorf("data: %s: the target is %q in all %d rows; expected at least two different values to learn from", t.at(0, c), t.rows[0][c], t.Len())
	case f.Task == Classification && !numeric && facts.values() > nameLike && 2*facts.values() > t.Len():
		return fmt.Errorf("data: %s: the target has %d different texts in %d rows, such as %q; expected a few classes: choose another column as the target", t.at(0, c), facts.values(), t.Len(), t.rows[0][c])
	case f.Task == Classification && facts.values() > maxCategories:
		return fmt.Errorf("data: %s: the target has %d different values; expected at most %d classes: choose another target or regression", t.at(0, c), facts.values(), maxCategories)
	case f.Task == Classification:
		for v := range facts.distinct {
			f.Classes = append(f.Classes, v)
		}
		sortNumbersFirst(f.Classes)
		f.note("target %q: classification into %d classes, %s", name, len(f.Classes), strings.Join(shorten(f.Classes, 10), ", "))
		return nil
	}
	f.Mean, f.Std, _, err = f.moments(c, Standard)
	f.note("target %q: regression, mean %.4g, standard deviation %.4g", name, f.Mean, f.Std)
	return err
}

func shorten(list []string, n int) []string {
	if len(list) <= n {
		return list
	}
	return append(slices.Clone(list[:n]), "…")
}

// sortNumbersFirst sorts numbers by value and, after them, texts.
func sortNumbersFirst(list []string) {
	slices.SortFunc(list, func(a, b string) int {
		x, xok := parseNumber(a)
		y, yok := parseNumber(b)
		switch {
		case xok && yok && x != y:
			if x < y {
				return -1
			}
			return 1
		case xok != yok:
			if xok {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
}

// fitColumn decides what becomes of a column that is not the target.
func (f *fitter) fitColumn(c int, facts columnFacts) (Column, error) {
	t := f.t
	col := Column{Name: t.Columns[c], Kind: TextColumn}
	drop := func(why string) (Column, error) {
		f.note("column %q is left out: %s", col.Name, why)
		return Column{Name: col.Name, Kind: DroppedColumn, Why: why}, nil
	}
	if facts.values() == 0 {
		return drop("it has no values")
	}
	numeric, err := t.numeric(c, facts)
	if f.forced[c] {
		numeric, err = false, nil
	}
	if err != nil {
		return col, err
	}
	if numeric {
		var n int
		col.Kind = NumericColumn
		col.Mean, col.Std, n, err = f.moments(c, f.scale)
		if err != nil {
			return col, err
		}
		if n == 0 {
			return drop("it has no values in the rows for training")
		}
		if facts.missing > 0 {
			f.note("column %q: %d missing values are taken as %s, %.4g", col.Name, facts.missing, f.scale.origin(), col.Mean)
		}
		return col, nil
	}
	if !f.keep[c] && facts.values() > nameLike && 2*facts.values() > t.Len() {
		return drop(fmt.Sprintf("%d different texts in %d rows, such as %q, look like names", facts.values(), t.Len(), t.rows[0][c]))
	}
	if facts.values() > maxCategories {
		return drop(fmt.Sprintf("%d different texts are too many categories, the most is %d", facts.values(), maxCategories))
	}
	seen := map[string]bool{}
	for _, i := range f.rows {
		v := category(t.rows[i][c])
		if !seen[v] {
			seen[v] = true
			col.Categories = append(col.Categories, v)
		}
	}
	slices.Sort(col.Categories)
	if facts.missing > 0 {
		f.note("column %q: %d missing values are a category of their own", col.Name, facts.missing)
	}
	return col, nil
}

// category is the form in which a text column's value is kept.
func category(s string) string {
	if isMissing(s) {
		return ""
	}
	return s
}

// origin is the value of a column that becomes 0.
func (s Scale) origin() string {
	if s == Range {
		return "the smallest"
	}
	return "the mean"
}

// moments are what is subtracted from a numeric column and what it is divided by
// then, over the n values that the rows for training have: the mean and the standard
// deviation, or the smallest value and the distance to the largest. A column that
// does not vary is divided by 1: it becomes 0, and stays finite where another file
// differs.
func (f *fitter) moments(c int, scale Scale) (mean, std float64, n int, err error) {
	each := func(visit func(v float64)) {
		for _, i := range f.rows {
			if s := f.t.rows[i][c]; !isMissing(s) {
				v, _ := parseNumber(s)
				visit(v)
			}
		}
	}
	low, high := math.Inf(1), math.Inf(-1)
	each(func(v float64) { mean += v; low, high = min(low, v), max(high, v); n++ })
	if n == 0 {
		return 0, 1, 0, nil
	}
	mean /= float64(n)
	each(func(v float64) { std += (v - mean) * (v - mean) })
	std = math.Sqrt(std / float64(n))
	if scale == Range {
		mean, std = low, high-low
	}
	if math.IsInf(std, 0) || math.IsNaN(std) {
		return 0, 0, n, fmt.Errorf("data: %s, column %q: the numbers are too large, their mean or deviation is not finite; use another unit", f.t.Name, f.t.Columns[c])
	}
	// What is left of equal numbers after rounding is not variation.
	if std <= 1e-12*math.Abs(mean) || std < 1e-150 {
		std = 1
	}
	return mean, std, n, nil
}

// leaks tells whether a column says the same as the target: in a
// classification each of its values stands for one class and the other way
// round (as "yes" and "no" do for 1 and 0), in a regression it is the target. A
// model would learn to read it off and nothing else.
func (f *fitter) leaks(c int, facts, target columnFacts) bool {
	if f.t.Len() < minLeakRows || len(facts.distinct) != len(target.distinct) {
		return false
	}
	// If few rows share a value, the agreement may be chance.
	if f.Task == Classification && f.t.Len() < 3*len(target.distinct) {
		return false
	}
	of, back := map[string]string{}, map[string]string{}
	for _, row := range f.t.rows {
		a, b := key(row[c]), key(row[f.target])
		if f.Task == Regression && a != b {
			return false
		}
		x, seenA := of[a]
		y, seenB := back[b]
		if seenA && x != b || seenB && y != a {
			return false
		}
		of[a], back[b] = b, a
	}
	return true
}

// dropLeaks leaves out the columns that leak, unless no others would be left.
func (f *fitter) dropLeaks(leaks []int) {
	rest := 0
	for c, col := range f.Columns {
		if (col.Kind == NumericColumn || col.Kind == TextColumn) && !slices.Contains(leaks, c) {
			rest++
		}
	}
	for _, c := range leaks {
		name := f.Columns[c].Name
		if rest == 0 {
			f.note("column %q says the same as the target %q, but there is no other to learn from", name, f.t.Columns[f.target])
			continue
		}
		why := fmt.Sprintf("it says the same as the target %q, value for value, and would give the answer away", f.t.Columns[f.target])
		f.Columns[c] = Column{Name: name, Kind: DroppedColumn, Why: why}
		f.note("column %q is left out: %s", name, why)
	}
}

// Width is the number of inputs that a row becomes.
func (e *Encoder) Width() int {
	n := 0
	for _, c := range e.Columns {
		switch c.Kind {
		case NumericColumn:
			n++
		case TextColumn:
			n += len(c.Categories)
		}
	}
	return n
}

// Target is the name of the column that is predicted.
func (e *Encoder) Target() string {
	for _, c := range e.Columns {
		if c.Kind == TargetColumn {
			return c.Name
		}
	}
	return ""
}

// Value turns what a model says in a Regression back into the target's unit.
func (e *Encoder) Value(y float64) float64 { return y*e.Std + e.Mean }

// Read reads another file of the same columns. If withTarget is not set, the
// target may be missing from the file and Y from the dataset. The notes say
// what was filled in.
func (e *Encoder) Read(path string, withTarget bool) (*Table, Dataset, []string, error) {
	content, err := readContent(path)
	if err != nil {
		return nil, nil, nil, err
	}
	return e.read(path, content, withTarget)
}

func (e *Encoder) read(name string, content []byte, withTarget bool) (*Table, Dataset, []string, error) {
	t, err := e.parse(name, content)
	if err != nil {
		return nil, nil, nil, err
	}
	ds, notes, err := e.Encode(t, withTarget)
	return t, ds, slices.Concat(t.Notes, notes), err
}

// parse reads a table that should have the encoder's columns.
func (e *Encoder) parse(name string, content []byte) (*Table, error) {
	opt := TableOptions{Delimiter: e.Delimiter}
	if e.Header {
		for _, c := range e.Columns {
			opt.expect = append(opt.expect, c.Name)
		}
	}
	return parseTable(name, content, opt)
}

// check refuses an encoder that was not fitted, as one from a damaged file.
func (e *Encoder) check() error {
	targets := 0
	finite := func(v float64) bool { return !math.IsInf(v, 0) && !math.IsNaN(v) }
	for _, c := range e.Columns {
		switch c.Kind {
		case NumericColumn:
			if !finite(c.Mean) || !finite(c.Std) || c.Std <= 0 {
				return fmt.Errorf("data: encoder: column %q has mean %v and deviation %v", c.Name, c.Mean, c.Std)
			}
		case TextColumn:
			if !slices.IsSorted(c.Categories) || len(slices.Compact(slices.Clone(c.Categories))) != len(c.Categories) {
				return fmt.Errorf("data: encoder: the categories of column %q are not sorted", c.Name)
			}
		case TargetColumn:
			targets++
		case DroppedColumn:
		default:
			return fmt.Errorf("data: encoder: column %q is of the unknown kind %q", c.Name, c.Kind)
		}
	}
	switch {
	case targets != 1:
		return fmt.Errorf("data: encoder: %d columns are the target, expected one", targets)
	case e.Task == Classification && len(e.Classes) < 2:
		return fmt.Errorf("data: encoder: %d classes, expected at least 2", len(e.Classes))
	case e.Task == Regression && (!finite(e.Mean) || !finite(e.Std) || e.Std <= 0):
		return fmt.Errorf("data: encoder: the target has mean %v and deviation %v", e.Mean, e.Std)
	case e.Task != Classification && e.Task != Regression:
		return fmt.Errorf("data: encoder: task %q, expected %q or %q", e.Task, Classification, Regression)
	}
	return nil
}

// match finds the table's column for each of the encoder's, or -1 where none is
// needed.
func (e *Encoder) match(t *Table, withTarget bool) ([]int, error) {
	index := make([]int, len(e.Columns))
	byName := e.Header && t.Header
	if !byName {
		// Without names the columns can only be counted; the target may be left out.
		hasTarget := len(t.Columns) == len(e.Columns)
		if !hasTarget && (withTarget || len(t.Columns) != len(e.Columns)-1) {
			return nil, fmt.Errorf("data: %s, line %d: %d values, expected %d, those that the model was trained on", t.Name, t.lines[0], len(t.Columns), len(e.Columns))
		}
		at := 0
		for i, c := range e.Columns {
			index[i] = at
			if c.Kind == TargetColumn && !hasTarget {
				index[i] = -1
				continue
			}
			at++
		}
		return index, nil
	}
	for i, c := range e.Columns {
		index[i] = slices.Index(t.Columns, c.Name)
		needed := c.Kind == NumericColumn || c.Kind == TextColumn || c.Kind == TargetColumn && withTarget
		if needed && index[i] < 0 {
			return nil, fmt.Errorf("data: %s, line 1: there is no column %q, which the model was trained on; %s", t.Name, c.Name, suggest(c.Name, t.Columns))
		}
	}
	return index, nil
}

// encoded is a table as numbers. It keeps the number of a category instead of
// the inputs that it becomes.
type encoded struct {
	enc     *Encoder
	fields  []Field
	numbers []float32 // numeric columns of each row, standardised
	texts   []int32   // text columns of each row, -1 for an unknown category
	classes []int64
	values  []float32 // regression targets, standardised
	n       int
}

// Encode turns the rows of a table into a dataset; see Read.
func (e *Encoder) Encode(t *Table, withTarget bool) (Dataset, []string, error) {
	r, err := e.forTable(t, withTarget)
	if err != nil {
		return nil, nil, err
	}
	ds := &encoded{enc: e, n: t.Len(), fields: r.fields}
	filled, unknown := make([]int, len(e.Columns)), make([]int, len(e.Columns))
	for i, row := range t.rows {
		if err := r.add(ds, row, func(col int) string { return t.at(i, col) }, filled, unknown); err != nil {
			return nil, nil, fmt.Errorf("data: %w", err)
		}
	}
	var notes []string
	for i, col := range e.Columns {
		if filled[i] > 0 {
			notes = append(notes, fmt.Sprintf("%s, column %q: %d missing values are taken as %.4g", t.Name, col.Name, filled[i], col.Mean))
		}
		if unknown[i] > 0 {
			notes = append(notes, fmt.Sprintf("%s, column %q: %d values were not there in training and are taken as none of the categories", t.Name, col.Name, unknown[i]))
		}
	}
	return ds, notes, nil
}

// rowEncoder encodes rows of a table with given columns. It does not change.
type rowEncoder struct {
	enc        *Encoder
	fields     []Field
	index      []int // of the encoder's columns in the table, see match
	class      map[string]int64
	withTarget bool
}

func (e *Encoder) forTable(t *Table, withTarget bool) (*rowEncoder, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	index, err := e.match(t, withTarget)
	if err != nil {
		return nil, err
	}
	r := &rowEncoder{enc: e, index: index, class: map[string]int64{}, withTarget: withTarget}
	r.fields = []Field{{Name: "x", DType: sinter.Float32, Shape: []int{e.Width()}}}
	if withTarget && e.Task == Classification {
		r.fields = append(r.fields, Field{Name: "y", DType: sinter.Int64})
	} else if withTarget {
		r.fields = append(r.fields, Field{Name: "y", DType: sinter.Float32, Shape: []int{1}})
	}
	for i, name := range e.Classes {
		r.class[name] = int64(i)
	}
	return r, nil
}

// add appends a row to ds. place names the value of a column of the table. filled and
// unknown count, for each of the encoder's columns, values that were missing, and that
// were not there in training; they may be nil.
func (r *rowEncoder) add(ds *encoded, row []string, place func(col int) string, filled, unknown []int) error {
	for i, col := range r.enc.Columns {
		at := r.index[i]
		if at < 0 {
			continue
		}
		v := row[at]
		switch col.Kind {
		case NumericColumn:
			x := float32(0)
			if !isMissing(v) {
				var err error
				if x, err = standard(v, col.Mean, col.Std); err != nil {
					return fmt.Errorf("%s: %w", place(at), err)
				}
			} else if filled != nil {
				filled[i]++
			}
			ds.numbers = append(ds.numbers, x)
		case TextColumn:
			k, ok := slices.BinarySearch(col.Categories, category(v))
			if !ok {
				k = -1
				if unknown != nil {
					unknown[i]++
				}
			}
			ds.texts = append(ds.texts, int32(k))
		case TargetColumn:
			switch {
			case !r.withTarget:
			case isMissing(v):
				return fmt.Errorf("%s: the target is missing (%q); fill it in or remove the row", place(at), v)
			case r.enc.Task == Classification:
				k, ok := r.class[key(v)]
				if !ok {
					return fmt.Errorf("%s: %q is none of the classes that the model was trained on, %s", place(at), v, strings.Join(shorten(r.enc.Classes, 20), ", "))
				}
				ds.classes = append(ds.classes, k)
			default:
				y, err := standard(v, r.enc.Mean, r.enc.Std)
				if err != nil {
					return fmt.Errorf("%s: %w", place(at), err)
				}
				ds.values = append(ds.values, y)
			}
		}
	}
	return nil
}

// standard reads a number and standardises it.
func standard(text string, mean, std float64) (float32, error) {
	v, ok := parseNumber(text)
	if !ok {
		return 0, fmt.Errorf("%q is not a number, expected one, as in the data that the model was trained on; correct it, or write NA if it is missing", text)
	}
	x := float32((v - mean) / std)
	if math.IsInf(float64(x), 0) || math.IsNaN(float64(x)) {
		return 0, fmt.Errorf("%s is not a finite number near those that the model was trained on; correct it, or write NA if it is missing", text)
	}
	return x, nil
}

func (ds *encoded) Len() int        { return ds.n }
func (ds *encoded) Fields() []Field { return ds.fields }

func (ds *encoded) Read(i int, dst [][]byte) error {
	numbers := ds.numbers[i*(len(ds.numbers)/ds.n):]
	texts := ds.texts[i*(len(ds.texts)/ds.n):]
	x := dst[0]
	clear(x)
	for _, col := range ds.enc.Columns {
		switch col.Kind {
		case NumericColumn:
			binary.LittleEndian.PutUint32(x, math.Float32bits(numbers[0]))
			numbers, x = numbers[1:], x[4:]
		case TextColumn:
			if k := texts[0]; k >= 0 {
				binary.LittleEndian.PutUint32(x[4*k:], math.Float32bits(1))
			}
			texts, x = texts[1:], x[4*len(col.Categories):]
		}
	}
	switch {
	case ds.classes != nil:
		binary.LittleEndian.PutUint64(dst[1], uint64(ds.classes[i]))
	case ds.values != nil:
		binary.LittleEndian.PutUint32(dst[1], math.Float32bits(ds.values[i]))
	}
	return nil
}
