package metric

import (
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Average says how the measures of the single classes become one number.
type Average int

const (
	// Macro is the mean over the classes: each counts the same, however rare it is.
	// Classes that occur neither among targets nor among predictions are left out.
	Macro Average = iota
	// Micro counts over all classes together.
	Micro
	// Weighted is the mean over the classes, weighted by the number of targets.
	Weighted
	// Binary is the measure of class 1, "positive", alone.
	Binary
)

var averageSuffix = [...]string{"", "_micro", "_weighted", "_binary"}

// ByClass is a measure that follows from how often each class was found (true
// positives), found where it was not (false positives) and missed (false
// negatives). Its memory is three numbers for each class.
//
// Predictions are scores [N, C, …] or [N, …, C] with targets [N, …], of which the
// largest counts; with [Binary] they may also be one score for each target, which
// is positive above the threshold. Targets outside of the classes, such as an
// ignored −100, are not counted.
//
// A quotient 0/0 counts as 0, which is the default of scikit-learn (zero_division).
type ByClass struct {
	name       string
	average    Average
	threshold  float64
	quotient   func(tp, fp, fn float64) (numerator, denominator float64)
	tp, fp, fn []float64
	seen       float64 // targets counted
}

func byClass(name string, classes int, average Average, quotient func(tp, fp, fn float64) (float64, float64)) *ByClass {
	if classes < 1 || average < Macro || average > Binary || average == Binary && classes != 2 {
		ir.Fail("metric."+name, "%d classes with average %d; expected at least 1 class, 2 if it is Binary", classes, int(average))
	}
	return &ByClass{name: name + averageSuffix[average], average: average, quotient: quotient,
		tp: make([]float64, classes), fp: make([]float64, classes), fn: make([]float64, classes)}
}

// Precision is the share of the examples taken for a class that are of it:
// tp / (tp + fp).
func Precision(classes int, average Average) *ByClass {
	return byClass("precision", classes, average, func(tp, fp, fn float64) (float64, float64) { return tp, tp + fp })
}

// Recall is the share of the examples of a class that were taken for it:
// tp / (tp + fn). Its macro average is also known as balanced accuracy.
func Recall(classes int, average Average) *ByClass {
	return byClass("recall", classes, average, func(tp, fp, fn float64) (float64, float64) { return tp, tp + fn })
}

// F1 is the harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn).
func F1(classes int, average Average) *ByClass { return named("f1", FBeta(1, classes, average)) }

// Dice is another name of [F1], usual for segmentation.
func Dice(classes int, average Average) *ByClass { return named("dice", FBeta(1, classes, average)) }

// FBeta is the mean of precision and recall in which recall counts beta times as
// much: (1+β²) tp / ((1+β²) tp + fp + β² fn).
func FBeta(beta float64, classes int, average Average) *ByClass {
	b := beta * beta
	return byClass(fmt.Sprintf("f%g", beta), classes, average, func(tp, fp, fn float64) (float64, float64) {
		return (1 + b) * tp, (1+b)*tp + fp + b*fn
	})
}

// IoU is the Jaccard index, intersection over union: tp / (tp + fp + fn). For
// segmentation the scores are [N, C, H, W] and the targets [N, H, W]; its macro
// average is the mean IoU.
func IoU(classes int, average Average) *ByClass {
	return byClass("iou", classes, average, func(tp, fp, fn float64) (float64, float64) { return tp, tp + fp + fn })
}

func named(name string, m *ByClass) *ByClass {
	m.name = name + averageSuffix[m.average]
	return m
}

// Threshold sets above which score an example is positive, where there is one score
// for each target: 0, the default, for logits, 0.5 for probabilities.
func (m *ByClass) Threshold(t float64) *ByClass {
	m.threshold = t
	return m
}

// Name is lower case, with the average unless that is Macro: "f1", "f1_micro".
func (m *ByClass) Name() string { return m.name }

// Update adds a batch.
func (m *ByClass) Update(pred, target *sinter.Tensor) {
	name := "metric." + m.name
	count := func(predicted int, t int64) {
		if t < 0 || t >= int64(len(m.tp)) {
			return
		}
		m.seen++
		if int64(predicted) == t {
			m.tp[t]++
			return
		}
		m.fp[predicted]++
		m.fn[t]++
	}
	if m.average == Binary && slices.Equal(pred.Shape(), target.Shape()) {
		pairs(name, pred, target, func(p, t float64) {
			predicted := 0
			if p > m.threshold {
				predicted = 1
			}
			count(predicted, int64(t))
		})
		return
	}
	v := view(name, pred, target, false)
	if v.n != len(m.tp) {
		ir.Fail(name, "scores of %d classes for a metric of %d", v.n, len(m.tp))
	}
	v.each(func(o int, t int64) { count(v.argmax(o), t) })
}

// PerClass is the measure of each class: 0 for one that does not occur.
func (m *ByClass) PerClass() []float64 {
	all := make([]float64, len(m.tp))
	for k := range all {
		all[k] = m.of(m.tp[k], m.fp[k], m.fn[k])
	}
	return all
}

func (m *ByClass) of(tp, fp, fn float64) float64 {
	n, d := m.quotient(tp, fp, fn)
	if d == 0 {
		return 0
	}
	return n / d
}

// Value is the average over the classes; NaN if there were no examples.
func (m *ByClass) Value() float64 {
	if m.seen == 0 {
		return math.NaN()
	}
	switch m.average {
	case Binary:
		return m.of(m.tp[1], m.fp[1], m.fn[1])
	case Micro:
		return m.of(sum(m.tp), sum(m.fp), sum(m.fn))
	}
	total, weight := 0.0, 0.0
	for k, v := range m.PerClass() {
		w := m.tp[k] + m.fn[k]
		if m.average == Macro {
			w = min(1, w+m.fp[k])
		}
		total += w * v
		weight += w
	}
	return total / weight
}

func sum(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s
}

// Reset forgets all batches.
func (m *ByClass) Reset() {
	clear(m.tp)
	clear(m.fp)
	clear(m.fn)
	m.seen = 0
}

// State is the counts: true positives, false positives and false negatives of the
// classes, and all.
func (m *ByClass) State() []float64 {
	return append(slices.Concat(m.tp, m.fp, m.fn), m.seen)
}

// SetState returns to a state of as many classes.
func (m *ByClass) SetState(s []float64) error {
	n := len(m.tp)
	if len(s) != 3*n+1 {
		return fmt.Errorf("metric: the state of %s has %d numbers, expected %d for %d classes", m.name, len(s), 3*n+1, n)
	}
	copy(m.tp, s)
	copy(m.fp, s[n:])
	copy(m.fn, s[2*n:])
	m.seen = s[3*n]
	return nil
}
