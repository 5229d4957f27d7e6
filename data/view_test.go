package data

import (
	"encoding/json"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"
)

type viewCase struct {
	File   string `json:"file"`
	Crop   [4]int `json:"crop"` // left, top, right, bottom
	Size   [2]int `json:"size"` // width, height
	Filter string `json:"filter"`
	RGB    []byte `json:"rgb"`
}

func (c *viewCase) view() View {
	return View{
		Crop:    image.Rect(c.Crop[0], c.Crop[1], c.Crop[2], c.Crop[3]),
		Size:    image.Pt(c.Size[0], c.Size[1]),
		Part:    image.Rect(0, 0, c.Size[0], c.Size[1]),
		Bicubic: c.Filter == "bicubic",
	}
}

// see is the view of a file as float32 [channels, height, width], in units of 1/255.
func see(t testing.TB, path string, v View, channels int) []float64 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 4*channels*v.Part.Dx()*v.Part.Dy())
	if err := new(viewer).view(raw, path, channels, dst, func(int, int) View { return v }); err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(dst)/4)
	for i := range out {
		out[i] = 255 * float64(math.Float32frombits(uint32(dst[4*i])|uint32(dst[4*i+1])<<8|uint32(dst[4*i+2])<<16|uint32(dst[4*i+3])<<24))
	}
	return out
}

// Views are what Pillow makes by crop and resize. It rounds to bytes between the
// directions, which is a step of 1. It makes RGB before it scales, so that for files with
// chroma at half the resolution, which is scaled as it is here, single values
// differ by more where colours change at once, and their mean hardly.
func TestViews(t *testing.T) {
	var cases struct{ Cases []viewCase }
	text, err := os.ReadFile("testdata/views/views.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases.Cases {
		most, mean := 1.0, 0.3
		if c.Filter == "bicubic" { // which overshoots; Pillow cuts that off between the directions
			most = 3
		}
		switch c.File {
		case "scene-444.jpg", "scene-progressive.jpg":
			most, mean = 8, 0.4 // and here colours that are not in RGB
		case "scene-420.jpg":
			most, mean = 12.5, 1.01
			if c.Crop[2]-c.Crop[0] == 1 { // a sample of chroma for the pixel, not what is spread from around
				mean = 2.01
			}
		}
		got := see(t, filepath.Join("testdata/views", c.File), c.view(), 3)
		n := c.Size[0] * c.Size[1]
		worst, sum := 0.0, 0.0
		for i := range n {
			for ch := range 3 {
				d := math.Abs(got[ch*n+i] - float64(c.RGB[3*i+ch]))
				worst, sum = max(worst, d), sum+d
			}
		}
		if worst > most+1e-3 || sum/float64(3*n) > mean {
			t.Errorf("%s %v to %v, %s: up to %.2f from Pillow's, %.3f on average", c.File, c.Crop, c.Size, c.Filter, worst, sum/float64(3*n))
		}
	}
}

// Turning over and taking a part commute with scaling.
func TestViewParts(t *testing.T) {
	for _, file := range []string{"scene-420.jpg", "scene-progressive.jpg", "scene.png", "grey.png"} {
		path := filepath.Join("testdata/views", file)
		for _, channels := range []int{1, 3} {
			full := View{Crop: image.Rect(3, 5, 59, 40), Size: image.Pt(41, 33), Part: image.Rect(0, 0, 41, 33)}
			all := see(t, path, full, channels)
			v := full
			v.Part = image.Rect(7, 4, 36, 30)
			v.FlipX, v.FlipY = true, true
			got := see(t, path, v, channels)
			w, h := v.Part.Dx(), v.Part.Dy()
			for c := range channels {
				for y := range h {
					for x := range w {
						want := all[(c*33+4+h-1-y)*41+7+w-1-x]
						if got[(c*h+y)*w+x] != want {
							t.Fatalf("%s, %d channels: channel %d at %d, %d is %v, want %v", file, channels, c, x, y, got[(c*h+y)*w+x], want)
						}
					}
				}
			}
		}
	}
}

// The grey of a picture is its luma, read off the file where that has it.
func TestViewGrey(t *testing.T) {
	for file, most := range map[string]float64{"scene.png": 1, "scene-444.jpg": 12} {
		path := filepath.Join("testdata/views", file)
		v := View{Crop: image.Rect(0, 0, 60, 46), Size: image.Pt(30, 23), Part: image.Rect(0, 0, 30, 23)}
		rgb, grey := see(t, path, v, 3), see(t, path, v, 1)
		n := len(grey)
		for i := range grey {
			if want := 0.299*rgb[i] + 0.587*rgb[n+i] + 0.114*rgb[2*n+i]; math.Abs(grey[i]-want) > most {
				t.Fatalf("%s: grey %v of %v, %v, %v", file, grey[i], rgb[i], rgb[n+i], rgb[2*n+i])
			}
		}
	}
}

func TestViewLevels(t *testing.T) {
	v := View{Crop: image.Rect(0, 0, 61, 47), Size: image.Pt(20, 20), Part: image.Rect(0, 0, 20, 20)}
	path := "testdata/views/scene.png"
	plain := see(t, path, v, 3)
	v.Levels = new(Levels)
	for c := range v.Levels {
		for b := range v.Levels[c] {
			v.Levels[c][b] = float32(1000*c + b)
		}
	}
	for i, got := range see(t, path, v, 3) {
		if want := 255 * math.Round(float64(1000*(i/400))+plain[i]); got != want {
			t.Fatalf("level %v of %v", got/255, plain[i])
		}
	}
}

// A view that does not fit is an error that says so.
func TestViewErrors(t *testing.T) {
	raw, err := os.ReadFile("testdata/views/scene-420.jpg")
	if err != nil {
		t.Fatal(err)
	}
	good := View{Crop: image.Rect(0, 0, 120, 90), Size: image.Pt(8, 8), Part: image.Rect(0, 0, 8, 8)}
	for _, change := range []func(*View){
		func(v *View) { v.Crop.Max.X++ },
		func(v *View) { v.Crop = image.Rectangle{} },
		func(v *View) { v.Part.Max.Y++ },
		func(v *View) { v.Size = image.Pt(1<<20, 1<<20) },
		func(v *View) { v.Part.Max.X-- },
	} {
		v := good
		change(&v)
		if err := new(viewer).view(raw, "scene", 3, make([]byte, 4*3*64), func(int, int) View { return v }); err == nil {
			t.Errorf("%+v: no error", v)
		}
	}
}

// Reading pictures again and again makes nothing for the garbage collector that grows
// with them.
func TestViewAllocations(t *testing.T) {
	raw, err := os.ReadFile("testdata/views/scene-420.jpg")
	if err != nil {
		t.Fatal(err)
	}
	s, dst := new(viewer), make([]byte, 4*3*32*32)
	choose := whole(32, 32)
	if n := testing.AllocsPerRun(20, func() {
		if err := s.view(raw, "scene", 3, dst, choose); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations for a picture", n)
	}
}

// BenchmarkView is a picture of the size that is common in data sets.
func BenchmarkView(b *testing.B) {
	raw, err := os.ReadFile("testdata/views/scene-420.jpg")
	if err != nil {
		b.Fatal(err)
	}
	s, dst := new(viewer), make([]byte, 4*3*64*64)
	v := View{Crop: image.Rect(10, 10, 110, 80), Size: image.Pt(64, 64), Part: image.Rect(0, 0, 64, 64)}
	choose := func(int, int) View { return v }
	for b.Loop() {
		if err := s.view(raw, "scene", 3, dst, choose); err != nil {
			b.Fatal(err)
		}
	}
}
