package transforms

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/reftest"
)

// refCase is a case of testdata/functional.json, which scripts/reference/transforms.py
// makes with torchvision.
type refCase struct {
	Op   string
	Args struct {
		Height, Width, Size, Top, Left, H, W int
		Padding, X, Y, X0, Y0, X1, Y1        int
		How, Mode                            string
		Fill, Angle, Right, Down, Scale      float64
		ShearX                               float64 `json:"shear_x"`
		ShearY                               float64 `json:"shear_y"`
		Factor, Value, Lam                   float64
		Mean, Std                            []float64
		Labels                               []int
	}
	Seed    uint32
	In, Out []int
	Values  []float32
}

// noisePicture is the picture that the script made for a seed.
func noisePicture(seed uint32, shape Shape) *Image {
	m := NewImage(shape.Channels, shape.Height, shape.Width)
	for i, v := range reftest.Noise(seed, len(m.Pix)) {
		m.Pix[i] = (v + 1) / 2
	}
	return m
}

func interpolation(t *testing.T, how string) Interpolation {
	switch how {
	case "nearest":
		return Nearest
	case "bilinear":
		return Bilinear
	case "bicubic":
		return Bicubic
	}
	t.Fatalf("unknown interpolation %q", how)
	return Default
}

// tolerance is how far a value may be from torchvision's: float32 sums in another
// order. It is 1/2500 of what a byte of a picture is worth.
const tolerance = 1.5e-6

func TestTorchvision(t *testing.T) {
	text, err := os.ReadFile("testdata/functional.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []refCase }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, c := range file.Cases {
		seen[c.Op]++
		t.Run(fmt.Sprintf("%s/%d", c.Op, seen[c.Op]), func(t *testing.T) {
			got := c.run(t)
			if len(got) != len(c.Values) {
				t.Fatalf("%d values, torchvision has %d: %v", len(got), len(c.Values), c.Out)
			}
			worst := 0.0
			for i, want := range c.Values {
				worst = max(worst, math.Abs(float64(got[i]-want)))
			}
			limit := tolerance
			if c.Op == "normalize" { // divided by 0.2
				limit *= 5
			}
			if !(worst <= limit) {
				t.Errorf("%+v: up to %.3g from torchvision's", c.Args, worst)
			}
		})
	}
	if len(seen) != 18 {
		t.Errorf("%d operations were compared, want 18: %v", len(seen), seen)
	}
}

// run does to the case's picture what torchvision did.
func (c *refCase) run(t *testing.T) []float32 {
	a := &c.Args
	if len(c.In) == 2 { // labels
		y := make([]float32, c.In[0]*c.In[1])
		for i, class := range a.Labels {
			y[i*c.In[1]+class] = 1
		}
		blendWithPrevious(y, c.In[0], a.Lam)
		return y
	}
	if len(c.In) == 4 { // a batch
		shape := Shape{c.In[1], c.In[2], c.In[3]}
		x := noisePicture(c.Seed, Shape{c.In[0] * c.In[1], c.In[2], c.In[3]}).Pix
		if c.Op == "mixup" {
			blendWithPrevious(x, c.In[0], a.Lam)
		} else {
			cutFromPrevious(x, shape, c.In[0], a.X0, a.Y0, a.X1, a.Y1)
		}
		return x
	}
	src := noisePicture(c.Seed, Shape{c.In[0], c.In[1], c.In[2]})
	apply := func(tr Transform) []float32 {
		shape, err := tr.Shape(Shape{c.In[0], c.In[1], c.In[2]})
		if err != nil {
			t.Fatal(err)
		}
		dst := NewImage(shape.Channels, shape.Height, shape.Width)
		tr.Apply(dst, src, sinter.NewGenerator(1))
		return dst.Pix
	}
	dst := NewImage(c.Out[0], c.Out[1], c.Out[2])
	switch c.Op {
	case "horizontal_flip":
		HorizontalFlip(dst, src)
	case "vertical_flip":
		VerticalFlip(dst, src)
	case "resize":
		return apply(Resize{Height: a.Height, Width: a.Width, Interpolation: interpolation(t, a.How)})
	case "resize_shorter":
		return apply(Resize{Size: a.Size})
	case "resized_crop":
		ResizedCrop(dst, src, image.Rect(a.Left, a.Top, min(a.Left+a.W, src.Width), min(a.Top+a.H, src.Height)), interpolation(t, a.How))
	case "center_crop":
		return apply(CenterCrop{Height: a.Height, Width: a.Width})
	case "crop":
		Crop(dst, src, image.Pt(a.Left-a.Padding, a.Top-a.Padding), PaddingMode(a.Mode), a.Fill)
	case "rotate":
		// The angle is the only one that can be drawn.
		return apply(RandomRotation{Between: Range{a.Angle, a.Angle}, Interpolation: interpolation(t, a.How), Fill: a.Fill})
	case "affine":
		Affine(dst, src, Move{a.Angle, a.Right, a.Down, a.Scale, a.ShearX, a.ShearY}, interpolation(t, a.How), a.Fill)
	case "brightness":
		AdjustBrightness(src, a.Factor)
		return src.Pix
	case "contrast":
		AdjustContrast(src, a.Factor)
		return src.Pix
	case "saturation":
		AdjustSaturation(src, a.Factor)
		return src.Pix
	case "hue":
		AdjustHue(src, a.Factor)
		return src.Pix
	case "normalize":
		return apply(Normalize{a.Mean, a.Std})
	case "erase":
		Erase(src, a.Y, a.X, a.H, a.W, a.Value)
		return src.Pix
	default:
		t.Fatalf("no such operation: %q", c.Op)
	}
	return dst.Pix
}
