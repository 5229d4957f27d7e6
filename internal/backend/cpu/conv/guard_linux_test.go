package conv

import (
	"syscall"
	"testing"
	"unsafe"
)

// guarded is memory that begins and ends at pages that cannot be touched: n bytes,
// at the end of the accessible part or, if first, at its beginning.
func guarded(t testing.TB, n int, first bool) unsafe.Pointer {
	page := syscall.Getpagesize()
	whole := (n + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, whole+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for _, edge := range [][]byte{mem[:page], mem[page+whole:]} {
		if err := syscall.Mprotect(edge, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	if first {
		return unsafe.Pointer(&mem[page])
	}
	return unsafe.Pointer(&mem[page+whole-n])
}
