package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/checkpoint"
	"github.com/sinter-dl/sinter/train/rundir"
)

// FinishedError is a run that has nothing left to do.
type FinishedError struct {
	Dir   string
	Steps int
}

func (e *FinishedError) Error() string {
	return fmt.Sprintf("%s is complete: it has made its %d steps; --epochs or --steps with a larger number makes more", e.Dir, e.Steps)
}

// Resume takes up the run in the folder dir where its newest checkpoint left it, or the
// one called from. The recipe is that of the run; change may raise its limits, epochs
// and steps, and set what no result depends on. Its data has to be what it was. The job
// holds the folder until it has been Run.
//
// A run that is complete is a *FinishedError, a damaged checkpoint an error that tells
// how to go on from the one before.
func Resume(dir, from string, change func(r *Recipe) error) (j *Job, err error) {
	writer, m, err := rundir.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			writer.Close()
		}
	}()
	name := filepath.Join(dir, rundir.ManifestFile)
	r, err := Parse(name, m.Recipe)
	if err != nil {
		return nil, fmt.Errorf("the recipe in %s: %w", name, err)
	}
	if err := change(r); err != nil {
		return nil, err
	}
	if err := r.Resolve(); err != nil {
		return nil, err
	}
	changed, err := changes(m.Recipe, r)
	if err != nil {
		return nil, err
	}
	used := spent(dir, m)
	var done struct {
		Steps  int
		Energy struct {
			UsedUp bool `json:"budget_used_up"`
		}
	}
	if m.Status == rundir.Complete {
		if err := json.Unmarshal(m.Results, &done); err != nil {
			return nil, fmt.Errorf("%s is damaged: its results: %w", name, err)
		}
		if len(changed) == 0 && from == "" {
			return nil, &FinishedError{dir, done.Steps}
		}
	}
	if b, err := r.budget(); err != nil {
		return nil, err
	} else if what, yes := b.Exceeded(used.Usage, power.Usage{}); yes {
		return nil, usage(r.place("budget"), "%s; a larger --budget goes on (a budget is for the whole run)", what)
	}
	if m.Status == rundir.Interrupted && json.Unmarshal(m.Results, &done) == nil && done.Energy.UsedUp && !slices.Contains(changed, "budget") {
		return nil, usage(r.place("budget"), "the run has come to the end of its budget of %s; a larger --budget goes on (a budget is for the whole run)", r.Budget)
	}
	// The checkpoint is looked at before the data, which may take long to read.
	at, err := findCheckpoint(dir, from)
	if err != nil {
		return nil, err
	}
	r.settled = true
	j, err = Prepare(r)
	if err != nil {
		return nil, err
	}
	if steps := j.Trainer.StepsFor(j.Source.Examples()); m.Status == rundir.Complete && steps <= done.Steps && from == "" {
		return nil, &FinishedError{dir, done.Steps}
	}
	if err := sameData(dir, m, j); err != nil {
		return nil, err
	}
	j.writer, j.resumed, j.from, j.spent = writer, m, at, used
	if at == nil {
		j.Source.Notes = append(j.Source.Notes, "the run has no checkpoint yet and begins anew")
	} else {
		j.Source.Notes = append(j.Source.Notes, fmt.Sprintf("going on after step %d", at.Step))
	}
	if used.Usage.Seconds > 0 {
		j.Source.Notes = append(j.Source.Notes, "the run has used "+usedText(used.Usage)+" so far")
	}
	for _, key := range changed {
		j.Source.Notes = append(j.Source.Notes, key+" is another than when the run began")
	}
	if d := sinter.DeviceName(); d != m.Device {
		j.Source.Notes = append(j.Source.Notes, fmt.Sprintf("the run was on %s and goes on on %s: the weights are the same, later results may differ in their last bits", m.Device, d))
	}
	if v := rundir.Version(); v != m.Versions.Sinter {
		j.Source.Notes = append(j.Source.Notes, fmt.Sprintf("the run was begun by sinter %s, this is %s: results may differ in their last bits", m.Versions.Sinter, v))
	}
	if slices.ContainsFunc(changed, func(key string) bool { return key == "epochs" || key == "steps" }) && r.Optimizer.stretches() {
		j.Source.Notes = append(j.Source.Notes, fmt.Sprintf("the learning rate goes on along the schedule %s of the new length", r.Optimizer.Schedule))
	}
	return j, nil
}

// Continue is Resume if there is a run in the folder dir, and Prepare if there is none:
// what a job wants that is started again and again with the same recipe. The run has to
// be of a recipe of this name. One that stopped by itself is a *UsageError, unless it has
// another budget now: whoever starts jobs again is not to go on with it.
func Continue(dir string, r *Recipe, change func(r *Recipe) error) (*Job, error) {
	if _, err := os.Stat(filepath.Join(dir, rundir.ManifestFile)); errors.Is(err, fs.ErrNotExist) {
		return Prepare(r)
	}
	m, err := rundir.Read(dir)
	if err != nil {
		return nil, err
	}
	if m.Name != r.Name {
		return nil, usage("--continue", "the run in %s is of the recipe %s, not of %s", dir, m.Name, r.Name)
	}
	return Resume(dir, "", func(was *Recipe) error {
		batch, accumulate, checkpointing, budget := was.Batch, was.Accumulate, was.ActivationCheckpointing, was.Budget
		if err := change(was); err != nil {
			return err
		}
		if was.MemoryLimit != "" { // they were chosen when the run began
			was.Batch, was.Accumulate, was.ActivationCheckpointing = batch, accumulate, checkpointing
		}
		if m.Status == rundir.Interrupted && m.Stopped != "" && was.Budget == budget {
			return usage("--continue", "the run in %s stopped by itself: %s; to go on all the same: sinter train --resume %s", dir, m.Stopped, dir)
		}
		return nil
	})
}

// stretches tells whether the schedule depends on the length of the run.
func (o Optimizer) stretches() bool {
	return slices.Contains([]string{"cosine", "one-cycle", "linear"}, o.Schedule) || o.Warmup > 0 && o.Warmup < 1
}

// changeable are the keys that a run may go on with other values of: its limits, and
// what changes no result.
var changeable = []string{"epochs", "steps", "threads", "device", "max_time", "budget", "energy.", "guard.", "csv", "checkpoint.", "data.path", "data.test", "data.workers", "data.prefetch", "data.cache"}

// changes lists the keys that a recipe has another value of than the one that was
// written down, and refuses those that the run depends on.
func changes(written json.RawMessage, r *Recipe) ([]string, error) {
	now, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var before, after map[string]any
	if err := errors.Join(json.Unmarshal(written, &before), json.Unmarshal(now, &after)); err != nil {
		return nil, err
	}
	was, is := map[string]string{}, map[string]string{}
	flatten(was, "", before)
	flatten(is, "", after)
	var changed []string
	for _, key := range slices.Sorted(maps.Keys(mergeKeys(was, is))) {
		if was[key] == is[key] {
			continue
		}
		if !slices.ContainsFunc(changeable, func(c string) bool { return key == c || strings.HasSuffix(c, ".") && strings.HasPrefix(key, c) }) {
			return nil, usage(r.place(key), "%s was %s and cannot become %s in a run that goes on; what may change while it runs stands in its %s", key, orNothing(was[key]), orNothing(is[key]), rundir.ControlFile)
		}
		changed = append(changed, key)
	}
	return changed, nil
}

func orNothing(value string) string {
	if value == "" {
		return "not given"
	}
	return value
}

func mergeKeys(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// flatten lists the values of an object by their paths, as JSON.
func flatten(to map[string]string, path string, v any) {
	if group, ok := v.(map[string]any); ok {
		for key, child := range group {
			flatten(to, strings.TrimPrefix(path+"."+key, "."), child)
		}
		return
	}
	text, _ := json.Marshal(v) // it was JSON
	to[path] = string(text)
}

// findCheckpoint is the whole checkpoint to go on from; nil if there is none yet.
func findCheckpoint(dir, from string) (*checkpoint.Info, error) {
	folder := filepath.Join(dir, rundir.CheckpointsDir)
	var path string
	var err error
	if from != "" {
		path, err = checkpoint.Find(folder, from)
	} else {
		path, err = checkpoint.Latest(folder)
	}
	if err != nil || path == "" {
		return nil, err
	}
	info, err := checkpoint.Stat(path)
	if err == nil {
		_, err = checkpoint.Read(path)
	}
	if errors.As(err, new(*checkpoint.DamagedError)) {
		if before := checkpoint.Before(path); before != "" {
			return nil, fmt.Errorf("%w; the one before it is whole: sinter train --resume %s --from %s", err, dir, filepath.Base(before))
		}
		return nil, fmt.Errorf("%w; there is none before it that is whole", err)
	}
	return &info, err
}

// sameData refuses to go on with other data.
func sameData(dir string, m *rundir.Manifest, j *Job) error {
	for _, d := range m.Data {
		if d.Role == "train" && d.SHA256 != j.Source.Digest {
			return fmt.Errorf("%s was trained on other data: that had the SHA-256 %s, %s has %s", dir, d.SHA256, j.Recipe.Data.Path, j.Source.Digest)
		}
	}
	return nil
}

// goOn takes the folder of a run that goes on.
func (j *Job) goOn(now time.Time) (*rundir.Writer, *rundir.Manifest, error) {
	m := *j.resumed
	m.Status, m.Error, m.Stopped, m.Results, m.Finished = rundir.Running, "", "", nil, time.Time{}
	step := 0
	if j.from != nil {
		step = j.from.Step
	}
	on := rundir.Resumption{Step: step, Time: now, Device: sinter.DeviceName()}
	if j.spent.Usage.Seconds > 0 {
		on.Usage = &j.spent.Usage
	}
	m.Resumed = append(slices.Clip(m.Resumed), on)
	err := describeDevice(&m)
	if err == nil {
		err = encode(&m.Recipe, j.Recipe)
	}
	if err == nil {
		err = j.writer.WriteManifest(&m)
	}
	if err == nil && j.from == nil { // now that run.json has what is only there
		err = j.writer.CutLog(0)
	}
	if err != nil {
		j.writer.Close()
		return nil, nil, fmt.Errorf("going on in %s: %w", j.writer.Dir(), err)
	}
	return j.writer, &m, nil
}
