package data

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// windowAt reads x and y of a window.
func windowAt(t *testing.T, ds Dataset, i int) (x, y []float32) {
	t.Helper()
	bytes := [][]byte{make([]byte, ds.Fields()[0].Bytes()), make([]byte, ds.Fields()[1].Bytes())}
	if err := ds.Read(i, bytes); err != nil {
		t.Fatal(err)
	}
	floats := func(b []byte) (l []float32) {
		for ; len(b) > 0; b = b[4:] {
			l = append(l, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		return l
	}
	return floats(bytes[0]), floats(bytes[1])
}

func seriesFile(t *testing.T, name string, last int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("day,heat,load\n")
	for i := range 20 {
		load := 10 * i
		if i >= 16 {
			load += last
		}
		fmt.Fprintf(&b, "2020-01-%02d,%d,%d\n", i+1, i%3, load)
	}
	return write(t, filepath.Join(t.TempDir(), name), []byte(b.String()))
}

func TestSeries(t *testing.T) {
	open := func(last int) *Source {
		src, err := OpenSeries(seriesFile(t, "s.csv", last), SeriesOptions{Window: 4, Horizon: 2, Season: 3})
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	src := open(0)
	s := src.Series
	// 16 rows to train on, 4 for testing; load is 0 … 150 there.
	if src.Train.Len() != 16-4-2+1 || src.Test.Len() != 4-2+1 || s.Columns[s.Target].Name != "load" || s.Columns[s.Target].Mean != 75 {
		t.Fatalf("%d to train, %d to test, %+v", src.Train.Len(), src.Test.Len(), s)
	}
	std := s.Std()
	if want := 10 * math.Sqrt((16*16-1)/12.); math.Abs(std-want) > 1e-9 {
		t.Errorf("standard deviation %v, want %v", std, want)
	}
	x, y := windowAt(t, src.Test, 0) // rows 12 to 15, then 16 and 17
	for i := range 4 {
		heat := (float64((12+i)%3) - s.Columns[0].Mean) / s.Columns[0].Std
		load := float64(10*(i-3)) / std
		if math.Abs(float64(x[2*i])-heat) > 1e-6 || math.Abs(float64(x[2*i+1])-load) > 1e-6 {
			t.Errorf("row %d is %v, want %v and %v", i, x[2*i:2*i+2], heat, load)
		}
	}
	if math.Abs(float64(y[0])-10/std) > 1e-6 || math.Abs(float64(y[1])-20/std) > 1e-6 {
		t.Errorf("y is %v", y)
	}
	// One step is missed by 10, the next by 20; three rows before it was 30 less.
	b := src.Test.(interface{ Baselines() map[string]float64 }).Baselines()
	if b["mae_last_value"] != 15 || b["mae_seasonal_naive"] != 30 {
		t.Errorf("baselines %v", b)
	}

	// What comes later changes nothing of what is trained on.
	other := open(1000)
	if !slices.Equal(other.Series.Columns, s.Columns) {
		t.Errorf("scales %v, and with other rows for testing %v", s.Columns, other.Series.Columns)
	}
	for i := range src.Train.Len() {
		x, y := windowAt(t, src.Train, i)
		x2, y2 := windowAt(t, other.Train, i)
		if !slices.Equal(x, x2) || !slices.Equal(y, y2) {
			t.Errorf("example %d depends on rows for testing", i)
		}
	}

	// It is the same after it was saved.
	saved, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	back := new(Series)
	if err := json.Unmarshal(saved, back); err != nil {
		t.Fatal(err)
	}
	set, last, err := back.Read(seriesFile(t, "s.csv", 0))
	if err != nil || set.Len() != 20-4-2+1 || len(last.X) != 8 || math.Abs(float64(last.X[1])+30/std) > 1e-6 || last.Value != 190 {
		t.Errorf("%v, %v, %v", set, last, err)
	}
}

func TestSeriesErrors(t *testing.T) {
	path := seriesFile(t, "s.csv", 0)
	for _, c := range []struct {
		opt  SeriesOptions
		want []string
	}{
		{SeriesOptions{}, []string{"window 0"}},
		{SeriesOptions{Window: 16}, []string{path, "20 rows, 16 to train on", "at least 17"}},
		{SeriesOptions{Window: 2, Horizon: 5}, []string{"4 for testing"}},
		{SeriesOptions{Window: 2, Target: "day"}, []string{`"2020-01-01" is not a number`}},
		{SeriesOptions{Window: 2, Target: "cold"}, []string{`no column "cold"`}},
	} {
		_, err := OpenSeries(path, c.opt)
		wantError(t, err, c.want...)
	}
	gap := write(t, filepath.Join(t.TempDir(), "gap.csv"), []byte("a\n1\n2\nNA\n4\n5\n6\n7\n8\n9\n10\n"))
	_, err := OpenSeries(gap, SeriesOptions{Window: 2})
	wantError(t, err, "gap.csv, line 4", "no gaps")
	words := write(t, filepath.Join(t.TempDir(), "words.csv"), []byte("a,b\nx,y\nz,w\n"))
	_, err = OpenSeries(words, SeriesOptions{Window: 2})
	wantError(t, err, "no column of numbers")
}

// The monthly series of airline passengers, 1949 to 1960.
func TestAirline(t *testing.T) {
	src, err := OpenSeries(testenv.SharedData(t, "tabular", "airline-passengers.csv"), SeriesOptions{Window: 12, Season: 12})
	if err != nil {
		t.Fatal(err)
	}
	if src.Train.Len() != 144-29-12 || src.Test.Len() != 29 {
		t.Errorf("%d to train, %d to test", src.Train.Len(), src.Test.Len())
	}
	// The last one: December 1960, 432 after 390 in November.
	if _, y := windowAt(t, src.Test, 28); math.Abs(float64(y[0])*src.Series.Std()-42) > 1e-4 {
		t.Errorf("the last move is %v", float64(y[0])*src.Series.Std())
	}
}
