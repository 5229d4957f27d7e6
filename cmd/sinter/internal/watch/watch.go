// Package watch serves a page on which runs can be looked at while they train.
//
// The page is a few files of our own in the binary and asks for nothing beyond this
// server. It polls: a request makes the server read what was added to the run folders
// since the last one, so that nothing happens while nobody looks, and no connection
// has to be kept.
//
//	/                 the page
//	/api/runs         the runs, each with a version that changes when anything of it does
//	/api/run?id=      a run's recipe, machine, events, checkpoints, layers
//	/api/curves?id=   its measurements, thinned out and smoothed as the page asks
//	/api/confusion?id=  /api/samples?id=&step=
//
// It only reads. A run is named by an id that is looked up among the runs found, never
// made into a path; a request that names another host than a local machine or an
// address is refused, since it comes from a page elsewhere whose name was pointed here
// (DNS rebinding); the page's policy allows no script but its own, and the script puts
// whatever it is told into the page as text.
package watch

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/history"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

//go:embed page
var page embed.FS

// Server serves the page for some runs.
type Server struct {
	Title string                         // where the runs lie, for people
	Find  func() ([]*history.Run, error) // looks for the runs; called now and then

	mu      sync.Mutex
	runs    []*history.Run
	tracked map[string]*tracked // by folder
	looked  time.Time
	failure error
}

// tracked is what the server knows of a run besides.
type tracked struct {
	run     *history.Run
	version int
	files   string // times and sizes of the files that are read when asked for
	read    time.Time
}

// How often folders are looked at, at most.
const (
	findEvery    = 2 * time.Second
	refreshEvery = 200 * time.Millisecond
)

// Limits of files.
const (
	maxConfusion = 16 << 20
	maxSamples   = 64 << 20
	maxLayers    = 16 << 20
)

// Handler answers requests that come to an address that listens on host.
func (s *Server) Handler(host string) http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic("watch: embedded files: " + err.Error())
	}
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /api/runs", s.serveRuns)
	for name, answer := range map[string]func(*history.Run, *http.Request) (any, error){
		"run": runAnswer, "curves": curvesAnswer, "confusion": confusionAnswer, "samples": samplesAnswer,
	} {
		mux.HandleFunc("GET /api/"+name, func(w http.ResponseWriter, r *http.Request) { s.serveRun(w, r, answer) })
	}
	return guard(host, mux)
}

// guard refuses what does not come from the page itself.
func guard(host string, next http.Handler) http.Handler {
	machine, _ := os.Hostname()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			name = r.Host
		}
		name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
		_, notAddress := netip.ParseAddr(name)
		switch {
		case notAddress == nil, name == "localhost", strings.HasSuffix(name, ".localhost"),
			host != "" && name == strings.ToLower(host), machine != "" && name == strings.ToLower(machine):
		default:
			http.Error(w, "this page is not served under that name", http.StatusForbidden)
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" && strings.HasPrefix(r.URL.Path, "/api/") {
			http.Error(w, "other pages may not read this", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// look brings the list of runs up to date. The mutex is held.
func (s *Server) look() {
	if now := time.Now(); now.Sub(s.looked) > findEvery {
		s.looked = now
		runs, err := s.Find()
		if s.failure = err; err == nil {
			found := map[string]*tracked{}
			for i, r := range runs {
				t := s.tracked[r.Dir]
				if t == nil {
					t = &tracked{run: r, version: 1, files: stamps(r.Dir), read: now}
				}
				found[r.Dir] = t
				runs[i] = t.run
			}
			s.runs, s.tracked = runs, found
		}
	}
	for _, t := range s.tracked {
		t.refresh()
	}
	history.Sort(s.runs)
}

func (t *tracked) refresh() {
	if now := time.Now(); now.Sub(t.read) > refreshEvery {
		t.read = now
		files := stamps(t.run.Dir)
		if changed := t.run.Refresh(); changed || files != t.files {
			t.version++
			t.files = files
		}
	}
}

// stamps are the times and sizes of the files that a page may ask for.
func stamps(dir string) string {
	var b strings.Builder
	for _, name := range []string{rundir.SamplesFile, rundir.ConfusionFile, rundir.LayersFile, rundir.CheckpointsDir} {
		if info, err := os.Stat(dir + string(os.PathSeparator) + name); err == nil {
			fmt.Fprint(&b, name, info.ModTime().UnixNano(), info.Size(), ";")
		}
	}
	return b.String()
}

// number is null in JSON where there is none.
type number = recipe.Number

// summary is a run in the list.
type summary struct {
	ID        string            `json:"id"`
	Version   int               `json:"version"`
	Status    string            `json:"status"`
	Error     string            `json:"error,omitempty"`
	Paused    string            `json:"paused,omitempty"` // why it waits
	Name      string            `json:"name"`
	Data      string            `json:"data"`
	Task      string            `json:"task"`
	Step      int               `json:"step"`
	Steps     int               `json:"steps"`
	Epoch     int               `json:"epoch"`
	Epochs    int               `json:"epochs"`
	Seconds   number            `json:"seconds"`
	Left      number            `json:"left"`
	TrainLoss number            `json:"trainLoss"`
	TestLoss  number            `json:"testLoss"`
	Metrics   map[string]number `json:"metrics"`
	Score     string            `json:"score"`
	Value     number            `json:"value"`
	Speed     number            `json:"speed"`
	Memory    number            `json:"memory"`
	Watts     number            `json:"watts"`

	Energy *recipe.Consumption `json:"energy,omitempty"`

	Parameters int       `json:"parameters"`
	Precision  string    `json:"precision"`
	Device     string    `json:"device"`
	Started    time.Time `json:"started,omitzero"`
	Finished   time.Time `json:"finished,omitzero"`
}

func (s *Server) serveRuns(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	if s.failure != nil {
		fail(w, http.StatusInternalServerError, s.failure)
		return
	}
	list := make([]summary, len(s.runs))
	for i, r := range s.runs {
		list[i] = summarize(r)
		list[i].Version = s.tracked[r.Dir].version
	}
	reply(w, map[string]any{"title": s.Title, "runs": list})
}

func summarize(r *history.Run) summary {
	o := r.Results()
	var input struct{ Task string }
	json.Unmarshal(r.Input, &input)
	out := summary{
		ID: r.ID, Status: r.Status, Error: r.Manifest.Error, Name: r.Name, Task: input.Task, Device: r.Device,
		Step: o.Step, Steps: o.Steps, Epoch: o.Epoch, Epochs: o.Epochs, Seconds: number(o.Seconds), Left: number(o.Left),
		TrainLoss: number(o.TrainLoss), TestLoss: number(o.TestLoss), Metrics: map[string]number{},
		Speed: number(o.SamplesPerSecond), Memory: number(o.PeakMemory), Watts: number(o.Watts), Energy: o.Energy, Parameters: o.Parameters,
		Precision: cmp.Or(o.Precision, setting(r, "precision")), Started: r.Started, Finished: r.Finished,
	}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	out.Paused = r.Paused()
	for _, d := range r.Data {
		if d.Role == "train" {
			out.Data = d.Path
		}
	}
	for name, v := range o.Metrics {
		out.Metrics[name] = number(v)
	}
	name, value, _ := o.Score()
	out.Score, out.Value = name, number(value)
	return out
}

func setting(r *history.Run, key string) string {
	for _, s := range r.Settings() {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// serveRun answers what is about one run.
func (s *Server) serveRun(w http.ResponseWriter, r *http.Request, answer func(*history.Run, *http.Request) (any, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tracked == nil {
		s.look()
	}
	id := r.URL.Query().Get("id")
	at := slices.IndexFunc(s.runs, func(run *history.Run) bool { return run.ID == id })
	if at < 0 {
		fail(w, http.StatusNotFound, fmt.Errorf("there is no run %q", id))
		return
	}
	s.tracked[s.runs[at].Dir].refresh()
	v, err := answer(s.runs[at], r)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, v)
}

func reply(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}

func fail(w http.ResponseWriter, status int, err error) {
	text, _ := json.Marshal(map[string]string{"error": err.Error()})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text)
}

// keyValue is a setting of a recipe.
type keyValue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func runAnswer(r *history.Run, _ *http.Request) (any, error) {
	settings := []keyValue{}
	for _, s := range r.Settings() {
		settings = append(settings, keyValue{s.Key, s.Value})
	}
	events := slices.Clone(r.Log.Events)
	for i, e := range events {
		if math.IsNaN(e.Step) || math.IsInf(e.Step, 0) {
			events[i].Step = 0
		}
	}
	var layers *nn.Summary
	layersError := ""
	if text, err := r.ReadFile(rundir.LayersFile, maxLayers); err != nil {
		layersError = err.Error()
	} else if text != nil {
		if err := json.Unmarshal(text, &layers); err != nil {
			layersError = fmt.Sprintf("%s is damaged: %v", rundir.LayersFile, err)
		}
	}
	return map[string]any{
		"settings": settings, "sources": r.Data, "versions": r.Versions, "seed": strconv.FormatUint(r.Seed, 10), "dir": r.Dir,
		"events": events, "checkpoints": r.Checkpoints(), "resumed": r.Resumed, "skipped": r.Log.Skipped,
		"layers": layers, "layersError": layersError,
	}, nil
}

// Bounds of what a page may ask for.
const (
	mostPoints   = 4000
	mostSmoothed = 0.999
)

func curvesAnswer(run *history.Run, r *http.Request) (any, error) {
	q := r.URL.Query()
	float := func(key string) float64 {
		v, err := strconv.ParseFloat(q.Get(key), 64)
		if err != nil || math.IsInf(v, 0) {
			return math.NaN()
		}
		return v
	}
	points := float("points")
	if !(points >= 16 && points <= mostPoints) {
		points = 600
	}
	view := history.View{
		Axis: history.Axis(q.Get("axis")), StepsPerEpoch: run.StepsPerEpoch(),
		From: float("from"), To: float("to"), Buckets: int(points) / 2,
	}
	smooth := float("smooth")
	if !(smooth >= 0) {
		smooth = 0
	}
	type line struct {
		X      history.Floats `json:"x"`
		Y      history.Floats `json:"y"`
		Smooth history.Floats `json:"smooth,omitempty"`
	}
	lines := map[string]line{}
	for _, t := range []struct {
		table  *history.Table
		smooth float64
		prefix string
	}{{&run.Log.Steps, min(smooth, mostSmoothed), "step/"}, {&run.Log.Evaluations, 0, ""}} {
		for _, name := range t.table.Names() {
			v := view
			v.Smooth = t.smooth
			if name != "loss" && name != "grad_norm" && !strings.HasSuffix(name, "loss") {
				v.Smooth = 0
			}
			c := t.table.Curve(name, v)
			lines[t.prefix+name] = line{present(c, c.X), present(c, c.Y), present(c, c.Smooth)}
		}
	}
	return map[string]any{"lines": lines, "stepsPerEpoch": number(view.StepsPerEpoch)}, nil
}

// present leaves out the moments at which a curve that is measured only now and then
// was not; a curve that is null where it was measured keeps its gaps.
func present(c history.Curve, values history.Floats) history.Floats {
	missing := 0
	for _, v := range c.Y {
		if math.IsNaN(v) {
			missing++
		}
	}
	if 4*missing < len(c.Y) || values == nil {
		return values
	}
	out := history.Floats{}
	for i, v := range c.Y {
		if !math.IsNaN(v) {
			out = append(out, values[i])
		}
	}
	return out
}

// maxClasses is how large a matrix the page is sent.
const maxClasses = 1000

func confusionAnswer(run *history.Run, _ *http.Request) (any, error) {
	text, err := run.ReadFile(rundir.ConfusionFile, maxConfusion)
	if err != nil || text == nil {
		return nil, err
	}
	var m recipe.ConfusionMatrix
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%s is damaged: %v", rundir.ConfusionFile, err)
	}
	if n := len(m.Classes); n > maxClasses {
		return nil, fmt.Errorf("a matrix of %d classes is not shown; it is in %s", n, rundir.ConfusionFile)
	}
	for _, row := range m.Counts {
		if len(row) != len(m.Classes) || len(m.Counts) != len(m.Classes) {
			return nil, fmt.Errorf("%s is damaged: it has %d classes, but other rows or columns", rundir.ConfusionFile, len(m.Classes))
		}
	}
	return m, nil
}

// samplesAnswer has the examples, the steps at which there are samples, and the samples
// of the step that was asked for, else of the last.
func samplesAnswer(run *history.Run, r *http.Request) (any, error) {
	text, err := run.ReadFile(rundir.SamplesFile, maxSamples)
	if err != nil || text == nil {
		return nil, err
	}
	wanted, wantErr := strconv.Atoi(r.URL.Query().Get("step"))
	steps := []int{}
	var shown, found *recipe.Sample
	for line := range strings.Lines(string(text)) {
		var s recipe.Sample
		if !strings.HasSuffix(line, "\n") || json.Unmarshal([]byte(line), &s) != nil {
			continue
		}
		switch s.Event {
		case recipe.SamplesShown:
			shown = &s
			continue
		case recipe.SamplesGuessed, recipe.SamplesValued, recipe.SamplesWritten:
		default:
			continue
		}
		steps = append(steps, s.Step)
		if wantErr != nil || found == nil || s.Step <= wanted {
			found = &s
		}
	}
	return map[string]any{"shown": shown, "steps": steps, "at": found}, nil
}
