package sinter

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// apart is a device with memory of its own, as far as the root package can tell: it is the
// processor behind buffers that nobody else can read, and it has only so much memory.
type apart struct {
	name string
	*cpu.Device
	mu      sync.Mutex
	limit   int
	used    int
	uploads []int // their sizes
	staged  int
	lost    error
}

type apartBuffer struct {
	device.Buffer // the processor's
	on            *apart
	data          []byte
	part          bool
}

func (b *apartBuffer) Free() {
	if !b.part {
		b.on.mu.Lock()
		b.on.used -= len(b.data)
		b.on.mu.Unlock()
	}
	b.data = nil
}

func (d *apart) Name() string { return d.name }

func (d *apart) Alloc(n int) (device.Buffer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.used+n > d.limit {
		return nil, &device.MemoryError{Device: d.name, Bytes: n, For: "a buffer", Free: int64(d.limit - d.used), Total: int64(d.limit)}
	}
	d.used += n
	words := make([]byte, n+64)
	at := -int(uintptr(unsafe.Pointer(&words[0]))) & 63
	return d.view(words[at:at+n], false)
}

func (d *apart) view(data []byte, part bool) (device.Buffer, error) {
	b, err := d.Device.Wrap(data)
	return &apartBuffer{b, d, data, part}, err
}

func (d *apart) Wrap([]byte) (device.Buffer, error) { panic("host memory cannot be read") }

func (d *apart) Part(b device.Buffer, offset, n int) device.Buffer {
	p, err := d.view(b.(*apartBuffer).data[offset:offset+n], true)
	if err != nil {
		panic(err)
	}
	return p
}

func (d *apart) Upload(dst device.Buffer, src []byte) error {
	d.uploads = append(d.uploads, len(src))
	return d.stage(dst, src)
}

func (d *apart) Stage(dst device.Buffer, src []byte) error {
	d.staged++
	return d.stage(dst, src)
}

func (d *apart) stage(dst device.Buffer, src []byte) error {
	b := dst.(*apartBuffer)
	if b.on != d || len(b.data) != len(src) {
		return fmt.Errorf("%s: a buffer of %s of %d bytes for %d", d.name, b.on.name, len(b.data), len(src))
	}
	copy(b.data, src)
	return d.lost
}

func (d *apart) Download(dst []byte, src device.Buffer) error {
	b := src.(*apartBuffer)
	if b.on != d || len(b.data) != len(dst) {
		return fmt.Errorf("%s: a buffer of %s of %d bytes to %d", d.name, b.on.name, len(b.data), len(dst))
	}
	copy(dst, b.data)
	return d.lost
}

func (d *apart) Snapshot(dst [][]byte, src []device.Buffer) (func() error, error) {
	for i := range dst {
		if err := d.Download(dst[i], src[i]); err != nil {
			return nil, err
		}
	}
	return func() error { return nil }, nil
}

type apartProgram struct {
	device.Executable
	on *apart
}

func (d *apart) Compile(p *kernel.Program) (device.Executable, error) {
	x, err := d.Device.Compile(p)
	return &apartProgram{x, d}, err
}

func (p *apartProgram) Run(leaves, outputs []device.Buffer) error {
	if p.on.lost != nil {
		return p.on.lost
	}
	unwrap := func(list []device.Buffer) (out []device.Buffer) {
		for _, b := range list {
			a := b.(*apartBuffer)
			if a.on != p.on || a.data == nil && a.Buffer.Bytes() > 0 {
				panic("a buffer of another device, or freed")
			}
			out = append(out, a.Buffer)
		}
		return out
	}
	return p.Executable.Run(unwrap(leaves), unwrap(outputs))
}

// fakes is a backend of such devices.
type fakes struct {
	list []device.Info
	err  error
	open map[string]*apart
}

func (f *fakes) Name() string                    { return "fake" }
func (f *fakes) Devices() ([]device.Info, error) { return f.list, f.err }
func (f *fakes) Libraries() []device.Library     { return []device.Library{{Name: "libfake"}} }
func (f *fakes) Open(n string) (device.Device, error) {
	d := &apart{name: n, Device: cpu.New(), limit: 1 << 20}
	f.open[n] = d
	return d, nil
}

// withFakes adds two devices, fake:0 and fake:1, and one that cannot be used.
func withFakes(t *testing.T) *fakes {
	t.Helper()
	f := &fakes{open: make(map[string]*apart), list: []device.Info{
		{Name: "fake:0", Backend: "fake", Kind: device.GPU, Model: "Fake 1", Total: 1 << 20, Free: 1 << 20, Aliases: []string{"fake:GPU-17"}, Speed: 1},
		{Name: "fake:1", Backend: "fake", Kind: device.GPU, Model: "Fake 2", Total: 1 << 20, Free: -1, Speed: 2, Matrix: []string{"tf32"}, DTypes: []dtype.DType{Float32}},
		{Name: "fake:2", Backend: "fake", Kind: device.GPU, Model: "Fake 3", Problem: "its driver is of 1999", Remedy: "install another", Speed: 3},
	}}
	before, opened := backends, devices.opened
	using, why := devices.using.Load(), devices.why
	backends, devices.opened = append(slices.Clone(backends), f), nil
	t.Cleanup(func() {
		backends, devices.opened, devices.why = before, opened, why
		devices.using.Store(using)
	})
	return f
}

func use(t *testing.T, name string) {
	t.Helper()
	if err := SetDevice(name); err != nil {
		t.Fatal(err)
	}
}

func wantOf(t *testing.T, x *Tensor, want ...float32) {
	t.Helper()
	if got := x.Floats(); !slices.Equal(got, want) {
		t.Errorf("%v on %s, expected %v", got, DeviceName(), want)
	}
}

// Whatever has a value keeps it when the device is another one: variables, what was
// assigned to them, results, data of the host, compiled functions with what they reuse.
func TestMove(t *testing.T) {
	withFakes(t)
	use(t, "cpu")
	v := NewVariable("v", FromFloats([]float32{1, 2}, 2))
	host := FromFloats([]float32{10, 20}, 2)
	large := Full(Float32, 3, 100)
	result := host.Mul(v.Value())
	if err := Eval(result, large); err != nil {
		t.Fatal(err)
	}
	count := 0.0
	step := CompileAssign(func(in []*Tensor) ([]*Variable, []*Tensor) {
		v.Assign(v.Value().Add(in[0]).Add(RuntimeScalarFunc(Float32, func() float64 { count++; return count })))
		return []*Variable{v}, []*Tensor{v.Value().MulScalar(2)}
	})
	batch := NewHostBuffer(Float32, 1, 2)
	var out []*Tensor
	x, y := float32(1), float32(2)
	for i, name := range []string{"cpu", "fake:0", "fake:1", "fake:0", "cpu", "cpu", "fake:GPU-17"} {
		use(t, name)
		batch.Reuse()
		copy(batch.Floats(), []float32{float32(i), 1})
		batch.Upload()
		var err error
		if out, err = step.CallInto(out, batch.View(2)); err != nil {
			t.Fatal(err)
		}
		x, y = x+float32(i)+float32(count), y+1+float32(count)
		wantOf(t, out[0], 2*x, 2*y)
		wantOf(t, v.Value(), x, y)
		wantOf(t, result, 10, 40)
		wantOf(t, result.Add(host), 20, 60)
		wantOf(t, large.Sum().Add(v.Value()), 300+x, 300+y)
		dst := make([]byte, 8)
		wait, err := SnapshotVariables([]*Variable{v}, [][]byte{dst})
		if err != nil {
			t.Fatal(err)
		}
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		if got := as[float32](dst); got[0] != x || got[1] != y {
			t.Errorf("the snapshot on %s has %v", name, got)
		}
		v.Assign(v.Value().AddScalar(1)) // carried out by the next device
		x, y = x+1, y+1
	}
	if err := v.SetBytes(rawBytes([]float32{5, 6})); err != nil {
		t.Fatal(err)
	}
	wantOf(t, v.Value().Add(host), 15, 26)
}

// What the host has to tell a program is few uploads: the batch, and everything small
// together, if it has changed.
func TestUploads(t *testing.T) {
	f := withFakes(t)
	use(t, "fake:0")
	d := f.open["fake:0"]
	v := NewVariable("v", Zeros(Float32, 100))
	rate := 0.5
	step := CompileAssign(func(in []*Tensor) ([]*Variable, []*Tensor) {
		a := RuntimeScalarFunc(Float32, func() float64 { return rate })
		b := RuntimeScalarFunc(Float64, func() float64 { return 2 * rate }).To(Float32)
		v.Assign(v.Value().Add(in[0].Mul(a).Mul(b)).Add(FromFloats([]float32{1})))
		return []*Variable{v}, []*Tensor{v.Value().Sum()}
	})
	batch := NewHostBuffer(Float32, 100)
	var out []*Tensor
	call := func() {
		t.Helper()
		batch.Reuse()
		for i := range batch.Floats() {
			batch.Floats()[i] = 1
		}
		before := ReadStats().Uploaded
		d.uploads, d.staged = nil, 0
		batch.Upload()
		var err error
		if out, err = step.CallInto(out, batch.Tensor(100)); err != nil {
			t.Fatal(err)
		}
		sum := 400
		for _, n := range d.uploads {
			sum += n
		}
		if got := ReadStats().Uploaded - before; got != int64(sum) {
			t.Errorf("%d bytes counted, expected %d", got, sum)
		}
	}
	call()
	want := 100 * (1 + rate*2*rate)
	if got := out[0].Float(); got != want {
		t.Errorf("the sum is %g, expected %g", got, want)
	}
	call()
	if len(d.uploads) != 0 || d.staged != 1 {
		t.Errorf("uploads of %v bytes and %d in advance, though only the batch is new", d.uploads, d.staged)
	}
	rate = 1
	call()
	if len(d.uploads) != 1 || d.uploads[0] > 4*small || d.staged != 1 {
		t.Errorf("uploads of %v bytes and %d in advance, expected one for all numbers and one for the batch", d.uploads, d.staged)
	}
	if got, want := out[0].Float(), 2*want+100*3; got != want {
		t.Errorf("the sum is %g, expected %g", got, want)
	}
	before := ReadStats().Downloaded
	out[0].Float()
	if got := ReadStats().Downloaded - before; got != 4 {
		t.Errorf("%d bytes downloaded", got)
	}
}

// A full device is emptied of what nobody needs before anybody is told, and then what is
// said is what holds the memory.
func TestOutOfMemory(t *testing.T) {
	withFakes(t)
	use(t, "fake:0")
	v := NewVariable("v", Zeros(Float32, 64<<10)) // a quarter of all
	for range 20 {                                // results that nobody keeps
		if err := Eval(v.Value().AddScalar(1)); err != nil {
			t.Fatal(err)
		}
	}
	kept := v.Value().AddScalar(1)
	other := v.Value().AddScalar(2)
	if err := Eval(kept, other); err != nil {
		t.Fatal(err)
	}
	host := FromFloats(make([]float32, 60<<10), 60<<10)
	if err := Eval(host.AddScalar(1)); err == nil {
		t.Fatal("more fits than there is room for")
	} else {
		var m *MemoryError
		if !errors.As(err, &m) {
			t.Fatal(err)
		}
		if m.Device != "fake:0" || m.Wanted != 240<<10 || m.Variables != 256<<10 || m.Results != 512<<10 || m.Inputs != 240<<10 || m.Total != 1<<20 {
			t.Errorf("%+v", m)
		}
		for _, say := range []string{"fake:0", "240 KiB", "256 KiB for variables", "512 KiB for results", "smaller batch"} {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%q does not say %q", err, say)
			}
		}
	}
	runtime.KeepAlive(other)
	other = nil
	wantOf(t, host.AddScalar(1).Sum(), 60<<10) // nothing was broken, and now there is room
	wantOf(t, kept.Max(), 1)
	use(t, "cpu")
	EmptyCache()
	wantOf(t, kept.Max().Add(v.Value().Max()), 1)
}

func TestNoDevice(t *testing.T) {
	f := withFakes(t)
	use(t, "cpu")
	for _, c := range []struct {
		name string
		say  []string
	}{
		{"fake:3", []string{`no device "fake:3"`, "there are: auto, ", "cpu, fake:0, fake:1"}},
		{"tpu", []string{`no device "tpu"`, "fake:1"}},
		{"fake:2", []string{"cannot be used", "1999", "install another"}},
	} {
		err := SetDevice(c.name)
		var no *NoDeviceError
		if !errors.As(err, &no) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, say := range c.say {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%q does not say %q", err, say)
			}
		}
		if DeviceName() != "cpu" {
			t.Errorf("the device is %s after an error", DeviceName())
		}
	}
	f.list, f.err = nil, errors.New("there is no driver")
	if err := SetDevice("fake:0"); err == nil || !strings.Contains(err.Error(), "there is no driver") {
		t.Error(err)
	}
	if err := DeviceProblems()["fake"]; err == nil {
		t.Error("nobody says that there is no driver")
	}
}

// The best device is taken, with the reason; what cannot be used is none.
func TestAutoDevice(t *testing.T) {
	f := withFakes(t)
	use(t, "auto")
	if d := DeviceName(); d != "fake:1" && !strings.HasPrefix(d, "cuda:") {
		t.Errorf("took %s", d)
	}
	if DeviceName() == "fake:1" && !strings.Contains(DeviceReason(), "computes more than") {
		t.Error(DeviceReason())
	}
	use(t, "fake:1")
	if TF32.Computed() != TF32 {
		t.Error("a device with units for TF32 does not compute in it")
	}
	use(t, "fake:0")
	if TF32.Computed() != FP32 || BF16.Computed() != BF16 {
		t.Error("a device without units for TF32 computes in it")
	}
	f.list = f.list[2:]
	use(t, "auto")
	if d := DeviceName(); strings.HasPrefix(d, "fake:") {
		t.Errorf("took %s, which cannot be used", d)
	}
}

// SINTER_DEVICE is for programs that do not choose. What it names has to be there.
func TestDefaultDevice(t *testing.T) {
	withFakes(t)
	for name, want := range map[string]string{"": "cpu", "fake:0": "fake:0", "fake:GPU-17": "fake:0"} {
		devices.using.Store(nil)
		t.Setenv(defaultDevice, name)
		if got := DeviceName(); got != want {
			t.Errorf("%q gives %s, expected %s", name, got, want)
		}
	}
	devices.using.Store(nil)
	t.Setenv(defaultDevice, "fake:9")
	if err := Eval(Zeros(Float32, 2)); err == nil || !strings.Contains(err.Error(), defaultDevice) || !errors.As(err, new(*NoDeviceError)) {
		t.Error(err)
	}
}

// A device that is lost says so at every evaluation, and the program can go on with
// another one.
func TestLostDevice(t *testing.T) {
	f := withFakes(t)
	use(t, "fake:0")
	v := NewVariable("v", Zeros(Float32, 2))
	f.open["fake:0"].lost = &device.LostError{Device: "fake:0", Doing: "kernel add", Err: errors.New("700")}
	if err := Eval(v.Value().AddScalar(1)); !errors.As(err, new(*DeviceLostError)) {
		t.Error(err)
	}
	use(t, "cpu")
	if err := Eval(v.Value().AddScalar(1)); !errors.As(err, new(*DeviceLostError)) {
		t.Error(err)
	}
	if err := v.SetBytes(rawBytes([]float32{5, 6})); err != nil { // of a checkpoint
		t.Fatal(err)
	}
	wantOf(t, v.Value().AddScalar(1), 6, 7)
}
