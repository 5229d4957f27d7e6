package hardware

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// System is the machine that the program runs on.
type System struct {
	// Root is the root of the file system in which the machine is told, for tests; "" is the
	// machine itself.
	Root string
	// Space is how many bytes a file system has, and how many are free for us; nil asks the
	// system. Synchronised is whether the clock is; nil asks the system. Neither stands in a file.
	Space        func(path string) (total, free int64, err error)
	Synchronised func() (bool, error)
}

// UnknownValueError is something that the machine does not tell.
type UnknownValueError struct{ What, Why string }

func (e *UnknownValueError) Error() string { return e.What + " is not known: " + e.Why }

// CPU is the processors of the machine.
type CPU struct {
	Model    string   // "Intel(R) Xeon(R) Platinum 8480C"
	Vendor   string   // "GenuineIntel", "AuthenticAMD", "ARM"
	Arch     string   // as Go calls it
	Features []string // as Linux calls them: "avx2", "avx512f", "asimd"
	// Sockets, Cores and Threads are those of the machine that are on; 0 is not known.
	Sockets, Cores, Threads int
	// Usable is how many threads this process may run on: what its affinity and its cgroup's
	// cpuset leave. A cgroup's quota of time is not in it; see [Cgroup].
	Usable int
	MHz    float64 // the highest clock; 0 is not known
}

// Memory is the machine's, in bytes.
type Memory struct {
	Total, Available    int64
	SwapTotal, SwapFree int64
}

// Disk is the file system that a path is on.
type Disk struct {
	Path        string // that was asked for
	Mount       string // where it is mounted; "" is not known
	Filesystem  string // "ext4", "nfs"; "" is not known
	Device      string // "/dev/nvme0n1p1"; "" is not known
	Total, Free int64  // bytes; Free is what a user may take
}

// Cgroup is the limits of the control group that the process is in, those of the groups
// around it included: of a container, or of a batch system.
type Cgroup struct {
	Version     int     // 1 or 2; 0: there is none
	Path        string  // "/kubepods/…"
	MemoryLimit int64   // bytes; 0: no limit
	MemoryUsed  int64   // bytes, caches of files included; 0 is not known
	CPUs        float64 // of time, in processors; 0: no limit
	CPUSet      []int   // processors it may run on; empty: all
	Container   string  // "docker", "kubernetes", "podman", "lxc"; "": none that can be told
}

// Link is a network interface, or a port of an InfiniBand adapter.
type Link struct {
	Name   string // "eth0", "mlx5_0/1"
	Kind   string // "ethernet", "infiniband", "roce" (its protocol over Ethernet), "ipoib", "wireless", "virtual"
	Driver string // "mlx5_core"; "" is not known
	State  string // "up", "down", "active" (of a port), "unknown"
	Up     bool
	Rate   float64 // bit/s; 0 is not known
	Detail string  // "400 Gb/sec (4X NDR)"
}

// Clock is the machine's.
type Clock struct {
	Now          time.Time
	Zone         string // "Europe/Paris"; "" is not known
	Synchronised bool
	// Why says why it is not known whether the clock is synchronised; "" if it is known.
	Why string
}

// GPU is a card on the PCI bus, whether or not there is a driver for it.
type GPU struct {
	PCI      string // "0000:3b:00.0"
	VendorID uint16 // 0x10de is NVIDIA, 0x1002 AMD, 0x8086 Intel
	DeviceID uint16
	Revision uint8
	Vendor   string // "nvidia", "amd", "intel", or the number
	Model    string // if it can be told from the numbers; else ""
	Class    uint32 // 0x030000 a display, 0x030200 a 3D controller, 0x120000 an accelerator
	Driver   string // that has it: "nvidia", "nouveau", "vfio-pci", "amdgpu"; "": none
	Card     string // its name in DRM: "card0"; "": none
	NUMA     int    // the node that it is at; -1 is not known
	PCILink
}

// PCILink is the link between a card and the machine. An idle card may use less of it than it
// could.
type PCILink struct {
	Speed, MaxSpeed float64 // GT/s a lane; 0 is not known
	Width, MaxWidth int     // lanes; 0 is not known
}

// XID is an error that the NVIDIA driver has written to the kernel's log.
type XID struct {
	Number int
	PCI    string        // "0000:3b:00"
	Since  time.Duration // after the machine's start
	Text   string
}

// path is a file of the machine.
func (s System) path(elem ...string) string {
	root := s.Root
	if root == "" {
		root = "/"
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

// text is a file without the white space around it.
func (s System) text(elem ...string) (string, error) {
	b, err := os.ReadFile(s.path(elem...))
	return strings.TrimSpace(string(b)), err
}

// number is a file that has a number in it.
func (s System) number(elem ...string) (int64, error) {
	t, err := s.text(elem...)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(t, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.path(elem...), err)
	}
	return n, nil
}

// unknown makes of the error of reading a file what is not known because of it.
func unknown(what string, err error) error {
	why := err.Error()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "there is no file " + pathOf(err)
	case errors.Is(err, fs.ErrPermission):
		why = "this user may not read " + pathOf(err)
	}
	return &UnknownValueError{What: what, Why: why}
}

func pathOf(err error) string {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Path
	}
	return ""
}
