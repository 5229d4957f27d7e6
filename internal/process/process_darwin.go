package process

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Of identifies a process that is there. What cannot be told of it is left out, and the
// error says why.
func Of(pid int) (ID, error) {
	_, start, err := stat(pid)
	return ID{Start: start, Host: host()}, err
}

// Look tells how a process is that once had this number and this ID.
func Look(pid int, id ID) Condition {
	if id.Host != host() { // a folder that machines share
		return Hidden
	}
	state, start, err := stat(pid)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Gone
	case err != nil:
		return Hidden
	case start != id.Start, state == 5: // SZOMB
		return Gone
	case state == 4: // SSTOP
		return Halted
	}
	return Running
}

// stat asks the kernel for a process's state and the time at which it started.
func stat(pid int) (state int8, start string, err error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) || err == nil && int(info.Proc.P_pid) != pid { // an answer of no bytes
		return 0, "", os.ErrNotExist
	}
	if err != nil {
		return 0, "", err
	}
	at := info.Proc.P_starttime
	return info.Proc.P_stat, fmt.Sprintf("%d.%06d", at.Sec, at.Usec), nil
}
