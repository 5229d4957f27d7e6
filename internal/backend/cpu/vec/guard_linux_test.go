package vec

import (
	"syscall"
	"testing"
	"unsafe"
)

// guarded is memory that ends where a page begins that cannot be read.
func guarded(t testing.TB, n int) unsafe.Pointer {
	page := syscall.Getpagesize()
	whole := (n + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, whole+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mprotect(mem[whole:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	return unsafe.Pointer(&mem[whole-n])
}
