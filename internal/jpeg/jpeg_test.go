package jpeg

import (
	"bytes"
	"errors"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Samples are libjpeg-turbo's, to the bit, where a component has the picture's
// resolution; subsampled chroma, which it hands out spread, is compared with image/jpeg,
// whose transform rounds otherwise.
func TestPlanes(t *testing.T) {
	var d Decoder // one for all: what a picture leaves must not matter
	for _, path := range files(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".jpg")
		if name == "progressive" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			raw := read(t, path)
			whole := decode(t, &d, raw)
			want := read(t, strings.TrimSuffix(path, ".jpg")+".planes")
			std, err := stdjpeg.Decode(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if len(want) != len(d.Planes)*d.Width*d.Height {
				t.Fatalf("%d components of %d×%d for %d reference samples", len(d.Planes), d.Width, d.Height, len(want))
			}
			for i, p := range d.Planes {
				if p.Horizontal*p.Vertical > 1 {
					theirs := [][]byte{std.(*image.YCbCr).Cb, std.(*image.YCbCr).Cr}[i-1]
					for y := range p.Height {
						for x := range p.Width {
							a, b := int(whole[i][y*p.Width+x]), int(theirs[y*std.(*image.YCbCr).CStride+x])
							if a-b > 1 || b-a > 1 {
								t.Fatalf("component %d at %d, %d: %d, image/jpeg has %d", i, x, y, a, b)
							}
						}
					}
					continue
				}
				if theirs := want[i*d.Width*d.Height:][:d.Width*d.Height]; !bytes.Equal(whole[i], theirs) {
					t.Errorf("component %d is not libjpeg's", i)
				}
			}
		})
	}
}

// A window has the samples that the whole picture has there, whatever was left out
// around it.
func TestWindows(t *testing.T) {
	var d, other Decoder
	for _, path := range files(t) {
		raw := read(t, path)
		if strings.Contains(path, "progressive") {
			continue
		}
		whole := decode(t, &d, raw)
		for _, lumaOnly := range []bool{false, true} {
			for y0 := 0; y0 < d.Height; y0 += 7 {
				for x0 := 0; x0 < d.Width; x0 += 9 {
					for _, size := range []int{1, 11, 26} {
						window := image.Rect(x0, y0, min(x0+size, d.Width), min(y0+size, d.Height))
						if err := other.Header(raw); err != nil {
							t.Fatal(err)
						}
						other.LumaOnly = lumaOnly
						if err := other.Decode(window); err != nil {
							t.Fatal(err)
						}
						for i, p := range other.Planes {
							if i > 0 && lumaOnly {
								break
							}
							for y := window.Min.Y / p.Vertical; y*p.Vertical < window.Max.Y; y++ {
								for x := window.Min.X / p.Horizontal; x*p.Horizontal < window.Max.X; x++ {
									got, want := p.Pix[(y-p.Rect.Min.Y)*p.Stride+x-p.Rect.Min.X], whole[i][y*p.Width+x]
									if got != want {
										t.Fatalf("%s, window %v, component %d at %d, %d: %d, in the whole picture %d", path, window, i, x, y, got, want)
									}
								}
							}
						}
					}
				}
			}
		}
		other.LumaOnly = false
	}
}

func TestUnsupported(t *testing.T) {
	var d Decoder
	raw := read(t, "testdata/420.jpg")
	for name, bad := range map[string][]byte{
		"progressive": read(t, "testdata/progressive.jpg"),
		"empty":       nil,
		"cut":         raw[:len(raw)-200],
		"a PNG":       []byte("\x89PNG\r\n\x1a\n"),
		"no tables":   bytes.Replace(raw, []byte{0xff, markerDHT}, []byte{0xff, 0xe5}, 1),
	} {
		if err := d.Header(bad); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is missing in the middle shows while decoding.
	if err := d.Header(append(bytes.Clone(raw[:len(raw)/2+300]), 0xff, markerEOI)); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(image.Rect(0, 0, d.Width, d.Height)); err == nil {
		t.Error("half of a picture was decoded without an error")
	}
	if err := d.Decode(image.Rect(0, 0, d.Width+1, d.Height)); err == nil {
		t.Error("a window beyond the picture")
	}
}

// Whatever the bytes are there is no panic, and what is decoded is as far from what
// image/jpeg makes of it as rounding.
func FuzzDecode(f *testing.F) {
	for _, path := range files(f) {
		raw := read(f, path)
		f.Add(raw)
		for at := 30; at < len(raw); at += 97 {
			bad := bytes.Clone(raw)
			bad[at] ^= 0x55
			f.Add(bad)
		}
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, raw []byte) {
		if d.Header(raw) != nil || d.Width*d.Height > 1<<20 {
			return
		}
		if d.Decode(image.Rect(0, 0, d.Width, d.Height)) != nil {
			return
		}
		third := image.Rect(d.Width/3, d.Height/3, d.Width-d.Width/3, d.Height-d.Height/3)
		if err := d.Decode(third); err != nil {
			t.Errorf("the whole picture is decoded, a window of it is not: %v", err)
		}
	})
}

func files(t testing.TB) []string {
	t.Helper()
	list, err := filepath.Glob("testdata/*.jpg")
	if err != nil || len(list) == 0 {
		t.Fatalf("no files: %v", err)
	}
	return list
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// decode decodes a whole picture and returns its components without padding.
func decode(t testing.TB, d *Decoder, raw []byte) [][]byte {
	t.Helper()
	if err := d.Header(raw); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(image.Rect(0, 0, d.Width, d.Height)); err != nil {
		t.Fatal(err)
	}
	var planes [][]byte
	for _, p := range d.Planes {
		var all []byte
		for y := range p.Height {
			all = append(all, p.Pix[y*p.Stride:][:p.Width]...)
		}
		planes = append(planes, all)
	}
	return planes
}

func BenchmarkDecode(b *testing.B) {
	raw := read(b, "testdata/optimized.jpg")
	var d Decoder
	for b.Loop() {
		if err := d.Header(raw); err != nil {
			b.Fatal(err)
		}
		if err := d.Decode(image.Rect(0, 0, d.Width, d.Height)); err != nil {
			b.Fatal(err)
		}
	}
}
