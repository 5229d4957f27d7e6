package glyphs

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/data"
)

func read(t testing.TB, ds data.Dataset, i int) (x []byte, y int64) {
	t.Helper()
	x, label := make([]byte, 4*Size*Size), make([]byte, 8)
	if err := ds.Read(i, [][]byte{x, label}); err != nil {
		t.Fatal(err)
	}
	return x, int64(label[0])
}

func TestClasses(t *testing.T) {
	seen := map[rune]bool{}
	for _, class := range classes {
		for _, r := range class {
			if seen[r] {
				t.Errorf("%q is in two classes", r)
			}
			seen[r] = true
		}
	}
	const all = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for _, r := range all {
		if !seen[r] {
			t.Errorf("%q is in no class", r)
		}
	}
	if len(seen) != len(all) || len(Classes()) != 48 {
		t.Errorf("%d characters in %d classes", len(seen), len(Classes()))
	}
}

// The images depend on the seed, and on nothing else.
func TestDeterministic(t *testing.T) {
	outlines, err := load(trainFonts)
	if err != nil {
		t.Fatal(err)
	}
	want, labels := render(outlines, 200, 7)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	got, again := render(outlines, 200, 7)
	if !bytes.Equal(got, want) || !slices.Equal(labels, again) {
		t.Error("another number of cores gave other images")
	}
	more, _ := render(outlines, 300, 7)
	if !bytes.Equal(more[:len(want)], want) {
		t.Error("asking for more images changed the first ones")
	}
	if other, _ := render(outlines, 200, 8); bytes.Equal(other, want) {
		t.Error("another seed gave the same images")
	}
}

func TestNew(t *testing.T) {
	src, err := New(Options{Train: 480, Test: 96, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if src.Train.Len() != 480 || src.Test.Len() != 96 || !slices.Equal(src.Input(), []int{1, Size, Size}) || len(src.Digest) != 64 {
		t.Errorf("%d and %d examples of %v, digest %s", src.Train.Len(), src.Test.Len(), src.Input(), src.Digest)
	}
	perClass := make([]int, len(classes))
	for i := range src.Train.Len() {
		_, y := read(t, src.Train, i)
		perClass[y]++
	}
	if slices.Min(perClass) != 10 || slices.Max(perClass) != 10 {
		t.Errorf("examples per class: %v", perClass)
	}
	if _, err := New(Options{Train: -1}); err == nil || !strings.Contains(err.Error(), "-1 images") {
		t.Errorf("a negative number of images: %v", err)
	}
}

// Every image shows something, all of it inside: the rim is darker than the
// shape by far.
func TestImages(t *testing.T) {
	for name, fonts := range map[string][][]byte{"train": trainFonts, "test": testFonts} {
		outlines, err := load(fonts)
		if err != nil {
			t.Fatal(err)
		}
		pixels, labels := render(outlines, 960, 3)
		for i, y := range labels {
			image := pixels[i*Size*Size:][:Size*Size]
			bright, rim := 0, 0.0
			most := slices.Max(image)
			for k, v := range image {
				if v > most/2 {
					bright++
				}
				if row, col := k/Size, k%Size; row == 0 || col == 0 || row == Size-1 || col == Size-1 {
					rim += float64(v) / (4 * (Size - 1))
				}
			}
			if bright < 15 || bright > 450 || rim > 0.6*float64(most) {
				t.Errorf("%s: image %d, %q: %d bright pixels, rim %.0f of %d", name, i, classes[y], bright, rim, most)
			}
		}
	}
}

// Images of a class resemble each other more than those of other classes: the
// nearest of 4,800 training images names most test images of the fonts held out
// rightly, though it knows nothing of turning and shifting.
func TestLearnable(t *testing.T) {
	src, err := New(Options{Train: 4800, Test: 144, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	normal := func(ds data.Dataset) (images [][]float32, labels []int64) {
		for i := range ds.Len() {
			raw, y := read(t, ds, i)
			v := make([]float32, Size*Size)
			var mean, square float32
			for k := range v {
				v[k] = math.Float32frombits(uint32(raw[4*k]) | uint32(raw[4*k+1])<<8 | uint32(raw[4*k+2])<<16 | uint32(raw[4*k+3])<<24)
				mean += v[k] / Size / Size
			}
			for k := range v {
				v[k] -= mean
				square += v[k] * v[k]
			}
			for k := range v {
				v[k] /= float32(math.Sqrt(float64(square)))
			}
			images, labels = append(images, v), append(labels, y)
		}
		return images, labels
	}
	train, trainY := normal(src.Train)
	test, testY := normal(src.Test)
	right := 0
	for i, a := range test {
		best, class := float32(-2), int64(-1)
		for j, b := range train {
			var dot float32
			for k := range a {
				dot += a[k] * b[k]
			}
			if dot > best {
				best, class = dot, trainY[j]
			}
		}
		if class == testY[i] {
			right++
		}
	}
	if rate := float64(right) / float64(len(test)); rate < 0.6 {
		t.Errorf("the nearest neighbour is right for %.0f %%, expected most", 100*rate)
	} else {
		t.Logf("nearest neighbour: %.1f %%", 100*rate)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
