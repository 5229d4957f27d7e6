package data

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // the formats that ReadImage knows
	_ "image/png"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/image/draw"
)

const (
	// maxPixels bounds what one image file can make the program allocate.
	maxPixels = 1 << 26
	// maxImageBytes bounds what OpenImages holds in memory.
	maxImageBytes = 4 << 30
)

// ImageOptions say what images are made into. The zero value takes the size of
// the first image and the colours that are there.
type ImageOptions struct {
	Height, Width int // 0: that of the first image
	Channels      int // 1 grey, 3 RGB, 0: RGB if any image has a colour
}

// OpenImages reads a folder whose sub-folders are classes: each holds the PNG and
// JPEG files of the class that it is named after. If there are folders "train"
// and "test" (or "val"), they hold the classes instead. Images are resized to
// one size. X is float32 [channels, height, width] from 0 to 1; what is
// transparent counts as black.
func OpenImages(dir string, opt ImageOptions) (*Source, error) {
	if opt.Height < 0 || opt.Width < 0 || (opt.Height == 0) != (opt.Width == 0) || opt.Channels != 0 && opt.Channels != 1 && opt.Channels != 3 {
		return nil, fmt.Errorf("data: image options %+v, expected height and width both given or both 0, and 0, 1 or 3 channels", opt)
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
		cfg, err := imageConfig(files[0].path)
		if err != nil {
			return nil, err
		}
		opt.Height, opt.Width = cfg.Height, cfg.Width
		src.note("images are %d×%d, the size of the first one, %s", cfg.Width, cfg.Height, files[0].path)
	}
	if size := int64(len(files)) * 3 * int64(opt.Height) * int64(opt.Width); size > maxImageBytes {
		return nil, fmt.Errorf("data: %s: %d images of %d×%d would take %d MiB of memory, expected at most %d; ask for a smaller size", dir, len(files), opt.Width, opt.Height, size>>20, maxImageBytes>>20)
	}
	pixels, sums, err := loadImages(files, opt)
	if err != nil {
		return nil, err
	}
	// One image with colour makes all of them RGB.
	channels := opt.Channels
	if channels == 0 {
		channels = 1
		for _, p := range pixels {
			if len(p) == 3*opt.Height*opt.Width {
				channels = 3
			}
		}
	}
	shape := []int{channels, opt.Height, opt.Width}
	digest := sha256.New()
	part := func(files []imageFile, pixels [][]byte, sums [][sha256.Size]byte) (Dataset, error) {
		area := opt.Height * opt.Width
		all := make([]byte, 0, len(files)*channels*area)
		labels := make([]int64, len(files))
		for i, f := range files {
			labels[i] = int64(f.class)
			fmt.Fprintf(digest, "%s/%s\n%x\n", classes[f.class], filepath.Base(f.path), sums[i])
			for c := range channels {
				all = append(all, pixels[i][min(c, len(pixels[i])/area-1)*area:][:area]...)
			}
			pixels[i] = nil
		}
		return ByteImages(all, shape, labels)
	}
	if src.Train, err = part(files[:nTrain], pixels[:nTrain], sums[:nTrain]); err != nil {
		return nil, err
	}
	if testDir != "" {
		if src.Test, err = part(files[nTrain:], pixels[nTrain:], sums[nTrain:]); err != nil {
			return nil, err
		}
	}
	src.Digest = hex.EncodeToString(digest.Sum(nil))
	return src, nil
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
	return slices.Contains([]string{".png", ".jpg", ".jpeg"}, strings.ToLower(filepath.Ext(name)))
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
		return nil, nil, fmt.Errorf("data: %s has no PNG or JPEG files in folders named %v", dir, known)
	}
	return files, known, nil
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

// loadImages reads all files on all cores. Of several errors it returns that of
// the first file, so that a message does not depend on the timing.
func loadImages(files []imageFile, opt ImageOptions) (pixels [][]byte, sums [][sha256.Size]byte, err error) {
	pixels = make([][]byte, len(files))
	sums = make([][sha256.Size]byte, len(files))
	errs := make([]error, len(files))
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(files))
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(files); i += workers {
				var raw []byte
				if raw, errs[i] = os.ReadFile(files[i].path); errs[i] != nil {
					errs[i] = fmt.Errorf("data: %w", errs[i])
					return
				}
				sums[i] = sha256.Sum256(raw)
				if pixels[i], errs[i] = decodeImage(raw, files[i].path, opt); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, nil, err
		}
	}
	return pixels, sums, nil
}

// ReadImage reads a PNG or JPEG file as a model takes it: float32 from 0 to 1 in
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

func imageConfig(path string) (image.Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return image.Config{}, fmt.Errorf("data: %w", err)
	}
	return checkImage(raw, path)
}

// checkImage reads an image's header and refuses one that is too large.
func checkImage(raw []byte, path string) (image.Config, error) {
	cfg, _, err := image.DecodeConfig(bytes.NewReader(raw))
	switch {
	case len(raw) == 0:
		return cfg, fmt.Errorf("data: %s is empty, expected a PNG or JPEG image; copy it again or remove it", path)
	case err != nil:
		return cfg, badImage(path, err)
	case cfg.Width < 1 || cfg.Height < 1 || int64(cfg.Width)*int64(cfg.Height) > maxPixels:
		return cfg, fmt.Errorf("data: %s is %d×%d, expected at least 1 and at most %d pixels; make it smaller", path, cfg.Width, cfg.Height, maxPixels)
	}
	return cfg, nil
}

func badImage(path string, err error) error {
	if errors.Is(err, image.ErrFormat) {
		return fmt.Errorf("data: %s: not a PNG or JPEG image, whatever its name says; convert it or remove it", path)
	}
	return fmt.Errorf("data: %s: the image cannot be decoded: %w; copy it again or remove it", path, err)
}

// decodeImage gives an image's pixels as bytes, channel after channel. With
// opt.Channels 0 an image without colour gives one channel.
func decodeImage(raw []byte, path string, opt ImageOptions) ([]byte, error) {
	if _, err := checkImage(raw, path); err != nil {
		return nil, err
	}
	src, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, badImage(path, err)
	}
	h, w := opt.Height, opt.Width
	rgba := image.NewRGBA(image.Rect(0, 0, w, h))
	if src.Bounds().Dx() == w && src.Bounds().Dy() == h {
		draw.Draw(rgba, rgba.Bounds(), src, src.Bounds().Min, draw.Src)
	} else {
		// Widens its kernel when it shrinks an image, so that no pixel is left out.
		draw.CatmullRom.Scale(rgba, rgba.Bounds(), src, src.Bounds(), draw.Src, nil)
	}
	area := h * w
	planes := make([]byte, 3*area)
	grey := true
	for i := range area {
		r, g, b := rgba.Pix[4*i], rgba.Pix[4*i+1], rgba.Pix[4*i+2]
		planes[i], planes[area+i], planes[2*area+i] = r, g, b
		grey = grey && r == g && g == b
	}
	switch {
	case opt.Channels == 3 || opt.Channels == 0 && !grey:
		return planes, nil
	case !grey:
		for i := range area {
			c := color.GrayModel.Convert(color.RGBA{planes[i], planes[area+i], planes[2*area+i], 255})
			planes[i] = c.(color.Gray).Y
		}
	}
	return slices.Clip(planes[:area]), nil
}

// Kind is the form in which data lie in a file or folder.
type Kind string

const (
	KindIDX    Kind = "idx"    // see OpenIDX
	KindImages Kind = "images" // see OpenImages
	KindTable  Kind = "table"  // see OpenTable
	KindText   Kind = "text"   // see OpenText
)

// Detect tells which of the Open functions reads path.
func Detect(path string) (Kind, error) {
	st, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("data: there is no file or folder %s", path)
		}
		return "", fmt.Errorf("data: %w", err)
	}
	if !st.IsDir() {
		switch strings.ToLower(filepath.Ext(path)) {
		case ".csv", ".tsv", ".tab":
			return KindTable, nil
		case ".txt", ".text", ".md":
			return KindText, nil
		}
		return "", fmt.Errorf("data: %s: unknown kind of file; expected a table (.csv, .tsv), a text (.txt), or a folder of IDX files, of class folders with images, or of texts", path)
	}
	for _, part := range idxParts {
		for _, name := range []string{part.images, part.labels} {
			if found, err := findIDX(path, name); err != nil || found != "" {
				return KindIDX, err
			}
		}
	}
	// Images before texts, since a README.txt often lies beside the class folders.
	for _, pattern := range []string{"*/*", "train/*/*"} {
		// The only error is that of a pattern, which these do not have; what
		// cannot be listed is reported by the function that reads the folder.
		found, _ := fs.Glob(os.DirFS(path), pattern)
		if slices.ContainsFunc(found, func(p string) bool { return isImageName(filepath.Base(p)) }) {
			return KindImages, nil
		}
	}
	if texts, err := listTexts(path); err != nil || len(texts) > 0 {
		return KindText, err
	}
	return "", fmt.Errorf("data: %s holds no data that is known here; expected IDX files (%s …), class folders with images, or .txt files", path, idxParts[0].images)
}
