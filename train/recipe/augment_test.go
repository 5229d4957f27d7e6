package recipe

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// parse reads a recipe that must be right.
func parseAugment(t *testing.T, text string) []Augment {
	t.Helper()
	r, err := Parse("mine.yaml", []byte("model: {kind: lenet}\ndata:\n  path: glyphs\n  augment: "+text+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r.Data.Augment
}

// A name, a name with its main setting and a name with a group of settings mean the same,
// and what is written to a run folder is read again as it was.
func TestAugmentForms(t *testing.T) {
	got := parseAugment(t, "[flip, {crop: {padding: 4}}, {rotation: 10}, {jitter: {hue: 0.1}}, {mixup: 0.2}]")
	want := []Augment{
		{Flip: &AugmentFlip{}}, {Crop: &AugmentCrop{Padding: 4}}, {Rotation: &AugmentRotation{Degrees: 10}},
		{Jitter: &AugmentJitter{Hue: 0.1}}, {MixUp: &AugmentMix{Alpha: 0.2}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if one := parseAugment(t, "vertical_flip"); len(one) != 1 || one[0].VerticalFlip == nil {
		t.Errorf("a single name: %+v", one)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if again := parseAugment(t, string(text)); !reflect.DeepEqual(again, want) {
		t.Errorf("%s is read as %+v", text, again)
	}
}

func TestAugmentMistakes(t *testing.T) {
	for text, wants := range map[string][]string{
		"[flop]":                           {"mine.yaml:4:13", `did you mean "flip"?`},
		"[flip, {crop: {paddings: 4}}]":    {"mine.yaml:4:27", "data.augment.crop.padding"},
		"[{rotation: 200}]":                {"data.augment.rotation.degrees", "at most 180"},
		"[{rotation: much}]":               {"data.augment.rotation.degrees", "a number"},
		"[{crop: 4, flip: 1}]":             {"a name, or one name with its settings"},
		"[[flip]]":                         {"a name, or one name with its settings"},
		"[{jitter: 0.5}]":                  {"data.augment.jitter", "a group of keys", "brightness"},
		"[{resized_crop: {scale: [0.5]}}]": {"data.augment.resized_crop.scale", "a list of 2"},
		"[{crop: {mode: wrap}}]":           {"unknown data.augment.crop.mode", "reflect"},
	} {
		_, err := Parse("mine.yaml", []byte("model: {kind: lenet}\ndata:\n  path: glyphs\n  augment: "+text+"\n"))
		var bad *UsageError
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the message has no %q: %v", text, want, err)
			}
		}
	}
	// What only shows with the data.
	for set, want := range map[string]string{
		`data.augment=[{resized_crop: {scale: [0.9, 0.2]}}]`:  "the smaller first",
		`data.augment=[{crop: {padding: 40, mode: reflect}}]`: "reflected",
	} {
		r, err := Load("lenet")
		if err != nil {
			t.Fatal(err)
		}
		key, value, _ := strings.Cut(set, "=")
		for _, kv := range [][2]string{{key, value}, {"data.examples", "64"}} {
			if err := r.Set("--set", kv[0], kv[1]); err != nil {
				t.Fatal(err)
			}
		}
		var bad *UsageError
		if _, err := Prepare(r); !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", set, err)
		}
	}
}

// prepare makes a job of a built-in recipe with settings.
func prepareWith(t *testing.T, name string, sets ...string) *Job {
	t.Helper()
	r, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		key, value, _ := strings.Cut(s, "=")
		if err := r.Set("--set "+key, key, value); err != nil {
			t.Fatal(err)
		}
	}
	job, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// Only what is trained on is changed, and its labels are probabilities where examples are
// mixed.
func TestAugmentTrainsOnly(t *testing.T) {
	plain := prepareWith(t, "lenet", "data.examples=64")
	job := prepareWith(t, "lenet", "data.examples=64", "data.augment=[{rotation: 20}, {cutmix: 1}]")
	read := func(ds data.Dataset) []byte {
		var dst [][]byte
		for _, f := range ds.Fields() {
			dst = append(dst, make([]byte, f.Bytes()))
		}
		if err := ds.Read(5, dst); err != nil {
			t.Fatal(err)
		}
		return dst[0]
	}
	if string(read(plain.Source.Test)) != string(read(job.Source.Test)) {
		t.Error("the test part is changed")
	}
	if string(read(plain.Source.Train)) == string(read(job.Source.Train)) {
		t.Error("the training part is not changed")
	}
	if y := job.Source.Train.Fields()[1]; y.DType != sinter.Float32 || len(y.Shape) != 1 {
		t.Errorf("labels are %+v", y)
	}
	if y := job.Source.Test.Fields()[1]; y.DType != sinter.Int64 {
		t.Errorf("labels of the test part are %+v", y)
	}
}

// Networks learn from changed and mixed examples: the loss on examples as they are falls.
func TestAugmentTrains(t *testing.T) {
	const everything = "data.augment=[{crop: 2}, {rotation: 10}, {affine: {translate: 0.05, scale: [0.9, 1.1]}}, {jitter: {brightness: 0.2, contrast: 0.2}}, {noise: 0.05}, {erasing: 0.3}, {mixup: 0.2}, {cutmix: 1}]"
	train := func(t *testing.T, name string, limit float64, sets ...string) {
		job := prepareWith(t, name, sets...)
		report, err := job.Trainer.Fit(t.Context(), job.Model, job.Source.Train, job.Source.Test)
		if err != nil {
			t.Fatal(err)
		}
		if !(report.TestLoss < limit) || math.IsNaN(report.TrainLoss) {
			t.Errorf("the loss on the test set is %.3f, expected below %v; on the training set %.3f", report.TestLoss, limit, report.TrainLoss)
		}
		for _, m := range report.TrainMetrics {
			if !(m.Value >= 0 && m.Value <= 1) {
				t.Errorf("training %s is %v", m.Name, m.Value)
			}
		}
		t.Logf("%s: test loss %.3f, training loss %.3f, %v", name, report.TestLoss, report.TrainLoss, report.TrainMetrics)
	}
	t.Run("lenet on MNIST", func(t *testing.T) { // 10 classes: chance is 2.30
		mnist := testenv.SharedData(t, "mnist")
		train(t, "lenet", 1.2, everything, "data.path="+mnist, "steps=150", "limits.test_batches=8")
	})
	t.Run("resnet on glyphs", func(t *testing.T) { // 48 classes: chance is 3.87
		train(t, "lenet", 3.75, "data.augment=[{crop: 2}, {rotation: 10}, {mixup: 0.2}]",
			"model.kind=resnet", "model.depth=8", "data.examples=960", "steps=60", "batch=32", "optimizer.lr=0.005", "limits.test_batches=4")
	})
}

// A WebDataset archive is augmented in memory and as a stream, and its streamed examples
// train the same model whatever the workers.
func TestAugmentStream(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 40 {
		img := image.NewGray(image.Rect(0, 0, 20+i%5, 18+i%7))
		for at := range img.Pix { // stripes, upright or lying
			x, y := at%img.Stride, at/img.Stride
			img.SetGray(x, y, color.Gray{uint8(60 * ([]int{x, y}[i%2] % 4))})
		}
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			t.Fatal(err)
		}
		for ext, content := range map[string][]byte{"png": file.Bytes(), "cls": []byte([]string{"upright", "lying"}[i%2])} {
			if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%03d.%s", i, ext), Mode: 0o644, Size: int64(len(content))}); err != nil {
				t.Fatal(err)
			}
			w.Write(content)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "stripes.tar")
	if err := os.WriteFile(archive, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}

	var losses [][2]float64
	for _, workers := range []int{1, 4} {
		job := prepareWith(t, "lenet", "data.path="+archive, "data.size=16", "data.holdout=0.2", "batch=8", "steps=6",
			"data.augment=[{resized_crop: {scale: [0.5, 1]}}, {noise: 0.05}, {mixup: 0.2}]", fmt.Sprint("data.workers=", workers))
		if y := job.Source.Train.Fields()[1]; !slices.Equal(y.Shape, []int{2}) {
			t.Errorf("labels in memory are %+v", y)
		}
		opt := job.Recipe.imageOptions()
		opt.Memory = -1 // as if it were too large
		src, err := data.OpenWebDataset(archive, opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := src.HoldOut(0.2, 1); err != nil {
			t.Fatal(err)
		}
		if err := job.Recipe.augment(src); err != nil {
			t.Fatal(err)
		}
		if y := src.Stream.Fields()[1]; src.Train != nil || !slices.Equal(y.Shape, []int{2}) {
			t.Errorf("streamed labels are %+v", y)
		}
		if note := src.Notes[len(src.Notes)-1]; !strings.Contains(note, "resized_crop, noise, mixup") {
			t.Errorf("the last note is %q", note)
		}
		report, err := job.Trainer.Fit(t.Context(), job.Model, src.Examples(), src.Test)
		if err != nil {
			t.Fatal(err)
		}
		if report.Steps != 6 || !(report.TrainLoss > 0 && report.TestLoss > 0) {
			t.Errorf("%d steps, losses %v and %v", report.Steps, report.TrainLoss, report.TestLoss)
		}
		losses = append(losses, [2]float64{report.TrainLoss, report.TestLoss})
	}
	if losses[0] != losses[1] {
		t.Errorf("the losses are %v with one worker and %v with four", losses[0], losses[1])
	}
}
