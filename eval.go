package sinter

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/internal/backend/cpu"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/plan"
)

// memory is what a storage holds: host memory that was handed in, or a buffer of the
// device, or both.
type memory struct {
	host     []byte
	buffer   device.Buffer
	variable *Variable // nil if it is not one's

	scalar      func() float64 // of a RuntimeScalarFunc: the number, which host holds in type dtype
	dtype       DType
	placeholder bool // stands for an input of a compiled function and has no memory
	result      bool // belongs to the result of a compiled function alone
}

func newStorage(m *memory, name string) *ir.Storage { return &ir.Storage{Data: m, Name: name} }

func memoryOf(s *ir.Storage) *memory { return s.Data.(*memory) }

// own makes b the storage's memory; it returns to the pool with the storage.
func (m *memory) own(s *ir.Storage, b device.Buffer) {
	m.buffer = b
	runtime.AddCleanup(s, release, b)
}

// bound is the storage's memory on the device.
func (m *memory) bound() (device.Buffer, error) {
	if m.placeholder {
		return nil, errPlaceholder
	}
	if m.buffer == nil {
		b, err := current().Wrap(m.host)
		if err != nil {
			return nil, err
		}
		m.buffer = b
	}
	return m.buffer, nil
}

// renew asks for the number of a RuntimeScalarFunc.
func (m *memory) renew() error {
	encode(m.host, m.dtype, m.scalar())
	if m.buffer == nil {
		return nil
	}
	return current().Upload(m.buffer, m.host)
}

// evaluation is held while a program is found and run, and whenever the device or
// the state of variables changes: evaluations of different goroutines take turns.
var evaluation sync.Mutex

// maxPrograms is how many compiled programs are kept. A training run needs a handful;
// each holds an arena.
const maxPrograms = 64

// backend is the device in use with its programs. It is made on first use.
var backend = sync.OnceValue(func() *plan.Cache {
	openDevice = cpu.New()
	return plan.NewCache(openDevice, maxPrograms)
})

var openDevice device.Device

func current() device.Device {
	backend()
	return openDevice
}

// SetDevice chooses where programs run: "auto" takes the best device there is,
// "cpu" the processor.
func SetDevice(name string) error {
	switch name {
	case "auto", "cpu":
		return nil
	}
	return fmt.Errorf("sinter: there is no device %q; devices are: auto, cpu", name)
}

// DeviceName is the device in use, "cpu".
func DeviceName() string { return current().Name() }

// SetThreads sets how many threads programs on the CPU use from now on, from 1 to the
// number of processors (GOMAXPROCS, if that is less); other numbers are brought into
// that range. If it is not called, the environment variable SINTER_THREADS says how
// many, and without that there are GOMAXPROCS. No result changes by a bit.
func SetThreads(n int) { cpu.SetThreads(n) }

// Threads is how many threads programs on the CPU use.
func Threads() int { return cpu.Threads() }

// Eval computes the tensors, all in one program. Their values are kept: evaluating
// them again, or what is built on them, does not compute them again. Assignments
// that [Tensor.AlsoAssign] tied to them are carried out. A [Precision] other than
// float32 has a method of this name.
//
// Evaluations of different goroutines take turns. A tensor, or two that share
// something not yet evaluated, must not be evaluated by one goroutine while another
// builds on it.
func Eval(ts ...*Tensor) error { return FP32.Eval(ts...) }

func evaluate(roots []*ir.Node, vars []*Variable, p Precision) (err error) {
	evaluation.Lock()
	defer evaluation.Unlock()
	var outputs []*ir.Node
	for _, n := range roots {
		if n.Op == ir.Input && len(n.Effects) == 0 {
			if err := fresh(n, n); err != nil {
				return err
			}
		} else if !slices.Contains(outputs, n) {
			outputs = append(outputs, n)
		}
	}
	for _, v := range vars {
		if v.pending != nil && !slices.Contains(outputs, v.pending) {
			outputs = append(outputs, v.pending)
		}
	}
	if len(outputs) == 0 {
		return nil
	}
	g, key, leaves := ir.Key(outputs)
	err = execute(g, key, leaves, precisions[p].low)
	for _, n := range g.Outputs {
		if n.Op != ir.Assign {
			continue
		}
		v := memoryOf(n.Attr.(ir.Target).Storage).variable
		if err == nil {
			v.done(n)
		} else if v.pending == n {
			v.reset()
		}
	}
	return err
}

// observe is called with what is about to be run; tests look at plans through it.
var observe = func(outputs, leaves []*ir.Node, low DType) {}

// execute runs the program for a graph and turns its outputs into leaves. Nothing
// has changed if it fails.
func execute(g *ir.Graph, key []byte, leaves []*ir.Node, low DType) error {
	if err := upToDate(g); err != nil {
		return err
	}
	programs := backend()
	for _, l := range leaves {
		if v := memoryOf(l.Storage).variable; v != nil {
			l.Storage.Name = v.Name
		}
	}
	observe(g.Outputs, leaves, low)
	p, err := programs.Get(g, key, leaves, low)
	if err != nil {
		return err
	}
	in := make([]device.Buffer, len(leaves))
	for i, l := range leaves {
		if in[i], err = memoryOf(l.Storage).bound(); err != nil {
			return fmt.Errorf("sinter: reading %s: %w", l.Storage.Name, err)
		}
	}
	out := make([]device.Buffer, 0, p.Program.Outputs)
	undo := func() {
		for _, b := range out {
			release(b)
		}
	}
	for _, n := range g.Outputs {
		if n.Op == ir.Assign {
			continue
		}
		b, err := allocate(n.Bytes())
		if err != nil {
			undo()
			return noMemory(n, err)
		}
		out = append(out, b)
	}
	if err := runProgram(p, in, out); err != nil {
		undo()
		return err
	}
	i := 0
	for _, n := range g.Outputs {
		if n.Op == ir.Assign {
			continue
		}
		s := newStorage(new(memory), "")
		memoryOf(s).own(s, out[i])
		n.Materialize(s)
		i++
	}
	runtime.KeepAlive(g)
	return nil
}

// runProgram runs and counts.
func runProgram(p *plan.Compiled, in, out []device.Buffer) error {
	stats.Evaluations++
	stats.Kernels, stats.ArenaBytes = len(p.Program.Steps), p.Program.Arena
	pool.notePeak(int64(backend().Arena()))
	if err := p.Run(in, out); err != nil {
		return fmt.Errorf("sinter: %w", err)
	}
	return nil
}

func noMemory(n *ir.Node, err error) error {
	return fmt.Errorf("sinter: memory for a result of %v%v: %w", n.DType, n.Shape, err)
}

// upToDate reports a leaf of a graph whose memory has been overwritten since what
// reads it was recorded. An assignment does not read its variable.
func upToDate(g *ir.Graph) error {
	for _, n := range g.Nodes {
		if n.Op == ir.Param {
			return errors.New("sinter: a tensor is evaluated that stands for an input of a Function or of the body of a Scan")
		}
		for i, x := range n.In {
			if x.Op == ir.Input && x.Version != x.Storage.Version && !(n.Op == ir.Assign && i == 0) {
				return fresh(x, n)
			}
		}
	}
	return nil
}

// fresh reports a leaf whose memory has been overwritten since user was built on it.
func fresh(leaf, user *ir.Node) error {
	if leaf.Version == leaf.Storage.Version {
		return nil
	}
	what := leaf.Storage.Name
	if m := memoryOf(leaf.Storage); m.variable != nil {
		what = m.variable.label()
	}
	if user.Site() == nil {
		return fmt.Errorf("sinter: a tensor of an earlier content of %s is evaluated, which has been overwritten; evaluate it before, or build it anew", what)
	}
	return fmt.Errorf("sinter: %v at %v was built on an earlier content of %s, which has been overwritten; evaluate it before, or build it anew", user.Op, user.Site(), what)
}

// download copies the value of an evaluated node to host memory of its size.
func download(n *ir.Node, data []byte) error {
	evaluation.Lock()
	defer evaluation.Unlock()
	if err := fresh(n, n); err != nil {
		return err
	}
	m := memoryOf(n.Storage)
	if m.placeholder {
		return fmt.Errorf("sinter: reading %s: %w", n.Storage.Name, errPlaceholder)
	}
	if m.host != nil {
		copy(data, m.host)
		return nil
	}
	err := current().Download(data, m.buffer)
	runtime.KeepAlive(n.Storage)
	return err
}

// buffers is the memory of results and variables that nobody refers to any more, by
// size, for the next ones. The garbage collector does not see memory of devices, so
// it is also watched here how much is in use, and the collector is called when that
// has doubled.
type buffers struct {
	sync.Mutex
	free      map[int][]device.Buffer
	freeBytes int64
	used      int64 // bytes handed out
	collectAt int64 // used bytes at which the collector is called
	peak      int64 // of used bytes and the arena
}

var pool = buffers{free: make(map[int][]device.Buffer), collectAt: minCollect}

const (
	minCollect   = 64 << 20
	maxFreeBytes = 256 << 20
)

func (p *buffers) take(n int) device.Buffer {
	p.Lock()
	defer p.Unlock()
	p.used += int64(n)
	l := p.free[n]
	if len(l) == 0 {
		return nil
	}
	b := l[len(l)-1]
	p.free[n] = l[:len(l)-1]
	p.freeBytes -= int64(n)
	return b
}

func (p *buffers) notePeak(arena int64) {
	p.Lock()
	defer p.Unlock()
	p.peak = max(p.peak, p.used+arena)
}

// crowded tells whether more is in use than the collector should let pass.
func (p *buffers) crowded() bool {
	p.Lock()
	defer p.Unlock()
	return p.used > p.collectAt
}

// allocate returns a buffer of n bytes.
func allocate(n int) (device.Buffer, error) {
	if pool.crowded() {
		collect()
	}
	if b := pool.take(n); b != nil {
		return b, nil
	}
	b, err := current().Alloc(n)
	if err != nil {
		pool.Lock()
		pool.used -= int64(n)
		pool.Unlock()
	}
	return b, err
}

// collect lets go of what is unreachable. Cleanups run on their own after a
// collection; they get a moment.
func collect() {
	runtime.GC()
	time.Sleep(time.Millisecond)
	pool.Lock()
	pool.collectAt = max(minCollect, 2*pool.used)
	pool.Unlock()
}

// release takes back a buffer.
func release(b device.Buffer) {
	n := b.Bytes()
	pool.Lock()
	pool.used -= int64(n)
	full := pool.freeBytes+int64(n) > maxFreeBytes
	if !full {
		pool.free[n] = append(pool.free[n], b)
		pool.freeBytes += int64(n)
	}
	pool.Unlock()
	if full {
		b.Free()
	}
}

// EmptyCache gives back to the system what is kept for results to come, like
// torch.cuda.empty_cache. What is unreachable is let go of before. Programs and their
// arena stay.
func EmptyCache() {
	collect()
	collect() // what the cleanups of the first have let go of
	pool.Lock()
	free := pool.free
	pool.free, pool.freeBytes = make(map[int][]device.Buffer), 0
	pool.Unlock()
	for _, list := range free {
		for _, b := range list {
			b.Free()
		}
	}
}

// Stats counts what has been evaluated since the program started.
type Stats struct {
	Evaluations int
	Compiles    int    // programs that were compiled
	Recompiles  int    // of them, those that differ from an earlier one in their extents only
	Reason      string // what was different, the last time
	Programs    int    // held at present
	Kernels     int    // of the program that ran last
	ArenaBytes  int    // of the program that ran last
	UsedBytes   int64  // results and variables at present
	PeakBytes   int64  // the most that results, variables and the arena held together
}

var stats struct{ Evaluations, Kernels, ArenaBytes int }

// ReadStats returns the counts.
func ReadStats() Stats {
	evaluation.Lock()
	defer evaluation.Unlock()
	c := backend()
	pool.Lock()
	defer pool.Unlock()
	return Stats{
		Evaluations: stats.Evaluations, Kernels: stats.Kernels, ArenaBytes: stats.ArenaBytes,
		Compiles: c.Compiles, Recompiles: c.Recompiles, Reason: c.Reason, Programs: c.Len(),
		UsedBytes: pool.used, PeakBytes: pool.peak,
	}
}

// FindNonFinite evaluates the tensors operation by operation and finds where the
// first of them that holds a NaN or an infinity got it from: the operation that made
// one out of finite operands, and the user's line. An operation "input" means that
// it was in what the program reads; the place is then its name. Both are empty if
// all tensors are finite.
func FindNonFinite(ts ...*Tensor) (op, site string, err error) {
	roots := ir.Substitute(nodes(ts), make(map[*ir.Node]*ir.Node)) // bodies instead of composites
	order := ir.Postorder(roots, func(n *ir.Node) []*ir.Node { return n.In })
	at := make(map[*ir.Node]int)
	var flags []*Tensor
	for _, n := range order {
		if n.DType.IsFloat() && n.Op != ir.Const && n.Op != ir.Scan && n.Elements() > 0 {
			t := &Tensor{n}
			at[n] = len(flags)
			flags = append(flags, t.IsNaN().Any(), t.IsFinite().Not().Any())
		}
	}
	// Looking must not change anything: what is tied to the nodes waits.
	tied := make([][]*ir.Node, len(order))
	for i, n := range order {
		tied[i], n.Effects = n.Effects, nil
	}
	err = Eval(flags...)
	for i, n := range order {
		n.Effects = tied[i]
	}
	if err != nil {
		return "", "", err
	}
	holds := make([]bool, len(flags))
	for i, f := range flags {
		holds[i] = f.Bools()[0]
	}
	is := func(n *ir.Node, kind int) bool {
		i, ok := at[n]
		return ok && holds[i+kind]
	}
	k := slices.IndexFunc(roots, func(n *ir.Node) bool { return is(n, 1) })
	if k < 0 {
		return "", "", nil
	}
	n := roots[k]
	for {
		in := n.In
		if n.Op == ir.Result {
			in = n.In[0].In
		}
		// A NaN comes from a NaN where there is one, else from an infinity.
		next := slices.IndexFunc(in, func(x *ir.Node) bool { return is(x, 0) })
		if next < 0 {
			next = slices.IndexFunc(in, func(x *ir.Node) bool { return is(x, 1) })
		}
		if next < 0 {
			break
		}
		n = in[next]
	}
	if n.Op == ir.Input {
		return n.Op.String(), n.Storage.Name, nil
	}
	if n.Op == ir.Result {
		n = n.In[0]
	}
	return n.Op.String(), n.Site().String(), nil
}
