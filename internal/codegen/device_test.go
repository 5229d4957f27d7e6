package codegen_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/dl/opencl"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// clDevice runs the fused kernels of programs on OpenCL, as plainly as that can be
// done: every launch waits for the one before.
type clDevice struct {
	cl *opencl.API
	d  opencl.Device
	c  opencl.Context
	q  opencl.Queue
	t  codegen.Target
}

func newDevice(t testing.TB, target codegen.Target) *clDevice {
	t.Helper()
	cl, err := opencl.Load()
	testenv.Require(t, "opencl", err == nil, "no OpenCL library")
	platforms, err := cl.GetPlatformIDs()
	testenv.Require(t, "opencl", err == nil, "no OpenCL platform")
	for _, p := range platforms {
		devices, err := cl.GetDeviceIDs(p, opencl.DeviceAll)
		if err != nil || len(devices) == 0 {
			continue
		}
		d := &clDevice{cl: cl, d: devices[0], t: target}
		if d.c, err = cl.CreateContext(d.d); err != nil {
			t.Fatal(err)
		}
		if d.q, err = cl.CreateCommandQueue(d.c, d.d, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cl.ReleaseCommandQueue(d.q); cl.ReleaseContext(d.c) })
		return d
	}
	testenv.Require(t, "opencl", false, "an OpenCL library without a device")
	return nil
}

type clBuffer struct {
	d *clDevice
	m opencl.Mem
	n int
}

func (b *clBuffer) Bytes() int { return b.n }
func (b *clBuffer) Free()      { b.d.cl.ReleaseMemObject(b.m) }

func (d *clDevice) Name() string { return "opencl" }
func (d *clDevice) Alloc(n int) (device.Buffer, error) {
	m, err := d.cl.CreateBuffer(d.c, opencl.ReadWrite, max(16, n), nil)
	return &clBuffer{d, m, n}, err
}
func (d *clDevice) Wrap(data []byte) (device.Buffer, error) {
	b, err := d.Alloc(len(data))
	if err == nil {
		err = d.Upload(b, data)
	}
	return b, err
}
func (d *clDevice) Upload(dst device.Buffer, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	return d.cl.EnqueueWriteBuffer(d.q, dst.(*clBuffer).m, true, 0, src, nil, nil)
}
func (d *clDevice) Download(dst []byte, src device.Buffer) error {
	if len(dst) == 0 {
		return nil
	}
	return d.cl.EnqueueReadBuffer(d.q, src.(*clBuffer).m, true, 0, dst, nil, nil)
}
func (d *clDevice) Supports(string, bool) bool    { return false }
func (d *clDevice) Workspace(*kernel.Library) int { return 0 }

// program is a compiled one.
type program struct {
	d       *clDevice
	p       *kernel.Program
	module  opencl.Program
	kernels map[string]opencl.Kernel
	calls   []codegen.Launch
	arena   *clBuffer
	scratch *clBuffer
}

func (d *clDevice) Compile(p *kernel.Program) (device.Executable, error) {
	e := &program{d: d, p: p, kernels: make(map[string]opencl.Kernel)}
	var kernels []*codegen.Kernel
	scratch := 0
	for _, s := range p.Steps {
		f, ok := s.(*kernel.Fused)
		if !ok {
			return nil, fmt.Errorf("%s is no fused kernel", s.Label())
		}
		ls, err := codegen.Fused(f, p.Slots, &d.t)
		if err != nil {
			return nil, err
		}
		for i := range ls {
			kernels = append(kernels, ls[i].Kernel)
			scratch = max(scratch, ls[i].Scratch)
		}
		e.calls = append(e.calls, ls...)
	}
	text := codegen.Module(kernels, &d.t)
	var err error
	if e.module, err = d.cl.CreateProgramWithSource(d.c, text); err != nil {
		return nil, err
	}
	if err := d.cl.BuildProgram(e.module, d.d, strings.Join(codegen.Options(&d.t), " ")); err != nil {
		log, _ := d.cl.ProgramBuildLog(e.module, d.d)
		if f := os.Getenv("SINTER_KEEP"); f != "" {
			os.WriteFile(f, []byte(text), 0o644)
		}
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	for _, k := range kernels {
		if e.kernels[k.Name] == 0 {
			if e.kernels[k.Name], err = d.cl.CreateKernel(e.module, k.Name); err != nil {
				return nil, err
			}
		}
	}
	alloc := func(n int) *clBuffer {
		b, err2 := d.Alloc(n)
		if err2 != nil {
			err = err2
		}
		return b.(*clBuffer)
	}
	e.arena, e.scratch = alloc(p.Arena), alloc(scratch)
	return e, err
}

func (e *program) Run(leaves, outputs []device.Buffer) error {
	cl := e.d.cl
	place := func(slot int) (opencl.Mem, int) {
		if slot == codegen.Scratch {
			return e.scratch.m, 0
		}
		switch s := &e.p.Slots[slot]; s.Kind {
		case kernel.Leaf:
			return leaves[s.Index].(*clBuffer).m, 0
		case kernel.Output:
			return outputs[s.Index].(*clBuffer).m, 0
		default:
			return e.arena.m, s.Offset
		}
	}
	for _, l := range e.calls {
		k, n := e.kernels[l.Kernel.Name], 0
		for i, p := range l.Kernel.Params {
			if !p.Pointer {
				if err := cl.SetKernelArg(k, n, p.Bytes, l.Args[i].Bits); err != nil {
					return err
				}
				n++
				continue
			}
			m, at := place(l.Args[i].Slot)
			if err := cl.SetKernelArgMem(k, n, m); err != nil {
				return err
			}
			if err := cl.SetKernelArg(k, n+1, 8, uint64(at+l.Args[i].Offset)); err != nil {
				return err
			}
			n += 2
		}
		var global [3]int
		for i := range global {
			global[i] = l.Grid[i] * l.Kernel.Group[i]
		}
		if err := cl.EnqueueNDRangeKernel(e.d.q, k, 3, global, l.Kernel.Group, nil, nil); err != nil {
			return fmt.Errorf("%s: %w", l.Kernel.Name, err)
		}
	}
	return cl.Finish(e.d.q)
}

func (e *program) Close() {
	for _, k := range e.kernels {
		e.d.cl.ReleaseKernel(k)
	}
	e.d.cl.ReleaseProgram(e.module)
	e.arena.Free()
	e.scratch.Free()
}
