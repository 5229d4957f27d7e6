package pool

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// parker blocks one goroutine, with its thread, in a futex. Woken by another
// thread it runs within microseconds, where a goroutine woken through a channel
// waits until an idle processor has come to steal it.
type parker struct{ parked atomic.Int32 }

const (
	futexWaitPrivate = 0 | 128
	futexWakePrivate = 1 | 128
)

func (k *parker) init() {}

// park blocks until unpark, unless news is already true.
func (k *parker) park(news func() bool) {
	k.parked.Store(1)
	if news() && k.parked.CompareAndSwap(1, 0) {
		return
	}
	for k.parked.Load() == 1 {
		// A full system call, so that the scheduler can give the processor to
		// another goroutine and the collector does not wait.
		syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&k.parked)), futexWaitPrivate, 1, 0, 0, 0)
	}
}

func (k *parker) unpark() {
	if k.parked.Load() == 1 && k.parked.CompareAndSwap(1, 0) {
		syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&k.parked)), futexWakePrivate, 1, 0, 0, 0)
	}
}
