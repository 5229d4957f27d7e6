// Command images measures how many pictures per second come out of a folder of JPEG
// files as training examples: read, decoded, a random part scaled to 224×224, turned over
// or not, normalised, and put together in batches. The model that would take them is
// missing.
//
//	go run ./bench/images -make DIR
//	go run ./bench/images -workers 2 DIR
//
// The files are made up: slopes, edges and noise at all scales, as photographs have
// them, 500×375 pixels, upright or not, at quality 90. bench/torch/images.py does the
// same with the same files; bench/compare lets both take turns.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/jpeg"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/bench/internal/rig"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/transforms"
)

const (
	files  = 192 // that are made
	repeat = 256 // an epoch goes through them so often, so that no window sees its end
	batch  = 64
)

func main() {
	log.SetFlags(0)
	mk := flag.Bool("make", false, "make the files in the folder and stop")
	workers := flag.Int("workers", 1, "examples read at the same time")
	window := flag.Duration("window", 3*time.Second, "length of a measurement")
	serve := flag.Bool("serve", false, "measure once for each line on standard input and answer in JSON")
	profile := flag.String("cpuprofile", "", "write a processor profile of the run to this file")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("which folder?")
	}
	if err := run(flag.Arg(0), *mk, *workers, *window, *serve, *profile); err != nil {
		log.Fatal(err)
	}
}

func run(dir string, mk bool, workers int, window time.Duration, serve bool, profile string) error {
	if mk {
		return makeFiles(dir)
	}
	src, err := data.OpenImages(dir, data.ImageOptions{Height: 224, Width: 224, Channels: 3, Memory: -1})
	if err != nil {
		return err
	}
	index := make([]int, repeat*src.Train.Len())
	for i := range index {
		index[i] = i % src.Train.Len()
	}
	long, err := data.Subset(src.Train, index)
	if err != nil {
		return err
	}
	set, err := transforms.Apply(long, 1,
		transforms.RandomResizedCrop{Size: 224},
		transforms.RandomHorizontalFlip{},
		transforms.Normalize{Mean: transforms.ImageNetMean, Std: transforms.ImageNetStd},
	)
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	l := data.Loader{Dataset: set, Batch: batch, Shuffle: true, Seed: 1, Workers: workers}
	lines := bufio.NewScanner(os.Stdin)
	if serve {
		fmt.Println("{}") // ready
		if !lines.Scan() {
			return nil
		}
	}
	// What was made ahead of a window, while nobody asked, does not count: that is two
	// batches, and the one in use.
	ahead, n, began := 3, 0, time.Time{}
	for range l.Batches(context.Background()) {
		if ahead > 0 {
			ahead--
			n, began = 0, time.Now()
			continue
		}
		n += batch
		took := time.Since(began)
		if took < window {
			continue
		}
		report := rig.Report{Rate: float64(n) / took.Seconds()}
		if !serve {
			fmt.Printf("%.0f images/s with %d workers\n", report.Rate, workers)
			return nil
		}
		text, err := json.Marshal(report)
		if err != nil {
			return err
		}
		fmt.Println(string(text))
		if !lines.Scan() {
			fmt.Println("{}") // nothing more to say
			return nil
		}
		ahead = 3
	}
	return l.Err()
}

// makeFiles makes the files, in two classes.
func makeFiles(dir string) error {
	errs := make([]error, files)
	var bytes [files]int64
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < files; i += workers {
				bytes[i], errs[i] = makeFile(filepath.Join(dir, fmt.Sprint("class", i%2)), i)
			}
		})
	}
	wg.Wait()
	sum := int64(0)
	for i, err := range errs {
		if err != nil {
			return err
		}
		sum += bytes[i]
	}
	fmt.Printf("%d files of %d kB on average\n", files, sum/files/1000)
	return nil
}

func makeFile(dir string, i int) (int64, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	w, h := 500, 375
	switch i % 4 {
	case 1:
		w, h = 375, 500
	case 3:
		h = 333
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%03d.jpg", i)))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := jpeg.Encode(f, photograph(w, h, uint64(i)), &jpeg.Options{Quality: 90}); err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), f.Close()
}

// photograph makes up a picture. Its spectrum falls as that of photographs does, in
// inverse proportion to the frequency or a little faster, and it has edges.
func photograph(w, h int, seed uint64) image.Image {
	r := rand.New(rand.NewPCG(seed, 1))
	lum, cb, cr := octaves(r, w, h, 100, 0.78, 10), octaves(r, w, h, 45, 0.6, 8), octaves(r, w, h, 45, 0.6, 8)
	for range 14 {
		x0, y0, radius := r.Float64()*float64(w), r.Float64()*float64(h), 15+70*r.Float64()
		dl, db, dr := 40*r.NormFloat64(), 20*r.NormFloat64(), 20*r.NormFloat64()
		for y := range h {
			for x := range w {
				if math.Hypot(float64(x)-x0, float64(y)-y0) < radius {
					lum[y*w+x] += dl
					cb[y*w+x] += db
					cr[y*w+x] += dr
				}
			}
		}
	}
	img := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	level := func(v float64) uint8 { return uint8(min(max(128+v, 0), 255)) }
	for y := range h {
		for x := range w {
			img.Y[img.YOffset(x, y)] = level(lum[y*w+x])
			img.Cb[img.COffset(x, y)], img.Cr[img.COffset(x, y)] = level(cb[y*w+x]), level(cr[y*w+x])
		}
	}
	return img
}

// octaves is noise of wavelengths from 512 pixels down, each half of the one before, of
// amplitudes that fall by a factor.
func octaves(r *rand.Rand, w, h int, amplitude, factor float64, n int) []float64 {
	p := make([]float64, w*h)
	for o := range n {
		cell := float64(int(512) >> o)
		gw, gh := int(float64(w)/cell)+3, int(float64(h)/cell)+3
		grid := make([]float64, gw*gh)
		for i := range grid {
			grid[i] = amplitude * r.NormFloat64()
		}
		for y := range h {
			iy, fy := part(float64(y) / cell)
			for x := range w {
				ix, fx := part(float64(x) / cell)
				g := grid[iy*gw+ix:]
				p[y*w+x] += (g[0]*(1-fx)+g[1]*fx)*(1-fy) + (g[gw]*(1-fx)+g[gw+1]*fx)*fy
			}
		}
		amplitude *= factor
	}
	return p
}

// part is the whole and the rest of a number, the rest eased.
func part(v float64) (int, float64) {
	i, f := math.Modf(v)
	return int(i), f * f * (3 - 2*f)
}
