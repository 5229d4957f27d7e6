package recipe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/power/powerfile"
	"github.com/sinter-dl/sinter/schedule"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// What a run consumes, may consume, and when it waits, as keys of a recipe. No result depends
// on them, so they may be others when a run goes on.

// Energy says how joules are measured, and what a joule and an hour stand for.
type Energy struct {
	Meter  string  `json:"meter,omitempty"`                  // auto: the best that the machine has; estimate: by the load; off; or a constant power such as 250W
	Region string  `json:"region,omitempty"`                 // whose grid: FRA, France; a number of g/kWh; or a file of them by the hour. The mean of the world unless said
	PUE    float64 `json:"pue,omitempty" min:"1" max:"10"`   // energy of the building for that of its computers; 1 unless said
	WUE    float64 `json:"wue,omitempty" min:"0" max:"1000"` // litres of water for a kWh
	Tariff string  `json:"tariff,omitempty"`                 // what a kWh costs: 0.25EUR, or a file of prices by the hour
	Rate   string  `json:"rate,omitempty"`                   // what an hour of the device costs: 2.50EUR
}

// Guard says when the run waits.
type Guard struct {
	Temperature float64  `json:"temperature,omitempty" above:"0" max:"150"`  // in °C, above which it waits
	ResumeBelow float64  `json:"resume_below,omitempty" above:"0" max:"150"` // until it is this or less; ten degrees below temperature unless said
	Outage      []string `json:"outage,omitempty"`                           // windows in which it waits: 18:00-20:00 Europe/Berlin
}

// meterOff is the word for Energy.Meter.
const meterOff = "off"

// meter is power.Options.Meter.
func (e Energy) meter() string {
	if e.Meter == "estimate" {
		return "model"
	}
	return e.Meter
}

// resolveEnergy checks what can be told without the machine and without files.
func (r *Recipe) resolveEnergy() error {
	if m := r.Energy.Meter; m != meterOff && m != "estimate" && power.CheckMeter(m) != nil {
		return usage(r.place("energy.meter"), "unknown energy.meter %q%s; a constant power is given as 250W", m, Suggest(m, []string{"auto", "estimate", meterOff}))
	}
	if _, err := r.budget(); err != nil {
		return err
	}
	if _, err := r.rate(); err != nil {
		return err
	}
	if _, err := r.outages(); err != nil {
		return err
	}
	if g := r.Guard; g.ResumeBelow > 0 && !(g.ResumeBelow < g.Temperature) {
		return usage(r.place("guard.resume_below"), "guard.resume_below is %g °C, which is not below guard.temperature", g.ResumeBelow)
	}
	return nil
}

// reason is what an error says, for a message that names the place by itself.
func reason(err error) string {
	var e *powerfile.Error
	if errors.As(err, &e) && !strings.Contains(e.Place, `"`) { // else the place repeats the value
		return e.Error()
	} else if e != nil {
		return e.Reason
	}
	return strings.TrimPrefix(err.Error(), "power: ")
}

func (r *Recipe) budget() (power.Budget, error) {
	b, err := parseBudget(r.Budget)
	if err != nil {
		return b, usage(r.place("budget"), "%s", reason(err))
	}
	return b, nil
}

func (r *Recipe) rate() (power.Money, error) {
	if r.Energy.Rate == "" {
		return power.Money{}, nil
	}
	text := r.Energy.Rate
	for _, unit := range []string{"/h", "/hour"} {
		text = strings.TrimSuffix(text, unit)
	}
	m, err := power.ParseMoney(text)
	if err == nil && m.Amount < 0 {
		err = fmt.Errorf("%q is less than nothing", r.Energy.Rate)
	}
	if err != nil {
		return m, usage(r.place("energy.rate"), "energy.rate: %s", reason(err))
	}
	return m, nil
}

func (r *Recipe) outages() (windows []schedule.Window, err error) {
	for _, text := range r.Guard.Outage {
		w, err := schedule.ParseWindow(text)
		if err != nil {
			return nil, usage(r.place("guard.outage"), "guard.outage: %v", err)
		}
		windows = append(windows, w)
	}
	return windows, nil
}

// Rates is what a joule and an hour stand for, as the keys of energy say. Files are read.
func (r *Recipe) Rates() (rates power.Rates, err error) {
	e := r.Energy
	rates.PUE, rates.WUE = e.PUE, e.WUE
	if e.Region != "" {
		if rates.Region, rates.Carbon, err = powerfile.ParseRegion(e.Region); err != nil {
			return rates, usage(r.place("energy.region"), "%s", reason(err))
		}
	}
	if e.Tariff != "" {
		if rates.Tariff, err = powerfile.ParseTariff(e.Tariff); err != nil {
			return rates, usage(r.place("energy.tariff"), "%s", reason(err))
		}
	}
	if rates.Device, err = r.rate(); err != nil {
		return rates, err
	}
	if err := rates.Check(); err != nil {
		return rates, usage(r.place("energy"), "%s", reason(err))
	}
	return rates, nil
}

// account is a Job's. Nothing but a run is metered: what only tries something has no budget.
func (r *Recipe) account() (*train.Energy, error) {
	rates, err := r.Rates()
	if err != nil {
		return nil, err
	}
	budget, err := r.budget()
	if err != nil {
		return nil, err
	}
	off := r.Energy.Meter == meterOff
	if off && (budget.KWh > 0 || budget.Kg > 0 || budget.Money != nil && !rates.Tariff.IsZero()) {
		return nil, usage(r.place("budget"), "a budget of %s needs a meter, and energy.meter is off", r.Budget)
	}
	if err := budget.Check(&rates); err != nil {
		text := reason(err)
		if rates.Currency() == "" {
			text = fmt.Sprintf("a budget of %v needs prices: energy.tariff, what a kWh costs (--tariff 0.25EUR), or energy.rate, what an hour of the device costs (--rate 2EUR), or both", *budget.Money)
		}
		return nil, usage(r.place("budget"), "%s", text)
	}
	if off && rates.Device.IsZero() && budget.IsZero() {
		return nil, nil
	}
	return &train.Energy{Rates: rates, Budget: budget}, nil
}

// openMeter begins to measure, if the recipe wants it. The result is nil if it does not.
func (r *Recipe) openMeter() *power.Meter {
	if r.Energy.Meter == meterOff {
		return nil
	}
	o := power.Options{Device: sinter.DeviceName(), Meter: r.Energy.meter()}
	if info, err := sinter.Device(); err == nil {
		o.Model, o.Aliases = info.Model, info.Aliases
		if info.Kind == "cpu" { // by OpenCL, too, it is the processor that works
			o.Device = "cpu"
		}
	}
	return power.Open(o)
}

// OpenMeter begins to measure the device in use as the recipe wants it; nil if it does not.
func (r *Recipe) OpenMeter() *power.Meter { return r.openMeter() }

// guard is the Trainer's Guard. Its thermometer looks for the device's sensors when it is
// read for the first time; close gives them back.
func (r *Recipe) guard() (g *train.Guard, close func(), err error) {
	t := &thermometer{device: sinter.DeviceName()}
	if info, err := sinter.Device(); err == nil && info.Kind == "cpu" { // by OpenCL, too
		t.device = "cpu"
	} else if err == nil {
		t.aliases = info.Aliases
	}
	g = &train.Guard{Temperature: r.Guard.Temperature, ResumeBelow: r.Guard.ResumeBelow, Thermometer: t.read}
	if g.Outages, err = r.outages(); err != nil {
		return nil, nil, err
	}
	if g.Temperature > 0 {
		if _, err := t.read(); err != nil {
			t.close()
			return nil, nil, usage(r.place("guard.temperature"), "guard.temperature cannot be watched: %v", err)
		}
	}
	return g, t.close, nil
}

// thermometer reads the temperature of a device.
type thermometer struct {
	device  string   // as Sinter calls it
	aliases []string // other names of it, with a UUID in them: "cuda:GPU-…"
	root    string
	monitor *telemetry.Monitor
	sources []telemetry.Source // nil: the machine's
}

func (t *thermometer) close() {
	if t.monitor != nil {
		t.monitor.Close()
		t.monitor = nil
	}
}

func (t *thermometer) read() (celsius float64, err error) {
	if t.device == "cpu" {
		celsius, _, err = hardware.System{Root: t.root}.Temperature()
		return celsius, err
	}
	if t.monitor == nil {
		if t.monitor, err = telemetry.Open(telemetry.Options{Root: t.root, Sources: t.sources}); err != nil {
			return 0, err
		}
	}
	readings := t.monitor.ReadEnergy()
	i := slices.IndexFunc(readings, func(r telemetry.Reading) bool {
		return r.Device == t.device || slices.ContainsFunc(t.aliases, func(name string) bool { return r.UUID != "" && strings.HasSuffix(name, ":"+r.UUID) })
	})
	if i >= 0 {
		return temperature(readings[i])
	}
	if len(readings) == 0 {
		return 0, fmt.Errorf("no device tells its temperature: %s", strings.Join(t.monitor.Problems(), "; "))
	}
	// Which of them computes cannot be told, so none may be too hot.
	for _, r := range readings {
		v, err := temperature(r)
		if err != nil {
			return 0, err
		}
		celsius = max(celsius, v)
	}
	return celsius, nil
}

func temperature(r telemetry.Reading) (float64, error) {
	switch {
	case r.Problem != "":
		return 0, fmt.Errorf("%s (%s): %s", r.Device, r.Model, r.Problem)
	case !r.Temperature.OK:
		return 0, fmt.Errorf("%s (%s) does not tell its temperature: %s", r.Device, r.Model, r.Temperature.Why)
	}
	return r.Temperature.V, nil
}

// Consumption is what a run has used, in run.json and its results.
type Consumption struct {
	power.Usage
	KWh             Number       `json:"kwh"` // of the computer
	Phases          train.Phases `json:"phases"`
	JoulesPerStep   Number       `json:"joules_per_step"` // of the steps alone; null where nothing was measured
	JoulesPerSample Number       `json:"joules_per_sample"`
	JoulesPerEpoch  Number       `json:"joules_per_epoch"` // steps and evaluations
	IdleWatts       float64      `json:"idle_watts,omitempty"`
	IdleSource      string       `json:"idle_source,omitempty"`
	Notes           []string     `json:"notes,omitempty"` // why figures are estimated, or missing
	Budget          string       `json:"budget,omitempty"`
	UsedUp          bool         `json:"budget_used_up,omitempty"` // it ended the run
}

// MeasuredEnergy tells whether there are joules, and whether a model has estimated some of
// them.
func (c *Consumption) MeasuredEnergy() (measured, estimated bool) {
	return len(c.Parts) > 0, slices.ContainsFunc(c.Parts, func(p power.Part) bool { return p.Estimated })
}

// consumption sums a run up; nil where nothing was counted.
func consumption(e *train.Energy, r *train.Report) *Consumption {
	if r.Usage.Seconds == 0 {
		return nil
	}
	p := r.Phases
	c := &Consumption{
		Usage: r.Usage, KWh: Number(r.Usage.KWh()), Phases: p,
		JoulesPerStep: Number(p.JoulesPerStep()), JoulesPerSample: Number(p.JoulesPerSample()), JoulesPerEpoch: Number(p.JoulesPerEpoch(r.StepsPerEpoch)),
	}
	if e != nil && e.Meter != nil {
		c.IdleWatts, c.IdleSource = e.Meter.IdleWatts()
		c.Notes = e.Meter.Problems()
	}
	return c
}

// books is the Trainer's Energy of a run, with its meter. A run that has used something goes
// on to count, if only the time.
func (j *Job) books() *train.Energy {
	var e train.Energy
	if j.account != nil {
		e = *j.account
	} else if j.spent.Usage.Seconds == 0 {
		return nil
	}
	e.Spent, e.Meter = j.spent, j.Recipe.openMeter()
	return &e
}

// closing counts what follows on training; it ends when the result is called.
func closing(e *train.Energy, r *train.Report) (done func()) {
	if e == nil || e.Meter == nil {
		return func() {}
	}
	ledger, err := power.NewLedger(e.Meter, &e.Rates, r.Usage)
	if err != nil { // Fit has used these rates
		panic("recipe: " + err.Error())
	}
	return func() {
		e.Meter.Sync()
		u := ledger.Usage()
		r.Phases.Evaluate.Seconds += u.Seconds - r.Usage.Seconds
		r.Phases.Evaluate.Joules += u.Joules - r.Usage.Joules
		r.Usage = u
	}
}

// settle writes down what control.yaml has set, so that it holds when the run goes on.
func (j *Job) settle(folder *rundir.Writer, m *rundir.Manifest, budget *string, celsius *float64) error {
	if budget != nil {
		j.Recipe.Budget = *budget
	}
	if celsius != nil {
		j.Recipe.Guard.Temperature, j.Recipe.Guard.ResumeBelow = *celsius, 0
	}
	if err := encode(&m.Recipe, j.Recipe); err != nil {
		return err
	}
	return folder.WriteManifest(m)
}

// usedText is a usage in a few words.
func usedText(u power.Usage) string {
	text := fmt.Sprintf("%v", time.Duration(u.Seconds*float64(time.Second)).Round(time.Second))
	if len(u.Parts) > 0 {
		energy, carbon := fmt.Sprintf("%.4g J", u.Joules), fmt.Sprintf("%.4g g", u.Grams)
		if u.KWh() >= 1e-3 {
			energy = fmt.Sprintf("%.4g kWh", u.KWh())
		}
		text += fmt.Sprintf(", %s, %s of CO2e", energy, carbon)
	}
	if !u.Cost.IsZero() {
		text += ", " + u.Cost.String()
	}
	return text
}

// spent is what the run in a folder has used so far: as its results say, or its log, which
// knows all but the last second or so of a run that was killed, or the manifest, which has
// noted it when the run went on.
func spent(dir string, m *rundir.Manifest) (most train.Spent) {
	take := func(u power.Usage, p train.Phases) {
		if u.Seconds > most.Usage.Seconds && u.Joules >= most.Usage.Joules && !math.IsInf(u.Seconds, 0) && !math.IsInf(u.Joules, 0) {
			most = train.Spent{Usage: u, Phases: p}
		}
	}
	for _, r := range m.Resumed {
		if r.Usage != nil {
			take(*r.Usage, train.Phases{})
		}
	}
	var results struct {
		Energy struct {
			power.Usage
			Phases train.Phases `json:"phases"`
		} `json:"energy"`
	}
	if len(m.Results) > 0 && json.Unmarshal(m.Results, &results) == nil {
		take(results.Energy.Usage, results.Energy.Phases)
	}
	for text := tail(filepath.Join(dir, rundir.MetricsFile), 1<<20); ; {
		i := bytes.LastIndex(text, []byte(`"energy":{`))
		if i < 0 {
			return most
		}
		begin := bytes.LastIndexByte(text[:i], '\n') + 1
		var line struct {
			Energy power.Usage `json:"energy"`
		}
		if end := bytes.IndexByte(text[i:], '\n'); end >= 0 && json.Unmarshal(text[begin:i+end], &line) == nil {
			take(line.Energy, train.Phases{})
			return most
		}
		text = text[:begin] // the end of a line is missing
	}
}

// tail is the last bytes of a file; none where it cannot be read.
func tail(name string, most int64) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return nil
		}
	}
	text, _ := io.ReadAll(f)
	return text
}
