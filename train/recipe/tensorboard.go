package recipe

import (
	"context"
	"image"
	"image/color"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/format/tfevent"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train/rundir"
	"github.com/sinter-dl/sinter/train/tensorboard"
)

// shownExamples is how many images to train on TensorBoard shows.
const shownExamples = 8

// tensorboard is the callback that a recipe asks for by its key.
func (j *Job) tensorboard(folder *rundir.Writer) *tensorboard.Logger {
	l := &tensorboard.Logger{Dir: folder.File(""), HParams: j.Recipe.hparams(), Images: j.examples()}
	if text, err := yaml.Marshal(plainKeys(reflect.ValueOf(*j.Recipe))); err == nil {
		l.Config = string(text)
	}
	defer nn.Evaluating(j.Model)()
	// A model that cannot be recorded will say so when it is trained.
	l.Graph, _ = nn.Graph(j.Model, j.Input.zeros(j.Recipe.Batch))
	return l
}

// prCurve adds the precision-recall curve of a classification into two classes, which
// is measured at the end, to the event files.
func prCurve(folder *rundir.Writer, m *metric.Ranking, class string, step int) error {
	w, err := tfevent.Create(folder.File(""))
	if err != nil {
		return err
	}
	err = w.PRCurve("test/"+class, int64(step), tensorboard.PRCurve(m, 1))
	if e := w.Close(); err == nil {
		err = e
	}
	return err
}

// plainKeys is a part of the recipe as it is written: what was left out is.
func plainKeys(v reflect.Value) any {
	if v.Kind() != reflect.Struct {
		return v.Interface()
	}
	m := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && !v.Field(i).IsZero() {
			m[keyOf(f)] = plainKeys(v.Field(i))
		}
	}
	return m
}

// hparams are the single values of the recipe, by their keys.
func (r *Recipe) hparams() map[string]any {
	flat := map[string]any{}
	var add func(prefix string, v any)
	add = func(prefix string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, part := range v {
				add(prefix+"."+key, part)
			}
		case string, bool, int, int64, uint64, float64:
			flat[prefix[1:]] = v
		}
	}
	add("", plainKeys(reflect.ValueOf(*r)))
	maps.DeleteFunc(flat, func(key string, _ any) bool {
		return slices.Contains([]string{"about", "name", "threads", "tensorboard", "csv", "budget"}, key) || strings.HasPrefix(key, "energy.") || strings.HasPrefix(key, "guard.")
	})
	return flat
}

// examples are the first images to train on.
func (j *Job) examples() (all []image.Image) {
	shape := j.Input.Shape
	if len(shape) != 3 || shape[0] != 1 && shape[0] != 3 {
		return nil
	}
	loader := data.Loader{Dataset: j.Source.Examples(), Batch: shownExamples}
	for batch := range loader.Batches(context.Background()) {
		pixels := batch.X.Floats()
		plane := shape[1] * shape[2]
		for i := range batch.Size {
			one := pixels[i*shape[0]*plane : (i+1)*shape[0]*plane]
			low, high := slices.Min(one), slices.Max(one)
			grey := func(v float32) uint8 { // inputs may be normalised
				if high <= low {
					return 0
				}
				return uint8(255 * (v - low) / (high - low))
			}
			if shape[0] == 1 {
				p := image.NewGray(image.Rect(0, 0, shape[2], shape[1]))
				for k, v := range one {
					p.Pix[k] = grey(v)
				}
				all = append(all, p)
				continue
			}
			p := image.NewRGBA(image.Rect(0, 0, shape[2], shape[1]))
			for k := range plane {
				p.SetRGBA(k%shape[2], k/shape[2], color.RGBA{grey(one[k]), grey(one[plane+k]), grey(one[2*plane+k]), 255})
			}
			all = append(all, p)
		}
		break
	}
	return all
}
