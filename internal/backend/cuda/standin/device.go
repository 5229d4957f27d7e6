package standin

import (
	"fmt"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/backend/cpu"
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Routine is what packages lt and dnn make.
type Routine interface {
	Args() []codegen.Arg
	Epilogue() bool
	Close()
	Run(at []uintptr, stream uintptr) error
}

// Device runs a program's library operations by routines, where Plan makes one, and all
// else by the CPU's backend. Its memory is the host's, as a stand-in's is.
type Device struct {
	// Plan makes the routine of an operation; nil for none. unread is as lt.Unread says.
	Plan func(l *kernel.Library, unread bool) (Routine, error)
	// Scratch is the bytes of workspace of an operation.
	Scratch func(l *kernel.Library) int
	Unread  func(p *kernel.Program) map[*kernel.Library]bool
	// Rest is what is left of a program besides what routines take along; nil: all.
	Rest func(p *kernel.Program) (*kernel.Program, error)
	// Misalign is a number of bytes that slots are moved by from where they should be.
	Misalign int
}

type buffer struct{ data []byte }

func (b *buffer) Bytes() int { return len(b.data) }
func (b *buffer) Free()      { b.data = nil }

// memory is n bytes at an address that is a multiple of 64 and then moved by some bytes.
func memory(n, moved int) []byte {
	data := make([]byte, n+128)
	at := int(-uintptr(unsafe.Pointer(&data[0]))&63) + moved
	return data[at : at+n : at+n]
}

func (d *Device) Name() string { return "standin" }
func (d *Device) Alloc(n int) (device.Buffer, error) {
	return &buffer{memory(n, d.Misalign)}, nil
}
func (d *Device) Wrap(data []byte) (device.Buffer, error) {
	b, err := d.Alloc(len(data))
	copy(b.(*buffer).data, data)
	return b, err
}
func (d *Device) Upload(dst device.Buffer, src []byte) error {
	copy(dst.(*buffer).data, src)
	return nil
}
func (d *Device) Download(dst []byte, src device.Buffer) error {
	copy(dst, src.(*buffer).data)
	return nil
}
func (d *Device) Supports(composite string, _ bool) bool {
	return composite == "attention" || composite == "attention_grad"
}
func (d *Device) Workspace(l *kernel.Library) int {
	if d.Scratch == nil {
		return 0
	}
	return d.Scratch(l)
}

// Compile plans every routine of the program.
func (d *Device) Compile(p *kernel.Program) (device.Executable, error) {
	var unread map[*kernel.Library]bool
	if d.Unread != nil {
		unread = d.Unread(p)
	}
	if d.Rest != nil {
		var err error
		if p, err = d.Rest(p); err != nil {
			return nil, err
		}
	}
	e := &executable{d: d, p: p, routines: make([]Routine, len(p.Steps))}
	for i, s := range p.Steps {
		if l, ok := s.(*kernel.Library); ok && l.Body == nil {
			r, err := d.Plan(l, unread[l])
			if err != nil {
				e.Close()
				return nil, fmt.Errorf("step %d, %s: %w", i, l.Name, err)
			}
			e.routines[i] = r
		}
	}
	return e, nil
}

type executable struct {
	d        *Device
	p        *kernel.Program
	routines []Routine
}

func (e *executable) Close() {
	for _, r := range e.routines {
		if r != nil {
			r.Close()
		}
	}
}

func (e *executable) Run(leaves, outputs []device.Buffer) error {
	arena := memory(e.p.Arena, 0)
	for i := range arena {
		arena[i] = 255
	}
	slots := make([][]byte, len(e.p.Slots))
	for i, s := range e.p.Slots {
		switch s.Kind {
		case kernel.Leaf:
			slots[i] = leaves[s.Index].(*buffer).data[:s.Bytes]
		case kernel.Output:
			slots[i] = outputs[s.Index].(*buffer).data[:s.Bytes]
		case kernel.Arena:
			slots[i] = arena[s.Offset : s.Offset+s.Bytes]
		}
	}
	for i, s := range e.p.Steps {
		r := e.routines[i]
		if f, ok := s.(*kernel.Fused); ok && len(f.Parts) == 0 {
			continue // taken along by a routine
		}
		if r == nil {
			if err := e.interpret(s, slots); err != nil {
				return err
			}
			continue
		}
		var at []uintptr
		for _, a := range r.Args() {
			at = append(at, uintptr(unsafe.Pointer(unsafe.SliceData(slots[a.Slot][a.Offset:]))))
		}
		if err := r.Run(at, 0); err != nil {
			return err
		}
		if l := s.(*kernel.Library); l.Epilogue != nil && !r.Epilogue() {
			if err := e.interpret(l.Epilogue, slots); err != nil {
				return err
			}
		}
	}
	return nil
}

// interpret has the CPU do one step: a program of its own whose leaves are all slots.
func (e *executable) interpret(s kernel.Step, slots [][]byte) error {
	p := &kernel.Program{Leaves: len(slots)}
	leaves := make([]device.Buffer, len(slots))
	for i, m := range slots {
		b, err := others.Wrap(m)
		if err != nil {
			return err
		}
		leaves[i] = b
		p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Leaf, Index: i, Bytes: len(m)})
	}
	if l, ok := s.(*kernel.Library); ok {
		c := *l
		if c.Scratch = -1; others.Workspace(&c) > 0 {
			p.Arena, c.Scratch = others.Workspace(&c), len(p.Slots)
			p.Slots = append(p.Slots, kernel.Slot{Kind: kernel.Arena, Bytes: p.Arena})
		}
		s = &c
	}
	p.Steps = []kernel.Step{s}
	x, err := others.Compile(p)
	if err != nil {
		return err
	}
	defer x.Close()
	return x.Run(leaves, nil)
}

// others does what no routine does.
var others = cpu.New()
