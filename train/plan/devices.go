package plan

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/power"
)

// All is the name of everything that a run can be planned for.
const All = "all"

// slices of cards that stand in a list of all devices; any other has to be named.
var listed = []string{"a100-80gb/1g.10gb", "a100-80gb/3g.40gb"}

// This is the machine's processor as a device. calibration may be nil.
func This(calibration *Processor) Device {
	d := Device{Key: CPU, Name: "this machine's processor", Processor: calibration}
	system := hardware.System{}
	if c, err := system.CPU(); err == nil && c.Model != "" {
		d.Name = strings.Join(strings.Fields(c.Model), " ")
	}
	if m, err := system.Memory(); err == nil {
		d.Memory = m.Total
	}
	if g, err := system.Cgroup(); err == nil && g.MemoryLimit > 0 && (d.Memory == 0 || g.MemoryLimit < d.Memory) {
		d.Memory = g.MemoryLimit
	}
	d.Power, d.Idle, _ = power.Estimate("")
	return d
}

// Devices finds devices by name: cpu, a name of the catalogue, a slice such as
// a100-80gb/1g.10gb, or all. The error for an unknown one is a *hardware.UnknownError.
func Devices(name string, calibration *Processor) ([]Device, error) {
	switch name = strings.TrimSpace(name); {
	case strings.EqualFold(name, CPU):
		return []Device{This(calibration)}, nil
	case strings.EqualFold(name, All):
		list := []Device{This(calibration)}
		for _, c := range hardware.Catalogue() {
			list = append(list, OfCard(c))
			for _, slice := range listed {
				if card, _, _ := strings.Cut(slice, "/"); card != c.Key {
					continue
				}
				s, err := hardware.Find(slice)
				if err != nil {
					return nil, fmt.Errorf("plan: the catalogue: %w", err)
				}
				list = append(list, OfCard(s))
			}
		}
		return list, nil
	}
	c, err := hardware.Find(name)
	if err == nil {
		return []Device{OfCard(c)}, nil
	}
	if m, ok := hardware.Match(name); ok {
		return []Device{OfCard(m)}, nil
	}
	var unknown *hardware.UnknownError
	if errors.As(err, &unknown) && unknown.What == "device" {
		unknown.Nearest = append(unknown.Nearest, CPU, All)
	}
	return nil, err
}
