package data

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

func parse(t testing.TB, text string, opt TableOptions) *Table {
	t.Helper()
	table, err := parseTable("t.csv", []byte(text), opt)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTableForm(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		columns string
		rows    int
		second  string // value of the last column in the last row
	}{
		"header":             {"a,b\n1,2\n3,4\n", "[a b]", 2, "4"},
		"no header":          {"1,2\n3,4\n", "[column 1 column 2]", 2, "4"},
		"no newline at end":  {"a,b\n1,2", "[a b]", 1, "2"},
		"windows":            {"\xef\xbb\xbfa,b\r\n1,2\r\n", "[a b]", 1, "2"},
		"tabs":               {"a\tb\n1\t\n3\t4, 5\n", "[a b]", 2, "4, 5"},
		"empty at the front": {"a\tb\n\t2\n\t4\n", "[a b]", 2, "4"},
		"semicolons":         {"a;b\n1,5;2\n3;4\n", "[a b]", 2, "4"},
		"quotes":             {"a,\"b, \"\"c\"\"\"\n1,2\n3,\"x\ny\"\n", `[a b, "c"]`, 2, "x\ny"},
		"spaces":             {"a, b\n1, 2\n3, \"4, 5\"\n", "[a b]", 2, "4, 5"},
		"blank lines":        {"a,b\n\n1,2\n   \n3,4\n\n", "[a b]", 2, "4"},
		"text with header":   {"size,animal\nbig,dog\nsmall,cat\n", "[size animal]", 2, "cat"},
		"text without":       {"big,dog\nbig,cat\n", "[column 1 column 2]", 2, "cat"},
		"sentences":          {"a fine, long film\t1\nno good\t0\n", "[column 1 column 2]", 2, "0"},
		"missing in first":   {"?,2\n3,4\n", "[column 1 column 2]", 2, "4"},
		"unnamed":            {",b,b\n1,2,3\n", "[column 1 b b.2]", 1, "3"},
		"latin 1":            {"caf\xe9,b\n1,2\n", "[café b]", 1, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			table := parse(t, c.text, TableOptions{})
			last := table.Row(table.Len() - 1)
			if fmt.Sprint(table.Columns) != c.columns || table.Len() != c.rows || last[len(last)-1] != c.second {
				t.Errorf("columns %v, %d rows, last value %q", table.Columns, table.Len(), last[len(last)-1])
			}
		})
	}
	if table := parse(t, "a,b\n1,2\n", TableOptions{Header: NoHeader}); table.Len() != 2 {
		t.Error("NoHeader is not obeyed")
	}
	if table := parse(t, "1,2\n3,4\n", TableOptions{Header: HasHeader}); table.Len() != 1 || table.Columns[1] != "2" {
		t.Error("HasHeader is not obeyed")
	}
	if table := parse(t, "a|b\n1|2\n", TableOptions{Delimiter: '|'}); table.Len() != 1 || len(table.Columns) != 2 {
		t.Error("Delimiter is not obeyed")
	}
}

// rows makes a table of n rows of the usual values, # being 0 and 1 by turns, and
// another row in the given line.
func rows(header, usual string, n int, line int, other string) string {
	lines := []string{header}
	for i := range n {
		lines = append(lines, strings.ReplaceAll(usual, "#", fmt.Sprint(i%2)))
	}
	if line > 0 {
		lines[line-1] = other
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestTableErrors(t *testing.T) {
	names := strings.Builder{}
	names.WriteString("x,name\n")
	for i := range 60 {
		fmt.Fprintf(&names, "%d,car number %d\n", i, i)
	}
	for name, c := range map[string]struct {
		text string
		opt  TableOptions
		want []string
	}{
		"empty":            {"", TableOptions{}, []string{"is empty"}},
		"blank":            {" \n\n", TableOptions{}, []string{"is empty"}},
		"header only":      {"a,b\n", TableOptions{Header: HasHeader}, []string{"line 1", "header and nothing else"}},
		"binary":           {"PK\x03\x04\x00\x00", TableOptions{}, []string{"byte 4", "not plain text"}},
		"utf-16":           {"\xff\xfea\x00", TableOptions{}, []string{"not plain text", "UTF-8"}},
		"ragged":           {"a,b\n1,2\n3\n", TableOptions{}, []string{"line 3", "1 values, expected 2"}},
		"ragged long":      {"a,b\n\n\"1\n1\",2\n3,4,5\n", TableOptions{}, []string{"line 5", "3 values, expected 2 as in line 1"}},
		"open quote":       {"a,b\n1,\"2\n3,4\n", TableOptions{}, []string{"line 2", "closing quote"}},
		"bare quote":       {"a,b\n1,2\"\n3,4\n", TableOptions{}, []string{"line 2", "quote"}},
		"one column":       {"a\n1\n2\n", TableOptions{}, []string{"one column only"}},
		"no target":        {"length,width\n1,2\n2,3\n", TableOptions{Target: "lenght"}, []string{"line 1", `no column "lenght"`, `"length", "width"`}},
		"target number":    {"a,b\n1,2\n2,3\n", TableOptions{Target: "3"}, []string{"no column 3", "from 1 to 2"}},
		"target 0":         {"1,2\n2,3\n", TableOptions{Target: "0"}, []string{"no column 0"}},
		"target unnamed":   {"1,2\n2,3\n", TableOptions{Target: "b"}, []string{"does not name the columns"}},
		"text option":      {"a,b\n1,2\n2,3\n", TableOptions{Text: []string{"c"}}, []string{`no column "c"`}},
		"task":             {"a,b\n1,2\n2,3\n", TableOptions{Task: Language}, []string{`task "language"`}},
		"target NaN":       {rows("a,b", "#.5,#", 20, 7, "1,NaN"), TableOptions{}, []string{"line 7", `column "b"`, "NaN is not a finite number"}},
		"NaN":              {rows("a,b", "#.5,#", 20, 9, "nan,1"), TableOptions{}, []string{"line 9", `column "a"`, "nan is not a finite number", "write NA"}},
		"target empty":     {rows("a,b", "#.5,#", 20, 7, "1,"), TableOptions{}, []string{"line 7", "target is missing"}},
		"target text":      {rows("a,b", "#.5,#.5", 20, 7, "1,two"), TableOptions{}, []string{"line 7", `column "b"`, `"two" is not a number`}},
		"target Inf":       {rows("a,b", "#.5,#.5", 20, 7, "1,-Inf"), TableOptions{}, []string{"line 7", "not a finite number"}},
		"target one value": {rows("a,b", "#.5,1", 20, 0, ""), TableOptions{}, []string{`column "b"`, `"1" in all 20 rows`}},
		"target names":     {names.String(), TableOptions{}, []string{`column "name"`, "60 different texts", "another column"}},
		"regression text":  {rows("a,b", "#.5,v#", 20, 0, ""), TableOptions{Task: Regression}, []string{"line 2", `"v0" is not a number`}},
		"text in numbers":  {rows("a,b", "#.5,#", 20, 9, "l.5,1"), TableOptions{}, []string{"line 9", `column "a"`, `"l.5" is not a number`, "write NA"}},
		"infinite":         {rows("a,b", "#.5,#", 20, 9, "Inf,1"), TableOptions{}, []string{"line 9", `column "a"`, "Inf is not a finite number"}},
		"too large":        {rows("a,b", "#.5,#", 20, 9, "1e999,1"), TableOptions{}, []string{"line 9", "1e999 is not a finite number"}},
		"overflow":         {rows("a,b", "#e308,#", 20, 0, ""), TableOptions{}, []string{`column "a"`, "too large"}},
		"nothing left":     {"id,b\n" + strings.SplitN(strings.ReplaceAll(names.String(), ",car number", "x,"), "\n", 2)[1], TableOptions{Target: "2"}, []string{"no column is left", "look like names"}},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := parseTable("dir/t.csv", []byte(c.text), c.opt)
			if err == nil {
				_, _, err = FitEncoder(table, c.opt)
			}
			wantError(t, err, append(c.want, "dir/t.csv")...)
		})
	}
}

// With Range the numbers go from 0 to 1, and a missing one is the smallest.
func TestEncodeRange(t *testing.T) {
	opt := TableOptions{Scale: Range}
	table := parse(t, "size,class\n2,b\n10,a\n?,b\n4,a\n", opt)
	enc, notes, err := FitEncoder(table, opt)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "taken as the smallest, 2") {
		t.Errorf("notes %q", all)
	}
	ds, _, err := enc.Encode(table, true)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{0, 1, 0, 0.25} {
		if got := example(t, ds, i)[0]; len(got) != 1 || got[0] != float64(want) {
			t.Errorf("row %d became %v, want %v", i, got, want)
		}
	}
}

func TestEncode(t *testing.T) {
	table := parse(t, `size,colour,class
1,red,b
3,,a
?,red,b
5,blue,10
3,red,9
`, TableOptions{})
	enc, notes, err := FitEncoder(table, TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if enc.Task != Classification || fmt.Sprint(enc.Classes) != "[9 10 a b]" || enc.Width() != 4 || enc.Target() != "class" {
		t.Errorf("%+v", enc)
	}
	all := strings.Join(notes, "\n")
	for _, want := range []string{`"size": 1 missing values are taken as the mean, 3`, `"colour": 1 missing values are a category`, "4 classes, 9, 10, a, b"} {
		if !strings.Contains(all, want) {
			t.Errorf("the notes do not say %q:\n%s", want, all)
		}
	}
	ds, _, err := enc.Encode(table, true)
	if err != nil {
		t.Fatal(err)
	}
	// Mean 3 and deviation √2 of 1, 3, 5, 3; then the categories "", blue, red.
	s := math.Sqrt2
	for i, want := range [][]float64{{-s, 0, 0, 1, 3}, {0, 1, 0, 0, 2}, {0, 0, 0, 1, 3}, {s, 0, 1, 0, 1}, {0, 0, 0, 1, 0}} {
		got := slices.Concat(example(t, ds, i)...)
		if !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }) {
			t.Errorf("row %d is %v, want %v", i, got, want)
		}
	}

	// As it comes back from a run's folder, with a file of other columns.
	b, err := json.Marshal(enc)
	if err != nil {
		t.Fatal(err)
	}
	var again Encoder
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	table, ds, notes, err = again.read("new.tsv", []byte("extra\tcolour\tsize\nx\tgreen\t5\ny\tblue\t\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	if got := example(t, ds, 0); len(got) != 1 || fmt.Sprint(got[0][1:]) != "[0 0 0]" || math.Abs(got[0][0]-s) > 1e-6 || table.Len() != 2 {
		t.Errorf("the new row is %v", got)
	}
	all = strings.Join(notes, "\n")
	if !strings.Contains(all, `"size": 1 missing`) || !strings.Contains(all, `"colour": 1 values were not there`) {
		t.Errorf("notes %s", all)
	}
	for name, c := range map[string]struct {
		text   string
		target bool
		want   []string
	}{
		"text in a number": {"size,colour\n1,red\nbig,red\n", false, []string{"new.csv", "line 3", `column "size"`, `"big" is not a number`}},
		"infinite":         {"size,colour\n1,red\ninf,red\n", false, []string{"new.csv", "line 3", "inf is not a finite"}},
		"far too large":    {"size,colour\n1,red\n1e300,red\n", false, []string{"new.csv", "line 3", "1e300"}},
		"no column":        {"sise,colour\n1,red\n", false, []string{"new.csv", "line 1", `"size"`, `nearest names are "sise"`}},
		"no target":        {"size,colour\n1,red\n", true, []string{"new.csv", "line 1", `"class"`}},
		"unknown class":    {"size,colour,class\n1,red,c\n", true, []string{"new.csv", "line 2", `"c" is none of the classes`, "9, 10, a, b"}},
		"missing class":    {"size,colour,class\n1,red,?\n", true, []string{"new.csv", "line 2", "target is missing"}},
		"by position":      {"1\n2\n", false, []string{"new.csv", "1 values, expected 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := again.read("new.csv", []byte(c.text), c.target)
			wantError(t, err, c.want...)
		})
	}
	// Rows without a header are taken by their order, with and without a target.
	for _, text := range []string{"5,red\n", "5,red,a\n"} {
		if _, ds, _, err := again.read("new.csv", []byte(text), false); err != nil || ds.Len() != 1 {
			t.Errorf("%q: %v", text, err)
		}
	}
	piped, _, err := FitEncoder(parse(t, "a|y\n1|0\n2|1\n", TableOptions{Delimiter: '|'}), TableOptions{Delimiter: '|'})
	if err != nil {
		t.Fatal(err)
	}
	if _, ds, _, err := piped.read("new.csv", []byte("a|y\n3|1\n"), true); err != nil || ds.Len() != 1 {
		t.Errorf("a delimiter that is not detected: %v", err)
	}
	for name, damage := range map[string]func(e *Encoder){
		"deviation":  func(e *Encoder) { e.Columns[0].Std = 0 },
		"mean":       func(e *Encoder) { e.Columns[0].Mean = math.NaN() },
		"categories": func(e *Encoder) { e.Columns[1].Categories = []string{"b", "a"} },
		"twice":      func(e *Encoder) { e.Columns[1].Categories = []string{"a", "a"} },
		"kind":       func(e *Encoder) { e.Columns[1].Kind = "colour" },
		"targets":    func(e *Encoder) { e.Columns[2].Kind = DroppedColumn },
		"task":       func(e *Encoder) { e.Task = "" },
		"classes":    func(e *Encoder) { e.Classes = nil },
	} {
		broken := again
		broken.Columns = slices.Clone(again.Columns)
		damage(&broken)
		if _, _, err := broken.Encode(table, false); err == nil || !strings.Contains(err.Error(), "encoder") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChoices(t *testing.T) {
	// y of the regression is 3, 5, 7, …: a is y in other units and stays, b is y.
	var reg, leak, single strings.Builder
	reg.WriteString("a,b,c,y\n")
	leak.WriteString("a,answer,code,y\n")
	single.WriteString("a,y\n")
	for i := range 40 {
		fmt.Fprintf(&reg, "%d,%d,%d,%d.0\n", i, 2*i+3, i%3, 2*i+3)
		fmt.Fprintf(&leak, "%d,%s,%d,%d\n", i%7, []string{"no", "yes"}[i%2], 10-i%2, i%2)
		fmt.Fprintf(&single, "%d,%d\n", i%2, i%2)
	}
	kinds := func(text string, opt TableOptions) (string, *Encoder, string) {
		enc, notes, err := FitEncoder(parse(t, text, opt), opt)
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, c := range enc.Columns {
			s += string(c.Kind[0])
		}
		return s, enc, strings.Join(notes, "\n")
	}
	k, enc, notes := kinds(reg.String(), TableOptions{})
	if k != "ndnt" || enc.Task != Regression || !strings.Contains(notes, `"b" is left out`) {
		t.Errorf("%s: %s", k, notes)
	}
	if math.Abs(enc.Mean-42) > 1e-9 || math.Abs(enc.Value(1)-enc.Value(0)-enc.Std) > 1e-9 {
		t.Errorf("target mean %v, deviation %v", enc.Mean, enc.Std)
	}
	k, enc, _ = kinds(reg.String(), TableOptions{Target: "c"})
	if k != "nntn" || enc.Task != Classification || fmt.Sprint(enc.Classes) != "[0 1 2]" {
		t.Errorf("%s: %v %v", k, enc.Task, enc.Classes)
	}
	if _, enc, _ = kinds(reg.String(), TableOptions{Target: "3", Task: Regression}); enc.Task != Regression {
		t.Errorf("%v", enc.Task)
	}
	if k, _, _ = kinds(reg.String(), TableOptions{Keep: []string{"b"}, Text: []string{"c"}}); k != "nntt" {
		t.Errorf("kept and text: %s", k)
	}
	if k, _, notes = kinds(leak.String(), TableOptions{}); k != "nddt" || !strings.Contains(notes, `"answer" is left out: it says the same as the target "y"`) {
		t.Errorf("%s: %s", k, notes)
	}
	if k, _, notes = kinds(single.String(), TableOptions{}); k != "nt" || !strings.Contains(notes, "no other to learn from") {
		t.Errorf("%s: %s", k, notes)
	}
	// In a few rows agreement with the target means nothing.
	if k, _, _ = kinds("a,b,y\n1,2,0\n3,4,1\n", TableOptions{}); k != "nnt" {
		t.Errorf("tiny: %s", k)
	}
	// A column without variation stays, and stays finite.
	ds, _, err := mustFit(t, "a,b,y\n0.1,1,0\n0.1,2,1\n0.1,3,1\n").Encode(parse(t, "a,b,y\n0.3,2,0\n", TableOptions{}), true)
	if err != nil {
		t.Fatal(err)
	}
	if got := example(t, ds, 0)[0]; math.Abs(got[0]-0.2) > 1e-6 || got[1] != 0 {
		t.Errorf("row %v", got)
	}
}

func mustFit(t *testing.T, text string) *Encoder {
	enc, _, err := FitEncoder(parse(t, text, TableOptions{}), TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

// What is fitted must not know the held-out rows.
func TestFitOnTrainingPart(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "t.csv"), []byte(rows("a,b,y", "#.5,v#,#", 100, 0, "")))
	src, err := OpenTable(path, TableOptions{TestFraction: 0.3, Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	if src.Train.Len() != 70 || src.Test.Len() != 30 {
		t.Fatalf("%d and %d rows", src.Train.Len(), src.Test.Len())
	}
	moments := func(ds Dataset) (mean, square float64) {
		for i := range ds.Len() {
			v := example(t, ds, i)[0][0]
			mean += v / float64(ds.Len())
			square += v * v / float64(ds.Len())
		}
		return mean, square
	}
	if m, s := moments(src.Train); math.Abs(m) > 1e-6 || math.Abs(s-1) > 1e-6 {
		t.Errorf("the training part has mean %v and square %v", m, s)
	}
	if m, _ := moments(src.Test); math.Abs(m) < 1e-6 {
		t.Error("the held-out part has mean 0 too")
	}
	test := write(t, filepath.Join(dir, "test.csv"), []byte("y,b,a\n1,v7,0.5\n"))
	if src, err = OpenTable(path, TableOptions{Test: test, Target: "y"}); err != nil {
		t.Fatal(err)
	}
	if src.Train.Len() != 100 || src.Test.Len() != 1 || example(t, src.Test, 0)[1][0] != 1 || !strings.Contains(strings.Join(src.Notes, "\n"), "1 values were not there") {
		t.Errorf("%d and %d rows; %s", src.Train.Len(), src.Test.Len(), src.Notes)
	}
	for _, opt := range []TableOptions{{TestFraction: 1.5}, {Test: filepath.Join(dir, "absent.csv")}} {
		if _, err := OpenTable(path, opt); err == nil {
			t.Errorf("%+v is accepted", opt)
		}
	}
	_, err = OpenTable(filepath.Join(dir, "absent.csv"), TableOptions{})
	wantError(t, err, "absent.csv")
}

// Real tables. The counts are those of the files' publishers.
func TestRealTables(t *testing.T) {
	for _, c := range []struct {
		file, target   string
		rows, width    int
		header         bool
		task           Task
		classes, notes string
	}{
		{"optdigits-train.csv", "", 3823, 64, true, Classification, "[0 1 2 3 4 5 6 7 8 9]", ""},
		{"optdigits-test.csv", "", 1797, 64, true, Classification, "[0 1 2 3 4 5 6 7 8 9]", ""},
		{"iris.csv", "species", 150, 4, true, Classification, "[setosa versicolor virginica]", ""},
		{"titanic.csv", "survived", 891, 0, true, Classification, "[0 1]", `column "alive" is left out: it says the same as the target "survived"`},
		{"titanic.csv", "survived", 891, 0, true, Classification, "[0 1]", `column "age": 177 missing values`},
		{"penguins.csv", "species", 344, 0, true, Classification, "[Adelie Chinstrap Gentoo]", `column "sex"`},
		{"mpg.csv", "mpg", 398, 0, true, Regression, "[]", `column "horsepower": 6 missing values`},
		{"mpg.csv", "mpg", 398, 0, true, Regression, "[]", `column "name" is left out`},
		{"housing.csv", "", 506, 13, false, Regression, "[]", "mean 22."},
		{"wine.csv", "", 178, 13, false, Classification, "[1 2 3]", ""},
		{"airline-passengers.csv", "Passengers", 0, 0, true, "", "", ""},
	} {
		t.Run(c.file, func(t *testing.T) {
			path := testenv.SharedData(t, "tabular", c.file)
			src, err := OpenTable(path, TableOptions{Target: c.target})
			if c.task == "" {
				wantError(t, err, path, "no column is left to learn from", "look like names")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(src.Notes, "\n")
			if n := src.Train.Len() + src.Test.Len(); n != c.rows || src.Encoder.Header != c.header || src.Task != c.task || fmt.Sprint(src.Classes) != c.classes {
				t.Errorf("%d rows, header %v, %s, classes %v", n, src.Encoder.Header, src.Task, src.Classes)
			}
			if c.width > 0 && !slices.Equal(src.Input(), []int{c.width}) {
				t.Errorf("input %v, want %d", src.Input(), c.width)
			}
			if !strings.Contains(all, c.notes) {
				t.Errorf("the notes do not say %q:\n%s", c.notes, all)
			}
			for _, ds := range []Dataset{src.Train, src.Test} {
				for i := range ds.Len() {
					for _, f := range example(t, ds, i) {
						for _, v := range f {
							if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > 200 {
								t.Fatalf("row %d holds %v", i, v)
							}
						}
					}
				}
			}
		})
	}
	path := testenv.SharedData(t, "tabular", "mpg.csv")
	_, err := OpenTable(path, TableOptions{})
	wantError(t, err, path, `column "name"`, "different texts")
	if k, err := Detect(path); k != KindTable {
		t.Errorf("detected %q, %v", k, err)
	}
}

func FuzzCSV(f *testing.F) {
	f.Add("a,b\n1,2\n3,4\n", "")
	f.Add("a;b;c\n1;x;0\n?;y;1\n", "2")
	f.Add("\"a\nb\"\tc\n\t1\n", "c")
	f.Add(rows("a,b,y", "#.5,v#,#", 12, 5, "1e308,,1"), "y")
	f.Fuzz(func(t *testing.T, text, target string) {
		opt := TableOptions{Target: target}
		var table *Table
		var err error
		got := testenv.Allocated(func() { table, err = parseTable("f", []byte(text), opt) })
		if got > uint64(200*len(text)+1<<20) { // a value of no characters takes a string
			t.Errorf("%d bytes were allocated for a file of %d", got, len(text))
		}
		if err != nil {
			return
		}
		enc, _, err := FitEncoder(table, opt)
		if err != nil {
			return
		}
		// The fitted file itself can be encoded, also after the encoder was stored.
		b, err := json.Marshal(enc)
		if err != nil {
			t.Fatal(err)
		}
		var again Encoder
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		ds, _, err := again.Encode(table, true)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ds.Len() {
			for _, f := range example(t, ds, i) {
				for _, v := range f {
					if math.IsNaN(v) || math.IsInf(v, 0) {
						t.Fatalf("row %d holds %v", i, v)
					}
				}
			}
		}
	})
}
