// Package export gives Prometheus what there is to see of a machine that trains.
//
// Metrics are made of a snapshot of package monitor when they are asked for, and nothing is
// kept between two scrapes but what the counters count from. Names, units and types follow
// Prometheus' conventions: base units, ratios between 0 and 1, counters that end in _total.
// What a device does not tell has no sample; a device that is lost has sinter_device_up 0
// and no others.
//
// A MIG slice is a device with the label parent, the UUID of the card that it is cut of; for
// whole cards the label is empty, so that {parent=""} counts nothing twice. A run's labels
// are those of its folder, and not of its process: a run that is resumed goes on in the same
// series.
package export

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	_ "embed"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/monitor"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/train/live"
)

// Dashboard is a Grafana dashboard of these metrics, to be imported.
//
//go:embed grafana.json
var Dashboard []byte

// metric is one that is exported.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// described is all metrics, for Describe.
var described []*prometheus.Desc

func define(kind prometheus.ValueType, name, help string, labels ...string) metric {
	d := prometheus.NewDesc("sinter_"+name, help, labels, nil)
	described = append(described, d)
	return metric{d, kind}
}

func ofDevice(kind prometheus.ValueType, name, help string, more ...string) metric {
	return define(kind, "device_"+name, help, append([]string{"device", "uuid", "model", "parent"}, more...)...)
}

func ofRun(kind prometheus.ValueType, name, help string, more ...string) metric {
	return define(kind, "run_"+name, help, append([]string{"run", "dir", "recipe", "device"}, more...)...)
}

// The metrics.
var (
	buildInfo = define(gauge, "build_info", "Sinter's version; the value is 1.", "version")
	problems  = define(gauge, "problems", "Things that could not be read in this scrape, apart from what a device does not tell.")

	hostBusy        = define(counter, "host_cpu_busy_seconds_total", "Time for which the machine's threads have worked since it was started, of all together.")
	hostThreads     = define(gauge, "host_cpu_threads", "Threads of the machine's processors.")
	hostMemoryTotal = define(gauge, "host_memory_total_bytes", "Memory of the machine.")
	hostMemoryUsed  = define(gauge, "host_memory_used_bytes", "Memory of the machine that is not available to programs.")
	hostEnergy      = define(counter, "host_energy_joules_total", "Energy of the machine without its GPUs since the exporter was started; estimated says whether it is by a model.", "component", "source", "estimated")

	deviceUp            = ofDevice(gauge, "up", "Whether the device can be read; 0 for one that is lost.")
	deviceInfo          = ofDevice(gauge, "info", "What else is known of the device; the value is 1.", "vendor", "pci", "source", "capability", "mig", "ecc", "persistence")
	deviceUtilization   = ofDevice(gauge, "utilization_ratio", "Share of the last moment in which anything ran on the device.")
	deviceMemoryBusy    = ofDevice(gauge, "memory_busy_ratio", "Share of the last moment in which the device's memory was read or written.")
	deviceMemoryTotal   = ofDevice(gauge, "memory_total_bytes", "Memory of the device.")
	deviceMemoryUsed    = ofDevice(gauge, "memory_used_bytes", "Memory of the device that is in use.")
	deviceMemoryFree    = ofDevice(gauge, "memory_free_bytes", "Memory of the device that is free.")
	devicePower         = ofDevice(gauge, "power_watts", "Power that the device draws.")
	devicePowerLimit    = ofDevice(gauge, "power_limit_watts", "Limit of the device's power that is in force.")
	devicePowerDefault  = ofDevice(gauge, "power_default_limit_watts", "Limit of the device's power as delivered.")
	deviceEnergy        = ofDevice(counter, "energy_joules_total", "Energy that the device has drawn since some moment in the past.")
	deviceTemperature   = ofDevice(gauge, "temperature_celsius", "Temperature of the device's chip.")
	deviceMemoryTemp    = ofDevice(gauge, "memory_temperature_celsius", "Temperature of the device's memory.")
	deviceSlowdown      = ofDevice(gauge, "slowdown_temperature_celsius", "Temperature from which on the device slows down.")
	deviceClock         = ofDevice(gauge, "clock_hertz", "Clock of a part of the device.", "clock")
	deviceClockMax      = ofDevice(gauge, "clock_max_hertz", "Highest clock of a part of the device.", "clock")
	deviceThrottled     = ofDevice(gauge, "throttled", "Whether the device's clocks are lower than they could be although it has work.")
	deviceThrottle      = ofDevice(gauge, "throttle_reason", "A reason for which the device is throttled now; the value is 1.", "reason")
	devicePCIeSent      = ofDevice(gauge, "pcie_sent_bytes_per_second", "What the device sends over PCIe.")
	devicePCIeReceived  = ofDevice(gauge, "pcie_received_bytes_per_second", "What the device receives over PCIe.")
	devicePCIeGen       = ofDevice(gauge, "pcie_generation", "Generation of PCIe that the device's link runs at now.")
	devicePCIeGenMax    = ofDevice(gauge, "pcie_generation_max", "Highest generation of PCIe that device and machine have together.")
	devicePCIeWidth     = ofDevice(gauge, "pcie_lanes", "Lanes of PCIe that the device's link has now.")
	devicePCIeWidthMax  = ofDevice(gauge, "pcie_lanes_max", "Most lanes of PCIe that device and machine have together.")
	deviceECC           = ofDevice(counter, "ecc_errors_total", "Errors of the device's memory since its driver was loaded.", "kind")
	deviceXID           = ofDevice(counter, "xid_errors_total", "Errors that NVIDIA's driver has told since the exporter was started, by their number.", "xid")
	deviceProcesses     = ofDevice(gauge, "processes", "Processes that use the device.")
	runState            = ofRun(gauge, "state", "What the run is doing: 1 for its state, 0 for the others.", "state")
	runStep             = ofRun(gauge, "step", "Steps that the run has made.")
	runSteps            = ofRun(gauge, "steps", "Steps that there will be at most.")
	runEpoch            = ofRun(gauge, "epoch", "The epoch that the run is in, from 1.")
	runEpochs           = ofRun(gauge, "epochs", "Epochs that there will be at most.")
	runSamples          = ofRun(counter, "samples_total", "Examples that the run was trained on.")
	runLoss             = ofRun(gauge, "loss", "Training loss, mean over the epoch so far.")
	runSamplesPerSecond = ofRun(gauge, "samples_per_second", "Examples trained on per second, without evaluation.")
	runPower            = ofRun(gauge, "power_watts", "Power of what is metered for the run.")
	runJoulesPerSample  = ofRun(gauge, "sample_energy_joules", "Energy for each example, mean over the steps so far.")
	runLeft             = ofRun(gauge, "remaining_seconds", "Time until the last step, as estimated from the speed so far.")
	runEnergy           = ofRun(counter, "energy_joules_total", "Energy of the run, with what was before it was resumed; estimated says whether it is by a model.", "component", "estimated")
	runIdle             = ofRun(counter, "idle_energy_joules_total", "Part of the run's energy that the machine would have taken idle.")
	runEmissions        = ofRun(counter, "emissions_grams_total", "Carbon dioxide equivalent of the run's energy.")
	runWater            = ofRun(counter, "water_liters_total", "Water for the run's energy.")
	runCost             = ofRun(counter, "cost_total", "Cost of the run's energy and of its device's time.", "currency")
	runStart            = ofRun(gauge, "start_time_seconds", "When the run began, or was resumed, in seconds since 1970.")
	runUpdated          = ofRun(gauge, "updated_time_seconds", "When the run last told where it stands, in seconds since 1970.")
)

// Collector is a prometheus.Collector of a machine.
type Collector struct {
	Reader  *monitor.Reader
	Version string               // Sinter's
	Say     func(problem string) // is told of each problem once; may be nil

	said said
}

// Describe tells of all metrics.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range described {
		ch <- d
	}
}

// Collect reads the machine.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.Reader.Read()
	if c.Say != nil {
		c.said.each(s.Problems, c.Say)
	}
	w := &writer{ch: ch, seen: map[string]bool{}}
	w.put(buildInfo, 1, c.Version)
	w.put(problems, float64(len(s.Problems)))
	w.host(&s.Host)
	for i := range s.Devices {
		w.device(&s.Devices[i], "")
		for k := range s.Devices[i].Slices {
			w.device(&s.Devices[i].Slices[k], s.Devices[i].UUID)
		}
	}
	for i := range s.Runs {
		w.run(&s.Runs[i])
	}
}

// writer sends samples.
type writer struct {
	ch   chan<- prometheus.Metric
	seen map[string]bool // samples, by metric and labels: with one that is there twice nothing would be exported
}

func (w *writer) put(m metric, v float64, labels ...string) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
	}
	key := m.desc.String() + "\x00" + strings.Join(labels, "\x00")
	if w.seen[key] {
		return
	}
	w.seen[key] = true
	w.ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
}

func (w *writer) host(h *monitor.Host) {
	w.value(hostBusy, h.Busy, 1)
	if h.Threads > 0 {
		w.put(hostThreads, float64(h.Threads))
	}
	w.value(hostMemoryTotal, h.MemoryTotal, 1)
	w.value(hostMemoryUsed, h.MemoryUsed, 1)
	for _, p := range h.Energy {
		w.put(hostEnergy, p.Joules, p.Component, p.Source, strconv.FormatBool(p.Estimated))
	}
}

// value puts a value that may not be known, in another unit.
func (w *writer) value(m metric, v telemetry.Value, unit float64, labels ...string) {
	if v.OK {
		w.put(m, v.V*unit, labels...)
	}
}

func (w *writer) device(r *telemetry.Reading, parent string) {
	of := func(more ...string) []string { return append([]string{r.Device, r.UUID, r.Model, parent}, more...) }
	if r.Problem != "" {
		w.put(deviceUp, 0, of()...)
		return
	}
	w.put(deviceUp, 1, of()...)
	capability := ""
	if r.Capability > 0 {
		capability = fmt.Sprintf("%d.%d", r.Capability/10, r.Capability%10)
	}
	w.put(deviceInfo, 1, of(r.Vendor, r.PCI, r.Source, capability, r.MIG, r.ECC, r.Persistence)...)
	for _, v := range []struct {
		metric metric
		value  telemetry.Value
		unit   float64
	}{
		{deviceUtilization, r.Utilization, 0.01}, {deviceMemoryBusy, r.MemoryUtilization, 0.01},
		{deviceMemoryTotal, r.MemoryTotal, 1}, {deviceMemoryUsed, r.MemoryUsed, 1}, {deviceMemoryFree, r.MemoryFree, 1},
		{devicePower, r.Power, 1}, {devicePowerLimit, r.PowerLimit, 1}, {devicePowerDefault, r.PowerDefault, 1}, {deviceEnergy, r.Energy, 1},
		{deviceTemperature, r.Temperature, 1}, {deviceMemoryTemp, r.MemoryTemperature, 1}, {deviceSlowdown, r.SlowdownTemperature, 1},
		{devicePCIeSent, r.PCIeSent, 1}, {devicePCIeReceived, r.PCIeReceived, 1},
		{devicePCIeGen, r.PCIeGeneration, 1}, {devicePCIeGenMax, r.PCIeGenerationMax, 1}, {devicePCIeWidth, r.PCIeWidth, 1}, {devicePCIeWidthMax, r.PCIeWidthMax, 1},
	} {
		w.value(v.metric, v.value, v.unit, of()...)
	}
	const mega = 1e6
	w.value(deviceClock, r.ClockGraphics, mega, of("graphics")...)
	w.value(deviceClock, r.ClockSM, mega, of("sm")...)
	w.value(deviceClock, r.ClockMemory, mega, of("memory")...)
	w.value(deviceClockMax, r.ClockSMMax, mega, of("sm")...)
	w.value(deviceClockMax, r.ClockMemoryMax, mega, of("memory")...)
	w.value(deviceECC, r.ECCCorrected, 1, of("corrected")...)
	w.value(deviceECC, r.ECCUncorrected, 1, of("uncorrected")...)
	if r.ThrottleKnown {
		throttled := 0.0
		if len(r.Throttle) > 0 {
			throttled = 1
		}
		w.put(deviceThrottled, throttled, of()...)
		for _, reason := range r.Throttle {
			w.put(deviceThrottle, 1, of(reason)...)
		}
	}
	count := map[int]int{}
	for _, x := range r.XIDs {
		count[x]++
	}
	for x, n := range count {
		w.put(deviceXID, float64(n), of(strconv.Itoa(x))...)
	}
	if r.Processes != nil { // else it is not known
		w.put(deviceProcesses, float64(len(r.Processes)), of()...)
	}
}

// states are what a run can be doing.
var states = []string{live.Starting, live.Training, live.Evaluating, live.Checkpointing, live.Paused, live.Stopped}

func (w *writer) run(r *live.Run) {
	dir, name := filepath.Dir(r.Dir), filepath.Base(r.Dir)
	if r.Dir == "" { // it keeps no folder
		dir, name = "", fmt.Sprintf("process %d", r.PID)
	}
	of := func(more ...string) []string { return append([]string{name, dir, r.Recipe, r.Device}, more...) }
	for _, state := range states {
		is := 0.0
		if state == r.State {
			is = 1
		}
		w.put(runState, is, of(state)...)
	}
	for _, v := range []struct {
		metric metric
		value  float64
	}{
		{runStep, float64(r.Step)}, {runSteps, float64(r.Steps)}, {runEpoch, float64(r.Epoch)}, {runEpochs, float64(r.Epochs)}, {runSamples, float64(r.Samples)},
		{runLoss, r.Loss}, {runSamplesPerSecond, r.SamplesPerSecond}, {runPower, r.Watts}, {runJoulesPerSample, r.JoulesPerSample}, {runLeft, r.SecondsLeft},
		{runStart, seconds(r.Started)}, {runUpdated, seconds(r.Updated)},
	} {
		w.put(v.metric, v.value, of()...)
	}
	u := &r.Usage
	if !u.Cost.IsZero() {
		w.put(runCost, u.Cost.Amount, of(u.Cost.Currency)...)
	}
	if len(u.Parts) == 0 { // nothing is metered
		return
	}
	// Before and after a resume a part may have come from other sources.
	type part struct {
		component string
		estimated bool
	}
	sums := map[part]float64{}
	for _, p := range u.Parts {
		sums[part{p.Component, p.Estimated}] += p.Joules
	}
	for p, joules := range sums {
		w.put(runEnergy, joules, of(p.component, strconv.FormatBool(p.estimated))...)
	}
	w.put(runIdle, u.IdleJoules, of()...)
	w.put(runEmissions, u.Grams, of()...)
	if u.Litres > 0 {
		w.put(runWater, u.Litres, of()...)
	}
}

// seconds is a time as Prometheus has it; none is NaN.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return math.NaN()
	}
	return float64(t.UnixMilli()) / 1e3
}

// Write writes all metrics once, in Prometheus' text format.
func (c *Collector) Write(out io.Writer) error {
	families, err := c.registry().Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(out, f); err != nil {
			return err
		}
	}
	return nil
}

func (c *Collector) registry() *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	return r
}

// page is what is at the root.
const page = `<!doctype html>
<title>Sinter's exporter</title>
<p>Metrics of this machine and the runs that train on it, for Prometheus: <a href="metrics">/metrics</a>
`

// Handler serves /metrics.
func (c *Collector) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.registry(), promhttp.HandlerOpts{
		// A driver that does not answer is to hold up only so many requests, for so long.
		MaxRequestsInFlight: 4, Timeout: 20 * time.Second,
	}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	})
	return mux
}
