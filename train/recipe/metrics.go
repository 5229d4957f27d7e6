package recipe

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/metric"
	"github.com/sinter-dl/sinter/nn"
)

// What the key metrics knows for each task; its oneof tag has all of it.
const (
	classMetrics    = "accuracy top2 top3 top5 top10 precision precision_micro precision_weighted recall recall_micro recall_weighted f1 f1_micro f1_weighted dice iou auc average_precision"
	numberMetrics   = "mae mse rmse r2 mape"
	forecastMetrics = "mae mse rmse"
	languageMetrics = "perplexity accuracy top2 top3 top5 top10"
)

// tasksMetrics are the metrics of each task; the first ones are those that it has
// without being asked.
var tasksMetrics = map[data.Task]struct {
	known   []string
	usual   []string // in training and evaluations
	besides []string // where a model is measured once: what would cost too much at each step, or say little
}{
	data.Classification: {strings.Fields(classMetrics), []string{"accuracy"}, []string{"precision", "recall", "f1"}},
	data.Regression:     {strings.Fields(numberMetrics), []string{"mae", "rmse", "r2"}, nil},
	data.Forecast:       {strings.Fields(forecastMetrics), []string{"mae", "rmse"}, nil},
	data.Language:       {strings.Fields(languageMetrics), nil, nil},
}

// measures are the loss that a task is trained on and the metrics it is judged by.
func (in Input) measures(r *Recipe) (nn.Loss, []metric.Metric) {
	names := r.Metrics
	if len(names) == 0 {
		names = tasksMetrics[in.Task].usual
	}
	loss := nn.CrossEntropy
	switch in.Task {
	case data.Regression, data.Forecast:
		loss = nn.MSE // on the standardised target
	case data.Language:
		loss = nn.SequenceCrossEntropy
	}
	return loss, in.metrics(names)
}

// besides are metrics for a measurement at the end that are not among the given
// ones.
func (in Input) besides(has []metric.Metric) []metric.Metric {
	names := tasksMetrics[in.Task].besides
	if in.Task == data.Classification && len(in.Classes) == 2 {
		names = append(slices.Clone(names), "auc")
	}
	return slices.DeleteFunc(in.metrics(names), func(m metric.Metric) bool {
		return slices.ContainsFunc(has, func(h metric.Metric) bool { return h.Name() == m.Name() })
	})
}

// metrics makes the named metrics for a task.
func (in Input) metrics(names []string) []metric.Metric {
	var all []metric.Metric
	for _, name := range names {
		if name == "perplexity" {
			continue // it is exp of the loss: see metricsOf
		}
		all = append(all, in.metric(name))
	}
	return all
}

func (in Input) metric(name string) metric.Metric {
	classes := len(in.Classes)
	base, way, _ := strings.Cut(name, "_")
	average := map[string]metric.Average{"micro": metric.Micro, "weighted": metric.Weighted}[way]
	switch base {
	case "accuracy":
		return metric.Accuracy()
	case "precision":
		return metric.Precision(classes, average)
	case "recall":
		return metric.Recall(classes, average)
	case "f1":
		return metric.F1(classes, average)
	case "dice":
		return metric.Dice(classes, average)
	case "iou":
		return metric.IoU(classes, average)
	case "auc":
		return metric.AUC(classes)
	case "average":
		return metric.AveragePrecision(classes)
	case "mae": // trained on the standardised target, judged in its own unit
		return inUnit{metric.MAE(), in.unit()}
	case "mse":
		return inUnit{metric.MSE(), in.unit() * in.unit()}
	case "rmse":
		return inUnit{metric.RMSE(), in.unit()}
	case "r2":
		return metric.R2()
	case "mape":
		return inValues{metric.MAPE(), in.value}
	}
	if k, err := strconv.Atoi(strings.TrimPrefix(base, "top")); err == nil {
		return metric.TopK(k)
	}
	panic("recipe: unknown metric " + name)
}

// unit is what a standardised target of 1 is in the target's own unit.
func (in Input) unit() float64 {
	if in.Series != nil {
		return in.Series.Std()
	}
	return in.Encoder.Std
}

// value is what a standardised target says in its own unit.
func (in Input) value(standardised float64) float64 { return in.Encoder.Value(standardised) }

// baselines are measures of forecasts without a model, to compare with.
func baselines(set data.Dataset) map[string]Number {
	m := map[string]Number{}
	if c, ok := set.(interface{ Of() data.Dataset }); ok {
		set = c.Of()
	}
	if b, ok := set.(interface{ Baselines() map[string]float64 }); ok {
		for name, v := range b.Baselines() {
			m[name] = Number(v)
		}
	}
	return m
}

// checkMetrics refuses metrics that mean nothing to the task.
func (r *Recipe) checkMetrics(task data.Task) error {
	for _, name := range r.Metrics {
		if known := tasksMetrics[task].known; !slices.Contains(known, name) {
			return usage(r.place("metrics"), "the metric %q means nothing to %s; there are %s", name, task, list(known))
		}
	}
	return nil
}

// inUnit is an error measured on a standardised target, in the target's unit.
type inUnit struct {
	metric.Metric
	unit float64
}

func (m inUnit) Value() float64 { return m.Metric.Value() * m.unit }

// inValues is a measure of the values themselves, where the model has standardised
// ones.
type inValues struct {
	metric.Metric
	value func(standardised float64) float64
}

func (m inValues) Update(pred, target *sinter.Tensor) {
	m.Metric.Update(m.values(pred), m.values(target))
}

func (m inValues) values(t *sinter.Tensor) *sinter.Tensor {
	v := t.Float64s()
	for i, x := range v {
		v[i] = m.value(x)
	}
	return sinter.FromFloat64s(v, t.Shape()...)
}
