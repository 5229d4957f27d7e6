package power

import (
	"cmp"
	"runtime"

	"github.com/sinter-dl/sinter/hardware"
)

// host is what the model knows of a machine's processors and memory: of the part of them that this
// process may use.
type host struct {
	model            string
	sockets, threads int     // of the machine
	usable           float64 // threads that this process may use
	full             float64 // W, of those
	source           string

	memory       float64 // W; 0 where the size is not known
	memorySource string
}

func readHost(root string) host {
	system := hardware.System{Root: root}
	cpu, _ := system.CPU()
	memory, _ := system.Memory()
	group, _ := system.Cgroup()
	virtual, _ := system.Virtual()
	shared := virtual != ""

	h := host{model: cpu.Model, sockets: cpu.Sockets, threads: cmp.Or(cpu.Threads, runtime.NumCPU())}
	h.usable = float64(cmp.Or(cpu.Usable, h.threads))
	if group.CPUs > 0 {
		h.usable = min(h.usable, group.CPUs)
	}
	h.full, h.source = cpuModel(h.model, h.sockets, h.threads, h.usable, shared)
	bytes := memory.Total
	if group.MemoryLimit > 0 && group.MemoryLimit < bytes {
		bytes, shared = group.MemoryLimit, true
	}
	if bytes > 0 {
		h.memory, h.memorySource = memoryWatts(bytes, shared)
	}
	return h
}

// Estimate is the power in W of a machine's processors and memory at full load and idle, as
// the model of a Meter has it, of the part of the machine that this process may use. root is
// that of the machine's file system; "" is the machine itself.
func Estimate(root string) (full, idle float64, source string) {
	h := readHost(root)
	if source = h.source; h.memory > 0 {
		source += "; and memory"
	}
	return h.full + h.memory, loadWatts(h.full, 0) + h.memory, source
}
