// Package opencl runs programs on devices that have an OpenCL driver: graphics cards of
// AMD, Intel and NVIDIA, and processors by PoCL.
//
//	backend.go    what devices there are
//	device.go     a device: its queue, its errors
//	memory.go     buffers, and copies to and from the host
//	build.go      kernels from text to what the driver runs, kept in memory and on disk
//	executable.go programs: arguments are bound, kernels put into the queue
//	trace.go      when kernels ran, by the driver's profiling
//
// OpenCL 1.2 is enough: nothing of a later version is used. Every pointer that a kernel is
// given is a buffer with an offset in bytes, so the arena is one buffer that all programs
// of the device share, and so is a buffer of small values that come from the host.
//
// There is one queue, in order. What is asked for is put there and is done later: Upload
// is done with its source when it returns, Download waits, and a program that has failed is
// reported by the call after it.
package opencl

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/dtype"
)

type backend struct{}

// Backend finds the devices of all OpenCL drivers.
func Backend() device.Backend { return backend{} }

func (backend) Name() string { return "opencl" }

// found is a device that a driver lists.
type found struct {
	cl     *opencl.API
	id     opencl.Device
	info   device.Info
	family string // the platform's name
	traits traits
}

// traits are what the backend goes by.
type traits struct {
	shared  bool // device and host have the same memory
	group   int  // the most work-items of a group
	local   int  // bytes of a group's memory
	params  int  // bytes of a kernel's parameters
	float64 bool
	largest int64 // bytes of a buffer, as the driver says
}

// search looks for devices, once.
var search = sync.OnceValues(func() ([]*found, error) {
	lib, err := libraries().Open(find.OpenCL)
	if err != nil {
		return nil, err
	}
	cl, err := opencl.New(lib)
	if err != nil {
		return nil, err
	}
	platforms, err := cl.GetPlatformIDs()
	if err != nil {
		return nil, fmt.Errorf("OpenCL lists no drivers: %w", err)
	}
	if len(platforms) == 0 {
		return nil, fmt.Errorf("%s finds no OpenCL driver; %s", cl.Path(), remedy())
	}
	var list []*found
	var empty []string
	for _, p := range platforms {
		name, err := cl.GetPlatformInfo(p, opencl.PlatformName)
		if err != nil {
			empty = append(empty, err.Error())
			continue
		}
		ids, err := cl.GetDeviceIDs(p, opencl.DeviceAll)
		if err != nil {
			empty = append(empty, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		if len(ids) == 0 {
			empty = append(empty, name+" has no device")
		}
		for _, id := range ids {
			f := &found{cl: cl, id: id, family: name}
			f.info.Name = fmt.Sprintf("opencl:%d", len(list))
			f.describe()
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the OpenCL drivers have no device (%s); is it allowed to use them? On Linux that often takes the groups render and video", strings.Join(empty, "; "))
	}
	return list, nil
})

// remedy says how to get OpenCL.
func remedy() string {
	if runtime.GOOS != "linux" {
		return "it comes with the driver of the graphics card"
	}
	return "on Debian and Ubuntu it is the package ocl-icd-libopencl1 with a driver: that of an NVIDIA card brings its own, intel-opencl-icd is for Intel, mesa-opencl-icd (Rusticl) or ROCm for AMD, pocl-opencl-icd for the processor"
}

func (backend) Devices() ([]device.Info, error) {
	list, err := search()
	infos := make([]device.Info, len(list))
	for i, f := range list {
		infos[i] = f.info
		infos[i].Free = f.free()
	}
	return infos, err
}

func (backend) Open(name string) (device.Device, error) {
	list, err := search()
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if f.info.Name == name {
			if f.info.Problem != "" {
				return nil, fmt.Errorf("%s, %s: %s; %s", name, f.info.Model, f.info.Problem, f.info.Remedy)
			}
			return open(f)
		}
	}
	return nil, fmt.Errorf("there is no %s among the %d devices of OpenCL", name, len(list))
}

func (backend) Libraries() []device.Library {
	var list []device.Library
	for _, l := range libraries().All() {
		if l.Name == find.OpenCL || l.Name == find.CLBlast {
			list = append(list, device.Library{Name: l.Title, Path: l.Path, Version: l.Version, Brings: l.Brings, Problem: l.Problem, Remedy: l.Get})
		}
	}
	return list
}

// describe asks the device for what there is to know. What it does not answer is left
// empty, and what cannot be done without is a problem.
func (f *found) describe() {
	var problems []error
	number := func(name opencl.Info) uint64 {
		n, err := f.cl.DeviceUint(f.id, name)
		if err != nil {
			problems = append(problems, err)
		}
		return n
	}
	optional := func(name opencl.Info) uint64 {
		n, _ := f.cl.DeviceUint(f.id, name)
		return n
	}
	text := func(name opencl.Info) string {
		s, err := f.cl.DeviceText(f.id, name)
		if err != nil {
			problems = append(problems, err)
		}
		return s
	}
	i, t := &f.info, &f.traits
	i.Backend = "opencl"
	board, _ := f.cl.DeviceText(f.id, opencl.DeviceBoardNameAMD)
	i.Model = cmp.Or(board, text(opencl.DeviceName))
	i.Driver = f.family + " " + text(opencl.DriverVersion)
	i.Units = int(number(opencl.DeviceMaxComputeUnits))
	i.Total = int64(number(opencl.DeviceGlobalMemSize))
	t.shared = optional(opencl.DeviceHostUnifiedMemory) != 0
	t.group = int(number(opencl.DeviceMaxWorkGroupSize))
	t.local = int(number(opencl.DeviceLocalMemSize))
	t.params = int(number(opencl.DeviceMaxParameterSize))
	t.float64 = optional(opencl.DeviceDoubleFPConfig) != 0
	t.largest = int64(number(opencl.DeviceMaxMemAllocSize))
	switch kind := opencl.DeviceType(number(opencl.DeviceKind)); {
	case kind&opencl.DeviceGPU != 0 && t.shared:
		i.Kind = device.Integrated
	case kind&opencl.DeviceGPU != 0:
		i.Kind = device.GPU
	case kind&opencl.DeviceCPU != 0:
		i.Kind, t.shared = device.CPU, true
	default:
		i.Kind = device.Other
	}
	if i.Kind == device.GPU {
		// Lanes of a unit, by the vendors' documents: 64 on GCN and RDNA, 128 on NVIDIA's of
		// today; 8 are a guess for the rest. It only serves to choose among devices.
		lanes := 8.0
		switch vendor := strings.ToLower(text(opencl.DeviceVendor)); {
		case strings.Contains(vendor, "nvidia"):
			lanes = 128
		case strings.Contains(vendor, "advanced micro") || strings.Contains(vendor, "amd"):
			lanes = 64
		}
		i.Speed = 2 * lanes * float64(i.Units) * float64(optional(opencl.DeviceMaxClockFrequency)) * 1e6
	}
	i.DTypes = []dtype.DType{dtype.Bool, dtype.Uint8, dtype.Int8, dtype.Int32, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32}
	if t.float64 {
		i.DTypes = append(i.DTypes, dtype.Float64)
	}
	major, minor, err := f.cl.DeviceVersion(f.id)
	if err != nil {
		problems = append(problems, err)
	}
	i.Version = fmt.Sprintf("OpenCL %d.%d", major, minor)
	switch err := errors.Join(problems...); {
	case err != nil:
		i.Problem, i.Remedy = "the driver does not say what the device can do: "+err.Error(), "another version of the driver may"
	case major < 1 || major == 1 && minor < 2:
		i.Problem, i.Remedy = "it has "+i.Version+", and 1.2 is needed", "a newer driver may have it"
	case number(opencl.DeviceAvailable) == 0:
		i.Problem, i.Remedy = "the driver says that it is not available", "another process may hold it exclusively"
	case number(opencl.DeviceCompilerAvailable) == 0:
		i.Problem, i.Remedy = "its driver has no compiler", "a driver with a compiler is needed"
	case t.group < minGroup:
		i.Problem, i.Remedy = fmt.Sprintf("its groups have at most %d work-items, and %d are needed", t.group, minGroup), "nothing helps"
	case t.local < minLocal:
		i.Problem, i.Remedy = fmt.Sprintf("its groups have %d bytes of memory, and %d are needed", t.local, minLocal), "nothing helps"
	}
}

// What a codegen.Target counts on.
const (
	minGroup = 256
	minLocal = 32 << 10
)

// free is the memory that nobody uses, where the driver tells: AMD's does.
func (f *found) free() int64 {
	b, err := f.cl.GetDeviceInfo(f.id, opencl.DeviceGlobalFreeMemoryAMD)
	if err != nil || len(b) < 4 {
		return -1
	}
	kib := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16 | int64(b[3])<<24
	return kib << 10
}
