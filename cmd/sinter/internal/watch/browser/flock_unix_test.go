//go:build unix

package browser

import (
	"os"
	"syscall"
)

// flock takes the lock of a run folder as a process that trains does.
func flock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }
