// Package cluster hands a training run to those who schedule where one machine is not
// enough: Slurm and Kubernetes. Neither gang scheduling nor fair share is done here; what
// is done here is that a run fits into them.
//
// Both take a [Job], which says what to run and what it needs, and make a text of it: a
// batch script for sbatch (Job.Slurm), a JobSet for Kueue (Job.Kubernetes). What they
// have in common is how a run survives being stopped:
//
//  1. The scheduler tells the run that its time is up, because of a time limit, a job that
//     goes before, a node that is drained or a window that closes. The run makes its step,
//     writes a checkpoint and ends with status 75.
//  2. Whoever started it starts it again: the script requeues itself, the JobSet makes
//     another pod.
//  3. The command line is the same every time, 'sinter train RECIPE --out DIR --continue',
//     and begins the run or goes on with it, to the same bits as if it had never been
//     stopped.
//
// A run that stops by itself, for its budget is spent, also ends with 75, and is not
// to be started again. The script tells the two apart by the signal that it got. A pod
// cannot; there the second start finds what the first one wrote down, and ends with
// status 2, at which the JobSet gives up.
//
// [Environment] is the other direction: what a launcher such as torchrun tells a
// process by environment variables.
package cluster

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Job is one run of 'sinter train' and what it needs. Out and paths in Train have to mean
// the same wherever it runs: a shared file system, or a volume.
type Job struct {
	Name    string   // letters, digits, '-', '_' and '.'
	Program string   // the command sinter, where the job runs
	Train   []string // arguments of 'sinter train' besides --out and --continue: a recipe, flags
	Out     string   // the run folder
	Env     []string // NAME=VALUE, set for the run

	CPUs    int   // threads
	Memory  int64 // of the host, in bytes; 0 leaves it to the scheduler's default
	GPUs    int   // 0 or 1: a run computes on one device
	GPUType string
	MIG     string        // a slice in place of a whole GPU: "1g.10gb"
	Time    time.Duration // after which it is stopped; 0 leaves it to the scheduler's default
	Grace   time.Duration // between being told to stop and being killed, at least a second

	Begin    time.Time // not before; zero: at once
	Deadline time.Time // Slurm: not worth running after it
	Window   string    // Slurm: hours in which it may run, as of schedule.ParseWindow; Begin is its first opening
	Retries  int       // Kubernetes: how often a run that failed, not one that was stopped, is started again

	Notes []string // said in comments on top of the text
}

// Error is a job that cannot be handed over as it is.
type Error struct {
	Field  string // of the Job, Slurm or Kubernetes; the flags of 'sinter submit' are called the same
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Reason) }

func wrong(field, format string, args ...any) error {
	return &Error{field, fmt.Sprintf(format, args...)}
}

var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	wordForm = regexp.MustCompile(`^[A-Za-z0-9_.,:=@+/-]*$`)
	envForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	migForm  = regexp.MustCompile(`^[1-9]g\.[1-9][0-9]*gb(\+me)?$`)
)

// check finds what holds for both.
func (j *Job) check() error {
	switch {
	case len(j.Name) > 128 || !nameForm.MatchString(j.Name):
		return wrong("name", "found %q, expected letters, digits, '-', '_' and '.', with a letter or digit at both ends", j.Name)
	case j.Program == "":
		return wrong("sinter", "expected the path of the command where the job runs")
	case len(j.Train) == 0:
		return wrong("recipe", "expected the name of a recipe or a file")
	case j.Out == "":
		return wrong("out", "expected the folder of the run: it has to be the same each time the job starts")
	case j.CPUs < 1:
		return wrong("cpus", "found %d, expected at least 1", j.CPUs)
	case j.Memory < 0:
		return wrong("mem", "found %d bytes, expected a size", j.Memory)
	case j.GPUs < 0:
		return wrong("gpus", "found %d, expected 0 or 1", j.GPUs)
	case j.GPUs > 1:
		return wrong("gpus", "found %d, expected 0 or 1: a run computes on one device, for training on several does not exist yet; submit several runs", j.GPUs)
	case j.MIG != "" && !migForm.MatchString(j.MIG):
		return wrong("mig", "found %q, expected a profile such as 1g.10gb", j.MIG)
	case j.MIG != "" && j.GPUType != "":
		return wrong("mig", "a slice is of whatever GPU has it; give no type of GPU beside it")
	case (j.MIG != "" || j.GPUType != "") && j.GPUs == 0:
		return wrong("gpus", "found 0 and the GPU that is wanted; expected 1")
	case j.Time < 0 || j.Time > 0 && j.Time < time.Minute:
		return wrong("time", "found %v, expected at least a minute", j.Time)
	case j.Grace < time.Second:
		return wrong("grace", "found %v, expected at least a second", j.Grace)
	case j.Time > 0 && j.Time <= j.Grace:
		return wrong("time", "found %v, of which the last %v are for the checkpoint: nothing is left to train in", j.Time, j.Grace)
	case j.Retries < 0:
		return wrong("retries", "found %d, expected 0 or more", j.Retries)
	case !j.Deadline.IsZero() && !j.Deadline.After(j.Begin):
		return wrong("deadline", "%s is not after the begin, %s", stamp(j.Deadline), stamp(j.Begin))
	}
	for _, v := range j.Env {
		if !envForm.MatchString(v) {
			return wrong("env", "found %q, expected NAME=VALUE", v)
		}
	}
	for field, list := range map[string][]string{"sinter": {j.Program}, "recipe": j.Train, "out": {j.Out}, "env": j.Env, "window": {j.Window}} {
		for _, s := range list {
			if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
				return wrong(field, "%q has a control character", s)
			}
		}
	}
	return nil
}

// word checks what a scheduler takes as a name of its own and what is written without
// quotes.
func word(field, value string) error {
	if !wordForm.MatchString(value) || strings.HasPrefix(value, "-") {
		return wrong(field, "found %q, expected letters, digits and _ . , : = @ + / -", value)
	}
	return nil
}

// command is the command line of the run, the same each time.
func (j *Job) command() []string {
	line := append([]string{j.Program, "train"}, j.Train...)
	return append(line, "--out="+j.Out, "--continue")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	return t.Format("2006-01-02 15:04:05 MST")
}

// notes are the lines that the text begins with.
func (j *Job) notes(b *strings.Builder) {
	for _, n := range j.Notes {
		for line := range strings.Lines(n) {
			fmt.Fprintf(b, "# %s\n", strings.Map(func(r rune) rune {
				if unicode.IsControl(r) {
					return ' '
				}
				return r
			}, strings.TrimSpace(line)))
		}
	}
}
