package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
)

// atEveryLevel runs a test at each level that this processor has.
func atEveryLevel(t *testing.T, f func(t *testing.T)) {
	defer Use(Current())
	for _, l := range Levels() {
		t.Run(string(l), func(t *testing.T) {
			Use(l)
			f(t)
		})
	}
}

func ptr[T any](s []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(s)) }

// ulps is the distance of got from the exact want, in units of the last place of
// a float32 of want's size.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	switch {
	case want != want || got != got:
		if (want != want) == (got != got) {
			return 0
		}
		return math.Inf(1)
	case w == got:
		return 0
	case math.IsInf(float64(got), 0) || math.IsInf(float64(w), 0):
		// Next to overflow an infinity is as good as the largest number.
		if math.Abs(want) > math.MaxFloat32*(1-1e-6) && math.Abs(float64(got)) > math.MaxFloat32*(1-1e-6) {
			return 1
		}
		return math.Inf(1)
	}
	a := math.Abs(float64(w))
	unit := float64(math.Nextafter32(float32(a), math.MaxFloat32)) - a
	return math.Abs(float64(got)-want) / unit
}

var unaries = []struct {
	op       ir.Op
	ulp      float64
	absolute float64
}{
	{ir.Neg, 0, 0}, {ir.Abs, 0, 0}, {ir.Sqrt, 0.5, 0}, {ir.Rsqrt, 1.5, 0}, {ir.Floor, 0, 0}, {ir.Ceil, 0, 0}, {ir.Round, 0, 0},
	{ir.Exp, 2, 0}, {ir.Log, 2, 0}, {ir.Tanh, 3, 0}, {ir.Logistic, 3, 0}, {ir.Erf, 3, 2e-7},
	{ir.Sin, 2, 0}, {ir.Cos, 2, 0}, {ir.Expm1, 2, 0}, {ir.Log1p, 2, 0}, {ir.Sign, 0, 0},
}

// Every so-manieth bit pattern of float32, so NaNs, infinities and subnormals too,
// against float64, at every level. Where the environment variable SINTER_EXHAUSTIVE
// is set it is all of them, which takes minutes for each operation.
func TestUnarySweep(t *testing.T) {
	stride := uint64(4099)
	if os.Getenv("SINTER_EXHAUSTIVE") != "" {
		stride = 1
	}
	before := Current()
	defer Use(before)
	for _, c := range unaries {
		t.Run(c.op.String(), func(t *testing.T) {
			var levels []Level
			var routines []Func
			for _, l := range Levels() {
				if Use(l); l == Generic && c.op.Info().F64 != nil && stride == 1 {
					continue // that is the reference
				}
				levels, routines = append(levels, l), append(routines, Unary(c.op, dtype.Float32))
			}
			var x, y [1024]float32
			var want [1024]float64
			worst, at := make([]float64, len(levels)), make([]float32, len(levels))
			for bits := uint64(0); bits < 1<<32; {
				for i := range x {
					x[i] = math.Float32frombits(uint32(bits))
					want[i] = c.op.Info().F64(float64(x[i]), 0)
					bits += stride
				}
				for l, f := range routines {
					f(&Args{Dst: ptr(y[:]), A: ptr(x[:]), N: len(x), Rows: 1})
					for i := range x {
						if y[i] == float32(want[i]) || c.absolute > 0 && math.Abs(float64(y[i])-want[i]) <= c.absolute {
							continue
						}
						if u := ulps(y[i], want[i]); u > worst[l] {
							worst[l], at[l] = u, x[i]
						}
					}
				}
			}
			for l, u := range worst {
				t.Logf("%v: %.2f ulp, for %g", levels[l], u, at[l])
				if u > c.ulp {
					t.Errorf("%v: %v(%g) is wrong by %g ulp, allowed are %g", levels[l], c.op, at[l], u, c.ulp)
				}
			}
		})
	}
}

// What the sweep may miss or a tolerance may hide.
func TestUnarySpecial(t *testing.T) {
	inf, nan, zero := math.Inf(1), math.NaN(), math.Copysign(0, -1)
	tiny := float64(math.SmallestNonzeroFloat32)
	atEveryLevel(t, func(t *testing.T) {
		for _, c := range []struct {
			op      ir.Op
			x, want float64
		}{
			{ir.Exp, nan, nan}, {ir.Exp, inf, inf}, {ir.Exp, -inf, 0}, {ir.Exp, 0, 1}, {ir.Exp, zero, 1}, {ir.Exp, 89, inf}, {ir.Exp, -110, 0}, {ir.Exp, tiny, 1}, {ir.Exp, -1e30, 0}, {ir.Exp, 1e30, inf},
			{ir.Log, 0, -inf}, {ir.Log, zero, -inf}, {ir.Log, -1, nan}, {ir.Log, -inf, nan}, {ir.Log, inf, inf}, {ir.Log, nan, nan}, {ir.Log, 1, 0}, {ir.Log, -tiny, nan},
			{ir.Tanh, inf, 1}, {ir.Tanh, -inf, -1}, {ir.Tanh, nan, nan}, {ir.Tanh, zero, zero}, {ir.Tanh, tiny, tiny}, {ir.Tanh, -100, -1},
			{ir.Logistic, inf, 1}, {ir.Logistic, -inf, 0}, {ir.Logistic, nan, nan}, {ir.Logistic, 0, 0.5},
			{ir.Erf, inf, 1}, {ir.Erf, -inf, -1}, {ir.Erf, nan, nan}, {ir.Erf, zero, zero},
			{ir.Sqrt, -1, nan}, {ir.Sqrt, zero, zero}, {ir.Sqrt, inf, inf}, {ir.Rsqrt, 0, inf}, {ir.Rsqrt, inf, 0}, {ir.Rsqrt, -1, nan},
			{ir.Round, 0.5, 0}, {ir.Round, 1.5, 2}, {ir.Round, 2.5, 2}, {ir.Round, -0.5, zero}, {ir.Floor, -0.5, -1}, {ir.Ceil, -0.5, zero}, {ir.Floor, inf, inf},
			{ir.Sin, inf, nan}, {ir.Sin, -inf, nan}, {ir.Sin, nan, nan}, {ir.Sin, 0, 0}, {ir.Sin, zero, zero}, {ir.Sin, tiny, tiny}, {ir.Sin, -tiny, -tiny}, {ir.Sin, 1e30, math.Sin(float64(float32(1e30)))},
			{ir.Cos, inf, nan}, {ir.Cos, -inf, nan}, {ir.Cos, nan, nan}, {ir.Cos, zero, 1}, {ir.Cos, tiny, 1},
			{ir.Expm1, inf, inf}, {ir.Expm1, -inf, -1}, {ir.Expm1, nan, nan}, {ir.Expm1, 0, 0}, {ir.Expm1, zero, zero}, {ir.Expm1, tiny, tiny}, {ir.Expm1, -tiny, -tiny}, {ir.Expm1, -1e30, -1},
			{ir.Log1p, inf, inf}, {ir.Log1p, -1, -inf}, {ir.Log1p, -2, nan}, {ir.Log1p, -inf, nan}, {ir.Log1p, nan, nan}, {ir.Log1p, zero, zero}, {ir.Log1p, 0, 0}, {ir.Log1p, tiny, tiny}, {ir.Log1p, -tiny, -tiny},
			{ir.Sign, nan, nan}, {ir.Sign, zero, zero}, {ir.Sign, 0, 0}, {ir.Sign, -inf, -1}, {ir.Sign, inf, 1}, {ir.Sign, -tiny, -1},
			{ir.Neg, 0, zero}, {ir.Abs, zero, 0}, {ir.Abs, -inf, inf}, {ir.Neg, nan, nan},
		} {
			for n := 1; n <= 17; n += 16 {
				x, y := make([]float32, n), make([]float32, n)
				for i := range x {
					x[i] = float32(c.x)
				}
				Unary(c.op, dtype.Float32)(&Args{Dst: ptr(y), A: ptr(x), N: n, Rows: 1})
				for i := range y {
					if w := float32(c.want); math.Float32bits(y[i]) != math.Float32bits(w) && !(w != w && y[i] != y[i]) {
						t.Errorf("%v(%g) = %g, want %g", c.op, c.x, y[i], c.want)
						break
					}
				}
			}
		}
	})
}

// No function reads or writes behind the end of its operands.
func TestGuard(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for n := 1; n < 70; n++ {
			x, y := guardedFloats(t, make([]float32, n)), guardedFloats(t, make([]float32, n))
			d := guardedFloats(t, make([]float32, n))
			for i := range x {
				x[i], y[i] = 1e5, 2
			}
			g := &Args{Dst: ptr(d), A: ptr(x), B: ptr(y), N: n, Rows: 1}
			for _, c := range unaries {
				Unary(c.op, dtype.Float32)(g)
			}
			for _, op := range []ir.Op{ir.Add, ir.Sub, ir.Mul, ir.Div, ir.Max, ir.Min, ir.Pow} {
				for scalar := range uint8(3) {
					g.Scalar = scalar
					Binary(op, dtype.Float32, scalar)(g)
				}
			}
			g.Scalar = 0
			for _, op := range []ir.Op{ir.ReduceSum, ir.ReduceMax, ir.ReduceMin} {
				ColReduce(op, dtype.Float32)(g)
				g.Dst = unsafe.Pointer(&d[n-1])
				RowReduce(op, dtype.Float32)(g)
				g.Dst = ptr(d)
			}
		}
	})
}

// Every byte at every place becomes b/255, rounded once, and no byte behind the last of
// either is touched.
func TestBytesToUnit(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		src := make([]byte, 300)
		for i := range src {
			src[i] = byte(i)
		}
		for n := range len(src) {
			dst := guardedFloats(t, make([]float32, n+1))
			mem := unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), 4*n+4)
			dst[n] = 7
			BytesToUnit(mem[:4*n], src[:n:n])
			for i := range n {
				if want := float32(src[i]) / 255; dst[i] != want {
					t.Fatalf("byte %d of %d is %v, expected %v", i, n, dst[i], want)
				}
			}
			if dst[n] != 7 {
				t.Fatalf("%d bytes: the element behind them was overwritten", n)
			}
		}
	})
}

// specials are mixed into the operands of the tests of exact operations.
var specials = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)), 1, -1, math.SmallestNonzeroFloat32, math.MaxFloat32}

func randomFloats(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		if x[i] = float32(r.NormFloat64() * 10); r.IntN(4) == 0 {
			x[i] = specials[r.IntN(len(specials))]
		}
	}
	return x
}

func same(a, b float32) bool { return a == b || a != a && b != b }

// Every form of every binary operation on rows with gaps, for all lengths around
// a vector, writes what the definition says and nothing else.
func TestBinaryForms(t *testing.T) {
	ops := []ir.Op{ir.Add, ir.Sub, ir.Mul, ir.Div, ir.Max, ir.Min, ir.Eq, ir.Ne, ir.Lt, ir.Le, ir.Pow}
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, op := range ops {
			for scalar := range uint8(3) {
				f := Binary(op, dtype.Float32, scalar)
				for n := 0; n < 150; n += 1 + n/20 {
					const rows, gap = 3, 5
					ld := n + gap
					x, y := randomFloats(r, rows*ld), randomFloats(r, rows*ld)
					size := 4
					if op.IsCompare() {
						size = 1
					}
					dst := make([]byte, rows*ld*size)
					for i := range dst {
						dst[i] = 0xa5
					}
					f(&Args{Dst: ptr(dst), A: ptr(x), B: ptr(y), DstRow: ld * size, ARow: ld * 4, BRow: ld * 4, N: n, Rows: rows, Scalar: scalar})
					for i := range rows * ld {
						row, col := i/ld, i%ld
						if col >= n {
							for _, b := range dst[i*size : (i+1)*size] {
								if b != 0xa5 {
									t.Fatalf("%v form %d, n %d: wrote behind the row", op, scalar, n)
								}
							}
							continue
						}
						a, b := x[i], y[i]
						if scalar&ScalarA != 0 {
							a = x[row*ld]
						}
						if scalar&ScalarB != 0 {
							b = y[row*ld]
						}
						want := float32(op.Info().F64(float64(a), float64(b)))
						var got float32
						if size == 1 {
							got = float32(dst[i])
						} else {
							got = *(*float32)(unsafe.Pointer(&dst[4*i]))
						}
						if !same(got, want) && (op != ir.Pow || ulps(got, op.Info().F64(float64(a), float64(b))) > 1) {
							t.Fatalf("%v(%g, %g) form %d, n %d, column %d: %g, want %g", op, a, b, scalar, n, col, got, want)
						}
					}
				}
			}
		}
	})
}

// Powers of all sizes, and all that is special about one operand with the other.
func TestPow(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		f := Binary(ir.Pow, dtype.Float32, 0)
		check := func(x, y []float32) {
			t.Helper()
			d := make([]float32, len(x))
			f(&Args{Dst: ptr(d), A: ptr(x), B: ptr(y), N: len(x), Rows: 1})
			worst := 0.0
			for i := range d {
				want := math.Pow(float64(x[i]), float64(y[i]))
				u := ulps(d[i], want)
				if worst = max(worst, u); u > 1 || want == 0 && !sameBits(d[i], float32(want)) {
					t.Fatalf("%g to the %g is %g, want %g: wrong by %g ulp", x[i], y[i], d[i], want, u)
				}
			}
			t.Logf("%.2f ulp", worst)
		}
		special := append(slices.Clone(specials), 0.5, 2, 3, -0.5, -2, -3, 1e-40, 1<<24, 1<<24+2, 1<<23+1, -1<<23-1, 0.99999994, 1.0000001, -0.99999994, 3e38)
		var x, y []float32
		for _, a := range special {
			for _, b := range special {
				x, y = append(x, a), append(y, b)
			}
		}
		check(x, y)
		r := rand.New(rand.NewPCG(15, 16))
		for i := range 200_000 {
			a := math.Float32frombits(r.Uint32() >> 1)
			b := float32(r.NormFloat64())
			switch i % 4 {
			case 0:
				a = float32(math.Exp(r.NormFloat64()))
				b *= 20
			case 1: // results of all exponents
				b = float32((r.Float64()*300 - 150) / math.Log2(float64(a)))
			case 2:
				a, b = -a, float32(r.IntN(40)-20)
			}
			x, y = append(x, a), append(y, b)
		}
		check(x, y)
	})
}

func TestSelectForms(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for scalar := range uint8(8) {
			f := Select(4, scalar)
			for n := range 40 {
				c := make([]byte, n+1)
				for i := range c {
					c[i] = byte(r.IntN(2))
				}
				x, y, d := randomFloats(r, n+1), randomFloats(r, n+1), make([]float32, n+1)
				f(&Args{Dst: ptr(d), A: ptr(c), B: ptr(x), C: ptr(y), N: n, Rows: 1, Scalar: scalar})
				at := func(i int, bit uint8) int {
					if scalar&bit != 0 {
						return 0
					}
					return i
				}
				for i := range n {
					want := y[at(i, ScalarC)]
					if c[at(i, ScalarA)] != 0 {
						want = x[at(i, ScalarB)]
					}
					if !same(d[i], want) {
						t.Fatalf("form %d, n %d, element %d: %g, want %g", scalar, n, i, d[i], want)
					}
				}
				if d[n] != 0 {
					t.Fatalf("form %d, n %d: wrote behind the end", scalar, n)
				}
			}
		}
	})
}

// Elements are moved from and to any distance, either way.
func TestMove(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for _, stride := range []int{1, 2, 7, -1, -3, 0} {
			for n := range 40 {
				const rows = 3
				x := make([]float32, 600)
				for i := range x {
					x[i] = float32(i)
				}
				origin := 150
				d := make([]float32, rows*(n+1))
				Move(4)(&Args{Dst: ptr(d), A: unsafe.Pointer(&x[origin]), DstRow: 4 * (n + 1), DstCol: 4, ARow: 8, ACol: 4 * stride, N: n, Rows: rows})
				back := make([]float32, 600)
				for r := range rows {
					for i := range n {
						if want := x[origin+2*r+i*stride]; d[r*(n+1)+i] != want {
							t.Fatalf("stride %d, n %d, row %d, element %d: %g, want %g", stride, n, r, i, d[r*(n+1)+i], want)
						}
					}
					if d[r*(n+1)+n] != 0 {
						t.Fatalf("stride %d, n %d: wrote behind the row", stride, n)
					}
				}
				Move(4)(&Args{Dst: unsafe.Pointer(&back[origin]), A: ptr(d), DstCol: 4 * stride, ACol: 4, N: n, Rows: 1})
				if n > 0 && back[origin+(n-1)*stride] != x[origin+(n-1)*stride] {
					t.Fatalf("stride %d, n %d: not scattered back", stride, n)
				}
			}
		}
	})
}

// guardedFloats moves x to memory that cannot be read behind its end.
func guardedFloats(t *testing.T, x []float32) []float32 {
	g := unsafe.Slice((*float32)(guarded(t, 4*len(x))), len(x))
	copy(g, x)
	return g
}

// sameBits is same that tells 0 from -0.
func sameBits(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

// Windows anywhere in a row, of any length and distance, are combined in order and
// nothing outside of them is touched.
func TestWindow(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		for n := 1; n < 120; n += 1 + n/40 {
			for step := 1; step <= 3; step++ {
				rows, gap := 1+r.IntN(3), r.IntN(4)
				taps := []int64{int64(r.IntN(3))}
				for range r.IntN(9) {
					taps = append(taps, taps[len(taps)-1]+int64(1+r.IntN(3)))
				}
				last := int(taps[len(taps)-1])
				ld := (n-1)*step + last + 1 + gap
				x := guardedFloats(t, randomFloats(r, rows*ld-gap))
				start := specials[r.IntN(len(specials))]
				bytes := make([]int64, len(taps))
				for i, k := range taps {
					bytes[i] = 4 * k
				}
				g := Args{A: ptr(x), B: ptr(bytes), C: unsafe.Pointer(&start), DstRow: 4 * (n + 1), ARow: 4 * ld, N: n, Rows: rows, DstCol: len(taps), ACol: 4 * step}
				sum, top, at := make([]float32, rows*(n+1)), make([]float32, rows*(n+1)), make([]int32, rows*(n+1))
				g.Dst = ptr(sum)
				Window(ir.ReduceWindowSum, dtype.Float32, step)(&g)
				g.Dst = ptr(top)
				Window(ir.ReduceWindowMax, dtype.Float32, step)(&g)
				g.Dst, g.C = ptr(at), unsafe.Add(ptr(x), -4)
				Window(ir.ReduceWindowArgMax, dtype.Float32, step)(&g)
				for i := range rows * (n + 1) {
					row, col := i/(n+1), i%(n+1)
					var wantSum, wantTop float32
					wantAt := -1
					if col < n {
						wantSum = start
						for _, k := range taps {
							p := row*ld + col*step + int(k)
							v := x[p]
							wantSum += v
							if wantAt < 0 || v > wantTop || v != v && wantTop == wantTop {
								wantTop, wantAt = v, p
							}
						}
					}
					if !sameBits(sum[i], wantSum) || !sameBits(top[i], wantTop) || int(at[i]) != wantAt+1 {
						t.Fatalf("step %d, taps %v, n %d, row %d, column %d: sum %g, maximum %g at %d; want %g, %g at %d",
							step, taps, n, row, col, sum[i], top[i], at[i], wantSum, wantTop, wantAt+1)
					}
				}
			}
		}
	})
}

func TestMaxPairs(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(13, 14))
		for n := range 70 {
			const rows = 3
			ld := 2*n + 1
			x, y := guardedFloats(t, randomFloats(r, rows*ld-1)), guardedFloats(t, randomFloats(r, rows*ld-1))
			d := make([]float32, rows*(n+1))
			MaxPairs(dtype.Float32)(&Args{Dst: ptr(d), A: ptr(x), B: ptr(y), DstRow: 4 * (n + 1), ARow: 4 * ld, BRow: 4 * ld, N: n, Rows: rows})
			for i := range rows * (n + 1) {
				var want float32
				if col := i % (n + 1); col < n {
					at := i/(n+1)*ld + 2*col
					want = max(x[at], x[at+1], y[at], y[at+1])
				}
				if !sameBits(d[i], want) {
					t.Fatalf("n %d, element %d: %g, want %g", n, i, d[i], want)
				}
			}
		}
	})
}

func TestReductions(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, op := range []ir.Op{ir.ReduceSum, ir.ReduceMax, ir.ReduceMin} {
			id := math.Float32frombits(uint32(Identity(op, dtype.Float32)))
			combine := map[ir.Op]ir.Op{ir.ReduceSum: ir.Add, ir.ReduceMax: ir.Max, ir.ReduceMin: ir.Min}[op].Info().F64
			for _, nan := range []bool{false, true} {
				for n := 1; n < 300; n += 1 + n/15 {
					const rows = 3
					ld := n + 2
					x := make([]float32, rows*ld)
					for i := range x {
						x[i] = float32(r.IntN(100) - 50)
					}
					if nan {
						x[r.IntN(n)] = float32(math.NaN())
					}
					row := []float32{id, id, id, 77}
					RowReduce(op, dtype.Float32)(&Args{Dst: ptr(row), A: ptr(x), DstRow: 4, ARow: 4 * ld, N: n, Rows: rows})
					col := make([]float32, n+1)
					for i := range col {
						col[i] = id
					}
					ColReduce(op, dtype.Float32)(&Args{Dst: ptr(col), A: ptr(x), ARow: 4 * ld, N: n, Rows: rows})
					for i := range rows {
						want := float64(id)
						for _, v := range x[i*ld : i*ld+n] {
							want = combine(want, float64(v))
						}
						if !same(row[i], float32(want)) {
							t.Fatalf("%v of a row of %d: %g, want %g", op, n, row[i], want)
						}
					}
					for i := range n {
						want := float64(id)
						for k := range rows {
							want = combine(want, float64(x[k*ld+i]))
						}
						if !same(col[i], float32(want)) {
							t.Fatalf("%v of column %d of %d: %g, want %g", op, i, n, col[i], want)
						}
					}
					if row[3] != 77 || col[n] != id {
						t.Fatalf("%v, n %d: wrote behind the end", op, n)
					}
				}
			}
		}
	})
}

// Rounding errors of equal terms all point the same way; one accumulator would be
// wrong by hundreds of places here.
func TestSumAccuracy(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		x := make([]float32, 4096)
		for i := range x {
			x[i] = 0.1
		}
		var s float32
		RowReduce(ir.ReduceSum, dtype.Float32)(&Args{Dst: unsafe.Pointer(&s), A: ptr(x), N: len(x), Rows: 1})
		if u := ulps(s, 4096*float64(float32(0.1))); u > 16 {
			t.Errorf("the sum of 4096 tenths is wrong by %g ulp", u)
		}
	})
}

func TestConvert(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		// All halves to float32 and back, and what lies between them.
		for _, h := range []dtype.DType{dtype.Float16, dtype.BFloat16} {
			to, from := dtype.Float16ToFloat32, dtype.Float16FromFloat32
			if h == dtype.BFloat16 {
				to, from = dtype.BFloat16ToFloat32, dtype.BFloat16FromFloat32
			}
			n := 1<<16 - 3
			x := make([]uint16, n)
			for i := range x {
				x[i] = uint16(i)
			}
			y := make([]float32, n)
			Convert(h, dtype.Float32)(&Args{Dst: ptr(y), A: ptr(x), N: n, Rows: 1})
			for i := range x {
				if !same(y[i], to(x[i])) {
					t.Fatalf("%v %#x is %g, want %g", h, x[i], y[i], to(x[i]))
				}
				y[i] = math.Float32frombits(math.Float32bits(y[i]) + uint32(i*2654435761)>>(8+uint(i)%12))
			}
			z, w := make([]uint16, n), make([]float32, n)
			Convert(dtype.Float32, h)(&Args{Dst: ptr(z), A: ptr(y), N: n, Rows: 1})
			Convert(h, h)(&Args{Dst: ptr(w), A: ptr(y), N: n, Rows: 1})
			for i := range y {
				if want := from(y[i]); z[i] != want && y[i] == y[i] || !same(to(z[i]), to(want)) || !same(w[i], to(want)) {
					t.Fatalf("%g to %v is %#x (rounded %g), want %#x", y[i], h, z[i], w[i], want)
				}
			}
		}
		x := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1.9, -1.9, 3e9, -3e9, 300, 0, -0.5}
		y := make([]int32, len(x))
		Convert(dtype.Float32, dtype.Int32)(&Args{Dst: ptr(y), A: ptr(x), N: len(x), Rows: 1})
		if got, want := fmt.Sprint(y), "[0 2147483647 -2147483648 1 -1 2147483647 -2147483648 300 0 0]"; got != want {
			t.Errorf("float32 to int32: %v, want %v", got, want)
		}
		u := make([]uint8, len(x))
		Convert(dtype.Float32, dtype.Uint8)(&Args{Dst: ptr(u), A: ptr(x), N: len(x), Rows: 1})
		if got, want := fmt.Sprint(u), "[0 255 0 1 0 255 0 255 0 0]"; got != want {
			t.Errorf("float32 to uint8: %v, want %v", got, want)
		}
		b := []uint8{0, 1, 2, 255, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}
		f := make([]float32, len(b))
		Convert(dtype.Uint8, dtype.Float32)(&Args{Dst: ptr(f), A: ptr(b), N: len(b), Rows: 1})
		for i := range b {
			if f[i] != float32(b[i]) {
				t.Errorf("uint8 %d is %g", b[i], f[i])
			}
		}
	})
}

// Integer arithmetic never traps and wraps.
func TestIntegers(t *testing.T) {
	for _, c := range []struct {
		op         ir.Op
		x, y, want int32
	}{
		{ir.Div, 7, 0, 0}, {ir.Rem, 7, 0, 0}, {ir.Div, -7, 2, -3}, {ir.Rem, -7, 2, -1}, {ir.Div, math.MinInt32, -1, math.MinInt32},
		{ir.Add, math.MaxInt32, 1, math.MinInt32}, {ir.Pow, 3, 5, 243}, {ir.Pow, 2, -1, 0}, {ir.Pow, -1, -3, -1}, {ir.Pow, 0, 0, 1},
		{ir.Shl, 1, 31, math.MinInt32}, {ir.Shl, 1, 32, 0}, {ir.Shr, -8, 1, -4}, {ir.Shr, -8, 40, -1}, {ir.Shr, -8, -1, -1}, {ir.Xor, 5, 3, 6},
	} {
		var d int32
		Binary(c.op, dtype.Int32, 0)(&Args{Dst: unsafe.Pointer(&d), A: unsafe.Pointer(&c.x), B: unsafe.Pointer(&c.y), N: 1, Rows: 1})
		if d != c.want {
			t.Errorf("%v(%d, %d) = %d, want %d", c.op, c.x, c.y, d, c.want)
		}
	}
}

func BenchmarkUnary(b *testing.B) {
	x, y := make([]float32, 2048), make([]float32, 2048)
	for i := range x {
		x[i] = float32(i)/500 + 0.01
	}
	for _, op := range []ir.Op{ir.Neg, ir.Sqrt, ir.Exp, ir.Expm1, ir.Log, ir.Log1p, ir.Sin, ir.Cos, ir.Tanh, ir.Logistic, ir.Erf} {
		b.Run(op.String(), func(b *testing.B) {
			g := &Args{Dst: ptr(y), A: ptr(x), N: len(x), Rows: 1}
			f := Unary(op, dtype.Float32)
			b.SetBytes(int64(len(x)))
			for b.Loop() {
				f(g)
			}
		})
	}
}

// A softmax down the columns of a matrix that comes in several tiles, and its
// gradient, with columns of nothing but −∞ and with NaN, against float64.
func TestSoftmaxColumns(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, cols := range []int{1, 3, 8, 15, 16, 17, 31, 48, 64, 77} {
			keys := 1 + r.IntN(40)
			x := make([]float64, keys*cols)
			for i := range x {
				x[i] = float64(float32(r.NormFloat64() * 10))
				if r.IntN(20) == 0 || i%cols == 2 || i%cols == 5 && i < 20*cols {
					x[i] = math.Inf(-1)
				}
			}
			if cols > 7 {
				x[7] = math.NaN()
			}
			vector := func(v float32) []float32 {
				l := guardedFloats(t, make([]float32, cols))
				for i := range l {
					l[i] = v
				}
				return l
			}
			top, sum, shrink := vector(float32(math.Inf(-1))), vector(0), vector(5)
			pitch := cols + r.IntN(3)
			tile := func(k0, k1 int, f func(i int) float64) []float32 {
				l := guardedFloats(t, make([]float32, (k1-k0)*pitch-(pitch-cols)))
				for k := k0; k < k1; k++ {
					for c := range cols {
						l[(k-k0)*pitch+c] = float32(f(k*cols + c))
					}
				}
				return l
			}
			value := func(i int) float64 { return x[i] }
			for k0 := 0; k0 < keys; {
				k1 := min(keys, k0+1+r.IntN(15))
				p, before := tile(k0, k1, value), append([]float32(nil), top...)
				SoftmaxColumns(dtype.Float32)(&Args{Dst: ptr(p), DstRow: pitch * 4, A: ptr(top), B: ptr(sum), C: ptr(shrink), N: cols, Rows: k1 - k0})
				for c := range cols {
					m, s := math.Inf(-1), 0.0
					for k := range k1 {
						if v := x[k*cols+c]; v > m {
							m = v
						}
					}
					if float64(top[c]) != m {
						t.Fatalf("%d columns: the maximum of column %d is %g, want %g", cols, c, top[c], m)
					}
					m = max(m, -math.MaxFloat64)
					less := func(v float64) float64 {
						if m == -math.MaxFloat64 {
							return v
						}
						return float64(float32(v) - float32(m)) // as rounded
					}
					for k := range k1 {
						e := math.Exp(less(x[k*cols+c]))
						s += e
						if k >= k0 && ulps(p[(k-k0)*pitch+c], e) > 4 && math.Abs(float64(p[(k-k0)*pitch+c])-e) > 1e-37 {
							t.Fatalf("%d columns, key %d of column %d: %g, want %g", cols, k, c, p[(k-k0)*pitch+c], e)
						}
					}
					if want := math.Exp(less(float64(before[c]))); ulps(shrink[c], want) > 4 && math.Abs(float64(shrink[c])-want) > 1e-37 {
						t.Fatalf("%d columns: what came before column %d shrinks by %g, want %g", cols, c, shrink[c], want)
					}
					if got := float64(sum[c]); (got != got) != (s != s) || math.Abs(got-s) > 1e-5*s {
						t.Fatalf("%d columns: the sum of column %d is %g, want %g", cols, c, got, s)
					}
				}
				k0 = k1
			}
			lse, delta := vector(3), vector(0.5)
			s, d := tile(0, keys, value), tile(0, keys, func(i int) float64 { return float64(i%7) - 3 })
			SoftmaxGradColumns(dtype.Float32)(&Args{Dst: ptr(s), DstRow: pitch * 4, A: ptr(d), ARow: pitch * 4, B: ptr(lse), C: ptr(delta), N: cols, Rows: keys})
			for i, v := range x {
				at := i/cols*pitch + i%cols
				p := math.Exp(float64(float32(v) - 3))
				want := p * (float64(i%7) - 3.5)
				if ulps(s[at], p) > 4 && math.Abs(float64(s[at])-p) > 1e-37 || (want == want) == (d[at] != d[at]) || math.Abs(float64(d[at])-want) > 1e-6*math.Abs(want)+1e-37 {
					t.Fatalf("%d columns, element %d: weight %g and gradient %g, want %g and %g", cols, i, s[at], d[at], p, want)
				}
			}
		}
	})
}

// Scale is a product that is never -0, in every position.
func TestScale(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for _, n := range []int{1, 5, 16, 47, 100} {
			x, d := guardedFloats(t, make([]float32, 3*n)), guardedFloats(t, make([]float32, 3*n))
			for i := range x {
				x[i] = []float32{-1e-30, 2.5, float32(math.Copysign(0, -1)), -3, 0, float32(math.NaN()), float32(math.Inf(-1))}[i%7]
			}
			by := guardedFloats(t, []float32{1e-20, -1, 0.5})
			Scale(dtype.Float32)(&Args{Dst: ptr(d), DstRow: 4 * n, A: ptr(x), ARow: 4 * n, B: ptr(by), BRow: 4, Scalar: ScalarB, N: n, Rows: 3})
			for i, v := range x {
				p := v * by[i/n]
				if p == 0 {
					p = 0 // of either sign
				}
				if !sameBits(d[i], p) {
					t.Fatalf("%d elements: %g times %g is %g", n, v, by[i/n], d[i])
				}
			}
		}
	})
}
