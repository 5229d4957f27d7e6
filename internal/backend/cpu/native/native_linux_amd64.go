package native

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const supported = true

func reserve(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

func seal(m []byte) error { return unix.Mprotect(m, unix.PROT_READ|unix.PROT_EXEC) }

func release(m []byte) { _ = unix.Munmap(m) }

func address(m []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m))) }

// Call runs the code at entry with args as its argument.
//
//go:noescape
func Call(entry uintptr, args unsafe.Pointer)
