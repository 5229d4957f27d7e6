package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/monitor"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/hardware/telemetry/telemetrytest"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/live"
)

// machine is one with two cards, of which one is cut into slices, and two runs.
func machine(t *testing.T, others ...telemetry.Reading) (*monitor.Reader, *telemetrytest.Source) {
	t.Helper()
	cut := telemetrytest.GPU("GPU-cut", 180)
	cut.Model, cut.MIG, cut.PCI = "NVIDIA A100-SXM4-80GB", "on", "0000:3b:00.0"
	cut.Utilization = telemetry.Unknown("not told while the card is cut")
	for i, profile := range []string{"3g.40gb", "1g.10gb"} {
		slice := telemetry.Blank("a slice does not tell it")
		slice.UUID, slice.Model = fmt.Sprintf("MIG-%d", i), cut.Model+" MIG "+profile
		slice.MemoryUsed, slice.MemoryTotal = telemetry.Known(3<<30), telemetry.Known(40<<30)
		cut.Slices = append(cut.Slices, slice)
	}
	busy := telemetrytest.GPU("GPU-busy", 250)
	busy.Throttle = []string{"power limit"}
	busy.Processes = []telemetry.Process{{PID: 7, Name: "/usr/bin/sinter", Memory: telemetry.Known(2 << 30)}}
	source := telemetrytest.New(append([]telemetry.Reading{busy, cut}, others...)...)
	devices, err := telemetry.Open(telemetry.Options{Sources: []telemetry.Source{source}})
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	list := []live.Run{
		{PID: 7, Started: time.Now(), Dir: "/runs/lenet-1", Recipe: "lenet", Device: "gpu 0", State: live.Training, Step: 512, Steps: 1250, Epoch: 3, Epochs: 5, Samples: 32768,
			Loss: 0.083, SamplesPerSecond: 19052, Watts: 251, JoulesPerSample: 0.0131, SecondsLeft: 65,
			Usage: power.Usage{Joules: 430, Grams: 0.1, Cost: power.Money{Amount: 0.0123, Currency: "EUR"}, Parts: []power.Part{{Component: "gpu 0", Joules: 430, Source: "NVML energy counter"}}}},
		{PID: 8, Started: time.Now(), Dir: "/runs/gpt-1", Recipe: "gpt", Device: "cpu", State: live.Paused, Reason: "the temperature is 86 °C, above 85 °C", Step: 0, Steps: 2000,
			Epochs: 1, Loss: nan, SamplesPerSecond: nan, Watts: nan, JoulesPerSample: nan, SecondsLeft: nan},
	}
	r := monitor.Open(monitor.Options{Telemetry: devices, Runs: func() ([]live.Run, error) { return list, nil }, Meter: power.Open(power.Options{Meter: "45W", Every: -1})})
	t.Cleanup(func() { r.Close() })
	return r, source
}

func screenOf(t *testing.T, r *monitor.Reader, width, height int) *model {
	t.Helper()
	m := &model{reader: r, view: view{styled: true, interval: time.Second, details: true, snapshot: r.Read()}}
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return m
}

func press(m *model, keys ...string) (last tea.Cmd) {
	codes := map[string]rune{"up": tea.KeyUp, "down": tea.KeyDown, "tab": tea.KeyTab, "end": tea.KeyEnd, "home": tea.KeyHome, "esc": tea.KeyEscape, "pgdown": tea.KeyPgDown}
	for _, k := range keys {
		key := tea.Key{Code: codes[k]}
		if key.Code == 0 {
			key = tea.Key{Code: rune(k[0]), Text: k}
		}
		_, last = m.Update(tea.KeyPressMsg(key))
	}
	return last
}

func text(m *model) string { return ansi.Strip(m.view.frame()) }

// At every size the screen is no larger than the window, and what matters most is there.
func TestSizes(t *testing.T) {
	var many []telemetry.Reading
	for i := range 14 {
		many = append(many, telemetrytest.GPU(fmt.Sprintf("GPU-%02d", i), 100))
	}
	r, source := machine(t, many...)
	source.Lose("GPU-03")
	for _, size := range [][2]int{{80, 24}, {60, 20}, {200, 60}, {40, 12}, {20, 5}, {132, 43}, {19, 4}, {1, 1}, {300, 100}} {
		m := screenOf(t, r, size[0], size[1])
		for _, keys := range [][]string{nil, {"down"}, {"end"}, {"tab"}, {"tab", "down"}, {"d"}, {"?"}, {"s"}, {"s"}, {"s"}, {"s"}, {"r"}, {"esc"}, {"home"}} {
			press(m, keys...)
			lines := strings.Split(m.view.frame(), "\n")
			if len(lines) > size[1] {
				t.Fatalf("%v after %v: %d lines", size, keys, len(lines))
			}
			for _, line := range lines {
				if w := ansi.StringWidth(line); w > size[0] {
					t.Errorf("%v after %v: %d columns: %q", size, keys, w, ansi.Strip(line))
				}
			}
			if !m.view.help && size[1] > 5 && size[0] > 20 && strings.Count(text(m), "\n> ") != 1 {
				t.Errorf("%v after %v: not one line is marked:\n%s", size, keys, text(m))
			}
		}
	}
	m := screenOf(t, r, 80, 24)
	for _, want := range []string{"cpu ", "GeForce RTX 3080", "97 %", "6.0/10.0 GiB", "250/320 W", "65 °C", "throttled: power limit", "lenet", "512/1250", "0.0830", "19.1k", "13.1m", "251 W", "1:05", "training", "paused", "n/a", "q quit"} {
		if !strings.Contains(text(m), want) {
			t.Errorf("at 80×24 there is no %q:\n%s", want, text(m))
		}
	}
}

// Whatever is selected is in sight, and its details with it.
func TestScroll(t *testing.T) {
	var many []telemetry.Reading
	for i := range 20 {
		many = append(many, telemetrytest.GPU(fmt.Sprintf("GPU-%02d", i), 100))
	}
	r, _ := machine(t, many...)
	m := screenOf(t, r, 80, 24)
	for i := range 27 { // cpu, the card, the cut card, two slices, twenty more; runs
		s := text(m)
		marked := regexp.MustCompile(`(?m)^> (\S+ ?\S+)`).FindStringSubmatch(s)
		if marked == nil {
			t.Fatalf("after %d downs nothing is marked:\n%s", i, s)
		}
		if i > 4 && i < 25 {
			if want := fmt.Sprintf("gpu %d", i-3); marked[1] != want {
				t.Fatalf("after %d downs %q is marked:\n%s", i, marked[1], s)
			}
			if want := fmt.Sprintf("GPU-%02d", i-5); !strings.Contains(s, want) {
				t.Fatalf("the details do not tell of %s:\n%s", want, s)
			}
		}
		press(m, "down")
	}
	if s := text(m); !strings.Contains(s, "> gpt") || !strings.Contains(s, "/runs/gpt-1") {
		t.Errorf("the last run is not selected:\n%s", s)
	}
	press(m, "up", "up")
	if s := text(m); !strings.Contains(s, "> gpu 21") {
		t.Errorf("up from the first run does not lead to the last device:\n%s", s)
	}
}

// A device that vanishes stays where it is, and says so.
func TestLost(t *testing.T) {
	r, source := machine(t)
	m := screenOf(t, r, 80, 24)
	source.Lose("GPU-busy")
	m.Update(read(r.Read()))
	press(m, "down")
	s := text(m)
	if !regexp.MustCompile(`> gpu 0 +GeForce RTX 3080 +n/a +n/a +n/a +n/a`).MatchString(s) || !strings.Contains(s, "    the device is lost") {
		t.Errorf("the device that is lost:\n%s", s)
	}
	if after := s[strings.Index(s, "> gpu 0"):]; strings.Contains(after, " 0 %") || strings.Contains(after, " 0 W") {
		t.Errorf("what is not known is 0:\n%s", s)
	}
}

// Keys do what the help says.
func TestKeys(t *testing.T) {
	r, source := machine(t)
	m := screenOf(t, r, 200, 50)
	for _, k := range []string{"q", "esc"} {
		if cmd := press(m, k); cmd == nil {
			t.Errorf("%s does not quit", k)
		} else if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%s does not quit", k)
		}
	}
	press(m, "?")
	if !strings.Contains(text(m), "estimated by a model") {
		t.Error("there is no help")
	}
	if cmd := press(m, "q"); cmd != nil || m.view.help {
		t.Error("q does not lead back from the help")
	}
	// By power the cut card comes after the other, reversed before it; the slices stay below it.
	place := func(what string) int { return strings.Index(text(m), what) }
	press(m, "s", "s", "s")
	if !strings.Contains(text(m), "sort by power") || place("GeForce") > place("A100-SXM4-80GB") {
		t.Errorf("sorted by power:\n%s", text(m))
	}
	press(m, "r")
	if place("GeForce") < place("MIG 1g.10gb") || place("MIG 3g.40gb") < place("A100") {
		t.Errorf("sorted by power, reversed:\n%s", text(m))
	}
	press(m, "tab", "s")
	if place("gpt") > place("lenet") || !strings.Contains(text(m), "sort by recipe") {
		t.Errorf("runs sorted by name:\n%s", text(m))
	}
	press(m, "p")
	source.Set("GPU-busy", func(r *telemetry.Reading) { r.Temperature = telemetry.Known(77) })
	m.Update(read(r.Read()))
	if strings.Contains(text(m), "77 °C") || !strings.Contains(text(m), "PAUSED") {
		t.Errorf("the screen goes on while it is paused:\n%s", text(m))
	}
	press(m, "p")
	m.Update(read(r.Read()))
	if !strings.Contains(text(m), "77 °C") {
		t.Errorf("the screen does not go on:\n%s", text(m))
	}
	press(m, "+")
	if m.view.interval != 500*time.Millisecond {
		t.Errorf("the interval is %v", m.view.interval)
	}
	if _, cmd := m.Update(tick{m.beat - 1}); cmd != nil || m.reading {
		t.Error("a tick of the interval before is heeded")
	}
	if _, cmd := m.Update(tick{m.beat}); cmd == nil || !m.reading {
		t.Error("a tick makes no reading")
	}
}

// Without colours nothing is said in colour; without styles there are none at all.
func TestStyles(t *testing.T) {
	r, source := machine(t)
	source.Lose("GPU-cut")
	colours := regexp.MustCompile(`\x1b\[(3[0-7]|9[0-7])m`)
	m := screenOf(t, r, 120, 40)
	if s := m.view.frame(); !colours.MatchString(s) || !strings.Contains(s, "\x1b[7m") {
		t.Error("nothing stands out")
	}
	m.view.plain = true
	if s := m.view.frame(); colours.MatchString(s) || !strings.Contains(s, "\x1b[1m") {
		t.Error("NO_COLOR is not heeded, or takes away more than colours")
	}
	m.view.styled = false
	if s := m.view.frame(); strings.Contains(s, "\x1b") || !strings.Contains(s, "\n> ") {
		t.Error("a view without styles has some, or no mark")
	}
}

// What others write, in names of recipes and devices, moves no cursor.
func TestHostile(t *testing.T) {
	r, _ := machine(t)
	m := screenOf(t, r, 120, 40)
	m.view.snapshot.Runs[0].Recipe = "\x1b[2Jle\nnet\x07"
	m.view.snapshot.Devices[0].Model = "card\x1b]0;title\x07"
	m.view.snapshot.Problems = []string{"bad\x1b[31m"}
	m.view.styled = false
	if s := m.view.frame() + m.view.whole(); strings.ContainsAny(s, "\x1b\x07") {
		t.Errorf("it goes through: %q", s)
	}
}

// Without a terminal everything is printed once.
func TestOnce(t *testing.T) {
	r, _ := machine(t)
	var out bytes.Buffer
	if err := Run(t.Context(), Options{Reader: r, Out: &out, Interval: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	s := out.String()
	for _, want := range []string{
		"GeForce RTX 3080", "MIG 3g.40gb", "250 W, limit 320 W (standard 320 W, from 100 W to 350 W); energy", "65 °C, memory n/a; slows down at 95 °C",
		"SM 1710 of 2100 MHz", "generation 4 of 4, 16 of 16 lanes; in 300 MB/s, out 2.00 MB/s", "7 sinter (lenet) 2.0 GiB", "power limit", "a slice does not tell it",
		"epoch 3 of 5, step 512 of 1,250", "430 J", "0.012 EUR", "paused: the temperature is 86 °C, above 85 °C",
	} {
		if !strings.Contains(strings.Join(strings.Fields(s), " "), want) {
			t.Errorf("there is no %q:\n%s", want, s)
		}
	}
	if !regexp.MustCompile(`≈[34]\d W`).MatchString(s) || !regexp.MustCompile(`[34]\d\.\d W, estimated`).MatchString(s) { // 45 W, between two readings on a machine that may be busy
		t.Errorf("the power of the processors:\n%s", s)
	}
	for line := range strings.Lines(s) {
		if w := ansi.StringWidth(strings.TrimSuffix(line, "\n")); w > 80 || strings.HasSuffix(line, " \n") {
			t.Errorf("a line of %d columns: %q", w, line)
		}
	}
}

// As JSON there is a line for each reading, with null for what is not known.
func TestJSON(t *testing.T) {
	r, _ := machine(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &lines{after: 3, then: cancel}
	if err := Run(ctx, Options{Reader: r, Out: out, Interval: time.Millisecond, JSON: true}); err != nil {
		t.Fatal(err)
	}
	texts := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(texts) < 3 {
		t.Fatalf("%d lines", len(texts))
	}
	for _, line := range texts {
		var s struct {
			Host struct {
				Power     *float64 `json:"power_watts"`
				Estimated bool     `json:"power_estimated"`
			}
			Devices []struct {
				UUID        string
				Utilization *float64 `json:"utilization_percent"`
				Slices      []struct {
					Power *float64 `json:"power_watts"`
				}
			}
			Runs []struct {
				Recipe string
				Loss   *float64
			}
			Problems []string
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		if s.Host.Power == nil || *s.Host.Power <= 0 || !s.Host.Estimated || len(s.Devices) != 2 || *s.Devices[0].Utilization != 97 || s.Devices[1].Utilization != nil ||
			len(s.Devices[1].Slices) != 2 || s.Devices[1].Slices[0].Power != nil || *s.Runs[0].Loss != 0.083 || s.Runs[1].Loss != nil || s.Problems == nil {
			t.Errorf("%s", line)
		}
	}
	if err := Run(t.Context(), Options{Reader: r, Out: broken{}, Interval: time.Millisecond, JSON: true}); err == nil {
		t.Error("an output that is closed is no error")
	}
}

type lines struct {
	bytes.Buffer
	after int
	then  func()
}

func (l *lines) Write(b []byte) (int, error) {
	if l.after--; l.after <= 0 {
		l.then()
	}
	return l.Buffer.Write(b)
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

// Numbers are of three digits that count.
func TestShort(t *testing.T) {
	for _, c := range []struct {
		v          float64
		text, unit string
	}{
		{0, "0", "0 J"}, {1, "1", "1 J"}, {12, "12", "12 J"}, {999, "999", "999 J"}, {999.6, "1.00k", "1.00 kJ"}, {1234, "1.23k", "1.23 kJ"}, {19052, "19.1k", "19.1 kJ"},
		{0.0024, "2.40m", "2.40 mJ"}, {3.5e-7, "350n", "350 nJ"}, {1e-12, "0.00n", "0.00 nJ"}, {2e15, "2.00P", "2.00 PJ"}, {-1500, "-1.50k", "-1.50 kJ"}, {8.72, "8.72", "8.72 J"}, {99.96, "100", "100 J"}, {9.996, "10.0", "10.0 J"},
		{math.NaN(), "n/a", "n/a"}, {math.Inf(1), "n/a", "n/a"},
	} {
		if got, u := short(c.v), unit(c.v, "J"); got != c.text || u != c.unit {
			t.Errorf("%g is %q, %q; it should be %q, %q", c.v, got, u, c.text, c.unit)
		}
	}
}
