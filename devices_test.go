package sinter

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/backend/apart"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/plan"
)

// separate adds the devices of package apart, anew for every test.
func separate(t *testing.T) *apart.Backend {
	t.Helper()
	b := apart.New()
	b.Limit, b.Kind = 1<<20, device.GPU
	before, opened := backends, devices.opened
	using, why := devices.using.Load(), devices.why
	backends, devices.opened = append(slices.Clone(backends), b), nil
	t.Cleanup(func() {
		backends, devices.opened, devices.why = before, opened, why
		devices.using.Store(using)
	})
	return b
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
	separate(t)
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
	for i, name := range []string{"cpu", "apart:0", "apart:1", "apart:0", "cpu", "cpu", "apart:GPU-17"} {
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
	f := separate(t)
	use(t, "apart:0")
	d := f.Opened("apart:0")
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
	var counts apart.Counts
	call := func() {
		t.Helper()
		batch.Reuse()
		for i := range batch.Floats() {
			batch.Floats()[i] = 1
		}
		before := ReadStats().Uploaded
		d.Counts()
		batch.Upload()
		var err error
		if out, err = step.CallInto(out, batch.Tensor(100)); err != nil {
			t.Fatal(err)
		}
		counts = d.Counts()
		if got := ReadStats().Uploaded - before; got != int64(counts.Bytes) {
			t.Errorf("%d bytes counted, expected %d", got, counts.Bytes)
		}
	}
	call()
	want := 100 * (1 + rate*2*rate)
	if got := out[0].Float(); got != want {
		t.Errorf("the sum is %g, expected %g", got, want)
	}
	call()
	if counts.Uploads != 0 || counts.Staged != 1 || counts.Bytes != 400 {
		t.Errorf("%+v, though only the batch is new", counts)
	}
	rate = 1
	call()
	if counts.Uploads != 1 || counts.Bytes > 400+4*small || counts.Staged != 1 {
		t.Errorf("%+v, expected one upload for all numbers and one for the batch", counts)
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
	separate(t)
	use(t, "apart:0")
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
		if m.Device != "apart:0" || m.Wanted != 240<<10 || m.Variables != 256<<10 || m.Results != 512<<10 || m.Inputs != 240<<10 || m.Total != 1<<20 {
			t.Errorf("%+v", m)
		}
		for _, say := range []string{"apart:0", "240 KiB", "256 KiB for variables", "512 KiB for results", "smaller batch"} {
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
	f := separate(t)
	use(t, "cpu")
	for _, c := range []struct {
		name string
		say  []string
	}{
		{"apart:3", []string{`no device "apart:3"`, "there are: auto, ", "apart:0, apart:1"}},
		{"tpu", []string{`no device "tpu"`, "apart:1"}},
		{"apart:2", []string{"cannot be used", "1999", "install another"}},
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
	f.Absent = errors.New("there is no driver")
	if err := SetDevice("apart:0"); err == nil || !strings.Contains(err.Error(), "there is no driver") {
		t.Error(err)
	}
	if err := DeviceProblems()["apart"]; err == nil {
		t.Error("nobody says that there is no driver")
	}
}

// The best device is taken, with the reason; what cannot be used is none.
func TestAutoDevice(t *testing.T) {
	f := separate(t)
	use(t, "auto")
	if d := DeviceName(); d != "apart:1" && !strings.HasPrefix(d, "cuda:") {
		t.Errorf("took %s", d)
	}
	if DeviceName() == "apart:1" && !strings.Contains(DeviceReason(), "computes more than") {
		t.Error(DeviceReason())
	}
	use(t, "apart:1")
	if TF32.Fast() || TF32.Computed() != FP32 {
		t.Error("a device has units for TF32, which its programs do not use")
	}
	use(t, "apart:0")
	if TF32.Computed() != FP32 || BF16.Computed() != BF16 {
		t.Error("a device without units for TF32 computes in it")
	}
	f.Absent = errors.New("there is no driver")
	use(t, "auto")
	if d := DeviceName(); strings.HasPrefix(d, "apart:") {
		t.Errorf("took %s, which cannot be used", d)
	}
}

// rounding is a device that takes programs in TF32, and what it was given.
type rounding struct {
	device.Device
	tf32 []bool
}

func (*rounding) TF32() bool { return true }
func (r *rounding) Compile(p *kernel.Program) (device.Executable, error) {
	r.tf32 = append(r.tf32, p.TF32)
	return r.Device.Compile(p)
}

// TF32 is a property of programs and not of devices: on one device there are programs with
// it and without, side by side.
func TestTF32(t *testing.T) {
	separate(t)
	use(t, "apart:1")
	e, err := inUse()
	if err != nil {
		t.Fatal(err)
	}
	r := &rounding{Device: e.dev}
	e.dev, e.programs = r, plan.NewCache(r, 8)
	if TF32.Computed() != TF32 || !TF32.Fast() || FP32.Computed() != FP32 {
		t.Error("a device that computes in TF32 is said not to")
	}
	x := Ones(Float32, 4, 4)
	product := func(in []*Tensor) []*Tensor { return []*Tensor{in[0].MatMul(in[0])} }
	for range 2 {
		for _, p := range []Precision{FP32, TF32, BF16} {
			if err := p.Eval(product([]*Tensor{x})...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := TF32.Compile(product).Call(Ones(Float32, 8, 8)); err != nil {
		t.Fatal(err)
	}
	// The last but one makes the ones.
	if want := []bool{false, true, false, false, true}; !slices.Equal(r.tf32, want) {
		t.Errorf("programs with TF32: %v, want %v", r.tf32, want)
	}
}

// SINTER_DEVICE is for programs that do not choose. What it names has to be there.
func TestDefaultDevice(t *testing.T) {
	separate(t)
	for name, want := range map[string]string{"": "cpu", "apart:0": "apart:0", "apart:GPU-17": "apart:0"} {
		devices.using.Store(nil)
		t.Setenv(defaultDevice, name)
		if got := DeviceName(); got != want {
			t.Errorf("%q gives %s, expected %s", name, got, want)
		}
	}
	devices.using.Store(nil)
	t.Setenv(defaultDevice, "apart:9")
	if err := Eval(Zeros(Float32, 2)); err == nil || !strings.Contains(err.Error(), defaultDevice) || !errors.As(err, new(*NoDeviceError)) {
		t.Error(err)
	}
}

// A device that is lost says so at every evaluation, and the program can go on with
// another one.
func TestLostDevice(t *testing.T) {
	f := separate(t)
	use(t, "apart:0")
	v := NewVariable("v", Zeros(Float32, 2))
	f.Opened("apart:0").Lose(1)
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
