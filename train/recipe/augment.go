package recipe

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/transforms"
)

// Augment is one entry of data.augment: exactly one of its fields is set. In YAML it is
// the name alone, the name with its main setting, or with a group of settings:
//
//	augment: [flip, {crop: 4}, {rotation: {degrees: 10}}, {mixup: 0.2}]
//
// What is left out is torchvision's default; rotation and affine interpolate, which small
// pictures need. Pictures keep their size.
type Augment struct {
	Flip         *AugmentFlip        `json:"flip,omitempty"`
	VerticalFlip *AugmentFlip        `json:"vertical_flip,omitempty"`
	Crop         *AugmentCrop        `json:"crop,omitempty"`
	ResizedCrop  *AugmentResizedCrop `json:"resized_crop,omitempty"`
	Rotation     *AugmentRotation    `json:"rotation,omitempty"`
	Affine       *AugmentAffine      `json:"affine,omitempty"`
	Jitter       *AugmentJitter      `json:"jitter,omitempty"`
	Noise        *AugmentNoise       `json:"noise,omitempty"`
	Erasing      *AugmentErasing     `json:"erasing,omitempty"`
	MixUp        *AugmentMix         `json:"mixup,omitempty"`
	CutMix       *AugmentMix         `json:"cutmix,omitempty"`
}

// AugmentFlip is a flip with probability P, 0.5 unless given.
type AugmentFlip struct {
	P float64 `json:"p,omitempty" above:"0" max:"1"`
}

// AugmentCrop is a shift: Padding pixels are put on each side, 4 unless given, and a crop
// of the old size taken.
type AugmentCrop struct {
	Padding int    `json:"padding,omitempty" min:"1" max:"1024"`
	Mode    string `json:"mode,omitempty" oneof:"constant edge reflect"`
}

// AugmentResizedCrop is a part of the picture, of so much of its area and such a ratio of
// width to height, scaled to the whole.
type AugmentResizedCrop struct {
	Scale []float64 `json:"scale,omitempty" above:"0" max:"1" len:"2"`
	Ratio []float64 `json:"ratio,omitempty" above:"0" max:"100" len:"2"`
}

// AugmentRotation turns by at most so many degrees either way, 10 unless given.
type AugmentRotation struct {
	Degrees float64 `json:"degrees,omitempty" above:"0" max:"180"`
}

// AugmentAffine turns, shifts by a share of the size, scales and shears.
type AugmentAffine struct {
	Degrees   float64   `json:"degrees,omitempty" min:"0" max:"180"`
	Translate float64   `json:"translate,omitempty" min:"0" max:"1"`
	Scale     []float64 `json:"scale,omitempty" above:"0" max:"100" len:"2"`
	Shear     float64   `json:"shear,omitempty" min:"0" below:"90"`
}

// AugmentJitter changes the colours.
type AugmentJitter struct {
	Brightness float64 `json:"brightness,omitempty" min:"0" max:"10"`
	Contrast   float64 `json:"contrast,omitempty" min:"0" max:"10"`
	Saturation float64 `json:"saturation,omitempty" min:"0" max:"10"`
	Hue        float64 `json:"hue,omitempty" min:"0" max:"0.5"`
}

// AugmentNoise adds noise of that standard deviation, 0.1 unless given.
type AugmentNoise struct {
	Sigma float64 `json:"sigma,omitempty" above:"0" max:"10"`
}

// AugmentErasing blacks out a rectangle with probability P, 0.5 unless given.
type AugmentErasing struct {
	P     float64   `json:"p,omitempty" above:"0" max:"1"`
	Scale []float64 `json:"scale,omitempty" above:"0" below:"1" len:"2"`
	Ratio []float64 `json:"ratio,omitempty" above:"0" max:"100" len:"2"`
}

// AugmentMix mixes the examples of a batch, with shares from Beta(Alpha, Alpha); Alpha is
// 1 unless given.
type AugmentMix struct {
	Alpha float64 `json:"alpha,omitempty" above:"0" max:"1000"`
}

// augment decodes an entry of data.augment.
func (d *decoder) augment(n *yaml.Node, v reflect.Value, key string) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	name := n
	var settings *yaml.Node
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 {
		name, settings = n.Content[0], n.Content[1]
	}
	if name.Kind != yaml.ScalarNode {
		return usage(d.at(n), "an entry of %s is %s, expected a name, or one name with its settings, such as {rotation: 10}", key, describe(n))
	}
	field := fieldByKey(v.Type(), name.Value)
	if field == nil {
		return usage(d.at(name), "%s: unknown transform %q%s", key, name.Value, Suggest(name.Value, paths(v.Type(), "")))
	}
	full := key + "." + name.Value
	group := reflect.New(field.Type.Elem())
	if settings != nil && settings.Kind == yaml.MappingNode {
		if err := d.value(settings, group.Elem(), full, nil); err != nil {
			return err
		}
	} else if settings != nil {
		main := field.Type.Elem().Field(0)
		if field.Type == reflect.TypeFor[*AugmentJitter]() { // none of its settings comes first
			return usage(d.at(settings), "%s is %s, expected a group of keys: %s", full, describe(settings), list(paths(group.Elem().Type(), "")))
		}
		if err := d.value(settings, group.Elem().Field(0), full+"."+keyOf(main), &main.Tag); err != nil {
			return err
		}
	}
	v.FieldByIndex(field.Index).Set(group)
	return nil
}

// augment puts data.augment on the examples to train on.
func (r *Recipe) augment(src *data.Source) error {
	list := r.Data.Augment
	if len(list) == 0 {
		return nil
	}
	place := r.place("data.augment")
	shape := src.Input()
	if len(shape) != 3 || src.Task != data.Classification {
		return usage(place, "data.augment is for pictures of classes, but the examples of %s are %v", r.Data.Path, shape)
	}
	var steps []transforms.Transform
	var mixes []transforms.Mix
	for _, a := range list {
		t, m := a.transform(shape[1], shape[2])
		if t != nil {
			steps = append(steps, t)
		}
		if m != nil {
			mixes = append(mixes, m)
		}
	}
	var err error
	if src.Train != nil {
		src.Train, err = transforms.ApplyMixed(src.Train, r.Seed, len(src.Classes), mixes, steps...)
	} else {
		src.Stream, err = transforms.ApplyStreamMixed(src.Stream, r.Seed, len(src.Classes), mixes, steps...)
	}
	if err != nil {
		return usage(place, "data.augment: %s", strings.TrimPrefix(err.Error(), "transforms: "))
	}
	var names []string
	for _, a := range list {
		names = append(names, a.name())
	}
	src.Notes = append(src.Notes, fmt.Sprintf("the training examples are changed anew in every epoch: %s", strings.Join(names, ", ")))
	return nil
}

// name is the key of an entry.
func (a Augment) name() string {
	v := reflect.ValueOf(a)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			return keyOf(v.Type().Field(i))
		}
	}
	return ""
}

// transform is what an entry does to pictures of the given size, or to batches of them.
func (a Augment) transform(height, width int) (transforms.Transform, transforms.Mix) {
	stretch := func(v []float64) (r transforms.Range) {
		copy(r[:], v)
		return r
	}
	switch {
	case a.Flip != nil:
		return transforms.RandomHorizontalFlip{P: a.Flip.P}, nil
	case a.VerticalFlip != nil:
		return transforms.RandomVerticalFlip{P: a.VerticalFlip.P}, nil
	case a.Crop != nil:
		c := *a.Crop
		setDefault(&c.Padding, 4)
		return transforms.RandomCrop{Height: height, Width: width, Padding: c.Padding, PaddingMode: transforms.PaddingMode(c.Mode)}, nil
	case a.ResizedCrop != nil:
		return transforms.RandomResizedCrop{Height: height, Width: width, Scale: stretch(a.ResizedCrop.Scale), Ratio: stretch(a.ResizedCrop.Ratio)}, nil
	case a.Rotation != nil:
		degrees := a.Rotation.Degrees
		setDefault(&degrees, 10)
		return transforms.RandomRotation{Degrees: degrees, Interpolation: transforms.Bilinear}, nil
	case a.Affine != nil:
		f := *a.Affine
		return transforms.RandomAffine{Degrees: f.Degrees, Translate: [2]float64{f.Translate, f.Translate}, Scale: stretch(f.Scale), Shear: f.Shear, Interpolation: transforms.Bilinear}, nil
	case a.Jitter != nil:
		j := *a.Jitter
		return transforms.ColorJitter{Brightness: j.Brightness, Contrast: j.Contrast, Saturation: j.Saturation, Hue: j.Hue}, nil
	case a.Noise != nil:
		return transforms.GaussianNoise{Sigma: a.Noise.Sigma}, nil
	case a.Erasing != nil:
		return transforms.RandomErasing{P: a.Erasing.P, Scale: stretch(a.Erasing.Scale), Ratio: stretch(a.Erasing.Ratio)}, nil
	case a.MixUp != nil:
		return nil, transforms.MixUp{Alpha: a.MixUp.Alpha}
	case a.CutMix != nil:
		return nil, transforms.CutMix{Alpha: a.CutMix.Alpha}
	}
	panic("recipe: an entry of data.augment without a transform")
}
