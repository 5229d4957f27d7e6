package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// built is the path of the command, built once: these tests run it as a user does.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sinter-test-")
	if err != nil {
		log.Fatal(err)
	}
	built = filepath.Join(dir, "sinter")
	if runtime.GOOS == "windows" {
		built += ".exe"
	}
	build := exec.Command("go", "build", "-o", built, ".")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		log.Fatalf("building the command: %v\n%s", err, out)
	}
	os.Setenv("SINTER_RUNTIME_DIR", filepath.Join(dir, "runtime")) // the runs of tests are nobody else's to see
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// outcome is what a command left.
type outcome struct {
	status         int
	stdout, stderr string
}

// execute runs the command in dir.
func execute(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	c := exec.Command(built, args...)
	c.Dir = dir
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs the command and expects success.
func must(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	o := execute(t, dir, args...)
	if o.status != 0 {
		t.Fatalf("sinter %s: status %d\n%s", strings.Join(args, " "), o.status, o.stderr)
	}
	return o
}

// files are the paths of all files and folders below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
}

// idx is an IDX file of n images of 28×28, or of n labels, compressed.
func idx(n int, images bool) []byte {
	header, size := []uint32{0x801, uint32(n)}, n
	if images {
		header, size = []uint32{0x803, uint32(n), 28, 28}, n*28*28
	}
	raw, _ := binary.Append(nil, binary.BigEndian, header)
	for i := range size {
		if images {
			raw = append(raw, byte(i/784%4*60)) // the class shows in the brightness
		} else {
			raw = append(raw, byte(i%4))
		}
	}
	return zipped(raw)
}

func zipped(raw []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(raw)
	z.Close()
	return b.Bytes()
}

// mnistLike writes a folder of IDX files and gives their contents by name.
func mnistLike(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	content := map[string][]byte{
		"train-images-idx3-ubyte.gz": idx(64, true), "train-labels-idx1-ubyte.gz": idx(64, false),
		"t10k-images-idx3-ubyte.gz": idx(16, true), "t10k-labels-idx1-ubyte.gz": idx(16, false),
	}
	for name, c := range content {
		write(t, filepath.Join(dir, name), c)
	}
	return content
}

// square is a PNG with a bright quarter, the first or the second.
func square(second bool) []byte {
	img := image.NewGray(image.Rect(0, 0, 16, 16))
	for y := range 8 {
		for x := range 8 {
			if second {
				img.SetGray(x+8, y+8, color.Gray{Y: 250})
			} else {
				img.SetGray(x, y, color.Gray{Y: 250})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// TestBadInput holds every way to fail before training: status, the message's
// parts, and nothing left behind.
func TestBadInput(t *testing.T) {
	table := func(rows string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { write(t, filepath.Join(dir, "t.csv"), []byte(rows)) }
	}
	long := "a,b,y\n" + strings.Repeat("1,2,x\n3,4,z\n", 20)
	idxWith := func(name string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			content := mnistLike(t, filepath.Join(dir, "d"))
			if c := change(content[name]); c != nil {
				write(t, filepath.Join(dir, "d", name), c)
			} else if err := os.Remove(filepath.Join(dir, "d", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { write(t, filepath.Join(dir, name), []byte(content)) }
	}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		args    string
		status  int
		want    []string
	}{
		{"unknown precision", nil, "train lenet --precision fp8", 2, []string{"--precision", `unknown precision "fp8"`, "bf16"}},
		{"no such data", nil, "train lenet --data nowhere", 1, []string{"nowhere"}},
		{"IDX missing", idxWith("train-labels-idx1-ubyte.gz", func([]byte) []byte { return nil }), "train lenet --data d", 1, []string{"train-labels-idx1-ubyte"}},
		{"IDX cut", idxWith("train-images-idx3-ubyte.gz", func([]byte) []byte { return zipped([]byte{0, 0, 8, 3, 0, 0, 0, 64, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2, 3}) }), "train lenet --data d", 1, []string{"train-images-idx3-ubyte.gz", "expected"}},
		{"gzip cut", idxWith("train-images-idx3-ubyte.gz", func(b []byte) []byte { return b[:len(b)/2] }), "train lenet --data d", 1, []string{"train-images-idx3-ubyte.gz"}},
		{"gzip damaged", idxWith("t10k-images-idx3-ubyte.gz", func(b []byte) []byte { return []byte("no gzip") }), "train lenet --data d", 1, []string{"t10k-images-idx3-ubyte.gz"}},
		{"CSV ragged", table(long + "1,2\n"), "train tabular --data t.csv", 1, []string{"t.csv", "line 42", "expected 3"}},
		{"CSV without the target's column", table(long), "train tabular --data t.csv --target price", 1, []string{"t.csv", "price"}},
		{"CSV with a target left out", table(long + "1,2,\n"), "train tabular --data t.csv", 1, []string{"t.csv", "line 42", "target"}},
		{"CSV with text among numbers", table(long + "1,much,x\n"), "train tabular --data t.csv", 1, []string{"t.csv", "line 42", "much", "number"}},
		{"CSV empty", table(""), "train tabular --data t.csv", 1, []string{"t.csv", "empty"}},
		{"CSV with NaN in the target", table("a,y\n" + strings.Repeat("1,2.5\n3,4.5\n", 30) + "1,NaN\n"), "train tabular --data t.csv", 1, []string{"t.csv", "line 62"}},
		{"CSV with an infinity", table("a,y\n" + strings.Repeat("1,2.5\n3,4.5\n", 30) + "inf,2\n"), "train tabular --data t.csv", 1, []string{"t.csv", "line 62", "finite"}},
		{"image unreadable", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "d", "a", "1.png"), square(false))
			write(t, filepath.Join(dir, "d", "b", "2.png"), []byte("not an image"))
		}, "train lenet --data d", 1, []string{"2.png"}},
		{"text too short", file("short.txt", "To be, or not to be."), "train gpt --data short.txt", 1, []string{"short.txt", "expected at least 65"}},
		{"text empty", file("short.txt", ""), "train gpt --data short.txt", 1, []string{"short.txt", "empty"}},
		{"text not UTF-8", file("short.txt", "caf\xe9"), "train gpt --data short.txt", 1, []string{"short.txt", "byte 3"}},
		{"table for a language model", table(long), "train gpt --data t.csv", 2, []string{"gpt is trained on a text", "t.csv is a table"}},
		{"table for images", table(long), "train lenet --data t.csv", 2, []string{"lenet is trained on images"}},
		{"no data", nil, "train gpt", 2, []string{"--data PATH"}},
		{"target without a table", func(t *testing.T, dir string) { mnistLike(t, filepath.Join(dir, "d")) }, "train lenet --data d --target x", 2, []string{"--target", "is for a table"}},

		{"unknown recipe", nil, "train lent", 2, []string{`unknown recipe "lent"`, `"lenet"`}},
		{"unknown recipe file", nil, "train my/none.yaml", 2, []string{"my/none.yaml", "no such recipe file"}},
		{"unknown key", file("r.yaml", "model:\n  kind: mlp\n  hiden: [3]\n"), "train r.yaml", 2, []string{"r.yaml:3:3", `"model.hidden"`}},
		{"unknown value", file("r.yaml", "model:\n  kind: lenett\n"), "train r.yaml", 2, []string{"r.yaml:2:9", `"lenet"`}},
		{"unknown key on the command line", nil, "train lenet --set epoch=3", 2, []string{"--set epoch=3", `"epochs"`}},
		{"--set without a value", nil, "train lenet --set epochs", 2, []string{"expected key=value"}},
		{"impossible number", nil, "train lenet --epochs 0", 2, []string{"--epochs", "expected at least 1"}},
		{"no number", nil, "train lenet --lr fast", 2, []string{"--lr", `"fast"`, "expected a number"}},
		{"unknown device", nil, "train lenet --device cpuu", 2, []string{`"cpuu"`, `"cpu"`}},
		{"device that is not there", nil, "train lenet --device cuda:77", 2, []string{"--device", `"cuda:77"`, "cpu"}},
		{"device of a recipe that is not there", file("r.yaml", "model:\n  kind: mlp\ndevice: cuda:77\n"), "train r.yaml", 2, []string{"r.yaml:3:9", `"cuda:77"`}},
		{"eval on a device that is not there", nil, "eval out --data d --device opencl:77", 2, []string{"--device", `"opencl:77"`}},
		{"unknown flag", nil, "train lenet --epoch 3", 2, []string{"--epoch", `"epochs"`}},
		{"unknown command", nil, "trian", 2, []string{"trian", "train"}},
		{"too many arguments", nil, "train lenet mlp", 2, []string{"mlp"}},
		{"recipe show of an unknown one", nil, "recipe show lstn", 2, []string{`"lstm"`}},
		{"recipe without a command", nil, "recipe", 2, []string{"ls or show"}},

		{"output not writable", file("file", ""), "train mlp --data d --out file/run", 1, []string{"file/run"}},
		{"output not empty", file("out/old", ""), "train mlp --data d --out out", 1, []string{"out", "not empty"}},

		{"eval without data", nil, "eval somewhere", 2, []string{"--data"}},
		{"eval of no run", file("out/old", ""), "eval out --data d", 1, []string{"out", "not a run folder"}},
		{"predict without a file", nil, "predict out", 2, []string{"FILE"}},
		{"generate from no run", nil, "generate nowhere --prompt a", 1, []string{"nowhere"}},
		{"generate with a wrong number", nil, "generate nowhere --tokens 0", 2, []string{"--tokens", "at least 1"}},
		{"generate with no number", nil, "generate nowhere --tokens many", 2, []string{"--tokens", `"many"`, "expected a whole number"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			if strings.Contains(c.name, "output") {
				mnistLike(t, filepath.Join(dir, "d"))
			}
			before := files(t, dir)
			o := execute(t, dir, strings.Fields(c.args)...)
			if o.status != c.status {
				t.Errorf("status %d, expected %d", o.status, c.status)
			}
			last := lastLine(o.stderr)
			if !strings.HasPrefix(last, "sinter: ") || strings.Contains(o.stderr, "goroutine ") {
				t.Errorf("standard error does not end in a message:\n%s", o.stderr)
			}
			for _, want := range c.want {
				if !strings.Contains(last, want) {
					t.Errorf("the message has no %q: %s", want, last)
				}
			}
			if after := files(t, dir); !slices.Equal(before, after) {
				t.Errorf("left behind: %v, before %v", after, before)
			}
		})
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// result is the object that --json prints last.
func result(t *testing.T, o outcome) map[string]any {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal([]byte(lastLine(o.stdout)), &r); err != nil {
		t.Fatalf("the last line of standard output is no JSON: %v\n%s", err, o.stdout)
	}
	return r
}

func TestTrainImagesJSON(t *testing.T) {
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	o := must(t, dir, "train", "lenet", "--data", "d", "--epochs", "4", "--batch", "16", "--json", "--seed", "3")
	r := result(t, o)
	for _, key := range strings.Fields("recipe device epochs steps parameters train_loss test_loss metrics samples_per_second seconds peak_memory_bytes run") {
		if r[key] == nil {
			t.Errorf("the result has no %s: %v", key, r)
		}
	}
	if r["recipe"] != "lenet" || r["epochs"] != 4.0 || r["steps"] != 16.0 {
		t.Errorf("result %v", r)
	}
	if _, ok := r["metrics"].(map[string]any)["accuracy"]; !ok {
		t.Errorf("metrics %v have no accuracy", r["metrics"])
	}
	for line := range strings.Lines(o.stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of standard error is no JSON: %s", line)
		}
	}

	run := r["run"].(string)
	if !strings.HasPrefix(filepath.ToSlash(run), "runs/lenet-") {
		t.Errorf("the run is in %s", run)
	}
	for _, name := range strings.Fields("run.json metrics.jsonl model.safetensors curve.png curve.svg samples.jsonl confusion.json layers.json") {
		if info, err := os.Stat(filepath.Join(dir, run, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	var m struct {
		Status  string
		Seed    int
		Data    []struct{ SHA256 string }
		Recipe  struct{ Model struct{ Kind string } }
		Results struct{ Steps int }
	}
	text, err := os.ReadFile(filepath.Join(dir, run, "run.json"))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil || m.Status != "complete" || m.Seed != 3 || len(m.Data) != 2 || len(m.Data[0].SHA256) != 64 || m.Recipe.Model.Kind != "lenet" || m.Results.Steps != 16 {
		t.Errorf("run.json, %v: %s", err, text)
	}

	again := result(t, must(t, dir, "train", "lenet", "--data", "d", "--epochs", "4", "--batch", "16", "--json", "--seed", "3", "--out", "again"))
	if again["train_loss"] != r["train_loss"] || again["test_loss"] != r["test_loss"] {
		t.Errorf("the same seed gave %v and %v", r, again)
	}
	a, errA := os.ReadFile(filepath.Join(dir, run, "model.safetensors"))
	b, errB := os.ReadFile(filepath.Join(dir, "again", "model.safetensors"))
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("the same seed gave other weights (%v, %v)", errA, errB)
	}

	scores := result(t, must(t, dir, "eval", "again", "--data", "d", "--json"))
	if scores["loss"] != r["test_loss"] || scores["examples"] != 16.0 {
		t.Errorf("eval gave %v, the run %v", scores, r)
	}
}

// A run in 16 bits learns, says so, and is evaluated in them again; the CPU has no tf32
// and says so.
func TestTrainPrecision(t *testing.T) {
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	train := func(precision string, more ...string) (map[string]any, outcome) {
		args := []string{"train", "lenet", "--data", "d", "--epochs", "4", "--batch", "16", "--json", "--seed", "3", "--precision", precision, "--out", precision}
		o := must(t, dir, append(args, more...)...)
		return result(t, o), o
	}
	log := func(run string) string {
		text, err := os.ReadFile(filepath.Join(dir, run, "metrics.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	full, _ := train("fp32")
	for _, precision := range []string{"bf16", "fp16"} {
		low, _ := train(precision)
		if full["precision"] != "fp32" || low["precision"] != precision || low["steps"] != 16.0 {
			t.Errorf("results %v and %v", full, low)
		}
		a, b := full["train_loss"].(float64), low["train_loss"].(float64)
		if a == b || math.Abs(a-b) > 0.02*a {
			t.Errorf("the training loss is %v in fp32 and %v in %s", a, b, precision)
		}
		scores := result(t, must(t, dir, "eval", precision, "--data", "d", "--json"))
		if scores["loss"] != low["test_loss"] {
			t.Errorf("eval gave %v, the run %v", scores, low)
		}
	}
	tf32, o := train("tf32")
	if tf32["precision"] != "fp32" || tf32["train_loss"] != full["train_loss"] || strings.Count(o.stderr, "does not have tf32") != 1 {
		t.Errorf("tf32: %v\n%s", tf32, o.stderr)
	}
	if text := log("fp16"); strings.Count(text, `{"event":"scaler","step":0,"scale":65536,"skipped":0}`) != 1 {
		t.Errorf("the log of fp16 does not say the scale:\n%s", text)
	}
	if text := log("tf32"); strings.Count(text, `"event":"note"`) != 1 || strings.Contains(text, "scaler") {
		t.Errorf("the log of tf32 is\n%s", text)
	}
	parts, _ := train("fp32", "--batch", "4", "--accumulate", "4", "--out", "parts")
	if a, b := full["train_loss"].(float64), parts["train_loss"].(float64); parts["steps"] != 16.0 || math.Abs(a-b) > 1e-4*a {
		t.Errorf("the training loss is %v, with batches in four parts %v", full, parts)
	}
}

func TestImageFolder(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		write(t, filepath.Join(dir, "d", "first", fmt.Sprintf("%d.png", i)), square(false))
		write(t, filepath.Join(dir, "d", "second", fmt.Sprintf("%d.png", i)), square(true))
	}
	o := must(t, dir, "train", "mlp", "--data", "d", "--epochs", "8", "--batch", "8", "--set", "data.holdout=0.25", "--out", "run")
	for _, want := range []string{"test accuracy", "100.00 %", "parameters", "peak memory", "samples/s", "run"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("the table has no %q:\n%s", want, o.stdout)
		}
	}
	write(t, filepath.Join(dir, "new.png"), square(true))
	write(t, filepath.Join(dir, "bad.png"), []byte("bad"))
	o = must(t, dir, "predict", "run", "new.png")
	if fields := strings.Fields(o.stdout); len(fields) < 3 || fields[0] != "new.png" || fields[1] != "second" {
		t.Errorf("prediction %q", o.stdout)
	}
	if o = execute(t, dir, "predict", "run", "new.png", "bad.png"); o.status != 1 || o.stdout != "" || !strings.Contains(o.stderr, "bad.png") {
		t.Errorf("with an unreadable image: %+v", o)
	}
	o = must(t, dir, "eval", "run", "--data", "d")
	if !strings.Contains(o.stdout, "accuracy") || !strings.Contains(o.stderr, "trained on") {
		t.Errorf("eval: %+v", o)
	}
	write(t, filepath.Join(dir, "other", "first", "1.png"), square(false))
	write(t, filepath.Join(dir, "other", "third", "1.png"), square(true))
	if o = execute(t, dir, "eval", "run", "--data", "other"); o.status != 1 || !strings.Contains(o.stderr, `"third"`) {
		t.Errorf("with an unknown class: %+v", o)
	}
}

func TestTables(t *testing.T) {
	dir := t.TempDir()
	g := rand.New(rand.NewPCG(1, 2))
	var regression, classification strings.Builder
	regression.WriteString("size,kind,price\n")
	classification.WriteString("size\tkind\tdear\n")
	for range 300 {
		size, kind := g.Float64(), []string{"flat", "house"}[g.IntN(2)]
		price := 1000 + 500*size
		if kind == "house" {
			price += 300
		}
		fmt.Fprintf(&regression, "%.3f,%s,%.2f\n", size, kind, price)
		fmt.Fprintf(&classification, "%.3f\t%s\t%v\n", size, kind, price > 1400)
	}
	write(t, filepath.Join(dir, "r.csv"), []byte(regression.String()))
	write(t, filepath.Join(dir, "c.tsv"), []byte(classification.String()))

	o := must(t, dir, "train", "tabular", "--data", "r.csv", "--out", "r", "--json")
	metrics := result(t, o)["metrics"].(map[string]any)
	if r2, rmse := metrics["r2"].(float64), metrics["rmse"].(float64); r2 < 0.95 || rmse < 1 || rmse > 60 {
		t.Errorf("metrics %v", metrics)
	}
	if !strings.Contains(o.stderr, "regression") {
		t.Errorf("nothing says that it is a regression:\n%s", o.stderr)
	}
	write(t, filepath.Join(dir, "new.csv"), []byte("size,kind\n0.5,house\n"))
	o = must(t, dir, "predict", "r", "new.csv")
	var price float64
	if _, err := fmt.Sscanf(o.stdout, "size,kind,prediction\n0.5,house,%g\n", &price); err != nil || math.Abs(price-1550) > 100 {
		t.Errorf("prediction %q", o.stdout)
	}
	write(t, filepath.Join(dir, "bad.csv"), []byte("size,kind\n0.5,house\nbig,flat\n"))
	if o = execute(t, dir, "predict", "r", "bad.csv"); o.status != 1 || o.stdout != "" || !strings.Contains(o.stderr, "line 3") {
		t.Errorf("with text in a numeric column: %+v", o)
	}

	o = must(t, dir, "train", "tabular", "--data", "c.tsv", "--target", "dear", "--test", "c.tsv", "--epochs", "30", "--out", "c", "--json")
	if accuracy := result(t, o)["metrics"].(map[string]any)["accuracy"].(float64); accuracy < 0.95 {
		t.Errorf("accuracy %g", accuracy)
	}
	o = must(t, dir, "predict", "c", "c.tsv")
	if !strings.HasPrefix(o.stdout, "size\tkind\tdear\tprediction\tprobability\n") || strings.Count(o.stdout, "\n") != 301 {
		t.Errorf("predictions begin %.100q", o.stdout)
	}
	o = must(t, dir, "eval", "c", "--data", "c.tsv")
	if !strings.Contains(o.stdout, "accuracy") {
		t.Errorf("eval: %+v", o)
	}
}

func TestLanguage(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "t.txt"), []byte(strings.Repeat("abcdefgh", 200)))
	for _, model := range []string{"gpt", "lstm"} {
		args := strings.Fields("train " + model + " --data t.txt --steps 60 --batch 8 --lr 0.01 --json --set model.block=16 --set model.width=32 --set model.layers=1 --out " + model)
		r := result(t, must(t, dir, args...))
		if p, ok := r["metrics"].(map[string]any)["perplexity"].(float64); !ok || p > 3 {
			t.Errorf("%s: metrics %v", model, r["metrics"])
		}
		write := []string{"generate", model, "--prompt", "abc", "--tokens", "5", "--temperature", "0.1", "--top-k", "3", "--seed", "2"}
		o := must(t, dir, write...)
		if !strings.HasPrefix(o.stdout, "abc") || len(o.stdout) != 3+5+1 {
			t.Errorf("%s wrote %q", model, o.stdout)
		}
		if again := must(t, dir, write...); again.stdout != o.stdout {
			t.Errorf("%s wrote %q and %q with one seed", model, o.stdout, again.stdout)
		}
		if o := execute(t, dir, "generate", model, "--prompt", "xyz"); o.status != 1 || !strings.Contains(o.stderr, `'x'`) {
			t.Errorf("%s, with unknown characters: %+v", model, o)
		}
		if o := must(t, dir, "eval", model, "--data", "t.txt"); !strings.Contains(o.stdout, "perplexity") {
			t.Errorf("%s: eval %+v", model, o)
		}
	}
	if o := execute(t, dir, "predict", "gpt", "t.txt"); o.status != 1 || !strings.Contains(o.stderr, "sinter generate") {
		t.Errorf("predict: %+v", o)
	}
}

// TestInterrupted sends what Ctrl-C sends.
func TestInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt on Windows")
	}
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	c := exec.Command(built, "train", "mlp", "--data", "d", "--epochs", "1000000", "--json", "--out", "run")
	c.Dir = dir
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		fmt.Fprintln(&all, lines.Text())
		if strings.Contains(lines.Text(), `"event":"step"`) {
			c.Process.Signal(syscall.SIGINT)
		}
	}
	c.Wait()
	if status := c.ProcessState.ExitCode(); status != exitStopped {
		t.Errorf("status %d, expected %d", status, exitStopped)
	}
	if last := lastLine(all.String()); !strings.Contains(last, "interrupted after step") || !strings.Contains(last, "sinter train --resume run") {
		t.Errorf("the last line is %s", last)
	}
	text, err := os.ReadFile(filepath.Join(dir, "run", "run.json"))
	if err != nil || !strings.Contains(string(text), `"status": "interrupted"`) {
		t.Errorf("run.json, %v: %s", err, text)
	}
	must(t, dir, "eval", "run", "--data", "d") // the weights are whole
}

// TestDiverges makes the loss overflow and expects the operation to be named.
func TestDiverges(t *testing.T) {
	dir := t.TempDir()
	var table strings.Builder
	table.WriteString("x,y\n")
	for i := range 200 {
		fmt.Fprintf(&table, "%d.5,%d.25\n", i, 3*i)
	}
	write(t, filepath.Join(dir, "d.csv"), []byte(table.String()))
	o := execute(t, dir, "train", "tabular", "--data", "d.csv", "--epochs", "50", "--lr", "100", "--set", "optimizer.kind=sgd", "--out", "run")
	if o.status != 1 {
		t.Fatalf("status %d\n%s", o.status, o.stderr)
	}
	last := lastLine(o.stderr)
	for _, want := range []string{"step ", "squares of gradients", "run"} {
		if !strings.Contains(last, want) {
			t.Errorf("the message has no %q: %s", want, last)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "run", "run.json")); err != nil || !strings.Contains(string(text), `"status": "failed"`) {
		t.Errorf("run.json, %v: %s", err, text)
	}
	must(t, dir, "eval", "run", "--data", "d.csv")
}

func TestRecipeCommand(t *testing.T) {
	dir := t.TempDir()
	o := must(t, dir, "recipe", "ls")
	for _, name := range strings.Fields("mlp lenet resnet20 lstm gpt tabular") {
		if !strings.Contains(o.stdout, name+" ") {
			t.Errorf("recipe ls has no %s:\n%s", name, o.stdout)
		}
	}
	o = must(t, dir, "recipe", "show", "mlp")
	mnistLike(t, filepath.Join(dir, "d"))
	write(t, filepath.Join(dir, "mine.yaml"), []byte(strings.Replace(o.stdout, "hidden: [512]", "hidden: [16, 16]", 1)))
	r := result(t, must(t, dir, "train", "mine.yaml", "--data", "d", "--steps", "3", "--json"))
	if want := float64(784*16 + 16 + 16*16 + 16 + 16*4 + 4); r["parameters"] != want || r["steps"] != 3.0 {
		t.Errorf("%v parameters, expected %v; %v steps", r["parameters"], want, r["steps"])
	}
	if o := must(t, dir, "version"); !strings.HasPrefix(o.stdout, "sinter ") || !strings.Contains(o.stdout, runtime.Version()) {
		t.Errorf("version: %q", o.stdout)
	}
}

// TestDefault runs the default job with fewer glyphs.
func TestDefault(t *testing.T) {
	dir := t.TempDir()
	r := result(t, must(t, dir, "train", "--json", "--epochs", "1", "--set", "data.examples=2000"))
	if r["recipe"] != "lenet" || !(r["test_loss"].(float64) < math.Log(48)) {
		t.Errorf("result %v", r)
	}
	r = result(t, must(t, dir, "train", "resnet20", "--json", "--steps", "2", "--set", "data.examples=64", "--batch", "8", "--set", "model.depth=8"))
	if r["recipe"] != "resnet20" {
		t.Errorf("result %v", r)
	}
}

func TestSummary(t *testing.T) {
	dir := t.TempDir()
	o := execute(t, dir, "summary", "resnet20", "--set", "data.examples=64")
	for _, want := range []string{"layer3.2.conv2", "Conv2D", "[1 64 7 7]", "36,864", "total", "training in batches of 128"} {
		if o.status != 0 || !strings.Contains(o.stdout, want) {
			t.Fatalf("status %d, no %q in\n%s%s", o.status, want, o.stdout, o.stderr)
		}
	}
	o = execute(t, dir, "summary", "lenet", "--json", "--set", "data.examples=64")
	var s struct {
		Parameters int
		FLOPs      int64
		Training   struct{ Arena int64 }
		Layers     []struct {
			Name   string
			Output []int
		}
	}
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || s.Parameters != 64936 || s.FLOPs == 0 || s.Training.Arena == 0 || len(s.Layers) != 7 {
		t.Errorf("%v in %s", err, o.stdout)
	}
	if o := execute(t, dir, "summary", "lennet"); o.status != 2 || !strings.Contains(o.stderr, `did you mean "lenet"`) {
		t.Errorf("status %d, %s", o.status, o.stderr)
	}
	if o := execute(t, dir, "summary"); o.status != 2 || !strings.Contains(o.stderr, "missing RECIPE") {
		t.Errorf("status %d, %s", o.status, o.stderr)
	}
}

func TestProfile(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "train", "mlp", "--steps", "40", "--set", "data.examples=256", "--batch", "16", "--out", "plain")
	o := execute(t, dir, "train", "mlp", "--steps", "40", "--set", "data.examples=256", "--batch", "16", "--out", "run", "--profile")
	if o.status != 0 {
		t.Fatalf("status %d\n%s", o.status, o.stderr)
	}
	for _, want := range []string{"profile of 30 steps", "dot_general", "layers.0", "(optimizer)", "-bound: ", "times as fast", "trace.json"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	for name, part := range map[string]string{"trace.json": "traceEvents", "profile.json": "verdict"} {
		text, err := os.ReadFile(filepath.Join(dir, "run", name))
		var content map[string]any
		if err != nil || json.Unmarshal(text, &content) != nil || content[part] == nil {
			t.Errorf("%s, %v: %.200s", name, err, text)
		}
	}
	plain, err := os.ReadFile(filepath.Join(dir, "plain", "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if profiled, err := os.ReadFile(filepath.Join(dir, "run", "model.safetensors")); err != nil || !bytes.Equal(plain, profiled) {
		t.Errorf("a profiled run has other weights (%v)", err)
	}
	if o := execute(t, dir, "train", "mlp", "--steps", "2", "--set", "data.examples=256", "--out", "short", "--profile"); o.status != 0 || !strings.Contains(o.stderr, "ended before a step was profiled") {
		t.Errorf("status %d, %s", o.status, o.stderr)
	}
}
