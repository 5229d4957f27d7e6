package dense

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/graphtest"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// card is an OpenCL device that runs what Lower writes and nothing else: memory is the
// host's, copied there and back with every step, and epilogues that Lower leaves out
// are interpreted. target says what Lower is told of it.
type card struct {
	cl     *opencl.API
	id     opencl.Device
	ctx    opencl.Context
	queue  opencl.Queue
	target *codegen.Target

	mu       sync.Mutex
	programs map[string]opencl.Program // by text
}

// newCard takes the first OpenCL device, as a CPU or as a GPU of so many units.
func newCard(t testing.TB, serial bool, units int) *card {
	t.Helper()
	c, err := openCard()
	why := ""
	if err != nil {
		why = err.Error()
	}
	testenv.Require(t, "opencl", err == nil, why)
	c.target = &codegen.Target{Dialect: codegen.OpenCL, Units: units, GroupSize: 256, Warp: 1, Local: 32 << 10, ParamBytes: 1024, Float64: true, Serial: serial}
	if serial {
		c.target.Local = 1 << 20
	}
	return c
}

func openCard() (*card, error) {
	cl, err := opencl.Load()
	if err != nil {
		return nil, err
	}
	platforms, err := cl.GetPlatformIDs()
	if err != nil {
		return nil, err
	}
	for _, p := range platforms {
		ids, err := cl.GetDeviceIDs(p, 0xFFFFFFFF)
		if err != nil || len(ids) == 0 {
			continue
		}
		c := &card{cl: cl, id: ids[0], programs: make(map[string]opencl.Program)}
		if c.ctx, err = cl.CreateContext(c.id); err != nil {
			return nil, err
		}
		c.queue, err = cl.CreateCommandQueue(c.ctx, c.id, 0)
		return c, err
	}
	return nil, fmt.Errorf("no OpenCL device")
}

type hostMemory []byte

func (m hostMemory) Bytes() int { return len(m) }
func (m hostMemory) Free()      {}

func (c *card) Name() string                                { return "card" }
func (c *card) Alloc(n int) (device.Buffer, error)          { return make(hostMemory, n), nil }
func (c *card) Wrap(data []byte) (device.Buffer, error)     { return hostMemory(data), nil }
func (c *card) Upload(b device.Buffer, src []byte) error    { copy(b.(hostMemory), src); return nil }
func (c *card) Download(dst []byte, b device.Buffer) error  { copy(dst, b.(hostMemory)); return nil }
func (c *card) Supports(composite string, narrow bool) bool { return Supports(composite, narrow) }
func (c *card) Workspace(l *kernel.Library) int             { return Workspace(l, c.target) }

// step is a library operation, lowered.
type step struct {
	launches []codegen.Launch
	epilogue *kernel.Fused // left over
}

type cardProgram struct {
	c     *card
	p     *kernel.Program
	steps []step
	built opencl.Program
}

func (c *card) Compile(p *kernel.Program) (device.Executable, error) {
	e := &cardProgram{c: c, p: p}
	var kernels []*codegen.Kernel
	for _, s := range p.Steps {
		f, ok := s.(*kernel.Fused)
		st := step{epilogue: f}
		if !ok {
			l := s.(*kernel.Library)
			var inside bool
			var err error
			if st.launches, inside, err = Lower(l, c.target); err != nil {
				return nil, err
			}
			if !inside {
				st.epilogue = l.Epilogue
			}
			for _, l := range st.launches {
				kernels = append(kernels, l.Kernel)
			}
		}
		e.steps = append(e.steps, st)
	}
	var err error
	e.built, err = c.build(codegen.Module(kernels, c.target))
	return e, err
}

// build compiles a text, once.
func (c *card) build(text string) (opencl.Program, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.programs[text]; ok {
		return b, nil
	}
	b, err := c.cl.CreateProgramWithSource(c.ctx, text)
	if err != nil {
		return 0, err
	}
	if err := c.cl.BuildProgram(b, c.id, strings.Join(codegen.Options(c.target), " ")); err != nil {
		log, _ := c.cl.ProgramBuildLog(b, c.id)
		return 0, fmt.Errorf("%w\n%s\n%s", err, log, text[len(codegen.Prelude(c.target.Dialect, c.target)):])
	}
	c.programs[text] = b
	return b, nil
}

// bindArgs gives a kernel the arguments of a launch.
func (c *card) bindArgs(k opencl.Kernel, l codegen.Launch, buffers map[int]opencl.Mem) error {
	n := 0
	var failed error
	arg := func(bytes int, bits uint64) {
		if err := c.cl.SetKernelArg(k, n, bytes, bits); err != nil && failed == nil {
			failed = err
		}
		n++
	}
	for i, a := range l.Args {
		if l.Kernel.Params[i].Pointer {
			arg(8, uint64(buffers[a.Slot]))
			arg(8, uint64(a.Offset))
		} else {
			arg(l.Kernel.Params[i].Bytes, a.Bits)
		}
	}
	return failed
}

func (e *cardProgram) Close() {}

// bind makes memory of the host buffers.
func (c *card) bind(memory [][]byte) []device.Buffer {
	var l []device.Buffer
	for _, m := range memory {
		l = append(l, hostMemory(m))
	}
	return l
}

func (e *cardProgram) Run(leaves, outputs []device.Buffer) error {
	arena := make([]byte, e.p.Arena)
	for i := range arena {
		arena[i] = 255
	}
	slots := make([][]byte, len(e.p.Slots))
	for i, s := range e.p.Slots {
		switch s.Kind {
		case kernel.Leaf:
			slots[i] = leaves[s.Index].(hostMemory)
		case kernel.Output:
			slots[i] = outputs[s.Index].(hostMemory)
		case kernel.Arena:
			slots[i] = arena[s.Offset : s.Offset+s.Bytes]
		}
	}
	for i, s := range e.steps {
		if err := e.c.run(e.built, s.launches, slots); err != nil {
			return fmt.Errorf("step %d, %s: %w", i, e.p.Steps[i].Label(), err)
		}
		if s.epilogue != nil {
			p := &kernel.Program{Steps: []kernel.Step{s.epilogue}, Leaves: len(slots)}
			for j := range slots {
				p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: j, Bytes: len(slots[j])})
			}
			graphtest.Run(p, slots)
		}
	}
	return nil
}

// run does launches on memory that is copied to buffers of its own first, and back.
func (c *card) run(program opencl.Program, launches []codegen.Launch, slots [][]byte) error {
	buffers := make(map[int]opencl.Mem)
	defer func() {
		for _, m := range buffers {
			c.cl.ReleaseMemObject(m)
		}
	}()
	for _, l := range launches {
		k, err := c.cl.CreateKernel(program, l.Kernel.Name)
		if err != nil {
			return err
		}
		defer c.cl.ReleaseKernel(k)
		for i, a := range l.Args {
			if _, ok := buffers[a.Slot]; ok || !l.Kernel.Params[i].Pointer {
				continue
			}
			m, err := c.cl.CreateBuffer(c.ctx, opencl.ReadWrite|opencl.CopyHostPtr, max(64, len(slots[a.Slot])), append(append([]byte(nil), slots[a.Slot]...), make([]byte, 64)...))
			if err != nil {
				return err
			}
			buffers[a.Slot] = m
		}
		if err := c.bindArgs(k, l, buffers); err != nil {
			return err
		}
		g, s := l.Kernel.Group, l.Grid
		if err := c.cl.EnqueueNDRangeKernel(c.queue, k, 3, [3]int{g[0] * s[0], g[1] * s[1], g[2] * s[2]}, g, nil, nil); err != nil {
			return err
		}
	}
	if err := c.cl.Finish(c.queue); err != nil {
		return err
	}
	for slot, m := range buffers {
		if len(slots[slot]) > 0 {
			if err := c.cl.EnqueueReadBuffer(c.queue, m, true, 0, slots[slot], nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
