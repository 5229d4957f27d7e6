package recipe

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBuiltinRecipesResolve(t *testing.T) {
	names := Builtin()
	for _, want := range strings.Fields("gpt lenet lstm mlp resnet20 tabular") {
		if !slices.Contains(names, want) {
			t.Errorf("there is no recipe %s", want)
		}
	}
	for _, name := range names {
		r, err := Load(name)
		if err == nil {
			err = r.Resolve()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if r.Name != name || r.About == "" {
			t.Errorf("%s: name %q, about %q", name, r.Name, r.About)
		}
	}
}

func TestRecipeSurvivesJSON(t *testing.T) {
	for _, name := range Builtin() {
		r, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Resolve(); err != nil {
			t.Fatal(err)
		}
		before, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse("run.json", before)
		if err == nil {
			err = back.Resolve()
		}
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, before)
		}
		if after, _ := json.Marshal(back); string(after) != string(before) {
			t.Errorf("%s became\n%s", before, after)
		}
	}
}

// TestMistakes holds what a recipe can get wrong: each message names the place and
// what was expected, and counts as bad usage.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "my.yaml: the recipe is empty"},
		{"model: [", "my.yaml: not YAML"},
		{"- a\n- b", "my.yaml:1:1: expected keys and values, found a list"},
		{"model:\n  kind: lenet\nepoch: 5", `my.yaml:3:1: unknown key "epoch"; did you mean "epochs"?`},
		{"model:\n  kind: mlp\n  hiden: [5]", `my.yaml:3:3: unknown key "model.hiden"; did you mean "model.hidden"?`},
		{"model:\n  kind: resnt", `my.yaml:2:9: unknown model.kind "resnt"; did you mean "resnet"?`},
		{"model: lenet", `my.yaml:1:8: model is "lenet", expected a group of keys`},
		{"model: {kind: lenet}\nepochs: many", `my.yaml:2:9: epochs is "many", expected a whole number`},
		{"model: {kind: lenet}\nepochs: 0", `my.yaml:2:9: epochs is "0", expected at least 1`},
		{"model: {kind: lenet}\nbatch: [1]", "batch is a list, expected a single value"},
		{"model: {kind: lenet}\nseed: -1", "expected a whole number that is not negative"},
		{"model: {kind: lenet}\noptimizer: {lr: 0}", `optimizer.lr is "0", expected above 0`},
		{"model: {kind: lenet}\noptimizer: {lr: .nan}", "expected a number"},
		{"model: {kind: lenet}\noptimizer: {betas: [0.9]}", "expected a list of 2"},
		{"model: {kind: lenet}\noptimizer: {nesterov: perhaps, kind: sgd}", "expected true or false"},
		{"model: {kind: mlp, hidden: [64, 0]}", `model.hidden is "0", expected at least 1`},
		{"model: {kind: mlp, dropout: 1}", "expected below 1"},
		{"model:\n  kind: lenet\n  heads: 4", "my.yaml:3:10: model.heads means nothing to model.kind lenet; it belongs to gpt"},
		{"model: {kind: lenet}\noptimizer: {kind: adam, momentum: 0.9}", "optimizer.momentum means nothing to optimizer.kind adam"},
		{"model: {kind: resnet, depth: 21}", "model.depth is 21, expected 6n+2"},
		{"model: {kind: gpt, width: 100, heads: 3}", "100 cannot be divided among 3 heads"},
		{"model: {kind: lenet}\nprecision: half", `my.yaml:2:12: unknown precision "half"; there are fp32, bf16, fp16 and tf32`},
		{"model: {kind: lenet}\naccumulate: 0", "my.yaml:2:13"},
		{"epochs: 3", "does not say model.kind"},
	} {
		r, err := Parse("my.yaml", []byte(c.text))
		if err == nil {
			err = r.Resolve()
		}
		var wrong *UsageError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q\n     got %v\nexpected %s", c.text, err, c.want)
		}
	}
}

func TestSet(t *testing.T) {
	r, err := Load("mlp")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range [][2]string{
		{"model.hidden", "[64, 32]"}, {"optimizer.lr", "1e-2"}, {"data.path", "a: b/c.csv"}, {"epochs", "7"}, {"optimizer.kind", "sgd"}, {"optimizer.nesterov", "true"},
	} {
		if err := r.Set("--set", s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(r.Model.Hidden, []int{64, 32}) || r.Optimizer.LR != 0.01 || r.Data.Path != "a: b/c.csv" || r.Epochs != 7 || !r.Optimizer.Nesterov {
		t.Errorf("recipe %+v", r)
	}
	for _, c := range []struct{ key, value, want string }{
		{"lr", "1", `--set: unknown key "lr"; did you mean "optimizer.lr"?`},
		{"model", "gpt", `"model" is a group of keys`},
		{"epochs.x", "1", `unknown key "epochs.x"`},
		{"epochs", "", `"" is no value for epochs`},
		{"batch", "0", `--set: batch is "0", expected at least 1`},
		{"optimizer.schedule", "cosin", `did you mean "cosine"?`},
	} {
		err := r.Set("--set", c.key, c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: got %v, expected %s", c.key, c.value, err, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(name, []byte("model: {kind: mlp}"), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Resolve(); err != nil || r.Name != "mlp" || r.Epochs != 5 || r.Optimizer.LR != 1e-3 {
		t.Errorf("recipe %+v, %v", r, err)
	}
	for name, want := range map[string]string{
		"lent":                          `unknown recipe "lent"; did you mean "lenet"?`,
		"zzzzzzz":                       `unknown recipe "zzzzzzz"; known: forecast, gpt, lenet, lstm`,
		filepath.Join(dir, "none.yaml"): "there is no such recipe file",
	} {
		if _, err := Load(name); !errors.As(err, new(*UsageError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %s", name, err, want)
		}
	}
}
