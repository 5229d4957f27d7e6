package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/power"
)

// Thresholds of what cards measure.
const (
	warmBelow  = 5    // °C below the card's own threshold
	hot        = 87   // °C, where the card tells no threshold: those of recent cards lie above
	lowLimit   = 0.6  // of the power limit that the card is sold with
	fullMemory = 0.25 // of the card's memory that other programs hold
	manyECC    = 1000 // corrected errors since the driver was loaded
	bigSupply  = 1600 // W: the largest supplies of desktop machines

	leastProcessor = 65 // W: what desktop processors are sold with at least, as a rule
)

// measuring says whether there is telemetry; the checks after it say nothing where there is
// none.
func measuring(m *machine) (list []Finding) {
	r, err := m.readings()
	if err != nil && !errors.As(err, new(*NoAnswerError)) {
		return one(skip("", "%v", err))
	}
	if err != nil {
		return one(fail("", "a driver that hangs is ended by a restart; look at the kernel's log first: dmesg | grep -i -e xid -e nvrm -e amdgpu", "%v", err))
	}
	for _, d := range r.devices {
		if d.Problem != "" {
			list = append(list, fail(d.Device, "look at the kernel's log: dmesg | grep -i xid; restart the machine; if it comes again, see to power cables and the seat in the slot", "%s: %s", cmp.Or(d.Model, d.PCI), d.Problem))
			continue
		}
		list = append(list, ok(d.Device, "%s%s", d.Model, now(d)))
	}
	if m.nvidia() && !slices.ContainsFunc(r.devices, isNVIDIA) {
		list = append(list, warn("nvidia", "install the driver's library for management: apt install libnvidia-ml1, or nvidia-utils; in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility",
			"there is a card, and nothing that measures it: %s", cmp.Or(strings.Join(r.problems, "; "), "NVML lists none")))
	}
	if len(list) == 0 {
		return one(skip("", noCard))
	}
	return list
}

func isNVIDIA(d telemetry.Reading) bool { return d.Vendor == "nvidia" }

// now is a few figures of the moment, those that are known.
func now(d telemetry.Reading) string {
	var b strings.Builder
	for _, v := range []struct {
		value telemetry.Value
		unit  string
	}{{d.Power, "W"}, {d.Temperature, "°C"}, {d.Utilization, "% busy"}} {
		if v.value.OK {
			fmt.Fprintf(&b, ", %.0f %s", v.value.V, v.unit)
		}
	}
	return b.String()
}

const noCard = "there is no card that tells"

// each judges every card that answers.
func (m *machine) each(judge func(telemetry.Reading) Finding) (list []Finding) {
	r, err := m.readings()
	if err != nil {
		return one(skip("", "the cards do not answer"))
	}
	for _, d := range r.devices {
		if d.Problem == "" {
			f := judge(d)
			f.Subject = d.Device
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		return one(skip("", noCard))
	}
	return list
}

// unknown is a finding about a value that a card does not tell: never a number.
func unknown(v telemetry.Value) Finding {
	return skip("", "n/a (%s)", cmp.Or(v.Why, "the card does not tell"))
}

// link judges the width alone: cards that idle go down to a slower generation to save power,
// and come back when they work.
func link(m *machine) []Finding {
	pci, _ := m.cards()
	return m.each(func(d telemetry.Reading) Finding {
		width, widest, generation, newest := d.PCIeWidth, d.PCIeWidthMax, d.PCIeGeneration, d.PCIeGenerationMax
		able := 0 // lanes of the card itself
		for _, g := range pci {
			if samePCI(g.PCI, d.PCI) {
				able = g.MaxWidth
				if !width.OK && g.Width > 0 {
					width = telemetry.Value{V: float64(g.Width), OK: true}
				}
				if !widest.OK && g.MaxWidth > 0 {
					widest = telemetry.Value{V: float64(g.MaxWidth), OK: true}
				}
				if n := hardware.Generation(g.Speed); !generation.OK && n > 0 {
					generation = telemetry.Value{V: float64(n), OK: true}
				}
			}
		}
		if !width.OK {
			return unknown(width)
		}
		evidence := fmt.Sprintf("x%.0f", width.V)
		if generation.OK {
			evidence += fmt.Sprintf(", generation %.0f at the moment", generation.V)
			if newest.OK && newest.V > generation.V {
				evidence += fmt.Sprintf(" (up to %.0f under load)", newest.V)
			}
		}
		most := max(widest.V, float64(able))
		const seat = "switch off, reseat the card and its riser, clean the contacts, or use another slot: "
		switch {
		case !widest.OK && able == 0:
			return ok("", "%s; what it could be is n/a", evidence)
		case widest.OK && width.V < widest.V:
			return warn("", seat+"a full slot wired to the processor (lspci -vv shows LnkSta and LnkCap)", "%s, and card and slot can do x%.0f: batches are copied at %.0f %% of the speed", evidence, widest.V, 100*width.V/widest.V)
		case width.V < most:
			return warn("", seat+"this one has fewer lanes than the card", "%s, in a slot of x%.0f for a card of x%.0f: batches are copied at %.0f %% of the speed", evidence, width.V, most, 100*width.V/most)
		}
		return ok("", "%s", evidence)
	})
}

func memoryInUse(m *machine) []Finding {
	return m.each(func(d telemetry.Reading) Finding {
		if !d.MemoryTotal.OK {
			return unknown(d.MemoryTotal)
		}
		if !d.MemoryFree.OK {
			return unknown(d.MemoryFree)
		}
		evidence := fmt.Sprintf("%s of %s free", bytesText(d.MemoryFree.V), bytesText(d.MemoryTotal.V))
		if d.MIG == "on" || d.MemoryFree.V >= (1-fullMemory)*d.MemoryTotal.V {
			return ok("", "%s", evidence)
		}
		var who []string
		for _, p := range d.Processes {
			one := fmt.Sprintf("%d", p.PID)
			if p.Name != "" {
				one = fmt.Sprintf("%s (%d)", filepath.Base(p.Name), p.PID)
			}
			if p.Memory.OK {
				one += " " + bytesText(p.Memory.V)
			}
			who = append(who, one)
		}
		if len(who) > 0 {
			evidence += "; held by " + strings.Join(who, ", ")
		}
		return warn("", "end the programs that hold it, or choose another card (--device); 'sinter top' shows them", "%s", evidence)
	})
}

func ecc(m *machine) []Finding {
	return m.each(func(d telemetry.Reading) Finding {
		switch {
		case !d.ECCUncorrected.OK:
			return unknown(d.ECCUncorrected)
		case d.ECCUncorrected.V > 0:
			return fail("", "results since may be wrong; "+reset+"; "+rma+"; nvidia-smi -q -d ROW_REMAPPER says whether spare rows are left", "%.0f errors that could not be corrected since the driver was loaded", d.ECCUncorrected.V)
		case d.ECCCorrected.OK && d.ECCCorrected.V >= manyECC:
			return warn("", "nothing is wrong yet; watch whether it grows (nvidia-smi -q -d ECC), and "+rma, "%.0f errors were corrected since the driver was loaded", d.ECCCorrected.V)
		case d.ECC == "off":
			return ok("", "off: errors of memory stay unnoticed; nvidia-smi -i %s -e 1 turns it on, from the next start", number(d))
		case d.ECCCorrected.OK:
			return ok("", "%.0f corrected, none uncorrected", d.ECCCorrected.V)
		}
		return ok("", "none uncorrected")
	})
}

// kernelErrors reads the kernel's log, and what cards have told since they are listened to.
func kernelErrors(m *machine) (list []Finding) {
	log, err := m.xids()
	r, _ := m.readings()
	of := make(map[string][]int)
	last := make(map[string]time.Duration) // since the machine's start
	var order []string
	add := func(subject string, n int) {
		if of[subject] == nil {
			order = append(order, subject)
		}
		of[subject] = append(of[subject], n)
	}
	for _, x := range log {
		subject := x.PCI
		for _, d := range r.devices {
			if samePCI(d.PCI, x.PCI) {
				subject = d.Device
			}
		}
		add(subject, x.Number)
		last[subject] = max(last[subject], x.Since)
	}
	for _, d := range r.devices {
		for _, n := range d.XIDs {
			if !slices.Contains(of[d.Device], n) {
				add(d.Device, n)
			}
		}
	}
	for _, subject := range order {
		numbers := of[subject]
		worst := numbers[0]
		for _, n := range numbers {
			if rank(xidOf(n).verdict) > rank(xidOf(worst).verdict) {
				worst = n
			}
		}
		x := xidOf(worst)
		evidence := fmt.Sprintf("Xid %s; %d: %s", count(numbers), worst, x.means)
		if len(slices.Compact(slices.Sorted(slices.Values(numbers)))) == 1 {
			evidence = fmt.Sprintf("Xid %s: %s", count(numbers), x.means)
		}
		if up, since := m.uptime(), last[subject]; up > 0 && since > 0 && up >= since {
			evidence += fmt.Sprintf("; the last %s ago", (up - since).Round(time.Second))
		}
		f := Finding{Subject: subject, Verdict: x.verdict, Evidence: evidence}
		if x.verdict != OK {
			f.Remedy = x.remedy
		}
		list = append(list, f)
	}
	switch {
	case len(list) > 0:
		return list
	case !m.nvidia() && !slices.ContainsFunc(r.devices, isNVIDIA):
		return one(skip("", noCard))
	case err != nil:
		return one(skip("", "%v; as root: dmesg | grep -i xid", err))
	}
	return one(ok("", "none in the kernel's log"))
}

// uptime is how long ago the machine was started, 0 if that is not known.
func (m *machine) uptime() time.Duration {
	text, err := m.text("/proc/uptime")
	if err != nil {
		return 0
	}
	seconds, _, _ := strings.Cut(text, " ")
	v, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return 0
	}
	return time.Duration(v * float64(time.Second))
}

func rank(v Verdict) int { return slices.Index([]Verdict{Skipped, OK, Warning, Failure}, v) }

func throttle(m *machine) []Finding {
	return m.each(func(d telemetry.Reading) Finding {
		if !d.ThrottleKnown {
			return skip("", "n/a (the card does not tell)")
		}
		worst := ok("", "nothing")
		for _, reason := range d.Throttle {
			f := ok("", "") // a power limit does what it is for, and clocks that a user has set
			switch {
			case strings.Contains(reason, "brake"):
				f = fail("", "the power supply, or the server, asks the card for less: see to power cables and the rating of the supply, and to the server's management log", "")
			case strings.Contains(reason, "temperature") && strings.Contains(reason, "hardware"), strings.Contains(reason, "slowdown"):
				f = fail("", "the card protects itself, at half its clocks or less: "+cool(d), "")
			case strings.Contains(reason, "temperature"):
				f = warn("", cool(d), "")
			}
			if rank(f.Verdict) > rank(worst.Verdict) {
				worst = f
			}
		}
		if len(d.Throttle) > 0 {
			worst.Evidence = strings.Join(d.Throttle, ", ")
		}
		return worst
	})
}

// cool is how to get a card cooler.
func cool(d telemetry.Reading) string {
	return "see to fans, dust, the air that comes in, and the space between cards; or lower the power limit: " + setLimit(d, "WATTS")
}

// setLimit is the command that sets a card's power limit.
func setLimit(d telemetry.Reading, watts string) string {
	if d.Vendor == "amd" {
		return "rocm-smi --setpoweroverdrive " + watts + " (as root)"
	}
	return "nvidia-smi -i " + number(d) + " -pl " + watts + " (as root)"
}

func temperature(m *machine) []Finding {
	return m.each(func(d telemetry.Reading) Finding {
		if !d.Temperature.OK {
			return unknown(d.Temperature)
		}
		evidence := fmt.Sprintf("%.0f °C", d.Temperature.V)
		if d.MemoryTemperature.OK {
			evidence += fmt.Sprintf(", memory %.0f °C", d.MemoryTemperature.V)
		}
		limit, told := d.SlowdownTemperature.V, d.SlowdownTemperature.OK
		if told {
			evidence += fmt.Sprintf("; it slows down at %.0f °C", limit)
		} else {
			evidence += "; at which it slows down is n/a"
			limit = hot + warmBelow
		}
		switch {
		case told && d.Temperature.V >= limit:
			return fail("", cool(d), "%s", evidence)
		case d.Temperature.V > limit-warmBelow:
			return warn("", cool(d), "%s", evidence)
		}
		return ok("", "%s", evidence)
	})
}

func powerLimit(m *machine) []Finding {
	return m.each(func(d telemetry.Reading) Finding {
		if !d.PowerLimit.OK {
			return unknown(d.PowerLimit)
		}
		card, known := hardware.Match(d.Model)
		sold, from := d.PowerDefault, "its default"
		if !sold.OK && known && card.Power > 0 {
			sold, from = telemetry.Value{V: card.Power, OK: true}, "the catalogue"
		}
		if !sold.OK {
			return ok("", "%.0f W; its default is n/a", d.PowerLimit.V)
		}
		evidence := fmt.Sprintf("%.0f W; %s is %.0f W", d.PowerLimit.V, from, sold.V)
		if known && d.PowerDefault.OK && card.Power > 0 && d.PowerDefault.V < 0.9*card.Power {
			evidence += fmt.Sprintf(", and the catalogue's %.0f W", card.Power)
		}
		if d.PowerLimit.V < lowLimit*sold.V {
			return warn("", setLimit(d, fmt.Sprintf("%.0f", sold.V))+" sets it back; 'sinter sweep' finds the limit with the least energy", "%s: training is slower than it need be", evidence)
		}
		return ok("", "%s", evidence)
	})
}

// number is what nvidia-smi takes for a card: its UUID, or its address, which stay the same.
func number(d telemetry.Reading) string { return cmp.Or(d.UUID, d.PCI, "NUMBER") }

// supply compares what the machine may draw with what the label says, if that was told.
func supply(m *machine) []Finding {
	r, err := m.readings()
	if err != nil {
		return one(skip("", "the cards do not answer"))
	}
	var limits []float64
	var text []string
	desktop, recommended := false, 0.0
	for _, d := range r.devices {
		card, known := hardware.Match(d.Model)
		watts := d.PowerLimit
		if !watts.OK && known {
			watts = telemetry.Value{V: card.Power, OK: card.Power > 0}
		}
		if !watts.OK {
			continue
		}
		limits = append(limits, watts.V)
		text = append(text, fmt.Sprintf("%.0f", watts.V))
		desktop = desktop || known && card.Supply > 0
		recommended = max(recommended, card.Supply)
	}
	if len(limits) == 0 {
		return one(skip("", "there is no card with a power limit"))
	}
	processors, from := m.processorPower()
	need := hardware.Supply(limits, processors)
	if len(limits) == 1 {
		need = max(need, recommended) // which its vendor knows better
	}
	evidence := fmt.Sprintf("estimated need %.0f W: (cards %s + processor %.0f %s + 100) / 0.8", need, strings.Join(text, " + "), processors, from)
	if need == recommended {
		evidence = fmt.Sprintf("need %.0f W, as the card's vendor recommends", need)
	}
	lower := fmt.Sprintf("fit a supply of %.0f W or more, or lower the cards' limits: nvidia-smi -pl WATTS", need)
	switch {
	case m.Supply > 0 && m.Supply < need-1:
		return one(fail("", lower, "%s; the label says %.0f W", evidence, m.Supply))
	case m.Supply > 0:
		return one(ok("", "%s; the label says %.0f W", evidence, m.Supply))
	case !desktop:
		return one(ok("", "%s; the cards are for servers, whose supplies are made for them", evidence))
	case need > bigSupply:
		return one(warn("", lower+"; two supplies, or a machine made for so many cards", "%s; supplies of desktop machines end at %d W", evidence, bigSupply))
	}
	return one(ok("", "%s; no program can read the supply: compare its label, or give it with --supply", evidence))
}

// processorPower is what the processors draw at most: their own limit where the kernel tells
// it, else what their model is sold with, else an estimate.
func (m *machine) processorPower() (watts float64, from string) {
	for _, file := range m.glob("/sys/class/powercap/intel-rapl:*/constraint_0_power_limit_uw") {
		name, err := m.text(path.Dir(file) + "/name")
		if err != nil || !strings.HasPrefix(name, "package") {
			continue // a part of a package
		}
		text, err := m.text(file)
		if err != nil {
			continue
		}
		// Boards of desktop machines set 4095 W, which is none.
		if uw, err := strconv.ParseFloat(text, 64); err == nil && uw > 0 && uw < 1000e6 {
			watts += uw / 1e6
		}
	}
	if watts > 0 {
		return watts, "(its limit)"
	}
	cpu, _ := m.cpu()
	sockets := float64(max(1, cpu.Sockets))
	if c, known := power.FindCPU(cpu.Model); known {
		return c.Watts * sockets, "(its TDP)"
	}
	// 4 W a thread is what package power takes for a processor that it does not know.
	return max(leastProcessor, 4*float64(cpu.Threads)), "(estimated)"
}

func mig(m *machine) []Finding {
	return m.each(func(d telemetry.Reading) Finding {
		switch d.MIG {
		case "on":
			if len(d.Slices) == 0 {
				return fail("", "cut slices: nvidia-smi mig -i "+number(d)+" -cgi 1g.10gb -C (nvidia-smi mig -lgip lists the profiles); or turn MIG off: nvidia-smi -i "+number(d)+" -mig 0", "on, but there is no slice: nothing can run on the card")
			}
			var names []string
			for _, s := range d.Slices {
				names = append(names, strings.TrimSpace(s.UUID+" "+s.Model))
			}
			return ok("", "on; %s, and a process sees one of them (CUDA_VISIBLE_DEVICES=UUID): %s", plural(len(d.Slices), "slice"), strings.Join(names, ", "))
		case "off":
			return ok("", "off: the card is one device")
		}
		return skip("", "n/a: the card cannot be cut into slices, or does not tell")
	})
}

func persistence(m *machine) []Finding {
	return m.each(func(d telemetry.Reading) Finding {
		switch d.Persistence {
		case "on":
			return ok("", "on")
		case "off":
			if c, known := hardware.Match(d.Model); known && c.Supply > 0 {
				return ok("", "off; on a machine without a screen, each start of a program waits for the driver: nvidia-smi -pm 1")
			}
			return warn("", "systemctl enable --now nvidia-persistenced, or nvidia-smi -pm 1 as root", "off: without a program that uses the card its driver stops, each start takes seconds, and limits that were set are lost")
		}
		return skip("", "n/a (the card does not tell)")
	})
}
