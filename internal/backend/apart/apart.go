// Package apart is a backend for tests: devices that compute as the processor does, in
// memory that the host cannot read, of which there is only so much, and that can break.
// What the packages above do for GPUs is tested with it, where there is none and with the
// processor's bits.
//
//	device.Register(apart.New())
//	sinter.SetDevice("apart:0")
package apart

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Backend has two devices that can be used, apart:0 and apart:1, and one that cannot.
type Backend struct {
	Limit  int         // bytes of memory of each
	Kind   device.Kind // integrated unless said, which "auto" does not prefer to the processor
	Absent error       // if not nil there are no devices, and this is why

	mu   sync.Mutex
	open map[string]*Device
}

// New is a backend whose devices have 4 GiB of memory.
func New() *Backend {
	return &Backend{Limit: 4 << 30, Kind: device.Integrated, open: make(map[string]*Device)}
}

func (b *Backend) Name() string { return "apart" }

func (b *Backend) Devices() ([]device.Info, error) {
	if b.Absent != nil {
		return nil, b.Absent
	}
	all := []dtype.DType{dtype.Bool, dtype.Uint8, dtype.Int8, dtype.Int32, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64}
	info := func(n int) device.Info {
		return device.Info{Name: fmt.Sprintf("apart:%d", n), Backend: "apart", Kind: b.Kind, Model: fmt.Sprintf("Apart %d", n), Driver: "1.0", Total: int64(b.Limit), Free: -1, DTypes: all, Speed: float64(n)}
	}
	list := []device.Info{info(0), info(1), info(2)}
	list[0].Aliases = []string{"apart:GPU-17"}
	list[1].Matrix = []string{"tf32"}
	list[2].Problem, list[2].Remedy = "its driver is of 1999", "install another"
	return list, nil
}

func (b *Backend) Open(name string) (device.Device, error) {
	list, err := b.Devices()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, info := range list {
		if info.Name == name {
			d := &Device{Device: cpu.New(), info: info, limit: b.Limit}
			b.open[name] = d
			return d, nil
		}
	}
	return nil, fmt.Errorf("apart: there is no %s", name)
}

func (b *Backend) Libraries() []device.Library {
	return []device.Library{{Name: "libapart", Brings: "nothing", Remedy: "none is needed"}}
}

// Opened is a device that has been opened.
func (b *Backend) Opened(name string) *Device {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open[name]
}

// Device is one of the devices.
type Device struct {
	*cpu.Device
	info device.Info

	mu     sync.Mutex
	limit  int
	used   int
	counts Counts
	runs   int // that are left before the device is lost; 0: it never is
	lost   error
}

// Counts is what has been asked of a device.
type Counts struct {
	Uploads, Staged int
	Bytes           int // of both
	Runs            int
}

// Counts are those since the last call.
func (d *Device) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.counts
	d.counts = Counts{}
	return c
}

// Lose makes the device be lost in the nth program from now on.
func (d *Device) Lose(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.runs = n
}

// Revive makes a device that was lost usable again, as in another process: what lies in
// it is of no worth.
func (b *Backend) Revive(name string) *Device {
	d := b.Opened(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost, d.runs = nil, 0
	return d
}

// Used is how many bytes are taken.
func (d *Device) Used() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// SetLimit says how much memory the device has from now on.
func (d *Device) SetLimit(bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = bytes
}

func (d *Device) Name() string { return d.info.Name }

// Info has the memory that is free now.
func (d *Device) Info() device.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	info := d.info
	info.Free = int64(d.limit - d.used)
	return info
}

type buffer struct {
	device.Buffer // the processor's
	on            *Device
	data          []byte
	part          bool
}

func (b *buffer) Free() {
	if !b.part {
		b.on.mu.Lock()
		b.on.used -= len(b.data)
		b.on.mu.Unlock()
	}
	b.Buffer, b.data = nil, nil
}

func (d *Device) Alloc(n int) (device.Buffer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.used+n > d.limit {
		return nil, &device.MemoryError{Device: d.info.Name, Bytes: n, For: "a buffer", Free: int64(d.limit - d.used), Total: int64(d.limit)}
	}
	d.used += n
	memory := make([]byte, n+64)
	at := -int(uintptr(unsafe.Pointer(&memory[0]))) & 63
	return d.view(memory[at:at+n], false)
}

func (d *Device) view(data []byte, part bool) (device.Buffer, error) {
	b, err := d.Device.Wrap(data)
	return &buffer{b, d, data, part}, err
}

// Wrap copies, as the host's memory cannot be read.
func (d *Device) Wrap(data []byte) (device.Buffer, error) {
	b, err := d.Alloc(len(data))
	if err == nil {
		copy(b.(*buffer).data, data)
	}
	return b, err
}

func (d *Device) Part(b device.Buffer, offset, n int) device.Buffer {
	if offset%64 != 0 {
		panic("apart: a part that is not aligned")
	}
	p, err := d.view(b.(*buffer).data[offset:offset+n], true)
	if err != nil {
		panic(err)
	}
	return p
}

// bytes is the content of a buffer of this device of so many bytes.
func (d *Device) bytes(b device.Buffer, n int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own, ok := b.(*buffer)
	switch {
	case d.lost != nil:
		return nil, d.lost
	case !ok || own.on != d || own.Buffer == nil || len(own.data) != n:
		return nil, fmt.Errorf("apart: %d bytes and a buffer that is not of them, or not of %s", n, d.info.Name)
	}
	return own.data, nil
}

func (d *Device) Upload(dst device.Buffer, src []byte) error {
	data, err := d.bytes(dst, len(src))
	d.mu.Lock()
	d.counts.Uploads++
	d.counts.Bytes += copy(data, src)
	d.mu.Unlock()
	return err
}

func (d *Device) Stage(dst device.Buffer, src []byte) error {
	data, err := d.bytes(dst, len(src))
	d.mu.Lock()
	d.counts.Staged++
	d.counts.Bytes += copy(data, src)
	d.mu.Unlock()
	return err
}

func (d *Device) Download(dst []byte, src device.Buffer) error {
	data, err := d.bytes(src, len(dst))
	copy(dst, data)
	return err
}

func (d *Device) Snapshot(dst [][]byte, src []device.Buffer) (wait func() error, err error) {
	for i := range dst {
		if err := d.Download(dst[i], src[i]); err != nil {
			return nil, err
		}
	}
	return func() error { return nil }, nil
}

type executable struct {
	device.Executable
	on      *Device
	in, out []device.Buffer
}

func (d *Device) Compile(p *kernel.Program) (device.Executable, error) {
	x, err := d.Device.Compile(p)
	return &executable{Executable: x, on: d}, err
}

func (e *executable) Run(leaves, outputs []device.Buffer) error {
	d := e.on
	d.mu.Lock()
	d.counts.Runs++
	if d.runs > 0 {
		if d.runs--; d.runs == 0 {
			d.lost = &device.LostError{Device: d.info.Name, Doing: "a kernel read outside of its memory", Err: errors.New("CUDA_ERROR_ILLEGAL_ADDRESS (700)")}
		}
	}
	err := d.lost
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if e.in, err = d.unwrap(e.in[:0], leaves); err != nil {
		return err
	}
	if e.out, err = d.unwrap(e.out[:0], outputs); err != nil {
		return err
	}
	return e.Executable.Run(e.in, e.out)
}

func (d *Device) unwrap(to, from []device.Buffer) ([]device.Buffer, error) {
	for i, b := range from {
		own, ok := b.(*buffer)
		if !ok || own.on != d || own.Buffer == nil {
			return nil, fmt.Errorf("apart: buffer %d is not one of %s, or was freed", i, d.info.Name)
		}
		to = append(to, own.Buffer)
	}
	return to, nil
}
