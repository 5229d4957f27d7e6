package recipe

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// Both models forecast airline passengers better than forecasts without a model.
func TestForecast(t *testing.T) {
	path := testenv.SharedData(t, "tabular", "airline-passengers.csv")
	for name, text := range map[string]string{
		"mlp":  "model: {kind: mlp, hidden: [32]}\nepochs: 60\neval_every: 1000\nbatch: 16\noptimizer: {lr: 0.005, schedule: cosine}\ndata: {window: 24, season: 12, holdout: 0.2}",
		"lstm": "model: {kind: lstm, layers: 1, width: 24}\nepochs: 120\neval_every: 1000\nbatch: 16\noptimizer: {lr: 0.02, schedule: cosine, clip: 1}\ndata: {window: 24, season: 12, holdout: 0.2}",
	} {
		r, err := Parse("my.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Set("--set", "data.path", path); err != nil {
			t.Fatal(err)
		}
		job, err := Prepare(r)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "run")
		result, err := job.Run(t.Context(), RunOptions{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		m := result.Metrics
		if !(m["mae"] < m["mae_last_value"] && m["mae"] < m["mae_seasonal_naive"]) {
			t.Errorf("%s: %v", name, m)
		}
		t.Logf("%s: %v", name, m)
		run, err := LoadRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		// July 1961 was never seen; after 432 in December comes no other magnitude.
		values, err := run.Forecast(t.Context(), path)
		if err != nil || len(values) != 1 || values[0] < 300 || values[0] > 600 {
			t.Errorf("%s: the month after is %v, %v", name, values, err)
		}
		if scores, err := run.Score(t.Context(), path); err != nil || !(scores.Metrics["mae"] < scores.Metrics["mae_last_value"]) {
			t.Errorf("%s: %+v, %v", name, scores, err)
		}
	}
	for text, want := range map[string]string{
		"model: {kind: mlp}\ndata: {horizon: 3}":             "data.window",
		"model: {kind: gpt}\ndata: {window: 3}":              "gpt is trained on a text",
		"model: {kind: lenet}\ndata: {window: 3}":            "lenet is trained on images",
		"model: {kind: mlp}\ndata: {window: 300}":            "144 rows",
		"model: {kind: mlp}\nmetrics: r2\ndata: {window: 3}": `"r2" means nothing to forecast`,
	} {
		r, err := Parse("my.yaml", []byte(text))
		if err == nil {
			err = r.Set("--set", "data.path", path)
		}
		if err == nil {
			_, err = Prepare(r)
		}
		if err == nil || !strings.Contains(err.Error(), want) || want != "144 rows" && !errors.As(err, new(*UsageError)) {
			t.Errorf("%s: got %v, expected %s", text, err, want)
		}
	}
}
