// Package gpu is the part of a GPU's backend that does not know which GPU it is: it
// turns a kernel.Program into a list of things to put into a queue.
//
//	program → Lower → Sequence → backend/opencl puts it into a command queue
//	                           → backend/cuda captures it as a graph
//
// Loops over the steps of a Scan are unrolled when they are put into the queue, not in
// the Sequence.
package gpu

import (
	"github.com/sinter-dl/sinter/internal/codegen"
	"github.com/sinter-dl/sinter/internal/kernel"
)

// Sequence is a program as things to do, in order. Its slots are those of the program,
// with the slots of Scan bodies behind them.
type Sequence struct {
	Program *kernel.Program
	Slots   []kernel.Slot
	Kernels []*codegen.Kernel // each once, in order of first use
	Ops     []Op
}

// Op is one of Launch, Copy, Routine and Loop, whichever is not nil.
type Op struct {
	Launch  *codegen.Launch
	Copy    *Copy
	Routine Routine
	Loop    *Loop
	Step    int // number of the program's step that it is part of
}

// Copy moves bytes from one place to another; they do not overlap.
type Copy struct {
	To, From codegen.Arg
	Bytes    int
}

// Loop does Body Steps times; with step i, arguments move by i times their Step, or by
// Steps-1-i times if Reverse.
type Loop struct {
	Steps   int
	Reverse bool
	Body    []Op
}

// Routine is a call into a vendor's library that was prepared when the program was
// compiled. What its queue and addresses are, the backend that made it knows.
type Routine interface {
	// Args are the places in memory that it is called on.
	Args() []codegen.Arg
	Close()
}
