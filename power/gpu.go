package power

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/hardware/telemetry"
)

// feed is what a monitor has last said, read once for all sensors.
type feed struct {
	monitor *telemetry.Monitor
	close   bool // the monitor is ours
	now     []telemetry.Reading
}

func (f *feed) refresh() { f.now = f.monitor.ReadEnergy() }

// device is the reading of a UUID.
func (f *feed) device(uuid string) (telemetry.Reading, bool) {
	for _, r := range f.now {
		if r.UUID == uuid {
			return r, true
		}
	}
	return telemetry.Reading{}, false
}

// gpu is the energy of a device, or of a slice of one as its share of the whole.
type gpu struct {
	feed    *feed
	uuid    string // of the device whose power is measured
	share   float64
	counter bool    // by its counter of energy, else by its power
	joules  float64 // of the counter, at the last sample
	watts   float64 // at the last sample
	at      time.Time

	// For how long a counter has stood still though power is drawn, and the joules by the power.
	still, missing float64
}

// A counter that stands still for so many seconds is none.
const standsStill = 10

func (g *gpu) advance(now time.Time) (joules, watts float64, note string, err error) {
	r, ok := g.feed.device(g.uuid)
	switch {
	case !ok:
		return 0, 0, "", &goneError{errors.New("the driver does not list the device any more")}
	case r.Problem != "":
		return 0, 0, "", &goneError{errors.New(r.Problem)}
	case g.counter && !r.Energy.OK:
		return 0, 0, "", errors.New(cmp.Or(r.Energy.Why, "the counter of energy is not told"))
	case !g.counter && !r.Power.OK:
		return 0, 0, "", errors.New(cmp.Or(r.Power.Why, "the power is not told"))
	}
	dt := now.Sub(g.at).Seconds()
	if g.counter {
		d := r.Energy.V - g.joules
		if d < 0 { // the driver was loaded anew; what has been counted since is known
			d, note = min(r.Energy.V, mostWatts*max(dt, 0)), "the counter was set back, as by loading the driver anew, and what was consumed before it was is not counted"
		}
		g.joules, joules = r.Energy.V, d
		if watts = r.Power.V; !r.Power.OK && dt > 0 {
			watts = d / dt
		}
		if d == 0 && r.Power.OK && r.Power.V > 0 {
			g.still, g.missing = g.still+dt, g.missing+(g.watts+watts)/2*dt
		} else {
			g.still, g.missing = 0, 0
		}
		if g.still > standsStill {
			g.counter, joules, note = false, g.missing, "the counter of energy stands still, so the power is integrated instead"
		}
	} else {
		watts = r.Power.V
		joules = (g.watts + watts) / 2 * dt
		if dt > 10 {
			note = fmt.Sprintf("not read for %.0f s, in which the power is taken to have changed evenly", dt)
		}
	}
	g.watts, g.at = watts, now
	return joules * g.share, watts * g.share, note, nil
}

// addGPU adds the part of the device that a run is on. why says why it cannot be measured.
func (m *Meter) addGPU(o Options, f *feed) (idle float64, idleFrom, why string) {
	// All there is to know once: utilization tells whether the device was idle.
	list := f.monitor.Read()
	f.now = list
	r, slice, share, why := chooseGPU(list, append([]string{o.Device}, o.Aliases...), o.Model)
	if why != "" {
		return 0, "", why
	}
	if r.Problem != "" {
		return 0, "", fmt.Sprintf("%s (%s): %s", o.Device, r.Model, r.Problem)
	}
	now := m.clock()
	g := &gpu{feed: f, uuid: r.UUID, share: share, counter: r.Energy.OK, joules: r.Energy.V, watts: r.Power.V, at: now}
	part := Part{Component: o.Device, Source: r.Source + " energy counter"}
	switch {
	case r.Energy.OK:
	case r.Power.OK:
		part.Source = r.Source + " power, integrated"
	default:
		return 0, "", fmt.Sprintf("%s (%s) tells neither energy nor power: %s", o.Device, r.Model, cmp.Or(r.Power.Why, r.Energy.Why, "n/a"))
	}
	if slice != nil {
		part.Estimated = true
		part.Source += fmt.Sprintf(" of %s, %.3g of it for the slice", r.Model, share)
	}
	m.add(part, g)
	card, known := hardware.Match(r.Model)
	switch {
	case r.Power.OK && r.Utilization.OK && r.Utilization.V <= 2:
		return r.Power.V * share, "measured before the run", ""
	case known && card.Idle > 0:
		return card.Idle * share, "the catalogue, for the device was busy or did not tell before the run", ""
	}
	return 0, "not known", ""
}

// chooseGPU finds the device, or the slice of one with its share, that a run calls by some names,
// and its driver by another. Of the names, those with a UUID in them are the surest.
func chooseGPU(list []telemetry.Reading, names []string, model string) (r telemetry.Reading, slice *telemetry.Reading, share float64, why string) {
	name := names[0]
	for _, is := range []func(r telemetry.Reading) bool{
		func(r telemetry.Reading) bool {
			return r.UUID != "" && slices.ContainsFunc(names, func(n string) bool { return n == r.UUID || strings.HasSuffix(n, ":"+r.UUID) })
		},
		func(r telemetry.Reading) bool { return slices.Contains(names, r.Device) },
	} {
		for _, r := range list {
			if is(r) {
				return r, nil, 1, ""
			}
			i := slices.IndexFunc(r.Slices, is)
			if i < 0 {
				continue
			}
			s := &r.Slices[i]
			card, ok := hardware.Match(s.Model)
			if !ok || card.Slice == nil {
				return r, nil, 0, fmt.Sprintf("%s is a slice (%s) of which the catalogue does not know the share", name, s.Model)
			}
			return r, s, card.Slice.Share(), ""
		}
	}
	// Not by name, so by what it is.
	var fit []telemetry.Reading
	wanted, known := hardware.Match(model)
	for _, r := range list {
		card, ok := hardware.Match(r.Model)
		switch {
		case strings.HasPrefix(name, "cuda") && r.Vendor != "nvidia":
		case model == "" || strings.EqualFold(model, r.Model) || known && ok && card.Key == wanted.Key:
			fit = append(fit, r)
		case !known || !ok: // there may be other names of it
			fit = append(fit, r)
		}
	}
	switch {
	case len(fit) == 1 && len(fit[0].Slices) == 0:
		return fit[0], nil, 1, ""
	case len(fit) == 0:
		return r, nil, 0, fmt.Sprintf("no telemetry tells of %s", strings.TrimSpace(name+" "+model))
	}
	return r, nil, 0, fmt.Sprintf("which GPU, or slice of one, is %s cannot be told among %d; where they are NVIDIA's, set CUDA_DEVICE_ORDER=PCI_BUS_ID, or CUDA_VISIBLE_DEVICES to the UUID of one", name, len(fit))
}

// isProcessor tells whether a device is the machine's processor by another way, OpenCL's, whose
// energy is counted already.
func isProcessor(device, model string) bool {
	if device == "" || device == "cpu" {
		return true
	}
	_, known := FindCPU(model)
	low := strings.ToLower(model)
	return strings.HasPrefix(device, "opencl") && (known || strings.HasPrefix(low, "cpu") || strings.HasPrefix(low, "pthread") || strings.Contains(low, "processor") || strings.Contains(low, "xeon"))
}
