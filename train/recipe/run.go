package recipe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/format/safetensors"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/checkpoint"
	"github.com/sinter-dl/sinter/train/live"
	"github.com/sinter-dl/sinter/train/rundir"
)

// RunOptions say where a job leaves its results and who watches it.
type RunOptions struct {
	Dir       string // of the run folder; runs/<recipe>-<time> if empty
	Callbacks []train.Callback
	// Begin is told of the folder before training.
	Begin func(folder *rundir.Writer)
	Warn  func(message string) // see train.Trainer
	// Finish may write further files into the folder at the end of the run.
	Finish func(folder *rundir.Writer, result *Result) error
}

// Result is what came out of a job.
type Result struct {
	Recipe           string            `json:"recipe"`
	Status           string            `json:"status"` // as in rundir.Manifest
	Device           string            `json:"device"`
	Precision        string            `json:"precision"`
	Seed             uint64            `json:"seed"`
	Epochs           int               `json:"epochs"`
	Steps            int               `json:"steps"`
	Skipped          int               `json:"skipped_steps,omitempty"` // of them, for the scaled loss overflowed
	Parameters       int               `json:"parameters"`
	TrainLoss        Number            `json:"train_loss"`
	TestLoss         Number            `json:"test_loss"`
	Metrics          map[string]Number `json:"metrics"` // on the test set
	Confusions       []Confusion       `json:"confusions,omitempty"`
	SamplesPerSecond Number            `json:"samples_per_second"`
	Seconds          Number            `json:"seconds"`
	PeakMemory       int64             `json:"peak_memory_bytes"`
	PeakMemorySource string            `json:"peak_memory_source"`
	UploadedPerStep  Number            `json:"uploaded_bytes_per_step,omitempty"` // from the host to the device
	Energy           *Consumption      `json:"energy,omitempty"`                  // nil where nothing was counted
	Planned          *Planned          `json:"planned,omitempty"`                 // what was planned beside what was measured
	Bad              []string          `json:"bad,omitempty"`                     // examples that were left out of training, and why
	Stopped          string            `json:"stopped,omitempty"`                 // why training ended before its last step, if a callback wanted it
	Run              string            `json:"run"`

	Report *train.Report `json:"-"`
}

// Number is a measurement; one that is not finite is null in JSON, which has no
// word for it.
type Number float64

// MarshalJSON writes the number or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', 8, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}

// Confusion is a class that was taken for another.
type Confusion struct {
	Class string `json:"class"`
	Taken string `json:"taken_for"`
	Count int64  `json:"count"`
	Of    int64  `json:"of"` // examples of the class
}

// Run trains, and writes the run folder, which is there from the beginning. A run
// that was interrupted or failed after its first step keeps it, with the weights it
// had: then there are both a result and an error. Before that, nothing is left.
func (j *Job) Run(ctx context.Context, o RunOptions) (*Result, error) {
	if j.Recipe.planned {
		return nil, errors.New("recipe: the job was prepared to be planned, and its weights have no values")
	}
	started := time.Now()
	if n := j.Recipe.Threads; n > 0 {
		sinter.SetThreads(n)
	}
	guard, done, err := j.Recipe.guard()
	if err != nil {
		if j.writer != nil {
			err = errors.Join(err, j.writer.Close())
		}
		return nil, err
	}
	defer done()
	folder, m, err := j.folder(o, started)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if o.Begin != nil {
		o.Begin(folder)
	}
	trainer := *j.Trainer
	trainer.Warn, trainer.Guard = o.Warn, guard
	if trainer.Energy = j.books(); trainer.Energy != nil && trainer.Energy.Meter != nil {
		defer trainer.Energy.Meter.Close()
	}
	trainer.Checkpoint = j.checkpoints(folder)
	before, after := j.Recipe.watchers(folder)
	control, err := newControl(folder)
	if err != nil {
		return nil, errors.Join(err, j.undo(folder))
	}
	control.settled = func(budget *string, celsius *float64) error { return j.settle(folder, m, budget, celsius) }
	before = append([]train.Callback{control}, before...)
	if j.Recipe.TensorBoard {
		after = append(after, j.tensorboard(folder))
	}
	after = append(after, live.Publish(live.Options{Dir: folder.Dir(), Recipe: j.Recipe.Name, Device: sinter.DeviceName()}))
	trainer.Callbacks = slices.Concat(before, []train.Callback{&logger{folder: folder, from: j.from}, newSampler(j, folder)}, o.Callbacks, after)
	report, runErr := trainer.Fit(ctx, j.Model, j.Source.Examples(), j.Source.Test)
	if report == nil {
		return nil, errors.Join(runErr, j.undo(folder))
	}
	closed := closing(trainer.Energy, report)
	status := rundir.Complete
	switch {
	case runErr == nil:
	case errors.As(runErr, new(*train.InterruptedError)):
		status = rundir.Interrupted
	default:
		status = rundir.Failed
	}
	result := &Result{
		Recipe: j.Recipe.Name, Status: status, Device: sinter.DeviceName(), Precision: j.Recipe.precision().Computed().String(), Seed: j.Recipe.Seed,
		Epochs: report.Epochs, Steps: report.Steps, Skipped: report.Skipped, Parameters: report.Parameters,
		TrainLoss: Number(report.TrainLoss), TestLoss: Number(report.TestLoss),
		Metrics:          metricsOf(j.Input.Task, report.TestLoss, report.Metrics),
		SamplesPerSecond: Number(report.SamplesPerSecond), Seconds: Number(report.Duration.Seconds()),
		PeakMemory: report.PeakMemory, PeakMemorySource: report.PeakMemorySource, UploadedPerStep: Number(report.UploadedPerStep),
		Stopped: report.Stopped, Run: folder.Dir(), Report: report,
	}
	maps.Copy(result.Metrics, baselines(j.Source.Test))
	for _, e := range report.Bad {
		result.Bad = append(result.Bad, e.Error())
	}
	if status == rundir.Complete && j.Source.Test != nil && j.Input.Task == data.Classification {
		scores, err := j.Input.score(ctx, j.Recipe, j.Model, j.Source.Test)
		if err != nil && ctx.Err() == nil {
			result.Status, runErr = rundir.Failed, err
		}
		result.Confusions = scores.Confusions
		maps.Copy(result.Metrics, scores.Metrics) // with those that are measured at the end only
		if j.Recipe.TensorBoard && scores.ranking != nil && err == nil {
			if err := prCurve(folder, scores.ranking, j.Input.Classes[1], report.Steps); err != nil {
				if trainer.Warn == nil {
					trainer.Warn = func(message string) { slog.Warn(message) }
				}
				trainer.Warn("TensorBoard has no precision-recall curve: " + err.Error())
			}
		}
	}
	if !errors.As(runErr, new(*train.DeviceError)) {
		result.Planned = j.planned(&trainer, report)
	}
	closed()
	if result.Energy = consumption(trainer.Energy, report); result.Energy != nil {
		result.Energy.UsedUp = errors.As(runErr, new(*train.BudgetError))
		result.Energy.Budget = j.Recipe.Budget
	}
	if err := j.finish(folder, m, o, result, runErr); err != nil {
		return nil, errors.Join(runErr, err)
	}
	return result, runErr
}

// folder is the run folder to write to, with what run.json says while the run is
// running.
func (j *Job) folder(o RunOptions, started time.Time) (*rundir.Writer, *rundir.Manifest, error) {
	if j.resumed != nil {
		return j.goOn(started)
	}
	m, err := j.manifest(started)
	if err != nil {
		return nil, nil, err
	}
	var folder *rundir.Writer
	if o.Dir != "" {
		folder, err = rundir.Create(o.Dir, m)
	} else {
		folder, err = rundir.CreateIn("runs", j.Recipe.Name, started, m)
	}
	if err == nil {
		if err = j.Input.Tokenizer.save(folder); err != nil {
			folder.Discard()
		}
	}
	return folder, m, err
}

// undo leaves no trace of a run that made no step.
func (j *Job) undo(folder *rundir.Writer) error {
	if j.resumed == nil {
		folder.Discard()
		return nil
	}
	return folder.WriteManifest(j.resumed)
}

// checkpoints is the recipe's key of that name for the Trainer.
func (j *Job) checkpoints(folder *rundir.Writer) train.Checkpoint {
	k := j.Recipe.Checkpoint
	if k.Off && j.from == nil {
		return train.Checkpoint{}
	}
	c := train.Checkpoint{
		Dir:        folder.File(rundir.CheckpointsDir),
		EverySteps: k.EverySteps, EveryEpochs: k.EveryEpochs, EveryTime: time.Duration(k.EveryMinutes * float64(time.Minute)),
		Keep: k.Keep, Best: k.Best, Monitor: k.Monitor, Mode: train.Mode(k.Mode), Sync: k.Sync,
		Log:    func() (int64, func() error) { return folder.LogSize(), folder.SyncLog },
		CutLog: folder.CutLog,
	}
	if j.Source.Test == nil && k.Monitor == "" {
		c.Best = 0 // there is no test loss
	}
	if j.from != nil {
		c.From = j.from.Path
	}
	return c
}

// manifest is what run.json says while the run is running.
func (j *Job) manifest(started time.Time) (*rundir.Manifest, error) {
	m := &rundir.Manifest{
		Name: j.Recipe.Name, Seed: j.Recipe.Seed,
		Versions: rundir.CurrentVersions(), Started: started,
		Data: []rundir.Source{{Role: "train", Path: j.Recipe.Data.Path, Examples: max(0, j.Source.Examples().Len()), SHA256: j.Source.Digest}},
	}
	if j.Source.Test != nil {
		m.Data = append(m.Data, rundir.Source{Role: "test", Path: cmp.Or(j.Recipe.Data.Test, j.Recipe.Data.Path),
			Examples: j.Source.Test.Len(), SHA256: j.Source.Digest})
	}
	err := errors.Join(describeDevice(m), encode(&m.Recipe, j.Recipe), encode(&m.Input, j.Input))
	return m, err
}

// describeDevice says what the run is on.
func describeDevice(m *rundir.Manifest) error {
	d, err := sinter.Device()
	m.Device, m.Model, m.Driver = d.Name, d.Model, d.Driver
	return err
}

// encode puts a part into the manifest.
func encode(to *json.RawMessage, part any) error {
	text, err := json.Marshal(part)
	if err != nil {
		return fmt.Errorf("writing %s: %w", rundir.ManifestFile, err)
	}
	*to = text
	return nil
}

func (j *Job) writeWeights(folder *rundir.Writer) error {
	var tensors []safetensors.Tensor
	for _, v := range nn.State(j.Model) {
		tensors = append(tensors, safetensors.Tensor{Name: v.Name, DType: v.DType(), Shape: v.Shape(), Load: v.Bytes})
	}
	meta := map[string]string{"format": "pt", "recipe": j.Recipe.Name}
	if err := safetensors.Write(folder.File(rundir.WeightsFile), tensors, meta); err != nil {
		return fmt.Errorf("writing the weights: %w", err)
	}
	return nil
}

// finish writes what a run has at its end.
func (j *Job) finish(folder *rundir.Writer, m *rundir.Manifest, o RunOptions, result *Result, runErr error) error {
	if !errors.As(runErr, new(*train.DeviceError)) { // else the weights are gone with the device
		if err := j.writeWeights(folder); err != nil {
			return err
		}
	}
	if o.Finish != nil {
		if err := o.Finish(folder, result); err != nil {
			return err
		}
	}
	m.Status, m.Finished = result.Status, time.Now()
	if runErr != nil {
		m.Error = runErr.Error()
	}
	var stopped *train.InterruptedError
	if errors.As(runErr, &stopped) {
		m.Stopped = stopped.Reason
	}
	if err := encode(&m.Results, result); err != nil {
		return err
	}
	return folder.Finish(m)
}

// Scores are a model's results on a dataset.
type Scores struct {
	Examples   int               `json:"examples"`
	Loss       Number            `json:"loss"`
	Metrics    map[string]Number `json:"metrics"`
	Confusions []Confusion       `json:"confusions,omitempty"`

	ranking *metric.Ranking // of the second of two classes
}

// score evaluates a model, with the confusions of a classification.
func (in Input) score(ctx context.Context, r *Recipe, model nn.Module, set data.Dataset) (Scores, error) {
	trainer := train.Trainer{Batch: r.Batch, Precision: r.precision(), Loader: r.loader()}
	trainer.Loss, trainer.Metrics = in.measures(r)
	trainer.Metrics = append(trainer.Metrics, in.besides(trainer.Metrics)...)
	judged := len(trainer.Metrics)
	var confusion *metric.Confusion
	if in.Task == data.Classification {
		confusion = metric.ConfusionMatrix(len(in.Classes))
		trainer.Metrics = append(trainer.Metrics, confusion)
	}
	loss, values, err := trainer.Evaluate(ctx, model, set)
	if err != nil {
		return Scores{}, err
	}
	s := Scores{Examples: set.Len(), Loss: Number(loss), Metrics: metricsOf(in.Task, loss, values[:judged])}
	maps.Copy(s.Metrics, baselines(set))
	if confusion != nil {
		s.Confusions = worst(confusion.Counts(), in.Classes)
	}
	for _, m := range trainer.Metrics {
		if r, ok := m.(*metric.Ranking); ok && len(in.Classes) == 2 {
			s.ranking = r
		}
	}
	return s, nil
}

// metricsOf names a task's results; the perplexity of a language model follows
// from its loss.
func metricsOf(task data.Task, loss float64, values []train.Value) map[string]Number {
	m := map[string]Number{}
	for _, v := range values {
		m[v.Name] = Number(v.Value)
	}
	if task == data.Language && !math.IsNaN(loss) {
		m["perplexity"] = Number(math.Exp(loss))
	}
	return m
}

// worst are the most frequent confusions, at most eight, none that happened only
// once.
func worst(counts [][]int64, classes []string) []Confusion {
	var all []Confusion
	for actual, row := range counts {
		var total int64
		for _, n := range row {
			total += n
		}
		for predicted, n := range row {
			if predicted != actual && n > 1 {
				all = append(all, Confusion{classes[actual], classes[predicted], n, total})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Confusion) int { return cmp.Compare(b.Count, a.Count) })
	return all[:min(8, len(all))]
}

// logger writes metrics.jsonl: steps, thinned out in long runs, and evaluations.
type logger struct {
	train.NopCallback
	folder   *rundir.Writer
	from     *checkpoint.Info // that the run goes on from
	every    int
	measured time.Time    // when a step's line last had what takes time to find out
	scale    float64      // of the loss, as logged last; 1 where losses are not scaled
	phases   train.Phases // as logged last
	paused   time.Time    // since when the run waits; zero if it does not
}

// What a line of metrics.jsonl is about.
const (
	eventStep       = "step"
	eventEvaluation = "evaluation"
	eventScaler     = "scaler"
	eventNote       = "note"
	eventCheckpoint = "checkpoint"
	eventPause      = "pause"
)

type stepRecord struct {
	Event    string  `json:"event"`
	Epoch    int     `json:"epoch"`
	Step     int     `json:"step"`
	Loss     Number  `json:"loss"`
	LR       Number  `json:"lr"`
	GradNorm *Number `json:"grad_norm,omitempty"`
	Seconds  float64 `json:"seconds"`
	// About once a second:
	SamplesPerSecond Number            `json:"samples_per_second,omitempty"` // over the last steps
	Logged           map[string]Number `json:"logged,omitempty"`             // by callbacks
	Memory           int64             `json:"memory,omitempty"`             // the most that the process has held, in bytes
	Uploaded         int64             `json:"uploaded,omitempty"`           // bytes that steps have copied to the device so far
	Power            float64           `json:"power,omitempty"`              // W, over the last second or two
	PerSample        float64           `json:"joules_per_sample,omitempty"`  // over the steps since the last such line
	Energy           *power.Usage      `json:"energy,omitempty"`             // of the whole run so far
}

type evaluationRecord struct {
	Event        string            `json:"event"`
	Epoch        int               `json:"epoch"`
	Step         int               `json:"step"`
	TrainLoss    Number            `json:"train_loss"`
	TrainMetrics map[string]Number `json:"train_metrics,omitempty"`
	TestLoss     Number            `json:"test_loss"`
	Metrics      map[string]Number `json:"metrics,omitempty"`
	Seconds      float64           `json:"seconds"`
	Energy       *power.Usage      `json:"energy,omitempty"` // of the whole run so far
}

// checkpointRecord is a checkpoint that has been written, or could not be.
type checkpointRecord struct {
	Event   string            `json:"event"`
	Step    int               `json:"step"`
	Name    string            `json:"name,omitempty"` // of its folder
	Bytes   int64             `json:"bytes,omitempty"`
	Score   *checkpoint.Score `json:"score,omitempty"`
	Stall   float64           `json:"stall_seconds"` // for which training stood still
	Seconds float64           `json:"seconds"`       // that writing took besides
	Error   string            `json:"error,omitempty"`
}

// scalerRecord is a change of the scale of the loss.
type scalerRecord struct {
	Event   string `json:"event"`
	Step    int    `json:"step"`
	Scale   Number `json:"scale"`
	Skipped int    `json:"skipped"` // steps so far that updated nothing
}

type noteRecord struct {
	Event string `json:"event"`
	Step  int    `json:"step"`
	Text  string `json:"text"`
}

func (l *logger) OnTrainBegin(s *train.State) {
	l.every = max(1, s.Steps/5000)
	l.scale, l.phases = s.Scale, s.Phases
	if c := l.from; c != nil { // the rest is in the log; this line came after what the checkpoint knows of it
		l.log(s, checkpointRecord{Event: eventCheckpoint, Step: c.Step, Name: c.Name, Bytes: c.Bytes, Score: c.Score})
		return
	}
	for _, note := range s.Notes {
		l.log(s, noteRecord{eventNote, s.Step, note})
	}
	if s.Scale != 1 {
		l.log(s, scalerRecord{eventScaler, s.Step, Number(s.Scale), s.Skipped})
	}
}

// OnCheckpoint logs a checkpoint.
func (l *logger) OnCheckpoint(s *train.State, c train.Saved) {
	r := checkpointRecord{Event: eventCheckpoint, Step: c.Step, Bytes: c.Bytes, Score: c.Score, Stall: c.Stall.Seconds(), Seconds: c.Took.Seconds()}
	if c.Err != nil {
		r.Error = c.Err.Error()
	} else {
		r.Name = filepath.Base(c.Path)
	}
	l.log(s, r)
}

func (l *logger) OnStep(s *train.State) {
	if s.Scale != l.scale {
		l.scale = s.Scale
		l.log(s, scalerRecord{eventScaler, s.Step, Number(s.Scale), s.Skipped})
	}
	if s.Step%l.every != 0 && s.Step != 1 {
		return
	}
	r := stepRecord{Event: eventStep, Epoch: s.Epoch, Step: s.Step, Loss: Number(s.Loss), LR: Number(s.LR), Seconds: s.Elapsed.Seconds()}
	if norm := Number(s.Optimizer.GradNorm()); norm == norm {
		r.GradNorm = &norm
	}
	if now := time.Now(); now.Sub(l.measured) > time.Second {
		l.measured = now
		r.Memory, _ = train.PeakMemory()
		r.Uploaded = s.Uploaded
		r.Power, r.Energy = s.Watts, logged(s.Usage)
		if joules, n := s.Phases.Train.Joules-l.phases.Train.Joules, s.Phases.Samples-l.phases.Samples; joules > 0 && n > 0 {
			r.PerSample, l.phases = joules/float64(n), s.Phases
		}
		for _, v := range s.Logged() {
			if v.Name == "samples_per_second" {
				r.SamplesPerSecond = Number(v.Value)
				continue
			}
			if r.Logged == nil {
				r.Logged = map[string]Number{}
			}
			r.Logged[v.Name] = Number(v.Value)
		}
	}
	l.log(s, r)
}

func (l *logger) OnEvaluate(s *train.State) {
	e := s.Last
	l.log(s, evaluationRecord{eventEvaluation, e.Epoch, e.Step, Number(e.TrainLoss), metricsOf("", 0, e.TrainMetrics),
		Number(e.TestLoss), metricsOf("", 0, e.Metrics), s.Elapsed.Seconds(), logged(s.Usage)})
}

// OnPause logs why the run waits, when that begins, and that it goes on.
func (l *logger) OnPause(s *train.State) {
	switch {
	case s.Paused == nil && !l.paused.IsZero():
		l.log(s, noteRecord{eventPause, s.Step, fmt.Sprintf("went on after %v", time.Since(l.paused).Round(time.Second))})
		l.paused = time.Time{}
	case s.Paused != nil && l.paused.IsZero():
		l.paused = time.Now()
		l.log(s, noteRecord{eventPause, s.Step, "waits: " + s.Paused.String()})
	}
}

// logged is a usage in a line of the log; nil where nothing was counted. Where its figures
// come from is not said again in every line.
func logged(u power.Usage) *power.Usage {
	if u.Seconds == 0 {
		return nil
	}
	u.Sources = nil
	return &u
}

// log adds a line. A log that cannot be written ends no run.
func (l *logger) log(s *train.State, record any) {
	if err := l.folder.Log(record); err != nil {
		s.Warn(err.Error())
	}
}
