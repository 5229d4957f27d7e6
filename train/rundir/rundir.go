// Package rundir writes and reads run folders: what a training run leaves behind.
//
//	run.json           what was run, on what, and what came out (Manifest)
//	metrics.jsonl      one JSON object a line, as training went
//	model.safetensors  the weights
//	curve.png          the curves
//
// A run folder is whole or absent. It is written under a hidden name beside its
// final one and renamed when everything is in it; a run that fails before it has
// weights worth keeping discards it.
package rundir

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"
)

// Names of the files in a run folder.
const (
	ManifestFile = "run.json"
	MetricsFile  = "metrics.jsonl"
	WeightsFile  = "model.safetensors"
	CurveFile    = "curve.png"
)

// Format is the version of the layout; a reader refuses a newer one.
const Format = 1

// Manifest is the content of run.json.
type Manifest struct {
	Format   int             `json:"format"`
	Name     string          `json:"name"`
	Status   string          `json:"status"` // Complete, Interrupted or Failed
	Error    string          `json:"error,omitempty"`
	Recipe   json.RawMessage `json:"recipe"`
	Seed     uint64          `json:"seed"`
	Device   string          `json:"device"`
	Versions Versions        `json:"versions"`
	Data     []Source        `json:"data"`
	Input    json.RawMessage `json:"input"` // what is needed to read examples again: classes, encoders, characters
	Results  json.RawMessage `json:"results"`
	Started  time.Time       `json:"started"`
	Finished time.Time       `json:"finished"`
}

// How a run ended.
const (
	Complete    = "complete"
	Interrupted = "interrupted"
	Failed      = "failed"
)

// Source is a file, folder or generator that examples came from.
type Source struct {
	Role     string `json:"role"` // train, test
	Path     string `json:"path"`
	Examples int    `json:"examples"`
	SHA256   string `json:"sha256"`
}

// Versions says what ran.
type Versions struct {
	Sinter string `json:"sinter"`
	Go     string `json:"go"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
}

// CurrentVersions describes this program on this machine.
func CurrentVersions() Versions {
	return Versions{
		Sinter: Version(),
		Go:     runtime.Version(),
		OS:     runtime.GOOS,
		Arch:   runtime.GOARCH,
		CPU:    cpuName(),
		CPUs:   runtime.NumCPU(),
	}
}

// Version is Sinter's version as the Go toolchain recorded it: a tag for an
// installed release, a revision for a build from a checkout, else "devel".
func Version() string {
	const module = "github.com/sinter-dl/sinter"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version
		}
	}
	if v := info.Main.Version; info.Main.Path == module && v != "" && v != "(devel)" {
		return v
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = "-" + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	return "devel" + revision + modified
}

// Writer is a run folder that is being written.
type Writer struct {
	final, temp string
	created     []string // parents that did not exist before, innermost last
	log         *os.File
	buffer      *bufio.Writer
}

// Create begins a run folder at dir, which must be absent or empty. Whether it
// can be written shows here, before any training.
func Create(dir string) (*Writer, error) {
	switch entries, err := os.ReadDir(dir); {
	case err == nil && len(entries) > 0:
		return nil, fmt.Errorf("output folder %s is not empty: name another with --out, or remove it", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("output folder %s cannot be used: %w", dir, err)
	}
	w := &Writer{final: filepath.Clean(dir)}
	parent, base := filepath.Split(w.final)
	w.temp = filepath.Join(parent, "."+base+".partial")
	err := w.makeParents(filepath.Clean(parent))
	if err == nil {
		err = os.Mkdir(w.temp, 0o777)
	}
	if err == nil {
		w.log, err = os.Create(filepath.Join(w.temp, MetricsFile))
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("output folder %s: another run is being written there; if none is, remove %s (%w)", dir, w.temp, err)
	}
	if err != nil {
		w.Discard()
		return nil, fmt.Errorf("output folder %s cannot be written: %w", dir, err)
	}
	w.buffer = bufio.NewWriter(w.log)
	return w, nil
}

// CreateIn begins a run folder in base named after the run and the time, with a
// number where that name is taken.
func CreateIn(base, name string, now time.Time) (*Writer, error) {
	stem := filepath.Join(base, name+"-"+now.Format("20060102-150405"))
	for n := 1; ; n++ {
		dir := stem
		if n > 1 {
			dir = fmt.Sprintf("%s-%d", stem, n)
		}
		if _, err := os.Lstat(dir); err == nil {
			continue
		}
		w, err := Create(dir)
		if errors.Is(err, fs.ErrExist) && n < 1000 {
			continue // another run is being written there
		}
		return w, err
	}
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

// Dir is where the folder will be.
func (w *Writer) Dir() string { return w.final }

// File is where to write a file of the folder now.
func (w *Writer) File(name string) string { return filepath.Join(w.temp, name) }

// Log adds a line to metrics.jsonl.
func (w *Writer) Log(record any) error {
	line, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("%s: %w", MetricsFile, err)
	}
	w.buffer.Write(line)
	if err := w.buffer.WriteByte('\n'); err != nil {
		return fmt.Errorf("writing %s: %w", w.File(MetricsFile), err)
	}
	return nil
}

// Commit writes run.json, syncs and gives the folder its name. All other files
// must have been written. After an error the folder is gone.
func (w *Writer) Commit(m *Manifest) (err error) {
	defer func() {
		if err != nil {
			w.Discard()
			err = fmt.Errorf("writing the run folder %s: %w", w.final, err)
		}
	}()
	if err := w.buffer.Flush(); err != nil {
		return err
	}
	err = w.log.Close()
	w.log = nil
	if err != nil {
		return err
	}
	m.Format = Format
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.File(ManifestFile), append(text, '\n'), 0o666); err != nil {
		return err
	}
	entries, err := os.ReadDir(w.temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := syncFile(w.File(e.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(w.final); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(w.temp, w.final)
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Discard removes what was written, and the parent folders that were made for
// it. After Commit it does nothing.
func (w *Writer) Discard() {
	if w.log != nil {
		w.log.Close()
		w.log = nil
	}
	if os.RemoveAll(w.temp) != nil {
		return
	}
	for i := len(w.created) - 1; i >= 0; i-- {
		if os.Remove(w.created[i]) != nil { // not empty: another run lives there
			return
		}
	}
}

// Read reads the manifest of a run folder.
func Read(dir string) (*Manifest, error) {
	name := filepath.Join(dir, ManifestFile)
	text, err := os.ReadFile(name)
	if err != nil {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() && errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not a run folder: it has no %s", dir, ManifestFile)
		}
		return nil, fmt.Errorf("reading the run: %w", err)
	}
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	if m.Format < 1 || m.Format > Format {
		return nil, fmt.Errorf("%s has format %d; this version of Sinter reads up to %d", name, m.Format, Format)
	}
	return m, nil
}
