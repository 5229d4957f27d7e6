package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/monitor"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/hardware/telemetry/telemetrytest"
	"github.com/sinter-dl/sinter/internal/testenv"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/live"
)

// whole is a device that tells everything, cut into a slice.
func whole() telemetry.Reading {
	r := telemetrytest.GPU("GPU-whole", 300)
	r.MemoryTemperature, r.ECCCorrected, r.ECCUncorrected = telemetry.Known(70), telemetry.Known(3), telemetry.Known(0)
	r.Throttle, r.XIDs, r.MIG = []string{"power limit"}, []int{79, 13, 79}, "on"
	r.Processes = []telemetry.Process{{PID: 1}}
	slice := telemetry.Blank("a slice does not tell it")
	slice.UUID, slice.Model, slice.MemoryUsed = "MIG-1", "a slice", telemetry.Known(1<<30)
	r.Slices = []telemetry.Reading{slice}
	return r
}

// collector is of a machine with a device that tells everything, one that tells what a
// GeForce card does, and one that tells nothing but its name.
func collector(t *testing.T, runs ...live.Run) (*Collector, *telemetrytest.Source) {
	t.Helper()
	silent := telemetry.Blank("it is not told")
	silent.UUID, silent.Model, silent.Vendor = "GPU-silent", `odd "name" \ of`+"\n a card\xff", "nvidia"
	source := telemetrytest.New(whole(), telemetrytest.GPU("GPU-geforce", 100), silent)
	devices, err := telemetry.Open(telemetry.Options{Sources: []telemetry.Source{source}})
	if err != nil {
		t.Fatal(err)
	}
	reader := monitor.Open(monitor.Options{Telemetry: devices, Meter: power.Open(power.Options{Meter: "45W", Every: -1}), Runs: func() ([]live.Run, error) {
		return runs, errors.New("a damaged file")
	}})
	t.Cleanup(func() { reader.Close() })
	return &Collector{Reader: reader, Version: "v1.2.3"}, source
}

// full is a run of which everything is known.
var full = live.Run{
	PID: 7, Started: time.UnixMilli(1_795_000_000_500), Updated: time.UnixMilli(1_795_000_100_000), Dir: "/home/me/runs/lenet-1", Recipe: "lenet", Device: "cuda:0", State: live.Evaluating,
	Step: 512, Steps: 1250, Epoch: 3, Epochs: 5, Samples: 32768, Loss: 0.083, SamplesPerSecond: 19052, Watts: 251, JoulesPerSample: 0.0131, SecondsLeft: 65,
	Usage: power.Usage{Joules: 480, IdleJoules: 100, Grams: 0.1, Litres: 0.2, Cost: power.Money{Amount: 0.5, Currency: "EUR"}, Parts: []power.Part{
		{Component: "gpu 0", Joules: 400, Source: "NVML energy counter"}, {Component: "gpu 0", Joules: 30, Source: "NVML power"}, {Component: "cpu", Joules: 50, Source: "model", Estimated: true},
	}},
}

// scrape asks as Prometheus does, and reads the answer as it does.
func scrape(t *testing.T, c *Collector) (map[string]*dto.MetricFamily, string) {
	t.Helper()
	server := httptest.NewServer(c.Handler())
	defer server.Close()
	answer, err := http.Get(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", answer.Status, text, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return families, string(text)
}

// sample is the value of a metric with these labels among others; NaN if there is none.
func sample(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	value := math.NaN()
	for _, m := range families[name].GetMetric() {
		has := map[string]string{}
		for _, l := range m.Label {
			has[l.GetName()] = l.GetValue()
		}
		same := true
		for i := 0; i < len(labels); i += 2 {
			same = same && has[labels[i]] == labels[i+1]
		}
		if same && families[name].GetType() == dto.MetricType_COUNTER {
			value = m.GetCounter().GetValue()
		} else if same {
			value = m.GetGauge().GetValue()
		}
	}
	return value
}

// Every metric has the value of its source, in base units.
func TestValues(t *testing.T) {
	c, _ := collector(t, full)
	families, _ := scrape(t, c)
	check := func(want float64, name string, labels ...string) {
		t.Helper()
		if got := sample(families, name, labels...); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s %q is %g, want %g", name, labels, got, want)
		}
	}
	none := math.NaN()
	check(1, "sinter_build_info", "version", "v1.2.3")
	check(1, "sinter_problems")
	card := func(want float64, name string, more ...string) {
		t.Helper()
		check(want, "sinter_device_"+name, append([]string{"uuid", "GPU-whole", "device", "gpu 0", "model", "NVIDIA GeForce RTX 3080", "parent", ""}, more...)...)
	}
	card(1, "up")
	card(1, "info", "vendor", "nvidia", "capability", "8.6", "mig", "on", "pci", "0000:01:00.0", "persistence", "off", "source", "NVML")
	card(0.97, "utilization_ratio")
	card(0.4, "memory_busy_ratio")
	card(10<<30, "memory_total_bytes")
	card(6<<30, "memory_used_bytes")
	card(300, "power_watts")
	card(320, "power_limit_watts")
	card(320, "power_default_limit_watts")
	if j := sample(families, "sinter_device_energy_joules_total", "uuid", "GPU-whole"); j < 1000 || families["sinter_device_energy_joules_total"].GetType() != dto.MetricType_COUNTER {
		t.Errorf("energy %g J", j)
	}
	card(65, "temperature_celsius")
	card(70, "memory_temperature_celsius")
	card(95, "slowdown_temperature_celsius")
	card(1710e6, "clock_hertz", "clock", "sm")
	card(9501e6, "clock_hertz", "clock", "memory")
	card(2100e6, "clock_max_hertz", "clock", "sm")
	card(1, "throttled")
	card(1, "throttle_reason", "reason", "power limit")
	card(2e6, "pcie_sent_bytes_per_second")
	card(300e6, "pcie_received_bytes_per_second")
	card(4, "pcie_generation")
	card(16, "pcie_lanes")
	card(3, "ecc_errors_total", "kind", "corrected")
	card(0, "ecc_errors_total", "kind", "uncorrected")
	card(2, "xid_errors_total", "xid", "79")
	card(1, "xid_errors_total", "xid", "13")
	card(1, "processes")
	check(1<<30, "sinter_device_memory_used_bytes", "uuid", "MIG-1", "parent", "GPU-whole")
	check(none, "sinter_device_utilization_ratio", "uuid", "MIG-1")
	check(0, "sinter_device_throttled", "uuid", "GPU-geforce")

	run := func(want float64, name string, more ...string) {
		t.Helper()
		check(want, "sinter_run_"+name, append([]string{"run", "lenet-1", "dir", "/home/me/runs", "recipe", "lenet", "device", "cuda:0"}, more...)...)
	}
	run(1, "state", "state", "evaluating")
	run(0, "state", "state", "training")
	for name, want := range map[string]float64{
		"step": 512, "steps": 1250, "epoch": 3, "epochs": 5, "samples_total": 32768, "loss": 0.083, "samples_per_second": 19052, "power_watts": 251, "sample_energy_joules": 0.0131,
		"remaining_seconds": 65, "idle_energy_joules_total": 100, "emissions_grams_total": 0.1, "water_liters_total": 0.2, "start_time_seconds": 1795000000.5, "updated_time_seconds": 1795000100,
	} {
		run(want, name)
	}
	run(430, "energy_joules_total", "component", "gpu 0", "estimated", "false")
	run(50, "energy_joules_total", "component", "cpu", "estimated", "true")
	run(0.5, "cost_total", "currency", "EUR")
	if w := sample(families, "sinter_host_energy_joules_total", "component", "machine", "estimated", "true"); !(w > 0) {
		t.Errorf("the machine's energy is %g J", w)
	}
}

// What is not known has no sample, and no sample is 0 because of it.
func TestNotKnown(t *testing.T) {
	nan := math.NaN()
	c, source := collector(t, live.Run{PID: 8, Dir: "/runs/gpt", Recipe: "gpt", Device: "cpu", State: live.Starting, Steps: 10, Loss: nan, SamplesPerSecond: nan, Watts: nan, JoulesPerSample: nan, SecondsLeft: nan})
	source.Lose("GPU-geforce")
	families, text := scrape(t, c)
	for name := range families {
		if strings.HasPrefix(name, "sinter_device_") && name != "sinter_device_up" && name != "sinter_device_info" {
			if v := sample(families, name, "uuid", "GPU-silent"); !math.IsNaN(v) {
				t.Errorf("the device that tells nothing has %s %g", name, v)
			}
		}
		if strings.HasPrefix(name, "sinter_device_") && name != "sinter_device_up" {
			if v := sample(families, name, "uuid", "GPU-geforce"); !math.IsNaN(v) {
				t.Errorf("the device that is lost has %s %g", name, v)
			}
		}
	}
	if sample(families, "sinter_device_up", "uuid", "GPU-geforce") != 0 || sample(families, "sinter_device_up", "uuid", "GPU-silent") != 1 {
		t.Error("it is not told which device is lost")
	}
	for _, name := range []string{"loss", "samples_per_second", "power_watts", "sample_energy_joules", "remaining_seconds", "energy_joules_total", "idle_energy_joules_total", "emissions_grams_total", "cost_total", "water_liters_total", "start_time_seconds"} {
		if families["sinter_run_"+name] != nil {
			t.Errorf("a run of which it is not known has sinter_run_%s", name)
		}
	}
	if strings.Contains(text, "NaN") {
		t.Error("there is a NaN")
	}
	if sample(families, "sinter_run_step", "run", "gpt") != 0 {
		t.Error("a run that begins has made no step")
	}
}

// Runs and devices that have the same labels spoil no scrape.
func TestTwins(t *testing.T) {
	nameless := full
	nameless.Dir, nameless.PID = "", 9
	c, _ := collector(t, full, full, nameless)
	families, _ := scrape(t, c)
	if n := len(families["sinter_run_step"].Metric); n != 2 {
		t.Errorf("%d runs", n)
	}
	if sample(families, "sinter_run_step", "run", "process 9", "dir", "") != 512 {
		t.Error("the run without a folder is not there")
	}
}

// Scrapes at the same time do not disturb each other.
func TestConcurrent(t *testing.T) {
	c, _ := collector(t, full)
	handler := c.Handler()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			if w.Code != http.StatusOK {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		})
	}
	all.Wait()
}

// The page leads to the metrics, and there is nothing else.
func TestPages(t *testing.T) {
	c, _ := collector(t)
	for path, want := range map[string]int{"/": 200, "/other": 404} {
		w := httptest.NewRecorder()
		c.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want || want == 200 && !strings.Contains(w.Body.String(), `href="metrics"`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// A problem is told once, and again if it comes back.
func TestSaid(t *testing.T) {
	var s said
	var list []string
	for _, messages := range [][]string{{"a"}, {"a", "b"}, {"b"}, {"a", "b"}} {
		s.each(messages, func(m string) { list = append(list, m) })
	}
	if got := strings.Join(list, " "); got != "a b a" {
		t.Errorf("told were %s", got)
	}
}

// The metrics keep to Prometheus' rules, by the linter that promtool has.
func TestLint(t *testing.T) {
	c, _ := collector(t, full)
	var text bytes.Buffer
	if err := c.Write(&text); err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(text.Bytes())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, _ := scrape(t, c)
	for _, d := range described {
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1]
		if families[name] == nil {
			t.Errorf("a machine of which everything is known has no %s", name)
		}
	}
}

func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	testenv.Require(t, "promtool", err == nil, "no promtool in PATH (Debian's package prometheus has it)")
	return path
}

// Prometheus' own tool finds nothing wrong.
func TestPromtool(t *testing.T) {
	tool := promtool(t)
	c, source := collector(t, full)
	source.Lose("GPU-geforce")
	var text bytes.Buffer
	if err := c.Write(&text); err != nil {
		t.Fatal(err)
	}
	check := exec.Command(tool, "check", "metrics")
	check.Stdin = &text
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// queries are all expressions of the dashboard.
func queries(t *testing.T) []string {
	t.Helper()
	var d struct {
		Panels []struct {
			Title   string
			ID      int
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Definition string
			}
		}
	}
	if err := json.Unmarshal(Dashboard, &d); err != nil {
		t.Fatal(err)
	}
	var list []string
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the number %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("the panels %q and %q overlap, or are too wide", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			list = append(list, target.Expr)
		}
	}
	if len(list) < 20 {
		t.Fatalf("%d queries", len(list))
	}
	for _, v := range d.Templating.List {
		if v.Definition != "" {
			list = append(list, v.Definition)
		}
	}
	return list
}

// Every metric that the dashboard asks for is exported, with the labels that it asks by.
func TestDashboard(t *testing.T) {
	c, _ := collector(t, full)
	families, _ := scrape(t, c)
	name, matcher := regexp.MustCompile(`(sinter_\w+)(\{[^}]*\})?`), regexp.MustCompile(`(\w+)(=~|!~|!=|=)"`)
	for _, q := range queries(t) {
		found := name.FindAllStringSubmatch(q, -1)
		if len(found) == 0 {
			t.Errorf("%s asks for nothing of ours", q)
		}
		for _, f := range found {
			family := families[f[1]]
			if family == nil {
				t.Errorf("%s asks for %s, which is not exported", q, f[1])
				continue
			}
			labels := map[string]bool{"instance": true} // Prometheus adds it
			for _, l := range family.Metric[0].Label {
				labels[l.GetName()] = true
			}
			for _, m := range matcher.FindAllStringSubmatch(f[2], -1) {
				if !labels[m[1]] {
					t.Errorf("%s asks by %s, which %s does not have; it has %v", q, m[1], f[1], slices.Sorted(maps.Keys(labels)))
				}
			}
		}
	}
}

// Prometheus understands the dashboard's queries: as the expressions of rules they are
// parsed.
func TestDashboardQueries(t *testing.T) {
	tool := promtool(t)
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$instance", ".*", "$device", ".*", "$run", ".*")
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, q := range queries(t) {
		if !strings.HasPrefix(q, "label_values(") {
			fmt.Fprintf(&rules, "  - record: query:%d\n    expr: %q\n", i, variables.Replace(q))
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}
