//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package queue

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sinter-dl/sinter/train/rundir"
)

func detach(*exec.Cmd) {}

// tell asks a training process to write a checkpoint and end. This system has no signal
// for that; the run's own control file does it at the next step.
func tell(_ int, run string) error {
	return rundir.WriteFile(filepath.Join(run, rundir.ControlFile), fmt.Appendf(nil, "stop: %d\n", time.Now().Unix()))
}

// kill ends a process at once.
func kill(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

func signalled(*os.ProcessState) string { return "" }

// unlock lets a file's lock go, which here goes with its handle.
func unlock(*os.File) {}
