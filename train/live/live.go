// Package live tells which Sinter runs train on this machine now.
//
// A process that trains keeps a small file about itself in a folder of its user's: where
// the run stands, how fast it goes, what it draws. [Publish] is the callback that does.
// The loop notes where it stands, in memory; a goroutine writes the file, at most once a
// second, by renaming, so that whoever reads sees a whole one. No step waits for a disk,
// and a file that cannot be written is warned of once and ends nothing.
//
// [List] reads the files. There is no server and no lock: a file speaks for its process
// as long as that lives. A number of a process is used again, so a file also has what
// identifies the process, which on Linux is the boot, the space of process numbers and
// the time at which it started by the kernel's clock. A file whose process is gone is
// not listed, and is removed. Of a process that cannot be seen from here, in another
// container perhaps, the file is believed for as long as it is renewed, which it is
// every ten seconds at least.
//
// The folder is, first of those that can be used:
//
//	$SINTER_RUNTIME_DIR        as it is, for a folder that several users or containers share
//	$XDG_RUNTIME_DIR/sinter    which the system makes for a user that is logged in
//	sinter-UID of the folder of temporary files, which only that user can read
//
// What root lists are the runs of all users.
package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/internal/process"
	"github.com/sinter-dl/sinter/power"
)

// What a run is doing.
const (
	Starting      = "starting" // makes and compiles what the first step needs
	Training      = "training"
	Evaluating    = "evaluating"
	Checkpointing = "checkpointing" // stands still while values are copied or written
	Paused        = "paused"        // Run.Reason says why
	Stopped       = "stopped"       // by the system's job control (SIGSTOP)
)

// Run is a run that trains on this machine. A number that is not known is NaN, and null
// in JSON.
type Run struct {
	PID     int       // of the process
	Started time.Time // when training began, or went on
	Updated time.Time // when this was written

	Dir    string // of the run, an absolute path; empty: it keeps none
	Recipe string // its name
	Device string // "cpu", "cuda:0"
	State  string // Starting, …
	Reason string // for which it is paused

	Step, Steps   int // made, and how many there will be at most
	Epoch, Epochs int // the current one, from 1, and how many there will be at most
	Samples       int // examples trained on, by the processes before too if the run was resumed

	Loss             float64 // of training, mean over the epoch so far
	SamplesPerSecond float64 // of training, evaluation not counted
	Watts            float64 // drawn lately
	JoulesPerSample  float64 // mean over the steps so far
	SecondsLeft      float64 // until the last step, evaluation not counted

	Usage power.Usage // of the run so far; without Parts if nothing is metered
}

// plain is a Run in JSON.
type plain struct {
	PID              int         `json:"pid"`
	Started          time.Time   `json:"started"`
	Updated          time.Time   `json:"updated"`
	Dir              string      `json:"dir"`
	Recipe           string      `json:"recipe"`
	Device           string      `json:"device"`
	State            string      `json:"state"`
	Reason           string      `json:"reason,omitempty"`
	Step             int         `json:"step"`
	Steps            int         `json:"steps"`
	Epoch            int         `json:"epoch"`
	Epochs           int         `json:"epochs"`
	Samples          int         `json:"samples"`
	Loss             *float64    `json:"loss"`
	SamplesPerSecond *float64    `json:"samples_per_second"`
	Watts            *float64    `json:"watts"`
	JoulesPerSample  *float64    `json:"joules_per_sample"`
	SecondsLeft      *float64    `json:"seconds_left"`
	Usage            power.Usage `json:"usage"`
}

// MarshalJSON writes numbers that are not known as null.
func (r Run) MarshalJSON() ([]byte, error) {
	number := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	return json.Marshal(plain{
		PID: r.PID, Started: r.Started, Updated: r.Updated, Dir: r.Dir, Recipe: r.Recipe, Device: r.Device, State: r.State, Reason: r.Reason,
		Step: r.Step, Steps: r.Steps, Epoch: r.Epoch, Epochs: r.Epochs, Samples: r.Samples,
		Loss: number(r.Loss), SamplesPerSecond: number(r.SamplesPerSecond), Watts: number(r.Watts),
		JoulesPerSample: number(r.JoulesPerSample), SecondsLeft: number(r.SecondsLeft), Usage: r.Usage,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Run) UnmarshalJSON(text []byte) error {
	var p plain
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	number := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}
	*r = Run{
		PID: p.PID, Started: p.Started, Updated: p.Updated, Dir: p.Dir, Recipe: p.Recipe, Device: p.Device, State: p.State, Reason: p.Reason,
		Step: p.Step, Steps: p.Steps, Epoch: p.Epoch, Epochs: p.Epochs, Samples: p.Samples,
		Loss: number(p.Loss), SamplesPerSecond: number(p.SamplesPerSecond), Watts: number(p.Watts),
		JoulesPerSample: number(p.JoulesPerSample), SecondsLeft: number(p.SecondsLeft), Usage: p.Usage,
	}
	return nil
}

// record is what a file holds.
type record struct {
	Identity process.ID `json:"process"`
	Run      Run        `json:"run"`
}

// believed is for how long a file speaks for a process that cannot be seen.
const believed = time.Minute

// List is the runs that train on this machine now, the longest-running first: those of
// this user, or of all users for root. Files of processes that are gone are removed. An
// error is a folder or file that could not be read; the runs that could be are there
// beside it.
func List() ([]Run, error) {
	var runs []Run
	var errs []error
	for _, dir := range folders() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("reading which runs train: %w", err))
			}
			continue
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			switch {
			case strings.HasSuffix(name, temporary):
				if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > believed { // a kill in mid-writing
					os.Remove(name)
				}
			case strings.HasSuffix(name, suffix):
				r, ok, err := read(name)
				if err != nil {
					errs = append(errs, err)
				} else if ok {
					runs = append(runs, r)
				}
			}
		}
	}
	slices.SortFunc(runs, func(a, b Run) int {
		if c := a.Started.Compare(b.Started); c != 0 {
			return c
		}
		return a.PID - b.PID
	})
	return runs, errors.Join(errs...)
}

// read is what a file says, not ok if its process is gone.
func read(name string) (r Run, ok bool, err error) {
	const most = 64 << 10
	f, err := open(name)
	if errors.Is(err, fs.ErrNotExist) { // the run has just ended
		return Run{}, false, nil
	}
	if err != nil {
		return Run{}, false, fmt.Errorf("reading which runs train: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return Run{}, false, fmt.Errorf("reading which runs train: %w", err)
	}
	var rec record
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&rec); err != nil || rec.Run.PID <= 0 {
		return Run{}, false, fmt.Errorf("%s is damaged: it should tell of a run that trains; remove it", name)
	}
	switch process.Look(rec.Run.PID, rec.Identity) {
	case process.Gone:
		f.Close()
		os.Remove(name)
		return Run{}, false, nil
	case process.Hidden:
		if time.Since(rec.Run.Updated) > believed {
			return Run{}, false, nil
		}
	case process.Halted:
		rec.Run.State, rec.Run.Reason = Stopped, "by a signal (SIGSTOP or Ctrl-Z)"
	}
	return rec.Run, true, nil
}

// Names of files.
const (
	suffix    = ".json"
	temporary = ".tmp"
)

// folders are those in which files of runs may be.
func folders() []string {
	if dir := os.Getenv("SINTER_RUNTIME_DIR"); dir != "" {
		return []string{dir}
	}
	return append(ownFolders(), othersFolders()...)
}

// ownFolders are those that this user's runs may be in, the one to be used first.
func ownFolders() []string {
	if dir := os.Getenv("SINTER_RUNTIME_DIR"); dir != "" {
		return []string{dir}
	}
	var list []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		list = append(list, filepath.Join(dir, "sinter"))
	}
	return append(list, filepath.Join(os.TempDir(), "sinter-"+user()))
}

// folder makes the folder that this process writes into.
func folder() (string, error) {
	var errs []error
	for _, dir := range ownFolders() {
		err := os.MkdirAll(dir, 0o700)
		if err == nil && os.Getenv("SINTER_RUNTIME_DIR") == "" {
			err = private(dir)
		}
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}
