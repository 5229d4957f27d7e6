package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/format/tfevent"
)

// A run with the key tensorboard leaves event files with everything there is to see.
func TestTensorBoard(t *testing.T) {
	dir := t.TempDir()
	var table strings.Builder
	table.WriteString("a,b,kind\n")
	for i := range 120 {
		fmt.Fprintf(&table, "%d,%d,%s\n", i*7%31, i*i%17, []string{"no", "yes"}[i*7%31/16])
	}
	path := filepath.Join(dir, "t.csv")
	if err := os.WriteFile(path, []byte(table.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Parse("my.yaml", []byte("model: {kind: mlp, hidden: [4]}\nepochs: 2\nbatch: 16\ntensorboard: true\noptimizer: {clip: 1}\ndata: {path: "+path+"}"))
	if err != nil {
		t.Fatal(err)
	}
	job, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "run")
	result, err := job.Run(t.Context(), RunOptions{Dir: out})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(out, "events.out.tfevents.*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	last := map[string]tfevent.Value{}
	steps := map[string][]int64{}
	graph := false
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		events, err := tfevent.NewReader(f).All()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			graph = graph || len(e.Graph) > 0
			for _, v := range e.Values {
				last[v.Tag] = v
				steps[v.Tag] = append(steps[v.Tag], e.Step)
			}
		}
	}
	if n := len(steps["step/loss"]); n != result.Steps || !slices.IsSorted(steps["step/loss"]) {
		t.Errorf("%d losses of %d steps: %v", n, result.Steps, steps["step/loss"])
	}
	for tag, want := range map[string]Number{"train/loss": result.TrainLoss, "test/loss": result.TestLoss, "test/accuracy": result.Metrics["accuracy"]} {
		if v := last[tag].Scalar; v == nil || *v != float32(want) {
			t.Errorf("%s is %v, expected %v", tag, v, want)
		}
	}
	for _, tag := range []string{"step/lr", "step/grad_norm", "train/accuracy", "energy/joules", "energy/idle_joules", "energy/grams"} {
		if last[tag].Scalar == nil {
			t.Errorf("there is no %s among %v", tag, steps)
		}
	}
	if h := last["weights/layers/0/weight"].Histogram; h == nil || h.Num != 8 {
		t.Errorf("no histogram of 8 weights: %+v, among %v", h, steps)
	}
	if c := last["test/yes"]; c.Plugin != "pr_curves" || len(c.Tensor.Floats) != 6*127 {
		t.Errorf("the precision-recall curve is %+v", c)
	}
	if text := last["recipe/text_summary"].Tensor; text == nil || !strings.Contains(text.Strings[0], "kind: mlp") {
		t.Errorf("the recipe is %+v", text)
	}
	if len(last["_hparams_/session_start_info"].Content) == 0 || len(last["_hparams_/session_end_info"].Content) == 0 || !graph {
		t.Errorf("hyper-parameters or the graph are missing: %v", steps)
	}
}
