package cpu

import (
	"cmp"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter/internal/backend/cpu/gemm"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
)

type backend struct{}

// Backend is the processor, which is always there.
func Backend() device.Backend { return backend{} }

func (backend) Name() string { return "cpu" }

func (backend) Open(string) (device.Device, error) { return New(), nil }

func (backend) Libraries() []device.Library { return nil }

func (backend) Devices() ([]device.Info, error) {
	total, free := systemMemory()
	return []device.Info{{
		Name: "cpu", Backend: "cpu", Kind: device.CPU, HostMemory: true,
		Model: cmp.Or(procField("/proc/cpuinfo", "model name"), procField("/proc/cpuinfo", "Model"), runtime.GOARCH),
		Units: runtime.NumCPU(), Version: gemm.Level(), Total: total, Free: free,
		DTypes: []dtype.DType{dtype.Bool, dtype.Uint8, dtype.Int8, dtype.Int32, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64},
	}}, nil
}

// systemMemory is what the system has and what is available of it, where a file says so:
// else 0 and -1.
func systemMemory() (total, free int64) {
	read := func(key string) (int64, error) {
		kib, err := strconv.ParseInt(strings.TrimSuffix(procField("/proc/meminfo", key), " kB"), 10, 64)
		return kib << 10, err
	}
	total, err := read("MemTotal")
	if err != nil {
		return 0, -1
	}
	if free, err = read("MemAvailable"); err != nil {
		return total, -1
	}
	return total, free
}

// procField is the first value of a key in a file of lines "key: value", "" if there is
// none.
func procField(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
