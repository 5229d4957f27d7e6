package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/sinter-dl/sinter/internal/backend/gpu"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/cuda"
	"github.com/sinter-dl/sinter/internal/dl/nvrtc"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Device is a card, or an instance of a card that is divided.
//
// What a method puts into a stream it puts there with mu held, so that the order of calls is
// the order on the device. Locks are taken in the order runs, staging, mu.
type Device struct {
	found
	target  codegen.Target
	ctx     cuda.Context
	compute cuda.Stream // programs, and what is ordered with them
	copies  cuda.Stream // copies beside the programs
	capture cuda.Stream // never runs anything: graphs are captured on it
	rtc     *nvrtc.API

	mu     sync.Mutex
	lost   error
	memory memory
	trace  func(*kernel.Program, []device.Event)
	flight flight
	open   int // programs that have run and are not closed

	runs   sync.Mutex // held during a run, so that runs take turns in waiting for the queue
	up     staging
	down   staging
	builds builds

	libraries libraries
}

var _ interface {
	device.Device
	device.Traced
	device.Described
	device.Waiter
	device.Divider
	device.Stager
	device.Snapshotter
	device.Trimmer
	device.Keeper
} = (*Device)(nil)

func open(f *found, rtc *nvrtc.API, options []string, store store) (*Device, error) {
	d := &Device{found: *f, rtc: rtc}
	d.target = codegen.Target{
		Dialect: f.dialect, Arch: f.arch, Units: f.info.Units, GroupSize: f.threads, Warp: 32,
		Local: f.shared, ParamBytes: 4096, Float64: true,
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := d.start(options, store)
	if err != nil {
		if d.ctx != 0 {
			d.cu.DevicePrimaryCtxRelease(d.id)
		}
		return nil, d.says(err)
	}
	return d, nil
}

// start makes the streams, in the context that all libraries of the process share.
func (d *Device) start(options []string, store store) (err error) {
	if d.ctx, err = d.cu.DevicePrimaryCtxRetain(d.id); err != nil {
		return err
	}
	if err := d.cu.CtxSetCurrent(d.ctx); err != nil {
		return err
	}
	for _, s := range []*cuda.Stream{&d.compute, &d.copies, &d.capture} {
		if *s, err = d.cu.StreamCreate(); err != nil {
			return err
		}
	}
	for i := range d.flight.ends {
		if d.flight.ends[i], err = d.cu.EventCreate(cuda.EventDisableTiming); err != nil {
			return err
		}
	}
	if err := d.memory.start(d); err != nil {
		return err
	}
	d.up.d, d.down.d = d, d
	d.builds.start(d, options, store)
	return nil
}

// Name is "cuda:0" for the first device that the driver shows.
func (d *Device) Name() string { return d.info.Name }

// Info is what is known of the device, with the memory that is free now.
func (d *Device) Info() device.Info {
	i := d.info
	if d.begin() == nil {
		if free, _, err := d.cu.MemGetInfo(); err == nil {
			i.Free = int64(free)
		}
	}
	d.end()
	return i
}

// Supports names the composites that have kernels.
func (d *Device) Supports(composite string, narrow bool) bool {
	return gpu.Supports(composite, narrow)
}

// Workspace is the number of bytes of scratch memory that a library kernel needs.
func (d *Device) Workspace(l *kernel.Library) int {
	return max(gpu.Workspace(l, &d.target), d.libraries.workspace(l))
}

// begin makes the device's context the calling thread's, which is state of the driver's that
// a goroutine takes along only as long as it stays on its thread. end is called after it in
// any case.
func (d *Device) begin() error {
	runtime.LockOSThread()
	return d.cu.CtxSetCurrent(d.ctx)
}

func (d *Device) end() { runtime.UnlockOSThread() }

// enter is begin with the lock, for whoever puts something into a stream; leave is called
// after it in any case.
func (d *Device) enter() error {
	d.mu.Lock()
	runtime.LockOSThread()
	if d.lost != nil {
		return d.lost
	}
	if err := d.cu.CtxSetCurrent(d.ctx); err != nil {
		return d.fail("making its context current", err)
	}
	return nil
}

func (d *Device) leave() {
	runtime.UnlockOSThread()
	d.mu.Unlock()
}

// fail turns an error of the driver's into the one that is returned. After one that poisons
// the context, every call fails with the same. The lock is held.
func (d *Device) fail(doing string, err error) error {
	if d.lost != nil {
		return d.lost
	}
	var e *cuda.Error
	if errors.As(err, &e) && e.Result.Poisons() {
		d.lost = &device.LostError{Device: d.info.Name, Doing: doing, Err: err}
		return d.lost
	}
	if doing != "" {
		err = fmt.Errorf("%s: %w", doing, err)
	}
	return d.says(err)
}

// says adds the device's name to an error.
func (d *Device) says(err error) error {
	if err == nil || errors.As(err, new(*device.MemoryError)) || errors.As(err, new(*device.LostError)) || strings.HasPrefix(err.Error(), d.info.Name) {
		return err
	}
	return fmt.Errorf("%s: %w", d.info.Name, err)
}

// flight is the programs in the queue. Their ends are events, used in turn: run number n
// ends with ends[n%maxFlight].
type flight struct {
	ends [maxFlight]cuda.Event
	last uint64 // number of the run that was put into the queue last; the first is 1
	done uint64 // that is known to be done, with all before it
	what [maxFlight]*kernel.Program
}

// maxFlight is how many programs are in the queue at most: one that runs, and enough behind
// it that the device does not wait for the host. What there is more only makes errors late.
const maxFlight = 4

// doing says what programs are in the queue, for an error that one of them may have made.
func (f *flight) doing() string {
	for n := f.done + 1; n <= f.last; n++ {
		p := f.what[n%maxFlight]
		if p == nil || len(p.Steps) == 0 {
			continue
		}
		s := fmt.Sprintf("a program of %d kernels (the first is %s)", len(p.Steps), p.Steps[0].Label())
		if n < f.last {
			s += fmt.Sprintf(", or one of the %d after it", f.last-n)
		}
		return s
	}
	return "what was put into the queue before"
}

// await returns when run number n is done. It is called without the lock mu.
func (d *Device) await(n uint64) error {
	if err := d.begin(); err != nil {
		d.end()
		return d.says(err)
	}
	err := d.cu.EventSynchronize(d.flight.ends[n%maxFlight])
	d.end()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		return d.fail(d.flight.doing(), err)
	}
	d.flight.done = max(d.flight.done, n)
	return nil
}

// Wait returns when all is done that was asked for before.
func (d *Device) Wait() error {
	d.mu.Lock()
	lost, last := d.lost, d.flight.last
	d.mu.Unlock()
	if lost != nil {
		return lost
	}
	err := d.begin()
	for _, s := range []cuda.Stream{d.copies, d.compute} {
		if err == nil {
			err = d.cu.StreamSynchronize(s)
		}
	}
	d.end()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		return d.fail(d.flight.doing(), err)
	}
	d.flight.done = max(d.flight.done, last)
	return nil
}
