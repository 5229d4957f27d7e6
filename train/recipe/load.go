package recipe

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/data/tokenizer"
	"github.com/sinter-dl/sinter/format/safetensors"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// Run is a finished run, read back from its folder.
type Run struct {
	Dir      string
	Manifest *rundir.Manifest
	Recipe   *Recipe
	Input    Input
	Model    nn.Module // with the weights of the run, in evaluation mode
}

// LoadRun reads a run folder.
func LoadRun(dir string) (*Run, error) {
	m, err := rundir.Read(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, rundir.ManifestFile)
	r := &Run{Dir: dir, Manifest: m}
	if r.Recipe, err = Parse(name, m.Recipe); err == nil {
		err = r.Recipe.Resolve()
	}
	if err != nil {
		return nil, fmt.Errorf("the recipe in %s: %w", name, err)
	}
	if err := json.Unmarshal(m.Input, &r.Input); err != nil {
		return nil, fmt.Errorf("%s is damaged: its input: %w", name, err)
	}
	if err := r.Input.check(); err != nil {
		return nil, fmt.Errorf("%s is damaged: its input: %w", name, err)
	}
	if err := r.Input.Tokenizer.load(dir); err != nil {
		return nil, err
	}
	weights := filepath.Join(dir, rundir.WeightsFile)
	st, err := os.Stat(weights)
	if err != nil {
		return nil, fmt.Errorf("reading the weights: %w", err)
	}
	// Building a model takes its memory, so it has to be about as large as its weights.
	if least := 4 * r.Recipe.leastParameters(r.Input); least > 2*float64(st.Size())+(32<<20) {
		return nil, fmt.Errorf("%s is damaged: its model takes at least %.3g bytes, but %s has %d", name, least, weights, st.Size())
	}
	if r.Model, err = r.Recipe.build(r.Input); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := loadWeights(weights, r.Model); err != nil {
		return nil, err
	}
	nn.Eval(r.Model)
	return r, nil
}

// leastParameters is a lower bound, and not far from it, of the parameters of the model
// that build makes, found without building it.
func (r *Recipe) leastParameters(in Input) float64 {
	m, n := r.Model, 0.0
	outputs := float64(max(1, len(in.Classes)))
	inputs := 1.0
	for _, d := range in.Shape {
		inputs *= float64(d)
	}
	width, layers := float64(m.Width), float64(m.Layers)
	vocabulary := 1.0
	if in.Tokenizer != nil && in.Tokenizer.Tokenizer != nil {
		vocabulary = float64(in.Tokenizer.Size())
	}
	switch m.Kind {
	case "mlp":
		for _, hidden := range append(slices.Clone(m.Hidden), int(outputs)) {
			n += inputs * float64(hidden)
			inputs = float64(hidden)
		}
	case "lenet": // its first dense layer, of 120 outputs over 16 channels
		side := (in.side()-4)/2 - 4
		n = 120 * 16 * math.Pow(math.Floor(side/2), 2)
	case "resnet": // the second of each block's two convolutions, in three stages
		n = float64((m.Depth-2)/6) * 9 * (16*16 + 32*32 + 64*64)
	case "bottleneck": // the 3×3 convolutions, in four stages
		n = 9 * (3*64*64 + 4*128*128 + 6*256*256 + 3*512*512)
	case "lstm": // four gates of the state and of what comes in
		n = vocabulary*width + layers*8*width*width
	case "gpt": // attention takes 4, the feed-forward part 8 times width squared
		n = (vocabulary+float64(m.Block))*width + layers*12*width*width
	}
	return n
}

// side is the length of an image's shorter side.
func (in Input) side() float64 {
	if len(in.Shape) != 3 {
		return 0
	}
	return float64(min(in.Shape[1], in.Shape[2]))
}

// check refuses what no run would have written.
func (in Input) check() error {
	for _, n := range in.Shape {
		if n < 1 {
			return fmt.Errorf("shape %v", in.Shape)
		}
	}
	switch {
	case len(in.Shape) == 0:
		return fmt.Errorf("no shape")
	case in.Task == data.Classification && len(in.Classes) == 0:
		return fmt.Errorf("a classification without classes")
	case in.Task == data.Language && in.Tokenizer == nil:
		return fmt.Errorf("a language model without a tokenizer")
	case in.Task == data.Forecast && in.Series == nil:
		return fmt.Errorf("a forecast without a series")
	case in.Task == data.Forecast:
		return in.Series.Check()
	case in.Task != data.Classification && in.Task != data.Language && in.Task != data.Regression:
		return fmt.Errorf("unknown task %q", in.Task)
	}
	return nil
}

func loadWeights(name string, model nn.Module) error {
	f, err := safetensors.Open(name)
	if err != nil {
		return fmt.Errorf("reading the weights: %w", err)
	}
	defer f.Close()
	values := map[string]*sinter.Tensor{}
	for _, tensor := range f.Names() {
		info, _ := f.Info(tensor)
		content, err := f.Read(tensor)
		if err != nil {
			return fmt.Errorf("reading the weights: %w", err)
		}
		values[tensor] = sinter.FromBytes(info.DType, content, info.Shape...)
	}
	if err := nn.LoadState(model, values, true); err != nil {
		return fmt.Errorf("%s does not fit the model of the run: %w", name, err)
	}
	return nil
}

// Score evaluates the run on all examples of path, read as its own data was.
func (r *Run) Score(ctx context.Context, path string) (Scores, error) {
	set, err := r.Open(path)
	if err != nil {
		return Scores{}, err
	}
	return r.Input.score(ctx, r.Recipe, r.Model, set)
}

// Outputs are the model's outputs for a dataset: class probabilities, or values in
// the unit of the target.
func (r *Run) Outputs(ctx context.Context, set data.Dataset) (*sinter.Tensor, error) {
	trainer := train.Trainer{Batch: r.Recipe.Batch, Precision: r.Recipe.precision()}
	out, err := trainer.Predict(ctx, r.Model, set)
	if err != nil {
		return nil, err
	}
	if r.Input.Task == data.Classification {
		out = out.Softmax(-1)
	}
	return out, nil
}

// GenerateOptions say what a language model is to write.
type GenerateOptions struct {
	Prompt      string // if empty, a new line, or what the vocabulary begins with
	Tokens      int
	Temperature float64 // 0: always the likeliest
	TopK        int     // 0: all
	Seed        uint64
	// Write is given the text as it comes, the prompt first, in pieces of whole
	// characters.
	Write func(text string)
}

// Generate lets a language model go on from a prompt, which the text begins with.
func (r *Run) Generate(o GenerateOptions) (string, error) {
	writer, ok := r.Model.(interface {
		Generate(prompt []int64, n int, o models.GenerateOptions) ([]int64, error)
	})
	if !ok {
		return "", fmt.Errorf("%s is a %s, which does not write text; 'sinter predict' is for it", r.Dir, r.Recipe.Model.Kind)
	}
	prompt, err := r.Input.Tokenizer.Encode(o.Prompt)
	if err != nil {
		return "", fmt.Errorf("the prompt: %w", err)
	}
	if len(prompt) == 0 {
		if prompt, err = r.Input.Tokenizer.Encode("\n"); err != nil {
			prompt = []int64{0}
		}
	}
	var text strings.Builder
	write := func(s string) {
		text.WriteString(s)
		if o.Write != nil {
			o.Write(s)
		}
	}
	write(o.Prompt)
	stream := tokenizer.Stream{Tokenizer: r.Input.Tokenizer}
	if o.Prompt != "" {
		for _, id := range prompt { // what a token says may depend on those before it
			stream.Push(id)
		}
	}
	_, err = writer.Generate(prompt, o.Tokens, models.GenerateOptions{
		Temperature: o.Temperature, TopK: o.TopK, Generator: sinter.NewGenerator(o.Seed),
		Each: func(id int64) { write(stream.Push(id)) },
	})
	if err != nil {
		return "", err
	}
	write(stream.Close())
	return text.String(), nil
}
