// Package codegen writes kernels as C text.
//
// A Kernel is one entry point, written once in a C that three compilers take:
//
//	CUDA    NVRTC or clang, without any header
//	OpenCL  OpenCL C 1.2
//	Sim     g++, for the simulated driver that tests run CUDA's kernels on
//
// What differs between them is in the prelude of the dialect (Prelude): how an entry
// point and its parameters are declared, where a thread finds its numbers, barriers,
// exchange between the threads of a warp, memory of a group, storage of 16-bit
// floats, the mathematical functions. A kernel's text uses the names of the prelude and
// nothing else, so equal kernels have equal text in every dialect.
//
// A Launch is a kernel with a grid and arguments. Arguments are places in the slots of
// a kernel.Program, so what is made here is as independent of addresses as the program
// is, and is made for a device that need not be there: a Target says all that has to be
// known of it.
//
// This package writes the fused kernels. The operations that want routines of their
// own are in the packages below it: dense (products, convolutions, attention) and
// indexing (windows, gather and scatter, sorting, sums along an axis).
package codegen

// Dialect is a compiler's C.
type Dialect uint8

const (
	CUDA Dialect = iota
	OpenCL
	Sim
)

func (d Dialect) String() string { return [...]string{"CUDA", "OpenCL", "simulated"}[d] }

// Target is what has to be known of a device to write kernels for it, and to plan their
// memory, without it being there.
type Target struct {
	Dialect    Dialect
	Arch       int  // CUDA, Sim: ten times the compute capability's major number plus the minor, 90 for an H100; else 0
	Units      int  // multiprocessors or compute units
	GroupSize  int  // the most threads of a group, at least 256
	Warp       int  // threads that exchange values by Shuffle: 32, or 1 if they cannot
	Local      int  // bytes of memory that a group may share, at least 32 KiB
	ParamBytes int  // the most bytes of a kernel's parameters, at least 1024
	Float64    bool // has double
	Serial     bool // a CPU: the threads of a group run one after the other, on one core
}

// Kernel is an entry point.
type Kernel struct {
	Name   string // of the entry point; it ends in a hash of Text, so equal names mean equal kernels
	Text   string // the definition, in the names of the prelude
	Params []Param
	Group  [3]int // threads of a group
}

// Param is what a parameter of a Kernel is. In OpenCL a pointer takes two arguments, a
// buffer and an offset in bytes; everywhere else it is one address.
type Param struct {
	Pointer bool
	Bytes   int // of a number: 4 or 8
}

// Launch is a Kernel with what it is called on. All is known when the program is
// compiled but the addresses of its slots.
type Launch struct {
	Kernel  *Kernel
	Grid    [3]int // groups, each from 1 to 2³¹−1 along the first axis and 65535 along the others
	Args    []Arg  // one for each of Kernel.Params
	Scratch int    // bytes of scratch memory that arguments with the slot Scratch are in
}

// Scratch is the Slot of an argument that is in scratch memory: what launches of one
// step hand on to each other. It holds nothing before the step nor after it, so all steps
// of a program can have the same: as large as the largest Launch.Scratch, at a multiple of
// 256 bytes.
const Scratch = -2

// Arg is a place in memory, or a number.
//
// Kernels use the alignment of slots. The memory of a slot begins at a multiple of 16
// bytes, or, for leaves and outputs too, as far behind one as Slot.Offset is: whoever
// binds a slot to a part of a larger one (a step of a Scan's sequence, whose rows may be
// of any length) puts into Offset a number with the alignment of all of those parts.
type Arg struct {
	Slot   int    // of the program; -1 for a number; or Scratch
	Offset int    // bytes from the slot's beginning
	Step   int    // bytes to add with every step of the Scan that the launch is in
	Bits   uint64 // of a number, in its lower bytes
}
