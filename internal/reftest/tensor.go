package reftest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// Tensor is a value of a reference file: its elements, or the formula for them,
// or, for a long result, a digest.
type Tensor struct {
	DType  dtype.DType
	Shape  []int
	floats []float64 // floating-point types
	ints   []int64   // integers and bool
	digest *digest
}

// digest is what is kept of a long result.
type digest struct {
	sum, norm float64
	probe     []float64 // element i·n/len(probe) for every i
}

// UnmarshalJSON reads {"d": type, "s": shape} with either "v", the elements, or
// "seed" and "scale" of the formula, or "sum", "norm" and "probe".
func (x *Tensor) UnmarshalJSON(b []byte) error {
	var f struct {
		D     string
		S     []int
		V     []any
		Seed  *uint32
		Scale float64
		Sum   any
		Norm  any
		Probe []any
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&f); err != nil {
		return err
	}
	t, err := dtype.Parse(f.D)
	if err != nil {
		return err
	}
	*x = Tensor{DType: t, Shape: f.S}
	switch {
	case f.Seed != nil:
		for _, v := range Noise(*f.Seed, x.Len()) {
			x.floats = append(x.floats, float64(v*float32(f.Scale)))
		}
	case f.Probe != nil:
		x.digest = &digest{sum: parse(f.Sum), norm: parse(f.Norm)}
		for _, v := range f.Probe {
			x.digest.probe = append(x.digest.probe, parse(v))
		}
	case len(f.V) != x.Len():
		return fmt.Errorf("reftest: %d elements for shape %v", len(f.V), f.S)
	case t.IsFloat():
		x.floats = make([]float64, len(f.V))
		for i, v := range f.V {
			x.floats[i] = parse(v)
		}
	default:
		x.ints = make([]int64, len(f.V))
		for i, v := range f.V {
			n, err := strconv.ParseInt(string(v.(json.Number)), 10, 64)
			if err != nil {
				return err
			}
			x.ints[i] = n
		}
	}
	return nil
}

// parse turns a JSON number, or "nan", "inf", "-inf", into a float.
func parse(v any) float64 {
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			panic(err)
		}
		return f
	case float64:
		return v
	case string:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			panic(err)
		}
		return f
	}
	panic(fmt.Sprintf("reftest: %v (%T) is not a number", v, v))
}

// Len is the number of elements.
func (x *Tensor) Len() int {
	n := 1
	for _, d := range x.Shape {
		n *= d
	}
	return n
}

// Floats are the elements of a floating-point tensor that is not a digest.
func (x *Tensor) Floats() []float64 {
	if x.digest != nil {
		panic("reftest: a digest has no elements")
	}
	return x.floats
}

// Bytes are the elements in the given type, raw little-endian. A floating-point
// tensor can be had in any floating-point type, another only in its own.
func (x *Tensor) Bytes(d dtype.DType) []byte {
	if x.digest != nil || d != x.DType && !(d.IsFloat() && x.DType.IsFloat()) {
		panic(fmt.Sprintf("reftest: no %v elements in a tensor of %v", d, x.DType))
	}
	if d.IsFloat() {
		v := slices.Clone(x.floats)
		if x.DType == dtype.Float32 {
			for i := range v { // what PyTorch read from the decimals of the file
				v[i] = float64(float32(v[i]))
			}
		}
		return Encode(d, v)
	}
	var b []byte
	for _, v := range x.ints {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))[:len(b)+d.Size()]
	}
	return b
}

// Encode writes numbers as raw little-endian floating-point elements.
func Encode(d dtype.DType, v []float64) []byte {
	var b []byte
	for _, f := range v {
		switch d {
		case dtype.Float64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
		case dtype.Float32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(f)))
		case dtype.Float16:
			b = binary.LittleEndian.AppendUint16(b, dtype.Float16FromFloat32(float32(f)))
		case dtype.BFloat16:
			b = binary.LittleEndian.AppendUint16(b, dtype.BFloat16FromFloat32(float32(f)))
		default:
			panic(fmt.Sprintf("reftest: %v is not a floating-point type", d))
		}
	}
	return b
}

// decode is the inverse of Encode, and reads integers and bool besides.
func decode(d dtype.DType, b []byte) (floats []float64, ints []int64) {
	for ; len(b) >= d.Size(); b = b[d.Size():] {
		switch d {
		case dtype.Float64:
			floats = append(floats, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		case dtype.Float32:
			floats = append(floats, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
		case dtype.Float16:
			floats = append(floats, float64(dtype.Float16ToFloat32(binary.LittleEndian.Uint16(b))))
		case dtype.BFloat16:
			floats = append(floats, float64(dtype.BFloat16ToFloat32(binary.LittleEndian.Uint16(b))))
		case dtype.Int64:
			ints = append(ints, int64(binary.LittleEndian.Uint64(b)))
		case dtype.Int32:
			ints = append(ints, int64(int32(binary.LittleEndian.Uint32(b))))
		case dtype.Int8:
			ints = append(ints, int64(int8(b[0])))
		case dtype.Uint8, dtype.Bool:
			ints = append(ints, int64(b[0]))
		}
	}
	return
}

// Value is a computed result: what Check compares.
type Value struct {
	DType dtype.DType
	Shape []int
	Bytes []byte
}

// Tol is a tolerance: |got − want| ≤ Rel·|want| + Abs·max(1, largest |want|).
// The second term grows with the tensor because the rounding error of a sum that
// cancels is as large as that of its neighbours that do not.
type Tol struct{ Rel, Abs float64 }

// Tolerance is the usual tolerance for results of a type: PyTorch's own for
// float32, the precision of the reference files for float64, and one unit in the
// last place for the 16-bit types.
func Tolerance(d dtype.DType) Tol {
	switch d {
	case dtype.Float64:
		return Tol{2e-9, 2e-10}
	case dtype.Float16:
		return Tol{1.0 / (1 << 10), 1.0 / (1 << 20)}
	case dtype.BFloat16:
		return Tol{1.0 / (1 << 7), 1.0 / (1 << 20)}
	}
	return Tol{1e-5, 1e-6}
}

// Check compares a result with the reference, which is taken to be of type d
// (float32 references serve float64 runs too). NaN equals NaN; the sign of zero is
// not looked at. The error names the first element that differs, and how many do.
func (x *Tensor) Check(got Value, d dtype.DType, tol Tol) error {
	if got.DType != d {
		return fmt.Errorf("type %v, want %v", got.DType, d)
	}
	if !slices.Equal(got.Shape, x.Shape) {
		return fmt.Errorf("shape %v, want %v", got.Shape, x.Shape)
	}
	if n := x.Len() * d.Size(); len(got.Bytes) != n {
		return fmt.Errorf("%d bytes, want %d", len(got.Bytes), n)
	}
	floats, ints := decode(d, got.Bytes)
	if x.digest != nil {
		for _, v := range ints {
			floats = append(floats, float64(v))
		}
		return x.digest.check(floats, d, tol)
	}
	if !d.IsFloat() {
		return differ(ints, x.ints, x.Shape, func(g, w int64) bool { return g == w })
	}
	want, tol := rounded(x.floats, d, tol)
	return differ(floats, want, x.Shape, tol.within(want))
}

// rounded is what the file's ten digits stand for in type d: they are enough to tell
// the numbers of the narrower types apart, but not all of their digits. Of float64
// they are only an approximation.
func rounded(want []float64, d dtype.DType, tol Tol) ([]float64, Tol) {
	switch {
	case d == dtype.Float64:
		tol.Rel = max(tol.Rel, 1e-9)
	case d.IsFloat():
		want, _ = decode(d, Encode(d, want))
	}
	return want, tol
}

// within is the comparison that a tolerance means beside the given values.
func (tol Tol) within(want []float64) func(g, w float64) bool {
	largest := 1.0
	for _, w := range want {
		if w = math.Abs(w); w > largest && !math.IsInf(w, 0) {
			largest = w
		}
	}
	return func(g, w float64) bool {
		return g == w || g != g && w != w || !math.IsInf(w, 0) && math.Abs(g-w) <= tol.Rel*math.Abs(w)+tol.Abs*largest
	}
}

// Near compares plain numbers.
func Near(got, want []float64, tol Tol) error {
	return differ(got, want, []int{len(want)}, tol.within(want))
}

func (d *digest) check(got []float64, t dtype.DType, tol Tol) error {
	n := len(got)
	want, tol := rounded(d.probe, t, tol)
	probe := make([]float64, len(d.probe))
	for i := range probe {
		probe[i] = got[i*n/len(probe)]
	}
	near := tol.within(want)
	for i := range probe {
		if !near(probe[i], want[i]) {
			return fmt.Errorf("element %d of %d: got %.9g, want %.9g", i*n/len(probe), n, probe[i], want[i])
		}
	}
	var sum, squares float64
	for _, v := range got {
		sum += v
		squares += v * v
	}
	// Each element may be off by the tolerance; so the norm by as much of itself,
	// and the sum by √n times that.
	slack := tol.Rel*d.norm + tol.Abs*math.Sqrt(float64(n))
	if math.IsNaN(d.norm) || math.IsInf(d.norm, 0) {
		if math.IsNaN(squares) != math.IsNaN(d.norm) {
			return fmt.Errorf("norm of %d elements: got %.9g, want %.9g", n, math.Sqrt(squares), d.norm)
		}
		return nil
	}
	slack += 1e-9 * d.norm // the digits of the file
	if norm := math.Sqrt(squares); !(math.Abs(norm-d.norm) <= slack) {
		return fmt.Errorf("norm of %d elements: got %.9g, want %.9g", n, norm, d.norm)
	}
	if !(math.Abs(sum-d.sum) <= slack*math.Sqrt(float64(n))) {
		return fmt.Errorf("sum of %d elements: got %.9g, want %.9g", n, sum, d.sum)
	}
	return nil
}

func differ[T int64 | float64](got, want []T, shape []int, same func(g, w T) bool) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d elements, want %d", len(got), len(want))
	}
	first, count := -1, 0
	for i := range want {
		if !same(got[i], want[i]) {
			if count++; first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return nil
	}
	at := make([]int, len(shape))
	for i, r := len(shape)-1, first; i >= 0; i-- {
		at[i], r = r%shape[i], r/shape[i]
	}
	if len(want) <= 12 {
		return fmt.Errorf("%d of %d differ, first at %v: got %v, want %v (got %v, want %v)", count, len(want), at, got[first], want[first], got, want)
	}
	return fmt.Errorf("%d of %d differ, first at %v: got %v, want %v", count, len(want), at, got[first], want[first])
}
