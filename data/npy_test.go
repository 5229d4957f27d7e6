package data

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/format/npy"
)

func int64s(v ...int64) []byte { return slices.Clone(bytesOf(v)) }

func float32s(v ...float32) []byte { return slices.Clone(bytesOf(v)) }

func countTo(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func TestArraysOfNumPy(t *testing.T) {
	dir := t.TempDir()
	images := filepath.Join(dir, "images.npz")
	// The names of Keras's files.
	if err := npy.WriteArchive(images, []npy.Named{
		{Name: "x_train", Array: &npy.Array{DType: sinter.Uint8, Shape: []int{4, 2, 3}, Data: countTo(24)}},
		{Name: "y_train", Array: &npy.Array{DType: sinter.Int64, Shape: []int{4}, Data: int64s(7, -1, 7, 3)}},
		{Name: "x_test", Array: &npy.Array{DType: sinter.Uint8, Shape: []int{1, 2, 3}, Data: countTo(6)}},
		{Name: "y_test", Array: &npy.Array{DType: sinter.Int64, Shape: []int{1, 1}, Data: int64s(3)}},
	}, true); err != nil {
		t.Fatal(err)
	}
	src, err := OpenArrays(images, ArrayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if src.Task != Classification || !slices.Equal(src.Classes, []string{"-1", "3", "7"}) || !slices.Equal(src.Input(), []int{1, 2, 3}) {
		t.Errorf("%s %v %v", src.Task, src.Classes, src.Input())
	}
	if got := example(t, src.Train, 2); got[0][5] != float64(float32(17)/255) || got[1][0] != 2 {
		t.Errorf("example 2 is %v", got)
	}
	if got := example(t, src.Test, 0); got[0][5] != float64(float32(5)/255) || got[1][0] != 1 {
		t.Errorf("test example is %v", got)
	}
	if k, err := Detect(images); k != KindArrays || err != nil {
		t.Errorf("%s, %v", k, err)
	}

	folder := filepath.Join(dir, "folder")
	write(t, filepath.Join(folder, "notes.txt"), nil)
	pixels := make([]byte, 8*72)
	for i := range 72 {
		binary.LittleEndian.PutUint64(pixels[8*i:], math.Float64bits(float64(i)))
	}
	npy.Write(filepath.Join(folder, "x.npy"), &npy.Array{DType: sinter.Float64, Shape: []int{6, 2, 2, 3}, Data: pixels})
	npy.Write(filepath.Join(folder, "y.npy"), &npy.Array{DType: sinter.Float32, Shape: []int{6}, Data: float32s(1, 2, 3, 4, 5, 6)})
	for _, path := range []string{folder, filepath.Join(folder, "x.npy")} {
		src, err = OpenArrays(path, ArrayOptions{TestFraction: 0.5, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		if src.Task != Regression || !slices.Equal(src.Input(), []int{3, 2, 2}) || src.Train.Len() != 3 || src.Test.Len() != 3 {
			t.Fatalf("%s %v, %d and %d", src.Task, src.Input(), src.Train.Len(), src.Test.Len())
		}
	}
	mean := 0.0
	for i := range 3 {
		got := example(t, src.Train, i)
		y := src.Encoder.Value(got[1][0])
		row := math.Round(y) - 1
		mean += y / 3
		// Pixel 1 of the second channel is element 4 of the row.
		if want := 12*row + 4; got[0][5] != want {
			t.Errorf("example %v: %v, want element 5 to be %v", row, got[0], want)
		}
	}
	// The mean is that of the examples for training alone.
	if math.Abs(mean-src.Encoder.Mean) > 1e-6 {
		t.Errorf("mean %v, encoder has %v", mean, src.Encoder.Mean)
	}
	again, err := OpenArrays(folder, ArrayOptions{Encoder: src.Encoder})
	if err != nil || again.Train.Len() != 6 || again.Test != nil {
		t.Errorf("for evaluation: %v, %v", again, err)
	}
	if _, err := OpenArrays(images, ArrayOptions{Classes: []string{"3", "7"}}); err == nil || !strings.Contains(err.Error(), "none of the classes 3, 7") {
		t.Errorf("error %v", err)
	}
}

func TestArrayErrors(t *testing.T) {
	x := &npy.Array{DType: sinter.Float32, Shape: []int{2, 2}, Data: float32s(1, 2, 3, 4)}
	for name, c := range map[string]struct {
		arrays []npy.Named
		want   string
	}{
		"no y":      {[]npy.Named{{Name: "x", Array: x}}, "no array y"},
		"no x":      {[]npy.Named{{Name: "q", Array: x}}, "only q"},
		"length":    {[]npy.Named{{Name: "x", Array: x}, {Name: "y", Array: &npy.Array{DType: sinter.Int64, Shape: []int{3}, Data: int64s(1, 2, 3)}}}, "3 values"},
		"one-hot":   {[]npy.Named{{Name: "x", Array: x}, {Name: "y", Array: x}}, "argmax"},
		"scalar":    {[]npy.Named{{Name: "x", Array: &npy.Array{DType: sinter.Bool, Shape: []int{}, Data: []byte{1}}}}, "along its first axis"},
		"empty":     {[]npy.Named{{Name: "x", Array: &npy.Array{DType: sinter.Bool, Shape: []int{0, 3}}}}, "along its first axis"},
		"one value": {[]npy.Named{{Name: "x", Array: x}, {Name: "y", Array: &npy.Array{DType: sinter.Int64, Shape: []int{2}, Data: int64s(1, 1)}}}, "two different"},
		"nan":       {[]npy.Named{{Name: "x", Array: x}, {Name: "y", Array: &npy.Array{DType: sinter.Float32, Shape: []int{2}, Data: float32s(1, float32(math.NaN()))}}}, "value 1 is NaN"},
	} {
		path := filepath.Join(t.TempDir(), "bad.npz")
		if err := npy.WriteArchive(path, c.arrays, false); err != nil {
			t.Fatal(err)
		}
		_, err := OpenArrays(path, ArrayOptions{})
		t.Run(name, func(t *testing.T) { wantError(t, err, path, c.want) })
	}
}
