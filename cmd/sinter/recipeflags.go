package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/train/recipe"
)

// override is a flag that sets a key of the recipe, which also checks its value.
type override struct{ flag, key, kind, usage string }

var overrides = []override{
	{"data", "data.path", "PATH", "folder of IDX files, of class folders with images, or of texts; or a CSV, TSV or text file"},
	{"target", "data.target", "COLUMN", "column of the table to predict; the last one unless said"},
	{"test", "data.test", "FILE", "table to test on, in place of a held-out share"},
	{"epochs", "epochs", "N", "passes over the training examples"},
	{"steps", "steps", "N", "largest number of steps"},
	{"batch", "batch", "N", "examples that are computed with at a time"},
	{"accumulate", "accumulate", "N", "batches whose gradients make one step; 1 unless said"},
	{"lr", "optimizer.lr", "X", "learning rate; the peak of a schedule"},
	{"precision", "precision", "P", "of steps and evaluations: fp32; bf16 or fp16 for products of 16-bit numbers with float32 sums; or tf32"},
	{"patience", "early_stopping.patience", "N", "stop when the test loss has not improved for N evaluations"},
	{"max-time", "max_time", "TIME", "stop after this time: 90s, 30m, 1h30m"},
	{"budget", "budget", "BUDGET", "stop, with a checkpoint, when the whole run has used this: 5EUR, 2kWh, 1kg, 30m, or some of them with commas between"},
	{"region", "energy.region", "REGION", "whose electricity it is, for CO2: FRA, France, a number of g/kWh, or a file of them by the hour; the mean of the world unless said"},
	{"tariff", "energy.tariff", "PRICE", "what a kWh costs: 0.25EUR, or a file of prices by the hour"},
	{"rate", "energy.rate", "MONEY", "what an hour of the device costs: 2.50EUR"},
	{"pue", "energy.pue", "X", "energy of the building for that of its computers, such as 1.5; 1 unless said"},
	{"fast-dev-run", "limits.fast_dev_run", "", "make one step and evaluate one batch, to see that everything works"},
	{"overfit", "limits.overfit", "N", "train and evaluate on the first N batches only, which a sound model learns by heart"},
	{"tensorboard", "tensorboard", "", "write event files for TensorBoard into the run folder"},
	{"workers", "data.workers", "N", "examples read at the same time; one less than there are processors unless said"},
	{"skip-bad", "data.skip_bad", "", "leave out examples that cannot be read, and list them, instead of stopping"},
	{"memory-limit", "memory_limit", "SIZE", "memory that training may hold, such as 8GB: picks batch, accumulation and checkpointing so that it fits"},
	{"seed", "seed", "N", "of the weights and the order of examples"},
	{"device", "device", "DEVICE", deviceUsage},
	{"threads", "threads", "N", threadsUsage},
}

// text is the value of a flag that is checked later, where its key is known.
type text struct {
	value, kind string
}

func (t *text) String() string     { return t.value }
func (t *text) Set(v string) error { t.value = v; return nil }
func (t *text) Type() string       { return t.kind }

// recipeFlags are the flags of the commands that take a recipe: --set and the
// overrides.
type recipeFlags struct {
	without string // an override that the command has another flag for
	sets    []string
	values  []text
}

func (f *recipeFlags) add(c *cobra.Command) {
	f.values = make([]text, len(overrides))
	for i, o := range overrides {
		if o.flag == f.without {
			continue
		}
		f.values[i].kind = o.kind
		flag := c.Flags().VarPF(&f.values[i], o.flag, "", o.usage)
		if o.kind == "" { // a switch
			flag.NoOptDefVal = "true"
		}
	}
	c.Flags().StringArrayVar(&f.sets, "set", nil, "set a key of the recipe, `key=value`; may be repeated")
}

// load reads the recipe and sets what the flags say.
func (f *recipeFlags) load(c *cobra.Command, name string) (*recipe.Recipe, error) {
	r, err := recipe.Load(name)
	if err == nil {
		err = f.apply(c, r)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// apply sets what the flags say. A recipe that then names no device is for the one that
// is taken unless one is named.
func (f *recipeFlags) apply(c *cobra.Command, r *recipe.Recipe) error {
	if err := f.set(c, r); err != nil {
		return err
	}
	switch r.Device {
	case "":
		return useDefault()
	case "auto":
		name, err := ranked()
		if err != nil || name == "" {
			return err
		}
		return r.Set("LOCAL_RANK", "device", name)
	}
	return nil
}

// set sets what the flags say.
func (f *recipeFlags) set(c *cobra.Command, r *recipe.Recipe) error {
	for _, s := range f.sets {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return &recipe.UsageError{Place: "--set " + s, Reason: "expected key=value"}
		}
		if err := r.Set("--set "+s, strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	for i, o := range overrides {
		if o.flag == f.without || !c.Flags().Changed(o.flag) {
			continue
		}
		if err := r.Set("--"+o.flag, o.key, f.values[i].value); err != nil {
			return err
		}
	}
	if c.Flags().Changed("epochs") && !c.Flags().Changed("steps") {
		r.Steps = 0 // the one limit that was asked for is the one that counts
	}
	if c.Flags().Changed("steps") && !c.Flags().Changed("epochs") {
		r.Epochs = 0
	}
	return nil
}

// args are the flags as they were given, for another command line.
func (f *recipeFlags) args(c *cobra.Command) (args []string) {
	for _, s := range f.sets {
		args = append(args, "--set="+s)
	}
	for i, o := range overrides {
		if o.flag != f.without && c.Flags().Changed(o.flag) {
			args = append(args, "--"+o.flag+"="+f.values[i].value)
		}
	}
	return args
}
