package parquet

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/streamtest"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// pyarrow's tables, in every compression and encoding, have the values of its CSV
// (scripts/formats/tables.py).
func TestPyArrow(t *testing.T) {
	raw, err := os.ReadFile("testdata/table.csv")
	if err != nil {
		t.Fatal(err)
	}
	want, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "snappy", "gzip-v2", "zstd", "lz4", "brotli", "groups"} {
		t.Run(name, func(t *testing.T) {
			table, err := ReadTable("testdata/" + name + ".parquet")
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(table.Columns, want[0]) || table.Len() != len(want)-1 {
				t.Fatalf("%d rows of %v", table.Len(), table.Columns)
			}
			for i, row := range want[1:] {
				for c, w := range row {
					got := table.Row(i)[c]
					a, err1 := strconv.ParseFloat(got, 64)
					b, err2 := strconv.ParseFloat(w, 64)
					if got != w && (err1 != nil || err2 != nil || a != b) {
						t.Errorf("row %d, %s: %q, want %q", i, want[0][c], got, w)
					}
				}
			}
		})
	}
	table, err := ReadTable("testdata/nested.parquet")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%q %q", table.Columns, table.Row(1)); got != `["id" "s.a" "s.b" "day"] ["2" "2.5" "" "2"]` {
		t.Error(got)
	}
	if len(table.Notes) != 1 || !strings.Contains(table.Notes[0], `"list.list.element" is left out`) {
		t.Errorf("notes %q", table.Notes)
	}
}

// A table is the same examples from Parquet and from CSV.
func TestOpenTable(t *testing.T) {
	opt := data.TableOptions{Seed: 3}
	a, err := OpenTable("testdata/groups.parquet", opt)
	if err != nil {
		t.Fatal(err)
	}
	b, err := data.OpenTable("testdata/table.csv", opt)
	if err != nil {
		t.Fatal(err)
	}
	if a.Task != data.Classification || !slices.Equal(a.Classes, []string{"no", "yes"}) || a.Train.Len() != b.Train.Len() {
		t.Fatalf("%s %v %d", a.Task, a.Classes, a.Train.Len())
	}
	for i := range a.Train.Len() {
		x, y := room(a.Train.Fields()), room(b.Train.Fields())
		if err := errors.Join(a.Train.Read(i, x), b.Train.Read(i, y)); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(x, y, bytes.Equal) {
			t.Fatalf("example %d differs", i)
		}
	}
	opt.Target = "labell"
	_, err = OpenTable("testdata/groups.parquet", opt)
	if err == nil || !strings.Contains(err.Error(), `"label"`) {
		t.Errorf("error %v", err)
	}
}

func room(fields []data.Field) (dst [][]byte) {
	for _, f := range fields {
		dst = append(dst, make([]byte, f.Bytes()))
	}
	return dst
}

func TestStream(t *testing.T) {
	columns := []Column{
		{Names: []string{"f32", "u32"}, Field: data.Field{Name: "x", DType: sinter.Float64, Shape: []int{2}}},
		{Names: []string{"label"}, Field: data.Field{Name: "y"}, Classes: []string{"no", "yes"}},
	}
	s, err := NewStream([]string{"testdata/groups.parquet", "testdata/zstd.parquet"}, columns...)
	if err != nil {
		t.Fatal(err)
	}
	all := streamtest.Check(t, s)
	if len(all) != 400 || s.Len() != 400 {
		t.Fatalf("%d examples", len(all))
	}
	for i, e := range all {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		if got, want := int(e.Fields[1][0]), i%200*7%5%2; got != want {
			t.Errorf("row %d: class %d, want %d", i, got, want)
		}
	}
	columns[0].Names[1] = "i64" // of which some are missing
	if s, err = NewStream([]string{"testdata/plain.parquet"}, columns...); err != nil {
		t.Fatal(err)
	}
	all = streamtest.Check(t, s)
	if all[3].Err == nil || !strings.Contains(all[3].Err.Error(), `plain.parquet, row group 0, row 3, column "i64": there is no value`) || all[4].Err != nil {
		t.Errorf("errors %v and %v", all[3].Err, all[4].Err)
	}
	columns[0].Names[1] = "i65"
	if _, err = NewStream([]string{"testdata/plain.parquet"}, columns...); err == nil || !strings.Contains(err.Error(), `no column "i65"`) {
		t.Errorf("error %v", err)
	}
}

// A large file is streamed at the memory of some pages.
func TestConstantMemory(t *testing.T) {
	rows := 400_000
	if os.Getenv("SINTER_STRESS") != "" {
		rows = 4_000_000
	}
	type row struct {
		X float64 `parquet:"x"`
		Y int64   `parquet:"y"`
	}
	path := filepath.Join(t.TempDir(), "large.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := pq.NewGenericWriter[row](f, pq.MaxRowsPerRowGroup(100_000))
	g := sinter.NewGenerator(1)
	batch := make([]row, 1000)
	for n := 0; n < rows; n += len(batch) {
		for i := range batch {
			batch[i] = row{g.NormFloat64(), int64(g.Uint64())}
		}
		if _, err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	w, batch = nil, nil
	s, err := NewStream([]string{path}, Column{Names: []string{"x"}, Field: data.Field{Name: "x", DType: sinter.Float32, Shape: []int{1}}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	peak := testenv.PeakHeap(t, func() {
		r, err := s.Open(data.Pass{Shards: 1}, data.Mark{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var rec data.Record
		for ; r.Next(&rec) == nil; n++ {
		}
	})
	if n != rows {
		t.Errorf("%d rows, want %d", n, rows)
	}
	if peak > 24<<20 {
		t.Errorf("the heap grew by %d MiB", peak>>20)
	}
}

func TestApacheFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testenv.SharedData(t, "parquet"), "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, name := range files {
		table, err := ReadTable(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch base := filepath.Base(name); {
		case strings.HasPrefix(base, "alltypes"):
			if table.Columns[10] != "timestamp_col" || table.Len() < 2 || !strings.HasPrefix(table.Row(0)[10], "12") || len(table.Row(0)[10]) != 19 {
				t.Errorf("%s: %q", base, table.Row(0))
			}
		case base == "history.parquet":
			if table.Len() != 999 || len(table.Columns) != 5 {
				t.Errorf("%s: %d rows of %v", base, table.Len(), table.Columns)
			}
		}
	}
}

// Every way to cut a file, and a byte changed in every place of its end and in many
// others, is an error or another value, and takes no memory that the file has not.
func TestDamaged(t *testing.T) {
	raw, err := os.ReadFile("testdata/nested.parquet")
	if err != nil {
		t.Fatal(err)
	}
	read := func(content []byte) (err error) {
		if got := testenv.Allocated(func() {
			var f *File
			if f, err = open(bytes.NewReader(content), int64(len(content)), "bad.parquet", true); err == nil {
				_, err = f.Table()
			}
		}); got > 64<<20 {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
		}
		return err
	}
	for n := 0; n < len(raw); n += 1 + len(raw)/400 {
		if err := read(raw[:n]); err == nil || !strings.Contains(err.Error(), "bad.parquet") {
			t.Errorf("cut at %d: error %v", n, err)
		}
	}
	for i := 0; i < len(raw); i += 3 {
		changed := bytes.Clone(raw)
		changed[i] ^= 0xff
		if err := read(changed); err != nil && !strings.Contains(err.Error(), "bad.parquet") {
			t.Errorf("byte %d changed: error %v", i, err)
		}
	}
	if err := read([]byte("PAR1\xff\xff\xff\x7fPAR1")); err == nil {
		t.Error("a footer of 2 GiB in 12 bytes was read")
	}
}

// A damaged page is not unpacked for ever: pages of each codec with every byte of one
// changed in turn.
func TestDamagedPages(t *testing.T) {
	for _, name := range []string{"snappy", "gzip-v2", "zstd", "lz4", "brotli"} {
		raw, err := os.ReadFile("testdata/" + name + ".parquet")
		if err != nil {
			t.Fatal(err)
		}
		for at := 4; at < 400; at += 3 {
			changed := bytes.Clone(raw)
			changed[at] ^= 0x5a
			if got := testenv.Allocated(func() {
				if f, err := open(bytes.NewReader(changed), int64(len(changed)), "bad.parquet", true); err == nil {
					f.Table()
				}
			}); got > 64<<20 {
				t.Errorf("%s, byte %d: %d bytes were allocated", name, at, got)
			}
		}
	}
}

func FuzzParquet(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.parquet")
	for _, name := range files {
		if content, err := os.ReadFile(name); err == nil {
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		got := testenv.Allocated(func() {
			file, err := open(bytes.NewReader(content), int64(len(content)), "fuzzed", true)
			if err == nil {
				file.Table()
			}
		})
		if got > uint64(4*maxRatio*len(content)+256<<20) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
		}
	})
}
