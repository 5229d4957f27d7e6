//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/testenv"
)

// slurm is a Slurm of one node, on this machine, for one test.
type slurm struct {
	t   *testing.T
	dir string
	env []string
}

// startSlurm starts munged, slurmctld and slurmd with a configuration, keys, sockets and
// ports of their own. They are stopped at the end of the test.
func startSlurm(t *testing.T) *slurm {
	dir, err := os.MkdirTemp("", "sinter-slurm-") // t.TempDir would be long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"munge", "state", "spool"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ = strings.Cut(host, ".")
	// cred_expire is also how long a job waits that was put back; preempt_send_user_signal
	// makes a job that has to go hear of it by the signal that it asked for.
	conf := fmt.Sprintf(`ClusterName=sinter
SlurmctldHost=%[1]s(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=%[2]s/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort=%[3]d
SlurmdPort=%[4]d
SlurmctldParameters=preempt_send_user_signal
StateSaveLocation=%[2]s/state
SlurmdSpoolDir=%[2]s/spool
SlurmctldPidFile=%[2]s/slurmctld.pid
SlurmdPidFile=%[2]s/slurmd.pid
SlurmctldLogFile=%[2]s/slurmctld.log
SlurmdLogFile=%[2]s/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=%[1]s NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 Gres=gpu:a100:1,gpu:1g.10gb:2
PartitionName=low Nodes=%[1]s Default=YES MaxTime=60 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes=%[1]s MaxTime=60 State=UP PriorityTier=10 PreemptMode=OFF
`, host, dir, freePort(t), freePort(t))
	write(t, filepath.Join(dir, "slurm.conf"), []byte(conf))
	write(t, filepath.Join(dir, "gres.conf"), []byte("Name=gpu Type=a100 File=/dev/null\nName=gpu Type=1g.10gb File=/dev/zero\nName=gpu Type=1g.10gb File=/dev/full\n"))
	write(t, filepath.Join(dir, "munge", "key"), bytes.Repeat([]byte("not secret "), 100))
	if err := os.Chmod(filepath.Join(dir, "munge", "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &slurm{t: t, dir: dir, env: append(os.Environ(), "SLURM_CONF="+filepath.Join(dir, "slurm.conf"), "PATH="+filepath.Dir(built)+":"+os.Getenv("PATH"))}
	in := func(name string) string { return filepath.Join(dir, "munge", name) }
	s.daemon("munged", "--foreground", "--force", "--socket="+in("socket"), "--key-file="+in("key"), "--pid-file="+in("pid"), "--log-file="+in("log"), "--seed-file="+in("seed"))
	s.until("munged has a socket", func() bool { _, err := os.Stat(in("socket")); return err == nil })
	s.daemon("slurmctld", "-D", "-c")
	s.daemon("slurmd", "-D")
	t.Cleanup(func() { // before the daemons stop
		s.try("scancel", "--user=root")
		s.until("all jobs have ended", func() bool { out, err := s.try("squeue", "--noheader"); return err != nil || out == "" })
	})
	s.until("the node is idle", func() bool {
		out, _ := s.try("sinfo", "--noheader", "--format=%T")
		return strings.HasPrefix(out, "idle")
	})
	return s
}

// daemon starts a program and stops it at the end of the test.
func (s *slurm) daemon(name string, args ...string) {
	s.t.Helper()
	c := exec.Command(name, args...)
	c.Env = s.env
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", name, output.String())
		}
	})
}

func (s *slurm) try(name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Env = s.env
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (s *slurm) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// until waits for something that happens soon.
func (s *slurm) until(what string, happened func() bool) {
	s.t.Helper()
	for begun := time.Now(); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 60*time.Second {
			s.t.Fatalf("%s: not within a minute", what)
		}
	}
}

// job is a field of what Slurm says of a job.
func (s *slurm) job(id, field string) string {
	s.t.Helper()
	out := s.run("scontrol", "show", "job", id)
	m := regexp.MustCompile(`(?m)\b` + field + `=(\S*)`).FindStringSubmatch(out)
	if m == nil {
		s.t.Fatalf("no %s in %s", field, out)
	}
	return m[1]
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestSlurm submits a run to a real Slurm. It waits for its begin, has to make place for
// another job, is put back by an administrator and stopped by a signal, and ends in the
// weights, the log and the results of a run that was left alone.
func TestSlurm(t *testing.T) {
	if !testenv.Required("slurm") {
		t.Skip("takes half a minute; SINTER_REQUIRE=slurm runs it")
	}
	for _, tool := range []string{"munged", "slurmctld", "slurmd", "sbatch", "scontrol"} {
		_, err := exec.LookPath(tool)
		testenv.Require(t, "slurm", err == nil, tool+" is missing; Debian's packages munge, slurmctld, slurmd and slurm-client have it")
	}
	testenv.Require(t, "slurm", os.Getuid() == 0, "Slurm's daemons want to be started by root")
	s := startSlurm(t)
	dir := filepath.Join(s.dir, "with space %j")
	mnistLike(t, filepath.Join(dir, "d"))
	submit := func(args ...string) string {
		t.Helper()
		c := exec.Command(built, append([]string{"submit", "--to", "slurm", "--partition", "low", "--send", "--json", "--cpus", fmt.Sprint(min(4, runtime.NumCPU())), "--time", "10m"}, args...)...)
		c.Dir, c.Env = dir, s.env
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("submitting: %v: %s", err, stderr.String())
		}
		var said struct{ Job string }
		if err := json.Unmarshal(out, &said); err != nil || said.Job == "" {
			t.Fatalf("submitting: %v: %s", err, out)
		}
		return said.Job
	}
	long := strings.Fields("mlp --data=d --batch=16 --seed=3 --set=model.dropout=0.3 --set=model.hidden=[400,400] --set=checkpoint.every_steps=40")
	whole := append([]string{"train", "--epochs=400", "--out=whole", "--threads=1"}, long...)
	must(t, dir, whole...)

	begin := time.Now().Add(4 * time.Second).Truncate(time.Second)
	id := submit(append(long, "--epochs=400", "--out=run", "--threads=1", "--begin", begin.Format(time.RFC3339))...)
	if state, reason := s.job(id, "JobState"), s.job(id, "Reason"); state != "PENDING" || reason != "BeginTime" && reason != "None" {
		t.Fatalf("before its begin the job is %s, %s", state, reason)
	}
	checkpoints := func() int {
		all, _ := filepath.Glob(filepath.Join(dir, "run", "checkpoints", "step-*"))
		last := 0
		for _, c := range all {
			var n int
			fmt.Sscanf(filepath.Base(c), "step-%d", &n)
			last = max(last, n)
		}
		return last
	}
	// trains waits until the job runs for the nth time and has written a checkpoint since.
	trains := func(n int) {
		t.Helper()
		from := -1
		s.until(fmt.Sprintf("start %d", n), func() bool {
			switch state := s.job(id, "JobState"); state {
			case "PENDING", "COMPLETING", "CONFIGURING", "SIGNALING":
			case "RUNNING":
				if from < 0 && s.job(id, "Restarts") == fmt.Sprint(n-1) {
					from = checkpoints()
				}
			default:
				log, _ := filepath.Glob(filepath.Join(dir, "*-"+id+".log"))
				t.Fatalf("after %d starts the job is %s; its output: %s", n-1, state, contents(t, log[0]))
			}
			return from >= 0 && checkpoints() > from
		})
	}
	trains(1)
	if time.Now().Before(begin) {
		t.Error("it ran before its begin")
	}
	urgent := s.run("sbatch", "--parsable", "--partition=high", "--cpus-per-task=4", "--mem=3900", "--output=/dev/null", "--wrap=sleep 0.1")
	trains(2)
	if state := s.job(urgent, "JobState"); state != "COMPLETED" {
		t.Errorf("the urgent job is %s", state)
	}
	s.run("scontrol", "requeue", id)
	trains(3)
	s.run("scancel", "--batch", "--signal=USR1", id)
	trains(4)
	s.until("its end", func() bool { return s.job(id, "JobState") == "COMPLETED" })
	sameRun(t, filepath.Join(dir, "run"), filepath.Join(dir, "whole"))
	var m struct{ Resumed []struct{ Step int } }
	if err := json.Unmarshal(contents(t, filepath.Join(dir, "run", "run.json")), &m); err != nil || len(m.Resumed) != 3 {
		t.Errorf("it went on %d times: %v", len(m.Resumed), err)
	}

	// One that stops by itself is left alone, and so is one that is cancelled.
	id = submit(append(long, "--epochs=20000", "--out=stops")...)
	s.until("it runs", func() bool { _, err := os.Stat(filepath.Join(dir, "stops", "control.yaml")); return err == nil })
	write(t, filepath.Join(dir, "stops", "control.yaml"), []byte("stop: 1\n"))
	s.until("it has stopped", func() bool { return s.job(id, "JobState") == "FAILED" })
	if code := s.job(id, "ExitCode"); code != "75:0" || s.job(id, "Restarts") != "0" {
		t.Errorf("a run that stopped by itself ended with %s and was started again %s times", code, s.job(id, "Restarts"))
	}
	id = submit(append(long, "--epochs=20000", "--out=cancelled")...)
	s.until("it runs", func() bool {
		all, _ := filepath.Glob(filepath.Join(dir, "cancelled", "checkpoints", "step-*"))
		return len(all) > 0
	})
	s.run("scancel", id)
	s.until("it has ended", func() bool {
		out := s.run("squeue", "--noheader", "--states=all", "--jobs="+id, "--format=%T")
		return out == "CANCELLED"
	})
	if text := contents(t, filepath.Join(dir, "cancelled", "run.json")); !bytes.Contains(text, []byte(`"status": "interrupted"`)) {
		t.Errorf("a run that was cancelled left no checkpoint: %s", text)
	}

	// What else scripts can say, in the eyes of sbatch.
	for _, args := range [][]string{
		{"--gpus", "1"}, {"--gpus", "1", "--gpu-type", "a100"}, {"--mig", "1g.10gb"}, {"--gres", "gpu:a100:1"},
		{"--deadline", time.Now().Add(time.Hour).Format(time.RFC3339)}, {"--window", "00:00-23:59 UTC"}, {"--mem", "1GiB", "--name", "a.b_c"},
	} {
		o := must(t, dir, append([]string{"submit", "--to=slurm", "--time=10m", "--cpus=1", "mlp", "--data=d"}, args...)...)
		write(t, filepath.Join(dir, "script"), []byte(o.stdout))
		s.run("sbatch", "--test-only", filepath.Join(dir, "script"))
	}
}
