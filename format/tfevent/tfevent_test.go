package tfevent

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// python is an interpreter that has the package tensorboard: that of the environment
// variable SINTER_TENSORBOARD, else python3.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("SINTER_TENSORBOARD")
	if name == "" {
		name = "python3"
	}
	out, err := exec.Command(name, "-c", "import tensorboard").CombinedOutput()
	testenv.Require(t, "tensorboard", err == nil, "no Python with the package tensorboard: "+name+": "+string(bytes.TrimSpace(out)))
	return name
}

// written is a folder with a file of each kind of value.
func written(t *testing.T) (dir string, picture *image.Gray, h *Histogram, curve PRCurve) {
	t.Helper()
	dir = t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for step := range int64(5) {
		must(w.Scalar("train/loss", step, 1/float64(step+1)))
	}
	must(w.Scalar("odd", 7, math.Inf(1)))
	h = NewHistogram([]float32{-1, -0.5, 0, 0, 0.25, 3})
	must(w.Histogram("weights/fc/weight", 3, h))
	must(w.Histogram("weights/constant", 3, NewHistogram([]float32{2, 2, float32(math.NaN())})))
	picture = image.NewGray(image.Rect(0, 0, 5, 4))
	picture.SetGray(2, 1, color.Gray{200})
	must(w.Image("examples/0", 2, picture))
	must(w.Text("recipe", 1, "# tïtle\n\n    code: yes"))
	curve = PRCurve{[]float64{3, 2, 0}, []float64{2, 1, 0}, []float64{0, 1, 2}, []float64{0, 1, 3}, []float64{0.6, 2. / 3, 1}, []float64{1, 2. / 3, 0}}
	must(w.PRCurve("pr/positive", 4, curve))
	must(w.Graph([]Node{
		{Name: "input", Op: "input", Shape: []int64{8, 3}},
		{Name: "fc/weight", Op: "variable", Shape: []int64{5, 3}, Attrs: map[string]string{"dtype": "float32"}},
		{Name: "fc/linear", Op: "linear", Inputs: []string{"input", "fc/weight"}, Shape: []int64{8, 5}},
	}))
	must(w.HParams(map[string]any{"lr": 0.01, "batch": 64, "model": "mlp", "compile": true}, []string{"test/loss"}))
	must(w.HParamsEnd(true))
	must(w.Close())
	return dir, picture, h, curve
}

// TestOfficialReader lets TensorBoard's own package read a file: each tag and value.
func TestOfficialReader(t *testing.T) {
	python := python(t)
	dir, picture, h, curve := written(t)
	cmd := exec.Command(python, filepath.Join("testdata", "read.py"), dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var got struct {
		Tags       map[string]any
		Scalars    map[string][][3]float64
		Histograms map[string][][]any
		Images     map[string][][]any
		Graph      []struct {
			Name, Op string
			Inputs   []string
			Shape    []int64
			Attrs    map[string]string
		}
		Provider struct {
			Scalars, Histograms, Text map[string][]any
			Images                    map[string][]any
			PRCurves                  map[string][]any `json:"pr_curves"`
			Graphs                    []string
		}
		HParams struct {
			HParams map[string]any
			Status  int
			Types   map[string]int
			Metrics []string
		}
	}
	// Python writes Infinity.
	if err := json.Unmarshal(bytes.ReplaceAll(out, []byte("Infinity"), []byte("1e300")), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	same := func(name string, got, want any) {
		t.Helper()
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		if !bytes.Equal(g, w) {
			t.Errorf("%s:\n     %s\nwant %s", name, g, w)
		}
	}
	wantScalars := map[string][][2]float64{"train/loss": nil, "odd": {{7, 1e300}}}
	for step := range 5 {
		wantScalars["train/loss"] = append(wantScalars["train/loss"], [2]float64{float64(step), float64(float32(1 / float64(step+1)))})
	}
	for tag, rows := range got.Scalars {
		var list [][2]float64
		for i, r := range rows {
			list = append(list, [2]float64{r[0], r[2]})
			if r[1] < 1.7e9 || i > 0 && r[1] < rows[i-1][1] {
				t.Errorf("%s has the times %v", tag, rows)
			}
		}
		same(tag, list, wantScalars[tag])
	}
	same("scalars", len(got.Scalars), 2)
	same("scalars of the provider", got.Provider.Scalars, wantScalars)
	same("histogram", got.Histograms["weights/fc/weight"], [][]any{{3, h.Min, h.Max, h.Num, h.Sum, h.SumSquares, h.Limits, h.Counts}})
	same("histogram of equal values", got.Histograms["weights/constant"], [][]any{{3, 2, 2, 2, 4, 8, []float64{2}, []float64{2}}})
	same("histograms of the provider", len(got.Provider.Histograms), 2)
	// The provider's image is width, height, PNG; the text its strings.
	pngHex := got.Images["examples/0"][0][3].(string)
	same("image", got.Images["examples/0"][0][:3], []any{2, 5, 4})
	raw, err := hex.DecodeString(pngHex)
	if err != nil {
		t.Fatal(err)
	}
	decoded, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil || decoded.(*image.Gray).GrayAt(2, 1) != (color.Gray{200}) || !reflect.DeepEqual(decoded, image.Image(picture)) {
		t.Errorf("the picture is %v, %v", decoded, err)
	}
	same("images of the provider", got.Provider.Images, map[string]any{"examples/0": []any{[]any{2, []string{hex.EncodeToString([]byte("5")), hex.EncodeToString([]byte("4")), pngHex}}}})
	same("text", got.Provider.Text, map[string]any{"recipe/text_summary": []any{[]any{1, []string{"# tïtle\n\n    code: yes"}}}})
	var rows [][]float32
	for _, row := range [][]float64{curve.TruePositives, curve.FalsePositives, curve.TrueNegatives, curve.FalseNegatives, curve.Precision, curve.Recall} {
		var r []float32
		for _, v := range row {
			r = append(r, float32(v))
		}
		rows = append(rows, r)
	}
	pr, ok := got.Provider.PRCurves["pr/positive"]
	if !ok || len(pr) != 1 {
		t.Fatalf("PR curves %v", got.Provider.PRCurves)
	}
	for i, row := range pr[0].([]any)[1].([]any) {
		for k, v := range row.([]any) {
			if float32(v.(float64)) != rows[i][k] {
				t.Errorf("PR curve: row %d is %v, want %v", i, row, rows[i])
			}
		}
	}
	type node struct {
		Name, Op string
		Inputs   []string
		Shape    []int64
		Attrs    map[string]string
	}
	same("graph", got.Graph, []node{
		{"input", "input", []string{}, []int64{8, 3}, map[string]string{}},
		{"fc/weight", "variable", []string{}, []int64{5, 3}, map[string]string{"dtype": "float32"}},
		{"fc/linear", "linear", []string{"input", "fc/weight"}, []int64{8, 5}, map[string]string{}},
	})
	if len(got.Provider.Graphs) == 0 {
		t.Error("the provider has no graph")
	}
	same("hparams", got.HParams.HParams, map[string]any{"lr": 0.01, "batch": 64, "model": "mlp", "compile": true})
	same("status", got.HParams.Status, 1)
	same("types", got.HParams.Types, map[string]int{"lr": 3, "batch": 3, "model": 1, "compile": 2})
	same("metrics", got.HParams.Metrics, []string{"test/loss"})
}

// What is written comes back.
func TestRoundTrip(t *testing.T) {
	dir, _, h, _ := written(t)
	events := readDir(t, dir)
	if events[0].FileVersion != "brain.Event:2" || len(events) != 16 {
		t.Fatalf("%d events, the first is %+v", len(events), events[0])
	}
	byTag := map[string]Value{}
	for _, e := range events {
		for _, v := range e.Values {
			byTag[v.Tag] = v
		}
	}
	if v := byTag["train/loss"]; v.Scalar == nil || *v.Scalar != 0.2 {
		t.Errorf("train/loss is %+v", v)
	}
	if v := byTag["weights/fc/weight"]; !reflect.DeepEqual(v.Histogram, h) {
		t.Errorf("the histogram is %+v, want %+v", v.Histogram, h)
	}
	if v := byTag["recipe/text_summary"]; v.Plugin != "text" || v.Tensor.Strings[0] != "# tïtle\n\n    code: yes" {
		t.Errorf("the text is %+v", v)
	}
	if v := byTag["pr/positive"]; v.Plugin != "pr_curves" || !slices.Equal(v.Tensor.Shape, []int64{6, 3}) || len(v.Tensor.Floats) != 18 {
		t.Errorf("the curve is %+v", v)
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	want := Event{WallTime: 12.5, Step: -3, Values: []Value{
		{Tag: "a", Plugin: "p", Content: []byte{1}, DisplayName: "A", Description: "d", Tensor: &Tensor{DType: Int64, Shape: []int64{2}, Ints: []int64{-1, 1 << 40}}},
		{Tag: "b", Tensor: &Tensor{DType: Int32, Ints: []int64{-7}}},
		{Tag: "c", Tensor: &Tensor{DType: Double, Shape: []int64{1}, Doubles: []float64{0.1}}},
	}, SessionStart: true}
	if err := errors.Join(w.Write(want), w.Close()); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&b)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Next(); err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func readDir(t *testing.T, dir string) []*Event {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("files %v, %v", names, err)
	}
	f, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	events, err := NewReader(f).All()
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// A file that TensorFlow has written: 105 records, says who keeps it.
func TestTensorFlow(t *testing.T) {
	f, err := os.Open(testenv.SharedData(t, "tensorboard", "events.out.tfevents.1585769947.cvp"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	events, err := NewReader(f).All()
	if err != nil || len(events) != 105 || events[0].FileVersion != "brain.Event:2" {
		t.Fatalf("%d events, %v", len(events), err)
	}
	graphs, scalars := 0, 0
	for _, e := range events {
		if len(e.Graph) > 0 {
			graphs++
		}
		for _, v := range e.Values {
			if v.Tag == "" || v.Scalar == nil && v.Tensor == nil && v.Histogram == nil && v.Image == nil {
				t.Errorf("step %d: %+v", e.Step, v)
			}
			if v.Scalar != nil || v.Plugin == "scalars" {
				scalars++
			}
		}
	}
	if scalars == 0 {
		t.Error("no scalars")
	}
	t.Logf("%d graphs, %d scalars", graphs, scalars)
}

// Damage is found and named; a cut file gives what is whole.
func TestDamage(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for i := range int64(3) {
		if err := w.Scalar("x", i, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	for cut := range len(whole) {
		events, err := NewReader(bytes.NewReader(whole[:cut])).All()
		if len(events) > 3 || err != nil && !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %d events, %v", cut, len(events), err)
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 4
		if events, err := NewReader(bytes.NewReader(bad)).All(); err == nil {
			t.Fatalf("byte %d was altered, and %d events were read", i, len(events))
		}
	}
	if _, err := NewReader(bytes.NewReader(nil)).Next(); err != io.EOF {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\x7f\x00\x00\x00\x00"))
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Histogram("h", 1, NewHistogram([]float32{1, 2, 3}))
	w.Text("t", 1, "x")
	w.HParams(map[string]any{"a": 1.5}, nil)
	w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		NewReader(bytes.NewReader(file)).All()
		// The checksums keep nearly all that is made up from the messages.
		new(Event).parse(file)
		new(Value).parse(file)
	})
}
