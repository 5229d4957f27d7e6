package transforms

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// Crops and rectangles are distributed as those of torchvision: the moments of their
// place and size, of 20,000 draws each, agree within five standard errors.
func TestMoments(t *testing.T) {
	text, err := os.ReadFile("testdata/functional.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Moments map[string]struct {
			N         float64
			Mean, Var []float64
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	rect := func(r image.Rectangle) []float64 {
		return []float64{float64(r.Min.Y), float64(r.Min.X), float64(r.Dy()), float64(r.Dx())}
	}
	draws := map[string]func(g *sinter.Generator) []float64{
		"resized_crop": func(g *sinter.Generator) []float64 { return rect(RandomResizedCrop{}.draw(375, 500, g)) },
		"resized_crop_narrow": func(g *sinter.Generator) []float64 {
			return rect(RandomResizedCrop{Scale: Range{0.5, 1}}.draw(20, 200, g))
		},
		"erasing": func(g *sinter.Generator) []float64 {
			y, x, h, w, _ := RandomErasing{}.draw(40, 60, g)
			return []float64{float64(y), float64(x), float64(h), float64(w)}
		},
	}
	if len(draws) != len(file.Moments) {
		t.Errorf("%d transforms to draw, moments of %d", len(draws), len(file.Moments))
	}
	for name, draw := range draws {
		want := file.Moments[name]
		const n = 20000
		g := sinter.NewGenerator(1)
		var sum, squares [4]float64
		for range n {
			for i, v := range draw(g) {
				sum[i] += v
				squares[i] += v * v
			}
		}
		for i := range sum {
			mean := sum[i] / n
			variance := squares[i]/n - mean*mean
			se := math.Sqrt(want.Var[i] * (1.0/n + 1/want.N))
			if math.Abs(mean-want.Mean[i]) > 5*se+1e-9 {
				t.Errorf("%s, number %d: mean %v, torchvision's is %v ± %v", name, i, mean, want.Mean[i], se)
			}
			if math.Abs(variance-want.Var[i]) > 0.06*want.Var[i]+1e-9 {
				t.Errorf("%s, number %d: variance %v, torchvision's is %v", name, i, variance, want.Var[i])
			}
		}
	}
}

// chiSquare fails if counts are not as likely as the others, by a test at about one in a
// million.
func chiSquare(t *testing.T, what string, counts []int) {
	t.Helper()
	total := 0
	for _, n := range counts {
		total += n
	}
	want := float64(total) / float64(len(counts))
	x := 0.0
	for _, n := range counts {
		x += (float64(n) - want) * (float64(n) - want) / want
	}
	// Wilson and Hilferty's approximation of the distribution.
	k := float64(len(counts) - 1)
	if z := (math.Cbrt(x/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k)); z > 4.8 {
		t.Errorf("%s: χ² is %.1f with %v degrees of freedom: %v", what, x, k, counts)
	}
}

func TestDistributions(t *testing.T) {
	const n = 12000
	g := sinter.NewGenerator(7)
	share := func(what string, p float64, happens func() bool) {
		hits := 0
		for range n {
			if happens() {
				hits++
			}
		}
		if d := math.Abs(float64(hits) - n*p); d > 5*math.Sqrt(n*p*(1-p)) {
			t.Errorf("%s: %d of %d, expected a share of %v", what, hits, n, p)
		}
	}
	share("horizontal flip", 0.5, func() bool { return RandomHorizontalFlip{}.draw(g) })
	share("vertical flip", 0.2, func() bool { return RandomVerticalFlip{P: 0.2}.draw(g) })
	src, dst := NewImage(1, 8, 8), NewImage(1, 8, 8)
	share("erasing", 0.5, func() bool {
		for i := range src.Pix {
			src.Pix[i] = 1
		}
		RandomErasing{}.Apply(dst, src, g)
		return slices.Contains(dst.Pix, 0)
	})

	bins := func(what string, lo, hi float64, draw func() float64) {
		counts := make([]int, 20)
		for range n {
			v := draw()
			if !(v >= lo && v <= hi) {
				t.Fatalf("%s: %v is not from %v to %v", what, v, lo, hi)
			}
			counts[min(int((v-lo)/(hi-lo)*20), 19)]++
		}
		chiSquare(t, what, counts)
	}
	crop := RandomCrop{Size: 8, Padding: 2}
	places := make([]int, 25)
	for range n {
		at := crop.draw(8, 8, g)
		places[(at.Y+2)*5+at.X+2]++
	}
	chiSquare(t, "places of a crop", places)
	affine := RandomAffine{Degrees: 30, Translate: [2]float64{0.5, 0.25}, Scale: Range{0.5, 2}, Shear: 10, ShearY: Range{-5, 15}}
	bins("angle", -30, 30, func() float64 { return affine.draw(100, 200, g).Angle })
	bins("right", -100.5, 100.5, func() float64 { return affine.draw(100, 200, g).Right + g.Float64() - 0.5 })
	bins("down", -25.5, 25.5, func() float64 { return affine.draw(100, 200, g).Down + g.Float64() - 0.5 })
	bins("scale", 0.5, 2, func() float64 { return affine.draw(100, 200, g).Scale })
	bins("shear x", -10, 10, func() float64 { return affine.draw(100, 200, g).ShearX })
	bins("shear y", -5, 15, func() float64 { return affine.draw(100, 200, g).ShearY })

	// Brightness of a grey that is not cut off shows its factor; brightness and contrast
	// of another show their order.
	jitter := ColorJitter{Brightness: 0.4}
	bins("brightness", 0.6, 1.4, func() float64 {
		src.Pix[0] = 0.5
		jitter.Apply(dst, src, g)
		return 2 * float64(dst.Pix[0])
	})
	order := ColorJitter{BrightnessRange: Range{2, 2}, ContrastRange: Range{0, 0}.or(Range{0.5, 0.5})}
	flat := NewImage(1, 1, 2)
	out := NewImage(1, 1, 2)
	share("brightness before contrast", 0.5, func() bool {
		copy(flat.Pix, []float32{0.2, 0.8})
		order.Apply(out, flat, g)
		return math.Abs(float64(out.Pix[1]-0.85)) < 1e-6 // (0.4, 1) and then to their mean
	})

	sum, squares := 0.0, 0.0
	noise := GaussianNoise{Mean: 0.25, Sigma: 0.5, NoClip: true}
	for range n / 64 {
		clear(src.Pix)
		noise.Apply(dst, src, g)
		for _, v := range dst.Pix {
			sum, squares = sum+float64(v), squares+float64(v*v)
		}
	}
	count := float64(n / 64 * 64)
	mean := sum / count
	if sd := math.Sqrt(squares/count - mean*mean); math.Abs(mean-0.25) > 0.025 || math.Abs(sd-0.5) > 0.02 {
		t.Errorf("noise has mean %v and deviation %v, expected 0.25 and 0.5", mean, sd)
	}
}

// Beta(a, a) has mean 1/2 and variance 1/(4(2a+1)), and is uniform for a = 1.
func TestBeta(t *testing.T) {
	g := sinter.NewGenerator(3)
	const n = 20000
	for _, a := range []float64{0.2, 0.4, 1, 3} {
		sum, squares := 0.0, 0.0
		counts := make([]int, 16)
		for range n {
			v := beta(a, g)
			if !(v >= 0 && v <= 1) {
				t.Fatalf("Beta(%v) gave %v", a, v)
			}
			sum, squares = sum+v, squares+v*v
			counts[min(int(16*v), 15)]++
		}
		mean, want := sum/n, 1/(4*(2*a+1))
		variance := squares/n - mean*mean
		if math.Abs(mean-0.5) > 5*math.Sqrt(want/n) || math.Abs(variance-want) > 0.04*want {
			t.Errorf("Beta(%v): mean %v, variance %v, expected 0.5 and %v", a, mean, variance, want)
		}
		if a == 1 {
			chiSquare(t, "Beta(1, 1)", counts)
		}
	}
	for range 1000 { // gammas that are too small for float64
		if v := beta(1e-4, g); math.IsNaN(v) {
			t.Fatal("Beta(0.0001) gave no number")
		}
	}
}

// pictures are n small pictures in memory, all different, of 3 classes.
func pictures(t testing.TB, n int, shape Shape) data.Dataset {
	t.Helper()
	x := noisePicture(5, Shape{n * shape.Channels, shape.Height, shape.Width}).Pix
	y := make([]int64, n)
	for i := range y {
		y[i] = int64(i % 3)
	}
	ds, err := data.Arrays(data.Floats("x", x, shape.Channels, shape.Height, shape.Width), data.Ints("y", y))
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// example is what a dataset gives for example i.
func example(t testing.TB, ds data.Dataset, i int) [][]byte {
	t.Helper()
	var dst [][]byte
	for _, f := range ds.Fields() {
		dst = append(dst, make([]byte, f.Bytes()))
	}
	if err := ds.Read(i, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

func floats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// everything is a list with all transforms that take pictures as they come.
var everything = []Transform{
	RandomResizedCrop{Size: 10},
	RandomCrop{Size: 10, Padding: 2, PaddingMode: Reflect},
	RandomHorizontalFlip{}, RandomVerticalFlip{},
	RandomRotation{Degrees: 20, Interpolation: Bilinear},
	RandomAffine{Degrees: 5, Translate: [2]float64{0.1, 0.1}, Scale: Range{0.9, 1.1}, Shear: 5},
	ColorJitter{Brightness: 0.2, Contrast: 0.2, Saturation: 0.2, Hue: 0.05},
	GaussianNoise{Sigma: 0.05},
	Resize{Height: 9, Width: 12},
	CenterCrop{Size: 9},
	RandomErasing{},
	Normalize{Mean: ImageNetMean, Std: ImageNetStd},
}

// The same seed, epoch and example give the same bytes, whatever was read before and by
// how many workers; another of the three gives others.
func TestRandomness(t *testing.T) {
	of := pictures(t, 24, Shape{3, 12, 14})
	make1 := func(seed uint64) data.Dataset {
		ds, err := ApplyMixed(of, seed, 3, []Mix{MixUp{Alpha: 0.4}, CutMix{}}, everything...)
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	ds := make1(1)
	if got := ds.Fields(); !slices.Equal(got[0].Shape, []int{3, 9, 9}) || !slices.Equal(got[1].Shape, []int{3}) || got[1].DType != sinter.Float32 {
		t.Fatalf("fields %v", got)
	}
	first := example(t, data.AtEpoch(ds, 0), 3)[0]
	if !bytes.Equal(first, example(t, data.AtEpoch(make1(1), 0), 3)[0]) {
		t.Error("the same example is another the second time")
	}
	for what, other := range map[string][]byte{
		"epoch":   example(t, data.AtEpoch(ds, 1), 3)[0],
		"seed":    example(t, data.AtEpoch(make1(2), 0), 3)[0],
		"example": example(t, data.AtEpoch(ds, 0), 4)[0],
	} {
		if bytes.Equal(first, other) {
			t.Errorf("another %s, and the same picture", what)
		}
	}
	epochs := func(workers, prefetch int) (all []float32) {
		l := data.Loader{Dataset: make1(1), Batch: 7, Shuffle: true, Seed: 4, Workers: workers, Prefetch: prefetch}
		for range 2 {
			for b := range l.Batches(t.Context()) {
				all = append(all, b.X.Floats()...)
				all = append(all, b.Y.Floats()...)
			}
			if err := l.Err(); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	want := epochs(1, 1)
	if len(want) != 2*24*(3*9*9+3) {
		t.Fatalf("%d numbers", len(want))
	}
	if !slices.Equal(want, epochs(4, 3)) {
		t.Error("four workers make other batches than one")
	}
	if slices.Equal(want[:len(want)/2], want[len(want)/2:]) {
		t.Error("two epochs are the same")
	}
}

// Two flips in one list are drawn apart.
func TestPlacesInTheList(t *testing.T) {
	ds, err := Apply(pictures(t, 200, Shape{1, 1, 2}), 1, RandomHorizontalFlip{}, RandomHorizontalFlip{})
	if err != nil {
		t.Fatal(err)
	}
	plain := pictures(t, 200, Shape{1, 1, 2})
	changed := 0
	for i := range ds.Len() {
		if !bytes.Equal(example(t, ds, i)[0], example(t, plain, i)[0]) {
			changed++
		}
	}
	if changed < 65 || changed > 135 {
		t.Errorf("%d of 200 pictures are turned over after two flips, expected about half", changed)
	}
}

// writePNGs writes a folder of two classes with pictures of different sizes, or all of
// one, and returns it.
func writePNGs(t testing.TB, n int, size func(i int) (w, h int)) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		w, h := size(i)
		m := noisePicture(uint32(i+1), Shape{3, h, w})
		img := image.NewRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				// Slopes with some noise: scaling is compared, and not how it treats noise.
				v := func(c int) uint8 {
					return uint8(40 + (c+2)*x + (5-c)*y + int(12*m.plane(c)[y*w+x]))
				}
				img.SetRGBA(x, y, color.RGBA{v(0), v(1), v(2), 255})
			}
		}
		class := filepath.Join(dir, []string{"a", "b"}[i%2])
		if err := os.MkdirAll(class, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(class, fmt.Sprintf("%02d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, img); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What is done while a file is decoded is what the transforms do one by one: to
// the rounding to bytes that comes with it.
func TestPicturesInFiles(t *testing.T) {
	dir := writePNGs(t, 6, func(int) (int, int) { return 30, 24 })
	inMemory, err := data.OpenImages(dir, data.ImageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	inFiles, err := data.OpenImages(dir, data.ImageOptions{Memory: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := inFiles.Train.(data.Pictures); !ok {
		t.Fatalf("%T are no pictures in files", inFiles.Train)
	}
	sub, _, err := data.Split(inFiles.Train, 0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := sub.(data.Pictures); !ok {
		t.Error("a part of pictures in files is none")
	}
	for _, c := range []struct {
		head int
		list []Transform
	}{
		{3, []Transform{RandomResizedCrop{Size: 12}, RandomHorizontalFlip{}, RandomVerticalFlip{}}},
		{3, []Transform{RandomResizedCrop{Height: 9, Width: 14, Interpolation: Bicubic}, RandomHorizontalFlip{}, Normalize{Mean: []float64{0.5}, Std: []float64{0.25}}}},
		{2, []Transform{RandomResizedCrop{Size: 12}, RandomHorizontalFlip{}, RandomErasing{}, Normalize{Mean: ImageNetMean, Std: ImageNetStd}}},
		{2, []Transform{Resize{Size: 16}, CenterCrop{Size: 12}}},
		{3, []Transform{Resize{Height: 20, Width: 22}, RandomCrop{Height: 15, Width: 9}, RandomVerticalFlip{}}},
		{1, []Transform{Resize{Height: 12, Width: 12}, RandomCrop{Size: 12, Padding: 2}}},
		{0, []Transform{RandomHorizontalFlip{}, RandomCrop{Size: 12}}},
		{0, []Transform{ColorJitter{Brightness: 0.1}, RandomResizedCrop{Size: 12}}},
		{2, []Transform{RandomResizedCrop{Size: 12}, RandomHorizontalFlip{}, RandomCrop{Size: 8}}},
	} {
		a, err := Apply(inMemory.Train, 9, c.list...)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Apply(inFiles.Train, 9, c.list...)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.(*transformed).head; got != c.head {
			t.Errorf("%v: the first %d are done while decoding, expected %d", c.list, got, c.head)
		}
		scale := 1.0
		if n, ok := last(c.list); ok {
			scale = n.Std[0]
		}
		for e := range 2 {
			for i := range a.Len() {
				x, y := example(t, data.AtEpoch(a, e), i), example(t, data.AtEpoch(b, e), i)
				if !bytes.Equal(x[1], y[1]) || len(x[0]) != len(y[0]) {
					t.Fatalf("%v: example %d has another label or size", c.list, i)
				}
				for k, v := range floats(y[0]) {
					if d := math.Abs(float64(v-floats(x[0])[k])) * scale; d > 0.75/255 {
						t.Fatalf("%v, epoch %d, example %d, value %d: %v from the file, %v one by one", c.list, e, i, k, v, floats(x[0])[k])
					}
				}
			}
		}
	}
}

// Files of any size give pictures of the size that the list says.
func TestFilesOfDifferentSizes(t *testing.T) {
	dir := writePNGs(t, 5, func(i int) (int, int) { return 17 + 5*i, 31 - 3*i })
	src, err := data.OpenImages(dir, data.ImageOptions{Memory: -1, Channels: 1, Height: 8, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	ds, err := Apply(src.Train, 1, Resize{Size: 14}, CenterCrop{Size: 12}, Normalize{Mean: []float64{0}, Std: []float64{1}})
	if err != nil {
		t.Fatal(err)
	}
	if s := ds.Fields()[0].Shape; !slices.Equal(s, []int{1, 12, 12}) {
		t.Fatalf("shape %v", s)
	}
	for i := range ds.Len() {
		example(t, ds, i)
	}
	if _, err := Apply(src.Train, 1, Resize{Size: 14}); err == nil || !strings.Contains(err.Error(), "different sizes") {
		t.Errorf("resizing to the shorter side alone: %v", err)
	}
}

// Mixed labels are what the classes' pictures contribute.
func TestMixedLabels(t *testing.T) {
	const n = 6
	x := make([]float32, n*3*4*4) // channel c of example i is 1 where its class is c
	y := make([]int64, n)
	for i := range n {
		y[i] = int64(i % 3)
		for k := range 16 {
			x[(i*3+i%3)*16+k] = 1
		}
	}
	of, err := data.Arrays(data.Floats("x", x, 3, 4, 4), data.Ints("y", y))
	if err != nil {
		t.Fatal(err)
	}
	for _, mix := range []Mix{MixUp{}, CutMix{}} {
		ds, err := ApplyMixed(of, 3, 3, []Mix{mix})
		if err != nil {
			t.Fatal(err)
		}
		mixed := false
		l := data.Loader{Dataset: ds, Batch: 4}
		for range 8 {
			for b := range l.Batches(t.Context()) {
				x, y := b.X.Floats(), b.Y.Floats()
				for c := range 3 * b.Size {
					mean := float32(0)
					for _, v := range x[c*16 : (c+1)*16] {
						mean += v / 16
					}
					if math.Abs(float64(mean-y[c])) > 1e-6 {
						t.Fatalf("%T: a share of %v of the picture, and a label of %v", mix, mean, y[c])
					}
					mixed = mixed || y[c] > 0.01 && y[c] < 0.99
				}
			}
		}
		if !mixed {
			t.Errorf("%T mixed nothing", mix)
		}
	}
	for _, bad := range []func() error{
		func() error { _, err := ApplyMixed(of, 1, 1, []Mix{MixUp{}}); return err },
		func() error { _, err := ApplyMixed(of, 1, 3, []Mix{MixUp{Alpha: -1}}); return err },
		func() error { _, err := ApplyMixed(of, 1, 3, []Mix{CutMix{Alpha: math.NaN()}}); return err },
	} {
		if bad() == nil {
			t.Error("no error")
		}
	}
	// A class beyond those that there are is found when it is read.
	two, err := ApplyMixed(of, 1, 2, []Mix{MixUp{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := two.Read(2, [][]byte{make([]byte, 4*48), make([]byte, 8)}); err == nil || !strings.Contains(err.Error(), "class 2") {
		t.Errorf("class 2 of two: %v", err)
	}
}

// Parameters that make no sense are refused by name before anything is read.
func TestRefused(t *testing.T) {
	of := pictures(t, 2, Shape{3, 12, 14})
	nan := math.NaN()
	for _, bad := range []Transform{
		RandomHorizontalFlip{P: 1.5}, RandomVerticalFlip{P: nan},
		Resize{}, Resize{Size: 3, Height: 2, Width: 2}, Resize{Height: 5}, Resize{Size: -1}, Resize{Size: 1 << 17}, Resize{Size: 8, Interpolation: Nearest},
		CenterCrop{}, RandomCrop{Size: 13}, RandomCrop{Size: 12, Padding: -1}, RandomCrop{Size: 30, Padding: 13, PaddingMode: Reflect},
		RandomCrop{Size: 4, PaddingMode: "wrap"}, RandomCrop{Size: 4, Fill: nan},
		RandomResizedCrop{}, RandomResizedCrop{Size: 4, Scale: Range{0.5, 2}}, RandomResizedCrop{Size: 4, Ratio: Range{2, 1}}, RandomResizedCrop{Size: 4, Ratio: Range{0, 1}},
		RandomRotation{Degrees: -3}, RandomRotation{Degrees: math.Inf(1)}, RandomRotation{Degrees: 3, Interpolation: Bicubic},
		RandomAffine{Degrees: nan}, RandomAffine{Translate: [2]float64{2, 0}}, RandomAffine{Scale: Range{-1, 1}}, RandomAffine{Shear: 90}, RandomAffine{Interpolation: 9},
		ColorJitter{Brightness: -1}, ColorJitter{Hue: 0.6}, ColorJitter{ContrastRange: Range{2, 1}}, ColorJitter{Saturation: nan},
		Normalize{}, Normalize{Mean: []float64{1, 2}, Std: []float64{1}}, Normalize{Mean: []float64{0}, Std: []float64{0}},
		RandomErasing{P: -1}, RandomErasing{Scale: Range{-1, 1}}, RandomErasing{Value: nan}, GaussianNoise{Sigma: -1},
	} {
		_, err := Apply(of, 1, bad)
		if name := strings.TrimPrefix(fmt.Sprintf("%T", bad), "transforms."); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	text, err := data.Arrays(data.Ints("x", []int64{1, 2}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(text, 1, RandomHorizontalFlip{}); err == nil {
		t.Error("numbers were taken for pictures")
	}
}
