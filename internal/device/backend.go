package device

import (
	"errors"
	"fmt"

	"github.com/sinter-dl/sinter/internal/dtype"
)

// Backend finds the devices of one kind of driver and opens them. Nothing is loaded before
// one of its methods is called, and nothing fails because the driver is not there.
//
// A package that is a backend has a function Backend() device.Backend; the root package
// lists them.
type Backend interface {
	// Name is what the names of its devices begin with: "cpu", "cuda", "opencl".
	Name() string
	// Devices lists what there is, by number: devices that can be used and, with Problem
	// and Remedy, those that are found and cannot. If there is nothing at all, the error
	// says why in one sentence, and what to do about it: no driver, no permission, a driver
	// that is too old.
	Devices() ([]Info, error)
	// Open opens the device whose Info has this Name. It is called once for each.
	Open(name string) (Device, error)
	// Libraries lists the libraries that the backend uses, those that are missing as well.
	Libraries() []Library
}

var registered []Backend

// Register adds a backend to those that the root package lists. It is for tests, before
// anything is evaluated; what a program needs is in the list itself.
func Register(b Backend) { registered = append(registered, b) }

// Registered are those that were added.
func Registered() []Backend { return registered }

// Kind is what sort of hardware a device is.
type Kind string

const (
	CPU        Kind = "cpu"
	GPU        Kind = "gpu"
	Integrated Kind = "integrated gpu" // that shares the host's memory
	Other      Kind = "accelerator"
)

// Info is what is known of a device without opening it.
type Info struct {
	Name       string   // what --device takes: "cpu", "cuda:0", "cuda:MIG-…", "opencl:1"
	Aliases    []string // other names that are taken for it: "cuda:GPU-…"
	Backend    string
	Model      string // "NVIDIA H100 80GB HBM3"
	Kind       Kind
	Version    string // compute capability "9.0", "OpenCL 3.0"
	Driver     string // version, "580.65.06"
	Units      int    // multiprocessors, compute units, processors
	Total      int64  // bytes of memory
	Free       int64  // bytes of it that nobody uses; -1 if that is not known
	HostMemory bool   // buffers are memory of the host, and Wrap does not copy

	DTypes []dtype.DType // that tensors can have
	Matrix []string      // that its matrix units multiply: "fp16", "bf16", "tf32", "fp8"
	Speed  float64       // float32 operations a second by units and clock, to choose by; 0: not known
	MIG    string        // "": it knows nothing of it; "off"; "on"; "1g.10gb of cuda:0"

	Problem string // why it cannot be used; "": it can
	Remedy  string // what to do about that
}

// Library is a library of a vendor that a backend uses if it is there.
type Library struct {
	Name    string // "cuBLASLt"
	Path    string // where it was found; "": it was not
	Version string
	Brings  string // what is faster or possible with it
	Problem string // why it cannot be used, where it was found
	Remedy  string // how to get it, or one that can be used
}

// What follows is for devices with memory of their own. They put what they are told to do
// into a queue: Run, Upload and Free return before it is done, and everything that is
// called later comes after it. Upload is done with its source when it returns. A buffer may
// be freed while programs in the queue use it. Download waits. What goes wrong in the queue
// is returned by a later call.

// Described is a device that tells about itself; the Free memory is that of the moment.
type Described interface{ Info() Info }

// Waiter is a device with a queue.
type Waiter interface {
	// Wait returns when all is done that was asked for before.
	Wait() error
}

// Divider is a device that can bind a part of a buffer like a buffer. Small values that
// come from the host at every step lie in one buffer and are uploaded together.
type Divider interface {
	// Part is n bytes of b from an offset on, which is a multiple of 64. To free a part
	// does nothing; b must live longer.
	Part(b Buffer, offset, n int) Buffer
}

// Stager is a device that copies from the host beside the programs that run.
type Stager interface {
	// Stage is Upload, except that the copy does not wait for the programs that are in the
	// queue but for those that use dst. Programs that are run later and use dst wait for
	// the copy.
	Stage(dst Buffer, src []byte) error
}

// Snapshotter is a device that copies variables to the host while programs run.
type Snapshotter interface {
	// Snapshot copies buffers to host memory of their sizes, as they are now. It may
	// return before all is copied; wait returns after, with an error if dst is not what the
	// buffers were. Until then src must not be freed.
	Snapshot(dst [][]byte, src []Buffer) (wait func() error, err error)
}

// Trimmer is a device that keeps memory which has been freed.
type Trimmer interface {
	// Trim gives back to the system what is kept and not in use.
	Trim()
}

// Keeper is a device that tells what it holds besides buffers.
type Keeper interface {
	// Kept is how many bytes the device holds for programs: arenas, staging, workspaces of
	// libraries.
	Kept() int64
	// Arena is how many of these are the arena that programs share.
	Arena() int64
}

// MemoryError is what Alloc, Compile and Run fail with if there is not enough memory.
// Nothing has changed then: the call may be repeated.
type MemoryError struct {
	Device      string
	Bytes       int    // that were wanted
	For         string // "a buffer", "the arena"
	Free, Total int64  // of the device at that moment; -1: not known
	Err         error  // of the driver
}

func (e *MemoryError) Error() string {
	s := fmt.Sprintf("%s: not enough memory for %d bytes (%s)", e.Device, e.Bytes, e.For)
	if e.Free >= 0 && e.Total > 0 {
		s += fmt.Sprintf(", %d of %d are free", e.Free, e.Total)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *MemoryError) Unwrap() error { return e.Err }

// LostError is what every call fails with once a device can no longer be used by this
// process: a kernel read outside its memory, or the card fell off the bus.
type LostError struct {
	Device string
	Doing  string // what was found to have failed, and when: "kernel …", "an upload after …"
	Err    error  // of the driver
}

func (e *LostError) Error() string {
	return fmt.Sprintf("%s can no longer be used by this process: %s: %v", e.Device, e.Doing, e.Err)
}

func (e *LostError) Unwrap() error { return e.Err }

// Lost tells whether an error says that its device is lost.
func Lost(err error) bool { return errors.As(err, new(*LostError)) }
