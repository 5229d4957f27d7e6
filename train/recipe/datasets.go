package recipe

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/glyphs"
	"github.com/sinter-dl/sinter/data/parquet"
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
		what := "--data PATH, a folder or archives of images, arrays, or a table"
		if r.language() {
			what = "--data PATH, a text file or a folder of them"
		} else if r.Name == "tabular" {
			what = "--data FILE, a table as CSV, TSV, JSONL or Parquet"
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
	if r.language() != (kind == data.KindText) || r.Model.images() && isTable(kind) {
		return nil, r.unsuitedKind(kind)
	}
	task := data.Task(d.Task)
	if d.Task == "auto" {
		task = ""
	}
	var src *data.Source
	switch kind {
	case kindGlyphs:
		src, err = glyphs.New(r.glyphOptions())
	case kindBlank:
		src = r.blank()
	case data.KindIDX:
		src, err = data.OpenIDX(d.Path)
	case data.KindImages:
		src, err = data.OpenImages(d.Path, r.imageOptions())
	case data.KindWebDataset:
		src, err = data.OpenWebDataset(d.Path, r.imageOptions())
	case data.KindArrays:
		src, err = data.OpenArrays(d.Path, data.ArrayOptions{Task: task, TestFraction: d.Holdout, Seed: r.Seed})
	case data.KindTable, data.KindParquet:
		if d.Window > 0 {
			opt := data.SeriesOptions{Target: d.Target, Window: d.Window, Horizon: d.Horizon, Season: d.Season, TestFraction: d.Holdout}
			if kind == data.KindTable {
				src, err = data.OpenSeries(d.Path, opt)
				break
			}
			var table *data.Table
			if table, err = parquet.ReadTable(d.Path); err == nil {
				src, err = table.Series(opt)
			}
			break
		}
		opt := data.TableOptions{Target: d.Target, Task: task, Test: d.Test, TestFraction: d.Holdout, Seed: r.Seed}
		if d.Scale == "range" {
			opt.Scale = data.Range
		}
		if kind == data.KindParquet {
			src, err = parquet.OpenTable(d.Path, opt)
		} else {
			src, err = data.OpenTable(d.Path, opt)
		}
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
	o := data.ImageOptions{Height: r.Data.Size, Width: r.Data.Size, Channels: 1, KeepBad: r.Data.SkipBad}
	setDefault(&o.Height, 28)
	setDefault(&o.Width, 28)
	if r.Data.Colour {
		o.Channels = 3
	}
	return o
}

// isTable tells whether data of a kind have columns.
func isTable(kind data.Kind) bool { return kind == data.KindTable || kind == data.KindParquet }

// detect tells what lies at path. For a language model any file that is not a
// table is a text, and the objects of a JSONL file have texts.
func (r *Recipe) detect(path string) (data.Kind, error) {
	switch path {
	case Glyphs:
		return kindGlyphs, nil
	case Blank:
		return kindBlank, nil
	}
	kind, err := data.Detect(path)
	if err == nil && r.language() && data.IsJSONL(path) {
		return data.KindText, nil
	}
	if err != nil && r.language() {
		if _, readErr := data.ReadText(path); readErr == nil {
			return data.KindText, nil
		}
	}
	return kind, err
}

// dataKeys refuses keys that were given but mean nothing to this kind of data.
// Sizes of images are part of some built-in recipes and are passed over.
func (r *Recipe) dataKeys(kind data.Kind) error {
	if place, given := r.given["data.test"]; given && r.Data.Window > 0 {
		return usage(place, "data.test means nothing to a time series, whose last rows are for testing: see data.holdout")
	}
	if place, given := r.given["data.tokenizer"]; given && kind != data.KindText {
		return usage(place, "data.tokenizer is for a text, but %s is %s", r.Data.Path, article(kind))
	}
	for _, key := range []string{"target", "test", "window"} {
		if place, given := r.given["data."+key]; given && !isTable(kind) {
			return usage(place, "data.%s is for a table, but %s is %s", key, r.Data.Path, article(kind))
		}
	}
	return nil
}

func (r *Recipe) unsuitedKind(kind data.Kind) error {
	in := Input{Shape: []int{1}}
	switch kind {
	case data.KindText:
		in.Task = data.Language
	case kindGlyphs, kindBlank, data.KindIDX, data.KindImages, data.KindWebDataset, data.KindArrays:
		in.Shape = []int{1, 1, 1}
	}
	return r.unsuited(in)
}

func article(kind data.Kind) string {
	switch kind {
	case data.KindTable, data.KindText:
		return "a " + string(kind)
	case data.KindParquet:
		return "a table"
	case data.KindArrays:
		return "arrays"
	}
	return "images"
}

// Open reads other data for a run, the way its own was read: the part for testing
// where the data has one, else all of it.
func (r *Run) Open(path string) (data.Dataset, error) {
	in := r.Input
	if in.Task == data.Language {
		return in.blocks(path, r.Recipe.Model.Block)
	}
	kind, err := r.Recipe.detect(path)
	if err != nil {
		return nil, err
	}
	if in.Series != nil {
		set, _, err := in.windows(path)
		if err == nil && set == nil {
			err = fmt.Errorf("%s has fewer rows than a window of %d and what is forecast, %d", path, in.Series.Window, in.Series.Horizon)
		}
		return set, err
	}
	if in.tabular() {
		_, set, _, err := in.table(path, true)
		return set, err
	}
	var src *data.Source
	switch kind {
	case kindGlyphs:
		src, err = glyphs.New(r.Recipe.glyphOptions())
	case kindBlank:
		src = r.Recipe.blank()
	case data.KindIDX:
		src, err = data.OpenIDX(path)
	case data.KindArrays:
		src, err = data.OpenArrays(path, data.ArrayOptions{Classes: in.Classes, Encoder: in.Encoder})
	case data.KindImages, data.KindWebDataset:
		if len(in.Shape) != 3 {
			return nil, fmt.Errorf("%s was trained on examples of shape %v, but %s is images", r.Dir, in.Shape, path)
		}
		opt := data.ImageOptions{Channels: in.Shape[0], Height: in.Shape[1], Width: in.Shape[2], KeepBad: r.Recipe.Data.SkipBad}
		if kind == data.KindImages {
			src, err = data.OpenImages(path, opt)
		} else {
			src, err = data.OpenWebDataset(path, opt)
		}
	default:
		return nil, fmt.Errorf("%s was trained on images, but %s is %s", r.Dir, path, article(kind))
	}
	if err != nil {
		return nil, err
	}
	if got := src.Input(); !slices.Equal(got, in.Shape) {
		return nil, fmt.Errorf("%s: the images are %v, those that %s was trained on %v (channels, height, width)", path, got, r.Dir, in.Shape)
	}
	if in.Task != src.Task {
		return nil, fmt.Errorf("%s is for %s, but %s was trained for %s", path, src.Task, r.Dir, in.Task)
	}
	set := src.Train
	if src.Test != nil {
		set = src.Test
	}
	if set == nil {
		return nil, fmt.Errorf("%s is too large for memory; evaluate on a part of it", path)
	}
	return in.relabel(path, set, src.Classes)
}

// tabular tells whether the model was trained on a table. An encoder of arrays knows
// the target alone.
func (in Input) tabular() bool { return in.Encoder != nil && in.Encoder.Width() > 0 }

// table reads a table as that was read which the model was trained on.
func (in Input) table(path string, withTarget bool) (*data.Table, data.Dataset, []string, error) {
	kind, err := data.Detect(path)
	if err != nil || kind != data.KindParquet { // whatever it is called, it may be CSV
		return in.Encoder.Read(path, withTarget)
	}
	t, err := parquet.ReadTable(path)
	if err != nil {
		return nil, nil, nil, err
	}
	set, notes, err := in.Encoder.Encode(t, withTarget)
	return t, set, slices.Concat(t.Notes, notes), err
}

// windows reads a table as a time series, as that was read which the model was trained on.
func (in Input) windows(path string) (data.Dataset, *data.LastWindow, error) {
	kind, err := data.Detect(path)
	if err != nil || kind != data.KindParquet {
		return in.Series.Read(path)
	}
	t, err := parquet.ReadTable(path)
	if err != nil {
		return nil, nil, err
	}
	return in.Series.Windows(t)
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
