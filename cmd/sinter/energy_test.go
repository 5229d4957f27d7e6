package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
)

// consumed is what run.json says a run has used.
func consumed(t *testing.T, run string) recipe.Consumption {
	t.Helper()
	var m struct {
		Results struct{ Energy *recipe.Consumption }
	}
	if err := json.Unmarshal(contents(t, filepath.Join(run, "run.json")), &m); err != nil {
		t.Fatal(err)
	}
	if m.Results.Energy == nil {
		t.Fatalf("%s does not say what it has used", run)
	}
	return *m.Results.Energy
}

// A run that comes to the end of its budget, again and again, and goes on with more each
// time, ends in the weights, the log and the results of one that had none; what it used
// adds up over all of it.
func TestBudgets(t *testing.T) {
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	run, whole := filepath.Join(dir, "run"), filepath.Join(dir, "whole")
	args := append(strings.Fields(quick), "--epochs", "100", "--set", "energy.meter=1000W", "--region", "FRA", "--tariff", "0.36EUR", "--rate", "3.6EUR")
	must(t, dir, args...)
	all := consumed(t, run)
	if err := os.Rename(run, whole); err != nil {
		t.Fatal(err)
	}
	// 1000 W for the time, 0.1 mEUR for a kJ and 1 mEUR for a second, 44 g for 3.6 MJ.
	near := func(a, b float64) bool { return math.Abs(a-b) <= 0.05*math.Abs(b) } // between two samples it extrapolates
	if !near(all.Joules, 1000*all.Seconds) || !near(all.Grams, all.Joules/3.6e6*44) || !near(all.EnergyCost.Amount, all.Joules*1e-7) || !near(all.DeviceCost.Amount, all.Seconds*1e-3) ||
		!near(all.Cost.Amount, all.EnergyCost.Amount+all.DeviceCost.Amount) || all.Cost.Currency != "EUR" || !all.Estimated || all.Phases.Steps != 400 {
		t.Errorf("used %+v", all)
	}
	part := all.Seconds / 4 // of which some goes into beginning and ending
	o := execute(t, dir, append(args, "--budget", fmt.Sprintf("%.4fs, 1kg, 100EUR", part))...)
	stops := 0
	for before := 0.0; o.status == exitStopped && stops < 12; stops++ {
		used := consumed(t, run)
		if !strings.Contains(lastLine(o.stderr), "--budget LARGER") || !strings.Contains(lastLine(o.stderr), "the budget of ") {
			t.Fatalf("it says %s", lastLine(o.stderr))
		}
		if !used.UsedUp || used.Budget == "" || used.Joules <= before {
			t.Errorf("after %g J: %+v", before, used)
		}
		before = used.Joules
		part *= 1.5
		if o := execute(t, dir, "train", "--resume", "run"); o.status != 2 || !strings.Contains(o.stderr, "a larger --budget") {
			t.Fatalf("without more: status %d, %s", o.status, o.stderr)
		}
		if o := execute(t, dir, "train", "--resume", "run", "--budget", "1J"); o.status != 2 || !strings.Contains(o.stderr, "is used up") {
			t.Fatalf("with less: status %d, %s", o.status, o.stderr)
		}
		kinds := []string{fmt.Sprintf("%.1fJ", used.Joules+1000*part), fmt.Sprintf("%.6fEUR", used.Cost.Amount+part*1.1e-3), fmt.Sprintf("%.4fs", used.Seconds+part), fmt.Sprintf("%.7fg", used.Grams+1000*part/3.6e6*44)}
		o = execute(t, dir, "train", "--resume", "run", "--json", "--budget", kinds[stops%len(kinds)])
	}
	if o.status != 0 || stops < 2 {
		t.Fatalf("status %d after %d budgets: %s", o.status, stops, o.stderr)
	}
	for _, name := range []string{run, whole} { // their recipes differ in the budget
		if !strings.Contains(string(contents(t, filepath.Join(name, "run.json"))), `"status": "complete"`) {
			t.Errorf("%s is not complete", name)
		}
	}
	sameRun(t, run, whole)
	got := consumed(t, run)
	if got.UsedUp || got.Phases.Steps != 400 || !near(got.Joules, 1000*got.Seconds) || got.Joules < 0.5*all.Joules {
		t.Errorf("in all %+v, beside %+v", got, all)
	}
	p := got.Phases
	if sum := p.Train.Joules + p.Evaluate.Joules + p.Pause.Joules + p.Lost.Joules; !near(sum, got.Joules) {
		t.Errorf("the parts come to %g of %g J: %+v", sum, got.Joules, p)
	}
	if m := got.Parts; len(m) != 1 || !near(m[0].Joules, got.Joules) || got.Phases.Lost.Joules > 0.1*got.Joules {
		t.Errorf("parts %+v of %g J; lost: %+v", m, got.Joules, got.Phases.Lost)
	}
	for _, want := range []string{"energy", "J a step", "CO2e", "0.36 EUR/kWh", "cost", "France"} {
		if o := must(t, dir, "runs", "show", "run"); !strings.Contains(o.stdout, want) {
			t.Errorf("runs show lacks %q:\n%s", want, o.stdout)
		}
	}
	if o := must(t, dir, "runs", "ls", "--dir", "."); !strings.Contains(o.stdout, "ENERGY") || !strings.Contains(o.stdout, approximately) {
		t.Errorf("runs ls:\n%s", o.stdout)
	}
}

// A run that is killed has used what it has: the steps that are made again are paid for
// twice, and said to be.
func TestKilledEnergy(t *testing.T) {
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	args := append(strings.Fields(quick), "--epochs", "100000", "--set", "energy.meter=1000W", "--set", "checkpoint.every_steps=1000000", "--set", "checkpoint.best=0", "--set", "optimizer.schedule=constant")
	args = append(args, "--set", "eval_every=100000", "--set", "limits.steps_per_epoch=4")
	run := filepath.Join(dir, "run")
	last := func() (u power.Usage) {
		text, _ := os.ReadFile(filepath.Join(run, "metrics.jsonl"))
		for line := range strings.Lines(string(text)) {
			var r struct{ Energy *power.Usage }
			if json.Unmarshal([]byte(line), &r) == nil && r.Energy != nil {
				u = *r.Energy
			}
		}
		return u
	}
	kill := func(args []string, above float64) power.Usage {
		t.Helper()
		c := exec.Command(built, args...)
		c.Dir = dir
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); last().Joules <= above; time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Fatal("nothing is logged")
			}
		}
		c.Process.Kill()
		c.Wait()
		return last()
	}
	first := kill(args, 0)
	resume := []string{"train", "--resume", "run", "--json"}
	second := kill(resume, first.Joules+10)
	o := must(t, dir, append(resume, "--epochs", "5", "--steps", "20")...)
	if !strings.Contains(o.stderr, "the run has used ") {
		t.Errorf("nothing is said of what was used: %s", o.stderr)
	}
	end := consumed(t, run)
	if !(second.Joules > first.Joules) || !(end.Joules > second.Joules) || math.Abs(end.Phases.Lost.Joules-second.Joules) > 1e-6*second.Joules || end.Phases.Steps != 20 {
		t.Errorf("first %g J, second %g J, in the end %+v", first.Joules, second.Joules, end)
	}
}

// What is asked for in vain is said before anything is trained.
func TestBadEnergy(t *testing.T) {
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	write(t, filepath.Join(dir, "gaps.csv"), []byte("time,EUR/kWh\n2026-01-01T00:00Z,0.2\n2026-01-01T01:00Z,0.2\n2026-01-01T05:00Z,0.2\n"))
	write(t, filepath.Join(dir, "hot.yaml"), []byte("model: {kind: mlp}\ndata: {path: d}\nguard:\n  temperature: 80\n  resume_below: 85\n"))
	for _, c := range []struct{ args, want string }{
		{"--region Frnace", `--region: unknown region "Frnace"; the nearest are`},
		{"--budget 5", "--budget: the budget's part"},
		{"--budget 5EUR", "a budget of 5.00 EUR needs prices: energy.tariff"},
		{"--budget 5EUR --tariff 0.2USD", "currencies are never converted"},
		{"--tariff 0.2EUR --rate 2USD", "never converted"},
		{"--tariff gaps.csv", "gaps.csv:4: there is a gap"},
		{"--tariff none.csv", "none.csv: it cannot be read"},
		{"--rate much", `energy.rate: "much" is no amount of money`},
		{"--pue 0.5", "energy.pue is \"0.5\", expected at least 1"},
		{"--set energy.meter=guess", `unknown energy.meter "guess"`},
		{"--set energy.meter=off --budget 2kWh", "needs a meter"},
		{"--set guard.outage=25:00-26:00", "guard.outage: window"},
		{"--set guard.outage=08:00-08:00_Mars", "guard.outage: window"},
		{"--set guard.temperature=hot", "expected a number"},
		{"--set guard.temperature=80", "guard.temperature cannot be watched: the processors have no sensor"},
	} {
		o := execute(t, dir, append(strings.Fields("train mlp --data d --out run"), strings.Fields(c.args)...)...)
		if c.want == "guard.temperature cannot be watched: the processors have no sensor" && o.status == 0 { // here they have
			continue
		}
		if o.status != 2 || !strings.Contains(lastLine(o.stderr), c.want) {
			t.Errorf("%s: status %d, %s", c.args, o.status, lastLine(o.stderr))
		}
		if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
			t.Errorf("%s: there is a run folder", c.args)
		}
	}
	if o := execute(t, dir, "train", "hot.yaml"); o.status != 2 || !strings.Contains(o.stderr, "hot.yaml:5:17: guard.resume_below is 85 °C") {
		t.Errorf("resume_below: %d, %s", o.status, o.stderr)
	}
}

// The live line has room for the power on a terminal of 80 columns.
func TestBar(t *testing.T) {
	s := &train.State{Epoch: 12, Epochs: 100, Step: 12345, Steps: 469000, Samples: 790080, TrainLoss: 0.12345, TrainMetrics: []train.Value{{Name: "accuracy", Value: 0.9812}}, Watts: 287.4}
	s.Usage.Parts = []power.Part{{Component: "cpu", Estimated: true}}
	s.Phases = train.Phases{Train: train.Phase{Joules: 1000, Seconds: 10}, Steps: 10, Samples: 640}
	out, err := os.CreateTemp(t.TempDir(), "out") // no terminal: 80 columns
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &progress{out: out}
	if line := p.bar(s); len([]rune(line)) > 79 || !strings.Contains(line, "≈287 W") || !strings.Contains(line, "12,345/469,000") || !strings.Contains(line, "0.1235") || !strings.Contains(line, " left") {
		t.Errorf("%d columns: %s", len([]rune(line)), line)
	}
	s.Usage.Parts = nil
	if line := p.bar(s); len([]rune(line)) > 79 || strings.Contains(line, "W") {
		t.Errorf("%d columns: %s", len([]rune(line)), line)
	}
}

// On a card, its counter measures, through the driver's library; a card that is too hot at
// the beginning is waited for.
func TestMeteredCard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	hot := strings.Replace(nvmltest.RTX3080, "temperature 65", "temperature 91", 1)
	card := nvmltest.Build(t, hot)
	simulated := simcuda.Require(t).Dir
	env := append(os.Environ(), "SINTER_LIBRARY_PATH="+strings.Join([]string{card, simulated, "none"}, string(os.PathListSeparator)), "SINTER_DEVICE=cuda:0")
	run := func(started func(line string), args ...string) (status int, stderr string) {
		t.Helper()
		c := exec.Command(built, append(append([]string{"train"}, strings.Fields(quick)[1:]...), args...)...)
		c.Dir, c.Env = dir, env
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
			started(lines.Text())
		}
		c.Wait()
		return c.ProcessState.ExitCode(), all.String()
	}
	paused := false
	status, said := run(func(line string) {
		if strings.Contains(line, `"event":"pause"`) {
			paused = true
			if !strings.Contains(line, "the temperature is 91 °C, above 80 °C") {
				t.Errorf("it waits for %s", line)
			}
			nvmltest.Write(t, card, nvmltest.RTX3080)
		}
	}, "--epochs", "2", "--set", "guard.temperature=80")
	if status != 0 || !paused {
		t.Fatalf("status %d, waited: %v\n%s", status, paused, said)
	}
	used := consumed(t, filepath.Join(dir, "run"))
	i := slices.IndexFunc(used.Parts, func(p power.Part) bool { return strings.HasPrefix(p.Source, "NVML energy counter") })
	if i < 0 || used.Parts[i].Estimated || !(used.Phases.Pause.Seconds > 0.5) || !(used.Phases.Train.Joules > 0) {
		t.Fatalf("%+v", used)
	}
	// The scenario's counter has 250 J in a second, and begins again when it is written anew:
	// what the meter saw of it is about that, and no more than a sensor that starts over explains.
	if p := used.Parts[i]; p.Joules > 2*250*used.Seconds || p.Joules < 0.3*250*used.Phases.Train.Seconds {
		t.Errorf("%g J in %g s, %g s of them in steps", p.Joules, used.Seconds, used.Phases.Train.Seconds)
	}
	// Where the card does not tell its temperature, a guard of it is refused.
	nvmltest.Write(t, card, strings.Replace(nvmltest.RTX3080, "\ttemperature 65\n", "", 1))
	if status, said := run(func(string) {}, "--epochs", "1", "--set", "guard.temperature=80", "--set", "name=other", "--out", "blind"); status != 2 || !strings.Contains(said, "guard.temperature cannot be watched") {
		t.Errorf("status %d, %s", status, said)
	}
	// What cannot be measured at all is estimated, and not 0.
	nothing := strings.NewReplacer("\tpower 250000\n", "", "\tenergy rate 1000000 250000\n", "").Replace(nvmltest.RTX3080)
	nvmltest.Write(t, card, nothing)
	if status, said := run(func(string) {}, "--epochs", "2", "--out", "dark"); status != 0 {
		t.Fatal(said)
	}
	dark := consumed(t, filepath.Join(dir, "dark"))
	if i := slices.IndexFunc(dark.Parts, func(p power.Part) bool { return strings.Contains(p.Component, "gpu") }); i >= 0 && (!dark.Parts[i].Estimated || dark.Parts[i].Joules == 0) || i < 0 && len(dark.Notes) == 0 {
		t.Errorf("%+v", dark)
	}
}
