package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
)

// progress shows how training goes: a bar on a terminal, plain lines or JSON lines
// elsewhere.
type progress struct {
	train.NopCallback
	out  *os.File
	line *ui.Line // on a terminal
	json bool

	name    string
	shown   time.Time // when the step was last shown
	stepped bool      // a step has been shown
	paused  bool      // the run waits
}

// How often a step is shown.
const (
	barInterval  = 100 * time.Millisecond
	jsonInterval = time.Second
	textInterval = 10 * time.Second
)

func newProgress(out *os.File, asJSON bool) *progress {
	p := &progress{out: out, json: asJSON}
	if !asJSON && ui.Terminal(out) {
		p.line = ui.NewLine(out)
	}
	return p
}

// show writes the live line, if there is one.
func (p *progress) show(text string) {
	if p.line != nil {
		p.line.Show(text)
	}
}

// clear removes the live line.
func (p *progress) clear() {
	if p.line != nil {
		p.line.Clear()
	}
}

// begin says what will be done and what was decided on the way.
func (p *progress) begin(job *recipe.Job) {
	p.name = job.Recipe.Name
	parameters := nn.Count(job.Model)
	notes := slices.Concat(job.Source.Notes, job.Trainer.Notes(job.Model))
	if p.json {
		p.event(map[string]any{"event": "begin", "recipe": p.name, "description": job.Describe(), "parameters": parameters, "notes": notes})
		return
	}
	fmt.Fprintf(p.out, "%s; %s parameters\n", job.Describe(), ui.Count(parameters))
	for _, note := range notes {
		fmt.Fprintln(p.out, "  "+note)
	}
}

func (p *progress) OnTrainBegin(s *train.State) {
	p.shown = time.Now()
	p.show("compiling the first step …")
}

func (p *progress) OnStep(s *train.State) {
	interval := textInterval
	switch {
	case p.json:
		interval = jsonInterval
	case p.line != nil:
		interval = barInterval
	}
	now := time.Now()
	if now.Sub(p.shown) < interval && (p.stepped || !p.json) { // as JSON the first is shown in any case
		return
	}
	p.shown, p.stepped = now, true
	switch {
	case p.json:
		e := map[string]any{
			"event": "step", "epoch": s.Epoch, "epochs": s.Epochs, "step": s.Step, "steps": s.Steps,
			"loss": recipe.Number(s.TrainLoss), "lr": recipe.Number(s.LR),
			"samples_per_second": recipe.Number(s.SamplesPerSecond()), "seconds_left": recipe.Number(s.Left().Seconds()),
		}
		addEnergy(e, s)
		for _, m := range s.TrainMetrics {
			e[m.Name] = recipe.Number(m.Value)
		}
		p.event(e)
	case p.line != nil:
		p.line.Show(p.bar(s))
	default:
		watts, perSample := energyNow(s)
		fmt.Fprintf(p.out, "epoch %d/%d   step %s/%s   %s   %s samples/s   %s%s left\n", s.Epoch, s.Epochs, ui.Count(s.Step), ui.Count(s.Steps),
			measured("", s.TrainLoss, s.TrainMetrics), ui.Number(s.SamplesPerSecond()), apart("   ", watts, perSample), ui.Clock(s.Left()))
	}
}

// apart puts texts before others, with space after each that is not empty.
func apart(space string, texts ...string) string {
	all := ""
	for _, t := range texts {
		if t != "" {
			all += t + space
		}
	}
	return all
}

// addEnergy adds what the run uses to an event.
func addEnergy(e map[string]any, s *train.State) {
	u := s.Usage
	if len(u.Parts) > 0 {
		e["joules"], e["joules_per_sample"] = recipe.Number(u.Joules), recipe.Number(s.Phases.JoulesPerSample())
		e["grams"], e["energy_estimated"] = recipe.Number(u.Grams), slices.ContainsFunc(u.Parts, func(p power.Part) bool { return p.Estimated })
		if s.Watts > 0 {
			e["watts"] = recipe.Number(s.Watts)
		}
	}
	if !u.Cost.IsZero() {
		e["cost"] = u.Cost
	}
}

// OnPause shows why the run waits.
func (p *progress) OnPause(s *train.State) {
	why := s.Paused
	begins := why != nil && !p.paused
	p.paused = why != nil
	switch {
	case why == nil:
		p.clear()
	case p.json && begins:
		e := map[string]any{"event": "pause", "step": s.Step, "reason": why.Reason}
		if !why.Until.IsZero() {
			e["until"] = why.Until
		}
		p.event(e)
	case p.line != nil:
		p.line.Show(fmt.Sprintf("step %s/%s  waiting for %s: %s", ui.Count(s.Step), ui.Count(s.Steps), ui.Clock(time.Since(why.Since)), why))
	case begins && !p.json:
		fmt.Fprintf(p.out, "step %s/%s   waiting: %s\n", ui.Count(s.Step), ui.Count(s.Steps), why)
	}
}

// bar is the live line: epoch, bar, step, loss, metric, speed, power, time left. The bar
// takes what room the rest leaves; on a narrow terminal the rest is said shorter.
func (p *progress) bar(s *train.State) string {
	const least, most = 8, 40 // columns of the bar
	head := fmt.Sprintf("epoch %d/%d ", s.Epoch, s.Epochs)
	steps := ui.Count(s.Step) + "/" + ui.Count(s.Steps)
	loss := measured("", s.TrainLoss, s.TrainMetrics[:min(1, len(s.TrainMetrics))])
	speed, left := ui.Number(s.SamplesPerSecond()), ui.Clock(s.Left())
	watts, perSample := energyNow(s)
	watts, perSample = apart("  ", watts), apart("  ", perSample)
	share := float64(s.Step) / float64(max(1, s.Steps))
	tail := ""
	for _, tail = range []string{
		fmt.Sprintf(" step %s  %s  %s samples/s  %s%s%s left", steps, loss, speed, watts, perSample, left),
		fmt.Sprintf(" %s  %s  %s/s  %s%s left", steps, loss, speed, watts, left),
		fmt.Sprintf(" %s  loss %s  %s/s  %s%s left", steps, ui.Number(s.TrainLoss), speed, watts, left),
		fmt.Sprintf(" %s  loss %s  %s", steps, ui.Number(s.TrainLoss), left),
	} {
		if room := ui.Width(p.out) - 1 - utf8.RuneCountInString(head+tail); room >= least {
			return head + ui.Bar(share, min(room, most)) + tail
		}
	}
	return head + tail
}

func (p *progress) OnEvaluate(s *train.State) {
	e := s.Last
	if p.json {
		line := map[string]any{"event": "evaluate", "epoch": e.Epoch, "epochs": s.Epochs, "step": e.Step, "steps": s.Steps,
			"train_loss": recipe.Number(e.TrainLoss), "test_loss": recipe.Number(e.TestLoss), "seconds": recipe.Number(s.Elapsed.Seconds())}
		addEnergy(line, s)
		for _, m := range e.TrainMetrics {
			line["train_"+m.Name] = recipe.Number(m.Value)
		}
		for _, m := range e.Metrics {
			line["test_"+m.Name] = recipe.Number(m.Value)
		}
		p.event(line)
		return
	}
	p.clear()
	text := fmt.Sprintf("epoch %d/%d   step %s   %s", e.Epoch, s.Epochs, ui.Count(e.Step), measured("", e.TrainLoss, e.TrainMetrics))
	if !math.IsNaN(e.TestLoss) {
		text += "   " + measured("test ", e.TestLoss, e.Metrics)
	}
	fmt.Fprintf(p.out, "%s   %s\n", text, ui.Duration(s.Elapsed))
}

func (p *progress) OnTrainEnd(*train.State) { p.clear() }

func (p *progress) event(e map[string]any) {
	line, err := json.Marshal(e)
	if err != nil {
		panic("sinter: progress: " + err.Error()) // numbers, strings and recipe.Number only
	}
	fmt.Fprintln(p.out, string(line))
}

// note says something that nobody asked for.
func (p *progress) note(message string) {
	if p.json {
		p.event(map[string]any{"event": "note", "message": message})
		return
	}
	p.clear()
	fmt.Fprintln(p.out, "sinter: "+message)
}

// measured is a loss with the metrics beside it.
func measured(prefix string, loss float64, metrics []train.Value) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%sloss %s", prefix, ui.Number(loss))
	for _, m := range metrics {
		fmt.Fprintf(&b, "  %s%s %s", prefix, m.Name, metricText(m.Name, m.Value))
	}
	return b.String()
}
