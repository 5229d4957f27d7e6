package data_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/streamtest"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// largeTable writes a table with quotes, ends of lines in values, blank lines and missing
// values, and returns its number of rows.
func largeTable(t testing.TB, path string, size int) (rows int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("\n\"id\",width,colour,note,kind\n")
	g := sinter.NewGenerator(3)
	var b bytes.Buffer
	for written := 0; written < size; written += b.Len() {
		b.Reset()
		width := fmt.Sprintf("%.3f", 10+3*g.NormFloat64())
		if rows%50 == 7 {
			width = "NA"
		}
		fmt.Fprintf(&b, "%d,%s, %s,%s,%s\n", rows, width, []string{"red", "green", "\"dark,\"\"blue\"\"\""}[g.IntN(3)],
			[]string{"x", "\"two\nlines\"", "", "\"three\r\nlines\n\""}[rows%4], []string{"low", "high", "mid"}[g.IntN(3)])
		if rows == 300 {
			b.WriteString("\n  \n")
		}
		f.Write(b.Bytes())
		rows++
	}
	return rows
}

func TestStreamedTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.csv")
	rows := largeTable(t, path, 40<<10)
	opt := data.TableOptions{Memory: 36 << 10, TestFraction: 0.25, Seed: 4, Keep: []string{"id"}}
	src, err := data.OpenTable(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	if src.Train != nil || src.Task != data.Classification || strings.Join(src.Classes, " ") != "high low mid" {
		t.Fatalf("%+v", src)
	}
	rest := streamtest.Check(t, src.Stream)
	k := src.Test.Len()
	if len(rest)+k != rows || src.Stream.Len() != len(rest) || k < rows/5 || k > rows/3 {
		t.Fatalf("%d rows to train on (said to be %d) and %d to test, of %d", len(rest), src.Stream.Len(), k, rows)
	}
	// In memory, rows have the same bytes by the same encoder.
	table, err := data.ReadTable(path, data.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := src.Encoder.Encode(table, true)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	dst := [][]byte{make([]byte, all.Fields()[0].Bytes()), make([]byte, 8)}
	for i := range all.Len() {
		if err := all.Read(i, dst); err != nil {
			t.Fatal(err)
		}
		want[string(bytes.Join(dst, nil))]++
	}
	take := func(fields [][]byte) {
		key := string(bytes.Join(fields, nil))
		if want[key] == 0 {
			t.Fatalf("an example that is not in the table: %x", key)
		}
		want[key]--
	}
	for _, e := range rest {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		take(e.Fields)
	}
	for i := range k {
		if err := src.Test.Read(i, dst); err != nil {
			t.Fatal(err)
		}
		take(dst)
	}
	// Mistakes are found before anything is trained, wherever they are.
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ row, want string }{
		"number":  {"7,wide,red,x,low\n", `column "width": "wide" is not a number`},
		"columns": {"7,1,red,low\n", "4 values, expected 5"},
		"target":  {"7,1,red,x,NA\n", "the target is missing"},
		"quote":   {"7,1,\"red,x,low\n", "does not end as it should"},
	} {
		bad := write(t, filepath.Join(t.TempDir(), "bad.csv"), append(bytes.Clone(raw), c.row...))
		_, err := data.OpenTable(bad, opt)
		t.Run(name, func(t *testing.T) { wantError(t, err, bad, "line ", c.want) })
	}
}

func TestStreamedTableAtConstantMemory(t *testing.T) {
	size := 2 << 20
	if os.Getenv("SINTER_STRESS") != "" {
		size = 200 << 20
	}
	path := filepath.Join(t.TempDir(), "large.csv")
	largeTable(t, path, size)
	n := 0
	// The test part, a fraction of the file, is in memory.
	peak := testenv.PeakHeap(t, func() {
		src, err := data.OpenTable(path, data.TableOptions{Memory: 1 << 20, TestFraction: 0.01, Seed: 4, Keep: []string{"id"}})
		if err != nil {
			t.Fatal(err)
		}
		n = count(t, src.Stream)
	})
	if peak > uint64(8<<20+size/30) {
		t.Errorf("the heap grew by %d KiB for %d rows in %d KiB", peak>>10, n, size>>10)
	}
}
