package telemetry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/hardware"
)

// amd is the cards that the amdgpu driver of Linux has, which tells everything in files, and
// lets root write the limit of the power into one.
type amd struct {
	system hardware.System
	cards  []amdCard
}

type amdCard struct {
	same Reading
	dir  string // of the PCI device
}

// openAMD is nil with the reason, if the driver has no card.
func openAMD(root string) (*amd, error) {
	a := &amd{system: hardware.System{Root: root}}
	gpus, err := a.system.GPUs()
	if err != nil {
		return nil, fmt.Errorf("AMD's devices are not known: %w", err)
	}
	driverless := ""
	for _, g := range gpus {
		if g.Vendor != "amd" {
			continue
		}
		if g.Driver != "amdgpu" {
			driverless = g.PCI
			continue
		}
		c := amdCard{same: Blank(""), dir: filepath.Join(root, "/sys/bus/pci/devices", g.PCI)}
		r := &c.same
		r.Vendor, r.Source, r.PCI = "amd", "amdgpu", g.PCI
		if r.Model = g.Model; r.Model == "" {
			r.Model = fmt.Sprintf("AMD device %#04x", g.DeviceID)
		}
		r.UUID = "PCI-" + g.PCI
		if id, err := os.ReadFile(filepath.Join(c.dir, "unique_id")); err == nil {
			r.UUID = "GPU-" + strings.TrimSpace(string(id)) // as AMD's own tools write it
		}
		a.cards = append(a.cards, c)
	}
	switch {
	case len(a.cards) > 0:
		return a, nil
	case driverless != "":
		return nil, fmt.Errorf("the AMD card at %s is not driven by amdgpu", driverless)
	}
	return nil, errors.New("there is no AMD card on the PCI bus")
}

func (a *amd) Read(d Detail) []Reading {
	list := make([]Reading, len(a.cards))
	for i, c := range a.cards {
		list[i] = a.read(c, d)
	}
	return list
}

func (a *amd) read(c amdCard, d Detail) Reading {
	r := c.same
	r.Time = time.Now()
	if _, err := os.Stat(filepath.Join(c.dir, "vendor")); err != nil {
		return lost(r, "the device is lost: it has fallen off the bus, or its driver was unloaded")
	}
	hw := c.sensors()
	r.Power = file(1e-6, hw+"/power1_average", hw+"/power1_input")
	r.PowerLimit = file(1e-6, hw+"/power1_cap")
	r.PowerDefault = file(1e-6, hw+"/power1_cap_default")
	r.PowerMin = file(1e-6, hw+"/power1_cap_min")
	r.PowerMax = file(1e-6, hw+"/power1_cap_max")
	r.Energy = Unknown("AMD's driver has no counter of it")
	chip := labelled(hw, "temp", "edge", "1")
	r.Temperature = file(1e-3, chip+"_input")
	r.SlowdownTemperature = file(1e-3, chip+"_crit")
	r.MemoryTemperature = file(1e-3, labelled(hw, "temp", "mem", "3")+"_input")
	if d == Energy {
		few := Blank("it was not asked for")
		few.identify(r)
		few.Power, few.PowerLimit, few.PowerDefault, few.PowerMin, few.PowerMax, few.Energy = r.Power, r.PowerLimit, r.PowerDefault, r.PowerMin, r.PowerMax, r.Energy
		few.Temperature, few.SlowdownTemperature, few.MemoryTemperature = r.Temperature, r.SlowdownTemperature, r.MemoryTemperature
		return few
	}
	r.Utilization = file(1, c.dir+"/gpu_busy_percent")
	r.MemoryUtilization = file(1, c.dir+"/mem_busy_percent")
	r.MemoryTotal = file(1, c.dir+"/mem_info_vram_total")
	r.MemoryUsed = file(1, c.dir+"/mem_info_vram_used")
	r.MemoryFree = r.MemoryUsed
	if r.MemoryTotal.OK && r.MemoryUsed.OK {
		r.MemoryFree = Known(r.MemoryTotal.V - r.MemoryUsed.V)
	}
	r.ClockGraphics = file(1e-6, labelled(hw, "freq", "sclk", "1")+"_input")
	r.ClockSM = r.ClockGraphics
	r.ClockMemory = file(1e-6, labelled(hw, "freq", "mclk", "2")+"_input")
	r.ClockSMMax = highest(c.dir + "/pp_dpm_sclk")
	r.ClockMemoryMax = highest(c.dir + "/pp_dpm_mclk")
	for _, v := range []*Value{&r.PCIeSent, &r.PCIeReceived} {
		*v = Unknown("AMD's driver does not tell it")
	}
	link := a.system.PCILink(c.same.PCI)
	set := func(v *Value, x float64) {
		if *v = Unknown("the machine does not tell it"); x > 0 {
			*v = Known(x)
		}
	}
	set(&r.PCIeGeneration, float64(hardware.Generation(link.Speed)))
	set(&r.PCIeGenerationMax, float64(hardware.Generation(link.MaxSpeed)))
	set(&r.PCIeWidth, float64(link.Width))
	set(&r.PCIeWidthMax, float64(link.MaxWidth))
	r.ECC = "n/a"
	r.ECCUncorrected, r.ECCCorrected = errorCounts(c.dir + "/ras/umc_err_count")
	return r
}

// sensors is the card's folder of hwmon, which has another number after every start.
func (c amdCard) sensors() string {
	list, _ := filepath.Glob(filepath.Join(c.dir, "hwmon", "hwmon*"))
	if len(list) == 0 {
		return filepath.Join(c.dir, "hwmon", "hwmon*") // there are no files in it, as readings say
	}
	return list[0]
}

// file is the number in the first of the files that there is, times a unit.
func file(unit float64, names ...string) Value {
	var v Value
	for _, name := range names {
		text, err := os.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			v = Unknown("the driver has no file " + filepath.Base(name))
			continue
		case errors.Is(err, fs.ErrPermission):
			return Unknown("the driver does not let this user read " + filepath.Base(name) + " now")
		case err != nil:
			return Unknown(err.Error())
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
		if err != nil {
			return Unknown(fmt.Sprintf("%s has no number in it but %q", filepath.Base(name), text))
		}
		return Known(x * unit)
	}
	return v
}

// labelled is the sensor of a kind that has a label, or the usual one where there are no labels:
// temp1, freq2.
func labelled(dir, kind, label, usual string) string {
	list, _ := filepath.Glob(filepath.Join(dir, kind+"*_label"))
	for _, f := range list {
		if text, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(text)) == label {
			return strings.TrimSuffix(f, "_label")
		}
	}
	if len(list) > 0 {
		return filepath.Join(dir, kind+"-"+label) // there is none
	}
	return filepath.Join(dir, kind+usual)
}

// highest is the highest of the clocks that the driver lists as "2: 2575Mhz *", in MHz.
func highest(name string) Value {
	text, err := os.ReadFile(name)
	if err != nil {
		return Unknown("the driver has no file " + filepath.Base(name))
	}
	most := 0.0
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 {
			mhz, _ := strconv.ParseFloat(strings.TrimSuffix(strings.ToLower(f[1]), "mhz"), 64)
			most = max(most, mhz)
		}
	}
	if most == 0 {
		return Unknown(filepath.Base(name) + " lists no clocks")
	}
	return Known(most)
}

// errorCounts reads "ue: 0" and "ce: 12", errors of memory that were not corrected and that were.
func errorCounts(name string) (uncorrected, corrected Value) {
	uncorrected, corrected = Unknown("the driver counts no errors of memory"), Unknown("the driver counts no errors of memory")
	text, err := os.ReadFile(name)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		what, number, _ := strings.Cut(line, ":")
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		switch {
		case err != nil:
		case what == "ue":
			uncorrected = Known(n)
		case what == "ce":
			corrected = Known(n)
		}
	}
	return
}

func (a *amd) SetPowerLimit(uuid string, watts float64) error {
	i := slices.IndexFunc(a.cards, func(c amdCard) bool { return c.same.UUID == uuid })
	if i < 0 {
		return fmt.Errorf("there is no device with the UUID %q", uuid)
	}
	c := a.cards[i]
	f, err := os.OpenFile(filepath.Join(c.sensors(), "power1_cap"), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%.0f\n", watts*1e6)
		err = errors.Join(err, f.Close())
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w", c.same.Model, ErrPermission)
	}
	return err
}

func (a *amd) Close() error { return nil }
