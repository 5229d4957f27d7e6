package data

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter"
)

// imageMemory is what OpenImages holds in memory unless it is told another size.
const imageMemory = 1 << 30

// ImageOptions say what images are made into. The zero value takes the size of
// the first image and the colours that are there.
type ImageOptions struct {
	Height, Width int // 0: that of the first image
	Channels      int // 1 grey, 3 RGB, 0: RGB if any image has a colour
	// Memory is how many bytes the decoded images may take. A folder that needs
	// more is decoded anew whenever an example is read. 0 means 1 GiB; negative,
	// that nothing is held in memory.
	Memory int64
	// KeepBad lets a file that cannot be read or decoded stay an example, which
	// gives the error when it is read, instead of refusing the folder.
	KeepBad bool
}

// OpenImages reads a folder whose sub-folders are classes: each holds the PNG, JPEG,
// GIF and WebP files of the class that it is named after. If there are folders
// "train" and "test" (or "val"), they hold the classes instead. Images are turned as
// their EXIF data say, made grey or RGB without regard to transparency, and resized
// to one size. X is float32 [channels, height, width] from 0 to 1.
//
// A folder that fits into opt.Memory is decoded at once, and checked thereby. Of a
// larger one only names and sizes are looked at, and the source's digest covers no
// more than these; a file that turns out to be damaged is an error of Read.
func OpenImages(dir string, opt ImageOptions) (*Source, error) {
	if opt.Height < 0 || opt.Width < 0 || (opt.Height == 0) != (opt.Width == 0) || opt.Channels != 0 && opt.Channels != 1 && opt.Channels != 3 {
		return nil, fmt.Errorf("data: image options %+v, expected height and width both given or both 0, and 0, 1 or 3 channels", opt)
	}
	if int64(opt.Height)*int64(opt.Width) > maxPixels {
		return nil, fmt.Errorf("data: image options: images of %d×%d, expected at most %d pixels; ask for a smaller size", opt.Width, opt.Height, maxPixels)
	}
	trainDir, testDir := dir, ""
	if isDir(filepath.Join(dir, "train")) {
		trainDir = filepath.Join(dir, "train")
		for _, name := range []string{"test", "val", "valid", "validation"} {
			if d := filepath.Join(dir, name); isDir(d) {
				testDir = d
				break
			}
		}
	}
	src := &Source{Task: Classification}
	files, classes, err := listImages(trainDir, nil)
	if err != nil {
		return nil, err
	}
	src.Classes = classes
	nTrain := len(files)
	if testDir != "" {
		more, _, err := listImages(testDir, classes)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	if opt.Height == 0 {
		var first string
		if opt.Width, opt.Height, first, err = firstSize(files, opt.KeepBad); err != nil {
			return nil, err
		}
		src.note("images are %d×%d, the size of the first one, %s", opt.Width, opt.Height, first)
	}
	memory := cmp.Or(opt.Memory, imageMemory)
	if size := int64(len(files)) * int64(cmp.Or(opt.Channels, 3)) * int64(opt.Height) * int64(opt.Width); size > memory {
		if memory > 0 {
			src.note("%d images of %d×%d would take %d MiB of memory, more than %d: they are decoded anew whenever they are read", len(files), opt.Width, opt.Height, size>>20, memory>>20)
		}
		if opt.Channels == 0 {
			opt.Channels = 3
		}
		if src.Digest, err = digestNames(files, classes); err != nil {
			return nil, err
		}
		src.Train = newImageFiles(files[:nTrain], opt)
		if testDir != "" {
			src.Test = newImageFiles(files[nTrain:], opt)
		}
		return src, nil
	}
	loaded, err := loadImages(files, opt)
	if err != nil {
		return nil, err
	}
	// One image with colour makes all of them RGB.
	channels := opt.Channels
	if channels == 0 {
		channels = 1
		for _, l := range loaded {
			if len(l.pixels) == 3*opt.Height*opt.Width {
				channels = 3
			}
		}
	}
	shape := []int{channels, opt.Height, opt.Width}
	digest := sha256.New()
	part := func(files []imageFile, loaded []loadedImage) (Dataset, error) {
		area := opt.Height * opt.Width
		all := make([]byte, len(files)*channels*area)
		labels := make([]int64, len(files))
		bad := map[int]error{}
		for i, f := range files {
			labels[i] = int64(f.class)
			fmt.Fprintf(digest, "%s/%s\n%x\n", classes[f.class], filepath.Base(f.path), loaded[i].sum)
			if loaded[i].err != nil {
				bad[i] = loaded[i].err
				continue
			}
			for c := range channels {
				pixels := loaded[i].pixels
				copy(all[(i*channels+c)*area:], pixels[min(c, len(pixels)/area-1)*area:][:area])
			}
			loaded[i].pixels = nil
		}
		ds, err := ByteImages(all, shape, labels)
		if len(bad) > 0 && err == nil {
			first := slices.Min(slices.Collect(maps.Keys(bad)))
			src.note("%d of %d images cannot be decoded, the first is %s", len(bad), len(files), files[first].path)
			ds = withBad{ds, bad}
		}
		return ds, err
	}
	if src.Train, err = part(files[:nTrain], loaded[:nTrain]); err != nil {
		return nil, err
	}
	if testDir != "" {
		if src.Test, err = part(files[nTrain:], loaded[nTrain:]); err != nil {
			return nil, err
		}
	}
	src.Digest = hex.EncodeToString(digest.Sum(nil))
	return src, nil
}

// withBad is a dataset some of whose examples cannot be read.
type withBad struct {
	Dataset
	bad map[int]error
}

func (ds withBad) Read(i int, dst [][]byte) error {
	if err := ds.bad[i]; err != nil {
		return err
	}
	return ds.Dataset.Read(i, dst)
}

// imageFiles are images that are decoded whenever they are read.
type imageFiles struct {
	fields []Field
	files  []imageFile
	opt    ImageOptions
}

func newImageFiles(files []imageFile, opt ImageOptions) imageFiles {
	x := Field{Name: "x", DType: sinter.Float32, Shape: []int{opt.Channels, opt.Height, opt.Width}}
	return imageFiles{[]Field{x, {Name: "y", DType: sinter.Int64}}, files, opt}
}

func (ds imageFiles) Len() int        { return len(ds.files) }
func (ds imageFiles) Fields() []Field { return ds.fields }

func (ds imageFiles) Read(i int, dst [][]byte) error {
	return ds.ReadView(i, dst, whole(ds.opt.Height, ds.opt.Width))
}

// ReadView makes the files Pictures.
func (ds imageFiles) ReadView(i int, dst [][]byte, choose func(width, height int) View) error {
	f := ds.files[i]
	s := viewers.Get().(*viewer)
	defer viewers.Put(s)
	raw, err := s.readFile(f.path)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if err := s.view(raw, f.path, ds.opt.Channels, dst[0], choose); err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(dst[1], uint64(f.class))
	return nil
}

// digestNames is the digest of a folder that is too large to be read beforehand.
func digestNames(files []imageFile, classes []string) (string, error) {
	digest := sha256.New()
	for _, f := range files {
		st, err := os.Stat(f.path)
		if err != nil {
			return "", fmt.Errorf("data: %w", err)
		}
		fmt.Fprintf(digest, "%s/%s\n%d\n", classes[f.class], filepath.Base(f.path), st.Size())
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

type imageFile struct {
	path  string
	class int
}

func isImageName(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	return slices.Contains([]string{".png", ".jpg", ".jpeg", ".gif", ".webp"}, strings.ToLower(filepath.Ext(name)))
}

// listImages finds the class folders of dir and the images in them, in an order
// that depends on their names alone. If classes are given, no others may occur.
func listImages(dir string, classes []string) ([]imageFile, []string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	perClass := map[string][]string{}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || !isDir(filepath.Join(dir, name)) {
			continue
		}
		inside, err := os.ReadDir(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, fmt.Errorf("data: %w", err)
		}
		for _, f := range inside {
			if isImageName(f.Name()) {
				perClass[name] = append(perClass[name], filepath.Join(dir, name, f.Name()))
			}
		}
	}
	known := classes
	if classes == nil {
		for name := range perClass {
			known = append(known, name)
		}
		sortClasses(known)
		if len(known) < 2 {
			return nil, nil, fmt.Errorf("data: %s has %d sub-folders with PNG or JPEG files, expected at least 2, one for each class", dir, len(known))
		}
	}
	var files []imageFile
	for c, name := range known {
		for _, path := range perClass[name] {
			files = append(files, imageFile{path, c})
		}
		delete(perClass, name)
	}
	for name := range perClass {
		return nil, nil, fmt.Errorf("data: %s: the class %q is not among those of the training part, %v", dir, name, known)
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("data: %s has no PNG, JPEG, GIF or WebP files in folders named %v", dir, known)
	}
	return files, known, nil
}

// firstSize is the size of the first image, of those that have one if bad ones are
// kept.
func firstSize(files []imageFile, keepBad bool) (width, height int, name string, err error) {
	for i, f := range files {
		raw, err := os.ReadFile(f.path)
		if err == nil {
			if width, height, err = pictureSize(raw, f.path); err == nil && orientation(raw) >= 5 {
				width, height = height, width
			}
		} else {
			err = fmt.Errorf("data: %w", err)
		}
		if err == nil || !keepBad || i == len(files)-1 {
			return width, height, f.path, err
		}
	}
	panic("data: firstSize of no files")
}

// sortClasses sorts by value if all names are integers, else as text.
func sortClasses(names []string) {
	number := make(map[string]int, len(names))
	for _, s := range names {
		v, err := strconv.Atoi(s)
		if err != nil {
			slices.Sort(names)
			return
		}
		number[s] = v
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := number[a] - number[b]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

// loadedImage is what came of one file.
type loadedImage struct {
	pixels []byte
	sum    [sha256.Size]byte
	err    error
}

// loadImages reads all files on all cores. Of several errors it returns that of
// the first file, so that a message does not depend on the timing; with opt.KeepBad
// they stay with their files, unless there is nothing else.
func loadImages(files []imageFile, opt ImageOptions) ([]loadedImage, error) {
	loaded := make([]loadedImage, len(files))
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(files))
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(files); i += workers {
				l := &loaded[i]
				var raw []byte
				if raw, l.err = os.ReadFile(files[i].path); l.err != nil {
					l.err = fmt.Errorf("data: %w", l.err)
				} else {
					l.sum = sha256.Sum256(raw)
					l.pixels, l.err = decodeImage(raw, files[i].path, opt)
				}
				if l.err != nil && !opt.KeepBad {
					return
				}
			}
		})
	}
	wg.Wait()
	var first error
	bad := 0
	for _, l := range loaded {
		if l.err != nil {
			first = cmp.Or(first, l.err)
			bad++
		}
	}
	if first != nil && (!opt.KeepBad || bad == len(files)) {
		return nil, first
	}
	return loaded, nil
}

// ReadImage reads a PNG, JPEG, GIF or WebP file as a model takes it: float32 from 0 to 1 in
// the given shape of channels (1 or 3), height and width.
func ReadImage(path string, shape []int) ([]float32, error) {
	if len(shape) != 3 || slices.Min(shape) < 1 || shape[0] != 1 && shape[0] != 3 {
		return nil, fmt.Errorf("data: %s: an image cannot be given the shape %v, expected 1 or 3 channels, height and width", path, shape)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	pixels, err := decodeImage(raw, path, ImageOptions{Channels: shape[0], Height: shape[1], Width: shape[2]})
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(pixels))
	for i, p := range pixels {
		out[i] = float32(p) / 255
	}
	return out, nil
}

// decodeImage gives an image's pixels as bytes, channel after channel. With
// opt.Channels 0 an image without colour gives one channel.
func decodeImage(raw []byte, path string, opt ImageOptions) ([]byte, error) {
	s := viewers.Get().(*viewer)
	defer viewers.Put(s)
	channels := cmp.Or(opt.Channels, 3)
	area := opt.Height * opt.Width
	s.values = grown(s.values, 4*channels*area)
	err := s.view(raw, path, channels, s.values, func(w, h int) View {
		v := whole(opt.Height, opt.Width)(w, h)
		v.Levels = &bytesAsTheyAre
		return v
	})
	if err != nil {
		return nil, err
	}
	planes := make([]byte, channels*area)
	for i := range planes {
		planes[i] = byte(math.Float32frombits(binary.LittleEndian.Uint32(s.values[4*i:])))
	}
	if opt.Channels == 0 && bytes.Equal(planes[:area], planes[area:2*area]) && bytes.Equal(planes[:area], planes[2*area:]) {
		planes = bytes.Clone(planes[:area])
	}
	return planes, nil
}

// bytesAsTheyAre are levels from which the bytes can be had again.
var bytesAsTheyAre = func() (l Levels) {
	for c := range l {
		for b := range l[c] {
			l[c][b] = float32(b)
		}
	}
	return l
}()
