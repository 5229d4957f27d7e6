//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package rundir

import (
	"errors"
	"io/fs"
	"os"
)

// openLocked takes the lock by making the file, as these systems have no lock that
// goes with the process: after a kill the file has to be removed by hand.
func openLocked(name string, create bool) (*os.File, error) {
	if !create {
		if _, err := os.Stat(name); err != nil {
			return nil, err
		}
		return nil, errLocked
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, errLocked
	}
	return f, err
}

func removeLocked(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}
