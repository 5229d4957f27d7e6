package cpu

import (
	"runtime"
	"syscall"
	"unsafe"
)

// hugePage is the size of a huge page, and from which size on a block is mapped
// instead of taken from Go's heap.
const hugePage = 2 << 20

func alloc(n int) (*buffer, error) {
	if n < hugePage {
		return goAlloc(n), nil
	}
	size := (n + hugePage - 1) &^ (hugePage - 1)
	mem, err := syscall.Mmap(-1, 0, size+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	off := -int(uintptr(unsafe.Pointer(&mem[0]))) & (hugePage - 1)
	aligned := mem[off : off+size]
	_ = syscall.Madvise(aligned, syscall.MADV_HUGEPAGE) // advice: not taken, it is only slower
	b := &buffer{p: unsafe.Pointer(&aligned[0]), n: n}
	unmap := func(mem []byte) { _ = syscall.Munmap(mem) }
	backstop := runtime.AddCleanup(b, unmap, mem)
	b.free = func() {
		backstop.Stop()
		unmap(mem)
	}
	return b, nil
}
