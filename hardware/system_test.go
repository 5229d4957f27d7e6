package hardware

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/testenv"
)

func system(t *testing.T, files map[string]string) System {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("names of sysfs have colons in them, and links")
	}
	return System{Root: testenv.Tree(t, files)}
}

// Two processors of two cores with two threads each, one thread of which is off, as a server
// with an Intel Xeon tells.
func TestCPU(t *testing.T) {
	files := map[string]string{"proc/self/status": "Name:\tsinter\nCpus_allowed:\t7\nCpus_allowed_list:\t0-1,4\n", "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3800000"}
	var info strings.Builder
	for i, c := range [][2]string{{"0", "0"}, {"0", "1"}, {"1", "0"}, {"1", "1"}, {"0", "0"}, {"0", "1"}, {"1", "0"}} {
		info.WriteString("processor\t: " + string(rune('0'+i)) + "\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Platinum 8480C\ncpu MHz\t\t: 2000.000\nphysical id\t: " + c[0] + "\ncore id\t\t: " + c[1] + "\nflags\t\t: fpu lm avx2 fma avx512f\n\n")
		dir := "sys/devices/system/cpu/cpu" + string(rune('0'+i)) + "/topology/"
		files[dir+"physical_package_id"], files[dir+"core_id"] = c[0], c[1]
	}
	files["proc/cpuinfo"] = info.String()
	files["sys/devices/system/cpu/cpu7/online"] = "0"
	c, err := system(t, files).CPU()
	if err != nil || c.Model != "Intel(R) Xeon(R) Platinum 8480C" || c.Vendor != "GenuineIntel" || c.Arch != "amd64" || c.Sockets != 2 || c.Cores != 4 || c.Threads != 7 || c.Usable != 3 || c.MHz != 3800 || !slices.Contains(c.Features, "avx512f") {
		t.Errorf("%+v (%v)", c, err)
	}
	// Without sysfs the other file counts.
	c, err = system(t, map[string]string{"proc/cpuinfo": info.String()}).CPU()
	if err != nil || c.Sockets != 2 || c.Cores != 4 || c.Usable != 7 || c.MHz != 2000 {
		t.Errorf("%+v (%v)", c, err)
	}
	// An Arm server has neither names nor sockets there.
	arm := map[string]string{"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n\nprocessor\t: 1\nFeatures\t: fp asimd sve bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n",
		"sys/devices/system/cpu/cpu0/topology/physical_package_id": "0", "sys/devices/system/cpu/cpu0/topology/core_id": "0", "sys/devices/system/cpu/cpu1/topology/physical_package_id": "0", "sys/devices/system/cpu/cpu1/topology/core_id": "1"}
	c, err = system(t, arm).CPU()
	if err != nil || c.Model != "ARM Neoverse V1" || c.Vendor != "ARM" || c.Arch != "arm64" || c.Sockets != 1 || c.Cores != 2 || c.Threads != 2 || c.MHz != 0 || !slices.Contains(c.Features, "sve") {
		t.Errorf("%+v (%v)", c, err)
	}
	_, err = system(t, nil).CPU()
	var unknown *UnknownValueError
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "the processor is not known: there is no file") {
		t.Errorf("%v", err)
	}
}

func TestMemory(t *testing.T) {
	m, err := system(t, map[string]string{"proc/meminfo": "MemTotal:       16384000 kB\nMemFree:          123456 kB\nMemAvailable:    8192000 kB\nSwapTotal:       2097148 kB\nSwapFree:        2097148 kB"}).Memory()
	if err != nil || m != (Memory{Total: 16384000 << 10, Available: 8192000 << 10, SwapTotal: 2097148 << 10, SwapFree: 2097148 << 10}) {
		t.Errorf("%+v (%v)", m, err)
	}
	for _, files := range []map[string]string{nil, {"proc/meminfo": "nothing of use"}} {
		if m, err := system(t, files).Memory(); err == nil || m.Total != 0 {
			t.Errorf("%+v (%v)", m, err)
		}
	}
}

func TestDisk(t *testing.T) {
	s := system(t, map[string]string{"data/set/file": "x", "link": "->data/set", "proc/self/mountinfo": `21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 21 0:5 / /proc rw - proc proc rw
30 21 8:17 / /data rw,relatime shared:3 - xfs /dev/sdb1 rw
31 21 8:33 / /database rw - btrfs /dev/sdc1 rw
32 30 0:40 / /data/with\040space rw - nfs4 server:/export rw`, "data/with space/x": ""})
	s.Space = func(path string) (int64, int64, error) { return 1000, 400, nil }
	for path, want := range map[string]Disk{
		"/data/set":                     {Mount: "/data", Filesystem: "xfs", Device: "/dev/sdb1"},
		"/data/set/not/there/yet":       {Mount: "/data", Filesystem: "xfs", Device: "/dev/sdb1"},
		"/link":                         {Mount: "/data", Filesystem: "xfs", Device: "/dev/sdb1"},
		"/data/with space/x":            {Mount: "/data/with space", Filesystem: "nfs4", Device: "server:/export"},
		"/":                             {Mount: "/", Filesystem: "ext4", Device: "/dev/sda1"},
		"/somewhere/where/nothing/is/x": {Mount: "/", Filesystem: "ext4", Device: "/dev/sda1"},
	} {
		want.Path, want.Total, want.Free = path, 1000, 400
		if d, err := s.Disk(path); err != nil || d != want {
			t.Errorf("%s: %+v (%v), want %+v", path, d, err, want)
		}
	}
	s.Space = func(string) (int64, int64, error) { return 0, 0, errors.New("stale handle") }
	if _, err := s.Disk("/data"); err == nil || !strings.Contains(err.Error(), "the space at /data is not known: stale handle") {
		t.Errorf("%v", err)
	}
	// Of this machine.
	if d, err := (System{}).Disk(t.TempDir()); err != nil || d.Total <= 0 || d.Free < 0 || d.Free > d.Total {
		t.Errorf("%+v (%v)", d, err)
	}
}

func TestWriteSpeed(t *testing.T) {
	dir := t.TempDir()
	if v, err := WriteSpeed(dir, 3<<20+5); err != nil || v <= 0 {
		t.Errorf("%g (%v)", v, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("%v is left (%v)", list, err)
	}
	if v, err := WriteSpeed(filepath.Join(dir, "nowhere"), 1); err == nil || v != 0 {
		t.Errorf("%g (%v)", v, err)
	}
}

const (
	mounts2 = "24 22 0:21 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	mounts1 = "32 31 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n34 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)

func TestCgroup(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  Cgroup
	}{
		"version 2, the limit of a group around it": {map[string]string{
			"proc/self/cgroup": "0::/kubepods.slice/pod1/app", "proc/self/mountinfo": mounts2,
			"sys/fs/cgroup/kubepods.slice/pod1/memory.max": "8589934592", "sys/fs/cgroup/kubepods.slice/pod1/app/memory.max": "max", "sys/fs/cgroup/kubepods.slice/pod1/app/memory.current": "1073741824",
			"sys/fs/cgroup/kubepods.slice/pod1/cpu.max": "150000 100000", "sys/fs/cgroup/kubepods.slice/pod1/app/cpu.max": "200000 100000", "sys/fs/cgroup/kubepods.slice/pod1/app/cpuset.cpus.effective": "2-3,8",
		}, Cgroup{Version: 2, Path: "/kubepods.slice/pod1/app", MemoryLimit: 8 << 30, MemoryUsed: 1 << 30, CPUs: 1.5, CPUSet: []int{2, 3, 8}, Container: "kubernetes"}},
		"version 2 in a container with a view of its own": {map[string]string{
			"proc/self/cgroup": "0::/", "proc/self/mountinfo": mounts2, ".dockerenv": "",
			"sys/fs/cgroup/memory.max": "4294967296", "sys/fs/cgroup/cpu.max": "max 100000", "sys/fs/cgroup/cpuset.cpus.effective": "0-1",
		}, Cgroup{Version: 2, Path: "/", MemoryLimit: 4 << 30, CPUSet: []int{0, 1}, Container: "docker"}},
		"version 2 whose mount shows a part": {map[string]string{
			"proc/self/cgroup": "0::/docker/0123", "proc/self/mountinfo": strings.Replace(mounts2, "0:21 /", "0:21 /docker/0123", 1),
			"sys/fs/cgroup/memory.max": "1048576",
		}, Cgroup{Version: 2, Path: "/docker/0123", MemoryLimit: 1 << 20, Container: "docker"}},
		"version 1": {map[string]string{
			"proc/self/cgroup": "9:memory:/slurm/uid_1/job_7\n4:cpu,cpuacct:/slurm/uid_1/job_7\n3:cpuset:/slurm/uid_1/job_7\n1:name=systemd:/x\n0::/", "proc/self/mountinfo": mounts1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712", "sys/fs/cgroup/memory/slurm/uid_1/job_7/memory.limit_in_bytes": "2147483648", "sys/fs/cgroup/memory/slurm/uid_1/job_7/memory.usage_in_bytes": "4096",
			"sys/fs/cgroup/cpu,cpuacct/slurm/uid_1/job_7/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu,cpuacct/slurm/uid_1/job_7/cpu.cfs_period_us": "100000",
			"sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us": "400000", "sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us": "100000", "sys/fs/cgroup/cpuset/slurm/uid_1/job_7/cpuset.cpus": "5",
		}, Cgroup{Version: 1, Path: "/slurm/uid_1/job_7", MemoryLimit: 2 << 30, MemoryUsed: 4096, CPUs: 4, CPUSet: []int{5}, Container: "slurm"}},
		"no limits": {map[string]string{"proc/self/cgroup": "0::/user.slice", "proc/self/mountinfo": mounts2, "sys/fs/cgroup/user.slice/memory.max": "max"},
			Cgroup{Version: 2, Path: "/user.slice"}},
	} {
		got, err := system(t, c.files).Cgroup()
		if err != nil || got.Version != c.want.Version || got.Path != c.want.Path || got.MemoryLimit != c.want.MemoryLimit || got.MemoryUsed != c.want.MemoryUsed || got.CPUs != c.want.CPUs || !slices.Equal(got.CPUSet, c.want.CPUSet) || got.Container != c.want.Container {
			t.Errorf("%s: %+v (%v), want %+v", name, got, err, c.want)
		}
	}
	if _, err := system(t, nil).Cgroup(); err == nil {
		t.Error("no control groups, and no error")
	}
}

func TestNetwork(t *testing.T) {
	list, err := system(t, map[string]string{
		"sys/class/infiniband/mlx5_0/ports/1/state": "4: ACTIVE", "sys/class/infiniband/mlx5_0/ports/1/rate": "400 Gb/sec (4X NDR)", "sys/class/infiniband/mlx5_0/ports/1/link_layer": "InfiniBand", "sys/class/infiniband/mlx5_0/device/driver": "->../../mlx5_core",
		"sys/class/infiniband/mlx5_1/ports/1/state": "1: DOWN", "sys/class/infiniband/mlx5_1/ports/1/rate": "25 Gb/sec (1X EDR)", "sys/class/infiniband/mlx5_1/ports/1/link_layer": "Ethernet",
		"sys/class/net/lo/type": "772", "sys/class/net/lo/operstate": "unknown",
		"sys/class/net/eno1/type": "1", "sys/class/net/eno1/operstate": "up", "sys/class/net/eno1/speed": "10000", "sys/class/net/eno1/device/driver": "->../../ixgbe",
		"sys/class/net/eno2/type": "1", "sys/class/net/eno2/operstate": "down", "sys/class/net/eno2/speed": "-1", "sys/class/net/eno2/device/vendor": "0x8086",
		"sys/class/net/docker0/type": "1", "sys/class/net/docker0/operstate": "up", "sys/class/net/docker0/speed": "10000",
		"sys/class/net/wlan0/type": "1", "sys/class/net/wlan0/operstate": "up", "sys/class/net/wlan0/wireless/x": "", "sys/class/net/ib0/type": "32", "sys/class/net/ib0/operstate": "up",
		"sys/class/net/bonding_masters": "",
	}).Network()
	want := []Link{
		{Name: "mlx5_0/1", Kind: "infiniband", Driver: "mlx5_core", State: "active", Up: true, Rate: 400e9, Detail: "400 Gb/sec (4X NDR)"},
		{Name: "mlx5_1/1", Kind: "roce", State: "down", Rate: 25e9, Detail: "25 Gb/sec (1X EDR)"},
		{Name: "docker0", Kind: "virtual", State: "up", Up: true, Rate: 10e9},
		{Name: "eno1", Kind: "ethernet", Driver: "ixgbe", State: "up", Up: true, Rate: 10e9},
		{Name: "eno2", Kind: "ethernet", State: "down"},
		{Name: "ib0", Kind: "ipoib", State: "up", Up: true},
		{Name: "wlan0", Kind: "wireless", State: "up", Up: true},
	}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v (%v)", list, err)
	}
}

func TestClock(t *testing.T) {
	s := system(t, map[string]string{"etc/localtime": "->/usr/share/zoneinfo/Europe/Paris"})
	c := s.Clock()
	if c.Zone != "Europe/Paris" || c.Synchronised || c.Why == "" {
		t.Errorf("%+v", c)
	}
	s.Synchronised = func() (bool, error) { return true, nil }
	if c := s.Clock(); !c.Synchronised || c.Why != "" || time.Since(c.Now) > time.Minute {
		t.Errorf("%+v", c)
	}
	if c := system(t, map[string]string{"etc/timezone": "Asia/Tokyo"}).Clock(); c.Zone != "Asia/Tokyo" {
		t.Errorf("%+v", c)
	}
	if c := (System{}).Clock(); runtime.GOOS == "linux" && c.Why != "" {
		t.Errorf("%+v", c)
	}
}

// A card of NVIDIA's with its driver, one without, one of AMD's behind its switch, and what a
// server has for its console.
func TestGPUs(t *testing.T) {
	const bus = "sys/bus/pci/devices/"
	files := map[string]string{
		bus + "0000:00:1f.0/class": "0x060100",
		"usr/share/misc/pci.ids":   "# list\n1002  AMD\n\t1111  other\n10de  NVIDIA Corporation\n\t2206  GA102 [GeForce RTX 3080]\n\t\t10de 1467  GA102 Founders\n\t2230  GA102GL [RTX A6000]\n1a03  ASPEED Technology, Inc.\n",
	}
	card := func(pci string, values ...string) {
		for i, name := range []string{"vendor", "device", "class", "current_link_speed", "current_link_width", "max_link_speed", "max_link_width", "numa_node"} {
			if values[i] != "" {
				files[bus+pci+"/"+name] = values[i]
			}
		}
	}
	card("0000:3b:00.0", "0x10de", "0x2206", "0x030000", "2.5 GT/s PCIe", "8", "16.0 GT/s PCIe", "16", "1")
	files[bus+"0000:3b:00.0/driver"], files[bus+"0000:3b:00.0/drm/card1/dev"], files[bus+"0000:3b:00.0/drm/card1-HDMI-A-1/status"], files[bus+"0000:3b:00.0/revision"] = "->../../../drivers/nvidia", "226:1", "x", "0xa1"
	card("0000:5e:00.0", "0x10de", "0x9999", "0x030200", "Unknown", "63", "Unknown", "255", "-1")
	card("0000:03:00.0", "0x1a03", "0x2000", "0x030000", "", "", "", "", "")
	card("0000:09:00.0", "0x1002", "0x74a1", "0x120000", "32.0 GT/s PCIe", "16", "32.0 GT/s PCIe", "16", "0")
	list, err := system(t, files).GPUs()
	want := []GPU{
		{PCI: "0000:03:00.0", VendorID: 0x1a03, DeviceID: 0x2000, Vendor: "aspeed", Class: 0x030000, NUMA: -1},
		{PCI: "0000:09:00.0", VendorID: 0x1002, DeviceID: 0x74a1, Vendor: "amd", Model: "AMD Instinct MI300X", Class: 0x120000, PCILink: PCILink{32, 32, 16, 16}},
		{PCI: "0000:3b:00.0", VendorID: 0x10de, DeviceID: 0x2206, Revision: 0xa1, Vendor: "nvidia", Model: "NVIDIA Corporation GA102 [GeForce RTX 3080]", Class: 0x030000, Driver: "nvidia", Card: "card1", NUMA: 1, PCILink: PCILink{2.5, 16, 8, 16}},
		{PCI: "0000:5e:00.0", VendorID: 0x10de, DeviceID: 0x9999, Vendor: "nvidia", Class: 0x030200, NUMA: -1, PCILink: PCILink{Width: 63}},
	}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v (%v)\nwant %+v", list, err, want)
	}
	for speed, generation := range map[float64]int{2.5: 1, 5: 2, 8: 3, 16: 4, 32: 5, 64: 6, 0: 0, 3: 0} {
		if g := Generation(speed); g != generation {
			t.Errorf("%g GT/s is generation %d, want %d", speed, g, generation)
		}
	}
}

func TestNVIDIADriver(t *testing.T) {
	for text, want := range map[string]string{
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc version 12.2.0":                        "550.54.15",
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22)  Sun Jul 27 07:15:47 UTC 2025\nGCC version:": "580.65.06",
		"NVRM version: NVIDIA UNIX aarch64 Kernel Module  535.183.01  Sun May 12 19:37:02 UTC 2024":                                                        "535.183.01",
	} {
		if v, err := system(t, map[string]string{"proc/driver/nvidia/version": text}).NVIDIADriver(); err != nil || v != want {
			t.Errorf("%q (%v), want %s", v, err, want)
		}
	}
	for _, files := range []map[string]string{nil, {"proc/driver/nvidia/version": "something else"}} {
		if v, err := system(t, files).NVIDIADriver(); err == nil || v != "" {
			t.Errorf("%q (%v)", v, err)
		}
	}
}

func TestXIDs(t *testing.T) {
	list, err := system(t, map[string]string{"dev/kmsg": "6,1,1000,-;Linux version 6.1\n4,900,90000000,-;NVRM: Xid (PCI:0000:3B:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n SUBSYSTEM=pci\n4,901,90500000,-,caller=T1;NVRM: Xid (PCI:0000:5e:00): 31, pid=4711, name=sinter, Ch 00000008\n4,902,91000000,-;NVRM: Xid (PCI:0000:5e:00): 13"}).XIDs()
	want := []XID{
		{Number: 79, PCI: "0000:3b:00", Since: 90 * time.Second, Text: "pid='<unknown>', name=<unknown>, GPU has fallen off the bus."},
		{Number: 31, PCI: "0000:5e:00", Since: 90500 * time.Millisecond, Text: "pid=4711, name=sinter, Ch 00000008"},
		{Number: 13, PCI: "0000:5e:00", Since: 91 * time.Second},
	}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v (%v)", list, err)
	}
	if _, err := system(t, nil).XIDs(); err == nil || !strings.Contains(err.Error(), "the kernel's log is not known: there is no file") {
		t.Errorf("%v", err)
	}
}

func TestVirtual(t *testing.T) {
	cpu := func(flags string) map[string]string {
		return map[string]string{"proc/cpuinfo": "processor\t: 0\nflags\t\t: lm avx2 " + flags}
	}
	dmi := func(files map[string]string, vendor, product string) map[string]string {
		files = maps.Clone(files)
		files["sys/class/dmi/id/sys_vendor"], files["sys/class/dmi/id/product_name"] = vendor, product
		return files
	}
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{cpu(""), ""}, {cpu("hypervisor"), "unknown"}, {dmi(cpu("hypervisor"), "QEMU", "Standard PC (Q35 + ICH9, 2009)"), "kvm"}, {dmi(cpu("hypervisor"), "Amazon EC2", "p5.48xlarge"), "amazon"}, {dmi(cpu(""), "Dell Inc.", "PowerEdge XE9680"), ""},
		{dmi(cpu("hypervisor"), "Microsoft Corporation", "Virtual Machine"), "hyper-v"}, {dmi(cpu("hypervisor"), "VMware, Inc.", "VMware7,1"), "vmware"}, {dmi(cpu("hypervisor"), "Google", "Google Compute Engine"), "google"},
		{map[string]string{"proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2"}, "wsl"},
	} {
		if v, err := system(t, c.files).Virtual(); err != nil || v != c.want {
			t.Errorf("%v: %q (%v), want %q", c.files, v, err, c.want)
		}
	}
	if _, err := system(t, nil).Virtual(); err == nil {
		t.Error("nothing is known, and no error")
	}
	name, kernel := system(t, map[string]string{"etc/os-release": "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n", "proc/sys/kernel/osrelease": "6.1.0-18-amd64"}).OS()
	if name != "Debian GNU/Linux 12 (bookworm)" || kernel != "6.1.0-18-amd64" {
		t.Errorf("%q, %q", name, kernel)
	}
}

// This machine tells something of itself, whatever it is.
func TestThisMachine(t *testing.T) {
	var s System
	c, err := s.CPU()
	if runtime.GOOS == "linux" && err != nil || c.Usable < 1 || c.Threads < 1 || c.Usable > c.Threads {
		t.Errorf("%+v (%v)", c, err)
	}
	if m, err := s.Memory(); m.Total <= 0 || runtime.GOOS == "linux" && (err != nil || m.Available <= 0) {
		t.Errorf("%+v (%v)", m, err)
	}
	if _, err := s.Network(); err != nil {
		t.Error(err)
	}
	t.Log(s.Cgroup())
	t.Log(s.Clock())
	t.Log(s.GPUs())
	t.Log(s.XIDs())
	t.Log(s.Virtual())
	t.Log(s.OS())
}
