package devicetest

import (
	"math"

	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/scalar"
)

type number = scalar.Number

var inf, nan, minusZero = math.Inf(1), math.NaN(), math.Copysign(0, -1)

// accumulator adds numbers. It keeps what a float64 loses in an addition in a
// second one, so that its sums are right to the last digit.
type accumulator struct {
	sum  number
	lost float64
}

func (a *accumulator) add(n number) {
	before := a.sum.F
	a.sum = number{F: before + n.F, I: a.sum.I + n.I}
	after := a.sum.F - before
	a.lost += (before - (a.sum.F - after)) + (n.F - after)
}

// addProduct adds x·y.
func (a *accumulator) addProduct(x, y number) {
	p := x.F * y.F
	a.add(number{F: p, I: x.I * y.I})
	a.lost += math.FMA(x.F, y.F, -p)
}

func (a *accumulator) number() number {
	if math.IsNaN(a.lost) { // there were infinities
		return a.sum
	}
	return number{F: a.sum.F + a.lost, I: a.sum.I}
}

// less orders numbers; NaN is larger than every other.
func less(a, b number) bool {
	return a.F < b.F || a.I < b.I || b.F != b.F && a.F == a.F
}

// ulp is the distance between the numbers of type d around v.
func ulp(d dtype.DType, v float64) float64 {
	mantissa, least := 0, 0
	switch d {
	case dtype.Float16:
		mantissa, least = 10, -14
	case dtype.BFloat16:
		mantissa, least = 7, -126
	case dtype.Float32:
		mantissa, least = 23, -126
	case dtype.Float64:
		mantissa, least = 52, -1022
	}
	_, e := math.Frexp(v)
	return math.Ldexp(1, max(e-1, least)-mantissa)
}
