package hardware

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Disk is the file system that a path is on, or will be on: of a path that is not there yet,
// the nearest folder above it that is.
func (s System) Disk(path string) (Disk, error) {
	d := Disk{Path: path}
	at, err := filepath.Abs(path)
	if err != nil {
		return d, err
	}
	if s.Root != "" {
		at = s.path(at)
	}
	for {
		_, err := os.Stat(at)
		if err == nil {
			break
		}
		if up := filepath.Dir(at); errors.Is(err, fs.ErrNotExist) && up != at {
			at = up
			continue
		}
		return d, unknown("the space at "+path, err)
	}
	space := s.Space
	if space == nil {
		space = nativeSpace
	}
	if d.Total, d.Free, err = space(at); err != nil {
		return d, &UnknownValueError{What: "the space at " + path, Why: err.Error()}
	}
	if real, err := filepath.EvalSymlinks(at); err == nil {
		at = real
	}
	if s.Root != "" {
		if root, err := filepath.EvalSymlinks(s.Root); err == nil {
			at = "/" + strings.TrimPrefix(strings.TrimPrefix(at, root), "/")
		}
	}
	if !s.files() {
		return d, nil
	}
	mounts, err := s.mounts()
	if err != nil {
		return d, nil // where it is mounted is not known, which is said by its absence
	}
	for _, m := range mounts {
		inside := m.point == "/" || at == m.point || strings.HasPrefix(at, m.point+"/")
		if inside && len(m.point) >= len(d.Mount) { // the last of those at one place covers the others
			d.Mount, d.Filesystem, d.Device = m.point, m.kind, m.device
		}
	}
	return d, nil
}

// WriteSpeed writes a file of so many bytes into a folder, waits until it is on the disk,
// removes it, and tells how fast that was, in bytes/s. The bytes are random, so that no file
// system makes them fewer.
func WriteSpeed(dir string, bytes int64) (speed float64, err error) {
	f, err := os.CreateTemp(dir, ".sinter-write-speed-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		if err != nil {
			speed = 0
		}
	}()
	block := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(block)
	start := time.Now()
	for left := bytes; left > 0; left -= int64(len(block)) {
		if _, err := f.Write(block[:min(left, int64(len(block)))]); err != nil {
			return 0, fmt.Errorf("writing %d bytes: %w", bytes, err)
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return float64(bytes) / max(time.Since(start).Seconds(), 1e-9), nil
}
