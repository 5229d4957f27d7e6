// Package null is a device without hardware. It compiles nothing and computes
// nothing; what it knows is what a program says about itself. It serves those who
// want to know about a program rather than run it:
//
//	Verify  checks a program: its code, that every access stays inside its slot,
//	        and that the memory planner never lets two values use one place (verify.go)
//	Count   says how many kernels it has, how many bytes they move and how many
//	        multiplications they do (count.go)
//
// A Device of this package verifies what it is asked to compile, so a test that
// runs a model on it has checked every program that the model needs.
package null

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Device is no hardware at all.
type Device struct{ composites []string }

var _ device.Device = (*Device)(nil)

// New is the device, as one that has kernels for the given composites.
func New(composites ...string) *Device { return &Device{composites} }

// Name is "null".
func (d *Device) Name() string { return "null" }

// buffer is a size without memory.
type buffer struct{ n int }

func (b *buffer) Bytes() int { return b.n }
func (b *buffer) Free()      {}

// Alloc never runs out: there is no memory behind a buffer.
func (d *Device) Alloc(n int) (device.Buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("null: cannot allocate %d bytes", n)
	}
	return &buffer{n}, nil
}

// Wrap remembers the size of data.
func (d *Device) Wrap(data []byte) (device.Buffer, error) { return &buffer{len(data)}, nil }

// Upload checks the size and forgets the data.
func (d *Device) Upload(dst device.Buffer, src []byte) error {
	if dst.Bytes() != len(src) {
		return fmt.Errorf("null: uploading %d bytes to a buffer of %d", len(src), dst.Bytes())
	}
	return nil
}

// Download is always an error, for whatever it wrote could be taken for a result.
func (d *Device) Download(dst []byte, src device.Buffer) error {
	return errors.New("null: this device computes nothing, so there is nothing to download")
}

// Supports tells what New was told. All other composites are compiled from their
// bodies. None is narrow, as those of the processor are not.
func (d *Device) Supports(composite string, narrow bool) bool {
	return !narrow && slices.Contains(d.composites, composite)
}

// Workspace is 0. Who wants to know the memory that a program needs on a real
// device plans it for that one.
func (d *Device) Workspace(*kernel.Library) int { return 0 }

// executable is a verified program.
type executable struct{ p *kernel.Program }

// Compile verifies the program.
func (d *Device) Compile(p *kernel.Program) (device.Executable, error) {
	if err := Verify(p); err != nil {
		return nil, fmt.Errorf("null: %w", err)
	}
	return &executable{p}, nil
}

// Run checks what is bound and does nothing else.
func (e *executable) Run(leaves, outputs []device.Buffer) error {
	if len(leaves) != e.p.Leaves || len(outputs) != e.p.Outputs {
		return fmt.Errorf("null: program takes %d leaves and %d outputs, got %d and %d", e.p.Leaves, e.p.Outputs, len(leaves), len(outputs))
	}
	for i := range e.p.Slots {
		s := &e.p.Slots[i]
		var b device.Buffer
		switch s.Kind {
		case kernel.Leaf:
			b = leaves[s.Index]
		case kernel.Output:
			b = outputs[s.Index]
		default:
			continue
		}
		if b == nil {
			return fmt.Errorf("null: slot %d is bound to no buffer", i)
		}
		if b.Bytes() < s.Bytes {
			return fmt.Errorf("null: slot %d needs %d bytes, its buffer has %d", i, s.Bytes, b.Bytes())
		}
	}
	return nil
}

func (e *executable) Close() {}
