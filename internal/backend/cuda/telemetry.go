package cuda

import (
	"slices"
	"strings"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dl/nvml"
)

// measure asks NVML for what the driver's API does not tell without a context: memory that
// is free, the driver's version, the state of MIG. It returns the devices of the machine that
// the driver does not show to this process. NVML may be missing, and a device may not tell
// everything; what is not told stays unknown.
func (b *backend) measure(list []*found, version int) (hidden []*found) {
	lib, err := b.locate.library(find.NVML)
	if err != nil {
		return nil
	}
	ml, err := nvml.New(lib)
	if err != nil || ml.Init() != nil {
		return nil
	}
	defer ml.Shutdown()
	driver, err := ml.SystemGetDriverVersion()
	if err == nil {
		driver += ", CUDA " + serves(version)
	}
	// Their numbers are not the driver's, which CUDA_VISIBLE_DEVICES changes: devices are told
	// apart by what identifies them everywhere.
	shown := make(map[string]bool)
	for _, f := range list {
		if driver != "" {
			f.info.Driver = driver
		}
		for _, name := range f.info.Aliases {
			uuid := strings.TrimPrefix(name, "cuda:")
			shown[uuid] = true
			h, err := ml.DeviceGetHandleByUUID(uuid)
			if err != nil {
				continue
			}
			if m, err := ml.DeviceGetMemoryInfo(h); err == nil {
				f.info.Free = int64(m.Free)
			}
			if on, _, err := ml.DeviceGetMigMode(h); err == nil && f.info.MIG == "" {
				f.info.MIG = "off"
				if on {
					f.info.MIG = "on"
				}
			}
		}
	}
	n, err := ml.DeviceGetCount()
	if err != nil {
		return nil
	}
	for i := range n {
		card, err := ml.DeviceGetHandleByIndex(i)
		if err != nil {
			continue
		}
		handles, remedy := []nvml.Device{card}, "take it into CUDA_VISIBLE_DEVICES"
		if on, _, err := ml.DeviceGetMigMode(card); err == nil && on {
			if handles, err = ml.MigDevices(card); err != nil {
				continue
			}
			remedy = "CUDA_VISIBLE_DEVICES=UUID selects it; the driver shows one part of a divided card to a process"
		}
		for _, h := range handles {
			uuid, err := ml.DeviceGetUUID(h)
			if err != nil || shown[uuid] {
				continue
			}
			f := &found{info: device.Info{Name: "cuda:" + uuid, Backend: "cuda", Kind: device.GPU, Driver: driver, Total: -1, Free: -1,
				Problem: "the driver does not show it to this process", Remedy: strings.Replace(remedy, "UUID", uuid, 1)}}
			f.info.Model, _ = ml.DeviceGetName(h)
			if m, err := ml.DeviceGetMemoryInfo(h); err == nil {
				f.info.Total, f.info.Free = int64(m.Total), int64(m.Free)
			}
			if h != card {
				if name, err := ml.DeviceGetUUID(card); err == nil {
					f.info.MIG = "part of " + name
				}
			}
			hidden = append(hidden, f)
		}
	}
	return hidden
}

// visible is how many devices the driver shows.
func visible(list []*found) int {
	return len(slices.DeleteFunc(slices.Clone(list), func(f *found) bool { return f.cu == nil }))
}
