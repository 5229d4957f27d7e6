package recipe

import (
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/models"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/checkpoint"
	"github.com/sinter-dl/sinter/train/rundir"
)

// Input is what a model knows of its data: enough to build it again and to read
// further examples the way its training examples were read. It is kept in the
// run folder.
type Input struct {
	Task      data.Task     `json:"task"`
	Shape     []int         `json:"shape"`             // of one example
	Classes   []string      `json:"classes,omitempty"` // of a classification
	Series    *data.Series  `json:"series,omitempty"`  // of a forecast
	Encoder   *data.Encoder `json:"encoder,omitempty"` // of a table
	Tokenizer *Tokenizer    `json:"tokenizer,omitempty"`
}

// Job is a recipe with everything it needs to run.
type Job struct {
	Recipe  *Recipe
	Source  *data.Source
	Input   Input
	Model   nn.Module
	Trainer *train.Trainer
	account *train.Energy // of the Trainer when the job is Run, but for the meter; nil: nothing is counted

	// Of a job that goes on, see Resume.
	writer  *rundir.Writer
	resumed *rundir.Manifest // as it was
	from    *checkpoint.Info // nil: from the beginning
	spent   train.Spent      // so far, see spent
}

// Prepare resolves the recipe, opens its data and builds the model. Model and
// order of examples depend on the recipe's seed alone.
func Prepare(r *Recipe) (*Job, error) {
	if err := r.Resolve(); err != nil {
		return nil, err
	}
	device, err := r.device()
	if err != nil {
		return nil, err
	}
	account, err := r.account()
	if err != nil {
		return nil, err
	}
	src, err := r.open()
	if err != nil {
		return nil, err
	}
	src.Notes = append(src.Notes, device...)
	if err := r.cache(src); err != nil {
		return nil, err
	}
	input := Input{Task: src.Task, Shape: src.Input(), Classes: src.Classes, Series: src.Series, Encoder: src.Encoder, Tokenizer: keep(src.Tokenizer)}
	if err := r.checkMetrics(input.Task); err != nil {
		return nil, err
	}
	sinter.Seed(r.Seed)
	model, err := r.build(input)
	if err != nil {
		return nil, err
	}
	if err := r.limit(src); err != nil {
		return nil, err
	}
	if err := r.augment(src); err != nil {
		return nil, err
	}
	trainer := &train.Trainer{
		StepsPerEpoch: r.Limits.StepsPerEpoch,
		Clip:          r.Optimizer.Clip,
		Epochs:        r.Epochs,
		Steps:         r.Steps,
		EvalEvery:     r.EvalEvery,
		Batch:         r.Batch,
		Seed:          r.Seed,
		Accumulate:    r.Accumulate,
		Precision:     r.precision(),
		Loader:        r.loader(),
		Compile:       true, // no model of the zoo decides anything in Go from step to step
	}
	trainer.Optimizer = r.Optimizer.rule(trainer.StepsFor(src.Examples()))
	trainer.Loss, trainer.Metrics = input.measures(r)
	if err := r.checkMonitors(trainer.Metrics); err != nil {
		return nil, err
	}
	if err := r.fitMemory(trainer, model, src); err != nil {
		return nil, err
	}
	if err := r.cacheOnDevice(trainer, model, src); err != nil {
		return nil, err
	}
	return &Job{Recipe: r, Source: src, Input: input, Model: model, Trainer: trainer, account: account}, nil
}

// loader says how examples are read.
func (r *Recipe) loader() data.Loader {
	d := r.Data
	return data.Loader{Workers: d.Workers, Prefetch: d.Prefetch, ShuffleBuffer: d.ShuffleBuffer, SkipBad: d.SkipBad}
}

// build makes the model for the given inputs, with fresh weights.
func (r *Recipe) build(in Input) (model nn.Module, err error) {
	defer ir.Recover(&err)
	if r.planned {
		defer nn.WithoutValues()()
	}
	m := r.Model
	if r.language() != (in.Task == data.Language) {
		return nil, r.unsuited(in)
	}
	outputs := max(1, len(in.Classes))
	if in.Task == data.Forecast {
		outputs = in.Series.Horizon
	}
	switch m.Kind {
	case "mlp":
		inputs := 1
		for _, n := range in.Shape {
			inputs *= n
		}
		return models.NewMLP(models.MLPConfig{Inputs: inputs, Hidden: m.Hidden, Outputs: outputs, Activation: m.Activation, Dropout: m.Dropout}), nil
	case "lenet":
		if len(in.Shape) != 3 || in.Task != data.Classification {
			return nil, r.unsuited(in)
		}
		if in.Shape[1] != in.Shape[2] || in.Shape[1] < 12 {
			return nil, usage(r.place("model.kind"), "lenet takes square images of at least 12×12 pixels, the data has %d×%d; give data.size for a folder of images, or use mlp", in.Shape[1], in.Shape[2])
		}
		return models.NewLeNet(models.LeNetConfig{Channels: in.Shape[0], Size: in.Shape[1], Classes: outputs}), nil
	case "resnet":
		if len(in.Shape) != 3 || in.Task != data.Classification {
			return nil, r.unsuited(in)
		}
		return models.NewResNet(models.ResNetConfig{Depth: m.Depth, Channels: in.Shape[0], Classes: outputs, Checkpoint: r.ActivationCheckpointing}), nil
	case "bottleneck":
		if len(in.Shape) != 3 || in.Task != data.Classification {
			return nil, r.unsuited(in)
		}
		return models.NewBottleneckResNet(models.BottleneckResNetConfig{Depth: m.Depth, Channels: in.Shape[0], Classes: outputs, Checkpoint: r.ActivationCheckpointing}), nil
	case "lstm":
		if in.Task == data.Forecast {
			return models.NewLSTMForecast(models.ForecastConfig{Features: in.Shape[1], Hidden: m.Width, Layers: m.Layers, Horizon: outputs, Dropout: m.Dropout}), nil
		}
		return models.NewLSTMModel(models.LSTMConfig{Vocab: in.Tokenizer.Size(), Embed: m.Width, Hidden: m.Width, Layers: m.Layers, Dropout: m.Dropout}), nil
	case "gpt":
		return models.NewGPT(models.GPTConfig{Vocab: in.Tokenizer.Size(), Block: m.Block, Layers: m.Layers, Heads: m.Heads, Embed: m.Width, Dropout: m.Dropout, Checkpoint: r.ActivationCheckpointing}), nil
	}
	panic("recipe: unknown model " + m.Kind)
}

// unsuited says that the model cannot be trained on such data.
func (r *Recipe) unsuited(in Input) error {
	wants := map[string]string{
		"mlp": "images, a table or a time series", "lenet": "images", "resnet": "images", "bottleneck": "images", "lstm": "a text, or with data.window on a time series", "gpt": "a text",
	}
	found := "a table"
	switch {
	case in.Task == data.Language:
		found = "a text"
	case len(in.Shape) == 3:
		found = "images"
	}
	return usage(r.place("data.path"), "%s is trained on %s, but %s is %s", r.Model.Kind, wants[r.Model.Kind], r.Data.Path, found)
}

// rule makes the update rule with its schedule over the given number of steps.
func (o Optimizer) rule(steps int) optim.Rule {
	lr := o.schedule(steps)
	var betas [2]float64
	copy(betas[:], o.Betas)
	switch o.Kind {
	case "sgd":
		return optim.SGD{LR: lr, Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: o.WeightDecay}
	case "adam":
		return optim.Adam{LR: lr, Betas: betas, WeightDecay: o.WeightDecay}
	case "adamw":
		return optim.AdamW{LR: lr, Betas: betas, WeightDecay: o.WeightDecay}
	case "rmsprop":
		return optim.RMSprop{LR: lr, Momentum: o.Momentum, WeightDecay: o.WeightDecay}
	case "adagrad":
		return optim.Adagrad{LR: lr, WeightDecay: o.WeightDecay}
	case "lion":
		return optim.Lion{LR: lr, Betas: betas, WeightDecay: o.WeightDecay}
	}
	panic("recipe: unknown optimizer " + o.Kind)
}

func (o Optimizer) schedule(steps int) optim.Schedule {
	warmup := int(o.Warmup)
	if o.Warmup < 1 {
		warmup = int(o.Warmup * float64(steps))
	}
	switch o.Schedule {
	case "constant":
		return optim.Constant(o.LR)
	case "step":
		return optim.Step{Initial: o.LR, Gamma: o.Gamma, Every: o.Every}
	case "exponential":
		return optim.Exponential{Initial: o.LR, Gamma: o.Gamma, Every: o.Every}
	case "cosine":
		return optim.Cosine{Peak: o.LR, Warmup: warmup, Steps: steps, Final: o.Final * o.LR}
	case "one-cycle":
		cycle := optim.OneCycle{Peak: o.LR, Steps: steps}
		if warmup > 0 {
			cycle.PctStart = float64(warmup) / float64(steps)
		}
		return cycle
	case "linear":
		return optim.Linear{From: o.LR, To: o.Final * o.LR, Steps: steps}
	case "plateau":
		return &optim.ReduceOnPlateau{Initial: o.LR, Factor: o.Gamma, Patience: o.Patience}
	}
	panic("recipe: unknown schedule " + o.Schedule)
}

// Describe is one line on what a job will do.
func (j *Job) Describe() string {
	test := ""
	if j.Source.Test != nil {
		test = fmt.Sprintf(", %d to test", j.Source.Test.Len())
	}
	what := fmt.Sprintf("%d classes", len(j.Input.Classes))
	switch j.Input.Task {
	case data.Regression:
		what = "regression"
	case data.Forecast:
		what = fmt.Sprintf("a forecast of %d", j.Input.Series.Horizon)
	case data.Language:
		what = fmt.Sprintf("%d %s", j.Input.Tokenizer.Size(), j.Input.Tokenizer.unit())
	}
	examples := "a stream of examples"
	if n := j.Source.Examples().Len(); n >= 0 {
		examples = fmt.Sprintf("%d examples", n)
	}
	return fmt.Sprintf("%s on %s: %s of %v to train%s, %s", j.Recipe.Name, j.Recipe.Data.Path,
		examples, slices.Clone(j.Input.Shape), test, what)
}

// limit leaves of the data what the recipe's limits want.
func (r *Recipe) limit(src *data.Source) (err error) {
	first := func(set data.Dataset, batches int, part string) data.Dataset {
		n := batches * r.Batch
		if set == nil || batches == 0 || n >= set.Len() || err != nil {
			return set
		}
		index := make([]int, n)
		for i := range index {
			index[i] = i
		}
		src.Notes = append(src.Notes, fmt.Sprintf("%s is limited to its first %d examples of %d", part, n, set.Len()))
		set, err = data.Subset(set, index)
		return set
	}
	if k := r.Limits.Overfit; k > 0 {
		if src.Train == nil {
			return usage(r.place("limits.overfit"), "limits.overfit is for examples that can be read again in any order, but those of %s are streamed; limits.steps_per_epoch limits them", r.Data.Path)
		}
		src.Train = first(src.Train, k, "training")
		src.Test = src.Train
		src.Notes = append(src.Notes, "the test set is what is trained on: a sound model learns it by heart")
	}
	src.Test = first(src.Test, r.Limits.TestBatches, "testing")
	return err
}
