package transforms

import (
	"image"
	"math"
	"reflect"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/resample"
)

// nameOf is the name of a transform's type.
func nameOf(t any) string { return reflect.TypeOf(t).Name() }

// Interpolation is how a transform finds values between pixels.
type Interpolation uint8

const (
	Default  Interpolation = iota // torchvision's: Bilinear to resize, Nearest to rotate
	Nearest                       // the pixel that the place is in
	Bilinear                      // the four around it, by their distance
	Bicubic                       // sixteen around it; only to resize
)

// check refuses what a transform does not have; bicubic tells whether it has Bicubic.
func (i Interpolation) check(t any, bicubic bool) error {
	switch {
	case i > Bicubic:
		return wrong(t, "unknown Interpolation %d", i)
	case bicubic && i == Nearest:
		return wrong(t, "Nearest is not available to resize; use Bilinear or Bicubic")
	case !bicubic && i == Bicubic:
		return wrong(t, "Bicubic is only available to resize; use Nearest or Bilinear")
	}
	return nil
}

// RandomHorizontalFlip exchanges left and right with probability P, 0.5 if zero.
type RandomHorizontalFlip struct{ P float64 }

// RandomVerticalFlip exchanges above and below with probability P, 0.5 if zero.
type RandomVerticalFlip struct{ P float64 }

func (t RandomHorizontalFlip) Shape(in Shape) (Shape, error) { return in, checkP(t, t.P) }
func (t RandomVerticalFlip) Shape(in Shape) (Shape, error)   { return in, checkP(t, t.P) }

func checkP(t any, p float64) error {
	if !(p >= 0 && p <= 1) {
		return wrong(t, "P is %v, expected a probability", p)
	}
	return nil
}

func (t RandomHorizontalFlip) draw(g *sinter.Generator) bool {
	return g.Float64() < probability(t.P, 0.5)
}

func (t RandomVerticalFlip) draw(g *sinter.Generator) bool {
	return g.Float64() < probability(t.P, 0.5)
}

func (t RandomHorizontalFlip) Apply(dst, src *Image, g *sinter.Generator) {
	if t.draw(g) {
		HorizontalFlip(dst, src)
	} else {
		copy(dst.Pix, src.Pix)
	}
}

func (t RandomVerticalFlip) Apply(dst, src *Image, g *sinter.Generator) {
	if t.draw(g) {
		VerticalFlip(dst, src)
	} else {
		copy(dst.Pix, src.Pix)
	}
}

// HorizontalFlip exchanges left and right.
func HorizontalFlip(dst, src *Image) {
	for at := 0; at < len(src.Pix); at += src.Width {
		from, to := src.Pix[at:at+src.Width], dst.Pix[at:at+src.Width]
		for x, v := range from {
			to[len(to)-1-x] = v
		}
	}
}

// VerticalFlip exchanges above and below.
func VerticalFlip(dst, src *Image) {
	for c := range src.Channels {
		from, to := src.plane(c), dst.plane(c)
		for y := range src.Height {
			copy(to[(src.Height-1-y)*src.Width:][:src.Width], from[y*src.Width:])
		}
	}
}

// Resize scales pictures, with antialias. Of Size and Height, Width one is given: the
// length of the shorter side, or both.
type Resize struct {
	Size          int
	Height, Width int
	Interpolation Interpolation // Bilinear or Bicubic
}

func (t Resize) Shape(in Shape) (Shape, error) {
	if err := checkSides(t, t.Size, t.Height, t.Width, 1); err != nil {
		return in, err
	}
	if err := t.Interpolation.check(t, true); err != nil {
		return in, err
	}
	h, w := t.size(in.Height, in.Width)
	if int64(h)*int64(w) > maxPixels {
		return in, wrong(t, "pictures of %d×%d become %d×%d, expected at most %d pixels", in.Width, in.Height, w, h, maxPixels)
	}
	return Shape{in.Channels, h, w}, nil
}

// maxPixels bounds what parameters can ask for.
const maxPixels = 1 << 26

func checkSides(t any, size, height, width, least int) error {
	both := height >= least && width >= least
	if size == 0 && !both || size != 0 && (height != 0 || width != 0) || size < 0 || size > 1<<16 || height > 1<<16 || width > 1<<16 {
		return wrong(t, "Size %d, Height %d, Width %d; expected Size, or Height and Width, each at least 1 and at most 65536", size, height, width)
	}
	return nil
}

// size is the height and width of what comes out.
func (t Resize) size(h, w int) (int, int) {
	switch {
	case t.Size == 0:
		return t.Height, t.Width
	case w <= h:
		return t.Size * h / w, t.Size
	}
	return t.Size, t.Size * w / h
}

func (t Resize) Apply(dst, src *Image, _ *sinter.Generator) {
	ResizedCrop(dst, src, image.Rect(0, 0, src.Width, src.Height), t.Interpolation)
}

// ResizedCrop scales a part of src to dst's size.
func ResizedCrop(dst, src *Image, crop image.Rectangle, how Interpolation) {
	filter := resample.Bilinear
	if how == Bicubic {
		filter = resample.Bicubic
	}
	var ax, ay resample.Axis
	ax.Set(filter, float64(crop.Min.X), float64(crop.Dx()), crop.Min.X, crop.Max.X, dst.Width, 0, dst.Width)
	ay.Set(filter, float64(crop.Min.Y), float64(crop.Dy()), crop.Min.Y, crop.Max.Y, dst.Height, 0, dst.Height)
	rows := make([]float32, crop.Dy()*dst.Width)
	for c := range src.Channels {
		from, to := src.plane(c), dst.plane(c)
		for y := range crop.Dy() {
			line := from[(crop.Min.Y+y)*src.Width:][:src.Width]
			for x := range dst.Width {
				var sum float32
				for t, w := range ax.Weights[x*ax.Taps : (x+1)*ax.Taps] {
					sum += w * line[int(ax.First[x])+t]
				}
				rows[y*dst.Width+x] = sum
			}
		}
		for y := range dst.Height {
			out := to[y*dst.Width:][:dst.Width]
			clear(out)
			for t, w := range ay.Weights[y*ay.Taps : (y+1)*ay.Taps] {
				line := rows[(int(ay.First[y])-crop.Min.Y+t)*dst.Width:][:dst.Width]
				for x, v := range line {
					out[x] += w * v
				}
			}
		}
	}
}

// PaddingMode is what lies around a picture.
type PaddingMode string

const (
	Constant PaddingMode = "constant" // Fill
	Edge     PaddingMode = "edge"     // the nearest pixel of the picture
	Reflect  PaddingMode = "reflect"  // the picture in a mirror through its outermost pixels
)

// CenterCrop takes the middle of pictures. What they are smaller than it, is filled with
// black. Of Size and Height, Width one is given.
type CenterCrop struct {
	Size          int
	Height, Width int
}

func (t CenterCrop) size() (h, w int) {
	if t.Size != 0 {
		return t.Size, t.Size
	}
	return t.Height, t.Width
}

func (t CenterCrop) Shape(in Shape) (Shape, error) {
	h, w := t.size()
	return Shape{in.Channels, h, w}, checkSides(t, t.Size, t.Height, t.Width, 1)
}

// at is where the crop begins in a picture.
func (t CenterCrop) at(height, width int) image.Point {
	h, w := t.size()
	begin := func(have, want int) int {
		if have < want { // padding goes first, its odd pixel at the end
			return -((want - have) / 2)
		}
		return round(float64(have-want) / 2)
	}
	return image.Pt(begin(width, w), begin(height, h))
}

func (t CenterCrop) Apply(dst, src *Image, _ *sinter.Generator) {
	Crop(dst, src, t.at(src.Height, src.Width), Constant, 0)
}

// RandomCrop takes a part of pictures at a random place, after Padding pixels have been
// put on each side. Of Size and Height, Width one is given.
type RandomCrop struct {
	Size          int
	Height, Width int
	Padding       int
	Fill          float64
	PaddingMode   PaddingMode // Constant if empty
}

func (t RandomCrop) size() (h, w int) { return CenterCrop{t.Size, t.Height, t.Width}.size() }

func (t RandomCrop) Shape(in Shape) (Shape, error) {
	h, w := t.size()
	out := Shape{in.Channels, h, w}
	if err := checkSides(t, t.Size, t.Height, t.Width, 1); err != nil {
		return out, err
	}
	switch t.PaddingMode {
	case "", Constant, Edge:
	case Reflect:
		if t.Padding >= in.Height || t.Padding >= in.Width {
			return out, wrong(t, "%d pixels are to be reflected, but the picture is %d×%d", t.Padding, in.Width, in.Height)
		}
	default:
		return out, wrong(t, "unknown PaddingMode %q; known: constant, edge, reflect", t.PaddingMode)
	}
	switch {
	case t.Padding < 0 || t.Padding > 1<<16:
		return out, wrong(t, "Padding is %d, expected 0 to 65536", t.Padding)
	case !finite(t.Fill):
		return out, wrong(t, "Fill is %v, expected a number", t.Fill)
	case h > in.Height+2*t.Padding || w > in.Width+2*t.Padding:
		return out, wrong(t, "a crop of %d×%d from pictures of %d×%d with %d pixels of padding; make it smaller or Padding larger", w, h, in.Width, in.Height, t.Padding)
	}
	return out, nil
}

// draw is where the crop begins in a picture of the given size.
func (t RandomCrop) draw(height, width int, g *sinter.Generator) image.Point {
	h, w := t.size()
	y := g.IntN(height+2*t.Padding-h+1) - t.Padding
	return image.Pt(g.IntN(width+2*t.Padding-w+1)-t.Padding, y)
}

func (t RandomCrop) Apply(dst, src *Image, g *sinter.Generator) {
	Crop(dst, src, t.draw(src.Height, src.Width, g), t.PaddingMode, t.Fill)
}

// Crop copies the part of src that begins at a point, which may lie outside, as may the
// rest.
func Crop(dst, src *Image, at image.Point, mode PaddingMode, fill float64) {
	for c := range src.Channels {
		from, to := src.plane(c), dst.plane(c)
		for y := range dst.Height {
			out := to[y*dst.Width:][:dst.Width]
			sy, ok := inside(at.Y+y, src.Height, mode)
			for x := range out {
				sx, okx := inside(at.X+x, src.Width, mode)
				if ok && okx {
					out[x] = from[sy*src.Width+sx]
				} else {
					out[x] = float32(fill)
				}
			}
		}
	}
}

// inside is the place in a picture that stands for one that may lie outside; false if
// the fill does.
func inside(i, n int, mode PaddingMode) (int, bool) {
	if i >= 0 && i < n {
		return i, true
	}
	switch mode {
	case Edge:
		return min(max(i, 0), n-1), true
	case Reflect:
		if i < 0 {
			i = -i
		}
		return min(max(min(i, 2*(n-1)-i), 0), n-1), true
	}
	return 0, false
}

// RandomResizedCrop takes a part of pictures that has a random share of the area and a
// random ratio of width to height, and scales it. Of Size and Height, Width one is given.
type RandomResizedCrop struct {
	Size          int
	Height, Width int
	Scale         Range         // of the area; 0.08 to 1 if zero
	Ratio         Range         // drawn on a logarithmic scale; 3/4 to 4/3 if zero
	Interpolation Interpolation // Bilinear or Bicubic
}

func (t RandomResizedCrop) size() (h, w int) { return CenterCrop{t.Size, t.Height, t.Width}.size() }

func (t RandomResizedCrop) Shape(in Shape) (Shape, error) {
	h, w := t.size()
	out := Shape{in.Channels, h, w}
	if err := checkSides(t, t.Size, t.Height, t.Width, 1); err != nil {
		return out, err
	}
	if err := checkAreas(t, t.scale(), t.ratio(), 1); err != nil {
		return out, err
	}
	return out, t.Interpolation.check(t, true)
}

func checkAreas(t any, scale, ratio Range, most float64) error {
	if !(scale[0] >= 0 && scale[0] <= scale[1] && scale[1] <= most) {
		return wrong(t, "Scale is %v, expected two shares of the area from 0 to %v, the smaller first", scale, most)
	}
	if !(ratio[0] > 0 && ratio[0] <= ratio[1] && finite(ratio[1])) {
		return wrong(t, "Ratio is %v, expected two numbers above 0, the smaller first", ratio)
	}
	return nil
}

func (t RandomResizedCrop) scale() Range { return t.Scale.or(Range{0.08, 1}) }
func (t RandomResizedCrop) ratio() Range { return t.Ratio.or(Range{3.0 / 4, 4.0 / 3}) }

// draw is the part of a picture of the given size. After ten tries that do not fit it
// takes the middle, as large as the ratio allows.
func (t RandomResizedCrop) draw(height, width int, g *sinter.Generator) image.Rectangle {
	scale, ratio := t.scale(), t.ratio()
	area := float64(height) * float64(width)
	logs := Range{math.Log(ratio[0]), math.Log(ratio[1])}
	for range 10 {
		target := area * scale.draw(g)
		aspect := math.Exp(logs.draw(g))
		w, h := round(math.Sqrt(target*aspect)), round(math.Sqrt(target/aspect))
		if w > 0 && w <= width && h > 0 && h <= height {
			y := g.IntN(height - h + 1)
			x := g.IntN(width - w + 1)
			return image.Rect(x, y, x+w, y+h)
		}
	}
	w, h := width, height
	switch have := float64(width) / float64(height); {
	case have < ratio[0]:
		h = min(max(round(float64(w)/ratio[0]), 1), height)
	case have > ratio[1]:
		w = min(max(round(float64(h)*ratio[1]), 1), width)
	}
	x, y := (width-w)/2, (height-h)/2
	return image.Rect(x, y, x+w, y+h)
}

func (t RandomResizedCrop) Apply(dst, src *Image, g *sinter.Generator) {
	ResizedCrop(dst, src, t.draw(src.Height, src.Width, g), t.Interpolation)
}

// RandomRotation turns pictures about their middle by an angle from −Degrees to Degrees,
// or from Between, counter-clockwise. They keep their size.
type RandomRotation struct {
	Degrees       float64
	Between       Range
	Interpolation Interpolation // Nearest or Bilinear
	Fill          float64       // of what comes from outside
}

func (t RandomRotation) degrees() Range { return t.Between.or(Range{-t.Degrees, t.Degrees}) }

func (t RandomRotation) Shape(in Shape) (Shape, error) {
	if d := t.degrees(); !finite(d[0], d[1], t.Fill) || d[0] > d[1] {
		return in, wrong(t, "Degrees %v, Between %v, Fill %v; expected an angle that is not negative, or two, the smaller first", t.Degrees, t.Between, t.Fill)
	}
	return in, t.Interpolation.check(t, false)
}

func (t RandomRotation) Apply(dst, src *Image, g *sinter.Generator) {
	Affine(dst, src, Move{Angle: -t.degrees().draw(g), Scale: 1}, t.Interpolation, t.Fill)
}

// RandomAffine turns, moves, scales and shears pictures about their middle. They keep
// their size.
type RandomAffine struct {
	Degrees       float64       // turned clockwise by −Degrees to Degrees
	Between       Range         // or by an angle between these
	Translate     [2]float64    // at most so far, as shares of width and height
	Scale         Range         // not at all if zero
	Shear         float64       // along x by −Shear to Shear degrees
	ShearX        Range         // or between these
	ShearY        Range         // and along y between these
	Interpolation Interpolation // Nearest or Bilinear
	Fill          float64       // of what comes from outside
}

func (t RandomAffine) Shape(in Shape) (Shape, error) {
	turn := RandomRotation{Degrees: t.Degrees, Between: t.Between, Fill: t.Fill}.degrees()
	scale, x := t.Scale.or(Range{1, 1}), t.shearX()
	switch {
	case !finite(turn[0], turn[1], t.Fill) || turn[0] > turn[1]:
		return in, wrong(t, "Degrees %v, Between %v, Fill %v; expected an angle that is not negative, or two, the smaller first", t.Degrees, t.Between, t.Fill)
	case !(t.Translate[0] >= 0 && t.Translate[0] <= 1 && t.Translate[1] >= 0 && t.Translate[1] <= 1):
		return in, wrong(t, "Translate is %v, expected shares of width and height from 0 to 1", t.Translate)
	case !(scale[0] > 0 && scale[0] <= scale[1] && finite(scale[1])):
		return in, wrong(t, "Scale is %v, expected two factors above 0, the smaller first", t.Scale)
	case !(x[0] > -90 && x[0] <= x[1] && x[1] < 90) || !(t.ShearY[0] > -90 && t.ShearY[0] <= t.ShearY[1] && t.ShearY[1] < 90):
		return in, wrong(t, "Shear %v, ShearX %v, ShearY %v; expected angles between −90 and 90 degrees, the smaller first", t.Shear, t.ShearX, t.ShearY)
	}
	return in, t.Interpolation.check(t, false)
}

func (t RandomAffine) shearX() Range { return t.ShearX.or(Range{-t.Shear, t.Shear}) }

func (t RandomAffine) draw(height, width int, g *sinter.Generator) Move {
	m := Move{Angle: RandomRotation{Degrees: t.Degrees, Between: t.Between}.degrees().draw(g)}
	far := func(share float64, n int) float64 {
		d := share * float64(n)
		return float64(round(Range{-d, d}.draw(g)))
	}
	m.Right = far(t.Translate[0], width)
	m.Down = far(t.Translate[1], height)
	m.Scale = t.Scale.or(Range{1, 1}).draw(g)
	m.ShearX = t.shearX().draw(g)
	m.ShearY = t.ShearY.draw(g)
	return m
}

func (t RandomAffine) Apply(dst, src *Image, g *sinter.Generator) {
	Affine(dst, src, t.draw(src.Height, src.Width, g), t.Interpolation, t.Fill)
}

// Move is an affine map about the middle of a picture: angles in degrees, clockwise,
// distances in pixels.
type Move struct {
	Angle          float64
	Right, Down    float64
	Scale          float64
	ShearX, ShearY float64
}

// inverse is the matrix that leads from a place of the result to one of the source, both
// counted from the middle: x' = m[0]·x + m[1]·y + m[2], y' = m[3]·x + m[4]·y + m[5].
func (m Move) inverse() [6]float64 {
	radians := func(d float64) float64 { return d * math.Pi / 180 }
	turn, sx, sy := radians(m.Angle), radians(m.ShearX), radians(m.ShearY)
	a := math.Cos(turn-sy) / math.Cos(sy)
	b := -math.Cos(turn-sy)*math.Tan(sx)/math.Cos(sy) - math.Sin(turn)
	c := math.Sin(turn-sy) / math.Cos(sy)
	d := -math.Sin(turn-sy)*math.Tan(sx)/math.Cos(sy) + math.Cos(turn)
	// The determinant of [a b; c d] is 1, so this is its inverse.
	i := [6]float64{d / m.Scale, -b / m.Scale, 0, -c / m.Scale, a / m.Scale, 0}
	i[2] = -i[0]*m.Right - i[1]*m.Down
	i[5] = -i[3]*m.Right - i[4]*m.Down
	return i
}

// Affine moves src; what comes from outside of it is fill.
func Affine(dst, src *Image, move Move, how Interpolation, fill float64) {
	m := move.inverse()
	w, h := src.Width, src.Height
	halfW, halfH := float64(w)/2, float64(h)/2
	for y := range h {
		cy := float64(y) + 0.5 - halfH
		for x := range w {
			cx := float64(x) + 0.5 - halfW
			sx := m[0]*cx + m[1]*cy + m[2] + halfW - 0.5
			sy := m[3]*cx + m[4]*cy + m[5] + halfH - 0.5
			at := y*w + x
			if how == Bilinear {
				blend(dst, src, at, sx, sy, float32(fill))
				continue
			}
			nx, ny := math.RoundToEven(sx), math.RoundToEven(sy)
			if !(nx >= 0 && nx < float64(w) && ny >= 0 && ny < float64(h)) {
				for c := range src.Channels {
					dst.Pix[c*w*h+at] = float32(fill)
				}
				continue
			}
			from := int(ny)*w + int(nx)
			for c := range src.Channels {
				dst.Pix[c*w*h+at] = src.Pix[c*w*h+from]
			}
		}
	}
}

// blend writes the value of src between pixels. Of those that lie outside the share
// is fill; as in torchvision, where a mask is interpolated with the picture, what the
// others contribute is reduced by their share once more.
func blend(dst, src *Image, at int, sx, sy float64, fill float32) {
	w, h := src.Width, src.Height
	area := w * h
	if !(sx > -1 && sx < float64(w) && sy > -1 && sy < float64(h)) {
		for c := range src.Channels {
			dst.Pix[c*area+at] = fill
		}
		return
	}
	x0, y0 := int(math.Floor(sx)), int(math.Floor(sy))
	fx, fy := float32(sx-float64(x0)), float32(sy-float64(y0))
	weights := [4]float32{(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy}
	var share float32
	var from [4]int
	for k := range weights {
		x, y := x0+k&1, y0+k>>1
		if x < 0 || x >= w || y < 0 || y >= h {
			weights[k] = 0
			continue
		}
		from[k] = y*w + x
		share += weights[k]
	}
	for c := range src.Channels {
		p := src.plane(c)
		var sum float32
		for k, v := range weights {
			sum += v * p[from[k]]
		}
		dst.Pix[c*area+at] = share*(sum-fill) + fill
	}
}
