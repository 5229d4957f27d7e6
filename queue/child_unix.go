//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package queue

import (
	"os"
	"os/exec"
	"syscall"
)

// detach keeps what is typed at the daemon's terminal from the child: whether it is to
// stop is the daemon's decision.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// tell asks a training process to write a checkpoint and end.
func tell(pid int, _ string) error { return syscall.Kill(pid, syscall.SIGTERM) }

// kill ends a process at once.
func kill(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// signalled tells which signal ended a process; empty if it ended by itself.
func signalled(s *os.ProcessState) string {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return w.Signal().String()
	}
	return ""
}

// unlock lets a file's lock go.
func unlock(f *os.File) { syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
