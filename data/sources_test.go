package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data/tokenizer"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// example reads an example's fields as numbers.
func example(t testing.TB, ds Dataset, i int) (fields [][]float64) {
	t.Helper()
	var dst [][]byte
	for _, f := range ds.Fields() {
		dst = append(dst, make([]byte, f.Bytes()))
	}
	if err := ds.Read(i, dst); err != nil {
		t.Fatal(err)
	}
	for f, b := range dst {
		var v []float64
		for len(b) > 0 {
			if ds.Fields()[f].DType == sinter.Float32 {
				v, b = append(v, float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))), b[4:]
			} else {
				v, b = append(v, float64(int64(binary.LittleEndian.Uint64(b)))), b[8:]
			}
		}
		fields = append(fields, v)
	}
	return fields
}

// wantError checks that an error says all of the parts, the place among them.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, expected one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func write(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// idx is an IDX file as its description has it.
func idx(values []byte, dims ...uint32) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, values...)
}

func zipped(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func TestIDX(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "train-images-idx3-ubyte"), idx([]byte{0, 51, 102, 255, 1, 2}, 1, 2, 3))
	write(t, filepath.Join(dir, "train-labels.idx1-ubyte.gz"), zipped(idx([]byte{3}, 1)))
	src, err := OpenIDX(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := example(t, src.Train, 0)
	for i, want := range []float32{0, 51.0 / 255, 102.0 / 255, 1, 1.0 / 255, 2.0 / 255} {
		if float32(got[0][i]) != want {
			t.Errorf("pixel %d is %v, want %v", i, got[0][i], want)
		}
	}
	if got[1][0] != 3 || !slices.Equal(src.Input(), []int{1, 2, 3}) || !slices.Equal(src.Classes, []string{"0", "1", "2", "3"}) || src.Test != nil {
		t.Errorf("label %v, input %v, classes %v", got[1], src.Input(), src.Classes)
	}
	if k, err := Detect(dir); k != KindIDX {
		t.Errorf("detected %q, %v", k, err)
	}
}

func TestIDXErrors(t *testing.T) {
	images, labels := idx(make([]byte, 12), 3, 2, 2), idx([]byte{0, 1, 2}, 3)
	const im, la = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	for name, c := range map[string]struct {
		files map[string][]byte
		want  []string
	}{
		"nothing":         {nil, []string{"has no file train-images-idx3-ubyte"}},
		"no labels":       {map[string][]byte{im: images}, []string{"has no file train-labels", "belongs to " + im}},
		"no images":       {map[string][]byte{la: labels}, []string{"has no file train-images"}},
		"test in part":    {map[string][]byte{im: images, la: labels, "t10k-labels-idx1-ubyte": labels}, []string{"has no file t10k-images"}},
		"empty":           {map[string][]byte{im: {}, la: labels}, []string{im, "byte 0", "the file ends here", "16 bytes"}},
		"cut header":      {map[string][]byte{im: images[:7], la: labels}, []string{im, "byte 7", "16 bytes in the header"}},
		"cut":             {map[string][]byte{im: images[:20], la: labels}, []string{im, "byte 20", "28 bytes for [3 2 2]", "download"}},
		"cut labels":      {map[string][]byte{im: images, la: labels[:10]}, []string{la, "byte 10", "11 bytes"}},
		"too long":        {map[string][]byte{im: append(slices.Clone(images), 1), la: labels}, []string{im, "byte 28", "goes on"}},
		"magic":           {map[string][]byte{im: labels, la: labels}, []string{im, "byte", "expected"}},
		"swapped":         {map[string][]byte{im: images, la: images}, []string{la, "byte 0", "0x00000803", "0x00000801"}},
		"count":           {map[string][]byte{im: images, la: idx([]byte{0, 1}, 2)}, []string{la, "2 labels, expected 3"}},
		"huge":            {map[string][]byte{im: idx(nil, 1<<31, 1<<31, 1<<31), la: labels}, []string{im, "byte 4", "2 GiB"}},
		"lying":           {map[string][]byte{im: idx(nil, 60000, 100, 200), la: labels}, []string{im, "byte 16", "the file ends here"}},
		"zero":            {map[string][]byte{im: idx(nil, 3, 0, 2), la: labels}, []string{im, "byte 8", "length 0"}},
		"gzip cut":        {map[string][]byte{im + ".gz": zipped(images)[:25], la: labels}, []string{im, "cut off", "download"}},
		"gzip header":     {map[string][]byte{im + ".gz": zipped(images)[:5], la: labels}, []string{im, "gzip header"}},
		"gzip no sum":     {map[string][]byte{im + ".gz": cutSum(zipped(images)), la: labels}, []string{im, "cut off"}},
		"gzip sum":        {map[string][]byte{im + ".gz": flip(zipped(images), -6), la: labels}, []string{im, "checksum"}},
		"gzip not":        {map[string][]byte{im + ".gz": []byte("<html>not found</html>"), la: labels}, []string{im, "magic number"}},
		"other test size": {map[string][]byte{im: images, la: labels, "t10k-images-idx3-ubyte": idx(make([]byte, 3), 3, 1, 1), "t10k-labels-idx1-ubyte": labels}, []string{"t10k-images", "1×1", "2×2"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range c.files {
				write(t, filepath.Join(dir, file), content)
			}
			_, err := OpenIDX(dir)
			wantError(t, err, append(c.want, dir)...)
		})
	}
	_, err := OpenIDX(filepath.Join(t.TempDir(), "absent"))
	wantError(t, err, "absent")
}

func cutSum(b []byte) []byte { return b[:len(b)-8] }

func flip(b []byte, i int) []byte {
	b[len(b)+i] ^= 0xff
	return b
}

func TestMNIST(t *testing.T) {
	src, err := OpenIDX(testenv.SharedData(t, "mnist"))
	if err != nil {
		t.Fatal(err)
	}
	if src.Train.Len() != 60_000 || src.Test.Len() != 10_000 || len(src.Classes) != 10 || !slices.Equal(src.Input(), []int{1, 28, 28}) {
		t.Errorf("%d and %d examples, %d classes, input %v", src.Train.Len(), src.Test.Len(), len(src.Classes), src.Input())
	}
	// The first labels are as published with the dataset.
	for i, want := range []float64{5, 0, 4, 1, 9, 2, 1, 3, 1, 4} {
		if got := example(t, src.Train, i)[1][0]; got != want {
			t.Errorf("label %d is %v, want %v", i, got, want)
		}
	}
}

func encodeImage(t testing.TB, img image.Image, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	if format == "jpeg" {
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 100})
	} else {
		err = png.Encode(&b, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func uniform(w, h int, c color.Color) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.Set(i%w, i/w, c)
	}
	return img
}

func TestImages(t *testing.T) {
	dir := t.TempDir()
	red, grey := color.RGBA{255, 0, 51, 255}, color.Gray{102}
	write(t, filepath.Join(dir, "10", "a.png"), encodeImage(t, uniform(4, 2, red), "png"))
	write(t, filepath.Join(dir, "9", "b.JPG"), encodeImage(t, uniform(7, 9, grey), "jpeg"))
	write(t, filepath.Join(dir, "9", "notes.txt"), []byte("x"))
	write(t, filepath.Join(dir, ".hidden", "b.png"), []byte("x"))
	write(t, filepath.Join(dir, "README.txt"), []byte("x"))
	src, err := OpenImages(dir, ImageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(src.Classes, []string{"9", "10"}) || !slices.Equal(src.Input(), []int{3, 9, 7}) {
		t.Fatalf("classes %v, input %v", src.Classes, src.Input())
	}
	for i, want := range [][]float64{{0.4, 0.4, 0.4, 0}, {1, 0, 0.2, 1}} {
		got := example(t, src.Train, i)
		for c := range 3 {
			for _, v := range got[0][c*63 : (c+1)*63] {
				if math.Abs(v-want[c]) > 0.005 {
					t.Fatalf("image %d, channel %d holds %v, want %v", i, c, v, want[c])
				}
			}
		}
		if got[1][0] != want[3] {
			t.Errorf("image %d has label %v", i, got[1])
		}
	}
	if src, err = OpenImages(dir, ImageOptions{Height: 2, Width: 4, Channels: 1}); err != nil {
		t.Fatal(err)
	}
	// Grey of red by the weights of ITU-R 601: 0.299·255 + 0.114·51 = 82.
	if got := example(t, src.Train, 1)[0]; len(got) != 8 || math.Abs(got[0]-82.0/255) > 0.003 {
		t.Errorf("red in grey is %v", got)
	}
	if k, err := Detect(dir); k != KindImages {
		t.Errorf("detected %q, %v", k, err)
	}
	x, err := ReadImage(filepath.Join(dir, "10", "a.png"), []int{3, 1, 1})
	if err != nil || len(x) != 3 || x[0] != 1 || x[1] != 0 || x[2] != 0.2 {
		t.Errorf("ReadImage: %v, %v", x, err)
	}
}

func TestImagesTrainTest(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"train/cat/1.png", "train/dog/1.png", "train/dog/2.png", "test/dog/1.png"} {
		write(t, filepath.Join(dir, p), encodeImage(t, uniform(3, 3, color.Gray{9}), "png"))
	}
	src, err := OpenImages(dir, ImageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if src.Train.Len() != 3 || src.Test.Len() != 1 || example(t, src.Test, 0)[1][0] != 1 || !slices.Equal(src.Input(), []int{1, 3, 3}) {
		t.Errorf("%d and %d examples, input %v", src.Train.Len(), src.Test.Len(), src.Input())
	}
	if k, err := Detect(dir); k != KindImages {
		t.Errorf("detected %q, %v", k, err)
	}
	write(t, filepath.Join(dir, "test/bird/1.png"), encodeImage(t, uniform(3, 3, color.Gray{9}), "png"))
	_, err = OpenImages(dir, ImageOptions{})
	wantError(t, err, `"bird"`, "[cat dog]")
}

func TestImageErrors(t *testing.T) {
	good := encodeImage(t, uniform(3, 3, color.Gray{9}), "png")
	huge := slices.Clone(good)
	binary.BigEndian.PutUint32(huge[16:], 1<<20)
	binary.BigEndian.PutUint32(huge[20:], 1<<20)
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":        {nil, "is empty"},
		"not an image": {[]byte("<html>"), "not a PNG, JPEG"},
		"cut":          {good[:len(good)-20], "cannot be decoded"},
		"huge":         {huge, "1048576×1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "a", "good.png"), good)
			path := write(t, filepath.Join(dir, "b", "bad.png"), c.content)
			_, err := OpenImages(dir, ImageOptions{})
			wantError(t, err, path, c.want)
			_, err = ReadImage(path, []int{1, 3, 3})
			wantError(t, err, path, c.want)
		})
	}
	dir := t.TempDir()
	_, err := OpenImages(dir, ImageOptions{})
	wantError(t, err, dir, "0 sub-folders")
	_, err = OpenImages(dir, ImageOptions{Channels: 2})
	wantError(t, err, "0, 1 or 3 channels")
	path := write(t, filepath.Join(dir, "a", "good.png"), good)
	_, err = OpenImages(dir, ImageOptions{})
	wantError(t, err, dir, "1 sub-folders", "at least 2")
	write(t, filepath.Join(dir, "b", "good.png"), good)
	_, err = OpenImages(dir, ImageOptions{Height: 40_000, Width: 40_000})
	wantError(t, err, "40000×40000", "smaller size")
	for _, shape := range [][]int{nil, {28, 28}, {2, 3, 3}, {1, 0, 3}} {
		_, err = ReadImage(path, shape)
		wantError(t, err, "cannot be given the shape")
	}
}

func TestText(t *testing.T) {
	dir := t.TempDir()
	// Token i is the character i places after 'a', so that tokens are positions.
	var text strings.Builder
	for i := range 200 {
		text.WriteRune(rune('a' + i))
	}
	path := write(t, filepath.Join(dir, "t.txt"), []byte(text.String()))
	src, err := OpenText(path, TextOptions{Block: 6, PerEpoch: 500, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if src.Test.Len() != 3 || src.Train.Len() != 500 {
		t.Fatalf("%d blocks for training, %d for testing", src.Train.Len(), src.Test.Len())
	}
	for i := range 3 {
		got := example(t, src.Test, i)
		for k := range 6 {
			if want := float64(180 + 6*i + k); got[0][k] != want || got[1][k] != want+1 {
				t.Errorf("test block %d: %v", i, got)
			}
		}
	}
	starts := func(ds Dataset) (list []float64) {
		for i := range ds.Len() {
			got := example(t, ds, i)
			for k := range 6 {
				if got[0][k] != got[0][0]+float64(k) || got[1][k] != got[0][k]+1 {
					t.Fatalf("train block %d: %v", i, got)
				}
			}
			list = append(list, got[0][0])
		}
		return list
	}
	first := starts(src.Train)
	// Every place from which a block and one more character fit into the first
	// 180, and none beyond.
	if slices.Min(first) != 0 || slices.Max(first) != 173 {
		t.Errorf("blocks begin from %v to %v", slices.Min(first), slices.Max(first))
	}
	second := src.Train.(EpochDataset).Epoch(1)
	if slices.Equal(first, starts(second)) || !slices.Equal(first, starts(second.(EpochDataset).Epoch(0))) {
		t.Error("the places do not depend on the epoch, or on more than that")
	}
	// Wrapped datasets pass the epoch on.
	sub, _ := Subset(src.Train, []int{0, 1, 2})
	both, _ := Concat(sub, src.Test)
	if got := example(t, AtEpoch(both, 1), 2)[0][0]; got != starts(second)[2] {
		t.Errorf("the third example of a subset in epoch 1 begins at %v, want %v", got, starts(second)[2])
	}
	if k, err := Detect(path); k != KindText {
		t.Errorf("detected %q, %v", k, err)
	}
	if k, err := Detect(dir); k != KindText {
		t.Errorf("detected %q, %v", k, err)
	}
	write(t, filepath.Join(dir, "a.txt"), []byte("\xef\xbb\xbffirst"))
	if s, err := ReadText(dir); err != nil || !strings.HasPrefix(s, "first\nabc") {
		t.Errorf("the folder reads %.20q, %v", s, err)
	}
}

func TestTextErrors(t *testing.T) {
	dir := t.TempDir()
	short := write(t, filepath.Join(dir, "short.txt"), []byte(strings.Repeat("ab", 300)))
	_, err := OpenText(short, TextOptions{Block: 60})
	wantError(t, err, short, "600 characters", "60 tokens", "at least 61", "smaller block")
	if _, err := OpenText(short, TextOptions{Block: 59}); err != nil {
		t.Error(err)
	}
	_, err = OpenText(short, TextOptions{})
	wantError(t, err, "block of 0")
	_, err = OpenText(short, TextOptions{Block: 3, Tokenizer: tokenizer.NewChars("a")})
	wantError(t, err, short, "'b' at byte 1")
	empty := write(t, filepath.Join(dir, "empty.txt"), nil)
	_, err = OpenText(empty, TextOptions{Block: 3})
	wantError(t, err, empty, "is empty")
	latin := write(t, filepath.Join(dir, "latin.txt"), []byte("caf\xe9 \ufffd"))
	_, err = OpenText(latin, TextOptions{Block: 3})
	wantError(t, err, latin, "byte 3", "0xe9", "iconv")
	_, err = ReadText(t.TempDir())
	wantError(t, err, "no .txt files")
	_, err = ReadText(filepath.Join(dir, "absent"))
	wantError(t, err, "absent")
	for _, path := range []string{filepath.Join(dir, "absent"), t.TempDir(), write(t, filepath.Join(dir, "x.bin"), nil)} {
		_, err := Detect(path)
		wantError(t, err, path)
	}
}

func TestShakespeare(t *testing.T) {
	src, err := OpenText(testenv.SharedData(t, "text", "tinyshakespeare.txt"), TextOptions{Block: 64})
	if err != nil {
		t.Fatal(err)
	}
	// 65 different characters in 1,115,394, as its publisher counts them.
	if src.Tokenizer.Size() != 65 || src.Test.Len() != (111539-1)/64 {
		t.Errorf("%d characters, %d blocks for testing", src.Tokenizer.Size(), src.Test.Len())
	}
	if s := src.Tokenizer.Decode([]int64{0, 1, 64}); s != "\n z" {
		t.Errorf("the first two and the last token are %q", s)
	}
}

func FuzzIDX(f *testing.F) {
	f.Add(idx(make([]byte, 12), 3, 2, 2))
	f.Add(zipped(idx(make([]byte, 12), 3, 2, 2)))
	f.Add(idx(nil, 1<<31, 1<<31, 1<<31))
	f.Add(idx(nil, 1<<32-1, 1<<32-1, 1<<32-1))
	f.Add(zipped(idx(make([]byte, 5), 3, 2, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var dims []int
		var values []byte
		var err error
		got := testenv.Allocated(func() { dims, values, err = readIDX(bytes.NewReader(b), int64(len(b)), "f", 3) })
		if got > uint64(4*len(b)+2*freeUnpacked) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(b))
		}
		if err == nil && len(values) != dims[0]*dims[1]*dims[2] {
			t.Fatalf("%d values for %v", len(values), dims)
		}
		if err != nil && !strings.Contains(fmt.Sprint(err), "f, byte ") {
			t.Fatalf("error without a place: %v", err)
		}
	})
}

// Half a gigabyte of zeros packed into half a megabyte is refused by its header, and
// where that lies, not unpacked.
func TestBombs(t *testing.T) {
	dir := t.TempDir()
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	w.Write(idx(nil, 512, 1024, 1024))
	zeros := make([]byte, 1<<20)
	for range 48 {
		w.Write(zeros)
	}
	w.Close()
	bomb := packed.Bytes()
	path := write(t, filepath.Join(dir, "train-images-idx3-ubyte.gz"), bomb)
	write(t, filepath.Join(dir, "train-labels-idx1-ubyte"), idx([]byte{1}, 1))
	table := write(t, filepath.Join(dir, "bomb.csv.gz"), bomb)
	text := write(t, filepath.Join(dir, "bomb.txt"), bomb)
	for name, c := range map[string]struct {
		path string
		open func() error
	}{
		"idx":  {path, func() error { _, err := OpenIDX(dir); return err }},
		"csv":  {table, func() error { _, err := ReadTable(table, TableOptions{}); return err }},
		"text": {text, func() error { _, err := ReadText(text); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if got := testenv.Allocated(func() { err = c.open() }); got > 8*freeUnpacked {
				t.Errorf("%d MiB were allocated for a file of %d KiB", got>>20, len(bomb)>>10)
			}
			wantError(t, err, c.path, "more than 200 times", "unpack it beforehand")
		})
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("To be, or not to be"), false)
	f.Add([]byte("\xef\xbb\xbfz\u00fcrich\r\n"), false)
	f.Add([]byte("\xff\xfeT\x00"), false)
	f.Add([]byte("{\"text\": \"a\\u00e4\"}\n\n{\"text\": \"b\"}"), true)
	f.Add(zipped([]byte("words")), false)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, objects bool) {
		path := filepath.Join(dir, "fuzzed.txt")
		if objects {
			path = filepath.Join(dir, "fuzzed.jsonl")
		}
		write(t, path, content)
		got := testenv.Allocated(func() {
			text, err := ReadText(path)
			if err == nil && !utf8.ValidString(text) {
				t.Errorf("%q is not UTF-8", text)
			}
			if err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("error without the file: %v", err)
			}
			OpenText(path, TextOptions{Block: 4})
		})
		if got > uint64(1000*len(content)+4*freeUnpacked) {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(content))
		}
	})
}
