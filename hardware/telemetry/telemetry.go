// Package telemetry reads what devices say of themselves while they work: how busy and how
// warm they are, what they draw, how fast they are clocked and why not faster, what computes
// on them. It also sets the limit of their power.
//
// NVIDIA's devices are asked through NVML, AMD's through the files of their Linux driver.
// Neither wants a context on the device, or any other library.
//
//	m, err := telemetry.Open(telemetry.Options{})
//	for _, r := range m.Read() {
//		fmt.Println(r.Device, r.Model, r.Power) // gpu 0 NVIDIA H100 80GB HBM3 312.4 — or n/a
//	}
//
// No device tells everything. What it does not tell is a [Value] that is not OK and says
// why; it prints as "n/a" and is null in JSON, and it is never 0. A device that vanishes
// stays in the list with its name and a Problem.
package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Value is a number that a device may not tell.
type Value struct {
	V   float64
	OK  bool
	Why string // it is not OK
}

// Known is a value that is told.
func Known(v float64) Value { return Value{V: v, OK: true} }

// Unknown is a value that is not, and why.
func Unknown(why string) Value { return Value{Why: why} }

// String is the number, or "n/a".
func (v Value) String() string { return v.Format(-1) }

// Format is the number with so many digits after the point (-1: as many as it has), or "n/a".
func (v Value) Format(digits int) string {
	if !v.OK {
		return "n/a"
	}
	return strconv.FormatFloat(v.V, 'f', digits, 64)
}

// MarshalJSON is the number, or null.
func (v Value) MarshalJSON() ([]byte, error) {
	if !v.OK || math.IsNaN(v.V) || math.IsInf(v.V, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(v.V)
}

// UnmarshalJSON reads what MarshalJSON has written, but for the reason.
func (v *Value) UnmarshalJSON(text []byte) error {
	*v = Value{}
	if string(text) == "null" {
		v.Why = "it was not known"
		return nil
	}
	v.OK = true
	return json.Unmarshal(text, &v.V)
}

// Reading is what a device, or a MIG slice of one, says at a time.
type Reading struct {
	// Device is what Sinter calls it, "cuda:0", where that can be told, and else "gpu 0" in the
	// order of the PCI bus. A slice is "gpu 0/1", where the second number is that of its
	// instance.
	Device string    `json:"device"`
	UUID   string    `json:"uuid"` // "GPU-…", "MIG-…"; unique among devices
	Model  string    `json:"model"`
	Vendor string    `json:"vendor"`        // "nvidia", "amd"
	PCI    string    `json:"pci,omitempty"` // "0000:3b:00.0"
	Source string    `json:"source"`        // of the reading: "NVML", "amdgpu"
	Time   time.Time `json:"time"`
	// Capability is 90 for compute capability 9.0; 0 is not known, or not NVIDIA's.
	Capability int `json:"capability,omitempty"`

	// Utilization is for how many percent of the last moment anything ran on the device, and
	// MemoryUtilization for how many its memory was read or written.
	Utilization       Value `json:"utilization_percent"`
	MemoryUtilization Value `json:"memory_utilization_percent"`

	MemoryTotal Value `json:"memory_total_bytes"`
	MemoryUsed  Value `json:"memory_used_bytes"` // without what the driver keeps for itself, as a rule
	MemoryFree  Value `json:"memory_free_bytes"`

	Power        Value `json:"power_watts"`
	PowerLimit   Value `json:"power_limit_watts"` // that is in force
	PowerDefault Value `json:"power_default_watts"`
	PowerMin     Value `json:"power_min_watts"` // that can be set
	PowerMax     Value `json:"power_max_watts"`
	// Energy is what the device has drawn, in J, since some moment in the past: only
	// differences mean something.
	Energy Value `json:"energy_joules"`

	Temperature         Value `json:"temperature_celsius"` // of the chip
	MemoryTemperature   Value `json:"memory_temperature_celsius"`
	SlowdownTemperature Value `json:"slowdown_temperature_celsius"` // from which on the device slows down

	ClockGraphics  Value `json:"clock_graphics_mhz"`
	ClockSM        Value `json:"clock_sm_mhz"`
	ClockMemory    Value `json:"clock_memory_mhz"`
	ClockSMMax     Value `json:"clock_sm_max_mhz"`
	ClockMemoryMax Value `json:"clock_memory_max_mhz"`

	// Throttle is why clocks are lower than they could be; an idle device is not throttled.
	// It means nothing where ThrottleKnown is false.
	Throttle      []string `json:"throttle"`
	ThrottleKnown bool     `json:"throttle_known"`

	PCIeSent          Value `json:"pcie_sent_bytes_per_second"` // by the device
	PCIeReceived      Value `json:"pcie_received_bytes_per_second"`
	PCIeGeneration    Value `json:"pcie_generation"` // now: an idle device goes down to 1
	PCIeWidth         Value `json:"pcie_width"`
	PCIeGenerationMax Value `json:"pcie_generation_max"` // that device and machine could have together
	PCIeWidthMax      Value `json:"pcie_width_max"`

	// Errors of memory, corrected and not, since the driver was loaded.
	ECCCorrected   Value `json:"ecc_corrected"`
	ECCUncorrected Value `json:"ecc_uncorrected"`
	// XIDs is the errors that the driver has told since the monitor was opened, the oldest
	// first. It means nothing where XIDsKnown is false.
	XIDs      []int `json:"xids"`
	XIDsKnown bool  `json:"xids_known"`

	Persistence string `json:"persistence"` // "on", "off", "n/a": whether the driver stays loaded without users
	MIG         string `json:"mig"`         // "on", "off", "n/a"
	ECC         string `json:"ecc"`         // "on", "off", "n/a"

	Slices    []Reading `json:"slices,omitempty"`  // of a device that is cut
	Processes []Process `json:"processes"`         // nil (null) is not known
	Problem   string    `json:"problem,omitempty"` // why nothing is told any more
}

// Process is a process that has a context on a device.
type Process struct {
	PID    int    `json:"pid"` // in a container, that of the host
	Name   string `json:"name,omitempty"`
	Memory Value  `json:"memory_bytes"`
}

// Blank is a reading in which nothing is known, and why.
func Blank(why string) Reading {
	r := Reading{Persistence: "n/a", MIG: "n/a", ECC: "n/a"}
	for _, v := range r.values() {
		*v = Unknown(why)
	}
	return r
}

func (r *Reading) values() []*Value {
	return []*Value{
		&r.Utilization, &r.MemoryUtilization, &r.MemoryTotal, &r.MemoryUsed, &r.MemoryFree,
		&r.Power, &r.PowerLimit, &r.PowerDefault, &r.PowerMin, &r.PowerMax, &r.Energy,
		&r.Temperature, &r.MemoryTemperature, &r.SlowdownTemperature,
		&r.ClockGraphics, &r.ClockSM, &r.ClockMemory, &r.ClockSMMax, &r.ClockMemoryMax,
		&r.PCIeSent, &r.PCIeReceived, &r.PCIeGeneration, &r.PCIeWidth, &r.PCIeGenerationMax, &r.PCIeWidthMax,
		&r.ECCCorrected, &r.ECCUncorrected,
	}
}

// Detail is how much of a device a reading tells.
type Detail int

const (
	All    Detail = iota
	Energy        // what it draws, has drawn, may draw, and how warm it is: a few calls a device
)

// Source is something that knows devices: NVML, the files of AMD's driver, or the stand-in of
// a test. It may be called from several goroutines.
type Source interface {
	// Read is its devices, always the same ones in the same order. Device may be left empty.
	Read(d Detail) []Reading
	// SetPowerLimit is told a UUID of Read.
	SetPowerLimit(uuid string, watts float64) error
	Close() error
}

// Options is what a monitor works with.
type Options struct {
	// Root is the root of the file system with sysfs and procfs, for tests; "" is the machine's.
	Root string
	// Names is what Sinter calls devices, by UUID. Where CUDA is in use its backend knows;
	// without, the names are told by CUDA's environment variables if they can be.
	Names map[string]string
	// Sources is asked instead of NVML and AMD's driver.
	Sources []Source
}

// ErrPermission is what SetPowerLimit fails with if the user may not set it.
var ErrPermission = errors.New("only root may set the power limit of a device")

// Monitor reads devices. It may be used by several goroutines at a time.
type Monitor struct {
	sources  []Source
	problems []string
	names    map[string]string
}

// Problems says why there are no devices of a vendor, one sentence each; it is empty only
// if every source has been opened.
func (m *Monitor) Problems() []string { return m.problems }

// Read is what all devices say now, always the same devices in the same order.
//
// A call takes some milliseconds for each device, and can be made ten times a second.
func (m *Monitor) Read() []Reading { return m.read(All) }

// ReadEnergy is Read of what Energy names alone: what is drawn and allowed, and temperatures.
// Everything else is n/a. It is for meters that ask often.
func (m *Monitor) ReadEnergy() []Reading { return m.read(Energy) }

func (m *Monitor) read(d Detail) []Reading {
	var list []Reading
	for _, s := range m.sources {
		list = append(list, s.Read(d)...)
	}
	m.name(list)
	return list
}

// Driver is the version of NVIDIA's driver, and the newest CUDA that it serves; empty if there
// is none, or it does not say.
func (m *Monitor) Driver() (driver, cuda string) {
	for _, s := range m.sources {
		if d, ok := s.(interface{ Driver() (driver, cuda string) }); ok {
			return d.Driver()
		}
	}
	return "", ""
}

// SetPowerLimit sets what the device of a UUID may draw, in W, until the driver is loaded
// anew. It fails with ErrPermission where that wants root.
func (m *Monitor) SetPowerLimit(uuid string, watts float64) error {
	for _, s := range m.sources {
		for _, r := range s.Read(Energy) {
			if r.UUID != uuid {
				continue
			}
			switch {
			case r.Problem != "":
				return fmt.Errorf("the power limit of %s cannot be set: %s", r.Model, r.Problem)
			case r.PowerMin.OK && watts < r.PowerMin.V, r.PowerMax.OK && watts > r.PowerMax.V, !(watts > 0):
				return fmt.Errorf("the power limit of %s can be set to between %s and %s W, not %g", r.Model, r.PowerMin, r.PowerMax, watts)
			}
			return s.SetPowerLimit(uuid, watts)
		}
	}
	return fmt.Errorf("there is no device with the UUID %q", uuid)
}

// Close gives back what the monitor holds.
func (m *Monitor) Close() error {
	var errs []error
	for _, s := range m.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
