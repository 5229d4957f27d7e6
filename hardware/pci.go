package hardware

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var pciVendors = map[uint16]string{0x10de: "nvidia", 0x1002: "amd", 0x8086: "intel", 0x1a03: "aspeed", 0x1af4: "virtio", 0x1b36: "qemu", 0x1234: "qemu", 0x1013: "cirrus", 0x15ad: "vmware", 0x102b: "matrox"}

// models are those of AMD's cards of the catalogue, which their driver has no name for, by
// device and revision; a revision of 0 is any.
var pciModels = []struct {
	device   uint16
	revision uint8
	model    string
}{
	{0x73bf, 0xc1, "AMD Radeon RX 6800 XT"},
	{0x744c, 0xc8, "AMD Radeon RX 7900 XTX"},
	{0x74a1, 0, "AMD Instinct MI300X"},
}

// GPUs is the displays, 3D controllers and accelerators on the PCI bus, in the bus's order.
func (s System) GPUs() ([]GPU, error) {
	if !s.files() {
		return nil, &UnknownValueError{What: "what is on the PCI bus", Why: "only Linux tells it in files"}
	}
	entries, err := os.ReadDir(s.path("sys/bus/pci/devices"))
	if err != nil {
		return nil, unknown("what is on the PCI bus", err)
	}
	var list []GPU
	for _, e := range entries {
		dir := filepath.Join("sys/bus/pci/devices", e.Name())
		class, err := s.number(dir, "class")
		if err != nil || class>>16 != 0x03 && class>>16 != 0x12 {
			continue
		}
		g := GPU{PCI: e.Name(), Class: uint32(class), NUMA: -1, Driver: s.link(dir, "driver")}
		word := func(file string) int64 {
			n, _ := s.number(dir, file)
			return n
		}
		g.VendorID, g.DeviceID, g.Revision = uint16(word("vendor")), uint16(word("device")), uint8(word("revision"))
		g.Vendor = pciVendors[g.VendorID]
		if g.Vendor == "" {
			g.Vendor = fmt.Sprintf("%#04x", g.VendorID)
		}
		g.Model = s.pciModel(g)
		if n, err := s.number(dir, "numa_node"); err == nil {
			g.NUMA = int(n)
		}
		cards, _ := filepath.Glob(s.path(dir, "drm/card[0-9]*"))
		for _, c := range cards {
			if name := filepath.Base(c); !strings.Contains(name, "-") { // card0-DP-1 is an output
				g.Card = name
			}
		}
		g.PCILink = s.PCILink(e.Name())
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b GPU) int { return strings.Compare(a.PCI, b.PCI) })
	return list, nil
}

// pciModel is what a card is called: by its driver, by what we know, or by the list of all
// devices that most systems have.
func (s System) pciModel(g GPU) string {
	if name, err := s.text("sys/bus/pci/devices", g.PCI, "product_name"); err == nil && name != "" {
		return name
	}
	for _, m := range pciModels {
		if g.Vendor == "amd" && m.device == g.DeviceID && (m.revision == 0 || m.revision == g.Revision) {
			return m.model
		}
	}
	for _, file := range []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"} {
		ids, err := os.ReadFile(s.path(file))
		if err != nil {
			continue
		}
		// A vendor begins its line; its devices follow, behind a tab.
		_, after, ok := strings.Cut(string(ids), fmt.Sprintf("\n%04x  ", g.VendorID))
		if !ok {
			continue
		}
		vendor, after, _ := strings.Cut(after, "\n")
		for line := range strings.Lines(after) {
			if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "#") {
				break
			}
			if name, ok := strings.CutPrefix(line, fmt.Sprintf("\t%04x  ", g.DeviceID)); ok {
				return vendor + " " + strings.TrimSpace(name)
			}
		}
	}
	return ""
}

// PCILink is the link between a card and the machine. A card of AMD's has a switch of its own,
// with a link behind it that is always at its best: what counts is the one before it.
func (s System) PCILink(pci string) PCILink {
	dir := s.path("sys/bus/pci/devices", pci)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		for dir = real; ; dir = filepath.Dir(dir) {
			up := filepath.Dir(dir)
			vendor, err := os.ReadFile(filepath.Join(up, "vendor"))
			class, err2 := os.ReadFile(filepath.Join(up, "class"))
			if err != nil || err2 != nil || strings.TrimSpace(string(vendor)) != "0x1002" || !strings.HasPrefix(string(class), "0x0604") {
				break
			}
		}
	}
	read := func(file string) float64 {
		t, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return 0
		}
		number, _, _ := strings.Cut(strings.TrimSpace(string(t)), " ") // "16.0 GT/s PCIe", "Unknown"
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || v >= 255 { // what a card that has fallen off the bus says
			return 0
		}
		return v
	}
	return PCILink{Speed: read("current_link_speed"), MaxSpeed: read("max_link_speed"), Width: int(read("current_link_width")), MaxWidth: int(read("max_link_width"))}
}

// Generation is that of PCI Express by the speed of a lane in GT/s, 0 if there is none.
func Generation(speed float64) int {
	for i, s := range []float64{2.5, 5, 8, 16, 32, 64} {
		if speed >= s-0.1 && speed <= s+0.1 {
			return i + 1
		}
	}
	return 0
}

var driverVersion = regexp.MustCompile(`Module(?: for \S+)?\s+(\d+(?:\.\d+)+)`)

// NVIDIADriver is the version of NVIDIA's driver that the kernel has loaded.
func (s System) NVIDIADriver() (string, error) {
	t, err := s.text("proc/driver/nvidia/version")
	if err != nil {
		return "", unknown("NVIDIA's driver", err)
	}
	m := driverVersion.FindStringSubmatch(t)
	if m == nil {
		first, _, _ := strings.Cut(t, "\n")
		return "", &UnknownValueError{What: "NVIDIA's driver", Why: "its version is not in " + strconv.Quote(first)}
	}
	return m[1], nil
}

// A record of the kernel's log: level, number, microseconds since the start, and the text.
var xid = regexp.MustCompile(`^(?:\d+,\d+,(\d+),[^;]*;)?.*NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)(?:, (.*))?`)

// XIDs is the errors of NVIDIA's cards that the kernel's log still has. Most systems let
// only root read it.
func (s System) XIDs() ([]XID, error) {
	if !s.files() {
		return nil, &UnknownValueError{What: "the kernel's log", Why: "only Linux has it in a file"}
	}
	text, err := kernelLog(s.path("dev/kmsg"))
	if err != nil {
		return nil, unknown("the kernel's log", err)
	}
	var list []XID
	for line := range strings.Lines(text) {
		m := xid.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[3])
		us, _ := strconv.ParseInt(m[1], 10, 64)
		list = append(list, XID{Number: n, PCI: strings.ToLower(m[2]), Since: time.Duration(us) * time.Microsecond, Text: m[4]})
	}
	return list, nil
}

// OS is the system's name and the kernel's version: "Debian GNU/Linux 12 (bookworm)",
// "6.1.0-18-amd64". What is not known is empty.
func (s System) OS() (name, kernel string) {
	if !s.files() {
		return nativeOS()
	}
	kernel, _ = s.text("proc/sys/kernel/osrelease")
	t, _ := s.text("etc/os-release")
	for line := range strings.Lines(t) {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			name = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return name, kernel
}

// Virtual is what the machine is simulated by: "kvm", "vmware", "hyper-v", "wsl", "xen",
// "virtualbox", "amazon", "google", "unknown"; "" if it is a real one, as far as can be told.
func (s System) Virtual() (string, error) {
	if !s.files() {
		return "", &UnknownValueError{What: "whether the machine is virtual", Why: "only Linux tells it in files"}
	}
	if _, kernel := s.OS(); strings.Contains(strings.ToLower(kernel), "microsoft") {
		return "wsl", nil
	}
	vendor, _ := s.text("sys/class/dmi/id/sys_vendor")
	product, _ := s.text("sys/class/dmi/id/product_name")
	for _, mark := range []struct{ part, name string }{
		{"QEMU", "kvm"}, {"KVM", "kvm"}, {"VMware", "vmware"}, {"VirtualBox", "virtualbox"}, {"innotek", "virtualbox"}, {"Xen", "xen"},
	} {
		if strings.Contains(vendor+" "+product, mark.part) {
			return mark.name, nil
		}
	}
	cpu, err := s.CPU()
	inside := slices.Contains(cpu.Features, "hypervisor")
	switch {
	case vendor == "Microsoft Corporation" && product == "Virtual Machine":
		return "hyper-v", nil
	case vendor == "Amazon EC2" && (inside || cpu.Arch == "arm64" && !strings.Contains(product, "metal")):
		return "amazon", nil
	case vendor == "Google" && inside:
		return "google", nil
	case inside:
		return "unknown", nil
	}
	return "", err
}
