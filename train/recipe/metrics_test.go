package recipe

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
)

// Each name that a recipe may give makes a metric of that name for the tasks that
// know it, and the tag of the key lists no other.
func TestMetricNames(t *testing.T) {
	field, _ := reflect.TypeFor[Recipe]().FieldByName("Metrics")
	tag := strings.Fields(field.Tag.Get("oneof"))
	in := Input{Classes: []string{"a", "b", "c"}, Encoder: &data.Encoder{Mean: 10, Std: 2}}
	var all []string
	for task, m := range tasksMetrics {
		in.Task = task
		all = append(all, m.known...)
		for i, made := range in.metrics(slices.DeleteFunc(slices.Clone(m.known), func(n string) bool { return n == "perplexity" })) {
			want := slices.DeleteFunc(slices.Clone(m.known), func(n string) bool { return n == "perplexity" })[i]
			if made.Name() != want {
				t.Errorf("%s is called %s", want, made.Name())
			}
		}
	}
	slices.Sort(tag)
	slices.Sort(all)
	if all = slices.Compact(all); !slices.Equal(tag, all) {
		t.Errorf("the tag has\n%v, the table\n%v", tag, all)
	}
	r := &Recipe{Metrics: []string{"accuracy", "r2"}}
	var wrong *UsageError
	if err := r.checkMetrics(data.Regression); !errors.As(err, &wrong) || !strings.Contains(err.Error(), `"accuracy" means nothing to regression; there are mae, mape`) {
		t.Errorf("got %v", err)
	}
}

// Targets are standardised for training; errors are in the target's unit.
func TestMetricsInUnit(t *testing.T) {
	in := Input{Task: data.Regression, Encoder: &data.Encoder{Mean: 10, Std: 2}}
	pred, target := sinter.FromFloats([]float32{0, 1}, 2, 1), sinter.FromFloats([]float32{1, 1}, 2, 1) // 10 for 12, and 12 for 12
	for name, want := range map[string]float64{"mae": 1, "mse": 2, "rmse": math.Sqrt2, "mape": 1. / 12} {
		m := in.metric(name)
		m.Update(pred, target)
		if got := m.Value(); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, expected %v", name, got, want)
		}
	}
}
