package power

import (
	"cmp"
	"runtime"

	"github.com/sinter-dl/sinter/hardware"
)

// Estimate is the power in W of a machine's processors and memory at full load and idle, as
// the model of a Meter has it, of the part of the machine that this process may use. root is
// that of the machine's file system; "" is the machine itself.
func Estimate(root string) (full, idle float64, source string) {
	system := hardware.System{Root: root}
	cpu, _ := system.CPU()
	memory, _ := system.Memory()
	group, _ := system.Cgroup()
	virtual, _ := system.Virtual()
	threads := cmp.Or(cpu.Threads, runtime.NumCPU())
	usable := float64(cmp.Or(cpu.Usable, threads))
	if group.CPUs > 0 {
		usable = min(usable, group.CPUs)
	}
	full, source = cpuModel(cpu.Model, cpu.Sockets, threads, usable, virtual != "")
	idle = loadWatts(full, 0)
	bytes, shared := memory.Total, virtual != ""
	if group.MemoryLimit > 0 && group.MemoryLimit < bytes {
		bytes, shared = group.MemoryLimit, true
	}
	if bytes > 0 {
		w, _ := memoryWatts(bytes, shared)
		full, idle = full+w, idle+w
		source += "; and memory"
	}
	return full, idle, source
}
