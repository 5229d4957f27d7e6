package sinter

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/plan"
)

// A program runs on one device at a time, the device in use. Each device that was in use
// is an engine, which keeps its programs and its memory; a value lies on the engine that
// made it, and is brought to the one in use when a program there reads it.

// DeviceInfo is what is known of a device without using it.
type DeviceInfo = device.Info

// DeviceKind is what sort of hardware a device is: "cpu", "gpu", "integrated gpu",
// "accelerator".
type DeviceKind = device.Kind

// DeviceLibrary is a library of a vendor that is used if it is there.
type DeviceLibrary = device.Library

// DeviceLostError is what every evaluation fails with once a device can no longer be used
// by this process. What lay on it is lost; a new process can use it again, as a rule.
type DeviceLostError = device.LostError

func allBackends() []device.Backend { return append(slices.Clip(backends), device.Registered()...) }

// engine is a device that has been opened.
type engine struct {
	dev      device.Device
	info     DeviceInfo
	programs *plan.Cache
	pool     buffers

	uploaded, downloaded atomic.Int64   // bytes
	snapshots            sync.WaitGroup // under way
}

func newEngine(dev device.Device, info DeviceInfo) *engine {
	e := &engine{dev: dev, info: info, programs: plan.NewCache(dev, maxPrograms)}
	e.pool = buffers{free: make(map[int][]device.Buffer), collectAt: minCollect, maxFree: maxFreeBytes}
	if !info.HostMemory {
		e.pool.maxFree = max(maxFreeBytes, info.Total/8)
	}
	return e
}

// devices is what has been opened, and what is in use.
var devices struct {
	sync.Mutex
	opened map[string]*engine // by name
	using  atomic.Pointer[engine]
	why    string // it is this one
}

// defaultDevice is the environment variable that chooses the device of programs that do
// not.
const defaultDevice = "SINTER_DEVICE"

// inUse is the engine in use; the first time, the one that SINTER_DEVICE names.
func inUse() (*engine, error) {
	if e := devices.using.Load(); e != nil {
		return e, nil
	}
	devices.Lock()
	defer devices.Unlock()
	if e := devices.using.Load(); e != nil {
		return e, nil
	}
	name := cmp.Or(os.Getenv(defaultDevice), "cpu")
	e, chosen, err := open(name)
	if err != nil {
		return nil, fmt.Errorf("%w (%s=%s)", err, defaultDevice, name)
	}
	devices.why = chosen
	devices.using.Store(e)
	return e, nil
}

// SetDevice chooses where programs run from now on:
//
//	cpu         the processor
//	cuda:0      the first NVIDIA GPU, in the order of its driver
//	cuda:MIG-…  a part of one, by its UUID; cuda:GPU-… a whole one
//	opencl:0    the first device of the OpenCL drivers
//	auto        the best of all, see [DeviceReason]
//
// If it is never called, the environment variable SINTER_DEVICE is asked, and without that
// it is the processor. What is not there is a [*NoDeviceError]: nothing runs on another
// device than the one that was asked for.
//
// The device may be changed at any time between evaluations. Variables and results stay
// where they are until a program on the new device reads them, which copies them there;
// [EmptyCache] gives back what the old one keeps besides. Tensors over memory of the host
// are uploaded anew.
func SetDevice(name string) error {
	evaluation.Lock()
	defer evaluation.Unlock()
	devices.Lock()
	defer devices.Unlock()
	e, why, err := open(name)
	if err != nil {
		return err
	}
	devices.why = why
	if old := devices.using.Swap(e); old != nil && old != e {
		old.giveBack()
	}
	return nil
}

// DeviceName is the device in use: "cpu", "cuda:0".
func DeviceName() string {
	e, err := inUse()
	if err != nil {
		return os.Getenv(defaultDevice) // every evaluation says that it is not there
	}
	return e.info.Name
}

// DeviceReason says why "auto" took the device in use: what spoke for it, and what was
// passed over and why. It is empty if the device was named, or if there is no other.
func DeviceReason() string {
	if _, err := inUse(); err != nil {
		return err.Error()
	}
	devices.Lock()
	defer devices.Unlock()
	return devices.why
}

// Device is what is known of the device in use.
func Device() (DeviceInfo, error) {
	e, err := inUse()
	if err != nil {
		return DeviceInfo{}, err
	}
	return e.describe(), nil
}

func (e *engine) describe() DeviceInfo {
	if d, ok := e.dev.(device.Described); ok {
		return d.Info()
	}
	return e.info
}

// Devices lists the devices of all backends, and those that are found and cannot be used,
// with the reason (Problem) and what to do about it (Remedy).
func Devices() []DeviceInfo {
	list, _ := listDevices()
	return list
}

// DeviceProblems tells, for every backend that has no device at all, why that is.
func DeviceProblems() map[string]error {
	_, problems := listDevices()
	return problems
}

// DeviceLibraries lists the libraries of vendors that backends use, by backend: where they
// were found, or what they would bring and how to get them.
func DeviceLibraries() map[string][]DeviceLibrary {
	m := make(map[string][]DeviceLibrary)
	for _, b := range allBackends() {
		if l := b.Libraries(); len(l) > 0 {
			m[b.Name()] = l
		}
	}
	return m
}

func listDevices() (list []DeviceInfo, problems map[string]error) {
	problems = make(map[string]error)
	for _, b := range allBackends() {
		l, err := b.Devices()
		list = append(list, l...)
		if err != nil {
			problems[b.Name()] = err
		}
	}
	return list, problems
}

// NoDeviceError is asking for a device that is not there or cannot be used.
type NoDeviceError struct {
	Name    string
	Problem string // "" if there is no such device at all
	Remedy  string
	Devices []string // that can be used
}

func (e *NoDeviceError) Error() string {
	s := fmt.Sprintf("sinter: there is no device %q", e.Name)
	if e.Problem != "" {
		s = fmt.Sprintf("sinter: the device %q cannot be used: %s", e.Name, e.Problem)
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s + "; there are: " + strings.Join(e.Devices, ", ")
}

// open is the engine of a device, and why it was chosen if there was a choice. The lock of
// devices is held.
func open(name string) (e *engine, why string, err error) {
	if name == "auto" {
		return openBest()
	}
	if e := devices.opened[name]; e != nil { // it need not be looked for
		return e, "", nil
	}
	list, problems := listDevices()
	usable := []string{"auto"}
	for _, d := range list {
		if d.Problem == "" {
			usable = append(usable, d.Name)
		}
	}
	missing := &NoDeviceError{Name: name, Devices: usable}
	kind, _, numbered := strings.Cut(name, ":")
	at := slices.IndexFunc(list, func(d DeviceInfo) bool {
		return d.Name == name || slices.Contains(d.Aliases, name) || !numbered && d.Backend == name && d.Problem == ""
	})
	switch {
	case at < 0:
		if err := problems[kind]; err != nil {
			missing.Problem = err.Error()
		}
		return nil, "", missing
	case list[at].Problem != "":
		missing.Problem, missing.Remedy = list[at].Problem, list[at].Remedy
		return nil, "", missing
	}
	e, err = openListed(list[at])
	return e, "", err
}

func openListed(info DeviceInfo) (*engine, error) {
	if e := devices.opened[info.Name]; e != nil {
		return e, nil
	}
	all := allBackends()
	at := slices.IndexFunc(all, func(b device.Backend) bool { return b.Name() == info.Backend })
	dev, err := all[at].Open(info.Name)
	if err != nil {
		return nil, fmt.Errorf("sinter: opening %s: %w", info.Name, err)
	}
	if devices.opened == nil {
		devices.opened = make(map[string]*engine)
	}
	e := newEngine(dev, info)
	devices.opened[info.Name] = e
	return e, nil
}

// AutoDevice is what "auto" takes, with the reason as [DeviceReason] gives it. Nothing is
// opened to find out.
func AutoDevice() (name, reason string) {
	best, broken := rankDevices()
	return best[0].Name, because(best, broken)
}

// openBest opens the device that is likely to be the fastest.
func openBest() (e *engine, why string, err error) {
	best, passed := rankDevices()
	for i, d := range best {
		if e, err = openListed(d); err == nil {
			return e, because(best[i:], passed), nil
		}
		passed = append(passed, err.Error())
	}
	return nil, "", err // not even the processor
}

// rankDevices lists the devices that can be used, the best first, and says what is wrong
// with the others. Between kinds the order is fixed, since their numbers cannot be
// compared. OpenCL on the processor comes last: it is slower than the programs that are
// made for the processor.
func rankDevices() (best []DeviceInfo, broken []string) {
	list, _ := listDevices()
	for _, d := range list {
		if d.Problem != "" {
			broken = append(broken, fmt.Sprintf("%s (%s) cannot be used: %s", d.Name, d.Model, d.Problem))
			continue
		}
		best = append(best, d)
	}
	rank := func(d DeviceInfo) int {
		switch {
		case d.Backend == "cuda":
			return 4
		case d.Kind == device.GPU || d.Kind == device.Other:
			return 3
		case d.Backend == "cpu":
			return 2
		case d.Kind == device.Integrated:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(best, func(a, b DeviceInfo) int {
		return cmp.Or(cmp.Compare(rank(b), rank(a)), cmp.Compare(b.Speed, a.Speed), cmp.Compare(b.Total, a.Total))
	})
	return best, broken
}

// because is why the first of the devices was taken, and what was passed over before.
func because(best []DeviceInfo, passed []string) string {
	var why []string
	if len(best) > 1 {
		why = append(why, reason(best[0], best[1:]))
	}
	return strings.Join(append(why, passed...), "; ")
}

// reason says why d was taken and not one of the others, which are in order.
func reason(d DeviceInfo, others []DeviceInfo) string {
	next := others[0]
	switch {
	case d.Backend == "cpu":
		return fmt.Sprintf("there is no GPU with memory of its own, and %s (%s) is slower as a rule", next.Name, next.Model)
	case next.Backend == "cpu":
		return "it is the only GPU"
	case next.Backend != d.Backend:
		return fmt.Sprintf("its backend is preferred to that of %s (%s)", next.Name, next.Model)
	case d.Speed > next.Speed:
		return fmt.Sprintf("it computes more than %s (%s)", next.Name, next.Model)
	case d.Total > next.Total:
		return fmt.Sprintf("it has more memory than %s (%s)", next.Name, next.Model)
	}
	return fmt.Sprintf("it is the first of those like %s (%s)", next.Name, next.Model)
}

// round is a size for people.
func round(n int64) string {
	switch f := float64(n); {
	case f >= 1<<30:
		return fmt.Sprintf("%.1f GiB", f/(1<<30))
	case f >= 1<<20:
		return fmt.Sprintf("%.1f MiB", f/(1<<20))
	default:
		return fmt.Sprintf("%.0f KiB", math.Ceil(f/(1<<10)))
	}
}
