// Package recipe turns a recipe, a short YAML file, into a training run.
//
// A recipe says what to train (model), on what (data) and how (optimizer,
// epochs, batch). The built-in recipes are embedded files of the same form as a
// user's own; Builtin lists them and Source prints one to start from. The way
// from a recipe to weights is
//
//	Load → Set (overrides) → Resolve → Open (the data) → Build (model and trainer)
//
// and every mistake on it is found before training begins: a *UsageError for a
// recipe that says something unknown or impossible, another error for data that
// cannot be read.
//
// decode.go reads YAML into the types of this file, checking each value at its
// place; datasets.go opens the data; build.go makes the model; load.go brings a
// finished run back.
package recipe

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/nearest"
)

// Recipe is a training run written down. The json tags are the keys of the YAML
// file; the other tags are the checks that decode makes.
type Recipe struct {
	Name       string    `json:"name"`
	About      string    `json:"about,omitempty"`
	Data       Data      `json:"data"`
	Model      Model     `json:"model"`
	Optimizer  Optimizer `json:"optimizer"`
	Epochs     int       `json:"epochs,omitempty" min:"1"`     // with neither limit: 5
	Steps      int       `json:"steps,omitempty" min:"1"`      // whichever limit is reached first
	EvalEvery  int       `json:"eval_every,omitempty" min:"1"` // steps between evaluations, besides the end of each epoch
	Metrics    []string  `json:"metrics,omitempty" oneof:"accuracy top2 top3 top5 top10 precision precision_micro precision_weighted recall recall_micro recall_weighted f1 f1_micro f1_weighted dice iou auc average_precision mae mse rmse r2 mape perplexity"`
	Batch      int       `json:"batch" min:"1" max:"65536"`
	Accumulate int       `json:"accumulate,omitempty" min:"1" max:"65536"` // batches whose gradients make one step; without it 1
	Seed       uint64    `json:"seed"`
	Precision  string    `json:"precision,omitempty"`                  // of steps and evaluations: fp32, bf16, fp16 or tf32
	Device     string    `json:"device,omitempty"`                     // to compute on: auto, cpu, cuda:0, opencl:0; that in use unless said
	Threads    int       `json:"threads,omitempty" min:"0" max:"1024"` // to compute on; 0: as many as there are processors. Changes no result

	// Values of runs of so many blocks are computed again in the backward pass instead of
	// being kept; true is 1.
	ActivationCheckpointing int `json:"activation_checkpointing,omitempty" min:"0" max:"1024" truth:"1"`

	MemoryLimit string `json:"memory_limit,omitempty"` // "8GB": choose batch, accumulate and activation_checkpointing so that training fits; batch·accumulate stays

	EarlyStopping EarlyStopping `json:"early_stopping,omitzero"`
	ReduceLR      ReduceLR      `json:"reduce_lr,omitzero"`              // on a plateau
	EMA           float64       `json:"ema,omitempty" min:"0" below:"1"` // decay of an exponential moving average of the weights, which takes their place
	SWA           float64       `json:"swa,omitempty" min:"0"`           // average the weights of epochs after this many, or this share of them
	MaxTime       string        `json:"max_time,omitempty"`              // "30m": training ends then
	CSV           bool          `json:"csv,omitempty"`                   // write metrics.csv too
	TensorBoard   bool          `json:"tensorboard,omitempty"`           // write event files for TensorBoard
	Energy        Energy        `json:"energy,omitzero"`
	Budget        string        `json:"budget,omitempty"` // "5EUR, 2kWh, 1kg, 30m", or some of them: training ends there, and can go on with more
	Guard         Guard         `json:"guard,omitzero"`
	Limits        Limits        `json:"limits,omitzero"`
	Checkpoint    Checkpoint    `json:"checkpoint"`

	planned bool // the weights have no values, see PreparePlan
	settled bool // the recipe of a run that goes on: what a memory limit leads to has been chosen

	given map[string]string // path of each key that was given → the place it was given at
}

// Checkpoint says when a run writes what it can go on from, and how much of that stays.
// Without any of the every keys it does so every five minutes; at the end and when it is
// interrupted it does in any case.
type Checkpoint struct {
	EverySteps   int     `json:"every_steps,omitempty" min:"1"`
	EveryEpochs  int     `json:"every_epochs,omitempty" min:"1"`
	EveryMinutes float64 `json:"every_minutes,omitempty" above:"0"`
	Keep         int     `json:"keep,omitempty" min:"1"`         // so many of the newest; 2 unless said
	Best         int     `json:"best" min:"0"`                   // and so many of those with the best value of monitor; 1 unless said
	Monitor      string  `json:"monitor,omitempty"`              // test_loss, loss, a metric, or train_ and a metric
	Mode         string  `json:"mode,omitempty" oneof:"min max"` // whether lower or higher is better; by the name unless said
	Sync         bool    `json:"sync,omitempty"`                 // training waits until a checkpoint is on the disk
	Off          bool    `json:"off,omitempty"`                  // no checkpoints; the run cannot go on once it was stopped
}

// Limits make a run small, to see that all of it works.
type Limits struct {
	StepsPerEpoch int  `json:"steps_per_epoch,omitempty" min:"1"`
	TestBatches   int  `json:"test_batches,omitempty" min:"1"` // that are evaluated, the first ones
	Overfit       int  `json:"overfit,omitempty" min:"1"`      // train and evaluate on the first so many batches: a sound model learns them by heart
	FastDevRun    bool `json:"fast_dev_run,omitempty"`         // one step, and one batch evaluated
}

// Data says where examples come from.
type Data struct {
	Path      string  `json:"path,omitempty"` // a folder or a file; "glyphs" for the rendered digits and letters
	Test      string  `json:"test,omitempty"` // a file of test examples; without it a share is held out
	Holdout   float64 `json:"holdout,omitempty" above:"0" below:"1"`
	Target    string  `json:"target,omitempty"` // the column to predict; the last one unless said
	Task      string  `json:"task,omitempty" oneof:"auto classification regression"`
	Scale     string  `json:"scale,omitempty" oneof:"standard range"`     // tables: numbers to mean 0 and deviation 1, or to 0…1
	Examples  int     `json:"examples,omitempty" min:"64" max:"10000000"` // glyphs: how many to render for training
	Size      int     `json:"size,omitempty" min:"4" max:"1024"`          // image folders: side in pixels
	Colour    bool    `json:"colour,omitempty"`                           // image folders: three channels in place of one
	Tokenizer string  `json:"tokenizer,omitempty"`                        // texts: char, byte, bpe:SIZE to learn one, or the path of a tokenizer.json or of a folder with GPT-2's files
	Window    int     `json:"window,omitempty" min:"1" max:"65536"`       // tables: rows in the order of time, of which so many make a forecast
	Horizon   int     `json:"horizon,omitempty" min:"1" max:"65536"`      // rows to forecast
	Season    int     `json:"season,omitempty" min:"2" max:"65536"`       // rows after which a pattern comes again, for a naive forecast to compare with

	Augment []Augment `json:"augment,omitempty"` // pictures: how those to train on are changed at random, in order

	// How they are read. None of these but skip_bad changes a result, and shuffle_buffer
	// that of a stream.
	Workers       int    `json:"workers,omitempty" min:"0" max:"1024"`             // examples read at the same time; 0: one less than there are processors
	Prefetch      int    `json:"prefetch,omitempty" min:"1" max:"1024"`            // batches made ahead; 2 unless said
	ShuffleBuffer int    `json:"shuffle_buffer,omitempty" min:"1" max:"100000000"` // examples of a stream held in memory to be shuffled; 1024 unless said
	Cache         string `json:"cache,omitempty" oneof:"none memory disk device"`  // of decoded examples, where they are not in memory anyway; device: in the memory of what computes
	SkipBad       bool   `json:"skip_bad,omitempty"`                               // leave out examples that cannot be read, and list them
}

// Model names an architecture and its sizes. Which sizes there are depends on
// the kind.
type Model struct {
	Kind       string  `json:"kind" oneof:"mlp lenet resnet bottleneck lstm gpt"`
	Hidden     []int   `json:"hidden,omitempty" for:"mlp" min:"1" max:"1048576"`
	Activation string  `json:"activation,omitempty" for:"mlp" oneof:"relu gelu silu tanh sigmoid"`
	Depth      int     `json:"depth,omitempty" for:"resnet bottleneck" min:"8" max:"1202"`
	Layers     int     `json:"layers,omitempty" for:"lstm gpt" min:"1" max:"1024"`
	Heads      int     `json:"heads,omitempty" for:"gpt" min:"1" max:"1024"`
	Width      int     `json:"width,omitempty" for:"lstm gpt" min:"1" max:"65536"`
	Block      int     `json:"block,omitempty" for:"lstm gpt" min:"2" max:"65536"` // tokens seen at once
	Dropout    float64 `json:"dropout,omitempty" for:"mlp lstm gpt" min:"0" below:"1"`
}

// Optimizer is the update rule with its learning rate schedule.
type Optimizer struct {
	Kind        string    `json:"kind" oneof:"sgd adam adamw rmsprop adagrad lion"`
	LR          float64   `json:"lr" above:"0" max:"100"`
	Momentum    float64   `json:"momentum,omitempty" for:"sgd rmsprop" min:"0" below:"1"`
	Nesterov    bool      `json:"nesterov,omitempty" for:"sgd"`
	Betas       []float64 `json:"betas,omitempty" for:"adam adamw lion" min:"0" below:"1" len:"2"`
	WeightDecay float64   `json:"weight_decay,omitempty" min:"0"`
	Schedule    string    `json:"schedule,omitempty" oneof:"constant step exponential cosine one-cycle linear plateau"`
	Warmup      float64   `json:"warmup,omitempty" min:"0"`          // steps, or below 1 a share of all steps
	Final       float64   `json:"final,omitempty" min:"0" max:"1"`   // learning rate at the end, as a share of lr
	Gamma       float64   `json:"gamma,omitempty" above:"0" max:"1"` // factor of step, exponential and plateau
	Every       int       `json:"every,omitempty" min:"1"`           // steps between two factors
	Patience    int       `json:"patience,omitempty" min:"1"`        // epochs without progress before plateau acts
	Clip        float64   `json:"clip,omitempty" min:"0"`            // largest global norm of the gradients; 0: no limit
}

// UsageError is a mistake in what was asked for, as against bad data: an unknown
// recipe, key or value.
type UsageError struct {
	Place  string // "my.yaml:3:5" or "--set model.kind"; may be empty
	Reason string
}

func (e *UsageError) Error() string {
	if e.Place == "" {
		return e.Reason
	}
	return e.Place + ": " + e.Reason
}

func usage(place, format string, args ...any) error {
	return &UsageError{Place: place, Reason: fmt.Sprintf(format, args...)}
}

//go:embed recipes/*.yaml
var builtin embed.FS

// Builtin lists the names of the built-in recipes.
func Builtin() []string {
	entries, err := builtin.ReadDir("recipes")
	if err != nil {
		panic("recipe: embedded files: " + err.Error())
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// Source is the text of a built-in recipe.
func Source(name string) ([]byte, error) {
	text, err := builtin.ReadFile(path.Join("recipes", name+".yaml"))
	if err != nil {
		return nil, usage("", "unknown recipe %q%s", name, Suggest(name, Builtin()))
	}
	return text, nil
}

// Load reads a built-in recipe by name, or a file: what ends in .yaml or .yml or
// has a path separator.
func Load(name string) (*Recipe, error) {
	ext := strings.ToLower(filepath.Ext(name))
	if ext != ".yaml" && ext != ".yml" && !strings.ContainsAny(name, `/\`) {
		text, err := Source(name)
		if err != nil {
			return nil, err
		}
		return Parse(name+".yaml", text)
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage(name, "there is no such recipe file; 'sinter recipe ls' lists the built-in recipes")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the recipe: %w", err)
	}
	return Parse(name, text)
}

// Resolve checks what can only be seen in the whole recipe, and fills in what it
// left out.
func (r *Recipe) Resolve() error {
	if r.Model.Kind == "" {
		return usage(r.place("model"), "the recipe does not say model.kind: one of %s", list(strings.Fields(kinds)))
	}
	if err := r.applicable("model", &r.Model, r.Model.Kind); err != nil {
		return err
	}
	if r.Name == "" {
		r.Name = r.Model.Kind
	}
	if r.Epochs == 0 && r.Steps == 0 {
		r.Epochs = 5
	}
	setDefault(&r.Batch, 64)
	if _, ok := r.given["seed"]; !ok {
		r.Seed = 1
	}
	if _, ok := r.given["checkpoint.best"]; !ok {
		r.Checkpoint.Best = 1
	}
	setDefault(&r.Precision, sinter.FP32.String())
	p, err := sinter.ParsePrecision(r.Precision)
	if err != nil {
		return usage(r.place("precision"), "%s", strings.TrimPrefix(err.Error(), "sinter: "))
	}
	r.Precision = p.String()
	if l := &r.Limits; l.FastDevRun {
		r.Epochs, r.Steps, l.TestBatches = 0, 1, 1
	}
	if err := r.resolveCallbacks(); err != nil {
		return err
	}
	if err := r.resolveEnergy(); err != nil {
		return err
	}
	setDefault(&r.Data.Holdout, 0.1)
	setDefault(&r.Data.Task, "auto")
	setDefault(&r.Data.Scale, "standard")

	if r.Data.Window > 0 {
		setDefault(&r.Data.Horizon, 1)
	}
	for key, n := range map[string]int{"data.horizon": r.Data.Horizon, "data.season": r.Data.Season} {
		if n > 0 && r.Data.Window == 0 {
			return usage(r.place(key), "%s is for a time series; give data.window, the rows that a forecast is made from, as well", key)
		}
	}

	o := &r.Optimizer
	setDefault(&o.Kind, "adam")
	setDefault(&o.LR, 1e-3)
	setDefault(&o.Schedule, "constant")
	setDefault(&o.Gamma, 0.1)
	setDefault(&o.Every, 1000)
	setDefault(&o.Patience, 3)
	if err := r.applicable("optimizer", o, o.Kind); err != nil {
		return err
	}

	if _, err := r.memoryLimit(); err != nil {
		return err
	}
	m := &r.Model
	if r.ActivationCheckpointing > 0 && !m.blocks() {
		return usage(r.place("activation_checkpointing"), "activation_checkpointing is for models of blocks, gpt, resnet and bottleneck, not %s", m.Kind)
	}
	switch m.Kind {
	case "mlp":
		setDefault(&m.Activation, "relu")
		if m.Hidden == nil {
			m.Hidden = []int{128}
		}
	case "resnet":
		setDefault(&m.Depth, 20)
		if (m.Depth-2)%6 != 0 {
			return usage(r.place("model.depth"), "model.depth is %d, expected 6n+2: 8, 14, 20, 32, 44, 56, …", m.Depth)
		}
	case "bottleneck":
		setDefault(&m.Depth, 50)
		if m.Depth != 50 && m.Depth != 101 && m.Depth != 152 {
			return usage(r.place("model.depth"), "model.depth is %d, expected 50, 101 or 152 for bottleneck", m.Depth)
		}
	case "lstm", "gpt":
		setDefault(&m.Layers, 2)
		setDefault(&m.Width, 128)
		setDefault(&m.Block, 64)
		if m.Kind == "gpt" {
			setDefault(&m.Heads, 4)
			if m.Width%m.Heads != 0 {
				return usage(r.place("model.heads"), "model.width %d cannot be divided among %d heads", m.Width, m.Heads)
			}
		}
	}
	return nil
}

// precision is that of a recipe that has been resolved.
func (r *Recipe) precision() sinter.Precision {
	p, err := sinter.ParsePrecision(cmp.Or(r.Precision, sinter.FP32.String()))
	if err != nil {
		panic("recipe: not resolved: " + err.Error())
	}
	return p
}

// kinds are the architectures in the order of the oneof tag of Model.Kind.
const kinds = "mlp lenet resnet bottleneck lstm gpt"

// language tells whether the model predicts the next token of a text.
func (r *Recipe) language() bool {
	return r.Model.Kind == "gpt" || r.Model.Kind == "lstm" && r.Data.Window == 0
}

// blocks tells whether the model consists of blocks whose values can be computed again.
func (m *Model) blocks() bool {
	return m.Kind == "gpt" || m.Kind == "resnet" || m.Kind == "bottleneck"
}

// images tells whether the model takes nothing else.
func (m *Model) images() bool {
	return m.Kind == "lenet" || m.Kind == "resnet" || m.Kind == "bottleneck"
}

// place is where a key was given, or the recipe's name.
func (r *Recipe) place(key string) string {
	if p, ok := r.given[key]; ok {
		return p
	}
	return cmp.Or(r.given[""], r.Name)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Suggest ends a message about an unknown name: the nearest known one if it is
// near, and all of them.
func Suggest(name string, known []string) string {
	all := list(known)
	if best := nearest.Names(name, known, 1); best != nil {
		return fmt.Sprintf("; did you mean %q? (known: %s)", best[0], all)
	}
	return "; known: " + all
}

func list(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), ", ") }
