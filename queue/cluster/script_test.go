//go:build unix

package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// TestScript runs scripts in a shell where the commands of Slurm, and sinter, write down
// what they are called with.
func TestScript(t *testing.T) {
	_, err := exec.LookPath("bash")
	testenv.Require(t, "bash", err == nil, "there is no bash")
	const begun = "begun"
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		change func(j *Job)
		sinter string // what it does, as a script
		signal syscall.Signal
		all    bool // to the run as well, as Slurm's own TERM
		state  string
		status int
		calls  []string // of scontrol, in order
		starts int
	}{
		"done":            {sinter: "exit 0", starts: 1},
		"failed":          {sinter: "exit 1", status: 1, starts: 1},
		"spent":           {sinter: "exit 75", status: 75, starts: 1},
		"killed":          {sinter: "kill -9 $$", status: 137, starts: 1},
		"missing":         {change: func(j *Job) { j.Program = "no-such-sinter" }, status: 127},
		"signalled":       {sinter: "wait", signal: syscall.SIGUSR1, state: "RUNNING", status: 75, calls: []string{"requeue 7"}, starts: 1},
		"still signalled": {sinter: "wait", signal: syscall.SIGUSR1, state: "SIGNALING", status: 75, calls: []string{"requeue 7"}, starts: 1},
		"early":           {sinter: "trap - TERM; wait", signal: syscall.SIGUSR1, state: "RUNNING", status: 75, calls: []string{"requeue 7"}, starts: 1},
		"completes":       {sinter: "trap 'exit 0' TERM; wait", signal: syscall.SIGUSR1, state: "RUNNING", starts: 1},
		"grace, no USR1":  {sinter: "wait", signal: syscall.SIGTERM, all: true, state: "RUNNING", status: 75, calls: []string{"requeue 7"}, starts: 1},
		"cancelled":       {sinter: "wait", signal: syscall.SIGTERM, all: true, state: "CANCELLED", status: 75, starts: 1},
		"before its hours": {change: window(now+3600, now+7200, now+90000), status: 75,
			calls: []string{"requeue 7", "update JobId=7 StartTime=" + time.Unix(now+3600, 0).Format("2006-01-02T15:04:05")}},
		"at the end of its hours": {change: window(now-3600, now+60, now+90000), status: 75,
			calls: []string{"requeue 7", "update JobId=7 StartTime=" + time.Unix(now+90000, 0).Format("2006-01-02T15:04:05")}},
		"within its hours": {change: window(now-3600, now+7200, now+90000), sinter: "exit 0", starts: 1},
		"other needs it":   {change: window(now-3600, now+7200, now+90000), sinter: "wait", signal: syscall.SIGUSR1, state: "RUNNING", status: 75, calls: []string{"requeue 7"}, starts: 1},
		"its hours close": {change: func(j *Job) { window(now-3600, time.Now().Unix()+3, now+90000)(j); j.Grace = time.Second }, sinter: "wait", state: "RUNNING", status: 75, starts: 1,
			calls: []string{"requeue 7", "update JobId=7 StartTime=" + time.Unix(now+90000, 0).Format("2006-01-02T15:04:05")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			j := job()
			j.Train = []string{"a b", "--set=x='$(exit 3)'\\"}
			j.Env = []string{"THIS=it's; $HOME"}
			if c.change != nil {
				c.change(&j)
			}
			text, err := j.Slurm(Slurm{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			script(t, dir, "sinter", `if [ "$1" = submit ]; then echo "${@: -1}"; exit; fi
trap 'exit 75' TERM
printf '%s\n' "$THIS" "$@" > args
mkfifo hang
wait() { for ((i = 0; i < 500; i++)); do read -t 0.02 <>hang; done; } # without processes, that the signal would reach, too
: > `+begun+"\n"+c.sinter)
			script(t, dir, "scontrol", `echo "$@" >> scontrol.log`)
			script(t, dir, "squeue", `echo `+c.state)
			name := filepath.Join(dir, "job")
			if err := os.WriteFile(name, text, 0o666); err != nil {
				t.Fatal(err)
			}
			shell := exec.Command("bash", name)
			shell.Dir, shell.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SLURM_JOB_ID=7")
			shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var output strings.Builder
			shell.Stdout, shell.Stderr, shell.WaitDelay = &output, &output, 100*time.Millisecond
			if err := shell.Start(); err != nil {
				t.Fatal(err)
			}
			if c.signal != 0 {
				for range 1000 {
					if _, err := os.Stat(filepath.Join(dir, begun)); err == nil {
						break
					}
					time.Sleep(5 * time.Millisecond)
				}
				to := shell.Process.Pid
				if c.all {
					to = -to
				}
				syscall.Kill(to, c.signal)
			}
			shell.Wait()
			syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) // the timer's sleep, as Slurm does at the end of a job
			if got := shell.ProcessState.ExitCode(); got != c.status {
				t.Errorf("status %d, expected %d\n%s", got, c.status, output.String())
			}
			calls, _ := os.ReadFile(filepath.Join(dir, "scontrol.log"))
			if got := strings.Split(strings.TrimSpace(string(calls)), "\n"); strings.Join(got, "|") != strings.Join(c.calls, "|") {
				t.Errorf("scontrol was called with %q, expected %q\n%s", got, c.calls, output.String())
			}
			args, err := os.ReadFile(filepath.Join(dir, "args"))
			if started := err == nil; started != (c.starts > 0) {
				t.Errorf("started: %v", started)
			}
			if want := "it's; $HOME\ntrain\na b\n--set=x='$(exit 3)'\\\n--out=runs/a\n--continue\n"; err == nil && string(args) != want {
				t.Errorf("sinter got %q, expected %q", args, want)
			}
		})
	}
}

// window makes the stand-in of sinter tell these times.
func window(opens, closes, after int64) func(j *Job) {
	return func(j *Job) { j.Window = fmt.Sprint(opens, closes, after) }
}

func script(t *testing.T, dir, name, body string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\n"+body+"\n"), 0o777); err != nil {
		t.Fatal(err)
	}
}
