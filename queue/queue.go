// Package queue runs training one job after another on one machine: when a window of time
// is open, when electricity is cheap or clean, when a device is free.
//
// The state is one database file. Commands put jobs into it and ask to pause or cancel
// them; a daemon carries them out. Both open the file for a few milliseconds at a time
// and close it again, which the file's lock puts in order. So there is no second copy of
// the truth and no protocol: jobs can be added, looked at and cancelled whether or not a
// daemon runs, and one that is killed leaves nothing half done.
//
//	add → queued ⇄ waiting-window → running → done, failed
//	                    ↑              ↓
//	                  paused   ←   pausing → cancelled
//
// What is to be done follows from the jobs, the time, the devices and the series of
// prices alone: Decide is a function of these and changes nothing. The daemon asks it
// again whenever something may have changed, writes down what it is about to do, and then
// does it; so after a crash the database says what has been begun. A job runs as a
// process of its own, 'sinter train', which is told by SIGTERM to write a checkpoint and
// end, and goes on later from that checkpoint to the same bits. A process that outlives
// its daemon is taken over by the next one, and a run that did not outlive the machine
// goes on from its last checkpoint.
//
// job.go has the jobs, store.go and check.go the database, decide.go the scheduler,
// why.go its reasons in words, daemon.go and child.go what carries the decisions out.
package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/internal/process"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/schedule"
)

// State is where a job stands.
type State string

// The states of a job.
const (
	Queued    State = "queued"
	Waiting   State = "waiting-window" // only for its window, or its cheap or green hours
	Running   State = "running"
	Pausing   State = "pausing" // it has been told to write a checkpoint and end
	Paused    State = "paused"  // it has begun, and goes on from its checkpoint
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Ended tells whether nothing more will happen to a job in this state.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Live tells whether a job in this state has a process and a device.
func (s State) Live() bool { return s == Running || s == Pausing }

// Job is a training run that is wanted, and how it stands.
type Job struct {
	ID    int       `json:"id"` // from 1 on
	Name  string    `json:"name"`
	Added time.Time `json:"added"`

	// What to run: 'sinter train' with the recipe's text, as it was when the job was added,
	// in a file, and Args.
	Recipe string   `json:"recipe"`
	Source string   `json:"source"` // the name that it was found by
	Args   []string `json:"args,omitempty"`
	Budget string   `json:"budget,omitempty"` // for the next process, in place of the one before
	Dir    string   `json:"dir"`              // to work in
	Env    []string `json:"env,omitempty"`    // NAME=value
	Run    string   `json:"run,omitempty"`    // the run's folder, absolute; known from the first start on, unless it was named

	// On what and when.
	Priority int             `json:"priority"`            // the highest first; 0 unless said
	Devices  []string        `json:"devices,omitempty"`   // one of these; any that is Auto if empty
	Memory   int64           `json:"memory,omitempty"`    // that the device is to have, in bytes
	Slice    string          `json:"slice,omitempty"`     // of a MIG device, such as 1g.10gb
	Earliest time.Time       `json:"earliest,omitzero"`   // not before
	Deadline time.Time       `json:"deadline,omitzero"`   // to be done by
	Window   schedule.Window `json:"window,omitzero"`     // only while it is open
	Cheap    string          `json:"cheap,omitempty"`     // file with prices: in the hours that cost least
	Green    string          `json:"green,omitempty"`     // file with carbon intensities: in the hours that emit least
	Length   time.Duration   `json:"length_ns,omitempty"` // that it takes by estimate, while it runs; 0: not known
	Retries  int             `json:"retries"`             // after failures
	Grace    time.Duration   `json:"grace_ns"`            // to write a checkpoint in, when it is told to end

	// How it stands.
	State     State         `json:"state"`
	Reason    string        `json:"reason,omitempty"`      // for the state, where it wants one
	Hold      string        `json:"hold,omitempty"`        // why it is not to run until it is released; empty: it may
	Cancel    bool          `json:"cancel,omitempty"`      // it is to end for good
	Now       bool          `json:"run_now,omitempty"`     // windows and hours are left aside until it stops next
	NotBefore time.Time     `json:"not_before,omitzero"`   // after a failure
	Failures  int           `json:"failures"`              // since the last time that it was paused in order
	Lost      int           `json:"lost"`                  // times in a row that it was found without its process
	Device    string        `json:"device,omitempty"`      // that it runs on, or ran on last
	PID       int           `json:"pid,omitempty"`         // of its process, while it has one
	Process   process.ID    `json:"process,omitzero"`      //
	Started   time.Time     `json:"started,omitzero"`      // the last time
	Told      time.Time     `json:"told,omitzero"`         // when it was told to end
	Killed    bool          `json:"killed,omitempty"`      // it did not end by itself in time
	Ran       time.Duration `json:"ran_ns,omitempty"`      // in all, up to the last stop
	Ended     time.Time     `json:"ended,omitzero"`        //
	Status    int           `json:"exit_status,omitempty"` // of the last process that ended; -1: by a signal
	History   []Transition  `json:"history"`
}

// Transition is a change of a job's state.
type Transition struct {
	Time   time.Time `json:"time"`
	State  State     `json:"state"`
	Reason string    `json:"reason,omitempty"`
}

// maxHistory is how many transitions are kept: the first and the last ones.
const maxHistory = 200

// End ends a job that does not run.
func (j *Job) End(s State, now time.Time, reason string) { j.become(s, now, reason) }

// become changes the state and writes that down.
func (j *Job) become(s State, now time.Time, reason string) {
	j.State, j.Reason = s, reason
	j.History = append(j.History, Transition{now, s, reason})
	if n := len(j.History); n > maxHistory {
		j.History = slices.Delete(j.History, 1, 1+n-maxHistory)
	}
	if s.Ended() {
		j.Ended = now
	}
	if !s.Live() {
		j.Told, j.Killed = time.Time{}, false
	}
}

// Remaining is how much longer the job will run by its estimate: never less than 0, and 0
// if there is none.
func (j *Job) Remaining(now time.Time) time.Duration {
	return max(0, j.Length-j.ran(now))
}

// ran is how long the job has run in all.
func (j *Job) ran(now time.Time) time.Duration {
	if j.State.Live() {
		return j.Ran + max(0, now.Sub(j.Started))
	}
	return j.Ran
}

// Command is what the job runs, for people.
func (j *Job) Command() string {
	words := append([]string{"sinter", "train", j.Source}, j.Args...)
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$*?;&|<>()") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// Device is something that one job at a time can run on.
type Device struct {
	Name    string `json:"name"` // for 'sinter train --device'
	Model   string `json:"model,omitempty"`
	Unit    string `json:"unit,omitempty"`    // the hardware behind it, if several devices are the same; else its name
	Auto    bool   `json:"auto"`              // jobs that name no device run on it
	Memory  int64  `json:"memory"`            // in bytes; 0: not known
	Slice   string `json:"slice,omitempty"`   // the MIG profile, if it is part of a device
	Problem string `json:"problem,omitempty"` // why it cannot be used
}

func (d Device) unit() string { return cmp.Or(d.Unit, d.Name) }

// suits tells whether the job can run on the device, whoever uses it now.
func (j *Job) suits(d Device) bool {
	return d.Problem == "" && j.wants(d) && (j.Memory == 0 || d.Memory >= j.Memory) && (j.Slice == "" || d.Slice == j.Slice)
}

func (j *Job) wants(d Device) bool {
	if len(j.Devices) == 0 {
		return d.Auto
	}
	return slices.Contains(j.Devices, d.Name)
}

// Check tells what is wrong with a job that is to be added.
func (j *Job) Check(now time.Time) error {
	switch {
	case j.Recipe == "" || j.Name == "" || j.Dir == "":
		return fmt.Errorf("a job needs a recipe, a name and a folder to work in")
	case j.Retries < 0:
		return fmt.Errorf("%d retries; expected 0 or more", j.Retries)
	case j.Length < 0 || j.Memory < 0 || j.Grace < 0:
		return fmt.Errorf("a length, a memory or a time of grace below 0")
	case !j.Deadline.IsZero() && !j.Deadline.After(now):
		return fmt.Errorf("the deadline %s has passed", j.Deadline.Format(stampLayout))
	case !j.Deadline.IsZero() && !j.Deadline.After(j.Earliest):
		return fmt.Errorf("the deadline %s is not after the earliest start, %s", j.Deadline.Format(stampLayout), j.Earliest.Format(stampLayout))
	case j.Cheap != "" && j.Green != "":
		return fmt.Errorf("the cheapest hours and the greenest ones are both asked for; choose one")
	case (j.Cheap != "" || j.Green != "") && j.Length == 0:
		return fmt.Errorf("choosing the cheapest or greenest hours needs to know how long the job takes; give its length")
	}
	if !j.Deadline.IsZero() && !j.Window.IsZero() {
		from := now
		if j.Earliest.After(from) {
			from = j.Earliest
		}
		var open time.Duration
		for _, o := range j.Window.Between(from, j.Deadline) {
			open += o.Length()
		}
		if open == 0 {
			return fmt.Errorf("the window %s does not open before the deadline, %s", j.Window, j.Deadline.Format(stampLayout))
		}
		if j.Length > open {
			return fmt.Errorf("the window %s is open for %s before the deadline, %s, and the job takes %s", j.Window, span(open), j.Deadline.Format(stampLayout), span(j.Length))
		}
	}
	return nil
}

// Series are the files of prices and carbon intensities that jobs name, read; or why one
// could not be.
type Series map[string]SeriesFile

// SeriesFile is a file that was read, or the error.
type SeriesFile struct {
	Series *power.Series
	Err    error
}

const stampLayout = "2006-01-02 15:04 MST"
