package cuda

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/find"
)

// telemetry is an NVML of Go functions. A function that it does not have says that it is
// not supported.
type telemetry map[string]dl.Func

func (t telemetry) Path() string { return "telemetry" }

func (t telemetry) Lookup(name string) (dl.Func, error) {
	if f, ok := t[name]; ok {
		return f, nil
	}
	return unsupported, nil
}

var unsupported = func() dl.Func {
	if dl.Supported() != nil {
		return 0
	}
	return dl.Callback(func(a, b, c uintptr) uintptr { return 3 })
}()

// at is memory that C has passed the address of.
func at(p uintptr, n int) []byte { return unsafe.Slice((*byte)(dl.Pointer(p)), n) }

func text(p uintptr, s string) uintptr {
	copy(at(p, len(s)+1), s+"\x00")
	return 0
}

func word(p uintptr, v uint64, bytes int) uintptr {
	copy(at(p, bytes), binary.LittleEndian.AppendUint64(nil, v))
	return 0
}

// cards are a card 16 that the process sees, a card 17 that it does not, and a card 18 that
// is divided, of whose parts 32 and 34 it sees the second. Card 17 does not know MIG.
func cards() telemetry {
	uuids := map[uintptr]string{16: "GPU-16", 17: "GPU-17", 18: "GPU-18", 32: "MIG-32", 34: "MIG-34"}
	return telemetry{
		"nvmlInit_v2":                dl.Callback(func() uintptr { return 0 }),
		"nvmlShutdown":               dl.Callback(func() uintptr { return 0 }),
		"nvmlErrorString":            dl.Callback(func(r uintptr) uintptr { return 0 }),
		"nvmlSystemGetDriverVersion": dl.Callback(func(p, n uintptr) uintptr { return text(p, "580.65.06") }),
		"nvmlDeviceGetCount_v2":      dl.Callback(func(p uintptr) uintptr { return word(p, 3, 4) }),
		"nvmlDeviceGetHandleByIndex_v2": dl.Callback(func(i, p uintptr) uintptr {
			return word(p, uint64(16+i), 8)
		}),
		"nvmlDeviceGetHandleByUUID": dl.Callback(func(s, p uintptr) uintptr {
			for h, uuid := range uuids {
				if uuid == dl.String(s) {
					return word(p, uint64(h), 8)
				}
			}
			return 6
		}),
		"nvmlDeviceGetUUID": dl.Callback(func(h, p, n uintptr) uintptr { return text(p, uuids[h]) }),
		"nvmlDeviceGetName": dl.Callback(func(h, p, n uintptr) uintptr { return text(p, "NVIDIA "+uuids[h]) }),
		"nvmlDeviceGetMemoryInfo_v2": dl.Callback(func(h, p uintptr) uintptr {
			word(p+8, uint64(h)<<30, 8)
			return word(p+24, uint64(h)<<20, 8)
		}),
		"nvmlDeviceGetMigMode": dl.Callback(func(h, current, pending uintptr) uintptr {
			switch h {
			case 16:
				return word(current, 0, 4)
			case 18:
				return word(current, 1, 4)
			}
			return 3
		}),
		"nvmlDeviceGetMaxMigDeviceCount": dl.Callback(func(h, p uintptr) uintptr { return word(p, 7, 4) }),
		"nvmlDeviceGetMigDeviceHandleByIndex": dl.Callback(func(h, i, p uintptr) uintptr {
			if i != 0 && i != 2 {
				return 6
			}
			return word(p, uint64(32+i), 8)
		}),
	}
}

type telemetryOnly struct{ t telemetry }

func (telemetryOnly) driver() (dl.Symbols, error) { return nil, errors.New("no driver") }
func (telemetryOnly) suit(int, int)               {}
func (telemetryOnly) libraries() []device.Library { return nil }
func (l telemetryOnly) library(n find.Name) (dl.Symbols, error) {
	if n != find.NVML || l.t == nil {
		return nil, errors.New("no such library")
	}
	return l.t, nil
}

// Devices get what NVML knows of them, and those that the process does not see are told
// apart from those that it does.
func TestTelemetry(t *testing.T) {
	if err := dl.Supported(); err != nil {
		t.Skip(err)
	}
	list := func() []*found {
		return []*found{
			{info: device.Info{Name: "cuda:0", Aliases: []string{"cuda:GPU-16"}, Free: -1, Driver: "CUDA 13.0"}},
			{info: device.Info{Name: "cuda:1", Aliases: []string{"cuda:MIG-34"}, Free: -1, Driver: "CUDA 13.0", MIG: "1g.10gb of NVIDIA H100"}},
			{info: device.Info{Name: "cuda:2", Aliases: []string{"cuda:GPU-unknown"}, Free: -1, Driver: "CUDA 13.0"}},
		}
	}
	b := newBackend(telemetryOnly{cards()}, nil)
	got := list()
	hidden := b.measure(got, 13000)
	for i, want := range []device.Info{
		{Free: 16 << 20, MIG: "off"},
		{Free: 34 << 20, MIG: "1g.10gb of NVIDIA H100"},
		{Free: -1},
	} {
		if g := got[i].info; g.Free != want.Free || g.MIG != want.MIG || g.Driver != "580.65.06, CUDA 13.0" {
			t.Errorf("%s: %+v", g.Name, g)
		}
	}
	var names []string
	for _, h := range hidden {
		names = append(names, h.info.Name)
		if h.cu != nil || h.info.Problem == "" || h.info.Model == "" || h.info.Total <= 0 || h.info.Free <= 0 {
			t.Errorf("%+v", h.info)
		}
	}
	if want := []string{"cuda:GPU-17", "cuda:MIG-32"}; !slices.Equal(names, want) {
		t.Fatalf("the process does not see %q, want %q", names, want)
	}
	if h := hidden[1].info; h.MIG != "part of GPU-18" || h.Remedy != "CUDA_VISIBLE_DEVICES=MIG-32 selects it; the driver shows one part of a divided card to a process" {
		t.Errorf("%+v", h)
	}
	if n := visible(hidden); n != 0 {
		t.Errorf("%d hidden devices are visible", n)
	}

	// Without NVML everything stays as it is.
	got = list()
	if hidden := newBackend(telemetryOnly{}, nil).measure(got, 13000); hidden != nil || got[0].info.Free != -1 || got[0].info.Driver != "CUDA 13.0" || got[0].info.MIG != "" {
		t.Errorf("without NVML: %+v, %+v", got[0].info, hidden)
	}
}
