package process

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

// Of identifies a process that is there. What cannot be told of it is left out, and the
// error says why.
func Of(pid int) (ID, error) {
	start, err := stat(pid)
	return ID{Start: start, Host: host()}, err
}

// Look tells how a process is that once had this number and this ID.
func Look(pid int, id ID) Condition {
	if id.Host != host() { // a folder that machines share
		return Hidden
	}
	start, err := stat(pid)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Gone
	case err != nil:
		return Hidden
	case start != id.Start:
		return Gone
	}
	return Running
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
