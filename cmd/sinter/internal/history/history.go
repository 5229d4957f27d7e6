// Package history reads run folders for those who look at runs: finished ones, ones
// that are being trained, ones that were killed, and damaged ones.
//
// Find looks for run folders, a Run holds what is known of one, and Refresh brings it
// up to date by reading what was added to metrics.jsonl since. Nothing that lies in a
// folder is trusted: files have largest sizes, a line that is no measurement is
// counted and passed over, and a folder that cannot be read is a Run with an Err.
//
// table.go has the measurements and how a million of them become a curve, log.go the
// reading of metrics.jsonl.
package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

// Damaged is the status of a folder that holds no run that can be read.
const Damaged = "damaged"

// Run is a run folder.
type Run struct {
	ID     string // the folder's path below where it was found, with slashes
	Dir    string
	Status string // of rundir, or Damaged
	Err    error  // why it is Damaged
	rundir.Manifest
	Log *Log

	manifest os.FileInfo // as it was read
}

// Open reads the run folder dir.
func Open(dir, id string) *Run {
	r := &Run{ID: id, Dir: dir, Log: NewLog(filepath.Join(dir, rundir.MetricsFile))}
	r.Refresh()
	return r
}

// Refresh reads what has changed, and tells whether anything has.
func (r *Run) Refresh() (changed bool) {
	name := filepath.Join(r.Dir, rundir.ManifestFile)
	before, failed := r.Status, r.Err != nil
	info, err := os.Stat(name)
	if r.manifest == nil || err != nil || !os.SameFile(info, r.manifest) || info.ModTime() != r.manifest.ModTime() || info.Size() != r.manifest.Size() {
		r.readManifest()
		changed = true
	}
	if r.Err == nil {
		r.Status = r.Manifest.StatusIn(r.Dir)
	}
	grown, err := r.Log.Follow()
	if err != nil && r.Err == nil {
		r.Err = fmt.Errorf("reading %s: %w", rundir.MetricsFile, err)
	}
	if r.Err != nil {
		r.Status = Damaged
		changed = !failed
	}
	return changed || grown || before != r.Status
}

// maxManifest is far more than any recipe with all classes and columns takes.
const maxManifest = 64 << 20

func (r *Run) readManifest() {
	r.Manifest, r.manifest = rundir.Manifest{}, nil
	name := filepath.Join(r.Dir, rundir.ManifestFile)
	info, err := os.Stat(name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxManifest) {
		r.Err = fmt.Errorf("%s is not a file of at most %d MiB", name, maxManifest>>20)
		return
	}
	m, err := rundir.Read(r.Dir)
	if r.Err = err; err == nil {
		r.Manifest, r.manifest = *m, info
	}
}

// Find lists the run folders in base and in folders of base that are none themselves,
// as searches leave them: what has a run.json, or a metrics.jsonl without one. The
// newest comes first; the names begin with a time only within one recipe, so what
// counts is when the run began.
func Find(base string) ([]*Run, error) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, err
	}
	var runs []*Run
	for _, e := range entries {
		id := e.Name()
		dir := filepath.Join(base, id)
		if strings.HasPrefix(id, ".") || !isDir(e, dir) {
			continue
		}
		if IsRun(dir) {
			runs = append(runs, Open(dir, id))
			continue
		}
		inner, err := os.ReadDir(dir)
		if err != nil {
			runs = append(runs, &Run{ID: id, Dir: dir, Status: Damaged, Err: err, Log: NewLog("")})
			continue
		}
		for _, e := range inner {
			sub := filepath.Join(dir, e.Name())
			if !strings.HasPrefix(e.Name(), ".") && isDir(e, sub) && IsRun(sub) {
				runs = append(runs, Open(sub, id+"/"+e.Name()))
			}
		}
	}
	Sort(runs)
	return runs, nil
}

// Sort puts the newest run first and damaged folders last.
func Sort(runs []*Run) {
	slices.SortStableFunc(runs, func(a, b *Run) int {
		if c := b.Started.Compare(a.Started); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}

func isDir(e fs.DirEntry, dir string) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// IsRun tells whether dir looks like a run folder, be it a damaged one.
func IsRun(dir string) bool {
	for _, name := range []string{rundir.ManifestFile, rundir.MetricsFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Results are what a run has come to, or had come to last.
type Results struct {
	Step, Steps      int // made, and to be made if that is known
	Epoch, Epochs    int
	Seconds          float64
	Left             float64 // seconds, NaN if unknown
	TrainLoss        float64 // of the epoch, else of the last step
	TestLoss         float64
	Metrics          map[string]float64 // on the test set; perplexity for a language model
	Parameters       int
	SamplesPerSecond float64
	PeakMemory       float64
	Precision        string
	Energy           *recipe.Consumption // nil where nothing was counted; of a run that has not ended the Usage is as of its last line
	Watts            float64             // NaN if unknown
}

// Results puts together what run.json says of a run that has ended and, before that,
// what its log says.
func (r *Run) Results() Results {
	nan := math.NaN()
	steps, evaluations := &r.Log.Steps, &r.Log.Evaluations
	out := Results{
		TrainLoss: nan, TestLoss: evaluations.Last("test/loss"), Metrics: map[string]float64{}, Left: nan,
		SamplesPerSecond: steps.Last("samples_per_second"), PeakMemory: steps.Last("memory"),
		Watts: steps.Last("power"),
	}
	if u := r.Log.Usage; u != nil {
		out.Energy = &recipe.Consumption{Usage: *u, KWh: recipe.Number(u.KWh()), JoulesPerSample: recipe.Number(steps.Last("joules_per_sample"))}
	}
	last := func(t *Table) {
		if n := t.Len(); n > 0 && (out.Step == 0 || t.Step[n-1] >= float64(out.Step)) {
			out.Step = int(t.Step[n-1])
			if present(t.Seconds[n-1]) {
				out.Seconds = t.Seconds[n-1]
			}
			if present(t.Epoch[n-1]) {
				out.Epoch = int(t.Epoch[n-1])
			}
		}
	}
	last(steps)
	last(evaluations)
	if out.TrainLoss = evaluations.Last("train/loss"); !present(out.TrainLoss) {
		out.TrainLoss = steps.Last("loss")
	}
	for _, name := range evaluations.Names() {
		if metric, ok := strings.CutPrefix(name, "test/"); ok && metric != "loss" {
			out.Metrics[metric] = evaluations.Last(name)
		}
	}
	var input struct {
		Task string `json:"task"`
	}
	json.Unmarshal(r.Input, &input)
	if input.Task == "language" && present(out.TestLoss) {
		out.Metrics["perplexity"] = math.Exp(out.TestLoss)
	}
	out.Steps, out.Epochs = r.limits()

	var said struct {
		Precision  *string             `json:"precision"`
		Steps      *int                `json:"steps"`
		Epochs     *int                `json:"epochs"`
		Parameters *int                `json:"parameters"`
		TrainLoss  *float64            `json:"train_loss"`
		TestLoss   *float64            `json:"test_loss"`
		Metrics    map[string]*float64 `json:"metrics"`
		Speed      *float64            `json:"samples_per_second"`
		Seconds    *float64            `json:"seconds"`
		Memory     *float64            `json:"peak_memory_bytes"`
		Energy     *recipe.Consumption `json:"energy"`
	}
	if r.Manifest.Status != rundir.Running && json.Unmarshal(r.Manifest.Results, &said) == nil {
		set(&out.Precision, said.Precision)
		set(&out.Step, said.Steps)
		set(&out.Epoch, said.Epochs)
		set(&out.Parameters, said.Parameters)
		set(&out.TrainLoss, said.TrainLoss)
		set(&out.TestLoss, said.TestLoss)
		set(&out.SamplesPerSecond, said.Speed)
		set(&out.Seconds, said.Seconds)
		set(&out.PeakMemory, said.Memory)
		if said.Energy != nil {
			out.Energy = said.Energy
		}
		for name, v := range said.Metrics {
			if v != nil {
				out.Metrics[name] = *v
			}
		}
	}
	if r.Status == rundir.Running && out.Step > 0 && out.Steps >= out.Step {
		out.Left = out.Seconds / float64(out.Step) * float64(out.Steps-out.Step)
	}
	return out
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// limits are how many steps and epochs the recipe asks for on this data, 0 where that
// cannot be told.
func (r *Run) limits() (steps, epochs int) {
	var recipe struct {
		Steps, Epochs, Batch int
	}
	if json.Unmarshal(r.Recipe, &recipe) != nil {
		return 0, 0
	}
	perEpoch := 0
	for _, d := range r.Data {
		if d.Role == "train" && recipe.Batch > 0 && d.Examples > 0 {
			perEpoch = (d.Examples-1)/recipe.Batch + 1
		}
	}
	steps, epochs = recipe.Steps, recipe.Epochs
	if perEpoch > 0 {
		if most := epochs * perEpoch; epochs > 0 && (steps == 0 || most < steps) {
			steps = most
		}
		if steps > 0 {
			epochs = (steps-1)/perEpoch + 1
		}
	}
	return steps, epochs
}

// StepsPerEpoch is how many steps an epoch has, 0 if that cannot be told: what the log
// shows where an epoch ends, else what recipe and data come to.
func (r *Run) StepsPerEpoch() float64 {
	for _, t := range []*Table{&r.Log.Evaluations, &r.Log.Steps} {
		for i := 1; i < t.Len(); i++ {
			if e := t.Epoch[i-1]; t.Epoch[i] > e && e > 0 {
				return math.Ceil(t.Step[i-1] / e)
			}
		}
	}
	if steps, epochs := r.limits(); steps > 0 && epochs > 0 {
		var recipe struct{ Batch int }
		json.Unmarshal(r.Recipe, &recipe)
		for _, d := range r.Data {
			if d.Role == "train" && recipe.Batch > 0 {
				return math.Ceil(float64(d.Examples) / float64(recipe.Batch))
			}
		}
	}
	return 0
}

// Score is the number that a run is judged by: the first of these metrics that it has,
// else the test loss, else the training loss. best tells whether more is better.
func (o *Results) Score() (name string, value float64, more bool) {
	for _, name := range []string{"accuracy", "r2", "rmse", "mae", "perplexity"} {
		if v, ok := o.Metrics[name]; ok && present(v) {
			return name, v, !train.LowerIsBetter(name)
		}
	}
	if present(o.TestLoss) {
		return "test loss", o.TestLoss, false
	}
	return "loss", o.TrainLoss, false
}

// Paused is why a run that is running waits, as its log says; empty if it does not.
func (r *Run) Paused() string {
	if r.Status != rundir.Running {
		return ""
	}
	for _, e := range slices.Backward(r.Log.Events) {
		if e.Kind == "pause" {
			why, _ := strings.CutPrefix(e.Text, "waits: ")
			if why == e.Text {
				return "" // it went on
			}
			return why
		}
	}
	return ""
}

// Setting is a key of a recipe with its value, both as text.
type Setting struct{ Key, Value string }

// Settings is a recipe as flat keys, "optimizer.lr", in the order in which the recipe
// has them.
func (r *Run) Settings() []Setting {
	var out []Setting
	flattenJSON("", r.Recipe, &out, 0)
	return out
}

// flattenJSON lists the leaves of an object; a list without objects in it is a leaf.
func flattenJSON(prefix string, text json.RawMessage, out *[]Setting, depth int) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(*out) >= 1000 {
		return
	}
	if text[0] == '{' && depth < 8 {
		d := json.NewDecoder(bytes.NewReader(text))
		if _, err := d.Token(); err != nil {
			return
		}
		for d.More() {
			key, err := d.Token()
			var value json.RawMessage
			if err != nil || d.Decode(&value) != nil {
				return
			}
			name, _ := key.(string)
			if prefix != "" {
				name = prefix + "." + name
			}
			flattenJSON(name, value, out, depth+1)
		}
		return
	}
	var s string
	if json.Unmarshal(text, &s) != nil {
		var compact bytes.Buffer
		if json.Compact(&compact, text) != nil {
			return
		}
		s = compact.String()
	}
	*out = append(*out, Setting{prefix, cut(s, maxText)})
}

// Checkpoint is a checkpoint of a run.
type Checkpoint struct {
	Name  string    `json:"name"`
	Time  time.Time `json:"time"`
	Bytes int64     `json:"bytes"`
}

// Checkpoints lists the checkpoints of a run by name, which is by step.
func (r *Run) Checkpoints() []Checkpoint {
	var out []Checkpoint
	dir := filepath.Join(r.Dir, "checkpoints")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		c := Checkpoint{Name: e.Name(), Time: info.ModTime()}
		files, _ := os.ReadDir(filepath.Join(dir, e.Name()))
		for _, f := range files {
			if info, err := f.Info(); err == nil && info.Mode().IsRegular() {
				c.Bytes += info.Size()
			}
		}
		out = append(out, c)
	}
	return out
}

// ReadFile reads a file of the run folder of at most so many bytes. It is nil where
// there is none.
func (r *Run) ReadFile(name string, most int64) ([]byte, error) {
	path := filepath.Join(r.Dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s is not a file of at most %d MiB", path, most>>20)
	}
	return os.ReadFile(path)
}

// Difference is a key whose value is not the same in all of several runs.
type Difference struct {
	Key    string   `json:"key"`
	Values []string `json:"values"` // one for each run; empty where it has no such key
}

// Differences are the settings in which runs differ, in the order of the recipe.
func Differences(runs []*Run) []Difference {
	var keys []string
	values := map[string][]string{}
	for i, r := range runs {
		for k, s := range r.Settings() {
			if s.Key == "about" {
				continue
			}
			if values[s.Key] == nil {
				values[s.Key] = make([]string, len(runs))
				keys = slices.Insert(keys, min(k, len(keys)), s.Key)
			}
			values[s.Key][i] = s.Value
		}
	}
	var out []Difference
	for _, key := range keys {
		v := values[key]
		if slices.ContainsFunc(v, func(other string) bool { return other != v[0] }) {
			out = append(out, Difference{key, v})
		}
	}
	return out
}
