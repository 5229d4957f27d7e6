package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// Ranking is a measure of how well scores put the examples of a class before all
// others, whatever the threshold: see [AUC] and [AveragePrecision].
//
// It is exact, so it cannot forget scores as the other metrics do. It keeps each
// distinct score once, with the number of examples of the class and of others that
// have it: 12 bytes for each distinct float32, for each class (one, if there are
// two classes). One score may be that of up to 2³²−1 examples of each kind.
// Evaluating it costs a merge of what came since with what was there.
//
// Predictions are logits [N, C, …] or [N, …, C] with targets [N, …], or one score
// for each target, which is 1 or 0. Examples are ranked by the log-odds of a class,
// z − log Σ exp of the other logits, which puts them in the order of the softmax
// probability but does not run into 1; computed in float64, kept as float32.
// Targets outside of the classes are not counted.
type Ranking struct {
	name    string
	classes int
	measure func(rank []tally) float64
	rank    []*ranks // one for each class; only that of class 1, if there are two
}

// tally is a score with the number of examples that have it.
type tally struct {
	score    float32
	neg, pos uint32
}

// ranks are the scores of one class, in order up to sorted.
type ranks struct {
	tallies []tally
	sorted  int
}

// add puts an example in.
func (r *ranks) add(score float32, positive bool) {
	t := tally{score: score + 0} // −0 is 0
	if positive {
		t.pos = 1
	} else {
		t.neg = 1
	}
	r.tallies = append(r.tallies, t)
	// Not to keep what Value would put together, if nobody asks for it.
	if n := len(r.tallies); n >= 4096 && n >= 2*r.sorted {
		r.merge()
	}
}

// merge puts all in the order of scores, highest first, each score once.
func (r *ranks) merge() []tally {
	if r.sorted == len(r.tallies) {
		return r.tallies
	}
	old, fresh := r.tallies[:r.sorted], r.tallies[r.sorted:]
	slices.SortFunc(fresh, func(a, b tally) int { return cmp.Compare(b.score, a.score) })
	merged := make([]tally, 0, len(r.tallies))
	put := func(t tally) {
		if n := len(merged); n > 0 && cmp.Compare(merged[n-1].score, t.score) == 0 {
			merged[n-1].pos += t.pos
			merged[n-1].neg += t.neg
			return
		}
		merged = append(merged, t)
	}
	for len(old) > 0 && len(fresh) > 0 {
		if cmp.Compare(old[0].score, fresh[0].score) >= 0 {
			put(old[0])
			old = old[1:]
		} else {
			put(fresh[0])
			fresh = fresh[1:]
		}
	}
	for _, t := range old {
		put(t)
	}
	for _, t := range fresh {
		put(t)
	}
	r.tallies, r.sorted = merged, len(merged)
	return merged
}

func ranking(name string, classes int, measure func([]tally) float64) *Ranking {
	if classes < 2 {
		ir.Fail("metric."+name, "%d classes; expected at least 2", classes)
	}
	m := &Ranking{name: name, classes: classes, measure: measure}
	m.Reset()
	return m
}

// AUC is the area under the ROC curve: the probability that an example of the
// class has a higher score than one of another, equal scores counting half. With
// more than two classes it is the mean over the classes, each against the rest.
// Where there are no examples of a class, or only such, the area of that class is
// NaN and left out of the mean.
func AUC(classes int) *Ranking {
	return ranking("auc", classes, func(rank []tally) float64 {
		below, above, area := 0.0, 0.0, 0.0 // negatives and positives with higher scores; area in pairs
		for _, t := range rank {
			area += float64(t.neg) * (above + float64(t.pos)/2)
			above += float64(t.pos)
			below += float64(t.neg)
		}
		return area / (above * below) // NaN if there are none of a kind
	})
}

// AveragePrecision is Σ (Rₙ − Rₙ₋₁) Pₙ over the points of the precision-recall
// curve, without interpolation. With more than two classes it is the mean over the
// classes, each against the rest; one without examples is NaN and left out.
func AveragePrecision(classes int) *Ranking {
	return ranking("average_precision", classes, func(rank []tally) float64 {
		all, above, positive, total := 0.0, 0.0, 0.0, 0.0
		for _, t := range rank {
			positive += float64(t.pos)
		}
		for _, t := range rank {
			above += float64(t.pos)
			all += float64(t.pos) + float64(t.neg)
			total += float64(t.pos) * (above / all)
		}
		return total / positive
	})
}

// Name is "auc" or "average_precision".
func (m *Ranking) Name() string { return m.name }

// Reset forgets all batches.
func (m *Ranking) Reset() {
	n := m.classes
	if n == 2 {
		n = 1
	}
	m.rank = make([]*ranks, n)
	for k := range m.rank {
		m.rank[k] = new(ranks)
	}
}

// Update adds a batch. It panics with a *sinter.BuildError if a score is NaN, which
// has no place in an order.
func (m *Ranking) Update(pred, target *sinter.Tensor) {
	name := "metric." + m.name
	add := func(k int, score float64, positive bool) {
		if score != score {
			ir.Fail(name, "a score is not a number")
		}
		m.rank[k].add(float32(score), positive)
	}
	if m.classes == 2 && slices.Equal(pred.Shape(), target.Shape()) {
		pairs(name, pred, target, func(p, t float64) {
			if t == 0 || t == 1 {
				add(0, p, t == 1)
			}
		})
		return
	}
	v := view(name, pred, target, false)
	if v.n != m.classes {
		ir.Fail(name, "scores of %d classes for a metric of %d", v.n, m.classes)
	}
	logits, sorted := make([]float64, v.n), make([]float64, v.n)
	v.each(func(o int, t int64) {
		if t < 0 || t >= int64(v.n) {
			return
		}
		for k := range logits {
			logits[k] = float64(v.scores[o+k*v.stride])
		}
		if v.n == 2 {
			add(0, logits[1]-logits[0], t == 1)
			return
		}
		logOdds(logits, sorted)
		for k, odds := range logits {
			add(k, odds, int64(k) == t)
		}
	})
}

// logOdds replaces logits by the log-odds of the classes, z − log Σ exp of the others.
// Rows of the same numbers in another order, or all moved by the same amount, tie in
// truth, and do here: sums are taken over sorted differences.
func logOdds(z, sorted []float64) {
	top := slices.Max(z)
	for k := range z {
		z[k] -= top
		sorted[k] = z[k]
	}
	slices.Sort(sorted)
	total := 0.0
	for _, d := range sorted {
		total += math.Exp(d)
	}
	for k, d := range z {
		others := total - math.Exp(d)
		if others < total/2 { // where the difference would be mostly rounding
			others = 0
			left := true
			for _, e := range sorted {
				if left && e == d {
					left = false
					continue
				}
				others += math.Exp(e)
			}
		}
		z[k] = d - math.Log(others)
	}
}

// PerClass is the measure of each class against the rest; with two classes there is
// one, that of class 1.
func (m *Ranking) PerClass() []float64 {
	all := make([]float64, len(m.rank))
	for k, r := range m.rank {
		all[k] = m.measure(r.merge())
	}
	return all
}

// Value is the mean over the classes for which there is a value, NaN if there is
// none.
func (m *Ranking) Value() float64 {
	total, n := 0.0, 0.0
	for _, v := range m.PerClass() {
		if v == v {
			total += v
			n++
		}
	}
	return total / n
}

// PrecisionRecall is the curve of a class, 1 where there are two: precision and
// recall of the examples whose score is at least each threshold, thresholds
// ascending. As in scikit-learn there is one more point at the end, precision 1 at
// recall 0, without a threshold. Recall is 1 where there are no examples of the
// class.
func (m *Ranking) PrecisionRecall(class int) (precision, recall, thresholds []float64) {
	thresholds, tp, fp := m.Counts(class)
	for i := range tp {
		precision = append(precision, tp[i]/(tp[i]+fp[i]))
		if all := tp[len(tp)-1]; all > 0 {
			recall = append(recall, tp[i]/all)
		} else {
			recall = append(recall, 1)
		}
	}
	slices.Reverse(precision)
	slices.Reverse(recall)
	slices.Reverse(thresholds)
	return append(precision, 1), append(recall, 0), thresholds
}

// Counts are, for each distinct score of a class (1 where there are two), highest
// first, how many examples of the class (true positives) and of others (false
// positives) have at least that score.
func (m *Ranking) Counts(class int) (scores, tp, fp []float64) {
	pos, neg := 0.0, 0.0
	for _, t := range m.curve(class) {
		pos += float64(t.pos)
		neg += float64(t.neg)
		scores, tp, fp = append(scores, float64(t.score)), append(tp, pos), append(fp, neg)
	}
	return scores, tp, fp
}

// ROC is the curve of a class, 1 where there are two: the share of the others
// (false positive rate) and of the examples of the class (true positive rate) whose
// score is at least each threshold. Thresholds descend from +∞; rates of nothing
// are NaN.
func (m *Ranking) ROC(class int) (fpr, tpr, thresholds []float64) {
	scores, tp, fp := m.Counts(class)
	fpr, tpr = append([]float64{0}, fp...), append([]float64{0}, tp...)
	neg, pos := fpr[len(fpr)-1], tpr[len(tpr)-1]
	for i := range fpr {
		fpr[i] /= neg
		tpr[i] /= pos
	}
	return fpr, tpr, append([]float64{math.Inf(1)}, scores...)
}

func (m *Ranking) curve(class int) []tally {
	k := class
	if m.classes == 2 {
		k = class - 1
	}
	if k < 0 || k >= len(m.rank) {
		ir.Fail("metric."+m.name, "there is no curve of class %d of %d", class, m.classes)
	}
	return m.rank[k].merge()
}

// State is, for each class, the number of distinct scores and the scores with their
// counts.
func (m *Ranking) State() []float64 {
	var s []float64
	for _, r := range m.rank {
		rank := r.merge()
		s = append(s, float64(len(rank)))
		for _, t := range rank {
			s = append(s, float64(t.score), float64(t.neg), float64(t.pos))
		}
	}
	return s
}

// SetState returns to a state of as many classes.
func (m *Ranking) SetState(s []float64) error {
	rank := make([]*ranks, len(m.rank))
	for k := range rank {
		if len(s) == 0 || !(s[0] >= 0) || s[0] > float64(len(s)-1)/3 {
			return fmt.Errorf("metric: the state of %s is cut short or of another metric", m.name)
		}
		n := int(s[0])
		r := &ranks{tallies: make([]tally, n), sorted: n}
		for i := range r.tallies {
			v := s[1+3*i : 4+3*i]
			r.tallies[i] = tally{float32(v[0]), uint32(v[1]), uint32(v[2])}
			if i > 0 && !(r.tallies[i].score < r.tallies[i-1].score) {
				return fmt.Errorf("metric: the scores in the state of %s are not in order", m.name)
			}
		}
		rank[k], s = r, s[1+3*n:]
	}
	if len(s) > 0 {
		return fmt.Errorf("metric: the state of %s is longer than that of %d classes", m.name, m.classes)
	}
	m.rank = rank
	return nil
}
