package transforms

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/streamtest"
)

// writeTar packs a folder of writePNGs into an archive, in the order in which
// data.OpenImages has the files, and returns its name.
func writeTar(t testing.TB, dir string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, content []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		w.Write(content)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range files {
		png, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		add(fmt.Sprintf("%03d.png", i), png)
		add(fmt.Sprintf("%03d.cls", i), []byte(filepath.Base(filepath.Dir(path))))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "train.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// batchesOf is the content of the batches that the loader gives until the end of an epoch.
func batchesOf(t testing.TB, l *data.Loader, epoch int) (all []string) {
	t.Helper()
	for l.Epoch() <= epoch {
		for b := range l.Batches(t.Context()) {
			all = append(all, fmt.Sprint(l.Epoch()-1, b.Index, b.X.Floats(), b.Y.Floats()))
		}
		if err := l.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// An archive gives the batches that a folder with the same files gives, to the bit:
// streamed, by one worker or several, after a saved position, or held in memory.
func TestStream(t *testing.T) {
	dir := writePNGs(t, 14, func(i int) (int, int) { return 20 + i, 30 - i })
	archive := writeTar(t, dir)
	opt := data.ImageOptions{Height: 16, Width: 18, Channels: 3, Memory: -1}
	folder, err := data.OpenImages(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	streamed, err := data.OpenWebDataset(archive, opt)
	if err != nil {
		t.Fatal(err)
	}
	if streamed.Stream == nil {
		t.Fatal("the archive is not streamed")
	}
	opt.Memory = 0
	held, err := data.OpenWebDataset(archive, opt)
	if err != nil {
		t.Fatal(err)
	}
	mixes := []Mix{MixUp{Alpha: 0.4}, CutMix{}}
	for name, list := range map[string][]Transform{
		"in one pass":     {RandomResizedCrop{Size: 12}, RandomHorizontalFlip{}, Normalize{Mean: ImageNetMean, Std: ImageNetStd}},
		"in one and more": {RandomResizedCrop{Size: 12}, RandomHorizontalFlip{}, GaussianNoise{Sigma: 0.1}, RandomErasing{}},
		"behind decoding": {RandomHorizontalFlip{}, RandomCrop{Size: 15, Padding: 3}, ColorJitter{Brightness: 0.3}},
	} {
		t.Run(name, func(t *testing.T) {
			loader := func(ds data.Examples, workers int) *data.Loader {
				return &data.Loader{Dataset: ds, Batch: 4, Workers: workers}
			}
			ofFolder, err := ApplyMixed(folder.Train, 7, 2, mixes, list...)
			if err != nil {
				t.Fatal(err)
			}
			want := batchesOf(t, loader(ofFolder, 1), 1)
			if len(want) != 8 || want[0] == want[4] {
				t.Fatalf("%d batches of two epochs, which must differ", len(want))
			}
			ofStream, err := ApplyStreamMixed(streamed.Stream, 7, 2, mixes, list...)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ofStream.(*transformedStream).head, ofFolder.(*transformed).head; got != want {
				t.Errorf("the first %d are done while decoding, expected %d", got, want)
			}
			ofHeld, err := ApplyMixed(held.Train, 7, 2, mixes, list...)
			if err != nil {
				t.Fatal(err)
			}
			for what, l := range map[string]*data.Loader{
				"streamed by one": loader(ofStream, 1), "streamed by four": loader(ofStream, 4), "held in memory": loader(ofHeld, 2),
			} {
				if !slices.Equal(batchesOf(t, l, 1), want) {
					t.Errorf("%s: other batches than of the folder", what)
				}
			}

			// Shuffled, a loader goes on where another one stopped.
			shuffled := func(workers int) *data.Loader {
				l := loader(ofStream, workers)
				l.Shuffle, l.Seed, l.ShuffleBuffer = true, 3, 6
				return l
			}
			want = batchesOf(t, shuffled(1), 1)
			for stop := 1; stop < len(want); stop++ {
				a := shuffled(4)
				n := 0
				for n < stop {
					for range a.Batches(t.Context()) {
						if n++; n == stop {
							break
						}
					}
				}
				b := shuffled(3)
				if err := b.SetState(a.State()); err != nil {
					t.Fatal(err)
				}
				if got := batchesOf(t, b, 1); !slices.Equal(got, want[stop:]) {
					t.Errorf("after %d batches it goes on with others", stop)
				}
			}
		})
	}

	s, err := ApplyStream(streamed.Stream, 1, RandomResizedCrop{Size: 12}, RandomHorizontalFlip{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(streamtest.Check(t, s)); n != 14 {
		t.Errorf("%d examples", n)
	}
	// What is held out of a stream, and what is left, can be seen in other views, too.
	if err := streamed.HoldOut(0.3, 1); err != nil {
		t.Fatal(err)
	}
	if p, ok := streamed.Stream.(data.PictureStream); !ok || !p.HasPictures() {
		t.Error("what is left of a stream of pictures is none")
	}
	if _, ok := streamed.Test.(data.Pictures); !ok {
		t.Error("what is held out of a stream of pictures are none")
	}
}

// Arrays of the shape of pictures have no file to be cropped in.
func TestStreamOfArrays(t *testing.T) {
	archive := writeTar(t, writePNGs(t, 2, func(int) (int, int) { return 9, 9 }))
	s, err := data.NewWebDataset([]string{archive}, data.Member{
		Exts:  []string{"png"},
		Field: pictures(t, 1, Shape{3, 6, 7}).Fields()[0],
		Decode: func(name string, content, dst []byte) (int, error) {
			return copy(dst, asBytes(noisePicture(4, Shape{3, 6, 7}).Pix)), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	list := []Transform{RandomResizedCrop{Size: 5}, RandomVerticalFlip{}}
	cropped, err := ApplyStream(s, 5, list...)
	if err != nil {
		t.Fatal(err)
	}
	x := noisePicture(4, Shape{3, 6, 7}).Pix
	one, err := data.Arrays(data.Floats("x", slices.Concat(x, x), 3, 6, 7))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Apply(one, 5, list...)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range streamtest.Check(t, cropped) {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		if !bytes.Equal(e.Fields[0], example(t, want, i)[0]) {
			t.Errorf("example %d is another than of a dataset", i)
		}
	}
}
