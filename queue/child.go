package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/internal/process"
	"github.com/sinter-dl/sinter/train/rundir"
)

// Exit statuses of 'sinter train'.
const (
	exitUsage   = 2
	exitStopped = 75
)

// outcome is how a job's process ended.
type outcome struct {
	status int    // -1: by a signal, or nobody saw it
	signal string // that ended it
	lost   bool   // nobody saw it; the run's folder is all there is to tell
	run    string // how the folder says that the run stands; empty if there is none
	stop   string // why the run ended before its end, by itself
	last   string // line of its output
}

// maxLost is how often in a row a job is taken up again whose process was killed or is
// found gone. One that brings the machine down each time must not do so for ever.
const maxLost = 5

// profitable is for how long a process has to have run not to count as lost in a row.
const profitable = 10 * time.Minute

// end writes down that the job's process has ended, at about the time stopped, and how it
// stands now.
func (j *Job) end(o outcome, stopped, now time.Time) {
	ran := max(0, stopped.Sub(j.Started))
	if j.Ran += ran; ran >= profitable {
		j.Lost = 0
	}
	j.PID, j.Process, j.Now = 0, process.ID{}, false
	j.Status = o.status
	told, killed := j.State == Pausing, j.Killed
	switch {
	case o.status == 0, o.lost && o.run == rundir.Complete:
		j.Status, j.Lost = 0, 0
		j.become(Done, now, "")
	case j.Cancel:
		j.become(Cancelled, now, "")
	case told && killed:
		j.Failures = 0
		j.become(Paused, now, fmt.Sprintf("%s; it did not stop within %s and was killed, so it goes on from its last checkpoint", j.Reason, span(j.Grace)))
	case told && (o.status == exitStopped || o.signal != "" || o.lost):
		j.Failures, j.Lost = 0, 0
		j.become(Paused, now, j.Reason)
	case o.status == exitStopped, o.lost && o.run == rundir.Interrupted:
		j.Lost = 0
		j.Hold = "it stopped by itself"
		if o.stop != "" {
			j.Hold += ": " + o.stop
		} else if o.last != "" {
			j.Hold += ": " + o.last
		}
		j.become(Paused, now, j.Hold)
	case o.signal != "", o.lost && o.run != rundir.Failed:
		why := "its process was ended by the signal: " + o.signal
		if o.signal == "" {
			why = "its process is gone: it was killed, or the machine went down"
		} else {
			j.NotBefore = now.Add(backoff(j.Lost + 1))
		}
		if j.Lost++; j.Lost > maxLost {
			j.become(Failed, now, fmt.Sprintf("%s; that was %d times in a row", why, j.Lost))
			break
		}
		j.become(Paused, now, why+"; it goes on from its last checkpoint")
	case o.status == exitUsage:
		j.become(Failed, now, o.last)
	default:
		if j.Failures++; j.Failures > j.Retries {
			j.become(Failed, now, o.last)
			break
		}
		j.NotBefore = now.Add(backoff(j.Failures))
		s := Queued
		if o.run != "" {
			s = Paused
		}
		j.become(s, now, o.last)
	}
}

// backoff is how long a job waits after so many failures: a minute, two, four, … up to
// an hour.
func backoff(failures int) time.Duration { return min(time.Hour, time.Minute<<min(failures-1, 6)) }

// arguments are those of 'sinter' for the job's next process: a new run, or one that goes
// on where its folder says that it stands.
func (j *Job) arguments(folder string) ([]string, error) {
	_, err := rundir.Read(j.Run)
	if err == nil {
		args := []string{"train", "--resume", j.Run, "--device", j.Device}
		if j.Budget != "" {
			args = append(args, "--budget", j.Budget)
		}
		return args, nil
	}
	if _, there := os.Stat(filepath.Join(j.Run, rundir.ManifestFile)); there == nil {
		return nil, err
	}
	// A kill in the moment in which the folder was made leaves these, and no run.
	for _, name := range []string{rundir.LockFile, rundir.MetricsFile} {
		if err := os.Remove(filepath.Join(j.Run, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, safe(j.Name)+".yaml")
	if err := rundir.WriteFile(file, []byte(j.Recipe)); err != nil {
		return nil, err
	}
	args := append([]string{"train", file}, j.Args...)
	return append(args, "--device", j.Device, "--out", j.Run), nil
}

// safe is a name as that of a file.
func safe(name string) string {
	return strings.Trim(regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(name, "-"), ".-")
}

// runFolder is where a job's run goes unless that was said.
func (j *Job) runFolder(now time.Time) string {
	return filepath.Join(j.Dir, "runs", fmt.Sprintf("%s-%s-job%d", safe(j.Name), now.Format("20060102-150405"), j.ID))
}

// start starts the job's process. Its output goes to a file, which it keeps if the daemon
// ends.
func (d *Daemon) start(j *Job) (*exec.Cmd, error) {
	folder := d.Store.Folder(j.ID)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(d.Store.LogFile(j.ID), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args, err := j.arguments(folder)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "[%s] sinter %s\n", d.now().Format("2006-01-02 15:04:05"), strings.Join(args, " "))
	c := exec.Command(d.Program, args...)
	c.Dir, c.Env = j.Dir, j.Env
	c.Stdout, c.Stderr = log, log
	detach(c)
	return c, c.Start()
}

// seen is the outcome of a process that the daemon has waited for.
func (d *Daemon) seen(j *Job, s *os.ProcessState) outcome {
	o := d.look(j)
	o.status, o.signal = s.ExitCode(), signalled(s)
	return o
}

// look tells what the run's folder and the output say.
func (d *Daemon) look(j *Job) (o outcome) {
	o.status, o.last = -1, lastLine(d.Store.LogFile(j.ID))
	m, err := rundir.Read(j.Run)
	if err != nil {
		return o
	}
	o.run = m.Status
	var result struct{ Stopped string }
	if m.Results != nil && json.Unmarshal(m.Results, &result) == nil {
		o.stop = result.Stopped
	}
	return o
}

// lastLine is the last line of a file that is not empty.
func lastLine(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(0, size-4096), io.SeekStart)
	}
	text, _ := io.ReadAll(f)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "sinter: ")
}
