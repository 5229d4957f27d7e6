package data

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// Pillow's pixels of every format and colour model; scripts/formats makes the files.
// What is not lossy is the same to the bit, WebP that is lossy, too: libwebp's
// arithmetic is followed. Decoders of JPEG differ in the cosine transform and in how
// they spread chroma.
func TestPicturesAreThoseOfPillow(t *testing.T) {
	for name, want := range pillowPictures(t) {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", "images", name))
			if err != nil {
				t.Fatal(err)
			}
			img, err := decodePicture(raw, name)
			if err != nil {
				t.Fatal(err)
			}
			got := toRGBA(img)
			if got.Rect != image.Rect(0, 0, want.Width, want.Height) {
				t.Fatalf("bounds %v, want %d×%d", got.Rect, want.Width, want.Height)
			}
			off := 0
			if strings.HasSuffix(name, ".jpg") {
				off = 3
				if strings.HasPrefix(name, "42") || name == "progressive.jpg" || name == "cmyk.jpg" {
					off = 10
				}
			}
			for i := range want.Width * want.Height {
				for c := range 3 {
					if d := int(got.Pix[4*i+c]) - int(want.RGB[3*i+c]); max(d, -d) > off {
						t.Fatalf("pixel %d, %d is %v, want %v within %d", i%want.Width, i/want.Width, got.Pix[4*i:4*i+3], want.RGB[3*i:3*i+3], off)
					}
				}
			}
		})
	}
	// Where Pillow clips, the upper 8 bits are taken: 4000·12 + 100·8 is 48,800.
	img, err := ReadImage(filepath.Join("testdata", "images", "grey16.png"), []int{1, 9, 13})
	if err != nil || img[len(img)-1] != float32(48800>>8)/255 {
		t.Errorf("grey16.png ends in %v, %v", img[len(img)-1]*255, err)
	}
}

type pillowPicture struct {
	Mode          string
	Width, Height int
	RGB           []byte
}

func pillowPictures(t testing.TB) map[string]pillowPicture {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "images", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Files map[string]pillowPicture }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	delete(all.Files, "grey16.png")
	return all.Files
}

// A header alone must not make the program allocate what it says.
func TestPictureBombs(t *testing.T) {
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join("testdata", "images", name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	resized := func(w, h uint32) []byte {
		b := bytes.Clone(read("rgb16.png"))
		binary.BigEndian.PutUint32(b[16:], w)
		binary.BigEndian.PutUint32(b[20:], h)
		binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
		return b
	}
	screen := bytes.Clone(read("palette.gif"))
	binary.LittleEndian.PutUint16(screen[6:], 65535)
	binary.LittleEndian.PutUint16(screen[8:], 65535)
	// The extended header says 13×9, the frame in it 16383×4000.
	liar := bytes.Clone(read("lossy-alpha.webp"))
	at := bytes.Index(liar, []byte{0x9d, 0x01, 0x2a})
	binary.LittleEndian.PutUint16(liar[at+3:], 16383)
	binary.LittleEndian.PutUint16(liar[at+5:], 4000)
	lossless := bytes.Clone(read("lossless.webp"))
	at = bytes.Index(lossless, []byte("VP8L")) + 9
	binary.LittleEndian.PutUint32(lossless[at:], 16383|3999<<14)
	jpg := bytes.Clone(read("444.jpg"))
	at = bytes.Index(jpg, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(jpg[at+5:], 8000)
	binary.BigEndian.PutUint16(jpg[at+7:], 8000)
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"png of 2^40 pixels":   {resized(1<<20, 1<<20), "at most 67108864 pixels"},
		"png of 2^62 pixels":   {resized(1<<31-1, 1<<31-1), "cannot be decoded"},
		"png of 2^26 pixels":   {resized(1<<13, 1<<13), "8192×8192"},
		"gif screen":           {screen, "65535×65535"},
		"webp frame":           {liar, "16383×4000"},
		"webp lossless":        {lossless, "16384×4000"},
		"jpeg of 2^26 pixels":  {jpg, "8000×8000"},
		"jpeg cut":             {read("420.jpg")[:400], "cannot be decoded"},
		"webp cut":             {read("lossless.webp")[:40], "cannot be decoded"},
		"gif cut":              {read("palette.gif")[:80], "cannot be decoded"},
		"riff without an end":  {append(bytes.Clone(read("lossless.webp")[:12]), "VP8L\xff\xff\xff\xff"...), "cannot be decoded"},
		"exif beyond its file": {append([]byte("\xff\xd8\xff\xe1\x00\x10Exif\x00\x00II*\x00"), 0xff, 0xff, 0xff, 0xff), "cannot be decoded"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if got := testenv.Allocated(func() { _, err = decodePicture(c.raw, name) }); got > 8<<20 {
				t.Errorf("%d bytes were allocated for a file of %d", got, len(c.raw))
			}
			wantError(t, err, name, c.want)
		})
	}
}

// One bad image among others stops the folder with its name, or is an example that
// gives the error, as the options say; decoded at once or on demand.
func TestBadImage(t *testing.T) {
	dir := t.TempDir()
	good := encodeImage(t, uniform(3, 3, color.Gray{9}), "png")
	for _, name := range []string{"a/1.png", "a/2.png", "b/1.png"} {
		write(t, filepath.Join(dir, name), good)
	}
	bad := write(t, filepath.Join(dir, "a", "0.png"), good[:40])
	_, err := OpenImages(dir, ImageOptions{})
	wantError(t, err, bad, "cannot be decoded")
	for name, memory := range map[string]int64{"in memory": 0, "on demand": -1} {
		t.Run(name, func(t *testing.T) {
			src, err := OpenImages(dir, ImageOptions{KeepBad: true, Memory: memory})
			if err != nil {
				t.Fatal(err)
			}
			if memory == 0 && (len(src.Notes) != 2 || !strings.Contains(src.Notes[1], "1 of 4 images")) {
				t.Errorf("notes %q", src.Notes)
			}
			var dst [][]byte
			for _, f := range src.Train.Fields() {
				dst = append(dst, make([]byte, f.Bytes()))
			}
			wantError(t, src.Train.Read(0, dst), bad, "cannot be decoded")
			if err := src.Train.Read(1, dst); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"a/1.png", "a/2.png", "b/1.png"} {
		write(t, filepath.Join(dir, name), []byte("no"))
	}
	_, err = OpenImages(dir, ImageOptions{KeepBad: true})
	wantError(t, err, bad, "cannot be decoded")
}

// What is decoded on demand has the bytes of what is decoded at once.
func TestImagesOnDemand(t *testing.T) {
	dir := t.TempDir()
	for i := range 7 {
		write(t, filepath.Join(dir, "train", string(rune('a'+i%2)), string(rune('0'+i))+".png"), encodeImage(t, uniform(5+i, 9-i, color.RGBA{uint8(40 * i), 7, 200, 255}), "png"))
	}
	write(t, filepath.Join(dir, "test", "b", "x.png"), encodeImage(t, uniform(2, 2, color.Gray{3}), "png"))
	for _, channels := range []int{1, 3} {
		opt := ImageOptions{Height: 6, Width: 5, Channels: channels}
		at, err := OpenImages(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		opt.Memory = 100
		on, err := OpenImages(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		if len(on.Notes) != 1 || !strings.Contains(on.Notes[0], "decoded anew") {
			t.Errorf("notes %q", on.Notes)
		}
		sameExamples(t, at.Train, on.Train)
		sameExamples(t, at.Test, on.Test)
	}
}

func sameExamples(t *testing.T, a, b Dataset) {
	t.Helper()
	if a.Len() != b.Len() {
		t.Fatalf("%d and %d examples", a.Len(), b.Len())
	}
	var x, y [][]byte
	for _, f := range a.Fields() {
		x, y = append(x, make([]byte, f.Bytes())), append(y, make([]byte, f.Bytes()))
	}
	for i := range a.Len() {
		if err := a.Read(i, x); err != nil {
			t.Fatal(err)
		}
		if err := b.Read(i, y); err != nil {
			t.Fatal(err)
		}
		for f := range x {
			if !bytes.Equal(x[f], y[f]) {
				t.Fatalf("field %d of example %d differs", f, i)
			}
		}
	}
}

func FuzzPicture(f *testing.F) {
	files, _ := filepath.Glob("testdata/images/*.*")
	for _, name := range files {
		if raw, err := os.ReadFile(name); err == nil && filepath.Ext(name) != ".json" {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if w, h, err := pictureSize(raw, "fuzzed"); err == nil && w*h > freePixels {
			return // allowed, and slow
		}
		limit := uint64(len(raw))*8*pixelsPerByte + 40*freePixels
		var err error
		var img image.Image
		if got := testenv.Allocated(func() { img, err = decodePicture(raw, "fuzzed") }); got > limit {
			t.Errorf("%d bytes were allocated for a file of %d", got, len(raw))
		}
		if err == nil {
			toRGBA(img)
		}
	})
}
