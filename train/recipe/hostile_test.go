package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
	"github.com/sinter-dl/sinter/train/rundir"
)

// hostileRecipes are texts that ask for much with little.
func hostileRecipes() map[string]string {
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 20 {
		laughs += fmt.Sprintf("a%d: &a%[1]d [%s]\n", i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	return map[string]string{
		"aliases":        laughs + "model: {hidden: *a20}\n",
		"aliases hidden": "model: {kind: mlp, hidden: &a [1, &b [2, &c [3]], *b, *c]}\n",
		"itself":         "data: &a {path: *a}\n",
		"list of itself": "model: {kind: mlp, hidden: &a [*a]}\n",
		"brackets":       strings.Repeat("[", 200_000),
		"braces":         strings.Repeat("{a: ", 100_000),
		"indents":        strings.Repeat("- ", 100_000),
		"long key":       "? " + strings.Repeat("k", 1<<20),
		"keys":           strings.Repeat("x: 1\n", 100_000),
		"number":         "seed: " + strings.Repeat("9", 100_000),
		"tag":            "!!binary " + strings.Repeat("A", 100_000),
		"merge":          "<<: [&a {name: x}, *a]\n",
		"zero":           "name: \"\\0\"\nmodel: {kind: mlp}\n",
	}
}

func TestHostileRecipes(t *testing.T) {
	for name, text := range hostileRecipes() {
		t.Run(name, func(t *testing.T) {
			var err error
			if got := testenv.Allocated(func() {
				var r *Recipe
				if r, err = Parse("bad.yaml", []byte(text)); err == nil {
					err = r.Resolve()
				}
			}); got > uint64(2000*len(text)+4<<20) {
				t.Errorf("%d bytes were allocated for a recipe of %d", got, len(text))
			}
			if err == nil && name != "zero" {
				t.Error("no error")
			}
			if err != nil && !strings.Contains(err.Error(), "bad.yaml") {
				t.Errorf("error without the file: %v", err)
			}
			if err != nil && len(err.Error()) > 1<<14 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func FuzzRecipe(f *testing.F) {
	for _, name := range Builtin() {
		text, err := Source(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range hostileRecipes() {
		if len(text) < 1<<12 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := testenv.Allocated(func() {
			r, err := Parse("fuzzed.yaml", text)
			if err == nil {
				err = r.Resolve()
			}
			if err != nil && err.Error() == "" {
				t.Error("an error that says nothing")
			}
		})
		if got > uint64(4000*len(text)+4<<20) {
			t.Errorf("%d bytes were allocated for a recipe of %d", got, len(text))
		}
	})
}

// manifest is a run.json with a recipe and an input.
func manifest(recipe, input string) string {
	return fmt.Sprintf(`{"format": %d, "name": "x", "status": "complete", "recipe": %s, "input": %s}`, rundir.Format, recipe, input)
}

func hostileRuns() map[string]string {
	return map[string]string{
		"nothing":     "{}",
		"format":      `{"format": 99}`,
		"no recipe":   manifest("null", "{}"),
		"nesting":     manifest(strings.Repeat("[", 50_000), "{}"),
		"shape":       manifest(`{"model": {"kind": "mlp"}}`, `{"task": "classification", "shape": [1073741824, 1073741824, 1073741824], "classes": ["a", "b"]}`),
		"negative":    manifest(`{"model": {"kind": "mlp"}}`, `{"task": "classification", "shape": [-1], "classes": ["a", "b"]}`),
		"wide":        manifest(`{"model": {"kind": "mlp", "hidden": [1048576, 1048576, 1048576]}}`, `{"task": "classification", "shape": [1048576], "classes": ["a", "b"]}`),
		"deep":        manifest(`{"model": {"kind": "gpt", "layers": 1024, "width": 65536, "block": 65536}}`, `{"task": "language", "shape": [65536], "tokenizer": {"type": "characters", "vocabulary": "ab"}}`),
		"rank":        manifest(`{"model": {"kind": "lenet"}}`, `{"task": "classification", "shape": [28], "classes": ["a", "b"]}`),
		"encoder":     manifest(`{"model": {"kind": "mlp"}}`, `{"task": "regression", "shape": [1]}`),
		"odd encoder": manifest(`{"model": {"kind": "mlp"}}`, `{"task": "regression", "shape": [1], "encoder": {"columns": [{"name": "", "kind": "?"}], "task": "regression"}}`),
		"outside":     manifest(`{"model": {"kind": "gpt"}}`, `{"task": "language", "shape": [64], "tokenizer": {"file": "../../../etc/passwd"}}`),
	}
}

// A run folder is a file of someone else's, too: what it says of its model takes no
// memory before the weights show that it is so large.
func TestHostileRunFolders(t *testing.T) {
	for name, text := range hostileRuns() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, rundir.ManifestFile)
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
			var err error
			if got := testenv.Allocated(func() { _, err = LoadRun(dir) }); got > 64<<20 {
				t.Errorf("%d MiB were allocated for a folder of %d bytes", got>>20, len(text))
			}
			if err == nil || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzRunFolder(f *testing.F) {
	for _, text := range hostileRuns() {
		if len(text) < 1<<12 {
			f.Add([]byte(text))
		}
	}
	f.Add([]byte(manifest(`{"model": {"kind": "mlp"}}`, `{"task": "classification", "shape": [4], "classes": ["a", "b"]}`)))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, rundir.ManifestFile), text, 0o666); err != nil {
			t.Fatal(err)
		}
		if got := testenv.Allocated(func() {
			if _, err := LoadRun(dir); err == nil {
				t.Error("a folder without weights was read")
			}
		}); got > uint64(1000*len(text)+256<<20) {
			t.Errorf("%d bytes were allocated for a folder of %d", got, len(text))
		}
	})
}
