package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Holder is the process that trains into a folder.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Start time.Time `json:"start"`
}

// HeldError is a folder that another process trains into.
type HeldError struct {
	Dir    string
	Holder Holder
}

func (e *HeldError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("another process is training into %s; wait for it, or name another folder with --out", e.Dir)
	}
	return fmt.Sprintf("process %d on %s has been training into %s since %s; wait for it, or name another folder with --out",
		e.Holder.PID, e.Holder.Host, e.Dir, e.Holder.Start.Local().Format("2006-01-02 15:04:05"))
}

// lock is the lock of a folder while this process holds it. The system lets it go
// when the process ends, however that happens.
type lock struct{ file *os.File }

// errLocked is what the system's part reports of a lock that another has.
var errLocked = errors.New("locked")

// acquire takes the lock of a folder.
func acquire(dir string) (*lock, error) {
	name := filepath.Join(dir, LockFile)
	for attempt := 0; ; attempt++ {
		f, err := openLocked(name, true)
		if errors.Is(err, errLocked) {
			// Held takes the lock for a moment to see whether it is free.
			if attempt < 20 {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			return nil, &HeldError{dir, readHolder(name)}
		}
		if err != nil {
			return nil, err
		}
		// Whoever held it before may have removed the file since it was opened.
		here, err := f.Stat()
		if there, statErr := os.Stat(name); err == nil && statErr == nil && !os.SameFile(here, there) || errors.Is(statErr, fs.ErrNotExist) {
			f.Close()
			continue
		}
		host, _ := os.Hostname()
		text, err := json.Marshal(Holder{os.Getpid(), host, time.Now()})
		if err == nil {
			err = f.Truncate(0)
		}
		if err == nil {
			_, err = f.WriteAt(append(text, '\n'), 0)
		}
		if err != nil {
			f.Close()
			os.Remove(name)
			return nil, err
		}
		return &lock{f}, nil
	}
}

// release lets the lock go; the second time it does nothing.
func (l *lock) release() {
	if l.file == nil {
		return
	}
	removeLocked(l.file)
	l.file = nil
}

// Held tells whether a process trains into the folder, and which.
func Held(dir string) (Holder, bool) {
	name := filepath.Join(dir, LockFile)
	f, err := openLocked(name, false)
	if errors.Is(err, errLocked) {
		return readHolder(name), true
	}
	if err == nil {
		f.Close()
	}
	return Holder{}, false
}

// readHolder is what the lock file says; zero while its holder has not written it.
func readHolder(name string) (h Holder) {
	text, err := os.ReadFile(name)
	if err != nil || json.Unmarshal(text, &h) != nil {
		return Holder{}
	}
	return h
}
