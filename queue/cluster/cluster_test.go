package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func job() Job {
	return Job{Name: "lenet", Program: "sinter", Train: []string{"lenet"}, Out: "runs/a", CPUs: 2, Grace: 2 * time.Minute, Retries: 1}
}

func kube() Kubernetes {
	return Kubernetes{Image: "sinter:1", Claim: "research", Mount: "/work", GPUResource: "nvidia.com/gpu"}
}

// TestRefused names the flag that is wrong, for each.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		field string
		job   func(j *Job)
		slurm func(s *Slurm)
		kube  func(k *Kubernetes)
	}{
		"no CPUs":        {field: "cpus", job: func(j *Job) { j.CPUs = 0 }},
		"two GPUs":       {field: "gpus", job: func(j *Job) { j.GPUs = 2 }},
		"type, no GPU":   {field: "gpus", job: func(j *Job) { j.GPUType = "a100" }},
		"a slice":        {field: "mig", job: func(j *Job) { j.GPUs, j.MIG = 1, "10gb" }},
		"slice and type": {field: "mig", job: func(j *Job) { j.GPUs, j.MIG, j.GPUType = 1, "1g.10gb", "a100" }},
		"seconds":        {field: "time", job: func(j *Job) { j.Time = time.Second }},
		"only grace":     {field: "time", job: func(j *Job) { j.Time = 2 * time.Minute }},
		"no grace":       {field: "grace", job: func(j *Job) { j.Grace = 0 }},
		"deadline":       {field: "deadline", job: func(j *Job) { j.Begin = time.Unix(2e9, 0); j.Deadline = j.Begin }},
		"variable":       {field: "env", job: func(j *Job) { j.Env = []string{"A B=1"} }},
		"line":           {field: "recipe", job: func(j *Job) { j.Train = []string{"a\n#SBATCH --uid=0"} }},
		"name":           {field: "name", job: func(j *Job) { j.Name = "a b" }},
		"partition":      {field: "partition", slurm: func(s *Slurm) { s.Partition = "a\n#SBATCH --x" }},
		"option":         {field: "account", slurm: func(s *Slurm) { s.Account = "--uid=0" }},
		"relative":       {field: "dir", slurm: func(s *Slurm) { s.Dir = "here" }},
		"quote":          {field: "dir", slurm: func(s *Slurm) { s.Dir = `/a"b` }},
		"long name":      {field: "name", job: func(j *Job) { j.Name = strings.Repeat("a", 48) }, kube: func(*Kubernetes) {}},
		"digit first":    {field: "name", job: func(j *Job) { j.Name = "1a" }, kube: func(*Kubernetes) {}},
		"no image":       {field: "image", kube: func(k *Kubernetes) { k.Image = "" }},
		"image":          {field: "image", kube: func(k *Kubernetes) { k.Image = "a b" }},
		"no claim":       {field: "claim", kube: func(k *Kubernetes) { k.Claim = "" }},
		"outside":        {field: "out", job: func(j *Job) { j.Out = "/tmp/a" }, kube: func(*Kubernetes) {}},
		"upwards":        {field: "out", job: func(j *Job) { j.Out = "../a" }, kube: func(*Kubernetes) {}},
		"window, Kueue":  {field: "window", job: func(j *Job) { j.Window = "x" }, kube: func(k *Kubernetes) { k.Queue = "q" }},
		"due, Kubernetes": {field: "deadline", job: func(j *Job) { j.Deadline = time.Unix(2e9, 0) },
			kube: func(*Kubernetes) {}},
		"AMD's slice":  {field: "mig", job: func(j *Job) { j.GPUs, j.MIG = 1, "1g.10gb" }, kube: func(k *Kubernetes) { k.GPUResource = "amd.com/gpu" }},
		"large recipe": {field: "recipe", kube: func(k *Kubernetes) { k.Recipe = make([]byte, 1<<20) }},
	} {
		t.Run(name, func(t *testing.T) {
			j, s, k := job(), Slurm{Dir: "/work"}, kube()
			if c.job != nil {
				c.job(&j)
			}
			var err error
			if c.kube != nil {
				c.kube(&k)
				_, err = j.Kubernetes(k)
			} else {
				if c.slurm != nil {
					c.slurm(&s)
				}
				_, err = j.Slurm(s)
			}
			var wrong *Error
			if !errors.As(err, &wrong) || wrong.Field != c.field {
				t.Errorf("error %v, expected one about %s", err, c.field)
			}
		})
	}
}

func TestSlurmOptions(t *testing.T) {
	j := job()
	j.Time, j.Memory, j.GPUs, j.MIG = 26*time.Hour+30*time.Second, 1<<30+1, 1, "1g.10gb"
	j.Begin = time.Date(2026, 12, 1, 22, 0, 0, 0, time.Local)
	text, err := j.Slurm(Slurm{Dir: "/a b%", Partition: "gpu", QOS: "low"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"--time=1-02:01:00", "--mem=1025M", "--gres=gpu:1g.10gb:1", "--begin=2026-12-01T22:00:00", "--requeue", "--signal=B:USR1@120",
		`--chdir="/a b%"`, `--output="/a b%%/lenet-%j.log"`, "--partition=gpu", "--qos=low",
	} {
		if !strings.Contains(string(text), "\n#SBATCH "+want+"\n") {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}
