package recipe

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/glyphs"
)

// Glyphs is the data.path of the digits and letters that are rendered at run time.
const Glyphs = "glyphs"

// kindGlyphs stands beside the kinds of data that lie in files.
const kindGlyphs data.Kind = "glyphs"

// glyphs, held out for testing, are this share of those for training.
const glyphTestShare = 0.2

// open reads the recipe's data.
func (r *Recipe) open() (*data.Source, error) {
	d := &r.Data
	if d.Path == "" {
		what := "--data PATH, a folder of images or a table"
		if r.Model.language() {
			what = "--data PATH, a text file or a folder of them"
		} else if r.Name == "tabular" {
			what = "--data FILE, a CSV or TSV table"
		}
		return nil, usage("", "recipe %s has no data of its own: give %s", r.Name, what)
	}
	kind, err := r.detect(d.Path)
	if err != nil {
		return nil, err
	}
	if err := r.dataKeys(kind); err != nil {
		return nil, err
	}
	if r.Model.language() != (kind == data.KindText) || (r.Model.Kind == "lenet" || r.Model.Kind == "resnet") && kind == data.KindTable {
		return nil, r.unsuitedKind(kind)
	}
	var src *data.Source
	switch kind {
	case kindGlyphs:
		src, err = glyphs.New(r.glyphOptions())
	case data.KindIDX:
		src, err = data.OpenIDX(d.Path)
	case data.KindImages:
		src, err = data.OpenImages(d.Path, r.imageOptions())
	case data.KindTable:
		task := data.Task(d.Task)
		if d.Task == "auto" {
			task = ""
		}
		opt := data.TableOptions{Target: d.Target, Task: task, Test: d.Test, TestFraction: d.Holdout, Seed: r.Seed}
		if d.Scale == "range" {
			opt.Scale = data.Range
		}
		src, err = data.OpenTable(d.Path, opt)
	case data.KindText:
		opt := data.TextOptions{Block: r.Model.Block, Seed: r.Seed}
		if err := r.tokenizer(&opt); err != nil {
			return nil, err
		}
		src, err = data.OpenText(d.Path, opt)
	}
	if err == nil && src.Test == nil {
		err = src.HoldOut(d.Holdout, r.Seed)
	}
	if err != nil {
		return nil, err
	}
	return src, nil
}

func (r *Recipe) glyphOptions() glyphs.Options {
	n := r.Data.Examples
	setDefault(&n, 16000)
	return glyphs.Options{Train: n, Test: int(glyphTestShare * float64(n)), Seed: r.Seed}
}

func (r *Recipe) imageOptions() data.ImageOptions {
	o := data.ImageOptions{Height: r.Data.Size, Width: r.Data.Size, Channels: 1}
	setDefault(&o.Height, 28)
	setDefault(&o.Width, 28)
	if r.Data.Colour {
		o.Channels = 3
	}
	return o
}

// detect tells what lies at path. For a language model any file that is not a
// table is a text.
func (r *Recipe) detect(path string) (data.Kind, error) {
	if path == Glyphs {
		return kindGlyphs, nil
	}
	kind, err := data.Detect(path)
	if err != nil && r.Model.language() {
		if _, readErr := data.ReadText(path); readErr == nil {
			return data.KindText, nil
		}
	}
	return kind, err
}

// dataKeys refuses keys that were given but mean nothing to this kind of data.
// Sizes of images are part of some built-in recipes and are passed over.
func (r *Recipe) dataKeys(kind data.Kind) error {
	for key, of := range map[string]data.Kind{"target": data.KindTable, "test": data.KindTable, "tokenizer": data.KindText} {
		if place, given := r.given["data."+key]; given && kind != of {
			return usage(place, "data.%s is for a %s, but %s is %s", key, of, r.Data.Path, article(kind))
		}
	}
	return nil
}

func (r *Recipe) unsuitedKind(kind data.Kind) error {
	in := Input{Shape: []int{1}}
	switch kind {
	case data.KindText:
		in.Task = data.Language
	case kindGlyphs, data.KindIDX, data.KindImages:
		in.Shape = []int{1, 1, 1}
	}
	return r.unsuited(in)
}

func article(kind data.Kind) string {
	switch kind {
	case data.KindTable, data.KindText:
		return "a " + string(kind)
	}
	return "images"
}

// Open reads other data for a run, the way its own was read: the part for testing
// where the data has one, else all of it.
func (r *Run) Open(path string) (data.Dataset, error) {
	in := r.Input
	switch {
	case in.Encoder != nil:
		_, set, _, err := in.Encoder.Read(path, true)
		return set, err
	case in.Task == data.Language:
		return in.blocks(path, r.Recipe.Model.Block)
	}
	kind, err := r.Recipe.detect(path)
	if err != nil {
		return nil, err
	}
	var src *data.Source
	switch kind {
	case kindGlyphs:
		src, err = glyphs.New(r.Recipe.glyphOptions())
	case data.KindIDX:
		src, err = data.OpenIDX(path)
	case data.KindImages:
		src, err = data.OpenImages(path, data.ImageOptions{Channels: in.Shape[0], Height: in.Shape[1], Width: in.Shape[2]})
	default:
		return nil, fmt.Errorf("%s was trained on images, but %s is %s", r.Dir, path, article(kind))
	}
	if err != nil {
		return nil, err
	}
	if got := src.Input(); !slices.Equal(got, in.Shape) {
		return nil, fmt.Errorf("%s: the images are %v, those that %s was trained on %v (channels, height, width)", path, got, r.Dir, in.Shape)
	}
	set := src.Train
	if src.Test != nil {
		set = src.Test
	}
	return in.relabel(path, set, src.Classes)
}

// relabel gives the classes of other images the numbers that the model knows them
// by.
func (in Input) relabel(path string, set data.Dataset, classes []string) (data.Dataset, error) {
	if slices.Equal(classes, in.Classes) {
		return set, nil
	}
	numbers := make([]int64, len(classes))
	for i, name := range classes {
		known := slices.Index(in.Classes, name)
		if known < 0 {
			return nil, fmt.Errorf("%s: class %q is none of those that the model was trained on: %s", path, name, strings.Join(in.Classes, ", "))
		}
		numbers[i] = int64(known)
	}
	return relabelled{set, numbers}, nil
}

// blocks are all of a text, one block after the other.
func (in Input) blocks(path string, block int) (data.Dataset, error) {
	text, err := data.ReadText(path)
	if err != nil {
		return nil, err
	}
	ids, err := in.Tokenizer.Encode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n := (len(ids) - 1) / block
	if n < 1 {
		return nil, fmt.Errorf("%s has %d %s, expected at least %d: one block of %d and the one after it", path, len(ids), in.Tokenizer.unit(), block+1, block)
	}
	return data.Arrays(data.Ints("x", ids[:n*block], block), data.Ints("y", ids[1:1+n*block], block))
}

// TrainedOn tells whether path is what the run was trained on, so that results on
// it say little.
func (r *Run) TrainedOn(path string) bool {
	at, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	for _, d := range r.Manifest.Data {
		if known, err := filepath.Abs(d.Path); err == nil && d.Role == "train" && known == at {
			return true
		}
	}
	return false
}

// relabelled is a dataset whose class i has another number.
type relabelled struct {
	data.Dataset
	numbers []int64
}

func (d relabelled) Read(i int, dst [][]byte) error {
	if err := d.Dataset.Read(i, dst); err != nil {
		return err
	}
	label := binary.LittleEndian.Uint64(dst[1])
	binary.LittleEndian.PutUint64(dst[1], uint64(d.numbers[label]))
	return nil
}
