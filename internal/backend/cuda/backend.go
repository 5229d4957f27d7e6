// Package cuda runs programs on NVIDIA's cards, by the driver's API alone: nothing of a
// toolkit is linked, and of the toolkit's libraries only NVRTC has to be there, which compiles
// kernels.
//
//	backend.go    what devices there are, and what they can do
//	locate.go     where libraries come from
//	telemetry.go  what NVML knows of devices, those that the process does not see too
//	device.go     a device: context and streams, its queue, its errors
//	memory.go     buffers, the pool, the arena that all programs share
//	transfer.go   copies between host and device, snapshots
//	build.go      kernels from text to machine code, kept in memory and on disk
//	executable.go programs: nodes, graphs, what changes in them from run to run
//	libraries.go  routines of NVIDIA's libraries
//	trace.go      when kernels ran
//
// There are two streams. Programs run in the compute stream, and whatever has to be ordered
// with them is put there: uploads, downloads, allocation and freeing. So a call returns before
// what it asks for is done, memory may be freed while the queue uses it, and what goes wrong
// there is returned by a later call. Copies that run beside the programs (Stage, Wrap, the
// second half of a snapshot) are in the copy stream, with events between the two.
//
// Tests run all of this on a simulated machine; see package simcuda.
package cuda

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/cuda/card"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/codegen/cache"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cuda"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dl/nvrtc"
	"github.com/sinter-dl/sinter/internal/dtype"
)

type backend struct {
	locate locator
	store  func() store             // what keeps compiled kernels on disk
	search func() ([]*found, error) // looks for devices, once
	rtc    *nvrtc.API               // after search
}

// Backend finds the devices of NVIDIA's driver.
func Backend() device.Backend { return standard }

var standard = newBackend(new(system), func() store { return cache.Default() })

func newBackend(l locator, s func() store) *backend {
	b := &backend{locate: l, store: s}
	b.search = sync.OnceValues(b.find)
	return b
}

func (*backend) Name() string { return "cuda" }

// found is a device that the driver lists.
type found struct {
	cu       *cuda.API
	id       cuda.Device
	info     device.Info
	dialect  codegen.Dialect
	compiler string // version of NVRTC
	option   string // its --gpu-architecture
	arch     int    // that kernels are compiled for
	threads  int    // the most of a block
	shared   int    // bytes of memory of a block
	pools    bool
}

// The least that is needed: since CUDA 12.0, kernels of a graph can be changed, and
// since Volta, threads of a warp exchange values as kernels do it.
const (
	minDriver = 12000
	minArch   = 70
)

func (b *backend) find() ([]*found, error) {
	lib, err := b.locate.driver()
	if err != nil {
		return nil, fmt.Errorf("no NVIDIA driver: %w", err)
	}
	cu, err := cuda.New(lib)
	if err != nil {
		return nil, fmt.Errorf("the NVIDIA driver cannot be used: %w; install driver 525.60.13 or newer", err)
	}
	if err := cu.Init(); err != nil {
		return nil, fmt.Errorf("the NVIDIA driver does not start: %w", err)
	}
	version, err := cu.DriverGetVersion()
	if err != nil {
		return nil, err
	}
	n, err := cu.DeviceGetCount()
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the NVIDIA driver lists no device; look at CUDA_VISIBLE_DEVICES")
	}
	var list []*found
	lowest := 0
	for i := range n {
		f := &found{cu: cu}
		if _, err := lib.Lookup("simConfigure"); err == nil {
			f.dialect = codegen.Sim
		}
		f.info.Name = fmt.Sprintf("cuda:%d", i)
		f.describe(i, version)
		list = append(list, f)
		if f.arch > 0 && (lowest == 0 || f.arch < lowest) {
			lowest = f.arch
		}
	}
	list = append(list, b.measure(list, version)...)
	var archs []int
	compiler := ""
	b.locate.suit(version, lowest)
	rtc, err := b.locate.library(find.NVRTC)
	if err == nil {
		if b.rtc, err = nvrtc.New(rtc); err == nil {
			archs, err = b.rtc.SupportedArchs()
		}
		if err == nil {
			var major, minor int
			major, minor, err = b.rtc.Version()
			compiler = fmt.Sprintf("%d.%d", major, minor)
			if err == nil && major > version/1000 {
				err = fmt.Errorf("%s is of CUDA %s, and the driver serves up to %s", b.rtc.Path(), compiler, serves(version))
			}
		}
	}
	for _, f := range list {
		switch {
		case f.info.Problem != "":
		case err != nil:
			f.info.Problem = "there is nothing to compile kernels with: " + err.Error()
			f.info.Remedy = fmt.Sprintf("install NVRTC for CUDA %d: pip install nvidia-cuda-nvrtc-cu12, or the toolkit", min(version/1000, 12))
			if version >= 13000 && lowest >= 75 {
				f.info.Remedy = "install NVRTC: pip install nvidia-cuda-nvrtc, or the toolkit"
			}
		default:
			f.compiler = compiler
			f.choose(archs)
		}
	}
	return list, nil
}

func serves(version int) string { return fmt.Sprintf("%d.%d", version/1000, version%1000/10) }

// choose finds what to compile for: machine code where the compiler knows the card's
// generation, else PTX of the newest that it knows, which the driver compiles.
func (f *found) choose(archs []int) {
	best := 0
	for _, a := range archs {
		if a <= f.arch {
			best = max(best, a)
		}
	}
	if best < minArch {
		f.info.Problem = fmt.Sprintf("NVRTC %s does not compile for compute capability %s", f.compiler, f.info.Version)
		f.info.Remedy = "install NVRTC of CUDA 12: the last for Volta is 12.9"
		return
	}
	kind := "sm"
	if best/10 != f.arch/10 {
		kind = "compute"
	}
	f.arch, f.option = best, fmt.Sprintf("--gpu-architecture=%s_%d", kind, best)
}

// describe asks the driver for what there is to know.
func (f *found) describe(ordinal, version int) {
	cu, i := f.cu, &f.info
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	var err error
	f.id, err = cu.DeviceGet(ordinal)
	note(err)
	attribute := func(a cuda.DeviceAttribute) int {
		v, err := cu.DeviceGetAttribute(f.id, a)
		note(err)
		return v
	}
	i.Model, err = cu.DeviceGetName(f.id)
	note(err)
	total, err := cu.DeviceTotalMem(f.id)
	note(err)
	i.Backend, i.Kind, i.Total, i.Free = "cuda", device.GPU, int64(total), -1
	i.Driver = "CUDA " + serves(version)
	major, minor := attribute(cuda.ComputeCapabilityMajor), attribute(cuda.ComputeCapabilityMinor)
	f.arch = 10*major + minor
	i.Version = fmt.Sprintf("%d.%d", major, minor)
	i.Units = attribute(cuda.MultiprocessorCount)
	f.threads = attribute(cuda.MaxThreadsPerBlock)
	f.shared = attribute(cuda.MaxSharedMemoryPerBlock)
	f.pools = attribute(cuda.MemoryPoolsSupported) != 0
	if attribute(cuda.Integrated) != 0 {
		i.Kind = device.Integrated
	}
	i.Speed = 2 * float64(lanes(f.arch)) * float64(i.Units) * float64(attribute(cuda.ClockRate)) * 1e3
	i.DTypes = []dtype.DType{dtype.Bool, dtype.Uint8, dtype.Int8, dtype.Int32, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64}
	i.Matrix = matrix(card.Of(f.arch))
	uuid, err := cu.DeviceGetUuid(f.id)
	note(err)
	name := uuid.String()
	// The driver shows one instance of a divided card to a process, and says so in the name:
	// "NVIDIA A100-SXM4-40GB MIG 1g.5gb".
	if model, profile, ok := strings.Cut(i.Model, " MIG "); ok {
		name = "MIG" + strings.TrimPrefix(name, "GPU")
		i.MIG = profile + " of " + model
	}
	i.Aliases = []string{"cuda:" + name}
	switch {
	case len(problems) > 0:
		i.Problem, i.Remedy = "the driver does not say what the device can do: "+errors.Join(problems...).Error(), "look at what nvidia-smi says"
	case version < minDriver:
		i.Problem = fmt.Sprintf("its driver serves CUDA up to %s, and %s is needed", serves(version), serves(minDriver))
		i.Remedy = "install driver 525.60.13 or newer"
	case f.arch < minArch:
		i.Problem = fmt.Sprintf("its compute capability is %s, and kernels are for %d.%d and later", i.Version, minArch/10, minArch%10)
		i.Remedy = "nothing helps; the OpenCL backend may run it"
	case attribute(cuda.ComputeMode) == 2:
		i.Problem, i.Remedy = "its compute mode forbids computing", "nvidia-smi -c DEFAULT allows it"
	}
}

// lanes is how many float32 units a multiprocessor has.
func lanes(arch int) int {
	switch arch {
	case 70, 72, 75, 80:
		return 64
	}
	return 128
}

// matrix is what the matrix units multiply.
func matrix(c card.Card) []string {
	var list []string
	for _, m := range []struct {
		name string
		has  bool
	}{{"fp16", c.Arch >= 70}, {"bf16", c.BF16}, {"tf32", c.TF32}, {"fp8", c.FP8}} {
		if m.has {
			list = append(list, m.name)
		}
	}
	return list
}

func (b *backend) Devices() ([]device.Info, error) {
	list, err := b.search()
	infos := make([]device.Info, len(list))
	for i, f := range list {
		infos[i] = f.info
	}
	return infos, err
}

func (b *backend) Open(name string) (device.Device, error) {
	list, err := b.search()
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if f.info.Name != name && !slices.Contains(f.info.Aliases, name) {
			continue
		}
		if f.info.Problem != "" {
			return nil, fmt.Errorf("%s, %s: %s; %s", name, f.info.Model, f.info.Problem, f.info.Remedy)
		}
		options := codegen.Options(&codegen.Target{Dialect: f.dialect, Arch: f.arch})
		for i, o := range options {
			if strings.HasPrefix(o, "--gpu-architecture=") {
				options[i] = f.option
			}
		}
		s := b.store()
		d, err := open(f, b.rtc, options, s)
		if err != nil { // not a nil *Device in an interface
			return nil, err
		}
		d.useLibraries(b.locate, s)
		return d, nil
	}
	if id, ok := strings.CutPrefix(name, "cuda:MIG-"); ok {
		return nil, fmt.Errorf("the driver does not show %s to this process: it shows one instance of a divided card, that which CUDA_VISIBLE_DEVICES=MIG-%s names", name, id)
	}
	if _, err := strconv.Atoi(strings.TrimPrefix(name, "cuda:")); err == nil {
		return nil, fmt.Errorf("there is no %s: the driver shows %d devices to this process", name, visible(list))
	}
	return nil, fmt.Errorf("there is no %s among the %d devices that the driver shows", name, visible(list))
}

// Libraries lists the libraries that the backend uses.
func (b *backend) Libraries() []device.Library { return b.locate.libraries() }
