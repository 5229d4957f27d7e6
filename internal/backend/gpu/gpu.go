// Package gpu is the part of a GPU's backend that does not know which GPU it is: it
// turns a kernel.Program into a list of things to put into a queue.
//
//	program → Lower → Sequence → backend/opencl puts it into a command queue
//	                           → backend/cuda captures it as a graph
//
// A step of the program becomes one or more operations: a fused kernel the launches
// that package codegen writes for it, a library operation a routine of the backend's own
// or the launches of packages dense and indexing, followed by its epilogue unless that
// is in them already. A Scan becomes a Loop over the operations of its body (scan.go).
//
// All places in memory are given as slots of the program with offsets, so that a
// Sequence, like the program, does not depend on addresses.
package gpu

import (
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Sequence is a program as things to do, in order.
type Sequence struct {
	Program *kernel.Program
	// Slots are those of the program and at most one more, behind everything else in the
	// arena: what kernels hand from a first pass to a second, which all of them share.
	Slots    []kernel.Slot
	Arena    int               // bytes of the arena, with that slot
	Kernels  []*codegen.Kernel // each once, in order of first use
	Routines []Routine         // each once
	Ops      []Op
}

// Close closes the routines.
func (s *Sequence) Close() {
	for _, r := range s.Routines {
		r.Close()
	}
	s.Routines = nil
}

// Op is one of Launch, Copy, Routine and Loop, whichever is not nil.
type Op struct {
	Launch  *codegen.Launch
	Copy    *Copy
	Routine Routine
	Args    []codegen.Arg // Routine: the places that it is called on, in the order of its own Args
	Loop    *Loop
	Step    int // number of the program's step that it is part of; in a Loop, of the body's
}

// Copy moves bytes from one place to another; they do not overlap.
type Copy struct {
	To, From codegen.Arg
	Bytes    int
}

// Loop does Body Steps times; in pass i, arguments have moved by i times their Step,
// which may be negative. No Loop is in a Body: a loop within a loop is written out.
type Loop struct {
	Steps int
	Body  []Op
}

// Routine is a call into a vendor's library that was prepared when the program was
// compiled. What its queue and addresses are, the backend that made it knows.
type Routine interface {
	// Args are the places in memory that it is called on, in slots of the program that
	// its operation is in. That may be the body of a Scan; so an Op has Args of its own.
	Args() []codegen.Arg
	// Epilogue tells whether the routine does the operation's epilogue, too.
	Epilogue() bool
	Close()
}

// Routines finds a backend's own routine for an operation; nil if it has none.
type Routines func(l *kernel.Library) (Routine, error)
