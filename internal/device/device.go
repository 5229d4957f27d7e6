// Package device is the interface between compiled programs and the hardware
// that runs them. A backend implements Device, Executable and Buffer and nothing
// else of the house needs to know it.
package device

import (
	"time"

	"github.com/sinter-dl/sinter/internal/kernel"
)

// Buffer is memory on a device.
type Buffer interface {
	Bytes() int
	// Free gives the memory back; the buffer must not be used afterwards.
	Free()
}

// Device is one piece of hardware. Its methods may be called from several
// goroutines; programs on one device run one after the other.
type Device interface {
	// Name is what --device takes: "cpu", "cuda:0".
	Name() string
	// Alloc returns n bytes, aligned to 64 bytes, with undefined content.
	Alloc(n int) (Buffer, error)
	// Wrap makes host memory readable as a buffer, without copying where the
	// device can; data must not change until the programs that read it have run.
	Wrap(data []byte) (Buffer, error)
	// Upload and Download copy between the host and a buffer, whole.
	Upload(dst Buffer, src []byte) error
	Download(dst []byte, src Buffer) error
	// Supports tells whether the device has a kernel for a composite operation of
	// that name; if not, its body is compiled instead. With narrow it tells whether that
	// kernel also reads operands of 16 bits as they are, so that programs with products in
	// 16 bits should give it such.
	Supports(composite string, narrow bool) bool
	// Workspace is the number of bytes of scratch memory that a library kernel
	// needs. It depends on shapes alone.
	Workspace(l *kernel.Library) int
	// Compile makes a program runnable.
	Compile(p *kernel.Program) (Executable, error)
}

// Traced is a device that tells when its kernels run.
type Traced interface {
	// Trace has f called after every run of a program, with the kernels in their order,
	// until it is called with nil. The events are f's for the time of the call only.
	Trace(f func(p *kernel.Program, events []Event))
}

// Event is the run of one kernel: step number Step of its program.
type Event struct {
	Step       int
	Begin, End time.Time
	Workers    []Span // what each thread did in it, where the device has threads
}

// Span is the time that a worker was busy.
type Span struct {
	Worker     int
	Begin, End time.Time
}

// Sizer is a device on which a program takes something else than the program says.
type Sizer interface {
	// Size is the bytes of the arena, and how many kernels are launched.
	Size(p *kernel.Program) (arena, launches int, err error)
}

// Rounding is a device that has products of float32 with operands rounded to TF32, if
// TF32 says so, and uses them in programs that allow it.
type Rounding interface{ TF32() bool }

// Executable is a compiled program.
type Executable interface {
	// Run executes the program: leaves and outputs are bound by number. It
	// returns when Download and later programs can be called on the outputs; a
	// device with a queue only puts the program there.
	Run(leaves, outputs []Buffer) error
	// Close frees what only this program needs.
	Close()
}
