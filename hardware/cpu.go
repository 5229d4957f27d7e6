package hardware

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// files tells whether the machine is read from files: Linux, and tests everywhere.
func (s System) files() bool { return s.Root != "" || runtime.GOOS == "linux" }

// CPU is the machine's processors. What is not known stays empty; the error says what that
// is and why, and the rest holds even so.
func (s System) CPU() (CPU, error) {
	c := CPU{Arch: runtime.GOARCH}
	if !s.files() {
		c.Threads, c.Usable = runtime.NumCPU(), runtime.NumCPU()
		return c, nativeCPU(&c)
	}
	var errs []error
	if err := s.cpuinfo(&c); err != nil {
		errs = append(errs, unknown("the processor", err))
	}
	s.topology(&c)
	if c.Usable = len(s.allowed()); c.Usable == 0 {
		c.Usable = c.Threads
		if s.Root == "" {
			c.Usable = runtime.NumCPU()
		}
	}
	if khz, err := s.number("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"); err == nil {
		c.MHz = float64(khz) / 1e3
	}
	return c, errors.Join(errs...)
}

// cpuinfo reads /proc/cpuinfo, whose fields are other ones on every architecture.
func (s System) cpuinfo(c *CPU) error {
	f, err := os.Open(s.path("proc/cpuinfo"))
	if err != nil {
		return err
	}
	defer f.Close()
	sockets, cores := make(map[string]bool), make(map[string]bool)
	socket, implementer, part := "", "", ""
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // the list of features is long
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch name {
		case "processor":
			if _, err := strconv.Atoi(value); err == nil {
				c.Threads++
			}
		case "vendor_id":
			c.Vendor = value
		case "model name", "cpu model", "Model":
			c.Model = value
		case "flags", "Features":
			if c.Features == nil {
				c.Features = strings.Fields(value)
			}
		case "physical id":
			socket = value
			sockets[socket] = true
		case "core id":
			cores[socket+"/"+value] = true
		case "CPU implementer":
			implementer = value
		case "CPU part":
			part = value
		case "cpu MHz":
			mhz, _ := strconv.ParseFloat(value, 64)
			c.MHz = max(c.MHz, mhz)
		}
	}
	c.Sockets, c.Cores = len(sockets), len(cores)
	if c.Features != nil && implementer != "" {
		c.Arch = "arm64"
	} else if slices.Contains(c.Features, "lm") { // long mode
		c.Arch = "amd64"
	}
	if c.Vendor == "" && implementer != "" {
		c.Vendor = cmp.Or(armVendors[implementer], "implementer "+implementer)
	}
	if c.Model == "" && part != "" {
		c.Model = cmp.Or(armParts[implementer+" "+part], c.Vendor+" part "+part)
	}
	return lines.Err()
}

// What the main ID register of 64-bit Arm processors says, of those that servers have.
var (
	armVendors = map[string]string{"0x41": "ARM", "0x48": "HiSilicon", "0x4e": "NVIDIA", "0x51": "Qualcomm", "0x61": "Apple", "0xc0": "Ampere"}
	armParts   = map[string]string{
		"0x41 0xd03": "ARM Cortex-A53", "0x41 0xd08": "ARM Cortex-A72", "0x41 0xd0b": "ARM Cortex-A76", "0x41 0xd0c": "ARM Neoverse N1", "0x41 0xd40": "ARM Neoverse V1",
		"0x41 0xd49": "ARM Neoverse N2", "0x41 0xd4f": "ARM Neoverse V2", "0x41 0xd84": "ARM Neoverse V3", "0x41 0xd8e": "ARM Neoverse N3", "0x48 0xd01": "HiSilicon Kunpeng 920", "0xc0 0xac3": "Ampere-1", "0xc0 0xac4": "Ampere-1A",
	}
)

// topology counts sockets and cores by sysfs, which knows them on all architectures.
func (s System) topology(c *CPU) {
	dirs, _ := filepath.Glob(s.path("sys/devices/system/cpu/cpu[0-9]*"))
	sockets, cores := make(map[int64]bool), make(map[string]bool)
	for _, dir := range dirs {
		file := filepath.Join("sys/devices/system/cpu", filepath.Base(dir), "topology")
		socket, err := s.number(file, "physical_package_id")
		if err != nil {
			continue // it is off
		}
		core, err := s.number(file, "core_id")
		if err != nil {
			continue
		}
		sockets[socket] = true
		cores[fmt.Sprint(socket, "/", core)] = true
	}
	if len(cores) > 0 {
		c.Sockets, c.Cores = len(sockets), len(cores)
	}
}

// allowed is the processors that this process may run on, nil if that is not known.
func (s System) allowed() []int {
	f, err := os.ReadFile(s.path("proc/self/status"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(f)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return numbers(list)
		}
	}
	return nil
}

// numbers reads a list as Linux writes them: "0-3,8,10-11".
func numbers(list string) []int {
	var all []int
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(to); err != nil || b-a > 1<<16 {
				continue
			}
		}
		for i := a; i <= b; i++ {
			all = append(all, i)
		}
	}
	return all
}

// Memory is the machine's. A container may have less: see [System.Cgroup].
func (s System) Memory() (Memory, error) {
	var m Memory
	if !s.files() {
		return m, nativeMemory(&m)
	}
	f, err := os.ReadFile(s.path("proc/meminfo"))
	if err != nil {
		return m, unknown("memory", err)
	}
	fields := map[string]*int64{"MemTotal": &m.Total, "MemAvailable": &m.Available, "SwapTotal": &m.SwapTotal, "SwapFree": &m.SwapFree}
	for line := range strings.Lines(string(f)) {
		name, value, _ := strings.Cut(line, ":")
		if p := fields[name]; p != nil {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err == nil {
				*p = kib << 10
			}
		}
	}
	if m.Total == 0 {
		return m, &UnknownValueError{What: "memory", Why: s.path("proc/meminfo") + " has no MemTotal"}
	}
	return m, nil
}
