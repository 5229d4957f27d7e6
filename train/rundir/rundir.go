// Package rundir writes and reads run folders: what a training run leaves behind.
//
//	run.json           what was run, on what, how it stands and what came out (Manifest)
//	metrics.jsonl      one JSON object a line, as training goes
//	control.yaml       settings that may be edited while it runs
//	control.jsonl      what was changed that way, and at which step
//	checkpoints/       what a run that was stopped goes on from
//	model.safetensors  the weights at the end
//	samples.jsonl      examples of the test set with what the model says of them
//	confusion.json     which class was taken for which
//	layers.json        the model's table of layers
//	curve.png, .svg    the curves
//	lock               held by the process that trains into the folder
//
// The folder has its final name from the moment training begins, so that whoever
// wants to can look on. Each file in it is whole or absent: it is written under
// another name and renamed. The exceptions are the .jsonl files, which grow by
// whole lines; only a crash of the machine can cut the last one.
//
// A run that fails before its first step removes its folder again (Discard). One
// that ends later says so in run.json (Finish). One that was killed could not: its
// run.json says "running" and nobody holds the lock, which StatusIn tells apart.
//
// rundir.go has the manifest and how it is read, writer.go the Writer, lock*.go the
// lock.
package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/sinter-dl/sinter/power"
)

// Names of the files in a run folder.
const (
	ManifestFile   = "run.json"
	MetricsFile    = "metrics.jsonl"
	ControlFile    = "control.yaml"
	ControlLog     = "control.jsonl"
	CheckpointsDir = "checkpoints"
	WeightsFile    = "model.safetensors"
	SamplesFile    = "samples.jsonl"
	ConfusionFile  = "confusion.json"
	LayersFile     = "layers.json"
	CurveFile      = "curve.png"
	CurveSVGFile   = "curve.svg"
	LockFile       = "lock"
)

// Format is the version of the layout; a reader refuses a newer one.
const Format = 1

// Manifest is the content of run.json.
type Manifest struct {
	Format   int             `json:"format"`
	Name     string          `json:"name"`
	Status   string          `json:"status"` // Running, Complete, Interrupted or Failed
	Error    string          `json:"error,omitempty"`
	Stopped  string          `json:"stopped,omitempty"` // why the run stopped itself before its end; empty if it was told to
	Recipe   json.RawMessage `json:"recipe"`
	Seed     uint64          `json:"seed"`
	Device   string          `json:"device"`
	Model    string          `json:"device_model,omitempty"`  // what the device is called
	Driver   string          `json:"device_driver,omitempty"` // version of its driver
	Versions Versions        `json:"versions"`
	Data     []Source        `json:"data"`
	Input    json.RawMessage `json:"input"`             // what is needed to read examples again: classes, encoders, characters
	Results  json.RawMessage `json:"results,omitempty"` // absent while the run is running
	Started  time.Time       `json:"started"`
	Finished time.Time       `json:"finished,omitzero"`
	Resumed  []Resumption    `json:"resumed,omitempty"` // when the run went on from a checkpoint
}

// Resumption is one time that a run went on after it had been stopped or killed.
type Resumption struct {
	Step   int       `json:"step"` // of the checkpoint that it went on from
	Time   time.Time `json:"time"`
	Device string    `json:"device,omitempty"` // that it went on on

	Usage *power.Usage `json:"usage,omitempty"` // what it had used by then, more than the checkpoint knows perhaps
}

// How a run stands. Killed is never written: it is what StatusIn says of a run that
// was running when its process ended without a word.
const (
	Running     = "running"
	Complete    = "complete"
	Interrupted = "interrupted"
	Failed      = "failed"
	Killed      = "killed"
)

// StatusIn is how the run of this folder stands: what its manifest says, or Killed.
func (m *Manifest) StatusIn(dir string) string {
	if m.Status == Running {
		if _, held := Held(dir); !held {
			return Killed
		}
	}
	return m.Status
}

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
