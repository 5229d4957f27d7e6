package cpu

import (
	"runtime"
	"syscall"
	"unsafe"
)

// hugePage is the size of a huge page.
const hugePage = 2 << 20

// ownPages is from which size on a block is mapped instead of taken from Go's heap, whose
// collector lets garbage pile up in proportion to what it holds.
const ownPages = 256 << 10

func alloc(n int) (*buffer, error) {
	if n < ownPages {
		return goAlloc(n), nil
	}
	// Huge pages begin at multiples of their size. What is left over behind the last one
	// has small pages: of a huge one all is resident, however little of it is used, and a
	// model has many blocks that are a little too large.
	whole, slack := n&^(hugePage-1), 0
	if whole > 0 {
		slack = hugePage
	}
	mem, err := syscall.Mmap(-1, 0, n+slack, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	block := mem
	if whole > 0 {
		block = mem[-int(uintptr(unsafe.Pointer(&mem[0])))&(hugePage-1):]
		_ = syscall.Madvise(block[:whole], syscall.MADV_HUGEPAGE) // advice: not taken, it is only slower
		_ = syscall.Madvise(block[whole:], syscall.MADV_NOHUGEPAGE)
	}
	b := &buffer{p: unsafe.Pointer(&block[0]), n: n}
	unmap := func(mem []byte) { _ = syscall.Munmap(mem) }
	backstop := runtime.AddCleanup(b, unmap, mem)
	b.free = func() {
		backstop.Stop()
		unmap(mem)
	}
	return b, nil
}
