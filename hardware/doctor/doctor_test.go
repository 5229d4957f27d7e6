package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/hardware/telemetry/telemetrytest"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// box is a machine that a test makes up: the files in which Linux would describe it, its cards,
// and what its drivers answer. It begins as one with which nothing is wrong, a container on a
// server with two A100, and a test breaks something.
type box struct {
	t         *testing.T
	root      string
	options   Options
	inventory Inventory
	cards     []telemetry.Reading
	total     map[string][2]int64 // of file systems, by the end of their path: bytes, free bytes
	env       map[string]string
	refused   []string // device files that this user may not open
	trials    map[string]Trial
	broken    map[string]error // what trying a device fails with
	rate      float64          // bytes/s that the disk writes
	unwritten error
	now       time.Time
	zone      error
	synced    bool
	installed []find.Library
	hangs     <-chan struct{} // what the file systems wait for
	telemetry bool            // the cards are read by package telemetry, and are not the list
}

const cpuinfo = `processor	: %d
vendor_id	: AuthenticAMD
model name	: AMD EPYC 7763 64-Core Processor
physical id	: 0
core id		: %d
flags		: fpu lm avx avx2 fma f16c%s

`

const limits = `Limit                     Soft Limit           Hard Limit           Units
Max open files            %s              %s              files
Max locked memory         %s            %s            bytes
`

const mountinfo = `22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw
23 22 0:22 / /dev/shm rw - tmpfs tmpfs rw
24 22 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup rw
`

const kernelModule = `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
`

func newBox(t *testing.T) *box {
	b := &box{
		t: t, root: t.TempDir(), env: map[string]string{}, trials: map[string]Trial{}, broken: map[string]error{}, rate: 900e6,
		now: time.Date(2026, 5, 4, 12, 30, 0, 0, time.UTC), synced: true,
		total: map[string][2]int64{"": {500e9, 300e9}, "/dev/shm": {32e9, 32e9}},
	}
	b.processors(8, " avx512f avx512bw avx512dq avx512vl")
	b.file("proc/meminfo", "MemTotal: 65806000 kB\nMemAvailable: 61000000 kB\nSwapTotal: 8000000 kB\nSwapFree: 8000000 kB\n")
	b.file("proc/self/status", "Cpus_allowed_list:\t0-7\n")
	b.file("proc/self/mountinfo", mountinfo)
	b.file("proc/self/cgroup", "0::/\n")
	b.file("proc/self/limits", fmt.Sprintf(limits, "1024", "1048576", "unlimited", "unlimited"))
	b.file("sys/fs/cgroup/memory.max", "34359738368")
	b.file("sys/fs/cgroup/memory.current", "1073741824")
	b.file("sys/fs/cgroup/cpu.max", "600000 100000")
	b.file(".dockerenv", "")
	b.file("proc/driver/nvidia/version", kernelModule)
	b.file("dev/kmsg", "6,812,4711,-;nvidia-nvlink: Nvlink Core is being initialized\n")
	for _, node := range []string{"nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "shm/x"} {
		b.file("dev/"+node, "")
	}
	b.pci("0000:3b:00.0", "0x030200", "0x10de", "0x20b2", "nvidia")
	b.pci("0000:86:00.0", "0x030200", "0x10de", "0x20b2", "nvidia")
	b.file("sys/class/net/eth0/type", "1")
	b.file("sys/class/net/eth0/operstate", "up")
	b.file("sys/class/net/eth0/speed", "25000")
	b.file("sys/class/net/eth0/device/vendor", "0x15b3")
	b.file("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE")
	b.file("sys/class/infiniband/mlx5_0/ports/1/rate", "200 Gb/sec (4X HDR)")
	b.file("sys/class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand")
	b.link("etc/localtime", "/usr/share/zoneinfo/Europe/Paris")

	library := func(name, path, version string) sinter.DeviceLibrary {
		return sinter.DeviceLibrary{Name: name, Path: path, Version: version, Brings: "does something for NVIDIA's devices"}
	}
	b.inventory = Inventory{
		Threads: 6, Absent: map[string]string{"opencl": "there is no OpenCL loader"},
		Libraries: map[string][]sinter.DeviceLibrary{"cuda": {
			library("the NVIDIA driver", "/usr/lib/x86_64-linux-gnu/libcuda.so.1", "580.95.05"),
			library("NVRTC", "/usr/local/cuda/lib64/libnvrtc.so.13", "13.0.88"),
			library("cuBLASLt", "/usr/local/cuda/lib64/libcublasLt.so.13", "13.1.0.3"),
			library("cuDNN", "/usr/lib/x86_64-linux-gnu/libcudnn.so.9", "9.14.0"),
			library("NVML", "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "580.95.05"),
		}, "opencl": {
			{Name: "the OpenCL loader", Brings: "makes devices of OpenCL usable", Remedy: "apt install ocl-icd-libopencl1"},
		}},
	}
	for i, uuid := range []string{"GPU-a", "GPU-b"} {
		b.inventory.Devices = append(b.inventory.Devices, sinter.DeviceInfo{Name: fmt.Sprintf("cuda:%d", i), Aliases: []string{"cuda:" + uuid}, Backend: "cuda", Kind: "gpu",
			Model: "NVIDIA A100-SXM4-80GB", Version: "8.0", Driver: "580.95.05, CUDA 13.0", Total: 80 << 30, Free: 79 << 30})
		r := telemetrytest.GPU(uuid, 62)
		r.Model, r.Capability, r.PCI, r.Persistence, r.MIG, r.ECC = "NVIDIA A100-SXM4-80GB", 80, []string{"0000:3b:00.0", "0000:86:00.0"}[i], "on", "off", "on"
		for v, x := range map[*telemetry.Value]float64{
			&r.MemoryTotal: 80 << 30, &r.MemoryUsed: 500 << 20, &r.MemoryFree: 79 << 30, &r.PowerLimit: 400, &r.PowerDefault: 400, &r.PowerMin: 100, &r.PowerMax: 400,
			&r.Temperature: 41, &r.MemoryTemperature: 45, &r.SlowdownTemperature: 92, &r.ECCCorrected: 2, &r.ECCUncorrected: 0, &r.PCIeGeneration: 1, &r.Utilization: 0,
		} {
			*v = telemetry.Known(x)
		}
		b.cards = append(b.cards, r)
	}
	b.inventory.Devices = append(b.inventory.Devices, sinter.DeviceInfo{Name: "cpu", Backend: "cpu", Kind: "cpu", Model: "AMD EPYC 7763", Version: "avx512"})
	for _, d := range b.inventory.Devices {
		b.trials[d.Name] = Trial{First: 0.21, Again: 45e-6}
	}
	dir := t.TempDir()
	b.options.Folders = []Folder{{"current folder", dir}, {"runs", filepath.Join(dir, "runs")}}
	return b
}

func (b *box) file(name, text string) {
	b.t.Helper()
	name = filepath.Join(b.root, filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(text), 0o666)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) link(name, to string) {
	b.t.Helper()
	name = filepath.Join(b.root, filepath.FromSlash(name))
	os.Remove(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.Symlink(to, name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) remove(names ...string) {
	b.t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(b.root, filepath.FromSlash(name))); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *box) processors(n int, more string) {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, cpuinfo, i, i, more)
	}
	b.file("proc/cpuinfo", text.String())
}

func (b *box) pci(address, class, vendor, device, driver string) {
	dir := "sys/bus/pci/devices/" + address + "/"
	for name, text := range map[string]string{
		"class": class, "vendor": vendor, "device": device, "current_link_speed": "2.5 GT/s PCIe", "max_link_speed": "16.0 GT/s PCIe", "current_link_width": "16", "max_link_width": "16",
	} {
		b.file(dir+name, text)
	}
	b.remove(dir + "driver")
	if driver != "" {
		b.link(dir+"driver", "../../../../bus/pci/drivers/"+driver)
	}
}

// noCards takes the cards out, and all that comes with them.
func (b *box) noCards() {
	b.remove("sys/bus/pci/devices/0000:3b:00.0", "sys/bus/pci/devices/0000:86:00.0", "proc/driver/nvidia", "dev/nvidia0", "dev/nvidia1", "dev/nvidiactl", "dev/nvidia-uvm")
	b.cards = nil
	b.inventory.Devices = b.inventory.Devices[2:]
	b.inventory.Absent["cuda"] = "no NVIDIA driver"
}

// unreached is a driver that shows no device.
func (b *box) unreached(why string) {
	b.inventory.Devices = b.inventory.Devices[2:]
	b.inventory.Absent["cuda"] = why
}

// amd has an RX 6800 XT instead of the cards.
func (b *box) amd() {
	b.noCards()
	b.pci("0000:0b:00.0", "0x030000", "0x1002", "0x73bf", "amdgpu")
	b.file("sys/bus/pci/devices/0000:0b:00.0/revision", "0xc1")
	b.file("dev/kfd", "")
	b.file("dev/dri/renderD128", "")
	b.inventory.Libraries["opencl"][0] = sinter.DeviceLibrary{Name: "the OpenCL loader", Path: "/usr/lib/x86_64-linux-gnu/libOpenCL.so.1", Version: "1.0.0", Brings: "makes devices of OpenCL usable"}
	delete(b.inventory.Absent, "opencl")
	b.inventory.Devices = append(b.inventory.Devices, sinter.DeviceInfo{Name: "opencl:0", Backend: "opencl", Kind: "gpu", Model: "AMD Radeon RX 6800 XT", Version: "OpenCL 2.0", Driver: "3590.0"})
	b.trials["opencl:0"] = Trial{First: 0.4, Again: 1e-4}
	r := telemetry.Blank("amdgpu does not tell it")
	r.Model, r.Vendor, r.UUID, r.PCI, r.Source, r.Device = "AMD Radeon RX 6800 XT", "amd", "amd-0000:0b:00.0", "0000:0b:00.0", "amdgpu", "gpu 0"
	r.PowerLimit, r.Temperature = telemetry.Known(255), telemetry.Known(48)
	b.cards = []telemetry.Reading{r}
}

// noOpenCL has no device of OpenCL.
func (b *box) noOpenCL() {
	b.inventory.Devices = b.inventory.Devices[:1]
	b.inventory.Absent["opencl"] = "no platform"
}

// examine runs the checks.
func (b *box) examine() *Report {
	o := b.options
	o.System = hardware.System{
		Root: b.root,
		Space: func(path string) (total, free int64, err error) {
			if b.hangs != nil {
				<-b.hangs
			}
			best := ""
			for end := range b.total {
				if strings.HasSuffix(path, end) && len(end) > len(best) {
					best = end
				}
			}
			return b.total[best][0], b.total[best][1], nil
		},
		Synchronised: func() (bool, error) { return b.synced, nil },
	}
	if o.Sources == nil && !b.telemetry {
		o.Sources = []telemetry.Source{telemetrytest.New(b.cards...)}
	}
	if o.Inventory == nil {
		o.Inventory = func(context.Context) (Inventory, error) { return b.inventory, nil }
	}
	if o.Try == nil {
		o.Try = func(_ context.Context, device string) (Trial, error) { return b.trials[device], b.broken[device] }
	}
	o.probes = probes{
		getenv: func(name string) string { return b.env[name] },
		access: func(path string) error {
			for _, r := range b.refused {
				if strings.HasSuffix(path, r) {
					return fs.ErrPermission
				}
			}
			_, err := os.Stat(path)
			return err
		},
		write:     func(string) (float64, error) { return b.rate, b.unwritten },
		installed: func() []find.Library { return b.installed },
		zone:      func(string) error { return b.zone },
		now:       func() time.Time { return b.now },
	}
	return Run(context.Background(), o)
}

// wants is what a finding has to be.
type wants struct {
	check, subject string
	verdict        Verdict
	evidence       string // parts, with a * between them
	remedy         string
}

func contains(text, parts string) bool {
	for part := range strings.SplitSeq(parts, "*") {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

func (w *wants) expect(t *testing.T, r *Report) {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Check == w.check && f.Subject == w.subject })
	if i < 0 {
		i = slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Check == w.check })
		t.Fatalf("%s has no finding on %q, but %+v", w.check, w.subject, r.Findings[i])
	}
	if f := r.Findings[i]; f.Verdict != w.verdict || !contains(f.Evidence, w.evidence) || !contains(f.Remedy, w.remedy) {
		t.Errorf("%s: found\n  %s: %s\n  remedy: %s\nexpected\n  %s: %s\n  remedy: %s", w.check, f.Verdict, f.Evidence, f.Remedy, w.verdict, w.evidence, w.remedy)
	}
}

// cases is what is said of the machine with which nothing is wrong, and of each that is broken
// in one way.
var cases = []struct {
	name  string
	broke func(*box)
	wants wants
}{
	{"healthy", nil, wants{"processor.features", "", OK, "AMD EPYC 7763*avx512*f16c", ""}},
	{"level lowered", func(b *box) { b.env["SINTER_CPU"] = "avx2"; b.inventory.Devices[2].Version = "avx2" }, wants{"processor.features", "", Warning, "SINTER_CPU=avx2 keeps programs from avx512", "unset SINTER_CPU"}},
	{"level unknown", func(b *box) { b.env["SINTER_CPU"] = "avx9" }, wants{"processor.features", "", Warning, "SINTER_CPU=avx9 is no instruction set of this processor; avx512", "set it to avx512"}},
	{"no AVX2", func(b *box) {
		b.file("proc/cpuinfo", "processor : 0\nmodel name : QEMU Virtual CPU version 2.5+\nflags : fpu lm sse2\n")
		b.inventory.Devices[2].Version = "generic"
	}, wants{"processor.features", "", Warning, "QEMU Virtual CPU*no AVX2", "-cpu host"}},
	{"arm64", func(b *box) {
		b.file("proc/cpuinfo", "processor : 0\nFeatures : fp asimd sve bf16\nCPU implementer : 0x41\nCPU part : 0xd4f\n")
		b.inventory.Devices[2].Version = "neon"
	}, wants{"processor.features", "", OK, "Neoverse V2: neon*sve bf16", ""}},

	{"healthy", nil, wants{"processor.code", "", OK, "compiled while", ""}},
	{"no executable memory", func(b *box) {
		b.inventory.Code = "native: the system refuses memory for machine code: permission denied"
	}, wants{"processor.code", "", Warning, "permission denied*slower", "setsebool deny_execmem off*MemoryDenyWriteExecute=no"}},
	{"nonative", func(b *box) { b.inventory.Code = "SINTER_DEBUG has the word nonative" }, wants{"processor.code", "", Warning, "nonative", "out of SINTER_DEBUG"}},
	{"no machine code here", func(b *box) { b.inventory.Code = notHere }, wants{"processor.code", "", Skipped, "on Linux on amd64 only", ""}},

	{"healthy", nil, wants{"processor.cores", "", OK, "8 cores, 8 threads, 6 in use", ""}},
	{"one processor", func(b *box) { b.processors(1, ""); b.file("proc/self/status", "Cpus_allowed_list:\t0\n") }, wants{"processor.cores", "", Warning, "1 core, 1 thread*share one", "two processors"}},
	{"threads", func(b *box) { b.env["SINTER_THREADS"] = "2"; b.inventory.Threads = 2 }, wants{"processor.cores", "", Warning, "SINTER_THREADS=2 leaves 6 of 8 idle", "unset SINTER_THREADS"}},
	{"threads are no number", func(b *box) { b.env["SINTER_THREADS"] = "all" }, wants{"processor.cores", "", Warning, "SINTER_THREADS=all is no number", "a number"}},

	{"healthy", nil, wants{"memory.total", "", OK, "67.4 GB", ""}},
	{"4 GB", func(b *box) { b.file("proc/meminfo", "MemTotal: 3906250 kB\nMemAvailable: 3500000 kB\n") }, wants{"memory.total", "", Failure, "4.0 GB, and 8 GB are the least", "sinter plan"}},
	{"sold as 8 GB", func(b *box) { b.file("proc/meminfo", "MemTotal: 7864320 kB\nMemAvailable: 7000000 kB\n") }, wants{"memory.total", "", OK, "8.1 GB", ""}},

	{"healthy", nil, wants{"memory.available", "", OK, "62.5 GB of 67.4 GB", ""}},
	{"memory is taken", func(b *box) { b.file("proc/meminfo", "MemTotal: 65806000 kB\nMemAvailable: 800000 kB\n") }, wants{"memory.available", "", Warning, "819 MB of 67.4 GB", "ps aux --sort=-rss"}},
	{"memory is swapped", func(b *box) {
		b.file("proc/meminfo", "MemTotal: 65806000 kB\nMemAvailable: 30000000 kB\nSwapTotal: 65000000 kB\nSwapFree: 1000000 kB\n")
	}, wants{"memory.available", "", Warning, "65.5 GB are swapped out", "ps aux"}},

	{"healthy", nil, wants{"memory.shared", "", OK, "32.0 GB", ""}},
	{"Docker's /dev/shm", func(b *box) { b.total["/dev/shm"] = [2]int64{67108864, 67108864} }, wants{"memory.shared", "", Warning, "67 MB*2 cards", "--shm-size=8g"}},
	{"a small /dev/shm", func(b *box) {
		b.total["/dev/shm"] = [2]int64{67108864, 67108864}
		b.remove(".dockerenv")
	}, wants{"memory.shared", "", Warning, "67 MB", "mount -o remount,size=8G /dev/shm"}},

	{"healthy", nil, wants{"storage.space", "current folder, runs", OK, "300 GB free of 500 GB on / (ext4)", ""}},
	{"a full disk", func(b *box) { b.total[""] = [2]int64{500e9, 40e6} }, wants{"storage.space", "current folder, runs", Failure, "40 MB free of 500 GB", "du -xh"}},
	{"a disk that is nearly full", func(b *box) { b.total[""] = [2]int64{500e9, 6e9} }, wants{"storage.space", "current folder, runs", Warning, "6.0 GB free", "make room"}},

	{"a file system that hangs", func(b *box) {
		b.options.Limit = 20 * time.Millisecond
		b.hangs = b.t.Context().Done()
	}, wants{"storage.space", "", Failure, "no answer from the file systems", "findmnt"}},

	{"healthy", nil, wants{"storage.speed", "current folder", OK, "900 MB/s", ""}},
	{"a slow disk", func(b *box) { b.rate = 8e6 }, wants{"storage.speed", "current folder", Warning, "8.0 MB/s*125 s", "faster disk"}},
	{"a disk that is read-only", func(b *box) {
		b.unwritten = &fs.PathError{Op: "open", Path: "x", Err: errors.New("read-only file system")}
	}, wants{"storage.speed", "current folder", Failure, "cannot be written to: read-only file system", "writable"}},

	{"healthy", nil, wants{"devices.cards", "0000:3b:00.0", OK, "NVIDIA 10de:20b2, driver nvidia", ""}},
	{"nouveau", func(b *box) { b.pci("0000:3b:00.0", "0x030200", "0x10de", "0x20b2", "nouveau") }, wants{"devices.cards", "0000:3b:00.0", Failure, "nouveau, which cannot compute", "apt install nvidia-driver*keeps nouveau"}},
	{"no driver", func(b *box) {
		b.pci("0000:3b:00.0", "0x030200", "0x10de", "0x20b2", "")
		b.file("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\x06\x00\x00\x00\x01")
	}, wants{"devices.cards", "0000:3b:00.0", Failure, "no driver has it", "nvidia-driver*Secure Boot is on*mokutil"}},
	{"passed through", func(b *box) { b.pci("0000:86:00.0", "0x030200", "0x10de", "0x20b2", "vfio-pci") }, wants{"devices.cards", "0000:86:00.0", Warning, "kept by vfio-pci", "driverctl unset-override 0000:86:00.0"}},
	{"radeon", func(b *box) { b.amd(); b.pci("0000:0b:00.0", "0x030000", "0x1002", "0x6798", "radeon") }, wants{"devices.cards", "0000:0b:00.0", Failure, "old driver radeon", "amdgpu.si_support=1"}},
	{"an AMD card without driver", func(b *box) { b.amd(); b.remove("sys/bus/pci/devices/0000:0b:00.0/driver") }, wants{"devices.cards", "0000:0b:00.0", Failure, "AMD Radeon RX 6800 XT is there, and no driver", "modprobe amdgpu"}},
	{"no card", (*box).noCards, wants{"devices.cards", "", Skipped, "no graphics card; training runs on the processor", ""}},
	{"a processor's graphics unit without driver", func(b *box) { b.noCards(); b.pci("0000:00:02.0", "0x030000", "0x8086", "0x9bc5", "") }, wants{"devices.cards", "0000:00:02.0", Skipped, "Intel 8086:9bc5 is there, and no driver has it; it is part of the processor", ""}},
	{"some card of AMD's without driver", func(b *box) { b.noCards(); b.pci("0000:0b:00.0", "0x030000", "0x1002", "0x1638", "") }, wants{"devices.cards", "0000:0b:00.0", Warning, "AMD 1002:1638 is there", "modprobe amdgpu"}},
	{"a server's console", func(b *box) { b.noCards(); b.pci("0000:03:00.0", "0x030000", "0x1a03", "0x2000", "ast") }, wants{"devices.cards", "", Skipped, "no graphics card", ""}},
	{"WSL", func(b *box) { d := b.inventory.Devices; b.noCards(); b.inventory.Devices = d }, wants{"devices.cards", "", OK, "none on the PCI bus; drivers have cuda:0", ""}},

	{"healthy", nil, wants{"devices.driver", "nvidia", OK, "580.95.05", ""}},
	{"a container without --gpus", func(b *box) {
		b.unreached("no device")
		b.remove("dev/nvidia0", "dev/nvidia1", "dev/nvidiactl", "dev/nvidia-uvm")
	}, wants{"devices.driver", "nvidia", Failure, "host has driver 580.95.05*container (docker) has no /dev/nvidiactl, /dev/nvidia-uvm, /dev/nvidia0", "docker run --gpus all"}},
	{"no device files", func(b *box) { b.unreached("no device"); b.remove("dev/nvidia-uvm", ".dockerenv") }, wants{"devices.driver", "nvidia", Failure, "no /dev/nvidia-uvm", "nvidia-modprobe -c0 -u"}},
	{"no permission", func(b *box) { b.unreached("no device"); b.refused = []string{"/dev/nvidia0"} }, wants{"devices.driver", "nvidia", Failure, "may not open /dev/nvidia0", "usermod -aG"}},
	{"no module", func(b *box) { b.remove("proc/driver/nvidia") }, wants{"devices.driver", "nvidia", Failure, "NVIDIA's driver", "modprobe nvidia*dkms"}},
	{"module and library differ", func(b *box) { b.unreached("no device"); b.inventory.Libraries["cuda"][0].Version = "575.57.08" }, wants{"devices.driver", "nvidia", Failure, "kernel has driver 580.95.05*libcuda.so.1 is of 575.57.08", "restart the machine"}},
	{"no libcuda", func(b *box) {
		b.unreached("no device")
		b.inventory.Libraries["cuda"][0].Path = ""
		b.remove(".dockerenv")
	}, wants{"devices.driver", "nvidia", Failure, "no libcuda.so.1", "libnvidia-compute-580"}},
	{"a container without libcuda", func(b *box) { b.unreached("no device"); b.inventory.Libraries["cuda"][0].Path = "" }, wants{"devices.driver", "nvidia", Failure, "container (docker) has no libcuda", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"}},
	{"hidden", func(b *box) {
		b.env["CUDA_VISIBLE_DEVICES"] = "-1"
		b.unreached("the NVIDIA driver lists no device; look at CUDA_VISIBLE_DEVICES")
	}, wants{"devices.driver", "nvidia", Failure, "lists no device", "CUDA_VISIBLE_DEVICES=-1 hides the cards: unset it"}},
	{"some device files are another job's", func(b *box) { b.refused = []string{"/dev/nvidia1"} }, wants{"devices.driver", "nvidia", OK, "580.95.05", ""}},
	{"libcuda for a later CUDA", func(b *box) { b.inventory.Libraries["cuda"][0].Version = "590.10" }, wants{"devices.driver", "nvidia", OK, "580.95.05, with libcuda of 590.10", ""}},
	{"devices that cannot be used", func(b *box) {
		for i := range 2 {
			b.inventory.Devices[i].Problem, b.inventory.Devices[i].Remedy = "there is nothing to compile kernels with", "pip install nvidia-cuda-nvrtc"
		}
	}, wants{"devices.driver", "nvidia", OK, "580.95.05; why its devices cannot be used", ""}},
	{"the driver crashes", func(b *box) {
		b.options.Inventory = func(context.Context) (Inventory, error) {
			return Inventory{}, errors.New("the process that asked the driver ended with signal 11 (segmentation fault)")
		}
	}, wants{"devices.driver", "", Failure, "signal 11", "dmesg"}},
	{"AMD", (*box).amd, wants{"devices.driver", "amd", OK, "opencl:0 by OpenCL: 3590.0", ""}},
	{"AMD without OpenCL", func(b *box) {
		b.amd()
		b.noOpenCL()
	}, wants{"devices.driver", "amd", Failure, "no OpenCL driver for it (no platform)", "mesa-opencl-icd"}},
	{"AMD without permission", func(b *box) { b.amd(); b.noOpenCL(); b.refused = []string{"/dev/kfd", "/dev/dri/renderD128"} }, wants{"devices.driver", "amd", Failure, "may not open /dev/dri/renderD128, /dev/kfd", "usermod -aG render,video"}},
	{"a processor's graphics unit", func(b *box) { b.noCards(); b.pci("0000:00:02.0", "0x030000", "0x8086", "0x9bc5", "i915") }, wants{"devices.driver", "intel", Skipped, "part of the processor", ""}},
	{"an Arc without OpenCL", func(b *box) {
		b.noCards()
		b.pci("0000:03:00.0", "0x030000", "0x8086", "0x56a0", "xe")
		b.file("dev/dri/renderD128", "")
	}, wants{"devices.driver", "intel", Failure, "no OpenCL driver", "intel-opencl-icd"}},
	{"an AMD processor's graphics unit beside NVIDIA", func(b *box) { b.pci("0000:0b:00.0", "0x030000", "0x1002", "0x1638", "amdgpu") }, wants{"devices.driver", "amd", Skipped, "card of NVIDIA's to train on", ""}},
	{"a container without AMD's cards", func(b *box) { b.amd(); b.noOpenCL(); b.remove("dev/kfd", "dev/dri") }, wants{"devices.driver", "amd", Failure, "has no /dev/dri/renderD*", "--device /dev/kfd --device /dev/dri"}},
	{"built without GPUs", func(b *box) {
		b.inventory.Absent["cuda"] = "this program was built without GPUs (-tags nogpu); build it without that tag"
	}, wants{"devices.driver", "", Warning, "built without GPUs", "go install"}},

	{"healthy", nil, wants{"devices.compatibility", "cuda:0", OK, "driver 580.95.05, CUDA 13.0.88, cuDNN 9.14.0 and compute capability 8.0 suit each other", ""}},
	{"a V100 with CUDA 13", func(b *box) {
		b.v100()
		b.inventory.Libraries["cuda"][1] = sinter.DeviceLibrary{Name: "NVRTC", Problem: "/usr/local/cuda has that of CUDA 13, but a device of compute capability 7.0 ends with CUDA 12.9", Brings: "compiles kernels"}
		b.installed = []find.Library{{Name: find.NVRTC, Path: "/usr/local/cuda/lib64/libnvrtc.so.13", Version: "13.0.88"}}
	}, wants{"devices.compatibility", "cuda:0", Failure, "CUDA 13.0.88*capability 7.0*12.9", "nvidia-cuda-nvrtc-cu12"}},
	{"a V100 with cuDNN 9.14", func(b *box) { b.v100(); b.inventory.Libraries["cuda"][1].Version = "12.9.86" }, wants{"devices.compatibility", "cuda:0", Failure, "cuDNN 9.14", `nvidia-cudnn-cu12<9.11`}},
	{"a driver too old for CUDA 13", func(b *box) {
		b.file("proc/driver/nvidia/version", strings.ReplaceAll(kernelModule, "580.95.05", "550.54.15"))
	}, wants{"devices.compatibility", "cuda:0", Failure, "CUDA 13*580*550.54.15", "install driver 580"}},
	{"a card that is in no catalogue", func(b *box) { b.cards[0].Model, b.cards[1].Model = "NVIDIA X1", "NVIDIA X1" }, wants{"devices.compatibility", "cuda:0", Skipped, "NVIDIA X1 is not in the catalogue", ""}},

	{"healthy", nil, wants{"devices.libraries", "NVRTC", OK, "13.0.88 /usr/local/cuda/lib64/libnvrtc.so.13", ""}},
	{"no cuDNN", func(b *box) {
		b.inventory.Libraries["cuda"][3] = sinter.DeviceLibrary{Name: "cuDNN", Brings: "has NVIDIA's convolutions", Remedy: "pip install nvidia-cudnn-cu13"}
	}, wants{"devices.libraries", "cuDNN", Warning, "missing; it has NVIDIA's convolutions", "pip install nvidia-cudnn-cu13"}},
	{"no NVRTC", func(b *box) {
		b.inventory.Libraries["cuda"][1] = sinter.DeviceLibrary{Name: "NVRTC", Brings: "compiles kernels", Remedy: "pip install nvidia-cuda-nvrtc"}
	}, wants{"devices.libraries", "NVRTC", Failure, "missing; it compiles kernels", "pip install nvidia-cuda-nvrtc"}},
	{"cuBLASLt broken", func(b *box) { b.inventory.Libraries["cuda"][2].Problem = "file too short" }, wants{"devices.libraries", "cuBLASLt", Warning, "13.1.0.3 /usr/local/cuda/lib64/libcublasLt.so.13 cannot be used: file too short", "install it"}},
	{"AMD without a loader", func(b *box) {
		b.amd()
		b.noOpenCL()
		b.inventory.Libraries["opencl"][0] = sinter.DeviceLibrary{Name: "the OpenCL loader", Brings: "makes devices of OpenCL usable", Remedy: "apt install ocl-icd-libopencl1"}
	}, wants{"devices.libraries", "the OpenCL loader", Failure, "missing; it makes devices", "ocl-icd-libopencl1"}},
	{"of no use", func(b *box) {
		b.noCards()
		b.inventory.Libraries["cuda"][1] = sinter.DeviceLibrary{Name: "NVRTC", Brings: "compiles kernels"}
	}, wants{"devices.libraries", "NVRTC", Skipped, "no card that wants it", ""}},

	{"healthy", nil, wants{"devices.compute", "cuda:1", OK, "right to the last bit: 210 ms with the compiler, then 45 µs", ""}},
	{"wrong results", func(b *box) {
		b.trials["cuda:1"] = Trial{Problem: "element (3, 4) of the product is 17, and -2 is right"}
	}, wants{"devices.compute", "cuda:1", Failure, "computed wrong: element (3, 4)", "dcgmi diag"}},
	{"a processor that computes wrong", func(b *box) { b.trials["cpu"] = Trial{Problem: "sum 4 is 12, and 16 is right"} }, wants{"devices.compute", "cpu", Failure, "sum 4 is 12", "memtest86+"}},
	{"a kernel fails", func(b *box) { b.broken["cuda:0"] = errors.New("CUDA_ERROR_ILLEGAL_ADDRESS") }, wants{"devices.compute", "cuda:0", Failure, "NVIDIA A100-SXM4-80GB: CUDA_ERROR_ILLEGAL_ADDRESS", "dmesg"}},
	{"a device hangs", func(b *box) {
		b.options.TryLimit = 20 * time.Millisecond
		b.options.Try = func(ctx context.Context, device string) (Trial, error) {
			if device == "cuda:1" {
				<-ctx.Done()
				return Trial{}, ctx.Err()
			}
			return b.trials[device], nil
		}
	}, wants{"devices.compute", "cuda:1", Failure, "no answer from cuda:1 within 20ms: it hangs", "restart of the machine*--device cpu"}},
	{"a device that never comes back", func(b *box) {
		b.options.TryLimit = 20 * time.Millisecond
		never := make(chan struct{})
		b.t.Cleanup(func() { close(never) })
		b.options.Try = func(_ context.Context, device string) (Trial, error) {
			if device == "cuda:1" {
				<-never
			}
			return b.trials[device], nil
		}
	}, wants{"devices.compute", "cuda:1", Failure, "no answer from cuda:1", "dmesg"}},
	{"too old a card", func(b *box) {
		d := &b.inventory.Devices[0]
		d.Model, d.Problem, d.Remedy = "Tesla K80", "its compute capability is 3.7, and kernels are for 7.0 and later", "the OpenCL backend may run it"
	}, wants{"devices.compute", "cuda:0", Warning, "Tesla K80*3.7", "OpenCL"}},
	{"nothing but a card that is too old", func(b *box) {
		b.inventory.Devices = b.inventory.Devices[1:]
		d := &b.inventory.Devices[0]
		d.Model, d.Problem, d.Remedy = "Tesla K80", "its compute capability is 3.7, and kernels are for 7.0 and later", "the OpenCL backend may run it"
	}, wants{"devices.compute", "cuda:1", Failure, "Tesla K80*3.7", "OpenCL"}},
	{"a slice of another process", func(b *box) {
		b.inventory.Devices[1].Problem, b.inventory.Devices[1].Remedy = "the driver does not show it to this process", "CUDA_VISIBLE_DEVICES=MIG-x selects it"
	}, wants{"devices.compute", "cuda:1", Skipped, "does not show it*CUDA_VISIBLE_DEVICES=MIG-x", ""}},

	{"healthy", nil, wants{"cards.telemetry", "cuda:0", OK, "NVIDIA A100-SXM4-80GB, 62 W, 41 °C, 0 % busy", ""}},
	{"a lost card", func(b *box) {
		lost := telemetry.Blank("lost")
		lost.Model, lost.Vendor, lost.UUID, lost.Problem = b.cards[0].Model, "nvidia", "GPU-a", "the device is lost: it has fallen off the bus, or has to be reset"
		b.cards[0] = lost
	}, wants{"cards.telemetry", "cuda:0", Failure, "fallen off the bus", "dmesg"}},
	{"telemetry hangs", func(b *box) {
		b.options.Limit = 20 * time.Millisecond
		b.options.Sources = []telemetry.Source{stuck{b.t.Context()}}
	}, wants{"cards.telemetry", "", Failure, "no answer from the telemetry of devices within 20ms", "restart"}},
	{"unsupported", func(b *box) { b.mute() }, wants{"cards.telemetry", "cuda:0", OK, "NVIDIA A100-SXM4-80GB", ""}},

	{"healthy", nil, wants{"cards.link", "cuda:0", OK, "x16, generation 1 at the moment (up to 4 under load)", ""}},
	{"a card that sits badly", func(b *box) { b.cards[0].PCIeWidth = telemetry.Known(8) }, wants{"cards.link", "cuda:0", Warning, "x8*can do x16*50 %", "reseat"}},
	{"a small slot", func(b *box) { b.cards[1].PCIeWidth, b.cards[1].PCIeWidthMax = telemetry.Known(4), telemetry.Known(4) }, wants{"cards.link", "cuda:1", Warning, "x4*slot of x4 for a card of x16*25 %", "another slot"}},
	{"the link by sysfs", func(b *box) { b.mute() }, wants{"cards.link", "cuda:0", OK, "x16, generation 1", ""}},
	{"no link known", func(b *box) { b.mute(); b.remove("sys/bus/pci/devices/0000:3b:00.0") }, wants{"cards.link", "cuda:0", Skipped, "n/a", ""}},

	{"healthy", nil, wants{"cards.memory", "cuda:0", OK, "84.8 GB of 85.9 GB free", ""}},
	{"memory is held", func(b *box) {
		b.cards[0].MemoryFree = telemetry.Known(10e9)
		b.cards[0].Processes = []telemetry.Process{{PID: 4711, Name: "/usr/bin/python3", Memory: telemetry.Known(70e9)}}
	}, wants{"cards.memory", "cuda:0", Warning, "10.0 GB of 85.9 GB free; held by python3 (4711) 70.0 GB", "sinter top"}},
	{"unsupported", func(b *box) { b.mute() }, wants{"cards.memory", "cuda:0", Skipped, "n/a", ""}},

	{"healthy", nil, wants{"cards.ecc", "cuda:0", OK, "2 corrected, none uncorrected", ""}},
	{"uncorrected", func(b *box) { b.cards[1].ECCUncorrected = telemetry.Known(3) }, wants{"cards.ecc", "cuda:1", Failure, "3 errors that could not be corrected", "gpu-reset*ROW_REMAPPER"}},
	{"ECC is off", func(b *box) { b.cards[1].ECC = "off" }, wants{"cards.ecc", "cuda:1", OK, "off: errors of memory stay unnoticed; nvidia-smi -i GPU-b -e 1", ""}},
	{"many corrected", func(b *box) { b.cards[1].ECCCorrected = telemetry.Known(54321) }, wants{"cards.ecc", "cuda:1", Warning, "54321 errors were corrected", "nvidia-smi -q -d ECC"}},
	{"unsupported", func(b *box) { b.mute() }, wants{"cards.ecc", "cuda:0", Skipped, "n/a", ""}},

	{"healthy", nil, wants{"cards.xid", "", OK, "none in the kernel's log", ""}},
	{"Xid 79", func(b *box) {
		b.file("dev/kmsg", "3,1,1000,-;NVRM: Xid (PCI:0000:86:00): 31, pid=7, name=python3, MMU Fault\n3,2,2000,-;NVRM: Xid (PCI:0000:86:00): 31, pid=7, name=python3\n3,3,3000,-;NVRM: Xid (PCI:0000:86:00): 79, pid='<unknown>', GPU has fallen off the bus.\n")
	}, wants{"cards.xid", "cuda:1", Failure, "Xid 31 (2 times), 79; 79: the card has fallen off the bus", "power cables"}},
	{"Xid 45 of long ago", func(b *box) {
		b.file("dev/kmsg", "3,1,60000000,-;NVRM: Xid (PCI:0000:86:00): 45, pid=7, name=python3\n")
		b.file("proc/uptime", "7260.5 28000.1\n")
	}, wants{"cards.xid", "cuda:1", OK, "Xid 45: a program was ended*the last 2h0m1s ago", ""}},
	{"Xid 31", func(b *box) { b.cards[0].XIDs = []int{31} }, wants{"cards.xid", "cuda:0", Warning, "Xid 31: a program read or wrote memory", "program that ran"}},
	{"an Xid that nobody knows", func(b *box) { b.cards[0].XIDs = []int{997} }, wants{"cards.xid", "cuda:0", Warning, "Xid 997", "docs.nvidia.com/deploy/xid-errors"}},
	{"no log", func(b *box) { b.remove("dev/kmsg") }, wants{"cards.xid", "", Skipped, "kernel's log", ""}},

	{"healthy", nil, wants{"cards.throttle", "cuda:0", OK, "nothing", ""}},
	{"power limit", func(b *box) { b.cards[0].Throttle = []string{"power limit"} }, wants{"cards.throttle", "cuda:0", OK, "power limit", ""}},
	{"hot", func(b *box) { b.cards[0].Throttle = []string{"power limit", "temperature (software)"} }, wants{"cards.throttle", "cuda:0", Warning, "power limit, temperature (software)", "fans*nvidia-smi -i GPU-a -pl"}},
	{"too hot", func(b *box) { b.cards[0].Throttle = []string{"hardware slowdown", "temperature (hardware)"} }, wants{"cards.throttle", "cuda:0", Failure, "hardware slowdown, temperature (hardware)", "half its clocks*fans"}},
	{"power brake", func(b *box) { b.cards[0].Throttle = []string{"power brake (hardware)"} }, wants{"cards.throttle", "cuda:0", Failure, "power brake", "power cables"}},
	{"unsupported", func(b *box) { b.mute() }, wants{"cards.throttle", "cuda:0", Skipped, "n/a", ""}},

	{"healthy", nil, wants{"cards.temperature", "cuda:0", OK, "41 °C, memory 45 °C; it slows down at 92 °C", ""}},
	{"warm", func(b *box) { b.cards[0].Temperature = telemetry.Known(88) }, wants{"cards.temperature", "cuda:0", Warning, "88 °C", "fans"}},
	{"hot", func(b *box) { b.cards[0].Temperature = telemetry.Known(93) }, wants{"cards.temperature", "cuda:0", Failure, "93 °C*92 °C", "fans*-pl WATTS"}},
	{"no threshold", func(b *box) {
		b.cards[0].Temperature, b.cards[0].SlowdownTemperature = telemetry.Known(90), telemetry.Unknown("the device does not tell it")
	}, wants{"cards.temperature", "cuda:0", Warning, "90 °C*n/a", "fans"}},
	{"unsupported", func(b *box) { b.mute() }, wants{"cards.temperature", "cuda:0", Skipped, "n/a (the device does not tell it)", ""}},

	{"healthy", nil, wants{"cards.power", "cuda:0", OK, "400 W; its default is 400 W", ""}},
	{"a low limit", func(b *box) { b.cards[0].PowerLimit = telemetry.Known(150) }, wants{"cards.power", "cuda:0", Warning, "150 W; its default is 400 W", "nvidia-smi -i GPU-a -pl 400"}},
	{"a default below the catalogue's", func(b *box) {
		b.cards[0].PowerLimit, b.cards[0].PowerDefault = telemetry.Known(300), telemetry.Known(300)
	}, wants{"cards.power", "cuda:0", OK, "300 W; its default is 300 W, and the catalogue's 400 W", ""}},
	{"AMD by the catalogue", (*box).amd, wants{"cards.power", "gpu 0", OK, "255 W; the catalogue is 300 W", ""}},
	{"AMD with a low limit", func(b *box) { b.amd(); b.cards[0].PowerLimit = telemetry.Known(120) }, wants{"cards.power", "gpu 0", Warning, "120 W", "rocm-smi --setpoweroverdrive 300"}},
	{"unsupported", func(b *box) { b.mute() }, wants{"cards.power", "cuda:0", Skipped, "n/a", ""}},

	// (400 + 400 + 280 + 100) / 0.8
	{"a server", func(b *box) { b.rapl("280000000") }, wants{"cards.supply", "", OK, "1475 W: (cards 400 + 400 + processor 280 (its limit) + 100) / 0.8*for servers", ""}},
	{"a server by its model", nil, wants{"cards.supply", "", OK, "1475 W*processor 280 (its TDP)", ""}},
	{"a server whose limit is none", func(b *box) { b.rapl("4095000000") }, wants{"cards.supply", "", OK, "processor 280 (its TDP)", ""}},
	// (400 + 400 + 65 + 100) / 0.8
	{"an unknown processor", func(b *box) { b.file("proc/cpuinfo", "processor : 0\nmodel name : Mystery\nflags : fpu lm avx2 fma\n") }, wants{"cards.supply", "", OK, "1206 W*processor 65 (estimated)", ""}},
	// (320 + 95 + 100) / 0.8 is less than the 750 W that the card's vendor recommends.
	{"a desktop", func(b *box) { b.geforce(1); b.rapl("95000000") }, wants{"cards.supply", "", OK, "750 W, as the card's vendor recommends*--supply", ""}},
	{"a small supply", func(b *box) { b.geforce(1); b.rapl("95000000"); b.options.Supply = 550 }, wants{"cards.supply", "", Failure, "750 W*label says 550 W", "supply of 750 W or more"}},
	{"a good supply", func(b *box) { b.geforce(1); b.rapl("95000000"); b.options.Supply = 850 }, wants{"cards.supply", "", OK, "label says 850 W", ""}},
	// (4 · 320 + 125 + 100) / 0.8
	{"four cards in a desktop", func(b *box) { b.geforce(4); b.rapl("125000000") }, wants{"cards.supply", "", Warning, "1881 W*end at 1600 W", "1881 W or more, or lower"}},
	{"unsupported", func(b *box) { b.mute(); b.cards[0].Model = "NVIDIA X1"; b.cards[1].Model = "NVIDIA X1" }, wants{"cards.supply", "", Skipped, "no card with a power limit", ""}},

	{"healthy", nil, wants{"cards.mig", "cuda:0", OK, "off", ""}},
	{"slices", func(b *box) {
		s := telemetry.Blank("of the device")
		s.UUID, s.Model = "MIG-1", "NVIDIA A100-SXM4-80GB MIG 3g.40gb"
		b.cards[0].MIG, b.cards[0].Slices = "on", []telemetry.Reading{s}
	}, wants{"cards.mig", "cuda:0", OK, "1 slice*MIG-1 NVIDIA A100-SXM4-80GB MIG 3g.40gb", ""}},
	{"MIG without slices", func(b *box) { b.cards[0].MIG = "on" }, wants{"cards.mig", "cuda:0", Failure, "no slice", "nvidia-smi mig -i GPU-a -cgi*-mig 0"}},
	{"unsupported", func(b *box) { b.mute() }, wants{"cards.mig", "cuda:0", Skipped, "n/a", ""}},

	{"healthy", nil, wants{"cards.persistence", "cuda:0", OK, "on", ""}},
	{"no persistence", func(b *box) { b.cards[0].Persistence = "off" }, wants{"cards.persistence", "cuda:0", Warning, "off", "nvidia-persistenced"}},
	{"no persistence on a desktop", func(b *box) { b.geforce(1); b.cards[0].Persistence = "off" }, wants{"cards.persistence", "cuda:0", OK, "off", ""}},
	{"unsupported", func(b *box) { b.mute() }, wants{"cards.persistence", "cuda:0", Skipped, "n/a", ""}},

	{"healthy", nil, wants{"container.memory", "", OK, "limited to 34.4 GB of the machine's 67.4 GB", ""}},
	{"a small container", func(b *box) { b.file("sys/fs/cgroup/memory.max", "2147483648") }, wants{"container.memory", "", Failure, "limited to 2.1 GB", "docker run --memory"}},
	{"a full container", func(b *box) { b.file("sys/fs/cgroup/memory.current", "34000000000") }, wants{"container.memory", "", Warning, "34.0 GB are in use", "raise the limit"}},
	{"no limit", func(b *box) { b.file("sys/fs/cgroup/memory.max", "max") }, wants{"container.memory", "", OK, "docker: no limit", ""}},
	{"no container", func(b *box) { b.file("sys/fs/cgroup/memory.max", "max"); b.remove(".dockerenv") }, wants{"container.memory", "", Skipped, "no container", ""}},

	{"healthy", nil, wants{"container.processors", "", OK, "quota of 6, of the machine's 8", ""}},
	{"one processor's time", func(b *box) { b.file("sys/fs/cgroup/cpu.max", "100000 100000") }, wants{"container.processors", "", Warning, "quota of 1, of the machine's 8", "docker run --cpus"}},
	{"more threads than time", func(b *box) { b.file("sys/fs/cgroup/cpu.max", "200000 100000") }, wants{"container.processors", "", Warning, "quota of 2*6 threads", "SINTER_THREADS=2"}},
	{"cpuset", func(b *box) { b.file("sys/fs/cgroup/cpuset.cpus.effective", "0-3") }, wants{"container.processors", "", OK, "cpuset of 4 processors, quota of 6", ""}},

	{"healthy", nil, wants{"network.infiniband", "mlx5_0/1", OK, "active, 200 Gb/sec (4X HDR)", ""}},
	{"a port that is down", func(b *box) { b.file("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN") }, wants{"network.infiniband", "mlx5_0/1", Warning, "the port is down", "ibstat mlx5_0"}},
	{"a slow port", func(b *box) { b.file("sys/class/infiniband/mlx5_0/ports/1/rate", "10 Gb/sec (4X SDR)") }, wants{"network.infiniband", "mlx5_0/1", Warning, "10 Gb/sec (4X SDR)*fallen back", "iblinkinfo"}},
	{"no adapter", func(b *box) { b.remove("sys/class/infiniband") }, wants{"network.infiniband", "", Skipped, "no adapter", ""}},

	{"healthy", nil, wants{"network.ethernet", "eth0", OK, "25 Gbit/s", ""}},
	{"100 Mbit/s", func(b *box) { b.file("sys/class/net/eth0/speed", "100") }, wants{"network.ethernet", "eth0", Warning, "100 Mbit/s", "cable"}},
	{"1 Gbit/s", func(b *box) { b.file("sys/class/net/eth0/speed", "1000") }, wants{"network.ethernet", "eth0", OK, "1 Gbit/s", ""}},
	{"1 Gbit/s for several machines", func(b *box) {
		b.file("sys/class/net/eth0/speed", "1000")
		b.remove("sys/class/infiniband")
		b.options.Distributed = true
	}, wants{"network.ethernet", "eth0", Warning, "1 Gbit/s*400 MB) takes 3.2 s", "10 Gbit/s or more"}},
	{"1 Gbit/s beside InfiniBand", func(b *box) { b.file("sys/class/net/eth0/speed", "1000"); b.options.Distributed = true }, wants{"network.ethernet", "eth0", OK, "1 Gbit/s", ""}},
	{"no network for several machines", func(b *box) {
		b.file("sys/class/net/eth0/operstate", "down")
		b.remove("sys/class/infiniband")
		b.options.Distributed = true
	}, wants{"network.ethernet", "", Failure, "no interface is up", "ip link set"}},

	{"healthy", nil, wants{"system.clock", "", OK, "2026-05-04 12:30 UTC, synchronised", ""}},
	{"a clock that drifts", func(b *box) { b.synced = false }, wants{"system.clock", "", Warning, "not synchronised", "timedatectl set-ntp true"}},
	{"1970", func(b *box) { b.now = time.Unix(3600, 0) }, wants{"system.clock", "", Failure, "1970-01-01 01:00 UTC*cannot be", "set the clock"}},

	{"healthy", nil, wants{"system.zones", "", OK, "Europe/Paris; others are known", ""}},
	{"no tzdata", func(b *box) { b.zone = errors.New("unknown time zone Europe/Paris") }, wants{"system.zones", "", Warning, "unknown time zone", "apt install tzdata"}},

	{"RAPL", func(b *box) { b.rapl("280000000") }, wants{"system.energy", "cpu package 0", OK, "RAPL", ""}},
	{"RAPL that cannot be read", func(b *box) {
		b.rapl("280000000")
		b.remove("sys/class/powercap/intel-rapl:0/energy_uj")
		b.file("sys/class/powercap/intel-rapl:0/energy_uj/x", "")
	}, wants{"system.energy", "cpu", Warning, "cannot be read, and it is estimated: is a directory", "sudo chmod o+r"}},
	{"no RAPL", nil, wants{"system.energy", "cpu", Skipped, "estimated, since there is no counter*280 W", ""}},
	{"a card's counter", nil, wants{"system.energy", "cuda:0", OK, "NVML: counter of energy", ""}},
	{"a card's power", func(b *box) { b.cards[0].Energy = telemetry.Unknown("it has none") }, wants{"system.energy", "cuda:0", OK, "power, summed up", ""}},
	{"unsupported", func(b *box) { b.mute() }, wants{"system.energy", "cuda:0", Skipped, "estimated", ""}},

	{"healthy", nil, wants{"system.files", "", OK, "1024, raised to 1048576", ""}},
	{"few files", func(b *box) { b.file("proc/self/limits", fmt.Sprintf(limits, "256", "256", "unlimited", "unlimited")) }, wants{"system.files", "", Warning, "256 at most", "ulimit -n 4096"}},

	{"healthy", nil, wants{"system.memlock", "", OK, "no limit", ""}},
	{"little to pin", func(b *box) { b.file("proc/self/limits", fmt.Sprintf(limits, "1024", "4096", "8388608", "8388608")) }, wants{"system.memlock", "", Warning, "8 MB*InfiniBand", "ulimit -l unlimited"}},
	{"no InfiniBand", func(b *box) { b.remove("sys/class/infiniband") }, wants{"system.memlock", "", Skipped, "InfiniBand only", ""}},
}

// v100 has V100s instead of A100s.
func (b *box) v100() {
	for i := range b.cards {
		b.cards[i].Model, b.cards[i].Capability = "Tesla V100-SXM2-32GB", 70
		b.inventory.Devices[i].Model, b.inventory.Devices[i].Version = "Tesla V100-SXM2-32GB", "7.0"
	}
}

// geforce has so many RTX 3080 instead of A100s.
func (b *box) geforce(n int) {
	b.cards = nil
	for i := range n {
		r := telemetrytest.GPU(fmt.Sprintf("GPU-%c", 'a'+i), 30)
		r.PCI = fmt.Sprintf("0000:%02x:00.0", i+1)
		b.cards = append(b.cards, r)
	}
}

// rapl has the processor's own limit of power, and one of a part of it that must not be added.
func (b *box) rapl(microwatts string) {
	for dir, name := range map[string]string{"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"} {
		b.file("sys/class/powercap/"+dir+"/name", name)
		b.file("sys/class/powercap/"+dir+"/constraint_0_power_limit_uw", microwatts)
		b.file("sys/class/powercap/"+dir+"/energy_uj", "123456")
		b.file("sys/class/powercap/"+dir+"/max_energy_range_uj", "262143328850")
	}
}

// mute makes the cards answer nothing but their names.
func (b *box) mute() {
	for i, r := range b.cards {
		m := telemetry.Blank("the device does not tell it")
		m.UUID, m.Model, m.Vendor, m.PCI, m.Capability = r.UUID, r.Model, r.Vendor, r.PCI, r.Capability
		b.cards[i] = m
	}
}

// stuck is a driver that hangs.
type stuck struct{ ctx context.Context }

func (s stuck) Read(telemetry.Detail) []telemetry.Reading { <-s.ctx.Done(); return nil }
func (s stuck) SetPowerLimit(string, float64) error       { return nil }
func (s stuck) Close() error                              { return nil }

func TestChecks(t *testing.T) {
	healthy := newBox(t).examine()
	for _, c := range cases {
		t.Run(c.wants.check+"/"+c.name, func(t *testing.T) {
			r := healthy
			if c.broke != nil {
				b := newBox(t)
				c.broke(b)
				r = b.examine()
			}
			c.wants.expect(t, r)
			checkWhole(t, r)
		})
	}
}

// checkWhole is what is true of every report.
func checkWhole(t *testing.T, r *Report) {
	t.Helper()
	seen := make(map[string]bool)
	counts := make(map[Verdict]int)
	for _, f := range r.Findings {
		seen[f.Check] = true
		counts[f.Verdict]++
		if bad := f.Verdict == Warning || f.Verdict == Failure; bad != (f.Remedy != "") {
			t.Errorf("%s of %s (%s: %s) has the remedy %q", f.Verdict, f.Check, f.Subject, f.Evidence, f.Remedy)
		}
		if f.Evidence == "" || f.Group == "" || strings.Contains(f.Evidence+f.Remedy, "%!") || strings.Contains(f.Evidence, "the check broke") {
			t.Errorf("%+v", f)
		}
	}
	for _, c := range checks {
		if !seen[c.Name] {
			t.Errorf("%s says nothing", c.Name)
		}
	}
	if counts[OK] != r.OK || counts[Warning] != r.Warnings || counts[Failure] != r.Failures || counts[Skipped] != r.Skipped {
		t.Errorf("%v, but counted were %d, %d, %d, %d", counts, r.OK, r.Warnings, r.Failures, r.Skipped)
	}
}

// Every check is seen to be content once, and not to be content once.
func TestEveryCheckHasBoth(t *testing.T) {
	for _, c := range checks {
		var good, bad bool
		for _, k := range cases {
			if k.wants.check == c.Name {
				good = good || k.wants.verdict == OK
				bad = bad || k.wants.verdict == Warning || k.wants.verdict == Failure
			}
		}
		if !good || !bad {
			t.Errorf("the cases of %s have one that is ok: %v, and one that is not: %v", c.Name, good, bad)
		}
		if !strings.HasPrefix(c.Name, strings.ToLower(c.Group)+".") {
			t.Errorf("%s stands under %s", c.Name, c.Group)
		}
	}
}

// With the machine that is well there is nothing to warn of, and what a card does not tell is
// never a number.
func TestHealthy(t *testing.T) {
	r := newBox(t).examine()
	if r.Verdict != OK || r.Warnings+r.Failures > 0 || r.ExitStatus(true) != 0 {
		t.Errorf("%+v", r)
	}
	b := newBox(t)
	b.mute()
	for _, f := range b.examine().Findings {
		if f.Group == "Cards" && f.Verdict == OK && f.Check != "cards.telemetry" && f.Check != "cards.xid" && f.Check != "cards.link" && f.Check != "cards.supply" {
			t.Errorf("a card that tells nothing: %+v", f)
		}
	}
}

// What users read of the checks is what there is.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		listed[m[1]] = true
	}
	for _, c := range checks {
		if !listed[c.Name] {
			t.Errorf("docs/doctor.md has no row for %s", c.Name)
		}
		delete(listed, c.Name)
	}
	for name := range listed {
		t.Errorf("docs/doctor.md has a row for %s, which is no check", name)
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		r             Report
		plain, strict int
	}{
		{Report{OK: 3, Skipped: 2}, 0, 0}, {Report{OK: 3, Warnings: 1}, 0, 1}, {Report{Warnings: 1, Failures: 1}, 2, 2},
	} {
		if p, s := c.r.ExitStatus(false), c.r.ExitStatus(true); p != c.plain || s != c.strict {
			t.Errorf("%+v: %d and %d, expected %d and %d", c.r, p, s, c.plain, c.strict)
		}
	}
}

// The keys of the report are what other programs read.
func TestReportKeys(t *testing.T) {
	text, err := json.Marshal(newBox(t).examine())
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"verdict", "ok", "warnings", "failures", "skipped", "seconds", "system", "findings"} {
		if _, ok := r[key]; !ok {
			t.Errorf("there is no key %s", key)
		}
	}
	f := r["findings"].([]any)[0].(map[string]any)
	if f["group"] != "Processor" || f["check"] != "processor.features" || f["verdict"] != "ok" || f["evidence"] == "" {
		t.Error(f)
	}
}

// An empty machine has nothing to read, and a check that breaks is a finding.
func TestNothingKnown(t *testing.T) {
	b := newBox(t)
	b.root = t.TempDir()
	b.cards, b.inventory = nil, Inventory{}
	for _, f := range b.examine().Findings {
		if f.Verdict == Failure || strings.Contains(f.Evidence, "broke") {
			t.Errorf("%+v", f)
		}
	}
	c := Check{Name: "x.y", Group: "X", run: func(*machine) []Finding { panic("at the disco") }}
	if l := c.examine(nil); len(l) != 1 || l[0].Verdict != Warning || !strings.Contains(l[0].Evidence, "at the disco") || l[0].Check != "x.y" {
		t.Errorf("%+v", l)
	}
}

// Files that hold something else than they should are told of or passed over, and break nothing.
func TestGarbage(t *testing.T) {
	for _, garbage := range []string{"", "-1", "x\x00\x1b[2J: ;,\n:::\n", strings.Repeat("9", 400), "max 0\n0 0\n"} {
		b := newBox(t)
		b.rapl("280000000")
		err := filepath.WalkDir(b.root, func(file string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || filepath.Base(file) == "class" {
				return err
			}
			return os.WriteFile(file, []byte(garbage), 0o666)
		})
		if err != nil {
			t.Fatal(err)
		}
		checkWhole(t, b.examine())
	}
}

// A trial computes on a device and leaves the one in use.
func TestTryHere(t *testing.T) {
	before := sinter.DeviceName()
	trial, err := TryHere("cpu")
	if err != nil || trial.Problem != "" || trial.First <= 0 || trial.Again <= 0 {
		t.Errorf("%+v, %v", trial, err)
	}
	if _, err := TryHere("cuda:99"); err == nil || !strings.Contains(err.Error(), "cuda:99") {
		t.Error(err)
	}
	if sinter.DeviceName() != before {
		t.Errorf("the device in use is %s", sinter.DeviceName())
	}
}

// A V100 and what pip installs for CUDA 13, as package find finds it: why it cannot be used, and
// what can.
func TestV100WithCUDA13(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("libraries have Linux's names here")
	}
	b := newBox(t)
	b.v100()
	site := t.TempDir()
	for _, name := range []string{
		"nvidia/cu13/lib/libnvrtc.so.13", "nvidia/cu13/lib/libnvrtc-builtins.so.13.2", "nvidia/cu13/lib/libcublasLt.so.13", "nvidia/cudnn/lib/libcudnn.so.9",
		"nvidia_cuda_nvrtc-13.2.86.dist-info/RECORD", "nvidia_cublas-13.4.1.3.dist-info/RECORD", "nvidia_cudnn_cu13-9.14.0.64.dist-info/RECORD",
	} {
		file := filepath.Join(site, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, nil, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(find.Variable, site+string(os.PathListSeparator)+find.None)
	b.installed = find.Search(find.Want{}).All()
	for i, l := range find.Search(find.Want{Driver: 13000, Capability: 70}).All() { // as the backend asks
		if 0 < i && i < 4 { // the driver is there
			b.inventory.Libraries["cuda"][i] = sinter.DeviceLibrary{Name: l.Title, Path: l.Path, Version: l.Version, Brings: l.Brings, Problem: l.Problem, Remedy: l.Get}
		}
	}
	for i := range 2 {
		d := &b.inventory.Devices[i]
		d.Problem, d.Remedy = "there is nothing to compile kernels with", "install NVRTC for CUDA 12: pip install nvidia-cuda-nvrtc-cu12, or the toolkit"
	}
	r := b.examine()
	checkWhole(t, r)
	for _, w := range []wants{
		{"devices.compatibility", "cuda:0", Failure, "libraries of CUDA 13.2.86; those for compute capability 7.0 are*12.9", "nvidia-cuda-nvrtc-cu12"},
		{"devices.libraries", "NVRTC", Failure, "CUDA 13, but a device of compute capability 7.0 ends with CUDA 12.9", "pip install nvidia-cuda-nvrtc-cu12"},
		{"devices.libraries", "cuDNN", Warning, "ends with CUDA 12.9", `"nvidia-cudnn-cu12<9.11"`},
		{"devices.compute", "cuda:0", Failure, "nothing to compile kernels with", "nvidia-cuda-nvrtc-cu12"},
		{"devices.driver", "nvidia", OK, "580.95.05", ""},
	} {
		w.expect(t, r)
	}
}

// This machine, by nothing but defaults. What it is nobody knows, except that it has a processor
// that computes.
func TestRunHere(t *testing.T) {
	t.Setenv("SINTER_LIBRARY_PATH", "none")
	t.Chdir(t.TempDir())
	r := Run(t.Context(), Options{})
	checkWhole(t, r)
	(&wants{"devices.compute", "cpu", OK, "right to the last bit", ""}).expect(t, r)
	if left, _ := os.ReadDir("."); len(left) > 0 {
		t.Error(left)
	}
}

// What hangs in this process holds up the devices after it.
func TestHangHere(t *testing.T) {
	b := newBox(t)
	m := newMachine(t.Context(), Options{TryLimit: 20 * time.Millisecond, Inventory: func(context.Context) (Inventory, error) { return b.inventory, nil }})
	m.Try = func(ctx context.Context, device string) (Trial, error) {
		if device == "cuda:1" {
			<-ctx.Done()
		}
		return Trial{}, ctx.Err()
	}
	list := computing(m)
	if len(list) != 3 || list[0].Verdict != OK || list[1].Verdict != Failure || list[2].Verdict != Skipped || !strings.Contains(list[2].Evidence, "away from cuda:1") {
		t.Errorf("%+v", list)
	}
}

// The files that measure a disk are gone afterwards.
func TestWriteSpeed(t *testing.T) {
	dir := t.TempDir()
	rate, err := writeSpeed(dir)
	if err != nil || rate <= 0 {
		t.Error(rate, err)
	}
	if err := writable(dir); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Error(left)
	}
	if _, err := writeSpeed(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there was written to")
	}
}

func TestSamePCI(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"0000:3b:00.0", "0000:3b:00", true}, {"00000000:3B:00.0", "0000:3b:00.0", true}, {"3b:00.0", "0000:3b:00.0", false},
		{"0000:3b:00.0", "0001:3b:00.0", false}, {"", "", false},
	} {
		if samePCI(c.a, c.b) != c.same {
			t.Errorf("%s and %s", c.a, c.b)
		}
	}
}
