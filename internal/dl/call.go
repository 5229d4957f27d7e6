//go:build !nogpu && ((linux && !android) || darwin || windows) && (amd64 || arm64)

package dl

import (
	"sync"

	"github.com/ebitengine/purego"
)

const maxArgs = 32

var (
	frames = sync.Pool{New: func() any { return new([maxArgs]uintptr) }}
	cells  = sync.Pool{New: func() any { return new(Cell) }}
)

func unsupported() string { return "" }

func call(f uintptr, args []uintptr) uintptr {
	r, _, _ := purego.SyscallN(f, args...)
	return r
}

// Register makes *fn, a Go function, call the C function f. It is for the few functions
// that take floating-point numbers by value, which Call cannot pass; such a call
// allocates.
func Register(fn any, f Func) { purego.RegisterFunc(fn, uintptr(f)) }

// Callback is the address of a C function that calls fn, a Go function of at most one
// result, all of uintptr's size. It is never freed, and there may be 2000.
func Callback(fn any) Func { return Func(purego.NewCallback(fn)) }
