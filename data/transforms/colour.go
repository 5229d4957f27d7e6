package transforms

import (
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
)

// ColorJitter changes brightness, contrast, saturation and hue by random factors, in
// random order. A single number f stands for factors from 1−f (at least 0) to 1+f, for
// the hue for a shift from −f to f of the circle of colours; the Range beside it, if it
// is not zero, for itself. Grey pictures have no saturation and no hue.
type ColorJitter struct {
	Brightness, Contrast, Saturation, Hue                     float64
	BrightnessRange, ContrastRange, SaturationRange, HueRange Range
}

// ranges are the four ranges, and which of them are in use.
func (t ColorJitter) ranges() (r [4]Range, used [4]bool) {
	for i, v := range []float64{t.Brightness, t.Contrast, t.Saturation, t.Hue} {
		given := []Range{t.BrightnessRange, t.ContrastRange, t.SaturationRange, t.HueRange}[i]
		switch {
		case given != (Range{}):
			r[i], used[i] = given, true
		case i < 3:
			r[i], used[i] = Range{max(0, 1-v), 1 + v}, v != 0
		default:
			r[i], used[i] = Range{-v, v}, v != 0
		}
	}
	return r, used
}

func (t ColorJitter) Shape(in Shape) (Shape, error) {
	ranges, _ := t.ranges()
	for i, v := range []float64{t.Brightness, t.Contrast, t.Saturation, t.Hue} {
		name := []string{"Brightness", "Contrast", "Saturation", "Hue"}[i]
		r := ranges[i]
		switch {
		case !(v >= 0) || !finite(v, r[0], r[1]) || r[0] > r[1] || i < 3 && r[0] < 0:
			return in, wrong(t, "%s is %v or %v, expected a number that is not negative, or two, the smaller first", name, v, r)
		case i == 3 && (r[0] < -0.5 || r[1] > 0.5):
			return in, wrong(t, "Hue is %v or %v, expected shifts from −0.5 to 0.5", v, r)
		}
	}
	return in, colours(t, in)
}

// colours refuses pictures that are neither grey nor RGB.
func colours(t any, in Shape) error {
	if in.Channels != 1 && in.Channels != 3 {
		return wrong(t, "pictures have %d channels, expected 1 or 3", in.Channels)
	}
	return nil
}

func (t ColorJitter) Apply(dst, src *Image, g *sinter.Generator) {
	ranges, used := t.ranges()
	order := [4]int{0, 1, 2, 3}
	for i := 3; i > 0; i-- {
		j := g.IntN(i + 1)
		order[i], order[j] = order[j], order[i]
	}
	var factors [4]float64
	for i, r := range ranges {
		factors[i] = r.draw(g)
	}
	copy(dst.Pix, src.Pix)
	for _, i := range order {
		if used[i] {
			[]func(*Image, float64){AdjustBrightness, AdjustContrast, AdjustSaturation, AdjustHue}[i](dst, factors[i])
		}
	}
}

// unit cuts a value to what a picture has.
func unit(v float32) float32 { return min(max(v, 0), 1) }

// AdjustBrightness multiplies by a factor.
func AdjustBrightness(m *Image, factor float64) {
	for i, v := range m.Pix {
		m.Pix[i] = unit(v * float32(factor))
	}
}

// AdjustContrast multiplies the distance to the picture's mean grey.
func AdjustContrast(m *Image, factor float64) {
	sum := 0.0
	for i := range m.Height * m.Width {
		sum += float64(m.grey(i))
	}
	mean := float32(sum / float64(m.Height*m.Width))
	f := float32(factor)
	for i, v := range m.Pix {
		m.Pix[i] = unit(v*f + mean*(1-f))
	}
}

// AdjustSaturation multiplies the distance to each pixel's grey.
func AdjustSaturation(m *Image, factor float64) {
	if m.Channels != 3 {
		return
	}
	f := float32(factor)
	r, g, b := m.plane(0), m.plane(1), m.plane(2)
	for i := range r {
		grey := m.grey(i) * (1 - f)
		r[i], g[i], b[i] = unit(r[i]*f+grey), unit(g[i]*f+grey), unit(b[i]*f+grey)
	}
}

// grey is the luma of pixel i.
func (m *Image) grey(i int) float32 {
	if m.Channels != 3 {
		return m.Pix[i]
	}
	n := m.Height * m.Width
	return 0.2989*m.Pix[i] + 0.587*m.Pix[n+i] + 0.114*m.Pix[2*n+i]
}

// AdjustHue turns the circle of colours by shift of it.
func AdjustHue(m *Image, shift float64) {
	if m.Channels != 3 {
		return
	}
	r, g, b := m.plane(0), m.plane(1), m.plane(2)
	for i := range r {
		h, s, v := hsv(r[i], g[i], b[i])
		h += float32(shift)
		h -= float32(math.Floor(float64(h)))
		r[i], g[i], b[i] = rgb(h, s, v)
	}
}

// hsv is a colour as hue, saturation and value, each from 0 to 1 (A. R. Smith, "Color
// gamut transform pairs", 1978).
func hsv(r, g, b float32) (h, s, v float32) {
	most, least := max(r, g, b), min(r, g, b)
	d := most - least
	if d == 0 {
		return 0, 0, most
	}
	switch most {
	case r:
		h = (g - b) / d
		if h < 0 {
			h += 6
		}
	case g:
		h = (b-r)/d + 2
	default:
		h = (r-g)/d + 4
	}
	return h / 6, d / most, most
}

// rgb is the inverse of hsv.
func rgb(h, s, v float32) (r, g, b float32) {
	i := float32(math.Floor(float64(h * 6)))
	f := h*6 - i
	p, q, t := unit(v*(1-s)), unit(v*(1-s*f)), unit(v*(1-s*(1-f)))
	switch int(i) % 6 {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	}
	return v, p, q
}

// Normalize subtracts the mean of each channel and divides by its deviation. One number
// serves all channels.
type Normalize struct{ Mean, Std []float64 }

func (t Normalize) Shape(in Shape) (Shape, error) {
	for _, v := range [][]float64{t.Mean, t.Std} {
		if len(v) != 1 && len(v) != in.Channels || !finite(v...) {
			return in, wrong(t, "Mean %v, Std %v; expected %d numbers each, or one", t.Mean, t.Std, in.Channels)
		}
	}
	if slices.Contains(t.Std, 0) {
		return in, wrong(t, "Std %v has a 0", t.Std)
	}
	return in, nil
}

// of is mean and deviation of a channel.
func (t Normalize) of(c int) (mean, std float32) {
	return float32(t.Mean[min(c, len(t.Mean)-1)]), float32(t.Std[min(c, len(t.Std)-1)])
}

func (t Normalize) Apply(dst, src *Image, _ *sinter.Generator) {
	for c := range src.Channels {
		mean, std := t.of(c)
		from, to := src.plane(c), dst.plane(c)
		for i, v := range from {
			to[i] = (v - mean) / std
		}
	}
}

// RandomErasing paints over a rectangle with probability P, 0.5 if zero.
type RandomErasing struct {
	P     float64
	Scale Range   // of the area; 0.02 to 0.33 if zero
	Ratio Range   // of height to width, drawn on a logarithmic scale; 0.3 to 3.3 if zero
	Value float64 // what it is painted with
	Noise bool    // or normally distributed numbers
}

func (t RandomErasing) Shape(in Shape) (Shape, error) {
	if err := checkP(t, t.P); err != nil {
		return in, err
	}
	if !finite(t.Value) {
		return in, wrong(t, "Value is %v, expected a number", t.Value)
	}
	return in, checkAreas(t, t.Scale.or(Range{0.02, 0.33}), t.Ratio.or(Range{0.3, 3.3}), 1)
}

func (t RandomErasing) Apply(dst, src *Image, g *sinter.Generator) {
	copy(dst.Pix, src.Pix)
	if g.Float64() >= probability(t.P, 0.5) {
		return
	}
	y, x, h, w, ok := t.draw(src.Height, src.Width, g)
	if !ok {
		return
	}
	if !t.Noise {
		Erase(dst, y, x, h, w, t.Value)
		return
	}
	for c := range dst.Channels {
		for i := range h {
			for j := range w {
				dst.plane(c)[(y+i)*dst.Width+x+j] = float32(g.NormFloat64())
			}
		}
	}
}

// draw is the rectangle; after ten tries that do not fit there is none.
func (t RandomErasing) draw(height, width int, g *sinter.Generator) (y, x, h, w int, ok bool) {
	scale, ratio := t.Scale.or(Range{0.02, 0.33}), t.Ratio.or(Range{0.3, 3.3})
	logs := Range{math.Log(ratio[0]), math.Log(ratio[1])}
	area := float64(height) * float64(width)
	for range 10 {
		target := area * scale.draw(g)
		aspect := math.Exp(logs.draw(g))
		h, w := round(math.Sqrt(target*aspect)), round(math.Sqrt(target/aspect))
		if h < height && w < width {
			y := g.IntN(height - h + 1)
			return y, g.IntN(width - w + 1), h, w, true
		}
	}
	return 0, 0, 0, 0, false
}

// Erase paints a rectangle.
func Erase(m *Image, y, x, h, w int, value float64) {
	for c := range m.Channels {
		for i := range h {
			row := m.plane(c)[(y+i)*m.Width+x:][:w]
			for j := range row {
				row[j] = float32(value)
			}
		}
	}
}

// GaussianNoise adds normally distributed numbers and cuts the result to 0 … 1.
type GaussianNoise struct {
	Mean   float64
	Sigma  float64 // 0.1 if zero
	NoClip bool    // leave what is below 0 or above 1 as it is
}

func (t GaussianNoise) Shape(in Shape) (Shape, error) {
	if !finite(t.Mean, t.Sigma) || t.Sigma < 0 {
		return in, wrong(t, "Mean %v, Sigma %v; expected numbers, Sigma not negative", t.Mean, t.Sigma)
	}
	return in, nil
}

func (t GaussianNoise) Apply(dst, src *Image, g *sinter.Generator) {
	sigma := probability(t.Sigma, 0.1)
	for i, v := range src.Pix {
		v += float32(t.Mean + sigma*g.NormFloat64())
		if !t.NoClip {
			v = unit(v)
		}
		dst.Pix[i] = v
	}
}
