package recipe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// sampled trains a recipe, with or without somebody writing samples, and gives its
// weights.
func sampled(t *testing.T, text string, dir string) (weights []byte, report *train.Report, job *Job) {
	t.Helper()
	r, err := Parse("test.yaml", []byte(text))
	if err == nil {
		job, err = Prepare(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if dir != "" {
		m, err := job.manifest(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		folder, err := rundir.Create(dir, m)
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		job.Trainer.Callbacks = append(job.Trainer.Callbacks, newSampler(job, folder))
	}
	report, err = job.Trainer.Fit(t.Context(), job.Model, job.Source.Train, job.Source.Test)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range nn.State(job.Model) {
		weights = append(weights, v.Bytes()...)
	}
	return weights, report, job
}

// samplesIn reads samples.jsonl.
func samplesIn(t *testing.T, dir string) (lines []Sample) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, rundir.SamplesFile))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var s Sample
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, s)
	}
	return lines
}

// Samples are written at each evaluation, and the run has the bits of one without.
func TestSamples(t *testing.T) {
	base := t.TempDir()
	text := filepath.Join(base, "text.txt")
	table := filepath.Join(base, "table.csv")
	var rows strings.Builder
	rows.WriteString("a,b,y\n")
	for i := range 200 {
		fmt.Fprintf(&rows, "%d,%d,%d\n", i%7, i%11, 100+3*(i%7)-2*(i%11))
	}
	if err := os.WriteFile(text, []byte(strings.Repeat("the quick brown fox jumps over the lazy dog. ", 60)), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(table, []byte(rows.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, recipe := range map[string]string{
		"classification": "name: x\ndata: {path: glyphs, examples: 600}\nmodel: {kind: mlp, hidden: [16], dropout: 0.2}\nepochs: 2\nbatch: 50\neval_every: 5\n",
		"language":       "name: x\ndata: {path: " + text + "}\nmodel: {kind: gpt, layers: 1, heads: 2, width: 16, block: 16, dropout: 0.1}\nsteps: 9\neval_every: 3\nbatch: 8\n",
		"regression":     "name: x\ndata: {path: " + table + ", target: y, task: regression}\nmodel: {kind: mlp, hidden: [8]}\nepochs: 3\nbatch: 16\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(base, "run-"+name)
			plain, _, _ := sampled(t, recipe, "")
			weights, report, job := sampled(t, recipe, dir)
			if !bytes.Equal(plain, weights) {
				t.Error("the samples have changed the run")
			}
			var layers nn.Summary
			if text, err := os.ReadFile(filepath.Join(dir, rundir.LayersFile)); err != nil || json.Unmarshal(text, &layers) != nil || layers.Parameters != nn.Count(job.Model) {
				t.Errorf("the table of layers: %v %+v", err, layers)
			}
			lines := samplesIn(t, dir)
			evaluations := lines
			if name == "classification" {
				evaluations = lines[1:]
			}
			if len(evaluations) != len(report.History) {
				t.Fatalf("%d lines of %d evaluations", len(evaluations), len(report.History))
			}
			for i, e := range report.History {
				if evaluations[i].Step != e.Step || evaluations[i].Epoch != e.Epoch {
					t.Errorf("line %d is of step %d, the evaluation of step %d", i, evaluations[i].Step, e.Step)
				}
			}
			last := evaluations[len(evaluations)-1]
			out, err := job.Trainer.Predict(t.Context(), job.Model, job.Source.Test)
			if err != nil {
				t.Fatal(err)
			}
			switch name {
			case "classification":
				checkGuesses(t, job, lines[0], last, out.Floats())
				checkConfusion(t, job, dir, report)
			case "regression":
				if len(last.Valued) != job.Source.Test.Len() {
					t.Fatalf("%d values", len(last.Valued))
				}
				for i, v := range last.Valued {
					want := job.Input.Encoder.Value(float64(out.Floats()[i]))
					if v.Index != i || math.Abs(float64(v.Prediction)-want) > 1e-4 || float64(v.Target) < 79.99 || float64(v.Target) > 118.01 ||
						math.Abs(float64(v.Target)-math.Round(float64(v.Target))) > 1e-3 { // the targets of the table are whole
						t.Errorf("value %d: %+v, predicted is %v", i, v, want)
					}
				}
			case "language":
				if got := len(last.Prompt); got != promptTokens {
					t.Errorf("the prompt is %q", last.Prompt)
				}
				if got := len(last.Text); got != writtenTokens {
					t.Errorf("%d characters were written: %q", got, last.Text)
				}
			}
		})
	}
}

// checkGuesses compares the guesses with the model's outputs for the whole test set.
func checkGuesses(t *testing.T, job *Job, shown, last Sample, out []float32) {
	t.Helper()
	if shown.Event != SamplesShown || len(shown.Shown) != imagesShown || len(last.Guessed) != imagesShown {
		t.Fatalf("%s with %d examples, %d guesses", shown.Event, len(shown.Shown), len(last.Guessed))
	}
	classes := len(job.Input.Classes)
	for i, s := range shown.Shown {
		img, err := png.Decode(bytes.NewReader(s.PNG))
		if err != nil {
			t.Fatal(err)
		}
		if b := img.Bounds(); b.Dx() != 28 || b.Dy() != 28 {
			t.Errorf("the picture has %v", b)
		}
		g := last.Guessed[i]
		row := out[g.Index*classes : (g.Index+1)*classes]
		best := slices.Index(row, slices.Max(row))
		var sum float64
		for _, l := range row {
			sum += math.Exp(float64(l))
		}
		if p := math.Exp(float64(row[best])) / sum; g.Index != s.Index || len(g.Guesses) != guessesShown || g.Guesses[0].Class != job.Input.Classes[best] || math.Abs(g.Guesses[0].Probability-p) > 1e-5 {
			t.Errorf("example %d: %v, the model says %s with %v", s.Index, g.Guesses, job.Input.Classes[best], p)
		}
	}
}

// checkConfusion compares the matrix with the accuracy and the labels of the test set.
func checkConfusion(t *testing.T, job *Job, dir string, report *train.Report) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, rundir.ConfusionFile))
	var m ConfusionMatrix
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	if m.Step != report.Steps || !slices.Equal(m.Classes, job.Input.Classes) {
		t.Errorf("the matrix is of step %d with classes %v", m.Step, m.Classes)
	}
	labels := make([]int64, len(m.Classes))
	example := [][]byte{make([]byte, 4*28*28), make([]byte, 8)}
	for i := range job.Source.Test.Len() {
		if err := job.Source.Test.Read(i, example); err != nil {
			t.Fatal(err)
		}
		labels[example[1][0]]++
	}
	var right int64
	for c, row := range m.Counts {
		var sum int64
		for _, n := range row {
			sum += n
		}
		if sum != labels[c] {
			t.Errorf("class %s has %d examples in the matrix and %d in the data", m.Classes[c], sum, labels[c])
		}
		right += row[c]
	}
	if got := float64(right) / float64(job.Source.Test.Len()); math.Abs(got-report.Metrics[0].Value) > 1e-12 {
		t.Errorf("the diagonal is %v of all, the accuracy %v", got, report.Metrics[0].Value)
	}
}

// A run that is resumed drops the lines after its checkpoint, and a line that was cut.
func TestSamplesOfResumedRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	_, _, job := sampled(t, "name: x\ndata: {path: glyphs, examples: 600}\nmodel: {kind: mlp, hidden: [4]}\nepochs: 3\nbatch: 100\n", dir)
	if got := len(samplesIn(t, dir)); got != 4 {
		t.Fatalf("%d lines", got)
	}
	if err := appendLine(filepath.Join(dir, rundir.SamplesFile), []byte(`{"event":"predictions","step":1`)); err != nil {
		t.Fatal(err)
	}
	folder, _, err := rundir.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	newSampler(job, folder).OnTrainBegin(&train.State{Step: 14})
	var steps []int
	for _, s := range samplesIn(t, dir) {
		steps = append(steps, s.Step)
	}
	if !slices.Equal(steps, []int{0, 6, 12}) {
		t.Errorf("lines of steps %v are left", steps)
	}
}

func TestSpread(t *testing.T) {
	classes := map[int]bool{}
	last := -1
	for i, e := range spread(3200, 24) {
		if e <= last || e*24/3200 != i {
			t.Errorf("example %d of 24 is %d", i, e)
		}
		last = e
		classes[e%48] = true
	}
	if len(classes) < 16 {
		t.Errorf("only %d of 48 classes by turns", len(classes))
	}
	if got := spread(3, 3); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("all of three are %v", got)
	}
}

func TestThumbnail(t *testing.T) {
	if thumbnail(make([]float32, 2*3*3), []int{2, 3, 3}) != nil {
		t.Error("a picture of two channels")
	}
	for _, c := range []struct {
		pixels []float32
		shape  []int
		side   image.Point
		want   [3]uint32 // of the first pixel, of 255
	}{
		{[]float32{0.5, 1, 0, 0}, []int{1, 2, 2}, image.Pt(2, 2), [3]uint32{128, 128, 128}},
		{[]float32{-2, 2, 0, 0}, []int{1, 2, 2}, image.Pt(2, 2), [3]uint32{0, 0, 0}},
		{[]float32{2, -2, 0, 0}, []int{1, 2, 2}, image.Pt(2, 2), [3]uint32{255, 255, 255}},
		{[]float32{1, 0, 0.2}, []int{3, 1, 1}, image.Pt(1, 1), [3]uint32{255, 0, 51}},
		{[]float32{float32(math.NaN()), 1, 1, 1}, []int{1, 2, 2}, image.Pt(2, 2), [3]uint32{0, 0, 0}},
		{[]float32{7}, []int{1, 1, 1}, image.Pt(1, 1), [3]uint32{0, 0, 0}},
		{make([]float32, 3*100*200), []int{3, 100, 200}, image.Pt(50, 25), [3]uint32{0, 0, 0}},
		{make([]float32, 500), []int{1, 1, 500}, image.Pt(62, 1), [3]uint32{0, 0, 0}},
	} {
		img, err := png.Decode(bytes.NewReader(thumbnail(c.pixels, c.shape)))
		if err != nil {
			t.Fatal(err)
		}
		r, g, b, _ := img.At(0, 0).RGBA()
		if got := [3]uint32{r >> 8, g >> 8, b >> 8}; img.Bounds().Size() != c.side || got != c.want {
			t.Errorf("%v of shape %v: %v, %v", c.pixels[:1], c.shape, img.Bounds().Size(), got)
		}
	}
}
