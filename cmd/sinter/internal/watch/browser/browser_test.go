package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sinter-dl/sinter/internal/testenv"
	"github.com/sinter-dl/sinter/train/rundir"
)

// command is the path of the sinter command, built once.
var command string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sinter-browser-")
	if err != nil {
		panic(err)
	}
	command = filepath.Join(dir, "sinter")
	build := exec.Command("go", "build", "-o", command, "./cmd/sinter")
	build.Dir = filepath.Join("..", "..", "..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("building the command: %v\n%s", err, out)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// tab is a page in the browser, with what went wrong on it.
type tab struct {
	*testing.T
	ctx   context.Context
	url   string
	width int64

	mu       sync.Mutex
	problems []string
}

// open serves the runs in dir and opens the page at that place, in a browser that finds
// no host but this one.
func open(t *testing.T, dir, hash string, width, height int64, dark bool) *tab {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	testenv.Require(t, "browser", program != "", "there is no Chromium; it is Debian's package chromium")
	serve := exec.Command(command, "watch", "--dir", dir, "--listen", "127.0.0.1:0")
	out, err := serve.StdoutPipe()
	if err == nil {
		err = serve.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { serve.Process.Kill(); serve.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p := &tab{T: t, url: strings.TrimSpace(address), width: width}

	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p.ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	chromedp.ListenTarget(p.ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			p.problem("exception: %s", e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
				for _, arg := range e.Args {
					p.problem("console: %s %s", arg.Value, arg.Description)
				}
			}
		case *cdplog.EventEntryAdded: // what the policy forbids, and what could not be loaded
			p.problem("log: %s %s", e.Entry.Text, e.Entry.URL)
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, p.url) && !strings.HasPrefix(u, "data:image/png;base64,") {
				p.problem("asked for %s", u)
			}
		}
	})
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.run(network.Enable(), cdplog.Enable(),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		emulation.SetDeviceMetricsOverride(width, height, 1, width < 500),
		chromedp.Navigate(p.url+hash), chromedp.WaitVisible("body[data-ready]"))
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Error(problem)
		}
	})
	return p
}

func (p *tab) problem(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *tab) run(actions ...chromedp.Action) {
	p.Helper()
	if err := chromedp.Run(p.ctx, actions...); err != nil {
		p.Fatal(err)
	}
}

// eval gives what an expression is on the page.
func eval[T any](p *tab, expression string) (v T) {
	p.Helper()
	if err := chromedp.Run(p.ctx, chromedp.Evaluate(expression, &v)); err != nil {
		p.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true.
func (p *tab) until(expression string) {
	p.Helper()
	var ok bool
	if err := chromedp.Run(p.ctx, chromedp.Poll(expression, &ok, chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		p.Fatalf("%s does not become true: %v\n%s", expression, err, eval[string](p, "document.body.innerText"))
	}
}

// keep saves a picture of the whole page, if somebody wants it.
func (p *tab) keep(name string) {
	p.Helper()
	dir := os.Getenv("SINTER_KEEP")
	if dir == "" {
		return
	}
	var png []byte
	p.run(chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o666); err != nil {
		p.Fatal(err)
	}
}

// The runs that the tests look at.

type run struct {
	dir  string
	t    *testing.T
	log  *os.File
	loss func(step int) float64
}

const (
	stepsOfRun = 1000
	perEpoch   = 200
)

var classes = []string{"cat", "dog", "frog", "<b>ship</b>"}

// newRun writes a run folder as 'sinter train' does, with so many steps.
func newRun(t *testing.T, dir, status, lr string, steps int, loss func(int) float64) *run {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	r := &run{dir: dir, t: t, loss: loss}
	manifest := map[string]any{
		"format": 1, "name": "lenet", "status": status, "started": "2026-11-23T15:00:00Z", "seed": 7, "device": "cpu",
		"recipe": map[string]any{"name": "lenet", "model": map[string]any{"kind": "lenet"}, "optimizer": map[string]any{"kind": "adam", "lr": json.RawMessage(lr)}, "epochs": stepsOfRun / perEpoch, "batch": 10, "precision": "fp32"},
		"input":  map[string]any{"task": "classification", "classes": classes},
		"data":   []any{map[string]any{"role": "train", "path": "glyphs", "examples": 10 * perEpoch, "sha256": "00112233445566778899"}},
	}
	if status == rundir.Complete {
		manifest["results"] = map[string]any{"steps": steps, "epochs": steps / perEpoch, "train_loss": loss(steps), "test_loss": loss(steps) * 1.2, "metrics": map[string]any{"accuracy": .9875}, "seconds": 50, "parameters": 61706, "samples_per_second": 12345.6, "peak_memory_bytes": 70 << 20}
		energy := usage(steps)
		energy["sources"] = []string{"carbon: France (FRA): 44 g/kWh in 2024", "tariff: 0.25 EUR/kWh"}
		energy["joules_per_step"], energy["joules_per_sample"], energy["joules_per_epoch"] = 12., 1.2, nil
		energy["idle_watts"], energy["idle_source"], energy["budget"] = 40, "measured", "5EUR"
		energy["phases"] = map[string]any{"train": map[string]any{"seconds": 50, "joules": 12 * steps}, "pause": map[string]any{"seconds": 7, "joules": 280}}
		manifest["results"].(map[string]any)["energy"] = energy
	}
	r.json("run.json", manifest)
	var err error
	if r.log, err = os.OpenFile(filepath.Join(dir, "metrics.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.log.Close() })
	r.steps(1, steps)
	return r
}

func (r *run) json(name string, v any) {
	r.t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, name), text, 0o666)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// usage is what a run of a GPU that is measured and a processor that is estimated has used
// after a step.
func usage(step int) map[string]any {
	money := func(amount float64) map[string]any { return map[string]any{"amount": amount, "currency": "EUR"} }
	joules := 12 * float64(step)
	return map[string]any{
		"seconds": .05 * float64(step), "joules": joules, "idle_joules": joules / 6, "grams": joules / 3.6e6 * 44, "estimated": true,
		"parts": []any{map[string]any{"component": "gpu 0", "joules": joules * .75, "source": "NVML energy counter", "estimated": false},
			map[string]any{"component": "cpu", "joules": joules * .25, "source": "model", "estimated": true, "note": "<b>by load</b>"}},
		"cost": money(joules / 3.6e6 * .25), "energy_cost": money(joules / 3.6e6 * .25), "device_cost": map[string]any{"amount": 0, "currency": ""},
	}
}

// steps appends what is logged of the steps from one to another.
func (r *run) steps(from, to int) {
	r.t.Helper()
	var b strings.Builder
	for s := from; s <= to; s++ {
		energy := ""
		if s%20 == 0 {
			text, err := json.Marshal(usage(s))
			if err != nil {
				r.t.Fatal(err)
			}
			energy = fmt.Sprintf(`,"power":%.1f,"joules_per_sample":%.4f,"energy":%s`, 240+10*math.Sin(float64(s)), 1.2+.01*math.Cos(float64(s)), text)
		}
		fmt.Fprintf(&b, `{"event":"step","epoch":%d,"step":%d,"loss":%.7g,"lr":%.7g,"grad_norm":%.7g,"seconds":%.3f,"samples_per_second":%d,"memory":%d%s}`+"\n",
			(s-1)/perEpoch+1, s, r.loss(s), 1e-3*math.Sin(math.Pi*float64(s)/stepsOfRun), 1+r.loss(s), float64(s)*.05, 12000+s%77, (60<<20)+s*1000, energy)
		if s%perEpoch == 0 {
			fmt.Fprintf(&b, `{"event":"evaluation","epoch":%d,"step":%d,"train_loss":%.7g,"train_metrics":{"accuracy":%.4f},"test_loss":%.7g,"metrics":{"accuracy":%.4f},"seconds":%.3f}`+"\n",
				s/perEpoch, s, r.loss(s), 1-r.loss(s)/5, r.loss(s)*1.2, 1-r.loss(s)/4, float64(s)*.05)
		}
	}
	if _, err := r.log.WriteString(b.String()); err != nil {
		r.t.Fatal(err)
	}
}

func decay(step int) float64 {
	return 2.5*math.Exp(-float64(step)/180) + .05 + .03*math.Sin(float64(step)*1.7)
}
func slower(step int) float64 { return 2.6*math.Exp(-float64(step)/400) + .08 }

// counts of the confusion matrix: true classes down, predicted ones across.
var counts = [][]int64{{90, 8, 2, 0}, {5, 93, 0, 2}, {0, 1, 99, 0}, {3, 0, 0, 97}}

// pictures adds samples, a confusion matrix and layers.
func (r *run) pictures() {
	r.json("confusion.json", map[string]any{"epoch": 5, "step": stepsOfRun, "classes": classes, "counts": counts})
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range 8 {
		img.SetGray(i, i, color.Gray{Y: 255})
	}
	var picture strings.Builder
	encoder := base64.NewEncoder(base64.StdEncoding, &picture)
	if err := png.Encode(encoder, img); err != nil {
		r.t.Fatal(err)
	}
	encoder.Close()
	var b strings.Builder
	line := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			r.t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	var shown []any
	for i := range 6 {
		shown = append(shown, map[string]any{"index": i, "class": classes[i%4], "png": picture.String()})
	}
	line(map[string]any{"event": "examples", "examples": shown})
	for epoch := 1; epoch <= 5; epoch++ {
		var guesses []any
		for i := range 6 {
			guesses = append(guesses, map[string]any{"index": i, "guesses": []any{map[string]any{"class": classes[min(i, epoch-1)%4], "probability": .75}}})
		}
		line(map[string]any{"event": "predictions", "epoch": epoch, "step": epoch * perEpoch, "predictions": guesses})
	}
	if err := os.WriteFile(filepath.Join(r.dir, "samples.jsonl"), []byte(b.String()), 0o666); err != nil {
		r.t.Fatal(err)
	}
	r.json("layers.json", map[string]any{"model": "LeNet", "parameters": 61706, "flops": 850000, "layers": []any{
		map[string]any{"name": "", "type": "LeNet", "output": []int{32, 4}}, map[string]any{"name": "conv1", "type": "Conv2D", "output": []int{32, 6, 28, 28}, "parameters": 156, "flops": 235200},
		map[string]any{"name": "fc1", "type": "Linear", "output": []int{32, 4}, "parameters": 61550, "flops": 614800}}})
}

// place is the part of the address that selects runs.
func place(ids ...string) string {
	q := url.Values{"run": ids}
	return "#" + q.Encode()
}

const lossPath = `document.querySelector('[data-chart="loss"] path.curve[data-line="train"]')`

// A run that trains grows on the page.
func TestLive(t *testing.T) {
	dir := t.TempDir()
	r := newRun(t, filepath.Join(dir, "lenet-1"), rundir.Running, "0.002", 300, decay)
	lock, err := os.OpenFile(filepath.Join(r.dir, rundir.LockFile), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := flock(lock); err != nil {
		t.Skipf("this system has no flock: %v", err)
	}
	p := open(t, dir, "", 1280, 900, false)
	p.until(lossPath + ` !== null`)
	if got := eval[string](p, `document.querySelector(".title .status").textContent`); got != "running" {
		t.Errorf("the status is %q", got)
	}
	if got := eval[string](p, `document.querySelector("[role=progressbar]").getAttribute("aria-valuenow")`); got != "300" {
		t.Errorf("step %s of 300", got)
	}
	const tile = `[...document.querySelectorAll(".tiles div")].map(e => e.textContent).filter(t => t.startsWith("Energy")).join()`
	if got := eval[string](p, tile); !strings.HasPrefix(got, "Energy≈ 3.60 kJnow ≈ 2") {
		t.Errorf("the tile of energy says %q", got)
	}
	before := eval[string](p, lossPath+`.getAttribute("d")`)
	r.steps(301, 640)
	p.until(`document.querySelector("[role=progressbar]").getAttribute("aria-valuenow") === "640"`)
	p.until(lossPath + `.getAttribute("d") !== ` + fmt.Sprintf("%q", before))
	p.until(`document.querySelectorAll('[data-chart="loss"] circle.mark').length === 3`) // evaluations
	p.until(tile + `.startsWith("Energy≈ 7.68 kJ")`)
	p.until(`["power", "energy/joules", "joules_per_sample"].every(n => document.querySelector('[data-chart="' + n + '"] path.curve'))`)
	p.keep("live")

	// It waits, and goes on.
	for _, c := range []struct{ said, shown string }{{"waits: outage 18:00-20:00, until 20:00", "It waits: outage 18:00-20:00, until 20:00"}, {"went on after 2h0m0s", ""}} {
		if _, err := fmt.Fprintf(r.log, `{"event":"pause","step":640,"text":%q}`+"\n", c.said); err != nil {
			t.Fatal(err)
		}
		p.until(fmt.Sprintf(`[...document.querySelectorAll(".notice")].map(e => e.textContent).join() === %q`, c.shown))
	}

	// Its process dies.
	lock.Close()
	p.until(`document.querySelector(".title .status").textContent === "killed"`)
	if text := eval[string](p, `document.querySelector(".notice").textContent`); !strings.Contains(text, "at step 640") {
		t.Errorf("it says %q", text)
	}
	p.keep("killed")
	// Another run begins.
	newRun(t, filepath.Join(dir, "lenet-2"), rundir.Complete, "0.1", 400, slower)
	p.until(`document.querySelectorAll("#runs li").length === 2`)
}

// looks are the ways in which a page is looked at.
var looks = []struct {
	name          string
	width, height int64
	dark          bool
}{{"desktop", 1440, 1000, false}, {"dark", 1440, 1000, true}, {"phone", 390, 844, false}, {"phone-dark", 390, 844, true}, {"tablet", 820, 1180, false}}

// narrow expects that nothing has to be scrolled sideways.
func (p *tab) narrow(what string) {
	p.Helper()
	// A phone's viewport grows with what does not fit, so innerWidth is no measure.
	if over := eval[int64](p, `document.documentElement.scrollWidth`) - p.width; over > 0 {
		p.Errorf("%s: %d pixels do not fit the width: %s", what, over, eval[string](p, fmt.Sprintf(`[...document.querySelectorAll("main *, nav *, header *")].filter(e => e.getBoundingClientRect().right > %d && !e.closest(".wide")).map(e => e.tagName + "." + e.className).slice(0, 8).join(" ")`, p.width)))
	}
}

func TestLooks(t *testing.T) {
	dir := t.TempDir()
	newRun(t, filepath.Join(dir, "lenet-20261123-150311"), rundir.Complete, "0.002", stepsOfRun, decay).pictures()
	newRun(t, filepath.Join(dir, "lenet-20261123-151907-with-a-name-that-goes-on-and-on-and-on"), rundir.Complete, "0.0005", stepsOfRun, slower)
	for _, look := range looks {
		t.Run(look.name, func(t *testing.T) {
			p := open(t, dir, place("lenet-20261123-150311"), look.width, look.height, look.dark)
			p.until(lossPath + ` !== null && document.querySelector(".matrix") !== null && document.querySelectorAll(".samples img").length === 6`)
			p.narrow("one run")
			p.checkMatrix()
			energy := eval[string](p, `[...document.querySelectorAll("table.energy tr")].map(r => [...r.cells].map(c => c.innerText.trim()).join("|")).join("\n")`)
			for _, want := range []string{"Energy|≈ 12.0 kJ|estimated", "of it gpu 0|9.00 kJ|NVML energy counter", "of it cpu|3.00 kJ|estimated, model, <b>by load</b>", "of it by an idle machine|2.00 kJ", "for a step|≈ 12.0 J",
				"CO₂e|≈ 147 mg|estimated, France (FRA): 44 g/kWh in 2024", "Cost|0.00083 EUR|0.25 EUR/kWh", "Budget|5EUR", "Waiting for the guard|≈ 280 J|in 7.0 s"} {
				if !strings.Contains(energy, want) {
					t.Errorf("the table of energy lacks %q:\n%s", want, energy)
				}
			}
			// The page is as light as it should be, and what is written on it can be read.
			const luminance = `(c => { const [r, g, b] = c.match(/[\d.]+/g).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; })`
			light := eval[float64](p, luminance+`(getComputedStyle(document.body).backgroundColor)`)
			if look.dark && light > .05 || !look.dark && light < .8 {
				t.Errorf("the page has luminance %.3f", light)
			}
			for _, selector := range []string{".facts", ".tiles dt", ".tiles dd", ".legend", ".status.complete", "#runs .about", ".segments button[aria-pressed=true]", ".segments button[aria-pressed=false]", ".chart svg text", ".samples .sure", ".samples .bad .guess", ".matrix th"} {
				contrast := eval[float64](p, fmt.Sprintf(`(() => { const lum = %s; const e = document.querySelector(%q); let b = e; while (getComputedStyle(b).backgroundColor === "rgba(0, 0, 0, 0)") b = b.parentElement;
					const x = lum(e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color), y = lum(getComputedStyle(b).backgroundColor); return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); })()`, luminance, selector))
				if contrast < 4.5 { // WCAG 2, level AA
					t.Errorf("%s has a contrast of %.2f, less than 4.5", selector, contrast)
				}
			}
			if bars := eval[string](p, `[...document.querySelectorAll(".samples figure.bad .guess")].map(e => e.textContent).join(" ")`); bars != "✗ cat" && !strings.HasPrefix(bars, "✗") {
				t.Errorf("wrong predictions are shown as %q", bars)
			}
			p.keep(look.name)

			// Another run beside it.
			p.run(chromedp.Evaluate(`document.querySelector("#drawer").open = true; [...document.querySelectorAll("#runs input")].find(e => !e.checked).click()`, nil))
			p.until(`document.querySelector("h1").textContent === "Comparing 2 runs" && document.querySelectorAll('[data-chart="loss"] path.curve').length === 4`)
			table := eval[string](p, `[...document.querySelectorAll('[data-slot="comparison"] tr')].map(r => [...r.cells].map(c => c.innerText.trim()).join("|")).join("\n")`)
			for _, want := range []string{"optimizer.lr|0.002|0.0005", "test accuracy|98.75 %|98.75 %", "test loss|0.0", "energy|12.0 kJ|12.0 kJ"} {
				if !strings.Contains(table, want) {
					t.Errorf("the comparison lacks %q:\n%s", want, table)
				}
			}
			if strings.Contains(table, "batch|") {
				t.Errorf("the comparison has what does not differ:\n%s", table)
			}
			colors := eval[float64](p, `new Set([...document.querySelectorAll('[data-chart="loss"] path.curve')].map(e => getComputedStyle(e).stroke)).size`)
			if colors != 2 {
				t.Errorf("two runs have %v colours", colors)
			}
			p.narrow("two runs")
			p.keep(look.name + "-compare")
		})
	}
}

// checkMatrix expects the cells to say what the file says, as counts and as shares.
func (p *tab) checkMatrix() {
	p.Helper()
	const cells = `[...document.querySelectorAll(".matrix tbody tr")].map(r => [...r.querySelectorAll("td")].map(c => c.textContent))`
	p.run(chromedp.Evaluate(`document.querySelector(".matrix").closest("section").querySelectorAll(".segments button")[0].click()`, nil))
	for i, row := range eval[[][]string](p, cells) {
		for k, cell := range row {
			if cell != fmt.Sprint(counts[i][k]) {
				p.Errorf("cell %d, %d is %q in place of %d", i, k, cell, counts[i][k])
			}
		}
		if len(row) != len(counts) {
			p.Errorf("row %d has %d cells", i, len(row))
		}
	}
	p.run(chromedp.Evaluate(`document.querySelector(".matrix").closest("section").querySelectorAll(".segments button")[1].click()`, nil))
	for i, row := range eval[[][]string](p, cells) {
		for k, cell := range row {
			if want := fmt.Sprintf("%.1f", 100*float64(counts[i][k])/100); cell != want {
				p.Errorf("share %d, %d is %q in place of %s", i, k, cell, want)
			}
		}
	}
	p.run(chromedp.Evaluate(`document.querySelector(".matrix").closest("section").querySelectorAll(".segments button")[0].click(); document.querySelector('.matrix td[data-at="0,1"]').click()`, nil))
	if said := eval[string](p, `document.querySelector(".said").textContent`); said != "cat taken for dog: 8 of 100 (8.00 %)" {
		p.Errorf("the cell says %q", said)
	}
}

// shown is how the page writes a loss.
func shown(v float64) string {
	switch {
	case v >= 1:
		return fmt.Sprintf("%.3f", v)
	case v >= 1e-3:
		return fmt.Sprintf("%.4f", v)
	}
	return fmt.Sprintf("%.2e", v)
}

func TestPointing(t *testing.T) {
	dir := t.TempDir()
	newRun(t, filepath.Join(dir, "a"), rundir.Complete, "0.002", stepsOfRun, decay)
	p := open(t, dir, "", 1280, 900, false)
	p.until(lossPath + ` !== null`)
	// Without smoothing, the values are those of the file.
	p.run(chromedp.Evaluate(`document.querySelector("#smooth").value = 0; document.querySelector("#smooth").dispatchEvent(new Event("input"))`, nil))
	p.until(`document.querySelector('[data-chart="loss"] path.raw') === null`)
	box := eval[map[string]float64](p, `(r => ({x: r.left, y: r.top, w: r.width, h: r.height}))(document.querySelector('[data-chart="loss"] svg').getBoundingClientRect())`)
	at := func(share float64) (x, y float64) { return box["x"] + box["w"]*share, box["y"] + box["h"]/2 }
	last := 0
	for _, share := range []float64{.2, .35, .5, .8, .95} {
		x, y := at(share)
		p.run(chromedp.MouseEvent(input.MouseMoved, x, y))
		said := eval[[]string](p, `[document.querySelector('[data-chart="loss"] text.at').textContent, document.querySelector('[data-chart="loss"] .legend [data-line="train"] b').textContent, document.querySelector('[data-chart="grad_norm"] .legend b').textContent]`)
		var step int
		if _, err := fmt.Sscanf(strings.ReplaceAll(said[0], ",", ""), "step %d", &step); err != nil || step <= last {
			t.Fatalf("at %v it says %q", share, said)
		}
		last = step
		if want := shown(decay(step)); said[1] != want {
			t.Errorf("at step %d the loss is shown as %s, the file has %s", step, said[1], want)
		}
		if want := shown(1 + decay(step)); said[2] != want {
			t.Errorf("at step %d the norm is shown as %s, the file has %s", step, said[2], want)
		}
		if math.Abs(float64(step)/stepsOfRun-share) > .08 {
			t.Errorf("at %v of the width it points to step %d", share, step)
		}
	}
	p.keep("pointing")

	// Drag to zoom; everything else zooms along.
	x0, y := at(.4)
	x1, _ := at(.6)
	p.run(chromedp.MouseEvent(input.MousePressed, x0, y, chromedp.ButtonLeft), chromedp.MouseEvent(input.MouseMoved, (x0+x1)/2, y, chromedp.ButtonLeft),
		chromedp.MouseEvent(input.MouseMoved, x1, y, chromedp.ButtonLeft), chromedp.MouseEvent(input.MouseReleased, x1, y, chromedp.ButtonLeft))
	p.until(`!document.querySelector("#reset").hidden`)
	frame := func(chart string) []float64 {
		return eval[[]float64](p, fmt.Sprintf(`[charts.get(%q).frame.x0, charts.get(%q).frame.x1]`, chart, chart))
	}
	if f, g := frame("loss"), frame("lr"); f[0] < 300 || f[1] > 700 || f[1]-f[0] > 260 || f[0] != g[0] || f[1] != g[1] {
		t.Errorf("zoomed to %v and %v", f, g)
	}
	p.keep("zoomed")
	p.run(chromedp.MouseClickXY(x0, y, chromedp.ClickCount(2)))
	p.until(`document.querySelector("#reset").hidden && charts.get("loss").frame.x0 === 1 && charts.get("loss").frame.x1 === ` + fmt.Sprint(stepsOfRun))

	// The keyboard does the same.
	p.run(chromedp.MouseEvent(input.MouseMoved, 5, 5), chromedp.Focus(`[data-chart="loss"] svg`), chromedp.KeyEvent("\ue00c"))
	p.run(chromedp.Evaluate(`(e => { for (const key of ["Home", "ArrowRight", "ArrowRight", "+"]) e.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true})); })(document.querySelector('[data-chart="loss"] svg'))`, nil))
	if said := eval[string](p, `document.querySelector('[data-chart="loss"] .quiet').textContent`); !strings.HasPrefix(said, "step ") || !strings.Contains(said, "train") {
		t.Errorf("the keyboard has read out %q", said)
	}
	p.until(`charts.get("loss").frame.x1 < 600`)
	p.run(chromedp.Evaluate(`document.querySelector('[data-chart="loss"] svg').dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}))`, nil))
	p.until(`charts.get("loss").frame.x1 === ` + fmt.Sprint(stepsOfRun))

	// Other axes, and the logarithm.
	for axis, want := range map[string]float64{"time": stepsOfRun * .05, "epoch": stepsOfRun / perEpoch} {
		p.run(chromedp.Click(`[data-axis="` + axis + `"]`))
		p.until(fmt.Sprintf(`Math.abs(charts.get("loss").frame.x1 - %v) < 1e-6`, want))
	}
	was := eval[bool](p, `charts.get("loss").frame.log`)
	p.run(chromedp.Click(`[data-chart="loss"] .log`))
	if eval[bool](p, `charts.get("loss").frame.log`) == was {
		t.Error("the scale has not changed")
	}
}

// Whatever stands in a run folder is shown as text.
func TestHostile(t *testing.T) {
	dir := t.TempDir()
	const attack = `"><img src=x onerror=window.taken=1><script>window.taken=1<`
	id := strings.ReplaceAll(attack, "/", "")
	r := newRun(t, filepath.Join(dir, id), rundir.Complete, "0.002", 100, decay)
	hostile := map[string]any{"format": 1, "name": attack, "status": "failed", "error": attack, "started": "2026-11-23T15:00:00Z", "device": attack,
		"recipe": map[string]any{attack: attack, "precision": attack}, "data": []any{map[string]any{"role": "train", "path": attack, "examples": 10, "sha256": attack}},
		"versions": map[string]any{"cpu": attack, "sinter": attack}, "results": map[string]any{"metrics": map[string]any{attack: 1}}}
	r.json("run.json", hostile)
	name, _ := json.Marshal(attack)
	fmt.Fprintf(r.log, `{"event":%s,"step":5,"text":%s}`+"\n", name, name)
	fmt.Fprintf(r.log, `{"event":"step","step":101,"loss":1,%s:3}`+"\n", name)
	fmt.Fprintf(r.log, `{"event":"evaluation","step":101,"test_loss":1,"metrics":{%s:3}}`+"\n", name)
	r.json("confusion.json", map[string]any{"classes": []string{attack, "b"}, "counts": [][]int{{1, 2}, {3, 4}}})
	line, _ := json.Marshal(map[string]any{"event": "text", "step": 101, "prompt": attack, "text": attack})
	if err := os.WriteFile(filepath.Join(r.dir, "samples.jsonl"), append(line, '\n'), 0o666); err != nil {
		t.Fatal(err)
	}
	r.json("layers.json", map[string]any{"model": attack, "layers": []any{map[string]any{"name": "", "type": attack}, map[string]any{"name": attack, "type": attack}}})
	p := open(t, dir, place(id), 390, 844, false)
	p.until(`document.querySelector("h1") && document.querySelector("h1").textContent === ` + fmt.Sprintf("%q", id) + ` && document.querySelector(".matrix") !== null && document.querySelector("pre.text") !== null`)
	time.Sleep(300 * time.Millisecond) // for what might be on its way
	if eval[bool](p, `window.taken !== undefined`) {
		t.Error("a script out of a run folder has run")
	}
	if n := eval[float64](p, `document.querySelectorAll("img, main script, nav script").length`); n != 0 {
		t.Errorf("%v elements came out of the run folder", n)
	}
	for _, selector := range []string{"pre.text", ".notice", ".matrix th", ".facts"} {
		if text := eval[string](p, `document.querySelector("`+selector+`").textContent`); !strings.Contains(text, attack) {
			t.Errorf("%s is %q", selector, text)
		}
	}
	p.narrow("hostile names")
	p.keep("hostile")
}

// A long run is drawn from few points.
func TestLong(t *testing.T) {
	dir := t.TempDir()
	newRun(t, filepath.Join(dir, "long"), rundir.Complete, "0.002", 200_000, func(s int) float64 {
		if s == 123_456 {
			return 40 // one step among all of them
		}
		return 2.5*math.Exp(-float64(s)/50_000) + .2
	})
	p := open(t, dir, "", 1280, 900, false)
	p.until(lossPath + ` !== null`)
	if n := eval[float64](p, `charts.get("loss").lines[0].x.length`); n > 4000 || n < 500 {
		t.Errorf("the loss is drawn from %v points", n)
	}
	if !eval[bool](p, `charts.get("loss").lines[0].y.some((v, i) => v === 40 && charts.get("loss").lines[0].x[i] === 123456)`) {
		t.Error("the one high step is lost")
	}
	p.keep("long")
}
