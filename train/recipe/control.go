package recipe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// control.yaml changes a run while it trains. What it says is compared with what it
// said before; what is new takes effect at the next step, and is an event. Events are
// kept in control.jsonl, on the disk before they take effect, and a checkpoint knows
// how many of them had: a run that goes on repeats the others after the same steps.

// controlText is what control.yaml says at first.
const controlText = `# What may be changed while this run trains. Remove the # before a key, give it a
# value and save: it takes effect at the next step and is logged. A run that goes on
# after it was stopped repeats every change at the same step.

# lr: 0.001         # the learning rate of the next step; a schedule goes on in proportion
# lr_factor: 0.5    # or: times what the schedule says
# batch: 64         # examples that are computed with at a time
# budget: 2kWh      # what the whole run may use: money, energy, carbon, time, as --budget; none: no limit
# temperature: 80   # of the device in °C, above which the run waits; 0: no limit
# checkpoint: 1     # write one now; another value, another checkpoint
# stop: 1           # write a checkpoint and stop; sinter train --resume goes on
`

// controlKeys are the keys of control.yaml.
var controlKeys = []string{"lr", "lr_factor", "batch", "budget", "temperature", "checkpoint", "stop"}

// controlEvent is a change. What does not depend on where the run stands is worked out
// once, so that it can be repeated.
type controlEvent struct {
	Event      string            `json:"event"` // "control"
	Step       int               `json:"step"`  // it holds from the next one on
	LRFactor   *float64          `json:"lr_factor,omitempty"`
	LR         *float64          `json:"lr,omitempty"` // of the next step
	Batch      int               `json:"batch,omitempty"`
	Budget     *string           `json:"budget,omitempty"`      // empty: none
	Celsius    *float64          `json:"temperature,omitempty"` // 0: no limit
	Checkpoint bool              `json:"checkpoint,omitempty"`
	Stop       bool              `json:"stop,omitempty"`
	Said       map[string]string `json:"said"`   // all that the file says
	SHA256     string            `json:"sha256"` // of the file
}

// eventControl is a line of metrics.jsonl and control.jsonl.
const eventControl = "control"

// control watches control.yaml.
type control struct {
	train.NopCallback
	folder *rundir.Writer

	events  []controlEvent    // known: those that have taken effect, then those to be repeated
	applied int               // how many have
	said    map[string]string // by the file as it was read last
	seen    string            // SHA-256 of it
	looked  time.Time
	stat    fs.FileInfo // when it was looked at

	// settled writes a new budget and temperature into run.json. No result depends on them,
	// so they are not repeated at their steps when a run goes on: they hold from its beginning.
	settled func(budget *string, celsius *float64) error
}

// controlInterval is the time between two looks at the file.
var controlInterval = 250 * time.Millisecond

// newControl takes up control.yaml, which is written where there is none.
func newControl(folder *rundir.Writer) (*control, error) {
	c := &control{folder: folder, said: map[string]string{}}
	name := folder.File(rundir.ControlFile)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(name, []byte(controlText), 0o666); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
		c.seen = digest([]byte(controlText))
	}
	log := folder.File(rundir.ControlLog)
	text, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading what was changed in the run: %w", err)
	}
	for number, line := range bytes.Split(text, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var e controlEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s:%d is damaged: %w; without it the run cannot repeat what was changed", log, number+1, err)
		}
		c.events = append(c.events, e)
	}
	if n := len(c.events); n > 0 {
		c.said, c.seen = c.events[n-1].Said, c.events[n-1].SHA256
	}
	return c, nil
}

// StateName is "control".
func (c *control) StateName() string { return "control" }

// SaveState is how many events have taken effect.
func (c *control) SaveState() ([]byte, error) { return json.Marshal(c.applied) }

// LoadState takes what SaveState gave.
func (c *control) LoadState(b []byte) error {
	if err := json.Unmarshal(b, &c.applied); err != nil {
		return err
	}
	if c.applied < 0 || c.applied > len(c.events) {
		return fmt.Errorf("%d changes had been made, and %s has %d", c.applied, c.folder.File(rundir.ControlLog), len(c.events))
	}
	return nil
}

// OnStep repeats events, and looks for a new one now and then.
func (c *control) OnStep(s *train.State) {
	for c.applied < len(c.events) && c.events[c.applied].Step <= s.Step {
		c.apply(s, c.events[c.applied], true)
	}
	if now := time.Now(); now.Sub(c.looked) >= controlInterval {
		c.looked = now
		c.look(s)
	}
}

// apply makes an event happen. One that is repeated does not stop the run again.
func (c *control) apply(s *train.State, e controlEvent, repeated bool) {
	c.applied++
	if e.LRFactor != nil {
		s.Optimizer.ScaleLR(*e.LRFactor)
	}
	if e.Batch > 0 {
		s.SetBatch(e.Batch)
	}
	if !repeated {
		c.limit(s, e)
	}
	if e.Checkpoint {
		s.Save()
	}
	if e.Stop && !repeated {
		s.Interrupt(rundir.ControlFile + " says stop")
	}
	if err := c.folder.Log(e); err != nil {
		s.Warn(err.Error())
	}
}

// limit sets the budget and the temperature.
func (c *control) limit(s *train.State, e controlEvent) {
	if e.Budget == nil && e.Celsius == nil {
		return
	}
	var errs []error
	if e.Budget != nil {
		b, err := parseBudget(*e.Budget)
		if err == nil {
			err = s.SetBudget(b)
		}
		if errs = append(errs, err); err != nil {
			e.Budget = nil
		}
	}
	if e.Celsius != nil {
		err := s.SetTemperature(*e.Celsius)
		if errs = append(errs, err); err != nil {
			e.Celsius = nil
		}
	}
	errs = append(errs, c.settled(e.Budget, e.Celsius))
	if err := errors.Join(errs...); err != nil {
		s.Warn(fmt.Sprintf("%s: %v", c.folder.File(rundir.ControlFile), err))
	}
}

// OnPause looks at the file while the run waits.
func (c *control) OnPause(s *train.State) {
	if s.Paused != nil {
		c.look(s)
	}
}

// look reads the file if it has changed.
func (c *control) look(s *train.State) {
	name := c.folder.File(rundir.ControlFile)
	info, err := os.Stat(name)
	if err != nil || c.stat != nil && info.ModTime().Equal(c.stat.ModTime()) && info.Size() == c.stat.Size() {
		return
	}
	c.stat = info
	if info.Size() > 1<<16 {
		s.Warn(fmt.Sprintf("%s has %d bytes and is not read", name, info.Size()))
		return
	}
	text, err := os.ReadFile(name)
	if err != nil || digest(text) == c.seen {
		return
	}
	c.seen = digest(text)
	e, err := c.event(s, name, text)
	if err != nil {
		s.Warn(err.Error() + "; the run goes on as before")
		return
	}
	c.said = e.Said
	if e == nil || !e.acts() {
		return
	}
	if err := c.record(*e); err != nil {
		s.Warn(fmt.Sprintf("what %s says is not done, for it cannot be noted: %v", name, err))
		return
	}
	c.apply(s, c.events[c.applied], false)
}

func (e *controlEvent) acts() bool {
	return e.LRFactor != nil || e.Batch > 0 || e.Budget != nil || e.Celsius != nil || e.Checkpoint || e.Stop
}

// event is what is new in the file.
func (c *control) event(s *train.State, name string, text []byte) (*controlEvent, error) {
	said, lines, err := parseControl(name, text)
	if err != nil {
		return nil, err
	}
	before := c.said
	if c.applied < len(c.events) { // record drops the others
		if before = nil; c.applied > 0 {
			before = c.events[c.applied-1].Said
		}
	}
	e := &controlEvent{Event: eventControl, Step: s.Step, Said: said, SHA256: c.seen}
	for _, key := range slices.Sorted(maps.Keys(said)) {
		value := said[key]
		if before[key] == value {
			continue
		}
		bad := func(expected string) error {
			return fmt.Errorf("%s:%d: %s is %q, expected %s", name, lines[key], key, value, expected)
		}
		switch key {
		case "lr", "lr_factor":
			if said["lr"] != "" && said["lr_factor"] != "" && before["lr"] != said["lr"] && before["lr_factor"] != said["lr_factor"] {
				return nil, fmt.Errorf("%s:%d: lr and lr_factor are two ways to say one thing; give one of them", name, lines[key])
			}
			var x float64
			if err := yaml.Unmarshal([]byte(value), &x); err != nil || !(x > 0 && x <= 100) {
				return nil, bad("a number above 0, and at most 100")
			}
			factor := x
			if key == "lr" {
				scheduled := s.Optimizer.LR() / s.Optimizer.LRFactor()
				if !(scheduled > 0) {
					return nil, fmt.Errorf("%s:%d: the schedule has come to a learning rate of %g, which nothing can be in proportion to", name, lines[key], scheduled)
				}
				factor = x / scheduled
			}
			lr := s.Optimizer.LR() / s.Optimizer.LRFactor() * factor
			e.LRFactor, e.LR = &factor, &lr
		case "batch":
			var n int
			if err := yaml.Unmarshal([]byte(value), &n); err != nil || n < 1 || n > 65536 {
				return nil, bad("a whole number from 1 to 65536")
			}
			e.Batch = n
		case "budget":
			if _, err := parseBudget(value); err != nil {
				return nil, fmt.Errorf("%s:%d: %s", name, lines[key], reason(err))
			}
			e.Budget = &value
		case "temperature":
			var celsius float64
			if err := yaml.Unmarshal([]byte(value), &celsius); err != nil || !(celsius >= 0 && celsius <= 150) {
				return nil, bad("a temperature in °C, at most 150, or 0")
			}
			e.Celsius = &celsius
		case "checkpoint":
			e.Checkpoint = meant(value)
		case "stop":
			e.Stop = meant(value)
		}
	}
	return e, nil
}

// parseBudget reads a budget, of which there may be none.
func parseBudget(text string) (power.Budget, error) {
	if text == "" || text == "none" {
		return power.Budget{}, nil
	}
	return power.ParseBudget(text)
}

// meant tells whether a switch is on.
func meant(value string) bool {
	return !slices.Contains([]string{"", "0", "false", "no", "off", "null", "~"}, strings.ToLower(value))
}

// parseControl reads the keys of the file, with the lines they stand on.
func parseControl(name string, text []byte) (said map[string]string, lines map[string]int, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, nil, fmt.Errorf("%s: not YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	said, lines = map[string]string{}, map[string]int{}
	if len(doc.Content) == 0 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Value == "" {
		return said, lines, nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, nil, fmt.Errorf("%s:%d: expected keys and values, found %s", name, top.Line, describe(top))
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if !slices.Contains(controlKeys, key.Value) {
			return nil, nil, fmt.Errorf("%s:%d: unknown key %q%s", name, key.Line, key.Value, Suggest(key.Value, controlKeys))
		}
		if value.Kind != yaml.ScalarNode {
			return nil, nil, fmt.Errorf("%s:%d: %s is %s, expected a single value", name, value.Line, key.Value, describe(value))
		}
		if _, twice := said[key.Value]; twice {
			return nil, nil, fmt.Errorf("%s:%d: %s is given twice", name, key.Line, key.Value)
		}
		said[key.Value], lines[key.Value] = value.Value, key.Line
	}
	return said, lines, nil
}

// record puts an event on the disk. Events that were still to be repeated are not any
// more: who changes a run again wants the new.
func (c *control) record(e controlEvent) error {
	events := append(slices.Clip(c.events[:c.applied]), e)
	var text bytes.Buffer
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		text.Write(line)
		text.WriteByte('\n')
	}
	if err := rundir.WriteFile(c.folder.File(rundir.ControlLog), text.Bytes()); err != nil {
		return err
	}
	c.events = events
	return nil
}
