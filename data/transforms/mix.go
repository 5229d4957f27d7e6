package transforms

import (
	"math"

	"github.com/sinter-dl/sinter"
)

// A Mix is done to whole batches: each example is mixed with the one before it, the
// first with the last, and so are their labels, which are probabilities of the classes
// then. The loss has to take those, as nn.CrossEntropy does.
type Mix interface {
	check() error
	// mix changes a batch: x is n pictures, y n times the classes' probabilities.
	mix(x []float32, in Shape, y []float32, n int, g *sinter.Generator)
}

// MixUp makes each example λ times itself and 1−λ times another, λ drawn for each batch
// from the distribution Beta(Alpha, Alpha). Zhang, Cissé, Dauphin and Lopez-Paz, "mixup:
// Beyond empirical risk minimization" (ICLR 2018).
type MixUp struct {
	Alpha float64 // 1 if zero
}

// CutMix puts a rectangle of another picture into each, of 1−λ of the area before it is
// cut off at the borders, λ drawn for each batch from Beta(Alpha, Alpha); labels are
// mixed by the areas. Yun et al., "CutMix: Regularization strategy to train strong
// classifiers with localizable features" (ICCV 2019).
type CutMix struct {
	Alpha float64 // 1 if zero
}

func (t MixUp) check() error  { return checkAlpha(t, t.Alpha) }
func (t CutMix) check() error { return checkAlpha(t, t.Alpha) }

func checkAlpha(t any, alpha float64) error {
	if !(alpha >= 0) || !finite(alpha) {
		return wrong(t, "Alpha is %v, expected a number above 0", alpha)
	}
	return nil
}

func (t MixUp) mix(x []float32, _ Shape, y []float32, n int, g *sinter.Generator) {
	lambda := beta(probability(t.Alpha, 1), g)
	blendWithPrevious(x, n, lambda)
	blendWithPrevious(y, n, lambda)
}

func (t CutMix) mix(x []float32, in Shape, y []float32, n int, g *sinter.Generator) {
	lambda := beta(probability(t.Alpha, 1), g)
	cx, cy := g.IntN(in.Width), g.IntN(in.Height)
	r := 0.5 * math.Sqrt(1-lambda)
	halfW, halfH := int(r*float64(in.Width)), int(r*float64(in.Height))
	x0, x1 := max(cx-halfW, 0), min(cx+halfW, in.Width)
	y0, y1 := max(cy-halfH, 0), min(cy+halfH, in.Height)
	lambda = 1 - float64((x1-x0)*(y1-y0))/float64(in.Width*in.Height)
	cutFromPrevious(x, in, n, x0, y0, x1, y1)
	blendWithPrevious(y, n, lambda)
}

// blendWithPrevious makes each of n rows lambda of itself and the rest of the row
// before it.
func blendWithPrevious(v []float32, n int, lambda float64) {
	size := len(v) / n
	a, b := float32(lambda), float32(1-lambda)
	for i := range size {
		previous := v[(n-1)*size+i]
		for k := i; k < len(v); k += size {
			v[k], previous = v[k]*a+previous*b, v[k]
		}
	}
}

// cutFromPrevious copies a rectangle into each of n pictures from the one before it.
func cutFromPrevious(x []float32, in Shape, n, x0, y0, x1, y1 int) {
	size := len(x) / n
	row := make([]float32, x1-x0)
	for c := range in.Channels {
		for y := y0; y < y1; y++ {
			at := (c*in.Height+y)*in.Width + x0
			copy(row, x[(n-1)*size+at:])
			for k := n - 1; k > 0; k-- {
				copy(x[k*size+at:][:len(row)], x[(k-1)*size+at:])
			}
			copy(x[at:], row)
		}
	}
}

// beta draws from Beta(a, a), as the share of one of two numbers from Gamma(a).
func beta(a float64, g *sinter.Generator) float64 {
	p, q := gamma(a, g), gamma(a, g)
	if p+q == 0 { // both too small for a float64: a is next to 0, and so is the share or its rest
		return float64(g.IntN(2))
	}
	return p / (p + q)
}

// gamma draws from Gamma(a, 1). G. Marsaglia and W. W. Tsang, "A simple method for
// generating gamma variables" (ACM TOMS 26, 2000).
func gamma(a float64, g *sinter.Generator) float64 {
	if a < 1 {
		u := 1 - g.Float64()
		return gamma(a+1, g) * math.Pow(u, 1/a)
	}
	d := a - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := g.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v *= v * v
		if u := 1 - g.Float64(); math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
