package opencl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// increments is a program that adds one to each of n int32 of its only leaf, in so many
// steps.
func increments(n, steps int) *kernel.Program {
	p := &kernel.Program{Slots: []kernel.Slot{{Kind: kernel.Leaf, Bytes: 4 * n}}, Leaves: 1}
	arg := kernel.Arg{DType: dtype.Int32, Stride: []int{1}}
	for range steps {
		p.Steps = append(p.Steps, &kernel.Fused{
			Name: "increment", Parts: []kernel.Part{{Outer: []int{n}, Args: []kernel.Arg{arg, arg}}},
			Code: []kernel.Instr{
				{Kind: kernel.Load, DType: dtype.Int32, Arg: 0},
				{Kind: kernel.Imm, DType: dtype.Int32, Bits: 1},
				{Kind: kernel.Apply, Op: ir.Add, DType: dtype.Int32, X: [3]int{0, 1}},
				{Kind: kernel.Store, DType: dtype.Int32, X: [3]int{2}, Arg: 1},
			},
		})
	}
	return p
}

func compile(t testing.TB, d *Device, p *kernel.Program) device.Executable {
	t.Helper()
	e, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// words is a buffer of int32 that are all x.
func words(t testing.TB, d *Device, n int, x int32) device.Buffer {
	t.Helper()
	b, err := d.Alloc(4 * n)
	if err == nil {
		err = d.Upload(b, repeated(n, x))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Free)
	return b
}

func repeated(n int, x int32) []byte {
	var w [4]byte
	binary.LittleEndian.PutUint32(w[:], uint32(x))
	return bytes.Repeat(w[:], n)
}

func hold(t testing.TB, d *Device, b device.Buffer, want []byte) {
	t.Helper()
	got := make([]byte, b.Bytes())
	if err := d.Download(got, b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, beginning with %d, and not %d beginning with %d", len(got), got[:min(16, len(got))], len(want), want[:min(16, len(want))])
	}
}

// A run that binds what the last one has bound, and one that does not, allocate nothing.
func TestRunAllocates(t *testing.T) {
	d := testDevice(t)
	const n = 1000
	e := compile(t, d, increments(n, 4))
	leaves := [][]device.Buffer{{words(t, d, n, 0)}, {words(t, d, n, 10)}}
	i := 0
	per := testing.AllocsPerRun(100, func() {
		if err := e.Run(leaves[i/2%2], nil); err != nil {
			t.Fatal(err)
		}
		i++
	})
	if per != 0 {
		t.Errorf("a run allocates %v times", per)
	}
	hold(t, d, leaves[0][0], repeated(n, 4*int32((i+3)/4+(i+2)/4)))
	hold(t, d, leaves[1][0], repeated(n, 10+4*int32((i+1)/4+i/4)))
}

// A part of a buffer is bound like a buffer, and what lies around it stays.
func TestParts(t *testing.T) {
	d := testDevice(t)
	e := compile(t, d, increments(16, 1))
	whole := words(t, d, 64, 5)
	part := d.Part(whole, 128, 64)
	for range 2 {
		if err := e.Run([]device.Buffer{part}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Run([]device.Buffer{d.Part(whole, 64, 64)}, nil); err != nil {
		t.Fatal(err)
	}
	part.Free()
	hold(t, d, whole, bytes.Join([][]byte{repeated(16, 5), repeated(16, 6), repeated(16, 7), repeated(16, 5)}, nil))
}

// On a card, uploads go through staging; here the device is made to take that way.
func TestStaging(t *testing.T) {
	d := testDevice(t)
	d.traits.shared = false
	for _, n := range []int{1, 1000, stagingBytes/4 - 1, stagingBytes + 5, 3 * stagingBytes / 2} {
		data := make([]byte, 4*n)
		for i := range data {
			data[i] = byte(i*7 + i>>11)
		}
		b, err := d.Alloc(len(data))
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(data)
		if err := d.Upload(b, data); err != nil {
			t.Fatal(err)
		}
		clear(data) // Upload is done with it
		hold(t, d, b, want)
		b.Free()
	}
	if d.Kept() != 2*stagingBytes {
		t.Errorf("%d bytes are kept, and staging has %d", d.Kept(), 2*stagingBytes)
	}
}

// A snapshot has what was there when it was taken, whatever is run behind it.
func TestSnapshot(t *testing.T) {
	d := testDevice(t)
	const n = 1 << 18
	e := compile(t, d, increments(n, 1))
	b := words(t, d, n, 1)
	var waits []func() error
	var dst [][]byte
	for range 5 {
		dst = append(dst, make([]byte, 4*n))
		wait, err := d.Snapshot(dst[len(dst)-1:], []device.Buffer{b})
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, wait)
		if err := e.Run([]device.Buffer{b}, nil); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	for i, wait := range waits {
		if err := errors.Join(wait(), wait()); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(dst[i], repeated(n, int32(1+i))) {
			t.Errorf("snapshot %d is not what was there", i)
		}
	}
	if _, err := d.Snapshot([][]byte{make([]byte, 3)}, []device.Buffer{b}); err == nil {
		t.Error("a snapshot into memory that is too small was taken")
	}
}

func TestTrace(t *testing.T) {
	d := testDevice(t)
	const n = 1 << 16
	p := increments(n, 3)
	e := compile(t, d, p)
	b := words(t, d, n, 0)
	run := func() {
		t.Helper()
		if err := e.Run([]device.Buffer{b}, nil); err != nil {
			t.Fatal(err)
		}
	}
	run()
	begin := time.Now()
	calls := 0
	d.Trace(func(of *kernel.Program, events []device.Event) {
		calls++
		if of != p || len(events) != len(p.Steps) {
			t.Fatalf("%d events of a program with %d steps", len(events), len(p.Steps))
		}
		last := begin
		for i, ev := range events {
			if ev.Step != i || ev.Begin.Before(last) || !ev.End.After(ev.Begin) || ev.End.After(time.Now()) || len(ev.Workers) != 1 {
				t.Errorf("event %d: step %d, %v after the one before, took %v", i, ev.Step, ev.Begin.Sub(last), ev.End.Sub(ev.Begin))
			}
			last = ev.End
		}
	})
	run()
	run()
	d.Trace(nil)
	run()
	if calls != 2 {
		t.Errorf("%d runs were told of, not 2", calls)
	}
	hold(t, d, b, repeated(n, 12))
}

func TestNoFloat64(t *testing.T) {
	d := testDevice(t)
	d.traits.float64, d.target.Float64 = false, false
	e, err := d.Compile(increments(4, 1)) // without, it works
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	p := increments(4, 1)
	f := p.Steps[0].(*kernel.Fused)
	f.Name = "dsum"
	for i := range f.Code {
		f.Code[i].DType = dtype.Float64
	}
	f.Code[1].Bits = math.Float64bits(1)
	if _, err := d.Compile(p); err == nil || !strings.Contains(err.Error(), "dsum computes in float64, which "+d.info.Model+" does not have") {
		t.Errorf("a program that computes in float64: %v", err)
	}
}

// Errors say what is wrong, and what is wrong with memory can be told from the rest.
func TestErrors(t *testing.T) {
	d := testDevice(t)
	_, err := d.Alloc(1 << 60)
	var m *device.MemoryError
	if !errors.As(err, &m) || m.Bytes != 1<<60 || m.Total != d.info.Total {
		t.Errorf("a buffer that does not fit: %v", err)
	}
	big := increments(4, 1)
	big.Arena = 1 << 58
	big.Slots = append(big.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: 1 << 58})
	e := compile(t, d, big)
	if err := e.Run([]device.Buffer{words(t, d, 4, 0)}, nil); !errors.As(err, &m) || m.For != "the arena" {
		t.Errorf("an arena that does not fit: %v", err)
	}
	again := compile(t, d, increments(4, 1))
	if err := again.Run([]device.Buffer{words(t, d, 4, 0)}, nil); err != nil {
		t.Errorf("after an arena that did not fit: %v", err)
	}
	freed := words(t, d, 4, 0)
	freed.Free()
	if err := again.Run([]device.Buffer{freed}, nil); err == nil {
		t.Error("a buffer that was freed was bound")
	}
	if err := again.Run([]device.Buffer{words(t, testDevice(t), 4, 0)}, nil); err == nil {
		t.Error("a buffer of another device was bound")
	}

	bad := codegen.NewBuilder("bad", 256)
	x := bad.Pointer("f32")
	bad.P("%s[LOCAL(0)] = 1.0f;", x)
	bad.P("%s[LOCAL(0)] = nowhere;", x)
	good := codegen.NewBuilder("good", 256)
	good.P("%s[LOCAL(0)] = 1.0f;", good.Pointer("f32"))
	_, err = d.take([]*codegen.Kernel{good.Kernel(), bad.Kernel()})
	var b *BuildError
	if !errors.As(err, &b) || !strings.Contains(b.Where, "in kernel "+bad.Kernel().Name+": p0[LOCAL(0)] = nowhere;") || !strings.Contains(b.Log, "nowhere") {
		t.Errorf("a kernel that cannot be compiled: %v", err)
	}
}

// memoryStore is a store without a disk.
type memoryStore map[string][]byte

func (s memoryStore) Get(key string) ([]byte, bool) { data, ok := s[key]; return data, ok }
func (s memoryStore) Put(key string, data []byte)   { s[key] = data }

// What was compiled is taken from the store the next time; what the driver does not take
// from there is compiled again.
func TestStore(t *testing.T) {
	store := memoryStore{}
	const n = 100
	run := func() {
		t.Helper()
		d := testDevice(t)
		d.builds.store, d.builds.keeps = store, false
		b := words(t, d, n, 0)
		if err := compile(t, d, increments(n, 2)).Run([]device.Buffer{b}, nil); err != nil {
			t.Fatal(err)
		}
		hold(t, d, b, repeated(n, 2))
	}
	run()
	if len(store) != 1 {
		t.Fatalf("%d modules were stored", len(store))
	}
	run()
	for key := range store {
		store[key] = []byte("no binary")
	}
	run()
	for _, data := range store {
		if len(data) < 100 {
			t.Error("what cannot be used was not replaced")
		}
	}
}

// Modules that no program uses go when there are many.
func TestModules(t *testing.T) {
	d := testDevice(t)
	e := compile(t, d, increments(10, 1)).(*executable)
	kept := e.modules[0]
	for range 2 * maxModules {
		d.builds.modules = append(d.builds.modules, &module{})
	}
	d.give(nil)
	if n := len(d.builds.modules); n != maxModules+1 || d.builds.modules[0] != kept {
		t.Errorf("%d modules are left, the used one first: %v", n, d.builds.modules[0] == kept)
	}
}

func TestListing(t *testing.T) {
	d := testDevice(t)
	list, err := Backend().Devices()
	if err != nil || len(list) == 0 {
		t.Fatalf("no devices: %v", err)
	}
	for i, info := range list {
		if info.Name != "opencl:"+string(rune('0'+i)) || info.Model == "" || info.Total <= 0 || info.Units <= 0 {
			t.Errorf("%+v", info)
		}
	}
	if _, err := Backend().Open("opencl:99"); err == nil || !strings.Contains(err.Error(), "opencl:99") {
		t.Errorf("a device that is not there: %v", err)
	}
	if i := d.Info(); i.Backend != "opencl" || i.HostMemory {
		t.Errorf("%+v", i)
	}
}
