package train

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Quantity is a measure of the run by its name: "loss" is the mean training loss
// over the epoch so far, "test_loss" that of the last evaluation; a metric's name
// ("accuracy") is its value on the test set in the last evaluation, and with "train_"
// before it that on the batches trained on. NaN is a value that there is none of yet.
// An error names the quantities that there are.
func (s *State) Quantity(name string) (float64, error) {
	switch name {
	case "loss", "train_loss":
		return s.TrainLoss, nil
	case "test_loss":
		if s.Last == nil {
			return math.NaN(), nil
		}
		return s.Last.TestLoss, nil
	}
	trained := func(v Value) bool { return v.Name == strings.TrimPrefix(name, "train_") }
	if i := slices.IndexFunc(s.TrainMetrics, trained); i >= 0 && strings.HasPrefix(name, "train_") {
		return s.TrainMetrics[i].Value, nil
	}
	if s.Last != nil {
		if i := slices.IndexFunc(s.Last.Metrics, func(v Value) bool { return v.Name == name }); i >= 0 {
			return s.Last.Metrics[i].Value, nil
		}
	}
	known := []string{"loss", "test_loss"}
	for _, v := range s.TrainMetrics {
		if v.Name == name { // not evaluated yet
			return math.NaN(), nil
		}
		known = append(known, v.Name, "train_"+v.Name)
	}
	return 0, fmt.Errorf("train: there is no quantity %q to watch; there are %s", name, strings.Join(known, ", "))
}

// Mode says which way a quantity is better.
type Mode string

// The modes have Keras' names.
const (
	Auto Mode = ""    // by the quantity's name, see LowerIsBetter
	Min  Mode = "min" // lower is better
	Max  Mode = "max" // higher is better
)

// LowerIsBetter tells whether a quantity of this name is an error: losses, perplexity,
// and the errors of a regression. All others, such as accuracies, are better when
// higher.
func LowerIsBetter(name string) bool {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "train_"), "test_")
	return strings.HasSuffix(name, "loss") || slices.Contains([]string{"mae", "mse", "rmse", "mape", "perplexity"}, name)
}

// best keeps the best value of a quantity.
type best struct {
	Value float64 `json:"value"`
	Step  int     `json:"step"`
	Seen  bool    `json:"seen"`
}

// improve tells whether value is better than the best by more than delta, and keeps it
// then. A NaN never is.
func (b *best) improve(name string, mode Mode, value, delta float64, step int) bool {
	if math.IsNaN(value) {
		return false
	}
	lower := mode == Min || mode == Auto && LowerIsBetter(name)
	if b.Seen && (lower && value >= b.Value-delta || !lower && value <= b.Value+delta) {
		return false
	}
	*b = best{value, step, true}
	return true
}

// Log adds a number to what the run's log says of the present step or evaluation.
// Callbacks that log come before those that write: the log, CSVLogger, TensorBoard.
func (s *State) Log(name string, value float64) {
	if i := slices.IndexFunc(s.logged, func(v Value) bool { return v.Name == name }); i >= 0 {
		s.logged[i].Value = value
		return
	}
	s.logged = append(s.logged, Value{name, value})
}

// Logged is what callbacks have logged since the last step began. It must be used
// before the next.
func (s *State) Logged() []Value { return s.logged }
