package top

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/monitor"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/train/live"
)

// view is what is on the screen: a snapshot, and how it is looked at.
type view struct {
	snapshot monitor.Snapshot
	absent   []string // why there are no devices of some kinds

	width, height int
	styled        bool // the terminal shows styles
	plain         bool // but no colours
	interval      time.Duration
	paused, help  bool
	details       bool

	pane   int       // that keys are for
	chosen [2]string // key of the item that is selected, of each pane
	order  [2]int    // of items
	upside [2]bool   // the other way round
	above  [2]int    // lines that are scrolled out of sight
}

// The panes of the screen.
const (
	devices = iota
	runs
)

// orders are what a pane's items can be sorted by.
var orders = [2][]string{
	{"device", "utilisation", "memory", "power", "temperature"},
	{"start", "recipe", "speed", "power", "time left"},
}

// item is a device, a slice of one, or a run: some lines of a pane.
type item struct {
	key   string
	notes []cell // lines below that of the table
	about []fact // the details
}

// fact is a line of the details.
type fact struct{ name, text string }

// number is a value in a field, "n/a" if it is none.
func number(v telemetry.Value, format string, args ...any) cell {
	if !v.OK {
		return cell{"n/a", dim}
	}
	return cell{fmt.Sprintf(format, append([]any{v.V}, args...)...), normal}
}

const gibi = 1 << 30

// memory is what is used of what there is.
func memory(used, total telemetry.Value) cell {
	size := func(v telemetry.Value) string {
		switch {
		case !v.OK:
			return "n/a"
		case v.V >= 99.95*gibi:
			return fmt.Sprintf("%.0f", v.V/gibi)
		}
		return fmt.Sprintf("%.1f", v.V/gibi)
	}
	if !used.OK && !total.OK {
		return cell{"n/a", dim}
	}
	return cell{size(used) + "/" + size(total) + " GiB", normal}
}

// watts is a power and its limit.
func watts(power, limit telemetry.Value, estimated bool) cell {
	c := number(power, "%.0f")
	if power.OK && power.V < 10 {
		c = number(power, "%.1f")
	}
	if estimated && power.OK {
		c.text = "≈" + c.text
	}
	switch {
	case limit.OK:
		c.text += fmt.Sprintf("/%.0f W", limit.V)
	case power.OK:
		c.text += " W"
	}
	return c
}

// temperature stands out when the device is about to slow down.
func temperature(r *telemetry.Reading) cell {
	c := number(r.Temperature, "%.0f °C")
	switch {
	case !r.Temperature.OK || !r.SlowdownTemperature.OK:
	case r.Temperature.V >= r.SlowdownTemperature.V:
		c.style = alarm
	case r.Temperature.V >= r.SlowdownTemperature.V-5:
		c.style = warning
	}
	return c
}

// short is a number of three digits that count, with a prefix of the SI.
func short(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "n/a"
	}
	if v == 0 {
		return "0"
	}
	a, prefixes, i := math.Abs(v), []string{"n", "µ", "m", "", "k", "M", "G", "T", "P"}, 3
	for a >= 999.5 && i < len(prefixes)-1 {
		a, i = a/1000, i+1
	}
	for a < 0.9995 && i > 0 {
		a, i = a*1000, i-1
	}
	digits := 2
	switch {
	case a >= 99.95:
		digits = 0
	case a >= 9.995:
		digits = 1
	}
	sign := ""
	if v < 0 {
		sign = "-"
	}
	text := fmt.Sprintf("%.*f", digits, a)
	if i == 3 && v == math.Trunc(v) {
		text = fmt.Sprintf("%.0f", a) // a whole number is exact
	}
	return sign + text + prefixes[i]
}

// unit is a number with its unit, "1.20 kJ".
func unit(v float64, name string) string {
	text := short(v)
	if last := text[len(text)-1]; text != "n/a" && (last < '0' || last > '9') { // the prefix of an SI unit stands with it
		for i, r := range text {
			if r != '-' && r != '.' && (r < '0' || r > '9') {
				return text[:i] + " " + text[i:] + name
			}
		}
	}
	if text == "n/a" {
		return text
	}
	return text + " " + name
}

// known is a text of a number that may be none.
func known(v float64, text string) cell {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return cell{"n/a", dim}
	}
	return cell{text, normal}
}

// devicesTable is the table of devices, this machine's processors first.
func (v *view) devicesTable() ([]column, []item) {
	columns := []column{
		{head: "DEVICE"},
		{head: "MODEL", rank: 5, least: 16},
		{head: "UTIL", right: true, rank: 1},
		{head: "MEMORY", right: true, rank: 2},
		{head: "POWER", right: true, rank: 1},
		{head: "TEMP", right: true, rank: 3},
		{head: "SM MHZ", right: true, rank: 4},
		{head: "PCIE IN/OUT", right: true, rank: 6},
		{head: "MEM MHZ", right: true, rank: 7},
		{head: "MEM UTIL", right: true, rank: 8},
		{head: "PROCESSES", right: true, rank: 9},
		{head: "UUID", rank: 10},
	}
	var items []item
	add := func(it item, cells ...cell) {
		items = append(items, it)
		for i := range columns {
			c := cell{}
			if i < len(cells) {
				c = cells[i]
			}
			columns[i].cells = append(columns[i].cells, c)
		}
	}
	h := &v.snapshot.Host
	none := cell{"–", dim} // it is not a thing that processors have
	untold := cell{"n/a", dim}
	add(v.host(), cell{"cpu", bold}, cell{ui.Plain(cmp.Or(h.CPU, "processor")), normal}, load(h.Load), memory(h.MemoryUsed, h.MemoryTotal),
		watts(h.Power, telemetry.Value{}, h.Estimated), untold, none, none, none, none, none, none)
	row := func(r *telemetry.Reading, name, model string) {
		state := bold
		if r.Problem != "" {
			state = alarm
		}
		processes := untold
		if r.Processes != nil {
			processes = cell{fmt.Sprint(len(r.Processes)), normal}
		}
		add(v.device(r), cell{ui.Plain(name), state}, cell{ui.Plain(strings.TrimPrefix(model, "NVIDIA ")), normal}, load(r.Utilization), memory(r.MemoryUsed, r.MemoryTotal),
			watts(r.Power, r.PowerLimit, false), temperature(r), number(r.ClockSM, "%.0f"), traffic(r), number(r.ClockMemory, "%.0f"),
			load(r.MemoryUtilization), processes, cell{ui.Plain(r.UUID), dim})
	}
	list := slices.Clone(v.snapshot.Devices)
	by := [...]func(r *telemetry.Reading) telemetry.Value{
		1: func(r *telemetry.Reading) telemetry.Value { return r.Utilization },
		2: func(r *telemetry.Reading) telemetry.Value { return r.MemoryUsed },
		3: func(r *telemetry.Reading) telemetry.Value { return r.Power },
		4: func(r *telemetry.Reading) telemetry.Value { return r.Temperature },
	}
	if n := v.order[devices]; n > 0 {
		slices.SortStableFunc(list, func(a, b telemetry.Reading) int { return descending(by[n](&a), by[n](&b)) })
	}
	if v.upside[devices] {
		slices.Reverse(list)
	}
	for i := range list {
		row(&list[i], list[i].Device, list[i].Model)
		for k := range list[i].Slices {
			branch := "├ "
			if k == len(list[i].Slices)-1 {
				branch = "└ "
			}
			slice := &list[i].Slices[k]
			row(slice, branch+slice.Device, strings.TrimPrefix(slice.Model, list[i].Model+" "))
		}
	}
	return columns, items
}

// traffic is what a device receives and sends over PCIe, in bytes a second.
func traffic(r *telemetry.Reading) cell {
	if !r.PCIeReceived.OK && !r.PCIeSent.OK {
		return cell{"n/a", dim}
	}
	rate := func(v telemetry.Value) string {
		if !v.OK {
			return "n/a"
		}
		return short(v.V)
	}
	return cell{rate(r.PCIeReceived) + "/" + rate(r.PCIeSent), normal}
}

// descending orders large values first, and what is not known last.
func descending(a, b telemetry.Value) int {
	switch {
	case a.OK && b.OK:
		return cmp.Compare(b.V, a.V)
	case a.OK:
		return -1
	case b.OK:
		return 1
	}
	return 0
}

// load is a share of what could be done, in percent.
func load(v telemetry.Value) cell { return number(v, "%.0f %%") }

// host is the machine without its devices.
func (v *view) host() item {
	h := &v.snapshot.Host
	it := item{key: "cpu"}
	power := number(h.Power, "%.1f W").text
	if h.Estimated && h.Power.OK {
		power += ", estimated"
	}
	used := 0.0
	for _, p := range h.Energy {
		used += p.Joules
	}
	if len(h.Energy) > 0 {
		power += "; " + unit(used, "J") + " since this began"
	}
	it.about = []fact{
		{"cpu", ui.Plain(fmt.Sprintf("%s, %d threads", cmp.Or(h.CPU, "model not known"), h.Threads))},
		{"load", number(h.Load, "%.1f %%").text},
		{"memory", sizes(h.MemoryUsed, h.MemoryTotal)},
		{"power", power},
		{"source", ui.Plain(h.Source)},
	}
	for _, p := range h.Energy {
		if p.Note != "" {
			it.about = append(it.about, fact{"note", ui.Plain(p.Component + ": " + p.Note)})
		}
	}
	why(&it, h.Load, h.MemoryUsed, h.Power)
	return it
}

// why says why what is n/a is.
func why(it *item, values ...telemetry.Value) {
	var reasons []string
	for _, v := range values {
		if !v.OK && v.Why != "" && !slices.Contains(reasons, v.Why) {
			reasons = append(reasons, v.Why)
		}
	}
	if len(reasons) > 0 {
		it.about = append(it.about, fact{"n/a", ui.Plain(strings.Join(reasons, "; "))})
	}
}

func sizes(used, total telemetry.Value) string {
	size := func(v telemetry.Value) string {
		if !v.OK {
			return "n/a"
		}
		return ui.Bytes(int64(v.V))
	}
	return size(used) + " of " + size(total)
}

// device is a device or a slice of one.
func (v *view) device(r *telemetry.Reading) item {
	it := item{key: cmp.Or(r.UUID, r.Device)}
	note := func(s style, text string) { it.notes = append(it.notes, cell{ui.Plain(text), s}) }
	if r.Problem != "" {
		note(alarm, r.Problem)
	}
	if r.ThrottleKnown && len(r.Throttle) > 0 {
		note(warning, "throttled: "+strings.Join(r.Throttle, ", "))
	}
	if r.ECCUncorrected.OK && r.ECCUncorrected.V > 0 {
		note(alarm, fmt.Sprintf("%.0f uncorrected errors of memory", r.ECCUncorrected.V))
	}
	if len(r.XIDs) > 0 {
		note(alarm, "errors told by the driver (XID): "+strings.Trim(fmt.Sprint(r.XIDs), "[]"))
	}
	it.about = []fact{{"device", strings.Join(slices.DeleteFunc([]string{r.Device, r.Model, r.UUID, r.PCI, r.Source}, func(s string) bool { return s == "" }), ", ")}}
	// tell adds a line, but for one of which nothing is told. Why something is not is said in
	// the end, with all that it is the reason for.
	var reasons []string
	untold := map[string][]string{} // names by reason
	miss := func(name, reason string) {
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
		if !slices.Contains(untold[reason], name) {
			untold[reason] = append(untold[reason], name)
		}
	}
	tell := func(name, format string, values ...telemetry.Value) {
		told := slices.ContainsFunc(values, func(v telemetry.Value) bool { return v.OK })
		for _, v := range values {
			switch {
			case v.OK:
			case told:
				miss("part of "+name, v.Why)
			default:
				miss(name, v.Why)
			}
		}
		if told {
			it.about = append(it.about, fact{name, fill(format, values)})
		}
	}
	tell("busy", "{%.0f %%}, memory {%.0f %%}", r.Utilization, r.MemoryUtilization)
	tell("memory", "{bytes} of {bytes}", r.MemoryUsed, r.MemoryTotal)
	tell("power", "{%.0f W}, limit {%.0f W} (standard {%.0f W}, from {%.0f W} to {%.0f W}); energy {J}", r.Power, r.PowerLimit, r.PowerDefault, r.PowerMin, r.PowerMax, r.Energy)
	tell("temperature", "{%.0f °C}, memory {%.0f °C}; slows down at {%.0f °C}", r.Temperature, r.MemoryTemperature, r.SlowdownTemperature)
	tell("clocks", "SM {%.0f} of {%.0f MHz}, memory {%.0f} of {%.0f MHz}", r.ClockSM, r.ClockSMMax, r.ClockMemory, r.ClockMemoryMax)
	if r.ThrottleKnown {
		it.about = append(it.about, fact{"throttled", cmp.Or(strings.Join(r.Throttle, ", "), "no")})
	} else {
		it.about = append(it.about, fact{"throttled", "n/a"})
	}
	tell("PCIe", "generation {%.0f} of {%.0f}, {%.0f} of {%.0f} lanes; in {B/s}, out {B/s}", r.PCIeGeneration, r.PCIeGenerationMax, r.PCIeWidth, r.PCIeWidthMax, r.PCIeReceived, r.PCIeSent)
	tell("errors", "of memory corrected {%.0f}, uncorrected {%.0f}", r.ECCCorrected, r.ECCUncorrected)
	xids := "n/a"
	if r.XIDsKnown || len(r.XIDs) > 0 {
		xids = cmp.Or(strings.Trim(fmt.Sprint(r.XIDs), "[]"), "none")
	}
	it.about = append(it.about,
		fact{"XID", xids},
		fact{"settings", fmt.Sprintf("MIG %s, ECC %s, persistence %s", cmp.Or(r.MIG, "n/a"), cmp.Or(r.ECC, "n/a"), cmp.Or(r.Persistence, "n/a"))},
		fact{"processes", v.processes(r)})
	for _, reason := range reasons {
		it.about = append(it.about, fact{"n/a", strings.Join(untold[reason], ", ") + ": " + cmp.Or(reason, "it is not told")})
	}
	for i := range it.about {
		it.about[i].text = ui.Plain(it.about[i].text)
	}
	return it
}

// fill puts values into a text: in braces is the format of one, or its unit.
func fill(format string, values []telemetry.Value) string {
	var b strings.Builder
	for _, value := range values {
		before, rest, _ := strings.Cut(format, "{")
		how, after, _ := strings.Cut(rest, "}")
		b.WriteString(before)
		switch {
		case !value.OK:
			b.WriteString("n/a")
		case how == "bytes":
			b.WriteString(ui.Bytes(int64(value.V)))
		case strings.Contains(how, "%"):
			fmt.Fprintf(&b, how, value.V)
		default:
			b.WriteString(unit(value.V, how))
		}
		format = after
	}
	return b.String() + format
}

// processes is what computes on a device; which of it is a run of Sinter is said.
func (v *view) processes(r *telemetry.Reading) string {
	var list []string
	for _, p := range r.Processes {
		text := fmt.Sprint(p.PID)
		if p.Name != "" {
			text += " " + filepath.Base(p.Name)
		}
		for _, run := range v.snapshot.Runs {
			if run.PID == p.PID {
				text += " (" + run.Recipe + ")"
			}
		}
		size := "n/a"
		if p.Memory.OK {
			size = ui.Bytes(int64(p.Memory.V))
		}
		list = append(list, text+" "+size)
	}
	if r.Processes == nil {
		return "n/a"
	}
	return cmp.Or(strings.Join(list, "; "), "none")
}

// runsTable is the table of runs.
func (v *view) runsTable() ([]column, []item) {
	columns := []column{
		{head: "RECIPE", least: 8},
		{head: "DEVICE", rank: 4},
		{head: "STATE", rank: 2},
		{head: "STEP", right: true, rank: 1},
		{head: "LOSS", right: true, rank: 1},
		{head: "SAMPLES/S", right: true, rank: 3},
		{head: "J/SAMPLE", right: true, rank: 5},
		{head: "POWER", right: true, rank: 6},
		{head: "LEFT", right: true, rank: 2},
		{head: "EPOCH", right: true, rank: 7},
		{head: "ENERGY", right: true, rank: 8},
		{head: "COST", right: true, rank: 9},
		{head: "PID", right: true, rank: 10},
		{head: "RUN", rank: 11, least: 20},
	}
	list := slices.Clone(v.snapshot.Runs)
	less := [...]func(a, b live.Run) int{
		1: func(a, b live.Run) int { return strings.Compare(a.Recipe, b.Recipe) },
		2: func(a, b live.Run) int { return descending(value(a.SamplesPerSecond), value(b.SamplesPerSecond)) },
		3: func(a, b live.Run) int { return descending(value(a.Watts), value(b.Watts)) },
		4: func(a, b live.Run) int { return descending(value(b.SecondsLeft), value(a.SecondsLeft)) },
	}
	if n := v.order[runs]; n > 0 {
		slices.SortStableFunc(list, less[n])
	}
	if v.upside[runs] {
		slices.Reverse(list)
	}
	var items []item
	for i := range list {
		r := &list[i]
		items = append(items, v.run(r))
		state := cell{r.State, normal}
		switch r.State {
		case live.Training:
			state.style = good
		case live.Paused, live.Stopped:
			state.style = warning
		}
		step := fmt.Sprint(r.Step)
		if r.Steps > 0 {
			step += "/" + fmt.Sprint(r.Steps)
		}
		estimated := ""
		if r.Usage.Estimated {
			estimated = "≈"
		}
		energy, cost := cell{"n/a", dim}, cell{"n/a", dim}
		if len(r.Usage.Parts) > 0 {
			energy = cell{estimated + unit(r.Usage.Joules, "J"), normal}
		}
		if !r.Usage.Cost.IsZero() {
			cost = cell{r.Usage.Cost.String(), normal}
		}
		for k, c := range []cell{
			{ui.Plain(r.Recipe), bold}, {ui.Plain(r.Device), normal}, state, {step, normal}, known(r.Loss, ui.Number(r.Loss)),
			known(r.SamplesPerSecond, short(r.SamplesPerSecond)), known(r.JoulesPerSample, estimated+short(r.JoulesPerSample)), known(r.Watts, estimated+unit(r.Watts, "W")),
			known(r.SecondsLeft, clock(r.SecondsLeft)), {fmt.Sprintf("%d/%d", r.Epoch, r.Epochs), normal}, energy, cost, {fmt.Sprint(r.PID), normal}, {ui.Plain(filepath.Base(r.Dir)), dim},
		} {
			columns[k].cells = append(columns[k].cells, c)
		}
	}
	return columns, items
}

func value(v float64) telemetry.Value {
	return telemetry.Value{V: v, OK: !math.IsNaN(v) && !math.IsInf(v, 0)}
}

// clock is a time in hours, minutes and seconds, or in days.
func clock(seconds float64) string {
	if seconds >= 100*3600 {
		return fmt.Sprintf("%.0f days", seconds/86400)
	}
	return ui.Clock(time.Duration(seconds * float64(time.Second)))
}

// run is a run.
func (v *view) run(r *live.Run) item {
	it := item{key: fmt.Sprint(r.PID, " ", r.Dir)}
	if r.Reason != "" {
		it.notes = append(it.notes, cell{ui.Plain(r.State + ": " + r.Reason), warning})
	}
	estimated := ""
	if r.Usage.Estimated {
		estimated = ", estimated"
	}
	ends := ""
	if at := v.snapshot.Time.Add(time.Duration(r.SecondsLeft * float64(time.Second))); !math.IsNaN(r.SecondsLeft) && r.SecondsLeft < 1e8 && r.State != live.Paused && r.State != live.Stopped {
		ends = ", done at about " + moment(at, v.snapshot.Time)
	}
	energy := "n/a"
	if u := r.Usage; len(u.Parts) > 0 {
		energy = fmt.Sprintf("%s, of these idle %s; %s a sample, %s now%s", unit(u.Joules, "J"), unit(u.IdleJoules, "J"),
			unit(r.JoulesPerSample, "J"), unit(r.Watts, "W"), estimated)
	}
	it.about = []fact{
		{"run", fmt.Sprintf("%s, %s, process %d", r.Recipe, cmp.Or(r.Dir, "no folder"), r.PID)},
		{"state", fmt.Sprintf("%s since %s, on %s", r.State, moment(r.Started, v.snapshot.Time), r.Device)},
		{"progress", fmt.Sprintf("epoch %d of %d, step %s of %s, %s samples; left %s%s", r.Epoch, r.Epochs, ui.Count(r.Step), ui.Count(r.Steps), ui.Count(r.Samples),
			known(r.SecondsLeft, clock(r.SecondsLeft)).text, ends)},
		{"training", fmt.Sprintf("loss %s, %s samples/s", known(r.Loss, ui.Number(r.Loss)).text, known(r.SamplesPerSecond, ui.Number(r.SamplesPerSecond)).text)},
		{"energy", energy},
	}
	it.about[1].text = strings.Replace(it.about[1].text, r.State+" since", r.State+"; began", 1)
	if u := r.Usage; u.Grams > 0 || !u.Cost.IsZero() {
		cost := "n/a"
		if !u.Cost.IsZero() {
			cost = u.Cost.String()
		}
		it.about = append(it.about, fact{"cost", fmt.Sprintf("%s; %s g CO2e%s", cost, ui.Number(u.Grams), estimated)})
	}
	if len(r.Usage.Sources) > 0 {
		it.about = append(it.about, fact{"source", strings.Join(r.Usage.Sources, "; ")})
	}
	for i := range it.about {
		it.about[i].text = ui.Plain(it.about[i].text)
	}
	return it
}

// moment is a time of day, with the date if that is another one's.
func moment(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2 Jan 15:04")
}

// pane is one of the two tables, as lines.
type pane struct {
	head  string
	lines []string
	from  []int // where the lines of an item begin; one more for the end
	keys  []string
	about [][]fact
	at    int // the item that is selected
}

// table makes the lines of a table. A mark stands before what is selected.
func (v *view) table(n int, marked bool) pane {
	fields := v.devicesTable
	if n == runs {
		fields = v.runsTable
	}
	all, items := fields()
	columns, gap := fit(all, v.width-2)
	p := pane{head: "  " + v.headline(columns, gap)}
	for i, it := range items {
		p.keys, p.about = append(p.keys, it.key), append(p.about, it.about)
		if it.key == v.chosen[n] {
			p.at = i
		}
	}
	for i, it := range items {
		p.from = append(p.from, len(p.lines))
		chosen := marked && i == p.at && n == v.pane
		mark := "  "
		if chosen {
			mark = "> "
		}
		p.lines = append(p.lines, mark+v.line(columns, gap, i, chosen))
		for _, note := range it.notes {
			p.lines = append(p.lines, "    "+v.paint(note.style, ansi.Truncate(note.text, max(0, v.width-4), "…")))
		}
	}
	p.from = append(p.from, len(p.lines))
	return p
}

// facts is the details of an item, as lines.
func (v *view) facts(about []fact) (lines []string) {
	const column = len("temperature") // the longest name
	for _, f := range about {
		name := f.name
		for _, part := range wrap(f.text, v.width-column-4) {
			lines = append(lines, "  "+v.paint(dim, pad(name, column, false))+"  "+part)
			name = ""
		}
	}
	return lines
}

// title is the first line.
func (v *view) title() string {
	left := "sinter top"
	if v.snapshot.Host.Name != "" {
		left += "  " + ui.Plain(v.snapshot.Host.Name)
	}
	right := v.snapshot.Time.Local().Format("2006-01-02 15:04:05")
	if v.styled {
		right = v.snapshot.Time.Local().Format("15:04:05") + "  every " + v.interval.String()
		if v.paused {
			right = "PAUSED at " + v.snapshot.Time.Local().Format("15:04:05")
		}
	}
	room := v.width - ansi.StringWidth(left) - ansi.StringWidth(right)
	if room < 2 {
		return ansi.Truncate(left, v.width, "…")
	}
	return v.paint(bold, left) + strings.Repeat(" ", room) + right
}

// messages is what could not be read, and what there is none of.
func (v *view) messages() []string {
	var list []string
	list = append(list, v.snapshot.Problems...)
	if len(v.snapshot.Devices) == 0 {
		list = append(list, v.absent...)
	}
	for i := range list {
		list[i] = ui.Plain(list[i])
	}
	return list
}

// noRuns stands where there are none.
const noRuns = "no run of Sinter trains on this machine"

// whole is all of it, without a terminal: nothing is left out, for the details of
// every device and run follow the tables.
func (v *view) whole() string {
	var lines []string
	lines = append(lines, v.title(), "")
	var about [][]fact
	for n := range 2 {
		p := v.table(n, false)
		if n == runs && len(p.keys) == 0 {
			lines = append(lines, "", noRuns)
			break
		}
		if n == runs {
			lines = append(lines, "")
		}
		lines = append(lines, p.head)
		lines = append(lines, p.lines...)
		about = append(about, p.about...)
	}
	for _, a := range about {
		lines = append(append(lines, ""), v.facts(a)...)
	}
	if m := v.messages(); len(m) > 0 {
		lines = append(lines, "")
		for _, text := range m {
			lines = append(lines, wrap(text, v.width)...)
		}
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimRight(ansi.Truncate(line, v.width, "…"), " ") + "\n")
	}
	return b.String()
}

// frame is the screen: at most height lines, none wider than width.
func (v *view) frame() string {
	if v.width < 20 || v.height < 5 {
		return ansi.Truncate("the window is too small", v.width, "")
	}
	var lines []string
	if v.help {
		lines = v.helpLines()
	} else {
		lines = v.screen()
	}
	lines = lines[:min(len(lines), v.height)]
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, v.width, "…")
	}
	return strings.Join(lines, "\n")
}

// screen shares the height among the panes: first each gets a few lines, then the details,
// then what is left.
func (v *view) screen() []string {
	var panes [2]pane
	for n := range panes {
		panes[n] = v.table(n, true)
		if len(panes[n].keys) == 0 {
			panes[n].head, panes[n].lines = "  "+noRuns, nil
		}
	}
	var details []string
	if p := panes[v.pane]; v.details && len(p.about) > 0 {
		details = v.facts(p.about[p.at])
	}
	var messages []string
	for _, text := range v.messages() {
		messages = append(messages, v.paint(warning, ansi.Truncate(text, v.width, "…")))
	}
	if messages = messages[:min(len(messages), 2)]; len(messages) > 0 {
		messages = append([]string{""}, messages...)
	}
	const fixed = 6 // title, two headings with a line above each, keys
	rest := v.height - fixed
	if len(messages) > 0 && rest > 8 {
		rest -= len(messages)
	} else {
		messages = nil
	}
	share := [2]int{min(max(rest/3, 1), len(panes[devices].lines)), min(max(rest/6, 1), len(panes[runs].lines))}
	rest -= share[0] + share[1]
	if room := rest - 1; len(details) > 0 && room >= 3 { // a blank before them
		if len(details) > room {
			details = details[:room]
			details[room-1] = pad(details[room-1], v.width-2, false) + " …"
		}
		rest -= len(details) + 1
	} else {
		details = nil
	}
	for rest > 0 && (share[0] < len(panes[0].lines) || share[1] < len(panes[1].lines)) {
		for n := range share {
			if rest > 0 && share[n] < len(panes[n].lines) {
				share[n]++
				rest--
			}
		}
	}
	lines := []string{v.title()}
	for n, p := range panes {
		lines = append(lines, v.scrolled(n, &p, share[n])...)
	}
	if len(details) > 0 {
		lines = append(append(lines, ""), details...)
	}
	lines = append(lines, messages...)
	for len(lines) < v.height-1 {
		lines = append(lines, "")
	}
	return append(lines[:min(len(lines), v.height-1)], v.footer())
}

// scrolled is a pane: a line that says what is out of sight, blank as a rule, the heading,
// and those lines that are in sight. The item that is selected is among them.
func (v *view) scrolled(n int, p *pane, height int) []string {
	if len(p.keys) > 0 {
		from, to := p.from[p.at], p.from[p.at+1]
		v.above[n] = min(v.above[n], from)
		v.above[n] = max(v.above[n], min(to-height, from))
	}
	above := max(0, min(v.above[n], len(p.lines)-height))
	v.above[n] = above
	out := ""
	if below := len(p.lines) - height - above; above > 0 || below > 0 {
		out = pad(fmt.Sprintf("↑ %d above  ↓ %d below", above, below), v.width, true)
	}
	return append([]string{v.paint(dim, out), v.paint(bold, p.head)}, p.lines[above:min(len(p.lines), above+height)]...)
}

// footer says which keys there are.
func (v *view) footer() string {
	order := orders[v.pane][v.order[v.pane]]
	if v.upside[v.pane] {
		order += " reversed"
	}
	for _, text := range []string{
		"q quit  ↑↓ select  tab runs/devices  s sort by " + order + "  d details  p pause  ? help",
		"q quit  ↑↓ select  tab other list  s sort: " + order + "  p pause  ? help",
		"q quit  ↑↓ select  s sort: " + order + "  ? help",
		"q quit  ? help",
	} {
		if ansi.StringWidth(text) <= v.width {
			return v.paint(dim, text)
		}
	}
	return ""
}

func (v *view) helpLines() []string {
	lines := []string{v.title(), ""}
	for _, k := range [][2]string{
		{"q, Ctrl-C", "quit"},
		{"↑ ↓, k j", "select a device or run"},
		{"PgUp PgDn, Home End", "further"},
		{"Tab", "the other list: devices or runs"},
		{"s, r", "sort the list by something else; the other way round"},
		{"d, Enter", "details of what is selected, or none"},
		{"p, Space", "pause: the screen stays as it is"},
		{"+ −", "more or less often"},
		{"?", "this help, and back"},
	} {
		lines = append(lines, "  "+v.paint(bold, pad(k[0], 20, false))+"  "+k[1])
	}
	lines = append(lines, "")
	for _, text := range []string{
		"n/a: the device or system does not tell it; the details say why. ≈: estimated by a model, not measured. –: there is no such thing.",
		"SM MHZ is the clock of the multiprocessors. PCIE IN is what the device receives. Of a MIG slice NVIDIA's driver tells memory and processes; utilisation it does not tell.",
	} {
		for _, line := range wrap(text, v.width-2) {
			lines = append(lines, "  "+line)
		}
	}
	return lines
}
