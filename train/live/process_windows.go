package live

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

// self identifies this process.
func self() identity {
	start, _ := stat(os.Getpid())
	return identity{Start: start, Host: host()}
}

// look tells how a process is that once had this number and this identity.
func look(pid int, id identity) condition {
	if id.Host != host() { // a folder that machines share
		return hidden
	}
	start, err := stat(pid)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return gone
	case err != nil:
		return hidden
	case start != id.Start:
		return gone
	}
	return running
}

// stat is when a process started, in units of 100 ns.
func stat(pid int) (start string, err error) {
	const queryLimited, invalidParameter, active = 0x1000, syscall.Errno(87), 259
	h, err := syscall.OpenProcess(queryLimited, false, uint32(pid))
	if errors.Is(err, invalidParameter) {
		return "", os.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	defer syscall.CloseHandle(h)
	var code uint32
	if err := syscall.GetExitCodeProcess(h, &code); err == nil && code != active { // somebody still has a handle to it
		return "", os.ErrNotExist
	}
	var created, exited, kernel, user syscall.Filetime
	if err := syscall.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return "", err
	}
	return strconv.FormatInt(created.Nanoseconds(), 10), nil
}
