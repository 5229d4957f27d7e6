package hardware

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func nativeSpace(path string) (total, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize), nil
}

// nativeSynchronised asks the kernel, which whatever keeps the clock right has told.
func nativeSynchronised() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, fmt.Errorf("adjtimex: %w", err)
	}
	const timeError = 5
	return state != timeError && t.Status&unix.STA_UNSYNC == 0, nil
}

// kernelLog is what there is of the kernel's log now. A read of /dev/kmsg gives one record, and
// would wait for the next at the end.
func kernelLog(file string) (string, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	var text []byte
	record := make([]byte, 1<<16)
	for len(text) < 64<<20 {
		n, err := unix.Read(fd, record)
		switch {
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR): // records were overwritten
		case errors.Is(err, unix.EAGAIN), err == nil && n == 0:
			return string(text), nil
		case err != nil:
			return "", &os.PathError{Op: "read", Path: file, Err: err}
		default:
			text = append(text, record[:n]...)
		}
	}
	return string(text), nil
}

// The rest is read from files.
func nativeCPU(*CPU) error            { return nil }
func nativeMemory(*Memory) error      { return nil }
func nativeNetwork() ([]Link, error)  { return nil, nil }
func nativeOS() (name, kernel string) { return "", "" }
