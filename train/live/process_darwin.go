package live

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// self identifies this process.
func self() identity {
	_, start, _ := stat(os.Getpid())
	return identity{Start: start, Host: host()}
}

// look tells how a process is that once had this number and this identity.
func look(pid int, id identity) condition {
	if id.Host != host() { // a folder that machines share
		return hidden
	}
	state, start, err := stat(pid)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return gone
	case err != nil:
		return hidden
	case start != id.Start, state == 5: // SZOMB
		return gone
	case state == 4: // SSTOP
		return halted
	}
	return running
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
