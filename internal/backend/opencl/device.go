package opencl

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Device is a device of an OpenCL driver.
type Device struct {
	found
	target codegen.Target
	ctx    opencl.Context

	mu     sync.Mutex   // held while something is put into the queue
	queue  opencl.Queue // of all but what is traced
	timed  opencl.Queue // with profiling; 0 until something is traced
	trace  func(*kernel.Program, []device.Event)
	lost   error
	flight flight
	arena  *memory // as large as the largest program has wanted
	open   int     // programs that have run and are not closed
	stage  staging

	builds  builds
	choices choices
}

var _ interface {
	device.Device
	device.Traced
	device.Described
	device.Waiter
	device.Divider
	device.Snapshotter
	device.Keeper
} = (*Device)(nil)

func open(f *found) (*Device, error) {
	d := &Device{found: *f}
	d.target = codegen.Target{
		Dialect: codegen.OpenCL, Units: d.info.Units, GroupSize: d.traits.group, Warp: 1, Local: d.traits.local,
		ParamBytes: d.traits.params, Float64: d.traits.float64, Serial: d.info.Kind == device.CPU,
	}
	var err error
	if d.ctx, err = d.cl.CreateContext(d.id); err != nil {
		return nil, fmt.Errorf("%s: %w", d.info.Name, err)
	}
	if d.queue, err = d.cl.CreateCommandQueue(d.ctx, d.id, 0); err != nil {
		d.cl.ReleaseContext(d.ctx)
		return nil, fmt.Errorf("%s: %w", d.info.Name, err)
	}
	d.builds.start(d)
	return d, nil
}

// Name is "opencl:0" for the first device of all drivers.
func (d *Device) Name() string { return d.info.Name }

// Info is what is known of the device, with the memory that is free now.
func (d *Device) Info() device.Info {
	i := d.info
	i.Free = d.free()
	return i
}

// Supports names the composites that have kernels.
func (d *Device) Supports(composite string, narrow bool) bool {
	return gpu.Supports(composite, narrow)
}

// Workspace is the number of bytes of scratch memory that a library kernel needs.
func (d *Device) Workspace(l *kernel.Library) int { return gpu.Workspace(l, &d.target) }

// Size is what a program takes: bytes of its arena, and launches.
func (d *Device) Size(p *kernel.Program) (arena, launches int, err error) {
	return gpu.Size(p, &d.target, nil)
}

// Absent is a GPU that need not be there, with so many compute units. The rest is what
// AMD's cards since RDNA say about themselves.
func Absent(units int) *gpu.Absent {
	return &gpu.Absent{Target: codegen.Target{
		Dialect: codegen.OpenCL, Units: units, GroupSize: 256, Warp: 1, Local: 64 << 10, ParamBytes: 1024, Float64: true,
	}}
}

// Arena is the bytes of the arena.
func (d *Device) Arena() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.arena == nil {
		return 0
	}
	return int64(d.arena.bytes)
}

// Kept is the bytes held for programs.
func (d *Device) Kept() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := int64(d.stage.bytes())
	if d.arena != nil {
		n += int64(d.arena.bytes)
	}
	return n
}

// Wait returns when all is done that was asked for before.
func (d *Device) Wait() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.finish("waiting")
}

// finish waits for the queue. The lock is held.
func (d *Device) finish(doing string) error {
	if d.lost != nil {
		return d.lost
	}
	if err := d.flight.wait(d, 0); err != nil {
		return err
	}
	if err := d.cl.Finish(d.queue); err != nil {
		return d.fail(doing, err)
	}
	return nil
}

// flight is the programs in the queue, by events that mark their ends, in order.
type flight struct {
	ends  [maxFlight]opencl.Event
	n     int
	doing [maxFlight]*kernel.Program
}

// maxFlight is how many programs are in the queue at most. One that runs and one that
// waits are enough to keep the device busy; what more there are only take memory.
const maxFlight = 3

// add marks the end of a program that has just been put into the queue.
func (f *flight) add(d *Device, p *kernel.Program) error {
	if err := f.wait(d, maxFlight-1); err != nil {
		return err
	}
	if err := d.cl.EnqueueMarkerWithWaitList(d.queue, nil, &f.ends[f.n]); err != nil {
		return d.fail("a program", err)
	}
	f.doing[f.n] = p
	f.n++
	return nil
}

// wait returns when at most n programs are in the queue.
func (f *flight) wait(d *Device, n int) error {
	for f.n > n {
		e := f.ends[0]
		err := d.cl.WaitForEvents(e)
		d.cl.ReleaseEvent(e)
		copy(f.ends[:], f.ends[1:f.n])
		copy(f.doing[:], f.doing[1:f.n])
		f.n--
		f.doing[f.n] = nil
		if err != nil {
			return d.fail("a program that ran before", err)
		}
	}
	return nil
}

// fail turns a driver's error into the one that is returned. That memory is missing is
// told apart while nothing has begun; whatever else goes wrong in the queue leaves behind
// what nobody can know, so the device is lost to this process.
func (d *Device) fail(doing string, err error) error {
	if errors.As(err, new(*device.MemoryError)) {
		return err
	}
	if d.lost == nil {
		d.lost = &device.LostError{Device: d.info.Name, Doing: doing, Err: err}
	}
	return d.lost
}

// full is an error that says that memory is missing, if that is what err says.
func (d *Device) full(bytes int, what string, err error) error {
	var e *opencl.Error
	if errors.As(err, &e) && (e.Status.OutOfMemory() || e.Status == opencl.OutOfHostMemory) {
		if largest := d.traits.largest; e.Status == opencl.InvalidBufferSize && largest > 0 && int64(bytes) > largest {
			err = fmt.Errorf("the driver takes buffers of at most %d bytes: %w", largest, err)
		}
		return &device.MemoryError{Device: d.info.Name, Bytes: bytes, For: what, Free: d.free(), Total: d.info.Total, Err: err}
	}
	return fmt.Errorf("%s: %s of %d bytes: %w", d.info.Name, what, bytes, err)
}

// says adds the device's name to an error.
func (d *Device) says(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), d.info.Name+":") {
		return err
	}
	return fmt.Errorf("%s: %w", d.info.Name, err)
}
