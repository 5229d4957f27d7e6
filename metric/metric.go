// Package metric measures how good a model is, batch by batch.
//
// A [Metric] is updated with the model's result and the target of every batch and
// gives its value over all of them at any time. It works on the host, on tensors
// that the training step has evaluated already, and keeps sums only: the memory it
// takes does not grow with the data. The exceptions are measures of an order, AUC and
// average precision, which are exact and say at [Ranking] what they keep.
//
// Where scikit-learn has a measure of the name, values are its values with its
// defaults; the tests compare with them.
package metric

import (
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Metric is a measure that is built up batch by batch.
type Metric interface {
	// Name is short and lower case: "accuracy".
	Name() string
	// Update adds a batch. It panics with a *sinter.BuildError if the shapes do not
	// fit each other.
	Update(pred, target *sinter.Tensor)
	// Value is the measure over all batches since Reset; NaN if there were none.
	Value() float64
	// Reset forgets all batches.
	Reset()
	// State is all that the metric remembers of its batches. A metric of the same kind
	// that is given it with SetState goes on to the same bits.
	State() []float64
	// SetState returns to a state of State. It refuses one of another kind of metric,
	// and is then unchanged.
	SetState([]float64) error
}

// restore copies a state of a fixed length into the fields of a metric.
func restore(name string, state []float64, fields ...*float64) error {
	if len(state) != len(fields) {
		return fmt.Errorf("metric: the state of %s has %d numbers, expected %d: it is of another metric", name, len(state), len(fields))
	}
	for i, f := range fields {
		*f = state[i]
	}
	return nil
}

// classes is a view of scores over classes: position i has its scores at
// offset(i), a stride apart.
type classes struct {
	scores           []float32
	targets          []int64
	n, stride, inner int
}

// view reads scores [N, C, …] with targets [N, …], or [N, …, C] as language models
// give them, where the shapes leave no doubt; with doubt the classes are on axis 1,
// as in PyTorch. last decides for the last axis. Targets [N, C] that are probabilities,
// as those of mixed examples are, stand for the likeliest class.
func view(name string, pred, target *sinter.Tensor, last bool) classes {
	p, t := pred.Shape(), target.Shape()
	if target.DType().IsFloat() && len(p) == 2 && slices.Equal(p, t) {
		c := classes{target.Floats(), make([]int64, t[0]), t[1], 1, 1}
		for i := range c.targets {
			c.targets[i] = int64(c.argmax(i * t[1]))
		}
		c.scores = pred.Floats()
		return c
	}
	axis := -1
	for _, a := range []int{1, len(p) - 1} {
		if last && a != len(p)-1 || a >= len(p) {
			continue
		}
		if slices.Equal(slices.Delete(slices.Clone(p), a, a+1), t) {
			axis = a
			break
		}
	}
	if axis < 0 {
		ir.Fail(name, "scores of shape %v do not fit targets of shape %v; there has to be one more axis, for the classes", p, t)
	}
	inner := 1
	for _, d := range p[axis+1:] {
		inner *= d
	}
	return classes{pred.Floats(), target.Ints(), p[axis], inner, inner}
}

// each calls f with the scores' offset and the target of every position.
func (c classes) each(f func(offset int, target int64)) {
	for i, t := range c.targets {
		f(i/c.inner*c.n*c.inner+i%c.inner, t)
	}
}

// argmax is the first of the largest scores.
func (c classes) argmax(offset int) int {
	best := 0
	for k := 1; k < c.n; k++ {
		if c.scores[offset+k*c.stride] > c.scores[offset+best*c.stride] {
			best = k
		}
	}
	return best
}

// mean is a sum with its weight: the base of most metrics.
type mean struct {
	name       string
	sum, count float64
}

func (m *mean) Name() string { return m.name }
func (m *mean) Reset()       { m.sum, m.count = 0, 0 }
func (m *mean) Value() float64 {
	return m.sum / m.count // 0/0 is NaN
}

func (m *mean) State() []float64 { return []float64{m.sum, m.count} }
func (m *mean) SetState(s []float64) error {
	return restore(m.name, s, &m.sum, &m.count)
}

func (m *mean) add(v float64) { m.sum, m.count = m.sum+v, m.count+1 }

type accuracy struct {
	mean
	k int
}

// Accuracy is the share of examples whose largest score is that of the target:
// scores [N, C, …] or [N, …, C], targets [N, …].
func Accuracy() Metric { return &accuracy{mean{name: "accuracy"}, 1} }

// TopK is the share of examples whose target is among the k largest scores. Of equal
// scores those of lower classes count as larger, so that TopK(1) is Accuracy;
// scikit-learn's top_k_accuracy_score takes those of higher classes.
func TopK(k int) Metric { return &accuracy{mean{name: fmt.Sprintf("top%d", k)}, k} }

func (a *accuracy) Update(pred, target *sinter.Tensor) {
	c := view("metric."+a.name, pred, target, false)
	c.each(func(o int, t int64) {
		hit := 0.0
		if a.k == 1 {
			if int64(c.argmax(o)) == t {
				hit = 1
			}
		} else if t >= 0 && t < int64(c.n) {
			own := c.scores[o+int(t)*c.stride]
			above := 0
			for k := range c.n {
				if s := c.scores[o+k*c.stride]; s > own || s == own && k < int(t) {
					above++
				}
			}
			if above < a.k && own == own {
				hit = 1
			}
		}
		a.add(hit)
	})
}

type binary struct {
	mean
	threshold float64
}

// BinaryAccuracy is the share of elements that are on the right side of a
// threshold: 0.5 for probabilities, 0 for logits. Targets are 0 or 1, in the shape
// of the predictions.
func BinaryAccuracy(threshold float64) Metric {
	return &binary{mean{name: "accuracy"}, threshold}
}

func (b *binary) Update(pred, target *sinter.Tensor) {
	pairs("metric.BinaryAccuracy", pred, target, func(p, t float64) {
		hit := 0.0
		if (p > b.threshold) == (t > 0.5) {
			hit = 1
		}
		b.add(hit)
	})
}

// Confusion counts how often a class was taken for another; its Value is the
// accuracy.
type Confusion struct {
	counts [][]int64
}

// ConfusionMatrix makes a Confusion for a number of classes.
func ConfusionMatrix(classes int) *Confusion {
	c := &Confusion{make([][]int64, classes)}
	for i := range c.counts {
		c.counts[i] = make([]int64, classes)
	}
	return c
}

// Name is "confusion".
func (c *Confusion) Name() string { return "confusion" }

// Update adds scores and targets as for [Accuracy]. Targets outside of the classes,
// such as an ignored −100, are not counted.
func (c *Confusion) Update(pred, target *sinter.Tensor) {
	v := view("metric.ConfusionMatrix", pred, target, false)
	if v.n > len(c.counts) {
		ir.Fail("metric.ConfusionMatrix", "scores of %d classes in a matrix of %d", v.n, len(c.counts))
	}
	v.each(func(o int, t int64) {
		if t >= 0 && t < int64(len(c.counts)) {
			c.counts[t][v.argmax(o)]++
		}
	})
}

// Counts has a row for every true class and a column for every predicted one.
func (c *Confusion) Counts() [][]int64 {
	m := make([][]int64, len(c.counts))
	for i, row := range c.counts {
		m[i] = slices.Clone(row)
	}
	return m
}

// Value is the share on the diagonal.
func (c *Confusion) Value() float64 {
	var right, all int64
	for i, row := range c.counts {
		right += row[i]
		for _, n := range row {
			all += n
		}
	}
	return float64(right) / float64(all)
}

// Reset sets all counts to zero.
func (c *Confusion) Reset() {
	for _, row := range c.counts {
		clear(row)
	}
}

// State is the matrix, row by row. Counts are exact up to 2⁵³.
func (c *Confusion) State() []float64 {
	var s []float64
	for _, row := range c.counts {
		for _, n := range row {
			s = append(s, float64(n))
		}
	}
	return s
}

// SetState returns to a state of a matrix for as many classes.
func (c *Confusion) SetState(s []float64) error {
	n := len(c.counts)
	if len(s) != n*n {
		return fmt.Errorf("metric: the state of a confusion matrix has %d numbers, expected %d for %d classes", len(s), n*n, n)
	}
	for i, v := range s {
		if v < 0 || v > 1<<53 || v != math.Trunc(v) {
			return fmt.Errorf("metric: the state of a confusion matrix has %v at %d, expected a count", v, i)
		}
	}
	for i, v := range s {
		c.counts[i/n][i%n] = int64(v)
	}
	return nil
}

type deviation struct {
	mean
	term func(d float64) float64
	root bool
}

// MAE is the mean absolute error, in the target's unit.
func MAE() Metric { return &deviation{mean{name: "mae"}, math.Abs, false} }

// RMSE is the root of the mean squared error, in the target's unit.
func RMSE() Metric {
	return &deviation{mean{name: "rmse"}, func(d float64) float64 { return d * d }, true}
}

// MSE is the mean squared error, in the square of the target's unit.
func MSE() Metric {
	return &deviation{mean{name: "mse"}, func(d float64) float64 { return d * d }, false}
}

type mape struct{ mean }

// MAPE is the mean absolute percentage error as a fraction: the mean of |p − t| / |t|,
// where |t| is at least the smallest step above 1 in float64, 2⁻⁵², so that a target of 0
// gives a very large value and not an infinite one.
func MAPE() Metric { return &mape{mean{name: "mape"}} }

func (m *mape) Update(pred, target *sinter.Tensor) {
	pairs("metric.mape", pred, target, func(p, t float64) {
		m.add(math.Abs(p-t) / max(math.Abs(t), 0x1p-52))
	})
}

func (d *deviation) Update(pred, target *sinter.Tensor) {
	pairs("metric."+d.name, pred, target, func(p, t float64) { d.add(d.term(p - t)) })
}

func (d *deviation) Value() float64 {
	if d.root {
		return math.Sqrt(d.mean.Value())
	}
	return d.mean.Value()
}

type r2 struct {
	n                      float64
	center, spread, errors float64
}

// R2 is the coefficient of determination: 1 minus the squared errors over the
// squared deviations from the mean target. 1 is perfect, 0 as good as always
// predicting the mean, less is worse. All elements count as one variable. Where all
// targets are equal it is 1 if all predictions are right and else 0; of fewer than two
// it is NaN.
func R2() Metric { return new(r2) }

func (r *r2) Name() string { return "r2" }
func (r *r2) Reset()       { *r = r2{} }

func (r *r2) State() []float64 { return []float64{r.n, r.center, r.spread, r.errors} }
func (r *r2) SetState(s []float64) error {
	return restore("r2", s, &r.n, &r.center, &r.spread, &r.errors)
}

func (r *r2) Update(pred, target *sinter.Tensor) {
	// Welford's update: sums of squares would cancel for targets far from zero.
	pairs("metric.R2", pred, target, func(p, t float64) {
		r.n++
		d := t - r.center
		r.center += d / r.n
		r.spread += d * (t - r.center)
		r.errors += (p - t) * (p - t)
	})
}

func (r *r2) Value() float64 {
	switch {
	case r.n < 2:
		return math.NaN()
	case r.spread == 0 && r.errors == 0:
		return 1
	case r.spread == 0:
		return 0
	}
	return 1 - r.errors/r.spread
}

type perplexity struct{ mean }

// Perplexity is e to the mean cross-entropy of logits [..., V] and targets [...]:
// among how many equally likely words the model hesitates. Targets outside of the
// vocabulary, such as an ignored −100, are not counted.
func Perplexity() Metric { return &perplexity{mean{name: "perplexity"}} }

func (p *perplexity) Update(pred, target *sinter.Tensor) {
	c := view("metric.Perplexity", pred, target, true)
	c.each(func(o int, t int64) {
		if t < 0 || t >= int64(c.n) {
			return
		}
		row := c.scores[o : o+c.n]
		top := float64(slices.Max(row)) // NaN if there is one
		sum := 0.0
		for _, s := range row {
			sum += math.Exp(float64(s) - top)
		}
		p.add(top + math.Log(sum) - float64(row[t]))
	})
}

func (p *perplexity) Value() float64 { return math.Exp(p.mean.Value()) }

type meanLoss struct {
	mean
	loss func(pred, target *sinter.Tensor) *sinter.Tensor
}

// MeanLoss is the mean of a loss over all examples: each batch counts by its size.
func MeanLoss(name string, loss func(pred, target *sinter.Tensor) *sinter.Tensor) Metric {
	return &meanLoss{mean{name: name}, loss}
}

func (m *meanLoss) Update(pred, target *sinter.Tensor) {
	n := float64(target.Dim(0))
	m.sum += n * m.loss(pred, target).Float()
	m.count += n
}

// pairs calls f with the elements of two tensors of one shape.
func pairs(name string, pred, target *sinter.Tensor, f func(p, t float64)) {
	if !slices.Equal(pred.Shape(), target.Shape()) {
		ir.Fail(name, "predictions of shape %v and targets of shape %v; they have to be equal", pred.Shape(), target.Shape())
	}
	t := target.Float64s()
	for i, p := range pred.Float64s() {
		f(p, t[i])
	}
}
