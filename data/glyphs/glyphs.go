// Package glyphs makes a dataset of images out of nothing but fonts: digits and
// letters, drawn anew every time, to train a classifier without downloading
// anything.
//
// Every example is the outline of a character from one of the Go fonts, rotated,
// scaled, sheared and shifted at random, filled into 28×28 grey pixels, bright
// on dark, with a random contrast, a random unevenness of the light and noise.
// Some fonts are kept from the training part altogether and make up the test
// part, so that the accuracy tells how a model reads letters and not how it
// remembers them.
//
// There are 48 classes. Capital and small letters that differ in size only
// cannot be told apart once they stand alone and are scaled at random; they are
// one class each, as in the EMNIST dataset: C, J, K, M, O, P, S, U, V, W, X, Y
// and Z (so "C" is also "c"). I and the small l are one class too. The other
// small letters, the digits among each other, and 0 and O, which the Go fonts
// tell apart by a stroke through the digit, are classes of their own.
package glyphs

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/draw"
	"math"
	"runtime"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gobolditalic"
	"golang.org/x/image/font/gofont/goitalic"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/gomediumitalic"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/gomonobolditalic"
	"golang.org/x/image/font/gofont/gomonoitalic"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// Size is the width and height of an image.
const Size = 28

// classes lists the characters of each class; the first names it.
var classes = []string{
	"0", "1", "2", "3", "4", "5", "6", "7", "8", "9",
	"A", "B", "Cc", "D", "E", "F", "G", "H", "Il", "Jj", "Kk", "L", "Mm", "N",
	"Oo", "Pp", "Q", "R", "Ss", "T", "Uu", "Vv", "Ww", "Xx", "Yy", "Zz",
	"a", "b", "d", "e", "f", "g", "h", "i", "n", "q", "r", "t",
}

// The Go fonts but the small capitals, whose small letters are capitals in
// shape. The two that are held out are of both families, Go and Go Mono.
var (
	trainFonts = [][]byte{
		goregular.TTF, goitalic.TTF, gomedium.TTF, gobold.TTF, gobolditalic.TTF,
		gomono.TTF, gomonobold.TTF, gomonobolditalic.TTF,
	}
	testFonts = [][]byte{gomediumitalic.TTF, gomonoitalic.TTF}
)

// Classes are the names of the classes, each the first of the characters that
// belong to it.
func Classes() []string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c[:1]
	}
	return names
}

// Options say how many images are made. The zero value is meant for training a
// small network in half a minute.
type Options struct {
	Train int    // images for training; 0: 16,000
	Test  int    // images of the fonts held out; 0: 3,000
	Seed  uint64 // of everything that is random
}

// New makes the dataset. X is float32 [1, 28, 28] from 0 to 1, Y the int64
// number of the class. The same options give the same images.
func New(opt Options) (*data.Source, error) {
	if opt.Train == 0 {
		opt.Train = 16_000
	}
	if opt.Test == 0 {
		opt.Test = 3_000
	}
	if opt.Train < 1 || opt.Test < 1 {
		return nil, fmt.Errorf("glyphs: %d images for training and %d for testing, expected at least 1 each", opt.Train, opt.Test)
	}
	digest := sha256.New()
	part := func(number uint64, ttfs [][]byte, n int) (data.Dataset, error) {
		outlines, err := load(ttfs)
		if err != nil {
			return nil, err
		}
		pixels, labels := render(outlines, n, opt.Seed<<1^number)
		digest.Write(pixels)
		return data.ByteImages(pixels, []int{1, Size, Size}, labels)
	}
	src := &data.Source{Task: data.Classification, Classes: Classes()}
	var err error
	if src.Train, err = part(0, trainFonts, opt.Train); err != nil {
		return nil, err
	}
	if src.Test, err = part(1, testFonts, opt.Test); err != nil {
		return nil, err
	}
	src.Digest = hex.EncodeToString(digest.Sum(nil))
	src.Notes = []string{fmt.Sprintf("%d images drawn from %d fonts; %d for testing from %d fonts that are not among them",
		opt.Train, len(trainFonts), opt.Test, len(testFonts))}
	return src, nil
}

// outline is a character's shape in units of the em, centred on the origin.
type outline struct {
	segments []segment
	height   float64
	width    float64
}

type segment struct {
	op     sfnt.SegmentOp
	points [3][2]float64
}

// load takes the outlines of all characters from fonts: result[class] holds
// those of every font and every character of the class.
func load(ttfs [][]byte) ([][]outline, error) {
	const ppem = 1024
	result := make([][]outline, len(classes))
	var buf sfnt.Buffer
	for _, ttf := range ttfs {
		f, err := opentype.Parse(ttf)
		if err != nil {
			return nil, fmt.Errorf("glyphs: %w", err)
		}
		for c, chars := range classes {
			for _, r := range chars {
				index, err := f.GlyphIndex(&buf, r)
				if err != nil {
					return nil, fmt.Errorf("glyphs: %q: %w", r, err)
				}
				box, _, err := f.GlyphBounds(&buf, index, fixed.I(ppem), font.HintingNone)
				if err != nil {
					return nil, fmt.Errorf("glyphs: %q: %w", r, err)
				}
				segments, err := f.LoadGlyph(&buf, index, fixed.I(ppem), nil)
				if err != nil {
					return nil, fmt.Errorf("glyphs: %q: %w", r, err)
				}
				em := func(v fixed.Int26_6) float64 { return float64(v) / (64 * ppem) }
				cx, cy := em(box.Min.X+box.Max.X)/2, em(box.Min.Y+box.Max.Y)/2
				o := outline{width: em(box.Max.X - box.Min.X), height: em(box.Max.Y - box.Min.Y)}
				for _, s := range segments {
					seg := segment{op: s.Op}
					for i, p := range s.Args {
						seg.points[i] = [2]float64{em(p.X) - cx, em(p.Y) - cy}
					}
					o.segments = append(o.segments, seg)
				}
				result[c] = append(result[c], o)
			}
		}
	}
	return result, nil
}

// render draws n images, as many of each class as of any other. Each has random
// numbers of its own, so that the images do not depend on how the work is
// shared out among the cores.
func render(outlines [][]outline, n int, seed uint64) (pixels []byte, labels []int64) {
	pixels = make([]byte, n*Size*Size)
	labels = make([]int64, n)
	workers := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			p := painter{coverage: image.NewAlpha(image.Rect(0, 0, Size, Size))}
			for i := w; i < n; i += workers {
				class := i % len(classes)
				labels[i] = int64(class)
				// The multiplier keeps neighbouring seeds apart by more than n.
				g := sinter.NewGenerator(seed*0x9e3779b97f4a7c15 + uint64(i))
				shapes := outlines[class]
				p.paint(pixels[i*Size*Size:(i+1)*Size*Size], shapes[g.IntN(len(shapes))], g)
			}
		})
	}
	wg.Wait()
	return pixels, labels
}

type painter struct {
	raster   vector.Rasterizer
	coverage *image.Alpha
}

// paint draws one outline into Size×Size pixels.
func (p *painter) paint(dst []byte, o outline, g *sinter.Generator) {
	between := func(lo, hi float64) float64 { return lo + (hi-lo)*g.Float64() }

	// The larger side fills 17 to 23 of the 28 pixels; what is left lets the
	// character turn and move without leaving the image by more than a corner.
	scale := between(17, 23) / math.Max(o.height, o.width)
	sx, sy := scale*between(0.88, 1.12), scale*between(0.94, 1.06)
	sin, cos := math.Sincos(between(-15, 15) * math.Pi / 180)
	shear := between(-0.12, 0.12)
	dx, dy := Size/2+between(-2, 2), Size/2+between(-2, 2)
	at := func(q [2]float64) (float32, float32) {
		x, y := sx*q[0]+shear*sy*q[1], sy*q[1]
		return float32(cos*x - sin*y + dx), float32(sin*x + cos*y + dy)
	}

	p.raster.Reset(Size, Size)
	p.raster.DrawOp = draw.Src // Reset sets another
	for i, s := range o.segments {
		ax, ay := at(s.points[0])
		switch s.op {
		case sfnt.SegmentOpMoveTo:
			if i > 0 {
				p.raster.ClosePath()
			}
			p.raster.MoveTo(ax, ay)
		case sfnt.SegmentOpLineTo:
			p.raster.LineTo(ax, ay)
		case sfnt.SegmentOpQuadTo:
			bx, by := at(s.points[1])
			p.raster.QuadTo(ax, ay, bx, by)
		case sfnt.SegmentOpCubeTo:
			bx, by := at(s.points[1])
			cx, cy := at(s.points[2])
			p.raster.CubeTo(ax, ay, bx, by, cx, cy)
		}
	}
	p.raster.ClosePath()
	p.raster.Draw(p.coverage, p.coverage.Bounds(), image.Opaque, image.Point{})

	dark, bright := between(0, 50), between(150, 255)
	tiltX, tiltY := between(-1, 1), between(-1, 1) // brightness across the image, in 1/255 per pixel
	noise := between(0, 18)
	var bits uint64
	for i := range dst {
		// The sum of four random bytes is near enough to a normal distribution, of
		// deviation 148 about 510, and there are two in one random number.
		if i%2 == 0 {
			bits = g.Uint64()
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], uint32(bits>>(32*(i%2))))
		normal := float64(int(b[0])+int(b[1])+int(b[2])+int(b[3])-510) / 148
		v := dark + (bright-dark)*float64(p.coverage.Pix[i])/255
		v += tiltX*float64(i%Size-Size/2) + tiltY*float64(i/Size-Size/2)
		dst[i] = byte(min(max(v+noise*normal, 0), 255))
	}
}
