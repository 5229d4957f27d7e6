package rundir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Writer is the run folder of a run that is under way. Its methods may be called by
// several goroutines.
type Writer struct {
	dir     string
	created []string // folders that did not exist before, innermost last
	lock    *lock

	mu     sync.Mutex
	log    *os.File
	size   int64        // of the log, with what is in lines
	lines  bytes.Buffer // that have not been written yet
	timer  *time.Timer  // that will write them; nil if there are none
	failed error        // why the last attempt to write them did not succeed
}

// flushAfter is how long a line of the log may wait to be written.
const flushAfter = time.Second

// maxLines is how much of the log is kept while it cannot be written.
const maxLines = 64 << 20

// Create begins a run folder at dir, which must be absent or empty, with a manifest
// of a run that is running. Whether it can be written shows here, before any
// training. What a process has left that was killed in the middle of this is no
// content.
func Create(dir string, m *Manifest) (*Writer, error) {
	entries, err := os.ReadDir(dir)
	if err == nil && begunOnly(entries) {
		if l, err := acquire(dir); err == nil { // nobody is at it
			for _, e := range entries {
				if e.Name() != LockFile {
					os.Remove(filepath.Join(dir, e.Name()))
				}
			}
			l.release()
			entries = nil
		}
	}
	switch {
	case err == nil && len(entries) > 0:
		if holder, held := Held(dir); held {
			return nil, &HeldError{dir, holder}
		}
		if _, err := os.Stat(filepath.Join(dir, ManifestFile)); err == nil {
			return nil, fmt.Errorf("output folder %s is not empty: it holds a run; name another folder with --out, or go on with that run by 'sinter train --resume %s'", dir, dir)
		}
		return nil, fmt.Errorf("output folder %s is not empty: name another with --out, or remove it", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("output folder %s cannot be used: %w", dir, err)
	}
	w := &Writer{dir: filepath.Clean(dir)}
	if err := w.makeParents(w.dir); err != nil {
		w.removeCreated()
		return nil, fmt.Errorf("output folder %s cannot be written: %w", dir, err)
	}
	if w.lock, err = acquire(w.dir); err != nil {
		if !errors.As(err, new(*HeldError)) {
			w.removeCreated()
			err = fmt.Errorf("output folder %s cannot be written: %w", dir, err)
		}
		return nil, err
	}
	// What is in the folder from here on is this run's.
	w.log, err = os.OpenFile(w.File(MetricsFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o666)
	if errors.Is(err, fs.ErrExist) { // another run has been and gone since ReadDir
		w.lock.release()
		return nil, fmt.Errorf("output folder %s is not empty: name another with --out, or remove it", dir)
	}
	if err == nil {
		m.Status = Running
		err = w.WriteManifest(m)
	}
	if err != nil {
		w.Discard()
		return nil, fmt.Errorf("output folder %s cannot be written: %w", dir, err)
	}
	return w, nil
}

// begunOnly tells whether a folder holds no more than what Create makes before the
// manifest: the lock, a log without a line, and the manifest under another name.
func begunOnly(entries []fs.DirEntry) bool {
	for _, e := range entries {
		switch name := e.Name(); {
		case name == LockFile, strings.HasPrefix(name, "."+ManifestFile+".") && strings.HasSuffix(name, ".tmp"):
		case name == MetricsFile:
			if info, err := e.Info(); err != nil || info.Size() > 0 {
				return false
			}
		default:
			return false
		}
	}
	return len(entries) > 0
}

// CreateIn begins a run folder in base named after the run and the time, with a
// number where that name is taken.
func CreateIn(base, name string, now time.Time, m *Manifest) (*Writer, error) {
	stem := filepath.Join(base, name+"-"+now.Format("20060102-150405"))
	for n := 1; ; n++ {
		dir := stem
		if n > 1 {
			dir = fmt.Sprintf("%s-%d", stem, n)
		}
		if _, err := os.Lstat(dir); err == nil {
			continue
		}
		w, err := Create(dir, m)
		if errors.As(err, new(*HeldError)) && n < 1000 {
			continue // another run has taken the name just now
		}
		return w, err
	}
}

// Open takes up the folder of a run that has ended, or was killed, to go on with it.
// Nothing in it is changed yet.
func Open(dir string) (*Writer, *Manifest, error) {
	if _, err := Read(dir); err != nil { // before there is a lock file in what is no run
		return nil, nil, err
	}
	w := &Writer{dir: filepath.Clean(dir)}
	var err error
	if w.lock, err = acquire(w.dir); err != nil {
		if !errors.As(err, new(*HeldError)) {
			err = fmt.Errorf("run folder %s cannot be written: %w", dir, err)
		}
		return nil, nil, err
	}
	m, err := Read(dir) // by now it does not change any more
	if err == nil {
		w.log, err = os.OpenFile(w.File(MetricsFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	}
	if err == nil {
		w.size, err = w.log.Seek(0, 2)
	}
	if err != nil {
		w.Close()
		return nil, nil, fmt.Errorf("going on in the run folder %s: %w", dir, err)
	}
	return w, m, nil
}

// makeParents creates dir and what lies above it, remembering what was missing.
func (w *Writer) makeParents(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if up := filepath.Dir(dir); up != dir {
		if err := w.makeParents(up); err != nil {
			return err
		}
	}
	err := os.Mkdir(dir, 0o777)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		w.created = append(w.created, dir)
	}
	return err
}

// Dir is the folder.
func (w *Writer) Dir() string { return w.dir }

// File is where a file of the folder is.
func (w *Writer) File(name string) string { return filepath.Join(w.dir, name) }

// Log adds a line to metrics.jsonl, which is there to be read within a second. If it
// cannot be written, the lines are kept and written as soon as that succeeds; the
// error says so once for every attempt.
func (w *Writer) Log(record any) error {
	line, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("%s: %w", MetricsFile, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lines.Len() < maxLines {
		w.lines.Write(line)
		w.lines.WriteByte('\n')
		w.size += int64(len(line)) + 1
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(flushAfter, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.timer = nil
			if w.log != nil {
				w.failed = w.flush()
			}
		})
	}
	err, w.failed = w.failed, nil
	return err
}

// Flush writes the lines of the log that wait.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

// flush is Flush; the mutex is held. Of a line that was written in part the rest
// stays, so that no attempt leaves half a line for good.
func (w *Writer) flush() error {
	n, err := w.log.Write(w.lines.Bytes())
	w.lines.Next(n)
	if err != nil {
		return fmt.Errorf("%s could not be written: %w; its lines are kept until it can", w.File(MetricsFile), err)
	}
	return nil
}

// LogSize is how long metrics.jsonl is with all lines so far, in bytes.
func (w *Writer) LogSize() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

// SyncLog writes the lines of the log that wait and forces the file to the disk.
func (w *Writer) SyncLog() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.flush(); err != nil {
		return err
	}
	return w.log.Sync()
}

// CutLog drops the lines of the log after the first size bytes. Whatever is missing
// before that, after a power cut perhaps, is missing; a line that was cut goes too.
func (w *Writer) CutLog(size int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.flush(); err != nil {
		return err
	}
	text, err := os.ReadFile(w.File(MetricsFile))
	if err != nil {
		return err
	}
	text = text[:max(0, min(size, int64(len(text))))]
	w.size = int64(bytes.LastIndexByte(text, '\n') + 1)
	return w.log.Truncate(w.size)
}

// WriteManifest replaces run.json.
func (w *Writer) WriteManifest(m *Manifest) error {
	m.Format = Format
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(w.File(ManifestFile), append(text, '\n'))
}

// Finish ends the run: the manifest is written with how it ended, and the folder is
// let go. After an error run.json is as it was before, and the run can be resumed.
func (w *Writer) Finish(m *Manifest) error {
	err := w.SyncLog()
	if err == nil {
		err = w.WriteManifest(m)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("writing the run folder %s: %w", w.dir, err)
	}
	return nil
}

// Close lets the folder go as it is. After Finish or Discard it does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	var err error
	if w.log != nil {
		err = errors.Join(w.flush(), w.log.Close())
		w.log = nil
	}
	w.lock.release()
	return err
}

// Discard removes a folder that was created, and the parent folders that were made
// for it. After Finish it does nothing.
func (w *Writer) Discard() {
	if w.lock.file == nil {
		return
	}
	w.Close()
	entries, _ := os.ReadDir(w.dir)
	for _, e := range entries {
		os.RemoveAll(w.File(e.Name()))
	}
	w.removeCreated()
}

func (w *Writer) removeCreated() {
	for i := len(w.created) - 1; i >= 0; i-- {
		if os.Remove(w.created[i]) != nil { // not empty: another run lives there
			return
		}
	}
}

// WriteFile replaces a file, whole or not at all: the content is written under
// another name, forced to the disk and renamed.
func WriteFile(name string, content []byte) (err error) {
	temp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%d.tmp", filepath.Base(name), os.Getpid()))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// SyncDir makes what was renamed, made or removed in a folder survive a power cut.
// Windows does that by itself and has no call for it.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
