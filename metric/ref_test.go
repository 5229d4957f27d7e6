package metric

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
)

// number is a value that scikit-learn gives, NaN where it is null.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

type reference struct {
	Classification []struct {
		Name      string
		Classes   int
		Scores    []float32
		Targets   []int64
		Confusion [][]int64
		Values    map[string]number
		PerClass  map[string][]number `json:"per_class"`
		PR, ROC   [][]float64
	}
	Regression []struct {
		Name        string
		Predictions []float32
		Targets     []float32
		Values      map[string]number
	}
}

func load(t *testing.T) (r reference) {
	t.Helper()
	b, err := os.ReadFile("testdata/sklearn.json")
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil || len(r.Classification) < 10 || len(r.Regression) < 5 {
		t.Fatalf("the reference values: %v, %d and %d cases", err, len(r.Classification), len(r.Regression))
	}
	return r
}

func near(got, want float64) bool {
	return math.Abs(got-want) <= 1e-9*max(1, math.Abs(want)) || math.IsNaN(got) && math.IsNaN(want)
}

func curve(t *testing.T, name string, got, want []float64) {
	t.Helper()
	if !slices.EqualFunc(got, want, near) {
		t.Errorf("%s is\n     %v\nwant %v", name, got, want)
	}
}

// perClass are metrics with a value for each class.
type perClass interface {
	Metric
	PerClass() []float64
}

// TestScikitLearn compares with stored results of scikit-learn, in batches of
// several sizes, and stopped and resumed in the middle.
func TestScikitLearn(t *testing.T) {
	r := load(t)
	for _, c := range r.Classification {
		makers := map[string]func() Metric{
			"accuracy":          Accuracy,
			"top2":              func() Metric { return TopK(2) },
			"top3":              func() Metric { return TopK(3) },
			"perplexity":        Perplexity,
			"auc":               func() Metric { return AUC(c.Classes) },
			"average_precision": func() Metric { return AveragePrecision(c.Classes) },
		}
		for average, suffix := range averageSuffix {
			a := Average(average)
			if a == Binary && c.Classes != 2 {
				continue
			}
			makers["precision"+suffix] = func() Metric { return Precision(c.Classes, a) }
			makers["recall"+suffix] = func() Metric { return Recall(c.Classes, a) }
			makers["f1"+suffix] = func() Metric { return F1(c.Classes, a) }
			makers["f2"+suffix] = func() Metric { return FBeta(2, c.Classes, a) }
			makers["iou"+suffix] = func() Metric { return IoU(c.Classes, a) }
			makers["dice"+suffix] = func() Metric { return Dice(c.Classes, a) }
		}
		feed := func(m Metric, from, to, batch int) {
			for ; from < to; from += batch {
				n := min(batch, to-from)
				m.Update(sinter.FromFloats(c.Scores[from*c.Classes:(from+n)*c.Classes], n, c.Classes), sinter.FromInts(c.Targets[from:from+n], n))
			}
		}
		for name, want := range c.Values {
			make := makers[name]
			if make == nil {
				t.Fatalf("%s: there is no metric %s", c.Name, name)
			}
			whole, parts := make(), make()
			if whole.Name() != name {
				t.Errorf("%s calls itself %s", name, whole.Name())
			}
			n := len(c.Targets)
			feed(whole, 0, n, n)
			if got := whole.Value(); !near(got, float64(want)) {
				t.Errorf("%s: %s is %v, scikit-learn says %v", c.Name, name, got, want)
			}
			feed(parts, 0, n/2, 7)
			parts.Value()
			state := parts.State()
			parts = make()
			if err := parts.SetState(state); err != nil {
				t.Fatalf("%s: %s: %v", c.Name, name, err)
			}
			feed(parts, n/2, n, 7)
			if got := parts.Value(); got != whole.Value() && got == got && name != "perplexity" || !near(got, float64(want)) {
				t.Errorf("%s: %s is %v in batches and %v in one", c.Name, name, got, whole.Value())
			}
			if values, ok := c.PerClass[name]; ok {
				for k, v := range whole.(perClass).PerClass() {
					if !near(v, float64(values[k])) {
						t.Errorf("%s: %s of class %d is %v, scikit-learn says %v", c.Name, name, k, v, values[k])
					}
				}
			}
			whole.Reset()
			if v := whole.Value(); v == v {
				t.Errorf("%s of nothing is %v, want NaN", name, v)
			}
		}
		confusion := ConfusionMatrix(c.Classes)
		feed(confusion, 0, len(c.Targets), 11)
		for k, row := range confusion.Counts() {
			if !slices.Equal(row, c.Confusion[k]) {
				t.Errorf("%s: row %d of the confusion matrix is %v, want %v", c.Name, k, row, c.Confusion[k])
			}
		}
		if c.PR != nil {
			m := AUC(2)
			feed(m, 0, len(c.Targets), 9)
			precision, recall, thresholds := m.PrecisionRecall(1)
			curve(t, c.Name+": precision", precision, c.PR[0])
			curve(t, c.Name+": recall", recall, c.PR[1])
			curve(t, c.Name+": thresholds", thresholds, c.PR[2])
			if c.ROC != nil {
				fpr, tpr, thresholds := m.ROC(1)
				curve(t, c.Name+": false positive rate", fpr, c.ROC[0])
				curve(t, c.Name+": true positive rate", tpr, c.ROC[1])
				curve(t, c.Name+": thresholds of the ROC", thresholds[1:], c.ROC[2])
			}
		}
	}
	for _, c := range r.Regression {
		for _, m := range []Metric{MAE(), MSE(), RMSE(), R2(), MAPE()} {
			n := len(c.Targets)
			for _, part := range [][2]int{{0, n / 2}, {n / 2, n}} {
				p, y := c.Predictions[part[0]:part[1]], c.Targets[part[0]:part[1]]
				if len(p) > 0 {
					m.Update(sinter.FromFloats(p, len(p)), sinter.FromFloats(y, len(y)))
				}
			}
			if got, want := m.Value(), float64(c.Values[m.Name()]); !near(got, want) {
				t.Errorf("%s: %s is %v, scikit-learn says %v", c.Name, m.Name(), got, want)
			}
		}
	}
}

// One score for each target, and classes on axis 1 of images.
func TestForms(t *testing.T) {
	c := load(t).Classification[1]
	n := len(c.Targets)
	single := make([]float32, n)
	for i := range single {
		single[i] = c.Scores[2*i+1] - c.Scores[2*i]
	}
	for _, m := range []Metric{AUC(2), AveragePrecision(2), F1(2, Binary)} {
		m.Update(sinter.FromFloats(single, n, 1), sinter.FromInts(c.Targets, n, 1))
		if got, want := m.Value(), float64(c.Values[m.Name()]); !near(got, want) {
			t.Errorf("%s of single scores is %v, want %v", m.Name(), got, want)
		}
	}
	whole, image := IoU(2, Macro), IoU(2, Macro)
	whole.Update(sinter.FromFloats(c.Scores, n, 2), sinter.FromInts(c.Targets, n))
	image.Update(sinter.FromFloats(c.Scores, 4, n/8, 2, 2).Transpose(1, 3), sinter.FromInts(c.Targets, 4, n/8, 2).Transpose(1, 2))
	if whole.Value() != image.Value() {
		t.Errorf("IoU of images is %v, of the same pixels in a row %v", image.Value(), whole.Value())
	}
}

// TestRankingMemory: equal scores are kept once, even if nobody asks for the value.
func TestRankingMemory(t *testing.T) {
	m := AUC(2)
	scores := make([]float32, 2*1000)
	labels := make([]int64, 1000)
	for i := range labels {
		scores[2*i] = float32(i % 50)
		labels[i] = int64(i / 3 % 2)
	}
	for range 300 {
		m.Update(sinter.FromFloats(scores, 1000, 2), sinter.FromInts(labels, 1000))
	}
	if n := cap(m.rank[0].tallies); n > 3*4096 {
		t.Errorf("room for %d scores, of 50 different ones", n)
	}
	if n := len(m.State()); n != 1+3*50 {
		t.Errorf("a state of %d numbers", n)
	}
	for _, bad := range [][]float64{{}, {2, 1, 1, 1}, {1, 1, 1, 1, 5}, {2, 1, 1, 1, 1, 1, 1}, {math.NaN()}, {1e18}} {
		if m.SetState(bad) == nil {
			t.Errorf("the state %v was taken", bad)
		}
	}
}
