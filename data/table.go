package data

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Header says whether the first line of a table names its columns.
type Header int

const (
	DetectHeader Header = iota
	HasHeader
	NoHeader
)

// Scale says what becomes of the numbers of a column before a model sees them.
type Scale string

const (
	Standard Scale = ""      // mean 0 and standard deviation 1
	Range    Scale = "range" // from 0 for the smallest to 1 for the largest
)

// TableOptions say how a table is read and what is to be learnt from it. The
// zero value finds everything out by itself.
type TableOptions struct {
	Header    Header
	Delimiter rune // 0: whichever of comma, semicolon and tab parts the lines most evenly

	Target string   // name of the column to be predicted, or its number from 1; "": the last
	Task   Task     // "": Classification if the target is text or at most 20 different integers
	Text   []string // columns to be taken as text although they hold numbers
	Keep   []string // columns not to be dropped, whatever they look like
	Scale  Scale    // of numeric columns

	Test         string  // a file of its own for testing
	TestFraction float64 // else the part held out for it; 0: a fifth
	Seed         uint64  // of the choice of that part

	// Memory is the size of file, in bytes, above which OpenTable streams it; 0 means
	// 256 MiB. A table in memory takes some times as much as its file.
	Memory int64

	// expect holds the names that the columns should have; it settles whether
	// there is a header.
	expect []string
}

// Table is a CSV or TSV file in memory, its values still text.
type Table struct {
	Name      string   // of the file
	Columns   []string // names; "column 1" and so on if the file does not give them
	Header    bool     // whether the file names its columns
	Delimiter rune
	Notes     []string // what was found out about the file's form

	rows  [][]string
	lines []int  // line of the file on which each row begins
	unit  string // what lines counts, if not lines
}

// NewTable is a table whose values come from elsewhere than a text file: each row has
// the text of a value for each of the columns, "" where there is none. The slices are
// not copied. name is that of the file, for messages, which count rows from 1.
func NewTable(name string, columns []string, rows [][]string) (*Table, error) {
	t := &Table{Name: name, Columns: columns, Header: true, Delimiter: ',', rows: rows, lines: make([]int, len(rows)), unit: "row"}
	if len(rows) == 0 {
		return nil, fmt.Errorf("data: %s has no rows, expected one for each example", name)
	}
	for i, row := range rows {
		if len(row) != len(columns) {
			return nil, fmt.Errorf("data: %s, row %d: %d values, expected %d", name, i+1, len(row), len(columns))
		}
		t.lines[i] = i + 1
	}
	return t, nil
}

// Len is the number of rows, the header not counted.
func (t *Table) Len() int { return len(t.rows) }

// Row is the text of the values of row i. It must not be changed.
func (t *Table) Row(i int) []string { return t.rows[i] }

// ReadTable reads a CSV, TSV or JSONL file, compressed by gzip or not. Values of CSV and
// TSV may be quoted; blank lines are left out. Of JSONL, which is told by the file's
// ending, every key is a column; objects within an object become columns "outer.inner"
// and arrays "name.0", "name.1", and so on.
func ReadTable(path string, opt TableOptions) (*Table, error) {
	t, _, err := readTable(path, opt)
	return t, err
}

func parseTable(name string, content []byte, opt TableOptions) (*Table, error) {
	if IsJSONL(name) {
		return readJSONTable(name, content)
	}
	t := &Table{Name: name, Delimiter: opt.Delimiter}
	content = trimBOM(content)
	if at := bytes.IndexByte(content, 0); at >= 0 || bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("data: %s, byte %d: the file is not plain text; expected a table as CSV in UTF-8: save it in that form", name, max(at, 0))
	}
	if !utf8.Valid(content) {
		// Every byte is a character in Latin-1, so this cannot fail; and text that
		// is UTF-8 by accident is not known.
		runes := make([]rune, len(content))
		for i, b := range content {
			runes[i] = rune(b)
		}
		content = []byte(string(runes))
		t.note("%s is not UTF-8 and was read as Latin-1", name)
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, fmt.Errorf("data: %s is empty, expected a table with a row for each example", name)
	}
	if t.Delimiter == 0 {
		t.Delimiter = detectDelimiter(content, extension(name))
	}
	if err := t.parse(content); err != nil {
		return nil, err
	}
	if err := t.header(opt); err != nil {
		return nil, err
	}
	if len(t.rows) == 0 {
		return nil, fmt.Errorf("data: %s, line 1: there is a header and nothing else; expected at least one row of values", name)
	}
	return t, nil
}

func (t *Table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

func newCSVReader(content io.Reader, delimiter rune) *csv.Reader {
	r := csv.NewReader(content)
	r.Comma = delimiter
	r.FieldsPerRecord = -1
	// Files parted by tabs seldom quote anything, and text has quotes of its own.
	r.LazyQuotes = delimiter == '\t'
	// With tabs this would take empty values away.
	r.TrimLeadingSpace = delimiter != '\t'
	return r
}

// parse fills rows and lines, the header among them.
func (t *Table) parse(content []byte) error {
	r := newCSVReader(bytes.NewReader(content), t.Delimiter)
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var bad *csv.ParseError
		switch {
		case errors.As(err, &bad) && errors.Is(err, csv.ErrQuote):
			return fmt.Errorf("data: %s, line %d: a quoted value that begins in this line does not end as it should; expected a closing quote before %q or the end of the line, and quotes inside a value written twice", t.Name, bad.StartLine, t.Delimiter)
		case errors.As(err, &bad) && errors.Is(err, csv.ErrBareQuote):
			return fmt.Errorf("data: %s, line %d, byte %d: a quote in a value that is not quoted; put the value in quotes and write the quote twice", t.Name, bad.Line, bad.Column)
		case err != nil:
			return fmt.Errorf("data: %s: %w", t.Name, err)
		}
		line, _ := r.FieldPos(0)
		for i, v := range row {
			row[i] = strings.TrimSpace(v)
		}
		if len(row) == 1 && row[0] == "" {
			continue
		}
		if len(t.rows) > 0 && len(row) != len(t.rows[0]) {
			return fmt.Errorf("data: %s, line %d: %d values, expected %d as in line %d; values are parted by %q, and one that contains it must be quoted", t.Name, line, len(row), len(t.rows[0]), t.lines[0], t.Delimiter)
		}
		t.rows = append(t.rows, row)
		t.lines = append(t.lines, line)
	}
}

// header decides whether the first row is one, and names the columns.
func (t *Table) header(opt TableOptions) error {
	if len(t.rows) == 0 {
		return fmt.Errorf("data: %s has no values, expected a table with a row for each example", t.Name)
	}
	first := t.rows[0]
	switch {
	case opt.Header != DetectHeader:
		t.Header = opt.Header == HasHeader
	case opt.expect != nil:
		known := 0
		for _, name := range first {
			if slices.Contains(opt.expect, name) {
				known++
			}
		}
		t.Header = 2*known >= min(len(first), len(opt.expect))
	default:
		t.Header = looksLikeHeader(t.rows)
	}
	taken := map[string]bool{}
	last := map[string]int{} // number given last to a column of that name
	for i := range first {
		name := ""
		if t.Header {
			name = first[i]
		}
		if name == "" {
			name = fmt.Sprintf("column %d", i+1)
		}
		for base := name; taken[name]; name = fmt.Sprintf("%s.%d", base, last[base]) {
			last[base] = max(last[base], 1) + 1
		}
		if t.Header && first[i] != "" && name != first[i] {
			t.note("two columns are called %q; column %d is called %q here", first[i], i+1, name)
		}
		taken[name] = true
		t.Columns = append(t.Columns, name)
	}
	if t.Header {
		t.rows, t.lines = t.rows[1:], t.lines[1:]
	}
	return nil
}

// looksLikeHeader compares the first row with the rest, column by column. A text
// above numbers speaks for a header, a number above numbers against it. Where
// there are no numbers at all, the first row is a header if its values differ
// from each other and none occurs again in its column.
func looksLikeHeader(rows [][]string) bool {
	pro, contra := 0, 0
	for c, head := range rows[0] {
		numbers, others := 0, 0
		for _, row := range rows[1:] {
			if isMissing(row[c]) {
				continue
			}
			if _, ok := parseNumber(row[c]); ok {
				numbers++
			} else {
				others++
			}
		}
		_, isNumber := parseNumber(head)
		switch {
		case isNumber:
			contra++
		case !isMissing(head) && numbers > 0 && numbers >= 9*others:
			pro++
		}
	}
	if pro > 0 || contra > 0 {
		return pro > contra
	}
	seen := map[string]bool{}
	for c, head := range rows[0] {
		if isMissing(head) || seen[head] {
			return false
		}
		seen[head] = true
		for _, row := range rows[1:] {
			if row[c] == head {
				return false
			}
		}
	}
	return true
}

// detectDelimiter finds the character that occurs equally often in most of the
// lines at the file's beginning. Of several the one that makes more columns wins.
func detectDelimiter(content []byte, ext string) rune {
	const sample = 1 << 16
	cut := len(content) > sample
	if cut {
		content = content[:sample]
	}
	candidates := []rune{'\t', ';', ','}
	perLine := map[rune]map[int]int{} // delimiter → count in a line → lines
	for _, d := range candidates {
		perLine[d] = map[int]int{}
	}
	lines := 0
	count := map[rune]int{}
	quoted, blank := false, true
	end := func() {
		if !blank {
			lines++
			for _, d := range candidates {
				perLine[d][count[d]]++
			}
		}
		clear(count)
		blank = true
	}
	for _, b := range content {
		switch {
		case b == '"':
			quoted = !quoted
		case b == '\n' && !quoted:
			end()
			continue
		case !quoted && (b == '\t' || b == ';' || b == ','):
			count[rune(b)]++
		}
		blank = blank && (b == ' ' || b == '\r')
	}
	if !cut || lines == 0 {
		end()
	}
	type score struct{ lines, columns int }
	best, bestScore := ',', score{}
	if strings.EqualFold(ext, ".tsv") || strings.EqualFold(ext, ".tab") {
		best = '\t'
	}
	for _, d := range candidates {
		var s score
		for n, k := range perLine[d] {
			if n > 0 && (k > s.lines || k == s.lines && n > s.columns) {
				s = score{k, n}
			}
		}
		if cmp.Or(cmp.Compare(s.lines, bestScore.lines), cmp.Compare(s.columns, bestScore.columns)) > 0 {
			best, bestScore = d, s
		}
	}
	return best
}

// isMissing tells whether a value stands for none. NaN does not: it is what came
// out of a computation that went wrong, and whoever made the table should know.
func isMissing(s string) bool {
	switch s {
	case "", "?", "NA", "N/A", "n/a", "null", "NULL":
		return true
	}
	return false
}

// parseNumber reads a decimal number, finite or not. It knows less than
// strconv.ParseFloat: no hexadecimal and no underscores, which in a table are
// text.
func parseNumber(s string) (v float64, ok bool) {
	if s == "" {
		return 0, false
	}
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case "inf", "infinity":
		return math.Inf(1), true
	case "nan":
		return math.NaN(), true
	}
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil || errors.Is(err, strconv.ErrRange)
}

// column finds a column by name, else by number from 1 (from the end if
// negative).
func (t *Table) column(name string) (int, error) {
	if i := slices.Index(t.Columns, name); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 {
			n += len(t.Columns) + 1
		}
		if n >= 1 && n <= len(t.Columns) {
			return n - 1, nil
		}
		return 0, fmt.Errorf("data: %s has no column %s; expected a name or a number from 1 to %d", t.Name, name, len(t.Columns))
	}
	if !t.Header {
		return 0, fmt.Errorf("data: %s has no column %q: its first line does not name the columns; expected a number from 1 to %d", t.Name, name, len(t.Columns))
	}
	return 0, fmt.Errorf("data: %s, line 1: there is no column %q; %s", t.Name, name, suggest(name, t.Columns))
}

// at names the place of a value in the file.
func (t *Table) at(row, col int) string {
	return fmt.Sprintf("%s, %s %d, column %q", t.Name, cmp.Or(t.unit, "line"), t.lines[row], t.Columns[col])
}

// suggest names the members of a list that are nearest to a name that is not in
// it.
func suggest(name string, list []string) string {
	near := slices.Clone(list)
	slices.SortStableFunc(near, func(a, b string) int { return distance(name, a) - distance(name, b) })
	if len(near) > 3 {
		near = near[:3]
	}
	quoted := make([]string, len(near))
	for i, s := range near {
		quoted[i] = strconv.Quote(s)
	}
	return "the nearest names are " + strings.Join(quoted, ", ")
}

// distance is the number of insertions, deletions and replacements that make b
// of a, upper and lower case being the same.
func distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i, p := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j, q := range y {
			replace := diagonal
			if p != q {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, diagonal+1, row[j]+1)
		}
	}
	return row[len(y)]
}
