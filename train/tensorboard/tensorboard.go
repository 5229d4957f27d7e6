// Package tensorboard lets TensorBoard follow a run: a [Logger] is a callback that
// writes event files (package format/tfevent).
//
//	trainer.Callbacks = append(trainer.Callbacks, &tensorboard.Logger{Dir: "runs/1"})
//
// What is shown is named as in other trainers: step/loss, step/lr, step/grad_norm and
// step/samples_per_second by steps; train/ and test/ with loss and metrics by
// evaluations; weights/… as histograms. Of a run with Trainer.Energy there are, by steps,
// power/watts (over the last second or two), energy/joules, energy/idle_joules,
// energy/grams and energy/cost (of the whole run so far), energy/joules_per_step and
// energy/joules_per_sample (of the steps since the last such number), and by epochs
// energy/joules_per_epoch.
package tensorboard

import (
	"fmt"
	"image"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/format/tfevent"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
)

// Logger writes an event file into a folder. It comes after the callbacks that log
// numbers of their own, which it writes as well. A file that cannot be written does
// not end the run: that is said once, by State.Warn.
type Logger struct {
	train.NopCallback

	Dir        string
	Every      int // steps between the numbers of steps; 0: so that there are about 2,000
	Histograms int // steps between histograms of weights; 0: with each evaluation, −1: none

	HParams map[string]any // numbers, strings and bools by name, for comparing runs
	Config  string         // a text to show, such as the recipe
	Images  []image.Image  // to show, such as training examples
	Graph   []nn.Operation // of the model: see nn.Graph

	phases  train.Phases // when numbers of steps were written last
	writer  *tfevent.Writer
	flushed time.Time
	failed  bool
}

// do goes on with a writer that works, and says once when it does not any more.
func (l *Logger) do(s *train.State, write func(w *tfevent.Writer) error) {
	if l.writer == nil {
		return
	}
	if err := write(l.writer); err != nil && !l.failed {
		l.failed = true
		s.Warn(fmt.Sprintf("TensorBoard will not see the rest of this run: writing into %s: %v", l.Dir, err))
	}
}

// OnTrainBegin makes the file and writes what is known beforehand.
func (l *Logger) OnTrainBegin(s *train.State) {
	l.failed, l.phases = false, s.Phases
	if l.Every == 0 {
		l.Every = max(1, s.Steps/2000)
	}
	err := os.MkdirAll(l.Dir, 0o777)
	if err == nil {
		l.writer, err = tfevent.Create(l.Dir)
	}
	if err != nil {
		l.writer = nil
		s.Warn("TensorBoard will not see this run: " + err.Error())
		return
	}
	l.do(s, func(w *tfevent.Writer) error {
		if s.Step > 0 {
			if err := w.Write(tfevent.Event{Step: int64(s.Step) + 1, SessionStart: true}); err != nil {
				return err
			}
		}
		if l.HParams != nil {
			if err := w.HParams(l.HParams, []string{"test/loss", "train/loss"}); err != nil {
				return err
			}
		}
		if l.Config != "" {
			if err := w.Text("recipe", 0, "    "+strings.ReplaceAll(strings.TrimSpace(l.Config), "\n", "\n    ")); err != nil {
				return err
			}
		}
		for i, picture := range l.Images {
			if err := w.Image(fmt.Sprintf("examples/%d", i), 0, picture); err != nil {
				return err
			}
		}
		if l.Graph != nil {
			if err := w.Graph(nodes(l.Graph)); err != nil {
				return err
			}
		}
		return w.Flush()
	})
	l.weights(s, l.Histograms >= 0 && s.Step == 0)
}

// nodes puts the operations of a layer into a box of its name.
func nodes(all []nn.Operation) []tfevent.Node {
	slashes := func(s string) string { return strings.ReplaceAll(s, ".", "/") }
	list := make([]tfevent.Node, len(all))
	for i, o := range all {
		n := tfevent.Node{Name: slashes(o.Name), Op: o.Op, Shape: []int64{}, Attrs: map[string]string{"dtype": o.DType}}
		for _, d := range o.Shape {
			n.Shape = append(n.Shape, int64(d))
		}
		for _, in := range o.Inputs {
			n.Inputs = append(n.Inputs, slashes(in))
		}
		list[i] = n
	}
	return list
}

// OnStep writes the numbers of a step.
func (l *Logger) OnStep(s *train.State) {
	if s.Step%l.Every == 0 || s.Step == 1 {
		l.do(s, func(w *tfevent.Writer) error {
			e := tfevent.Event{Step: int64(s.Step)}
			put(&e, "step/loss", s.Loss)
			put(&e, "step/lr", s.LR)
			put(&e, "step/epoch", float64(s.Epoch))
			if norm := s.Optimizer.GradNorm(); norm == norm {
				put(&e, "step/grad_norm", norm)
			}
			l.energy(&e, s)
			for _, v := range s.Logged() {
				if v.Name != "lr" {
					put(&e, "step/"+v.Name, v.Value)
				}
			}
			return w.Write(e)
		})
	}
	l.weights(s, l.Histograms > 0 && s.Step%l.Histograms == 0)
	// Often enough for who watches; a run of quick steps would else spend its time here.
	if now := time.Now(); now.Sub(l.flushed) >= time.Second {
		l.flushed = now
		l.do(s, (*tfevent.Writer).Flush)
	}
}

// energy adds what the run has used.
func (l *Logger) energy(e *tfevent.Event, s *train.State) {
	u := s.Usage
	if u.Seconds == 0 {
		return
	}
	if len(u.Parts) > 0 {
		put(e, "energy/joules", u.Joules)
		put(e, "energy/idle_joules", u.IdleJoules)
		put(e, "energy/grams", u.Grams)
		if s.Watts > 0 {
			put(e, "power/watts", s.Watts)
		}
		joules, steps := s.Phases.Train.Joules-l.phases.Train.Joules, s.Phases.Steps-l.phases.Steps
		if joules > 0 && steps > 0 { // else no sensor has been read since
			put(e, "energy/joules_per_step", joules/float64(steps))
			put(e, "energy/joules_per_sample", joules/float64(s.Phases.Samples-l.phases.Samples))
			l.phases = s.Phases
		}
	}
	if !u.Cost.IsZero() {
		put(e, "energy/cost", u.Cost.Amount)
	}
}

// OnEpochEnd writes the energy of the epoch.
func (l *Logger) OnEpochEnd(s *train.State) {
	if joules := s.Phases.Epoch.Joules; joules > 0 {
		l.do(s, func(w *tfevent.Writer) error {
			e := tfevent.Event{Step: int64(s.Step)}
			put(&e, "energy/joules_per_epoch", joules)
			return w.Write(e)
		})
	}
}

// put adds a number to an event.
func put(e *tfevent.Event, tag string, v float64) {
	f := float32(v)
	e.Values = append(e.Values, tfevent.Value{Tag: tag, Scalar: &f})
}

// weights writes histograms of the parameters.
func (l *Logger) weights(s *train.State, due bool) {
	if !due {
		return
	}
	l.do(s, func(w *tfevent.Writer) error {
		for _, v := range nn.Parameters(s.Model) {
			tag := "weights/" + strings.ReplaceAll(v.Name, ".", "/")
			if err := w.Histogram(tag, int64(s.Step), tfevent.NewHistogram(v.Value().Floats())); err != nil {
				return err
			}
		}
		return nil
	})
}

// OnEvaluate writes losses and metrics.
func (l *Logger) OnEvaluate(s *train.State) {
	l.do(s, func(w *tfevent.Writer) error {
		last := s.Last
		e := tfevent.Event{Step: int64(last.Step)}
		put(&e, "train/loss", last.TrainLoss)
		for _, v := range last.TrainMetrics {
			put(&e, "train/"+v.Name, v.Value)
		}
		if !math.IsNaN(last.TestLoss) {
			put(&e, "test/loss", last.TestLoss)
		}
		for _, v := range last.Metrics {
			put(&e, "test/"+v.Name, v.Value)
		}
		if err := w.Write(e); err != nil {
			return err
		}
		return w.Flush()
	})
	l.weights(s, l.Histograms == 0)
}

// OnTrainEnd says how the run ended and closes the file.
func (l *Logger) OnTrainEnd(s *train.State) {
	l.do(s, func(w *tfevent.Writer) error {
		if l.HParams == nil {
			return nil
		}
		return w.HParamsEnd(s.Err == nil)
	})
	l.do(s, (*tfevent.Writer).Close)
	l.writer = nil
}

// prThresholds is into how many thresholds PRCurve divides probabilities from 0 to 1.
const prThresholds = 127

// PRCurve is the precision-recall curve of a class (1 where there are two) at equally
// spaced thresholds of its probability, the form that TensorBoard shows. The scores of
// the ranking are log-odds, as of logits.
func PRCurve(m *metric.Ranking, class int) tfevent.PRCurve {
	scores, tp, fp := m.Counts(class)
	var c tfevent.PRCurve
	positive, negative := 0.0, 0.0
	if n := len(tp); n > 0 {
		positive, negative = tp[n-1], fp[n-1]
	}
	for i := range prThresholds {
		threshold := float64(i) / (prThresholds - 1)
		// The scores descend: those before n are at or above the threshold.
		n, _ := slices.BinarySearchFunc(scores, threshold, func(score, threshold float64) int {
			if 1/(1+math.Exp(-score)) >= threshold {
				return -1
			}
			return 1
		})
		t, f := 0.0, 0.0
		if n > 0 {
			t, f = tp[n-1], fp[n-1]
		}
		precision, recall := 1.0, 0.0
		if t+f > 0 {
			precision = t / (t + f)
		}
		if positive > 0 {
			recall = t / positive
		}
		c.TruePositives, c.FalsePositives = append(c.TruePositives, t), append(c.FalsePositives, f)
		c.TrueNegatives, c.FalseNegatives = append(c.TrueNegatives, negative-f), append(c.FalseNegatives, positive-t)
		c.Precision, c.Recall = append(c.Precision, precision), append(c.Recall, recall)
	}
	return c
}
