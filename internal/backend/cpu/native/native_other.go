//go:build !linux || !amd64

package native

import (
	"errors"
	"unsafe"
)

const supported = false

func reserve(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func seal([]byte) error { return errors.ErrUnsupported }

func release([]byte) {}

func address([]byte) uintptr { return 0 }

// Call runs the code at entry with args as its argument. There is none here.
func Call(entry uintptr, args unsafe.Pointer) { panic(ErrRefused) }
