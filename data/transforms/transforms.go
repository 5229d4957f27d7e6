// Package transforms changes pictures at random while a model is trained on them, so
// that it never sees the same one twice, and prepares those that it is tested on.
//
// Apply puts a list of transforms on a dataset:
//
//	train, err := transforms.Apply(src.Train, seed,
//		transforms.RandomResizedCrop{Size: 224},
//		transforms.RandomHorizontalFlip{},
//		transforms.Normalize{Mean: transforms.ImageNetMean, Std: transforms.ImageNetStd},
//	)
//
// Names, parameters, defaults and formulas are those of torchvision.transforms.v2 on
// tensors of float32; a field that is zero stands for torchvision's default. Pictures
// are [channels, height, width] from 0 to 1 until Normalize.
//
// What a transform draws follows from the seed, the number of the epoch, that of the
// example, and its place in the list. It does not depend on how many workers read, in
// which order, or whether a run was interrupted.
//
// Streams have ApplyStream, which does the same.
//
// Pictures in files (data.Pictures, data.PictureStream) are cropped before they are decoded: a list that
// begins with RandomResizedCrop or Resize is applied to the picture as it is in the file,
// whatever its size, and those two, crops behind them, flips and Normalize are done in
// one pass from the file to the batch. Any other list gets the picture in the size that
// the dataset says.
//
// MixUp and CutMix mix the examples of a batch, and with them their labels, which become
// probabilities. They are done once the Loader has a batch together.
//
// apply.go puts lists on datasets and streams; geometry.go has what moves pixels, colour.go what
// changes their values, mix.go what mixes examples.
package transforms

import (
	"fmt"
	"math"

	"github.com/sinter-dl/sinter"
)

// Image is a picture on its way: Pix is [Channels, Height, Width], row-major.
type Image struct {
	Channels, Height, Width int
	Pix                     []float32
}

// NewImage is a black picture.
func NewImage(channels, height, width int) *Image {
	return &Image{channels, height, width, make([]float32, channels*height*width)}
}

// plane is one channel.
func (m *Image) plane(c int) []float32 {
	n := m.Height * m.Width
	return m.Pix[c*n : (c+1)*n]
}

// reshape gives the picture another size; its content is then anything.
func (m *Image) reshape(s Shape) {
	m.Channels, m.Height, m.Width = s.Channels, s.Height, s.Width
	n := s.Channels * s.Height * s.Width
	if cap(m.Pix) < n {
		m.Pix = make([]float32, n)
	}
	m.Pix = m.Pix[:n]
}

// Shape is the size of a picture.
type Shape struct{ Channels, Height, Width int }

func (s Shape) String() string { return fmt.Sprintf("[%d %d %d]", s.Channels, s.Height, s.Width) }

// Transform makes one picture of another. Those of this package are values whose fields
// are torchvision's arguments; a program may bring its own.
type Transform interface {
	// Shape tells the size of what comes out for pictures of the given size, and what is
	// wrong with the transform's parameters or with such pictures.
	Shape(in Shape) (Shape, error)
	// Apply writes to dst, which has the size that Shape told, what becomes of src. It
	// draws what is random from g, may change src, and is called by several goroutines
	// at once.
	Apply(dst, src *Image, g *sinter.Generator)
}

// ImageNetMean and ImageNetStd are what models that were trained on ImageNet expect
// their inputs to be normalised by.
var (
	ImageNetMean = []float64{0.485, 0.456, 0.406}
	ImageNetStd  = []float64{0.229, 0.224, 0.225}
)

// Range is a stretch that numbers are drawn from, uniformly.
type Range [2]float64

func (r Range) draw(g *sinter.Generator) float64 { return r[0] + (r[1]-r[0])*g.Float64() }

// or is r, or def if r is zero.
func (r Range) or(def Range) Range {
	if r == (Range{}) {
		return def
	}
	return r
}

// probability is p, or def if it is zero. Whoever wants 0 leaves the transform out.
func probability(p, def float64) float64 {
	if p == 0 {
		return def
	}
	return p
}

// round is Python's: halves go to the even neighbour.
func round(v float64) int { return int(math.RoundToEven(v)) }

// wrong is an error about a transform's parameters.
func wrong(t any, format string, args ...any) error {
	return fmt.Errorf("transforms: %s: %s", nameOf(t), fmt.Sprintf(format, args...))
}

// finite tells whether all are numbers.
func finite(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
