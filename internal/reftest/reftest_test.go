package reftest

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// The formula gives what common.py gives.
func TestFormula(t *testing.T) {
	if got, want := Bits(7, 4), []uint32{0x78bc1b8f, 0xf8ed16a2, 0x78c8af1a, 0x21dc9daa}; !slices.Equal(got, want) {
		t.Errorf("Bits: %#x, want %#x", got, want)
	}
	if got, want := Noise(7, 4), []float32{-0.05675947666168213, 0.9447352886199951, -0.05637562274932861, -0.7354549169540405}; !slices.Equal(got, want) {
		t.Errorf("Noise: %v, want %v", got, want)
	}
	if got, want := Labels(7, 10, 4), []int64{5, 2, 5, 5}; !slices.Equal(got, want) {
		t.Errorf("Labels: %v, want %v", got, want)
	}
}

func read(t *testing.T, s string) *Tensor {
	t.Helper()
	x := new(Tensor)
	if err := json.Unmarshal([]byte(s), x); err != nil {
		t.Fatal(err)
	}
	return x
}

// A harness that finds nothing wrong is worse than none: each kind of difference
// is told.
func TestCheck(t *testing.T) {
	f := read(t, `{"d":"float32","s":[2,2],"v":[1,"nan","-inf",0.5]}`)
	value := func(shape []int, v ...float64) Value { return Value{dtype.Float32, shape, Encode(dtype.Float32, v)} }
	square, nan, inf := []int{2, 2}, math.NaN(), math.Inf(-1)
	for _, c := range []struct {
		got  Value
		want string
	}{
		{value(square, 1, nan, inf, 0.5), ""},
		{value(square, 1.000005, nan, inf, 0.5), ""},
		{value(square, 1.0001, nan, inf, 0.5), "first at [0 0]"},
		{value(square, 1, nan, inf, nan), "first at [1 1]"},
		{value(square, 1, 2, inf, 0.5), "first at [0 1]"},
		{value(square, 1, nan, -inf, 0.5), "first at [1 0]"},
		{value([]int{4}, 1, nan, inf, 0.5), "shape"},
		{value(square, 1, nan, inf), "bytes"},
		{Value{dtype.Float64, square, nil}, "type float64"},
	} {
		err := f.Check(c.got, dtype.Float32, Tolerance(dtype.Float32))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.got, err, c.want)
		}
	}

	i := read(t, `{"d":"int64","s":[2],"v":[4611686018427387905,-3]}`)
	if got := i.Bytes(dtype.Int64); i.Check(Value{dtype.Int64, []int{2}, got}, dtype.Int64, Tol{}) != nil {
		t.Error("an integer above 2⁵³ did not survive")
	} else if got[0]--; i.Check(Value{dtype.Int64, []int{2}, got}, dtype.Int64, Tol{}) == nil {
		t.Error("integers that differ by one are taken for equal")
	}

	d := read(t, `{"d":"float32","s":[4],"sum":10,"norm":5.477225575,"probe":[1,3]}`)
	for _, c := range []struct {
		v  []float64
		ok bool
	}{{[]float64{1, 2, 3, 4}, true}, {[]float64{1, 2, 3, 4.1}, false}, {[]float64{1, 4, 3, 2}, true}, {[]float64{3, 2, 1, 4}, false}, {[]float64{1, -2, 3, 4}, false}, {[]float64{1, nan, 3, 4}, false}} {
		if err := d.Check(value([]int{4}, c.v...), dtype.Float32, Tolerance(dtype.Float32)); (err == nil) != c.ok {
			t.Errorf("digest of %v: %v", c.v, err)
		}
	}
}
