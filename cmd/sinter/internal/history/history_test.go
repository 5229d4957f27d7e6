package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/train/rundir"
)

var nan = math.NaN()

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// follow reads on and fails where Follow does.
func follow(t *testing.T, l *Log) bool {
	t.Helper()
	changed, err := l.Follow()
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestFollow(t *testing.T) {
	name := filepath.Join(t.TempDir(), "metrics.jsonl")
	l := NewLog(name)
	if follow(t, l) {
		t.Error("a file that is not there has changed")
	}
	appendTo(t, name, `{"event":"step","epoch":1,"step":1,"loss":2.5,"lr":0.1,"seconds":0.5}`+"\n"+`{"event":"step","step":2,"lo`)
	if !follow(t, l) || follow(t, l) {
		t.Error("change was not seen, or seen twice")
	}
	if l.Steps.Len() != 1 {
		t.Fatalf("%d steps of one whole line", l.Steps.Len())
	}
	appendTo(t, name, `ss":null,"seconds":1}`+"\n"+
		`{"event":"evaluation","epoch":1,"step":2,"train_loss":2,"train_metrics":{"accuracy":0.5},"test_loss":null,"metrics":{"accuracy":0.25},"seconds":1.5}`+"\n"+
		`{"event":"checkpoint","step":2,"name":"step-2","bytes":5121380,"score":{"name":"test_loss","value":1.40402263},"seconds":3}`+"\n"+
		`{"event":"control","step":2,"lr":0.05,"said":{"lr":"0.05"},"sha256":"abc"}`+"\n"+
		`{"event":"note","step":2,"message":"the \u003cb\u003e disk is full"}`+"\n"+
		"\n"+"not json\n"+`[1,2]`+"\n"+`{"event":"step","loss":1}`+"\n"+
		`{"epoch":2,"step":3,"loss":1.5,"grad_norm":7,"seconds":2}`+"\n"+
		`{"epoch":2,"step":3,"train_loss":1,"test_loss":1.25,"seconds":2}`+"\n")
	follow(t, l)
	if got, want := l.Steps.Step, []float64{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("steps %v", got)
	}
	if got := fmt.Sprint(l.Steps.Columns["loss"], l.Steps.Columns["grad_norm"]); got != "[2.5 NaN 1.5] [NaN NaN 7]" {
		t.Errorf("columns %s", got)
	}
	if got := l.Evaluations.Names(); !slices.Equal(got, []string{"test/accuracy", "test/loss", "train/accuracy", "train/loss"}) {
		t.Errorf("measured %v", got)
	}
	if got := fmt.Sprint(l.Evaluations.Columns["test/loss"], l.Evaluations.Last("test/accuracy")); got != "[NaN 1.25] 0.25" {
		t.Errorf("evaluations %s", got)
	}
	if l.Skipped != 3 {
		t.Errorf("%d lines were left out, expected three", l.Skipped)
	}
	if len(l.Events) != 3 || l.Events[0] != (Event{"checkpoint", 2, "step-2, size 4.9 MiB, test_loss 1.404"}) || l.Events[1].Text != "lr 0.05" || l.Events[2].Text != "the <b> disk is full" {
		t.Errorf("events %+v", l.Events)
	}

	// The run goes on from step 1, without and with its log having been cut.
	appendTo(t, name, `{"event":"step","step":2,"loss":9}`+"\n")
	follow(t, l)
	if got := fmt.Sprint(l.Steps.Step, l.Steps.Columns["loss"]); got != "[1 2] [2.5 9]" {
		t.Errorf("after going on from step 1: %s", got)
	}
	size := l.offset
	if err := os.WriteFile(name, []byte(strings.Repeat(`{"event":"step","step":1,"loss":4}`+"\n", int(size)/30)), 0o666); err != nil {
		t.Fatal(err)
	}
	follow(t, l)
	if got := fmt.Sprint(l.Steps.Columns["loss"], l.Evaluations.Len(), l.Skipped); got != "[4] 0 0" {
		t.Errorf("after the log was cut and grew again: %s", got)
	}
	if err := os.WriteFile(name, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if follow(t, l); l.Steps.Len() != 0 {
		t.Error("an empty file has steps")
	}
}

// What someone else wrote takes no more memory than it has bytes, and stops nothing.
func TestHostileLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "metrics.jsonl")
	var b strings.Builder
	b.WriteString(strings.Repeat("x", 3<<20) + "\n")
	b.WriteString(`{"event":"note","step":1,"text":"` + strings.Repeat("é", 5000) + "\"}\n")
	for i := range 2000 {
		fmt.Fprintf(&b, `{"event":"step","step":%d,"column%d":1}`+"\n", i+1, i)
	}
	b.WriteString(strings.Repeat("[", 100000) + "\n")
	b.WriteString(`{"event":"step","step":1e999,"loss":1}` + "\n" + `{"event":"step","step":"two","loss":1}` + "\n" + `{"step":0x10,"loss":1}` + "\n")
	b.WriteString(`{"event":"step","step":3000,"loss":1,"loss":2}` + "\n")
	appendTo(t, name, b.String())
	l := NewLog(name)
	follow(t, l)
	if l.Steps.Len() != 2001 || len(l.Steps.Columns) != maxColumns || l.Skipped != 5 {
		t.Errorf("%d steps, %d columns, %d left out", l.Steps.Len(), len(l.Steps.Columns), l.Skipped)
	}
	if len(l.Events) != 1 || len(l.Events[0].Text) > maxText+10 {
		t.Errorf("%d events", len(l.Events))
	}
	if _, err := NewLog(t.TempDir()).Follow(); err == nil {
		t.Error("a folder was read as a log")
	}
}

// The two ways of reading a line agree.
func TestScanAgrees(t *testing.T) {
	for _, line := range []string{
		`{"event":"step","epoch":1,"step":12,"loss":1e-3,"lr":null}`,
		` { "step" : 1 , "loss":-2.5e+10 } `, `{}`, `{"a":1,}`, `{"a":nul}`, `{"a":1}}`, `{"a\u0041":1}`, `{"a":[1]}`, `{"a":{"b":2}}`,
		`{"event":"note","text":"hello"}`, `{"a":+1}`, `{"a":1 2}`, `{"a":Infinity}`, `{"a":1`, `"a"`, ``,
	} {
		fields, event, ok := scan([]byte(line))
		var object map[string]any
		err := json.Unmarshal([]byte(line), &object)
		if ok && err != nil {
			t.Errorf("%s was taken, but it is no JSON: %v", line, err)
		}
		if !ok {
			continue
		}
		want := flatten(object)
		slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
		if name, _ := object["event"].(string); fmt.Sprint(fields) != fmt.Sprint(want) || name != event {
			t.Errorf("%s: %v %q, encoding/json has %v", line, fields, event, want)
		}
	}
}

// Smoothed values are those of TensorBoard's classicSmoothing.
// What a run has used is what its newest line says, of a run that has ended its results; what
// is no such thing is none.
func TestEnergy(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, rundir.MetricsFile)
	line := func(step int, energy string) string {
		return fmt.Sprintf(`{"event":"step","step":%d,"loss":1,"power":%d.5,"joules_per_sample":0.25,"energy":%s}`+"\n", step, 200+step, energy)
	}
	appendTo(t, name, `{"event":"step","step":1,"loss":2}`+"\n"+
		line(2, `{"seconds":1,"joules":100,"idle_joules":10,"parts":[{"component":"gpu 0","joules":100,"source":"NVML","estimated":false}],"grams":2,"cost":{"amount":0.5,"currency":"EUR"}}`)+
		line(3, `{"seconds":2,"joules":210,"parts":[{"component":"gpu 0","joules":210,"source":"NVML"}],"grams":4,"cost":{"amount":1,"currency":"EUR"}}`)+
		`{"event":"step","step":4,"loss":2}`+"\n"+line(5, `{"seconds":"long"}`)+line(6, `{"joules":1,"parts":7}`)+line(7, `[1]`))
	manifest := `{"format":1,"name":"x","status":%q,"results":%s}`
	write := func(status, results string) Results {
		if err := os.WriteFile(filepath.Join(dir, rundir.ManifestFile), []byte(fmt.Sprintf(manifest, status, results)), 0o666); err != nil {
			t.Fatal(err)
		}
		r := Open(dir, "x")
		return r.Results()
	}
	o := write(rundir.Running, "null")
	if e := o.Energy; e == nil || e.Joules != 210 || e.Cost.Amount != 1 || e.Parts[0].Joules != 210 || e.JoulesPerSample != 0.25 || o.Watts != 207.5 {
		t.Errorf("of the log: %+v, %g W", e, o.Watts)
	}
	l := Open(dir, "x").Log
	if got := fmt.Sprint(l.Steps.Columns["energy/joules"][:4], l.Steps.Columns["energy/cost"][:3]); got != "[NaN 100 210 NaN] [NaN 0.5 1]" {
		t.Errorf("columns %s", got)
	}
	o = write(rundir.Complete, `{"energy":{"seconds":3,"joules":300,"kwh":1,"joules_per_step":null,"phases":{"train":{"seconds":3,"joules":300},"steps":4},"budget_used_up":true}}`)
	if e := o.Energy; e.Joules != 300 || e.Phases.Steps != 4 || !e.UsedUp || !math.IsNaN(float64(e.JoulesPerStep)) {
		t.Errorf("of the results: %+v", e)
	}
	if o := write(rundir.Complete, `{"steps":4}`); o.Energy == nil || o.Energy.Joules != 210 {
		t.Errorf("of results without energy: %+v", o.Energy)
	}
}

func TestSmooth(t *testing.T) {
	got := ema([]float64{1, 3, 2, nan, 5, 4}, 0.6)
	want := []float64{1, 2.25, 2.1224489796, nan, 3.4448529412, 3.6856349757}
	for i, w := range want {
		if math.Abs(got[i]-w) > 1e-9 || math.IsNaN(w) != math.IsNaN(got[i]) {
			t.Errorf("value %d is %v, TensorBoard has %v", i, got[i], w)
		}
	}
}

// Each part of the axis keeps its extremes, whatever is left out.
func TestCurveKeepsExtremes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var table Table
	for i := range 100_000 {
		v := rng.NormFloat64()
		if i%1000 == 7 {
			v = nan
		}
		table.add([]field{{"step", float64(i + 1)}, {"seconds", float64(i) / 10}, {"epoch", float64(i/1000 + 1)}, {"loss", v}})
	}
	const buckets = 300
	for _, v := range []View{
		{Axis: ByStep, From: nan, To: nan, Buckets: buckets},
		{Axis: ByTime, From: 2000, To: 7000, Buckets: buckets, Smooth: 0.9},
		{Axis: ByEpoch, StepsPerEpoch: 1000, From: 3.5, To: 80.25, Buckets: buckets},
	} {
		all := table.Curve("loss", View{Axis: v.Axis, StepsPerEpoch: v.StepsPerEpoch, From: v.From, To: v.To, Smooth: v.Smooth})
		few := table.Curve("loss", v)
		if len(few.X) > 3*buckets+3 || !slices.IsSorted(few.X) {
			t.Errorf("%v: %d points", v, len(few.X))
		}
		low, high := all.X[0], all.X[len(all.X)-1]
		if !math.IsNaN(v.From) && (low > v.From || low < v.From-1) || few.X[0] != low && few.X[0] > low+(high-low)/buckets {
			t.Errorf("%v begins at %v, all points at %v", v, few.X[0], low)
		}
		extremes := func(c Curve) (least, most [buckets + 1]float64) {
			for i, x := range c.X {
				if b := int((x - low) / ((high - low) / buckets)); !math.IsNaN(c.Y[i]) {
					least[b], most[b] = min(least[b], c.Y[i]), max(most[b], c.Y[i])
				}
			}
			return least, most
		}
		least, most := extremes(all)
		if l, m := extremes(few); l != least || m != most {
			t.Errorf("%v: the extremes are not those of all points", v)
		}
		for i, x := range few.X {
			at, _ := slices.BinarySearch(all.X, x)
			if v.Smooth > 0 && all.Smooth[at] != few.Smooth[i] && !math.IsNaN(few.Smooth[i]) {
				t.Fatalf("%v: the running mean at %v is %v of all points and %v of few", v, x, all.Smooth[at], few.Smooth[i])
			}
		}
	}
	if c := table.Curve("no such", View{From: nan, To: nan, Buckets: 5}); len(c.X) != 0 {
		t.Errorf("a column that is not there has %d points", len(c.X))
	}
	if c := table.Curve("loss", View{Axis: ByStep, From: 5, To: 2, Buckets: 5}); len(c.X) > 2 {
		t.Errorf("an empty range has %d points", len(c.X))
	}
}

func TestFind(t *testing.T) {
	base := t.TempDir()
	put := func(path, content string) {
		name := filepath.Join(base, path)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	put("old/run.json", `{"format":1,"name":"lenet","status":"complete","started":"2026-01-01T00:00:00Z",
		"recipe":{"name":"lenet","model":{"kind":"mlp","hidden":[1,2]},"epochs":2,"batch":10},"data":[{"role":"train","examples":25}],
		"results":{"steps":6,"epochs":2,"metrics":{"accuracy":0.5,"odd":null},"test_loss":1.5}}`)
	put("new/run.json", `{"format":1,"name":"lenet","status":"running","started":"2026-02-01T00:00:00Z",
		"recipe":{"name":"lenet","model":{"kind":"mlp","hidden":[1,3]},"epochs":2,"batch":10},"data":[{"role":"train","examples":25}]}`)
	put("new/metrics.jsonl", `{"event":"step","epoch":2,"step":4,"loss":1,"seconds":2}`+"\n")
	put("search/trial-1/run.json", `{"format":1,"name":"gpt","status":"complete","started":"2026-01-15T00:00:00Z"}`)
	put("cut/run.json", `{"format":1,`)
	put("lost/metrics.jsonl", "")
	put("later/run.json", `{"format":99}`)
	put("text/readme", "")
	put(".hidden/run.json", `{"format":1}`)
	runs, err := Find(base)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range runs {
		got = append(got, r.ID+" "+r.Status)
		if (r.Err != nil) != (r.Status == Damaged) {
			t.Errorf("%s is %s: %v", r.ID, r.Status, r.Err)
		}
	}
	// Nobody holds the lock of the one that says it is running.
	if want := []string{"new killed", "search/trial-1 complete", "old complete", "cut damaged", "later damaged", "lost damaged"}; !slices.Equal(got, want) {
		t.Fatalf("found %q", got)
	}
	if o := runs[0].Results(); o.Step != 4 || o.Steps != 6 || o.Epochs != 2 || o.TrainLoss != 1 || o.Seconds != 2 {
		t.Errorf("the one that is under way: %+v", o)
	}
	if o := runs[2].Results(); o.Step != 6 || o.TestLoss != 1.5 || len(o.Metrics) != 1 {
		t.Errorf("the one that is done: %+v", o)
	}
	if d := Differences([]*Run{runs[0], runs[2]}); len(d) != 1 || d[0].Key != "model.hidden" || !slices.Equal(d[0].Values, []string{"[1,3]", "[1,2]"}) {
		t.Errorf("differences %v", d)
	}
	if runs[0].Refresh() {
		t.Error("nothing has changed, but it says so")
	}
	put("new/run.json", `{"format":1,"name":"lenet","status":"interrupted","started":"2026-02-01T00:00:00Z"}`)
	if !runs[0].Refresh() || runs[0].Status != rundir.Interrupted {
		t.Errorf("the new status is not seen: %s", runs[0].Status)
	}
	if _, err := Find(filepath.Join(base, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}
