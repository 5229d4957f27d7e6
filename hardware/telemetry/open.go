package telemetry

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Open looks for devices. That there are none is no error: Problems says why then.
func Open(o Options) (*Monitor, error) {
	m := &Monitor{sources: o.Sources, names: o.Names}
	if o.Sources != nil {
		return m, nil
	}
	// NVIDIA's come first, which name counts on.
	if n, err := openNVIDIA(o.Root); err != nil {
		m.problems = append(m.problems, err.Error())
	} else {
		m.sources = append(m.sources, n)
	}
	if a, err := openAMD(o.Root); err != nil {
		m.problems = append(m.problems, err.Error())
	} else {
		m.sources = append(m.sources, a)
	}
	return m, nil
}

// name gives the devices their names. CUDA numbers the fastest device 0, unless
// CUDA_DEVICE_ORDER says otherwise, and leaves out what CUDA_VISIBLE_DEVICES does not list;
// so the number is known where there is one device only, or a variable decides.
func (m *Monitor) name(list []Reading) {
	nvidia := 0
	for _, r := range list {
		if r.Vendor == "nvidia" {
			nvidia++
		}
	}
	visible, restricted := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	byBus := nvidia == 1 || os.Getenv("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
	// position is what CUDA calls a device with this UUID and this number on the bus.
	position := func(uuid string, number int) (int, bool) {
		if !restricted {
			return number, byBus
		}
		for i, v := range strings.Split(visible, ",") {
			v = strings.TrimSpace(v)
			n, err := strconv.Atoi(v)
			switch {
			case err == nil && n == number && n >= 0 && byBus, err != nil && len(v) > 4 && strings.HasPrefix(uuid, v):
				return i, true
			case err == nil && !byBus, v == "", v == "-1":
				return 0, false // what comes behind is not seen, or not known
			}
		}
		return 0, false
	}
	for i := range list {
		r := &list[i]
		if r.Device == "" {
			r.Device = fmt.Sprintf("gpu %d", i)
			if r.Vendor == "nvidia" && r.MIG != "on" {
				if n, ok := position(r.UUID, i); ok { // NVML's devices come first
					r.Device = fmt.Sprintf("cuda:%d", n)
				}
			}
		}
		if n := m.names[r.UUID]; n != "" {
			r.Device = n
		}
		for j := range r.Slices {
			s := &r.Slices[j]
			if s.Device == "" {
				s.Device = fmt.Sprintf("gpu %d/%d", i, j)
				if n, ok := position(s.UUID, -1); ok && restricted {
					s.Device = fmt.Sprintf("cuda:%d", n)
				}
			}
			if n := m.names[s.UUID]; n != "" {
				s.Device = n
			}
		}
	}
}
