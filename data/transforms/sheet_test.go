package transforms

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// TestSheet writes what every transform makes of a picture to the file that
// SINTER_SHEET names, a row for each, the picture itself first: for looking at.
func TestSheet(t *testing.T) {
	file, path := os.Getenv("SINTER_SHEET"), os.Getenv("SINTER_SHEET_PICTURE")
	if file == "" {
		t.Skip("SINTER_SHEET=sheet.png writes a sheet of changed pictures, of SINTER_SHEET_PICTURE=picture.jpg")
	}
	const side, columns = 96, 9
	pixels, err := data.ReadImage(path, []int{3, side, side})
	if err != nil {
		t.Fatal(err)
	}
	src := &Image{3, side, side, pixels}
	rows := []Transform{
		RandomHorizontalFlip{}, RandomVerticalFlip{},
		Resize{Height: 48, Width: 80}, Resize{Height: 90, Width: 40, Interpolation: Bicubic},
		CenterCrop{Size: 60}, RandomCrop{Size: side, Padding: 16}, RandomCrop{Size: side, Padding: 16, PaddingMode: Reflect},
		RandomResizedCrop{Size: side}, RandomRotation{Degrees: 45}, RandomRotation{Degrees: 45, Interpolation: Bilinear, Fill: 0.5},
		RandomAffine{Degrees: 20, Translate: [2]float64{0.2, 0.2}, Scale: Range{0.6, 1.3}, Shear: 20, Interpolation: Bilinear},
		ColorJitter{Brightness: 0.6}, ColorJitter{Contrast: 0.8}, ColorJitter{Saturation: 1}, ColorJitter{Hue: 0.5},
		RandomErasing{P: 1}, RandomErasing{P: 1, Noise: true}, GaussianNoise{},
	}
	sheet := image.NewRGBA(image.Rect(0, 0, columns*(side+2), (len(rows)+2)*(side+2)))
	put := func(m *Image, column, row int) {
		for y := range m.Height {
			for x := range m.Width {
				v := func(c int) uint8 { return uint8(255*unit(m.plane(c)[y*m.Width+x]) + 0.5) }
				sheet.SetRGBA(column*(side+2)+x, row*(side+2)+y, color.RGBA{v(0), v(1), v(2), 255})
			}
		}
	}
	for row, tr := range rows {
		put(src, 0, row)
		shape, err := tr.Shape(Shape{3, side, side})
		if err != nil {
			t.Fatal(err)
		}
		for column := 1; column < columns; column++ {
			dst := NewImage(shape.Channels, shape.Height, shape.Width)
			tr.Apply(dst, &Image{3, side, side, append([]float32(nil), pixels...)}, sinter.NewGenerator(uint64(100*row+column)))
			put(dst, column, row)
		}
	}
	// The mixes have a batch of the picture and its colours exchanged.
	for k, mix := range []Mix{MixUp{}, CutMix{}} {
		for column := range columns {
			size := 3 * side * side
			x := make([]float32, 2*size)
			copy(x, pixels)
			for c := range 3 {
				copy(x[size+c*side*side:], src.plane(2-c))
			}
			mix.mix(x, Shape{3, side, side}, []float32{1, 0, 0, 1}, 2, sinter.NewGenerator(uint64(column)))
			put(&Image{3, side, side, x[:size]}, column, len(rows)+k)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, sheet); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
