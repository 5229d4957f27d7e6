package recipe

import (
	"slices"
	"time"

	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// train's callbacks as keys of a recipe.

// EarlyStopping is train.EarlyStopping; it is on where patience is given.
type EarlyStopping struct {
	Monitor     string  `json:"monitor,omitempty"` // test_loss, loss, a metric, or train_ and a metric
	Mode        string  `json:"mode,omitempty" oneof:"min max"`
	Patience    int     `json:"patience,omitempty" min:"1"` // evaluations without improvement
	MinDelta    float64 `json:"min_delta,omitempty" min:"0"`
	From        int     `json:"from,omitempty" min:"1"` // epoch
	RestoreBest bool    `json:"restore_best,omitempty"` // end with the weights of the best evaluation
}

// ReduceLR is train.ReduceLROnPlateau; it is on where patience is given.
type ReduceLR struct {
	Monitor  string  `json:"monitor,omitempty"`
	Mode     string  `json:"mode,omitempty" oneof:"min max"`
	Patience int     `json:"patience,omitempty" min:"1"`
	Factor   float64 `json:"factor,omitempty" above:"0" below:"1"`
	MinDelta float64 `json:"min_delta,omitempty" min:"0"`
	Cooldown int     `json:"cooldown,omitempty" min:"1"`
	MinLR    float64 `json:"min_lr,omitempty" min:"0"`
}

// resolveCallbacks checks what only the whole recipe can tell.
func (r *Recipe) resolveCallbacks() error {
	for _, group := range []struct {
		name  string
		given bool // without a patience
	}{
		{"early_stopping", r.EarlyStopping.Patience == 0 && r.EarlyStopping != EarlyStopping{}},
		{"reduce_lr", r.ReduceLR.Patience == 0 && r.ReduceLR != ReduceLR{}},
	} {
		if group.given {
			return usage(r.place(group.name), "%s needs %s.patience: after how many evaluations without improvement it acts", group.name, group.name)
		}
	}
	if r.EMA > 0 && r.SWA > 0 {
		return usage(r.place("swa"), "ema and swa are two averages of the same weights; give one of them")
	}
	if r.MaxTime != "" {
		d, err := time.ParseDuration(r.MaxTime)
		if err != nil || d <= 0 {
			return usage(r.place("max_time"), "max_time is %q, expected a duration such as 90s, 30m or 1h30m", r.MaxTime)
		}
	}
	return nil
}

// checkMonitors refuses quantities that a run of these metrics does not have.
func (r *Recipe) checkMonitors(metrics []metric.Metric) error {
	for _, m := range []struct{ key, name string }{{"early_stopping.monitor", r.EarlyStopping.Monitor}, {"reduce_lr.monitor", r.ReduceLR.Monitor}, {"checkpoint.monitor", r.Checkpoint.Monitor}} {
		if m.name == "" {
			continue
		}
		if err := checkQuantity(r.place(m.key), m.name, metrics); err != nil {
			return err
		}
	}
	return nil
}

func checkQuantity(place, name string, metrics []metric.Metric) error {
	known := []string{"loss", "test_loss"}
	for _, m := range metrics {
		known = append(known, m.Name(), "train_"+m.Name())
	}
	if slices.Contains(known, name) {
		return nil
	}
	return usage(place, "there is no %q in this run%s", name, Suggest(name, known))
}

// watchers are the recipe's callbacks: those that come before the log, which writes
// what they say, and those that come last.
func (r *Recipe) watchers(folder *rundir.Writer) (before, after []train.Callback) {
	before = append(before, train.TerminateOnNaN{}, train.LearningRateMonitor{}, &train.ThroughputMonitor{})
	if e := r.EarlyStopping; e.Patience > 0 {
		before = append(before, &train.EarlyStopping{Monitor: e.Monitor, Mode: train.Mode(e.Mode), Patience: e.Patience, MinDelta: e.MinDelta, From: e.From, RestoreBest: e.RestoreBest})
	}
	if p := r.ReduceLR; p.Patience > 0 {
		before = append(before, &train.ReduceLROnPlateau{Monitor: p.Monitor, Mode: train.Mode(p.Mode), Patience: p.Patience, Factor: p.Factor, MinDelta: p.MinDelta, Cooldown: p.Cooldown, MinLR: p.MinLR})
	}
	if r.MaxTime != "" {
		limit, _ := time.ParseDuration(r.MaxTime) // resolved
		before = append(before, &train.Timer{Limit: limit})
	}
	if r.CSV {
		after = append(after, &train.CSVLogger{Path: folder.File("metrics.csv"), Every: max(1, r.EvalEvery/10)})
	}
	if r.EMA > 0 {
		after = append(after, &train.EMA{Decay: r.EMA})
	}
	if r.SWA > 0 {
		after = append(after, &train.SWA{Start: r.SWA})
	}
	return before, after
}
