package train

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
)

// scratched is a dataset some of whose examples cannot be read.
type scratched struct {
	data.Dataset
	bad map[int]bool
}

func (s scratched) Read(i int, dst [][]byte) error {
	if s.bad[i] {
		return fmt.Errorf("picture %d is cut", i)
	}
	return s.Dataset.Read(i, dst)
}

// Runs that leave out bad examples, whose epochs are so shorter than was thought, and runs
// on streams go on to the same weights, behind whichever step they were stopped.
func TestResumeOfLoaders(t *testing.T) {
	set := scratched{line(t, 43), map[int]bool{3: true, 9: true, 10: true, 20: true, 42: true, 41: true, 40: true, 39: true}}
	order := make([]int, 0, 4*43)
	for e := range 4 {
		part := make([]int, 43)
		if err := (data.RandomSampler{}).Sample(part, 43, 9, e); err != nil {
			t.Fatal(err)
		}
		order = append(order, part...)
	}
	for _, c := range []struct {
		name       string
		set        data.Examples
		setup      func(t *Trainer)
		steps, bad int
	}{
		{"bad examples", set, func(t *Trainer) { t.Epochs = 3 }, 27, 8},
		{"bad examples, accumulated", set, func(t *Trainer) { t.Epochs, t.Accumulate = 3, 2 }, 15, 8},
		{"stream", ordered{set, order}, func(t *Trainer) { t.Steps, t.Loader.ShuffleBuffer = 25, 7 }, 25, 8},
	} {
		setup := func(dir string) *Trainer {
			tr := &Trainer{Loss: nn.MSE, Batch: 4, Seed: 2, Loader: data.Loader{SkipBad: true, Workers: 2}, Checkpoint: Checkpoint{Dir: dir, EveryEpochs: 1}}
			c.setup(tr)
			return tr
		}
		whole := setup(t.TempDir())
		var warned []string
		whole.Warn = func(m string) {
			if strings.HasPrefix(m, "left out") { // and not that a checkpoint waits for the one before
				warned = append(warned, m)
			}
		}
		sinter.Seed(3)
		model := nn.NewLinear(1, 1)
		report, err := whole.Fit(t.Context(), model, c.set, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want := string(weights(model))
		if report.Steps != c.steps || len(report.Bad) != c.bad || report.BadCount < 2*c.bad {
			t.Errorf("%s: %d steps, %d bad examples, %d times; want %d and %d", c.name, report.Steps, len(report.Bad), report.BadCount, c.steps, c.bad)
		}
		if all := strings.Join(warned, "\n"); strings.Count(all, "picture 9 is cut") != 1 || len(warned) != c.bad {
			t.Errorf("%s: warned %q", c.name, warned)
		}
		for at := 1; at < c.steps; at += 2 {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			first := setup(dir)
			first.Warn = func(string) {}
			first.Callbacks = []Callback{&trace{losses: map[int]float64{}, at: at, cancel: cancel}}
			sinter.Seed(3)
			_, err := first.Fit(ctx, nn.NewLinear(1, 1), c.set, nil)
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: stopped at step %d: %v", c.name, at, err)
			}
			second := setup(dir)
			second.Warn = func(string) {}
			second.Checkpoint.Resume = true
			second.Loader.Workers = 1
			sinter.Seed(77)
			model := nn.NewLinear(1, 1)
			report, err := second.Fit(t.Context(), model, c.set, nil)
			if err != nil || string(weights(model)) != want || report.Steps != c.steps {
				t.Fatalf("%s: going on after step %d: other weights, or not %d steps but %d: %v", c.name, at, c.steps, report.Steps, err)
			}
		}
	}
}
