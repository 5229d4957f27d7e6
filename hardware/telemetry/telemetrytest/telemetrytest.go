// Package telemetrytest stands in for devices in the tests of what reads them:
//
//	fake := telemetrytest.New(telemetrytest.GPU("GPU-a", 150))
//	m, err := telemetry.Open(telemetry.Options{Sources: []telemetry.Source{fake}})
//	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Temperature = telemetry.Known(91) })
//	fake.Lose("GPU-a")
//
// Whatever sets a power limit is recorded, so that a test sees that it was put back.
package telemetrytest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/hardware/telemetry"
)

// Source is devices that say what a test wants.
type Source struct {
	// Clock is the time of readings; nil is time.Now. Energy grows by it: by the power that a
	// device last had, from the last reading on.
	Clock func() time.Time
	// Denied is what SetPowerLimit fails with, for example telemetry.ErrPermission; nil lets it
	// succeed.
	Denied error
	// DriverVersion and CUDA are what Driver says.
	DriverVersion, CUDA string

	mu      sync.Mutex
	devices []telemetry.Reading
	last    time.Time
	limits  []Limit
	reads   int
	closed  bool
}

// Limit is a call of SetPowerLimit that has succeeded.
type Limit struct {
	UUID  string
	Watts float64
}

// New is a source with the devices.
func New(devices ...telemetry.Reading) *Source { return &Source{devices: devices} }

// GPU is a device, like a GeForce RTX 3080, that draws so many W, of the 320 that it may (100
// to 350 can be set), and has drawn 1000 J. What a GeForce card does not tell, it does not
// tell either.
func GPU(uuid string, watts float64) telemetry.Reading {
	r := telemetry.Blank("the device does not have it")
	r.UUID, r.Model, r.Vendor, r.Source, r.PCI, r.Capability = uuid, "NVIDIA GeForce RTX 3080", "nvidia", "NVML", "0000:01:00.0", 86
	for v, x := range map[*telemetry.Value]float64{
		&r.Utilization: 97, &r.MemoryUtilization: 40, &r.MemoryTotal: 10 << 30, &r.MemoryUsed: 6 << 30, &r.MemoryFree: 4<<30 - 300<<20,
		&r.Power: watts, &r.PowerLimit: 320, &r.PowerDefault: 320, &r.PowerMin: 100, &r.PowerMax: 350, &r.Energy: 1000,
		&r.Temperature: 65, &r.SlowdownTemperature: 95, &r.ClockGraphics: 1710, &r.ClockSM: 1710, &r.ClockMemory: 9501, &r.ClockSMMax: 2100, &r.ClockMemoryMax: 9501,
		&r.PCIeSent: 2e6, &r.PCIeReceived: 300e6, &r.PCIeGeneration: 4, &r.PCIeWidth: 16, &r.PCIeGenerationMax: 4, &r.PCIeWidthMax: 16,
	} {
		*v = telemetry.Known(x)
	}
	r.ThrottleKnown, r.XIDsKnown, r.Persistence = true, true, "off"
	return r
}

// Read is the devices as they are now.
func (s *Source) Read(d telemetry.Detail) []telemetry.Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	now := s.advance()
	list := make([]telemetry.Reading, len(s.devices))
	for i, r := range s.devices {
		r.Time = now
		if d == telemetry.Energy {
			few := telemetry.Blank("it was not asked for")
			few.Device, few.UUID, few.Model, few.Vendor, few.PCI, few.Source, few.Time, few.Capability = r.Device, r.UUID, r.Model, r.Vendor, r.PCI, r.Source, r.Time, r.Capability
			few.Power, few.PowerLimit, few.PowerDefault, few.PowerMin, few.PowerMax, few.Energy = r.Power, r.PowerLimit, r.PowerDefault, r.PowerMin, r.PowerMax, r.Energy
			few.Temperature, few.MemoryTemperature, few.SlowdownTemperature, few.MIG, few.Problem = r.Temperature, r.MemoryTemperature, r.SlowdownTemperature, r.MIG, r.Problem
			r = few
		}
		r.Slices, r.Processes, r.XIDs, r.Throttle = slices.Clone(r.Slices), slices.Clone(r.Processes), slices.Clone(r.XIDs), slices.Clone(r.Throttle)
		for j := range r.Slices {
			r.Slices[j].Time = now
		}
		list[i] = r
	}
	return list
}

// Driver is the version of the driver, and the newest CUDA that it serves.
func (s *Source) Driver() (driver, cuda string) { return s.DriverVersion, s.CUDA }

// advance lets the devices draw power up to now.
func (s *Source) advance() time.Time {
	clock := s.Clock
	if clock == nil {
		clock = time.Now
	}
	now := clock()
	if !s.last.IsZero() {
		for i := range s.devices {
			if r := &s.devices[i]; r.Energy.OK && r.Power.OK {
				r.Energy.V += r.Power.V * now.Sub(s.last).Seconds()
			}
		}
	}
	s.last = now
	return now
}

// Set changes what a device says.
func (s *Source) Set(uuid string, change func(r *telemetry.Reading)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	change(s.find(uuid))
}

func (s *Source) find(uuid string) *telemetry.Reading {
	for i := range s.devices {
		if s.devices[i].UUID == uuid {
			return &s.devices[i]
		}
	}
	panic("telemetrytest: there is no device " + uuid)
}

// Lose makes a device vanish, as one that has fallen off the bus.
func (s *Source) Lose(uuid string) {
	s.Set(uuid, func(r *telemetry.Reading) {
		const why = "the device is lost"
		lost := telemetry.Blank(why)
		lost.Device, lost.UUID, lost.Model, lost.Vendor, lost.PCI, lost.Source, lost.Problem = r.Device, r.UUID, r.Model, r.Vendor, r.PCI, r.Source, why
		*r = lost
	})
}

// SetPowerLimit is recorded, and changes the limit.
func (s *Source) SetPowerLimit(uuid string, watts float64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Denied != nil {
		return fmt.Errorf("setting the power limit of %s: %w", uuid, s.Denied)
	}
	s.find(uuid).PowerLimit = telemetry.Known(watts)
	s.limits = append(s.limits, Limit{uuid, watts})
	return nil
}

// Limits is the limits that were set, in order.
func (s *Source) Limits() []Limit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.limits)
}

// Reads is how often the devices were read.
func (s *Source) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// Close is recorded.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Closed tells whether the source was closed.
func (s *Source) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
