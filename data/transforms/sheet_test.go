package transforms

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// TestSheet puts what every transform makes of a picture side by side, a row for each, the
// picture itself first: none may leave it as it is every time, make it something that is no
// number, or change what it was given. SINTER_SHEET=sheet.png keeps the sheet, for looking
// at, and SINTER_SHEET_PICTURE=picture.jpg makes it of another picture.
func TestSheet(t *testing.T) {
	const side, columns = 96, 9
	pixels := scene(side)
	if path := os.Getenv("SINTER_SHEET_PICTURE"); path != "" {
		var err error
		if pixels, err = data.ReadImage(path, []int{3, side, side}); err != nil {
			t.Fatal(err)
		}
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
		changed := 0
		for column := 1; column < columns; column++ {
			dst := NewImage(shape.Channels, shape.Height, shape.Width)
			tr.Apply(dst, &Image{3, side, side, slices.Clone(pixels)}, sinter.NewGenerator(uint64(100*row+column)))
			if at := slices.IndexFunc(dst.Pix, func(v float32) bool { return v-v != 0 }); at >= 0 {
				t.Errorf("%#v makes pixel %d %v", tr, at, dst.Pix[at])
			}
			if !slices.Equal(dst.Pix, pixels) {
				changed++
			}
			put(dst, column, row)
		}
		if changed == 0 {
			t.Errorf("%#v left the picture as it was %d times", tr, columns-1)
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
	file := os.Getenv("SINTER_SHEET")
	if file == "" {
		file = filepath.Join(t.TempDir(), "sheet.png")
	}
	var content bytes.Buffer
	if err := errors.Join(png.Encode(&content, sheet), os.WriteFile(file, content.Bytes(), 0o666)); err != nil {
		t.Fatal(err)
	}
	back, err := data.ReadImage(file, []int{3, sheet.Rect.Dy(), sheet.Rect.Dx()})
	if err != nil {
		t.Fatal(err)
	}
	if want := float32(sheet.RGBAAt(10, 10).R) / 255; back[10*sheet.Rect.Dx()+10] != want {
		t.Errorf("the sheet's red at 10, 10 is %v in the file, expected %v", back[10*sheet.Rect.Dx()+10], want)
	}
}

// scene is a picture that no flip, turn or shift leaves as it is: a bright disc before
// three gradients.
func scene(side int) []float32 {
	pixels := make([]float32, 3*side*side)
	for y := range side {
		for x := range side {
			u, v := float32(x)/float32(side), float32(y)/float32(side)
			rgb := [3]float32{u, v, 1 - u*v}
			if dx, dy := u-0.3, v-0.4; dx*dx+dy*dy < 0.04 {
				rgb = [3]float32{0.9, 0.8, 0.1}
			}
			for c := range 3 {
				pixels[(c*side+y)*side+x] = rgb[c]
			}
		}
	}
	return pixels
}
