//go:build nogpu || !((linux && !android) || darwin || windows) || !(amd64 || arm64)

package dl

import (
	"errors"
	"sync"
)

const maxArgs = 32

var (
	frames = sync.Pool{New: func() any { return new([maxArgs]uintptr) }}
	cells  = sync.Pool{New: func() any { return new(Cell) }}
)

func unsupported() string { return whyNot }

var errNone = errors.New(whyNot)

func open(string) (uintptr, error)            { return 0, errNone }
func lookup(uintptr, string) (uintptr, error) { return 0, errNone }
func origin(_ uintptr, name string) string    { return name }

// call is never reached: without Open there is no function to call.
func call(uintptr, []uintptr) uintptr { panic("dl: " + whyNot) }

// Register is never reached, as call is not.
func Register(any, Func) { panic("dl: " + whyNot) }

// Callback is never reached, as call is not.
func Callback(any) Func { panic("dl: " + whyNot) }
