package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/find"
)

// title is what a card is called here: what its driver, or the PCI bus, knows of it.
func title(g hardware.GPU) string {
	return cmp.Or(g.Model, fmt.Sprintf("%s %04x:%04x", map[string]string{"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel"}[g.Vendor], g.VendorID, g.DeviceID))
}

// right is the kernel's drivers that serve a vendor's cards.
var right = map[string][]string{"nvidia": {"nvidia"}, "amd": {"amdgpu"}, "intel": {"i915", "xe"}}

const installNVIDIA = "install NVIDIA's driver: apt install nvidia-driver (Debian, non-free), ubuntu-drivers install (Ubuntu), dnf install akmod-nvidia (Fedora, RPM Fusion), or nvidia.com; then restart"

var installDriver = map[string]string{
	"nvidia": installNVIDIA,
	"amd":    "load it: modprobe amdgpu; it is part of Linux, and wants the firmware (apt install firmware-amd-graphics, dnf install linux-firmware)",
	"intel":  "load it: modprobe xe, or i915 for older ones; both are part of Linux",
}

// matters is how bad it is if a card cannot be used: a failure for one that people train on; no
// matter for the graphics unit of a processor, which is slower than the processor itself as a
// rule. Of AMD's cards that are not in the catalogue it cannot be told which they are, so that is
// a warning.
func matters(g hardware.GPU) Verdict {
	switch {
	case g.Vendor == "intel" && strings.HasPrefix(g.PCI, "0000:00:"):
		return Skipped
	case g.Vendor == "amd" && g.Model == "":
		return Warning
	}
	return Failure
}

// bad is a finding on a card that cannot be used.
func bad(g hardware.GPU, subject, remedy, evidence string) Finding {
	if matters(g) == Skipped {
		return skip(subject, "%s; it is part of the processor, which is faster", evidence)
	}
	return Finding{Subject: subject, Verdict: matters(g), Evidence: evidence, Remedy: remedy}
}

func cards(m *machine) (list []Finding) {
	all, err := m.cards()
	if err != nil {
		return one(skip("", "%v", err))
	}
	for _, g := range all {
		drivers, known := right[g.Vendor]
		if !known {
			continue // a console
		}
		switch {
		case slices.Contains(drivers, g.Driver):
			list = append(list, ok(g.PCI, "%s, driver %s", title(g), g.Driver))
		case g.Driver == "vfio-pci" || g.Driver == "pci-stub":
			list = append(list, warn(g.PCI, "it is given to a virtual machine; to use it here, take it from "+g.Driver+" (driverctl unset-override "+g.PCI+") and load its own driver", "%s is kept by %s, for a virtual machine", title(g), g.Driver))
		case g.Driver == "nouveau" || g.Driver == "nova" || g.Driver == "nova_core":
			list = append(list, fail(g.PCI, installNVIDIA+", which keeps "+g.Driver+" from taking the card", "%s has the driver %s, which cannot compute", title(g), g.Driver))
		case g.Driver == "radeon":
			list = append(list, fail(g.PCI, "for cards of 2012 and later, options radeon.si_support=0 radeon.cik_support=0 amdgpu.si_support=1 amdgpu.cik_support=1 on the kernel's command line; older ones cannot be used", "%s has the old driver radeon", title(g)))
		default:
			remedy := installDriver[g.Vendor]
			if g.Vendor == "nvidia" && m.secureBoot() {
				remedy += "; Secure Boot is on, and refuses a module that is not signed: mokutil --import the key that signed it, or turn Secure Boot off"
			}
			evidence := title(g) + " is there, and no driver has it"
			if g.Driver != "" {
				evidence = title(g) + " has the driver " + g.Driver
			}
			list = append(list, bad(g, g.PCI, remedy, evidence))
		}
	}
	if len(list) > 0 {
		return list
	}
	// Under WSL, cards are on no bus that Linux sees.
	inventory, _ := m.inventory()
	for _, d := range inventory.Devices {
		if d.Backend == "cuda" || d.Kind == device.GPU {
			return one(ok("", "none on the PCI bus; drivers have %s (%s)", d.Name, d.Model))
		}
	}
	return one(skip("", "there is no graphics card; training runs on the processor"))
}

// secureBoot tells whether the firmware lets only signed code run: the variable's last byte.
func (m *machine) secureBoot() bool {
	for _, file := range m.glob("/sys/firmware/efi/efivars/SecureBoot-*") {
		if b, err := os.ReadFile(m.at(file)); err == nil && len(b) > 0 {
			return b[len(b)-1] == 1
		}
	}
	return false
}

// What starts a container with cards, for the remedies.
const (
	withNVIDIA = "start the container with its cards: docker run --gpus all (with nvidia-container-toolkit on the host), podman run --device nvidia.com/gpu=all, Kubernetes: resources.limits nvidia.com/gpu: 1"
	withAMD    = "start the container with its cards: docker run --device /dev/kfd --device /dev/dri --group-add video --group-add render"
)

func driver(m *machine) (list []Finding) {
	inventory, failed := m.inventory()
	if failed != nil {
		list = append(list, fail("", "see what the driver says in the kernel's log (dmesg); restart the machine; install the driver anew", "%v", failed))
	}
	bound := make(map[string][]hardware.GPU) // cards with their driver, by vendor
	for _, vendor := range vendors {
		for _, g := range m.of(vendor) {
			if slices.Contains(right[vendor], g.Driver) {
				bound[vendor] = append(bound[vendor], g)
			}
		}
	}
	if strings.Contains(inventory.Absent["cuda"], "nogpu") {
		if len(bound) > 0 {
			return one(warn("", "build it without the tag: go install github.com/sinter-dl/sinter/cmd/sinter@latest", "this program was built without GPUs (-tags nogpu), and there is one"))
		}
		return one(skip("", "this program was built without GPUs (-tags nogpu)"))
	}
	list = append(list, m.nvidiaDriver(len(bound["nvidia"]) > 0, inventory, failed)...)
	for _, vendor := range []string{"amd", "intel"} {
		if len(bound[vendor]) > 0 && failed == nil {
			list = append(list, m.renderNodes(bound[vendor], inventory))
		}
	}
	for _, d := range inventory.Devices {
		if d.Backend == "cuda" && len(list) == 0 { // under WSL, there is no module in this kernel
			list = append(list, ok("nvidia", "%s", d.Driver))
		}
	}
	if len(list) == 0 {
		return one(skip("", "there is no card with a driver"))
	}
	return list
}

// nvidiaDriver goes the way of a program to the driver: the kernel's module, the device files,
// the library, versions of both, and what the driver says then.
func (m *machine) nvidiaDriver(bound bool, inventory Inventory, failed error) []Finding {
	loaded, err := m.System.NVIDIADriver()
	if err != nil {
		if bound {
			return one(fail("nvidia", "modprobe nvidia; if the kernel was updated, its module has to be built anew: dkms autoinstall", "%v", err))
		}
		return nil // no module: what there is to say, the bus has said
	}
	library, _ := named(inventory.Libraries["cuda"], find.CUDA)
	// A driver that shows a device has been reached, whatever may look strange on the way: a
	// batch system lets some of the device files be opened only, and a container may have a
	// libcuda that is newer than the module.
	if inventory.usable("cuda") {
		if strings.Contains(library.Version, ".") && library.Version != loaded {
			return one(ok("nvidia", "%s, with libcuda of %s", loaded, library.Version))
		}
		return one(ok("nvidia", "%s", loaded))
	}
	container := m.contained()
	numbered := m.glob("/dev/nvidia[0-9]*")
	if len(numbered) == 0 {
		numbered = []string{"/dev/nvidia0"}
	}
	nodes := append([]string{"/dev/nvidiactl", "/dev/nvidia-uvm"}, numbered...)
	var missing, refused []string
	for _, node := range nodes {
		switch err := m.probes.access(m.at(node)); {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, node)
		case errors.Is(err, fs.ErrPermission):
			refused = append(refused, node)
		}
	}
	switch {
	case len(missing) > 0 && container != "":
		return one(fail("nvidia", withNVIDIA, "the host has driver %s, but this container (%s) has no %s", loaded, container, strings.Join(missing, ", ")))
	case len(missing) > 0:
		return one(fail("nvidia", "make them: nvidia-modprobe -c0 -u (setuid root, of the package nvidia-modprobe)", "driver %s is loaded, but there is no %s", loaded, strings.Join(missing, ", ")))
	case len(refused) > 0:
		return one(fail("nvidia", "ls -l "+refused[0]+" says which group may: usermod -aG GROUP USER, and log in again; in a batch job, ask for a card (Slurm: --gres=gpu:1)", "driver %s is loaded, but this user may not open %s", loaded, strings.Join(refused, ", ")))
	}
	switch {
	case failed != nil:
		return nil // which has been told
	case library.Path == "" && container != "":
		return one(fail("nvidia", "give the container the driver's libraries: NVIDIA_DRIVER_CAPABILITIES=compute,utility with the NVIDIA runtime", "the kernel has driver %s, but this container (%s) has no libcuda.so.1", loaded, container))
	case library.Path == "":
		return one(fail("nvidia", "install the driver's library for CUDA: apt install libcuda1 (Debian), libnvidia-compute-"+branch(loaded)+" (Ubuntu), dnf install xorg-x11-drv-nvidia-cuda (Fedora)", "the kernel has driver %s, but there is no libcuda.so.1", loaded))
	case strings.Contains(library.Version, ".") && library.Version != loaded:
		return one(fail("nvidia", "restart the machine: the driver was updated while it ran (in a container: restart the container)", "the kernel has driver %s, and %s is of %s", loaded, library.Path, library.Version))
	}
	if why := inventory.Absent["cuda"]; why != "" {
		remedy := "see the kernel's log: dmesg | grep -i nvrm; restart the machine"
		if strings.Contains(why, "CUDA_VISIBLE_DEVICES") {
			remedy = "CUDA_VISIBLE_DEVICES=" + m.probes.getenv("CUDA_VISIBLE_DEVICES") + " hides the cards: unset it"
		}
		return one(fail("nvidia", remedy, "driver %s: %s", loaded, why))
	}
	return one(ok("nvidia", "%s; why its devices cannot be used stands at each", loaded))
}

// branch is the first number of a version.
func branch(version string) string {
	first, _, _ := strings.Cut(version, ".")
	return first
}

// renderNodes judges the way to a vendor's cards that goes through OpenCL.
func (m *machine) renderNodes(cards []hardware.GPU, inventory Inventory) Finding {
	g := cards[0]
	for _, c := range cards {
		if rank(matters(c)) > rank(matters(g)) {
			g = c
		}
	}
	for _, d := range inventory.Devices {
		if d.Backend == "opencl" && d.Kind != device.CPU && d.Problem == "" {
			return ok(g.Vendor, "%s by OpenCL: %s", d.Name, cmp.Or(d.Driver, d.Version))
		}
	}
	if inventory.usable("cuda") {
		return skip(g.Vendor, "no OpenCL driver has it, and there is a card of NVIDIA's to train on")
	}
	nodes := m.glob("/dev/dri/renderD*")
	if g.Vendor == "amd" && m.has("/dev/kfd") {
		nodes = append(nodes, "/dev/kfd")
	}
	container := m.contained()
	var refused []string
	for _, node := range nodes {
		if err := m.probes.access(m.at(node)); errors.Is(err, fs.ErrPermission) {
			refused = append(refused, node)
		}
	}
	switch {
	case len(nodes) == 0 && container != "":
		return bad(g, g.Vendor, withAMD, "this container ("+container+") has no /dev/dri/renderD*")
	case len(nodes) == 0:
		return bad(g, g.Vendor, "look at what the driver says: dmesg | grep -e amdgpu -e i915 -e drm", "there is no /dev/dri/renderD*")
	case len(refused) > 0:
		return bad(g, g.Vendor, "usermod -aG render,video USER, and log in again", "this user may not open "+strings.Join(refused, ", "))
	}
	remedy := map[string]string{"amd": "apt install mesa-opencl-icd, or rocm-opencl-icd of AMD's packages", "intel": "apt install intel-opencl-icd"}[g.Vendor] + " (and ocl-icd-libopencl1)"
	return bad(g, g.Vendor, remedy, "there is no OpenCL driver for it ("+cmp.Or(inventory.Absent["opencl"], "OpenCL has other devices only")+")")
}

// named is the library of a name among those of a backend.
func named(list []sinter.DeviceLibrary, n find.Name) (l sinter.DeviceLibrary, ok bool) {
	i := slices.IndexFunc(list, func(l sinter.DeviceLibrary) bool { return l.Name == find.Title(n) })
	if i < 0 {
		return l, false
	}
	return list[i], true
}

// compatibility sets driver, libraries and cards against each other. Libraries are those that
// programs would use; where there are none of a version that suits, those that are there.
func compatibility(m *machine) (list []Finding) {
	inventory, err := m.inventory()
	if err != nil {
		return one(skip("", "%v", err))
	}
	installed := m.probes.installed()
	version := func(n find.Name) string {
		if l, _ := named(inventory.Libraries["cuda"], n); l.Path != "" {
			return l.Version
		}
		for _, l := range installed {
			if l.Name == n {
				return l.Version
			}
		}
		return ""
	}
	driver, cuda, cudnn := m.driverVersion(inventory), version(find.NVRTC), version(find.CuDNN)
	seen := make(map[string]bool)
	for _, name := range m.nvidiaModels(inventory) {
		if seen[name.model] {
			continue
		}
		seen[name.model] = true
		card, known := hardware.Match(name.model)
		if !known {
			list = append(list, skip(name.device, "%s is not in the catalogue", name.model))
			continue
		}
		good := true
		for _, f := range hardware.Check(card, driver, cuda, cudnn) {
			if f.Verdict != OK {
				good = false
				list = append(list, Finding{Subject: name.device, Verdict: f.Verdict, Evidence: f.Evidence, Remedy: f.Remedy})
			}
		}
		if good {
			var have []string
			for _, v := range []struct{ name, version string }{{"driver", driver}, {"CUDA", cuda}, {"cuDNN", cudnn}} {
				if v.version != "" {
					have = append(have, v.name+" "+v.version)
				}
			}
			list = append(list, ok(name.device, "%s and compute capability %d.%d suit each other", cmp.Or(strings.Join(have, ", "), "no version is known"), card.Capability/10, card.Capability%10))
		}
	}
	if len(list) == 0 {
		return one(skip("", "there is no card of NVIDIA's that its driver names"))
	}
	return list
}

// driverVersion is that of NVIDIA's driver, as the kernel or the devices tell it.
func (m *machine) driverVersion(inventory Inventory) string {
	if v, err := m.System.NVIDIADriver(); err == nil {
		return v
	}
	for _, d := range inventory.Devices {
		if v, _, told := strings.Cut(d.Driver, ","); d.Backend == "cuda" && told {
			return v // "580.65.06, CUDA 13.0"
		}
	}
	return ""
}

type model struct{ device, model string }

// nvidiaModels is the cards by what NVML, or else CUDA, calls them.
func (m *machine) nvidiaModels(inventory Inventory) (list []model) {
	r, _ := m.readings()
	for _, d := range r.devices {
		if d.Vendor == "nvidia" {
			list = append(list, model{d.Device, d.Model})
		}
	}
	if len(list) > 0 {
		return list
	}
	for _, d := range inventory.Devices {
		if d.Backend == "cuda" {
			list = append(list, model{d.Name, d.Model})
		}
	}
	return list
}

// libraries judges each library by what there is to use it for.
func libraries(m *machine) (list []Finding) {
	inventory, err := m.inventory()
	if err != nil {
		return one(skip("", "%v", err))
	}
	opencl := !inventory.usable("cuda") && slices.ContainsFunc(append(m.of("amd"), m.of("intel")...), func(g hardware.GPU) bool { return matters(g) != Skipped })
	for _, backend := range []string{"cuda", "opencl"} {
		wanted := backend == "cuda" && m.nvidia() || backend == "opencl" && opencl
		for _, l := range inventory.Libraries[backend] {
			lacks := warn
			if wanted && slices.Contains([]string{find.Title(find.CUDA), find.Title(find.NVRTC), find.Title(find.OpenCL)}, l.Name) {
				lacks = fail // nothing runs without
			}
			remedy := cmp.Or(l.Remedy, "install it")
			switch {
			case l.Path != "" && l.Problem == "":
				list = append(list, ok(l.Name, "%s", strings.TrimSpace(l.Version+" "+l.Path)))
			case !wanted && l.Path == "":
				list = append(list, skip(l.Name, "missing, and there is no card that wants it"))
			case !wanted:
				list = append(list, skip(l.Name, "%s: %s; there is no card that wants it", l.Path, l.Problem))
			case l.Path == "" && l.Problem == "":
				list = append(list, lacks(l.Name, remedy, "missing; it %s", l.Brings))
			case l.Path == "":
				list = append(list, lacks(l.Name, remedy, "none that can be used: %s; it %s", l.Problem, l.Brings))
			default:
				list = append(list, lacks(l.Name, remedy, "%s cannot be used: %s", strings.TrimSpace(l.Version+" "+l.Path), l.Problem))
			}
		}
	}
	if len(list) == 0 {
		return one(skip("", "this program was built without GPUs (-tags nogpu)"))
	}
	return list
}

// computing tries every device: all at once, for what takes long is drivers that start, and
// compilers; or, where that is done in this process, one after the other until one hangs.
func computing(m *machine) []Finding {
	inventory, err := m.inventory()
	if err != nil {
		return one(skip("", "no device can be tried: %v", err))
	}
	list := make([]Finding, len(inventory.Devices))
	var wait sync.WaitGroup
	hangs := "" // the first that does
	for i, d := range inventory.Devices {
		switch {
		case d.Problem != "" && strings.Contains(d.Problem, "does not show"):
			list[i] = skip(d.Name, "%s: %s; %s", d.Model, d.Problem, d.Remedy)
		case d.Problem != "" && inventory.usable("cuda", "opencl"): // an old card beside one to train on
			list[i] = warn(d.Name, cmp.Or(d.Remedy, "see 'sinter devices'"), "%s: %s", d.Model, d.Problem)
		case d.Problem != "":
			list[i] = fail(d.Name, cmp.Or(d.Remedy, "see 'sinter devices'"), "%s: %s", d.Model, d.Problem)
		case m.inProcess && hangs != "":
			list[i] = skip(d.Name, "not tried: this process may not get away from %s, which hangs", hangs)
		case m.inProcess:
			var stuck bool
			if list[i], stuck = m.tryOne(d); stuck {
				hangs = d.Name
			}
		default:
			wait.Go(func() { list[i], _ = m.tryOne(d) })
		}
	}
	wait.Wait()
	return list
}

func (m *machine) tryOne(d sinter.DeviceInfo) (f Finding, hanging bool) {
	const broken = "see what the driver says: dmesg; nothing may be trusted that the device computes until this passes"
	t, err := m.try(d.Name)
	var hangs *NoAnswerError
	switch {
	case errors.As(err, &hangs):
		return fail(d.Name, "a process that hangs in a driver is ended by a restart of the machine at the latest; look at dmesg for the cause (Xid 79, 119), and train with --device cpu until then", "%s: %v", d.Model, err), true
	case errors.Is(err, context.Canceled):
		return skip(d.Name, "interrupted"), false
	case err != nil:
		return fail(d.Name, cmp.Or(d.Remedy, "see 'sinter devices', and what the driver says: dmesg"), "%s: %v", d.Model, err), false
	case t.Problem != "":
		remedy := broken
		switch d.Backend {
		case "cpu":
			remedy = "the processor or its memory is faulty: take back any overclocking, and test the memory (memtest86+)"
		case "cuda":
			remedy = "the card computes wrong: look at its ECC errors and the kernel's log (Xid), take back any overclocking, and test it: dcgmi diag -r 3"
		}
		return fail(d.Name, remedy, "%s computed wrong: %s", d.Model, t.Problem), false
	}
	return ok(d.Name, "a product and fused kernels, right to the last bit: %s with the compiler, then %s", seconds(t.First), seconds(t.Again)), false
}

// seconds is a time for people.
func seconds(s float64) string {
	switch {
	case s >= 0.9995:
		return fmt.Sprintf("%.1f s", s)
	case s >= 0.9995e-3:
		return fmt.Sprintf("%.3g ms", s*1e3)
	}
	return fmt.Sprintf("%.3g µs", s*1e6)
}
