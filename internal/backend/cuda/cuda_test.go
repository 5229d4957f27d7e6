package cuda

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sinter-dl/sinter/devicetest"
	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dtype"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// simulated is the libraries of the simulated machine, and no others.
type simulated struct{ m *simcuda.Machine }

func (s simulated) driver() (dl.Symbols, error) { return dl.Open(s.m.Driver) }
func (s simulated) suit(driver, arch int)       {}
func (s simulated) libraries() []device.Library { return nil }
func (s simulated) library(n find.Name) (dl.Symbols, error) {
	if n != find.NVRTC {
		return nil, &find.MissingError{Library: find.Library{Name: n, Title: string(n)}}
	}
	return dl.Open(s.m.NVRTC)
}

// nowhere is where compiled kernels are kept.
func nowhere() store { return nil }

// one is held by the test that has the simulated machine, of which there is one.
var one sync.Mutex

// machine configures the simulated machine. When the test ends, nothing may be left of what
// it has made there, and nothing may have gone wrong.
func machine(t testing.TB, configuration string) *simcuda.Machine {
	m := simcuda.Require(t)
	one.Lock()
	m.Configure(configuration)
	m.Compiler("version=12.8;archs=50,60,70,75,80,86,89,90,100")
	t.Cleanup(func() {
		defer one.Unlock()
		if n := m.Count("overruns"); n > 0 {
			t.Errorf("memory beside %d allocations was written", n)
		}
		if log := m.Log(); log != "" {
			t.Errorf("the driver says: %s", log)
		}
	})
	return m
}

// openDevice opens a device of a simulated machine.
func openDevice(t testing.TB, configuration string) (*Device, *simcuda.Machine) {
	t.Helper()
	m := machine(t, configuration)
	d, err := newBackend(simulated{m}, nowhere).Open("cuda:0")
	if err != nil {
		t.Fatal(err)
	}
	return d.(*Device), m
}

// Without SINTER_STRESS, the tests whose kernels take long to compile or to simulate are left
// out, and of the elementwise operations a sample is tested.
func TestConformance(t *testing.T) {
	d, _ := openDevice(t, "")
	if os.Getenv("SINTER_STRESS") != "" {
		devicetest.Run(t, d)
		return
	}
	devicetest.Sample(t, d, "memory", "elementwise", "loop", "row", "multi", "random bits", "dot", "window", "scan", "execution")
}

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

// withArena is increments by way of an arena.
func withArena(n int) *kernel.Program {
	p := increments(n, 2)
	p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: 4 * n})
	p.Arena = 4 * n
	p.Steps[0].(*kernel.Fused).Parts[0].Args[1].Slot = 1
	p.Steps[1].(*kernel.Fused).Parts[0].Args[0].Slot = 1
	return p
}

func compile(t testing.TB, d *Device, p *kernel.Program) device.Executable {
	t.Helper()
	e, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
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
	return b
}

func repeated(n int, x int32) []byte {
	var w [4]byte
	binary.LittleEndian.PutUint32(w[:], uint32(x))
	return bytes.Repeat(w[:], n)
}

func run(t testing.TB, e device.Executable, leaves ...device.Buffer) {
	t.Helper()
	if err := e.Run(leaves, nil); err != nil {
		t.Fatal(err)
	}
}

func hold(t testing.TB, d *Device, b device.Buffer, x int32) {
	t.Helper()
	got := make([]byte, b.Bytes())
	if err := d.Download(got, b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, repeated(len(got)/4, x)) {
		t.Errorf("%d bytes, beginning with %v, are not all %d", len(got), got[:min(16, len(got))], x)
	}
}

// Programs are graphs from their second run on. Another leaf changes nodes of the graph, a
// larger arena makes another graph, and launches before keep what they had.
func TestGraphs(t *testing.T) {
	d, m := openDevice(t, "")
	const n = 300
	e := compile(t, d, withArena(n))
	x, y := words(t, d, n, 0), words(t, d, n, 100)
	run(t, e, x)
	if g := m.Count("graphs"); g != 0 {
		t.Errorf("%d graphs were launched by the first run", g)
	}
	for range 3 {
		run(t, e, x)
		run(t, e, y)
	}
	if g, made, nodes := m.Count("graphs"), m.Count("instantiated"), m.Count("nodes"); g != 6 || made != 1 || nodes != 10 {
		t.Errorf("%d launches of %d graphs, %d nodes changed; want 6 of 1, 10", g, made, nodes)
	}
	large := compile(t, d, withArena(4*n))
	z := words(t, d, 4*n, 7)
	run(t, large, z)
	run(t, e, x)
	hold(t, d, x, 10)
	hold(t, d, y, 106)
	hold(t, d, z, 9)
	if l := m.Count("launches"); l != 2+2+2+2 { // two runs one by one, two captures
		t.Errorf("%d launches of kernels", l)
	}
	e.Close()
	large.Close()
	if d.memory.arenaSize != 0 || m.Count("instantiated") != 0 {
		t.Errorf("an arena of %d bytes and %d graphs are left", d.memory.arenaSize, m.Count("instantiated"))
	}
	for _, b := range []device.Buffer{x, y, z} {
		b.Free()
	}
	if err := d.Wait(); err != nil {
		t.Fatal(err)
	}
	if live := m.Count("live"); live != 0 {
		t.Errorf("%d allocations are left", live)
	}
}

// What a program does that no node can be changed for is captured again.
func TestCopies(t *testing.T) {
	d, m := openDevice(t, "")
	const n = 64
	p := increments(n, 1)
	p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: 1, Bytes: 4 * n})
	p.Leaves = 2
	x := compile(t, d, p).(*executable)
	x.nodes = append(x.nodes, node{pointers: []pointer{{slot: 1}, {slot: 0}}, bytes: 4 * n})
	x.marked = append(x.marked, false)
	x.fixed = []int{0, 1}
	from := words(t, d, n, 1)
	var to []device.Buffer
	for range 6 {
		to = append(to, words(t, d, n, 0))
	}
	for range 2 {
		for i := range to {
			run(t, x, from, to[i])
			run(t, x, from, to[i])
			hold(t, d, to[i], m32(t, d, from))
		}
	}
	if made, updates := m.Count("instantiated"), m.Count("updates"); made != maxGraphs || updates != 12-maxGraphs {
		t.Errorf("%d graphs, %d updates", made, updates)
	}
	x.Close()
}

// m32 is the first number of a buffer.
func m32(t testing.TB, d *Device, b device.Buffer) int32 {
	got := make([]byte, b.Bytes())
	if err := d.Download(got, b); err != nil {
		t.Fatal(err)
	}
	return int32(binary.LittleEndian.Uint32(got))
}

// A run in steady state allocates nothing, whether or not it binds something else than the
// last one, and whether or not its input was uploaded meanwhile.
func TestRunAllocates(t *testing.T) {
	d, m := openDevice(t, "")
	const n = 1000
	e := compile(t, d, withArena(n))
	leaves := [][]device.Buffer{{words(t, d, n, 0)}, {words(t, d, n, 10)}}
	data := repeated(n, 3)
	for _, b := range leaves {
		if err := e.Run(b, nil); err != nil {
			t.Fatal(err)
		}
	}
	m.Change("execute=0")
	i := 0
	if per := testing.AllocsPerRun(100, func() {
		b := leaves[i/2%2]
		if err := e.Run(b, nil); err != nil {
			t.Fatal(err)
		}
		i++
	}); per != 0 {
		t.Errorf("a run allocates %v times", per)
	}
	if per := testing.AllocsPerRun(100, func() {
		b := leaves[i%2]
		if err := d.Stage(b[0], data); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(b, nil); err != nil {
			t.Fatal(err)
		}
		i++
	}); per != 0 {
		t.Errorf("staging and a run allocate %v times", per)
	}
	e.Close()
}

// Uploads, downloads, stages, runs, snapshots and frees in every order that a seed gives
// between the streams: what they see is what a device without a queue would show.
func TestOrder(t *testing.T) {
	const n = 9000 // more than a small piece of staging
	for seed := 1; seed <= 8; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d, _ := openDevice(t, fmt.Sprintf("seed=%d", seed))
			r := rand.New(rand.NewPCG(uint64(seed), 0))
			e, with := compile(t, d, increments(n, 2)), compile(t, d, withArena(n))
			bufs := []device.Buffer{words(t, d, n, 0), words(t, d, n, 0), words(t, d, n, 0)}
			want := make([]int32, len(bufs))
			var waits []func()
			for step := range 120 {
				i := r.IntN(len(bufs))
				b, data := bufs[i], repeated(n, int32(step))
				var err error
				switch r.IntN(9) {
				case 0, 1, 2:
					err = e.Run([]device.Buffer{b}, nil)
					want[i] += 2
				case 3:
					err = with.Run([]device.Buffer{b}, nil)
					want[i] += 2
				case 4, 5:
					err = d.Stage(b, data)
					want[i] = int32(step)
				case 6:
					err = d.Upload(b, data)
					want[i] = int32(step)
				case 7:
					dst, is := make([]byte, 4*n), want[i]
					var wait func() error
					wait, err = d.Snapshot([][]byte{dst}, []device.Buffer{b})
					waits = append(waits, func() {
						if err := wait(); err != nil || !bytes.Equal(dst, repeated(n, is)) {
							t.Errorf("a snapshot is %v…, want all %d; %v", dst[:8], is, err)
						}
					})
				case 8:
					// Another buffer, most likely where this one was.
					b.Free()
					bufs[i], err = d.Wrap(data)
					want[i] = int32(step)
				}
				clear(data) // it is read when the call returns
				if err != nil {
					t.Fatal(err)
				}
				if r.IntN(4) == 0 {
					hold(t, d, bufs[i], want[i])
				}
			}
			for i := range bufs {
				hold(t, d, bufs[i], want[i])
			}
			for _, w := range waits {
				w()
			}
			e.Close()
			with.Close()
		})
	}
}

// When memory runs out, what the pool keeps is given back first; then an error says who has
// it, and the device goes on.
func TestOutOfMemory(t *testing.T) {
	d, m := openDevice(t, "device=Small,memory:8388608")
	const n = 1 << 20
	a := words(t, d, n, 1)
	a.Free()
	_, err := d.Alloc(5 << 20)
	if err != nil {
		t.Fatalf("memory that was freed is not found again: %v", err)
	}
	_, err = d.Alloc(5 << 20)
	var e *device.MemoryError
	if !errors.As(err, &e) || e.Bytes != 5<<20 || e.Total != 8<<20 || e.Free > 3<<20 || !strings.Contains(err.Error(), "1 buffers hold 5242880 bytes") {
		t.Errorf("%v", err)
	}
	if device.Lost(err) || m.Count("trims") == 0 {
		t.Errorf("the pool was trimmed %d times", m.Count("trims"))
	}
	x := words(t, d, 16, 1)
	p := withArena(16)
	p.Arena = 6 << 20
	big := compile(t, d, p)
	if err := big.Run([]device.Buffer{x}, nil); !errors.As(err, &e) || e.For != "the arena of the programs" {
		t.Errorf("%v", err)
	}
	small := compile(t, d, withArena(16))
	for range 3 {
		run(t, small, x)
	}
	hold(t, d, x, 7)
	// One allocation that fails is tried again.
	m.Change("fail.alloc=1")
	if _, err := d.Alloc(64); err != nil {
		t.Error(err)
	}
	m.Change("fail.alloc=1")
	other := compile(t, d, increments(16, 1))
	run(t, other, x)
	run(t, other, x) // its graph
	hold(t, d, x, 9)
}

// A kernel that fails takes the device with it: all that is called later says so.
func TestLost(t *testing.T) {
	d, m := openDevice(t, "")
	const n = 64
	e := compile(t, d, increments(n, 2))
	x := words(t, d, n, 0)
	run(t, e, x)
	hold(t, d, x, 2)
	m.Change("fail.launch=3")
	var err error
	for i := 0; err == nil && i < 10; i++ {
		err = e.Run([]device.Buffer{x}, nil)
	}
	if err == nil {
		err = d.Wait()
	}
	var lost *device.LostError
	if !errors.As(err, &lost) || lost.Device != "cuda:0" || !strings.Contains(err.Error(), "increment") || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS (700)") {
		t.Errorf("%v", err)
	}
	if log := m.Log(); !strings.Contains(log, "failed as it was told to") {
		t.Errorf("the driver says %q", log)
	}
	b := make([]byte, 4*n)
	wait, snapshot := d.Snapshot([][]byte{b}, []device.Buffer{x})
	if wait != nil {
		t.Error("a snapshot is being made")
	}
	_, alloc := d.Alloc(4)
	_, wrap := d.Wrap(b)
	for what, err := range map[string]error{
		"Run": e.Run([]device.Buffer{x}, nil), "Download": d.Download(b, x), "Upload": d.Upload(x, b), "Stage": d.Stage(x, b),
		"Alloc": alloc, "Wrap": wrap, "Snapshot": snapshot, "Wait": d.Wait(),
	} {
		if !device.Lost(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	d.Trim()
	x.Free()
	e.Close()
}

// A snapshot that was begun before the device is lost must not pass for one.
func TestLostSnapshot(t *testing.T) {
	d, m := openDevice(t, "seed=0")
	const n = 64
	e := compile(t, d, increments(n, 1))
	x := words(t, d, n, 0)
	run(t, e, x)
	if err := d.Wait(); err != nil {
		t.Fatal(err)
	}
	m.Change("fail.launch=1")
	run(t, e, x)
	b := make([]byte, 4*n)
	wait, err := d.Snapshot([][]byte{b}, []device.Buffer{x})
	if err == nil {
		err = wait()
	}
	if !device.Lost(err) {
		t.Errorf("%v", err)
	}
	m.Log()
}

// What there is, and what there is to be said of what cannot be used.
func TestDevices(t *testing.T) {
	m := machine(t, "driver=12080;device=NVIDIA V100,cc:70,memory:17179869184,units:80;device=NVIDIA GeForce GTX 1080,cc:61;device=NVIDIA H100,cc:90,uuid:00112233-4455-6677-8899-aabbccddeeff;device=NVIDIA GB300,cc:103")
	b := newBackend(simulated{m}, nowhere)
	infos, err := b.Devices()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ version, matrix, problem, option string }{
		{"7.0", "[fp16]", "", "--gpu-architecture=sm_70"},
		{"6.1", "[]", "its compute capability is 6.1, and kernels are for 7.0 and later", ""},
		{"9.0", "[fp16 bf16 tf32 fp8]", "", "--gpu-architecture=sm_90"},
		{"10.3", "[fp16 bf16 tf32 fp8]", "", "--gpu-architecture=sm_100"},
	} {
		in := infos[i]
		if got := in.Name; got != fmt.Sprintf("cuda:%d", i) || in.Version != want.version || fmt.Sprint(in.Matrix) != want.matrix || in.Problem != want.problem {
			t.Errorf("%+v, want %+v", in, want)
		}
		list, _ := b.search()
		if want.option != "" && list[i].option != want.option {
			t.Errorf("%s is compiled for with %s, want %s", in.Model, list[i].option, want.option)
		}
	}
	if in := infos[0]; in.Total != 16<<30 || in.Units != 80 || in.Model != "NVIDIA V100" || in.Speed <= 0 {
		t.Errorf("%+v", in)
	}
	if a := fmt.Sprint(infos[2].Aliases); a != "[cuda:GPU-00112233-4455-6677-8899-aabbccddeeff]" {
		t.Error(a)
	}
	d, err := b.Open("cuda:GPU-00112233-4455-6677-8899-aabbccddeeff")
	if err != nil || d.Name() != "cuda:2" {
		t.Errorf("%v, %v", d, err)
	}
	if free := d.(*Device).Info().Free; free <= 0 {
		t.Errorf("%d bytes are free", free)
	}
	for name, want := range map[string]string{
		"cuda:1":        "NVIDIA GeForce GTX 1080: its compute capability is 6.1",
		"cuda:9":        "there is no cuda:9: the driver shows 4 devices",
		"cuda:MIG-abcd": "CUDA_VISIBLE_DEVICES=MIG-abcd",
	} {
		if d, err := b.Open(name); err == nil || d != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// One instance of a divided card.
func TestMIG(t *testing.T) {
	const id = "MIG-00112233-4455-6677-8899-aabbccddeeff"
	m := machine(t, "device=NVIDIA H100 80GB HBM3 MIG 1g.10gb,cc:90,mig:1,uuid:"+strings.TrimPrefix(id, "MIG-"))
	b := newBackend(simulated{m}, nowhere)
	infos, err := b.Devices()
	if err != nil || len(infos) != 1 {
		t.Fatal(infos, err)
	}
	if in := infos[0]; in.MIG != "1g.10gb of NVIDIA H100 80GB HBM3" || fmt.Sprint(in.Aliases) != "[cuda:"+id+"]" {
		t.Errorf("%+v", in)
	}
	if d, err := b.Open("cuda:" + id); err != nil || d.Name() != "cuda:0" {
		t.Errorf("%v, %v", d, err)
	}
}

// PTX where the compiler does not know the card's generation.
func TestPTX(t *testing.T) {
	m := machine(t, "device=Next,cc:120")
	m.Compiler("version=12.8;archs=70,80,90")
	d, err := newBackend(simulated{m}, nowhere).Open("cuda:0")
	if err != nil {
		t.Fatal(err)
	}
	x := words(t, d.(*Device), 16, 1)
	e := compile(t, d.(*Device), increments(16, 1))
	run(t, e, x)
	hold(t, d.(*Device), x, 2)
}

// Machines on which nothing can be used, and what is said about them.
func TestUnusable(t *testing.T) {
	for _, c := range []struct {
		configuration, compiler string
		devices, open           string // what the errors say
	}{
		{"device=none", "", "CUDA_ERROR_NO_DEVICE (100)", ""},
		{"init=803", "", "restart the machine after an update of the driver", ""},
		{"init=802", "", "nvidia-fabricmanager", ""},
		{"driver=11040", "", "", "its driver serves CUDA up to 11.4, and 12.0 is needed; install driver 525.60.13 or newer"},
		{"driver=12020", "version=13.0;archs=75,80", "", "is of CUDA 13.0, and the driver serves up to 12.2; install NVRTC for CUDA 12"},
		{"device=V100,cc:70", "version=13.0;archs=75,80,90", "", "is of CUDA 13.0, and the driver serves up to 12.8"},
		{"driver=13000;device=V100,cc:70", "version=13.0;archs=75,80,90", "", "NVRTC 13.0 does not compile for compute capability 7.0; install NVRTC of CUDA 12: the last for Volta is 12.9"},
	} {
		t.Run(c.configuration, func(t *testing.T) {
			m := machine(t, c.configuration)
			if c.compiler != "" {
				m.Compiler(c.compiler)
			}
			b := newBackend(simulated{m}, nowhere)
			_, err := b.Devices()
			if c.devices != "" {
				if err == nil || !strings.Contains(err.Error(), c.devices) {
					t.Errorf("%v, want %q", err, c.devices)
				}
			} else if err != nil {
				t.Error(err)
			}
			want := c.devices + c.open
			if d, err := b.Open("cuda:0"); err == nil || d != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
	t.Run("function missing", func(t *testing.T) {
		simcuda.Require(t)
		m := simcuda.Require(t, "cuGraphLaunch", "cuMemAlloc_v2")
		_, err := newBackend(simulated{m}, nowhere).Devices()
		if want := "it lacks cuMemAlloc_v2, cuGraphLaunch"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	})
}

// memo is a store in memory.
type memo map[string][]byte

func (m memo) Get(key string) ([]byte, bool) { b, ok := m[key]; return b, ok }
func (m memo) Put(key string, data []byte)   { m[key] = data }

// Machine code comes from the store the next time; what is damaged is compiled again.
func TestStore(t *testing.T) {
	m := machine(t, "")
	s := memo{}
	for _, damage := range []bool{false, false, true} {
		if damage {
			for k, v := range s {
				s[k] = append(make([]byte, 16), v[16:]...)
			}
		}
		d, err := newBackend(simulated{m}, func() store { return s }).Open("cuda:0")
		if err != nil {
			t.Fatal(err)
		}
		x := words(t, d.(*Device), 16, 1)
		e := compile(t, d.(*Device), increments(16, 1))
		run(t, e, x)
		hold(t, d.(*Device), x, 2)
		e.Close()
		m.Log()
	}
	if len(s) != 1 {
		t.Errorf("%d modules are stored", len(s))
	}
}

// Without a pool.
func TestNoPool(t *testing.T) {
	d, m := openDevice(t, "device=Old,pools:0,memory:4194304")
	x := words(t, d, 16, 1)
	e := compile(t, d, withArena(16))
	for range 3 {
		run(t, e, x)
	}
	hold(t, d, x, 7)
	if _, err := d.Alloc(5 << 20); !errors.As(err, new(*device.MemoryError)) {
		t.Error(err)
	}
	e.Close()
	x.Free()
	if live := m.Count("live"); live != 0 {
		t.Errorf("%d allocations are left", live)
	}
}

func TestTrace(t *testing.T) {
	d, _ := openDevice(t, "")
	x := words(t, d, 16, 1)
	p := increments(16, 3)
	e := compile(t, d, p)
	var steps []int
	d.Trace(func(of *kernel.Program, events []device.Event) {
		for i, ev := range events {
			if of != p || ev.End.Before(ev.Begin) || i > 0 && ev.Begin.Before(events[i-1].End) {
				t.Errorf("event %d: %+v", i, ev)
			}
			steps = append(steps, ev.Step)
		}
	})
	run(t, e, x)
	d.Trace(nil)
	run(t, e, x)
	if fmt.Sprint(steps) != "[0 1 2]" {
		t.Errorf("events of steps %v", steps)
	}
	hold(t, d, x, 7)
	e.Close()
}
