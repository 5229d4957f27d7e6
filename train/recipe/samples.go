package recipe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// The lines of samples.jsonl. SamplesShown comes first: the examples that all later
// lines are about, pictures as PNG. The others come with each evaluation.
const (
	SamplesShown   = "examples"    // Shown
	SamplesGuessed = "predictions" // Guessed, of a classification
	SamplesValued  = "values"      // Valued, of a regression
	SamplesWritten = "text"        // of a language model
)

// Sample is a line of samples.jsonl.
type Sample struct {
	Event   string        `json:"event"`
	Epoch   int           `json:"epoch,omitempty"`
	Step    int           `json:"step,omitempty"`
	Shown   []ShownSample `json:"examples,omitempty"`
	Guessed []Guessed     `json:"predictions,omitempty"`
	Valued  []Valued      `json:"values,omitempty"`
	Prompt  string        `json:"prompt,omitempty"`
	Text    string        `json:"text,omitempty"` // what the model wrote after the prompt
}

// ShownSample is an example of the test set.
type ShownSample struct {
	Index int    `json:"index"`
	Class string `json:"class,omitempty"`
	PNG   []byte `json:"png,omitempty"` // in base64; absent if examples are no images
}

// Guessed are the likeliest classes of an example, in falling order.
type Guessed struct {
	Index   int     `json:"index"`
	Guesses []Guess `json:"guesses"`
}

// Valued is the value of an example and what the model says it is, in the unit of the
// table.
type Valued struct {
	Index      int    `json:"index"`
	Target     Number `json:"target"`
	Prediction Number `json:"prediction"`
}

// ConfusionMatrix is the content of confusion.json: of the latest evaluation.
type ConfusionMatrix struct {
	Epoch   int       `json:"epoch"`
	Step    int       `json:"step"`
	Classes []string  `json:"classes"`
	Counts  [][]int64 `json:"counts"` // a row for each true class, a column for each predicted one
}

// How much is shown.
const (
	imagesShown   = 24
	valuesShown   = 200 // points of a plot of predictions over targets
	guessesShown  = 3
	thumbnailSide = 64 // pixels
	promptTokens  = 16
	writtenTokens = 120
)

// sampler writes samples.jsonl and confusion.json as training goes, and layers.json at
// its beginning. What it shows of a
// classification or a regression it reads off the evaluation, at no further cost; a
// language model has to write a text for it, with chance of its own. It stands before
// callbacks that put other weights in place for the evaluation only.
type sampler struct {
	train.NopCallback
	job    *Job
	folder *rundir.Writer

	chosen    []int // examples of the test set, rising
	next      int   // the number of the next example of this evaluation
	line      Sample
	confusion *metric.Confusion
	unwritten *ConfusionMatrix
	written   time.Time
	prompt    []int64
}

func newSampler(j *Job, folder *rundir.Writer) *sampler {
	return &sampler{job: j, folder: folder}
}

// OnTrainBegin chooses the examples. A run that is resumed keeps the lines up to the
// checkpoint that it goes on from.
func (p *sampler) OnTrainBegin(s *train.State) {
	p.layers(s)
	test := p.job.Source.Test
	if test == nil || test.Len() == 0 {
		return
	}
	in := p.job.Input
	if in.Task == data.Forecast {
		return
	}
	count := imagesShown
	switch in.Task {
	case data.Classification:
		p.confusion = metric.ConfusionMatrix(len(in.Classes))
	case data.Regression:
		count = valuesShown
	case data.Language:
		count = 1
	}
	p.chosen = spread(test.Len(), min(count, test.Len()))
	first, err := p.examples(test)
	if err != nil {
		s.Warn("no examples are shown of this run: " + err.Error())
		p.chosen = nil
		return
	}
	kept, _ := os.ReadFile(p.folder.File(rundir.SamplesFile))
	var out bytes.Buffer
	for line := range bytes.Lines(kept) {
		var old Sample
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &old) != nil || old.Step > s.Step {
			continue
		}
		if out.Len() == 0 && old.Event != SamplesShown {
			break
		}
		out.Write(line)
	}
	if out.Len() == 0 && first != nil {
		out.Write(first)
	}
	if out.Len() > 0 || len(kept) > 0 {
		p.said(s, rundir.WriteFile(p.folder.File(rundir.SamplesFile), out.Bytes()))
	}
}

// layers writes the table of layers, for one example.
func (p *sampler) layers(s *train.State) {
	summary, err := p.job.Summary(1)
	var text []byte
	if err == nil {
		text, err = json.Marshal(summary)
	}
	if err == nil {
		err = rundir.WriteFile(p.folder.File(rundir.LayersFile), append(text, '\n'))
	}
	if err != nil {
		s.Warn("there is no table of layers of this run: " + err.Error())
	}
}

// spread chooses count of n examples, rising: one at random from each of count equal
// parts, always the same ones. In a set that goes through its classes by turns, every
// so manieth example would always be of the same few.
func spread(n, count int) []int {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(count)))
	chosen := make([]int, count)
	for i := range chosen {
		from, to := i*n/count, (i+1)*n/count
		chosen[i] = from + rng.IntN(to-from)
	}
	return chosen
}

// examples is the first line of samples.jsonl, nil for a task that needs none.
func (p *sampler) examples(test data.Dataset) ([]byte, error) {
	fields := test.Fields()
	example := make([][]byte, len(fields))
	for i, f := range fields {
		example[i] = make([]byte, f.Bytes())
	}
	line := Sample{Event: SamplesShown}
	in := p.job.Input
	for _, i := range p.chosen {
		if err := test.Read(i, example); err != nil {
			return nil, err
		}
		if in.Task == data.Language {
			ids := make([]int64, min(promptTokens, fields[0].Len()))
			for k := range ids {
				ids[k] = int64(binary.LittleEndian.Uint64(example[0][8*k:]))
			}
			p.prompt = ids
			return nil, nil
		}
		shown := ShownSample{Index: i}
		if in.Task == data.Classification && len(fields) > 1 && fields[1].DType == sinter.Int64 && fields[1].Len() == 1 {
			if c := binary.LittleEndian.Uint64(example[1]); c < uint64(len(in.Classes)) {
				shown.Class = in.Classes[c]
			}
		}
		if len(in.Shape) == 3 && fields[0].DType == sinter.Float32 {
			pixels := make([]float32, fields[0].Len())
			if _, err := binary.Decode(example[0], binary.LittleEndian, pixels); err != nil {
				return nil, err
			}
			shown.PNG = thumbnail(pixels, in.Shape)
		}
		line.Shown = append(line.Shown, shown)
	}
	if in.Task == data.Regression {
		return nil, nil // the values say it all
	}
	text, err := json.Marshal(line)
	return append(text, '\n'), err
}

// OnEvaluateBegin begins a line.
func (p *sampler) OnEvaluateBegin(s *train.State) {
	p.next = 0
	p.line = Sample{Epoch: s.Epoch, Step: s.Step}
	if p.confusion != nil {
		p.confusion.Reset()
	}
}

// OnEvaluateBatch takes what is shown out of the model's output.
func (p *sampler) OnEvaluateBatch(_ *train.State, batch data.Batch, pred *sinter.Tensor) {
	first := p.next
	p.next += batch.Size
	if p.confusion != nil {
		p.confusion.Update(pred, batch.Y)
	}
	from, _ := slices.BinarySearch(p.chosen, first)
	to, _ := slices.BinarySearch(p.chosen, p.next)
	in := p.job.Input
	if from == to || batch.Size == 0 || in.Task == data.Language {
		return
	}
	outputs := pred.Floats()
	width := len(outputs) / batch.Size
	for _, i := range p.chosen[from:to] {
		row := outputs[(i-first)*width : (i-first+1)*width]
		if in.Task == data.Regression {
			target := batch.Y.Floats()[i-first]
			p.line.Valued = append(p.line.Valued, Valued{i, Number(in.Encoder.Value(float64(target))), Number(in.Encoder.Value(float64(row[0])))})
		} else {
			p.line.Guessed = append(p.line.Guessed, Guessed{i, likeliest(row, in.Classes)})
		}
	}
}

// OnEvaluate writes the line.
func (p *sampler) OnEvaluate(s *train.State) {
	if len(p.chosen) == 0 || s.Last == nil || !s.Last.Tested {
		return
	}
	switch p.job.Input.Task {
	case data.Classification:
		p.line.Event = SamplesGuessed
		p.unwritten = &ConfusionMatrix{s.Epoch, s.Step, p.job.Input.Classes, p.confusion.Counts()}
		if time.Since(p.written) > time.Second { // evaluations may follow each other quickly
			p.writeConfusion(s)
		}
	case data.Regression:
		p.line.Event = SamplesValued
	case data.Language:
		p.line.Event = SamplesWritten
		if err := p.write(s); err != nil {
			s.Warn("no text is shown of this evaluation: " + err.Error())
			return
		}
	}
	text, err := json.Marshal(p.line)
	if err == nil {
		err = appendLine(p.folder.File(rundir.SamplesFile), text)
	}
	p.said(s, err)
}

// OnTrainEnd writes what was held back.
func (p *sampler) OnTrainEnd(s *train.State) { p.writeConfusion(s) }

func (p *sampler) writeConfusion(s *train.State) {
	if p.unwritten == nil {
		return
	}
	text, err := json.Marshal(p.unwritten)
	if err == nil {
		err = rundir.WriteFile(p.folder.File(rundir.ConfusionFile), append(text, '\n'))
	}
	p.unwritten, p.written = nil, time.Now()
	p.said(s, err)
}

// said tells of what could not be written, which ends no run.
func (p *sampler) said(s *train.State, err error) {
	if err != nil {
		s.Warn(fmt.Sprintf("the samples of this evaluation could not be written: %v", err))
	}
}

// write lets a language model go on from the beginning of the test text.
func (p *sampler) write(s *train.State) error {
	writer, ok := s.Model.(interface {
		Generate(prompt []int64, n int, o models.GenerateOptions) ([]int64, error)
	})
	if !ok {
		return fmt.Errorf("a %s does not write", p.job.Recipe.Model.Kind)
	}
	ids, err := writer.Generate(p.prompt, writtenTokens, models.GenerateOptions{
		Temperature: 0.8, Generator: sinter.NewGenerator(p.job.Recipe.Seed),
	})
	if err != nil {
		return err
	}
	p.line.Prompt = p.job.Input.Tokenizer.Decode(p.prompt)
	whole := p.job.Input.Tokenizer.Decode(append(slices.Clone(p.prompt), ids...))
	p.line.Text = strings.TrimPrefix(whole, p.line.Prompt)
	return nil
}

func appendLine(name string, line []byte) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return cmp.Or(err, f.Close())
}

// likeliest are the classes with the highest scores, with their probabilities.
func likeliest(logits []float32, classes []string) []Guess {
	order := make([]int, min(len(logits), len(classes)))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	var sum float64
	for _, l := range logits {
		sum += math.Exp(float64(l - logits[order[0]]))
	}
	var guesses []Guess
	for _, c := range order[:min(guessesShown, len(order))] {
		p := math.Exp(float64(logits[c]-logits[order[0]])) / sum
		if math.IsNaN(p) { // of a model that has no numbers any more
			p = 0
		}
		guesses = append(guesses, Guess{classes[c], p})
	}
	return guesses
}

// thumbnail is a picture of pixels [C, H, W] with one channel or three, the side at most
// 64 pixels. Values from 0 to 1 are shown as they are, others are stretched from the
// smallest to the largest. Nil if it is no such picture.
func thumbnail(pixels []float32, shape []int) []byte {
	channels, height, width := shape[0], shape[1], shape[2]
	if channels != 1 && channels != 3 || height == 0 || width == 0 {
		return nil
	}
	low, high := float32(0), float32(1)
	for _, v := range pixels {
		if v-v == 0 { // finite
			low, high = min(low, v), max(high, v)
		}
	}
	if low < 0 || high > 1 {
		low, high = pixels[0], pixels[0]
		for _, v := range pixels {
			low, high = min(low, v), max(high, v)
		}
	}
	step := (max(height, width)-1)/thumbnailSide + 1 // pixels of the example in one of the thumbnail
	h, w := max(1, height/step), max(1, width/step)
	at := func(c, y, x int) uint8 {
		var sum float32
		for dy := range step {
			for dx := range step {
				sum += pixels[(c*height+min(y*step+dy, height-1))*width+min(x*step+dx, width-1)]
			}
		}
		v := (sum/float32(step*step) - low) / (high - low) * 255
		if !(v > 0) {
			return 0
		}
		return uint8(min(v, 255) + 0.5)
	}
	var img image.Image
	if channels == 1 {
		gray := image.NewGray(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				gray.SetGray(x, y, color.Gray{Y: at(0, y, x)})
			}
		}
		img = gray
	} else {
		rgb := image.NewNRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				rgb.SetNRGBA(x, y, color.NRGBA{at(0, y, x), at(1, y, x), at(2, y, x), 255})
			}
		}
		img = rgb
	}
	var b bytes.Buffer
	if png.Encode(&b, img) != nil {
		return nil
	}
	return b.Bytes()
}
