package cluster

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
)

// Slurm is what a batch script says besides the job. All of it may be empty but Dir.
type Slurm struct {
	Partition, Account, QOS string
	Gres                    string // in place of what follows from GPUs, GPUType and MIG
	Dir                     string // absolute: where the job runs, and where its output goes
}

// The steps of the script are these. Slurm sends USR1 to the shell Grace before the time
// limit (up to a minute earlier, as Slurm looks that often), and when another job takes
// its place, if the site has set SlurmctldParameters=preempt_send_user_signal. The shell
// passes it on as TERM. What Slurm sends to all processes, TERM, is not passed on, for
// the run has it. After that the job requeues itself, unless Slurm has taken it away in
// the meantime: a job that was cancelled stays so. A run that ended with 75 without a
// signal has spent its budget or was told by control.yaml; it is not started again.
const slurmBody = `
told= child=
trap 'told=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' USR1
trap 'told=1' TERM # Slurm sends it to the run as well

# requeue puts the job back into the queue, to start at the Unix time $1 if that is given.
requeue() {
	trap '' TERM USR1
	scontrol requeue "$SLURM_JOB_ID" || exit 1
	[ -z "$1" ] || scontrol update JobId="$SLURM_JOB_ID" StartTime="$(date -d "@$1" +%%Y-%%m-%%dT%%H:%%M:%%S)" ||
		scontrol hold "$SLURM_JOB_ID" # rather than start outside of its hours
	exit 75
}
%s
%s &
child=$!
[ -z "$told" ] || kill -TERM "$child"
while kill -0 "$child" 2>/dev/null; do sleep 1; done # a wait that a signal ends can lose the status (bash 5.2)
wait "$child"
status=$?
[ -z "$timer" ] || kill "$timer" 2>/dev/null

# 75: stopped, with a checkpoint; 143: told to stop before it had begun.
if [ -n "$told" ] && { [ "$status" = 75 ] || [ "$status" = 143 ]; }; then
	case $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%%T) in
	RUNNING | SIGNALING)
		echo "stopped, and back into the queue"
		requeue "$next"
		;;
	esac # else Slurm has taken it away: it was cancelled, or requeued
fi
exit "$status"
`

// slurmWindow holds a job to its hours, whenever Slurm starts it.
const slurmWindow = `
# The hours in which the job may run: when they begin and end, and when they begin again.
times=$(%s submit window --unix -- %s) || exit 1
read -r opens closes after <<<"$times"
now=$(date +%%s)
if [ "$opens" -gt "$now" ]; then
	echo "started outside of its hours"
	requeue "$opens"
elif [ $((closes - %[3]d)) -le "$now" ]; then
	echo "started when its hours were about to end"
	requeue "$after"
fi
next=
{ sleep $((closes - %[3]d - now)) && kill -USR1 $$; } &
timer=$!
trap 'told=1; [ "$(date +%%s)" -lt $((closes - %[3]d)) ] || next=$after; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' USR1
`

// Slurm writes the batch script of the job.
func (j Job) Slurm(s Slurm) ([]byte, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	for _, w := range [][2]string{{"partition", s.Partition}, {"account", s.Account}, {"qos", s.QOS}, {"gres", s.Gres}, {"gpu-type", j.GPUType}} {
		if err := word(w[0], w[1]); err != nil {
			return nil, err
		}
	}
	if !strings.HasPrefix(s.Dir, "/") {
		return nil, wrong("dir", "found %q, expected an absolute path", s.Dir)
	}
	if strings.ContainsAny(s.Dir, "\"'\\#") || strings.ContainsFunc(s.Dir, unicode.IsControl) {
		return nil, wrong("dir", "%q cannot be written into a line #SBATCH: it has a quote, a backslash, a # or a control character", s.Dir)
	}
	var b strings.Builder
	b.WriteString("#!/bin/bash\n")
	j.notes(&b)
	b.WriteString("#\n")
	option := func(name, value string) {
		if value == "" {
			return
		}
		if strings.ContainsFunc(value, func(r rune) bool {
			return !strings.ContainsRune("_.,:=@+/%-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
		}) {
			value = `"` + value + `"`
		}
		fmt.Fprintf(&b, "#SBATCH --%s=%s\n", name, value)
	}
	option("job-name", j.Name)
	option("partition", s.Partition)
	option("account", s.Account)
	option("qos", s.QOS)
	option("chdir", s.Dir)
	option("output", strings.ReplaceAll(strings.TrimSuffix(s.Dir, "/"), "%", "%%")+"/"+j.Name+"-%j.log")
	b.WriteString("#SBATCH --open-mode=append\n#SBATCH --nodes=1\n#SBATCH --ntasks=1\n")
	option("cpus-per-task", fmt.Sprint(j.CPUs))
	if j.Memory > 0 {
		option("mem", fmt.Sprintf("%dM", (j.Memory+1<<20-1)>>20))
	}
	switch gpu := j.GPUType + j.MIG; {
	case s.Gres != "":
		option("gres", s.Gres)
	case j.GPUs > 0 && gpu != "":
		option("gres", fmt.Sprintf("gpu:%s:%d", gpu, j.GPUs))
	case j.GPUs > 0:
		option("gres", fmt.Sprintf("gpu:%d", j.GPUs))
	}
	if j.Time > 0 {
		option("time", slurmTime(j.Time))
	}
	grace := int(math.Ceil(j.Grace.Seconds()))
	option("signal", fmt.Sprintf("B:USR1@%d", grace))
	b.WriteString("#SBATCH --requeue\n")
	if !j.Begin.IsZero() {
		option("begin", localTime(j.Begin))
	}
	if !j.Deadline.IsZero() {
		option("deadline", localTime(j.Deadline))
	}
	b.WriteString("\n")
	for _, v := range j.Env {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(value))
	}
	fmt.Fprintf(&b, "export SINTER_THREADS=${SINTER_THREADS:-${SLURM_CPUS_PER_TASK:-%d}}\n", j.CPUs)
	window := "next= timer="
	if j.Window != "" {
		window = fmt.Sprintf(strings.TrimSpace(slurmWindow), quote(j.Program), quote(j.Window), grace)
	}
	var line []string
	for _, a := range j.command() {
		line = append(line, quote(a))
	}
	fmt.Fprintf(&b, slurmBody[1:], window, strings.Join(line, " "))
	return []byte(b.String()), nil
}

// localTime is a time as sbatch takes it, which has no way to name a zone and takes that
// of the machine it is called on.
func localTime(t time.Time) string { return t.Local().Format("2006-01-02T15:04:05") }

// slurmTime is a duration as sbatch takes it, rounded up to what it reckons in.
func slurmTime(d time.Duration) string {
	minutes := int((d + time.Minute - 1) / time.Minute)
	return fmt.Sprintf("%d-%02d:%02d:00", minutes/(24*60), minutes/60%24, minutes%60)
}

// quote makes one word of a text for a POSIX shell.
func quote(text string) string {
	if text != "" && wordForm.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
