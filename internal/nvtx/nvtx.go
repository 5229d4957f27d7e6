// Package nvtx tells a profiler what the program is doing, by the interface that NVIDIA's
// tools extension library (NVTX 3) has for it: Nsight Systems, or whatever else wants to
// listen, names a library in the environment variable NVTX_INJECTION64_PATH, and calls of
// Push, Pop and Mark arrive there.
//
// NVTX itself is a header for C. What it does is little, and is done here: the library is
// opened, its InitializeInjectionNvtx2 is called with a function that hands out tables of
// pointers to slots, the tool puts its functions into those slots that it cares for, and
// these are called. A module's table begins with a null pointer; the numbers of the
// functions are those of NvtxCallbackIdCore. Names and layouts are those of
// nvtx3/nvtxDetail/nvtxTypes.h, version 3.
//
// A range lasts from its Push to its Pop and lies within the range that was open. Tools
// keep ranges by thread, and project them onto what the thread launches on a GPU
// meanwhile; so a goroutine stays on its thread for as long as it has a range open.
//
// What the ranges of a training run mean:
//
//	epoch 1           all of an epoch, with its evaluations and callbacks
//	  load            waiting for a batch from the loader
//	  step 1          what makes one update: a batch, or several whose gradients are
//	                  gathered, with the waiting in between
//	    forward       the model's Forward and the loss are recorded as a graph
//	    backward      the gradients are added to the graph
//	    update        the optimizer's update is added to the graph
//	    compile       the graph is made a program, if there is none for it yet
//	    run           the program runs: forward pass, backward pass and update as one
//	      matmul+add  a kernel runs (CPU) or is put into the queue (GPUs), under its label
//	  evaluate        the test set
//
// So forward, backward and update are times of the host. They are there in every step if
// steps are recorded, and with Trainer.Compile only in the first step of a shape. The
// kernels of a run are in the order of the program, which need not be forward first and
// may have parts of both passes in one. CUDA, which else replays a program as a graph, launches
// its kernels one by one where a tool listens, so that each has its range: a step of many
// small kernels takes the host longer then.
//
// Without the variable nothing is opened, and a call is a comparison.
package nvtx

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"github.com/sinter-dl/sinter/internal/dl"
)

const variable = "NVTX_INJECTION64_PATH"

var path = os.Getenv(variable)

// On tells whether a tool was asked for. It is for who would have to put a name together.
func On() bool { return path != "" }

// Push opens a range. The goroutine that does has to close it, with Pop.
func Push(name string) {
	if path != "" {
		push(cached(name))
	}
}

// PushNumber opens a range whose name is a word and a number: "step 12".
func PushNumber(name string, n int) {
	if path != "" {
		push(dl.CString(name + " " + strconv.Itoa(n)))
	}
}

// Pop closes the range that was opened last.
func Pop() {
	if path != "" {
		pop()
	}
}

// Mark tells of something that takes no time.
func Mark(name string) {
	if path != "" {
		if f := listener().at(coreMarkA); f != 0 {
			f.Call(uintptr(unsafe.Pointer(cached(name))))
		}
	}
}

// Err is what is wrong with the library that the variable names, nil if it listens or
// there is none.
func Err() error {
	if path == "" {
		return nil
	}
	return listener().err
}

// Ranges counts the ranges that a goroutine has opened, so that they can be closed
// whatever happens within them.
type Ranges struct{ open int }

// Open is how many there are.
func (r *Ranges) Open() int { return r.open }

// Push, PushNumber and Pop are those of the package.
func (r *Ranges) Push(name string) {
	r.open++
	Push(name)
}

func (r *Ranges) PushNumber(name string, n int) {
	r.open++
	PushNumber(name, n)
}

func (r *Ranges) Pop() {
	r.open--
	Pop()
}

// PopTo closes ranges until n are open.
func (r *Ranges) PopTo(n int) {
	for r.open > n {
		r.Pop()
	}
}

func push(name *byte) {
	runtime.LockOSThread()
	if f := listener().at(coreRangePushA); f != 0 {
		f.Call(uintptr(unsafe.Pointer(name)))
	}
}

func pop() {
	if f := listener().at(coreRangePop); f != 0 {
		f.Call()
	}
	runtime.UnlockOSThread()
}

// names are those that occur again and again, as C has them.
var names sync.Map // of string to *byte

func cached(name string) *byte {
	if p, ok := names.Load(name); ok {
		return p.(*byte)
	}
	p, _ := names.LoadOrStore(name, dl.CString(name))
	return p.(*byte)
}

// Functions of the module NVTX_CB_MODULE_CORE.
const (
	coreMarkA      = 2
	coreRangePushA = 9
	coreRangePop   = 11
)

// modules are the sizes of the tables by module: core, CUDA, OpenCL, CUDA runtime, core 2
// (domains), synchronisation. A tool may fill in functions that are never called here.
var modules = [...]int{1: 16, 2: 9, 3: 15, 4: 7, 5: 16, 6: 7}

// tool is what listens.
type tool struct {
	core *dl.Block // slots of functions, by number
	err  error

	keep []*dl.Block // what the tool has addresses of
}

func (t *tool) at(function int) dl.Func {
	if t.err != nil {
		return 0
	}
	return dl.Func(t.core.Words()[function])
}

// listener is the tool, attached when it is first asked for.
var listener = sync.OnceValue(func() *tool {
	t := &tool{}
	if err := t.attach(); err != nil {
		t.err = fmt.Errorf("nvtx: %s=%s: %w", variable, path, err)
	}
	return t
})

func (t *tool) attach() error {
	lib, err := dl.Open(path)
	if err != nil {
		return err
	}
	initialize, err := lib.Lookup("InitializeInjectionNvtx2")
	if err != nil {
		return fmt.Errorf("it is no injection library: %w", err)
	}
	tables := make([]*dl.Block, len(modules))
	for m, n := range modules {
		if n == 0 {
			continue
		}
		slots, table := dl.NewBlock(8*n), dl.NewBlock(8*(n+1)) // a null pointer at either end
		for i := 1; i < n; i++ {
			table.Words()[i] = uint64(slots.Addr()) + 8*uint64(i)
		}
		tables[m] = table
		t.keep = append(t.keep, slots, table)
		if m == 1 {
			t.core = slots
		}
	}
	// int GetModuleFunctionTable(NvtxCallbackModule, NvtxFunctionTable *, unsigned *)
	functions := dl.Callback(func(module, table, size uintptr) uintptr {
		m := int(int32(module))
		if m < 1 || m >= len(tables) {
			return 0
		}
		if size != 0 {
			*(*uint32)(dl.Pointer(size)) = uint32(modules[m])
		}
		if table != 0 {
			*(*uintptr)(dl.Pointer(table)) = tables[m].Addr()
		}
		return 1
	})
	const callbacks, versionInfo = 1, 3 // NvtxExportTableID
	exported := map[uintptr]*dl.Block{  // each begins with its size
		callbacks:   dl.NewBlock(2 * 8), // then GetModuleFunctionTable
		versionInfo: dl.NewBlock(3 * 8), // then a version, and a function that takes the tool's
	}
	copy(exported[callbacks].Words(), []uint64{16, uint64(functions)})
	copy(exported[versionInfo].Words(), []uint64{24, 3, uint64(dl.Callback(func(uintptr) uintptr { return 0 }))})
	export := dl.Callback(func(id uintptr) uintptr {
		if b := exported[uintptr(uint32(id))]; b != nil {
			return b.Addr()
		}
		return 0
	})
	t.keep = append(t.keep, exported[callbacks], exported[versionInfo])
	if int32(initialize.Call(uintptr(export))) == 0 {
		return fmt.Errorf("its InitializeInjectionNvtx2 says that it cannot start")
	}
	return nil
}
