package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/power"
)

// Thresholds. Sizes of memory and disks are decimal, as they are sold.
const (
	gb = 1e9

	minMemory    = 7.5 * gb // "8 GB", less what firmware and kernel keep for themselves
	minAvailable = 2 * gb
	minShared    = 1 * gb // Docker gives 64 MB
	leastSpace   = 1 * gb
	fewSpace     = 10 * gb
	slowWrite    = 50e6 // bytes/s: a checkpoint of 1 GB takes 20 s
	minFiles     = 1024
)

// bytesText is a size for people.
func bytesText[T int64 | float64](n T) string {
	v := float64(n)
	switch {
	case v >= 999.5e9:
		return fmt.Sprintf("%.1f TB", v/1e12)
	case v >= 99.95e9:
		return fmt.Sprintf("%.0f GB", v/1e9)
	case v >= 999.5e6:
		return fmt.Sprintf("%.1f GB", v/1e9)
	}
	return fmt.Sprintf("%.0f MB", v/1e6)
}

// plural is a number with what is counted.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// The processor

// levels are the instruction sets that kernels are made for, the best first, with the
// features, as Linux calls them, that each wants; all of one list have to be there.
var levels = []struct {
	name, arch string
	features   []string
}{
	{"avx512", "amd64", []string{"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"}},
	{"avx2", "amd64", []string{"avx2", "fma"}},
	{"neon", "arm64", []string{"asimd"}},
}

// more is features that are worth a word.
var more = []string{"avx512_bf16", "avx512_fp16", "amx_tile", "f16c", "sve", "bf16"}

func features(m *machine) []Finding {
	cpu, err := m.cpu()
	if err != nil {
		return one(skip("", "%v", err))
	}
	best := "generic"
	for _, l := range levels {
		if l.arch == cpu.Arch && !slices.ContainsFunc(l.features, func(f string) bool { return !slices.Contains(cpu.Features, f) }) {
			best = l.name
			break
		}
	}
	used := best
	if inventory, err := m.inventory(); err == nil {
		for _, d := range inventory.Devices {
			if d.Backend == "cpu" {
				used = cmp.Or(d.Version, best)
			}
		}
	}
	has := slices.DeleteFunc(slices.Clone(more), func(f string) bool { return !slices.Contains(cpu.Features, f) })
	evidence := cmp.Or(cpu.Model, cpu.Arch) + ": " + used
	if len(has) > 0 {
		evidence += "; it also has " + strings.Join(has, " ")
	}
	asked := m.probes.getenv("SINTER_CPU")
	switch {
	case asked != "" && asked != used:
		return one(warn("", "unset SINTER_CPU, or set it to "+used, "SINTER_CPU=%s is no instruction set of this processor; %s is used", asked, used))
	case asked != "" && used != best:
		return one(warn("", "unset SINTER_CPU", "SINTER_CPU=%s keeps programs from %s, which the processor has", asked, best))
	case used == "generic" && cpu.Arch == "amd64":
		return one(warn("", "in a virtual machine, let it have the processor of its host (QEMU: -cpu host; libvirt: <cpu mode='host-passthrough'/>); else training needs a processor with AVX2 and FMA (Haswell, Zen or later) or a GPU",
			"%s; there is no AVX2 with FMA, and plain code is many times slower", evidence))
	case used == "generic":
		return one(warn("", "train on a GPU, or on a processor of amd64 or arm64", "%s: there is no code for it, and plain code is many times slower", evidence))
	}
	return one(ok("", "%s", evidence))
}

func machineCode(m *machine) []Finding {
	inventory, err := m.inventory()
	switch {
	case err != nil:
		return one(skip("", "%v", err))
	case inventory.Code == notHere:
		return one(skip("", "%s; kernels made ahead of time are used", notHere))
	case strings.Contains(inventory.Code, "SINTER_DEBUG"):
		return one(warn("", "take nonative out of SINTER_DEBUG", "%s: kernels made ahead of time are used, which are slower", inventory.Code))
	case inventory.Code != "":
		return one(warn("", "allow memory to be made executable: with SELinux, setsebool deny_execmem off; in a service of systemd, MemoryDenyWriteExecute=no",
			"the system refuses memory for machine code (%s): kernels made ahead of time are used, which are slower", inventory.Code))
	}
	return one(ok("", "kernels are compiled while the program runs"))
}

func cores(m *machine) []Finding {
	cpu, err := m.cpu()
	if err != nil {
		return one(skip("", "%v", err))
	}
	var evidence []string
	if cpu.Sockets > 1 {
		evidence = append(evidence, plural(cpu.Sockets, "socket"))
	}
	if cpu.Cores > 0 {
		evidence = append(evidence, plural(cpu.Cores, "core"))
	}
	if cpu.Threads > 0 {
		evidence = append(evidence, plural(cpu.Threads, "thread"))
	}
	usable := cmp.Or(cpu.Usable, cpu.Threads, runtime.NumCPU())
	inventory, err := m.inventory()
	if err == nil && inventory.Threads > 0 {
		evidence = append(evidence, fmt.Sprintf("%d in use", inventory.Threads))
	}
	text := strings.Join(evidence, ", ")
	asked := m.probes.getenv("SINTER_THREADS")
	if n, err := strconv.Atoi(asked); asked != "" && (err != nil || n < 1) {
		return one(warn("", "unset SINTER_THREADS, or set it to a number", "%s; SINTER_THREADS=%s is no number of threads", text, asked))
	} else if asked != "" && n < usable {
		return one(warn("", "unset SINTER_THREADS", "%s; SINTER_THREADS=%d leaves %d of %d idle", text, n, usable-n, usable))
	}
	if usable < 2 {
		return one(warn("", "give the virtual machine or container two processors or more", "%s; reading data and computing share one processor", text))
	}
	return one(ok("", "%s", text))
}

// Memory

func totalMemory(m *machine) []Finding {
	mem, err := m.memory()
	if err != nil {
		return one(skip("", "%v", err))
	}
	if float64(mem.Total) < minMemory {
		return one(fail("", "add memory, or train small models in small batches: 'sinter plan' says what a recipe takes", "%s, and 8 GB are the least to count on", bytesText(mem.Total)))
	}
	return one(ok("", "%s", bytesText(mem.Total)))
}

func availableMemory(m *machine) []Finding {
	mem, err := m.memory()
	switch {
	case err != nil:
		return one(skip("", "%v", err))
	case float64(mem.Available) < minAvailable:
		return one(warn("", "end programs that hold memory: ps aux --sort=-rss | head", "%s of %s are available", bytesText(mem.Available), bytesText(mem.Total)))
	case mem.SwapTotal > 0 && mem.SwapTotal-mem.SwapFree > mem.Total/4:
		return one(warn("", "end programs that hold memory: ps aux --sort=-rss | head", "%s are swapped out to disk: memory was short", bytesText(mem.SwapTotal-mem.SwapFree)))
	}
	return one(ok("", "%s of %s", bytesText(mem.Available), bytesText(mem.Total)))
}

func sharedMemory(m *machine) []Finding {
	return m.limited("/dev/shm", mounts, m.sharedMemory)
}

func (m *machine) sharedMemory() []Finding {
	n := 0
	for _, vendor := range vendors {
		for _, g := range m.of(vendor) {
			if matters(g) == Failure {
				n++
			}
		}
	}
	if n < 2 {
		return one(skip("", "it matters with several cards only"))
	}
	if !m.has("/dev/shm") {
		return one(warn("", "mount it: mount -t tmpfs shm /dev/shm", "there is no /dev/shm"))
	}
	disk, err := m.System.Disk("/dev/shm")
	if err != nil {
		return one(skip("", "%v", err))
	}
	if float64(disk.Total) < minShared {
		remedy := "mount -o remount,size=8G /dev/shm"
		if m.contained() != "" {
			remedy = "start the container with --shm-size=8g or --ipc=host; in Kubernetes, mount an emptyDir of medium Memory at /dev/shm"
		}
		return one(warn("", remedy, "/dev/shm has %s, and libraries that train on %d cards want more", bytesText(disk.Total), n))
	}
	return one(ok("", "/dev/shm has %s", bytesText(disk.Total)))
}

// Storage

// mounts is the remedy for a file system that does not answer.
const mounts = "findmnt shows what is mounted, and df which of it hangs; see whether the server of a network file system is there"

func space(m *machine) []Finding {
	return m.limited("the file systems", mounts, m.space)
}

func (m *machine) space() (list []Finding) {
	for _, v := range m.volumes() {
		where := fmt.Sprintf("%s (%s)", cmp.Or(v.disk.Mount, v.folders[0].Path), cmp.Or(v.disk.Filesystem, "file system"))
		remedy := "make room: du -xh --max-depth=2 " + cmp.Or(v.disk.Mount, v.folders[0].Path) + " | sort -h | tail; of checkpoints, fewer stay with --set checkpoint.keep=1"
		switch {
		case v.err != nil:
			list = append(list, warn(v.names(), "make the folder readable, or choose another (--out for runs, SINTER_KERNEL_CACHE, TMPDIR)", "%v", v.err))
		case float64(v.disk.Free) < leastSpace:
			list = append(list, fail(v.names(), remedy, "%s free of %s on %s", bytesText(v.disk.Free), bytesText(v.disk.Total), where))
		case float64(v.disk.Free) < fewSpace:
			list = append(list, warn(v.names(), remedy, "%s free of %s on %s; checkpoints and datasets soon take more", bytesText(v.disk.Free), bytesText(v.disk.Total), where))
		default:
			list = append(list, ok(v.names(), "%s free of %s on %s", bytesText(v.disk.Free), bytesText(v.disk.Total), where))
		}
	}
	return list
}

// writing measures one folder of every file system, one after the other.
func writing(m *machine) []Finding {
	return m.limited("writing to the file systems", mounts, m.writing)
}

func (m *machine) writing() (list []Finding) {
	for _, v := range m.volumes() {
		if v.err != nil {
			list = append(list, skip(v.names(), "there is no folder to write to"))
			continue
		}
		measured := false
		for _, f := range v.folders {
			switch rate, err := m.speed(f, &measured); {
			case err != nil:
				list = append(list, fail(f.Name, "chown or chmod the folder, mount its file system writable, or choose another (--out for runs, SINTER_KERNEL_CACHE, TMPDIR)", "%s cannot be written to: %v", f.Path, reason(err)))
			case rate == 0: // the file system was measured in another folder
			case rate < slowWrite:
				list = append(list, warn(f.Name, "put runs on a faster disk (--out), or write checkpoints less often", "%s/s written and synced in %s: a checkpoint of 1 GB takes %.0f s", rateText(rate), f.Path, 1e9/rate))
			default:
				list = append(list, ok(f.Name, "%s/s written and synced in %s", rateText(rate), f.Path))
			}
		}
	}
	return list
}

// speed measures a folder, or where its file system was measured already, tries whether the
// folder can be written to.
func (m *machine) speed(f Folder, measured *bool) (float64, error) {
	if *measured {
		return 0, writable(f.Path)
	}
	rate, err := m.probes.write(f.Path)
	*measured = err == nil
	return rate, err
}

func rateText(v float64) string {
	if v < 10e6 {
		return fmt.Sprintf("%.1f MB", v/1e6)
	}
	return bytesText(v)
}

// reason is an error without the path, which has been told.
func reason(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".sinter-doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writeSpeed writes as much as takes long enough to be measured, in some 0.3 s together, if the
// disk writes 1 MiB in 0.1 s.
func writeSpeed(dir string) (bytesPerSecond float64, err error) {
	const least, enough, most = 1 << 20, 0.05, 64 << 20 // bytes, seconds, bytes
	for n := int64(least); ; n *= 4 {
		rate, err := hardware.WriteSpeed(dir, n)
		if err != nil || n >= most || float64(n)/rate >= enough {
			return rate, err
		}
	}
}

// Containers

func containerMemory(m *machine) []Finding {
	g, err := m.cgroup()
	if err != nil {
		return one(skip("", "%v", err))
	}
	if g.MemoryLimit == 0 {
		return one(okOrSkip(g, "no limit of memory"))
	}
	evidence := fmt.Sprintf("limited to %s", bytesText(g.MemoryLimit))
	if mem, err := m.memory(); err == nil {
		evidence += fmt.Sprintf(" of the machine's %s", bytesText(mem.Total))
	}
	if float64(g.MemoryLimit) < minMemory {
		return one(fail("", "raise the limit to 8 GB or more: docker run --memory 16g; Kubernetes: resources.limits.memory; systemd: MemoryMax=; Slurm: --mem", "%s, and 8 GB are the least to count on", evidence))
	}
	if g.MemoryUsed > 0 && float64(g.MemoryLimit-g.MemoryUsed) < minAvailable {
		return one(warn("", "raise the limit, or end what else runs in the container", "%s, of which %s are in use", evidence, bytesText(g.MemoryUsed)))
	}
	return one(ok("", "%s", evidence))
}

func okOrSkip(g hardware.Cgroup, evidence string) Finding {
	if g.Container == "" {
		return skip("", "no container, and %s", evidence)
	}
	return ok("", "%s: %s", g.Container, evidence)
}

func containerProcessors(m *machine) []Finding {
	g, err := m.cgroup()
	if err != nil {
		return one(skip("", "%v", err))
	}
	cpu, err := m.cpu()
	if err != nil {
		return one(skip("", "%v", err))
	}
	var limits []string
	left := float64(cmp.Or(cpu.Threads, runtime.NumCPU()))
	all := left
	if len(g.CPUSet) > 0 && float64(len(g.CPUSet)) < all {
		limits = append(limits, fmt.Sprintf("cpuset of %s", plural(len(g.CPUSet), "processor")))
		left = min(left, float64(len(g.CPUSet)))
	}
	if g.CPUs > 0 && g.CPUs < all {
		limits = append(limits, fmt.Sprintf("quota of %.3g", g.CPUs))
		left = min(left, g.CPUs)
	}
	if len(limits) == 0 {
		return one(okOrSkip(g, "no limit of processors"))
	}
	evidence := fmt.Sprintf("%s, of the machine's %.0f", strings.Join(limits, ", "), all)
	threads := 0
	if inventory, err := m.inventory(); err == nil {
		threads = inventory.Threads
	}
	remedy := "docker run --cpus 8 (or --cpuset-cpus 0-7); Kubernetes: resources.limits.cpu; Slurm: --cpus-per-task"
	switch {
	case left < 2:
		return one(warn("", "give the container two processors or more: "+remedy, "%s", evidence))
	case g.CPUs > 0 && float64(threads) > g.CPUs+1:
		return one(warn("", fmt.Sprintf("set SINTER_THREADS=%d, or raise the quota: %s", max(1, int(g.CPUs)), remedy),
			"%s; %d threads run, which the quota stops again and again", evidence, threads))
	}
	return one(ok("", "%s", evidence))
}

// The system

func clock(m *machine) []Finding {
	c := m.System.Clock()
	now := c.Now
	if m.probes.now != nil {
		now = m.probes.now()
	}
	text := now.UTC().Format("2006-01-02 15:04 UTC")
	const sync = "timedatectl set-ntp true; in a virtual machine, let the host set the clock"
	switch {
	case now.Year() < builtIn || now.Year() > builtIn+50:
		return one(fail("", "set the clock: "+sync, "it is %s by the clock, which cannot be: certificates, tariffs, windows of time and the age of files will be wrong", text))
	case c.Why != "":
		return one(ok("", "%s; whether it is synchronised is not known: %s", text, c.Why))
	case !c.Synchronised:
		return one(warn("", sync, "%s, but the clock is not synchronised and will drift: windows of time and hourly prices with it", text))
	}
	return one(ok("", "%s, synchronised", text))
}

// builtIn is the year in which this was written: no clock that is right shows an earlier one.
const builtIn = 2025

func zones(m *machine) []Finding {
	c := m.System.Clock()
	zone := cmp.Or(c.Zone, "not named")
	if err := m.probes.zone("Europe/Paris"); err != nil {
		return one(warn("", "install the database of time zones: apt install tzdata, apk add tzdata, dnf install tzdata", "zone %s; names of zones are not known (%v), and windows such as \"23:00-06:00 Europe/Paris\" need them", zone, err))
	}
	return one(ok("", "%s; others are known by name", zone))
}

// energy says how the energy of a run would be measured: by counters, or by an estimate.
func energy(m *machine) (list []Finding) {
	meter := power.Open(power.Options{Root: m.System.Root, Every: -1, Baseline: -1})
	defer meter.Close()
	counters := m.glob("/sys/class/powercap/intel-rapl:*/energy_uj")
	for _, p := range meter.Read() {
		switch {
		case !p.Estimated:
			list = append(list, ok(p.Component, "%s", p.Source))
		case len(counters) > 0 && p.Component == "cpu":
			_, err := m.text(counters[0])
			list = append(list, warn(p.Component, "sudo chmod o+r /sys/class/powercap/intel-rapl:*/energy_uj /sys/class/powercap/intel-rapl:*:*/energy_uj, until the next start of the machine; a rule of udev does it for good",
				"its counters of energy (RAPL) cannot be read, and it is estimated: %v", reason(err)))
		default:
			list = append(list, skip(p.Component, "estimated, since there is no counter that can be read; %s", p.Source))
		}
	}
	r, _ := m.readings()
	for _, d := range r.devices {
		switch {
		case d.Problem != "":
		case d.Energy.OK:
			list = append(list, ok(d.Device, "%s: counter of energy", d.Source))
		case d.Power.OK:
			list = append(list, ok(d.Device, "%s: power, summed up over time", d.Source))
		default:
			list = append(list, skip(d.Device, "it tells neither energy nor power: estimated"))
		}
	}
	return list
}

// limit is a line of /proc/self/limits: the number that a process may reach by itself, and the
// one that it may raise that to; -1 is no limit.
func (m *machine) limit(name string) (soft, hard int64, err error) {
	if m.System.Root == "" && runtime.GOOS != "linux" {
		return 0, 0, errors.New("it is told on Linux only")
	}
	text, err := m.text("/proc/self/limits")
	if err != nil {
		return 0, 0, err
	}
	number := func(s string) (int64, error) {
		if s == "unlimited" {
			return -1, nil
		}
		return strconv.ParseInt(s, 10, 64)
	}
	for line := range strings.Lines(text) {
		rest, is := strings.CutPrefix(line, name)
		words := strings.Fields(rest)
		if !is || len(words) < 2 {
			continue
		}
		soft, err := number(words[0])
		hard, err2 := number(words[1])
		return soft, hard, errors.Join(err, err2)
	}
	return 0, 0, fmt.Errorf("%s has no line %q", m.at("/proc/self/limits"), name)
}

func openFiles(m *machine) []Finding {
	soft, hard, err := m.limit("Max open files")
	switch {
	case err != nil:
		return one(skip("", "%v", err))
	case hard >= 0 && hard < minFiles:
		return one(warn("", "ulimit -n 4096 as root, LimitNOFILE=4096 for a service, docker run --ulimit nofile=4096", "%d at most; datasets of many files, with several loaders, need more", hard))
	case hard < 0:
		return one(ok("", "no limit"))
	}
	return one(ok("", "%d, raised to %d where needed", soft, hard))
}

func memlock(m *machine) []Finding {
	links, _ := m.network()
	if !slices.ContainsFunc(links, fabric) {
		return one(skip("", "it matters with InfiniBand only"))
	}
	soft, hard, err := m.limit("Max locked memory")
	switch {
	case err != nil:
		return one(skip("", "%v", err))
	case soft < 0:
		return one(ok("", "no limit"))
	}
	raised := ""
	if hard != soft {
		raised = " (the hard limit is another)"
	}
	return one(warn("", "ulimit -l unlimited: 'memlock unlimited' in /etc/security/limits.conf, LimitMEMLOCK=infinity for a service, docker run --ulimit memlock=-1",
		"%s%s; InfiniBand transfers need pinned memory, and registering it will fail", bytesText(soft), raised))
}

// The network

// fabric tells whether a link moves memory to memory: a port of InfiniBand, or of Ethernet that
// does the same.
func fabric(l hardware.Link) bool { return l.Kind == "infiniband" || l.Kind == "roce" }

func infiniBand(m *machine) (list []Finding) {
	links, err := m.network()
	if err != nil {
		return one(skip("", "%v", err))
	}
	for _, l := range links {
		if !fabric(l) {
			continue
		}
		rate := cmp.Or(l.Detail, bits(l.Rate))
		switch {
		case !l.Up:
			list = append(list, warn(l.Name, "look at the cable and the switch, and whether a subnet manager runs (opensm): ibstat "+strings.Split(l.Name, "/")[0], "the port is %s", cmp.Or(l.State, "down")))
		case l.Rate > 0 && l.Rate < 100e9:
			list = append(list, warn(l.Name, "ibstat and iblinkinfo show the width and the speed; reseat or replace the cable", "%s, %s: less than 100 Gbit/s, as of a link that has fallen back", cmp.Or(l.State, "up"), rate))
		default:
			list = append(list, ok(l.Name, "%s, %s", cmp.Or(l.State, "up"), rate))
		}
	}
	if len(list) == 0 {
		if m.Distributed && !m.fast(links) {
			return one(skip("", "there is no adapter; see ethernet"))
		}
		return one(skip("", "there is no adapter"))
	}
	return list
}

// fastLink is what training on several machines wants at least, in bit/s: the gradients of
// 100 million parameters take 0.32 s at that rate, and 3.2 s at 1 Gbit/s.
const fastLink = 10e9

// fast tells whether there is a link that is up and fast.
func (m *machine) fast(links []hardware.Link) bool {
	return slices.ContainsFunc(links, func(l hardware.Link) bool { return l.Up && l.Rate >= fastLink && l.Kind != "virtual" })
}

func bits(rate float64) string {
	switch {
	case rate <= 0:
		return "rate not known"
	case rate >= 1e9:
		return fmt.Sprintf("%.4g Gbit/s", rate/1e9)
	}
	return fmt.Sprintf("%.4g Mbit/s", rate/1e6)
}

func ethernet(m *machine) (list []Finding) {
	links, err := m.network()
	if err != nil {
		return one(skip("", "%v", err))
	}
	up := false
	for _, l := range links {
		if l.Kind != "ethernet" && l.Kind != "wireless" {
			continue
		}
		if !l.Up {
			list = append(list, skip(l.Name, "%s", cmp.Or(l.State, "down")))
			continue
		}
		up = true
		evidence := l.Kind + ", " + bits(l.Rate)
		switch {
		case m.Distributed && l.Rate > 0 && l.Rate < fastLink && !m.fast(links):
			list = append(list, warn(l.Name, "use an adapter and a switch of 10 Gbit/s or more, 25 to 100 for large models, or InfiniBand", "%s: exchanging the gradients of 100 million parameters (400 MB) takes %.1f s or more, every step", evidence, 400e6*8/l.Rate))
		case l.Kind == "ethernet" && l.Rate > 0 && l.Rate < 1e9:
			list = append(list, warn(l.Name, "replace the cable, and look at what the other end can: ethtool "+l.Name, "%s: less than 1 Gbit/s, as of a bad cable or an old switch", evidence))
		default:
			list = append(list, ok(l.Name, "%s", evidence))
		}
	}
	switch {
	case m.Distributed && !up && !m.fast(links):
		list = append(list, fail("", "plug in a cable, and set the interface up: ip link set DEVICE up", "no interface is up, and training on several machines needs one"))
	case len(list) == 0:
		list = one(skip("", "there is no interface of hardware's that is known"))
	}
	return list
}
